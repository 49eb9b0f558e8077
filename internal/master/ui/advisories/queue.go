package advisories

import (
	"net/http"

	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/ui/page"
)

type queueView struct {
	Platform  string
	Platforms []string
	Stage     matching.Stage // 0 is all
	Waiting   []stageCount
	Rows      []row
	Next      string
	First     string
	ChooseAll string
}

// queuePage lists the advisories that wait for a release, with what each waits for.
func (u *Pages) queuePage(w http.ResponseWriter, r *http.Request) error {
	ctx := r.Context()
	q, err := page.Filters(r, "platform", "stage", "after")
	if err != nil {
		return err
	}
	f := matching.Filter{Platform: q[0], Limit: perPage}
	if q[1] != "" {
		if f.Stage, err = matching.ParseStage(q[1]); err != nil {
			return err
		}
	}
	if q[2] != "" {
		if f.After, err = readKey(q[2]); err != nil {
			return err
		}
	}
	p, err := u.Follow(ctx, page.Page{Title: "Advisories that wait", Section: section}, FollowAll)
	if err != nil {
		return err
	}
	ps, err := u.advised(ctx)
	if err != nil {
		return err
	}
	v := queueView{Platform: f.Platform, Platforms: names(ps), Stage: f.Stage, ChooseAll: page.With(r.URL, "choose", "all")}
	if v.Waiting, err = u.waiting(ctx, f.Platform); err != nil {
		return err
	}
	standings, more, err := u.Matching.Queue(ctx, f)
	if err != nil {
		return err
	}
	keys := make([]errata.Key, len(standings))
	for i, s := range standings {
		keys[i] = s.Key
	}
	rs, err := u.records(ctx, keys)
	if err != nil {
		return err
	}
	if v.Rows, err = u.rows(ctx, rs, r.URL.Query().Get("choose") == "all"); err != nil {
		return err
	}
	if more {
		v.Next = page.With(r.URL, "after", keys[len(keys)-1].String())
	}
	if q[2] != "" {
		v.First = page.With(r.URL, "after", "")
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "advisories/queue", p)
}
