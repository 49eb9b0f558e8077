package testrun

import (
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
)

func TestWaive(t *testing.T) {
	t.Parallel()
	all, upgrade := albs.Waived{Waiver: 1, Person: "ada"}, albs.Waived{Waiver: 2, Stage: albs.StageUpgrade, Person: "ada"}
	untested := albs.Waived{Waiver: 3, Untested: true, Person: "ada"}
	ran := func(stages string) view { return view{State: albs.TaskSucceeded, Stages: had(stages)} }
	const good = "environment system install integrity upgrade downgrade package remove reinstall"
	bad := strings.Replace(good, "upgrade", "upgrade:failed", 1)
	for _, tt := range []struct {
		name    string
		runs    []view
		gate    string
		waivers []albs.Waived
		want    State
		used    int
	}{
		{"none", []view{ran(bad)}, "required", nil, Failed, 0},
		{"passed", []view{ran(good)}, "required", []albs.Waived{all}, Passed, 0},
		{"the stage", []view{ran(bad)}, "required", []albs.Waived{upgrade}, Waived, 1},
		{"every stage", []view{ran(bad)}, "required", []albs.Waived{all, upgrade}, Waived, 2},
		{"another stage", []view{ran(strings.Replace(good, "remove", "remove:failed", 1))}, "required", []albs.Waived{upgrade}, Failed, 0},
		{"one more", []view{ran(strings.Replace(bad, "remove", "remove:failed", 1))}, "required", []albs.Waived{upgrade}, Failed, 0},
		{"on another arch too", []view{ran(bad), ran(good)}, "required", []albs.Waived{upgrade}, Waived, 1},
		{"pending elsewhere", []view{ran(bad), {State: albs.TaskQueued}}, "required", []albs.Waived{all}, Pending, 0},
		{"pending elsewhere, untested", []view{ran(bad), {State: albs.TaskQueued}}, "required", []albs.Waived{untested}, Pending, 0},
		{"left out", []view{ran("environment system install")}, "required", []albs.Waived{all}, Missing, 0},
		{"left out, untested", []view{ran("environment system install")}, "required", []albs.Waived{untested}, Waived, 1},
		{"never tested", nil, "required", []albs.Waived{all}, Missing, 0},
		{"never tested, untested", nil, "required", []albs.Waived{untested}, Waived, 1},
		{"not carried out", []view{{State: albs.TaskFailed}}, "required", []albs.Waived{all}, Failed, 0},
		{"not carried out, untested", []view{{State: albs.TaskFailed}}, "required", []albs.Waived{untested}, Waived, 1},
		{"cancelled", []view{{State: albs.TaskCancelled}}, "required", []albs.Waived{all}, Missing, 0},
	} {
		got := waive(tt.runs, policy(tt.gate), tt.waivers)
		if got.State != tt.want || len(got.Waivers) != tt.used {
			t.Errorf("%s: %+v", tt.name, got)
		}
	}
	body := attest.TestBody{Result: attest.Failed, FailedTests: []string{"upgrade", "integrity/files"}}
	if got := contradicts(body, policy("required"), []albs.Waived{upgrade}); got != "integrity" {
		t.Errorf("with one of two waived the statement contradicts by %q", got)
	}
	if got := contradicts(body, policy("required"), []albs.Waived{all}); got != "" {
		t.Errorf("with all waived the statement contradicts by %q", got)
	}
}

// TestWaivers: a gate takes a waiver by its statement, while it is in force, for the very
// build, and whatever a row says.
func TestWaivers(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		admin := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 2, Name: "ada", Grants: []auth.Grant{{Role: auth.Admin}}})
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		l := f.claim(t)
		if err := f.queue.Complete(f.tester, l.Token, albs.OutcomeOK, albs.Result{Test: f.result(l, false)}); err != nil {
			t.Fatal(err)
		}
		bad := f.rpms[1]
		verdict := func() Verdict {
			t.Helper()
			got, err := f.Verdict(t.Context(), f.build, []albs.Digest{bad.Digest}, product.Gate{Tests: product.Required})
			if err != nil {
				t.Fatal(err)
			}
			return got[bad.Digest]
		}
		exec := func(query string, args ...any) {
			t.Helper()
			if _, err := d.ExecContext(t.Context(), query, args...); err != nil {
				t.Fatalf("%s: %v", query, err)
			}
		}
		want := func(what string, s State) {
			t.Helper()
			if v := verdict(); v.State != s {
				t.Errorf("%s: %+v, want %s", what, v, s)
			}
		}
		n := NewWaiver{Build: f.build, Package: "hello-debuginfo-1-1.x86_64", Reason: "it is known", Days: 3}
		for name, tt := range map[string]struct {
			change func(*NewWaiver)
			kind   albs.Kind
		}{
			"no such build":      {func(n *NewWaiver) { n.Build = 99 }, albs.NotFound},
			"no such package":    {func(n *NewWaiver) { n.Package = "bash-5-1.x86_64" }, albs.NotFound},
			"no reason":          {func(n *NewWaiver) { n.Reason = " " }, albs.Invalid},
			"two lines":          {func(n *NewWaiver) { n.Reason = "a\nb" }, albs.Invalid},
			"too long a reason":  {func(n *NewWaiver) { n.Reason = strings.Repeat("x", 501) }, albs.Invalid},
			"for ever":           {func(n *NewWaiver) { n.Days = 91 }, albs.Invalid},
			"for no day":         {func(n *NewWaiver) { n.Days = 0 }, albs.Invalid},
			"no stage":           {func(n *NewWaiver) { n.Stage = "prayer" }, albs.Invalid},
			"a stage that needs": {func(n *NewWaiver) { n.Stage = albs.StageEnvironment }, albs.Invalid},
			"untested, a stage":  {func(n *NewWaiver) { n.Stage, n.Untested = albs.StageInstall, true }, albs.Invalid},
		} {
			m := n
			tt.change(&m)
			if _, err := f.Waive(admin, m); albs.KindOf(err) != tt.kind {
				t.Errorf("%s: %v", name, err)
			}
		}
		if _, err := f.Waive(f.person, n); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("by an operator: %v", err)
		}
		exec(`INSERT INTO test_waiver (build_id, digest, nevra, stage, untested, person, reason, created_at, expires_at, ended_by)
			VALUES ($1, $2, 'x-1', '', $3, 'eve', 'x', $4, $5, '')`, f.build, bad.Digest, true, db.Now(), db.Time{Time: time.Now().Add(time.Hour)})
		want("by a row alone", Failed)
		var forged int64
		if err := d.GetContext(t.Context(), &forged, `SELECT id FROM test_waiver`); err != nil {
			t.Fatal(err)
		}
		if err := f.EndWaiver(admin, forged, "no more"); albs.KindOf(err) != albs.Conflict {
			t.Errorf("ending what was never stated: %v", err)
		}
		n.Stage = albs.StageUpgrade
		if _, err := f.Waive(admin, n); err != nil {
			t.Fatal(err)
		}
		want("another stage", Failed)
		n.Stage = ""
		w, err := f.Waive(admin, n)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Waive(admin, n); albs.KindOf(err) != albs.Conflict {
			t.Errorf("once more: %v", err)
		}
		want("waived", Waived)
		if v := verdict(); len(v.Waivers) != 1 || v.Waivers[0].Person != "ada" || v.Waivers[0].Waiver != w.ID || !strings.Contains(v.Reason, "it is known") {
			t.Errorf("by %+v", v)
		}
		runs, err := f.Of(t.Context(), f.build)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range runs[0].Packages {
			if told := slices.ContainsFunc(p.Waivers, func(x Waiver) bool { return x.ID == w.ID }); told != (p.Digest == bad.Digest) {
				t.Errorf("%s is told with the waiver is %t", p.NEVRA, told)
			}
		}
		exec(`UPDATE test_waiver SET ended_at = $1, expires_at = $1, digest = 'x'`, db.Now())
		want("whatever the rows say", Waived)
		if err := f.EndWaiver(f.person, w.ID, "no more"); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("ended by an operator: %v", err)
		}
		exec(`UPDATE test_waiver SET ended_at = NULL, expires_at = $1, digest = $2 WHERE id = $3`, w.ExpiresAt, bad.Digest, w.ID)
		for _, reason := range []string{"", " ", "a\nb", strings.Repeat("x", 501)} {
			if err := f.EndWaiver(admin, w.ID, reason); albs.KindOf(err) != albs.Invalid {
				t.Errorf("ended because of %.10q: %v", reason, err)
			}
		}
		if err := f.EndWaiver(admin, w.ID, "no more"); err != nil {
			t.Fatal(err)
		}
		want("taken back", Failed)
		if v := verdict(); !strings.Contains(v.Reason, "was taken back by ada on "+time.Now().UTC().Format(time.DateOnly)+" (no more)") {
			t.Errorf("taken back: %s", v.Reason)
		}
		exec(`UPDATE test_waiver SET ended_at = NULL, ended_by = ''`)
		want("taken back, whatever the row says", Failed)

		// One that has expired, and one of another build, as the master itself would state them.
		for _, tt := range []struct {
			what string
			body attest.WaiverBody
		}{
			{"expired", attest.WaiverBody{Waived: albs.Waived{Build: f.build, Waiver: 70, Person: "ada", Reason: "x", Expires: time.Now().Add(-time.Minute).UTC()}}},
			{"another build's", attest.WaiverBody{Waived: albs.Waived{Build: f.build + 1, Waiver: 71, Person: "ada", Reason: "x", Expires: time.Now().Add(time.Hour).UTC()}}},
		} {
			if err := d.InTx(t.Context(), func(tx db.Tx) error { return f.sayWaiver(admin, tx, bad, tt.body, "testrun.waiver.made") }); err != nil {
				t.Fatal(err)
			}
			want(tt.what, Failed)
			if v := verdict(); !strings.Contains(v.Reason, "waiver 70 of ada (x) expired on") {
				t.Errorf("%s: %s", tt.what, v.Reason)
			}
		}
		// The rows stand as they were left: the forged one is in force, the others have expired
		// but for the last, which was taken back.
		exec(`UPDATE test_waiver SET ended_at = $1, ended_by = 'ada' WHERE id = $2`, db.Now(), w.ID)
		exec(`UPDATE test_waiver SET expires_at = $1 WHERE id = $2`, db.Time{Time: time.Now().Add(time.Hour)}, forged)
		for _, tt := range []struct {
			what string
			f    WaiverFilter
			want []int64
			more bool
		}{
			{"all", WaiverFilter{}, []int64{w.ID, w.ID - 1, forged}, false},
			{"a build's", WaiverFilter{Build: f.build}, []int64{w.ID, w.ID - 1, forged}, false},
			{"another build's", WaiverFilter{Build: f.build + 1}, nil, false},
			{"in force", WaiverFilter{State: WaiverInForce}, []int64{forged}, false},
			{"taken back", WaiverFilter{State: WaiverEnded}, []int64{w.ID}, false},
			{"expired", WaiverFilter{State: WaiverExpired}, []int64{w.ID - 1}, false},
			{"by name", WaiverFilter{Package: "DEBUGinfo"}, []int64{w.ID, w.ID - 1}, false},
			{"by a pattern", WaiverFilter{Package: "h%o"}, nil, false},
			{"the first", WaiverFilter{Limit: 1}, []int64{w.ID}, true},
			{"the next", WaiverFilter{Limit: 1, Before: w.ID}, []int64{w.ID - 1}, true},
			{"the last", WaiverFilter{Limit: 1, Before: w.ID - 1}, []int64{forged}, false},
			{"a package's", WaiverFilter{Digest: bad.Digest, State: WaiverEnded}, []int64{w.ID}, false},
		} {
			got, more, err := f.Waivers(t.Context(), tt.f)
			var ids []int64
			for _, x := range got {
				ids = append(ids, x.ID)
			}
			if err != nil || more != tt.more || !slices.Equal(ids, tt.want) {
				t.Errorf("%s: %v, more is %t, %v", tt.what, ids, more, err)
			}
		}
		if _, _, err := f.Waivers(t.Context(), WaiverFilter{State: "asleep"}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("of a state that is none: %v", err)
		}
		// What a gate has against packages is told to everybody, as far as rows say.
		barred, gate, err := f.Barred(t.Context(), f.build)
		if err != nil || !gate.Requires() || len(barred) == 0 {
			t.Fatalf("Barred = %+v, %+v, %v", barred, gate, err)
		}
		for _, s := range barred {
			if s.Verdict.State == Passed || s.Digest == bad.Digest && (len(s.Bad) == 0 || s.Verdict.State != Failed) {
				t.Errorf("barred is %+v", s)
			}
		}
		if _, _, err := f.Barred(t.Context(), 99); albs.KindOf(err) != albs.NotFound {
			t.Errorf("of an unknown build: %v", err)
		}
	})
}
