package ui

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"mime/multipart"
	"net/http"
	"net/url"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/release"
	"albs/internal/master/release/place"
	releaseplan "albs/internal/master/release/plan"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/rpm/rpmtest"
	"albs/internal/worker"
	"albs/internal/worker/releaser"
	"albs/internal/worker/signer"
	"albs/internal/worker/workertest"
)

const demoYAML = `
name: demo
title: A demonstration
team: core
platforms: [el9]
key: demo key
gate: {tests: advisory}
repositories:
  - {path: BaseOS/x86_64/os, platform: el9, arch: x86_64, kind: rpm, place: BaseOS}
  - {path: AppStream/x86_64/os, platform: el9, arch: x86_64, kind: rpm, place: AppStream}
  - {path: source, platform: el9, arch: src, kind: source}
`

const builderID = "https://example.org/builder/v1"

// shipping is a fixture with a product demo, a real signer that trusts the master, and a
// real releaser.
func shipping(t *testing.T) *fixture {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "rpmkeys", "bwrap"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	f := setup(t)
	system := auth.System(t.Context(), "test")
	spec, err := product.Parse(strings.NewReader(demoYAML))
	must(t, err)
	_, err = f.Products.Apply(system, spec)
	must(t, err)
	for who, role := range map[string]auth.Role{"approver": auth.ProductMaintainer, "signer": auth.Signer} {
		f.tokens[who], _ = f.m.Person(t, who, auth.Grant{Role: role, Team: "core"})
	}
	as := func(name string, role albs.Role, labels ...string) worker.Master {
		a, err := f.Auth.LocalWorker(system, auth.NewWorker{Name: name, Role: role, Labels: labels})
		must(t, err)
		return workertest.As(f.Queue, func(ctx context.Context) context.Context { return auth.With(ctx, a) })
	}
	trust, err := f.m.Provenance.Trust(t.Context(), attest.Trust{Builders: []string{builderID}, Products: []string{"demo"}})
	must(t, err)
	s := signer.Config{Dir: filepath.Join(t.TempDir(), "signer"), Spool: filepath.Join(t.TempDir(), "spool"), Trust: &trust}
	r := releaser.Config{Public: filepath.Join(t.TempDir(), "public"), Dir: filepath.Join(t.TempDir(), "releaser"), Spool: filepath.Join(t.TempDir(), "spool")}
	signs, publishes := as("s1", albs.RoleSigner), as("r1", albs.RoleReleaser)
	mastertest.Run(t,
		func(ctx context.Context) error { return signer.Run(ctx, s, "test", signs, zerolog.Nop()) },
		func(ctx context.Context) error { return releaser.Run(ctx, r, "test", publishes, zerolog.Nop()) })
	return f
}

// built are the packages of hello-VERSION-1 by file name, made once for all tests.
var built sync.Map

func hello(t *testing.T, version string) map[string][]byte {
	t.Helper()
	if m, ok := built.Load(version); ok {
		return m.(map[string][]byte)
	}
	m, err := rpmtest.Build(fmt.Sprintf(`%%define debug_package %%{nil}
Name: hello
Version: %s
Release: 1
Summary: A small package
License: MIT
%%description
Small.
%%package doc
Summary: More of it
BuildArch: noarch
%%description doc
Words.
%%install
mkdir -p %%{buildroot}/usr/share/hello
for f in file doc; do echo %s > %%{buildroot}/usr/share/hello/$f; done
%%files
/usr/share/hello/file
%%files doc
/usr/share/hello/doc
`, version, version), "--target", "x86_64")
	must(t, err)
	built.Store(version, m)
	return m
}

// addBuild makes a build of demo that has succeeded with these packages. What workers
// make of packages is tested elsewhere.
func (f *fixture) addBuild(m map[string][]byte) albs.BuildID {
	f.t.Helper()
	ctx := auth.System(f.t.Context(), "test")
	var srpm artifact.Artifact
	var binary []artifact.Artifact
	for name, b := range m {
		kind := artifact.RPM
		if strings.HasSuffix(name, ".src.rpm") {
			kind = artifact.SRPM
		}
		a, err := f.m.Artifacts.Save(ctx, bytes.NewReader(b), 1<<20, name, kind)
		must(f.t, err)
		if kind == artifact.SRPM {
			srpm = a
		} else {
			binary = append(binary, a)
		}
	}
	var id albs.BuildID
	must(f.t, f.d.InTx(ctx, func(tx db.Tx) error {
		if err := f.m.Artifacts.Add(ctx, tx, append([]artifact.Artifact{srpm}, binary...)...); err != nil {
			return err
		}
		if err := tx.GetContext(ctx, &id, `INSERT INTO build (owner_id, owner, team, product, options, created_at)
			VALUES (1, 'olga', 'core', 'demo', '{}', $1) RETURNING id`, db.Now()); err != nil {
			return err
		}
		var item albs.ItemID
		if err := tx.GetContext(ctx, &item, `INSERT INTO build_item (build_id, place, platform, arches, url, ref, ref_type, commit_id, package, srpm, srpm_name)
			VALUES ($1, 0, 'el9', '["x86_64"]', '', '', '', '', 'hello', $2, $3) RETURNING id`, id, srpm.Digest, srpm.Name); err != nil {
			return err
		}
		built := provenance.Fact{Predicate: attest.Build, Files: binary, Body: attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType: attest.BuildType, ExternalParameters: attest.ExternalParameters{Platform: "el9", Arch: albs.X8664},
				ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: builderID}},
		}}
		for _, a := range binary {
			if _, err := tx.ExecContext(ctx, `INSERT INTO build_artifact (build_id, item_id, task_id, attempt, digest, kind, name, arch)
				VALUES ($1, $2, 0, 1, $3, 'rpm', $4, 'x86_64')`, id, item, a.Digest, a.Name); err != nil {
				return err
			}
			built.Subjects = append(built.Subjects, provenance.SubjectOf(a))
		}
		err := f.m.Provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(srpm)}, Predicate: attest.Source, Body: attest.SourceBody{Uploader: "olga"}, Files: []artifact.Artifact{srpm},
		})
		if err != nil {
			return err
		}
		return f.m.Provenance.State(ctx, tx, built)
	}))
	return id
}

// until asks again and again whether something holds.
func (f *fixture) until(what string, ok func() bool) {
	f.t.Helper()
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for end := time.Now().Add(3 * time.Minute); !ok(); <-tick.C {
		if time.Now().After(end) {
			f.t.Fatalf("waited in vain until %s", what)
		}
	}
}

// key has the signer make the product's key, asked for on the page.
func (f *fixture) key() string {
	f.t.Helper()
	c := f.browse("signer")
	a := c.post("/keys/generate", url.Values{"name": {"demo key"}, "user_id": {"Demo <demo@example.org>"}, "algorithm": {"ed25519"}, "product": {"demo"}})
	if a.StatusCode != http.StatusOK || a.Request.URL.Path != "/keys" {
		f.t.Fatalf("generate = %s at %s\n%s", a.Status, a.Request.URL, a.text)
	}
	var fingerprint string
	f.until("the key is made", func() bool {
		k, err := f.Signs.Key(f.t.Context(), "demo key")
		fingerprint = k.Fingerprint
		return err == nil
	})
	return fingerprint
}

// signed is a build of hello that was signed, asked for on the page.
func (f *fixture) signed(version, key string) albs.BuildID {
	f.t.Helper()
	id := f.addBuild(hello(f.t, version))
	a := f.browse("signer").post(fmt.Sprintf("/build/%d/sign", id), url.Values{"key": {key}})
	if a.StatusCode != http.StatusOK || !strings.HasPrefix(a.Request.URL.Path, "/signing/") {
		f.t.Fatalf("sign = %s at %s\n%s", a.Status, a.Request.URL, a.text)
	}
	var r sign.Request
	f.until("the build is signed", func() bool {
		rs, _, err := f.Signs.Requests(f.t.Context(), sign.Filter{Build: id})
		must(f.t, err)
		if r = rs[0]; r.Status == sign.Failed {
			f.t.Fatalf("signing failed: %s", r.Reason)
		}
		return r.Status == sign.Completed
	})
	for _, p := range r.Packages {
		must(f.t, f.m.Provenance.WaitNotarized(f.t.Context(), p.Signed))
	}
	return id
}

// ended waits until a release is not in progress any more, and returns its page.
func (f *fixture) ended(id albs.ReleaseID, want release.Status) string {
	f.t.Helper()
	f.until("the release has ended", func() bool {
		r, err := f.Releases.Get(f.t.Context(), id)
		must(f.t, err)
		if r.Status != release.InProgress && r.Status != want {
			f.t.Fatalf("release %d is %s: %s", id, r.Status, r.Reason)
		}
		return r.Status == want
	})
	return f.browse("").page("/release/" + id.String())
}

var digestField = regexp.MustCompile(`name="digest" value="([0-9a-f]{64})"`)

// digest is that of the plan which a page with a form shows.
func digest(t *testing.T, page string) string {
	t.Helper()
	m := digestField.FindStringSubmatch(page)
	if m == nil {
		t.Fatalf("no form of the page says for which plan it is\n%s", page)
	}
	return m[1]
}

// shown checks where a form led.
func (a answer) shown(t *testing.T, path string) string {
	t.Helper()
	if a.StatusCode != http.StatusOK || a.Request.URL.Path != path {
		t.Fatalf("it led to %s at %s, want %s\n%s", a.Status, a.Request.URL, path, a.text)
	}
	return a.text
}

// TestShip takes builds to their readers by forms alone, as a browser without JavaScript
// does: key, signatures, plan, decisions, approval, publication, what changed, rollback.
func TestShip(t *testing.T) {
	t.Parallel()
	f := shipping(t)
	anon, pam, alf := f.browse(""), f.browse("maintainer"), f.browse("approver")
	contains(t, "sources", anon.page("/source"), "No commit is notarized", "albs source notarize URL REF")
	contains(t, "sources of a repository", anon.page("/source?repository=https://git.example/x"), "None is notarized", `href="/source"`)
	contains(t, "products", anon.page("/products"), `href="/product/demo"`, "nothing yet", "disabled>New product")
	contains(t, "product", anon.page("/product/demo"), "A demonstration", "<bdi>demo key</bdi>, which isn’t there", "not shown yet", "Nothing was published yet", "disabled>New release", "disabled>Roll back", "sign in first", `data-topic="product:demo"`)
	contains(t, "keys", anon.page("/keys"), "There is no key yet", "sign in first", "!Have a signer make one")
	key := f.key()
	contains(t, "keys", anon.page("/keys"), key, "active", `href="/product/demo"`)
	contains(t, "key", anon.page("/key/"+key), "BEGIN PGP PUBLIC KEY BLOCK", "without end", "ed25519", "Demo &lt;demo@example.org&gt;", "disabled>Deactivate")
	contains(t, "sign page of nobody", anon.page(fmt.Sprintf("/build/%d/sign", f.addBuild(hello(t, "0.9")))), "disabled>Sign", "sign in first")

	build := f.signed("1.0", key)
	path := "/build/" + build.String()
	contains(t, "build", pam.page(path), `href="/release/create?build=`+build.String()+`"`, "signed", `href="/key/`+key+`"`, "disabled>Sign…")
	requests := anon.page("/signing?build=" + build.String())
	contains(t, "requests", requests, "signed", `href="/signing/`, "signer")

	// The plan: nobody knows where the packages go.
	contains(t, "new release of nobody", anon.page("/release/create?build="+build.String()), "disabled>Make the plan", "sign in first")
	contains(t, "new release", pam.page("/release/create?build="+build.String()), `value="`+build.String()+`" checked`, ">Make the plan<", "<option selected>demo</option>")
	plan := pam.post("/release/create", url.Values{"product": {"demo"}, "build": {build.String()}}).shown(t, "/release/1")
	contains(t, "plan", plan, "What speaks against it", "hello-1.0-1.x86_64", `href="/release/1/decide?package=hello-1.0-1.x86_64"`, "disabled>Approve", "its plan is refused", "disabled>Publish", "Plan again", `data-topic="release:1"`)
	decide := pam.page("/release/1/decide?package=hello-1.0-1.x86_64&package=hello-doc-1.0-1.noarch&package=nothing-1-1.noarch")
	contains(t, "decide", decide, "<option>AppStream</option>", "<option>BaseOS/x86_64/os</option>", "Not in the plan any more", ">Decide<")
	contains(t, "decide of another", alf.page("/release/1/decide?package=hello-1.0-1.x86_64"), ">Decide<")
	contains(t, "decide of nobody", anon.page("/release/1/decide?package=hello-1.0-1.x86_64"), "disabled>Decide")
	word := url.Values{"digest": {digest(t, decide)}, "package": {"hello-1.0-1.x86_64", "hello-doc-1.0-1.noarch"}, "action": {"move"}, "to": {"BaseOS"}, "reason": {"it <b>belongs</b> there"}}
	plan = pam.post("/release/1/decide", word).shown(t, "/release/1")
	contains(t, "plan after a decision", plan, "!What speaks against it", "it &lt;b&gt;belongs&lt;/b&gt; there", "maintainer", "+ BaseOS/x86_64/os", "take it back", "3 packages more", "0 of 1", "you planned it")
	if a := pam.post("/release/1/decide", word); a.StatusCode != http.StatusConflict || !strings.Contains(a.text, "look at it again") {
		t.Errorf("a decision on a plan that is gone = %s\n%s", a.Status, a.text)
	}
	back := url.Values{"digest": {digest(t, plan)}, "package": {"hello-doc-1.0-1.noarch"}, "action": {"move"}, "to": {"BaseOS"}}
	plan = pam.post("/release/1/undecide", back).shown(t, "/release/1")
	contains(t, "plan after taking it back", plan, "What speaks against it", "hello-doc-1.0-1.noarch")
	plan = pam.post("/release/1/decide", url.Values{"digest": {digest(t, plan)}, "package": {"hello-doc-1.0-1.noarch"}, "action": {"exclude"}, "to": {"BaseOS"}, "reason": {"later"}}).shown(t, "/release/1")
	contains(t, "plan with an exclusion", plan, "excluded", "2 packages more")

	// Another person's word, for exactly this.
	plan = alf.page("/release/1")
	contains(t, "plan of the other", plan, `action="/release/1/approve"`, "adds 2 packages", "disabled>Publish", "it has 0 of the 1 approval")
	if a := alf.post("/release/1/approve", url.Values{"digest": {strings.Repeat("0", 64)}}); a.StatusCode != http.StatusConflict {
		t.Errorf("approval of another plan = %s", a.Status)
	}
	if a := alf.post("/release/1/approve", nil); a.StatusCode != http.StatusBadRequest {
		t.Errorf("approval of nothing = %s", a.Status)
	}
	if a := pam.post("/release/1/approve", url.Values{"digest": {digest(t, plan)}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("approval by who planned it = %s", a.Status)
	}
	plan = alf.post("/release/1/approve", url.Values{"digest": {digest(t, plan)}, "note": {"looks <i>right</i>"}}).shown(t, "/release/1")
	contains(t, "approved plan", plan, "approver", "looks &lt;i&gt;right&lt;/i&gt;", "you approved it already", `action="/release/1/publish"`)
	if a := f.browse("signer").post("/release/1/publish", nil); a.StatusCode != http.StatusForbidden {
		t.Errorf("publication by a signer = %s", a.Status)
	}
	pam.post("/release/1/publish", nil).shown(t, "/release/1")
	public := f.ended(1, release.Completed)
	contains(t, "public", public, "released", "serial 1", "3 of 3 repositories laid out", "serial 1 is shown in place of 0", `href="/product/demo"`)
	contains(t, "releases", anon.page("/releases?product=demo&status=3"), `href="/release/1"`, "maintainer")
	contains(t, "other releases", anon.page("/releases?status=4"), "No release is like that")
	contains(t, "build", anon.page(path), `href="/release/1"`)

	var packaged albs.Digest
	must(t, f.d.GetContext(t.Context(), &packaged, `SELECT digest FROM artifact WHERE unsigned IS NOT NULL ORDER BY id LIMIT 1`))
	trace, logProof := "/p/"+string(packaged), `href="/api/v1/artifacts/`+string(packaged)+`/log-proof"`
	contains(t, "trace before the public log", anon.page(trace), "Trace of", "!"+logProof)
	_, err := f.d.ExecContext(t.Context(), `INSERT INTO transparency_leaf (id, release_id, product, package, step, leaf, task_id, changed_at) VALUES (1, 1, 'demo', $1, 4, '', 0, $2)`, packaged, db.Now())
	must(t, err)
	contains(t, "trace", anon.page(trace), logProof)

	// What readers see.
	shown := anon.page("/product/demo")
	contains(t, "product", shown, "serial 1", "2 packages", `href="/repo/demo/BaseOS/x86_64/os"`, "[demo-BaseOS-os]", "gpgcheck=1", f.url+"/repos/product/demo/")
	contains(t, "configuration", anon.page("/product/demo/repo/el9.repo"), "[demo-AppStream-os]\n", "repo_gpgcheck=1\n", "!<")
	repository := anon.page("/repo/demo/BaseOS/x86_64/os")
	contains(t, "repository", repository, "hello", "1.0-1", "x86_64", "shown now", `value="demo/BaseOS/x86_64/os@1"`, `data-topic="product:demo"`)
	contains(t, "search", anon.page("/repo/demo/BaseOS/x86_64/os?q=nothing&at=1"), "No package of it is called like that", "!data-topic")

	// The next one, and back.
	next := f.signed("2.0", key)
	plan = pam.post("/release/create", url.Values{"product": {"demo"}, "others": {f.url + "/build/" + next.String()}}).shown(t, "/release/2")
	contains(t, "second plan", plan, "hello-2.0-1.x86_64")
	decide = pam.page("/release/2/decide?package=hello-2.0-1.x86_64")
	plan = pam.post("/release/2/decide", url.Values{"digest": {digest(t, decide)}, "package": {"hello-2.0-1.x86_64", "hello-doc-2.0-1.noarch"}, "action": {"move"}, "to": {"BaseOS"}, "reason": {"as before"}}).shown(t, "/release/2")
	contains(t, "second plan", plan, "hello-1.0-1.x86_64") // that it comes after
	alf.post("/release/2/approve", url.Values{"digest": {digest(t, alf.page("/release/2"))}}).shown(t, "/release/2")
	pam.post("/release/2/publish", nil).shown(t, "/release/2")
	f.ended(2, release.Completed)
	contains(t, "product's changes", anon.page("/product/demo/diff?from=1&to=2"), "1 added, 1 upgraded", "1 repository is the same")
	contains(t, "changes", anon.page("/diff?from=demo/BaseOS/x86_64/os@1&to=demo/BaseOS/x86_64/os"), "upgraded", "1.0-1", "2.0-1", "hello-doc")
	contains(t, "upgrades alone", anon.page("/diff?from=demo/BaseOS/x86_64/os@1&to=demo/BaseOS/x86_64/os&what=upgraded"), "2.0-1", "!hello-doc")
	contains(t, "the past", anon.page("/repo/demo/BaseOS/x86_64/os?at=1"), "the past", "1.0-1", "!2.0-1<")
	contains(t, "the other repository", anon.page("/repo/demo/AppStream/x86_64/os"), "as before", "It holds no package")
	contains(t, "rollback of nobody", anon.page("/product/demo/rollback?to=1"), "disabled>Roll back", "sign in first")
	question := pam.page("/product/demo/rollback?to=1")
	contains(t, "rollback", question, "What goes with it", `href="/release/2"`, "1 removed, 1 downgraded", "<button class=\"danger\">Roll back")
	a := pam.post("/product/demo/rollback", url.Values{"from": {"2"}, "to": {"1"}, "reason": {"it <b>breaks</b>"}})
	a.shown(t, "/release/3")
	contains(t, "rolled back", f.ended(3, release.Completed), "back to serial 1", "serial 3", "it &lt;b&gt;breaks&lt;/b&gt;", "3 packages fewer", "!disabled>Approve")
	contains(t, "reverted", anon.page("/release/2"), "reverted")
	contains(t, "product", anon.page("/product/demo"), "back to 1", "serial 3")

	// Into another product, without building again.
	second := strings.NewReplacer("name: demo", "name: stable", "A demonstration", "For everybody").Replace(demoYAML)
	pam.post("/products/new", url.Values{"spec": {second}}).shown(t, "/product/stable")
	contains(t, "copy page", pam.page("/release/copy?from=demo&into=stable"), "<option selected>demo</option>", "<option selected>stable</option>", ">Make the plan<")
	contains(t, "copy page of nobody", anon.page("/release/copy?from=demo&into=stable"), "disabled>Make the plan", "sign in first")
	copied := pam.post("/release/copy", url.Values{"from": {"demo"}, "into": {"stable"}, "packages": {"hello"}}).shown(t, "/release/4")
	contains(t, "copy", copied, "Copied from", `href="/product/demo"`, "hello-1.0-1.x86_64")
	if a := pam.post("/release/copy", url.Values{"from": {"demo"}, "into": {"demo"}}); a.StatusCode != http.StatusBadRequest {
		t.Errorf("a copy onto itself = %s", a.Status)
	}

	for path, want := range map[string]int{
		"/product/none": 404, "/product/demo/repo/el10.repo": 404, "/product/demo/diff?from=1": 400, "/product/demo/diff?from=1&to=9": 404, "/product/demo/rollback?to=3": 409, "/product/demo/rollback?to=x": 400, "/repo/demo/none": 404, "/repo/none/x": 404, "/repo/demo/BaseOS/x86_64/os?at=yesterday": 400,
		"/repo/demo/BaseOS/x86_64/os?page=0": 400, "/diff?from=x&to=y": 400, "/releases?status=9": 400, "/releases?before=x": 400, "/release/9": 404, "/release/x": 404, "/release/1?show=x": 400, "/release/1/decide": 400, "/release/create?builds=x": 400,
		"/key/none": 404, "/signing/99": 404, "/signing?build=x": 400, "/build/99/sign": 404, "/release/create?product=none": 404, "/products?q=" + strings.Repeat("a", 300): 400, "/events?topic=release:99": 404,
	} {
		if a := anon.get(path); a.StatusCode != want {
			t.Errorf("GET %.80s = %s, want %d", path, a.Status, want)
		}
	}
}

// release has a build of demo released by people who don't use pages.
func (f *fixture) release(t *testing.T, id albs.BuildID) {
	t.Helper()
	pam, alf := f.as("maintainer"), f.as("approver")
	r, err := f.Releases.Plan(pam, "demo", []albs.BuildID{id})
	must(t, err)
	var all []place.Decision
	for _, x := range r.Plan.Refusals {
		all = append(all, place.Decision{Action: place.Move, Package: x.Package, To: "BaseOS", Reason: "as before"})
	}
	r, err = f.Releases.Decide(pam, r.ID, r.Digest, all)
	must(t, err)
	_, err = f.Releases.Approve(alf, r.ID, r.Digest, "")
	must(t, err)
	_, err = f.Releases.Publish(pam, r.ID)
	must(t, err)
	f.ended(r.ID, release.Completed)
}

// TestProductForms: a product is made and changed as YAML, and a repository is given
// metadata files; what is wrong is said above what was typed.
func TestProductForms(t *testing.T) {
	t.Parallel()
	f := setup(t)
	pam, operator, anon := f.browse("maintainer"), f.browse("operator"), f.browse("")
	edit := pam.page("/product/distro/edit")
	contains(t, "edit", edit, "name: distro", "path: BaseOS/x86_64/os", ">Apply<")
	contains(t, "edit of nobody", anon.page("/product/distro/edit"), "disabled>Apply", " readonly")
	contains(t, "edit of another team's", f.browse("outsider").page("/product/distro/edit"), "disabled>Apply", "product.apply")
	spec := strings.TrimSpace(productYAML) + "\ntitle: A <b>title</b>\r\n"
	if a := pam.post("/product/distro/edit", url.Values{"spec": {spec + "nonsense: 1\n"}}); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.text, "nonsense: 1") || !strings.Contains(a.text, `role="alert"`) {
		t.Errorf("a product with an unknown key = %s\n%s", a.Status, a.text)
	}
	if a := pam.post("/product/distro/edit", url.Values{"spec": {strings.Replace(spec, "name: distro", "name: other", 1)}}); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.text, "keeps its name") {
		t.Errorf("a product renamed = %s", a.Status)
	}
	if a := pam.post("/products/new", url.Values{"spec": {spec}}); a.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(a.text, "already") {
		t.Errorf("a new product that is there = %s", a.Status)
	}
	if a := f.browse("contributor").post("/product/distro/edit", url.Values{"spec": {spec}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("a product changed by a contributor = %s", a.Status)
	}
	if a := pam.post("/product/distro/edit", url.Values{"spec": {strings.Repeat("x", 300<<10)}}); a.StatusCode != http.StatusRequestEntityTooLarge {
		t.Errorf("a product of 300 KiB = %s", a.Status)
	}
	pam.post("/product/distro/edit", url.Values{"spec": {spec}}).shown(t, "/product/distro")
	contains(t, "product", anon.page("/product/distro"), "A &lt;b&gt;title&lt;/b&gt;", "Revision 2")
	operator.post("/products/new", url.Values{"spec": {strings.Replace(spec, "name: distro", "name: second", 1)}}).shown(t, "/product/second")
	contains(t, "list", anon.page("/products?q=SEC"), `href="/product/second"`, `!href="/product/distro"`)

	give := func(c *client, typ, text string) answer {
		var b bytes.Buffer
		w := multipart.NewWriter(&b)
		must(t, errors.Join(w.WriteField("repository", "BaseOS/x86_64/os"), w.WriteField("type", typ)))
		part, err := w.CreateFormFile("file", "comps.xml")
		must(t, err)
		_, err = part.Write([]byte(text))
		must(t, errors.Join(err, w.Close()))
		r := c.request(http.MethodPost, "/product/distro/records/give", &b)
		r.Header.Set("Content-Type", w.FormDataContentType())
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		return c.do(r)
	}
	const comps = `<comps><group><id>core</id><name>Core</name><packagelist><packagereq type="mandatory">bash</packagereq></packagelist></group></comps>`
	for c, want := range map[*client]int{anon: 401, operator: 403} {
		if a := give(c, "group", comps); a.StatusCode != want {
			t.Errorf("comps of who may not = %s, want %d", a.Status, want)
		}
	}
	for typ, text := range map[string]string{"group": "<nothing/>", "nothing": comps} {
		if a := give(pam, typ, text); a.StatusCode != http.StatusBadRequest {
			t.Errorf("%s of type %s = %s\n%s", text, typ, a.Status, a.text)
		}
	}
	contains(t, "a repository of which nothing is shown", anon.page("/repo/distro/BaseOS/x86_64/os"), "Nothing of it is shown yet", "sign in first", "!As they were given")
	given := give(pam, "group", comps).shown(t, "/repo/distro/BaseOS/x86_64/os")
	contains(t, "a repository that was given comps", given, "As they were given", "take it away")
	contains(t, "product", anon.page("/product/distro"), "1 metadata file waits for the next release", "group of")
	taken := pam.post("/product/distro/records/take", url.Values{"repository": {"BaseOS/x86_64/os"}, "type": {"group"}}).shown(t, "/repo/distro/BaseOS/x86_64/os")
	contains(t, "a repository of which comps were taken", taken, "!As they were given")
	for path, want := range map[string]int{"/repo/distro/none": 404, "/repo/distro/BaseOS/x86_64/os?at=1": 404} {
		if a := anon.get(path); a.StatusCode != want {
			t.Errorf("GET %s = %s, want %d", path, a.Status, want)
		}
	}
	contains(t, "product", anon.page("/product/distro"), "!metadata file")
}

// TestLargePlan holds the page of a plan of 5,000 packages to what a page may have, and
// tells how long it took.
func TestLargePlan(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.create()
	r, err := f.Releases.Plan(f.as("maintainer"), "distro", []albs.BuildID{b.ID})
	must(t, err)
	p := r.Plan
	for _, arch := range []string{"x86_64", "aarch64", "s390x", "ppc64le"} {
		x := p.Repositories[0]
		x.Path, x.Arch, x.Packages = "BaseOS/"+arch+"/os", albs.Arch(arch), nil
		for i := range 1250 {
			nevra := fmt.Sprintf("package-%04d-1.0-1.el9.%s", i, arch)
			x.Packages = append(x.Packages, releaseplan.Change{
				Action: releaseplan.Add, NEVRA: nevra, File: nevra + ".rpm", Digest: albs.DigestOf([]byte(nevra)), Unsigned: albs.DigestOf([]byte(nevra + "u")), Size: 1 << 20, Build: b.ID,
				Tests: testrun.Passed, Place: "BaseOS", Match: "exact", Updates: fmt.Sprintf("package-%04d-0.9-1.el9.%s", i, arch),
			})
		}
		p.Repositories = append(p.Repositories, x)
	}
	doc, err := json.Marshal(p)
	must(t, err)
	must(t, f.d.InTx(t.Context(), func(tx db.Tx) error {
		_, err := tx.ExecContext(t.Context(), `UPDATE release SET plan = $1 WHERE id = $2`, string(doc), r.ID)
		return err
	}))
	anon := f.browse("")
	var a answer
	took := time.Hour
	for range 5 { // the best of them: other tests run beside
		q := anon.request(http.MethodGet, "/release/1", nil)
		q.Header.Set("Accept-Encoding", "gzip") // by hand: the client then doesn't unpack
		start := time.Now()
		a = anon.do(q)
		took = min(took, time.Since(start))
	}
	if a.Header.Get("Content-Encoding") != "gzip" || len(a.text) > 100<<10 {
		t.Errorf("the page is %q and has %d bytes", a.Header.Get("Content-Encoding"), len(a.text))
	}
	t.Logf("5,000 packages: %v, %d bytes", took, len(a.text))
	contains(t, "first page", anon.page("/release/1"), "5,000 packages more", "tests: 5,000 passed", "1 to 100 of 5,00", "page=2")
	contains(t, "a later page", anon.page("/release/1?page=50&repository=BaseOS/s390x/os"), "There is no such page")
	contains(t, "one package", anon.page("/release/1?q=package-0042&repository=BaseOS/s390x/os"), "package-0042-1.0-1.el9.s390x", "!package-0042-1.0-1.el9.x86_64<", "!page=2")
}

// TestApproveSigning: where a product asks for it, a build is signed once another person
// has approved that on its page.
func TestApproveSigning(t *testing.T) {
	t.Parallel()
	f := shipping(t)
	spec, err := product.Parse(strings.NewReader(strings.TrimSpace(demoYAML) + "\napprovals: {count: 1, distinct: true, requests: true}\n"))
	must(t, err)
	_, err = f.Products.Apply(auth.System(t.Context(), "test"), spec)
	must(t, err)
	key := f.key()
	id := f.addBuild(hello(t, "1.0"))
	asks, alf := f.browse("signer"), f.browse("approver")
	a := asks.post(fmt.Sprintf("/build/%d/sign", id), url.Values{"key": {key}})
	path := a.Request.URL.Path
	contains(t, "request", a.shown(t, "/signing/1"), "0 of 1", "disabled>Approve", "you asked for it")
	contains(t, "product", alf.page("/product/demo"), "of requests to sign too")
	page := alf.page(path)
	contains(t, "request as another sees it", page, `action="/signing/1/approve"`, "exactly these 3 packages")
	if a := alf.post(path+"/approve", url.Values{"digest": {strings.Repeat("0", 64)}}); a.StatusCode != http.StatusConflict {
		t.Errorf("approval of something else = %s", a.Status)
	}
	if a := f.browse("contributor").post(path+"/approve", url.Values{"digest": {digest(t, page)}}); a.StatusCode != http.StatusForbidden {
		t.Errorf("approval by a contributor = %s", a.Status)
	}
	page = alf.post(path+"/approve", url.Values{"digest": {digest(t, page)}, "note": {"<b>fine</b>"}}).shown(t, path)
	contains(t, "approved request", page, "1 of 1", "approver", "&lt;b&gt;fine&lt;/b&gt;", "by a session", "it has the approvals that it needs")
	f.until("it is signed", func() bool {
		r, err := f.Signs.Request(t.Context(), 1)
		must(t, err)
		if r.Status == sign.Failed {
			t.Fatalf("signing failed: %s", r.Reason)
		}
		return r.Status == sign.Completed
	})
	contains(t, "signed request", alf.page(path), "3 of 3 packages signed")
}
