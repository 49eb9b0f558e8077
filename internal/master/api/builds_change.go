package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
)

// What is done to a build as a whole or to one of its items, and how items stand.

func (s *Server) routeChanges() {
	op := rest.Operation(post, "/api/v1/builds/{build_id}/clone", "Make a build of what another was asked for")
	op = rest.Slow(op) // every ref may be resolved
	op.Description = "It is made of the same commits, or, if fresh, of what the refs name by now, and is the caller's. A second request with the same Idempotency-Key gets the first one's build."
	rest.Handle(s.Server, op, s.cloneBuild)
	op = rest.Operation(remove, "/api/v1/builds/{build_id}/remove", "Delete a build")
	op.Description = "It is hidden, and who asks for it is told who deleted it and when; what runs of it is cancelled. 409 if it is signed or released."
	op.DefaultStatus = 204
	rest.Handle(s.Server, op, s.deleteBuild)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/builds/{build_id}/items/{item_id}/cancel", "Cancel all of one package on one platform that has not ended; what waits for it goes on without"),
		s.changeItem(s.Builds.CancelItem))
	op = rest.Operation(patch, "/api/v1/builds/{build_id}/items/{item_id}/fresh", "Make the SRPM of one package on one platform again, and then its rebuilds")
	op.Description = "The tasks before stay with their logs among earlier_tasks, their packages leave the build's repositories at once. 409 if the build is signed or released."
	rest.Handle(s.Server, op, s.changeItem(s.Builds.RetryFresh))
}

type itemInput struct {
	Build albs.BuildID `path:"build_id" minimum:"1"`
	Item  albs.ItemID  `path:"item_id" minimum:"1"`
}

func (s *Server) changeItem(change func(context.Context, albs.BuildID, albs.ItemID) error) func(context.Context, *itemInput) (*rest.Body[buildView], error) {
	return func(ctx context.Context, in *itemInput) (*rest.Body[buildView], error) {
		if err := change(ctx, in.Build, in.Item); err != nil {
			return nil, err
		}
		return s.getBuild(ctx, &buildInput{in.Build})
	}
}

type cloneInput struct {
	Build albs.BuildID `path:"build_id" minimum:"1"`
	Key   string       `header:"Idempotency-Key" maxLength:"200" doc:"Of the client's choice: makes a repeated request return the first one's build"`
	Body  struct {
		Fresh bool `json:"fresh,omitempty" doc:"Resolve the refs again"`
	}
}

func (s *Server) cloneBuild(ctx context.Context, in *cloneInput) (*rest.Body[buildView], error) {
	b, err := s.Builds.Clone(ctx, in.Build, in.Body.Fresh, in.Key)
	if err != nil {
		return nil, err
	}
	return s.getBuild(ctx, &buildInput{b.ID})
}

func (s *Server) deleteBuild(ctx context.Context, in *buildInput) (*struct{}, error) {
	return nil, s.Builds.Delete(ctx, in.Build)
}

// itemView is a package of a build on one platform.
type itemView struct {
	ID         albs.ItemID   `json:"id"`
	Index      int           `json:"index" doc:"Its place in the build"`
	Package    string        `json:"package"`
	Platform   string        `json:"platform"`
	Arches     []albs.Arch   `json:"arch_list"`
	State      status.State  `json:"state" enum:"queued,running,succeeded,failed,cancelled,blocked,excluded"`
	Reason     string        `json:"reason"`
	StartedAt  *time.Time    `json:"started_at"`
	FinishedAt *time.Time    `json:"finished_at"`
	Dropped    bool          `json:"dropped" doc:"It was cancelled by itself, and nothing waits for it"`
	Tasks      []albs.TaskID `json:"tasks"`

	CASVerified bool   `json:"is_cas_authenticated" doc:"The source is verified: the ledger proves that its commit is notarized, as of this answer"`
	Unverified  string `json:"unverified,omitempty" doc:"Why it isn't, and what to do"`
}

func viewItem(it build.Item, source build.Source) itemView {
	v := itemView{
		ID: it.ID, Index: it.Place, Package: it.Package, Platform: it.Platform, Arches: it.Arches, State: it.Status.State, Reason: it.Status.Reason,
		StartedAt: rest.TimeOf(it.Status.Started), FinishedAt: rest.TimeOf(it.Status.Finished), Dropped: it.Dropped, Tasks: []albs.TaskID{},
		CASVerified: source.Verified, Unverified: source.Why,
	}
	for _, t := range it.Tasks {
		v.Tasks = append(v.Tasks, t.ID)
	}
	return v
}

// graphTaskView is the task that finds the order of a platform.
type graphTaskView struct {
	Task     albs.TaskID    `json:"task"`
	Platform string         `json:"platform"`
	State    albs.TaskState `json:"state"`
	Reason   string         `json:"reason"`
	Logs     string         `json:"logs"`
}
