package e2etest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/worker"
)

// apart makes a site with a master of its own process, the tiny platform and the
// product, and no workers yet.
func apart(t *testing.T, lease time.Duration) *site {
	t.Helper()
	s := newSite(t)
	s.lease = lease
	s.found()
	return s
}

// found starts the master, and makes what builds need.
func (s *site) found() {
	s.t.Helper()
	s.serve("master", ordinary(s.t), []string{"master"}, nil)
	s.people()
	s.tiny()
	s.product("tiny")
}

// rounds does a fault and has what it left checked: once with -short, else often times
// in a row on this installation, whose history grows. A round finds the master running
// and leaves nothing running.
func (s *site) rounds(often int, round func(name string)) {
	s.t.Helper()
	if testing.Short() {
		often = 1
	}
	began := time.Now()
	for n := 1; n <= often; n++ {
		if n > 1 {
			s.serve("master", ordinary(s.t), []string{"master"}, nil)
		}
		round(fmt.Sprintf("%s-%d", strings.ToLower(strings.TrimPrefix(s.t.Name(), "Test")), n))
		s.check("master", "")
		if s.t.Failed() {
			s.t.Fatalf("the fault was in round %d of %d", n, often)
		}
	}
	s.t.Logf("%d rounds of %v each", often, (time.Since(began) / time.Duration(often)).Round(time.Millisecond))
}

// role starts a worker, which is enrolled when it is first needed.
func (s *site) role(name, role string) *process {
	s.t.Helper()
	return s.roleAt(name, role, s.url)
}

// roleAt is role for a worker that reaches the master by url.
func (s *site) roleAt(name, role, url string) *process {
	s.t.Helper()
	if _, err := os.Stat(filepath.Join(s.dir, name, "token")); err != nil {
		return s.workerAt(name, ordinary(s.t), role, url)
	}
	return s.again(name, ordinary(s.t), role, url)
}

// slow is the %build of a package that says so when it has begun, and then takes
// longer than a short lease.
const slow = "echo slow-build-has-begun; sleep 5"

// task returns a build's task of a kind. It asks the API, for who polls has no time
// to start a process.
func (s *site) task(build string, kind albs.TaskKind) client.Task {
	s.t.Helper()
	b, err := s.api.Build(s.t.Context(), s.number(build))
	if err != nil {
		s.t.Fatal(err)
	}
	for _, t := range b.Value.Tasks {
		if t.Kind == kind {
			return t
		}
	}
	s.t.Fatalf("build %s has no task of the kind %s", build, kind)
	return client.Task{}
}

// begun waits until the attempt at a slow build is in its %build, and returns the
// build task.
func (s *site) begun(build string, attempt int) client.Task {
	s.t.Helper()
	var task client.Task
	s.until(2*time.Minute, "the package is being built", func() bool {
		if task = s.task(build, albs.KindBuild); task.Attempts < attempt {
			return false
		}
		log, err := s.api.OpenLog(s.t.Context(), s.number(build), task.ID, client.Log{Stream: "build", Attempt: attempt})
		if errors.Is(err, albs.NotFound) {
			return false
		}
		if err != nil {
			s.t.Fatal(err)
		}
		defer log.Close()
		text, err := io.ReadAll(log)
		return err == nil && bytes.Contains(text, []byte("slow-build-has-begun\n")) && bytes.Contains(text, []byte("sleep 5"))
	})
	if task.State != albs.TaskLeased {
		s.t.Fatalf("the task is %s, want it under way", task.State)
	}
	return task
}

const anyAttempt = 0

// one wants a build to have exactly one set of files, of the given attempt at its
// build task.
func (s *site) one(build, name string, attempt int) {
	t := s.t
	t.Helper()
	task := s.task(build, albs.KindBuild)
	if attempt != anyAttempt && task.Attempts != attempt || task.State != albs.TaskSucceeded {
		t.Errorf("the task is %s after %d attempts, want success at attempt %d", task.State, task.Attempts, attempt)
	}
	var rpms []string
	for _, f := range task.Files {
		if f.Kind == "rpm" {
			rpms = append(rpms, f.Name)
		}
	}
	if want := []string{name + "-1.0-1.seed9.noarch.rpm"}; !slices.Equal(rpms, want) {
		t.Errorf("the task left %q, want %q", rpms, want)
	}
}

// staged lists the uploads that the master holds and that belong to no result yet.
func (s *site) staged(master string) []string {
	s.t.Helper()
	found, err := filepath.Glob(filepath.Join(s.dir, master, "master/staging/*/*"))
	if err != nil {
		s.t.Fatal(err)
	}
	return found
}

// TestNodeKilled is T01: the node dies in the middle of a build. The lease expires,
// the task is leased again under a higher fence, and nothing of the first attempt is
// to be seen.
func TestNodeKilled(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(20, func(name string) {
		node := s.role("node-of-"+name, "node") // a fresh one: who loses three tasks is quarantined
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.begun(b, 1)
		node.kill()
		s.until(15*time.Second, "the task is queued again", func() bool { return s.task(b, albs.KindBuild).State == albs.TaskQueued })
		for _, f := range s.task(b, albs.KindBuild).Files {
			t.Errorf("of the attempt that was killed %s is to be seen", f.Name)
		}
		s.role(node.name, "node")
		s.built(b)
		s.one(b, name, 2)
	})
}

// TestNodeHalted is T02: a node is halted past its lease and another takes over.
// When the first goes on, it is told that its lease is stale, and one result counts.
func TestNodeHalted(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(20, func(name string) {
		first := s.role("first-"+name, "node") // a fresh one: who loses three tasks is quarantined
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		task := s.begun(b, 1)
		if task.Worker != first.name {
			t.Fatalf("the task is %s's", task.Worker)
		}
		first.signal(syscall.SIGSTOP)
		second := s.role("second-"+name, "node")
		s.begun(b, 2)
		first.signal(syscall.SIGCONT)
		s.until(30*time.Second, "the first node is told that its lease is stale", func() bool {
			return strings.Contains(first.words(), "the lease was lost")
		})
		s.built(b)
		s.one(b, name, 2)
		if got := s.task(b, albs.KindBuild); got.Worker != second.name {
			t.Errorf("the result is %s's, want the second node's", got.Worker)
		}
		s.until(15*time.Second, "no uploads are left", func() bool { return len(s.staged("master")) == 0 })
		// The first node works on.
		again := s.build("tiny", s.forge.spec(t, name+"-after", specOf(name+"-after", "true")))
		second.stop()
		s.built(again)
	})
}

// lossy is a proxy between a worker and the master that loses answers: the master
// has done what was asked, and the worker doesn't hear of it.
type lossy struct {
	mu    sync.Mutex
	lose  int            // answers to completions yet to be lost
	codes map[string]int // of the answers to completions, by path and status
}

// begin has the next answers lost, and counts from nothing.
func (l *lossy) begin(lose int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lose, l.codes = lose, map[string]int{}
}

// start starts the proxy before the master at base and returns its own URL.
func (l *lossy) start(t *testing.T, base string) string {
	t.Helper()
	return serveProxy(t, base, func(p *httputil.ReverseProxy) {
		p.ModifyResponse = func(r *http.Response) error {
			if !strings.HasSuffix(r.Request.URL.Path, "/complete") {
				return nil
			}
			l.mu.Lock()
			defer l.mu.Unlock()
			l.codes[r.Request.URL.Path+" "+r.Status]++
			if l.lose > 0 {
				l.lose--
				return errLost
			}
			return nil
		}
	})
}

// serveProxy starts a proxy before the server at base and returns its own URL. An answer
// for which set has it return errLost is cut.
func serveProxy(t *testing.T, base string, set func(*httputil.ReverseProxy)) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1,
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, errLost) {
				panic(http.ErrAbortHandler) // cuts the connection
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
	set(proxy)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	srv := &http.Server{Handler: proxy, ReadHeaderTimeout: 10 * time.Second}
	go srv.Serve(listener)
	t.Cleanup(func() { srv.Close() })
	return "http://" + listener.Addr().String()
}

var errLost = errors.New("the answer is lost")

// TestAnswerLost is T03: the master applies a result and its answer is lost, five
// times. The node asks until it hears, and the result counts once.
func TestAnswerLost(t *testing.T) {
	t.Parallel()
	s := apart(t, longLease)
	l := &lossy{}
	proxy := l.start(t, s.url)
	s.rounds(20, func(name string) {
		l.begin(5)
		s.roleAt("node", "node", proxy)
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, "true")))
		s.built(b)
		s.one(b, name, 1)
		s.until(30*time.Second, "the node has heard", func() bool {
			l.mu.Lock()
			defer l.mu.Unlock()
			return l.lose == 0 && len(l.codes) == 2
		})
		s.stop()
		l.mu.Lock()
		defer l.mu.Unlock()
		answers := 0
		for what, n := range l.codes {
			if !strings.HasSuffix(what, "204 No Content") {
				t.Errorf("%d times %s", n, what)
			}
			answers += n
		}
		if answers != 7 { // two tasks, and five answers that were lost
			t.Errorf("the node was answered %d times, want 7: %v", answers, l.codes)
		}
	})
}

// TestForeignToken is T09: a node does with its own token whatever can be done to
// the task that another node holds. It is refused, and the task goes on untouched.
func TestForeignToken(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	token := s.enroll("other", "node")
	s.rounds(20, func(name string) {
		s.role("node", "node")
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.misused(s.begun(b, 1), token)
		s.built(b)
		s.one(b, name, 1)
		if log := s.run(s.alice, "build", "logs", b, s.task(b, albs.KindBuild).ID.String(), "--stream", "build"); strings.Contains(log, foreignJunk) {
			t.Error("the other node's bytes are in the log")
		}
		if !strings.Contains(s.proc("master").words(), "worker used a lease of another") {
			t.Error("the master's log doesn't say that a worker used a lease of another")
		}
	})
}

const foreignJunk = "junk of another node"

// misused does to a task with a token of another node whatever a node may do, and wants
// all of it refused.
func (s *site) misused(task client.Task, token string) {
	t := s.t
	t.Helper()
	other := worker.NewClient(s.url, token, &http.Client{})
	ctx := t.Context()
	held := worker.Token{Task: task.ID, Fence: 1}
	junk := []byte(foreignJunk)
	d := albs.DigestOf(junk)
	for name, call := range map[string]func() error{
		"renew":           func() error { _, err := other.Renew(ctx, held); return err },
		"complete ok":     func() error { return other.Complete(ctx, held, albs.OutcomeOK, albs.Result{}) },
		"complete failed": func() error { return other.Complete(ctx, held, albs.OutcomeFailed, albs.Result{Reason: "junk"}) },
		"give back":       func() error { return other.Complete(ctx, held, albs.OutcomeStopped, albs.Result{}) },
		"log":             func() error { _, err := other.Log(ctx, held, "build", 0, junk); return err },
		"put":             func() error { _, err := other.Put(ctx, held, d, 0, strings.NewReader(foreignJunk)); return err },
		"stat":            func() error { _, err := other.Stat(ctx, held, d); return err },
		"get":             func() error { _, err := other.Get(ctx, held, d, 0, -1); return err },
	} {
		if err := call(); !errors.Is(err, albs.Forbidden) {
			t.Errorf("%s of another node's task gave %v, want forbidden", name, err)
		}
	}
	for name, token := range map[string]string{"no token": "", "a person's token": s.alice, "a made up token": "albs_w" + strings.Repeat("a", 52)} {
		if _, err := worker.NewClient(s.url, token, &http.Client{}).Renew(ctx, held); !errors.Is(err, albs.Forbidden) && !errors.Is(err, albs.Unauthenticated) {
			t.Errorf("renewal with %s gave %v, want forbidden or unauthenticated", name, err)
		}
	}
}

// TestMasterKilled is T04 where no failpoint is: it kills the master in the middle of a build, twice, and starts it
// again: the node keeps its work, the build goes on.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(3, func(name string) {
		s.role("node", "node")
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.begun(b, 1)
		for range 2 {
			s.proc("master").kill()
			s.serve("master", ordinary(t), []string{"master"}, nil)
		}
		s.built(b)
		s.one(b, name, 1)
	})
}

// TestWorkersKilled has the tester and the signer die while they hold a task: it is
// leased again when they are back. (The releaser's steps are its own package's.)
func TestWorkersKilled(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	who := ordinary(t)
	for _, r := range []string{"node", "tester", "signer"} {
		s.worker(r, who, r)
	}
	s.key("ed25519")
	// dies halts a role, so that what it is given stays with it, and kills it when
	// it has been given something. One that was halted between two questions is let go
	// for a moment, again and again, until it has asked.
	dies := func(role string, give func(), given func() bool) {
		s.proc(role).signal(syscall.SIGSTOP)
		give()
		again := time.Now().Add(5 * time.Second)
		s.until(2*time.Minute, "the "+role+" has a task", func() bool {
			if !given() && time.Now().After(again) {
				s.proc(role).signal(syscall.SIGCONT)
				time.Sleep(50 * time.Millisecond)
				s.proc(role).signal(syscall.SIGSTOP)
				again = time.Now().Add(time.Second)
			}
			return given()
		})
		s.proc(role).kill()
		s.again(role, who, role, s.url)
	}
	tests := func(b string) albs.TaskState {
		runs, err := s.api.Tests(t.Context(), s.number(b))
		if err != nil {
			t.Fatal(err)
		}
		if len(runs.Value) != 1 {
			return ""
		}
		return runs.Value[0].State
	}
	// One that has tested waits for more; one that has just started may not ask yet.
	b := s.build("tiny", s.forge.spec(t, "before", specOf("before", "true")))
	s.until(2*time.Minute, "the tester has tested", func() bool { return tests(b) == albs.TaskSucceeded })
	dies("tester", func() { b = s.build("tiny", s.forge.spec(t, "orphan", specOf("orphan", "true"))) }, func() bool {
		return tests(b) == albs.TaskLeased
	})
	s.built(b)
	var signing client.SignTask
	ask := func(asked client.Doc[client.SignTask], err error) {
		if err != nil {
			t.Fatal(err)
		}
		signing = asked.Value
	}
	dies("signer", func() { ask(s.api.SignBuild(t.Context(), s.number(b), "demo")) }, func() bool {
		ask(s.api.SignTask(t.Context(), signing.ID))
		return signing.Status == client.SignInProgress
	})
	s.until(time.Minute, "the build is signed", func() bool {
		ask(s.api.SignTask(t.Context(), signing.ID))
		return signing.Status == client.SignCompleted
	})
	s.one(b, "orphan", 1)
	s.check("master", "")
}

// proc returns the newest process of that name.
func (s *site) proc(name string) *process {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range slices.Backward(s.procs) {
		if p.name == name {
			return p
		}
	}
	s.t.Fatalf("there is no process %s", name)
	return nil
}

// TestMasterAway is T10: the master is away until the build is over and its lease has run
// out several times. The node keeps the result and delivers it when the master is back,
// without building again.
func TestMasterAway(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(3, func(name string) {
		node := s.role("node", "node")
		s.role("tester", "tester")
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.begun(b, 1)
		s.proc("master").kill()
		killed := time.Now()
		// The spool has a folder for each attempt, with its logs in it.
		spooled := func(file string) []string {
			found, err := filepath.Glob(filepath.Join(s.dir, "node/node/spool/*", file))
			if err != nil || !node.running() {
				t.Fatalf("look into the node's spool: %v (running: %v)", err, node.running())
			}
			return found
		}
		s.until(time.Minute, "rpmbuild has ended", func() bool {
			log := spooled("logs/build")
			if len(log) != 1 {
				t.Fatalf("the node has logs %q, want one attempt's", log)
			}
			return strings.Contains(read(t, log[0]), "Wrote: ")
		})
		s.until(time.Minute, "the lease would have run out four times", func() bool { return time.Since(killed) > 4*shortLease })
		s.serve("master", ordinary(t), []string{"master"}, nil)
		s.built(b)
		s.until(time.Minute, "the node keeps nothing that is delivered", func() bool { return len(spooled("lease.json")) == 0 })
		s.one(b, name, 1)
	})
}
