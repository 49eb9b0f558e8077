package repo_test

import (
	"bytes"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm/rpmtest"
)

// packages builds three small RPMs with the real rpmbuild, once, and returns them
// by file name.
var packages = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Noarch("Alpha", "beta", "gamma")
})

const (
	alpha = "Alpha-1-1.noarch.rpm"
	beta  = "beta-1-1.noarch.rpm"
	gamma = "gamma-1-1.noarch.rpm"
)

type fixture struct {
	t         *testing.T
	d         *db.DB
	blobs     blob.Store
	artifacts *artifact.Artifacts
	events    *event.Log
	repos     *repo.Repos
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	blobs, err := blob.NewDir(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, d: d, blobs: blobs, artifacts: artifact.New(d, blobs, staging), events: event.New(d, zerolog.Nop())}
	f.repos = repo.New(d, f.artifacts, f.events)
	return f
}

// save stores a built package as admission does: without a row.
func (f *fixture) save(name string) artifact.Artifact {
	f.t.Helper()
	made, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		f.t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		f.t.Fatal(err)
	}
	a, err := f.artifacts.Save(f.t.Context(), bytes.NewReader(made[name]), 1<<20, name, artifact.RPM)
	if err != nil {
		f.t.Fatal(err)
	}
	return a
}

func (f *fixture) inTx(fn func(tx db.Tx) error) error { return f.d.InTx(f.t.Context(), fn) }

func (f *fixture) ensure(name string) {
	f.t.Helper()
	if err := f.inTx(func(tx db.Tx) error { return f.repos.Ensure(f.t.Context(), tx, name) }); err != nil {
		f.t.Fatal(err)
	}
}

func (f *fixture) extend(name string, add []artifact.Artifact, remove ...string) (from, to albs.Digest) {
	f.t.Helper()
	from, to, err := f.repos.Extend(f.t.Context(), name, add, remove)
	if err != nil {
		f.t.Fatal(err)
	}
	return from, to
}

func (f *fixture) advance(name string, from, to albs.Digest) error {
	return f.inTx(func(tx db.Tx) error { return f.repos.Advance(f.t.Context(), tx, name, from, to) })
}

func (f *fixture) current(name string) albs.Digest {
	f.t.Helper()
	d, err := f.repos.Current(f.t.Context(), name)
	if err != nil {
		f.t.Fatal(err)
	}
	return d
}

// paths returns the paths of a snapshot's packages.
func (f *fixture) paths(d albs.Digest) []string {
	f.t.Helper()
	s, err := f.repos.Open(f.t.Context(), d)
	if err != nil {
		f.t.Fatal(err)
	}
	var paths []string
	err = s.Packages(f.t.Context(), f.repos.Blobs(), func(e repodata.Entry) error {
		paths = append(paths, e.Path)
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return paths
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

var anyOrder = cmpopts.SortSlices(func(a, b string) bool { return a < b })

func TestPath(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		alpha:                "Packages/a/" + alpha,
		"0ad-1-1.noarch.rpm": "Packages/0/0ad-1-1.noarch.rpm",
	} {
		if got := repo.Path(in); got != want {
			t.Errorf("Path(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestExtendAndAdvance(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		a, b, c := f.save(alpha), f.save(beta), f.save(gamma)
		const name = "build-1/x86_64"
		f.ensure(name)
		f.ensure(name)

		empty := f.current(name)
		if p := f.paths(empty); len(p) != 0 {
			t.Errorf("a new repository holds %v", p)
		}
		from, to := f.extend(name, []artifact.Artifact{a, b})
		if from != empty || f.current(name) != empty {
			t.Errorf("Extend began at %s and left %s current, want %s for both", from, f.current(name), empty)
		}
		if err := f.advance(name, from, to); err != nil {
			t.Fatal(err)
		}
		if f.current(name) != to {
			t.Errorf("Current = %s, want %s", f.current(name), to)
		}
		if diff := cmp.Diff([]string{repo.Path(alpha), repo.Path(beta)}, f.paths(to), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		wantKind(t, "Advance from what it no longer shows", f.advance(name, from, to), albs.Conflict)

		from, to = f.extend(name, []artifact.Artifact{c}, repo.Path(alpha))
		if err := f.advance(name, from, to); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{repo.Path(beta), repo.Path(gamma)}, f.paths(to), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}

		// A retry that brings the same bytes has nothing to advance, and ends its turn.
		for range 2 {
			if from, again := f.extend(name, []artifact.Artifact{b, c}); from != to || again != to {
				t.Errorf("Extend by what is there = %s, %s, want %s twice", from, again, to)
			}
		}

		// Another master, or this one after a restart, finds the same.
		again := repo.New(d, f.artifacts, f.events)
		if got, err := again.Current(t.Context(), name); err != nil || got != to {
			t.Errorf("after a restart Current = %s, %v, want %s", got, err, to)
		}
	})
}

// TestAdvanceFromEmptyAfterRestart is a plan that was made before a restart.
func TestAdvanceFromEmptyAfterRestart(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.ensure("r")
		from, to := f.extend("r", []artifact.Artifact{f.save(alpha)})
		f.repos = repo.New(d, f.artifacts, f.events)
		if err := f.advance("r", from, to); err != nil {
			t.Error(err)
		}
	})
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	ctx := t.Context()
	a := f.save(alpha)
	f.ensure("r")
	from, to := f.extend("r", []artifact.Artifact{a})
	if err := f.advance("r", from, to); err != nil {
		t.Fatal(err)
	}

	_, err := f.repos.Current(ctx, "nowhere")
	wantKind(t, "Current of no repository", err, albs.NotFound)
	_, _, err = f.repos.Extend(ctx, "nowhere", []artifact.Artifact{a}, nil)
	wantKind(t, "Extend of no repository", err, albs.NotFound)
	_, _, err = f.repos.Extend(ctx, "r", nil, []string{"Packages/z/zeta-1-1.noarch.rpm"})
	wantKind(t, "Extend without what isn't there", err, albs.NotFound)
	_, _, err = f.repos.Extend(ctx, "r", []artifact.Artifact{{Kind: artifact.Log, Name: "build.log", Digest: a.Digest, Size: 1}}, nil)
	wantKind(t, "Extend by a log", err, albs.Invalid)
	_, _, err = f.repos.Extend(ctx, "r", []artifact.Artifact{{Kind: artifact.RPM, Name: beta, Digest: albs.DigestOf([]byte("gone")), Size: 1}}, nil)
	wantKind(t, "Extend by bytes that aren't there", err, albs.NotFound)
	other := f.save(beta)
	other.Name = alpha
	_, _, err = f.repos.Extend(ctx, "r", []artifact.Artifact{other}, nil)
	wantKind(t, "Extend by other bytes at a path that is taken", err, albs.Conflict)
	_, err = f.repos.Open(ctx, a.Digest)
	wantKind(t, "Open of a package", err, albs.Invalid)
	wantKind(t, "Advance of no repository", f.advance("nowhere", from, to), albs.Conflict)
	wantKind(t, "Advance to nothing", f.advance("r", to, ""), albs.Internal)
	for _, name := range []string{"", "/r", "-r", "a b", "a\nb", "../r", strings.Repeat("a", 201)} {
		err := f.inTx(func(tx db.Tx) error { return f.repos.Ensure(ctx, tx, name) })
		wantKind(t, fmt.Sprintf("Ensure(%q)", name), err, albs.Invalid)
	}
	if f.current("r") != to {
		t.Error("a refusal moved the repository")
	}
}

// TestConcurrentExtensions is a build whose packages are admitted all at once:
// each ends in the repository, and no one meets a Conflict.
func TestConcurrentExtensions(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.ensure("r")
		as := []artifact.Artifact{f.save(alpha), f.save(beta), f.save(gamma)}
		errs := make([]error, len(as))
		var wg sync.WaitGroup
		for i, a := range as {
			wg.Go(func() {
				from, to, err := f.repos.Extend(t.Context(), "r", []artifact.Artifact{a}, nil)
				if err == nil {
					err = f.advance("r", from, to)
				}
				errs[i] = err
			})
		}
		wg.Wait()
		if err := errors.Join(errs...); err != nil {
			t.Fatal(err)
		}
		if got := f.paths(f.current("r")); len(got) != len(as) {
			t.Errorf("the repository holds %v, want all of %d", got, len(as))
		}
	})
}

// TestTwoMasters lets two processes extend from the same snapshot: one is told to
// begin again, and nothing is lost.
func TestTwoMasters(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.ensure("r")
		other := repo.New(d, f.artifacts, f.events)
		from, mine := f.extend("r", []artifact.Artifact{f.save(alpha)})
		from2, theirs, err := other.Extend(t.Context(), "r", []artifact.Artifact{f.save(beta)}, nil)
		if err != nil || from2 != from {
			t.Fatalf("Extend = from %s, %v, want from %s", from2, err, from)
		}
		if err := f.advance("r", from, mine); err != nil {
			t.Fatal(err)
		}
		err = f.inTx(func(tx db.Tx) error { return other.Advance(t.Context(), tx, "r", from, theirs) })
		wantKind(t, "the second Advance", err, albs.Conflict)
		// The Conflict ended that turn, so this doesn't wait.
		from, theirs, err = other.Extend(t.Context(), "r", []artifact.Artifact{f.save(beta)}, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.inTx(func(tx db.Tx) error { return other.Advance(t.Context(), tx, "r", from, theirs) }); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{repo.Path(alpha), repo.Path(beta)}, f.paths(f.current("r")), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
	})
}

func TestReads(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	ctx := t.Context()
	a, b := f.save(alpha), f.save(beta)
	snapshot, err := f.repos.ExtendSnapshot(ctx, "", repo.Change{Add: []artifact.Artifact{a}})
	if err != nil {
		t.Fatal(err)
	}
	other, err := f.repos.ExtendSnapshot(ctx, "", repo.Change{})
	if err != nil {
		t.Fatal(err)
	}
	s, err := f.repos.Open(ctx, snapshot)
	if err != nil {
		t.Fatal(err)
	}
	for what, tt := range map[string]struct {
		d    albs.Digest
		want bool
	}{
		"root": {snapshot, true}, "repomd.xml": {s.Repomd(), true}, "package": {a.Digest, true},
		"another package": {b.Digest, false}, "nothing": {"", false},
	} {
		for where, repos := range map[string][]albs.Repo{
			"alone": {{Snapshot: snapshot}}, "after one elsewhere": {{Mirror: "https://mirror.example/"}, {Snapshot: snapshot}}, "before another": {{Snapshot: snapshot}, {Snapshot: other}},
		} {
			if got, err := f.repos.Contain(ctx, repos, tt.d); err != nil || got != tt.want {
				t.Errorf("Contain(%s), %s = %v, %v, want %v", what, where, got, err, tt.want)
			}
		}
	}
	if got, err := f.repos.Contain(ctx, []albs.Repo{{Snapshot: other}, {Snapshot: snapshot}}, a.Digest); err != nil || !got {
		t.Errorf("Contain of the second = %v, %v, want true", got, err)
	}
	_, err = f.repos.Contain(ctx, []albs.Repo{{Snapshot: albs.DigestOf(nil)}}, a.Digest)
	wantKind(t, "Contain of no snapshot", err, albs.NotFound)

	got, err := f.repos.Find(ctx, snapshot, repo.Path(alpha))
	if want := a.File(); err != nil || got != want {
		t.Errorf("Find(package) = %v, %v, want %v", got, err, want)
	}
	got, err = f.repos.Find(ctx, snapshot, "repodata/repomd.xml")
	if err != nil || got.Name != "repomd.xml" || got.Digest != s.Repomd() || got.Size <= 0 {
		t.Errorf("Find(repomd.xml) = %v, %v, want %s", got, err, s.Repomd())
	}
	for _, p := range []string{"", "repodata", "repodata/repomd.xml.asc", repo.Path(beta), "../" + repo.Path(alpha)} {
		_, err = f.repos.Find(ctx, snapshot, p)
		wantKind(t, fmt.Sprintf("Find(%q)", p), err, albs.NotFound)
	}

	asc := "-----BEGIN PGP SIGNATURE-----\n\niQ==\n-----END PGP SIGNATURE-----\n"
	sealed, err := f.repos.Seal(ctx, snapshot, []byte(asc))
	if err != nil {
		t.Fatal(err)
	}
	got, err = f.repos.Find(ctx, sealed, "repodata/repomd.xml.asc")
	if err != nil || got.Digest != albs.DigestOf([]byte(asc)) {
		t.Errorf("Find(repomd.xml.asc) = %v, %v", got, err)
	}
	if diff := cmp.Diff([]string{repo.Path(alpha)}, f.paths(sealed)); diff != "" {
		t.Errorf("packages of the sealed snapshot (-want +got):\n%s", diff)
	}
}

// TestManyOpened opens more snapshots than are remembered.
func TestManyOpened(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	var all []albs.Digest
	for i := range int64(40) {
		s, err := repodata.Empty(t.Context(), f.repos.Blobs(), i+1)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s.Digest())
	}
	for range 2 {
		for i, d := range all {
			s, err := f.repos.Open(t.Context(), d)
			if err != nil || s.Digest() != d || s.Revision() != int64(i+1) {
				t.Fatalf("Open(%s) = %v, %v", d, s, err)
			}
		}
	}
}

func TestPin(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	doc := []byte("<repomd/>")
	for range 2 {
		d, err := f.repos.Pin(t.Context(), doc)
		if err != nil || d != albs.DigestOf(doc) {
			t.Fatalf("Pin = %s, %v", d, err)
		}
		a, err := f.artifacts.Get(t.Context(), f.d, d)
		if err != nil || a.Kind != artifact.Document || a.Name != "repomd.xml" {
			t.Errorf("the document is %+v, %v", a, err)
		}
	}
	_, err := f.repos.Pin(t.Context(), make([]byte, 5<<20))
	wantKind(t, "Pin of 5 MiB", err, albs.TooLarge)
}

func tree(serial int64, snapshot albs.Digest) repodata.Tree {
	return repodata.Tree{Product: "p", Serial: serial, Repositories: []repodata.TreeRepo{{Path: "os/x86_64", Snapshot: snapshot}}}
}

func TestTrees(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		ctx := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, Name: "alice"})
		none, err := f.repos.TreeOf(ctx, "p")
		wantKind(t, "TreeOf before any", err, albs.NotFound)
		if none.Serial != 0 {
			t.Errorf("TreeOf before any has serial %d", none.Serial)
		}

		show := func(from, serial int64, content string) (albs.Digest, error) {
			t.Helper()
			tr := tree(serial, albs.DigestOf([]byte(content)))
			d, err := f.repos.SaveTree(ctx, tr)
			if err != nil {
				t.Fatal(err)
			}
			return d, f.inTx(func(tx db.Tx) error { return f.repos.AdvanceTree(ctx, tx, "p", from, tr, d) })
		}
		first, err := show(0, 1, "old")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := show(1, 2, "new"); err != nil {
			t.Fatal(err)
		}
		_, err = show(0, 1, "late")
		wantKind(t, "AdvanceTree from nothing", err, albs.Conflict)
		_, err = show(1, 2, "late")
		wantKind(t, "AdvanceTree from serial 1", err, albs.Conflict)
		_, err = show(5, 6, "early")
		wantKind(t, "AdvanceTree from what never was", err, albs.Conflict)
		for _, serial := range []int64{1, 2} {
			_, err = show(2, serial, "back")
			wantKind(t, "AdvanceTree to no higher serial", err, albs.Invalid)
		}

		// Back to the old content: a new serial, the same repositories.
		old, err := f.repos.ReadTree(ctx, first)
		if err != nil {
			t.Fatal(err)
		}
		back := old
		back.Serial = 3
		d3, err := f.repos.SaveTree(ctx, back)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.inTx(func(tx db.Tx) error { return f.repos.AdvanceTree(ctx, tx, "p", 2, back, d3) }); err != nil {
			t.Fatal(err)
		}
		now, err := f.repos.TreeOf(ctx, "p")
		if err != nil || now.Serial != 3 || now.Digest != d3 || !now.Current || now.At.IsZero() {
			t.Errorf("TreeOf = %+v, %v, want serial 3", now, err)
		}
		all, err := f.repos.Trees(ctx, "p", 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		var serials []int64
		for _, tr := range all {
			serials = append(serials, tr.Serial)
			if tr.Current != (tr.Serial == 3) {
				t.Errorf("serial %d has current %v", tr.Serial, tr.Current)
			}
		}
		if diff := cmp.Diff([]int64{3, 2, 1}, serials); diff != "" {
			t.Errorf("serials (-want +got):\n%s", diff)
		}
		page, err := f.repos.Trees(ctx, "p", 3, 1)
		if err != nil || len(page) != 1 || page[0].Serial != 2 {
			t.Errorf("Trees before 3 = %v, %v", page, err)
		}
		at, err := f.repos.TreeAt(ctx, "p", 1)
		if err != nil || at.Digest != first {
			t.Errorf("TreeAt(1) = %+v, %v, want %s", at, err, first)
		}
		_, err = f.repos.TreeAt(ctx, "p", 9)
		wantKind(t, "TreeAt(9)", err, albs.NotFound)

		var topics []string
		if err := d.SelectContext(ctx, &topics, `SELECT topic FROM event WHERE kind = 'tree.advanced' AND actor = 'user:alice'`); err != nil {
			t.Fatal(err)
		}
		if len(topics) != 3 || topics[0] != "product:p" {
			t.Errorf("events = %v, want one for each of three serials", topics)
		}
	})
}

func TestAdvanceTreeRefusesAnotherDocument(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	tr := tree(1, albs.DigestOf([]byte("s")))
	good := albs.DigestOf(tr.Encode())
	for name, tt := range map[string]struct {
		product string
		d       albs.Digest
	}{"another product": {"q", good}, "another document": {"p", albs.DigestOf(nil)}} {
		err := f.inTx(func(tx db.Tx) error { return f.repos.AdvanceTree(t.Context(), tx, tt.product, 0, tr, tt.d) })
		wantKind(t, name, err, albs.Invalid)
	}
	_, err := f.repos.SaveTree(t.Context(), tree(1, "not a digest"))
	wantKind(t, "SaveTree without snapshots", err, albs.Invalid)
	_, err = f.repos.ReadTree(t.Context(), good)
	wantKind(t, "ReadTree of nothing", err, albs.NotFound)
}
