package trust

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/build/statement"
	"albs/internal/master/provenance"
	"albs/internal/master/rebuild"
	"albs/internal/master/trace"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/picture"
	"albs/internal/master/ui/words"
)

// maxPictured is how many things a trace may have to be drawn; a longer one is listed.
const maxPictured = 60

// boxHeight is that of a box of the picture, in pixels.
const boxHeight = 54

// traceView is a trace as its page shows it.
type traceView struct {
	trace.Trace
	Things []thing
	// Counts are how many links have which standing, for those that some have.
	Counts []count
	// Width and Height are of the picture, 0 if there is none.
	Width, Height int
	Lines         []line
	Actions       []page.Action
}

type thing struct {
	trace.Node
	Box   picture.Box
	Links []link // that lead to it
	// Worst is the worst standing of its record and of what leads to it.
	Worst provenance.Standing
	// Logged tells that the public log proves it to be released.
	Logged bool
	// Summarized tells that the ledger has what the releaser says of having verified it.
	Summarized bool
}

type link struct {
	trace.Link
	Name    string // of where it leads from
	Builder *statement.Builder
}

type line struct {
	Path, Class, Title string
}

type count struct {
	Standing provenance.Standing
	N        int
}

// worse orders standings, the best first.
var worse = []provenance.Standing{"", provenance.Verified, provenance.Pending, provenance.Missing, provenance.Failed}

func rank(s provenance.Standing) int {
	for i, w := range worse {
		if w == s {
			return i
		}
	}
	return len(worse)
}

// viewOf lays a trace out.
func viewOf(t trace.Trace) traceView {
	v := traceView{Trace: t}
	place := map[string]int{}
	for i, n := range t.Nodes {
		place[n.ID] = i
		v.Things = append(v.Things, thing{Node: n, Worst: n.Record})
	}
	counts := map[provenance.Standing]int{}
	var edges []picture.Edge
	var titles []line
	for _, l := range t.Links {
		counts[l.Standing]++
		th := &v.Things[place[l.To]]
		told := link{Link: l}
		if rank(l.Standing) > rank(th.Worst) {
			th.Worst = l.Standing
		}
		if i, ok := place[l.From]; ok {
			told.Name = t.Nodes[i].Name
			edges = append(edges, picture.Edge{From: i, To: place[l.To]})
			titles = append(titles, line{Class: looks[l.Standing].Class, Title: l.Says + ": " + looks[l.Standing].Word})
		}
		th.Links = append(th.Links, told)
	}
	for _, s := range worse[1:] {
		if counts[s] > 0 {
			v.Counts = append(v.Counts, count{s, counts[s]})
		}
	}
	if len(v.Things) > maxPictured || len(edges) == 0 {
		return v
	}
	heights := make([]int, len(v.Things))
	for i := range heights {
		heights[i] = boxHeight
	}
	p := picture.Lay(heights, edges)
	v.Width, v.Height = p.Width, p.Height
	for i := range v.Things {
		v.Things[i].Box = p.Boxes[i]
	}
	for i, path := range p.Lines {
		if path != "" {
			titles[i].Path = path
			v.Lines = append(v.Lines, titles[i])
		}
	}
	return v
}

// URL is the page of a trace.
func URL(of string) string { return "/p/" + url.PathEscape(of) }

func (u *Pages) searchPage(w http.ResponseWriter, r *http.Request) error {
	if of := strings.TrimSpace(r.URL.Query().Get("of")); of != "" {
		http.Redirect(w, r, URL(of), http.StatusSeeOther)
		return nil
	}
	return u.Render(w, r, http.StatusOK, "trust/trace", page.Page{Title: "Trace", Body: traceView{}})
}

func (u *Pages) tracePage(w http.ResponseWriter, r *http.Request) error {
	of, err := url.PathUnescape(chi.URLParam(r, "of"))
	if err != nil {
		return albs.Errorf(albs.NotFound, "there is no such page")
	}
	t, err := u.Traces.Of(r.Context(), of)
	if err != nil {
		return err
	}
	v := viewOf(t)
	for _, th := range v.Things {
		for i := range th.Links {
			th.Links[i].Builder = u.builderOf(th.Links[i].Link)
		}
	}
	for i, n := range t.Nodes {
		if n.NEVRA == "" {
			continue // no package
		}
		_, err := u.Logs.Beside(r.Context(), n.SHA256)
		if v.Things[i].Logged = err == nil; err != nil && !errors.Is(err, albs.NotFound) {
			return err
		}
		v.Things[i].Summarized = v.Things[i].Logged && slices.ContainsFunc(v.Things[i].Links, func(l link) bool {
			return l.Says == attest.VSA && l.Standing == provenance.Verified
		})
	}
	if d := asked(t); d != "" {
		// Whose build it is, and what that person may, is looked at when it is asked for.
		may := auth.Can(r.Context(), auth.BuildCreate, auth.Object{})
		again := page.ActionOf("/p/"+string(d)+"/rebuild", "Rebuild and compare", may, true, "")
		again.Sure = "The build that made it is done once more, from the same source package and in a root of the same packages, by another node if there is one. What comes out is compared and then forgotten."
		again.Leads = true
		v.Actions = append(v.Actions, again)
	}
	return u.Render(w, r, http.StatusOK, "trust/trace", page.Page{Title: "Trace of " + words.Inert(words.Cut(of, 80)), Body: v})
}

// asked is the one package that a trace is of, signed or not; "" if it is of something else.
func asked(t trace.Trace) (d albs.Digest) {
	for _, n := range t.Nodes {
		if n.Asked && (n.Kind == trace.Package || n.Kind == trace.Signed) {
			if d != "" {
				return ""
			}
			d = n.SHA256
		}
	}
	return d
}

// rebuild has what made a package be done once more, and shows the task that does it.
func (u *Pages) rebuild(w http.ResponseWriter, r *http.Request) error {
	d, err := albs.ParseDigest(chi.URLParam(r, "of"))
	if err != nil {
		return err
	}
	b, err := u.Rebuilds.Create(r.Context(), rebuild.Request{Of: string(d)})
	if err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/build/%d/task/%d", b.Build, b.Task.ID))
}
