// Package delivery is the part of the interface for programs that is about what goes
// out: the platforms, flavours and products that packages are for, the keys that sign them,
// releases, and each artifact with its proofs.
//
// Like all of the interface it owns no rule and no row: it asks the modules and spells
// their answers. Its views have ALBS's members first, in ALBS's words, and ours behind
// them.
package delivery

import (
	"context"

	"albs/internal/master/api/rest"
	"albs/internal/master/artifact"
	"albs/internal/master/bill"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/record"
	"albs/internal/master/release"
	"albs/internal/master/repo/history"
	"albs/internal/master/sign"
	"albs/internal/master/source/notary"
	"albs/internal/master/trace"
	"albs/internal/master/transparency"
)

// Parts are the modules that the resources speak for. All are required.
type Parts struct {
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	References *reference.Index
	Products   *product.Products
	Records    *record.Records
	History    *history.History
	Traces     *trace.Traces
	Notary     *notary.Notary
	Bills      *bill.Bills
	Signs      *sign.Signing
	Releases   *release.Releases
	Logs       *transparency.Transparency
	Errata     *errata.Errata
	Matching   *matching.Matching
	Monitor    *monitor.Monitor
	// Trust returns the trust document as JSON (attest.Trust): what a stranger
	// needs to verify the packages of a product, or of all if product is ""; without
	// their keys it is a signer's.
	Trust func(ctx context.Context, product string, keys bool) ([]byte, error)
}

// Resources answer their operations, and tell of signatures and products to the
// resources that show them too.
type Resources struct {
	*rest.Server
	Parts
}

// Register registers the resources of what goes out with s.
func Register(s *rest.Server, p Parts) *Resources {
	r := &Resources{Server: s, Parts: p}
	r.routePlatforms()
	r.routeReferences()
	r.routeFlavours()
	r.routeProducts()
	r.routeRecords()
	r.routeHistory()
	r.routeKeys()
	r.routeSignTasks()
	r.routeSignFiles()
	r.routeApprovals()
	r.routeReleases()
	r.routeErrataCheck()
	r.routeErrataRelease()
	r.routeArtifacts()
	r.routeTrace()
	r.routeTransparency()
	r.routeSources()
	r.routeSBOM()
	return r
}
