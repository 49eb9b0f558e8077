package errata

import (
	"context"
	"fmt"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// MaxImport is how many advisories are imported at once.
const MaxImport = 20_000

// Outcome is what became of an advisory that was imported.
type Outcome string

// The outcomes.
const (
	Added     Outcome = "created"
	Updated   Outcome = "changed" // the original changed; edits were kept
	Unchanged Outcome = "unchanged"
	Refused   Outcome = "refused"
)

// Taken is what became of one advisory that was imported.
type Taken struct {
	Key
	From     string // its id where it came from
	Outcome  Outcome
	Revision int64 // that it has then; 0 if it was refused
	Err      error // why it was refused
	// Note says what of it was not taken over; "" if all was.
	Note string
}

// Import takes advisories that others wrote as those of a platform, each for itself, and
// returns what became of them in their order. They are rewritten by the platform's rules.
// What is there already with an equal original stays as it is; of what has another one,
// edits are kept upon the new original, and if it was published, it waits to be published
// anew. Errors: NotFound for an unknown platform, Forbidden without errata.create, Invalid
// if the platform has no advisories, TooLarge beyond MaxImport; what is wrong with one
// advisory is in its Err, and a database that fails ends the import with what was taken.
func (e *Errata) Import(ctx context.Context, name string, as []advisory.Advisory, o CreateOptions) ([]Taken, error) {
	p, err := e.may(ctx, auth.ErrataCreate, name)
	if err != nil {
		return nil, err
	}
	if p.Errata.None() {
		return nil, noErrata(p.Name)
	}
	if len(as) > MaxImport {
		return nil, albs.Errorf(albs.TooLarge, "%d advisories, at most %d are imported at once", len(as), MaxImport)
	}
	if err := checkReason(o.Reason); err != nil {
		return nil, err
	}
	w, err := newRewriter(p)
	if err != nil {
		return nil, err
	}
	out := make([]Taken, 0, len(as))
	for _, a := range as {
		t := Taken{From: a.ID}
		if a.Withdrawn != nil {
			t.Note = "it is withdrawn where it comes from: withdraw it here too if that holds"
		}
		a, err := w.rewrite(a)
		t.Key = Key{a.ID, a.Platform}
		if err == nil {
			err = e.take(ctx, w.scheme, a, o, &t)
		}
		switch albs.KindOf(err) {
		case "":
		case albs.Invalid, albs.TooLarge, albs.Conflict, albs.NotFound:
			t.Outcome, t.Revision, t.Err = Refused, 0, err
		default:
			return out, fmt.Errorf("import advisory %.120q: %w", a.ID, err)
		}
		out = append(out, t)
	}
	return out, nil
}

// take writes one advisory that comes in, and says in t what became of it.
func (e *Errata) take(ctx context.Context, s scheme, a advisory.Advisory, o CreateOptions, t *Taken) error {
	if a.ID == "" {
		return albs.Errorf(albs.Invalid, "it has no id")
	}
	a.Type = "" // its id tells
	err := e.DB.InTx(ctx, func(tx db.Tx) error {
		r, err := read(ctx, tx, t.Key)
		if albs.KindOf(err) == albs.NotFound {
			made, err := e.create(ctx, tx, s, a, o, Created)
			t.Outcome, t.Revision = Added, made.Revision
			return err
		}
		if err != nil {
			return err
		}
		next, _, err := s.complete(a, e.now())
		if err != nil {
			return err
		}
		next.Version, next.Withdrawn = r.original.Version, r.original.Withdrawn
		doc, err := encode(next)
		if err != nil {
			return err
		}
		t.Outcome, t.Revision = Unchanged, r.Revision
		if doc == r.Original {
			return nil
		}
		if r.State == InProgress {
			return r.happens(edit)
		}
		d, err := r.edit(s, Rebase(r.original, r.edited, next), e.now())
		if err != nil {
			return err
		}
		r.original, r.Original = next, doc
		if err := r.happens(edit); err != nil {
			return err
		}
		rec, err := e.write(ctx, tx, r, Imported, o.Reason, d)
		t.Outcome, t.Revision = Updated, rec.Revision
		return err
	})
	if db.IsUnique(err) {
		return albs.Errorf(albs.Conflict, "advisory %s came in at the same moment: import it again", t.Key)
	}
	return err
}
