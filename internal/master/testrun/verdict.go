package testrun

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/product"
)

// State is what tests say of a package.
type State string

// The states of a package.
const (
	Passed  State = "passed"  // every stage of its test passed, or was left out on purpose
	Failed  State = "failed"  // a stage didn't, none was about it, or its tests could not be carried out
	Pending State = "pending" // its tests are still to end
	Missing State = "missing" // it was not tested
	Waived  State = "waived"  // it failed or is missing, and a person lets it go
)

// Verdict is a State with its reason, one line.
type Verdict struct {
	State  State
	Reason string
	// Waivers are those by which it is Waived.
	Waivers []albs.Waived
	// Untested says that nobody knows how its tests end, so that no waiver helps that isn't
	// of that.
	Untested bool
	// Signed says that it is of the signed copy, which a waiver has to name.
	Signed bool
}

// Remedy says what can be done about a package of a build that doesn't pass by v, a clause;
// "" if it passes. Name is what the build calls it.
func (v Verdict) Remedy(build albs.BuildID, name string) string {
	switch {
	case v.Passes():
		return ""
	case v.State == Pending:
		return "wait until they have ended"
	}
	if build == 0 {
		return "test it again"
	}
	waive := fmt.Sprintf("albs test waive %d %s --reason TEXT", build, strings.TrimSuffix(name, ".rpm"))
	switch {
	case v.Signed:
		waive += " --stage signed"
	case v.Untested:
		waive += " --untested"
	}
	return fmt.Sprintf("test it again, or have a maintainer waive that for a reason and at most %d days: %s", MaxWaiverDays, waive)
}

// Passes reports whether a gate that requires tests lets a package go by v.
func (v Verdict) Passes() bool { return v.State == Passed || v.State == Waived }

// WithSigned returns v, what tests say of a package before it was signed, with what they say
// of the signed copy that is to be released: by gate the worse of the two that it requires.
func (v Verdict) WithSigned(s Verdict, gate product.Gate) Verdict {
	told := "its signed copy: " + s.Reason
	switch {
	case !gate.Signed().Requires():
		if s.State == Failed {
			v.Reason += "; " + told + ", which need not pass"
		}
		return v
	case !gate.Unsigned().Requires(), v.Passes() && !s.Passes():
		s.Reason, s.Signed = told, true
		return s
	case !v.Passes():
		return v
	}
	if s.State == Waived {
		v.State = Waived
	}
	v.Reason += "; " + told
	v.Waivers = append(slices.Clone(v.Waivers), s.Waivers...)
	return v
}

// view is what the verdict rule needs to know of the latest run of one rebuild,
// with the stages about one package.
type view struct {
	State  albs.TaskState // of the test task
	Reason string         // the task's
	Stages []Stage
}

// verdictOf is the one place where it is decided what tests say of a package to a gate.
// runs are the latest runs, one for each rebuild that left it: the worst of them
// counts, failed before pending before missing before passed.
func verdictOf(runs []view, g product.Gate) Verdict {
	worst := Verdict{State: Missing, Reason: "it was never tested", Untested: true}
	for i, r := range runs {
		v := r.verdict(g)
		if i == 0 || rank[v.State] > rank[worst.State] {
			worst = v
		}
	}
	return worst
}

var rank = map[State]int{Passed: 0, Missing: 1, Pending: 2, Failed: 3}

func (r view) verdict(g product.Gate) Verdict {
	switch r.State {
	case albs.TaskSucceeded:
		return judgeBy(r.Stages, g)
	case albs.TaskFailed:
		return Verdict{State: Failed, Reason: "its tests could not be carried out: " + r.Reason, Untested: true}
	case albs.TaskCancelled, albs.TaskExcluded:
		return Verdict{State: Missing, Reason: "its tests were cancelled: " + r.Reason, Untested: true}
	case albs.TaskLeased, albs.TaskStopping:
		return Verdict{State: Pending, Reason: "its tests are running"}
	}
	return Verdict{State: Pending, Reason: "its tests wait for a tester"}
}

// judge says what the stages about one package come to.
func judge(stages []Stage) Verdict {
	passed, skipped, bad := 0, 0, 0
	var first Stage
	for _, s := range stages {
		switch {
		case s.Status == albs.TestPassed:
			passed++
		case !s.Status.Bad():
			skipped++
		default:
			// What failed comes before what couldn't run for that.
			if bad++; bad == 1 || first.Status == albs.TestNotRun && s.Status == albs.TestFailed {
				first = s
			}
		}
	}
	switch {
	case len(stages) == 0:
		return Verdict{State: Failed, Reason: "no stage of a test was about it", Untested: true}
	case bad == 0 && skipped == 0:
		return Verdict{State: Passed, Reason: fmt.Sprintf("%d stages passed", passed)}
	case bad == 0:
		return Verdict{State: Passed, Reason: fmt.Sprintf("%d stages passed, %d were skipped", passed, skipped)}
	}
	why := fmt.Sprintf("stage %s %s", first.Stage, map[bool]string{true: "failed", false: "was not run"}[first.Status == albs.TestFailed])
	if first.Reason != "" {
		why += ": " + firstLine(first.Reason)
	}
	if bad > 1 {
		why += fmt.Sprintf(" (and %d more)", bad-1)
	}
	return Verdict{State: Failed, Reason: why}
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' || i >= 200 {
			return s[:i]
		}
	}
	return s
}
