package advisories

import (
	"context"
	"errors"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/forms"
	"albs/internal/master/face"
)

func (s *Resources) routeIntake() {
	for path, says := range map[string]string{root: "Take an advisory as ALBS's clients send it, from Red Hat's OVAL", root + "new/": "Take an advisory as ALBS's clients send it"} {
		op := rest.Operation(rest.Post, path, says)
		op.Description = "What is there with an equal original stays as it is; of what has another one, edits are kept."
		op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/json": {}}}
		op.Responses = rest.Answers(http.StatusOK, "What became of it", "application/json")
		op.Responses["200"].Content["application/json"].Schema = rest.SchemaOf[albsAdvisoryView](s.Server)
		s.Raw(op, s.takeALBS)
	}
	rest.Handle(s.Server, rest.Operation(rest.Post, root+"create/", "Make an advisory; without an id it is of the distribution's own series"), s.create)

	op := rest.Operation(rest.Get, root+"draft/", "Propose an advisory of the distribution's own for a build")
	op.Description = "CVEs and bugs are those that changelogs, as far as they are newer than what is released, and commits name. Nothing is kept."
	rest.Handle(s.Server, rest.Slow(op), s.propose) // commits may have to be fetched

	op = rest.Operation(rest.Post, root+"import/", "Take the advisories in a file that others wrote")
	op.Description = "The file is the body, plain or compressed by gzip, zstd or xz. Each advisory is rewritten by the platform's rules and taken for itself."
	op.Parameters = []*huma.Param{
		rest.QueryParam("platform", huma.TypeString, "The platform's name or id"),
		rest.QueryParam("format", huma.TypeString, strings.Join(forms.Names(), ", ")),
		rest.QueryParam("reason", huma.TypeString, "For the history of each"),
	}
	op.RequestBody = &huma.RequestBody{Required: true, Content: map[string]*huma.MediaType{"application/octet-stream": {}}}
	op.Responses = rest.Answers(http.StatusOK, "What became of each", "application/json")
	op.Responses["200"].Content["application/json"].Schema = rest.SchemaOf[advisoryImportView](s.Server)
	s.Raw(op, s.importFile)
}

// takenAdvisoryView is what became of an advisory that came in.
type takenAdvisoryView struct {
	ID       string         `json:"id" doc:"As it is called here"`
	Platform string         `json:"platform"`
	From     string         `json:"from" doc:"Its id where it came from"`
	Outcome  errata.Outcome `json:"outcome" enum:"created,changed,unchanged,refused"`
	Revision int64          `json:"revision,omitempty"`
	Error    string         `json:"error,omitempty" doc:"Why it was refused"`
	Note     string         `json:"note,omitempty"`
}

func viewTaken(t errata.Taken) takenAdvisoryView {
	v := takenAdvisoryView{ID: t.ID, Platform: t.Platform, From: t.From, Outcome: t.Outcome, Revision: t.Revision, Note: t.Note}
	if t.Err != nil {
		v.Error = t.Err.Error()
	}
	return v
}

// albsAdvisoryView has ALBS's members and then ours.
type albsAdvisoryView struct {
	OK    bool    `json:"ok"`
	Error *string `json:"error"`
	takenAdvisoryView
	Dropped []string `json:"dropped" doc:"A sentence for each thing that was left out"`
}

// broken says what a body was that can't be read to its end.
func broken(err error) error {
	if large, ok := errors.AsType[*http.MaxBytesError](err); ok {
		return albs.Errorf(albs.TooLarge, "the body has more than %d bytes", large.Limit)
	}
	return albs.Errorf(albs.Invalid, "the body broke off: %w", err)
}

func (s *Resources) takeALBS(w http.ResponseWriter, r *http.Request) {
	b, err := io.ReadAll(face.LongBody(w, r, advisory.MaxBytes))
	if err != nil {
		s.Fail(w, r, broken(err))
		return
	}
	out, err := s.albs(r.Context(), b)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	rest.WriteJSON(w, http.StatusOK, out)
}

func (s *Resources) albs(ctx context.Context, b []byte) (albsAdvisoryView, error) {
	g, err := forms.ALBS(b)
	if err != nil {
		return albsAdvisoryView{}, err
	}
	p, err := s.platformOf(ctx, g.Platform)
	if err != nil {
		return albsAdvisoryView{}, err
	}
	taken, err := s.Errata.Import(ctx, p.Name, []advisory.Advisory{g.Advisory}, errata.CreateOptions{Builds: g.Builds, Frozen: g.Frozen})
	if err != nil {
		return albsAdvisoryView{}, err
	}
	if taken[0].Err != nil {
		return albsAdvisoryView{}, taken[0].Err
	}
	out := albsAdvisoryView{OK: true, takenAdvisoryView: viewTaken(taken[0]), Dropped: g.Dropped}
	if out.Dropped == nil {
		out.Dropped = []string{}
	}
	return out, nil
}

type advisoryImportView struct {
	Advisories []takenAdvisoryView `json:"advisories"`
	Dropped    []string            `json:"dropped" doc:"A sentence for each thing that was left out"`
}

func (s *Resources) importFile(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if err := forms.Check(q.Get("format")); err != nil {
		s.Fail(w, r, err)
		return
	}
	body := &telling{ReadCloser: face.LongBody(w, r, forms.MaxFile)}
	out, err := s.importAll(r.Context(), body, q.Get("format"), q.Get("platform"), q.Get("reason"))
	if body.err != nil {
		err = broken(body.err)
	}
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	rest.WriteJSON(w, http.StatusOK, out)
}

// telling remembers why a body can't be read to its end.
type telling struct {
	io.ReadCloser
	err error
}

// Read implements io.Reader.
func (t *telling) Read(p []byte) (int, error) {
	n, err := t.ReadCloser.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		t.err = err
	}
	return n, err
}

func (s *Resources) importAll(ctx context.Context, body io.Reader, format, name, reason string) (advisoryImportView, error) {
	p, err := s.platformOf(ctx, name)
	if err != nil {
		return advisoryImportView{}, err
	}
	as, dropped, err := forms.Read(body, format, p)
	if err != nil {
		return advisoryImportView{}, err
	}
	taken, err := s.Errata.Import(ctx, p.Name, as, errata.CreateOptions{Reason: reason})
	if err != nil {
		return advisoryImportView{}, err
	}
	out := advisoryImportView{Advisories: make([]takenAdvisoryView, len(taken)), Dropped: dropped}
	for i, t := range taken {
		out.Advisories[i] = viewTaken(t)
	}
	if out.Dropped == nil {
		out.Dropped = []string{}
	}
	return out, nil
}

// NewAdvisoryBody is an advisory to be made.
type NewAdvisoryBody struct {
	Platform    string               `json:"platform" doc:"The platform's name or id"`
	ID          string               `json:"id,omitempty" maxLength:"100" doc:"Without one it gets the next of the distribution's own series"`
	Type        string               `json:"type,omitempty" enum:"security,bugfix,enhancement,newpackage" doc:"Needed without an id"`
	Severity    string               `json:"severity,omitempty"`
	Title       string               `json:"title" doc:"Without the severity"`
	Summary     string               `json:"summary,omitempty"`
	Description string               `json:"description"`
	Solution    string               `json:"solution,omitempty"`
	Rights      string               `json:"rights,omitempty"`
	From        string               `json:"from,omitempty"`
	Upstream    string               `json:"upstream,omitempty" doc:"The id of the notice that it answers"`
	Issued      time.Time            `json:"issued,omitzero"`
	Reboot      bool                 `json:"reboot,omitempty"`
	References  []advisory.Reference `json:"references,omitempty"`
	CVEs        []advisory.CVE       `json:"cves,omitempty"`
	Packages    []advisory.Package   `json:"packages,omitempty"`
	VEX         []advisory.VEX       `json:"vex,omitempty"`
	Builds      []albs.BuildID       `json:"builds,omitempty" doc:"For which it is made"`
	Frozen      bool                 `json:"frozen,omitempty" doc:"Automatic matching leaves it alone"`
	Reason      string               `json:"reason,omitempty" doc:"For its history"`
}

type createInput struct {
	Body NewAdvisoryBody
}

func (s *Resources) create(ctx context.Context, in *createInput) (*rest.Body[AdvisoryView], error) {
	b := in.Body
	p, err := s.platformOf(ctx, b.Platform)
	if err != nil {
		return nil, err
	}
	severity, err := advisory.ParseSeverity(b.Severity)
	if err != nil {
		return nil, err
	}
	r, err := s.Errata.Create(ctx, advisory.Advisory{
		Platform: p.Name, ID: b.ID, Type: advisory.Type(b.Type), Severity: severity, Title: b.Title, Summary: b.Summary, Description: b.Description, Solution: b.Solution,
		Rights: b.Rights, From: b.From, Upstream: b.Upstream, Issued: b.Issued, Reboot: b.Reboot, References: b.References, CVEs: b.CVEs, Packages: b.Packages, VEX: b.VEX,
	}, errata.CreateOptions{Builds: b.Builds, Frozen: b.Frozen, Reason: b.Reason})
	return s.answer(ctx, r, err)
}

type proposeInput struct {
	Build    albs.BuildID `query:"build_id" required:"true" minimum:"1"`
	Platform string       `query:"platform" required:"true" maxLength:"100" doc:"The platform's name or id"`
}

// proposedView is a proposal.
type proposedView struct {
	Advisory NewAdvisoryBody `json:"advisory" doc:"To be edited by a person and sent to create/"`
	Notes    []string        `json:"notes" doc:"Sentences on what it rests on and what couldn't be found out"`
}

func (s *Resources) propose(ctx context.Context, in *proposeInput) (*rest.Body[proposedView], error) {
	p, err := s.platformOf(ctx, in.Platform)
	if err != nil {
		return nil, err
	}
	d, err := s.Drafts.Of(ctx, in.Build, p.Name)
	if err != nil {
		return nil, err
	}
	a := d.Advisory
	out := proposedView{Notes: d.Notes, Advisory: NewAdvisoryBody{
		Platform: p.Name, Type: string(a.Type), Severity: string(a.Severity), Title: a.Title, Description: a.Description,
		References: a.References, CVEs: a.CVEs, Packages: a.Packages, Builds: []albs.BuildID{in.Build},
	}}
	if out.Notes == nil {
		out.Notes = []string{}
	}
	return rest.Answer(out), nil
}
