package node

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/egress"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/worker"
	"albs/internal/worker/depot"
	"albs/internal/worker/guard"
	"albs/internal/worker/workertest"
)

func TestMain(m *testing.M) { sandboxtest.Main(m) }

// world is a master with one node that may claim everything of its arch.
type world struct {
	fake   *workertest.Fake
	config Config
	depot  *depot.Depot
	bearer string
}

func newWorld(t *testing.T, allow ...string) *world {
	t.Helper()
	e, err := egress.New(egress.Policy{Allow: allow})
	if err != nil {
		t.Fatal(err)
	}
	d, err := depot.New(depot.Config{Dir: t.TempDir()}, e)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	w := &world{fake: workertest.NewFake(), depot: d, config: Config{
		Spool: filepath.Join(dir, "spool"), Work: filepath.Join(dir, "work"), Arch: albs.X8664, MinFree: 1,
	}}
	w.fake.Term = 3 * time.Second // a stop is heard within a third of it
	w.bearer = w.fake.AddWorker("kind:source", "kind:build", "kind:rebuild", "arch:x86_64")
	return w
}

// start has a node work until the test ends, or until stop.
func (w *world) start(t *testing.T, run func(ctx context.Context) error) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- run(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the node ended with %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

// with has a node work with engine.
func (w *world) with(t *testing.T, engine buildroot.Engine) (stop func()) {
	t.Helper()
	return w.start(t, func(ctx context.Context) error {
		return work(ctx, w.config, "test", engine, w.fake.As(w.bearer), w.depot, guard.New(1, zerolog.Nop(), w.config.Work), zerolog.Nop())
	})
}

// end waits until the task's first attempt has ended.
func (w *world) end(t *testing.T, id albs.TaskID) (albs.Outcome, albs.Result) {
	t.Helper()
	for late := time.After(2 * time.Minute); ; {
		changed := w.fake.Changed()
		if outcome, r := w.fake.Result(id, 1); outcome != "" {
			return outcome, r
		}
		select {
		case <-changed:
		case <-late:
			t.Fatalf("the task doesn't end; state log:\n%s\nroot log:\n%s", w.fake.LogOf(id, 1, "state"), w.fake.LogOf(id, 1, "root"))
		}
	}
}

// build queues a build of an SRPM out of root.
func (w *world) build(root albs.Root) albs.TaskID {
	d := w.fake.AddBlob([]byte("an SRPM"))
	return w.fake.Add(workertest.Task{Needs: []string{"kind:build", "arch:x86_64"}, Spec: albs.Spec{Build: &albs.BuildSpec{
		Root: root, Arch: albs.X8664, Owner: "user:a", Switches: albs.Switches{With: []string{"a"}, Without: []string{"b"}}, SRPM: albs.File{Name: "x-1-1.src.rpm", Digest: d, Size: 7},
	}}}, nil)
}

// contents returns the files of a result by name, as the master admitted them.
func (w *world) contents(files []albs.File) map[string]string {
	got := make(map[string]string)
	for _, f := range files {
		got[f.Name] = string(w.fake.Content(f.Digest))
	}
	return got
}

// engine is one whose work is f.
type engine struct {
	source func(ctx context.Context, j buildroot.SourceJob) (buildroot.Output, error)
	build  func(ctx context.Context, j buildroot.BuildJob) (buildroot.Output, error)
}

func (e engine) Source(ctx context.Context, j buildroot.SourceJob) (buildroot.Output, error) {
	return e.source(ctx, j)
}

func (e engine) Build(ctx context.Context, j buildroot.BuildJob) (buildroot.Output, error) {
	return e.build(ctx, j)
}

var record = buildroot.Record{Format: buildroot.RecordFormat, Platform: "p"}

func encoded(t *testing.T) string {
	t.Helper()
	b, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// say writes a word to each log.
func say(l buildroot.Logs) {
	fmt.Fprint(l.State, "a state")
	fmt.Fprint(l.Root, "a root")
	fmt.Fprint(l.Build, "a build")
}

// leave writes files into out and returns their paths.
func leave(t *testing.T, out string, names ...string) []string {
	var paths []string
	for _, n := range names {
		p := filepath.Join(out, n)
		if err := os.WriteFile(p, []byte("bytes of "+n), 0o600); err != nil {
			t.Error(err)
		}
		paths = append(paths, p)
	}
	return paths
}

// stepTimes are the times of steps in a state log.
var stepTimes = regexp.MustCompile(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z | \(\d+\.\d\d s\)`)

// TestOutcomes: what an engine says of a build, and what the master hears.
func TestOutcomes(t *testing.T) {
	t.Parallel()
	const begun, sent = "fetch begins\nfetch done\na state", "upload begins\nupload done\n"
	whole := map[string]string{"state": begun + sent, "root": "a root", "build": "a build"}
	logs := map[string]string{"state": begun, "root": "a root", "build": "a build"}
	withRecord := map[string]string{"state": begun, "root": "a root", "build": "a build", "buildroot.json": encoded(t)}
	for _, tt := range []struct {
		name    string
		files   []string
		out     buildroot.Output
		err     error
		outcome albs.Outcome
		reason  string
		logs    map[string]string
	}{
		{"packages", []string{"a.rpm", "b.rpm"}, buildroot.Output{Record: record}, nil, albs.OutcomeOK, "", whole},
		{"the package's fault", []string{"half.rpm"}, buildroot.Output{Record: record}, albs.Errorf(albs.Invalid, "no such header"), albs.OutcomeFailed, "no such header", withRecord},
		{"refused before it began", nil, buildroot.Output{}, albs.Errorf(albs.Invalid, "bad option"), albs.OutcomeFailed, "bad option", logs},
		{"excluded", nil, buildroot.Output{Record: record, Excluded: "ExcludeArch"}, nil, albs.OutcomeExcluded, "ExcludeArch", withRecord},
		{"the platform's fault", nil, buildroot.Output{Record: record}, albs.Errorf(albs.Unavailable, "no mirror"), albs.OutcomeInfra, "no mirror", nil},
		{"a fault of albs", nil, buildroot.Output{Record: record}, errors.New("secret path"), albs.OutcomeInfra, albs.UserMessage(errors.New("x")), nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.build(albs.Root{Arch: albs.X8664})
			stop := w.with(t, engine{build: func(_ context.Context, j buildroot.BuildJob) (buildroot.Output, error) {
				if b, err := os.ReadFile(j.SRPM); err != nil || string(b) != "an SRPM" || filepath.Base(j.SRPM) != "x-1-1.src.rpm" {
					t.Errorf("the SRPM %s holds %q, %v", j.SRPM, b, err)
				}
				if j.Arch != albs.X8664 || j.Owner != "user:a" || !slices.Equal(j.With, []string{"a"}) || !slices.Equal(j.Without, []string{"b"}) {
					t.Errorf("the job is %+v", j)
				}
				say(j.Logs)
				out := tt.out
				out.Files = leave(t, j.Out, tt.files...)
				return out, tt.err
			}})
			outcome, r := w.end(t, id)
			if outcome != tt.outcome || !strings.Contains(r.Reason, tt.reason) || tt.reason == "" && r.Reason != "" {
				t.Errorf("the task ended %s, %q; want %s, %q", outcome, r.Reason, tt.outcome, tt.reason)
			}
			got := w.contents(r.Logs)
			got["state"] = stepTimes.ReplaceAllString(got["state"], "")
			if tt.logs != nil && !cmp.Equal(tt.logs, got) {
				t.Errorf("logs (-want +got):\n%s", cmp.Diff(tt.logs, got))
			}
			if (r.Build != nil) != (tt.outcome == albs.OutcomeOK) {
				t.Fatalf("the result is %+v", r)
			}
			if r.Build != nil {
				want := map[string]string{"a.rpm": "bytes of a.rpm", "b.rpm": "bytes of b.rpm"}
				if diff := cmp.Diff(want, w.contents(r.Build.Packages)); diff != "" {
					t.Errorf("packages (-want +got):\n%s", diff)
				}
				if got := w.contents([]albs.File{r.Build.Record}); got["buildroot.json"] != encoded(t) {
					t.Errorf("record = %v", got)
				}
			}
			stop() // what went back was claimed again
			if left, err := os.ReadDir(w.config.Work); err != nil || len(left) > 0 {
				t.Errorf("left in the work folder: %v, %v", left, err)
			}
		})
	}
}

// TestSource: a source task's tree and look-aside files reach the engine by their
// content, and it must leave one SRPM.
func TestSource(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name    string
		files   []string
		outcome albs.Outcome
	}{{"one", []string{"x-1-1.src.rpm"}, albs.OutcomeOK}, {"two", []string{"x-1-1.src.rpm", "y-1-1.src.rpm"}, albs.OutcomeInfra}} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.fake.Add(workertest.Task{Needs: []string{"kind:source"}, Spec: albs.Spec{Source: &albs.SourceSpec{
				Root: albs.Root{Arch: albs.X8664}, Tree: w.fake.AddBlob([]byte("a tree")), Spec: "SPECS/x.spec", History: w.fake.AddBlob([]byte("before")),
				Sources: []albs.File{{Name: "a.tar", Digest: w.fake.AddBlob([]byte("aside")), Size: 5}},
			}}}, nil)
			w.with(t, engine{source: func(_ context.Context, j buildroot.SourceJob) (buildroot.Output, error) {
				if b, err := os.ReadFile(j.Tree); err != nil || string(b) != "a tree" || j.Spec != "SPECS/x.spec" || len(j.Sources) != 1 || j.Sources[0].Name != "a.tar" {
					t.Errorf("the job is %+v, its tree %q, %v", j, b, err)
				} else if b, err := os.ReadFile(j.Sources[0].Path); err != nil || string(b) != "aside" {
					t.Errorf("the source holds %q, %v", b, err)
				}
				if b, err := os.ReadFile(j.History); err != nil || string(b) != "before" {
					t.Errorf("the history holds %q, %v", b, err)
				}
				say(j.Logs)
				return buildroot.Output{Record: record, Files: leave(t, j.Out, tt.files...)}, nil
			}})
			outcome, r := w.end(t, id)
			if outcome != tt.outcome || (r.Source != nil) != (outcome == albs.OutcomeOK) {
				t.Fatalf("the task ended %s, %+v", outcome, r)
			}
			if r.Source == nil {
				return
			}
			want := map[string]string{"x-1-1.src.rpm": "bytes of x-1-1.src.rpm", "buildroot.json": encoded(t)}
			if diff := cmp.Diff(want, w.contents([]albs.File{r.Source.SRPM, r.Source.Record})); diff != "" {
				t.Errorf("result (-want +got):\n%s", diff)
			}
		})
	}
}

// TestBadSpec: a task that can never be done fails at once and is not tried again.
func TestBadSpec(t *testing.T) {
	t.Parallel()
	for name, spec := range map[string]albs.Spec{
		"nothing to build":      {Keygen: &albs.KeygenSpec{}},
		"a floating repository": {Build: &albs.BuildSpec{Root: albs.Root{Repos: []albs.Repo{{ID: "a", Mirror: "https://example.org/"}}}}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			id := w.fake.Add(workertest.Task{Spec: spec}, nil)
			w.with(t, engine{build: func(context.Context, buildroot.BuildJob) (buildroot.Output, error) {
				t.Error("the engine was asked")
				return buildroot.Output{}, nil
			}})
			if outcome, r := w.end(t, id); outcome != albs.OutcomeFailed || r.Reason == "" || w.fake.StateOf(id) != albs.TaskFailed {
				t.Errorf("the task ended %s, %q", outcome, r.Reason)
			}
		})
	}
}

// TestMirrors: an engine gets no address but the depot's, behind which lies what the
// spec pins of a mirror; a mirror that isn't allowed isn't asked.
func TestMirrors(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	const repomd = `<repomd xmlns="http://linux.duke.edu/metadata/repo"><data type="primary"><checksum type="sha256">e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855</checksum><location href="repodata/primary.xml"/></data></repomd>`
	if err := os.MkdirAll(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "repodata", "repomd.xml"), []byte("it has moved on"), 0o600); err != nil {
		t.Fatal(err)
	}
	root := albs.Root{Arch: albs.X8664, Repos: []albs.Repo{{ID: "base", Mirror: "file://" + dir, Repomd: albs.DigestOf([]byte(repomd)), Priority: 7}}}

	t.Run("allowed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t, "file://"+dir)
		w.fake.AddBlob([]byte(repomd))
		id := w.build(root)
		var address string
		w.with(t, engine{build: func(ctx context.Context, j buildroot.BuildJob) (buildroot.Output, error) {
			if len(j.Repos) != 1 || j.Repos[0].ID != "base" || j.Repos[0].Priority != 7 || !strings.HasPrefix(j.Repos[0].BaseURL, "http://127.0.0.1:") {
				return buildroot.Output{}, fmt.Errorf("the engine's repositories are %+v", j.Repos)
			}
			address = j.Repos[0].BaseURL + "repodata/repomd.xml"
			if b, err := get(ctx, address); err != nil || string(b) != repomd {
				return buildroot.Output{}, fmt.Errorf("the depot has %q, %w", b, err)
			}
			if _, err := get(ctx, j.Repos[0].BaseURL+"../../../etc/passwd"); err == nil {
				return buildroot.Output{}, errors.New("the depot serves the host")
			}
			return buildroot.Output{Record: record, Files: leave(t, j.Out, "a.rpm")}, nil
		}})
		if outcome, r := w.end(t, id); outcome != albs.OutcomeOK {
			t.Fatalf("the task ended %s, %q", outcome, r.Reason)
		}
		if _, err := get(t.Context(), address); err == nil {
			t.Error("the depot serves on after the task")
		}
	})
	t.Run("not allowed", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		w.fake.AddBlob([]byte(repomd))
		id := w.build(root)
		w.with(t, engine{build: func(context.Context, buildroot.BuildJob) (buildroot.Output, error) {
			t.Error("the engine was asked")
			return buildroot.Output{}, nil
		}})
		if outcome, r := w.end(t, id); outcome != albs.OutcomeInfra || !strings.Contains(r.Reason, "base") {
			t.Errorf("the task ended %s, %q", outcome, r.Reason)
		}
	})
}

func get(ctx context.Context, url string) ([]byte, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = errors.New(resp.Status)
	}
	return b, err
}

// TestShutdown: the end of the node ends its work and gives the task back.
func TestShutdown(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	id := w.build(albs.Root{Arch: albs.X8664})
	begun := make(chan struct{})
	stop := w.with(t, engine{build: func(ctx context.Context, _ buildroot.BuildJob) (buildroot.Output, error) {
		close(begun)
		<-ctx.Done()
		return buildroot.Output{}, context.Cause(ctx)
	}})
	<-begun
	stop()
	if outcome, _ := w.fake.Result(id, 1); outcome != albs.OutcomeStopped || w.fake.StateOf(id) != albs.TaskQueued {
		t.Errorf("the task ended %q and is %s", outcome, w.fake.StateOf(id))
	}
}

// TestSecondNode: a node leaves alone the folder in which another works.
func TestSecondNode(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if err := os.MkdirAll(w.config.Work, 0o700); err != nil {
		t.Fatal(err)
	}
	file := leave(t, w.config.Work, "of-the-first")[0]
	lock, err := os.Create(w.config.Work + ".lock")
	if err != nil {
		t.Fatal(err)
	}
	defer lock.Close()
	if err := syscall.Flock(int(lock.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	err = Run(t.Context(), w.config, "test", w.fake.As(w.bearer), w.depot, zerolog.Nop())
	if !errors.Is(err, albs.Conflict) {
		t.Errorf("Run = %v, want Conflict", err)
	}
	if _, err := os.Stat(file); err != nil {
		t.Error(err)
	}
}

// sleeper queues a real source package whose spec sleeps while it is read, twice, for
// nap seconds, and gives the node a folder for its roots. It skips the test where no
// sandbox can be made.
func (w *world) sleeper(t *testing.T, nap string) albs.TaskID {
	t.Helper()
	dir := sandboxtest.Seed(t)
	sandboxtest.Engine(t, sandbox.Config{}) // skips where there can be none
	w.config.Sandbox.Dir = t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(w.config.Sandbox.Dir); err != nil {
			t.Error(err)
		}
	})
	root, _ := sandboxtest.SmallRoot(t)
	root.Arch = albs.X8664
	root.Packages = []string{"system-release", "bash", "coreutils", "tar", "util-linux", "rpm-build"}
	repomd, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	w.fake.AddBlob(repomd)
	var tree bytes.Buffer
	tw := tar.NewWriter(&tree)
	spec := "%(setsid sleep " + nap + " & sleep " + nap + ")\nName: x\n"
	if err := errors.Join(tw.WriteHeader(&tar.Header{Name: "x.spec", Mode: 0o644, Size: int64(len(spec))}), second(tw.Write([]byte(spec))), tw.Close()); err != nil {
		t.Fatal(err)
	}
	return w.fake.Add(workertest.Task{Spec: albs.Spec{Source: &albs.SourceSpec{Root: root, Tree: w.fake.AddBlob(tree.Bytes()), Spec: "x.spec"}}}, nil)
}

// asleep waits until so many processes of a sleeper are alive.
func (w *world) asleep(t *testing.T, id albs.TaskID, nap string, n int) {
	t.Helper()
	for late := time.After(2 * time.Minute); len(sandboxtest.Processes(t, nap)) != n; {
		select {
		case <-time.After(50 * time.Millisecond):
		case <-late:
			t.Fatalf("%v sleep, want %d; root log:\n%s", sandboxtest.Processes(t, nap), n, w.fake.LogOf(id, 1, "root"))
		}
	}
}

// TestStop has a real node make a source package whose spec sleeps while it is read.
// The master's stop reaches it, and nothing of it is alive when that is reported.
func TestStop(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "file://"+sandboxtest.Seed(t))
	id := w.sleeper(t, sandboxtest.Nap)
	w.start(t, func(ctx context.Context) error {
		return Run(ctx, w.config, "test", w.fake.As(w.bearer), w.depot, zerolog.Nop())
	})
	w.asleep(t, id, sandboxtest.Nap, 2)
	w.fake.StopTask(id)
	if outcome, r := w.end(t, id); outcome != albs.OutcomeStopped || w.fake.StateOf(id) != albs.TaskCancelled {
		t.Errorf("the task ended %s, %q", outcome, r.Reason)
	}
	if alive := sandboxtest.Processes(t, sandboxtest.Nap); len(alive) > 0 {
		t.Errorf("alive after the stop was reported: %v", alive)
	}
}

// killedNode holds the configuration of the node that TestKilled kills, in the
// environment of its process.
const killedNode = "ALBS_TEST_KILLED_NODE"

// TestKilled kills a real node's process in the middle of a task: all that it ran dies
// with it, and the next node on its folders removes its roots and files before it
// takes the task again.
func TestKilled(t *testing.T) {
	if text := os.Getenv(killedNode); text != "" {
		var c struct {
			Config      Config
			URL, Bearer string
			Seed        string
		}
		if err := json.Unmarshal([]byte(text), &c); err != nil {
			t.Fatal(err)
		}
		w := newWorld(t, "file://"+c.Seed)
		err := Run(t.Context(), c.Config, "test", worker.NewClient(c.URL, c.Bearer, http.DefaultClient), w.depot, zerolog.Nop())
		t.Fatalf("the node ended: %v", err)
	}
	t.Parallel()
	nap := "2" + sandboxtest.Nap // beside TestStop's
	seed := sandboxtest.Seed(t)
	w := newWorld(t, "file://"+seed)
	id := w.sleeper(t, nap)
	server := httptest.NewServer(worker.NewHandler(w.fake, func(r *http.Request) (context.Context, error) {
		return w.fake.Identify(r.Context(), strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
	}, zerolog.Nop()))
	defer server.Close()
	text, err := json.Marshal(map[string]any{"Config": w.config, "URL": server.URL, "Bearer": w.bearer, "Seed": seed})
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	cmd := exec.CommandContext(t.Context(), "/proc/self/exe", "-test.run=^TestKilled$")
	cmd.Env = append(os.Environ(), killedNode+"="+string(text), "ALBS_SEED="+seed)
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	w.asleep(t, id, nap, 2)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	cmd.Wait()
	w.asleep(t, id, nap, 0)
	left := w.left(t)
	if len(left) < 3 { // a root, its lock, a folder of files
		t.Fatalf("the killed node left %v\n%s", left, &said)
	}
	w.start(t, func(ctx context.Context) error {
		return Run(ctx, w.config, "test", w.fake.As(w.bearer), w.depot, zerolog.Nop())
	})
	w.asleep(t, id, nap, 2)
	for _, f := range w.left(t) {
		if slices.Contains(left, f) {
			t.Errorf("the next node left %s of the killed one", f)
		}
	}
	w.fake.StopTask(id)
	w.asleep(t, id, nap, 0)
}

// left lists the roots and the files of tasks in the node's folders.
func (w *world) left(t *testing.T) []string {
	t.Helper()
	roots, err1 := filepath.Glob(filepath.Join(w.config.Sandbox.Dir, "root", "*"))
	files, err2 := filepath.Glob(filepath.Join(w.config.Work, "*"))
	if err := errors.Join(err1, err2); err != nil {
		t.Fatal(err)
	}
	return append(roots, files...)
}

func second(_ int, err error) error { return err }

// TestEngine: a node that is told to use an engine which isn't here doesn't start, and
// says what to do.
func TestEngine(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		engine, say string
		kind        albs.Kind
	}{
		{"docker", `node.engine is "docker"`, albs.Invalid},
		{EngineMock, "install the package mock", albs.Unavailable},
	} {
		t.Run(tt.engine, func(t *testing.T) {
			t.Parallel()
			if _, err := os.Stat("/usr/libexec/mock/mock"); err == nil && tt.engine == EngineMock {
				t.Skip("mock is installed here")
			}
			w := newWorld(t)
			w.config.Engine = tt.engine
			sandboxtest.Engine(t, sandbox.Config{}) // or skip
			w.config.Sandbox = sandbox.Config{Dir: t.TempDir()}
			err := Run(t.Context(), w.config, "v", w.fake.As(w.bearer), w.depot, zerolog.Nop())
			if albs.KindOf(err) != tt.kind || !strings.Contains(fmt.Sprint(err), tt.say) {
				t.Errorf("Run = %v (%s), want %s saying %q", err, albs.KindOf(err), tt.kind, tt.say)
			}
		})
	}
}
