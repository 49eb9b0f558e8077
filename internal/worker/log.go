package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"sync"

	"albs/internal/albs"
)

const logBatch = 64 << 10 // bytes that are sent without waiting for the flush time

const cutNotice = "\n[albs: this log was cut here, it has reached its limit of 256 MiB]\n"

// logStream is one log: a file that the job appends to and from which the master
// is served at its own pace, so that neither an absent master nor a slow one
// costs memory or holds up the work.
type logStream struct {
	name  string
	token Token
	full  chan<- struct{} // told when a batch is there
	limit int64           // MaxLog but in tests

	mu    sync.Mutex
	file  *os.File
	size  int64
	acked int64 // what the master has; -1: ask it
	cut   bool
}

// openStream opens or goes on with the stream name of a.
func openStream(a *attempt, name string, full chan<- struct{}) (*logStream, error) {
	f, err := os.OpenFile(a.logPath(name), os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open log: %w", err)
	}
	info, err := f.Stat()
	if err != nil {
		_ = f.Close()
		return nil, fmt.Errorf("open log: %w", err)
	}
	s := &logStream{name: name, token: a.Token, full: full, limit: MaxLog, file: f, size: info.Size()}
	if s.size > 0 {
		s.acked = -1
	}
	return s, nil
}

// Write implements io.Writer. Beyond the limit it writes a notice once and takes
// the rest for written, so that the job goes on.
func (s *logStream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cut {
		return len(p), nil
	}
	b := p
	if room := s.limit - s.size - int64(len(cutNotice)); int64(len(b)) > room {
		b = append(append([]byte(nil), b[:max(0, room)]...), cutNotice...)
		s.cut = true
	}
	n, err := s.file.Write(b)
	s.size += int64(n)
	if s.size-max(0, s.acked) >= logBatch {
		select {
		case s.full <- struct{}{}:
		default:
		}
	}
	if err != nil {
		return min(n, len(p)), fmt.Errorf("write log %s: %w", s.name, err)
	}
	return len(p), nil
}

// send brings the master up to what is written now. Only one goroutine may send.
func (s *logStream) send(ctx context.Context, m Master) error {
	s.mu.Lock()
	acked, size := s.acked, s.size
	s.mu.Unlock()
	if acked < 0 {
		length, err := m.Log(ctx, s.token, s.name, 0, nil)
		if err != nil {
			return err
		}
		acked = min(length, size)
	}
	buf := make([]byte, MaxLogChunk)
	for acked < size {
		n, err := s.file.ReadAt(buf[:min(int64(len(buf)), size-acked)], acked)
		if err != nil && !(errors.Is(err, io.EOF) && n > 0) {
			return fmt.Errorf("read log %s: %w", s.name, err)
		}
		length, err := m.Log(ctx, s.token, s.name, acked, buf[:n])
		switch {
		case err == nil:
		case errors.Is(err, albs.Conflict) && length < acked:
			// The master has less than it once said: it was set back.
		default:
			return err
		}
		acked = min(length, size)
		s.mu.Lock()
		s.acked, size = acked, s.size
		s.mu.Unlock()
	}
	return nil
}

func (s *logStream) close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cut = true // later writes go nowhere
	return s.file.Close()
}
