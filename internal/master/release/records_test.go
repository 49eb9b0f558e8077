package release

import (
	"io"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/repodata"
)

// TestCompressionOnly: a product's word for another compression is a release of its own,
// approved as any other is, and gone with a rollback.
func TestCompressionOnly(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		_, err := f.records.Set(f.planner, "demo", demoOS, map[string]io.Reader{"group": strings.NewReader("<comps><group><id>one</id></group></comps>")})
		f.must(err)
		f.release()
		// primaries are the files of packages that the public place shows.
		primaries := func() (gz, zst int) {
			t.Helper()
			for name, text := range f.repodata() {
				if !strings.HasSuffix(name, "/repomd.xml") {
					continue
				}
				md, err := repodata.ParseRepomd(strings.NewReader(text))
				f.must(err)
				p, _ := md.Find("primary")
				gz += strings.Count(p.Path, "primary.xml.gz")
				zst += strings.Count(p.Path, "primary.xml.zst")
			}
			return gz, zst
		}
		if gz, zst := primaries(); gz != 4 || zst != 0 {
			t.Errorf("%d primaries by gzip and %d by zstd are shown first", gz, zst)
		}
		spec := demoSpec()
		spec.Metadata = repodata.Zstd
		_, err = f.products.Apply(f.admin, spec)
		f.must(err)
		f.release()
		if gz, zst := primaries(); gz != 0 || zst != 4 {
			t.Errorf("%d primaries by gzip and %d by zstd are shown, want all by zstd", gz, zst)
		}
		_, err = f.Plan(f.planner, "demo", nil)
		f.wantKind("a plan of what is shown", err, albs.Invalid, "no record")
		back, err := f.Rollback(f.planner, "demo", 1)
		f.must(err)
		back = f.ended(back.ID, Completed)
		if gz, zst := primaries(); gz != 4 || zst != 0 || !back.Plan.ChangesMetadata() {
			t.Errorf("rolled back, %d primaries are by gzip and %d by zstd, and the plan tells of it: %v", gz, zst, back.Plan.ChangesMetadata())
		}
	})
}

// TestRecordsOnly: what a repository is given is a release of its own, approved as any
// other is, shown with its metadata, and gone with a rollback.
func TestRecordsOnly(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		_, err := f.Plan(f.planner, "demo", nil)
		f.wantKind("a plan of nothing", err, albs.Invalid, "no record")

		give := func(text string) {
			t.Helper()
			_, err := f.records.Set(f.planner, "demo", demoOS, map[string]io.Reader{"group": strings.NewReader(text)})
			f.must(err)
		}
		// types are the records that the public place shows.
		types := func() string {
			t.Helper()
			md, err := repodata.ParseRepomd(strings.NewReader(f.repodata()[demoOS+"/repodata/repomd.xml"]))
			f.must(err)
			var out []string
			for _, data := range md.Data[3:] {
				out = append(out, data.Type)
			}
			return strings.Join(out, " ")
		}
		const one, two = "<comps><group><id>one</id></group></comps>", "<comps><group><id>two</id></group></comps>"
		give(one)
		r := f.approved()
		give(two)
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("publish what was not approved", err, albs.Conflict, "has changed")
		r, err = f.Get(t.Context(), r.ID)
		f.must(err)
		if len(r.Approvals) > 0 {
			t.Errorf("approvals of another record count: %+v", r.Approvals)
		}
		r, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.must(err)
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		f.ended(r.ID, Completed)
		f.shown(1)
		if got := types(); got != "group group_gz" {
			t.Errorf("the public place shows the records %q", got)
		}
		var found bool
		for name, text := range f.repodata() {
			found = found || strings.HasSuffix(name, "-comps.xml") && text == two
		}
		if !found {
			t.Error("the public place hasn't the file that was given")
		}
		_, err = f.Plan(f.planner, "demo", nil)
		f.wantKind("a plan of what is shown", err, albs.Invalid, "no record")

		f.must(f.records.Remove(f.planner, "demo", demoOS, "group"))
		f.release()
		if got := types(); got != "" {
			t.Errorf("the records %q are shown though they were taken away", got)
		}
		back, err := f.Rollback(f.planner, "demo", 1)
		f.must(err)
		back = f.ended(back.ID, Completed)
		if got := types(); got != "group group_gz" || !back.Plan.ChangesMetadata() {
			t.Errorf("rolled back, the records %q are shown, and the plan tells of them: %v", got, back.Plan.ChangesMetadata())
		}
	})
}
