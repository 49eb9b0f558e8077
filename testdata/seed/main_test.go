package main

import (
	"os"
	"path/filepath"
	"testing"
)

// TestLink: a repository is put where it is asked for, replaces another there, and
// lies still where it is already.
func TestLink(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	out := filepath.Join(dir, "out")
	repo := func(name, repomd string) string {
		t.Helper()
		r := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Join(r, "repodata"), 0o755); err != nil {
			t.Fatal(err)
		}
		for path, text := range map[string]string{"repodata/repomd.xml": repomd, name + ".rpm": name} {
			if err := os.WriteFile(filepath.Join(r, path), []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		return r
	}
	stat := func(path string) os.FileInfo {
		t.Helper()
		info, err := os.Stat(path)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	link := func(repo string) {
		t.Helper()
		if err := link(repo, out); err != nil {
			t.Fatal(err)
		}
	}
	a, b := repo("a", "first"), repo("b", "second")
	link(a)
	before := stat(out)
	link(a)
	if !os.SameFile(before, stat(out)) || stat(filepath.Join(out, "a.rpm")).Size() != 1 {
		t.Error("the repository was replaced by itself")
	}
	link(b)
	stat(filepath.Join(out, "b.rpm"))
	for _, gone := range []string{filepath.Join(out, "a.rpm"), out + ".new"} {
		if _, err := os.Stat(gone); err == nil {
			t.Errorf("%s is still there", gone)
		}
	}
}
