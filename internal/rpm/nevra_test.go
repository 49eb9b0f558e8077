package rpm

import (
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"

	"github.com/google/go-cmp/cmp"
)

func TestParseNEVRA(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]NEVRA{
		"bash-5.1.8-9.el9.x86_64":            {"bash", 0, "5.1.8", "9.el9", "x86_64"},
		"bash-0:5.1.8-9.el9.x86_64":          {"bash", 0, "5.1.8", "9.el9", "x86_64"},
		"perl-4:5.32.1-481.el9.src":          {"perl", 4, "5.32.1", "481.el9", "src"},
		"gcc-c++-11.5.0-5.el9_5.alma.1.i686": {"gcc-c++", 0, "11.5.0", "5.el9_5.alma.1", "i686"},
		"a-b-c-1.0~rc1^git2-1.noarch":        {"a-b-c", 0, "1.0~rc1^git2", "1", "noarch"},
		"0ad-0.0.26-1.x86_64_v2":             {"0ad", 0, "0.0.26", "1", "x86_64_v2"},
	} {
		got, err := ParseNEVRA(s)
		if err != nil {
			t.Errorf("ParseNEVRA(%q): %v", s, err)
			continue
		}
		if got != want {
			t.Errorf("ParseNEVRA(%q) = %+v, want %+v", s, got, want)
		}
		if again, err := ParseNEVRA(got.String()); again != got || err != nil {
			t.Errorf("ParseNEVRA(%q) = %+v, %v; want %+v", got, again, err, got)
		}
	}
	if got, want := (NEVRA{"perl", 4, "5.32.1", "481.el9", "src"}).Filename(), "perl-5.32.1-481.el9.src.rpm"; got != want {
		t.Errorf("Filename() = %q, want %q", got, want)
	}
}

// Names that would be harmful as an argument, a path or a word of shell (T43).
func TestParseNEVRARefuses(t *testing.T) {
	t.Parallel()
	for _, s := range []string{
		"", "a", "a.b", "a-1.x86_64", "-1-1.x86_64", "a--1.x86_64", "a-1-.x86_64", "a-1-1.", "a-1-1", "--1-1.x86_64",
		"-rf-1-1.noarch", ".a-1-1.noarch", "+a-1-1.noarch", "..-1-1.noarch",
		"a/b-1-1.noarch", "../a-1-1.noarch", "a-1/2-1.noarch", "a-1-1.no/arch",
		"a$(id)-1-1.noarch", "a`id`-1-1.noarch", "a-1;id-1.noarch", "a-1-1|x.noarch", "a b-1-1.noarch", "a-1-1 .noarch",
		"a\n-1-1.noarch", "a-1\n-1.noarch", "a-1-1.noarch\n", "a'-1-1.noarch", `a"-1-1.noarch`, "a\x00-1-1.noarch",
		"a%{x}-1-1.noarch", "ä-1-1.noarch", "a\xff-1-1.noarch", "a:1-1-1.noarch", "a-1:-1.noarch", "a-1:2:3-1.noarch",
		"a-+1:2-1.noarch", "a-2147483648:1-1.noarch", "a-99999999999999999999:1-1.noarch",
		strings.Repeat("a", 250) + "-1-1.noarch", "a-1-1." + strings.Repeat("a", 33),
	} {
		if n, err := ParseNEVRA(s); !errors.Is(err, albs.Invalid) {
			t.Errorf("ParseNEVRA(%q) = %+v, %v; want an Invalid error", s, n, err)
		}
	}
}

func FuzzParseNEVRA(f *testing.F) {
	f.Add("bash-0:5.1.8-9.el9.x86_64")
	f.Add("a-1:1.0~rc1^git2-1.noarch")
	f.Fuzz(func(t *testing.T, s string) {
		n, err := ParseNEVRA(s)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("ParseNEVRA(%q): %v is not Invalid", s, err)
			}
			return
		}
		if !n.Valid() {
			t.Fatalf("ParseNEVRA(%q) = %+v, not Valid", s, n)
		}
		if again, err := ParseNEVRA(n.String()); err != nil || again != n {
			t.Fatalf("ParseNEVRA(%q) = %+v, %v; want %+v", n, again, err, n)
		}
		if name := n.Filename(); strings.ContainsAny(name, "/ \t\n$`'\"\\|&;<>*?(){}") || name[0] == '-' || name[0] == '.' {
			t.Fatalf("%q has the file name %q", s, name)
		}
	})
}

func TestParseEVR(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]EVR{
		"":            {},
		"1":           {0, "1", ""},
		"1-2":         {0, "1", "2"},
		"3:1-2":       {3, "1", "2"},
		":1-2":        {0, "1", "2"},
		"1-2-3":       {0, "1-2", "3"},
		"a:1-2":       {0, "a:1", "2"},
		"0:1.0^a~b-c": {0, "1.0^a~b", "c"},
	} {
		got, err := ParseEVR(s)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("ParseEVR(%q): %v\n%s", s, err, diff)
		}
	}
}

// TestCompare is rpm's own list, tests/rpmvercmp.at.
func TestCompare(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{
		{"1.0", "1.0", 0}, {"1.0", "2.0", -1}, {"2.0", "1.0", 1},
		{"2.0.1", "2.0.1", 0}, {"2.0", "2.0.1", -1}, {"2.0.1", "2.0", 1},
		{"2.0.1a", "2.0.1a", 0}, {"2.0.1a", "2.0.1", 1}, {"2.0.1", "2.0.1a", -1},
		{"5.5p1", "5.5p1", 0}, {"5.5p1", "5.5p2", -1}, {"5.5p2", "5.5p1", 1},
		{"5.5p10", "5.5p10", 0}, {"5.5p1", "5.5p10", -1}, {"5.5p10", "5.5p1", 1},
		{"10xyz", "10.1xyz", -1}, {"10.1xyz", "10xyz", 1},
		{"xyz10", "xyz10", 0}, {"xyz10", "xyz10.1", -1}, {"xyz10.1", "xyz10", 1},
		{"xyz.4", "xyz.4", 0}, {"xyz.4", "8", -1}, {"8", "xyz.4", 1}, {"xyz.4", "2", -1}, {"2", "xyz.4", 1},
		{"5.5p2", "5.6p1", -1}, {"5.6p1", "5.5p2", 1},
		{"5.6p1", "6.5p1", -1}, {"6.5p1", "5.6p1", 1},
		{"6.0.rc1", "6.0", 1}, {"6.0", "6.0.rc1", -1},
		{"10b2", "10a1", 1}, {"10a2", "10b2", -1},
		{"1.0aa", "1.0aa", 0}, {"1.0a", "1.0aa", -1}, {"1.0aa", "1.0a", 1},
		{"10.0001", "10.0001", 0}, {"10.0001", "10.1", 0}, {"10.1", "10.0001", 0}, {"10.0001", "10.0039", -1}, {"10.0039", "10.0001", 1},
		{"4.999.9", "5.0", -1}, {"5.0", "4.999.9", 1},
		{"20101121", "20101121", 0}, {"20101121", "20101122", -1}, {"20101122", "20101121", 1},
		{"2_0", "2_0", 0}, {"2.0", "2_0", 0}, {"2_0", "2.0", 0},
		{"a", "a", 0}, {"a+", "a+", 0}, {"a+", "a_", 0}, {"a_", "a+", 0}, {"+a", "+a", 0}, {"+a", "_a", 0}, {"_a", "+a", 0},
		{"+_", "+_", 0}, {"_+", "+_", 0}, {"_+", "_+", 0}, {"+", "_", 0}, {"_", "+", 0},
		{"1.0~rc1", "1.0~rc1", 0}, {"1.0~rc1", "1.0", -1}, {"1.0", "1.0~rc1", 1},
		{"1.0~rc1", "1.0~rc2", -1}, {"1.0~rc2", "1.0~rc1", 1},
		{"1.0~rc1~git123", "1.0~rc1~git123", 0}, {"1.0~rc1~git123", "1.0~rc1", -1}, {"1.0~rc1", "1.0~rc1~git123", 1},
		{"1.0^", "1.0^", 0}, {"1.0^", "1.0", 1}, {"1.0", "1.0^", -1},
		{"1.0^git1", "1.0^git1", 0}, {"1.0^git1", "1.0", 1}, {"1.0", "1.0^git1", -1},
		{"1.0^git1", "1.0^git2", -1}, {"1.0^git2", "1.0^git1", 1},
		{"1.0^git1", "1.01", -1}, {"1.01", "1.0^git1", 1},
		{"1.0^20160101", "1.0^20160101", 0}, {"1.0^20160101", "1.0.1", -1}, {"1.0.1", "1.0^20160101", 1},
		{"1.0^20160101^git1", "1.0^20160101^git1", 0}, {"1.0^20160102", "1.0^20160101^git1", 1}, {"1.0^20160101^git1", "1.0^20160102", -1},
		{"1.0~rc1^git1", "1.0~rc1^git1", 0}, {"1.0~rc1^git1", "1.0~rc1", 1}, {"1.0~rc1", "1.0~rc1^git1", -1},
		{"1.0^git1~pre", "1.0^git1~pre", 0}, {"1.0^git1", "1.0^git1~pre", 1}, {"1.0^git1~pre", "1.0^git1", -1},
		{"1b.fc17", "1b.fc17", 0}, {"1b.fc17", "1.fc17", -1}, {"1.fc17", "1b.fc17", 1},
		{"1g.fc17", "1g.fc17", 0}, {"1g.fc17", "1.fc17", 1}, {"1.fc17", "1g.fc17", -1},
		{"1.1.α", "1.1.α", 0}, {"1.1.α", "1.1.β", 0}, {"1.1.β", "1.1.α", 0},
		{"1.1.αα", "1.1.α", 0}, {"1.1.α", "1.1.ββ", 0}, {"1.1.ββ", "1.1.αα", 0},
	} {
		if got := Compare(EVR{Version: c.a}, EVR{Version: c.b}); got != c.want {
			t.Errorf("Compare(%s, %s) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Compare(EVR{Version: "1", Release: c.a}, EVR{Version: "1", Release: c.b}); got != c.want {
			t.Errorf("Compare(1-%s, 1-%s) = %d, want %d", c.a, c.b, got, c.want)
		}
	}
	for _, c := range []struct {
		a, b EVR
		want int
	}{
		{EVR{1, "1", "1"}, EVR{0, "2", "2"}, 1},
		{EVR{0, "1", "2"}, EVR{0, "1", "10"}, -1},
		{EVR{0, "2", "1"}, EVR{0, "1", "2"}, 1},
		{EVR{0, "1-2", "1"}, EVR{0, "1.2", "1"}, 0}, // a dash is one more separator
		{EVR{0, "5:1", "1"}, EVR{0, "1", "1"}, 1},   // a colon in the version is no epoch
	} {
		if got := Compare(c.a, c.b); got != c.want {
			t.Errorf("Compare(%v, %v) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Compare(c.b, c.a); got != -c.want {
			t.Errorf("Compare(%v, %v) = %d, want %d", c.b, c.a, got, -c.want)
		}
	}
}
