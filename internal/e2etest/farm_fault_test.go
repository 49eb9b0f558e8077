package e2etest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/master/db"
	"albs/internal/worker"
)

// TestClocksApart is T06: a node's clock is an hour off, and the master's jumps by an hour
// while it is down, into the future and back. No lease ends early or lasts longer for it,
// and nothing took less than no time.
func TestClocksApart(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	var ahead atomic.Int64 // of the master's clock, as the node sees it
	proxy := serveProxy(t, s.url, func(p *httputil.ReverseProxy) {
		p.ModifyResponse = func(r *http.Response) error { return shiftAnswer(r, time.Duration(ahead.Load())) }
	})
	s.rounds(3, func(name string) {
		for _, jump := range []time.Duration{time.Hour, -time.Hour} {
			ahead.Store(int64(jump))
			pkg := fmt.Sprintf("%s-%.0f", name, jump.Hours())
			node := s.roleAt("node-of-"+pkg, "node", proxy) // each loses a task, and three would have one quarantined
			s.role("tester", "tester")
			b := s.build("tiny", s.forge.spec(t, pkg, specOf(pkg, slow)))
			s.begun(b, 1)
			s.proc("master").kill()
			s.edit("master", ordinary(t), func(ctx context.Context, d *db.DB) error { return shiftTimes(ctx, d, -jump) })
			s.serve("master", ordinary(t), []string{"master"}, nil)
			s.built(b)
			s.one(b, pkg, 1)
			// A lease still ends in its time.
			pkg += "-lost"
			b = s.build("tiny", s.forge.spec(t, pkg, specOf(pkg, slow)))
			s.begun(b, 1)
			node.kill()
			s.until(15*time.Second, "the task is queued again", func() bool { return s.task(b, albs.KindBuild).State == albs.TaskQueued })
			s.roleAt(node.name, "node", proxy)
			s.built(b)
			s.one(b, pkg, 2)
			s.stop()
			s.edit("master", ordinary(t), func(ctx context.Context, d *db.DB) error {
				var runs []string
				if err := d.SelectContext(ctx, &runs, `SELECT runs FROM task_history`); err != nil {
					return err
				}
				for _, r := range runs {
					if strings.Contains(r, "-") {
						t.Errorf("with the clock put by %v tasks took %q seconds", jump, r)
					}
				}
				return nil
			})
			s.serve("master", ordinary(t), []string{"master"}, nil)
		}
	})
}

var untilField = regexp.MustCompile(`"until":"([^"]+)"`)

// shiftAnswer shifts the times in an answer of the master.
func shiftAnswer(r *http.Response, by time.Duration) error {
	if at, err := http.ParseTime(r.Header.Get("Date")); err == nil {
		r.Header.Set("Date", at.Add(by).Format(http.TimeFormat))
	}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "application/json") {
		return nil
	}
	body, err := io.ReadAll(r.Body)
	if err := errors.Join(err, r.Body.Close()); err != nil {
		return err
	}
	body = untilField.ReplaceAllFunc(body, func(field []byte) []byte {
		at, err := time.Parse(time.RFC3339Nano, string(untilField.FindSubmatch(field)[1]))
		if err != nil {
			return field
		}
		return fmt.Appendf(nil, `"until":%q`, at.Add(by).Format(time.RFC3339Nano))
	})
	r.Body, r.ContentLength = io.NopCloser(bytes.NewReader(body)), int64(len(body))
	r.Header.Set("Content-Length", strconv.Itoa(len(body)))
	return nil
}

// shiftTimes shifts every time that the queue keeps, which is to the master as if its own
// clock had been put the other way.
func shiftTimes(ctx context.Context, d *db.DB, by time.Duration) error {
	for table, columns := range map[string][]string{
		"task":         {"lease_until", "not_before_at", "created_at", "started_at", "changed_at"},
		"attempt":      {"claimed_at", "ended_at"},
		"fleet_worker": {"seen_at"},
	} {
		for _, c := range columns {
			shifted := `strftime('%Y-%m-%dT%H:%M:%f000Z', ` + c + `, $1)`
			if d.Postgres() {
				shifted = c + ` + CAST($1 AS interval)`
			}
			_, err := d.ExecContext(ctx, fmt.Sprintf(`UPDATE %s SET %s = %s WHERE %[2]s IS NOT NULL`, table, c, shifted), fmt.Sprintf("%+.0f seconds", by.Seconds()))
			if err != nil {
				return fmt.Errorf("shift %s of %s: %w", c, table, err)
			}
		}
	}
	return nil
}

// TestCancelReachesNodes is T07: a build is cancelled while four nodes are at it. Each
// hears of it by its next renewal and nothing of the build's processes is left; and who
// holds a task that was cancelled can give nothing in any more.
func TestCancelReachesNodes(t *testing.T) {
	t.Parallel()
	s := apart(t, longLease)
	const renewal = longLease / 3
	token := s.enroll("by-hand", "node")
	random := seeded(t)
	s.rounds(3, func(name string) {
		held := s.build("tiny", s.forge.spec(t, name+"-held", specOf(name+"-held", "true")))
		lease := s.claim(token, albs.KindSource)
		s.run(s.alice, "build", "cancel", held)
		me := worker.NewClient(s.url, token, &http.Client{})
		ctx := t.Context()
		late := []byte("too late")
		for what, call := range map[string]func() error{
			"renew": func() error { _, err := me.Renew(ctx, lease.Token); return err },
			"put": func() error {
				_, err := me.Put(ctx, lease.Token, albs.DigestOf(late), 0, bytes.NewReader(late))
				return err
			},
			"stat":        func() error { _, err := me.Stat(ctx, lease.Token, albs.DigestOf(late)); return err },
			"complete ok": func() error { return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{}) },
		} {
			if err := call(); !errors.Is(err, albs.Stopped) {
				t.Errorf("%s after the cancel gave %v, want stopped", what, err)
			}
		}
		if err := me.Complete(ctx, lease.Token, albs.OutcomeStopped, albs.Result{}); err != nil {
			t.Errorf("the word that the work has stopped gave %v", err)
		}
		if got := s.task(held, albs.KindSource).State; got != albs.TaskCancelled {
			t.Errorf("the task that was held is %s", got)
		}

		mark := strconv.Itoa(500_000_000 + random.IntN(99_999_999)) // seconds: who sleeps so long is this build's
		var packages []string
		for i := range 4 {
			s.role(fmt.Sprintf("node-%d", i), "node")
			pkg := fmt.Sprintf("%s-%d", name, i)
			packages = append(packages, s.forge.spec(t, pkg, specOf(pkg, "setsid sleep "+mark+" & sleep "+mark)))
		}
		var builds []string
		for _, p := range packages {
			builds = append(builds, s.build("tiny", p))
		}
		s.until(3*time.Minute, "four nodes sleep", func() bool { return len(sleepers(t, mark)) >= 8 })
		workers := map[string]bool{}
		for _, b := range builds {
			workers[s.task(b, albs.KindBuild).Worker] = true
		}
		if len(workers) != 4 {
			t.Errorf("four tasks are held by %v, want four nodes", workers)
		}
		for _, b := range builds {
			s.run(s.alice, "build", "cancel", b)
		}
		cancelled := time.Now()
		s.until(time.Minute, "nothing of the build is left", func() bool { return len(sleepers(t, mark)) == 0 })
		took := time.Since(cancelled)
		t.Logf("the last process was dead %v after the cancel", took.Round(time.Millisecond))
		// As much again to hear, kill and be looked at on a busy machine. Nobody who heard
		// nothing would end before twice that, when its lease has run out.
		if most := 2 * renewal; took > most {
			t.Errorf("the last process was dead after %v, want %v at most", took, most)
		}
		for _, b := range builds {
			s.until(30*time.Second, "the task is cancelled", func() bool { return s.task(b, albs.KindBuild).State == albs.TaskCancelled })
		}
	})
}

// sleepers returns the processes on this machine that sleep for that long.
func sleepers(t *testing.T, seconds string) []string {
	t.Helper()
	found, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		t.Fatal(err)
	}
	var out []string
	for _, f := range found {
		if b, err := os.ReadFile(f); err == nil && string(b) == "sleep\x00"+seconds+"\x00" {
			out = append(out, filepath.Base(filepath.Dir(f)))
		}
	}
	return out
}

// TestPoison is T08: a task kills every node that takes it. After three attempts it ends as
// infra; the nodes are not blamed for it, and other tasks go on.
func TestPoison(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(20, func(name string) {
		// Fresh ones: a node that loses several different tasks is to blame.
		s.role("a-"+name, "node")
		s.role("b-"+name, "node")
		s.role("tester", "tester")
		poison := s.build("tiny", s.forge.spec(t, name, specOf(name, "echo slow-build-has-begun; sleep 500")))
		var well string
		killed := map[string]int{}
		for attempt := 1; attempt <= 3; attempt++ {
			victim := s.begun(poison, attempt).Worker
			if attempt == 1 {
				well = s.build("tiny", s.forge.spec(t, name+"-well", specOf(name+"-well", "echo well")))
			}
			s.proc(victim).kill()
			killed[victim]++
			s.role(victim, "node")
		}
		var task client.Task
		s.until(30*time.Second, "the poison has ended", func() bool {
			task = s.task(poison, albs.KindBuild)
			return task.State.Final()
		})
		if task.State != albs.TaskFailed || task.Attempts != 3 || !strings.HasPrefix(task.Reason, "infra: 3 attempts were lost") {
			t.Errorf("the poison is %s after %d attempts: %s", task.State, task.Attempts, task.Reason)
		}
		if len(killed) != 2 {
			t.Errorf("the poison was given to %v, want it to go to the other node too", killed)
		}
		s.built(well)
		s.one(well, name+"-well", anyAttempt) // it may have been on the node that was killed
		s.stop()
		s.edit("master", ordinary(t), func(ctx context.Context, d *db.DB) error {
			var barred []string
			err := d.SelectContext(ctx, &barred, `SELECT name FROM fleet_worker WHERE quarantined_at IS NOT NULL OR drained_at IS NOT NULL ORDER BY name`)
			if len(barred) > 0 {
				t.Errorf("%v get nothing any more", barred)
			}
			return err
		})
	})
}

// claim takes a task of that kind as the node with that token would.
func (s *site) claim(token string, kind albs.TaskKind) *worker.Lease {
	s.t.Helper()
	me := worker.NewClient(s.url, token, &http.Client{})
	ctx, cancel := context.WithTimeout(s.t.Context(), time.Minute)
	defer cancel()
	var got *worker.Lease
	s.until(30*time.Second, "a task of the kind "+string(kind)+" can be claimed", func() bool {
		var err error
		got, err = me.Claim(ctx, worker.Offer{Version: "test", Labels: []string{"kind:" + string(kind), "arch:x86_64"}, Wait: 1})
		if err != nil {
			s.t.Fatal(err)
		}
		return got != nil
	})
	return got
}
