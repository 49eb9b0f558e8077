package errata

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// MaxBuilds bounds the builds for which an advisory was made.
const MaxBuilds = 200

// CreateOptions are what an advisory has beside its contents.
type CreateOptions struct {
	// Builds are those for which it is made.
	Builds []albs.BuildID
	// Frozen keeps automatic matching from it.
	Frozen bool
	// Reason is why it is made, for its history; it may be empty.
	Reason string
}

// Create makes an advisory and returns it, durable. Without an id it gets the next one of
// the distribution's own series, of its type and the year in which it is issued; without
// a type, that which its id tells. Version, digests, and where packages lie are left out,
// for a publication adds them; what the platform says of all its advisories is added.
// Errors: NotFound for an unknown platform or build, Forbidden without errata.create,
// Conflict if there is an advisory of that key, Invalid and TooLarge as of
// advisory.Check, and Invalid for an id that isn't of the platform's forms.
func (e *Errata) Create(ctx context.Context, a advisory.Advisory, o CreateOptions) (Record, error) {
	p, err := e.may(ctx, auth.ErrataCreate, a.Platform)
	if err != nil {
		return Record{}, err
	}
	if p.Errata.None() {
		return Record{}, noErrata(p.Name)
	}
	if err := checkReason(o.Reason); err != nil {
		return Record{}, err
	}
	var out Record
	err = e.DB.InTx(ctx, func(tx db.Tx) error {
		out, err = e.create(ctx, tx, scheme{p.Errata}, a, o, Created)
		return err
	})
	if db.IsUnique(err) {
		return Record{}, albs.Errorf(albs.Conflict, "there is an advisory %s already", Key{a.ID, a.Platform})
	}
	if err != nil {
		return Record{}, fmt.Errorf("create advisory %.120q: %w", a.ID, err)
	}
	return out, nil
}

// create writes a new advisory.
func (e *Errata) create(ctx context.Context, tx db.Tx, s scheme, a advisory.Advisory, o CreateOptions, kind string) (Record, error) {
	if a.ID == "" {
		prefix, err := s.prefix(a.Type, s.dated(a, e.now()).Issued.Year())
		if err != nil {
			return Record{}, err
		}
		names, err := begun(ctx, tx, prefix)
		if err != nil {
			return Record{}, fmt.Errorf("read ids: %w", err)
		}
		a.ID = following(prefix, names)
	}
	a, own, err := s.complete(a, e.now())
	if err != nil {
		return Record{}, err
	}
	now := db.At(e.now())
	r := row{Name: a.ID, Platform: a.Platform, Revision: 1, Content: 1, State: NotReleased, Frozen: o.Frozen, Own: own, CreatedAt: now, ChangedAt: now}
	if err := r.set(a); err != nil {
		return Record{}, err
	}
	r.original, r.Original = r.edited, r.Document
	if err := insert(ctx, tx, &r); err != nil {
		return Record{}, err
	}
	if err := e.link(ctx, tx, r.RowID, o.Builds); err != nil {
		return Record{}, err
	}
	return e.note(ctx, tx, r, kind, o.Reason, nil)
}

// link makes builds, which have to be there, those of an advisory.
func (e *Errata) link(ctx context.Context, tx db.Tx, id int64, builds []albs.BuildID) error {
	if len(builds) > MaxBuilds {
		return albs.Errorf(albs.TooLarge, "%d builds, at most %d have one advisory", len(builds), MaxBuilds)
	}
	for _, b := range builds {
		if err := e.Builds.There(ctx, tx, b); err != nil {
			return err
		}
	}
	return setBuilds(ctx, tx, id, builds)
}

// note writes a change of the row into history and events and returns the record.
func (e *Errata) note(ctx context.Context, tx db.Tx, r row, kind, reason string, d []Difference) (Record, error) {
	c := Change{Revision: r.Revision, Kind: kind, Actor: auth.From(ctx).String(), Reason: reason, Differences: d, At: r.ChangedAt.Time}
	if err := addChange(ctx, tx, r.RowID, c); err != nil {
		return Record{}, fmt.Errorf("note change of advisory %s: %w", r.key(), err)
	}
	out, err := records(ctx, tx, []row{r})
	if err != nil {
		return Record{}, err
	}
	return out[0], e.tell(ctx, tx, kind, out[0], reason)
}

func checkReason(s string) error {
	if !advisory.Text(s) || len(s) > advisory.MaxLine {
		return albs.Errorf(albs.Invalid, "a reason is text of at most %d bytes", advisory.MaxLine)
	}
	return nil
}

// Edit is what to change of an advisory: what isn't nil. A list takes the place of the
// whole list.
type Edit struct {
	// Reason is why, for the history; it may be empty.
	Reason      string
	Severity    *advisory.Severity
	Title       *string
	Summary     *string
	Description *string
	Solution    *string
	Rights      *string
	From        *string
	Upstream    *string
	Issued      *time.Time
	Reboot      *bool
	References  *[]advisory.Reference
	CVEs        *[]advisory.CVE
	Packages    *[]advisory.Package
	VEX         *[]advisory.VEX
	Frozen      *bool
	Builds      *[]albs.BuildID
}

// Apply returns a with what the edit changes of an advisory itself.
func (e Edit) Apply(a advisory.Advisory) advisory.Advisory {
	replace(&a.Severity, e.Severity)
	replace(&a.Title, e.Title)
	replace(&a.Summary, e.Summary)
	replace(&a.Description, e.Description)
	replace(&a.Solution, e.Solution)
	replace(&a.Rights, e.Rights)
	replace(&a.From, e.From)
	replace(&a.Upstream, e.Upstream)
	replace(&a.Issued, e.Issued)
	replace(&a.Reboot, e.Reboot)
	replace(&a.References, e.References)
	replace(&a.CVEs, e.CVEs)
	replace(&a.Packages, e.Packages)
	replace(&a.VEX, e.VEX)
	return a
}

func replace[T any](into *T, by *T) {
	if by != nil {
		*into = *by
	}
}

// Edit changes an advisory that has the revision, and returns it, durable. Its original
// stays; an edit that changes nothing is none. What was published stays as it is until a
// release publishes the advisory anew. Errors: NotFound, Forbidden without errata.create,
// Conflict if it has another revision or is being released, Invalid and TooLarge as of
// Create.
func (e *Errata) Edit(ctx context.Context, k Key, revision int64, c Edit) (Record, error) {
	if err := checkReason(c.Reason); err != nil {
		return Record{}, err
	}
	return e.change(ctx, auth.ErrataCreate, k, revision, Edited, c.Reason, edit, func(ctx context.Context, tx db.Tx, s scheme, r *row) ([]Difference, error) {
		d, err := r.edit(s, c.Apply(r.edited), e.now())
		if err != nil {
			return nil, err
		}
		if c.Frozen != nil && *c.Frozen != r.Frozen {
			d, r.Frozen = append(d, Difference{"frozen", yes(r.Frozen), yes(*c.Frozen)}), *c.Frozen
		}
		if c.Builds != nil {
			was, err := get(ctx, tx, k)
			if err != nil {
				return nil, err
			}
			old, now := words(was.Builds), words(*c.Builds)
			if !slices.Equal(old, now) {
				d = append(d, Difference{"builds", strings.Join(old, " "), strings.Join(now, " ")})
				if err := e.link(ctx, tx, r.RowID, *c.Builds); err != nil {
					return nil, err
				}
			}
		}
		return d, nil
	})
}

func yes(b bool) string {
	if b {
		return "yes"
	}
	return "no"
}

func words(builds []albs.BuildID) []string {
	var out []string
	for _, b := range slices.Compact(slices.Sorted(slices.Values(builds))) {
		out = append(out, b.String())
	}
	return out
}

// edit makes a what the row has of the advisory and returns what that changes of it. The
// next revision is the one that changed it.
func (r *row) edit(s scheme, a advisory.Advisory, now time.Time) ([]Difference, error) {
	was := r.edited
	if !a.Issued.Equal(was.Issued) && a.Updated.Before(a.Issued) {
		a.Updated = a.Issued
	}
	if err := r.set(s.shape(a)); err != nil {
		return nil, err
	}
	d := Differences(was, r.edited)
	if len(d) == 0 {
		return nil, nil
	}
	if now = now.UTC().Truncate(time.Second); r.Shown != 0 && now.After(r.edited.Updated) {
		a := r.edited
		a.Updated = now // readers of what is public see by it that there is something new
		if err := r.set(a); err != nil {
			return nil, err
		}
	}
	r.Content = r.Revision + 1
	return d, nil
}

// change reads an advisory, has f change it if the actor may do v and it has the revision
// (0 for any), and writes it with its history, unless f finds no difference.
func (e *Errata) change(ctx context.Context, v auth.Verb, k Key, revision int64, kind, reason string, h happening,
	f func(context.Context, db.Tx, scheme, *row) ([]Difference, error)) (Record, error) {
	p, err := e.may(ctx, v, k.Platform)
	if err != nil {
		return Record{}, err
	}
	var out Record
	err = e.DB.InTx(ctx, func(tx db.Tx) error {
		r, err := read(ctx, tx, k)
		if err != nil {
			return err
		}
		if revision != 0 && r.Revision != revision {
			return albs.Errorf(albs.Conflict, "advisory %s has revision %d by now and not %d: look at it again", k, r.Revision, revision)
		}
		if r.State == InProgress {
			return r.happens(h)
		}
		d, err := f(ctx, tx, scheme{p.Errata}, &r)
		if err != nil {
			return err
		}
		if len(d) == 0 {
			out, err = get(ctx, tx, k)
			return err
		}
		if err := r.happens(h); err != nil {
			return err
		}
		out, err = e.write(ctx, tx, r, kind, reason, d)
		return err
	})
	if err != nil {
		return Record{}, err
	}
	return out, nil
}

// write keeps the row as its next revision.
func (e *Errata) write(ctx context.Context, tx db.Tx, r row, kind, reason string, d []Difference) (Record, error) {
	before := r.Revision
	r.Revision++
	r.ChangedAt = db.At(e.now())
	if r.State != Failed {
		r.Reason = ""
	}
	if err := update(ctx, tx, &r, before); err != nil {
		return Record{}, err
	}
	return e.note(ctx, tx, r, kind, reason, d)
}

// Withdraw takes an advisory back, for a reason: the next release of it says so in
// public, or never publishes it if it wasn't yet. Errors: NotFound, Forbidden without
// errata.release, Conflict if it is withdrawn or is being released, Invalid without a
// reason.
func (e *Errata) Withdraw(ctx context.Context, k Key, reason string) (Record, error) {
	if reason == "" {
		return Record{}, albs.Errorf(albs.Invalid, "say why advisory %s is withdrawn: readers are told", k)
	}
	if err := checkReason(reason); err != nil {
		return Record{}, err
	}
	return e.change(ctx, auth.ErrataRelease, k, 0, Withdrew, reason, withdraw, func(_ context.Context, _ db.Tx, s scheme, r *row) ([]Difference, error) {
		if r.edited.Withdrawn != nil {
			return nil, albs.Errorf(albs.Conflict, "advisory %s is withdrawn already", k)
		}
		a := r.edited
		a.Withdrawn = &advisory.Withdrawal{At: e.now(), Reason: reason}
		return r.edit(s, a, e.now())
	})
}

// Restore undoes a withdrawal, for a reason; what the public sees follows with the next
// release. Errors: those of Withdraw, and Conflict if it isn't withdrawn.
func (e *Errata) Restore(ctx context.Context, k Key, reason string) (Record, error) {
	if err := checkReason(reason); err != nil {
		return Record{}, err
	}
	return e.change(ctx, auth.ErrataRelease, k, 0, Restored, reason, restore, func(_ context.Context, _ db.Tx, s scheme, r *row) ([]Difference, error) {
		if r.edited.Withdrawn == nil {
			return nil, albs.Errorf(albs.Conflict, "advisory %s is not withdrawn", k)
		}
		a := r.edited
		a.Withdrawn = nil
		return r.edit(s, a, e.now())
	})
}

// Decided notes in tx that somebody decided on the packages that answer an advisory of
// that revision, with what changed by it, and returns it; a released advisory waits for a
// release then. It asks no policy. Errors: NotFound, and Conflict as of Edit.
func (e *Errata) Decided(ctx context.Context, tx db.Tx, k Key, revision int64, reason string, d []Difference) (Record, error) {
	r, err := read(ctx, tx, k)
	if err != nil {
		return Record{}, err
	}
	if r.Revision != revision {
		return Record{}, albs.Errorf(albs.Conflict, "advisory %s has revision %d by now and not %d: look at it again", k, r.Revision, revision)
	}
	if err := r.happens(edit); err != nil {
		return Record{}, err
	}
	r.Content = r.Revision + 1
	return e.write(ctx, tx, r, Matched, reason, d)
}

// SetVEX makes v what is stated of its package and CVE in an advisory that has the
// revision, now; without a status nothing is stated of them any more. Errors are those of
// Edit, and NotFound if there is nothing to take away.
func (e *Errata) SetVEX(ctx context.Context, k Key, revision int64, v advisory.VEX, reason string) (Record, error) {
	if err := checkReason(reason); err != nil {
		return Record{}, err
	}
	return e.change(ctx, auth.ErrataCreate, k, revision, Edited, reason, edit, func(_ context.Context, _ db.Tx, s scheme, r *row) ([]Difference, error) {
		v.At = e.now()
		same := func(o advisory.VEX) bool { return o.CVE == v.CVE && o.Package == v.Package && o.Stream == v.Stream }
		a := r.edited
		a.VEX = slices.DeleteFunc(slices.Clone(a.VEX), same)
		switch {
		case v.Status != "":
			a.VEX = append(a.VEX, v)
		case len(a.VEX) == len(r.edited.VEX):
			return nil, albs.Errorf(albs.NotFound, "advisory %s states nothing of %.80q and %.40q", k, v.Package, v.CVE)
		}
		return r.edit(s, a, e.now())
	})
}
