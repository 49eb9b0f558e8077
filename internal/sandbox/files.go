package sandbox

import (
	"archive/tar"
	"bytes"
	"context"
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

// Files cross the border of a root as a tar between the parent and the helper, which
// sees the root as the build does. On the inner side every path goes through os.Root
// and through no symbolic link; on the outer side names are base names. What a build
// leaves behind is never opened by path from outside.

// Bounds of what comes out of a root in one call.
const (
	maxExport  = 32 << 30 // bytes
	maxExports = 10_000   // files
)

// Copy is one file to lay into a root: that at the host path From, or Data where From
// is empty.
type Copy struct {
	From string
	Data []byte
	To   string // absolute, inside
	User User   // its owner, also of the folders made for it
}

// CopyIn writes files into the root; folders on the way are made. A path that leads
// through a symbolic link inside the root is an Invalid error. After an error some of
// the files may be there.
func (r *Root) CopyIn(ctx context.Context, files ...Copy) error {
	for _, f := range files {
		if !path.IsAbs(f.To) || path.Clean(f.To) != f.To || f.To == "/" {
			return albs.Errorf(albs.Invalid, "%.200q is not an absolute path to a file in a root", f.To)
		}
	}
	pr, pw := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := r.pack(pw, files)
		pw.CloseWithError(err)
		packed <- err
	}()
	err := r.helper(ctx, &job{Op: opImport}, pr, nil)
	pr.CloseWithError(io.ErrClosedPipe)
	// A tar that ends early can look whole to the helper: what kept us from writing the
	// rest counts, unless it is that the helper stopped reading.
	if perr := <-packed; perr != nil && !errors.Is(perr, io.ErrClosedPipe) {
		err = perr
	}
	if err != nil {
		return fmt.Errorf("copy %d files into the root: %w", len(files), err)
	}
	return nil
}

func (r *Root) pack(w io.Writer, files []Copy) error {
	tw := tar.NewWriter(w)
	for _, f := range files {
		err := func() error {
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
			h := &tar.Header{Name: strings.TrimPrefix(f.To, "/"), Mode: 0o644, Size: size, Uid: r.owner(f.User), Typeflag: tar.TypeReg}
			if err := tw.WriteHeader(h); err != nil {
				return err
			}
			_, err := io.Copy(tw, from)
			return err
		}()
		if err != nil {
			return err
		}
	}
	return tw.Close()
}

// CopyOut copies every regular file at or below the folder dir of the root whose name
// ends in suffix into the host folder to, under its base name, and returns the host
// paths. Links are passed over. Two files of one name, or more than the bounds allow,
// are an Invalid error; no such folder is none. After an error some of the files may be
// there. They are not synced to the disk.
func (r *Root) CopyOut(ctx context.Context, dir, suffix, to string) ([]string, error) {
	pr, pw := io.Pipe()
	var names []string
	unpacked := make(chan error, 1)
	go func() {
		var err error
		names, err = unpack(pr, to)
		pr.CloseWithError(err)
		unpacked <- err
	}()
	err := r.helper(ctx, &job{Op: opExport, Path: dir, Suffix: suffix, Limit: maxExport}, nil, pw)
	pw.CloseWithError(err)
	// The inner error comes first: when unpacking stops, so does the helper.
	if uerr := <-unpacked; uerr != nil && !errors.Is(uerr, err) {
		err = uerr
	}
	if err != nil {
		return nil, fmt.Errorf("copy %s/*%s out of the root: %w", dir, suffix, err)
	}
	return names, nil
}

func unpack(rd io.Reader, to string) ([]string, error) {
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

// ReadFile returns the content of a regular file of the root. What is none, or
// holds more than limit bytes, is an Invalid error.
func (r *Root) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if err := r.helper(ctx, &job{Op: opRead, Path: name, Limit: limit}, nil, &b); err != nil {
		return nil, fmt.Errorf("read %s of the root: %w", name, err)
	}
	return b.Bytes(), nil
}

// The inner side.

// contentError is a fault of what lies in the root, not of the helper.
type contentError struct{ msg string }

func (e *contentError) Error() string { return e.msg }

// fileReport lets a contentError reach the parent as such.
func fileReport(err error) (report, error) {
	if e, ok := errors.AsType[*contentError](err); ok {
		return report{Error: e.msg, Kind: albs.Invalid}, nil
	}
	return report{}, err
}

func (j *job) importFiles(rd io.Reader) error {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return err
	}
	defer root.Close()
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
			return &contentError{fmt.Sprintf("/%s is no folder", dir)}
		}
	}
	// Whatever is there, a link or a FIFO, makes place for a new file.
	if info, err := root.Lstat(h.Name); err == nil && info.IsDir() {
		return &contentError{fmt.Sprintf("/%s is a folder", h.Name)}
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

func (j *job) exportFiles(w io.Writer) error {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return err
	}
	defer root.Close()
	tw := tar.NewWriter(w)
	left := j.Limit
	err = fs.WalkDir(root.FS(), strings.TrimPrefix(j.Path, "/"), func(name string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil || !d.Type().IsRegular() || !strings.HasSuffix(name, j.Suffix) {
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
			return &contentError{fmt.Sprintf("the work left more than %d bytes in %s", j.Limit, j.Path)}
		}
		if err := tw.WriteHeader(&tar.Header{Name: path.Base(name), Mode: 0o644, Size: info.Size(), Typeflag: tar.TypeReg}); err != nil {
			return err
		}
		_, err = io.CopyN(tw, f, info.Size())
		return err
	})
	return errors.Join(err, tw.Close())
}

func (j *job) readFile(w io.Writer) error {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return err
	}
	defer root.Close()
	name := strings.TrimPrefix(j.Path, "/")
	// Looked at before it is opened: a FIFO would wait for a writer.
	info, err := root.Stat(name)
	if err != nil {
		return &contentError{fmt.Sprintf("read %s: %v", j.Path, err)}
	}
	if !info.Mode().IsRegular() || info.Size() > j.Limit {
		return &contentError{fmt.Sprintf("%s is no regular file of at most %d bytes", j.Path, j.Limit)}
	}
	f, err := root.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(w, io.LimitReader(f, j.Limit))
	return err
}
