package build

import (
	"context"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/option"
	"albs/internal/master/source"
)

// The words of a request.
type (
	// Options are what a build, or one package of it, asks for beside its source.
	Options = option.Options
	// Tests are what packages are tested by, beside what test repositories have.
	Tests = option.Tests
	// Order says how the rebuilds of a platform follow each other.
	Order = graph.Order
	// Break says where a cycle may be broken.
	Break = graph.Break
)

// The orders.
const (
	Auto        = graph.Auto
	Listed      = graph.Listed
	Independent = graph.Independent
)

// ParseBreak reads "a→b", or "a->b": a is built without waiting for b.
func ParseBreak(s string) (Break, error) { return graph.ParseBreak(s) }

// targets returns the platforms that n names.
func (b *Builds) targets(ctx context.Context, n NewBuild) ([]option.Target, error) {
	if len(n.Platforms) == 0 || len(n.Platforms) > MaxTargets {
		return nil, albs.Errorf(albs.Invalid, "name 1 to %d platforms to build for", MaxTargets)
	}
	var targets []option.Target
	for _, t := range n.Platforms {
		p, err := b.platforms.Get(ctx, t.Platform)
		if err != nil {
			return nil, err
		}
		target, err := option.TargetOf(p, t.Arches)
		if err != nil {
			return nil, err
		}
		if slices.ContainsFunc(targets, func(x option.Target) bool { return x.Name == t.Platform }) {
			return nil, albs.Errorf(albs.Invalid, "platform %s is named twice", t.Platform)
		}
		targets = append(targets, target)
	}
	return targets, nil
}

// LabelSecureBoot marks nodes that are kept for builds for secure boot.
const LabelSecureBoot = "secureboot"

// secure returns an error unless the actor may build for secure boot, on a team's
// behalf, and the platforms are made for it.
func secure(ctx context.Context, team string, targets []option.Target) error {
	if err := auth.Can(ctx, auth.BuildSecureBoot, auth.Object{Team: team}); err != nil {
		return err
	}
	for _, t := range targets {
		if err := t.TakesSecureBoot(); err != nil {
			return err
		}
	}
	return nil
}

// checkTests returns an Invalid error unless the tests that n asks for are in places that
// git may be asked about.
func checkTests(n NewBuild) error {
	suites := n.Options.Tests.Suites
	for _, p := range n.Packages {
		suites = slices.Concat(suites, p.Options.Tests.Suites)
	}
	for _, s := range suites {
		if err := source.Check(s.URL, s.Ref); err != nil {
			return fmt.Errorf("tests: %w", err)
		}
	}
	return nil
}
