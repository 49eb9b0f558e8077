package publish

import (
	"context"
	"slices"

	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/rpm"
)

// Matched answers by what was matched and approved.
type Matched struct{ *matching.Matching }

// Chosen implements Answers.
func (m Matched) Chosen(ctx context.Context, k errata.Key) ([]Answer, []Lack, error) {
	is, err := m.Of(ctx, k)
	if err != nil {
		return nil, nil, err
	}
	answers, lacks := chosen(is)
	return answers, lacks, nil
}

// chosen returns the answers that stand: of each wanted package those that a person chose,
// else those that albs would take; and what has none.
func chosen(is matching.Answers) ([]Answer, []Lack) {
	by := map[rpm.NEVRA][]matching.Match{}
	var order []rpm.NEVRA
	for _, x := range is.Chosen() {
		if by[x.Wanted] == nil {
			order = append(order, x.Wanted)
		}
		by[x.Wanted] = append(by[x.Wanted], x)
	}
	var answers []Answer
	for _, w := range order {
		best := by[w]
		for _, better := range []func(matching.Match) bool{
			func(x matching.Match) bool { return x.By != "" }, func(x matching.Match) bool { return x.Pick },
		} {
			if slices.ContainsFunc(best, better) {
				best = slices.DeleteFunc(best, func(x matching.Match) bool { return !better(x) })
				break
			}
		}
		for _, x := range best {
			answers = append(answers, Answer{Wanted: x.Wanted, NEVRA: x.NEVRA, Unsigned: x.Unsigned})
		}
	}
	var lacks []Lack
	for _, w := range is.Missing() {
		lacks = append(lacks, Lack{w.NEVRA, w.Lack})
	}
	return answers, lacks
}
