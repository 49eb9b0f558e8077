package delivery

import (
	"context"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/publish"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
)

// ALBS releases an advisory at once; albs plans its release, which people approve. So what
// these answer is what became of the plan.
func (s *Resources) routeErrataRelease() {
	const says = "It is a release of advisories alone: packages have to be public already, or be released with them by releases/new/. People approve and publish it like any other."
	for _, name := range []string{"release_record", "release_new_record"} {
		op := rest.Operation(rest.Post, "/api/v1/errata/"+name+"/{errata_id}/", "Plan the release of an advisory, as ALBS's clients ask for it ("+name+")")
		op.Description = says
		rest.Handle(s.Server, rest.Slow(op), s.releaseRecord)
	}
	for _, name := range []string{"bulk_release_records", "bulk_release_new_records"} {
		op := rest.Operation(rest.Post, "/api/v1/errata/"+name+"/", "Plan the release of several advisories, as ALBS's clients ask for it ("+name+")")
		op.Description = says + " There is a release for each platform, and a result for each advisory: what hinders one doesn't hinder the others."
		rest.Handle(s.Server, rest.Slow(op), s.releaseRecords)
	}
}

// ErrataWish is what may be said of the release of advisories.
type ErrataWish struct {
	Force   bool   `query:"force" doc:"Release it though the product will not have all packages that it wants; wants errata.force"`
	Reason  string `query:"reason" maxLength:"500" doc:"Why, if it is forced: one line, which stands in the plan"`
	Product string `query:"product" maxLength:"100" doc:"The name of the product; needed where several have the platform"`
}

// unsaid is the reason of what ALBS's clients force, who can't give one.
const unsaid = "it was forced by a client that gives no reason"

type releaseRecordInput struct {
	ErrataWish
	ID       string `path:"errata_id" maxLength:"300"`
	Platform string `query:"platform_id" required:"true" maxLength:"100" doc:"The platform's id or name"`
}

type releaseRecordsInput struct {
	ErrataWish
	Platform string   `query:"platform_id" maxLength:"100" doc:"The platform's id or name; needed for an advisory whose id several platforms have"`
	Body     []string `minItems:"1" maxItems:"500" doc:"The ids of advisories"`
}

// ErrataReleaseView is ALBS's answer, with ours behind it.
type ErrataReleaseView struct {
	Message string            `json:"message"`
	Results []ErrataPlannedAs `json:"results" doc:"In the order in which they were asked for"`
}

// ErrataPlannedAs is what became of one advisory that is to be released.
type ErrataPlannedAs struct {
	ID       string         `json:"errata_record_id"`
	Platform string         `json:"platform,omitempty"`
	OK       bool           `json:"ok" doc:"The release has it"`
	Release  albs.ReleaseID `json:"release_id,omitempty" doc:"That was planned"`
	Error    string         `json:"error,omitempty" doc:"What speaks against it"`

	key errata.Key // zero if it can't be told
}

func (s *Resources) releaseRecord(ctx context.Context, in *releaseRecordInput) (*rest.Body[ErrataReleaseView], error) {
	id := in.ID
	if plain, err := url.PathUnescape(id); err == nil {
		id = plain
	}
	k, err := s.advisoryOf(ctx, id, in.Platform)
	if err != nil {
		return nil, err
	}
	one := []ErrataPlannedAs{{ID: k.ID, Platform: k.Platform, key: k}}
	if err := s.planErrata(ctx, in.ErrataWish, one); err != nil {
		return nil, err
	}
	v := ErrataReleaseView{Results: one, Message: fmt.Sprintf("Record %s can't be released: %s", id, one[0].Error)}
	if one[0].OK {
		v.Message = fmt.Sprintf("Record %s is scheduled for release %d", id, one[0].Release)
	}
	return rest.Answer(v), nil
}

func (s *Resources) releaseRecords(ctx context.Context, in *releaseRecordsInput) (*rest.Body[ErrataReleaseView], error) {
	all := make([]ErrataPlannedAs, len(in.Body))
	for i, id := range in.Body {
		all[i].ID = id
		k, err := s.advisoryOf(ctx, id, in.Platform)
		switch {
		case err != nil && !ofOne(err):
			return nil, err
		case err != nil:
			all[i].Error = err.Error()
		case slices.Index(in.Body, id) < i:
			all[i].Error = "it was named before"
		default:
			all[i].Platform, all[i].key = k.Platform, k
		}
	}
	if err := s.planErrata(ctx, in.ErrataWish, all); err != nil {
		return nil, err
	}
	var planned, skipped []string
	for _, r := range all {
		if r.OK {
			planned = append(planned, r.ID)
		} else {
			skipped = append(skipped, r.ID)
		}
	}
	v := ErrataReleaseView{Message: "No records were scheduled for release", Results: all}
	if len(planned) > 0 {
		v.Message = "The following records were scheduled for release: " + strings.Join(planned, ", ")
	}
	if len(skipped) > 0 {
		v.Message += ". Skipped: " + strings.Join(skipped, ", ")
	}
	return rest.Answer(v), nil
}

// ofOne reports whether an error is about what was asked for, and hinders nothing else.
func ofOne(err error) bool {
	switch albs.KindOf(err) {
	case albs.NotFound, albs.Invalid, albs.Conflict, albs.Forbidden, albs.TooLarge:
		return true
	}
	return false
}

// advisoryOf returns the advisory of an id, of a platform by name or id; without one, if no
// other platform has that id.
func (s *Resources) advisoryOf(ctx context.Context, id, platform string) (errata.Key, error) {
	if platform != "" {
		p, err := s.Platforms.Get(ctx, platform)
		if n, bad := strconv.ParseInt(platform, 10, 64); bad == nil && albs.KindOf(err) == albs.NotFound {
			p, err = s.Platforms.ByID(ctx, n)
		}
		if err != nil {
			return errata.Key{}, err
		}
		r, err := s.Errata.Get(ctx, errata.Key{ID: id, Platform: p.Name})
		return r.Key, err
	}
	page, err := s.Errata.List(ctx, errata.Query{IDs: []string{id}})
	if err != nil {
		return errata.Key{}, err
	}
	var on []string
	for _, r := range page.Records {
		on = append(on, r.Platform)
	}
	slices.Sort(on)
	switch len(on) {
	case 0:
		return errata.Key{}, albs.Errorf(albs.NotFound, "there is no advisory %.120q", id)
	case 1:
		return page.Records[0].Key, nil
	}
	return errata.Key{}, albs.Errorf(albs.Invalid, "several platforms have an advisory %s: give one of %s as platform_id", id, strings.Join(on, ", "))
}

// planErrata plans a release of the advisories of each platform, and says in each what
// became of it; those without a key stay as they are. An error is about all of them.
func (s *Resources) planErrata(ctx context.Context, w ErrataWish, all []ErrataPlannedAs) error {
	force := ""
	if w.Force {
		force = w.Reason
		if force == "" {
			force = unsaid
		}
	}
	of := map[string][]*ErrataPlannedAs{} // by platform
	for i := range all {
		r := &all[i]
		if r.key == (errata.Key{}) {
			continue
		}
		now, err := s.Errata.Get(ctx, r.key)
		switch {
		case err != nil && !ofOne(err):
			return err
		case err != nil:
			r.Error = err.Error()
		case now.State == errata.InProgress:
			r.Error = fmt.Sprintf("it is in progress already, in release %d", now.Release)
		case !now.Pending:
			r.Error = "what is public is what it says: nothing of it waits for a release"
		default:
			of[r.Platform] = append(of[r.Platform], r)
		}
	}
	for platform, rs := range of {
		r, err := s.planOf(ctx, platform, w.Product, force, rs)
		// Of one platform alone, who may not is told so as everywhere.
		if err != nil && (!ofOne(err) || len(of) == 1 && albs.KindOf(err) == albs.Forbidden) {
			return err
		}
		var against string
		if err != nil {
			against = err.Error()
		} else if len(r.Plan.Refusals) > 0 {
			against = fmt.Sprintf("release %d is refused: %s", r.ID, r.Plan.Refusals[0])
		}
		for _, one := range rs {
			one.Error, one.Release = against, r.ID
			if i := slices.IndexFunc(r.Plan.Skipped, func(x plan.Skipped) bool { return x.Name == one.key.String() }); i >= 0 {
				one.Error = r.Plan.Skipped[i].Reason
			}
			one.OK = one.Error == ""
		}
	}
	return nil
}

// planOf plans the release of advisories of a platform by a product, the only one that has
// the platform if none is named. What speaks against one leaves it out.
func (s *Resources) planOf(ctx context.Context, platform, name, force string, rs []*ErrataPlannedAs) (release.Release, error) {
	if name == "" {
		all, err := s.Products.All(ctx)
		if err != nil {
			return release.Release{}, err
		}
		all = slices.DeleteFunc(all, func(p product.Product) bool { return !slices.Contains(p.Platforms, platform) })
		switch len(all) {
		case 0:
			return release.Release{}, albs.Errorf(albs.Conflict, "no product has platform %s", platform)
		case 1:
			name = all[0].Name
		default:
			var names []string
			for _, p := range all {
				names = append(names, p.Name)
			}
			return release.Release{}, albs.Errorf(albs.Invalid, "several products have platform %s: give one of %s as product", platform, strings.Join(names, ", "))
		}
	}
	var wanted []plan.Wanted
	for _, r := range rs {
		wanted = append(wanted, plan.Wanted{Part: publish.Name, Name: r.key.String(), Force: force, Optional: true})
	}
	return s.Releases.Plan(ctx, name, nil, wanted...)
}
