package master

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/master/auth"
)

// hooks are receivers of webhooks, which keep what comes.
type hooks struct {
	mu   sync.Mutex
	came []hook
}

type hook struct {
	header http.Header
	body   []byte
}

func (h *hooks) ServeHTTP(_ http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
	if err != nil {
		return // it broke off, and comes again
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.came = append(h.came, hook{r.Header, b})
}

// kinds returns the kinds of what came, in order.
func (h *hooks) kinds(t *testing.T) (out []string) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, g := range h.came {
		var n struct {
			Type string `json:"type"`
		}
		if err := json.Unmarshal(g.body, &n); err != nil {
			t.Fatal(err)
		}
		out = append(out, n.Type)
	}
	slices.Sort(out)
	return out
}

// TestNotices: who subscribed hears of a build, of its release and of the advisory in it,
// and can check by openssl that it comes from here.
func TestNotices(t *testing.T) {
	t.Parallel()
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	f := newFarm(t)
	admin, err := f.auth.Authenticate(t.Context(), f.AdminToken)
	f.must(err)
	s := of(f, func() (client.Doc[client.Subscription], error) {
		return f.bob.Subscribe(t.Context(), client.NewSubscription{Team: "core", Channel: "webhook", Target: f.site + "/hook/secret", Filter: client.NoticeFilter{
			Kinds: []string{"build.succeeded", "build.failed", "release.published", "errata.released", "errata.withdrawn"}, Platforms: []string{"el"}, Products: []string{"demo"}, Severity: "important",
		}})
	})
	foo := f.given("foo")
	f.built(f.east, f.begun("foo"), "foo", "one")
	f.tested(true)
	k := f.advise(auth.With(t.Context(), admin), "foo")
	f.signed(foo)
	id := f.publish([]albs.BuildID{foo}, client.Advised{ID: k.ID, Platform: k.Platform})
	f.until("the webhook has what it wants", func() bool { return len(f.hooks.kinds(t)) >= 3 })
	if got := f.hooks.kinds(t); !slices.Equal(got, []string{"build.succeeded", "errata.released", "release.published"}) {
		t.Errorf("it has %v", got)
	}

	key, err := base64.StdEncoding.DecodeString(strings.TrimPrefix(s.Key, "whsec_"))
	f.must(err)
	dir := t.TempDir()
	for i, g := range f.hooks.came {
		signed := filepath.Join(dir, string(rune('a'+i)))
		f.must(os.WriteFile(signed, slices.Concat([]byte(g.header.Get("webhook-id")+"."+g.header.Get("webhook-timestamp")+"."), g.body), 0o600))
		cmd := exec.CommandContext(t.Context(), openssl, "dgst", "-sha256", "-mac", "HMAC", "-macopt", "hexkey:"+hex.EncodeToString(key), "-binary", signed)
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		sum, err := cmd.Output()
		if err != nil {
			t.Fatalf("openssl: %v\n%s", err, stderr.Bytes())
		}
		if want := "v1," + base64.StdEncoding.EncodeToString(sum); g.header.Get("webhook-signature") != want {
			t.Errorf("%s is signed %s, openssl says %s", g.body, g.header.Get("webhook-signature"), want)
		}
		var n struct {
			Type string `json:"type"`
			Data struct {
				Release  albs.ReleaseID `json:"release"`
				Build    albs.BuildID   `json:"build"`
				URL      string         `json:"url"`
				Advisory struct {
					ID       string   `json:"id"`
					Severity string   `json:"severity"`
					CVEs     []string `json:"cves"`
				} `json:"advisory"`
			} `json:"data"`
		}
		f.must(json.Unmarshal(g.body, &n))
		switch a := n.Data.Advisory; n.Type {
		case "errata.released":
			if a.ID != k.ID || a.Severity != "important" || !slices.Equal(a.CVEs, []string{"CVE-2026-10001"}) || n.Data.Release != id {
				t.Errorf("of the advisory it has %s", g.body)
			}
			// The page that it names is there already.
			if status, page := get(t, n.Data.URL); status != http.StatusOK || !strings.Contains(page, k.ID) {
				t.Errorf("%s = %d", n.Data.URL, status)
			}
		case "build.succeeded":
			if n.Data.Build != foo || n.Data.URL != f.URL()+"/build/"+foo.String() {
				t.Errorf("of the build it has %s", g.body)
			}
		}
	}
	ds := of(f, func() (client.Doc[[]client.Delivery], error) { return f.bob.Deliveries(t.Context(), s.ID, 0) })
	if len(ds) != 3 {
		t.Errorf("there are %d deliveries, want 3", len(ds))
	}
}
