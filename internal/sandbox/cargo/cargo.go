// Package cargo brings files over the border of a root as a tar: from a side that is
// trusted to one that isn't, and back.
//
// It owns the form and its bounds; it knows nothing of what a root is. Invariants: on
// the inner side every path goes through os.Root and through no symbolic link; on the
// outer side names are base names, once each; what a build leaves behind is never opened
// by a path from outside.
package cargo

import (
	"archive/tar"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"albs/internal/albs"
)

// Bounds of what comes out of a root in one call.
const (
	MaxExport  = 32 << 30 // bytes
	maxExports = 10_000   // files
)

// File is one file to go in: that at the host path From, or Data where From is empty.
type File struct {
	From  string
	Data  []byte
	To    string // absolute, inside
	Owner int    // its uid and gid inside, also of the folders made for it
	Exec  bool   // it may be run as a program
}

// ContentError is a fault of what lies in the root.
type ContentError struct{ msg string }

// Error implements error.
func (e *ContentError) Error() string { return e.msg }

// Pack writes files to w.
func Pack(w io.Writer, files []File) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		if err := f.pack(tw); err != nil {
			return err
		}
	}
	return tw.Close()
}

func (f File) pack(tw *tar.Writer) error {
	var from io.Reader = bytes.NewReader(f.Data)
	size := int64(len(f.Data))
	if f.From != "" {
		file, err := os.Open(f.From)
		if err != nil {
			return err
		}
		defer file.Close()
		info, err := file.Stat()
		if err != nil {
			return err
		}
		from, size = io.LimitReader(file, info.Size()), info.Size()
	}
	mode := int64(0o644)
	if f.Exec {
		mode = 0o755
	}
	h := &tar.Header{Name: strings.TrimPrefix(f.To, "/"), Mode: mode, Size: size, Uid: f.Owner, Typeflag: tar.TypeReg}
	if err := tw.WriteHeader(h); err != nil {
		return err
	}
	_, err := io.Copy(tw, from)
	return err
}

// Unpack lays what Export wrote into the folder to and returns the paths. Whatever the
// other side sends, files come out under their base names, once each, and nowhere else;
// what can't be so is an Invalid error.
func Unpack(rd io.Reader, to string) ([]string, error) {
	var names []string
	tr := tar.NewReader(rd)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return names, nil
		}
		if err != nil {
			return nil, err
		}
		if h.Name != filepath.Base(h.Name) || strings.HasPrefix(h.Name, ".") || h.Typeflag != tar.TypeReg {
			return nil, albs.Errorf(albs.Invalid, "the work left a file of an impossible name: %.100q", h.Name)
		}
		if len(names) == maxExports {
			return nil, albs.Errorf(albs.Invalid, "the work left more than %d files", maxExports)
		}
		name := filepath.Join(to, h.Name)
		f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if errors.Is(err, fs.ErrExist) {
			return nil, albs.Errorf(albs.Invalid, "the work left two files named %q", h.Name)
		}
		if err != nil {
			return nil, err
		}
		_, err = io.Copy(f, tr)
		if err := errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		names = append(names, name)
	}
}

// Import writes what Pack wrote into root; folders on the way are made.
func Import(root *os.Root, rd io.Reader) error {
	tr := tar.NewReader(rd)
	for {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if err := importFile(root, h, tr); err != nil {
			return err
		}
	}
}

func importFile(root *os.Root, h *tar.Header, content io.Reader) error {
	parts := strings.Split(h.Name, "/")
	for i := 1; i < len(parts); i++ {
		dir := strings.Join(parts[:i], "/")
		info, err := root.Lstat(dir)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			if err := root.Mkdir(dir, 0o755); err != nil {
				return err
			}
			if err := root.Lchown(dir, h.Uid, h.Uid); err != nil {
				return err
			}
		case err != nil:
			return err
		case !info.IsDir():
			return &ContentError{fmt.Sprintf("/%s is no folder", dir)}
		}
	}
	// Whatever is there, a link or a FIFO, makes place for a new file.
	if info, err := root.Lstat(h.Name); err == nil && info.IsDir() {
		return &ContentError{fmt.Sprintf("/%s is a folder", h.Name)}
	} else if err == nil {
		if err := root.Remove(h.Name); err != nil {
			return err
		}
	}
	f, err := root.OpenFile(h.Name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, fs.FileMode(h.Mode).Perm())
	if err != nil {
		return err
	}
	_, err = io.Copy(f, content)
	return errors.Join(err, f.Chown(h.Uid, h.Uid), f.Close())
}

// Export writes the regular files at or below the folder dir whose names end in suffix,
// of limit bytes together at most. Links are passed over; no such folder has none.
func Export(root *os.Root, dir, suffix string, limit int64, w io.Writer) error {
	tw := tar.NewWriter(w)
	left := limit
	err := fs.WalkDir(root.FS(), strings.TrimPrefix(dir, "/"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(name, suffix) {
			return err
		}
		f, err := root.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		info, err := f.Stat()
		if err != nil {
			return err
		}
		if left -= info.Size(); left < 0 {
			return &ContentError{fmt.Sprintf("the work left more than %d bytes in %s", limit, dir)}
		}
		if err := tw.WriteHeader(&tar.Header{Name: path.Base(name), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = io.CopyN(tw, f, info.Size())
		return err
	})
	return errors.Join(err, tw.Close())
}

// Read writes the regular file at p, of limit bytes at most, to w.
func Read(root *os.Root, p string, limit int64, w io.Writer) error {
	name := strings.TrimPrefix(p, "/")
	// Looked at before it is opened: a FIFO would wait for a writer.
	info, err := root.Stat(name)
	if err != nil {
		return &ContentError{fmt.Sprintf("read %s: %v", p, err)}
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return &ContentError{fmt.Sprintf("%s is no regular file of at most %d bytes", p, limit)}
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, io.LimitReader(f, limit))
	return err
}
