package release

import (
	"bytes"
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest/effect"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/pgp"
	"albs/internal/repodata"
)

// notices is a part whose things are lines of text about a package: each is a signed file
// of the tree, all of them together are another one and a record of the repository.
type notices struct {
	f *fixture

	mu    sync.Mutex
	texts map[string]string // by name: what is to be released
	told  []string
}

func (*notices) Name() string { return "notes" }

func (n *notices) May(ctx context.Context, p product.Product, wanted []plan.Wanted) error {
	for _, w := range wanted {
		if w.Name == "secret" {
			return albs.Errorf(albs.Forbidden, "%s is not for %s", w.Name, auth.From(ctx).Name)
		}
	}
	return nil
}

func (n *notices) keep(ctx context.Context, path, text string) (repodata.TreeFile, error) {
	d := digest(text)
	size, err := n.f.artifacts.Blobs().Put(ctx, d, strings.NewReader(text))
	return repodata.TreeFile{Path: path, Digest: d, Size: size}, err
}

// Share refuses a notice about a package that demoOS will not hold.
func (n *notices) Share(ctx context.Context, a Ask) (plan.Share, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var s plan.Share
	texts := map[string]string{}
	for _, file := range a.Tree.Files {
		if name, ok := strings.CutPrefix(file.Path, "notes/one/"); ok && strings.HasSuffix(name, ".txt") {
			b, err := os.ReadFile(filepath.Join(n.f.public, "demo/current", file.Path))
			if err != nil {
				return s, err
			}
			texts[strings.TrimSuffix(name, ".txt")] = string(b)
		}
	}
	for _, w := range a.Wanted {
		text := n.texts[w.Name]
		texts[w.Name] = text
		s.Items = append(s.Items, plan.Item{Part: n.Name(), Name: w.Name, Title: text, Version: 1, Digest: digest(text), Force: w.Force})
		held, err := a.Holds(ctx, demoOS)
		if err != nil {
			return s, err
		}
		if !slices.ContainsFunc(held, func(p Package) bool { return p.Digest.Valid() && strings.HasPrefix(text, p.NEVRA.String()) }) {
			s.Refusals = append(s.Refusals, plan.Refusal{Package: w.Name, Reason: fmt.Sprintf("%s will not hold what it is about, %q", demoOS, text)})
		}
	}
	if len(texts) == 0 {
		return s, nil
	}
	s.Folders, s.Types = []string{"notes"}, []string{"notes"}
	var all string
	for _, name := range slices.Sorted(maps.Keys(texts)) {
		file, err := n.keep(ctx, "notes/one/"+name+".txt", texts[name])
		if err != nil {
			return s, err
		}
		s.Files = append(s.Files, plan.File{TreeFile: file, Sign: true})
		all += name + "\n"
	}
	file, err := n.keep(ctx, "notes/all.txt", all)
	if err != nil {
		return s, err
	}
	s.Files = append(s.Files, plan.File{TreeFile: file})
	s.Records = map[string][]repodata.Record{demoOS: {{Type: "notes", Name: "notes.txt", Digest: file.Digest, Size: file.Size}}}
	return s, nil
}

func (n *notices) note(what string, t Turn) {
	n.mu.Lock()
	defer n.mu.Unlock()
	var names []string
	for _, i := range t.Items {
		names = append(names, i.Name)
	}
	n.told = append(n.told, strings.TrimSpace(what+" "+strings.Join(names, " ")))
}

func (n *notices) Start(_ context.Context, tx db.Tx, t Turn) error {
	tx.AfterCommit(func() { n.note("start", t) })
	return nil
}

func (n *notices) Fail(_ context.Context, tx db.Tx, t Turn, reason string) error {
	tx.AfterCommit(func() { n.note("fail ("+strings.Fields(reason)[0]+")", t) })
	return nil
}

func (n *notices) Released(_ context.Context, t Turn) (func(context.Context, db.Tx) error, error) {
	return n.turned("released", t)
}

func (n *notices) Reverted(_ context.Context, t Turn) (func(context.Context, db.Tx) error, error) {
	return n.turned("reverted", t)
}

func (n *notices) turned(what string, t Turn) (func(context.Context, db.Tx) error, error) {
	what += fmt.Sprintf(" %d>%d", t.From.Serial, t.To.Serial)
	return func(_ context.Context, tx db.Tx) error {
		tx.AfterCommit(func() { n.note(what, t) })
		return nil
	}, nil
}

// hears wants the part to be told these things and no others; the last of them may come
// a moment after its transaction is seen.
func (n *notices) hears(want ...string) {
	n.f.t.Helper()
	n.f.until("the part is told", func() bool {
		n.mu.Lock()
		defer n.mu.Unlock()
		return len(n.told) >= len(want)
	})
	n.mu.Lock()
	defer n.mu.Unlock()
	if diff := cmp.Diff(want, n.told); diff != "" {
		n.f.t.Errorf("the part was told (-want +got):\n%s", diff)
	}
	n.told = nil
}

func wantNote(names ...string) (out []plan.Wanted) {
	for _, name := range names {
		out = append(out, plan.Wanted{Part: "notes", Name: name})
	}
	return out
}

// TestPart: what a part has is planned, approved, signed, shown, and rolled back together
// with packages.
func TestPart(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.startSigner()
		f.makeKey("demo key", pgp.Ed25519)
		n := &notices{f: f, texts: map[string]string{"one": "hello-1.0-1.x86_64 is good", "two": "hello-1.0-1.x86_64 is better", "none": "nothing-1-1.noarch is there"}}
		f.Join(n)
		first := f.signedBuild(rpmbuild(t, "1", "one"))

		many := make([]plan.Wanted, MaxWanted+1)
		for name, tc := range map[string]struct {
			wanted []plan.Wanted
			kind   albs.Kind
			part   string
		}{
			"of another part":      {[]plan.Wanted{{Part: "other", Name: "one"}}, albs.Invalid, "other"},
			"twice":                {wantNote("one", "two", "one"), albs.Invalid, "twice"},
			"forbidden":            {wantNote("secret"), albs.Forbidden, "not for pam"},
			"too many":             {many, albs.TooLarge, ""},
			"a force of two lines": {[]plan.Wanted{{Part: "notes", Name: "one", Force: "a\nb"}}, albs.Invalid, "one line"},
		} {
			_, err := f.Plan(f.planner, "demo", nil, tc.wanted...)
			f.wantKind(name, err, tc.kind, tc.part)
		}
		r, err := f.Plan(f.planner, "demo", nil, wantNote("one")...)
		f.must(err)
		if len(r.Plan.Refusals) != 1 || r.Plan.Refusals[0].Package != "one" {
			t.Errorf("a note about what isn't there: %v", r.Plan.Refusals)
		}
		_, err = f.Plan(f.planner, "demo", nil)
		f.wantKind("a plan of nothing", err, albs.Invalid, "no record")

		// Package and note are one release.
		r, err = f.Plan(f.planner, "demo", []albs.BuildID{first}, wantNote("one")...)
		f.must(err)
		if len(r.Plan.Refusals) > 0 || len(r.Plan.Items) != 1 || len(r.Plan.Files) != 2 {
			t.Fatalf("the plan is %+v", r.Plan)
		}
		raw, err := f.Effects(t.Context(), r.ID)
		f.must(err)
		effects, err := effect.Parse(raw)
		if err != nil || len(effects.Items) != 1 || effects.Items[0].Digest != digest(n.texts["one"]) || len(effects.Tree) != 2 || !effects.Tree[1].Signed {
			t.Errorf("the effects are %+v, %v", effects, err)
		}
		// What changes it voids the approval.
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		n.mu.Lock()
		n.texts["one"] += ", and changed"
		n.mu.Unlock()
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish of another note than was approved", err, albs.Conflict, "has changed")
		r, err = f.Get(t.Context(), r.ID)
		f.must(err)
		if len(r.Approvals) > 0 || r.Plan.Items[0].Digest != digest(n.texts["one"]) {
			t.Errorf("the new plan has %d approvals and %+v", len(r.Approvals), r.Plan.Items)
		}
		n.hears()
		// A publication in vain is told.
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		_, err = f.Cancel(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Failed)
		f.startReleaser()
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
		n.hears("start one", "fail (cancelled) one", "start one", "released 0>1 one")
		f.wantNotes("one")
		stated := f.repodata()[demoOS+"/repodata/repomd.xml"]
		if !strings.Contains(stated, `type="notes"`) {
			t.Errorf("the repository has no record of the notes: %s", stated)
		}

		// A note alone is a release too; what is shown stays, with its signature.
		one, err := os.ReadFile(filepath.Join(f.public, "demo/current/notes/one/one.txt.asc"))
		f.must(err)
		r, err = f.Plan(f.planner, "demo", nil, wantNote("two")...)
		f.must(err)
		if len(r.Plan.Refusals) > 0 || len(r.Plan.Files) != 2 || r.Plan.Added() != 0 {
			t.Fatalf("the plan of a note alone is %+v", r.Plan)
		}
		f.publishPlanned(r)
		f.wantNotes("one", "two")
		if again, err := os.ReadFile(filepath.Join(f.public, "demo/current/notes/one/one.txt.asc")); err != nil || !bytes.Equal(again, one) {
			t.Errorf("what was shown is signed again: %v", err)
		}
		// The tree tells which files those are, and nothing beside it.
		var lists []string
		f.must(f.d.SelectContext(t.Context(), &lists, `SELECT DISTINCT files FROM release WHERE status = $1`, Completed))
		if diff := cmp.Diff([]string{"[]"}, lists); diff != "" {
			t.Errorf("files of releases beside their trees (-want +got):\n%s", diff)
		}
		// Packages alone leave the notes as they are.
		f.release(f.signedBuild(rpmbuild(t, "2", "two")))
		f.wantNotes("one", "two")
		n.hears("start two", "released 1>2 two", "released 2>3")

		back, err := f.Rollback(f.planner, "demo", 1)
		f.must(err)
		back = f.ended(back.ID, Completed)
		f.wantNotes("one")
		if len(back.Plan.Files) != 3 {
			t.Errorf("the plan of the rollback tells of %+v", back.Plan.Files)
		}
		n.hears("reverted 3>4")
	})
}

// wantNotes wants the public place to have these notes, each signed, and no others.
func (f *fixture) wantNotes(names ...string) {
	f.t.Helper()
	root := filepath.Join(f.public, "demo/current/notes")
	all, err := os.ReadFile(filepath.Join(root, "all.txt"))
	f.must(err)
	if got := strings.Fields(string(all)); !slices.Equal(got, names) {
		f.t.Errorf("all notes are %v, want %v", got, names)
	}
	public, err := f.signs.Key(f.t.Context(), "demo key")
	f.must(err)
	kr, err := pgp.ReadKeyring(public.Public)
	f.must(err)
	var found []string
	for _, name := range names {
		path := filepath.Join(root, "one", name+".txt")
		text, err := os.ReadFile(path)
		f.must(err)
		asc, err := os.ReadFile(path + ".asc")
		f.must(err)
		if _, _, err := kr.VerifyArmored(bytes.NewReader(text), asc); err != nil {
			f.t.Errorf("%s: %v", name, err)
		}
		found = append(found, name+".txt", name+".txt.asc")
	}
	entries, err := os.ReadDir(filepath.Join(root, "one"))
	f.must(err)
	if len(entries) != len(found) {
		f.t.Errorf("%d files lie there, want %v", len(entries), found)
	}
}
