// Package tests has the pages about the tests of packages that are of no one build: what
// is left out of them, what may go though it didn't pass, and where maintainers keep those
// that they wrote.
package tests

import (
	"net/http"
	"text/template"

	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/platform"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/ui/page"
)

// What the pages follow: waivers that are made and taken back, and the skip list.
const (
	FollowWaivers = "waivers"
	FollowSkips   = "skips"
)

// section is that of the navigation.
const section = "tests"

// perPage is how many waivers, or entries of the skip list, a page lists.
const perPage = 50

// Parts are the modules that the pages show. All are required.
type Parts struct {
	Builds    *build.Builds
	Platforms *platform.Platforms
	Tests     *testrun.Tests
	Suites    *suite.Suites
}

// Pages answers for tests. It may be used concurrently.
type Pages struct {
	*page.Server
	Parts
}

// Group returns the templates of the pages.
func Group() page.Group {
	return page.Group{Folder: "tests", Functions: template.FuncMap{
		"waived": func(w testrun.Waiver) string { return w.Waived().What() },
	}}
}

// Routes adds the pages to r.
func (u *Pages) Routes(r chi.Router) {
	u.Get(r, "/tests", func(w http.ResponseWriter, r *http.Request) error {
		http.Redirect(w, r, "/tests/waivers", http.StatusSeeOther)
		return nil
	})
	u.Get(r, "/tests/waivers", u.waiversPage)
	u.Get(r, "/tests/waive", u.waivePage)
	u.Post(r, "/tests/waivers/add", u.waive)
	u.Post(r, "/tests/waivers/{waiver}/end", u.endWaiver)
	u.Get(r, "/tests/skips", u.skipsPage)
	u.Get(r, "/tests/skips/new", u.skipPage)
	u.Post(r, "/tests/skips/add", u.addSkip)
	u.Post(r, "/tests/skips/{entry}/remove", u.removeSkip)
	u.Get(r, "/tests/repositories", u.repositoriesPage)
	u.PostSlow(r, "/tests/repositories/add", u.addRepository)
	u.Get(r, "/tests/repository/{repository}", u.repositoryPage)
	u.PostSlow(r, "/tests/repository/{repository}/edit", u.editRepository)
	u.PostSlow(r, "/tests/repository/{repository}/scan", u.scanRepository)
	u.Post(r, "/tests/repository/{repository}/remove", u.removeRepository)
	u.Post(r, "/tests/repository/{repository}/map", u.mapTests)
	u.Post(r, "/tests/repository/{repository}/unmap", u.unmapTests)
}

// stages are those that can be skipped and waived, in their order.
func stages() []albs.TestStage {
	var out []albs.TestStage
	for _, s := range albs.TestStages {
		if !s.Setup() {
			out = append(out, s)
		}
	}
	return out
}
