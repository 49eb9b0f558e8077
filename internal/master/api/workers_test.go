package api

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// claims has node-1 wait for a moment for work that there isn't, or take a task.
func (f *fixture) claims(t *testing.T, labels string, status int) answer {
	t.Helper()
	return f.call(t, "node", post, "/worker/v1/claim", `{"version":"v1.2","labels":[`+labels+`],"cores":8,"memory":17179869184,"disk":107374182400,"wait":1}`, status)
}

const nodeLabels = `"arch:x86_64","kind:build"`

// TestFarm is an operator's way: a worker is looked at, drained, kept from packages and
// taken back.
func TestFarm(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	const path = "/api/v1/workers/1/"
	var w workerView
	show := func() workerView {
		t.Helper()
		var w workerView
		f.call(t, "anon", get, path, nil, 200).into(t, &w)
		return w
	}
	if w = show(); w.State != "unseen" || w.LastContact != nil || w.Drained != nil || w.Runs == nil || w.Name != "node-1" {
		t.Errorf("before it asked: %+v", w)
	}
	// It must have asked for work, for there is nothing to keep from it.
	if p := f.call(t, "operator", patch, path+"drain", "{}", 404).problem(t); !strings.Contains(p.Detail, "asked for work") {
		t.Errorf("detail = %q", p.Detail)
	}
	f.call(t, "node", post, "/worker/v1/claim", `{"labels":[`+nodeLabels+`],"pause":"not of s390x","wait":1}`, 204)
	if w = show(); w.Pause != "not of s390x" {
		t.Errorf("one that takes less than it could: %+v", w)
	}
	f.claims(t, nodeLabels, 204)
	if w = show(); w.State != "idle" || w.Pause != "" || w.Version != "v1.2" || !slices.Equal(w.Offers, []string{"arch:x86_64", "kind:build"}) || w.LastContact == nil ||
		w.Capacity != (roomView{8, 16 << 30, 100 << 30}) || w.Taken != (roomView{}) {
		t.Errorf("once it asked: %+v", w)
	}
	b := f.build(t, f.upload(t))
	task := b.Tasks[0].ID
	f.claims(t, nodeLabels, 200)
	if w = show(); w.State != "busy" || len(w.Runs) != 1 || w.Runs[0].ID != task || w.Runs[0].BuildID != b.ID || w.Runs[0].Since == nil || w.Runs[0].Key == "" ||
		w.Taken != (roomView{1, 1 << 30, 2 << 30}) {
		t.Errorf("at work: %+v", w)
	}

	f.call(t, "operator", patch, path+"drain", `{"reason":" a new\ndisk "}`, 200).into(t, &w)
	if w.State != "draining" || w.Drained == nil || w.Drained.Reason != "a new disk" || w.Drained.By != "user:operator" || w.Drained.Since == nil {
		t.Errorf("drained at work: %+v", w)
	}
	f.call(t, "operator", put, path+"exclude", `{"patterns":["kernel*","*/*/s390x","kernel*"]}`, 200).into(t, &w)
	if !slices.Equal(w.Exclude, []string{"*/*/s390x", "kernel*"}) {
		t.Errorf("exclude = %q", w.Exclude)
	}
	f.call(t, "operator", put, path+"exclude", `{"patterns":[]}`, 200).into(t, &w)
	f.call(t, "operator", patch, path+"lift", nil, 200)
	f.call(t, "operator", patch, path+"undrain", nil, 200).into(t, &w)
	if w.State != "busy" || w.Drained != nil || len(w.Exclude) != 0 {
		t.Errorf("taken back: %+v", w)
	}

	if err := f.db.InTx(t.Context(), func(tx db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE fleet_worker SET quarantined_at = seen_at, quarantine_reason = 'it lost much' WHERE name = 'node-1'`)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	if w = show(); w.State != "quarantined" || w.Quarantined == nil || w.Quarantined.Reason != "it lost much" || w.Quarantined.Since == nil {
		t.Errorf("in quarantine: %+v", w)
	}
	w = workerView{}
	f.call(t, "operator", patch, path+"lift", nil, 200).into(t, &w)
	if w.State != "busy" || w.Quarantined != nil {
		t.Errorf("lifted: %+v", w)
	}

	for _, bad := range []struct {
		method, path, body string
		status             int
	}{
		{patch, path + "drain", `{"reason":"` + strings.Repeat("x", 501) + `"}`, 413},
		{patch, path + "drain", `{"raeson":"x"}`, 422},
		{patch, path + "drain", ``, 400},
		{put, path + "exclude", `{}`, 422},
		{put, path + "exclude", `{"patterns":["[a"]}`, 400},
		{put, path + "exclude", `{"patterns":["two words"]}`, 400},
		{put, path + "exclude", `{"patterns":[` + strings.TrimSuffix(patterns(101), ",") + `]}`, 413},
		{patch, "/api/v1/workers/99/drain", `{}`, 404},
		{patch, "/api/v1/workers/99/lift", `{}`, 404},
		{get, "/api/v1/workers/99/", ``, 404},
		{get, "/api/v1/workers/0/", ``, 422},
		{get, "/api/v1/workers/node-1/", ``, 422},
		{get, "/api/v1/workers/?state=tired", ``, 422},
		{get, "/api/v1/workers/?limit=0", ``, 422},
		{get, "/api/v1/workers/?limit=501", ``, 422},
		{get, "/api/v1/workers/?after=" + strings.Repeat("x", 101), ``, 422},
	} {
		var body any
		if bad.body != "" {
			body = bad.body
		} else if bad.method != get {
			body = ""
		}
		f.call(t, "operator", bad.method, bad.path, body, bad.status).problem(t)
	}

	// Everybody hears of it, by whom.
	events, err := f.Events.Since(t.Context(), 0, "worker:node-1", 100)
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	for _, e := range events {
		if kinds = append(kinds, e.Kind); e.Kind != "worker.added" && e.Actor != "user:operator" {
			t.Errorf("event %+v", e)
		}
	}
	if want := []string{"worker.added", "worker.drained", "worker.excludes", "worker.excludes", "worker.undrained", "worker.lifted"}; !slices.Equal(kinds, want) {
		t.Errorf("events %q, want %q", kinds, want)
	}
}

func patterns(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, `"p%d",`, i)
	}
	return b.String()
}

// TestListOfWorkers: it can be chosen from, and read in parts.
func TestListOfWorkers(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for i := range 5 {
		f.call(t, "operator", post, "/api/v1/workers/", fmt.Sprintf(`{"name":"signer-%d","role":"signer"}`, i), 201)
	}
	f.call(t, "operator", patch, "/api/v1/workers/3/disable", nil, 200)
	f.claims(t, nodeLabels, 204)
	for query, want := range map[string]string{
		"":                        "node-1 signer-0 signer-1 signer-2 signer-3 signer-4",
		"?limit=2":                "node-1 signer-0",
		"?limit=2&after=signer-0": "signer-1 signer-2",
		"?after=signer-3":         "signer-4",
		"?state=idle":             "node-1",
		"?state=disabled":         "signer-1",
		"?name=signer-2":          "signer-2",
		"?name=nope":              "",
	} {
		var ws []workerView
		f.call(t, "anon", get, "/api/v1/workers/"+query, nil, 200).into(t, &ws)
		var names []string
		for _, w := range ws {
			names = append(names, w.Name)
		}
		if got := strings.Join(names, " "); got != want {
			t.Errorf("%s = %q, want %q", query, got, want)
		}
	}
}

// TestWhyATaskWaits: the task's own page and the queue's say the same.
func TestWhyATaskWaits(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	b := f.build(t, f.upload(t))
	task := b.Tasks[0].ID
	byBuild, byQueue := fmt.Sprintf("/api/v1/builds/%d/tasks/%d/", b.ID, task), fmt.Sprintf("/api/v1/queue/%d/", task)
	var v taskView
	var q queuedView
	ask := func() {
		t.Helper()
		v, q = taskView{}, queuedView{}
		f.call(t, "anon", get, byBuild, nil, 200).into(t, &v)
		f.call(t, "anon", get, byQueue, nil, 200).into(t, &q)
		if (v.Why == nil) != (q.Why == nil) || v.Why != nil && v.Why.Sentence != q.Why.Sentence {
			t.Errorf("the build says %+v, the queue %+v", v.Why, q.Why)
		}
	}
	if ask(); v.Why == nil || v.Why.Binding != "no worker has asked for work of late" || v.Why.Position != 1 || v.Why.Of != 1 || len(v.Why.Candidates) != 0 || v.Why.StartsAt != nil || v.Why.Takes != nil {
		t.Errorf("with nobody there: %+v", v.Why)
	}
	if q.BuildID != b.ID || q.Kind != albs.KindBuild || q.State != albs.TaskQueued || q.Lane == "" || q.Key == "" || !slices.Contains(q.Needs, "arch:x86_64") || q.Since == nil || q.StartedAt != nil {
		t.Errorf("queued task = %+v", q)
	}
	f.claims(t, `"kind:build"`, 204)
	if ask(); v.Why == nil || !strings.Contains(v.Why.Sentence, "no worker offers arch:x86_64") {
		t.Errorf("with none of its arch: %+v", v.Why)
	}
	f.claims(t, `"kind:source",`+nodeLabels, 200)
	if ask(); v.Why != nil || q.State != albs.TaskLeased || q.Worker != "node-1" {
		t.Errorf("running: %+v, %+v", v.Why, q)
	}
	second := f.build(t, f.upload(t))
	task = second.Tasks[0].ID
	byBuild, byQueue = fmt.Sprintf("/api/v1/builds/%d/tasks/%d/", second.ID, task), fmt.Sprintf("/api/v1/queue/%d/", task)
	if ask(); v.Why == nil || !slices.Equal(v.Why.Candidates, []string{"node-1"}) || !strings.Contains(v.Why.ETA, "no history of "+q.Key) || !strings.Contains(v.Why.Binding, "is busy") {
		t.Errorf("behind another: %+v", v.Why)
	}
	f.call(t, "operator", patch, "/api/v1/workers/1/drain", `{"reason":"a new disk"}`, 200)
	if ask(); v.Why == nil || !strings.Contains(v.Why.Binding, "node-1 is drained (a new disk)") {
		t.Errorf("with its node drained: %+v", v.Why)
	}
	f.call(t, "anon", get, "/api/v1/queue/4711/", nil, 404).problem(t)
	f.call(t, "anon", get, "/api/v1/queue/x/", nil, 422).problem(t)
	// The list of a build's tasks doesn't compute it for each.
	var list buildView
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/", second.ID), nil, 200).into(t, &list)
	if list.Tasks[0].Why != nil {
		t.Errorf("the list has %+v", list.Tasks[0].Why)
	}
}

// TestFieldNames holds what programs read of workers and waiting tasks: a field is there
// also when it is empty, and is never renamed.
func TestFieldNames(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	f.claims(t, nodeLabels, 204)
	f.build(t, f.upload(t))
	f.claims(t, nodeLabels, 200)
	b := f.build(t, f.upload(t))
	f.call(t, "operator", patch, "/api/v1/workers/1/drain", "{}", 200)
	names := func(path string, into ...string) string {
		t.Helper()
		raw := f.call(t, "anon", get, path, nil, 200).body
		for _, name := range into {
			var list []json.RawMessage
			if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
				raw = list[0]
			}
			var o map[string]json.RawMessage
			if err := json.Unmarshal(raw, &o); err != nil {
				t.Fatalf("%s: %v", raw, err)
			}
			raw = o[name]
		}
		var list []json.RawMessage
		if json.Unmarshal(raw, &list) == nil && len(list) > 0 {
			raw = list[0]
		}
		var o map[string]json.RawMessage
		if err := json.Unmarshal(raw, &o); err != nil {
			t.Fatalf("%s %q: %v", path, into, err)
		}
		return strings.Join(slices.Sorted(maps.Keys(o)), " ")
	}
	const worker = "capacity created_at disabled_at drained exclude id labels last_contact name offers prefix quarantined role runs state taken used_at version"
	queued := fmt.Sprintf("/api/v1/queue/%d/", b.Tasks[0].ID)
	const why = "after binding candidates of position sentence starts_at takes_seconds"
	for _, test := range []struct{ what, got, want string }{
		{"a worker", names("/api/v1/workers/1/"), worker},
		{"a worker of the list", names("/api/v1/workers/"), worker},
		{"capacity", names("/api/v1/workers/1/", "capacity"), "cores disk memory"},
		{"taken", names("/api/v1/workers/1/", "taken"), "cores disk memory"},
		{"runs", names("/api/v1/workers/1/", "runs"), "build_id id key kind since state"},
		{"drained", names("/api/v1/workers/1/", "drained"), "by reason since"},
		{"a queued task", names(queued), "attempts build_id created_at id key kind lane needs priority reason room since started_at state why"},
		{"why", names(queued, "why"), why},
		{"why of a build's task", names(fmt.Sprintf("/api/v1/builds/%d/tasks/%d/", b.ID, b.Tasks[0].ID), "why"), why},
	} {
		if diff := cmp.Diff(test.want, test.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", test.what, diff)
		}
	}
}
