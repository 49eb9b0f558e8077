package schedule

import (
	"testing"
	"time"

	"albs/internal/albs"
)

func TestBlocked(t *testing.T) {
	t.Parallel()
	runs := Blocker{Task: 3, Kind: albs.KindBuild, Key: "bash/el9/x86_64", State: albs.TaskLeased, Worker: "n1", Since: 5 * time.Minute, Expected: 20 * time.Minute}
	fresh := Blocker{Task: 2, Kind: albs.KindSource, State: albs.TaskStopping, Worker: "n2", Since: time.Second}
	queued := Blocker{Task: 5, Kind: albs.KindBuild, Key: "zsh/el9/x86_64", State: albs.TaskQueued}
	blocked := Blocker{Task: 9, Kind: albs.KindTest, State: albs.TaskBlocked}
	failed := Blocker{Task: 11, Kind: albs.KindBuild, State: albs.TaskFailed}
	tests := []struct {
		name string
		bs   []Blocker
		want string
	}{
		{"one that runs", []Blocker{runs}, "blocked by build task 3 (bash/el9/x86_64), which has run on n1 for 5 min and takes about 20 min"},
		{"no history", []Blocker{fresh}, "blocked by source task 2, which has run on n2 for 1 s"},
		{"who waits is further from its end", []Blocker{runs, queued, fresh}, "blocked by build task 5 (zsh/el9/x86_64), which is queued, and by 2 more"},
		{"blocked itself", []Blocker{queued, blocked}, "blocked by test task 9, which is blocked itself, and by 1 more"},
		{"in vain", []Blocker{blocked, failed}, "blocked by build task 11, which is failed, and by 1 more"},
		{"the older of two", []Blocker{{Task: 8, Kind: albs.KindBuild, State: albs.TaskQueued}, {Task: 7, Kind: albs.KindBuild, State: albs.TaskQueued}},
			"blocked by build task 7, which is queued, and by 1 more"},
	}
	for _, tt := range tests {
		if got := Blocked(tt.bs); got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
