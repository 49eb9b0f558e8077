package buildroot_test

import (
	"bytes"
	"debug/elf"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"testing"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/buildroottest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/sandbox/sandboxtest"
)

// archSpec is a package with a program in C that says on which arch it was built and
// runs. What it says in %check goes into the package.
const archSpec = `Name: archtest
Version: 1
Release: 1%{?dist}
Summary: Tells its arch
License: MIT
BuildRequires: gcc
%description
Tells its arch.
%prep
%setup -cT
cat > archtest.c <<'END'
#include <stdio.h>
#include <sys/utsname.h>
int main(void) { struct utsname u; uname(&u); printf("archtest runs on %s\n", u.machine); return 0; }
END
%build
uname -m
gcc -O2 -g archtest.c -o archtest
%install
mkdir -p %{buildroot}/usr/bin
cp archtest %{buildroot}/usr/bin/
%check
./archtest
%files
/usr/bin/archtest
`

// TestEmulated builds a real package for each arch that is emulated here: in a root of
// that arch, whose programs say so, and the record names the emulator.
func TestEmulated(t *testing.T) {
	if testing.Short() {
		t.Skip("a Seed Linux and a root of another arch take minutes: not with -short")
	}
	for arch, machine := range map[albs.Arch]elf.Machine{albs.AArch64: elf.EM_AARCH64, albs.PPC64LE: elf.EM_PPC64, albs.S390X: elf.EM_S390} {
		t.Run(string(arch), func(t *testing.T) {
			if arch == albs.HostArch(runtime.GOARCH) {
				t.Skip("it is the host's own")
			}
			em, root, repos := sandboxtest.Emulated(t, arch)
			dir, err := sharedDir()
			if err != nil {
				t.Fatal(err)
			}
			engine := buildroot.NewNative(sandboxtest.Engine(t, sandbox.Config{Dir: dir, Emulators: []emulator.Emulator{em}}))
			var said bytes.Buffer
			logs := buildroot.Logs{State: &said, Root: &said, Build: &said}
			src, err := engine.Source(t.Context(), buildroot.SourceJob{
				Root: root, Repos: repos, Tree: buildroottest.Tree(t, map[string]string{"x.spec": archSpec}), Spec: "x.spec", Out: t.TempDir(), Logs: logs,
			})
			if err != nil {
				t.Fatalf("Source: %v\n%s", err, &said)
			}
			said.Reset()
			out, err := engine.Build(t.Context(), buildroot.BuildJob{
				Root: root, Repos: repos, SRPM: src.Files[0], Arch: arch, Out: t.TempDir(), Logs: logs,
			})
			if err != nil {
				t.Fatalf("Build: %v\n%s", err, &said)
			}
			t.Logf("build log:\n%s", regexp.MustCompile(`(?m)^(\+ uname -m|`+string(arch)+`|archtest runs.*|.* (done|begins) .*)$`).FindAll(said.Bytes(), -1))
			for _, want := range []string{`(?m)^` + string(arch) + `$`, `archtest runs on ` + string(arch)} {
				if !regexp.MustCompile(want).Match(said.Bytes()) {
					t.Errorf("the log has no %q:\n%s", want, &said)
				}
			}
			if r := out.Record; r.Arch != arch || r.Emulated == nil || *r.Emulated != em {
				t.Errorf("the record says arch %s, emulated %v; want %v", r.Arch, r.Emulated, em)
			}
			t.Logf("emulated: %v", out.Record.Emulated)
			checkProgram(t, out.Files, arch, machine)
		})
	}
}

// checkProgram looks into the package of archtest.
func checkProgram(t *testing.T, files []string, arch albs.Arch, machine elf.Machine) {
	t.Helper()
	for _, f := range files {
		if filepath.Base(f) != "archtest-1-1.seed9."+string(arch)+".rpm" {
			continue
		}
		if got, err := exec.Command("rpm", "-qp", "--qf", "%{ARCH}", f).Output(); err != nil || string(got) != string(arch) {
			t.Errorf("the package's arch is %q, %v", got, err)
		}
		payload, err := exec.Command("rpm2cpio", f).Output()
		if err != nil {
			t.Fatalf("rpm2cpio: %v", err)
		}
		e, err := elf.NewFile(bytes.NewReader(ofCPIO(payload, "./usr/bin/archtest")))
		if err != nil {
			t.Fatal(err)
		}
		if e.Machine != machine {
			t.Errorf("the program is for %s, want %s", e.Machine, machine)
		}
		return
	}
	t.Errorf("there is no package archtest of %s in %v", arch, files)
}

// ofCPIO returns the content of a file of a cpio archive (newc), nil if it isn't there.
func ofCPIO(archive []byte, name string) []byte {
	const header = 110
	field := func(at int) int {
		n, _ := strconv.ParseUint(string(archive[at:at+8]), 16, 31)
		return int(n)
	}
	padded := func(n int) int { return (n + 3) &^ 3 }
	for len(archive) > header {
		content, size := padded(header+field(94)), field(54)
		if len(archive) < content+size {
			return nil
		}
		if string(archive[header:header+field(94)-1]) == name {
			return archive[content : content+size]
		}
		archive = archive[min(len(archive), content+padded(size)):]
	}
	return nil
}
