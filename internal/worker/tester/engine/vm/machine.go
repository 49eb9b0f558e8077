package vm

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"strconv"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine/vm/agent"
)

// Times that a machine has, on a host that is busy.
const (
	startTime = 3 * time.Minute // to say that it is ready; four times that where it is emulated
	offTime   = time.Minute     // to end by itself
)

const (
	aside      = 256 << 20 // bytes of a machine's memory that are the kernel's and the agent's
	beside     = 512 << 20 // bytes that qemu and the file server take beside it
	consoleEnd = 4 << 10   // bytes of a console that are kept
	endless    = 1 << 60
)

// script starts the server of the root's files, and then the machine that uses it.
const script = `fs=$1; shift
"$fs" -f --socket-path=/tmp/root.socket -o source=` + sandbox.WorkshopDir + `,sandbox=chroot,xattr,cache=always </dev/null >&2 &
while ! [ -S /tmp/root.socket ]; do kill -0 $! || exit 1; sleep 0.01; done
exec "$@"`

// arguments returns qemu's. Nothing is there that isn't named: no disk, no screen, no
// monitor, and a network device only for who has a network. The conversation with the
// agent is over qemu's own standard input and output, the console goes to standard error.
func (h host) arguments(memory int64, cpus int, initrd string, network bool) []string {
	args := []string{
		h.qemu, "-no-user-config", "-nodefaults", "-display", "none", "-no-reboot",
		"-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny",
		"-machine", h.machine + ",memory-backend=memory", "-accel", h.accel, "-cpu", h.cpu,
		"-smp", strconv.Itoa(cpus), "-m", strconv.FormatInt(memory>>20, 10) + "M",
		"-object", "memory-backend-memfd,id=memory,share=on,size=" + strconv.FormatInt(memory>>20, 10) + "M",
		"-chardev", "file,id=console,path=/proc/self/fd/2", "-serial", "chardev:console",
		"-chardev", "stdio,id=agent,signal=off", "-device", "virtio-serial-pci",
		"-device", "virtserialport,chardev=agent,name=" + agent.Port,
		"-chardev", "socket,id=root,path=/tmp/root.socket", "-device", "vhost-user-fs-pci,chardev=root,tag=" + agent.RootTag,
		"-kernel", h.kernel, "-initrd", initrd,
	}
	params := "rdinit=" + agent.Name + " panic=-1 quiet console=" + h.console
	if network {
		args = append(args, "-netdev", "user,id=net", "-device", "virtio-net-pci,netdev=net,romfile=")
		params += " " + agent.NetParam
	}
	return append(args, "-append", params)
}

// setup is what a machine is started with; another one needs another start.
type setup struct {
	network bool
	disk    int64 // bytes that may be written to the root in all
}

// machine is one that runs.
type machine struct {
	setup
	hello  agent.Hello
	to     *agent.Writer
	frames chan agent.Frame // closed at the end of the conversation
	cancel context.CancelFunc
	ended  chan struct{} // closed when all of it is dead; then why and code are there
	code   int
	why    error
	stdin  *os.File
	said   *sandbox.Tail // on the console
}

// start starts a machine on root and waits until it is ready. A machine that doesn't come
// to that is Unavailable; a root that none can be started on, as packages or tests may have
// made it, is Invalid.
func (e *vm) start(ctx context.Context, root *sandbox.Root, s setup) (*machine, error) {
	stdin, w, err := os.Pipe()
	if err != nil {
		return nil, fmt.Errorf("start a machine: %w", err)
	}
	running, cancel := context.WithCancel(context.WithoutCancel(ctx))
	m := &machine{
		setup: s, to: agent.NewWriter(w), frames: make(chan agent.Frame), cancel: cancel, ended: make(chan struct{}),
		stdin: w, said: sandbox.NewTail(consoleEnd),
	}
	r, out := io.Pipe()
	go func() {
		defer close(m.ended)
		defer cancel()
		m.code, m.why = root.Workshop().Run(running, sandbox.HostCmd{
			Argv:    append([]string{"/bin/sh", "-c", script, "sh", e.host.virtiofsd}, e.host.arguments(e.cfg.Memory, e.cfg.CPUs, e.initrd, s.network)...),
			Folders: []string{e.host.kernel, e.initrd}, Devices: e.host.devices,
			Stdin: stdin, Stdout: out, Stderr: m.said,
			User: sandbox.UserRoot, Network: s.network, File: endless,
			// It lives as long as it is wanted; what it is asked for has limits of its own.
			Limits: sandbox.Limits{Time: endless, Silence: endless, Output: endless, Memory: e.cfg.Memory + beside, Disk: s.disk, CPUs: float64(e.cfg.CPUs)},
		})
		stdin.Close()
		out.Close()
	}()
	go func() {
		defer close(m.frames)
		from := agent.NewReader(r)
		for {
			f, err := from.Next()
			if err != nil {
				r.CloseWithError(io.ErrClosedPipe) // a guest that talks nonsense is heard no more
				return
			}
			m.frames <- f
		}
	}()
	within := startTime
	if e.cfg.Emulate {
		within *= 4
	}
	began := time.NewTimer(within)
	defer began.Stop()
	select {
	case f, ok := <-m.frames:
		if ok && f.Type == agent.FrameHello && f.Decode(&m.hello) == nil && m.hello.Boot != "" {
			return m, nil
		}
		err = m.kill()
		var d agent.Done
		if ok && f.Type == agent.FrameDone && f.Decode(&d) == nil && d.Kind == albs.Invalid {
			return nil, albs.Errorf(albs.Invalid, "%.400s", d.Error)
		}
	case <-ctx.Done():
		_ = m.kill()
		return nil, context.Cause(ctx)
	case <-began.C:
		err = errors.Join(fmt.Errorf("it wasn't ready within %v", within), m.kill())
	}
	return nil, albs.Errorf(albs.Unavailable, "a machine doesn't start (%v, code %d): %s", err, m.code, lastLines(m.said.Bytes()))
}

// kill ends the machine at once, and returns why it had ended, if it had.
func (m *machine) kill() error {
	m.cancel()
	for range m.frames { // the conversation ends with the machine
	}
	<-m.ended
	m.stdin.Close()
	if errors.Is(m.why, context.Canceled) {
		return nil
	}
	return m.why
}

// off shuts the machine down: it ends by itself, and with all that was written on disk.
func (m *machine) off() error {
	err := m.to.JSON(agent.FrameRequest, agent.Request{Op: agent.OpOff})
	late := time.NewTimer(offTime)
	defer late.Stop()
	for err == nil {
		select {
		case _, ok := <-m.frames:
			if ok {
				continue
			}
			<-m.ended
			m.stdin.Close()
			return m.end("it was shut down")
		case <-late.C:
			err = fmt.Errorf("it didn't shut down within %v", offTime)
		}
	}
	return errors.Join(albs.Errorf(albs.Unavailable, "a machine had to be ended: %v", err), m.kill())
}

// end says how an ended machine ended while something happened: nil if it just went off.
func (m *machine) end(while string) error {
	if m.why != nil {
		return m.why
	}
	if m.code != 0 {
		return albs.Errorf(albs.Unavailable, "the machine ended with code %d while %s: %s", m.code, while, lastLines(m.said.Bytes()))
	}
	return nil
}

// do has the agent do q. When it returns, what ran for q is dead: with the machine, if a
// limit was passed, or ctx ended, or the guest went down; alive tells whether it wasn't.
func (m *machine) do(ctx context.Context, q agent.Request, in io.Reader, out, errs io.Writer, lim sandbox.Limits) (d agent.Done, alive bool, err error) {
	if err := ctx.Err(); err != nil {
		return d, true, context.Cause(ctx)
	}
	if err := m.to.JSON(agent.FrameRequest, q); errors.Is(err, albs.Invalid) {
		return d, true, err // too long; nothing of it was written
	}
	// Whatever fails in writing comes of a machine that has ended, which is seen below.
	input := &feed{to: m.to}
	go input.send(in)
	defer input.end()

	began, total := time.Now(), int64(0)
	last := began
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		var why error
		select {
		case f, ok := <-m.frames:
			if !ok {
				<-m.ended
				if err := m.end("it was at work"); err != nil {
					return d, false, err
				}
				return d, false, albs.Errorf(albs.Invalid, "the system went down: %s", lastLines(m.said.Bytes()))
			}
			last = time.Now()
			switch f.Type {
			case agent.FrameDone:
				if err := f.Decode(&d); err != nil {
					why = albs.Errorf(albs.Invalid, "%v", err)
					break
				}
				return d, true, nil
			case agent.FrameOutput, agent.FrameErrors:
				if total += int64(len(f.Body)); lim.Output > 0 && total > lim.Output {
					why = albs.Errorf(albs.Invalid, "the work was ended: it wrote more than %d bytes of log", lim.Output)
					break
				}
				w := map[byte]io.Writer{agent.FrameOutput: out, agent.FrameErrors: errs}[f.Type]
				if w == nil {
					break
				}
				if _, err := w.Write(f.Body); err != nil {
					why = fmt.Errorf("take the output: %w", err)
				}
			default:
				why = albs.Errorf(albs.Invalid, "the machine says what nobody asked for: a frame of kind %q", f.Type)
			}
		case <-ctx.Done():
			why = context.Cause(ctx)
		case now := <-tick.C:
			switch {
			case lim.Time > 0 && now.Sub(began) > lim.Time:
				why = albs.Errorf(albs.Invalid, "the work was ended: it took longer than %v", lim.Time)
			case lim.Silence > 0 && now.Sub(last) > lim.Silence:
				why = albs.Errorf(albs.Invalid, "the work was ended: it was silent for more than %v", lim.Silence)
			}
		}
		if why != nil {
			_ = m.kill()
			return d, false, why
		}
	}
}

// feed sends the input of one request.
type feed struct {
	to    *agent.Writer
	mu    sync.Mutex
	ended bool
}

// send sends all that in gives, unless the end comes first.
func (f *feed) send(in io.Reader) {
	if in != nil {
		b := make([]byte, 32<<10)
		for {
			n, err := in.Read(b)
			if n > 0 && !f.frame(agent.FrameInput, b[:n]) {
				return
			}
			if err != nil {
				break
			}
		}
	}
	f.end()
}

// end says, once, that there is no more.
func (f *feed) end() { f.frame(agent.FrameEnd, nil) }

func (f *feed) frame(kind byte, b []byte) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended {
		return false
	}
	f.ended = kind == agent.FrameEnd
	return f.to.Frame(kind, b) == nil
}

// lastLines returns the end of what a console said, on one line.
func lastLines(b []byte) string {
	b = bytes.TrimSpace(b)
	if most := 600; len(b) > most {
		b = b[len(b)-most:]
	}
	return string(bytes.ToValidUTF8(bytes.Join(bytes.Fields(b), []byte(" ")), []byte("?")))
}
