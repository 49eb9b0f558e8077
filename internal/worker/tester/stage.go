package tester

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/suite"
)

// bench is what the tests of a task's packages have in common.
type bench struct {
	jobs
	spec  *albs.TestSpec
	base  engine.Base
	facts facts
	log   io.Writer // of the whole task
	began time.Time // when its making began, for the first environment; zero afterwards
	keep  func(ctx context.Context, name string, content []byte) error
	tree  func(ctx context.Context, d albs.Digest) (suite.Tree, error)
	logs  []albs.File // that were kept
}

// subject is one package under test.
type subject struct {
	*bench
	pkg    albs.TestPackage
	nevra  rpm.NEVRA
	env    engine.Environment // from the stage environment on
	other  engine.Environment // of the stages upgrade and downgrade
	crowd  *crowd             // what env is to be, where several packages share one
	said   []byte             // by dnf when it installed the package
	stages []albs.StageResult
	cases  []albs.TestCase
}

// carryOut is what a stage does. It returns nil if all is well, which includes that none
// of the cases that it added is bad; an end for what else it came to; an Invalid error as
// one that failed. Any other error ends the attempt: it is no finding about the package.
type carryOut func(s *subject, ctx context.Context, log io.Writer) error

// stages say how each is carried out, and behind which others: those must have been
// passed, or left out on purpose.
var stages = map[albs.TestStage]struct {
	do    carryOut
	needs []albs.TestStage
}{
	albs.StageEnvironment: {do: (*subject).environment},
	albs.StageSystem:      {(*subject).system, []albs.TestStage{albs.StageEnvironment}},
	albs.StageInstall:     {(*subject).install, []albs.TestStage{albs.StageEnvironment}},
	albs.StageIntegrity:   {(*subject).integrity, []albs.TestStage{albs.StageInstall}},
	albs.StageUpgrade:     {do: (*subject).upgrade}, // in an environment of its own
	albs.StageDowngrade:   {(*subject).downgrade, []albs.TestStage{albs.StageUpgrade}},
	albs.StagePackage:     {(*subject).suites, []albs.TestStage{albs.StageInstall}},
	albs.StageRemove:      {(*subject).remove, []albs.TestStage{albs.StageInstall}},
	albs.StageReinstall:   {(*subject).reinstall, []albs.TestStage{albs.StageInstall, albs.StageRemove}},
	albs.StageSigned:      {(*subject).signed, []albs.TestStage{albs.StageEnvironment}},
}

// stageLimits are how long stages may take.
var stageLimits = map[albs.TestStage]time.Duration{
	albs.StageSystem:  time.Minute,
	albs.StagePackage: 30 * time.Minute,
}

// defaultLimit is how long every other stage may take.
const defaultLimit = 10 * time.Minute

// end is what a stage came to, if that isn't passed.
type end struct {
	status albs.TestStatus
	reason string
}

// Error implements error.
func (e end) Error() string { return e.reason }

func failed(format string, args ...any) error {
	return end{albs.TestFailed, fmt.Sprintf(format, args...)}
}

func skipped(format string, args ...any) error {
	return end{albs.TestSkipped, fmt.Sprintf(format, args...)}
}

func notRun(format string, args ...any) error {
	return end{albs.TestNotRun, fmt.Sprintf(format, args...)}
}

// test carries out the stages of one package, in environments of its own, of which
// nothing is left afterwards.
func (b *bench) test(ctx context.Context, p albs.TestPackage) ([]albs.StageResult, []albs.TestCase, error) {
	nevra, err := rpm.ParseNEVRA(p.NEVRA)
	if err != nil {
		return nil, nil, err
	}
	s := &subject{bench: b, pkg: p, nevra: nevra}
	defer s.close()
	fmt.Fprintf(b.log, "\n== %s\n", p.NEVRA)
	for _, stage := range b.spec.Stages {
		if err := s.stage(ctx, stage); err != nil {
			return nil, nil, fmt.Errorf("stage %s: %w", stage, err)
		}
	}
	return s.stages, s.cases, nil
}

func (s *subject) close() {
	for _, e := range []engine.Environment{s.env, s.other} {
		if e == nil {
			continue
		}
		if err := e.Close(); err != nil {
			fmt.Fprintf(s.log, "an environment is left behind: %v\n", err)
		}
	}
}

// stage carries out one stage and notes what it came to.
func (s *subject) stage(ctx context.Context, stage albs.TestStage) error {
	r := albs.StageResult{Package: s.pkg.NEVRA, Stage: stage, Started: time.Now().UTC(), Status: albs.TestPassed}
	if stage == albs.StageEnvironment && !s.began.IsZero() {
		r.Started, s.began = s.began.UTC(), time.Time{}
	}
	var own clip
	err := s.due(stage)
	if err == nil {
		fmt.Fprintf(s.log, "-- %s\n", stage)
		limit := s.limit(stage, s.spec.Root.Arch)
		within, cancel := context.WithTimeoutCause(ctx, limit, albs.Errorf(albs.Invalid, "it took longer than %v", limit))
		err = stages[stage].do(s, within, io.MultiWriter(&own, &capped{w: s.log, left: maxStageLog}))
		cancel()
	}
	if ctx.Err() != nil { // whatever it says, it was ended
		return context.Cause(ctx)
	}
	if err == nil {
		err = s.bad(stage)
	}
	if e, ok := errors.AsType[end](err); ok {
		r.Status, r.Reason = e.status, sentence(e.reason)
	} else if errors.Is(err, albs.Invalid) || errors.Is(err, albs.NotFound) {
		r.Status, r.Reason = albs.TestFailed, sentence(err.Error())
	} else if err != nil {
		return err
	}
	r.Millis = time.Since(r.Started).Milliseconds()
	if text := own.Bytes(); len(text) > 0 {
		r.Log = s.pkg.NEVRA + "." + string(stage) + ".log"
		if err := s.keep(ctx, r.Log, text); err != nil {
			return err
		}
	}
	s.stages = append(s.stages, r)
	fmt.Fprintf(s.log, "-- %s: %s\n", stage, strings.TrimSuffix(string(r.Status)+": "+r.Reason, ": "))
	return nil
}

// due returns why a stage isn't carried out, as an end; nil if it is.
func (s *subject) due(stage albs.TestStage) error {
	for _, skip := range s.pkg.Skip {
		if skip.Stage == stage {
			return skipped("it is on the skip list: %s", skip.Reason)
		}
	}
	how, known := stages[stage]
	if !known {
		return notRun("this tester doesn't know the stage")
	}
	for _, need := range how.needs {
		r := s.result(need)
		switch {
		case r == nil && need == albs.StageRemove: // left out, and so it is still installed
		case r == nil:
			return notRun("the stage %s is left out", need)
		case r.Status.Bad():
			return notRun("the stage %s %s", need, words[r.Status])
		case r.Status == albs.TestSkipped && need != albs.StageRemove:
			return skipped("the stage %s was skipped", need)
		}
	}
	return nil
}

// words say what came of a stage.
var words = map[albs.TestStatus]string{albs.TestFailed: "failed", albs.TestNotRun: "wasn't run"}

// result returns what a stage came to, nil before.
func (s *subject) result(stage albs.TestStage) *albs.StageResult {
	for i := range s.stages {
		if s.stages[i].Stage == stage {
			return &s.stages[i]
		}
	}
	return nil
}

// add notes what a check came to: nothing if all is well, else what is wrong.
func (s *subject) add(stage albs.TestStage, name, wrong string, took time.Duration) {
	c := albs.TestCase{Package: s.pkg.NEVRA, Stage: stage, Name: name, Status: albs.TestPassed, Detail: shorten(wrong), Millis: took.Milliseconds()}
	if wrong != "" {
		c.Status = albs.TestFailed
	}
	s.cases = append(s.cases, c)
}

// bad returns the end of a stage that has bad cases, nil if it has none.
func (s *subject) bad(stage albs.TestStage) error {
	n, bad := 0, 0
	var first albs.TestCase
	for _, c := range s.cases {
		if c.Stage != stage {
			continue
		}
		if n++; c.Status.Bad() {
			if bad++; bad == 1 {
				first = c
			}
		}
	}
	if bad == 0 {
		return nil
	}
	return failed("%s", strings.TrimSuffix(fmt.Sprintf("%d of %d cases failed: %s: %s", bad, n, first.Name, first.Detail), ": "))
}
