package master

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/master/auth"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/errata/monitor"
	"albs/internal/master/repo"
	"albs/internal/pgp"
	"albs/internal/rpm"
)

// advise makes an advisory of the distribution's own about a package that a build made, and
// waits until it is matched.
func (f *farm) advise(ctx context.Context, name string) errata.Key {
	f.t.Helper()
	r, err := f.errata.Create(ctx, advisory.Advisory{
		Platform: "el", Type: advisory.Security, Severity: advisory.Important, Title: name + " security update", Description: "What was wrong of " + name + " is right.",
		CVEs: []advisory.CVE{{ID: "CVE-2026-10001"}}, Packages: []advisory.Package{{NEVRA: rpm.NEVRA{Name: name, Version: "1", Release: "1", Arch: "x86_64"}}},
	}, errata.CreateOptions{})
	f.must(err)
	f.until("advisory "+r.ID+" is matched", func() bool {
		is, err := f.matching.Of(ctx, r.Key)
		f.must(err)
		return is.Standing.Stage == matching.Ready
	})
	return r.Key
}

func (f *farm) states(k errata.Key, state errata.State, shown int) {
	f.t.Helper()
	r, err := f.errata.Get(f.t.Context(), k)
	f.must(err)
	if r.State != state || r.Shown != shown {
		f.t.Errorf("advisory %s is %s and shows version %d, want %s and %d", k, r.State, r.Shown, state, shown)
	}
}

// shown returns a file that the product shows.
func (f *farm) shown(path string) []byte {
	f.t.Helper()
	b, err := os.ReadFile(filepath.Join(f.public, "demo/current", path))
	f.must(err)
	return b
}

// call asks the API as scripts do that were made for ALBS, and reads the answer.
func (f *farm) call(method, path string, into any) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.URL()+"/api/v1"+path, nil)
	f.must(err)
	req.Header.Set("Authorization", "Bearer "+f.AdminToken)
	resp, err := http.DefaultClient.Do(req)
	f.must(err)
	b, err := io.ReadAll(resp.Body)
	f.must(errors.Join(err, resp.Body.Close()))
	f.not(resp.StatusCode != http.StatusOK, fmt.Sprintf("%s %s: %s %s", method, path, resp.Status, b))
	f.must(json.Unmarshal(b, into))
}

// TestErrata: an advisory becomes public together with the packages that answer it, for dnf
// too; what is public is what is shown; and a rollback takes both back.
func TestErrata(t *testing.T) {
	t.Parallel()
	f := newFarm(t)
	admin, err := f.auth.Authenticate(t.Context(), f.AdminToken)
	f.must(err)
	ctx := auth.With(t.Context(), admin)
	build := func(name string) albs.BuildID {
		id := f.given(name)
		f.built(f.east, f.begun(name), name, "one")
		f.tested(true)
		return id
	}
	advised := func(k errata.Key) client.Advised { return client.Advised{ID: k.ID, Platform: k.Platform} }

	foo := build("foo")
	one := f.advise(ctx, "foo")
	f.signed(foo)
	// Without the packages it isn't publishable.
	plan := of(f, func() (client.Doc[client.Release], error) {
		return f.alice.PlanRelease(t.Context(), "demo", nil, advised(one))
	})
	if len(plan.Plan.Refusals) == 0 || !strings.Contains(plan.Plan.Refusals[0].Reason, rpmOf("foo")[:len(rpmOf("foo"))-4]) {
		t.Errorf("an advisory without its packages: %+v", plan.Plan.Refusals)
	}
	f.publish([]albs.BuildID{foo}, advised(one))
	f.states(one, errata.Released, 1)
	found, err := f.monitor.Check(ctx, "demo")
	if err != nil || found.Advisories != 1 || len(found.Troubles)+len(found.Unchecked) > 0 {
		t.Errorf("what is public is not what is shown: %+v, %v", found, err)
	}
	current := filepath.Join(f.public, "demo/current")
	b := f.shown("errata/el/advisories/" + advisory.FileName(one.ID) + ".json")
	a, err := advisory.Parse(b)
	if err != nil || len(a.Packages) != 1 || !a.Packages[0].Digest.Valid() || a.Packages[0].Source != srpmOf("foo") {
		t.Errorf("the advisory is %+v, %v", a, err)
	}
	docs, err := filepath.Glob(filepath.Join(current, "errata/el/csaf/*/*.json"))
	f.must(err)
	if len(docs) != 1 {
		t.Fatalf("the documents of CSAF are %v", docs)
	}
	kr, err := pgp.ReadKeyring(f.shown("RPM-GPG-KEY-demo"))
	f.must(err)
	doc, err := os.ReadFile(docs[0])
	f.must(err)
	asc, err := os.ReadFile(docs[0] + ".asc")
	f.must(err)
	if _, _, err := kr.VerifyArmored(bytes.NewReader(doc), asc); err != nil {
		t.Errorf("the document of CSAF: %v", err)
	}
	for _, path := range []string{".well-known/csaf/provider-metadata.json", "errata/el/errata.json", "errata/el/errata.full.json", "errata/el/errata.rss", "errata/el/html/index.html"} {
		if _, err := os.Stat(filepath.Join(current, path)); err != nil {
			t.Error(err)
		}
	}
	f.until("the advisory is in the ledger", func() bool {
		ok, err := f.prov.Notarized(ctx, albs.DigestOf(b))
		f.must(err)
		return ok
	})

	dnf, err := exec.LookPath("dnf")
	if err != nil {
		t.Log("dnf is not installed here")
	} else {
		dir := t.TempDir()
		run := func(args ...string) string {
			t.Helper()
			out, err := exec.CommandContext(t.Context(), dnf, append([]string{
				"--installroot=" + filepath.Join(dir, "root"), "--releasever=9", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=t," + f.site + "/demo/current/" + farmRepo, "--nogpgcheck",
				"--setopt=cachedir=" + filepath.Join(dir, "cache"), "--setopt=reposdir=/nonexistent", "-y",
			}, args...)...).CombinedOutput()
			if err != nil {
				t.Errorf("dnf %v: %v\n%s", args, err, out)
			}
			return string(out)
		}
		run("install", "foo")
		if out := run("updateinfo", "list", "--installed"); !strings.Contains(out, one.ID+" Important/Sec. foo-1-1.x86_64") {
			t.Errorf("dnf updateinfo lists\n%s", out)
		}
		if out := run("updateinfo", "info", "--installed", one.ID); !strings.Contains(out, "CVE-2026-10001") || !strings.Contains(out, "What was wrong of foo") {
			t.Errorf("dnf updateinfo tells\n%s", out)
		}
	}

	// An advisory alone is a release too, and a rollback takes it back.
	bar := build("bar")
	f.released(bar)
	two := f.advise(ctx, "bar")
	var planned struct {
		Results []struct {
			Release albs.ReleaseID `json:"release_id"`
		} `json:"results"`
	}
	f.call(http.MethodPost, "/errata/release_new_record/"+two.ID+"/?platform_id=el", &planned)
	second := of(f, func() (client.Doc[client.Release], error) {
		return f.alice.Release(t.Context(), planned.Results[0].Release)
	})
	f.goes(second)
	f.states(two, errata.Released, 1)
	f.states(one, errata.Released, 1)
	// What the API tells in OVAL is what is public.
	var told string
	f.call(http.MethodGet, "/errata/get_new_oval_xml/?platform_name=el&only_released=true", &told)
	z, err := gzip.NewReader(bytes.NewReader(f.shown("errata/el/oval/example.almalinux.errata-9.xml.gz")))
	f.must(err)
	defs, err := io.ReadAll(z)
	f.must(err)
	if told != string(defs) || strings.Count(told, "<definition ") != 2 {
		t.Errorf("the API tells\n%s\nand the public\n%s", told, defs)
	}
	of(f, func() (client.Doc[client.Release], error) { return f.alice.RevertRelease(t.Context(), second.ID) })
	f.until("the second is taken back", func() bool {
		r, err := f.errata.Get(t.Context(), two)
		f.must(err)
		return r.State == errata.NotReleased
	})
	f.states(one, errata.Released, 1)
	if _, err := os.Stat(filepath.Join(current, "errata/el/osv", advisory.FileName(two.ID)+".json")); err == nil {
		t.Errorf("%s is public still", two)
	}
	f.must(os.Remove(filepath.Join(current, farmRepo, repo.Path("foo-1-1.x86_64.rpm"))))
	if found, err := f.monitor.Check(ctx, "demo"); err != nil || len(found.Troubles) != 1 || found.Troubles[0].Kind != monitor.MissingFile || found.Troubles[0].Advisory != one.ID {
		t.Errorf("of a package that is gone is found %+v, %v", found, err)
	}
	f.must(os.Remove(filepath.Join(current, farmRepo, "repodata/repomd.xml")))
	if found, err := f.monitor.Check(ctx, "demo"); err != nil || len(found.Troubles) != 1 {
		t.Errorf("of a repository that is gone is found %+v, %v", found, err)
	}
}
