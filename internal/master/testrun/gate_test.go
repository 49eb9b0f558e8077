package testrun

import (
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/product"
)

// policy reads "required upgrade=advisory package=off": the policy on tests, and on stages.
func policy(s string) product.Gate {
	f := strings.Fields(s)
	g := product.Gate{Tests: product.Tests(f[0])}
	for _, w := range f[1:] {
		stage, p, _ := strings.Cut(w, "=")
		if g.Stages == nil {
			g.Stages = map[albs.TestStage]product.Tests{}
		}
		g.Stages[albs.TestStage(stage)] = product.Tests(p)
	}
	return g
}

func TestStagesOf(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"required":                           "environment system install integrity upgrade downgrade package remove reinstall",
		"advisory upgrade=off":               "environment system install integrity upgrade downgrade package remove reinstall", // downgrade needs it
		"advisory upgrade=off downgrade=off": "environment system install integrity package remove reinstall",
		"off":                                "",
		"off reinstall=required":             "environment system install reinstall",
		"off downgrade=advisory":             "environment system upgrade downgrade",
	} {
		var got []string
		for _, s := range stagesOf(policy(in)) {
			got = append(got, string(s))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("%s: %q, want %s", in, got, want)
		}
	}
}

func TestJudgeBy(t *testing.T) {
	t.Parallel()
	const whole = "environment system install integrity package:skipped remove reinstall "
	for _, tt := range []struct {
		gate, had string
		state     State
		say       string
	}{
		{"required", whole + "upgrade downgrade", Passed, "8 stages passed, 1 were skipped"},
		{"required", whole + "upgrade:failed downgrade:not_run", Failed, "stage upgrade failed: why upgrade (and 1 more)"},
		{"required upgrade=advisory", whole + "upgrade:failed downgrade:not_run", Failed, "stage downgrade was not run: why downgrade"},
		{"required upgrade=advisory downgrade=advisory", whole + "upgrade:failed downgrade:not_run", Passed, "6 stages passed, 1 were skipped; stage upgrade failed: why upgrade (and 1 more), which need not pass"},
		{"required upgrade=off downgrade=off", whole + "upgrade:failed", Passed, "6 stages passed, 1 were skipped"},
		{"required", whole, Missing, "the stage upgrade was left out of its tests"},
		{"off install=required", "environment install", Passed, "2 stages passed"},
		{"off install=required", "environment:failed install:not_run", Failed, "stage environment failed: why environment (and 1 more)"},
		{"required", "", Failed, "no stage of a test was about it"},
		{"off", "", Failed, "no stage of a test was about it"},
		{"advisory", whole + "upgrade:failed", Failed, "stage upgrade failed: why upgrade"}, // it bars nothing, and is shown
		{"advisory install=required", whole + "upgrade:failed", Passed, "3 stages passed; stage upgrade failed: why upgrade, which need not pass"},
		{"advisory install=required", strings.Replace(whole, "install ", "install:failed ", 1), Failed, "stage install failed: why install"},
	} {
		if got := judgeBy(had(tt.had), policy(tt.gate)); got.State != tt.state || got.Reason != tt.say {
			t.Errorf("%s, %s: %+v, want %s, %q", tt.gate, tt.had, got, tt.state, tt.say)
		}
	}
}

// had are stages as a text spells them, stage or stage:status.
func had(s string) (out []Stage) { // "install upgrade:failed …"
	for _, w := range strings.Fields(s) {
		stage, status, ok := strings.Cut(w, ":")
		if !ok {
			status = "passed"
		}
		x := Stage{Stage: albs.TestStage(stage), Status: albs.TestStatus(status)}
		if x.Status.Bad() {
			x.Reason = "why " + stage
		}
		out = append(out, x)
	}
	return out
}

func TestContradicts(t *testing.T) {
	t.Parallel()
	list := func(s string) []string { return strings.Fields(s) }
	for _, tt := range []struct {
		gate, result, failed, warned, want string
	}{
		{"required", attest.Passed, "", "", ""},
		{"required", attest.Failed, "integrity integrity/files", "", "integrity"},
		{"required", attest.Failed, "", "", "something"},
		{"required", attest.Warned, "", "upgrade", "upgrade"}, // by another product's policy
		{"required upgrade=advisory", attest.Warned, "", "upgrade", ""},
		{"required upgrade=advisory", attest.Failed, "upgrade", "", ""},
		{"required upgrade=advisory", attest.Failed, "upgrade files", "", "files"}, // of a stage that it doesn't know
		{"required upgrade=advisory", attest.Warned, "", "", "something"},
		{"required", "", "", "", "something"},
		{"advisory", attest.Failed, "install", "", "install"},
	} {
		if got := contradicts(attest.TestBody{Result: tt.result, FailedTests: list(tt.failed), WarnedTests: list(tt.warned)}, policy(tt.gate), nil); got != tt.want {
			t.Errorf("%+v: %q", tt, got)
		}
	}
}
