package testrun

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/rpm/rpmtest"
)

// signatures is a registry of one key and what it signed.
type signatures struct {
	mu      sync.Mutex
	key     string
	copies  map[albs.Digest]artifact.Artifact // by the unsigned package
	revoked bool
}

func (s *signatures) Signed(_ context.Context, unsigned []albs.Digest, key string) (map[albs.Digest]artifact.Artifact, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := map[albs.Digest]artifact.Artifact{}
	for _, d := range unsigned {
		if a, ok := s.copies[d]; ok && key == s.key {
			out[d] = a
		}
	}
	return out, nil
}

func (s *signatures) PublicKey(_ context.Context, key string) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case key != s.key:
		return nil, albs.Errorf(albs.NotFound, "no key")
	case s.revoked:
		return nil, albs.Errorf(albs.Conflict, "the key was revoked")
	}
	return []byte("the key"), nil
}

// copiesMade are packages that stand for signed copies of the fixture's.
var copiesMade = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build("%define debug_package %{nil}\nName: hello\nVersion: 1\nRelease: 1\nSummary: A\nLicense: MIT\n%description\nA.\n%files\n%package debuginfo\nSummary: B\n%description debuginfo\nB.\n%files debuginfo\n", "--target", "x86_64")
})

// withCopies is setup with what key signed of the first of the fixture's packages, or of all.
func withCopies(t *testing.T, d *db.DB, key string, all bool) (*fixture, *signatures) {
	t.Helper()
	files, err := copiesMade()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		t.Fatal(err)
	}
	f := setup(t, d)
	s := &signatures{key: key, copies: map[albs.Digest]artifact.Artifact{}}
	f.Sign(s)
	for i, unsigned := range f.rpms {
		a, err := f.artifacts.Save(t.Context(), bytes.NewReader(files[unsigned.Name]), 1<<20, unsigned.Name, artifact.RPM)
		if err != nil {
			t.Fatal(err)
		}
		a.Unsigned, a.SignedBy = unsigned.Digest, key
		if err := d.InTx(t.Context(), func(tx db.Tx) error { return f.artifacts.Add(t.Context(), tx, a) }); err != nil {
			t.Fatal(err)
		}
		if i == 0 || all {
			s.copies[unsigned.Digest] = a
		}
	}
	return f, s
}

func signedEvent(t *testing.T, id albs.BuildID, key string) event.Event {
	t.Helper()
	data, err := json.Marshal(request{id, key})
	if err != nil {
		t.Fatal(err)
	}
	return event.Event{Kind: eventSigned, Topic: build.Topic(id), Data: data}
}

// ofSigned returns what the gate hears of the copies of the fixture's packages.
func (f *fixture) ofSigned(t *testing.T, s *signatures, gate product.Gate) map[string]Verdict {
	t.Helper()
	signed := map[albs.Digest]albs.Digest{}
	names := map[albs.Digest]string{}
	for _, a := range f.rpms {
		names[a.Digest] = a.NEVRA.Name
		if c, ok := s.copies[a.Digest]; ok {
			signed[a.Digest] = c.Digest
		}
	}
	got, err := f.VerdictOfSigned(t.Context(), f.build, signed, gate)
	if err != nil {
		t.Fatal(err)
	}
	out := map[string]Verdict{}
	for d, v := range got {
		out[names[d]] = v
	}
	return out
}

func states(vs map[string]Verdict) map[string]State {
	out := map[string]State{}
	for name, v := range vs {
		out[name] = v.State
	}
	return out
}

// TestSignedRuns: what was signed is tested by itself, in a root that has the copies alone of
// the build's packages, by the registry's key; what that says counts for the copies and for
// nothing else.
func TestSignedRuns(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		key := strings.Repeat("AB", 20)
		f, s := withCopies(t, d, key, true)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		required := product.Gate{Tests: product.Required}
		system := auth.System(t.Context(), "test")
		must(f.follow(system, f.built))
		l := f.claim(t)
		must(f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: f.result(l, true)}))
		if diff := cmp.Diff(map[string]State{"hello": Missing, "hello-debuginfo": Missing}, states(f.ofSigned(t, s, required))); diff != "" {
			t.Errorf("before (-want +got):\n%s", diff)
		}
		must(f.follow(system, event.Event{Kind: eventSigned, Data: json.RawMessage(`"x"`)}))
		must(f.follow(system, signedEvent(t, 99, key)))
		for range 2 { // at least once is what followers get
			must(f.follow(system, signedEvent(t, f.build, key)))
		}
		if begun, err := f.TestSigned(t.Context(), f.build, key); begun || err != nil {
			t.Errorf("once more: %v, %v", begun, err)
		}
		l = f.claim(t)
		spec := l.Spec.Test
		if diff := cmp.Diff([]albs.TestStage{albs.StageEnvironment, albs.StageSigned}, spec.Stages); diff != "" {
			t.Errorf("stages (-want +got):\n%s", diff)
		}
		want := []albs.TestPackage{{NEVRA: "hello-1-1.x86_64", Digest: s.copies[f.rpms[0].Digest].Digest}, {NEVRA: "hello-debuginfo-1-1.x86_64", Digest: s.copies[f.rpms[1].Digest].Digest}}
		if diff := cmp.Diff(want, spec.Packages); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		repos := spec.Root.Repos
		if len(repos) != 2 || repos[0].ID != signedRepo || repos[0].Keys != "the key" || repos[0].Priority != signedPriority || !repos[0].Own || repos[1].Repomd == "" || repos[1].Keys != "" {
			t.Errorf("repositories: %+v", repos)
		}
		for _, p := range want {
			if ok, err := (handler{f.Tests}).Reads(t.Context(), *l, p.Digest); !ok || err != nil {
				t.Errorf("the tester may not read %s: %v, %v", p.NEVRA, ok, err)
			}
		}
		if diff := cmp.Diff(map[string]State{"hello": Pending, "hello-debuginfo": Pending}, states(f.ofSigned(t, s, required))); diff != "" {
			t.Errorf("running (-want +got):\n%s", diff)
		}
		f.want(t, "the copies are tested", Passed, Passed)
		bad := func(nevra string, stage albs.TestStage) string {
			if nevra == "hello-debuginfo-1-1.x86_64" && stage == albs.StageSigned {
				return "it is not signed"
			}
			return ""
		}
		must(f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(spec, bad)}))
		got := f.ofSigned(t, s, required)
		if diff := cmp.Diff(map[string]State{"hello": Passed, "hello-debuginfo": Failed}, states(got)); diff != "" || got["hello-debuginfo"].Reason != "stage signed failed: it is not signed" {
			t.Errorf("one failed (-want +got):\n%s%+v", diff, got)
		}
		f.want(t, "a copy failed", Passed, Passed)
		sts, err := f.provenance.Stated(t.Context(), want[1].Digest, attest.Test)
		must(err)
		var body attest.TestBody
		if len(sts) != 1 || sts[0].Body(&body) != nil || body.Result != attest.Failed || !cmp.Equal(body.FailedTests, []string{"signed"}) || body.Root() == "" {
			t.Errorf("stated: %+v", body)
		}

		barred := func(state State, say string) {
			t.Helper()
			got, _, err := f.Barred(t.Context(), f.build)
			must(err)
			if len(got) != 1 || got[0].Digest != f.rpms[1].Digest || got[0].Verdict.State != state || !strings.Contains(got[0].Verdict.Reason, say) || len(got[0].Bad) != 1 || got[0].Bad[0].Stage != albs.StageSigned {
				t.Errorf("barred are %+v, want one %s with %q", got, state, say)
			}
		}
		barred(Failed, "its signed copy: stage signed failed: it is not signed")

		// A row that says otherwise is believed by nobody.
		if _, err := d.ExecContext(t.Context(), `UPDATE test_stage SET status = 'passed' WHERE status = 'failed'`); err != nil {
			t.Fatal(err)
		}
		if v := f.ofSigned(t, s, required)["hello-debuginfo"]; v.State != Failed || !strings.Contains(v.Reason, "the database was changed behind albs") {
			t.Errorf("by a row alone: %+v", v)
		}
		if _, err := d.ExecContext(t.Context(), `UPDATE test_stage SET status = 'failed' WHERE stage = 'signed' AND digest = $1`, want[1].Digest); err != nil {
			t.Fatal(err)
		}

		// Waived by the stage's name alone.
		body2 := attest.WaiverBody{Waived: albs.Waived{Waiver: 1, Build: f.build, Person: "ada", Reason: "it is known", Expires: time.Now().Add(time.Hour).UTC()}}
		say := func(w attest.WaiverBody) {
			must(d.InTx(t.Context(), func(tx db.Tx) error {
				return f.provenance.State(system, tx, provenance.Fact{Subjects: []attest.Subject{provenance.SubjectOf(f.rpms[1])}, Predicate: attest.Waiver, Body: w})
			}))
		}
		say(body2)
		if v := f.ofSigned(t, s, required)["hello-debuginfo"]; v.State != Failed {
			t.Errorf("waived before: %+v", v)
		}
		body2.Waiver, body2.Stage = 2, albs.StageSigned
		say(body2)
		if v := f.ofSigned(t, s, required)["hello-debuginfo"]; v.State != Waived || len(v.Waivers) != 1 || v.Waivers[0].Waiver != 2 {
			t.Errorf("waived: %+v", v)
		}

		barred(Waived, "it is known")

		// Again: the copy that didn't pass, and no other.
		must(f.Restart(f.person, f.build))
		l = f.claim(t)
		if len(l.Spec.Test.Packages) != 1 || l.Spec.Test.Packages[0].Digest != want[1].Digest || len(l.Spec.Test.Stages) != 2 {
			t.Errorf("again are tested %+v", l.Spec.Test)
		}
		must(f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(l.Spec.Test, nil)}))
		if diff := cmp.Diff(map[string]State{"hello": Passed, "hello-debuginfo": Passed}, states(f.ofSigned(t, s, required))); diff != "" {
			t.Errorf("again (-want +got):\n%s", diff)
		}
		if err := f.Restart(f.person, f.build); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Restart of what passed = %v", err)
		}
		if got, _, err := f.Barred(t.Context(), f.build); len(got) != 0 || err != nil {
			t.Errorf("barred are %+v, %v", got, err)
		}
		runs, err := f.Of(t.Context(), f.build)
		must(err)
		if len(runs) != 3 || runs[0].SignedBy != "" || runs[1].SignedBy != key || runs[2].SignedBy != key || runs[2].Packages[0].SignedBy != key || runs[1].Revision != 2 || runs[2].Revision != 3 {
			t.Errorf("runs: %+v", runs)
		}
	})
}

// TestSignedLater: a copy that was signed after others is tested by itself; of a key that was
// revoked none is; and where a product leaves the stage out, nobody begins one.
func TestSignedLater(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		key := strings.Repeat("AB", 20)
		f, s := withCopies(t, d, key, false)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		system := auth.System(t.Context(), "test")
		spec, err := product.Parse(strings.NewReader("name: p\nteam: core\nplatforms: [el]\ngate: {tests: 'off', stages: {signed: 'off'}}\nrepositories: [{path: os, platform: el, arch: x86_64, kind: rpm}, {path: src, platform: el, arch: src, kind: source}]"))
		must(err)
		_, err = f.products.Apply(f.person, spec)
		must(err)
		_, err = d.ExecContext(t.Context(), `UPDATE build SET product = 'p' WHERE id = $1`, f.build)
		must(err)
		must(f.follow(system, signedEvent(t, f.build, key)))
		if n := f.count(t, `SELECT count(*) FROM test_run`); n != 0 {
			t.Fatalf("%d runs of a product that leaves them out", n)
		}
		if begun, err := f.TestSigned(t.Context(), f.build, strings.Repeat("CD", 20)); begun || err != nil {
			t.Errorf("with another key: %v, %v", begun, err)
		}
		if begun, err := f.TestSigned(t.Context(), f.build, key); !begun || err != nil {
			t.Errorf("TestSigned = %v, %v", begun, err)
		}
		l := f.claim(t)
		if len(l.Spec.Test.Packages) != 1 {
			t.Errorf("tested are %+v, want what is signed", l.Spec.Test.Packages)
		}
		must(f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(l.Spec.Test, nil)}))
		files, err := copiesMade()
		must(err)
		s.mu.Lock()
		a, err := f.artifacts.Find(t.Context(), albs.DigestOf(files[f.rpms[1].Name]))
		s.copies[f.rpms[1].Digest] = a
		s.mu.Unlock()
		must(err)
		if begun, err := f.TestSigned(t.Context(), f.build, key); !begun || err != nil {
			t.Errorf("TestSigned of another = %v, %v", begun, err)
		}
		s.mu.Lock()
		s.revoked = true
		s.mu.Unlock()
		runs, err := f.Of(t.Context(), f.build)
		must(err)
		if len(runs) != 2 || len(runs[1].Packages) != 1 || runs[1].Packages[0].Digest != a.Digest {
			t.Fatalf("runs: %+v", runs)
		}
		if _, _, err := (handler{f.Tests}).Offer(t.Context(), runs[1].Task, queue.Offer{}); albs.KindOf(err) != albs.Invalid || !strings.Contains(err.Error(), "revoked") {
			t.Errorf("by a revoked key: %v", err)
		}
	})
}

func TestWithSigned(t *testing.T) {
	t.Parallel()
	v := func(s State) Verdict { return Verdict{State: s, Reason: "r"} }
	const whole = "r; its signed copy: r"
	for _, tt := range []struct {
		gate          string
		before, after State
		state         State
		say           string
	}{
		{"required", Passed, Passed, Passed, whole},
		{"required", Passed, Missing, Missing, "its signed copy: r"},
		{"required", Passed, Pending, Pending, "its signed copy: r"},
		{"required", Waived, Failed, Failed, "its signed copy: r"},
		{"required", Failed, Failed, Failed, "r"},
		{"required", Missing, Passed, Missing, "r"},
		{"required", Passed, Waived, Waived, whole},
		{"required", Waived, Passed, Waived, whole},
		{"required signed=advisory", Passed, Failed, Passed, "r; its signed copy: r, which need not pass"},
		{"required signed=advisory", Passed, Missing, Passed, "r"},
		{"required signed=off", Passed, Missing, Passed, "r"},
		{"off signed=required", Missing, Passed, Passed, "its signed copy: r"},
		{"advisory signed=required", Failed, Missing, Missing, "its signed copy: r"},
	} {
		if got := v(tt.before).WithSigned(v(tt.after), policy(tt.gate)); got.State != tt.state || got.Reason != tt.say {
			t.Errorf("%s: %s, then %s: %+v, want %s, %q", tt.gate, tt.before, tt.after, got, tt.state, tt.say)
		}
	}
	w := func(n int64) []albs.Waived { return []albs.Waived{{Waiver: n}} }
	got := Verdict{State: Waived, Waivers: w(1)}.WithSigned(Verdict{State: Waived, Waivers: w(2)}, policy("required"))
	if len(got.Waivers) != 2 || got.Waivers[0].Waiver != 1 || got.Waivers[1].Waiver != 2 {
		t.Errorf("waivers: %+v", got.Waivers)
	}
}

// TestSignedAgain: each key's copies are tested again by themselves, those of the rebuild alone,
// and only what was tested and didn't pass in the latest run that has it.
func TestSignedAgain(t *testing.T) {
	t.Parallel()
	pkg := func(name string, s State) Package {
		return Package{Digest: albs.DigestOf([]byte(name)), NEVRA: name, Verdict: Verdict{State: s}}
	}
	run := func(task albs.TaskID, revision int, key string, ps ...Package) Run {
		return Run{BuildTask: task, Revision: revision, SignedBy: key, Packages: ps}
	}
	runs := []Run{
		run(7, 1, "", pkg("a", Failed)),
		run(7, 2, "AB", pkg("a by AB", Failed), pkg("b by AB", Failed), pkg("c by AB", Missing), pkg("d by AB", Passed)),
		run(8, 3, "AB", pkg("other", Failed)),
		run(7, 3, "CD", pkg("a by CD", Failed), pkg("b by CD", Pending)),
		run(7, 4, "AB", pkg("b by AB", Passed)),
		run(7, 5, "EF", pkg("a by EF", Passed)),
	}
	got := map[string][]string{}
	seen := map[string]int{}
	names := map[albs.Digest]string{}
	for _, r := range runs {
		for _, p := range r.Packages {
			names[p.Digest] = p.NEVRA
		}
	}
	for _, a := range signedAgain(runs, planned{row: runRow{BuildTaskID: 7}, packages: []albs.Digest{albs.DigestOf([]byte("a"))}}) {
		seen[a.row.SignedBy] = a.seen
		for _, d := range a.packages {
			got[a.row.SignedBy] = append(got[a.row.SignedBy], names[d])
		}
	}
	if diff := cmp.Diff(map[string][]string{"AB": {"a by AB", "c by AB"}, "CD": {"a by CD"}}, got); diff != "" {
		t.Errorf("again (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]int{"AB": 4, "CD": 3, "EF": 5}, seen); diff != "" {
		t.Errorf("seen (-want +got):\n%s", diff)
	}
}

// TestSignedOnEachArch: a copy of a package that the rebuilds of two arches have in common, as
// one of no arch is, is tested once on each, and has to pass on both.
func TestSignedOnEachArch(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		key := strings.Repeat("AB", 20)
		f, s := withCopies(t, d, key, true)
		err := d.InTx(t.Context(), func(tx db.Tx) error {
			task, err := f.queue.Enqueue(t.Context(), tx, queue.NewTask{Kind: albs.KindBuild, Lane: "user:olga", Topic: build.Topic(f.build)})
			if err != nil {
				return err
			}
			if _, err := tx.ExecContext(t.Context(), `UPDATE task SET state = 'succeeded' WHERE id = $1`, task); err != nil {
				return err
			}
			if _, err := tx.ExecContext(t.Context(), `INSERT INTO build_task (task_id, build_id, item_id, kind, arch, told) SELECT $1, $2, id, 'build', 'aarch64', TRUE FROM build_item WHERE build_id = $2`, task, f.build); err != nil {
				return err
			}
			_, err = tx.ExecContext(t.Context(), `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
				SELECT $2, id, $1, 1, $3, 'rpm', $4, 'aarch64' FROM build_item WHERE build_id = $2`, task, f.build, f.rpms[0].Digest, f.rpms[0].Name)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if begun, err := f.TestSigned(t.Context(), f.build, key); !begun || err != nil {
			t.Fatalf("TestSigned = %v, %v", begun, err)
		}
		runs, err := f.Of(t.Context(), f.build)
		if err != nil {
			t.Fatal(err)
		}
		got := map[albs.Arch]int{}
		for _, r := range runs {
			got[r.Arch] += len(r.Packages)
		}
		if diff := cmp.Diff(map[albs.Arch]int{albs.X8664: 2, albs.AArch64: 1}, got); diff != "" || len(runs) != 2 {
			t.Errorf("packages by arch (-want +got):\n%s", diff)
		}
		l := f.claim(t)
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: mastertest.Tested(l.Spec.Test, nil)}); err != nil {
			t.Fatal(err)
		}
		want := map[string]State{"hello": Pending, "hello-debuginfo": Passed}
		if diff := cmp.Diff(want, states(f.ofSigned(t, s, product.Gate{Tests: product.Required}))); diff != "" {
			t.Errorf("passed on one of two arches (-want +got):\n%s", diff)
		}
	})
}
