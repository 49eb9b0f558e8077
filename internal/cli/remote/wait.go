package remote

import (
	"context"
	"errors"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/cli/terminal"
	"albs/internal/client"
)

// wait looks until look says that it is done: whenever the server tells of an
// event under topic ("" for any), and every a.poll in case the events don't come
// through. A server that is away for less than a.outage is waited for. ctx's end
// is returned as such.
func (a *App) wait(ctx context.Context, c *client.Client, topic string, m *terminal.Meter, look func(ctx context.Context) (done bool, err error)) error {
	defer m.End()
	ctx, cancel := context.WithCancel(ctx)
	var follower sync.WaitGroup
	defer follower.Wait()
	defer cancel()
	wake := make(chan struct{}, 1)
	follower.Go(func() {
		// Events only make it prompt: when they fail for good, a.poll is left.
		_ = c.Events(ctx, topic, func(client.Event) error {
			select {
			case wake <- struct{}{}:
			default:
			}
			return nil
		})
	})
	heard, away := a.Now(), false
	for {
		done, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, albs.Unavailable) && a.Now().Sub(heard) < a.outage:
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
			heard, away = a.Now(), false
		}
		if !pause(ctx, a.gap, nil) || !pause(ctx, a.poll, wake) {
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
