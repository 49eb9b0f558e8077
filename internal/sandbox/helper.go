package sandbox

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/cargo"
	"albs/internal/sandbox/examine"
	"albs/internal/sandbox/loopback"
)

// The helper is this program again, as process 1 of fresh user, mount and process
// namespaces. It is started under the name enterName and waits there: only from
// outside can newuidmap give the namespace its ids. Having them, it executes itself
// once more, as initName, because capabilities come to root of a namespace with an
// execve and not before. Then it reads its job, mounts, does the job and ends; with
// it end all its processes and mounts.
const (
	enterName = "albs-sandbox-enter"
	initName  = "albs-sandbox-init"
)

// Descriptors that the helper inherits.
const (
	controlFD = 3 // a SOCK_SEQPACKET pair; its end means that the parent is gone
	jobFD     = 4 // the job as JSON
)

// stage is where the helper gathers what a job works on: a tmpfs in its own mount
// namespace. The folders of the engine may lie under a path that only its owner can
// enter; the uid that runs the build couldn't reach them there.
const stage = "/tmp"

// rootName is the root's name on the stage.
const rootName = "root"

// job is what a helper is told to do.
type job struct {
	Op      string         `json:"op"`
	Mounts  []mount        `json:"mounts,omitempty"`
	Ports   []int          `json:"ports,omitempty"` // loopback ports to listen at in the helper's own network
	folders map[int]string // ports that the parent answers itself, out of a host folder
	Argv    []string       `json:"argv,omitempty"`
	Env     []string       `json:"env,omitempty"`
	Program string         `json:"program,omitempty"` // must be there in the root, unless ""
	UID     int            `json:"uid,omitempty"`     // of Argv, in the namespace
	Hide    []string       `json:"hide,omitempty"`    // folders of the host that Argv sees empty, its own to write
	Began   string         `json:"began,omitempty"`   // a file that Argv makes; unless "", it has failed without
	Limits  rlimits        `json:"limits"`
	Disk    int64          `json:"disk,omitempty"`  // bytes that may lie below Watch
	Watch   []string       `json:"watch,omitempty"` // host folders
	Path    string         `json:"path,omitempty"`  // of the file operations
	Suffix  string         `json:"suffix,omitempty"`
	Limit   int64          `json:"limit,omitempty"` // bytes
	Owner   int            `json:"owner,omitempty"`
}

// Operations of the helper.
const (
	opExec    = "exec"    // run Argv
	opImport  = "import"  // write the files of a tar on stdin into the root
	opExport  = "export"  // write the regular files below Path that end in Suffix as a tar to stdout
	opRead    = "read"    // write the file Path to stdout
	opExamine = "examine" // answer the questions on stdin to stdout
	opPrepare = "prepare" // give a new base its build user and folder
	opRemove  = "remove"  // delete the host folder Path
	opMeasure = "measure" // write to stdout how many bytes lie in the host folder Path
)

// mount is one folder on the stage. With Upper set it is an overlay of Source, and of
// Middle before that if there is one.
type mount struct {
	Name   string `json:"name"`
	Source string `json:"source"`
	Middle string `json:"middle,omitempty"`
	Upper  string `json:"upper,omitempty"`
	Work   string `json:"work,omitempty"`
}

// written returns the host folder that gets what is written to the mount.
func (m mount) written() string {
	if m.Upper != "" {
		return m.Upper
	}
	return m.Source
}

// rlimits are what the kernel bounds in each process by itself.
type rlimits struct {
	Processes int   `json:"processes,omitempty"`
	File      int64 `json:"file,omitempty"`
	CPU       int64 `json:"cpu,omitempty"` // seconds
}

// report is what the helper says of its end, and before it with descriptors that it
// listens.
type report struct {
	Listening int       `json:"listening,omitempty"`
	Done      bool      `json:"done,omitempty"`
	Exit      int       `json:"exit,omitempty"`
	Error     string    `json:"error,omitempty"`
	Kind      albs.Kind `json:"kind,omitempty"` // of Error, where it is no fault of the helper
	Full      bool      `json:"full,omitempty"` // the disk limit was passed
}

// initialised tells New and Detect that this program can act as the helper.
var initialised atomic.Bool

// MaybeInit turns the process into the sandbox's helper if it was started as one,
// and then never returns. main and TestMain of every program that uses the package
// call it before anything else; without it New refuses to work.
func MaybeInit() {
	initialised.Store(true)
	if len(os.Args) == 0 {
		return
	}
	switch os.Args[0] {
	case enterName:
		enter()
	case initName:
		os.Exit(helper())
	}
}

// enter waits until the parent has mapped the ids.
func enter() {
	b := make([]byte, 1)
	if n, err := syscall.Read(controlFD, b); err != nil || n != 1 {
		os.Exit(1)
	}
	err := syscall.Exec("/proc/self/exe", []string{initName}, helperEnv)
	fmt.Fprintln(os.Stderr, "sandbox helper:", err)
	os.Exit(1)
}

// helper does the one job.
func helper() int {
	// The service's own may keep its files from others; inside, others are the build
	// user, and modes must not depend on how the service was started.
	syscall.Umask(0o022)
	syscall.CloseOnExec(controlFD)
	syscall.CloseOnExec(jobFD)
	r, err := func() (report, error) {
		var j job
		f := os.NewFile(jobFD, "job")
		if err := json.NewDecoder(f).Decode(&j); err != nil {
			return report{}, fmt.Errorf("read the job: %w", err)
		}
		f.Close()
		return j.run()
	}()
	if err != nil {
		r.Error = err.Error()
	}
	r.Done = true
	if err := tell(r, nil); err != nil {
		return 1
	}
	return 0
}

// tell sends r to the parent.
func tell(r report, rights []byte) error {
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	return unix.Sendmsg(controlFD, b, rights, nil, unix.MSG_NOSIGNAL)
}

func (j *job) run() (report, error) {
	// The parent never writes after its first byte: this read ends when it is gone.
	go func() {
		syscall.Read(controlFD, make([]byte, 1))
		os.Exit(1)
	}()
	switch j.Op {
	case opRemove:
		return report{}, os.RemoveAll(j.Path)
	case opMeasure:
		_, err := fmt.Print(heldBy(j.Path))
		return report{}, err
	}
	if err := j.setUp(); err != nil {
		return report{}, err
	}
	switch j.Op {
	case opExec:
		return j.exec()
	case opImport:
		return inRoot(func(r *os.Root) error { return cargo.Import(r, os.Stdin) })
	case opExport:
		return inRoot(func(r *os.Root) error { return cargo.Export(r, j.Path, j.Suffix, j.Limit, os.Stdout) })
	case opRead:
		return inRoot(func(r *os.Root) error { return cargo.Read(r, j.Path, j.Limit, os.Stdout) })
	case opExamine:
		root, err := os.Open(filepath.Join(stage, rootName))
		if err != nil {
			return report{}, err
		}
		defer root.Close()
		return report{}, examine.Serve(root, os.Stdin, os.Stdout)
	case opPrepare:
		return report{}, j.prepare()
	}
	return report{}, fmt.Errorf("no operation %q", j.Op)
}

// setUp makes the stage.
func (j *job) setUp() error {
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make mounts private: %w", err)
	}
	// The host's /proc numbers processes otherwise, which confuses bubblewrap.
	if err := unix.Mount("proc", "/proc", "proc", unix.MS_NOSUID|unix.MS_NODEV|unix.MS_NOEXEC, ""); err != nil {
		return fmt.Errorf("mount /proc: %w", err)
	}
	if len(j.Ports) > 0 {
		err := loopback.Listen(j.Ports, func(fds []int) error { return tell(report{Listening: len(fds)}, unix.UnixRights(fds...)) })
		if err != nil {
			return err
		}
	}
	// Open first: the stage may cover the folders.
	type opened struct{ source, middle, upper, work string }
	open := func(path string) (string, error) {
		if path == "" {
			return "", nil
		}
		fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
		if err != nil {
			return "", fmt.Errorf("open %s: %w", path, err)
		}
		return fmt.Sprintf("/proc/self/fd/%d", fd), nil
	}
	at := make([]opened, len(j.Mounts))
	for i, m := range j.Mounts {
		var errs [4]error
		at[i].source, errs[0] = open(m.Source)
		at[i].upper, errs[1] = open(m.Upper)
		at[i].work, errs[2] = open(m.Work)
		at[i].middle, errs[3] = open(m.Middle)
		if err := errors.Join(errs[:]...); err != nil {
			return err
		}
	}
	for i, path := range j.Watch {
		p, err := open(path)
		if err != nil {
			return err
		}
		j.Watch[i] = p
	}
	if err := unix.Mount("tmpfs", stage, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755"); err != nil {
		return fmt.Errorf("mount the stage: %w", err)
	}
	for i, m := range j.Mounts {
		target := filepath.Join(stage, m.Name)
		info, err := os.Stat(at[i].source)
		if err != nil {
			return err
		}
		if info.IsDir() {
			err = os.Mkdir(target, 0o755)
		} else {
			err = os.WriteFile(target, nil, 0o644)
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Name, err)
		}
		if m.Upper != "" {
			lower := at[i].source
			if m.Middle != "" {
				lower = at[i].middle + ":" + lower
			}
			options := fmt.Sprintf("lowerdir=%s,upperdir=%s,workdir=%s,userxattr", lower, at[i].upper, at[i].work)
			err = unix.Mount("overlay", target, "overlay", 0, options)
		} else {
			err = unix.Mount(at[i].source, target, "", unix.MS_BIND|unix.MS_REC, "")
		}
		if err != nil {
			return fmt.Errorf("mount %s: %w", m.Name, err)
		}
	}
	for _, dir := range j.Hide {
		err := unix.Mount("tmpfs", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "mode=755")
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("hide %s: %w", dir, err)
		}
	}
	return nil
}

// exec runs the program and reaps whatever is left to process 1.
func (j *job) exec() (report, error) {
	if j.Program != "" {
		there, err := hasProgram(j.Program)
		if err != nil {
			return report{}, err
		}
		if !there {
			return report{Error: "the root has no program " + j.Program, Kind: albs.NotFound}, nil
		}
	}
	argv, err := j.Limits.wrap(j.Argv)
	if err != nil {
		return report{}, err
	}
	// A build that eats the machine's memory shall be what the kernel ends first.
	os.WriteFile("/proc/self/oom_score_adj", []byte("900"), 0)
	full := make(chan struct{})
	if j.Disk > 0 {
		go j.watch(full)
	}
	attr := &os.ProcAttr{Env: j.Env, Dir: "/", Files: []*os.File{os.Stdin, os.Stdout, os.Stderr}}
	if j.UID != 0 {
		attr.Sys = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uint32(j.UID), Gid: uint32(j.UID)}}
	}
	p, err := os.StartProcess(argv[0], argv, attr)
	if err != nil {
		return report{}, fmt.Errorf("start %s: %w", argv[0], err)
	}
	ended := make(chan report, 1)
	go func() {
		for {
			var status syscall.WaitStatus
			pid, err := syscall.Wait4(-1, &status, 0, nil)
			switch {
			case err == syscall.EINTR:
			case err != nil:
				ended <- report{Error: fmt.Sprintf("wait for %s: %v", j.Argv[0], err)}
				return
			case pid == p.Pid && status.Signaled():
				ended <- report{Exit: 128 + int(status.Signal())}
				return
			case pid == p.Pid && status.Exited():
				ended <- report{Exit: status.ExitStatus()}
				return
			}
		}
	}()
	select {
	case r := <-ended:
		if j.Began == "" || r.Error != "" {
			return r, nil
		}
		if _, err := os.Lstat(j.Began); err != nil {
			return report{Error: fmt.Sprintf("%s ended with code %d before the program began", filepath.Base(j.Argv[0]), r.Exit), Kind: albs.Unavailable}, nil
		}
		return r, nil
	case <-full:
		return report{Full: true}, nil
	}
}

// hasProgram reports whether the root has a program that would be found under name.
// bubblewrap tells of one that isn't there no otherwise than of one that failed. Where
// a link on the way leads by an absolute path, which os.Root takes for an escape, it is
// taken to be there.
func hasProgram(name string) (bool, error) {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return false, err
	}
	defer root.Close()
	paths := []string{name}
	if !strings.Contains(name, "/") {
		paths = paths[:0]
		for dir := range strings.SplitSeq(searchPath, ":") {
			paths = append(paths, dir+"/"+name)
		}
	}
	for _, p := range paths {
		if _, err := root.Lstat(strings.TrimLeft(p, "/")); !errors.Is(err, fs.ErrNotExist) {
			return true, nil
		}
	}
	return false, nil
}

// wrap returns argv under the limits. They are set by prlimit after the helper has let
// go of the process: a helper under them could start no thread any more when the work
// has taken all that is allowed.
func (l rlimits) wrap(argv []string) ([]string, error) {
	words, err := l.words()
	if err != nil {
		return nil, err
	}
	args := []string{"/usr/bin/prlimit"}
	for _, w := range words {
		args = append(args, "--"+w)
	}
	return slices.Concat(args, []string{"--"}, argv), nil
}

// words returns the limits as NAME=SOFT:HARD, which prlimit understands and podman too.
func (l rlimits) words() ([]string, error) {
	words := []string{"core=0:0"}
	for _, b := range []struct {
		name string
		what int
		n    int64
	}{
		{"nofile", unix.RLIMIT_NOFILE, 16384},
		{"nproc", unix.RLIMIT_NPROC, int64(l.Processes)},
		{"fsize", unix.RLIMIT_FSIZE, l.File},
		{"cpu", unix.RLIMIT_CPU, l.CPU},
	} {
		if b.n <= 0 {
			continue
		}
		var have syscall.Rlimit
		if err := syscall.Getrlimit(b.what, &have); err != nil {
			return nil, fmt.Errorf("read the limit %s: %w", b.name, err)
		}
		n := min(uint64(b.n), have.Max)
		words = append(words, fmt.Sprintf("%s=%d:%d", b.name, n, n))
	}
	return words, nil
}

// watch closes full once the watched folders hold more than the limit. No quota can
// be set without real root, so it looks; looking takes at most a twentieth of the time.
func (j *job) watch(full chan<- struct{}) {
	for {
		began := time.Now()
		var sum int64
		for _, dir := range j.Watch {
			sum += heldBy(dir)
		}
		if sum > j.Disk {
			close(full)
			return
		}
		time.Sleep(max(time.Second, 20*time.Since(began)))
	}
}

// heldBy returns how many bytes of disk the files in dir take, as far as they can be seen.
func heldBy(dir string) (sum int64) {
	filepath.WalkDir(dir+"/.", func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // it may have gone meanwhile
		}
		if info, err := d.Info(); err == nil {
			if st, ok := info.Sys().(*syscall.Stat_t); ok {
				sum += st.Blocks * 512
			}
		}
		return nil
	})
	return sum
}

// prepare gives a base what every root needs and no package brings: the build user,
// its home and the work folder in it.
func (j *job) prepare() error {
	root, err := os.OpenRoot(filepath.Join(stage, rootName))
	if err != nil {
		return err
	}
	defer root.Close()
	for file, line := range map[string]string{
		"etc/passwd": "mockbuild:x:1000:1000:build user:/builddir:/bin/sh\n",
		"etc/group":  "mockbuild:x:1000:\n",
	} {
		if err := ensureID(root, file, line); err != nil {
			return fmt.Errorf("add the build user to /%s: %w", file, err)
		}
	}
	if err := root.Mkdir("builddir", 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("make /builddir: %w", err)
	}
	if err := root.Lchown("builddir", j.Owner, j.Owner); err != nil {
		return fmt.Errorf("make /builddir: %w", err)
	}
	for _, dir := range []string{"tmp", "var/tmp"} {
		if err := root.MkdirAll(dir, 0o755); err != nil {
			return fmt.Errorf("make /%s: %w", dir, err)
		}
		if err := root.Chmod(dir, 0o777|fs.ModeSticky); err != nil {
			return fmt.Errorf("make /%s: %w", dir, err)
		}
	}
	return nil
}

// ensureID appends line to a passwd or group file unless the id is taken.
func ensureID(root *os.Root, file, line string) error {
	b, err := root.ReadFile(file)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	for l := range strings.Lines(string(b)) {
		if f := strings.SplitN(l, ":", 4); len(f) > 2 && f[2] == "1000" {
			return nil
		}
	}
	if err := root.MkdirAll("etc", 0o755); err != nil {
		return err
	}
	w, err := root.OpenFile(file, os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	_, err = io.WriteString(w, line)
	return errors.Join(err, w.Close())
}
