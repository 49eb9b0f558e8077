package draft

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/rpm"
)

// source is what a build made of one source package, and what is released of it.
type source struct {
	name     string
	evr      rpm.EVR
	packages []advisory.Package
	changes  []rpm.Change // newest first
	message  string       // of its commit
	released rpm.NEVRA    // what is released that is older; zero if there is none
	before   []rpm.Change // its changelog
}

// Bounds of a proposal.
const (
	maxEntries = 100 // of a changelog
	maxFound   = 500 // CVEs, and bugs
)

// news returns the entries of the changelog that what is released hasn't: those above the
// first one that both have. Of what was never released it is the newest one.
func (s source) news() []rpm.Change {
	if s.released == (rpm.NEVRA{}) {
		return s.changes[:min(1, len(s.changes))]
	}
	had := make(map[rpm.Change]bool, len(s.before))
	for _, c := range s.before {
		had[c] = true
	}
	var out []rpm.Change
	for _, c := range s.changes {
		if had[c] || len(out) == maxEntries {
			break
		}
		out = append(out, c)
	}
	return out
}

var (
	cveForm = regexp.MustCompile(`\bCVE-[0-9]{4}-[0-9]{4,19}\b`)
	// Of bugs only Bugzilla's numbers say where they are: rhbz#1, BZ#1, bz 1, Bug 1.
	bugForm = regexp.MustCompile(`(?i)\b(?:rhbz|bz) ?#? ?([0-9]{4,9})\b`)
)

// bugzilla is where rhbz is.
const bugzilla = "https://bugzilla.redhat.com/show_bug.cgi?id="

// propose makes a draft of what sources tell.
func propose(sources []source) Draft {
	var out Draft
	a := &out.Advisory
	var text strings.Builder
	var cves, bugs []string
	find := func(s string) {
		for _, c := range cveForm.FindAllString(s, maxFound) {
			if advisory.ValidCVE(c) {
				cves = append(cves, c)
			}
		}
		for _, m := range bugForm.FindAllStringSubmatch(s, maxFound) {
			bugs = append(bugs, m[1])
		}
	}
	for _, s := range sources {
		news := s.news()
		switch {
		case s.released == (rpm.NEVRA{}):
			out.Notes = append(out.Notes, fmt.Sprintf("nothing of %s is released for the platform: of its changelog the newest entry was read", s.name))
		case len(news) == 0:
			out.Notes = append(out.Notes, fmt.Sprintf("the changelog of %s has no entry that %s hasn't", s.name, s.released))
		default:
			out.Notes = append(out.Notes, fmt.Sprintf("of the changelog of %s, %d entries are newer than %s", s.name, len(news), s.released))
		}
		if len(sources) > 1 && len(news) > 0 {
			text.WriteString(s.name + ":\n\n")
		}
		for _, c := range news {
			find(c.Text)
			text.WriteString(advisory.CleanText(c.Text) + "\n\n")
		}
		find(s.message)
		for _, p := range s.packages {
			if len(a.Packages) < advisory.MaxPackages {
				a.Packages = append(a.Packages, p)
			}
		}
	}
	a.Description = strings.TrimSpace(text.String())
	if len(a.Description) > advisory.MaxText {
		a.Description = strings.ToValidUTF8(a.Description[:advisory.MaxText], "")
		out.Notes = append(out.Notes, "the changelogs are longer than a description may be")
	}
	for _, c := range unique(cves) {
		a.CVEs = append(a.CVEs, advisory.CVE{ID: c})
	}
	for _, n := range unique(bugs) {
		a.References = append(a.References, advisory.Reference{Kind: advisory.ToBugzilla, ID: n, URL: bugzilla + n})
	}
	a.Type, a.Title = advisory.Bugfix, names(sources)+" bug fix update"
	if len(a.CVEs) > 0 {
		a.Type, a.Title = advisory.Security, names(sources)+" security update"
		out.Notes = append(out.Notes, "how severe it is, a person has to say")
	}
	*a = a.Normal()
	return out
}

func unique(list []string) []string {
	slices.Sort(list)
	list = slices.Compact(list)
	return list[:min(len(list), maxFound)]
}
