package api

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/api/delivery"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/face/facetest"
	"albs/internal/master/provenance"
)

func TestFront(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for _, test := range []struct {
		who, method, path string
		body              any
		status            int
	}{
		{"anon", get, "/api/v1/nothing", nil, 404},
		{"anon", get, "/", nil, 404},
		{"anon", post, "/api/v1/nothing", "{}", 404},
		{"anon", get, "/worker/v1/nothing", nil, 404},
		{"admin", remove, "/api/v1/builds/", nil, 405},
		{"anon", get, "/api/v1/builds/?project=" + strings.Repeat("x", maxQuery), nil, 413},
		{"admin", post, "/api/v1/users/", `{"username":"` + strings.Repeat("x", maxBody) + `"}`, 413},
		{"admin", post, "/api/v1/users/", `{"username":`, 400},
		{"admin", post, "/api/v1/users/", ``, 400},
		{"admin", post, "/api/v1/users/", `[]`, 422},
		{"admin", post, "/api/v1/users/", `{"username":7}`, 422},
		{"admin", post, "/api/v1/users/", `{"username":"a b"}`, 400},
		{"admin", post, "/api/v1/users/", `{"username":"ok","password":"hunter2"}`, 422},
	} {
		a := f.call(t, test.who, test.method, test.path, test.body, test.status)
		p := a.problem(t)
		if strings.Contains(string(a.body), "hunter2") {
			t.Errorf("%s %s: the answer repeats what was sent: %s", test.method, test.path, a.body)
		}
		if p.Request == "" || p.Request != a.Header.Get("X-Request-Id") {
			t.Errorf("%s %s: request id %q, header %q", test.method, test.path, p.Request, a.Header.Get("X-Request-Id"))
		}
		for name, want := range map[string]string{"X-Content-Type-Options": "nosniff", "Cache-Control": "no-store", "Referrer-Policy": "no-referrer"} {
			if a.Header.Get(name) != want {
				t.Errorf("%s %s: %s = %q", test.method, test.path, name, a.Header.Get(name))
			}
		}
		if !strings.Contains(a.Header.Get("Content-Security-Policy"), "default-src 'none'") {
			t.Errorf("%s %s has no policy on content", test.method, test.path)
		}
		if test.status == 405 && a.Header.Get("Allow") != "GET, POST" {
			t.Errorf("Allow = %q", a.Header.Get("Allow"))
		}
	}
	req := f.request(t, "admin", post, "/api/v1/users/", `username: x`)
	req.Header.Set("Content-Type", "text/plain")
	if a := do(t, req); a.StatusCode != http.StatusUnsupportedMediaType {
		t.Errorf("text/plain = %s %s", a.Status, a.body)
	}
	for _, header := range []string{"Basic YWRtaW46YQ==", "Bearer", "Bearer  ", "Bearer albs_u" + strings.Repeat("a", 52), "Bearer " + strings.Repeat("x", 5000)} {
		req := f.request(t, "anon", get, "/api/v1/builds/", nil)
		req.Header.Set("Authorization", header)
		if a := do(t, req); a.StatusCode != http.StatusUnauthorized || a.Header.Get("WWW-Authenticate") == "" {
			t.Errorf("Authorization %.30q = %s", header, a.Status)
		}
	}
}

// TestPageBounds: no store is asked to step over more than it can count.
func TestPageBounds(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for _, list := range []string{"builds", "products", "releases", "teams"} {
		for page, status := range map[string]int{"1000000": 200, "1000001": 422, "922337203685477582": 422, "9223372036854775807": 422, "9223372036854775808": 422} {
			f.call(t, "anon", get, "/api/v1/"+list+"/?pageNumber="+page, nil, status)
		}
	}
}

func TestCookies(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	session, err := f.Auth.Login(t.Context(), f.tokens["admin"])
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name, method, path, session string
		header                      map[string]string
		status                      int
	}{
		{"a page reads", get, "/api/v1/whoami", session, map[string]string{"Sec-Fetch-Site": "same-origin"}, 200},
		{"an old browser reads", get, "/api/v1/whoami", session, nil, 200},
		{"another site reads", get, "/api/v1/whoami", session, map[string]string{"Sec-Fetch-Site": "cross-site"}, 401},
		{"a subdomain reads", get, "/api/v1/whoami", session, map[string]string{"Sec-Fetch-Site": "same-site"}, 401},
		{"a page writes", post, "/api/v1/users/", session, map[string]string{"Sec-Fetch-Site": "same-origin"}, 401},
		{"another site writes", post, "/api/v1/users/", session, map[string]string{"Sec-Fetch-Site": "cross-site"}, 403},
		{"another origin writes", post, "/api/v1/users/", session, map[string]string{"Origin": "https://evil.example"}, 403},
		{"an ended session reads what is open", get, "/api/v1/builds/", "ended", nil, 200},
		{"an ended session", get, "/api/v1/whoami", "ended", nil, 401},
		{"a token as cookie", get, "/api/v1/whoami", f.tokens["admin"], nil, 401},
	} {
		var body any
		if test.method != get {
			body = `{"username":"mallory"}`
		}
		req := f.request(t, "anon", test.method, test.path, body)
		req.AddCookie(&http.Cookie{Name: cookie, Value: test.session})
		for k, v := range test.header {
			req.Header.Set(k, v)
		}
		if a := do(t, req); a.StatusCode != test.status {
			t.Errorf("%s = %s, want %d: %s", test.name, a.Status, test.status, a.body)
		}
	}
}

func TestPeople(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	var me userView
	f.call(t, "contributor", get, "/api/v1/whoami", nil, 200).into(t, &me)
	if me.Username != "contributor" || !me.IsActive || cmp.Diff([]auth.Grant{{Role: auth.Contributor, Team: "core"}}, me.Roles) != "" {
		t.Errorf("whoami = %+v", me)
	}
	var u userView
	f.call(t, "admin", post, "/api/v1/users/", `{"username":"bob"}`, 201).into(t, &u)
	f.call(t, "admin", post, "/api/v1/users/", `{"username":"bob"}`, 409).problem(t)
	path := fmt.Sprintf("/api/v1/users/%d/", u.ID)
	f.call(t, "admin", patch, path+"roles/add", `{"role":"signer","team":"edge"}`, 200).into(t, &u)
	if cmp.Diff([]auth.Grant{{Role: auth.Signer, Team: "edge"}}, u.Roles) != "" {
		t.Errorf("roles = %+v", u.Roles)
	}
	f.call(t, "admin", patch, path+"roles/add", `{"role":"king"}`, 400).problem(t)
	var teams teamsView
	f.call(t, "anon", get, "/api/v1/teams/?pageNumber=1", nil, 200).into(t, &teams)
	if teams.TotalTeams != 2 || len(teams.Teams) != 2 || teams.Teams[0].Name != "core" {
		t.Errorf("teams = %+v", teams)
	}

	var token tokenView
	f.call(t, "admin", post, "/api/v1/tokens/", fmt.Sprintf(`{"user_id":%d,"note":"for bob","days":2}`, u.ID), 201).into(t, &token)
	if token.Secret == "" || token.User != u.ID || token.Note != "for bob" || token.ExpiresAt.Sub(token.CreatedAt).Hours() != 48 {
		t.Fatalf("token = %+v", token)
	}
	f.tokens["bob"] = token.Secret
	f.call(t, "bob", patch, path+"roles/remove", `{"role":"signer","team":"edge"}`, 403).problem(t)
	f.call(t, "bob", post, "/api/v1/tokens/", fmt.Sprintf(`{"user_id":%d}`, me.ID), 403).problem(t)
	f.call(t, "bob", post, "/api/v1/tokens/", `{"days":400}`, 422).problem(t)
	f.call(t, "bob", get, fmt.Sprintf("/api/v1/tokens/?user_id=%d", me.ID), nil, 403).problem(t)
	var second tokenView
	f.call(t, "bob", post, "/api/v1/tokens/", `{}`, 201).into(t, &second)
	if second.ExpiresAt.Sub(second.CreatedAt).Hours() != 24*defaultTokenDays {
		t.Errorf("token without days = %+v", second)
	}
	a := f.call(t, "bob", get, "/api/v1/tokens/", nil, 200)
	var tokens []tokenView
	a.into(t, &tokens)
	if len(tokens) != 2 || strings.Contains(string(a.body), token.Secret) || strings.Contains(string(a.body), second.Secret) {
		t.Errorf("tokens = %s", a.body)
	}
	f.call(t, "contributor", remove, fmt.Sprintf("/api/v1/tokens/%d/", token.ID), nil, 403).problem(t)
	f.call(t, "bob", remove, fmt.Sprintf("/api/v1/tokens/%d/", second.ID), nil, 204)
	f.call(t, "admin", patch, path+"roles/remove", `{"role":"signer","team":"edge"}`, 200).into(t, &u)
	if len(u.Roles) != 0 {
		t.Errorf("roles = %+v", u.Roles)
	}
	f.call(t, "admin", patch, path+"disable", nil, 200).into(t, &u)
	if u.IsActive || u.DisabledAt == nil {
		t.Errorf("disabled user = %+v", u)
	}
	f.call(t, "bob", get, "/api/v1/whoami", nil, 401).problem(t)
	f.call(t, "admin", patch, "/api/v1/users/99999/disable", nil, 404).problem(t)
	var users []userView
	f.call(t, "admin", get, "/api/v1/users/all_users", nil, 200).into(t, &users)
	if len(users) != 7 {
		t.Errorf("%d users", len(users))
	}
	if strings.Contains(f.log.String(), token.Secret) {
		t.Error("the log has a token")
	}
}

func TestWorkers(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	var w workerView
	f.call(t, "operator", post, "/api/v1/workers/", `{"name":"tester-1","role":"tester","arches":["x86_64"],"labels":["big"]}`, 201).into(t, &w)
	if w.Token == "" || w.Role != albs.RoleTester {
		t.Fatalf("worker = %+v", w)
	}
	f.call(t, "operator", post, "/api/v1/workers/", `{"name":"m","role":"master"}`, 422).problem(t)
	f.call(t, "operator", post, "/api/v1/workers/", `{"name":"n","role":"node"}`, 400).problem(t)
	f.tokens["tester"] = w.Token
	f.call(t, "tester", post, "/worker/v1/claim", `{"version":"1","labels":["kind:test"]}`, 204)
	f.call(t, "tester", post, "/worker/v1/claim", `{"version":"1","labels":["kind:sign"]}`, 403).problem(t)
	a := f.call(t, "anon", get, "/api/v1/workers/", nil, 200)
	var all []workerView
	a.into(t, &all)
	if len(all) != 2 || strings.Contains(string(a.body), w.Token) {
		t.Errorf("workers = %s", a.body)
	}
	f.call(t, "operator", patch, fmt.Sprintf("/api/v1/workers/%d/disable", w.ID), nil, 200).into(t, &w)
	if w.DisabledAt == nil {
		t.Errorf("disabled worker = %+v", w)
	}
	f.call(t, "tester", post, "/worker/v1/claim", `{"version":"1","labels":["kind:test"]}`, 401).problem(t)
}

func TestCatalog(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	var platforms []delivery.PlatformView
	f.call(t, "anon", get, "/api/v1/platforms/", nil, 200).into(t, &platforms)
	if len(platforms) != 1 || platforms[0].ID != 1 || platforms[0].Name != "el" || platforms[0].Type != "rpm" || platforms[0].Version != "9" ||
		len(platforms[0].Arches) != 1 || platforms[0].Spec.Dist != ".el9" || platforms[0].Actor != "user:operator" {
		t.Errorf("platforms = %+v", platforms)
	}
	if p := f.call(t, "operator", post, "/api/v1/platforms/", "name: x\ncolour: red\n", 400).problem(t); !strings.Contains(p.Detail, "colour") {
		t.Errorf("detail = %q", p.Detail)
	}
	changed := strings.Replace(strings.ReplaceAll(platformYAML, "MIRROR", f.mirror), `"9"`, `"9.1"`, 1)
	var p delivery.PlatformView
	f.call(t, "operator", put, "/api/v1/platforms/", changed, 200).into(t, &p)
	if p.Revision != 2 || p.ID != 1 {
		t.Errorf("changed platform = %+v", p)
	}
	req := f.request(t, "operator", post, "/api/v1/platforms/", changed)
	req.Header.Set("Content-Type", "application/yaml")
	if a := do(t, req); a.StatusCode != 200 {
		t.Errorf("YAML called so = %s %s", a.Status, a.body)
	}
	f.call(t, "anon", get, "/api/v1/platforms/1/", nil, 200).into(t, &p)
	if p.Name != "el" || p.Revision != 2 {
		t.Errorf("the platform with id 1 = %+v", p)
	}
	for _, path := range []string{"none", "7", "-1", "9223372036854775807", "9223372036854775808"} {
		f.call(t, "anon", get, "/api/v1/platforms/"+path+"/", nil, 404).problem(t)
	}

	f.call(t, "maintainer", post, "/api/v1/products/", strings.Replace(productYAML, "name: distro", "name: extras", 1), 200)
	f.call(t, "maintainer", post, "/api/v1/products/", strings.Replace(productYAML, "team: core", "team: other", 1), 403).problem(t)
	for path, want := range map[string]string{"distro/": "distro", "1/": "distro", "2": "extras"} {
		var v delivery.ProductView
		f.call(t, "anon", get, "/api/v1/products/"+path, nil, 200).into(t, &v)
		if v.Name != want || v.Team.Name != "core" || len(v.Platforms) != 1 || v.Platforms[0].Name != "el" {
			t.Errorf("product %s = %+v", path, v)
		}
	}
	f.call(t, "anon", get, "/api/v1/products/77/", nil, 404).problem(t)
	var v delivery.ProductsView
	f.call(t, "anon", get, "/api/v1/products/?pageNumber=1&search_string=ext", nil, 200).into(t, &v)
	if v.TotalProducts != 1 || len(v.Products) != 1 || v.Products[0].ID != 2 {
		t.Errorf("products = %+v", v)
	}
	f.call(t, "anon", get, "/api/v1/products/?pageNumber=2", nil, 200).into(t, &v)
	if v.TotalProducts != 2 || len(v.Products) != 0 {
		t.Errorf("second page = %+v", v)
	}
}

func TestArtifacts(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	raw, err := os.ReadFile(srpmFile)
	if err != nil {
		t.Fatal(err)
	}
	d := f.upload(t)
	if err := f.Provenance.WaitNotarized(t.Context(), d); err != nil {
		t.Fatal(err)
	}
	path := "/api/v1/artifacts/" + string(d) + "/"
	var a delivery.ArtifactDetail
	f.call(t, "anon", get, path, nil, 200).into(t, &a)
	if a.SHA256 != d || a.Size != int64(len(raw)) || !a.Notarized || a.Trouble != "" || a.NEVRA == "" || a.Kind != "srpm" {
		t.Errorf("artifact = %+v", a)
	}
	got := f.call(t, "anon", get, a.Href, nil, 200)
	if string(got.body) != string(raw) || got.Header.Get("ETag") != `"`+string(d)+`"` || !strings.Contains(got.Header.Get("Content-Disposition"), "attachment") ||
		!strings.Contains(got.Header.Get("Cache-Control"), "immutable") {
		t.Errorf("download = %d bytes, %v", len(got.body), got.Header)
	}
	req := f.request(t, "anon", get, a.Href, nil)
	req.Header.Set("Range", "bytes=100-199")
	if r := do(t, req); r.StatusCode != 206 || string(r.body) != string(raw[100:200]) {
		t.Errorf("range = %s, %d bytes", r.Status, len(r.body))
	}
	var history []provenance.Event
	f.call(t, "anon", get, path+"history", nil, 200).into(t, &history)
	if len(history) == 0 || history[0].Subject != d || history[0].Receipt == nil {
		t.Errorf("history = %+v", history)
	}
	bundle, proof := f.call(t, "anon", get, path+"bundle", nil, 200), f.call(t, "anon", get, path+"ledger-proof", nil, 200)
	if b, err := attest.ParseBundle(bundle.body, proof.body); err != nil || len(b.Statements) == 0 {
		t.Errorf("the bundle has %d statements, %v", len(b.Statements), err)
	}
	for suffix, part := range map[string]answer{attest.EnvelopesSuffix: bundle, attest.ProofSuffix: proof} {
		if part.Header.Get("Content-Type") != "application/jsonl" || !strings.HasSuffix(part.Header.Get("Content-Disposition"), "albs-rich-1.0~rc1-3.el9.src.rpm"+suffix) {
			t.Errorf("the part %s has %v", suffix, part.Header)
		}
	}
	f.proven(t, d, path, bundle.body)
	for query, want := range map[string]string{
		"": `{"albs":"trust/v1","products":[""],"keys":true}`, "?product=demo": `{"albs":"trust/v1","products":["demo"],"keys":true}`,
		"?keys=false": `{"albs":"trust/v1","products":[""],"keys":false}`,
	} {
		if b := f.call(t, "anon", get, "/api/v1/trust"+query, nil, 200); string(b.body) != want {
			t.Errorf("trust%s = %s", query, b.body)
		}
	}
	f.call(t, "anon", get, "/api/v1/trust?keys=perhaps", nil, 400).problem(t)
	facetest.Impatient(t, f.Server, a.Href)
	facetest.Impatient(t, f.Server, path+"bundle")

	// A source is the business of those who build, as package content has it.
	source, err := f.Artifacts.Save(t.Context(), strings.NewReader("a source"), 100, "x.tar.gz", artifact.Source)
	if err != nil {
		t.Fatal(err)
	}
	if err := f.db.InTx(t.Context(), func(tx db.Tx) error { return f.Artifacts.Add(t.Context(), tx, source) }); err != nil {
		t.Fatal(err)
	}
	private := delivery.DownloadPath(source.Digest)
	f.call(t, "anon", get, private, nil, 401).problem(t)
	f.call(t, "contributor", get, private, nil, 403).problem(t)
	f.call(t, "node", get, private, nil, 403).problem(t)
	if got := f.call(t, "operator", get, private, nil, 200); string(got.body) != "a source" || !strings.Contains(got.Header.Get("Cache-Control"), "no-store") {
		t.Errorf("a source = %q, %v", got.body, got.Header)
	}

	none := "/api/v1/artifacts/" + strings.Repeat("0", 64) + "/"
	for _, p := range []string{none, none + "download", none + "history", none + "bundle", none + "ledger-proof", none + "log-proof", none + "vsa"} {
		f.call(t, "anon", get, p, nil, 404).problem(t)
	}
	for _, p := range []string{"abc/", "abc/download", "abc/history", "abc/bundle", "abc/ledger-proof", "abc/log-proof", "abc/vsa"} {
		f.call(t, "anon", get, "/api/v1/artifacts/"+p, nil, 400).problem(t)
	}
}

// proven has the public log prove that the package d was released with statements that are
// not those of now, and wants what lies beside it to be that, all of it, from then on.
func (f *fixture) proven(t *testing.T, d albs.Digest, path string, bundle []byte) {
	t.Helper()
	f.call(t, "anon", get, path+"log-proof", nil, 404).problem(t)
	ctx := t.Context()
	var kept []artifact.Artifact
	for _, content := range []string{"{}\n", "{}\n{}\n", "c2sp.org/tlog-proof@v1\n"} {
		a, err := f.Artifacts.Save(ctx, strings.NewReader(content), 100, "x", artifact.Document)
		if err != nil {
			t.Fatal(err)
		}
		kept = append(kept, a)
	}
	err := f.db.InTx(ctx, func(tx db.Tx) error {
		if err := f.Artifacts.Add(ctx, tx, kept...); err != nil {
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO release (id, kind, product, team, planner_id, planner, status, reason, plan, digest, expires_at,
			from_serial, serial, offered, back_to, files, task_id, created_at, changed_at)
			VALUES (1, 'publish', 'demo', 'core', 1, 'pam', 3, '', '{}', $1, $2, 0, 1, 1, 0, '[]', 0, $2, $2)`, d, db.Now())
		if err != nil {
			return err
		}
		_, err = tx.ExecContext(ctx, `INSERT INTO transparency_leaf (id, release_id, product, package, step, leaf, statements, ledger_proof, log_proof, task_id, changed_at)
			VALUES (1, 1, 'demo', $1, 3, '', $2, $3, $4, 0, $5)`, d, kept[0].Digest, kept[1].Digest, kept[2].Digest, db.Now())
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	f.call(t, "anon", get, path+"log-proof", nil, 404).problem(t)
	if b := f.call(t, "anon", get, path+"bundle", nil, 200); !bytes.Equal(b.body, bundle) {
		t.Errorf("the bundle before the log's proof is %q", b.body)
	}
	if _, err := f.db.ExecContext(ctx, `UPDATE transparency_leaf SET step = 4`); err != nil {
		t.Fatal(err)
	}
	for _, part := range []struct{ name, suffix, media, want string }{
		{"bundle", attest.EnvelopesSuffix, "application/jsonl", "{}\n"},
		{"ledger-proof", attest.ProofSuffix, "application/jsonl", "{}\n{}\n"},
		{"log-proof", attest.LogProofSuffix, "text/plain", "c2sp.org/tlog-proof@v1\n"},
	} {
		a := f.call(t, "anon", get, path+part.name, nil, 200)
		if string(a.body) != part.want || a.Header.Get("Content-Type") != part.media || !strings.HasSuffix(a.Header.Get("Content-Disposition"), ".src.rpm"+part.suffix) {
			t.Errorf("the %s is %q, %v", part.name, a.body, a.Header)
		}
	}
	f.call(t, "anon", get, path+"vsa", nil, 404).problem(t)
	a, err := f.Artifacts.Find(ctx, d)
	if err != nil {
		t.Fatal(err)
	}
	body := attest.VSABody{Verifier: attest.Builder{ID: "urn:x"}}
	for _, k := range kept {
		body.InputAttestations = append(body.InputAttestations, attest.Descriptor{Digest: map[string]string{attest.SHA256: string(k.Digest)}})
	}
	if err := f.db.InTx(ctx, func(tx db.Tx) error {
		return f.Provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.VSA, Body: body})
	}); err != nil {
		t.Fatal(err)
	}
	if err := f.Provenance.WaitNotarized(ctx, d); err != nil {
		t.Fatal(err)
	}
	summary := f.call(t, "anon", get, path+"vsa", nil, 200)
	if e, err := attest.ParseSummary(summary.body); err != nil || e.About() != d || summary.Header.Get("Content-Type") != "application/json" ||
		!strings.HasSuffix(summary.Header.Get("Content-Disposition"), ".src.rpm"+attest.SummarySuffix) {
		t.Errorf("the summary is %q, %v, %v", summary.body, summary.Header, err)
	}
	now, proofNow := f.call(t, "anon", get, path+"bundle?current=true", nil, 200), f.call(t, "anon", get, path+"ledger-proof?current=true", nil, 200)
	if _, err := attest.ParseBundle(now.body, proofNow.body); err != nil || !bytes.Equal(now.body, bundle) {
		t.Errorf("the current bundle is %q, %v", now.body, err)
	}
	f.call(t, "anon", get, path+"bundle?current=perhaps", nil, 400).problem(t)
}
