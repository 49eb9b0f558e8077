package sbom

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

// Part is what has to be known of a package to find out what it needs.
type Part struct {
	Ref       string // of its component
	NEVRA     rpm.NEVRA
	SourceRPM string
	Modular   bool
	Provides  []depend.Capability
	Requires  []depend.Capability
	Files     []string
}

// PartOf returns what a package's header says.
func PartOf(p *rpm.Package, ref string) Part {
	out := Part{
		Ref: ref, NEVRA: p.NEVRA, SourceRPM: p.SourceRPM, Modular: p.Modularity != "",
		Provides: depend.Provides(p), Requires: depend.Requires(p), Files: make([]string, 0, len(p.Files)),
	}
	for _, f := range p.Files {
		out.Files = append(out.Files, f.Path)
	}
	return out
}

// Wanted returns the names of all that the parts require: what has to be known of what
// lies beneath them.
func Wanted(parts []Part) map[string]bool {
	out := map[string]bool{}
	for _, p := range parts {
		for _, r := range p.Requires {
			for _, c := range r.Parts() {
				out[c.Name] = true
			}
		}
	}
	return out
}

// Needed is what a part needs: the Refs of parts, and system if something that lies beneath
// them has to be there. All tells that each of its requirements is met.
type Needed struct {
	Refs []string
	All  bool
}

// And returns what a part needs that is in two sets.
func (n Needed) And(o Needed) Needed {
	return Needed{Refs: sorted(slices.Concat(n.Refs, o.Refs)), All: n.All && o.All}
}

// Resolve returns by Ref what each part needs: for each of its requirements the part that
// meets it, or system, if that isn't "", where it is met by what is provided beneath. The
// parts are those of one set that is installed from together; of source packages nothing
// is resolved.
//
// Several may meet a requirement, as it is with dnf. Of each name and arch the newest
// counts, and packages of modules all do; of those the part itself is preferred (it needs
// nothing then), then one of the same source package, of the same arch, then the shortest
// name and the first.
func Resolve(parts []Part, beneath []depend.Capability, system string) map[string]Needed {
	out := make(map[string]Needed, len(parts))
	providers := providersOf(parts, beneath)
	for i := range parts {
		p := &parts[i]
		if p.NEVRA.Arch == "src" {
			continue
		}
		n := Needed{All: true}
		for _, r := range p.Requires {
			if p.has(r) {
				continue
			}
			sets, met := providers.Meeting(r)
			n.All = n.All && met
			for _, set := range sets {
				switch by := best(p, set); {
				case by == nil && system != "":
					n.Refs = append(n.Refs, system)
				case by != nil && by.Ref != p.Ref:
					n.Refs = append(n.Refs, by.Ref)
				}
			}
		}
		n.Refs = sorted(n.Refs)
		out[p.Ref] = n
	}
	return out
}

// providersOf returns what the newest parts, and what lies beneath them, provide of what
// is required.
func providersOf(parts []Part, beneath []depend.Capability) depend.Providers[*Part] {
	type key struct{ name, arch string }
	newest := map[key]*Part{}
	for i := range parts {
		p := &parts[i]
		k := key{p.NEVRA.Name, p.NEVRA.Arch}
		if have := newest[k]; !p.Modular && (have == nil || rpm.Compare(have.NEVRA.EVR(), p.NEVRA.EVR()) < 0) {
			newest[k] = p
		}
	}
	wanted := Wanted(parts)
	out := depend.Providers[*Part]{}
	for i := range parts {
		p := &parts[i]
		if p.NEVRA.Arch == "src" || !p.Modular && newest[key{p.NEVRA.Name, p.NEVRA.Arch}] != p {
			continue
		}
		for _, c := range p.Provides {
			if wanted[c.Name] {
				out.Add(c, p)
			}
		}
		for _, f := range p.Files {
			if wanted[f] {
				out.Add(depend.Capability{Name: f}, p)
			}
		}
	}
	for _, c := range beneath {
		out.Add(c, nil)
	}
	return out
}

// has reports whether a part meets a plain requirement by itself, as an older one does too
// that isn't among the providers.
func (p *Part) has(r depend.Capability) bool {
	return slices.ContainsFunc(p.Provides, func(c depend.Capability) bool { return c.Meets(r) }) ||
		strings.HasPrefix(r.Name, "/") && slices.Contains(p.Files, r.Name)
}

// best returns which of several parts one rests on, nil if all of them lie beneath.
func best(of *Part, set []*Part) *Part {
	set = slices.DeleteFunc(set, func(p *Part) bool { return p == nil })
	if len(set) == 0 {
		return nil
	}
	differs := func(b bool) int {
		if b {
			return 1
		}
		return 0
	}
	return slices.MinFunc(set, func(a, b *Part) int {
		return cmp.Or(
			differs(a.Ref != of.Ref)-differs(b.Ref != of.Ref),
			differs(a.SourceRPM != of.SourceRPM)-differs(b.SourceRPM != of.SourceRPM),
			differs(a.NEVRA.Arch != of.NEVRA.Arch)-differs(b.NEVRA.Arch != of.NEVRA.Arch),
			len(a.NEVRA.Name)-len(b.NEVRA.Name), strings.Compare(a.NEVRA.Name, b.NEVRA.Name),
			-rpm.Compare(a.NEVRA.EVR(), b.NEVRA.EVR()), strings.Compare(a.NEVRA.Arch, b.NEVRA.Arch), strings.Compare(a.Ref, b.Ref),
		)
	})
}
