package schedule

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

func TestArrange(t *testing.T) {
	t.Parallel()
	at := func(m int) db.Time { return db.At(time.Date(2026, 1, 5, 10, m, 0, 0, time.UTC)) }
	attempts := func(minutes ...int) (out []queue.Attempt) {
		for i, m := range minutes {
			out = append(out, queue.Attempt{Number: i + 1, Worker: "n1", Claimed: at(m)})
		}
		return out
	}
	entries := []Entry{
		Of(queue.Task{ID: 1, State: albs.TaskBlocked, Created: at(0)}, nil),
		Of(queue.Task{ID: 2, State: albs.TaskLeased, Created: at(0), Changed: at(6)}, attempts(2, 6)),
		Of(queue.Task{ID: 3, State: albs.TaskSucceeded, Created: at(0), Changed: at(5)}, attempts(1)),
		Of(queue.Task{ID: 4, State: albs.TaskExcluded, Created: at(0), Changed: at(5)}, nil),
	}
	Arrange(entries, map[albs.TaskID][]albs.TaskID{1: {2}, 2: {3, 99}})
	want := []Entry{
		{Task: 3, State: albs.TaskSucceeded, Attempt: 1, Worker: "n1", Ready: at(0).Time, Started: at(1).Time, Finished: at(5).Time},
		{Task: 2, State: albs.TaskLeased, Attempt: 2, Worker: "n1", Ready: at(5).Time, Started: at(6).Time, After: []albs.TaskID{3}},
		{Task: 1, State: albs.TaskBlocked, After: []albs.TaskID{2}},
		{Task: 4, State: albs.TaskExcluded, Finished: at(5).Time},
	}
	if diff := cmp.Diff(want, entries); diff != "" {
		t.Errorf("what wasn't begun is last, and what counts no more is nobody's reason (-want +got):\n%s", diff)
	}
}
