// Package trust has the pages of what is known of a file and how far it can be believed.
package trust

import (
	"text/template"

	"github.com/go-chi/chi/v5"

	"albs/internal/master/build/statement"
	"albs/internal/master/provenance"
	"albs/internal/master/rebuild"
	"albs/internal/master/source/notary"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/picture"
	"albs/internal/master/ui/words"
)

// Pages answers for traces, notarized sources and builders. It may be used concurrently.
type Pages struct {
	*page.Server
	Traces     *trace.Traces
	Rebuilds   *rebuild.Rebuilds
	Notary     *notary.Notary
	Provenance *provenance.Provenance
	Logs       *transparency.Transparency
	// Builders are those that statements of this master may name.
	Builders []statement.Builder
}

// looks are how a standing is shown.
var looks = map[provenance.Standing]words.Look{
	provenance.Verified: {Word: "verified now", Icon: "ok", Class: "ok"},
	provenance.Pending:  {Word: "on its way to the ledger", Icon: "clock", Class: "wait"},
	provenance.Missing:  {Word: "missing", Icon: "none", Class: "off"},
	provenance.Failed:   {Word: "contradicted", Icon: "bad", Class: "bad"},
}

// inAll says of a thing what the worst is that is known of it.
var inAll = map[provenance.Standing]string{
	provenance.Verified: "verified now", provenance.Pending: "on its way", provenance.Missing: "with a gap", provenance.Failed: "contradicted",
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "trust", Functions: template.FuncMap{
		"boxwidth": func() int { return picture.BoxWidth },
		"standing": func(s provenance.Standing) words.Look { return looks[s] },
		"inall":    func(s provenance.Standing) string { return inAll[s] },
	}}
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/p", u.searchPage)
	u.Get(r, "/p/{of}", u.tracePage)
	u.Post(r, "/p/{of}/rebuild", u.rebuild)
	u.Get(r, "/source", u.sourcePage)
	u.routeBuilders(r)
}
