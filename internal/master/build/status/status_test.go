package status

import (
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

func TestOf(t *testing.T) {
	t.Parallel()
	at := func(m int) time.Time { return time.Date(2026, 1, 5, 10, m, 0, 0, time.UTC) }
	ok := Task{Label: "zlib source", State: albs.TaskSucceeded, Started: at(1), Finished: at(2)}
	bad := Task{Label: "zlib x86_64 build", State: albs.TaskFailed, Reason: "no package provides foo-devel", Started: at(3), Finished: at(4)}
	blocked := Task{Label: "pngcheck x86_64 build", State: albs.TaskBlocked}
	running := Task{Label: "zlib x86_64 build", State: albs.TaskLeased, Started: at(3)}
	weak := Task{Label: "zlib s390x build", State: albs.TaskFailed, Weak: true, Reason: "no memory", Started: at(3), Finished: at(4)}
	behindWeak := Task{Label: "pngcheck s390x build", State: albs.TaskBlocked, Weak: true}
	for _, c := range []struct {
		name  string
		tasks []Task
		want  Status
	}{
		{"a weak arch's failure is told and no more", []Task{ok, weak, behindWeak}, Status{Succeeded, "2 tasks done; 1 of weak arches failed: zlib s390x build: no memory", at(1), at(4), 2, 3}},
		{"a weak arch is waited for", []Task{ok, {Label: "zlib s390x build", State: albs.TaskQueued, Weak: true}}, Status{Running, "1 of 2 tasks done, 0 running", at(1), time.Time{}, 1, 2}},
		{"a weak arch's failure doesn't end what runs", []Task{weak, running}, Status{Running, "1 of 2 tasks done, 1 running; 1 of weak arches failed: zlib s390x build: no memory", at(3), time.Time{}, 1, 2}},
		{"another failure beside it counts", []Task{weak, bad}, Status{Failed, "zlib x86_64 build: no package provides foo-devel; 1 of weak arches failed: zlib s390x build: no memory", at(3), at(4), 2, 2}},
		{"fresh", []Task{{Label: "a", State: albs.TaskQueued}, blocked}, Status{Queued, "0 of 2 tasks done, 0 running", time.Time{}, time.Time{}, 0, 2}},
		{"running", []Task{ok, running, blocked}, Status{Running, "1 of 3 tasks done, 1 running", at(1), time.Time{}, 1, 3}},
		{"between tasks it still runs", []Task{ok, blocked}, Status{Running, "1 of 2 tasks done, 0 running", at(1), time.Time{}, 1, 2}},
		{"done", []Task{ok, ok}, Status{Succeeded, "2 tasks done", at(1), at(2), 2, 2}},
		{"excluded is done", []Task{ok, {State: albs.TaskExcluded}}, Status{Succeeded, "2 tasks done", at(1), at(2), 2, 2}},
		{"a failure ends what waits for it", []Task{ok, bad, blocked}, Status{Failed, "zlib x86_64 build: no package provides foo-devel", at(1), at(4), 2, 3}},
		{"a failure doesn't end what runs", []Task{bad, running}, Status{Running, "1 of 2 tasks done, 1 running, 1 failed: zlib x86_64 build: no package provides foo-devel", at(3), time.Time{}, 1, 2}},
		{"what finds the order fails", []Task{ok, {Label: "el9 graph", State: albs.TaskFailed, Reason: "infra", Started: at(3), Finished: at(4), Uncounted: true}, blocked},
			Status{Failed, "el9 graph: infra", at(1), at(4), 1, 2}},
		{"cancelled", []Task{ok, {State: albs.TaskCancelled, Finished: at(9)}, blocked}, Status{Cancelled, "1 tasks were cancelled", at(1), at(9), 2, 3}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if diff := cmp.Diff(c.want, Of(c.tasks)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestOfItem(t *testing.T) {
	t.Parallel()
	ok := Task{Label: "zlib source", Kind: albs.KindSource, State: albs.TaskSucceeded}
	vain := Task{Label: "zlib x86_64 build", Kind: albs.KindBuild, State: albs.TaskBlocked, Vain: true, Reason: "waits for bash x86_64 build (task 7), which failed: gcc"}
	excluded := Task{Label: "zlib s390x build", Kind: albs.KindBuild, State: albs.TaskExcluded, Reason: "ExcludeArch names s390x"}
	for _, c := range []struct {
		name   string
		tasks  []Task
		state  State
		reason string
	}{
		{"waits for another's failure", []Task{ok, vain}, Blocked, "zlib x86_64 build waits for bash x86_64 build (task 7), which failed: gcc"},
		{"goes on elsewhere", []Task{ok, vain, {Kind: albs.KindBuild, State: albs.TaskLeased}}, Queued, "1 of 3 tasks done, 1 running"},
		{"for no arch", []Task{ok, excluded}, Excluded, "zlib s390x build: ExcludeArch names s390x"},
		{"for one of two", []Task{ok, excluded, {Kind: albs.KindBuild, State: albs.TaskSucceeded}}, Succeeded, "3 tasks done"},
		{"its own failure", []Task{ok, {Label: "zlib x86_64 build", Kind: albs.KindBuild, State: albs.TaskFailed, Reason: "gcc"}}, Failed, "zlib x86_64 build: gcc"},
	} {
		if got := OfItem(c.tasks); got.State != c.state || got.Reason != c.reason {
			t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.reason)
		}
	}
}

func TestOfAttempt(t *testing.T) {
	t.Parallel()
	ended := db.Now()
	for _, c := range []struct {
		name   string
		a      queue.Attempt
		state  State
		reason string
	}{
		{"it goes on", queue.Attempt{Worker: "n1"}, Running, "runs on n1"},
		{"ok", queue.Attempt{Worker: "n1", Ended: ended, Outcome: albs.OutcomeOK}, Succeeded, "done by n1"},
		{"refused", queue.Attempt{Ended: ended, Outcome: albs.OutcomeOK, Reason: "result refused: x"}, Failed, "result refused: x"},
		{"failed", queue.Attempt{Ended: ended, Outcome: albs.OutcomeFailed, Reason: "gcc"}, Failed, "gcc"},
		{"excluded", queue.Attempt{Ended: ended, Outcome: albs.OutcomeExcluded, Reason: "ExcludeArch"}, Excluded, "ExcludeArch"},
		{"expired", queue.Attempt{Ended: ended, Lost: true, Reason: "not heard of"}, Lost, "not heard of"},
		{"infra", queue.Attempt{Ended: ended, Lost: true, Outcome: albs.OutcomeInfra, Reason: "no mirror"}, Lost, "no mirror"},
		{"stopped", queue.Attempt{Ended: ended, Outcome: albs.OutcomeStopped, Reason: "cancelled by alice"}, Stopped, "cancelled by alice"},
	} {
		if got := OfAttempt(c.a); got.State != c.state || got.Reason != c.reason {
			t.Errorf("%s: %+v, want %s: %s", c.name, got, c.state, c.reason)
		}
	}
}

func TestWaitReason(t *testing.T) {
	t.Parallel()
	lib := Awaited{Label: "zlib x86_64 build", Kind: albs.KindBuild, Task: 7, State: albs.TaskFailed, Reason: "gcc"}
	many := slices.Repeat([]Awaited{{Label: "a x86_64 build", Kind: albs.KindBuild}}, 7)
	for want, got := range map[string]string{
		"waits for zlib x86_64 build (task 7), which failed: gcc":                                             waitReason(&lib, nil),
		"waits for a x86_64 build, a x86_64 build, a x86_64 build, a x86_64 build, a x86_64 build and 2 more": waitReason(nil, many),
		"waits for the source packages of el9, which tell the order":                                          waitReason(nil, []Awaited{lib, {Label: "el9", Kind: albs.KindGraph}}),
	} {
		if got != want {
			t.Errorf("waitReason = %q, want %q", got, want)
		}
	}
}

func TestWaits(t *testing.T) {
	t.Parallel()
	known := map[albs.TaskID]Awaited{
		1: {Label: "a x86_64 build", Task: 1, State: albs.TaskSucceeded},
		2: {Label: "b x86_64 build", Task: 2, State: albs.TaskQueued},
		3: {Label: "c x86_64 build", Task: 3, State: albs.TaskFailed, Reason: "gcc"},
	}
	for _, c := range []struct {
		name   string
		cause  albs.TaskID
		reason string
		ok     bool
	}{
		{"what isn't done", 0, "waits for b x86_64 build, c x86_64 build", true},
		{"in vain", 3, "waits for c x86_64 build (task 3), which failed: gcc", true},
		{"for what is nobody's here", 9, "", false},
	} {
		if reason, ok := Waits([]albs.TaskID{1, 2, 3, 9}, c.cause, known); reason != c.reason || ok != c.ok {
			t.Errorf("%s: Waits = %q, %t; want %q, %t", c.name, reason, ok, c.reason, c.ok)
		}
	}
}
