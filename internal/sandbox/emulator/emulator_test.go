package emulator

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
)

// Registrations as Debian's qemu-user-static makes them, shown by a kernel.
const (
	aarch64 = "interpreter INTERPRETER\nflags: POCF\noffset 0\n" +
		"magic 7f454c460201010000000000000000000200b700\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	arm = "enabled\ninterpreter INTERPRETER\nflags: POCF\noffset 0\n" +
		"magic 7f454c4601010100000000000000000002002800\nmask ffffffffffffff00fffffffffffffffffeffffff\n"
	ppc64 = "enabled\ninterpreter INTERPRETER\nflags: POCF\noffset 0\n" +
		"magic 7f454c4602020100000000000000000000020015\nmask ffffffffffffff00fffffffffffffffffffeffff\n"
	s390x = "enabled\ninterpreter INTERPRETER\nflags: POCF\noffset 0\n" +
		"magic 7f454c4602020100000000000000000000020016\nmask ffffffffffffff00fffffffffffffffffffeffff\n"
	python = "enabled\ninterpreter INTERPRETER\nflags: F\nextension .pyc\n"
)

// TestFind: what is registered decides, by what it would take and not by its name.
func TestFind(t *testing.T) {
	// Not in parallel: a program that was just written can't be run while another
	// test's fork has it open.
	const says = "qemu-aarch64 version 7.2.22 (Debian 1:7.2+dfsg-7)"
	for _, tt := range []struct {
		name    string
		entries map[string]string // nil: not mounted
		says    string
		arch    albs.Arch
		want    string // of the emulator, or in the error
		kind    albs.Kind
	}{
		{"not mounted", nil, says, albs.AArch64, "not mounted", albs.Unavailable},
		{"switched off", map[string]string{"status": "disabled\n"}, says, albs.AArch64, "switched off", albs.Unavailable},
		{"nothing", map[string]string{"python": python}, says, albs.AArch64, "qemu-user-static", albs.Unavailable},
		{"another arch", map[string]string{"qemu-aarch64": arm}, says, albs.AArch64, "nothing is registered", albs.Unavailable},
		{"the other byte order", map[string]string{"qemu-ppc64": ppc64}, says, albs.PPC64LE, "nothing is registered", albs.Unavailable},
		{"big endian", map[string]string{"qemu-s390x": s390x}, says, albs.S390X, "s390x by qemu-aarch64 7.2.22 (Debian 1:7.2+dfsg-7)", ""},
		{"good", map[string]string{"x": "enabled\n" + aarch64, "python": python}, says, albs.AArch64, "aarch64 by qemu-aarch64 7.2.22 (Debian 1:7.2+dfsg-7)", ""},
		{"disabled", map[string]string{"x": "disabled\n" + aarch64}, says, albs.AArch64, "nothing is registered", albs.Unavailable},
		{"without F", map[string]string{"x": "enabled\n" + strings.Replace(aarch64, "POCF", "POC", 1)}, says, albs.AArch64, "flag F", albs.Unavailable},
		{"one of two without F", map[string]string{"a": "enabled\n" + aarch64, "x": "enabled\n" + strings.Replace(aarch64, "POCF", "", 1)}, says, albs.AArch64, "flag F", albs.Unavailable},
		{"no version", map[string]string{"x": "enabled\n" + aarch64}, "who knows", albs.AArch64, "who knows", albs.Unavailable},
		{"never", map[string]string{}, says, albs.I686, "i686", albs.Invalid},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			program := filepath.Join(dir, "qemu-static")
			link := filepath.Join(dir, "x-binfmt-P")
			write(t, program, "#!/bin/sh\n[ \"$1\" = --version ] && [ \"${0##*/}\" = qemu-static ] && echo '"+tt.says+"'\n", 0o755)
			if err := os.Symlink(program, link); err != nil {
				t.Fatal(err)
			}
			binfmt := filepath.Join(dir, "binfmt")
			if err := os.Mkdir(binfmt, 0o700); err != nil {
				t.Fatal(err)
			}
			if tt.entries != nil {
				write(t, filepath.Join(binfmt, "register"), "", 0o200)
				write(t, filepath.Join(binfmt, "status"), "enabled\n", 0o600)
			}
			for name, text := range tt.entries {
				write(t, filepath.Join(binfmt, name), strings.Replace(text, "INTERPRETER", link, 1), 0o600)
			}
			e, err := find(t.Context(), binfmt, tt.arch)
			if albs.KindOf(err) != tt.kind {
				t.Fatalf("find = %v, %v, want the kind %q", e, err, tt.kind)
			}
			if got := e.String(); err == nil && got != tt.want {
				t.Errorf("find = %s, want %s", got, tt.want)
			}
			if err != nil && !strings.Contains(err.Error(), tt.want) {
				t.Errorf("find = %v, want it to say %q", err, tt.want)
			}
		})
	}
}

func write(t *testing.T, path, text string, mode os.FileMode) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// FuzzParse: whatever the kernel shows, it is read without a fault.
func FuzzParse(f *testing.F) {
	for _, text := range []string{aarch64, arm, ppc64, s390x, python, "offset -1\nmagic 7f\n", "offset 9999999999\nmagic 7f\nmask\n"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		e := parse(text)
		if e.matches(header(albs.AArch64)) && len(e.magic) == 0 {
			t.Error("a registration without a magic matches")
		}
	})
}
