package verify

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	urfave "github.com/urfave/cli/v2"

	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/cli/terminal"
	"albs/internal/rpm/rpmtest"
)

// packages are small packages of two names and their source packages, built once.
var packages = sync.OnceValues(func() (map[string][]byte, error) {
	all := map[string][]byte{}
	for _, name := range []string{"hello", "world"} {
		made, err := rpmtest.Build(strings.Join([]string{
			"Name: " + name, "Version: 1", "Release: 1", "Summary: Hello", "License: MIT", "BuildArch: noarch",
			"%description", "Hello.", "%install", "mkdir -p %{buildroot}/usr/share/" + name, "echo hello > %{buildroot}/usr/share/" + name + "/hello",
			"%files", "/usr/share/" + name + "/hello", "",
		}, "\n"))
		if err != nil {
			return nil, err
		}
		for n, b := range made {
			all[n] = b
		}
	}
	return all, nil
})

// world is a farm with a folder that has its trust file.
type world struct {
	*attesttest.Farm
	dir, trust string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	if _, err := packages(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	} else if err != nil {
		t.Fatal(err)
	}
	f, err := attesttest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &world{Farm: f, dir: t.TempDir()}
	w.trust = w.file(t, "trust.json", f.Trust.Encode())
	return w
}

func (w *world) file(t *testing.T, name string, b []byte) string {
	t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
	return path
}

// release releases one of packages.
func (w *world) release(t *testing.T, name string, but ...string) attesttest.Released {
	t.Helper()
	made, err := packages()
	if err != nil {
		t.Fatal(err)
	}
	r, err := w.Release(made[name], but...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// save puts a release into a folder of w.
func (w *world) save(t *testing.T, r attesttest.Released, folder string) string {
	t.Helper()
	dir := filepath.Join(w.dir, folder)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	path, err := r.Save(dir)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

func (w *world) publish(t *testing.T, name, folder string, but ...string) string {
	t.Helper()
	return w.save(t, w.release(t, name, but...), folder)
}

// TestSummary: the summary of who verified a package before is checked and told.
func TestSummary(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	r := w.release(t, hello)
	st, err := w.Summary(r)
	if err == nil {
		err = w.Summarize(&r, st, attest.VSA)
	}
	if err != nil {
		t.Fatal(err)
	}
	path := w.save(t, r, "beside")
	w.run(t, path).want(t, "a summary", 0, "verified by urn:albs:releaser:", "PASSED, SLSA_BUILD_LEVEL_3")
	w.run(t, path, "--json").want(t, "a summary as JSON", 0, `"summary": {`, `"level": "SLSA_BUILD_LEVEL_3"`)
	if err := w.Summarize(&r, st, attest.Sign); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.save(t, r, "signed")).want(t, "a summary by the signer", 5, "the verification summary")
	if err := errors.Join(w.Later(&r), w.Summarize(&r, st, attest.VSA)); err != nil {
		t.Fatal(err)
	}
	w.run(t, w.save(t, r, "later")).want(t, "a summary of other files", 6, "other files beside it")
}

type result struct {
	code           int
	stdout, stderr string
}

var parsing sync.Mutex // urfave's --help is one variable for all

// run runs albs verify.
func (w *world) run(t *testing.T, args ...string) result {
	t.Helper()
	var stdout, stderr bytes.Buffer
	term := &terminal.Terminal{Stdin: strings.NewReader(""), Stdout: &stdout, Stderr: &stderr, Getenv: func(string) string { return "" }, Now: time.Now}
	root := &urfave.App{Name: "albs", Commands: []*urfave.Command{Command(term)}}
	if !slices.Contains(args, "--trust") {
		args = append(args, "--trust", w.trust)
	}
	parsing.Lock()
	defer parsing.Unlock()
	code := term.Run(t.Context(), root, append([]string{"albs", "verify"}, args...), error.Error)
	return result{code, stdout.String(), stderr.String()}
}

// want wants an exit code, and words in what is printed.
func (r result) want(t *testing.T, what string, code int, words ...string) {
	t.Helper()
	if r.code != code {
		t.Errorf("%s: exit code %d, want %d", what, r.code, code)
	}
	for _, w := range words {
		if !strings.Contains(r.stdout+r.stderr, w) {
			t.Errorf("%s: nothing says %q", what, w)
		}
	}
	if t.Failed() {
		t.Fatalf("%s:\n%s%s", what, r.stdout, r.stderr)
	}
}

func change(t *testing.T, path string, at int) {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if at < 0 {
		at += len(b)
	}
	b[at] ^= 1
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

func remove(t *testing.T, path string) {
	t.Helper()
	if err := os.Remove(path); err != nil {
		t.Fatal(err)
	}
}

const (
	hello = "hello-1-1.noarch.rpm"
	earth = "world-1-1.noarch.rpm"
)

func TestFiles(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	good, other, source := w.publish(t, hello, "good"), w.publish(t, earth, "good"), w.publish(t, "hello-1-1.src.rpm", "good")
	w.run(t, good).want(t, "one package", 0, "hello-1-1.noarch is verified", "transparency log", "public log log.example.org/albs", "made from commit "+attesttest.Commit)
	w.run(t, good, other, source).want(t, "three packages", 0, good+" is verified\n", "3 of 3 packages are verified\n")
	w.run(t, good, "--bundle", filepath.Dir(good)).want(t, "beside in a folder", 0)
	moved := w.file(t, "moved.rpm", read(t, good))
	w.run(t, moved, "--bundle", good+attest.EnvelopesSuffix).want(t, "beside another", 0)
	w.run(t, moved).want(t, "nothing beside it", 10, "moved.rpm is NOT verified: input: there is no "+moved+".intoto.jsonl", "albs artifact bundle")
	w.run(t, moved, "--bundle", other+attest.EnvelopesSuffix).want(t, "what lies beside another package", 4)
	w.run(t, good, filepath.Join(w.dir, "none.rpm")).want(t, "one that isn't there", 1, "1 of 2 packages are NOT verified", "none.rpm: no such file")
	w.run(t, w.dir).want(t, "a folder", 1, "is not a regular file")
	w.run(t, good, "--trust", filepath.Join(w.dir, "none")).want(t, "no trust file", 1, "a trust file, as albs trust export saves it")
	w.run(t, good, "--trust", good+attest.EnvelopesSuffix).want(t, "no trust", 10, "can't be used")
	w.run(t, good, "--trust", w.file(t, "large", bytes.Repeat([]byte("x"), attest.MaxTrust+1))).want(t, "a large trust file", 10)

	for suffix, code := range map[string]int{"": 4, attest.EnvelopesSuffix: 5, attest.ProofSuffix: 8, attest.LogProofSuffix: 11} {
		dir := "changed" + suffix
		path := w.publish(t, hello, dir)
		at := -10
		if suffix == "" {
			at = -1
		}
		change(t, path+suffix, at)
		w.run(t, path).want(t, "a change of "+suffix, code, "is NOT verified")
		path = w.publish(t, hello, "cut"+suffix)
		if suffix != "" {
			remove(t, path+suffix)
			code = 10
			if suffix == attest.LogProofSuffix {
				code = 11
			}
			w.run(t, path).want(t, "without "+suffix, code, "is NOT verified")
		}
	}

	// Several are broken: the smallest code is that of all, and a file that can't be read
	// comes after every link.
	log, test := w.publish(t, hello, "unlogged", attesttest.NoLog), w.publish(t, earth, "untested", attest.Test)
	w.run(t, log).want(t, "one that isn't in the log", 11)
	w.run(t, test).want(t, "one that wasn't tested", 6)
	got := w.run(t, log, test, good, filepath.Join(w.dir, "none.rpm"))
	got.want(t, "several", 6, log+" is NOT verified: transparency log: ", test+" is NOT verified: chain: ", "3 of 4 packages are NOT verified")

	lax := w.Trust
	lax.RequireTest, lax.RequireLog = false, false
	w.run(t, log, test, "--trust", w.file(t, "lax.json", lax.Encode())).want(t, "what nobody asks for", 0,
		"of 1 packages: nothing proves that it is in a public log of releases\n", "of 1 packages: no statement says that it was tested\n", "2 of 2 packages are verified")
	w.run(t, test, "--trust", filepath.Join(w.dir, "lax.json")).want(t, "one that nobody asks for", 0, "not proven: no statement says that it was tested\n")
	hollow := w.publish(t, hello, "hollow")
	if err := os.Truncate(hollow+attest.LogProofSuffix, 0); err != nil {
		t.Fatal(err)
	}
	w.run(t, hollow, "--trust", filepath.Join(w.dir, "lax.json")).want(t, "an empty proof, where none is asked for", 11, "transparency log: ")

	var told struct {
		Verified, Failed int
		Packages         []struct {
			Name     string
			Verified bool
			Link     attest.Link
			Error    string
			Report   *attest.Report
		}
	}
	got = w.run(t, good, log, "--json", "--jobs", "1")
	if err := json.Unmarshal([]byte(got.stdout), &told); err != nil || got.code != 11 {
		t.Fatalf("as JSON: %v, %+v", err, got)
	}
	if p := told.Packages; told.Verified != 1 || told.Failed != 1 || len(p) != 2 || !p[0].Verified || p[0].Name != good || p[0].Report == nil || p[0].Report.Log == nil ||
		p[1].Verified || p[1].Link != attest.LinkLog || p[1].Error == "" || p[1].Report != nil {
		t.Errorf("as JSON: %s", got.stdout)
	}
	if got = w.run(t, good, "--json"); got.code != 0 || got.stderr != "" || json.Unmarshal([]byte(got.stdout), &told) != nil {
		t.Errorf("one as JSON: %+v", got)
	}
}

func read(t *testing.T, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// TestExitCodes wants each link to have a code of its own that no other failure
// has, and the help to list it.
func TestExitCodes(t *testing.T) {
	t.Parallel()
	help := Command(nil).Description
	seen := map[int]attest.Link{}
	for _, l := range links {
		code := l.ExitCode()
		if other, taken := seen[code]; taken || code <= terminal.ExitUsage || code > 125 {
			t.Errorf("link %s has code %d, as %q", l, code, other)
		}
		seen[code] = l
		if !strings.Contains(help, fmt.Sprintf(" %d  %s\n", code, l)) {
			t.Errorf("the help doesn't list %s:\n%s", l, help)
		}
	}
	failed := func(l attest.Link) verdict { return verdict{Link: l} }
	for _, tc := range []struct {
		all  []verdict
		want int
	}{
		{nil, 0},
		{[]verdict{{Verified: true}}, 0},
		{[]verdict{failed("")}, 1},
		{[]verdict{failed(""), failed(attest.LinkInput), {Verified: true}}, 10},
		{[]verdict{failed(attest.LinkLog), failed(""), failed(attest.LinkChain)}, 6},
		{[]verdict{failed(attest.LinkSignature), failed(attest.LinkLog)}, 3},
	} {
		if got := code(tc.all); got != tc.want {
			t.Errorf("code(%+v) = %d, want %d", tc.all, got, tc.want)
		}
	}
}
