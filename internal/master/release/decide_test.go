package release

import (
	"context"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
)

const demoCRB = "el/x86_64/crb"

// TestDecide: references know a place for one package and none for another, for which a
// person decides; what was approved before is void, and who decided is nobody else.
func TestDecide(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		ctx := t.Context()
		pf := mastertest.Platform("el", albs.X8664, albs.I686)
		pf.References = []platform.Reference{{Place: "Base", Arch: albs.X8664, URL: "https://up.example/os"}, {Place: "CRB", Arch: albs.X8664, URL: "https://up.example/crb"}}
		_, err := f.platforms.Apply(f.admin, pf)
		f.must(err)
		spec := demoSpec()
		spec.Repositories[0].Place = "Base"
		spec.Repositories = append(spec.Repositories, product.Repository{Path: demoCRB, Platform: "el", Arch: albs.X8664, Kind: product.RPM, Place: "CRB"})
		_, err = f.products.Apply(f.admin, spec)
		f.must(err)
		_, err = d.ExecContext(ctx, `INSERT INTO reference_repository (id, url, repomd, packages, listed_at, looked_at, failure) VALUES (1, 'https://up.example/os', $1, 1, $2, $2, '')`, digest("repomd"), db.Now())
		f.must(err)
		_, err = d.ExecContext(ctx, `INSERT INTO reference_package (repository_id, name, epoch, version, release, arch, source) VALUES (1, 'hello', 0, '0.9', '1', 'x86_64', 'hello')`)
		f.must(err)

		r, err := f.Plan(f.planner, "demo", []albs.BuildID{f.signedBuild(rpmbuild(t, "1", "one"))})
		f.must(err)
		if len(r.Plan.Refusals) != 1 || r.Plan.Refusals[0].Package != "hello-doc-1.0-1.noarch" {
			t.Errorf("refusals = %v, want one about the package without a place", r.Plan.Refusals)
		}
		if !slices.Contains(r.Plan.Notes, "the reference CRB of platform el for x86_64 was never read") {
			t.Errorf("notes = %q", r.Plan.Notes)
		}

		move := []place.Decision{{Action: place.Move, Package: "hello-doc-1.0-1.noarch", To: "CRB", Reason: "words"}}
		for name, tt := range map[string]struct {
			ctx       context.Context
			digest    albs.Digest
			decisions []place.Decision
			kind      albs.Kind
		}{
			"by a stranger":  {f.stranger, r.Digest, move, albs.Forbidden},
			"of another one": {f.planner, digest("other"), move, albs.Conflict},
			"without reason": {f.planner, r.Digest, []place.Decision{{Action: place.Exclude, Package: "hello-doc-1.0-1.noarch"}}, albs.Invalid},
		} {
			_, err := f.Decide(tt.ctx, r.ID, tt.digest, tt.decisions)
			f.wantKind("Decide "+name, err, tt.kind, "")
		}
		second := f.person("dora", auth.ProductMaintainer)
		planned := r.Digest
		r, err = f.Decide(second, r.ID, r.Digest, move)
		f.must(err)
		if len(r.Plan.Refusals) != 0 || r.Digest == planned || len(r.Plan.Decisions) != 1 || r.Plan.Decisions[0].By != "dora" || r.Plan.Decisions[0].At.IsZero() {
			t.Fatalf("after Decide the plan is %+v", r.Plan)
		}
		_, err = f.Approve(second, r.ID, r.Digest, "")
		f.wantKind("Approve by who decided", err, albs.Forbidden, "wants another person's approval")
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)

		// A further decision leaves the first one's its person's, and voids what was approved (T23).
		more := append(slices.Clone(r.Plan.Decisions), place.Decision{Action: place.Exclude, Package: "hello-debuginfo-1.0-1.x86_64", Reason: "not yet"})
		approved := r.Digest
		r, err = f.Decide(f.planner, r.ID, r.Digest, more)
		f.must(err)
		if len(r.Approvals) != 0 || r.Digest == approved || r.Plan.Decisions[0].By != "dora" || r.Plan.Decisions[1].By != "pam" {
			t.Errorf("after another decision the release is %+v", r)
		}
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish of what wasn't approved as it is", err, albs.Conflict, "0 of the 1 approvals")

		// It is kept when the plan is made anew, and published as it was decided.
		r, err = f.Replan(f.planner, r.ID)
		f.must(err)
		if diff := cmp.Diff([]string{"hello-debuginfo-1.0-1.x86_64"}, r.Plan.Excluded); diff != "" {
			t.Errorf("excluded (-want +got):\n%s", diff)
		}
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
		want := map[string][]string{
			demoOS: {"hello-1.0-1.x86_64.rpm"}, demoCRB: {"hello-doc-1.0-1.noarch.rpm"}, demoWeak: {"hello-doc-1.0-1.noarch.rpm"}, demoDebug: nil, demoSource: {"hello-1.0-1.src.rpm"},
		}
		if diff := cmp.Diff(want, f.shown(1), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		_, err = f.Decide(f.planner, r.ID, r.Digest, nil)
		f.wantKind("Decide of what is public", err, albs.Conflict, "nothing to decide")
	})
}
