package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/mastertest"
)

// tested ends a test: the integrity of the one package is as bad as said, with so many good
// cases beside the bad one, and a log.
func (l *lease) tested(bad string, cases int) {
	l.f.t.Helper()
	nevra := l.Spec.Test.Packages[0].NEVRA
	r := mastertest.Tested(l.Spec.Test, func(_ string, s albs.TestStage) string {
		if s == albs.StageIntegrity {
			return bad
		}
		return ""
	})
	log := l.upload(nevra+".integrity.log", []byte("looking at files\n"))
	for i, s := range r.Stages {
		if s.Stage == albs.StageIntegrity {
			r.Stages[i].Log = log.Name
		}
	}
	for i := range cases {
		r.Cases = append(r.Cases, albs.TestCase{Package: nevra, Stage: albs.StageIntegrity, Name: fmt.Sprintf("case %03d", i), Status: albs.TestPassed})
	}
	if bad != "" {
		r.Cases = append(r.Cases, albs.TestCase{Package: nevra, Stage: albs.StageIntegrity, Name: "<b>files</b>", Status: albs.TestFailed, Detail: "/usr/bin/<script>\nis missing"})
	}
	must(l.f.t, l.f.Queue.Complete(l.ctx, l.Token, albs.OutcomeOK, albs.Result{Test: r, Logs: []albs.File{log}}))
}

// TestTestPages: from a build to what is bad in it, and from one revision to the next.
func TestTestPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	anon, contributor := f.browse(""), f.browse("contributor")
	contains(t, "tests before there are any", anon.page("/build/1/tests"), "Nothing was tested yet", "sign in first")
	contains(t, "comparison before there is any", anon.page("/build/1/tests/compare"), "Nothing was tested yet")
	f.claim(albs.KindBuild, "arch:x86_64").succeed()
	f.claim(albs.KindBuild, "arch:aarch64").fail("no")
	l := f.claim(albs.KindTest, "arch:x86_64")
	nevra := l.Spec.Test.Packages[0].NEVRA
	contains(t, "tests under way", anon.page("/build/1/tests"), "1 still to end", "!passed</span>, ", nevra)
	contains(t, "build with tests under way", anon.page("/build/1"), `id="tests"`, "1 still to end", "!what is bad")
	l.tested("<i>1 of 121</i>", 120)

	task := fmt.Sprintf("/build/1/task/%d", l.Token.Task)
	contains(t, "build", anon.page("/build/1"), `href="/build/1/tests"`, "1 failed</b>", `href="`+task+`"`, "&lt;i&gt;1 of 121", "!<i>1 of", "view=checks&amp;status=bad")
	grid := anon.page("/build/1/tests")
	contains(t, "grid", grid, "stagegrid", `href="`+task+`"`, "integrity: failed, 1 of 121 cases bad; &lt;i&gt;1 of 121", `<a class="s-bad" href="/build/1/tests?arch=x86_64&amp;package=`, `<a class="s-ok"`, "!<i>1 of")
	// The cell leads to the stage's checks.
	_, cell, _ := strings.Cut(grid, `<a class="s-bad" href="`)
	cell, _, _ = strings.Cut(cell, `"`)
	cell, _, _ = strings.Cut(strings.ReplaceAll(cell, "&amp;", "&"), "#")
	contains(t, "cell", anon.page(cell), "<span class=\"quiet\">122</span>", "case 000", "case 098", "!case 099", "next page", `href="/blobs/`, "!install</td>")
	contains(t, "second page of the cell", anon.page(cell+"&page=2"), "case 099", "&lt;b&gt;files", "/usr/bin/&lt;script&gt;\nis missing", "page before", "!<script>\n")
	contains(t, "bad checks", anon.page("/build/1/tests?view=checks&status=bad"), "&lt;b&gt;files", "!case 000", "!<td>install</td>", `<option value="bad" selected>`)
	contains(t, "checks by text", anon.page("/build/1/tests?view=checks&text=CASE+007"), "case 007", "!case 008")
	contains(t, "no such check", anon.page("/build/1/tests?view=checks&text=nothing+like+it"), "No check is like that")
	contains(t, "no such package", anon.page("/build/1/tests?package=bash"), "No package is like that")
	contains(t, "task", anon.page(task), `id="checks"`, "stagegrid", "case 000", "next page", `href="/build/1/tests"`)
	contains(t, "filtered task", anon.page(task+"?status=failed"), "&lt;b&gt;files", "!case 000")
	for path, want := range map[string]int{
		"?status=good": 400, "?stage=prayer": 400, "?revision=2": 404, "?revision=x": 404, "?page=0": 400, "?text=" + strings.Repeat("x", 201): 400, "/compare?from=3": 404, "/compare?to=0": 404,
	} {
		if a := anon.get("/build/1/tests" + path); a.StatusCode != want {
			t.Errorf("GET tests%.40s = %s, want %d", path, a.Status, want)
		}
	}
	if a := anon.get("/build/9/tests"); a.StatusCode != http.StatusNotFound {
		t.Errorf("tests of no build = %s", a.Status)
	}

	// The next revision mends it.
	contains(t, "grid for who may", contributor.page("/build/1/tests"), `action="/build/1/restart-tests"`)
	if a := contributor.post("/build/1/restart-tests", url.Values{}); a.StatusCode != http.StatusOK {
		t.Fatalf("restart = %s\n%s", a.Status, a.text)
	}
	f.claim(albs.KindTest, "arch:x86_64").tested("", 119)
	contains(t, "second revision", anon.page("/build/1/tests"), "revision 2", "1 passed", "!1 failed", `href="/build/1/tests/compare"`)
	contains(t, "first revision", anon.page("/build/1/tests?revision=1"), "as of revision 1", "1 failed", "revision=1")
	contains(t, "comparison", anon.page("/build/1/tests/compare"), "fixed", "removed", "&lt;b&gt;files", "case 119", "!case 118", "came to the same")
	contains(t, "comparison of one with itself", anon.page("/build/1/tests/compare?from=2&to=2"), "Nothing differs")
}
