package sandbox_test

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
	"albs/internal/sandbox/sandboxtest"
)

// attacks are what a build tries to change its base by: scripts of the shell, each of
// which leaves the word that is its name wherever it gets. Most of them fail, and what
// succeeds must stay in the root.
var attacks = map[string]string{
	"overwritten": "echo $0 > /usr/bin/id; echo $0 >> /usr/bin/env; cat /usr/bin/env > /usr/bin/true",
	"removed":     "rm -rf /usr/share/* /usr/lib/rpm /etc; mkdir /etc; echo $0 > /etc/passwd",
	"renamed":     "mv /usr/bin/grep /usr/bin/$0; mv /usr/lib /usr/$0; mv /usr/$0 /usr/lib",
	"linked":      "ln /usr/bin/tac /builddir/hard && echo $0 > /builddir/hard; ln -s /usr/bin/tee /builddir/soft && echo $0 > /builddir/soft",
	"reopened": "exec 3</usr/bin/sort; echo $0 > /proc/self/fd/3; exec 4<>/usr/bin/sort; echo $0 >&4; exec 5</usr/bin; " +
		"echo $0 > /proc/self/fd/5/uniq; echo $0 > /dev/fd/3",
	"processes": "for p in /proc/[0-9]* /proc/self; do for d in root cwd; do echo $0 > $p/$d/usr/bin/wc; rm $p/$d/usr/bin/cut; " +
		"for f in $p/fd/*; do echo $0 > $f/usr/bin/head; echo $0 > $f/../../usr/bin/head; done; done; done",
	"maps":    "for m in /proc/*/map_files/*; do echo $0 > $m; done; for m in /proc/*/mem; do echo $0 > $m; done",
	"modes":   "chmod 0 /usr/bin/*; chown 1000:1000 /usr/bin/*; touch -d @1 /usr/bin/* /usr",
	"flags":   `perl -e 'for (glob "/usr/bin/t*") { open F, "<", $_; for my $f (0x10, 0x20, 0x40, 0) { ioctl F, 0x40086602, pack "L", $f } }'`,
	"xattrs":  `perl -e 'for my $n ("user.albs", "user.overlay.redirect", "user.overlay.opaque", "trusted.overlay.opaque", "security.capability") { for my $p ("/usr/bin/sed", "/usr/bin", "/") { syscall 188, $p, $n, "y", 1, 0 } }'`,
	"handles": `perl -e 'my $h = pack("Ll", 128, 0) . "\0" x 128; my $m = pack "l", 0; syscall 303, -100, "/usr/bin/tr", $h, $m, 0; my $fd = syscall 304, -100, $h, 2; syscall 1, $fd, "handles", 7 if $fd >= 0'`,
	"mounts": "umount -l /; mount -o remount,rw /; mount --bind /usr /mnt; unshare -Urm sh -c 'umount -l /; umount -a; mount -t tmpfs x /usr; " +
		"mount -o bind / /mnt && echo mounts > /mnt/usr/bin/nl; mount -t overlay o -o lowerdir=/usr,upperdir=/tmp,workdir=/var/tmp,userxattr /mnt && echo mounts > /mnt/bin/od; " +
		"pivot_root / /mnt; nsenter -t 1 -m true'",
	"devices": "mknod /dev/vda b 254 0 && echo $0 > /dev/vda; mknod /builddir/d b 8 0 && echo $0 > /builddir/d; mkfifo /usr/bin/fifo",
	"scratch": "mkdir -p /usr/bin/.wh..wh..opq; mknod /usr/bin/yes c 0 0; touch /usr/bin/.wh.yes",
}

// TestBaseUnchanged: whatever a build does in its root, as root too, the base under it is
// as it was, in all that a file has, and the next root on it knows nothing of it.
func TestBaseUnchanged(t *testing.T) {
	t.Parallel()
	dir, err := sharedDir()
	if err != nil {
		t.Fatal(err)
	}
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = append(slices.Clone(root.Packages), "sed", "perl", "findutils")
	b := base(t, shared(t, sandbox.Limits{}), root, repos)
	lower := filepath.Join(dir, "base", string(b.Digest()), "root")
	before := inventory(t, lower)
	if len(before) < 1000 || !strings.Contains(before["/usr/bin/sed"], "-rwxr-xr-x") {
		t.Fatalf("%d files, /usr/bin/sed is %q", len(before), before["/usr/bin/sed"])
	}
	var wg sync.WaitGroup
	slots := make(chan struct{}, 2*runtime.NumCPU())
	for name, script := range attacks {
		for _, u := range []sandbox.User{sandbox.UserRoot, sandbox.UserBuild} {
			r := overlay(t, b)
			wg.Go(func() {
				slots <- struct{}{}
				defer func() { <-slots }()
				// The end of the script is reached: no attack is one by not being tried.
				var out bytes.Buffer
				_, err := r.Run(t.Context(), sandbox.Cmd{
					Argv: []string{"bash", "-c", "( " + script + " ) </dev/null 2>/dev/null; echo tried", name}, User: u, Stdout: &out,
				})
				if err != nil || !strings.HasSuffix(out.String(), "tried\n") {
					t.Errorf("%s as %s: %v, %q", name, u, err, out.String())
				}
			})
		}
	}
	wg.Wait()
	if diff := cmp.Diff(before, inventory(t, lower)); diff != "" {
		t.Errorf("the base has changed (-before +after):\n%.5000s", diff)
	}
	code, out := sh(t, overlay(t, b), "root", "id -u; ls -A /builddir; tac /etc/os-release | wc -l; sort -u /dev/null; rpm -V --nomtime grep sed perl")
	if code != 0 || out != "0\n.rpmmacros\n7" {
		t.Errorf("a new root on the base: code %d, %s", code, out)
	}
}

// inventory describes every file below dir: mode, owner, size, times, links, extended
// attributes and content.
func inventory(t *testing.T, dir string) map[string]string {
	t.Helper()
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		st := info.Sys().(*syscall.Stat_t)
		say := fmt.Sprintf("%s %d:%d %d bytes %d links %d", info.Mode(), st.Uid, st.Gid, st.Size, st.Nlink, st.Mtim.Nano())
		names := make([]byte, 4096)
		if n, err := unix.Llistxattr(path, names); err == nil {
			say += fmt.Sprintf(" %q", names[:n])
		}
		switch {
		case info.Mode()&fs.ModeSymlink != 0:
			to, err := os.Readlink(path)
			if err != nil {
				return err
			}
			say += " -> " + to
		case info.Mode().IsRegular():
			b, err := os.ReadFile(path)
			if err != nil && !errors.Is(err, fs.ErrPermission) {
				return err
			}
			sum := sha256.Sum256(b)
			say += " " + hex.EncodeToString(sum[:8])
		}
		files[strings.TrimPrefix(path, dir)] = say
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestBasesShared: engines that keep one base, and work on one folder at once with roots
// of several, take none away from each other between asking for it and its last root.
func TestBasesShared(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release"}
	var wg sync.WaitGroup
	for i := range 3 {
		e := sandboxtest.Engine(t, sandbox.Config{Dir: dir, Bases: 1})
		wg.Go(func() {
			for round := range 3 {
				r := root
				r.Macros = map[string]string{"dist": fmt.Sprintf(".x%d", (i+round)%3)}
				var log bytes.Buffer
				b, err := e.Base(t.Context(), r, repos, &log)
				if err != nil {
					t.Errorf("engine %d, round %d: %v\n%s", i, round, err, log.String())
					return
				}
				for range 2 {
					o, err := b.Overlay(t.Context())
					if err != nil {
						t.Errorf("engine %d, round %d: %v", i, round, err)
						break
					}
					text, err := o.ReadFile(t.Context(), "/builddir/.rpmmacros", 100)
					if want := "%dist " + r.Macros["dist"] + "\n"; err != nil || string(text) != want {
						t.Errorf("engine %d, round %d: the root's macros are %q, %v; want %q", i, round, text, err, want)
					}
					if err := o.Close(); err != nil {
						t.Error(err)
					}
				}
				b.Close()
			}
		})
	}
	wg.Wait()
}

// TestBasesSize: bases beyond the bytes that they may hold together go, the one that is
// asked for last stays, and what one holds is about what lies there.
func TestBasesSize(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir, BasesSize: 1})
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release", "bash"}
	var last albs.Digest
	for i := range 2 {
		root.Macros = map[string]string{"dist": strings.Repeat(".x", i+1)}
		b := base(t, e, root, repos)
		last = b.Digest()
		if size := b.Size(); size < 1<<20 || size > 1<<30 {
			t.Errorf("a base with bash holds %d bytes", size)
		}
		b.Close()
	}
	facts, err := filepath.Glob(filepath.Join(dir, "base", "*", "facts.json"))
	if err != nil || len(facts) != 1 || filepath.Base(filepath.Dir(facts[0])) != string(last) {
		t.Errorf("bases that are kept: %v, %v; want %s alone", facts, err, last)
	}
}

// TestDiscard: of two that found the same old base, as workers with one folder do, the
// second passes over it, and so does who finds that it was asked for meanwhile.
func TestDiscard(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	e := sandboxtest.Engine(t, sandbox.Config{Dir: dir})
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release"}
	b := base(t, e, root, repos)
	b.Close()
	facts := filepath.Join(dir, "base", string(b.Digest()), "facts.json")
	info, err := os.Stat(facts)
	if err != nil {
		t.Fatal(err)
	}
	if err := e.Discard(t.Context(), b.Digest(), info.ModTime().Add(-time.Second)); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(facts); err != nil {
		t.Errorf("a base that was used since: %v", err)
	}
	for range 2 {
		if err := e.Discard(t.Context(), b.Digest(), info.ModTime()); err != nil {
			t.Error(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(facts)); !os.IsNotExist(err) {
		t.Errorf("the base is still there: %v", err)
	}
}

// tinyPrograms end with code 7: an ELF header, a program header and the system call.
var tinyPrograms = map[albs.Arch]struct {
	machine uint16
	flags   uint32
	order   binary.ByteOrder
	code    []uint32
}{
	albs.AArch64: {183, 0, binary.LittleEndian, []uint32{0xd28000e0, 0xd2800ba8, 0xd4000001}}, // mov x0, 7; mov x8, 93; svc 0
	albs.PPC64LE: {21, 2, binary.LittleEndian, []uint32{0x38000001, 0x38600007, 0x44000002}},  // li r0, 1; li r3, 7; sc
	albs.S390X:   {22, 0, binary.BigEndian, []uint32{0xa7290007, 0x0a010000}},                 // lghi r2, 7; svc 1
}

func tinyProgram(arch albs.Arch) []byte {
	p := tinyPrograms[arch]
	const base, headers = 0x400000, 64 + 56
	data := byte(1)
	if p.order == binary.BigEndian {
		data = 2
	}
	var b bytes.Buffer
	size := uint64(headers + 4*len(p.code))
	for _, v := range []any{
		[16]byte{0x7f, 'E', 'L', 'F', 2, data, 1}, uint16(2), p.machine, uint32(1), uint64(base + headers), uint64(64), uint64(0),
		p.flags, uint16(64), uint16(56), uint16(1), uint16(64), uint16(0), uint16(0),
		uint32(1), uint32(5), uint64(0), uint64(base), uint64(base), size, size, uint64(0x10000),
		p.code,
	} {
		binary.Write(&b, p.order, v)
	}
	return b.Bytes()
}

// TestEmulator: what the kernel has registered runs programs of other arches in a root
// that knows nothing of emulators, as every user and without network.
func TestEmulator(t *testing.T) {
	t.Parallel()
	root, repos := sandboxtest.SmallRoot(t)
	b := base(t, shared(t, sandbox.Limits{}), root, repos)
	for arch := range tinyPrograms {
		t.Run(string(arch), func(t *testing.T) {
			t.Parallel()
			em, err := emulator.Find(t.Context(), arch)
			if err != nil {
				t.Skip(err)
			}
			r := overlay(t, b)
			if err := r.CopyIn(t.Context(), sandbox.Copy{Data: tinyProgram(arch), To: "/builddir/tiny", User: sandbox.UserBuild}); err != nil {
				t.Fatal(err)
			}
			for _, u := range []sandbox.User{sandbox.UserBuild, sandbox.UserRoot} {
				if code, out := sh(t, r, u, "chmod 755 /builddir/tiny; ls /usr/bin/*qemu* /usr/libexec/*qemu* 2>/dev/null; /builddir/tiny"); code != 7 || out != "" {
					t.Errorf("a program of %s as %s ended with %d: %s", arch, u, code, out)
				}
			}
			t.Log(em)
		})
	}
}

// TestForeignArch: a root whose programs nothing here can run is refused before dnf is
// asked, and is no package's fault.
func TestForeignArch(t *testing.T) {
	t.Parallel()
	root, repos := sandboxtest.SmallRoot(t)
	root.Arch = albs.RISCV64
	if root.Arch == albs.HostArch(runtime.GOARCH) {
		root.Arch = albs.S390X
	}
	var log bytes.Buffer
	_, err := shared(t, sandbox.Limits{}).Base(t.Context(), root, repos, &log)
	if !errors.Is(err, albs.Unavailable) || errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), string(root.Arch)) || log.Len() > 0 {
		t.Errorf("Base = %v, want Unavailable that names the arch; dnf said %q", err, log.String())
	}
}
