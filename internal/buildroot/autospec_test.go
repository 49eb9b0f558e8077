package buildroot_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/buildroot/autospectest"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/git/gittest"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// filled is a source job of a history, with what the master gives for it.
func filled(t *testing.T, h autospectest.History, root albs.Root, repos []sandbox.Repo) (job buildroot.SourceJob, head string) {
	t.Helper()
	s := gittest.NewServer(t)
	bare := filepath.Join(t.TempDir(), "auto.git")
	head = h.Make(t, bare)
	s.AddRepo("auto", map[string]string{"x": "x"})
	s.Git("auto", "fetch", "--quiet", bare, "+main:main")
	e, err := egress.New(egress.Policy{Allow: []string{s.Addr()}, CAFiles: []string{s.CAFile()}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := git.New(t.TempDir(), e)
	if err != nil {
		t.Fatal(err)
	}
	save := func(name string, f func(io.Writer) error) string {
		var b bytes.Buffer
		if err := f(&b); err != nil {
			t.Fatal(err)
		}
		name = filepath.Join(t.TempDir(), name)
		if err := os.WriteFile(name, b.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
		return name
	}
	url := s.URL("auto")
	return buildroot.SourceJob{
		Root: root, Repos: repos, Spec: autospectest.Name + ".spec", Out: t.TempDir(), Arches: []albs.Arch{root.Arch},
		Tree: save("tree.tar", func(w io.Writer) error { return m.Export(t.Context(), url, head, w) }),
		History: save("history.tar", func(w io.Writer) error {
			_, err := m.History(t.Context(), url, head, git.Bounds{Commits: 10, Bytes: 1 << 20}, w)
			return err
		}),
	}, head
}

// withAutospec returns the root and its repositories with that of rpmautospec.
func withAutospec(t *testing.T, root albs.Root, repos []sandbox.Repo, real string) (albs.Root, []sandbox.Repo) {
	t.Helper()
	dir := t.TempDir()
	autospectest.Repository(t, dir, real)
	md, err := os.ReadFile(filepath.Join(dir, "repodata", "repomd.xml"))
	if err != nil {
		t.Fatal(err)
	}
	root.Repos = append(slices.Clone(root.Repos), albs.Repo{ID: "auto", Mirror: "file://" + dir, Repomd: albs.DigestOf(md), Own: true})
	return root, append(slices.Clone(repos), sandbox.Repo{ID: "auto", BaseURL: "file://" + dir})
}

// TestAutospec has the stand-in fill in a spec, which answers as the real one did.
func TestAutospec(t *testing.T) {
	t.Parallel()
	b := setup(t)
	root, repos := withAutospec(t, b.root, b.repos, "")
	if diff := cmp.Diff(autospectest.Recorded(t), answers(t, b.engine, root, repos)); diff != "" {
		t.Errorf("the stand-in did otherwise than was recorded (-recorded +now):\n%s", diff)
	}
}

// TestAutospecReal has the real rpmautospec do it, and compares with what is recorded; with
// -record it records anew.
func TestAutospecReal(t *testing.T) {
	t.Parallel()
	real, why := autospectest.Real()
	if real == "" {
		t.Skip(why)
	}
	b := setup(t)
	root, repos := withAutospec(t, b.root, b.repos, real)
	now := answers(t, b.engine, root, repos)
	if *recordTo == "" {
		if diff := cmp.Diff(autospectest.Recorded(t), now); diff != "" {
			t.Errorf("rpmautospec did otherwise than was recorded (-recorded +now):\n%s", diff)
		}
		return
	}
	text, err := json.MarshalIndent(now, "", " ")
	if err == nil {
		err = os.WriteFile(filepath.Join(*recordTo, "recorded.json"), append(text, '\n'), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestMockAutospec has the real mock do it, by its own plugin.
func TestMockAutospec(t *testing.T) {
	t.Parallel()
	tool := upstream(t)
	if _, err := os.Stat(filepath.Join(os.Getenv("ALBS_MOCK_SRC"), "rpmautospec_core")); err != nil {
		t.Skipf("mock's plugin can't be run: %v", err)
	}
	dir, err := os.MkdirTemp("", "mock-")
	if err != nil {
		t.Fatal(err)
	}
	root, repos := sandboxtest.Root(t, sandboxtest.Seed(t))
	engine := newMock(t, sandboxtest.Engine(t, sandbox.Config{Dir: dir}), tool)
	real, why := autospectest.Real()
	if real == "" {
		t.Log("in the root a stand-in answers as recorded:", why)
	}
	root, repos = withAutospec(t, root, repos, real)
	answers(t, engine, root, repos)
}

// answers has both histories filled in and checks what comes of it. It returns what
// rpmautospec did.
func answers(t *testing.T, engine buildroot.Engine, root albs.Root, repos []sandbox.Repo) autospectest.Recording {
	t.Helper()
	now := autospectest.Recording{Answers: map[string]autospectest.Answer{}}
	job, head := filled(t, autospectest.Good, root, repos)
	var log bytes.Buffer
	job.Logs = buildroot.Logs{State: &log, Root: &log, Build: &log}
	out, err := engine.Source(t.Context(), job)
	if err != nil {
		t.Fatalf("%v\n%s", err, &log)
	}
	p, err := rpm.ReadFile(out.Files[0])
	if err != nil {
		t.Fatal(err)
	}
	if want := autospectest.GoodRelease + ".seed9"; p.Version != "2" || p.Release != want {
		t.Errorf("the SRPM is %s, want the release %s", p.NEVRA, want)
	}
	spec := specOf(t, out.Files[0])
	_, changelog, _ := strings.Cut(spec, "\n%changelog\n")
	var lines []string
	for line := range strings.Lines(changelog) {
		if strings.HasPrefix(line, "- ") {
			lines = append(lines, strings.TrimSpace(line))
		}
	}
	if diff := cmp.Diff(autospectest.GoodChangelog, lines); diff != "" {
		t.Errorf("the changelog (-want +got):\n%s\n%s", diff, changelog)
	}
	r := out.Record
	want, err := os.ReadFile(job.History)
	if err != nil {
		t.Fatal(err)
	}
	if r.History == nil || r.History.Digest != albs.DigestOf(want) {
		t.Errorf("the record has the history %+v", r.History)
	}
	i := slices.IndexFunc(r.Packages, func(p sandbox.Package) bool { return p.Name == "rpmautospec" })
	if i < 0 {
		t.Fatalf("rpmautospec isn't among the packages on record: %v", r.Packages)
	}
	now.Version = r.Packages[i].Version
	now.Answers[head] = autospectest.Answer{Spec: spec}

	job, head = filled(t, autospectest.Broken, root, repos)
	var said bytes.Buffer
	job.Logs = buildroot.Logs{Build: &said}
	_, err = engine.Source(t.Context(), job)
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "rpmautospec can't fill in the spec (it ended with code 1): Couldn’t parse spec file auto.spec") {
		t.Fatalf("Source = %v, want Invalid with its words\n%s", err, &said)
	}
	_, words, _ := strings.Cut(said.String(), "\n") // what was run
	now.Answers[head] = autospectest.Answer{Exit: 1, Said: words}
	return now
}

// TestAutospecLacking: where rpmautospec isn't to be had the platform is at fault, and
// where nobody asked for it, the spec.
func TestAutospecLacking(t *testing.T) {
	t.Parallel()
	b := setup(t)
	job, _ := filled(t, autospectest.Good, b.root, b.repos)
	for _, tt := range []struct {
		name    string
		history bool
		kind    albs.Kind
		say     string
	}{
		{"not in the repositories", true, albs.Unavailable, "platform seed-9 asks for rpmautospec, which can't be installed: give the platform a repository that has the package rpmautospec"},
		{"not asked for", false, albs.Invalid, "the spec uses %autorelease, which rpmautospec fills in from the git history, and platform seed-9 did not ask for that"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			job := job
			if !tt.history {
				job.History = ""
			}
			_, err := b.engine.Source(t.Context(), job)
			if albs.KindOf(err) != tt.kind || errors.Is(err, albs.Invalid) != (tt.kind == albs.Invalid) || !strings.Contains(err.Error(), tt.say) {
				t.Errorf("Source = %v (%s), want %s with %q", err, albs.KindOf(err), tt.kind, tt.say)
			}
		})
	}
}

// specOf returns the spec file of a source package.
func specOf(t *testing.T, srpm string) string {
	t.Helper()
	dir := t.TempDir()
	if out, err := exec.Command("rpm", "-i", "--nosignature", "--define", "_topdir "+dir, srpm).CombinedOutput(); err != nil {
		t.Fatalf("rpm -i: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "SPECS", autospectest.Name+".spec"))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
