package api

import (
	"bytes"
	"net/http"
	"testing"
	"time"

	"albs/internal/attest"
	"albs/internal/master/provenance"
)

// TestLedgerCheck has a check begun, looks until it has ended, and checks an export.
func TestLedgerCheck(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "contributor", http.MethodGet, "/api/v1/ledger/check/", nil, http.StatusForbidden)
	f.call(t, "contributor", http.MethodGet, "/api/v1/ledger/export", nil, http.StatusForbidden)
	var s provenance.CheckState
	ended := func() bool {
		f.call(t, "operator", http.MethodGet, "/api/v1/ledger/check/", nil, http.StatusOK).into(t, &s)
		return s.Step == "" && !s.Queued && s.Runs > 0
	}
	wait := func() {
		t.Helper()
		tick := time.NewTicker(10 * time.Millisecond)
		defer tick.Stop()
		for deadline := time.After(time.Minute); !ended(); {
			select {
			case <-tick.C:
			case <-deadline:
				t.Fatal("no check ended")
			}
		}
	}
	wait() // for the one that a master begins with
	f.call(t, "operator", http.MethodPost, "/api/v1/ledger/check/?from=start", nil, http.StatusOK)
	wait()
	if s.Last == nil || s.Last.Wrong != 0 || s.Last.Error != "" || s.Last.From != 1 {
		t.Errorf("the last check is %+v", s.Last)
	}
	export := f.call(t, "operator", http.MethodGet, "/api/v1/ledger/export", nil, http.StatusOK).body
	trust, err := f.Provenance.Trust(t.Context(), attest.Trust{Builders: []string{"b"}, Products: []string{"p"}})
	if err != nil {
		t.Fatal(err)
	}
	if tally, _, err := attest.CheckExport(t.Context(), bytes.NewReader(export), trust, nil); err != nil || tally.Wrong != 0 || tally.Transactions == 0 {
		t.Errorf("the export: %+v, %v", tally, err)
	}
}
