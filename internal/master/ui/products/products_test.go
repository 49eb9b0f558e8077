package products

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	d, now := albs.DigestOf([]byte("x")), time.Now()
	spec := product.Product{Spec: product.Spec{Name: "distro", Title: bad, Team: "core", Platforms: []string{"el9", "el10"}, Key: bad, Approvals: product.Approvals{Count: 2, Distinct: true},
		Repositories: []product.Repository{{Path: "el9/os", Platform: "el9", Arch: albs.X8664, Kind: product.RPM, Place: "BaseOS"}}}}
	spec.Actor, spec.At.Time = bad, now
	tree := repo.Tree{Product: "distro", Serial: 5, Digest: d, Current: true}
	tree.At.Time = now
	rel := release.Release{ID: 3, Product: "distro", Planner: bad, Status: release.Reverted, Reason: bad, Serial: 5, BackTo: 2, Created: now, Changed: now}
	records := []repodata.Record{{Type: bad, Name: bad, Digest: d, Size: 7}}
	held := history.Held{Path: "el9/os", Snapshot: d, Packages: 7, Bytes: 1 << 30, Records: records}
	given := record.Given{Product: "distro", Path: "el9/os", Type: "group", Digest: d, Size: 3, Actor: bad}
	line := []serial{{Tree: tree, Release: &rel, Changed: true, Before: 4, Back: "/product/distro/rollback?to=4"}, {Tree: repo.Tree{Product: "distro", Serial: 4}}}
	entry := repodata.Entry{Path: "Packages/x.rpm", Digest: d, Size: 5, NEVRA: rpm.NEVRA{Name: bad, Version: bad, Release: "1", Arch: "noarch"}}
	pager := page.Pager{Number: 2, Of: 3, From: 101, To: 200, All: 250, Prev: "/x?page=1", Next: "/x?page=3"}
	shown := history.Shown{Product: "distro", Path: "el9/os", Serial: 5, Since: now, Snapshot: d, Packages: []repodata.Entry{entry}, Records: records}
	diff := history.Diff{From: shown, To: shown, Packages: []history.Change{{What: history.Upgraded, Name: bad, Arch: "noarch", From: bad, To: bad, FromDigest: d, ToDigest: d}, {What: history.Added, Name: "b"}},
		Records: []history.RecordChange{{What: history.Replaced, Type: bad, FromDigest: d, ToDigest: d}}}
	changes := changesView{Product: "distro", From: tree, To: tree, Same: 2, Repositories: []changed{{Path: "a", Before: &held}, {Path: "b", After: &held},
		{Path: "c", Before: &held, After: &held, Counts: countsOf(diff.Packages), Records: 1}}}
	action := page.Action{URL: "/x", Label: "Do…", Leads: true}
	whole := productView{Product: spec, Key: &sign.Key{Name: bad, Fingerprint: "ABCD"}, Tree: tree, Repositories: []repository{{Repository: spec.Repositories[0], Held: &held}, {Repository: product.Repository{Path: "old"}, Held: &held, Gone: true}, {Repository: spec.Repositories[0]}},
		Packages: 7, Bytes: 9, Line: line, Older: "/x", Waiting: []record.Given{given}, Releases: []release.Release{rel}, Running: &rel, Uses: usesOf("https://albs.example", spec.Spec), Spec: bad,
		Actions: []page.Action{action, {Label: "Do", Why: bad}}}
	pagetest.Execute(t, Group(), map[string][]any{
		"products": {productsView{}, productsView{Search: bad}, productsView{Products: []productRow{{spec, tree}, {Product: spec}}, Pager: pager, Make: action}},
		"product":  {productView{}, productView{Product: spec}, whole},
		"repository": {repositoryView{}, repositoryView{Search: bad, Pager: pager}, repositoryView{Product: "distro", Path: "el9/os", At: bad, Search: bad, Shown: shown, Current: true, Rows: shown.Packages, Pager: pager, Line: line, Older: "/x",
			Wanted: &spec.Repositories[0], Given: []record.Given{given}, Types: []string{"group"}, Ref: "distro/el9/os@5"}, repositoryView{Wanted: &spec.Repositories[0], Why: bad}},
		"diff":     {diffView{}, diffView{From: bad, To: bad, Search: bad, What: bad, Diff: diff, Counts: countsOf(diff.Packages), All: 2, Rows: diff.Packages, Pager: pager}, diffView{All: 3}},
		"changes":  {changesView{}, changes},
		"rollback": {rollbackView{}, rollbackView{changesView: changes, Reverted: line, More: true}, rollbackView{Why: bad}},
		"edit":     {editView{}, editView{Name: "distro", URL: "/x", Text: "<img src=x>", Problem: bad}, editView{Why: bad}},
	})
}

// TestRepoText: one section for all arches where only the arch differs, and none of it
// unsigned.
func TestRepoText(t *testing.T) {
	t.Parallel()
	s := product.Spec{Name: "distro", Title: "The Distro", Platforms: []string{"el9"}, Repositories: []product.Repository{
		{Path: "9/BaseOS/x86_64/os", Platform: "el9", Arch: albs.X8664, Kind: product.RPM},
		{Path: "9/BaseOS/aarch64/os", Platform: "el9", Arch: albs.AArch64, Kind: product.RPM},
		{Path: "9/BaseOS/i686/os", Platform: "el9", Arch: albs.I686, Kind: product.RPM},
		{Path: "9/BaseOS/x86_64/debug", Platform: "el9", Arch: albs.X8664, Kind: product.Debug},
		{Path: "9/BaseOS/source", Platform: "el9", Arch: albs.Src, Kind: product.Source},
		{Path: "10/x86_64", Platform: "el10", Arch: albs.X8664, Kind: product.RPM},
	}}
	got := repoText("https://albs.example", s, "el9")
	want := `[distro-9-BaseOS-os]
name=The Distro 9/BaseOS/$basearch/os
baseurl=https://albs.example/repos/product/distro/9/BaseOS/$basearch/os/
enabled=1
gpgcheck=1
repo_gpgcheck=1
gpgkey=https://albs.example/repos/product/distro/RPM-GPG-KEY-distro

[distro-9-BaseOS-i686-os]
name=The Distro 9/BaseOS/i686/os
`
	if !strings.HasPrefix(got, want) {
		t.Errorf("repoText =\n%s\nwant it to begin with\n%s", got, want)
	}
	if n := strings.Count(got, "["); n != 4 || strings.Contains(got, "/10/") || strings.Count(got, "enabled=1") != 2 || strings.Count(got, "repo_gpgcheck=1") != n {
		t.Errorf("%d sections:\n%s", n, got)
	}
}

// TestWaiting: a record waits until it is shown as it was given.
func TestWaiting(t *testing.T) {
	t.Parallel()
	rec := func(typ, content string) repodata.Record {
		return repodata.Record{Type: typ, Digest: albs.DigestOf([]byte(content))}
	}
	held := []history.Held{{Path: "a", Records: []repodata.Record{rec("group", "1")}}}
	given := func(path string, files ...repodata.Record) record.Given {
		return record.Given{Path: path, Files: files}
	}
	got := waiting([]record.Given{given("a", rec("group", "1")), given("a", rec("group", "1"), rec("group_gz", "1")), given("a", rec("group", "2")), given("b", rec("group", "1"))}, held)
	if len(got) != 3 || len(got[0].Files) != 2 || got[2].Path != "b" {
		t.Errorf("waiting = %+v", got)
	}
}

// TestLineOf: each serial has the release that brought it, not the one that was to.
func TestLineOf(t *testing.T) {
	t.Parallel()
	trees := []repo.Tree{{Product: "p", Serial: 5, Current: true}, {Product: "p", Serial: 3}, {Product: "p", Serial: 2}}
	got := lineOf(trees, []release.Release{{ID: 9, Serial: 5, Status: release.Completed}, {ID: 8, Serial: 3, Status: release.Failed}, {ID: 7, Serial: 3, Status: release.Reverted}}, true)
	if got[0].Release.ID != 9 || got[1].Release.ID != 7 || got[2].Release != nil || got[0].Before != 3 || got[1].Before != 2 || got[2].Before != 0 {
		t.Errorf("lineOf = %+v", got)
	}
	if got[0].Back != "" || got[1].Back != "/product/p/rollback?to=3" {
		t.Errorf("going back: %q, %q", got[0].Back, got[1].Back)
	}
	for _, s := range lineOf(trees, nil, false) {
		if s.Back != "" {
			t.Errorf("who may not roll back is led to %q", s.Back)
		}
	}
}

func TestRepositoriesOf(t *testing.T) {
	t.Parallel()
	got := repositoriesOf([]product.Repository{{Path: "b"}, {Path: "a"}}, []history.Held{{Path: "b", Packages: 2}, {Path: "c", Packages: 3}})
	if len(got) != 3 || got[0].Held != nil || got[1].Held.Packages != 2 || got[1].Gone || !got[2].Gone || got[2].Path != "c" {
		t.Errorf("repositoriesOf = %+v", got)
	}
}
