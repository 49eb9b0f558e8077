package fleet

import (
	"context"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/queue/schedule"
)

// Two processes over one database know the same of a worker, whichever of them it
// called last, and what is decided is not touched by what it offers.
func TestTwoProcesses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		at := db.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		events := event.New(d, zerolog.Nop())
		one := New(d, events, func() db.Time { return at }, zerolog.Nop())
		two := New(d, events, func() db.Time { return at }, zerolog.Nop())
		known := func(f *Fleet) Worker {
			t.Helper()
			f.Forget()
			if err := f.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			ws := f.Known()
			if len(ws) != 1 {
				t.Fatalf("Known = %+v, want one worker", ws)
			}
			return ws[0]
		}
		flush := func(f *Fleet) {
			t.Helper()
			if err := f.Flush(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		offer := func(f *Fleet, disk int64) {
			f.Offered(schedule.Worker{ID: 7, Name: "n", Labels: []string{"kind:build"}, Room: schedule.Room{Cores: 4, Disk: disk}}, "v1", "")
		}
		offer(one, 100<<30)
		flush(one)
		if w := known(two); w.Name != "n" || w.Room.Disk != 100<<30 || !w.Seen.Equal(at.Time) {
			t.Errorf("the second process knows %+v", w)
		}
		operator := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "o", Grants: []auth.Grant{{Role: auth.Operator}}})
		if err := two.Drain(operator, "n", "x"); err != nil {
			t.Fatal(err)
		}

		// It goes over to the second, with a little less disk, and then with much less.
		at = db.At(at.Add(time.Minute))
		offer(two, 90<<30)
		flush(two)
		one.Seen(auth.Actor{Worker: 7, Name: "n"})
		at = db.At(at.Add(time.Minute))
		two.Seen(auth.Actor{Worker: 7, Name: "n"})
		flush(two)
		flush(one) // which saw it earlier
		for _, f := range []*Fleet{one, two} {
			if w := known(f); !w.Seen.Equal(at.Time) || w.Drained.IsZero() || w.DrainReason != "x" {
				t.Errorf("known = %+v, want it seen at %v and drained", w, at)
			}
		}
		if w := known(two); w.Room.Disk != 90<<30 {
			t.Errorf("disk = %d", w.Room.Disk)
		}
	})
}

func TestDiffers(t *testing.T) {
	t.Parallel()
	row := workerRow{WorkerID: 1, Name: "n", Labels: "a", Cores: 4, Memory: 8, Disk: 100 << 30}
	for name, test := range map[string]struct {
		change func(r *workerRow)
		want   bool
	}{
		"nothing":    {func(*workerRow) {}, false},
		"seen":       {func(r *workerRow) { r.SeenAt = db.Now() }, false},
		"a bit full": {func(r *workerRow) { r.Disk -= 1 << 20 }, false},
		"full":       {func(r *workerRow) { r.Disk = 0 }, true},
		"labels":     {func(r *workerRow) { r.Labels = "a b" }, true},
		"memory":     {func(r *workerRow) { r.Memory = 16 }, true},
		"version":    {func(r *workerRow) { r.Version = "v2" }, true},
	} {
		other := row
		test.change(&other)
		if got := differs(row, other); got != test.want {
			t.Errorf("%s: differs = %v, want %v", name, got, test.want)
		}
	}
}

// A worker that was seen before the clock was put back isn't there because of that, and
// is once it is seen again.
func TestClockPutBack(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		at := db.At(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		seen := func(want db.Time) {
			t.Helper()
			f := New(d, event.New(d, zerolog.Nop()), func() db.Time { return at }, zerolog.Nop())
			if err := f.Read(t.Context()); err != nil {
				t.Fatal(err)
			}
			if ws := f.Known(); len(ws) != 1 || !ws[0].Seen.Equal(want.Time) {
				t.Errorf("Known = %+v, want one worker seen at %v", ws, want)
			}
		}
		f := New(d, event.New(d, zerolog.Nop()), func() db.Time { return at }, zerolog.Nop())
		f.Offered(schedule.Worker{ID: 7, Name: "n"}, "v1", "")
		if err := f.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen(at)
		at = db.At(at.Add(-time.Hour))
		seen(db.Time{})
		f.Seen(auth.Actor{Worker: 7, Name: "n"})
		if err := f.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		seen(at)
	})
}

// A failed write is made up for by the next.
func TestFlushAgain(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.SQLite(t))
	f := New(d, event.New(d, zerolog.Nop()), db.Now, zerolog.Nop())
	f.Offered(schedule.Worker{ID: 7, Name: "n"}, "v1", "")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := f.Flush(ctx); err == nil {
		t.Fatal("Flush succeeded without a context")
	}
	if err := f.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	rows, err := selectWorkers(t.Context(), d)
	if err != nil || len(rows) != 1 || rows[0].WorkerID != albs.WorkerID(7) {
		t.Errorf("workers = %+v, %v", rows, err)
	}
}
