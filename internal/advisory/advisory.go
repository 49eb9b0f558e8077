// Package advisory says what an advisory is: what was wrong, how badly, and which packages
// of a platform answer it. Packages below it write one as updateinfo, OSV, CSAF, OVAL and
// pages, and read those forms that others write.
//
// It is pure: it knows no database and no repository. An advisory that is to be published
// names packages as they are in a repository, with their digests; one that was read from
// elsewhere names what its author built.
package advisory

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// Bounds of an advisory.
const (
	MaxBytes      = 16 << 20 // encoded
	MaxPackages   = 20_000
	MaxReferences = 2_000
	MaxCVEs       = 2_000
	MaxVEX        = 10_000
	MaxText       = 256 << 10 // of a text
	MaxLine       = 2_000     // of a title, or another single line
)

// Type is what an advisory is for, in updateinfo's words.
type Type string

// The types of advisory.
const (
	Security    Type = "security"
	Bugfix      Type = "bugfix"
	Enhancement Type = "enhancement"
	NewPackage  Type = "newpackage"
)

// Types are all types.
func Types() []Type { return []Type{Security, Bugfix, Enhancement, NewPackage} }

// Severity is how bad it is; None where it wasn't judged, or there is nothing bad.
type Severity string

// The severities, worst first, as Red Hat rates them.
const (
	Critical  Severity = "critical"
	Important Severity = "important"
	Moderate  Severity = "moderate"
	Low       Severity = "low"
	None      Severity = ""
)

// Severities are all severities but None, worst first.
func Severities() []Severity { return []Severity{Critical, Important, Moderate, Low} }

// Title returns the severity as updateinfo.xml has it: capitalised, "None" for None.
func (s Severity) Title() string {
	if s == None {
		return "None"
	}
	return strings.ToUpper(string(s[:1])) + string(s[1:])
}

// ParseSeverity reads a severity in any case; "none", "unspecified" and "" are None. The
// error is Invalid.
func ParseSeverity(s string) (Severity, error) {
	v := Severity(strings.ToLower(strings.TrimSpace(s)))
	switch {
	case v == None || v == "none" || v == "unspecified" || v == "n/a":
		return None, nil
	case v == "high":
		return Important, nil
	case v == "medium":
		return Moderate, nil
	case slices.Contains(Severities(), v):
		return v, nil
	}
	return None, albs.Errorf(albs.Invalid, "%.40q is no severity: critical, important, moderate, low or none", s)
}

// Advisory is one notice of one platform, as it is written to all forms. Times are UTC and
// whole seconds. Two with equal contents have equal bytes.
type Advisory struct {
	// ID names it among those of its platform, as "ALSA-2024:6964".
	ID string `json:"id"`
	// Platform is the platform that it is for, as albs calls it: "almalinux-9".
	Platform string `json:"platform"`
	// Version counts what was published under the id, from 1.
	Version  int      `json:"version"`
	Type     Type     `json:"type"`
	Severity Severity `json:"severity,omitempty"`
	// Title is one line without the severity: "openssl security update".
	Title string `json:"title"`
	// Summary, Description and Solution are plain text of several lines.
	Summary     string `json:"summary,omitempty"`
	Description string `json:"description"`
	Solution    string `json:"solution,omitempty"`
	// Rights is the notice of copyright, From the address of who answers for it.
	Rights string `json:"rights,omitempty"`
	From   string `json:"from,omitempty"`
	// Upstream is the id of the notice that it answers, as "RHSA-2024:6964"; it may be empty.
	Upstream string    `json:"upstream,omitempty"`
	Issued   time.Time `json:"issued"`
	Updated  time.Time `json:"updated"`
	// Withdrawn is when it was taken back, with the reason; nil for one that holds.
	Withdrawn *Withdrawal `json:"withdrawn,omitempty"`
	// Reboot says that the system is to be started anew, whatever the packages say.
	Reboot     bool        `json:"reboot,omitempty"`
	References []Reference `json:"references,omitempty"` // in order of Normal
	CVEs       []CVE       `json:"cves,omitempty"`       // by id
	Packages   []Package   `json:"packages,omitempty"`   // in order of Normal
	// VEX is what people stated of packages and CVEs, beside what Packages say is fixed.
	VEX []VEX `json:"vex,omitempty"` // in order of Normal
}

// Withdrawal is when and why an advisory was taken back.
type Withdrawal struct {
	At     time.Time `json:"at"`
	Reason string    `json:"reason"`
}

// ReferenceKind is what a reference leads to, in updateinfo's words.
type ReferenceKind string

// The kinds of reference.
const (
	ToSelf     ReferenceKind = "self"     // the page of this advisory
	ToCVE      ReferenceKind = "cve"      // the page of a CVE
	ToBugzilla ReferenceKind = "bugzilla" // a bug, wherever it is kept
	ToAdvisory ReferenceKind = "rhsa"     // another advisory: the one that it answers
	ToOther    ReferenceKind = "other"
)

// Reference leads to where more is told.
type Reference struct {
	Kind  ReferenceKind `json:"kind"`
	ID    string        `json:"id,omitempty"` // "CVE-2024-1234", a bug's number, an advisory's id
	URL   string        `json:"url"`          // https or http
	Title string        `json:"title,omitempty"`
}

// CVE is a vulnerability that the advisory answers.
type CVE struct {
	ID string `json:"id"` // CVE-YYYY-N
	// Scores are CVSS vectors, each with who gave it.
	Scores []Score  `json:"scores,omitempty"`
	CWEs   []string `json:"cwes,omitempty"` // CWE-N, ascending
	Impact Severity `json:"impact,omitempty"`
	// Public is the day on which it became known; zero if that isn't known.
	Public time.Time `json:"public,omitzero"`
}

// Score is a CVSS vector as its source gave it.
type Score struct {
	Vector string `json:"vector"` // CVSS:3.1/…, CVSS:3.0/…, CVSS:4.0/…, or of version 2 without prefix
	Source string `json:"source,omitempty"`
}

// Module is a stream of a module in one build of it.
type Module struct {
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	Version uint64 `json:"version,omitempty"` // 0 if it isn't known
	Context string `json:"context,omitempty"`
	Arch    string `json:"arch,omitempty"`
}

// String returns name:stream, or name:stream:version:context if those are known.
func (m Module) String() string {
	s := m.Name + ":" + m.Stream
	if m.Version != 0 || m.Context != "" {
		s += ":" + strconv.FormatUint(m.Version, 10) + ":" + m.Context
	}
	return s
}

// Package is a package that answers the advisory.
type Package struct {
	rpm.NEVRA
	// Source is the file name of the SRPM that it was built from, as its header has it; ""
	// if it isn't known, and of a source package.
	Source string  `json:"source,omitempty"`
	Module *Module `json:"module,omitempty"`
	// Reboot, Relogin and Restart say what has to follow its installation.
	Reboot  bool `json:"reboot,omitempty"`
	Relogin bool `json:"relogin,omitempty"`
	Restart bool `json:"restart,omitempty"`
	// Repository is the path below the public place of the repository that has the package,
	// and Digest the sha256 of the (signed) file there; both are empty if it isn't known. A
	// package that several repositories have is there once for each.
	Repository string      `json:"repository,omitempty"`
	Digest     albs.Digest `json:"digest,omitempty"`
}

// SourceName returns the name of the source package: what Source says, or its own.
func (p Package) SourceName() string {
	// The name ends before the last two dashes of name-version-release.src.rpm.
	s := p.Source
	for range 2 {
		i := strings.LastIndexByte(s, '-')
		if i <= 0 {
			return p.Name
		}
		s = s[:i]
	}
	return s
}

// VEXStatus is how a package is touched by a vulnerability (OpenVEX 0.2.0, CSAF 2.0
// profile 5).
type VEXStatus string

// The statuses.
const (
	Affected           VEXStatus = "affected"
	NotAffected        VEXStatus = "not_affected"
	Fixed              VEXStatus = "fixed"
	UnderInvestigation VEXStatus = "under_investigation"
)

// VEXStatuses are all statuses.
func VEXStatuses() []VEXStatus { return []VEXStatus{Affected, NotAffected, Fixed, UnderInvestigation} }

// Justifications say why a package is not affected, as CSAF 2.0 §3.2.3.5 has them.
func Justifications() []string {
	return []string{
		"component_not_present", "inline_mitigations_already_exist", "vulnerable_code_cannot_be_controlled_by_adversary",
		"vulnerable_code_not_in_execute_path", "vulnerable_code_not_present",
	}
}

// VEX is what a person states of a package and a CVE.
type VEX struct {
	CVE     string    `json:"cve"`
	Package string    `json:"package"`          // a source package's name
	Stream  string    `json:"stream,omitempty"` // name:stream of its module
	Status  VEXStatus `json:"status"`
	// Justification is one of Justifications, of what is not affected; Detail is for people,
	// and wanted of what is affected: what to do.
	Justification string    `json:"justification,omitempty"`
	Detail        string    `json:"detail,omitempty"`
	At            time.Time `json:"at"`
}

// Distribution is what the forms say of the platform that advisories are for.
type Distribution struct {
	Platform  string // as albs calls it
	Name      string // "AlmaLinux OS"
	Version   string // "9"
	Vendor    string // "AlmaLinux"
	Namespace string // a URL of the vendor: "https://almalinux.org"
	Ecosystem string // OSV's, "AlmaLinux:9"
	// URL is where the folder of its advisories is public, without a slash at the end.
	URL string
	// CPE of the platform (2.2, "cpe:/o:almalinux:almalinux:9"), and of repositories by path
	// where they have one of their own.
	CPE             string
	RepositoryCPEs  map[string]string
	Contact         string   // an address of mail or a URL
	ReleaseFile     string   // "/etc/almalinux-release"; "" is /etc/os-release
	ReleasePackage  string   // the package that owns it: "almalinux-release"
	KeyFingerprints []string // of the keys that sign its packages, hexadecimal, upper case
}

var (
	idForm   = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,31}([-:][A-Za-z0-9]{1,32}){0,12}$`)
	cveForm  = regexp.MustCompile(`^CVE-[0-9]{4}-[0-9]{4,19}$`)
	cweForm  = regexp.MustCompile(`^CWE-[0-9]{1,9}$`)
	fileForm = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._+~^-]{0,254}$`)
	wordForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+~^-]{0,127}$`)
)

// ValidID reports whether id may name an advisory: letters, digits, dashes and colons, at
// most some 100 bytes. Such an id is safe as part of a path once FileName was asked.
func ValidID(id string) bool { return len(id) <= 100 && idForm.MatchString(id) }

// ValidCVE reports whether id has the form of a CVE's (CVE Record Format 5.1).
func ValidCVE(id string) bool { return cveForm.MatchString(id) }

// FileName returns the id as it stands in names of files: with a dash for each colon.
func FileName(id string) string { return strings.ReplaceAll(id, ":", "-") }

// Check returns the first fault of the advisory as Invalid, or TooLarge beyond a bound. It
// wants nothing of what only a publication has: packages may lack digests.
func (a Advisory) Check() error {
	bad := func(format string, args ...any) error {
		return albs.Errorf(albs.Invalid, "advisory %.100q: "+format, append([]any{a.ID}, args...)...)
	}
	switch {
	case !ValidID(a.ID):
		return albs.Errorf(albs.Invalid, "%.120q can't be the id of an advisory: letters, digits, dashes and colons", a.ID)
	case !wordForm.MatchString(a.Platform):
		return bad("%.120q can't be a platform", a.Platform)
	case a.Version < 1:
		return bad("its version is %d; versions begin with 1", a.Version)
	case !slices.Contains(Types(), a.Type):
		return bad("%.40q is no type: %v", a.Type, Types())
	case a.Severity != None && !slices.Contains(Severities(), a.Severity):
		return bad("%.40q is no severity: %v", a.Severity, Severities())
	case a.Title == "":
		return bad("it has no title")
	case a.Issued.IsZero() || a.Updated.IsZero():
		return bad("it lacks the time of issue or of update")
	case a.Updated.Before(a.Issued):
		return bad("it was updated before it was issued")
	case len(a.Packages) > MaxPackages || len(a.References) > MaxReferences || len(a.CVEs) > MaxCVEs || len(a.VEX) > MaxVEX:
		return albs.Errorf(albs.TooLarge, "advisory %s has %d packages, %d references, %d CVEs and %d statements, more than %d, %d, %d and %d", a.ID,
			len(a.Packages), len(a.References), len(a.CVEs), len(a.VEX), MaxPackages, MaxReferences, MaxCVEs, MaxVEX)
	}
	for _, l := range []struct{ name, text string }{{"title", a.Title}, {"rights", a.Rights}, {"from", a.From}, {"upstream", a.Upstream}} {
		if !Line(l.text) {
			return bad("its %s isn't one line of at most %d bytes of text", l.name, MaxLine)
		}
	}
	for _, l := range []struct{ name, text string }{{"summary", a.Summary}, {"description", a.Description}, {"solution", a.Solution}} {
		if !Text(l.text) {
			return bad("its %s isn't text of at most %d bytes", l.name, MaxText)
		}
	}
	if a.Withdrawn != nil && (a.Withdrawn.At.IsZero() || a.Withdrawn.Reason == "" || !Text(a.Withdrawn.Reason)) {
		return bad("its withdrawal has no time or no reason")
	}
	for _, r := range a.References {
		if err := r.fault(); err != "" {
			return bad("the reference %.200q %s", r.URL, err)
		}
	}
	for _, c := range a.CVEs {
		if err := c.fault(); err != "" {
			return bad("the CVE %.40q %s", c.ID, err)
		}
	}
	for _, p := range a.Packages {
		if err := p.fault(); err != "" {
			return bad("the package %.200q %s", p.NEVRA.String(), err)
		}
	}
	for _, v := range a.VEX {
		if err := v.fault(); err != "" {
			return bad("what is stated of %.80q and %.40q %s", v.Package, v.CVE, err)
		}
	}
	return nil
}

func (r Reference) fault() string {
	u, err := url.Parse(r.URL)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "" || !Line(r.URL):
		return "is no address of http or https"
	case !slices.Contains([]ReferenceKind{ToSelf, ToCVE, ToBugzilla, ToAdvisory, ToOther}, r.Kind):
		return "has no kind that is known"
	case !Line(r.ID) || !Line(r.Title):
		return "has an id or a title that isn't one line of text"
	}
	return ""
}

func (c CVE) fault() string {
	switch {
	case !ValidCVE(c.ID):
		return "has no id of the form CVE-YYYY-N"
	case len(c.Scores) > 20 || len(c.CWEs) > 50:
		return "has more than 20 scores or 50 CWEs"
	case c.Impact != None && !slices.Contains(Severities(), c.Impact):
		return "has an impact that is no severity"
	}
	for _, s := range c.Scores {
		if s.Vector == "" || len(s.Vector) > 300 || !Line(s.Vector) || !Line(s.Source) {
			return "has a score that is no vector of CVSS"
		}
	}
	for _, w := range c.CWEs {
		if !cweForm.MatchString(w) {
			return "has a CWE that is no CWE-N"
		}
	}
	return ""
}

func (p Package) fault() string {
	switch {
	case !p.Valid():
		return "breaks the grammar of RPM's names"
	case p.Source != "" && !fileForm.MatchString(p.Source):
		return "has no file name as its source"
	case p.Digest != "" && !p.Digest.Valid():
		return "has no sha256 as its digest"
	case !Line(p.Repository):
		return "has a repository that isn't one line of text"
	case p.Module != nil && (!wordForm.MatchString(p.Module.Name) || !wordForm.MatchString(p.Module.Stream) || !Line(p.Module.Context) || !Line(p.Module.Arch)):
		return "has a module without a name and a stream"
	}
	return ""
}

// Check gives an Invalid error unless an advisory may have v.
func (v VEX) Check() error {
	if f := v.fault(); f != "" {
		return albs.Errorf(albs.Invalid, "what is stated of %.80q and %.40q %s", v.Package, v.CVE, f)
	}
	return nil
}

func (v VEX) fault() string {
	switch {
	case !ValidCVE(v.CVE):
		return "names no CVE"
	case !wordForm.MatchString(v.Package) || !Line(v.Stream):
		return "names no package"
	case !slices.Contains(VEXStatuses(), v.Status):
		return "has no status that is known"
	case v.Status == NotAffected && !slices.Contains(Justifications(), v.Justification):
		return "says not affected without a justification"
	case v.Status != NotAffected && v.Justification != "":
		return "has a justification, which only what isn't affected has"
	case v.Status == Affected && v.Detail == "":
		return "says affected and not what to do"
	case !Text(v.Detail):
		return "has details that aren't text"
	case v.At.IsZero():
		return "has no time"
	}
	return ""
}

// Line reports whether s is UTF-8 of at most MaxLine bytes without control characters. ""
// is a line.
func Line(s string) bool {
	return len(s) <= MaxLine && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f || r == 0xfffe || r == 0xffff })
}

// Text reports whether s is UTF-8 of at most MaxText bytes whose only control characters
// are tabs and newlines, so that every form can carry it.
func Text(s string) bool {
	return len(s) <= MaxText && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' || r == 0x7f || r == 0xfffe || r == 0xffff
	})
}

// Normal returns the advisory as all forms are written of it: times in UTC and whole
// seconds, lists in their order and without doubles.
func (a Advisory) Normal() Advisory {
	whole := func(t time.Time) time.Time {
		if t.IsZero() {
			return t
		}
		return t.UTC().Truncate(time.Second)
	}
	a.Issued, a.Updated = whole(a.Issued), whole(a.Updated)
	if a.Withdrawn != nil {
		w := *a.Withdrawn
		w.At = whole(w.At)
		a.Withdrawn = &w
	}
	a.References = slices.Clone(a.References)
	slices.SortFunc(a.References, func(x, y Reference) int {
		return cmp.Or(cmp.Compare(rank(x.Kind), rank(y.Kind)), strings.Compare(x.ID, y.ID), strings.Compare(x.URL, y.URL), strings.Compare(x.Title, y.Title))
	})
	a.References = slices.CompactFunc(a.References, func(x, y Reference) bool { return x.Kind == y.Kind && x.ID == y.ID && x.URL == y.URL })
	a.CVEs = slices.Clone(a.CVEs)
	for i, c := range a.CVEs {
		c.CWEs = slices.Compact(slices.Sorted(slices.Values(c.CWEs)))
		c.Scores = slices.Clone(c.Scores)
		slices.SortFunc(c.Scores, func(x, y Score) int {
			return cmp.Or(strings.Compare(x.Source, y.Source), strings.Compare(x.Vector, y.Vector))
		})
		c.Scores = slices.Compact(c.Scores)
		c.Public = whole(c.Public)
		a.CVEs[i] = c
	}
	slices.SortStableFunc(a.CVEs, func(x, y CVE) int { return strings.Compare(x.ID, y.ID) })
	a.CVEs = slices.CompactFunc(a.CVEs, func(x, y CVE) bool { return x.ID == y.ID })
	a.Packages = slices.Clone(a.Packages)
	slices.SortStableFunc(a.Packages, Package.compare)
	a.Packages = slices.CompactFunc(a.Packages, func(x, y Package) bool { return x.compare(y) == 0 })
	a.VEX = slices.Clone(a.VEX)
	for i := range a.VEX {
		a.VEX[i].At = whole(a.VEX[i].At)
	}
	slices.SortStableFunc(a.VEX, func(x, y VEX) int {
		return cmp.Or(strings.Compare(x.CVE, y.CVE), strings.Compare(x.Package, y.Package), strings.Compare(x.Stream, y.Stream), x.At.Compare(y.At))
	})
	return a
}

// rank orders references: its own page, what it answers, CVEs, bugs, the rest.
func rank(k ReferenceKind) int {
	return slices.Index([]ReferenceKind{ToSelf, ToAdvisory, ToCVE, ToBugzilla, ToOther}, k)
}

func (p Package) compare(o Package) int {
	mod := func(m *Module) string {
		if m == nil {
			return ""
		}
		return m.String() + ":" + m.Arch
	}
	return cmp.Or(strings.Compare(p.Repository, o.Repository), strings.Compare(mod(p.Module), mod(o.Module)), strings.Compare(p.Name, o.Name),
		rpm.Compare(p.EVR(), o.EVR()), strings.Compare(p.Version, o.Version), strings.Compare(p.Release, o.Release), strings.Compare(p.Arch, o.Arch), strings.Compare(string(p.Digest), string(o.Digest)))
}

// Encode returns the advisory's Normal form as JSON with a newline. Equal advisories have
// equal bytes.
func (a Advisory) Encode() []byte {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(a.Normal()); err != nil {
		return nil // every type of an Advisory can be encoded
	}
	return b.Bytes()
}

// Parse reads what Encode wrote and checks it. Unknown fields, and bytes that Encode would
// write otherwise, are Invalid.
func Parse(b []byte) (Advisory, error) {
	var a Advisory
	if len(b) > MaxBytes {
		return a, albs.Errorf(albs.TooLarge, "an advisory has at most %d bytes", MaxBytes)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&a); err != nil {
		return Advisory{}, albs.Errorf(albs.Invalid, "the advisory can't be read: %w", err)
	}
	if err := a.Check(); err != nil {
		return Advisory{}, err
	}
	if !bytes.Equal(a.Encode(), b) {
		return Advisory{}, albs.Errorf(albs.Invalid, "the advisory %s isn't in its canonical form", a.ID)
	}
	return a, nil
}
