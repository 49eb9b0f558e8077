package git

import (
	"bytes"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/git/gittest"
)

var plenty = Bounds{Commits: 100, Bytes: 1 << 20}

// history returns the tar, and git in what it unpacks to.
func history(t *testing.T, m *Mirrors, url, commit string) ([]byte, func(args ...string) string) {
	t.Helper()
	var b bytes.Buffer
	if _, err := m.History(t.Context(), url, commit, plenty, &b); err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tar := exec.Command("tar", "--extract", "--file=-", "--directory="+dir)
	tar.Stdin = bytes.NewReader(b.Bytes())
	if out, err := tar.CombinedOutput(); err != nil {
		t.Fatalf("tar: %v: %s", err, out)
	}
	return b.Bytes(), func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir, "GIT_CONFIG_NOSYSTEM=1"}
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Errorf("git %v: %v: %s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
}

// TestHistory: what comes is all that led to the commit and nothing else, and the same
// bytes whatever the mirror was used for before.
func TestHistory(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "0"} {
		t.Run("protocol "+version, func(t *testing.T) {
			t.Parallel()
			s := gittest.NewServer(t, "GIT_PROTOCOL=version="+version)
			url := s.URL("hello")
			commits := []string{s.AddRepo("hello", map[string]string{"a": "0", ".gitattributes": "* export-ignore\n"}, "v1")}
			for i := range 5 {
				commits = append(commits, s.Commit("hello", "main", map[string]string{"a": strconv.Itoa(i + 1)}))
			}
			later := s.Commit("hello", "main", map[string]string{"a": "later"})
			side := s.Commit("hello", "side", map[string]string{"b": "side"})
			want := commits[len(commits)-1]

			fresh, git := history(t, setup(t, s), url, want)
			if got, all := git("rev-list", "--reverse", "HEAD"), strings.Join(commits, "\n"); got != all {
				t.Errorf("HEAD's history is\n%s\nwant\n%s", got, all)
			}
			if got := git("cat-file", "--batch-all-objects", "--batch-check=%(objectname)"); strings.Contains(got, later) || strings.Contains(got, side) {
				t.Errorf("there is more than led to the commit:\n%s", got)
			}
			git("fsck", "--full", "--strict")
			if got := git("show", "HEAD~2:a"); got != "3" {
				t.Errorf("two commits before, a holds %q", got)
			}
			if again, _ := history(t, setup(t, s), url, want); !bytes.Equal(again, fresh) {
				t.Error("a second mirror gives other bytes")
			}

			used := setup(t, s)
			for _, c := range []string{want, later, side, commits[2]} {
				if err := used.Fetch(t.Context(), url, c); err != nil {
					t.Fatal(err)
				}
			}
			if b, _ := history(t, used, url, want); !bytes.Equal(b, fresh) {
				t.Error("a mirror with shallow commits gives other bytes")
			}
			// Fetched alone it cuts the history that is there.
			if err := used.Fetch(t.Context(), url, commits[3]); err != nil {
				t.Fatal(err)
			}
			if b, _ := history(t, used, url, want); !bytes.Equal(b, fresh) {
				t.Error("after a commit on its way was fetched alone the bytes are others")
			}
			if left, err := filepath.Glob(filepath.Join(used.dir, "*.history")); err != nil || len(left) > 0 {
				t.Errorf("left behind: %v, %v", left, err)
			}
		})
	}
}

func TestHistoryBounds(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	url := s.URL("big")
	noise := make([]byte, 40_000) // doubled by hex, and halved by zlib
	if _, err := rand.Read(noise); err != nil {
		t.Fatal(err)
	}
	s.AddRepo("big", map[string]string{"a": hex.EncodeToString(noise)})
	s.Commit("big", "main", map[string]string{"a": "1"})
	last := s.Commit("big", "main", map[string]string{"a": "2"})
	s.AddRepo("other", map[string]string{"a": "1"})
	s.Git("other", "fetch", "--quiet", "--depth=2", "file://"+s.Git("big", "rev-parse", "--absolute-git-dir"), "main:cut")
	had := setup(t, s)
	if _, err := had.History(t.Context(), url, last, plenty, &bytes.Buffer{}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		m    *Mirrors
		url  string
		most Bounds
		kind albs.Kind
		say  string
	}{
		{"enough", setup(t, s), url, Bounds{3, 60_000}, "", ""},
		{"commits", setup(t, s), url, Bounds{2, 60_000}, albs.TooLarge, "more than 2 commits"},
		{"bytes on the wire", setup(t, s), url, Bounds{3, 20_000}, albs.TooLarge, "more than 20000 bytes"},
		{"bytes packed", had, url, Bounds{3, 20_000}, albs.TooLarge, "more than 20000 bytes"},
		{"a shallow repository", setup(t, s), s.URL("other"), plenty, albs.Invalid, "is a shallow repository"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			n, err := c.m.History(t.Context(), c.url, last, c.most, &bytes.Buffer{})
			if c.kind == "" {
				if err != nil || n != 3 {
					t.Errorf("History = %d, %v; want 3 commits", n, err)
				}
				return
			}
			if albs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.say) {
				t.Errorf("History = %v, want %s with %q", err, c.kind, c.say)
			}
		})
	}
	if _, err := had.History(t.Context(), url, strings.Repeat("0", 40), plenty, &bytes.Buffer{}); !errors.Is(err, albs.NotFound) {
		t.Errorf("the history of no commit = %v, want NotFound", err)
	}
}
