package ui

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/errata"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/event"
	"albs/internal/master/face/facetest"
	"albs/internal/master/ui/advisories"
	"albs/internal/master/ui/builds"
	"albs/internal/master/ui/farm"
	"albs/internal/master/ui/keys"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/products"
	"albs/internal/master/ui/releases"
)

func TestPages(t *testing.T) {
	t.Parallel()
	f := setup(t)
	anon := f.browse("")
	contains(t, "empty list", anon.page("/"), "There is no build yet", `href="/login?next=%2f"`)

	f.create()
	contains(t, "list", anon.page("/builds"), `href="/build/1"`, "queued", "albs-rich", "contributor", "distro", "<caption")
	contains(t, "filtered list", anon.page("/builds?package=albs-rich&owner=contributor"), `href="/build/1"`)
	contains(t, "list of another", anon.page("/builds?package=bash"), `!href="/build/1"`, "No build is like that")

	html := anon.page("/build/1")
	contains(t, "build page", html, "<!doctype html>", `data-topic="build:1"`, "x86_64", "aarch64", "SRPM given", `id="live"`, `id="tasks"`, "sign in first")
	a := anon.fragment("/build/1")
	contains(t, "fragment", a.text, `id="tasks"`, "!<!doctype", "!<header")
	if !strings.Contains(strings.Join(a.Header.Values("Vary"), ","), page.FragmentHeader) {
		t.Errorf("a fragment's Vary is %q", a.Header.Values("Vary"))
	}

	l := f.claim(albs.KindBuild, "arch:x86_64")
	l.log("build", "one\ntwo\n")
	contains(t, "running", anon.page("/build/1"), "running", fmt.Sprintf(`href="/build/1/task/%d"`, l.Token.Task))
	contains(t, "queue", anon.page("/queue"), "node-1", `href="/nodes?state=busy"`, "build 1", "aarch64", "1st of 1 in its lane (product:distro): no worker offers arch:aarch64")
	contains(t, "task", anon.page(fmt.Sprintf("/build/1/task/%d", l.Token.Task)), "albs-rich · build x86_64 · el9", "node-1", fmt.Sprintf(`href="/build/1/task/%d/log/build?attempt=1"`, l.Token.Task), "kind:build")
	l.succeed()
	other := f.claim(albs.KindBuild, "arch:aarch64")
	other.log("build", "checking for libfoo... no\nerror: libfoo is missing\n")
	other.fail("configure: <b>libfoo</b> is missing")
	contains(t, "failed build", anon.page("/build/1"), "What failed", "configure: &lt;b&gt;libfoo&lt;/b&gt; is missing", "!<b>libfoo",
		fmt.Sprintf(`/build/1/task/%d/log/build?attempt=1`, other.Token.Task), "albs-rich-1.0~rc1-3.el9.noarch.rpm", "/repos/build/1/el9/x86_64/")

	test := f.claim(albs.KindTest, "arch:x86_64")
	contains(t, "tested build", anon.page("/build/1"), "tests running")
	test.succeed()
	contains(t, "tested build", anon.page("/build/1"), "tests passed")
	contains(t, "test task", anon.page(fmt.Sprintf("/build/1/task/%d", test.Token.Task)), "install", "albs-rich · test x86_64 · el9")
	files := anon.page("/build/1/files")
	contains(t, "files", files, "buildroot.json", "passed", `href="/p/`)
	_, name, _ := strings.Cut(files, "noarch.rpm</bdi>")
	_, name, _ = strings.Cut(name, `href="/p/`)
	contains(t, "trace", anon.page("/p/"+name[:64]), "Trace of", "albs-rich-1.0~rc1-3.el9.noarch.rpm", "built for el9", "tests passed", `id="trace-picture"`,
		fmt.Sprintf(`href="/api/v1/artifacts/%s/bundle"`, name[:64]), fmt.Sprintf(`href="/api/v1/artifacts/%s/ledger-proof"`, name[:64]), `href="/api/v1/trust"`)
	contains(t, "builder of a trace", anon.page("/p/"+name[:64]), `href="/builder/apart/v1"`)
	contains(t, "builder of a task", anon.page(fmt.Sprintf("/build/1/task/%d", l.Token.Task)), `href="/builder/apart/v1" title="urn:albs:builder/apart/v1">apart</a>`, "SLSA Build L3")
	contains(t, "builder of a failed task", anon.page(fmt.Sprintf("/build/1/task/%d", other.Token.Task)), "!/builder/")
	contains(t, "trace by name", anon.page("/p/albs-rich-2:1.0~rc1-3.el9.noarch"), "built for el9")
	contains(t, "search for a trace", anon.page("/p"), "Trace a package")

	for path, status := range map[string]int{
		"/build/2": 404, "/build/x": 404, "/build/01": 404, "/build/-1": 404, "/build/99999999999999999999": 404, "/nothing": 404,
		"/build/1/task/99": 404, fmt.Sprintf("/build/2/task/%d", l.Token.Task): 404, "/builds?before=x": 400, "/builds?owner=" + strings.Repeat("a", 300): 400,
		"/build/1/cancel": 404, "/?" + strings.Repeat("a", 5000): 413, "/static/x/nothing.css": 404, "/p/nothing": 400, "/p/" + strings.Repeat("0", 64): 404, "/p/%2e%2e%2fx": 400, "/events?topic=user:alice": 400, "/events?topic=task:99": 404,
		fmt.Sprintf("/build/1/task/%d/log/nothing", l.Token.Task): 404, fmt.Sprintf("/build/1/task/%d/log/build?attempt=7", l.Token.Task): 404,
		fmt.Sprintf("/build/1/task/%d/log/..%%2f..%%2fx", l.Token.Task): 404, fmt.Sprintf("/build/1/task/%d/log/build?from=0", l.Token.Task): 400,
	} {
		a := anon.get(path)
		if a.StatusCode != status {
			t.Errorf("GET %.80s = %s, want %d", path, a.Status, status)
		}
		if status != 404 || !strings.HasPrefix(path, "/static") {
			contains(t, path, a.text, "<h1>")
		}
	}
	if len(html) > 100<<10 {
		t.Errorf("the build page has %d bytes", len(html))
	}
}

// TestBuilders: each id that statements name has a page that says what it is worth, without
// signing in.
func TestBuilders(t *testing.T) {
	t.Parallel()
	f := setup(t)
	anon := f.browse("")
	all := anon.page("/builder")
	for _, b := range f.modules.Builds.Builders() {
		contains(t, "builders", all, fmt.Sprintf(`href="%s"`, b.Path), b.ID)
		contains(t, b.ID, anon.page(b.Path), "Builder <bdi class=\"hash\">"+b.ID, fmt.Sprintf("SLSA Build L%d is claimed", b.Level), "What is not claimed", "What holds of all builders here")
	}
	if a := anon.get("/builder/other/v1"); a.StatusCode != http.StatusNotFound {
		t.Errorf("a builder that isn't there: %s", a.Status)
	}
}

func TestHeaders(t *testing.T) {
	t.Parallel()
	f := setup(t)
	anon := f.browse("")
	facetest.Impatient(t, f.UI, "/")
	facetest.Impatient(t, f.UI, "/nothing")
	for _, path := range []string{"/", "/login", "/queue", "/nodes", "/products", "/product/distro", "/releases", "/release/create?product=distro", "/keys", "/signing", "/errata", "/errata/queue", "/errata/monitor", "/errata/create", "/tests/waivers", "/tests/skips", "/tests/repositories", "/nothing"} {
		h := anon.get(path).Header
		const want = "base-uri 'none'; connect-src 'self'; default-src 'none'; form-action 'self'; frame-ancestors 'none'; img-src 'self'; script-src 'self'; style-src 'self'"
		if p := strings.Split(h.Get("Content-Security-Policy"), "; "); strings.Join(slices.Sorted(slices.Values(p)), "; ") != want {
			t.Errorf("%s has the policy %q", path, p)
		}
		if h.Get("Cross-Origin-Opener-Policy") != "same-origin" || h.Get("Cross-Origin-Resource-Policy") != "same-origin" || h.Get("Referrer-Policy") != "same-origin" {
			t.Errorf("%s may be reached by other sites: %v", path, h)
		}
		if h.Get("Cache-Control") != "no-store" || h.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("%s has headers %v", path, h)
		}
	}
	page := anon.page("/")
	contains(t, "page", page, "!<style", "! style=", "! onclick", "!javascript:")
	if strings.Count(page, "<script") != strings.Count(page, `<script type="module" src="/static/`) {
		t.Error("the page has a script of its own")
	}
	for _, name := range []string{"albs.css", "albs.js", "icon.svg"} {
		u := regexp.MustCompile(`/static/\w+/` + name).FindString(page)
		a := anon.get(u)
		if a.StatusCode != 200 || !strings.Contains(a.Header.Get("Cache-Control"), "immutable") || a.text == "" {
			t.Errorf("GET %s = %s, %v", u, a.Status, a.Header)
		}
		if h := anon.get("/static/older/" + name).Header.Get("Cache-Control"); h != "no-store" {
			t.Errorf("an asset under another version's address has Cache-Control %q", h)
		}
	}
	if r := anon.do(anon.request(http.MethodHead, "/", nil)); r.StatusCode != 200 || r.text != "" {
		t.Errorf("HEAD / = %s", r.Status)
	}
}

// TestFail: what went wrong inside is told to nobody.
func TestFail(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for _, fragment := range []bool{false, true} {
		w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(zerolog.Nop().WithContext(t.Context()), http.MethodGet, "/", nil)
		if fragment {
			r.Header.Set(page.FragmentHeader, page.Live)
		}
		f.Fail(w, r, errors.New("password 1234"))
		if w.Code != http.StatusInternalServerError {
			t.Errorf("an internal error has the status %d", w.Code)
		}
		contains(t, "an internal error", w.Body.String(), "!1234", "an internal error happened")
		if again := w.Header().Get("Retry-After"); again != "" {
			t.Errorf("an internal error is to be tried again after %q", again)
		}
		w = httptest.NewRecorder()
		f.Fail(w, r, albs.Errorf(albs.Unavailable, "busy"))
		if w.Code != http.StatusServiceUnavailable || w.Header().Get("Retry-After") == "" {
			t.Errorf("Unavailable = %d, %v; want 503 and when to try again", w.Code, w.Header())
		}
	}
}

// TestOthersTasks: a task is found below its own build and nowhere else.
func TestOthersTasks(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	l.log("build", "one\n")
	task, err := f.Queue.Task(t.Context(), l.Token.Task)
	must(t, err)
	id, err := strconv.ParseInt(strings.TrimPrefix(task.Topic, "build:"), 10, 64)
	must(t, err)
	anon, operator := f.browse(""), f.browse("operator")
	for build, want := range map[int64]int{id: 200, 3 - id: 404} {
		path := fmt.Sprintf("/build/%d/task/%d", build, l.Token.Task)
		for _, p := range []string{path, path + "/log/build", path + "/log/build/lines?from=1", path + "/log/build/find?q=one"} {
			if a := anon.get(p); a.StatusCode != want {
				t.Errorf("GET %s = %s, want %d", p, a.Status, want)
			}
		}
		if want == 404 {
			if a := operator.post(path+"/retry", nil); a.StatusCode != want {
				t.Errorf("POST %s/retry = %s, want %d", path, a.Status, want)
			}
		}
	}
}

func TestRoles(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.create()
	f.claim(albs.KindBuild, "arch:x86_64").fail("no")
	path := "/build/" + b.ID.String()
	// The contributor owns the build.
	for who, may := range map[string]bool{"": false, "outsider": false, "contributor": true, "maintainer": true, "operator": true} {
		page := f.browse(who).page(path)
		not := map[bool]string{true: "", false: "!"}[may]
		contains(t, "build page of "+who, page, not+`action="/build/1/cancel"`, not+`action="/build/1/retry"`)
		if !may {
			contains(t, "build page of "+who, page, `<button type="button" disabled>Cancel build`)
		}
	}
	contains(t, "outsider's page", f.browse("outsider").page(path), "build.cancel")

	for _, p := range []string{"/cancel", "/retry", "/restart-tests", "/task/1/retry"} {
		if a := f.browse("").post(path+p, nil); a.StatusCode != http.StatusUnauthorized {
			t.Errorf("POST %s by nobody = %s", p, a.Status)
		}
		if a := f.browse("outsider").post(path+p, nil); a.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s by an outsider = %s", p, a.Status)
		}
	}
	c := f.browse("contributor")
	if a := c.post(path+"/task/1/retry", nil); a.StatusCode != http.StatusOK { // after the redirection
		t.Errorf("retry = %s\n%s", a.Status, a.text)
	}
	if a := c.post(path+"/task/99/retry", nil); a.StatusCode != http.StatusNotFound {
		t.Errorf("retry of no task = %s", a.Status)
	}
	if a := c.post(path+"/cancel", nil); a.StatusCode != http.StatusOK {
		t.Errorf("cancel = %s\n%s", a.Status, a.text)
	}
	contains(t, "cancelled build", c.page(path), "cancelled by contributor", "everything of it has ended")
	if a := c.post(path+"/cancel", nil); a.StatusCode != http.StatusConflict {
		t.Errorf("second cancel = %s", a.Status)
	}
	r := c.request(http.MethodPost, path+"/retry", nil)
	r.Header.Set(page.FragmentHeader, page.Live)
	if a := c.do(r); a.StatusCode != http.StatusNoContent {
		t.Errorf("retry by the module = %s", a.Status)
	}
	r = c.request(http.MethodPost, path+"/retry", nil)
	r.Header.Set(page.FragmentHeader, page.Live)
	if a := c.do(r); a.StatusCode != http.StatusConflict || !strings.HasPrefix(a.text, `<div id="flash"`) {
		t.Errorf("second retry by the module = %s %s", a.Status, a.text)
	}
}

// TestUnsafe walks every route that changes something: nobody gets anywhere, and
// no page of another site does.
func TestUnsafe(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	paths := map[string]int{"/builds": 404, "/queue": 404, "/nodes": 404, "/nothing": 404} // and what nobody gets
	reading, entry := []string{http.MethodGet, http.MethodHead}, "/login"
	err := chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		if slices.Contains(reading, method) {
			return nil
		}
		if method != http.MethodPost {
			t.Errorf("%s %s: a page can't send that without the module", method, route)
		}
		paths[strings.NewReplacer("{build}", "1", "{task}", "1", "{worker}", "1", "{item}", "1", "{release}", "1", "{product}", "distro", "{key}", "x", "{request}", "1", "{platform}", "el9", "{advisory}", "ALSA-2024:1").Replace(route)] = http.StatusUnauthorized
		return nil
	})
	must(t, err)
	if len(paths) < 28 || paths[entry] == 0 {
		t.Errorf("the router has only %v", paths)
	}
	anon, c := f.browse(""), f.browse("operator")
	for p, want := range paths {
		r := anon.request(http.MethodPost, p, strings.NewReader("{}"))
		r.Header.Set("Content-Type", "application/json")
		if a := anon.do(r); a.StatusCode != want {
			t.Errorf("POST %s {} by nobody = %s, want %d", p, a.Status, want)
		}
		for name, value := range map[string]string{"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"} {
			r := c.request(http.MethodPost, p, nil)
			r.Header.Set(name, value)
			if a := c.do(r); a.StatusCode != http.StatusForbidden {
				t.Errorf("POST %s from another site (%s) = %s", p, name, a.Status)
			}
		}
	}
	contains(t, "build page", c.page("/build/1"), "queued", "!cancelled by")
}

func TestLogin(t *testing.T) {
	t.Parallel()
	f := setup(t)
	c := f.browse("")
	c.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	for token, want := range map[string]int{"": 401, "wrong": 401, strings.Repeat("x", 1<<10): 401, strings.Repeat("x", 20<<10): 413} {
		a := c.post("/login", url.Values{"token": {token}})
		if a.StatusCode != want {
			t.Errorf("login with %d bytes %.10q = %s, want %d", len(token), token, a.Status, want)
		}
		if len(a.Cookies()) > 0 {
			t.Errorf("login with %.10q left a cookie", token)
		}
	}
	for next, want := range map[string]string{
		"/build/7?x=1": "/build/7?x=1", "//evil.example/": "/", "https://evil.example/": "/", `/\evil.example`: "/", "javascript:alert(1)": "/", "": "/", "/\t/evil.example": "/", "evil": "/",
	} {
		a := c.post("/login", url.Values{"token": {f.tokens["operator"]}, "next": {next}})
		if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != want {
			t.Errorf("login with next %q = %s to %q, want %q", next, a.Status, a.Header.Get("Location"), want)
		}
		ck := a.Cookies()
		if len(ck) != 1 || ck[0].Name != "albs_session" || !ck[0].HttpOnly || ck[0].SameSite != http.SameSiteLaxMode || ck[0].Path != "/" || ck[0].Secure {
			t.Fatalf("login left cookies %+v", ck)
		}
	}
	contains(t, "page", c.page("/"), "operator", "Sign out")
	at, err := url.Parse(f.url)
	must(t, err)
	session := c.Jar.Cookies(at)[0]
	if a := c.post("/logout", nil); a.StatusCode != http.StatusSeeOther {
		t.Errorf("logout = %s", a.Status)
	}
	contains(t, "page after signing out", c.page("/"), "Sign in", "!Sign out")
	r := c.request(http.MethodGet, "/", nil) // with the cookie that somebody has kept
	r.AddCookie(session)
	contains(t, "page with the cookie of an ended session", f.browse("").do(r).text, "Sign in", "!Sign out")

	f.Server.HTTPS = true
	a := c.post("/login", url.Values{"token": {f.tokens["operator"]}})
	if ck := a.Cookies(); len(ck) != 1 || ck[0].Name != "__Host-albs_session" || !ck[0].Secure || ck[0].Path != "/" || ck[0].Domain != "" {
		t.Errorf("login by https left cookies %+v", ck)
	}
	// A session that has ended makes an anonymous reader, and the cookie goes.
	r = c.request(http.MethodGet, "/", nil)
	r.Header.Set("Cookie", "__Host-albs_session=gone")
	if a := f.browse("").do(r); a.StatusCode != 200 || len(a.Cookies()) != 1 || a.Cookies()[0].MaxAge >= 0 {
		t.Errorf("a page with an ended session = %s, cookies %+v", a.Status, a.Cookies())
	}
}

// next reads a stream up to the next message and returns its lines.
func next(t *testing.T, s *bufio.Scanner) string {
	t.Helper()
	var out []string
	for s.Scan() {
		if s.Text() == "" {
			if m := strings.Join(out, "\n"); strings.Contains(m, "event: ") {
				return m
			}
			out = nil
			continue
		}
		out = append(out, s.Text())
	}
	t.Fatalf("the stream ended: %v", s.Err())
	return ""
}

func (c *client) stream(path string, header ...string) *bufio.Scanner {
	c.f.t.Helper()
	r := c.request(http.MethodGet, path, nil)
	for i := 0; i < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := c.Do(r)
	must(c.f.t, err)
	c.f.t.Cleanup(func() { resp.Body.Close() })
	h := resp.Header
	if resp.StatusCode != 200 || h.Get("Content-Type") != "text/event-stream" || h.Get("X-Accel-Buffering") != "no" || h.Get("Content-Encoding") != "" {
		c.f.t.Fatalf("GET %s = %s %v", path, resp.Status, h)
	}
	return bufio.NewScanner(resp.Body)
}

// TestEvents takes a page's way: made, followed, told, made again.
func TestEvents(t *testing.T) {
	t.Parallel()
	f := setup(t)
	f.create()
	anon := f.browse("")
	page := anon.page("/build/1")
	_, rest, ok := strings.Cut(page, `data-after="`)
	after, _, _ := strings.Cut(rest, `"`)
	if !ok || after == "" {
		t.Fatal("the page doesn't say what it was made after")
	}
	l := f.claim(albs.KindBuild, "arch:x86_64") // between the page and its stream
	s := anon.stream("/events?topic=build:1&after=" + after)
	m := next(t, s)
	contains(t, "message", m, "event: change", "data: task.leased", "id: ", "!node-1")
	contains(t, "fragment", anon.fragment("/build/1").text, "running")

	l.fail("it broke")
	contains(t, "message", next(t, s), "data: task.failed")
	contains(t, "fragment", anon.fragment("/build/1").text, "it broke")

	// Who was away goes on behind what it saw.
	_, id, _ := strings.Cut(m, "id: ")
	id, _, _ = strings.Cut(id, "\n")
	contains(t, "resumed", next(t, anon.stream("/events?topic=build:1&after=0", "Last-Event-ID", id)), "data: task.failed")
	contains(t, "list", next(t, anon.stream("/events?topic=builds&after="+after)), "data: task.failed")
	contains(t, "queue", next(t, anon.stream("/events?topic=queue&after="+after)), "data: task.failed")

	// A log that appears is no event, but the task's page is to show it.
	l = f.claim(albs.KindBuild, "arch:aarch64")
	task := anon.stream(fmt.Sprintf("/events?topic=task:%d", l.Token.Task))
	l.log("build", "x\n")
	contains(t, "task", next(t, task), "data: more")
	for _, bad := range []string{"/events", "/events?topic=build:x", "/events?topic=build:1&after=-1", "/events?topic=user:1"} {
		if a := anon.get(bad); a.StatusCode != 400 {
			t.Errorf("GET %s = %s", bad, a.Status)
		}
	}
}

func TestPaging(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for range 32 {
		f.create()
	}
	anon := f.browse("")
	page := anon.page("/builds?owner=contributor")
	contains(t, "first page", page, `id="b32"`, `id="b3"`, `!id="b2"`, `href="/builds?before=3&amp;owner=contributor"`)
	contains(t, "second page", anon.page("/builds?before=3&owner=contributor"), `id="b2"`, `id="b1"`, `!rel="next"`, `href="/builds?owner=contributor"`)
	start := time.Now()
	anon.page("/")
	t.Logf("the list took %v", time.Since(start))
}

func TestFeedOf(t *testing.T) {
	t.Parallel()
	f := setup(t)
	of := func(name string) feed {
		t.Helper()
		got, err := f.feedOf(t.Context(), name)
		must(t, err)
		return got
	}
	builds, queue, nodes := of(builds.FollowAll), of(farm.FollowQueue), of(farm.FollowNodes)
	if e := (event.Event{Topic: "user:alice", Kind: "user.added"}); builds.keep(e) || queue.keep(e) || nodes.keep(e) {
		t.Errorf("%s of %s reaches those who follow builds (%t), the queue (%t) or nodes (%t)", e.Kind, e.Topic, builds.keep(e), queue.keep(e), nodes.keep(e))
	}
	for _, e := range []event.Event{{Topic: "worker:node-1", Kind: "worker.drained"}, {Topic: "build:1", Kind: "task.leased"}} {
		if !queue.keep(e) || !nodes.keep(e) {
			t.Errorf("%s: queue %t, nodes %t; want both", e.Kind, queue.keep(e), nodes.keep(e))
		}
	}
	if a, err := nodes.mark(t.Context()); err != nil || a == "" {
		t.Errorf("the nodes' mark = %q, %v", a, err)
	}
	if e := (event.Event{Topic: "build:1", Kind: "build.created"}); !builds.keep(e) || queue.keep(e) {
		t.Errorf("%s: builds %t, queue %t; want builds alone", e.Kind, builds.keep(e), queue.keep(e))
	}
	release := event.Event{Topic: "release:7", Kind: "release.published"}
	advised := event.Event{Topic: "errata:ALSA-2024:1/el9", Kind: errata.Matched}
	notices, checks := of(advisories.FollowAll), of(advisories.FollowChecks)
	if !notices.keep(advised) || checks.keep(advised) || notices.keep(release) || !checks.keep(event.Event{Topic: "product:distro", Kind: monitor.Found}) {
		t.Error("what happens to an advisory, or a trouble, reaches the wrong readers")
	}
	one, all, shown, keyring := of("product:distro"), of(releases.FollowAll), of(products.FollowAll), of(keys.Follow)
	if !one.keep(release) || !all.keep(release) || shown.keep(release) || keyring.keep(release) {
		t.Errorf("%s reaches a product %t, releases %t, products %t, keys %t", release.Kind, one.keep(release), all.keep(release), shown.keep(release), keyring.keep(release))
	}
	tree := event.Event{Topic: "product:other", Kind: "tree.advanced"}
	if one.keep(tree) || all.keep(tree) || !shown.keep(tree) || !keyring.keep(event.Event{Topic: "key:x", Kind: "key.generated"}) {
		t.Error("what another product shows reaches those who follow one, or nobody; or a key reaches nobody")
	}
	if got := of("build:7"); got.topic != "build:7" || got.keep != nil {
		t.Errorf("a build's feed is of topic %q", got.topic)
	}
	f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	for _, task := range f.tasks(1) { // of one that waits the mark says what for
		mark, err := of("task:" + task.ID.String()).mark(t.Context())
		must(t, err)
		if waits := strings.Contains(mark, "no worker offers arch:aarch64"); waits != (task.State == albs.TaskQueued) {
			t.Errorf("the mark of the %s task %d is %q", task.State, task.ID, mark)
		}
	}
	if got := of("task:" + l.Token.Task.String()); got.topic != "build:1" || got.task != l.Token.Task {
		t.Errorf("a task's feed is of topic %q and the logs of task %d", got.topic, got.task)
	}
	for _, bad := range []string{"", "build", "build:", "build:0", "build:-1", "build:1x", "task:0", "task:-1", "release:x", "release:0", "product:", "user:alice", "ledger", "errata:"} {
		if _, err := f.feedOf(t.Context(), bad); albs.KindOf(err) != albs.Invalid {
			t.Errorf("feedOf(%q) = %v, want invalid", bad, err)
		}
	}
}
