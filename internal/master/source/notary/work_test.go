package notary

import (
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue"
)

// during is a log that does something at each line that is like one.
type during struct {
	like string
	do   func()
}

func (d *during) Write(b []byte) (int, error) {
	if strings.Contains(string(b), d.like) {
		d.do()
	}
	return len(b), nil
}

func taskOf(spec albs.NotarizeSpec) queue.Task {
	return queue.Task{Spec: albs.Spec{Notarize: &spec}}
}

// asked is a request as it was when the ref named the commit.
func (f *fixture) asked(ref, commit string) queue.Task {
	return taskOf(albs.NotarizeSpec{URL: f.url, Refs: []albs.NamedRef{{Name: ref, Commit: commit}}, Requester: "alice"})
}

// done does a task to its end.
func (f *fixture) done(t queue.Task, log io.Writer) *albs.NotarizeResult {
	f.t.Helper()
	r, err := f.notarize(f.t.Context(), t, log)
	if err != nil {
		f.t.Fatal(err)
	}
	return r.Notarize
}

// named returns what a ref named, the newest first.
func (f *fixture) named(ref string) []RefState {
	f.t.Helper()
	all, err := f.Refs(f.t.Context(), f.url, ref, 0, 0)
	if err != nil {
		f.t.Fatal(err)
	}
	return all
}

// TestDelayed: a request that is done behind a later one calls no history rewritten that
// wasn't, whether it waited before it looked or after.
func TestDelayed(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	const main = "refs/heads/main"
	first := f.forge.AddRepo("hello", map[string]string{"a": "0"})
	second := f.forge.Commit("hello", "main", map[string]string{"a": "1"})
	f.done(f.asked(main, second), io.Discard)
	if r := f.done(f.asked(main, first), io.Discard); r.Refs != 0 || len(r.Rewritten) > 0 || len(f.named(main)) != 1 {
		t.Errorf("an older request stated %+v, and the ref named %+v", r, f.named(main))
	}

	var third string
	between := &during{like: main + " at " + second}
	between.do = func() {
		between.do = func() {}
		third = f.forge.Commit("hello", "main", map[string]string{"a": "2"})
		f.done(f.asked(main, third), io.Discard)
	}
	if r := f.done(f.asked(main, second), between); r.Refs != 0 || len(r.Rewritten) > 0 {
		t.Errorf("a request that looked before the other one stated %+v", r)
	}
	if all := f.named(main); len(all) != 2 || all[0].Commit != third || all[0].Previous != second || all[0].Rewritten {
		t.Errorf("the ref named %+v", all)
	}
}

// TestForeignCommit: a commit that the host gives by its id, and that no ref of the
// repository has, isn't stated whatever the task's row says.
func TestForeignCommit(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	const main = "refs/heads/main"
	head := f.forge.AddRepo("hello", map[string]string{"a": "0"})
	foreign := f.forge.Git("hello", "commit-tree", "-p", head, "-m", "of a fork", f.forge.Git("hello", "rev-parse", "main^{tree}"))
	if err := f.Git.Fetch(t.Context(), f.url, foreign); err != nil {
		t.Fatalf("the host doesn't give it: %v", err)
	}
	f.done(f.asked(main, foreign), io.Discard)
	if _, err := f.Commit(t.Context(), f.url, foreign); !errors.Is(err, albs.NotFound) {
		t.Errorf("of a fork's commit is said something: %v", err)
	}
	if all := f.named(main); len(all) != 1 || all[0].Commit != head {
		t.Errorf("the ref named %+v", all)
	}
	for _, gone := range []string{"refs/heads/gone", "main", foreign} {
		if _, err := f.notarize(t.Context(), f.asked(gone, head), io.Discard); !errors.Is(err, albs.NotFound) {
			t.Errorf("%s: %v, want NotFound", gone, err)
		}
	}
}

// TestLikeRequests: one that another was ahead of ends well, and one that always is fails
// for that ref alone.
func TestLikeRequests(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	const main, other = "refs/heads/main", "refs/heads/other"
	f.forge.AddRepo("hello", map[string]string{"a": "0"})
	head := f.forge.Commit("hello", "main", map[string]string{"a": "1"})
	last := f.forge.Commit("hello", "other", map[string]string{"a": "2"})

	ahead := &during{like: "commits before it"}
	ahead.do = func() {
		ahead.do = func() {}
		f.done(f.asked(main, head), io.Discard)
	}
	if r := f.done(f.asked(main, head), ahead); r.Refs != 0 || r.Commits != 1 || len(f.named(main)) != 1 {
		t.Errorf("the second of two like requests stated %+v, and the ref named %+v", r, f.named(main))
	}

	n := 1
	moves := &during{like: main + " at "}
	moves.do = func() {
		n++
		f.done(f.asked(main, f.forge.Commit("hello", "main", map[string]string{"a": strconv.Itoa(n)})), io.Discard)
	}
	both := taskOf(albs.NotarizeSpec{URL: f.url, Refs: []albs.NamedRef{{Name: main, Commit: head}, {Name: other, Commit: last}}, Requester: "alice"})
	_, err := f.notarize(t.Context(), both, moves)
	if !errors.Is(err, albs.Unavailable) || !strings.Contains(err.Error(), "1 of 2 refs were not notarized: "+main+": ") {
		t.Errorf("a ref that never rests: %v, want Unavailable", err)
	}
	if all := f.named(other); len(all) != 1 || all[0].Commit != last {
		t.Errorf("the other ref named %+v", all)
	}
	for _, r := range f.named(main) {
		if r.Rewritten {
			t.Errorf("%s, behind %s, is called rewritten", r.Commit, r.Previous)
		}
	}
}

// TestAway: where nothing answers for one ref after another, the attempt ends.
func TestAway(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	commit := f.forge.AddRepo("hello", map[string]string{"a": "0"}, "v1", "v2", "v3", "v4", "v5")
	spec := albs.NotarizeSpec{URL: f.url, Requester: "alice"}
	for i := range 5 {
		spec.Refs = append(spec.Refs, albs.NamedRef{Name: "refs/tags/v" + strconv.Itoa(i+1), Commit: commit})
	}
	var log strings.Builder
	away := &during{like: "(1 of 5 refs)", do: func() {
		f.forge.Serve("/hello.git/info/refs", []byte("001e# service=git-upload-pack\n0000garbage"))
	}}
	if _, err := f.notarize(t.Context(), taskOf(spec), io.MultiWriter(&log, away)); !errors.Is(err, albs.Unavailable) {
		t.Errorf("an attempt without a host: %v, want Unavailable", err)
	}
	if said := log.String(); !strings.Contains(said, "(3 of 5 refs)") || strings.Contains(said, "(4 of 5 refs)") {
		t.Errorf("it went on or ended early:\n%s", said)
	}
}

// TestAlteredRows: a history that was rewritten is told though the row says otherwise of
// what the ref named before, or was taken away; where the statements were, nothing is told
// at all.
func TestAlteredRows(t *testing.T) {
	t.Parallel()
	const main = "refs/heads/main"
	for name, c := range map[string]struct {
		alter   string
		refused bool
	}{
		"a commit that came before": {alter: `UPDATE source_ref SET commit_id = '%s'`},
		"no row":                    {alter: `DELETE FROM source_ref WHERE commit_id <> '%s'`},
		"no statement":              {alter: `DELETE FROM statement WHERE predicate = 'ref' AND subject <> '%s'`, refused: true},
		"no word of it":             {alter: `DELETE FROM statement WHERE predicate = 'ref' AND envelope <> '%s'; DELETE FROM source_ref; DELETE FROM source_commit`, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
			mastertest.Run(t, f.Modules.Provenance.Run)
			first := f.forge.AddRepo("hello", map[string]string{"a": "0"})
			second := f.forge.Commit("hello", "main", map[string]string{"a": "1"})
			f.done(f.asked(main, second), io.Discard)
			f.delivered()
			f.forge.Git("hello", "update-ref", main, first)
			third := f.forge.Commit("hello", "main", map[string]string{"a": "2"})
			if _, err := f.Modules.DB.ExecContext(t.Context(), fmt.Sprintf(c.alter, first)); err != nil {
				t.Fatal(err)
			}

			var log strings.Builder
			r, err := f.notarize(t.Context(), f.asked(main, third), &log)
			if c.refused {
				if !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "the database was changed behind albs") {
					t.Errorf("it came to %+v, %v, want a Conflict", r.Notarize, err)
				}
				return
			}
			if err != nil || len(r.Notarize.Rewritten) != 1 || !strings.Contains(log.String(), "it named "+second+" before, by the ledger") {
				t.Errorf("it came to %+v, %v:\n%s", r.Notarize, err, log.String())
			}
			f.delivered()
			if said := f.said(third); len(said) != 1 || !said[0].Rewritten || said[0].Previous != second {
				t.Errorf("said is %+v", said)
			}
			if all := f.named(main); !all[0].Rewritten || all[0].Previous != second {
				t.Errorf("the ref named %+v", all)
			}
			// The row is right again.
			log.Reset()
			if r, err := f.notarize(t.Context(), f.asked(main, third), &log); err != nil || r.Notarize.Refs != 0 || strings.Contains(log.String(), "by the ledger") {
				t.Errorf("once more it came to %+v, %v:\n%s", r.Notarize, err, log.String())
			}
		})
	}
}

// TestOlderRows: of a ref of which an older albs stated nothing, the row tells what it named.
func TestOlderRows(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	const main = "refs/heads/main"
	first := f.forge.AddRepo("hello", map[string]string{"a": "0"})
	second := f.forge.Commit("hello", "main", map[string]string{"a": "1"})
	err := f.Modules.DB.InTx(t.Context(), func(tx db.Tx) error {
		return f.store.addRef(t.Context(), tx, refRow{Repository: f.url, Ref: main, Commit: second, Actor: "alice", At: db.Now()})
	})
	if err != nil {
		t.Fatal(err)
	}
	f.forge.Git("hello", "update-ref", main, first)
	if r := f.done(f.asked(main, first), io.Discard); len(r.Rewritten) != 1 || f.named(main)[0].Previous != second {
		t.Errorf("it came to %+v, and the ref named %+v", r, f.named(main))
	}
}
