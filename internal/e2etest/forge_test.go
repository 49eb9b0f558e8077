package e2etest

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"
)

// forge is a git server with a look-aside cache, on https with a CA of its own.
type forge struct {
	dir, url, host, ca string
	stdin              io.Closer // the server ends when it is closed, so it is held
}

var forges struct {
	sync.Mutex
	small *forge
}

// theForge returns the forge of all tests, to which each adds its own packages.
func theForge(t *testing.T) *forge {
	t.Helper()
	forges.Lock()
	defer forges.Unlock()
	if forges.small == nil {
		forges.small = startForge(t, "forge")
	}
	return forges.small
}

// startForge starts a gitserver that lives as long as this process.
func startForge(t *testing.T, name string, args ...string) *forge {
	t.Helper()
	f := &forge{dir: folder(t, self, name)}
	cmd := exec.Command(filepath.Join(binaries(t), "gitserver"), append([]string{"-dir", f.dir}, args...)...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if f.stdin, err = cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	log, err := os.Create(f.dir + ".log")
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd.Stderr = log
	if err := start(cmd, self); err != nil {
		t.Fatal(err)
	}
	line := make(chan string, 1)
	go func() {
		text, _ := bufio.NewReader(out).ReadString('\n')
		line <- text
	}()
	select {
	case text := <-line:
		var said struct{ URL, CA string }
		if err := json.Unmarshal([]byte(text), &said); err != nil {
			t.Fatalf("the forge said %q", text)
		}
		f.url, f.ca, f.host = said.URL, said.CA, strings.TrimPrefix(said.URL, "https://")
	case <-time.After(time.Minute):
		cmd.Process.Kill()
		t.Fatal("the forge said nothing for a minute")
	}
	for _, dir := range []string{"rpms", "lookaside"} {
		if err := os.MkdirAll(filepath.Join(f.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return f
}

// repository makes a repository of the files, one commit on the branch main, and
// returns what albs build create --git takes.
func (f *forge) repository(t *testing.T, name string, files map[string]string) string {
	t.Helper()
	work := folder(t, self, t.Name(), "git-"+name)
	for p, text := range files {
		full := filepath.Join(work, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(full, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	bare := filepath.Join(f.dir, "rpms", t.Name(), name+".git")
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main", work},
		{"-C", work, "add", "--all"},
		{"-C", work, "commit", "--quiet", "-m", "import " + name},
		{"clone", "--quiet", "--bare", work, bare},
	} {
		git(t, args...)
	}
	return f.url + "/rpms/" + t.Name() + "/" + name + ".git#main"
}

// commit adds a commit to what repository made, with the files in place of those of
// their names.
func (f *forge) commit(t *testing.T, name string, files map[string]string) {
	t.Helper()
	work := folder(t, self, t.Name(), "git-"+name)
	for p, text := range files {
		if err := os.WriteFile(filepath.Join(work, p), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	git(t, "-C", work, "commit", "--quiet", "--all", "-m", "change "+name)
	git(t, "-C", work, "push", "--quiet", filepath.Join(f.dir, "rpms", t.Name(), name+".git"), "main")
}

// remove removes what repository made.
func (f *forge) remove(t *testing.T, name string) {
	t.Helper()
	if err := os.RemoveAll(filepath.Join(f.dir, "rpms", t.Name(), name+".git")); err != nil {
		t.Fatal(err)
	}
}

// git runs git as somebody.
func git(t *testing.T, args ...string) {
	t.Helper()
	cmd := command(t, time.Minute, "git", args...)
	cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=albs", "GIT_AUTHOR_EMAIL=albs@example.org", "GIT_COMMITTER_NAME=albs", "GIT_COMMITTER_EMAIL=albs@example.org")
	output(t, cmd, self)
}

// spec makes a repository with nothing but a spec file.
func (f *forge) spec(t *testing.T, name, text string) string {
	t.Helper()
	return f.repository(t, name, map[string]string{name + ".spec": text})
}

// lookaside puts a file into the look-aside cache and returns its sha256.
func (f *forge) lookaside(t *testing.T, content string) string {
	t.Helper()
	sum := sha256.Sum256([]byte(content))
	name := hex.EncodeToString(sum[:])
	if err := os.WriteFile(filepath.Join(f.dir, "lookaside", name), []byte(content), 0o644); err != nil {
		t.Fatal(err)
	}
	return name
}

// specOf is the spec of a small noarch package with one file. Its %build is build.
func specOf(name, build string) string {
	return `Name: ` + name + `
Version: 1.0
Release: 1%{?dist}
Summary: A small package
License: MIT
BuildArch: noarch

%description
Small.

%build
` + build + `

%install
mkdir -p %{buildroot}%{_datadir}/` + name + `
echo ` + name + ` > %{buildroot}%{_datadir}/` + name + `/file

%files
%{_datadir}/` + name + `
`
}
