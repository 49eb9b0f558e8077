package delivery

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
)

func (s *Resources) routeReleases() {
	op := rest.Operation(rest.Get, "/api/v1/releases/", "List releases, the newest first")
	op = rest.Unsupported(op, "platform_id", "package_name")
	rest.Handle(s.Server, op, s.listReleases)
	op = rest.Created(rest.Operation(rest.Post, "/api/v1/releases/new/", "Plan a release: what goes where, and what speaks against it"))
	op = rest.Slow(op) // every package's proofs are checked
	rest.Handle(s.Server, op, s.planRelease)
	rest.Handle(s.Server, rest.Operation(rest.Get, "/api/v1/releases/{release_id}/", "Show a release with its plan and approvals"), s.getRelease)
	op = rest.Operation(rest.Put, "/api/v1/releases/{release_id}/", "Compute the plan anew; approvals of the one before are void")
	op = rest.Slow(op)
	rest.Handle(s.Server, op, s.replan)
	op = rest.Operation(rest.Post, "/api/v1/releases/{release_id}/decide/", "Decide where packages go and compute the plan anew; approvals of the one before are void")
	rest.Handle(s.Server, rest.Slow(op), s.decide)
	rest.Handle(s.Server, rest.Operation(rest.Post, "/api/v1/releases/{release_id}/approve/", "Approve exactly the plan with that digest"), s.approve)
	op = rest.Operation(rest.Post, "/api/v1/releases/{release_id}/commit/", "Publish an approved release")
	op = rest.Slow(op)
	rest.Handle(s.Server, op, s.changeRelease(s.Releases.Publish))
	rest.Handle(s.Server, rest.Operation(rest.Post, "/api/v1/releases/{release_id}/cancel/", "End a release's publication or rollback that is in progress"), s.changeRelease(s.Releases.Cancel))
	op = rest.Operation(rest.Post, "/api/v1/products/{name}/rollback", "Bring back what a product showed at an earlier serial; what was released since is reverted")
	rest.Handle(s.Server, rest.Slow(op), s.rollback)
	op = rest.Operation(rest.Post, "/api/v1/releases/{release_id}/revert/", "Roll a published release back")
	op = rest.Slow(op)
	rest.Handle(s.Server, op, s.changeRelease(s.Releases.Revert))
}

// ReleaseView has ALBS's members first, but for the plan, which is albs's own.
type ReleaseView struct {
	ID        albs.ReleaseID `json:"id"`
	Status    int            `json:"status" enum:"1,2,3,4,5" doc:"ALBS's: 1 scheduled, 2 in progress, 3 completed, 4 failed, 5 reverted"`
	BuildIDs  []albs.BuildID `json:"build_ids"`
	Product   rest.NameView  `json:"product"`
	Owner     rest.OwnerView `json:"owner"`
	CreatedAt time.Time      `json:"created_at"`
	Plan      *plan.Plan     `json:"plan" doc:"Null in lists"`

	StatusText string         `json:"status_text"`
	Kind       release.Kind   `json:"kind" enum:"publish,rollback"`
	Reason     string         `json:"reason"`
	Team       string         `json:"team"`
	Digest     albs.Digest    `json:"digest" doc:"Over the plan's effects; what is approved"`
	ExpiresAt  *time.Time     `json:"expires_at"`
	Approved   bool           `json:"approved"`
	Approvals  []ApprovalView `json:"approvals"`
	Needed     int            `json:"approvals_needed"`
	Serial     int64          `json:"serial" doc:"Of the tree that it shows; 0 before"`
	From       int64          `json:"from_serial"`
	BackTo     int64          `json:"back_to,omitempty" doc:"Of a rollback: the serial that it brings back"`
	Tree       albs.Digest    `json:"tree,omitempty"`
	Task       albs.TaskID    `json:"task_id,omitempty"`
	ChangedAt  time.Time      `json:"changed_at"`
	Failure    *FailureView   `json:"failure,omitempty" doc:"Of a release that failed: why"`
}

func viewRelease(r release.Release) ReleaseView {
	out := ReleaseView{
		ID: r.ID, Status: int(r.Status), StatusText: r.Status.String(), BuildIDs: append([]albs.BuildID{}, r.Builds...),
		Product: rest.NameView{Name: r.Product}, Owner: rest.OwnerView{ID: r.PlannerID, Username: r.Planner}, CreatedAt: r.Created, ChangedAt: r.Changed,
		Kind: r.Kind, Reason: r.Reason, Team: r.Team, Digest: r.Digest, ExpiresAt: rest.TimeOf(r.Expires), Approved: r.Approved(),
		Approvals: viewApprovals(r.Approvals), Needed: r.Needed, Serial: r.Serial, From: r.From, BackTo: r.BackTo, Tree: r.Tree, Task: r.Task, Failure: ViewFailure(r.Cause(), 0),
	}
	return out
}

func releaseWhole(r release.Release) *rest.Body[ReleaseView] {
	out := viewRelease(r)
	out.Plan = &r.Plan
	return rest.Answer(out)
}

type releasesInput struct {
	Page      int          `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"Ten releases a page, the newest first"`
	ProductID int64        `query:"product_id"`
	Product   string       `query:"product" doc:"The name of a product"`
	Status    int          `query:"status" minimum:"1" maximum:"5" doc:"As in the answers"`
	Build     albs.BuildID `query:"build_id" doc:"Releases of a build's packages"`
}

// ReleasesView is a page of releases.
type ReleasesView struct {
	Releases      []ReleaseView `json:"releases"`
	TotalReleases int           `json:"total_releases"`
	CurrentPage   int           `json:"current_page"`
}

func (s *Resources) listReleases(ctx context.Context, in *releasesInput) (*rest.Body[ReleasesView], error) {
	f := release.Filter{Product: in.Product, Status: release.Status(in.Status), Build: in.Build, Limit: rest.PerPage, Skip: (in.Page - 1) * rest.PerPage}
	if in.ProductID != 0 {
		if in.Product != "" {
			return nil, albs.Errorf(albs.Invalid, "query.product_id stands in place of product; give one or the other")
		}
		p, err := s.Products.ByID(ctx, in.ProductID)
		if err != nil {
			return nil, err
		}
		f.Product = p.Name
	}
	list, _, err := s.Releases.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := ReleasesView{Releases: make([]ReleaseView, len(list)), CurrentPage: in.Page}
	for i, r := range list {
		out.Releases[i] = viewRelease(r)
	}
	if out.TotalReleases, err = s.Releases.CountOf(ctx, f); err != nil {
		return nil, err
	}
	return rest.Answer(out), nil
}

// newRelease is ALBS's request for a release, with product of ours.
type newRelease struct {
	Builds     []albs.BuildID  `json:"builds" maxItems:"200" doc:"None, and no advisories, releases the metadata files alone that repositories were given"`
	Product    string          `json:"product,omitempty" doc:"The name of a product"`
	ProductID  int64           `json:"product_id,omitempty" doc:"Its id, in place of the name"`
	PlatformID int64           `json:"platform_id,omitempty" doc:"Of a product's only platform; packages of all platforms are released"`
	BuildTasks json.RawMessage `json:"build_tasks,omitempty" doc:"Not supported: empty"`
	Copy       *copyBody       `json:"copy,omitempty" doc:"Packages of another product, in place of builds; nothing is built again"`
	Waiting    string          `json:"advisories_of,omitempty" maxLength:"128" doc:"A platform, all of whose advisories are released that wait; each is left out where something speaks against it, which the plan's skipped tells"`
	Advisories []advisedBody   `json:"advisories,omitempty" maxItems:"1000" doc:"Released together with the builds, or alone"`
}

// advisedBody names an advisory that is to be released.
type advisedBody struct {
	ID       string `json:"id" minLength:"1" maxLength:"100"`
	Platform string `json:"platform" minLength:"1" maxLength:"128" doc:"Its name: the same id on another platform is another advisory"`
	Optional bool   `json:"optional,omitempty" doc:"Leave it out where something speaks against it, which the plan's skipped tells; else the plan is refused"`
	Force    string `json:"force,omitempty" maxLength:"500" doc:"Why it is released though the product will not have all packages that it wants; what is missing stands in the plan"`
}

// wanted returns the advisories as a plan calls them.
func (b newRelease) wanted() (out []plan.Wanted) {
	for _, a := range b.Advisories {
		out = append(out, plan.Wanted{Part: "errata", Name: a.ID + "/" + a.Platform, Force: a.Force, Optional: a.Optional})
	}
	return out
}

// copyBody says what is copied from which product.
type copyBody struct {
	Product  string   `json:"product" minLength:"1" maxLength:"100" doc:"The name of the product copied from"`
	Serial   int64    `json:"serial,omitempty" minimum:"1" doc:"What it showed at that serial; without it, what it shows now"`
	Packages []string `json:"packages,omitempty" maxItems:"1000" doc:"NEVRAs, or names of packages or source packages; none are all, of each the newest"`
}

type planInput struct{ Body newRelease }

func (s *Resources) planRelease(ctx context.Context, in *planInput) (*rest.Body[ReleaseView], error) {
	b := in.Body
	if !rest.Empty(b.BuildTasks) {
		return nil, rest.NotSupported("body.build_tasks")
	}
	if (b.Product == "") == (b.ProductID == 0) {
		return nil, albs.Errorf(albs.Invalid, "give the product, either by body.product or by body.product_id")
	}
	var p product.Product
	var err error
	if b.Product != "" {
		p, err = s.Products.Get(ctx, b.Product)
	} else {
		p, err = s.Products.ByID(ctx, b.ProductID)
	}
	if err == nil && b.PlatformID != 0 {
		err = s.onlyPlatform(ctx, p, b.PlatformID)
	}
	if err != nil {
		return nil, err
	}
	var r release.Release
	switch {
	case b.Copy == nil:
		wanted := b.wanted()
		if b.Waiting != "" && len(wanted) > 0 {
			return nil, albs.Errorf(albs.Invalid, "body.advisories_of stands in place of body.advisories: give one or the other")
		}
		if b.Waiting != "" {
			if wanted, err = s.waiting(ctx, b.Waiting, release.MaxWanted); err != nil {
				return nil, err
			}
			if len(wanted) == 0 {
				return nil, albs.Errorf(albs.Conflict, "no advisory of platform %s waits for a release", b.Waiting)
			}
		}
		r, err = s.Releases.Plan(ctx, p.Name, b.Builds, wanted...)
	case len(b.Advisories) > 0 || b.Waiting != "":
		err = albs.Errorf(albs.Invalid, "body.copy can't be planned together with body.advisories: plan another release of them")
	case len(b.Builds) > 0:
		err = albs.Errorf(albs.Invalid, "body.copy takes the place of body.builds: leave the builds out, or plan another release of them")
	default:
		r, err = s.Releases.Copy(ctx, p.Name, plan.Copy{Product: b.Copy.Product, Serial: b.Copy.Serial, Packages: b.Copy.Packages})
	}
	if err != nil {
		return nil, err
	}
	return releaseWhole(r), nil
}

// onlyPlatform refuses a platform that would leave packages of others out, which
// a plan cannot.
func (s *Resources) onlyPlatform(ctx context.Context, p product.Product, id int64) error {
	if len(p.Platforms) != 1 {
		return albs.Errorf(albs.Invalid, "body.platform_id isn't supported yet for a product of several platforms: all are released together; leave it out")
	}
	pl, err := s.Platforms.Get(ctx, p.Platforms[0])
	if err != nil {
		return err
	}
	if pl.ID != id {
		return albs.Errorf(albs.Invalid, "body.platform_id %d is not the platform of product %s, which is %s with id %d", id, p.Name, pl.Name, pl.ID)
	}
	return nil
}

type releaseInput struct {
	ID albs.ReleaseID `path:"release_id" minimum:"1"`
}

func (s *Resources) getRelease(ctx context.Context, in *releaseInput) (*rest.Body[ReleaseView], error) {
	r, err := s.Releases.Get(ctx, in.ID)
	if err != nil {
		return nil, err
	}
	return releaseWhole(r), nil
}

func (s *Resources) changeRelease(change func(context.Context, albs.ReleaseID) (release.Release, error)) func(context.Context, *releaseInput) (*rest.Body[ReleaseView], error) {
	return func(ctx context.Context, in *releaseInput) (*rest.Body[ReleaseView], error) {
		r, err := change(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		return releaseWhole(r), nil
	}
}

type replanInput struct {
	ID   albs.ReleaseID `path:"release_id" minimum:"1"`
	Body struct {
		Builds     []albs.BuildID  `json:"builds,omitempty" doc:"Those of the release, if they are given"`
		BuildTasks json.RawMessage `json:"build_tasks,omitempty" doc:"Not supported: empty"`
		Plan       json.RawMessage `json:"plan,omitempty" doc:"Not supported: a plan is computed and never taken from a client"`
	}
}

func (s *Resources) replan(ctx context.Context, in *replanInput) (*rest.Body[ReleaseView], error) {
	switch {
	case !rest.Empty(in.Body.Plan):
		return nil, rest.NotSupported("body.plan")
	case !rest.Empty(in.Body.BuildTasks):
		return nil, rest.NotSupported("body.build_tasks")
	}
	if len(in.Body.Builds) > 0 {
		now, err := s.Releases.Get(ctx, in.ID)
		if err != nil {
			return nil, err
		}
		want := slices.Sorted(slices.Values(in.Body.Builds))
		if have := slices.Sorted(slices.Values(now.Builds)); !slices.Equal(want, have) {
			return nil, albs.Errorf(albs.Invalid, "body.builds: other builds than the release's %v aren't supported yet; plan another release", have)
		}
	}
	return s.changeRelease(s.Releases.Replan)(ctx, &releaseInput{in.ID})
}

type rollbackInput struct {
	Name string `path:"name" maxLength:"100"`
	Body struct {
		From int64 `json:"from" minimum:"1" doc:"The serial that is shown, as it was looked at"`
		To   int64 `json:"to" minimum:"1" doc:"The earlier serial that is meant to be shown"`
		// Reason stands in the plan of the rollback.
		Reason string `json:"reason,omitempty" maxLength:"500" doc:"Why, one line"`
	}
}

func (s *Resources) rollback(ctx context.Context, in *rollbackInput) (*rest.Body[ReleaseView], error) {
	p, err := named(ctx, s.Products, in.Name)
	if err != nil {
		return nil, err
	}
	r, err := s.Releases.Rollback(ctx, p.Name, in.Body.From, in.Body.To, in.Body.Reason)
	if err != nil {
		return nil, err
	}
	return releaseWhole(r), nil
}

type decideInput struct {
	ID   albs.ReleaseID `path:"release_id" minimum:"1"`
	Body struct {
		Digest    string         `json:"digest" doc:"Of the plan as it was shown"`
		Decisions []decisionBody `json:"decisions" maxItems:"1000" doc:"All that are to hold; those of before that are left out are taken back"`
	}
}

type decisionBody struct {
	Action  place.Action `json:"action" enum:"move,add,exclude"`
	Package string       `json:"package" maxLength:"300" doc:"The NEVRA, as the plan writes it"`
	To      string       `json:"to,omitempty" maxLength:"200" doc:"The path of a repository, or a place; not with exclude"`
	Reason  string       `json:"reason" maxLength:"500" doc:"One line"`
	By      string       `json:"by,omitempty" doc:"As the plan tells it; the server knows who decides"`
	User    albs.UserID  `json:"user,omitempty" doc:"The same"`
	At      time.Time    `json:"at,omitzero" doc:"The same"`
}

func (s *Resources) decide(ctx context.Context, in *decideInput) (*rest.Body[ReleaseView], error) {
	d, err := albs.ParseDigest(in.Body.Digest)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "body.digest: %w", err)
	}
	var decisions []place.Decision
	for _, b := range in.Body.Decisions {
		decisions = append(decisions, place.Decision{Action: b.Action, Package: b.Package, To: b.To, Reason: b.Reason})
	}
	r, err := s.Releases.Decide(ctx, in.ID, d, decisions)
	if err != nil {
		return nil, err
	}
	return releaseWhole(r), nil
}

type approveInput struct {
	ID   albs.ReleaseID `path:"release_id" minimum:"1"`
	Body approvalBody
}

func (s *Resources) approve(ctx context.Context, in *approveInput) (*rest.Body[ReleaseView], error) {
	d, word, err := in.Body.word()
	if err != nil {
		return nil, err
	}
	r, err := s.Releases.ApproveBy(ctx, in.ID, d, word)
	if err != nil {
		return nil, err
	}
	return releaseWhole(r), nil
}
