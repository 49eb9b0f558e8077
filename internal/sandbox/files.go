package sandbox

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox/cargo"
	"albs/internal/sandbox/examine"
)

// Copy is one file to lay into a root: that at the host path From, or Data where From
// is empty.
type Copy struct {
	From string
	Data []byte
	To   string // absolute, inside
	User User   // its owner, also of the folders made for it
	Exec bool   // it may be run as a program
}

// Load returns files as they cross the border of a root whose users have the ids that
// owner returns. A path that isn't one in a root is an Invalid error.
func Load(files []Copy, owner func(User) int) ([]cargo.File, error) {
	load := make([]cargo.File, len(files))
	for i, f := range files {
		if !path.IsAbs(f.To) || path.Clean(f.To) != f.To || f.To == "/" {
			return nil, albs.Errorf(albs.Invalid, "%.200q is not an absolute path to a file in a root", f.To)
		}
		load[i] = cargo.File{From: f.From, Data: f.Data, To: f.To, Owner: owner(f.User), Exec: f.Exec}
	}
	return load, nil
}

// CopyIn writes files into the root; folders on the way are made. A path that leads
// through a symbolic link inside the root is an Invalid error. After an error some of
// the files may be there.
func (r *Root) CopyIn(ctx context.Context, files ...Copy) error {
	load, err := Load(files, r.owner)
	if err != nil {
		return err
	}
	pr, pw := io.Pipe()
	packed := make(chan error, 1)
	go func() {
		err := cargo.Pack(pw, load)
		pw.CloseWithError(err)
		packed <- err
	}()
	err = r.helper(ctx, &job{Op: opImport}, pr, nil)
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
		names, err = cargo.Unpack(pr, to)
		pr.CloseWithError(err)
		unpacked <- err
	}()
	err := r.helper(ctx, &job{Op: opExport, Path: dir, Suffix: suffix, Limit: cargo.MaxExport}, nil, pw)
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

// ReadFile returns the content of a regular file of the root. What is none, or
// holds more than limit bytes, is an Invalid error.
func (r *Root) ReadFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	var b bytes.Buffer
	if err := r.helper(ctx, &job{Op: opRead, Path: name, Limit: limit}, nil, &b); err != nil {
		return nil, fmt.Errorf("read %s of the root: %w", name, err)
	}
	return b.Bytes(), nil
}

// examineTime bounds one look at files of a root: it reads no more than lies there.
const examineTime = time.Hour

// Examine says what lies at paths of the root, and answers each of asks in its place. It
// follows no link out of the root and opens nothing but regular files. Where nothing lies
// at a path, or none leads there, the answer's Kind is Absent; that isn't an error. What
// can't be asked, and a root that answers with more than examine's bounds allow, is
// Invalid.
func (r *Root) Examine(ctx context.Context, asks []examine.Ask) ([]examine.Entry, error) {
	if len(asks) == 0 {
		return nil, nil
	}
	b, err := examine.Encode(asks)
	if err != nil {
		return nil, err
	}
	lim := r.e.ownLimits()
	lim.Time, lim.Output = examineTime, examine.MaxAnswer
	var said bytes.Buffer
	if err := r.helperWithin(ctx, &job{Op: opExamine}, bytes.NewReader(b), &said, lim); err != nil {
		return nil, fmt.Errorf("look at %d paths of the root: %w", len(asks), err)
	}
	entries, err := examine.Decode(&said, asks)
	if err != nil {
		return nil, fmt.Errorf("look at %d paths of the root: %w", len(asks), err)
	}
	return entries, nil
}

// The inner side.

// inRoot does f with the root of the stage; a fault of what lies there reaches the
// parent as such.
func inRoot(f func(root *os.Root) error) (report, error) {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return report{}, err
	}
	defer root.Close()
	err = f(root)
	if e, ok := errors.AsType[*cargo.ContentError](err); ok {
		return report{Error: e.Error(), Kind: albs.Invalid}, nil
	}
	return report{}, err
}
