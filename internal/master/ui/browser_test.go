package ui

import (
	"context"
	"encoding/base64"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/chromedp"

	"albs/internal/albs"
	"albs/internal/master/build"
)

const chromium = "/usr/bin/chromium"

// browser is a real one, with one tab.
type browser struct {
	t   *testing.T
	ctx context.Context

	mu    sync.Mutex
	cries []string // what the console was told of that is wrong
}

func startBrowser(t *testing.T) *browser {
	t.Helper()
	if testing.Short() {
		t.Skip("a browser takes seconds to start; -short was asked for")
	}
	if _, err := os.Stat(chromium); err != nil {
		t.Skipf("there is no %s (apt-get install --no-install-recommends chromium)", chromium)
	}
	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1200, 850),
		chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.Flag("headless", true),
	}
	for _, f := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "no-default-browser-check"} {
		options = append(options, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	b := &browser{t: t, ctx: ctx}
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		stop()
		t.Fatalf("start %s: %v", chromium, err)
	}
	var listener sync.WaitGroup
	listener.Go(func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == chromedp.ConsoleException {
				b.mu.Lock()
				b.cries = append(b.cries, m.Text)
				b.mu.Unlock()
			}
		}
	})
	t.Cleanup(func() {
		cancel()
		stop()
		listener.Wait()
	})
	return b
}

func (b *browser) do(a chromedp.Action[chromedp.Void]) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	if err := chromedp.Do(ctx, a); err != nil {
		b.t.Fatalf("%v\n%s", err, b.text())
	}
}

func (b *browser) text() string {
	s, _ := chromedp.Run(b.ctx, chromedp.Evaluate[string]("location.href + '\\n' + document.body.innerText"))
	return s
}

// until waits for a JavaScript expression to hold; across navigations too.
func (b *browser) until(expression string) {
	b.t.Helper()
	ctx, cancel := context.WithTimeout(b.ctx, time.Minute)
	defer cancel()
	for {
		ok, err := chromedp.Run(ctx, chromedp.Evaluate[bool]("!!("+expression+")"))
		if ok {
			return
		}
		if ctx.Err() != nil {
			b.t.Fatalf("never: %s (%v)\n%s", expression, err, b.text())
		}
		time.Sleep(20 * time.Millisecond) // the browser has no better way to tell across navigations
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	b.do(chromedp.Navigate(url))
}

// click clicks on what is there at the moment; it may be swapped at any.
func (b *browser) click(selector string) {
	b.t.Helper()
	b.until(fmt.Sprintf("(e => e && (e.click(), true))(document.querySelector(%q))", selector))
}

// has waits for a text on the page.
func (b *browser) has(text string) {
	b.t.Helper()
	b.until(fmt.Sprintf("document.body.innerText.includes(%q)", text))
}

// calm fails the test if the console was told of an error: a violation of the
// policy, an exception, an asset that is not there.
func (b *browser) calm() {
	b.t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.cries) > 0 {
		b.t.Errorf("the console has errors: %q", b.cries)
	}
}

// TestBrowser takes a reader's way: the list, a build, its state as it changes, a
// log as it grows.
func TestBrowser(t *testing.T) {
	b := startBrowser(t)
	f := setup(t)
	made := f.create()

	b.open(f.url + "/")
	b.click("#b1")
	b.has("2 tasks") // of the build page's actions or reason
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
	l := f.claim(albs.KindBuild, "arch:x86_64")
	b.until("document.querySelector('#tasks .s-run')?.textContent.includes('running')")
	b.until("window.same") // not loaded anew

	l.log("build", "first line\n\x1b[1m</script><img src=x onerror=alert(1)>\x1b[0m\n")
	b.click(fmt.Sprintf("#t%d", l.Token.Task))
	b.until("document.querySelector('#attempts a[href*=\"/log/build\"]')")
	b.click("#attempts a[href*='/log/build']")
	b.until("document.querySelector('.view .lines code')?.textContent === 'first line'")
	b.has("</script><img src=x onerror=alert(1)>")
	b.until("!document.querySelector('main img')")

	// It follows the end until the reader scrolls.
	var lines strings.Builder
	for i := range 3000 {
		fmt.Fprintf(&lines, "line %d\n", i+3)
	}
	l.log("build", lines.String())
	last := "[...document.querySelectorAll('.view .lines code')].at(-1).textContent"
	b.until(last + " === 'line 3002'")
	b.until("document.querySelectorAll('.view .lines li').length < 150") // only what is in sight
	b.until("document.querySelector('.bar input[type=checkbox]').checked")
	b.do(chromedp.Evaluate[chromedp.Void]("document.querySelector('.view').scrollTop = 20000"))
	b.until("!document.querySelector('.bar input[type=checkbox]').checked && document.querySelector('#L1001 code')?.textContent === 'line 1001'")
	l.log("build", "line 3003\nhalf")
	b.has("3,004 lines")
	b.until("document.querySelector('.view').scrollTop === 20000")
	b.click(".bar input[type=checkbox]")
	b.until(last + " === 'half'")
	l.log("build", " done\n")
	b.until(last + " === 'half done'")

	// A line has a link, a range too, and a search finds it.
	b.do(chromedp.SendKeys(chromedp.CSS(".bar input[type=search]"), "LINE 777\r"))
	b.until("document.querySelector('li.mark code')?.textContent === 'line 777' && location.hash === '#L777'")
	b.open(f.url + "/")
	b.open(fmt.Sprintf("%s/build/1/task/%d/log/build?attempt=1#L1200-L1203", f.url, l.Token.Task))
	b.until("document.querySelectorAll('li.mark').length === 4 && document.querySelector('li.mark code').textContent === 'line 1200'")
	// More lines than a browser can lay out at their height.
	lines.Reset()
	for i := range 600_000 {
		fmt.Fprintf(&lines, "line %d\n", i+3005)
	}
	l.log("build", lines.String())
	b.has("603,004 lines")
	b.click(".bar input[type=checkbox]")
	b.until(last + " === 'line 603004'")
	b.do(chromedp.Evaluate[chromedp.Void]("location.hash = '#L300000'"))
	b.until("document.querySelector('li.mark code')?.textContent === 'line 300000'")
	b.until("(r => r.top > 0 && r.bottom < innerHeight)(document.querySelector('li.mark').getBoundingClientRect())")
	l.fail("the compiler is tired")
	b.until("!document.querySelector('.count').textContent.includes('growing')")

	// Streams of pages that were left don't use up the browser's connections.
	for range 8 {
		b.open(f.url + "/build/1")
		b.has("the compiler is tired")
		b.open(f.url + "/queue")
		b.has("Workers")
	}
	b.calm()

	// A file that is chosen or dropped is hashed here, and leads to its trace.
	source, err := os.ReadFile(srpmFile)
	must(t, err)
	traced := fmt.Sprintf("location.pathname === '/p/%s' && document.querySelector('#trace-list')", made.Items[0].SRPM.Digest)
	for _, how := range []string{
		"const i = document.querySelector('[data-hash] input'); i.files = d.files; i.dispatchEvent(new Event('change'))",
		"document.dispatchEvent(new DragEvent('drop', { dataTransfer: d, bubbles: true, cancelable: true }))",
	} {
		b.open(f.url + "/p")
		b.until("document.querySelector('[data-hash] input')?.checkVisibility()")
		b.do(chromedp.Evaluate[chromedp.Void]("{ const d = new DataTransfer(); d.items.add(new File([Uint8Array.from(atob('" + base64.StdEncoding.EncodeToString(source) + "'), c => c.charCodeAt(0))], 'x.rpm')); " + how + " }"))
		b.until(traced)
	}
	b.calm()

	// A form does its work without leaving the page.
	b.open(f.url + "/login?next=/build/1")
	b.do(chromedp.SendKeys(chromedp.CSS("input[name=token]"), f.tokens["contributor"]))
	b.click(".login button")
	b.has("Sign out")
	b.do(chromedp.Evaluate[chromedp.Void]("window.same = true"))
	b.click(".sure summary")
	b.click(".sure button")
	b.until("document.querySelector('#tasks a[title=\"cancelled by contributor\"]')")
	b.until("window.same && location.pathname === '/build/1'")
	b.calm()

	// A clone is asked for on a page of its own, and leads to the new build; what needs
	// what keeps up there; a build that is deleted leads back to the list.
	b.click("#actions a[href='/build/1/clone']")
	b.has("Clone build 1")
	b.click(".choice button")
	b.until("location.pathname === '/build/2' && document.getElementById('link').textContent.includes('keeps up')")
	given := build.Package{SRPM: made.Items[0].SRPM.Digest}
	f.create(given, given)
	b.open(f.url + "/build/3")
	b.until("document.getElementById('link').textContent.includes('keeps up')")
	b.click("#list-el9 summary")
	b.until("document.querySelectorAll('#order tbody tr').length === 2")
	must(t, f.Builds.Cancel(f.as("contributor"), 3))
	b.until("document.querySelector('#list-el9').open && document.querySelector('#order tbody td:nth-child(3)').textContent.includes('cancelled')")
	b.click("#actions details[id$='/delete'] summary")
	b.click("#actions form[action='/build/3/delete'] button")
	b.until("location.pathname === '/builds' && document.querySelector('#b2') && !document.querySelector('#b3')")
	f.create(given, given)
	b.calm()

	// Nothing is wider than a small screen.
	b.do(chromedp.EmulateViewport(360, 740))
	for _, path := range []string{"/", "/build/1", "/build/1/files", fmt.Sprintf("/build/1/task/%d", l.Token.Task), fmt.Sprintf("/build/1/task/%d/log/build", l.Token.Task), "/queue", "/login", "/nothing", "/p", "/build/4", "/build/4/graph", "/build/4/clone", "/build/1/tests", "/build/1/tests?view=checks", "/build/1/tests/compare", "/tests/history?package=albs-rich"} {
		b.open(f.url + path)
		b.until("document.readyState === 'complete'")
		w, err := chromedp.Run(b.ctx, chromedp.Evaluate[int]("document.documentElement.scrollWidth - document.documentElement.clientWidth"))
		if err != nil || w > 0 {
			t.Errorf("%s is %d too wide, %v", path, w, err)
		}
	}
}
