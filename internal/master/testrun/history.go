package testrun

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// Point is something that tests find out again and again: a stage of the packages of one
// name on an arch of a platform, or a case of that stage, whatever the package's version.
type Point struct {
	Platform string
	Arch     albs.Arch
	Package  string // its name
	Stage    albs.TestStage
	Case     string // "" is the stage itself
}

// Observation is what a point came to in one run.
type Observation struct {
	Point
	NEVRA     string
	Digest    albs.Digest // of the package
	Inputs    albs.Digest // over what its test rested on; "" if that isn't known
	Status    albs.TestStatus
	Detail    string
	Run       int64
	Build     albs.BuildID
	Task      albs.TaskID // the test's
	Revision  int
	CreatedAt time.Time // of the run
}

// Flaky returns the points that gave different answers on the same inputs. To pass, to
// fail and to fail as its author expects are answers; that something was skipped or
// couldn't be run is none.
func Flaky(seen []Observation) map[Point]bool {
	type asked struct {
		Point
		inputs albs.Digest
	}
	answers := map[asked]albs.TestStatus{}
	out := map[Point]bool{}
	for _, o := range seen {
		if o.Inputs == "" || o.Status != albs.TestPassed && o.Status != albs.TestFailed && o.Status != albs.TestTodo {
			continue
		}
		k := asked{o.Point, o.Inputs}
		if before, ok := answers[k]; ok && before != o.Status {
			out[o.Point] = true
		}
		answers[k] = o.Status
	}
	return out
}

// inputsOf returns a digest over what the test of one package of spec rests on: everything
// that the task says but for the other packages and their suites. Equal inputs are the same
// package in the same root out of the same snapshots, in the same stages, with the same
// commits of its tests.
func inputsOf(spec albs.TestSpec, p albs.TestPackage) (albs.Digest, error) {
	all := spec.Suites
	spec.Suites = nil
	for _, i := range p.Suites {
		if i >= 0 && i < len(all) {
			spec.Suites = append(spec.Suites, all[i])
		}
	}
	p.Suites = nil
	spec.Packages = []albs.TestPackage{p}
	b, err := json.Marshal(spec)
	if err != nil {
		return "", fmt.Errorf("write down what the test of %s rests on: %w", p.NEVRA, err)
	}
	return albs.DigestOf(b), nil
}

// flakyFor is how long a point counts as flaky after its answer changed.
const flakyFor = 90 * 24 * time.Hour

// Flaky returns what of the packages of a build is flaky: the points at which tests of
// packages of these names, on the same platform and arch, gave different answers on the
// same inputs within 90 days, in this build or another.
func (t *Tests) Flaky(ctx context.Context, id albs.BuildID) (map[Point]bool, error) {
	seen, err := t.store.repeated(ctx, t.store.d, id, db.At(time.Now().Add(-flakyFor)))
	if err != nil {
		return nil, fmt.Errorf("look for what is flaky in build %d: %w", id, err)
	}
	return Flaky(seen), nil
}

// MaxHistory is how many observations History returns at most.
const MaxHistory = 200

// History returns what p came to, the newest first, in runs below an id, or all with 0.
// An empty platform, arch or stage of p is any; without a case stages are told of, and
// with one only cases of that name. If before isn't 0 there are older ones, below that run.
// It is Invalid without a package.
func (t *Tests) History(ctx context.Context, p Point, below int64) (seen []Observation, before int64, err error) {
	if p.Package == "" {
		return nil, 0, albs.Errorf(albs.Invalid, "say of which package")
	}
	if seen, err = t.store.history(ctx, t.store.d, p, below, MaxHistory+1); err != nil {
		return nil, 0, fmt.Errorf("history of the tests of %s: %w", p.Package, err)
	}
	if len(seen) > MaxHistory {
		// The last run may go on behind the bound.
		last := seen[MaxHistory].Run
		if i := slices.IndexFunc(seen, func(o Observation) bool { return o.Run == last }); i > 0 {
			seen, before = seen[:i], seen[i-1].Run
		} else {
			seen, before = seen[:MaxHistory], last
		}
	}
	there := map[albs.BuildID]bool{}
	out := seen[:0]
	for _, o := range seen {
		ok, known := there[o.Build]
		if !known {
			err := t.builds.There(ctx, t.store.d, o.Build)
			if err != nil && albs.KindOf(err) != albs.NotFound {
				return nil, 0, err
			}
			ok = err == nil
			there[o.Build] = ok
		}
		if ok {
			out = append(out, o)
		}
	}
	return out, before, nil
}
