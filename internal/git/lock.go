package git

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"albs/internal/albs"
)

// lock takes the mirror's lock among this process's goroutines and then, by
// flock(2) on a file beside the mirror, among processes. It fails with
// Unavailable at the end of ctx.
func (m *Mirrors) lock(ctx context.Context, name string) (unlock func(), err error) {
	m.mu.Lock()
	held := m.locks[name]
	if held == nil {
		held = make(chan struct{}, 1)
		m.locks[name] = held
	}
	m.mu.Unlock()
	select {
	case held <- struct{}{}:
	case <-ctx.Done():
		return nil, albs.Errorf(albs.Unavailable, "wait for the mirror: %w", context.Cause(ctx))
	}
	f, err := os.OpenFile(filepath.Join(m.dir, name+".lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		<-held
		return nil, albs.Errorf(albs.Unavailable, "lock the mirror: %w", err)
	}
	// A blocking flock cannot be called off, hence the polling.
	for {
		err = syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if err == nil {
			return func() {
				_ = f.Close() // releases the lock
				<-held
			}, nil
		}
		wait := time.NewTimer(50 * time.Millisecond)
		select {
		case <-wait.C:
		case <-ctx.Done():
			err = context.Cause(ctx)
		}
		wait.Stop()
		if ctx.Err() != nil || (!errors.Is(err, syscall.EWOULDBLOCK) && !errors.Is(err, syscall.EINTR)) {
			_ = f.Close()
			<-held
			return nil, albs.Errorf(albs.Unavailable, "lock the mirror: %w", err)
		}
	}
}
