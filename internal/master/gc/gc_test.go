package gc

import (
	"context"
	"errors"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/retention"
)

func TestConfig(t *testing.T) {
	t.Parallel()
	for name, tt := range map[string]struct {
		c    Config
		good bool
	}{
		"nothing":                    {Config{}, true},
		"never":                      {Config{Every: -time.Second, Failed: -time.Second}, true},
		"all":                        {Config{Every: time.Hour, Grace: 2 * time.Hour, Failed: 2 * time.Hour, Unreleased: 3 * time.Hour}, true},
		"too often":                  {Config{Every: time.Second}, false},
		"no grace":                   {Config{Grace: time.Minute}, false},
		"grace below zero":           {Config{Grace: -time.Hour}, false},
		"failed below grace":         {Config{Failed: time.Hour}, false},
		"unreleased below grace":     {Config{Unreleased: time.Hour}, false},
		"unreleased below zero":      {Config{Unreleased: -time.Second}, false},
		"failed below another grace": {Config{Grace: 100 * day}, false},
	} {
		if _, err := New(Parts{}, tt.c); (err == nil) != tt.good || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: New = %v, want good %v", name, err, tt.good)
		}
	}
}

func TestDue(t *testing.T) {
	t.Parallel()
	now := time.Now()
	c := Config{Failed: 10 * day, Unreleased: 20 * day}
	for _, tt := range []struct {
		c     Config
		state status.State
		days  int // since it ended; -1 for not
		want  bool
	}{
		{c, status.Failed, 9, false}, {c, status.Failed, 10, true}, {c, status.Cancelled, 10, true},
		{c, status.Succeeded, 19, false}, {c, status.Succeeded, 20, true},
		{c, status.Running, 100, false}, {c, status.Queued, 100, false}, {c, status.Failed, -1, false},
		{Config{Failed: -1}, status.Failed, 1000, false}, {Config{Failed: day}, status.Succeeded, 1000, false},
	} {
		s := status.Status{State: tt.state}
		if tt.days >= 0 {
			s.Finished = now.Add(-time.Duration(tt.days) * day)
		}
		if got := tt.c.due(s, now); got != tt.want {
			t.Errorf("%+v with a build that is %s since %d days: due %v, want %v", tt.c, tt.state, tt.days, got, tt.want)
		}
	}
}

// builds are some that ended long ago, by id; of some somebody rests on them.
type builds struct {
	n      albs.BuildID
	kept   map[albs.BuildID]error
	busy   map[albs.BuildID]error
	gone   []albs.BuildID
	states map[albs.BuildID]status.State
}

func (b *builds) List(_ context.Context, f build.Filter) (page []build.Summary, more bool, err error) {
	for id := b.n; id > 0; id-- {
		if f.Before > 0 && id >= f.Before {
			continue
		}
		if len(page) == f.Limit {
			return page, true, nil
		}
		page = append(page, build.Summary{ID: id, Status: status.Status{State: b.states[id], Finished: time.Unix(1, 0)}})
	}
	return page, false, nil
}

func (b *builds) Kept(_ context.Context, id albs.BuildID) error { return b.kept[id] }

func (b *builds) Expire(_ context.Context, id albs.BuildID) error {
	if err := b.busy[id]; err != nil {
		return err
	}
	b.gone = append(b.gone, id)
	return nil
}

// given are the serials that products don't keep.
type given []retention.Retired

func (g given) Apply(context.Context, time.Time, bool) ([]retention.Retired, error) { return g, nil }

type noMirrors struct{}

func (noMirrors) Clean(context.Context, time.Time, bool) (int, error) { return 0, nil }

func TestCollect(t *testing.T) {
	t.Parallel()
	m := mastertest.Open(t, dbtest.Open(t, dbtest.SQLite(t)), mastertest.Config{})
	b := &builds{
		n: 250, states: map[albs.BuildID]status.State{3: status.Failed, 4: status.Failed, 7: status.Succeeded, 120: status.Cancelled, 249: status.Failed, 250: status.Failed},
		kept: map[albs.BuildID]error{4: albs.Errorf(albs.Conflict, "released")}, busy: map[albs.BuildID]error{249: albs.Errorf(albs.Conflict, "retried")},
	}
	past := given{{Product: "demo", Serials: []int64{1, 2}, Oldest: 3}}
	c, err := New(Parts{DB: m.DB, Artifacts: m.Artifacts, Retention: past, Builds: b, Logs: m.Queue, Mirrors: noMirrors{}, Log: zerolog.Nop()}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.System(t.Context(), "retention")
	if r := c.Collect(ctx, true, time.Now()); r.Error != "" || !cmp.Equal(r.Builds, []albs.BuildID{250, 249, 120, 3}) || b.gone != nil {
		t.Errorf("a dry run = %+v, and %v were deleted", r, b.gone)
	}
	want := []albs.BuildID{250, 120, 3}
	if r := c.Collect(ctx, false, time.Now()); r.Error != "" || !cmp.Equal(r.Builds, want) || !cmp.Equal(b.gone, want) || !cmp.Equal(r.Retired, []retention.Retired(past)) {
		t.Errorf("a collection = %+v, and %v were deleted", r, b.gone)
	}
	b.kept[3] = errors.New("a disk")
	if r := c.Collect(ctx, false, time.Now()); r.Error != "delete builds: build 3: a disk" {
		t.Errorf("a collection that fails = %+v", r)
	}
}

// TestAsk has collections begun, one at a time.
func TestAsk(t *testing.T) {
	t.Parallel()
	m := mastertest.Open(t, dbtest.Open(t, dbtest.SQLite(t)), mastertest.Config{})
	c, err := New(Parts{DB: m.DB, Artifacts: m.Artifacts, Retention: given{}, Builds: &builds{}, Logs: m.Queue, Mirrors: noMirrors{}, Log: zerolog.Nop()}, Config{Every: -time.Second})
	if err != nil {
		t.Fatal(err)
	}
	ctx := auth.System(t.Context(), "test")
	if _, err := c.Ask(t.Context(), true); !errors.Is(err, albs.Unauthenticated) {
		t.Errorf("Ask by nobody = %v", err)
	}
	if _, err := c.State(t.Context()); !errors.Is(err, albs.Unauthenticated) {
		t.Errorf("State for nobody = %v", err)
	}
	before, err := c.Ask(ctx, true)
	if err != nil || before != 0 {
		t.Fatalf("Ask = %d, %v", before, err)
	}
	if _, err := c.Ask(ctx, false); !errors.Is(err, albs.Conflict) {
		t.Errorf("Ask while one is asked for = %v, want Conflict", err)
	}
	mastertest.Run(t, c.Run)
	ended(t, c, before)
}

// TestAskBeside asks the one of several masters that doesn't collect by itself.
func TestAskBeside(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	m := mastertest.Open(t, d, mastertest.Config{})
	c, err := New(Parts{DB: m.DB, Artifacts: m.Artifacts, Retention: given{}, Builds: &builds{}, Logs: m.Queue, Mirrors: noMirrors{}, Log: zerolog.Nop()}, Config{})
	if err != nil {
		t.Fatal(err)
	}
	leads := make(chan struct{})
	lead := sync.OnceFunc(func() { close(leads) })
	mastertest.Run(t, func(ctx context.Context) error {
		return d.Leader(ctx, "gc", func(ctx context.Context) error {
			lead()
			<-ctx.Done()
			return ctx.Err()
		})
	})
	<-leads
	mastertest.Run(t, c.Run)
	before, err := c.Ask(auth.System(t.Context(), "test"), true)
	if err != nil {
		t.Fatal(err)
	}
	ended(t, c, before)
}

// ended waits for the end of a dry run and looks at the state after it.
func ended(t *testing.T, c *Collector, before int) {
	t.Helper()
	ctx := auth.System(t.Context(), "test")
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		s, err := c.State(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if s.Runs > before {
			if s.Last == nil || !s.Last.DryRun || s.Last.Error != "" || s.Queued || s.Step != "" {
				t.Errorf("the state after it is %+v", s)
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no collection ended")
		}
	}
}
