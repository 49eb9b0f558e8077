package testrun

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/product"
	"albs/internal/master/queue"
)

// Run is one run of the tests of one rebuild, or of a part of them, as faces show it.
type Run struct {
	ID        int64
	Build     albs.BuildID
	Item      albs.ItemID
	BuildTask albs.TaskID // whose packages it tests
	Revision  int         // 1 for the first
	Part      int         // of the revision, from 1
	Platform  string
	Arch      albs.Arch
	SignedBy  string // the fingerprint of the key that signed its packages; "" if they aren't signed
	CreatedAt time.Time
	Task      queue.Task
	Packages  []Package
	Logs      []Log
}

// Package is one package under test with what this run says of it.
type Package struct {
	Digest   albs.Digest
	NEVRA    string
	Name     string      // of the NEVRA; "" where that wasn't noted in its time
	Inputs   albs.Digest // over what the test rested on; "" until it was carried out
	SignedBy string      // the fingerprint of the key that signed it; "" if it isn't signed
	Verdict  Verdict
	Stages   []Stage
	Cases    []Case   // of stages
	Waivers  []Waiver // in force, by the rows of them

	view view
}

// maxShownWaivers is how many waivers of a build are told with its packages, the newest.
const maxShownWaivers = 1000

// CasesOf returns the cases of one stage.
func (p Package) CasesOf(s albs.TestStage) []Case {
	var out []Case
	for _, c := range p.Cases {
		if c.Stage == s {
			out = append(out, c)
		}
	}
	return out
}

// Log is a log that an attempt of the run left.
type Log struct {
	Attempt int
	albs.File
}

// LogOf returns the log of one of the run's stages, and whether it has one: that of the
// attempt that carried it out, which is the last.
func (r Run) LogOf(s Stage) (Log, bool) {
	for _, l := range slices.Backward(r.Logs) {
		if s.Log != "" && l.Name == s.Log {
			return l, true
		}
	}
	return Log{}, false
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
	stages, err := t.store.stages(ctx, t.store.d, id)
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
	waivers, err := t.store.waivers(ctx, t.store.d, WaiverFilter{Build: id, State: WaiverInForce, Limit: maxShownWaivers})
	if err != nil {
		return nil, wrap(err)
	}
	out := assemble(rows, tasks, packages, stages, cases, logs)
	for _, r := range out {
		for i := range r.Packages {
			for _, w := range waivers {
				if w.Digest == r.Packages[i].Digest {
					r.Packages[i].Waivers = append(r.Packages[i].Waivers, w)
				}
			}
		}
	}
	return out, nil
}

// assemble makes runs of what was read of them, one thing after the other: what
// belongs to a run that was made since rows were read is left out.
func assemble(rows []runRow, tasks []queue.Task, packages []packageRow, stages []stageRow, cases []caseRow, logs []logRow) []Run {
	byID := make(map[albs.TaskID]queue.Task, len(tasks))
	for _, task := range tasks {
		byID[task.ID] = task
	}
	out := make([]Run, len(rows))
	place := make(map[int64]int, len(rows))
	for i, r := range rows {
		place[r.ID] = i
		out[i] = Run{
			ID: r.ID, Build: r.BuildID, Item: r.ItemID, BuildTask: r.BuildTaskID, Revision: r.Revision, Part: r.Part,
			Platform: r.Platform, Arch: r.Arch, SignedBy: r.SignedBy, CreatedAt: r.CreatedAt.Time, Task: byID[r.TaskID],
		}
	}
	type key struct {
		run int64
		d   albs.Digest
	}
	about := make(map[key]*Package, len(packages))
	at := func(run int64, d albs.Digest) *Package {
		k := key{run, d}
		if about[k] == nil {
			about[k] = &Package{}
		}
		return about[k]
	}
	for _, s := range stages {
		p := at(s.RunID, s.Digest)
		p.Stages = append(p.Stages, Stage{
			Package: s.Digest, Stage: s.Stage, Status: s.Status, Reason: s.Reason, Started: s.Started.Time, Took: took(s.Millis), Log: s.Log,
		})
	}
	for _, c := range cases {
		p := at(c.RunID, c.Digest)
		p.Cases = append(p.Cases, Case{Package: c.Digest, Stage: c.Stage, Name: c.Name, Status: c.Status, Detail: c.Detail, Took: took(c.Millis)})
	}
	for _, p := range packages {
		if i, ok := place[p.RunID]; ok {
			r, found := &out[i], at(p.RunID, p.Digest)
			v := view{r.Task.State, r.Task.Reason, found.Stages}
			r.Packages = append(r.Packages, Package{Digest: p.Digest, NEVRA: p.NEVRA, Name: p.Name, Inputs: p.Inputs, SignedBy: r.SignedBy, Stages: found.Stages, Cases: found.Cases, Verdict: v.verdict(product.Gate{Tests: product.Advisory}), view: v})
		}
	}
	for _, l := range logs {
		if i, ok := place[l.RunID]; ok {
			out[i].Logs = append(out[i].Logs, Log{l.Attempt, albs.File{Name: l.Name, Digest: l.Digest, Size: l.Size}})
		}
	}
	return out
}

// Latest returns where the tests of each rebuild stand, in the order of the rebuilds' first
// runs: one Run that has each package as the latest run of it left it. What else it says is
// of the run that a person has to look at first: one that is under way, else one in which
// a package didn't pass that still counts, else the last. runs are in the order of their
// making.
func Latest(runs []Run) []Run {
	var tasks []albs.TaskID
	of := map[albs.TaskID][]Run{}
	for _, r := range runs {
		if of[r.BuildTask] == nil {
			tasks = append(tasks, r.BuildTask)
		}
		of[r.BuildTask] = append(of[r.BuildTask], r)
	}
	out := make([]Run, 0, len(tasks))
	for _, task := range tasks {
		var packages []Package
		place := map[albs.Digest]int{}
		counts := make([]int, 0) // for each package, the run that counts
		for i, r := range of[task] {
			for _, p := range r.Packages {
				n, seen := place[p.Digest]
				if !seen {
					n = len(packages)
					place[p.Digest], packages, counts = n, append(packages, Package{}), append(counts, 0)
				}
				packages[n], counts[n] = p, i
			}
		}
		first, urgency := len(of[task])-1, 0
		for n, p := range packages {
			u := 0
			switch {
			case !of[task][counts[n]].Task.State.Final():
				u = 2
			case p.Verdict.State != Passed:
				u = 1
			}
			if u > urgency {
				first, urgency = counts[n], u
			}
		}
		r := of[task][first]
		r.Packages = packages
		out = append(out, r)
	}
	return out
}

// Verdict returns what the tests of a build say to gate of each of its packages that ds
// names, as they are before they are signed; Missing for one that was never tested, or is another build's. Gates decide
// by it, so no row is believed that a package has passed: the newest statements of
// its tests, one for each sort of root, must say so too. A waiver counts by its statement
// alone, as long as it holds. Rows that contradict the ledger are a Conflict.
func (t *Tests) Verdict(ctx context.Context, id albs.BuildID, ds []albs.Digest, gate product.Gate) (map[albs.Digest]Verdict, error) {
	runs, err := t.Of(ctx, id)
	if err != nil {
		return nil, err
	}
	gate = gate.Unsigned()
	out, err := t.verdicts(ctx, id, runs, ds, gate)
	if err != nil {
		return nil, err
	}
	for d, v := range out {
		if v.Passes() {
			if out[d], err = t.stated(ctx, d, v, gate); err != nil {
				return nil, err
			}
		}
	}
	return out, nil
}

// verdicts is Verdict by what the rows of runs say, and the statements of waivers.
func (t *Tests) verdicts(ctx context.Context, id albs.BuildID, runs []Run, ds []albs.Digest, gate product.Gate) (map[albs.Digest]Verdict, error) {
	views := viewsOf(runs)
	out := make(map[albs.Digest]Verdict, len(ds))
	for _, d := range ds {
		v := verdictOf(views[d], gate)
		if v.State == Failed || v.State == Missing {
			waivers, lapsed, err := t.inForce(ctx, id, d)
			if err != nil {
				return nil, err
			}
			if v = waive(views[d], gate, waivers); !v.Passes() && lapsed != "" {
				v.Reason += "; " + lapsed
			}
		}
		out[d] = v
	}
	return out, nil
}

// Standing is what the gate of a build's product says of one of its packages.
type Standing struct {
	Digest  albs.Digest
	NEVRA   string
	Verdict Verdict
	// Bad are the stages that speak against it under the gate, in their order.
	Bad []Stage
}

// Barred returns the packages of a build that its product's gate doesn't let go, as far as
// rows tell, and those that it lets go by a waiver, by NEVRA, and that gate. It is for
// people to see; gates ask Verdict. It is NotFound for an unknown build. Anyone may ask.
func (t *Tests) Barred(ctx context.Context, id albs.BuildID) ([]Standing, product.Gate, error) {
	b, err := t.builds.Get(ctx, id)
	if err != nil {
		return nil, product.Gate{}, err
	}
	gate, err := t.gate(ctx, b.Product)
	if err != nil || !gate.Requires() {
		return nil, gate, err
	}
	runs, err := t.Of(ctx, id)
	if err != nil {
		return nil, gate, err
	}
	bad := map[albs.Digest][]Stage{}
	for _, r := range Latest(runs) {
		for _, p := range r.Packages {
			for _, s := range p.Stages {
				if s.Status.Bad() && required(gate, s.Stage) && !slices.ContainsFunc(bad[p.Digest], func(h Stage) bool { return h.Stage == s.Stage }) {
					bad[p.Digest] = append(bad[p.Digest], s)
				}
			}
		}
	}
	var ds []albs.Digest
	names := map[albs.Digest]string{}
	for _, a := range b.Artifacts {
		if _, seen := names[a.Digest]; a.Kind == string(artifact.RPM) && !seen {
			ds = append(ds, a.Digest)
			names[a.Digest] = strings.TrimSuffix(a.Name, ".rpm")
		}
	}
	verdicts, err := t.verdicts(ctx, id, runs, ds, gate.Unsigned())
	if err != nil {
		return nil, gate, err
	}
	copies, err := t.barredCopies(ctx, id, runs, gate)
	if err != nil {
		return nil, gate, err
	}
	var out []Standing
	for _, d := range ds {
		v := verdicts[d]
		if !gate.Unsigned().Requires() {
			v = Verdict{State: Passed}
		}
		if c, ok := copies[d]; ok {
			v = v.WithSigned(c.Verdict, gate)
			bad[d] = append(bad[d], bad[c.Digest]...)
		}
		if v.State != Passed {
			out = append(out, Standing{Digest: d, NEVRA: names[d], Verdict: v, Bad: bad[d]})
		}
	}
	slices.SortStableFunc(out, func(a, b Standing) int { return strings.Compare(a.NEVRA, b.NEVRA) })
	return out, gate, nil
}

// viewsOf returns what the latest runs of a build say of each package.
func viewsOf(runs []Run) map[albs.Digest][]view {
	views := make(map[albs.Digest][]view)
	for _, r := range Latest(runs) {
		for _, p := range r.Packages {
			views[p.Digest] = append(views[p.Digest], p.view)
		}
	}
	return views
}

// stated returns v, by which d goes, if the master stated the same: the newest
// statement for each root that it was tested in.
func (t *Tests) stated(ctx context.Context, d albs.Digest, v Verdict, gate product.Gate) (Verdict, error) {
	if slices.ContainsFunc(v.Waivers, func(w albs.Waived) bool { return w.Untested }) {
		return v, nil // whatever was found out
	}
	sts, err := t.provenance.Stated(ctx, d, attest.Test)
	if err != nil {
		return v, err
	}
	if len(sts) == 0 {
		return Verdict{State: Failed, Reason: "the master never stated that it passed its tests: the database was changed behind albs"}, nil
	}
	newest := map[string]attest.TestBody{}
	for _, st := range sts {
		var body attest.TestBody
		if err := st.Body(&body); err != nil {
			return v, err
		}
		newest[body.Root()] = body
	}
	for root, body := range newest {
		if what := contradicts(body, gate, v.Waivers); what != "" {
			return Verdict{State: Failed, Reason: fmt.Sprintf("the master stated that its tests in %s %s, %s among them: it is another build's package too, or the database was changed behind albs", root, body.Result, what)}, nil
		}
	}
	return v, nil
}

// Cause returns why a run failed, nil if it didn't: by its first stage that did, and the
// first bad case of that if it has such, or, if its tests could not be carried out, by the
// words with which that ended.
func (r Run) Cause() *failure.Cause {
	if r.Task.State == albs.TaskFailed {
		c := failure.OfWords(r.Task.Reason)
		return &c
	}
	if r.Task.State != albs.TaskSucceeded {
		return nil
	}
	for _, p := range r.Packages {
		for _, s := range p.Stages {
			if !s.Status.Bad() {
				continue
			}
			name, said := string(s.Stage), s.Reason
			if i := slices.IndexFunc(p.Cases, func(c Case) bool { return c.Stage == s.Stage && c.Status.Bad() }); i >= 0 {
				name, said = p.Cases[i].Name, p.Cases[i].Detail
			}
			c := failure.OfCase(p.NEVRA, name, said)
			return &c
		}
	}
	return nil
}
