package draft

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm/rpmtest"
)

// rpms returns bash of a release whose changelog has that many entries.
func rpms(t *testing.T, release int) map[string][]byte {
	t.Helper()
	var log strings.Builder
	for i := release; i > 0; i-- {
		fmt.Fprintf(&log, "* Mon Jan %02d 2024 A <a@example.org> - 1-%d\n- Fix CVE-2024-%d\n", i, i, 1000+i)
	}
	made, err := rpmtest.Build(fmt.Sprintf("Name: bash\nVersion: 1\nRelease: %d\nSummary: A\nLicense: MIT\nBuildArch: noarch\n%%description\nA.\n%%files\n%%changelog\n%s", release, log.String()))
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("no rpmbuild on this host")
	}
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// world is what one build made, and what its commit says.
type world struct {
	build  build.Build
	made   []build.Artifact
	commit error
}

func (w *world) Get(_ context.Context, id albs.BuildID) (build.Build, error) {
	if id != w.build.ID {
		return build.Build{}, albs.Errorf(albs.NotFound, "there is no build %d", id)
	}
	return w.build, nil
}

func (w *world) PackagesOfItem(context.Context, albs.BuildID, albs.ItemID) (string, []build.Artifact, error) {
	return "el9", w.made, nil
}

func (w *world) Message(context.Context, string, string) (string, error) {
	return "Resolves: rhbz#12345", w.commit
}

// TestOf: a draft has what is newer than what the platform's products show.
func TestOf(t *testing.T) {
	t.Parallel()
	m := mastertest.Open(t, dbtest.Open(t, dbtest.SQLite(t)), mastertest.Config{})
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	keep := func(files map[string][]byte) (out []artifact.Artifact) {
		t.Helper()
		for name, b := range files {
			kind := artifact.RPM
			if strings.HasSuffix(name, ".src.rpm") {
				kind = artifact.SRPM
			}
			a, err := m.Artifacts.Save(t.Context(), bytes.NewReader(b), 1<<20, name, kind)
			must(err)
			must(m.DB.InTx(t.Context(), func(tx db.Tx) error { return m.Artifacts.Add(t.Context(), tx, a) }))
			out = append(out, a)
		}
		return out
	}
	person := func(r auth.Role, team string) context.Context {
		return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: r, Team: team}}})
	}
	admin := person(auth.Admin, "")
	_, err := m.Platforms.Apply(admin, mastertest.Errata(mastertest.Platform("el9", albs.X8664), "core"))
	must(err)
	_, err = m.Products.Apply(admin, product.Spec{
		Name: "demo", Team: "core", Platforms: []string{"el9"}, Gate: product.Gate{Tests: product.Advisory}, Approvals: product.Approvals{Count: 1},
		Repositories: []product.Repository{{Path: "9", Platform: "el9", Arch: albs.X8664, Kind: product.RPM}},
	})
	must(err)
	w := &world{build: build.Build{ID: 7, Items: []build.Item{{ID: 1, Platform: "el9", URL: "https://git.example/bash", Commit: strings.Repeat("a", 40)}}}}
	for _, a := range keep(rpms(t, 4)) {
		w.made = append(w.made, build.Artifact{Digest: a.Digest, Name: a.Name}, build.Artifact{Digest: a.Digest, Name: a.Name}) // for two arches
	}
	d := New(Parts{Artifacts: m.Artifacts, Platforms: m.Platforms, Products: m.Products, Repos: m.Repos, Builds: w, Commits: w})

	contributor := person(auth.Contributor, "core")
	cves := func() (out []string) {
		t.Helper()
		got, err := d.Of(contributor, 7, "el9")
		must(err)
		for _, c := range got.Advisory.CVEs {
			out = append(out, c.ID)
		}
		if len(got.Advisory.Packages) != 1 || got.Advisory.Packages[0].NEVRA.String() != "bash-1-4.noarch" || got.Advisory.Platform != "el9" {
			t.Errorf("the draft is %+v", got.Advisory)
		}
		if w.commit == nil && (len(got.Advisory.References) != 1 || got.Advisory.References[0].ID != "12345") || w.commit != nil && !strings.Contains(got.Notes[0], "can't be read") {
			t.Errorf("the commit's bug: %+v, notes %q", got.Advisory.References, got.Notes)
		}
		return out
	}
	if diff := cmp.Diff([]string{"CVE-2024-1004"}, cves()); diff != "" {
		t.Errorf("with nothing released (-want +got):\n%s", diff)
	}
	// What is newer than the build is not what was before it.
	var show []artifact.Artifact
	for _, release := range []int{1, 2, 5} {
		for _, a := range keep(rpms(t, release)) {
			if a.Kind == artifact.RPM {
				a.Unsigned, a.SignedBy = a.Digest, "key"
				show = append(show, a)
			}
		}
	}
	snapshot, err := m.Repos.ExtendSnapshot(admin, "", repo.Change{Add: show})
	must(err)
	tree := repodata.Tree{Product: "demo", Serial: 1, Repositories: []repodata.TreeRepo{{Path: "9", Snapshot: snapshot}}}
	doc, err := m.Repos.SaveTree(admin, tree)
	must(err)
	must(m.DB.InTx(admin, func(tx db.Tx) error { return m.Repos.AdvanceTree(admin, tx, "demo", 0, tree, doc) }))
	w.commit = albs.Errorf(albs.Unavailable, "the host is away")
	if diff := cmp.Diff([]string{"CVE-2024-1003", "CVE-2024-1004"}, cves()); diff != "" {
		t.Errorf("with 1-2 released (-want +got):\n%s", diff)
	}

	for name, tt := range map[string]struct {
		ctx      context.Context
		build    albs.BuildID
		platform string
		want     albs.Kind
	}{
		"an operator":         {person(auth.Operator, ""), 7, "el9", albs.Forbidden},
		"an unknown build":    {contributor, 8, "el9", albs.NotFound},
		"an unknown platform": {contributor, 7, "el8", albs.NotFound},
	} {
		if _, err := d.Of(tt.ctx, tt.build, tt.platform); albs.KindOf(err) != tt.want {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	w.build.Items[0].Platform = "other"
	if _, err := d.Of(contributor, 7, "el9"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a build for another platform: %v", err)
	}
}
