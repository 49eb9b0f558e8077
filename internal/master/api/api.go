// Package api is the master's face to programs: /api/v1 for people's clients,
// with ALBS's paths, fields and numeric statuses where ALBS has the resource, and
// /worker/v1 for workers.
//
// It owns no rule and no row: resources ask the modules and spell their answers. Here
// are those of builds and what happens in them (uploads, tasks, logs, tests), and of
// the installation (people, tokens, workers, events, who is told of them); what goes out, from platforms to
// releases and proofs, is in package delivery, advisories are in package advisories, and the machinery of all of them in
// package rest. What holds:
//
//   - Every route stands in the table of policy.go and in the OpenAPI document;
//     one that doesn't cannot be registered. The modules ask again, about the very
//     object.
//   - What a request asks for and albs cannot do is refused, never dropped.
package api

import (
	"context"

	"github.com/rs/zerolog"

	"albs/internal/master/api/advisories"
	"albs/internal/master/api/delivery"
	"albs/internal/master/api/rest"
	"albs/internal/master/api/suites"
	"albs/internal/master/api/tests"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/bill"
	"albs/internal/master/build"
	"albs/internal/master/errata"
	"albs/internal/master/errata/draft"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/event"
	"albs/internal/master/gc"
	"albs/internal/master/notice"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/rebuild"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/source/notary"
	"albs/internal/master/testrun"
	"albs/internal/master/testrun/suite"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
	"albs/internal/worker"
)

// Config holds what an operator may set.
type Config = rest.Config

// Parts are the modules that the interface speaks for. All are required.
type Parts struct {
	Auth       *auth.Auth
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	References *reference.Index
	Products   *product.Products
	Records    *record.Records
	History    *history.History
	Traces     *trace.Traces
	Bills      *bill.Bills
	Errata     *errata.Errata
	Drafts     *draft.Drafts
	Matching   *matching.Matching
	Monitor    *monitor.Monitor
	Notices    *notice.Notices
	Builds     *build.Builds
	Tests      *testrun.Tests
	Suites     *suite.Suites
	Rebuilds   *rebuild.Rebuilds
	Notary     *notary.Notary
	Signs      *sign.Signing
	Releases   *release.Releases
	Logs       *transparency.Transparency
	Collector  *gc.Collector
	Checker    *provenance.Checker
	// Trust returns the trust document as JSON (attest.Trust): what a stranger
	// needs to verify the packages of a product, or of all if product is ""; without
	// their keys it is a signer's.
	Trust func(ctx context.Context, product string, keys bool) ([]byte, error)
	Log   zerolog.Logger
}

// Server answers everything under /api/v1/ and /worker/v1/. It is an
// http.Handler and expects whole paths.
type Server struct {
	*rest.Server
	Parts
	delivery *delivery.Resources
}

// New returns the interface of a master. It does no I/O. It panics if its own
// routes and their policies don't agree, which a test rules out.
func New(p Parts, c Config) *Server {
	s := &Server{Server: rest.New(p.Auth, policies, c, p.Log), Parts: p}
	s.routeBuilds()
	s.routeTasks()
	s.routeQueue()
	s.routeLogs()
	s.routeTests()
	s.routeSkips()
	s.routeWaivers()
	suites.Register(s.Server, p.Suites)
	s.routeRebuilds()
	s.routeUploads()
	s.delivery = delivery.Register(s.Server, delivery.Parts{
		Artifacts: p.Artifacts, Provenance: p.Provenance, Platforms: p.Platforms, References: p.References, Products: p.Products, Records: p.Records, History: p.History, Traces: p.Traces, Bills: p.Bills,
		Notary: p.Notary, Signs: p.Signs, Releases: p.Releases, Logs: p.Logs, Errata: p.Errata, Matching: p.Matching, Monitor: p.Monitor, Trust: p.Trust,
	})
	advisories.Register(s.Server, advisories.Parts{Errata: p.Errata, Drafts: p.Drafts, Platforms: p.Platforms, Matching: p.Matching, Products: p.Products, Keys: p.Signs})
	tests.Register(s.Server, tests.Parts{Builds: p.Builds, Tests: p.Tests, RunsOf: s.runsOf})
	s.routeUsers()
	s.routeTokens()
	s.routeWorkers()
	s.routeCollection()
	s.routeLedger()
	s.routeNotices()
	s.routeEvents()
	s.routeWire(worker.NewHandler(p.Queue, wireActor, p.Log))
	s.Seal()
	return s
}
