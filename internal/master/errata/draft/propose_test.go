package draft

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/rpm"
)

func change(day int, text string) rpm.Change {
	return rpm.Change{Author: "A <a@example.org> - 1", Time: time.Date(2024, 1, day, 12, 0, 0, 0, time.UTC), Text: text}
}

func TestPropose(t *testing.T) {
	t.Parallel()
	old := []rpm.Change{change(2, "- Fix CVE-2020-1111"), change(1, "- First")}
	released := rpm.NEVRA{Name: "bash", Version: "1", Release: "1", Arch: "src"}
	bash := source{
		name: "bash", released: released, before: old, message: "Fix it\n\nResolves: rhbz#1234567, CVE-2024-3333 and CVE-20-1",
		changes:  append([]rpm.Change{change(4, "- Fix CVE-2024-2222 (BZ#7654321)"), change(3, "- Fix CVE-2024-1111, #99")}, old...),
		packages: []advisory.Package{{NEVRA: rpm.NEVRA{Name: "bash", Version: "2", Release: "1", Arch: "x86_64"}}},
	}
	calm := source{name: "zlib", changes: []rpm.Change{change(3, "- Be nicer"), change(2, "- Fix CVE-2019-1111")}}
	for name, tt := range map[string]struct {
		in   []source
		want string // type, title, CVEs, bugs
		text []string
		note string
	}{
		"security": {[]source{bash}, "security bash security update [CVE-2024-1111 CVE-2024-2222 CVE-2024-3333] [1234567 7654321]",
			[]string{"Fix CVE-2024-2222", "#99"}, "2 entries are newer than bash-1-1.src"},
		"never released": {[]source{calm}, "bugfix zlib bug fix update [] []", []string{"Be nicer"}, "nothing of zlib is released"},
		"several":        {[]source{bash, calm}, "security bash and zlib security update [CVE-2024-1111 CVE-2024-2222 CVE-2024-3333] [1234567 7654321]", []string{"bash:\n\n", "zlib:\n\n"}, "severe"},
		"nothing new":    {[]source{{name: "bash", released: released, before: old, changes: old}}, "bugfix bash bug fix update [] []", nil, "has no entry that bash-1-1.src hasn't"},
		"many":           {[]source{calm, {name: "a"}, {name: "b"}, {name: "c"}}, "bugfix zlib, a and 2 more bug fix update [] []", nil, "nothing of a"},
	} {
		d := propose(tt.in)
		var cves, bugs []string
		for _, c := range d.Advisory.CVEs {
			cves = append(cves, c.ID)
		}
		for _, r := range d.Advisory.References {
			bugs = append(bugs, r.ID)
		}
		if diff := cmp.Diff(tt.want, fmt.Sprintf("%s %s %v %v", d.Advisory.Type, d.Advisory.Title, cves, bugs)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		for _, s := range tt.text {
			if !strings.Contains(d.Advisory.Description, s) {
				t.Errorf("%s: the description lacks %q: %s", name, s, d.Advisory.Description)
			}
		}
		if strings.Contains(d.Advisory.Description, "CVE-2020-1111") || !strings.Contains(strings.Join(d.Notes, "\n"), tt.note) {
			t.Errorf("%s: %q, noted %q", name, d.Advisory.Description, d.Notes)
		}
	}
}

// TestProposeBounds: what is proposed is an advisory, however long and odd changelogs are.
func TestProposeBounds(t *testing.T) {
	t.Parallel()
	s := source{name: "x", released: rpm.NEVRA{Name: "x"}}
	for i := range 300 {
		s.changes = append(s.changes, change(1, strings.Repeat(fmt.Sprintf("é\x00CVE-2024-%d rhbz#%d\n", 10000+i, 10000+i), 500)))
	}
	d := propose([]source{s})
	a := d.Advisory
	a.ID, a.Platform, a.Version, a.Issued, a.Updated = "A-1:1", "p", 1, time.Now(), time.Now()
	if err := a.Check(); err != nil {
		t.Fatal(err)
	}
	if len(a.CVEs) > maxFound || len(a.CVEs) < maxEntries {
		t.Errorf("%d CVEs", len(a.CVEs))
	}
}
