package event_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
)

func add(t *testing.T, d *db.DB, l *event.Log, topics ...string) {
	t.Helper()
	err := d.InTx(t.Context(), func(tx db.Tx) error {
		for _, topic := range topics {
			if err := l.Add(t.Context(), tx, "thing.happened", topic, "system", map[string]string{"topic": topic}); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Add(%v): %v", topics, err)
	}
}

func topics(es []event.Event) []string {
	var ts []string
	for _, e := range es {
		ts = append(ts, e.Topic)
	}
	return ts
}

// settled reads all events of topic once there are n: another test's transaction
// in the same cluster may hold them back for a moment.
func settled(t *testing.T, l *event.Log, topic string, n int) []event.Event {
	t.Helper()
	for {
		es, err := l.Since(t.Context(), 0, topic, 1000)
		if err != nil {
			t.Fatalf("Since(0, %q): %v", topic, err)
		}
		if len(es) >= n {
			return es
		}
		wait(t, nil)
	}
}

// wait returns when c receives, or after a moment if c is nil; the test fails
// when c doesn't in good time.
func wait(t *testing.T, c <-chan struct{}) {
	t.Helper()
	long := 20 * time.Second
	if c == nil {
		long = 5 * time.Millisecond
	}
	select {
	case <-c:
	case <-t.Context().Done():
		t.Fatal("the test ended while waiting")
	case <-time.After(long):
		if c != nil {
			t.Fatalf("nothing came within %v", long)
		}
	}
}

func TestAddSince(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		if id, err := l.Last(t.Context()); id != 0 || err != nil {
			t.Errorf("Last of an empty log = %d, %v; want 0, nil", id, err)
		}
		add(t, d, l, "build:1", "build:2", "build:1")
		es := settled(t, l, "", 3)
		if diff := cmp.Diff([]string{"build:1", "build:2", "build:1"}, topics(es)); diff != "" {
			t.Errorf("Since(0, all) (-want +got):\n%s", diff)
		}
		var data map[string]string
		if err := json.Unmarshal(es[1].Data, &data); err != nil || data["topic"] != "build:2" {
			t.Errorf("data = %s, %v", es[1].Data, err)
		}
		if es[0].Kind != "thing.happened" || es[0].Actor != "system" || time.Since(es[0].At.Time) > time.Minute {
			t.Errorf("event = %+v", es[0])
		}
		for _, test := range []struct {
			name  string
			after int64
			topic string
			limit int
			want  []int64
		}{
			{"one topic", 0, "build:1", 10, []int64{es[0].ID, es[2].ID}},
			{"after the first", es[0].ID, "", 10, []int64{es[1].ID, es[2].ID}},
			{"limit", 0, "", 1, []int64{es[0].ID}},
			{"after the last", es[2].ID, "", 10, nil},
			{"after an id that never was", es[2].ID + 1000, "", 10, nil},
			{"other topic", 0, "build:3", 10, nil},
		} {
			got, err := l.Since(t.Context(), test.after, test.topic, test.limit)
			var ids []int64
			for _, e := range got {
				ids = append(ids, e.ID)
			}
			if err != nil || !slices.Equal(ids, test.want) {
				t.Errorf("%s: Since(%d, %q) = %v, %v; want %v", test.name, test.after, test.topic, ids, err, test.want)
			}
		}
		if id, err := l.Last(t.Context()); id != es[2].ID || err != nil {
			t.Errorf("Last = %d, %v; want %d", id, err, es[2].ID)
		}
	})
}

func TestAddRefuses(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		for _, test := range []struct {
			name, kind, topic, actor string
			data                     any
			want                     albs.Kind
		}{
			{"no kind", "", "t", "a", nil, albs.Invalid},
			{"no topic", "k", "", "a", nil, albs.Invalid},
			{"no actor", "k", "t", "", nil, albs.Invalid},
			{"long topic", "k", strings.Repeat("t", event.MaxName+1), "a", nil, albs.TooLarge},
			{"much data", "k", "t", "a", strings.Repeat("x", event.MaxData), albs.TooLarge},
		} {
			err := d.InTx(t.Context(), func(tx db.Tx) error {
				return l.Add(t.Context(), tx, test.kind, test.topic, test.actor, test.data)
			})
			if got := albs.KindOf(err); got != test.want {
				t.Errorf("%s: %v, want %s", test.name, err, test.want)
			}
		}
	})
}

func TestRolledBackNeverHappened(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		wake, stop := l.Wake("build:1")
		defer stop()
		undo := errors.New("undo")
		err := d.InTx(t.Context(), func(tx db.Tx) error {
			if err := l.Add(t.Context(), tx, "k.d", "build:1", "system", nil); err != nil {
				return err
			}
			return undo
		})
		if !errors.Is(err, undo) {
			t.Fatalf("InTx = %v", err)
		}
		add(t, d, l, "build:2")
		if got := topics(settled(t, l, "", 1)); !slices.Equal(got, []string{"build:2"}) {
			t.Errorf("events = %v, want build:2 alone", got)
		}
		select {
		case <-wake:
			t.Error("a rolled back event woke its topic")
		default:
		}
	})
}

// Two transactions commit in another order than they took ids; a reader that
// goes on from what it saw must still see both.
func TestNothingIsSkipped(t *testing.T) {
	t.Parallel()
	d := dbtest.Open(t, dbtest.Postgres(t))
	l := event.New(d, zerolog.Nop())
	for _, test := range []struct {
		name string
		// first makes the slow transaction take its transaction id before the
		// fast one does, or only with its event.
		first bool
	}{{"slow has the lower txid", true}, {"slow has the lower id", false}} {
		began, seen := make(chan struct{}), make(chan struct{})
		slow := make(chan error, 1)
		from, err := l.Last(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		both := "both:" + test.name
		if test.first {
			go func() {
				slow <- d.InTx(t.Context(), func(tx db.Tx) error {
					if _, err := tx.ExecContext(t.Context(), `SELECT txid_current()`); err != nil {
						return err
					}
					close(began)
					<-seen
					return l.Add(t.Context(), tx, "k.slow", both, "system", nil)
				})
			}()
			<-began
			add(t, d, l, both)
		} else {
			// The fast one takes its transaction id, the slow one an id of an event,
			// the fast one the next id and commits.
			err := d.InTx(t.Context(), func(tx db.Tx) error {
				if _, err := tx.ExecContext(t.Context(), `SELECT txid_current()`); err != nil {
					return err
				}
				go func() {
					slow <- d.InTx(t.Context(), func(tx db.Tx) error {
						if err := l.Add(t.Context(), tx, "k.slow", both, "system", nil); err != nil {
							return err
						}
						close(began)
						<-seen
						return nil
					})
				}()
				<-began
				return l.Add(t.Context(), tx, "k.fast", both, "system", nil)
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		// What a reader sees now, and where it goes on.
		before, err := l.Since(t.Context(), from, both, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(before) > 0 {
			from = before[len(before)-1].ID
		}
		close(seen)
		if err := <-slow; err != nil {
			t.Fatal(err)
		}
		settled(t, l, both, 2)
		after, err := l.Since(t.Context(), from, both, 10)
		if err != nil {
			t.Fatal(err)
		}
		if len(before)+len(after) != 2 {
			t.Errorf("%s: read %d events before and %d after, want 2 in all", test.name, len(before), len(after))
		}
	}
}

func TestWake(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		one, stopOne := l.Wake("build:1")
		two, stopTwo := l.Wake("build:2")
		all, stopAll := l.Wake("")
		defer stopTwo()
		defer stopAll()
		add(t, d, l, "build:1", "build:1")
		wait(t, one)
		wait(t, all)
		select {
		case <-two:
			t.Error("build:1 woke build:2")
		case <-one:
			t.Error("one commit woke twice") // Run, which would, isn't running
		default:
		}
		stopOne()
		add(t, d, l, "build:1")
		wait(t, all)
		select {
		case <-one:
			t.Error("a stopped channel was woken")
		default:
		}
		l.Nudge("build:2")
		wait(t, two)
	})
}

// run runs f until the test ends.
func run(t *testing.T, f func(ctx context.Context) error) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		if err := f(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("loop ended with %v", err)
		}
	})
	t.Cleanup(func() { cancel(); wg.Wait() })
}

// A second master hears of what the first did, and is woken when it can read it.
func TestWakeAcrossProcesses(t *testing.T) {
	t.Parallel()
	c := dbtest.Postgres(t)
	d1, d2 := dbtest.Open(t, c), dbtest.Open(t, c)
	here, there := event.New(d1, zerolog.Nop()), event.New(d2, zerolog.Nop())
	wake, stop := there.Wake("build:1")
	defer stop()
	run(t, here.Run)
	run(t, there.Run)
	wait(t, wake) // it listens from now on
	add(t, d1, here, "build:1")
	for {
		es, err := there.Since(t.Context(), 0, "build:1", 1)
		if err != nil {
			t.Fatal(err)
		}
		if len(es) == 1 {
			break
		}
		wait(t, wake)
	}
}

func TestFollow(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		run(t, l.Run)
		add(t, d, l, "a", "b")
		follow := func(until string, f func(event.Event) error) (seen []string) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			err := l.Follow(ctx, "test", func(_ context.Context, e event.Event) error {
				seen = append(seen, e.Topic)
				if err := f(e); err != nil {
					return err
				}
				if e.Topic == until {
					cancel()
				}
				return nil
			})
			if !errors.Is(err, context.Canceled) {
				t.Fatalf("Follow = %v, want context.Canceled", err)
			}
			return seen
		}
		ok := func(event.Event) error { return nil }
		if got := follow("b", ok); !slices.Equal(got, []string{"a", "b"}) {
			t.Errorf("first run saw %v, want a b", got)
		}
		// A new follower under the name goes on where the last one stopped, and an
		// event that fails comes again, before all that is behind it.
		add(t, d, l, "c", "d")
		failed := false
		got := follow("d", func(e event.Event) error {
			if e.Topic == "c" && !failed {
				failed = true
				return errors.New("not yet")
			}
			return nil
		})
		if !slices.Equal(got, []string{"c", "c", "d"}) {
			t.Errorf("second run saw %v, want c c d", got)
		}
		// A follower that is running is woken.
		follower := make(chan []string)
		go func() { follower <- follow("e", ok) }()
		add(t, d, l, "e")
		if got := <-follower; !slices.Equal(got, []string{"e"}) {
			t.Errorf("third run saw %v, want e", got)
		}
	})
}

// Many write at once while one follows: it sees every event, and those of one writer
// in the order of its commits.
func TestFollowWhileManyWrite(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := event.New(d, zerolog.Nop())
		run(t, l.Run)
		const writers, each = 6, 15
		var g errgroup.Group
		for w := range writers {
			g.Go(func() error {
				for n := range each {
					err := d.InTx(t.Context(), func(tx db.Tx) error {
						// Ids are taken at the beginning and at the end of the transaction.
						for _, half := range []string{"first", "second"} {
							if err := l.Add(t.Context(), tx, "half."+half, fmt.Sprint("writer:", w), "system", n); err != nil {
								return err
							}
						}
						return nil
					})
					if err != nil {
						return err
					}
				}
				return nil
			})
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		next := make(map[string]int) // halves seen, by writer
		seen := 0
		err := l.Follow(ctx, "test", func(_ context.Context, e event.Event) error {
			n := next[e.Topic]
			want := fmt.Sprint([]string{"half.first ", "half.second "}[n%2], n/2)
			if got := e.Kind + " " + string(e.Data); got != want {
				t.Errorf("%s: saw %s, want %s", e.Topic, got, want)
			}
			next[e.Topic]++
			if seen++; seen == 2*writers*each {
				cancel()
			}
			return nil
		})
		if !errors.Is(err, context.Canceled) || seen != 2*writers*each {
			t.Errorf("Follow = %v after %d events, want %d", err, seen, 2*writers*each)
		}
		if err := g.Wait(); err != nil {
			t.Error(err)
		}
	})
}

// A follower whose process dies between an event and the note of its place sees the
// event again.
func TestFollowAfterCrash(t *testing.T) {
	t.Parallel()
	for _, place := range []struct {
		name string
		at   func(testing.TB) db.Config
	}{{"sqlite", dbtest.SQLite}, {"postgres", dbtest.Postgres}} {
		t.Run(place.name, func(t *testing.T) {
			t.Parallel()
			c := place.at(t)
			d := dbtest.Open(t, c)
			l := event.New(d, zerolog.Nop())
			add(t, d, l, "a", "b")
			settled(t, l, "", 2)
			follow := func(d *db.DB, until string, f func(event.Event)) (seen []string) {
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				err := event.New(d, zerolog.Nop()).Follow(ctx, "test", func(_ context.Context, e event.Event) error {
					seen = append(seen, e.Topic)
					f(e)
					if e.Topic == until {
						cancel()
					}
					return nil
				})
				if !errors.Is(err, context.Canceled) {
					t.Errorf("Follow = %v", err)
				}
				return seen
			}
			dies := dbtest.Open(t, c)
			if got := follow(dies, "a", func(event.Event) { _ = dies.Close() }); !slices.Equal(got, []string{"a", "b"}) && !slices.Equal(got, []string{"a"}) {
				t.Errorf("before the crash: %v", got)
			}
			if got := follow(d, "b", func(event.Event) {}); !slices.Equal(got, []string{"a", "b"}) {
				t.Errorf("after the crash: %v, want a b", got)
			}
			add(t, d, l, "c")
			if got := follow(d, "c", func(event.Event) {}); !slices.Equal(got, []string{"c"}) {
				t.Errorf("after the rest: %v, want c", got)
			}
		})
	}
}
