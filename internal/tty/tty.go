// Package tty asks a person at a terminal for what nobody else may see. It knows
// nothing of what is asked for.
package tty

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// Path is the terminal of a process, whatever its streams are.
const Path = "/dev/tty"

// maxLine bounds what is typed, in bytes.
const maxLine = 4 << 10

// Terminal is one that shows nothing of what is typed. It belongs to one goroutine.
type Terminal struct {
	f       *os.File
	in      *bufio.Reader
	restore func() error
}

// Open opens the terminal path and has it show nothing of what is typed until Close. The
// error says that there is none, or that it can't be silenced.
func Open(path string) (*Terminal, error) {
	f, err := os.OpenFile(path, os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	restore, err := silence(f)
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return &Terminal{f: f, in: bufio.NewReaderSize(f, maxLine), restore: restore}, nil
}

// Close has the terminal show again what is typed.
func (t *Terminal) Close() error { return errors.Join(t.restore(), t.f.Close()) }

// Line writes prompt and returns the line that is typed, which may be empty. Its error is
// ctx's if that ends first.
func (t *Terminal) Line(ctx context.Context, prompt string) ([]byte, error) {
	defer context.AfterFunc(ctx, func() { _ = t.f.SetReadDeadline(time.Now()) })()
	if _, err := io.WriteString(t.f, prompt); err != nil {
		return nil, err
	}
	b, err := t.in.ReadSlice('\n')
	_, werr := io.WriteString(t.f, "\r\n")
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	if err := errors.Join(err, werr); err != nil {
		return nil, err
	}
	return bytes.Clone(bytes.TrimRight(b, "\r\n")), nil
}

// silence has a terminal show nothing of what is typed, until restore.
func silence(tty *os.File) (restore func() error, err error) {
	conn, err := tty.SyscallConn() // Fd would make reads wait beyond their deadline
	if err != nil {
		return nil, err
	}
	control := func(f func(fd int) error) error {
		var err error
		return errors.Join(conn.Control(func(fd uintptr) { err = f(int(fd)) }), err)
	}
	var old *unix.Termios
	err = control(func(fd int) (err error) {
		if old, err = unix.IoctlGetTermios(fd, unix.TCGETS); err != nil {
			return err
		}
		quiet := *old
		quiet.Lflag &^= unix.ECHO | unix.ECHONL
		quiet.Lflag |= unix.ICANON | unix.ISIG
		return unix.IoctlSetTermios(fd, unix.TCSETSF, &quiet)
	})
	return func() error {
		return control(func(fd int) error { return unix.IoctlSetTermios(fd, unix.TCSETSF, old) })
	}, err
}
