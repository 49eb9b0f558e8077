package spec

import (
	"testing"

	"albs/internal/albs"
)

func TestDigests(t *testing.T) {
	t.Parallel()
	d := func(s string) albs.Digest { return albs.DigestOf([]byte(s)) }
	s := albs.Spec{
		Build: &albs.BuildSpec{
			Root: albs.Root{Repos: []albs.Repo{{ID: "a", Snapshot: d("snapshot")}, {ID: "b", Mirror: "https://m", Repomd: d("repomd")}}},
			SRPM: albs.File{Name: "a.src.rpm", Digest: d("srpm")},
		},
		Test:    &albs.TestSpec{Packages: []albs.TestPackage{{NEVRA: "a-1-1.noarch", Digest: d("tested")}}},
		Source:  &albs.SourceSpec{Tree: d("tree"), History: d("history"), Sources: []albs.File{{Name: "a.tar", Digest: d("tar")}, {Name: "none"}}, Commit: string(d("commit"))},
		Sign:    &albs.SignSpec{Packages: []albs.File{{Digest: d("unsigned")}}, Documents: []albs.File{{Digest: d("document")}}},
		Publish: &albs.PublishSpec{Tree: d("published")},
	}
	got := Digests(s)
	want := []string{"snapshot", "repomd", "srpm", "tested", "tree", "history", "tar", "unsigned", "document", "published"}
	for _, w := range want {
		if !got[d(w)] {
			t.Errorf("%s isn't named", w)
		}
	}
	if len(got) != len(want) {
		t.Errorf("%d digests are named, want %d", len(got), len(want))
	}
}

func TestSnapshots(t *testing.T) {
	t.Parallel()
	a, b := albs.DigestOf([]byte("a")), albs.DigestOf([]byte("b"))
	root := func(d albs.Digest) albs.Root {
		return albs.Root{Repos: []albs.Repo{{ID: "a", Snapshot: d}, {ID: "b", Mirror: "https://m", Repomd: albs.DigestOf(nil)}}}
	}
	got := Snapshots(albs.Spec{Build: &albs.BuildSpec{Root: root(a), SRPM: albs.File{Digest: albs.DigestOf([]byte("srpm"))}}, Test: &albs.TestSpec{Root: root(b)}})
	if len(got) != 2 || !got[a] || !got[b] {
		t.Errorf("Snapshots = %v, want those of both roots", got)
	}
}
