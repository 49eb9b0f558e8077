package plan

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"albs/internal/master/release/place"
	"albs/internal/rpm"
)

// Copy says which packages of another product are released into one, without being built
// again: those that it showed at a serial.
type Copy struct {
	// Product is the product copied from, Serial what it showed.
	Product string `json:"product"`
	Serial  int64  `json:"serial"`
	// Packages are NEVRAs, or names of packages or source packages; none are all packages,
	// of each name and arch the newest.
	Packages []string `json:"packages,omitempty"`
}

// Left is a package of the product copied from that a plan leaves out.
type Left struct {
	Package    string `json:"package"`    // NEVRA
	Repository string `json:"repository"` // path, in the product copied from
	Reason     string `json:"reason"`
}

// maxLeft bounds what a plan tells of packages left out; a note has the number of all.
const maxLeft = 1000

// Wants returns by which of the words a package is meant, as their places: by its NEVRA,
// its name, or its source package's.
func (c Copy) Wants(n rpm.NEVRA, source string) []int {
	var out []int
	for i, word := range c.Packages {
		if word == n.String() || word == n.Name || word == source {
			out = append(out, i)
		}
	}
	return out
}

// leave notes a copied package as left out, unless a person decided about it: then it is
// a refusal, for the decision can't be followed.
func (m *maker) leave(c Candidate, reason string) {
	if len(place.On(m.facts.Decisions, c.NEVRA.String())) > 0 {
		m.refuse(Refusal{Package: c.NEVRA.String(), Build: c.Build, Reason: reason})
		return
	}
	m.plan.Left = append(m.plan.Left, Left{c.NEVRA.String(), c.From, reason})
}

// unsigned says why a package without a signature by the product's key can't be released,
// and what to do.
func (m *maker) unsigned(c Candidate) string {
	if c.From == "" {
		return fmt.Sprintf("it isn't signed with the product's key: have build %d signed first", c.Build)
	}
	why := fmt.Sprintf("product %s has it signed with key %s, and it isn't signed with the key of product %s", m.facts.Copy.Product, c.SignedBy, m.plan.Product)
	if c.Build == 0 {
		return why + "; of which build it is isn't known, so it can't be"
	}
	return fmt.Sprintf("%s: have build %d signed with that first (albs sign %d --key %q)", why, c.Build, c.Build, m.facts.Product.Key)
}

// copied tells whence packages were copied, by which key they are signed, and what was
// left out.
func (m *maker) copied() {
	from := m.facts.Copy
	if from == nil {
		return
	}
	m.plan.Copy = from
	anew := map[string]int{} // packages by the key that they had
	seen := map[string]bool{}
	for _, c := range m.facts.Packages {
		if c.Signed != "" && c.SignedBy != m.facts.Key && !seen[c.File] {
			seen[c.File] = true
			anew[c.SignedBy]++
		}
	}
	for _, key := range slices.Sorted(maps.Keys(anew)) {
		m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%d packages that product %s has signed with key %s are released as they were signed with key %s", anew[key], from.Product, key, m.facts.Key))
	}
	m.plan.Left = append(m.plan.Left, m.facts.Left...)
	slices.SortFunc(m.plan.Left, func(a, b Left) int {
		return cmp.Or(strings.Compare(a.Package, b.Package), strings.Compare(a.Repository, b.Repository), strings.Compare(a.Reason, b.Reason))
	})
	m.plan.Left = slices.Compact(m.plan.Left)
	if len(m.plan.Left) > 0 {
		first := m.plan.Left[0]
		m.plan.Notes = append(m.plan.Notes, fmt.Sprintf("%d packages of product %s are left out, as %s in %s: %s", len(m.plan.Left), from.Product, first.Package, first.Repository, first.Reason))
		m.plan.Left = m.plan.Left[:min(len(m.plan.Left), maxLeft)]
	}
}
