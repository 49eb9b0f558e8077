// Package release owns what becomes public: plans, their approval, publication and
// rollback.
//
// A release begins as a plan that the master computes (package plan): for the builds
// named, which package goes into which repositories of the product, and what
// speaks against it. People approve exactly that, bound to a digest over its
// effects. Publication computes the plan anew: an equal digest goes on, another
// voids the approvals. Then the new snapshots are made, their metadata is signed,
// and a releaser shows the tree of all repositories of the product at once; a
// rollback shows an earlier tree under a new serial.
//
//	status       what happens                    then
//	–            plan                            scheduled
//	scheduled    publish, the digest is equal    in progress
//	scheduled    publish, it is another; replan  scheduled, with the new plan
//	in progress  the releaser shows the tree     completed
//	in progress  a task ends in any other way    failed
//	failed       publish, replan                 as from scheduled
//	completed    rolled back                     reverted
//	reverted     its tree is brought back        completed
//
// Invariants: nothing unsigned, unproven, barred by the product's gate or older
// than what is shown is published, and there is no way around that; a package that
// was released never changes under its name; one release of a product is published
// at a time; nothing is shown in part. Signatures are sign's, snapshots and serials
// repo's, approvals auth's, the verdict on tests testrun's.
package release

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/record"
	"albs/internal/master/release/gather"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
)

// Parts are the modules that releases rest on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Auth       *auth.Auth
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Products   *product.Products
	Platforms  *platform.Platforms
	References *reference.Index
	Records    *record.Records
	Repos      *repo.Repos
	Builds     *build.Builds
	Tests      *testrun.Tests
	Signs      *sign.Signing
	Log        zerolog.Logger
}

// Releases keeps releases. It may be used concurrently.
type Releases struct {
	store      store
	d          *db.DB
	events     *event.Log
	auth       *auth.Auth
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	products   *product.Products
	platforms  *platform.Platforms
	references *reference.Index
	records    *record.Records
	repos      *repo.Repos
	builds     *build.Builds
	tests      *testrun.Tests
	signs      *sign.Signing
	log        zerolog.Logger

	gather *gather.Gatherer
	parts  []Part
	reach  reach
}

// New returns the releases of a master and registers the handler of the kind
// publish.
func New(p Parts) *Releases {
	r := &Releases{
		store: store{p.DB}, d: p.DB, events: p.Events, auth: p.Auth, queue: p.Queue, artifacts: p.Artifacts, provenance: p.Provenance,
		products: p.Products, platforms: p.Platforms, references: p.References, records: p.Records, repos: p.Repos, builds: p.Builds, tests: p.Tests, signs: p.Signs, log: p.Log,
		reach: reach{names: make(map[albs.Digest]names)},
	}
	r.gather = gather.New(gather.Parts{
		DB: p.DB, Artifacts: p.Artifacts, Provenance: p.Provenance, Platforms: p.Platforms, Products: p.Products, References: p.References, Records: p.Records,
		Repos: p.Repos, Builds: p.Builds, Tests: p.Tests, Signs: p.Signs,
		Released: func(ctx context.Context, product, path, file string) (albs.Digest, error) {
			return r.store.released(ctx, r.d, product, path, file)
		},
	})
	p.Queue.Register(albs.KindPublish, handler{r})
	p.Builds.Guard(r.guard)
	p.Artifacts.Root("release", r.roots)
	return r
}

// guard keeps a build that is or was in public, or is on its way, as it is. A plan alone
// keeps nothing: it is void when it is published without what it was made for.
func (r *Releases) guard(ctx context.Context, q db.Q, id albs.BuildID) error {
	release, err := r.store.holds(ctx, q, id)
	if err != nil {
		return fmt.Errorf("releases of build %d: %w", id, err)
	}
	if release != 0 {
		return albs.Errorf(albs.Conflict, "build %d is in release %d: it stays as it is; make another build", id, release)
	}
	return nil
}

// Kind says what a release does.
type Kind string

// The kinds of release.
const (
	Publication Kind = "publish"
	Rollback    Kind = "rollback"
)

// Status is where a release stands, in ALBS's numbers.
type Status int

// The statuses of a release.
const (
	Scheduled  Status = 1 // planned; waits for approval and publication
	InProgress Status = 2 // its metadata is being signed, or it is being published
	Completed  Status = 3 // it is public
	Failed     Status = 4 // its publication ended without success; it can be published again
	Reverted   Status = 5 // it was public and was rolled back
)

// String returns ALBS's word for the status.
func (s Status) String() string {
	switch s {
	case Scheduled:
		return "scheduled"
	case InProgress:
		return "in progress"
	case Completed:
		return "completed"
	case Failed:
		return "failed"
	case Reverted:
		return "reverted"
	}
	return fmt.Sprintf("status %d", int(s))
}

// Release is a release as faces show it.
type Release struct {
	ID        albs.ReleaseID
	Kind      Kind
	Product   string
	Team      string
	Planner   string // name of the person who planned it
	PlannerID albs.UserID
	Status    Status
	Reason    string // one line: why it failed, why its approvals are void
	Digest    albs.Digest
	Expires   time.Time // when the plan's approvals end
	Serial    int64     // of its tree; 0 before publication began
	From      int64     // the serial that was shown before
	BackTo    int64     // of a rollback: the serial whose content it brings back
	Tree      albs.Digest
	Task      albs.TaskID // its publish task; 0 before
	Created   time.Time
	Changed   time.Time

	// What follows is empty in lists.

	Builds    []albs.BuildID
	Plan      plan.Plan
	Approvals []auth.Approval // that count for the plan as it is
	Needed    int             // approvals that the product asks for
}

// Cause returns why a release failed, by its Reason; nil if it didn't.
func (r Release) Cause() *failure.Cause {
	if r.Status != Failed {
		return nil
	}
	c := failure.OfWords(r.Reason)
	return &c
}

// Approved reports whether enough people have approved the plan.
func (r Release) Approved() bool { return len(r.Approvals) >= r.Needed }

// Topic returns the event topic of a release, which is also the subject of its
// approvals.
func Topic(id albs.ReleaseID) string { return "release:" + id.String() }

// MaxBuilds bounds the builds of one plan.
const MaxBuilds = 200

// planLife is how long people have to approve and publish a plan.
const planLife = 7 * 24 * time.Hour

// Plan computes what the release of the builds' packages into a product comes to,
// and keeps it, with what else is wanted of the parts. Without either it is a release of the
// records that the product's repositories were given since, and of the compression that they
// are to have. A plan with refusals is kept and shown too, but can't be
// approved. Errors: Forbidden without release.plan on the product's team, or without what a
// part asks for, NotFound for an unknown product or build, Invalid for the same build twice,
// or none where nothing else waits, TooLarge beyond MaxBuilds or MaxWanted.
func (r *Releases) Plan(ctx context.Context, productName string, builds []albs.BuildID, wanted ...plan.Wanted) (Release, error) {
	p, err := r.products.Get(ctx, productName)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleasePlan, p.Object()); err != nil {
		return Release{}, err
	}
	if len(builds) > MaxBuilds {
		return Release{}, albs.Errorf(albs.TooLarge, "%d builds, at most %d are released at once", len(builds), MaxBuilds)
	}
	builds = slices.Sorted(slices.Values(builds))
	if len(slices.Compact(slices.Clone(builds))) != len(builds) {
		return Release{}, albs.Errorf(albs.Invalid, "name the builds to release, each once")
	}
	if wanted, err = r.wanted(ctx, p, wanted); err != nil {
		return Release{}, err
	}
	plan, err := r.compute(ctx, gather.Wish{Product: p, Builds: builds, Wanted: wanted, Expires: expiry()})
	if err != nil {
		return Release{}, err
	}
	if len(builds) == 0 && len(wanted) == 0 && !plan.ChangesMetadata() {
		return Release{}, albs.Errorf(albs.Invalid, "name the builds to release: no record of the product's repositories waits for a release, nor does another compression")
	}
	return r.planned(ctx, p, plan, builds)
}

// planned keeps a new plan as a release of builds, or of what it copies.
func (r *Releases) planned(ctx context.Context, p product.Product, plan plan.Plan, builds []albs.BuildID) (Release, error) {
	actor, now := auth.From(ctx), db.Now()
	row := releaseRow{
		Kind: Publication, Product: p.Name, Team: p.Team, PlannerID: actor.User, Planner: actor.Name, Status: Scheduled,
		Files: "[]", CreatedAt: now, ChangedAt: now,
	}
	if err := row.setPlan(plan); err != nil {
		return Release{}, err
	}
	if err := r.keep(ctx, &row, builds); err != nil {
		return Release{}, fmt.Errorf("plan release: %w", err)
	}
	return r.Get(ctx, row.ID)
}

// compute makes the plan that is wished for from what is true now.
func (r *Releases) compute(ctx context.Context, w gather.Wish) (plan.Plan, error) {
	f, p, err := r.effects(ctx, w)
	if err != nil {
		return plan.Plan{}, err
	}
	begun, err := r.testSigned(ctx, f)
	if err != nil {
		return plan.Plan{}, err
	}
	if begun {
		if f, p, err = r.effects(ctx, w); err != nil {
			return plan.Plan{}, err
		}
	}
	return p, r.judge(ctx, f, &p)
}

// testSigned has the signed copies tested that have to be and never were, such as of packages
// that were signed before their product asked for it, and returns whether there are any: the
// plan says then that they are waited for.
func (r *Releases) testSigned(ctx context.Context, f plan.Facts) (begun bool, err error) {
	asked := map[albs.BuildID]bool{}
	for _, c := range f.Packages {
		if !c.Untested || asked[c.Build] {
			continue
		}
		asked[c.Build] = true
		now, err := r.tests.TestSigned(ctx, c.Build, f.Key)
		if err != nil {
			return begun, fmt.Errorf("test signed packages of build %d: %w", c.Build, err)
		}
		begun = begun || now
	}
	return begun, nil
}

// effects is compute without a look at what the release would leave unresolved, which is
// no part of the digest and takes longer than the rest.
func (r *Releases) effects(ctx context.Context, w gather.Wish) (plan.Facts, plan.Plan, error) {
	f, err := r.gather.Facts(ctx, w)
	if err != nil {
		return f, plan.Plan{}, err
	}
	p := plan.Make(f)
	if len(r.parts) == 0 {
		return f, p, nil
	}
	if f.Shares, err = r.shares(ctx, w, f, p); err != nil {
		return f, p, err
	}
	return f, plan.Make(f), nil
}

func (r *Releases) judge(ctx context.Context, f plan.Facts, p *plan.Plan) error {
	c, err := r.gather.Closure(ctx, f, *p)
	if err != nil {
		return fmt.Errorf("what the release would leave unresolved: %w", err)
	}
	p.Judge(c)
	return nil
}

// keep writes a new release of builds that are still there.
func (r *Releases) keep(ctx context.Context, row *releaseRow, builds []albs.BuildID) error {
	return r.d.InTx(ctx, func(tx db.Tx) error {
		for _, id := range builds {
			if err := r.builds.There(ctx, tx, id); err != nil {
				return err
			}
		}
		if err := r.store.add(ctx, tx, row, builds); err != nil {
			return err
		}
		return r.tell(ctx, tx, "release.planned", *row)
	})
}

// expiry is when a plan that is made now expires, to the second.
func expiry() time.Time { return time.Now().Add(planLife).UTC().Truncate(time.Second) }

// Replan computes the plan of a release anew, with a new expiry: after tests have
// passed or packages were signed. Approvals of the plan before are void. Errors:
// Forbidden without release.plan, NotFound, Conflict while the release is being
// published and afterwards.
func (r *Releases) Replan(ctx context.Context, id albs.ReleaseID) (Release, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleasePlan, row.object()); err != nil {
		return Release{}, err
	}
	if row.Kind != Publication || !row.waits() {
		return Release{}, albs.Errorf(albs.Conflict, "release %d is %s: there is nothing to plan", id, row.Status)
	}
	was, err := row.plan()
	if err != nil {
		return Release{}, err
	}
	w, err := r.wish(ctx, row, was)
	if err != nil {
		return Release{}, err
	}
	w.Expires = expiry()
	plan, err := r.compute(ctx, w)
	if err != nil {
		return Release{}, err
	}
	if err := r.replace(ctx, row, plan, ""); err != nil {
		return Release{}, err
	}
	return r.Get(ctx, id)
}

// wish returns what the plan was asked for that a release has.
func (r *Releases) wish(ctx context.Context, row releaseRow, was plan.Plan) (gather.Wish, error) {
	w := gather.Wish{Wanted: was.Wanted, Decisions: was.Decisions, Copy: was.Copy, Expires: row.ExpiresAt.Time}
	var err error
	if w.Product, err = r.products.Get(ctx, row.Product); err != nil {
		return w, err
	}
	w.Builds, err = r.store.builds(ctx, r.d, row.ID)
	return w, err
}

// replace gives a release another plan; it is scheduled then. It is a Conflict if
// the release has changed since row was read: a plan that somebody has made since
// is no older than this one, and may be approved already.
func (r *Releases) replace(ctx context.Context, row releaseRow, plan plan.Plan, reason string) error {
	from, before := row.Status, row.Digest
	if err := row.setPlan(plan); err != nil {
		return err
	}
	row.Status, row.Reason, row.ChangedAt = Scheduled, reason, db.Now()
	err := r.d.InTx(ctx, func(tx db.Tx) error {
		now, err := r.store.get(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if now.Digest != before {
			return albs.Errorf(albs.Conflict, "it was planned anew meanwhile: look at it again")
		}
		if err := r.store.update(ctx, tx, row, from); err != nil {
			return err
		}
		return r.tell(ctx, tx, "release.planned", row)
	})
	if err != nil {
		return fmt.Errorf("plan release %d anew: %w", row.ID, err)
	}
	return nil
}

func (row *releaseRow) setPlan(p plan.Plan) error {
	b, err := json.Marshal(p)
	if err != nil {
		return fmt.Errorf("encode plan: %w", err)
	}
	row.Plan, row.Digest, row.ExpiresAt = string(b), p.Digest(), db.At(p.Expires)
	row.read = nil
	return nil
}

func (row releaseRow) plan() (plan.Plan, error) {
	if row.read != nil {
		return *row.read, nil
	}
	var p plan.Plan
	if err := json.Unmarshal([]byte(row.Plan), &p); err != nil {
		return p, fmt.Errorf("plan of release %d: %w", row.ID, err)
	}
	return p, nil
}

// waits reports whether the release waits to be published, for the first time or
// after it failed.
func (row releaseRow) waits() bool { return row.Status == Scheduled || row.Status == Failed }

// object is what auth asks about a release: the team at the time of planning.
func (row releaseRow) object() auth.Object { return auth.Object{Team: row.Team, Owner: row.PlannerID} }

// tell writes an event of a release, as the actor of ctx.
func (r *Releases) tell(ctx context.Context, tx db.Tx, kind string, row releaseRow) error {
	return r.events.Add(ctx, tx, kind, Topic(row.ID), auth.From(ctx).String(), Event{
		Release: row.ID, Product: row.Product, Status: row.Status.String(), Reason: row.Reason, Digest: row.Digest, Serial: row.Serial,
	})
}

// Event is the data of the events release.planned, release.started,
// release.published, release.failed and release.reverted.
type Event struct {
	Release albs.ReleaseID `json:"release"`
	Product string         `json:"product"`
	Status  string         `json:"status"`
	Reason  string         `json:"reason,omitempty"`
	Digest  albs.Digest    `json:"digest"`
	Serial  int64          `json:"serial,omitempty"`
}

// Get returns a release with its plan and approvals, or NotFound.
func (r *Releases) Get(ctx context.Context, id albs.ReleaseID) (Release, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	out := row.view()
	if out.Plan, err = row.plan(); err != nil {
		return Release{}, err
	}
	row.read = &out.Plan // for those below
	if out.Builds, err = r.store.builds(ctx, r.d, id); err != nil {
		return Release{}, err
	}
	if row.Kind == Publication {
		p, err := r.products.Get(ctx, row.Product)
		if err != nil {
			return Release{}, err
		}
		out.Needed = p.Approvals.Count
		if out.Approvals, err = r.approvals(ctx, r.d, row, p); err != nil {
			return Release{}, err
		}
	}
	return out, nil
}

func (row releaseRow) view() Release {
	return Release{
		ID: row.ID, Kind: row.Kind, Product: row.Product, Team: row.Team, Planner: row.Planner, PlannerID: row.PlannerID,
		Status: row.Status, Reason: row.Reason, Digest: row.Digest, Expires: row.ExpiresAt.Time, Serial: row.Serial,
		From: row.FromSerial, BackTo: row.BackTo, Tree: row.Tree, Task: row.TaskID, Created: row.CreatedAt.Time, Changed: row.ChangedAt.Time,
	}
}

// Filter says which releases List returns. Zero fields don't filter.
type Filter struct {
	Before  albs.ReleaseID // only lower ids, for the next page
	Limit   int            // 1 to 200; 0 is 20
	Skip    int            // so many releases first, for pages that are numbered
	Product string
	Status  Status
	Build   albs.BuildID
}

// List returns releases, newest first, and whether there are more; pass the last
// one's ID as Before for the next page. Anyone may ask.
func (r *Releases) List(ctx context.Context, f Filter) ([]Release, bool, error) {
	if f.Limit <= 0 || f.Limit > 200 {
		f.Limit = 20
	}
	rows, err := r.store.list(ctx, f)
	if err != nil {
		return nil, false, err
	}
	more := len(rows) > f.Limit
	if more {
		rows = rows[:f.Limit]
	}
	out := make([]Release, len(rows))
	for i, row := range rows {
		out[i] = row.view()
	}
	return out, more, nil
}

// CountOf returns how many releases a filter leaves, whatever its Limit and Skip.
func (r *Releases) CountOf(ctx context.Context, f Filter) (int, error) { return r.store.count(ctx, f) }
