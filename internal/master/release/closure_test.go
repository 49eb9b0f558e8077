package release

import (
	"context"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/release/closure"
	"albs/internal/pgp"
	"albs/internal/rpm/rpmtest"
)

// outside is a world in which every mirror provides base.
type outside struct{}

const outsidePrimary = `<metadata><package type="rpm"><name>base</name><arch>noarch</arch><version epoch="0" ver="1" rel="1"/><checksum type="sha256">` +
	`e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum><location href="base.rpm"/><format><rpm:provides><rpm:entry name="base"/></rpm:provides>` +
	`<file>/bin/sh</file></format></package></metadata>`

func (outside) CheckURL(string) error { return nil }

func (outside) Get(_ context.Context, url string, _ int64) (io.ReadCloser, int64, error) {
	b := outsidePrimary
	if strings.HasSuffix(url, "/repomd.xml") {
		b = `<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary"><checksum type="sha256">` +
			string(albs.DigestOf([]byte(b))) + `</checksum><location href="repodata/primary.xml"/></data></repomd>`
	}
	return io.NopCloser(strings.NewReader(b)), int64(len(b)), nil
}

// small has rpmbuild make a noarch package with some lines more in its head.
func small(t *testing.T, name, release string, lines ...string) made {
	t.Helper()
	m, err := rpmtest.Build("Name: " + name + "\nVersion: 1.0\nRelease: " + release + "\nSummary: Small\nLicense: MIT\nBuildArch: noarch\n" +
		strings.Join(lines, "\n") + "\n%description\nSmall.\n%files\n")
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// TestClosure: a plan tells what a release would leave unresolved, and is refused for it
// where the product wants that.
func TestClosure(t *testing.T) {
	t.Parallel()
	f := setupWith(t, dbtest.Open(t, dbtest.SQLite(t)), outside{})
	f.startSigner()
	f.startReleaser()
	f.makeKey("demo key", pgp.Ed25519)
	app := f.signedBuild(small(t, "app", "1", "Requires: base", "Requires: libthing >= 1", "Requires: /bin/sh"))
	lib := f.signedBuild(small(t, "lib", "1", "Provides: libthing = 1.5"))
	newer := f.signedBuild(small(t, "lib", "2"))

	r, err := f.Plan(f.planner, "demo", []albs.BuildID{app})
	f.must(err)
	if c := r.Plan.Closure; c == nil || len(c.Broken) > 0 || len(c.Unread) != 2 || !strings.Contains(c.Unread[0], "https://mirror.example/os of platform el for i686 was never read") {
		t.Fatalf("before the mirror was read the closure is %+v", c)
	}
	_, err = f.references.Refresh(f.admin, "el")
	f.must(err)
	r, err = f.Replan(f.planner, r.ID)
	f.must(err)
	lacks := func(path string) closure.Broken {
		return closure.Broken{Repository: path, Package: "app-1.0-1.noarch", Needs: []string{"libthing >= 1"}}
	}
	if c := r.Plan.Closure; len(r.Plan.Refusals) > 0 || len(c.Unread) > 0 || cmp.Diff([]closure.Broken{lacks(demoWeak), lacks(demoOS)}, c.Broken) != "" {
		t.Fatalf("the closure is %+v, refusals %v", r.Plan.Closure, r.Plan.Refusals)
	}

	// What is shown may be published; what is required may not.
	spec := demoSpec()
	spec.Closure = product.Closed
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	r, err = f.Approve(f.approver, r.ID, r.Digest, "")
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish of what lacks something", err, albs.Conflict, "nothing would provide what it needs in "+demoWeak+": libthing >= 1")
	r, err = f.Replan(f.planner, r.ID)
	f.must(err)
	_, err = f.Approve(f.approver, r.ID, r.Digest, "")
	f.wantKind("Approve of what lacks something", err, albs.Conflict, "its plan is refused: app-1.0-1.noarch")
	both := f.release(app, lib)
	if c := both.Plan.Closure; c == nil || len(c.Broken)+len(c.Unread) > 0 || len(c.Repositories) < 2 {
		t.Errorf("together the closure is %+v", c)
	}

	// An update that takes away what a shown package needs.
	r, err = f.Plan(f.planner, "demo", []albs.BuildID{newer})
	f.must(err)
	if len(r.Plan.Refusals) != 2 || !strings.Contains(r.Plan.Refusals[0].String(), "app-1.0-1.noarch: it is shown in "+demoWeak+" and would lose what it needs: libthing >= 1") {
		t.Errorf("the update is refused with %v", r.Plan.Refusals)
	}
	spec.Closure = ""
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	published := f.release(newer)
	if c := published.Plan.Closure; c == nil || len(c.Broken) != 2 || !c.Broken[0].Shown {
		t.Errorf("where it is advisory the published plan tells %+v", c)
	}
	spec.Closure = product.Unchecked
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	r, err = f.Plan(f.planner, "demo", []albs.BuildID{newer})
	f.must(err)
	if c := r.Plan.Closure; len(c.Broken) > 0 || len(c.Repositories) > 0 {
		t.Errorf("where it is off the plan tells %+v", c)
	}

	// A package of a module goes with its stream.
	modular := f.signedBuild(small(t, "node", "1", "ModularityLabel: node:18:1:abcd"))
	r, err = f.Plan(f.planner, "demo", []albs.BuildID{modular})
	f.must(err)
	if len(r.Plan.Refusals) != 2 || !strings.Contains(r.Plan.Refusals[0].Reason, "it is of the module node:18, and the modules of "+demoWeak+" don't have that stream") {
		t.Fatalf("without its stream it is refused with %v", r.Plan.Refusals)
	}
	for _, path := range []string{demoOS, demoWeak} {
		_, err = f.records.Set(f.planner, "demo", path, map[string]io.Reader{"modules": strings.NewReader(
			"---\ndocument: modulemd\nversion: 2\ndata:\n  name: node\n  stream: 18\n  version: 1\n  context: abcd\n  artifacts:\n    rpms:\n    - node-0:1.0-1.noarch\n")})
		f.must(err)
	}
	was := r.Digest
	r, err = f.Replan(f.planner, r.ID)
	f.must(err)
	if m := r.Plan.Repositories[0].Modules; len(r.Plan.Refusals) > 0 || r.Digest == was || len(m) != 1 || m[0].Stream != "18" || m[0].Packages != 1 || m[0].Action != "add" {
		t.Errorf("with its stream: %v, modules %+v", r.Plan.Refusals, m)
	}
}
