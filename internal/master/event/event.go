// Package event owns the log of facts: rows that tell what changed, about what
// and by whom, each written in the transaction of its change. Followers read
// them in order, at least once; waiters are woken when something happens.
//
// Events wake, tables decide: whoever is woken looks at the tables of the module
// concerned, for a wake-up may be early, doubled or, when a process dies, lost
// until the next look. The package knows no kind of event and owns no rule.
//
// Order. On PostgreSQL two transactions may commit in another order than they
// took ids, so a reader that remembers the highest id can miss one for ever.
// Events are therefore read in the order (txid, id), and only those older than
// every transaction in flight: what is read once has nothing new before it. The
// price is that one long writing transaction holds all readers back.
package event

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/failpoint"
)

// Event is one fact. IDs are unique but, on PostgreSQL, not ordered by time: give
// one back to Since to go on after it, and compare nothing.
type Event struct {
	ID    int64           `json:"id"`
	At    db.Time         `json:"at"`
	Kind  string          `json:"kind"`  // "build.created": module, dot, past participle
	Topic string          `json:"topic"` // "build:7": what pages and waiters subscribe to
	Actor string          `json:"actor"` // who did it, as auth.Actor spells itself
	Data  json.RawMessage `json:"data"`  // facts for readers without the tables; never a secret
}

// Bounds on one event; Add refuses more with TooLarge.
const (
	MaxName = 200      // bytes of a kind, topic or actor
	MaxData = 64 << 10 // bytes of data as JSON
	MaxList = 1000     // events of one Since
)

// Log is the log of facts in one database. It may be used concurrently. Add and
// Since work without Run; wake-ups from and to other processes need it.
type Log struct {
	db    *db.DB
	log   zerolog.Logger
	wakes wakes
}

// New returns the log kept in d.
func New(d *db.DB, log zerolog.Logger) *Log {
	return &Log{db: d, log: log, wakes: newWakes()}
}

// Add writes one event in tx, with data as JSON (nil is {}), and wakes the
// topic's waiters once tx has committed. If tx rolls back, nothing happened.
func (l *Log) Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error {
	for _, s := range []string{kind, topic, actor} {
		if s == "" {
			return albs.Errorf(albs.Invalid, "event %q about %q by %q: kind, topic and actor must be set", kind, topic, actor)
		}
		if len(s) > MaxName {
			return albs.Errorf(albs.TooLarge, "event %.40q: a name is longer than %d bytes", kind, MaxName)
		}
	}
	raw := []byte("{}")
	if data != nil {
		var err error
		if raw, err = json.Marshal(data); err != nil {
			return fmt.Errorf("add event %s: %w", kind, err)
		}
	}
	if len(raw) > MaxData {
		return albs.Errorf(albs.TooLarge, "event %s: data of %d bytes, at most %d go", kind, len(raw), MaxData)
	}
	txid, err := insert(ctx, tx, Event{At: db.Now(), Kind: kind, Topic: topic, Actor: actor, Data: raw})
	if err != nil {
		return fmt.Errorf("add event %s: %w", kind, err)
	}
	tx.AfterCommit(func() { l.wakes.happened(topic, txid) })
	return nil
}

// Since returns up to limit settled events after the one with id after, in
// order; 0 is the beginning. topic "" means every topic. An event that committed
// just now may take as long to appear as the oldest transaction in flight runs;
// its topic is woken again then.
func (l *Log) Since(ctx context.Context, after int64, topic string, limit int) ([]Event, error) {
	es, err := since(ctx, l.db, l.db.Settled(), after, topic, min(max(limit, 1), MaxList))
	if err != nil {
		return nil, fmt.Errorf("read events after %d: %w", after, err)
	}
	return es, nil
}

// Last returns the id of the newest settled event, 0 if there is none: where a
// reader begins who wants only what comes.
func (l *Log) Last(ctx context.Context) (int64, error) {
	id, err := last(ctx, l.db, l.db.Settled())
	if err != nil {
		return 0, fmt.Errorf("read last event: %w", err)
	}
	return id, nil
}

const (
	followBatch   = 100
	followLook    = 5 * time.Second // looks without being woken: a wake-up may be lost
	followBackoff = 30 * time.Second
)

// Follow calls f for every event there ever was and will be, in order, until ctx
// is done, whose error it returns. The follower's place is kept in the database
// under name after each batch of 100 at most, so f sees up to as many events again
// after a crash, none too few, and must be idempotent. An
// event that f fails on is tried again, ever more slowly, and nothing behind it
// is reached. Of several masters one follows under a name, and the context that f gets
// stays the same one as long as it is this one: with another context, others may have
// followed in between.
func (l *Log) Follow(ctx context.Context, name string, f func(ctx context.Context, e Event) error) error {
	return l.db.Leader(ctx, "follow/"+name, func(ctx context.Context) error {
		wake, stop := l.Wake("")
		defer stop()
		for tries := 0; ; {
			n, err := l.follow(ctx, name, f)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			wait := followLook
			if err != nil {
				tries++
				wait = min(100*time.Millisecond<<min(tries, 10), followBackoff)
				l.log.Error().Err(err).Str("follower", name).Int("tries", tries).Msg("follower stands")
			} else {
				tries = 0
			}
			if n == followBatch {
				continue
			}
			woken := wake
			if err != nil {
				woken = nil // other events don't make this one succeed
			}
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-woken:
			case <-time.After(wait):
			}
		}
	})
}

// follow handles one batch and returns how many events of it were done. The
// cursor is moved even if a later one fails, and then past the done ones only.
func (l *Log) follow(ctx context.Context, name string, f func(ctx context.Context, e Event) error) (int, error) {
	from, err := cursor(ctx, l.db, name)
	if err != nil {
		return 0, fmt.Errorf("read follower's place: %w", err)
	}
	es, err := l.Since(ctx, from, "", followBatch)
	if err != nil {
		return 0, err
	}
	done := 0
	for _, e := range es {
		if err = f(ctx, e); err != nil {
			err = fmt.Errorf("event %d %s: %w", e.ID, e.Kind, err)
			break
		}
		done++
	}
	if done == 0 {
		return 0, err
	}
	failpoint.Here(failpoint.Followed)
	// What was done shall count even when ctx ended during the batch.
	c, cancel := context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
	defer cancel()
	if e := setCursor(c, l.db, name, es[done-1].ID); e != nil {
		return 0, errors.Join(err, fmt.Errorf("keep follower's place: %w", e))
	}
	return done, err
}
