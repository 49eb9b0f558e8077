// Package advisories has the pages of security notices: the list and the queue of those
// that wait, an advisory with what answers it, why, and what people decide on that, how it
// is written, edited and imported, what a release of it comes to, and what the public sees.
package advisories

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// FollowAll is the topic of what happens to any advisory; one's is errata.Topic's.
// FollowChecks is that of what the public sees.
const (
	FollowAll    = "advisories"
	FollowChecks = "advisory-checks"
)

const section = "advisories"

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Errata    *errata.Errata
	Drafts    *draft.Drafts
	Matching  *matching.Matching
	Monitor   *monitor.Monitor
	Platforms *platform.Platforms
	Products  *product.Products
	Releases  *release.Releases
}

// Pages answers for advisories. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
}

// Group returns the templates of the pages.
func Group() page.Group { return page.Group{Folder: "advisories", Functions: functions} }

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/errata", u.listPage)
	u.PostSlow(r, "/errata/bulk", u.bulk)
	u.Get(r, "/errata/queue", u.queuePage)
	u.Get(r, "/errata/monitor", u.monitorPage)
	u.PostSlow(r, "/errata/monitor", u.check)
	u.Get(r, "/errata/create", u.createPage)
	u.Post(r, "/errata/create", u.create)
	u.PostSlow(r, "/errata/draft", u.draft)
	u.Get(r, "/errata/import", u.importPage)
	u.PostSlow(r, "/errata/import", u.importFile)
	u.Get(r, "/errata/release", u.releasePage)
	u.PostSlow(r, "/errata/release", u.release)
	u.Get(r, "/errata/{advisory}", u.find)
	const one = "/errata/{platform}/{advisory}"
	u.Get(r, one, u.recordPage)
	u.Get(r, one+"/edit", u.editPage)
	u.Post(r, one+"/edit", u.edit)
	u.Get(r, one+"/choose", u.choosePage)
	u.Get(r, one+"/history", u.historyPage)
	u.Get(r, one+"/updateinfo", u.updateinfoPage)
	u.Post(r, one+"/decide", u.decide)
	u.Post(r, one+"/reset", u.act(func(ctx context.Context, k errata.Key, _ url.Values) error {
		_, err := u.Matching.Reset(ctx, k)
		return err
	}))
	u.Post(r, one+"/freeze", u.freeze(true))
	u.Post(r, one+"/thaw", u.freeze(false))
	u.Post(r, one+"/vex", u.act(u.vex))
	u.Post(r, one+"/withdraw", u.act(func(ctx context.Context, k errata.Key, form url.Values) error {
		_, err := u.Errata.Withdraw(ctx, k, strings.TrimSpace(form.Get("reason")))
		return err
	}))
	u.Post(r, one+"/restore", u.act(func(ctx context.Context, k errata.Key, form url.Values) error {
		_, err := u.Errata.Restore(ctx, k, strings.TrimSpace(form.Get("reason")))
		return err
	}))
}

// path returns the address of an advisory's page.
func path(k errata.Key) string { return page.AdvisoryURL(k.String()) }

// keyOf returns the advisory that a path names.
func keyOf(r *http.Request) (errata.Key, error) {
	k := errata.Key{ID: plain(r, "advisory"), Platform: plain(r, "platform")}
	if !advisory.ValidID(k.ID) {
		return k, albs.Errorf(albs.NotFound, "there is no advisory %s", words.Inert(words.Cut(k.ID, 100)))
	}
	return k, nil
}

// plain returns a part of the path, which may still be escaped.
func plain(r *http.Request, name string) string {
	s := chi.URLParam(r, name)
	if p, err := url.PathUnescape(s); err == nil {
		return p
	}
	return s
}

// readKey reads ID/PLATFORM, as forms and addresses have it.
func readKey(s string) (errata.Key, error) {
	id, on, ok := strings.Cut(s, "/")
	if !ok || !advisory.ValidID(id) || on == "" || len(on) > 128 {
		return errata.Key{}, albs.Errorf(albs.Invalid, "%s is no advisory: ID/PLATFORM", words.Inert(words.Cut(s, 120)))
	}
	return errata.Key{ID: id, Platform: on}, nil
}

// recordOf returns the advisory that a path names and its platform.
func (u *Pages) recordOf(r *http.Request) (errata.Record, platform.Platform, error) {
	k, err := keyOf(r)
	if err != nil {
		return errata.Record{}, platform.Platform{}, err
	}
	rec, err := u.Errata.Get(r.Context(), k)
	if err != nil {
		return rec, platform.Platform{}, err
	}
	p, err := u.Platforms.Get(r.Context(), k.Platform)
	return rec, p, err
}

// on is what a right to a platform's advisories is asked for.
func on(p platform.Platform) auth.Object { return auth.Object{Team: p.Errata.Team} }

// advised returns the platforms that have advisories.
func (u *Pages) advised(ctx context.Context) ([]platform.Platform, error) {
	all, err := u.Platforms.All(ctx)
	if err != nil {
		return nil, err
	}
	var out []platform.Platform
	for _, p := range all {
		if !p.Errata.None() {
			out = append(out, p)
		}
	}
	return out, nil
}

// anywhere returns nil if the actor may do v to the advisories of one of the platforms.
func anywhere(ctx context.Context, v auth.Verb, ps []platform.Platform) error {
	var err error
	for _, p := range ps {
		if err = auth.Can(ctx, v, on(p)); err == nil {
			return nil
		}
	}
	if err == nil {
		return albs.Errorf(albs.Invalid, "no platform has advisories yet: apply one with an errata section")
	}
	return err
}

// act does something to an advisory for a person, as a form says, and shows it again.
func (u *Pages) act(do func(ctx context.Context, k errata.Key, form url.Values) error) page.Handler {
	return func(w http.ResponseWriter, r *http.Request) error {
		k, err := keyOf(r)
		if err != nil {
			return err
		}
		if err := page.Form(w, r); err != nil {
			return err
		}
		if err := do(r.Context(), k, r.PostForm); err != nil {
			return err
		}
		return page.Changed(w, r, path(k))
	}
}

// freeze keeps automatic matching from an advisory, or lets it.
func (u *Pages) freeze(frozen bool) page.Handler {
	return u.act(func(ctx context.Context, k errata.Key, _ url.Values) error {
		_, err := u.Errata.Edit(ctx, k, 0, errata.Edit{Frozen: &frozen})
		return err
	})
}

// find leads to the advisory of an id, as addresses of ALBS have it: to its page if only
// one platform has it, or the one that the query names by platform or platform_id, else to
// those that do.
func (u *Pages) find(w http.ResponseWriter, r *http.Request) error {
	k, err := keyOf(r)
	if err != nil {
		return err
	}
	q := errata.Query{IDs: []string{k.ID}, Platform: r.URL.Query().Get("platform")}
	if s := r.URL.Query().Get("platform_id"); s != "" {
		id, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			return albs.Errorf(albs.Invalid, "%s is no platform's id", words.Inert(words.Cut(s, 40)))
		}
		pf, err := u.Platforms.ByID(r.Context(), id)
		if err != nil {
			return err
		}
		q.Platform = pf.Name
	}
	p, err := u.Errata.List(r.Context(), q)
	if err != nil {
		return err
	}
	switch len(p.Records) {
	case 0:
		return albs.Errorf(albs.NotFound, "there is no advisory %s", k.ID)
	case 1:
		http.Redirect(w, r, path(p.Records[0].Key), http.StatusSeeOther)
	default:
		http.Redirect(w, r, "/errata?"+url.Values{"id": {k.ID}}.Encode(), http.StatusSeeOther)
	}
	return nil
}
