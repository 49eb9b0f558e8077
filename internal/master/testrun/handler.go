package testrun

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/queue"
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
	root, err := h.builds.TestRoot(ctx, run.BuildID, run.Platform, run.Arch)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	packages, err := h.store.packagesOf(ctx, h.store.d, run.ID)
	if err != nil {
		return albs.Spec{}, nil, fmt.Errorf("packages of test run %d: %w", run.ID, err)
	}
	spec := albs.TestSpec{Root: root}
	for _, p := range packages {
		spec.Packages = append(spec.Packages, albs.TestPackage{NEVRA: p.NEVRA, Digest: p.Digest})
	}
	return albs.Spec{Test: &spec}, nil, nil
}

func (h handler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	run, err := h.store.byTask(ctx, h.store.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	logs, err := h.artifacts.AdmitLogs(ctx, queue.Upload(l.Token), r.Logs)
	if err != nil {
		return nil, err
	}
	in := admission{run: run, lease: l, logs: logs, worker: auth.From(ctx)}
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "a test excludes no package: report the case as failed")
	}
	if outcome == albs.OutcomeOK {
		if r.Test == nil || len(r.Test.Cases) == 0 {
			return nil, albs.Errorf(albs.Invalid, "the attempt reports tests that were carried out, and no case")
		}
		if in.cases, err = checkCases(l.Spec.Test.Packages, r.Test.Cases); err != nil {
			return nil, err
		}
		if in.packages, err = h.tested(ctx, l.Spec.Test.Packages, in.cases); err != nil {
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
	cases    []Case
	packages []tested // none unless the tests were carried out
}

// tested is a package with what its run came to.
type tested struct {
	artifact.Artifact
	verdict Verdict
	passed  []string // names of cases
	failed  []string
}

// tested sorts the cases by package.
func (t *Tests) tested(ctx context.Context, packages []albs.TestPackage, cases []Case) ([]tested, error) {
	about := make(map[albs.Digest][]Case, len(packages))
	for _, c := range cases {
		about[c.Package] = append(about[c.Package], c)
	}
	out := make([]tested, len(packages))
	for i, p := range packages {
		a, err := t.artifacts.Get(ctx, t.store.d, p.Digest)
		if err != nil {
			return nil, err
		}
		out[i] = tested{Artifact: a, verdict: judge(about[p.Digest])}
		for _, c := range about[p.Digest] {
			if c.OK {
				out[i].passed = append(out[i].passed, c.Name)
			} else {
				out[i].failed = append(out[i].failed, c.Name)
			}
		}
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
	if err := h.store.addCases(ctx, tx, in.run.ID, in.cases); err != nil {
		return err
	}
	e := finished(in.run)
	for _, p := range in.packages {
		if p.verdict.State == Passed {
			e.Passed++
		} else {
			e.Failed++
		}
	}
	return h.events.Add(ctx, tx, EventFinished, build.Topic(in.run.BuildID), in.worker.String(), e)
}

func finished(r runRow) Finished {
	return Finished{Run: r.ID, Task: r.TaskID, Build: r.BuildID, Platform: r.Platform, Arch: r.Arch}
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

func (h handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h handler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.repos.Contain(ctx, l.Spec.Test.Root.Repos, d)
}
