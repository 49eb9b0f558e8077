package ui

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/fleet"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// offers has a role's worker ask for work that there isn't.
func (f *fixture) offers(role albs.Role, labels ...string) {
	f.t.Helper()
	l, err := f.Queue.Claim(f.nodes[role], worker.Offer{Version: "v1.2", Labels: labels, Cores: 8, Memory: 16 << 30, Disk: 100 << 30, Key: workertest.KeyOf(role)})
	if err != nil || l != nil {
		f.t.Fatalf("Claim = %v, %v", l, err)
	}
}

// idOf is the number of a role's worker.
func (f *fixture) idOf(role albs.Role) string {
	return fmt.Sprint(int64(auth.From(f.nodes[role]).Worker))
}

// TestNodes is an operator's way without JavaScript.
func TestNodes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	anon, operator := f.browse(""), f.browse("operator")
	contains(t, "before anybody asked", anon.page("/nodes"), "node-1", "tester-1", "never asked", `data-topic="nodes"`, "sign in first", "!Drain…", "!Last contact</dt><dd><time")
	if l, err := f.Queue.Claim(f.nodes[albs.RoleNode], worker.Offer{Labels: []string{"kind:build"}, Pause: "not of s390x " + pagetest.Bad}); l != nil || err != nil {
		t.Fatalf("Claim = %v, %v", l, err)
	}
	contains(t, "one that takes less", anon.page("/nodes"), "It takes less than it could: not of s390x &lt;img", "!<img")
	f.offers(albs.RoleNode, "kind:build")
	id := f.idOf(albs.RoleNode)
	path := "/nodes/" + id
	contains(t, "idle", anon.page("/nodes"), `id="n`+id+`"`, "idle", "It runs nothing.", "v1.2", "0 of 8 cores", "0 B of 16 GiB of memory", "0 B of 100 GiB of disk", "<code>kind:build</code>", `Last contact</dt><dd><time`)
	contains(t, "outsider's page", f.browse("outsider").page("/nodes"), "worker.manage", "!action=\"/nodes/")
	contains(t, "operator's page", operator.page("/nodes"), `action="`+path+`/drain"`, "!/undrain", "!/lift", "!sign in first")

	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	f.offers(albs.RoleNode, "kind:build")
	contains(t, "busy", anon.page("/nodes"), "busy", fmt.Sprintf(`href="/build/1/task/%d"`, l.Token.Task), "albs-rich/el9/x86_64",
		"1 of 8 cores", "1.0 GiB of 16 GiB of memory", "2.0 GiB of 100 GiB of disk")

	a := operator.post(path+"/drain", url.Values{"reason": {pagetest.Bad}})
	if a.StatusCode != http.StatusOK || a.Request.URL.Path != "/nodes" || a.Request.URL.Fragment != "n"+id {
		t.Errorf("drain = %s at %s", a.Status, a.Request.URL)
	}
	contains(t, "drained at work", a.text, "draining", "Drained by user:operator: &lt;img", "!<img", "!\x1b", `action="`+path+`/undrain"`, `!action="`+path+`/drain"`)
	l.fail("no")
	contains(t, "drained", anon.page("/nodes"), ">drained<")
	contains(t, "those that are drained", anon.page("/nodes?state=drained"), "node-1", "!tester-1", "all 3")
	contains(t, "those that are busy", anon.page("/nodes?state=busy"), "No worker is like that", "!node-1")
	contains(t, "behind a name", anon.page("/nodes?after=node-1"), "tester-1", "!>node-1<")

	// What waits says so, on both pages.
	f.offers(albs.RoleNode, "kind:build", "arch:aarch64")
	waits := "is drained (&lt;img"
	contains(t, "queue", anon.page("/queue"), waits, `href="/nodes?state=drained"`, "!<img")
	for _, task := range f.tasks(1) {
		if task.State == albs.TaskQueued {
			contains(t, "task", anon.page(fmt.Sprintf("/build/1/task/%d", task.ID)), waits, "!<img")
		}
	}
	if a := operator.post(path+"/undrain", nil); a.StatusCode != http.StatusOK {
		t.Errorf("undrain = %s", a.Status)
	}
	if a := operator.post(path+"/lift", nil); a.StatusCode != http.StatusOK { // of one that isn't quarantined
		t.Errorf("lift = %s", a.Status)
	}
	contains(t, "taken back", operator.page("/nodes"), "idle", "!Drained by", `action="`+path+`/drain"`)
	must(t, f.d.InTx(t.Context(), func(tx db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE fleet_worker SET quarantined_at = seen_at, quarantine_reason = $1 WHERE name = 'node-1'`, pagetest.Bad)
		return err
	}))
	contains(t, "quarantined", anon.page("/nodes"), ">quarantined<", "Quarantined <time", "&lt;img", "!<img", "!/lift")
	contains(t, "quarantined, for operators", operator.page("/nodes"), `action="`+path+`/lift"`)
	if a := operator.post(path+"/lift", nil); a.StatusCode != http.StatusOK || strings.Contains(a.text, "Quarantined") {
		t.Errorf("lift = %s\n%s", a.Status, a.text)
	}

	// What a worker doesn't get is replaced as a whole; pagetest.Bad patterns change nothing.
	exclude := func(patterns string) answer {
		return operator.post(path+"/exclude", url.Values{"patterns": {patterns}})
	}
	contains(t, "excludes", exclude(" kernel*  */*/s390x\n").text, "Doesn't get", "<code>kernel*</code>", `value="*/*/s390x kernel*"`)
	contains(t, "excludes, to readers", anon.page("/nodes"), "<code>kernel*</code>", "!/exclude")
	if a := exclude("glibc [a-"); a.StatusCode != http.StatusBadRequest || !strings.Contains(a.text, "is no pattern") {
		t.Errorf("a pagetest.Bad pattern = %s\n%s", a.Status, a.text)
	}
	many := "one"
	for i := range fleet.MaxExclude {
		many += fmt.Sprint(" p", i)
	}
	if a := exclude(many); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("too many patterns = %s", a.Status)
	}
	contains(t, "refused patterns", anon.page("/nodes"), "<code>kernel*</code>", "!glibc")
	contains(t, "no patterns", exclude("").text, "!Doesn")

	for _, p := range []string{"/drain", "/undrain", "/lift", "/exclude"} {
		if a := anon.post(path+p, nil); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("POST %s by nobody = %s", p, a.Status)
		}
		for _, who := range []string{"outsider", "contributor", "maintainer"} {
			if a := f.browse(who).post(path+p, nil); a.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s by %s = %s", p, who, a.Status)
			}
		}
		for id, want := range map[string]int{"4711": 404, "x": 404, "0": 404} {
			if a := operator.post("/nodes/"+id+p, nil); a.StatusCode != want {
				t.Errorf("POST /nodes/%s%s = %s, want %d", id, p, a.Status, want)
			}
		}
	}
	if a := operator.post(path+"/drain", url.Values{"reason": {strings.Repeat("x", 501)}}); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("drain with a long reason = %s", a.Status)
	}
	if a := operator.post("/nodes/"+f.idOf(albs.RoleTester)+"/drain", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("drain of one that never asked = %s", a.Status)
	}
	if a := anon.get("/nodes?state=tired"); a.StatusCode != http.StatusBadRequest {
		t.Errorf("an unknown state = %s", a.Status)
	}
	r := operator.request(http.MethodPost, path+"/drain", strings.NewReader("reason=x"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set(page.FragmentHeader, page.Live)
	if a := operator.do(r); a.StatusCode != http.StatusNoContent {
		t.Errorf("drain by the module = %s", a.Status)
	}
	contains(t, "fragment", operator.fragment("/nodes").text, `id="nodes"`, "!<!doctype", "Drained by user:operator: x")
}

// TestManyNodes: a page has a bound, and the next begins behind it.
func TestManyNodes(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for i := range 100 {
		_, _, err := f.Auth.AddWorker(auth.System(t.Context(), "test"), auth.NewWorker{Name: fmt.Sprintf("b-%03d", i), Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}})
		must(t, err)
	}
	anon := f.browse("")
	first := anon.page("/nodes?state=unseen")
	contains(t, "first page", first, "b-000", "b-099", "!node-1", `href="/nodes?after=b-099&amp;state=unseen"`)
	contains(t, "second page", anon.page("/nodes?after=b-099&state=unseen"), "node-1", "!b-099<", "!More nodes")
	if len(first) > 100<<10 {
		t.Errorf("a page of nodes has %d bytes", len(first))
	}
}

// TestNodesInBrowser drains a node: the page keeps up with others' doings, and what is
// being typed survives that.
func TestNodesInBrowser(t *testing.T) {
	b := startBrowser(t)
	f := setup(t)
	f.offers(albs.RoleNode, "kind:build", "arch:x86_64")
	id := f.idOf(albs.RoleNode)
	b.open(f.url + "/login?next=/nodes")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=token]"), f.tokens["operator"]))
	b.click(".login button")
	b.has("Sign out")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
	card := "document.querySelector('#n" + id + "')"
	b.until(card + ".textContent.includes('idle')")
	b.click("#drain" + id + " summary")
	b.do(chromedp.SendKeys(chromedp.CSS("#reason"+id), "new di"))

	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	b.until(card + ".textContent.includes('busy')")
	b.until(fmt.Sprintf("%s.querySelector('a[href=\"/build/1/task/%d\"]')", card, l.Token.Task))
	b.until("document.querySelector('#drain" + id + "').open && document.activeElement.id === 'reason" + id + "' && document.activeElement.value === 'new di'")
	b.do(chromedp.SendKeys(chromedp.CSS("#reason"+id), "sk"))
	b.click("#drain" + id + " button")
	b.until(card + ".textContent.includes('draining') && " + card + ".textContent.includes('Drained by user:operator: new disk')")
	l.fail("no")
	b.until(card + ".textContent.includes('It runs nothing.') && " + card + ".querySelector('.state').textContent.trim() === 'drained'")
	b.click("#n" + id + " form[action$='/undrain'] button")
	b.until(card + ".querySelector('.state').textContent.trim() === 'idle'")
	b.until("window.same && location.pathname === '/nodes'")
	b.calm()

	// What a task waits for changes without an event of its build.
	var queued albs.TaskID
	for _, task := range f.tasks(1) {
		if task.State == albs.TaskQueued {
			queued = task.ID
		}
	}
	b.open(fmt.Sprintf("%s/build/1/task/%d", f.url, queued))
	b.until("document.querySelector('#wait').textContent.includes('no worker offers arch:aarch64')")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	must(t, f.Queue.Fleet().Drain(f.as("operator"), "node-1", "new disk"))
	f.offers(albs.RoleNode, "kind:build", "arch:aarch64")
	b.until("document.querySelector('#wait').textContent.includes('node-1 is drained (new disk)')")
	b.calm()

	b.do(chromedp.EmulateViewport(360, 740))
	b.open(f.url + "/nodes")
	b.until("document.readyState === 'complete'")
	w, err := chromedp.Run(b.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
	if err != nil || w > 0 {
		t.Errorf("the page is %d too wide, %v", w, err)
	}
}
