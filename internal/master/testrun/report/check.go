package report

import (
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/testrun"
)

// Check is one thing that the test of a package found out: a stage, or a case of it.
type Check struct {
	Result *Result
	Stage  albs.TestStage // "" of a package of which no stage is known
	Case   string         // "" of the stage itself
	// Status is a stage's or a case's, or, where no stage is known, the package's
	// verdict's state.
	Status albs.TestStatus
	Detail string // why; "" for nothing to tell
	Took   time.Duration
	// Log is the stage's own, nil if it has none.
	Log *testrun.Log
	// Flaky says that it changed its answer on the same inputs; that bars nothing less.
	Flaky bool
}

// Bad reports whether it ended otherwise than well.
func (c Check) Bad() bool { return bad(c.Status) }

// bad leaves out what is still to end.
func bad(s albs.TestStatus) bool { return s.Bad() && s != albs.TestStatus(testrun.Pending) }

// ChecksOf returns all checks of a result, each stage before its cases.
func ChecksOf(r *Result) []Check {
	if len(r.Stages) == 0 {
		return []Check{{Result: r, Status: albs.TestStatus(r.Verdict.State), Detail: r.Verdict.Reason}}
	}
	cases := map[albs.TestStage][]testrun.Case{}
	for _, c := range r.Cases {
		cases[c.Stage] = append(cases[c.Stage], c)
	}
	var out []Check
	for _, s := range r.Stages {
		c := Check{Result: r, Stage: s.Stage, Status: s.Status, Detail: s.Reason, Took: s.Took, Flaky: r.Flaky[r.PointOf(s.Stage, "")]}
		if l, ok := r.Run.LogOf(s); ok {
			c.Log = &l
		}
		out = append(out, c)
		for _, x := range cases[s.Stage] {
			out = append(out, Check{Result: r, Stage: s.Stage, Case: x.Name, Status: x.Status, Detail: x.Detail, Took: x.Took, Log: c.Log, Flaky: r.Flaky[r.PointOf(s.Stage, x.Name)]})
		}
	}
	return out
}

// Bad as a Filter's status stands for every one that isn't good.
const Bad albs.TestStatus = "bad"

// Statuses are what checks can be chosen by.
var Statuses = []albs.TestStatus{
	Bad, albs.TestFailed, albs.TestNotRun, albs.TestPassed, albs.TestSkipped, albs.TestTodo, albs.TestStatus(testrun.Pending), albs.TestStatus(testrun.Missing),
}

// Filter chooses checks; what is empty chooses nothing.
type Filter struct {
	Status   albs.TestStatus // or Bad
	Stage    albs.TestStage
	Package  string // in the NEVRA, or the whole sha256
	Platform string
	Arch     albs.Arch
	Text     string // in the case's name, or in what was said
	Flaky    bool   // only those
}

// Check returns an Invalid error that says what in f can't be.
func (f Filter) Check() error {
	switch {
	case f.Status != "" && !slices.Contains(Statuses, f.Status):
		return albs.Errorf(albs.Invalid, "%.40q is no status of a test", f.Status)
	case f.Stage != "" && !f.Stage.Known():
		return albs.Errorf(albs.Invalid, "%.40q is no stage of a test", f.Stage)
	}
	return nil
}

// Filled reports whether f chooses anything.
func (f Filter) Filled() bool { return f != Filter{} }

// Checks returns the checks of results that f chooses, in their order.
func (f Filter) Checks(results []Result) []Check {
	var out []Check
	for i := range results {
		if !f.about(results[i]) {
			continue
		}
		for _, c := range ChecksOf(&results[i]) {
			if f.chooses(c) {
				out = append(out, c)
			}
		}
	}
	return out
}

// Results returns the results in which f chooses a check.
func (f Filter) Results(results []Result) []Result {
	var out []Result
	for i := range results {
		if f.about(results[i]) && (f.Status == "" && f.Stage == "" && f.Text == "" && !f.Flaky || slices.ContainsFunc(ChecksOf(&results[i]), f.chooses)) {
			out = append(out, results[i])
		}
	}
	return out
}

func (f Filter) about(r Result) bool {
	return (f.Platform == "" || f.Platform == r.Run.Platform) && (f.Arch == "" || f.Arch == r.Run.Arch) &&
		(f.Package == "" || has(r.NEVRA, f.Package) || f.Package == string(r.Digest))
}

func (f Filter) chooses(c Check) bool {
	return (f.Status == "" || f.Status == c.Status || f.Status == Bad && c.Bad()) && (f.Stage == "" || f.Stage == c.Stage) && (!f.Flaky || c.Flaky) &&
		(f.Text == "" || has(c.Case, f.Text) || has(c.Detail, f.Text))
}

func has(s, part string) bool { return strings.Contains(strings.ToLower(s), strings.ToLower(part)) }
