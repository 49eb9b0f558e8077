package gather

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/release/closure"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// outside is a world in which the one mirror provides libc.
type outside struct{}

const primary = `<metadata><package type="rpm"><name>libc</name><arch>x86_64</arch><version epoch="0" ver="2.34" rel="1"/><checksum type="sha256">` +
	`e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum><location href="libc.rpm"/><format><rpm:provides><rpm:entry name="libc.so.6"/></rpm:provides></format></package></metadata>`

func (outside) CheckURL(string) error { return nil }

func (outside) Get(_ context.Context, url string, _ int64) (io.ReadCloser, int64, error) {
	b := primary
	if strings.HasSuffix(url, "/repomd.xml") {
		b = `<repomd><data type="primary"><checksum type="sha256">` + string(albs.DigestOf([]byte(b))) + `</checksum><location href="repodata/primary.xml"/></data></repomd>`
	}
	return io.NopCloser(strings.NewReader(b)), int64(len(b)), nil
}

// large is a product that shows n packages of the size of real ones in one repository, of
// which every tenth requires lib.so.1, and a plan that adds an update of lib without it and
// a package that requires what isn't there.
func large(t testing.TB, d *db.DB, n int) (*Gatherer, plan.Facts, plan.Plan) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	m := mastertest.Open(t, d, mastertest.Config{Outside: outside{}, Log: zerolog.Nop()})
	ctx := auth.System(t.Context(), "test")
	_, err := m.Platforms.Apply(ctx, mastertest.Platform("el", albs.X8664))
	must(err)
	_, err = m.References.Refresh(ctx, "el")
	must(err)
	g := New(Parts{DB: d, Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, References: m.References, Records: m.Records, Repos: m.Repos})

	var shown []repodata.Package
	for i := range n {
		e := rpm.NEVRA{Name: fmt.Sprintf("pkg%05d", i), Version: "1", Release: "1", Arch: "x86_64"}
		h := &rpm.Package{NEVRA: e, Summary: "A package", License: "MIT"}
		for k := range 20 {
			if i == 0 {
				break // lib alone is taken away
			}
			h.Requires = append(h.Requires, rpm.Dependency{Name: fmt.Sprintf("cap%d(%d)", 1+(i+k*k)%(n-1), k)}, rpm.Dependency{Name: "libc.so.6"})
			h.Provides = append(h.Provides, rpm.Dependency{Name: fmt.Sprintf("cap%d(%d)", i, k), Flags: rpm.Equal, EVR: e.EVR()})
		}
		if i%10 == 1 {
			h.Requires = append(h.Requires, rpm.Dependency{Name: "lib.so.1"})
		}
		if i == 0 {
			h.Name = "lib"
			h.Provides = append(h.Provides, rpm.Dependency{Name: "lib.so.1"})
		}
		shown = append(shown, repodata.Package{RPM: h, Digest: albs.DigestOf([]byte(h.Name)), Size: 1, Path: "Packages/" + h.Filename(), Time: 1})
	}
	s, err := repodata.Extend(ctx, m.Repos.Blobs(), nil, repodata.Change{Add: shown}, 1)
	must(err)

	spec := product.Spec{Name: "demo", Team: "core", Platforms: []string{"el"}, Repositories: []product.Repository{{Path: "os", Platform: "el", Arch: albs.X8664, Kind: product.RPM}}}
	f := plan.Facts{Product: product.Product{Spec: spec}, Shown: map[string]plan.Shown{"os": {Snapshot: s.Digest(), Count: s.Len(), Records: s.Records()}}}
	p := plan.Plan{Product: "demo", Repositories: []plan.Repository{{Path: "os", Platform: "el", Arch: albs.X8664, Kind: product.RPM}}}
	for _, text := range []string{"Name: lib\nVersion: 2\nProvides: lib.so.2\n", "Name: new\nVersion: 1\nRequires: lib.so.2 cap1(1) libc.so.6 none\n"} {
		files, err := rpmtest.Build(text+"Release: 1\nSummary: Small\nLicense: MIT\n%description\nSmall.\n%files\n", "--target", "x86_64")
		must(err)
		for name, b := range files {
			if strings.HasSuffix(name, ".src.rpm") {
				continue
			}
			a, err := m.Artifacts.Save(ctx, bytes.NewReader(b), 1<<20, name, artifact.RPM)
			must(err)
			must(d.InTx(ctx, func(tx db.Tx) error { return m.Artifacts.Add(ctx, tx, a) }))
			p.Repositories[0].Packages = append(p.Repositories[0].Packages, plan.Change{Action: plan.Add, NEVRA: a.NEVRA.String(), File: name, Digest: a.Digest})
		}
	}
	return g, f, p
}

func TestClosure(t *testing.T) {
	t.Parallel()
	g, f, p := large(t, dbtest.Open(t, dbtest.SQLite(t)), 30)
	got, err := g.Closure(t.Context(), f, p)
	if err != nil {
		t.Fatal(err)
	}
	lost := []string{"lib.so.1"}
	want := plan.Closure{Policy: product.Advised, Repositories: []string{"os"}, Broken: []closure.Broken{
		{Repository: "os", Package: "new-1-1.x86_64", Needs: []string{"none"}},
		{Repository: "os", Package: "pkg00001-1-1.x86_64", Needs: lost, Shown: true}, {Repository: "os", Package: "pkg00011-1-1.x86_64", Needs: lost, Shown: true},
		{Repository: "os", Package: "pkg00021-1-1.x86_64", Needs: lost, Shown: true},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("closure (-want +got):\n%s", diff)
	}
}

// BenchmarkClosure5000: a release of two packages into a repository of 5,000.
func BenchmarkClosure5000(b *testing.B) {
	g, f, p := large(b, dbtest.Open(b, dbtest.SQLite(b)), 5000)
	for b.Loop() {
		if c, err := g.Closure(b.Context(), f, p); err != nil || len(c.Broken) < 500 {
			b.Fatalf("%d broken, %v", len(c.Broken), err)
		}
	}
}
