package dnf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestApart(t *testing.T) {
	t.Parallel()
	many := "((a and b)" + strings.Repeat(" or (a and b)", 20) + ")"
	for in, want := range map[string][]string{
		"gcc":                                 {"gcc"},
		"libfoo-devel >= 1.2":                 {"libfoo-devel >= 1.2"},
		"libc.so.6(GLIBC_2.34)(64bit)":        {"libc.so.6(GLIBC_2.34)(64bit)"},
		"/usr/bin/perl":                       {"/usr/bin/perl"},
		"(a-devel and b)":                     {"a-devel", "b"},
		"(a >= 1 and b and pkgconfig(c) < 2)": {"a >= 1", "b", "pkgconfig(c) < 2"},
		"(pkgconfig(a) and perl(B::C))":       {"pkgconfig(a)", "perl(B::C)"},
		"(a and (b and c))":                   {"a", "b", "c"},
		"(a and (b or c))":                    {"a", "(b or c)"},
		"(a or b)":                            {"(a or b)"},
		"(a or b = 1-1 or c(d))":              {"(a or b = 1-1 or c(d))"},
		"(a or (b and c))":                    {"(a or b)", "(a or c)"},
		"((a and b) or (c and d))":            {"(a or c)", "(a or d)", "(b or c)", "(b or d)"},
		"(a if b)":                            {"(a if b)"},
		"(a if b else c)":                     {"(a if b else c)"},
		"(a and (b if c >= 3))":               {"a", "(b if c >= 3)"},
		"((a and b) if c)":                    {"((a and b) if c)"},
		"(a with b < 2)":                      {"(a with b < 2)"},
		"((a with b) and c)":                  {"(a with b)", "c"},
		"(a unless b)":                        {"(a unless b)"},
		"(a and  b )":                         {"(a and  b )"}, // not rpm's form: what is not understood is dnf's to refuse
		"(a and b":                            {"(a and b"},
		"(a and)":                             {"(a and)"},
		"(a)":                                 {"(a)"},
		"()":                                  {"()"},
		"(":                                   {"("},
		"(a and b) c":                         {"(a and b) c"},
		"(a and b) and c":                     {"(a and b) and c"},
		"(a and b or c)":                      {"(a and b or c)"}, // rpm refuses it
		many:                                  {many},
		strings.Repeat("(", 1000):             {strings.Repeat("(", 1000)},
		strings.Repeat("(", 17) + "a" + strings.Repeat(" and b)", 17): {strings.Repeat("(", 17) + "a" + strings.Repeat(" and b)", 17)},
		"(-y and b)": {"-y", "b"},
	} {
		if diff := cmp.Diff(want, Apart([]string{in})); diff != "" {
			t.Errorf("%.100q (-want +got):\n%s", in, diff)
		}
	}
	if diff := cmp.Diff([]string{"x", "a", "b", "y"}, Apart([]string{"x", "(a and b)", "y"})); diff != "" {
		t.Errorf("several (-want +got):\n%s", diff)
	}
}

// FuzzApart: whatever comes, what isn't rich stays, and nothing gets lost.
func FuzzApart(f *testing.F) {
	for _, s := range []string{"a", "(a and b)", "((a or b >= 1) and c(d))", "(a if b else c)", "((a and b) or (c and d))", "(", ")", "(a and"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		got := Apart([]string{s})
		if len(got) == 0 || !strings.HasPrefix(s, "(") && (len(got) != 1 || got[0] != s) {
			t.Fatalf("Apart(%q) = %q", s, got)
		}
		for _, g := range got {
			if again := Apart([]string{g}); len(again) != 1 || again[0] != g {
				t.Errorf("Apart(%q) = %q, of which %q comes apart again: %q", s, got, g, again)
			}
		}
		for _, word := range strings.FieldsFunc(s, func(c rune) bool { return strings.ContainsRune(" ()", c) }) {
			if word != "and" && !strings.Contains(strings.Join(got, " "), word) {
				t.Errorf("Apart(%q) = %q, without %q", s, got, word)
			}
		}
	})
}
