package agent

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox/examine"
)

// guestOf serves a conversation, and returns the host's ends of it and what serve returned.
func guestOf(t *testing.T) (*Reader, *Writer, io.Closer, <-chan error) {
	t.Helper()
	toHost, fromGuest := io.Pipe()
	toGuest, fromHost := io.Pipe()
	ended := make(chan error, 1)
	go func() {
		err := serve(struct {
			io.Reader
			io.Writer
		}{toGuest, fromGuest}, Hello{Boot: "b", Kernel: "k"})
		toGuest.Close()
		fromGuest.Close()
		ended <- err
	}()
	t.Cleanup(func() { fromHost.Close(); toHost.Close() })
	r := NewReader(toHost)
	f, err := r.Next()
	var h Hello
	if err != nil || f.Type != FrameHello || f.Decode(&h) != nil || h.Boot != "b" {
		t.Fatalf("the guest begins with %q, %+v, %v", f.Type, h, err)
	}
	return r, NewWriter(fromHost), fromHost, ended
}

// ask sends a request with its input, and returns the output and what came of it.
func ask(t *testing.T, r *Reader, w *Writer, q Request, in string) (string, Done) {
	t.Helper()
	if err := w.JSON(FrameRequest, q); err != nil {
		t.Fatal(err)
	}
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		_, _ = io.WriteString(w.Stream(FrameInput), in)
		_ = w.Frame(FrameEnd, nil)
	}()
	var out strings.Builder
	for {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		switch f.Type {
		case FrameOutput:
			out.Write(f.Body)
		case FrameDone:
			var d Done
			if err := f.Decode(&d); err != nil {
				t.Fatal(err)
			}
			<-sent
			return out.String(), d
		default:
			t.Fatalf("a frame of kind %q", f.Type)
		}
	}
}

func TestServe(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(file, []byte("content"), 0o600); err != nil {
		t.Fatal(err)
	}
	r, w, _, ended := guestOf(t)
	if out, d := ask(t, r, w, Request{Op: OpRead, Path: file, Limit: 7}, ""); out != "content" || d != (Done{}) {
		t.Errorf("read: %q, %+v", out, d)
	}
	if _, d := ask(t, r, w, Request{Op: OpRead, Path: file, Limit: 6}, ""); d.Kind != albs.Invalid {
		t.Errorf("read of more than its limit: %+v", d)
	}
	asks := []examine.Ask{{Path: file}}
	b, err := examine.Encode(asks)
	if err != nil {
		t.Fatal(err)
	}
	out, d := ask(t, r, w, Request{Op: OpExamine}, string(b))
	found, err := examine.Decode(strings.NewReader(out), asks)
	if d != (Done{}) || err != nil || found[0].Kind != examine.File || found[0].Size != 7 {
		t.Errorf("examine: %+v, %+v, %v", found, d, err)
	}
	// Input that nobody reads is in nobody's way.
	if _, d := ask(t, r, w, Request{Op: "dance"}, strings.Repeat("x", 4*chunk)); !strings.Contains(d.Error, "dance") || d.Kind != "" {
		t.Errorf("what isn't known: %+v", d)
	}
	if _, d := ask(t, r, w, Request{Op: OpRun}, ""); d.Kind != albs.Invalid {
		t.Errorf("run of nothing: %+v", d)
	}
	if _, d := ask(t, r, w, Request{Op: OpRun, Argv: []string{"nosuch"}, Env: []string{"PATH=/nosuch"}}, ""); d.Kind != albs.NotFound {
		t.Errorf("run of what isn't there: %+v", d)
	}
	if err := w.JSON(FrameRequest, Request{Op: OpOff}); err != nil {
		t.Fatal(err)
	}
	if err := <-ended; err != nil {
		t.Errorf("switched off: %v", err)
	}
}

// Whatever else comes ends the conversation, and with it the machine.
func TestServeNonsense(t *testing.T) {
	t.Parallel()
	for name, say := range map[string]func(w *Writer, end io.Closer){
		"the host is gone":     func(_ *Writer, end io.Closer) { end.Close() },
		"input of nothing":     func(w *Writer, _ io.Closer) { _ = w.Frame(FrameInput, nil) },
		"what only guests say": func(w *Writer, _ io.Closer) { _ = w.Frame(FrameDone, nil) },
		"no JSON":              func(w *Writer, _ io.Closer) { _ = w.Frame(FrameRequest, []byte("{")) },
		"two requests at once": func(w *Writer, _ io.Closer) {
			_ = w.JSON(FrameRequest, Request{Op: OpImport})
			_ = w.JSON(FrameRequest, Request{Op: OpImport})
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r, w, end, ended := guestOf(t)
			go func() {
				for {
					if _, err := r.Next(); err != nil {
						return
					}
				}
			}()
			say(w, end)
			if err := <-ended; err == nil || (name == "the host is gone") != errors.Is(err, io.EOF) {
				t.Errorf("serve = %v", err)
			}
		})
	}
}

func TestLookPath(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for name, mode := range map[string]os.FileMode{"run": 0o755, "data": 0o644} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, mode); err != nil {
			t.Fatal(err)
		}
	}
	env := []string{"HOME=/", "PATH=/nosuch:" + dir}
	if p, err := lookPath("run", env); p != filepath.Join(dir, "run") || err != nil {
		t.Errorf("run = %q, %v", p, err)
	}
	for _, name := range []string{"data", "nosuch", dir + "/nosuch", ""} {
		if p, err := lookPath(name, env); err == nil {
			t.Errorf("%s = %q", name, p)
		}
	}
}

func TestOutOfMemory(t *testing.T) {
	t.Parallel()
	for events, want := range map[string]bool{"": false, "oom 3\noom_kill 0\n": false, "low 0\noom_kill 2\noom_group_kill 0\n": true} {
		dir := t.TempDir()
		if err := os.WriteFile(filepath.Join(dir, "memory.events"), []byte(events), 0o600); err != nil {
			t.Fatal(err)
		}
		if got := (&group{dir: dir}).outOfMemory(); got != want {
			t.Errorf("%q: %v", events, got)
		}
	}
}
