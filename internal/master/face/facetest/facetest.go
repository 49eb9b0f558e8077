// Package facetest opens all modules of a master, real ones, for the tests of its
// faces. It is for tests only; those of the modules themselves have mastertest, which
// stops below them.
package facetest

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/mastertest"
	"albs/internal/master/notice"
	"albs/internal/master/rebuild"
	"albs/internal/master/release"
	"albs/internal/master/sign"
	"albs/internal/master/source/notary"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
)

// Modules are all of a master's. None of their loops runs.
type Modules struct {
	*mastertest.Modules
	Notary   *notary.Notary
	Builds   *build.Builds
	Suites   *suite.Suites
	Tests    *testrun.Tests
	Rebuilds *rebuild.Rebuilds
	Signs    *sign.Signing
	Releases *release.Releases
	Errata   *errata.Errata
	Matching *matching.Matching
	Notices  *notice.Notices
}

// Open opens the modules over d, with out as their way to mirrors and git hosts. They
// are closed when the test ends.
func Open(t testing.TB, d *db.DB, out *egress.Egress, log zerolog.Logger) *Modules {
	t.Helper()
	m := &Modules{Modules: mastertest.Open(t, d, mastertest.Config{Outside: out, Log: log})}
	mirrors, err := git.New(t.TempDir(), out)
	if err != nil {
		t.Fatal(err)
	}
	if m.Notary, err = notary.New(notary.Parts{DB: m.DB, Events: m.Events, Queue: m.Queue, Provenance: m.Provenance, Git: mirrors, Log: log}, notary.Config{}); err != nil {
		t.Fatal(err)
	}
	m.Builds = build.New(build.Parts{
		DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance, Sources: m.Sources(t, out),
		Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Log: log,
	}, build.Config{})
	m.Suites = suite.New(suite.Parts{
		DB: m.DB, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Sources: m.Sources(t, out), Builds: m.Builds, Log: log,
	})
	m.Tests = testrun.New(testrun.Parts{
		DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Platforms: m.Platforms, References: m.References, Products: m.Products, Repos: m.Repos, Builds: m.Builds, Suites: m.Suites, Log: log,
	})
	m.Errata = errata.New(errata.Parts{DB: m.DB, Events: m.Events, Provenance: m.Provenance, Platforms: m.Platforms, Builds: m.Builds})
	m.Rebuilds = rebuild.New(rebuild.Parts{
		DB: m.DB, Events: m.Events, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Repos: m.Repos, Builds: m.Builds, Log: log,
	})
	m.Signs = sign.New(sign.Parts{
		DB: m.DB, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Products: m.Products, Builds: m.Builds, Tests: m.Tests,
	})
	m.Releases = release.New(release.Parts{
		DB: m.DB, Events: m.Events, Auth: m.Auth, Queue: m.Queue, Artifacts: m.Artifacts, Provenance: m.Provenance,
		Products: m.Products, Platforms: m.Platforms, References: m.References, Records: m.Records, Repos: m.Repos, Builds: m.Builds, Tests: m.Tests, Signs: m.Signs, Log: log,
	})
	m.Matching = matching.New(matching.Parts{
		DB: m.DB, Events: m.Events, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos,
		Builds: m.Builds, Releases: m.Releases, Errata: m.Errata, Log: log,
	})
	m.Notices, err = notice.New(notice.Parts{
		DB: m.DB, Events: m.Events, Auth: m.Auth, Facts: nothing{}, Outside: out, Key: notice.Key{1}, URL: "https://albs.example", Log: log,
	}, notice.Config{Mail: notice.Mail{Server: "mail.example:587", From: "albs@example.org"}})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// nothing is what happened, of which notices would tell.
type nothing struct{}

func (nothing) Advisories(context.Context, albs.ReleaseID, func(notice.Advisory) error) error {
	return nil
}

func (nothing) Build(_ context.Context, id albs.BuildID) (notice.Build, error) {
	return notice.Build{}, albs.Errorf(albs.NotFound, "there is no build %d", id)
}

// Person makes an account with one role and returns the secret of a token for an hour,
// and what is known of the token.
func (m *Modules) Person(t testing.TB, name string, g auth.Grant) (secret string, token auth.Token) {
	t.Helper()
	ctx := auth.System(t.Context(), "test")
	u, err := m.Auth.CreateUser(ctx, name)
	if err == nil {
		err = m.Auth.Grant(ctx, u.ID, g.Role, g.Team)
	}
	if err != nil {
		t.Fatal(err)
	}
	secret, token, err = m.Auth.CreateToken(ctx, u.ID, "", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return secret, token
}

// Timed records an answer, and the deadlines that it and the request's body were
// given, as a connection has them.
type Timed struct {
	*httptest.ResponseRecorder
	Deadlines []time.Time // of writing
	Reads     []time.Time // of reading the body
}

// SetReadDeadline is for http.ResponseController.
func (w *Timed) SetReadDeadline(t time.Time) error {
	w.Reads = append(w.Reads, t)
	return nil
}

// SetWriteDeadline is for http.ResponseController.
func (w *Timed) SetWriteDeadline(t time.Time) error {
	w.Deadlines = append(w.Deadlines, t)
	return nil
}

// Impatient checks that h gives its answer to a GET of path a deadline for being taken,
// and a body that it doesn't read one for coming.
func Impatient(t *testing.T, h http.Handler, path string) {
	t.Helper()
	w := &Timed{ResponseRecorder: httptest.NewRecorder()}
	h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, strings.NewReader("a body")))
	if len(w.Reads) == 0 || w.Reads[len(w.Reads)-1].IsZero() {
		t.Errorf("GET %s waits for its body for ever: %v", path, w.Reads)
	}
	if w.Body.Len() == 0 || len(w.Deadlines) == 0 {
		t.Errorf("GET %s = %d with %d bytes, which may be taken at any time", path, w.Code, w.Body.Len())
	}
}
