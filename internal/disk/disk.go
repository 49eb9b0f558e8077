// Package disk is how albs keeps small files of its own: replaced whole, so that
// a crash leaves the old one or the new one; read up to a bound; and locked, so
// that two processes don't work on the same thing.
//
// It knows no file's meaning. Blobs, which are hashed as they are written, logs,
// which grow, and the public place, which never leaves its folder, have ways of
// their own and take from here only what they share.
package disk

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"albs/internal/albs"
)

// WriteFile makes b the content of the file at path, in place of one that is there.
// On return of nil the content and its name are on disk; a crash at any moment, or
// an error, leaves the old file or the new one, never a part. Of several writers at
// once the last one counts. NoSpace if the disk is full.
func WriteFile(path string, b []byte, perm fs.FileMode) error {
	return Write(path, perm, func(w io.Writer) error { _, err := w.Write(b); return err })
}

// Write is WriteFile with the content that fill writes. An error of fill's leaves what
// was there.
func Write(path string, perm fs.FileMode, fill func(io.Writer) error) error {
	return write(path, perm, fill, os.Rename)
}

// CreateFile is WriteFile for a file that must not be there yet: of several writers
// at once one succeeds and the others get fs.ErrExist, as does one who comes later.
func CreateFile(path string, b []byte, perm fs.FileMode) error {
	fill := func(w io.Writer) error { _, err := w.Write(b); return err }
	return write(path, perm, fill, func(tmp, path string) error {
		// Unlike a rename, a link replaces nothing.
		return errors.Join(os.Link(tmp, path), os.Remove(tmp))
	})
}

// write has the content on disk under a name of its own before name gives it the
// right one.
func write(path string, perm fs.FileMode, fill func(io.Writer) error, name func(tmp, path string) error) (err error) {
	defer func() { err = Trouble(err, "write %s", path) }()
	dir := filepath.Dir(path)
	f, err := os.CreateTemp(dir, "."+filepath.Base(path)+".new-*")
	if err != nil {
		return err
	}
	if err = fill(f); err == nil {
		err = f.Chmod(perm)
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err == nil {
		err = name(f.Name(), path)
	}
	if err != nil {
		if rerr := os.Remove(f.Name()); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
		return err
	}
	return SyncDir(dir)
}

// SyncDir brings the names in a folder to disk: those that were made, moved or
// removed there before the call.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// ReadFile returns the content of the file at path, which has at most limit bytes;
// more is TooLarge. Other errors are those of the os package.
func ReadFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	var size int64 // as it is told: what doesn't tell grows
	if info, err := f.Stat(); err == nil {
		size = min(info.Size(), limit)
	}
	b, err := readAll(f, path, limit, int(size))
	return b, errors.Join(err, f.Close())
}

// ReadAll returns what is left of r, which messages call name, and which has at most
// limit bytes; more is TooLarge. Other errors are r's.
func ReadAll(r io.Reader, name string, limit int64) ([]byte, error) {
	return readAll(r, name, limit, 0)
}

// readAll is ReadAll of about so many bytes.
func readAll(r io.Reader, name string, limit int64, size int) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(size + bytes.MinRead)
	if _, err := b.ReadFrom(io.LimitReader(r, limit+1)); err != nil {
		return nil, err
	}
	if int64(b.Len()) > limit {
		return nil, albs.Errorf(albs.TooLarge, "%s has more than %d bytes", name, limit)
	}
	return b.Bytes(), nil
}

// Lock makes the file at path, if it isn't there, and takes its lock (flock(2)) for
// this process until Unlock of the file returned, or the process ends in any way.
// Conflict, at once, if another has it, or this one already.
func Lock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|syscall.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := TakeLock(f); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}

// TakeLock is Lock for a file that is open.
func TakeLock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return albs.Errorf(albs.Conflict, "%s is locked by another process", f.Name())
	}
	if err != nil {
		return fmt.Errorf("lock %s: %w", f.Name(), err)
	}
	return nil
}

// Unlock gives back the lock that Lock or TakeLock took, and closes the file. Closing it
// alone keeps the lock for as long as a child that was just forked, by whoever in this
// process starts a program, has the file too.
func Unlock(f *os.File) error {
	err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN)
	if err != nil {
		err = fmt.Errorf("unlock %s: %w", f.Name(), err)
	}
	return errors.Join(err, f.Close())
}

// Trouble says what was tried when err came, in the words of format and args, and
// gives a full disk or quota its kind, NoSpace. Of no error it makes none.
func Trouble(err error, format string, args ...any) error {
	if err == nil {
		return nil
	}
	what := fmt.Sprintf(format, args...)
	if errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT) {
		return albs.Errorf(albs.NoSpace, "%s: the disk is full, free some space and try again: %w", what, err)
	}
	return fmt.Errorf("%s: %w", what, err)
}
