package sandbox_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// TestWarm: what dnf has read ahead no root on the base reads again, and each is otherwise
// as it would have been; it is kept as long as a root needs it, and no longer.
func TestWarm(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "warm-")
	if err != nil {
		t.Fatal(err)
	}
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root, repos := sandboxtest.SmallRoot(t)
	seed := strings.TrimPrefix(repos[0].BaseURL, "file://")
	asked := &counter{n: map[string]int{}}
	srv := httptest.NewServer(asked.count(http.FileServer(http.Dir(seed))))
	t.Cleanup(srv.Close)
	b, err := e.Base(t.Context(), root, repos, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(b.Close)
	all := append(repos, sandbox.Repo{ID: "served", BaseURL: srv.URL + "/", Priority: 1})
	if err := b.Warm(t.Context(), append(repos, sandbox.Repo{ID: "gone", BaseURL: srv.URL + "/nothing/"}), io.Discard); albs.KindOf(err) != albs.Unavailable {
		t.Errorf("Warm without a repository = %v, want Unavailable", err)
	}
	if err := b.Warm(t.Context(), all, io.Discard); err != nil {
		t.Fatal(err)
	}
	if n := asked.of("primary"); n != 1 {
		t.Errorf("to read ahead the packages were asked for %d times, want 1", n)
	}
	var roots []*sandbox.Root
	for range 2 {
		r, err := b.Overlay(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := r.Close(); err != nil {
				t.Error(err)
			}
		})
		roots = append(roots, r)
		before, err := r.Installed(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if err := r.Install(t.Context(), []string{"m4"}, all, io.Discard); err != nil {
			t.Fatal(err)
		}
		after, err := r.Installed(t.Context())
		if err != nil || len(after) <= len(before) {
			t.Errorf("%d packages are installed, after %d; %v", len(after), len(before), err)
		}
	}
	for _, kind := range []string{"primary", "filelists"} {
		if n := asked.of(kind); n > 1 {
			t.Errorf("%s was asked for %d times, want once", kind, n)
		}
	}
	if n := asked.of("repomd"); n < 3 {
		t.Errorf("repomd was asked for %d times: nobody looked whether it is still the same", n)
	}
	b.Close()
	if err := roots[1].Install(t.Context(), []string{"make"}, all, io.Discard); err != nil {
		t.Errorf("in a root whose base was closed: %v", err)
	}
	if n := asked.of("primary"); n != 1 {
		t.Errorf("in a root whose base was closed the packages were asked for once more")
	}
	if left := overlays(t, dir); len(left) != 3 {
		t.Errorf("with two roots open there are %q", left)
	}
	for _, r := range roots {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if left := overlays(t, dir); len(left) != 0 {
		t.Errorf("with no root open there are %q", left)
	}
}

// overlays lists the folders of roots below an engine's.
func overlays(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(filepath.Join(dir, "root"))
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, d := range entries {
		if d.IsDir() {
			names = append(names, d.Name())
		}
	}
	return names
}

// counter counts for which files a server is asked.
type counter struct {
	mu sync.Mutex
	n  map[string]int
}

func (c *counter) count(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.mu.Lock()
		for _, word := range []string{"repomd", "primary", "filelists"} {
			if strings.Contains(r.URL.Path, word) {
				c.n[word]++
			}
		}
		c.mu.Unlock()
		h.ServeHTTP(w, r)
	})
}

// of returns how often files were asked for that have the word in their name.
func (c *counter) of(word string) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.n[word]
}
