package e2etest

import (
	"bytes"
	"context"
	"errors"
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
	s.serve("master", ordinary(t), []string{"master"}, nil)
	s.people()
	s.tiny()
	s.product("tiny")
	return s
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

// one wants a build to have exactly one set of files, of the given attempt at its
// build task.
func (s *site) one(build, name string, attempt int) {
	t := s.t
	t.Helper()
	task := s.task(build, albs.KindBuild)
	if task.Attempts != attempt || task.State != albs.TaskSucceeded {
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
	node := s.worker("node", ordinary(t), "node")
	s.worker("tester", ordinary(t), "tester")
	b := s.build("tiny", s.forge.spec(t, "killed", specOf("killed", slow)))
	s.begun(b, 1)
	node.kill()
	s.until(15*time.Second, "the task is queued again", func() bool { return s.task(b, albs.KindBuild).State == albs.TaskQueued })
	for _, f := range s.task(b, albs.KindBuild).Files {
		t.Errorf("of the attempt that was killed %s is to be seen", f.Name)
	}
	s.again("node", ordinary(t), "node", s.url)
	s.built(b)
	s.one(b, "killed", 2)
	s.check("master", "")
}

// TestNodeHalted is T02: a node is halted past its lease and another takes over.
// When the first goes on, it is told that its lease is stale, and one result counts.
func TestNodeHalted(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	first := s.worker("node", ordinary(t), "node")
	s.worker("tester", ordinary(t), "tester")
	b := s.build("tiny", s.forge.spec(t, "halted", specOf("halted", slow)))
	task := s.begun(b, 1)
	if task.Worker != "node" {
		t.Fatalf("the task is %s's", task.Worker)
	}
	first.signal(syscall.SIGSTOP)
	s.worker("second", ordinary(t), "node")
	s.begun(b, 2)
	first.signal(syscall.SIGCONT)
	s.until(30*time.Second, "the first node is told that its lease is stale", func() bool {
		return strings.Contains(tail(first.log, 50), "the lease was lost")
	})
	s.built(b)
	s.one(b, "halted", 2)
	if got := s.task(b, albs.KindBuild); got.Worker != "second" {
		t.Errorf("the result is %s's, want the second node's", got.Worker)
	}
	s.until(15*time.Second, "no uploads are left", func() bool { return len(s.staged("master")) == 0 })
	// The first node works on.
	again := s.build("tiny", s.forge.spec(t, "halted-after", specOf("halted-after", "true")))
	s.proc("second").stop()
	s.built(again)
	s.check("master", "")
}

// lossy is a proxy between a worker and the master that loses answers: the master
// has done what was asked, and the worker doesn't hear of it.
type lossy struct {
	mu    sync.Mutex
	lose  int            // answers to completions yet to be lost
	codes map[string]int // of the answers to completions, by path and status
}

// start starts the proxy before the master at base and returns its own URL.
func (l *lossy) start(t *testing.T, base string) string {
	t.Helper()
	to, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	proxy := &httputil.ReverseProxy{
		Rewrite:       func(r *httputil.ProxyRequest) { r.SetURL(to) },
		FlushInterval: -1,
		ModifyResponse: func(r *http.Response) error {
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
		},
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, err error) {
			if errors.Is(err, errLost) {
				panic(http.ErrAbortHandler) // cuts the connection
			}
			w.WriteHeader(http.StatusBadGateway)
		},
	}
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
	l := &lossy{lose: 5, codes: map[string]int{}}
	s.workerAt("node", ordinary(t), "node", l.start(t, s.url))
	s.worker("tester", ordinary(t), "tester")
	b := s.build("tiny", s.forge.spec(t, "lost", specOf("lost", "true")))
	s.built(b)
	s.one(b, "lost", 1)
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
	s.checkStopped("master", "")
}

// TestForeignToken is T09: a node does with its own token whatever can be done to
// the task that another node holds. It is refused, and the task goes on untouched.
func TestForeignToken(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.worker("node", ordinary(t), "node")
	s.worker("tester", ordinary(t), "tester")
	b := s.build("tiny", s.forge.spec(t, "foreign", specOf("foreign", slow)))
	task := s.begun(b, 1)
	other := worker.NewClient(s.url, s.enroll("other", "node"), &http.Client{})
	ctx := t.Context()
	held := worker.Token{Task: task.ID, Fence: 1}
	junk := []byte("junk of another node")
	d := albs.DigestOf(junk)
	for name, call := range map[string]func() error{
		"renew":           func() error { _, err := other.Renew(ctx, held); return err },
		"complete ok":     func() error { return other.Complete(ctx, held, albs.OutcomeOK, albs.Result{}) },
		"complete failed": func() error { return other.Complete(ctx, held, albs.OutcomeFailed, albs.Result{Reason: "junk"}) },
		"give back":       func() error { return other.Complete(ctx, held, albs.OutcomeStopped, albs.Result{}) },
		"log":             func() error { _, err := other.Log(ctx, held, "build", 0, junk); return err },
		"put":             func() error { _, err := other.Put(ctx, held, d, 0, strings.NewReader(string(junk))); return err },
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
	s.built(b)
	s.one(b, "foreign", 1)
	if log := s.run(s.alice, "build", "logs", b, task.ID.String(), "--stream", "build"); strings.Contains(log, string(junk)) {
		t.Error("the other node's bytes are in the log")
	}
	s.check("master", "")
}

// TestMasterKilled kills the master in the middle of a build, twice, and starts it
// again: the node keeps its work, the build goes on.
func TestMasterKilled(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	who := ordinary(t)
	s.worker("node", who, "node")
	s.worker("tester", who, "tester")
	b := s.build("tiny", s.forge.spec(t, "survivor", specOf("survivor", slow)))
	s.begun(b, 1)
	for range 2 {
		s.proc("master").kill()
		s.serve("master", who, []string{"master"}, nil)
	}
	s.built(b)
	s.one(b, "survivor", 1)
	s.check("master", "")
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
	// it has been given something.
	dies := func(role string, give func(), given func() bool) {
		s.proc(role).signal(syscall.SIGSTOP)
		give()
		s.until(2*time.Minute, "the "+role+" has a task", given)
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

// TestMasterAway has the master away until the build is over: the node keeps the
// result and delivers it when the master is back, without building again.
func TestMasterAway(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	who := ordinary(t)
	node := s.worker("node", who, "node")
	s.worker("tester", who, "tester")
	b := s.build("tiny", s.forge.spec(t, "kept", specOf("kept", slow)))
	s.begun(b, 1)
	s.proc("master").kill()
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
	s.serve("master", who, []string{"master"}, nil)
	s.built(b)
	s.until(time.Minute, "the node keeps nothing that is delivered", func() bool { return len(spooled("lease.json")) == 0 })
	s.one(b, "kept", 1)
	s.check("master", "")
}

// TestUploads plays a node by hand: T11, a cut upload goes on where it was cut and
// is not to be seen before; T12, a file that isn't what it is called is refused and
// not kept; T49, a package of a foreign name is refused.
func TestUploads(t *testing.T) {
	t.Parallel()
	s := apart(t, longLease)
	me := worker.NewClient(s.url, s.enroll("by-hand", "node"), &http.Client{})
	foreign := read(t, filepath.Join(module, "internal/rpm/testdata/albs-rich-1.0~rc1-3.el9.src.rpm"))
	file := albs.File{Name: "albs-rich-1.0~rc1-3.el9.src.rpm", Digest: albs.DigestOf([]byte(foreign)), Size: int64(len(foreign))}
	record := "{}"
	kept := albs.File{Name: "buildroot.json", Digest: albs.DigestOf([]byte(record)), Size: int64(len(record))}

	for _, tc := range []struct {
		name string
		do   func(ctx context.Context, lease *worker.Lease) error
		want string // in the task's reason
	}{
		{"cut-upload", func(ctx context.Context, lease *worker.Lease) error {
			half := int64(len(foreign) / 2)
			if _, err := me.Put(ctx, lease.Token, file.Digest, 0, &breaks{strings.NewReader(foreign[:half])}); err == nil {
				t.Error("an upload that broke off succeeded")
			}
			if _, err := os.Stat(filepath.Join(s.dir, "master/master/blobs/sha256", string(file.Digest[:2]), string(file.Digest[2:]))); err == nil {
				t.Error("half an upload is a blob")
			}
			if got := s.get("/blobs/" + string(file.Digest)); got != http.StatusNotFound {
				t.Errorf("half an upload is served with status %d", got)
			}
			s.until(10*time.Second, "the master notices the cut", func() bool {
				held, err := me.Stat(ctx, lease.Token, file.Digest)
				if err != nil || held > half {
					t.Fatalf("after the cut the master holds %d bytes (%v), %d were sent", held, err, half)
				}
				_, err = me.Put(ctx, lease.Token, file.Digest, held, strings.NewReader(foreign[held:]))
				if err != nil && !errors.Is(err, albs.Conflict) {
					t.Fatal(err)
				}
				return err == nil
			})
			// Whole, it is still refused: it is no package of this task.
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: file, Record: kept}})
		}, "albs-rich"},
		{"wrong-digest", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Digest = albs.DigestOf([]byte("something else"))
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(foreign)); err != nil {
				return err
			}
			err := me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
			if got := s.get("/blobs/" + string(claimed.Digest)); got != http.StatusNotFound {
				t.Errorf("what isn't what it is called is served with status %d", got)
			}
			return err
		}, "hash"},
		{"never-uploaded", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Digest = albs.DigestOf([]byte("never uploaded"))
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "nothing of upload"},
		{"no-package", func(ctx context.Context, lease *worker.Lease) error {
			junk := "\xed\xab\xee\xdb" + strings.Repeat("\xff", 4096)
			claimed := albs.File{Name: "no-package-1-1.src.rpm", Digest: albs.DigestOf([]byte(junk)), Size: int64(len(junk))}
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(junk)); err != nil {
				return err
			}
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "inspect no-package"},
		{"path-for-a-name", func(ctx context.Context, lease *worker.Lease) error {
			claimed := file
			claimed.Name = "../../" + file.Name
			if _, err := me.Put(ctx, lease.Token, claimed.Digest, 0, strings.NewReader(foreign)); err != nil {
				return err
			}
			return me.Complete(ctx, lease.Token, albs.OutcomeOK, albs.Result{Source: &albs.SourceResult{SRPM: claimed, Record: kept}})
		}, "use a plain name"},
	} {
		b := s.build("tiny", s.forge.spec(t, tc.name, specOf(tc.name, "true")))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		var got *worker.Lease
		s.until(30*time.Second, "the source task can be claimed", func() bool {
			var err error
			got, err = me.Claim(ctx, worker.Offer{Version: "test", Labels: []string{"kind:source", "arch:x86_64"}, Wait: 1})
			if err != nil {
				t.Fatal(err)
			}
			return got != nil
		})
		if _, err := me.Put(ctx, got.Token, kept.Digest, 0, strings.NewReader(record)); err != nil {
			t.Fatal(err)
		}
		if err := tc.do(ctx, got); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: the result was answered with %v, want invalid", tc.name, err)
		}
		task := s.task(b, albs.KindSource)
		if task.State != albs.TaskFailed || !strings.Contains(task.Reason, tc.want) {
			t.Errorf("%s: the task is %s: %s; want it failed and %q in the reason", tc.name, task.State, task.Reason, tc.want)
		}
		cancel()
	}
	s.until(15*time.Second, "no uploads are left", func() bool { return len(s.staged("master")) == 0 })
	s.check("master", "")
}

// breaks is a reader that fails at its end.
type breaks struct{ r *strings.Reader }

func (b *breaks) Read(p []byte) (int, error) {
	if b.r.Len() == 0 {
		return 0, errors.New("cut")
	}
	return b.r.Read(p)
}

// get returns the status with which the master answers a request for path.
func (s *site) get(path string) int {
	s.t.Helper()
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodGet, s.url+path, nil)
	if err != nil {
		s.t.Fatal(err)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	defer resp.Body.Close()
	return resp.StatusCode
}
