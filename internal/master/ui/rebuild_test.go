package ui

import (
	"fmt"
	"net/http"
	"testing"

	"albs/internal/albs"
)

// TestRebuildPages: a task's page and a package's trace have a button for a rebuild, for
// those who may; what it came to stands on the pages of both tasks and in the trace.
func TestRebuildPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	built := l.succeed()
	of := fmt.Sprintf("/build/1/task/%d", l.Token.Task)
	anon, alice := f.browse(""), f.browse("contributor")
	contains(t, "a stranger's page", anon.page(of), "Rebuild and compare", `!action="`+of+`/rebuild"`)
	contains(t, "alice's page", alice.page(of), `action="`+of+`/rebuild"`)
	if a := f.browse("outsider").post(of+"/rebuild", nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("an outsider has it built again: %s", a.Status)
	}
	a := alice.post(of+"/rebuild", nil)
	if a.StatusCode != http.StatusOK || a.Request.URL.Path != of {
		t.Fatalf("the button leads to %s, %s", a.Request.URL, a.Status)
	}
	contains(t, "while it waits", a.text, "Rebuild 1", "a rebuild of it is under way", `!action="`+of+`/rebuild"`)
	again := f.claim(albs.KindRebuild, "arch:x86_64")
	again.succeed()
	by := fmt.Sprintf("/build/1/task/%d", again.Token.Task)
	contains(t, "the task's page", anon.page(of), "Rebuild 1", "bit-identical", "the same node", `href="`+by+`"`)
	contains(t, "the rebuild's page", anon.page(by), fmt.Sprintf("rebuild of task %d", l.Token.Task), "bit-identical", `href="/p/`+string(built)+`"`)

	trace := "/p/" + string(built)
	contains(t, "alice's trace", alice.page(trace), `action="`+trace+`/rebuild"`, "rebuilt on the same node")
	if a = alice.post(trace+"/rebuild", nil); a.StatusCode != http.StatusOK {
		t.Fatalf("the trace's button leads to %s, %s", a.Request.URL, a.Status)
	}
	contains(t, "where the trace's button leads", a.text, fmt.Sprintf("rebuild of task %d", l.Token.Task))
	if a := alice.post("/p/x/rebuild", nil); a.StatusCode != http.StatusBadRequest {
		t.Errorf("of no digest: %s", a.Status)
	}
}
