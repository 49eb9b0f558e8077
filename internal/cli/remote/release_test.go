package remote

import (
	"bytes"
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/dustin/go-humanize"
	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
)

const fingerprint = "0123456789ABCDEF0123456789ABCDEF01234567"

func keygenDoc(state, reason, print string) string {
	return `{"task_id":3,"state":"` + state + `","reason":"` + reason + `","name":"demo","user_id":"Demo <d@example.org>","algorithm":"rsa4096","products":[],"requester":"admin","fingerprint":"` + print + `"}`
}

// signDoc is request 8, to sign build 5, with a signed copy of each of its first n packages.
func signDoc(status, reason string, n int) string {
	var packages []string
	for i, name := range []string{"zlib.src.rpm", "zlib.rpm"} {
		signed := ""
		if i < n {
			signed = `,"signed_sha256":"` + strings.Repeat("e", 64) + `"`
		}
		packages = append(packages, `{"name":"`+name+`","sha256":"`+strings.Repeat("b", 64)+`"`+signed+`}`)
	}
	return `{"id":8,"build_id":5,"sign_key":{"name":"demo","fingerprint":"` + fingerprint + `"},"status":` + status + `,"error_message":"` + reason + `","packages":[` + strings.Join(packages, ",") + `]}`
}

// releaseDoc is release 3 as the API shows it; more are further members.
func releaseDoc(status, text, reason, more string) string {
	return `{"id":3,"status":` + status + `,"status_text":"` + text + `","reason":"` + reason + `","kind":"publish","build_ids":[5],"product":{"name":"demo"},"owner":{"id":2,"username":"alice"},
		"created_at":"2026-11-22T11:00:00Z","digest":"` + strings.Repeat("f", 64) + `","expires_at":"2026-11-29T11:00:00Z","approvals_needed":1` + more + `}`
}

func planDoc(refusals string) string {
	return `,"plan":{"product":"demo","key":"` + fingerprint + `","gate":"required","repositories":[{"path":"seed/main/x86_64/os","before":2,"after":3,"bytes":4096,
		"packages":[{"action":"add","nevra":"zlib-1.3-1.seed.x86_64","file":"zlib-1.3-1.seed.x86_64.rpm","digest":"` + strings.Repeat("e", 64) + `","tests":"passed","build":5,"place":"BaseOS","match":"exact","updates":"zlib-1.2-1.seed.x86_64"}]}],
		"dropped":["old/os"],"refusals":[` + refusals + `],"notes":["a note"]}`
}

var plan = "release:  3\nproduct:  demo\nkind:     publish\nstate:    scheduled, 0 of 1 approvals\nby:       alice\ncreated:  2026-11-22 11:00\nbuilds:   5\n" +
	"digest:   " + strings.Repeat("f", 64) + "\nexpires:  2026-11-29 11:00\nkey:      " + fingerprint + "\ntests:    required\n\n" +
	"ACTION  PACKAGE                 REPOSITORY           MATCH  TESTS   SHA256                                                            UPDATES\n" +
	"add     zlib-1.3-1.seed.x86_64  seed/main/x86_64/os  exact  passed  " + strings.Repeat("e", 64) + "  zlib-1.2-1.seed.x86_64\n\n" +
	"REPOSITORY           PACKAGES NOW  AFTER                BYTES MORE\n" +
	"seed/main/x86_64/os  2             3                    4096\n" +
	"old/os               all           the repository goes  -\n\n"

func TestKeysSigningReleases(t *testing.T) {
	t.Parallel()
	const noApproval = `,"approved":false,"approvals":[]`
	const approved = `,"approved":true,"approvals":[{"username":"bob","at":"2026-11-22T11:30:00Z"}]`
	rolledBack := strings.Replace(releaseDoc("3", "completed", "", `,"serial":5,"back_to":3`), `"id":3`, `"id":9`, 1)
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{
			name: "key generate", args: []string{"key", "generate", "demo", "--user-id", "Demo <d@example.org>", "--wait"},
			answers: map[string][]answer{
				"POST /sign-keys/generate":   {{status: 202, body: keygenDoc("queued", "", "")}},
				"GET /sign-keys/generate/3/": ok(keygenDoc("leased", "", ""), keygenDoc("succeeded", "", fingerprint)),
			},
			want: result{0, "key demo is " + fingerprint + "\n", ""},
			saw:  []string{`POST /sign-keys/generate {"name":"demo","user_id":"Demo \u003cd@example.org\u003e","algorithm":"rsa4096"}`},
		},
		{
			name: "key generate that fails", args: []string{"key", "generate", "demo", "--user-id", "x", "--algorithm", "ed25519", "--product", "p", "--wait"},
			answers: map[string][]answer{
				"POST /sign-keys/generate":   {{status: 202, body: keygenDoc("queued", "", "")}},
				"GET /sign-keys/generate/3/": ok(keygenDoc("failed", "no entropy", "")),
			},
			want: result{1, "", "albs: key demo was not made: failed: no entropy\n"},
			saw:  []string{`POST /sign-keys/generate {"name":"demo","user_id":"x","algorithm":"ed25519","products":["p"]}`},
		},
		{
			name: "key generate, odd algorithm", args: []string{"key", "generate", "demo", "--user-id", "x", "--algorithm", "dsa"},
			want: result{2, "", "albs: --algorithm \"dsa\" is neither rsa4096 nor ed25519\n" +
				"usage: albs key generate NAME --user-id \"Name <mail@example.org>\" [--algorithm rsa4096|ed25519] [--product P]… [--subkey] [--not-before T] [--not-after T] [--wait] [--json]\n"},
		},
		{
			name: "key generate for a time", args: []string{"key", "generate", "demo", "--user-id", "x", "--subkey", "--not-before", "2027-01-31", "--not-after", "2028-01-31T12:00:00Z"},
			answers: map[string][]answer{
				"POST /sign-keys/generate": {{status: 202, body: keygenDoc("queued", "", "")}},
			},
			want: result{0, "key demo is being made; albs key list shows it when it is there\n", ""},
			saw:  []string{`POST /sign-keys/generate {"name":"demo","user_id":"x","algorithm":"rsa4096","subkey":true,"not_before":"2027-01-31T00:00:00Z","not_after":"2028-01-31T12:00:00Z"}`},
		},
		{
			name: "key show", args: []string{"key", "show", "demo"},
			answers: map[string][]answer{
				"GET /sign-keys/demo/":                        ok(`{"name":"demo","fingerprint":"` + fingerprint + `","subkey":"` + strings.Repeat("A", 40) + `","algorithm":"rsa4096","user_id":"Demo <d@example.org>","products":["demo"],"active":false,"kept":"token","created_at":"2026-11-22T10:00:00Z","not_before":"2026-11-23T00:00:00Z","revoked_at":"2026-11-24T10:00:00Z","unusable":"was revoked"}`),
				"GET /sign-keys/" + fingerprint + "/packages": ok(`{"total":3,"packages":[{"product":"demo","repository":"el/os","nevra":"hello-0:1.0-1.noarch","sha256":"` + strings.Repeat("e", 64) + `"}]}`),
			},
			want: result{0, "KEY             demo\n" +
				"fingerprint     " + fingerprint + "\n" +
				"signing subkey  " + strings.Repeat("A", 40) + "\n" +
				"user id         Demo <d@example.org>\n" +
				"algorithm       rsa4096\n" +
				"kept in         token\n" +
				"products        demo\n" +
				"made            2026-11-22 10:00\n" +
				"signs from      2026-11-23 00:00\n" +
				"revoked         2026-11-24 10:00\n" +
				"state           revoked\n" +
				"products show 3 packages that it signed:\n" +
				"PRODUCT  REPOSITORY  PACKAGE\n" +
				"demo     el/os       hello-0:1.0-1.noarch\n" +
				"…        …           and 2 more\n", ""},
		},
		{
			name: "key revoke", args: []string{"key", "revoke", "demo", "--reason", "compromised", "--text", "it was lost", "--wait"},
			answers: map[string][]answer{
				"POST /sign-keys/demo/revoke":    {{status: 202, body: `{"task_id":4,"state":"queued","reason":"compromised"}`}},
				"GET /sign-keys/demo/revocation": ok(`{"task_id":4,"state":"leased","reason":"compromised"}`, `{"task_id":4,"state":"succeeded","reason":"compromised"}`),
			},
			want: result{0, "key demo is revoked; albs key show demo lists what products show of its packages\n", ""},
			saw:  []string{`POST /sign-keys/demo/revoke {"reason":"compromised","text":"it was lost"}`},
		},
		{
			name: "key revoke that fails", args: []string{"key", "revoke", "demo", "--reason", "retired", "--wait"},
			answers: map[string][]answer{
				"POST /sign-keys/demo/revoke":    {{status: 202, body: `{"task_id":4,"state":"queued","reason":"retired"}`}},
				"GET /sign-keys/demo/revocation": ok(`{"task_id":4,"state":"failed","state_reason":"it is elsewhere","reason":"retired"}`),
			},
			want: result{1, "", "albs: key demo signs nothing new, and was not revoked: failed: it is elsewhere\n"},
			saw:  []string{`POST /sign-keys/demo/revoke {"reason":"retired","text":""}`},
		},
		{
			name: "key list", args: []string{"key", "list"},
			answers: map[string][]answer{"GET /sign-keys/": ok(`[{"name":"demo","fingerprint":"` + fingerprint + `","algorithm":"rsa4096","user_id":"Demo <d@example.org>","products":[],"active":true,"created_at":"2026-11-22T10:00:00Z"}]`)},
			want: result{0, "NAME  FINGERPRINT                               ALGORITHM  USER ID               PRODUCTS  SINCE             STATE\n" +
				"demo  0123456789ABCDEF0123456789ABCDEF01234567  rsa4096    Demo <d@example.org>  all       2026-11-22 10:00  active\n", ""},
		},
		{
			name: "key export", args: []string{"key", "export", "demo"},
			answers: map[string][]answer{"GET /sign-keys/demo/public": {{media: "application/pgp-keys", body: "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"}}},
			want:    result{0, "-----BEGIN PGP PUBLIC KEY BLOCK-----\n", ""},
		},
		{
			name: "sign", args: []string{"sign", "5", "--key", "demo", "--wait"},
			answers: map[string][]answer{
				"POST /sign-tasks/":  {{status: 201, body: signDoc("1", "", 0)}},
				"GET /sign-tasks/8/": ok(signDoc("2", "", 0), signDoc("2", "", 1), signDoc("3", "", 2)),
				"GET /artifacts/" + strings.Repeat("e", 64) + "/": ok(`{"notarized":false}`, `{"notarized":true}`),
			},
			want: result{0, "build 5 is signed: 2 packages with key demo\n", "build 5: 1 of 2 packages signed\nbuild 5: 2 of 2 packages signed\n"},
			saw:  []string{`POST /sign-tasks/ {"build_id":5,"sign_key":"demo"}`},
		},
		{
			name: "sign that fails", args: []string{"sign", "5", "--key", "demo", "--wait"},
			answers: map[string][]answer{"POST /sign-tasks/": {{status: 201, body: signDoc("1", "", 0)}}, "GET /sign-tasks/8/": ok(signDoc("4", "the signer refused", 0))},
			want:    result{1, "", "albs: build 5 was not signed: the signer refused\n"},
			saw:     []string{`POST /sign-tasks/ {"build_id":5,"sign_key":"demo"}`},
		},
		{
			name: "sign, and the ledger contradicts", args: []string{"sign", "5", "--key", "demo", "--wait"},
			answers: map[string][]answer{"POST /sign-tasks/": {{status: 201, body: signDoc("1", "", 0)}}, "GET /sign-tasks/8/": ok(signDoc("3", "", 2)),
				"GET /artifacts/" + strings.Repeat("e", 64) + "/": ok(`{"notarized":false,"trouble":"the ledger has another value"}`)},
			want: result{1, "", "build 5: 2 of 2 packages signed\nalbs: zlib.src.rpm is signed, but the ledger has another value\n"},
			saw:  []string{`POST /sign-tasks/ {"build_id":5,"sign_key":"demo"}`},
		},
		{
			name: "sign, refused", args: []string{"sign", "5", "--key", "demo"},
			answers: map[string][]answer{"POST /sign-tasks/": problem(409, "conflict", "build 5 is running and can't be signed")},
			want:    result{1, "", "albs: build 5 is running and can't be signed\n"},
			saw:     []string{`POST /sign-tasks/ {"build_id":5,"sign_key":"demo"}`},
		},
		{
			name: "sign without a key", args: []string{"sign", "5"},
			want: result{2, "", "albs: --key is missing\nusage: albs sign BUILD --key NAME|FINGERPRINT [--wait] [--json]\n"},
		},
		{
			name: "release plan", args: []string{"release", "plan", "--product", "demo", "--build", "5", "--build", "6"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+planDoc(""))}}},
			want:    result{0, plan + "NOTES\na note\n", "release 3 is planned; look at it and: albs release approve 3\n"},
			saw:     []string{`POST /releases/new/ {"builds":[5,6],"product":"demo"}`},
		},
		{
			name: "release decide", args: []string{"release", "decide", "3", "--move", "b-1-1.noarch=CRB", "--exclude", "c-1-1.noarch", "--undo", "a-1-1.noarch", "--reason", "so it is"},
			answers: map[string][]answer{
				"GET /releases/3/": ok(releaseDoc("1", "scheduled", "", strings.Replace(planDoc(""), `"dropped"`, `"decisions":[{"action":"add","package":"a-1-1.noarch","to":"CRB","reason":"x","by":"alice"}],"dropped"`, 1)+noApproval)),
				"POST /releases/3/decide/": ok(releaseDoc("1", "scheduled", "", strings.Replace(planDoc(""), `"dropped"`, `"decisions":[{"action":"move","package":"b-1-1.noarch","to":"CRB","reason":"so it is","by":"alice"}],`+
					`"missing":[{"build":5,"platform":"seed","arches":["i686"]}],"dropped"`, 1)+noApproval)),
			},
			want: result{0, strings.Replace(plan, "ACTION ", "DECIDED  PACKAGE       TO   WHY       BY\nmove     b-1-1.noarch  CRB  so it is  alice\n\nACTION ", 1) +
				"NOTES\nbuild 5 has packages of platform seed for other arches and none for i686\na note\n", ""},
			saw: []string{`POST /releases/3/decide/ {"decisions":[{"action":"move","package":"b-1-1.noarch","to":"CRB","reason":"so it is"},{"action":"exclude","package":"c-1-1.noarch","reason":"so it is"}],"digest":"` + strings.Repeat("f", 64) + `"}`},
		},
		{
			name: "release copy", args: []string{"release", "copy", "testing", "demo", "--package", "zlib", "--serial", "7"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+strings.Replace(strings.Replace(planDoc(""), `"dropped"`,
				`"copy":{"product":"testing","serial":7},"left":[{"package":"zlib-1.2-1.src","repository":"source","reason":"it is older than zlib-1.3-1.src"}],
				"closure":{"policy":"advisory","broken":[{"repository":"seed/main/x86_64/os","package":"tool-1-1.x86_64","needs":["lib.so.1","x >= 2"],"shown":true}],
				"unknown":[{"repository":"os","package":"a-1-1.noarch","needs":["/usr/share/x"]}],"more":2},"dropped"`, 1),
				`"packages":[`, `"modules":[{"action":"add","name":"nodejs","stream":"18","version":"8090","context":"abcd","packages":1}],"packages":[`, 1))}}},
			want: result{0, "release:      3\nproduct:      demo\nkind:         publish\nstate:        scheduled, 0 of 1 approvals\nby:           alice\ncreated:      2026-11-22 11:00\nbuilds:       5\n" +
				"digest:       " + strings.Repeat("f", 64) + "\nexpires:      2026-11-29 11:00\ncopied from:  testing, serial 7\nkey:          " + fingerprint + "\ntests:        required\n\n" +
				strings.Replace(plan[strings.Index(plan, "ACTION"):], "REPOSITORY           PACKAGES NOW",
					"ACTION  MODULE     VERSION    REPOSITORY           PACKAGES\nadd     nodejs:18  8090:abcd  seed/main/x86_64/os  1\n\nREPOSITORY           PACKAGES NOW", 1) +
				"LEFT OUT        OF      WHY\nzlib-1.2-1.src  source  it is older than zlib-1.3-1.src\n\n" +
				"UNRESOLVED       REPOSITORY           NEEDS\ntool-1-1.x86_64  seed/main/x86_64/os  lib.so.1, x >= 2\n\n" +
				"NOTES\na note\na-1-1.noarch in os needs /usr/share/x, which is there or not: no metadata lists such paths\n" +
				"2 more packages would lack something\n",
				"release 3 is planned; look at it and: albs release approve 3\n"},
			saw: []string{`POST /releases/new/ {"builds":[],"copy":{"packages":["zlib"],"product":"testing","serial":7},"product":"demo"}`},
		},
		{
			name: "release decide, to take back what isn't", args: []string{"release", "decide", "3", "--undo", "a-1-1.noarch"},
			answers: map[string][]answer{"GET /releases/3/": ok(releaseDoc("1", "scheduled", "", planDoc("")+noApproval))},
			want:    result{1, "", "albs: nothing was decided of a-1-1.noarch; albs release list shows all\n"},
		},
		{
			name: "release plan with refusals", args: []string{"release", "plan", "--product", "demo", "--build", "5"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+planDoc(`{"package":"zlib-1.3-1.seed.x86_64","reason":"it isn't signed"},{"reason":"no key"}`))}}},
			want: result{1, plan + "REFUSED                 WHY\nzlib-1.3-1.seed.x86_64  it isn't signed\n-                       no key\n\nNOTES\na note\n",
				"albs: release 3 can't be approved as it is; see the refusals\n"},
			saw: []string{`POST /releases/new/ {"builds":[5],"product":"demo"}`},
		},
		{
			name: "release plan, waiting for tests", args: []string{"release", "plan", "--product", "demo", "--build", "5", "--wait"},
			answers: map[string][]answer{
				"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+planDoc(`{"package":"zlib-1.3-1.seed.x86_64","reason":"its tests are pending","pending":true}`))}},
				"PUT /releases/3/": {
					ok(releaseDoc("1", "scheduled", "", noApproval+planDoc(`{"package":"zlib-1.3-1.seed.x86_64","reason":"its tests are pending","pending":true}`)))[0],
					ok(releaseDoc("1", "scheduled", "", noApproval+planDoc("")))[0],
				},
			},
			want: result{0, plan + "NOTES\na note\n", "release 3 is planned; look at it and: albs release approve 3\n"},
			saw:  []string{`POST /releases/new/ {"builds":[5],"product":"demo"}`, "PUT /releases/3/ {}", "PUT /releases/3/ {}"},
		},
		{
			name: "release replan", args: []string{"release", "replan", "3"},
			answers: map[string][]answer{"PUT /releases/3/": ok(releaseDoc("1", "scheduled", "", noApproval+planDoc(`{"package":"zlib-1.3-1.seed.x86_64","reason":"its tests are pending","pending":true}`)))},
			want:    result{1, plan + "REFUSED                 WHY\nzlib-1.3-1.seed.x86_64  its tests are pending\n\nNOTES\na note\n", "albs: release 3 can't be approved as it is; see the refusals\n"},
			saw:     []string{"PUT /releases/3/ {}"},
		},
		{
			name: "release plan without a product", args: []string{"release", "plan", "--build", "5"},
			want: result{2, "", "albs: --product is missing\nusage: albs release plan --product P [--build N…] [--advisory ID/PLATFORM…] [--force REASON] [--wait] [--json]\n"},
		},
		{
			name: "release plan of advisories", args: []string{"release", "plan", "--product", "demo", "--advisory", "ALSA-2026:1/el9", "--advisory", "ALSA-2026:1/el10", "--force", "b is late"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+
				`,"plan":{"items":[{"name":"ALSA-2026:1/el10","version":1,"title":"zlib","digest":"`+strings.Repeat("a", 64)+`"},{"name":"ALSA-2026:1/el9","version":2,"title":"zlib","withdraws":true,"digest":"`+strings.Repeat("b", 64)+`","force":"b is late","missing":["b-1-1.noarch","c-1-1.noarch"]}],
				"files":[{"action":"add","path":"errata/el9/errata.json","digest":"`+strings.Repeat("c", 64)+`","sign":true},{"action":"remove","path":"errata/el9/x","digest":"`+strings.Repeat("d", 64)+`"}]}`)}}},
			want: result{0, "release:  3\nproduct:  demo\nkind:     publish\nstate:    scheduled, 0 of 1 approvals\nby:       alice\ncreated:  2026-11-22 11:00\nbuilds:   5\n" +
				"digest:   " + strings.Repeat("f", 64) + "\nexpires:  2026-11-29 11:00\n\n" +
				"ADVISORY          VERSION  TITLE            SHA256" + strings.Repeat(" ", 60) + "WITHOUT                    BECAUSE\n" +
				"ALSA-2026:1/el10  1        zlib             " + strings.Repeat("a", 64) + "  -                          -\n" +
				"ALSA-2026:1/el9   2        withdrawn: zlib  " + strings.Repeat("b", 64) + "  b-1-1.noarch c-1-1.noarch  b is late\n\n" +
				"ACTION  FILE                    SIGNED  SHA256\nadd     errata/el9/errata.json  yes     " + strings.Repeat("c", 64) + "\nremove  errata/el9/x            -       " + strings.Repeat("d", 64) + "\n",
				"release 3 is planned; look at it and: albs release approve 3\n"},
			saw: []string{`POST /releases/new/ {"advisories":[{"id":"ALSA-2026:1","platform":"el9","force":"b is late"},{"id":"ALSA-2026:1","platform":"el10","force":"b is late"}],"builds":[],"product":"demo"}`},
		},
		{
			name: "errata release", args: []string{"errata", "release", "--product", "demo", "--platform", "el9"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+
				`,"plan":{"items":[{"name":"ALSA-2026:1/el9","version":1,"title":"zlib","digest":"`+strings.Repeat("a", 64)+`"}],"skipped":[{"name":"ALSA-2026:2/el9","reason":"it wants b"}]}`)}}},
			want: result{0, "release:  3\nproduct:  demo\nkind:     publish\nstate:    scheduled, 0 of 1 approvals\nby:       alice\ncreated:  2026-11-22 11:00\nbuilds:   5\n" +
				"digest:   " + strings.Repeat("f", 64) + "\nexpires:  2026-11-29 11:00\n\n" +
				"ADVISORY         VERSION  TITLE  SHA256" + strings.Repeat(" ", 60) + "WITHOUT  BECAUSE\n" +
				"ALSA-2026:1/el9  1        zlib   " + strings.Repeat("a", 64) + "  -        -\n\nSKIPPED          WHY\nALSA-2026:2/el9  it wants b\n",
				"release 3 is planned; look at it and: albs release approve 3\n"},
			saw: []string{`POST /releases/new/ {"advisories_of":"el9","builds":[],"product":"demo"}`},
		},
		{
			name: "errata check", args: []string{"errata", "check", "demo"},
			answers: map[string][]answer{"POST /products/demo/errata-check/": ok(`{"product":"demo","serial":4,"advisories":12,"troubles":[]}`)},
			want:    result{0, "product demo: the public sees its 12 advisories as they are (serial 4)\n", ""}, saw: []string{"POST /products/demo/errata-check/ {}"},
		},
		{
			name: "errata check that finds something", args: []string{"errata", "check", "demo", "--last"},
			answers: map[string][]answer{"GET /products/demo/errata-check/": ok(`{"product":"demo","serial":4,"troubles":[{"kind":"missing package","repository":"9/os","advisory":"ALSA-2026:1","package":"a-1-1.noarch","detail":"it isn't there"}],"more":2}`)},
			want: result{1, "TROUBLE          ADVISORY     PACKAGE       REPOSITORY  DETAIL\nmissing package  ALSA-2026:1  a-1-1.noarch  9/os        it isn't there\n",
				"albs: product demo: 3 things are not as its advisories say\n"},
		},
		{
			name: "errata check of what can't be read", args: []string{"errata", "check", "demo"},
			answers: map[string][]answer{"POST /products/demo/errata-check/": ok(`{"product":"demo","troubles":[],"unchecked":["may not"]}`)},
			want:    result{1, "TROUBLE      ADVISORY  PACKAGE  REPOSITORY  DETAIL\nnot checked  -         -        -           may not\n", "albs: product demo: not all could be checked\n"}, saw: []string{"POST /products/demo/errata-check/ {}"},
		},
		{
			name: "release plan of an advisory of no platform", args: []string{"release", "plan", "--product", "demo", "--advisory", "ALSA-2026:1"},
			want: result{2, "", "albs: --advisory \"ALSA-2026:1\" is not ID/PLATFORM\nusage: albs release plan --product P [--build N…] [--advisory ID/PLATFORM…] [--force REASON] [--wait] [--json]\n"},
		},
		{
			name: "release plan by force of nothing", args: []string{"release", "plan", "--product", "demo", "--force", "so"},
			want: result{2, "", "albs: --force is about advisories: name them with --advisory\nusage: albs release plan --product P [--build N…] [--advisory ID/PLATFORM…] [--force REASON] [--wait] [--json]\n"},
		},
		{
			name: "release plan of metadata files alone", args: []string{"release", "plan", "--product", "demo"},
			answers: map[string][]answer{"POST /releases/new/": {{status: 201, body: releaseDoc("1", "scheduled", "", noApproval+
				`,"plan":{"repositories":[{"path":"el/os","before":2,"after":2,"records":[{"action":"add","type":"group","digest":"`+strings.Repeat("e", 64)+`"}],"metadata":"zstd"}]}`)}}},
			want: result{0, "release:  3\nproduct:  demo\nkind:     publish\nstate:    scheduled, 0 of 1 approvals\nby:       alice\ncreated:  2026-11-22 11:00\nbuilds:   5\n" +
				"digest:   " + strings.Repeat("f", 64) + "\nexpires:  2026-11-29 11:00\n\n" +
				"ACTION    METADATA  REPOSITORY  SHA256\nadd       group     el/os       " + strings.Repeat("e", 64) + "\ncompress  by zstd   el/os       -\n\n" +
				"REPOSITORY  PACKAGES NOW  AFTER  BYTES MORE\nel/os       2             2      0\n", "release 3 is planned; look at it and: albs release approve 3\n"},
			saw: []string{`POST /releases/new/ {"builds":[],"product":"demo"}`},
		},
		{
			name: "release approve sends the digest that it shows", args: []string{"release", "approve", "3"},
			answers: map[string][]answer{
				"GET /releases/3/": ok(releaseDoc("1", "scheduled", "", noApproval+planDoc(""))), "POST /releases/3/approve/": ok(releaseDoc("1", "scheduled", "", approved+planDoc(""))),
			},
			want: result{0, plan + "NOTES\na note\n\nrelease 3 is approved as ffffffffffff; publish it with: albs release publish 3 --wait\n", ""},
			saw:  []string{`POST /releases/3/approve/ {"digest":"` + strings.Repeat("f", 64) + `"}`},
		},
		{
			name: "release approve, the plan has changed meanwhile", args: []string{"release", "approve", "3", "--json"},
			answers: map[string][]answer{
				"GET /releases/3/": ok(releaseDoc("1", "scheduled", "", noApproval)), "POST /releases/3/approve/": problem(409, "conflict", "its plan is aaaa now: look at it again"),
			},
			want: result{1, "", "albs: its plan is aaaa now: look at it again\n"},
			saw:  []string{`POST /releases/3/approve/ {"digest":"` + strings.Repeat("f", 64) + `"}`},
		},
		{
			name: "release show", args: []string{"release", "show", "3"},
			answers: map[string][]answer{"GET /releases/3/": ok(releaseDoc("3", "completed", "", approved+`,"serial":4`))},
			want: result{0, "release:   3\nproduct:   demo\nkind:      publish\nstate:     completed\nby:        alice\ncreated:   2026-11-22 11:00\nbuilds:    5\nserial:    4\n" +
				"approved:  bob 2026-11-22 11:30\ndigest:    " + strings.Repeat("f", 64) + "\nexpires:   2026-11-29 11:00\n", ""},
		},
		{
			name: "release list", args: []string{"release", "list", "--product", "demo"},
			answers: map[string][]answer{"GET /releases/?pageNumber=1&product=demo": ok(`{"releases":[` + releaseDoc("4", "failed", "the disk is full", "") + `],"total_releases":1,"current_page":1}`)},
			want: result{0, "RELEASE  PRODUCT  KIND     STATE   SERIAL  BY     CREATED           WHY\n" +
				"3        demo     publish  failed  -       alice  2026-11-22 11:00  the disk is full\n", ""},
		},
		{
			name: "release publish", args: []string{"release", "publish", "3", "--wait"},
			answers: map[string][]answer{
				"POST /releases/3/commit/": ok(releaseDoc("2", "in progress", "", "")),
				"GET /releases/3/":         ok(releaseDoc("2", "in progress", "", ""), releaseDoc("3", "completed", "", `,"serial":4`)),
			},
			want: result{0, "release 3 of product demo is public: serial 4\n", ""}, saw: []string{"POST /releases/3/commit/ {}"},
		},
		{
			name: "release publish that fails", args: []string{"release", "publish", "3", "--wait"},
			answers: map[string][]answer{
				"POST /releases/3/commit/": ok(releaseDoc("2", "in progress", "", "")), "GET /releases/3/": ok(releaseDoc("4", "failed", "the disk is full", "")),
			},
			want: result{1, "", "albs: release 3 of product demo is not public: it is failed: the disk is full\n"}, saw: []string{"POST /releases/3/commit/ {}"},
		},
		{
			name: "release publish without waiting", args: []string{"release", "publish", "3"},
			answers: map[string][]answer{"POST /releases/3/commit/": ok(releaseDoc("2", "in progress", "", ""))},
			want:    result{0, "release 3 of product demo is in progress; see how it goes with: albs release show 3\n", ""}, saw: []string{"POST /releases/3/commit/ {}"},
		},
		{
			name: "release cancel", args: []string{"release", "cancel", "3"},
			answers: map[string][]answer{"POST /releases/3/cancel/": ok(releaseDoc("4", "failed", "cancelled by ada", ""))},
			want:    result{0, "release 3 is failed; publish it again with: albs release publish 3\n", ""}, saw: []string{"POST /releases/3/cancel/ {}"},
		},
		{
			name: "release rollback of a product", args: []string{"release", "rollback", "demo", "--wait"},
			answers: map[string][]answer{
				"GET /releases/?pageNumber=1&product=demo&status=3": ok(`{"releases":[{"id":8,"serial":2}],"total_releases":2,"current_page":1}`),
				"GET /releases/?pageNumber=2&product=demo&status=3": ok(`{"releases":[{"id":3,"serial":4}],"total_releases":2,"current_page":2}`),
				"POST /releases/3/revert/":                          ok(strings.Replace(rolledBack, `"status":3,"status_text":"completed"`, `"status":2,"status_text":"in progress"`, 1)),
				"GET /releases/9/":                                  ok(rolledBack),
			},
			want: result{0, "release 9 of product demo is public: serial 5\n", ""}, saw: []string{"POST /releases/3/revert/ {}"},
		},
		{
			name: "release rollback to a serial", args: []string{"release", "rollback", "demo", "--to", "3", "--reason", "it breaks", "--wait"},
			answers: map[string][]answer{
				"GET /releases/?pageNumber=1&product=demo&status=3": ok(`{"releases":[{"id":3,"serial":4},{"id":2,"serial":3}],"total_releases":2,"current_page":1}`),
				"POST /products/demo/rollback":                      ok(strings.Replace(rolledBack, `"status":3,"status_text":"completed"`, `"status":2,"status_text":"in progress"`, 1)),
				"GET /releases/9/":                                  ok(rolledBack),
			},
			want: result{0, "release 9 of product demo is public: serial 5\n", ""}, saw: []string{`POST /products/demo/rollback {"from":4,"to":3,"reason":"it breaks"}`},
		},
		{
			name: "release rollback of a release with a reason", args: []string{"release", "rollback", "3", "--reason", "it breaks"},
			answers: map[string][]answer{
				"GET /releases/3/":             ok(releaseDoc("3", "completed", "", `,"serial":4,"from_serial":3`)),
				"POST /products/demo/rollback": ok(rolledBack),
			},
			want: result{0, "release 9 of product demo is completed; see how it goes with: albs release show 9\n", ""}, saw: []string{`POST /products/demo/rollback {"from":4,"to":3,"reason":"it breaks"}`},
		},
		{
			name: "release rollback of a product that shows nothing", args: []string{"release", "rollback", "demo"},
			answers: map[string][]answer{"GET /releases/?pageNumber=1&product=demo&status=3": ok(`{"releases":[],"total_releases":0,"current_page":1}`)},
			want:    result{1, "", "albs: product \"demo\" has no public release that could be rolled back; albs release list and albs product list show what there is\n"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t, tc.answers)
			got := command(t, url, tc.args...)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(result{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.saw, f.seen()); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
		})
	}
}

// TestWaitBreakOff wants Ctrl-C to say what goes on without the waiting command.
func TestWaitBreakOff(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		args    string
		answers map[string][]answer
		polled  string
		stderr  string
	}{
		{
			"sign 5 --key demo --wait", map[string][]answer{"POST /sign-tasks/": {{status: 201, body: signDoc("1", "", 0)}}, "GET /sign-tasks/8/": ok(signDoc("1", "", 0))},
			"GET /sign-tasks/8/", "albs: broken off; build 5 is being signed all the same: albs build show 5\n",
		},
		{
			"release publish 3 --wait", map[string][]answer{"POST /releases/3/commit/": ok(releaseDoc("2", "in progress", "", "")), "GET /releases/3/": ok(releaseDoc("2", "in progress", "", ""))},
			"GET /releases/3/", "albs: broken off; release 3 goes on: albs release show 3\n",
		},
	} {
		ctx, cancel := context.WithCancel(t.Context())
		f, url := newFake(t, tc.answers)
		f.before = func(*http.Request) {
			if f.served[tc.polled] == 2 {
				cancel()
			}
		}
		got := commandWith(t, ctx, map[string]string{"ALBS_URL": url}, "", strings.Fields(tc.args)...)
		cancel()
		if d := cmp.Diff(result{1, "", tc.stderr}, got, cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("albs %s (-want +got):\n%s", tc.args, d)
		}
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "a.rpm")
	if err := os.WriteFile(file, []byte("a package"), 0o644); err != nil {
		t.Fatal(err)
	}
	const d = "b69132c7aa6f2fab4e6a0a96e1d34a4d7fc3dbbd6f6f5a1b9f0c52cb3b9ba47c"
	sum := fileDigest(t, file)
	public := filepath.Join(dir, "c.rpm")
	if err := os.WriteFile(public, []byte("a package in the public log"), 0o644); err != nil {
		t.Fatal(err)
	}
	logged := fileDigest(t, public)
	text := func(s string) answer { return answer{media: "text/plain", body: s} }
	one, two := attest.Bundle{Statements: make([]attest.Proven, 1)}, attest.Bundle{Statements: make([]attest.Proven, 2)}
	lines := func(b []byte) answer { return answer{media: "application/jsonl", body: string(b)} }
	sized := func(b []byte) string { return humanize.IBytes(uint64(len(b))) }
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
	}{
		{
			name: "show", args: []string{"artifact", "show", file},
			answers: map[string][]answer{"GET /artifacts/" + sum + "/": ok(`{"sha256":"` + sum + `","size":2048,"kind":"rpm","created_at":"2026-11-22T11:00:00Z","name":"a.rpm","nevra":"a-1-1.noarch",
				"signed":[{"sha256":"` + d + `","key":"` + fingerprint + `"}],"notarized":false,"trouble":"the ledger says otherwise"}`)},
			want: result{0, "name:         a.rpm\nsha256:       " + sum + "\nsize:         2.0 KiB\nkind:         rpm\nsince:        2026-11-22 11:00\npackage:      a-1-1.noarch\n" +
				"notarized:    NO: the ledger says otherwise\nsigned copy:  " + d + " by " + fingerprint + "\n", ""},
		},
		{
			name: "history", args: []string{"artifact", "history", d},
			answers: map[string][]answer{"GET /artifacts/" + d + "/history": ok(`[{"subject":"` + d + `","predicate":"build","n":1,"at":"2026-11-22T11:00:00Z","receipt":{"tx":7,"at":"2026-11-22T11:00:00Z"},
				"statement":{"subject":[{"name":"a.rpm","digest":{"sha256":"` + d + `"}}]}},{"subject":"` + d + `","predicate":"sign","n":1,"at":"2026-11-22T11:10:00Z","statement":{"subject":[]}}]`)},
			want: result{0, "TIME              STATEMENT  ABOUT  SHA256" + strings.Repeat(" ", 60) + "LEDGER\n2026-11-22 11:00  build      a.rpm  " + d + "  tx 7\n2026-11-22 11:10  sign       -      " + d + "  pending\n", ""},
		},
		{
			name: "bundle", args: []string{"artifact", "bundle", file},
			answers: map[string][]answer{"GET /artifacts/" + sum + "/bundle": {lines(one.Envelopes())}, "GET /artifacts/" + sum + "/ledger-proof": {lines(two.Proof()), lines(one.Proof())}},
			want:    result{0, "", sized(one.Envelopes()) + " is in " + file + ".intoto.jsonl\n" + sized(one.Proof()) + " is in " + file + ".ledger-proof\n"},
		},
		{
			name: "bundle of a digest", args: []string{"artifact", "bundle", d, "-o", dir},
			answers: map[string][]answer{"GET /artifacts/" + d + "/": ok(`{"name":"b.rpm"}`), "GET /artifacts/" + d + "/bundle": {lines(two.Envelopes())}, "GET /artifacts/" + d + "/ledger-proof": {lines(two.Proof())}},
			want:    result{0, "", sized(two.Envelopes()) + " is in " + dir + "/b.rpm.intoto.jsonl\n" + sized(two.Proof()) + " is in " + dir + "/b.rpm.ledger-proof\n"},
		},
		{
			name: "bundle under a name that leaves the folder", args: []string{"artifact", "bundle", d, "-o", dir},
			answers: map[string][]answer{"GET /artifacts/" + d + "/": ok(`{"name":"../b.rpm"}`)},
			want:    result{1, "", "albs: the server calls it \"../b.rpm\", which is no name for a file\n"},
		},
		{
			name: "bundle whose halves never fit", args: []string{"artifact", "bundle", file},
			answers: map[string][]answer{"GET /artifacts/" + sum + "/bundle": {lines(one.Envelopes())}, "GET /artifacts/" + sum + "/ledger-proof": {lines(two.Proof())}},
			want:    result{1, "", "albs: the server's bundle: input: there are 1 statements and 3 lines of proof; each statement, at most 512, has one and the state another\n"},
		},
		{
			name: "bundle that enters the public log meanwhile", args: []string{"artifact", "bundle", public},
			answers: map[string][]answer{
				"GET /artifacts/" + logged + "/log-proof": {{status: 404}, text("two"), text("two")}, "GET /artifacts/" + logged + "/bundle": {lines(one.Envelopes()), lines(two.Envelopes())},
				"GET /artifacts/" + logged + "/ledger-proof": {lines(one.Proof()), lines(two.Proof())},
			},
			want: result{0, "", sized(two.Envelopes()) + " is in " + public + ".intoto.jsonl\n" + sized(two.Proof()) + " is in " + public + ".ledger-proof\n3 B is in " + public + ".tlog-proof\n"},
		},
		{
			name: "bundle that is released all the time", args: []string{"artifact", "bundle", file},
			answers: map[string][]answer{
				"GET /artifacts/" + sum + "/log-proof": {text("a"), text("b"), text("c"), text("d"), text("e"), text("f")}, "GET /artifacts/" + sum + "/bundle": {lines(one.Envelopes())},
				"GET /artifacts/" + sum + "/ledger-proof": {lines(one.Proof())},
			},
			want: result{1, "", "albs: the server's bundle: its proof of the public log is another one each time\n"},
		},
		{
			name: "current bundle", args: []string{"artifact", "bundle", file, "--current"},
			answers: map[string][]answer{
				"GET /artifacts/" + sum + "/log-proof": {text("a")}, "GET /artifacts/" + sum + "/bundle?current=true": {lines(one.Envelopes())},
				"GET /artifacts/" + sum + "/ledger-proof?current=true": {lines(one.Proof())},
			},
			want: result{0, "", sized(one.Envelopes()) + " is in " + file + ".intoto.jsonl\n" + sized(one.Proof()) + " is in " + file + ".ledger-proof\n"},
		},
		{
			name: "current bundle beside an older proof", args: []string{"artifact", "bundle", public, "--current"},
			answers: map[string][]answer{
				"GET /artifacts/" + logged + "/bundle?current=true": {lines(one.Envelopes())}, "GET /artifacts/" + logged + "/ledger-proof?current=true": {lines(one.Proof())},
			},
			want: result{1, "", "albs: " + public + ".tlog-proof is there already, and is about other statements than would lie beside it: choose another place with --output, or remove it\n"},
		},
		{
			name: "bundle into no folder", args: []string{"artifact", "bundle", file, "--output", filepath.Join(dir, "none")},
			answers: map[string][]answer{"GET /artifacts/" + sum + "/bundle": {lines(one.Envelopes())}, "GET /artifacts/" + sum + "/ledger-proof": {lines(one.Proof())}},
			want:    result{1, "", "albs: write " + dir + "/none/a.rpm.intoto.jsonl: no such file or directory; choose another place with --output\n"},
		},
		{
			name: "neither file nor digest", args: []string{"artifact", "show", filepath.Join(dir, "none")},
			want: result{1, "", "albs: \"" + filepath.Join(dir, "none") + "\" is no sha256 of 64 hex digits, and no file either (open " + filepath.Join(dir, "none") + ": no such file or directory); albs build show lists files with theirs\n"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, url := newFake(t, tc.answers)
			if d := cmp.Diff(tc.want, command(t, url, tc.args...), cmp.AllowUnexported(result{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
		})
	}
	for path, want := range map[string][]byte{
		file + ".intoto.jsonl": one.Envelopes(), file + ".ledger-proof": one.Proof(),
		filepath.Join(dir, "b.rpm.intoto.jsonl"): two.Envelopes(), filepath.Join(dir, "b.rpm.ledger-proof"): two.Proof(),
		public + ".intoto.jsonl": two.Envelopes(), public + ".ledger-proof": two.Proof(), public + ".tlog-proof": []byte("two"),
	} {
		if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, want) {
			t.Errorf("%s has %q, %v", path, b, err)
		}
	}
}

func fileDigest(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(albs.DigestOf(b))
}
