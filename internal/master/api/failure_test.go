package api

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/build"
)

// TestFailure: build and task tell why a task failed, in the words that clients read.
func TestFailure(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	b, node, lease := f.leased(t)
	log := []byte("one\na.c:7:1: error: no\nthree\n")
	file := albs.File{Name: "build", Digest: albs.DigestOf(log), Size: int64(len(log))}
	if _, err := node.Put(t.Context(), lease.Token, file.Digest, 0, bytes.NewReader(log)); err != nil {
		t.Fatal(err)
	}
	err := node.Complete(t.Context(), lease.Token, albs.OutcomeFailed, albs.Result{Reason: "it ended with code 1", Logs: []albs.File{file}})
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"kind":"compile","text":"a.c:7: no","hint":"where a header is missing, so is a BuildRequires","attempt":1,"log":"build","line":2,` +
		`"quote":"a.c:7:1: error: no","before":["one"],"after":["three"]}`
	var build struct {
		Tasks []struct {
			ID      albs.TaskID
			Failure json.RawMessage
		}
	}
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/", b.ID), nil, http.StatusOK).into(t, &build)
	for _, task := range build.Tasks {
		if task.ID == lease.Token.Task && string(task.Failure) != want {
			t.Errorf("the build's task tells %s, want %s", task.Failure, want)
		}
		if task.ID != lease.Token.Task && task.Failure != nil {
			t.Errorf("a task that has not failed tells %s", task.Failure)
		}
	}
	var task struct {
		Failure  json.RawMessage
		Attempts []struct{ Failure json.RawMessage } `json:"attempt_list"`
	}
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/tasks/%d/", b.ID, lease.Token.Task), nil, http.StatusOK).into(t, &task)
	if string(task.Failure) != want || len(task.Attempts) != 1 || string(task.Attempts[0].Failure) != want {
		t.Errorf("the task tells %s and its attempts %s, want %s", task.Failure, task.Attempts, want)
	}
}

// TestManyFailures: a build with thousands of failed tasks tells of each why it failed,
// and quotes the logs of the first ones only.
func TestManyFailures(t *testing.T) {
	t.Parallel()
	line := strings.Repeat("x", 300)
	var b build.Build
	for i := range 1000 {
		it := build.Item{ID: albs.ItemID(i + 1), Tasks: []build.Task{{Failure: &failure.Cause{
			Kind: failure.Compile, Text: "a.c:7: no", Log: failure.Build, Number: 9, Line: line, Before: []string{line, line, line}, After: []string{line, line, line},
		}}}}
		b.Items = append(b.Items, it)
	}
	v := viewBuild(b, nil)
	for i, task := range v.Tasks {
		f := task.Failure
		if f == nil || f.Text != "a.c:7: no" || f.Line != 9 || f.Log != failure.Build {
			t.Fatalf("task %d tells %+v", i, f)
		}
		if quoted := f.Quote == line && len(f.Before) == 3 && len(f.After) == 3; quoted != (i < maxQuoted) || !quoted && f.Quote != "" {
			t.Errorf("task %d has quotes: %t", i, quoted)
		}
	}
	if b.Items[maxQuoted].Tasks[0].Failure.Line != line {
		t.Error("the build itself has lost its quotes")
	}
}
