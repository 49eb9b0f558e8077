package testrun

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/queue"
)

func TestVerdictOf(t *testing.T) {
	t.Parallel()
	good := []Case{{Name: "install", OK: true}, {Name: "remove", OK: true}}
	bad := []Case{{Name: "install", OK: true}, {Name: "files", Detail: "/usr/bin/a is missing\nand more"}, {Name: "remove"}}
	tests := []struct {
		name  string
		runs  []view
		state State
		say   string
	}{
		{"never", nil, Missing, "it was never tested"},
		{"waits", []view{{State: albs.TaskQueued}}, Pending, "its tests wait for a tester"},
		{"blocked", []view{{State: albs.TaskBlocked}}, Pending, "its tests wait for a tester"},
		{"runs", []view{{State: albs.TaskLeased}}, Pending, "its tests are running"},
		{"stops", []view{{State: albs.TaskStopping}}, Pending, "its tests are running"},
		{"passed", []view{{State: albs.TaskSucceeded, Cases: good}}, Passed, "2 of 2 cases passed"},
		{"failed cases of a finished run", []view{{State: albs.TaskSucceeded, Cases: bad}}, Failed, "2 of 3 cases failed: files: /usr/bin/a is missing"},
		{"no detail", []view{{State: albs.TaskSucceeded, Cases: bad[2:]}}, Failed, "1 of 1 cases failed: remove"},
		{"without cases", []view{{State: albs.TaskSucceeded}}, Failed, "no test case was about it"},
		{"not carried out", []view{{State: albs.TaskFailed, Reason: "no root"}}, Failed, "its tests could not be carried out: no root"},
		{"cancelled", []view{{State: albs.TaskCancelled, Reason: "by olga"}}, Missing, "its tests were cancelled: by olga"},
		{"passed in one place, pending in another", []view{{State: albs.TaskSucceeded, Cases: good}, {State: albs.TaskQueued}}, Pending, "its tests wait for a tester"},
		{"failed comes before all", []view{{State: albs.TaskQueued}, {State: albs.TaskSucceeded, Cases: bad}, {State: albs.TaskSucceeded, Cases: good}}, Failed, "2 of 3 cases failed: files: /usr/bin/a is missing"},
		{"passed twice", []view{{State: albs.TaskSucceeded, Cases: good}, {State: albs.TaskSucceeded, Cases: good[:1]}}, Passed, "2 of 2 cases passed"},
	}
	for _, tt := range tests {
		if got := verdictOf(tt.runs); got != (Verdict{tt.state, tt.say}) {
			t.Errorf("%s: verdictOf = %+v, want %s, %q", tt.name, got, tt.state, tt.say)
		}
	}
}

// TestAssemble reads a run's rows while another run of the build is made.
func TestAssemble(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf([]byte("a"))
	file := albs.File{Name: "test.log", Digest: albs.DigestOf([]byte("log")), Size: 3}
	got := assemble(
		[]runRow{{ID: 1, BuildTaskID: 7, TaskID: 10}},
		[]queue.Task{{ID: 10, State: albs.TaskSucceeded}},
		[]packageRow{{RunID: 1, Digest: d, NEVRA: "a"}, {RunID: 2, Digest: d, NEVRA: "a"}},
		[]caseRow{{RunID: 1, Digest: d, Name: "install", OK: true}, {RunID: 2, Digest: d, Name: "install"}},
		[]logRow{{RunID: 1, Attempt: 1, Name: file.Name, Digest: file.Digest, Size: file.Size}, {RunID: 2, Attempt: 1, Name: "late.log"}},
	)
	cases := []Case{{Package: d, Name: "install", OK: true}}
	want := []Run{{
		ID: 1, BuildTask: 7, Task: queue.Task{ID: 10, State: albs.TaskSucceeded},
		Packages: []Package{{Digest: d, NEVRA: "a", Verdict: Verdict{Passed, "1 of 1 cases passed"}, Cases: cases}},
		Logs:     []Log{{1, file}},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("assemble (-want +got):\n%s", diff)
	}
}

func TestCheckCases(t *testing.T) {
	t.Parallel()
	a, b := albs.DigestOf([]byte("a")), albs.DigestOf([]byte("b"))
	packages := []albs.TestPackage{{NEVRA: "a-1-1.noarch", Digest: a}, {NEVRA: "b-1-1.x86_64", Digest: b}}
	got, err := checkCases(packages, []albs.TestCase{
		{Package: "b-1-1.x86_64", Name: "install", OK: true},
		{Package: "a-1-1.noarch", Name: "install", Detail: "x\x00y\xff"},
	})
	want := []Case{{b, "install", true, ""}, {a, "install", false, "x\uFFFDy\uFFFD"}}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("checkCases: %v, %s", err, diff)
	}
	long, err := checkCases(packages, []albs.TestCase{{Package: "b-1-1.x86_64", Name: "install", Detail: strings.Repeat("ä", maxDetail)}})
	if err != nil || len(long[0].Detail) > maxDetail+8 {
		t.Errorf("a long detail keeps %d bytes, %v", len(long[0].Detail), err)
	}
	many := make([]albs.TestCase, maxOf+1)
	for i := range many {
		many[i] = albs.TestCase{Package: "b-1-1.x86_64", Name: "n", OK: true}
	}
	for name, tt := range map[string]struct {
		cases []albs.TestCase
		kind  albs.Kind
	}{
		"another package":      {[]albs.TestCase{{Package: "c-1-1.noarch", Name: "install", OK: true}}, albs.Invalid},
		"no package":           {[]albs.TestCase{{Name: "install", OK: true}}, albs.Invalid},
		"a name with newlines": {[]albs.TestCase{{Package: "b-1-1.x86_64", Name: "in\nstall"}}, albs.Invalid},
		"no name":              {[]albs.TestCase{{Package: "b-1-1.x86_64"}}, albs.Invalid},
		"too many of one":      {many, albs.TooLarge},
		"too many":             {make([]albs.TestCase, maxCases+1), albs.TooLarge},
	} {
		if _, err := checkCases(packages, tt.cases); albs.KindOf(err) != tt.kind {
			t.Errorf("%s: checkCases = %v, want kind %q", name, err, tt.kind)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("plain")
	f.Add("\x00\xff" + strings.Repeat("ä", maxDetail))
	f.Fuzz(func(t *testing.T, s string) {
		got := text(s)
		if !utf8.ValidString(got) || strings.ContainsRune(got, 0) || len(got) > 3*maxDetail+8 {
			t.Errorf("text(%q) = %q", s, got)
		}
	})
}
