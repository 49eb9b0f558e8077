// Package content serves what the master holds to dnf and to people, without a
// login: the repositories of builds, what products show, and single files by
// their digest.
//
//	/repos/build/ID/PLATFORM/ARCH/…   a build's repository as it is now, src among the arches;
//	                                  its debug data are under ARCH/debug/
//	/repos/product/NAME/…             the tree that a product shows: repositories and keys
//	/blobs/SHA256                     one artifact
//	/transparency/N/…                 the Nth public log of releases, as c2sp.org/tlog-tiles lays it out
//
// It owns no data and changes nothing. Every path is looked up as a name in a
// snapshot, a tree or the artifacts' rows and never in a file system, but for the logs,
// whose few kinds of names are spelled out; there are no listings. Bytes are hashed as a whole before the first of them is sent, and the
// ETag is their digest. A place for many readers is the releaser's, not this.
package content

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/face"
	"albs/internal/master/repo"
)

// Parts are the modules that content is served from.
type Parts struct {
	Artifacts *artifact.Artifacts
	Repos     *repo.Repos
	Logs      Logs
	Log       zerolog.Logger
}

// Logs are the public logs of releases; transparency.Transparency keeps them.
type Logs interface {
	// Open returns the file behind a name below /transparency/, and whether it never
	// changes; NotFound for a name that isn't public.
	Open(ctx context.Context, name string) (file string, fixed bool, err error)
}

// content answers the requests.
type content struct {
	Parts

	mu    sync.Mutex
	trees map[albs.Digest]tree
}

// tree is what a product shows, ready to be asked for paths.
type tree struct {
	repositories map[string]albs.Digest // snapshots by path
	files        map[string]albs.Digest
}

// New returns the handler of everything below /repos/, /blobs/ and /transparency/. It answers GET
// and HEAD, with ranges and conditions.
func New(p Parts) http.Handler {
	c := &content{Parts: p, trees: make(map[albs.Digest]tree)}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /repos/build/{id}/{platform}/{arch}/{path...}", c.build(""))
	mux.HandleFunc("GET /repos/build/{id}/{platform}/{arch}/debug/{path...}", c.build("/debug"))
	mux.HandleFunc("GET /repos/product/{name}/{path...}", c.product)
	mux.HandleFunc("GET /blobs/{digest}", c.blob)
	mux.HandleFunc("GET /transparency/{path...}", c.log)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { mux.ServeHTTP(face.Patient(w), face.Timely(w, r)) })
}

// build serves the builds' repositories whose names end in suffix.
func (c *content) build(suffix string) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		name := strings.Join([]string{"build", r.PathValue("id"), r.PathValue("platform"), r.PathValue("arch")}, "/") + suffix
		snapshot, err := c.Repos.Current(r.Context(), name)
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		f, err := c.Repos.Find(r.Context(), snapshot, r.PathValue("path"))
		if err != nil {
			c.refuse(w, r, err)
			return
		}
		c.send(w, r, f.Name, f.Digest)
	}
}

func (c *content) product(w http.ResponseWriter, r *http.Request) {
	d, err := c.inProduct(r.Context(), r.PathValue("name"), r.PathValue("path"))
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.send(w, r, path.Base(r.PathValue("path")), d)
}

// carried is how many earlier serials metadata is served of: who has read an old
// repomd.xml still finds the files that it names.
const carried = 2

// inProduct finds a file of what a product shows. Metadata that is named by its
// digest is also looked for in what it showed shortly before.
func (c *content) inProduct(ctx context.Context, name, file string) (albs.Digest, error) {
	now, err := c.Repos.TreeOf(ctx, name)
	if err != nil {
		return "", err
	}
	d, err := c.inTree(ctx, now.Digest, file)
	if !errors.Is(err, albs.NotFound) || !byDigest(file) {
		return d, err
	}
	before, terr := c.Repos.Trees(ctx, name, now.Serial, carried)
	if terr != nil {
		return "", terr
	}
	for _, t := range before {
		if d, err = c.inTree(ctx, t.Digest, file); !errors.Is(err, albs.NotFound) {
			break
		}
	}
	return d, err
}

// byDigest reports whether a file is metadata that is named by its digest.
func byDigest(file string) bool {
	digest, _, _ := strings.Cut(path.Base(file), "-")
	return path.Base(path.Dir(file)) == "repodata" && albs.Digest(digest).Valid()
}

func (c *content) inTree(ctx context.Context, d albs.Digest, file string) (albs.Digest, error) {
	t, err := c.tree(ctx, d)
	if err != nil {
		return "", err
	}
	if d, ok := t.files[file]; ok {
		return d, nil
	}
	for up := path.Dir(file); up != "." && up != "/"; up = path.Dir(up) {
		if snapshot, ok := t.repositories[up]; ok {
			f, err := c.Repos.Find(ctx, snapshot, strings.TrimPrefix(file, up+"/"))
			return f.Digest, err
		}
	}
	return "", albs.Errorf(albs.NotFound, "there is no %.200q in the product", file)
}

const maxTrees = 32 // remembered

// tree reads a tree's document, which never changes.
func (c *content) tree(ctx context.Context, d albs.Digest) (tree, error) {
	c.mu.Lock()
	t, ok := c.trees[d]
	c.mu.Unlock()
	if ok {
		return t, nil
	}
	doc, err := c.Repos.ReadTree(ctx, d)
	if err != nil {
		return tree{}, err
	}
	t = tree{make(map[string]albs.Digest, len(doc.Repositories)), make(map[string]albs.Digest, len(doc.Files))}
	for _, r := range doc.Repositories {
		t.repositories[r.Path] = r.Snapshot
	}
	for _, f := range doc.Files {
		t.files[f.Path] = f.Digest
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.trees) >= maxTrees {
		clear(c.trees) // costs reading them again, nothing else
	}
	c.trees[d] = t
	return t, nil
}

// Public reports whether anybody may read artifacts of a kind by their digest. Sources
// before they are in an SRPM are the business of those who build.
func Public(k artifact.Kind) bool { return public[k] }

var public = map[artifact.Kind]bool{
	artifact.RPM: true, artifact.SRPM: true, artifact.Log: true, artifact.Record: true, artifact.Document: true,
}

func (c *content) blob(w http.ResponseWriter, r *http.Request) {
	d, err := albs.ParseDigest(r.PathValue("digest"))
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	a, err := c.Artifacts.Find(r.Context(), d)
	if err == nil && !Public(a.Kind) {
		err = albs.Errorf(albs.Forbidden, "files of kind %s are not served", a.Kind)
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	c.send(w, r, a.Name, d)
}

// log serves a file of a public log.
func (c *content) log(w http.ResponseWriter, r *http.Request) {
	name, fixed, err := c.Logs.Open(r.Context(), r.PathValue("path"))
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		err = albs.Errorf(albs.NotFound, "the log has no %.200q", r.PathValue("path"))
	}
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	defer f.Close()
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	if strings.Contains(r.PathValue("path"), "/tile/") {
		h.Set("Content-Type", "application/octet-stream")
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("Access-Control-Allow-Origin", "*") // monitors in browsers
	h.Set("Cache-Control", "no-cache")
	if fixed {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, f)
}

// types are the media types of what is served, by the end of the name; logs and
// keys are text, and nothing is ever guessed from content.
var types = []struct{ suffix, media string }{
	{".rpm", "application/x-rpm"},
	{".xml", "application/xml"},
	{".xml.gz", "application/gzip"},
	{".json", "application/json"},
}

// send answers with a blob under a file name.
func (c *content) send(w http.ResponseWriter, r *http.Request, name string, d albs.Digest) {
	body, err := c.Artifacts.Blobs().Open(r.Context(), d)
	if err != nil {
		c.refuse(w, r, err)
		return
	}
	defer body.Close()
	// ReadAt hashes the whole before it gives the first byte.
	if _, err := body.ReadAt(make([]byte, 1), 0); err != nil && !errors.Is(err, io.EOF) {
		c.refuse(w, r, err)
		return
	}
	h := w.Header()
	h.Set("Content-Type", "text/plain; charset=utf-8")
	for _, t := range types {
		if strings.HasSuffix(name, t.suffix) {
			h.Set("Content-Type", t.media)
		}
	}
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Content-Security-Policy", "default-src 'none'; sandbox")
	h.Set("ETag", `"`+string(d)+`"`)
	h.Set("Cache-Control", "no-cache")
	if r.Pattern == "GET /blobs/{digest}" || byDigest(r.URL.Path) {
		h.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	http.ServeContent(w, r, "", time.Time{}, io.NewSectionReader(body, 0, body.Size()))
}

// refuse answers with an error.
func (c *content) refuse(w http.ResponseWriter, r *http.Request, err error) {
	log := c.Log.With().Str("path", r.URL.Path).Logger()
	kind, err := face.Shown(log.WithContext(r.Context()), err)
	status := face.Status(kind)
	face.Later(w.Header(), status)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, albs.UserMessage(err), status)
}
