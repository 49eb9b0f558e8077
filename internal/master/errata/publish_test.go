package errata_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
)

// ready returns what a release would publish of an advisory.
func (f *fixture) ready(k errata.Key) advisory.Advisory {
	f.t.Helper()
	r, err := f.Get(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	a := r.Advisory
	for i := range a.Packages {
		a.Packages[i].Repository, a.Packages[i].Digest = "el9/os", albs.DigestOf([]byte(a.Packages[i].NEVRA.String()))
	}
	return a
}

// release begins and publishes an advisory.
func (f *fixture) release(id albs.ReleaseID, k errata.Key) {
	f.t.Helper()
	f.releaseOf("demo", id, k)
}

func (f *fixture) releaseOf(product string, id albs.ReleaseID, k errata.Key) {
	f.t.Helper()
	a := f.ready(k)
	err := f.tx(func(tx db.Tx) error {
		if err := f.Begin(f.admin, tx, []errata.Key{k}, id); err != nil {
			return err
		}
		return f.Publish(f.admin, tx, []advisory.Advisory{a}, product, id)
	})
	if err != nil {
		f.t.Fatalf("release %d of %s: %v", id, k, err)
	}
}

// want checks where an advisory stands, as "state shown pending release".
func (f *fixture) want(when string, k errata.Key, want string) errata.Record {
	f.t.Helper()
	r, err := f.Get(f.t.Context(), k)
	if err != nil {
		f.t.Fatal(err)
	}
	if got := fmt.Sprintf("%s, shows %d, pending %v, release %d", r.State, r.Shown, r.Pending, r.Release); got != want {
		f.t.Errorf("%s it is %s, want %s", when, got, want)
	}
	return r
}

// public lists what is public of a platform.
func (f *fixture) public(platform string) []string {
	f.t.Helper()
	out := []string{}
	err := f.Published(f.t.Context(), platform, func(a advisory.Advisory) error {
		out = append(out, fmt.Sprintf("%s v%d %s", a.ID, a.Version, a.Title))
		return nil
	})
	if err != nil {
		f.t.Fatal(err)
	}
	return out
}

// TestLife: an advisory is released, re-issued, withdrawn and rolled back, and what was
// published stays.
func TestLife(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		k := f.create(note("ALSA-2024:1"), errata.CreateOptions{}).Key
		f.want("at first", k, "not released, shows 0, pending true, release 0")
		f.release(11, k)
		r := f.want("released", k, "released, shows 1, pending false, release 11")
		if r.Advisory.Version != 2 || len(r.Advisory.Packages) != 2 || r.Advisory.Packages[0].Digest != "" {
			t.Errorf("what waits after the release is %+v", r.Advisory)
		}
		if left, err := f.Unreleased(t.Context(), "el9", errata.Key{}, 10); len(left) != 0 || err != nil {
			t.Errorf("%d wait, %v", len(left), err)
		}

		// The statement is about the bytes that are kept.
		issue, err := f.Issue(t.Context(), k, 1)
		if err != nil || albs.DigestOf(issue.Document) != issue.Digest {
			t.Fatalf("Issue = %+v, %v", issue, err)
		}
		var said []string
		if err := f.DB().SelectContext(t.Context(), &said, `SELECT envelope FROM statement WHERE subject = $1 AND predicate = $2`, issue.Digest, attest.Advisory); err != nil || len(said) != 1 {
			t.Fatalf("statements = %d, %v", len(said), err)
		}
		body := f.stated(said[0])
		want := attest.AdvisoryBody{ID: "ALSA-2024:1", Platform: "el9", Version: 1, Release: 11, Packages: 2}
		for _, p := range []string{"bash-5.1-2.el9.x86_64", "bash-doc-5.1-2.el9.noarch"} {
			want.Listed = append(want.Listed, attest.Descriptor{Name: p, Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte(p)))}})
		}
		if diff := cmp.Diff(want, body); diff != "" {
			t.Errorf("the statement (-want +got):\n%s", diff)
		}

		// Re-issue.
		if _, err := f.Edit(f.admin, k, r.Revision, errata.Edit{Title: ptr("bash is bad")}); err != nil {
			t.Fatal(err)
		}
		again := f.want("edited", k, "released, shows 1, pending true, release 11")
		if !again.Advisory.Updated.After(r.Advisory.Updated) {
			t.Errorf("readers don't see that it changed: updated %v, was %v", again.Advisory.Updated, r.Advisory.Updated)
		}
		if diff := cmp.Diff([]string{"ALSA-2024:1 v1 bash security update"}, f.public("el9")); diff != "" {
			t.Error(diff)
		}
		f.release(12, k)
		f.want("re-issued", k, "released, shows 2, pending false, release 12")
		if diff := cmp.Diff([]string{"ALSA-2024:1 v2 bash is bad"}, f.public("el9")); diff != "" {
			t.Error(diff)
		}
		if one, err := f.Issue(t.Context(), k, 1); err != nil || !cmp.Equal(one, issue) {
			t.Errorf("version 1 became %+v, %v", one, err)
		}

		// A rollback shows the old one, and a later release gets a new version.
		back := func(to int) error {
			return f.tx(func(tx db.Tx) error { return f.Revert(f.admin, tx, "demo", []errata.Version{{Key: k, Version: to}}) })
		}
		if err := back(1); err != nil {
			t.Fatal(err)
		}
		f.want("rolled back", k, "released, shows 1, pending true, release 11")
		if err := back(0); err != nil {
			t.Fatal(err)
		}
		f.want("rolled back to nothing", k, "not released, shows 0, pending true, release 11")
		if got := f.public("el9"); len(got) != 0 {
			t.Errorf("still public: %v", got)
		}
		wantKind(t, "back to a version that isn't there", back(3), albs.NotFound)
		if err := back(2); err != nil {
			t.Fatal(err)
		}
		f.want("brought back", k, "released, shows 2, pending false, release 12")

		// Withdrawal.
		if _, err := f.Withdraw(f.admin, k, ""); albs.KindOf(err) != albs.Invalid {
			t.Errorf("a withdrawal without a reason = %v", err)
		}
		if _, err := f.Withdraw(f.admin, k, "it breaks things"); err != nil {
			t.Fatal(err)
		}
		f.want("withdrawn", k, "withdrawn, shows 2, pending true, release 12")
		_, err = f.Withdraw(f.admin, k, "again")
		wantKind(t, "a second withdrawal", err, albs.Conflict)
		f.release(13, k)
		f.want("published as withdrawn", k, "withdrawn, shows 3, pending false, release 13")
		three, err := f.Issue(t.Context(), k, 3)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := advisory.Parse(three.Document); err != nil || a.Withdrawn == nil || a.Withdrawn.Reason != "it breaks things" {
			t.Errorf("version 3 is %+v, %v", a, err)
		}
		if _, err := f.Restore(f.admin, k, "it was something else"); err != nil {
			t.Fatal(err)
		}
		f.want("restored", k, "released, shows 3, pending true, release 13")
		_, err = f.Restore(f.admin, k, "again")
		wantKind(t, "a second restoration", err, albs.Conflict)

		issues, err := f.Issues(t.Context(), k)
		if err != nil || len(issues) != 3 || issues[0].Version != 3 || issues[2].Digest != issue.Digest || len(issues[0].Document) != 0 {
			t.Errorf("Issues = %+v, %v", issues, err)
		}
		hist, err := f.History(t.Context(), k, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i, c := range hist { // each change has one revision of its own
			if want := int64(len(hist) - i); c.Revision != want {
				t.Errorf("change %d has revision %d", want, c.Revision)
			}
		}
		var told int
		if err := f.DB().GetContext(t.Context(), &told, `SELECT COUNT(*) FROM event WHERE topic = 'errata:ALSA-2024:1/el9'`); err != nil || told != len(hist) {
			t.Errorf("%d events of %d changes, %v", told, len(hist), err)
		}
	})
}

// stated returns what an envelope says.
func (f *fixture) stated(envelope string) attest.AdvisoryBody {
	f.t.Helper()
	e, err := attest.ParseEnvelope([]byte(envelope))
	if err != nil {
		f.t.Fatal(err)
	}
	var st attest.Statement
	if err := json.Unmarshal(e.Payload, &st); err != nil {
		f.t.Fatal(err)
	}
	var body attest.AdvisoryBody
	if err := st.Body(&body); err != nil {
		f.t.Fatal(err)
	}
	return body
}

// TestProducts: of two products that show an advisory each has its own version: what one
// shows no more is public in the other, and what one lacks is pending.
func TestProducts(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		k := f.create(note("ALSA-2024:1"), errata.CreateOptions{}).Key
		shown := func(when string, want ...errata.Showing) {
			t.Helper()
			r, err := f.Get(t.Context(), k)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, r.ShownBy); diff != "" {
				t.Errorf("%s it is shown by (-want +got):\n%s", when, diff)
			}
		}
		revert := func(product string, to int) {
			t.Helper()
			if err := f.tx(func(tx db.Tx) error { return f.Revert(f.admin, tx, product, []errata.Version{{Key: k, Version: to}}) }); err != nil {
				t.Fatal(err)
			}
		}
		f.releaseOf("demo", 11, k)
		f.releaseOf("beta", 12, k)
		r := f.want("in both", k, "released, shows 2, pending false, release 12")
		shown("in both", errata.Showing{Product: "beta", Version: 2}, errata.Showing{Product: "demo", Version: 1})
		revert("beta", 0)
		f.want("no more in one", k, "released, shows 1, pending false, release 11")
		shown("no more in one", errata.Showing{Product: "demo", Version: 1})

		if _, err := f.Edit(f.admin, k, r.Revision+1, errata.Edit{Title: ptr("bash is bad")}); err != nil {
			t.Fatal(err)
		}
		f.releaseOf("beta", 13, k)
		f.want("edited, and released in one", k, "released, shows 3, pending true, release 13")

		// One is rolled back while the other's release has the advisory.
		if err := f.tx(func(tx db.Tx) error { return f.Begin(f.admin, tx, []errata.Key{k}, 14) }); err != nil {
			t.Fatal(err)
		}
		revert("beta", 0)
		f.want("rolled back in one", k, "in progress, shows 1, pending true, release 14")
		if err := f.tx(func(tx db.Tx) error { return f.Fail(f.admin, tx, []errata.Key{k}, "the disk is full") }); err != nil {
			t.Fatal(err)
		}
		f.want("failed in the other", k, "failed, shows 1, pending true, release 11")
		f.releaseOf("demo", 15, k)
		f.want("released in the other", k, "released, shows 4, pending false, release 15")
		shown("in the end", errata.Showing{Product: "demo", Version: 4})
	})
}

// TestNeverPublished: what is withdrawn before it was public is never published.
func TestNeverPublished(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		k := f.create(note("ALSA-2024:1"), errata.CreateOptions{}).Key
		if _, err := f.Withdraw(f.admin, k, "a mistake"); err != nil {
			t.Fatal(err)
		}
		f.want("withdrawn", k, "withdrawn, shows 0, pending false, release 0")
		wantKind(t, "its release", f.tx(func(tx db.Tx) error { return f.Begin(f.admin, tx, []errata.Key{k}, 1) }), albs.Conflict)
		if left, err := f.Unreleased(t.Context(), "el9", errata.Key{}, 10); len(left) != 0 || err != nil {
			t.Errorf("%d wait, %v", len(left), err)
		}
	})
}

// TestInProgress: a release has an advisory for itself, and only its end lets it go.
func TestInProgress(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		one, two := f.create(note("ALSA-2024:1"), errata.CreateOptions{}), f.create(note("ALSA-2024:2"), errata.CreateOptions{})
		keys := []errata.Key{one.Key, two.Key}
		begin := func(id albs.ReleaseID) error {
			return f.tx(func(tx db.Tx) error { return f.Begin(f.admin, tx, keys, id) })
		}
		// What dies with its transaction leaves nothing in progress.
		died := errors.New("died")
		if err := f.tx(func(tx db.Tx) error { return errors.Join(f.Begin(f.admin, tx, keys, 5), died) }); !errors.Is(err, died) {
			t.Fatal(err)
		}
		f.want("after that", one.Key, "not released, shows 0, pending true, release 0")
		for range 2 { // as an attempt that is made again
			if err := begin(5); err != nil {
				t.Fatal(err)
			}
		}
		r := f.want("begun", one.Key, "in progress, shows 0, pending true, release 5")
		wantKind(t, "another release", begin(6), albs.Conflict)
		_, err := f.Edit(f.admin, one.Key, r.Revision, errata.Edit{Title: ptr("late")})
		wantKind(t, "an edit", err, albs.Conflict)
		_, err = f.Withdraw(f.admin, one.Key, "late")
		wantKind(t, "a withdrawal", err, albs.Conflict)
		a := f.ready(one.Key)
		wantKind(t, "publication by another", f.tx(func(tx db.Tx) error { return f.Publish(f.admin, tx, []advisory.Advisory{a}, "demo", 6) }), albs.Conflict)
		a.Version = 2
		wantKind(t, "publication of another version", f.tx(func(tx db.Tx) error { return f.Publish(f.admin, tx, []advisory.Advisory{a}, "demo", 5) }), albs.Conflict)

		held, err := f.Held(t.Context(), f.DB(), 5)
		if diff := cmp.Diff(keys, held); diff != "" || err != nil {
			t.Errorf("Held: %v\n%s", err, diff)
		}
		for range 2 {
			if err := f.tx(func(tx db.Tx) error { return f.Fail(f.admin, tx, held, "bash is missing") }); err != nil {
				t.Fatal(err)
			}
		}
		failed := f.want("failed", one.Key, "failed, shows 0, pending true, release 0")
		if failed.Reason != "bash is missing" {
			t.Errorf("it failed because of %q", failed.Reason)
		}
		again, err := f.Edit(f.admin, one.Key, failed.Revision, errata.Edit{Title: ptr("better")})
		if err != nil || again.State != errata.NotReleased || again.Reason != "" {
			t.Errorf("edited then, it is %+v, %v", again, err)
		}
		wantKind(t, "publication of what wasn't begun", f.tx(func(tx db.Tx) error {
			return f.Publish(f.admin, tx, []advisory.Advisory{f.ready(one.Key)}, "demo", 5)
		}), albs.Conflict)
	})
}

// TestRestart: another master over the same database knows what a release has in progress,
// and can end it.
func TestRestart(t *testing.T) {
	t.Parallel()
	c := dbtest.SQLite(t)
	f := open(t, dbtest.Open(t, c))
	k := f.create(note("ALSA-2024:1"), errata.CreateOptions{}).Key
	if err := f.tx(func(tx db.Tx) error { return f.Begin(f.admin, tx, []errata.Key{k}, 5) }); err != nil {
		t.Fatal(err)
	}
	d := dbtest.Open(t, c)
	next := errata.New(errata.Parts{DB: d, Events: f.Events, Provenance: f.Provenance, Platforms: f.Platforms, Builds: builds{}})
	err := d.InTx(t.Context(), func(tx db.Tx) error {
		held, err := next.Held(t.Context(), tx, 5)
		if err != nil || len(held) != 1 {
			t.Errorf("Held = %v, %v", held, err)
		}
		return next.Fail(t.Context(), tx, held, "the releaser went away")
	})
	if err != nil {
		t.Fatal(err)
	}
	f.want("after the restart", k, "failed, shows 0, pending true, release 0")
}

// TestManyPackages: the statement of a large advisory fits into the ledger.
func TestManyPackages(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	a := note("ALSA-2024:1")
	for i := range 3000 {
		a.Packages = append(a.Packages, advisory.Package{NEVRA: nevra(fmt.Sprintf("a-quite-long-name-of-a-package-%05d-5.1-2.el9_4.alma.1.x86_64", i))})
	}
	k := f.create(a, errata.CreateOptions{}).Key
	f.release(1, k)
	f.want("released", k, "released, shows 1, pending false, release 1")
}
