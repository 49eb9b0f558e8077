package blob

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"hash/maphash"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/disk"
)

// tmpGrace is how old a file in tmp must be before NewDir takes it for the leftover
// of a crash: younger ones may belong to another process that is writing now.
const tmpGrace = 24 * time.Hour

// Dir is a Store in a directory: sha256/ab/cdef… holds the blobs, tmp what is being
// written. A blob is written to tmp, synced, renamed into place, and its folder
// synced. Several processes may share one directory.
type Dir struct {
	dir string

	// How a file and a folder are brought to disk; tests have them fail.
	sync    func(*os.File) error
	syncDir func(string) error

	verified verified[stamp]

	mu       sync.Mutex
	doubtful map[string]bool // folders whose sync has failed
}

// stamp identifies the file that was verified; another file, or a write to it,
// changes the stamp. The time of change can't be set back, as that of modification.
type stamp struct {
	ino   uint64
	mtime int64
	ctime int64
	size  int64
}

func stampOf(fi fs.FileInfo) stamp {
	s := stamp{mtime: fi.ModTime().UnixNano(), size: fi.Size()}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		s.ino, s.ctime = st.Ino, st.Ctim.Nano()
	}
	return s
}

// NewDir opens the store in dir, which it creates if need be, and removes from its
// tmp what a crash left there more than a day ago.
func NewDir(dir string) (*Dir, error) {
	if dir == "" {
		return nil, albs.Errorf(albs.Invalid, "the blob store needs a directory")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("open blob store: %w", err)
	}
	d := &Dir{
		dir: dir, sync: (*os.File).Sync, syncDir: disk.SyncDir,
		doubtful: make(map[string]bool),
	}
	for _, p := range []string{d.tmp(), d.blobs()} {
		if err := os.MkdirAll(p, 0o750); err != nil {
			return nil, disk.Trouble(err, "open blob store")
		}
	}
	// All folders are made and synced now, so that a Put has one folder to sync.
	for i := range 256 {
		err := os.Mkdir(filepath.Join(d.blobs(), fmt.Sprintf("%02x", i)), 0o750)
		if err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, disk.Trouble(err, "open blob store")
		}
	}
	for _, p := range []string{d.blobs(), d.dir, filepath.Dir(d.dir)} {
		if err := disk.SyncDir(p); err != nil {
			return nil, disk.Trouble(err, "open blob store")
		}
	}
	if err := d.sweep(time.Now().Add(-tmpGrace)); err != nil {
		return nil, disk.Trouble(err, "open blob store")
	}
	return d, nil
}

func (d *Dir) tmp() string   { return filepath.Join(d.dir, "tmp") }
func (d *Dir) blobs() string { return filepath.Join(d.dir, "sha256") }

func (d *Dir) path(name albs.Digest) string {
	return filepath.Join(d.blobs(), string(name[:2]), string(name[2:]))
}

// sweep removes from tmp what was last written before limit.
func (d *Dir) sweep(limit time.Time) error {
	left, err := os.ReadDir(d.tmp())
	if err != nil {
		return err
	}
	for _, e := range left {
		fi, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		if fi.ModTime().Before(limit) {
			if err := os.RemoveAll(filepath.Join(d.tmp(), e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}

// Put implements Store. A stored blob that turns out to be corrupt is replaced.
func (d *Dir) Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error) {
	f, err := d.keep(ctx, want, r)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	return f.Size(), nil
}

// Write implements Store.
func (d *Dir) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	f, err := d.write(ctx, r, limit, "")
	if err != nil {
		return "", 0, err
	}
	defer f.Close()
	return f.name, f.Size(), nil
}

// keep is Put that returns the blob, verified, so that nobody can remove it first.
func (d *Dir) keep(ctx context.Context, want albs.Digest, r io.Reader) (*dirReader, error) {
	if err := checkDigest(want); err != nil {
		return nil, err
	}
	folder := filepath.Dir(d.path(want))
	f, err := d.held(ctx, want)
	switch {
	case err == nil && !d.doubts(folder):
		// Whoever renamed it into place may not have synced the folder yet.
		if err := d.synced(folder); err != nil {
			f.Close()
			return nil, disk.Trouble(err, "store blob %s", want.Short())
		}
		return f, nil
	case err == nil:
		f.Close()
	case !errors.Is(err, albs.NotFound) && !errors.Is(err, ErrCorrupt):
		return nil, err
	}
	return d.write(ctx, r, -1, want)
}

// doubts reports whether a sync of the folder has ever failed here. The kernel tells of
// a failure once: another sync of what was lost succeeds, and proves nothing. Names in
// such a folder are written anew before they are acknowledged.
func (d *Dir) doubts(folder string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubtful[folder]
}

// synced brings the names in a folder to disk, or has it doubted from now on.
func (d *Dir) synced(folder string) error {
	err := d.syncDir(folder)
	if err != nil {
		d.mu.Lock()
		defer d.mu.Unlock()
		d.doubtful[folder] = true
	}
	return err
}

// write stores r, which must hash to want unless that is empty, and must not be
// longer than limit unless that is negative, and returns it.
func (d *Dir) write(ctx context.Context, r io.Reader, limit int64, want albs.Digest) (_ *dirReader, err error) {
	if want == "" && limit < 0 {
		return nil, albs.Errorf(albs.Invalid, "a limit of %d bytes is negative", limit)
	}
	f, err := os.CreateTemp(d.tmp(), "put-*")
	if err != nil {
		return nil, disk.Trouble(err, "store blob")
	}
	defer func() {
		if err != nil {
			f.Close()
			os.Remove(f.Name())
		}
	}()
	src := io.Reader(ctxReader{ctx, r})
	if limit >= 0 {
		src = io.LimitReader(src, limit+1)
	}
	h := newBoth()
	size, err := io.Copy(io.MultiWriter(f, h), src)
	if err != nil {
		return nil, disk.Trouble(err, "store blob")
	}
	if limit >= 0 && size > limit {
		return nil, albs.Errorf(albs.TooLarge, "the content has more than %d bytes", limit)
	}
	name := albs.DigestFrom(h.sha)
	if want != "" && name != want {
		return nil, albs.Errorf(albs.Invalid, "the bytes hash to %s, not to %s", name, want)
	}
	if err = f.Chmod(0o440); err != nil {
		return nil, disk.Trouble(err, "store blob %s", name.Short())
	}
	if err = d.sync(f); err != nil {
		return nil, disk.Trouble(err, "store blob %s", name.Short())
	}
	if err = os.Rename(f.Name(), d.path(name)); err != nil {
		return nil, disk.Trouble(err, "store blob %s", name.Short())
	}
	if err = d.synced(filepath.Dir(d.path(name))); err != nil {
		// The blob is whole and in place; it is only not known to last.
		return nil, disk.Trouble(err, "store blob %s", name.Short())
	}
	fi, err := f.Stat() // the rename has changed it
	if err != nil {
		return nil, disk.Trouble(err, "store blob %s", name.Short())
	}
	d.verified.remember(name, stampOf(fi), h.quick.Sum64())
	return d.reader(name, f, fi), nil
}

// Open implements Store.
func (d *Dir) Open(_ context.Context, name albs.Digest) (Reader, error) {
	f, fi, err := d.open(name)
	if err != nil {
		return nil, err
	}
	return d.reader(name, f, fi), nil
}

func (d *Dir) reader(name albs.Digest, f *os.File, fi fs.FileInfo) *dirReader {
	r := &dirReader{dir: d, name: name, f: f, stamp: stampOf(fi)}
	if r.want = d.verified.quick(name, r.stamp); r.want != 0 {
		r.h = newQuick()
	} else {
		r.h = sha256.New()
	}
	return r
}

func (d *Dir) open(name albs.Digest) (*os.File, fs.FileInfo, error) {
	if err := checkDigest(name); err != nil {
		return nil, nil, err
	}
	f, err := os.Open(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil, albs.Errorf(albs.NotFound, "no blob %s is stored", name)
	}
	if err != nil {
		return nil, nil, disk.Trouble(err, "open blob %s", name.Short())
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, disk.Trouble(err, "open blob %s", name.Short())
	}
	return f, fi, nil
}

// OpenRange implements Store. A file once verified isn't read again for this until
// its inode, times or size change.
func (d *Dir) OpenRange(ctx context.Context, name albs.Digest, off, length int64) (io.ReadCloser, error) {
	f, fi, err := d.open(name)
	if err != nil {
		return nil, err
	}
	r := d.reader(name, f, fi)
	part, err := r.cut(off, length)
	if err == nil {
		err = d.verify(ctx, name, f, r.stamp)
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return part, nil
}

// cut returns length bytes from off of the file; closing them closes it.
func (r *dirReader) cut(off, length int64) (io.ReadCloser, error) {
	if off < 0 || off > r.Size() {
		return nil, albs.Errorf(albs.Invalid, "offset %d is outside of blob %s with its %d bytes", off, r.name, r.Size())
	}
	if length < 0 || length > r.Size()-off {
		length = r.Size() - off
	}
	return section{io.NewSectionReader(r.f, off, length), r.f}, nil
}

type section struct {
	*io.SectionReader
	io.Closer
}

// Stat implements Store.
func (d *Dir) Stat(_ context.Context, name albs.Digest) (int64, error) {
	if err := checkDigest(name); err != nil {
		return 0, err
	}
	fi, err := os.Stat(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, albs.Errorf(albs.NotFound, "no blob %s is stored", name)
	}
	if err != nil {
		return 0, disk.Trouble(err, "stat blob %s", name.Short())
	}
	return fi.Size(), nil
}

// Remove implements Store.
func (d *Dir) Remove(_ context.Context, name albs.Digest) error {
	if err := checkDigest(name); err != nil {
		return err
	}
	d.verified.forget(name)
	err := os.Remove(d.path(name))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return disk.Trouble(err, "remove blob %s", name.Short())
	}
	return disk.Trouble(d.synced(filepath.Dir(d.path(name))), "remove blob %s", name.Short())
}

// Walk implements Store.
func (d *Dir) Walk(ctx context.Context, yield func(albs.Digest, int64) error) error {
	for i := range 256 {
		if err := ctx.Err(); err != nil {
			return err
		}
		prefix := fmt.Sprintf("%02x", i)
		entries, err := os.ReadDir(filepath.Join(d.blobs(), prefix))
		if err != nil {
			return disk.Trouble(err, "walk blobs")
		}
		for _, e := range entries {
			name := albs.Digest(prefix + e.Name())
			if !name.Valid() {
				continue
			}
			fi, err := e.Info()
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if err != nil {
				return disk.Trouble(err, "walk blobs")
			}
			if err := yield(name, fi.Size()); err != nil {
				return err
			}
		}
	}
	return nil
}

// Verify implements Store. What the kernel keeps of the file in memory is dropped
// first, so that the disk is asked.
func (d *Dir) Verify(ctx context.Context, name albs.Digest) error {
	f, fi, err := d.open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	// Where that isn't possible, memory is all that readers get as well.
	_ = unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	d.verified.forget(name)
	return d.verify(ctx, name, f, stampOf(fi))
}

// held returns a blob that has been verified, now or before.
func (d *Dir) held(ctx context.Context, name albs.Digest) (*dirReader, error) {
	f, fi, err := d.open(name)
	if err != nil {
		return nil, err
	}
	r := d.reader(name, f, fi)
	if err := d.verify(ctx, name, f, r.stamp); err != nil {
		f.Close()
		return nil, err
	}
	return r, nil
}

// verify hashes the whole of f unless the file of this stamp is known to be right.
func (d *Dir) verify(ctx context.Context, name albs.Digest, f *os.File, s stamp) error {
	if d.verified.has(name, s) {
		return nil
	}
	h := newBoth()
	n, err := io.Copy(h, ctxReader{ctx, io.NewSectionReader(f, 0, s.size)})
	if err != nil {
		return disk.Trouble(err, "verify blob %s", name.Short())
	}
	if n != s.size || albs.DigestFrom(h.sha) != name {
		d.verified.forget(name)
		return corrupt(name)
	}
	d.verified.remember(name, s, h.quick.Sum64())
	return nil
}

// dirReader is Dir's Reader. Of a file that was verified before and hasn't been touched
// since it compares the quick sum with the one of then; of any other the sha256 with the
// name.
type dirReader struct {
	dir   *Dir
	name  albs.Digest
	f     *os.File
	stamp stamp
	h     hash.Hash
	want  uint64 // the quick sum; 0 if h is a sha256
	off   int64
	ok    atomic.Bool // ReadAt has verified the blob
}

// Size returns the blob's length.
func (r *dirReader) Size() int64 { return r.stamp.size }

// Close closes the file.
func (r *dirReader) Close() error { return r.f.Close() }

// Read implements io.Reader with the check at the end.
func (r *dirReader) Read(p []byte) (int, error) {
	n, err := r.f.ReadAt(p, r.off)
	r.h.Write(p[:n])
	r.off += int64(n)
	if err == nil {
		return n, nil
	}
	if err != io.EOF {
		return n, disk.Trouble(err, "read blob %s", r.name.Short())
	}
	if n > 0 {
		return n, nil
	}
	if len(p) > 0 && !r.right() {
		r.dir.verified.forget(r.name)
		return 0, corrupt(r.name)
	}
	return 0, io.EOF
}

// right reports whether what was hashed is the blob.
func (r *dirReader) right() bool {
	if quick, ok := r.h.(*maphash.Hash); ok {
		return quick.Sum64() == r.want
	}
	return albs.DigestFrom(r.h) == r.name
}

// ReadAt implements io.ReaderAt over bytes that have been verified as a whole.
func (r *dirReader) ReadAt(p []byte, off int64) (int, error) {
	if !r.ok.Load() {
		if err := r.dir.verify(context.Background(), r.name, r.f, r.stamp); err != nil {
			return 0, err
		}
		r.ok.Store(true)
	}
	return r.f.ReadAt(p, off)
}
