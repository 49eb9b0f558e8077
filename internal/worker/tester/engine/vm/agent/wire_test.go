package agent

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestFrames(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w := NewWriter(&b)
	q := Request{Op: OpRun, Argv: []string{"sh", "-c", "true"}, UID: 1000}
	if err := w.JSON(FrameRequest, q); err != nil {
		t.Fatal(err)
	}
	long := strings.Repeat("0123456789", chunk/4)
	if n, err := io.WriteString(w.Stream(FrameInput), long); n != len(long) || err != nil {
		t.Fatalf("wrote %d, %v", n, err)
	}
	if err := w.Frame(FrameEnd, nil); err != nil {
		t.Fatal(err)
	}
	if err := w.Frame(FrameInput, make([]byte, maxFrame+1)); !errors.Is(err, albs.Invalid) {
		t.Errorf("a frame that is too long = %v, want Invalid", err)
	}
	r := NewReader(&b)
	f, err := r.Next()
	if err != nil || f.Type != FrameRequest {
		t.Fatalf("%q, %v", f.Type, err)
	}
	var got Request
	if err := f.Decode(&got); err != nil {
		t.Fatal(err)
	}
	if diff := gocmp.Diff(q, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var input strings.Builder
	for {
		f, err := r.Next()
		if err != nil {
			t.Fatal(err)
		}
		if f.Type == FrameEnd {
			break
		}
		input.Write(f.Body)
	}
	if input.String() != long {
		t.Errorf("%d bytes of input came as %d", len(long), input.Len())
	}
	if _, err := r.Next(); err != io.EOF {
		t.Errorf("behind the last frame: %v", err)
	}
}

func TestBadFrames(t *testing.T) {
	t.Parallel()
	for name, b := range map[string]string{
		"half a head":     "o\x00\x00",
		"half a body":     "o\x00\x00\x00\x05abc",
		"no body":         "o\x00\x00\x00\x05",
		"no kind":         "\x00\x00\x00\x00\x01a",
		"another kind":    "GET / HTTP/1.1",
		"longer than any": "o\xff\xff\xff\xff",
	} {
		if f, err := NewReader(strings.NewReader(b)).Next(); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %q, %v, want Invalid", name, f.Type, err)
		}
	}
	if err := (Frame{FrameDone, []byte("{")}).Decode(&Done{}); err == nil {
		t.Error("half of JSON is read")
	}
}

func FuzzReader(f *testing.F) {
	f.Add([]byte("h\x00\x00\x00\x02{}o\x00\x00\x00\x01xe\x00\x00\x00\x00"))
	f.Add([]byte("d\x00\x10\x00\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, read := NewReader(bytes.NewReader(b)), 0
		for {
			f, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				if !errors.Is(err, albs.Invalid) {
					t.Fatal(err)
				}
				return
			}
			read += header + len(f.Body)
			var d Done
			_ = f.Decode(&d)
		}
		if read != len(b) {
			t.Errorf("%d of %d bytes are frames", read, len(b))
		}
	})
}
