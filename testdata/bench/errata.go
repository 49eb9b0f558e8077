package main

import (
	"context"
	"fmt"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/errata/match"
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
