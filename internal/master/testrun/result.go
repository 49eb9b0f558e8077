package testrun

import (
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// Bounds of one run's result.
const (
	maxCases    = 20_000 // of a run
	maxOf       = 500    // of one package: its statement lists them by name
	maxCaseName = 200
	maxDetail   = 4 << 10            // bytes; what is longer is cut
	maxReason   = 1000               // likewise
	maxTook     = 7 * 24 * time.Hour // likewise
	maxLogs     = 16 + albs.MaxTested*16
)

// Stage is what one stage of a package's test came to, as it is kept.
type Stage struct {
	Package albs.Digest
	Stage   albs.TestStage
	Status  albs.TestStatus
	Reason  string // one sentence, unless it passed; see albs.StageResult
	Started time.Time
	Took    time.Duration
	Log     string // the name of its own log; "" for none
}

// Ended is when the stage ended, the zero time if it is not known when it began.
func (s Stage) Ended() time.Time {
	if s.Started.IsZero() {
		return time.Time{}
	}
	return s.Started.Add(s.Took)
}

// Case is one check of one package, as it is kept.
type Case struct {
	Package albs.Digest
	Stage   albs.TestStage
	Name    string
	Status  albs.TestStatus
	Detail  string
	Took    time.Duration
}

// result is what a run came to, once it was found to be in order: every stage that was
// asked for, of every package, in the order of both.
type result struct {
	stages []Stage
	cases  []Case
}

// checkResult says whether r may be the result of spec, and gives each stage and case its
// package's digest; logs are the names of those that came with it. What is said of a package that the run wasn't asked for
// is Invalid, so that a tester cannot speak about others; so is a stage that wasn't asked
// for, or is there twice, a name that isn't plain, and a stage that passed with a bad
// case in it. More than maxCases, or too many about one package, are TooLarge. A stage
// that was asked for and isn't reported counts as not run. Words for people are cut to
// size and made valid text.
func checkResult(spec *albs.TestSpec, r *albs.TestResult, logs []artifact.Artifact) (result, error) {
	var out result
	if len(r.Cases) > maxCases {
		return out, albs.Errorf(albs.TooLarge, "the run has %d cases, at most %d are taken", len(r.Cases), maxCases)
	}
	if len(r.Stages) == 0 {
		return out, albs.Errorf(albs.Invalid, "the attempt reports tests that were carried out, and no stage")
	}
	digests := make(map[string]albs.Digest, len(spec.Packages))
	for _, p := range spec.Packages {
		digests[p.NEVRA] = p.Digest
	}
	about := func(pkg string, stage albs.TestStage) (place, error) {
		d, ok := digests[pkg]
		if !ok {
			return place{}, albs.Errorf(albs.Invalid, "something is said of %.200q, which the run was not to test", pkg)
		}
		if !slices.Contains(spec.Stages, stage) {
			return place{}, albs.Errorf(albs.Invalid, "something is said of the stage %.40q, which the run was not to carry out", stage)
		}
		return place{d, stage}, nil
	}
	stages := make(map[place]Stage, len(r.Stages))
	for _, s := range r.Stages {
		at, err := about(s.Package, s.Stage)
		if err != nil {
			return out, err
		}
		if _, twice := stages[at]; twice {
			return out, albs.Errorf(albs.Invalid, "the stage %s of %s is reported twice", s.Stage, s.Package)
		}
		if !s.Status.Known() || s.Status == albs.TestTodo {
			return out, albs.Errorf(albs.Invalid, "%.40q is no status of a stage", s.Status)
		}
		if s.Log != "" && !slices.ContainsFunc(logs, func(a artifact.Artifact) bool { return a.Name == s.Log }) {
			return out, albs.Errorf(albs.Invalid, "the stage %s of %s has the log %.200q, which didn't come", s.Stage, s.Package, s.Log)
		}
		stages[at] = Stage{Package: at.d, Stage: s.Stage, Status: s.Status, Reason: text(s.Reason, maxReason), Started: startedAt(s.Started), Took: took(s.Millis), Log: s.Log}
	}
	count := make(map[albs.Digest]int, len(digests))
	for _, c := range r.Cases {
		at, err := about(c.Package, c.Stage)
		if err != nil {
			return out, err
		}
		s, ok := stages[at]
		switch {
		case !ok:
			return out, albs.Errorf(albs.Invalid, "a case is of the stage %s of %s, which is not reported", c.Stage, c.Package)
		case !plain(c.Name):
			return out, albs.Errorf(albs.Invalid, "%.220q is no name of a case: use one line of at most %d bytes", c.Name, maxCaseName)
		case !c.Status.Known():
			return out, albs.Errorf(albs.Invalid, "%.40q is no status of a case", c.Status)
		case c.Status.Bad() && s.Status == albs.TestPassed:
			return out, albs.Errorf(albs.Invalid, "the stage %s of %s is said to have passed, and its case %s is %s", c.Stage, c.Package, c.Name, c.Status)
		}
		if count[at.d]++; count[at.d] > maxOf {
			return out, albs.Errorf(albs.TooLarge, "%s has more than %d cases", c.Package, maxOf)
		}
		out.cases = append(out.cases, Case{Package: at.d, Stage: c.Stage, Name: c.Name, Status: c.Status, Detail: text(c.Detail, maxDetail), Took: took(c.Millis)})
	}
	for _, p := range spec.Packages {
		for _, stage := range spec.Stages {
			s, ok := stages[place{p.Digest, stage}]
			if !ok {
				s = Stage{Package: p.Digest, Stage: stage, Status: albs.TestNotRun, Reason: "the tester said nothing of it"}
			}
			out.stages = append(out.stages, s)
		}
	}
	return out, nil
}

// place is a stage of a package.
type place struct {
	d     albs.Digest
	stage albs.TestStage
}

// plain reports whether s may be the name of a case: one line that can be shown.
func plain(s string) bool {
	return s != "" && len(s) <= maxCaseName && utf8.ValidString(s) && !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// took bounds what a tester says of time.
func took(millis int64) time.Duration {
	return time.Duration(min(max(millis, 0), maxTook.Milliseconds())) * time.Millisecond
}

// text makes a tester's words fit for the database: valid UTF-8 without NUL, of
// limited length.
func text(s string, most int) string {
	if len(s) > most {
		s = s[:most] + "…"
	}
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// startedAt is when a stage began by the tester's clock, as it is kept: the zero Time for
// one that is no time of this world.
func startedAt(t time.Time) time.Time {
	if t.Year() < 2000 || t.Year() > 9999 {
		return time.Time{}
	}
	return db.At(t).Time
}
