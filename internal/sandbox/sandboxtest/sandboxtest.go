// Package sandboxtest lets tests use real sandboxes wherever they run: as root too,
// by going on as an ordinary user, and without an RPM mirror, by a repository that the
// recipe in testdata/seed makes. TestSandbox is the conformance suite of engines.
package sandboxtest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/emulator"
)

// userName is the ordinary user whom tests started by root go on as. It gets a subuid
// range; ALBS_TEST_USER names another.
const userName = "albs"

// Main is the body of a TestMain whose tests make sandboxes. Where the tests are
// started by root it starts them again as an ordinary user, whom it makes if need be.
func Main(m *testing.M) {
	sandbox.MaybeInit()
	// Fuzzing needs no sandbox, but the corpus of whoever started it.
	fuzzing := slices.ContainsFunc(os.Args, func(a string) bool { return strings.HasPrefix(a, "-test.fuzz") })
	if os.Getuid() == 0 && !fuzzing {
		code, err := again()
		if err != nil {
			fmt.Fprintln(os.Stderr, "sandboxtest: go on as an ordinary user:", err)
			code = 1
		}
		os.Exit(code)
	}
	os.Exit(inside(m))
}

// inside runs the tests with a temporary folder that is theirs alone and whose removal
// copes with files of lent uids.
func inside(m *testing.M) int {
	// Much of the time of these tests is waiting for a limit to pass: more of them than
	// there are cores go side by side, unless the command line says how many.
	flag.Parse()
	if f := flag.Lookup("test.parallel"); f.Value.String() == f.DefValue {
		if err := f.Value.Set(strconv.Itoa(2 * runtime.GOMAXPROCS(0))); err != nil {
			fmt.Fprintln(os.Stderr, "sandboxtest:", err)
			return 1
		}
	}
	tmp, err := os.MkdirTemp("", "albs-test-")
	if err == nil {
		err = os.Setenv("TMPDIR", tmp)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "sandboxtest:", err)
		return 1
	}
	code := m.Run()
	if err := sandbox.RemoveAll(tmp); err != nil {
		if err := os.RemoveAll(tmp); err != nil {
			fmt.Fprintln(os.Stderr, "sandboxtest: remove the temporary folder:", err)
			return 1
		}
	}
	return code
}

// again runs this test program as the ordinary user and returns its exit code.
func again() (int, error) {
	name := os.Getenv("ALBS_TEST_USER")
	if name == "" {
		name = userName
	}
	u, err := ensureUser(name)
	if err != nil {
		return 1, err
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		return 1, err
	}
	tmp, err := os.MkdirTemp("", "albs-test-")
	if err != nil {
		return 1, err
	}
	defer os.RemoveAll(tmp)
	if err := os.Chown(tmp, uid, gid); err != nil {
		return 1, err
	}
	leave, err := ownCgroup(uid, gid)
	if err != nil {
		return 1, err
	}
	defer leave()
	// The file in which go test notes what a test reads, for its cache, is root's.
	args := slices.DeleteFunc(slices.Clone(os.Args[1:]), func(a string) bool { return strings.HasPrefix(a, "-test.testlogfile=") })
	cmd := exec.Command("/proc/self/exe", args...)
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	// What points into root's own home would be out of reach.
	for _, v := range os.Environ() {
		if k, _, _ := strings.Cut(v, "="); k != "GOCACHE" && k != "GOMODCACHE" && k != "GOPATH" && k != "XDG_CACHE_HOME" {
			cmd.Env = append(cmd.Env, v)
		}
	}
	cmd.Env = append(cmd.Env, "HOME="+u.HomeDir, "USER="+name, "LOGNAME="+name, "TMPDIR="+tmp)
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}}
	err = cmd.Run()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return exit.ExitCode(), nil
	}
	return 0, err
}

// ensureUser makes the user and lends it ids, unless that is done.
func ensureUser(name string) (*user.User, error) {
	lock, err := os.OpenFile("/run/albs-sandboxtest.lock", os.O_CREATE|os.O_RDWR|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	defer lock.Close()
	if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX); err != nil {
		return nil, err
	}
	u, err := user.Lookup(name)
	if err != nil {
		if b, err := exec.Command("useradd", "--create-home", "--shell", "/bin/sh", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("useradd %s: %w: %s", name, err, b)
		}
		if u, err = user.Lookup(name); err != nil {
			return nil, err
		}
	}
	for file, option := range map[string]string{"/etc/subuid": "--add-subuids", "/etc/subgid": "--add-subgids"} {
		b, err := os.ReadFile(file)
		if err != nil && !errors.Is(err, os.ErrNotExist) {
			return nil, err
		}
		if strings.Contains("\n"+string(b), "\n"+name+":") {
			continue
		}
		if b, err := exec.Command("usermod", option, "200000-265535", name).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("usermod %s: %w: %s", option, err, b)
		}
	}
	return u, nil
}

// ownCgroup gives the user cgroups of version 1 to itself, where there are any, and
// moves this process there, so that the tests meet with memory limits. The returned
// function undoes it.
func ownCgroup(uid, gid int) (func(), error) {
	var undo []func()
	for _, ctl := range []string{"memory", "pids", "cpu"} {
		parent := filepath.Join("/sys/fs/cgroup", ctl)
		dir := filepath.Join(parent, "albs-test-"+strconv.Itoa(os.Getpid()))
		if _, err := os.Stat(filepath.Join(parent, "cgroup.procs")); err != nil || os.Mkdir(dir, 0o755) != nil {
			continue
		}
		if err := os.Chown(dir, uid, gid); err != nil {
			return nil, err
		}
		home, err := cgroupOf(ctl)
		if err != nil {
			return nil, err
		}
		pid := []byte(strconv.Itoa(os.Getpid()))
		if err := os.WriteFile(filepath.Join(dir, "cgroup.procs"), pid, 0); err != nil {
			return nil, err
		}
		undo = append(undo, func() {
			os.WriteFile(filepath.Join(parent, home, "cgroup.procs"), pid, 0)
			os.Remove(dir)
		})
	}
	return func() {
		for _, f := range undo {
			f()
		}
	}, nil
}

// cgroupOf returns this process's version 1 group of a controller.
func cgroupOf(ctl string) (string, error) {
	b, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.SplitN(strings.TrimSpace(line), ":", 3); len(f) == 3 && f[1] == ctl {
			return f[2], nil
		}
	}
	return "/", nil
}

// detected are the reasons why no sandbox can be made here, found out once.
var detected = sync.OnceValue(func() []string { return sandbox.Detect(context.Background()).Problems })

// Nap is how long, in seconds, a program is to sleep that a test ends: months, and a
// number that the tests of no other process have, for the same ones may run beside.
var Nap = strconv.Itoa(10_000_000 + os.Getpid())

// Processes lists the sleeping ones whose argument is word.
func Processes(t testing.TB, word string) []string {
	t.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, f := range files {
		if b, err := os.ReadFile(f); err == nil && strings.Contains(string(b), "sleep\x00"+word) {
			found = append(found, f)
		}
	}
	return found
}

// Engine returns an engine with a folder of its own, or skips the test with the reason
// why there can be none.
func Engine(t testing.TB, cfg sandbox.Config) *sandbox.Engine {
	t.Helper()
	if problems := detected(); len(problems) > 0 {
		t.Skipf("no sandbox can be made here: %s", strings.Join(problems, "; "))
	}
	if cfg.Dir == "" {
		dir, err := os.MkdirTemp("", "sandbox-")
		if err != nil {
			t.Fatal(err)
		}
		cfg.Dir = dir
		t.Cleanup(func() {
			if err := sandbox.RemoveAll(dir); err != nil {
				t.Errorf("remove the engine's folder: %v", err)
			}
		})
	}
	e, err := sandbox.New(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// seeds are the repositories that are made; they lie in the temporary folder of Main.
var seeds = struct {
	sync.Mutex
	dir map[seedOf]string
}{dir: map[seedOf]string{}}

// seedOf names what testdata/seed makes: its arch, and which set of packages.
type seedOf struct {
	arch albs.Arch
	set  string
}

// Seed returns the folder of Seed Linux's repository: that in ALBS_SEED, else one made
// by testdata/seed, which takes half a minute the first time and is cached after that.
// It skips the test where the recipe's tools are missing.
func Seed(t testing.TB) string {
	t.Helper()
	if dir := os.Getenv("ALBS_SEED"); dir != "" {
		return dir
	}
	return makeSeed(t, seedOf{arch: albs.HostArch(runtime.GOARCH)})
}

// Testers returns the folder of a repository beside that of Seed, with pytest and
// ansible-core, which takes a minute to be made the first time. It skips the test where
// the recipe's tools are missing.
func Testers(t testing.TB) string {
	t.Helper()
	return makeSeed(t, seedOf{albs.HostArch(runtime.GOARCH), "testers"})
}

// Emulated returns an emulator of arch, and Seed Linux's root and repository for that
// arch, which take a minute to be made the first time. It skips the test with the reason
// why programs of arch can't be run here.
func Emulated(t testing.TB, arch albs.Arch) (emulator.Emulator, albs.Root, []sandbox.Repo) {
	t.Helper()
	e, err := emulator.Find(t.Context(), arch)
	if err != nil {
		t.Skip(err)
	}
	root, repos := Root(t, makeSeed(t, seedOf{arch: arch}))
	root.Arch = arch
	return e, root, repos
}

func makeSeed(t testing.TB, of seedOf) string {
	t.Helper()
	seeds.Lock()
	defer seeds.Unlock()
	if dir := seeds.dir[of]; dir != "" {
		return dir
	}
	for _, tool := range []string{"apt-get", "dpkg-deb", "rpmbuild", "createrepo_c", "go"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("Seed Linux can't be made: %s is not installed", tool)
		}
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		t.Fatal(err)
	}
	cache = filepath.Join(cache, "albs-seed")
	if err := os.MkdirAll(cache, 0o755); err != nil {
		t.Fatal(err)
	}
	// The checkout may lie where this user can't walk to by an absolute path, as the go
	// command does: the recipe, which needs nothing else of the project, is copied.
	src, err := os.MkdirTemp("", "seed-recipe-")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(src)
	if err := copyRecipe(src); err != nil {
		t.Fatalf("copy the recipe of Seed Linux: %v", err)
	}
	out := filepath.Join(os.TempDir(), "seed-"+string(of.arch)+of.set)
	cmd := exec.CommandContext(t.Context(), "go", "run", ".", "-out", out, "-cache", cache, "-arch", string(of.arch), "-set", of.set)
	cmd.Dir = src
	cmd.Env = append(os.Environ(), "GOFLAGS=", "GOWORK=off", "CGO_ENABLED=0", "GOTOOLCHAIN=local")
	if b, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("make Seed Linux: %v\n%s", err, b)
	}
	seeds.dir[of] = out
	return out
}

func copyRecipe(to string) error {
	up := "."
	for range 8 {
		if _, err := os.Stat(filepath.Join(up, "go.mod")); err == nil {
			break
		}
		up = filepath.Join("..", up)
	}
	from := filepath.Join(up, "testdata", "seed")
	entries, err := os.ReadDir(from)
	if err != nil {
		return err
	}
	for _, d := range entries {
		if !strings.HasSuffix(d.Name(), ".go") {
			continue
		}
		r, err := os.Open(filepath.Join(from, d.Name()))
		if err != nil {
			return err
		}
		w, err := os.Create(filepath.Join(to, d.Name()))
		if err == nil {
			_, err = io.Copy(w, r)
			err = errors.Join(err, w.Close())
		}
		if err := errors.Join(err, r.Close()); err != nil {
			return err
		}
	}
	return os.WriteFile(filepath.Join(to, "go.mod"), []byte("module seed\n\ngo 1.26\n"), 0o644)
}

// Root returns what a buildroot of Seed Linux is made of, and dir, its repository, as
// dnf reaches it without a depot. More repositories may be appended to both.
func Root(t testing.TB, dir string) (albs.Root, []sandbox.Repo) {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	return albs.Root{
		Platform:   "seed-9",
		Releasever: "9",
		Arch:       albs.HostArch(runtime.GOARCH),
		Repos:      []albs.Repo{{ID: "seed", Mirror: "file://" + dir, Repomd: albs.DigestOf(b)}},
		Packages:   BuildPackages(),
		Macros:     map[string]string{"dist": ".seed9"},
		RPMDBPath:  "/usr/lib/sysimage/rpm",
		ModuleID:   "platform:el9",
		SingleUID:  true,
	}, []sandbox.Repo{{ID: "seed", BaseURL: "file://" + dir}}
}

// BuildPackages returns the packages of a buildroot of Seed Linux.
func BuildPackages() []string {
	return []string{
		"bash", "bzip2", "coreutils", "cpio", "diffutils", "findutils", "gawk", "gcc", "glibc-devel", "glibc-common", "grep", "gzip",
		"make", "patch", "redhat-rpm-config", "rpm-build", "sed", "system-release", "tar", "util-linux", "which", "xz", "zstd",
	}
}
