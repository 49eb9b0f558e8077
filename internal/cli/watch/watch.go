// Package watch follows what goes on at a server: until something is over, a build's
// steps and tests as they move, logs as they grow.
//
// Events of the server make it prompt, and looking again now and then makes it sure.
// It changes nothing: who breaks off leaves what goes on alone.
package watch

import (
	"context"
	"errors"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// Watch is a watcher at a terminal.
type Watch struct {
	*terminal.Terminal
	Poll   time.Duration // between two looks at what is waited for, when no event says that it moved
	Gap    time.Duration // at least this between two looks
	Outage time.Duration // how long waiting outlasts a server that doesn't answer
}

// New returns a Watch with the pauses that suit a person.
func New(t *terminal.Terminal) *Watch {
	return &Watch{Terminal: t, Poll: 2 * time.Second, Gap: 200 * time.Millisecond, Outage: 5 * time.Minute}
}

// Until looks until look says that it is done: whenever the server tells of an
// event under topic ("" for any), and every w.Poll in case the events don't come
// through. A server that is away for less than w.Outage is waited for. The error
// of a wait that was broken off says that goesOn.
func (w *Watch) Until(ctx context.Context, c *client.Client, topic string, m *terminal.Meter, goesOn string, look func(ctx context.Context) (done bool, err error)) error {
	err := w.until(ctx, c, topic, m, look)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return &terminal.ExitError{Code: terminal.ExitFailed, Err: errors.New("broken off; " + goesOn)}
	}
	return err
}

func (w *Watch) until(ctx context.Context, c *client.Client, topic string, m *terminal.Meter, look func(ctx context.Context) (done bool, err error)) error {
	defer m.End()
	ctx, cancel := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel()
	wake := make(chan struct{}, 1)
	follower.Go(func() {
		// Events only make it prompt: when they fail for good, Poll is left.
		_ = c.Events(ctx, topic, func(client.Event) error {
			select {
			case wake <- struct{}{}:
			default:
			}
			return nil
		})
	})
	heard, away := w.Now(), false
	for {
		done, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, albs.Unavailable) && w.Now().Sub(heard) < w.Outage:
			if !away {
				m.Line("%v; waiting for it", err)
			}
			away = true
		case err != nil:
			return err
		default:
			if away {
				m.Line("the server is back")
			}
			if done {
				return nil
			}
			heard, away = w.Now(), false
		}
		if !pause(ctx, w.Gap, nil) || !pause(ctx, w.Poll, wake) {
			return ctx.Err()
		}
	}
}

// pause waits for d, or until wake, and reports whether ctx goes on.
func pause(ctx context.Context, d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-wake:
	case <-t.C:
	}
	return ctx.Err() == nil
}
