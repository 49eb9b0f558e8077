package repodata

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/rpm"
)

func TestRequirementThatMayBeMissing(t *testing.T) {
	t.Parallel()
	p := synthetic(1)
	p.RPM = &rpm.Package{
		NEVRA:      p.RPM.NEVRA,
		Requires:   []rpm.Dependency{{Name: "must"}, {Name: "may", Flags: senseMissingOK}},
		Recommends: []rpm.Dependency{{Name: "nice", Flags: rpm.Greater | rpm.Equal, EVR: rpm.EVR{Epoch: 2, Version: "1"}}},
	}
	it, err := p.render()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"    <rpm:requires>\n      <rpm:entry name=\"must\"/>\n    </rpm:requires>\n",
		"    <rpm:recommends>\n      <rpm:entry name=\"may\"/>\n      <rpm:entry name=\"nice\" flags=\"GE\" epoch=\"2\" ver=\"1\"/>\n    </rpm:recommends>\n",
	} {
		if !strings.Contains(string(it.parts[primary]), want) {
			t.Errorf("primary lacks\n%s\nin\n%s", want, it.parts[primary])
		}
	}
}

func TestNewerLibc(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		a, b string
		want bool
	}{
		{"libc.so.6()(64bit)", "libc.so.6(GLIBC_2.2.5)(64bit)", true},
		{"libc.so.6(GLIBC_2.2.5)(64bit)", "libc.so.6()(64bit)", false},
		{"libc.so.6(GLIBC_2.4)(64bit)", "libc.so.6(GLIBC_2.34)(64bit)", true},
		{"libc.so.6(GLIBC_2.34)(64bit)", "libc.so.6(GLIBC_2.4)(64bit)", false},
		{"libc.so.6(GLIBC_2.4)", "libc.so.6(GLIBC_2.4)", false},
		{"libc.so.6", "libc.so.6(GLIBC_2.4)", true},
		{"libc.so.6", "libc.so.6", false},
		{"libc.so.6(GLIBC_PRIVATE)", "libc.so.6(GLIBC_2.4)", true},
		{"libc.so.6(GLIBC_2", "libc.so.6(GLIBC_3", false},
	} {
		if got := newerLibc(tc.a, tc.b); got != tc.want {
			t.Errorf("newerLibc(%q, %q) = %v, want %v", tc.a, tc.b, got, tc.want)
		}
	}
}

func TestChangelog(t *testing.T) {
	t.Parallel()
	var entries []rpm.Change
	for _, e := range []struct {
		author string
		at     int64
	}{{"a  ", 100}, {"b", 100}, {"c", 100}, {"  ", 50}} {
		entries = append(entries, rpm.Change{Author: e.author, Time: time.Unix(e.at, 0), Text: e.author})
	}
	want := []change{{" ", 50, "  "}, {"c", 100, "c"}, {"b", 101, "b"}, {"a", 102, "a  "}}
	if diff := cmp.Diff(want, changelog(entries), cmp.AllowUnexported(change{})); diff != "" {
		t.Errorf("changelog (-want +got):\n%s", diff)
	}
	for range 20 {
		entries = append(entries, rpm.Change{Time: time.Unix(1, 0)})
	}
	if n := len(changelog(entries)); n != maxChangelog {
		t.Errorf("changelog has %d entries, want %d", n, maxChangelog)
	}
}

func TestEscape(t *testing.T) {
	t.Parallel()
	const in = "a<b>&\"'\t\n\r☃\uFFFD"
	text, attr := (&element{}).text(in), (&element{}).attr(in)
	if got, want := string(text.b), "a&lt;b&gt;&amp;\"'\t\n&#13;☃\uFFFD"; got != want || text.bad != "" {
		t.Errorf("text = %q, want %q", got, want)
	}
	if got, want := string(attr.b), "a&lt;b&gt;&amp;&quot;'&#9;&#10;&#13;☃\uFFFD"; got != want || attr.bad != "" {
		t.Errorf("attr = %q, want %q", got, want)
	}
}
