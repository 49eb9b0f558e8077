// Package farm has the pages of the work that there is and of those who do it: the
// queue, and the nodes with what a person may decide about them.
package farm

import (
	"github.com/go-chi/chi/v5"

	"albs/internal/master/queue"
	"albs/internal/master/ui/page"
)

// Topics that the pages follow.
const (
	FollowQueue = "queue" // what happens to any task or worker
	FollowNodes = "nodes" // the same, and now and then when workers were heard of
)

// Pages answers for the farm. It may be used concurrently.
type Pages struct {
	*page.Server
	Queue *queue.Queue
}

// Group returns the templates of the pages.
func Group() page.Group { return page.Group{Folder: "farm"} }

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/queue", u.queuePage)
	u.Get(r, "/nodes", u.nodesPage)

	u.Post(r, "/nodes/{worker}/drain", u.drainNode)
	u.Post(r, "/nodes/{worker}/undrain", u.undrainNode)
	u.Post(r, "/nodes/{worker}/lift", u.liftNode)
	u.Post(r, "/nodes/{worker}/exclude", u.excludeFromNode)
}
