package errata

import (
	"cmp"
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/platform"
)

// scheme is how the advisories of a platform are called.
type scheme struct{ platform.Errata }

// ownNumber is what follows Own in an id of the distribution's own series.
var ownNumber = regexp.MustCompile(`^[0-9]{3,9}$`)

// read returns the type that an id tells and whether it is of the distribution's own
// series. It is Invalid if it has no form of the platform's.
func (s scheme) read(id string) (t advisory.Type, own bool, err error) {
	var forms []string
	for _, typ := range advisory.Types() {
		form, ok := s.IDs[string(typ)]
		if !ok {
			continue
		}
		forms = append(forms, form)
		r := strings.NewReplacer(`\{year\}`, `[0-9]{4}`, `\{serial\}`, `([A-Za-z0-9]{1,32})`)
		m := regexp.MustCompile(`^` + r.Replace(regexp.QuoteMeta(form)) + `$`).FindStringSubmatch(id)
		if m == nil {
			continue
		}
		n, is := strings.CutPrefix(m[1], s.Own)
		return typ, is && ownNumber.MatchString(n), nil
	}
	return "", false, albs.Errorf(albs.Invalid, "%.120q is not how advisories are called here: %s", id, strings.Join(forms, ", "))
}

// prefix returns what the ids of the own series of a type and year begin with, up to
// their number; Invalid if the type has no ids.
func (s scheme) prefix(t advisory.Type, year int) (string, error) {
	form, ok := s.IDs[string(t)]
	if !ok {
		return "", albs.Errorf(albs.Invalid, "the platform has no ids for advisories of the type %.40q", t)
	}
	return strings.NewReplacer("{year}", fmt.Sprintf("%04d", year), "{serial}", s.Own).Replace(form), nil
}

// following returns the id after those of names that have the prefix.
func following(prefix string, names []string) string {
	last := 0
	for _, name := range names {
		if n, ok := strings.CutPrefix(name, prefix); ok && ownNumber.MatchString(n) {
			if i, err := strconv.Atoi(n); err == nil {
				last = max(last, i)
			}
		}
	}
	return fmt.Sprintf("%s%03d", prefix, last+1)
}

// page returns the address of the page of an advisory.
func (s scheme) page(id string) string {
	if s.Page == "" {
		return s.URL + "/html/" + advisory.FileName(id) + ".html"
	}
	return strings.Replace(s.Page, "{id}", advisory.FileName(id), 1)
}

// dated returns a with the times that it lacks.
func (s scheme) dated(a advisory.Advisory, now time.Time) advisory.Advisory {
	if a.Issued.IsZero() {
		a.Issued = now.UTC()
	}
	a.Issued = a.Issued.UTC()
	if a.Updated.IsZero() {
		a.Updated = a.Issued
	}
	return a
}

// complete returns a new advisory with what its id tells, its type and whether it is of
// the own series, and with what the platform says of all its advisories and a doesn't:
// the notice of copyright, who answers for it, what to do, and the reference to its own
// page. Invalid if its id isn't of the platform's forms or of another type than a.
func (s scheme) complete(a advisory.Advisory, now time.Time) (_ advisory.Advisory, own bool, err error) {
	typ, own, err := s.read(a.ID)
	if err != nil {
		return a, false, err
	}
	if a.Type == "" {
		a.Type = typ
	}
	if a.Type != typ {
		return a, false, albs.Errorf(albs.Invalid, "the id %s is of the type %s, not %.40s", a.ID, typ, a.Type)
	}
	a = s.dated(a, now)
	if a.Rights == "" {
		a.Rights = strings.ReplaceAll(s.Rights, "{year}", strconv.Itoa(a.Issued.Year()))
	}
	if a.From == "" {
		a.From = s.From
	}
	if a.Solution == "" {
		a.Solution = s.Solution
	}
	a.Version, a.Withdrawn = 1, nil
	a = s.shape(a).Normal()
	return a, own, a.Check()
}

// shape puts the reference to its own page in place of those that it has to pages of its
// own, and leaves of its packages what a notice wants: no place and no digest.
func (s scheme) shape(a advisory.Advisory) advisory.Advisory {
	refs := make([]advisory.Reference, 0, len(a.References)+1)
	for _, r := range a.References {
		if r.Kind != advisory.ToSelf {
			refs = append(refs, r)
		}
	}
	a.References = append(refs, advisory.Reference{Kind: advisory.ToSelf, ID: a.ID, URL: s.page(a.ID), Title: a.ID})
	packages := make([]advisory.Package, 0, len(a.Packages))
	for _, p := range a.Packages {
		p.Repository, p.Digest = "", ""
		packages = append(packages, p)
	}
	a.Packages = packages
	return a
}

// Distribution returns what the forms of advisories say of a platform; Invalid if it has
// none.
func Distribution(p platform.Platform) (advisory.Distribution, error) {
	e := p.Errata
	if e.None() {
		return advisory.Distribution{}, noErrata(p.Name)
	}
	return advisory.Distribution{
		Platform: p.Name, Name: cmp.Or(p.OS.Name, p.OS.ID), Version: p.OS.Version, Vendor: e.Vendor, Namespace: e.Namespace, Ecosystem: e.Ecosystem,
		URL: e.URL, CPE: e.CPE, RepositoryCPEs: e.RepositoryCPEs, Contact: e.Contact, ReleaseFile: e.ReleaseFile, ReleasePackage: e.ReleasePackage,
	}, nil
}

func noErrata(name string) error {
	return albs.Errorf(albs.Invalid, "platform %s has no errata section: apply one that says how its advisories are called and whose they are", name)
}
