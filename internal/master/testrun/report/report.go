// Package report tells of tests as faces show them: each package as the latest of its
// runs left it, single checks that are chosen by what they came to, how two revisions
// differ, and all of that in the form that other programs read.
//
// It is pure: package testrun has read the runs.
package report

import (
	"cmp"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/testrun"
)

// Result is what one run says of one package: a package on one arch of one platform in
// one revision of its tests.
type Result struct {
	testrun.Package
	Run testrun.Run // that tested it, without its packages
	// Flaky are points at which tests changed their answer on the same inputs; see Mark.
	Flaky map[testrun.Point]bool
}

// PointOf returns what is the same in tests of other versions: a stage of the package, or
// a case of it.
func (r Result) PointOf(s albs.TestStage, name string) testrun.Point {
	return testrun.Point{Platform: r.Run.Platform, Arch: r.Run.Arch, Package: r.Name, Stage: s, Case: name}
}

// Mark has each of results know what is flaky.
func Mark(results []Result, flaky map[testrun.Point]bool) []Result {
	for i := range results {
		results[i].Flaky = flaky
	}
	return results
}

// Bad reports whether it has ended otherwise than well.
func (r Result) Bad() bool {
	return r.Verdict.State != testrun.Passed && r.Verdict.State != testrun.Pending
}

// Has returns the result's stage s, and whether it has that.
func (r Result) Has(s albs.TestStage) (testrun.Stage, bool) {
	i := slices.IndexFunc(r.Stages, func(x testrun.Stage) bool { return x.Stage == s })
	if i < 0 {
		return testrun.Stage{}, false
	}
	return r.Stages[i], true
}

// Of returns what one run says of each of its packages, in its order.
func Of(r testrun.Run) []Result {
	packages := r.Packages
	r.Packages = nil
	out := make([]Result, len(packages))
	for i, p := range packages {
		out[i] = Result{Package: p, Run: r}
	}
	return out
}

// Current leaves out the runs that tested what a build doesn't have any more: a fresh SRPM
// took the place of what was built.
func Current(b build.Build, runs []testrun.Run) []testrun.Run {
	gone := map[albs.TaskID]bool{}
	for _, it := range b.Items {
		for _, t := range it.Earlier {
			gone[t.ID] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(runs), func(r testrun.Run) bool { return gone[r.BuildTask] })
}

// Latest returns each package that runs tested as the latest of them left it, up to a
// revision, or any with 0. runs are in the order of their making, the results by platform,
// package and arch.
func Latest(runs []testrun.Run, revision int) []Result {
	type key struct {
		task albs.TaskID
		d    albs.Digest
	}
	place := map[key]int{}
	var out []Result
	for _, run := range runs {
		if revision > 0 && run.Revision > revision {
			continue
		}
		for _, r := range Of(run) {
			k := key{run.BuildTask, r.Digest}
			if i, ok := place[k]; ok {
				out[i] = r
				continue
			}
			place[k] = len(out)
			out = append(out, r)
		}
	}
	slices.SortStableFunc(out, func(a, b Result) int {
		return cmp.Or(strings.Compare(a.Run.Platform, b.Run.Platform), strings.Compare(a.NEVRA, b.NEVRA), strings.Compare(string(a.Run.Arch), string(b.Run.Arch)))
	})
	return out
}

// Revisions returns the highest revision of runs, 0 if there are none.
func Revisions(runs []testrun.Run) int {
	most := 0
	for _, r := range runs {
		most = max(most, r.Revision)
	}
	return most
}

// urgency says what a person has to look at first.
var urgency = map[testrun.State]int{testrun.Failed: 0, testrun.Missing: 1, testrun.Waived: 2, testrun.Pending: 3, testrun.Passed: 4}

// FailedFirst returns results with those first that a person has to look at, each sort in
// the order given.
func FailedFirst(results []Result) []Result {
	out := slices.Clone(results)
	slices.SortStableFunc(out, func(a, b Result) int { return urgency[a.Verdict.State] - urgency[b.Verdict.State] })
	return out
}

// Stages returns the stages that results have, in the order in which they are carried out.
func Stages(results []Result) []albs.TestStage {
	has := map[albs.TestStage]bool{}
	for _, r := range results {
		for _, s := range r.Stages {
			has[s.Stage] = true
		}
	}
	return slices.DeleteFunc(slices.Clone(albs.TestStages), func(s albs.TestStage) bool { return !has[s] })
}

// Count is how many packages stand in which way.
type Count struct {
	Packages, Passed, Failed, Pending, Missing int
	Flaky                                      int // of them, those of which something is flaky
}

// CountOf counts results.
func CountOf(results []Result) Count {
	c := Count{Packages: len(results)}
	for i, r := range results {
		if len(r.Flaky) > 0 && slices.ContainsFunc(ChecksOf(&results[i]), func(c Check) bool { return c.Flaky }) {
			c.Flaky++
		}
		switch r.Verdict.State {
		case testrun.Passed:
			c.Passed++
		case testrun.Failed:
			c.Failed++
		case testrun.Pending:
			c.Pending++
		default:
			c.Missing++
		}
	}
	return c
}
