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

// Storage is a place where stores keep their blobs, and the way behind their backs.
type Storage struct {
	// Open opens one more store on the place, as a process beside the others, or
	// after them, would.
	Open func(t *testing.T) blob.Store
	// Change replaces the stored bytes of d, which is there, by change of them.
	Change func(t *testing.T, d albs.Digest, change func([]byte) []byte)
}

// Run runs the suite, a subtest for each claim of blob.Store's comment; fresh
// returns an empty storage each time.
func Run(t *testing.T, fresh func(t *testing.T) Storage) {
	for name, test := range map[string]func(t *testing.T, s blob.Store){
		"put and read":                        putAndRead,
		"write":                               write,
		"wrong bytes":                         wrongBytes,
		"a put of what is held reads nothing": putUnread,
		"cut upload":                          cutUpload,
		"bad digests":                         badDigests,
		"absent":                              absent,
		"ranges":                              ranges,
		"remove and put again":                removeAndPut,
		"walk":                                walk,
		"cancelled":                           cancelled,
		"verify":                              verify,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t).Open(t))
		})
	}
	for name, test := range map[string]func(t *testing.T, s Storage){
		"what was acknowledged is read by the next": reopened,
		"what was cut off shows nothing":            cutOff,
		"same blob from many":                       manyPuts,
		"other bytes under the name":                changed,
		"fewer bytes under the name":                truncated,
		"more bytes under the name":                 grown,
		"a put repairs":                             repaired,
		"changed after it was verified":             changedLater,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, fresh(t))
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
		wantKind(t, "Verify", s.Verify(t.Context(), d), albs.Invalid)
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
	wantKind(t, "Verify", s.Verify(t.Context(), d), albs.NotFound)
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

// manyPuts puts the same blob at once through two stores.
func manyPuts(t *testing.T, st Storage) {
	b := content(200_000)
	stores := []blob.Store{st.Open(t), st.Open(t)}
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			if n, err := stores[i%2].Put(t.Context(), albs.DigestOf(b), bytes.NewReader(b)); err != nil || n != int64(len(b)) {
				t.Errorf("Put = %d, %v", n, err)
			}
		})
	}
	wg.Wait()
	for _, s := range stores {
		count := 0
		if err := s.Walk(t.Context(), func(albs.Digest, int64) error { count++; return nil }); err != nil || count != 1 {
			t.Errorf("%d blobs are stored, %v, want 1", count, err)
		}
		wantContent(t, s, b)
	}
}

func wantContent(t *testing.T, s blob.Store, b []byte) {
	t.Helper()
	r, err := s.OpenRange(t.Context(), albs.DigestOf(b), 0, -1)
	if err != nil {
		t.Errorf("OpenRange: %v", err)
		return
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, b) {
		t.Errorf("the store holds %d other bytes, %v", len(got), err)
	}
}

func putUnread(t *testing.T, s blob.Store) {
	b := content(5000)
	d := mustPut(t, s, b)
	n, err := s.Put(t.Context(), d, iotest.ErrReader(errors.New("it was read")))
	if err != nil || n != int64(len(b)) {
		t.Errorf("Put of what is held = %d, %v, want %d", n, err, len(b))
	}
}

func reopened(t *testing.T, st Storage) {
	b := content(5000)
	s := st.Open(t)
	put := mustPut(t, s, b)
	written, _, err := s.Write(t.Context(), bytes.NewReader(b[1:]), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	next := st.Open(t)
	wantContent(t, next, b)
	wantContent(t, next, b[1:])
	if err := next.Remove(t.Context(), put); err != nil {
		t.Fatal(err)
	}
	_, err = s.Stat(t.Context(), put)
	wantKind(t, "Stat of what another store removed", err, albs.NotFound)
	if _, err := st.Open(t).Stat(t.Context(), written); err != nil {
		t.Errorf("Stat of what stays: %v", err)
	}
}

// cutOff looks at the storage while a Put has read all but the last byte, as a crash
// would leave it: nothing shows, and nothing hinders the next.
func cutOff(t *testing.T, st Storage) {
	b := content(100_000)
	d := albs.DigestOf(b)
	dying := st.Open(t)
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := dying.Put(t.Context(), d, pr)
		done <- err
	}()
	if _, err := pw.Write(b[:len(b)-1]); err != nil { // returns once it is read
		t.Fatal(err)
	}
	next := st.Open(t)
	for _, s := range []blob.Store{dying, next} {
		_, err := s.Stat(t.Context(), d)
		wantKind(t, "Stat", err, albs.NotFound)
		_, err = s.Open(t.Context(), d)
		wantKind(t, "Open", err, albs.NotFound)
		wantEmpty(t, s)
	}
	mustPut(t, next, b)
	wantContent(t, next, b)
	if err := pw.CloseWithError(errors.New("the end")); err != nil {
		t.Fatal(err)
	}
	if err := <-done; err == nil {
		t.Error("the Put that was cut off succeeded")
	}
	wantContent(t, dying, b)
}

// damaged puts a blob, changes it behind the stores' backs and returns a store that
// hasn't seen it.
func damaged(t *testing.T, st Storage, b []byte, change func([]byte) []byte) (blob.Store, albs.Digest) {
	t.Helper()
	d := mustPut(t, st.Open(t), b)
	st.Change(t, d, change)
	return st.Open(t), d
}

func flip(b []byte) []byte {
	b[len(b)/2] ^= 1
	return b
}

func wantCorrupt(t *testing.T, what string, err error) {
	t.Helper()
	if !errors.Is(err, blob.ErrCorrupt) || albs.KindOf(err) != albs.Internal {
		t.Errorf("%s: %v of kind %q, want ErrCorrupt and internal", what, err, albs.KindOf(err))
	}
}

// wantAllCorrupt reads d in every way, the one that looks at all the bytes last: a
// store may learn by it.
func wantAllCorrupt(t *testing.T, s blob.Store, d albs.Digest) {
	t.Helper()
	if rc, err := s.OpenRange(t.Context(), d, 0, 1); err == nil {
		defer rc.Close()
		_, err = io.Copy(io.Discard, rc)
		t.Errorf("OpenRange opened what is corrupt; reading it: %v", err)
	} else {
		wantCorrupt(t, "OpenRange", err)
	}
	wantReaderCorrupt(t, s, d)
	wantCorrupt(t, "Verify", s.Verify(t.Context(), d))
	wantReaderCorrupt(t, s, d)
}

func wantReaderCorrupt(t *testing.T, s blob.Store, d albs.Digest) {
	t.Helper()
	r, err := s.Open(t.Context(), d)
	if err != nil {
		wantCorrupt(t, "Open", err)
		return
	}
	defer r.Close()
	n, err := r.ReadAt(make([]byte, 1), 0)
	wantCorrupt(t, "ReadAt", err)
	if n != 0 {
		t.Errorf("ReadAt gave %d bytes of what is corrupt", n)
	}
	_, err = io.Copy(io.Discard, r)
	wantCorrupt(t, "reading to the end", err)
}

func changed(t *testing.T, st Storage) {
	s, d := damaged(t, st, content(10_000), flip)
	wantAllCorrupt(t, s, d)
}

func truncated(t *testing.T, st Storage) {
	s, d := damaged(t, st, content(10_000), func(b []byte) []byte { return b[:len(b)-1] })
	wantAllCorrupt(t, s, d)
	s, d = damaged(t, st, content(2000), func([]byte) []byte { return nil })
	wantReaderCorrupt(t, s, d)
}

func grown(t *testing.T, st Storage) {
	s, d := damaged(t, st, content(10_000), func(b []byte) []byte { return append(b, 'x') })
	wantAllCorrupt(t, s, d)
}

func repaired(t *testing.T, st Storage) {
	b := content(10_000)
	s, d := damaged(t, st, b, flip)
	mustPut(t, s, b)
	wantContent(t, s, b)
	st.Change(t, d, flip)
	if got, _, err := s.Write(t.Context(), bytes.NewReader(b), 1<<20); err != nil || got != d {
		t.Fatalf("Write over what is corrupt = %s, %v", got, err)
	}
	wantContent(t, s, b)
}

// changedLater asks the very store that has verified the blob before. It may have kept
// the right bytes elsewhere; what is stored it has to look at when asked to, and to
// mend when they are put.
func changedLater(t *testing.T, st Storage) {
	b := content(10_000)
	s := st.Open(t)
	d := mustPut(t, s, b)
	wantContent(t, s, b)
	if err := s.Verify(t.Context(), d); err != nil {
		t.Errorf("Verify of what is intact: %v", err)
	}
	st.Change(t, d, flip)
	if rc, err := s.OpenRange(t.Context(), d, 0, -1); err != nil {
		wantCorrupt(t, "OpenRange", err)
	} else {
		defer rc.Close()
		if got, err := io.ReadAll(rc); err != nil || !bytes.Equal(got, b) {
			t.Errorf("other bytes were read, %v", err)
		}
	}
	wantCorrupt(t, "Verify", s.Verify(t.Context(), d))
	mustPut(t, s, b)
	if err := s.Verify(t.Context(), d); err != nil {
		t.Errorf("Verify after a Put of the right bytes: %v", err)
	}
	next := st.Open(t)
	if err := next.Verify(t.Context(), d); err != nil {
		t.Errorf("Verify by the next store: %v", err)
	}
	wantContent(t, next, b)
}

func verify(t *testing.T, s blob.Store) {
	for _, n := range []int{0, 1, 100_000} {
		if err := s.Verify(t.Context(), mustPut(t, s, content(n))); err != nil {
			t.Errorf("Verify of %d bytes: %v", n, err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	d := mustPut(t, s, content(100))
	cancel()
	if err := s.Verify(ctx, d); !errors.Is(err, context.Canceled) {
		t.Errorf("Verify = %v, want context.Canceled", err)
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
