package further

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// progress says now and then how far long work is.
type progress struct {
	log  io.Writer
	mu   sync.Mutex
	next time.Time
}

const sayEvery = 10 * time.Second

func newProgress(log io.Writer) *progress {
	return &progress{log: log, next: time.Now().Add(sayEvery)}
}

func (p *progress) say(format string, args ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if now := time.Now(); now.After(p.next) {
		p.next = now.Add(sayEvery)
		fmt.Fprintf(p.log, format+"\n", args...)
	}
}
