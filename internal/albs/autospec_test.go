package albs

import "testing"

func TestAutospec(t *testing.T) {
	t.Parallel()
	release := map[string]string{"autorelease": "1"}
	for _, tt := range []struct {
		name, spec string
		macros     map[string]string
		macro      string
		must       bool
	}{
		{"neither", "Name: x\nRelease: 1%{?dist}\n%changelog\n* x\n", nil, "", false},
		{"release", "Name: x\nRelease: %autorelease\n", nil, "autorelease", true},
		{"release in braces, with an option", "Release: %{autorelease -b 3}\n", nil, "autorelease", true},
		{"changelog", "Release: 1\n%changelog\n%autochangelog\n", nil, "autochangelog", true},
		{"by way of a macro", "%global rel %autorelease\nRelease: %rel\n", nil, "autorelease", true},
		{"asked for", "Release: %{?autorelease}%{!?autorelease:1}\n", nil, "autorelease", false},
		{"asked for, and the other needed", "Release: %{?autorelease}\n%{autochangelog}\n", nil, "autochangelog", true},
		{"asked for and needed in a line", "Release: %{?autorelease}%autorelease\n", nil, "autorelease", true},
		{"comment", "# %autorelease would be nice\nRelease: 1\n", nil, "", false},
		{"escaped", "Release: 1\n# x\n%description\nIt uses %%autorelease.\n", nil, "", false},
		{"another word", "Release: %autoreleaser\n", nil, "", false},
		{"as rpmautospec leaves it", "## START: Set by rpmautospec\n%define autorelease(e:s:pb:n) %{?-p:0.}%{lua: print(3)}\n## END\nRelease: %autorelease\n", nil, "", false},
		{"defined by the platform", "Release: %autorelease\n", release, "", false},
		{"the other is defined", "Release: %autorelease\n%autochangelog\n", release, "autochangelog", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			if macro, must := Autospec([]byte(tt.spec), tt.macros); macro != tt.macro || must != tt.must {
				t.Errorf("Autospec = %q, %t; want %q, %t", macro, must, tt.macro, tt.must)
			}
		})
	}
}
