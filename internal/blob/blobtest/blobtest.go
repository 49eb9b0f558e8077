// Package blobtest is the conformance suite of blob.Store: what every backend has
// to do, whatever it keeps its bytes in.
package blobtest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"testing"
	"testing/iotest"

	"albs/internal/albs"
	"albs/internal/blob"
)

// Run runs the suite; open returns a fresh, empty store each time.
func Run(t *testing.T, open func(t *testing.T) blob.Store) {
	for name, test := range map[string]func(t *testing.T, s blob.Store){
		"put and read":         putAndRead,
		"write":                write,
		"wrong bytes":          wrongBytes,
		"cut upload":           cutUpload,
		"bad digests":          badDigests,
		"absent":               absent,
		"ranges":               ranges,
		"same blob from many":  manyPuts,
		"remove and put again": removeAndPut,
		"walk":                 walk,
		"cancelled":            cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, open(t))
		})
	}
}

func mustPut(t *testing.T, s blob.Store, b []byte) albs.Digest {
	t.Helper()
	d := albs.DigestOf(b)
	n, err := s.Put(t.Context(), d, bytes.NewReader(b))
	if err != nil || n != int64(len(b)) {
		t.Fatalf("Put(%s) = %d, %v, want %d", d.Short(), n, err, len(b))
	}
	return d
}

func wantKind(t *testing.T, what string, err error, kind albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != kind {
		t.Errorf("%s: error %v of kind %q, want kind %q", what, err, albs.KindOf(err), kind)
	}
}

func wantEmpty(t *testing.T, s blob.Store) {
	t.Helper()
	err := s.Walk(t.Context(), func(d albs.Digest, _ int64) error {
		return fmt.Errorf("%s is stored", d)
	})
	if err != nil {
		t.Errorf("the store should be empty: %v", err)
	}
}

func content(n int) []byte {
	b := make([]byte, n)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

func putAndRead(t *testing.T, s blob.Store) {
	for _, n := range []int{0, 1, 4096, 1<<20 + 3} {
		b := content(n)
		d := mustPut(t, s, b)
		mustPut(t, s, b) // again is a success
		if size, err := s.Stat(t.Context(), d); err != nil || size != int64(n) {
			t.Errorf("Stat = %d, %v, want %d", size, err, n)
		}
		r, err := s.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if r.Size() != int64(n) {
			t.Errorf("Size() = %d, want %d", r.Size(), n)
		}
		if n > 10 {
			p := make([]byte, 5)
			if _, err := r.ReadAt(p, 5); err != nil || !bytes.Equal(p, b[5:10]) {
				t.Errorf("ReadAt(5) = %x, %v, want %x", p, err, b[5:10])
			}
		}
		if got, err := io.ReadAll(iotest.OneByteReader(io.LimitReader(r, 100))); err != nil || !bytes.Equal(got, b[:min(n, 100)]) {
			t.Errorf("the first bytes of %d differ, error %v", n, err)
		}
		if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b[min(n, 100):]) {
			t.Errorf("the other bytes of %d differ, error %v", n, err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

func write(t *testing.T, s blob.Store) {
	b := content(1000)
	_, _, err := s.Write(t.Context(), bytes.NewReader(b), 999)
	wantKind(t, "Write beyond the limit", err, albs.TooLarge)
	wantEmpty(t, s)
	d, n, err := s.Write(t.Context(), bytes.NewReader(b), 1000)
	if err != nil || n != 1000 || d != albs.DigestOf(b) {
		t.Fatalf("Write = %s, %d, %v", d, n, err)
	}
	if _, err := s.Stat(t.Context(), d); err != nil {
		t.Error(err)
	}
}

func wrongBytes(t *testing.T, s blob.Store) {
	_, err := s.Put(t.Context(), albs.DigestOf([]byte("a")), bytes.NewReader([]byte("b")))
	wantKind(t, "Put of other bytes", err, albs.Invalid)
	wantEmpty(t, s)
}

func cutUpload(t *testing.T, s blob.Store) {
	b := content(100_000)
	cut := errors.New("cut")
	for _, at := range []int{0, 1000, 50_000, 99_999} {
		_, err := s.Put(t.Context(), albs.DigestOf(b), io.MultiReader(bytes.NewReader(b[:at]), iotest.ErrReader(cut)))
		if !errors.Is(err, cut) {
			t.Errorf("Put cut at %d: %v, want the reader's error", at, err)
		}
		_, err = s.Open(t.Context(), albs.DigestOf(b))
		wantKind(t, "Open after a cut Put", err, albs.NotFound)
	}
	wantEmpty(t, s)
	mustPut(t, s, b)
}

func badDigests(t *testing.T, s blob.Store) {
	good := string(albs.DigestOf(nil))
	for _, d := range []albs.Digest{"", "..", "../../etc/passwd", albs.Digest(good[:63]), albs.Digest(good + "0"),
		albs.Digest("/" + good[1:]), albs.Digest("E" + good[1:]), albs.Digest(good[:60] + "/../")} {
		_, err := s.Put(t.Context(), d, bytes.NewReader(nil))
		wantKind(t, "Put", err, albs.Invalid)
		_, err = s.Open(t.Context(), d)
		wantKind(t, "Open", err, albs.Invalid)
		_, err = s.OpenRange(t.Context(), d, 0, -1)
		wantKind(t, "OpenRange", err, albs.Invalid)
		_, err = s.Stat(t.Context(), d)
		wantKind(t, "Stat", err, albs.Invalid)
		wantKind(t, "Remove", s.Remove(t.Context(), d), albs.Invalid)
	}
}

func absent(t *testing.T, s blob.Store) {
	d := albs.DigestOf([]byte("never stored"))
	_, err := s.Open(t.Context(), d)
	wantKind(t, "Open", err, albs.NotFound)
	_, err = s.OpenRange(t.Context(), d, 0, -1)
	wantKind(t, "OpenRange", err, albs.NotFound)
	_, err = s.Stat(t.Context(), d)
	wantKind(t, "Stat", err, albs.NotFound)
	if err := s.Remove(t.Context(), d); err != nil {
		t.Errorf("Remove of what isn't there: %v", err)
	}
}

func ranges(t *testing.T, s blob.Store) {
	b := content(10_000)
	d := mustPut(t, s, b)
	for _, c := range []struct {
		off, length int64
		want        []byte
	}{
		{0, -1, b}, {0, 0, nil}, {1, 2, b[1:3]}, {9_999, 1, b[9_999:]}, {10_000, -1, nil}, {9_000, 5_000, b[9_000:]},
	} {
		r, err := s.OpenRange(t.Context(), d, c.off, c.length)
		if err != nil {
			t.Fatalf("OpenRange(%d, %d): %v", c.off, c.length, err)
		}
		got, err := io.ReadAll(r)
		if err != nil || !bytes.Equal(got, c.want) {
			t.Errorf("OpenRange(%d, %d) gave %d bytes, %v, want %d", c.off, c.length, len(got), err, len(c.want))
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	for _, off := range []int64{-1, 10_001} {
		_, err := s.OpenRange(t.Context(), d, off, 1)
		wantKind(t, fmt.Sprintf("OpenRange(%d)", off), err, albs.Invalid)
	}
}

func manyPuts(t *testing.T, s blob.Store) {
	b := content(200_000)
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if n, err := s.Put(t.Context(), albs.DigestOf(b), bytes.NewReader(b)); err != nil || n != int64(len(b)) {
				t.Errorf("Put = %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	count := 0
	if err := s.Walk(t.Context(), func(albs.Digest, int64) error { count++; return nil }); err != nil || count != 1 {
		t.Errorf("%d blobs are stored, %v, want 1", count, err)
	}
}

func removeAndPut(t *testing.T, s blob.Store) {
	b := content(5000)
	d := mustPut(t, s, b)
	r, err := s.Open(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if err := s.Remove(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), d)
	wantKind(t, "Stat of a removed blob", err, albs.NotFound)
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("an open reader lost the removed blob: %v", err)
	}
	mustPut(t, s, b)
}

func walk(t *testing.T, s blob.Store) {
	want := map[albs.Digest]int64{}
	for i := range 20 {
		want[mustPut(t, s, content(i+1))] = int64(i + 1)
	}
	var last albs.Digest
	err := s.Walk(t.Context(), func(d albs.Digest, size int64) error {
		if d <= last {
			t.Errorf("%s comes after %s", d, last)
		}
		if want[d] != size {
			t.Errorf("Walk gave %s of %d bytes, want %d", d, size, want[d])
		}
		last = d
		delete(want, d)
		return nil
	})
	if err != nil || len(want) > 0 {
		t.Errorf("Walk: %v, %d blobs not seen", err, len(want))
	}
	stop := errors.New("stop")
	if err := s.Walk(t.Context(), func(albs.Digest, int64) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("Walk = %v, want the error of yield", err)
	}
}

func cancelled(t *testing.T, s blob.Store) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	b := content(100)
	if _, err := s.Put(ctx, albs.DigestOf(b), bytes.NewReader(b)); !errors.Is(err, context.Canceled) {
		t.Errorf("Put = %v, want context.Canceled", err)
	}
	wantEmpty(t, s)
}
