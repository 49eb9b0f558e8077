package sandbox_test

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// TestWorkshop has a program of the host make a root, and others work beside it.
func TestWorkshop(t *testing.T) {
	t.Parallel()
	seed := sandboxtest.Seed(t)
	dir, err := os.MkdirTemp("", "workshop-")
	if err != nil {
		t.Fatal(err)
	}
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	root, repos := sandboxtest.Root(t, seed)
	root.RPMDB = "bdb" // which is no hindrance here
	found, err := filepath.Glob(filepath.Join(seed, "system-release-*.rpm"))
	if err != nil || len(found) == 0 {
		found, err = filepath.Glob(filepath.Join(seed, "*", "system-release-*.rpm"))
	}
	if err != nil || len(found) == 0 {
		t.Fatalf("the seed has no system-release: %v", err)
	}
	run := func(w *sandbox.Workshop, u sandbox.User, script string) (int, string) {
		t.Helper()
		var said bytes.Buffer
		exit, err := w.Run(t.Context(), sandbox.HostCmd{
			Argv: []string{"sh", "-c", script}, Stdout: &said, Stderr: &said, User: u, Folders: []string{seed},
			Files: map[string]string{"told": "a word"},
		})
		if err != nil {
			t.Fatalf("%s: %v", script, err)
		}
		return exit, said.String()
	}
	filled := 0
	fill := func(w *sandbox.Workshop) error {
		filled++
		exit, said := run(w, sandbox.UserRoot, "mkdir -p /work/r && rpm --root /work/r -i --justdb --nodeps --nosignature "+found[0]+" && echo filled >/work/r/mark")
		if exit != 0 {
			return fmt.Errorf("fill: %s", said)
		}
		return nil
	}
	open := func(kind string) *sandbox.Workshop {
		t.Helper()
		w, err := e.Workshop(t.Context(), root, repos, kind, "r", fill)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := w.Close(); err != nil {
				t.Error(err)
			}
		})
		return w
	}
	a, b := open("test"), open("test")
	if filled != 1 || a.Base() != b.Base() || !a.Base().Valid() {
		t.Errorf("filled %d times, bases %s and %s", filled, a.Base(), b.Base())
	}
	if other := open("another"); filled != 2 || other.Base() == a.Base() {
		t.Errorf("another kind: filled %d times, base %s", filled, other.Base())
	}
	if pkgs, err := a.Installed(t.Context(), "r"); err != nil || len(pkgs) != 1 || pkgs[0].Name != "system-release" || !pkgs[0].Header.Valid() {
		t.Errorf("Installed = %+v, %v", pkgs, err)
	}
	if exit, said := run(a, sandbox.UserRoot, "cat /work/r/mark /albs/told; echo mine >/work/r/mark"); exit != 0 || said != "filled\na word" {
		t.Errorf("the workshop says %q, code %d", said, exit)
	}
	if _, said := run(b, sandbox.UserRoot, "cat /work/r/mark"); said != "filled\n" {
		t.Errorf("one workshop sees what another wrote: %q", said)
	}
	for _, tt := range []struct {
		name string
		user sandbox.User
		test string // ends with 0 where it got what it must not have
	}{
		{"the host's files", sandbox.UserRoot, "ls /root /home /var/lib/dpkg /var/lib/rpm 2>/dev/null | grep ."},
		{"the host's users", sandbox.UserRoot, "grep albs /etc/passwd"},
		{"the host's programs", sandbox.UserRoot, "touch /usr/here"},
		{"the engine's folder", sandbox.UserRoot, "ls " + dir},
		{"a device", sandbox.UserRoot, "mknod /work/sda b 8 0"},
		{"the host's loopback", sandbox.UserRoot, "timeout 5 bash -c 'exec 3<>/dev/tcp/127.0.0.1/22'"},
		{"the network", sandbox.UserRoot, "timeout 5 bash -c 'exec 3<>/dev/tcp/1.1.1.1/53'"},
		{"root's files, as the build user", sandbox.UserBuild, "echo x >/work/r/mark"},
		{"root's rights, as the build user", sandbox.UserBuild, "mount -t tmpfs x /mnt || chroot /work/r true"},
	} {
		if exit, said := run(a, tt.user, tt.test); exit == 0 {
			t.Errorf("it got %s: %s", tt.name, said)
		}
	}
	if exit, said := run(a, sandbox.UserRoot, "bash -c 'exec 3<>/dev/tcp/127.0.0.1/1024'"); exit != 0 {
		t.Errorf("it does not reach its repository: %s", said)
	}
	if exit, _ := run(a, sandbox.UserBuild, "test $(id -u) = 1000"); exit != 0 {
		t.Error("the build user is another")
	}
}

// TestWorkshopExport: what is read from outside is a regular file of the folder, however
// it came there.
func TestWorkshopExport(t *testing.T) {
	t.Parallel()
	e := sandboxtest.Engine(t, sandbox.Config{})
	w, err := e.Bench(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	exit, err := w.Run(t.Context(), sandbox.HostCmd{User: sandbox.UserRoot, Argv: []string{"sh", "-c",
		"cd /work && printf 0123456789 >plain && ln -s /etc/passwd link && ln -s .. up && mkfifo fifo && mkdir d"}})
	if err != nil || exit != 0 {
		t.Fatal(exit, err)
	}
	for _, tt := range []struct {
		name string
		from int64
		want string
		ok   bool
	}{
		{"plain", 0, "0123456789", true}, {"plain", 4, "456789", true}, {"plain", 10, "", true}, {"plain", 99, "", true}, {"absent", 0, "", true},
		{"link", 0, "", false}, {"up/root/plain", 0, "", false}, {"fifo", 0, "", false}, {"d", 0, "", false}, {"../conf/passwd", 0, "", false},
	} {
		var got bytes.Buffer
		n, err := w.Export(tt.name, tt.from, &got)
		if (err == nil) != tt.ok || got.String() != tt.want || tt.ok && n != int64(len(tt.want)) {
			t.Errorf("Export(%s, %d) = %d %q, %v", tt.name, tt.from, n, got.String(), err)
		}
	}
}

// TestWorkshopFault: a workshop that can't be filled leaves nothing.
func TestWorkshopFault(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "workshop-")
	if err != nil {
		t.Fatal(err)
	}
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	root := albs.Root{Platform: "p", Releasever: "9", Arch: albs.HostArch(runtime.GOARCH), RPMDBPath: "/usr/lib/sysimage/rpm", Packages: []string{"x"}}
	why := errors.New("no filling")
	if _, err := e.Workshop(t.Context(), root, nil, "test", "r", func(*sandbox.Workshop) error { return why }); !errors.Is(err, why) {
		t.Errorf("Workshop = %v, want what fill said", err)
	}
	// One that fills nothing in.
	if _, err := e.Workshop(t.Context(), root, nil, "test", "r", func(w *sandbox.Workshop) error {
		_, err := w.Run(t.Context(), sandbox.HostCmd{User: sandbox.UserRoot, Argv: []string{"mkdir", "/work/r"}})
		return err
	}); albs.KindOf(err) != albs.Unavailable {
		t.Errorf("a root without packages: %v, want Unavailable", err)
	}
	foreign := root
	if foreign.Arch = albs.S390X; albs.HostArch(runtime.GOARCH) == foreign.Arch {
		foreign.Arch = albs.X8664
	}
	if _, err := e.Workshop(t.Context(), foreign, nil, "test", "r", func(*sandbox.Workshop) error { return nil }); albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), "no emulator") {
		t.Errorf("an arch that nothing here runs: %v, want Unavailable", err)
	}
	root.Packages = []string{"--option"}
	if _, err := e.Workshop(t.Context(), root, nil, "test", "r", func(*sandbox.Workshop) error { return nil }); !errors.Is(err, albs.Invalid) {
		t.Errorf("an option as a package: %v, want Invalid", err)
	}
	for _, d := range []string{"base", "root"} {
		left, err := os.ReadDir(filepath.Join(dir, d))
		for _, l := range left {
			if l.IsDir() || !strings.HasSuffix(l.Name(), ".making") {
				t.Errorf("left in %s: %s, %v", d, l.Name(), err)
			}
		}
	}
}
