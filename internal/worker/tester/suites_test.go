package tester

import (
	"archive/tar"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/sandbox/examine"
	"albs/internal/sandbox/sandboxtest"
	"albs/internal/tap"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/suite"
)

const batsSpec = `%global debug_package %{nil}
%global __os_install_post %{nil}
Name: bats
Version: 1
Release: 1
Summary: x
License: MIT
BuildArch: noarch
AutoReqProv: no
Requires: bash coreutils grep sed
%description
x
%install
for f in /usr/bin/bats /usr/lib/bats-core /usr/libexec/bats-core; do
	mkdir -p %{buildroot}${f%/*}
	cp -r $f %{buildroot}$f
done
%files
/usr/bin/bats
/usr/lib/bats-core
/usr/libexec/bats-core
`

// batsRepo is a repository with the host's bats.
var batsRepo = sync.OnceValues(func() (string, error) {
	top, err := os.MkdirTemp("", "bats-") // in Main's folder, which it removes
	if err != nil {
		return "", err
	}
	if err := os.WriteFile(filepath.Join(top, "bats.spec"), []byte(batsSpec), 0o644); err != nil {
		return "", err
	}
	dir := filepath.Join(top, "RPMS", "noarch")
	for _, argv := range [][]string{{"rpmbuild", "--quiet", "-bb", "--define", "_topdir " + top, "bats.spec"}, {"createrepo_c", "--quiet", "--no-database", dir}} {
		cmd := exec.Command(argv[0], argv[1:]...)
		cmd.Dir = top
		if out, err := cmd.CombinedOutput(); err != nil {
			return "", fmt.Errorf("%q: %w\n%s", argv, err, out)
		}
	}
	return dir, nil
})

// withBats starts a tester whose platform has bats.
func withBats(t *testing.T, c Config) *world {
	t.Helper()
	for _, f := range []string{"/usr/bin/bats", "/usr/lib/bats-core", "/usr/libexec/bats-core"} {
		if _, err := os.Stat(f); err != nil {
			t.Skipf("there is no bats to test with: %v", err)
		}
	}
	dir := packages(t)
	more, err := batsRepo()
	if err != nil {
		t.Fatal(err)
	}
	return beginWith(t, c, dir, more)
}

// tree gives the master a tree of tests; files whose content names an interpreter may be run.
func (w *world) tree(t *testing.T, files map[string]string) albs.Digest {
	t.Helper()
	var b bytes.Buffer
	tw := tar.NewWriter(&b)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		mode := int64(0o644)
		if strings.HasPrefix(files[name], "#!") {
			mode = 0o755
		}
		if err := tw.WriteHeader(&tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(files[name]))}); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(tw, files[name]); err != nil {
			t.Fatal(err)
		}
	}
	if err := tw.Close(); err != nil {
		t.Fatal(err)
	}
	return w.fake.AddBlob(b.Bytes())
}

var packageStages = []albs.TestStage{albs.StageEnvironment, albs.StageInstall, albs.StagePackage}

// casesOf returns the cases of a package's own tests as "name status".
func casesOf(r *albs.TestResult, nevra string) (cases []string) {
	for _, c := range r.Cases {
		if c.Package == nevra && c.Stage == albs.StagePackage {
			cases = append(cases, c.Name+" "+string(c.Status))
		}
	}
	return cases
}

// tells holds details of cases of a package's own tests to say what they have to.
func tells(t *testing.T, r *albs.TestResult, nevra string, want map[string]string) {
	t.Helper()
	for _, c := range r.Cases {
		if c.Package != nevra || c.Stage != albs.StagePackage {
			continue
		}
		if !strings.Contains(c.Detail, want[c.Name]) {
			t.Errorf("%s of %s tells %q, want %q", c.Name, nevra, c.Detail, want[c.Name])
		}
		if c.Status == albs.TestFailed && c.Detail == "" {
			t.Errorf("%s of %s failed, and nothing tells why", c.Name, nevra)
		}
	}
}

// TestSuites: a package's own tests are run by what runs them, each on the tree as it is in
// git, and what they say is what the stage comes to.
func TestSuites(t *testing.T) {
	t.Parallel()
	w := withBats(t, Config{})
	tree := w.tree(t, map[string]string{
		"common/tool":               "#!/bin/sh\necho tool of $PACKAGE_NAME for $EXTRA\n",
		"good/0_init":               "#!/bin/sh\necho ready > /var/tmp/ready\necho changed > ../common/tool\n",
		"good/a.bats":               "@test 'is ready' { [ \"$(cat /var/tmp/ready)\" = ready ]; }\n@test 'has its tools' { [ \"$(../common/tool)\" = 'tool of x-good for all' ]; }\n@test later { skip 'no hardware'; }\n",
		"good/b.sh":                 "echo 1..2\necho ok 1 - one\necho words >&2\necho 'not ok 2 - two # TODO not yet'\n",
		"good/c.bash":               "#!/bin/bash\n[[ $(cat /usr/share/x-good/file) == 2 ]] && [ $PACKAGE_NEVRA = x-good-2-1.x86_64 ]\n",
		"good/deeper/d.sh":          "exit 1\n",
		"more/a.bats":               "@test more { true; }\n",
		"bad/a.bats":                "@test right { true; }\n@test wrong { echo because; false; }\n",
		"bad/b.sh":                  "echo 1..0\n",
		"bad/c.sh":                  "exit 7\n",
		"bad/d.sh":                  "echo 1..3; echo ok 1; echo ok 3\n",
		"bad/e.sh":                  "kill -9 $$\n",
		"bad/y.sh":                  "exit 1\n",
		"bad/z.sh":                  "true\n",
		"$(touch p)/a b;touch p.sh": "[ \"$MORE\" = '$(touch p);' ] && ! ls p ../p /p 2>/dev/null\n",
		"skip/a.bats":               "@test later { skip 'no hardware'; }\n",
		"play/site.yml":             "- hosts: all\n",

		"fmf/.fmf/version":   "1\n",
		"fmf/main.fmf":       "environment: {DEPTH: 2, EXTRA: none}\n",
		"fmf/tests/main.fmf": "test: ./run.sh\n/good: {require: grep, recommend: nosuch-package}\n/bad: {test+: ' 1'}\n/error: {test+: ' 7'}\n/known: {test+: ' 1', result: xfail}\n/pipe: {test: 'false | cat'}\n/slow: {test: sleep 86399, duration: 1s}\n/off: {enabled: false}\n",
		"fmf/tests/run.sh":   "#!/bin/sh\n[ $DEPTH$EXTRA = 2all ] && [ -e $TMT_TREE/main.fmf ] && echo 1..0 && exit $1\n",
		"fmf/plans/main.fmf": "discover: {how: fmf, test: good}\nexecute: {how: tmt}\n/broken: {order: 1, prepare: {script: 'false'}}\n/script: {discover: , execute: {script: [test -e plans/main.fmf, exit 3]}}\n/whole: {prepare: {script: touch /var/tmp/prepared}, discover: {how: shell, tests: [{name: own, test: ./run.sh, path: /tests}]}}\n",
	})
	spec := &albs.TestSpec{Root: w.root, Stages: packageStages, Env: map[string]string{"EXTRA": "all", "MORE": "$(touch p);"}}
	for _, dir := range []string{"good", "more", "bad", "skip", "play", "fmf/tests", "fmf", "$(touch p)"} {
		s := albs.TestSuite{Repository: "https://git.example/tests.git", Commit: strings.Repeat("c0ffee00", 5), Tree: tree, Dir: dir}
		if dir == "bad" {
			s.Files = []string{"a.bats", "b.sh", "c.sh", "d.sh", "e.sh", "z.sh"} // and not y
		}
		spec.Suites = append(spec.Suites, s)
	}
	tests := []struct {
		name   string
		suites []int
		status albs.TestStatus
		reason string // in it
		cases  []string
		tell   map[string]string // in details of cases
	}{
		{"good", []int{0, 1}, albs.TestPassed, "", []string{
			"good/0_init passed",
			"good/a.bats: is ready passed", "good/a.bats: has its tools passed", "good/a.bats: later skipped", "good/a.bats passed",
			"good/b.sh: one passed", "good/b.sh: two todo", "good/b.sh passed", "good/c.bash passed",
			"more/a.bats: more passed", "more/a.bats passed",
		}, map[string]string{"good/b.sh: two": "not yet", "good/a.bats: later": "no hardware"}},
		{"stays", []int{2}, albs.TestFailed, "6 of 10 cases failed: a.bats: wrong: ", []string{
			"a.bats: right passed", "a.bats: wrong failed", "a.bats failed", "b.sh failed", "c.sh failed",
			"d.sh: number 1 passed", "d.sh: number 3 passed", "d.sh failed", "e.sh failed", "z.sh passed",
		}, map[string]string{
			"a.bats: wrong": "because", "b.sh": "the plan has no tests", "c.sh": "it ended with code 7",
			"d.sh": "the plan has 3 tests, and 2 were told of", "e.sh": "it ended with code 137",
		}},
		{"once", []int{3}, albs.TestSkipped, "all of its tests are skipped: no hardware", []string{"a.bats: later skipped", "a.bats skipped"}, nil},
		{"changes", []int{4}, albs.TestNotRun, "site.yml needs /usr/bin/ansible-playbook, and no package that has it can be installed", nil, nil},
		{"guards", []int{5, 6, 7}, albs.TestFailed, "7 of 14 cases failed: /tests/bad: it ended with code 1", []string{
			"/tests/bad failed", "/tests/error failed", "/tests/good passed", "/tests/known todo", "/tests/off skipped", "/tests/pipe failed", "/tests/slow failed",
			"/plans/broken > prepare-1-1 failed", "/plans/broken > /tests/good not_run",
			"/plans/script > /script-00 passed", "/plans/script > /script-01 failed",
			"/plans/whole > prepare-1-1 passed", "/plans/whole > /own passed",
			"$(touch p)/a b;touch p.sh passed",
		}, map[string]string{
			"/tests/error": "it ended with code 7, which is an error of the test", "/tests/slow": "longer than 1s", "/tests/off": "it isn't enabled",
			"/tests/known": "known to fail", "/plans/broken > /tests/good": "/plans/broken > prepare-1-1 failed",
		}},
	}
	for _, tt := range tests {
		p := w.pkg(t, tt.name)
		p.Suites = tt.suites
		spec.Packages = append(spec.Packages, p)
	}
	id := w.add(spec)
	outcome, r := w.end(t, id)
	log := string(w.fake.LogOf(id, 1, "test"))
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, log)
	}
	for _, tt := range tests {
		nevra := "x-" + tt.name + "-2-1.x86_64"
		i := slices.IndexFunc(r.Test.Stages, func(s albs.StageResult) bool { return s.Package == nevra && s.Stage == albs.StagePackage })
		if i < 0 || r.Test.Stages[i].Status != tt.status || !strings.Contains(r.Test.Stages[i].Reason, tt.reason) || r.Test.Stages[i].Log == "" {
			t.Errorf("%s: %+v, want %s saying %q", tt.name, r.Test.Stages, tt.status, tt.reason)
		}
		if diff := gocmp.Diff(tt.cases, casesOf(r.Test, nevra)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
		tells(t, r.Test, nevra, tt.tell)
	}
	if !strings.Contains(log, "words\n") || !strings.Contains(log, "== a.bats: failed: 1 of 2 cases failed, first wrong\n") || !strings.Contains(log, "/tests/good does without nosuch-package: ") {
		t.Errorf("the log doesn't say what tests said:\n%s", log)
	}
}

// TestHostileSuites: whatever a test does is its own failure, those behind it are run, and
// nothing of it is alive afterwards.
func TestHostileSuites(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("tests that hang take as long as they may: not in -short")
	}
	nap := "2" + sandboxtest.Nap // and not that of the test that runs beside
	w := withBats(t, Config{
		limits:  map[albs.TestStage]time.Duration{albs.StagePackage: 3 * time.Minute},
		Sandbox: sandbox.Config{Limits: sandbox.Limits{Disk: 256 << 20, Processes: 300}},
	})
	tree := w.tree(t, map[string]string{
		"a_forks.sh": "setsid sleep " + nap + " &\nf() { f | f & }\nf\nsleep " + nap + "\n",
		"b_talks.sh": "yes 0123456789012345678901234567890123456789 | head -c 1G\n",
		"d_kills.sh": "kill -9 -1; kill -9 $$\n",
		"e_eats.sh":  "rm -rf /usr/share/x-good ..; mkfifo /var/tmp/package-tests.xml; exit 1\n",
		"y.bats":     "@test fine { true; }\n",
		"last/a.sh":  "trap '' TERM INT HUP; while :; do sleep 1; done\n",
		"last/b.sh":  "head -c 1G /dev/zero > /var/tmp/fill; sleep 86399\n",
		"z_rm.sh":    "rm -f /bin/sh /usr/bin/sh\n",
		"zz.bats":    "@test gone { true; }\n",
	})
	p := w.pkg(t, "good")
	p.Suites = []int{0}
	last := w.pkg(t, "once") // it has its own time to lose, and its own disk
	last.Suites = []int{1}
	id := w.add(&albs.TestSpec{
		Root: w.root, Stages: append(slices.Clone(packageStages), albs.StageRemove), Packages: []albs.TestPackage{p, last},
		Suites: []albs.TestSuite{{Tree: tree}, {Tree: tree, Dir: "last"}},
	})
	outcome, r := w.end(t, id)
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("the task ended %s, %q\n%s", outcome, r.Reason, w.fake.LogOf(id, 1, "test"))
	}
	want := []string{"a_forks.sh failed", "b_talks.sh failed", "d_kills.sh failed", "e_eats.sh failed", "y.bats: fine passed", "y.bats passed", "z_rm.sh passed", "zz.bats failed"}
	if diff := gocmp.Diff(want, casesOf(r.Test, p.NEVRA)); diff != "" {
		t.Errorf("-want +got:\n%s\n%+v", diff, r.Test.Cases)
	}
	tells(t, r.Test, p.NEVRA, map[string]string{
		"a_forks.sh": "longer than 1m0s", "b_talks.sh": "16777216 bytes", "d_kills.sh": "it ended with code 137", "e_eats.sh": "it ended with code 1",
	})
	tells(t, r.Test, last.NEVRA, map[string]string{"a.sh": "longer than 1m0s", "b.sh": "268435456 bytes to disk"})
	for _, nevra := range []string{p.NEVRA, last.NEVRA} {
		if got, _ := told(r.Test, nevra); got != "environment passed, install passed, package failed, remove passed" {
			t.Errorf("the stages of %s: %s", nevra, got)
		}
	}
	if alive := sandboxtest.Processes(t, nap); len(alive) > 0 {
		t.Errorf("alive afterwards: %v", alive)
	}
}

// lost is an environment whose package goes whenever something runs.
type lost struct {
	engine.Environment
	pkg   sandbox.Package
	gone  bool
	fails bool // what runs
	did   []string
}

func (e *lost) Installed(context.Context) ([]sandbox.Package, error) {
	if e.gone {
		return nil, nil
	}
	return []sandbox.Package{e.pkg}, nil
}

func (e *lost) Install(_ context.Context, names []string, _ io.Writer) error {
	e.did, e.gone = append(e.did, "install "+strings.Join(names, " ")), false
	return nil
}

func (e *lost) CopyIn(_ context.Context, files ...sandbox.Copy) error {
	e.did = append(e.did, "lay "+files[0].To)
	return nil
}

func (e *lost) Examine(_ context.Context, asks []examine.Ask) ([]examine.Entry, error) {
	return []examine.Entry{{Path: asks[0].Path, Kind: examine.File}}, nil
}

func (e *lost) Run(_ context.Context, c sandbox.Cmd) (int, error) {
	e.did = append(e.did, "run "+c.Argv[len(c.Argv)-1])
	e.gone = true
	if e.fails {
		return 1, nil
	}
	return 0, nil
}

// TestVanished: a package that a test removed is there again for the next one.
func TestVanished(t *testing.T) {
	t.Parallel()
	env := &lost{pkg: sandbox.Package{Name: "x", Version: "1", Release: "1", Arch: "noarch"}}
	tree := func(context.Context, albs.Digest) (suite.Tree, error) {
		return suite.Tree{Files: []suite.File{{Name: "a.sh"}, {Name: "b.sh"}}}, nil
	}
	s := &subject{bench: &bench{spec: &albs.TestSpec{}, tree: tree}, pkg: albs.TestPackage{NEVRA: "x-1-1.noarch", Suites: []int{0}}, nevra: rpm.NEVRA{Name: "x"}}
	r := suiteRun{subject: s, env: env, log: io.Discard, names: map[string]int{}}
	if err := r.suite(t.Context(), albs.TestSuite{}); err != nil {
		t.Fatal(err)
	}
	want := []string{"lay /var/tmp/package-tests/a.sh", "run ./a.sh", "install x-1-1.noarch", "run " + suite.Report, "lay /var/tmp/package-tests/a.sh", "run ./b.sh"}
	if diff := gocmp.Diff(want, env.did); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestManyCases: however many cases a test has and whatever they are called, there are no
// more than a statement takes, and each has a name of its own.
func TestManyCases(t *testing.T) {
	t.Parallel()
	r := suiteRun{subject: &subject{bench: &bench{spec: &albs.TestSpec{}}, pkg: albs.TestPackage{NEVRA: "x"}}, log: io.Discard, names: map[string]int{}}
	r.env = &lost{}
	for range 2 {
		r.note("a\x1b[1m\n"+strings.Repeat("é", 200), statuses[tap.Passed], "", 0)
	}
	if len(r.cases) != 2 || r.cases[0].Name == r.cases[1].Name {
		t.Errorf("%+v", r.cases)
	}
	for _, c := range r.cases {
		if len(c.Name) > maxCaseName || strings.ContainsAny(c.Name, "\x1b\n") {
			t.Errorf("%q is no name", c.Name)
		}
	}
	var out strings.Builder
	fmt.Fprintf(&out, "1..%d\n", 2*maxSingle)
	for range 2 * maxSingle {
		out.WriteString("ok\n")
	}
	r.cases = nil
	r.env = &says{out: out.String()}
	if good, err := r.file(t.Context(), suite.Tree{}, suite.Test{Name: "a.sh", Argv: []string{"./a.sh"}}, "a.sh"); !good || err != nil || len(r.cases) != maxSingle+1 {
		t.Errorf("%v, %v, %d cases", good, err, len(r.cases))
	}
}

// says is an environment whose programs say something.
type says struct {
	engine.Environment
	out string
}

func (e *says) CopyIn(context.Context, ...sandbox.Copy) error { return nil }

func (e *says) Run(_ context.Context, c sandbox.Cmd) (int, error) {
	_, err := io.WriteString(c.Stdout, e.out)
	return 0, err
}

func TestCheckSuites(t *testing.T) {
	t.Parallel()
	one := []albs.TestSuite{{}}
	for name, spec := range map[string]*albs.TestSpec{
		"beyond":    {Suites: one, Packages: []albs.TestPackage{{Suites: []int{1}}}},
		"below":     {Suites: one, Packages: []albs.TestPackage{{Suites: []int{-1}}}},
		"too many":  {Suites: one, Packages: []albs.TestPackage{{Suites: make([]int, maxSuites+1)}}},
		"variables": {Env: map[string]string{"A B": ""}},
	} {
		if err := checkSuites(spec); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if err := checkSuites(&albs.TestSpec{Suites: one, Packages: []albs.TestPackage{{Suites: []int{0}}}}); err != nil {
		t.Error(err)
	}
}

// TestNoTests: what keeps tests from being run is told, and nothing is run.
func TestNoTests(t *testing.T) {
	t.Parallel()
	files := []suite.File{{Name: "t/0_init.sh"}, {Name: "t/a.sh"}, {Name: "r/README"}}
	for _, tt := range []struct {
		name, dir string
		err       error // of reading the tree
		say       string
		want      albs.TestStatus
	}{
		{"no folder", "nosuch", nil, "commit c0ffee00c0ff of https://git.example/t.git: there is no folder nosuch", albs.TestNotRun},
		{"no tests", "r", nil, "https://git.example/t.git: the folder r has no tests", albs.TestNotRun},
		{"no tree", "t", albs.Errorf(albs.Invalid, "the tree is no tar"), "commit c0ffee00c0ff of https://git.example/t.git can't be had: the tree is no tar", albs.TestNotRun},
		{"no master", "t", albs.Errorf(albs.Unavailable, "no answer"), "no answer", ""},
	} {
		env := &lost{}
		tree := func(context.Context, albs.Digest) (suite.Tree, error) { return suite.Tree{Files: files}, tt.err }
		r := suiteRun{subject: &subject{bench: &bench{tree: tree}}, env: env, log: io.Discard}
		err := r.suite(t.Context(), albs.TestSuite{Repository: "https://git.example/t.git", Commit: "c0ffee00c0ffee", Dir: tt.dir})
		var status albs.TestStatus
		if e, ok := err.(end); ok {
			status = e.status
		}
		if err == nil || !strings.Contains(err.Error(), tt.say) || status != tt.want || len(env.did) > 0 {
			t.Errorf("%s: %v, %q; did %q", tt.name, err, status, env.did)
		}
	}
	gone := suiteRun{subject: &subject{bench: &bench{tree: func(context.Context, albs.Digest) (suite.Tree, error) {
		t.Error("a tree that is missing was asked for")
		return suite.Tree{}, nil
	}}}, env: &lost{}, log: io.Discard}
	if err := gone.suite(t.Context(), albs.TestSuite{Missing: "the repository is gone"}); err != error(end{albs.TestNotRun, "the repository is gone"}) {
		t.Errorf("what the master can't have: %v", err)
	}
	r := suiteRun{subject: &subject{bench: &bench{spec: &albs.TestSpec{}, tree: func(context.Context, albs.Digest) (suite.Tree, error) { return suite.Tree{Files: files}, nil }}}, log: io.Discard, names: map[string]int{}}
	r.env = &lost{fails: true}
	if err := r.suite(t.Context(), albs.TestSuite{Dir: "t"}); err != nil {
		t.Fatal(err)
	}
	if got := casesOf(&albs.TestResult{Cases: r.cases}, ""); !slices.Equal(got, []string{"0_init.sh failed", "a.sh not_run"}) {
		t.Errorf("behind a setup that failed: %q", got)
	}
}
