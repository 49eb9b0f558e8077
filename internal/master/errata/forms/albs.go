package forms

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// albsRecord is an advisory as ALBS's clients send it: to /errata/new/ one that is the
// distribution's already, to /errata/ one as Red Hat's OVAL has it.
type albsRecord struct {
	ID          string          `json:"id"`
	Freezed     *bool           `json:"freezed"`
	PlatformID  json.RawMessage `json:"platform_id"` // a number
	Issued      string          `json:"issued_date"`
	Updated     string          `json:"updated_date"`
	Title       *string         `json:"title"`
	Description *string         `json:"description"`
	Summary     *string         `json:"summary"`
	Solution    *string         `json:"solution"`
	Module      *string         `json:"module"`
	Severity    *string         `json:"severity"`
	Rights      *string         `json:"rights"`
	ContactMail *string         `json:"contact_mail"`
	References  []albsReference `json:"references"`
	Packages    []albsPackage   `json:"packages"`
	Criteria    any             `json:"criteria"`
	Tests       any             `json:"tests"`
	States      any             `json:"states"`
}

type albsReference struct {
	Href  string   `json:"href"`
	ID    string   `json:"ref_id"`
	Type  string   `json:"ref_type"`
	Title *string  `json:"title"`
	CVE   *albsCVE `json:"cve"`
}

type albsCVE struct {
	ID     string  `json:"id"`
	CVSS3  *string `json:"cvss3"`
	CWE    *string `json:"cwe"`
	Impact *string `json:"impact"`
	Public *string `json:"public"`
}

type albsPackage struct {
	Name    string        `json:"name"`
	Version string        `json:"version"`
	Release string        `json:"release"`
	Epoch   int           `json:"epoch"`
	Arch    string        `json:"arch"`
	Reboot  *bool         `json:"reboot_suggested"`
	Build   *albs.BuildID `json:"build_id"`
	Source  *string       `json:"source_srpm"`
}

// Given is what a body of ALBS's came to.
type Given struct {
	Advisory advisory.Advisory // its platform and its type are empty
	Platform string            // the number that the body has
	Frozen   bool
	Builds   []albs.BuildID
	Dropped  []string // a sentence for each thing that had to be left out
}

func deref(s *string) string {
	if s == nil {
		return ""
	}
	return *s
}

// ALBS reads a body of ALBS's, which its clients send to /errata/ and /errata/new/. The
// error is Invalid, and names the member that is wrong.
func ALBS(b []byte) (Given, error) {
	var in albsRecord
	if err := json.Unmarshal(b, &in); err != nil {
		return Given{}, albs.Errorf(albs.Invalid, "the body is not an advisory as ALBS has it: %w", err)
	}
	out := Given{Platform: strings.Trim(string(in.PlatformID), `"`), Frozen: in.Freezed != nil && *in.Freezed}
	a := advisory.Advisory{
		ID: in.ID, Description: advisory.CleanText(deref(in.Description)), Summary: advisory.CleanText(deref(in.Summary)), Solution: advisory.CleanText(deref(in.Solution)),
		Rights: advisory.CleanLine(deref(in.Rights)), From: advisory.CleanLine(deref(in.ContactMail)),
	}
	if out.Platform == "" || out.Platform == "null" {
		return out, albs.Errorf(albs.Invalid, "body.platform_id is missing")
	}
	if !advisory.ValidID(in.ID) {
		return out, albs.Errorf(albs.Invalid, "body.id: %.120q can't be the id of an advisory", in.ID)
	}
	var err error
	if a.Issued, err = advisory.ParseTime(in.Issued); err != nil {
		return out, albs.Errorf(albs.Invalid, "body.issued_date: %w", err)
	}
	if a.Updated, err = advisory.ParseTime(in.Updated); err != nil {
		return out, albs.Errorf(albs.Invalid, "body.updated_date: %w", err)
	}
	if a.Severity, err = advisory.ParseSeverity(deref(in.Severity)); err != nil {
		return out, albs.Errorf(albs.Invalid, "body.severity: %w", err)
	}
	a.SetTitle(deref(in.Title))
	out.Advisory = a
	for _, r := range in.References {
		out.reference(r)
	}
	m, err := in.module()
	if err != nil {
		return out, err
	}
	if len(in.Packages) == 0 {
		if in.Packages, err = in.criteria(); err != nil {
			return out, err
		}
	}
	for _, p := range in.Packages {
		pkg := advisory.Package{NEVRA: rpm.NEVRA{Name: p.Name, Epoch: p.Epoch, Version: p.Version, Release: p.Release, Arch: p.Arch}, Module: m, Reboot: p.Reboot != nil && *p.Reboot, Source: advisory.SourceFile(deref(p.Source))}
		if p.Arch == "src" {
			pkg.Module = nil
		}
		if s := out.Advisory.AddPackage(pkg); s != "" {
			return out, albs.Errorf(albs.Invalid, "body.packages: %s", s)
		}
		if p.Build != nil && *p.Build > 0 && !slices.Contains(out.Builds, *p.Build) {
			out.Builds = append(out.Builds, *p.Build)
		}
	}
	// Its platform, and by that its type, are the caller's to say.
	a = out.Advisory
	a.Platform, a.Type = "p", advisory.Bugfix
	err = a.Settle()
	a.Platform, a.Type = "", ""
	out.Advisory = a
	return out, err
}

// reference takes a reference, with the CVE that ALBS may tell in any.
func (g *Given) reference(r albsReference) {
	kind := map[string]advisory.ReferenceKind{
		"cve": advisory.ToCVE, "rhsa": advisory.ToAdvisory, "rhba": advisory.ToAdvisory, "rhea": advisory.ToAdvisory, "bugzilla": advisory.ToBugzilla,
		"self": advisory.ToSelf, "self_ref": advisory.ToSelf, // by value and by name of ALBS's enumeration
	}[strings.ToLower(strings.TrimPrefix(r.Type, "ErrataReferenceType."))]
	if kind == "" {
		kind = advisory.ToOther
	}
	if s := g.Advisory.AddReference(advisory.Reference{Kind: kind, ID: r.ID, URL: r.Href, Title: deref(r.Title)}); s != "" {
		g.Dropped = append(g.Dropped, s)
	}
	if r.CVE == nil {
		return
	}
	c := advisory.CVE{ID: r.CVE.ID}
	if !advisory.ValidCVE(c.ID) {
		g.Dropped = append(g.Dropped, fmt.Sprintf("%.60q is no id of a CVE", c.ID))
		return
	}
	if v := advisory.CleanLine(deref(r.CVE.CVSS3)); v != "" {
		c.Scores = append(c.Scores, advisory.Score{Vector: v[:min(len(v), 300)]})
	}
	c.CWEs = cwes.FindAllString(deref(r.CVE.CWE), 50)
	if severity, err := advisory.ParseSeverity(deref(r.CVE.Impact)); err == nil {
		c.Impact = severity
	} else {
		g.Dropped = append(g.Dropped, fmt.Sprintf("%s has no impact that is known: %.40q", c.ID, *r.CVE.Impact))
	}
	if s := deref(r.CVE.Public); s != "" {
		if at, err := advisory.ParseTime(s); err == nil {
			c.Public = at
		} else {
			g.Dropped = append(g.Dropped, fmt.Sprintf("%s became known at no day that can be read: %.40q", c.ID, s))
		}
	}
	if i := slices.IndexFunc(g.Advisory.CVEs, func(o advisory.CVE) bool { return o.ID == c.ID }); i >= 0 {
		g.Advisory.CVEs[i] = c
	} else {
		g.Advisory.CVEs = append(g.Advisory.CVEs, c)
	}
}

var (
	cwes = regexp.MustCompile(`CWE-[0-9]{1,9}`)
	// What comments of Red Hat's OVAL say.
	moduleEnabled = regexp.MustCompile(`^Module ([A-Za-z0-9][A-Za-z0-9._+-]*:[A-Za-z0-9][A-Za-z0-9._+-]*) is enabled$`)
	isEarlier     = regexp.MustCompile(`^([A-Za-z0-9_][A-Za-z0-9._+-]*) is earlier than ([0-9]+):([A-Za-z0-9._+~^]+)-([A-Za-z0-9._+~^]+)$`)
)

// module returns the module of the body, or that which its criteria tell; nil for none.
// A module's -devel is shipped with it and is not another one.
func (in albsRecord) module() (*advisory.Module, error) {
	said := map[string]bool{}
	if deref(in.Module) != "" {
		said[*in.Module] = true
	} else {
		each(in.Criteria, func(o map[string]any) {
			c, _ := o["comment"].(string)
			if m := moduleEnabled.FindStringSubmatch(c); m != nil {
				said[m[1]] = true
			}
		})
		for s := range said {
			name, stream, _ := strings.Cut(s, ":")
			delete(said, name+"-devel:"+stream)
		}
	}
	switch names := slices.Sorted(maps.Keys(said)); len(names) {
	case 0:
		return nil, nil
	case 1:
		m, ok := advisory.ParseModule(names[0])
		if !ok {
			return nil, albs.Errorf(albs.Invalid, "body.module: %.120q is not a module's name:stream", names[0])
		}
		return &m, nil
	default:
		return nil, albs.Errorf(albs.Invalid, "body.criteria is about several modules, %.200v, and body.packages doesn't tell which package is of which: send it as CSAF or updateinfo.xml", names)
	}
}

// criteria returns the packages that OVAL's criteria tell of: those that something "is
// earlier than", for the arches of the state that it is compared with. Invalid where
// these can't be told.
func (in albsRecord) criteria() ([]albsPackage, error) {
	arches := map[string][]string{} // by state
	each(in.States, func(o map[string]any) {
		id, _ := o["id"].(string)
		if s := text(o["arch"]); id != "" && s != "" {
			arches[id] = strings.Split(s, "|")
		}
	})
	of := map[string][]string{} // by test
	each(in.Tests, func(o map[string]any) {
		id, _ := o["id"].(string)
		if id == "" {
			return
		}
		for _, s := range texts(o) {
			if list, ok := arches[s]; ok {
				of[id] = list
			}
		}
	})
	var out []albsPackage
	var err error
	seen := map[albsPackage]bool{}
	each(in.Criteria, func(o map[string]any) {
		c, _ := o["comment"].(string)
		m := isEarlier.FindStringSubmatch(c)
		if m == nil || err != nil {
			return
		}
		epoch, bad := strconv.Atoi(m[2])
		var list []string
		for _, s := range texts(o) {
			if l, ok := of[s]; ok {
				list = l
			}
		}
		if bad != nil || len(list) == 0 {
			err = albs.Errorf(albs.Invalid, "body.packages is empty, and criteria, tests and states don't tell for which arches %.120s is", m[1])
			return
		}
		for _, arch := range list {
			p := albsPackage{Name: m[1], Epoch: epoch, Version: m[3], Release: m[4], Arch: strings.TrimSpace(arch)}
			if !seen[p] && len(out) <= advisory.MaxPackages {
				seen[p] = true
				out = append(out, p)
			}
		}
	})
	return out, err
}

// each calls f for every object within v.
func each(v any, f func(map[string]any)) {
	switch v := v.(type) {
	case []any:
		for _, x := range v {
			each(x, f)
		}
	case map[string]any:
		f(v)
		for _, k := range slices.Sorted(maps.Keys(v)) {
			each(v[k], f)
		}
	}
}

// texts returns all texts within an object.
func texts(v any) []string {
	var out []string
	switch v := v.(type) {
	case string:
		out = append(out, v)
	case []any:
		for _, x := range v {
			out = append(out, texts(x)...)
		}
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			out = append(out, texts(v[k])...)
		}
	}
	return out
}

// text returns the text of an element that is one, or has one beside its attributes.
func text(v any) string {
	switch v := v.(type) {
	case string:
		return v
	case map[string]any:
		for _, k := range []string{"text", "value", "#text", "$", "arch"} {
			if s, ok := v[k].(string); ok {
				return s
			}
		}
	}
	return ""
}
