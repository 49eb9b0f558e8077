package node

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/worker"
	"albs/internal/worker/guard"
)

const gib = 1 << 30

// space is what a test lets a guard see.
type space struct{ free atomic.Int64 }

func (d *space) stat(string) (free, size int64, err error) { return d.free.Load(), 1000 * gib, nil }

// TestPause: below its bound a node offers nothing and says why, in the offer each time
// and in its log once; above it, all its arches.
func TestPause(t *testing.T) {
	t.Parallel()
	var said bytes.Buffer
	var d space
	g := guard.New(0, zerolog.New(&said), "/roots")
	g.Stat = d.stat
	c := Config{Arch: albs.X8664, Sandbox: sandbox.Config{Emulators: []emulator.Emulator{{Arch: albs.AArch64}}}}
	d.free.Store(10*gib - 1)
	for range 2 {
		o := c.offer("1", g)
		if len(o.Labels) > 0 || !strings.Contains(o.Pause, "10239 MiB of disk are free in /roots") || o.Disk != 10*gib-1 {
			t.Errorf("offer with little disk = %+v", o)
		}
	}
	d.free.Store(10 * gib)
	o := c.offer("1", g)
	if want := "kind:source kind:build kind:rebuild arch:x86_64 arch:aarch64 emulated:aarch64"; strings.Join(o.Labels, " ") != want || o.Pause != "" {
		t.Errorf("offer with enough disk = %+v, want the labels %s", o, want)
	}
	if got := strings.Count(said.String(), "\n"); got != 2 || !strings.Contains(said.String(), "no task is taken") || !strings.Contains(said.String(), "taken again") {
		t.Errorf("the log says:\n%s", said.String())
	}
	g.Stat = func(string) (int64, int64, error) { return 0, 0, errors.New("no such disk") }
	if o := c.offer("1", g); o.Pause != "" || o.Disk != 0 {
		t.Errorf("offer with a disk that can't be looked at = %+v", o)
	}
}

// TestNoRoom: a node with too little disk claims nothing, and says so to the master.
func TestNoRoom(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.build(albs.Root{Arch: albs.X8664})
	m := offered{w.fake.As(w.bearer), make(chan worker.Offer, 1)}
	w.start(t, func(ctx context.Context) error {
		return work(ctx, w.config, "test", engine{}, m, w.depot, guard.New(1<<60, zerolog.Nop(), w.config.Work), zerolog.Nop())
	})
	if o := <-m.offers; !strings.Contains(o.Pause, "min_free") {
		t.Errorf("the offer is %+v", o)
	}
	if s := w.fake.StateOf(id); s != albs.TaskQueued {
		t.Errorf("the task is %s", s)
	}
}

// offered is a master that tells what it was offered, and holds no poll.
type offered struct {
	worker.Master
	offers chan worker.Offer
}

func (m offered) Claim(ctx context.Context, o worker.Offer) (*worker.Lease, error) {
	o.Wait = 0
	l, err := m.Master.Claim(ctx, o)
	select {
	case m.offers <- o:
	default:
	}
	return l, err
}

// TestDiskFull: when the disk gets full under a task it ends as infra, whatever the work
// itself says of it, and its files are gone.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	for name, fault := range map[string]error{"stopped": nil, "failed by itself": albs.Errorf(albs.Invalid, "no space left on device")} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			var d space
			d.free.Store(100 * gib)
			g := guard.New(0, zerolog.Nop(), "/roots")
			g.Stat, g.Every = d.stat, 10*time.Millisecond
			id := w.build(albs.Root{Arch: albs.X8664})
			stop := w.start(t, func(ctx context.Context) error {
				return work(ctx, w.config, "test", engine{build: func(ctx context.Context, j buildroot.BuildJob) (buildroot.Output, error) {
					leave(t, j.Out, "big.rpm")
					d.free.Store(2 * gib)
					<-ctx.Done()
					if fault != nil {
						return buildroot.Output{}, fault
					}
					return buildroot.Output{}, context.Cause(ctx)
				}}, w.fake.As(w.bearer), w.depot, g, zerolog.Nop())
			})
			outcome, r := w.end(t, id)
			if outcome != albs.OutcomeInfra || !strings.Contains(r.Reason, "disk is full: 2048 MiB are free in /roots") {
				t.Errorf("the task ended %s, %q", outcome, r.Reason)
			}
			stop()
			if left, err := os.ReadDir(w.config.Work); err != nil || len(left) > 0 {
				t.Errorf("left in the work folder: %v, %v", left, err)
			}
		})
	}
}
