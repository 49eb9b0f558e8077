// Package cvss says what a CVSS vector of version 2.0, 3.0 or 3.1 comes to: its base score,
// computed as the specifications of FIRST have it. Version 4.0 looks its scores up in a
// table of expert judgements; its vectors are carried and not computed.
package cvss

import (
	"math"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Score is what a vector comes to.
type Score struct {
	Version string  // 2.0, 3.0 or 3.1
	Base    float64 // 0.0 to 10.0, with one decimal
	// Severity is the word for the base score: NONE, LOW, MEDIUM, HIGH or CRITICAL;
	// version 2.0 has none.
	Severity string
}

// metric is what may stand behind a name in a vector. Weights are of base metrics, all of
// which have to be there.
type metric struct {
	values  []string
	weights []float64
}

var (
	impact3  = metric{[]string{"N", "L", "H"}, []float64{0, 0.22, 0.56}}
	need3    = metric{values: []string{"X", "L", "M", "H"}}
	version3 = map[string]metric{
		"AV": {[]string{"N", "A", "L", "P"}, []float64{0.85, 0.62, 0.55, 0.2}},
		"AC": {[]string{"L", "H"}, []float64{0.77, 0.44}},
		"PR": {[]string{"N", "L", "H"}, []float64{0.85, 0.62, 0.27}}, // of an unchanged scope
		"UI": {[]string{"N", "R"}, []float64{0.85, 0.62}},
		"S":  {[]string{"U", "C"}, []float64{0, 1}},
		"C":  impact3, "I": impact3, "A": impact3,
		"E":  {values: []string{"X", "U", "P", "F", "H"}},
		"RL": {values: []string{"X", "O", "T", "W", "U"}},
		"RC": {values: []string{"X", "U", "R", "C"}},
		"CR": need3, "IR": need3, "AR": need3,
		"MAV": {values: []string{"X", "N", "A", "L", "P"}},
		"MAC": {values: []string{"X", "L", "H"}},
		"MPR": {values: []string{"X", "N", "L", "H"}},
		"MUI": {values: []string{"X", "N", "R"}},
		"MS":  {values: []string{"X", "U", "C"}},
		"MC":  {values: []string{"X", "N", "L", "H"}},
		"MI":  {values: []string{"X", "N", "L", "H"}},
		"MA":  {values: []string{"X", "N", "L", "H"}},
	}
	// changedPR are the weights of PR in a changed scope.
	changedPR = map[float64]float64{0.85: 0.85, 0.62: 0.68, 0.27: 0.5}

	impact2  = metric{[]string{"N", "P", "C"}, []float64{0, 0.275, 0.66}}
	need2    = metric{values: []string{"ND", "L", "M", "H"}}
	version2 = map[string]metric{
		"AV": {[]string{"N", "A", "L"}, []float64{1, 0.646, 0.395}},
		"AC": {[]string{"L", "M", "H"}, []float64{0.71, 0.61, 0.35}},
		"Au": {[]string{"N", "S", "M"}, []float64{0.704, 0.56, 0.45}},
		"C":  impact2, "I": impact2, "A": impact2,
		"E":   {values: []string{"ND", "U", "POC", "F", "H"}},
		"RL":  {values: []string{"ND", "OF", "TF", "W", "U"}},
		"RC":  {values: []string{"ND", "UC", "UR", "C"}},
		"CDP": {values: []string{"ND", "N", "L", "LM", "MH", "H"}},
		"TD":  {values: []string{"ND", "N", "L", "M", "H"}},
		"CR":  need2, "IR": need2, "AR": need2,
	}
)

// Parse returns the score of a vector, CVSS:3.1/…, CVSS:3.0/…, or of version 2.0 without a
// prefix. The error is Invalid for one that breaks the grammar, lacks a base metric or is
// of another version.
func Parse(vector string) (Score, error) {
	head, rest, _ := strings.Cut(vector, "/")
	switch head {
	case "CVSS:3.0", "CVSS:3.1":
		w, err := weights(vector, rest, version3)
		if err != nil {
			return Score{}, err
		}
		s := Score{Version: strings.TrimPrefix(head, "CVSS:")}
		s.Base = base3(w, s.Version)
		s.Severity = severity(s.Base)
		return s, nil
	}
	if strings.HasPrefix(head, "CVSS:") {
		return Score{}, albs.Errorf(albs.Invalid, "scores of %.20q aren't computed", head)
	}
	w, err := weights(vector, vector, version2)
	if err != nil {
		return Score{}, err
	}
	return Score{Version: "2.0", Base: base2(w)}, nil
}

func weights(vector, metrics string, known map[string]metric) (map[string]float64, error) {
	seen, w := map[string]bool{}, map[string]float64{}
	for part := range strings.SplitSeq(metrics, "/") {
		name, value, _ := strings.Cut(part, ":")
		m, ok := known[name]
		i := slices.Index(m.values, value)
		if !ok || i < 0 || seen[name] {
			return nil, albs.Errorf(albs.Invalid, "%.20q has no place in the vector %.200q", part, vector)
		}
		seen[name] = true
		if m.weights != nil {
			w[name] = m.weights[i]
		}
	}
	for name, m := range known {
		if m.weights != nil && !seen[name] {
			return nil, albs.Errorf(albs.Invalid, "the vector %.200q lacks a base metric", vector)
		}
	}
	return w, nil
}

// base3 is the base score of CVSS 3.0 and 3.1, §7.1 of their specifications.
func base3(w map[string]float64, version string) float64 {
	iss := 1 - (1-w["C"])*(1-w["I"])*(1-w["A"])
	impact, pr, factor := 6.42*iss, w["PR"], 1.0
	if w["S"] == 1 {
		impact, pr, factor = 7.52*(iss-0.029)-3.25*math.Pow(iss-0.02, 15), changedPR[pr], 1.08
	}
	if impact <= 0 {
		return 0
	}
	score := math.Min(factor*(impact+8.22*w["AV"]*w["AC"]*pr*w["UI"]), 10)
	if version == "3.0" {
		return math.Ceil(score*10) / 10
	}
	// 3.1 rounds up without the noise of floating point (its appendix A).
	n := int(math.Round(score * 100_000))
	if n%10_000 == 0 {
		return float64(n) / 100_000
	}
	return float64(n/10_000+1) / 10
}

// base2 is the base score of CVSS 2.0, §3.2.1 of its specification.
func base2(w map[string]float64) float64 {
	impact := 10.41 * (1 - (1-w["C"])*(1-w["I"])*(1-w["A"]))
	if impact == 0 {
		return 0
	}
	return math.Round((0.6*impact+0.4*20*w["AV"]*w["AC"]*w["Au"]-1.5)*1.176*10) / 10
}

func severity(base float64) string {
	switch {
	case base == 0:
		return "NONE"
	case base < 4:
		return "LOW"
	case base < 7:
		return "MEDIUM"
	case base < 9:
		return "HIGH"
	}
	return "CRITICAL"
}
