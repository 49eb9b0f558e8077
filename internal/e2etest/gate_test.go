package e2etest

import (
	"bytes"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"albs/internal/attest"
	"albs/internal/client"
)

// stubborn is a package that can't be removed.
const stubborn = `Name: stubborn
Version: 1
Release: 1%{?dist}
Summary: It stays
License: MIT
BuildArch: noarch

%description
Small.

%install
mkdir -p %{buildroot}%{_datadir}/stubborn
echo 1 > %{buildroot}%{_datadir}/stubborn/file

%preun
exit 3

%files
%{_datadir}/stubborn
`

// person is somebody who uses pages.
type person struct {
	*http.Client
	s *site
}

// browse signs the holder of a token in.
func (s *site) browse(token string) person {
	s.t.Helper()
	jar := must(cookiejar.New(nil))
	p := person{&http.Client{Jar: jar}, s}
	if code, text := p.send("/login", url.Values{"token": {token}}); code != http.StatusOK {
		s.t.Fatalf("signing in: %d\n%s", code, text)
	}
	return p
}

// send sends a form as the page of this site does, and returns what that led to.
func (p person) send(path string, form url.Values) (code int, text string) {
	p.s.t.Helper()
	r := must(http.NewRequestWithContext(p.s.t.Context(), http.MethodPost, p.s.url+path, strings.NewReader(form.Encode())))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", p.s.url)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return answered(p.Do(r))
}

// call sends JSON to the API as the holder of token.
func (s *site) call(token, path, body string) (code int, text string) {
	s.t.Helper()
	r := must(http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/api/v1"+path, strings.NewReader(body)))
	r.Header.Set("Content-Type", "application/json")
	r.Header.Set("Authorization", "Bearer "+token)
	return answered(http.DefaultClient.Do(r))
}

func answered(resp *http.Response, err error) (code int, text string) {
	defer must(resp, err).Body.Close()
	return resp.StatusCode, string(must(io.ReadAll(resp.Body)))
}

// TestGate: a package that fails a required stage is neither signed nor released, by a
// command, the API or a page, and each says why and what to do. A waiver lets it go, is
// named by the release, and is told to who verifies the package, also once it is taken back.
func TestGate(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a package is built, tested, signed and released through all roles, which takes a minute: not in -short")
	}
	s := newSite(t)
	s.serve("albs", ordinary(t), allRoles, nil)
	s.people()
	s.tiny()
	s.product("tiny")
	s.key("ed25519")
	alice := s.browse(s.alice)

	id := s.build("tiny", s.forge.spec(t, "stubborn", stubborn))
	s.try(s.alice, "build", "watch", id)
	const pkg = "stubborn-1-1.seed9.noarch"
	// refused wants something to be refused in words that say why and what to do.
	refused := func(what string, fails bool, said string, why ...string) {
		t.Helper()
		for _, w := range append(why, "stage remove failed", "albs test waive "+id+" "+pkg+" --reason TEXT") {
			if !fails || !strings.Contains(said, w) {
				t.Errorf("%s: refused is %t, %q isn't said in\n%s", what, fails, w, said)
			}
		}
	}
	sign := `{"build_id":` + id + `,"sign_key":"demo"}`
	a := s.try(s.alice, "sign", id, "--key", "demo", "--wait")
	refused("signing by a command", a.code == 1, a.stderr)
	code, text := s.call(s.alice, "/sign-tasks/", sign)
	refused("signing by the API", code == http.StatusConflict, text)
	code, text = alice.send("/build/"+id+"/sign", url.Values{"key": {"demo"}})
	refused("signing on a page", code == http.StatusConflict, text)

	s.run(s.alice, "test", "waive", id, pkg, "--stage", "remove", "--reason", "it is to stay", "--days", "2")
	a = s.try(s.alice, "sign", id, "--key", "demo", "--wait")
	if a.code != 1 || !strings.Contains(a.stderr, "stage reinstall was not run: the stage remove failed") {
		t.Errorf("with one of two stages waived: %+v", a)
	}
	s.run(s.alice, "test", "waive", id, pkg, "--stage", "reinstall", "--reason", "it is to stay", "--days", "2")
	s.signed(id)

	// What was signed isn't released once the waiver is taken back.
	s.run(s.alice, "test", "waivers", "end", "1", "--reason", "it was a slip")
	const ended = "waiver 1 was taken back by alice"
	a = s.try(s.alice, "release", "plan", "--product", "demo", "--build", id)
	refused("planning by a command", true, a.stdout+a.stderr, ended)
	plan := ask[client.Release](s, s.alice, "release", "show", "1")
	a = s.try(s.bob, "release", "approve", "1")
	refused("approving by a command", a.code == 1, a.stderr, ended)
	a = s.try(s.alice, "release", "publish", "1", "--wait")
	refused("publishing by a command", a.code == 1, a.stderr, ended)
	code, text = s.call(s.bob, "/releases/1/approve/", `{"digest":"`+string(plan.Digest)+`"}`)
	refused("approving by the API", code == http.StatusConflict, text, ended)
	code, text = s.call(s.alice, "/releases/1/commit/", `{}`)
	refused("publishing by the API", code == http.StatusConflict, text, ended)
	code, text = alice.send("/release/1/publish", nil)
	refused("publishing on a page", code == http.StatusConflict, text, ended)

	s.run(s.alice, "test", "waive", id, pkg, "--reason", "it is to stay", "--days", "2")
	s.publish(id)

	public := filepath.Join(s.dir, "albs/releaser/public/demo/current")
	file := glob(t, public+"/tiny/main/x86_64/os/Packages/s/stubborn-1-1*.rpm")
	released, fresh := folder(t, self, t.Name(), "released"), folder(t, self, t.Name(), "fresh")
	s.run("", "artifact", "bundle", file, "--output", released)
	named := []int64{}
	for _, line := range bytes.Split([]byte(read(t, filepath.Join(released, filepath.Base(file)+attest.EnvelopesSuffix))), []byte("\n")) {
		if len(line) == 0 {
			continue
		}
		var e attest.Envelope
		if !decode(string(line), &e) {
			t.Fatalf("an envelope can't be read: %.200s", line)
		}
		var st attest.Statement
		var body attest.ReleaseBody
		if decode(string(e.Payload), &st) && st.Short() == attest.Release {
			if err := st.Body(&body); err != nil {
				t.Fatal(err)
			}
			for _, w := range body.Waivers {
				named = append(named, w.Waiver)
				if w.Person != "alice" || w.Reason != "it is to stay" || w.Build != s.number(id) {
					t.Errorf("the release names %+v", w)
				}
			}
		}
	}
	if !slices.Equal(named, []int64{2, 3}) {
		t.Errorf("the release names the waivers %v, want 2 and 3", named)
	}

	trust := filepath.Join(s.dir, "trust.json")
	s.run("", "trust", "export", "--output", trust)
	out := s.run("", "verify", file, "--bundle", released, "--trust", trust)
	for _, w := range []string{"what failed is waived by alice until", "(waiver 3): it is to stay", "FAILED", "which is waived", ended} {
		if !strings.Contains(out, w) {
			t.Errorf("albs verify doesn't say %q:\n%s", w, out)
		}
	}
	if strings.Contains(out, "note: ") {
		t.Errorf("albs verify notes something of a waiver that is in force:\n%s", out)
	}
	s.run(s.alice, "test", "waivers", "end", "3", "--reason", "it goes now")
	s.until(longLease, "the end of the waiver is in the bundle", func() bool {
		s.run("", "artifact", "bundle", file, "--output", fresh)
		out = s.run("", "verify", file, "--bundle", fresh, "--trust", trust)
		return strings.Contains(out, "note: waiver 3 was taken back by alice on ")
	})
	if !strings.Contains(out, "(it goes now), after release") {
		t.Errorf("albs verify says\n%s", out)
	}
	strict := attest.Trust{}
	if !decode(read(t, trust), &strict) {
		t.Fatal("the trust file can't be read")
	}
	strict.RefuseEndedWaivers = true
	if err := os.WriteFile(trust, strict.Encode(), 0o600); err != nil {
		t.Fatal(err)
	}
	a = s.try("", "verify", file, "--bundle", fresh, "--trust", trust)
	if a.code != attest.LinkChain.ExitCode() || !strings.Contains(a.stderr, "which the trust file refuses") {
		t.Errorf("by a trust file that refuses it: %+v", a)
	}
	s.check("albs", "albs")
}
