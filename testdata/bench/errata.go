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

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata/match"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Of the row errata-match.
const (
	matchAdvisories = 2_000
	matchPackages   = 20_000
	matchGoal       = 5.0 // seconds
)

// matchErrata matches advisories against all packages of a platform, from nothing: sources
// of five packages for four arches, each built twice, and advisories over one to three
// sources, of which some want what isn't built.
func matchErrata(ctx context.Context, _ *bench) ([]row, error) {
	arches := []string{"x86_64", "aarch64", "ppc64le", "s390x"}
	const subs, builds = 5, 2
	sources := matchPackages / (subs * len(arches) * builds)
	named := func(source, sub, version, release int, suffix, arch string) rpm.NEVRA {
		return rpm.NEVRA{Name: fmt.Sprintf("package%d-sub%d", source, sub), Version: fmt.Sprintf("%d.%d", source%9, version), Release: fmt.Sprintf("%d.el9%s", release, suffix), Arch: arch}
	}
	var packages []match.Package
	for s := range sources {
		for b := range builds {
			for sub := range subs {
				for _, arch := range arches {
					packages = append(packages, match.Package{
						NEVRA: named(s, sub, 1, 9+b, ".alma.1", arch), Source: fmt.Sprintf("package%d-%d.1-%d.el9.alma.1.src.rpm", s, s%9, 9+b),
						Build: albs.BuildID(s*builds + b + 1), Released: s%3 == 0 && b == 0,
					})
				}
			}
		}
	}
	wanted := make([][]advisory.Package, matchAdvisories)
	for i := range wanted {
		for s := range 1 + i%3 {
			for sub := range subs {
				for _, arch := range arches {
					wanted[i] = append(wanted[i], advisory.Package{NEVRA: named((i*7+s)%sources, sub, 1, 9+i%3, "", arch)})
				}
			}
		}
	}
	var took []float64
	var answered int
	for range runs {
		begin := time.Now()
		x := match.New("almalinux-9", []string{".alma"}, packages)
		answered = 0
		for _, want := range wanted {
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			answered += len(x.Match(want, false).Answers)
		}
		took = append(took, time.Since(begin).Seconds())
	}
	if answered < matchAdvisories {
		return nil, fmt.Errorf("%d advisories had %d answers", matchAdvisories, answered)
	}
	ours := median(took)
	return []row{{
		Name: "errata-match", Unit: "s", Ours: ours, Goal: fmt.Sprintf("%d advisories × %d packages < 5 s", matchAdvisories, matchPackages), Met: ours < matchGoal,
	}}, nil
}

// Of the rows errata-outputs-N.
const (
	outputsGoal  = 1.0 // seconds beside 5,000, and in proportion beside fewer
	outputsTimes = 3.0 // of what hashing and storing the bytes alone takes, beyond one advisory alone
)

// outputs: all that is shown of advisories, after one new one beside n others, planned. A
// part of that is one advisory's own and the same for any n; the other is files over all,
// which have to be hashed and stored, and the peer does nothing but that.
func outputs(n int) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, _ *bench) ([]row, error) {
		alone, _, _, err := shareMany(ctx, 0)
		if err != nil {
			return nil, err
		}
		ours, stored, mb, err := shareMany(ctx, n)
		if err != nil {
			return nil, err
		}
		r := row{
			Name: fmt.Sprintf("errata-outputs-%d", n), Unit: "s", Ours: ours, Peer: stored, PeerName: fmt.Sprintf("storing the same %.0f MB", mb),
			Goal: fmt.Sprintf("< %.1f s, ≤ %.0f× beyond one advisory alone (%.3f s)", outputsGoal*float64(n)/5000, outputsTimes, alone),
		}
		r.Ratio = (ours - alone) / stored
		r.Met = ours < outputsGoal*float64(n)/5000 && r.Ratio <= outputsTimes
		return []row{r}, nil
	}
}

// shareMany returns the medians that BenchmarkShare tells, and how many MB are stored.
func shareMany(ctx context.Context, n int) (took, stored, mb float64, err error) {
	cmd := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", fmt.Sprintf("^BenchmarkShare$/^%d$", n), "-benchtime", fmt.Sprintf("%dx", 2*runs), "./internal/master/errata/publish")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		return 0, 0, 0, fmt.Errorf("go test -bench: %w: %s", err, out)
	}
	// A figure stands before its unit.
	units := map[string]*float64{"median-ms": &took, "stored-ms": &stored, "stored-MB": &mb}
	words := strings.Fields(string(out))
	for i, w := range words {
		if to := units[w]; to != nil && i > 0 {
			if *to, err = strconv.ParseFloat(words[i-1], 64); err != nil {
				return 0, 0, 0, fmt.Errorf("go test -bench: %w", err)
			}
			delete(units, w)
		}
	}
	if len(units) > 0 {
		return 0, 0, 0, fmt.Errorf("go test -bench doesn't tell all: %s", out)
	}
	return took / 1000, stored / 1000, mb, nil
}

const (
	releaseFiles = 7   // of an advisory, by the forms that it has alone
	releaseOver  = 12  // over all
	releaseGoal  = 5.0 // seconds beside 5,000, and in proportion beside fewer
)

// showErrata: from a tree that is decided to what readers see, for one advisory more beside n
// others. Files are as large as those of advisories are on average.
func showErrata(n int) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) (_ []row, err error) {
		s, err := newShelf(ctx, filepath.Join(b.dir, "errata"))
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, s.close()) }()
		// The bytes of a file: few are stored, and each is laid under many names.
		file := func(path string, size, content int) (repodata.TreeFile, error) {
			text := bytes.Repeat(fmt.Appendf(nil, "%15d\n", content), size/16)
			d, size64, err := s.blobs.Write(ctx, bytes.NewReader(text), int64(len(text)))
			return repodata.TreeFile{Path: path, Digest: d, Size: size64}, err
		}
		var own, tree repodata.Tree
		for i := range 64 {
			f, err := file("", 6<<10, i)
			if err != nil {
				return nil, err
			}
			own.Files = append(own.Files, f)
		}
		var took []float64
		for round := range runs + 1 {
			tree.Files = tree.Files[:0]
			for i := range (n + round) * releaseFiles {
				f := own.Files[i%len(own.Files)]
				f.Path = fmt.Sprintf("errata/el9/form%d/advisory-%d", i%releaseFiles, i/releaseFiles)
				tree.Files = append(tree.Files, f)
			}
			for i := range releaseOver {
				f, err := file(fmt.Sprintf("errata/el9/over%d", i), n*16<<10/releaseOver, 100+round*releaseOver+i)
				if err != nil {
					return nil, err
				}
				tree.Files = append(tree.Files, f)
			}
			t, err := s.publish(ctx, tree)
			if err != nil {
				return nil, err
			}
			if round > 0 { // the first lays all
				took = append(took, t.Seconds())
			}
		}
		ours := median(took)
		return []row{{
			Name: fmt.Sprintf("errata-shown-%d", n), Unit: "s", Ours: ours, Goal: fmt.Sprintf("a tree of %d files, one advisory more < %.1f s", len(tree.Files), releaseGoal*float64(n)/5000),
			Met: ours < releaseGoal*float64(n)/5000,
		}}, nil
	}
}
