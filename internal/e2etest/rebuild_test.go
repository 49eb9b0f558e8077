package e2etest

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// dice is a package that comes out otherwise each time: by one of its files, which begins
// with words, for there are numbers that rpmbuild's libmagic takes for another class of file.
const dice = `%global debug_package %{nil}
Name: dice
Version: 1
Release: 1%{?dist}
Summary: dice
License: MIT
BuildArch: noarch
%description
dice
%install
mkdir -p %{buildroot}/usr/share/dice
echo 6 > %{buildroot}/usr/share/dice/sides
echo "the dice fell $RANDOM $RANDOM $(date +%%N)" > %{buildroot}/usr/share/dice/thrown
%files
/usr/share/dice
%changelog
* Mon Jan 05 2026 Test Packager <packager@example.org> - 1-1
- x
`

// TestRebuildElsewhere: what one node built another builds again, in a root of the same
// packages, and all that is installed comes out the same; of a package that throws dice
// while it is built the file that has them is named. With -short it is one small package
// beside the dice, else three real ones.
func TestRebuildElsewhere(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var packages []string
	if testing.Short() {
		t.Log("the three real packages are left out: they take a minute, and this is -short")
		packages = []string{s.forge.spec(t, "libfoo", read(t, filepath.Join(module, "testdata/specs/libfoo.spec")))}
	} else {
		s.forge = startForge(t, "forge-of-rebuilt-packages", "-upstream", upstream(t), "-specs", filepath.Join(module, "testdata/upstream"))
		packages = []string{s.forge.url + "/rpms/zlib.git#imports/zlib", s.forge.url + "/rpms/pngcheck.git#main", s.forge.url + "/rpms/perl-Try-Tiny.git#main"}
	}
	packages = append(packages, s.forge.spec(t, "dice", dice))
	who, allow := ordinary(t), []string{"file://" + s.seed}
	s.serve("master", who, []string{"master"}, yes{
		"master": yes{"egress": yes{"allow": append(slices.Clone(allow), s.forge.host), "ca_files": []string{s.forge.ca}}},
	})
	s.people()
	s.platform("seed", nil)
	for _, node := range []string{"east", "west"} {
		s.farmNode(node, who, []albs.Arch{albs.X8664}, allow)
	}
	args := []string{"build", "create", "--platform", "seed"}
	for _, p := range packages {
		args = append(args, "--git", p)
	}
	id := ask[client.Build](s, s.alice, args...).ID
	s.until(10*time.Minute, "the build has ended", func() bool {
		b, err := s.api.Build(t.Context(), id)
		return err == nil && b.Value.Final()
	})
	b := s.show(id.String())
	if b.State != "succeeded" {
		t.Fatalf("the build is %s: %s", b.State, b.Reason)
	}
	compared := 0
	for _, task := range b.Tasks {
		if task.Kind != albs.KindBuild {
			continue
		}
		i := slices.IndexFunc(task.Files, func(f client.BuildFile) bool { return f.Kind == "rpm" })
		if i < 0 {
			t.Errorf("the build of %s left no package", task.Package)
			continue
		}
		a := s.try(s.alice, "rebuild", string(task.Files[i].Digest), "--wait", "--json")
		var r client.Rebuild
		if !decode(a.stdout, &r) {
			t.Fatalf("albs rebuild of %s: %+v", task.Package, a)
		}
		t.Logf("%s, built on %s and rebuilt on %s: %s %s", task.Package, r.BuiltOn, r.Node, r.Verdict, r.Reason)
		if r.BuiltOn != task.Worker || r.Node == r.BuiltOn || r.Node == "" || r.SameNode {
			t.Errorf("%s was built on %s and rebuilt on %q", task.Package, task.Worker, r.Node)
		}
		want := 0
		if task.Package == "dice" {
			want = 1
		}
		if a.code != want {
			t.Errorf("albs rebuild of %s ended with %d: %s", task.Package, a.code, a.stderr)
		}
		for _, p := range r.Packages {
			compared++
			switch {
			case task.Package == "dice" && (p.Verdict != client.RebuiltDiffers || !slices.Equal(p.Differing, []string{"file /usr/share/dice/thrown: content"})):
				t.Errorf("%s: %s, differing in %q", p.Name, p.Verdict, p.Differing)
			case task.Package != "dice" && p.Verdict != client.RebuiltBits && p.Verdict != client.RebuiltPayload:
				t.Errorf("%s: %s, differing in %q", p.Name, p.Verdict, p.Differing)
			}
		}
		if said := s.run(s.alice, "trace", string(task.Files[i].Digest)); !strings.Contains(said, "rebuilt on node "+r.Node) {
			t.Errorf("the trace of %s says nothing of it:\n%s", task.Package, said)
		}
	}
	if compared < len(packages) {
		t.Errorf("only %d packages were compared", compared)
	}
	s.check("master", "nobody")
}
