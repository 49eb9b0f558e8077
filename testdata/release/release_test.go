// Package release tests what make release makes.
package release

import (
	"bytes"
	"debug/elf"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox/emulator"
)

// released are the programs, by the arch that Go calls so.
var released = map[string]struct {
	arch    albs.Arch
	machine elf.Machine
}{
	"amd64": {albs.X8664, elf.EM_X86_64}, "arm64": {albs.AArch64, elf.EM_AARCH64},
	"ppc64le": {albs.PPC64LE, elf.EM_PPC64}, "s390x": {albs.S390X, elf.EM_S390},
}

func release(t *testing.T, args ...string) ([]byte, error) {
	t.Helper()
	return exec.CommandContext(t.Context(), "./release.sh", args...).CombinedOutput()
}

// TestRelease: each program is static, of its arch and says its version, the checksums
// are theirs, and a second run gives the same bytes.
func TestRelease(t *testing.T) {
	if testing.Short() {
		t.Skip("building for four arches takes minutes: not with -short")
	}
	first, second := t.TempDir(), t.TempDir()
	for _, dir := range []string{first, second} {
		if out, err := release(t, dir, "1.2~test"); err != nil {
			t.Fatalf("release.sh: %v\n%s", err, out)
		}
	}
	files := 3 * len(released) // a program and two bills of its materials
	sums := exec.CommandContext(t.Context(), "sha256sum", "--check", "--strict", "SHA256SUMS")
	sums.Dir = first
	if out, err := sums.CombinedOutput(); err != nil || strings.Count(string(out), ": OK\n") != files {
		t.Errorf("sha256sum: %v\n%s", err, out)
	}
	for name, r := range released {
		for _, bill := range []string{".cdx.json", ".spdx.json"} {
			a, err1 := os.ReadFile(filepath.Join(first, "albs-linux-"+name+bill))
			b, err2 := os.ReadFile(filepath.Join(second, "albs-linux-"+name+bill))
			if err1 != nil || err2 != nil || !bytes.Equal(a, b) || !bytes.Contains(a, []byte("pkg:golang/modernc.org/sqlite@")) {
				t.Errorf("%s%s: two runs differ, or it lacks a module (%v, %v)", name, bill, err1, err2)
			}
		}
		program := filepath.Join(first, "albs-linux-"+name)
		a, err1 := os.ReadFile(program)
		b, err2 := os.ReadFile(filepath.Join(second, "albs-linux-"+name))
		if err1 != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Errorf("%s: two runs differ (%v, %v)", name, err1, err2)
		}
		if wd, err := os.Getwd(); err != nil || bytes.Contains(a, []byte(filepath.Dir(filepath.Dir(wd))+"/internal")) {
			t.Errorf("%s: the source's path is in the program (%v)", name, err)
		}
		f, err := elf.NewFile(bytes.NewReader(a))
		if err != nil {
			t.Fatal(err)
		}
		if f.Machine != r.machine {
			t.Errorf("%s: the program is for %s", name, f.Machine)
		}
		for _, p := range f.Progs {
			if p.Type == elf.PT_INTERP || p.Type == elf.PT_DYNAMIC {
				t.Errorf("%s: the program is not static: it has a %s", name, p.Type)
			}
		}
		t.Run(name, func(t *testing.T) {
			if name != runtime.GOARCH {
				if _, err := emulator.Find(t.Context(), r.arch); err != nil {
					t.Skip(err)
				}
			}
			out, err := exec.CommandContext(t.Context(), program, "version").CombinedOutput()
			if want := "albs 1.2~test linux/" + name + ", ledger: embedded, PKCS#11: without\n"; err != nil || string(out) != want {
				t.Errorf("albs version = %q, %v; want %q", out, err, want)
			}
			t.Logf("%d MB, says %s", len(a)/1e6, out)
		})
	}
}

// TestVersionOfRelease: what could be more to the linker than a version is refused.
func TestVersionOfRelease(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{"1.0 -linkmode=external", "1'", "$(id)", "1\n2"} {
		if out, err := release(t, t.TempDir(), bad); err == nil || !strings.Contains(string(out), "is no version") {
			t.Errorf("release.sh with %q = %v\n%s", bad, err, out)
		}
	}
}
