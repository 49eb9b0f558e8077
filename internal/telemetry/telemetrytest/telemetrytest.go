// Package telemetrytest holds what a test needs to look at a log. It is for tests
// only.
package telemetrytest

import (
	"bytes"
	"sync"
)

// Log keeps what is written to it. It may be read while others write.
type Log struct {
	mu sync.Mutex
	b  bytes.Buffer
}

// Write implements io.Writer.
func (l *Log) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

// String returns all that was written so far.
func (l *Log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}
