package tester

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/integrity"
)

// fewest is of how many packages on one environment for all of them is worth its while.
const fewest = 3

// together returns those of the packages that can be tested in one environment, for none of
// them can have anything to do with what another one does there:
//
//   - nothing of a package runs: it has no scriptlet and no trigger, and no tests of its own;
//   - nothing of it is for dnf to choose: it is the only one of its name, conflicts with
//     nothing and obsoletes nothing, needs only what it has itself and what the platform's
//     root consists of, and nothing that another of them has;
//   - nothing of it leads elsewhere: its links lead to files of its own, and all belongs to
//     root. That it has no programs and no libraries is seen when it is installed;
//   - it and the others have no path in common but folders that they have alike;
//   - its test is nothing but that: it has no stream, no released version and no stage that
//     is skipped.
func together(packages []albs.TestPackage, headers map[albs.Digest]*rpm.Package, base []sandbox.Package) []albs.TestPackage {
	platform := map[string]bool{}
	for _, p := range base {
		platform[p.Name] = true
	}
	var group []albs.TestPackage
	var provided, required, names = map[string]bool{}, map[string]bool{}, map[string]bool{}
	paths := map[string]rpm.FileInfo{}
	for _, p := range packages {
		h := headers[p.Digest]
		if h == nil || h.NEVRA.String() != p.NEVRA || p.From != "" || p.Module != "" || len(p.Suites) > 0 || len(p.Skip) > 0 ||
			names[h.Name] || platform[h.Name] || !apart(h, platform) {
			continue
		}
		clash := func(deps []rpm.Dependency, with map[string]bool) bool {
			return slices.ContainsFunc(deps, func(d rpm.Dependency) bool { return with[d.Name] })
		}
		if clash(h.Provides, required) || clash(needs(h), provided) ||
			slices.ContainsFunc(h.Files, func(f rpm.FileInfo) bool { other, both := paths[f.Path]; return both && !alike(f, other) }) {
			continue
		}
		names[h.Name] = true
		for _, d := range h.Provides {
			provided[d.Name] = true
		}
		for _, d := range needs(h) {
			required[d.Name] = true
		}
		for _, f := range h.Files {
			paths[f.Path] = f
		}
		group = append(group, p)
	}
	return group
}

// apart reports whether a package by itself can't have to do with another one.
func apart(h *rpm.Package, platform map[string]bool) bool {
	if len(h.Scripts) > 0 || len(h.Conflicts) > 0 || len(h.Obsoletes) > 0 {
		return false
	}
	for _, d := range needs(h) {
		if !platform[d.Name] {
			return false
		}
	}
	for _, f := range h.Files {
		if f.User != "root" || f.Group != "root" {
			return false
		}
		if f.Link == "" {
			continue
		}
		to := f.Link
		if !path.IsAbs(to) {
			to = path.Join(path.Dir(f.Path), to)
		}
		to = path.Clean(to)
		if !slices.ContainsFunc(h.Files, func(o rpm.FileInfo) bool { return o.Path == to && o.Link == "" }) {
			return false
		}
	}
	return true
}

// needs returns what a package requires of others: neither rpm's own features nor what it
// provides itself.
func needs(h *rpm.Package) []rpm.Dependency {
	return slices.DeleteFunc(slices.Clone(h.Requires), func(d rpm.Dependency) bool {
		return strings.HasPrefix(d.Name, "rpmlib(") || slices.ContainsFunc(h.Provides, func(p rpm.Dependency) bool {
			return p.Name == d.Name && (d.Comparison() == "" || p.Comparison() == d.Comparison() && p.EVR == d.EVR)
		})
	})
}

// alike reports whether two packages may both have a path: as the same folder.
func alike(a, b rpm.FileInfo) bool {
	return a.Dir() && b.Dir() && a.Mode == b.Mode && a.User == b.User && a.Group == b.Group
}

// tested is what the test of a package came to.
type tested struct {
	stages []albs.StageResult
	cases  []albs.TestCase
}

func (s *subject) tested() tested { return tested{s.stages, s.cases} }

// passed reports whether nothing but good came of a test in company: what hadn't to be
// carried out is skipped, and nothing else is. A package that turns out to have programs or
// libraries may have found in others what it lacks.
func (t tested) passed() bool {
	for _, s := range t.stages {
		left := s.Stage == albs.StageUpgrade || s.Stage == albs.StageDowngrade || s.Stage == albs.StagePackage
		if s.Status != albs.TestPassed && (s.Status != albs.TestSkipped || !left && s.Stage != albs.StageSystem) {
			return false
		}
	}
	return !slices.ContainsFunc(t.cases, func(c albs.TestCase) bool {
		return c.Status.Bad() || c.Name == integrity.RuleLibraries && c.Status != albs.TestSkipped
	})
}

// inCompany tests those packages together that can be, and returns what came of them where
// all is well. Of the others it says nothing: they are to be tested alone.
func (b *bench) inCompany(ctx context.Context) (map[string]tested, error) {
	if slices.Contains(b.spec.Stages, albs.StageSigned) || !slices.Contains(b.spec.Stages, albs.StageEnvironment) {
		return nil, nil
	}
	return b.halve(ctx, together(b.spec.Packages, b.facts.headers, b.base.Packages()))
}

// halve has a group share an environment and, if no good came of it, each half of it: one
// package may have kept all others from being installed.
func (b *bench) halve(ctx context.Context, group []albs.TestPackage) (map[string]tested, error) {
	if len(group) < fewest {
		return nil, nil
	}
	done, err := b.share(ctx, group)
	if err != nil || len(done) > 0 {
		return done, err
	}
	done = map[string]tested{}
	for half := range slices.Chunk(group, (len(group)+1)/2) {
		d, err := b.halve(ctx, half)
		if err != nil {
			return nil, err
		}
		maps.Copy(done, d)
	}
	return done, nil
}

// share tests a group in one environment, and returns what came of those that passed. It is
// none of them where the environment isn't at each step what the packages say.
func (b *bench) share(ctx context.Context, group []albs.TestPackage) (map[string]tested, error) {
	env, err := b.base.Environment(ctx)
	if err != nil {
		return nil, unblamed(err)
	}
	c := &crowd{Environment: env}
	defer func() {
		if err := env.Close(); err != nil {
			fmt.Fprintf(b.log, "an environment is left behind: %v\n", err)
		}
	}()
	type kept struct {
		name string
		text []byte
	}
	var members []*subject
	logs := map[string][]kept{}
	for i, p := range group {
		own := *b
		own.keep = func(_ context.Context, name string, text []byte) error {
			logs[p.NEVRA] = append(logs[p.NEVRA], kept{name, text})
			return nil
		}
		if i > 0 { // what is done for all is told once
			own.log, own.began = io.Discard, time.Time{}
		}
		n, err := rpm.ParseNEVRA(p.NEVRA)
		if err != nil {
			return nil, err
		}
		c.nevras = append(c.nevras, p.NEVRA)
		members = append(members, &subject{bench: &own, pkg: p, nevra: n, crowd: c})
	}
	b.began = time.Time{}
	fmt.Fprintf(b.log, "\n== in one environment: %s\n", strings.Join(c.nevras, " "))
	for _, stage := range b.spec.Stages {
		c.tape = nil
		for _, m := range members {
			c.at = 0
			if err := m.stage(ctx, stage); err != nil {
				return nil, fmt.Errorf("stage %s: %w", stage, err)
			}
		}
		wrong, err := c.wrong(ctx, b.base.Packages())
		if err != nil {
			return nil, err
		}
		if wrong == "" && !slices.ContainsFunc(members, func(m *subject) bool { return m.tested().passed() }) {
			wrong = "none of them passed"
		}
		if wrong != "" {
			fmt.Fprintf(b.log, "== %s: they are tested in less company, or alone\n", wrong)
			return nil, nil
		}
	}
	done := map[string]tested{}
	for _, m := range members {
		t := m.tested()
		if !t.passed() {
			fmt.Fprintf(b.log, "== %s is tested alone\n", m.pkg.NEVRA)
			continue
		}
		for _, l := range logs[m.pkg.NEVRA] {
			if err := b.keep(ctx, l.name, l.text); err != nil {
				return nil, err
			}
		}
		done[m.pkg.NEVRA] = t
	}
	return done, nil
}

// crowd is an environment in which several packages are tested, stage by stage: what the
// first of them has done in a stage is done for all, and the others get the same answers.
// Each looks at its own files itself.
type crowd struct {
	engine.Environment
	nevras []string
	tape   []answer // of the stage
	at     int      // of the package whose turn it is
	there  bool     // whether the packages are installed
}

// answer is what a call came to.
type answer struct {
	call     string
	said     []byte
	code     int
	packages []sandbox.Package
	err      error
}

// play returns the next answer on the tape, which do gives where nobody has asked yet.
func (c *crowd) play(call string, do func(a *answer)) answer {
	if c.at == len(c.tape) {
		a := answer{call: call}
		do(&a)
		c.tape = append(c.tape, a)
	}
	a := c.tape[c.at]
	if c.at++; a.call != call { // another way was taken, for which there is no answer
		return answer{err: albs.Errorf(albs.Invalid, "one package did %s where another did %s", a.call, call)}
	}
	return a
}

// transact has all packages undergo what one was asked for.
func (c *crowd) transact(call string, log io.Writer, do func(log io.Writer) error) error {
	a := c.play(call, func(a *answer) {
		var said clip
		a.err = do(&said)
		a.said = said.Bytes()
		if a.err == nil {
			c.there = call != "remove"
		}
	})
	if _, err := log.Write(a.said); err != nil {
		return err
	}
	return a.err
}

// Install implements engine.Environment.
func (c *crowd) Install(ctx context.Context, _ []string, log io.Writer) error {
	return c.transact("install", log, func(log io.Writer) error { return c.Environment.Install(ctx, c.nevras, log) })
}

// Reinstall implements engine.Environment.
func (c *crowd) Reinstall(ctx context.Context, _ []string, log io.Writer) error {
	return c.transact("reinstall", log, func(log io.Writer) error { return c.Environment.Reinstall(ctx, c.nevras, log) })
}

// Remove implements engine.Environment.
func (c *crowd) Remove(ctx context.Context, _, protected []string, log io.Writer) error {
	return c.transact("remove", log, func(log io.Writer) error { return c.Environment.Remove(ctx, c.nevras, protected, log) })
}

// Run implements engine.Environment.
func (c *crowd) Run(ctx context.Context, cmd sandbox.Cmd) (int, error) {
	out := cmd.Stdout
	a := c.play(strings.Join(cmd.Argv, " "), func(a *answer) {
		var said bytes.Buffer
		cmd.Stdout = &said
		if cmd.Stderr != nil {
			cmd.Stderr = &said
		}
		a.code, a.err = c.Environment.Run(ctx, cmd)
		a.said = said.Bytes()
	})
	if out != nil {
		if _, err := out.Write(a.said); err != nil {
			return 0, err
		}
	}
	return a.code, a.err
}

// Installed implements engine.Environment.
func (c *crowd) Installed(ctx context.Context) ([]sandbox.Package, error) {
	a := c.play("installed", func(a *answer) { a.packages, a.err = c.Environment.Installed(ctx) })
	return slices.Clone(a.packages), a.err
}

// Close implements engine.Environment: the environment is not one package's to end.
func (c *crowd) Close() error { return nil }

// wrong returns what is installed otherwise than the packages say, "" if nothing is: beside
// the base's there must be those that were put there, and no other.
func (c *crowd) wrong(ctx context.Context, base []sandbox.Package) (string, error) {
	have, err := c.Environment.Installed(ctx)
	if err != nil {
		return "", err
	}
	want := map[string]bool{}
	for _, p := range base {
		want[p.NEVRA()] = true
	}
	if c.there {
		for _, n := range c.nevras {
			want[n] = true
		}
	}
	for _, p := range have {
		if !want[p.NEVRA()] {
			return p.NEVRA() + " is installed", nil
		}
		delete(want, p.NEVRA())
	}
	for n := range want {
		return n + " is not installed", nil
	}
	return "", nil
}
