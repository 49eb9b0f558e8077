package tester

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
)

// TestPodman: the whole of a test in containers, where the package's own tests find
// themselves in one; and a tester without podman refuses it.
func TestPodman(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a package in containers takes half a minute: not in -short")
	}
	for _, tool := range []string{"podman", "crun", "catatonit"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("there are no containers to test in: %v", err)
		}
	}
	w := begin(t, Config{Engines: []string{albs.EnginePodman}})
	suite := albs.TestSuite{Repository: "tests", Commit: "c0ffee", Dir: "tests", Tree: w.tree(t, map[string]string{
		"tests/contained.sh": "#!/bin/sh\n[ -e /run/.containerenv ] && [ $(cat /usr/share/x-good/file) = 2 ]\n",
		"tests/fails.sh":     "#!/bin/sh\necho so it is\nexit 3\n",
	})}
	good, plain := w.pkg(t, "good"), w.pkg(t, "guards")
	good.Suites = []int{0}
	spec := &albs.TestSpec{Root: w.root, Engine: albs.EnginePodman, Stages: all, Packages: []albs.TestPackage{good, plain}, Suites: []albs.TestSuite{suite}}
	id := w.add(spec)
	outcome, r := w.end(t, id)
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, w.fake.LogOf(id, 1, "test"))
	}
	for _, tt := range []struct{ nevra, want string }{
		{good.NEVRA, "environment passed, system passed, install passed, integrity passed, upgrade passed, downgrade passed, package failed, remove passed, reinstall passed"},
		{plain.NEVRA, "environment passed, system passed, install passed, integrity passed, upgrade passed, downgrade passed, package skipped, remove skipped, reinstall passed"},
	} {
		if got, reasons := told(r.Test, tt.nevra); got != tt.want {
			t.Errorf("%s: %s; %q\nwant %s", tt.nevra, got, reasons, tt.want)
		}
	}
	if r.Test.Stages[0].Reason != "programs were run by the engine podman" {
		t.Errorf("the first stage says %q", r.Test.Stages[0].Reason)
	}
	var cases []string
	for _, c := range r.Test.Cases {
		if c.Stage == albs.StagePackage {
			cases = append(cases, c.Name+" "+string(c.Status))
		}
	}
	if want := []string{"contained.sh passed", "fails.sh failed"}; !slices.Equal(cases, want) {
		t.Errorf("tests of its own: %q, want %q", cases, want)
	}
	if log := string(w.fake.LogOf(id, 1, "test")); !strings.Contains(log, "for the engine podman") {
		t.Errorf("the log doesn't name the engine:\n%s", log)
	}
}
