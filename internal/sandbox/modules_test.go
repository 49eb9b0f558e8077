package sandbox_test

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/rpm/rpmtest"
	"albs/internal/sandbox"
	"albs/internal/sandbox/sandboxtest"
)

// toolSpec is a package of the module tool, whose stream is called as the version.
const toolSpec = `Name: tool
Version: STREAM
Release: 1
Summary: tool
License: MIT
BuildArch: noarch
ModularityLabel: tool:STREAM:1:c0ffee00
%description
tool
%files
`

const toolModule = `---
document: modulemd
version: 2
data: {name: tool, stream: "STREAM", version: 1, context: c0ffee00, arch: x86_64, summary: tool, description: tool,
  license: {module: [MIT]}, profiles: {}, artifacts: {rpms: [tool-0:STREAM-1.noarch]}}
...
`

// toolDefault makes the stream 1 the default.
const toolDefault = `---
document: modulemd-defaults
version: 1
data: {module: tool, stream: "1"}
...
`

// modular makes a repository of two streams of a module, the first of which is the default.
func modular(t *testing.T) string {
	t.Helper()
	for _, tool := range []string{"rpmbuild", "createrepo_c", "modifyrepo_c"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed", tool)
		}
	}
	dir, modules := t.TempDir(), toolDefault
	for _, stream := range []string{"1", "2"} {
		files, err := rpmtest.Build(strings.ReplaceAll(toolSpec, "STREAM", stream))
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range files {
			if strings.HasSuffix(name, ".src.rpm") {
				continue
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		modules += strings.ReplaceAll(toolModule, "STREAM", stream)
	}
	file := filepath.Join(t.TempDir(), "modules.yaml")
	if err := os.WriteFile(file, []byte(modules), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, argv := range [][]string{{"createrepo_c", "--quiet", "--no-database", dir}, {"modifyrepo_c", "--mdtype=modules", file, filepath.Join(dir, "repodata")}} {
		if out, err := exec.CommandContext(t.Context(), argv[0], argv[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", argv[0], err, out)
		}
	}
	return dir
}

// TestModularRepository: of an own repository that has modules dnf sees what is of the
// default stream, or of the one that is enabled; of one that has only packages with labels
// it sees all.
func TestModularRepository(t *testing.T) {
	t.Parallel()
	released := sandbox.Repo{ID: "released-0", BaseURL: "file://" + modular(t), Priority: 200, Own: true, Modular: true}
	root, repos := sandboxtest.SmallRoot(t)
	root.Packages = []string{"system-release"}
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := sandbox.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	b := base(t, sandboxtest.Engine(t, sandbox.Config{Dir: dir}), root, repos)
	for _, tt := range []struct {
		name    string
		modular bool
		enable  string
		want    string
	}{
		{"with modules", true, "", "1"},
		{"with modules, of a stream", true, "tool:2", "2"},
		{"as if it had none", false, "", "2"},
	} {
		repo := released
		repo.Modular = tt.modular
		all := append(repos[:len(repos):len(repos)], repo)
		var log bytes.Buffer
		r, err := b.Overlay(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if tt.enable != "" {
			err = r.Enable(t.Context(), []string{tt.enable}, all, &log)
		}
		if err == nil {
			err = r.Install(t.Context(), []string{"tool"}, all, &log)
		}
		packages, listed := r.Installed(t.Context())
		if err != nil || listed != nil {
			t.Errorf("%s: %v, %v\n%s", tt.name, err, listed, log.String())
		}
		got := ""
		for _, p := range packages {
			if p.Name == "tool" {
				got = p.Version
			}
		}
		if got != tt.want {
			t.Errorf("%s: tool %q is installed, want %q\n%s", tt.name, got, tt.want, log.String())
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}
