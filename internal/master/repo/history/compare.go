package history

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// What became of a package.
const (
	Added      = "added"
	Removed    = "removed"
	Upgraded   = "upgraded"   // the newest of its name and arch is newer; the old one may have stayed
	Downgraded = "downgraded" // the newest of its name and arch is older
	Replaced   = "replaced"   // other bytes under the same name and version
)

// Change is what became of one package.
type Change struct {
	What string `json:"what" enum:"added,removed,upgraded,downgraded,replaced"`
	Name string `json:"name"`
	Arch string `json:"arch"`
	// From and To are epoch, version and release before and after, "" where there is none.
	From       string      `json:"from,omitempty"`
	To         string      `json:"to,omitempty"`
	FromDigest albs.Digest `json:"from_sha256,omitempty"`
	ToDigest   albs.Digest `json:"to_sha256,omitempty"`
}

// Compare returns what turns the packages of one repository into those of another, by
// name, arch and version. Packages that both have are not told of. Where both have
// packages of a name and arch, the newest of each, which is what readers get, are an
// upgrade or a downgrade if they differ.
func Compare(from, to []repodata.Entry) []Change {
	type key struct{ name, arch string }
	type sides struct{ from, to []repodata.Entry }
	groups := map[key]*sides{}
	group := func(e repodata.Entry) *sides {
		k := key{e.Name, e.Arch}
		if groups[k] == nil {
			groups[k] = &sides{}
		}
		return groups[k]
	}
	for _, e := range from {
		g := group(e)
		g.from = append(g.from, e)
	}
	for _, e := range to {
		g := group(e)
		g.to = append(g.to, e)
	}
	var out []Change
	for _, g := range groups {
		out = append(out, compare(g.from, g.to)...)
	}
	slices.SortFunc(out, func(a, b Change) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Arch, b.Arch), strings.Compare(a.From, b.From), strings.Compare(a.To, b.To))
	})
	return out
}

// compare is Compare for packages of one name and arch.
func compare(from, to []repodata.Entry) []Change {
	order := func(a, b repodata.Entry) int {
		return cmp.Or(rpm.Compare(b.EVR(), a.EVR()), strings.Compare(a.Path, b.Path))
	}
	slices.SortFunc(from, order)
	slices.SortFunc(to, order)
	has := func(list []repodata.Entry, e repodata.Entry) int {
		return slices.IndexFunc(list, func(o repodata.Entry) bool { return o.NEVRA == e.NEVRA })
	}
	var out []Change
	step := 0 // from the newest to the newest
	if len(from) > 0 && len(to) > 0 {
		step = rpm.Compare(to[0].EVR(), from[0].EVR())
	}
	if step != 0 {
		c := Change{What: Upgraded, Name: to[0].Name, Arch: to[0].Arch, From: from[0].EVR().String(), To: to[0].EVR().String(), FromDigest: from[0].Digest, ToDigest: to[0].Digest}
		if step < 0 {
			c.What = Downgraded
		}
		out = append(out, c)
	}
	for i, e := range from {
		at := has(to, e)
		switch {
		case at < 0 && (i > 0 || step == 0):
			out = append(out, Change{What: Removed, Name: e.Name, Arch: e.Arch, From: e.EVR().String(), FromDigest: e.Digest})
		case at >= 0 && to[at].Digest != e.Digest:
			v := e.EVR().String()
			out = append(out, Change{What: Replaced, Name: e.Name, Arch: e.Arch, From: v, To: v, FromDigest: e.Digest, ToDigest: to[at].Digest})
		}
	}
	for i, e := range to {
		if has(from, e) < 0 && (i > 0 || step == 0) {
			out = append(out, Change{What: Added, Name: e.Name, Arch: e.Arch, To: e.EVR().String(), ToDigest: e.Digest})
		}
	}
	return out
}

// RecordChange is what became of a metadata file: Added, Removed or Replaced.
type RecordChange struct {
	What       string      `json:"what" enum:"added,removed,replaced"`
	Type       string      `json:"type"`
	FromDigest albs.Digest `json:"from_sha256,omitempty"`
	ToDigest   albs.Digest `json:"to_sha256,omitempty"`
}

// CompareRecords is Compare for records, by type. One that has but another file name is
// replaced too.
func CompareRecords(from, to []repodata.Record) []RecordChange {
	var out []RecordChange
	for _, d := range repodata.DiffRecords(from, to) {
		c := RecordChange{What: Replaced, Type: d.To.Type, FromDigest: d.From.Digest, ToDigest: d.To.Digest}
		switch {
		case d.From.Type == "":
			c.What = Added
		case d.To.Type == "":
			c.What, c.Type = Removed, d.From.Type
		}
		out = append(out, c)
	}
	return out
}
