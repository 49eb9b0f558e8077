package api

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/albs"
	"albs/internal/master/api/delivery"
	"albs/internal/master/db"
	"albs/internal/master/errata"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/errata/publish"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/pgp"
	"albs/internal/repodata"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

// answered is errata's part of releases, with those advisories answered whose names it has.
type answered struct {
	*publish.Publisher
	names []string
}

func (a answered) Share(ctx context.Context, ask release.Ask) (plan.Share, error) {
	of := map[bool][]plan.Wanted{}
	for _, w := range ask.Wanted {
		there := slices.Contains(a.names, w.Name)
		of[there] = append(of[there], w)
	}
	ask.Wanted = of[false]
	s, err := a.Publisher.Share(ctx, ask)
	for _, w := range of[true] {
		s.Items = append(s.Items, plan.Item{Part: publish.Name, Name: w.Name, Version: 1, Digest: albs.DigestOf([]byte(w.Name)), Force: w.Force})
	}
	return s, err
}

// nothing answers.
type nothing struct{ *errata.Errata }

func (n nothing) Chosen(ctx context.Context, k errata.Key) ([]publish.Answer, []publish.Lack, error) {
	r, err := n.Get(ctx, k)
	var out []publish.Lack
	for _, p := range r.Advisory.Packages {
		out = append(out, publish.Lack{Wanted: p.NEVRA, Why: "nobody built it"})
	}
	return nil, out, err
}

// signKey has a key made, by a signer that the test plays.
func (f *fixture) signKey(t *testing.T, name, product string) {
	t.Helper()
	f.call(t, "signer", post, "/api/v1/sign-keys/generate", fmt.Sprintf(`{"name":%q,"user_id":"K <k@example.org>","algorithm":"ed25519","products":[%q]}`, name, product), 202)
	var w workerView
	f.call(t, "operator", post, "/api/v1/workers/", `{"name":"signer-1","role":"signer"}`, 201).into(t, &w)
	signer := worker.NewClient(f.url, w.Token, http.DefaultClient)
	lease, err := signer.Claim(t.Context(), worker.Offer{Version: "1", Labels: []string{"kind:keygen"}, Wait: 10, Key: workertest.Key})
	if err != nil || lease == nil {
		t.Fatalf("Claim = %v, %v", lease, err)
	}
	key, err := pgp.Generate(lease.Spec.Keygen.Name, pgp.Ed25519, time.Now())
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	if err := signer.Complete(t.Context(), lease.Token, albs.OutcomeOK, albs.Result{Keygen: &albs.KeygenResult{Fingerprint: key.Fingerprint(), Public: public}}); err != nil {
		t.Fatal(err)
	}
}

// TestErrataRelease: ALBS's ways to release advisories plan releases, of each platform one;
// each advisory has its result.
func TestErrataRelease(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	platforms := strings.ReplaceAll(platformYAML, "MIRROR", f.mirror) + errataYAML
	f.call(t, "operator", post, "/api/v1/platforms/", platforms, 200)
	f.call(t, "operator", post, "/api/v1/platforms/", strings.NewReplacer("name: el\n", "name: el8\n", ".el9", ".el8", "errata/el", "errata/el8").Replace(platforms), 200)
	spec := strings.Replace(productYAML, "platforms: [el]", "platforms: [el, el8]\nkey: distro-1", 1) + "- {path: 8/x86_64/os, platform: el8, arch: x86_64, kind: rpm}\n"
	f.call(t, "maintainer", post, "/api/v1/products/", spec, 200)
	f.signKey(t, "distro-1", "distro")
	part := &answered{names: []string{"ALSA-2024:1/el", "ALSA-2024:2/el", "ALSA-2024:2/el8"}}
	part.Publisher = publish.New(publish.Parts{
		DB: f.db, Artifacts: f.Artifacts, Platforms: f.Platforms, Keys: f.Signs, Errata: f.Errata, Answers: nothing{f.Errata}, Dir: t.TempDir(), Log: zerolog.Nop(),
	})
	f.Releases.Join(part)

	const root = "/api/v1/errata/"
	for _, key := range []errata.Key{{ID: "ALSA-2024:1", Platform: "1"}, {ID: "ALSA-2024:2", Platform: "1"}, {ID: "ALSA-2024:2", Platform: "2"}, {ID: "ALSA-2024:3", Platform: "1"}, {ID: "ALSA-2024:4", Platform: "1"}} {
		body := strings.NewReplacer("RHSA-2024:6964", strings.Replace(key.ID, "AL", "RH", 1), `"platform_id": 1`, `"platform_id": `+key.Platform).Replace(albsAdvisory)
		f.call(t, "contributor", post, root, body, 200)
	}
	if err := f.db.InTx(t.Context(), func(tx db.Tx) error {
		return f.Errata.Begin(t.Context(), tx, []errata.Key{{ID: "ALSA-2024:4", Platform: "el"}}, 99)
	}); err != nil {
		t.Fatal(err)
	}
	ask := func(path, body string) delivery.ErrataReleaseView {
		t.Helper()
		var v delivery.ErrataReleaseView
		f.call(t, "maintainer", post, root+path, body, 200).into(t, &v)
		return v
	}
	told := func(v delivery.ErrataReleaseView) []string {
		var out []string
		for _, r := range v.Results {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s/%s %d %t %s", r.ID, r.Platform, r.Release, r.OK, r.Error)))
		}
		return out
	}
	want := func(v delivery.ErrataReleaseView, message string, results ...string) {
		t.Helper()
		if diff := cmp.Diff(append([]string{message}, results...), append([]string{v.Message}, told(v)...)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	}
	items := func(id albs.ReleaseID) []plan.Item {
		t.Helper()
		var r delivery.ReleaseView
		f.call(t, "anon", get, fmt.Sprintf("/api/v1/releases/%d/", id), nil, 200).into(t, &r)
		return r.Plan.Items
	}

	v := ask("release_new_record/ALSA-2024:1/?platform_id=1", "")
	want(v, "Record ALSA-2024:1 is scheduled for release 1", "ALSA-2024:1/el 1 true")
	if got := items(1); len(got) != 1 || got[0].Name != "ALSA-2024:1/el" || got[0].Force != "" {
		t.Errorf("the release has %+v", got)
	}
	const lacks = "it can't be released as it is: bash-5.1-2.el9.x86_64 has no answer that was approved (nobody built it)"
	want(ask("release_record/ALSA-2024%3A3/?platform_id=el", ""), "Record ALSA-2024:3 can't be released: "+lacks, "ALSA-2024:3/el 2 false "+lacks)
	const running = "it is in progress already, in release 99"
	want(ask("release_new_record/ALSA-2024:4/?platform_id=1", ""), "Record ALSA-2024:4 can't be released: "+running, "ALSA-2024:4/el 0 false "+running)

	// The same id on two platforms is two advisories: what isn't clear isn't done, and what
	// is said to be skipped isn't released.
	const both = "several platforms have an advisory ALSA-2024:2: give one of el, el8 as platform_id"
	v = ask("bulk_release_new_records/", `["ALSA-2024:2", "ALSA-2024:1", "ALSA-2024:4", "ALSA-2024:9", "ALSA-2024:1", "ALSA-2024:3"]`)
	want(v, "The following records were scheduled for release: ALSA-2024:1. Skipped: ALSA-2024:2, ALSA-2024:4, ALSA-2024:9, ALSA-2024:1, ALSA-2024:3",
		"ALSA-2024:2/ 0 false "+both, "ALSA-2024:1/el 3 true", "ALSA-2024:4/el 0 false "+running, `ALSA-2024:9/ 0 false there is no advisory "ALSA-2024:9"`,
		"ALSA-2024:1/ 0 false it was named before", "ALSA-2024:3/el 3 false "+lacks)
	if got := items(3); len(got) != 1 || got[0].Name != "ALSA-2024:1/el" {
		t.Errorf("the release has %+v", got)
	}
	v = ask("bulk_release_records/?platform_id=el8&force=true", `["ALSA-2024:2"]`)
	want(v, "The following records were scheduled for release: ALSA-2024:2", "ALSA-2024:2/el8 4 true")
	if got := items(4); len(got) != 1 || got[0].Name != "ALSA-2024:2/el8" || got[0].Force != "it was forced by a client that gives no reason" {
		t.Errorf("the release has %+v", got)
	}
	ask("release_record/ALSA-2024:2/?platform_id=el&force=true&reason=so+it+is", "")
	if got := items(5); len(got) != 1 || got[0].Force != "so it is" {
		t.Errorf("the release has %+v", got)
	}
	want(ask("bulk_release_records/", `["ALSA-2024:4"]`), "No records were scheduled for release. Skipped: ALSA-2024:4", "ALSA-2024:4/el 0 false "+running)

	// All that wait, but for one that another release has.
	plans := func(body string) delivery.ReleaseView {
		t.Helper()
		var r delivery.ReleaseView
		f.call(t, "maintainer", post, "/api/v1/releases/new/", body, 201).into(t, &r)
		return r
	}
	r := plans(`{"builds": [], "product": "distro", "advisories_of": "el"}`)
	var got []string
	for _, i := range r.Plan.Items {
		got = append(got, i.Name)
	}
	for _, s := range r.Plan.Skipped {
		got = append(got, s.Name+" "+s.Reason)
	}
	if diff := cmp.Diff([]string{"ALSA-2024:1/el", "ALSA-2024:2/el", "ALSA-2024:3/el " + lacks}, got); diff != "" || len(r.Plan.Refusals) > 0 {
		t.Errorf("all that wait (-want +got):\n%s\nrefused: %v", diff, r.Plan.Refusals)
	}
	if err := f.db.InTx(t.Context(), func(tx db.Tx) error {
		return f.Errata.Begin(t.Context(), tx, []errata.Key{{ID: "ALSA-2024:2", Platform: "el8"}}, 99)
	}); err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		body   string
		status int
		detail string
	}{
		{`{"builds": [], "product": "distro", "advisories_of": "el8"}`, 409, "no advisory of platform el8 waits"},
		{`{"builds": [], "product": "distro", "advisories_of": "nowhere"}`, 404, "nowhere"},
		{`{"builds": [], "product": "distro", "advisories_of": "el", "advisories": [{"id": "ALSA-2024:1", "platform": "el"}]}`, 400, "one or the other"},
		{`{"builds": [], "product": "distro", "advisories_of": "el", "copy": {"product": "distro"}}`, 400, "body.copy"},
	} {
		if p := f.call(t, "maintainer", post, "/api/v1/releases/new/", tt.body, tt.status).problem(t); !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s: %s", tt.body, p.Detail)
		}
	}

	// A plan that is refused as a whole releases none of them.
	f.call(t, "maintainer", post, "/api/v1/products/", strings.Replace(spec, "key: distro-1\n", "", 1), 200)
	if v := ask("release_record/ALSA-2024:1/?platform_id=el", ""); v.Results[0].OK || !strings.HasPrefix(v.Results[0].Error, "release 7 is refused: ") {
		t.Errorf("without a key: %+v", v)
	}
	f.call(t, "maintainer", post, "/api/v1/products/", strings.Replace(productYAML, "name: distro", "name: other", 1), 200)
	const several = "several products have platform el: give one of distro, other as product"
	want(ask("release_record/ALSA-2024:1/?platform_id=el", ""), "Record ALSA-2024:1 can't be released: "+several, "ALSA-2024:1/el 0 false "+several)
	if v := ask("release_record/ALSA-2024:1/?platform_id=el&product=distro", ""); v.Results[0].Release != 8 {
		t.Errorf("of a product: %+v", v)
	}
	if v := ask("release_record/ALSA-2024:1/?platform_id=el&product=nowhere", ""); v.Results[0].OK || !strings.Contains(v.Results[0].Error, "nowhere") {
		t.Errorf("of no product: %+v", v)
	}

	for _, tt := range []struct {
		who, path, body string
		status          int
	}{
		{"anon", "release_record/ALSA-2024:1/?platform_id=1", "", 401},
		{"contributor", "release_record/ALSA-2024:1/?platform_id=1", "", 403},
		{"contributor", "bulk_release_records/", `["ALSA-2024:1"]`, 403},
		{"maintainer", "release_record/ALSA-2024:1/", "", 422},
		{"maintainer", "release_record/ALSA-2024:9/?platform_id=1", "", 404},
		{"maintainer", "release_record/ALSA-2024:1/?platform_id=9", "", 404},
		{"maintainer", "release_record/ALSA-2024:1/?platform_id=1&force=perhaps", "", 422},
		{"maintainer", "bulk_release_records/", `[]`, 422},
		{"maintainer", "bulk_release_records/", `{"records": []}`, 422},
		{"maintainer", "bulk_release_records/", `["` + strings.Repeat(`x", "`, 500) + `x"]`, 422},
	} {
		f.call(t, tt.who, post, root+tt.path, tt.body, tt.status).problem(t)
	}
}

// TestErrataForms: what is public of an advisory as updateinfo.xml and as OVAL, each where
// ALBS has it.
func TestErrataForms(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	platforms := strings.ReplaceAll(platformYAML, "MIRROR", f.mirror) + errataYAML
	f.call(t, "operator", post, "/api/v1/platforms/", platforms, 200)
	f.call(t, "operator", post, "/api/v1/platforms/", strings.NewReplacer("name: el\n", "name: el8\n", ".el9", ".el8", "errata/el", "errata/el8").Replace(platforms), 200)
	const root = "/api/v1/errata/"
	f.call(t, "contributor", post, root, albsAdvisory, 200)
	f.call(t, "contributor", post, root, strings.Replace(albsAdvisory, "RHSA-2024:6964", "RHSA-2024:1", 1), 200)
	f.call(t, "contributor", post, root, strings.Replace(albsAdvisory, `"platform_id": 1`, `"platform_id": 2`, 1), 200)
	one := root + "ALSA-2024:6964/updateinfo/"
	f.call(t, "anon", get, one+"?platform_id=1", nil, 404).problem(t)
	oval := func(query string, status int) string {
		t.Helper()
		var s string
		if a := f.call(t, "contributor", get, root+query, nil, status); status == 200 {
			a.into(t, &s)
		} else {
			s = a.problem(t).Detail
		}
		return s
	}
	if s := oval("get_new_oval_xml/?platform_name=el&only_released=true", 404); s != "platform el has no advisories of which OVAL tells" {
		t.Error(s)
	}
	publish := func(platform string, change func(*advisory.Advisory)) {
		t.Helper()
		k := errata.Key{ID: "ALSA-2024:6964", Platform: platform}
		r, err := f.Errata.Get(t.Context(), k)
		if err == nil {
			r.Advisory.Solution = "dnf upgrade"
			change(&r.Advisory)
			err = f.db.InTx(t.Context(), func(tx db.Tx) error {
				if err := f.Errata.Begin(t.Context(), tx, []errata.Key{k}, 5); err != nil {
					return err
				}
				return f.Errata.Publish(t.Context(), tx, []advisory.Advisory{r.Advisory.Normal()}, "demo", 5)
			})
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish("el", func(a *advisory.Advisory) {
		virt := a.Packages[0]
		virt.Name, virt.Repository, virt.Module = "virt", "AppStream/x86_64/os", &advisory.Module{Name: "virt", Stream: "rhel", Version: 9, Context: "abc", Arch: "x86_64"}
		a.Packages[0].Repository = "BaseOS/x86_64/os"
		a.Packages = append(a.Packages, virt)
	})

	// All repositories are told of, a module is only its own packages', and nothing is lost.
	a := f.call(t, "anon", get, one, nil, 200)
	text := string(a.body)
	if a.Header.Get("Content-Type") != "text/plain; charset=utf-8" || strings.Count(text, "<collection ") != 2 || strings.Count(text, "<module ") != 1 || strings.Count(text, "<package ") != 2 ||
		!strings.Contains(text, "<solution>dnf upgrade</solution>") || !strings.Contains(text, "says &lt;b&gt;so&lt;/b&gt;") || strings.Count(text, "CVE-2024-1111\" type=\"cve\"") != 1 {
		t.Errorf("the notice is %s", text)
	}
	if i, j, k := strings.Index(text, "<module "), strings.Index(text, `<package name="virt"`), strings.Index(text, `<package name="bash"`); i > j || j > k {
		t.Errorf("the module is not virt's: %s", text)
	}
	publish("el8", func(a *advisory.Advisory) { a.Packages[0].Repository = "8/x86_64/os" })
	if p := f.call(t, "anon", get, one, nil, 400).problem(t); !strings.Contains(p.Detail, "give one of el8, el as platform_id") && !strings.Contains(p.Detail, "give one of el, el8 as platform_id") {
		t.Error(p.Detail)
	}
	if s := string(f.call(t, "anon", get, one+"?platform_id=2", nil, 200).body); !strings.Contains(s, "el8-for-8-x86_64-os-rpms__default") {
		t.Errorf("of the other platform it is %s", s)
	}
	f.call(t, "anon", get, root+"ALSA-2024:9/updateinfo/", nil, 404).problem(t)

	released := oval("get_oval_xml/?platform_name=el&only_released=true", 200)
	if !strings.HasPrefix(released, "<?xml") || strings.Count(released, "<definition ") != 1 || !strings.Contains(released, "def:20246964") || !strings.Contains(released, "Module virt:rhel is enabled") {
		t.Errorf("OVAL of what is released is %s", released)
	}
	for _, path := range []string{"get_oval_xml", "get_new_oval_xml/"} {
		if all := oval(path+"?platform_name=1", 200); strings.Count(all, "<definition ") != 2 || !strings.Contains(all, "def:20241\"") {
			t.Errorf("OVAL of all is %s", all)
		}
	}
	if s := oval("get_oval_xml/?platform_name=nowhere", 404); s != "nowhere is not a valid platform" {
		t.Error(s)
	}
	f.call(t, "anon", get, root+"get_oval_xml/?platform_name=el", nil, 401).problem(t)
}

// TestErrataCheck: what was found of the public place is told, and who may asks anew.
func TestErrataCheck(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "operator", post, "/api/v1/platforms/", strings.ReplaceAll(platformYAML+strings.Replace(errataYAML, "https://repo.example", "MIRROR", 1), "MIRROR", f.mirror), 200)
	f.call(t, "maintainer", post, "/api/v1/products/", productYAML, 200)
	const path = "/api/v1/products/distro/errata-check/"
	check := func(who, method string) monitor.Result {
		t.Helper()
		var r monitor.Result
		a := f.call(t, who, method, path, nil, 200)
		a.into(t, &r)
		if r.Product != "distro" || !strings.Contains(string(a.body), `"troubles":[`) {
			t.Errorf("%s by %s tells %s", method, who, a.body)
		}
		return r
	}
	f.call(t, "anon", get, path, nil, 404).problem(t)
	if r := check("maintainer", post); r.Serial != 0 || len(r.Troubles) > 0 {
		t.Errorf("of a product that shows nothing is found %+v", r)
	}

	// The public place has other metadata than any release made.
	at := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	a := advisory.Advisory{
		ID: "ALSA-2026:1", Platform: "el", Version: 1, Type: advisory.Security, Title: "a fix", Description: "It was wrong.", Issued: at, Updated: at,
		Packages: []advisory.Package{advisorytest.Package("bash-5.1-2.el9.x86_64", "bash-5.1-2.el9.src.rpm", "BaseOS/x86_64/os", nil)},
	}.Normal().Encode()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	_, err := f.Artifacts.Blobs().Put(t.Context(), albs.DigestOf(a), bytes.NewReader(a))
	must(err)
	empty, err := repodata.Empty(t.Context(), f.repos.Blobs(), 1)
	must(err)
	tree := repodata.Tree{
		Product: "distro", Serial: 1, Files: []repodata.TreeFile{{Path: "errata/el/advisories/ALSA-2026-1.json", Digest: albs.DigestOf(a), Size: int64(len(a))}},
		Repositories: []repodata.TreeRepo{{Path: "BaseOS/x86_64/os", Snapshot: empty.Digest()}},
	}
	d, err := f.repos.SaveTree(t.Context(), tree)
	must(err)
	must(f.db.InTx(t.Context(), func(tx db.Tx) error { return f.repos.AdvanceTree(t.Context(), tx, "distro", 0, tree, d) }))
	r := check("maintainer", post)
	if r.Serial != 1 || r.Advisories != 1 || len(r.Troubles) != 1 || r.Troubles[0].Repository != "BaseOS/x86_64/os" || r.Troubles[0].Detail == "" || len(r.Unchecked) > 0 {
		t.Errorf("found is %+v", r)
	}
	if last := check("anon", get); !slices.Equal(last.Troubles, r.Troubles) || !last.Checked.Equal(r.Checked) {
		t.Errorf("kept is %+v", last)
	}
	f.call(t, "anon", post, path, nil, 401).problem(t)
	f.call(t, "contributor", post, path, nil, 403).problem(t)
	f.call(t, "maintainer", post, "/api/v1/products/nowhere/errata-check/", nil, 404).problem(t)
	f.call(t, "anon", get, "/api/v1/products/nowhere/errata-check/", nil, 404).problem(t)
}
