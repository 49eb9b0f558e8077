package repodata

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// solv is a repository as libsolv has read it, which dnf and zypper resolve by.
type solv struct {
	file     string
	packages []map[string]any // by name, version and arch
}

// readSolv has libsolv read the repository in dir.
func readSolv(t *testing.T, dir string) solv {
	t.Helper()
	s := solv{file: filepath.Join(t.TempDir(), "x.solv")}
	run(t, dir, "repo2solv", "-F", "-o", s.file, dir)
	var doc struct {
		Repositories []struct {
			Solvables []map[string]any `json:"solvables"`
		} `json:"repositories"`
	}
	if err := json.Unmarshal([]byte(run(t, dir, "dumpsolv", "-j", s.file)), &doc); err != nil {
		t.Fatalf("dumpsolv: %v", err)
	}
	if len(doc.Repositories) != 1 {
		t.Fatalf("libsolv sees %d repositories", len(doc.Repositories))
	}
	s.packages = doc.Repositories[0].Solvables
	key := func(p map[string]any) string {
		return fmt.Sprint(p["solvable:name"], p["solvable:evr"], p["solvable:arch"])
	}
	slices.SortFunc(s.packages, func(a, b map[string]any) int { return strings.Compare(key(a), key(b)) })
	return s
}

// solve has libsolv resolve what a job comes to on x86_64 with nothing installed.
func (s solv) solve(t *testing.T, job string) string {
	t.Helper()
	testcase := filepath.Join(t.TempDir(), "case.t")
	text := fmt.Sprintf("repo x 0 solv %s\nrepo system 0 empty\nsystem x86_64 rpm system\njob %s\n", filepath.Base(s.file), job)
	if err := os.WriteFile(testcase, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Link(s.file, filepath.Join(filepath.Dir(testcase), filepath.Base(s.file))); err != nil {
		t.Fatal(err)
	}
	return run(t, filepath.Dir(testcase), "testsolv", "-r", testcase)
}

// TestReadByLibsolv: libsolv reads the same of our metadata as of createrepo_c's, by
// whatever it is compressed and in however many steps it was made, and resolves the same.
func TestReadByLibsolv(t *testing.T) {
	t.Parallel()
	need(t, "rpmbuild", "createrepo_c", "repo2solv", "dumpsolv", "testsolv")
	peer := t.TempDir()
	rpms(t, peer)
	run(t, peer, "createrepo_c", "--no-database", "--quiet", "--general-compress-type=gz", peer)
	pkgs := readPackages(t, peer)
	want := readSolv(t, peer)
	if len(want.packages) != len(pkgs) {
		t.Fatalf("libsolv sees %d packages of createrepo_c's, want %d", len(want.packages), len(pkgs))
	}
	const missing, there = "install name full", "install name alone"
	if got := want.solve(t, missing); !strings.Contains(got, "nothing provides") {
		t.Errorf("libsolv resolves %q: %s", missing, got)
	}
	if got := want.solve(t, there); !strings.Contains(got, "install alone") {
		t.Errorf("libsolv doesn't resolve %q: %s", there, got)
	}
	for _, by := range Compressions {
		m, ours := newMemory(), t.TempDir()
		s := extend(t, m, nil, Change{Add: append(synthetics(0, 300), pkgs[1:]...), Compression: by}, 10)
		s = extend(t, m, s, Change{Add: pkgs[:2], Remove: paths(synthetics(0, 200))}, 11)
		materialize(t, m, s, ours)
		if got := readSolv(t, ours); len(got.packages) != len(pkgs)+100 {
			t.Errorf("libsolv sees %d packages by %s, want %d", len(got.packages), by, len(pkgs)+100)
		}
		s = extend(t, m, s, Change{Remove: paths(synthetics(200, 300))}, 12)
		materialize(t, m, s, ours)
		got := readSolv(t, ours)
		if diff := cmp.Diff(want.packages, got.packages); diff != "" {
			t.Errorf("libsolv reads other things by %s than of createrepo_c's (-theirs +ours):\n%s", by, diff)
		}
		for _, job := range []string{missing, there} {
			if diff := cmp.Diff(want.solve(t, job), got.solve(t, job)); diff != "" {
				t.Errorf("by %s libsolv resolves %q otherwise (-theirs +ours):\n%s", by, job, diff)
			}
		}
	}
}
