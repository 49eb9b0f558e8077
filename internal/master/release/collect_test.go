package release

import (
	"context"
	"io"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/gc"
	"albs/internal/master/retention"
	"albs/internal/repodata"
)

// retention is a master's.
func (f *fixture) retention() *retention.Retention {
	return retention.New(retention.Parts{DB: f.d, Queue: f.queue, Products: f.products, Repos: f.repos, Releases: f.Releases})
}

type noMirrors struct{}

func (noMirrors) Clean(context.Context, time.Time, bool) (int, error) { return 0, nil }

// TestCollected releases, deletes and collects in turn: what was released can be read,
// rolled back to and released upon, and what was stated of the rest stays.
func TestCollected(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		g, err := gc.New(gc.Parts{DB: d, Artifacts: f.artifacts, Retention: f.retention(), Builds: f.builds, Logs: f.queue, Mirrors: noMirrors{}, Log: f.log}, gc.Config{})
		f.must(err)
		system := auth.System(t.Context(), "retention")
		now := time.Now()
		// collect lets three times of grace go by, and sees I4.
		collect := func() (removed int) {
			t.Helper()
			for range 3 {
				now = now.Add(8 * 24 * time.Hour)
				dry := g.Collect(system, true, now)
				r := g.Collect(system, false, now)
				if r.Error != "" || len(r.Builds) != 0 || r.Blobs.Removed != dry.Blobs.Removed || r.Blobs.RemovedBytes != dry.Blobs.RemovedBytes {
					t.Fatalf("a collection did %+v, a dry run before it told %+v", r, dry)
				}
				removed += r.Blobs.Removed
			}
			f.must(f.artifacts.Reach(t.Context(), now, func(d albs.Digest) error {
				r, err := f.artifacts.Blobs().Open(t.Context(), d)
				if err != nil {
					return err
				}
				defer r.Close()
				_, err = io.Copy(io.Discard, r) // which checks the bytes
				return err
			}))
			return removed
		}
		// give has the next release show comps, and returns the files that these are.
		give := func(id string) (files []albs.Digest) {
			t.Helper()
			given, err := f.records.Set(f.planner, "demo", demoOS, map[string]io.Reader{
				"group": strings.NewReader("<comps><group><id>" + id + "</id></group></comps>"),
			})
			f.must(err)
			for _, r := range given[0].Files {
				files = append(files, r.Digest)
			}
			return files
		}
		unused := give("unused")
		shown := give("shown") // in place of it
		collect()
		for _, d := range unused {
			_, err := f.artifacts.Find(t.Context(), d)
			f.wantKind("a record that was replaced before it was released", err, albs.NotFound, "")
		}
		first := f.signedBuild(rpmbuild(t, "1", "one"))
		f.release(first)
		f.must(f.records.Remove(f.planner, "demo", demoOS, "group"))
		gone := f.addBuild(rpmbuildOf(t, "other", "1", "gone"))
		packages, err := f.builds.Packages(t.Context(), gone)
		f.must(err)
		collect()
		if _, err := f.artifacts.Find(t.Context(), packages[0].Digest); err != nil {
			t.Errorf("a file of a build that is there is %v", err)
		}

		f.must(f.builds.Delete(system, gone))
		if n := collect(); n < len(packages) {
			t.Errorf("%d blobs of a deleted build were removed, it had %d packages", n, len(packages))
		}
		for _, p := range packages {
			_, err := f.artifacts.Find(t.Context(), p.Digest)
			f.wantKind("a package of a deleted build", err, albs.NotFound, "")
			stated, err := f.provenance.Stated(t.Context(), p.Digest, "build")
			if err != nil || len(stated) != 1 {
				t.Errorf("of a package that was removed there are %d statements, %v", len(stated), err)
			}
		}
		f.shown(1)

		for _, d := range shown {
			if _, err := f.artifacts.Find(t.Context(), d); err != nil {
				t.Errorf("a record that is shown, though given no more, is %v", err)
			}
		}

		// All of it goes on: the next release, and back to what was before collections.
		f.release(f.signedBuild(rpmbuild(t, "2", "two")))
		collect()
		back, err := f.Rollback(f.planner, "demo", 1)
		f.must(err)
		f.ended(back.ID, Completed)
		collect()
		if os := f.shown(3)[demoOS]; len(os) != 2 || !strings.Contains(strings.Join(os, " "), "hello-1.0-1.x86_64") {
			t.Errorf("after a rollback %v is shown", os)
		}
		md, err := repodata.ParseRepomd(strings.NewReader(f.repodata()[demoOS+"/repodata/repomd.xml"]))
		f.must(err)
		if len(md.Data) != 3+len(shown) {
			t.Errorf("after a rollback the metadata is %+v, want the records of then too", md.Data)
		}
		// The same bytes come again: what was removed is simply there.
		again := f.signedBuild(rpmbuildOf(t, "other", "1", "gone"))
		f.release(again)
		collect()
		if a, err := f.artifacts.Find(t.Context(), packages[0].Digest); err != nil || a.Kind != artifact.RPM && a.Kind != artifact.SRPM {
			t.Errorf("a package that came again is %+v, %v", a, err)
		}
	})
}
