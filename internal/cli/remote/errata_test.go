package remote

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestErrataCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := func(name, text string) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		return path
	}
	const (
		doc = `{"id":"ALSA-2024:1","platform":"el9","revision":3,"title":"Important: bash update","type":"security","severity":"Important","release_status":"released","last_release_log":"",
			"published_version":1,"pending":true,"release_id":7,"issued_date":"2026-11-20T00:00:00Z","updated_date":"2026-11-21T00:00:00Z","description":"one\ntwo","builds":[4],
			"references":[{"ref_type":"cve","ref_id":"CVE-2024-1111","href":"https://c.example/"}],
			"packages":[{"name":"bash","epoch":1,"version":"5","release":"1.el9","arch":"x86_64","module":"m:s","reboot_suggested":true}],
			"advisory":{"vex":[{"cve":"CVE-2024-1111","package":"zsh","status":"affected","detail":"Wait.","at":"2026-11-21T00:00:00Z"}]}}`
		show  = "GET /errata/?errata_id=ALSA-2024%3A1&errata_platform_id=el9"
		one   = "/errata/ALSA-2024:1/"
		of    = "?platform=el9"
		taken = `{"advisories":[{"id":"ALSA-2024:1","from":"RHSA-2024:1","outcome":"created"}],"dropped":["a reference"]}`
		bad   = `{"advisories":[{"id":"X-1","from":"X-1","outcome":"refused","error":"not how"}],"dropped":[]}`
		done  = "advisory ALSA-2024:1 of el9 is released, at revision 3\n"
	)
	updates, change := file("u.xml", "<updates/>"), file("c.json", `{"summary":"s"}`)
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"list", "--platform", "el9", "--pending", "--cve", "CVE-2024-1111"}, map[string][]answer{"GET /errata/query/?cveId=CVE-2024-1111&pageNumber=1&pending=true&platformId=el9": ok(`{"records":[` + doc + `],"total_records":1}`)},
			result{0, "ID           PLATFORM  STATUS             ISSUED      TITLE\nALSA-2024:1  el9       released, changed  2026-11-20  Important: bash update\n", ""}, nil},
		{"show", []string{"show", "ALSA-2024:1", "--platform", "el9"}, map[string][]answer{show: ok(doc)}, result{0, `advisory:        ALSA-2024:1
platform:        el9
title:           Important: bash update
type:            security
severity:        Important
status:          released, changed
public version:  1
release:         7
issued:          2026-11-20 00:00
updated:         2026-11-21 00:00
builds:          4
revision:        3

one
two

PACKAGE                MODULE  REBOOT
bash-1:5-1.el9.x86_64  m:s     yes

REFERENCE  ID             ADDRESS
cve        CVE-2024-1111  https://c.example/

CVE            PACKAGE  STATED    WHY
CVE-2024-1111  zsh      affected  Wait.
`, ""}, nil},
		{"show, of no platform", []string{"show", "ALSA-2024:1"}, nil, result{2, "", "albs: --platform is missing\nusage: albs errata show ID --platform PLATFORM [--json]\n"}, nil},
		{"show, no such", []string{"show", "ALSA-2024:1", "--platform", "el9"}, map[string][]answer{show: problem(404, "not_found", "there is no advisory")},
			result{1, "", "albs: there is no advisory; albs errata list shows all\n"}, nil},
		{"import", []string{"import", updates, "--platform", "el9", "--format", "updateinfo"}, map[string][]answer{"POST /errata/import/?format=updateinfo&platform=el9&reason=": ok(taken)},
			result{0, "ID           FROM         OUTCOME  WHY\nALSA-2024:1  RHSA-2024:1  created  -\n", "left out: a reference\n"}, []string{"POST /errata/import/?format=updateinfo&platform=el9&reason= <updates/>"}},
		{"import, refused", []string{"import", updates, "--platform", "el9", "--format", "osv", "--json"}, map[string][]answer{"POST /errata/import/?format=osv&platform=el9&reason=": ok(bad)},
			result{1, "{\n  \"advisories\": [\n    {\n      \"id\": \"X-1\",\n      \"from\": \"X-1\",\n      \"outcome\": \"refused\",\n      \"error\": \"not how\"\n    }\n  ],\n  \"dropped\": []\n}\n", "albs: 1 of 1 advisories were refused\n"}, []string{"POST /errata/import/?format=osv&platform=el9&reason= <updates/>"}},
		{"create", []string{"create", change}, map[string][]answer{"POST /errata/create/": ok(doc)},
			result{0, "advisory ALSA-2024:1 of el9 is at revision 3\n", ""}, []string{`POST /errata/create/ {"summary":"s"}`}},
		{"create of a list", []string{"create", file("l.json", "[]")}, nil, result{1, "", "albs: " + filepath.Join(dir, "l.json") + " is not one JSON object\n"}, nil},
		{"draft", []string{"draft", "7", "--platform", "el9"}, map[string][]answer{"GET /errata/draft/?build_id=7&platform=el9": ok(`{"advisory":{"title":"t"},"notes":["say how severe"]}`)},
			result{0, "{\n  \"title\": \"t\"\n}\n", "say how severe\n"}, nil},
		{"edit", []string{"edit", "ALSA-2024:1", "--platform", "el9", "--file", change, "--title", "t", "--reason", "r"}, map[string][]answer{show: ok(doc), "PATCH " + one + of: ok(doc)},
			result{0, done, ""}, []string{"PATCH " + one + of + ` {"reason":"r","revision":3,"summary":"s","title":"t"}`}},
		{"edit upon a revision", []string{"edit", "ALSA-2024:1", "--platform", "el9", "--severity", "low", "--revision", "2"}, map[string][]answer{"PATCH " + one + of: problem(409, "conflict", "look at it again")},
			result{1, "", "albs: look at it again\n"}, []string{"PATCH " + one + of + ` {"revision":2,"severity":"low"}`}},
		{"edit of nothing", []string{"edit", "ALSA-2024:1", "--platform", "el9"}, nil, result{2, "", "albs: say what to change: --title, --severity or --file\nusage: albs errata edit ID --platform PLATFORM [--title TEXT] [--severity SEVERITY] [--file FILE.json] [--revision N] [--reason TEXT] [--json]\n"}, nil},
		{"history", []string{"history", "ALSA-2024:1", "--platform", "el9"}, map[string][]answer{"GET " + one + "history/" + of: ok(`[{"revision":2,"kind":"errata.edited","actor":"user:olga","reason":"worse","at":"2026-11-22T10:00:00Z",
			"differences":[{"field":"title","was":"a","is":"b"},{"field":"packages","is":"bash"}]}]`)},
			result{0, "2  2026-11-22 10:00  edited by user:olga: worse\n   - title: a\n   + title: b\n   + packages: bash\n", ""}, nil},
		{"vex", []string{"vex", "ALSA-2024:1", "CVE-2024-1111", "zsh", "--platform", "el9", "--status", "affected", "--detail", "Wait."}, map[string][]answer{show: ok(doc), "PUT " + one + "vex/" + of: ok(doc)},
			result{0, done, ""}, []string{"PUT " + one + "vex/" + of + ` {"revision":3,"cve":"CVE-2024-1111","package":"zsh","status":"affected","detail":"Wait."}`}},
		{"withdraw", []string{"withdraw", "ALSA-2024:1", "--platform", "el9", "--reason", "wrong"}, map[string][]answer{"POST " + one + "withdraw/" + of: ok(doc)},
			result{0, done, ""}, []string{"POST " + one + "withdraw/" + of + ` {"reason":"wrong"}`}},
		{"withdraw for no reason", []string{"withdraw", "ALSA-2024:1", "--platform", "el9"}, nil, result{2, "", "albs: --reason is missing\nusage: albs errata withdraw ID --platform PLATFORM --reason TEXT [--json]\n"}, nil},
		{"restore", []string{"restore", "ALSA-2024:1", "--platform", "el9", "--reason", "right", "--json"}, map[string][]answer{"POST " + one + "restore/" + of: ok(`{"id":"x"}`)},
			result{0, "{\n  \"id\": \"x\"\n}\n", ""}, []string{"POST " + one + "restore/" + of + ` {"reason":"right"}`}},
	} {
		f, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, append([]string{"errata"}, tc.args...)...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}
