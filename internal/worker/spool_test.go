package worker

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
)

// TestKeep: what waits in the spool is what its name says, or isn't there.
func TestKeep(t *testing.T) {
	t.Parallel()
	a := &attempt{dir: t.TempDir()}
	if err := os.Mkdir(filepath.Join(a.dir, "files"), 0o700); err != nil {
		t.Fatal(err)
	}
	d := albs.DigestOf([]byte("right"))
	if err := a.keep(d, strings.NewReader("wrong")); err == nil || !strings.Contains(err.Error(), "changed while it was read") {
		t.Errorf("keep of other bytes = %v", err)
	}
	left, err := os.ReadDir(filepath.Join(a.dir, "files"))
	if err != nil || len(left) != 0 {
		t.Errorf("other bytes leave %v, %v", left, err)
	}
	if err := a.keep(d, strings.NewReader("right")); err != nil {
		t.Fatal(err)
	}
	if got, err := a.files(); err != nil || !slices.Equal(got, []string{string(d)}) {
		t.Errorf("files = %q, %v, want %s", got, err, d)
	}
	if b, err := os.ReadFile(a.filePath(d)); err != nil || string(b) != "right" {
		t.Errorf("kept %q, %v", b, err)
	}
}
