package ui

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

	"github.com/go-chi/chi/v5"

	"albs/internal/master/auth"
	"albs/web"
)

// page is what every template gets.
type page struct {
	Title   string
	Section string // of the navigation: builds, queue, nodes
	Topic   string // what the page follows; "" for nothing
	After   int64  // the event behind which to follow
	Body    any

	Name  string // of who is signed in; "" for nobody
	Here  string // this page's address, to come back to
	Query string // what was looked for
}

// fragmentHeader is how the module asks for a page's block instead of the page.
// There is one such block, "live".
const fragmentHeader = "X-Albs-Fragment"

const live = "live"

func wantsFragment(r *http.Request) bool { return r.Header.Get(fragmentHeader) == live }

type templates map[string]*template.Template

// parse reads every page with the layout that is around it.
func parse(a *assets) (templates, error) {
	layout, err := template.New("layout.html").Funcs(functions(a)).ParseFS(web.Files, "templates/layout.html")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	names, err := fs.Glob(web.Files, "templates/*.html")
	if err != nil {
		return nil, fmt.Errorf("parse templates: %w", err)
	}
	out := make(templates)
	for _, n := range names {
		base := path.Base(n)
		if base == "layout.html" {
			continue
		}
		t, err := template.Must(layout.Clone()).ParseFS(web.Files, n)
		if err != nil {
			return nil, fmt.Errorf("parse templates: %w", err)
		}
		out[base[:len(base)-len(".html")]] = t
	}
	return out, nil
}

// render answers with the page name, or with its live block if the request asks
// for that.
func (u *UI) render(w http.ResponseWriter, r *http.Request, status int, name string, p page) error {
	p.Name, p.Here = auth.From(r.Context()).Name, r.URL.RequestURI()
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		p.Here = "/"
	}
	block := "layout"
	if wantsFragment(r) {
		block = live
	}
	var b bytes.Buffer
	if err := u.templates[name].ExecuteTemplate(&b, block, p); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Add("Vary", fragmentHeader)
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
