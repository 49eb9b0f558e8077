package e2etest

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"albs/internal/client"
)

// TestFlood is T18: a build prints more lines than anybody reads. The master's memory stays
// as it is, who reads fast gets all of it as it comes, and who takes next to nothing is
// dropped, and not the log.
func TestFlood(t *testing.T) {
	t.Parallel()
	lines := 10_000_000
	if testing.Short() {
		lines = 1_000_000
	}
	const most = 96 << 20 // growth of the master's memory; a log of 10 million lines is as long
	s := apart(t, longLease)
	s.rounds(3, func(name string) {
		s.role("node", "node")
		s.role("tester", "tester")
		build := fmt.Sprintf("echo slow-build-has-begun; sleep 5; seq %d %d; echo the-flood-is-over", 10_000_000, 10_000_000+lines-1)
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, build)))
		task := s.begun(b, 1)
		before := s.memory("master")
		stands := s.stall(b, task)
		if !s.serves(stands) {
			t.Fatal("the kernel doesn't know the connection of the reader that stands")
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
		defer cancel()
		var got counter
		followed := make(chan error, 1)
		go func() { followed <- s.api.FollowLog(ctx, s.number(b), task.ID, "build", 1, &got) }()
		began, peak := time.Now(), before
		for over := false; !over; {
			select {
			case err := <-followed:
				if err != nil {
					t.Fatalf("follow the log: %v", err)
				}
				over = true
			case <-time.After(50 * time.Millisecond):
			}
			peak = max(peak, s.memory("master"))
		}
		took := time.Since(began)
		s.built(b)
		t.Logf("%d lines in %v, %.0f a second; the master's memory went from %d to %d MiB", lines, took.Round(time.Millisecond),
			float64(lines)/took.Seconds(), before>>20, peak>>20)
		if peak-before > most {
			t.Errorf("the master's memory grew by %d MiB, want %d at most", (peak-before)>>20, most>>20)
		}
		if got.numbers != lines {
			t.Errorf("who follows the log got %d lines of %d", got.numbers, lines)
		}
		// 10 s is what a stream gives a reader for one message.
		s.until(time.Minute, "the reader that stands is dropped", func() bool { return !s.serves(stands) })
		t.Logf("the reader that stood was dropped by %v", time.Since(began).Round(time.Second))

		log, err := s.api.OpenLog(ctx, s.number(b), task.ID, client.Log{Stream: "build", Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		var kept counter
		if _, err := io.Copy(&kept, log); err != nil {
			t.Fatal(err)
		}
		if kept.numbers != lines || !kept.over {
			t.Errorf("the log has %d lines of %d, and its end: %v", kept.numbers, lines, kept.over)
		}
	})
}

// counter counts the lines of a flood, which are numbers in their order.
type counter struct {
	rest    []byte
	numbers int
	over    bool
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	b := append(c.rest, p...)
	for {
		line, rest, whole := bytes.Cut(b, []byte("\n"))
		if !whole {
			c.rest = append([]byte(nil), b...)
			return len(p), nil
		}
		if n, err := strconv.Atoi(string(line)); err == nil && n == 10_000_000+c.numbers {
			c.numbers++
		}
		c.over = c.over || string(line) == "the-flood-is-over"
		b = rest
	}
}

var residentLine = regexp.MustCompile(`(?m)^VmRSS:\s+(\d+) kB$`)

// memory returns how many bytes of memory a process has.
func (s *site) memory(name string) int64 {
	s.t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.proc(name).cmd.Process.Pid))
	if err != nil {
		s.t.Fatal(err)
	}
	m := residentLine.FindSubmatch(b)
	if m == nil {
		s.t.Fatalf("%s has no memory", name)
	}
	n, err := strconv.ParseInt(string(m[1]), 10, 64)
	if err != nil {
		s.t.Fatal(err)
	}
	return n << 10
}

// stall follows a task's log and reads no more than that the stream has begun.
func (s *site) stall(build string, task client.Task) net.Conn {
	t := s.t
	t.Helper()
	conn, err := net.Dial("tcp", s.listen)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	if err := conn.(*net.TCPConn).SetReadBuffer(4096); err != nil {
		t.Fatal(err)
	}
	_, err = fmt.Fprintf(conn, "GET /api/v1/builds/%s/tasks/%s/logs/build/events HTTP/1.1\r\nHost: %s\r\nAuthorization: Bearer %s\r\n\r\n", build, task.ID, s.listen, s.alice)
	if err != nil {
		t.Fatal(err)
	}
	const ok = "HTTP/1.1 200 OK\r\n"
	line := make([]byte, len(ok))
	if _, err := io.ReadFull(conn, line); err != nil || string(line) != ok {
		t.Fatalf("the stream of the log begins with %q (%v)", line, err)
	}
	return conn
}

// serves reports whether the master still has its end of a connection open, as the kernel
// tells: the reader would first get what lies in buffers.
func (s *site) serves(conn net.Conn) bool {
	s.t.Helper()
	b, err := os.ReadFile("/proc/net/tcp")
	if err != nil {
		s.t.Fatal(err)
	}
	end := func(a net.Addr) string { return fmt.Sprintf("0100007F:%04X", a.(*net.TCPAddr).Port) }
	const established = "01"
	for line := range strings.Lines(string(b)) {
		f := strings.Fields(line)
		if len(f) > 3 && f[1] == end(conn.RemoteAddr()) && f[2] == end(conn.LocalAddr()) {
			return f[3] == established
		}
	}
	return false
}
