package e2etest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/worker"
)

// small puts a file system of that many bytes, in memory, where the process of that name
// has its data.
func (s *site) small(name string, who identity, size int64) {
	t := s.t
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("a small disk has to be mounted, which only root can")
	}
	dir := s.data(name, who)
	err := unix.Mount("albs-test", dir, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, fmt.Sprintf("size=%d,mode=0700,uid=%d,gid=%d", size, who.uid, who.gid))
	if errors.Is(err, unix.EPERM) {
		t.Skip("a small disk has to be mounted, which root can't here")
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := unix.Unmount(dir, 0); err != nil {
			t.Error(err)
		}
	})
}

// fill writes to a file until its disk is full.
func fill(t *testing.T, path string) {
	t.Helper()
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	for piece := make([]byte, 1<<20); len(piece) > 0; {
		if _, err := f.Write(piece); errors.Is(err, unix.ENOSPC) {
			piece = piece[:len(piece)/2]
		} else if err != nil {
			t.Fatal(err)
		}
	}
}

// TestDiskFull is T14: the master's disk is full while a node builds and another uploads.
// Who wants to write is told so, what was acknowledged stays, the node keeps its result,
// and when there is space again all goes on by itself.
func TestDiskFull(t *testing.T) {
	t.Parallel()
	who := ordinary(t)
	s := newSite(t)
	if s.dsn != "" {
		t.Skip("with the database and the blobs outside it isn't the master's disk that they fill")
	}
	s.small("master", who, 1<<30)
	s.found()
	token := s.enroll("by-hand", "node")
	me := worker.NewClient(s.url, token, &http.Client{})
	s.rounds(3, func(name string) {
		held := s.build("tiny", s.forge.spec(t, name+"-held", specOf(name+"-held", "true")))
		lease := s.claim(token, albs.KindSource)
		node := s.role("node", "node")
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.begun(b, 1)

		ctx := t.Context()
		upload := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
		d := albs.DigestOf(upload)
		const acked = 1 << 19
		if _, err := me.Put(ctx, lease.Token, d, 0, bytes.NewReader(upload[:acked])); err != nil {
			t.Fatal(err)
		}
		const first = "this line is acknowledged\n"
		if _, err := me.Log(ctx, lease.Token, "state", 0, []byte(first)); err != nil {
			t.Fatal(err)
		}
		// However long the rest takes, it delivers nothing before the disk is full.
		node.signal(syscall.SIGSTOP)
		// A database that was just opened has no room of its own for what is written next.
		s.proc("master").stop()
		s.serve("master", who, []string{"master"}, nil)

		ballast := filepath.Join(s.dir, "master/ballast")
		fill(t, ballast)
		if _, err := me.Put(ctx, lease.Token, d, acked, bytes.NewReader(upload[acked:])); !errors.Is(err, albs.NoSpace) {
			t.Errorf("an upload to a full disk gave %v, want no space", err)
		}
		if _, err := me.Log(ctx, lease.Token, "state", int64(len(first)), upload[:worker.MaxLogChunk]); !errors.Is(err, albs.NoSpace) {
			t.Errorf("a log on a full disk gave %v, want no space", err)
		}
		if a := s.try(s.admin, "user", "add", "late-for-"+name); a.code != 1 || !strings.Contains(a.stderr, "disk is full") {
			t.Errorf("a change of a database on a full disk ended with %d: %s", a.code, a.stderr)
		}
		node.signal(syscall.SIGCONT)
		s.until(2*time.Minute, "the node has a result that it can't deliver", func() bool {
			found, err := filepath.Glob(filepath.Join(s.dir, "node/node/spool/*/end.json"))
			return err == nil && len(found) == 1
		})
		if !s.proc("master").running() {
			t.Fatal("the master has ended for a full disk")
		}
		if err := os.Remove(ballast); err != nil {
			t.Fatal(err)
		}

		s.built(b)
		s.one(b, name, 1)
		s.run(s.admin, "user", "add", "late-for-"+name)
		at, err := me.Stat(ctx, lease.Token, d)
		if err != nil || at < acked {
			t.Fatalf("the master holds %d bytes (%v), it had acknowledged %d", at, err, acked)
		}
		if _, err := me.Put(ctx, lease.Token, d, at, bytes.NewReader(upload[at:])); err != nil {
			t.Fatal(err)
		}
		if at, err := me.Log(ctx, lease.Token, "state", 0, nil); err != nil || at < int64(len(first)) {
			t.Errorf("the log has %d bytes (%v), %d were acknowledged", at, err, len(first))
		}
		log, err := s.api.OpenLog(ctx, s.number(held), lease.Token.Task, client.Log{Stream: "state", Attempt: 1})
		if err != nil {
			t.Fatal(err)
		}
		defer log.Close()
		line := make([]byte, len(first))
		if _, err := io.ReadFull(log, line); err != nil || string(line) != first {
			t.Errorf("the log begins with %q (%v), %q was acknowledged", line, err, first)
		}
		if err := me.Complete(ctx, lease.Token, albs.OutcomeStopped, albs.Result{}); err != nil {
			t.Fatal(err)
		}
		s.built(held)
		s.one(held, name+"-held", 1)
	})
}
