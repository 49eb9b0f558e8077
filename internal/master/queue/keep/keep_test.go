package keep

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/life"
	"albs/internal/master/queue/logfile"
	"albs/internal/master/queue/store"
)

// noon is when the tests look; all else is told in hours before it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(hours int) db.Time { return db.At(noon.Add(-time.Duration(hours) * time.Hour)) }

type fixture struct {
	*testing.T
	d *db.DB
}

func each(t *testing.T, f func(t *testing.T, f fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { f(t, fixture{t, d}) })
}

func (f fixture) tx(do func(tx db.Tx) error) {
	f.Helper()
	if err := f.d.InTx(f.Context(), do); err != nil {
		f.Fatal(err)
	}
}

// digest is a made-up one that says which thing it is of.
func digest(of string) albs.Digest { return albs.DigestOf([]byte(of)) }

// specOf is a spec that names the SRPM of that name.
func specOf(name string) string {
	b, err := json.Marshal(albs.Spec{Build: &albs.BuildSpec{SRPM: albs.File{Name: name, Digest: digest(name)}}})
	if err != nil {
		panic(err)
	}
	return string(b)
}

// task adds a task with a spec, in the state that it has had for some hours.
func (f fixture) task(tx db.Tx, topic, spec string, state albs.TaskState, hours int) albs.TaskID {
	f.Helper()
	id, err := store.InsertTask(f.Context(), tx, store.Task{
		Kind: albs.KindBuild, Lane: "team:core", Class: "class", Topic: topic, Spec: spec, State: state, CreatedAt: ago(100), ChangedAt: ago(hours),
	})
	if err != nil {
		f.Fatal(err)
	}
	return id
}

// attempt adds an attempt at a task, given another spec than was enqueued.
func (f fixture) attempt(tx db.Tx, id albs.TaskID, fence int64, spec string) {
	f.Helper()
	a := store.Attempt{TaskID: id, Fence: fence, Number: int(fence), WorkerID: 1, Worker: "node", ClaimedAt: ago(99)}
	err := store.InsertAttempt(f.Context(), tx, a)
	if err == nil {
		a.Spec, a.EndedAt, a.Ended, a.Outcome = spec, ago(98), life.Failed, albs.OutcomeFailed
		err = store.UpdateAttempt(f.Context(), tx, a)
	}
	if err != nil {
		f.Fatal(err)
	}
}

// named returns what Roots names since some hours ago.
func (f fixture) named(hours int) map[artifact.Ref]bool {
	f.Helper()
	out := map[artifact.Ref]bool{}
	if err := Roots(f.d)(f.Context(), ago(hours), func(r artifact.Ref) error { out[r] = true; return nil }); err != nil {
		f.Fatal(err)
	}
	return out
}

// TestForgotten: a task keeps what its spec names until it is forgotten, has ended, and
// the time of grace since both is over; so it is for its streamed logs.
func TestForgotten(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		const grace = 24
		cases := map[string]struct {
			forgotten int // hours ago; -1 for not
			state     albs.TaskState
			changed   int
			kept      bool
		}{
			"of a build that is there":                    {-1, albs.TaskSucceeded, 90, true},
			"failed, of a build that is there":            {-1, albs.TaskFailed, 90, true},
			"waits":                                       {-1, albs.TaskBlocked, 90, true},
			"forgotten of late":                           {23, albs.TaskSucceeded, 90, true},
			"forgotten long ago, succeeded":               {25, albs.TaskSucceeded, 90, false},
			"forgotten long ago, failed":                  {25, albs.TaskFailed, 90, false},
			"forgotten long ago, excluded":                {25, albs.TaskExcluded, 90, false},
			"forgotten long ago, cancelled then":          {25, albs.TaskCancelled, 25, false},
			"forgotten long ago, held by a worker":        {25, albs.TaskLeased, 90, true},
			"forgotten long ago, its worker is to stop":   {25, albs.TaskStopping, 25, true},
			"forgotten long ago, its worker stopped late": {25, albs.TaskCancelled, 23, true},
		}
		logs := logfile.Dir(t.TempDir())
		ids := map[string]albs.TaskID{}
		f.tx(func(tx db.Tx) error {
			for name, c := range cases {
				id := f.task(tx, name, specOf(name), c.state, c.changed)
				f.attempt(tx, id, 1, specOf(name+", as given"))
				ids[name] = id
				if c.forgotten >= 0 {
					if err := forget(t.Context(), tx, name, ago(c.forgotten)); err != nil {
						return err
					}
				}
			}
			return nil
		})
		for name, id := range ids {
			for attempt := range 2 {
				if _, err := logs.Append(id, attempt+1, "build", 0, []byte(name)); err != nil {
					t.Fatal(err)
				}
			}
		}
		want := Logs{}
		named := f.named(grace)
		for name, c := range cases {
			for _, n := range []string{name, name + ", as given"} {
				if got := named[artifact.Ref{Digest: digest(n)}]; got != c.kept {
					t.Errorf("%s: named is %v, want %v", n, got, c.kept)
				}
			}
			if !c.kept {
				want.Tasks, want.Bytes = want.Tasks+1, want.Bytes+2*int64(len(name))
			}
		}

		before := noon.Add(-grace * time.Hour)
		if got, err := Clean(t.Context(), f.d, logs, before, true); err != nil || got != want {
			t.Errorf("a dry run found %+v, %v; want %+v", got, err, want)
		}
		for name, id := range ids {
			if infos, err := logs.List(id); err != nil || len(infos) != 2 {
				t.Errorf("%s: after a dry run the logs are %+v, %v; want two", name, infos, err)
			}
		}
		if got, err := Clean(t.Context(), f.d, logs, before, false); err != nil || got != want {
			t.Errorf("Clean = %+v, %v; want %+v", got, err, want)
		}
		for name, c := range cases {
			infos, err := logs.List(ids[name])
			if err != nil || (len(infos) == 2) != c.kept || !c.kept && len(infos) != 0 {
				t.Errorf("%s: the logs are %+v, %v; kept should be %v", name, infos, err, c.kept)
			}
		}
		if got, err := Clean(t.Context(), f.d, logs, before, false); err != nil || got != (Logs{}) {
			t.Errorf("Clean again = %+v, %v; want nothing", got, err)
		}
	})
}

// TestForms: what a spec names is told as what it is, so that what it reaches is followed.
func TestForms(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		spec := albs.Spec{
			Build: &albs.BuildSpec{
				SRPM: albs.File{Name: "a-1-1.src.rpm", Digest: digest("srpm")},
				Root: albs.Root{Repos: []albs.Repo{{ID: "build", Snapshot: digest("snapshot")}, {ID: "mirror", Mirror: "https://example.org", Repomd: digest("repomd")}}},
			},
			Publish: &albs.PublishSpec{Tree: digest("tree")},
		}
		b, err := json.Marshal(spec)
		if err != nil {
			t.Fatal(err)
		}
		f.tx(func(tx db.Tx) error {
			f.attempt(tx, f.task(tx, "build:1", string(b), albs.TaskSucceeded, 1), 1, "") // claimed, and never handed out
			return nil
		})
		want := map[artifact.Ref]bool{
			{Digest: digest("srpm")}:                              true,
			{Digest: digest("snapshot"), Form: artifact.Snapshot}: true,
			{Digest: digest("repomd")}:                            true,
			{Digest: digest("tree"), Form: artifact.TreeDocument}: true,
		}
		if diff := cmp.Diff(want, f.named(0)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestPages: no task and no attempt is missed where one page ends and the next begins.
func TestPages(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		want := map[artifact.Ref]bool{}
		add := func(format string, args ...any) string {
			name := fmt.Sprintf(format, args...)
			want[artifact.Ref{Digest: digest(name)}] = true
			return specOf(name)
		}
		f.tx(func(tx db.Tx) error {
			for i := range 2*page + 1 {
				id := f.task(tx, "build:1", add("task %d", i), albs.TaskSucceeded, 1)
				attempts := i % 3
				if i == 5 {
					attempts = page + 3
				}
				for n := range attempts {
					f.attempt(tx, id, int64(n+1), add("task %d, attempt %d", i, n))
				}
			}
			return nil
		})
		if diff := cmp.Diff(want, f.named(0)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestCantRead: a spec that can't be read is an error, for what it names is not known.
func TestCantRead(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		var id albs.TaskID
		f.tx(func(tx db.Tx) error {
			f.task(tx, "build:1", specOf("good"), albs.TaskSucceeded, 1)
			id = f.task(tx, "build:2", `{"build": 7}`, albs.TaskSucceeded, 1)
			return nil
		})
		none := func(artifact.Ref) error { return nil }
		if err := Roots(f.d)(t.Context(), ago(0), none); err == nil || !strings.Contains(err.Error(), "spec of task "+id.String()) {
			t.Errorf("Roots = %v, want an error that names task %d", err, id)
		}
		full := errors.New("full")
		if err := Roots(f.d)(t.Context(), ago(0), func(artifact.Ref) error { return full }); !errors.Is(err, full) {
			t.Errorf("Roots = %v, want yield's error", err)
		}
	})
}

// TestForget: it is about one topic, and of two times the first counts.
func TestForget(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		f.tx(func(tx db.Tx) error {
			for _, topic := range []string{"build:1", "build:12"} {
				f.task(tx, topic, specOf(topic), albs.TaskFailed, 90)
			}
			return forget(t.Context(), tx, "build:1", ago(30))
		})
		f.tx(func(tx db.Tx) error { return Forget(t.Context(), tx, "build:1") })
		want := map[artifact.Ref]bool{{Digest: digest("build:12")}: true}
		if diff := cmp.Diff(want, f.named(24)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
		f.tx(func(tx db.Tx) error { return Forget(t.Context(), tx, "build:12") })
		if diff := cmp.Diff(want, f.named(24)); diff != "" { // by the clock it was forgotten after noon
			t.Errorf("right after Forget (-want +got):\n%s", diff)
		}
	})
}

// TestCleanLeaves: what isn't a known task's is left alone, however much there is, and
// what was begun can be gone on with.
func TestCleanLeaves(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		dir := t.TempDir()
		logs := logfile.Dir(dir)
		if got, err := Clean(t.Context(), f.d, logfile.Dir(filepath.Join(dir, "not yet")), noon, false); err != nil || got != (Logs{}) {
			t.Errorf("Clean before the first log = %+v, %v", got, err)
		}
		const many = 501 // one more than are asked for at once
		f.tx(func(tx db.Tx) error {
			for range many {
				f.task(tx, "build:1", specOf("a"), albs.TaskFailed, 90)
			}
			return forget(t.Context(), tx, "build:1", ago(90))
		})
		var last albs.TaskID
		if err := f.d.GetContext(t.Context(), &last, `SELECT max(id) FROM task`); err != nil {
			t.Fatal(err)
		}
		for i := range many {
			if err := os.MkdirAll(filepath.Join(dir, (last-albs.TaskID(i)).String()), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		unknown := last + 1
		for _, id := range []albs.TaskID{last, unknown} {
			if _, err := logs.Append(id, 1, "build", 0, []byte("words")); err != nil {
				t.Fatal(err)
			}
		}
		for _, name := range []string{"lost+found", "007"} {
			if err := os.Mkdir(filepath.Join(dir, name), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if got, err := Clean(ctx, f.d, logs, noon, false); !errors.Is(err, context.Canceled) || got.Tasks != 0 {
			t.Errorf("Clean when it is over = %+v, %v", got, err)
		}
		if got, err := Clean(t.Context(), f.d, logs, noon, false); err != nil || got != (Logs{Tasks: many, Bytes: 5}) {
			t.Errorf("Clean = %+v, %v; want %d tasks and 5 bytes", got, err, many)
		}
		entries, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		left := map[string]bool{}
		for _, e := range entries {
			left[e.Name()] = true
		}
		if want := []string{"007", unknown.String(), "lost+found"}; !slices.Equal(slices.Sorted(maps.Keys(left)), slices.Sorted(slices.Values(want))) {
			t.Errorf("left are %v, want %v", slices.Sorted(maps.Keys(left)), want)
		}
	})
}
