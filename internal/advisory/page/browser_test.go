package page

import (
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"albs/internal/advisory"

	"github.com/chromedp/chromedp"
)

// TestInBrowser: the search finds by id, CVE and package, and the policy that the pages have
// lets all through that they need and nothing of hostile text.
func TestInBrowser(t *testing.T) {
	const chromium = "/usr/bin/chromium"
	if testing.Short() {
		t.Skip("a browser takes seconds to start; -short was asked for")
	}
	if _, err := os.Stat(chromium); err != nil {
		t.Skipf("there is no %s (apt-get install --no-install-recommends chromium)", chromium)
	}
	t.Parallel()
	dir := t.TempDir()
	other := sample()
	other.ID, other.CVEs, other.Packages = "ALSA-2026:0777", []advisory.CVE{{ID: "CVE-2026-77777"}}, nil
	evil := hostile("<img src=x onerror=document.title='taken'>")
	evil.ID = "ALSA-2026:0666"
	for _, f := range all(sample(), other, evil) {
		name := filepath.Join(dir, f.Path)
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, f.Bytes, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	server := httptest.NewServer(http.FileServer(http.Dir(dir)))
	defer server.Close()

	options := []chromedp.ExecAllocatorOption{
		chromedp.ExecPath(chromium), chromedp.UserDataDir(t.TempDir()), chromedp.WindowSize(1200, 850), chromedp.NoSandbox, chromedp.NoFirstRun, chromedp.DisableGPU, chromedp.Flag("headless", true),
	}
	for _, f := range []string{"disable-quic", "disable-background-networking", "disable-component-update", "disable-sync", "disable-dev-shm-usage", "no-default-browser-check"} {
		options = append(options, chromedp.Flag(f, true))
	}
	alloc, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(alloc)
	if err := chromedp.Do(ctx); err != nil {
		cancel()
		stop()
		t.Fatalf("start %s: %v", chromium, err)
	}
	var mu sync.Mutex
	var cries []string
	var listener sync.WaitGroup
	listener.Go(func() {
		for m, err := range chromedp.Console(ctx) {
			if err != nil {
				return
			}
			if m.Type == "error" || m.Type == chromedp.ConsoleException {
				mu.Lock()
				cries = append(cries, m.Text)
				mu.Unlock()
			}
		}
	})
	defer func() {
		cancel()
		stop()
		listener.Wait()
	}()
	open := func(path string) {
		t.Helper()
		within, done := context.WithTimeout(ctx, time.Minute)
		defer done()
		if err := chromedp.Do(within, chromedp.Navigate(server.URL+path)); err != nil {
			t.Fatal(err)
		}
	}
	until := func(expression string) {
		t.Helper()
		within, done := context.WithTimeout(ctx, time.Minute)
		defer done()
		for {
			ok, err := chromedp.Run(within, chromedp.Evaluate[bool]("!!("+expression+")"))
			if ok {
				return
			}
			if within.Err() != nil {
				t.Fatalf("never: %s (%v)", expression, err)
			}
			time.Sleep(20 * time.Millisecond) // the browser has no better way to tell across navigations
		}
	}
	const shown = "Array.from(document.querySelectorAll('#rows tr:not([hidden]) th')).map(e => e.textContent).join()"
	open("/html/index.html")
	until("!document.getElementById('search').hidden")
	for _, tc := range []struct{ words, want string }{
		{"2026:1234", "ALSA-2026:1234"}, {"cve-2026-77777", "ALSA-2026:0777"}, {"QEMU-KVM important", "ALSA-2026:1234"}, {"nothing", ""},
	} {
		until(fmt.Sprintf("(w => (w.value = %q, w.dispatchEvent(new Event('input')), true))(document.getElementById('words'))", tc.words))
		until(fmt.Sprintf("%s === %q", shown, tc.want))
	}
	open("/html/index.html?q=77777")
	until(shown + " === 'ALSA-2026:0777' && document.getElementById('found').textContent === '1'")
	if shots := os.Getenv("ALBS_PICTURES"); shots != "" {
		for name, path := range map[string]string{"advisory": "/html/ALSA-2026-1234.html", "index": "/html/index.html"} {
			open(path)
			png, err := chromedp.Run(ctx, chromedp.FullScreenshot(100))
			if err == nil {
				err = os.WriteFile(filepath.Join(shots, "errata-"+name+".png"), png, 0o600)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, path := range []string{"/html/ALSA-2026-0666.html", "/html/index.html"} {
		open(path)
		until("document.readyState === 'complete' && document.querySelectorAll('img').length === 0 && document.title !== 'taken' && getComputedStyle(document.querySelector('.severity')).borderRadius === '3px'")
	}
	mu.Lock()
	defer mu.Unlock()
	for _, c := range cries {
		if c != "" {
			t.Errorf("the console was told: %s", c)
		}
	}
}
