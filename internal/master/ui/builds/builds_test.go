package builds

import (
	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/build"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/queue"
	"albs/internal/master/rebuild"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/report"
	"albs/internal/master/ui/logs"
	"albs/internal/master/ui/order"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/master/ui/words"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"
)

// TestTemplates executes every template, whole and as a fragment, with all that
// it can show, hostile where it is foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf([]byte("x"))
	now := time.Now()
	task := queue.Task{ID: 12, Kind: albs.KindBuild, Topic: "build:7", State: albs.TaskFailed, Reason: pagetest.Bad, Worker: pagetest.Bad, Needs: []string{"arch:x86_64"}, Attempts: 2, Cause: 3}
	task.Created.Time, task.Started.Time, task.Changed.Time = now, now, now
	run := testrun.Run{Task: task, BuildTask: 12, Logs: []testrun.Log{{Attempt: 1, File: albs.File{Name: pagetest.Bad, Digest: d, Size: 3}}}, Packages: []testrun.Package{
		{Digest: d, NEVRA: pagetest.Bad, Verdict: testrun.Verdict{State: testrun.Failed, Reason: pagetest.Bad},
			Stages: []testrun.Stage{{Stage: albs.StageInstall, Status: albs.TestPassed, Started: now, Took: time.Second, Log: pagetest.Bad}, {Stage: albs.StageIntegrity, Status: albs.TestFailed, Reason: pagetest.Bad}},
			Cases:  []testrun.Case{{Stage: albs.StageIntegrity, Name: pagetest.Bad, Detail: pagetest.Bad, Status: albs.TestFailed}, {Stage: albs.StageIntegrity, Name: "files", Status: albs.TestPassed}}},
		{Digest: d, NEVRA: pagetest.Bad, Verdict: testrun.Verdict{State: testrun.Missing, Reason: pagetest.Bad}},
	}}
	item := build.Item{ID: 1, Platform: "el9", Package: pagetest.Bad, URL: "javascript:alert(1)", Ref: pagetest.Bad, Commit: "0123456789abcdef", Arches: []albs.Arch{albs.X8664}, Tasks: []build.Task{{Task: task, Arch: albs.X8664}}}
	f := facts{
		build: build.Build{ID: 7, Owner: pagetest.Bad, Product: "distro", CreatedAt: now, Options: build.Options{With: []string{"a"}, Without: []string{"b"}},
			Status: status.Status{State: status.Failed, Reason: pagetest.Bad, Started: now, Finished: now, Done: 1, Total: 2}, Items: []build.Item{item},
			Artifacts: []build.Artifact{{Task: 12, Item: 1, Digest: d, Kind: "rpm", Name: pagetest.Bad, Arch: albs.X8664}, {Task: 12, Item: 1, Digest: d, Kind: "log", Name: pagetest.Bad}}},
		runs: []testrun.Run{run}, latest: map[albs.TaskID]testrun.Run{12: run}, sources: map[albs.ItemID]build.Source{1: {Why: pagetest.Bad}},
		requests: []sign.Request{{Key: "ABCD", Status: sign.Failed, Reason: "refused: " + pagetest.Bad, Requester: pagetest.Bad, CreatedAt: now, Packages: []sign.Package{{File: albs.File{Digest: d}, Signed: d}}}},
		releases: []release.Release{{ID: 3, Product: "distro", Planner: pagetest.Bad, Status: release.Completed, Reason: pagetest.Bad, Serial: 4, Created: now}},
	}
	cause := page.CauseOf(&failure.Cause{Kind: failure.Compile, Text: pagetest.Bad, Hint: "x", Log: "build", Number: 5, Line: pagetest.Bad, Before: []string{pagetest.Bad}, After: []string{pagetest.Bad}}, 7, 12, 2)
	who := order.Graph{Build: 7, Platform: "el9", Order: build.Auto, Waits: pagetest.Bad, Needs: 2, Implied: 1, Steps: 2, Cycles: []string{pagetest.Bad}, Notes: []string{pagetest.Bad}, Width: 9, Height: 9,
		Lines: []order.Line{{Path: "M0 0", Class: order.Vain, Title: pagetest.Bad}},
		Packages: []order.Package{{Name: pagetest.Bad, State: status.Failed, More: 2, Rows: []order.Row{{Arch: albs.X8664, Task: 12, State: "excluded", Why: pagetest.Bad}},
			Needs: []order.Need{{Package: pagetest.Bad, Requires: []string{pagetest.Bad}, Arches: []albs.Arch{albs.X8664}, Class: order.Cut, Broken: pagetest.Bad}, {Class: order.Vain}, {Class: order.Awaited}}}}}
	view := buildView{
		Build: f.build, Tests: summaryOf(f), Steps: stepsOf(f), Matrices: matricesOf(f), Requests: f.requests, Releases: f.releases, Files: filesOf(f), AllFiles: 2, Bill: true, Warnings: []string{pagetest.Bad}, Ordered: []string{"el9"}, Graphs: []order.Graph{who},
		Noarch: []settle.Difference{{Package: pagetest.Bad, First: settle.Copy{Arch: albs.X8664, Digest: d}, Second: settle.Copy{Arch: albs.AArch64, Digest: d}, Differs: []string{pagetest.Bad}}}, Repos: reposOf(f), Unverified: unverifiedOf(f),
		Failures: []taskFailure{{Task: task, Label: pagetest.Bad, Log: queue.LogInfo{Attempt: 1, Stream: "build", Size: 7}, Waiting: 2, Cause: cause}}, MoreFails: 3,
		Waivers:  []testrun.Waiver{{ID: 3, Digest: d, NEVRA: pagetest.Bad, Stage: albs.StageUpgrade, Person: pagetest.Bad, Reason: pagetest.Bad, ExpiresAt: db.Time{Time: now.Add(time.Hour)}}},
		Answered: []answered{{Key: errata.Key{ID: "ALSA-2024:1", Platform: "el9"}, Stage: matching.Ready}, {Key: errata.Key{ID: "ALSA-2024:2", Platform: "el9"}}}, Advise: "/errata/create?build=7",
		Actions: []page.Action{{URL: "/x", Label: "Do", Why: pagetest.Bad}, {URL: "/y", Label: "Do"}, {URL: "/z", Label: "Do", Sure: "Really"}, {URL: "/w", Label: "Leave", Leads: true}},
	}
	att := attempt{Attempt: queue.Attempt{Number: 2, Worker: pagetest.Bad, Reason: pagetest.Bad, Outcome: albs.OutcomeFailed}, Logs: []queue.LogInfo{{Attempt: 2, Stream: "build"}}, Files: f.build.Artifacts, Cause: page.CauseOf(&failure.Cause{Kind: failure.Node, Text: pagetest.Bad}, 7, 12, 1)}
	att.Claimed.Time, att.Ended.Time = now, now
	again := rebuild.Rebuild{ID: 5, Task: task, Node: pagetest.Bad, BuiltOn: pagetest.Bad, Verdict: "differs", Reason: pagetest.Bad, Files: []albs.File{{Name: pagetest.Bad, Digest: d}},
		Packages: []rebuild.Package{{Digest: d, Name: pagetest.Bad, Verdict: "differs", Differing: []string{pagetest.Bad}, Ignored: []string{"BUILDTIME", pagetest.Bad}}, {Digest: d, Name: "x"}}}
	marked := report.Mark(report.Of(run), map[testrun.Point]bool{{Arch: "", Package: "x", Stage: albs.StageIntegrity}: true})
	marked[0].Name = "x"
	tests := &testsView{Build: 7, Base: "/build/7/tests", Whole: true, List: true, Count: report.CountOf(report.Of(run)), Revision: 1, Revisions: 2, Stages: report.Stages(report.Of(run)), Platforms: []string{"el9", pagetest.Bad}, Arches: []albs.Arch{albs.X8664, albs.AArch64},
		Filter: report.Filter{Status: report.Bad, Stage: albs.StageInstall, Package: pagetest.Bad, Platform: pagetest.Bad, Text: pagetest.Bad}, Actions: []page.Action{{URL: "/x", Label: "Do", Why: pagetest.Bad}}}
	tests.addGrid(marked)
	picture := *tests
	picture.List = false
	if err := tests.addChecks(httptest.NewRequest(http.MethodGet, "/x", nil), nil); err != nil {
		t.Fatal(err)
	}
	results := marked
	for _, c := range report.ChecksOf(&results[0]) {
		tests.Checks = append(tests.Checks, checkRow{c, "/x"})
	}
	changed := report.Compare(nil, results).Changes
	pagetest.Execute(t, Group(), map[string][]any{
		"tests": {tests, picture, testsView{}, testsView{List: true}, testsView{List: true, Filter: report.Filter{Text: "x"}}},
		"history": {historyView{}, historyView{Point: testrun.Point{Package: "x"}}, historyView{Point: testrun.Point{Package: pagetest.Bad, Case: pagetest.Bad}, Flaky: 1, Older: "/o", Top: "/t",
			Seen: []seenRow{{testrun.Observation{Point: testrun.Point{Package: pagetest.Bad, Platform: "el9", Stage: albs.StageInstall, Case: pagetest.Bad}, NEVRA: pagetest.Bad, Detail: pagetest.Bad, Status: albs.TestFailed, Inputs: d}, true}, {}}}},
		"compare": {comparedView{}, comparedView{Build: 7, From: 1, To: 2, Numbers: []int{1, 2}, Kinds: []kindCount{{report.Broken, 2}}, Same: 3, Changes: []changeRow{{changed[0], "/x"}, {report.Change{Check: changed[1].Check, From: albs.TestPassed, Before: pagetest.Bad}, "/x"}}}},
		"builds": {buildsView{}, buildsView{Filled: true, Filter: build.Filter{Package: "<img src=x>"}, Next: "/builds?before=1", First: "/builds",
			Builds: []build.Summary{{ID: 7, Owner: pagetest.Bad, Product: "distro", Status: f.build.Status, Packages: []string{pagetest.Bad, "b", "c", "d", "e"}, Platforms: []string{"el9", "el10"}}}}},
		"build": {view, buildView{Build: build.Build{ID: 8}, AllFiles: 1000}},
		"graph": {graphPage{Graph: who, Platforms: []string{"el9", "el10"}}, graphPage{}},
		"clone": {cloneView{Build: f.build, Key: "K"}, cloneView{Build: f.build, Why: pagetest.Bad}},
		"files": {view, buildView{}},
		"task":  {taskView{Build: 7, Task: task, Item: item, Label: pagetest.Bad, Wait: pagetest.Bad, Cause: cause, Attempts: []attempt{att, {}}, Run: &run, Waivers: view.Waivers, Tests: tests, Rebuilds: []rebuild.Rebuild{again, {ID: 6, Node: "a", BuiltOn: "b"}}, Actions: []page.Action{{URL: "/x", Label: "Retry"}, {URL: "/y", Label: "Leave", Leads: true}, {URL: "/z", Label: "Leave", Sure: "x", Leads: true}}}, taskView{}},
		"log": {logView{Build: 7, Task: task, Label: pagetest.Bad, Attempt: att, Stream: "build", Lines: []logs.Line{{Number: 1, Text: words.Inert(pagetest.Bad), Cut: 5}}, Others: []queue.LogInfo{{Attempt: 2, Stream: "build"}}, Prev: 1, Next: 2, Base: "/b"},
			logView{Attempt: att}},
	})
	if u := unverifiedOf(f); u.N != 1 || len(u.Why) != 1 {
		t.Errorf("unverified sources %+v", u)
	}
	f.sources[1] = build.Source{Verified: true}
	if u := unverifiedOf(f); u.N != 0 || len(u.Why) != 0 {
		t.Errorf("unverified sources %+v of a verified one", u)
	}
	if s := stepsOf(f); s[4].State != "signed" || s[5].State != "completed" || s[3].State != string(status.Failed) {
		t.Errorf("steps %+v", s)
	}
}

func TestStepState(t *testing.T) {
	t.Parallel()
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

// TestWarnings: what ought to be looked at stands above what failed, each thing once.
func TestWarnings(t *testing.T) {
	t.Parallel()
	d := albs.DigestOf([]byte("x"))
	b := build.Build{Items: []build.Item{
		{Warning: "el9 wants kernel to be built for secure boot"}, {Warning: "el9 wants kernel to be built for secure boot"},
		{Noarch: []settle.Difference{{Package: "a-1-1.noarch.rpm", First: settle.Copy{Arch: albs.X8664, Digest: d}, Second: settle.Copy{Arch: albs.AArch64, Digest: d}, Differs: []string{"/usr/share/a"}}}},
	}}
	w, n := warningsOf(b)
	if len(w) != 1 || len(n) != 1 || n[0].Package != "a-1-1.noarch.rpm" {
		t.Errorf("warnings %q, differences %+v", w, n)
	}
}
