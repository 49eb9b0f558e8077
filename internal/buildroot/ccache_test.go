package buildroot_test

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/buildroottest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// compiled is a package in C. It says which compiler it finds, what lies in the cache
// beside ccache's own, and leaves there what its option asks for.
const compiled = `%global debug_package %{nil}
Name: c
Version: 1
Release: 1
Summary: x
License: MIT
BuildRequires: gcc
%description
x
%build
echo "the compiler is $(type -p gcc), there is junk: $(ls /builddir/ccache | grep -c junk)"
echo 'int twice(int n) { return 2 * n; }' >twice.c
echo 'int twice(int); int main(int n, char **a) { return twice(n); }' >main.c
gcc -g -O2 -c twice.c -o twice.o
gcc -g -O2 -c main.c -o main.o
gcc -o c main.o twice.o
%{?junk:dd if=/dev/zero of=/builddir/ccache/junk bs=1M count=%{junk}}
%install
mkdir -p %{buildroot}/usr/bin
cp c %{buildroot}/usr/bin/
%files
/usr/bin/c
`

// TestCCache: an owner's builds find what that owner's earlier ones compiled, another's
// don't, and the record says so.
func TestCCache(t *testing.T) {
	t.Parallel()
	b := setup(t)
	if found, err := filepath.Glob(filepath.Join(sandboxtest.Seed(t), "ccache-*.rpm")); err != nil || len(found) == 0 {
		t.Skip("this Seed Linux has no ccache; the recipe in testdata/seed makes one that has")
	}
	open := func() *buildroot.Native {
		return buildroot.NewNative(sandboxtest.Engine(t, sandbox.Config{Dir: b.dir, CCacheSize: 8 << 20}))
	}
	engine := open()
	plain := b.root
	b.root.CCache, b.root.Packages = true, append(slices.Clone(b.root.Packages), "ccache")
	src, err := engine.Source(t.Context(), buildroot.SourceJob{
		Root: b.root, Repos: b.repos, Tree: buildroottest.Tree(t, map[string]string{"c.spec": compiled}), Spec: "c.spec", Out: t.TempDir(),
	})
	if err != nil {
		t.Fatal(err)
	}
	if src.Record.CCache != nil {
		t.Errorf("making the SRPM used the cache: %+v", src.Record.CCache)
	}
	build := func(root albs.Root, owner string, s albs.Switches) (buildroot.Record, string) {
		t.Helper()
		var state, log bytes.Buffer
		out, err := engine.Build(t.Context(), buildroot.BuildJob{
			Root: root, Repos: b.repos, SRPM: src.Files[0], Arch: root.Arch, Owner: owner, Switches: s, Out: t.TempDir(),
			Logs: buildroot.Logs{State: &state, Root: &state, Build: &log},
		})
		if err != nil {
			t.Fatalf("%v\n%s\n%s", err, &state, &log)
		}
		return out.Record, log.String()
	}
	const size = 8 << 20
	for _, tt := range []struct {
		name  string
		owner string
		want  buildroot.CCache
	}{
		{"the first", "user:a", buildroot.CCache{Owner: "user:a", Size: size, Misses: 2}},
		{"the second", "user:a", buildroot.CCache{Owner: "user:a", Size: size, Hits: 2}},
		{"another owner's", "user:b", buildroot.CCache{Owner: "user:b", Size: size, Misses: 2}},
	} {
		r, log := build(b.root, tt.owner, albs.Switches{})
		if diff := cmp.Diff(&tt.want, r.CCache); diff != "" {
			t.Errorf("%s: record (-want +got):\n%s\n%s", tt.name, diff, log)
		}
		if !strings.Contains(log, "the compiler is /usr/lib64/ccache/gcc, there is junk: 0") || !slices.Contains(r.Environment, "CCACHE_DIR=/builddir/ccache") {
			t.Errorf("%s: environment %q, log:\n%s", tt.name, r.Environment, log)
		}
	}
	engine = open() // another process
	if r, _ := build(b.root, "user:a", albs.Switches{}); r.CCache.Hits != 2 {
		t.Errorf("after a restart: %+v", r.CCache)
	}
	if r, log := build(plain, "user:a", albs.Switches{}); r.CCache != nil || strings.Contains(strings.Join(r.Environment, " "), "ccache") || !strings.Contains(log, "the compiler is /usr/bin/gcc") {
		t.Errorf("where the platform has no cache: %+v, %q\n%s", r.CCache, r.Environment, log)
	}

	// What a build puts there meets that owner's builds only; too much goes with the cache.
	build(b.root, "user:a", albs.Switches{Define: map[string]string{"junk": "1"}})
	if _, log := build(b.root, "user:a", albs.Switches{}); !strings.Contains(log, "junk: 1") {
		t.Errorf("the owner's next build sees nothing of it, so that the next line tests nothing:\n%s", log)
	}
	if _, log := build(b.root, "user:b", albs.Switches{}); !strings.Contains(log, "junk: 0") {
		t.Errorf("another owner's build sees it:\n%s", log)
	}
	build(b.root, "user:a", albs.Switches{Define: map[string]string{"junk": "20"}})
	if r, log := build(b.root, "user:a", albs.Switches{}); r.CCache.Hits != 0 || !strings.Contains(log, "junk: 0") {
		t.Errorf("a cache beyond its bound stays: %+v\n%s", r.CCache, log)
	}
	if _, err := engine.Build(t.Context(), buildroot.BuildJob{Root: b.root, Repos: b.repos, SRPM: src.Files[0], Arch: b.root.Arch, Out: t.TempDir()}); err == nil {
		t.Error("a build of nobody got a cache")
	}
}
