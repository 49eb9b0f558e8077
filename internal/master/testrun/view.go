package testrun

import (
	"context"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/queue"
)

// Run is one run of the tests of one rebuild, as faces show it.
type Run struct {
	ID        int64
	Build     albs.BuildID
	Item      albs.ItemID
	BuildTask albs.TaskID // whose packages it tests
	Revision  int         // 1 for the first
	Platform  string
	Arch      albs.Arch
	CreatedAt time.Time
	Task      queue.Task
	Packages  []Package
	Logs      []Log
}

// Package is one package under test with what this run says of it.
type Package struct {
	Digest  albs.Digest
	NEVRA   string
	Verdict Verdict
	Cases   []Case
}

// Log is a log that an attempt of the run left.
type Log struct {
	Attempt int
	albs.File
}

// Passed reports whether the run has ended and every package of it passed.
func (r Run) Passed() bool {
	for _, p := range r.Packages {
		if p.Verdict.State != Passed {
			return false
		}
	}
	return true
}

// Of returns all runs of a build in the order of their making, the latest of a
// rebuild last; none for a build that was never tested.
func (t *Tests) Of(ctx context.Context, id albs.BuildID) ([]Run, error) {
	wrap := func(err error) error { return fmt.Errorf("tests of build %d: %w", id, err) }
	rows, err := t.store.runs(ctx, t.store.d, id)
	if err != nil {
		return nil, wrap(err)
	}
	if len(rows) == 0 {
		return nil, nil
	}
	ids := make([]albs.TaskID, len(rows))
	for i, r := range rows {
		ids[i] = r.TaskID
	}
	// Tasks before cases: what a task that is seen as ended has told is there then.
	tasks, err := t.queue.Tasks(ctx, ids...)
	if err != nil {
		return nil, wrap(err)
	}
	packages, err := t.store.packages(ctx, t.store.d, id)
	if err != nil {
		return nil, wrap(err)
	}
	cases, err := t.store.cases(ctx, t.store.d, id)
	if err != nil {
		return nil, wrap(err)
	}
	logs, err := t.store.logs(ctx, t.store.d, id)
	if err != nil {
		return nil, wrap(err)
	}
	return assemble(rows, tasks, packages, cases, logs), nil
}

// assemble makes runs of what was read of them, one thing after the other: what
// belongs to a run that was made since rows were read is left out.
func assemble(rows []runRow, tasks []queue.Task, packages []packageRow, cases []caseRow, logs []logRow) []Run {
	byID := make(map[albs.TaskID]queue.Task, len(tasks))
	for _, task := range tasks {
		byID[task.ID] = task
	}
	out := make([]Run, len(rows))
	place := make(map[int64]int, len(rows))
	for i, r := range rows {
		place[r.ID] = i
		out[i] = Run{
			ID: r.ID, Build: r.BuildID, Item: r.ItemID, BuildTask: r.BuildTaskID, Revision: r.Revision,
			Platform: r.Platform, Arch: r.Arch, CreatedAt: r.CreatedAt.Time, Task: byID[r.TaskID],
		}
	}
	type key struct {
		run int64
		d   albs.Digest
	}
	about := make(map[key][]Case)
	for _, c := range cases {
		k := key{c.RunID, c.Digest}
		about[k] = append(about[k], Case{Package: c.Digest, Name: c.Name, OK: c.OK, Detail: c.Detail})
	}
	for _, p := range packages {
		if i, ok := place[p.RunID]; ok {
			r, found := &out[i], about[key{p.RunID, p.Digest}]
			r.Packages = append(r.Packages, Package{
				Digest: p.Digest, NEVRA: p.NEVRA, Cases: found, Verdict: view{r.Task.State, r.Task.Reason, found}.verdict(),
			})
		}
	}
	for _, l := range logs {
		if i, ok := place[l.RunID]; ok {
			out[i].Logs = append(out[i].Logs, Log{l.Attempt, albs.File{Name: l.Name, Digest: l.Digest, Size: l.Size}})
		}
	}
	return out
}

// Verdict returns what the tests of a build say of each of its packages that ds
// names; Missing for one that was never tested, or is another build's. Gates decide
// by it, so no row is believed that a package has passed: the newest statements of
// its tests, one for each sort of root, must say so too. Rows that contradict the
// ledger are a Conflict.
func (t *Tests) Verdict(ctx context.Context, id albs.BuildID, ds []albs.Digest) (map[albs.Digest]Verdict, error) {
	runs, err := t.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	latest := make(map[albs.TaskID]Run)
	var order []albs.TaskID
	for _, r := range runs {
		if _, seen := latest[r.BuildTask]; !seen {
			order = append(order, r.BuildTask)
		}
		latest[r.BuildTask] = r
	}
	views := make(map[albs.Digest][]view)
	for _, task := range order {
		r := latest[task]
		for _, p := range r.Packages {
			views[p.Digest] = append(views[p.Digest], view{r.Task.State, r.Task.Reason, p.Cases})
		}
	}
	out := make(map[albs.Digest]Verdict, len(ds))
	for _, d := range ds {
		v := verdictOf(views[d])
		if v.State == Passed {
			if v, err = t.stated(ctx, d, v); err != nil {
				return nil, err
			}
		}
		out[d] = v
	}
	return out, nil
}

// stated returns v, by which d has passed, if the master stated the same: the newest
// statement for each root that it was tested in.
func (t *Tests) stated(ctx context.Context, d albs.Digest, v Verdict) (Verdict, error) {
	sts, err := t.provenance.Stated(ctx, d, attest.Test)
	if err != nil {
		return v, err
	}
	if len(sts) == 0 {
		return Verdict{Failed, "the master never stated that it passed its tests: the database was changed behind albs"}, nil
	}
	newest := map[string]string{}
	for _, st := range sts {
		var body attest.TestBody
		if err := st.Body(&body); err != nil {
			return v, err
		}
		newest[body.Root()] = body.Result
	}
	for root, result := range newest {
		if result != attest.Passed {
			return Verdict{Failed, fmt.Sprintf("the master stated that its tests in %s %s: it is another build's package too, or the database was changed behind albs", root, result)}, nil
		}
	}
	return v, nil
}

// Cause returns why a run failed, nil if it didn't: by its first case that did, or, if
// its tests could not be carried out, by the words with which that ended.
func (r Run) Cause() *failure.Cause {
	if r.Task.State == albs.TaskFailed {
		c := failure.OfWords(r.Task.Reason)
		return &c
	}
	for _, p := range r.Packages {
		for _, x := range p.Cases {
			if r.Task.State == albs.TaskSucceeded && !x.OK {
				c := failure.OfCase(p.NEVRA, x.Name, x.Detail)
				return &c
			}
		}
	}
	return nil
}
