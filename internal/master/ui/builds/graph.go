package builds

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/ui/order"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// How many packages a graph may have to be told of on its build's page, and to be drawn
// on its own; what is larger is listed.
const (
	maxBeside   = 60
	maxPictured = 150
)

// ordered are the platforms of a build on which packages may need each other.
func ordered(b build.Build) []string {
	var platforms []string
	count := make(map[string]int)
	for _, it := range b.Items {
		if count[it.Platform]++; count[it.Platform] == 2 {
			platforms = append(platforms, it.Platform)
		}
	}
	return platforms
}

// graphs returns the graphs of a build as its own page shows them: none where they are
// too large for that.
func (u *Pages) graphs(ctx context.Context, b build.Build) ([]order.Graph, error) {
	platforms, packages := ordered(b), 0
	for _, it := range b.Items {
		if slices.Contains(platforms, it.Platform) {
			packages++
		}
	}
	if packages == 0 || packages > maxBeside {
		return nil, nil
	}
	all, err := u.Builds.Graph(ctx, b.ID)
	if err != nil {
		return nil, err
	}
	var out []order.Graph
	for _, g := range all {
		if slices.Contains(platforms, g.Platform) {
			out = append(out, order.Of(b, g, maxBeside))
		}
	}
	return out, nil
}

// graphPage is a page of a build's graph for one platform.
type graphPage struct {
	order.Graph
	Platforms []string
}

func (u *Pages) graphPage(w http.ResponseWriter, r *http.Request) error {
	n, err := page.Number(r, "build")
	if err != nil {
		return err
	}
	ctx, id := r.Context(), albs.BuildID(n)
	p, err := u.Follow(ctx, page.Page{Title: fmt.Sprintf("Order of build %d", id), Section: "builds"}, followBuild(id))
	if err != nil {
		return err
	}
	b, err := u.Builds.Get(ctx, id)
	if err != nil {
		return err
	}
	all, err := u.Builds.Graph(ctx, id)
	if err != nil {
		return err
	}
	v := graphPage{}
	for _, g := range all {
		v.Platforms = append(v.Platforms, g.Platform)
	}
	platform := r.URL.Query().Get("platform")
	i := 0
	if platform != "" {
		i = slices.Index(v.Platforms, platform)
	}
	if i < 0 || len(all) == 0 {
		return albs.Errorf(albs.NotFound, "build %d is not for platform %s", id, words.Inert(words.Cut(platform, 100)))
	}
	v.Graph = order.Of(b, all[i], maxPictured)
	p.Body = v
	return u.Render(w, r, http.StatusOK, "builds/graph", p)
}
