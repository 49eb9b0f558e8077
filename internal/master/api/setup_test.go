package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
	"albs/internal/master/bill"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/face/facetest"
	"albs/internal/master/gc"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/master/repo"
	"albs/internal/master/repo/history"
	"albs/internal/master/retention"
	"albs/internal/master/transparency"
	"albs/internal/telemetry/telemetrytest"
)

const (
	cookie   = "albs_session"
	maxBody  = 1 << 20 // what rest takes of a body
	maxQuery = 8 << 10 // and of a query
	srpmFile = "../../rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm"
)

// fixture is a whole master behind a real server.
type fixture struct {
	*Server
	db     *db.DB
	repos  *repo.Repos
	url    string
	mirror string // base URL of the only outside server
	log    *telemetrytest.Log
	tokens map[string]string // by who: contributor, maintainer, signer, operator, admin, node, revoked; anon has ""
}

type noMirrors struct{}

func (noMirrors) Clean(context.Context, time.Time, bool) (int, error) { return 0, nil }

// setup starts the modules over SQLite in the test's directory, with a person of
// each role in team core and a node.
func setup(t *testing.T, c Config) *fixture {
	t.Helper()
	f := &fixture{log: &telemetrytest.Log{}, tokens: map[string]string{"anon": ""}}
	log := zerolog.New(f.log)
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, mastertest.Repomd) }))
	t.Cleanup(mirror.Close)
	f.mirror = mirror.URL
	out, err := egress.New(egress.Policy{Allow: []string{strings.TrimPrefix(mirror.URL, "http://")}})
	must(err)
	f.db = dbtest.Open(t, dbtest.SQLite(t))
	m := facetest.Open(t, f.db, out, log)
	f.repos = m.Repos

	collector, err := gc.New(gc.Parts{DB: m.DB, Artifacts: m.Artifacts, Builds: m.Builds, Logs: m.Queue, Mirrors: noMirrors{}, Log: log,
		Retention: retention.New(retention.Parts{DB: m.DB, Queue: m.Queue, Products: m.Products, Repos: m.Repos, Releases: m.Releases}),
	}, gc.Config{})
	must(err)
	checker, err := provenance.NewChecker(m.Provenance, filepath.Join(t.TempDir(), "ledger-check.json"))
	must(err)
	c.Cookie = cookie
	bills := bill.New(bill.Parts{
		DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance, Platforms: m.Platforms, References: m.References,
		Products: m.Products, Repos: m.Repos, Builds: m.Builds, Releases: m.Releases, URL: "https://albs.example", Log: log,
	}, bill.Config{})
	f.Server = New(Parts{
		Monitor: monitor.New(monitor.Parts{
			DB: m.DB, Events: m.Events, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Releases: m.Releases, Outside: out, Log: log,
		}, monitor.Config{}),
		Auth: m.Auth, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Bills: bills, Errata: m.Errata, Drafts: draft.New(draft.Parts{Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Builds: m.Builds, Commits: m.Sources(t, out)}), Matching: m.Matching, Notices: m.Notices, Platforms: m.Platforms, References: m.References, Products: m.Products, Records: m.Records, History: history.New(m.Repos), Notary: m.Notary, Builds: m.Builds, Tests: m.Tests, Suites: m.Suites, Signs: m.Signs, Releases: m.Releases, Collector: collector, Checker: checker,
		Logs: transparency.New(transparency.Parts{
			DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance, Releases: m.Releases, Log: log,
		}, transparency.Config{Dir: t.TempDir()}),
		Trust: func(_ context.Context, product string, keys bool) ([]byte, error) {
			return fmt.Appendf(nil, `{"albs":"trust/v1","products":[%q],"keys":%v}`, product, keys), nil
		}, Rebuilds: m.Rebuilds, Log: log,
	}, c)

	mastertest.Run(t, m.Queue.Run, m.Provenance.Run, collector.Run, checker.Run)
	server := httptest.NewServer(f.Server)
	f.url = server.URL
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	f.people(t, m)
	return f
}

func (f *fixture) people(t *testing.T, m *facetest.Modules) {
	t.Helper()
	for who, grant := range map[string]auth.Grant{
		"contributor": {Role: auth.Contributor, Team: "core"}, "maintainer": {Role: auth.ProductMaintainer, Team: "core"},
		"signer": {Role: auth.Signer, Team: "core"}, "operator": {Role: auth.Operator}, "admin": {Role: auth.Admin},
		"revoked": {Role: auth.Admin},
	} {
		secret, token := m.Person(t, who, grant)
		if who == "revoked" {
			if err := f.Auth.RevokeToken(auth.System(t.Context(), "test"), token.ID); err != nil {
				t.Fatal(err)
			}
		}
		f.tokens[who] = secret
	}
	secret, _, err := f.Auth.AddWorker(auth.System(t.Context(), "test"), auth.NewWorker{Name: "node-1", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}})
	if err != nil {
		t.Fatal(err)
	}
	f.tokens["node"] = secret
}

// answer is a response that was read to its end.
type answer struct {
	*http.Response
	body []byte
}

func (a answer) into(t *testing.T, v any) {
	t.Helper()
	if err := json.Unmarshal(a.body, v); err != nil {
		t.Fatalf("%s: %v in %s", a.Request.URL, err, a.body)
	}
}

// problem returns the body as a problem, having checked that it is a whole one.
func (a answer) problem(t *testing.T) rest.Problem {
	t.Helper()
	var p rest.Problem
	a.into(t, &p)
	if a.Header.Get("Content-Type") != "application/problem+json" || p.Status != a.StatusCode || p.Detail == "" || p.Title == "" || p.Kind == "" {
		t.Errorf("%s %s: %s isn't a problem: %s %s", a.Request.Method, a.Request.URL, a.Status, a.Header.Get("Content-Type"), a.body)
	}
	return p
}

// request prepares one; body is a string, a reader or a value for JSON.
func (f *fixture) request(t *testing.T, who, method, path string, body any) *http.Request {
	t.Helper()
	var r io.Reader
	kind := "application/json"
	switch b := body.(type) {
	case nil:
		kind = ""
	case string:
		r = strings.NewReader(b)
	case io.Reader:
		r, kind = b, "application/octet-stream"
	default:
		doc, err := json.Marshal(b)
		if err != nil {
			t.Fatal(err)
		}
		r = bytes.NewReader(doc)
	}
	req, err := http.NewRequestWithContext(t.Context(), method, f.url+path, r)
	if err != nil {
		t.Fatal(err)
	}
	if kind != "" {
		req.Header.Set("Content-Type", kind)
	}
	token, ok := f.tokens[who]
	if !ok {
		t.Fatalf("nobody is %s", who)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	return req
}

func do(t *testing.T, req *http.Request) answer {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatalf("%s %s: %v", req.Method, req.URL, err)
	}
	return answer{resp, b}
}

// call asks and expects a status.
func (f *fixture) call(t *testing.T, who, method, path string, body any, status int) answer {
	t.Helper()
	a := do(t, f.request(t, who, method, path, body))
	if a.StatusCode != status {
		t.Fatalf("%s %s by %s = %s, want %d: %s", method, path, who, a.Status, status, a.body)
	}
	return a
}

const platformYAML = `
name: el
dist: .el9
releasever: "9"
arches: [x86_64]
repositories:
- {id: base, url: "MIRROR/$arch/os/"}
packages: [bash, rpm-build]
test_packages: [bash]
rpmdb: {path: /var/lib/rpm, backend: sqlite}
`

const productYAML = `
name: distro
title: The Distribution
team: core
platforms: [el]
repositories:
- {path: BaseOS/x86_64/os, platform: el, arch: x86_64, kind: rpm}
- {path: BaseOS/source, platform: el, arch: src, kind: source}
`

// catalog makes the platform el and the product distro.
func (f *fixture) catalog(t *testing.T) {
	t.Helper()
	f.call(t, "operator", post, "/api/v1/platforms/", strings.ReplaceAll(platformYAML, "MIRROR", f.mirror), http.StatusOK)
	f.call(t, "maintainer", post, "/api/v1/products/", productYAML, http.StatusOK)
}

// upload brings the SRPM and returns its digest.
func (f *fixture) upload(t *testing.T) albs.Digest {
	t.Helper()
	file, err := os.Open(srpmFile)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var v uploadView
	f.call(t, "contributor", post, "/api/v1/uploads/srpm?name="+filepath.Base(srpmFile), file, http.StatusCreated).into(t, &v)
	return v.Digest
}

// build makes a build of the SRPM and returns it.
func (f *fixture) build(t *testing.T, srpm albs.Digest) buildView {
	t.Helper()
	var v buildView
	f.call(t, "contributor", post, "/api/v1/builds/", map[string]any{
		"platforms": []any{map[string]any{"name": "el", "arch_list": []string{"x86_64"}, "parallel_mode_enabled": true}},
		"tasks":     []any{map[string]any{"srpm": srpm}}, "product": "distro",
	}, http.StatusOK).into(t, &v)
	return v
}
