package builds

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/status"
	"albs/internal/master/queue"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/master/ui/page"
)

// matrix is the tasks of one platform: packages by steps and arches.
type matrix struct {
	Platform string
	Import   bool // some package comes from git
	Arches   []albs.Arch
	Rows     []row
}

type row struct {
	build.Item
	Origin         build.Source // whether it is verified
	Import, Source *cell        // nil if the SRPM was given
	Cells          []*cell
}

// cell is one task. Test is the latest run of its packages' tests.
type cell struct {
	queue.Task
	Test *testrun.Run
}

func matricesOf(f facts) []matrix {
	var out []matrix
	for _, it := range f.build.Items {
		i := slices.IndexFunc(out, func(m matrix) bool { return m.Platform == it.Platform })
		if i < 0 {
			i = len(out)
			out = append(out, matrix{Platform: it.Platform})
		}
		m := &out[i]
		m.Import = m.Import || it.URL != ""
		for _, a := range it.Arches {
			if !slices.Contains(m.Arches, a) {
				m.Arches = append(m.Arches, a)
			}
		}
	}
	for i := range out {
		m := &out[i]
		for _, it := range f.build.Items {
			if it.Platform == m.Platform {
				m.Rows = append(m.Rows, rowOf(f, it, m.Arches))
			}
		}
	}
	return out
}

func rowOf(f facts, it build.Item, arches []albs.Arch) row {
	r := row{Item: it, Origin: f.sources[it.ID], Cells: make([]*cell, len(arches))}
	for _, t := range it.Tasks {
		c := &cell{Task: t.Task}
		if run, ok := f.latest[t.ID]; ok {
			c.Test = &run
		}
		switch t.Kind {
		case albs.KindImport:
			r.Import = c
		case albs.KindSource:
			r.Source = c
		case albs.KindBuild:
			if i := slices.Index(arches, t.Arch); i >= 0 {
				r.Cells[i] = c
			}
		}
	}
	return r
}

// Verdict is what the run says of all its packages together.
func (c cell) Verdict() string {
	switch {
	case c.Test == nil:
		return ""
	case !c.Test.Task.State.Final():
		return string(c.Test.Task.State)
	case c.Test.Passed():
		return string(testrun.Passed)
	case c.Test.Task.State == albs.TaskCancelled:
		return string(albs.TaskCancelled)
	}
	return string(testrun.Failed)
}

// stepsOf lays out how far the build has come. Nothing here decides anything: the
// build's state is package status's.
func stepsOf(f facts) []page.Step {
	states := make(map[albs.TaskKind][]albs.TaskState)
	given := 0
	for _, it := range f.build.Items {
		if it.URL == "" {
			given++
		}
		for _, t := range it.Tasks {
			states[t.Kind] = append(states[t.Kind], t.State)
		}
	}
	for _, r := range f.latest {
		states[albs.KindTest] = append(states[albs.KindTest], r.Task.State)
	}
	var out []page.Step
	for _, k := range []albs.TaskKind{albs.KindImport, albs.KindSource, albs.KindBuild} {
		s := page.Step{Name: string(k), State: stepState(states[k]), Note: done(states[k])}
		if len(states[k]) == 0 && given > 0 {
			s.State, s.Note = "given", "SRPM given"
		}
		out = append(out, s)
	}
	return append(out, testStep(f, states[albs.KindTest]), signStep(f), releaseStep(f))
}

// stepState is the state of several tasks together, by what a person has to know
// first.
func stepState(states []albs.TaskState) string {
	n := make(map[albs.TaskState]int)
	for _, s := range states {
		n[s]++
	}
	switch {
	case len(states) == 0:
		return "none"
	case n[albs.TaskFailed] > 0:
		return string(status.Failed)
	case n[albs.TaskLeased]+n[albs.TaskStopping] > 0:
		return string(status.Running)
	case n[albs.TaskQueued] > 0:
		return string(albs.TaskQueued)
	case n[albs.TaskCancelled] > 0:
		return string(status.Cancelled)
	case n[albs.TaskBlocked] > 0:
		return string(albs.TaskBlocked)
	case n[albs.TaskExcluded] == len(states):
		return string(albs.TaskExcluded)
	}
	return string(status.Succeeded)
}

func done(states []albs.TaskState) string {
	if len(states) == 0 {
		return ""
	}
	n := 0
	for _, s := range states {
		if s == albs.TaskSucceeded || s == albs.TaskExcluded {
			n++
		}
	}
	return fmt.Sprintf("%d of %d", n, len(states))
}

func testStep(f facts, states []albs.TaskState) page.Step {
	s := page.Step{Name: "test", State: stepState(states), Note: done(states)}
	if s.State != string(status.Succeeded) {
		return s
	}
	// Carried out is not yet passed.
	bad := 0
	for _, r := range f.latest {
		if !r.Passed() {
			bad++
		}
	}
	s.State = string(testrun.Passed)
	if bad > 0 {
		s.State, s.Note = string(testrun.Failed), fmt.Sprintf("%d of %d failed", bad, len(f.latest))
	}
	return s
}

func signStep(f facts) page.Step {
	s := page.Step{Name: "sign", State: "none"}
	signed, all := 0, 0
	by := signedBy(f)
	for _, fl := range packagesOf(f.build) {
		all++
		if len(by[fl.Digest]) > 0 {
			signed++
		}
	}
	if all > 0 && signed > 0 {
		s.Note = fmt.Sprintf("%d of %d", signed, all)
	}
	switch {
	case all > 0 && signed == all:
		s.State = "signed"
	case len(f.requests) > 0 && f.requests[0].Status == sign.Failed:
		s.State = string(status.Failed)
	case len(f.requests) > 0 && f.requests[0].Status == sign.InProgress:
		s.State = string(status.Running)
	case len(f.requests) > 0 && f.requests[0].Status == sign.Idle:
		s.State = string(status.Queued)
	case signed > 0:
		s.State = "part"
	}
	return s
}

// releaseStep tells of the newest release that has the build.
func releaseStep(f facts) page.Step {
	s := page.Step{Name: "release", State: "none"}
	if len(f.releases) == 0 {
		return s
	}
	r := f.releases[0]
	s.State, s.Note, s.URL = r.Status.String(), r.Product, "/release/"+r.ID.String()
	return s
}

// signature is one signed copy of a package.
type signature struct {
	Key    string
	Signed albs.Digest
	Tests  testrun.State // of the signed copy; "" if it isn't tested
	Reason string
}

func signedBy(f facts) map[albs.Digest][]signature {
	out := make(map[albs.Digest][]signature)
	for _, r := range f.requests {
		for _, p := range r.Packages {
			s := signature{Key: r.Key, Signed: p.Signed}
			if p.Signed != "" && !slices.Contains(out[p.Digest], s) {
				out[p.Digest] = append(out[p.Digest], s)
			}
		}
	}
	return out
}

// file is one file of a build.
type file struct {
	build.Artifact
	Package  bool
	Platform string
	Verdict  *testrun.Verdict // nil for what isn't tested
	Signed   []signature
}

// packagesOf returns the RPMs and SRPMs of a build, each digest once.
func packagesOf(b build.Build) []build.Artifact {
	seen := make(map[albs.Digest]bool)
	var out []build.Artifact
	for _, a := range b.Artifacts {
		if (a.Kind == "rpm" || a.Kind == "srpm") && !seen[a.Digest] {
			seen[a.Digest] = true
			out = append(out, a)
		}
	}
	return out
}

// filesOf lists a build's packages, source packages first within an item, then
// what tells of their making.
func filesOf(f facts) []file {
	platforms := make(map[albs.ItemID]string)
	for _, it := range f.build.Items {
		platforms[it.ID] = it.Platform
	}
	verdicts := make(map[albs.Digest]testrun.Verdict)
	for _, r := range f.runs { // the latest last
		for _, p := range r.Packages {
			verdicts[p.Digest] = p.Verdict
		}
	}
	signed := signedBy(f)
	for _, by := range signed {
		for i, s := range by {
			by[i].Tests, by[i].Reason = verdicts[s.Signed].State, verdicts[s.Signed].Reason
		}
	}
	var packages, rest []file
	for _, a := range packagesOf(f.build) {
		fl := file{Artifact: a, Package: true, Platform: platforms[a.Item], Signed: signed[a.Digest]}
		if v, ok := verdicts[a.Digest]; ok {
			fl.Verdict = &v
		}
		packages = append(packages, fl)
	}
	for _, a := range f.build.Artifacts {
		if a.Kind != "rpm" && a.Kind != "srpm" {
			rest = append(rest, file{Artifact: a, Platform: platforms[a.Item]})
		}
	}
	slices.SortStableFunc(packages, func(a, b file) int {
		if a.Item != b.Item {
			return int(a.Item - b.Item)
		}
		return strings.Compare(b.Kind, a.Kind)
	})
	return append(packages, rest...)
}

// reposOf lists the build's own repositories that hold anything.
func reposOf(f facts) []repoLink {
	var out []repoLink
	platforms := make(map[albs.ItemID]string)
	for _, it := range f.build.Items {
		platforms[it.ID] = it.Platform
	}
	for _, a := range packagesOf(f.build) {
		if a.Arch == "" {
			continue
		}
		l := repoLink{platforms[a.Item], string(a.Arch), "/repos/" + repository.Name(f.build.ID, platforms[a.Item], a.Arch) + "/"}
		if !slices.Contains(out, l) {
			out = append(out, l)
		}
	}
	return out
}
