package cli

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// meter shows how long work goes on: a line for each thing that happened, and on a
// terminal a last line with the state as it is, written over again and again.
type meter struct {
	w      io.Writer
	width  int // of the terminal; 0 for none
	status string
}

func (a *app) newMeter() *meter {
	m := &meter{w: a.stderr}
	if width, ok := a.terminal(a.stderr); ok && width > 1 {
		m.width = width
	}
	return m
}

// line adds a line that stays.
func (m *meter) line(format string, args ...any) {
	m.clear()
	_, _ = fmt.Fprintln(m.w, printable(fmt.Sprintf(format, args...)))
	m.draw()
}

// now sets the last line.
func (m *meter) now(status string) {
	m.clear()
	m.status = status
	m.draw()
}

// end takes the last line away.
func (m *meter) end() {
	m.clear()
	m.status = ""
}

func (m *meter) clear() {
	if m.width > 0 && m.status != "" {
		_, _ = io.WriteString(m.w, "\r\x1b[K")
	}
}

func (m *meter) draw() {
	if m.width > 0 && m.status != "" {
		line := []rune(printable(m.status))
		_, _ = io.WriteString(m.w, string(line[:min(len(line), m.width-1)]))
	}
}

// wait looks until look says that it is done: whenever the server tells of an
// event under topic ("" for any), and every a.poll in case the events don't come
// through. A server that is away for less than a.outage is waited for. ctx's end
// is returned as such.
func (a *app) wait(ctx context.Context, c *client.Client, topic string, m *meter, look func(ctx context.Context) (done bool, err error)) error {
	defer m.end()
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
	heard, away := a.now(), false
	for {
		done, err := look(ctx)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, albs.Unavailable) && a.now().Sub(heard) < a.outage:
			if !away {
				m.line("%v; waiting for it", err)
			}
			away = true
		case err != nil:
			return err
		default:
			if away {
				m.line("the server is back")
			}
			if done {
				return nil
			}
			heard, away = a.now(), false
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
