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

// TestSkipList: an operator skips a stage of a package once it is clear what that means, and
// takes it off again; others read the list.
func TestSkipList(t *testing.T) {
	t.Parallel()
	f := setup(t)
	operator, anon := f.browse("operator"), f.browse("")
	contains(t, "of nobody", anon.page("/tests/skips"), "Nothing is skipped", "sign in first", "!/tests/skips/new", `aria-current="page">Tests</a>`)
	contains(t, "of a contributor", f.browse("contributor").page("/tests/skips"), "platform.apply", "!/tests/skips/new")
	contains(t, "of an operator", operator.page("/tests/skips"), `action="/tests/skips/new"`, "<option>el9</option>")
	form := url.Values{"platform": {"el9"}, "package": {" glibc "}, "stage": {"downgrade"}, "reason": {"it <b>can't</b> go back"}}
	asked := operator.page("/tests/skips/new?" + form.Encode())
	contains(t, "the question", asked, "exactly <b><bdi>glibc</bdi>", "it &lt;b&gt;can&#39;t&lt;/b&gt; go back", `action="/tests/skips/add"`, "!Skipped for it already")
	contains(t, "the question of nobody", anon.page("/tests/skips/new?"+form.Encode()), "disabled>Skip it", "sign in first")
	for _, who := range []string{"contributor", "maintainer", "outsider"} {
		if a := f.browse(who).post("/tests/skips/add", form); a.StatusCode != http.StatusForbidden {
			t.Errorf("added by %s: %s", who, a.Status)
		}
	}
	if a := anon.post("/tests/skips/add", form); a.StatusCode != http.StatusUnauthorized {
		t.Errorf("added by nobody: %s", a.Status)
	}
	cross := operator.request(http.MethodPost, "/tests/skips/add", strings.NewReader(form.Encode()))
	cross.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	cross.Header.Set("Sec-Fetch-Site", "cross-site")
	if a := operator.do(cross); a.StatusCode != http.StatusForbidden {
		t.Errorf("added by another site's page: %s", a.Status)
	}
	operator.post("/tests/skips/add", form).shown(t, "/tests/skips")
	if a := operator.post("/tests/skips/add", form); a.StatusCode != http.StatusConflict {
		t.Errorf("added once more: %s", a.Status)
	}
	form.Set("stage", "upgrade")
	contains(t, "the next question", operator.page("/tests/skips/new?"+form.Encode()), "Skipped for it already: downgrade")
	contains(t, "the list", anon.page("/tests/skips"), "<bdi>glibc</bdi>", "downgrade", "it &lt;b&gt;can&#39;t&lt;/b&gt; go back", "user:operator", "!/remove")
	for query, has := range map[string]bool{
		"platform=el9": true, "platform=el10": false, "package=LIB": true, "package=lib*": false, "stage=downgrade": true, "stage=remove": false,
	} {
		text := anon.page("/tests/skips?" + query)
		if strings.Contains(text, "<bdi>glibc</bdi>") != has || strings.Contains(text, "No entry is like that") == has {
			t.Errorf("%s: has glibc, want %t", query, has)
		}
	}
	for path, want := range map[string]int{
		"/tests/skips/new?platform=el9&package=gl*&stage=remove&reason=x": 400, "/tests/skips/new?platform=el9&package=glibc&stage=prayer&reason=x": 400,
		"/tests/skips/new?platform=el9&package=glibc&stage=remove": 400, "/tests/skips/new?platform=el7&package=glibc&stage=remove&reason=x": 404, "/tests/skips?package=" + strings.Repeat("a", 300): 400, "/tests/skips?page=0": 400,
	} {
		if a := operator.get(path); a.StatusCode != want {
			t.Errorf("GET %.80s = %s, want %d", path, a.Status, want)
		}
	}
	if a := f.browse("contributor").post("/tests/skips/1/remove", nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("removed by a contributor: %s", a.Status)
	}
	contains(t, "an empty list", operator.post("/tests/skips/1/remove", nil).shown(t, "/tests/skips"), "Nothing is skipped")
	if a := operator.post("/tests/skips/1/remove", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("removed twice: %s", a.Status)
	}
}

// TestWaivers: from the page of a build whose test failed a maintainer comes to the form,
// waives one stage for a reason, sees it told with the build, and takes it back.
func TestWaivers(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.create()
	digest := f.claim(albs.KindBuild, "arch:x86_64").succeed()
	f.claim(albs.KindBuild, "arch:aarch64").fail("no") // noarch packages wait for all arches
	l := f.claim(albs.KindTest, "arch:x86_64")
	result := mastertest.Tested(l.Spec.Test, func(_ string, stage albs.TestStage) string {
		return map[albs.TestStage]string{albs.StageIntegrity: "a <b>file</b> is missing"}[stage]
	})
	must(t, f.Queue.Complete(l.ctx, l.Token, albs.OutcomeOK, albs.Result{Test: result}))

	m, anon := f.browse("maintainer"), f.browse("")
	path := fmt.Sprintf("/build/%d", b.ID)
	list := fmt.Sprintf("/tests/waive?build=%d", b.ID)
	one := list + "&package=" + string(digest)
	contains(t, "no waiver", anon.page("/tests/waivers"), "Nothing was ever waived")
	contains(t, "the build", m.page(path), `href="`+strings.ReplaceAll(list, "&", "&amp;")+`"`, "!Waived tests")
	contains(t, "the build, for nobody", anon.page(path), "disabled>Waive tests…", "sign in first")
	contains(t, "what is barred", m.page(list), "stage integrity failed: a &lt;b&gt;file", `href="`+strings.ReplaceAll(one, "&", "&amp;")+`"`)
	contains(t, "the form", m.page(one), `value="integrity" required`, `value="untested"`, `max="90" value="14"`, ">Waive</button>")
	contains(t, "the form of nobody", anon.page(one), "disabled>Waive", "sign in first")
	contains(t, "the form of another team", f.browse("outsider").page(one), "disabled>Waive", "test.waive")

	form := url.Values{"build": {b.ID.String()}, "package": {string(digest)}, "what": {"integrity"}, "reason": {"known <i>since</i> long"}, "days": {"2"}}
	for who, want := range map[string]int{"": 401, "contributor": 403, "operator": 403, "outsider": 403} {
		if a := f.browse(who).post("/tests/waivers/add", form); a.StatusCode != want {
			t.Errorf("made by %q: %s, want %d", who, a.Status, want)
		}
	}
	for field, value := range map[string]string{"build": "x", "days": "91", "what": "environment", "reason": " "} {
		wrong := url.Values{}
		for k, v := range form {
			wrong[k] = v
		}
		wrong.Set(field, value)
		if a := m.post("/tests/waivers/add", wrong); a.StatusCode != http.StatusBadRequest {
			t.Errorf("made with %s=%q: %s", field, value, a.Status)
		}
	}
	told := m.post("/tests/waivers/add", form).shown(t, "/tests/waivers")
	contains(t, "made", told, "expires soon", "the stage integrity", "known &lt;i&gt;since&lt;/i&gt; long", `action="/tests/waivers/1/end"`, `href="/build/`)
	if a := m.post("/tests/waivers/add", form); a.StatusCode != http.StatusConflict {
		t.Errorf("made once more: %s", a.Status)
	}
	contains(t, "the build", anon.page(path), "Waived tests", "the stage integrity is waived by maintainer until", "expires soon")
	contains(t, "the task", anon.page(fmt.Sprintf("%s/task/%d", path, l.Token.Task)), "the stage integrity is waived by maintainer until", "disabled>Waive tests…")
	contains(t, "what is barred", m.page(list), "waived")
	contains(t, "the list of another", f.browse("outsider").page("/tests/waivers"), "test.waive", "!/end")
	for query, has := range map[string]bool{"state=in+force": true, "state=expired": false, "state=taken+back": false, "package=RICH": true, "package=r%25h": false, "build=1": true, "build=99": false} {
		text := anon.page("/tests/waivers?" + query)
		if strings.Contains(text, "the stage integrity") != has || strings.Contains(text, "No waiver is like that") == has {
			t.Errorf("%s: has the waiver, want %t", query, has)
		}
	}
	for path, want := range map[string]int{
		"/tests/waivers?state=asleep": 400, "/tests/waivers?build=x": 400, "/tests/waivers?before=x": 400, "/tests/waive?build=99": 404, "/tests/waive": 400, list + "&package=bash": 404,
	} {
		if a := anon.get(path); a.StatusCode != want {
			t.Errorf("GET %s = %s, want %d", path, a.Status, want)
		}
	}

	for who, want := range map[string]int{"contributor": 403, "outsider": 403} {
		if a := f.browse(who).post("/tests/waivers/1/end", url.Values{"reason": {"no"}}); a.StatusCode != want {
			t.Errorf("ended by %q: %s, want %d", who, a.Status, want)
		}
	}
	if a := m.post("/tests/waivers/1/end", nil); a.StatusCode != http.StatusBadRequest {
		t.Errorf("ended without a reason: %s", a.Status)
	}
	contains(t, "ended", m.post("/tests/waivers/1/end", url.Values{"reason": {"it is <u>mended</u>"}}).shown(t, "/tests/waivers"), "taken back", "by <bdi>maintainer", "it is &lt;u&gt;mended", "!/end")
	if a := m.post("/tests/waivers/1/end", url.Values{"reason": {"no"}}); a.StatusCode != http.StatusConflict {
		t.Errorf("ended twice: %s", a.Status)
	}
	contains(t, "the build", anon.page(path), "!Waived tests")
}
