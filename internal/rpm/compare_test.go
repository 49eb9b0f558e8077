package rpm

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestDifferences(t *testing.T) {
	t.Parallel()
	made := func() *Package {
		return &Package{
			NEVRA:    NEVRA{Name: "a", Version: "1", Release: "1", Arch: "noarch"},
			Files:    []FileInfo{{Path: "/a", Mode: 0o100644, Digest: albs.DigestOf([]byte("a"))}, {Path: "/d", Mode: 0o040755, Size: 4096}, {Path: "/l", Link: "a"}},
			Requires: []Dependency{{Name: "sh"}}, Scripts: map[string]albs.Digest{"%post": albs.DigestOf([]byte("x"))},
		}
	}
	for name, c := range map[string]struct {
		change func(p *Package)
		want   []string
	}{
		"nothing": {func(*Package) {}, nil},
		"where and when": {func(p *Package) {
			p.BuildHost, p.BuildTime, p.HeaderSHA256 = "other", time.Unix(9, 0), albs.DigestOf(nil)
		}, nil},
		"a directory's size": {func(p *Package) { p.Files[1].Size = 10 }, nil},
		"a file's content":   {func(p *Package) { p.Files[0].Digest = albs.DigestOf([]byte("b")) }, []string{"file /a differs"}},
		"a file's mode":      {func(p *Package) { p.Files[0].Mode = 0o100755 }, []string{"file /a differs"}},
		"a link's target":    {func(p *Package) { p.Files[2].Link = "b" }, []string{"file /l differs"}},
		"a file more":        {func(p *Package) { p.Files = append(p.Files, FileInfo{Path: "/z"}) }, []string{"file /z is in the second only"}},
		"a file less":        {func(p *Package) { p.Files = p.Files[1:] }, []string{"file /a is in the first only"}},
		"a script":           {func(p *Package) { p.Scripts["%post"] = albs.DigestOf([]byte("y")) }, []string{"script %post differs"}},
		"no script":          {func(p *Package) { p.Scripts = nil }, []string{"script %post is in the first only"}},
		"a requirement":      {func(p *Package) { p.Requires = []Dependency{{Name: "sh", Flags: Equal, EVR: EVR{Version: "1"}}} }, []string{"requires sh is in the first only", "requires sh = 1 is in the second only"}},
		"another package":    {func(p *Package) { p.Release = "2" }, []string{"one is a-1-1.noarch, the other a-1-2.noarch"}},
	} {
		b := made()
		c.change(b)
		if diff := cmp.Diff(c.want, Differences(made(), b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	many := made()
	for i := range 100 {
		many.Files = append(many.Files, FileInfo{Path: fmt.Sprintf("/%03d", i)})
	}
	if got := Differences(made(), many); len(got) != maxDifferences+1 || !strings.HasPrefix(got[maxDifferences], "80 more") {
		t.Errorf("of 100 differences there are told %d, the last %q", len(got), got[len(got)-1])
	}
}

func TestDebug(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]bool{"a-debuginfo": true, "a-debugsource": true, "a-debuginfo-common": true, "a-debug": false, "debuginfo-tools": false, "a-debuginfos": false} {
		if got := (NEVRA{Name: name}).Debug(); got != want {
			t.Errorf("%s holds debug data: %v", name, got)
		}
	}
}
