package buildroot

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestParseHeader(t *testing.T) {
	t.Parallel()
	h := parseHeader("requires gcc\nrequires rpmlib(FileDigests) <= 4.6.0-1\nrequires libfoo-devel >= 1.2\nrequires gcc\n" +
		"exclusive x86_64\nexclude (none)\nfile x.patch\nfile x.spec\nfile -x.spec\nfile a/y.spec\nnonsense\n")
	want := header{requires: []string{"gcc", "libfoo-devel >= 1.2"}, exclusive: []string{"x86_64"}, spec: "x.spec"}
	if diff := cmp.Diff(want, h, cmp.AllowUnexported(header{})); diff != "" {
		t.Errorf("parseHeader (-want +got):\n%s", diff)
	}
}

func TestExcludedByTags(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		h    header
		want bool
	}{
		{"no tags", header{}, false},
		{"exclusive has it", header{exclusive: []string{"aarch64", "x86_64"}}, false},
		{"exclusive lacks it", header{exclusive: []string{"aarch64"}}, true},
		{"exclusive noarch", header{exclusive: []string{"aarch64", "noarch"}}, false},
		{"exclude has it", header{exclude: []string{"x86_64"}}, true},
		{"exclude lacks it", header{exclude: []string{"s390x"}}, false},
	} {
		if got := tt.h.excluded(albs.X8664); (got != "") != tt.want {
			t.Errorf("%s: excluded = %q, want %v", tt.name, got, tt.want)
		}
	}
}

func TestCause(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ name, said, want string }{
		{"error lines", "+ make\nerror: one\nnoise\nerror: two\nerror: one\n", "one; two"},
		{"names follow", "error: Failed build dependencies:\n\tfoo is needed by x\n\tbar is needed by x\ndone\n", "Failed build dependencies:; foo is needed by x; bar is needed by x"},
		{"no error line", "tar: bad\n\n", "tar: bad"},
		{"nothing", "", ""},
		{"not text", "error: \xff\xfe\n", "??"},
	} {
		if got := cause([]byte(tt.said)); strings.ReplaceAll(got, "??", "?") != strings.ReplaceAll(tt.want, "??", "?") {
			t.Errorf("%s: cause = %q, want %q", tt.name, got, tt.want)
		}
	}
}

func TestCheckSpecPath(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct{ path, specs, sources string }{
		{"x.spec", ".", "."},
		{"SPECS/x.spec", "SPECS", "SOURCES"},
		{"pkg/SPECS/x.spec", "pkg/SPECS", "pkg/SOURCES"},
		{"pkg/x.spec", "pkg", "pkg"},
		{"../x.spec", "", ""}, {"/x.spec", "", ""}, {"a/../x.spec", "", ""}, {"-x.spec", "", ""}, {"x.txt", "", ""},
		{"%(id)/x.spec", "", ""}, {"a b/x.spec", "", ""}, {"", "", ""}, {".spec", "", ""},
	} {
		specs, sources, err := checkSpecPath(tt.path)
		if specs != tt.specs || sources != tt.sources || (err != nil) != (tt.specs == "") {
			t.Errorf("checkSpecPath(%q) = %q, %q, %v", tt.path, specs, sources, err)
		}
	}
}

func TestCheckAutospec(t *testing.T) {
	t.Parallel()
	const uses = "Release: %autorelease\n"
	for _, tt := range []struct {
		name   string
		filled bool
		spec   string
		macros map[string]string
		say    string
	}{
		{"neither", false, "Release: 1\n", nil, ""},
		{"not asked for", false, uses, nil, "platform el did not ask for that"},
		{"filled in", true, "%define autorelease(e:s:pb:n) 1\n" + uses, nil, ""},
		{"not seen", true, "%global rel %autorelease%{x}\n", nil, "where rpmautospec doesn't see it"},
		{"defined by the platform", false, uses, map[string]string{"autorelease": "1"}, ""},
		{"can do without", false, "Release: %{?autorelease}%{!?autorelease:1}\n", nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := checkAutospec("el", tt.filled, []byte(tt.spec), tt.macros)
			if (err == nil) != (tt.say == "") || err != nil && (albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), tt.say) || !strings.Contains(err.Error(), "%autorelease")) {
				t.Errorf("checkAutospec = %v, want %q", err, tt.say)
			}
		})
	}
}

func FuzzWords(f *testing.F) {
	f.Add("requires a\nfile x.spec\nerror: x:\n\ty\n")
	f.Fuzz(func(t *testing.T, text string) {
		if h := parseHeader(text); h.spec != "" && !specName.MatchString(h.spec) {
			t.Errorf("spec %q", h.spec)
		}
		if len(cause([]byte(text))) > 600 {
			t.Error("a cause is longer than it may be")
		}
		exclusion([]byte(text))
		if err := checkAutospec("el", false, []byte(text)); err != nil && albs.KindOf(err) != albs.Invalid {
			t.Error(err)
		}
	})
}

func TestParseFacts(t *testing.T) {
	t.Parallel()
	packages := "package x86_64 x\nprovides x\nprovides x(x86-64)\npackage x86_64 x-devel\nprovides x-devel\nprovides xx-devel\npackage noarch doc\nprovides doc\nnonsense\n"
	spec := "requires foo-devel >= 2\nrequires (a or b)\nrequires rpmlib(DynamicBuildRequires) <= 4.15\nexclusive x86_64\nexclude (none)\n"
	text := `Name: x
%description
/usr/bin/not-a-file
%generate_buildrequires
echo
%files -f list
/usr/bin/x
%attr(0755,root,root) /usr/sbin/y
%dir /etc/x
%exclude /usr/lib64/z
/usr/share/x/*
%config(noreplace) /etc/x.conf
%files devel
/usr/lib64/pkgconfig/x.pc
/usr/lib64/cmake/Ecks/EcksConfig.cmake
%files -n doc
%doc README
/usr/share/doc/x
%post
/usr/bin/true
%changelog
`
	want := albs.SpecFacts{
		Arch: albs.X8664, Requires: []string{"(a or b)", "foo-devel >= 2"}, Dynamic: true, Exclusive: []string{"x86_64"},
		Packages: []albs.SpecPackage{
			{Name: "x", Provides: []string{"/etc/x.conf", "/usr/bin/x", "/usr/sbin/y", "x(x86-64)"}},
			{Name: "x-devel", Provides: []string{"/usr/lib64/cmake/Ecks/EcksConfig.cmake", "/usr/lib64/pkgconfig/x.pc", "cmake(Ecks)", "pkgconfig(x)", "xx-devel"}},
			{Name: "doc", Noarch: true, Provides: []string{"/usr/share/doc/x"}},
		},
	}
	if diff := cmp.Diff(want, parseFacts(albs.X8664, packages, spec, text)); diff != "" {
		t.Errorf("parseFacts (-want +got):\n%s", diff)
	}
}

// FuzzParseFacts: whatever rpm prints of whatever a package says, there is an answer.
func FuzzParseFacts(f *testing.F) {
	f.Add("package x86_64 x\nprovides x\n", "requires a\n", "%files\n/usr/bin/x\n%files -n\n%files -f\n")
	f.Add("provides x\npackage \npackage  \n", "exclusive\n", "%generate_buildrequires")
	f.Fuzz(func(t *testing.T, packages, spec, text string) { parseFacts(albs.X8664, packages, spec, text) })
}
