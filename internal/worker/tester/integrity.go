package tester

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/tap"
	"albs/internal/worker/depot"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/integrity"
	"albs/internal/worker/tester/survey"
)

// Names of cases beside those of integrity's rules.
const (
	caseConflicts    = "conflicts"    // files that another package of the repositories has otherwise
	caseRequirements = "requirements" // of other packages that are met no more
	caseLeftovers    = "leftovers"    // what stays when the package goes
)

// facts are what the repositories say of the packages under test, by the digests of
// their files.
type facts struct {
	headers map[albs.Digest]*rpm.Package
	// found waits for the survey, which goes on while the first package is installed: the
	// metadata of a large platform take seconds to read.
	found func() (map[albs.Digest]survey.Findings, error)
	end   func() // ends the survey, and waits until it has ended
}

// gather reads in the repositories what the stages want to know of the packages; the facts
// are to be ended. What the repositories are to blame for is Unavailable: dnf gets on with
// the same ones, or not.
func gather(ctx context.Context, spec *albs.TestSpec, served *depot.Served) (facts, error) {
	if !slices.ContainsFunc(spec.Stages, func(s albs.TestStage) bool { return !s.Setup() && s != albs.StageSigned }) {
		return facts{end: func() {}}, nil // nothing is compared with a header
	}
	open := func(ctx context.Context, repo, name string) (io.ReadCloser, error) {
		r, err := served.Open(ctx, repo, name)
		if err != nil { // no reader that is not nil and holds none
			return nil, err
		}
		return r, nil
	}
	var repos []survey.Repository
	for _, r := range spec.Root.Repos {
		repos = append(repos, survey.Repository{ID: r.ID, Own: r.Own})
	}
	var want []albs.Digest
	for _, p := range spec.Packages {
		want = append(want, p.Digest)
	}
	unavailable := func(err error) error {
		if err == nil || ctx.Err() != nil {
			return err
		}
		return albs.Errorf(albs.Unavailable, "what its repositories say of the packages can't be read: %v", err)
	}
	headers, err := survey.Headers(ctx, open, repos, want)
	if err != nil {
		return facts{}, unavailable(err)
	}
	f := facts{headers: headers, end: func() {}}
	if slices.Contains(spec.Stages, albs.StageIntegrity) {
		within, cancel := context.WithCancel(ctx)
		done := make(chan struct{})
		var found map[albs.Digest]survey.Findings
		var err error
		go func() {
			defer close(done)
			found, err = survey.Take(within, open, repos, headers)
		}()
		f.end = func() { cancel(); <-done }
		f.found = func() (map[albs.Digest]survey.Findings, error) {
			<-done
			return found, unavailable(err)
		}
	}
	return f, nil
}

// integrity looks at what came of the installation, in the root and for others.
func (s *subject) integrity(ctx context.Context, log io.Writer) error {
	if s.facts.headers[s.pkg.Digest] == nil {
		return notRun("no repository of the task lists the very file under test")
	}
	if err := s.verify(ctx, albs.StageIntegrity, s.env, s.said, "", log); err != nil {
		return err
	}
	all, err := s.facts.found()
	if err != nil {
		return err
	}
	found := all[s.pkg.Digest]
	s.add(albs.StageIntegrity, caseConflicts, strings.Join(found.Conflicts, "\n"), 0)
	s.add(albs.StageIntegrity, caseRequirements, strings.Join(found.Unmet, "\n"), 0)
	return s.tell(albs.StageIntegrity, log)
}

// verify compares the package as env has it with its header, and notes a case of the stage
// for each rule. said is what dnf said when it put it there, in the place of replaced.
// Without a header there is nothing to compare; the stage integrity says so.
func (s *subject) verify(ctx context.Context, stage albs.TestStage, env engine.Environment, said []byte, replaced string, log io.Writer) error {
	h := s.facts.headers[s.pkg.Digest]
	if h == nil {
		return nil
	}
	began := time.Now()
	verdicts, err := integrity.Check(ctx, integrity.Subject{Package: h, Arch: s.spec.Root.Arch, Said: said, Replaced: replaced}, env)
	if err != nil {
		return err
	}
	for _, v := range verdicts {
		s.add(stage, v.Rule, strings.Join(v.Found, "\n"), 0)
		c := &s.cases[len(s.cases)-1]
		if v.Skipped != "" {
			c.Status, c.Detail = albs.TestSkipped, v.Skipped
		} else if stage != albs.StageIntegrity && s.knownBad(v.Rule) {
			c.Status, c.Detail = albs.TestSkipped, "it fails when the package is installed, which the stage integrity tells"
		}
	}
	fmt.Fprintf(log, "%d files of %s were compared in %v\n", len(h.Files), s.pkg.NEVRA, time.Since(began).Round(time.Millisecond))
	return nil
}

// knownBad reports whether a case of the stage integrity is bad.
func (s *subject) knownBad(name string) bool {
	return slices.ContainsFunc(s.cases, func(c albs.TestCase) bool {
		return c.Stage == albs.StageIntegrity && c.Name == name && c.Status.Bad()
	})
}

// tell writes the cases of the stage to its log, as TAP.
func (s *subject) tell(stage albs.TestStage, log io.Writer) error {
	var cases []tap.Case
	for _, c := range s.cases {
		if c.Stage != stage {
			continue
		}
		t := tap.Case{Name: c.Name, Status: tap.Status(c.Status), Detail: c.Detail}
		if c.Status == albs.TestSkipped {
			t.Reason, t.Detail = c.Detail, ""
		}
		cases = append(cases, t)
	}
	return tap.Write(log, cases)
}

// scriptlets notes as a case of the stage which of the package's scriptlets failed though
// dnf went on, and which of the version that it takes the place of, or leaves it to.
func (s *subject) scriptlets(stage albs.TestStage, said []byte, other string) {
	s.add(stage, integrity.RuleScriptlets, strings.Join(integrity.Scriptlets(said, s.pkg.NEVRA, other), "\n"), 0)
}

// leftovers notes as a case of the stage remove what the package left behind: paths of it
// at which something lies that nothing lies at in a fresh root.
func (s *subject) leftovers(ctx context.Context) error {
	h := s.facts.headers[s.pkg.Digest]
	if h == nil {
		return nil
	}
	left, err := integrity.Left(ctx, h, s.env)
	if err != nil {
		return err
	}
	if len(left) > 0 {
		if left, err = s.foreign(ctx, left); err != nil {
			return err
		}
	}
	for i := range left {
		left[i] += " is left behind"
	}
	s.add(albs.StageRemove, caseLeftovers, strings.Join(left, "\n"), 0)
	return nil
}

// foreign returns those of the paths that are no part of the base. Where packages that came
// with the one under test stay, theirs can't be told from its own, and there are none.
func (s *subject) foreign(ctx context.Context, paths []string) ([]string, error) {
	packages, err := s.env.Installed(ctx)
	if err != nil {
		return nil, err
	}
	if len(packages) > len(s.base.Packages()) {
		return nil, nil
	}
	fresh, err := s.base.Environment(ctx)
	if err != nil {
		return nil, unblamed(err)
	}
	left, err := integrity.Without(ctx, paths, fresh)
	if cerr := fresh.Close(); cerr != nil {
		fmt.Fprintf(s.log, "an environment is left behind: %v\n", cerr)
	}
	return left, err
}
