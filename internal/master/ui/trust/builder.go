package trust

import (
	"net/http"

	"github.com/go-chi/chi/v5"

	"albs/internal/attest"
	"albs/internal/master/build/statement"
	"albs/internal/master/trace"
	"albs/internal/master/ui/page"
)

// builderView says what builder ids are worth: one of them, or in short all.
type builderView struct {
	One *statement.Builder
	All []statement.Builder
}

// routeBuilders adds the page of each builder, at the path of its id and at the one that
// every master has.
func (u *Pages) routeBuilders(r chi.Router) {
	u.Get(r, "/builder", func(w http.ResponseWriter, r *http.Request) error {
		return u.Render(w, r, http.StatusOK, "trust/builder", page.Page{Title: "Builders", Body: builderView{All: u.Builders}})
	})
	for _, b := range u.Builders {
		show := func(w http.ResponseWriter, r *http.Request) error {
			return u.Render(w, r, http.StatusOK, "trust/builder", page.Page{Title: "Builder " + b.ID, Body: builderView{One: &b, All: u.Builders}})
		}
		u.Get(r, b.Path, show)
		if own := statement.OwnPath(b.Mode); own != b.Path {
			u.Get(r, own, show)
		}
	}
}

// builderOf returns the builder that a link of a trace names, nil if it names none, or none
// of this master.
func (u *Pages) builderOf(l trace.Link) *statement.Builder {
	if l.Says != attest.Build || l.Statement == nil {
		return nil
	}
	var body attest.BuildBody
	if l.Statement.Body(&body) != nil {
		return nil // the trace has read it
	}
	for _, b := range u.Builders {
		if b.ID == body.RunDetails.Builder.ID {
			return &b
		}
	}
	return nil
}
