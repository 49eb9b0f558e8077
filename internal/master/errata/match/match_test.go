package match

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// nevra reads a NEVRA that a test is made of.
func nevra(t testing.TB, s string) rpm.NEVRA {
	t.Helper()
	n, err := rpm.ParseNEVRA(s)
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// built is a package of a build: "NEVRA[ of SRPM][ in MODULE][ released]".
func built(t testing.TB, b albs.BuildID, s string) Package {
	t.Helper()
	words := strings.Fields(s)
	p := Package{NEVRA: nevra(t, words[0]), Build: b}
	p.Source = p.Name + "-" + p.Version + "-" + p.Release + ".src.rpm"
	for i, w := range words {
		switch w {
		case "of":
			p.Source = words[i+1]
		case "in":
			p.Module = words[i+1]
		case "released":
			p.Released = true
		}
	}
	return p
}

// wants is what a notice names, written as in built.
func wants(t testing.TB, s string) advisory.Package {
	t.Helper()
	words := strings.Fields(s)
	p := advisory.Package{NEVRA: nevra(t, words[0])}
	for i, w := range words {
		switch w {
		case "of":
			p.Source = words[i+1]
		case "in":
			name, stream, _ := strings.Cut(words[i+1], ":")
			p.Module = &advisory.Module{Name: name, Stream: stream}
		}
	}
	return p
}

// told is a result in lines: "PLACE [*]BUILD NEVRA STRENGTH: REASON", the star of a pick.
func told(r Result) []string {
	var out []string
	for _, a := range r.Answers {
		star := ""
		if a.Pick {
			star = "*"
		}
		out = append(out, fmt.Sprintf("%d %s%d %s %s: %s", a.Wanted, star, a.Build, a.NEVRA, a.Strength, a.Reason))
	}
	for _, m := range r.Missing {
		out = append(out, fmt.Sprintf("%d missing: %s", m.Wanted, m.Reason))
	}
	return out
}

func TestMatch(t *testing.T) {
	t.Parallel()
	type builds map[albs.BuildID][]string
	tests := []struct {
		name  string
		built builds
		own   bool
		want  []string
		told  []string
	}{
		{
			name:  "this version",
			built: builds{7: {"bash-5.1.8-9.el9.x86_64"}},
			want:  []string{"bash-5.1.8-9.el9.x86_64"},
			told:  []string{"0 *7 bash-5.1.8-9.el9.x86_64 exact: build 7 has it in exactly this version"},
		},
		{
			name:  "with what the platform appends",
			built: builds{7: {"bash-5.1.8-9.el9_4.alma.1.x86_64"}},
			want:  []string{"bash-5.1.8-9.el9_4.x86_64"},
			told:  []string{"0 *7 bash-5.1.8-9.el9_4.alma.1.x86_64 equal: build 7 has it as 5.1.8-9.el9_4.alma.1, which is 5.1.8-9.el9_4 but for what tells who built it"},
		},
		{
			name:  "10 is more than 9",
			built: builds{7: {"foo-1.0-10.x86_64"}, 8: {"bar-1.0-9.x86_64"}},
			want:  []string{"foo-1.0-9.x86_64", "bar-1.0-10.x86_64"},
			told: []string{
				"0 *7 foo-1.0-10.x86_64 newer: build 7 has 1.0-10, which is newer than 1.0-9 and of the same line",
				"1 missing: the newest bar, of build 8, is 1.0-9, older than 1.0-10",
			},
		},
		{
			name:  "before a tilde, behind a caret",
			built: builds{7: {"foo-1.0~rc1-1.x86_64", "bar-1.0^git1-1.x86_64"}},
			want:  []string{"foo-1.0-1.x86_64", "bar-1.0-1.x86_64"},
			told: []string{
				"1 *7 bar-1.0^git1-1.x86_64 newer: build 7 has 1.0^git1-1, which is newer than 1.0-1 and of the same line",
				"0 missing: the newest foo, of build 7, is 1.0~rc1-1, older than 1.0-1",
			},
		},
		{
			name:  "another line, another epoch",
			built: builds{7: {"foo-128.1-1.x86_64", "bar-1:1.0-1.x86_64", "tzdata-2025b-1.noarch"}},
			want:  []string{"foo-115.3-1.x86_64", "bar-1.0-1.x86_64", "tzdata-2024a-1.noarch"},
			told: []string{
				"2 *7 tzdata-2025b-1.noarch newer: build 7 has 2025b-1, which is newer than 2024a-1 and of the same line",
				"0 missing: build 7 has 128.1-1 of foo, which is of another line of versions than 115.3-1",
				"1 missing: build 7 has 1:1.0-1 of bar, which is of another line of versions than 1.0-1",
			},
		},
		{
			name:  "noarch here, an arch there",
			built: builds{7: {"foo-doc-1.0-1.noarch"}},
			want:  []string{"foo-doc-1.0-1.x86_64", "foo-doc-1.0-1.aarch64"},
			told: []string{
				"0 *7 foo-doc-1.0-1.noarch exact: build 7 has it in exactly this version; it is noarch here and x86_64 in the notice",
				"1 *7 foo-doc-1.0-1.noarch exact: build 7 has it in exactly this version; it is noarch here and aarch64 in the notice",
			},
		},
		{
			name:  "noarch there, arches here",
			built: builds{7: {"foo-doc-1.0-1.x86_64", "foo-doc-1.0-1.aarch64", "foo-doc-1.0-1.src"}},
			want:  []string{"foo-doc-1.0-1.noarch"},
			told: []string{
				"0 *7 foo-doc-1.0-1.aarch64 exact: build 7 has it in exactly this version; it is aarch64 here and noarch in the notice",
				"0 *7 foo-doc-1.0-1.x86_64 exact: build 7 has it in exactly this version; it is x86_64 here and noarch in the notice",
			},
		},
		{
			name:  "both there: each its own",
			built: builds{7: {"foo-1.0-1.x86_64", "foo-1.0-1.noarch"}},
			want:  []string{"foo-1.0-1.noarch", "foo-1.0-1.x86_64"},
			told: []string{
				"0 *7 foo-1.0-1.noarch exact: build 7 has it in exactly this version",
				"1 *7 foo-1.0-1.x86_64 exact: build 7 has it in exactly this version",
			},
		},
		{
			name:  "a source is no package",
			built: builds{7: {"foo-1.0-1.src", "bar-1.0-1.noarch"}},
			want:  []string{"foo-1.0-1.noarch", "foo-1.0-1.src", "bar-1.0-1.src"},
			told: []string{
				"1 *7 foo-1.0-1.src exact: build 7 has it in exactly this version",
				"0 missing: foo was built for src, not for noarch",
				"2 missing: bar was built for noarch, not for src",
			},
		},
		{
			name:  "modules",
			built: builds{7: {"pg-12.1-1.module_el8.6.0+2881+d7b5b5b3.alma.x86_64 in pg:12:86:abc", "hidden-1-1.module_el8.6.0+2881+d7b5b5b3.x86_64 in virt-devel:rhel:86:abc"}},
			want:  []string{"pg-12.1-1.module+el8.6.0+101+ffffffff.x86_64 in pg:12", "pg-12.1-1.module+el8.6.0+101+ffffffff.x86_64 in pg:13", "pg-12.1-1.x86_64", "hidden-1-1.module+el8.6.0+9+a.x86_64 in virt:rhel"},
			told: []string{
				"0 *7 pg-12.1-1.module_el8.6.0+2881+d7b5b5b3.alma.x86_64 equal: build 7 has it as 12.1-1.module_el8.6.0+2881+d7b5b5b3.alma, which is 12.1-1 but for what tells who built it",
				"3 *7 hidden-1-1.module_el8.6.0+2881+d7b5b5b3.x86_64 equal: build 7 has it as 1-1.module_el8.6.0+2881+d7b5b5b3, which is 1-1 but for what tells who built it; it is in virt-devel:rhel, which goes with virt:rhel",
				"1 missing: pg was built in the module pg:12, and is wanted in the module pg:13",
				"2 missing: pg was built in the module pg:12, and is wanted in no module",
			},
		},
		{
			name:  "released before builds",
			built: builds{7: {"foo-1.0-2.x86_64 released"}, 8: {"foo-1.0-1.x86_64"}},
			want:  []string{"foo-1.0-1.x86_64"},
			told:  []string{"0 *7 foo-1.0-2.x86_64 newer: a repository for almalinux-9 has 1.0-2, which is newer than 1.0-1 and of the same line"},
		},
		{
			name:  "of what is released, what comes closest",
			built: builds{7: {"foo-1.0-3.x86_64 released"}, 8: {"foo-1.0-2.x86_64 released"}, 9: {"foo-1.0-1.x86_64"}},
			want:  []string{"foo-1.0-1.x86_64"},
			told:  []string{"0 *8 foo-1.0-2.x86_64 newer: a repository for almalinux-9 has 1.0-2, which is newer than 1.0-1 and of the same line"},
		},
		{
			name:  "what is released but too old is no answer",
			built: builds{7: {"foo-1.0-1.x86_64 released"}, 8: {"foo-1.0-2.x86_64"}},
			want:  []string{"foo-1.0-2.x86_64"},
			told:  []string{"0 *8 foo-1.0-2.x86_64 exact: build 8 has it in exactly this version"},
		},
		{
			name: "one build for a source",
			built: builds{
				7: {"foo-1.0-2.x86_64", "foo-libs-1.0-2.x86_64 of foo-1.0-2.src.rpm"},
				8: {"foo-1.0-1.x86_64"}, // has one of the two, though exactly
			},
			want: []string{"foo-1.0-1.x86_64", "foo-libs-1.0-1.x86_64"},
			told: []string{
				"0 *7 foo-1.0-2.x86_64 newer: build 7 has 1.0-2, which is newer than 1.0-1 and of the same line",
				"0 8 foo-1.0-1.x86_64 exact: build 8 has it in exactly this version",
				"1 *7 foo-libs-1.0-2.x86_64 newer: build 7 has 1.0-2, which is newer than 1.0-1 and of the same line",
			},
		},
		{
			name:  "of equals the newest build",
			built: builds{7: {"foo-1.0-1.x86_64"}, 8: {"foo-1.0-1.x86_64"}},
			want:  []string{"foo-1.0-1.x86_64"},
			told: []string{
				"0 *8 foo-1.0-1.x86_64 exact: build 8 has it in exactly this version",
				"0 7 foo-1.0-1.x86_64 exact: build 7 has it in exactly this version",
			},
		},
		{
			name:  "the source, but another version of the package",
			built: builds{7: {"perl-Opcode-1.48-480.el9.x86_64 of perl-5.32.1-481.el9.alma.src.rpm"}},
			want:  []string{"perl-Opcode-1.49-481.el9.x86_64 of perl-5.32.1-481.el9.src.rpm"},
			told:  []string{"0 7 perl-Opcode-1.48-480.el9.x86_64 source: build 7 has 1.48-480.el9, which isn't 1.49-481.el9, but was built from perl-5.32.1-481.el9.alma.src.rpm, which is the source that the notice names"},
		},
		{
			name:  "own ones name builds as they are",
			built: builds{7: {"foo-1.0-1.alma.x86_64"}, 8: {"foo-1.0-1.x86_64"}},
			own:   true,
			want:  []string{"foo-1.0-1.alma.x86_64"},
			told:  []string{"0 *7 foo-1.0-1.alma.x86_64 exact: build 7 has it in exactly this version"},
		},
		{
			name: "nothing",
			want: []string{"bash-5.1.8-9.el9.x86_64"},
			told: []string{"0 missing: nothing of bash was built for almalinux-9"},
		},
		{
			name:  "for other arches",
			built: builds{7: {"foo-1-1.x86_64", "foo-1-1.aarch64", "foo-1-1.i686"}},
			want:  []string{"foo-1-1.s390x"},
			told:  []string{"0 missing: foo was built for aarch64, i686 and x86_64, not for s390x"},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			var ps []Package
			for b, list := range tt.built {
				for _, s := range list {
					ps = append(ps, built(t, b, s))
				}
			}
			var want []advisory.Package
			for _, s := range tt.want {
				want = append(want, wants(t, s))
			}
			got := told(New("almalinux-9", []string{".alma"}, ps).Match(want, tt.own))
			if !slices.Equal(got, tt.told) {
				t.Errorf("got\n  %s\nwant\n  %s", strings.Join(got, "\n  "), strings.Join(tt.told, "\n  "))
			}
		})
	}
}

func TestMatchBounds(t *testing.T) {
	t.Parallel()
	var ps []Package
	for b := range 3 * maxBuilds {
		ps = append(ps, built(t, albs.BuildID(b+1), "foo-1-1.x86_64"))
	}
	r := New("p", nil, ps).Match([]advisory.Package{wants(t, "foo-1-1.x86_64")}, false)
	if len(r.Answers) != maxBuilds || r.Answers[0].Build != 3*maxBuilds {
		t.Errorf("%d answers, the first of build %d", len(r.Answers), r.Answers[0].Build)
	}
}

func TestClean(t *testing.T) {
	t.Parallel()
	tests := []struct{ release, want string }{
		{"9.el9", "9.el9"},
		{"9.el9.alma", "9.el9"},
		{"9.el9.alma.1", "9.el9"},
		{"9.el9_4.alma2", "9.el9_4"},
		{"9.el9.almanac", "9.el9.almanac"},
		{"9.almanac.alma.3", "9.almanac"},
		{".alma", ".alma"}, // something has to be left
		{"9.el9.plus.alma.1", "9.el9"},
		{"9.el9.1.plus", "9.el9.1"},
		{"416.module+el8.3.0+6718+7f269185", "416"},
		{"5.module_el8.6.0+2881+d7b5b5b3.2", "5.2"},
		{"5.module_el8.6.0+2881+d7b5b5b3.2.alma.1", "5.2"},
		{"5.modules.1", "5.modules.1"},
		{"5.module_el8", "5.module_el8"},
	}
	for _, tt := range tests {
		got := Clean(rpm.EVR{Version: "1", Release: tt.release}, []string{".alma", ".plus", ""})
		if got != (rpm.EVR{Version: "1", Release: tt.want}) {
			t.Errorf("Clean(%s) = %s, want %s", tt.release, got.Release, tt.want)
		}
	}
}

// FuzzMatch holds matching to what must be true of any answer.
func FuzzMatch(f *testing.F) {
	f.Add("foo-1.0-1.alma.x86_64", "foo-1.0-2.noarch", ".alma", true)
	f.Add("foo-1.0-1.module+el8+1+a.2.src", "foo-1:1.0-2.src", "", false)
	f.Fuzz(func(t *testing.T, want, have, suffix string, own bool) {
		w, err := rpm.ParseNEVRA(want)
		if err != nil {
			t.Skip(err)
		}
		h, err := rpm.ParseNEVRA(have)
		if err != nil {
			t.Skip(err)
		}
		r := New("p", []string{suffix}, []Package{{NEVRA: h, Build: 1}}).Match([]advisory.Package{{NEVRA: w}}, own)
		if len(r.Answers)+len(r.Missing) != 1 {
			t.Fatalf("%d answers and %d reasons for none", len(r.Answers), len(r.Missing))
		}
		for _, m := range r.Missing {
			if m.Reason == "" {
				t.Error("nothing answers, and no reason is given")
			}
			if w == h {
				t.Errorf("%s doesn't answer itself: %s", w, m.Reason)
			}
		}
		for _, a := range r.Answers {
			clean := func(n rpm.NEVRA) rpm.EVR {
				if own {
					return n.EVR()
				}
				return Clean(n.EVR(), []string{suffix})
			}
			switch {
			case a.Name != w.Name || a.Reason == "" || !a.Pick:
				t.Errorf("%s is answered by %+v", w, a)
			case (a.Arch == "src") != (w.Arch == "src"):
				t.Errorf("%s is answered by %s", w, a.NEVRA)
			case a.Strength >= Newer && a.Strength < Exact && rpm.Compare(clean(a.NEVRA), clean(w)) < 0:
				t.Errorf("%s is answered by %s, which is older", w, a.NEVRA)
			}
		}
	})
}

// TestStrength: every strength has a word, and what a person chose too.
func TestStrength(t *testing.T) {
	for s, want := range map[Strength]string{0: "by hand", Source: "source", Newer: "newer", Equal: "equal", Exact: "exact", 9: "strength 9"} {
		if got := s.String(); got != want {
			t.Errorf("strength %d is %q, want %q", int(s), got, want)
		}
	}
}
