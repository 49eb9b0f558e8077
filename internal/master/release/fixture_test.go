package release

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/keyfile"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/historytest"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release/plan"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/pgp"
	"albs/internal/rpm/rpmtest"
	"albs/internal/worker"
	"albs/internal/worker/releaser"
	"albs/internal/worker/signer"
	"albs/internal/worker/workertest"
)

func digest(s string) albs.Digest { return albs.DigestOf([]byte(s)) }

const builderID = "https://example.org/builder/v1"

// made are the packages of one rpmbuild by file name.
type made map[string][]byte

var (
	rpmsMu sync.Mutex
	rpms   = map[string]made{}
)

// rpmbuild returns the packages of hello-1.0-REL.
func rpmbuild(t *testing.T, rel, word string) made {
	t.Helper()
	return rpmbuildOf(t, "hello", rel, word)
}

// rpmbuildOf has the real rpmbuild make NAME-1.0-REL, once: a source package, one
// for x86_64, its debug data, and a noarch one. word goes into the content.
func rpmbuildOf(t *testing.T, name, rel, word string) made {
	t.Helper()
	rpmsMu.Lock()
	defer rpmsMu.Unlock()
	if m, ok := rpms[name+rel+word]; ok {
		return m
	}
	m, err := rpmtest.Build(fmt.Sprintf(`%%define debug_package %%{nil}
Name: %s
Version: 1.0
Release: %s
Summary: A small package
License: MIT
%%description
Small.
%%package doc
Summary: More of it
BuildArch: noarch
%%description doc
Words.
%%package debuginfo
Summary: Debug data
%%description debuginfo
Data.
%%install
mkdir -p %%{buildroot}/usr/share/hello
for f in file doc debug; do echo %s > %%{buildroot}/usr/share/hello/$f; done
%%files
/usr/share/hello/file
%%files doc
/usr/share/hello/doc
%%files debuginfo
/usr/share/hello/debug
`, name, rel, word), "--target", "x86_64")
	if err != nil {
		t.Fatal(err)
	}
	if len(m) != 4 {
		t.Fatalf("rpmbuild made %d packages, want 4", len(m))
	}
	rpms[name+rel+word] = m
	return m
}

// fixture is a master with people, a platform and a product demo.
type fixture struct {
	*Releases
	t      *testing.T
	public string
	left   historytest.Place // what is there to be checked
	key    string            // fingerprint of the product's key
	keys   string            // directory of the signer's
	states string            // directory of the releaser's own

	admin, planner, approver, stranger context.Context
	signer, releaser                   auth.Actor
}

const (
	demoOS     = "el/x86_64/os"
	demoDebug  = "el/x86_64/debug"
	demoWeak   = "el/i686/os"
	demoSource = "el/source"
)

func demoSpec() product.Spec {
	return product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el"}, Key: "demo key",
		Repositories: []product.Repository{
			{Path: demoOS, Platform: "el", Arch: albs.X8664, Kind: product.RPM},
			{Path: demoDebug, Platform: "el", Arch: albs.X8664, Kind: product.Debug},
			{Path: demoWeak, Platform: "el", Arch: albs.I686, Kind: product.RPM},
			{Path: demoSource, Platform: "el", Arch: albs.Src, Kind: product.Source},
		},
		Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1, Distinct: true},
	}
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	return setupWith(t, d, nil)
}

// setupWith is setup in a world that has other mirrors.
func setupWith(t *testing.T, d *db.DB, outside platform.Outside) *fixture {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmkeys", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	f := &fixture{t: t, public: filepath.Join(t.TempDir(), "public"), keys: filepath.Join(t.TempDir(), "signer"), states: filepath.Join(t.TempDir(), "releaser")}
	m := mastertest.Open(t, d, mastertest.Config{Outside: outside, Queue: queue.Config{Backoff: 50 * time.Millisecond}})
	f.left = historytest.Place{DB: d, Blobs: m.Blobs, Ledger: m.Ledger, Public: f.public}
	builds := build.New(build.Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Log: zerolog.Nop(),
	}, build.Config{})
	tests := testrun.New(testrun.Parts{
		DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, References: m.References, Products: m.Products, Repos: m.Repos, Builds: builds, Log: zerolog.Nop(),
	})
	signs := sign.New(sign.Parts{
		DB: d, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Products: m.Products, Builds: builds, Tests: tests,
	})
	f.Releases = New(Parts{
		DB: d, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Products: m.Products, Platforms: m.Platforms, References: m.References, Records: m.Records, Repos: m.Repos, Builds: builds, Tests: tests, Signs: signs, Log: zerolog.Nop(),
	})

	token, err := m.Auth.Bootstrap(t.Context())
	f.must(err)
	admin, err := m.Auth.Authenticate(t.Context(), token)
	f.must(err)
	f.admin = auth.With(t.Context(), admin)
	f.planner = f.person("pam", auth.ProductMaintainer)
	f.approver = f.person("alf", auth.ProductMaintainer)
	f.stranger = f.person("eve", "")
	f.signer = auth.Actor{Kind: auth.KindWorker, Worker: 1, Name: "s1", Role: albs.RoleSigner, Labels: []string{"kind:sign", "kind:keygen", "key:*"}}
	f.releaser = auth.Actor{Kind: auth.KindWorker, Worker: 2, Name: "r1", Role: albs.RoleReleaser, Labels: []string{"kind:publish", "kind:prune", "kind:prove"}}

	_, err = m.Platforms.Apply(f.admin, mastertest.Platform("el", albs.X8664, albs.I686))
	f.must(err)
	_, err = m.Products.Apply(f.admin, demoSpec())
	f.must(err)
	mastertest.Run(t, m.Queue.Run, m.Events.Run, m.Provenance.Run)
	return f
}

// running is setup with a signer that has made the product's key, and a releaser.
func running(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	f := setup(t, d)
	f.startSigner()
	f.startReleaser()
	f.makeKey("demo key", pgp.Ed25519)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// person makes an account with a role in the product's team.
func (f *fixture) person(name string, role auth.Role) context.Context {
	f.t.Helper()
	u, err := f.auth.CreateUser(f.admin, name)
	f.must(err)
	if role != "" {
		f.must(f.auth.Grant(f.admin, u.ID, role, "core"))
	}
	token, _, err := f.auth.CreateToken(f.admin, u.ID, "test", time.Hour)
	f.must(err)
	a, err := f.auth.Authenticate(f.t.Context(), token)
	f.must(err)
	return auth.With(f.t.Context(), a)
}

// as is the queue as a worker sees it.
func (f *fixture) as(a auth.Actor) worker.Master {
	return workertest.As(f.queue, func(ctx context.Context) context.Context { return auth.With(ctx, a) })
}

// startSigner starts the real signer, which trusts this master.
func (f *fixture) startSigner() (stop func()) {
	f.t.Helper()
	trust, err := f.provenance.Trust(f.t.Context(), attest.Trust{Builders: []string{builderID}, Products: []string{"demo"}})
	f.must(err)
	c := signer.Config{Dir: f.keys, Spool: filepath.Join(f.t.TempDir(), "spool"), Trust: &trust}
	return mastertest.Run(f.t, func(ctx context.Context) error { return signer.Run(ctx, c, "test", f.as(f.signer), zerolog.Nop()) })
}

// statementKey is the key of a worker's statements, the real one's too.
func (f *fixture) statementKey(a auth.Actor) string {
	f.t.Helper()
	dir := f.keys
	if a.Role == albs.RoleReleaser {
		dir = f.states
	}
	f.must(os.MkdirAll(dir, 0o700))
	key, err := keyfile.LoadOrCreate(filepath.Join(dir, "statement.key"))
	f.must(err)
	return attest.PublicKey(key.Public().(ed25519.PublicKey))
}

// startReleaser starts the real releaser.
func (f *fixture) startReleaser() (stop func()) {
	c := releaser.Config{Public: f.public, Dir: f.states, Spool: filepath.Join(f.t.TempDir(), "spool")}
	return mastertest.Run(f.t, func(ctx context.Context) error { return releaser.Run(ctx, c, "test", f.as(f.releaser), zerolog.Nop()) })
}

func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(10 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// makeKey has the signer make the product's key, and that of others.
func (f *fixture) makeKey(name, alg string, others ...string) {
	f.t.Helper()
	task, err := f.signs.GenerateKey(f.admin, sign.NewKey{Name: name, UserID: "Demo <demo@example.org>", Algorithm: alg, Products: append([]string{"demo"}, others...)})
	f.must(err)
	f.until("the key is made", func() bool {
		k, err := f.signs.Keygen(f.t.Context(), task)
		if err != nil || k.Task.State == albs.TaskFailed {
			f.t.Fatalf("Keygen = %+v, %v", k, err)
		}
		f.key = k.Fingerprint
		return f.key != ""
	})
}

// addBuild makes a build of the product that has succeeded with these packages.
func (f *fixture) addBuild(m made) albs.BuildID {
	f.t.Helper()
	ctx := f.t.Context()
	var srpm artifact.Artifact
	var binary []artifact.Artifact
	for name, b := range m {
		kind := artifact.RPM
		if strings.HasSuffix(name, ".src.rpm") {
			kind = artifact.SRPM
		}
		a, err := f.artifacts.Save(ctx, bytes.NewReader(b), 1<<20, name, kind)
		f.must(err)
		if kind == artifact.SRPM {
			srpm = a
		} else {
			binary = append(binary, a)
		}
	}
	var id albs.BuildID
	f.must(f.d.InTx(ctx, func(tx db.Tx) error {
		if err := f.artifacts.Add(ctx, tx, append([]artifact.Artifact{srpm}, binary...)...); err != nil {
			return err
		}
		if err := tx.GetContext(ctx, &id, `INSERT INTO build (owner_id, owner, team, product, options, created_at)
			VALUES (1, 'olga', 'core', 'demo', '{}', $1) RETURNING id`, db.Now()); err != nil {
			return err
		}
		var item albs.ItemID
		if err := tx.GetContext(ctx, &item, `INSERT INTO build_item (build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm, srpm_name)
			VALUES ($1, 0, 'el', '["x86_64"]', '', '', '', '', 'hello', $2, $3) RETURNING id`, id, srpm.Digest, srpm.Name); err != nil {
			return err
		}
		body := attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType: attest.BuildType, ExternalParameters: attest.ExternalParameters{Platform: "el", Arch: albs.X8664},
				ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: builderID}},
		}
		built := provenance.Fact{Predicate: attest.Build, Body: body, Files: binary}
		for _, a := range binary {
			arch := albs.Arch(a.NEVRA.Arch)
			if arch == albs.Noarch {
				arch = albs.X8664
			}
			if _, err := tx.ExecContext(ctx, `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
				VALUES ($1, $2, 0, 1, $3, 'rpm', $4, $5)`, id, item, a.Digest, a.Name, arch); err != nil {
				return err
			}
			built.Subjects = append(built.Subjects, provenance.SubjectOf(a))
		}
		err := f.provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(srpm)}, Predicate: attest.Source, Body: attest.SourceBody{Uploader: "olga"},
			Files: []artifact.Artifact{srpm},
		})
		if err != nil {
			return err
		}
		return f.provenance.State(ctx, tx, built)
	}))
	return id
}

// signBuild has the signer sign a build, and waits until the ledger proves it.
func (f *fixture) signBuild(id albs.BuildID, key string) {
	f.t.Helper()
	r, err := f.signs.SignBuild(f.admin, id, key)
	f.must(err)
	f.until("the build is signed", func() bool {
		r, err = f.signs.Request(f.t.Context(), r.ID)
		f.must(err)
		if r.Status == sign.Failed {
			f.t.Fatalf("signing failed: %s", r.Reason)
		}
		return r.Status == sign.Completed
	})
	for _, p := range r.Packages {
		f.must(f.provenance.WaitNotarized(f.t.Context(), p.Signed))
	}
}

// signedBuild is addBuild and signBuild.
func (f *fixture) signedBuild(m made) albs.BuildID {
	f.t.Helper()
	id := f.addBuild(m)
	f.signBuild(id, "demo key")
	return id
}

// approved plans the release of builds and has it approved.
func (f *fixture) approved(builds ...albs.BuildID) Release {
	f.t.Helper()
	return f.approvedFor("demo", builds...)
}

func (f *fixture) approvedFor(product string, builds ...albs.BuildID) Release {
	f.t.Helper()
	r, err := f.Plan(f.planner, product, builds)
	f.must(err)
	r, err = f.Approve(f.approver, r.ID, r.Digest, "")
	f.must(err)
	return r
}

// recompute returns what the plan of a release comes to now.
func (f *fixture) recompute(row releaseRow) (plan.Plan, error) {
	was, err := row.plan()
	f.must(err)
	w, err := f.wish(f.t.Context(), row, was)
	f.must(err)
	return f.compute(f.t.Context(), w)
}

// ended waits until a release is not in progress any more.
func (f *fixture) ended(id albs.ReleaseID, want Status) Release {
	f.t.Helper()
	var r Release
	f.until(fmt.Sprintf("release %d has ended", id), func() bool {
		var err error
		r, err = f.Get(f.t.Context(), id)
		f.must(err)
		return r.Status != InProgress
	})
	if r.Status != want {
		f.t.Fatalf("release %d is %s: %s; want %s", id, r.Status, r.Reason, want)
	}
	return r
}

// release plans, approves and publishes builds.
func (f *fixture) release(builds ...albs.BuildID) Release {
	f.t.Helper()
	return f.releaseInto("demo", builds...)
}

func (f *fixture) releaseInto(product string, builds ...albs.BuildID) Release {
	f.t.Helper()
	r := f.approvedFor(product, builds...)
	_, err := f.Publish(f.planner, r.ID)
	f.must(err)
	return f.ended(r.ID, Completed)
}

// publishPlanned has a plan approved and publishes it.
func (f *fixture) publishPlanned(r Release) Release {
	f.t.Helper()
	r, err := f.Approve(f.approver, r.ID, r.Digest, "")
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.must(err)
	return f.ended(r.ID, Completed)
}

// shown returns the files of the packages that the product shows, by repository,
// and checks that the public place and the database agree on the serial.
func (f *fixture) shown(serial int64) map[string][]string {
	f.t.Helper()
	return f.shownBy("demo", serial)
}

func (f *fixture) shownBy(product string, serial int64) map[string][]string {
	f.t.Helper()
	now, tree, err := f.gather.Current(f.t.Context(), product)
	f.must(err)
	link, err := os.Readlink(filepath.Join(f.public, product, "current"))
	f.must(err)
	if now != serial || link != fmt.Sprintf("trees/%d", serial) {
		f.t.Errorf("serial %d is current and %s is public, want serial %d", now, link, serial)
	}
	out := map[string][]string{}
	for _, r := range tree.Repositories {
		s, err := f.repos.Open(f.t.Context(), r.Snapshot)
		f.must(err)
		es, err := f.gather.Entries(f.t.Context(), s)
		f.must(err)
		out[r.Path] = nil
		for _, e := range es {
			out[r.Path] = append(out[r.Path], filepath.Base(e.Path))
		}
	}
	return out
}

// repodata returns the metadata that the public place shows, but for what it
// carries along of earlier serials.
func (f *fixture) repodata() map[string]string {
	f.t.Helper()
	_, tree, err := f.gather.Current(f.t.Context(), "demo")
	f.must(err)
	out := map[string]string{}
	for _, r := range tree.Repositories {
		s, err := f.repos.Open(f.t.Context(), r.Snapshot)
		f.must(err)
		for _, file := range s.Files() {
			b, err := os.ReadFile(filepath.Join(f.public, "demo/current", r.Path, file.Path))
			f.must(err)
			out[r.Path+"/"+file.Path] = string(b)
		}
	}
	return out
}

func (f *fixture) wantKind(what string, err error, kind albs.Kind, part string) {
	f.t.Helper()
	if albs.KindOf(err) != kind || err != nil && !strings.Contains(err.Error(), part) {
		f.t.Errorf("%s = %v, want kind %q and %q in it", what, err, kind, part)
	}
}

// Rollback has a product show again what it showed at a serial, or before if to is 0.
func (f *fixture) Rollback(ctx context.Context, name string, to int64) (Release, error) {
	p, err := f.products.Get(ctx, name)
	if err != nil {
		return Release{}, err
	}
	now, _, err := f.gather.Current(ctx, name)
	if err != nil {
		return Release{}, err
	}
	return f.rollback(ctx, p, now, to, "as the test wants it")
}
