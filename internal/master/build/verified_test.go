package build

import (
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/provenance"
)

// TestSources: a source is verified once its commit is notarized, though the build came
// before, and what was given isn't.
func TestSources(t *testing.T) {
	t.Parallel()
	f := idle(t, dbtest.Open(t, dbtest.SQLite(t)))
	commit := f.forge.AddRepo("foo", map[string]string{"foo.spec": spec})
	url := f.forge.URL("foo")
	b := f.create(NewBuild{Packages: []Package{{URL: url, Ref: "main"}}})
	given := f.given(NewBuild{}, "top")
	of := func(b Build) Source {
		t.Helper()
		all, err := f.Sources(t.Context(), b)
		must(t, err)
		return all[b.Items[0].ID]
	}
	if got := of(given); got.Verified || !strings.Contains(got.Why, "no commit stands behind it") {
		t.Errorf("a given SRPM: %+v", got)
	}
	if got := of(b); got.Verified || !strings.Contains(got.Why, "albs source notarize "+url+" main") {
		t.Errorf("a commit that isn't notarized: %+v", got)
	}
	if got := f.notarized(t.Context(), url, commit); got != "" {
		t.Errorf("a commit that isn't notarized has the digest %s", got)
	}
	d := albs.DigestOf([]byte("the commit's object"))
	must(t, f.db.InTx(t.Context(), func(tx db.Tx) error {
		return f.provenance.State(t.Context(), tx, provenance.Fact{
			Subjects:  []attest.Subject{{Digest: map[string]string{attest.SHA256: string(d), attest.GitCommit: commit}}},
			Predicate: attest.Commit, Body: attest.CommitBody{Repository: "git+" + url, Ref: "refs/heads/main", Tree: commit, Requester: "alice"},
		})
	}))
	for end := time.Now().Add(time.Minute); !of(b).Verified; time.Sleep(10 * time.Millisecond) {
		if got := of(b); time.Now().After(end) {
			t.Fatalf("a notarized commit: %+v", got)
		}
	}
	if got := of(b); got.SHA256 != d || got.Why != "" || f.notarized(t.Context(), url, commit) != d {
		t.Errorf("a notarized commit: %+v", got)
	}
}
