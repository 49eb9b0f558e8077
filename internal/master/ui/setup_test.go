package ui

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/face/facetest"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/repo/history"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

const (
	srpmFile = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm"
	rpmFile  = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"
)

const platformYAML = `
name: NAME
dist: .el9
releasever: "9"
arches: [x86_64, aarch64]
repositories: [{id: base, url: "file://MIRROR"}]
rpmdb: {path: /var/lib/rpm, backend: sqlite}
packages: [bash]
test_packages: [bash]
os: {id: almalinux, name: AlmaLinux, version: "9"}
errata:
  team: core
  ids: {security: "ALSA-{year}:{serial}", bugfix: "ALBA-{year}:{serial}"}
  own: A
  suffixes: [.alma]
  url: http://127.0.0.1/errata/NAME # which nobody reads from
  vendor: AlmaLinux
  namespace: https://almalinux.example
  contact: security@almalinux.example
  from: packager@almalinux.example
  ecosystem: AlmaLinux:9
  cpe: cpe:/o:almalinux:almalinux:9
`

const productYAML = `
name: distro
team: core
platforms: [el9]
repositories: [{path: BaseOS/x86_64/os, platform: el9, arch: x86_64, kind: rpm}]
`

// fixture is a whole master with its pages behind a real server; the test plays
// the people and the workers.
type fixture struct {
	*UI
	Parts
	t      *testing.T
	d      *db.DB
	m      *facetest.Modules
	url    string
	tokens map[string]string // by who: contributor, maintainer, operator, outsider
	nodes  map[albs.Role]context.Context
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T) *fixture {
	t.Helper()
	log := zerolog.New(zerolog.NewTestWriter(t)).Level(zerolog.WarnLevel)
	mirror := mastertest.Mirror(t)
	f := &fixture{t: t, d: dbtest.Open(t, dbtest.SQLite(t)), tokens: map[string]string{}, nodes: map[albs.Role]context.Context{}}
	out, err := egress.New(egress.Policy{Allow: []string{"file://" + mirror}})
	must(t, err)
	m := facetest.Open(t, f.d, out, log)
	f.m = m
	f.Parts = Parts{Auth: m.Auth, Notices: m.Notices, Events: m.Events, Queue: m.Queue, Builds: m.Builds, Tests: m.Tests, Suites: m.Suites, Rebuilds: m.Rebuilds, Signs: m.Signs, Releases: m.Releases,
		Products: m.Products, Repos: m.Repos, History: history.New(m.Repos), Records: m.Records, Traces: trace.New(trace.Parts{Artifacts: m.Artifacts, Provenance: m.Provenance, Builds: m.Builds}), Notary: m.Notary, Provenance: m.Provenance, Log: log,
		Logs: transparency.New(transparency.Parts{DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance, Releases: m.Releases, Log: log}, transparency.Config{Dir: t.TempDir()})}
	f.Platforms, f.Errata, f.Matching = m.Platforms, m.Errata, m.Matching
	f.Drafts = draft.New(draft.Parts{Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Builds: m.Builds, Commits: m.Sources(t, out)})
	f.Monitor = monitor.New(monitor.Parts{DB: m.DB, Events: m.Events, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Releases: m.Releases, Outside: out, Log: log}, monitor.Config{})
	m.Releases.Join(publish.New(publish.Parts{DB: m.DB, Artifacts: m.Artifacts, Platforms: m.Platforms, Keys: m.Signs, Errata: m.Errata, Answers: publish.Matched{Matching: m.Matching}, Dir: t.TempDir(), Log: log}))
	f.UI, err = New(f.Parts)
	must(t, err)

	system := auth.System(t.Context(), "test")
	for _, name := range []string{"el9", "el10"} {
		spec, err := platform.Parse(strings.NewReader(strings.NewReplacer("MIRROR", mirror, "NAME", name).Replace(platformYAML)))
		must(t, err)
		_, err = m.Platforms.Apply(system, spec)
		must(t, err)
	}
	shape, err := product.Parse(strings.NewReader(productYAML))
	must(t, err)
	_, err = m.Products.Apply(system, shape)
	must(t, err)
	f.people(system, m)

	mastertest.Run(t, m.Events.Run, m.Queue.Run, m.Provenance.Run, m.Tests.Run, m.Matching.Run)
	server := httptest.NewServer(f.UI)
	f.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return f
}

func (f *fixture) people(system context.Context, m *facetest.Modules) {
	t := f.t
	for who, grant := range map[string]auth.Grant{
		"contributor": {Role: auth.Contributor, Team: "core"}, "maintainer": {Role: auth.ProductMaintainer, Team: "core"},
		"operator": {Role: auth.Operator}, "outsider": {Role: auth.Signer, Team: "other"},
	} {
		f.tokens[who], _ = m.Person(t, who, grant)
	}
	for role, arches := range map[albs.Role][]albs.Arch{albs.RoleMaster: nil, albs.RoleNode: {albs.X8664, albs.AArch64}, albs.RoleTester: {albs.X8664}} {
		a, err := f.Auth.LocalWorker(system, auth.NewWorker{Name: string(role) + "-1", Role: role, Arches: arches})
		must(t, err)
		f.nodes[role] = auth.With(t.Context(), a)
	}
}

// as is a context in which a person acts.
func (f *fixture) as(who string) context.Context {
	f.t.Helper()
	a, err := f.Auth.Authenticate(f.t.Context(), f.tokens[who])
	must(f.t, err)
	return auth.With(f.t.Context(), a)
}

// create makes a build of the given SRPM, or of git packages.
func (f *fixture) create(packages ...build.Package) build.Build {
	f.t.Helper()
	ctx := f.as("contributor")
	if len(packages) == 0 {
		file, err := os.Open(srpmFile)
		must(f.t, err)
		defer file.Close()
		a, err := f.Builds.UploadSRPM(ctx, file, filepath.Base(srpmFile))
		must(f.t, err)
		packages = []build.Package{{SRPM: a.Digest}}
	}
	b, err := f.Builds.Create(ctx, build.NewBuild{Product: "distro", Platforms: []build.Target{{Platform: "el9"}}, Packages: packages})
	must(f.t, err)
	return b
}

// tasks are those of a build.
func (f *fixture) tasks(id albs.BuildID) (ts []build.Task) {
	f.t.Helper()
	b, err := f.Builds.Get(f.t.Context(), id)
	must(f.t, err)
	for _, it := range b.Items {
		ts = append(ts, it.Tasks...)
	}
	return ts
}

// lease is a task in a worker's hands.
type lease struct {
	*worker.Lease
	f   *fixture
	ctx context.Context
	off map[string]int64
}

func (f *fixture) claim(kind albs.TaskKind, needs ...string) *lease {
	f.t.Helper()
	ctx := f.nodes[kind.Role()]
	l, err := f.Queue.Claim(ctx, worker.Offer{Labels: append([]string{"kind:" + string(kind)}, needs...), Wait: 20, Key: workertest.KeyOf(kind.Role())})
	if err != nil || l == nil {
		f.t.Fatalf("Claim(%s %v) = %v, %v", kind, needs, l, err)
	}
	return &lease{l, f, ctx, map[string]int64{}}
}

func (l *lease) log(stream, text string) {
	l.f.t.Helper()
	for p := []byte(text); len(p) > 0; {
		n := min(len(p), 256<<10)
		next, err := l.f.Queue.Log(l.ctx, l.Token, stream, l.off[stream], p[:n])
		must(l.f.t, err)
		l.off[stream] = next
		p = p[n:]
	}
}

func (l *lease) upload(name string, b []byte) albs.File {
	l.f.t.Helper()
	file := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
	_, err := l.f.Queue.Put(l.ctx, l.Token, file.Digest, 0, bytes.NewReader(b))
	must(l.f.t, err)
	return file
}

func (l *lease) fail(reason string) {
	l.f.t.Helper()
	must(l.f.t, l.f.Queue.Complete(l.ctx, l.Token, albs.OutcomeFailed, albs.Result{Reason: reason}))
}

// succeed ends the task with what it was to make: always the one package there is, which
// it returns if it was that.
func (l *lease) succeed() (built albs.Digest) {
	l.f.t.Helper()
	read := func(path string) albs.File {
		b, err := os.ReadFile(path)
		must(l.f.t, err)
		return l.upload(filepath.Base(path), b)
	}
	r := albs.Result{}
	record := func() albs.File {
		return l.upload("buildroot.json", fmt.Appendf(nil, `{"format":"albs-buildroot/v1","task":%d,"packages":[{"name":"bash","sha256":"%s"}]}`, l.Token.Task, albs.DigestOf(nil)))
	}
	switch l.Kind {
	case albs.KindSource:
		r.Source = &albs.SourceResult{SRPM: read(srpmFile), Record: record()}
	case albs.KindBuild, albs.KindRebuild:
		r.Build = &albs.BuildResult{Packages: []albs.File{read(rpmFile)}, Record: record()}
		built = r.Build.Packages[0].Digest
	case albs.KindTest:
		r.Test = mastertest.Tested(l.Spec.Test, nil)
	}
	must(l.f.t, l.f.Queue.Complete(l.ctx, l.Token, albs.OutcomeOK, r))
	return built
}

// client is a browser without JavaScript.
type client struct {
	*http.Client
	f *fixture
}

// browse returns a browser in which who is signed in; nobody for "".
func (f *fixture) browse(who string) *client {
	f.t.Helper()
	jar, err := cookiejar.New(nil)
	must(f.t, err)
	c := &client{&http.Client{Jar: jar}, f}
	if who != "" {
		if a := c.post("/login", url.Values{"token": {f.tokens[who]}}); a.StatusCode != http.StatusOK {
			f.t.Fatalf("%s can't sign in: %s\n%s", who, a.Status, a.text)
		}
	}
	return c
}

type answer struct {
	*http.Response
	text string
}

func (c *client) do(r *http.Request) answer {
	c.f.t.Helper()
	resp, err := c.Do(r)
	must(c.f.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	must(c.f.t, err)
	return answer{resp, string(b)}
}

func (c *client) request(method, path string, body io.Reader) *http.Request {
	c.f.t.Helper()
	r, err := http.NewRequestWithContext(c.f.t.Context(), method, c.f.url+path, body)
	must(c.f.t, err)
	return r
}

func (c *client) get(path string) answer {
	c.f.t.Helper()
	return c.do(c.request(http.MethodGet, path, nil))
}

// page gets a page that is to be there.
func (c *client) page(path string) string {
	c.f.t.Helper()
	a := c.get(path)
	if a.StatusCode != http.StatusOK {
		c.f.t.Fatalf("GET %s = %s\n%s", path, a.Status, a.text)
	}
	return a.text
}

func (c *client) fragment(path string) answer {
	c.f.t.Helper()
	r := c.request(http.MethodGet, path, nil)
	r.Header.Set(page.FragmentHeader, page.Live)
	return c.do(r)
}

// post sends a form as a page of this site does.
func (c *client) post(path string, v url.Values) answer {
	c.f.t.Helper()
	r := c.request(http.MethodPost, path, strings.NewReader(v.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", c.f.url)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return c.do(r)
}

var contains = pagetest.Contains
