package worker

import (
	"bytes"
	"context"
	"errors"
	"strings"
	"testing"

	"albs/internal/albs"
)

// logMaster takes log like a master that can be set back.
type logMaster struct {
	Master
	log   []byte
	calls int
	away  bool
}

func (m *logMaster) Log(_ context.Context, _ Token, _ string, offset int64, p []byte) (int64, error) {
	m.calls++
	if m.away {
		return 0, albs.Errorf(albs.Unavailable, "away")
	}
	if offset > int64(len(m.log)) {
		return int64(len(m.log)), albs.Errorf(albs.Conflict, "beyond the end")
	}
	if skip := int64(len(m.log)) - offset; skip < int64(len(p)) {
		m.log = append(m.log, p[skip:]...)
	}
	return int64(len(m.log)), nil
}

func newStream(t *testing.T, full chan struct{}) (*attempt, *logStream) {
	t.Helper()
	s, err := openSpool(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.close() })
	a, err := s.begin(&Lease{Token: Token{Task: 1, Fence: 1}})
	if err != nil {
		t.Fatal(err)
	}
	st, err := openStream(a, "build", full)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = st.close() })
	return a, st
}

func TestLogIsCut(t *testing.T) {
	t.Parallel()
	_, st := newStream(t, make(chan struct{}, 1))
	st.limit = 200
	var m logMaster
	for range 50 {
		if n, err := st.Write([]byte("0123456789")); n != 10 || err != nil {
			t.Fatalf("Write = %d, %v; want 10", n, err)
		}
	}
	if err := st.send(t.Context(), &m); err != nil {
		t.Fatal(err)
	}
	if len(m.log) != 200 || !strings.HasSuffix(string(m.log), cutNotice) || strings.Count(string(m.log), "cut here") != 1 {
		t.Errorf("log of %d bytes: %q; want 200 that end in one notice", len(m.log), m.log)
	}
}

func TestLogSend(t *testing.T) {
	t.Parallel()
	full := make(chan struct{}, 1)
	a, st := newStream(t, full)
	var m logMaster
	big := bytes.Repeat([]byte("0123456789abcdef"), 3*MaxLogChunk/16/2) // 1.5 chunks
	if _, err := st.Write(big); err != nil {
		t.Fatal(err)
	}
	select {
	case <-full:
	default:
		t.Error("a full batch was not told of")
	}
	m.away = true
	if err := st.send(t.Context(), &m); !errors.Is(err, albs.Unavailable) {
		t.Errorf("send while away = %v, want Unavailable", err)
	}
	m.away, m.calls = false, 0
	if err := st.send(t.Context(), &m); err != nil || !bytes.Equal(m.log, big) || m.calls != 2 {
		t.Errorf("send = %v, %d bytes in %d calls; want %d in 2", err, len(m.log), m.calls, len(big))
	}
	// A master that was set back gets the rest again.
	m.log = m.log[:100]
	if _, err := st.Write([]byte("more")); err != nil {
		t.Fatal(err)
	}
	want := append(bytes.Clone(big), "more"...)
	if err := st.send(t.Context(), &m); err != nil || !bytes.Equal(m.log, want) {
		t.Errorf("send after a set-back = %v, %d bytes, want %d", err, len(m.log), len(want))
	}
	// A later run asks where to go on.
	again, err := openStream(a, "build", full)
	if err != nil {
		t.Fatal(err)
	}
	defer again.close()
	m.log, m.calls = m.log[:len(want)-2], 0
	if err := again.send(t.Context(), &m); err != nil || !bytes.Equal(m.log, want) || m.calls != 2 {
		t.Errorf("send of a later run = %v, %d bytes in %d calls; want %d in 2", err, len(m.log), m.calls, len(want))
	}
}
