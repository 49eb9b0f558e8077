package e2etest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot/autospectest"
)

// TestAutospec builds a commit whose release and changelog are made from its history, on
// a platform that asks for rpmautospec and on one that doesn't. The real rpmautospec
// does it where it can be had.
func TestAutospec(t *testing.T) {
	t.Parallel()
	real, why := autospectest.Real()
	if real == "" {
		t.Log("a stand-in answers as recorded:", why)
	}
	s := newSite(t)
	tool := folder(t, self, t.Name(), "tool")
	autospectest.Repository(t, tool, real)
	bare := filepath.Join(s.forge.dir, "rpms", t.Name(), autospectest.Name+".git")
	if err := os.MkdirAll(filepath.Dir(bare), 0o755); err != nil {
		t.Fatal(err)
	}
	head := autospectest.Good.Make(t, bare)
	url := s.forge.url + "/rpms/" + t.Name() + "/" + autospectest.Name + ".git#main"

	local := yes{"allow": []string{"file://" + s.seed, "file://" + tool}}
	s.serve("albs", ordinary(t), allRoles, yes{
		"master": yes{"egress": yes{"allow": []string{s.forge.host, "file://" + s.seed, "file://" + tool}, "ca_files": []string{s.forge.ca}}},
		"node":   yes{"egress": local}, "tester": yes{"egress": local},
	})
	s.people()
	s.tiny()
	s.platform("auto", yes{
		"packages": tinyPackages, "test_packages": []string{"bash", "coreutils", "rpm", "system-release"}, "rpmautospec": true,
		"repositories": []yes{{"id": "seed", "url": "file://" + s.seed}, {"id": "tool", "url": "file://" + tool}},
	})

	b := s.made("--platform", "auto", "--git", url)
	if b.Tasks[0].Ref.Commit != head {
		t.Errorf("the build is of commit %s, want %s", b.Tasks[0].Ref.Commit, head)
	}
	found := 0
	for _, task := range b.Tasks {
		for _, f := range task.Files {
			if f.Kind != "srpm" && f.Kind != "rpm" {
				continue
			}
			found++
			if !strings.HasPrefix(f.Name, "auto-2-"+autospectest.GoodRelease+".seed9.") {
				t.Errorf("the package is %s", f.Name)
			}
			file := filepath.Join(t.TempDir(), f.Name)
			if err := os.WriteFile(file, s.bytesOf(f.Digest), 0o644); err != nil {
				t.Fatal(err)
			}
			var lines []string
			for line := range strings.Lines(string(output(t, command(t, time.Minute, "rpm", "-qp", "--nosignature", "--changelog", file), self))) {
				if strings.HasPrefix(line, "- ") {
					lines = append(lines, strings.TrimSpace(line))
				}
			}
			if diff := cmp.Diff(autospectest.GoodChangelog, lines); diff != "" {
				t.Errorf("the changelog of %s (-want +got):\n%s", f.Name, diff)
			}
		}
	}
	if found != 2 {
		t.Errorf("%d packages, want the source package and one more", found)
	}

	b = s.create("--platform", "tiny", "--git", url)
	task := s.task(b.ID.String(), albs.KindSource)
	if b.State != "failed" || !strings.Contains(b.Reason, "platform tiny did not ask for that") || task.Attempts != 1 {
		t.Errorf("where nobody asks for rpmautospec the build is %s after %d attempts: %s", b.State, task.Attempts, b.Reason)
	}
	if task.Failure == nil || task.Failure.Kind != "autospec" || !strings.Contains(task.Failure.Text, "set rpmautospec: true in the platform") {
		t.Errorf("the failure is told as %+v", task.Failure)
	}
	s.check("albs", "albs")
}
