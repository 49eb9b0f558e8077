package suite

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git/gittest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue"
	"albs/internal/master/queue/queuetest"
)

// fixture is test repositories, with a git server and a build.
type fixture struct {
	*Suites
	forge    *gittest.Server
	build    albs.BuildID
	operator context.Context
	owner    context.Context // a product maintainer of team core
	stranger context.Context
	me       auth.Actor
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{forge: gittest.NewServer(t)}
	out, err := egress.New(egress.Policy{Allow: []string{f.forge.Addr()}, CAFiles: []string{f.forge.CAFile()}})
	must(err)
	m := mastertest.Open(t, d, mastertest.Config{})
	builds := build.New(build.Parts{DB: d, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance, Platforms: m.Platforms, Repos: m.Repos, Log: zerolog.Nop()}, build.Config{})
	f.Suites = New(Parts{DB: d, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Sources: m.Sources(t, out), Builds: builds, Log: zerolog.Nop()})
	person := func(name string, grants ...auth.Grant) context.Context {
		return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: name, Grants: grants})
	}
	f.operator = person("olga", auth.Grant{Role: auth.Operator})
	f.owner = person("paul", auth.Grant{Role: auth.ProductMaintainer, Team: "core"})
	f.stranger = person("sara", auth.Grant{Role: auth.ProductMaintainer, Team: "other"})
	f.me, err = m.Auth.LocalWorker(t.Context(), auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	must(err)
	must(d.InTx(t.Context(), func(tx db.Tx) error {
		if _, err := tx.ExecContext(t.Context(), `INSERT INTO team (name, created_at) VALUES ('core', $1)`, db.Now()); err != nil {
			return err
		}
		return tx.GetContext(t.Context(), &f.build, `INSERT INTO build (owner_id, owner, team, product, options, created_at)
			VALUES (1, 'olga', '', '', '{}', $1) RETURNING id`, db.Now())
	}))
	mastertest.Run(t, m.Queue.Run, m.Events.Run)
	return f
}

// mapped is what a repository maps, in short.
func (f *fixture) mapped(t *testing.T, id int64) string {
	t.Helper()
	all, n, err := f.Mapped(t.Context(), id, Filter{})
	if err != nil || n != len(all) {
		t.Fatalf("Mapped = %d of %d, %v", len(all), n, err)
	}
	return spell(all)
}

// search has the tests of packages found, by the job itself.
func (f *fixture) search(t *testing.T, w Wanted) (found string, log string) {
	t.Helper()
	w.Lane, w.Topic, w.Build = "user:olga", build.Topic(f.build), f.build
	var id albs.TaskID
	err := f.DB.InTx(t.Context(), func(tx db.Tx) (err error) {
		id, err = f.Begin(t.Context(), tx, w)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if id == 0 {
		return "nothing", ""
	}
	var said strings.Builder
	me := auth.With(t.Context(), f.me)
	l, err := f.Queue.Claim(me, queue.Offer{Version: "test", Labels: []string{"kind:suites"}, Wait: 20})
	if err != nil || l == nil || l.Token.Task != id {
		t.Fatalf("Claim = %+v, %v", l, err)
	}
	r, err := f.find(me, queue.Task{Spec: l.Spec}, &said)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.Queue.Complete(me, l.Token, albs.OutcomeOK, r); err != nil {
		t.Fatal(err)
	}
	return f.suites(t), said.String()
}

// suites is what the build's packages are tested by, in short.
func (f *fixture) suites(t *testing.T) string {
	t.Helper()
	all, err := f.Of(t.Context(), f.build)
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, pkg := range []string{"bash", "bash-debuginfo", "zsh"} {
		for _, su := range all[pkg] {
			if (su.Missing == "") != (su.Tree != "") {
				t.Errorf("%s has %+v", pkg, su)
			}
			s := fmt.Sprintf("%s: %s of %.7s %s", pkg, su.Dir, su.Commit, strings.Join(su.Files, " "))
			if su.Missing != "" {
				s = fmt.Sprintf("%s: %s missing", pkg, su.Dir)
			}
			out = append(out, strings.TrimSpace(s))
		}
	}
	return strings.Join(out, "; ")
}

const rules = "tests/common/test_rules.json"

// TestRepositories: who may keep them, what a scan changes, and what it leaves to people.
func TestRepositories(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		first := f.forge.AddRepo("tests", map[string]string{"tests/p_bash/a.sh": "true", "tests/p_zsh/a.sh": "true", rules: `{"python3.*": "p_python"}`})
		n := NewRepository{Name: "core-tests", URL: f.forge.URL("tests"), Ref: "main", Layout: Layout{"tests/", "p_"}, Team: "core"}
		asked := f.forge.Requests()
		for what, c := range map[string]struct {
			by     context.Context
			change func(*NewRepository)
			want   albs.Kind
		}{
			"a stranger":        {f.stranger, func(*NewRepository) {}, albs.Forbidden},
			"for all":           {f.owner, func(n *NewRepository) { n.Team = "" }, albs.Forbidden},
			"nobody":            {t.Context(), func(*NewRepository) {}, albs.Unauthenticated},
			"no team":           {f.operator, func(n *NewRepository) { n.Team = "nosuch" }, albs.NotFound},
			"an address inside": {f.operator, func(n *NewRepository) { n.URL = "https://127.0.0.1:1/x.git" }, albs.Forbidden},
			"a shell's ref":     {f.operator, func(n *NewRepository) { n.Ref = "main|id" }, albs.Invalid},
		} {
			n := n
			c.change(&n)
			if _, err := f.Add(c.by, n); albs.KindOf(err) != c.want {
				t.Errorf("%s: Add = %v, want %s", what, err, c.want)
			}
		}
		if f.forge.Requests() != asked {
			t.Error("the git server was asked for what is refused")
		}
		for what, change := range map[string]func(*NewRepository){
			"no repository": func(n *NewRepository) { n.URL = f.forge.URL("nosuch") },
			"no ref":        func(n *NewRepository) { n.Ref = "nosuch" },
		} {
			n := n
			change(&n)
			if _, err := f.Add(f.operator, n); albs.KindOf(err) != albs.NotFound {
				t.Errorf("%s: Add = %v, want NotFound", what, err)
			}
		}
		r, err := f.Add(f.owner, n)
		if err != nil || r.Commit != first || r.Failure != "" || r.Mappings != 3 || r.Actor != "user:paul" {
			t.Fatalf("Add = %+v, %v", r, err)
		}
		if _, err := f.Add(f.owner, n); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Add again = %v, want Conflict", err)
		}
		if got := f.mapped(t, r.ID); got != "bash=p_bash ~python3.*=p_python zsh=p_zsh" {
			t.Errorf("mapped: %s", got)
		}

		// A person's own mappings outlive scans, and folders that are gone don't.
		hand := []Mapping{{Package: "dash", Folder: "p_bash"}, {Package: "zsh", Folder: "p_zsh"}}
		if _, err := f.Map(f.stranger, r.ID, hand); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("a stranger's Map = %v", err)
		}
		if _, err := f.Map(f.owner, r.ID, []Mapping{{Package: "dash", Folder: "p_bash"}, {Package: "a b", Folder: "x"}}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Map of a bad name = %v", err)
		}
		if added, err := f.Map(f.owner, r.ID, hand); err != nil || added != 1 {
			t.Errorf("Map = %d, %v, want 1 new", added, err)
		}
		second := f.forge.Commit("tests", "main", map[string]string{"tests/p_bash/a.sh": "true", "tests/p_ksh/a.sh": "true"})
		s, err := f.Scan(f.owner, r.ID)
		if err != nil || s.Commit != second || s.Added != 1 || s.Removed != 2 {
			t.Errorf("Scan = %+v, %v", s, err)
		}
		if got := f.mapped(t, r.ID); got != "bash=p_bash dash=p_bash! ksh=p_ksh" {
			t.Errorf("after the scan: %s", got)
		}
		if found, n, err := f.Mapped(t.Context(), r.ID, Filter{Text: "BASH", Limit: 1}); err != nil || len(found) > 1 || n > 2 {
			t.Errorf("a page of a search: %v of %d, %v", found, n, err)
		}
		all, _, err := f.Mapped(t.Context(), r.ID, Filter{Text: "dash"})
		if err != nil || len(all) != 1 {
			t.Fatalf("Mapped = %v, %v", all, err)
		}
		if err := f.UnmapOne(f.stranger, all[0].ID); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("a stranger's Unmap = %v", err)
		}
		if removed, err := f.Unmap(f.owner, r.ID, []int64{all[0].ID, 1 << 40}); err != nil || removed != 1 {
			t.Errorf("Unmap = %d, %v", removed, err)
		}
		if err := f.UnmapOne(f.owner, all[0].ID); albs.KindOf(err) != albs.NotFound {
			t.Errorf("Unmap again = %v, want NotFound", err)
		}

		// What is wrong is told where, and the last good scan stays.
		f.forge.Commit("tests", "main", map[string]string{"tests/p_zsh/a.sh": "true", rules: "{\n\"(\": \"x\"}"})
		s, err = f.Scan(f.owner, r.ID)
		if err != nil || s.Commit != second || !strings.Contains(s.Failure, "test_rules.json, line 2") {
			t.Errorf("Scan of bad rules = %+v, %v", s, err)
		}
		if err := f.scanAll(auth.System(t.Context(), "test")); err != nil {
			t.Error(err)
		}
		if got, _, err := f.List(t.Context(), Filter{Text: "core"}); err != nil || len(got) != 1 || got[0].Failure == "" || f.mapped(t, r.ID) != "bash=p_bash ksh=p_ksh" {
			t.Errorf("after all: %+v, %v: %s", got, err, f.mapped(t, r.ID))
		}
		bad, dir := "--exec", ""
		if _, err := f.Edit(f.owner, r.ID, Change{Ref: &bad}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Edit to a bad ref = %v", err)
		}
		if _, err := f.Edit(f.stranger, r.ID, Change{Ref: &first}); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("a stranger's Edit = %v", err)
		}
		if e, err := f.Edit(f.owner, r.ID, Change{Ref: &first, TestsPrefix: &dir}); err != nil || e.Commit != first || f.mapped(t, r.ID) != "p_bash=p_bash p_zsh=p_zsh ~python3.*=p_python" {
			t.Errorf("Edit = %+v, %v: %s", e, err, f.mapped(t, r.ID))
		}
		if err := f.Remove(f.stranger, r.ID); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("a stranger's Remove = %v", err)
		}
		if err := f.Remove(f.owner, r.ID); err != nil {
			t.Error(err)
		}
		if _, err := f.Get(t.Context(), r.ID); albs.KindOf(err) != albs.NotFound {
			t.Errorf("Get of what is removed = %v", err)
		}
	})
}

// TestSearch: a build stays with the commits that it was tested by, and what can't be had
// is told of the packages that it tests.
func TestSearch(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		w := Wanted{Packages: []string{"bash", "bash-debuginfo", "zsh"}}
		if found, _ := f.search(t, w); found != "nothing" {
			t.Errorf("without repositories: %s", found)
		}
		first := f.forge.AddRepo("tests", map[string]string{"p_bash/a.sh": "one"})
		r, err := f.Add(f.operator, NewRepository{Name: "tests", URL: f.forge.URL("tests"), Ref: "main", Layout: Layout{"", "p_"}})
		if err != nil {
			t.Fatal(err)
		}
		if found, _ := f.search(t, w); found != "bash: p_bash of "+first[:7] {
			t.Errorf("found %s", found)
		}
		of, err := f.Of(t.Context(), f.build)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.content(t, of["bash"][0].Tree, "p_bash/a.sh"); got != "one" {
			t.Errorf("the tree has %q", got)
		}

		// The repository moves on: the build doesn't, and what is shown of it does once asked.
		second := f.forge.Commit("tests", "main", map[string]string{"p_zsh/a.sh": "two"})
		if found, _ := f.search(t, w); found != "bash: p_bash of "+first[:7] {
			t.Errorf("again: %s", found)
		}
		w.Newest = true
		if found, _ := f.search(t, w); found != "zsh: p_zsh of "+second[:7] {
			t.Errorf("the newest: %s", found)
		}
		if now, err := f.Get(t.Context(), r.ID); err != nil || now.Commit != second || f.mapped(t, r.ID) != "zsh=p_zsh" {
			t.Errorf("a search that meets a new commit is no scan: %+v, %v", now, err)
		}
		w.Newest = false

		// What the build asks for comes first, and once.
		third := f.forge.AddRepo("more", map[string]string{"x/b.sh": "x"})
		w.Asked = []albs.AskedSuite{
			{URL: f.forge.URL("more"), Ref: "main", Dir: "x", Files: []string{"b.sh"}, Packages: []string{"zsh"}},
			{URL: f.forge.URL("more"), Ref: "nosuch", Dir: "y"}, {URL: f.forge.URL("tests"), Ref: "main", Dir: "p_zsh/"},
		}
		want := "bash: p_zsh/ of " + second[:7] + "; bash: y missing; zsh: x of " + third[:7] + " b.sh; zsh: p_zsh/ of " + second[:7] + "; zsh: y missing"
		found, log := f.search(t, w)
		if diff := cmp.Diff(want, found); diff != "" || !strings.Contains(log, "has no branch or tag nosuch") {
			t.Errorf("asked (-want +got):\n%s\n%s", diff, log)
		}
		w.Asked = nil

		// A mapping to a folder that isn't there is left to the tester to tell.
		if _, err := f.Map(f.operator, r.ID, []Mapping{{Package: "ba.h", Pattern: true, Folder: "gone"}}); err != nil {
			t.Fatal(err)
		}
		if found, _ := f.search(t, w); found != "bash: gone of "+second[:7]+"; zsh: p_zsh of "+second[:7] {
			t.Errorf("by hand: %s", found)
		}

		// Bad rules, and a repository that is gone: the packages that had tests don't lose them.
		f.forge.Commit("tests", "main", map[string]string{"common/test_rules.json": "["})
		w.Newest = true
		if found, log := f.search(t, w); found != "bash: gone missing; zsh: p_zsh missing" || !strings.Contains(log, "test_rules.json, line 1") {
			t.Errorf("bad rules: %s\n%s", found, log)
		}
		f.forge.RemoveRepo("tests")
		if found, log := f.search(t, w); found != "bash: gone missing; zsh: p_zsh missing" || !strings.Contains(log, "there is no public git repository") {
			t.Errorf("gone: %s\n%s", found, log)
		}
		if now, err := f.Get(t.Context(), r.ID); err != nil || !strings.Contains(now.Failure, "no public git repository") {
			t.Errorf("the repository says %q, %v", now.Failure, err)
		}

		var kept []albs.Digest
		if err := f.roots(t.Context(), db.Now(), func(r artifact.Ref) error { kept = append(kept, r.Digest); return nil }); err != nil || len(kept) != 0 {
			t.Errorf("kept for a build without trees: %v, %v", kept, err)
		}
	})
}

// content returns a file of a tree.
func (f *fixture) content(t *testing.T, tree albs.Digest, name string) string {
	t.Helper()
	r, err := f.Artifacts.Open(t.Context(), tree, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if errors.Is(err, io.EOF) {
			t.Fatalf("the tree has no %s", name)
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Name == name {
			b, err := io.ReadAll(tr)
			if err != nil {
				t.Fatal(err)
			}
			return string(b)
		}
	}
}

// TestRoots: trees are kept as long as their builds.
func TestRoots(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.forge.AddRepo("tests", map[string]string{"bash/a.sh": "one"})
	if _, err := f.Add(f.operator, NewRepository{Name: "tests", URL: f.forge.URL("tests")}); err != nil {
		t.Fatal(err)
	}
	f.search(t, Wanted{Packages: []string{"bash"}})
	count := func() (n int) {
		if err := f.roots(t.Context(), db.At(time.Now().Add(time.Hour)), func(artifact.Ref) error { n++; return nil }); err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := count(); n != 1 {
		t.Errorf("%d trees are kept, want 1", n)
	}
	if _, err := f.DB.ExecContext(t.Context(), `UPDATE build SET deleted_at = $1, deleted_by = 'olga'`, db.Now()); err != nil {
		t.Fatal(err)
	}
	if n := count(); n != 0 {
		t.Errorf("%d trees are kept for a build that is deleted", n)
	}
}

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	err := f.DB.InTx(t.Context(), func(tx db.Tx) error {
		_, err := f.Begin(t.Context(), tx, Wanted{
			Lane: "user:olga", Topic: build.Topic(f.build), Build: f.build, Packages: []string{"bash"}, Asked: []albs.AskedSuite{{URL: f.forge.URL("x"), Ref: "main"}},
		})
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	me := auth.With(t.Context(), f.me)
	l, err := f.Queue.Claim(me, queue.Offer{Version: "test", Labels: []string{"kind:suites"}, Wait: 20})
	if err != nil || l == nil {
		t.Fatalf("Claim = %+v, %v", l, err)
	}
	queuetest.Run(t, queuetest.Case{
		DB: f.DB, Queue: f.Queue, Worker: me, Lease: *l, Handler: handler{f.Suites},
		Good: albs.Result{Suites: &albs.SuitesResult{Suites: []albs.FoundSuite{{Package: "bash", URL: f.forge.URL("x"), Ref: "main", Missing: "it is gone"}}}},
		Garbage: map[string]albs.Result{
			"another kind's":    {Graph: &albs.GraphResult{}},
			"a foreign package": {Suites: &albs.SuitesResult{Suites: []albs.FoundSuite{{Package: "zsh"}}}},
		},
	})
}
