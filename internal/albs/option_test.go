package albs_test

import (
	"strings"
	"testing"

	"albs/internal/albs"
)

func TestWordsOfOptions(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		check     func(string) error
		good, bad []string
	}{
		"exclude": {albs.CheckExclude,
			[]string{"gcc", "gcc*", "*-devel", "make-1:4.3-7.el9.x86_64", "libstdc++", "a?c"},
			[]string{"", "-x", "a b", "a,b", "a\nb", "[ab]", "a;b", "$x", "%x", "http://x", strings.Repeat("a", 102)}},
		"module": {albs.CheckModule,
			[]string{"perl:5.32", "container-tools:rhel8", "389-ds:1.4"},
			[]string{"", "perl", "perl:", ":1", "a:b:c", "a:b/c", "--x:1", "a:b\n", "a b:1", "a*:1"}},
		"macro": {func(s string) error { return albs.CheckMacro(s, "1") },
			[]string{"dist", "_with_x", "opt(ab:)"}, []string{"", "ab", "%dist", "a b c", "9abc", "dist\n"}},
		"body": {func(s string) error { return albs.CheckMacro("dist", s) },
			[]string{".el9_2", "%{?x:%(date)}", "{", "-a, -b=1"}, []string{"a\nb", "%{x", "%(x", ` x`, `x\`, "\xff", strings.Repeat("a", 5000)}},
	} {
		for _, s := range c.good {
			if err := c.check(s); err != nil {
				t.Errorf("%s %q: %v", what, s, err)
			}
		}
		for _, s := range c.bad {
			if err := c.check(s); albs.KindOf(err) != albs.Invalid {
				t.Errorf("%s %.60q: %v, want Invalid", what, s, err)
			}
		}
	}
}

func TestArchesOfRoots(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, root albs.Arch
		want    bool
	}{
		{albs.X8664, albs.X8664, true}, {albs.I686, albs.X8664, true}, {albs.X8664v2, albs.X8664, true}, {albs.X8664, albs.I686, false},
		{albs.AArch64, albs.X8664, false}, {albs.I686, albs.X8664v2, false}, {albs.Noarch, albs.X8664, false},
	} {
		if got := c.a.Within(c.root); got != c.want {
			t.Errorf("%s within %s: %v", c.a, c.root, got)
		}
	}
}
