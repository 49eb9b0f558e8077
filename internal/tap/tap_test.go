package tap

import (
	"bytes"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
)

func TestVerdict(t *testing.T) {
	for _, tt := range []struct {
		name, in string
		code     int
		want     Status
		why      string // of which the sentence has to have a part
	}{
		{"all is well", "TAP version 14\n1..2\nok 1 - a\nok 2 - b\n", 0, Passed, ""},
		{"version 12 has no version line", "1..1\nok\n", 0, Passed, ""},
		{"the plan may come last", "ok 1\nok 2\n1..2\n", 0, Passed, ""},
		{"carriage returns", "1..1\r\nok 1 - a\r\n", 0, Passed, ""},
		{"no end of line at the end", "1..1\nok 1 - a", 0, Passed, ""},
		{"other text is passed over", "hello\n1..1\nokay then\nok 1\n1...3\n", 0, Passed, ""},
		{"pragmas change nothing", "TAP version 14\npragma +strict\n1..1\nok 1\n", 0, Passed, ""},
		{"a case fails", "1..2\nok 1 - a\nnot ok 2 - b\n", 1, Failed, "1 of 2 cases failed, first b"},
		{"a case without a name fails", "1..1\nnot ok\n", 1, Failed, "first number 1"},
		{"the code is 0 and a case fails", "1..1\nnot ok 1 - a\n", 0, Failed, "first a"},
		{"no case fails and the code isn't 0", "1..1\nok 1 - a\n", 3, Failed, "no case failed, and yet the program ended with code 3"},
		{"nothing at all", "", 0, Failed, "there is no plan"},
		{"no plan", "ok 1\n", 0, Failed, "there is no plan"},
		{"a plan and no tests", "1..3\n", 0, Failed, "the plan has 3 tests, and 0 were told of"},
		{"a plan for nothing", "1..0\n", 0, Failed, "the plan has no tests"},
		{"a plan for nothing, with a reason", "1..0 # SKIP no such hardware\n", 0, Skipped, "no such hardware"},
		{"a plan for nothing that fails all the same", "1..0 # SKIP no such hardware\n", 2, Failed, "code 2"},
		{"a plan for nothing, and a case", "1..0 # SKIP none\nok 1\n", 0, Failed, "beyond the plan"},
		{"fewer than planned", "1..3\nok 1\nok 2\n", 0, Failed, "the plan has 3 tests, and 2 were told of"},
		{"more than planned", "1..1\nok 1\nok 2\n", 0, Failed, "case 2 is beyond the plan"},
		{"after the plan that ends it", "ok 1\n1..2\nok 2\n", 0, Failed, "follows the plan"},
		{"two plans", "1..1\n1..1\nok 1\n", 0, Failed, "more than one plan"},
		{"a number twice", "1..2\nok 1\nok 1\n", 0, Failed, "case 1 is told of twice"},
		{"numbers in any order", "1..2\nok 2\nok 1\n", 0, Passed, ""},
		{"a number that is none", "1..1\nok 99999999999999999999\n", 0, Failed, "no number of a case"},
		{"a plan that is none", "1..99999999999999999999\n", 0, Failed, "more than 20000 tests"},
		{"a known fault", "1..1\nnot ok 1 - a # TODO some day\n", 0, Passed, ""},
		{"a known fault that is gone", "1..1\nok 1 - a # todo some day\n", 0, Passed, ""},
		{"one skipped", "1..2\nok 1 # SKIP no net\nok 2\n", 0, Passed, ""},
		{"all skipped", "1..2\nok 1 # skip no net\nok 2 # Skipped: no net\n", 0, Skipped, "all of its cases are skipped: no net"},
		{"what failed wasn't skipped", "1..1\nnot ok 1 # SKIP no net\n", 0, Failed, "1 of 1"},
		{"no directive", "1..1\nok 1 - issue #7\n", 0, Passed, ""},
		{"an escaped directive", `1..1` + "\n" + `not ok 1 - a \# TODO b` + "\n", 0, Failed, "first a # TODO b"},
		{"bail out", "1..2\nok 1\nBail out! no database\nok 2\n", 0, Failed, "the tests gave up: no database"},
		{"bail out within a subtest", "1..1\n    1..2\n    ok 1\n    Bail out!\n", 0, Failed, "the tests gave up: no reason was given"},
		{"a subtest", "1..1\n    1..2\n    ok 1 - x\n    ok 2 - y\nok 1 - a\n", 0, Passed, ""},
		{"a subtest that fails", "1..1\n    1..1\n    not ok 1 - x\nnot ok 1 - a\n", 1, Failed, "2 of 2 cases failed, first a > x"},
		{"a subtest that fails below a case that says ok", "1..1\n    1..1\n    not ok 1 - x\nok 1 - a\n", 0, Failed, "first a > x"},
		{"a subtest that is known to fail", "1..1\n    1..1\n    not ok 1 - x\nnot ok 1 - a # TODO b\n", 0, Passed, ""},
		{"a subtest without a plan", "1..1\n    ok 1 - x\nok 1 - a\n", 0, Failed, "1 of 2 cases failed, first a"},
		{"a subtest that nobody sums up", "    1..1\n    ok 1\n1..0\n", 0, Failed, "a subtest has no case that sums it up"},
		{"two subtests and one case", "1..1\n    1..1\n    ok 1\n1..1\n    1..1\n    ok 1\nok 1\n", 0, Failed, "more than one plan"},
		{"indentation that is none", "1..1\n  not ok 1\nok 1\n", 0, Passed, ""},
		{"a YAML block that says ok", "1..1\nnot ok 1 - a\n  ---\n  x: 1\nok 2\n1..9\n  ...\n", 0, Failed, "1 of 1"},
		{"a YAML block without an end", "1..1\nok 1 - a\n  ---\n  x: 1\n", 0, Failed, "a YAML block has no end"},
		{"a version late", "1..1\nok 1\nTAP version 13\n", 0, Failed, "version"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r, err := Parse(strings.NewReader(tt.in))
			if err != nil {
				t.Fatal(err)
			}
			got, why := r.Verdict(tt.code)
			if got != tt.want || !strings.Contains(why, tt.why) || (why == "") != (tt.why == "") {
				t.Errorf("%s, %q; want %s, %q\n%+v", got, why, tt.want, tt.why, r)
			}
		})
	}
}

func TestParse(t *testing.T) {
	r, err := Parse(strings.NewReader(`TAP version 14
# Subtest: files
    # of the package
    ok 1 - there
      ---
      took: 3
      ...
    not ok 2 - mode \\ \#
    # want 0755
    # have 0644
        1..1
        ok 1
    ok 3 - deep
    1..3
not ok 1 - files
  ---
  message: 'two'
    more: indented
  ...
ok 2 libraries # SKIP not ELF
not ok - rest # TODO
1..3
`))
	if err != nil {
		t.Fatal(err)
	}
	want := Report{Planned: 3, Cases: []Case{
		{1, "files > there", Passed, "", "took: 3"},
		{2, `files > mode \ #`, Failed, "", "want 0755\nhave 0644"},
		{1, "files > deep > 1", Passed, "", ""},
		{3, "files > deep", Passed, "", ""},
		{1, "files", Failed, "", "message: 'two'\n  more: indented"},
		{2, "libraries", Skipped, "not ELF", ""},
		{3, "rest", Todo, "", ""},
	}}
	if d := cmp.Diff(want, r); d != "" {
		t.Error(d)
	}
}

// Whatever a stream holds, what is kept of it is bounded.
func TestBounds(t *testing.T) {
	t.Run("cases", func(t *testing.T) {
		r, err := Parse(strings.NewReader(strings.Repeat("ok\n", MaxCases+5)))
		if err != nil || len(r.Cases) != MaxCases {
			t.Fatalf("%d cases, %v", len(r.Cases), err)
		}
		if got, why := r.Verdict(0); got != Failed || !strings.Contains(why, "more than 20000 cases") {
			t.Error(got, why)
		}
	})
	t.Run("a long line", func(t *testing.T) {
		r, err := Parse(strings.NewReader("1..2\nok 1 - " + strings.Repeat("x", 3*maxLine) + "\nok 2 - y\n"))
		if err != nil || len(r.Cases) != 2 || len(r.Cases[0].Name) > maxText+len("…") || r.Cases[1].Name != "y" {
			t.Errorf("%d cases, %v", len(r.Cases), err)
		}
	})
	t.Run("details", func(t *testing.T) {
		r, err := Parse(strings.NewReader("1..1\nnot ok 1\n" + strings.Repeat("# more\n", maxDetail)))
		if err != nil || len(r.Cases[0].Detail) > maxDetail+len("…") {
			t.Errorf("%d bytes, %v", len(r.Cases[0].Detail), err)
		}
	})
	t.Run("depth", func(t *testing.T) {
		var b strings.Builder
		for i := range 2 * maxDepth {
			fmt.Fprintf(&b, "%sok 1\n", strings.Repeat("    ", i))
		}
		r, err := Parse(strings.NewReader(b.String()))
		if err != nil || len(r.Cases) != maxDepth+1 {
			t.Errorf("%d cases, %v", len(r.Cases), err)
		}
	})
	t.Run("problems", func(t *testing.T) {
		var b strings.Builder
		for i := range 100 {
			fmt.Fprintf(&b, "ok %d\nok %d\n", i+1, i+1)
		}
		r, err := Parse(strings.NewReader(b.String()))
		if err != nil || len(r.Problems) != maxProblems {
			t.Errorf("%d problems, %v", len(r.Problems), err)
		}
	})
}

func TestReadFails(t *testing.T) {
	broken := errors.New("broken")
	r, err := Parse(iotest.TimeoutReader(iotest.OneByteReader(iotest.ErrReader(broken))))
	if !errors.Is(err, broken) {
		t.Error(err)
	}
	if got, _ := r.Verdict(0); got != Failed {
		t.Error(got)
	}
}

func TestSeems(t *testing.T) {
	for in, want := range map[string]bool{
		"TAP version 13\n": true, "# bats\n\n1..3\n": true, "ok 1\n": true, "not ok 1 - x": true,
		"": false, "all is well\nok 1\n": false, "okay\n": false, "Bail out!\n": false, "1..x\n": false,
	} {
		if got := Seems([]byte(in)); got != want {
			t.Errorf("%q: %v", in, got)
		}
	}
}

func TestWrite(t *testing.T) {
	var b bytes.Buffer
	err := Write(&b, []Case{
		{Name: `a # TODO \ b`, Status: Passed},
		{Name: "two\nlines", Status: Failed, Detail: "why\n  ...\nok 7"},
		{Name: "c", Status: Skipped, Reason: "no\nneed"},
		{Name: "d", Status: Todo, Reason: "later"},
	})
	if err != nil {
		t.Fatal(err)
	}
	const want = `TAP version 14
1..4
ok 1 - a \# TODO \\ b
not ok 2 - two lines
  ---
  message: "why\n  ...\nok 7"
  ...
ok 3 - c # SKIP no need
ok 4 - d # TODO later
`
	if d := cmp.Diff(want, b.String()); d != "" {
		t.Error(d)
	}
}

// Nothing panics, bounds hold, a failed case is never taken for a success, and what is
// written of the cases reads as the same ones.
func FuzzParse(f *testing.F) {
	for _, s := range []string{
		"1..1\nok 1 - a\n  ---\n  x: y\n  ...\n", "    1..1\n    not ok 1\nok 1\n1..1\n", "Bail out! x", "1..0 # SKIP x\n",
		"ok 1 \\# a # TODO b\n1..1", "        ok\n    ok\nok\n1..1\n",
	} {
		f.Add([]byte(s), 0)
	}
	f.Fuzz(func(t *testing.T, in []byte, code int) {
		r, err := Parse(bytes.NewReader(in))
		if err != nil {
			t.Fatal(err)
		}
		if len(r.Cases) > MaxCases || len(r.Problems) > maxProblems+1 {
			t.Fatalf("%d cases, %d problems", len(r.Cases), len(r.Problems))
		}
		st, why := r.Verdict(code)
		_, failed := r.Failed()
		if st == Passed && (failed || code != 0 || len(r.Problems) > 0 || len(r.Cases) == 0 || why != "") {
			t.Fatalf("passed: %+v, code %d, %q", r, code, why)
		}
		if st != Passed && why == "" {
			t.Fatalf("%s without a reason", st)
		}
		var b bytes.Buffer
		if err := Write(&b, r.Cases); err != nil {
			t.Fatal(err)
		}
		again, err := Parse(&b)
		if err != nil || len(again.Problems) > 0 || len(again.Cases) != len(r.Cases) {
			t.Fatalf("%v, %+v", err, again)
		}
		for i, c := range r.Cases {
			if a := again.Cases[i]; a.Name != c.Name || a.Status != c.Status || a.Reason != c.Reason {
				t.Fatalf("case %d: %+v became %+v", i, c, a)
			}
		}
	})
}
