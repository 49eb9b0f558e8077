package git

import (
	"context"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"albs/internal/albs"
)

// used notes that a mirror is used now, in the time of a file of its own. Where that
// can't be, for there is no mirror yet, whoever makes it notes it again.
func used(dir string) {
	now := time.Now()
	_ = os.Chtimes(filepath.Join(dir, "HEAD"), now, now)
}

// Clean removes the mirrors that nobody used since before, and returns how many; of a
// dry run, how many it would remove. What was removed is fetched anew when it is asked
// for. before has to be long past: a mirror that is being read was used by then.
func (m *Mirrors) Clean(ctx context.Context, before time.Time, dryRun bool) (int, error) {
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		return 0, albs.Errorf(albs.Unavailable, "list mirrors: %w", err)
	}
	n := 0
	for _, e := range entries {
		if sum, err := hex.DecodeString(e.Name()); err != nil || len(sum) != 32 || !e.IsDir() {
			continue // not a mirror
		}
		removed, err := m.clean(ctx, e.Name(), before, dryRun)
		if err != nil {
			return n, err
		}
		if removed {
			n++
		}
	}
	return n, nil
}

// clean reports whether the mirror of that name was out of use.
func (m *Mirrors) clean(ctx context.Context, name string, before time.Time, dryRun bool) (bool, error) {
	unlock, err := m.lock(ctx, name)
	if err != nil {
		return false, err
	}
	defer unlock()
	dir := filepath.Join(m.dir, name)
	fi, err := os.Stat(filepath.Join(dir, "HEAD"))
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	if err != nil {
		return false, albs.Errorf(albs.Unavailable, "look at a mirror: %w", err)
	}
	if !fi.ModTime().Before(before) {
		return false, nil
	}
	if dryRun {
		return true, nil
	}
	// In one step, so that a mirror that is there is whole.
	gone := dir + ".new" // which create clears
	if err := errors.Join(os.RemoveAll(gone), os.Rename(dir, gone)); err != nil {
		return false, albs.Errorf(albs.Unavailable, "remove a mirror: %w", err)
	}
	if now, err := os.Stat(filepath.Join(gone, "HEAD")); err != nil || !now.ModTime().Equal(fi.ModTime()) {
		// Somebody began to use it at this very moment.
		if err := errors.Join(err, os.Rename(gone, dir)); err != nil {
			return false, albs.Errorf(albs.Unavailable, "put a mirror back: %w", err)
		}
		return false, nil
	}
	if err := os.RemoveAll(gone); err != nil {
		return false, albs.Errorf(albs.Unavailable, "remove a mirror: %w", err)
	}
	return true, nil
}
