package api

import (
	"net/http"
	"testing"
	"time"

	"albs/internal/master/gc"
)

// TestCollection has a collection begun and looks until it has ended.
func TestCollection(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "contributor", http.MethodGet, "/api/v1/gc/", nil, http.StatusForbidden)
	f.call(t, "operator", http.MethodPost, "/api/v1/gc/?dry_run=true", nil, http.StatusOK)
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.After(time.Minute); ; {
		var s gc.State
		f.call(t, "operator", http.MethodGet, "/api/v1/gc/", nil, http.StatusOK).into(t, &s)
		if s.Runs > 0 {
			if s.Last == nil || !s.Last.DryRun || s.Last.Error != "" {
				t.Errorf("the last collection is %+v", s.Last)
			}
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			t.Fatal("no collection ended")
		}
	}
}
