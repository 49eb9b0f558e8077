package sandbox

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/sandbox/cgroup"
	"albs/internal/sandbox/loopback"
)

// Limits bound one program in a root, with all that it starts. Zero takes the engine's
// own; less is Invalid.
type Limits struct {
	Time      time.Duration // from start to end
	Silence   time.Duration // without any output
	Memory    int64         // bytes, all processes together; needs cgroups
	Processes int           // processes and threads
	Disk      int64         // bytes written, all files together
	Output    int64         // bytes of output; more is never passed on
	CPUs      float64       // cores; needs cgroups
}

// or returns l with what is zero taken from d.
func (l Limits) or(d Limits) Limits {
	or := func(a *int64, b int64) {
		if *a == 0 {
			*a = b
		}
	}
	or((*int64)(&l.Time), int64(d.Time))
	or((*int64)(&l.Silence), int64(d.Silence))
	or(&l.Memory, d.Memory)
	or(&l.Disk, d.Disk)
	or(&l.Output, d.Output)
	if l.Processes == 0 {
		l.Processes = d.Processes
	}
	if l.CPUs == 0 {
		l.CPUs = d.CPUs
	}
	return l
}

// Check refuses what is below zero, as Invalid: it would read as no limit at all.
func (l Limits) Check() error {
	if l.Time < 0 || l.Silence < 0 || l.Memory < 0 || l.Processes < 0 || l.Disk < 0 || l.Output < 0 || l.CPUs < 0 {
		return albs.Errorf(albs.Invalid, "a limit is below zero: %+v", l)
	}
	return nil
}

// rlimits returns the part of l that holds for each process by itself.
func (l Limits) rlimits() rlimits {
	return rlimits{Processes: l.Processes, File: l.Disk, CPU: int64(l.Time.Seconds()*max(1, l.CPUs)) + 1}
}

// Defaults of Limits.
var defaults = Limits{
	Time:      24 * time.Hour,
	Silence:   2 * time.Hour,
	Memory:    16 << 30,
	Processes: 8192,
	Disk:      64 << 30,
	Output:    1 << 30,
	CPUs:      float64(runtime.NumCPU()),
}

// stdio are a step's streams; nil is nothing.
type stdio struct {
	in       io.Reader
	out, err io.Writer
}

// flow counts output and remembers when the last came.
type flow struct {
	most  int64 // 0: no limit
	total atomic.Int64
	last  atomic.Int64 // unix nanoseconds
}

// meter passes output on to w and counts it in the flow. Beyond the limit it swallows:
// much can come before watch looks next.
type meter struct {
	*flow
	w io.Writer
}

func (m *meter) Write(p []byte) (int, error) {
	total := m.total.Add(int64(len(p)))
	m.last.Store(time.Now().UnixNano())
	if m.most > 0 && total > m.most {
		return len(p), nil
	}
	return m.w.Write(p)
}

func (f *flow) tooMuch() bool { return f.most > 0 && f.total.Load() > f.most }

func tooMuchOutput(lim Limits) error {
	return albs.Errorf(albs.Invalid, "the work was ended: it wrote more than %d bytes of log", lim.Output)
}

// step starts a helper for j, waits for its end and returns the exit code of its
// program. hostNet leaves it in the host's network. When ctx ends or a limit is
// passed, the helper is killed, and the kernel kills all below it before step returns.
// A passed limit is an Invalid error; what the helper says of a kind comes as that.
func (e *Engine) step(ctx context.Context, j *job, s stdio, lim Limits, hostNet bool) (int, error) {
	if err := ctx.Err(); err != nil {
		return 0, err
	}
	jobFile, err := memfile("albs-job", j)
	if err != nil {
		return 0, err
	}
	defer jobFile.Close()
	control, inner, err := pair()
	if err != nil {
		return 0, err
	}
	defer control.Close()
	defer inner.Close()

	cmd := exec.Command("/proc/self/exe")
	cmd.Args = []string{enterName}
	cmd.Env = helperEnv
	cmd.ExtraFiles = []*os.File{inner, jobFile}
	cmd.WaitDelay = 10 * time.Second
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setsid:     true,
		Cloneflags: syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS | syscall.CLONE_NEWPID | syscall.CLONE_NEWIPC,
	}
	if !hostNet {
		cmd.SysProcAttr.Cloneflags |= syscall.CLONE_NEWNET
	}
	out := &flow{most: lim.Output}
	out.last.Store(time.Now().UnixNano())
	lost := &limitedBuffer{left: 4096} // what nobody else wants of stderr: maybe the helper's last words
	cmd.Stdin = s.in
	if s.out != nil {
		cmd.Stdout = &meter{out, s.out}
	}
	switch {
	case s.err != nil && s.err == s.out:
		cmd.Stderr = cmd.Stdout
	case s.err != nil:
		cmd.Stderr = &meter{out, s.err}
	default:
		cmd.Stderr = lost
	}
	if err := cmd.Start(); err != nil {
		return 0, fmt.Errorf("start the sandbox helper: %w", err)
	}
	inner.Close()

	group, err := e.cgroups.Make(cgroup.Limits{Memory: lim.Memory, Processes: lim.Processes, CPUs: lim.CPUs})
	if err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), reap(cmd))
	}
	defer group.Close() // after its processes have ended
	if err = e.admit(ctx, cmd.Process.Pid, group); err == nil {
		_, err = control.Write([]byte{1})
	}
	if err != nil {
		return 0, errors.Join(err, cmd.Process.Kill(), reap(cmd))
	}

	// Two goroutines live as long as the helper: one listens to it, one watches over it.
	var wg sync.WaitGroup
	var last report
	watchCtx, stop := context.WithCancel(ctx)
	wg.Go(func() { last = listenTo(watchCtx, control, j) })
	var cause error
	wg.Go(func() { cause = watch(watchCtx, ctx, cmd, out, lim) })
	waitErr := cmd.Wait()
	stop()
	control.CloseRead()
	wg.Wait()

	switch {
	case ctx.Err() != nil:
		return 0, context.Cause(ctx)
	case cause != nil:
		return 0, cause
	case out.tooMuch(): // it ended before watch saw it
		return 0, tooMuchOutput(lim)
	case last.Full:
		return 0, albs.Errorf(albs.Invalid, "the work was ended: it wrote more than %d bytes to disk", lim.Disk)
	case group.OutOfMemory():
		return 0, albs.Errorf(albs.Invalid, "the work was ended: it needed more than %d bytes of memory", lim.Memory)
	case last.Kind != "":
		return 0, albs.Errorf(last.Kind, "%s", last.Error)
	case last.Error != "":
		return 0, fmt.Errorf("sandbox helper: %s", last.Error)
	case !last.Done:
		return 0, fmt.Errorf("the sandbox helper ended before its work (%v): %s", waitErr, lost.b.String())
	}
	return last.Exit, nil
}

// reap waits for a process that was just killed; how it ended is no news.
func reap(cmd *exec.Cmd) error {
	err := cmd.Wait()
	if _, ok := errors.AsType[*exec.ExitError](err); ok {
		return nil
	}
	return err
}

// admit puts the waiting helper under its cgroup and maps its ids.
func (e *Engine) admit(ctx context.Context, pid int, group *cgroup.Group) error {
	if err := group.Add(pid); err != nil {
		return err
	}
	return e.ids.Map(ctx, pid)
}

// listenTo reads the helper's reports and carries its connections until it ends.
func listenTo(ctx context.Context, control *net.UnixConn, j *job) report {
	var wg sync.WaitGroup
	defer wg.Wait()
	b := make([]byte, 64<<10)
	oob := make([]byte, unix.CmsgSpace(4*max(1, len(j.Ports))))
	for {
		n, oobn, _, _, err := control.ReadMsgUnix(b, oob)
		if err != nil || n == 0 {
			return report{}
		}
		var r report
		if err := json.Unmarshal(b[:n], &r); err != nil {
			return report{Done: true, Error: "it sent no report: " + err.Error()}
		}
		if r.Done {
			return r
		}
		sockets := received(oob[:oobn])
		if len(sockets) != len(j.Ports) {
			return report{Done: true, Error: fmt.Sprintf("it listens at %d of %d ports", len(sockets), len(j.Ports))}
		}
		wg.Go(func() { loopback.Carry(ctx, sockets, j.Ports, j.folders) })
	}
}

// received returns the files of a control message.
func received(oob []byte) []*os.File {
	messages, err := unix.ParseSocketControlMessage(oob)
	if err != nil {
		return nil
	}
	var files []*os.File
	for _, m := range messages {
		fds, err := unix.ParseUnixRights(&m)
		if err != nil {
			continue
		}
		for _, fd := range fds {
			unix.CloseOnExec(fd)
			files = append(files, os.NewFile(uintptr(fd), "socket"))
		}
	}
	return files
}

// watch kills the helper when task ends or a limit is passed, and says which; it
// returns nil when done ends first.
func watch(done, task context.Context, cmd *exec.Cmd, out *flow, lim Limits) error {
	began := time.Now()
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-done.Done():
			if task.Err() != nil {
				cmd.Process.Kill()
			}
			return nil
		case now := <-tick.C:
			var why error
			switch {
			case lim.Time > 0 && now.Sub(began) > lim.Time:
				why = albs.Errorf(albs.Invalid, "the work was ended: it took longer than %v", lim.Time)
			case lim.Silence > 0 && now.Sub(time.Unix(0, out.last.Load())) > lim.Silence:
				why = albs.Errorf(albs.Invalid, "the work was ended: it was silent for more than %v", lim.Silence)
			case out.tooMuch():
				why = tooMuchOutput(lim)
			default:
				continue
			}
			cmd.Process.Kill()
			return why
		}
	}
}

// memfile returns an unnamed file with v as JSON, to be read from its start.
func memfile(name string, v any) (*os.File, error) {
	b, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	fd, err := unix.MemfdCreate(name, unix.MFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("write %s: %w", name, err)
	}
	f := os.NewFile(uintptr(fd), name)
	if _, err := f.Write(b); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	if _, err := f.Seek(0, io.SeekStart); err != nil {
		return nil, errors.Join(fmt.Errorf("write %s: %w", name, err), f.Close())
	}
	return f, nil
}

// pair returns the two ends of the control socket.
func pair() (*net.UnixConn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, fmt.Errorf("make a control socket: %w", err)
	}
	outer, inner := os.NewFile(uintptr(fds[0]), "control"), os.NewFile(uintptr(fds[1]), "control")
	defer outer.Close()
	c, err := net.FileConn(outer)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("make a control socket: %w", err), inner.Close())
	}
	return c.(*net.UnixConn), inner, nil
}

// limitedBuffer keeps the first bytes and swallows the rest.
type limitedBuffer struct {
	b    bytes.Buffer
	left int
}

func (l *limitedBuffer) Write(p []byte) (int, error) {
	n := min(l.left, len(p))
	l.b.Write(p[:n])
	l.left -= n
	return len(p), nil
}
