package ui

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"

	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/master/ui/words"
	"albs/web"
)

// TestFolders: every folder of templates is a group's, so that none is left untested.
func TestFolders(t *testing.T) {
	t.Parallel()
	dirs, err := fs.Glob(web.Files, "templates/*")
	must(t, err)
	for _, d := range dirs {
		if name := path.Base(d); !strings.HasSuffix(name, ".html") && !slices.ContainsFunc(groups(), func(g page.Group) bool { return g.Folder == name }) {
			t.Errorf("no group has the templates of %s", name)
		}
	}
}

func TestLoginTemplate(t *testing.T) {
	t.Parallel()
	pagetest.Execute(t, page.Group{}, map[string][]any{
		"login": {loginView{Next: "/x", Message: pagetest.Bad}, loginView{}},
		"error": {page.ErrorView{Status: 404, Message: words.Inert(pagetest.Bad)}, page.ErrorView{Login: true}},
	})
}
