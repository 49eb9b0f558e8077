package advisories

import (
	"context"
	"fmt"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/rpm"
)

func (s *Resources) routeMatches() {
	op := rest.Operation(rest.Get, record+"matches/", "Show which packages answer an advisory, and why")
	op.Description = "Matches are listed by what is wanted, the best first; those that were added by hand come last."
	rest.Handle(s.Server, op, s.matches)
	op = rest.Operation(rest.Post, record+"decisions/", "Decide on the matches of an advisory")
	op.Description = "All of the decisions are made, one after another, or none. approve, skip and propose are about all matches that have each of wanted, package, build_id and source that is given; " +
		"approve without any is about those that albs would take. replace wants wanted, package and build_id, add package and build_id, exclude and include wanted."
	rest.Handle(s.Server, op, s.decide)
	op = rest.Operation(rest.Post, root+"decisions/", "Decide on the matches of several advisories, each by itself")
	op.Description = "What hinders one doesn't hinder the others: each has its result."
	rest.Handle(s.Server, op, s.decideEach)
	rest.Handle(s.Server, rest.Operation(rest.Get, root+"queue/", "List the advisories that wait for a release, with what each waits for"), s.queue)
	op = rest.Operation(rest.Get, root+"candidates/", "List packages of builds that a person may choose to answer an advisory")
	op.Description = "Those of a platform that have the name, or are of the build, or both; the newest builds first."
	rest.Handle(s.Server, op, s.candidates)
	op = rest.Operation(rest.Post, root+"update_package_status/", "Give what a build has of a source a status, as ALBS's clients do")
	op.Description = "The status is proposal, approved or skipped. Those of one advisory are changed together, or none of them."
	rest.Handle(s.Server, op, s.updateStatus)
	rest.Handle(s.Server, rest.Operation(rest.Post, root+"reset-matched-packages/", "Take back what was decided on an advisory's matches, and match it anew"), s.reset)
	rest.Handle(s.Server, rest.Operation(rest.Post, root+"reset-matched-packages-multiple/", "Take back what was decided on the matches of all advisories that wait for a release and were issued since a time, and match them anew"), s.resetSince)
}

// WantedView is a package that an advisory wants.
type WantedView struct {
	Package  string     `json:"package" doc:"name-[epoch:]version-release.arch"`
	Module   string     `json:"module,omitempty" doc:"name:stream"`
	Lack     string     `json:"lack,omitempty" doc:"Why nothing answers it"`
	Excluded bool       `json:"excluded,omitempty" doc:"It needs no answer: a person decided so or, without decided_by, the platform isn't built for its arch"`
	By       string     `json:"decided_by,omitempty"`
	Why      string     `json:"reason,omitempty" doc:"Why it needs none"`
	At       *time.Time `json:"decided_at,omitempty"`
}

// MatchView is a package that answers one that is wanted, or that was added.
type MatchView struct {
	Wanted   string       `json:"wanted,omitempty" doc:"Left out of one that was added"`
	Module   string       `json:"module,omitempty" doc:"name:stream that is wanted"`
	Package  string       `json:"package" doc:"name-[epoch:]version-release.arch"`
	Build    albs.BuildID `json:"build_id"`
	Source   string       `json:"source,omitempty" doc:"Name of the source package"`
	Label    string       `json:"module_label,omitempty" doc:"name:stream:version:context of its own module"`
	SHA256   albs.Digest  `json:"sha256,omitempty" doc:"As it was built; left out while the build hasn't got it"`
	Released bool         `json:"released" doc:"A signed copy is in a repository for the platform"`
	Status   string       `json:"status" enum:"proposal,approved,skipped,released"`
	Strength string       `json:"strength" doc:"exact, equal, newer, source, or by hand"`
	Because  string       `json:"because" doc:"Why albs thinks that it answers"`
	Proposed bool         `json:"proposed" doc:"Of several it is the one that albs would take"`
	By       string       `json:"decided_by,omitempty"`
	Why      string       `json:"reason,omitempty" doc:"Of the decision, or why another one was taken"`
	At       *time.Time   `json:"decided_at,omitempty"`
}

// StandingView is what an advisory waits for.
type StandingView struct {
	ID         string `json:"errata_id"`
	Platform   string `json:"platform"`
	PlatformID int64  `json:"platform_id"`
	Stage      string `json:"stage" enum:"needs build,needs match,ready"`
	Wanted     int    `json:"wanted" doc:"Packages, without those that are excluded and with those that were added"`
	Lacking    int    `json:"lacking" doc:"Of them, those that nothing answers"`
	Open       int    `json:"open" doc:"Those for which a person has to choose"`
	Settled    int    `json:"settled"`
}

// MatchesView is what an advisory wants and what answers it.
type MatchesView struct {
	StandingView
	Revision int64        `json:"revision" doc:"Of the advisory: decisions name the one that they rest on"`
	Packages []WantedView `json:"packages" doc:"What it wants"`
	Matches  []MatchView  `json:"matches"`
}

func viewStanding(s matching.Standing, platformID int64) StandingView {
	return StandingView{s.ID, s.Platform, platformID, s.Stage.String(), s.Wanted, s.Lacking, s.Open, s.Settled}
}

func spelled(n rpm.NEVRA) string {
	if n == (rpm.NEVRA{}) {
		return ""
	}
	return n.String()
}

func (s *Resources) showMatches(ctx context.Context, k errata.Key) (*rest.Body[MatchesView], error) {
	p, err := s.Platforms.Get(ctx, k.Platform)
	if err != nil {
		return nil, err
	}
	a, err := s.Matching.Of(ctx, k)
	if err != nil {
		return nil, err
	}
	v := MatchesView{StandingView: viewStanding(a.Standing, p.ID), Revision: a.Revision, Packages: []WantedView{}, Matches: []MatchView{}}
	for _, w := range a.Wanted {
		v.Packages = append(v.Packages, WantedView{w.NEVRA.String(), w.Module, w.Lack, w.Excluded, w.By, w.Why, rest.TimeOf(w.At)})
	}
	for _, m := range a.Matches {
		v.Matches = append(v.Matches, MatchView{
			spelled(m.Wanted), m.Module, m.NEVRA.String(), m.Build, m.Source, m.Label, m.Unsigned, m.Released, string(m.Status),
			m.Strength.String(), m.Reason, m.Pick, m.By, m.Why, rest.TimeOf(m.At),
		})
	}
	return rest.Answer(v), nil
}

// matched adds to the packages of an advisory what answers each.
func (s *Resources) matched(ctx context.Context, k errata.Key, v *AdvisoryView) error {
	a, err := s.Matching.Of(ctx, k)
	if err != nil {
		return err
	}
	of := map[string][]MatchedPackageView{}
	for i, m := range a.Matches {
		w := spelled(m.Wanted)
		of[w] = append(of[w], MatchedPackageView{ID: i + 1, BuildID: &m.Build, Name: m.NEVRA.Filename(), Status: string(m.Status)})
	}
	for i, p := range v.Packages {
		n := rpm.NEVRA{Name: p.Name, Epoch: p.Epoch, Version: p.Version, Release: p.Release, Arch: p.Arch}
		if list := of[n.String()]; list != nil {
			v.Packages[i].Matches = list
		}
	}
	return nil
}

func (s *Resources) matches(ctx context.Context, in *AdvisoryKey) (*rest.Body[MatchesView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	return s.showMatches(ctx, k)
}

// MatchDecision is a person's decision.
type MatchDecision struct {
	Action  string       `json:"action" enum:"approve,skip,propose,replace,add,exclude,include"`
	Wanted  string       `json:"wanted,omitempty" maxLength:"400" doc:"The wanted package, name-[epoch:]version-release.arch"`
	Package string       `json:"package,omitempty" maxLength:"400" doc:"The package that answers, likewise"`
	Build   albs.BuildID `json:"build_id,omitempty" minimum:"0" doc:"Its build"`
	Source  string       `json:"source,omitempty" maxLength:"300" doc:"The name of its source package"`
	Reason  string       `json:"reason,omitempty" doc:"Replace, add and exclude want one"`
}

// read returns the decision; Invalid if a package isn't one.
func (d MatchDecision) read() (matching.Decision, error) {
	out := matching.Decision{Action: matching.Action(d.Action), Build: d.Build, Source: d.Source, Why: d.Reason}
	for _, p := range []struct {
		text string
		into *rpm.NEVRA
	}{{d.Wanted, &out.Wanted}, {d.Package, &out.NEVRA}} {
		if p.text == "" {
			continue
		}
		var err error
		if *p.into, err = rpm.ParseNEVRA(p.text); err != nil {
			return out, err
		}
	}
	return out, nil
}

func readDecisions(ds []MatchDecision) ([]matching.Decision, error) {
	out := make([]matching.Decision, len(ds))
	for i, d := range ds {
		var err error
		if out[i], err = d.read(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

type matchDecisionsInput struct {
	AdvisoryKey
	Body struct {
		Revision  int64           `json:"revision" minimum:"0" doc:"That the decisions rest on: a conflict if the advisory has another by now; 0 is any"`
		Decisions []MatchDecision `json:"decisions" minItems:"1" maxItems:"1000"`
	}
}

func (s *Resources) decide(ctx context.Context, in *matchDecisionsInput) (*rest.Body[MatchesView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	ds, err := readDecisions(in.Body.Decisions)
	if err != nil {
		return nil, err
	}
	if _, err := s.Matching.Decide(ctx, k, in.Body.Revision, ds); err != nil {
		return nil, err
	}
	return s.showMatches(ctx, k)
}

// MatchDecisions are decisions on one advisory among several.
type MatchDecisions struct {
	ID        string          `json:"errata_record_id" maxLength:"100"`
	Platform  string          `json:"platform" maxLength:"100" doc:"The platform's name or id"`
	Revision  int64           `json:"revision,omitempty" minimum:"0" doc:"That the decisions rest on; 0 is any"`
	Decisions []MatchDecision `json:"decisions" minItems:"1" maxItems:"1000"`
}

type eachMatchDecisionsInput struct {
	Body []MatchDecisions `minItems:"1" maxItems:"1000"`
}

// MatchOutcome is what became of one advisory among several.
type MatchOutcome struct {
	ID       string `json:"errata_record_id"`
	Platform string `json:"platform"`
	OK       bool   `json:"ok"`
	Revision int64  `json:"revision,omitempty" doc:"That it has by now"`
	Error    string `json:"error,omitempty"`
}

func (s *Resources) decideEach(ctx context.Context, in *eachMatchDecisionsInput) (*rest.Body[[]MatchOutcome], error) {
	var rs []matching.Request
	for _, b := range in.Body {
		k, err := s.keyOf(ctx, b.ID, b.Platform)
		if err != nil {
			return nil, err
		}
		ds, err := readDecisions(b.Decisions)
		if err != nil {
			return nil, err
		}
		rs = append(rs, matching.Request{Key: k, Revision: b.Revision, Decisions: ds})
	}
	results, err := s.Matching.DecideEach(ctx, rs)
	return outcomes(results, err)
}

func outcomes(results []matching.Result, err error) (*rest.Body[[]MatchOutcome], error) {
	if err != nil {
		return nil, err
	}
	out := make([]MatchOutcome, len(results))
	for i, r := range results {
		out[i] = MatchOutcome{ID: r.ID, Platform: r.Platform, OK: r.Err == nil, Revision: r.Revision}
		if r.Err != nil {
			out[i].Error = r.Err.Error()
		}
	}
	return rest.Answer(out), nil
}

type errataQueueInput struct {
	Platform      string `query:"platform" maxLength:"100" doc:"Only of the platform with this name or id"`
	Stage         string `query:"stage" enum:"needs build,needs match,ready" doc:"Only those that wait for this"`
	AfterPlatform string `query:"after_platform" maxLength:"100" doc:"List on after this platform"`
	AfterID       string `query:"after_id" maxLength:"100" doc:"and this advisory"`
	Limit         int    `query:"limit" minimum:"1" maximum:"500" default:"100"`
}

// QueueView is a page of the advisories that wait for a release.
type QueueView struct {
	Counts struct {
		NeedsBuild int `json:"needs build"`
		NeedsMatch int `json:"needs match"`
		Ready      int `json:"ready"`
	} `json:"counts" doc:"Of all that wait, whatever the page and the stage"`
	Advisories []StandingView `json:"advisories" doc:"By platform and id"`
	More       bool           `json:"more" doc:"List on after the last one"`
}

func (s *Resources) queue(ctx context.Context, in *errataQueueInput) (*rest.Body[QueueView], error) {
	f := matching.Filter{After: errata.Key{ID: in.AfterID, Platform: in.AfterPlatform}, Limit: in.Limit}
	var err error
	if in.Stage != "" {
		if f.Stage, err = matching.ParseStage(in.Stage); err != nil {
			return nil, err
		}
	}
	if in.Platform != "" {
		p, err := s.platformOf(ctx, in.Platform)
		if err != nil {
			return nil, err
		}
		f.Platform = p.Name
	}
	all, err := s.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	ids := map[string]int64{}
	for _, p := range all {
		ids[p.Name] = p.ID
	}
	counts, err := s.Matching.Counts(ctx, f.Platform)
	if err != nil {
		return nil, err
	}
	list, more, err := s.Matching.Queue(ctx, f)
	if err != nil {
		return nil, err
	}
	v := QueueView{Advisories: []StandingView{}, More: more}
	v.Counts.NeedsBuild, v.Counts.NeedsMatch, v.Counts.Ready = counts[matching.NeedsBuild], counts[matching.NeedsMatch], counts[matching.Ready]
	for _, st := range list {
		v.Advisories = append(v.Advisories, viewStanding(st, ids[st.Platform]))
	}
	return rest.Answer(v), nil
}

type candidatesInput struct {
	Platform string       `query:"platform" required:"true" maxLength:"100" doc:"The platform's name or id"`
	Name     string       `query:"name" maxLength:"300" doc:"Of packages; this or a build is needed"`
	Build    albs.BuildID `query:"build_id" minimum:"0"`
}

// CandidateView is a package that may be chosen.
type CandidateView struct {
	Package  string       `json:"package" doc:"name-[epoch:]version-release.arch"`
	Build    albs.BuildID `json:"build_id"`
	Source   string       `json:"source,omitempty" doc:"File name of its source package"`
	Label    string       `json:"module_label,omitempty" doc:"name:stream:version:context of its module"`
	SHA256   albs.Digest  `json:"sha256" doc:"As it was built"`
	Released bool         `json:"released" doc:"A signed copy is in a repository for the platform"`
}

// CandidatesView is what there is to choose from.
type CandidatesView struct {
	Packages []CandidateView `json:"packages"`
	More     bool            `json:"more" doc:"There are others: name the build"`
}

func (s *Resources) candidates(ctx context.Context, in *candidatesInput) (*rest.Body[CandidatesView], error) {
	p, err := s.platformOf(ctx, in.Platform)
	if err != nil {
		return nil, err
	}
	ps, more, err := s.Matching.Packages(ctx, matching.Wish{Platform: p.Name, Name: in.Name, Build: in.Build})
	if err != nil {
		return nil, err
	}
	v := CandidatesView{Packages: []CandidateView{}, More: more}
	for _, c := range ps {
		v.Packages = append(v.Packages, CandidateView{c.NEVRA.String(), c.Build, c.Source, c.Module, c.Unsigned, c.Released})
	}
	return rest.Answer(v), nil
}

// MatchStatus is a status as ALBS's clients give it.
type MatchStatus struct {
	ID       string       `json:"errata_record_id" maxLength:"100"`
	Platform int64        `json:"errata_platform_id"`
	Build    albs.BuildID `json:"build_id" minimum:"1"`
	Source   string       `json:"source" minLength:"1" maxLength:"300" doc:"The source package, by name or as name-version-release.src.rpm"`
	Status   string       `json:"status" enum:"proposal,approved,skipped,released"`
}

type matchStatusInput struct {
	Body []MatchStatus `minItems:"1" maxItems:"1000"`
}

// ChangedView is ALBS's answer to a change of what is matched.
type ChangedView struct {
	OK    bool    `json:"ok"`
	Error *string `json:"error"`
}

// updateStatus answers as ALBS does: what can't be changed is told in the answer.
func (s *Resources) updateStatus(ctx context.Context, in *matchStatusInput) (*rest.Body[ChangedView], error) {
	var rs []matching.Request
	for _, b := range in.Body {
		p, err := s.Platforms.ByID(ctx, b.Platform)
		if err != nil {
			return nil, err
		}
		d := matching.Decision{Build: b.Build, Source: b.Source}
		if strings.HasSuffix(b.Source, ".src.rpm") {
			d.Source = advisory.Package{Source: b.Source}.SourceName()
		}
		switch st, err := matching.ParseStatus(b.Status); {
		case err != nil:
			return nil, err
		case st == matching.Approved:
			d.Action = matching.Approve
		case st == matching.Skipped:
			d.Action = matching.Skip
		case st == matching.Proposal:
			d.Action = matching.Propose
		default:
			return nil, albs.Errorf(albs.Invalid, "released can't be given: a package is released when a release shows it")
		}
		k := errata.Key{ID: b.ID, Platform: p.Name}
		i := 0
		for i < len(rs) && rs[i].Key != k {
			i++
		}
		if i == len(rs) {
			rs = append(rs, matching.Request{Key: k})
		}
		rs[i].Decisions = append(rs[i].Decisions, d)
	}
	results, err := s.Matching.DecideEach(ctx, rs)
	if err != nil {
		return nil, err
	}
	var bad []string
	for _, r := range results {
		switch albs.KindOf(r.Err) {
		case "":
			if r.Err != nil {
				return nil, r.Err
			}
		case albs.NotFound, albs.Conflict, albs.Invalid:
			bad = append(bad, fmt.Sprintf("%s: %v", r.Key, r.Err))
		default:
			return nil, r.Err
		}
	}
	if len(bad) == 0 {
		return rest.Answer(ChangedView{OK: true}), nil
	}
	why := strings.Join(bad, "; ")
	return rest.Answer(ChangedView{Error: &why}), nil
}

type resetMatchesInput struct {
	ID       string `query:"record_id" required:"true" maxLength:"100"`
	Platform string `query:"platform_id" required:"true" maxLength:"100" doc:"The platform's id or name"`
}

// ResetView is ALBS's answer, with ours behind it.
type ResetView struct {
	Message string         `json:"message"`
	Results []MatchOutcome `json:"results"`
}

func (s *Resources) reset(ctx context.Context, in *resetMatchesInput) (*rest.Body[ResetView], error) {
	k, err := s.keyOf(ctx, in.ID, in.Platform)
	if err != nil {
		return nil, err
	}
	revision, err := s.Matching.Reset(ctx, k)
	if err != nil {
		return nil, err
	}
	return rest.Answer(ResetView{
		Message: fmt.Sprintf("Packages for record %s have been matched", k.ID), Results: []MatchOutcome{{ID: k.ID, Platform: k.Platform, OK: true, Revision: revision}},
	}), nil
}

type resetMatchesSinceInput struct {
	Issued string `query:"issued_date" required:"true" maxLength:"40" doc:"YYYY-MM-DD HH:MM:SS in UTC, a day, or RFC 3339"`
}

func (s *Resources) resetSince(ctx context.Context, in *resetMatchesSinceInput) (*rest.Body[ResetView], error) {
	since, err := advisory.ParseTime(in.Issued)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "issued_date: %w", err)
	}
	results, err := s.Matching.ResetSince(ctx, since)
	list, err := outcomes(results, err)
	if err != nil {
		return nil, err
	}
	v := ResetView{Message: fmt.Sprintf("Records issued after %s have been matched: %d", in.Issued, len(list.Body)), Results: list.Body}
	if len(list.Body) == 0 {
		v.Message = "No unreleased records found after " + in.Issued
	}
	return rest.Answer(v), nil
}
