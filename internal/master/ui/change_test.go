package ui

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/mastertest"
)

// TestClone: a form sent twice makes one build, and it is the one's who asked.
func TestClone(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	contains(t, "build page", f.browse("").page("/build/1"), `disabled>Clone…`, "sign in first", `!href="/build/1/clone"`)
	contains(t, "clone page of nobody", f.browse("").page("/build/1/clone"), "disabled>Make the build", "<fieldset disabled>", "sign in first")
	contains(t, "clone page of an outsider", f.browse("outsider").page("/build/1/clone"), "disabled>Make the build", "build.create")
	if a := f.browse("outsider").post("/build/1/clone", url.Values{"of": {"commits"}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("clone by an outsider = %s", a.Status)
	}

	c := f.browse("maintainer")
	contains(t, "build page", c.page("/build/1"), `href="/build/1/clone"`)
	page := c.page("/build/1/clone")
	contains(t, "clone page", page, "albs-rich", "el9", "x86_64 aarch64", "SRPM given", "for distro", `value="commits" checked`, "!disabled")
	key := regexp.MustCompile(`name="key" value="(\w+)"`).FindStringSubmatch(page)
	if key == nil {
		t.Fatalf("the form has no key\n%s", page)
	}
	if again := c.page("/build/1/clone"); strings.Contains(again, key[1]) {
		t.Error("two forms have one key: the second would make no build")
	}
	for range 2 {
		a := c.post("/build/1/clone", url.Values{"of": {"commits"}, "key": {key[1]}})
		if a.StatusCode != http.StatusOK || a.Request.URL.Path != "/build/2" {
			t.Fatalf("clone = %s at %s\n%s", a.Status, a.Request.URL, a.text)
		}
	}
	contains(t, "clone", c.page("/build/2"), "albs-rich", "maintainer")
	for of, want := range map[string]int{"": 400, "<b>": 400} {
		if a := c.post("/build/1/clone", url.Values{"of": {of}}); a.StatusCode != want {
			t.Errorf("clone of %q = %s", of, a.Status)
		}
	}
	if a := c.post("/build/9/clone", url.Values{"of": {"refs"}}); a.StatusCode != http.StatusNotFound {
		t.Errorf("clone of no build = %s", a.Status)
	}
	if a := c.get("/build/3"); a.StatusCode != http.StatusNotFound {
		t.Errorf("there is a third build: %s", a.Status)
	}
}

// TestDelete: what keeps a build is said beside the button, and said again to who
// sends the form nevertheless.
func TestDelete(t *testing.T) {
	t.Parallel()
	f := setup(t)
	kept := albs.BuildID(2)
	f.Builds.Guard(func(_ context.Context, _ db.Q, id albs.BuildID) error {
		if id == kept {
			return albs.Errorf(albs.Conflict, "build %d is in release 7", id)
		}
		return nil
	})
	f.create()
	f.create()
	c := f.browse("contributor")
	contains(t, "one that can go", c.page("/build/1"), `action="/build/1/delete"`, "Nobody can take this back")
	contains(t, "one that is released", c.page("/build/2"), "disabled>Delete build", "build 2 is in release 7", `!action="/build/2/delete"`)
	contains(t, "one of others", f.browse("outsider").page("/build/1"), "disabled>Delete build", "build.delete", "!release 7")
	if a := c.post("/build/2/delete", nil); a.StatusCode != http.StatusConflict || !strings.Contains(a.text, "release 7") {
		t.Errorf("delete what is released = %s\n%s", a.Status, a.text)
	}
	if a := f.browse("outsider").post("/build/1/delete", nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("delete by an outsider = %s", a.Status)
	}
	if a := c.post("/build/1/delete", nil); a.StatusCode != http.StatusOK || a.Request.URL.Path != "/builds" {
		t.Errorf("delete = %s at %s\n%s", a.Status, a.Request.URL, a.text)
	}
	contains(t, "list", c.page("/builds"), `href="/build/2"`, `!href="/build/1"`)
	if a := c.get("/build/1"); a.StatusCode != http.StatusNotFound || !strings.Contains(a.text, "contributor") {
		t.Errorf("a deleted build = %s\n%s", a.Status, a.text)
	}
}

// TestFresh: a fresh SRPM is offered where there is a commit to make it from.
func TestFresh(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.create()
	task := b.Items[0].Tasks[0]
	c := f.browse("contributor")
	contains(t, "task of a given SRPM", c.page(fmt.Sprintf("/build/1/task/%d", task.ID)), "disabled>Retry with a fresh SRPM", "its SRPM was given")
	path := fmt.Sprintf("/build/1/item/%d/fresh", b.Items[0].ID)
	for who, want := range map[string]int{"": 401, "outsider": 403, "contributor": 400} {
		if a := f.browse(who).post(path, nil); a.StatusCode != want {
			t.Errorf("a fresh SRPM for %q = %s, want %d", who, a.Status, want)
		}
	}
	for _, p := range []string{"/build/1/item/x/fresh", "/build/1/item/99/fresh", "/build/9/item/1/fresh"} {
		if a := c.post(p, nil); a.StatusCode != http.StatusNotFound {
			t.Errorf("POST %s = %s", p, a.Status)
		}
	}
}

// TestOrder: who needs whom is drawn on the page of a small build, and has a page of
// its own in any case.
func TestOrder(t *testing.T) {
	t.Parallel()
	f := setup(t)
	one := f.create()
	anon := f.browse("")
	contains(t, "page of one package", anon.page("/build/1"), "!Who needs whom")
	given := build.Package{SRPM: one.Items[0].SRPM.Digest}
	f.create(given, given, given) // what isn't known to need nothing is built as listed
	page := anon.page("/build/2")
	contains(t, "page of three", page, "Who needs whom", "3 packages", `id="list-el9"`)
	own := anon.page("/build/2/graph")
	contains(t, "page of its own", own, "Who needs whom", `data-topic="build:2"`, `id="list-el9"`)
	for _, task := range f.tasks(2) {
		if task.Kind == albs.KindBuild {
			contains(t, "page of its own", own, fmt.Sprintf(`href="/build/2/task/%d"`, task.ID))
		}
	}
	f.create(slices.Repeat([]build.Package{given}, 61)...)
	contains(t, "page of many", anon.page("/build/3"), `href="/build/3/graph?platform=el9"`, `!id="list-el9"`)
	contains(t, "page of many of its own", anon.page("/build/3/graph?platform=el9"), "61 packages")
	for path, want := range map[string]int{"/build/2/graph?platform=el10": 404, "/build/9/graph": 404, "/build/x/graph": 404} {
		if a := anon.get(path); a.StatusCode != want {
			t.Errorf("GET %s = %s, want %d", path, a.Status, want)
		}
	}
}

// TestFailedTests: a case of a package's tests that failed is told of as what failed of
// a build is, on the page of the build and of the test.
func TestFailedTests(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	f.claim(albs.KindBuild, "arch:x86_64").succeed()
	f.claim(albs.KindBuild, "arch:aarch64").succeed()
	l := f.claim(albs.KindTest, "arch:x86_64")
	r := mastertest.Tested(l.Spec.Test, func(_ string, stage albs.TestStage) string {
		return map[albs.TestStage]string{albs.StageInstall: "dnf can't resolve: nothing provides <b>libfoo</b> needed by x"}[stage]
	})
	must(t, f.Queue.Complete(l.ctx, l.Token, albs.OutcomeOK, albs.Result{Test: r}))
	anon := f.browse("")
	path := fmt.Sprintf("/build/1/task/%d", l.Token.Task)
	contains(t, "build page", anon.page("/build/1"), "What failed", "<b>dependency</b>", "install of albs-rich-", "nothing provides &lt;b&gt;libfoo", `href="`+path+`"`, "!<b>libfoo")
	contains(t, "test's page", anon.page(path), "<b>dependency</b>", "mend the BuildRequires, or build what provides it first")
}
