package release

import (
	"fmt"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/db/dbtest"
	"albs/internal/repodata"
	"albs/internal/worker"
)

// TestReadsLargeProduct: a releaser asks for a tree's files one by one. Whether it
// may read them isn't found out from a hundred repositories each time anew.
func TestReadsLargeProduct(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	ctx := t.Context()
	var all []*repodata.Snapshot
	lease := func(serial int64) worker.Lease {
		tree := repodata.Tree{Product: "demo", Serial: serial, Files: []repodata.TreeFile{{Path: "KEY", Digest: digest("key")}}}
		for i := range 100 {
			s, err := repodata.Empty(ctx, f.repos.Blobs(), serial*1000+int64(i))
			f.must(err)
			tree.Repositories = append(tree.Repositories, repodata.TreeRepo{Path: fmt.Sprintf("r%d/os", i), Snapshot: s.Digest()})
			all = append(all, s)
		}
		d, err := f.repos.SaveTree(ctx, tree)
		f.must(err)
		return worker.Lease{Spec: albs.Spec{Publish: &albs.PublishSpec{Product: "demo", Tree: d, Serial: serial}}}
	}
	// Two products may be published at once.
	one, two := lease(1), lease(2)
	reads := func(l worker.Lease, d albs.Digest, want bool) {
		t.Helper()
		if got, err := (handler{f.Releases}).Reads(ctx, l, d); got != want || err != nil {
			t.Errorf("Reads(%s) = %v, %v, want %v", d.Short(), got, err, want)
		}
	}
	reads(one, all[0].Digest(), true)
	reads(two, all[100].Digest(), true)
	for _, s := range all { // what is asked for again is not there any more
		f.must(f.artifacts.Blobs().Remove(ctx, s.Digest()))
	}
	for i, s := range all {
		reads(one, s.Digest(), i < 100)
		reads(two, s.Repomd(), i >= 100)
	}
	reads(one, digest("key"), true)
	for _, d := range []albs.Digest{"", "x", digest("other"), one.Spec.Publish.Tree} {
		reads(one, d, false)
	}
}
