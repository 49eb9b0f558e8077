// Package agent is what runs in the machines of tests: this program again, as the first
// process of a guest's kernel. It makes the guest's root ready, says so over the machine's
// port, and does there what the host asks: run a program, lay files down, read one, look
// at some, switch off.
//
// It owns the conversation and both ends' bounds of it; it knows nothing of how a machine
// is made. What a guest says comes from where foreign code runs as root: the host takes it
// for data. Invariants: when a program's Done is said, all that it started is dead; one
// request at a time.
package agent

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/cargo"
	"albs/internal/sandbox/examine"
)

// serve does what is asked over port until it is told to switch off, or the host is gone.
func serve(port io.ReadWriter, hello Hello) error {
	r, w := NewReader(port), NewWriter(port)
	if err := w.JSON(FrameHello, hello); err != nil {
		return err
	}
	for {
		f, err := r.Next()
		if err != nil {
			return err
		}
		var q Request
		if f.Type != FrameRequest {
			return fmt.Errorf("a frame of kind %q came instead of a request", f.Type)
		}
		if err := f.Decode(&q); err != nil {
			return err
		}
		if q.Op == OpOff {
			return nil
		}
		if err := answer(q, r, w); err != nil {
			return err
		}
	}
}

// answer does one request, whose input it reads to its end.
func answer(q Request, r *Reader, w *Writer) error {
	pr, pw := io.Pipe()
	said := make(chan error, 1)
	go func() {
		d := q.do(pr, w.Stream(FrameOutput), w.Stream(FrameErrors))
		pr.Close() // who still writes has nobody to read it
		said <- w.JSON(FrameDone, d)
	}()
	for {
		f, err := r.Next()
		switch {
		case err != nil:
		case f.Type == FrameInput:
			_, _ = pw.Write(f.Body) // what isn't wanted is let go
			continue
		case f.Type == FrameEnd:
			pw.Close()
			return <-said
		default:
			err = fmt.Errorf("a frame of kind %q came instead of input", f.Type)
		}
		pw.CloseWithError(err)
		return err
	}
}

// do does what is asked. Errors of the root's content are its own; the others the agent's.
func (q Request) do(in io.Reader, out, errs io.Writer) Done {
	if q.Op == OpRun {
		return q.run(in, out, errs)
	}
	err := func() error {
		switch q.Op {
		case OpImport, OpRead:
			root, err := os.OpenRoot("/")
			if err != nil {
				return err
			}
			defer root.Close()
			if q.Op == OpImport {
				return cargo.Import(root, in)
			}
			return cargo.Read(root, q.Path, q.Limit, out)
		case OpExamine:
			root, err := os.Open("/")
			if err != nil {
				return err
			}
			defer root.Close()
			return examine.Serve(root, in, out)
		}
		return fmt.Errorf("no operation %q", q.Op)
	}()
	if err == nil {
		return Done{}
	}
	if _, ok := errors.AsType[*cargo.ContentError](err); ok {
		return Done{Error: err.Error(), Kind: albs.Invalid}
	}
	return Done{Error: err.Error()}
}

// run runs a program, and ends with it all that it started.
func (q Request) run(in io.Reader, out, errs io.Writer) Done {
	if len(q.Argv) == 0 {
		return Done{Error: "there is no program to run", Kind: albs.Invalid}
	}
	name, err := lookPath(q.Argv[0], q.Env)
	if err != nil {
		return Done{Error: fmt.Sprintf("the root has no program %.200s", q.Argv[0]), Kind: albs.NotFound}
	}
	bounds, err := bound(q.Processes, q.Memory)
	if err != nil {
		return Done{Error: err.Error()}
	}
	defer bounds.Close()

	var files [3]*os.File // the program's ends
	var ours [3]*os.File
	for i := range files {
		r, w, err := os.Pipe()
		if err != nil {
			return Done{Error: err.Error()}
		}
		files[i], ours[i] = w, r
		if i == 0 {
			files[i], ours[i] = r, w
		}
		defer files[i].Close()
		defer ours[i].Close()
	}
	attr := &os.ProcAttr{Dir: q.Dir, Env: q.Env, Files: files[:], Sys: &syscall.SysProcAttr{
		Setsid: true, UseCgroupFD: true, CgroupFD: int(bounds.Fd()),
	}}
	if q.UID != 0 {
		attr.Sys.Credential = &syscall.Credential{Uid: uint32(q.UID), Gid: uint32(q.UID)}
	}
	p, err := start(name, q.Argv, attr, q.I686)
	if err != nil { // its interpreter isn't there, it isn't for this machine, its folder is gone
		fmt.Fprintf(errs, "%v\n", err)
		return Done{Exit: 126}
	}
	for _, f := range files {
		f.Close()
	}
	go func() {
		_, _ = io.Copy(ours[0], in)
		ours[0].Close()
	}()
	var said sync.WaitGroup
	for i, w := range map[int]io.Writer{1: out, 2: errs} {
		said.Go(func() { _, _ = io.Copy(w, ours[i]) }) // the host is gone where that fails
	}
	d := reap(p.Pid)
	said.Wait()
	if bounds.outOfMemory() {
		d = Done{Error: fmt.Sprintf("the work was ended: it needed more than %d bytes of memory", q.Memory), Kind: albs.Invalid}
	}
	return d
}

// start starts a program, on a thread that says it is of 32 bits where that is wanted.
func start(name string, argv []string, attr *os.ProcAttr, i686 bool) (*os.Process, error) {
	if !i686 {
		return os.StartProcess(name, argv, attr)
	}
	const linux32 = 0x0008
	type started struct {
		p   *os.Process
		err error
	}
	c := make(chan started)
	go func() {
		runtime.LockOSThread() // and never unlocks: the thread ends with the goroutine
		var s started
		if _, _, errno := unix.RawSyscall(unix.SYS_PERSONALITY, linux32, 0, 0); errno != 0 {
			s.err = errno
		} else {
			s.p, s.err = os.StartProcess(name, argv, attr)
		}
		c <- s
	}()
	s := <-c
	return s.p, s.err
}

// reap waits for the end of the process pid, ends all others, and says how it ended. All
// processes are those of the one request: there are no others in the guest.
func reap(pid int) Done {
	var d Done
	left := true
	for left {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		switch {
		case err == syscall.EINTR:
		case err != nil: // there is none any more
			left = false
		case got == pid:
			d = Done{Exit: status.ExitStatus()}
			if status.Signaled() {
				d.Exit = 128 + int(status.Signal())
			}
			// All at once, and none can be forked meanwhile: the kernel sees to that.
			_ = syscall.Kill(-1, syscall.SIGKILL)
		}
	}
	return d
}

// lookPath finds a program as a shell does.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		_, err := os.Stat(name)
		return name, err
	}
	for _, v := range env {
		dirs, ok := strings.CutPrefix(v, "PATH=")
		if !ok {
			continue
		}
		for dir := range strings.SplitSeq(dirs, ":") {
			p := filepath.Join(dir, name)
			if info, err := os.Stat(p); err == nil && info.Mode().IsRegular() && info.Mode()&0o111 != 0 {
				return p, nil
			}
		}
	}
	return "", exec.ErrNotFound
}

// groups is where the guest's control groups are mounted.
const groups = "/sys/fs/cgroup"

// group is the control group of one request.
type group struct {
	*os.File
	dir string
}

// bound makes a group for a program. The groups of earlier ones, which are empty, go.
func bound(processes int, memory int64) (*group, error) {
	dir := filepath.Join(groups, "work")
	_ = removeGroups(dir)
	if err := os.Mkdir(dir, 0o755); err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	for file, n := range map[string]int64{"pids.max": int64(processes), "memory.max": memory} {
		if n <= 0 {
			continue
		}
		if err := os.WriteFile(filepath.Join(dir, file), strconv.AppendInt(nil, n, 10), 0); err != nil {
			return nil, fmt.Errorf("bound the program: %w", err)
		}
	}
	f, err := os.Open(dir)
	if err != nil {
		return nil, fmt.Errorf("make a control group: %w", err)
	}
	return &group{f, dir}, nil
}

// removeGroups removes a group with those that a program made below it.
func removeGroups(dir string) error {
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if e.IsDir() {
			err = errors.Join(err, removeGroups(filepath.Join(dir, e.Name())))
		}
	}
	return errors.Join(err, os.Remove(dir))
}

// outOfMemory reports whether the kernel ended a process for its memory.
func (g *group) outOfMemory() bool {
	b, err := os.ReadFile(filepath.Join(g.dir, "memory.events"))
	if err != nil {
		return false
	}
	for line := range strings.Lines(string(b)) {
		if n, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(n) != "0"
		}
	}
	return false
}
