package release

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/worker"
)

var anyOrder = cmpopts.SortSlices(func(a, b string) bool { return a < b })

// shownFirst is what the product shows after hello-1.0-1 was released.
var shownFirst = map[string][]string{
	demoOS: {"hello-1.0-1.x86_64.rpm", "hello-doc-1.0-1.noarch.rpm"}, demoWeak: {"hello-doc-1.0-1.noarch.rpm"},
	demoDebug: {"hello-debuginfo-1.0-1.x86_64.rpm"}, demoSource: {"hello-1.0-1.src.rpm"},
}

// TestRelease goes the whole way, with the real signer and the real releaser.
func TestRelease(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		id := f.addBuild(rpmbuild(t, "1", "one"))

		_, err := f.Plan(f.stranger, "demo", []albs.BuildID{id})
		f.wantKind("Plan by a stranger", err, albs.Forbidden, "")
		for _, bs := range [][]albs.BuildID{nil, {id, id}} {
			_, err = f.Plan(f.planner, "demo", bs)
			f.wantKind("Plan of no build or of one twice", err, albs.Invalid, "")
		}
		_, err = f.Plan(f.planner, "demo", make([]albs.BuildID, MaxBuilds+1))
		f.wantKind("Plan of too many", err, albs.TooLarge, "")
		_, err = f.Plan(f.planner, "demo", []albs.BuildID{id + 7})
		f.wantKind("Plan of no build", err, albs.NotFound, "")
		_, err = f.Plan(f.planner, "other", []albs.BuildID{id})
		f.wantKind("Plan for no product", err, albs.NotFound, "")

		// Unsigned: planned and shown, never approved.
		r, err := f.Plan(f.planner, "demo", []albs.BuildID{id})
		f.must(err)
		if len(r.Plan.Refusals) != 4 || !strings.Contains(r.Plan.Refusals[0].Reason, "isn't signed") || r.Status != Scheduled || r.Needed != 1 {
			t.Errorf("the plan of an unsigned build is %+v", r)
		}
		f.must(d.InTx(f.planner, func(tx db.Tx) error { return f.guard(f.planner, tx, id) })) // a plan alone keeps nothing
		_, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.wantKind("Approve of a refused plan", err, albs.Conflict, "its plan is refused: ")

		f.signBuild(id, "demo key")
		old := r.Digest
		_, err = f.Replan(f.stranger, r.ID)
		f.wantKind("Replan by a stranger", err, albs.Forbidden, "")
		r, err = f.Replan(f.planner, r.ID)
		f.must(err)
		if len(r.Plan.Refusals) != 0 || r.Digest == old || r.Plan.Added() != 4 || r.Plan.Key != f.key {
			t.Fatalf("the plan of a signed build is %+v", r.Plan)
		}
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish without approval", err, albs.Conflict, "it has 0 of the 1 approvals")
		_, err = f.Approve(f.planner, r.ID, r.Digest, "")
		f.wantKind("Approve by the planner", err, albs.Forbidden, "another person")
		_, err = f.Approve(f.stranger, r.ID, r.Digest, "")
		f.wantKind("Approve by a stranger", err, albs.Forbidden, "")
		_, err = f.Approve(f.approver, r.ID, old, "")
		f.wantKind("Approve of what was shown before", err, albs.Conflict, "look at it again")
		r, err = f.Approve(f.approver, r.ID, r.Digest, "looks good")
		f.must(err)
		if !r.Approved() || r.Approvals[0].Name != "alf" {
			t.Errorf("after Approve the approvals are %+v", r.Approvals)
		}
		_, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.wantKind("Approve twice", err, albs.Conflict, "")
		_, err = f.Publish(f.stranger, r.ID)
		f.wantKind("Publish by a stranger", err, albs.Forbidden, "")

		started, err := f.Publish(f.planner, r.ID)
		f.must(err)
		if started.Status != InProgress && started.Status != Completed || started.Task == 0 || started.Serial != 1 {
			t.Errorf("Publish = %+v", started)
		}
		r = f.ended(r.ID, Completed)
		f.wantKind("the guard of what is public", d.InTx(f.planner, func(tx db.Tx) error { return f.guard(f.planner, tx, id) }), albs.Conflict, "is in release")
		if diff := cmp.Diff(shownFirst, f.shown(1), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		_, err = f.Publish(f.planner, r.ID)
		f.wantKind("Publish twice", err, albs.Conflict, "it is completed")
		_, err = f.Approve(f.approver, r.ID, r.Digest, "")
		f.wantKind("Approve of what is public", err, albs.Conflict, "nothing to approve")
		_, err = f.Replan(f.planner, r.ID)
		f.wantKind("Replan of what is public", err, albs.Conflict, "nothing to plan")

		// A stranger can check every package, release and all.
		f.verify(r)
		f.wantEvents(r.ID, "release.planned", "release.planned", "approval.given", "release.started", EventPublished)

		rs, more, err := f.List(t.Context(), Filter{Product: "demo", Status: Completed, Build: id, Limit: 1})
		if err != nil || more || len(rs) != 1 || rs[0].ID != r.ID || rs[0].Tree != r.Tree {
			t.Errorf("List = %+v, %v, %v", rs, more, err)
		}
		rs, _, err = f.List(t.Context(), Filter{Before: r.ID})
		if err != nil || len(rs) != 0 {
			t.Errorf("List before the first = %+v, %v", rs, err)
		}
	})
}

// verify verifies the packages of a release offline, by what the public
// place has and the bundles say.
func (f *fixture) verify(r Release) {
	f.t.Helper()
	f.releasedBy()
	public, err := os.ReadFile(filepath.Join(f.public, "demo/current/RPM-GPG-KEY-demo"))
	f.must(err)
	trust, err := f.provenance.Trust(f.t.Context(), attest.Trust{
		Builders: []string{builderID}, Products: []string{"demo"}, PackageKeys: []string{string(public)}, RequireRelease: true,
	})
	f.must(err)
	for _, p := range r.Plan.Repositories {
		for _, c := range p.Packages {
			if strings.HasSuffix(c.File, ".src.rpm") {
				continue // the chain of a source package ends at itself
			}
			f.must(f.provenance.WaitNotarized(f.t.Context(), c.Digest))
			bundle, err := f.provenance.Bundle(f.t.Context(), c.Digest)
			f.must(err)
			file, err := os.Open(filepath.Join(f.public, "demo/current", p.Path, "Packages", c.File[:1], c.File))
			f.must(err)
			report, err := attest.Verify(f.t.Context(), file, c.Size, bundle, trust)
			if err != nil {
				f.t.Errorf("a stranger doesn't believe %s: %v", c.File, err)
			} else if !slices.ContainsFunc(report.Steps, func(s attest.Step) bool { return s.Predicate == attest.Release }) {
				f.t.Errorf("the report on %s tells of no release: %+v", c.File, report.Steps)
			}
			file.Close()
		}
	}
}

// wantEvents checks which events of its own a release has, in order.
func (f *fixture) wantEvents(id albs.ReleaseID, want ...string) {
	f.t.Helper()
	var got []string
	f.until("the events have settled", func() bool {
		es, err := f.Releases.events.Since(f.t.Context(), 0, Topic(id), 1000)
		f.must(err)
		got = nil
		for _, e := range es {
			if !strings.HasPrefix(e.Kind, "task.") && e.Kind != "document.signed" {
				got = append(got, e.Kind)
			}
		}
		return len(got) >= len(want)
	})
	if diff := cmp.Diff(want, got); diff != "" {
		f.t.Errorf("events of release %d (-want +got):\n%s", id, diff)
	}
}

// TestSuccession: a second release, what may not follow it (T25), and the way back.
func TestSuccession(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		one := f.release(f.signedBuild(rpmbuild(t, "1", "one")))
		first := f.repodata()
		_, err := f.Rollback(f.planner, "demo", 0)
		f.wantKind("Rollback of the first serial", err, albs.Conflict, "nothing to go back to")

		second := f.signedBuild(rpmbuild(t, "2", "two"))
		two := f.release(second)
		if two.Serial != 2 || two.From != 1 {
			t.Errorf("the second release has serial %d after %d", two.Serial, two.From)
		}
		both := map[string][]string{}
		for path, files := range shownFirst {
			for _, file := range files {
				both[path] = append(both[path], file, strings.Replace(file, "1.0-1", "1.0-2", 1))
			}
		}
		if diff := cmp.Diff(both, f.shown(2), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		_, tree, err := f.gather.Current(t.Context(), "demo")
		f.must(err)
		if len(tree.Files) != 1 || tree.Files[0].Path != "RPM-GPG-KEY-demo" {
			t.Errorf("files beside the repositories are %+v", tree.Files)
		}

		// T25: another content of what is there, and something older than it.
		r, err := f.Plan(f.planner, "demo", []albs.BuildID{f.signedBuild(rpmbuild(t, "1", "other"))})
		f.must(err)
		if len(r.Plan.Refusals) == 0 || !strings.Contains(r.Plan.Refusals[0].Reason, "a released package never changes") {
			t.Errorf("the same NEVRA with other content is refused with %q", r.Plan.Refusals)
		}
		older, err := f.Plan(f.planner, "demo", []albs.BuildID{f.signedBuild(rpmbuild(t, "0", "older"))})
		f.must(err)
		if len(older.Plan.Refusals) == 0 || !strings.Contains(older.Plan.Refusals[0].Reason, "has the newer hello") {
			t.Errorf("an older package is refused with %q", older.Plan.Refusals)
		}
		for _, bad := range []Release{r, older} {
			_, err = f.Approve(f.approver, bad.ID, bad.Digest, "")
			f.wantKind("Approve of it", err, albs.Conflict, "refused")
			_, err = f.Publish(f.planner, bad.ID)
			f.wantKind("Publish of it", err, albs.Conflict, "refused")
		}

		// Back: a new serial with the metadata of then, byte for byte.
		_, err = f.Rollback(f.stranger, "demo", 1)
		f.wantKind("Rollback by a stranger", err, albs.Forbidden, "")
		for _, to := range []int64{-1, 2, 3} {
			_, err = f.Rollback(f.planner, "demo", to)
			f.wantKind("Rollback to no earlier serial", err, albs.Invalid, "")
		}
		_, err = f.Revert(f.planner, one.ID)
		f.wantKind("Revert of what others build on", err, albs.Conflict, "only what is shown can be reverted")
		_, err = f.Revert(f.planner, r.ID)
		f.wantKind("Revert of a plan", err, albs.Conflict, "nothing to revert")
		back, err := f.Revert(f.planner, two.ID)
		f.must(err)
		if back.Kind != Rollback || back.BackTo != 1 {
			t.Errorf("Revert = %+v", back)
		}
		back = f.ended(back.ID, Completed)
		if diff := cmp.Diff(shownFirst, f.shown(3), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}
		if diff := cmp.Diff(first, f.repodata()); diff != "" {
			t.Errorf("the metadata isn't that of serial 1 (-want +got):\n%.2000s", diff)
		}
		if n := len(back.Plan.Repositories[0].Packages); n != 1 || back.Plan.Repositories[0].Packages[0].Action != plan.Remove {
			t.Errorf("the rollback's plan is %+v", back.Plan.Repositories)
		}
		// What it took away is on record, once for each repository, and nothing else is.
		gone := map[string][]string{}
		f.must(f.EachWithdrawn(t.Context(), func(w Withdrawn) error {
			if w.Release != back.ID || w.Product != "demo" || !w.Digest.Valid() {
				t.Errorf("withdrawn is %+v", w)
			}
			gone[w.Path] = append(gone[w.Path], w.File)
			return nil
		}))
		went := map[string][]string{}
		for path, files := range shownFirst {
			for _, file := range files {
				went[path] = append(went[path], strings.Replace(file, "1.0-1", "1.0-2", 1))
			}
		}
		if diff := cmp.Diff(went, gone, anyOrder); diff != "" {
			t.Errorf("withdrawn (-want +got):\n%s", diff)
		}
		for id, want := range map[albs.ReleaseID]int{back.ID: 5, one.ID: 0, two.ID: 0} {
			if ws, err := f.Withdrawn(t.Context(), id); err != nil || len(ws) != want {
				t.Errorf("release %d withdrew %+v, %v, want %d", id, ws, err, want)
			}
		}
		f.ended(two.ID, Reverted)
		f.ended(one.ID, Completed)
		f.wantEvents(two.ID, "release.planned", "approval.given", "release.started", EventPublished, "release.reverted")

		// What was rolled back can be released again as it was, but not changed.
		changed, err := f.Plan(f.planner, "demo", []albs.BuildID{f.signedBuild(rpmbuild(t, "2", "changed"))})
		f.must(err)
		if len(changed.Plan.Refusals) == 0 || !strings.Contains(changed.Plan.Refusals[0].Reason, "it was released into") {
			t.Errorf("other content of what was rolled back is refused with %q", changed.Plan.Refusals)
		}
		again := f.release(second)
		if diff := cmp.Diff(both, f.shown(4), anyOrder); diff != "" || again.Serial != 4 {
			t.Errorf("released again as serial %d (-want +got):\n%s", again.Serial, diff)
		}

		// Forward over a rollback: the releases of that tree are public again.
		forward, err := f.Rollback(f.planner, "demo", 2)
		f.must(err)
		f.ended(forward.ID, Completed)
		f.ended(two.ID, Completed)
		f.ended(again.ID, Reverted)
		f.shown(5)
	})
}

// T21: two releases published at once go one after the other, and both are there.
// Neither touches the effects of the other, so both approvals hold.
func TestTwoAtOnce(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := running(t, d)
		rs := []Release{f.approved(f.signedBuild(rpmbuild(t, "1", "one"))), f.approved(f.signedBuild(rpmbuildOf(t, "bye", "1", "one")))}
		errs := make([]error, len(rs))
		var wg sync.WaitGroup
		for i, r := range rs {
			wg.Go(func() { _, errs[i] = f.Publish(f.planner, r.ID) })
		}
		wg.Wait()
		for i, r := range rs {
			if errs[i] == nil {
				f.ended(r.ID, Completed)
			}
		}
		for i, r := range rs {
			if errs[i] != nil {
				f.wantKind("the later Publish", errs[i], albs.Conflict, "is being published: publish this one afterwards")
				_, err := f.Publish(f.planner, r.ID)
				f.must(err)
				f.ended(r.ID, Completed)
			}
		}
		both := map[string][]string{}
		for path, files := range shownFirst {
			for _, file := range files {
				both[path] = append(both[path], file, strings.Replace(file, "hello", "bye", 1))
			}
		}
		if diff := cmp.Diff(both, f.shown(2), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}

		// One that was prepared from the first serial doesn't begin any more.
		late := f.planned(Publication, "late")
		err := d.InTx(f.planner, func(tx db.Tx) error { return f.start(f.planner, tx, late, next{from: 1}, nil) })
		if !errors.Is(err, errMoved) {
			t.Errorf("start from serial 1 while 2 is shown = %v, want %v", err, errMoved)
		}
	})
}

// T23: whatever changes the effects after approval voids it.
func TestVoid(t *testing.T) {
	t.Parallel()
	f := running(t, dbtest.Open(t, dbtest.SQLite(t)))
	one, two := f.signedBuild(rpmbuild(t, "1", "one")), f.signedBuild(rpmbuild(t, "2", "two"))
	both := f.approved(one, two)
	row, err := f.store.get(t.Context(), f.d, both.ID)
	f.must(err)
	stale, err := f.recompute(row)
	f.must(err)
	f.release(one)
	if _, err := f.prepare(t.Context(), stale); !errors.Is(err, errMoved) {
		t.Errorf("prepare of a plan that was computed before another release = %v, want %v", err, errMoved)
	}
	_, err = f.Publish(f.planner, both.ID)
	f.wantKind("Publish of what another release did in part", err, albs.Conflict, "has changed since it was planned")
	r, err := f.Get(t.Context(), both.ID)
	f.must(err)
	if r.Status != Scheduled || r.Digest == both.Digest || len(r.Approvals) != 0 || r.Plan.Added() != 4 || !strings.Contains(r.Reason, "has changed") {
		t.Errorf("after that the release is %+v", r)
	}

	// The gate is closed after approval: the verdicts bar it now.
	spec := demoSpec()
	r, err = f.Approve(f.approver, r.ID, r.Digest, "")
	f.must(err)
	spec.Gate.Tests = product.Required
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish of what was never tested", err, albs.Conflict, "requires passed tests, and its tests are missing")

	// More people are asked for, while the publication is prepared and before it.
	spec.Gate.Tests = product.Advisory
	before, err := f.products.Apply(f.admin, spec)
	f.must(err)
	row, err = f.store.get(t.Context(), f.d, both.ID)
	f.must(err)
	plan, err := f.recompute(row)
	f.must(err)
	other := plan
	other.Expires = other.Expires.Add(time.Second)
	if err := f.begin(f.planner, both.ID, other, next{from: plan.Serial}, before); !errors.Is(err, errMoved) {
		t.Errorf("begin with another plan than the approved one = %v, want %v", err, errMoved)
	}
	spec.Approvals.Count = 2
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	if err := f.begin(f.planner, both.ID, plan, next{from: plan.Serial}, before); !errors.Is(err, errMoved) {
		t.Errorf("begin by the policy of before = %v, want %v", err, errMoved)
	}
	// The planner's own word counts only as long as the product takes it.
	spec.Approvals.Distinct = false
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	_, err = f.Approve(f.planner, r.ID, r.Digest, "")
	f.must(err)
	spec.Approvals.Distinct = true
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish with one of two approvals", err, albs.Conflict, "it has 1 of the 2 approvals")
	bob := f.person("bob", auth.ProductMaintainer)
	_, err = f.Approve(bob, r.ID, r.Digest, "")
	f.must(err)

	// An account that was closed since counts no more.
	f.must(f.auth.DisableUser(f.admin, auth.From(bob).User))
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish after an approver has left", err, albs.Conflict, "it has 1 of the 2 approvals")

	// The key is another one: nothing is signed by it.
	spec.Key = "no key"
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish with a key that isn't there", err, albs.Conflict, "key no key of product demo doesn't exist")

	// Time passes.
	_, err = f.d.ExecContext(t.Context(), `UPDATE release SET expires_at = $2 WHERE id = $1`, r.ID, db.At(time.Now().Add(-time.Second)))
	f.must(err)
	_, err = f.Publish(f.planner, r.ID)
	f.wantKind("Publish of an expired plan", err, albs.Conflict, "has expired")
	f.shown(1)
	rs, _, err := f.List(t.Context(), Filter{Product: "demo", Status: InProgress})
	if err != nil || len(rs) != 0 {
		t.Errorf("releases in progress: %+v, %v", rs, err)
	}
}

// TestFailures: a publication that fails shows nothing and can be done again.
func TestFailures(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		stop := f.startSigner()
		f.makeKey("demo key", pgp.Ed25519)
		r := f.approved(f.signedBuild(rpmbuild(t, "1", "one")))
		stop()

		// The metadata can't be signed.
		_, err := f.Publish(f.planner, r.ID)
		f.must(err)
		l := f.claim(f.signer, "kind:sign", "key:"+f.key)
		f.must(f.as(f.signer).Complete(t.Context(), l.Token, albs.OutcomeFailed, albs.Result{Reason: "this signer doesn't hold key \"X\""}))
		if r.Cause() != nil {
			t.Errorf("a release that is planned failed for %+v", r.Cause())
		}
		r = f.ended(r.ID, Failed)
		if c := r.Cause(); !strings.Contains(r.Reason, "this signer doesn't hold key") || c == nil || c.Kind != failure.Key {
			t.Errorf("the reason is %q, the cause %+v", r.Reason, c)
		}
		f.wantEvents(r.ID, "release.planned", "approval.given", "release.started", "release.failed")

		// The releaser is cut off after it got the tree, and its word never comes.
		f.startSigner()
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		l = f.claim(f.releaser, "kind:publish")
		lost := *l.Spec.Publish
		f.reads(l)
		task := l.Token.Task
		f.must(f.as(f.releaser).Complete(t.Context(), l.Token, albs.OutcomeInfra, albs.Result{Reason: "the power went"}))
		f.until("the task can be claimed again", func() bool {
			l, err = f.as(f.releaser).Claim(t.Context(), worker.Offer{Labels: []string{"kind:publish"}, Key: f.statementKey(f.releaser)})
			f.must(err)
			return l != nil
		})
		if !cmp.Equal(*l.Spec.Publish, lost) {
			t.Errorf("the second attempt is to show %+v, the first one was %+v", *l.Spec.Publish, lost)
		}
		f.must(f.d.InTx(t.Context(), func(tx db.Tx) error { return f.queue.Cancel(f.admin, tx, task, "enough") }))
		f.must(f.as(f.releaser).Complete(t.Context(), l.Token, albs.OutcomeStopped, albs.Result{}))
		r = f.ended(r.ID, Failed)
		if !strings.Contains(r.Reason, "may show serial 1 nevertheless") {
			t.Errorf("the reason is %q", r.Reason)
		}
		if now, _, err := f.gather.Current(t.Context(), "demo"); now != 0 || err != nil {
			t.Errorf("the product shows serial %d, %v", now, err)
		}

		// Another tree is shown than was asked for, or none.
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		l = f.claim(f.releaser, "kind:publish")
		if l.Spec.Publish.Serial != 2 {
			t.Errorf("the serial is %d, want 2: 1 may be public", l.Spec.Publish.Serial)
		}
		// The word of one whose task isn't the release's any more counts for nothing.
		said := albs.Result{Publish: &albs.PublishResult{Serial: 2, Tree: l.Spec.Publish.Tree}}
		apply, err := handler{f.Releases}.Admit(t.Context(), *l, albs.OutcomeOK, said)
		f.must(err)
		err = d.InTx(t.Context(), func(tx db.Tx) error {
			if _, err := tx.ExecContext(t.Context(), `UPDATE release SET task_id = 0 WHERE id = $1`, r.ID); err != nil {
				return err
			}
			return apply(t.Context(), tx)
		})
		f.wantKind("Complete of another task", err, albs.Invalid, "is published by another task")
		err = f.as(f.releaser).Complete(t.Context(), l.Token, albs.OutcomeOK, albs.Result{Publish: &albs.PublishResult{Serial: 2, Tree: lost.Tree}})
		f.wantKind("Complete with another tree", err, albs.Invalid, "it was to show")
		r = f.ended(r.ID, Failed)

		// And at last.
		stop = f.startReleaser()
		_, err = f.Publish(f.planner, r.ID)
		f.must(err)
		r = f.ended(r.ID, Completed)
		if diff := cmp.Diff(shownFirst, f.shown(3), anyOrder); diff != "" || r.Serial != 3 || r.From != 0 {
			t.Errorf("serial %d after %d (-want +got):\n%s", r.Serial, r.From, diff)
		}

		// A rollback that fails can be done again too, and bars what would overtake it.
		f.release(f.signedBuild(rpmbuild(t, "2", "two")))
		next := f.approved(f.signedBuild(rpmbuild(t, "3", "three")))
		stop()
		back, err := f.Rollback(f.planner, "demo", 3)
		f.must(err)
		_, err = f.Publish(f.planner, next.ID)
		f.wantKind("Publish beside a rollback", err, albs.Conflict, "is being published")
		_, err = f.Rollback(f.planner, "demo", 3)
		f.wantKind("Rollback beside a rollback", err, albs.Conflict, "is being published")
		l = f.claim(f.releaser, "kind:publish")
		f.must(f.as(f.releaser).Complete(t.Context(), l.Token, albs.OutcomeFailed, albs.Result{Reason: "the place is gone"}))
		back = f.ended(back.ID, Failed)
		if want := fmt.Sprintf("may show serial %d nevertheless", l.Spec.Publish.Serial); !strings.Contains(back.Reason, want) {
			t.Errorf("the reason is %q, want %q in it: it may have failed after the link was moved", back.Reason, want)
		}
		_, err = f.Publish(f.stranger, back.ID)
		f.wantKind("Publish of a rollback by a stranger", err, albs.Forbidden, "")
		_, err = f.Replan(f.planner, back.ID)
		f.wantKind("Replan of a rollback", err, albs.Conflict, "nothing to plan")
		stop = f.startReleaser()
		_, err = f.Publish(f.planner, back.ID)
		f.must(err)
		if back = f.ended(back.ID, Completed); back.Plan.Why != "as the test wants it" {
			t.Errorf("the reason of a rollback that was tried again is %q", back.Plan.Why)
		}
		if diff := cmp.Diff(shownFirst, f.shown(6), anyOrder); diff != "" {
			t.Errorf("packages (-want +got):\n%s", diff)
		}

		// But not when others were published since, of which it said nothing.
		stop()
		late, err := f.Rollback(f.planner, "demo", 4)
		f.must(err)
		_, err = f.Cancel(f.planner, late.ID)
		f.must(err)
		f.startReleaser()
		_, err = f.Publish(f.planner, next.ID)
		f.must(err)
		f.ended(next.ID, Completed)
		_, err = f.Publish(f.planner, late.ID)
		f.wantKind("Publish of a rollback that was overtaken", err, albs.Conflict, "roll the product back anew")
		for _, why := range []string{"two\nlines", strings.Repeat("x", 501), "\xff"} {
			_, err = f.Releases.Rollback(f.planner, "demo", 6, 4, why)
			f.wantKind("Rollback without a reason that is one", err, albs.Invalid, "one line")
		}
		for _, to := range []int64{0, -1, 6, 7} {
			_, err = f.Releases.Rollback(f.planner, "demo", 6, to, "")
			f.wantKind("Rollback to what isn't earlier", err, albs.Invalid, "")
		}
		_, err = f.Releases.Rollback(f.planner, "other", 6, 1, "")
		f.wantKind("Rollback of no product", err, albs.NotFound, "")
		_, err = f.Releases.Rollback(f.stranger, "demo", 6, 1, "")
		f.wantKind("Rollback by a stranger", err, albs.Forbidden, "")
		_, err = f.Releases.Rollback(f.planner, "demo", 6, 4, "")
		f.wantKind("rollback from what was shown a moment ago", err, albs.Conflict, "roll the product back anew")
	})
}

// claim waits for a task that the worker may do.
func (f *fixture) claim(a auth.Actor, labels ...string) *worker.Lease {
	f.t.Helper()
	l, err := f.as(a).Claim(f.t.Context(), worker.Offer{Labels: labels, Wait: 30, Key: f.statementKey(a)})
	f.must(err)
	if l == nil {
		f.t.Fatalf("there is no task for %v", labels)
	}
	return l
}

// reads checks what a publish task may read: the tree and what it is made of, and
// nothing else.
func (f *fixture) reads(l *worker.Lease) {
	f.t.Helper()
	tree, err := f.repos.ReadTree(f.t.Context(), l.Spec.Publish.Tree)
	f.must(err)
	may := []albs.Digest{l.Spec.Publish.Tree, tree.Files[0].Digest}
	var unsigned []albs.Digest
	for _, r := range tree.Repositories {
		s, err := f.repos.Open(f.t.Context(), r.Snapshot)
		f.must(err)
		may = append(may, r.Snapshot, s.Repomd(), s.Signature())
		may = append(may, s.Parts()...)
		es, err := f.gather.Entries(f.t.Context(), s)
		f.must(err)
		for _, e := range es {
			may = append(may, e.Digest)
			a, err := f.artifacts.Find(f.t.Context(), e.Digest)
			f.must(err)
			unsigned = append(unsigned, a.Unsigned)
		}
	}
	for _, d := range may {
		body, err := f.as(f.releaser).Get(f.t.Context(), l.Token, d, 0, -1)
		f.must(err)
		_, err = io.Copy(io.Discard, body)
		f.must(errors.Join(err, body.Close()))
	}
	for _, d := range unsigned {
		_, err := f.as(f.releaser).Get(f.t.Context(), l.Token, d, 0, -1)
		f.wantKind("Get of an unsigned package", err, albs.Forbidden, "")
	}
}

// TestDNF has the real dnf install from the public place with both checks on: the
// repository's signature and the packages'.
func TestDNF(t *testing.T) {
	t.Parallel()
	dnf, err := exec.LookPath("dnf")
	if err != nil {
		t.Skip("dnf is not installed here")
	}
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.startSigner()
	f.startReleaser()
	f.makeKey("demo key", pgp.RSA4096) // what every dnf verifies
	_, err = f.records.Set(f.planner, "demo", demoOS, map[string]io.Reader{"group": strings.NewReader(
		`<comps><group><id>greet</id><name>Greetings</name><uservisible>true</uservisible><packagelist><packagereq type="mandatory">hello</packagereq></packagelist></group></comps>`)})
	f.must(err)
	f.release(f.signedBuild(rpmbuild(t, "1", "one")))
	f.release(f.signedBuild(rpmbuild(t, "2", "two")))

	url := "file://" + filepath.Join(f.public, "demo/current")
	dir := t.TempDir()
	run := func(args ...string) (string, error) {
		cmd := exec.CommandContext(t.Context(), dnf, append([]string{
			"--installroot=" + filepath.Join(dir, "root"), "--releasever=9", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=t," + url + "/" + demoOS,
			"--setopt=t.gpgcheck=1", "--setopt=t.repo_gpgcheck=1", "--setopt=t.gpgkey=" + url + "/RPM-GPG-KEY-demo",
			"--setopt=cachedir=" + filepath.Join(dir, "cache"), "--setopt=reposdir=/nonexistent", "--setopt=install_weak_deps=0", "-y",
		}, args...)...)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	out, err := run("install", "hello-1.0-1", "hello-doc")
	if err != nil {
		t.Fatalf("dnf install: %v\n%s", err, out)
	}
	if b, err := os.ReadFile(filepath.Join(dir, "root/usr/share/hello/doc")); err != nil || string(b) != "two\n" {
		t.Errorf("the newest hello-doc has %q, %v", b, err)
	}
	for _, tool := range []struct {
		args []string
		want string
	}{
		{[]string{"group", "list", "--ids"}, "(greet)"},
		{[]string{"repoclosure"}, ""},
		{[]string{"reposync", "--gpgcheck", "--download-metadata", "-p", filepath.Join(dir, "copy")}, "hello-1.0-2.x86_64.rpm"},
	} {
		out, err := run(tool.args...)
		if strings.Contains(out, "No such command") { // a plugin that isn't there
			t.Logf("dnf %s is not installed here", tool.args[0])
		} else if err != nil || !strings.Contains(out, tool.want) {
			t.Errorf("dnf %v: %v, want %q in\n%s", tool.args, err, tool.want, out)
		}
	}
	// The rollback is trusted too.
	back, err := f.Rollback(f.planner, "demo", 1)
	f.must(err)
	f.ended(back.ID, Completed)
	out, err = run("--refresh", "repoquery", "--available", "--qf", "%{name}-%{version}-%{release}\n")
	if err != nil || !strings.Contains(out, "hello-1.0-1") || strings.Contains(out, "hello-1.0-2") {
		t.Errorf("after the rollback dnf lists %v\n%s", err, out)
	}
	// A changed repomd.xml is not.
	md := filepath.Join(f.public, "demo/current", demoOS, "repodata/repomd.xml")
	b, err := os.ReadFile(md)
	f.must(err)
	f.must(os.WriteFile(md, append(b, '\n'), 0o644))
	if out, _ := run("--refresh", "--setopt=t.skip_if_unavailable=0", "repoquery", "--available"); !strings.Contains(out, "GPG") || strings.Contains(out, "hello") {
		t.Errorf("dnf believes a changed repomd.xml:\n%s", out)
	}
}

// TestKeyRotation: keys that signed what stays public stay in the key file.
func TestKeyRotation(t *testing.T) {
	t.Parallel()
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.startSigner()
	stop := f.startReleaser()
	f.makeKey("demo key", pgp.Ed25519)
	const empty = "el/i686/debug" // no package ever comes there
	spec := demoSpec()
	spec.Repositories = append(spec.Repositories, product.Repository{Path: empty, Platform: "el", Arch: albs.I686, Kind: product.Debug})
	_, err := f.products.Apply(f.admin, spec)
	f.must(err)
	f.release(f.signedBuild(rpmbuild(t, "1", "one")))
	before, err := os.ReadFile(filepath.Join(f.public, "demo/current/RPM-GPG-KEY-demo"))
	f.must(err)
	metadata := f.repodata()

	second := f.addBuild(rpmbuild(t, "2", "two"))
	f.makeKey("new key", pgp.Ed25519)
	spec.Key = "new key"
	_, err = f.products.Apply(f.admin, spec)
	f.must(err)
	f.signBuild(second, "new key")
	// The first attempt ends when all is signed by the new key and nothing is shown.
	stop()
	r := f.approved(second)
	r, err = f.Publish(f.planner, r.ID)
	f.must(err)
	f.until("the metadata is signed", func() bool {
		task, err := f.queue.Task(t.Context(), r.Task)
		f.must(err)
		return task.State == albs.TaskQueued
	})
	_, err = f.Cancel(f.planner, r.ID)
	f.must(err)
	f.startReleaser()
	_, err = f.Publish(f.planner, r.ID)
	f.must(err)
	f.ended(r.ID, Completed)
	after, err := os.ReadFile(filepath.Join(f.public, "demo/current/RPM-GPG-KEY-demo"))
	f.must(err)
	kr, err := pgp.ReadKeyring(after)
	f.must(err)
	if keys := kr.Keys(); len(keys) != 2 || keys[0].Fingerprint != f.key || !strings.HasSuffix(string(after), string(before)) {
		t.Errorf("the key file has the keys %v, want the new one and then the old one", keys)
	}
	// Every repository is signed by the new key, also one that didn't change.
	newRing, err := pgp.ReadKeyring(after[:len(after)-len(before)])
	f.must(err)
	now := f.repodata()
	for _, path := range []string{demoOS, demoDebug, demoWeak, demoSource, empty} {
		md, asc := now[path+"/repodata/repomd.xml"], now[path+"/repodata/repomd.xml.asc"]
		if _, _, err := newRing.VerifyArmored(strings.NewReader(md), []byte(asc)); err != nil {
			t.Errorf("%s is not signed by the new key: %v", path, err)
		}
	}
	// Other files of the tree stay, wherever the key file stands among them.
	serial, tree, err := f.gather.Current(t.Context(), "demo")
	f.must(err)
	tree.Files = []repodata.TreeFile{{Path: "A", Digest: digest("a")}, tree.Files[0], {Path: "advisories", Digest: digest("z")}}
	n := next{from: serial}
	f.must(f.keyFile(t.Context(), plan.Plan{Product: "demo", Key: f.key}, tree, &n))
	if diff := cmp.Diff(tree.Files, n.files, cmpopts.SortSlices(func(a, b repodata.TreeFile) bool { return a.Path < b.Path })); diff != "" || n.key != nil {
		t.Errorf("files of the next tree (-want +got):\n%s", diff)
	}
	if metadata[demoOS+"/repodata/repomd.xml"] == now[demoOS+"/repodata/repomd.xml"] {
		t.Error("the release changed nothing")
	}
}

// TestRevokedKey: a product goes on with its next key, says so, refuses what only the
// revoked one signed, and publishes the certificate beside what is shown of its packages.
func TestRevokedKey(t *testing.T) {
	t.Parallel()
	f := running(t, dbtest.Open(t, dbtest.SQLite(t)))
	old := f.key
	f.makeKey("next key", pgp.Ed25519)
	next := f.key
	spec := demoSpec()
	spec.Keys = []string{"next key"}
	_, err := f.products.Apply(f.admin, spec)
	f.must(err)
	published := func() []pgp.PublicKey {
		b, err := os.ReadFile(filepath.Join(f.public, "demo/current/RPM-GPG-KEY-demo"))
		f.must(err)
		kr, err := pgp.ReadKeyring(b)
		f.must(err)
		return kr.Keys()
	}
	r := f.release(f.signedBuild(rpmbuild(t, "1", "one")))
	if keys := published(); r.Plan.Key != old || len(keys) != 2 || keys[0].Fingerprint != old || keys[1].Fingerprint != next {
		t.Errorf("a release by %s publishes %+v", r.Plan.Key, keys)
	}
	second := f.signedBuild(rpmbuild(t, "2", "two"))
	if shown, err := f.ShownBy(t.Context(), "demo key"); err != nil || len(shown) == 0 || shown[0].Product != "demo" || len(shown[0].Packages) == 0 {
		t.Errorf("ShownBy = %+v, %v", shown, err)
	}
	if shown, err := f.ShownBy(t.Context(), next); err != nil || len(shown) != 0 {
		t.Errorf("ShownBy of a key that signed nothing = %+v, %v", shown, err)
	}
	_, err = f.ShownBy(t.Context(), "none")
	f.wantKind("ShownBy of no key", err, albs.NotFound, "none")

	_, err = f.signs.RevokeKey(f.admin, "demo key", pgp.Compromised, "")
	f.must(err)
	f.until("the key is revoked", func() bool {
		k, err := f.signs.Key(t.Context(), old)
		f.must(err)
		return !k.RevokedAt.IsZero()
	})
	plan, err := f.Plan(f.planner, "demo", []albs.BuildID{second})
	f.must(err)
	if len(plan.Plan.Refusals) == 0 || !strings.Contains(plan.Plan.Refusals[0].Reason, "signed with key demo key alone, which is revoked") {
		t.Errorf("a plan of what only the revoked key signed is refused as %v", plan.Plan.Refusals)
	}
	f.signBuild(second, "next key")
	r = f.release(second)
	notes := strings.Join(r.Plan.Notes, "\n")
	if r.Plan.Key != next || !strings.Contains(notes, "key next key ("+next+") is used, since key demo key of product demo was revoked at") ||
		!strings.Contains(notes, demoOS+" goes on to show ") || !strings.Contains(notes, "signed with key demo key, which is revoked") {
		t.Errorf("the plan is by %s and says:\n%s", r.Plan.Key, notes)
	}
	if keys := published(); len(keys) != 2 || keys[0].Fingerprint != next || keys[0].Revoked || keys[1].Fingerprint != old || !keys[1].Revoked {
		t.Errorf("the key file has %+v", keys)
	}

	// With no key left there is no release, and each key's reason is said.
	_, err = f.signs.RevokeKey(f.admin, next, pgp.Retired, "")
	f.must(err)
	plan, err = f.Plan(f.planner, "demo", []albs.BuildID{f.addBuild(rpmbuild(t, "3", "three"))})
	f.must(err)
	if got := fmt.Sprint(plan.Plan.Refusals); !strings.Contains(got, "key demo key of product demo was revoked") || !strings.Contains(got, "key next key of product demo ") || plan.Plan.Key != "" {
		t.Errorf("a plan without a key is refused as %s", got)
	}
}
