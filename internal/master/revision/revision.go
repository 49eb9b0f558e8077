// Package revision keeps specs that are never edited: applying a changed one adds a
// revision, with who did it, and the highest revision of a name holds.
//
// It owns the tables of platforms, flavours and products, which are alike, and what is
// the same about them: numbering, comparing by digest, paging and putting a change on
// record. What a spec says, whether it is sound and who may apply it is the business
// of platform and product, through which everybody else goes.
package revision

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// Kind is a sort of spec, and the name of its table.
type Kind string

// The kinds of spec.
const (
	Platform Kind = "platform"
	Flavour  Kind = "flavour"
	Product  Kind = "product"
)

// Stamp tells which revision of a spec something is.
type Stamp struct {
	ID       int64       `json:"id"`       // numbers the names of a kind in the order of their making, for interfaces that need a number
	Revision int64       `json:"revision"` // 1 for the first
	Digest   albs.Digest `json:"digest"`   // of the spec's canonical JSON
	Actor    string      `json:"actor"`    // who applied it
	At       db.Time     `json:"at"`
}

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Store keeps the specs S of a kind and gives them back as T, a spec with its
// stamp. It may be used concurrently.
type Store[S, T any] struct {
	d      *db.DB
	events Events
	kind   Kind
	stamp  func(S, Stamp) T
}

// New returns the Store of a kind over the database d. It does no I/O.
func New[S, T any](d *db.DB, events Events, kind Kind, stamp func(S, Stamp) T) *Store[S, T] {
	return &Store[S, T]{d: d, events: events, kind: kind, stamp: stamp}
}

// Apply makes spec the one of its name and returns its revision, which is durable.
// A spec equal to the present one changes nothing. Of a name that is there, allowed
// is first asked about it as it is now, unless nil. The event KIND.applied carries
// revision, digest, the digest before, and what tell adds. It asks no policy of its
// own. It is a Conflict if the name was changed at the same moment.
func (s *Store[S, T]) Apply(ctx context.Context, name string, spec S, allowed func(now T) error, tell map[string]any) (T, error) {
	var none T
	doc, err := json.Marshal(spec)
	if err != nil {
		return none, fmt.Errorf("encode %s %s: %w", s.kind, name, err)
	}
	want := row{Name: name, Digest: albs.DigestOf(doc), Spec: string(doc), Actor: auth.From(ctx).String(), At: db.Now()}
	var next row
	err = s.d.InTx(ctx, func(tx db.Tx) error {
		last, err := latest(ctx, tx, s.kind, name)
		there := albs.KindOf(err) != albs.NotFound
		if there && err != nil {
			return err
		}
		if there && allowed != nil {
			now, err := s.read(last)
			if err != nil {
				return err
			}
			if err := allowed(now); err != nil {
				return err
			}
		}
		if last.Digest == want.Digest {
			next = last
			return nil
		}
		next = want
		next.ID, next.Revision = last.ID, last.Revision+1
		if err := insert(ctx, tx, s.kind, &next); err != nil {
			return err
		}
		data := map[string]any{"revision": next.Revision, "digest": next.Digest, "before": last.Digest}
		maps.Copy(data, tell)
		return s.events.Add(ctx, tx, string(s.kind)+".applied", string(s.kind)+":"+name, next.Actor, data)
	})
	if db.IsUnique(err) {
		return none, albs.Errorf(albs.Conflict, "%s %s was changed at the same moment; apply it again", s.kind, name)
	}
	if err != nil {
		return none, fmt.Errorf("apply %s %s: %w", s.kind, name, err)
	}
	return s.read(next)
}

// Get returns what has the name as it is now, or NotFound.
func (s *Store[S, T]) Get(ctx context.Context, name string) (T, error) {
	r, err := latest(ctx, s.d, s.kind, name)
	if err != nil {
		var none T
		return none, err
	}
	return s.read(r)
}

// ByID returns what has the id of a Stamp as it is now, or NotFound.
func (s *Store[S, T]) ByID(ctx context.Context, id int64) (T, error) {
	r, err := latestByID(ctx, s.d, s.kind, id)
	if err != nil {
		var none T
		return none, err
	}
	return s.read(r)
}

// Holds returns a Conflict unless the revision is the one that holds for name, as q
// sees it, and NotFound if there is none of that name: in a transaction, for one who
// acts on a spec that was read before it.
func (s *Store[S, T]) Holds(ctx context.Context, q db.Q, name string, revision int64) error {
	r, err := latest(ctx, q, s.kind, name)
	if err == nil && r.Revision != revision {
		err = albs.Errorf(albs.Conflict, "%s %s has revision %d by now and not %d", s.kind, name, r.Revision, revision)
	}
	return err
}

// GetRevision returns what has the name as it was at a revision, or NotFound.
func (s *Store[S, T]) GetRevision(ctx context.Context, name string, revision int64) (T, error) {
	r, err := at(ctx, s.d, s.kind, name, revision)
	if err != nil {
		var none T
		return none, err
	}
	return s.read(r)
}

// All returns all there are as they are now, by name: dozens, not thousands.
func (s *Store[S, T]) All(ctx context.Context) ([]T, error) {
	rows, err := all(ctx, s.d, s.kind)
	if err != nil {
		return nil, fmt.Errorf("list %ss: %w", s.kind, err)
	}
	return s.readAll(rows)
}

// MaxPage is the most revisions that History returns at once.
const MaxPage = 200

// History returns up to limit revisions of a name (MaxPage if limit is not between 1
// and that), newest first, of those below the revision before; zero means from the
// newest.
func (s *Store[S, T]) History(ctx context.Context, name string, before int64, limit int) ([]T, error) {
	if before <= 0 {
		before = math.MaxInt64
	}
	if limit < 1 || limit > MaxPage {
		limit = MaxPage
	}
	rows, err := history(ctx, s.d, s.kind, name, before, limit)
	if err != nil {
		return nil, fmt.Errorf("read history of %s %s: %w", s.kind, name, err)
	}
	return s.readAll(rows)
}

func (s *Store[S, T]) read(r row) (T, error) {
	var spec S
	if err := json.Unmarshal([]byte(r.Spec), &spec); err != nil {
		var none T
		return none, fmt.Errorf("decode %s %s revision %d: %w", s.kind, r.Name, r.Revision, err)
	}
	return s.stamp(spec, Stamp{ID: r.ID, Revision: r.Revision, Digest: r.Digest, Actor: r.Actor, At: r.At}), nil
}

func (s *Store[S, T]) readAll(rows []row) ([]T, error) {
	out := make([]T, len(rows))
	for i, r := range rows {
		var err error
		if out[i], err = s.read(r); err != nil {
			return nil, err
		}
	}
	return out, nil
}
