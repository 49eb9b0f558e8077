package testrun

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
)

// Waiver is a person's word that a package of a build may be signed and released though
// its tests didn't pass, as faces show it. Gates believe its statement alone.
type Waiver struct {
	ID        int64          `db:"id"`
	Build     albs.BuildID   `db:"build_id"`
	Digest    albs.Digest    `db:"digest"`
	NEVRA     string         `db:"nevra"`
	Stage     albs.TestStage `db:"stage"`    // "" is every one
	Untested  bool           `db:"untested"` // also where nobody knows how its tests end
	Person    string         `db:"person"`
	Reason    string         `db:"reason"`
	CreatedAt db.Time        `db:"created_at"`
	ExpiresAt db.Time        `db:"expires_at"`
	EndedAt   db.Time        `db:"ended_at"` // zero unless somebody took it back
	EndedBy   string         `db:"ended_by"`
	EndedFor  string         `db:"ended_reason"`
}

// InForce reports whether nobody took w back and it hasn't expired at that time.
func (w Waiver) InForce(at time.Time) bool { return w.State(at) == WaiverInForce }

// Waived returns w as statements tell it.
func (w Waiver) Waived() albs.Waived {
	return albs.Waived{Build: w.Build, Waiver: w.ID, Stage: w.Stage, Untested: w.Untested, Person: w.Person, Reason: w.Reason, Expires: w.ExpiresAt.UTC()}
}

// WaiverState is how a waiver stands: in force, taken back, or run out.
type WaiverState string

// The states of waivers.
const (
	WaiverInForce WaiverState = "in force"
	WaiverEnded   WaiverState = "taken back"
	WaiverExpired WaiverState = "expired"
)

// WaiverStates are all states of waivers.
var WaiverStates = []WaiverState{WaiverInForce, WaiverEnded, WaiverExpired}

// State says how w stands at that time.
func (w Waiver) State(at time.Time) WaiverState {
	switch {
	case !w.EndedAt.IsZero():
		return WaiverEnded
	case !w.ExpiresAt.After(at):
		return WaiverExpired
	}
	return WaiverInForce
}

// NewWaiver asks for a waiver.
type NewWaiver struct {
	Build    albs.BuildID
	Package  string         // of the build: its sha256, or its NEVRA
	Stage    albs.TestStage // "" is every one
	Untested bool           // of every stage alone
	Reason   string
	Days     int // for which it holds
}

// Bounds of waivers.
const (
	MaxWaiverDays   = 90
	maxWaiverReason = 500 // bytes
	maxWaivers      = 20  // of a package that were ever made: each adds two statements to its bundle
)

// check returns an Invalid error that says what in n is wrong.
func (n NewWaiver) check() error {
	switch {
	case n.Stage != "" && (!n.Stage.Known() || n.Stage.Setup()):
		return albs.Errorf(albs.Invalid, "stage %.40q is none that can be waived", n.Stage)
	case n.Stage != "" && n.Untested:
		return albs.Errorf(albs.Invalid, "what was never tested can be waived as a whole only: name no stage")
	case n.Days < 1 || n.Days > MaxWaiverDays:
		return albs.Errorf(albs.Invalid, "a waiver holds for 1 to %d days", MaxWaiverDays)
	case !oneLine(n.Reason, maxWaiverReason):
		return albs.Errorf(albs.Invalid, "say why it is waived, in one line of at most %d bytes", maxWaiverReason)
	}
	return nil
}

// oneLine reports whether s says something, in one line of at most limit bytes.
func oneLine(s string, limit int) bool {
	return strings.TrimSpace(s) != "" && len(s) <= limit && text(s, limit) == s && !strings.ContainsAny(s, "\r\n")
}

// find returns the package of a build that n names.
func (n NewWaiver) find(b build.Build) (albs.Digest, error) {
	var found []albs.Digest
	for _, a := range b.Artifacts {
		named := string(a.Digest) == n.Package || strings.TrimSuffix(a.Name, ".rpm") == strings.TrimSuffix(n.Package, ".rpm")
		if a.Kind == string(artifact.RPM) && named && !slices.Contains(found, a.Digest) {
			found = append(found, a.Digest)
		}
	}
	switch len(found) {
	case 0:
		return "", albs.Errorf(albs.NotFound, "build %d has no package %.100q", b.ID, n.Package)
	case 1:
		return found[0], nil
	}
	return "", albs.Errorf(albs.Conflict, "build %d has %d packages %.100q: name one by its sha256, as %s or %s", b.ID, len(found), n.Package, found[0], found[1])
}

// Waive lets a package go though its tests don't pass, in the name of the person of ctx,
// and returns the waiver. It is Forbidden without test.waive on the team of the build,
// Invalid if n has a fault, NotFound for an unknown build or package, Conflict if the
// same is waived already, and TooLarge if the package had too many. Row and
// statement are durable on return.
func (t *Tests) Waive(ctx context.Context, n NewWaiver) (Waiver, error) {
	b, err := t.builds.Get(ctx, n.Build)
	if err != nil {
		return Waiver{}, err
	}
	if err := auth.Can(ctx, auth.TestWaive, auth.Object{Team: b.Team}); err != nil {
		return Waiver{}, err
	}
	if err := n.check(); err != nil {
		return Waiver{}, err
	}
	d, err := n.find(b)
	if err != nil {
		return Waiver{}, err
	}
	a, err := t.artifacts.Find(ctx, d)
	if err != nil {
		return Waiver{}, err
	}
	now := db.Now()
	w := Waiver{
		Build: n.Build, Digest: d, NEVRA: a.NEVRA.String(), Stage: n.Stage, Untested: n.Untested, Person: auth.From(ctx).Name, Reason: n.Reason,
		CreatedAt: now, ExpiresAt: db.Time{Time: now.Add(time.Duration(n.Days) * 24 * time.Hour).Truncate(time.Second)},
	}
	err = t.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := t.builds.There(ctx, tx, w.Build); err != nil {
			return err
		}
		had, err := t.store.waivers(ctx, tx, WaiverFilter{Build: w.Build, Digest: d, Limit: maxWaivers})
		if err != nil {
			return err
		}
		if len(had) >= maxWaivers {
			return albs.Errorf(albs.TooLarge, "%s had %d waivers and gets no more", w.NEVRA, len(had))
		}
		for _, h := range had {
			if h.InForce(now.Time) && h.Stage == w.Stage && h.Untested == w.Untested {
				return albs.Errorf(albs.Conflict, "waiver %d says so already, until %s", h.ID, h.ExpiresAt.Format(time.DateOnly))
			}
		}
		if w.ID, err = t.store.addWaiver(ctx, tx, w); err != nil {
			return err
		}
		body := attest.WaiverBody{Waived: w.Waived()}
		return t.sayWaiver(ctx, tx, a, body, "testrun.waiver.made")
	})
	if err != nil {
		return Waiver{}, fmt.Errorf("waive tests of build %d: %w", n.Build, err)
	}
	return w, nil
}

// sayWaiver states body about a package, and tells of it.
func (t *Tests) sayWaiver(ctx context.Context, tx db.Tx, a artifact.Artifact, body attest.WaiverBody, event string) error {
	err := t.provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.Waiver, Body: body})
	if err != nil {
		return fmt.Errorf("state waiver: %w", err)
	}
	return t.events.Add(ctx, tx, event, build.Topic(body.Build), auth.From(ctx).String(), map[string]any{
		"waiver": body.Waiver, "package": a.NEVRA.String(), "stage": body.Stage, "untested": body.Untested, "reason": body.Reason,
	})
}

// EndWaiver takes a waiver back for a reason: gates take it no more, and the plans of
// releases that rest on it can't be published. What was signed or released by it stays. It
// is Forbidden without test.waive on the team of the build, Invalid without a reason of one
// line, NotFound if there is none of that id, and Conflict if it isn't in force, or if the
// master never stated it. It is durable on return.
func (t *Tests) EndWaiver(ctx context.Context, id int64, reason string) error {
	w, err := t.store.waiver(ctx, t.store.d, id)
	if err != nil {
		return err
	}
	b, err := t.builds.Get(ctx, w.Build)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.TestWaive, auth.Object{Team: b.Team}); err != nil {
		return err
	}
	if !oneLine(reason, maxWaiverReason) {
		return albs.Errorf(albs.Invalid, "say why it is taken back, in one line of at most %d bytes", maxWaiverReason)
	}
	now := db.Now()
	if !w.InForce(now.Time) {
		return albs.Errorf(albs.Conflict, "waiver %d isn't in force any more", id)
	}
	said, _, err := t.statedWaivers(ctx, w.Build, w.Digest)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(said, func(b attest.WaiverBody) bool { return b.Waiver == id })
	if i < 0 {
		return albs.Errorf(albs.Conflict, "the master never stated waiver %d: the database was changed behind albs", id)
	}
	a, err := t.artifacts.Find(ctx, w.Digest)
	if err != nil {
		return err
	}
	ended := said[i]
	ended.EndedBy, ended.EndedReason, ended.Ended = auth.From(ctx).Name, reason, now.UTC().Truncate(time.Second)
	return t.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := t.store.endWaiver(ctx, tx, id, now, ended.EndedBy, reason); err != nil {
			return err
		}
		return t.sayWaiver(ctx, tx, a, ended, "testrun.waiver.ended")
	})
}

// WaiverFilter says which waivers are asked for; the zero one is all.
type WaiverFilter struct {
	Build  albs.BuildID
	Digest albs.Digest // of the package
	State  WaiverState
	// Package is a part of the NEVRA, whatever its case.
	Package string
	Before  int64 // the id of the last of the page before
	Limit   int   // at most MaxWaiverPage, which is also what 0 stands for
}

// MaxWaiverPage is how many waivers Waivers returns at most.
const MaxWaiverPage = 200

// Waivers returns the newest waivers that a filter lets through, and whether there are more.
// It is Invalid for a state that is none. Anyone may ask.
func (t *Tests) Waivers(ctx context.Context, f WaiverFilter) (out []Waiver, more bool, err error) {
	if f.State != "" && !slices.Contains(WaiverStates, f.State) {
		return nil, false, albs.Errorf(albs.Invalid, "a waiver is never %.40q", f.State)
	}
	if f.Limit < 1 || f.Limit > MaxWaiverPage {
		f.Limit = MaxWaiverPage
	}
	limit := f.Limit
	f.Limit++
	if out, err = t.store.waivers(ctx, t.store.d, f); err != nil {
		return nil, false, fmt.Errorf("list waivers: %w", err)
	}
	more = len(out) > limit
	return out[:min(len(out), limit)], more, nil
}

// statedWaivers returns what the master stated of waivers of a build's package: of those that nobody
// took back, and of the ends of the others, by number. No row of a waiver is looked at.
func (t *Tests) statedWaivers(ctx context.Context, id albs.BuildID, d albs.Digest) (standing, ended []attest.WaiverBody, err error) {
	sts, err := t.provenance.Stated(ctx, d, attest.Waiver)
	if err != nil {
		return nil, nil, err
	}
	said := make([]attest.WaiverBody, len(sts))
	for i, st := range sts {
		if err := st.Body(&said[i]); err != nil {
			return nil, nil, err
		}
	}
	said = slices.DeleteFunc(said, func(b attest.WaiverBody) bool { return b.Build != id })
	standing = attest.WaiversOf(said)
	ended = slices.DeleteFunc(said, func(b attest.WaiverBody) bool { return b.EndedBy == "" })
	slices.SortStableFunc(ended, func(a, b attest.WaiverBody) int { return cmp.Compare(a.Waiver, b.Waiver) })
	return standing, ended, nil
}

// inForce returns the waivers of a build's package that hold now, and of the last of those
// that don't any more whose it was, why it was made and how it ended, a clause; "" if there
// is none.
func (t *Tests) inForce(ctx context.Context, id albs.BuildID, d albs.Digest) (in []albs.Waived, lapsed string, err error) {
	standing, ended, err := t.statedWaivers(ctx, id, d)
	if err != nil {
		return nil, "", err
	}
	last := int64(0)
	for _, b := range standing {
		if b.Expires.After(time.Now()) {
			in = append(in, b.Waived)
		} else if b.Waiver > last {
			last, lapsed = b.Waiver, fmt.Sprintf("waiver %d of %s (%s) expired on %s", b.Waiver, b.Person, b.Reason, b.Expires.UTC().Format(time.DateOnly))
		}
	}
	if n := len(ended); n > 0 && ended[n-1].Waiver > last {
		lapsed = ended[n-1].End()
	}
	return in, lapsed, nil
}

// covered reports whether one of waivers lets a stage be one that didn't pass.
func covered(waivers []albs.Waived, s albs.TestStage) bool {
	return slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Covers(s) })
}

// waive is what runs come to for a package with these waivers: as verdictOf says, but that
// nothing is said against it by a stage that is waived. Where nothing was found out, as
// where tests couldn't be carried out, only a waiver helps that says so; and where they are
// still to end none does.
func waive(runs []view, g product.Gate, waivers []albs.Waived) Verdict {
	was := verdictOf(runs, g)
	if was.State == Passed || was.State == Pending || len(waivers) == 0 {
		return was
	}
	untested := slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Untested })
	seen, bad := slices.Clone(runs), map[albs.TestStage]bool{}
	for i, r := range seen {
		seen[i].Stages = slices.Clone(r.Stages)
		for j, s := range r.Stages {
			if s.Status.Bad() && covered(waivers, s.Stage) {
				bad[s.Stage], seen[i].Stages[j].Status = true, albs.TestSkipped
			}
		}
	}
	if untested {
		seen = slices.DeleteFunc(seen, func(r view) bool { return r.verdict(g).State != Pending })
	}
	if v := verdictOf(seen, g); v.State != Passed && !(untested && len(seen) == 0) {
		return v
	}
	out := Verdict{State: Waived, Reason: was.Reason}
	for _, w := range waivers {
		used := w.Untested
		for s := range bad {
			used = used || w.Covers(s)
		}
		if used {
			out.Waivers = append(out.Waivers, w)
			out.Reason += "; " + w.String()
		}
	}
	return out
}
