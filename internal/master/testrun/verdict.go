package testrun

import (
	"fmt"

	"albs/internal/albs"
)

// State is what tests say of a package.
type State string

// The states of a package.
const (
	Passed  State = "passed"  // every case about it was good
	Failed  State = "failed"  // a case was bad, none was about it, or its tests could not be carried out
	Pending State = "pending" // its tests are still to end
	Missing State = "missing" // it was not tested
)

// Verdict is a State with its reason, one line.
type Verdict struct {
	State  State
	Reason string
}

// view is what the verdict rule needs to know of the latest run of one rebuild,
// with the cases about one package.
type view struct {
	State  albs.TaskState // of the test task
	Reason string         // the task's
	Cases  []Case
}

// verdictOf is the one place where it is decided what tests say of a package. runs
// are the latest runs, one for each rebuild that left it: the worst of them
// counts, failed before pending before missing before passed.
func verdictOf(runs []view) Verdict {
	worst := Verdict{Missing, "it was never tested"}
	for i, r := range runs {
		v := r.verdict()
		if i == 0 || rank[v.State] > rank[worst.State] {
			worst = v
		}
	}
	return worst
}

var rank = map[State]int{Passed: 0, Missing: 1, Pending: 2, Failed: 3}

func (r view) verdict() Verdict {
	switch r.State {
	case albs.TaskSucceeded:
		return judge(r.Cases)
	case albs.TaskFailed:
		return Verdict{Failed, "its tests could not be carried out: " + r.Reason}
	case albs.TaskCancelled, albs.TaskExcluded:
		return Verdict{Missing, "its tests were cancelled: " + r.Reason}
	case albs.TaskLeased, albs.TaskStopping:
		return Verdict{Pending, "its tests are running"}
	}
	return Verdict{Pending, "its tests wait for a tester"}
}

// judge says what the cases about one package come to.
func judge(cases []Case) Verdict {
	if len(cases) == 0 {
		return Verdict{Failed, "no test case was about it"}
	}
	bad := 0
	var first Case
	for _, c := range cases {
		if !c.OK {
			if bad == 0 {
				first = c
			}
			bad++
		}
	}
	switch {
	case bad == 0:
		return Verdict{Passed, fmt.Sprintf("%d of %d cases passed", len(cases), len(cases))}
	case first.Detail == "":
		return Verdict{Failed, fmt.Sprintf("%d of %d cases failed: %s", bad, len(cases), first.Name)}
	}
	return Verdict{Failed, fmt.Sprintf("%d of %d cases failed: %s: %s", bad, len(cases), first.Name, firstLine(first.Detail))}
}

func firstLine(s string) string {
	for i, c := range s {
		if c == '\n' || i >= 200 {
			return s[:i]
		}
	}
	return s
}
