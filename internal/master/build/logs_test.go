package build

import (
	"errors"
	"io"
	"slices"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/build/status"
	"albs/internal/worker"
)

// logged streams a log of an attempt and has end report the attempt with the same log as a
// file, of which it returns the digest.
func (f *fixture) logged(l *worker.Lease, text string, end func(log albs.File) error) albs.Digest {
	f.t.Helper()
	_, err := f.queue.Log(f.node, l.Token, "build", 0, []byte(text))
	must(f.t, err)
	log := f.upload(l, "build", []byte(text))
	must(f.t, end(log))
	return log.Digest
}

// TestLogsOfDeleted: all logs of a build, of failed attempts too, stay while it is there:
// what was streamed, and the files that came of it. Of a deleted build both go when the
// time of grace is over, and not before.
func TestLogsOfDeleted(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		var ids []albs.BuildID
		logs := map[albs.BuildID]map[int]albs.Digest{} // of a build's attempts
		tasks := map[albs.BuildID]albs.TaskID{}
		for _, name := range []string{"foo", "bar"} {
			srpm, rpm := rpms(t, name)
			b := f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
			l := f.claim()
			failed := f.logged(l, name+" fails\n", func(log albs.File) error {
				return f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, albs.Result{Reason: "a test failed", Logs: []albs.File{log}})
			})
			f.wait(b.ID, status.Failed)
			must(t, f.RetryFailed(f.person, b.ID))
			l = f.claim()
			done := f.logged(l, name+" succeeds\n", func(log albs.File) error {
				r := f.result(l, rpm)
				r.Logs = []albs.File{log}
				return f.queue.Complete(f.node, l.Token, albs.OutcomeOK, r)
			})
			f.wait(b.ID, status.Succeeded)
			ids, tasks[b.ID], logs[b.ID] = append(ids, b.ID), l.Token.Task, map[int]albs.Digest{1: failed, 2: done}
		}
		// want says of which builds the logs are there: streamed, and as files that the
		// collection keeps.
		want := func(when string, since time.Time, kept ...albs.BuildID) {
			t.Helper()
			reached := map[albs.Digest]bool{}
			must(t, f.artifacts.Reach(t.Context(), since, func(d albs.Digest) error { reached[d] = true; return nil }))
			for _, id := range ids {
				there := slices.Contains(kept, id)
				for attempt, d := range logs[id] {
					r, _, err := f.queue.ReadLog(t.Context(), tasks[id], attempt, "build", 0, -1)
					if err == nil {
						b, err := io.ReadAll(r)
						if err != nil || albs.DigestOf(b) != d {
							t.Errorf("%s: log of build %d, attempt %d: %q, %v", when, id, attempt, b, err)
						}
						r.Close()
					}
					if (err == nil) != there || err != nil && !errors.Is(err, albs.NotFound) || reached[d] != there {
						t.Errorf("%s: attempt %d of build %d: the streamed log %v, its file reached %v; want both there: %v", when, attempt, id, err, reached[d], there)
					}
				}
			}
		}
		clean := func(before time.Time) {
			t.Helper()
			if _, err := f.queue.CleanLogs(t.Context(), before, false); err != nil {
				t.Fatal(err)
			}
		}
		soon := time.Now().Add(time.Hour)
		clean(soon)
		want("before", soon, ids...)
		must(t, f.Delete(f.person, ids[0]))
		clean(time.Now().Add(-time.Hour))
		want("in the time of grace", time.Now().Add(-time.Hour), ids...)
		clean(soon)
		want("after it", soon, ids[1])
	})
}
