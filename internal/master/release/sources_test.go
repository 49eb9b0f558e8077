package release

import (
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
)

// TestVerifiedSources: a product of verified sources neither signs nor releases what came
// from elsewhere, also if it turned into one after the approval; once the commit is
// notarized it does.
func TestVerifiedSources(t *testing.T) {
	t.Parallel()
	f := running(t, dbtest.Open(t, dbtest.SQLite(t)))
	const commit, uri = "0123456789abcdef0123456789abcdef01234567", "git+https://git.example/hello"
	one := rpmbuild(t, "1", "one")
	id := f.signedBuild(one)
	r := f.approved(id)
	spec := demoSpec()
	spec.Sources = product.VerifiedSources
	_, err := f.products.Apply(f.admin, spec)
	f.must(err)

	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish of what was approved before", err, albs.Conflict, "takes packages of verified sources only, and its source package was given by olga")
	r, err = f.Replan(f.planner, r.ID)
	f.must(err)
	if len(r.Plan.Refusals) != 4 || !strings.Contains(r.Plan.Refusals[0].String(), "takes packages of verified sources only") {
		t.Errorf("the plan's refusals are %v", r.Plan.Refusals)
	}
	_, err = f.Approve(f.approver, r.ID, r.Digest, "")
	f.wantKind("Approve", err, albs.Conflict, "its plan is refused")
	_, err = f.signs.SignBuild(f.admin, f.addBuild(rpmbuild(t, "2", "two")), "demo key")
	f.wantKind("SignBuild", err, albs.Conflict, "takes packages of verified sources only")

	var srpm albs.Digest
	for name, b := range one {
		if strings.HasSuffix(name, ".src.rpm") {
			srpm = albs.DigestOf(b)
		}
	}
	state := func(s attest.Subject, predicate string, body any) {
		t.Helper()
		f.must(f.d.InTx(t.Context(), func(tx db.Tx) error {
			return f.provenance.State(t.Context(), tx, provenance.Fact{Subjects: []attest.Subject{s}, Predicate: predicate, Body: body})
		}))
	}
	state(attest.Subject{Digest: map[string]string{attest.SHA256: string(srpm)}}, attest.Source, attest.SourceBody{Repository: uri, Ref: "main", Commit: commit})
	f.until("the ledger knows the commit", func() bool {
		why, err := f.provenance.Unverified(t.Context(), srpm)
		f.must(err)
		return strings.Contains(why, "albs source notarize https://git.example/hello main")
	})
	state(attest.Subject{Digest: map[string]string{attest.SHA256: string(digest("a commit")), attest.GitCommit: commit}}, attest.Commit,
		attest.CommitBody{Repository: uri, Ref: "refs/heads/main", Tree: commit, Requester: "alice"})
	f.until("the commit is notarized", func() bool {
		why, err := f.provenance.Unverified(t.Context(), srpm)
		f.must(err)
		return why == ""
	})
	r, err = f.Replan(f.planner, r.ID)
	f.must(err)
	if len(r.Plan.Refusals) != 0 {
		t.Fatalf("the plan's refusals are %v", r.Plan.Refusals)
	}
	if !r.Approved() { // by a second, its end has another time
		_, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
	}
	_, err = f.Publish(f.planner, r.ID)
	f.must(err)
	f.ended(r.ID, Completed)
}
