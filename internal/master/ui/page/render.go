package page

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"html/template"
	"io/fs"
	"mime"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/dustin/go-humanize"
	"github.com/go-chi/chi/v5"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/auth"
	"albs/internal/master/ui/words"
	"albs/web"
)

// Page is what every template gets. Of the last three Render says what they are.
type Page struct {
	Title   string
	Section string // of the navigation: builds, tests, products, releases, advisories, keys, queue, nodes
	Topic   string // what the page follows; "" for nothing
	After   int64  // the event behind which to follow
	Body    any

	Name  string // of who is signed in; "" for nobody
	Here  string // this page's address, to come back to
	Query string // what was looked for
}

// FragmentHeader is how the module asks for a page's block instead of the page.
// There is one such block, "live".
const FragmentHeader = "X-Albs-Fragment"

// Live is the block's name.
const Live = "live"

// WantsFragment reports whether a request is the module's: it wants a page's block, or
// no page at all after a form.
func WantsFragment(r *http.Request) bool { return r.Header.Get(FragmentHeader) == Live }

// Changed answers a form that has done what it is for: who has the module is on a page
// that looks by itself, and others are sent to path.
func Changed(w http.ResponseWriter, r *http.Request, path string) error {
	if WantsFragment(r) {
		w.WriteHeader(http.StatusNoContent)
		return nil
	}
	http.Redirect(w, r, path, http.StatusSeeOther)
	return nil
}

// templates are the pages by their names: the folder and the file below web/templates
// without its end, as "builds/task".
type templates map[string]*template.Template

// parse reads the pages of a group, each with the layout that is around it and, where
// the folder has them, the parts that the folder's pages share.
func (t templates) parse(g Group, functions template.FuncMap) error {
	around := []string{"templates/layout.html"}
	names, err := fs.Glob(web.Files, path.Join("templates", g.Folder, "*.html"))
	if err != nil || len(names) == 0 {
		return fmt.Errorf("parse templates: there are none in %s, %w", g.Folder, err)
	}
	parts := path.Join("templates", g.Folder, "parts.html")
	if slices.Contains(names, parts) {
		around = append(around, parts)
	}
	layout, err := template.New("layout.html").Funcs(functions).Funcs(g.Functions).ParseFS(web.Files, around...)
	if err != nil {
		return fmt.Errorf("parse templates: %w", err)
	}
	for _, n := range names {
		if slices.Contains(around, n) {
			continue
		}
		name := path.Join(g.Folder, strings.TrimSuffix(path.Base(n), ".html"))
		if t[name], err = template.Must(layout.Clone()).ParseFS(web.Files, n); err != nil {
			return fmt.Errorf("parse templates: %w", err)
		}
	}
	return nil
}

// functions are those that all templates have.
func functions(a *assets) template.FuncMap {
	return template.FuncMap{
		"static":  a.url,
		"look":    words.LookOf,
		"inert":   words.Inert,
		"lines":   words.InertLines,
		"brief":   words.Brief,
		"ago":     func(t time.Time) string { return words.Ago(time.Now(), t) },
		"exact":   func(t time.Time) string { return t.UTC().Format("2006-01-02 15:04:05 UTC") },
		"iso":     func(t time.Time) string { return t.UTC().Format(time.RFC3339) },
		"bytes":   words.Bytes,
		"number":  func(n int) string { return humanize.Comma(int64(n)) },
		"plural":  words.Plural,
		"short":   func(d albs.Digest) string { return d.Short() },
		"commit":  func(s string) string { return s[:min(len(s), 10)] },
		"lasting": func(t time.Time) string { return words.Took(t, time.Now()) },
		"took":    words.Took,
		"errata":  AdvisoryURL,
		"join":    func(ss []string) string { return strings.Join(ss, " ") },
		"worded":  func(c *failure.Cause) *Cause { return CauseOf(c, 0, 0, 0) }, // of what no log tells
		"soon":    func(w albs.Waived) bool { return w.Soon(time.Now()) },
		"sub":     func(a, b int) int { return a - b },
		"add":     func(a, b int) int { return a + b },
	}
}

// Render answers with the page name, or with its live block if the request asks
// for that.
func (s *Server) Render(w http.ResponseWriter, r *http.Request, status int, name string, p Page) error {
	p.Name, p.Here = auth.From(r.Context()).Name, r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		p.Here = "/"
	}
	block := "layout"
	if WantsFragment(r) {
		block = Live
	}
	t, ok := s.templates[name]
	if !ok {
		return fmt.Errorf("there is no template %s", name)
	}
	var b bytes.Buffer
	if err := t.ExecuteTemplate(&b, block, p); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", FragmentHeader)
	w.WriteHeader(status)
	_, _ = w.Write(b.Bytes()) // an error says that the client is gone
	return nil
}

// assets are the static files, under addresses that name their content.
type assets struct {
	hash  string
	files map[string]asset
}

type asset struct {
	typ  string
	body []byte
}

func newAssets() (*assets, error) {
	a := &assets{files: make(map[string]asset)}
	h := sha256.New()
	err := fs.WalkDir(web.Files, "static", func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := fs.ReadFile(web.Files, p)
		if err != nil {
			return err
		}
		fmt.Fprintf(h, "%s %d\n", p, len(b))
		h.Write(b)
		typ := mime.TypeByExtension(path.Ext(p))
		if path.Ext(p) == ".js" {
			typ = "text/javascript; charset=utf-8" // hosts' tables differ
		}
		a.files[path.Base(p)] = asset{typ, b}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read static files: %w", err)
	}
	a.hash = hex.EncodeToString(h.Sum(nil))[:16]
	return a, nil
}

// url is for templates; a name that isn't there fails the page's test.
func (a *assets) url(name string) (string, error) {
	if _, ok := a.files[name]; !ok {
		return "", fmt.Errorf("there is no static file %s", name)
	}
	return "/static/" + a.hash + "/" + name, nil
}

// serve answers with a file. An address of another version leads to the present
// one, unstored, for a page may be older than the program.
func (a *assets) serve(w http.ResponseWriter, r *http.Request) {
	f, ok := a.files[chi.URLParam(r, "name")]
	if !ok {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", f.typ)
	if chi.URLParam(r, "hash") == a.hash {
		w.Header().Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	_, _ = w.Write(f.body)
}
