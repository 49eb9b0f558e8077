package testrun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/rpm"
)

// handler has the packages of one rebuild tested.
type handler struct{ *Tests }

// Offer composes the root as of now, so that a run tests against what builds and
// users would get today.
func (h handler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	run, err := h.store.byTask(ctx, h.store.d, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	if run.SignedBy != "" {
		spec, err := h.offerSigned(ctx, run)
		return albs.Spec{Test: spec}, nil, err
	}
	root, err := h.builds.TestRoot(ctx, run.BuildID, run.Platform, run.Arch)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	packages, err := h.store.packagesOf(ctx, h.store.d, run.ID)
	if err != nil {
		return albs.Spec{}, nil, fmt.Errorf("packages of test run %d: %w", run.ID, err)
	}
	gate, err := h.gateOf(ctx, run.BuildID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	spec := albs.TestSpec{Root: root, Stages: stagesOf(gate), Engine: albs.EngineOf(t.Needs)}
	if len(spec.Stages) == 0 { // the product came to leave them all out since
		spec.Stages = []albs.TestStage{albs.StageEnvironment, albs.StageSystem}
	}
	if err := h.describe(ctx, &spec, run, packages); err != nil {
		return albs.Spec{}, nil, err
	}
	if err := h.own(ctx, &spec, run, gate); err != nil {
		return albs.Spec{}, nil, err
	}
	return albs.Spec{Test: &spec}, nil, nil
}

// describe adds the packages to the spec, with what the stages have to know of them.
func (h handler) describe(ctx context.Context, spec *albs.TestSpec, run runRow, packages []packageRow) error {
	var from map[string]string
	if slices.Contains(spec.Stages, albs.StageUpgrade) {
		name, err := h.builds.ProductOf(ctx, run.BuildID)
		if err != nil {
			return err
		}
		var repos []albs.Repo
		if from, repos, err = h.released(ctx, name, run, spec.Root, packages); err != nil {
			return err
		}
		spec.Root.Repos = append(slices.Clone(spec.Root.Repos), repos...)
	}
	skips, err := h.store.skips(ctx, h.store.d, run.Platform)
	if err != nil {
		return fmt.Errorf("read the skip list: %w", err)
	}
	for _, p := range packages {
		x := albs.TestPackage{NEVRA: p.NEVRA, Digest: p.Digest, From: from[p.NEVRA]}
		n, err := rpm.ParseNEVRA(p.NEVRA)
		if err != nil {
			return err
		}
		x.Skip = skipsOf(skips, n.Name, spec.Stages)
		head, err := h.artifacts.Package(ctx, p.Digest)
		switch {
		case err == nil:
			x.Module = moduleOf(head.Modularity)
		case albs.KindOf(err) != albs.NotFound: // without its bytes it can't be installed either, which is told there
			return err
		}
		spec.Packages = append(spec.Packages, x)
	}
	return nil
}

// own adds to the spec the tests that the packages' maintainers wrote.
func (h handler) own(ctx context.Context, spec *albs.TestSpec, run runRow, gate product.Gate) error {
	if h.suites == nil || !slices.Contains(spec.Stages, albs.StagePackage) {
		return nil
	}
	found, err := h.suites.Of(ctx, run.BuildID)
	if err != nil {
		return err
	}
	asked, err := h.builds.TestsOf(ctx, run.BuildID, run.ItemID)
	if err != nil {
		return err
	}
	place := map[string]int{}
	for i, p := range spec.Packages {
		n, err := rpm.ParseNEVRA(p.NEVRA)
		if err != nil {
			return err
		}
		for _, su := range found[n.Name] {
			key := strings.Join(append([]string{su.Repository, su.Commit, su.Dir, su.Missing}, su.Files...), "\x00")
			at, there := place[key]
			if !there {
				at = len(spec.Suites)
				place[key], spec.Suites = at, append(spec.Suites, su)
			}
			spec.Packages[i].Suites = append(spec.Packages[i].Suites, at)
		}
	}
	if len(spec.Suites) > 0 {
		spec.Env, spec.Network = asked.Env, gate.Network
	}
	return nil
}

func (h handler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	run, err := h.store.byTask(ctx, h.store.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	logs, err := h.admitLogs(ctx, queue.Upload(l.Token), r.Logs)
	if err != nil {
		return nil, err
	}
	in := admission{run: run, lease: l, logs: logs, worker: auth.From(ctx)}
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "a test excludes no package: report the case as failed")
	}
	if outcome == albs.OutcomeOK {
		if r.Test == nil {
			return nil, albs.Errorf(albs.Invalid, "the attempt reports tests that were carried out, and no stage")
		}
		if in.result, err = checkResult(l.Spec.Test, r.Test, logs); err != nil {
			return nil, err
		}
		gate, err := h.gateOf(ctx, run.BuildID)
		if err != nil {
			return nil, err
		}
		if in.packages, err = h.tested(ctx, l.Spec.Test, in.result, gate); err != nil {
			return nil, err
		}
	}
	return func(ctx context.Context, tx db.Tx) error { return h.keep(ctx, tx, in) }, nil
}

// admission is what is known of an attempt whose result is being looked at.
type admission struct {
	run      runRow
	lease    queue.Lease
	worker   auth.Actor
	logs     []artifact.Artifact
	result   result
	packages []tested // none unless the tests were carried out
}

// admitLogs admits the logs of an attempt: those of the whole, and those of stages.
func (t *Tests) admitLogs(ctx context.Context, upload string, files []albs.File) ([]artifact.Artifact, error) {
	if len(files) > maxLogs {
		return nil, albs.Errorf(albs.TooLarge, "the attempt has %d logs, at most %d are kept", len(files), maxLogs)
	}
	var out []artifact.Artifact
	for _, f := range files {
		a, err := t.artifacts.Admit(ctx, upload, f, artifact.Log)
		if err != nil {
			return nil, fmt.Errorf("log %s: %w", f.Name, err)
		}
		out = append(out, a)
	}
	return out, nil
}

// tested is a package with what its run came to.
type tested struct {
	artifact.Artifact
	verdict Verdict
	inputs  albs.Digest
	passed  []string // names of stages, and of their cases: stage/case
	failed  []string // likewise, with what couldn't run
	warned  []string // likewise, of stages that need not pass
}

// gateOf returns the policy of the product that a build is of.
func (t *Tests) gateOf(ctx context.Context, id albs.BuildID) (product.Gate, error) {
	name, err := t.builds.ProductOf(ctx, id)
	if err != nil {
		return product.Gate{}, err
	}
	return t.gate(ctx, name)
}

// tested sorts a result by package; what failed is as bad as gate says.
func (t *Tests) tested(ctx context.Context, spec *albs.TestSpec, r result, gate product.Gate) ([]tested, error) {
	out := make([]tested, len(spec.Packages))
	for i, p := range spec.Packages {
		a, err := t.artifacts.Get(ctx, t.store.d, p.Digest)
		if err != nil {
			return nil, err
		}
		x := tested{Artifact: a}
		if x.inputs, err = inputsOf(*spec, p); err != nil {
			return nil, err
		}
		note := func(name string, s Stage, status albs.TestStatus) {
			switch {
			case status.Bad() && !required(gate, s.Stage):
				x.warned = append(x.warned, name)
			case status.Bad():
				x.failed = append(x.failed, name)
			case status == albs.TestPassed:
				x.passed = append(x.passed, name)
			}
		}
		var about []Stage
		for _, s := range r.stages {
			if s.Package != p.Digest {
				continue
			}
			about = append(about, s)
			note(string(s.Stage), s, s.Status)
			for _, c := range r.cases {
				if c.Package == p.Digest && c.Stage == s.Stage {
					note(string(c.Stage)+"/"+c.Name, s, c.Status)
				}
			}
		}
		x.verdict = judge(about)
		out[i] = x
	}
	return out, nil
}

// keep writes what an attempt left. An attempt that could not carry out the tests
// leaves its logs; that it failed is told by Ended.
func (h handler) keep(ctx context.Context, tx db.Tx, in admission) error {
	if err := h.artifacts.Add(ctx, tx, in.logs...); err != nil {
		return err
	}
	if err := h.store.addLogs(ctx, tx, in.run.ID, in.lease.Attempt, in.logs); err != nil {
		return err
	}
	if err := h.state(ctx, tx, in); err != nil {
		return err
	}
	if len(in.packages) == 0 {
		return nil
	}
	if err := h.store.addResult(ctx, tx, in.run.ID, in.result); err != nil {
		return err
	}
	e := finished(in.run)
	for _, p := range in.packages {
		if err := h.store.setInputs(ctx, tx, in.run.ID, p.Digest, p.inputs); err != nil {
			return err
		}
		if p.verdict.State == Passed {
			e.Passed++
		} else {
			e.Failed++
		}
	}
	return h.events.Add(ctx, tx, EventFinished, build.Topic(in.run.BuildID), in.worker.String(), e)
}

func finished(r runRow) Finished {
	return Finished{Run: r.ID, Task: r.TaskID, Build: r.BuildID, Platform: r.Platform, Arch: r.Arch, SignedBy: r.SignedBy}
}

// Ended tells that a run ended without its tests being carried out.
func (h handler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	run, err := h.store.byTask(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	e := finished(run)
	e.Reason = t.Reason
	return h.events.Add(ctx, tx, EventFinished, build.Topic(run.BuildID), auth.From(ctx).String(), e)
}

// InVain ends a run whose search for tests came to nothing: the restart of the tests makes
// both anew.
func (h handler) InVain(ctx context.Context, tx db.Tx, t queue.Task) error {
	return h.queue.Cancel(ctx, tx, t.ID, t.Reason)
}

func (h handler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	for _, s := range l.Spec.Test.Suites {
		if s.Tree == d && d != "" {
			return true, nil
		}
	}
	return h.repos.Contain(ctx, l.Spec.Test.Root.Repos, d)
}
