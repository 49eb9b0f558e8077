package build

import (
	"bytes"
	"path/filepath"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue/queuetest"
)

func TestHandlerContract(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles packages")
	}
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.forge.AddRepo("foo", map[string]string{"SPECS/foo.spec": spec}, "imports/foo")
	f.create(NewBuild{Packages: []Package{{URL: f.forge.URL("foo"), Ref: "imports/foo"}}})
	srpm, rpm := rpms(t, "foo")
	barSRPM, barRPM := rpms(t, "bar")
	held := albs.DigestOf([]byte("held for another"))
	if _, err := f.artifacts.Blobs().Put(t.Context(), held, bytes.NewReader([]byte("held for another"))); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"source", "rebuild"} {
		l := f.claim()
		sent := make(map[string]albs.File)
		up := func(name string) albs.File {
			if _, ok := sent[name]; !ok {
				sent[name] = f.upload(l, filepath.Base(name), read(t, name))
			}
			return sent[name]
		}
		record := f.upload(l, "buildroot.json", []byte(`{"of":"`+kind+`"}`))
		c := queuetest.Case{
			DB: f.store.d, Queue: f.queue, Worker: f.node, Lease: *l, Foreign: []albs.Digest{held},
			// The build's own repository is made before its first snapshot.
			Unseen: []string{"repository"},
		}
		switch kind {
		case "source":
			c.Handler = sourceHandler{f.Builds}
			c.Good = albs.Result{Source: &albs.SourceResult{SRPM: up(srpm), Record: record}}
			c.Garbage = map[string]albs.Result{
				"another package's": {Source: &albs.SourceResult{SRPM: up(barSRPM), Record: record}},
				"no record":         {Source: &albs.SourceResult{SRPM: up(srpm)}},
				"a binary package":  {Source: &albs.SourceResult{SRPM: up(rpm), Record: record}},
				"another kind's":    {Build: &albs.BuildResult{Record: record}},
			}
		default:
			c.Handler = buildHandler{f.Builds}
			c.Excludes = true
			c.Good = albs.Result{Build: &albs.BuildResult{Packages: []albs.File{up(rpm)}, Record: record}}
			c.Garbage = map[string]albs.Result{
				"no package":        {Build: &albs.BuildResult{Record: record}},
				"another package's": {Build: &albs.BuildResult{Packages: []albs.File{up(barRPM)}, Record: record}},
				"a package twice":   {Build: &albs.BuildResult{Packages: []albs.File{up(rpm), up(rpm)}, Record: record}},
				"no record":         {Build: &albs.BuildResult{Packages: []albs.File{up(rpm)}}},
				"an SRPM":           {Build: &albs.BuildResult{Packages: []albs.File{up(srpm)}, Record: record}},
				"another kind's":    {Source: &albs.SourceResult{SRPM: up(srpm), Record: record}},
			}
		}
		t.Run(kind, func(t *testing.T) { queuetest.Run(t, c) })
	}
}
