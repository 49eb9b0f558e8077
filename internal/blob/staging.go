package blob

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Staging keeps uploads that are on their way: one file for each lease and digest,
// in a directory that belongs to one process. What is held survives a crash;
// nothing of it is a blob before Commit. A lease is any name of letters, digits,
// '.', '_' and '-' that begins with none but a letter, a digit or '_'; another is
// Invalid, as is a bad digest.
//
// It may be used concurrently. A Drop while an Append runs may leave what that
// writes afterwards: who drops a lease sees to it that nothing more is taken for it,
// or looks at Leases later.
type Staging struct {
	dir  string
	sync func(*os.File) error // brings a file to disk; tests have it fail

	mu   sync.Mutex
	busy map[string]bool // files that an Append writes now
}

// NewStaging opens the staging area in dir, which it creates if need be.
func NewStaging(dir string) (*Staging, error) {
	if dir == "" {
		return nil, albs.Errorf(albs.Invalid, "the staging area needs a directory")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, disk.Trouble(err, "open staging area")
	}
	if err := disk.SyncDir(filepath.Dir(dir)); err != nil {
		return nil, disk.Trouble(err, "open staging area")
	}
	return &Staging{dir: dir, sync: (*os.File).Sync, busy: make(map[string]bool)}, nil
}

// validLease keeps a lease's name from being a path.
func validLease(lease string) bool {
	if lease == "" || len(lease) > 100 || lease[0] == '.' || lease[0] == '-' {
		return false
	}
	for _, c := range []byte(lease) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '.', c == '_', c == '-':
		default:
			return false
		}
	}
	return true
}

func (s *Staging) leaseDir(lease string) (string, error) {
	if !validLease(lease) {
		return "", albs.Errorf(albs.Invalid, "%.120q is not a lease's name: letters, digits, '.', '_' and '-' only", lease)
	}
	return filepath.Join(s.dir, lease), nil
}

func (s *Staging) path(lease string, d albs.Digest) (string, error) {
	dir, err := s.leaseDir(lease)
	if err != nil {
		return "", err
	}
	if err := checkDigest(d); err != nil {
		return "", err
	}
	return filepath.Join(dir, string(d)), nil
}

// Append adds r to the upload d of lease at off, and returns the bytes held. They
// are durable, also when the error is that of r or ctx, one of those below or that
// the storage is full, so that the upload goes on from there. It is Conflict if off
// isn't what is held, or, with 0, if another Append of the same upload runs or the
// lease is dropped meanwhile; TooLarge, with max bytes held, if the upload would
// pass max; NoSpace if the storage is full. If the disk fails what was held is
// dropped, and 0 returned.
func (s *Staging) Append(ctx context.Context, lease string, d albs.Digest, off int64, r io.Reader, max int64) (held int64, err error) {
	path, err := s.path(lease, d)
	if err != nil {
		return 0, err
	}
	if !s.take(path) {
		return 0, albs.Errorf(albs.Conflict, "upload %s is being written by another call; ask for what is held and go on from there", d.Short())
	}
	defer s.release(path)

	if err := os.Mkdir(filepath.Dir(path), 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, disk.Trouble(err, "stage upload %s", d.Short())
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o640)
	if err != nil {
		return 0, disk.Trouble(err, "stage upload %s", d.Short())
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, disk.Trouble(err, "stage upload %s", d.Short())
	}
	held = fi.Size()
	if off != held {
		return held, albs.Errorf(albs.Conflict, "upload %s holds %d bytes; it cannot go on at %d", d.Short(), held, off)
	}
	src := ctxReader{ctx, r}
	n, err := io.Copy(f, io.LimitReader(src, max-held))
	held += n
	if err == nil && held >= max {
		var more [1]byte
		if m, _ := io.ReadFull(src, more[:]); m > 0 {
			err = albs.Errorf(albs.TooLarge, "it has more than %d bytes", max)
		}
	}
	if serr := s.sync(f); serr != nil {
		// The kernel tells of what it lost once, and syncs the rest without a word.
		return 0, errors.Join(disk.Trouble(serr, "stage upload %s", d.Short()), os.Remove(path))
	}
	// The folders too, whoever made them: a call before may have been cut off
	// between the making and this.
	for _, sync := range []func() error{func() error { return disk.SyncDir(filepath.Dir(path)) }, func() error { return disk.SyncDir(s.dir) }} {
		serr := sync()
		if errors.Is(serr, fs.ErrNotExist) {
			return 0, albs.Errorf(albs.Conflict, "upload %s was dropped while it was being written", d.Short())
		}
		if serr != nil {
			return held, disk.Trouble(serr, "stage upload %s", d.Short())
		}
	}
	return held, disk.Trouble(err, "stage upload %s", d.Short())
}

func (s *Staging) take(path string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.busy[path] {
		return false
	}
	s.busy[path] = true
	return true
}

func (s *Staging) release(path string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.busy, path)
}

// Held returns how many bytes of upload d are held for lease, 0 if none are.
func (s *Staging) Held(_ context.Context, lease string, d albs.Digest) (int64, error) {
	path, err := s.path(lease, d)
	if err != nil {
		return 0, err
	}
	fi, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, disk.Trouble(err, "stat upload %s", d.Short())
	}
	return fi.Size(), nil
}

// Open opens length bytes of what is held of upload d from off; length < 0, or
// beyond the end, means to the end. It is NotFound if nothing is held and Invalid
// if off is outside. The bytes are not verified: only their uploader may see them.
func (s *Staging) Open(_ context.Context, lease string, d albs.Digest, off, length int64) (io.ReadCloser, error) {
	f, size, err := s.open(lease, d)
	if err != nil {
		return nil, err
	}
	if off < 0 || off > size {
		f.Close()
		return nil, albs.Errorf(albs.Invalid, "offset %d is outside of upload %s with its %d bytes", off, d.Short(), size)
	}
	if length < 0 || length > size-off {
		length = size - off
	}
	return section{io.NewSectionReader(f, off, length), f}, nil
}

func (s *Staging) open(lease string, d albs.Digest) (*os.File, int64, error) {
	path, err := s.path(lease, d)
	if err != nil {
		return nil, 0, err
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, albs.Errorf(albs.NotFound, "nothing of upload %s is held for lease %s", d.Short(), lease)
	}
	if err != nil {
		return nil, 0, disk.Trouble(err, "open upload %s", d.Short())
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, 0, disk.Trouble(err, "open upload %s", d.Short())
	}
	return f, fi.Size(), nil
}

// Commit puts upload d of lease into to and returns its size. The upload stays
// until Drop, so that a repeated Commit succeeds. It is NotFound if nothing is
// held, and Invalid if the bytes don't hash to d: that upload is dropped, for
// going on with it cannot help.
func (s *Staging) Commit(ctx context.Context, lease string, d albs.Digest, to Store) (int64, error) {
	f, size, err := s.open(lease, d)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	n, err := to.Put(ctx, d, io.NewSectionReader(f, 0, size))
	if errors.Is(err, albs.Invalid) {
		if rerr := os.Remove(f.Name()); rerr != nil {
			return 0, disk.Trouble(rerr, "drop upload %s", d.Short())
		}
	}
	return n, err
}

// Drop forgets all uploads of lease. Dropping what isn't there is no error.
func (s *Staging) Drop(_ context.Context, lease string) error {
	dir, err := s.leaseDir(lease)
	if err != nil {
		return err
	}
	return disk.Trouble(os.RemoveAll(dir), "drop uploads of lease %s", lease)
}

// Leases lists the leases that have uploads, sorted.
func (s *Staging) Leases(_ context.Context) ([]string, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, disk.Trouble(err, "list leases of uploads")
	}
	var leases []string
	for _, e := range entries {
		if e.IsDir() && validLease(e.Name()) {
			leases = append(leases, e.Name())
		}
	}
	return leases, nil
}
