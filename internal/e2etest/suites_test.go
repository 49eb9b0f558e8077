package e2etest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/client"
)

// TestOwnTests: a package is tested in a real root by a folder of a git repository, with the
// build's variables; a test that fails is fixed there, and testing again takes the old
// commit until the newest is asked for; and a repository that is gone bars the package.
func TestOwnTests(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("a build and four tests of it take a minute: not in -short")
	}
	s := newSite(t)
	s.serve("albs", ordinary(t), allRoles, nil)
	s.people()
	s.tiny()
	s.product("tiny")
	s.key("ed25519")

	script := "#!/bin/sh\nset -e\ntest \"$PACKAGE_NAME\" = one\ntest \"$LEVEL\" = full\nrpm -q \"$PACKAGE_NEVRA\"\ntest \"$(cat /usr/share/one)\" = %s\n"
	tests, _, _ := strings.Cut(s.forge.repository(t, "tests", map[string]string{"tests/p_one/check.sh": fmt.Sprintf(script, "other")}), "#")
	s.run(s.alice, "test", "repository", "add", "demo-tests", tests, "--dir", "tests/", "--prefix", "p_", "--team", "demo")
	one := s.forge.spec(t, "one", `Name: one
Version: 1
Release: 1
Summary: A file
License: MIT
BuildArch: noarch

%description
A file.

%install
install -d %{buildroot}/usr/share
echo right > %{buildroot}/usr/share/one

%files
/usr/share/one
`)
	id := ask[client.Build](s, s.alice, "build", "create", "--platform", "tiny", "--product", "demo", "--arch", "x86_64", "--git", one, "--test-env", "LEVEL=full").ID.String()
	watch := func() { s.try(s.alice, "build", "watch", id) } // it fails as the tests do
	watch()
	status := func() (albs.TestStatus, string) {
		t.Helper()
		var runs []struct {
			Packages []struct {
				Stages []struct {
					Stage  albs.TestStage
					Status albs.TestStatus
					Reason string
				}
			}
		}
		if err := s.api.Get(t.Context(), "/tests/build/"+id+"/", &runs); err != nil {
			t.Fatal(err)
		}
		for _, x := range runs[len(runs)-1].Packages[0].Stages {
			if x.Stage == albs.StagePackage {
				return x.Status, x.Reason
			}
		}
		t.Fatalf("no stage package in %+v", runs)
		return "", ""
	}
	again := func(query string) {
		t.Helper()
		if err := s.api.Send(t.Context(), http.MethodPut, "/tests/build/"+id+"/restart"+query, nil, nil); err != nil {
			t.Fatal(err)
		}
		watch()
	}
	if got, why := status(); got != albs.TestFailed {
		t.Fatalf("the test of another file %s: %s", got, why)
	}

	s.forge.commit(t, "tests", map[string]string{"tests/p_one/check.sh": fmt.Sprintf(script, "right")})
	again("")
	if got, why := status(); got != albs.TestFailed {
		t.Errorf("tested again by the same commit it %s: %s", got, why)
	}
	again("?newest=true")
	if got, why := status(); got != albs.TestPassed {
		t.Errorf("tested by the newest it %s: %s", got, why)
	}

	s.forge.remove(t, "tests")
	id = s.build("tiny", one)
	watch()
	if got, why := status(); got != albs.TestNotRun || !strings.Contains(why, "demo-tests can't be had") {
		t.Errorf("with the repository gone it %s: %s", got, why)
	}
	if a := s.try(s.alice, "sign", id, "--key", "demo"); a.code != 1 || !strings.Contains(a.stderr, "can't be had") {
		t.Errorf("signing what wasn't tested ended with %+v", a)
	}
}
