package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// Of the rows of whole releases: two platforms of five arches with a repository of sources
// are twelve repositories, and a noarch package goes into five.
const (
	wholeArches   = 5
	wholePackages = 100 // of one source package
)

// releaseWhole: a release of 1,000 packages into twelve repositories, and one of a single
// source package, with everything that the product asks for: from the word of the person
// who publishes what was approved until readers see it. Queue, ledger, signer and releaser
// do their work; packages were built and signed before.
func releaseWhole(ctx context.Context, b *bench) (_ []row, err error) {
	w, err := newWhole(ctx, b)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, w.server.stop()) }()
	var many, one []float64
	for i := range runs + 1 {
		for _, m := range []struct {
			name     string
			packages int
			into     *[]float64
		}{{"many", wholePackages, &many}, {"one", 1, &one}} {
			id, err := w.build(ctx, m.name, i+1, m.packages)
			if err != nil {
				return nil, err
			}
			took, err := w.release(ctx, id)
			if err != nil {
				return nil, err
			}
			if i > 0 { // the first makes the repositories
				*m.into = append(*m.into, took.Seconds())
			}
		}
	}
	return []row{
		{Name: "release-whole-1000-of-12", Unit: "s", Ours: median(many), Goal: "1,000 packages over 12 repositories, approval, queue and ledger included, < 10 s", Met: median(many) < 10},
		{Name: "release-whole-1-of-12", Unit: "s", Ours: median(one), Goal: "one package, approval, queue and ledger included, < 1 s", Met: median(one) < 1},
	}, nil
}

// whole is a server with a product, and a client of it.
type whole struct {
	bench  *bench
	server *server
	client *client.Client
	data   string
	serial int64 // that is shown
}

func newWhole(ctx context.Context, b *bench) (_ *whole, err error) {
	seed, config, err := b.seed(ctx, "master", "node")
	if err != nil {
		return nil, err
	}
	w := &whole{bench: b, data: filepath.Join(b.dir, "whole")}
	// Packages are not tested: that takes as long as it takes, before anything is released.
	if w.server, err = b.serveAs(ctx, "master,node,signer,releaser", w.data, config); err != nil {
		return nil, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, w.server.stop())
		}
	}()
	if w.client, err = client.New(w.server.url, w.server.token, nil); err != nil {
		return nil, err
	}
	arches := albs.BuildArches[:wholeArches]
	var product strings.Builder
	fmt.Fprintf(&product, "name: whole\nteam: whole\nkey: whole\ngate: {tests: advisory}\napprovals: {count: 1, distinct: false}\nplatforms: [one, two]\nrepositories:\n")
	for _, p := range []string{"one", "two"} {
		spec := strings.NewReplacer("name: seed\n", "name: "+p+"\n", "arches: [x86_64]", fmt.Sprintf("arches: [%s]", join(arches))).Replace(seed)
		if _, err := w.client.ApplyPlatform(ctx, []byte(spec)); err != nil {
			return nil, err
		}
		for _, a := range arches {
			fmt.Fprintf(&product, "  - {path: %s/%s/os, platform: %s, arch: %s, kind: rpm}\n", p, a, p, a)
		}
		fmt.Fprintf(&product, "  - {path: %s/source, platform: %s, arch: src, kind: source}\n", p, p)
	}
	if _, err := w.server.cli(ctx, b, "key", "generate", "whole", "--user-id", "Whole <whole@example.org>", "--wait"); err != nil {
		return nil, err
	}
	_, err = w.client.ApplyProduct(ctx, []byte(product.String()))
	return w, err
}

func join(arches []albs.Arch) string {
	var s []string
	for _, a := range arches {
		s = append(s, string(a))
	}
	return strings.Join(s, ", ")
}

// build has so many noarch packages of one source built on both platforms, and signed.
func (w *whole) build(ctx context.Context, name string, version, packages int) (albs.BuildID, error) {
	var spec, install strings.Builder
	fmt.Fprintf(&spec, "Name: %s\nVersion: %d\nRelease: 1\nSummary: s\nLicense: MIT\nBuildArch: noarch\n%%description\nd\n%%files\n/usr/share/%s/0\n", name, version, name)
	for i := 1; i < packages; i++ {
		fmt.Fprintf(&spec, "%%package p%d\nSummary: s\n%%description p%d\nd\n%%files p%d\n/usr/share/%s/%d\n", i, i, i, name, i)
	}
	fmt.Fprintf(&install, "%%install\nmkdir -p %%{buildroot}/usr/share/%s\nfor i in $(seq 0 %d); do echo $i > %%{buildroot}/usr/share/%s/$i; done\n", name, packages-1, name)
	top := filepath.Join(w.bench.dir, fmt.Sprint("whole-", name, version))
	if err := os.MkdirAll(top, 0o755); err != nil {
		return 0, err
	}
	file := filepath.Join(top, name+".spec")
	if err := os.WriteFile(file, []byte(spec.String()+install.String()), 0o644); err != nil {
		return 0, err
	}
	if out, err := exec.CommandContext(ctx, "rpmbuild", "-bs", "--define", "_topdir "+top, file).CombinedOutput(); err != nil {
		return 0, fmt.Errorf("rpmbuild -bs: %w: %s", err, out)
	}
	out, err := w.server.cli(ctx, w.bench, "build", "create", "--platform", "one", "--platform", "two", "--arch", "x86_64", "--product", "whole", "--json",
		"--srpm", filepath.Join(top, "SRPMS", fmt.Sprintf("%s-%d-1.src.rpm", name, version)))
	if err != nil {
		return 0, err
	}
	_, id, ok := bytes.Cut(out, []byte(`"id":`))
	if !ok {
		return 0, fmt.Errorf("the build has no id: %.200s", out)
	}
	n, err := strconv.ParseInt(strings.TrimSpace(strings.SplitN(string(id), ",", 2)[0]), 10, 64)
	if err != nil {
		return 0, err
	}
	// Its tests are not waited for, for nobody makes any.
	err = wait(ctx, 5*time.Minute, func() (bool, error) {
		doc, err := w.client.Build(ctx, albs.BuildID(n))
		if err != nil {
			return false, err
		}
		left := 0
		for _, t := range doc.Value.Tasks {
			switch {
			case t.Kind == albs.KindTest:
			case t.State == albs.TaskFailed || t.State == albs.TaskCancelled:
				return false, fmt.Errorf("build %d: task %d %s: %s", n, t.ID, t.State, t.Reason)
			case t.State != albs.TaskSucceeded:
				left++
			}
		}
		return left == 0 && len(doc.Value.Tasks) > 0, nil
	})
	if err != nil {
		return 0, err
	}
	_, err = w.server.cli(ctx, w.bench, "sign", strconv.FormatInt(n, 10), "--key", "whole", "--wait")
	return albs.BuildID(n), err
}

// release plans, approves and publishes a build, and returns how long it took from the word
// to publish until readers see it.
func (w *whole) release(ctx context.Context, id albs.BuildID) (time.Duration, error) {
	began := time.Now()
	plan, err := w.client.PlanRelease(ctx, "whole", []albs.BuildID{id})
	if err != nil {
		return 0, err
	}
	planned := time.Now()
	added := 0
	for _, r := range plan.Value.Plan.Repositories {
		added += r.After - r.Before
	}
	r, err := w.client.ApproveRelease(ctx, plan.Value.ID, plan.Value.Digest)
	if err != nil {
		return 0, err
	}
	approved := time.Now()
	if _, err := w.client.PublishRelease(ctx, r.Value.ID); err != nil {
		return 0, err
	}
	begun := time.Now()
	current := filepath.Join(w.data, "releaser/public/whole/current")
	err = wait(ctx, 2*time.Minute, func() (bool, error) {
		target, err := os.Readlink(current)
		if errors.Is(err, os.ErrNotExist) {
			return false, nil
		}
		return err == nil && target == fmt.Sprint("trees/", w.serial+1), err
	})
	shown := time.Now()
	if err != nil {
		doc, err2 := w.client.Release(ctx, r.Value.ID)
		return 0, errors.Join(fmt.Errorf("release %d is %s: %s: %w", r.Value.ID, doc.Value.State, doc.Value.Reason, err), err2)
	}
	w.serial++
	fmt.Fprintf(os.Stderr, "bench: release-whole: %d packages: planned in %.3f s, approved in %.3f s, published in %.3f s, of which %.3f s until the tasks were queued\n",
		added, planned.Sub(began).Seconds(), approved.Sub(planned).Seconds(), shown.Sub(approved).Seconds(), begun.Sub(approved).Seconds())
	// The next plan begins from what the master knows to be shown.
	return shown.Sub(approved), wait(ctx, time.Minute, func() (bool, error) {
		doc, err := w.client.Release(ctx, r.Value.ID)
		return doc.Value.Status == client.ReleaseCompleted, err
	})
}

// wait asks every millisecond or two until something is so, for so long at most.
func wait(ctx context.Context, most time.Duration, is func() (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, most)
	defer cancel()
	for {
		if ok, err := is(); ok || err != nil {
			return err
		}
		select {
		case <-time.After(2 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
