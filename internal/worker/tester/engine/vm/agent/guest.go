package agent

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// Name is the path of the program in the guest's first file system, by which a kernel that
// is told so (rdinit=) starts it.
const Name = "/albs-machine"

// What the host puts beside it, and calls what it gives to the machine.
const (
	Modules  = "/modules"      // a folder of kernel modules, loaded in the order of their names
	Port     = "albs.agent"    // the serial port of the conversation
	RootTag  = "albs.root"     // the file system that becomes the root
	NetParam = "albs.net=user" // on the kernel's command line: there is a network, as qemu's "user" makes it
)

// MaybeInit turns the process into a guest's agent if a kernel started it as that, and
// then never returns. main and TestMain of every program whose roles have machines call it
// before anything else.
func MaybeInit() {
	ready.Store(true)
	if os.Getpid() != 1 || len(os.Args) == 0 || os.Args[0] != Name {
		return
	}
	err := guest()
	if err != nil && !errors.Is(err, io.EOF) {
		fmt.Fprintln(os.Stderr, "albs: the machine ends:", err)
	}
	_ = syscall.Kill(-1, syscall.SIGKILL)
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	os.Exit(1) // the kernel panics, and ends the machine
}

var ready atomic.Bool

// Ready reports whether this program can act as an agent: MaybeInit was called.
func Ready() bool { return ready.Load() }

// guest makes the root ready and serves.
func guest() error {
	syscall.Umask(0o022)
	for _, m := range []mountPoint{
		{"proc", "/proc", "proc", 0, ""},
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"devtmpfs", "/dev", "devtmpfs", unix.MS_NOSUID, "mode=0755"},
	} {
		if err := m.mount(); err != nil {
			return err
		}
	}
	if err := loadModules(Modules); err != nil {
		return err
	}
	const root = "/root"
	if err := (mountPoint{RootTag, root, "virtiofs", 0, ""}).mount(); err != nil {
		return err
	}
	port, err := openPort()
	if err != nil {
		return err
	}
	defer port.Close()
	if err := enter(root); err != nil {
		if errors.Is(err, albs.Invalid) { // instead of a Hello
			return errors.Join(err, NewWriter(port).JSON(FrameDone, Done{Error: err.Error(), Kind: albs.Invalid}))
		}
		return err
	}
	cmdline, err := os.ReadFile("/proc/cmdline")
	if err != nil {
		return err
	}
	if err := setUpNetwork(strings.Contains(string(cmdline), NetParam)); err != nil {
		return err
	}
	// As in other environments: a test isn't to depend on where it runs.
	_ = syscall.Setrlimit(unix.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 16384, Max: 16384})
	_ = syscall.Setrlimit(unix.RLIMIT_CORE, &syscall.Rlimit{})
	hello, err := introduce()
	if err != nil {
		return err
	}
	return serve(port, hello)
}

// introduce says who this is.
func introduce() (Hello, error) {
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Hello{}, err
	}
	release, err := os.ReadFile("/proc/sys/kernel/osrelease")
	if err != nil {
		return Hello{}, err
	}
	return Hello{Boot: string(bytes.TrimSpace(boot)), Kernel: string(bytes.TrimSpace(release))}, nil
}

type mountPoint struct {
	source, target, kind string
	flags                uintptr
	options              string
}

func (m mountPoint) mount() error {
	if err := os.MkdirAll(m.target, 0o755); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	if err := unix.Mount(m.source, m.target, m.kind, m.flags, m.options); err != nil {
		return fmt.Errorf("mount %s: %w", m.target, err)
	}
	return nil
}

// loadModules loads the files of dir by name; modules that the kernel has built in, or
// loaded already, do no harm.
func loadModules(dir string) error {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for _, e := range entries {
		f, err := os.Open(filepath.Join(dir, e.Name()))
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && !errors.Is(err, unix.EEXIST) {
			return fmt.Errorf("load the module %s: %w", e.Name(), err)
		}
	}
	return nil
}

// openPort waits for the port, which comes to be a moment after its driver.
func openPort() (*os.File, error) {
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		names, err := filepath.Glob("/sys/class/virtio-ports/*/name")
		if err != nil {
			return nil, err
		}
		for _, n := range names {
			b, err := os.ReadFile(n)
			if err != nil || strings.TrimSpace(string(b)) != Port {
				continue
			}
			// Opened by its path, and so in blocking mode: the driver's polling tells the
			// runtime of a host that is gone in ways that it doesn't expect.
			fd, err := unix.Open("/dev/"+filepath.Base(filepath.Dir(n)), unix.O_RDWR|unix.O_CLOEXEC, 0)
			if errors.Is(err, unix.ENOENT) {
				continue
			}
			if err != nil {
				return nil, fmt.Errorf("open the port: %w", err)
			}
			return os.NewFile(uintptr(fd), Port), nil
		}
	}
	return nil, errors.New("the machine has no port " + Port)
}

// enter makes dir the root of the system, as a start program does, and lays over it what
// no disk holds. What lies in the tree meanwhile is whatever packages left there: nothing
// of it is followed that leads elsewhere. What can't be a root for that is Invalid.
func enter(dir string) error {
	if err := os.Chdir(dir); err != nil {
		return err
	}
	for _, name := range []string{"proc", "sys", "dev"} {
		if info, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			if err := os.Mkdir(name, 0o755); err != nil {
				return err
			}
		} else if err != nil || !info.IsDir() {
			return albs.Errorf(albs.Invalid, "the system can't be started: its /%s is no folder", name)
		}
		if err := unix.Mount("/"+name, name, "", unix.MS_MOVE, ""); err != nil {
			return fmt.Errorf("mount /%s: %w", name, err)
		}
	}
	if err := unix.Mount(".", "/", "", unix.MS_MOVE, ""); err != nil {
		return fmt.Errorf("change to the root: %w", err)
	}
	if err := unix.Chroot("."); err != nil {
		return fmt.Errorf("change to the root: %w", err)
	}
	if err := os.Chdir("/"); err != nil {
		return err
	}
	for _, m := range []mountPoint{
		{"devpts", "/dev/pts", "devpts", unix.MS_NOSUID | unix.MS_NOEXEC, "mode=0620,gid=5,ptmxmode=0666"},
		{"tmpfs", "/dev/shm", "tmpfs", unix.MS_NOSUID | unix.MS_NODEV, "mode=1777"},
		{"cgroup2", groups, "cgroup2", unix.MS_NOSUID | unix.MS_NODEV | unix.MS_NOEXEC, ""},
	} {
		if err := m.mount(); err != nil {
			return err
		}
	}
	for link, target := range map[string]string{"fd": "/proc/self/fd", "stdin": "fd/0", "stdout": "fd/1", "stderr": "fd/2"} {
		if err := os.Symlink(target, "/dev/"+link); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	if err := os.WriteFile(groups+"/cgroup.subtree_control", []byte("+pids +memory"), 0); err != nil {
		return fmt.Errorf("hand out control groups: %w", err)
	}
	return unix.Sethostname([]byte("albs"))
}
