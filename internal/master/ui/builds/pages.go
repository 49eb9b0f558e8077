// Package builds has the pages of builds: the list, a build with its tasks, files and
// graph, a task with its attempts, and the viewer of its logs.
package builds

import (
	"strings"
	"text/template"
	"time"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/errata/matching"
	"albs/internal/master/queue"
	"albs/internal/master/rebuild"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/logs"
	"albs/internal/master/ui/order"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/picture"
	"albs/internal/master/ui/words"
)

// FollowAll is the topic of what happens to any build. A build's is build.Topic's, a
// task's is of the form "task:12": the same for one task, and its logs as they appear.
const FollowAll = "builds"

func followBuild(id albs.BuildID) string { return build.Topic(id) }
func followTask(id albs.TaskID) string   { return "task:" + id.String() }

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Queue    *queue.Queue
	Builds   *build.Builds
	Tests    *testrun.Tests
	Rebuilds *rebuild.Rebuilds
	Signs    *sign.Signing
	Releases *release.Releases
	Matching *matching.Matching
}

// Pages answers for builds. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
	logs *logs.Logs
}

// New returns the pages of builds. It does no I/O.
func New(s *page.Server, p Parts) *Pages {
	return &Pages{Server: s, Parts: p, logs: logs.New(p.Queue)}
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "builds", Functions: template.FuncMap{
		"boxwidth": func() int { return picture.BoxWidth },
		"lasted":   func(d time.Duration) string { return words.Took(time.Unix(1, 0), time.Unix(1, 0).Add(d)) },
		"arrows":   func() []string { return []string{order.Met, order.Awaited, order.Vain, order.Cut} },
		"tasklink": func(t queue.Task) string {
			return "/build/" + strings.TrimPrefix(t.Topic, "build:") + "/task/" + t.ID.String()
		},
	}}
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/", u.buildsPage)
	u.Get(r, "/builds", u.buildsPage)
	u.Get(r, "/build/{build}", u.buildPage)
	u.Get(r, "/build/{build}/files", u.filesPage)
	u.Get(r, "/build/{build}/graph", u.graphPage)
	u.Get(r, "/build/{build}/tests", u.testsPage)
	u.Get(r, "/build/{build}/tests/compare", u.comparePage)
	u.Get(r, "/tests/history", u.historyPage)
	u.Get(r, "/build/{build}/clone", u.clonePage)
	u.Get(r, "/build/{build}/task/{task}", u.taskPage)
	u.Get(r, "/build/{build}/task/{task}/log/{stream}", u.logPage)
	u.Get(r, "/build/{build}/task/{task}/log/{stream}/lines", u.logLines)
	u.Get(r, "/build/{build}/task/{task}/log/{stream}/find", u.logFind)
	r.Get("/build/{build}/task/{task}/log/{stream}/tail", u.ServeStream(u.tail))

	u.Post(r, "/build/{build}/cancel", u.cancelBuild)
	u.Post(r, "/build/{build}/retry", u.retryBuild)
	u.Post(r, "/build/{build}/restart-tests", u.restartTests)
	u.Post(r, "/build/{build}/cancel-tests", u.cancelTests)
	u.Post(r, "/build/{build}/clone", u.cloneBuild)
	u.Post(r, "/build/{build}/delete", u.deleteBuild)
	u.Post(r, "/build/{build}/item/{item}/fresh", u.freshItem)
	u.Post(r, "/build/{build}/task/{task}/retry", u.retryTask)
	u.Post(r, "/build/{build}/task/{task}/rebuild", u.rebuildTask)
}
