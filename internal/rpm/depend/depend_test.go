package depend

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/rpm"
)

// capability reads one as a spec file has it.
func capability(t testing.TB, s string) Capability {
	t.Helper()
	if strings.HasPrefix(s, "(") {
		return Capability{Name: s}
	}
	e, err := parse(s)
	if err != nil || e.op != "" {
		t.Fatalf("%q is no capability: %v", s, err)
	}
	return e.leaf
}

func TestMeets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		provides, requires string
		want               bool
	}{
		{"a", "b", false},
		{"a", "a", true},
		{"a", "a >= 7", true}, // rpm: no version is any
		{"a = 1-1", "a", true},
		{"a = 1-1", "a = 1", true},
		{"a = 1-1", "a = 1-2", false},
		{"a = 1-2", "a >= 1-1", true},
		{"a = 1-2", "a > 1-2", false},
		{"a = 1:1-1", "a >= 2", true},
		{"a = 2", "a >= 1:1", false},
		{"a = 1~rc1-1", "a >= 1", false},
		{"a >= 3", "a < 4", true},
		{"a <= 3", "a > 3", false},
		{"a < 3", "a <= 2", true},
	} {
		if got := capability(t, tt.provides).Meets(capability(t, tt.requires)); got != tt.want {
			t.Errorf("%q meets %q: %v, want %v", tt.provides, tt.requires, got, tt.want)
		}
	}
}

func TestParseRich(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]string{
		"(a or b)": "a,b", "(a(x)(64bit) >= 1:2-3 and (b or c))": "a(x)(64bit) >= 1:2-3,b,c", "((a if b) else c)": "a,b,c", "(a if b = 1 else c)": "a,b = 1,c",
		"(a)": "a", "(a or b or c or d)": "a,b,c,d", "(rpm(x) or (y with z < 3))": "rpm(x),y,z < 3",
		"(": "", "()": "", "(a or": "", "(a or b": "", "(a b)": "", "(a or b) c": "", "(a >= )": "", strings.Repeat("(", 50) + "a" + strings.Repeat(")", 50): "",
	} {
		var got []string
		for _, c := range (Capability{Name: s}).Parts() {
			got = append(got, c.String())
		}
		if strings.Join(got, ",") != want {
			t.Errorf("parts of %q are %q, want %q", s, got, want)
		}
	}
}

func FuzzParseRich(f *testing.F) {
	for _, s := range []string{"(a or b)", "(a(x) >= 1 and (b if c else d))", "((((", "(a with b without c)"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		e, err := parse(s)
		if err != nil {
			return
		}
		if len(e.leaves(nil)) == 0 {
			t.Fatalf("%q has no part", s)
		}
		(Providers[string]{}).eval(e)
	})
}

// TestMeeting: by which packages a requirement is met.
func TestMeeting(t *testing.T) {
	t.Parallel()
	ps := Providers[string]{}
	for by, provides := range map[string]string{"a": "a = 1,x,y", "b": "b = 2,x", "c": "c = 3,y", "": "beneath"} {
		for one := range strings.SplitSeq(provides, ",") {
			ps.Add(capability(t, one), by)
		}
	}
	for requires, want := range map[string]string{
		"a": "a", "a > 1": "unmet", "x": "a b", "beneath": "", "z": "unmet",
		"(a and b)": "a|b", "(z or x)": "a b", "(b or a)": "b", "(a and z)": "unmet", "(a if b)": "a", "(z if q)": "none", "(z if q else c)": "c", "(a unless q)": "a",
		"(x with y)": "a", "(x without y)": "b", "(x with z)": "unmet", "(a and (b or c))": "a|b", "((": "unmet", "(a": "unmet",
	} {
		sets, met := ps.Meeting(capability(t, requires))
		var got []string
		for _, s := range sets {
			got = append(got, strings.Join(slices.Sorted(slices.Values(s)), " "))
		}
		said := strings.Join(got, "|")
		switch {
		case !met:
			said = "unmet"
		case len(sets) == 0:
			said = "none"
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("what meets %s (-want +got):\n%s", requires, diff)
		}
		if readable := requires != "((" && requires != "(a"; readable && met != ps.Meet(capability(t, requires)) {
			t.Errorf("Meet and Meeting disagree about %s", requires)
		}
	}
}

// TestHeader: what may be missing is not required, nor is what rpm itself provides.
func TestHeader(t *testing.T) {
	t.Parallel()
	h := &rpm.Package{
		Provides: []rpm.Dependency{{Name: "a", Flags: rpm.Equal, EVR: rpm.EVR{Version: "1"}}},
		Requires: []rpm.Dependency{{Name: "b"}, {Name: "c", Flags: missingOK}, {Name: "rpmlib(CompressedFileNames)"}, {Name: "(d or e)"}},
	}
	if got := Provides(h); len(got) != 1 || got[0].String() != "a = 1" {
		t.Errorf("it provides %v", got)
	}
	if got := Requires(h); len(got) != 2 || got[0].Name != "b" || got[1].Name != "(d or e)" {
		t.Errorf("it requires %v", got)
	}
}
