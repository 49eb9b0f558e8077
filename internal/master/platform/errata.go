package platform

import (
	"maps"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// Errata says how the platform's advisories are called, whose they are and what they say
// of the distribution. A platform without it has no advisories.
type Errata struct {
	// Team is the one whose people write, match and release them.
	Team string `yaml:"team" json:"team"`
	// IDs are the forms of their ids, by type: security, bugfix, enhancement, newpackage.
	// {year} and {serial} are filled in, as in ALSA-{year}:{serial}.
	IDs map[string]string `yaml:"ids" json:"ids"`
	// Own is what serials begin with in the ids of advisories that the distribution itself
	// issues, and that answer no other's: A is for ALSA-2024:A001.
	Own string `yaml:"own" json:"own"`
	// Suffixes are what the platform appends to releases of packages that it takes over with
	// changes, as .alma, so that they are known by the notices of others.
	Suffixes []string `yaml:"suffixes" json:"suffixes,omitempty"`
	// Upstream are the CPEs 2.2 of others' products whose advisories are the platform's, as
	// CSAF documents name them; one counts for all that is below it.
	Upstream []string `yaml:"upstream" json:"upstream,omitempty"`
	// URL is where the folder of the advisories is public.
	URL string `yaml:"url" json:"url"`
	// Page is the address of an advisory's page, {id} for its id with dashes; empty is
	// html/{id}.html below URL.
	Page string `yaml:"page" json:"page,omitempty"`
	// Vendor and Namespace, a URL of its, are who publishes them.
	Vendor    string `yaml:"vendor" json:"vendor"`
	Namespace string `yaml:"namespace" json:"namespace"`
	// Contact is an address of mail or a URL; From is that of who answers for an advisory.
	Contact string `yaml:"contact" json:"contact"`
	From    string `yaml:"from" json:"from,omitempty"`
	// Rights is the notice of copyright; {year} is filled in.
	Rights string `yaml:"rights" json:"rights,omitempty"`
	// Solution is what to do, where an advisory doesn't say it.
	Solution string `yaml:"solution" json:"solution,omitempty"`
	// Ecosystem is how OSV calls the platform, as AlmaLinux:9.
	Ecosystem string `yaml:"ecosystem" json:"ecosystem"`
	// CPE names the platform, and RepositoryCPEs the repositories that have one of their
	// own, by path.
	CPE            string            `yaml:"cpe" json:"cpe"`
	RepositoryCPEs map[string]string `yaml:"repository_cpes" json:"repository_cpes,omitempty"`
	// ReleaseFile is the file that names the distribution's version, and ReleasePackage the
	// package that owns it; without them it is /etc/os-release.
	ReleaseFile    string `yaml:"release_file" json:"release_file,omitempty"`
	ReleasePackage string `yaml:"release_package" json:"release_package,omitempty"`
	// Rewrite is what advisories of others become when they are imported, rule by rule.
	Rewrite []Rewrite `yaml:"rewrite" json:"rewrite,omitempty"`
}

// None reports whether the platform has no advisories.
func (e Errata) None() bool { return e.Team == "" }

// Rewrite is one rule for what comes from elsewhere.
type Rewrite struct {
	// In are where it holds: id, text, reference.
	In []string `yaml:"in" json:"in"`
	// Find is the text that is replaced, or Pattern what matches it (RE2); one of them.
	Find    string `yaml:"find" json:"find,omitempty"`
	Pattern string `yaml:"pattern" json:"pattern,omitempty"`
	// With stands in its place; of a pattern, $1 is what its first group matched.
	With string `yaml:"with" json:"with"`
}

// Where a Rewrite may hold.
const (
	InID        = "id"        // of the advisory; of what it answers nothing changes
	InText      = "text"      // title, summary, description, solution, rights
	InReference = "reference" // titles and addresses of references
)

// Bounds of the rules for what comes from elsewhere.
const (
	maxRewrites     = 100
	maxRewrite      = 1000 // bytes of what is found, and of what stands in its place
	maxErrataText   = 4000
	maxErrataIDForm = 80
	maxSuffixes     = 10
)

var (
	idFormForm     = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9]{0,31}(-[A-Za-z0-9]{1,32})*-\{year\}[:-]\{serial\}$`)
	suffixForm     = regexp.MustCompile(`^[.~^+][A-Za-z0-9][A-Za-z0-9._+~^]{0,31}$`)
	ownForm        = regexp.MustCompile(`^[A-Z]{1,4}$`)
	cpeForm        = regexp.MustCompile(`^cpe:/[aho](:[A-Za-z0-9._~%-]{0,64}){1,7}$`) // NISTIR 7695 §6.1
	ecosystemForm  = regexp.MustCompile(`^[A-Za-z][A-Za-z0-9 ._-]{0,63}(:[A-Za-z0-9 ._:-]{1,64})?$`)
	contactForm    = regexp.MustCompile(`^[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9.-]{1,190}$`)
	errataPathForm = regexp.MustCompile(`^[A-Za-z0-9_.][A-Za-z0-9_./+-]{0,199}$`)
	packageForm    = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]{0,99}$`)
)

// ErrataTypes are the types of advisories.
func ErrataTypes() []string { return []string{"security", "bugfix", "enhancement", "newpackage"} }

func (s Spec) checkErrata(bad refuse) error {
	e := s.Errata
	if e.None() {
		if e.URL != "" || e.IDs != nil || e.Own != "" || e.Rewrite != nil {
			return bad("errata names no team: whose are the advisories?")
		}
		return nil
	}
	switch {
	case !nameForm.MatchString(e.Team):
		return bad("errata.team %.80q can't be the name of a team", e.Team)
	case s.OS.ID == "":
		return bad("errata wants os: what the distribution is called")
	case !ownForm.MatchString(e.Own):
		return bad("errata.own %.40q is not what serials begin with: one to four capital letters", e.Own)
	case !ecosystemForm.MatchString(e.Ecosystem):
		return bad("errata.ecosystem %.80q is not OSV's name for a distribution, as AlmaLinux:9", e.Ecosystem)
	case !cpeForm.MatchString(e.CPE):
		return bad("errata.cpe %.120q is not a CPE 2.2 such as cpe:/o:almalinux:almalinux:9", e.CPE)
	case !osNameForm.MatchString(e.Vendor):
		return bad("errata.vendor %.80q is not the name of who publishes", e.Vendor)
	case !contactForm.MatchString(e.Contact) && !webAddress(e.Contact):
		return bad("errata.contact %.120q is neither an address of mail nor a URL", e.Contact)
	case e.From != "" && !contactForm.MatchString(e.From):
		return bad("errata.from %.120q is not an address of mail", e.From)
	case !webAddress(e.Namespace):
		return bad("errata.namespace %.120q is not a URL of http or https", e.Namespace)
	case !webAddress(e.URL) || strings.HasSuffix(e.URL, "/"):
		return bad("errata.url %.120q is not a URL of http or https without a slash at its end", e.URL)
	case e.Page != "" && (strings.Count(e.Page, "{id}") != 1 || !webAddress(strings.Replace(e.Page, "{id}", "ID", 1))):
		return bad("errata.page %.120q is not a URL with {id} in it", e.Page)
	case len(e.Rights) > maxErrataText || hasControl(e.Rights, false) || len(e.Solution) > maxErrataText || hasControl(e.Solution, true):
		return bad("errata.rights is one line, and errata.solution text, of at most %d bytes", maxErrataText)
	case e.ReleaseFile != "" && (!strings.HasPrefix(e.ReleaseFile, "/etc/") || !errataPathForm.MatchString(e.ReleaseFile[1:]) || strings.Contains(e.ReleaseFile, "..")):
		return bad("errata.release_file %.120q is not the path of a file in /etc", e.ReleaseFile)
	case (e.ReleasePackage == "") != (e.ReleaseFile == "") || e.ReleasePackage != "" && !packageForm.MatchString(e.ReleasePackage):
		return bad("errata.release_package %.120q is not the package of errata.release_file", e.ReleasePackage)
	}
	if len(e.Suffixes) > maxSuffixes {
		return bad("errata.suffixes: more than %d", maxSuffixes)
	}
	for _, x := range e.Suffixes {
		if !suffixForm.MatchString(x) {
			return bad("errata.suffixes: %.40q is not what is appended to a release, such as .alma", x)
		}
	}
	if err := e.checkIDs(bad); err != nil {
		return err
	}
	if len(e.Upstream) > maxRepositories {
		return bad("errata.upstream: more than %d", maxRepositories)
	}
	for _, c := range e.Upstream {
		if !cpeForm.MatchString(c) {
			return bad("errata.upstream: %.120q is not a CPE 2.2", c)
		}
	}
	if len(e.RepositoryCPEs) > maxRepositories {
		return bad("errata.repository_cpes: more than %d", maxRepositories)
	}
	for _, p := range slices.Sorted(maps.Keys(e.RepositoryCPEs)) {
		if !errataPathForm.MatchString(p) || !cpeForm.MatchString(e.RepositoryCPEs[p]) {
			return bad("errata.repository_cpes: %.120q is not the path of a repository, or %.120q no CPE 2.2", p, e.RepositoryCPEs[p])
		}
	}
	return e.checkRewrites(bad)
}

func (e Errata) checkIDs(bad refuse) error {
	if len(e.IDs) == 0 {
		return bad("errata.ids is empty: say how advisories are called, by type")
	}
	seen := make(map[string]string)
	for _, typ := range slices.Sorted(maps.Keys(e.IDs)) {
		form := e.IDs[typ]
		switch {
		case !slices.Contains(ErrataTypes(), typ):
			return bad("errata.ids: %.40q is no type of advisory: %v", typ, ErrataTypes())
		case len(form) > maxErrataIDForm || !idFormForm.MatchString(form):
			return bad("errata.ids: %.100q is not the form of ids such as ALSA-{year}:{serial}", form)
		case seen[form] != "":
			return bad("errata.ids: %s and %s have one form: an id has to tell its type", seen[form], typ)
		}
		seen[form] = typ
	}
	return nil
}

func (e Errata) checkRewrites(bad refuse) error {
	if len(e.Rewrite) > maxRewrites {
		return bad("errata.rewrite has more than %d rules", maxRewrites)
	}
	for i, r := range e.Rewrite {
		switch {
		case len(r.In) == 0:
			return bad("errata.rewrite, rule %d: in says nowhere; it takes %s, %s and %s", i+1, InID, InText, InReference)
		case (r.Find == "") == (r.Pattern == ""):
			return bad("errata.rewrite, rule %d has either find or pattern", i+1)
		case len(r.Find) > maxRewrite || len(r.Pattern) > maxRewrite || len(r.With) > maxRewrite || hasControl(r.With, true):
			return bad("errata.rewrite, rule %d: find, pattern and with have at most %d bytes of text", i+1, maxRewrite)
		}
		for _, in := range r.In {
			if !slices.Contains([]string{InID, InText, InReference}, in) {
				return bad("errata.rewrite, rule %d: in takes %s, %s and %s, not %.40q", i+1, InID, InText, InReference, in)
			}
		}
		if _, err := regexp.Compile(r.Pattern); err != nil {
			return bad("errata.rewrite, rule %d: %w", i+1, err)
		}
	}
	return nil
}

func webAddress(s string) bool {
	u, err := url.Parse(s)
	return err == nil && len(s) <= maxURL && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil && u.RawQuery == "" && u.Fragment == "" && !hasControl(s, false)
}

// hasControl reports whether s has a control character, but for tabs and newlines of
// text of several lines.
func hasControl(s string, lines bool) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && !(lines && (r == '\n' || r == '\t')) || r == 0x7f || r == '\uFFFD'
	})
}
