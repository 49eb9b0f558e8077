// Package rpmtest makes packages with the host's rpmbuild. It is for tests only.
package rpmtest

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// Noarch returns small packages of these names, each NAME-1-1.noarch.rpm, and the source
// package of the first, as Build does.
func Noarch(name string, more ...string) (map[string][]byte, error) {
	var spec strings.Builder
	fmt.Fprintf(&spec, "Name: %s\nVersion: 1\nRelease: 1\nSummary: A\nLicense: MIT\nBuildArch: noarch\n%%description\nA.\n%%files\n", name)
	for _, n := range more {
		fmt.Fprintf(&spec, "%%package -n %s\nSummary: B\n%%description -n %s\nB.\n%%files -n %s\n", n, n, n)
	}
	return Build(spec.String())
}

// Build returns the packages that rpmbuild makes of a spec file's text, source
// package included, by file name. Options, as "--target", "x86_64", are rpmbuild's.
// The error is exec.ErrNotFound where there is no rpmbuild, for tests to skip.
//
// Tests that need the same packages again put it into a sync.OnceValues: a call
// takes a tenth of a second or more.
func Build(spec string, options ...string) (map[string][]byte, error) {
	rpmbuild, err := exec.LookPath("rpmbuild")
	if err != nil {
		return nil, err
	}
	top, err := os.MkdirTemp("", "albs-rpmtest-*")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(top)
	file := filepath.Join(top, "package.spec")
	if err := os.WriteFile(file, []byte(spec), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.Command(rpmbuild, append(options, "-ba", "--quiet", "--nodeps", "--define", "_topdir "+top, file)...)
	cmd.Env = append(os.Environ(), "HOME="+top) // whose macros are nobody's
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("rpmbuild: %w: %s", err, out)
	}
	made := map[string][]byte{}
	for _, pattern := range []string{"RPMS/*/*.rpm", "SRPMS/*.rpm"} {
		files, err := filepath.Glob(filepath.Join(top, pattern))
		if err != nil {
			return nil, err
		}
		for _, f := range files {
			if made[filepath.Base(f)], err = os.ReadFile(f); err != nil {
				return nil, err
			}
		}
	}
	return made, nil
}
