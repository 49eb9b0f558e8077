package provenance

import (
	"testing"
	"time"

	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/db/dbtest"
)

// BenchmarkNotarize states facts about 2,000 packages and carries them into the
// ledger, durably.
func BenchmarkNotarize(b *testing.B) {
	const count = 2000
	f := setup(b, dbtest.Open(b, dbtest.SQLite(b)))
	var stating, carrying time.Duration
	for i := range b.N {
		var all []artifact.Artifact
		for j := range count {
			all = append(all, file(i*count+j))
		}
		start := time.Now()
		f.state(b, attest.Build, all...)
		stated := time.Now()
		for n := 1; n > 0; {
			var err error
			if n, err = f.deliver(b.Context(), false); err != nil {
				b.Fatal(err)
			}
		}
		stating += stated.Sub(start)
		carrying += time.Since(stated)
	}
	b.ReportMetric(float64(count*b.N)/stating.Seconds(), "stated/s")
	b.ReportMetric(float64(count*b.N)/carrying.Seconds(), "notarized/s")
}
