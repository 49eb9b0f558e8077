// Package pagetest executes the templates of a group of pages with what they can show,
// for the group's tests.
package pagetest

import (
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"regexp"
	"strings"
	"testing"

	"albs/internal/master/auth"
	"albs/internal/master/event"
	"albs/internal/master/ui/page"
	"albs/web"
)

// Bad is what a foreign name, ref or reason may hold.
const Bad = "<img src=x onerror=alert(1)>\u202e\x1b[31m\"'"

var values = regexp.MustCompile(` value="[^"]*"`)

// Execute executes every template of a group with its samples, by the template's name,
// whole and as a fragment, and checks that nothing of what is Bad in them gets through. A
// template without a sample is an error. An empty group is those above all groups.
func Execute(t *testing.T, g page.Group, samples map[string][]any) {
	t.Helper()
	var groups []page.Group
	if g.Folder != "" {
		groups = append(groups, g)
	}
	s, err := page.New(page.Parts{Auth: new(auth.Auth), Events: new(event.Log)}, groups...)
	if err != nil {
		t.Fatal(err)
	}
	names, err := fs.Glob(web.Files, path.Join("templates", g.Folder, "*.html"))
	if err != nil || len(names) == 0 {
		t.Fatalf("there are no templates in %q, %v", g.Folder, err)
	}
	for _, n := range names {
		n = strings.TrimSuffix(path.Base(n), ".html")
		if len(samples[n]) == 0 && n != "parts" && n != "layout" {
			t.Errorf("there is no sample for %s", n)
		}
	}
	signed := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, Name: Bad})
	for name, all := range samples {
		for i, body := range all {
			for _, p := range []page.Page{{Title: name, Body: body, Topic: "builds", Query: "<img src=x>"}, {Body: body}} {
				for _, block := range []string{"", page.Live} {
					w, r := httptest.NewRecorder(), httptest.NewRequestWithContext(signed, http.MethodGet, "/x", nil)
					if block != "" {
						r.Header.Set(page.FragmentHeader, block)
					}
					if err := s.Render(w, r, http.StatusOK, path.Join(g.Folder, name), p); err != nil {
						t.Errorf("%s, sample %d, block %q: %v", name, i, block, err)
						continue
					}
					// What a form sends back is what was there; nobody reads it as it is.
					Contains(t, name, values.ReplaceAllString(w.Body.String(), ""), "!<img", "!\x1b", "!\u202e", "!href=\"javascript:", "! style=", "! onclick")
				}
			}
		}
	}
}

// Contains checks that a page has each of the texts; one that begins with "!" it must
// not have.
func Contains(t *testing.T, what, page string, texts ...string) {
	t.Helper()
	for _, s := range texts {
		s, not := strings.CutPrefix(s, "!")
		if strings.Contains(page, s) == not {
			t.Errorf("%s: has %q is %t, want %t", what, s, not, !not)
			if testing.Verbose() {
				t.Log(page)
			}
		}
	}
}
