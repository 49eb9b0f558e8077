// Package transparency has every released package entered into a public log, and what is
// told of it laid beside it in the public place: its statements, their proof in the ledger
// and its proof in the log. A package that a release or a rollback withdraws is entered too,
// as such.
//
// It owns the rows of logs and of leaves on their way. Which packages are released is
// release's to say, what is true of them provenance's, how a log is kept tlog's, and what
// of the public place may be written the releaser's.
//
// A leaf goes step by step, and each step that was done is a row: it waits until all
// statements about its package are in the ledger; what they say then is fixed as files,
// whose digest the leaf has; it is appended to the log; once a checkpoint tells of it, it
// is proven; and a task of the kind prove has a releaser lay the files. Events wake, rows
// decide: whoever dies goes on where the rows are. What was appended and not noted is
// looked for in the log before anything is appended again, so that a leaf is there once.
// Of a withdrawal nothing is laid: it is done when a checkpoint tells of it.
//
// A log that doesn't have what was published of it gets nothing more: it would tell two
// stories. An operator begins a new one, under another origin.
package transparency

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/tlog"
)

// Config holds what an operator may set.
type Config struct {
	// Dir is where the logs and their keys are; a folder that several masters share has
	// to be named here.
	Dir string `yaml:"dir"`
	// Origin is the name of the log, as "log.example.org/albs". Another one than before
	// begins a new log. Without it the first one is named by the master's own host.
	Origin string `yaml:"origin"`
	// Witnesses cosign what the log says, and Quorum of them have to.
	Witnesses []tlog.Witness `yaml:"witnesses"`
	Quorum    int            `yaml:"quorum"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error {
	if c.Dir != "" && !filepath.IsAbs(c.Dir) {
		return albs.Errorf(albs.Invalid, "dir: %.200q isn't an absolute path", c.Dir)
	}
	if c.Origin != "" {
		if err := tlog.CheckOrigin(c.Origin); err != nil {
			return fmt.Errorf("origin: %w", err)
		}
	}
	for i, w := range c.Witnesses {
		if err := w.Check(); err != nil {
			return fmt.Errorf("witnesses[%d]: %w", i, err)
		}
		for _, o := range c.Witnesses[:i] {
			if o.Key == w.Key {
				return albs.Errorf(albs.Invalid, "witnesses[%d]: another one has the same key", i)
			}
		}
	}
	if c.Quorum < 0 || c.Quorum > len(c.Witnesses) {
		return albs.Errorf(albs.Invalid, "quorum: %d of %d witnesses can't cosign", c.Quorum, len(c.Witnesses))
	}
	return nil
}

// Releases tell what was released and withdrawn; release.Releases do.
type Releases interface {
	Added(ctx context.Context, id albs.ReleaseID) ([]release.Added, error)
	EachAdded(ctx context.Context, yield func(release.Added) error) error
	Withdrawn(ctx context.Context, id albs.ReleaseID) ([]release.Withdrawn, error)
	EachWithdrawn(ctx context.Context, yield func(release.Withdrawn) error) error
}

// Parts are the modules that the transparency of releases rests on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Releases   Releases
	// URL is the master's own, by which the first log is named.
	URL string
	// Client reaches the witnesses.
	Client *http.Client
	Log    zerolog.Logger
}

// Transparency keeps the logs. It may be used concurrently.
type Transparency struct {
	Parts
	config  Config
	store   store
	metrics metrics

	mu       sync.Mutex
	troubles map[string]error // by what was tried; empty is well
	refused  map[albs.Digest]bool
	refusal  string // the last one since a checkpoint was published

	patience time.Duration // publishTimeout
}

// New returns the transparency of a master and registers the handler of the kind prove.
// It does no I/O.
func New(p Parts, c Config) *Transparency {
	t := &Transparency{
		Parts: p, config: c, store: store{p.DB}, metrics: newMetrics(),
		troubles: map[string]error{}, refused: map[albs.Digest]bool{}, patience: publishTimeout,
	}
	p.Queue.Register(albs.KindProve, handler{t})
	p.Artifacts.Root("transparency", t.roots)
	return t
}

// topic is what wakes whoever carries leaves on.
const topic = "transparency"

// Times of the loop.
const (
	lookEvery  = 10 * time.Second // looks without being woken
	checkFirst = time.Hour        // after the start
	checkEvery = 24 * time.Hour
)

// Run enters what is released into the log and has it laid beside the packages, until ctx
// is done, whose error it returns. Of several masters one does so.
func (t *Transparency) Run(ctx context.Context) error {
	ctx = auth.System(ctx, "the public log of releases")
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return t.Events.Follow(ctx, "transparency", t.follow) })
	g.Go(func() error { return t.DB.Leader(ctx, "transparency", t.lead) })
	return g.Wait()
}

// follow takes in what a release added and withdrew.
func (t *Transparency) follow(ctx context.Context, e event.Event) error {
	if e.Kind != release.EventPublished {
		return nil
	}
	var published release.Event
	if err := json.Unmarshal(e.Data, &published); err != nil {
		t.Log.Error().Err(err).Int64("event_id", e.ID).Msg("an event of a release cannot be read; albs transparency check tells what is missing in the log")
		return nil
	}
	added, err := t.Releases.Added(ctx, published.Release)
	if err != nil {
		return err
	}
	withdrawn, err := t.Releases.Withdrawn(ctx, published.Release)
	if err != nil {
		return err
	}
	return t.take(ctx, added, withdrawn, db.Now())
}

// take makes leaves of what was released and withdrawn, unless there are some.
func (t *Transparency) take(ctx context.Context, added []release.Added, withdrawn []release.Withdrawn, at db.Time) error {
	if len(added) == 0 && len(withdrawn) == 0 {
		return nil
	}
	return t.DB.InTx(ctx, func(tx db.Tx) error {
		tx.AfterCommit(func() { t.Events.Nudge(topic) })
		if err := t.store.take(ctx, tx, added, false, at); err != nil {
			return err
		}
		return t.store.take(ctx, tx, withdrawn, true, at)
	})
}

func (t *Transparency) lead(ctx context.Context) error {
	wake, stop := t.Events.Wake(topic)
	defer stop()
	stated, stopStated := t.Events.Wake(provenance.Topic)
	defer stopStated()
	check := time.NewTimer(checkFirst)
	defer check.Stop()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		waits, err := t.carry(ctx)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		notarized := stated
		if !waits || err != nil {
			notarized = nil // nothing waits for the ledger, or trouble isn't mended by it
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-wake:
		case <-notarized:
		case <-look.C:
		case <-check.C:
			if _, err := t.check(ctx); err != nil && ctx.Err() == nil {
				t.Log.Error().Err(err).Msg("the public log couldn't be checked")
			}
			check.Reset(checkEvery)
		}
	}
}

// carry brings all leaves as far as they go, and reports whether some wait for the ledger.
func (t *Transparency) carry(ctx context.Context) (waits bool, err error) {
	steps := []struct {
		name string
		do   func(context.Context) error
	}{
		{"statements", func(ctx context.Context) (err error) { waits, err = t.fix(ctx); return err }},
		{"log", t.enter},
		{"public place", t.ask},
	}
	var first error
	for _, s := range steps {
		err := s.do(ctx)
		if ctx.Err() != nil {
			return waits, ctx.Err()
		}
		t.trouble(s.name, err)
		if first == nil {
			first = err
		}
	}
	return waits, first
}

// trouble notes how a step went, and says so once.
func (t *Transparency) trouble(step string, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	was := t.troubles[step]
	switch {
	case err == nil && was != nil:
		delete(t.troubles, step)
		t.Log.Info().Str("step", step).Msg("the public log goes on")
	case err != nil && (was == nil || was.Error() != err.Error()):
		t.troubles[step] = err
		t.Log.Error().Err(err).Str("step", step).Msg("the public log of releases stands; it is tried again")
	}
}

// Healthy returns nil while released packages reach the log and their place, else what
// stands in the way: Conflict if the log isn't the one that was published, or a witness
// refuses to cosign it.
func (t *Transparency) Healthy() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, step := range []string{"log", "statements", "public place", "check"} {
		if err := t.troubles[step]; err != nil {
			return err
		}
	}
	return nil
}

// folder returns where a log is, and the file of its key.
func (t *Transparency) folder(id int64) (dir, key string) {
	n := strconv.FormatInt(id, 10)
	return filepath.Join(t.config.Dir, n), filepath.Join(t.config.Dir, n+".key")
}

// origin is how the first log is named where nobody said.
func (t *Transparency) origin() string {
	if t.config.Origin != "" {
		return t.config.Origin
	}
	host := "albs"
	if u, err := url.Parse(t.URL); err == nil && u.Hostname() != "" {
		host = u.Hostname()
	}
	return host + "/releases"
}

// Policy is what a stranger needs to verify proofs of the logs: the keys of all that
// there ever were, and of the witnesses. Nil while there is none.
func (t *Transparency) Policy(ctx context.Context) (*tlog.Policy, error) {
	logs, err := t.store.logs(ctx, t.DB)
	if err != nil || len(logs) == 0 {
		return nil, err
	}
	p := &tlog.Policy{Quorum: t.config.Quorum}
	for _, l := range logs {
		p.Logs = append(p.Logs, l.VKey)
	}
	for _, w := range t.config.Witnesses {
		p.Witnesses = append(p.Witnesses, w.Key)
	}
	return p, nil
}

// Files are the digests of what lies beside a released package: each is kept, and the
// log's proof is about these statements and no others.
type Files struct{ Statements, LedgerProof, LogProof albs.Digest }

// Beside returns what lies beside a signed package that the public log proves to be
// released: of several releases that of the last, whose statements tell of all. Anyone may
// ask. NotFound if there is no proof of it, or not yet.
func (t *Transparency) Beside(ctx context.Context, d albs.Digest) (Files, error) {
	l, err := t.store.beside(ctx, t.DB, d)
	if err != nil {
		return Files{}, err
	}
	return Files{Statements: l.Statements, LedgerProof: l.LedgerProof, LogProof: l.LogProof}, nil
}

// roots are the files beside packages: they may be laid anew as long as the package is
// kept, which is for ever.
func (t *Transparency) roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	ds, err := t.store.files(ctx, t.DB)
	if err != nil {
		return err
	}
	for _, d := range ds {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}
