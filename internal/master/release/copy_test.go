package release

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/pgp"
)

// added are the files that a plan adds, by repository, each with its digest.
func added(p plan.Plan) map[string]albs.Digest {
	out := map[string]albs.Digest{}
	for _, r := range p.Repositories {
		for _, c := range r.Packages {
			if c.Action == plan.Add {
				out[r.Path+" "+c.File] = c.Digest
			}
		}
	}
	return out
}

// left is what a plan leaves out as "package: reason".
func left(p plan.Plan) []string {
	var out []string
	for _, l := range p.Left {
		out = append(out, l.Package+": "+l.Reason)
	}
	return out
}

// TestCopy: what one product shows is released into another as it is or, where that has
// another key, as it was signed with that; what isn't taken is told.
func TestCopy(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		f.startSigner()
		f.startReleaser()
		spec := demoSpec()
		spec.Repositories = []product.Repository{{Path: "stable/os", Platform: "el", Arch: albs.X8664, Kind: product.RPM}}
		for spec.Name, spec.Key = range map[string]string{"stable": "demo key", "third": "third key"} {
			_, err := f.products.Apply(f.admin, spec)
			f.must(err)
		}
		f.makeKey("demo key", pgp.Ed25519, "stable")
		_, err := f.Copy(f.planner, "stable", plan.Copy{Product: "demo"})
		f.wantKind("Copy of a product that shows nothing", err, albs.Conflict, "shows nothing yet")
		f.release(f.signedBuild(rpmbuild(t, "1", "one")))
		second := f.signedBuild(rpmbuild(t, "2", "two"))
		f.release(second, f.signedBuild(rpmbuildOf(t, "tool", "1", "one")))
		for what, tt := range map[string]struct {
			into string
			copy plan.Copy
			kind albs.Kind
			part string
		}{
			"onto itself":                 {"demo", plan.Copy{Product: "demo"}, albs.Invalid, "into itself"},
			"of no product":               {"stable", plan.Copy{Product: "none"}, albs.NotFound, ""},
			"into no product":             {"none", plan.Copy{Product: "demo"}, albs.NotFound, ""},
			"of a package that isn't":     {"stable", plan.Copy{Product: "demo", Packages: []string{"tool", "other"}}, albs.NotFound, `no package "other"`},
			"of a word that is none":      {"stable", plan.Copy{Product: "demo", Packages: []string{"a b"}}, albs.Invalid, "names no package"},
			"of a serial that wasn't":     {"stable", plan.Copy{Product: "demo", Serial: 9}, albs.NotFound, ""},
			"of a serial that can't be":   {"stable", plan.Copy{Product: "demo", Serial: -1}, albs.Invalid, "begin with 1"},
			"of more than can be counted": {"stable", plan.Copy{Product: "demo", Packages: make([]string, maxCopied+1)}, albs.TooLarge, ""},
		} {
			_, err = f.Copy(f.planner, tt.into, tt.copy)
			f.wantKind("Copy "+what, err, tt.kind, tt.part)
		}
		_, err = f.Copy(f.stranger, "stable", plan.Copy{Product: "demo"})
		f.wantKind("Copy by a stranger", err, albs.Forbidden, "")

		// By the name of a source package, with what belongs to it, in its newest version.
		r, err := f.Copy(f.planner, "stable", plan.Copy{Product: "demo", Packages: []string{"hello-doc", "hello"}})
		f.must(err)
		got := added(r.Plan)
		demo, err := f.Get(t.Context(), 2)
		f.must(err)
		want := map[string]albs.Digest{}
		for file, d := range added(demo.Plan) {
			if path, name, _ := strings.Cut(file, " "); strings.HasPrefix(name, "hello") && path != demoSource && path != demoWeak {
				want["stable/os "+name] = d
			}
		}
		if diff := cmp.Diff(want, got); diff != "" || len(want) != 3 {
			t.Errorf("the copy adds (-want +got):\n%s", diff)
		}
		old := "it is older than hello%s-1.0-2.%s"
		wantLeft := []string{
			"hello-1.0-1.src: " + fmt.Sprintf(old, "", "src"), "hello-1.0-1.x86_64: " + fmt.Sprintf(old, "", "x86_64"),
			"hello-1.0-2.src: product stable has no source repository of platform el for src",
			"hello-debuginfo-1.0-1.x86_64: " + fmt.Sprintf(old, "-debuginfo", "x86_64"), "hello-doc-1.0-1.noarch: " + fmt.Sprintf(old, "-doc", "noarch"),
			"hello-doc-1.0-1.noarch: " + fmt.Sprintf(old, "-doc", "noarch"), // in the repositories of two arches
		}
		if diff := cmp.Diff(wantLeft, left(r.Plan)); diff != "" {
			t.Errorf("left out (-want +got):\n%s", diff)
		}
		if len(r.Plan.Refusals) > 0 || r.Plan.Copy == nil || r.Plan.Copy.Serial != 2 || r.Plan.Repositories[0].Packages[0].Build != second {
			t.Fatalf("the plan of the copy is %+v", r.Plan)
		}

		// The product copied from goes on, and the plan stays what it was.
		f.release(f.signedBuild(rpmbuild(t, "3", "three")))
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		r = f.ended(r.ID, Completed)
		if diff := cmp.Diff(map[string][]string{"stable/os": {"hello-1.0-2.x86_64.rpm", "hello-debuginfo-1.0-2.x86_64.rpm", "hello-doc-1.0-2.noarch.rpm"}}, f.shownBy("stable", 1), anyOrder); diff != "" {
			t.Errorf("stable shows (-want +got):\n%s", diff)
		}
		sts, err := f.provenance.Stated(t.Context(), got["stable/os hello-1.0-2.x86_64.rpm"], attest.Release)
		f.must(err)
		var body attest.ReleaseBody
		f.must(sts[len(sts)-1].Body(&body))
		if len(sts) != 2 || body.Product != "stable" {
			t.Errorf("%d releases are stated of the copied package, the last into %q; want its own and the copy's", len(sts), body.Product)
		}

		// All of it: what is there already stays, what is older there is left.
		r, err = f.Copy(f.planner, "stable", plan.Copy{Product: "demo", Serial: 1})
		f.must(err)
		if len(r.Plan.Refusals) != 1 || !strings.Contains(r.Plan.Refusals[0].Reason, "nothing to release") || !strings.Contains(strings.Join(left(r.Plan), "\n"), "stable/os has the newer hello-1.0-2.x86_64") {
			t.Errorf("a copy of what is older is refused with %v and leaves %q", r.Plan.Refusals, left(r.Plan))
		}

		// Another key: the copies that it has signed are released, once there are some.
		f.makeKey("third key", pgp.Ed25519, "third")
		r, err = f.Copy(f.planner, "third", plan.Copy{Product: "stable"})
		f.must(err)
		if len(r.Plan.Refusals) != 3 || !strings.Contains(r.Plan.Refusals[0].Reason, fmt.Sprintf("have build %d signed with that first (albs sign %d --key \"third key\")", second, second)) {
			t.Fatalf("the copy into a product of another key is refused with %v", r.Plan.Refusals)
		}
		f.signBuild(second, "third key")
		r, err = f.Replan(f.planner, r.ID)
		f.must(err)
		if len(r.Plan.Refusals) > 0 || len(added(r.Plan)) != 3 || !strings.Contains(strings.Join(r.Plan.Notes, "\n"), "3 packages that product stable has signed with key") {
			t.Fatalf("after they were signed the plan is %+v", r.Plan)
		}
		for file, d := range added(r.Plan) {
			if d == got[file] {
				t.Errorf("%s is released as the other product's key has signed it", file)
			}
		}
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
		f.shownBy("third", 1)
	})
}
