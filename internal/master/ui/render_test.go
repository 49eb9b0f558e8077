package ui

import (
	"bytes"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/status"
	"albs/internal/master/face/roster"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/order"
)

// bad is what a foreign name, ref or reason may hold.
const bad = "<img src=x onerror=alert(1)>\u202e\x1b[31m\"'"

// TestTemplates executes every template, whole and as a fragment, with all that
// it can show, hostile where it is foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	a, err := newAssets()
	must(t, err)
	ts, err := parse(a)
	must(t, err)
	d := albs.DigestOf([]byte("x"))
	now := time.Now()
	task := queue.Task{ID: 12, Kind: albs.KindBuild, Topic: "build:7", State: albs.TaskFailed, Reason: bad, Worker: bad, Needs: []string{"arch:x86_64"}, Attempts: 2, Cause: 3}
	task.Created.Time, task.Started.Time, task.Changed.Time = now, now, now
	run := testrun.Run{Task: task, BuildTask: 12, Packages: []testrun.Package{
		{Digest: d, NEVRA: bad, Verdict: testrun.Verdict{State: testrun.Failed, Reason: bad}, Cases: []testrun.Case{{Name: bad, Detail: bad}, {Name: "install", OK: true}}},
		{Digest: d, NEVRA: bad, Verdict: testrun.Verdict{State: testrun.Missing, Reason: bad}},
	}}
	item := build.Item{ID: 1, Platform: "el9", Package: bad, URL: "javascript:alert(1)", Ref: bad, Commit: "0123456789abcdef", Arches: []albs.Arch{albs.X8664}, Tasks: []build.Task{{Task: task, Arch: albs.X8664}}}
	f := facts{
		build: build.Build{ID: 7, Owner: bad, Product: "distro", CreatedAt: now, Options: build.Options{With: []string{"a"}, Without: []string{"b"}},
			Status: status.Status{State: status.Failed, Reason: bad, Started: now, Finished: now, Done: 1, Total: 2}, Items: []build.Item{item},
			Artifacts: []build.Artifact{{Task: 12, Item: 1, Digest: d, Kind: "rpm", Name: bad, Arch: albs.X8664}, {Task: 12, Item: 1, Digest: d, Kind: "log", Name: bad}}},
		runs: []testrun.Run{run}, latest: map[albs.TaskID]testrun.Run{12: run},
		requests: []sign.Request{{Key: "ABCD", Status: sign.Failed, Reason: "refused: " + bad, Requester: bad, CreatedAt: now, Packages: []sign.Package{{File: albs.File{Digest: d}, Signed: d}}}},
		releases: []release.Release{{ID: 3, Product: "distro", Planner: bad, Status: release.Completed, Reason: bad, Serial: 4, Created: now}},
	}
	cause := causeOf(&failure.Cause{Kind: failure.Compile, Text: bad, Hint: "x", Log: "build", Number: 5, Line: bad, Before: []string{bad}, After: []string{bad}}, 7, 12, 2)
	who := order.Graph{Build: 7, Platform: "el9", Order: build.Auto, Waits: bad, Needs: 2, Implied: 1, Steps: 2, Cycles: []string{bad}, Notes: []string{bad}, Width: 9, Height: 9,
		Lines: []order.Line{{Path: "M0 0", Class: order.Vain, Title: bad}},
		Packages: []order.Package{{Name: bad, State: status.Failed, More: 2, Rows: []order.Row{{Arch: albs.X8664, Task: 12, State: "excluded", Why: bad}},
			Needs: []order.Need{{Package: bad, Requires: []string{bad}, Arches: []albs.Arch{albs.X8664}, Class: order.Cut, Broken: bad}, {Class: order.Vain}, {Class: order.Awaited}}}}}
	view := buildView{
		Build: f.build, Steps: stepsOf(f), Matrices: matricesOf(f), Requests: f.requests, Releases: f.releases, Files: filesOf(f), AllFiles: 2, Warnings: []string{bad}, Ordered: []string{"el9"}, Graphs: []order.Graph{who},
		Noarch: []settle.Difference{{Package: bad, First: settle.Copy{Arch: albs.X8664, Digest: d}, Second: settle.Copy{Arch: albs.AArch64, Digest: d}, Differs: []string{bad}}}, Repos: reposOf(f),
		Failures: []taskFailure{{Task: task, Label: bad, Log: queue.LogInfo{Attempt: 1, Stream: "build", Size: 7}, Waiting: 2, Cause: cause}}, MoreFails: 3,
		Actions: []action{{URL: "/x", Label: "Do", Why: bad}, {URL: "/y", Label: "Do"}, {URL: "/z", Label: "Do", Sure: "Really"}, {URL: "/w", Label: "Leave", Leads: true}},
	}
	att := attempt{Attempt: queue.Attempt{Number: 2, Worker: bad, Reason: bad, Outcome: albs.OutcomeFailed}, Logs: []queue.LogInfo{{Attempt: 2, Stream: "build"}}, Files: f.build.Artifacts, Cause: causeOf(&failure.Cause{Kind: failure.Node, Text: bad}, 7, 12, 1)}
	att.Claimed.Time, att.Ended.Time = now, now
	identity := auth.Worker{ID: 3, Name: bad, Role: albs.RoleNode, Labels: []string{"arch:*", bad}, Prefix: "x"}
	known := queue.Worker{Alive: true, Runs: []queue.Task{task}, Taken: queue.Room{Cores: 1}}
	known.Version, known.Labels, known.Exclude, known.Room = bad, []string{bad}, []string{bad}, queue.Room{Cores: 8, Memory: 1 << 30, Disk: 1 << 40}
	known.DrainReason, known.DrainedBy, known.QuarantineReason = bad, bad, bad
	barred := known
	barred.Drained.Time, barred.Quarantined.Time = now, now
	old := identity
	old.UsedAt.Time, old.DisabledAt.Time = now, now
	keyed := task
	keyed.Key, keyed.State = bad, albs.TaskStopping
	rows := []queueRow{{Task: task, Build: 7}, {Task: keyed}}
	cards := []nodeCard{{Worker: roster.Worker{Worker: identity, Known: &known}, Tasks: rows, May: true}, {Worker: roster.Worker{Worker: identity, Known: &barred}, May: true},
		{Worker: roster.Worker{Worker: identity}}, {Worker: roster.Worker{Worker: old}}}
	bodies := map[string][]any{
		"builds": {buildsView{}, buildsView{Filled: true, Filter: build.Filter{Package: "<img src=x>"}, Next: "/builds?before=1", First: "/builds",
			Builds: []build.Summary{{ID: 7, Owner: bad, Product: "distro", Status: f.build.Status, Packages: []string{bad, "b", "c", "d", "e"}, Platforms: []string{"el9", "el10"}}}}},
		"build": {view, buildView{Build: build.Build{ID: 8}, AllFiles: 1000}},
		"graph": {graphPage{Graph: who, Platforms: []string{"el9", "el10"}}, graphPage{}},
		"clone": {cloneView{Build: f.build, Key: "K"}, cloneView{Build: f.build, Why: bad}},
		"files": {view, buildView{}},
		"task":  {taskView{Build: 7, Task: task, Item: item, Label: bad, Wait: bad, Cause: cause, Attempts: []attempt{att, {}}, Run: &run, Actions: []action{{URL: "/x", Label: "Retry"}, {URL: "/y", Label: "Leave", Leads: true}, {URL: "/z", Label: "Leave", Sure: "x", Leads: true}}}, taskView{}},
		"log": {logView{Build: 7, Task: task, Label: bad, Attempt: att, Stream: "build", Lines: []Line{{1, cleanLine([]byte(bad)), 5}}, Others: []queue.LogInfo{{Attempt: 2, Stream: "build"}}, Prev: 1, Next: 2, Base: "/b"},
			logView{Attempt: att}},
		"queue": {queueView{}, queueView{Stats: []queue.Stat{{State: albs.TaskQueued, Kind: albs.KindBuild, Arch: albs.X8664, Count: 3}, {}}, Running: []queueRow{{Task: task, Build: 7}},
			Waiting: []queueRow{{Task: task, Wait: bad}}, Hidden: 9, Workers: []stateCount{{roster.Busy, 2}}}},
		"nodes": {nodesView{}, nodesView{All: 1, State: roster.Away}, nodesView{Nodes: cards, Counts: []stateCount{{roster.Busy, 2}, {roster.Quarantined, 1}}, All: 3, State: roster.Busy,
			Manage: action{Label: "Drain", Why: bad}, Next: "/nodes?after=%3cimg"}},
		"login": {loginView{Next: "/x", Message: bad}, loginView{}},
		"error": {errorView{Status: 404, Message: inert(bad)}, errorView{Login: true}},
	}
	for name := range ts {
		if len(bodies[name]) == 0 {
			t.Errorf("there is no sample for %s", name)
		}
	}
	for name, samples := range bodies {
		for i, body := range samples {
			for _, p := range []page{{Title: name, Body: body, Topic: "builds", Name: bad, Query: "<img src=x>", Here: "/"}, {Body: body}} {
				for _, block := range []string{"layout", live} {
					var b bytes.Buffer
					if err := ts[name].ExecuteTemplate(&b, block, p); err != nil {
						t.Errorf("%s, sample %d, %s: %v", name, i, block, err)
						continue
					}
					contains(t, name, b.String(), "!<img", "!\x1b", "!href=\"javascript:", "! style=")
				}
			}
		}
	}
	if s := stepsOf(f); s[4].State != "signed" || s[5].State != "released" || s[3].State != string(status.Failed) {
		t.Errorf("steps %+v", s)
	}
}

func TestWords(t *testing.T) {
	t.Parallel()
	at := time.Date(2026, 11, 22, 13, 0, 0, 0, time.UTC)
	for d, want := range map[time.Duration]string{
		-time.Second: "just now", 0: "just now", 30 * time.Second: "30 s ago", 90 * time.Second: "1 min ago", 47 * time.Hour: "47 h ago",
		72 * time.Hour: "3 days ago", 90 * 24 * time.Hour: "2026-11-22",
	} {
		if got := ago(at.Add(d), at); got != want {
			t.Errorf("ago(%v) = %q, want %q", d, got, want)
		}
	}
	for d, want := range map[time.Duration]string{-1: "0 ms", 40 * time.Millisecond: "40 ms", 61 * time.Second: "1 min 1 s", 3661 * time.Second: "1 h 1 min"} {
		if got := took(at, at.Add(d)); got != want {
			t.Errorf("took(%v) = %q, want %q", d, got, want)
		}
	}
	if got := took(time.Time{}, at); got != "" {
		t.Errorf("took from nothing = %q", got)
	}
	for _, tt := range []struct {
		states []albs.TaskState
		want   string
	}{
		{nil, "none"},
		{[]albs.TaskState{albs.TaskSucceeded, albs.TaskExcluded}, "succeeded"},
		{[]albs.TaskState{albs.TaskExcluded}, "excluded"},
		{[]albs.TaskState{albs.TaskSucceeded, albs.TaskFailed, albs.TaskLeased}, "failed"},
		{[]albs.TaskState{albs.TaskBlocked, albs.TaskLeased}, "running"},
		{[]albs.TaskState{albs.TaskBlocked, albs.TaskSucceeded}, "blocked"},
		{[]albs.TaskState{albs.TaskBlocked, albs.TaskCancelled}, "cancelled"},
		{[]albs.TaskState{albs.TaskQueued, albs.TaskCancelled}, "queued"},
	} {
		if got := stepState(tt.states); got != tt.want {
			t.Errorf("stepState(%v) = %q, want %q", tt.states, got, tt.want)
		}
	}
}
