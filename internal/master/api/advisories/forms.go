package advisories

import (
	"bytes"
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/danielgtaylor/huma/v2"
	"github.com/go-chi/chi/v5"

	"albs/internal/advisory"
	"albs/internal/advisory/oval"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/api/rest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/publish"
	"albs/internal/master/platform"
	"albs/internal/repodata/updateinfo"
)

// Two of the forms that releases publish are ALBS's to ask for here, too.
func (s *Resources) routeForms() {
	op := rest.Operation(rest.Get, record+"updateinfo/", "Show what is public of an advisory as the repositories' updateinfo.xml tell it, all in one")
	op.Parameters = append(rest.PathParams(op.Path), rest.QueryParam("platform_id", huma.TypeString, "The platform's id or name; needed where the id is public on several"))
	op.Responses = rest.Answers(http.StatusOK, "The notice", "text/plain")
	s.Raw(op, s.updateinfo)
	for path, says := range map[string]string{root + "get_oval_xml/": "Give the OVAL definitions of a platform, as a text", root + "get_new_oval_xml/": "Give the OVAL definitions of a platform, as a text: the same"} {
		op := rest.Operation(rest.Get, path, says)
		op.Description = "The file that releases publish, oval/ below the platform's address, has those that are released."
		rest.Handle(s.Server, rest.Slow(op), s.oval) // all are written anew
	}
}

// published returns the version of an advisory that is public; NotFound if there is none.
// Without a platform it is Invalid if there are several.
func (s *Resources) published(ctx context.Context, id, platform string) (advisory.Advisory, error) {
	var rs []errata.Record
	if platform != "" {
		k, err := s.keyOf(ctx, id, platform)
		if err != nil {
			return advisory.Advisory{}, err
		}
		r, err := s.Errata.Get(ctx, k)
		if err != nil {
			return advisory.Advisory{}, err
		}
		rs = append(rs, r)
	} else {
		page, err := s.Errata.List(ctx, errata.Query{IDs: []string{id}})
		if err != nil {
			return advisory.Advisory{}, err
		}
		rs = page.Records
	}
	var public []errata.Record
	var on []string
	for _, r := range rs {
		if r.Shown != 0 {
			public, on = append(public, r), append(on, r.Platform)
		}
	}
	switch len(public) {
	case 0:
		return advisory.Advisory{}, albs.Errorf(albs.NotFound, "no version of an advisory %.120q is public", id)
	case 1:
	default:
		return advisory.Advisory{}, albs.Errorf(albs.Invalid, "advisory %s is public on several platforms: give one of %s as platform_id", id, strings.Join(on, ", "))
	}
	i, err := s.Errata.Issue(ctx, public[0].Key, public[0].Shown)
	if err != nil {
		return advisory.Advisory{}, err
	}
	return advisory.Parse(i.Document)
}

func (s *Resources) updateinfo(w http.ResponseWriter, r *http.Request) {
	a, err := s.published(r.Context(), plain(chi.URLParam(r, "errata_id")), r.URL.Query().Get("platform_id"))
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	u, ok := update.Whole(a)
	if !ok {
		s.Fail(w, r, albs.Errorf(albs.NotFound, "updateinfo.xml tells nothing of advisory %s: it is withdrawn", a.ID))
		return
	}
	p, err := updateinfo.Make(u)
	if err != nil {
		s.Fail(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write(p.Document()) // the client is gone
}

type ovalInput struct {
	Platform string `query:"platform_name" required:"true" maxLength:"100" doc:"Its name or id"`
	Released bool   `query:"only_released" doc:"Leave out those that no release has published yet, which are told as they wait"`
}

func (s *Resources) oval(ctx context.Context, in *ovalInput) (*rest.Body[string], error) {
	p, err := s.platformOf(ctx, in.Platform)
	if errors.Is(err, albs.NotFound) {
		return nil, albs.Errorf(albs.NotFound, "%.100s is not a valid platform", in.Platform)
	}
	if err != nil {
		return nil, err
	}
	d, err := s.distribution(ctx, p)
	if err != nil {
		return nil, err
	}
	var pieces []advisory.Piece
	var updated time.Time
	add := func(a advisory.Advisory) error {
		piece, err := oval.Piece(a, d)
		if err != nil {
			return err
		}
		pieces = append(pieces, piece)
		if a.Updated.After(updated) {
			updated = a.Updated
		}
		return nil
	}
	if err := s.Errata.Published(ctx, p.Name, add); err != nil {
		return nil, err
	}
	if !in.Released {
		if err := s.unpublished(ctx, p.Name, add); err != nil {
			return nil, err
		}
	}
	parts, err := oval.Join(d, pieces, updated)
	if err != nil {
		return nil, err
	}
	if parts == nil {
		return nil, albs.Errorf(albs.NotFound, "platform %s has no advisories of which OVAL tells", p.Name)
	}
	return rest.Answer(string(bytes.Join(parts, nil))), nil
}

// unpublished calls yield for each advisory of a platform that was never public, as it waits.
func (s *Resources) unpublished(ctx context.Context, platform string, yield func(advisory.Advisory) error) error {
	for after := (errata.Key{}); ; {
		rs, err := s.Errata.Unreleased(ctx, platform, after, errata.MaxPage)
		if err != nil || len(rs) == 0 {
			return err
		}
		for _, r := range rs {
			after = r.Key
			if r.Shown != 0 {
				continue
			}
			if err := yield(r.Advisory); err != nil {
				return err
			}
		}
	}
}

// distribution is what forms say of a platform, with the keys of all products that have it.
func (s *Resources) distribution(ctx context.Context, p platform.Platform) (advisory.Distribution, error) {
	all, err := s.Products.All(ctx)
	if err != nil {
		return advisory.Distribution{}, err
	}
	var keys []string
	for _, of := range all {
		for _, name := range of.Platforms {
			if name == p.Name {
				keys = append(keys, of.AllKeys()...)
			}
		}
	}
	d, _, err := publish.Distribution(ctx, s.Keys, p, keys)
	return d, err
}
