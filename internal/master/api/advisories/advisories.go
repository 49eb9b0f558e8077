// Package advisories is the part of the interface for programs that is about advisories:
// their records, what comes in, what people change, and what was published.
//
// Like all of the interface it owns no rule and no row: it asks the modules and spells
// their answers. Its views have ALBS's members first, in ALBS's words, and ours behind
// them; what others wrote is read by forms.
package advisories

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/publish"
	"albs/internal/master/platform"
	"albs/internal/master/product"
)

// Parts are the modules that the resources speak for. All are required.
type Parts struct {
	Errata    *errata.Errata
	Drafts    *draft.Drafts
	Platforms *platform.Platforms
	Matching  *matching.Matching
	Products  *product.Products
	Keys      publish.Keys
}

// Resources answer their operations.
type Resources struct {
	*rest.Server
	Parts
}

const (
	root   = "/api/v1/errata/"
	record = root + "{errata_id}/"
)

// Register registers the resources of advisories with s.
func Register(s *rest.Server, p Parts) *Resources {
	r := &Resources{Server: s, Parts: p}
	rest.Handle(s, rest.Operation(rest.Get, root, "Show an advisory"), r.get)
	rest.Handle(s, rest.Operation(rest.Get, root+"query/", "List advisories, those issued last first"), r.query)
	rest.Handle(s, rest.Operation(rest.Get, root+"all/", "List the ids of all advisories"), r.all)
	r.routeIntake()
	r.routeChanges()
	r.routeMatches()
	r.routeForms()
	rest.Handle(s, rest.Operation(rest.Get, record+"history/", "List what was changed of an advisory, by whom and why, the newest first"), r.history)
	rest.Handle(s, rest.Operation(rest.Get, record+"versions/", "List what was published of an advisory, the newest first"), r.versions)
	op := rest.Operation(rest.Get, record+"versions/{version}/", "Give a version of an advisory as it was published, byte for byte")
	op.Parameters = append(rest.PathParams(op.Path), rest.QueryParam("platform", huma.TypeString, "The platform's name or id"))
	op.Responses = rest.Answers(http.StatusOK, "The advisory", "application/json")
	s.Raw(op, r.version)
	return r
}

// platformOf returns a platform by name or id.
func (s *Resources) platformOf(ctx context.Context, name string) (platform.Platform, error) {
	p, err := s.Platforms.Get(ctx, name)
	if id, bad := strconv.ParseInt(name, 10, 64); bad == nil && errors.Is(err, albs.NotFound) {
		return s.Platforms.ByID(ctx, id)
	}
	return p, err
}

// keyOf returns the key of an advisory of a platform that has that name or id. An id out
// of a path may still be escaped.
func (s *Resources) keyOf(ctx context.Context, id, platform string) (errata.Key, error) {
	p, err := s.platformOf(ctx, platform)
	if err != nil {
		return errata.Key{}, err
	}
	return errata.Key{ID: plain(id), Platform: p.Name}, nil
}

// plain returns an id as it is called, out of a path.
func plain(id string) string {
	if s, err := url.PathUnescape(id); err == nil {
		return s
	}
	return id
}

// AdvisoryKey names an advisory in a path.
type AdvisoryKey struct {
	ID       string `path:"errata_id" maxLength:"300"`
	Platform string `query:"platform" required:"true" maxLength:"100" doc:"The platform's name or id"`
}

type oneInput struct {
	ID       string `query:"errata_id" required:"true" maxLength:"100"`
	Platform string `query:"errata_platform_id" required:"true" maxLength:"100" doc:"The platform's id or name"`
}

func (s *Resources) get(ctx context.Context, in *oneInput) (*rest.Body[AdvisoryView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	r, err := s.Errata.Get(ctx, k)
	return s.answer(ctx, r, err)
}

// answer is the view of a record, with its original.
func (s *Resources) answer(ctx context.Context, r errata.Record, err error) (*rest.Body[AdvisoryView], error) {
	if err != nil {
		return nil, err
	}
	p, err := s.Platforms.Get(ctx, r.Platform)
	if err != nil {
		return nil, err
	}
	v := viewRecord(r, p.ID)
	v.Original = &r.Original
	if err := s.matched(ctx, r.Key, &v); err != nil {
		return nil, err
	}
	return rest.Answer(v), nil
}

type queryInput struct {
	Page     int      `query:"pageNumber" minimum:"1" maximum:"1000000" default:"1" doc:"Ten advisories a page"`
	ID       string   `query:"id" maxLength:"100"`
	IDs      []string `query:"ids,explode" maxItems:"500" doc:"Only these: given several times, or with commas between"`
	Title    string   `query:"title" maxLength:"2000" doc:"A part of the title"`
	Platform string   `query:"platformId" maxLength:"100" doc:"The platform's id or name"`
	CVE      string   `query:"cveId" maxLength:"40"`
	Status   string   `query:"status" maxLength:"40" doc:"not released, in progress, released, failed or withdrawn"`
	Stage    string   `query:"stage" enum:"needs build,needs match,ready" doc:"Only those that wait for a release, and for this first"`
	Type     string   `query:"type" enum:"security,bugfix,enhancement,newpackage" doc:"The type"`
	Severity string   `query:"severity" enum:"critical,important,moderate,low,none"`
	Pending  bool     `query:"pending" doc:"Only those of which a release would publish something"`
}

type advisoriesView struct {
	Records     []AdvisoryView `json:"records"`
	Total       int            `json:"total_records"`
	CurrentPage int            `json:"current_page"`
}

func (s *Resources) query(ctx context.Context, in *queryInput) (*rest.Body[advisoriesView], error) {
	q := errata.Query{
		IDs: strings.FieldsFunc(strings.Join(in.IDs, ","), func(r rune) bool { return r == ',' }), Title: in.Title, CVE: in.CVE, Type: advisory.Type(in.Type), Pending: in.Pending,
		Limit: rest.PerPage, Skip: (in.Page - 1) * rest.PerPage,
	}
	if in.ID != "" {
		q.IDs = append(q.IDs, in.ID)
	}
	var err error
	if in.Status != "" {
		if q.State, err = errata.ParseState(in.Status); err != nil {
			return nil, err
		}
	}
	if in.Severity != "" {
		severity, err := advisory.ParseSeverity(in.Severity)
		if err != nil {
			return nil, err
		}
		q.Severity = &severity
	}
	platforms := map[string]int64{}
	all, err := s.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	for _, p := range all {
		platforms[p.Name] = p.ID
	}
	if in.Platform != "" {
		p, err := s.platformOf(ctx, in.Platform)
		if err != nil {
			return nil, err
		}
		q.Platform = p.Name
	}
	if in.Stage != "" {
		stage, err := matching.ParseStage(in.Stage)
		if err != nil {
			return nil, err
		}
		q.Only = matching.Waiting(stage)
	}
	out := advisoriesView{Records: []AdvisoryView{}, CurrentPage: in.Page}
	if out.Total, err = s.Errata.Count(ctx, q); err != nil {
		return nil, err
	}
	page, err := s.Errata.List(ctx, q)
	if err != nil {
		return nil, err
	}
	for _, r := range page.Records {
		out.Records = append(out.Records, viewRecord(r, platforms[r.Platform]))
	}
	return rest.Answer(out), nil
}

type allInput struct {
	Platform string `query:"platform_id" maxLength:"100" doc:"Only of the platform with this id or name"`
}

type advisorySummaryView struct {
	ID         string    `json:"id"`
	Updated    time.Time `json:"updated_date"`
	PlatformID int64     `json:"platform_id"`
	// What follows is ours.
	Platform string `json:"platform"`
	Title    string `json:"title"`
	Status   string `json:"release_status"`
}

func (s *Resources) all(ctx context.Context, in *allInput) (*rest.Body[[]advisorySummaryView], error) {
	platforms, err := s.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]int64{}
	for _, p := range platforms {
		ids[p.Name] = p.ID
	}
	only := ""
	if in.Platform != "" {
		p, err := s.platformOf(ctx, in.Platform)
		if err != nil {
			return nil, err
		}
		only = p.Name
	}
	out := []advisorySummaryView{}
	err = s.Errata.Summaries(ctx, only, func(m errata.Summary) error {
		out = append(out, advisorySummaryView{ID: m.ID, Updated: m.Updated, PlatformID: ids[m.Platform], Platform: m.Platform, Title: m.Title, Status: m.State.String()})
		return nil
	})
	return rest.Answer(out), err
}

type historyInput struct {
	AdvisoryKey
	Before int64 `query:"before" minimum:"0" doc:"Only changes before this revision; 0 is none"`
}

type advisoryChangeView struct {
	Revision    int64               `json:"revision"`
	Kind        string              `json:"kind"`
	Actor       string              `json:"actor"`
	Reason      string              `json:"reason"`
	At          time.Time           `json:"at"`
	Differences []errata.Difference `json:"differences" doc:"What was there and what is there now, of lists entry by entry"`
}

func (s *Resources) history(ctx context.Context, in *historyInput) (*rest.Body[[]advisoryChangeView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	changes, err := s.Errata.History(ctx, k, in.Before)
	if err != nil {
		return nil, err
	}
	out := make([]advisoryChangeView, len(changes))
	for i, c := range changes {
		out[i] = advisoryChangeView{c.Revision, c.Kind, c.Actor, c.Reason, c.At, c.Differences}
	}
	return rest.Answer(out), nil
}

type advisoryVersionView struct {
	Version int            `json:"version"`
	SHA256  albs.Digest    `json:"sha256" doc:"Of the advisory as it was published; its history in the ledger tells by which release"`
	Release albs.ReleaseID `json:"release_id"`
	At      time.Time      `json:"published_at"`
}

func (s *Resources) versions(ctx context.Context, in *AdvisoryKey) (*rest.Body[[]advisoryVersionView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	issues, err := s.Errata.Issues(ctx, k)
	if err != nil {
		return nil, err
	}
	out := make([]advisoryVersionView, len(issues))
	for i, v := range issues {
		out[i] = advisoryVersionView{v.Version, v.Digest, v.Release, v.At}
	}
	return rest.Answer(out), nil
}

func (s *Resources) version(w http.ResponseWriter, r *http.Request) {
	n, err := strconv.Atoi(chi.URLParam(r, "version"))
	if err != nil {
		s.Fail(w, r, albs.Errorf(albs.Invalid, "%.40q is not the number of a version", chi.URLParam(r, "version")))
		return
	}
	k, err := s.keyOf(r.Context(), chi.URLParam(r, "errata_id"), r.URL.Query().Get("platform"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	v, err := s.Errata.Issue(r.Context(), k, n)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	_, _ = w.Write(v.Document) // the client is gone
}
