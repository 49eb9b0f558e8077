package artifact

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// Form says what a digest that a root names stands for.
type Form uint8

// The forms. A file is reached itself; what the others reach beside themselves, their
// Follower says.
const (
	File Form = iota
	Snapshot
	TreeDocument
)

// Ref is a digest that something names.
type Ref struct {
	Digest albs.Digest
	Form   Form
}

// Roots calls yield for everything that a module names and wants kept, at this moment or
// at any since a time, and ends with yield's first error. It may name a thing again and
// again, and one that isn't there.
//
// A name is taken from another name that is there (a link to a build, a signature of its
// packages), or by Put, Write, Save, Admit or Renew. Between the taking and the commit
// the other name may go: that it counts until the time of grace is over is why no
// collection misses what is on its way. What one finds unreached can be named again only
// by somebody who revives it, and so a collection need not stop the world.
type Roots func(ctx context.Context, since db.Time, yield func(Ref) error) error

// Follower calls yield for what the thing of a form reaches, itself among it.
type Follower func(ctx context.Context, d albs.Digest, yield func(Ref) error) error

type namedRoots struct {
	module string
	roots  Roots
}

// Root registers what a module names; every module that keeps digests of blobs has to.
// To be called before anything is collected, as Follow is.
func (s *Artifacts) Root(module string, r Roots) { s.roots = append(s.roots, namedRoots{module, r}) }

// Follow registers who knows what things of a form reach. A follower is made for each
// collection, so that it may remember what it has seen.
func (s *Artifacts) Follow(f Form, follower func() Follower) { s.follow[f] = follower }

// Rooted returns the modules that have registered roots.
func (s *Artifacts) Rooted() []string {
	var out []string
	for _, r := range s.roots {
		out = append(out, r.module)
	}
	return out
}

// Collection says how to collect.
type Collection struct {
	// Grace is how long a blob stays that nothing reaches. It has to be longer than
	// anything takes from the storing of a blob to the commit that names it.
	Grace time.Duration
	// DryRun has nothing changed and all of it counted.
	DryRun bool
	// Now is the clock; time.Now if nil.
	Now func() time.Time
	// Step, unless nil, is told of each step and of how much of it is done.
	Step func(step string, done int)
}

// Collected says what a collection found and did; of a dry run, what it would have done.
type Collected struct {
	Blobs        int   `json:"blobs"` // in the store, when it was looked through
	Bytes        int64 `json:"bytes"`
	Marked       int   `json:"marked"` // reached by nothing for the first time
	Spared       int   `json:"spared"` // marked before, and reached or stored again
	Waiting      int   `json:"waiting"`
	WaitingBytes int64 `json:"waiting_bytes"` // of those marked now or before that aren't due
	Removed      int   `json:"removed"`
	RemovedBytes int64 `json:"removed_bytes"`
}

// reached is a set of refs.
type reached map[reachedKey]struct{}

type reachedKey struct {
	digest [32]byte
	form   Form
}

func key(r Ref) (k reachedKey, err error) {
	k.form = r.Form
	if !r.Digest.Valid() {
		return k, fmt.Errorf("%.80q is not a digest", r.Digest)
	}
	_, err = hex.Decode(k.digest[:], []byte(r.Digest))
	return k, err
}

// add returns whether r is new.
func (s reached) add(r Ref) (bool, error) {
	k, err := key(r)
	if err != nil {
		return false, err
	}
	if _, ok := s[k]; ok {
		return false, nil
	}
	s[k] = struct{}{}
	return true, nil
}

func (s reached) has(d albs.Digest) bool {
	k, err := key(Ref{Digest: d})
	_, ok := s[k]
	return ok || err != nil // what has no name that could be compared isn't touched
}

// Reach calls yield once for each blob that a root reaches, or has since a time. A snapshot
// or a tree that a root names and that can't be read is an error.
func (s *Artifacts) Reach(ctx context.Context, since time.Time, yield func(albs.Digest) error) error {
	set, err := s.reach(ctx, db.At(since), func(int) {})
	if err != nil {
		return err
	}
	for k := range set {
		if k.form != File {
			continue
		}
		if err := yield(albs.Digest(hex.EncodeToString(k.digest[:]))); err != nil {
			return err
		}
	}
	return nil
}

func (s *Artifacts) reach(ctx context.Context, since db.Time, step func(int)) (reached, error) {
	set := make(reached)
	var todo []Ref
	yield := func(r Ref) error {
		added, err := set.add(r)
		if added && r.Form != File {
			todo = append(todo, r)
		}
		return err
	}
	followers := make(map[Form]Follower, len(s.follow))
	for f, make := range s.follow {
		followers[f] = make()
	}
	for _, r := range s.roots {
		if err := r.roots(ctx, since, yield); err != nil {
			return nil, fmt.Errorf("roots of %s: %w", r.module, err)
		}
		for len(todo) > 0 {
			next := todo[len(todo)-1]
			todo = todo[:len(todo)-1]
			follow := followers[next.Form]
			if follow == nil {
				return nil, fmt.Errorf("roots of %s: nobody knows what %s of form %d reaches", r.module, next.Digest.Short(), next.Form)
			}
			if err := follow(ctx, next.Digest, yield); err != nil {
				return nil, fmt.Errorf("what %s, a root of %s, reaches: %w", next.Digest, r.module, err)
			}
			step(len(set))
		}
		step(len(set))
	}
	return set, nil
}

// burials is how many blobs are removed while those who store others wait.
const burials = 16

// Collect marks with a tombstone each blob that no root reaches, takes the tombstones of
// others away, and removes what is still unreached and was marked the time of grace ago,
// blob, tombstone and artifact's row. It may run beside everything else. What it did
// before an error or the end of ctx stays done, and the next run goes on from there.
//
// A root that can't be followed is an error and nothing is removed: what isn't known to
// be unreached is kept.
func (s *Artifacts) Collect(ctx context.Context, c Collection) (Collected, error) {
	var out Collected
	if c.Now == nil {
		c.Now = time.Now
	}
	step := func(name string) func(int) {
		return func(done int) {
			if c.Step != nil {
				c.Step(name, done)
			}
		}
	}
	before := db.At(c.Now().Add(-c.Grace))
	set, err := s.reach(ctx, before, step("follow roots"))
	if err != nil {
		return out, err
	}
	dead, err := tombstones(ctx, s.d)
	if err != nil {
		return out, err
	}
	walk := step("walk blobs")
	var fresh, due []albs.Digest
	sizes := make(map[albs.Digest]int64)
	err = s.blobs.Walk(ctx, func(d albs.Digest, size int64) error {
		out.Blobs++
		out.Bytes += size
		walk(out.Blobs)
		if set.has(d) {
			return nil
		}
		at, marked := dead[d]
		delete(dead, d)
		switch {
		case !marked:
			fresh = append(fresh, d)
		case !at.After(before.Time):
			due = append(due, d)
			sizes[d] = size
			return nil
		}
		out.Waiting++
		out.WaitingBytes += size
		return nil
	})
	if err != nil {
		return out, err
	}
	out.Marked, out.Spared = len(fresh), len(dead)
	if c.DryRun {
		for _, d := range due {
			out.Removed++
			out.RemovedBytes += sizes[d]
		}
		return out, nil
	}
	spared := make([]albs.Digest, 0, len(dead)) // reached again, or gone from the store
	for d := range dead {
		spared = append(spared, d)
	}
	slices.Sort(spared)
	for some := range slices.Chunk(spared, perQuery) {
		if err := s.d.InTx(ctx, func(tx db.Tx) error { return dropTombstones(ctx, tx, some...) }); err != nil {
			return out, err
		}
	}
	mark := step("mark blobs")
	for some := range slices.Chunk(fresh, perQuery) {
		if err := s.mark(ctx, some, c.Now); err != nil {
			return out, err
		}
		mark(len(some))
	}
	remove := step("remove blobs")
	for some := range slices.Chunk(due, burials) {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		gone, err := s.remove(ctx, some, before)
		for _, d := range gone {
			out.Removed++
			out.RemovedBytes += sizes[d]
		}
		if err != nil {
			return out, err
		}
		remove(out.Removed)
	}
	return out, nil
}

// mark gives ds tombstones of the time at which nobody was about to store or ask for one of
// them: who did so before has the time of grace from then on at least, and who does so
// afterwards finds the tombstone.
func (s *Artifacts) mark(ctx context.Context, ds []albs.Digest, now func() time.Time) error {
	return s.blobs.gate.Alone(ctx, func(func() error) error {
		at := db.At(now())
		return s.d.InTx(ctx, func(tx db.Tx) error { return addTombstones(ctx, tx, ds, at) })
	})
}

// remove removes those of ds that are still marked, and returns which. Rows go first:
// what a crash in between leaves is a blob without a name, which is found again.
func (s *Artifacts) remove(ctx context.Context, ds []albs.Digest, before db.Time) (gone []albs.Digest, err error) {
	ctx = context.WithoutCancel(ctx) // rows and blobs go together
	err = s.blobs.gate.Alone(ctx, func(held func() error) error {
		var due []albs.Digest
		err := s.d.InTx(ctx, func(tx db.Tx) (err error) {
			due, err = bury(ctx, tx, ds, before)
			return err
		})
		if err != nil {
			return err
		}
		var errs []error
		for _, d := range due {
			if err := held(); err != nil {
				return errors.Join(append(errs, err)...)
			}
			if err := s.blobs.Remove(ctx, d); err != nil {
				errs = append(errs, err)
				continue
			}
			gone = append(gone, d)
		}
		return errors.Join(errs...)
	})
	return gone, err
}
