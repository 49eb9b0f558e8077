package rebuild

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/queue"
	"albs/internal/master/queue/queuetest"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
	"albs/internal/worker"
)

// made are the packages of one source package as two hosts build them, by the word in the
// file that they install, and the source package.
type made struct {
	srpm []byte
	rpms map[string]map[string][]byte // by word, then by name
}

// packages builds with the real tool, once for all tests.
var packages = sync.OnceValues(func() (made, error) {
	m := made{rpms: map[string]map[string][]byte{}}
	for _, b := range []struct{ name, host, word string }{{"first", "east", "same"}, {"again", "west", "same"}, {"other", "west", "other"}} {
		files, err := rpmtest.Build(fmt.Sprintf(`%%global _buildhost %[1]s
%%global source_date_epoch_from_changelog 1
%%global use_source_date_epoch_as_buildtime 1
%%global clamp_mtime_to_source_date_epoch 1
Name: hello
Version: 1
Release: 1
Summary: hello
License: MIT
%%description
hello
%%package data
Summary: data
%%description data
data
%%install
mkdir -p %%{buildroot}/usr/share/hello
echo %[2]s > %%{buildroot}/usr/share/hello/word
echo data > %%{buildroot}/usr/share/hello/data
%%files
/usr/share/hello/word
%%files data
/usr/share/hello/data
%%changelog
* Mon Jan 01 2024 A <a@example.org> - 1-1
- x
`, b.host, b.word), "--target", "x86_64")
		if err != nil {
			return m, err
		}
		m.rpms[b.name] = map[string][]byte{}
		for name, content := range files {
			switch {
			case !strings.HasSuffix(name, ".src.rpm"):
				m.rpms[b.name][name] = content
			case m.srpm == nil:
				m.srpm = content
			}
		}
	}
	return m, nil
})

const (
	hello = "hello-1-1.x86_64.rpm"
	data  = "hello-data-1-1.x86_64.rpm"
	srpm  = "hello-1-1.src.rpm"
)

// fixture is a master with a build of a package by the node east.
type fixture struct {
	*Rebuilds
	t       *testing.T
	made    made
	alice   context.Context
	workers map[string]context.Context
	build   albs.BuildID
	task    albs.TaskID
	record  albs.Digest
}

func record(version string) []byte {
	b, err := json.Marshal(root(pkg("bash", "5"), pkg("gcc", version)))
	if err != nil {
		panic(err)
	}
	return b
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func setup(t *testing.T, d *db.DB) *fixture {
	t.Helper()
	m, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	must(t, err)
	mods := mastertest.Open(t, d, mastertest.Config{Queue: queue.Config{Backoff: time.Millisecond}})
	builds := build.New(build.Parts{
		DB: d, Events: mods.Events, Queue: mods.Queue, Artifacts: mods.Artifacts, Provenance: mods.Provenance,
		Platforms: mods.Platforms, Products: mods.Products, Repos: mods.Repos, Log: zerolog.Nop(),
	}, build.Config{})
	f := &fixture{t: t, made: m, workers: map[string]context.Context{}, Rebuilds: New(Parts{
		DB: d, Events: mods.Events, Queue: mods.Queue, Artifacts: mods.Artifacts, Provenance: mods.Provenance, Repos: mods.Repos, Builds: builds, Log: zerolog.Nop(),
	})}
	system := auth.System(t.Context(), "test")
	_, err = mods.Platforms.Apply(system, mastertest.Platform("el9", albs.X8664))
	must(t, err)
	u, err := mods.Auth.CreateUser(system, "alice")
	must(t, err)
	f.alice = auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: u.ID, Name: "alice", Grants: []auth.Grant{{Role: auth.Contributor, Team: "core"}}})
	for _, name := range []string{"east", "west"} {
		w, err := mods.Auth.LocalWorker(system, auth.NewWorker{Name: name, Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}})
		must(t, err)
		f.workers[name] = auth.With(t.Context(), w)
	}
	me, err := mods.Auth.LocalWorker(system, auth.NewWorker{Name: "master", Role: albs.RoleMaster})
	must(t, err)
	mastertest.Run(t, mods.Queue.Run, mods.Events.Run, func(ctx context.Context) error { return builds.Run(ctx, me) })

	a, err := mods.Artifacts.Save(t.Context(), bytes.NewReader(m.srpm), 1<<20, srpm, artifact.SRPM)
	must(t, err)
	must(t, d.InTx(t.Context(), func(tx db.Tx) error { return mods.Artifacts.Add(t.Context(), tx, a) }))
	b, err := builds.Create(f.alice, build.NewBuild{Platforms: []build.Target{{Platform: "el9"}}, Packages: []build.Package{{SRPM: a.Digest}}, Order: build.Independent})
	must(t, err)
	f.build = b.ID
	for f.task == 0 {
		l := f.claim("east", albs.KindSource, albs.KindBuild)
		if l.Spec.Source != nil {
			f.complete("east", l, albs.Result{Source: &albs.SourceResult{Record: f.upload("east", l, "buildroot.json", []byte("{}"))}})
			continue
		}
		f.task, f.record = l.Token.Task, albs.DigestOf(record("1"))
		f.complete("east", l, albs.Result{Build: f.result("east", l, "first", record("1"))})
	}
	return f
}

func (f *fixture) claim(node string, kinds ...albs.TaskKind) *worker.Lease {
	f.t.Helper()
	o := worker.Offer{Version: "test", Labels: []string{"arch:x86_64"}, Wait: 25}
	for _, k := range kinds {
		o.Labels = append(o.Labels, "kind:"+string(k))
	}
	l, err := f.Queue.Claim(f.workers[node], o)
	if err != nil || l == nil {
		f.t.Fatalf("Claim of %s = %v, %v", node, l, err)
	}
	return l
}

// none wants that a node gets no rebuild.
func (f *fixture) none(node string) {
	f.t.Helper()
	l, err := f.Queue.Claim(f.workers[node], worker.Offer{Version: "test", Labels: []string{"arch:x86_64", "kind:rebuild"}})
	if l != nil || err != nil {
		f.t.Errorf("%s gets %+v, %v; want nothing", node, l, err)
	}
}

func (f *fixture) upload(node string, l *worker.Lease, name string, b []byte) albs.File {
	f.t.Helper()
	file := albs.File{Name: name, Digest: albs.DigestOf(b), Size: int64(len(b))}
	_, err := f.Queue.Put(f.workers[node], l.Token, file.Digest, 0, bytes.NewReader(b))
	must(f.t, err)
	return file
}

// result is what a node reports that built the packages of a kind in a root.
func (f *fixture) result(node string, l *worker.Lease, kind string, record []byte) *albs.BuildResult {
	f.t.Helper()
	r := &albs.BuildResult{Record: f.upload(node, l, "buildroot.json", record)}
	for _, name := range []string{hello, data} {
		r.Packages = append(r.Packages, f.upload(node, l, name, f.made.rpms[kind][name]))
	}
	return r
}

func (f *fixture) complete(node string, l *worker.Lease, r albs.Result) {
	f.t.Helper()
	must(f.t, f.Queue.Complete(f.workers[node], l.Token, albs.OutcomeOK, r))
}

func (f *fixture) create(r Request) Rebuild {
	f.t.Helper()
	got, err := f.Create(f.alice, r)
	must(f.t, err)
	return got
}

// digestOf is the package that the build left under a name.
func (f *fixture) digestOf(name string) albs.Digest { return albs.DigestOf(f.made.rpms["first"][name]) }

func each(t *testing.T, run func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { run(t, setup(t, d)) })
}

// verdicts are those of a rebuild's packages by name.
func verdicts(r Rebuild) map[string]string {
	out := map[string]string{}
	for _, p := range r.Packages {
		out[p.Name] = p.Verdict
	}
	return out
}

// TestRebuild: a package is built again on another node, by the spec that the build had,
// and its verdict stated; nothing of what came out is a package.
func TestRebuild(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		mastertest.Run(t, f.Provenance.Run) // the others do with statements on their way
		f.none("west")                      // it is heard of
		r := f.create(Request{Of: string(f.digestOf(hello))})
		if r.Build != f.build || r.Of != f.task || r.BuiltOn != "east" || r.BuiltIn != f.record || r.Ended() || r.Verdict != "" || len(r.Packages) != 2 || !slices.Contains(r.Task.Needs, "worker!=east") {
			t.Errorf("the rebuild is %+v", r)
		}
		if _, err := f.Create(f.alice, Request{Of: "hello-data-1-1.x86_64"}); !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "under way") {
			t.Errorf("a second one at once: %v", err)
		}
		if err := f.Builds.Kept(f.alice, f.build); !errors.Is(err, albs.Conflict) {
			t.Errorf("the build could be deleted under it: %v", err)
		}
		f.none("east")
		l := f.claim("west", albs.KindRebuild)
		first, err := f.Queue.Attempts(t.Context(), f.task)
		must(t, err)
		if diff := cmp.Diff(first[0].Spec, l.Spec); diff != "" || l.Kind != albs.KindRebuild {
			t.Errorf("the spec (-of the build +of the rebuild):\n%s", diff)
		}
		log := f.upload("west", l, "build.log", []byte("building\n"))
		f.complete("west", l, albs.Result{Logs: []albs.File{log}, Build: f.result("west", l, "again", record("1"))})

		got, err := f.Get(t.Context(), r.ID)
		must(t, err)
		want := map[string]string{hello: string(rpm.PayloadIdentical), data: string(rpm.PayloadIdentical)}
		if diff := cmp.Diff(want, verdicts(got)); diff != "" || got.Verdict != string(rpm.PayloadIdentical) || got.Reason != "" || got.Node != "west" || got.Same() || !got.Ended() || got.Record != f.record {
			t.Errorf("it came to %+v (-want +got):\n%s", got, diff)
		}
		if p := got.Packages[0]; !slices.Contains(p.Ignored, "BUILDHOST") || len(p.Differing) > 0 || p.Rebuilt == p.Digest {
			t.Errorf("%s came out as %+v", p.Name, p)
		}
		if len(got.Files) != 2 {
			t.Errorf("it left %+v, want the log and the record", got.Files)
		}
		if a, err := f.Artifacts.Find(t.Context(), got.Packages[0].Rebuilt); !errors.Is(err, albs.NotFound) {
			t.Errorf("what was rebuilt is an artifact: %+v, %v", a, err)
		}
		b, err := f.Builds.Get(t.Context(), f.build)
		must(t, err)
		for _, a := range b.Artifacts {
			if a.Task == r.Task.ID {
				t.Errorf("the rebuild left %s in the build", a.Name)
			}
		}

		// It is stated of both packages, and goes with them.
		f.notarized(f.digestOf(data))
		said, err := f.Provenance.Stated(t.Context(), f.digestOf(data), attest.Rebuild)
		must(t, err)
		var body attest.RebuildBody
		if len(said) != 1 || said[0].Body(&body) != nil {
			t.Fatalf("%d statements", len(said))
		}
		at := body.At
		body.At, body.Builder = time.Time{}, attest.Builder{}
		wantBody := attest.RebuildBody{
			Verdict: string(rpm.PayloadIdentical), Node: "west", BuiltOn: "east", InvocationID: invocation(r.Task.ID, 1), Of: invocation(f.task, 1), Record: f.record, BuiltIn: f.record,
			Rebuilt: albs.DigestOf(f.made.rpms["again"][data]), Ignored: body.Ignored,
		}
		if diff := cmp.Diff(wantBody, body); diff != "" || !at.Equal(got.EndedAt) {
			t.Errorf("it is stated at %v (-want +got):\n%s", at, diff)
		}
		bundle, err := f.Provenance.Bundle(t.Context(), f.digestOf(data))
		must(t, err)
		if !slices.ContainsFunc(bundle.Statements, func(p attest.Proven) bool { return strings.Contains(p.Key, "/"+attest.Rebuild+"/") }) {
			t.Error("the bundle lacks the rebuild")
		}
		evidence, err := f.Provenance.Evidence(t.Context(), 1, []albs.Digest{f.digestOf(data)}, 0)
		must(t, err)
		if slices.ContainsFunc(evidence.Statements, func(p attest.Proven) bool { return strings.Contains(p.Key, "/"+attest.Rebuild+"/") }) {
			t.Error("the signer is bothered with the rebuild")
		}

		// Once more, and then it is listed by what it is about, the newest first.
		again := f.create(Request{Of: "hello-1-1.x86_64", Node: "east"})
		f.none("west")
		l = f.claim("east", albs.KindRebuild)
		f.complete("east", l, albs.Result{Build: f.result("east", l, "first", record("1"))})
		if got, err = f.Get(t.Context(), again.ID); err != nil || got.Verdict != string(rpm.BitIdentical) || !got.Same() {
			t.Errorf("on the node that built it came to %+v, %v", got, err)
		}
		for what, filter := range map[string]Filter{"package": {Package: f.digestOf(data)}, "build": {Build: f.build}, "task": {Task: f.task}, "all": {}} {
			all, err := f.List(t.Context(), filter)
			must(t, err)
			if len(all) != 2 || all[0].ID != again.ID {
				t.Errorf("of the %s there are %+v", what, all)
			}
			for _, r := range all {
				if len(r.Packages)+len(r.Files) > 0 || r.Task.ID == 0 || r.Verdict == "" {
					t.Errorf("the list of the %s has %+v", what, r)
				}
			}
		}
		if one, err := f.ByTask(t.Context(), again.Task.ID); err != nil || cmp.Diff(got, one) != "" {
			t.Errorf("by its task it is %+v, %v", one, err)
		}
		if _, err := f.ByTask(t.Context(), f.task); !errors.Is(err, albs.NotFound) {
			t.Errorf("by a task that built: %v", err)
		}
		if all, err := f.List(t.Context(), Filter{Before: again.ID, Limit: 1}); err != nil || len(all) != 1 || all[0].ID != r.ID {
			t.Errorf("before the second there are %+v, %v", all, err)
		}
		if all, err := f.List(t.Context(), Filter{Package: albs.DigestOf(nil)}); err != nil || len(all) != 0 {
			t.Errorf("about another package there are %+v, %v", all, err)
		}
		if err := f.Builds.Kept(f.alice, f.build); err != nil {
			t.Errorf("the build is kept: %v", err)
		}
	})
}

// notarized waits until the ledger has all that was said of a file.
func (f *fixture) notarized(d albs.Digest) {
	f.t.Helper()
	for end := time.Now().Add(time.Minute); ; time.Sleep(20 * time.Millisecond) {
		ok, err := f.Provenance.Notarized(f.t.Context(), d)
		must(f.t, err)
		if ok {
			return
		}
		if time.Now().After(end) {
			f.t.Fatalf("the ledger hasn't what was said of %s", d.Short())
		}
	}
}

// TestDiffers: a package that comes out otherwise is told with what differs, and kept to
// be looked at for a while, under no name that looks for packages find.
func TestDiffers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.create(Request{Of: string(f.digestOf(data))}) // no other node is known
		if slices.Contains(r.Task.Needs, "worker!=east") {
			t.Errorf("the one node is kept away: %v", r.Task.Needs)
		}
		l := f.claim("east", albs.KindRebuild)
		result := f.result("east", l, "other", record("1"))
		f.complete("east", l, albs.Result{Build: result})
		got, err := f.Get(t.Context(), r.ID)
		must(t, err)
		want := map[string]string{hello: string(rpm.Different), data: string(rpm.PayloadIdentical)}
		if diff := cmp.Diff(want, verdicts(got)); diff != "" || got.Verdict != string(rpm.Different) || got.Reason != hello+": file /usr/share/hello/word: content" {
			t.Errorf("it came to %q, %q (-want +got):\n%s", got.Verdict, got.Reason, diff)
		}
		rebuilt := albs.DigestOf(f.made.rpms["other"][hello])
		a, err := f.Artifacts.Find(t.Context(), rebuilt)
		if err != nil || a.Kind != artifact.Source || a.NEVRA != (rpm.NEVRA{}) {
			t.Errorf("what differs is %+v, %v", a, err)
		}
		named, err := f.Artifacts.Named(t.Context(), rpm.NEVRA{Name: "hello", Version: "1", Release: "1", Arch: "x86_64"}, 9)
		if err != nil || len(named) != 1 || named[0].Digest != f.digestOf(hello) {
			t.Errorf("of the name there are %+v, %v", named, err)
		}
		for hours, kept := range map[int]bool{0: true, 24 * 13: true, 24 * 15: false} {
			roots := map[albs.Digest]bool{}
			must(t, f.roots(t.Context(), db.At(time.Now().Add(time.Duration(hours)*time.Hour)), func(r artifact.Ref) error { roots[r.Digest] = true; return nil }))
			if roots[rebuilt] != kept || !roots[got.Record] {
				t.Errorf("after %d hours the package is kept: %v, the record: %v", hours, roots[rebuilt], roots[got.Record])
			}
		}
		if _, err := f.Create(f.alice, Request{Of: string(rebuilt)}); !errors.Is(err, albs.Invalid) {
			t.Errorf("what was rebuilt can be rebuilt: %v", err)
		}
	})
}

// TestInputsDiffer: in another root nothing is compared, whatever came out.
func TestInputsDiffer(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		r := f.create(Request{Of: string(f.digestOf(hello))})
		l := f.claim("east", albs.KindRebuild)
		f.complete("east", l, albs.Result{Build: f.result("east", l, "other", record("2"))})
		got, err := f.Get(t.Context(), r.ID)
		must(t, err)
		want := map[string]string{hello: attest.InputsDiffer, data: attest.InputsDiffer}
		if diff := cmp.Diff(want, verdicts(got)); diff != "" || got.Verdict != attest.InputsDiffer || got.Reason != "gcc-2-1.x86_64 where it was gcc-1-1.x86_64" {
			t.Errorf("it came to %q, %q (-want +got):\n%s", got.Verdict, got.Reason, diff)
		}
	})
}

// TestRowsChanged: rows that say otherwise than what was stated of the build, since the
// rebuild was created, end it, and nothing is stated.
func TestRowsChanged(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	other := albs.DigestOf(record("2"))
	for what, c := range map[string]struct {
		change string
		value  any
		says   string
	}{
		"another root":      {`UPDATE rebuild SET built_in = $2 WHERE id = $1`, other, "not " + other.Short()},
		"another node":      {`UPDATE rebuild SET built_on = $2 WHERE id = $1`, "west", "not \"west\""},
		"another attempt":   {`UPDATE rebuild SET of_attempt = $2 WHERE id = $1`, 2, "nothing is stated of "},
		"another task":      {`UPDATE rebuild SET of_task = $2 WHERE id = $1`, 99, "nothing is stated of task/99/attempt/1"},
		"another spec":      {`UPDATE attempt SET spec = replace(spec, '"arch":"x86_64"', $2) WHERE task_id = (SELECT task_id FROM rebuild WHERE id = $1)`, `"arch":"i686"`, "differ in the arch"},
		"no spec":           {`UPDATE attempt SET spec = $2 WHERE task_id = (SELECT task_id FROM rebuild WHERE id = $1)`, `{}`, "is no build"},
		"a package of none": {`UPDATE rebuild_package SET digest = $2 WHERE rebuild_id = $1 AND name LIKE 'hello-data%'`, f.record, "nothing is stated of "},
	} {
		r := f.create(Request{Of: string(f.digestOf(hello))})
		l := f.claim("east", albs.KindRebuild)
		result := f.result("east", l, "first", record("2"))
		must(t, f.DB.InTx(t.Context(), func(tx db.Tx) error {
			res, err := tx.ExecContext(t.Context(), c.change, r.ID, c.value)
			return db.One(res, err, "%s: nothing changed", what)
		}))
		err := f.Queue.Complete(f.workers["east"], l.Token, albs.OutcomeOK, albs.Result{Build: result})
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want Invalid with %q", what, err, c.says)
		}
		got, err := f.Get(t.Context(), r.ID)
		must(t, err)
		if !got.Ended() || got.Verdict != "" || got.Task.State != albs.TaskFailed || !strings.Contains(got.Reason, c.says) {
			t.Errorf("%s: it came to %+v", what, got)
		}
	}
	said, err := f.Provenance.Stated(t.Context(), f.digestOf(hello), attest.Rebuild)
	if err != nil || len(said) != 0 {
		t.Errorf("%d rebuilds are stated, %v", len(said), err)
	}
}

// TestPackageSets: a package that is missing differs, and one more is told.
func TestPackageSets(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	r := f.create(Request{Of: string(f.digestOf(hello))})
	l := f.claim("east", albs.KindRebuild)
	result := f.result("east", l, "first", record("1"))
	result.Packages[1].Name = "unasked-1-1.x86_64.rpm"
	f.complete("east", l, albs.Result{Build: result})
	got, err := f.Get(t.Context(), r.ID)
	must(t, err)
	want := map[string]string{hello: string(rpm.BitIdentical), data: string(rpm.Different)}
	if diff := cmp.Diff(want, verdicts(got)); diff != "" || got.Reason != data+": the rebuild left no "+data {
		t.Errorf("it came to %q (-want +got):\n%s", got.Reason, diff)
	}
}

// TestNoVerdict: a rebuild that fails or is cancelled says why, and another one can be made.
func TestNoVerdict(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		failed := f.create(Request{Of: string(f.digestOf(hello))})
		l := f.claim("east", albs.KindRebuild)
		log := f.upload("east", l, "build.log", []byte("no\n"))
		must(t, f.Queue.Complete(f.workers["east"], l.Token, albs.OutcomeFailed, albs.Result{Reason: "BuildRequires can't be installed", Logs: []albs.File{log}}))
		got, err := f.Get(t.Context(), failed.ID)
		if err != nil || !got.Ended() || got.Verdict != "" || got.Reason != "BuildRequires can't be installed" || got.Node != "east" || len(got.Files) != 1 {
			t.Errorf("it came to %+v, %v", got, err)
		}
		cancelled := f.create(Request{Of: string(f.digestOf(hello))})
		stranger := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 99, Name: "eve", Grants: []auth.Grant{{Role: auth.Contributor, Team: "other"}}})
		if err := f.Cancel(stranger, cancelled.ID); !errors.Is(err, albs.Forbidden) {
			t.Errorf("a stranger cancels it: %v", err)
		}
		must(t, f.Cancel(f.alice, cancelled.ID))
		if got, err = f.Get(t.Context(), cancelled.ID); err != nil || !got.Ended() || got.Reason != "cancelled by alice" {
			t.Errorf("it came to %+v, %v", got, err)
		}
		if err := f.Cancel(f.alice, cancelled.ID); !errors.Is(err, albs.Conflict) {
			t.Errorf("it is cancelled twice: %v", err)
		}
		if err := f.Cancel(f.alice, 99); !errors.Is(err, albs.NotFound) {
			t.Errorf("an unknown one is cancelled: %v", err)
		}
	})
}

// TestRefused: what can't be built again is refused, with nothing left.
func TestRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	given := albs.DigestOf(f.made.srpm)
	anonymous := auth.With(t.Context(), auth.Actor{})
	for name, c := range map[string]struct {
		ctx  context.Context
		r    Request
		kind albs.Kind
		says string
	}{
		"no name":             {f.alice, Request{Of: "???"}, albs.Invalid, "neither"},
		"nothing of the kind": {f.alice, Request{Of: string(albs.DigestOf(nil))}, albs.NotFound, ""},
		"an unknown NEVRA":    {f.alice, Request{Of: "hello-2-1.x86_64"}, albs.NotFound, "no package hello-2-1.x86_64"},
		"a source package":    {f.alice, Request{Of: string(given)}, albs.Invalid, "no binary package"},
		"a record":            {f.alice, Request{Of: string(f.record)}, albs.Invalid, "no binary package"},
		"nobody":              {anonymous, Request{Of: string(f.digestOf(hello))}, albs.Unauthenticated, ""},
		"two nodes":           {f.alice, Request{Of: string(f.digestOf(hello)), Node: "a", NotNode: "b"}, albs.Invalid, "not both"},
		"an unknown node":     {f.alice, Request{Of: string(f.digestOf(hello)), Node: "north"}, albs.NotFound, "north"},
		"not an unknown node": {f.alice, Request{Of: string(f.digestOf(hello)), NotNode: "north"}, albs.NotFound, "north"},
	} {
		_, err := f.Create(c.ctx, c.r)
		if albs.KindOf(err) != c.kind || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v, want %s with %q", name, err, c.kind, c.says)
		}
	}
	must(t, f.Artifacts.Blobs().Remove(t.Context(), given))
	if _, err := f.Create(f.alice, Request{Of: string(f.digestOf(hello))}); !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "the source package "+srpm) {
		t.Errorf("without its source package: %v", err)
	}
	if all, err := f.List(t.Context(), Filter{}); err != nil || len(all) != 0 {
		t.Errorf("the refused left %+v, %v", all, err)
	}
}

// TestOften: what was to be built again 50 times isn't once more, whatever came of it, for
// each that is compared adds to the bundle.
func TestOften(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	r := f.create(Request{Of: string(f.digestOf(hello))})
	must(t, f.Cancel(f.alice, r.ID))
	must(t, f.DB.InTx(t.Context(), func(tx db.Tx) error {
		for i := range most - 1 {
			_, err := tx.ExecContext(t.Context(), `INSERT INTO rebuild (task_id, build_id, of_task, of_attempt, platform, arch, built_on, built_in, needs, requester_id, requester, created_at, ended_at)
				SELECT $2, build_id, of_task, of_attempt, platform, arch, built_on, built_in, needs, requester_id, requester, created_at, ended_at FROM rebuild WHERE id = $1`, r.ID, 1000+i)
			if err != nil {
				return err
			}
		}
		return nil
	}))
	if _, err := f.Create(f.alice, Request{Of: string(f.digestOf(hello))}); !errors.Is(err, albs.Conflict) || !strings.Contains(err.Error(), "50 rebuilds") {
		t.Errorf("the 51st: %v", err)
	}
}

func TestHandlerContract(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.create(Request{Of: string(f.digestOf(hello))})
	l := f.claim("east", albs.KindRebuild)
	good := f.result("east", l, "again", record("1"))
	with := func(change func(*albs.BuildResult)) albs.Result {
		r := *good
		r.Packages = slices.Clone(good.Packages)
		change(&r)
		return albs.Result{Build: &r}
	}
	empty := f.upload("east", l, "buildroot.json", []byte("{}"))
	unspeakable := f.upload("east", l, "buildroot.json", record("\x00"))
	queuetest.Run(t, queuetest.Case{
		DB: f.DB, Queue: f.Queue, Handler: handler{f.Rebuilds}, Worker: f.workers["east"], Lease: *l, Good: albs.Result{Build: good},
		Garbage: map[string]albs.Result{
			"no package":            with(func(r *albs.BuildResult) { r.Packages = nil }),
			"no record":             with(func(r *albs.BuildResult) { r.Record = albs.File{} }),
			"a record of nothing":   with(func(r *albs.BuildResult) { r.Record = empty }),
			"a record no row takes": with(func(r *albs.BuildResult) { r.Record = unspeakable }),
			"another package": with(func(r *albs.BuildResult) {
				r.Packages[0].Digest, r.Packages[0].Size = r.Packages[1].Digest, r.Packages[1].Size
			}),
			"a package not uploaded": with(func(r *albs.BuildResult) { r.Packages[0].Digest = albs.DigestOf([]byte("no")) }),
			"what is no package":     with(func(r *albs.BuildResult) { r.Packages[0].Digest, r.Packages[0].Size = r.Record.Digest, r.Record.Size }),
			"another kind's":         {Source: &albs.SourceResult{Record: good.Record}},
		},
		Foreign: []albs.Digest{f.digestOf(hello)},
	})
}
