// Package monitor reads back what the public sees of advisories, as readers do, and compares
// it with what a product is to show: every advisory against every repository that has
// packages of it.
//
// It reads the metadata of the repositories from the public place itself, whoever keeps that,
// and believes of it only what repomd.xml names by sha256; of packages it asks whether their
// files are there. What it finds is kept, told when it changes, and an alarm until it is gone:
// also where only packages have changed.
package monitor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/publish"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/repo"
	"albs/internal/repodata"
)

// Config is the configuration of the monitor.
type Config struct {
	// Every is how often what is public is read back; 0 is ten minutes.
	Every time.Duration `yaml:"check"`
}

// Check returns what is wrong with the configuration, as Invalid.
func (c Config) Check() error {
	if c.Every != 0 && c.Every < time.Second {
		return albs.Errorf(albs.Invalid, "check: %v is too often; 10m is usual", c.Every)
	}
	return nil
}

const every = 10 * time.Minute

// Parts are the modules that the monitor rests on.
type Parts struct {
	DB        *db.DB
	Events    *event.Log
	Artifacts *artifact.Artifacts
	Platforms *platform.Platforms
	Products  *product.Products
	Repos     *repo.Repos
	Releases  Releases
	Outside   Outside
	Log       zerolog.Logger
}

// Releases tell what is being published; release.Releases do.
type Releases interface {
	Publishing(ctx context.Context, product string) (albs.ReleaseID, error)
}

// Monitor compares. It may be used concurrently.
type Monitor struct {
	Parts
	config Config
	found  prometheus.Gauge

	mu    sync.Mutex
	known map[string]known // by the URL of a repository
}

// known is what was found in a repository, which holds for a while as long as neither its
// repomd.xml nor what is shown has changed; of files it is what was found so far.
type known struct {
	at            time.Time
	repomd, shown albs.Digest
	troubles      []Trouble
	files         []file             // that advisories name, by path
	after         string             // the path that was looked at last
	lost          map[string]Trouble // by path
}

// New returns a Monitor over its parts. It does no I/O.
func New(p Parts, c Config) *Monitor {
	if c.Every == 0 {
		c.Every = every
	}
	return &Monitor{Parts: p, config: c, known: map[string]known{}, found: prometheus.NewGauge(prometheus.GaugeOpts{
		Name: "albs_errata_troubles", Help: "In how much the public repositories differ from the advisories that are shown, as the last checks found; 0 before the first.",
	})}
}

// Metrics are the module's, to be registered once.
func (m *Monitor) Metrics() []prometheus.Collector { return []prometheus.Collector{m.found} }

// Result is what a check of a product found.
type Result struct {
	Product string `json:"product"`
	// Serial is what the product showed, Advisories how many there were.
	Serial     int64     `json:"serial"`
	Advisories int       `json:"advisories"`
	Checked    time.Time `json:"checked"`
	// Since is when the troubles became these.
	Since    time.Time `json:"since"`
	Troubles []Trouble `json:"troubles"`
	// More counts those beyond MaxTroubles.
	More int `json:"more,omitempty"`
	// Unchecked says of platforms why nothing of them could be checked.
	Unchecked []string `json:"unchecked,omitempty"`
}

// MaxTroubles bounds the troubles that are kept of one product.
const MaxTroubles = 1000

// Topic is where the events of a product's checks are told.
func Topic(product string) string { return "product:" + product }

// The kinds of events: troubles were found, others than before, and there are none any more.
const (
	Found   = "errata.trouble"
	Cleared = "errata.sound"
)

// Event is the data of both.
type Event struct {
	Product  string   `json:"product"`
	Serial   int64    `json:"serial"`
	Count    int      `json:"count"`
	Troubles []string `json:"troubles,omitempty"` // the first of them
}

const maxTold = 50

// Last returns what the last check of a product found; NotFound if there was none. Anyone
// may ask.
func (m *Monitor) Last(ctx context.Context, product string) (Result, error) {
	return load(ctx, m.DB, product)
}

// Check checks a product now and returns what was found; it is kept. All files are read, also
// of repositories whose repomd.xml is as it was. Errors: NotFound,
// Forbidden without errata.release on the product's team; Conflict if the product comes to
// show something else all the time, or something is amiss while a release of it is being
// published.
func (m *Monitor) Check(ctx context.Context, name string) (Result, error) {
	p, err := m.Products.Get(ctx, name)
	if err != nil {
		return Result{}, err
	}
	if err := auth.Can(ctx, auth.ErrataRelease, p.Object()); err != nil {
		return Result{}, err
	}
	return m.check(ctx, p, depth{since: time.Now(), files: filesAsked})
}

// anew is how long what was read of a repository is believed while its repomd.xml is the same:
// a file beside it may be lost all the same.
const anew = 24 * time.Hour

// Run checks all products that show advisories, now and again, until ctx is done.
func (m *Monitor) Run(ctx context.Context) error {
	ctx = auth.System(ctx, "what the public sees of advisories")
	return m.DB.Leader(ctx, "errata/monitor", func(ctx context.Context) error {
		t := time.NewTicker(m.config.Every)
		defer t.Stop()
		for {
			m.all(ctx)
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-t.C:
			}
		}
	})
}

func (m *Monitor) all(ctx context.Context) {
	products, err := m.Products.All(ctx)
	if ctx.Err() != nil {
		return
	}
	if err != nil {
		m.Log.Error().Err(err).Msg("what the public sees of advisories can't be checked")
		return
	}
	n, whole := 0, true
	for _, p := range products {
		r, err := m.check(ctx, p, depth{since: time.Now().Add(-anew), files: filesAtOnce})
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			told := m.Log.Error()
			if errors.Is(err, albs.Conflict) { // a release; the next check will do
				told = m.Log.Info()
			}
			told.Err(err).Str("product", p.Name).Msg("what the public sees of advisories can't be checked")
			if r, err = m.Last(ctx, p.Name); err != nil && !errors.Is(err, albs.NotFound) { // what was found before counts on
				m.Log.Error().Err(err).Str("product", p.Name).Msg("what was found of advisories can't be read; the metric stays as it was")
				whole = false
			}
		}
		n += len(r.Troubles) + r.More
	}
	if whole {
		m.found.Set(float64(n))
	}
}

const tries = 3

// depth is how much of a repository is looked at.
type depth struct {
	since time.Time // what was read before isn't believed any more
	files int       // of packages, that are asked for
}

// check compares what a product is to show with what the public sees. A release in between is
// no trouble: then it begins anew. While one is being published, the public may see it before
// the product is said to show it: what looks like trouble then is a Conflict.
func (m *Monitor) check(ctx context.Context, p product.Product, how depth) (Result, error) {
	for range tries {
		begun, err := m.Releases.Publishing(ctx, p.Name)
		if err != nil {
			return Result{}, err
		}
		before, err := m.Repos.TreeOf(ctx, p.Name)
		if errors.Is(err, albs.NotFound) {
			return Result{Product: p.Name, Troubles: []Trouble{}}, nil
		}
		if err != nil {
			return Result{}, err
		}
		tree, err := m.Repos.ReadTree(ctx, before.Digest)
		if err != nil {
			return Result{}, err
		}
		found, err := m.compare(ctx, p, tree, how)
		if err != nil {
			return Result{}, err
		}
		after, err := m.Repos.TreeOf(ctx, p.Name)
		if err != nil {
			return Result{}, err
		}
		running, err := m.Releases.Publishing(ctx, p.Name)
		if err != nil {
			return Result{}, err
		}
		switch now := max(begun, running); {
		case after.Serial != before.Serial:
		case now != 0 && len(found.Troubles) > 0:
			return Result{}, albs.Errorf(albs.Conflict, "release %d of product %s is being published: check the product when that has ended", now, p.Name)
		default:
			return m.keep(ctx, found)
		}
	}
	return Result{}, albs.Errorf(albs.Conflict, "product %s showed something else each time that it was read: check it again", p.Name)
}

// compare checks all platforms of a product.
func (m *Monitor) compare(ctx context.Context, p product.Product, tree repodata.Tree, how depth) (Result, error) {
	out := Result{Product: p.Name, Serial: tree.Serial, Checked: db.Now().Time, Troubles: []Trouble{}}
	byPlatform := map[string][]albs.Digest{}
	for path, d := range publish.Published(tree) {
		platform := strings.Split(path, "/")[1]
		byPlatform[platform] = append(byPlatform[platform], d)
	}
	shows := map[string]bool{}
	for _, r := range tree.Repositories {
		shows[r.Path] = true
	}
	for _, name := range p.Platforms {
		if len(byPlatform[name]) == 0 {
			continue
		}
		as, err := m.advisories(ctx, byPlatform[name])
		if err != nil {
			return out, err
		}
		out.Advisories += len(as)
		at, err := m.place(ctx, name)
		if err != nil && albs.KindOf(err) != albs.Invalid {
			return out, err
		}
		if err != nil {
			out.Unchecked = append(out.Unchecked, err.Error())
			continue
		}
		shown := digestOf(byPlatform[name])
		for _, r := range p.Repositories {
			if r.Platform != name || !shows[r.Path] {
				continue
			}
			found, err := m.repository(ctx, at, name, r.Path, as, shown, how)
			if errors.Is(err, albs.Forbidden) {
				out.Unchecked = append(out.Unchecked, fmt.Sprintf("platform %s: the master may not read what is public (egress.allow in its configuration lets it): %v", name, err))
				break
			}
			if err != nil {
				return out, err
			}
			out.Troubles = append(out.Troubles, found...)
		}
	}
	if n := len(out.Troubles) - MaxTroubles; n > 0 {
		out.Troubles, out.More = out.Troubles[:MaxTroubles], n
	}
	return out, nil
}

// repository checks one repository against the advisories that are shown, whose digest shown
// is; one that can't be read is a trouble, but what the master may not read is Forbidden.
func (m *Monitor) repository(ctx context.Context, at place, platform, path string, as []advisory.Advisory, shown albs.Digest, how depth) ([]Trouble, error) {
	md, err := at.repomd(ctx, path)
	if err == nil {
		m.mu.Lock()
		is := m.known[at.root+"/"+path]
		m.mu.Unlock()
		if now := albs.DigestOf(md); is.repomd != now || is.shown != shown || is.at.Before(how.since) {
			read := time.Now()
			var in listed
			if in, err = at.repository(ctx, path, md, as); err == nil {
				is.at, is.repomd, is.shown = read, now, shown
				is.troubles, is.files = compare(platform, path, as, in), filesOf(path, as, in)
			}
		}
		if err == nil {
			err = at.look(ctx, &is, platform, path, how.files)
		}
		if err == nil {
			m.mu.Lock()
			m.known[at.root+"/"+path] = is
			m.mu.Unlock()
			return is.all(), nil
		}
	}
	m.mu.Lock()
	delete(m.known, at.root+"/"+path) // what it was before is no answer any more
	m.mu.Unlock()
	switch {
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case errors.Is(err, albs.Forbidden):
		return nil, err
	}
	return []Trouble{{Kind: Unread, Platform: platform, Repository: path, Detail: err.Error()}}, nil
}

// digestOf returns the digest of a set of digests.
func digestOf(ds []albs.Digest) albs.Digest {
	ds = slices.Sorted(slices.Values(ds))
	return albs.DigestOf(fmt.Append(nil, ds))
}

func (m *Monitor) place(ctx context.Context, platform string) (place, error) {
	pf, err := m.Platforms.Get(ctx, platform)
	if err != nil {
		return place{}, err
	}
	d, err := errata.Distribution(pf)
	if err != nil {
		return place{}, err
	}
	root, err := rootOf(d)
	return place{m.Outside, root}, err
}

// advisories reads those that are shown.
func (m *Monitor) advisories(ctx context.Context, ds []albs.Digest) ([]advisory.Advisory, error) {
	out := make([]advisory.Advisory, 0, len(ds))
	for _, d := range ds {
		body, err := m.Artifacts.Blobs().Open(ctx, d)
		if err != nil {
			return nil, fmt.Errorf("read an advisory that is shown: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(body, advisory.MaxBytes+1))
		if err := errors.Join(err, body.Close()); err != nil {
			return nil, fmt.Errorf("read an advisory that is shown: %w", err)
		}
		a, err := advisory.Parse(b)
		if err != nil {
			return nil, fmt.Errorf("read an advisory that is shown: %w", err)
		}
		out = append(out, a)
	}
	slices.SortFunc(out, func(x, y advisory.Advisory) int { return strings.Compare(x.ID, y.ID) })
	return out, nil
}

// keep writes what was found, and tells of it if it is something else than before.
func (m *Monitor) keep(ctx context.Context, r Result) (Result, error) {
	err := m.DB.InTx(ctx, func(tx db.Tx) error {
		was, err := load(ctx, tx, r.Product)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return err
		}
		same := err == nil && slices.Equal(was.Troubles, r.Troubles) && was.More == r.More
		r.Since = r.Checked
		if same {
			r.Since = was.Since
		}
		if err := save(ctx, tx, r); err != nil {
			return err
		}
		kind := Found
		switch {
		case same, len(r.Troubles) == 0 && len(was.Troubles) == 0:
			return nil
		case len(r.Troubles) == 0 && len(r.Unchecked) > 0:
			return nil // nobody knows that they are gone
		case len(r.Troubles) == 0:
			kind = Cleared
		}
		told := Event{Product: r.Product, Serial: r.Serial, Count: len(r.Troubles) + r.More}
		for _, t := range r.Troubles[:min(len(r.Troubles), maxTold)] {
			told.Troubles = append(told.Troubles, cut(t.String()))
		}
		return m.Events.Add(ctx, tx, kind, Topic(r.Product), auth.From(ctx).String(), told)
	})
	if err != nil {
		return Result{}, fmt.Errorf("keep what was found of product %s: %w", r.Product, err)
	}
	return r, nil
}

// cut bounds a sentence, so that an event can hold some.
func cut(s string) string {
	const most = 500
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
