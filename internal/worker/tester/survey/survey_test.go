package survey

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
)

func TestConflicts(t *testing.T) {
	t.Parallel()
	one, two := albs.DigestOf([]byte("1")), albs.DigestOf([]byte("2"))
	file := rpm.FileInfo{Path: "/usr/bin/x", Mode: 0o100755, Size: 1, Digest: one, User: "root", Group: "root"}
	link := rpm.FileInfo{Path: "/usr/bin/x", Mode: 0o120777, Size: 1, Link: "a", User: "root", Group: "root"}
	dir := rpm.FileInfo{Path: "/usr/bin/x", Mode: 0o040755, User: "root", Group: "root"}
	with := func(f rpm.FileInfo, change func(*rpm.FileInfo)) rpm.FileInfo { change(&f); return f }
	for _, tt := range []struct {
		name string
		a, b rpm.FileInfo
		want string // "" for none
	}{
		{"the same", file, file, ""},
		{"content", file, with(file, func(f *rpm.FileInfo) { f.Digest = two }), "content"},
		{"size", file, with(file, func(f *rpm.FileInfo) { f.Size = 2 }), "content"},
		{"mode", file, with(file, func(f *rpm.FileInfo) { f.Mode = 0o100644 }), "mode"},
		{"user", file, with(file, func(f *rpm.FileInfo) { f.User = "web" }), "owner"},
		{"group", file, with(file, func(f *rpm.FileInfo) { f.Group = "web" }), "owner"},
		{"kind", file, link, "kind"},
		{"folder and file", dir, file, "kind"},
		{"folders", dir, with(dir, func(f *rpm.FileInfo) { f.Mode = 0o040700 }), ""},
		{"links", link, link, ""},
		{"targets", link, with(link, func(f *rpm.FileInfo) { f.Link = "b" }), "target"},
		{"ghost", file, with(file, func(f *rpm.FileInfo) { f.Flags, f.Digest = 1<<6, two }), ""},
		{"elsewhere", file, with(file, func(f *rpm.FileInfo) { f.Path, f.Digest = "/usr/bin/y", two }), ""},
	} {
		a := &rpm.Package{NEVRA: rpm.NEVRA{Name: "a", Version: "1", Release: "1", Arch: "noarch"}, Files: []rpm.FileInfo{tt.a}}
		b := &rpm.Package{NEVRA: rpm.NEVRA{Name: "b", Version: "1", Release: "1", Arch: "noarch"}, Files: []rpm.FileInfo{tt.b}}
		got := Conflicts(a, b)
		if (len(got) == 0) != (tt.want == "") || len(got) > 0 && got[0] != "/usr/bin/x is in b-1-1.noarch too, with another "+tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
		a.Conflicts = []rpm.Dependency{{Name: "b", Flags: rpm.Less, EVR: rpm.EVR{Version: "2"}}}
		b.Provides = []rpm.Dependency{{Name: "b", Flags: rpm.Equal, EVR: b.EVR()}}
		if got := Conflicts(a, b); got != nil {
			t.Errorf("%s: %q of packages that say that they conflict", tt.name, got)
		}
		if got := Conflicts(b, a); got != nil {
			t.Errorf("%s: %q of packages that say that they conflict", tt.name, got)
		}
		a.Conflicts, a.Obsoletes = nil, []rpm.Dependency{{Name: "b", Flags: rpm.Less | rpm.Equal, EVR: rpm.EVR{Version: "1"}}}
		if got := Conflicts(b, a); got != nil {
			t.Errorf("%s: %q of packages of which one obsoletes the other", tt.name, got)
		}
	}
}

// platform is what is there: lib 1, which provides things that others need, among them
// its file; and tools with paths.
const platform = `%package -n lib
Summary: x
Provides: kept = 1, gone = 1, elsewhere = 1, unwanted
%description -n lib
x
%files -n lib
/usr/bin/libtool-old
/usr/bin/libtool-kept
%package -n other
Summary: x
Provides: elsewhere = 2
%description -n other
x
%files -n other
%package -n user
Summary: x
Requires: kept = 1, gone, elsewhere, (gone or nothing), /usr/bin/libtool-old, /usr/bin/libtool-kept, lib >= 1
%description -n user
x
%files -n user
%package -n exact
Summary: x
Requires: lib = 1-1
%description -n exact
x
%files -n exact
%package -n tools
Summary: x
%description -n tools
x
%files -n tools
/usr/lib/tools
%package -n rival
Summary: x
Conflicts: fresh
%description -n rival
x
%files -n rival
/usr/lib/tools/b
`

// build is what is under test: lib 2, exact of version 2, and fresh, with paths of others.
const build = `%package -n lib
Summary: x
Provides: kept = 1
%description -n lib
x
%files -n lib
/usr/bin/libtool-kept
%package -n exact
Summary: x
Requires: lib = 2-1
%description -n exact
x
%files -n exact
%package -n fresh
Summary: x
%description -n fresh
x
%files -n fresh
/usr/lib/tools/a
/usr/lib/tools/b
/usr/lib/tools/same
`

// repository builds a repository and returns its folder.
func repository(t *testing.T, version int, parts, install string) string {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("repositories can't be made: %s is not installed", tool)
		}
	}
	top := t.TempDir()
	spec := fmt.Sprintf("Name: x\nVersion: %d\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%%description\nx\n%s%%install\n%s", version, parts, install)
	if err := os.WriteFile(filepath.Join(top, "x.spec"), []byte(spec), 0o644); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(top, "RPMS", "noarch")
	for _, argv := range [][]string{
		{"rpmbuild", "--quiet", "-bb", "--define", "_topdir " + top, "--define", "__os_install_post %{nil}", "x.spec"},
		{"createrepo_c", "--quiet", "--no-database", dir},
	} {
		cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", argv, err, out)
		}
	}
	return dir
}

func TestTake(t *testing.T) {
	t.Parallel()
	dirs := map[string]string{
		"platform": repository(t, 1, platform, `mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/lib/tools; cd %{buildroot}
touch usr/bin/libtool-old usr/bin/libtool-kept usr/lib/tools/same; echo 1 > usr/lib/tools/a; echo 1 > usr/lib/tools/b
`),
		"build": repository(t, 2, build, `mkdir -p %{buildroot}/usr/bin %{buildroot}/usr/lib/tools; cd %{buildroot}
echo > usr/bin/libtool-kept; touch usr/lib/tools/same; echo 2 > usr/lib/tools/a; echo 1 > usr/lib/tools/b; chmod 600 usr/lib/tools/b
`),
	}
	open := func(_ context.Context, repo, name string) (io.ReadCloser, error) {
		return os.Open(filepath.Join(dirs[repo], name))
	}
	repos := []Repository{{ID: "platform"}, {ID: "build", Own: true}}
	var want []albs.Digest
	names := map[albs.Digest]string{}
	for _, name := range []string{"lib", "exact", "fresh"} {
		b, err := os.ReadFile(filepath.Join(dirs["build"], name+"-2-1.noarch.rpm"))
		if err != nil {
			t.Fatal(err)
		}
		d := albs.DigestOf(b)
		want, names[d] = append(want, d), name
	}
	headers, err := Headers(t.Context(), open, repos, append(want, albs.DigestOf([]byte("another"))))
	if err != nil || len(headers) != 3 {
		t.Fatalf("Headers = %d, %v", len(headers), err)
	}
	found, err := Take(t.Context(), open, repos, headers)
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]Findings{}
	for d, f := range found {
		got[names[d]] = f
	}
	if diff := cmp.Diff(map[string]Findings{
		"lib": {Unmet: []string{
			"user-1-1.noarch needs /usr/bin/libtool-old, which lib-1-1.noarch provides and nothing any more",
			"user-1-1.noarch needs gone, which lib-1-1.noarch provides and nothing any more",
		}},
		"exact": {},
		"fresh": {Conflicts: []string{
			"/usr/lib/tools/a is in tools-1-1.noarch too, with another content",
			"/usr/lib/tools/b is in tools-1-1.noarch too, with another mode",
		}},
	}, got); diff != "" {
		t.Errorf("Take (-want +got):\n%s", diff)
	}

	ended, end := context.WithCancelCause(t.Context())
	end(errors.New("over"))
	if _, err := Take(ended, open, repos, headers); err == nil || !strings.Contains(err.Error(), "over") {
		t.Errorf("Take = %v, want the end of the context", err)
	}
	boom := errors.New("boom")
	broken := func(ctx context.Context, repo, name string) (io.ReadCloser, error) {
		if strings.Contains(name, "filelists") {
			return nil, boom
		}
		return open(ctx, repo, name)
	}
	if _, err := Take(t.Context(), broken, repos, headers); !errors.Is(err, boom) {
		t.Errorf("Take = %v, want the error of open", err)
	}
}

func TestBound(t *testing.T) {
	t.Parallel()
	var list []string
	for i := range 50 {
		list = append(list, fmt.Sprintf("%02d", i), fmt.Sprintf("%02d", i))
	}
	got := bound(list)
	if len(got) != maxFound+1 || got[0] != "00" || got[maxFound] != "and 30 more" {
		t.Errorf("bound = %q", got)
	}
}
