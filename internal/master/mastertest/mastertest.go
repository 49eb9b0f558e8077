// Package mastertest opens the lower modules of a master, all of them real, over a
// test's database, and runs loops that end with the test. It is for tests only.
//
// It stops below build, so that the tests within build and all above it can use it;
// they make those modules themselves.
package mastertest

import (
	"context"
	"crypto/ed25519"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/blob"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/queue/keep"
	"albs/internal/master/record"
	"albs/internal/master/repo"
	"albs/internal/master/source"
)

// Config is what tests want otherwise; the zero one is mirrors that all have Repomd,
// and silence.
type Config struct {
	Queue   queue.Config     // its directories are the test's
	Outside platform.Outside // the way to mirrors
	Log     zerolog.Logger
}

// Modules are a master's, up to products. None of their loops runs.
type Modules struct {
	DB         *db.DB
	Blobs      *blob.Dir
	Ledger     ledger.Ledger
	Events     *event.Log
	Auth       *auth.Auth
	Artifacts  *artifact.Artifacts
	Queue      *queue.Queue
	Provenance *provenance.Provenance
	Repos      *repo.Repos
	Platforms  *platform.Platforms
	References *reference.Index
	Products   *product.Products
	Records    *record.Records
}

// Open opens the modules over d, with blobs, uploads and a ledger in the test's
// directory and a new statement key. They are closed when the test ends.
func Open(t testing.TB, d *db.DB, c Config) *Modules {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	if c.Outside == nil {
		c.Outside = mirror{}
	}
	blobs, err := blob.NewDir(t.TempDir())
	must(err)
	staging, err := blob.NewStaging(t.TempDir())
	must(err)
	l, err := ledger.OpenEmbedded(t.TempDir())
	must(err)
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close ledger: %v", err)
		}
	})
	_, key, err := ed25519.GenerateKey(nil)
	must(err)

	m := &Modules{DB: d, Blobs: blobs, Ledger: l, Events: event.New(d, c.Log), Artifacts: artifact.New(d, blobs, staging)}
	m.Auth = auth.New(d, m.Events, c.Log)
	c.Queue.LogDir, c.Queue.LocalDir = t.TempDir(), t.TempDir()
	m.Queue, err = queue.New(d, m.Events, m.Artifacts, blobs, c.Queue, c.Log)
	must(err)
	m.Artifacts.Root("queue", keep.Roots(d))
	m.Provenance = provenance.New(d, m.Events, m.Artifacts, l, attest.NewSigner(key), c.Log)
	m.Queue.Vet(m.Provenance.Meet)
	m.Repos = repo.New(d, m.Artifacts, m.Events)
	m.Platforms = platform.New(d, m.Events, c.Outside, m.Repos, c.Log)
	m.Artifacts.Root("platform", m.Platforms.Roots)
	m.References = reference.New(d, m.Artifacts, m.Platforms, c.Outside, c.Log)
	m.Products = product.New(d, m.Events, m.Platforms)
	m.Records = record.New(record.Parts{DB: d, Events: m.Events, Artifacts: m.Artifacts, Provenance: m.Provenance, Products: m.Products})
	return m
}

// Sources returns sources that are fetched through out.
func (m *Modules) Sources(t testing.TB, out *egress.Egress) *source.Sources {
	t.Helper()
	mirrors, err := git.New(t.TempDir(), out)
	if err != nil {
		t.Fatal(err)
	}
	return source.New(m.DB, m.Artifacts, mirrors, out, source.Limits{})
}

// Run runs loops until the test ends or stop is called, which waits for them. One
// that ends before fails the test.
func Run(t testing.TB, loops ...func(context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	var wg sync.WaitGroup
	for _, run := range loops {
		wg.Go(func() {
			if err := run(ctx); ctx.Err() == nil {
				t.Errorf("a loop ended: %v", err)
			}
		})
	}
	stop = func() { cancel(); wg.Wait() }
	t.Cleanup(stop)
	return stop
}

// mirror is an outside world in which every mirror has Repomd.
type mirror struct{}

func (mirror) CheckURL(string) error { return nil }

func (mirror) Get(context.Context, string, int64) (io.ReadCloser, int64, error) {
	return io.NopCloser(strings.NewReader(Repomd)), int64(len(Repomd)), nil
}

// Repomd is the repomd.xml of a mirror, good enough to be pinned.
const Repomd = `<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary">` +
	`<checksum type="sha256">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum><location href="repodata/primary.xml.gz"/></data></repomd>`

// Mirror makes a directory that is a mirror with Repomd and nothing else.
func Mirror(t testing.TB) (dir string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "repodata", "repomd.xml"), []byte(Repomd), 0o644); err != nil {
		t.Fatal(err)
	}
	return dir
}

// Platform returns a small platform for arches, of one mirror far away.
func Platform(name string, arches ...albs.Arch) platform.Spec {
	return platform.Spec{
		Name: name, Dist: ".el9", Releasever: "9", Arches: arches,
		Repositories: []platform.Repository{{ID: "base", URL: "https://mirror.example/os/"}},
		Packages:     []string{"rpm-build"}, TestPackages: []string{"bash"}, RPMDB: platform.RPMDB{Path: "/var/lib/rpm", Backend: "sqlite"},
	}
}

// Errata returns the platform with advisories of a team, called ALSA-2024:1, ALBA-… and
// ALEA-….
func Errata(p platform.Spec, team string) platform.Spec {
	p.OS = platform.OS{ID: "almalinux", Name: "AlmaLinux", Version: "9"}
	p.Errata = platform.Errata{
		Team: team, IDs: map[string]string{"security": "ALSA-{year}:{serial}", "bugfix": "ALBA-{year}:{serial}", "enhancement": "ALEA-{year}:{serial}"}, Own: "A",
		URL: "https://repo.example/errata/" + p.Name, Vendor: "AlmaLinux", Namespace: "https://almalinux.example", Contact: "security@almalinux.example",
		From: "packager@almalinux.example", Rights: "Copyright {year} AlmaLinux", Ecosystem: "AlmaLinux:9", CPE: "cpe:/o:almalinux:almalinux:9",
	}
	return p
}
