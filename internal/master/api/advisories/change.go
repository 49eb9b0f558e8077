package advisories

import (
	"context"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
)

func (s *Resources) routeChanges() {
	rest.Handle(s.Server, rest.Operation(rest.Post, root+"update/", "Change title and description of an advisory, as ALBS's clients do"), s.update)
	op := rest.Operation(rest.Patch, record, "Change an advisory")
	op.Description = "What is left out stays. A list takes the place of the whole list. What was published stays as it is until a release publishes the advisory anew."
	rest.Handle(s.Server, op, s.edit)
	op = rest.Operation(rest.Put, record+"vex/", "State how a package is touched by a CVE")
	op.Description = "The statement takes the place of what was stated of the package and the CVE; one without a status takes it away."
	rest.Handle(s.Server, op, s.vex)
	rest.Handle(s.Server, rest.Operation(rest.Post, record+"withdraw/", "Take an advisory back; its next release says so in public"), s.turn(s.Errata.Withdraw))
	rest.Handle(s.Server, rest.Operation(rest.Post, record+"restore/", "Undo the withdrawal of an advisory"), s.turn(s.Errata.Restore))
}

type updateInput struct {
	Body struct {
		ID       string  `json:"errata_record_id" maxLength:"100"`
		Platform int64   `json:"errata_platform_id"`
		Title    *string `json:"title,omitempty" doc:"With the severity before it or without"`
		Text     *string `json:"description,omitempty"`
	}
}

func (s *Resources) update(ctx context.Context, in *updateInput) (*rest.Body[AdvisoryView], error) {
	p, err := s.Platforms.ByID(ctx, in.Body.Platform)
	if err != nil {
		return nil, err
	}
	now, err := s.Errata.Get(ctx, errata.Key{ID: in.Body.ID, Platform: p.Name})
	if err != nil {
		return nil, err
	}
	e := errata.Edit{Description: in.Body.Text}
	if in.Body.Title != nil {
		a := now.Advisory
		a.SetTitle(*in.Body.Title)
		e.Title = &a.Title
	}
	r, err := s.Errata.Edit(ctx, now.Key, now.Revision, e)
	return s.answer(ctx, r, err)
}

type editInput struct {
	AdvisoryKey
	Body struct {
		Revision    int64                 `json:"revision" minimum:"1" doc:"That the change rests on: a conflict if the advisory has another by now"`
		Reason      string                `json:"reason,omitempty" doc:"For its history"`
		Severity    *string               `json:"severity,omitempty"`
		Title       *string               `json:"title,omitempty" doc:"Without the severity"`
		Summary     *string               `json:"summary,omitempty"`
		Description *string               `json:"description,omitempty"`
		Solution    *string               `json:"solution,omitempty"`
		Rights      *string               `json:"rights,omitempty"`
		From        *string               `json:"from,omitempty"`
		Upstream    *string               `json:"upstream,omitempty" doc:"The id of the notice that it answers"`
		Issued      *time.Time            `json:"issued,omitempty"`
		Reboot      *bool                 `json:"reboot,omitempty"`
		References  *[]advisory.Reference `json:"references,omitempty"`
		CVEs        *[]advisory.CVE       `json:"cves,omitempty"`
		Packages    *[]advisory.Package   `json:"packages,omitempty"`
		VEX         *[]advisory.VEX       `json:"vex,omitempty"`
		Frozen      *bool                 `json:"frozen,omitempty" doc:"Automatic matching leaves it alone"`
		Builds      *[]albs.BuildID       `json:"builds,omitempty" doc:"For which it was made"`
	}
}

func (s *Resources) edit(ctx context.Context, in *editInput) (*rest.Body[AdvisoryView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	b := in.Body
	e := errata.Edit{
		Reason: b.Reason, Title: b.Title, Summary: b.Summary, Description: b.Description, Solution: b.Solution, Rights: b.Rights, From: b.From,
		Upstream: b.Upstream, Issued: b.Issued, Reboot: b.Reboot, References: b.References, CVEs: b.CVEs, Packages: b.Packages, VEX: b.VEX, Frozen: b.Frozen, Builds: b.Builds,
	}
	if b.Severity != nil {
		severity, err := advisory.ParseSeverity(*b.Severity)
		if err != nil {
			return nil, err
		}
		e.Severity = &severity
	}
	r, err := s.Errata.Edit(ctx, k, b.Revision, e)
	return s.answer(ctx, r, err)
}

type vexInput struct {
	AdvisoryKey
	Body struct {
		Revision      int64  `json:"revision" minimum:"1" doc:"That the change rests on"`
		Reason        string `json:"reason,omitempty" doc:"For its history"`
		CVE           string `json:"cve"`
		Package       string `json:"package" doc:"A source package's name"`
		Stream        string `json:"stream,omitempty" doc:"name:stream of its module"`
		Status        string `json:"status,omitempty" enum:"affected,not_affected,fixed,under_investigation"`
		Justification string `json:"justification,omitempty" doc:"Of what isn't affected, as CSAF 2.0 has it"`
		Detail        string `json:"detail,omitempty" doc:"For people; of what is affected, what to do"`
	}
}

func (s *Resources) vex(ctx context.Context, in *vexInput) (*rest.Body[AdvisoryView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	b := in.Body
	r, err := s.Errata.SetVEX(ctx, k, b.Revision, advisory.VEX{
		CVE: b.CVE, Package: b.Package, Stream: b.Stream, Status: advisory.VEXStatus(b.Status), Justification: b.Justification, Detail: b.Detail,
	}, b.Reason)
	return s.answer(ctx, r, err)
}

type turnInput struct {
	AdvisoryKey
	Body struct {
		Reason string `json:"reason" doc:"Readers are told why an advisory was withdrawn"`
	}
}

// turn is an operation that withdraws an advisory or restores it.
func (s *Resources) turn(do func(context.Context, errata.Key, string) (errata.Record, error)) func(context.Context, *turnInput) (*rest.Body[AdvisoryView], error) {
	return func(ctx context.Context, in *turnInput) (*rest.Body[AdvisoryView], error) {
		k, err := s.keyOf(ctx, in.ID, in.Platform)
		if err != nil {
			return nil, err
		}
		r, err := do(ctx, k, in.Body.Reason)
		return s.answer(ctx, r, err)
	}
}
