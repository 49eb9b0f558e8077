package farm

import (
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face/roster"
	"albs/internal/master/queue"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"testing"
	"time"
)

// TestTemplates executes the templates with all that they can show, hostile where it is foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	now := time.Now()
	task := queue.Task{ID: 12, Kind: albs.KindBuild, Topic: "build:7", State: albs.TaskFailed, Reason: pagetest.Bad, Worker: pagetest.Bad, Needs: []string{"arch:x86_64"}, Attempts: 2, Cause: 3}
	task.Created.Time, task.Started.Time, task.Changed.Time = now, now, now
	identity := auth.Worker{ID: 3, Name: pagetest.Bad, Role: albs.RoleNode, Labels: []string{"arch:*", pagetest.Bad}, Prefix: "x"}
	known := queue.Worker{Alive: true, Runs: []queue.Task{task}, Taken: queue.Room{Cores: 1}}
	known.Version, known.Labels, known.Exclude, known.Room = pagetest.Bad, []string{pagetest.Bad}, []string{pagetest.Bad}, queue.Room{Cores: 8, Memory: 1 << 30, Disk: 1 << 40}
	known.DrainReason, known.DrainedBy, known.QuarantineReason = pagetest.Bad, pagetest.Bad, pagetest.Bad
	barred := known
	barred.Drained.Time, barred.Quarantined.Time = now, now
	old := identity
	old.UsedAt.Time, old.DisabledAt.Time = now, now
	keyed := task
	keyed.Key, keyed.State = pagetest.Bad, albs.TaskStopping
	rows := []queueRow{{Task: task, Build: 7}, {Task: keyed}}
	cards := []nodeCard{{Worker: roster.Worker{Worker: identity, Known: &known}, Tasks: rows, May: true}, {Worker: roster.Worker{Worker: identity, Known: &barred}, May: true},
		{Worker: roster.Worker{Worker: identity}}, {Worker: roster.Worker{Worker: old}}}
	pagetest.Execute(t, Group(), map[string][]any{
		"queue": {queueView{}, queueView{Stats: []queue.Stat{{State: albs.TaskQueued, Kind: albs.KindBuild, Arch: albs.X8664, Count: 3}, {}}, Running: []queueRow{{Task: task, Build: 7}},
			Waiting: []queueRow{{Task: task, Wait: pagetest.Bad}}, Hidden: 9, Workers: []stateCount{{roster.Busy, 2}}}},
		"nodes": {nodesView{}, nodesView{All: 1, State: roster.Away}, nodesView{Nodes: cards, Counts: []stateCount{{roster.Busy, 2}, {roster.Quarantined, 1}}, All: 3, State: roster.Busy,
			Manage: page.Action{Label: "Drain", Why: pagetest.Bad}, Next: "/nodes?after=%3cimg"}},
	})
}
