// Package e2etest runs the whole binary: the server in one process and in five, its
// commands as people type them, a forge beside it, real rpmbuild and real dnf; and
// the same under faults (killed and halted processes, cut connections, bad input).
// After each run historytest reads what was left and names broken invariants.
//
// It holds tests only. Started by root the servers run as other users: the user albs,
// whom testdata/setup.sh makes, or five users without a name. Everything is on
// loopback. ALBS_TEST_CACHE names a folder that is kept from run to run (Seed Linux,
// tarballs, bases of roots); without it that is one below the user's cache, or for
// root /var/cache/albs-test.
package e2etest

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
)

// The folders of this run.
var (
	module string // the checkout
	cache  string // kept from run to run
	run    string // this run's own, below cache so that links between them can be made
)

// atOnce is how many tests run at once, unless -parallel says it: most of the time they
// wait for leases, restarts and builds, and not for the processor.
const atOnce = 6

func TestMain(m *testing.M) {
	sandbox.MaybeInit()
	go spawner()
	flag.Parse()
	said := false
	flag.Visit(func(f *flag.Flag) { said = said || f.Name == "test.parallel" })
	if !said {
		if err := flag.Set("test.parallel", strconv.Itoa(max(atOnce, runtime.GOMAXPROCS(0)))); err != nil {
			panic(err)
		}
	}
	code, err := within(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2etest:", err)
		code = 1
	}
	os.Exit(code)
}

func within(m *testing.M) (int, error) {
	wd, err := os.Getwd()
	if err != nil {
		return 1, err
	}
	module = filepath.Dir(filepath.Dir(wd))
	if cache, err = cacheDir(); err != nil {
		return 1, err
	}
	// What a run that was cut short has left.
	old, err := filepath.Glob(filepath.Join(cache, "run-*"))
	if err != nil {
		return 1, err
	}
	for _, dir := range old {
		if info, err := os.Stat(dir); err == nil && time.Since(info.ModTime()) > 24*time.Hour {
			removeAll(dir)
		}
	}
	if run, err = os.MkdirTemp(cache, "run-"); err != nil {
		return 1, err
	}
	defer removeAll(run)
	// Other users go through it to their own folders.
	if err := os.Chmod(run, 0o755); err != nil {
		return 1, err
	}
	return m.Run(), nil
}

func cacheDir() (string, error) {
	dir := os.Getenv("ALBS_TEST_CACHE")
	switch {
	case dir != "":
	case os.Getuid() == 0:
		dir = "/var/cache/albs-test"
	default:
		user, err := os.UserCacheDir()
		if err != nil {
			return "", err
		}
		dir = filepath.Join(user, "albs-test")
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", err
	}
	return filepath.Abs(dir)
}

// removeAll removes a folder, also files of lent uids.
func removeAll(dir string) {
	err := os.RemoveAll(dir)
	if err != nil && os.Getuid() != 0 {
		err = sandbox.RemoveAll(dir)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2etest: remove", dir+":", err)
	}
}

// folder makes a folder of this run's that who owns; others may go through it.
func folder(t *testing.T, who identity, elem ...string) string {
	t.Helper()
	dir := filepath.Join(append([]string{run}, elem...)...)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	who.own(t, dir)
	return dir
}

// kept makes a folder in the cache that who alone can look into.
func kept(t *testing.T, who identity, name string) string {
	t.Helper()
	dir := filepath.Join(cache, name)
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	who.own(t, dir)
	return dir
}

// identity is whom a process runs as.
type identity struct {
	name     string // "" is this process's own
	uid, gid int
}

// credential returns what makes a process run as i; nil where nothing changes.
func (i identity) credential() *syscall.Credential {
	if os.Getuid() != 0 || i.name == "" {
		return nil
	}
	return &syscall.Credential{Uid: uint32(i.uid), Gid: uint32(i.gid)}
}

func (i identity) own(t *testing.T, path string) {
	t.Helper()
	if i.credential() == nil {
		return
	}
	if err := os.Chown(path, i.uid, i.gid); err != nil {
		t.Fatal(err)
	}
}

// ownAll is own for a folder and all that is in it.
func (i identity) ownAll(t *testing.T, dir string) {
	t.Helper()
	if i.credential() == nil {
		return
	}
	err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, i.uid, i.gid))
	})
	if err != nil {
		t.Fatal(err)
	}
}

// self runs processes as this process's own user.
var self = identity{uid: os.Getuid(), gid: os.Getgid()}

// ordinary is the user who makes roots: the tests' own, or albs where that is root.
func ordinary(t *testing.T) identity {
	t.Helper()
	if os.Getuid() != 0 {
		return self
	}
	u, err := user.Lookup("albs")
	if err != nil {
		t.Skip("root makes no roots, and there is no user albs to do it: run testdata/setup.sh")
	}
	uid, err1 := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return identity{"albs", uid, gid}
}

// stranger is the nth of users who have no name and no lent ids; where the tests
// can't change users it is their own, and false.
func stranger(n int) (identity, bool) {
	if os.Getuid() != 0 {
		return self, false
	}
	return identity{fmt.Sprintf("stranger %d", n), 64000 + n, 64000 + n}, true
}

// spawn has one thread that lives as long as this process start all others: they
// are told to die with the thread that started them.
var spawn = make(chan func())

func spawner() {
	runtime.LockOSThread()
	for f := range spawn {
		f()
	}
}

func start(cmd *exec.Cmd, who identity) error {
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: who.credential(), Setpgid: true, Pdeathsig: syscall.SIGKILL}
	started := make(chan error)
	spawn <- func() { started <- cmd.Start() }
	return <-started
}

// output runs a program to its end, within a time, and returns its standard output.
func output(t *testing.T, cmd *exec.Cmd, who identity) string {
	t.Helper()
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err := start(cmd, who)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		t.Fatalf("%q: %v\n%s%s", cmd.Args, err, &out, &said)
	}
	return out.String()
}

// command is a program that gets within to end, with all that it has started; start
// makes them one group.
func command(t *testing.T, within time.Duration, name string, args ...string) *exec.Cmd {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), within)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.WaitDelay = 10 * time.Second // who left the group may hold our pipes
	return cmd
}

// once is a thing that the first test which needs it makes for all; the others get
// the same or, if it failed, fail or skip too.
type once struct {
	sync.Mutex
	value string
	tried bool
}

func (o *once) get(t *testing.T, what string, f func() string) string {
	t.Helper()
	o.Lock()
	defer o.Unlock()
	if o.value != "" {
		return o.value
	}
	if o.tried {
		t.Skipf("%s is not there: another test tells why", what)
	}
	o.tried = true
	o.value = f()
	return o.value
}

var built, crashes, seedings, fetched once

// foreigns are the Seed Linuxes of other arches.
var foreigns = map[albs.Arch]*once{albs.AArch64: new(once)}

// binaries returns the folder with albs and gitserver, built of this checkout.
func binaries(t *testing.T) string {
	t.Helper()
	return built.get(t, "the binary", func() string {
		// Reading the folders tells the test cache what the result hangs on; it doesn't
		// see what the go command reads.
		err := filepath.WalkDir(module, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.IsDir() && path != module && strings.HasPrefix(d.Name(), ".") {
				return filepath.SkipDir
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		dir := filepath.Join(run, "bin")
		if err := os.Mkdir(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		cmd := command(t, 10*time.Minute, "go", "build", "-buildvcs=false", "-o", dir+"/", ".", "./testdata/gitserver")
		cmd.Dir = module
		output(t, cmd, self)
		return dir
	})
}

// seed returns the folder of Seed Linux's repository: that in ALBS_SEED, or one made
// now.
func seed(t *testing.T) string {
	t.Helper()
	if dir := os.Getenv("ALBS_SEED"); dir != "" {
		return dir
	}
	return seedings.get(t, "Seed Linux", func() string {
		for _, tool := range []string{"apt-get", "dpkg-deb", "rpmbuild", "createrepo_c"} {
			if _, err := exec.LookPath(tool); err != nil {
				t.Skipf("Seed Linux can't be made: %s is not installed", tool)
			}
		}
		out := filepath.Join(run, "seed")
		cmd := command(t, 10*time.Minute, "go", "run", "./testdata/seed", "-out", out)
		cmd.Dir = module
		output(t, cmd, self)
		return out
	})
}

// foreignSeed returns the folder of the repository of Seed Linux for an arch of foreigns.
func foreignSeed(t *testing.T, arch albs.Arch) string {
	t.Helper()
	return foreigns[arch].get(t, "Seed Linux for "+string(arch), func() string {
		out := filepath.Join(run, "seed-"+string(arch))
		cmd := command(t, 10*time.Minute, "go", "run", "./testdata/seed", "-out", out, "-arch", string(arch))
		cmd.Dir = module
		output(t, cmd, self)
		return out
	})
}

// upstream returns the folder of the original tarballs of three real packages.
func upstream(t *testing.T) string {
	t.Helper()
	return fetched.get(t, "the original tarballs", func() string {
		if _, err := exec.LookPath("apt-get"); err != nil {
			t.Skip("the original tarballs come by apt-get, which is not installed")
		}
		dir := filepath.Join(cache, "upstream")
		output(t, command(t, 10*time.Minute, filepath.Join(module, "testdata/upstream/fetch.sh"), dir), self)
		return dir
	})
}
