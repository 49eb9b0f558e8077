package buildroot_test

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/buildroottest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// upstream returns how mock is run from the checkout in ALBS_MOCK_SRC. It is read by the
// ordinary user whom tests go on as.
func upstream(t testing.TB) buildroot.MockTool {
	t.Helper()
	src := os.Getenv("ALBS_MOCK_SRC")
	switch {
	case testing.Short():
		t.Skip("mock fills roots for minutes: make test-long runs it")
	case src == "":
		t.Skip("ALBS_MOCK_SRC names no checkout of mock")
	}
	program := filepath.Join(src, "mock", "py", "mock.py")
	if _, err := os.Stat(program); err != nil {
		t.Skipf("ALBS_MOCK_SRC is no checkout of mock: %v", err)
	}
	if out, err := exec.Command("dnf", "builddep", "--help").CombinedOutput(); err != nil {
		t.Skipf("dnf has no builddep, which mock needs; dnf-plugins-core brings it: %.200s", out)
	}
	return buildroot.MockTool{
		Argv: []string{"/usr/bin/python3", program}, Folders: []string{src},
		Env: []string{"PYTHONPATH=" + filepath.Join(src, "mock", "py") + ":" + src},
	}
}

// newMock returns an engine, or skips the test with what the tool lacks here.
func newMock(t testing.TB, sb *sandbox.Engine, tool buildroot.MockTool) *buildroot.Mock {
	t.Helper()
	m, err := buildroot.NewMock(t.Context(), sb, tool)
	if err != nil {
		t.Skipf("mock lacks something here: %v", err)
	}
	return m
}

// upstreamSays is what mock makes of cases that the native engine sees for itself.
var upstreamSays = map[string]string{
	// mock takes output in slowly and passes on whole lines.
	"much output":     "of log|longer than",
	"a line of 1 GiB": "of log|longer than|memory|silent",
	// dnf's builddep leaves it to the solver to say so.
	"without a requirement": "tool-1-1.noarch is filtered out by exclude filtering",
}

func TestMockUpstream(t *testing.T) {
	t.Parallel()
	tool := upstream(t)
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	root, repos := sandboxtest.Root(t, sandboxtest.Seed(t))
	engine := newMock(t, sandboxtest.Engine(t, sandbox.Config{Dir: dir}), tool)
	small := newMock(t, sandboxtest.Engine(t, sandbox.Config{
		Dir:    dir,
		Limits: sandbox.Limits{Processes: 300, Disk: 256 << 20, Output: 16 << 20, Memory: 2 << 30},
	}), tool)
	buildroottest.TestEngine(t, buildroottest.Fixture{Engine: engine, Small: small.WithRounds(3), Root: root, Repos: repos, Says: upstreamSays})
	t.Cleanup(func() {
		if left, err := os.ReadDir(filepath.Join(dir, "root")); err != nil || len(left) > 0 {
			t.Errorf("left of workshops: %v, %v", left, err)
		}
	})
}

// recordTo is where TestMockRecord puts what the real mock did, to be laid into
// testdata/mock.
var recordTo = flag.String("record", "", "folder that gets recordings of the real mock")

// What holds for recordings, and so for their replay.
const (
	recordTimeout = 5 * time.Second // where the recording is of one that passed
	recordRounds  = 3
)

// TestMockRecord runs a few jobs with the real mock and keeps its words.
func TestMockRecord(t *testing.T) {
	if *recordTo == "" {
		t.Skip("no folder is given by -record")
	}
	tool := upstream(t)
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	root, repos := sandboxtest.Root(t, sandboxtest.Seed(t))
	engine := newMock(t, sandboxtest.Engine(t, sandbox.Config{Dir: dir}), tool).WithRounds(recordRounds)
	const (
		head = "Name: x\nVersion: 1\nRelease: 1\nSummary: x\nLicense: MIT\n"
		all  = "BuildArch: noarch\n"
		tail = "%description\nx\n%files\n"
		more = "%generate_buildrequires\nfor p in m4 autotools-dev autoconf automake zlib1g-dev libncursesw6 libproc2-0 procps; do rpm -q $p >/dev/null || { echo $p; break; }; done\n"
	)
	for _, tt := range []struct {
		name, stage, spec string
		change            func(*albs.Root)
		say               string
	}{
		{"source", "source", head + all + tail, nil, ""},
		{"source-missing", "source", head + all + "Source0: absent.tar.gz\n" + tail, nil, "absent.tar.gz"},
		{"source-timeout", "source", "%{lua: while true do end}\n" + head + tail, func(r *albs.Root) { r.Timeout = recordTimeout }, "longer than 5s"},
		{"build", "build", head + all + tail, nil, ""},
		{"build-section", "build", head + "%build\nexit 7\n" + tail, nil, "Bad exit status"},
		{"build-requires", "build", head + all + "BuildRequires: nosuch-devel >= 3\nBuildRequires: pkgconfig(absent)\n" + tail, nil, "nosuch-devel >= 3"},
		{"build-dynamic", "build", head + all + "%generate_buildrequires\necho late-devel\n" + tail, nil, "late-devel"},
		{"build-endless", "build", head + all + more + tail, nil, "more and more"},
		{"build-excluded", "build", head + "%{?elsewhere:ExclusiveArch: s390x}\n" + tail, func(r *albs.Root) { r.Macros = map[string]string{"elsewhere": "1"} }, "Architecture is not included"},
		{"build-empty", "build", head + all + "%description\nx\n", nil, "made no package"},
		{"build-timeout", "build", head + all + "%build\nwhile :; do echo on; sleep 0.1; done\n" + tail, func(r *albs.Root) { r.Timeout = recordTimeout }, "longer than 5s"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := recording{Spec: tt.spec, Stage: tt.stage, Say: tt.say}
			m := engine.WithEnded(func(args []string, e buildroot.End) {
				if args[0] != "--init" {
					r.End = buildroot.End{Exit: e.Exit, State: condensed(e.State), Root: condensed(e.Root), Build: condensed(e.Build), Own: condensed(e.Own)}
				}
			})
			with := root
			if tt.change != nil {
				tt.change(&with)
			}
			source := buildroot.SourceJob{
				Root: root, Repos: repos, Tree: buildroottest.Tree(t, map[string]string{"x.spec": tt.spec}), Spec: "x.spec", Out: t.TempDir(),
			}
			if tt.stage == "source" {
				source.Root = with
			}
			out, err := m.Source(t.Context(), source)
			if tt.stage == "build" {
				if err != nil {
					t.Fatal(err)
				}
				out, err = m.Build(t.Context(), buildroot.BuildJob{Root: with, Repos: repos, SRPM: out.Files[0], Arch: root.Arch, Out: t.TempDir()})
			}
			if err != nil {
				r.Kind = albs.KindOf(err)
			}
			for _, f := range out.Files {
				r.Out = append(r.Out, filepath.Base(f))
			}
			r.Files = r.Out
			if tt.stage == "build" {
				r.Files = append([]string{"x-1-1.src.rpm"}, r.Out...)
			}
			judge(t, r, out, err)
			b, err := json.MarshalIndent(r, "", " ")
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(filepath.Join(*recordTo, tt.name+".json"), append(b, '\n'), 0o644); err != nil {
				t.Fatal(err)
			}
			fmt.Println(tt.name, r.End.Exit, out.Excluded, err)
		})
	}
}

// condensed returns the end of a log, which is what verdicts are made of, in whole lines
// and without mock's account of what it runs, and from before the end the lines that
// tell of rounds.
func condensed(log string) string {
	const most = 6 << 10
	var lines []string
	size := 0
	for line := range strings.Lines(strings.ReplaceAll(log, os.Getenv("ALBS_MOCK_SRC"), "/src")) {
		if !strings.Contains(line, "Executing command: ") && !strings.Contains(line, "child environment: ") && !strings.Contains(line, "Child return code was: ") {
			lines = append(lines, line)
			size += len(line)
		}
	}
	var b strings.Builder
	for _, line := range lines {
		if size <= most || strings.Contains(line, "missing dynamic buildrequires") || strings.Contains(line, "Transaction Summary") {
			b.WriteString(line)
		}
		size -= len(line)
	}
	return b.String()
}
