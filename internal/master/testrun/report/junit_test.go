package report

import (
	"bytes"
	"encoding/xml"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/testrun"
)

// hostile is what a tester may say: control characters, markup, and no UTF-8.
const hostile = "a\x00\x1b[31m\ufffe]]></failure><!--&\u202e\xff\nnext \"line\""

// TestJUnit reads a report back, as other programs do.
func TestJUnit(t *testing.T) {
	t.Parallel()
	one := run(1, 2, "good", "-poor", "?late")
	one.Packages[0].Stages[0].Started = time.Date(2026, 11, 22, 10, 0, 0, 0, time.FixedZone("", 3600))
	one.Packages[1].Stages[1].Reason = hostile
	one.Packages[0].Cases[0].Name = hostile
	results := Of(one)
	for _, r := range [][]Result{results, nil} {
		var b bytes.Buffer
		if err := WriteJUnit(&b, "build 7 "+hostile, r); err != nil {
			t.Fatal(err)
		}
		valid(t, b.Bytes())
		if len(r) == 0 {
			continue
		}
		var got junitSuites
		if err := xml.Unmarshal(b.Bytes(), &got); err != nil {
			t.Fatal(err)
		}
		if got.Tests != 9 || got.Failures != 1 || got.Errors != 2 || len(got.Suites) != 3 || got.Time != "6.000" {
			t.Errorf("the report counts %d tests, %d failures, %d errors in %d suites, %s s", got.Tests, got.Failures, got.Errors, len(got.Suites), got.Time)
		}
		good, poor, late := got.Suites[0], got.Suites[1], got.Suites[2]
		if good.Tests != 5 || good.Skipped != 1 || good.Failures+good.Errors != 0 || good.Timestamp != "2026-11-22T09:00:00" || good.Package != "el.x86_64" {
			t.Errorf("the suite of what passed is %+v", good)
		}
		if f := poor.Cases[1].Failure; f == nil || !strings.HasPrefix(f.Message, "a\ufffd\ufffd[31m\ufffd]]></failure><!--&") || !strings.HasSuffix(f.Text, "\nnext \"line\"") || strings.Contains(f.Message, "next") {
			t.Errorf("the failure is %+v", f)
		}
		if e := poor.Cases[2].Error; e == nil || e.Type != string(albs.TestNotRun) {
			t.Errorf("what wasn't run is %+v", poor.Cases[2])
		}
		if e := late.Cases[0].Error; len(late.Cases) != 1 || e == nil || e.Type != string(testrun.Pending) || late.Cases[0].Name != "tests" {
			t.Errorf("what is still to end is %+v", late.Cases)
		}
	}
}

// valid has xmllint hold a report to the schema.
func valid(t *testing.T, report []byte) {
	t.Helper()
	lint, err := exec.LookPath("xmllint")
	if err != nil {
		t.Skip("there is no xmllint, by which the report would be held to its schema")
	}
	file := filepath.Join(t.TempDir(), "junit.xml")
	if err := os.WriteFile(file, report, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), lint, "--noout", "--nonet", "--schema", "testdata/junit.xsd", file).CombinedOutput(); err != nil {
		t.Errorf("the report is not valid: %v\n%s\n%s", err, out, report)
	}
}
