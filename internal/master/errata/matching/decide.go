package matching

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/match"
	"albs/internal/rpm"
)

func compareKeys(a, b errata.Key) int {
	return cmp.Or(strings.Compare(a.Platform, b.Platform), strings.Compare(a.ID, b.ID))
}

// Answers are what an advisory wants and what answers it.
type Answers struct {
	// Revision is the advisory's, for decisions that rest on what is shown.
	Revision int64
	Standing Standing
	Wanted   []Wanted
	Matches  []Match // by what is wanted, the best first; then those that were added
}

// Chosen returns what answers the advisory as it is: what is approved or released.
func (a Answers) Chosen() []Match {
	return slices.DeleteFunc(slices.Clone(a.Matches), func(m Match) bool { return !m.settled() })
}

// Missing returns what the advisory wants and for which nothing is chosen, with why as its
// Lack; what is excluded isn't missing.
func (a Answers) Missing() []Wanted {
	type answers struct{ settled, proposed, skipped bool }
	of := map[rpm.NEVRA]answers{}
	for _, m := range a.Matches {
		is := of[m.Wanted]
		is.settled, is.proposed, is.skipped = is.settled || m.settled(), is.proposed || m.Status == Proposal, is.skipped || m.Status == Skipped
		of[m.Wanted] = is
	}
	var out []Wanted
	for _, w := range a.Wanted {
		switch is := of[w.NEVRA]; {
		case w.Excluded || is.settled:
			continue
		case is.proposed:
			w.Lack = "nobody has approved one of its matches"
		case is.skipped:
			w.Lack = "all of its matches were skipped"
		}
		out = append(out, w)
	}
	return out
}

// Of returns what an advisory wants and what answers it; NotFound if there is no such
// advisory. Anyone may ask.
func (m *Matching) Of(ctx context.Context, k errata.Key) (Answers, error) {
	return m.Look(ctx, m.DB, k)
}

// Look is Of as q sees it.
func (m *Matching) Look(ctx context.Context, q db.Q, k errata.Key) (Answers, error) {
	rec, err := m.Errata.Look(ctx, q, k)
	if err != nil {
		return Answers{}, err
	}
	r, s, err := load(ctx, q, k)
	if err != nil {
		return Answers{}, err
	}
	if r.ID == 0 {
		for _, p := range wants(rec.Advisory) {
			s.Wanted = append(s.Wanted, Wanted{NEVRA: p.NEVRA, Module: moduleOf(p), Lack: lackUnseen})
		}
	}
	out := Answers{Revision: rec.Revision, Standing: s.standing(rec), Wanted: s.Wanted}
	for _, a := range s.Matches {
		out.Matches = append(out.Matches, a.shown(k))
	}
	return out, nil
}

// Decide makes decisions on the matches of an advisory that has the revision (0 for any), one
// after another and all of them or none, and returns the revision that it has then; they are
// durable and stand in its history. Errors: NotFound for an unknown advisory and for what
// isn't wanted, matched or built; Forbidden without errata.approve; Invalid; Conflict if the
// advisory has another revision, a release has it in progress, or a build hasn't got a
// package any more.
func (m *Matching) Decide(ctx context.Context, k errata.Key, revision int64, ds []Decision) (int64, error) {
	if len(ds) == 0 || len(ds) > MaxDecisions {
		return 0, albs.Errorf(albs.Invalid, "make 1 to %d decisions at once", MaxDecisions)
	}
	for _, d := range ds {
		if err := d.check(); err != nil {
			return 0, err
		}
	}
	by, err := m.person(ctx, k.Platform)
	if err != nil {
		return 0, err
	}
	return m.change(ctx, k, change{by: by, revision: revision, decide: ds})
}

// person returns who acts, if that one may decide on advisories of a platform.
func (m *Matching) person(ctx context.Context, on string) (person, error) {
	p, err := m.Platforms.Get(ctx, on)
	if err != nil {
		return person{}, err
	}
	if err := auth.Can(ctx, auth.ErrataApprove, auth.Object{Team: p.Errata.Team}); err != nil {
		return person{}, err
	}
	return person{cmp.Or(auth.From(ctx).Name, auth.From(ctx).String()), m.now().UTC().Truncate(time.Second)}, nil
}

// Reset takes back what people have decided on the matches of an advisory and matches it
// anew, one that is frozen too. It returns the revision that the advisory has then. Errors:
// as of Decide.
func (m *Matching) Reset(ctx context.Context, k errata.Key) (int64, error) {
	by, err := m.person(ctx, k.Platform)
	if err != nil {
		return 0, err
	}
	return m.change(ctx, k, change{by: by, undo: true})
}

// Request asks for decisions on one advisory.
type Request struct {
	errata.Key
	Revision  int64 // 0 for any
	Decisions []Decision
}

// Result is what became of one advisory among several.
type Result struct {
	errata.Key
	Revision int64
	Err      error
}

// DecideEach is Decide for several advisories, each by itself: what one of them hinders
// doesn't hinder the others. An id of several platforms is several advisories. TooLarge
// beyond MaxDecisions.
func (m *Matching) DecideEach(ctx context.Context, rs []Request) ([]Result, error) {
	if len(rs) > MaxDecisions {
		return nil, albs.Errorf(albs.TooLarge, "decide on at most %d advisories at once", MaxDecisions)
	}
	out := make([]Result, len(rs))
	for i, r := range rs {
		out[i].Key = r.Key
		out[i].Revision, out[i].Err = m.Decide(ctx, r.Key, r.Revision, r.Decisions)
		if ctx.Err() != nil {
			return out, ctx.Err()
		}
	}
	return out, nil
}

// ResetSince is Reset for every advisory that waits for a release and was issued since a
// time, of the platforms of whose advisories the actor may decide. A release has none of
// them in progress. Forbidden if the actor may decide on none at all.
func (m *Matching) ResetSince(ctx context.Context, since time.Time) ([]Result, error) {
	var out []Result
	var refused error
	for after := (errata.Key{}); ; {
		rs, err := m.Errata.Unreleased(ctx, "", after, errata.MaxPage)
		if err != nil {
			return out, err
		}
		for _, r := range rs {
			after = r.Key
			if r.Advisory.Issued.Before(since) || r.State == errata.InProgress {
				continue
			}
			if _, err := m.person(ctx, r.Platform); err != nil {
				refused = err
				continue
			}
			res := Result{Key: r.Key}
			res.Revision, res.Err = m.Reset(ctx, r.Key)
			out = append(out, res)
			if ctx.Err() != nil {
				return out, ctx.Err()
			}
		}
		if len(rs) == 0 {
			break
		}
	}
	if len(out) == 0 {
		return nil, refused
	}
	return out, nil
}

// Filter says which of the advisories that wait for a release to list.
type Filter struct {
	Platform string // "" is all
	Stage    Stage  // 0 is all
	After    errata.Key
	Limit    int // between 1 and MaxQueue; 0 is MaxQueue
}

// MaxQueue is the most advisories that one Queue returns.
const MaxQueue = 500

// Queue returns the advisories that wait for a release, by platform and id, with how far
// their matching has come, and whether there are more: list on after the last one. Anyone
// may ask.
func (m *Matching) Queue(ctx context.Context, f Filter) ([]Standing, bool, error) {
	if f.Limit < 0 || f.Limit > MaxQueue {
		return nil, false, albs.Errorf(albs.Invalid, "a list of advisories has 1 to %d a page", MaxQueue)
	}
	f.Limit = cmp.Or(f.Limit, MaxQueue)
	out, err := queue(ctx, m.DB, f)
	if err != nil {
		return nil, false, fmt.Errorf("list advisories that wait: %w", err)
	}
	if len(out) > f.Limit {
		return out[:f.Limit], true, nil
	}
	return out, false, nil
}

// Counts returns how many advisories of a platform ("" is all) wait for a release in each
// stage. Anyone may ask.
func (m *Matching) Counts(ctx context.Context, on string) (map[Stage]int, error) {
	out, err := counts(ctx, m.DB, on)
	if err != nil {
		return nil, fmt.Errorf("count advisories that wait: %w", err)
	}
	return out, nil
}

// Standings returns how far the matching of advisories has come; those that weren't looked
// at yet aren't in it. Anyone may ask.
func (m *Matching) Standings(ctx context.Context, keys []errata.Key) (map[errata.Key]Standing, error) {
	ids := map[string][]string{}
	for _, k := range keys {
		ids[k.Platform] = append(ids[k.Platform], k.ID)
	}
	out := make(map[errata.Key]Standing, len(keys))
	for on, list := range ids {
		found, err := standings(ctx, m.DB, on, list)
		if err != nil {
			return nil, fmt.Errorf("read how far advisories are matched: %w", err)
		}
		for _, s := range found {
			out[s.Key] = s
		}
	}
	return out, nil
}

// Wish says which packages of builds to list: those for a platform that have the name, are
// of the build, or both; one of the two is given.
type Wish struct {
	Platform string
	Name     string
	Build    albs.BuildID
}

// MaxPackages is the most packages that one Packages returns.
const MaxPackages = 500

// Packages returns packages of builds for people to choose from, those of the newest builds
// first, and whether there are more. Anyone may ask. Invalid for a Wish without a name and a
// build.
func (m *Matching) Packages(ctx context.Context, w Wish) ([]match.Package, bool, error) {
	if w.Name == "" && w.Build == 0 {
		return nil, false, albs.Errorf(albs.Invalid, "name the packages to look for, or their build")
	}
	rows, err := wished(ctx, m.DB, w, MaxPackages+1)
	if err != nil {
		return nil, false, fmt.Errorf("find packages of builds: %w", err)
	}
	more := len(rows) > MaxPackages
	out, err := m.known(ctx, w.Platform, rows[:min(len(rows), MaxPackages)])
	return out, more, err
}

// OfBuild returns the advisories that packages of a build answer, or could, by platform and
// id. Anyone may ask.
func (m *Matching) OfBuild(ctx context.Context, id albs.BuildID) ([]errata.Key, error) {
	keys, err := ofBuild(ctx, m.DB, id)
	if err != nil {
		return nil, fmt.Errorf("find advisories of build %d: %w", id, err)
	}
	return keys, nil
}
