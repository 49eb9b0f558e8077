package releases

import (
	"context"
	"fmt"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/release"
	"albs/internal/master/release/closure"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/logs"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/repodata"
)

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	now, d := time.Now(), albs.DigestOf([]byte("x"))
	decision := place.Decision{Action: place.Move, Package: bad, To: bad, Reason: bad, By: bad, At: now}
	sound := plan.Plan{Product: "distro", Key: "ABCD", Serial: 4, Expires: now, Dropped: []string{"old/os"}, Excluded: []string{"x-1-1.noarch"},
		Items:   []plan.Item{{Part: "errata", Name: bad, Title: bad, Version: 2, Digest: d, Withdraws: true, Force: bad, Missing: []string{bad, "b"}}},
		Skipped: []plan.Skipped{{Part: "errata", Name: bad, Reason: bad}},
		Files:   []plan.FileChange{{Action: plan.Add, File: plan.File{TreeFile: repodata.TreeFile{Path: bad, Digest: d}, Sign: true}}, {Action: plan.Remove, File: plan.File{TreeFile: repodata.TreeFile{Path: bad, Digest: d}}}},
		Notes:   []string{bad}, Why: bad,
		Copy: &plan.Copy{Product: "other", Serial: 3, Packages: []string{bad}}, Left: []plan.Left{{Package: bad, Repository: "el9/os", Reason: bad}},
		Closure: &plan.Closure{Policy: product.Closed, Broken: []closure.Broken{{Repository: "el9/os", Package: bad, Needs: []string{bad, "b"}, Shown: true}}, Unknown: []closure.Broken{{Package: bad, Needs: []string{bad}}}, More: 3, Unread: []string{bad}},
		Missing: []plan.Missing{{Build: 7, Platform: "el9", Arches: []albs.Arch{albs.X8664, albs.AArch64}}}, Refusals: []plan.Refusal{{Package: bad, Build: 7, Reason: bad}, {Reason: bad}, {Build: 8, Reason: bad}},
		Decisions: []place.Decision{decision}, Repositories: []plan.Repository{{Path: "el9/os", Platform: "el9", Arch: albs.X8664, Kind: product.RPM, New: true, Metadata: "zstd", Modules: []plan.Module{{Action: plan.Add, Name: bad, Stream: bad, Version: bad, Packages: 2}}, Before: 1, After: 2, Bytes: 9,
			Packages: []plan.Change{{Action: plan.Add, NEVRA: bad, Digest: d, Size: 9, Build: 7, Tests: testrun.Waived, Waivers: []albs.Waived{{Waiver: 3, Person: bad, Reason: bad, Expires: now.Add(time.Hour)}}, Reason: bad, Place: "BaseOS", Match: place.Closest.String(), Updates: bad, Module: bad}, {Action: plan.Keep, NEVRA: "b", Digest: d, BuiltFor: "kitten"}, {Action: plan.Remove, NEVRA: "c", Digest: d}},
			Records:  []plan.RecordChange{{Action: plan.Add, Record: repodata.Record{Type: bad, Digest: d}}}}}}
	rel := release.Release{ID: 3, Kind: release.Publication, Product: "distro", Planner: bad, Status: release.Failed, Reason: bad, Digest: d, Expires: now, Serial: 5, From: 4, Created: now, Changed: now,
		Builds: []albs.BuildID{7, 8}, Plan: sound, Needed: 2, Approvals: []auth.Approval{{Name: bad, Digest: d, Note: bad}, {Name: bad, KeyID: bad}}}
	back := release.Release{ID: 4, Kind: release.Rollback, Product: "distro", BackTo: 2, Status: release.Completed}
	rows := rowsOf(sound)
	task := queue.Task{ID: 9, Kind: albs.KindPublish, State: albs.TaskFailed, Reason: bad}
	attempt := queue.Attempt{Number: 2, Worker: bad}
	whole := releaseView{Release: rel, Steps: []page.Step{{Name: "build", State: "succeeded", Note: bad, URL: "/x"}, {Name: "sign", State: "IDLE"}}, Actions: []page.Action{{URL: "/x", Label: "Do", Sure: "x"}, {Label: "Do", Why: bad}},
		Approve: approveForm{Sure: "x"}, Progress: &progress{Signing: stage{Done: 1, All: 2, Wait: bad, Failed: task}, Publish: task, Wait: bad, Attempt: attempt, Lines: []logs.Line{{Number: 1, Text: "x"}}, Done: 1, All: 2},
		Refusals: sound.Refusals, MoreRefs: 3, Advised: []string{"ALSA-2024:1/el9", bad}, MoreAdv: 2, Otherwise: "/errata/release?advisory=x", Notes: sound.Notes, MoreNotes: 4, Closure: closureOf(sound.Closure), Left: sound.Left, MoreLeft: 2, Files: sound.Files, MoreFiles: 2, Added: 1, Removed: 1, Bytes: 9, Verdicts: verdictsOf(rows), Rows: rows, Pager: page.Pager{From: 1, To: 4, All: 9, Prev: "/p", Next: "/n"},
		Filter: rowFilter{Search: bad, Repository: "el9/os", Show: "add"}, MayDecide: true}
	summary := build.Summary{ID: 7, Owner: bad, Status: status.Status{State: status.Succeeded}, Packages: []string{bad, "b", "c", "d", "e", "f", "g"}, CreatedAt: now}
	pagetest.Execute(t, Group(), map[string][]any{
		"releases": {releasesView{}, releasesView{Filled: true}, releasesView{Filter: release.Filter{Product: "<img src=x>", Build: 7, Status: release.Failed}, Statuses: statuses, Releases: []release.Release{rel, back}, Next: "/n", First: "/f", Make: page.Action{URL: "/x", Label: "New", Leads: true}}},
		"create":   {createView{}, createView{Products: []string{"a", "distro"}, Product: "distro", Builds: []choice{{Summary: summary, Chosen: true, Released: []release.Release{rel}}, {Summary: summary}}, More: true, Others: bad}, createView{Product: "distro", Why: bad}},
		"copy":     {copyView{}, copyView{From: "a", Into: "distro", Products: []string{"a", "distro"}}, copyView{Why: bad}},
		"release":  {releaseView{}, whole, releaseView{Release: back, Approve: approveForm{Why: bad}, Filter: rowFilter{Search: "x"}}},
		"decide":   {decideView{}, decideView{Release: rel, Packages: rows, Unknown: []string{bad}, Places: []string{"BaseOS"}, Repositories: []product.Repository{{Path: "el9/os"}}}, decideView{Why: bad}},
	})
}

func as(t *testing.T, user albs.UserID, role auth.Role) context.Context {
	return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: user, Name: "pam", Grants: []auth.Grant{{Role: role, Team: "core"}}})
}

// TestWhyNotApprove walks what stands beside the button.
func TestWhyNotApprove(t *testing.T) {
	t.Parallel()
	now := time.Now()
	sound := func() release.Release {
		return release.Release{ID: 3, Kind: release.Publication, Team: "core", PlannerID: 1, Status: release.Scheduled, Expires: now.Add(time.Hour), Needed: 1}
	}
	distinct := product.Product{Spec: product.Spec{Approvals: product.Approvals{Count: 1, Distinct: true}}}
	for _, tc := range []struct {
		name    string
		change  func(r *release.Release)
		product product.Product
		who     context.Context
		want    string // a part of it; "" for nothing
	}{
		{"another person", func(*release.Release) {}, distinct, as(t, 2, auth.ProductMaintainer), ""},
		{"a signer", func(*release.Release) {}, distinct, as(t, 2, auth.Signer), ""},
		{"failed, to be published again", func(r *release.Release) { r.Status = release.Failed }, distinct, as(t, 2, auth.Signer), ""},
		{"nobody", func(*release.Release) {}, distinct, t.Context(), "sign in first"},
		{"a contributor", func(*release.Release) {}, distinct, as(t, 2, auth.Contributor), "release.approve"},
		{"the planner", func(*release.Release) {}, distinct, as(t, 1, auth.ProductMaintainer), "you planned it"},
		{"the planner, where that is enough", func(*release.Release) {}, product.Product{}, as(t, 1, auth.ProductMaintainer), ""},
		{"who decided", func(r *release.Release) { r.Plan.Decisions = []place.Decision{{User: 2}} }, distinct, as(t, 2, auth.ProductMaintainer), "or decided"},
		{"refused", func(r *release.Release) { r.Plan.Refusals = []plan.Refusal{{Reason: "x"}} }, distinct, as(t, 2, auth.Signer), "refused"},
		{"expired", func(r *release.Release) { r.Expires = now }, distinct, as(t, 2, auth.Signer), "expired"},
		{"twice", func(r *release.Release) { r.Approvals = []auth.Approval{{User: 2}} }, distinct, as(t, 2, auth.Signer), "already"},
		{"where keys of people's own count", func(*release.Release) {}, product.Product{Spec: product.Spec{Approvals: product.Approvals{Count: 1, Signed: true}}}, as(t, 2, auth.Signer), "albs approve 3 --key"},
		{"public", func(r *release.Release) { r.Status = release.Completed }, distinct, as(t, 2, auth.Signer), "it is released"},
		{"rollback", func(r *release.Release) { r.Kind = release.Rollback }, distinct, as(t, 2, auth.Signer), "rollback"},
	} {
		r := sound()
		tc.change(&r)
		got := whyNotApprove(tc.who, r, tc.product, now)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

// TestActions: which buttons there are, and which of them are open to a maintainer.
func TestActions(t *testing.T) {
	t.Parallel()
	now := time.Now()
	approved := []auth.Approval{{User: 2}}
	for _, tc := range []struct {
		name string
		r    release.Release
		want string // label, with ! before one that is not open
	}{
		{"to be approved", release.Release{Status: release.Scheduled, Needed: 1}, "!Publish Plan again"},
		{"approved", release.Release{Status: release.Scheduled, Needed: 1, Approvals: approved}, "Publish Plan again"},
		{"refused", release.Release{Status: release.Scheduled, Plan: plan.Plan{Refusals: []plan.Refusal{{}}}}, "!Publish Plan again"},
		{"running", release.Release{Status: release.InProgress}, "!Publish !Plan again Cancel"},
		{"failed", release.Release{Status: release.Failed, Needed: 1, Approvals: approved}, "Try again Plan again"},
		{"public", release.Release{Status: release.Completed, From: 2}, "!Publish !Plan again Revert…"},
		{"the first", release.Release{Status: release.Completed}, "!Publish !Plan again !Revert…"},
		{"reverted", release.Release{Status: release.Reverted}, "!Publish !Plan again"},
		{"rollback that failed", release.Release{Kind: release.Rollback, Status: release.Failed, Needed: 1}, "Try again"},
		{"rollback that runs", release.Release{Kind: release.Rollback, Status: release.InProgress}, "!Publish Cancel"},
	} {
		if tc.r.Kind == "" {
			tc.r.Kind = release.Publication
		}
		tc.r.Team, tc.r.Expires = "core", now.Add(time.Hour)
		var got, open []string
		for _, a := range actions(as(t, 2, auth.ProductMaintainer), tc.r, now) {
			got = append(got, map[bool]string{true: "", false: "!"}[a.Why == ""]+a.Label)
		}
		if s := strings.Join(got, " "); s != tc.want {
			t.Errorf("%s: %s, want %s", tc.name, s, tc.want)
		}
		for _, a := range actions(as(t, 2, auth.Operator), tc.r, now) { // who may not, whatever the state
			if a.Why == "" {
				open = append(open, a.Label)
			}
		}
		if len(open) > 0 {
			t.Errorf("%s: an operator of the farm may %v", tc.name, open)
		}
	}
	expired := release.Release{Kind: release.Publication, Team: "core", Status: release.Scheduled, Approvals: approved, Needed: 1, Expires: now}
	if a := actions(as(t, 2, auth.ProductMaintainer), expired, now)[0]; !strings.Contains(a.Why, "expired") {
		t.Errorf("an expired plan may be published: %+v", a)
	}
}

// TestRows: a package in several repositories is one row, and the filter finds it by any
// of them.
func TestRows(t *testing.T) {
	t.Parallel()
	d, e := albs.DigestOf([]byte("a")), albs.DigestOf([]byte("b"))
	p := plan.Plan{Excluded: []string{"gone-1-1.noarch"}, Refusals: []plan.Refusal{{Package: "lost-1-1.noarch", Build: 7}, {Package: "old-1-1.aarch64"}, {Reason: "x"}}, Decisions: []place.Decision{{Action: place.Exclude, Package: "gone-1-1.noarch"}}, Repositories: []plan.Repository{
		{Path: "x86", Packages: []plan.Change{{Action: plan.Add, NEVRA: "doc-1-1.noarch", Digest: d, Match: "name", Updates: "doc-0-1.noarch"}, {Action: plan.Keep, NEVRA: "lib-1-1.x86_64", Digest: e, Match: "exact"}}},
		{Path: "arm", Packages: []plan.Change{{Action: plan.Keep, NEVRA: "doc-1-1.noarch", Digest: d}, {Action: plan.Remove, NEVRA: "old-1-1.aarch64", Digest: e}}},
	}}
	rows := rowsOf(p)
	if len(rows) != 5 || rows[0].Package != "doc-1-1.noarch" || len(rows[0].Places) != 2 || !rows[0].Adds || rows[0].Updates == "" || len(rows[1].Decided) != 1 || !rows[4].Removed || !rows[4].Refused || !rows[3].Refused || rows[3].Build != 7 {
		t.Fatalf("rows = %+v", rows)
	}
	for f, want := range map[rowFilter]string{
		{}: "doc gone lib lost old", {Show: "refused"}: "lost old", {Search: "LIB"}: "lib", {Repository: "arm"}: "doc old", {Show: "add"}: "doc", {Show: "keep"}: "doc lib", {Show: "remove"}: "old", {Show: "excluded"}: "gone",
		{Show: "doubtful"}: "doc", {Show: "keep", Repository: "x86", Search: "lib"}: "lib", {Search: "nothing"}: "",
	} {
		var got []string
		for _, r := range f.of(rows) {
			name, _, _ := strings.Cut(r.Package, "-")
			got = append(got, name)
		}
		if s := strings.Join(got, " "); s != want {
			t.Errorf("%+v leaves %q, want %q", f, s, want)
		}
	}
	if _, err := rowFilterOf(httptest.NewRequestWithContext(t.Context(), "GET", "/release/1?show=all", nil)); albs.KindOf(err) != albs.Invalid {
		t.Errorf("show=all: %v", err)
	}
}

func TestBuildsOf(t *testing.T) {
	t.Parallel()
	got, err := buildsOf([]string{"7"}, "8, 7\nhttps://albs.example/build/9 /build/10/")
	if err != nil || !slices.Equal(got, []albs.BuildID{7, 8, 9, 10}) {
		t.Errorf("buildsOf = %v, %v", got, err)
	}
	for _, s := range []string{"x", "-1", "0", "1.5", "/build/x", "https://albs.example/release/3"} {
		if _, err := buildsOf(nil, s); albs.KindOf(err) != albs.Invalid {
			t.Errorf("buildsOf(%q) = %v", s, err)
		}
	}
}

func TestTrustOf(t *testing.T) {
	t.Parallel()
	for m, want := range map[place.Match]string{place.Unknown: "", place.Exact: "ok", place.Closest: "wait", place.NameVersion: "weak", place.Name: "weak"} {
		if got := trustOf(m.String()); got.Class != want || (got.Word == "") != (want == "") {
			t.Errorf("trustOf(%s) = %+v", m, got)
		}
	}
	if s := fmt.Sprint(place.Unknown); s != "" {
		t.Errorf("an unknown match is called %q", s)
	}
}
