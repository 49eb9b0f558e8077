package blob_test

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"

	"albs/internal/albs"
	"albs/internal/blob"

	"github.com/google/go-cmp/cmp"
)

func newStaging(t *testing.T) *blob.Staging {
	t.Helper()
	return openStaging(t, t.TempDir())
}

func openStaging(t *testing.T, dir string) *blob.Staging {
	t.Helper()
	s, err := blob.NewStaging(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestStagingResumes(t *testing.T) {
	t.Parallel()
	s, ctx := newStaging(t), t.Context()
	store, _ := newDir(t)
	b := bytes.Repeat([]byte("0123456789"), 1000)
	d := albs.DigestOf(b)

	if n, err := s.Held(ctx, "7.1", d); err != nil || n != 0 {
		t.Fatalf("Held of nothing = %d, %v", n, err)
	}
	cut := errors.New("cut")
	held, err := s.Append(ctx, "7.1", d, 0, io.MultiReader(bytes.NewReader(b[:4000]), iotest.ErrReader(cut)), 1<<20)
	if !errors.Is(err, cut) || held != 4000 {
		t.Fatalf("Append of a cut body = %d, %v, want 4000 and the cut", held, err)
	}
	if held, err = s.Append(ctx, "7.1", d, 0, bytes.NewReader(b), 1<<20); albs.KindOf(err) != albs.Conflict || held != 4000 {
		t.Fatalf("Append at another offset = %d, %v, want 4000 and a conflict", held, err)
	}
	if _, err := store.Stat(ctx, d); albs.KindOf(err) != albs.NotFound {
		t.Errorf("a part is readable as a blob: %v", err)
	}
	if held, err = s.Append(ctx, "7.1", d, 4000, bytes.NewReader(b[4000:]), 1<<20); err != nil || held != 10_000 {
		t.Fatalf("Append of the rest = %d, %v", held, err)
	}
	r, err := s.Open(ctx, "7.1", d, 5, 10)
	if err != nil {
		t.Fatal(err)
	}
	got, err := io.ReadAll(r)
	if err != nil || string(got) != "5678901234" {
		t.Errorf("Open(5, 10) = %q, %v", got, err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
	for range 2 { // the second is a repeat after a lost answer
		if n, err := s.Commit(ctx, "7.1", d, store); err != nil || n != 10_000 {
			t.Fatalf("Commit = %d, %v", n, err)
		}
	}
	if n, err := store.Stat(ctx, d); err != nil || n != 10_000 {
		t.Errorf("Stat of the committed blob = %d, %v", n, err)
	}
	if leases, err := s.Leases(ctx); err != nil || !cmp.Equal(leases, []string{"7.1"}) {
		t.Errorf("Leases = %v, %v", leases, err)
	}
	if err := s.Drop(ctx, "7.1"); err != nil {
		t.Fatal(err)
	}
	if leases, err := s.Leases(ctx); err != nil || len(leases) != 0 {
		t.Errorf("Leases after Drop = %v, %v", leases, err)
	}
	if err := s.Drop(ctx, "7.1"); err != nil {
		t.Errorf("Drop of nothing: %v", err)
	}
}

func TestStagingRefuses(t *testing.T) {
	t.Parallel()
	s, ctx := newStaging(t), t.Context()
	store, _ := newDir(t)
	d := albs.DigestOf([]byte("right"))

	if _, err := s.Append(ctx, "1.1", d, 0, strings.NewReader("wrong"), 100); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Commit(ctx, "1.1", d, store); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Commit of wrong bytes: %v, want invalid", err)
	}
	if n, err := s.Held(ctx, "1.1", d); err != nil || n != 0 {
		t.Errorf("a refused upload is still held: %d, %v", n, err)
	}
	if _, err := s.Commit(ctx, "1.1", d, store); albs.KindOf(err) != albs.NotFound {
		t.Errorf("Commit of nothing: %v, want not_found", err)
	}
	if held, err := s.Append(ctx, "1.2", d, 0, strings.NewReader("right and more"), 5); albs.KindOf(err) != albs.TooLarge || held != 5 {
		t.Errorf("Append beyond max = %d, %v, want 5 and too_large", held, err)
	}
	if held, err := s.Append(ctx, "1.3", d, 0, strings.NewReader("rig"), 5); err != nil || held != 3 {
		t.Fatalf("Append of a part = %d, %v", held, err)
	}
	if held, err := s.Append(ctx, "1.3", d, 3, strings.NewReader("ht and more"), 5); albs.KindOf(err) != albs.TooLarge || held != 5 {
		t.Errorf("Append that goes on beyond max = %d, %v, want 5 and too_large", held, err)
	}
	for _, lease := range []string{"", ".", "..", "a/b", "../x", ".hidden", "-rf", "a\x00", strings.Repeat("x", 101)} {
		if _, err := s.Append(ctx, lease, d, 0, strings.NewReader("x"), 5); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Append for lease %q: %v, want invalid", lease, err)
		}
		if err := s.Drop(ctx, lease); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Drop of lease %q: %v, want invalid", lease, err)
		}
	}
	if _, err := s.Append(ctx, "1.1", "../../x", 0, strings.NewReader("x"), 5); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Append of a path for a digest: %v, want invalid", err)
	}
	if _, err := s.Open(ctx, "1.2", d, 6, -1); albs.KindOf(err) != albs.Invalid {
		t.Errorf("Open beyond the end: %v, want invalid", err)
	}
}

func TestStagingRefusesASecondWriter(t *testing.T) {
	t.Parallel()
	s, ctx := newStaging(t), t.Context()
	d := albs.DigestOf([]byte("ab"))
	pr, pw := io.Pipe()
	done := make(chan error)
	go func() {
		_, err := s.Append(ctx, "1.1", d, 0, pr, 100)
		done <- err
	}()
	if _, err := pw.Write([]byte("a")); err != nil { // returns once the first Append reads
		t.Fatal(err)
	}
	if _, err := s.Append(ctx, "1.1", d, 0, strings.NewReader("ab"), 100); albs.KindOf(err) != albs.Conflict {
		t.Errorf("second Append: %v, want conflict", err)
	}
	pw.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if held, err := s.Append(ctx, "1.1", d, 1, strings.NewReader("b"), 100); err != nil || held != 2 {
		t.Errorf("Append once the first has ended = %d, %v", held, err)
	}
}

// TestStagingGoesOnAfterACrash leaves an Append in the middle and goes on with a
// staging area opened anew.
func TestStagingGoesOnAfterACrash(t *testing.T) {
	t.Parallel()
	dir, ctx := t.TempDir(), t.Context()
	store, _ := newDir(t)
	b := bytes.Repeat([]byte("0123456789"), 1000)
	d := albs.DigestOf(b)
	dying := openStaging(t, dir)
	if held, err := dying.Append(ctx, "7.1", d, 0, bytes.NewReader(b[:1000]), 1<<20); err != nil || held != 1000 {
		t.Fatalf("Append = %d, %v", held, err)
	}
	pr, pw := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := dying.Append(ctx, "7.1", d, 1000, pr, 1<<20)
		done <- err
	}()
	if _, err := pw.Write(b[1000:5000]); err != nil { // returns once it is read
		t.Fatal(err)
	}

	s := openStaging(t, dir)
	held, err := s.Held(ctx, "7.1", d)
	if err != nil || held < 1000 {
		t.Fatalf("Held after the crash = %d, %v, want the acknowledged 1000 at least", held, err)
	}
	pw.CloseWithError(io.ErrUnexpectedEOF)
	if err := <-done; !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("the Append that was cut off = %v", err)
	}
	for _, off := range []int64{0, 999, 5001, 10_000} {
		if got, err := s.Append(ctx, "7.1", d, off, strings.NewReader("x"), 1<<20); albs.KindOf(err) != albs.Conflict || got != 5000 {
			t.Errorf("Append at %d = %d, %v, want 5000 and a conflict", off, got, err)
		}
	}
	if held, err := s.Append(ctx, "7.1", d, 5000, bytes.NewReader(b[5000:]), 1<<20); err != nil || held != 10_000 {
		t.Fatalf("Append of the rest = %d, %v", held, err)
	}
	if n, err := s.Commit(ctx, "7.1", d, store); err != nil || n != 10_000 {
		t.Errorf("Commit = %d, %v", n, err)
	}
}

func TestStagingDroppedMeanwhile(t *testing.T) {
	t.Parallel()
	s, ctx := newStaging(t), t.Context()
	d := albs.DigestOf([]byte("ab"))
	pr, pw := io.Pipe()
	type answer struct {
		held int64
		err  error
	}
	done := make(chan answer, 1)
	go func() {
		held, err := s.Append(ctx, "1.1", d, 0, pr, 100)
		done <- answer{held, err}
	}()
	if _, err := pw.Write([]byte("a")); err != nil { // returns once the Append reads
		t.Fatal(err)
	}
	if err := s.Drop(ctx, "1.1"); err != nil {
		t.Fatal(err)
	}
	pw.Close()
	if a := <-done; albs.KindOf(a.err) != albs.Conflict || a.held != 0 {
		t.Errorf("Append of what was dropped meanwhile = %d, %v, want 0 and a conflict", a.held, a.err)
	}
	if held, err := s.Held(ctx, "1.1", d); err != nil || held != 0 {
		t.Errorf("Held = %d, %v", held, err)
	}
}
