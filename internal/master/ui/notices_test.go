package ui

import (
	"html"
	"net/http"
	"net/url"
	"regexp"
	"testing"
)

// TestNotices: a maintainer makes a webhook's subscription, sees its key once, tries it,
// changes, stops, starts and removes it; others see nothing of it.
func TestNotices(t *testing.T) {
	t.Parallel()
	f := setup(t)
	m := f.browse("maintainer")
	contains(t, "no subscription", m.page("/notices"), "Nobody of your teams is told anything yet", `<option value="core">team core</option>`, "!the installation’s</option>")
	contains(t, "an operator", f.browse("operator").page("/notices"), "the installation’s</option>", "team core")
	form := url.Values{"channel": {"webhook"}, "target": {"https://hooks.example/secret-token"}, "team": {"core"}, "kind": {"errata.released", "build.failed"}, "platforms": {"el9, el10"}, "severity": {"important"}, "note": {"for <b>us</b>"}}
	made := m.post("/notices/add", form)
	if made.StatusCode != http.StatusOK || made.Header.Get("Cache-Control") != "no-store" {
		t.Fatalf("made: %s %v\n%s", made.Status, made.Header, made.text)
	}
	key := regexp.MustCompile(`whsec_[A-Za-z0-9+/=]{44}<`).FindString(html.UnescapeString(made.text))
	if key == "" {
		t.Errorf("the page has no key:\n%s", made.text)
	}
	contains(t, "the list", m.page("/notices"), "https://hooks.example/secret-token", "build.failed errata.released", "el10", "from important on", "for &lt;b&gt;us&lt;/b&gt;", "!whsec_")
	const one = "/notice/1"
	contains(t, "it", m.page(one), "Subscription 1", "active", "user:maintainer", "Nothing was sent", `value="errata.released" checked`, `value="release.failed">`, "!whsec_")

	for _, who := range []string{"outsider", "contributor", ""} {
		c := f.browse(who)
		for _, path := range []string{"/notices", one} {
			if a := c.get(path); a.StatusCode == http.StatusOK && regexp.MustCompile("secret-token").MatchString(a.text) {
				t.Errorf("%q sees %s", who, path)
			}
		}
		if a := c.post(one+"/remove", nil); a.StatusCode == http.StatusOK && who != "" {
			t.Errorf("%q removes it: %s", who, a.Status)
		}
	}
	if a := m.post("/notices/add", url.Values{"channel": {"webhook"}, "target": {"http://10.0.0.1/"}, "team": {"core"}, "kind": {"build.failed"}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("an address within: %s", a.Status)
	}
	if a := m.post("/notices/add", url.Values{"channel": {"mail"}, "target": {"olga@example.org"}, "team": {"core"}, "kind": {"release.published"}}); a.Request.URL.Path != "/notice/2" {
		t.Errorf("an address leads to %s: %s", a.Request.URL, a.Status)
	}

	contains(t, "a test", m.post(one+"/test", nil).text, "A test, asked for by user:maintainer", "waiting")
	form.Set("note", "ours")
	form["kind"] = []string{"release.published"}
	contains(t, "changed", m.post(one+"/edit", form).text, "ours", `value="release.published" checked`, `value="build.failed">`)
	contains(t, "stopped", m.post(one+"/stop", nil).text, "stopped by user:maintainer", "given up", "Send again", "Start", "!Send a test")
	if a := m.post(one+"/retry/1", nil); a.StatusCode != http.StatusConflict {
		t.Errorf("a retry while it is stopped: %s", a.Status)
	}
	contains(t, "started", m.post(one+"/start", nil).text, "active", "Send a test")
	contains(t, "sent again", m.post(one+"/retry/1", nil).text, "waiting", "!Send again")
	if a := m.post(one+"/remove", nil); a.Request.URL.Path != "/notices" {
		t.Errorf("removed, it leads to %s", a.Request.URL)
	}
	if a := m.get(one); a.StatusCode != http.StatusNotFound {
		t.Errorf("once removed: %s", a.Status)
	}
}
