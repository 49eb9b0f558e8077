package transparency

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/rpm/rpmtest"
	"albs/internal/tlog"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// rpms builds small RPMs with the real rpmbuild, once, and returns them by file name.
var rpms = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Noarch("alpha", "beta", "gamma")
})

const (
	alpha = "alpha-1-1.noarch.rpm"
	beta  = "beta-1-1.noarch.rpm"
	gamma = "gamma-1-1.noarch.rpm"
)

// fixture is a master in which packages are released by decree.
type fixture struct {
	*mastertest.Modules
	t        *testing.T
	dir      string
	releaser auth.Actor
	states   *attest.Signer // the releaser's
	key      string         // of its statements
	admin    context.Context

	mu        sync.Mutex
	added     []release.Added
	withdrawn []release.Withdrawn
}

func (f *fixture) Withdrawn(_ context.Context, id albs.ReleaseID) (out []release.Withdrawn, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, w := range f.withdrawn {
		if w.Release == id {
			out = append(out, w)
		}
	}
	return out, nil
}

func (f *fixture) EachWithdrawn(_ context.Context, yield func(release.Withdrawn) error) error {
	f.mu.Lock()
	all := slices.Clone(f.withdrawn)
	f.mu.Unlock()
	for _, w := range all {
		if err := yield(w); err != nil {
			return err
		}
	}
	return nil
}

func (f *fixture) Added(_ context.Context, id albs.ReleaseID) (out []release.Added, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range f.added {
		if a.Release == id {
			out = append(out, a)
		}
	}
	return out, nil
}

func (f *fixture) EachAdded(_ context.Context, yield func(release.Added) error) error {
	f.mu.Lock()
	all := slices.Clone(f.added)
	f.mu.Unlock()
	for _, a := range all {
		if err := yield(a); err != nil {
			return err
		}
	}
	return nil
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	if _, err := rpms(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	} else if err != nil {
		t.Fatal(err)
	}
	f := &fixture{Modules: mastertest.Open(t, d, mastertest.Config{}), t: t, dir: filepath.Join(t.TempDir(), "transparency")}
	f.releaser = auth.Actor{Kind: auth.KindWorker, Worker: 1, Name: "r1", Role: albs.RoleReleaser, Labels: []string{"kind:publish", "kind:prune", "kind:prove"}}
	_, private, err := ed25519.GenerateKey(nil)
	f.must(err)
	f.states = attest.NewSigner(private)
	f.key = attest.PublicKey(f.states.Public())
	token, err := f.Auth.Bootstrap(t.Context())
	f.must(err)
	admin, err := f.Auth.Authenticate(t.Context(), token)
	f.must(err)
	f.admin = auth.With(t.Context(), admin)
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// open returns the module, not running. Of a fixture one is enough: the second takes the
// queue's handler over.
func (f *fixture) open(c Config) *Transparency {
	if c.Dir == "" {
		c.Dir = f.dir
	}
	return New(Parts{
		DB: f.DB, Events: f.Events, Queue: f.Queue, Artifacts: f.Artifacts, Provenance: f.Provenance, Releases: f,
		URL: "https://albs.example.org:8443", Client: http.DefaultClient, Log: zerolog.Nop(),
	}, c)
}

// release states that packages were released into repositories of the product demo, and
// tells of it unless it is to be lost.
func (f *fixture) release(id albs.ReleaseID, lost bool, paths []string, files ...string) {
	f.t.Helper()
	made, err := rpms()
	f.must(err)
	ctx := auth.System(f.t.Context(), "test")
	var as []artifact.Artifact
	for _, name := range files {
		a, err := f.Artifacts.Save(ctx, bytes.NewReader(made[name]), 1<<20, name, artifact.RPM)
		f.must(err)
		as = append(as, a)
	}
	f.must(f.DB.InTx(ctx, func(tx db.Tx) error {
		if err := f.Artifacts.Add(ctx, tx, as...); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO release (id, kind, product, team, planner_id, planner, status, reason, plan, digest, expires_at,
			from_serial, serial, offered, back_to, files, task_id, created_at, changed_at)
			VALUES ($1, 'publish', 'demo', 'core', 1, 'pam', 3, '', '{}', $2, $3, 0, 1, 1, 0, '[]', 0, $3, $3)`, id, albs.DigestOf(nil), db.Now())
		if err != nil {
			return err
		}
		for _, a := range as {
			err := f.Provenance.State(ctx, tx, provenance.Fact{
				Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.Release,
				Body: attest.ReleaseBody{Product: "demo", Repositories: paths, Release: int64(id), Serial: int64(id), Tree: albs.DigestOf(nil), Plan: albs.DigestOf(nil)},
			})
			if err != nil {
				return err
			}
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, a := range as {
			for _, p := range paths {
				f.added = append(f.added, release.Added{Release: id, Product: "demo", Path: p, File: a.Name, Digest: a.Digest})
			}
		}
		if lost {
			return nil
		}
		return f.Events.Add(ctx, tx, release.EventPublished, release.Topic(id), "worker:r1", release.Event{Release: id, Product: "demo"})
	}))
}

// withdraw has a rollback take packages out of repositories of the product demo, and tells
// of it unless it is to be lost.
func (f *fixture) withdraw(id albs.ReleaseID, lost bool, paths []string, files ...string) {
	f.t.Helper()
	made, err := rpms()
	f.must(err)
	ctx := auth.System(f.t.Context(), "test")
	f.must(f.DB.InTx(ctx, func(tx db.Tx) error {
		_, err := tx.ExecContext(ctx, `INSERT INTO release (id, kind, product, team, planner_id, planner, status, reason, plan, digest, expires_at,
			from_serial, serial, offered, back_to, files, task_id, created_at, changed_at)
			VALUES ($1, 'rollback', 'demo', 'core', 1, 'pam', 3, '', '{}', $2, $3, 1, 2, 2, 1, '[]', 0, $3, $3)`, id, albs.DigestOf(nil), db.Now())
		if err != nil {
			return err
		}
		f.mu.Lock()
		defer f.mu.Unlock()
		for _, name := range files {
			for _, p := range paths {
				f.withdrawn = append(f.withdrawn, release.Withdrawn{Release: id, Product: "demo", Path: p, File: name, Digest: albs.DigestOf(made[name])})
			}
		}
		if lost {
			return nil
		}
		return f.Events.Add(ctx, tx, release.EventPublished, release.Topic(id), "worker:r1", release.Event{Release: id, Product: "demo"})
	}))
}

// until waits for a condition, long enough for a machine that has much to do.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	for end := time.Now().Add(5 * time.Minute); !ok(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// state is the module's, and has to satisfy ok.
func (f *fixture) reaches(t *Transparency, what string, ok func(State) bool) State {
	f.t.Helper()
	var s State
	f.until(what, func() bool {
		var err error
		s, err = t.State(f.t.Context())
		f.must(err)
		return ok(s)
	})
	return s
}

// claim takes the next task of a releaser.
func (f *fixture) claim() *worker.Lease {
	f.t.Helper()
	var l *worker.Lease
	f.until("there is a task", func() (ok bool) {
		var err error
		l, err = f.as().Claim(f.t.Context(), worker.Offer{Labels: f.releaser.Labels, Key: f.key})
		f.must(err)
		return l != nil
	})
	return l
}

func (f *fixture) as() worker.Master {
	return workertest.As(f.Queue, func(ctx context.Context) context.Context { return auth.With(ctx, f.releaser) })
}

func (f *fixture) lay(l *worker.Lease) {
	f.t.Helper()
	f.must(f.as().Complete(f.t.Context(), l.Token, albs.OutcomeOK, albs.Result{Prove: &albs.ProveResult{Packages: len(l.Spec.Prove.Packages)}}))
}

func (f *fixture) get(l *worker.Lease, d albs.Digest) []byte {
	f.t.Helper()
	r, err := f.as().Get(f.t.Context(), l.Token, d, 0, -1)
	f.must(err)
	defer r.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(r)
	f.must(err)
	return b.Bytes()
}

// verify checks what a releaser is to lay beside a package as a stranger does.
func (f *fixture) verify(t *Transparency, l *worker.Lease, k albs.ProvePackage) tlog.Inclusion {
	f.t.Helper()
	return f.proven(t, k.Package, f.get(l, k.Statements), f.get(l, k.LedgerProof), f.get(l, k.LogProof))
}

// proven checks what is to lie beside a package d as a stranger does.
func (f *fixture) proven(t *Transparency, d albs.Digest, statements, ledgerProof, logProof []byte) tlog.Inclusion {
	f.t.Helper()
	b, err := attest.ParseBundle(statements, ledgerProof)
	f.must(err)
	p, err := f.Artifacts.Package(f.t.Context(), d)
	f.must(err)
	leaf, err := b.Leaf(p, d)
	f.must(err)
	policy, err := t.Policy(f.t.Context())
	f.must(err)
	in, err := tlog.Verify(logProof, leaf.Encode(), *policy)
	f.must(err)
	return in
}

// TestCarry has packages go all the way, on both databases.
func TestCarry(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		tr := f.open(Config{})
		f.release(1, false, []string{"el/os", "el/other"}, alpha, beta)
		mastertest.Run(t, f.Queue.Run, f.Events.Run)
		stop := mastertest.Run(t, tr.Run)
		// The ledger is away: nothing is told before it can be proven.
		f.reaches(tr, "the packages wait", func(s State) bool { return s.Waiting == 2 })
		if n, err := f.Queue.Stats(t.Context()); err != nil || len(n) > 0 {
			t.Errorf("there are tasks %v, %v", n, err)
		}
		// One task lays both, if both can be proven when it is made.
		stop()
		mastertest.Run(t, f.Provenance.Run)
		made, err := rpms()
		f.must(err)
		f.until("the ledger has what is stated", func() bool {
			on, err := f.Provenance.OnTheWay(t.Context(), albs.DigestOf(made[alpha]), albs.DigestOf(made[beta]))
			f.must(err)
			return !on
		})
		stop = mastertest.Run(t, tr.Run)
		l := f.claim()
		if l.Kind != albs.KindProve || len(l.Spec.Prove.Packages) != 2 {
			t.Fatalf("the task is %s %+v", l.Kind, l.Spec.Prove)
		}
		for i, k := range l.Spec.Prove.Packages {
			name := []string{alpha, beta}[i]
			if want := []string{"el/os/Packages/" + name[:1] + "/" + name, "el/other/Packages/" + name[:1] + "/" + name}; !slices.Equal(k.Paths, want) {
				t.Errorf("the paths are %v, want %v", k.Paths, want)
			}
			in := f.verify(tr, l, k)
			if in.Origin != "albs.example.org/releases" || in.Index != uint64(i) || in.Size != 2 {
				t.Errorf("the proof says %+v", in)
			}
		}
		f.lay(l)
		f.reaches(tr, "all is laid", func(s State) bool { return s.Laid == 2 })
		check(f, tr, 2, 4, 0)

		// Whoever dies between the log and the database finds the leaves in the log.
		stop()
		_, err = d.ExecContext(t.Context(), `UPDATE transparency_leaf SET step = 2, log_id = NULL, place = NULL, log_proof = NULL, task_id = 0`)
		f.must(err)
		f.release(2, false, []string{"el/os"}, gamma)
		f.until("the third is taken in and the log goes on", func() bool {
			if _, err := tr.carry(auth.System(t.Context(), "test")); err != nil {
				t.Fatal(err)
			}
			err := f.Events.Follow(bounded(t), "transparency", tr.follow)
			if !errors.Is(err, context.DeadlineExceeded) {
				t.Fatal(err)
			}
			s, err := tr.State(t.Context())
			f.must(err)
			return s.Proven == 3
		})
		s, err := tr.State(t.Context())
		f.must(err)
		if s.Logs[0].Size != 3 || len(s.Logs) != 1 {
			t.Errorf("the logs are %+v, want one of three leaves", s.Logs)
		}
		check(f, tr, 3, 5, 0)
	})
}

// bounded ends soon.
func bounded(t *testing.T) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

// check walks the log and the releases.
func check(f *fixture, tr *Transparency, leaves, packages, pending int, faults ...string) {
	f.t.Helper()
	r, err := tr.Check(f.admin)
	f.must(err)
	if r.Leaves != leaves || r.Packages != packages || r.Pending != pending || r.Found != len(faults) {
		f.t.Errorf("the check says %+v, want %d leaves, %d packages, %d pending, faults %q", r, leaves, packages, pending, faults)
	}
	for i, want := range faults {
		if i < len(r.Faults) && !strings.Contains(r.Faults[i], want) {
			f.t.Errorf("fault %d is %q, want %q in it", i, r.Faults[i], want)
		}
	}
}

// running is a fixture whose loops run, with a package that has gone all the way.
func running(t *testing.T, c Config) (*fixture, *Transparency, func()) {
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	tr := f.open(c)
	mastertest.Run(t, f.Queue.Run, f.Events.Run, f.Provenance.Run)
	stop := mastertest.Run(t, tr.Run)
	f.release(1, false, []string{"el/os"}, alpha)
	f.lay(f.claim())
	f.reaches(tr, "the first is laid", func(s State) bool { return s.Laid == 1 })
	return f, tr, stop
}

// TestBeside: what lies beside a package fits together whatever is stated of it later, and
// is another as soon as another release of it is proven, not before.
func TestBeside(t *testing.T) {
	t.Parallel()
	f, tr, stop := running(t, Config{})
	made, err := rpms()
	f.must(err)
	d := albs.DigestOf(made[alpha])
	read := func(d albs.Digest) []byte {
		t.Helper()
		r, err := f.Artifacts.Open(t.Context(), d, 0, -1)
		f.must(err)
		defer r.Close()
		var b bytes.Buffer
		_, err = b.ReadFrom(r)
		f.must(err)
		return b.Bytes()
	}
	fits := func(index uint64) Files {
		t.Helper()
		files, err := tr.Beside(t.Context(), d)
		f.must(err)
		if in := f.proven(tr, d, read(files.Statements), read(files.LedgerProof), read(files.LogProof)); in.Index != index {
			t.Errorf("the proof is of leaf %d, want %d", in.Index, index)
		}
		return files
	}
	first := fits(0)
	if _, err := tr.Beside(t.Context(), albs.DigestOf(made[beta])); !errors.Is(err, albs.NotFound) {
		t.Errorf("Beside of what wasn't released: %v, want NotFound", err)
	}

	ctx := auth.System(t.Context(), "test")
	a, err := f.Artifacts.Find(ctx, d)
	f.must(err)
	f.must(f.DB.InTx(ctx, func(tx db.Tx) error {
		return f.Provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.Test, Body: attest.TestBody{Result: attest.Passed}})
	}))
	f.until("the bundle of now has it", func() bool {
		b, err := f.Provenance.Bundle(ctx, d)
		if err != nil && !errors.Is(err, albs.Unavailable) {
			t.Fatal(err)
		}
		return err == nil && albs.DigestOf(b.Envelopes()) != first.Statements
	})
	if now := fits(0); now != first {
		t.Errorf("beside it lie %+v, want %+v", now, first)
	}

	f.release(2, false, []string{"el/other"}, alpha)
	l := f.claim()
	if second, k := fits(1), l.Spec.Prove.Packages[0]; second != (Files{k.Statements, k.LedgerProof, k.LogProof}) || second.Statements == first.Statements {
		t.Errorf("beside it lie %+v, and the task lays %+v", second, k)
	}
	stop()
	_, err = f.DB.ExecContext(ctx, `UPDATE transparency_leaf SET step = 3 WHERE release_id = 2`)
	f.must(err)
	if now := fits(0); now != first {
		t.Errorf("before the second release is proven beside it lie %+v, want %+v", now, first)
	}
}

// TestCheck finds what the log and the releases don't have in common.
func TestCheck(t *testing.T) {
	t.Parallel()
	f, tr, _ := running(t, Config{})
	if _, err := tr.Check(t.Context()); !errors.Is(err, albs.Forbidden) && !errors.Is(err, albs.Unauthenticated) {
		t.Errorf("Check by nobody: %v, want a refusal", err)
	}
	// One whose event was lost is taken in.
	f.release(2, true, []string{"el/os"}, beta)
	check(f, tr, 1, 2, 1)
	f.lay(f.claim())
	f.reaches(tr, "the second is laid", func(s State) bool { return s.Laid == 2 })
	check(f, tr, 2, 2, 0)
	if err := tr.Healthy(); err != nil {
		t.Error(err)
	}

	f.mu.Lock()
	first := f.added[0]
	f.added = f.added[1:]
	f.mu.Unlock()
	check(f, tr, 2, 1, 0, "never released there")
	if err := tr.Healthy(); !errors.Is(err, albs.Conflict) {
		t.Errorf("Healthy = %v, want Conflict", err)
	}
	f.mu.Lock()
	other := first
	other.Path = "el/other"
	f.added = append(f.added, first, other)
	f.mu.Unlock()
	check(f, tr, 2, 3, 0, "isn't in the log where it should be")
	f.mu.Lock()
	f.added = f.added[:len(f.added)-1]
	f.mu.Unlock()
	check(f, tr, 2, 2, 0)

	// A leaf that is changed on disk.
	entries := filepath.Join(f.dir, "1/tile/entries/000.p/2")
	b, err := os.ReadFile(entries)
	f.must(err)
	f.must(os.WriteFile(entries, bytes.Replace(b, []byte("alpha"), []byte("omega"), 1), 0o644))
	r, err := tr.Check(f.admin)
	if err != nil || r.Found == 0 || !strings.Contains(r.Faults[0], "doesn't fit together") {
		t.Errorf("the check says %+v, %v", r, err)
	}
}

// TestWithdrawal: what a rollback takes away is told by the log too, once for each, and
// what lies beside the package stays.
func TestWithdrawal(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		tr := f.open(Config{})
		mastertest.Run(t, f.Queue.Run, f.Events.Run, f.Provenance.Run)
		stop := mastertest.Run(t, tr.Run)
		f.release(1, false, []string{"el/os", "el/other"}, alpha)
		f.lay(f.claim())
		f.reaches(tr, "the package is laid", func(s State) bool { return s.Laid == 1 })
		made, err := rpms()
		f.must(err)
		beside, err := tr.Beside(t.Context(), albs.DigestOf(made[alpha]))
		f.must(err)

		f.withdraw(2, false, []string{"el/os", "el/other"}, alpha)
		s := f.reaches(tr, "the withdrawal is told of", func(s State) bool { return s.Withdrawn == 1 })
		if s.Withdrawing != 0 || s.Laid != 1 || s.Proven != 0 || s.Logs[0].Size != 2 {
			t.Errorf("the state is %+v", s)
		}
		check(f, tr, 2, 2, 0)
		// The leaves say it, whoever reads them.
		var leaves []string
		files := tlog.Read(filepath.Join(f.dir, "1"))
		f.must(files.Entries(t.Context(), 0, 2, func(_ uint64, leaf []byte) error {
			leaves = append(leaves, string(leaf))
			return nil
		}))
		want := "albs-withdrawal/v1\nnevra alpha-0:1-1.noarch\nfile sha256:" + string(albs.DigestOf(made[alpha])) + "\nrepo demo/el/os\nrepo demo/el/other\nrelease 2\n"
		if leaves[1] != want || !strings.HasPrefix(leaves[0], "albs-release/v1\nnevra alpha-0:1-1.noarch\n") {
			t.Errorf("the leaves are %q, want the second to be %q", leaves, want)
		}
		if now, err := tr.Beside(t.Context(), albs.DigestOf(made[alpha])); err != nil || now != beside {
			t.Errorf("beside it is %+v, %v, want %+v", now, err, beside)
		}

		// One whose event was lost is taken in by the check; one release may do both.
		f.release(3, true, []string{"el/os"}, beta)
		f.mu.Lock()
		f.withdrawn = append(f.withdrawn, release.Withdrawn{Release: 3, Product: "demo", Path: "el/old", File: beta, Digest: albs.DigestOf(made[beta])})
		f.mu.Unlock()
		check(f, tr, 2, 3, 2)
		f.lay(f.claim())
		f.reaches(tr, "both are told of", func(s State) bool { return s.Laid == 2 && s.Withdrawn == 2 })
		check(f, tr, 4, 3, 0)

		// Whoever dies between the log and the database finds them in the log.
		stop()
		_, err = d.ExecContext(t.Context(), `UPDATE transparency_leaf SET step = 2, log_id = NULL, place = NULL, log_proof = NULL, task_id = 0`)
		f.must(err)
		_, err = tr.carry(auth.System(t.Context(), "test"))
		f.must(err)
		check(f, tr, 4, 3, 0)

		// What wasn't withdrawn, and what the log doesn't tell of, is a fault.
		f.mu.Lock()
		f.withdrawn[0].Release = 3
		f.mu.Unlock()
		r, err := tr.Check(f.admin)
		f.must(err)
		if r.Found != 1 || !strings.Contains(r.Faults[0], "the log has a withdrawal of "+string(albs.DigestOf(made[alpha]))+" from demo/el/os by release 2, and it never was") || r.Pending != 1 {
			t.Errorf("the check says %+v", r)
		}
		f.mu.Lock()
		f.withdrawn[0].Release, f.withdrawn[0].Path = 2, "el/third"
		f.mu.Unlock()
		if r, err = tr.Check(f.admin); err != nil || r.Found != 2 || !strings.Contains(r.Faults[0], "was withdrawn by release 2 and the log doesn't tell of it") {
			t.Errorf("the check says %+v, %v", r, err)
		}
	})
}

// TestNotLaid: what a releaser couldn't lay is told and asked for again, but not at once.
func TestNotLaid(t *testing.T) {
	t.Parallel()
	f, tr, _ := running(t, Config{})
	f.release(2, false, []string{"el/os"}, beta)
	l := f.claim()
	f.must(f.as().Complete(t.Context(), l.Token, albs.OutcomeFailed, albs.Result{Reason: "the disk is on fire"}))
	s := f.reaches(tr, "it is told", func(s State) bool { return s.Trouble != "" })
	if want := fmt.Sprintf("task %d ", l.Token.Task); !strings.Contains(s.Trouble, want) || s.Proven != 1 {
		t.Errorf("the state is %+v, want %q in its trouble", s, want)
	}
	_, err := f.DB.ExecContext(t.Context(), `UPDATE transparency_leaf SET changed_at = $1 WHERE step = 4`, db.At(time.Now().Add(-askAgain)))
	f.must(err)
	f.Events.Nudge(topic)
	again := f.claim()
	if again.Token.Task == l.Token.Task || len(again.Spec.Prove.Packages) != 1 {
		t.Errorf("the next task is %+v", again)
	}
	f.lay(again)
	f.reaches(tr, "the second is laid", func(s State) bool { return s.Laid == 2 && s.Trouble == "" })

	// One that is wrong waits alone.
	f.release(3, false, []string{"el/os"}, beta, gamma)
	l = f.claim()
	told := l.Spec.Prove.Packages // both, or the first where the log took that alone
	f.must(f.as().Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{Prove: &albs.ProveResult{Packages: len(told) - 1, Wrong: []albs.Digest{told[0].Package}}}))
	s = f.reaches(tr, "it is told", func(s State) bool { return s.Trouble != "" && s.Proven+s.Laid == 4 })
	if s.Laid != 2+len(told)-1 {
		t.Errorf("the state is %+v, want all but one of %d laid", s, len(told))
	}
}

// TestAskMuch: packages with many long names are asked for in several tasks, and one of
// which a task can't tell holds up no other.
func TestAskMuch(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		tr := f.open(Config{})
		f.release(1, true, []string{"el/os"}, alpha)
		var added []release.Added
		names := func(product string, about albs.Digest, n int) {
			for i := range n {
				added = append(added, release.Added{Release: 1, Product: product, Path: fmt.Sprintf("%04d/%0500d", i, 0), File: alpha, Digest: about})
			}
		}
		names("large", albs.DigestOf(nil), queue.MaxSpec/500+1)
		for i := range 5 {
			names("demo", albs.DigestOf([]byte{byte(i)}), 300) // some 160 KiB
		}
		f.must(d.InTx(t.Context(), func(tx db.Tx) error {
			if err := tr.store.take(t.Context(), tx, added, false, db.Now()); err != nil {
				return err
			}
			_, err := tx.ExecContext(t.Context(), `UPDATE transparency_leaf SET step = $1, statements = $2, ledger_proof = $2, log_proof = $2`, proven, albs.DigestOf(nil))
			return err
		}))
		if err := tr.ask(auth.System(t.Context(), "test")); !errors.Is(err, albs.TooLarge) || !strings.Contains(err.Error(), "of large") {
			t.Errorf("ask = %v, want TooLarge that names the product", err)
		}
		var tasks []int
		f.must(d.SelectContext(t.Context(), &tasks, `SELECT COUNT(*) FROM transparency_leaf WHERE product = 'demo' AND step = $1 GROUP BY task_id ORDER BY task_id`, asked))
		if want := []int{3, 2}; !slices.Equal(tasks, want) {
			t.Errorf("the tasks have %v packages, want %v", tasks, want)
		}
		var left []string
		f.must(d.SelectContext(t.Context(), &left, `SELECT product FROM transparency_leaf WHERE step = $1`, proven))
		if want := []string{"large"}; !slices.Equal(left, want) {
			t.Errorf("the products %v are yet to be asked for, want %v", left, want)
		}
	})
}

// TestPutBack: a log that lost what was published gets nothing more, and an operator
// begins another; what was proven stays so.
func TestPutBack(t *testing.T) {
	t.Parallel()
	f, tr, stop := running(t, Config{})
	old := filepath.Join(t.TempDir(), "old")
	f.must(os.CopyFS(old, os.DirFS(filepath.Join(f.dir, "1"))))
	f.release(2, false, []string{"el/os"}, beta)
	l := f.claim()
	second := l.Spec.Prove.Packages[0]
	f.lay(l)
	f.reaches(tr, "the second is laid", func(s State) bool { return s.Laid == 2 })
	proof, err := f.Artifacts.Open(t.Context(), second.LogProof, 0, -1)
	f.must(err)
	var before bytes.Buffer
	_, err = before.ReadFrom(proof)
	f.must(err)

	f.must(os.RemoveAll(filepath.Join(f.dir, "1")))
	f.must(os.CopyFS(filepath.Join(f.dir, "1"), os.DirFS(old)))
	f.release(3, false, []string{"el/os"}, gamma)
	s := f.reaches(tr, "it is noticed", func(s State) bool { return s.Trouble != "" })
	if err := tr.Healthy(); !errors.Is(err, albs.Conflict) || !strings.Contains(s.Trouble, "published") || s.Entered != 1 {
		t.Errorf("Healthy = %v, the state %+v", err, s)
	}
	stop()

	anew := f.open(Config{Origin: "log.example.org/2026"})
	mastertest.Run(t, anew.Run)
	l = f.claim()
	if in := f.verify(anew, l, l.Spec.Prove.Packages[0]); in.Origin != "log.example.org/2026" || in.Size != 1 {
		t.Errorf("the new log's proof says %+v", in)
	}
	f.lay(l)
	f.reaches(anew, "the third is laid", func(s State) bool { return s.Laid == 3 && s.Trouble == "" && len(s.Logs) == 2 })
	policy, err := anew.Policy(t.Context())
	f.must(err)
	var leaf string
	f.must(f.DB.GetContext(t.Context(), &leaf, `SELECT leaf FROM transparency_leaf WHERE release_id = 2`))
	if in, err := tlog.Verify(before.Bytes(), []byte(leaf), *policy); err != nil || in.Index != 1 {
		t.Errorf("what was proven before: %+v, %v", in, err)
	}
	// What was ended isn't taken up again.
	if _, err := f.open(Config{Origin: "albs.example.org/releases"}).current(t.Context()); !errors.Is(err, albs.Invalid) {
		t.Errorf("the first log again: %v, want Invalid", err)
	}
}

// TestRefused: without the witness's word no package is told of, and what it said is
// kept.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.Error(w, "it forked", http.StatusUnprocessableEntity)
	}))
	t.Cleanup(s.Close)
	_, vkey := witness(t)
	tr := f.open(Config{Witnesses: []tlog.Witness{{URL: s.URL, Key: vkey}}, Quorum: 1})
	tr.patience = time.Second
	mastertest.Run(t, f.Queue.Run, f.Events.Run, f.Provenance.Run, tr.Run)
	f.release(1, false, []string{"el/os"}, alpha)
	state := f.reaches(tr, "it is noticed", func(s State) bool { return s.Trouble != "" })
	if !strings.Contains(state.Trouble, "refuses to cosign (422): it forked") || state.Entered != 1 || state.Proven != 0 {
		t.Errorf("the state is %+v", state)
	}
	kept, err := filepath.Glob(filepath.Join(f.dir, "evidence/*.txt"))
	if err != nil || len(kept) == 0 {
		t.Fatalf("the evidence is %v, %v", kept, err)
	}
	if strings.Contains(state.Trouble, f.dir) || !strings.Contains(state.Trouble, filepath.Base(kept[0])) {
		t.Errorf("anyone may read %q, want the evidence's name and no folder in it", state.Trouble)
	}
	b, err := os.ReadFile(kept[0])
	if err != nil || !strings.Contains(string(b), "it forked") || !strings.Contains(string(b), "albs.example.org/releases\n") {
		t.Errorf("the evidence is %q, %v", b, err)
	}
}

// TestEvidenceIsBounded: a witness that says something else each time fills no disk, however
// often the master is started.
func TestEvidenceIsBounded(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "evidence"), 0o700); err != nil {
		t.Fatal(err)
	}
	for i := range maxEvidence - 1 {
		if err := os.WriteFile(filepath.Join(dir, "evidence", fmt.Sprint(i)), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	tr := &Transparency{Parts: Parts{Log: zerolog.Nop()}, config: Config{Dir: dir}, refused: map[albs.Digest]bool{}}
	for i := range 3 {
		tr.keepRefusal(tlog.Refusal{Witness: "https://w.example", Status: 422, Said: fmt.Append(nil, i)})
	}
	kept, err := os.ReadDir(filepath.Join(dir, "evidence"))
	if err != nil || len(kept) != maxEvidence {
		t.Errorf("%d files are kept, %v, want %d", len(kept), err, maxEvidence)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Parallel()
	_, vkey := witness(t)
	w := tlog.Witness{URL: "https://w.example", Key: vkey}
	for name, tt := range map[string]struct {
		c    Config
		want string
	}{
		"nothing":             {Config{}, ""},
		"all":                 {Config{Dir: "/srv/log", Origin: "log.example/x", Witnesses: []tlog.Witness{w}, Quorum: 1}, ""},
		"a relative folder":   {Config{Dir: "log"}, "absolute"},
		"an origin with a +":  {Config{Origin: "a+b"}, "origin"},
		"no witness's key":    {Config{Witnesses: []tlog.Witness{{URL: "https://w.example", Key: "x"}}}, "no key of a witness"},
		"no URL":              {Config{Witnesses: []tlog.Witness{{URL: "w.example", Key: vkey}}}, "URL"},
		"a witness twice":     {Config{Witnesses: []tlog.Witness{w, w}}, "same key"},
		"more than there are": {Config{Witnesses: []tlog.Witness{w}, Quorum: 2}, "quorum"},
	} {
		err := tt.c.Check()
		if (tt.want == "") != (err == nil) || err != nil && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
}

// TestOpen gives nobody what is beside the log.
func TestOpen(t *testing.T) {
	t.Parallel()
	f, tr, _ := running(t, Config{})
	for name, want := range map[string]bool{
		"1/checkpoint": true, "1/log.vkey": true, "1/tile/entries/000.p/1": true, "1/.state/treeState": false, "1.key": false, "2/checkpoint": false,
		"01/checkpoint": false, "1/../1.key": false, "": false, "evidence/x.txt": false,
	} {
		file, _, err := tr.Open(t.Context(), name)
		if (err == nil) != want || err != nil && !errors.Is(err, albs.NotFound) {
			t.Errorf("Open(%q) = %q, %v", name, file, err)
		}
		if err == nil {
			_, err := os.Stat(file)
			f.must(err)
		}
	}
}
