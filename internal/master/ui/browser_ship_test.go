package ui

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/chromedp/chromedp"

	"albs/internal/master/release"
)

// signIn signs a person in, in place of who was.
func (b *browser) signIn(f *fixture, who, next string) {
	b.t.Helper()
	b.open(f.url + "/login?next=" + next)
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=token]"), f.tokens[who]))
	b.click(".login button")
	b.has("Sign out")
}

// picture keeps what the browser shows, where ALBS_PICTURES names a folder: looks are
// judged by eye.
func (b *browser) picture(name string) {
	b.t.Helper()
	dir := os.Getenv("ALBS_PICTURES")
	if dir == "" {
		return
	}
	png, err := chromedp.Run(b.ctx, chromedp.FullScreenshot(100))
	must(b.t, err)
	must(b.t, os.WriteFile(filepath.Join(dir, name+".png"), png, 0o600))
}

// TestShipInBrowser takes a build to its readers as people with a browser do, each page
// keeping up with what the others do.
func TestShipInBrowser(t *testing.T) {
	if testing.Short() {
		t.Skip("the whole way in a browser takes long: not with -short; TestShip goes it without one")
	}
	t.Parallel()
	f := shipping(t)
	b := startBrowser(t)
	key := f.key()
	build := f.signed("1.0", key)

	// plan, from the build's page
	b.signIn(f, "maintainer", "/build/"+build.String())
	b.click("#actions a[href^='/release/create']")
	b.until(fmt.Sprintf("document.querySelector('input[type=checkbox][value=\"%d\"]').checked", build))
	b.picture("create")
	b.click("form[method=post] .choice button")
	b.until("location.pathname === '/release/1' && document.getElementById('link').textContent.includes('keeps up')")
	b.has("What speaks against it")
	b.picture("refused")

	// decide, about two packages at once
	b.click("input[name=package][value='hello-1.0-1.x86_64']")
	b.click("input[name=package][value='hello-doc-1.0-1.noarch']")
	b.click("#packages form[action$='/decide'] button")
	b.until("location.pathname === '/release/1/decide'")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=reason]"), "it belongs there"))
	b.picture("decide")
	b.click(".choice > button")
	b.until("location.pathname === '/release/1' && document.querySelector('#decisions li')")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	b.until("document.querySelector('#actions').textContent.includes('you planned it')")
	b.picture("plan")

	// approve, as another person; the page keeps up with a plan made anew by the first
	b.signIn(f, "approver", "/release/1")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	old, err := chromedp.Run(b.ctx, chromedp.Evaluate[string]("document.querySelector('#approve input[name=digest]').value"))
	must(t, err)
	r, err := f.Releases.Replan(f.as("maintainer"), 1)
	must(t, err)
	if string(r.Digest) != old {
		b.until("document.querySelector('#approve input[name=digest]').value !== '" + old + "'")
	}
	b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
	b.click("#approve summary")
	b.do(chromedp.SendKeys(chromedp.CSS("#note"), "go"))
	b.picture("approve")
	b.click("#approve form button")
	b.until("document.querySelector('#approvals li') && window.same")

	// publish, and see it live
	b.click("#actions details[id$='/publish'] summary")
	b.click("#actions form[action='/release/1/publish'] button")
	b.until("document.querySelector('#progress ol') && window.same")
	b.until("document.querySelector('h1 .state').textContent.includes('released') && document.querySelector('#told').textContent.includes('serial 1 is shown') && window.same")
	b.picture("released")
	f.ended(1, release.Completed)
	b.click(".crumbs a[href='/product/demo']")
	b.until("document.querySelector('#line .now') && document.getElementById('link').textContent.includes('keeps up')")
	b.picture("product")
	b.click("#repositories a[href='/repo/demo/BaseOS/x86_64/os']")
	b.has("hello-doc")
	b.picture("repository")

	// A product's page keeps up with a release that somebody else publishes.
	b.open(f.url + "/product/demo")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	next := f.signed("2.0", key)
	f.release(t, next)
	b.until("document.querySelector('#line .now b').textContent.startsWith('2')")
	b.picture("product2")
	b.open(f.url + "/diff?from=demo/BaseOS/x86_64/os@1&to=demo/BaseOS/x86_64/os@2")
	b.has("upgraded")
	b.picture("diff")
	b.signIn(f, "maintainer", "/product/demo/rollback?to=1")
	b.has("What goes with it")
	b.picture("rollback")
	b.calm()

	// Nothing is wider than a small screen.
	b.do(chromedp.EmulateViewport(360, 740))
	for i, path := range []string{
		"/products", "/product/demo", "/product/demo/edit", "/product/demo/diff?from=1&to=2", "/product/demo/rollback?to=1", "/repo/demo/BaseOS/x86_64/os", "/diff?from=demo/BaseOS/x86_64/os@1&to=demo/BaseOS/x86_64/os@2",
		"/releases", "/release/create?product=demo", "/release/1", "/release/2", "/release/2/decide?package=hello-2.0-1.x86_64", "/keys", "/key/" + key, "/signing", "/signing/1", "/build/" + next.String() + "/sign", "/build/" + next.String(),
	} {
		b.open(f.url + path)
		b.until("document.readyState === 'complete'")
		w, err := chromedp.Run(b.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
		if err != nil || w > 0 {
			t.Errorf("%s is %d too wide, %v", path, w, err)
		}
		b.picture(fmt.Sprintf("small-%02d", i))
	}
}
