package ledger

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/codenotary/immudb/embedded/store"

	"albs/internal/albs"
	"albs/internal/disk"
)

const (
	// idKey is the key of the first entry, whose value is the ledger's id: so the
	// id in ledger.json is bound to the log beside it.
	idKey = "albs/ledger"
	// syncEvery is how long immudb gathers transactions for one fsync. There is
	// one writer, which does its own gathering.
	syncEvery = 2 * time.Millisecond
	// maxReads bounds concurrent reads: immudb fails, rather than waits, once its
	// transaction holders are in use.
	maxReads = 8
	// minFree is how much free space an Append wants. immudb doesn't recover from
	// a full disk in the middle of a transaction without being reopened.
	minFree = 64 << 20
)

// Embedded is a Ledger in a directory that belongs to one process:
//
//	lock                 held while the ledger is open
//	ledger/ledger.json   what was fixed at creation: version, id, heads of the files
//	ledger/store/        immudb's files
//
// immudb's index (store/index) may be lost at any time: it is made again from the
// log when the ledger opens. It is what says that a key is not there, so damage to
// it that immudb doesn't notice can make a key look new; values and proofs don't
// depend on it.
type Embedded struct {
	dir  string
	id   string
	st   *store.ImmuStore
	lock *os.File

	reads  chan struct{} // a token per running read
	writer *writer

	mu     sync.RWMutex // held for reading by every call, for writing by Close
	closed bool

	faults *faults
}

// faults is immudb's logger: it prints nothing. An error that immudb logs is one
// of its background loops that failed to write, and that it retries for ever; then
// nothing more can be acknowledged before the ledger is opened anew.
type faults struct {
	failed context.Context // ends, with the fault as its cause, at the first
	fail   context.CancelCauseFunc
}

func newFaults() *faults {
	failed, fail := context.WithCancelCause(context.Background())
	return &faults{failed, fail}
}

func (f *faults) Errorf(format string, args ...any) {
	f.fail(albs.Errorf(albs.Unavailable, "the ledger's storage failed; see to its disk and restart: %w", fmt.Errorf(format, args...)))
}
func (f *faults) Warningf(string, ...any) {}
func (f *faults) Infof(string, ...any)    {}
func (f *faults) Debugf(string, ...any)   {}
func (f *faults) Close() error            { return nil }

// bound returns ctx, ended also by a fault; context.Cause tells which.
func (f *faults) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(f.failed, func() { cancel(context.Cause(f.failed)) })
	return ctx, func() { stop(); cancel(nil) }
}

// options are immudb's. Values lie in a value log of their own: embedded in the
// transaction log their sum would be counted in 16 bits. The caches are small,
// for entries are read seldom and the page cache serves.
func options(f *faults) *store.Options {
	o := store.DefaultOptions().
		WithLogger(f).
		WithSynced(true).WithSyncFrequency(syncEvery).
		WithMaxTxEntries(MaxEntries).WithMaxKeyLen(MaxKey).WithMaxValueLen(MaxValue).
		WithEmbeddedValues(false).
		WithMaxConcurrency(maxReads + 4).WithMaxActiveTransactions(64).WithMVCCReadSetLimit(1).
		WithMaxWaitees(64).
		WithWriteBufferSize(1 << 20).WithTxLogCacheSize(64)
	o.IndexOpts = o.IndexOpts.WithCacheSize(16 << 20).WithMaxBufferedDataSize(16 << 20).WithMaxGlobalBufferedDataSize(16 << 20).
		WithMaxActiveSnapshots(4)
	o.AHTOpts = o.AHTOpts.WithWriteBufferSize(1 << 16)
	return o
}

// OpenEmbedded opens the ledger in dir, creating it if dir has none. It fails with
// Conflict if another process, or this one, has it open, and with Internal if its
// files don't fit together. Close ends it.
func OpenEmbedded(dir string) (*Embedded, error) {
	if dir == "" {
		return nil, albs.Errorf(albs.Invalid, "the ledger needs a directory")
	}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	lock, err := disk.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, albs.Conflict) {
		return nil, albs.Errorf(albs.Conflict, "the ledger in %s is open already; only one process may have it", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open ledger: %w", err)
	}
	e, err := open(dir, lock)
	if err != nil {
		return nil, errors.Join(err, disk.Unlock(lock))
	}
	e.writer = startWriter(e)
	return e, nil
}

func open(dir string, lock *os.File) (*Embedded, error) {
	place, d, err := prepare(dir)
	if err != nil {
		return nil, err
	}
	f := newFaults()
	st, err := openStore(filepath.Join(place, "store"), options(f))
	if err != nil {
		return nil, albs.Errorf(albs.Internal, "open ledger in %s: %w", dir, err)
	}
	e := &Embedded{
		dir: place, id: d.ID, st: st, lock: lock,
		reads:  make(chan struct{}, maxReads),
		faults: f,
	}
	if err := e.checkID(); err != nil {
		st.Close()
		return nil, err
	}
	return e, nil
}

// checkID compares the id with the first entry.
func (e *Embedded) checkID() error {
	entry, _, err := e.st.ReadTxEntry(1, []byte(idKey), false)
	if err != nil {
		return albs.Errorf(albs.Internal, "read the ledger's id in %s: %w", e.dir, err)
	}
	value, err := e.st.ReadValue(entry)
	if err != nil {
		return albs.Errorf(albs.Internal, "read the ledger's id in %s: %w", e.dir, err)
	}
	if string(value) != e.id {
		return albs.Errorf(albs.Internal, "ledger.json in %s names ledger %s, but the store beside it is of ledger %.40q", e.dir, e.id, value)
	}
	return nil
}

// enter begins a call: the ledger stays open until leave.
func (e *Embedded) enter() (leave func(), err error) {
	e.mu.RLock()
	if e.closed {
		e.mu.RUnlock()
		return nil, albs.Errorf(albs.Unavailable, "the ledger is closed")
	}
	return e.mu.RUnlock, nil
}

// read is enter for a call that takes one of immudb's transaction holders.
func (e *Embedded) read(ctx context.Context) (leave func(), err error) {
	exit, err := e.enter()
	if err != nil {
		return nil, err
	}
	select {
	case e.reads <- struct{}{}:
		return func() { <-e.reads; exit() }, nil
	case <-ctx.Done():
		exit()
		return nil, ctx.Err()
	}
}

// Close implements Ledger.
func (e *Embedded) Close() error {
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.closed {
		return nil
	}
	e.closed = true
	e.writer.stop()
	err := e.st.Close()
	e.faults.fail(nil)
	if cerr := disk.Unlock(e.lock); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("close ledger: %w", err)
	}
	return nil
}

// storageError gives an error of immudb its kind and says what was tried. If ctx
// was ended by a fault of the storage, that is the error.
func storageError(ctx context.Context, err error, what string) error {
	if cause := context.Cause(ctx); ctx.Err() != nil && errors.Is(cause, albs.Unavailable) {
		return cause
	}
	return disk.Trouble(err, "%s", what)
}

func receiptOf(id uint64, seconds int64) Receipt {
	return Receipt{TxID: id, At: time.Unix(seconds, 0).UTC()}
}

func digestOf(h [32]byte) albs.Digest { return albs.Digest(hex.EncodeToString(h[:])) }
