package tester

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
)

// secret is what stands in the address under which a depot serves a task's repositories.
var secret = regexp.MustCompile(`127\.0\.0\.1:\d+/([A-Z2-7]{26})\b`)

// TestSecrets: the secret by which dnf reaches the repositories is in no log and in no
// reason, and nothing in the root has it, neither while tests run nor what dnf left.
func TestSecrets(t *testing.T) {
	t.Parallel()
	// A repository that has lost one of its packages has dnf name its address.
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(packages(t))); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, "x-stays-2-1.x86_64.rpm")); err != nil {
		t.Fatal(err)
	}
	w := beginWith(t, Config{}, dir)
	tree := w.tree(t, map[string]string{
		"look.sh": "echo looked for $0\nenv; cat /proc/*/environ /proc/*/cmdline /proc/mounts | tr '\\0' '\\n'\n" +
			"grep -rlE '127[.]0[.]0[.]1:[0-9]+/[A-Z2-7]{26}' /etc /var /run /root /home /tmp && exit 1\nls -la /run /var/run /var/cache; exit 0\n",
	})
	p := w.pkg(t, "good")
	p.Suites = []int{0}
	gone := albs.TestPackage{NEVRA: "x-stays-2-1.x86_64", Digest: p.Digest}
	for _, tt := range []struct {
		name    string
		pkg     albs.TestPackage
		outcome albs.Outcome
		say     string // in the log
	}{
		{"a test that looks", p, albs.OutcomeOK, "looked for ./look.sh"},
		{"a package that can't be had", gone, albs.OutcomeInfra, "/-/"},
	} {
		id := w.add(&albs.TestSpec{
			Root: w.root, Stages: []albs.TestStage{albs.StageEnvironment, albs.StageSystem, albs.StageInstall, albs.StagePackage}, Packages: []albs.TestPackage{tt.pkg},
			Suites: []albs.TestSuite{{Repository: "https://git.example/tests.git", Tree: tree}},
		})
		outcome, r := w.end(t, id)
		w.fake.StopTask(id)
		log := string(w.fake.LogOf(id, 1, "test"))
		if outcome != tt.outcome || !strings.Contains(log, tt.say) {
			t.Errorf("%s: ended %s, %q; want %s, with a log that says %q\n%s", tt.name, outcome, r.Reason, tt.outcome, tt.say, log[max(0, len(log)-4000):])
		}
		told := []string{log, r.Reason}
		for _, f := range r.Logs {
			told = append(told, string(w.fake.Content(f.Digest)))
		}
		if r.Test != nil {
			for _, s := range r.Test.Stages {
				if told = append(told, s.Reason); s.Status.Bad() {
					t.Errorf("%s: %s %s: %s", tt.name, s.Stage, s.Status, s.Reason)
				}
			}
			for _, c := range r.Test.Cases {
				told = append(told, c.Detail)
			}
		}
		if i := slices.IndexFunc(told, secret.MatchString); i >= 0 {
			t.Errorf("%s: told %s", tt.name, secret.FindString(told[i]))
		}
	}
}
