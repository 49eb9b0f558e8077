package cli

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/rpm/rpmtest"
)

// TestVerifyWithoutANetwork has the program verify what a public place has in a network
// namespace of its own, in which not even loopback is up.
func TestVerifyWithoutANetwork(t *testing.T) {
	t.Parallel()
	unshare, err := exec.LookPath("unshare")
	if err != nil || exec.Command(unshare, "--net", "true").Run() != nil {
		t.Skip("network namespaces can't be made here: that takes unshare of util-linux, and root")
	}
	made, err := rpmtest.Build(strings.Join([]string{
		"Name: hello", "Version: 1", "Release: 1", "Summary: Hello", "License: MIT", "BuildArch: noarch", "%description", "Hello.", "%files", "",
	}, "\n"))
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	f, err := attesttest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	dir := t.TempDir()
	var paths []string
	for _, b := range made {
		r, err := f.Release(b)
		if err != nil {
			t.Fatal(err)
		}
		path, err := r.Save(dir)
		if err != nil {
			t.Fatal(err)
		}
		paths = append(paths, path)
	}
	trust := filepath.Join(dir, "trust.json")
	if err := os.WriteFile(trust, f.Trust.Encode(), 0o644); err != nil {
		t.Fatal(err)
	}
	alone := func(args ...string) (int, string) {
		cmd := exec.CommandContext(t.Context(), unshare, append([]string{"--net", "--", os.Args[0], "verify", "--trust", trust}, args...)...)
		cmd.Env = []string{mainEnv + "=1", "PATH=" + os.Getenv("PATH"), "HOME=/nonexistent"}
		out, err := cmd.CombinedOutput()
		if _, failed := errors.AsType[*exec.ExitError](err); err != nil && !failed {
			t.Fatal(err)
		}
		return cmd.ProcessState.ExitCode(), string(out)
	}
	if code, out := alone(paths...); code != 0 || !strings.Contains(out, "2 of 2 packages are verified") {
		t.Errorf("exit code %d:\n%s", code, out)
	}
	// That there was none is proven by what would have answered.
	asked := false
	server := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked = true }))
	code, out := alone("--repo", server.URL)
	server.Close()
	if code != 1 || asked {
		t.Errorf("a server was reached: %v, with exit code %d:\n%s", asked, code, out)
	}
	if err := os.Remove(paths[0] + attest.ProofSuffix); err != nil {
		t.Fatal(err)
	}
	if code, out := alone(paths...); code != attest.LinkInput.ExitCode() {
		t.Errorf("without a proof: exit code %d:\n%s", code, out)
	}
}
