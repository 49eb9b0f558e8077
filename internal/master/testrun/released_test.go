package testrun

import (
	"bytes"
	"context"
	"errors"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

func TestNewestBelow(t *testing.T) {
	t.Parallel()
	nevra := func(s string) rpm.NEVRA {
		n, err := rpm.ParseNEVRA(s)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	for _, tt := range []struct{ of, among, want string }{
		{"a-2-1.x86_64", "", ""},
		{"a-2-1.x86_64", "a-1-9.x86_64 a-1-10.x86_64 a-0-1.x86_64", "a-1-10.x86_64"},
		{"a-2-1.x86_64", "a-2-1.x86_64 a-3-1.x86_64", ""},
		{"a-2-1.x86_64", "a-1-1.noarch a-libs-1-1.x86_64", ""},
		{"a-1:1-1.x86_64", "a-9-1.x86_64 a-1:0-1.x86_64 a-2:0-1.x86_64", "a-1:0-1.x86_64"},
		{"a-1~rc2-1.x86_64", "a-1~rc1-1.x86_64 a-1-1.x86_64", "a-1~rc1-1.x86_64"},
	} {
		var among []rpm.NEVRA
		for _, s := range strings.Fields(tt.among) {
			among = append(among, nevra(s))
		}
		got, ok := newestBelow(nevra(tt.of), among)
		if ok != (tt.want != "") || ok && got.String() != tt.want {
			t.Errorf("below %s among %s: %s, %v; want %s", tt.of, tt.among, got, ok, tt.want)
		}
	}
}

func TestModuleOf(t *testing.T) {
	t.Parallel()
	for label, want := range map[string]string{"": "", "php:8.2:9020:f1": "php:8.2", "php:8.2": "php:8.2", "php": "", "--x:1:2:3": "", "a b:1:2:3": "", ":1": ""} {
		if got := moduleOf(label); got != want {
			t.Errorf("moduleOf(%q) = %q, want %q", label, got, want)
		}
	}
}

// earlier is a released version of the fixture's package, and of another one.
var earlier = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build("%define debug_package %{nil}\nName: hello\nVersion: 0.9\nRelease: 1\nSummary: A\nLicense: MIT\n%description\nA.\n%files\n%package other\nSummary: B\n%description other\nB.\n%files other\n", "--target", "x86_64")
})

// TestReleased: what a product shows for the platform and arch of a build is where its
// packages are upgraded from, and the root gets it.
func TestReleased(t *testing.T) {
	t.Parallel()
	files, err := earlier()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		t.Fatal(err)
	}
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		must := func(err error) {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
		}
		spec, err := product.Parse(strings.NewReader("name: p\nteam: core\nplatforms: [el]\nrepositories: [{path: os, platform: el, arch: x86_64, kind: rpm}, {path: src, platform: el, arch: src, kind: source}]"))
		must(err)
		_, err = f.products.Apply(f.person, spec)
		must(err)
		_, err = d.ExecContext(t.Context(), `UPDATE build SET product = 'p' WHERE id = $1`, f.build)
		must(err)
		must(f.follow(auth.System(t.Context(), "test"), f.built))
		offer := func() *albs.TestSpec {
			t.Helper()
			runs, err := f.Of(t.Context(), f.build)
			must(err)
			s, _, err := handler{f.Tests}.Offer(t.Context(), runs[0].Task, queue.Offer{})
			must(err)
			return s.Test
		}
		if got := offer(); got.Packages[0].From != "" || len(got.Root.Repos) != 2 {
			t.Errorf("before anything was released: %+v", got)
		}
		var as []artifact.Artifact
		for name, b := range files {
			if strings.HasSuffix(name, ".src.rpm") {
				continue
			}
			a, err := f.artifacts.Save(t.Context(), bytes.NewReader(b), 1<<20, name, artifact.RPM)
			must(err)
			as = append(as, a)
		}
		must(d.InTx(t.Context(), func(tx db.Tx) error { return f.artifacts.Add(t.Context(), tx, as...) }))
		snapshot, err := f.repos.ExtendSnapshot(t.Context(), "", repo.Change{Add: as})
		must(err)
		tree := repodata.Tree{Product: "p", Serial: 1, Repositories: []repodata.TreeRepo{{Path: "os", Snapshot: snapshot}}}
		doc, err := f.repos.SaveTree(t.Context(), tree)
		must(err)
		must(d.InTx(t.Context(), func(tx db.Tx) error {
			return f.repos.AdvanceTree(f.person, tx, "p", 0, tree, albs.DigestOf(tree.Encode()))
		}))
		if doc != albs.DigestOf(tree.Encode()) {
			t.Fatalf("the tree is kept as %s", doc)
		}
		for range 2 { // the second time from the shelf
			got := offer()
			want := []albs.TestPackage{{NEVRA: "hello-1-1.x86_64", Digest: f.rpms[0].Digest, From: "hello-0.9-1.x86_64"}, {NEVRA: "hello-debuginfo-1-1.x86_64", Digest: f.rpms[1].Digest}}
			if diff := cmp.Diff(want, got.Packages); diff != "" {
				t.Errorf("packages (-want +got):\n%s", diff)
			}
			if repo := got.Root.Repos[len(got.Root.Repos)-1]; len(got.Root.Repos) != 3 || !cmp.Equal(repo, albs.Repo{ID: "released-0", Snapshot: snapshot, Priority: releasedPriority, Own: true}) {
				t.Errorf("repositories: %+v", got.Root.Repos)
			}
		}
		// Of a repository with modules dnf is to see what their streams let it see.
		modules, err := f.artifacts.Save(t.Context(), strings.NewReader("---\n"), 1<<20, "modules.yaml", artifact.Document)
		must(err)
		must(d.InTx(t.Context(), func(tx db.Tx) error { return f.artifacts.Add(t.Context(), tx, modules) }))
		modular, err := f.repos.ExtendSnapshot(t.Context(), snapshot, repo.Change{Records: []repodata.Record{{Type: "modules", Name: "modules.yaml", Digest: modules.Digest, Size: modules.Size}}})
		must(err)
		next := repodata.Tree{Product: "p", Serial: 2, Repositories: []repodata.TreeRepo{{Path: "os", Snapshot: modular}}}
		_, err = f.repos.SaveTree(t.Context(), next)
		must(err)
		must(d.InTx(t.Context(), func(tx db.Tx) error {
			return f.repos.AdvanceTree(f.person, tx, "p", 1, next, albs.DigestOf(next.Encode()))
		}))
		for range 2 {
			got := offer()
			if last := got.Root.Repos[len(got.Root.Repos)-1]; !last.Modular || !last.Own || last.Snapshot != modular || got.Packages[0].From != "hello-0.9-1.x86_64" {
				t.Errorf("with modules: %+v", got)
			}
		}
		l := f.claim(t)
		if ok, err := (handler{f.Tests}).Reads(t.Context(), *l, as[0].Digest); !ok || err != nil {
			t.Errorf("the tester may read what it upgrades from: %v, %v", ok, err)
		}
		// Without the stage nobody looks for it.
		spec.Gate.Stages = map[albs.TestStage]product.Tests{albs.StageUpgrade: product.Off, albs.StageDowngrade: product.Off}
		_, err = f.products.Apply(f.person, spec)
		must(err)
		if got := offer(); got.Packages[0].From != "" || len(got.Root.Repos) != 2 {
			t.Errorf("without the stage: %+v", got)
		}
	})
}

// TestSkips: the skip list names packages exactly, people with the right change it, and
// what is claimed from then on goes by it.
func TestSkips(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		add := func(ctx context.Context, s Skip) error {
			_, err := f.AddSkip(ctx, s)
			return err
		}
		good := Skip{Platform: "el", Package: "hello", Stage: albs.StageRemove, Reason: "it must stay"}
		stranger := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 9, Name: "eve"})
		if err := add(stranger, good); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("AddSkip by a stranger = %v", err)
		}
		for name, tt := range map[string]struct {
			change func(*Skip)
			kind   albs.Kind
		}{
			"another platform":  {func(s *Skip) { s.Platform = "no" }, albs.NotFound},
			"a pattern":         {func(s *Skip) { s.Package = "hel*" }, albs.Invalid},
			"no package":        {func(s *Skip) { s.Package = "" }, albs.Invalid},
			"no stage":          {func(s *Skip) { s.Stage = "" }, albs.Invalid},
			"what can't fail":   {func(s *Skip) { s.Stage = albs.StageEnvironment }, albs.Invalid},
			"no reason":         {func(s *Skip) { s.Reason = " " }, albs.Invalid},
			"two lines":         {func(s *Skip) { s.Reason = "a\nb" }, albs.Invalid},
			"a very long story": {func(s *Skip) { s.Reason = strings.Repeat("a", maxSkipReason+1) }, albs.Invalid},
		} {
			s := good
			tt.change(&s)
			if err := add(f.person, s); albs.KindOf(err) != tt.kind {
				t.Errorf("%s: AddSkip = %v, want kind %s", name, err, tt.kind)
			}
		}
		if err := add(f.person, good); err != nil {
			t.Fatal(err)
		}
		if err := add(f.person, good); albs.KindOf(err) != albs.Conflict {
			t.Errorf("AddSkip twice = %v", err)
		}
		if err := add(f.person, Skip{Platform: "el", Package: "hell", Stage: albs.StageInstall, Reason: "the beginning of another name"}); err != nil {
			t.Fatal(err)
		}
		if err := f.follow(auth.System(t.Context(), "test"), f.built); err != nil {
			t.Fatal(err)
		}
		l := f.claim(t)
		want := [][]albs.TestSkip{{{Stage: albs.StageRemove, Reason: "it must stay"}}, nil}
		if diff := cmp.Diff(want, [][]albs.TestSkip{l.Spec.Test.Packages[0].Skip, l.Spec.Test.Packages[1].Skip}); diff != "" {
			t.Errorf("skipped (-want +got):\n%s", diff)
		}
		list, err := f.Skips(t.Context(), "el")
		if err != nil || len(list) != 2 || list[1].Package != "hello" || list[1].Actor != "user:olga" {
			t.Fatalf("Skips = %+v, %v", list, err)
		}
		if other, err := f.Skips(t.Context(), "other"); err != nil || len(other) != 0 {
			t.Errorf("Skips of another platform = %+v, %v", other, err)
		}
		if err := f.RemoveSkip(stranger, list[1].ID); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("RemoveSkip by a stranger = %v", err)
		}
		if err := f.RemoveSkip(f.person, list[1].ID); err != nil {
			t.Fatal(err)
		}
		if err := f.RemoveSkip(f.person, list[1].ID); albs.KindOf(err) != albs.NotFound {
			t.Errorf("RemoveSkip twice = %v", err)
		}
		if list, err := f.Skips(t.Context(), ""); err != nil || len(list) != 1 {
			t.Errorf("Skips of all platforms = %+v, %v", list, err)
		}
	})
}
