package testrun

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/product"
)

// stages are those that tests consist of, in their order.
var stages = []albs.TestStage{
	albs.StageEnvironment, albs.StageSystem, albs.StageInstall, albs.StageIntegrity, albs.StageUpgrade, albs.StageDowngrade,
	albs.StagePackage, albs.StageRemove, albs.StageReinstall,
}

// needs are the stages without which one can't be carried out.
var needs = map[albs.TestStage]albs.TestStage{
	albs.StageIntegrity: albs.StageInstall, albs.StagePackage: albs.StageInstall, albs.StageRemove: albs.StageInstall, albs.StageReinstall: albs.StageInstall,
	albs.StageDowngrade: albs.StageUpgrade,
}

// gate returns the policy of a product, and the strict one for a build of no product or
// of one that is gone.
func (t *Tests) gate(ctx context.Context, name string) (product.Gate, error) {
	strict := product.Gate{Tests: product.Required}
	if name == "" {
		return strict, nil
	}
	p, err := t.products.Get(ctx, name)
	if albs.KindOf(err) == albs.NotFound {
		return strict, nil
	}
	if err != nil {
		return strict, fmt.Errorf("look up the gate of product %s: %w", name, err)
	}
	return p.Gate, nil
}

// stagesOf returns the stages that are carried out under a policy: those that aren't off, and
// what they need; none if there is nothing to find out.
func stagesOf(g product.Gate) []albs.TestStage {
	wanted := map[albs.TestStage]bool{}
	for _, s := range stages {
		if !s.Setup() && g.Of(s) != product.Off {
			wanted[s] = true
			if n, ok := needs[s]; ok {
				wanted[n] = true
			}
		}
	}
	if len(wanted) == 0 {
		return nil
	}
	return slices.DeleteFunc(slices.Clone(stages), func(s albs.TestStage) bool { return !s.Setup() && !wanted[s] })
}

// required reports whether gate wants a stage to be good. Where it requires nothing the
// verdict is shown and bars nothing, and tells of all stages.
func required(g product.Gate, s albs.TestStage) bool {
	return !g.Requires() || s.Setup() || g.Of(s) == product.Required
}

// leftOut returns a stage that gate requires and that wasn't carried out, "" if there is
// none: the policy was another one then.
func leftOut(had []Stage, g product.Gate) albs.TestStage {
	for _, s := range stages {
		if !s.Setup() && g.Requires() && g.Of(s) == product.Required && !slices.ContainsFunc(had, func(h Stage) bool { return h.Stage == s }) {
			return s
		}
	}
	return ""
}

// judgeBy says what the stages about one package come to under a policy: the worst of those
// that it requires. What failed of the others is told.
func judgeBy(had []Stage, g product.Gate) Verdict {
	if len(had) == 0 {
		return judge(nil)
	}
	var count, tell []Stage
	for _, s := range had {
		switch {
		case required(g, s.Stage):
			count = append(count, s)
		case s.Status.Bad() && g.Of(s.Stage) == product.Advisory:
			tell = append(tell, s)
		}
	}
	v := judge(count)
	if v.State != Passed {
		return v
	}
	if s := leftOut(had, g); s != "" {
		return Verdict{State: Missing, Reason: fmt.Sprintf("the stage %s was left out of its tests", s), Untested: true}
	}
	if len(tell) > 0 {
		v.Reason += "; " + judge(tell).Reason + ", which need not pass"
	}
	return v
}

// contradicts returns why a statement of a package's tests doesn't let it pass under a
// policy and with these waivers, "" if it does. What it doesn't know of stages is no stage's doing.
func contradicts(b attest.TestBody, g product.Gate, waivers []albs.Waived) string {
	if b.Result == attest.Passed {
		return ""
	}
	for _, name := range slices.Concat(b.FailedTests, b.WarnedTests) {
		stage, _, _ := strings.Cut(name, "/")
		if required(g, albs.TestStage(stage)) && !covered(waivers, albs.TestStage(stage)) {
			return stage
		}
	}
	if b.Result == attest.Warned && len(b.WarnedTests) > 0 || b.Result == attest.Failed && len(b.FailedTests) > 0 {
		return ""
	}
	return "something"
}
