package worker

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"albs/internal/albs"
)

// Session is one attempt as its Job sees it. Its methods may be called
// concurrently, until the Job returns.
type Session struct {
	// Lease is what was claimed.
	Lease Lease

	master    Master
	attempt   *attempt
	stopEarly bool
	pause     time.Duration // between tries of an upload
	flush     time.Duration
	cancel    context.CancelCauseFunc
	full      chan struct{}
	watchdog  *time.Timer // set with stopEarly

	away    atomic.Bool // an upload found no master: later ones are left to the delivery
	mu      sync.Mutex
	contact time.Time // before the last successful renewal was sent; its monotonic part counts
	streams map[string]*logStream
}

var (
	errAway         = albs.Errorf(albs.Unavailable, "the master was away at an earlier upload")
	errOutOfContact = albs.Errorf(albs.Unavailable, "the master could not be reached for most of the lease")
)

// Master returns the worker's master for calls of the Job's own (with the
// Lease's Token): as the loop's, but an answer which says that the task is to
// stop or the lease is lost ends the Job's context too.
func (s *Session) Master() Master { return sessionMaster{s.master, s} }

// Check returns nil while an effect that the master cannot fence may begin, and
// else why not: Stopped or StaleLease as the master said, or Unavailable once 0.8
// of the lease has passed without contact. A Job of a loop with StopEarly calls it
// right before such an effect; the end of its context may come a moment later.
func (s *Session) Check(ctx context.Context) error {
	if err := context.Cause(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopEarly && time.Since(s.contact) >= early(s.Lease.Term) {
		return errOutOfContact
	}
	return nil
}

// early is when work that must stop before its lease ends does so.
func early(term time.Duration) time.Duration { return term / 10 * 8 }

// renewed notes a renewal that was sent at began.
func (s *Session) renewed(began time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contact = began
	if s.watchdog != nil {
		s.watchdog.Reset(early(s.Lease.Term) - time.Since(began))
	}
}

// note ends the Job's context if err says that there is nothing left to do.
func (s *Session) note(err error) {
	if errors.Is(err, albs.Stopped) || lost(err) {
		s.cancel(err)
	}
}

// lost reports whether err says that the lease is another's or nobody's.
func lost(err error) bool {
	return errors.Is(err, albs.StaleLease) || errors.Is(err, albs.Forbidden) || errors.Is(err, albs.NotFound)
}

// TempDir returns a folder for files that the Job needs for a while. It goes with the
// attempt, also when the worker is killed: the next Run removes it.
func (s *Session) TempDir() string { return filepath.Join(s.attempt.dir, "tmp") }

// Log returns the stream's writer (ValidStream tells which names it takes). What is
// written goes to disk at once and to the master within a second, or sooner by
// 64 KiB; a master that is away delays it but never the writer. Beyond 256 MiB a
// stream says so and swallows the rest. Equal names give the same stream. Write
// fails for a bad name or a full disk.
func (s *Session) Log(stream string) io.Writer {
	st, err := s.stream(stream)
	if err != nil {
		return brokenWriter{err}
	}
	return st
}

type brokenWriter struct{ err error }

// Write implements io.Writer.
func (b brokenWriter) Write([]byte) (int, error) { return 0, b.err }

func (s *Session) stream(name string) (*logStream, error) {
	if err := ValidStream(name); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.streams[name]; st != nil {
		return st, nil
	}
	st, err := openStream(s.attempt, name, s.full)
	if err != nil {
		return nil, err
	}
	s.streams[name] = st
	return st, nil
}

// Upload brings the file at path to the master and returns it under name, a base
// name, for the Result. It goes on where a broken upload left off. If the master
// is away or in trouble (Unavailable, NoSpace, Internal), a copy is kept and
// delivered with the result, so that finished work needs no master; after the first
// Unavailable that is done at once with every file, so that many files don't wait
// for the master one by one before their end is on disk. It fails with
// Invalid for a bad name or anything but a regular file (a link is not followed),
// TooLarge beyond MaxUpload, and Stopped or StaleLease, which end the Job's context
// too.
func (s *Session) Upload(ctx context.Context, path, name string) (albs.File, error) {
	if name == "" || name == "." || name == ".." || len(name) > 255 || strings.ContainsFunc(name, func(r rune) bool {
		return r == '/' || r < ' ' || r == 0x7f
	}) {
		return albs.File{}, albs.Errorf(albs.Invalid, "%.80q is not a base name", name)
	}
	// A build may have left a link or a pipe: the first must not lead out of its
	// root, the second must not block.
	f, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ELOOP) || errors.Is(err, syscall.ENXIO) { // missing, a link, a socket
		return albs.File{}, albs.Errorf(albs.Invalid, "upload %s: %w", name, err)
	}
	if err != nil {
		return albs.File{}, fmt.Errorf("upload %s: %w", name, err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return albs.File{}, fmt.Errorf("upload %s: %w", name, err)
	}
	if !info.Mode().IsRegular() {
		return albs.File{}, albs.Errorf(albs.Invalid, "upload %s: not a regular file", name)
	}
	d, size, err := albs.DigestReader(f)
	if err != nil {
		return albs.File{}, fmt.Errorf("upload %s: %w", name, err)
	}
	if size > MaxUpload {
		return albs.File{}, albs.Errorf(albs.TooLarge, "upload %s: it has %d bytes, %d are taken", name, size, int64(MaxUpload))
	}
	err = errAway
	if !s.away.Load() {
		err = putFile(ctx, s.Master(), s.Lease.Token, d, f, size, s.pause)
	}
	if k := albs.KindOf(err); (k == albs.Unavailable || k == albs.NoSpace || k == albs.Internal) && ctx.Err() == nil {
		if k == albs.Unavailable {
			s.away.Store(true)
		}
		err = s.attempt.keep(d, io.NewSectionReader(f, 0, size))
	}
	if err != nil {
		return albs.File{}, fmt.Errorf("upload %s: %w", name, err)
	}
	return albs.File{Name: name, Digest: d, Size: size}, nil
}

// UploadLogs uploads every stream as it stands, for Result.Logs, under the names by
// which they streamed. Errors are Upload's. What is written to a stream later is
// not in it.
func (s *Session) UploadLogs(ctx context.Context) ([]albs.File, error) {
	var files []albs.File
	for _, st := range s.open() {
		f, err := s.Upload(ctx, s.attempt.logPath(st.name), st.name)
		if err != nil {
			return nil, err
		}
		files = append(files, f)
	}
	return files, nil
}

// Fetch writes the blob d, of at most most bytes, to w. It fails with Forbidden if d
// is not of this task, TooLarge if more bytes come, Internal if they don't hash to d,
// else as Master.Get does. What was written is worthless then.
func (s *Session) Fetch(ctx context.Context, d albs.Digest, most int64, w io.Writer) error {
	r, err := s.Master().Get(ctx, s.Lease.Token, d, 0, -1)
	if err != nil {
		return fmt.Errorf("fetch %s: %w", d.Short(), err)
	}
	defer r.Close()
	// The bound is the writer's: r holds the bytes to d at its end, which a bounded
	// reader may not come to.
	if _, err := io.Copy(&atMost{w, most}, r); err != nil {
		return fmt.Errorf("fetch %s: %w", d.Short(), err)
	}
	return nil
}

// atMost refuses what goes beyond n bytes.
type atMost struct {
	w io.Writer
	n int64
}

// Write implements io.Writer.
func (a *atMost) Write(p []byte) (int, error) {
	if a.n -= int64(len(p)); a.n < 0 {
		return 0, albs.Errorf(albs.TooLarge, "more bytes came than it may have")
	}
	return a.w.Write(p)
}

// open returns the streams there are, by name.
func (s *Session) open() []*logStream {
	s.mu.Lock()
	defer s.mu.Unlock()
	var list []*logStream
	for _, st := range s.streams {
		list = append(list, st)
	}
	slices.SortFunc(list, func(a, b *logStream) int { return strings.Compare(a.name, b.name) })
	return list
}

// ship sends the logs on until ctx ends.
func (s *Session) ship(ctx context.Context) {
	tick := time.NewTicker(s.flush)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-s.full:
		}
		for _, st := range s.open() {
			if err := st.send(ctx, s.master); err != nil {
				s.note(err)
				break // what is unsent lies on disk; the next tick or the delivery tries again
			}
		}
	}
}

// putFile uploads the size bytes of f from where the master's copy ends. It gives up
// with Unavailable if Stat, which a Client repeats by itself, is that, and after some
// tries of Put without progress.
func putFile(ctx context.Context, m Master, t Token, d albs.Digest, f io.ReaderAt, size int64, pause time.Duration) error {
	const most = 4 // tries without progress
	var best int64 = -1
	for failed := 0; ; failed++ {
		held, err := m.Stat(ctx, t, d)
		if errors.Is(err, albs.Unavailable) {
			return err
		}
		if err == nil && held >= size && size > 0 { // an empty file must be put too
			return nil
		}
		if err == nil {
			if held > best {
				best, failed = held, 0
			}
			held, err = m.Put(ctx, t, d, held, io.NewSectionReader(f, held, size-held))
			if err == nil && held >= size {
				return nil
			}
		}
		switch {
		case err == nil, errors.Is(err, albs.Unavailable), errors.Is(err, albs.Conflict):
			if failed+1 >= most {
				return albs.Errorf(albs.Unavailable, "the master holds %d of %d bytes and takes no more: %w", held, size, cmp.Or(err, error(albs.Unavailable)))
			}
		default:
			return err
		}
		if !sleep(ctx, jitter(pause<<failed)) {
			return albs.Errorf(albs.Unavailable, "the upload was called off: %w", context.Cause(ctx))
		}
	}
}

// sessionMaster notes what the master's answers say of the lease.
type sessionMaster struct {
	Master
	s *Session
}

// Get implements Master.
func (m sessionMaster) Get(ctx context.Context, t Token, d albs.Digest, offset, length int64) (io.ReadCloser, error) {
	r, err := m.Master.Get(ctx, t, d, offset, length)
	m.s.noteCall(err)
	return r, err
}

// Stat implements Master.
func (m sessionMaster) Stat(ctx context.Context, t Token, d albs.Digest) (int64, error) {
	n, err := m.Master.Stat(ctx, t, d)
	m.s.noteCall(err)
	return n, err
}

// Put implements Master.
func (m sessionMaster) Put(ctx context.Context, t Token, d albs.Digest, offset int64, r io.Reader) (int64, error) {
	n, err := m.Master.Put(ctx, t, d, offset, r)
	m.s.noteCall(err)
	return n, err
}

// noteCall is note for calls on blobs, where NotFound may speak of the blob.
func (s *Session) noteCall(err error) {
	if errors.Is(err, albs.Stopped) || errors.Is(err, albs.StaleLease) {
		s.cancel(err)
	}
}
