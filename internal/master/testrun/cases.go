package testrun

import (
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
)

// Bounds of one run's result.
const (
	maxCases    = 20_000 // of a run
	maxOf       = 500    // of one package: its statement lists them by name
	maxCaseName = 100
	maxDetail   = 4 << 10 // bytes; what is longer is cut
)

// Case is one check of one package, as it is kept.
type Case struct {
	Package albs.Digest
	Name    string
	OK      bool
	Detail  string
}

// checkCases says whether cases may be the result of testing packages, and gives
// each its package's digest. A case about a package that the run wasn't asked for
// is Invalid, so that a tester cannot speak about others; so is a name that isn't
// plain. More than maxCases, or too many about one package, are TooLarge. Details
// are words for people: they are cut to size and made valid text.
func checkCases(packages []albs.TestPackage, cases []albs.TestCase) ([]Case, error) {
	if len(cases) > maxCases {
		return nil, albs.Errorf(albs.TooLarge, "the run has %d cases, at most %d are taken", len(cases), maxCases)
	}
	digests := make(map[string]albs.Digest, len(packages))
	for _, p := range packages {
		digests[p.NEVRA] = p.Digest
	}
	about := make(map[albs.Digest]int, len(packages))
	out := make([]Case, 0, len(cases))
	for _, c := range cases {
		d, ok := digests[c.Package]
		if !ok {
			return nil, albs.Errorf(albs.Invalid, "a case is about %.200q, which the run was not to test", c.Package)
		}
		if len(c.Name) > maxCaseName || artifact.CheckName(c.Name) != nil {
			return nil, albs.Errorf(albs.Invalid, "%.120q is no name of a case: use a plain name of at most %d bytes", c.Name, maxCaseName)
		}
		if about[d]++; about[d] > maxOf {
			return nil, albs.Errorf(albs.TooLarge, "%s has more than %d cases", c.Package, maxOf)
		}
		out = append(out, Case{Package: d, Name: c.Name, OK: c.OK, Detail: text(c.Detail)})
	}
	return out, nil
}

// text makes a tester's words fit for the database: valid UTF-8 without NUL, of
// limited length.
func text(s string) string {
	if len(s) > maxDetail {
		s = s[:maxDetail] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}
