// Package autospectest has histories for rpmautospec to read, and repositories with the
// package rpmautospec: the real one where it can be had, else a stand-in that answers as
// the real one was recorded to.
//
// The real one is taken from ALBS_RPMAUTOSPEC_SRC, a checkout of it, with the folder
// rpmautospec_core of rpmautospec-core in it (both of github.com/fedora-infra) and, unless
// the host has libgit2, libgit2 and what that needs in lib. It runs on the host's Python
// and its module rpm, which go into the package.
package autospectest

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// A History is a package's commits, oldest first; each replaces the spec.
type History []Commit

// Commit is one of a History.
type Commit struct{ Author, Message, Spec string }

const specHead = "Name: auto\nVersion: %s\nRelease: %%autorelease\nSummary: auto\nLicense: MIT\nBuildArch: noarch\n"

const specTail = "%description\nauto\n%files\n%changelog\n%autochangelog\n"

func specOf(version string) string { return fmt.Sprintf(specHead, version) + specTail }

// Name is what the package of every History is called; its spec lies at the root.
const Name = "auto"

// Good is a history whose last three commits are of the version 2: rpmautospec counts
// them, and makes the changelog of all messages but the one that asks not to be there.
var Good = History{
	{"Ann <ann@example.org>", "Import auto 1", specOf("1")},
	{"Ben <ben@example.org>", "Update to 2\n\n- New upstream release", specOf("2")},
	{"Ann <ann@example.org>", "Reformat\n\n[skip changelog]", specOf("2") + "\n"},
	{"Ben <ben@example.org>", "Mend the build", specOf("2")},
}

// GoodRelease is the release of Good, without the dist tag, and GoodChangelog what its
// changelog says, newest first.
const GoodRelease = "3"

// GoodChangelog are lines of the changelog of Good, newest first.
var GoodChangelog = []string{"- Mend the build", "- Update to 2", "- New upstream release", "- Import auto 1"}

// Broken is a history whose last spec rpm can't parse.
var Broken = History{
	{"Ann <ann@example.org>", "Import auto 1", specOf("1")},
	{"Ben <ben@example.org>", "Forget the version", specOf("")},
}

// Make makes a bare repository of h, in a folder that isn't there yet, with the branch
// main, and returns the last commit. Equal histories have equal commits. It holds a file
// beside that looks changed to whoever goes by the attributes, which came later.
func (h History) Make(t testing.TB, bare string) string {
	t.Helper()
	work := filepath.Join(t.TempDir(), "work")
	run(t, "git", "init", "--quiet", "--initial-branch=main", work)
	for i, c := range h {
		if err := os.WriteFile(filepath.Join(work, Name+".spec"), []byte(c.Spec), 0o644); err != nil {
			t.Fatal(err)
		}
		file, text := "dos.txt", "one\r\ntwo\r\n"
		if i > 0 {
			file, text = ".gitattributes", "* text ident filter=absent\n"
		}
		write(t, filepath.Join(work, file), 0o644, text)
		run(t, "git", "-C", work, "add", file, Name+".spec")
		run(t, "git", "-C", work, "-c", "user.name=Committer", "-c", "user.email=c@example.org", "commit", "--quiet", "--allow-empty",
			"--author="+c.Author, fmt.Sprintf("--date=2026-03-%02dT12:00:00Z", i+1), "--message="+c.Message)
	}
	run(t, "git", "clone", "--quiet", "--bare", work, bare)
	return strings.TrimSpace(run(t, "git", "--git-dir="+bare, "rev-parse", "main"))
}

func run(t testing.TB, argv ...string) string {
	t.Helper()
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "LC_ALL=C", "GIT_COMMITTER_DATE=2026-03-31T12:00:00Z")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", strings.Join(argv, " "), err, out)
	}
	return string(out)
}

// Answer is what rpmautospec process-distgit did with a history.
type Answer struct {
	Exit int    `json:"exit"`
	Said string `json:"said,omitempty"` // if it failed
	Spec string `json:"spec,omitempty"` // what it wrote, else
}

// Recording is what the real rpmautospec of a version did, by the last commit.
type Recording struct {
	Version string            `json:"version"`
	Answers map[string]Answer `json:"answers"`
}

//go:embed recorded.json
var recorded []byte

// Recorded returns the recording that is kept.
func Recorded(t testing.TB) Recording {
	t.Helper()
	var r Recording
	if err := json.Unmarshal(recorded, &r); err != nil {
		t.Fatal(err)
	}
	return r
}

// Real returns the folder that ALBS_RPMAUTOSPEC_SRC names, or why there is none.
func Real() (dir, why string) {
	dir = os.Getenv("ALBS_RPMAUTOSPEC_SRC")
	if dir == "" {
		return "", "ALBS_RPMAUTOSPEC_SRC names no folder with rpmautospec"
	}
	for _, need := range []string{filepath.Join(dir, "pyproject.toml"), filepath.Join(dir, "rpmautospec_core"), python, pythonRPM} {
		if _, err := os.Stat(need); err != nil {
			return "", fmt.Sprintf("rpmautospec can't be run here: %v", err)
		}
	}
	return dir, ""
}

// The host's Python, as Debian 12 has it.
const (
	python     = "/usr/bin/python3.11"
	pythonLib  = "/usr/lib/python3.11"
	pythonRPM  = "/usr/lib/python3/dist-packages/rpm"
	toolFolder = "usr/libexec/rpmautospec"
)

// Repository makes a repository in dir with the package rpmautospec: out of the folder
// real, or if that is "" the stand-in.
func Repository(t testing.TB, dir, real string) {
	t.Helper()
	tree := filepath.Join(t.TempDir(), "tree")
	version := Recorded(t).Version
	if real != "" {
		version = realTool(t, tree, real)
	} else {
		standIn(t, tree)
	}
	spec := filepath.Join(t.TempDir(), "rpmautospec.spec")
	write(t, spec, 0o644, `%global debug_package %{nil}
%global _build_id_links none
%global __os_install_post %{nil}
Name: rpmautospec
Version: `+version+`
Release: 1
Summary: Stands in for rpmautospec in tests
License: MIT
AutoReqProv: no
Requires: bash
%description
Stands in for rpmautospec in tests.
%install
cp -a '`+tree+`/.' %{buildroot}/
%files
/usr/bin/rpmautospec
/`+toolFolder+`
`)
	run(t, "rpmbuild", "-bb", "--quiet", "--define", "_topdir "+filepath.Dir(spec), "--define", "_rpmdir "+dir, "--define", "_binary_payload w1.gzdio", spec)
	run(t, "createrepo_c", "--quiet", "--no-database", dir)
}

func write(t testing.TB, name string, mode os.FileMode, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte(text), mode); err != nil {
		t.Fatal(err)
	}
}

// standIn lays out a program that answers as the real one did. It insists on what the
// real one reads: the history, the very spec, and both arguments.
func standIn(t testing.TB, tree string) {
	t.Helper()
	for head, a := range Recorded(t).Answers {
		dir := filepath.Join(tree, toolFolder, head)
		write(t, filepath.Join(dir, "exit"), 0o644, fmt.Sprintln(a.Exit))
		write(t, filepath.Join(dir, "said"), 0o644, a.Said)
		write(t, filepath.Join(dir, "spec"), 0o644, a.Spec)
	}
	write(t, filepath.Join(tree, "usr/bin/rpmautospec"), 0o755, `#!/bin/bash
if [[ $1 != process-distgit || $# != 3 || ! -f $2 ]]; then
	echo "usage: rpmautospec process-distgit SPEC TARGET" >&2
	exit 2
fi
git=${2%/*}/.git
head=$(< $git/$(sed -n 's/^ref: //p' $git/HEAD))
answer=/`+toolFolder+`/$head
packs=($git/objects/pack/pack-*.pack)
if [[ ! -d $answer || ! -s ${packs[0]} || ! -s ${packs[0]%.pack}.idx ]]; then
	echo "Error: nothing was recorded of $head, with the pack ${packs[0]}" >&2
	exit 1
fi
if [[ $(< $answer/exit) != 0 ]]; then
	cat $answer/said >&2
	exit $(< $answer/exit)
fi
cat $answer/spec > "$3"
`)
}

var versionLine = regexp.MustCompile(`(?m)^version = "([0-9.]+)"$`)

// realTool lays out the real one with the host's Python and returns its version.
func realTool(t testing.TB, tree, src string) string {
	t.Helper()
	to := filepath.Join(tree, toolFolder)
	write(t, filepath.Join(tree, "usr/bin/rpmautospec"), 0o755, `#!/bin/bash
dir=/`+toolFolder+`
export LD_LIBRARY_PATH=$dir/libs PYTHONHOME=$dir PYTHONPATH=$dir/site PYTHONDONTWRITEBYTECODE=1
exec $dir/bin/python3 -c 'import sys; from rpmautospec.cli import cli; sys.exit(cli())' "$@"
`)
	for _, dir := range []string{"bin", "lib", "libs", "site"} {
		if err := os.MkdirAll(filepath.Join(to, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	run(t, "cp", python, filepath.Join(to, "bin", "python3"))
	run(t, "cp", "-a", pythonLib, filepath.Join(to, "lib"))
	for _, big := range []string{"test", "idlelib", "lib2to3", "ensurepip", "turtledemo", "tkinter", "config-3.11-x86_64-linux-gnu", "sitecustomize.py"} {
		if err := os.RemoveAll(filepath.Join(to, "lib", filepath.Base(pythonLib), big)); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range []string{filepath.Join(src, "rpmautospec"), filepath.Join(src, "rpmautospec_core"), pythonRPM} {
		run(t, "cp", "-a", part, filepath.Join(to, "site"))
	}
	libraries(t, filepath.Join(to, "libs"), filepath.Join(src, "lib"), to)
	run(t, "find", to, "-name", "__pycache__", "-prune", "-exec", "rm", "-r", "{}", "+")
	project, err := os.ReadFile(filepath.Join(src, "pyproject.toml"))
	if err != nil {
		t.Fatal(err)
	}
	m := versionLine.FindSubmatch(project)
	if m == nil {
		t.Fatalf("pyproject.toml of %s has no version", src)
	}
	version := string(m[1]) // which the tool asks its installation for
	write(t, filepath.Join(to, "site", "rpmautospec-"+version+".dist-info", "METADATA"), 0o644, "Metadata-Version: 2.1\nName: rpmautospec\nVersion: "+version+"\n")
	return version
}

// glibc is the root's own.
var glibc = regexp.MustCompile(`^(?:libc|libm|libdl|libpthread|librt|libresolv|ld-linux-.*)\.so\.`)

// libraries copies what the programs and modules in dir need, and libgit2, to to.
func libraries(t testing.TB, to, from, dir string) {
	t.Helper()
	var objects []string
	err := filepath.WalkDir(dir, func(p string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() && (strings.HasSuffix(p, ".so") || filepath.Base(p) == "python3") {
			objects = append(objects, p)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	found := false
	for _, pattern := range []string{from + "/libgit2.so.*", "/usr/lib/*/libgit2.so.*"} {
		if all, _ := filepath.Glob(pattern); len(all) > 0 && !found {
			objects, found = append(objects, all[0]), true
			run(t, "cp", "-L", all[0], to)
		}
	}
	if !found {
		t.Skipf("rpmautospec can't be run here: neither the host nor %s has libgit2", from)
	}
	for line := range strings.Lines(run(t, append([]string{"env", "LD_LIBRARY_PATH=" + from, "ldd"}, objects...)...)) {
		name, file, ok := strings.Cut(strings.TrimSpace(line), " => ")
		if file, _, _ = strings.Cut(file, " ("); !ok || glibc.MatchString(name) {
			continue
		}
		if file == "not found" {
			t.Skipf("rpmautospec can't be run here: libgit2 needs %s", name)
		}
		run(t, "cp", "-L", file, filepath.Join(to, name))
	}
}
