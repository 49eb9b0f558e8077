package errata

import (
	"encoding/json"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
)

// Difference is how one field, or one entry of a field that is a list, differs between
// two advisories: Was is empty for what is new, Is for what is gone.
type Difference struct {
	Field string `json:"field"`
	Was   string `json:"was,omitempty"`
	Is    string `json:"is,omitempty"`
}

// part is a field of an advisory that people edit, as texts: one, or one for each entry
// of a list.
type part struct {
	name string
	of   func(advisory.Advisory) []string
}

func one(f func(advisory.Advisory) string) func(advisory.Advisory) []string {
	return func(a advisory.Advisory) []string {
		if s := f(a); s != "" {
			return []string{s}
		}
		return nil
	}
}

func each[T any](f func(advisory.Advisory) []T, text func(T) string) func(advisory.Advisory) []string {
	return func(a advisory.Advisory) []string {
		var out []string
		for _, x := range f(a) {
			out = append(out, text(x))
		}
		return out
	}
}

func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return t.UTC().Format(time.RFC3339)
}

// asJSON is how entries are shown that have no better text.
func asJSON(x any) string {
	b, err := json.Marshal(x)
	if err != nil {
		return "" // every type of an Advisory can be encoded
	}
	return string(b)
}

// parts are all of an advisory but its version, its platform and its id, which stay, and
// the time of its update, which follows.
var parts = []part{
	{"type", one(func(a advisory.Advisory) string { return string(a.Type) })},
	{"severity", one(func(a advisory.Advisory) string { return string(a.Severity) })},
	{"title", one(func(a advisory.Advisory) string { return a.Title })},
	{"summary", one(func(a advisory.Advisory) string { return a.Summary })},
	{"description", one(func(a advisory.Advisory) string { return a.Description })},
	{"solution", one(func(a advisory.Advisory) string { return a.Solution })},
	{"rights", one(func(a advisory.Advisory) string { return a.Rights })},
	{"from", one(func(a advisory.Advisory) string { return a.From })},
	{"upstream", one(func(a advisory.Advisory) string { return a.Upstream })},
	{"issued", one(func(a advisory.Advisory) string { return day(a.Issued) })},
	{"reboot", one(func(a advisory.Advisory) string {
		if a.Reboot {
			return "yes"
		}
		return ""
	})},
	{"withdrawn", one(func(a advisory.Advisory) string {
		if a.Withdrawn == nil {
			return ""
		}
		return a.Withdrawn.Reason
	})},
	{"references", each(func(a advisory.Advisory) []advisory.Reference { return a.References }, reference)},
	{"cves", each(func(a advisory.Advisory) []advisory.CVE { return a.CVEs }, cve)},
	{"packages", each(func(a advisory.Advisory) []advisory.Package { return a.Packages }, pkg)},
	{"vex", each(func(a advisory.Advisory) []advisory.VEX { return a.VEX }, vex)},
}

func reference(r advisory.Reference) string {
	return strings.Join(slices.DeleteFunc([]string{string(r.Kind), r.ID, r.URL, r.Title}, func(s string) bool { return s == "" }), " ")
}

func cve(c advisory.CVE) string {
	id := c.ID
	if c.ID = ""; len(c.Scores) == 0 && len(c.CWEs) == 0 && c.Impact == "" && c.Public.IsZero() {
		return id
	}
	return id + " " + asJSON(c)
}

func pkg(p advisory.Package) string {
	s := p.NEVRA.String()
	if p.Module != nil {
		s += " of " + p.Module.String()
	}
	for _, f := range []struct {
		set  bool
		says string
	}{{p.Reboot, "reboot"}, {p.Relogin, "relogin"}, {p.Restart, "restart"}} {
		if f.set {
			s += ", " + f.says
		}
	}
	if p.Source != "" {
		s += ", from " + p.Source
	}
	return s
}

func vex(v advisory.VEX) string {
	s := v.CVE + " " + v.Package
	if v.Stream != "" {
		s += " of " + v.Stream
	}
	s += ": " + strings.ReplaceAll(string(v.Status), "_", " ")
	if v.Justification != "" {
		s += ", " + strings.ReplaceAll(v.Justification, "_", " ")
	}
	if v.Detail != "" {
		s += ": " + v.Detail
	}
	return s + " (" + day(v.At) + ")"
}

// Differences returns how b differs from a, field by field in the order in which people
// read an advisory; entries of lists one by one.
func Differences(a, b advisory.Advisory) []Difference {
	var out []Difference
	for _, p := range parts {
		was, is := p.of(a), p.of(b)
		if len(was) == 1 && len(is) == 1 {
			if was[0] != is[0] {
				out = append(out, Difference{p.name, was[0], is[0]})
			}
			continue
		}
		for _, s := range without(was, is) {
			out = append(out, Difference{Field: p.name, Was: s})
		}
		for _, s := range without(is, was) {
			out = append(out, Difference{Field: p.name, Is: s})
		}
	}
	return out
}

// without returns those of a that b hasn't, in their order.
func without(a, b []string) []string {
	has := make(map[string]int, len(b))
	for _, s := range b {
		has[s]++
	}
	var out []string
	for _, s := range a {
		if has[s] == 0 {
			out = append(out, s)
			continue
		}
		has[s]--
	}
	return out
}

// Rebase returns what an advisory becomes whose original was old, which was edited to
// edited, when it comes in anew as next: next, with the edits done again. A field that was
// edited keeps its edit; of a list, entries that were added stay and those that were
// taken away stay away. Id, platform and version are edited's.
func Rebase(old, edited, next advisory.Advisory) advisory.Advisory {
	out := next
	out.ID, out.Platform, out.Version, out.Withdrawn = edited.ID, edited.Platform, edited.Version, edited.Withdrawn
	keep(&out.Type, old.Type, edited.Type)
	keep(&out.Severity, old.Severity, edited.Severity)
	keep(&out.Title, old.Title, edited.Title)
	keep(&out.Summary, old.Summary, edited.Summary)
	keep(&out.Description, old.Description, edited.Description)
	keep(&out.Solution, old.Solution, edited.Solution)
	keep(&out.Rights, old.Rights, edited.Rights)
	keep(&out.From, old.From, edited.From)
	keep(&out.Upstream, old.Upstream, edited.Upstream)
	keep(&out.Reboot, old.Reboot, edited.Reboot)
	if !edited.Issued.Equal(old.Issued) {
		out.Issued = edited.Issued
	}
	if edited.Updated.After(out.Updated) {
		out.Updated = edited.Updated
	}
	if out.Updated.Before(out.Issued) {
		out.Updated = out.Issued
	}
	// A list's entries are the same entry if they name the same thing: what is said of it
	// may have been edited.
	out.References = merge(old.References, edited.References, next.References, func(r advisory.Reference) string { return string(r.Kind) + " " + r.ID + " " + r.URL }, reference)
	out.CVEs = merge(old.CVEs, edited.CVEs, next.CVEs, func(c advisory.CVE) string { return c.ID }, cve)
	out.Packages = merge(old.Packages, edited.Packages, next.Packages, func(p advisory.Package) string {
		if p.Module == nil {
			return p.NEVRA.String()
		}
		return p.NEVRA.String() + " " + p.Module.String() + ":" + p.Module.Arch
	}, pkg)
	out.VEX = merge(old.VEX, edited.VEX, next.VEX, func(v advisory.VEX) string { return v.CVE + " " + v.Package + " " + v.Stream + " " + day(v.At) }, vex)
	return out.Normal()
}

func keep[T comparable](into *T, old, edited T) {
	if edited != old {
		*into = edited
	}
}

// merge does to next what was done to old to make it edited.
func merge[T any](old, edited, next []T, name, text func(T) string) []T {
	was := make(map[string]string, len(old))
	for _, x := range old {
		was[name(x)] = text(x)
	}
	changed, gone := make(map[string]T), make(map[string]bool, len(old))
	for k := range was {
		gone[k] = true
	}
	for _, x := range edited {
		delete(gone, name(x))
		if s, ok := was[name(x)]; !ok || s != text(x) {
			changed[name(x)] = x
		}
	}
	var out []T
	for _, x := range next {
		k := name(x)
		if y, ok := changed[k]; ok {
			x = y
			delete(changed, k)
		} else if gone[k] {
			continue
		}
		out = append(out, x)
	}
	for _, x := range edited {
		if y, ok := changed[name(x)]; ok {
			delete(changed, name(x))
			out = append(out, y)
		}
	}
	return out
}
