package option

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/platform"
)

func TestOptions(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		o    Options
		want string // a part of the message; "" if it is taken
	}{
		"nothing":                 {Options{}, ""},
		"all":                     {Options{With: []string{"a"}, Without: []string{"b"}, Define: map[string]string{"dist": ".x", "empty_one": ""}, Excludes: []string{"gcc*", "make-1:4-1.el9.x86_64"}, Modules: []string{"perl:5.32"}, TargetArch: albs.I686}, ""},
		"with a macro":            {Options{With: []string{"%(id)"}}, "a name has letters"},
		"without a line":          {Options{Without: []string{"a\nb"}}, "a name has letters"},
		"on and off":              {Options{With: []string{"a"}, Without: []string{"a"}}, "both switched on and off"},
		"macro of two lines":      {Options{Define: map[string]string{"abc": "1\n%evil 2"}}, "not one line of text"},
		"macro that goes on":      {Options{Define: map[string]string{"abc": "%{x"}}, "never closed"},
		"macro with a flag":       {Options{Define: map[string]string{"--eval": "1"}}, "not one that rpm takes"},
		"exclude as a setting":    {Options{Excludes: []string{"a\ngpgcheck=0"}}, "not the name of a package"},
		"exclude as two":          {Options{Excludes: []string{"a,b"}}, "not the name of a package"},
		"module without a stream": {Options{Modules: []string{"perl"}}, "name:stream"},
		"module as an option":     {Options{Modules: []string{"--x:1"}}, "name:stream"},
		"two streams":             {Options{Modules: []string{"perl:5.32", "perl:5.36"}}, "two streams of one"},
		"unknown target":          {Options{TargetArch: "mips"}, "target_arch"},
		"noarch as target":        {Options{TargetArch: albs.Noarch}, "target_arch"},
		"too many":                {Options{With: strings.Split(strings.Repeat("a ", maxOptions), " ")}, "more than"},
	} {
		err := c.o.Check()
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestOptionsOfAPackage(t *testing.T) {
	t.Parallel()
	whole := Options{With: []string{"b"}, Define: map[string]string{"one": "1", "two": "2"}, Modules: []string{"perl:5.32"}}
	own := Options{With: []string{"b", "a"}, Without: []string{"c"}, Define: map[string]string{"two": "two"}, Excludes: []string{"gcc"}, TargetArch: albs.I686}
	want := Options{
		With: []string{"a", "b"}, Without: []string{"c"}, Define: map[string]string{"one": "1", "two": "two"},
		Excludes: []string{"gcc"}, Modules: []string{"perl:5.32"}, TargetArch: albs.I686,
	}
	if diff := cmp.Diff(want, whole.And(own)); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if whole.Define["two"] != "2" {
		t.Error("the package's macro became the build's")
	}
}

func TestDistOf(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ref, dist, want string }{
		{"imports/c9/bind-9.16.23-11.el9_2.1", ".el9", ".el9_2"},
		{"imports/c9/bind-9.16.23-11.el9_2.1", ".el8", ""}, // another distribution's: ALBS gives it this one's
		{"imports/c10/x-1-1.el10_0", ".el10", ".el10_0"},
		{"el9_4", ".el9", ".el9_4"},
		{"imports/c9/bind-9.16.23-11.el9", ".el9", ""},
		{"model9_2", ".el9", ""},
		{"c9", ".el9", ""},
		{"imports/c9/x-1-1.el9_2", ".seed9", ""},
	} {
		if got := distOf(c.ref, c.dist); got != c.want {
			t.Errorf("distOf(%q, %q) = %q, want %q", c.ref, c.dist, got, c.want)
		}
	}
	// What a person asks for holds before all.
	s := Options{Define: map[string]string{"dist": ".mine"}}.Switches("x-1-1.el9_2", ".el9")
	if s.Define["dist"] != ".mine" {
		t.Errorf("dist = %v", s.Define)
	}
}

func TestTargetOf(t *testing.T) {
	t.Parallel()
	p := platform.Platform{Spec: platform.Spec{Name: "el9", Arches: []albs.Arch{albs.X8664, albs.I686}}}
	for name, tc := range map[string]struct{ wanted, want []albs.Arch }{
		"all":     {nil, p.Arches},
		"one":     {[]albs.Arch{albs.I686}, []albs.Arch{albs.I686}},
		"another": {[]albs.Arch{albs.X8664, albs.AArch64}, nil},
		"twice":   {[]albs.Arch{albs.I686, albs.I686}, nil},
	} {
		got, err := TargetOf(p, tc.wanted)
		if !slices.Equal(got.Wanted, tc.want) || (err == nil) != (tc.want != nil) || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: TargetOf = %v, %v; want %v", name, got.Wanted, err, tc.want)
		}
	}
	if err := (Target{Platform: p}).TakesSecureBoot(); !errors.Is(err, albs.Invalid) {
		t.Errorf("without macros TakesSecureBoot = %v, want Invalid", err)
	}
	p.SecureBootMacros = map[string]string{"vendor": "B"}
	if err := (Target{Platform: p}).TakesSecureBoot(); err != nil {
		t.Errorf("with macros TakesSecureBoot = %v", err)
	}
}

func TestTargetTakes(t *testing.T) {
	t.Parallel()
	p := platform.Platform{Spec: platform.Spec{
		Name: "p", ModuleID: "platform:el9", Arches: []albs.Arch{albs.X8664, albs.I686, albs.AArch64, albs.S390X},
		RootArches: map[albs.Arch]albs.Arch{albs.I686: albs.X8664}, WeakArches: []platform.WeakArch{{Name: albs.S390X, DependsOn: albs.AArch64}},
	}}
	plain := p
	plain.ModuleID = ""
	for name, c := range map[string]struct {
		t    Target
		o    Options
		want string
	}{
		"a module":                         {Target{p, []albs.Arch{albs.X8664}}, Options{Modules: []string{"a:1"}}, ""},
		"a module where there are none":    {Target{plain, []albs.Arch{albs.X8664}}, Options{Modules: []string{"a:1"}}, "no modules"},
		"a target of the root":             {Target{p, []albs.Arch{albs.X8664, albs.I686}}, Options{TargetArch: albs.X8664v2}, ""},
		"a target of another arch's roots": {Target{p, []albs.Arch{albs.X8664, albs.AArch64}}, Options{TargetArch: albs.I686}, "the root for aarch64"},
	} {
		err := c.t.Takes(c.o)
		if c.want == "" && err != nil || c.want != "" && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	p.Room.Large = []platform.Large{{Packages: []string{"k*"}, Room: platform.Room{Cores: 8, Memory: 16 << 30, Disk: 60 << 30}}}
	p.TestEngine = albs.EnginePodman
	got := Target{p, []albs.Arch{albs.I686, albs.AArch64, albs.S390X}}.Facts("kernel")
	want := Facts{
		Weak: []albs.Arch{albs.S390X}, Roots: map[albs.Arch]albs.Arch{albs.I686: albs.X8664},
		Rooms:      map[albs.TaskKind]Room{albs.KindSource: {1, 1 << 29, 1 << 30}, albs.KindBuild: {8, 16 << 30, 60 << 30}, albs.KindTest: {1, 1 << 29, 1 << 30}},
		TestEngine: "podman",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("facts (-want +got):\n%s", diff)
	}
	if got := (Target{p, []albs.Arch{albs.S390X}}).Facts("x"); len(got.Weak) > 0 {
		t.Errorf("alone, s390x is weak: %+v", got)
	}
	for arch, host := range map[albs.Arch]string{albs.I686: "arch:x86_64", albs.AArch64: "arch:aarch64", albs.X8664v2: "arch:x86_64"} {
		if h := want.Host(arch); h != host {
			t.Errorf("host of %s = %s, want %s", arch, h, host)
		}
	}
}
