package queue

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// after sets what tasks come after, in a transaction of its own.
func (f *fixture) after(after map[albs.TaskID][]albs.TaskID) error {
	return f.tx(func(tx db.Tx) error { return f.SetAfter(f.t.Context(), tx, after) })
}

// states returns the tasks' states in one string, by which tests are read.
func (f *fixture) states(ids ...albs.TaskID) []albs.TaskState {
	f.t.Helper()
	m, err := f.States(f.t.Context(), f.d, ids...)
	if err != nil {
		f.t.Fatal(err)
	}
	var out []albs.TaskState
	for _, id := range ids {
		out = append(out, m[id])
	}
	return out
}

func (f *fixture) wantStates(what string, ids []albs.TaskID, want ...albs.TaskState) {
	f.t.Helper()
	if diff := cmp.Diff(want, f.states(ids...)); diff != "" {
		f.t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// TestSetAfter: what a blocked task comes after is changed, also to younger tasks, and
// it is freed, or has its cause, by that alone.
func TestSetAfter(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		need := func(arch string) []string { return []string{"arch:" + arch} }
		gate := f.add(NewTask{Needs: need("gate")})
		var ids []albs.TaskID
		for _, arch := range []string{"one", "two", "three"} {
			ids = append(ids, f.add(NewTask{Needs: need(arch), After: []albs.TaskID{gate}}))
		}
		one, two, three := ids[0], ids[1], ids[2]
		const bl, qu, ca = albs.TaskBlocked, albs.TaskQueued, albs.TaskCancelled

		// one after two after three: each after a younger one.
		if err := f.after(map[albs.TaskID][]albs.TaskID{one: {gate, two}, two: {gate, three}, three: {gate}}); err != nil {
			t.Fatal(err)
		}
		c := &cell{fixture: f}
		c.run("gate", albs.OutcomeOK)
		f.wantStates("after the gate", ids, bl, bl, qu)

		// A circle, or what isn't there, changes nothing.
		for name, bad := range map[string]map[albs.TaskID][]albs.TaskID{
			"itself":      {one: {one}},
			"a circle":    {two: {one}},
			"an old edge": {one: {two}, two: {one}},
			"unknown":     {one: {99999}},
		} {
			if err := f.after(bad); !errors.Is(err, albs.Invalid) {
				t.Errorf("%s: SetAfter = %v, want Invalid", name, err)
			}
		}
		got, err := f.After(t.Context(), f.d, ids...)
		want := map[albs.TaskID][]albs.TaskID{one: {gate, two}, two: {gate, three}, three: {gate}}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("After: %v (-want +got):\n%s", err, diff)
		}

		// What isn't blocked is left alone.
		if err := f.after(map[albs.TaskID][]albs.TaskID{three: {one}}); err != nil {
			t.Fatal(err)
		}
		f.wantStates("a queued one", ids, bl, bl, qu)

		// The failure of three keeps both from being done, until two no longer needs it.
		c.run("three", albs.OutcomeFailed)
		for _, id := range []albs.TaskID{one, two} {
			if task, err := f.Task(t.Context(), id); err != nil || task.Cause != three {
				t.Errorf("task %d has cause %d, want %d; %v", id, task.Cause, three, err)
			}
		}
		if err := f.after(map[albs.TaskID][]albs.TaskID{two: {gate}}); err != nil {
			t.Fatal(err)
		}
		f.wantStates("without three", []albs.TaskID{one, two}, bl, qu)
		if task, err := f.Task(t.Context(), one); err != nil || task.Cause != 0 || task.Reason != "" {
			t.Errorf("task %d still waits in vain: %q, %v", one, task.Reason, err)
		}
		// And the other way: one comes to wait for what has failed.
		if err := f.after(map[albs.TaskID][]albs.TaskID{one: {two, three}}); err != nil {
			t.Fatal(err)
		}
		if task, err := f.Task(t.Context(), one); err != nil || task.Cause != three {
			t.Errorf("task %d has cause %d, want %d; %v", one, task.Cause, three, err)
		}
		// It is queued again when the cause is mended, and done.
		if err := f.tx(func(tx db.Tx) error { return f.Retry(t.Context(), tx, three) }); err != nil {
			t.Fatal(err)
		}
		c.run("three", albs.OutcomeOK)
		c.run("two", albs.OutcomeOK)
		f.wantStates("at the end", ids, qu, albs.TaskSucceeded, albs.TaskSucceeded)
		f.cancel(one)
		f.wantStates("cancelled", []albs.TaskID{one}, ca)
	})
}

// TestExclude: a task that is excluded before anybody is asked frees what comes after.
func TestSpare(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		before := f.add(NewTask{Needs: []string{"arch:before"}})
		id := f.add(NewTask{Needs: []string{"arch:never"}, After: []albs.TaskID{before}})
		behind := f.add(NewTask{Needs: []string{"arch:behind"}, After: []albs.TaskID{id}})
		if err := f.tx(func(tx db.Tx) error { return f.Exclude(t.Context(), tx, id, "ExcludeArch names never") }); err != nil {
			t.Fatal(err)
		}
		f.wantStates("excluded", []albs.TaskID{before, id, behind}, albs.TaskQueued, albs.TaskExcluded, albs.TaskQueued)
		if task, err := f.Task(t.Context(), id); err != nil || task.Reason != "ExcludeArch names never" || task.Attempts != 0 {
			t.Errorf("task = %+v, %v", task, err)
		}
		if err := f.tx(func(tx db.Tx) error { return f.Exclude(t.Context(), tx, id, "") }); !errors.Is(err, albs.Conflict) {
			t.Errorf("Exclude of one that is = %v, want Conflict", err)
		}
	})
}

// TestSetAfterLarge: the order of a large build is set in one transaction.
func TestSetAfterLarge(t *testing.T) {
	if testing.Short() {
		t.Skip("it makes thousands of tasks: not with -short")
	}
	each(t, func(t *testing.T, f *fixture) {
		gate := f.add(NewTask{})
		after := make(map[albs.TaskID][]albs.TaskID)
		last := gate
		for range 2000 {
			id := f.add(NewTask{After: []albs.TaskID{gate}})
			after[id] = []albs.TaskID{gate, last}
			last = id
		}
		if err := f.after(after); err != nil {
			t.Fatal(err)
		}
		got, err := f.After(t.Context(), f.d, slices.Collect(maps.Keys(after))...)
		if err != nil || len(got) != 2000 {
			t.Errorf("After: %d, %v", len(got), err)
		}
	})
}
