package settle

import (
	"testing"

	"albs/internal/albs"
)

func TestUnify(t *testing.T) {
	t.Parallel()
	row := func(name string, arch albs.Arch, content string) File {
		return File{Name: name, Arch: arch, Digest: albs.DigestOf([]byte(content))}
	}
	x := Made{Arch: albs.X8664, Files: []File{row("a-1-1.x86_64.rpm", albs.X8664, "x"), row("a-doc-1-1.noarch.rpm", albs.X8664, "doc")}}
	a := Made{Arch: albs.AArch64, Files: []File{row("a-doc-1-1.noarch.rpm", albs.AArch64, "other"), row("a-data-1-1.noarch.rpm", albs.AArch64, "data")}}
	s := Made{Arch: albs.S390X, Files: []File{row("a-doc-1-1.noarch.rpm", albs.S390X, "doc")}}
	arches, weak := []albs.Arch{albs.S390X, albs.X8664, albs.AArch64}, []albs.Arch{albs.S390X}
	all := []Made{a, s, x}
	winning(all, arches, weak)
	got := unify(all)
	if len(got) != 2 || got[0].winner != x.Files[1] || len(got[0].losers) != 1 || got[0].losers[0] != a.Files[0] || len(got[0].missing) != 0 {
		t.Fatalf("unify = %+v, want x86_64's doc in aarch64's place: it is the first of the arches that aren't weak", got)
	}
	if got[1].winner != a.Files[1] || len(got[1].missing) != 2 {
		t.Errorf("unify = %+v, want aarch64's data for the two that lack it", got[1])
	}
	// What was settled stays, though the late one would have been first.
	a.Told = true
	all = []Made{x, a}
	winning(all, arches, nil)
	if got := unify(all); got[0].winner != a.Files[0] {
		t.Errorf("a late arch won with %+v", got[0].winner)
	}
}
