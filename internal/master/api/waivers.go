package api

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/testrun"
)

func (s *Server) routeWaivers() {
	rest.Handle(s.Server, rest.Operation(get, "/api/v1/tests/waivers/", "List waivers of tests, the newest first"), s.listWaivers)
	rest.Handle(s.Server, rest.Created(rest.Operation(post, "/api/v1/tests/waivers/", "Let a package go though its tests did not pass")), s.addWaiver)
	rest.Handle(s.Server, rest.Operation(remove, "/api/v1/tests/waivers/{waiver_id}/", "Take a waiver back"), s.endWaiver)
}

type waiverView struct {
	ID       int64          `json:"id"`
	Build    albs.BuildID   `json:"build_id"`
	NEVRA    string         `json:"nevra"`
	SHA256   albs.Digest    `json:"sha256"`
	Stage    albs.TestStage `json:"stage,omitempty" doc:"Absent where every stage is waived"`
	Untested bool           `json:"untested,omitempty" doc:"It holds also where nobody knows how the tests end"`
	Person   string         `json:"person"`
	Reason   string         `json:"reason"`
	At       time.Time      `json:"created_at"`
	Expires  time.Time      `json:"expires_at"`
	Ended    *time.Time     `json:"ended_at" doc:"When somebody took it back"`
	EndedBy  string         `json:"ended_by,omitempty"`
	EndedFor string         `json:"ended_reason,omitempty"`
	InForce  bool           `json:"in_force"`
	Soon     bool           `json:"expires_soon,omitempty" doc:"It is in force, and for three days at most"`
}

func viewWaiver(w testrun.Waiver) waiverView {
	now := time.Now()
	return waiverView{
		ID: w.ID, Build: w.Build, NEVRA: w.NEVRA, SHA256: w.Digest, Stage: w.Stage, Untested: w.Untested, Person: w.Person, Reason: w.Reason,
		At: w.CreatedAt.Time, Expires: w.ExpiresAt.Time, Ended: rest.TimeOf(w.EndedAt.Time), EndedBy: w.EndedBy, EndedFor: w.EndedFor,
		InForce: w.InForce(now), Soon: w.InForce(now) && w.Waived().Soon(now),
	}
}

type waiversInput struct {
	Build   albs.BuildID        `query:"build" minimum:"0" doc:"Only those of this one"`
	State   testrun.WaiverState `query:"state" enum:"in force,taken back,expired" doc:"Only those that stand so"`
	Package string              `query:"package" maxLength:"400" doc:"Only those of packages whose NEVRA has this in it"`
	Before  int64               `query:"before" minimum:"0" doc:"The id of the last of the page before"`
}

func (s *Server) listWaivers(ctx context.Context, in *waiversInput) (*rest.Body[[]waiverView], error) {
	found, _, err := s.Tests.Waivers(ctx, testrun.WaiverFilter{Build: in.Build, State: in.State, Package: in.Package, Before: in.Before})
	if err != nil {
		return nil, err
	}
	out := make([]waiverView, len(found))
	for i, w := range found {
		out[i] = viewWaiver(w)
	}
	return rest.Answer(out), nil
}

type newWaiverInput struct {
	Body struct {
		Build    albs.BuildID   `json:"build_id" minimum:"1"`
		Package  string         `json:"package" minLength:"1" maxLength:"400" doc:"Of the build: its sha256, or its NEVRA"`
		Stage    albs.TestStage `json:"stage,omitempty" maxLength:"40" doc:"Absent is every one"`
		Untested bool           `json:"untested,omitempty" doc:"It is to hold also where nobody knows how the tests end; of every stage alone"`
		Reason   string         `json:"reason" maxLength:"500" doc:"One line: it is stated, and shown with the package"`
		Days     int            `json:"days" minimum:"1" maximum:"90" doc:"For which it holds"`
	}
}

func (s *Server) addWaiver(ctx context.Context, in *newWaiverInput) (*rest.Body[waiverView], error) {
	w, err := s.Tests.Waive(ctx, testrun.NewWaiver{
		Build: in.Body.Build, Package: in.Body.Package, Stage: in.Body.Stage, Untested: in.Body.Untested, Reason: in.Body.Reason, Days: in.Body.Days,
	})
	if err != nil {
		return nil, err
	}
	return rest.Answer(viewWaiver(w)), nil
}

type waiverInput struct {
	ID     int64  `path:"waiver_id" minimum:"1"`
	Reason string `query:"reason" required:"true" maxLength:"500" doc:"One line: it is stated, and shown with the package"`
}

func (s *Server) endWaiver(ctx context.Context, in *waiverInput) (*struct{}, error) {
	return nil, s.Tests.EndWaiver(ctx, in.ID, in.Reason)
}
