package advisory

import (
	"cmp"
	"fmt"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// What the readers of forms have in common: they take what others wrote for what it most
// likely means, and say in a sentence what they had to leave out.

// CleanLine returns s as a Line would have it but for its length: UTF-8, control characters
// and runs of space as one space, no space at the ends.
func CleanLine(s string) string {
	return strings.Join(strings.FieldsFunc(clean(s), func(r rune) bool { return r <= ' ' || r == 0x7f || r == 0xa0 }), " ")
}

// CleanText returns s as a Text would have it but for its length: UTF-8, lines ended by
// newlines alone, no other control characters than tabs, and no space at the ends.
func CleanText(s string) string {
	s = strings.ReplaceAll(clean(s), "\r\n", "\n")
	return strings.TrimSpace(strings.Map(func(r rune) rune {
		switch {
		case r == '\r':
			return '\n'
		case r < ' ' && r != '\n' && r != '\t' || r == 0x7f:
			return -1
		}
		return r
	}, s))
}

// clean returns s without what isn't a character of XML beyond the controls.
func clean(s string) string {
	s = strings.ToValidUTF8(s, string(utf8.RuneError))
	return strings.Map(func(r rune) rune {
		if r == 0xfffe || r == 0xffff {
			return -1
		}
		return r
	}, s)
}

// ParseTime reads a time as forms have it: seconds or milliseconds since 1970, a day, or
// a day and a time of RFC 3339 or with a space between and perhaps a zone. One without a
// zone is UTC. The error is Invalid.
func ParseTime(s string) (time.Time, error) {
	s = strings.TrimSuffix(strings.TrimSpace(s), " UTC")
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		if len(s) > 11 {
			n /= 1000
		}
		// Beyond the year 9999 RFC 3339 ends.
		if n > 0 && n < 253402300800 {
			return time.Unix(n, 0).UTC(), nil
		}
	}
	for _, layout := range []string{time.RFC3339, time.DateTime, time.DateOnly, "2006-01-02T15:04:05", "2006-01-02 15:04:05Z07:00", "2006-01-02 15:04:05 -0700", "2006-01-02 15:04"} {
		if t, err := time.Parse(layout, s); err == nil && t.Year() > 0 {
			return t.UTC().Truncate(time.Second), nil
		}
	}
	return time.Time{}, albs.Errorf(albs.Invalid, "%.60q is no time", s)
}

// ParseType reads a type as updateinfo and its kin have it; what they call otherwise is a
// bug fix, and then ok is false.
func ParseType(s string) (t Type, ok bool) {
	switch s = strings.ToLower(strings.TrimSpace(s)); {
	case slices.Contains(Types(), Type(s)):
		return Type(s), true
	case s == "bug fix" || s == "recommended":
		return Bugfix, true
	case s == "feature" || s == "optional":
		return Enhancement, true
	}
	return Bugfix, false
}

// ParseModule reads name:stream, with version, context and arch behind it or not.
func ParseModule(s string) (Module, bool) {
	p := strings.Split(s, ":")
	if len(p) < 2 || len(p) > 5 || !wordForm.MatchString(p[0]) || !wordForm.MatchString(p[1]) {
		return Module{}, false
	}
	m := Module{Name: p[0], Stream: p[1]}
	if len(p) > 2 && p[2] != "" {
		v, err := strconv.ParseUint(p[2], 10, 64)
		if err != nil {
			return Module{}, false
		}
		m.Version = v
	}
	if len(p) > 3 {
		m.Context = p[3]
	}
	if len(p) > 4 {
		m.Arch = p[4]
	}
	return m, true
}

// NSVCA returns name:stream:version:context:arch, which ParseModule reads; what isn't known
// is empty.
func (m Module) NSVCA() string {
	v := ""
	if m.Version != 0 {
		v = strconv.FormatUint(m.Version, 10)
	}
	return strings.Join([]string{m.Name, m.Stream, v, m.Context, m.Arch}, ":")
}

// SourceFile returns s as Package.Source has it: the last element of a path, "" if it is no
// file name.
func SourceFile(s string) string {
	if s = path.Base(s); fileForm.MatchString(s) {
		return s
	}
	return ""
}

// SetTitle sets title and severity from a title that may begin with the severity, as
// "Important: openssl security update".
func (a *Advisory) SetTitle(s string) {
	a.Title = CleanLine(s)
	if a.Severity != None {
		if i := strings.Index(a.Title, ": "); i > 0 && strings.EqualFold(a.Title[:i], string(a.Severity)) {
			a.Title = a.Title[i+2:]
		}
	}
}

// FullTitle returns the title as lists show it: after the severity, where there is one.
func (a Advisory) FullTitle() string {
	if a.Severity == None {
		return a.Title
	}
	return a.Severity.Title() + ": " + a.Title
}

// AddReference appends r as far as an advisory may have it, and takes up what it leads to: a
// CVE, or the notice that the advisory answers. It returns a sentence if r can't be had.
func (a *Advisory) AddReference(r Reference) string {
	r.ID, r.URL, r.Title = CleanLine(r.ID), strings.TrimSpace(r.URL), CleanLine(r.Title)
	if f := r.fault(); f != "" {
		return fmt.Sprintf("the reference %.200q %s", r.URL, f)
	}
	a.References = append(a.References, r)
	switch {
	case r.Kind == ToCVE && ValidCVE(r.ID):
		// One more than it may have is refused by Check, and searched no further.
		if len(a.CVEs) <= MaxCVEs && !slices.ContainsFunc(a.CVEs, func(c CVE) bool { return c.ID == r.ID }) {
			a.CVEs = append(a.CVEs, CVE{ID: r.ID})
		}
	case r.Kind == ToAdvisory && a.Upstream == "" && ValidID(r.ID):
		a.Upstream = r.ID
	}
	return ""
}

// Check gives an Invalid error unless an advisory may have c.
func (c CVE) Check() error {
	if f := c.fault(); f != "" {
		return albs.Errorf(albs.Invalid, "the CVE %.40q %s", c.ID, f)
	}
	return nil
}

// AddPackage appends p as far as an advisory may have it, and returns a sentence if not.
func (a *Advisory) AddPackage(p Package) string {
	if f := p.fault(); f != "" {
		return fmt.Sprintf("the package %.200q %s", p.NEVRA.String(), f)
	}
	a.Packages = append(a.Packages, p)
	return ""
}

// AllReferences returns the references, and one more to each CVE that none of them leads
// to: readers of most forms know the CVEs from the references alone.
func (a Advisory) AllReferences() []Reference {
	to := map[string]bool{}
	for _, r := range a.References {
		if r.Kind == ToCVE {
			to[r.ID] = true
		}
	}
	all := slices.Clone(a.References)
	for _, c := range a.CVEs {
		if !to[c.ID] {
			all = append(all, Reference{Kind: ToCVE, ID: c.ID, URL: "https://www.cve.org/CVERecord?id=" + c.ID})
		}
	}
	return Advisory{References: all}.Normal().References
}

// AllCVEs returns the ids of all CVEs that the advisory answers, ascending: those of its own
// list and those that its references lead to.
func (a Advisory) AllCVEs() []string {
	var ids []string
	for _, c := range a.CVEs {
		ids = append(ids, c.ID)
	}
	for _, r := range a.References {
		if r.Kind == ToCVE && ValidCVE(r.ID) {
			ids = append(ids, r.ID)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// Merge returns the advisories by platform and id, those that have both in common as one:
// the contents of the last updated, with the packages, references and CVEs of all, from the
// first issue to the last update. Forms that are written by repository tell of one advisory
// in several places.
func Merge(as []Advisory) []Advisory {
	as = slices.Clone(as)
	slices.SortStableFunc(as, func(x, y Advisory) int {
		return cmp.Or(strings.Compare(x.Platform, y.Platform), strings.Compare(x.ID, y.ID), y.Updated.Compare(x.Updated))
	})
	var out []Advisory
	for _, a := range as {
		if len(out) == 0 || out[len(out)-1].ID != a.ID || out[len(out)-1].Platform != a.Platform {
			out = append(out, a)
			continue
		}
		m := &out[len(out)-1]
		if a.Issued.Before(m.Issued) {
			m.Issued = a.Issued
		}
		m.Version = max(m.Version, a.Version)
		m.Reboot = m.Reboot || a.Reboot
		m.Packages = slices.Concat(m.Packages, a.Packages)
		m.References = slices.Concat(m.References, a.References)
		m.CVEs = slices.Concat(m.CVEs, a.CVEs)
		m.VEX = slices.Concat(m.VEX, a.VEX)
	}
	for i := range out {
		out[i] = out[i].Normal()
	}
	return out
}

// ModuleGroup is packages of an advisory that belong together: those of one stream of a
// module, or those of none.
type ModuleGroup struct {
	Stream   string // name:stream; "" for the packages of no module
	Packages []Package
}

// ByModule returns the packages in groups, first those of no module, then by module's name
// and stream. Packages keep their order.
func (a Advisory) ByModule() []ModuleGroup {
	var out []ModuleGroup
	at := map[Module]int{}
	keys := []Module{}
	for _, p := range a.Packages {
		var k Module
		if p.Module != nil {
			k = Module{Name: p.Module.Name, Stream: p.Module.Stream}
		}
		i, ok := at[k]
		if !ok {
			i = len(out)
			at[k], keys = i, append(keys, k)
			g := ModuleGroup{}
			if p.Module != nil {
				g.Stream = k.String()
			}
			out = append(out, g)
		}
		out[i].Packages = append(out[i].Packages, p)
	}
	slices.SortFunc(keys, func(x, y Module) int {
		return cmp.Or(strings.Compare(x.Name, y.Name), strings.Compare(x.Stream, y.Stream))
	})
	sorted := make([]ModuleGroup, len(out))
	for i, k := range keys {
		sorted[i] = out[at[k]]
	}
	return sorted
}

// SourceEVR returns the version that the source package of p has: what Source says, with the
// epoch of the package, which is the source's own in all but a few packages. It is the
// package's own where Source isn't known.
func (p Package) SourceEVR() rpm.EVR {
	rest, ok := strings.CutPrefix(p.Source, p.SourceName()+"-")
	if i := strings.LastIndex(rest, ".src.rpm"); ok && i > 0 {
		if v, r, ok := strings.Cut(rest[:i], "-"); ok {
			return rpm.EVR{Epoch: p.Epoch, Version: v, Release: r}
		}
	}
	return p.EVR()
}

// File is one file of a form: its path below the place of its platform's advisories.
type File struct {
	Path  string
	Bytes []byte
}

// Piece is what one advisory is in a file over all of them. Who keeps the pieces makes the
// file anew out of them at the price of copying.
type Piece struct {
	ID      string
	Updated time.Time
	Bytes   []byte
}

// Newest sorts pieces by update, the last first, and those of one moment by id.
func Newest(ps []Piece) []Piece {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(x, y Piece) int { return cmp.Or(y.Updated.Compare(x.Updated), strings.Compare(x.ID, y.ID)) })
	return ps
}

// ByID sorts pieces by id.
func ByID(ps []Piece) []Piece {
	ps = slices.Clone(ps)
	slices.SortFunc(ps, func(x, y Piece) int { return strings.Compare(x.ID, y.ID) })
	return ps
}

// Settle gives an advisory that was read what every one has, where the form had none: a
// version, a title, times that don't run backwards. It fails as Check does.
func (a *Advisory) Settle() error {
	a.Version = max(a.Version, 1)
	if a.Title == "" {
		a.Title = a.ID
	}
	if a.Issued.IsZero() {
		a.Issued = a.Updated
	}
	if a.Updated.Before(a.Issued) {
		a.Updated = a.Issued
	}
	if a.Withdrawn != nil && a.Withdrawn.At.IsZero() {
		a.Withdrawn = &Withdrawal{At: a.Updated, Reason: a.Withdrawn.Reason}
	}
	*a = a.Normal()
	return a.Check()
}
