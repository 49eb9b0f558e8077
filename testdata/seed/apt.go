package main

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// deb is one package file that apt would download.
type deb struct {
	file string // as apt names it, for example gcc_4%3a12.2.0-3_amd64.deb
	hash string
}

// apt asks the host's package manager as an ordinary user would: its sources and
// keys are read, all that it writes is in a folder of our own.
type apt struct {
	dir  string
	arch string // Debian's name
	opts []string
}

// listsAge is how old fetched package lists may be: what they name doesn't stay on the
// mirrors for ever.
const listsAge = 24 * time.Hour

// newApt prepares a private folder below dir for the packages of arch, RPM's name for
// it, "" the host's own. Where the host has no package lists of arch, they are fetched.
func newApt(ctx context.Context, dir, arch string, say func(string, ...any)) (*apt, error) {
	out, err := exec.CommandContext(ctx, "dpkg", "--print-architecture").Output()
	if err != nil {
		return nil, fmt.Errorf("the recipe needs a Debian host with dpkg and apt-get: %w", err)
	}
	host := strings.TrimSpace(string(out))
	a := &apt{dir: dir, arch: host}
	if arch != "" {
		a.arch = ""
		for debian, rpm := range arches {
			if rpm == arch {
				a.arch = debian
			}
		}
	}
	if arches[a.arch] == "" {
		return nil, fmt.Errorf("no architecture is known that is %s to RPM and has a name of Debian's", cmp.Or(arch, host))
	}
	if a.arch != host {
		a.dir = filepath.Join(dir, a.arch)
	}
	for _, d := range []string{"lists/partial", "cache", "none/partial", "debs/partial"} {
		if err := os.MkdirAll(filepath.Join(a.dir, d), 0o755); err != nil {
			return nil, fmt.Errorf("make apt's folder: %w", err)
		}
	}
	status := filepath.Join(a.dir, "status") // empty: nothing is installed yet, so the closure is whole
	if err := os.WriteFile(status, nil, 0o644); err != nil {
		return nil, fmt.Errorf("make apt's folder: %w", err)
	}
	a.opts = []string{
		"-o", "Dir::State::status=" + status,
		"-o", "Dir::Cache=" + filepath.Join(a.dir, "cache"),
		"-o", "Dir::Cache::archives=" + filepath.Join(a.dir, "debs"),
		"-o", "Debug::NoLocking=1",
		"-o", "APT::Install-Recommends=0",
		"-o", "APT::Sandbox::User=root",
		"-o", "Acquire::ForceHash=SHA256",
		"-y",
	}
	if a.arch != host {
		// To apt it is the only one: nothing of the host's may get into the closure.
		a.opts = append(a.opts, "-o", "APT::Architecture="+a.arch, "-o", "APT::Architectures="+a.arch)
	} else if lists, _ := filepath.Glob("/var/lib/apt/lists/*_Packages*"); len(lists) > 0 {
		return a, nil
	}
	a.opts = append(a.opts, "-o", "Dir::State::lists="+filepath.Join(a.dir, "lists"))
	mark := filepath.Join(a.dir, "updated")
	if info, err := os.Stat(mark); err == nil && time.Since(info.ModTime()) < listsAge {
		return a, nil
	}
	say("apt-get update for %s", a.arch)
	if _, err := a.run(ctx, "update"); err != nil {
		// A mirror may be out of step with itself in one of its parts: what the others
		// have goes together all the same, and is asked for anew the next time.
		if lists, _ := filepath.Glob(filepath.Join(a.dir, "lists", "*_Packages*")); len(lists) == 0 {
			return nil, err
		}
		say("going on without some package lists: %v", err)
		return a, nil
	}
	if err := os.WriteFile(mark, nil, 0o644); err != nil {
		return nil, fmt.Errorf("mark the package lists: %w", err)
	}
	return a, nil
}

// closure returns the package files that names need, themselves included, sorted.
func (a *apt) closure(ctx context.Context, names []string) ([]deb, error) {
	// With an empty archive folder: apt leaves out of its answer what it has already.
	none := "Dir::Cache::archives=" + filepath.Join(a.dir, "none")
	out, err := a.run(ctx, append([]string{"--print-uris", "-o", none, "install"}, names...)...)
	if err != nil {
		return nil, err
	}
	var debs []deb
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		if len(f) == 4 && strings.HasPrefix(f[0], "'") && strings.HasSuffix(f[1], ".deb") {
			debs = append(debs, deb{file: f[1], hash: f[3]})
		} else if strings.HasPrefix(line, "'") {
			return nil, fmt.Errorf("apt-get names a package without its hash: %s", line)
		}
	}
	if len(debs) == 0 {
		return nil, fmt.Errorf("apt-get named no package for %v", names)
	}
	slices.SortFunc(debs, func(x, y deb) int { return strings.Compare(x.file, y.file) })
	return debs, nil
}

// download fetches debs, the closure of names, into debs/.
func (a *apt) download(ctx context.Context, names []string, debs []deb) error {
	if _, err := a.run(ctx, append([]string{"--download-only", "install"}, names...)...); err != nil {
		return err
	}
	for _, d := range debs {
		if _, err := os.Stat(a.path(d)); err != nil {
			return fmt.Errorf("apt-get did not fetch %s: %w", d.file, err)
		}
	}
	return nil
}

// path returns where download puts d.
func (a *apt) path(d deb) string { return filepath.Join(a.dir, "debs", d.file) }

func (a *apt) run(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "apt-get", append(slices.Clone(a.opts), args...)...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8")
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("apt-get %s: %w\n%s", args[0], err, errs.String())
	}
	return out.String(), nil
}
