package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/api/delivery"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/pgp"
	"albs/internal/worker"
	"albs/internal/worker/workertest"
)

func TestKeys(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	const keys = "/api/v1/sign-keys/"
	f.call(t, "signer", post, keys+"generate", `{"name":"k","user_id":"K <k@example.org>"}`, 403).problem(t) // for all products
	var wish delivery.KeygenView
	f.call(t, "signer", post, keys+"generate", `{"name":"distro-1","user_id":"Distro <d@example.org>","algorithm":"ed25519","products":["distro"]}`, 202).into(t, &wish)
	if wish.State != albs.TaskQueued || wish.Name != "distro-1" || wish.Requester != "signer" {
		t.Fatalf("keygen = %+v", wish)
	}
	f.call(t, "signer", post, keys+"generate", `{"name":"distro-1","user_id":"Distro <d@example.org>","products":["distro"]}`, 409).problem(t)
	f.call(t, "anon", get, keys+"generate/99999", nil, 404).problem(t)
	f.call(t, "anon", get, keys+"distro-1/", nil, 404).problem(t)

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
	result := albs.Result{Keygen: &albs.KeygenResult{Fingerprint: key.Fingerprint(), Public: public}}
	if err := signer.Complete(t.Context(), lease.Token, albs.OutcomeOK, result); err != nil {
		t.Fatal(err)
	}

	f.call(t, "anon", get, fmt.Sprintf("%sgenerate/%d", keys, wish.Task), nil, 200).into(t, &wish)
	if wish.State != albs.TaskSucceeded || wish.Fingerprint != key.Fingerprint() {
		t.Errorf("keygen = %+v", wish)
	}
	var all []delivery.KeyView
	f.call(t, "anon", get, keys, nil, 200).into(t, &all)
	if len(all) != 1 || all[0].Fingerprint != key.Fingerprint() || !strings.HasSuffix(all[0].Fingerprint, all[0].KeyID) || len(all[0].KeyID) != 16 ||
		all[0].ID == 0 || !all[0].Active || all[0].UserID != "Distro <d@example.org>" {
		t.Fatalf("keys = %+v", all)
	}
	for _, name := range []string{"distro-1", key.Fingerprint()} {
		var v delivery.KeyView
		f.call(t, "anon", get, keys+name, nil, 200).into(t, &v)
		if v.Fingerprint != key.Fingerprint() {
			t.Errorf("key %s = %+v", name, v)
		}
	}
	var packages delivery.KeyPackagesView
	if f.call(t, "anon", get, keys+"distro-1/packages", nil, 200).into(t, &packages); packages.Total != 0 || packages.Packages == nil {
		t.Errorf("packages of a key that signed none = %+v", packages)
	}
	f.call(t, "anon", get, keys+"distro-1/revocation", nil, 404).problem(t)
	f.call(t, "signer", post, keys+"distro-1/revoke", `{"reason":"lost"}`, 422).problem(t)
	a := f.call(t, "anon", get, all[0].PublicURL, nil, 200)
	if string(a.body) != string(public) || a.Header.Get("Content-Type") != "application/pgp-keys" {
		t.Errorf("public key = %q, %v", a.body, a.Header)
	}

	b := f.build(t, f.upload(t))
	for _, test := range []struct {
		body   string
		status int
		detail string
	}{
		{`{"build_id":%d}`, 400, "body.sign_key"},
		{`{"build_id":%d,"sign_key":"distro-1","sign_key_id":1}`, 400, "body.sign_key"},
		{`{"build_id":%d,"sign_key_id":1}`, 404, "id 1"},
		{`{"build_id":%d,"sign_key":"other"}`, 404, "other"},
		{fmt.Sprintf(`{"build_id":%%d,"sign_key_id":%d}`, all[0].ID), 409, ""}, // the build hasn't succeeded
	} {
		p := f.call(t, "signer", post, "/api/v1/sign-tasks/", fmt.Sprintf(test.body, b.ID), test.status).problem(t)
		if !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%s: detail = %q", test.body, p.Detail)
		}
	}
	var tasks []delivery.SignTaskView
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/sign-tasks/?build_id=%d", b.ID), nil, 200).into(t, &tasks)
	if tasks == nil || len(tasks) != 0 {
		t.Errorf("sign tasks = %+v", tasks)
	}
	f.call(t, "anon", get, "/api/v1/sign-tasks/7/", nil, 404).problem(t)

	var v delivery.KeyView
	f.call(t, "signer", patch, keys+"distro-1/deactivate", nil, 200).into(t, &v)
	if v.Active || v.Unusable == "" {
		t.Errorf("the key is active still: %+v", v)
	}
	var end delivery.RevocationView
	f.call(t, "signer", post, keys+"distro-1/revoke", `{"reason":"superseded","text":"distro-2 is there"}`, 202).into(t, &end)
	if end.Fingerprint != key.Fingerprint() || end.Reason != "superseded" || end.Text != "distro-2 is there" || end.State != albs.TaskQueued || end.Requester != "signer" {
		t.Errorf("the revocation is %+v", end)
	}
}

func TestReleases(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	f.catalog(t)
	b := f.build(t, f.upload(t))
	const releases = "/api/v1/releases/"
	for _, test := range []struct {
		who, body string
		status    int
		detail    string
	}{
		{"maintainer", `{}`, 422, "body"},
		{"maintainer", fmt.Sprintf(`{"builds":[%d]}`, b.ID), 400, "body.product"},
		{"maintainer", fmt.Sprintf(`{"builds":[%d],"product":"distro","product_id":1}`, b.ID), 400, "body.product"},
		{"maintainer", fmt.Sprintf(`{"builds":[%d],"product_id":9}`, b.ID), 404, "id 9"},
		{"maintainer", fmt.Sprintf(`{"builds":[%d],"product":"distro","platform_id":9}`, b.ID), 400, "body.platform_id"},
		{"maintainer", fmt.Sprintf(`{"builds":[%d],"product":"distro","build_tasks":[1]}`, b.ID), 400, "body.build_tasks isn't supported"},
		{"maintainer", `{"builds":[9999],"product":"distro"}`, 404, "9999"},
		{"contributor", fmt.Sprintf(`{"builds":[%d],"product":"distro"}`, b.ID), 403, "release.plan"},
	} {
		p := f.call(t, test.who, post, releases+"new/", test.body, test.status).problem(t)
		if !strings.Contains(p.Detail, test.detail) {
			t.Errorf("%s: detail = %q", test.body, p.Detail)
		}
	}
	var r delivery.ReleaseView
	f.call(t, "maintainer", post, releases+"new/", fmt.Sprintf(`{"builds":[%d],"build_tasks":[],"product_id":1,"platform_id":1}`, b.ID), 201).into(t, &r)
	if r.Status != 1 || r.StatusText != "scheduled" || r.Plan == nil || len(r.Plan.Refusals) == 0 || len(r.BuildIDs) != 1 || r.Product.Name != "distro" ||
		r.Owner.Username != "maintainer" || !r.Digest.Valid() || r.Approved {
		t.Fatalf("release = %+v", r)
	}
	path := fmt.Sprintf("%s%d/", releases, r.ID)
	f.call(t, "admin", post, path+"approve/", `{"digest":"abc"}`, 400).problem(t)
	f.call(t, "admin", post, path+"approve/", `{"digest":"`+strings.Repeat("0", 64)+`"}`, 409).problem(t)
	f.call(t, "admin", post, path+"approve/", `{"digest":"`+string(r.Digest)+`"}`, 409).problem(t) // it has refusals
	f.call(t, "maintainer", post, path+"commit/", `{}`, 409).problem(t)
	f.call(t, "maintainer", post, path+"revert/", nil, 409).problem(t)
	f.call(t, "maintainer", post, path+"cancel/", nil, 409).problem(t)
	f.call(t, "maintainer", put, path, `{"plan":{"packages":[]}}`, 400).problem(t)
	f.call(t, "maintainer", put, path, `{"builds":[77]}`, 400).problem(t)
	f.call(t, "maintainer", put, path, fmt.Sprintf(`{"builds":[%d]}`, b.ID), 200).into(t, &r)
	f.call(t, "anon", get, path, nil, 200).into(t, &r)
	f.call(t, "anon", get, releases+"999/", nil, 404).problem(t)

	var list delivery.ReleasesView
	for query, want := range map[string]int{"": 1, "?product_id=1": 1, "?product=distro&status=1": 1, "?status=3": 0, fmt.Sprintf("?build_id=%d", b.ID): 1} {
		f.call(t, "anon", get, releases+query, nil, 200).into(t, &list)
		if len(list.Releases) != want || list.TotalReleases != want || list.CurrentPage != 1 {
			t.Errorf("releases %s = %d of %d", query, len(list.Releases), list.TotalReleases)
		}
	}
	f.call(t, "anon", get, releases+"?pageNumber=2", nil, 200).into(t, &list)
	if len(list.Releases) != 0 || list.TotalReleases != 1 {
		t.Errorf("second page = %+v", list)
	}
	f.call(t, "anon", get, releases+"?package_name=x", nil, 400).problem(t)
	f.call(t, "anon", get, releases+"?status=9", nil, 422).problem(t)
	var v buildView
	f.call(t, "anon", get, fmt.Sprintf("/api/v1/builds/%d/", b.ID), nil, 200).into(t, &v)
	if v.Released || v.ReleaseID != nil {
		t.Errorf("build says released = %t, %v", v.Released, v.ReleaseID)
	}
}

// TestVerifiedSources: the plan of a product of verified sources refuses a package of which
// no notarized commit is known, and says why, until there is one.
func TestVerifiedSources(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	const commit, uri, releases = "0123456789abcdef0123456789abcdef01234567", "git+https://git.example/rich", "/api/v1/releases/"
	b, node, lease := f.leased(t)
	finishes(t, node, lease)
	f.call(t, "maintainer", post, "/api/v1/products/", productYAML+"sources: verified\n", http.StatusOK)

	var r delivery.ReleaseView
	f.call(t, "maintainer", post, releases+"new/", fmt.Sprintf(`{"builds":[%d],"product":"distro"}`, b.ID), http.StatusCreated).into(t, &r)
	path := fmt.Sprintf("%s%d/", releases, r.ID)
	// why plans once more, and returns why the source of the package isn't verified.
	why := func() string {
		t.Helper()
		f.call(t, "maintainer", put, path, fmt.Sprintf(`{"builds":[%d]}`, b.ID), http.StatusOK).into(t, &r)
		for _, refusal := range r.Plan.Refusals {
			if _, reason, ok := strings.Cut(refusal.Reason, "product distro takes packages of verified sources only, and "); ok && strings.HasPrefix(refusal.Package, "albs-rich-2:1.0~rc1-3.el9") {
				return reason
			}
		}
		return ""
	}
	until := func(want string) {
		t.Helper()
		var got string
		for end := time.Now().Add(2 * time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
			if got = why(); got == want {
				return
			}
		}
		t.Fatalf("the plan refuses the package because %q, want %q; its refusals are %v", got, want, r.Plan.Refusals)
	}
	until("its source package was given by contributor, and no commit stands behind it: build it from git")

	state := func(s attest.Subject, predicate string, body any) {
		t.Helper()
		err := f.db.InTx(t.Context(), func(tx db.Tx) error {
			return f.Provenance.State(t.Context(), tx, provenance.Fact{Subjects: []attest.Subject{s}, Predicate: predicate, Body: body})
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	srpm := lease.Spec.Build.SRPM.Digest
	state(attest.Subject{Digest: map[string]string{attest.SHA256: string(srpm)}}, attest.Source, attest.SourceBody{Repository: uri, Ref: "main", Commit: commit})
	until("commit 0123456789ab of https://git.example/rich is not notarized: albs source notarize https://git.example/rich main")
	p := f.call(t, "admin", post, path+"approve/", `{"digest":"`+string(r.Digest)+`"}`, http.StatusConflict).problem(t)
	if !strings.Contains(p.Detail, "its plan is refused") {
		t.Errorf("approving it = %+v", p)
	}

	state(attest.Subject{Digest: map[string]string{attest.SHA256: string(albs.DigestOf([]byte("a commit"))), attest.GitCommit: commit}}, attest.Commit,
		attest.CommitBody{Repository: uri, Ref: "refs/heads/main", Tree: commit, Requester: "alice"})
	until("")
	if len(r.Plan.Refusals) == 0 {
		t.Error("a package without tests and signature is refused no more")
	}
}
