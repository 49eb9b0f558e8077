package api

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker"
)

// stamp is a line that tells when it was written: 25 bytes with its end.
const stamp = "%08d %015d\n"

// written is a build's log: count lines at so many a second, each with its time.
func written(ctx context.Context, w io.Writer, count, rate int, began time.Time) error {
	buf := make([]byte, 0, 64<<10)
	for i := 0; i < count; {
		// As many as are due, as a program does whose output passes through a pipe.
		due := min(count, int(time.Since(began).Seconds()*float64(rate))+1)
		buf = buf[:0]
		for ; i < due && len(buf) < 60<<10; i++ {
			buf = fmt.Appendf(buf, stamp, i, time.Since(began).Microseconds())
		}
		if len(buf) > 0 {
			if _, err := w.Write(buf); err != nil {
				return err
			}
			continue
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(time.Millisecond):
		}
	}
	return nil
}

// lags reads a stream of such a log, from the line first on, to its end and returns
// the line that it came to, the worst age at which one arrived, and the log's size as
// the end tells it.
func lags(t *testing.T, r io.Reader, first int, began time.Time) (lines int, worst time.Duration, size int64, ended bool) {
	lines = first
	in := bufio.NewReaderSize(r, 1<<20)
	rest := ""
	for {
		text, err := in.ReadString('\n')
		if err != nil {
			return lines, worst, size, false
		}
		data, ok := strings.CutPrefix(text, "data: ")
		if !ok {
			continue
		}
		var m struct {
			Text *string
			Size int64
		}
		if err := json.Unmarshal([]byte(data), &m); err != nil {
			t.Errorf("message %.100q: %v", data, err)
			return lines, worst, size, false
		}
		if m.Text == nil {
			return lines, worst, m.Size, true
		}
		now := time.Since(began)
		for line := range strings.Lines(rest + *m.Text) {
			rest = ""
			if !strings.HasSuffix(line, "\n") {
				rest = line
				continue
			}
			number, at, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
			n, err1 := strconv.Atoi(number)
			us, err2 := strconv.ParseInt(at, 10, 64)
			if err1 != nil || err2 != nil || n != lines {
				t.Errorf("line %d is %q", lines, line)
				return lines, worst, size, false
			}
			lines++
			worst = max(worst, now-time.Duration(us)*time.Microsecond)
		}
	}
}

// resident returns the bytes of memory that this process holds.
func resident(t *testing.T) int64 {
	t.Helper()
	b, err := os.ReadFile("/proc/self/statm")
	if err != nil {
		t.Skip("there is no /proc/self/statm, so that memory can't be measured:", err)
	}
	pages, err := strconv.ParseInt(strings.Fields(string(b))[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return pages * int64(os.Getpagesize())
}

// logged has a node, over HTTP, build something that writes such a log once start is
// called, so that its readers are there before it, and returns the log's path.
func (f *fixture) logged(t *testing.T, count, rate int) (log string, start func() (began time.Time)) {
	t.Helper()
	f.catalog(t)
	b := f.build(t, f.upload(t))
	begin := make(chan time.Time, 1)
	node := worker.Loop{
		Master: worker.NewClient(f.url, f.tokens["node"], http.DefaultClient), Parallel: 1, Spool: filepath.Join(t.TempDir(), "spool"), Log: zerolog.Nop(),
		Offer: func() worker.Offer { return worker.Offer{Version: "1", Labels: []string{"kind:build", "arch:x86_64"}} },
		Job: func(ctx context.Context, s *worker.Session) (albs.Outcome, albs.Result, error) {
			var began time.Time
			select {
			case began = <-begin:
			case <-ctx.Done():
				return "", albs.Result{}, context.Cause(ctx)
			}
			if err := written(ctx, s.Log("build"), count, rate, began); err != nil {
				return "", albs.Result{}, err
			}
			return albs.OutcomeFailed, albs.Result{Reason: "it was only to write"}, nil
		},
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = node.Run(ctx) }) // its error is ctx's
	t.Cleanup(func() {
		cancel()
		wg.Wait()
	})
	return logsOf(b.ID, b.Tasks[0].ID) + "build", func() time.Time {
		began := time.Now()
		begin <- began
		return began
	}
}

// follow opens a log's stream from a byte on; with a small buffer the kernel takes little for
// a client that doesn't read.
func (f *fixture) follow(t *testing.T, log string, from int64, small bool) io.ReadCloser {
	t.Helper()
	req := f.request(t, "anon", get, log+"/events?offset="+strconv.FormatInt(from, 10), nil)
	tr := &http.Transport{DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if tcp, ok := c.(*net.TCPConn); ok && small {
			_ = tcp.SetReadBuffer(4 << 10) // a wish
		}
		return c, err
	}}
	resp, err := (&http.Client{Transport: tr}).Do(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		resp.Body.Close()
		tr.CloseIdleConnections()
	})
	if resp.StatusCode != http.StatusOK {
		t.Fatalf("%s = %s", log, resp.Status)
	}
	return resp.Body
}

// TestLiveLogLag: at 10,000 lines a second a line is with its reader within a second.
// What else this machine does can hold up any one run, but not the best of three.
func TestLiveLogLag(t *testing.T) {
	const rate = 10_000
	count := 30 * rate
	if testing.Short() {
		count = 3 * rate
	}
	for run := 1; ; run++ {
		f := setup(t, Config{})
		log, start := f.logged(t, count, rate)
		body := f.follow(t, log, 0, false)
		lines, worst, size, ended := lags(t, body, 0, start())
		if lines != count || !ended || size != int64(count*len(fmt.Sprintf(stamp, 0, 0))) {
			t.Errorf("%d of %d lines came, %d bytes, to the end: %t", lines, count, size, ended)
		}
		t.Logf("%d lines at %d a second: the slowest came after %v", lines, rate, worst)
		if worst <= time.Second {
			return
		}
		if run == 3 {
			t.Fatalf("a line came after %v, in the third run too", worst)
		}
	}
}

// TestLongLog: ten million lines at 100,000 a second, and the memory of the master (and
// of the node, which is the same process here) stays as it is; a reader who doesn't
// read is dropped, and neither the log nor the other reader has less for it.
func TestLongLog(t *testing.T) {
	if testing.Short() {
		t.Skip("it takes two minutes: not with -short")
	}
	const count, rate = 10_000_000, 100_000
	f := setup(t, Config{})
	log, start := f.logged(t, count, rate)
	slow, body := f.follow(t, log, 0, true), f.follow(t, log, 0, false)
	began := start()
	var early, late int64
	done := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for seconds := 0; ; seconds++ {
			select {
			case <-done:
				return
			case <-tick.C:
			}
			// After the first tenth everything that is held is held.
			if now := resident(t); seconds < 10 {
				early = max(early, now)
			} else {
				late = max(late, now)
			}
		}
	})
	lines, worst, size, ended := lags(t, body, 0, began)
	close(done)
	wg.Wait()
	took := time.Since(began)
	const bytes = count * 25
	if lines != count || !ended || size != bytes {
		t.Errorf("%d of %d lines came, %d of %d bytes, to the end: %t", lines, count, size, bytes, ended)
	}
	t.Logf("%d lines in %v: the slowest came after %v; %d MiB of memory in the first ten seconds, then at most %d", lines, took, worst, early>>20, late>>20)
	if late > early+32<<20 {
		t.Errorf("memory grew from %d MiB to %d", early>>20, late>>20)
	}
	got, _, _, whole := lags(t, slow, 0, began)
	if whole || got >= count {
		t.Errorf("who didn't read has %d lines, to the end: %t", got, whole)
	}
	// It reads on where it was.
	again, _, _, whole := lags(t, f.follow(t, log, int64(got)*25, false), got, began)
	if !whole || again != count {
		t.Errorf("reading on it comes to line %d, to the end: %t", again, whole)
	}
	a := f.call(t, "anon", http.MethodHead, log, nil, http.StatusOK)
	if a.ContentLength != bytes {
		t.Errorf("the log has %d bytes of %d", a.ContentLength, bytes)
	}
}
