package terminal

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"albs/internal/albs"
	"albs/internal/disk"
)

// ReadFile returns what a file holds that a command line names, "-" for stdin. It is
// Invalid if it can't be read and TooLarge beyond limit bytes; what says which file was
// meant.
func (t *Terminal) ReadFile(path, what string, limit int64) ([]byte, error) {
	r := t.Stdin
	if path != "-" {
		f, err := os.Open(path)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "read %s: %w; name %s, or - for stdin", path, plain(err), what)
		}
		defer func() { _ = f.Close() }()
		r = f
	}
	b, err := disk.ReadAll(r, path, limit)
	switch {
	case errors.Is(err, albs.TooLarge):
		return nil, fmt.Errorf("%w: it isn't %s", err, what)
	case err != nil:
		return nil, albs.Errorf(albs.Invalid, "read %s: %w; name %s, or - for stdin", path, plain(err), what)
	}
	return b, nil
}

// SaveFile writes what r gives to the file path, or to stdout for "-". A new file or
// a plain one appears whole, on disk, or not at all; a device or a pipe is written to
// as it is.
func (t *Terminal) SaveFile(path string, r io.Reader) error {
	if path == "-" {
		_, err := io.Copy(t.Stdout, r)
		return err
	}
	info, err := os.Stat(path)
	switch {
	case err != nil && !errors.Is(err, fs.ErrNotExist):
		return cannotWrite(path, err)
	case err == nil && !info.Mode().IsRegular():
		return writeInto(path, r)
	}
	return writeWhole(path, r)
}

func writeInto(path string, r io.Reader) error {
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if err != nil {
		return cannotWrite(path, err)
	}
	_, err = io.Copy(f, r)
	if err := errors.Join(err, f.Close()); err != nil {
		return cannotWrite(path, err)
	}
	return nil
}

func writeWhole(path string, r io.Reader) (err error) {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return cannotWrite(path, err)
	}
	defer func() {
		if err != nil {
			_ = f.Close() // perhaps the second time
			_ = os.Remove(f.Name())
			err = cannotWrite(path, err)
		}
	}()
	if _, err := io.Copy(f, r); err != nil {
		return err
	}
	if err := f.Chmod(0o644); err != nil {
		return err
	}
	if err := f.Sync(); err != nil {
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return disk.SyncDir(filepath.Dir(path))
}

func cannotWrite(path string, err error) error {
	return albs.Errorf(albs.Invalid, "write %s: %w; choose another place with --output", path, plain(err))
}

// plain is err without the path of a PathError, which its reader never chose.
func plain(err error) error {
	if p, ok := errors.AsType[*fs.PathError](err); ok {
		return p.Err
	}
	return err
}
