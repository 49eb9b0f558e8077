package tlog

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/transparency-dev/tessera"
	"github.com/transparency-dev/tessera/storage/posix"
	"golang.org/x/mod/sumdb/note"
	"k8s.io/klog/v2"

	"albs/internal/albs"
	"albs/internal/disk"
)

// Config says where a log is and who witnesses it.
type Config struct {
	// Dir is the log's folder: what Reader reads, and nothing secret.
	Dir string
	// Key is the file of the log's key, which LoadOrCreateKey made.
	Key string
	// Witnesses are asked to cosign every checkpoint, and Quorum of them have to before
	// it is published.
	Witnesses []Witness
	Quorum    int
	// Client reaches the witnesses.
	Client *http.Client
	// Refused is called with what a witness said that will not cosign, as often as it
	// says so.
	Refused func(Refusal)
	// Interval is the least time between two checkpoints; a second if 0.
	Interval time.Duration
}

// Witness is who cosigns checkpoints: a c2sp.org/tlog-witness at a URL, by its vkey.
type Witness struct {
	URL string `yaml:"url"`
	Key string `yaml:"key"`
}

const (
	keyName  = "PRIVATE+KEY+"
	maxKey   = 4 << 10
	lockFile = ".lock"
	// A batch waits this long for more leaves, and is no larger than that.
	batchAge  = 50 * time.Millisecond
	batchSize = 1024
	// witnessTimeout bounds the time that witnesses have for one checkpoint.
	witnessTimeout = 15 * time.Second
	// closeTimeout bounds the wait for what is on its way when the log is closed.
	closeTimeout = 10 * time.Second
)

// LoadOrCreateKey returns the vkey of the log whose key is in the file at path, and makes
// a key of that origin there, mode 0600 and durable, if there is none. A file that others
// may read or write is Forbidden; one that holds something else, or the key of another
// origin, Invalid; neither is touched. The file belongs into every backup.
func LoadOrCreateKey(path, origin string) (vkey string, err error) {
	s, vkey, err := loadKey(path)
	if errors.Is(err, fs.ErrNotExist) {
		skey, _, gerr := note.GenerateKey(rand.Reader, origin)
		if gerr != nil {
			return "", fmt.Errorf("make the log's key: %w", gerr)
		}
		if err := CheckOrigin(origin); err != nil {
			return "", err
		}
		if err := disk.CreateFile(path, []byte(skey+"\n"), 0o600); err != nil && !errors.Is(err, fs.ErrExist) {
			return "", fmt.Errorf("make the log's key: %w", err)
		}
		s, vkey, err = loadKey(path)
	}
	if err == nil && s.Name() != origin {
		err = albs.Errorf(albs.Invalid, "%s is the key of the log %s, not of %s", path, s.Name(), origin)
	}
	return vkey, err
}

// CheckOrigin returns what is wrong with the name of a log, as Invalid.
func CheckOrigin(origin string) error {
	if origin == "" || len(origin) > 200 || strings.ContainsFunc(origin, func(r rune) bool { return r <= ' ' || r > '~' || r == '+' }) {
		return albs.Errorf(albs.Invalid, "%.80q can't be the origin of a log: give a host and a path, as log.example.org/albs", origin)
	}
	return nil
}

func loadKey(path string) (note.Signer, string, error) {
	fi, err := os.Stat(path)
	if err != nil {
		return nil, "", fmt.Errorf("open the log's key: %w", err)
	}
	if fi.Mode().Perm()&0o077 != 0 {
		return nil, "", albs.Errorf(albs.Forbidden, "the log's key %s is open to others (mode %04o): chmod 600 it, and think of who may have read it", path, fi.Mode().Perm())
	}
	b, err := disk.ReadFile(path, maxKey)
	if err != nil {
		return nil, "", fmt.Errorf("read the log's key: %w", err)
	}
	skey := strings.TrimSuffix(string(b), "\n")
	s, err := note.NewSigner(skey)
	if err != nil || !strings.HasPrefix(skey, keyName) {
		return nil, "", albs.Errorf(albs.Invalid, "%s holds no key of a log: restore it from a backup", path)
	}
	vkey, err := publicKey(skey)
	return s, vkey, err
}

// Log is a log that is open for appending. It belongs to one process at a time, and may
// be used concurrently there.
type Log struct {
	Reader
	origin string
	vkey   string
	lock   *os.File
	add    tessera.AddFn
	size   func(context.Context) (uint64, error)
	every  time.Duration
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	end    func(context.Context) error // waits until what was added is published; nil before it can be

	mu     sync.Mutex
	closed bool
	adding sync.WaitGroup // begun under mu while it isn't closed
}

var quiet = sync.OnceFunc(func() {
	klog.LogToStderr(false)
	klog.SetOutput(io.Discard)
})

// Open opens the log for appending, and begins it if its folder is new. before is the
// checkpoint that is remembered of it, the zero Checkpoint if none: a log that doesn't
// have all of that is a Conflict and nothing is written, for it would tell two stories.
// Conflict also if another process has the log open; Unavailable while the quorum doesn't
// cosign that a new log is empty. Close ends it.
func Open(ctx context.Context, c Config, before Checkpoint) (l *Log, err error) {
	quiet()
	s, vkey, err := loadKey(c.Key)
	if err != nil {
		return nil, err
	}
	group, err := c.group()
	if err != nil {
		return nil, err
	}
	l = &Log{Reader: Read(c.Dir), origin: s.Name(), vkey: vkey, every: c.Interval}
	if l.every == 0 {
		l.every = time.Second
	}
	if err := os.MkdirAll(c.Dir, 0o755); err != nil {
		return nil, fmt.Errorf("make the log's folder: %w", err)
	}
	if l.lock, err = disk.Lock(filepath.Join(c.Dir, lockFile)); err != nil {
		return nil, fmt.Errorf("lock the log %s: %w", s.Name(), err)
	}
	l.ctx, l.cancel = context.WithCancel(context.WithoutCancel(ctx))
	defer func() {
		if err != nil {
			err = errors.Join(err, l.Close())
			l = nil
		}
	}()
	if err := l.holds(ctx, before); err != nil {
		return l, err
	}
	if err := disk.WriteFile(filepath.Join(c.Dir, vkeyFile), []byte(vkey+"\n"), 0o644); err != nil {
		return l, fmt.Errorf("write the log's public key: %w", err)
	}
	if c.Client == nil {
		c.Client = http.DefaultClient
	}
	watched := *c.Client
	watched.Transport = &watch{next: c.Client.Transport, refused: c.Refused}
	d, err := posix.New(l.ctx, posix.Config{Path: c.Dir, HTTPClient: &watched})
	if err != nil {
		return l, fmt.Errorf("open the log: %w", err)
	}
	o := tessera.NewAppendOptions().
		WithCheckpointSigner(s).
		WithBatching(batchSize, batchAge).
		WithCheckpointInterval(l.every).
		WithCheckpointRepublishInterval(0).
		// Of a quorum of none, a checkpoint is published that nobody cosigned.
		WithWitnesses(group, &tessera.WitnessOptions{Timeout: witnessTimeout, FailOpen: c.Quorum == 0})
	a, end, r, err := tessera.NewAppender(l.ctx, d, o)
	if err != nil {
		if _, cerr := l.Checkpoint(l.vkey); c.Quorum > 0 && errors.Is(cerr, albs.NotFound) {
			return l, albs.Errorf(albs.Unavailable, "the log %s can't begin before its witnesses have cosigned that it is empty: %w", l.origin, err)
		}
		return l, disk.Trouble(err, "open the log")
	}
	l.add, l.size, l.end = a.Add, r.IntegratedSize, end
	// What is on disk behind the checkpoint may have been put back as well. Until the first
	// interval has passed nothing is published.
	return l, l.whole(ctx, before)
}

// group is the witnesses in tessera's words.
func (c Config) group() (tessera.WitnessGroup, error) {
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return tessera.WitnessGroup{}, albs.Errorf(albs.Invalid, "%d of %d witnesses can't cosign", c.Quorum, len(c.Witnesses))
	}
	g := tessera.WitnessGroup{N: c.Quorum}
	for _, w := range c.Witnesses {
		if err := w.Check(); err != nil {
			return g, err
		}
		u, err := url.Parse(w.URL)
		if err != nil {
			return g, albs.Errorf(albs.Invalid, "%.200q is no URL of a witness: %w", w.URL, err)
		}
		x, err := tessera.NewWitness(w.Key, u)
		if err != nil {
			return g, albs.Errorf(albs.Invalid, "the witness at %.200s can't be used: %w", w.URL, err)
		}
		g.Components = append(g.Components, x)
	}
	return g, nil
}

// Check returns what is wrong with a witness as it is configured, as Invalid.
func (w Witness) Check() error {
	u, err := url.Parse(w.URL)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" {
		return albs.Errorf(albs.Invalid, "%.200q is no http or https URL of a witness", w.URL)
	}
	_, err = witnessKey(w.Key)
	return err
}

// holds proves that the log's folder has all of what is remembered, leaf for leaf.
func (l *Log) holds(ctx context.Context, before Checkpoint) error {
	if before.Size == 0 {
		return nil
	}
	root, err := l.root(ctx, before.Size)
	if errors.Is(err, fs.ErrNotExist) {
		return albs.Errorf(albs.Conflict, "the log %s lacks some of the %d leaves that were published: it was put back, or is elsewhere", before.Origin, before.Size)
	}
	if err != nil {
		return err
	}
	if root != before.Root {
		return albs.Errorf(albs.Conflict, "the log %s has other leaves than the %d that were published", before.Origin, before.Size)
	}
	return nil
}

// whole fails unless the tree is as large as what was published of it.
func (l *Log) whole(ctx context.Context, before Checkpoint) error {
	published, err := l.Checkpoint(l.vkey)
	if errors.Is(err, albs.NotFound) {
		published, err = Checkpoint{}, nil // its making was cut short
	}
	if err != nil {
		return err
	}
	size, err := l.Size(ctx)
	if err != nil {
		return err
	}
	if most := max(before.Size, published.Size); size < most {
		return albs.Errorf(albs.Conflict, "the log %s has %d leaves, and %d were published: it was put back", l.origin, size, most)
	}
	return nil
}

// Append appends leaves and returns the index of each. On return they are on disk and in
// the tree, and a checkpoint that tells of them is on its way. After an error some of
// them may be in the log: look there before they are appended again.
func (l *Log) Append(ctx context.Context, leaves ...[]byte) ([]uint64, error) {
	type placed struct {
		index uint64
		err   error
	}
	done := make(chan []placed, 1)
	begun := l.begin(func() {
		var futures []tessera.IndexFuture
		for _, leaf := range leaves {
			futures = append(futures, l.add(l.ctx, tessera.NewEntry(leaf)))
		}
		var out []placed
		for _, f := range futures {
			i, err := f()
			out = append(out, placed{i.Index, err})
		}
		done <- out
	})
	if !begun {
		return nil, albs.Errorf(albs.Unavailable, "the log was closed")
	}
	select {
	case <-ctx.Done():
		return nil, ctx.Err()
	case <-l.ctx.Done():
		return nil, albs.Errorf(albs.Unavailable, "the log was closed")
	case all := <-done:
		var out []uint64
		for _, p := range all {
			if p.err != nil {
				return nil, disk.Trouble(p.err, "append to the log")
			}
			out = append(out, p.index)
		}
		return out, nil
	}
}

// Size returns how many leaves the log has, published or not.
func (l *Log) Size(ctx context.Context) (uint64, error) {
	n, err := l.size(ctx)
	if err != nil {
		return 0, fmt.Errorf("read the size of the log: %w", err)
	}
	return n, nil
}

// Published waits until a checkpoint of size leaves or more is published, and returns it.
func (l *Log) Published(ctx context.Context, size uint64) (Checkpoint, error) {
	t := time.NewTicker(min(l.every, 100*time.Millisecond))
	defer t.Stop()
	for {
		c, err := l.Checkpoint(l.vkey)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return c, err
		}
		if err == nil && c.Size >= size {
			return c, nil
		}
		select {
		case <-ctx.Done():
			return Checkpoint{}, ctx.Err()
		case <-l.ctx.Done():
			return Checkpoint{}, albs.Errorf(albs.Unavailable, "the log was closed")
		case <-t.C:
		}
	}
}

// begin has do run, which Close waits for, and reports whether the log is open.
func (l *Log) begin(do func()) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.closed {
		l.adding.Go(do)
	}
	return !l.closed
}

// Close ends it, once what is being appended is in the tree and published, if that is
// soon: nothing writes to the folder when another may open it. What was appended stays; a
// checkpoint that wasn't published yet is when the log is next open.
func (l *Log) Close() error {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), closeTimeout)
	defer cancel()
	added := make(chan struct{})
	go func() { l.adding.Wait(); close(added) }()
	select {
	case <-added:
		if l.end != nil {
			_ = l.end(ctx) // the witnesses may take their time
		}
	case <-ctx.Done():
	}
	l.cancel()
	return disk.Unlock(l.lock)
}
