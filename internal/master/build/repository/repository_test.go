package repository

import (
	"slices"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/rpm"
)

func TestNameFor(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{
		"zlib":             "build/7/el9/x86_64",
		"zlib-debuginfo":   "build/7/el9/x86_64/debug",
		"zlib-debugsource": "build/7/el9/x86_64/debug",
	} {
		if got := NameFor(7, "el9", albs.X8664, rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "x86_64"}); got != want {
			t.Errorf("NameFor(%s) = %s, want %s", name, got, want)
		}
	}
}

// TestChanges: what takes another's place is one package in and one out, and a
// repository without any is named all the same.
func TestChanges(t *testing.T) {
	t.Parallel()
	c := Changes{}
	c.Add("empty")
	c.Replace("r", artifact.Artifact{Name: "a-1-1.noarch.rpm"})
	c.Drop("r", "b-1-1.x86_64.rpm")
	if e, ok := c["empty"]; !ok || len(e.add)+len(e.remove) != 0 {
		t.Errorf("the empty repository has %+v", e)
	}
	if e := c["r"]; len(e.add) != 1 || len(e.remove) != 2 || slices.Contains(e.remove, "") || e.remove[0] == e.remove[1] {
		t.Errorf("the other has %+v, want one in and two out", e)
	}
}
