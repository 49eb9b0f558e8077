package notary

import (
	"context"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/git/gittest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/queue/queuetest"
)

type fixture struct {
	*Notary
	*mastertest.Modules
	t     *testing.T
	forge *gittest.Server
	url   string
	alice context.Context
	me    auth.Actor
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	f := &fixture{t: t, forge: gittest.NewServer(t)}
	f.url = f.forge.URL("hello")
	out, err := egress.New(egress.Policy{Allow: []string{f.forge.Addr()}, CAFiles: []string{f.forge.CAFile()}})
	must(err)
	mirrors, err := git.New(t.TempDir(), out)
	must(err)
	f.Modules = mastertest.Open(t, d, mastertest.Config{})
	f.Notary, err = New(Parts{DB: d, Events: f.Modules.Events, Queue: f.Modules.Queue, Provenance: f.Modules.Provenance, Git: mirrors, Log: zerolog.Nop()}, Config{})
	must(err)
	f.me, err = f.Auth.LocalWorker(t.Context(), auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	must(err)
	f.alice = auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "alice", Grants: []auth.Grant{{Role: auth.ProductMaintainer, Team: "core"}}})
	return f
}

func (f *fixture) loops() {
	mastertest.Run(f.t, f.Modules.Queue.Run, f.Modules.Provenance.Run, func(ctx context.Context) error { return f.Run(ctx, f.me) })
}

// until looks at ok until it holds.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	end, tick := time.After(2*time.Minute), time.NewTicker(10*time.Millisecond)
	defer tick.Stop()
	for !ok() {
		select {
		case <-end:
			f.t.Fatalf("waited in vain until %s", what)
		case <-tick.C:
		}
	}
}

// ends has a wish done, and returns how the task ended.
func (f *fixture) ends(w Wish) queue.Task {
	f.t.Helper()
	w.URL = f.url
	id, err := f.Notarize(f.alice, w)
	if err != nil {
		f.t.Fatal(err)
	}
	var j Job
	f.until("the task is done", func() bool {
		if j, err = f.Job(f.t.Context(), id); err != nil {
			f.t.Fatal(err)
		}
		return j.Task.State.Final()
	})
	f.delivered()
	return j.Task
}

// delivered waits until the ledger has all that was stated.
func (f *fixture) delivered() {
	f.t.Helper()
	f.until("the ledger has it", func() bool {
		n, err := f.Modules.Provenance.Pending(f.t.Context())
		return err == nil && n == 0
	})
}

// said returns what is stated of a commit, all of it proven.
func (f *fixture) said(commit string) []attest.CommitBody {
	f.t.Helper()
	row, err := f.Commit(f.t.Context(), f.url, commit)
	if errors.Is(err, albs.NotFound) {
		return nil
	}
	if err != nil {
		f.t.Fatal(err)
	}
	e, err := f.Modules.Provenance.Examine(f.t.Context(), row.SHA256)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []attest.CommitBody
	for _, s := range e.Statements {
		var b attest.CommitBody
		if err := s.Statement.Body(&b); err != nil || s.Standing != provenance.Verified {
			f.t.Fatalf("statement %d of %s is %s %s, %v", s.N, commit, s.Standing, s.Trouble, err)
		}
		if s.Statement.Subject[0].Digest[attest.GitCommit] != commit {
			f.t.Errorf("statement %d of %s is about %v", s.N, commit, s.Statement.Subject)
		}
		out = append(out, b)
	}
	return out
}

// TestNotarize leads a repository through imports, changes and a rewritten history.
func TestNotarize(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		const imports, changed = "imports/c9/hello-1-1.el9", "changed/a9/hello-1-1.el9.alma.1"
		first := f.forge.AddRepo("hello", map[string]string{"hello.spec": "Name: hello\n"})
		imported := f.forge.Commit("hello", "c9", map[string]string{"hello.spec": "Name: hello\nVersion: 1\n"})
		f.forge.Tag("hello", imports, imported)
		f.forge.Git("hello", "update-ref", "refs/heads/a9", imported)
		between := f.forge.Commit("hello", "a9", map[string]string{"hello.spec": "Name: hello\nVersion: 1\n#\n"})
		debranded := f.forge.Commit("hello", "a9", map[string]string{"hello.spec": "Name: hello\nVersion: 1\n# ours\n"})
		f.forge.Tag("hello", changed, debranded)
		f.loops()

		// Without its upstream a changed tag is refused, and nothing is stated.
		got := f.ends(Wish{Refs: []string{changed}})
		if got.State != albs.TaskFailed || !strings.Contains(got.Reason, "refs/tags/"+imports) || !strings.Contains(got.Reason, "without upstream knowingly") {
			t.Fatalf("a changed tag alone: %s, %s", got.State, got.Reason)
		}
		if said := f.said(debranded); said != nil {
			t.Errorf("of a commit that was refused is said %+v", said)
		}

		// Asked for together, upstream goes first whatever the order.
		if got := f.ends(Wish{Refs: []string{changed, imports}}); got.State != albs.TaskSucceeded {
			t.Fatalf("both tags: %s, %s", got.State, got.Reason)
		}
		up := f.said(imported)
		down := f.said(debranded)
		if len(up) != 1 || len(down) != 1 || len(f.said(between)) != 1 || f.said(first) != nil { // c9 doesn't descend from main
			t.Fatalf("said of upstream: %+v, of the change: %+v, before it: %+v, of main: %+v", up, down, f.said(between), f.said(first))
		}
		if b := up[0]; b.Ref != "refs/tags/"+imports || !b.Head || b.Requester != "alice" || b.Author.Email != "tester@example.org" || !b.Record.Valid() || b.Upstream != nil {
			t.Errorf("said of upstream: %+v", b)
		}
		row, err := f.Commit(t.Context(), f.url, imported)
		if err != nil {
			t.Fatal(err)
		}
		want := &attest.CommitLink{Repository: "git+" + f.url, Ref: "refs/tags/" + imports, Commit: imported, SHA256: row.SHA256, Record: up[0].Record}
		if diff := cmp.Diff(want, down[0].Upstream); diff != "" {
			t.Errorf("upstream (-want +got):\n%s", diff)
		}
		if b := f.said(between)[0]; b.Head || b.Record != "" || !slices.Equal(b.Parents, []string{imported}) {
			t.Errorf("said of a commit between: %+v", b)
		}

		// ALBS's record of the change is under the key that its tools would look for, and
		// leads to upstream's.
		value, _, err := f.Ledger.Get(t.Context(), []byte(down[0].Record))
		if err != nil {
			t.Fatal(err)
		}
		if commit, upstream, err := ReadRecord(down[0].Record, value); err != nil || commit != debranded || upstream != up[0].Record {
			t.Errorf("the record %s is of %s, after %s, %v", value, commit, upstream, err)
		}
		raw := f.forge.Git("hello", "cat-file", "commit", debranded) + "\n" // which is trimmed
		c, err := git.ParseCommit(debranded, []byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		text, err := RecordText(c, strings.Fields(f.forge.Git("hello", "rev-list", debranded, "--skip=1")))
		if err != nil || albs.DigestOf(text) != down[0].Record {
			t.Errorf("the record is under %s, want the sha256 of %s, %v", down[0].Record, text, err)
		}

		// A second time there is nothing to do, and a branch that went on has only what is new.
		if got := f.ends(Wish{Refs: []string{"imports/c9/*"}}); got.State != albs.TaskSucceeded || len(f.said(imported)) != 1 {
			t.Errorf("again: %s, and said is %+v", got.State, f.said(imported))
		}
		if got := f.ends(Wish{Refs: []string{"a9"}}); got.State != albs.TaskSucceeded {
			t.Fatalf("the branch: %s, %s", got.State, got.Reason)
		}
		next := f.forge.Commit("hello", "a9", map[string]string{"hello.spec": "Name: hello\nVersion: 2\n"})
		if got := f.ends(Wish{Refs: []string{"refs/heads/a9"}}); got.State != albs.TaskSucceeded {
			t.Fatalf("the branch, later: %s, %s", got.State, got.Reason)
		}
		if said := f.said(next); len(said) != 1 || said[0].Previous != debranded || said[0].Rewritten || len(f.said(debranded)) != 2 || len(f.said(between)) != 1 {
			t.Errorf("said of the next commit: %+v", said)
		}

		// A history that was rewritten says so, in statement, list and event.
		f.forge.Git("hello", "update-ref", "refs/heads/a9", between)
		other := f.forge.Commit("hello", "a9", map[string]string{"hello.spec": "Name: hello\nVersion: 3\n"})
		if got := f.ends(Wish{Refs: []string{"a9"}}); got.State != albs.TaskSucceeded {
			t.Fatalf("the rewritten branch: %s, %s", got.State, got.Reason)
		}
		if said := f.said(other); len(said) != 1 || said[0].Previous != next || !said[0].Rewritten {
			t.Errorf("said after the rewriting: %+v", said)
		}
		moved, err := f.Refs(t.Context(), f.url, "refs/heads/a9", 0, 0)
		if err != nil || len(moved) != 3 || !moved[0].Rewritten || moved[0].Actor != "alice" || moved[0].Previous != next || moved[1].Rewritten {
			t.Errorf("the branch named %+v, %v", moved, err)
		}
		events, err := f.Modules.Events.Since(t.Context(), 0, Topic, 1000)
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(events, func(e event.Event) bool {
			return e.Kind == "source.notarized" && strings.Contains(string(e.Data), `"rewritten":true`)
		}) {
			t.Error("no event tells of the rewriting")
		}

		// Knowingly without upstream.
		const lone = "changed/a9/hello-9-9.el9.alma"
		f.forge.Tag("hello", lone, next)
		if got := f.ends(Wish{Refs: []string{lone}, WithoutUpstream: true}); got.State != albs.TaskSucceeded {
			t.Fatalf("without upstream: %s, %s", got.State, got.Reason)
		}
		if said := f.said(next); len(said) != 2 || said[1].WithoutUpstream != "refs/tags/imports/c9/hello-9-9.el9" || said[1].Upstream != nil {
			t.Errorf("said without upstream: %+v", said)
		}

		if got := f.ends(Wish{Refs: []string{lone}, WithoutUpstream: true}); got.State != albs.TaskSucceeded || len(f.said(next)) != 2 {
			t.Errorf("without upstream again: %s, and said is %+v", got.State, f.said(next))
		}
		// Once there is one, it is said behind.
		f.forge.Tag("hello", "imports/c9/hello-9-9.el9", imported)
		if got := f.ends(Wish{Refs: []string{"imports/c9/hello-9-9.el9", lone}}); got.State != albs.TaskSucceeded {
			t.Fatalf("with upstream at last: %s, %s", got.State, got.Reason)
		}
		if said := f.said(next); len(said) != 3 || said[2].WithoutUpstream != "" || said[2].Upstream == nil || said[2].Upstream.Commit != imported || said[2].Previous != "" {
			t.Errorf("said with upstream at last: %+v", said)
		}

		// All the rest; a tag of something else fails alone.
		f.forge.Tag("hello", "blob", f.forge.Git("hello", "rev-parse", first+":hello.spec"))
		got = f.ends(Wish{All: true, WithoutUpstream: true})
		if got.State != albs.TaskFailed || !strings.Contains(got.Reason, "1 of 8 refs were not notarized: refs/tags/blob: ") {
			t.Errorf("all refs, one of them no commit: %s, %s", got.State, got.Reason)
		}
		if len(f.said(first)) != 1 {
			t.Errorf("said of main: %+v", f.said(first))
		}
		repositories, err := f.Repositories(t.Context(), "", 0)
		if err != nil || len(repositories) != 1 || repositories[0].URL != f.url || repositories[0].Commits != 6 || repositories[0].Last.IsZero() {
			t.Errorf("Repositories = %+v, %v", repositories, err)
		}
		page, err := f.Commits(t.Context(), f.url, 0, 4)
		if err != nil || len(page) != 4 {
			t.Fatalf("Commits = %+v, %v", page, err)
		}
		rest, err := f.Commits(t.Context(), f.url, page[3].ID, 4)
		if err != nil || len(rest) != 2 || rest[1].Title != "a commit" || rest[1].Author != "A Tester <tester@example.org>" {
			t.Errorf("Commits behind = %+v, %v", rest, err)
		}
	})
}

// TestLongHistory: many batches, resumed where an earlier attempt has ended.
func TestLongHistory(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.forge.AddRepo("hello", map[string]string{"a": "0"})
	tree := f.forge.Git("hello", "rev-parse", "main^{tree}")
	head := f.forge.Git("hello", "rev-parse", "main")
	for i := range 450 {
		head = f.forge.Git("hello", "commit-tree", "-p", head, "-m", strconv.Itoa(i), tree)
	}
	f.forge.Git("hello", "update-ref", "refs/heads/main", head)
	reached, err := f.Git.Ancestry(t.Context(), f.url, head, git.Bounds{Commits: maxCommits, Bytes: maxHistory})
	if err != nil {
		t.Fatal(err)
	}
	spec := albs.NotarizeSpec{URL: f.url, Refs: []albs.NamedRef{{Name: "refs/heads/main", Commit: head}}, Requester: "alice"}
	done := slices.Clone(reached[201:])
	slices.Reverse(done)
	if n, err := f.states(t.Context(), spec, spec.Refs[0], done); err != nil || n != 250 {
		t.Fatalf("an attempt that came to an end: %d commits, %v", n, err)
	}
	if n, err := f.states(t.Context(), spec, spec.Refs[0], done[:10]); err != nil || n != 0 {
		t.Fatalf("the same again: %d commits, %v", n, err)
	}
	var log strings.Builder
	r, err := f.notarize(t.Context(), queue.Task{Spec: albs.Spec{Notarize: &spec}}, &log)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&albs.NotarizeResult{Commits: 201, Refs: 1}, r.Notarize); diff != "" {
		t.Errorf("(-want +got):\n%s\n%s", diff, log.String())
	}
	if all, err := f.store.known(t.Context(), f.url, reached); err != nil || len(all) != len(reached) {
		t.Errorf("%d of %d commits are known, %v", len(all), len(reached), err)
	}
	// A ref that another request has moved meanwhile isn't taken back.
	if _, err := f.head(t.Context(), spec, refRow{}, attest.CommitBody{Repository: "git+" + f.url, Ref: "refs/heads/main"}, reached); !errors.Is(err, albs.Unavailable) {
		t.Errorf("a stale ref: %v, want Unavailable", err)
	}
}

// TestRefused: who may not, and what is no wish.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	commit := f.forge.AddRepo("hello", map[string]string{"a": "0"}, "v1")
	many := make([]string, maxAsked+1)
	for _, c := range []struct {
		name string
		ctx  context.Context
		wish Wish
		kind albs.Kind
	}{
		{"anonymous", t.Context(), Wish{URL: f.url, All: true}, albs.Unauthenticated},
		{"a contributor", auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 2, Name: "bob", Grants: []auth.Grant{{Role: auth.Contributor, Team: "core"}}}), Wish{URL: f.url, All: true}, albs.Forbidden},
		{"no URL", f.alice, Wish{URL: "file:///etc", All: true}, albs.Invalid},
		{"another host", f.alice, Wish{URL: "https://127.0.0.1:1/x", All: true}, albs.Forbidden},
		{"nothing", f.alice, Wish{URL: f.url}, albs.Invalid},
		{"all and some", f.alice, Wish{URL: f.url, All: true, Refs: []string{"main"}}, albs.Invalid},
		{"a commit", f.alice, Wish{URL: f.url, Refs: []string{commit}}, albs.Invalid},
		{"HEAD", f.alice, Wish{URL: f.url, Refs: []string{"HEAD"}}, albs.Invalid},
		{"an unknown branch", f.alice, Wish{URL: f.url, Refs: []string{"nowhere"}}, albs.NotFound},
		{"a pattern that fits none", f.alice, Wish{URL: f.url, Refs: []string{"imports/*"}}, albs.NotFound},
		{"half a pattern", f.alice, Wish{URL: f.url, Refs: []string{"imports/[a"}}, albs.Invalid},
		{"a pattern beyond all refs", f.alice, Wish{URL: f.url, Refs: []string{strings.Repeat("*", 301)}}, albs.Invalid},
		{"an option", f.alice, Wish{URL: f.url, Refs: []string{"--upload-pack=x"}}, albs.Invalid},
		{"too many", f.alice, Wish{URL: f.url, Refs: many}, albs.TooLarge},
	} {
		if _, err := f.Notarize(c.ctx, c.wish); !errors.Is(err, c.kind) {
			t.Errorf("%s: %v, want %s", c.name, err, c.kind)
		}
	}
	if _, err := f.Job(t.Context(), 99); !errors.Is(err, albs.NotFound) {
		t.Errorf("an unknown job: %v", err)
	}
}

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.forge.AddRepo("hello", map[string]string{"a": "0"}, "v1")
	mastertest.Run(t, f.Modules.Queue.Run)
	if _, err := f.Notarize(f.alice, Wish{URL: f.url, Refs: []string{"v1"}}); err != nil {
		t.Fatal(err)
	}
	me := auth.With(t.Context(), f.me)
	l, err := f.Modules.Queue.Claim(me, queue.Offer{Version: "test", Labels: []string{"kind:notarize"}, Wait: 20})
	if err != nil || l == nil {
		t.Fatalf("Claim = %+v, %v", l, err)
	}
	queuetest.Run(t, queuetest.Case{
		DB: f.Modules.DB, Queue: f.Modules.Queue, Worker: me, Lease: *l, Handler: handler{f.Notary}, Good: albs.Result{Notarize: &albs.NotarizeResult{Commits: 1, Refs: 1}},
		Garbage: map[string]albs.Result{"another kind's": {Import: &albs.ImportResult{}}},
	})
}
