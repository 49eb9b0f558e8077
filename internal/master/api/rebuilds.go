package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/rebuild"
)

func (s *Server) routeRebuilds() {
	op := rest.Operation(post, "/api/v1/rebuilds/", "Build once more what made a package, and compare what comes out")
	op.Description = "It is built from the same source package, in a root of the same packages, by another node if there is one. What comes out is compared and becomes no package of a build. " +
		"409 if it can't be done: the build was deleted, its inputs are gone, or a rebuild of it is under way."
	rest.Handle(s.Server, rest.Slow(op), s.createRebuild) // each package's statements are looked at
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/rebuilds/", "List rebuilds, the newest first, without their packages"), s.listRebuilds)
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/rebuilds/{rebuild_id}/", "Show a rebuild with what came of each package"), s.getRebuild)
	rest.Handle(s.Server, rest.Operation(patch, "/api/v1/rebuilds/{rebuild_id}/cancel", "Cancel a rebuild that is under way"), s.cancelRebuild)
}

type rebuildInput struct {
	Rebuild int64 `path:"rebuild_id" minimum:"1"`
}

type createRebuildInput struct {
	Body struct {
		Of      string `json:"of" maxLength:"400" doc:"The sha256 of a package, signed or not, or its NEVRA"`
		Node    string `json:"node,omitempty" maxLength:"100" doc:"The only node that may do it"`
		NotNode string `json:"not_node,omitempty" maxLength:"100" doc:"A node that may not. Without both it is another one than the one that built, if there is another"`
	}
}

type rebuildView struct {
	ID        int64          `json:"id"`
	BuildID   albs.BuildID   `json:"build_id"`
	Of        albs.TaskID    `json:"of_task_id" doc:"The task that built"`
	OfAttempt int            `json:"of_attempt"`
	Platform  string         `json:"platform"`
	Arch      albs.Arch      `json:"arch"`
	Task      albs.TaskID    `json:"task_id" doc:"Whose logs can be followed below the build"`
	State     albs.TaskState `json:"state" doc:"Of that task"`
	BuiltOn   string         `json:"built_on" doc:"The node that built"`
	Node      string         `json:"node,omitempty" doc:"The node that rebuilt"`
	SameNode  bool           `json:"same_node" doc:"Both are one: there was no other, or it was asked for"`
	BuiltIn   albs.Digest    `json:"built_in" doc:"The buildroot record of the build"`
	Record    albs.Digest    `json:"record,omitempty" doc:"The buildroot record of the rebuild"`
	Verdict   string         `json:"verdict,omitempty" enum:"bit-identical,payload-identical,inputs-differ,differs" doc:"The worst of the packages'; absent while there is none"`
	Reason    string         `json:"reason,omitempty" doc:"What differs first, or why there is no verdict"`
	Requester string         `json:"requester"`
	CreatedAt time.Time      `json:"created_at"`
	EndedAt   *time.Time     `json:"ended_at"`

	Packages []rebuiltView `json:"packages,omitzero" doc:"In the answer about it alone"`
	Files    []rebuiltFile `json:"artifacts,omitzero" doc:"What it left: logs, its buildroot record, and for two weeks packages that differ; in the answer about it alone"`
	Logs     string        `json:"logs"`
	Why      *whyView      `json:"why,omitempty" doc:"Of one that waits, in the answer about it alone: what for"`
}

type rebuiltView struct {
	Name      string      `json:"name"`
	SHA256    albs.Digest `json:"sha256" doc:"The unsigned package that was built"`
	Verdict   string      `json:"verdict,omitempty" enum:"bit-identical,payload-identical,inputs-differ,differs"`
	Rebuilt   albs.Digest `json:"rebuilt_sha256,omitempty"`
	Differing []string    `json:"differing" doc:"Files and tags that differ, or what of the roots does"`
	Ignored   []string    `json:"ignored" doc:"Tags that differ and tell nothing of what is installed"`
}

type rebuiltFile struct {
	Name   string      `json:"name"`
	SHA256 albs.Digest `json:"sha256"`
	Href   string      `json:"href"`
}

func viewRebuild(r rebuild.Rebuild) rebuildView {
	v := rebuildView{
		ID: r.ID, BuildID: r.Build, Of: r.Of, OfAttempt: r.Attempt, Platform: r.Platform, Arch: r.Arch, Task: r.Task.ID, State: r.Task.State,
		BuiltOn: r.BuiltOn, Node: r.Node, SameNode: r.Same(), BuiltIn: r.BuiltIn, Record: r.Record, Verdict: r.Verdict, Reason: r.Reason,
		Requester: r.Requester, CreatedAt: r.CreatedAt, EndedAt: rest.TimeOf(r.EndedAt), Packages: []rebuiltView{}, Files: []rebuiltFile{},
		Logs: logsOf(r.Build, r.Task.ID),
	}
	for _, p := range r.Packages {
		v.Packages = append(v.Packages, rebuiltView{
			Name: p.Name, SHA256: p.Digest, Verdict: p.Verdict, Rebuilt: p.Rebuilt, Differing: append([]string{}, p.Differing...), Ignored: append([]string{}, p.Ignored...),
		})
	}
	for _, f := range r.Files {
		v.Files = append(v.Files, rebuiltFile{f.Name, f.Digest, delivery.DownloadPath(f.Digest)})
	}
	return v
}

func (s *Server) createRebuild(ctx context.Context, in *createRebuildInput) (*rest.Body[rebuildView], error) {
	r, err := s.Rebuilds.Create(ctx, rebuild.Request{Of: in.Body.Of, Node: in.Body.Node, NotNode: in.Body.NotNode})
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewRebuild(r)), nil
}

func (s *Server) getRebuild(ctx context.Context, in *rebuildInput) (*rest.Body[rebuildView], error) {
	r, err := s.Rebuilds.Get(ctx, in.Rebuild)
	if err != nil {
		return nil, err
	}
	v := viewRebuild(r)
	if v.Why, err = s.why(ctx, r.Task.ID); err != nil {
		return nil, err
	}
	return rest.Answer(v), nil
}

func (s *Server) cancelRebuild(ctx context.Context, in *rebuildInput) (*rest.Body[rebuildView], error) {
	if err := s.Rebuilds.Cancel(ctx, in.Rebuild); err != nil {
		return nil, err
	}
	return s.getRebuild(ctx, in)
}

type rebuildsInput struct {
	Before int64        `query:"before" minimum:"0" doc:"Only those with a lower id"`
	Limit  int          `query:"limit" minimum:"1" maximum:"200" default:"20"`
	Build  albs.BuildID `query:"build" minimum:"0" doc:"Only those of a build"`
	SHA256 string       `query:"sha256" maxLength:"64" doc:"Only those about a package, signed or not"`
}

type rebuildsView struct {
	Rebuilds []rebuildView `json:"rebuilds"`
	Next     int64         `json:"next,omitempty" doc:"What before has to be for the next page; absent at the end"`
}

func (s *Server) listRebuilds(ctx context.Context, in *rebuildsInput) (*rest.Body[rebuildsView], error) {
	f := rebuild.Filter{Before: in.Before, Limit: in.Limit, Build: in.Build}
	if in.SHA256 != "" {
		d, err := albs.ParseDigest(in.SHA256)
		if err != nil {
			return nil, err
		}
		if f.Package, err = s.Rebuilds.Of(ctx, d); err != nil {
			return nil, err
		}
	}
	found, err := s.Rebuilds.List(ctx, f)
	if err != nil {
		return nil, err
	}
	out := rebuildsView{Rebuilds: []rebuildView{}}
	if len(found) > in.Limit {
		found = found[:in.Limit]
		out.Next = found[in.Limit-1].ID
	}
	for _, r := range found {
		v := viewRebuild(r)
		v.Packages, v.Files = nil, nil // not known here
		out.Rebuilds = append(out.Rebuilds, v)
	}
	return rest.Answer(out), nil
}
