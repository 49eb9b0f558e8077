// Package master is the role that decides: it opens the database, the blobs and
// the ledger, builds the modules over them, and serves their faces (API, pages,
// repositories and the workers' wire) while their loops run.
//
// It is wiring and nothing else: which module gets which, in which order they
// start, and that they end together. A rule found here is in the wrong place.
package master

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/keyfile"
	"albs/internal/blob"
	"albs/internal/blob/scrub"
	"albs/internal/disk"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/ledger"
	"albs/internal/master/api"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/bill"
	"albs/internal/master/build"
	"albs/internal/master/content"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/event"
	"albs/internal/master/gc"
	"albs/internal/master/notice"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/queue/keep"
	"albs/internal/master/rebuild"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/retention"
	"albs/internal/master/sign"
	"albs/internal/master/source"
	"albs/internal/master/source/notary"
	"albs/internal/master/stream"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
	"albs/internal/master/ui"
	"albs/internal/telemetry"
	"albs/internal/worker"
)

// Config holds what an operator may set.
type Config struct {
	Database db.Config     `yaml:"database"`
	Blobs    Blobs         `yaml:"blobs"`
	Ledger   Ledger        `yaml:"ledger"`
	Queue    queue.Config  `yaml:"queue"`
	Build    build.Config  `yaml:"build"`
	Sources  source.Limits `yaml:"sources"`
	Notarize notary.Config `yaml:"notarize"`
	API      api.Config    `yaml:"api"`
	// Transparency says where the public log of releases is, and who witnesses it.
	Transparency transparency.Config `yaml:"transparency"`
	// Collect says what is kept for how long.
	Collect gc.Config `yaml:"collect"`
	// SBOM says who gives bills of materials.
	SBOM bill.Config `yaml:"sbom"`
	// Errata says how often what is public of advisories is read back.
	Errata monitor.Config `yaml:"errata"`
	// Notices says how mail goes out.
	Notices notice.Config `yaml:"notices"`
	// Egress says what the master may reach: git hosts, look-aside caches, mirrors.
	Egress egress.Policy `yaml:"egress"`

	// Dir is the master's own directory; nobody else reads it.
	Dir string `yaml:"-"`
	// Listen is the address of the faces; port 0 takes a free one.
	Listen string `yaml:"-"`
	// URL is how people and workers reach the faces, for links.
	URL string `yaml:"-"`
	// Version is the program's.
	Version string `yaml:"-"`
}

// Blobs says where the bytes of all files are.
type Blobs struct {
	// S3 is the bucket that holds them; without one the master's directory does.
	S3 blob.S3Config `yaml:"s3"`
	// Scrub is how often all of them are read to see whether they are still right;
	// scrub.Every if 0.
	Scrub time.Duration `yaml:"scrub"`
	// Copies are folders on this host from which a file whose bytes have rotted is put
	// back, as scrub.Folder reads them.
	Copies []string `yaml:"copies"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (b Blobs) Check() error {
	if b.Scrub < 0 {
		return albs.Errorf(albs.Invalid, "scrub is below zero")
	}
	for _, dir := range b.Copies {
		if !filepath.IsAbs(dir) {
			return albs.Errorf(albs.Invalid, "copies: %.200q isn't an absolute path", dir)
		}
	}
	if err := b.S3.Check(); err != nil {
		return fmt.Errorf("s3: %w", err)
	}
	return nil
}

// open opens the store, with what it keeps on this machine under dir. Invalid if the
// blobs were elsewhere when the master last ran: it would miss every one of them.
func (b Blobs) open(ctx context.Context, dir string) (blob.Store, error) {
	local, cache := filepath.Join(dir, "blobs"), filepath.Join(dir, "blob-cache")
	inS3 := b.S3 != (blob.S3Config{})
	other := cache
	if inS3 {
		other = local
	}
	if _, err := os.Lstat(other); !errors.Is(err, fs.ErrNotExist) {
		return nil, albs.Errorf(albs.Invalid, "the blobs were elsewhere when this master last ran, for it left %s: bring them over as docs/operations.md says, then remove that folder", other)
	}
	if inS3 {
		return blob.NewS3(ctx, b.S3, cache)
	}
	return blob.NewDir(local)
}

// Ledger says where the ledger is.
type Ledger struct {
	// Server is the immudb server that has it; without one the master's directory does,
	// and then there can be no second master.
	Server ledger.ServerConfig `yaml:"server"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (l Ledger) Check() error {
	if l.Server == (ledger.ServerConfig{}) {
		return nil
	}
	if err := l.Server.Check(); err != nil {
		return fmt.Errorf("server: %w", err)
	}
	return nil
}

// open opens the ledger, in dir if it is on no server. A server may be away: what
// waits for it is kept in the outbox. One that refuses won't come to its senses.
func (l Ledger) open(ctx context.Context, dir string, log zerolog.Logger) (ledger.Ledger, error) {
	if l.Server == (ledger.ServerConfig{}) {
		return ledger.OpenEmbedded(dir)
	}
	s, err := ledger.OpenServer(l.Server)
	if err != nil {
		return nil, err
	}
	switch _, err := s.State(ctx); {
	case errors.Is(err, albs.Unavailable):
		log.Warn().Err(err).Msg("the ledger's server is away: statements wait for it")
	case err != nil:
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Master is an open master.
type Master struct {
	config     Config
	log        zerolog.Logger
	lock       *os.File // of the directory
	db         *db.DB
	scrub      *scrub.Scrubber
	ledger     ledger.Ledger
	auth       *auth.Auth
	events     *event.Log
	queue      *queue.Queue
	prov       *provenance.Provenance
	checker    *provenance.Checker
	streams    *stream.Streams
	notary     *notary.Notary
	builds     *build.Builds
	suites     *suite.Suites // of tests, of the packages' own
	tests      *testrun.Tests
	signs      *sign.Signing
	releases   *release.Releases
	errata     *errata.Errata
	matching   *matching.Matching
	monitor    *monitor.Monitor // of what the public sees of advisories
	notices    *notice.Notices
	bills      *bill.Bills
	public     *transparency.Transparency // the public log of releases
	references *reference.Index
	gc         *gc.Collector
	products   *product.Products
	health     *telemetry.Health
	handler    http.Handler
	listener   net.Listener

	// AdminToken is the first admin's token, new at each start until one was used;
	// "" from then on.
	AdminToken string
}

// Open opens everything that the master keeps in c.Dir, which it makes, brings
// the schema up to date and binds the listener. Nothing is served and no loop
// runs before Run. Conflict if another process uses the directory.
func Open(ctx context.Context, c Config, log zerolog.Logger) (m *Master, err error) {
	m = &Master{config: c, log: log, health: telemetry.NewHealth("ledger")}
	defer func() {
		if err != nil {
			err = errors.Join(err, m.Close())
		}
	}()
	if m.lock, err = takeDir(c.Dir); err != nil {
		return m, err
	}
	path := func(name string) string { return filepath.Join(c.Dir, name) }

	c.Database.File, c.Database.Log = path("albs.db"), log
	if m.db, err = db.Open(ctx, c.Database); err != nil {
		return m, err
	}
	blobs, err := c.Blobs.open(ctx, c.Dir)
	if err != nil {
		return m, err
	}
	staging, err := blob.NewStaging(path("staging"))
	if err != nil {
		return m, err
	}
	if m.ledger, err = c.Ledger.open(ctx, path("ledger"), log); err != nil {
		return m, err
	}
	key, err := keyfile.LoadOrCreate(path("master.key"))
	if err != nil {
		return m, err
	}
	out, err := egress.New(c.Egress)
	if err != nil {
		return m, err
	}
	mirrors, err := git.New(path("git"), out)
	if err != nil {
		return m, err
	}

	m.events = event.New(m.db, log)
	m.auth = auth.New(m.db, m.events, log)
	artifacts := artifact.New(m.db, blobs, staging)
	m.scrub, err = scrub.New(blobs, path("scrub.json"), scrub.Options{
		Every: c.Blobs.Scrub, Copies: c.Blobs.copies(scrub.Cache(blobs)), What: m.what(artifacts),
	}, log)
	if err != nil {
		return m, err
	}
	c.Queue.LogDir, c.Queue.LocalDir = path("logs"), path("local")
	if m.queue, err = queue.New(m.db, m.events, artifacts, blobs, c.Queue, log); err != nil {
		return m, err
	}
	artifacts.Root("queue", keep.Roots(m.db))
	m.prov = provenance.New(m.db, m.events, artifacts, m.ledger, attest.NewSigner(key), log)
	m.queue.Vet(m.prov.Meet)
	m.streams = stream.New(stream.Parts{DB: m.db, Events: m.events, Queue: m.queue, Provenance: m.prov, Log: log})
	if m.checker, err = provenance.NewChecker(m.prov, path("ledger-check.json")); err != nil {
		return m, err
	}
	repos := repo.New(m.db, artifacts, m.events)
	platforms := platform.New(m.db, m.events, out, repos, log)
	artifacts.Root("platform", platforms.Roots)
	m.references = reference.New(m.db, artifacts, platforms, out, log)
	m.products = product.New(m.db, m.events, platforms)
	sources := source.New(m.db, artifacts, mirrors, out, c.Sources)
	m.notary, err = notary.New(notary.Parts{DB: m.db, Events: m.events, Queue: m.queue, Provenance: m.prov, Git: mirrors, Log: log}, c.Notarize)
	if err != nil {
		return m, err
	}
	if m.listener, err = net.Listen("tcp", c.Listen); err != nil {
		return m, albs.Errorf(albs.Unavailable, "can't listen on %s: %w; --listen names another ADDRESS:PORT, of which port 0 takes a free one", c.Listen, err)
	}
	if c.URL == "" {
		c.URL = "http://" + m.listener.Addr().String()
	}
	m.config = c
	m.builds = build.New(build.Parts{
		DB: m.db, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov, Sources: sources,
		Platforms: platforms, Products: m.products, Repos: repos, Log: log,
	}, c.Build)
	m.suites = suite.New(suite.Parts{
		DB: m.db, Events: m.events, Auth: m.auth, Queue: m.queue, Artifacts: artifacts, Sources: sources, Builds: m.builds, Log: log,
	})
	m.tests = testrun.New(testrun.Parts{
		DB: m.db, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov,
		Platforms: platforms, References: m.references, Products: m.products, Repos: repos, Builds: m.builds, Suites: m.suites, Log: log,
	})
	m.signs = sign.New(sign.Parts{
		DB: m.db, Events: m.events, Auth: m.auth, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov,
		Products: m.products, Builds: m.builds, Tests: m.tests,
	})
	rebuilds := rebuild.New(rebuild.Parts{
		DB: m.db, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov, Repos: repos, Builds: m.builds, Log: log,
	})
	records := record.New(record.Parts{DB: m.db, Events: m.events, Artifacts: artifacts, Provenance: m.prov, Products: m.products})
	m.releases = release.New(release.Parts{
		DB: m.db, Events: m.events, Auth: m.auth, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov,
		Products: m.products, Platforms: platforms, References: m.references, Records: records, Repos: repos, Builds: m.builds, Tests: m.tests, Signs: m.signs, Log: log,
	})

	m.errata = errata.New(errata.Parts{DB: m.db, Events: m.events, Provenance: m.prov, Platforms: platforms, Builds: m.builds})
	m.matching = matching.New(matching.Parts{
		DB: m.db, Events: m.events, Artifacts: artifacts, Platforms: platforms, Products: m.products, Repos: repos,
		Builds: m.builds, Releases: m.releases, Errata: m.errata, Log: log,
	})
	m.releases.Join(publish.New(publish.Parts{
		DB: m.db, Artifacts: artifacts, Platforms: platforms, Keys: m.signs, Errata: m.errata, Answers: publish.Matched{Matching: m.matching}, Dir: path("errata"), Log: log,
	}))
	m.monitor = monitor.New(monitor.Parts{
		DB: m.db, Events: m.events, Artifacts: artifacts, Platforms: platforms, Products: m.products, Repos: repos, Releases: m.releases, Outside: out, Log: log,
	}, c.Errata)
	secret, err := notice.LoadOrCreateKey(path("notice.key"))
	if err != nil {
		return m, err
	}
	m.notices, err = notice.New(notice.Parts{
		DB: m.db, Events: m.events, Auth: m.auth, Facts: facts{m.errata, platforms, m.builds}, Outside: out, Key: secret, URL: c.URL, Log: log,
	}, c.Notices)
	if err != nil {
		return m, err
	}
	m.bills = bill.New(bill.Parts{
		DB: m.db, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov, Platforms: platforms, References: m.references,
		Products: m.products, Repos: repos, Builds: m.builds, Releases: m.releases, URL: c.URL, Version: c.Version, Log: log,
	}, c.SBOM)
	if c.Transparency.Dir == "" {
		c.Transparency.Dir = path("transparency")
	}
	m.public = transparency.New(transparency.Parts{
		DB: m.db, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov, Releases: m.releases,
		URL: c.URL, Client: out.Client(), Log: log,
	}, c.Transparency)

	past := retention.New(retention.Parts{DB: m.db, Queue: m.queue, Products: m.products, Repos: repos, Releases: m.releases})
	m.gc, err = gc.New(gc.Parts{DB: m.db, Artifacts: artifacts, Retention: past, Builds: m.builds, Logs: m.queue, Mirrors: mirrors, Log: log}, c.Collect)
	if err != nil {
		return m, err
	}

	traces := trace.New(trace.Parts{Artifacts: artifacts, Provenance: m.prov, Builds: m.builds})
	https := strings.HasPrefix(c.URL, "https://")
	c.API.Cookie, c.API.Version = ui.CookieName(https), c.Version
	shown := history.New(repos)
	drafts := draft.New(draft.Parts{Artifacts: artifacts, Platforms: platforms, Products: m.products, Repos: repos, Builds: m.builds, Commits: sources})
	rest := api.New(api.Parts{
		Auth: m.auth, Events: m.events, Queue: m.queue, Artifacts: artifacts, Provenance: m.prov, Platforms: platforms, References: m.references,
		Products: m.products, Records: records, History: shown, Traces: traces, Bills: m.bills, Errata: m.errata, Drafts: drafts, Matching: m.matching, Monitor: m.monitor, Notices: m.notices, Notary: m.notary, Builds: m.builds, Tests: m.tests, Suites: m.suites, Signs: m.signs, Releases: m.releases, Logs: m.public, Collector: m.gc, Checker: m.checker,
		Trust: func(ctx context.Context, product string, keys bool) ([]byte, error) {
			t, err := m.Trust(ctx, product, keys)
			return t.Encode(), err
		},
		Rebuilds: rebuilds, Log: log,
	}, c.API)
	pages, err := ui.New(ui.Parts{
		Auth: m.auth, Notices: m.notices, Events: m.events, Queue: m.queue, Builds: m.builds, Tests: m.tests, Suites: m.suites, Rebuilds: rebuilds, Signs: m.signs, Releases: m.releases,
		Products: m.products, Repos: repos, History: shown, Records: records, Traces: traces, Notary: m.notary, Provenance: m.prov, Logs: m.public,
		Platforms: platforms, Errata: m.errata, Drafts: drafts, Matching: m.matching, Monitor: m.monitor, URL: c.URL, HTTPS: https, Log: log,
	})
	if err != nil {
		return m, err
	}
	files := content.New(content.Parts{Artifacts: artifacts, Repos: repos, Logs: m.public, Log: log})
	m.handler = m.faces(rest, pages, files)
	if m.AdminToken, err = m.auth.Bootstrap(ctx); err != nil {
		return m, err
	}
	return m, nil
}

// takeDir makes the master's directory and keeps it for this process until the file
// is closed. Taken before anything in it is touched: a second master, or a newer
// one that migrates, would change the database under the first one's feet.
func takeDir(dir string) (*os.File, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, albs.Errorf(albs.Invalid, "make the master's directory: %w; --data names one that can be written", err)
	}
	f, err := disk.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, albs.Conflict) {
		return nil, albs.Errorf(albs.Conflict, "another albs runs on %s: end it first, or name another data directory", dir)
	}
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "lock the master's directory: %w; --data names one that can be written", err)
	}
	return f, nil
}

// Migrate brings the schema of the master's database up to date without starting
// anything, and returns its version. Conflict while a master runs on the directory.
func Migrate(ctx context.Context, c Config) (version int64, err error) {
	lock, err := takeDir(c.Dir)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, disk.Unlock(lock)) }()
	c.Database.File = filepath.Join(c.Dir, "albs.db")
	d, err := db.Open(ctx, c.Database)
	if err != nil {
		return 0, err
	}
	return d.Version(), d.Close()
}

// faces puts the handlers under their paths.
func (m *Master) faces(rest, pages, files http.Handler) http.Handler {
	registry := telemetry.NewRegistry()
	registry.MustRegister(m.gauges()...)
	registry.MustRegister(m.gc.Metrics()...)
	registry.MustRegister(m.checker.Metrics()...)
	registry.MustRegister(m.public.Metrics()...)
	registry.MustRegister(m.monitor.Metrics()...)
	r := chi.NewRouter()
	r.Use(telemetry.Requests(m.log, registry))
	r.Handle("/api/*", rest)
	r.Handle("/worker/*", rest)
	r.Handle("/repos/*", files)
	r.Handle("/blobs/*", files)
	r.Handle("/transparency/*", files)
	r.Handle("/metrics", telemetry.Metrics(registry))
	r.Handle("/healthz", m.health)
	r.Handle("/*", pages)
	return r
}

// gauges are what operators watch of the master as a whole.
func (m *Master) gauges() []prometheus.Collector {
	count := func(name, help string, f func(context.Context) (int, error)) prometheus.Collector {
		return prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help + "; -1 if that can't be read."}, func() float64 {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
			defer cancel()
			n, err := f(ctx)
			if err != nil {
				return -1
			}
			return float64(n)
		})
	}
	return append(m.scrub.Metrics(),
		count("albs_ledger_pending", "Statements and records that wait for the ledger", m.prov.Pending),
		count("albs_sign_intents", "Files that are to be signed and have neither a signature nor a failure", m.signs.Intended),
	)
}

// URL returns how people and workers reach the faces.
func (m *Master) URL() string { return m.config.URL }

// Local returns the master's side of the contract for a worker in this process,
// and a context in which that worker's identity acts: of role, for its own arches and
// for those that it emulates, with further labels. name must be no enrolled worker's.
func (m *Master) Local(ctx context.Context, role albs.Role, own, emulated []albs.Arch, further ...string) (context.Context, worker.Master, error) {
	labels := append([]string{build.LabelTogether}, further...)
	for _, a := range emulated {
		labels = append(labels, albs.EmulatedLabel(a))
	}
	me, err := m.auth.LocalWorker(ctx, auth.NewWorker{
		Name: "local-" + string(role), Role: role, Arches: slices.Concat(own, emulated), Labels: labels,
	})
	if err != nil {
		return nil, nil, err
	}
	return auth.With(ctx, me), m.queue, nil
}

// Trust returns what a stranger needs to verify the packages of a product offline, or
// those of all if name is "". Without the packages' keys it is what a signer needs. It is
// NotFound if there is no such product, and TooLarge beyond attest.MaxTrust.
func (m *Master) Trust(ctx context.Context, name string, packages bool) (attest.Trust, error) {
	var t attest.Trust
	for _, b := range m.builds.Builders() {
		t.Builders = append(t.Builders, b.ID)
	}
	keys, err := m.signs.Keys(ctx)
	if err != nil {
		return t, err
	}
	for _, k := range keys {
		// A revoked key verifies nothing any more; one made for no product signs for any.
		if !packages || !k.RevokedAt.IsZero() || name != "" && len(k.Products) > 0 && !slices.Contains(k.Products, name) {
			continue
		}
		compact, err := attest.PackageKey(k.Public)
		if err != nil {
			return t, fmt.Errorf("public key %s: %w", k.Name, err)
		}
		t.PackageKeys = append(t.PackageKeys, compact)
	}
	products, err := m.products.All(ctx)
	if err != nil {
		return t, err
	}
	if name != "" {
		products = slices.DeleteFunc(products, func(p product.Product) bool { return p.Name != name })
		if len(products) == 0 {
			return t, albs.Errorf(albs.NotFound, "there is no product %.120q", name)
		}
	}
	t.RequireTest, t.RequireCommit = len(products) > 0, len(products) > 0
	for _, p := range products {
		t.Products = append(t.Products, p.Name)
		// Only what every product promises can be asked of every package.
		t.RequireTest = t.RequireTest && p.Gate.Requires()
		t.RequireCommit = t.RequireCommit && p.Sources == product.VerifiedSources
	}
	if packages { // a signer sees none that is in the log yet
		if t.Log, err = m.public.Policy(ctx); err != nil {
			return t, err
		}
	}
	return m.prov.Trust(ctx, t)
}

// Times of the HTTP server. There is no write timeout: streams and downloads take
// as long as they take, and the handlers bound the rest.
const (
	headerTimeout   = 10 * time.Second
	idleTimeout     = 2 * time.Minute
	shutdownTimeout = 5 * time.Second
)

// Run serves the faces and runs the loops until ctx is done, and returns ctx's
// error then; the first loop that ends before, or the server, ends all with its
// error. ready is closed once requests are answered. What a crash of an earlier run
// left is taken up while it runs: leases get another term, the outbox is carried
// on, uploads without an attempt go.
func (m *Master) Run(ctx context.Context, ready chan<- struct{}) error {
	me, err := m.auth.LocalWorker(ctx, auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	if err != nil {
		return err
	}
	g, ctx := errgroup.WithContext(ctx)
	loop := func(name string, run func(context.Context) error) {
		g.Go(func() error { return whole(ctx, name, run) })
	}
	loop("events", m.events.Run)
	loop("queue", m.queue.Run)
	loop("provenance", m.prov.Run)
	loop("streamed logs", m.streams.Run)
	loop("ledger check", m.checker.Run)
	loop("imports", func(ctx context.Context) error { return m.builds.Run(ctx, me) })
	loop("notary", func(ctx context.Context) error { return m.notary.Run(ctx, me) })
	loop("tests", m.tests.Run)
	loop("tests of packages' own", func(ctx context.Context) error { return m.suites.Run(ctx, me) })
	loop("matching", m.matching.Run)
	loop("advisories as the public sees them", m.monitor.Run)
	loop("notices", m.notices.Run)
	loop("bills", m.bills.Run)
	loop("transparency", m.public.Run)
	loop("references", m.references.Run)
	loop("collection", m.gc.Run)
	loop("health", m.watch)
	// One of several masters on the same blobs is enough.
	loop("scrub", func(ctx context.Context) error { return m.db.Leader(ctx, "blobs.scrub", m.scrub.Run) })

	srv := &http.Server{
		Handler: m.handler, ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout,
		// Streams end with the master, not with the shutdown's patience.
		BaseContext: func(net.Listener) context.Context { return ctx },
	}
	g.Go(func() error {
		if err := srv.Serve(m.listener); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve: %w", err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		end, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownTimeout)
		defer cancel()
		if err := srv.Shutdown(end); err != nil {
			return srv.Close()
		}
		return ctx.Err()
	})
	close(ready)
	return g.Wait()
}

// whole runs a loop, which has no end but ctx's: a master that lacks one would go
// on as half of itself.
func whole(ctx context.Context, name string, run func(context.Context) error) error {
	err := run(ctx)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return fmt.Errorf("%s ended by itself", name)
	}
	return fmt.Errorf("%s: %w", name, err)
}

// watch reports the ledger's health.
func (m *Master) watch(ctx context.Context) error {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		m.health.Report("ledger", m.prov.Healthy())
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
		}
	}
}

// Close closes what Open opened. What was committed stays.
func (m *Master) Close() error {
	var errs []error
	if m.listener != nil {
		if err := m.listener.Close(); !errors.Is(err, net.ErrClosed) {
			errs = append(errs, err)
		}
	}
	if m.ledger != nil {
		errs = append(errs, m.ledger.Close())
	}
	if m.db != nil {
		errs = append(errs, m.db.Close())
	}
	if m.lock != nil {
		errs = append(errs, disk.Unlock(m.lock))
	}
	return errors.Join(errs...)
}
