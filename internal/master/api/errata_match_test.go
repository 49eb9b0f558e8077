package api

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/api/advisories"
	"albs/internal/master/db"
)

// TestErrataMatches decides on matches as ALBS's clients do, and as ours.
func TestErrataMatches(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "operator", post, "/api/v1/platforms/", strings.ReplaceAll(platformYAML, "MIRROR", f.mirror)+errataYAML, 200)
	exec := func(query string, args ...any) {
		t.Helper()
		if _, err := f.db.ExecContext(t.Context(), query, args...); err != nil {
			t.Fatal(err)
		}
	}
	for id := 1; id <= 2; id++ { // two builds of bash, as matching keeps them
		exec(`INSERT INTO build (id, owner_id, owner, team, product, options, created_at) VALUES ($1, 1, 'x', '', '', '{}', $2)`, id, db.Now())
		exec(`INSERT INTO build_item (id, build_id, place, platform, arches, url, ref, ref_type, commit_id, package) VALUES ($1, $1, 0, 'el', '[]', '', '', '', '', 'bash')`, id)
		exec(`INSERT INTO errata_package (platform, build_id, item_id, name, epoch, version, release, arch, module, source, unsigned)
			VALUES ('el', $1, $1, 'bash', 0, '5.1', '2.el9', 'x86_64', '', 'bash-5.1-2.el9.src.rpm', $2)`, id, strings.Repeat(string(rune('0'+id)), 64))
	}
	const root = "/api/v1/errata/"
	f.call(t, "contributor", post, root, albsAdvisory, 200)
	bash, path := "bash-5.1-2.el9.x86_64", root+"ALSA-2024:6964/"
	read := func(who, method, path string, body any) advisories.MatchesView {
		t.Helper()
		var v advisories.MatchesView
		f.call(t, who, method, path, body, 200).into(t, &v)
		return v
	}
	short := func(v advisories.MatchesView) []string {
		out := []string{v.Stage}
		for _, p := range v.Packages {
			if p.Lack != "" || p.Excluded {
				out = append(out, strings.TrimSpace(p.Package+" "+p.Lack+p.By))
			}
		}
		for _, m := range v.Matches {
			out = append(out, strings.TrimSpace(m.Wanted+" "+m.Package+" "+m.Build.String()+" "+m.Status+" "+m.By))
		}
		return out
	}
	want := func(v advisories.MatchesView, want ...string) {
		t.Helper()
		if diff := cmp.Diff(want, short(v)); diff != "" {
			t.Errorf("matches (-want +got):\n%s", diff)
		}
	}

	want(read("anon", get, path+"matches/?platform=1", nil), "needs build", bash+" it wasn't looked for yet")
	var choice advisories.CandidatesView
	f.call(t, "anon", get, root+"candidates/?platform=1&name=bash", nil, 200).into(t, &choice)
	if len(choice.Packages) != 2 || choice.More || choice.Packages[0].Package != bash || choice.Packages[0].Build != 2 || choice.Packages[0].Released || choice.Packages[0].SHA256 == "" {
		t.Errorf("to choose from: %+v", choice)
	}
	f.call(t, "anon", get, root+"candidates/?platform=el&build_id=1", nil, 200).into(t, &choice)
	if len(choice.Packages) != 1 || choice.Packages[0].Build != 1 {
		t.Errorf("to choose from of a build: %+v", choice)
	}
	f.call(t, "anon", get, root+"candidates/?platform=el", nil, 400)
	var reset advisories.ResetView
	f.call(t, "maintainer", post, root+"reset-matched-packages?record_id=ALSA-2024:6964&platform_id=1", nil, 200).into(t, &reset)
	if reset.Message != "Packages for record ALSA-2024:6964 have been matched" {
		t.Errorf("reset = %+v", reset)
	}
	v := read("anon", get, path+"matches/?platform=el", nil)
	want(v, "needs match", bash+" "+bash+" 2 proposal", bash+" "+bash+" 1 proposal")
	if m := v.Matches[0]; m.Strength != "exact" || m.Because != "build 2 has it in exactly this version" || !m.Proposed || m.Source != "bash" || m.SHA256 == "" || v.PlatformID != 1 || v.Wanted != 1 || v.Open != 1 {
		t.Errorf("match = %+v", m)
	}

	// ALBS's way: by build and source, the answer tells what didn't go.
	status := func(body string) advisories.ChangedView {
		t.Helper()
		var v advisories.ChangedView
		f.call(t, "maintainer", post, root+"update_package_status/", body, 200).into(t, &v)
		return v
	}
	one := `[{"errata_record_id": "ALSA-2024:6964", "errata_platform_id": 1, "build_id": BUILD, "source": "SOURCE", "status": "approved"}]`
	given := func(build, source string) string {
		return strings.NewReplacer("BUILD", build, "SOURCE", source).Replace(one)
	}
	if v := status(given("1", "bash-5.1-2.el9.src.rpm")); !v.OK || v.Error != nil {
		t.Errorf("approved: %+v", v)
	}
	want(read("anon", get, path+"matches/?platform=el", nil), "ready", bash+" "+bash+" 2 skipped", bash+" "+bash+" 1 approved maintainer")
	if v := status(given("2", "zsh")); v.OK || v.Error == nil || !strings.Contains(*v.Error, "there is no such match of the source") {
		t.Errorf("of another source: %+v", v)
	}
	f.call(t, "contributor", post, root+"update_package_status/", given("2", "bash"), 403)
	f.call(t, "maintainer", post, root+"update_package_status/", strings.Replace(given("2", "bash"), "approved", "released", 1), 400)
	var rec advisories.AdvisoryView
	f.call(t, "anon", get, root+"?errata_id=ALSA-2024:6964&errata_platform_id=1", nil, 200).into(t, &rec)
	if p := rec.Packages[0].Matches; len(p) != 2 || p[0].Status != "skipped" || *p[1].BuildID != 1 || p[1].Status != "approved" || p[1].Name != bash+".rpm" {
		t.Errorf("ALBS's view has %+v", p)
	}

	// Ours.
	v = read("maintainer", post, path+"decisions/?platform=el", `{"revision": 0, "decisions": [{"action": "skip", "build_id": 1, "reason": "it crashes"}, {"action": "approve", "wanted": "`+bash+`", "build_id": 2}]}`)
	want(v, "ready", bash+" "+bash+" 2 approved maintainer", bash+" "+bash+" 1 skipped maintainer")
	f.call(t, "maintainer", post, path+"decisions/?platform=el", `{"revision": 1, "decisions": [{"action": "skip", "build_id": 1}]}`, 409)
	f.call(t, "maintainer", post, path+"decisions/?platform=el", `{"revision": 0, "decisions": [{"action": "skip", "package": "../../x"}]}`, 400)
	f.call(t, "maintainer", post, path+"decisions/?platform=el", `{"revision": 0, "decisions": []}`, 422)
	f.call(t, "anon", post, path+"decisions/?platform=el", `{"revision": 0, "decisions": [{"action": "approve"}]}`, 401)
	var each []advisories.MatchOutcome
	f.call(t, "maintainer", post, root+"decisions/", `[{"errata_record_id": "ALSA-2024:6964", "platform": "el", "decisions": [{"action": "exclude", "wanted": "`+bash+`", "reason": "not ours"}, {"action": "add", "package": "`+bash+`", "build_id": 1, "reason": "all the same"}]},
		{"errata_record_id": "ALSA-2024:1", "platform": "el", "decisions": [{"action": "approve"}]}]`, 200).into(t, &each)
	if len(each) != 2 || !each[0].OK || each[1].OK || !strings.Contains(each[1].Error, "ALSA-2024:1") {
		t.Errorf("in bulk: %+v", each)
	}
	want(read("anon", get, path+"matches/?platform=el", nil), "ready", bash+" maintainer", bash+" 1 approved maintainer")

	var queue advisories.QueueView
	f.call(t, "anon", get, root+"queue/?platform=1&stage=ready", nil, 200).into(t, &queue)
	if queue.Counts.Ready != 1 || queue.Counts.NeedsBuild != 0 || len(queue.Advisories) != 1 || queue.Advisories[0].ID != "ALSA-2024:6964" || queue.Advisories[0].PlatformID != 1 || queue.More {
		t.Errorf("queue = %+v", queue)
	}
	f.call(t, "anon", get, root+"queue/?stage=soon", nil, 422)
	for query, want := range map[string]int{"stage=ready": 1, "stage=ready&platformId=1&status=not+released&title=BASH": 1, "stage=ready&title=zsh": 0, "stage=needs+match": 0, "stage=needs+build": 0} {
		var page struct {
			Records []advisories.AdvisoryView `json:"records"`
			Total   int                       `json:"total_records"`
		}
		if f.call(t, "anon", get, root+"query/?"+query, nil, 200).into(t, &page); page.Total != want || len(page.Records) != want {
			t.Errorf("%s: %+v", query, page)
		}
	}
	f.call(t, "anon", get, root+"query/?stage=soon", nil, 422)
	f.call(t, "maintainer", post, root+"reset-matched-packages-multiple?issued_date=2024-09-01%2000:00:00", nil, 200).into(t, &reset)
	if len(reset.Results) != 1 || !reset.Results[0].OK {
		t.Errorf("reset of several = %+v", reset)
	}
	want(read("anon", get, path+"matches/?platform=el", nil), "needs match", bash+" "+bash+" 2 proposal", bash+" "+bash+" 1 proposal")
	f.call(t, "maintainer", post, root+"reset-matched-packages-multiple?issued_date=2034-09-01", nil, 200).into(t, &reset)
	if reset.Message != "No unreleased records found after 2034-09-01" {
		t.Errorf("reset of none = %+v", reset)
	}
	f.call(t, "maintainer", post, root+"reset-matched-packages-multiple?issued_date=soon", nil, 400)
}
