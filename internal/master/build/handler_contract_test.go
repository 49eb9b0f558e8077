package build

import (
	"bytes"
	"path/filepath"
	"testing"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/queue"
	"albs/internal/master/queue/queuetest"
)

func TestHandlerContract(t *testing.T) {
	if testing.Short() {
		t.Skip("it compiles packages: not with -short")
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
			DB: f.db, Queue: f.queue, Worker: f.node, Lease: *l, Foreign: []albs.Digest{held},
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
				"foreign facts":     {Source: &albs.SourceResult{SRPM: up(srpm), Record: record, Facts: []albs.SpecFacts{{Arch: albs.S390X}}}},
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

// TestGraphContract asks the same of what the master does itself to find an order, and of
// a source task that only asks.
func TestGraphContract(t *testing.T) {
	t.Parallel()
	f := idle(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.given(NewBuild{}, "top", "low")
	f.sources(1, map[string][]string{"top": {"low"}})
	l := f.claim()
	record := f.upload(l, "buildroot.json", []byte("{}"))
	t.Run("asking", func(t *testing.T) {
		queuetest.Run(t, queuetest.Case{
			DB: f.db, Queue: f.queue, Worker: f.node, Lease: *l, Handler: sourceHandler{f.Builds},
			Good: albs.Result{Source: &albs.SourceResult{Record: record, Facts: says("low", []albs.Arch{albs.X8664})}},
			Garbage: map[string]albs.Result{
				"no record":     {Source: &albs.SourceResult{}},
				"foreign facts": {Source: &albs.SourceResult{Record: record, Facts: says("low", []albs.Arch{albs.S390X})}},
				"an SRPM":       {Source: &albs.SourceResult{Record: record, SRPM: record}},
			},
		})
	})
	me := auth.With(t.Context(), f.me)
	l, err := f.queue.Claim(me, queue.Offer{Version: "test", Labels: []string{"kind:graph"}, Wait: 20})
	if err != nil || l == nil {
		t.Fatalf("Claim = %+v, %v", l, err)
	}
	t.Run("graph", func(t *testing.T) {
		queuetest.Run(t, queuetest.Case{
			DB: f.db, Queue: f.queue, Worker: me, Lease: *l, Handler: graphHandler{ownHandler{f.Builds}}, Good: albs.Result{Graph: &albs.GraphResult{Nodes: 2, Edges: 1}},
			Garbage: map[string]albs.Result{"another kind's": {Import: &albs.ImportResult{}}},
		})
	})
}
