package loopback

import (
	"net"
	"testing"
	"testing/synctest"
)

// pipes is a listener that accepts what is put into it.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (pipes) Close() error   { return nil }
func (pipes) Addr() net.Addr { return nil }

// TestBounded: a connection beyond the bound waits until another is closed, and for
// ever only as long as the step.
func TestBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		conns := make(pipes, 3)
		for range cap(conns) {
			c, _ := net.Pipe()
			conns <- c
		}
		ended := make(chan struct{})
		l := bounded{conns, make(chan struct{}, 1), ended}
		accepted := make(chan net.Conn)
		go func() {
			defer close(accepted)
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				accepted <- c
			}
		}()
		first := <-accepted
		synctest.Wait()
		select {
		case <-accepted:
			t.Fatal("a second connection is served beside the first, and one may be")
		default:
		}
		first.Close()
		first.Close() // gives one slot back and not two
		if second := <-accepted; second == nil {
			t.Fatal("no second connection after the end of the first")
		}
		synctest.Wait()
		close(ended)
		if third, ok := <-accepted; ok {
			t.Errorf("a connection after the end of the step: %v", third)
		}
	})
}
