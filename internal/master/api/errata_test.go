package api

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/api/advisories"
	"albs/internal/master/db"
	"albs/internal/master/errata"
)

const errataYAML = `
os: {id: almalinux, name: AlmaLinux, version: "9"}
errata:
  team: core
  ids: {security: "ALSA-{year}:{serial}", bugfix: "ALBA-{year}:{serial}", enhancement: "ALEA-{year}:{serial}"}
  own: A
  url: https://repo.example/errata/el
  vendor: AlmaLinux
  namespace: https://almalinux.example
  contact: security@almalinux.example
  ecosystem: AlmaLinux:9
  cpe: cpe:/o:almalinux:almalinux:9
  rewrite:
  - {in: [id], pattern: "^RH([SBE])A-", with: "AL${1}A-"}
  - {in: [text], find: Red Hat, with: AlmaLinux}
`

const albsAdvisory = `{"id": "RHSA-2024:6964", "platform_id": 1, "issued_date": "2024-09-24", "updated_date": "2024-09-24", "title": "Important: bash security update for Red Hat",
	"description": "Red Hat says <b>so</b>.", "severity": "Important",
	"references": [{"href": "https://access.example/RHSA-2024:6964", "ref_id": "RHSA-2024:6964", "ref_type": "rhsa", "cve": {"id": "CVE-2024-1111", "cvss3": "CVSS:3.1/AV:N", "impact": "Important", "public": "2024-09-01"}},
		{"href": "https://errata.example/9/x.html", "ref_id": "x", "ref_type": "self_ref"}],
	"packages": [{"name": "bash", "version": "5.1", "release": "2.el9", "epoch": 0, "arch": "x86_64", "reboot_suggested": true}]}`

// TestErrata goes the way of ALBS's clients and of ours.
func TestErrata(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "operator", post, "/api/v1/platforms/", strings.ReplaceAll(platformYAML, "MIRROR", f.mirror)+errataYAML, 200)
	const errataPath = "/api/v1/errata/"
	one := errataPath + "ALSA-2024:6964/"
	show := func(query string) advisories.AdvisoryView {
		t.Helper()
		var v advisories.AdvisoryView
		f.call(t, "anon", get, errataPath+query, nil, 200).into(t, &v)
		return v
	}

	change := func(who, method, path, body string) advisories.AdvisoryView {
		t.Helper()
		var v advisories.AdvisoryView
		f.call(t, who, method, path, body, 200).into(t, &v)
		return v
	}

	// As ALBS's clients send it: by the id that it had, and that it has.
	for i, tt := range []struct{ path, body, outcome string }{
		{errataPath, albsAdvisory, "created"},
		{errataPath + "new/", albsAdvisory, "unchanged"},
		{errataPath + "new/", strings.Replace(albsAdvisory, "says", "said", 1), "changed"},
	} {
		var v struct {
			OK      bool     `json:"ok"`
			ID      string   `json:"id"`
			Outcome string   `json:"outcome"`
			Dropped []string `json:"dropped"`
		}
		f.call(t, "contributor", post, tt.path, tt.body, 200).into(t, &v)
		if !v.OK || v.ID != "ALSA-2024:6964" || v.Outcome != tt.outcome || v.Dropped == nil {
			t.Errorf("%d: %+v", i, v)
		}
	}
	v := show("?errata_id=ALSA-2024:6964&errata_platform_id=1")
	if v.Title != "Important: bash security update for AlmaLinux" || v.Severity != "Important" || v.ReleaseStatus != "not released" || v.PlatformID != 1 || v.Revision != 2 ||
		v.OvalTitle != "ALSA-2024:6964: bash security update for AlmaLinux (Important)" || v.Type != advisory.Security || len(v.Packages) != 1 || !v.Packages[0].Reboot || v.Original == nil {
		t.Errorf("it is shown as %+v", v)
	}
	var refs []string
	for _, r := range v.References {
		refs = append(refs, fmt.Sprint(r.Type, " ", r.RefID, " ", r.CVE != nil))
	}
	if diff := cmp.Diff([]string{"self ALSA-2024:6964 false", "rhsa RHSA-2024:6964 false", "cve CVE-2024-1111 true"}, refs); diff != "" {
		t.Error(diff)
	}
	v = change("contributor", post, errataPath+"update/", `{"errata_record_id": "ALSA-2024:6964", "errata_platform_id": 1, "title": "Important: bash is bad"}`)
	if v.Title != "Important: bash is bad" || v.OriginalTitle != "Important: bash security update for AlmaLinux" || v.Advisory.Title != "bash is bad" {
		t.Errorf("after the update it is %+v", v)
	}

	// Ours.
	var made advisories.AdvisoryView
	f.call(t, "contributor", post, errataPath+"create/", `{"platform": "el", "type": "bugfix", "title": "zlib bug fix", "description": "d", "issued": "2024-01-02T03:04:05Z",
		"packages": [{"name": "zlib", "epoch": 0, "version": "1", "release": "1", "arch": "x86_64"}], "references": [{"kind": "bugzilla", "id": "1", "url": "https://bugs.example/1"}]}`, 200).into(t, &made)
	if made.ID != "ALBA-2024:A001" || !made.IsOwn {
		t.Errorf("an own one is %+v", made)
	}
	v = change("contributor", patch, one+"?platform=el", `{"revision": 3, "reason": "worse", "severity": "critical", "cves": [{"id": "CVE-2024-2222"}], "frozen": true}`)
	if v.Severity != "Critical" || !v.Freezed || v.Revision != 4 {
		t.Errorf("after the change it is %+v", v)
	}
	v = change("contributor", put, strings.Replace(one, ":", "%3A", 1)+"vex/?platform=1", `{"revision": 4, "cve": "CVE-2024-2222", "package": "zsh", "status": "not_affected", "justification": "component_not_present"}`)
	v = change("contributor", put, one+"vex/?platform=1", `{"revision": 5, "cve": "CVE-2024-2222", "package": "zsh", "status": "affected", "detail": "Wait."}`)
	if len(v.Advisory.VEX) != 1 || v.Advisory.VEX[0].Status != advisory.Affected {
		t.Errorf("it states %+v", v.Advisory.VEX)
	}
	v = change("contributor", put, one+"vex/?platform=1", `{"revision": 6, "cve": "CVE-2024-2222", "package": "zsh"}`)
	if len(v.Advisory.VEX) != 0 {
		t.Errorf("it still states %+v", v.Advisory.VEX)
	}
	var changes []struct {
		Revision    int64
		Kind, Actor string
		Reason      string
		Differences []errata.Difference
	}
	f.call(t, "anon", get, one+"history/?platform=el", nil, 200).into(t, &changes)
	if len(changes) != 7 || changes[3].Reason != "worse" || changes[3].Actor != "user:contributor" || changes[3].Differences[0] != (errata.Difference{Field: "severity", Was: "important", Is: "critical"}) {
		t.Errorf("history is %+v", changes)
	}

	list := func(query string) []string {
		t.Helper()
		var page struct {
			Records []advisories.AdvisoryView `json:"records"`
			Total   int                       `json:"total_records"`
		}
		f.call(t, "anon", get, errataPath+"query/?"+query, nil, 200).into(t, &page)
		out := []string{}
		for _, r := range page.Records {
			out = append(out, r.ID)
		}
		if page.Total != len(out) {
			t.Errorf("%s: %d of %d", query, len(out), page.Total)
		}
		return out
	}
	for query, want := range map[string][]string{
		"":                                      {"ALSA-2024:6964", "ALBA-2024:A001"},
		"pageNumber=1&title=BASH":               {"ALSA-2024:6964"},
		"cveId=CVE-2024-2222":                   {"ALSA-2024:6964"},
		"cveId=CVE-2024-1111":                   {},
		"platformId=1&type=bugfix":              {"ALBA-2024:A001"},
		"id=ALSA-2024:6964":                     {"ALSA-2024:6964"},
		"ids=ALSA-2024:6964,ALSA-2024:9":        {"ALSA-2024:6964"},
		"ids=ALBA-2024:A001&ids=ALSA-2024:6964": {"ALSA-2024:6964", "ALBA-2024:A001"},
		"stage=ready":                           {}, // nobody has looked for matches yet
		"status=not+released&pending=1":         {"ALSA-2024:6964", "ALBA-2024:A001"},
		"status=released":                       {},
		"severity=none":                         {"ALBA-2024:A001"},
	} {
		if diff := cmp.Diff(want, list(query)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", query, diff)
		}
	}
	var all []struct {
		ID         string `json:"id"`
		PlatformID int    `json:"platform_id"`
	}
	f.call(t, "anon", get, errataPath+"all/?platform_id=1", nil, 200).into(t, &all)
	if len(all) != 2 || all[0].ID != "ALBA-2024:A001" || all[0].PlatformID != 1 {
		t.Errorf("all are %+v", all)
	}

	v = change("maintainer", post, one+"withdraw/?platform=el", `{"reason": "wrong"}`)
	if v.ReleaseStatus != "withdrawn" {
		t.Errorf("withdrawn it is %s", v.ReleaseStatus)
	}
	v = change("maintainer", post, one+"restore/?platform=el", `{"reason": "right"}`)

	// What was published is given byte for byte.
	a := v.Advisory
	err := f.db.InTx(t.Context(), func(tx db.Tx) error {
		if err := f.Errata.Begin(t.Context(), tx, []errata.Key{{ID: a.ID, Platform: "el"}}, 5); err != nil {
			return err
		}
		return f.Errata.Publish(t.Context(), tx, []advisory.Advisory{a}, "demo", 5)
	})
	if err != nil {
		t.Fatal(err)
	}
	var versions []struct {
		Version int         `json:"version"`
		SHA256  albs.Digest `json:"sha256"`
		Release int         `json:"release_id"`
	}
	f.call(t, "anon", get, one+"versions/?platform=el", nil, 200).into(t, &versions)
	got := f.call(t, "anon", get, one+"versions/1/?platform=el", nil, 200)
	if len(versions) != 1 || versions[0].Release != 5 || albs.DigestOf(got.body) != versions[0].SHA256 {
		t.Errorf("versions are %+v, the first %s", versions, got.body)
	}
	f.call(t, "anon", get, one+"versions/2/?platform=el", nil, 404)
	f.call(t, "anon", get, one+"versions/x/?platform=el", nil, 400)

	for _, tt := range []struct {
		who, method, path string
		body              any
		status            int
		detail            string
	}{
		{"anon", post, errataPath, albsAdvisory, 401, ""},
		{"operator", post, errataPath, albsAdvisory, 403, "errata.create"},
		{"signer", patch, one + "?platform=el", `{"revision": 1}`, 403, "errata.create"},
		{"contributor", post, one + "withdraw/?platform=el", `{"reason": "x"}`, 403, "errata.release"},
		{"contributor", post, one + "restore/?platform=el", `{"reason": "x"}`, 403, "errata.release"},
		{"contributor", patch, one + "?platform=el", `{"revision": 1, "title": "x"}`, 409, "look at it again"},
		{"contributor", patch, one + "?platform=el", `{"revision": 1, "color": "x"}`, 422, "color"},
		{"contributor", patch, one + "?platform=nowhere", `{"revision": 1}`, 404, "nowhere"},
		{"contributor", post, errataPath, strings.Replace(albsAdvisory, "2024-09-24", "2024-09-99", 1), 400, "issued_date"},
		{"contributor", post, errataPath, strings.Replace(albsAdvisory, "RHSA-2024:6964", "FEDORA-2024-1", 1), 400, "not how advisories are called"},
		{"contributor", post, errataPath + "new/", "{", 400, "as ALBS has it"},
		{"contributor", post, errataPath + "create/", `{"platform": "el", "title": "t", "description": "d"}`, 400, "type"},
		{"contributor", post, errataPath + "import/?platform=el&format=odt", "", 400, "format"},
		{"contributor", post, errataPath + "import/?platform=el&format=updateinfo", "<html/>", 400, ""},
		{"contributor", post, errataPath + "import/?platform=nowhere&format=updateinfo", "<updates/>", 404, "nowhere"},
		{"anon", get, errataPath + "?errata_id=ALSA-2024:1&errata_platform_id=1", nil, 404, "ALSA-2024:1"},
		{"anon", get, errataPath + "query/?status=gone", nil, 400, "no state"},
		{"anon", get, errataPath + "draft/?build_id=1&platform=el", nil, 401, ""},
		{"operator", get, errataPath + "draft/?build_id=1&platform=el", nil, 403, "errata.create"},
		{"contributor", get, errataPath + "draft/?build_id=1&platform=el", nil, 404, "1"},
		{"contributor", get, errataPath + "draft/?build_id=1&platform=nowhere", nil, 404, "nowhere"},
	} {
		p := f.call(t, tt.who, tt.method, tt.path, tt.body, tt.status).problem(t)
		if !strings.Contains(p.Detail, tt.detail) {
			t.Errorf("%s %s by %s: %s", tt.method, tt.path, tt.who, p.Detail)
		}
	}
	big := f.request(t, "contributor", post, errataPath, io.MultiReader(strings.NewReader(`{"title": "`), zeros{}))
	big.ContentLength = advisory.MaxBytes + 1
	if a := do(t, big); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a body without end: %s", a.Status)
	}
}

// TestErrataImport: files that others wrote are taken advisory by advisory, packed or not.
func TestErrataImport(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.call(t, "operator", post, "/api/v1/platforms/", strings.ReplaceAll(platformYAML, "MIRROR", f.mirror)+errataYAML, 200)
	const updates = `<updates><update from="x@example.org" status="final" type="security" version="1"><id>RHSA-2024:1</id><title>Red Hat bash update</title>
		<issued date="2024-01-02 00:00:00"/><updated date="2024-01-03 00:00:00"/><severity>Low</severity><description>d</description>
		<references><reference href="https://a.example/CVE-2024-1" id="CVE-2024-1111" type="cve"/></references>
		<pkglist>
			<collection short="a"><name>a</name><package name="bash" version="5.1" release="2.el9" epoch="0" arch="x86_64"><filename>bash-5.1-2.el9.x86_64.rpm</filename></package></collection>
			<collection short="b"><name>b</name><module name="perl" stream="5.26" version="1" context="abc" arch="x86_64"/><package name="perl" version="5.26" release="1.el9" epoch="0" arch="x86_64"><filename>perl-5.26-1.el9.x86_64.rpm</filename></package></collection>
			<collection short="c"><name>c</name><package name="zsh" version="5" release="1.el9" epoch="0" arch="x86_64"><filename>zsh-5-1.el9.x86_64.rpm</filename></package></collection>
		</pkglist></update>
		<update type="security"><id>FEDORA-2024-1</id><title>t</title><issued date="2024-01-02"/><description>d</description></update></updates>`
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	_, _ = z.Write([]byte(updates))
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	osv, err := json.Marshal(map[string]any{
		"schema_version": "1.7.5", "id": "RHSA-2024:2", "summary": "zlib update", "details": "d", "published": "2024-01-02T00:00:00Z", "modified": "2024-01-02T00:00:00Z",
		"affected": []any{map[string]any{"package": map[string]any{"ecosystem": "AlmaLinux:9", "name": "zlib"}, "ranges": []any{map[string]any{"type": "ECOSYSTEM", "events": []any{map[string]any{"introduced": "0"}, map[string]any{"fixed": "1.2-3.el9"}}}}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	csaf, err := os.ReadFile("../../advisory/csaf/testdata/alsa-2026_1234.json")
	if err != nil {
		t.Fatal(err)
	}
	// Both of AlmaLinux's files, the first with something that no advisory can have.
	const errataJSON = `[{"updateinfo_id": "ALSA-2024:3", "issued_date": {"$date": 1704153600000}, "updated_date": {"$date": 1704153600000}, "title": "t", "type": "security", "severity": "Low", "version": "3",
		"pkglist": {"packages": [{"name": "zlib", "epoch": "0", "version": "1.2", "release": "3.el9", "arch": "x86_64", "sum": "abc", "sum_type": 1}]}, "references": []}]`
	const fullJSON = `{"schema_version": "1.0", "data": [{"id": "ALSA-2024:4", "issued_date": 1704153600, "updated_date": 1704153600, "title": "t", "type": "security", "severity": "Low",
		"packages": [{"name": "zlib", "epoch": "0", "version": "1.2", "release": "4.el9", "arch": "x86_64"}], "modules": [], "references": []}]}`
	for _, tt := range []struct {
		format  string
		body    []byte
		want    []string
		dropped string // what of it the answer says
	}{
		{"updateinfo", packed.Bytes(), []string{"FEDORA-2024-1 refused", "ALSA-2024:1 created"}, ""},
		{"updateinfo", []byte(updates), []string{"FEDORA-2024-1 refused", "ALSA-2024:1 unchanged"}, ""},
		{"osv", osv, []string{"ALSA-2024:2 created"}, `RHSA-2024:2: of "zlib" only the source package is told`},
		{"csaf", csaf, []string{"ALSA-2026:1234 created"}, "2 products are of other platforms"},
		{"errata.json", []byte(errataJSON), []string{"ALSA-2024:3 created"}, "ALSA-2024:3: the sum of zlib is of the type 1"},
		{"errata.json", []byte(fullJSON), []string{"ALSA-2024:4 created"}, ""},
	} {
		var v struct {
			Advisories []struct{ ID, From, Outcome, Error string } `json:"advisories"`
			Dropped    []string                                    `json:"dropped"`
		}
		q := url.Values{"platform": {"el"}, "format": {tt.format}, "reason": {"from a test"}}
		f.call(t, "contributor", post, "/api/v1/errata/import/?"+q.Encode(), io.Reader(bytes.NewReader(tt.body)), 200).into(t, &v)
		var got []string
		for _, a := range v.Advisories {
			got = append(got, a.ID+" "+a.Outcome)
			if (a.Outcome == "refused") != (a.Error != "") {
				t.Errorf("%s: %+v", tt.format, a)
			}
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || v.Dropped == nil || !strings.Contains(strings.Join(v.Dropped, "\n"), tt.dropped) || len(v.Dropped) > 1 {
			t.Errorf("%s (-want +got):\n%s\nleft out: %q", tt.format, diff, v.Dropped)
		}
	}
	// Each package is of the module of its collection, and of no other's.
	var v advisories.AdvisoryView
	f.call(t, "anon", get, "/api/v1/errata/?errata_id=ALSA-2024:1&errata_platform_id=el", nil, 200).into(t, &v)
	got := map[string]string{}
	for _, p := range v.Packages {
		got[p.Name] = p.Module
	}
	if diff := cmp.Diff(map[string]string{"bash": "", "perl": "perl:5.26", "zsh": ""}, got); diff != "" || v.Title != "Low: AlmaLinux bash update" || v.Module != nil {
		t.Errorf("it is %q of %v\n%s", v.Title, v.Module, diff)
	}
}
