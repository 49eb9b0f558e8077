package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"albs/internal/attest/attesttest"
	"albs/internal/rpm/rpmtest"
)

const (
	verifyRuns  = 11
	verifyRatio = 1.5
	verifyMost  = 1.0 // seconds, for the larger package
)

// verifyOffline has the program verify a package of so many MB with all that lies beside
// it, beside sha256sum of the file: processes both, from start to end. most bounds the
// time in seconds, 0 has the peer be the measure.
func verifyOffline(name string, mb int, most float64) func(ctx context.Context, b *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) ([]row, error) {
		dir := filepath.Join(b.dir, name)
		file, trust, err := released(dir, mb)
		if err != nil {
			return nil, err
		}
		var ours, theirs []float64
		for i := range verifyRuns + 1 {
			took, err := timed(ctx, filepath.Join(b.dir, "albs"), "verify", file, "--trust", trust)
			if err != nil {
				return nil, err
			}
			peer, err := timed(ctx, "sha256sum", file)
			if err != nil {
				return nil, err
			}
			if i > 0 { // the first warms the caches
				ours, theirs = append(ours, took), append(theirs, peer)
			}
		}
		r := row{Name: name, Unit: "s", Ours: median(ours), Peer: median(theirs), PeerName: fmt.Sprintf("sha256sum of the %d MB", mb), Goal: fmt.Sprintf("≤ %.1f×", verifyRatio)}
		r.Ratio = r.Ours / r.Peer
		r.Met = r.Ratio <= verifyRatio
		if most > 0 {
			r.Goal, r.Met = fmt.Sprintf("< %.0f s", most), r.Ours < most
		}
		return []row{r}, nil
	}
}

// released makes a package of so many MB that don't compress, with what lies beside it in
// a public place, and the trust file.
func released(dir string, mb int) (file, trust string, err error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return "", "", err
	}
	made, err := rpmtest.Build(strings.Join([]string{
		"Name: large", "Version: 1", "Release: 1", "Summary: Large", "License: MIT", "BuildArch: noarch", "%global _binary_payload w0.gzdio",
		"%description", "Large.", "%install", "mkdir -p %{buildroot}/usr/share", fmt.Sprintf("head -c %dM /dev/urandom > %%{buildroot}/usr/share/large", mb),
		"%files", "/usr/share/large", "",
	}, "\n"))
	if err != nil {
		return "", "", err
	}
	f, err := attesttest.New(filepath.Join(dir, "ledger"))
	if err != nil {
		return "", "", err
	}
	defer func() { _ = f.Close() }() // all of it goes with dir
	r, err := f.Release(made["large-1-1.noarch.rpm"])
	if err != nil {
		return "", "", err
	}
	if file, err = r.Save(dir); err != nil {
		return "", "", err
	}
	trust = filepath.Join(dir, "trust.json")
	return file, trust, os.WriteFile(trust, f.Trust.Encode(), 0o644)
}

// timed runs a program and returns how many seconds it took.
func timed(ctx context.Context, name string, args ...string) (float64, error) {
	began := time.Now()
	out, err := exec.CommandContext(ctx, name, args...).CombinedOutput()
	if err != nil {
		return 0, fmt.Errorf("%s: %w: %s", name, err, out)
	}
	return time.Since(began).Seconds(), nil
}
