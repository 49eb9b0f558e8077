// Package loopback gives a network without a way out the few ports that it needs: the
// side inside listens at them on its loopback and hands the sockets over, the side
// outside carries each connection to the same port of its own, or answers it out of a
// folder.
//
// It owns that and knows nothing of who does it or of what goes over. Invariants: a
// connection leads to no other port than that it came in at; how many are served at
// once is bounded.
package loopback

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// Listen brings the loopback of this process's network up, listens at ports and calls
// hand with the sockets in that order. A socket belongs to the network in which it was
// made, whoever accepts on it.
func Listen(ports []int, hand func(fds []int) error) error {
	if err := up(); err != nil {
		return fmt.Errorf("bring the loopback up: %w", err)
	}
	var fds []int
	for _, port := range ports {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
		if err != nil {
			return fmt.Errorf("listen at port %d: %w", port, err)
		}
		fds = append(fds, fd)
		if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port, Addr: [4]byte{127, 0, 0, 1}}); err != nil {
			return fmt.Errorf("listen at port %d: %w", port, err)
		}
		if err := unix.Listen(fd, 64); err != nil {
			return fmt.Errorf("listen at port %d: %w", port, err)
		}
	}
	if err := hand(fds); err != nil {
		return fmt.Errorf("hand over sockets: %w", err)
	}
	for _, fd := range fds {
		unix.Close(fd)
	}
	return nil
}

func up() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req)
}

// maxConnections is how many connections of one network are served at once: dnf keeps one
// or two open for each repository, but whatever runs beside it may open as many as it
// likes, and each takes descriptors of this process.
const maxConnections = 256

// bounded is a listener whose connections each hold one of slots until they are closed.
type bounded struct {
	net.Listener
	slots chan struct{}
	ended <-chan struct{}
}

func (b bounded) Accept() (net.Conn, error) {
	c, err := b.Listener.Accept()
	if err != nil {
		return nil, err
	}
	select {
	case b.slots <- struct{}{}:
		return &boundedConn{Conn: c, free: sync.OnceFunc(func() { <-b.slots })}, nil
	case <-b.ended:
		return nil, errors.Join(net.ErrClosed, c.Close())
	}
}

type boundedConn struct {
	net.Conn
	free func()
}

func (c *boundedConn) Close() error {
	defer c.free()
	return c.Conn.Close()
}

// CloseWrite ends one way of the connection.
func (c *boundedConn) CloseWrite() error {
	if w, ok := c.Conn.(interface{ CloseWrite() error }); ok {
		return w.CloseWrite()
	}
	return nil
}

// Carry accepts on the sockets of ports until ctx ends; then it closes all and returns.
// A connection is connected with the same port outside, or answered out of the folder
// that stands for the port: so dnf downloads from every repository, and what it got
// can be digested.
func Carry(ctx context.Context, sockets []*os.File, ports []int, folders map[int]string) {
	var wg sync.WaitGroup
	defer wg.Wait()
	slots := make(chan struct{}, maxConnections)
	for i, s := range sockets {
		l, err := net.FileListener(s)
		s.Close()
		if err != nil {
			continue // dnf reports what it can't reach
		}
		l = bounded{l, slots, ctx.Done()}
		context.AfterFunc(ctx, func() { l.Close() })
		if dir, ok := folders[ports[i]]; ok {
			wg.Go(func() { serve(ctx, l, dir) })
			continue
		}
		to := net.JoinHostPort("127.0.0.1", strconv.Itoa(ports[i]))
		wg.Go(func() {
			for {
				in, err := l.Accept()
				if err != nil {
					return
				}
				wg.Go(func() { join(ctx, in, to) })
			}
		})
	}
}

// serve answers out of dir until ctx ends.
func serve(ctx context.Context, l net.Listener, dir string) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		l.Close()
		return
	}
	defer root.Close()
	srv := &http.Server{Handler: http.FileServerFS(root.FS()), ReadHeaderTimeout: time.Minute}
	defer srv.Close()
	defer context.AfterFunc(ctx, func() { srv.Close() })()
	srv.Serve(l) // ends with the listener
}

// join copies both ways until both ends are done or ctx ends.
func join(ctx context.Context, in net.Conn, to string) {
	defer in.Close()
	d := net.Dialer{Timeout: 10 * time.Second}
	out, err := d.DialContext(ctx, "tcp", to)
	if err != nil {
		return
	}
	defer out.Close()
	stop := context.AfterFunc(ctx, func() {
		in.Close()
		out.Close()
	})
	defer stop()
	var wg sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		wg.Go(func() {
			io.Copy(way[0], way[1])
			if c, ok := way[0].(interface{ CloseWrite() error }); ok {
				c.CloseWrite()
			}
		})
	}
	wg.Wait()
}
