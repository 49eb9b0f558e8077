// Package update turns advisories into the notices of updateinfo.xml and back.
//
// A notice tells of one repository: it names the packages that are there, with the digests
// that they have there, in a collection for each stream of a module and one for the packages
// of none. Readers match the packages of a collection with a module only where the module
// is enabled.
package update

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/repodata/updateinfo"
	"albs/internal/rpm"
)

// Of returns the notice that a repository, named by its path below the public place, has of
// an advisory. There is none, and ok is false, if the advisory was withdrawn or names no
// package of the repository.
func Of(a advisory.Advisory, repository string) (u updateinfo.Update, ok bool) {
	return notice(a, func(p string) bool { return p == repository })
}

// Whole returns the notices of all repositories as one, for people and scripts: a collection
// is still of one repository. There is none, and ok is false, if the advisory was withdrawn
// or names no package.
func Whole(a advisory.Advisory) (u updateinfo.Update, ok bool) {
	return notice(a, func(string) bool { return true })
}

func notice(a advisory.Advisory, has func(repository string) bool) (u updateinfo.Update, ok bool) {
	a = a.Normal()
	in := map[string][]advisory.Package{}
	for _, p := range a.Packages {
		if has(p.Repository) {
			in[p.Repository] = append(in[p.Repository], p)
		}
	}
	if a.Withdrawn != nil || len(in) == 0 {
		return u, false
	}
	u = updateinfo.Update{
		// Release and push count say nothing; readers of today have these.
		From: a.From, Status: "final", Type: string(a.Type), Version: strconv.Itoa(a.Version), Release: "0", PushCount: "1",
		ID: a.ID, Title: a.FullTitle(), Issued: a.Issued.Format(time.DateTime), Updated: a.Updated.Format(time.DateTime),
		Rights: a.Rights, Severity: a.Severity.Title(), Summary: a.Summary, Description: a.Description, Solution: a.Solution, Reboot: a.Reboot,
	}
	for _, r := range a.AllReferences() {
		u.References = append(u.References, updateinfo.Reference{Href: r.URL, ID: r.ID, Type: string(r.Kind), Title: r.Title})
	}
	for _, repository := range slices.Sorted(maps.Keys(in)) {
		for _, g := range builds(advisory.Advisory{Packages: in[repository]}) {
			u.Collections = append(u.Collections, collection(a.Platform, repository, g))
		}
	}
	return u, true
}

// builds returns the packages by module, with those of different builds of one stream apart.
func builds(a advisory.Advisory) [][]advisory.Package {
	var out [][]advisory.Package
	for _, g := range a.ByModule() {
		var last *advisory.Module
		for i, p := range g.Packages {
			if i == 0 || p.Module != nil && *p.Module != *last {
				out = append(out, nil)
			}
			last = p.Module
			out[len(out)-1] = append(out[len(out)-1], p)
		}
	}
	return out
}

func collection(platform, repository string, packages []advisory.Package) updateinfo.Collection {
	// Some keep the collections of a notice by name, so each has one of its own; they look
	// like AlmaLinux's.
	name := strings.ToLower(platform+"-for-"+strings.ReplaceAll(repository, "/", "-")) + "-rpms__"
	m := packages[0].Module
	c := updateinfo.Collection{}
	if m == nil {
		name += "default"
	} else {
		name += m.Name + "_" + m.Stream
		if m.Version != 0 {
			name += fmt.Sprintf("_%d", m.Version)
		}
		if m.Context != "" {
			name += "_" + m.Context
		}
		c.Module = &updateinfo.Module{Name: m.Name, Stream: m.Stream, Version: m.Version, Context: m.Context, Arch: m.Arch}
	}
	c.Name, c.Short = name, name
	for _, p := range packages {
		q := updateinfo.Package{
			Name: p.Name, Epoch: strconv.Itoa(p.Epoch), Version: p.Version, Release: p.Release, Arch: p.Arch, Src: p.Source, Filename: p.Filename(),
			Reboot: p.Reboot, Restart: p.Restart, Relogin: p.Relogin,
		}
		if p.Digest != "" {
			q.Sum, q.SumType = string(p.Digest), "sha256"
		}
		c.Packages = append(c.Packages, q)
	}
	return c
}

// Read returns the advisories of an updateinfo.xml, as of that platform, by id; notices with
// one id are one. Sentences say what had to be left out. An error is of the file as a whole:
// Invalid or TooLarge.
func Read(r io.Reader, platform string) ([]advisory.Advisory, []string, error) {
	var out []advisory.Advisory
	var dropped []string
	err := updateinfo.Read(r, func(u updateinfo.Update) error {
		a, sentences := From(u, platform)
		for _, s := range sentences {
			dropped = append(dropped, fmt.Sprintf("%.100s: %s", u.ID, s))
		}
		if a.ID != "" {
			out = append(out, a)
		}
		if len(out) > maxAdvisories {
			return albs.Errorf(albs.TooLarge, "the file has more than %d notices", maxAdvisories)
		}
		return nil
	})
	if err != nil {
		return nil, nil, err
	}
	return advisory.Merge(out), dropped, nil
}

const maxAdvisories = 100_000

// From returns a notice as an advisory of the platform, which has no id if the notice can't
// be one, and a sentence for each thing that had to be left out.
func From(u updateinfo.Update, platform string) (advisory.Advisory, []string) {
	var dropped []string
	note := func(s string) {
		if s != "" {
			dropped = append(dropped, s)
		}
	}
	a := advisory.Advisory{
		ID: strings.TrimSpace(u.ID), Platform: platform, Rights: advisory.CleanLine(u.Rights), From: advisory.CleanLine(u.From), Reboot: u.Reboot,
		Summary: advisory.CleanText(u.Summary), Description: advisory.CleanText(u.Description), Solution: advisory.CleanText(u.Solution),
	}
	if a.Description == "" {
		a.Description = advisory.CleanText(u.Message)
	} else if u.Message != "" {
		note(fmt.Sprintf("its message %.80q has no place beside its description", u.Message))
	}
	var err error
	if a.Severity, err = advisory.ParseSeverity(u.Severity); err != nil {
		note(err.Error())
	}
	a.SetTitle(u.Title)
	var ok bool
	if a.Type, ok = advisory.ParseType(u.Type); !ok {
		note(fmt.Sprintf("the type %.40q isn't known; it is taken for a bug fix", u.Type))
	}
	// Amazon and Fedora write 1.4 or 2.0.
	whole, _, _ := strings.Cut(strings.TrimSpace(u.Version), ".")
	if a.Version, err = strconv.Atoi(whole); err != nil && u.Version != "" {
		note(fmt.Sprintf("the version %.40q is no number", u.Version))
	}
	for _, d := range []struct {
		to   *time.Time
		text string
	}{{&a.Issued, u.Issued}, {&a.Updated, u.Updated}} {
		if d.text == "" {
			continue
		}
		if *d.to, err = advisory.ParseTime(d.text); err != nil {
			note(err.Error())
		}
	}
	for _, r := range u.References {
		note(a.AddReference(advisory.Reference{Kind: kind(r.Type), ID: r.ID, URL: r.Href, Title: r.Title}))
	}
	for _, c := range u.Collections {
		var m *advisory.Module
		if c.Module != nil {
			m = &advisory.Module{Name: c.Module.Name, Stream: c.Module.Stream, Version: c.Module.Version, Context: c.Module.Context, Arch: c.Module.Arch}
			if c.Module.NoVersion != "" {
				note(fmt.Sprintf("the version %.40q of the module %.80q is no number; it counts as unknown", c.Module.NoVersion, m.Name+":"+m.Stream))
			}
		}
		for _, q := range c.Packages {
			p, s := pkg(q)
			note(s)
			p.Module = m
			note(a.AddPackage(p))
		}
	}
	switch s := strings.ToLower(u.Status); s {
	case "retracted", "obsolete":
		a.Withdrawn = &advisory.Withdrawal{At: a.Updated, Reason: "Its status is " + s + "."}
	case "testing", "pending":
		note("its status is " + s + ", and advisories have none such")
	}
	if err := a.Settle(); err != nil {
		return advisory.Advisory{}, append(dropped, "it can't be taken over: "+err.Error())
	}
	return a, dropped
}

func pkg(q updateinfo.Package) (advisory.Package, string) {
	p := advisory.Package{
		NEVRA:  rpm.NEVRA{Name: q.Name, Version: q.Version, Release: q.Release, Arch: q.Arch},
		Source: advisory.SourceFile(q.Src), Reboot: q.Reboot, Restart: q.Restart, Relogin: q.Relogin,
	}
	var said string
	if q.Epoch != "" && q.Epoch != "0" {
		n, err := strconv.ParseInt(q.Epoch, 10, 32)
		if err != nil {
			n = -1 // which no package has: it is refused with its name
		}
		p.Epoch = int(n)
	}
	if d := albs.Digest(strings.ToLower(q.Sum)); q.Sum != "" {
		if strings.EqualFold(q.SumType, "sha256") && d.Valid() {
			p.Digest = d
		} else {
			said = fmt.Sprintf("the %.20s sum of %.200s is no sha256", q.SumType, q.Name)
		}
	}
	return p, said
}

// kind returns the kind of a reference by updateinfo's word.
func kind(typ string) advisory.ReferenceKind {
	switch t := advisory.ReferenceKind(strings.ToLower(strings.TrimSpace(typ))); t {
	case advisory.ToSelf, advisory.ToCVE, advisory.ToBugzilla, advisory.ToAdvisory:
		return t
	case "rhba", "rhea", "redhat", "advisory":
		return advisory.ToAdvisory
	}
	return advisory.ToOther
}
