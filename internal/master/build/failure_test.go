package build

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/failure"
)

// TestCauseIsKept: the cause of a failure is found in the attempt's logs once, kept with
// the attempt, and told with the task until that is tried again; the earlier attempt's
// stays.
func TestCauseIsKept(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, _ := rpms(t, "foo")
		b := f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
		fail := func(log string) *failure.Cause {
			t.Helper()
			l := f.claim()
			r := albs.Result{Reason: "rpmbuild ended with code 1", Logs: []albs.File{
				f.upload(l, failure.State, []byte("rpmbuild -bb begins\n")), f.upload(l, failure.Build, []byte(log)), f.upload(l, "buildroot.json", []byte("{}")),
			}}
			must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, r))
			must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeFailed, r)) // a repeated report
			now, err := f.Get(t.Context(), b.ID)
			must(t, err)
			got := now.Items[0].Tasks[0]
			if got.Failure == nil || got.FailedAttempt != l.Attempt {
				t.Fatalf("attempt %d: the task tells %+v of attempt %d", l.Attempt, got.Failure, got.FailedAttempt)
			}
			return got.Failure
		}
		first := failure.Cause{Kind: failure.Compile, Text: "x.c:7: no", Hint: "where a header is missing, so is a BuildRequires",
			Log: "build", Number: 2, Line: "x.c:7:1: error: no", Before: []string{"one"}, After: []string{"three"}}
		if diff := cmp.Diff(&first, fail("one\nx.c:7:1: error: no\nthree\n")); diff != "" {
			t.Errorf("cause (-want +got):\n%s", diff)
		}
		must(t, f.RetryFailed(f.person, b.ID))
		now, err := f.Get(t.Context(), b.ID)
		must(t, err)
		task := now.Items[0].Tasks[0]
		if task.Failure != nil {
			t.Errorf("a task that is tried again has failed by %+v", task.Failure)
		}
		if second := fail("Hunk #1 FAILED at 3.\n"); second.Kind != failure.Patch {
			t.Errorf("the second cause is %+v", second)
		}
		attempts, err := f.queue.Attempts(t.Context(), task.ID)
		must(t, err)
		causes, err := f.Causes(t.Context(), task.ID, attempts)
		must(t, err)
		if len(causes) != 2 || causes[1].Kind != failure.Compile || causes[2].Kind != failure.Patch {
			t.Errorf("causes = %+v", causes)
		}
	})
}

// TestCauseOfTheLost: an attempt that gave no word is told of in the queue's words, and
// so is the task that ends by it; what succeeded or was cancelled has no cause.
func TestCauseOfTheLost(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm, rpm := rpms(t, "foo")
		b := f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
		var task albs.TaskID
		for state := albs.TaskQueued; state != albs.TaskFailed; {
			l := f.claim()
			task = l.Token.Task
			must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeInfra, albs.Result{Reason: "write log build: no space left on device"}))
			now, err := f.queue.Task(t.Context(), task)
			must(t, err)
			state = now.State
		}
		now, err := f.Get(t.Context(), b.ID)
		must(t, err)
		got := now.Items[0].Tasks[0]
		if got.Failure == nil || got.Failure.Kind != failure.Disk || got.Failure.Log != "" {
			t.Errorf("the task's cause is %+v", got.Failure)
		}
		attempts, err := f.queue.Attempts(t.Context(), task)
		must(t, err)
		causes, err := f.Causes(t.Context(), task, attempts)
		must(t, err)
		if len(causes) != len(attempts) || causes[1].Kind != failure.Disk {
			t.Errorf("%d attempts have the causes %+v", len(attempts), causes)
		}

		b = f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
		l := f.claim()
		r := f.result(l, rpm)
		r.Build.Packages = nil
		if err := f.queue.Complete(f.node, l.Token, albs.OutcomeOK, r); err == nil {
			t.Fatal("a result without packages was taken")
		}
		now, err = f.Get(t.Context(), b.ID)
		must(t, err)
		if got := now.Items[0].Tasks[0].Failure; got == nil || got.Kind != failure.Refused || !strings.Contains(got.Text, "left no package") {
			t.Errorf("a refused result's cause is %+v", got)
		}

		b = f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(srpm)}}})
		must(t, f.Cancel(f.person, b.ID))
		now, err = f.Get(t.Context(), b.ID)
		must(t, err)
		if got := now.Items[0].Tasks[0]; got.State != albs.TaskCancelled || got.Failure != nil {
			t.Errorf("a cancelled task is %s by %+v", got.State, got.Failure)
		}
	})
}
