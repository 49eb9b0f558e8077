package master

import (
	"context"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/bucket"
	"albs/internal/egress"
)

// opened opens a master in dir.
func opened(t *testing.T, dir string) *Master {
	t.Helper()
	m, err := Open(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:0", Version: "test"}, zerolog.Nop())
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// running runs m until stop is called, which returns Run's error.
func running(t *testing.T, m *Master) (stop func() error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended, ready := make(chan error, 1), make(chan struct{})
	go func() { ended <- m.Run(ctx, ready) }()
	select {
	case <-ready:
	case err := <-ended:
		t.Fatalf("Run = %v", err)
	}
	return func() error {
		cancel()
		return <-ended
	}
}

func get(t *testing.T, url string) (status int, body string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// TestRun: once a master is ready its faces answer; its context's end is its own, and
// after that another has the directory, with all that was in it.
func TestRun(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := opened(t, dir)
	if m.AdminToken == "" {
		t.Error("the first start gave no admin token")
	}
	if _, err := m.auth.Authenticate(t.Context(), m.AdminToken); err != nil {
		t.Errorf("the first admin token: %v", err)
	}
	stop := running(t, m)
	for path, want := range map[string]string{"/api/v1/openapi.json": "openapi", "/metrics": "albs_ledger_pending 0", "/": "<html"} {
		if status, body := get(t, m.URL()+path); status != http.StatusOK || !strings.Contains(body, want) {
			t.Errorf("%s gave %d: %.200s; want %q in it", path, status, body, want)
		}
	}
	_, body := get(t, m.URL()+"/metrics")
	for _, want := range []string{"albs_blobs_corrupt 0\n", "albs_sign_intents 0\n"} {
		if !strings.Contains(body, want) {
			t.Errorf("the metrics lack %q: %.2000s", want, body)
		}
	}
	well := false // which is reported after the start, and not before
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); !well; {
		select {
		case <-tick.C:
			status, body := get(t, m.URL()+"/healthz")
			well = status == http.StatusOK && strings.Contains(body, `"ledger":"ok"`)
		case <-deadline:
			t.Fatal("the master isn't well")
		}
	}
	if _, err := Open(t.Context(), Config{Dir: dir, Listen: "127.0.0.1:0"}, zerolog.Nop()); !errors.Is(err, albs.Conflict) {
		t.Errorf("a second master on the directory: %v, want Conflict", err)
	}
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("Run = %v, want its context's error", err)
	}
	if err := m.Close(); err != nil {
		t.Errorf("Close = %v", err)
	}
	again := opened(t, dir)
	if again.AdminToken != "" {
		t.Error("a start after the token's use gave another")
	}
	stop = running(t, again)
	if err := stop(); !errors.Is(err, context.Canceled) {
		t.Errorf("the second Run = %v", err)
	}
	if err := again.Close(); err != nil {
		t.Errorf("the second Close = %v", err)
	}
}

// TestOpenFails: what was opened before the fault is closed again, so that the
// directory is free once the fault is mended.
func TestOpenFails(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, c := range map[string]Config{
		"listen": {Listen: "127.0.0.1:1:1"},
		"egress": {Listen: "127.0.0.1:0", Egress: egress.Policy{CAFiles: []string{dir + "/none"}}},
	} {
		c.Dir = dir
		if _, err := Open(t.Context(), c, zerolog.Nop()); err == nil || errors.Is(err, albs.Conflict) {
			t.Errorf("%s: Open = %v", name, err)
		}
	}
	if err := opened(t, dir).Close(); err != nil {
		t.Error(err)
	}
}

// TestBlobsElsewhere: a master whose blobs were in its directory doesn't start on a bucket
// without them, nor the other way round.
func TestBlobsElsewhere(t *testing.T) {
	t.Parallel()
	inS3 := Blobs{S3: blob.S3Config{Config: bucket.Config{Endpoint: "http://127.0.0.1:1", Bucket: "b", AccessKeyFile: "/a", SecretKeyFile: "/s"}}}
	for left, b := range map[string]Blobs{"blobs": inS3, "blob-cache": {}} {
		dir := t.TempDir()
		if err := os.Mkdir(filepath.Join(dir, left), 0o700); err != nil {
			t.Fatal(err)
		}
		if _, err := b.open(t.Context(), dir); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), left) {
			t.Errorf("with %s there: open = %v", left, err)
		}
	}
}

// TestServerEnds: a server that ends takes the loops with it, and Run says why.
func TestServerEnds(t *testing.T) {
	t.Parallel()
	m := opened(t, t.TempDir())
	defer m.Close()
	if err := m.listener.Close(); err != nil {
		t.Fatal(err)
	}
	if err := m.Run(t.Context(), make(chan struct{})); err == nil || !strings.HasPrefix(err.Error(), "serve: ") {
		t.Errorf("Run = %v, want the server's error", err)
	}
}

// TestWhole: a loop's own end is an error, also where the loop has none to tell.
func TestWhole(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error // the loop's
		want string
	}{
		{"fails", t.Context(), broken, "events: broken"},
		{"ends", t.Context(), nil, "events ended by itself"},
		{"is ended", done, nil, "context canceled"},
		{"is ended and fails for it", done, broken, "context canceled"},
	} {
		if err := whole(c.ctx, "events", func(context.Context) error { return c.err }); err == nil || err.Error() != c.want {
			t.Errorf("a loop that %s gave %v, want %q", c.name, err, c.want)
		}
	}
}
