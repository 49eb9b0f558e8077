package blob

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"

	"albs/internal/albs"
)

// failing fails as a disk that loses what it was to write: once, and then no more.
func failing[T any](was func(T) error) func(T) error {
	failed := false
	return func(x T) error {
		if !failed {
			failed = true
			return syscall.EIO
		}
		return was(x)
	}
}

// TestSyncFails: what a disk didn't take is not acknowledged, and neither is it when
// it is put again until it has been written again (T15).
func TestSyncFails(t *testing.T) {
	t.Parallel()
	b := []byte("to be kept")
	name := albs.DigestOf(b)
	for what, fail := range map[string]func(*Dir){
		"file":   func(d *Dir) { d.sync = failing(d.sync) },
		"folder": func(d *Dir) { d.syncDir = failing(d.syncDir) },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			d, err := NewDir(t.TempDir())
			if err != nil {
				t.Fatal(err)
			}
			fail(d)
			if _, err := d.Put(t.Context(), name, bytes.NewReader(b)); !errors.Is(err, syscall.EIO) {
				t.Fatalf("Put = %v, want the disk's error", err)
			}
			// Not from memory, which may be all that has it.
			mine := errors.New("it was read")
			if _, err := d.Put(t.Context(), name, iotest.ErrReader(mine)); !errors.Is(err, mine) {
				t.Errorf("the next Put = %v, want that it reads", err)
			}
			before, _ := os.Stat(d.path(name))
			if n, err := d.Put(t.Context(), name, bytes.NewReader(b)); err != nil || n != int64(len(b)) {
				t.Fatalf("Put = %d, %v", n, err)
			}
			after, err := os.Stat(d.path(name))
			if err != nil || os.SameFile(before, after) {
				t.Errorf("the file is the one that wasn't synced, %v", err)
			}
			if left, err := os.ReadDir(d.tmp()); err != nil || len(left) > 0 {
				t.Errorf("left in tmp: %v, %v", left, err)
			}
		})
	}
	t.Run("upload", func(t *testing.T) {
		t.Parallel()
		s, err := NewStaging(t.TempDir())
		if err != nil {
			t.Fatal(err)
		}
		s.sync = failing(s.sync)
		held, err := s.Append(t.Context(), "1.1", name, 0, strings.NewReader("to be"), 100)
		if held != 0 || !errors.Is(err, syscall.EIO) {
			t.Errorf("Append = %d, %v, want 0 and the disk's error", held, err)
		}
		if held, err := s.Held(t.Context(), "1.1", name); held != 0 || err != nil {
			t.Errorf("Held = %d, %v, want nothing", held, err)
		}
		if held, err := s.Append(t.Context(), "1.1", name, 0, bytes.NewReader(b), 100); err != nil || held != int64(len(b)) {
			t.Errorf("Append = %d, %v", held, err)
		}
	})
}
