package farm

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/face/roster"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/words"
)

// maxNodes is how many workers a page shows.
const maxNodes = 100

type nodesView struct {
	Nodes  []nodeCard
	Counts []stateCount // of all workers, where there are any
	All    int
	State  roster.State // that was asked for; "" for all
	Manage page.Action  // why nobody here may decide anything, if so
	Next   string       // the page behind this one; "" if there is none
}

// stateCount is how many workers stand in one way.
type stateCount struct {
	State roster.State
	Count int
}

func countsOf(p roster.Page) []stateCount {
	var counts []stateCount
	for _, s := range roster.States {
		if n := p.Counts[s]; n > 0 {
			counts = append(counts, stateCount{s, n})
		}
	}
	return counts
}

// nodeCard is one worker, with what a person may do to it.
type nodeCard struct {
	roster.Worker
	Tasks []queueRow
	May   bool // decide about it
}

// Drain says by whom and why the worker is drained.
func (c nodeCard) Drain() string {
	s := "Drained by " + c.Known.DrainedBy
	if c.Known.DrainReason != "" {
		s += ": " + c.Known.DrainReason
	}
	return s
}

// path is the page of workers, from one on.
func (v nodesView) path(after string) string {
	q := url.Values{}
	if v.State != "" {
		q.Set("state", string(v.State))
	}
	if after != "" {
		q.Set("after", after)
	}
	if len(q) == 0 {
		return "/nodes"
	}
	return "/nodes?" + q.Encode()
}

func (u *Pages) nodesPage(w http.ResponseWriter, r *http.Request) error {
	ctx, query := r.Context(), r.URL.Query()
	v := nodesView{State: roster.State(query.Get("state"))}
	if v.State != "" && !slices.Contains(roster.States, v.State) {
		return albs.Errorf(albs.Invalid, "no worker stands as %s", words.Inert(words.Cut(string(v.State), 40)))
	}
	p, err := u.Follow(ctx, page.Page{Title: "Nodes", Section: "nodes"}, FollowNodes)
	if err != nil {
		return err
	}
	list, err := roster.List(ctx, u.Auth, u.Queue, roster.Filter{State: v.State, After: query.Get("after"), Limit: maxNodes})
	if err != nil {
		return err
	}
	may := auth.Can(ctx, auth.WorkerManage, auth.Object{})
	v.Manage = page.ActionOf("", "Drain a node", may, true, "")
	v.Counts = countsOf(list)
	for _, c := range v.Counts {
		v.All += c.Count
	}
	for _, n := range list.Workers {
		c := nodeCard{Worker: n, May: may == nil && n.Known != nil}
		if n.Known != nil {
			for _, t := range n.Known.Runs {
				c.Tasks = append(c.Tasks, rowOfTask(t))
			}
		}
		v.Nodes = append(v.Nodes, c)
	}
	if list.More {
		v.Next = v.path(v.Nodes[len(v.Nodes)-1].Name)
	}
	p.Body = v
	return u.Render(w, r, http.StatusOK, "farm/nodes", p)
}

// decide does something to a worker for a person and shows the workers again.
func (u *Pages) decide(w http.ResponseWriter, r *http.Request, do func(ctx context.Context, name string) error) error {
	id, err := page.Number(r, "worker")
	if err != nil {
		return err
	}
	n, err := roster.Get(r.Context(), u.Auth, u.Queue, albs.WorkerID(id))
	if err != nil {
		return err
	}
	if err := do(r.Context(), n.Name); err != nil {
		return err
	}
	return page.Changed(w, r, fmt.Sprintf("/nodes#n%d", id))
}

func (u *Pages) drainNode(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	return u.decide(w, r, func(ctx context.Context, name string) error {
		return u.Queue.Fleet().Drain(ctx, name, r.PostForm.Get("reason"))
	})
}

func (u *Pages) undrainNode(w http.ResponseWriter, r *http.Request) error {
	return u.decide(w, r, u.Queue.Fleet().Undrain)
}

func (u *Pages) liftNode(w http.ResponseWriter, r *http.Request) error {
	return u.decide(w, r, u.Queue.Fleet().Lift)
}

// excludeFromNode sets the patterns of what a worker doesn't get: what the form holds,
// in place of those before.
func (u *Pages) excludeFromNode(w http.ResponseWriter, r *http.Request) error {
	if err := page.Form(w, r); err != nil {
		return err
	}
	return u.decide(w, r, func(ctx context.Context, name string) error {
		return u.Queue.Fleet().Exclude(ctx, name, strings.Fields(r.PostForm.Get("patterns")))
	})
}
