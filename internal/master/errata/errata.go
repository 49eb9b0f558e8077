// Package errata owns the advisories of platforms: what was wrong, how badly, and which
// packages answer it; what people changed of that, and what was published.
//
// An advisory is kept as it came in and as it is edited, so that the one can change
// without the other's being lost. Every change raises its revision, says who made it and
// why, and can be read in its history; what was published stays as it was. Which packages
// of builds answer an advisory is matching's to find; how advisories are shown in public
// is publish's.
//
//	state         what happens                              then
//	–             create                                    not released
//	any but in progress   edit, restore                     not released, or released if a version is public
//	any but in progress   withdraw                          withdrawn
//	any but in progress   begin                             in progress
//	in progress   publish                                   released, or withdrawn
//	in progress   fail                                      failed
//	any but in progress   revert                            as after an edit, or withdrawn
//	in progress           revert, by another product        in progress
//
// An advisory in progress belongs to one release and is left by its end alone, which
// happens once: no crash keeps it there.
package errata

import (
	"context"
	"fmt"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/provenance"
)

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Parts are the modules that advisories rest on.
type Parts struct {
	DB         *db.DB
	Events     Events
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	Builds     Builds
}

// Builds tells what builds there are; build.Builds is one.
type Builds interface {
	// There returns nil if a build is there, as q sees it, else NotFound.
	There(ctx context.Context, q db.Q, id albs.BuildID) error
}

// Errata keeps advisories. It may be used concurrently.
type Errata struct {
	Parts
	now func() time.Time
}

// New returns Errata over its parts. It does no I/O.
func New(p Parts) *Errata { return &Errata{Parts: p, now: time.Now} }

// Key names an advisory: the same id on two platforms names two.
type Key struct {
	ID       string `json:"id"`
	Platform string `json:"platform"`
}

// String returns the key as topics and messages have it: ID/PLATFORM.
func (k Key) String() string { return k.ID + "/" + k.Platform }

// Topic returns the event topic of an advisory.
func Topic(k Key) string { return "errata:" + k.String() }

// Record is an advisory as it is kept.
type Record struct {
	Key
	// Revision is raised by every change, from 1: a change names the one that it rests on.
	Revision int64
	State    State
	// Reason is why its last release failed, one line.
	Reason string
	// Frozen keeps automatic matching from changing its matches.
	Frozen bool
	// Own tells that the distribution itself issued it, and that it answers no other's: it
	// matches builds as they are named, and at once.
	Own bool
	// Advisory is what the next release would publish but for the digests: Packages are
	// those that are wanted, Version is the next one.
	Advisory advisory.Advisory
	// Original is the advisory as it came in.
	Original advisory.Advisory
	// Builds are those for which it was made.
	Builds []albs.BuildID
	// Shown is the newest version that is public; 0 if there is none. ShownBy says which one
	// each product shows.
	Shown   int
	ShownBy []Showing
	// Content is the revision that last changed what readers are to see.
	Content int64
	// Pending tells that what is public, in one of the products that show it, lacks something
	// of Advisory, or all of it.
	Pending bool
	// Release is the one that published it last, or has it in progress; 0 if there is none.
	Release albs.ReleaseID
	Created time.Time
	Changed time.Time
}

// Showing is a product that shows an advisory.
type Showing struct {
	Product string
	Version int
}

// The kinds of events, which are those of changes.
const (
	Created   = "errata.created"
	Imported  = "errata.imported" // the original came in anew, with changes
	Edited    = "errata.edited"
	Matched   = "errata.matched"
	Started   = "errata.started"
	Failure   = "errata.failed"
	Published = "errata.released"
	Withdrew  = "errata.withdrawn"
	Restored  = "errata.restored"
	Reverted  = "errata.reverted"
)

// Event is the data of events about advisories.
type Event struct {
	Key
	Revision int64          `json:"revision"`
	State    string         `json:"state"`
	Version  int            `json:"version,omitempty"` // that is public
	Release  albs.ReleaseID `json:"release,omitempty"`
	Reason   string         `json:"reason,omitempty"`
}

// Get returns an advisory; NotFound if there is none. Anyone may ask.
func (e *Errata) Get(ctx context.Context, k Key) (Record, error) {
	return get(ctx, e.DB, k)
}

// Look is Get in a transaction.
func (e *Errata) Look(ctx context.Context, q db.Q, k Key) (Record, error) {
	return get(ctx, q, k)
}

// Query says which advisories to list; the zero one lists all.
type Query struct {
	IDs []string
	// Only narrows the list by what another module keeps of advisories.
	Only     Only
	Title    string // a part of it, in any case
	Platform string
	CVE      string
	State    State
	Type     advisory.Type
	Severity *advisory.Severity
	// Since and Until bound when they were issued: from the one on, and before the other; a
	// zero time is no bound.
	Since, Until time.Time
	// Pending leaves only those of which a release would publish something.
	Pending bool
	// Before is the last of the page before; the zero Place begins.
	Before Place
	// Skip leaves that many out after Before, for interfaces that count pages.
	Skip int
	// Limit is between 1 and MaxPage; 0 is MaxPage.
	Limit int
}

// MaxPage is the most advisories that one List returns.
const MaxPage = 100

// Only is a condition on an advisory, whose id is a.name and whose platform a.platform, by a
// module that keeps rows of its own about it: SQL with one argument, which %d numbers. The
// zero one holds for all.
type Only struct {
	SQL string
	Arg any
}

// maxIDs bounds the ids of a Query.
const maxIDs = 500

// Place is where an advisory stands in lists: the newest issued first.
type Place struct {
	Issued time.Time
	ID     int64 // 0 is before all
}

// Page is a part of a list.
type Page struct {
	Records []Record
	Next    Place // to list on from; zero if nothing follows
}

// List returns advisories, those issued last first. Anyone may ask. Invalid beyond a
// bound of the Query.
func (e *Errata) List(ctx context.Context, q Query) (Page, error) {
	if err := q.check(); err != nil {
		return Page{}, err
	}
	if q.Limit == 0 {
		q.Limit = MaxPage
	}
	p, err := list(ctx, e.DB, q)
	if err != nil {
		return Page{}, fmt.Errorf("list advisories: %w", err)
	}
	return p, nil
}

// Count returns how many advisories List would return in all.
func (e *Errata) Count(ctx context.Context, q Query) (int, error) {
	if err := q.check(); err != nil {
		return 0, err
	}
	n, err := count(ctx, e.DB, q)
	if err != nil {
		return 0, fmt.Errorf("count advisories: %w", err)
	}
	return n, nil
}

func (q Query) check() error {
	if q.Limit < 0 || q.Limit > MaxPage || q.Skip < 0 || len(q.IDs) > maxIDs || len(q.Title) > advisory.MaxLine {
		return albs.Errorf(albs.Invalid, "a list of advisories has at most %d a page and takes at most %d ids and %d bytes of a title", MaxPage, maxIDs, advisory.MaxLine)
	}
	return nil
}

// Unreleased returns at most n advisories of a platform ("" is all) of which a release
// would publish something, by id and platform, from the one after a key on; those in
// progress and those that failed are among them. It asks no policy.
func (e *Errata) Unreleased(ctx context.Context, platform string, after Key, n int) ([]Record, error) {
	out, err := unreleased(ctx, e.DB, platform, after, min(max(n, 1), MaxPage))
	if err != nil {
		return nil, fmt.Errorf("list advisories that wait: %w", err)
	}
	return out, nil
}

// Summary is an advisory in one line.
type Summary struct {
	Key
	Title   string
	State   State
	Updated time.Time
}

// Summaries calls yield for every advisory of a platform ("" is all) by id and platform,
// and ends with yield's first error. Anyone may ask.
func (e *Errata) Summaries(ctx context.Context, platform string, yield func(Summary) error) error {
	if err := summaries(ctx, e.DB, platform, yield); err != nil {
		return fmt.Errorf("list advisories: %w", err)
	}
	return nil
}

// Change is one change of an advisory.
type Change struct {
	Revision    int64
	Kind        string // of its event
	Actor       string
	Reason      string
	Differences []Difference
	At          time.Time
}

// History returns the changes of an advisory, the newest first, at most MaxPage of those
// before a revision (0 is none); NotFound if there is no such advisory. Anyone may ask.
func (e *Errata) History(ctx context.Context, k Key, before int64) ([]Change, error) {
	return history(ctx, e.DB, k, before)
}

// may returns the rules of a platform's advisories if the actor of ctx may do v to them.
func (e *Errata) may(ctx context.Context, v auth.Verb, name string) (platform.Platform, error) {
	p, err := e.Platforms.Get(ctx, name)
	if err != nil {
		return p, err
	}
	return p, auth.Can(ctx, v, auth.Object{Team: p.Errata.Team})
}

// tell adds the event of a change in its transaction.
func (e *Errata) tell(ctx context.Context, tx db.Tx, kind string, r Record, reason string) error {
	return e.Events.Add(ctx, tx, kind, Topic(r.Key), auth.From(ctx).String(),
		Event{Key: r.Key, Revision: r.Revision, State: r.State.String(), Version: r.Shown, Release: r.Release, Reason: reason})
}
