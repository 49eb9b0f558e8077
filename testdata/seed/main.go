// Command seed makes "Seed Linux": a small, real RPM distribution out of the
// packages of the Debian host that it runs on, so that builds, roots and install
// tests can run where no RPM mirror is in reach.
//
//	go run ./testdata/seed -out DIR [-cache DIR] [-arch ARCH] [-set testers]
//
// ARCH is the host's own by default. The RPMs of another are made on the host all the
// same: nothing in them is run. The set testers is a repository beside that of the
// distribution, of what runs tests in Python and Ansible: few need it, and it is half as
// large again.
//
// It asks apt for the closure of a list of packages, downloads it without
// installing anything, unpacks each .deb, and lets one rpmbuild of one generated
// spec turn each into an RPM of the same name, with Requires from Debian's Depends
// and sonames found by rpm's own generators; filesystem, system-release and
// redhat-rpm-config are written by the recipe itself. DIR gets the RPMs and their
// repodata. All files belong to root:root, so that a root of Seed Linux can be
// filled with a single mapped uid.
//
// The result is cached under the digest of its inputs: this recipe's source, the
// architecture and the .debs by name and hash. Root isn't needed. Needed are
// apt-get, dpkg-deb, rpmbuild and createrepo_c.
//
// The program uses the standard library only, so that it runs from a copy of this
// folder too.
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// source is the recipe itself: a change to it is a change of its version.
//
//go:embed *.go
var source embed.FS

func main() {
	out := flag.String("out", "", "directory that gets the RPMs and repodata; made if absent, replaced if present")
	arch := flag.String("arch", "", "RPM architecture of the packages (default: the host's)")
	cache := flag.String("cache", "", "directory that keeps finished repositories (default: albs-seed in the user's cache)")
	set := flag.String("set", "", "testers: what runs tests, beside the distribution (default: the distribution)")
	flag.Parse()
	if *out == "" || flag.NArg() > 0 || *set != "" && *set != "testers" {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *out, *cache, *arch, *set == "testers"); err != nil {
		fmt.Fprintln(os.Stderr, "seed:", err)
		os.Exit(1)
	}
}

// run makes the repository in the cache, if it isn't there, and copies it to out.
func run(ctx context.Context, out, cache, arch string, beside bool) error {
	began := time.Now()
	say := func(format string, args ...any) {
		fmt.Printf("seed: %5.1fs  %s\n", time.Since(began).Seconds(), fmt.Sprintf(format, args...))
	}
	if cache == "" {
		dir, err := os.UserCacheDir()
		if err != nil {
			return fmt.Errorf("find the user's cache: %w", err)
		}
		cache = filepath.Join(dir, "albs-seed")
	}
	cache, err := filepath.Abs(cache)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return fmt.Errorf("make the cache: %w", err)
	}
	unlock, err := lock(filepath.Join(cache, "lock"))
	if err != nil {
		return err
	}
	defer unlock()

	a, err := newApt(ctx, filepath.Join(cache, "apt"), arch, say)
	if err != nil {
		return err
	}
	names := packages
	debs, err := a.closure(ctx, names)
	if err != nil {
		return err
	}
	var others []deb // that the repository doesn't hold
	if beside {
		names, others = slices.Concat(packages, testers), debs
		if debs, err = a.closure(ctx, names); err != nil {
			return err
		}
	}
	key, err := inputs(a.arch, debs, others)
	if err != nil {
		return err
	}
	repo := filepath.Join(cache, key)
	if _, err := os.Stat(filepath.Join(repo, "repodata", "repomd.xml")); err == nil {
		say("%d packages, cached as %s", len(debs)-len(others), key)
	} else {
		work, err := os.MkdirTemp(cache, "work-")
		if err != nil {
			return fmt.Errorf("make a work folder: %w", err)
		}
		defer os.RemoveAll(work)
		say("%d packages to make", len(debs)-len(others))
		if err := a.download(ctx, names, debs); err != nil {
			return err
		}
		say("downloaded")
		if err := build(ctx, a, debs, others, work, say); err != nil {
			return err
		}
		if err := os.Rename(filepath.Join(work, "repo"), repo); err != nil {
			return fmt.Errorf("keep the repository: %w", err)
		}
	}
	if err := link(repo, out); err != nil {
		return err
	}
	say("ready in %s", out)
	return nil
}

// inputs names what the repository is made of.
func inputs(arch string, debs, others []deb) (string, error) {
	h := sha256.New()
	err := fs.WalkDir(source, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := source.ReadFile(path)
		fmt.Fprintf(h, "%s %d\n%s", path, len(b), b)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("read the recipe: %w", err)
	}
	fmt.Fprintln(h, arch)
	for _, d := range debs {
		fmt.Fprintln(h, d.file, d.hash)
	}
	for _, d := range others {
		fmt.Fprintln(h, "not", d.file)
	}
	return hex.EncodeToString(h.Sum(nil))[:24], nil
}

// lock waits for the exclusive lock of path, so that test programs that start
// together make the repository once.
func lock(path string) (func(), error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, fmt.Errorf("lock the cache: %w", err)
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		return nil, errors.Join(fmt.Errorf("lock the cache: %w", err), f.Close())
	}
	return func() { f.Close() }, nil
}

// link makes out a copy of repo, by hard links where the file system allows it. An
// out that is one already stays, for tests may be reading it; one that is there is
// whole.
func link(repo, out string) error {
	const repomd = "repodata/repomd.xml"
	want, err := os.ReadFile(filepath.Join(repo, repomd))
	if err != nil {
		return err
	}
	if got, err := os.ReadFile(filepath.Join(out, repomd)); err == nil && bytes.Equal(got, want) {
		return nil
	}
	fresh := strings.TrimRight(out, "/") + ".new"
	if err := os.RemoveAll(fresh); err != nil {
		return fmt.Errorf("replace %s: %w", fresh, err)
	}
	err = filepath.WalkDir(repo, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(fresh, strings.TrimPrefix(path, repo))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		if os.Link(path, to) == nil {
			return nil
		}
		return copyFile(path, to)
	})
	if err != nil {
		return fmt.Errorf("copy to %s: %w", fresh, err)
	}
	if err := os.RemoveAll(out); err != nil {
		return fmt.Errorf("replace %s: %w", out, err)
	}
	return os.Rename(fresh, out)
}

func copyFile(from, to string) error {
	r, err := os.Open(from)
	if err != nil {
		return err
	}
	defer r.Close()
	w, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(w, r)
	return errors.Join(err, w.Close())
}

// command runs argv with its output in the file log and names the log's end in
// the error.
func command(ctx context.Context, log string, env []string, argv ...string) error {
	w, err := os.Create(log)
	if err != nil {
		return err
	}
	defer w.Close()
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = w, w
	cmd.Env = append(os.Environ(), env...)
	if err := cmd.Run(); err != nil {
		b, _ := os.ReadFile(log)
		return fmt.Errorf("run %s: %w\n%s", argv[0], err, b[max(0, len(b)-2000):])
	}
	return nil
}
