package buildroot_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/buildroottest"
	"albs/internal/rpm/rpmtest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// A fake mock stands in where the real one isn't: this test program again, which knows
// mock's arguments, replays what the real one said and did in a recorded run, or
// misbehaves. What runs it, and what is made of its words, is the engine as it is.

// recording is one job as the real mock did it, in testdata/mock.
type recording struct {
	Spec  string        `json:"spec"`            // of the package
	Stage string        `json:"stage"`           // "source" or "build"
	End   buildroot.End `json:"end"`             // of the run that decided
	Files []string      `json:"files,omitempty"` // that it left
	Kind  albs.Kind     `json:"kind,omitempty"`  // of the error that came of it
	Say   string        `json:"say,omitempty"`   // a part of the error, or of why it is excluded
	Out   []string      `json:"out,omitempty"`   // base names of what the job gave
}

const (
	fakeWord = "fake-mock"
	fakePlay = "ALBS_FAKE_PLAY" // a recording's file
	fakeSin  = "ALBS_FAKE_SIN"  // what it does instead
)

// maybeFakeMock turns this program into the fake if it was started as that.
func maybeFakeMock() {
	if len(os.Args) > 1 && os.Args[1] == fakeWord {
		code, err := fakeMock(os.Args[2:])
		if err != nil {
			fmt.Fprintln(os.Stderr, "ERROR:", err)
			code = 1
		}
		os.Exit(code)
	}
}

func fakeMock(args []string) (int, error) {
	if slices.Contains(args, "--version") {
		fmt.Println("fake")
		return 0, nil
	}
	var result string
	for _, a := range args {
		if dir, ok := strings.CutPrefix(a, "--resultdir="); ok {
			result = dir
		}
	}
	// The configuration is there and is what is to be read.
	if b, err := os.ReadFile("/albs/albs.cfg"); err != nil || !bytes.Contains(b, []byte("config_opts['basedir'] = '/work/mock'\n")) {
		return 3, fmt.Errorf("configuration: %.100q, %w", b, err)
	}
	if err := os.MkdirAll(result, 0o755); err != nil {
		return 70, err
	}
	if slices.Contains(args, "--init") && os.Getenv(fakeSin) == "has no such module" {
		return 30, os.WriteFile(filepath.Join(result, "root.log"), []byte("DEBUG util.py:461:  missing groups or modules: tool:3\n"), 0o644)
	}
	if slices.Contains(args, "--init") {
		return 0, fakeRoot("/work/mock/albs/root")
	}
	if sin := os.Getenv(fakeSin); sin != "" {
		return fakeSins(sin, result)
	}
	b, err := os.ReadFile(os.Getenv(fakePlay))
	if err != nil {
		return 1, err
	}
	var r recording
	if err := json.Unmarshal(b, &r); err != nil {
		return 1, err
	}
	for name, text := range map[string]string{"state.log": r.End.State, "root.log": r.End.Root, "build.log": r.End.Build, "hw_info.log": "CPU info:\n"} {
		if err := os.WriteFile(filepath.Join(result, name), []byte(text), 0o644); err != nil {
			return 1, err
		}
	}
	for _, name := range r.Files {
		if err := os.WriteFile(filepath.Join(result, name), []byte(name), 0o644); err != nil {
			return 1, err
		}
	}
	fmt.Fprint(os.Stderr, r.End.Own)
	return r.End.Exit, nil
}

// fakeRoot makes a root with a package that rpm can list.
func fakeRoot(root string) error {
	for _, dir := range []string{"usr/bin", "etc/rpm", "var/cache/albs/seed/packages"} {
		if err := os.MkdirAll(filepath.Join(root, dir), 0o755); err != nil {
			return err
		}
	}
	for _, name := range []string{"bash", "rpm", "rpmbuild"} {
		if err := os.WriteFile(filepath.Join(root, "usr/bin", name), nil, 0o755); err != nil {
			return err
		}
	}
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	packages, err := filepath.Glob(filepath.Join(filepath.Dir(exe), "*.noarch.rpm"))
	if err != nil {
		return err
	}
	for _, p := range packages {
		if out, err := exec.Command("rpm", "--root", root, "-i", "--justdb", "--nodeps", "--nosignature", p).CombinedOutput(); err != nil {
			return fmt.Errorf("rpm -i: %w: %s", err, out)
		}
		b, err := os.ReadFile(p)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(root, "var/cache/albs/seed/packages", filepath.Base(p)), b, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// fakeSins does what no mock should.
func fakeSins(sin, result string) (int, error) {
	log := func(name, text string) {
		f, err := os.OpenFile(filepath.Join(result, name), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o644)
		if err == nil {
			fmt.Fprint(f, text)
			f.Close()
		}
	}
	log("state.log", "2026-11-26 17:00:00,000 - Start: build phase for x-1-1.src.rpm\n")
	log("root.log", "the root's last words\n")
	if addr, ok := strings.CutPrefix(sin, "dials "); ok {
		c, err := net.DialTimeout("tcp", addr, 5*time.Second)
		if err != nil {
			return 62, nil
		}
		return 61, c.Close()
	}
	switch {
	case sin == "hangs":
		log("build.log", "the build's last words\n")
		time.Sleep(time.Hour)
	case sin == "is silent":
		log("state.log", "2026-11-26 17:00:00,000 - Start: rpmbuild x-1-1.src.rpm\n")
		log("build.log", "the build's last words\n")
		time.Sleep(time.Hour)
	case sin == "is deaf to its time":
		log("state.log", "2026-11-26 17:00:00,000 - Start: rpmbuild x-1-1.src.rpm\n")
		for {
			log("build.log", "the build's last words\n")
			time.Sleep(50 * time.Millisecond)
		}
	case sin == "dies":
		log("build.log", "the build's last words\n")
		return 0, syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case sin == "floods":
		for {
			log("build.log", strings.Repeat("the build's last words\n", 10_000))
		}
	case sin == "leaves a child":
		log("build.log", "the build's last words\n")
		cmd := exec.Command("setsid", "sleep", sandboxtest.Nap)
		if err := cmd.Start(); err != nil {
			return 1, err
		}
		return 10, nil
	case sin == "puts a FIFO for a log":
		if err := syscall.Mkfifo(filepath.Join(result, "build.log"), 0o666); err != nil {
			return 1, err
		}
		time.Sleep(time.Hour)
	case sin == "puts a link for a log":
		if err := os.Symlink("/etc/passwd", filepath.Join(result, "build.log")); err != nil {
			return 1, err
		}
		time.Sleep(time.Hour)
	}
	code, err := strconv.Atoi(sin)
	if err != nil {
		return 1, fmt.Errorf("no sin %q", sin)
	}
	return code, nil
}

// fakeFolder holds the fake, the package that its roots have, and a source package.
var fakeFolder = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "fake-")
	if err != nil {
		return "", err
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return "", err
	}
	self, err := os.Open("/proc/self/exe")
	if err != nil {
		return "", err
	}
	defer self.Close()
	exe, err := os.OpenFile(filepath.Join(dir, "mock"), os.O_WRONLY|os.O_CREATE, 0o755)
	if err != nil {
		return "", err
	}
	_, err = io.Copy(exe, self)
	if err := errors.Join(err, exe.Close()); err != nil {
		return "", err
	}
	made, err := rpmtest.Build("Name: tiny\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\nBuildArch: noarch\n%description\nx\n%files\n")
	if err != nil {
		return "", err
	}
	for name, b := range made {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return "", err
		}
	}
	return dir, nil
})

// fake is an engine that runs the fake in the given mood.
func fake(t *testing.T, dir string, limits sandbox.Limits, mood ...string) *buildroot.Mock {
	t.Helper()
	folder, err := fakeFolder()
	if err != nil {
		t.Fatal(err)
	}
	play, err := filepath.Abs("testdata/mock")
	if err != nil {
		t.Fatal(err)
	}
	// The checkout may lie where only root can walk to.
	shown := filepath.Join(folder, "play")
	if err := os.CopyFS(shown, os.DirFS(play)); err != nil && !errors.Is(err, os.ErrExist) {
		t.Fatal(err)
	}
	m, err := buildroot.NewMock(t.Context(), sandboxtest.Engine(t, sandbox.Config{Dir: dir, Limits: limits}), buildroot.MockTool{
		Argv: []string{filepath.Join(folder, "mock"), fakeWord}, Folders: []string{folder}, Env: mood,
	})
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// fakeRootSpec is what the fake is asked for.
func fakeRootSpec() albs.Root {
	return albs.Root{
		Platform: "fake", Releasever: "9", Arch: albs.HostArch(runtime.GOARCH), Packages: []string{"tiny"}, RPMDBPath: "/usr/lib/sysimage/rpm",
		Macros: map[string]string{"dist": ".x"},
	}
}

// fakeSource is the source package that fakes are given.
func fakeSource(t *testing.T) string {
	t.Helper()
	folder, err := fakeFolder()
	if err != nil {
		t.Fatal(err)
	}
	srpms, err := filepath.Glob(filepath.Join(folder, "*.src.rpm"))
	if err != nil || len(srpms) != 1 {
		t.Fatalf("source packages: %v, %v", srpms, err)
	}
	return srpms[0]
}

func fakeBuild(t *testing.T, m *buildroot.Mock, root albs.Root) (buildroot.Output, string, error) {
	t.Helper()
	var state, rootLog, build bytes.Buffer
	out, err := m.Build(t.Context(), buildroot.BuildJob{
		Root: root, SRPM: fakeSource(t), Arch: root.Arch, Out: t.TempDir(), Logs: buildroot.Logs{State: &state, Root: &rootLog, Build: &build},
	})
	return out, state.String() + rootLog.String() + build.String(), err
}

// TestMockSins runs a mock that does what it shouldn't: every log that it wrote is kept,
// nothing of it lives on, and the package is blamed for its own doings alone.
func TestMockSins(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	// One base for all, as tasks of one platform have.
	if _, _, err := fakeBuild(t, fake(t, dir, sandbox.Limits{}, fakeSin+"=1"), fakeRootSpec()); err == nil {
		t.Fatal("a mock that ends with code 1 is well")
	}
	if testing.Short() {
		t.Log("-short: a fifth of mock's codes end a build here; TestMockVerdict has all")
	}
	const words = "the build's last words"
	for _, tt := range []struct {
		sin     string
		limits  sandbox.Limits
		silence time.Duration
		timeout time.Duration
		kind    albs.Kind
		say     string
		log     string
	}{
		{"hangs", sandbox.Limits{Time: 3 * time.Second}, 0, 0, albs.Invalid, "longer than 3s", words},
		{"is silent", sandbox.Limits{}, time.Second, 0, albs.Invalid, "silent for more than 1s", words},
		{"is deaf to its time", sandbox.Limits{}, 0, time.Second, albs.Invalid, "longer than 1s", words},
		{"dies", sandbox.Limits{}, 0, 0, albs.Unavailable, "it was killed", words},
		{"floods", sandbox.Limits{Output: 1 << 20}, 0, 0, albs.Invalid, "of log", words},
		{"leaves a child", sandbox.Limits{}, 0, 0, albs.Unavailable, "code 10", words},
		{"puts a FIFO for a log", sandbox.Limits{}, 0, 0, albs.Invalid, "no regular file", "the root's last words"},
		{"puts a link for a log", sandbox.Limits{}, 0, 0, albs.Invalid, "no regular file", "the root's last words"},
	} {
		t.Run(tt.sin, func(t *testing.T) {
			t.Parallel()
			root := fakeRootSpec()
			root.MaxSilence, root.Timeout = tt.silence, tt.timeout
			out, log, err := fakeBuild(t, fake(t, dir, tt.limits, fakeSin+"="+tt.sin), root)
			if albs.KindOf(err) != tt.kind || (tt.kind != albs.Invalid) == errors.Is(err, albs.Invalid) || !strings.Contains(fmt.Sprint(err), tt.say) {
				t.Errorf("Build = %v (%s), want %s saying %q", err, albs.KindOf(err), tt.kind, tt.say)
			}
			if !strings.Contains(log, tt.log) {
				t.Errorf("the logs lack %q:\n%.3000s", tt.log, log)
			}
			if alive := sandboxtest.Processes(t, sandboxtest.Nap); len(alive) > 0 {
				t.Errorf("alive after Build: %v", alive)
			}
			if p := out.Record.Packages; len(p) != 1 || p[0].NEVRA() != "tiny-1-1.noarch" || !p[0].File.Valid() || !p[0].Header.Valid() {
				t.Errorf("the record's packages are %+v", p)
			}
			if out.Record.Isolation.Engine != "mock" || !out.Record.Base.Valid() {
				t.Errorf("the record is %+v", out.Record)
			}
		})
	}
	for i, code := range buildroot.MockCodes() {
		if testing.Short() && i%5 != 0 {
			continue
		}
		t.Run("code "+strconv.Itoa(code), func(t *testing.T) {
			t.Parallel()
			_, _, err := fakeBuild(t, fake(t, dir, sandbox.Limits{}, fakeSin+"="+strconv.Itoa(code)), fakeRootSpec())
			if albs.KindOf(err) != albs.Unavailable || errors.Is(err, albs.Invalid) || !strings.Contains(fmt.Sprint(err), fmt.Sprintf("code %d,", code)) {
				t.Errorf("Build = %v, want Unavailable", err)
			}
		})
	}
	t.Cleanup(func() {
		if left, err := os.ReadDir(filepath.Join(dir, "root")); err != nil || len(left) > 0 {
			t.Errorf("left of workshops: %v, %v", left, err)
		}
	})
}

// TestMockNoRoot: that a root can't be made is the platform's fault, but where a build
// chose among its packages, the build's.
func TestMockNoRoot(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	m := fake(t, dir, sandbox.Limits{}, fakeSin+"=has no such module")
	root := fakeRootSpec()
	if _, _, err := fakeBuild(t, m, root); albs.KindOf(err) != albs.Unavailable || errors.Is(err, albs.Invalid) {
		t.Errorf("Build = %v (%s), want Unavailable", err, albs.KindOf(err))
	}
	root.ModuleID, root.Modules = "platform:el9", []string{"tool:3"}
	if _, _, err := fakeBuild(t, m, root); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "there is no module tool:3") {
		t.Errorf("Build = %v, want Invalid saying that there is no such module", err)
	}
}

// TestMockCancel ends a job as soon as its log has come, while mock still works.
func TestMockCancel(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	m := fake(t, dir, sandbox.Limits{}, fakeSin+"=hangs")
	ctx, cancel := context.WithCancelCause(t.Context())
	defer cancel(nil)
	why := errors.New("enough")
	out, err := m.Build(ctx, buildroot.BuildJob{
		Root: fakeRootSpec(), SRPM: fakeSource(t), Arch: fakeRootSpec().Arch, Out: t.TempDir(), Logs: buildroot.Logs{Build: seen(func() { cancel(why) })},
	})
	if !errors.Is(err, why) || errors.Is(err, albs.Invalid) {
		t.Errorf("Build = %v, want the cause of the end", err)
	}
	if len(out.Record.Packages) != 1 || out.Record.Format != buildroot.RecordFormat {
		t.Errorf("the record is %+v", out.Record)
	}
}

// seen calls itself with the first write.
type seen func()

func (s seen) Write(p []byte) (int, error) {
	s()
	return len(p), nil
}

// TestMockNetwork: the host's network is there for a platform that has it, and for no
// other.
func TestMockNetwork(t *testing.T) {
	t.Parallel()
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	m := fake(t, dir, sandbox.Limits{}, fakeSin+"=dials "+l.Addr().String())
	for network, want := range map[bool]string{false: "code 62,", true: "code 61,"} {
		root := fakeRootSpec()
		root.Network = network
		out, _, err := fakeBuild(t, m, root)
		if !strings.Contains(fmt.Sprint(err), want) || out.Record.Network != network {
			t.Errorf("with network %v: %v, and the record says %v; want %s", network, err, out.Record.Network, want)
		}
	}
}

// TestMockReplay gives the engine what the real mock said in the recorded jobs.
func TestMockReplay(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/mock/*.json")
	if err != nil || len(files) == 0 {
		t.Fatalf("recordings: %v, %v", files, err)
	}
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	folder, err := fakeFolder()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		t.Run(strings.TrimSuffix(filepath.Base(f), ".json"), func(t *testing.T) {
			t.Parallel()
			b, err := os.ReadFile(f)
			if err != nil {
				t.Fatal(err)
			}
			var r recording
			if err := json.Unmarshal(b, &r); err != nil {
				t.Fatal(err)
			}
			m := fake(t, dir, sandbox.Limits{}, fakePlay+"="+filepath.Join(folder, "play", filepath.Base(f)))
			root := fakeRootSpec()
			root.Timeout = recordTimeout
			var out buildroot.Output
			if r.Stage == "source" {
				out, err = m.Source(t.Context(), buildroot.SourceJob{
					Root: root, Tree: buildroottest.Tree(t, map[string]string{"x.spec": r.Spec}), Spec: "x.spec", Out: t.TempDir(),
				})
			} else {
				out, _, err = fakeBuild(t, m.WithRounds(recordRounds), root)
			}
			judge(t, r, out, err)
			// The source package is made once, and each arch only rebuilds it.
			want := map[string]string{"source": "--buildsrpm", "build": "--rebuild"}[r.Stage]
			for _, c := range out.Record.Commands {
				if said := strings.Join(c, " "); !strings.Contains(said, " --init") && !strings.Contains(said, " "+want) || !strings.HasPrefix(said, folder) {
					t.Errorf("a %s job ran %s", r.Stage, said)
				}
			}
		})
	}
}

// judge compares what came of a job with what is recorded.
func judge(t *testing.T, r recording, out buildroot.Output, err error) {
	t.Helper()
	switch {
	case r.Kind != "":
		if albs.KindOf(err) != r.Kind || !strings.Contains(fmt.Sprint(err), r.Say) {
			t.Errorf("the job ended with %v (%s), want %s saying %q", err, albs.KindOf(err), r.Kind, r.Say)
		}
	case err != nil:
		t.Errorf("the job ended with %v", err)
	case r.Say != "" && !strings.Contains(out.Excluded, r.Say) || r.Say == "" && out.Excluded != "":
		t.Errorf("excluded is %q, want %q", out.Excluded, r.Say)
	case len(out.Files) != len(r.Out):
		t.Errorf("the job gave %v, want %v", out.Files, r.Out)
	}
	for _, f := range out.Files {
		if !slices.Contains(r.Out, filepath.Base(f)) {
			t.Errorf("the job gave %s", f)
		}
	}
}
