package enginetest

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox/sandboxtest"
)

// recipe makes the packages of the suite, in the version %{v}: et-tool needs et-lib,
// et-refuses can't be installed, et-hangs not in this life, and et-kills ends dnf.
const recipe = `%global debug_package %{nil}
%global __os_install_post %{nil}
Name: et
Version: %{v}
Release: 1
Summary: packages of a test
License: MIT
BuildArch: noarch
%description
Packages of a test.
%package tool
Summary: a tool
Requires: et-lib = %{v}
%description tool
A tool.
%package lib
Summary: what it needs
%description lib
What it needs.
%package refuses
Summary: a scriptlet that fails
%description refuses
A scriptlet that fails.
%package hangs
Summary: a scriptlet that doesn't end
%description hangs
A scriptlet that doesn't end.
%package kills
Summary: a scriptlet that ends dnf
%description kills
A scriptlet that ends dnf.
%install
mkdir -p %{buildroot}/usr/share/et %{buildroot}/usr/bin
for p in lib refuses hangs kills; do echo %{v} > %{buildroot}/usr/share/et/$p; done
printf '#!/bin/sh\necho et %{v}\n' > %{buildroot}/usr/bin/et
chmod 755 %{buildroot}/usr/bin/et
%files tool
/usr/bin/et
%files lib
%dir /usr/share/et
/usr/share/et/lib
%files refuses
/usr/share/et/refuses
%files hangs
/usr/share/et/hangs
%files kills
/usr/share/et/kills
%pre refuses
exit 1
%post hangs
setsid sleep NAP &
sleep NAP
%post kills
kill -9 $PPID
sleep NAP
`

// packages makes a repository of the packages in the versions 1 and 2, with the digests of
// their files. It skips the test where the tools to make them are missing.
func packages(t *testing.T) (dir string, digests map[string]albs.Digest) {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "createrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("the packages of the suite can't be made: %s is not installed", tool)
		}
	}
	top := t.TempDir()
	text := strings.ReplaceAll(recipe, "NAP", sandboxtest.Nap)
	if err := os.WriteFile(filepath.Join(top, "et.spec"), []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(top, "RPMS", "noarch")
	for _, v := range []string{"1", "2"} {
		host(t, top, "rpmbuild", "--quiet", "-bb", "--define", "_topdir "+top, "--define", "v "+v, "et.spec")
	}
	host(t, dir, "createrepo_c", "--quiet", "--no-database", ".")
	files, err := filepath.Glob(filepath.Join(dir, "*.rpm"))
	if err != nil {
		t.Fatal(err)
	}
	digests = map[string]albs.Digest{}
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		digests[strings.TrimSuffix(filepath.Base(f), ".rpm")] = albs.DigestOf(b)
	}
	return dir, digests
}

// host runs a program of the host in dir.
func host(t *testing.T, dir string, argv ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), argv[0], argv[1:]...)
	cmd.Dir = dir
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%q: %v\n%s", argv, err, out)
	}
}
