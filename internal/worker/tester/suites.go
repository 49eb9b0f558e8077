package tester

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
	"unicode"

	"albs/internal/albs"
	"albs/internal/sandbox"
	"albs/internal/sandbox/examine"
	"albs/internal/tap"
	"albs/internal/worker"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/suite"
)

// Bounds of the tests of one package.
const (
	maxSuites    = 20
	maxSingle    = 300      // cases within files; with those of files, what a statement takes
	maxCaseName  = 200      // bytes
	maxSaid      = 16 << 20 // bytes that one file may say
	maxReport    = 8 << 20  // bytes of a report
	fileFraction = 3        // one file has that part of the stage's time, so that a hang leaves others some
	maxStarts    = 5        // of the system, for one file
)

// checkSuites refuses a task whose package tests can't be carried out as they stand.
func checkSuites(spec *albs.TestSpec) error {
	for _, p := range spec.Packages {
		if len(p.Suites) > maxSuites {
			return albs.Errorf(albs.Invalid, "the task names %d folders of tests for %s, at most %d are run", len(p.Suites), p.NEVRA, maxSuites)
		}
		for _, i := range p.Suites {
			if i < 0 || i >= len(spec.Suites) {
				return albs.Errorf(albs.Invalid, "the task names tests for %s that it doesn't have", p.NEVRA)
			}
		}
	}
	_, err := suite.Variables(spec.Env)
	return err
}

// trees reads the trees of suites by s. It keeps the last one: the packages of a task
// mostly have their tests in one repository.
func trees(s *worker.Session) func(context.Context, albs.Digest) (suite.Tree, error) {
	var last albs.Digest
	var kept suite.Tree
	return func(ctx context.Context, d albs.Digest) (suite.Tree, error) {
		if d == last {
			return kept, nil
		}
		f, err := os.CreateTemp(s.TempDir(), "suite-*.tar")
		if err != nil {
			return suite.Tree{}, fmt.Errorf("fetch tests: %w", err)
		}
		defer os.Remove(f.Name())
		defer f.Close()
		err = s.Fetch(ctx, d, suite.MaxTar, f)
		switch {
		case errors.Is(err, albs.TooLarge):
			return suite.Tree{}, albs.Errorf(albs.Invalid, "the tree has more than %d bytes", suite.MaxTar)
		case err != nil && ctx.Err() == nil: // not the package's fault, whatever the kind
			return suite.Tree{}, albs.Errorf(albs.Unavailable, "%v", err)
		case err != nil:
			return suite.Tree{}, err
		}
		if _, err := f.Seek(0, io.SeekStart); err != nil {
			return suite.Tree{}, fmt.Errorf("fetch tests: %w", err)
		}
		t, err := suite.Read(f)
		if err != nil {
			return suite.Tree{}, err
		}
		last, kept = d, t
		return t, nil
	}
}

// suites runs the tests that the package's maintainers wrote. They may do anything as
// root, and so they have an environment of their own: what the stages behind this one
// find is the package's.
func (s *subject) suites(ctx context.Context, log io.Writer) (err error) {
	if len(s.pkg.Suites) == 0 {
		return skipped("it has no tests of its own")
	}
	env, err := s.base.Environment(ctx)
	if err != nil {
		return unblamed(err)
	}
	defer func() {
		if cerr := env.Close(); cerr != nil {
			fmt.Fprintf(s.log, "an environment is left behind: %v\n", cerr)
		}
	}()
	if err := s.put(ctx, env, s.pkg.NEVRA, log); err != nil {
		return err
	}
	if err := s.identical(ctx, env); err != nil {
		return err
	}
	// Both streams of a test go there, each from a goroutine of its own.
	r := suiteRun{subject: s, env: env, log: &locked{w: log}, names: map[string]int{}}
	for _, i := range s.pkg.Suites {
		if err := r.suite(ctx, s.spec.Suites[i]); err != nil {
			return err
		}
	}
	return r.end()
}

// suiteRun runs the suites of one package in an environment.
type suiteRun struct {
	*subject
	env    engine.Environment
	log    io.Writer
	names  map[string]int // how often cases are called so
	single int            // cases within files
	ran    bool           // that some test isn't skipped
	why    string         // the first reason of one that is
	foul   bool           // tests have run
}

// suite runs the tests of one folder.
func (r *suiteRun) suite(ctx context.Context, su albs.TestSuite) error {
	if su.Missing != "" {
		return notRun("%s", su.Missing)
	}
	where := fmt.Sprintf("commit %.12s of %s", su.Commit, su.Repository)
	fmt.Fprintf(r.log, "tests of the folder %s in %s\n", cmp.Or(su.Dir, "."), where)
	tree, err := r.tree(ctx, su.Tree)
	if errors.Is(err, albs.Invalid) && ctx.Err() == nil {
		return notRun("%s can't be had: %v", where, err)
	}
	if err != nil {
		return err
	}
	tests, err := tree.Tests(su.Dir, su.Files)
	if err != nil {
		return notRun("%s: %v", where, err)
	}
	for _, name := range tree.Left {
		fmt.Fprintf(r.log, "%q is left out: it is no file of the tree\n", name)
	}
	if err := r.need(ctx, tests); err != nil {
		return err
	}
	broken, part := "", "" // the setup that failed, and of what
	for _, t := range tests {
		name := t.Name
		if len(r.pkg.Suites) > 1 && !path.IsAbs(name) { // others are of the whole tree
			name = path.Join(su.Dir, name)
		}
		if t.Part != part {
			broken, part = "", t.Part
		}
		if t.Skip != "" || broken != "" {
			status, why := albs.TestSkipped, t.Skip
			if why == "" {
				status, why = albs.TestNotRun, broken+" failed"
			}
			r.note(name, status, why, 0)
			fmt.Fprintf(r.log, "== %s: %s: %s\n", name, status, why)
			continue
		}
		good, err := r.file(ctx, tree, t, name)
		if err != nil {
			return err
		}
		if t.Setup && !good {
			broken = t.Name
		}
	}
	return nil
}

// need installs what tests need and what they want, where it isn't there.
func (r *suiteRun) need(ctx context.Context, tests []suite.Test) error {
	asked := map[string]bool{}
	for _, t := range tests {
		if t.Skip != "" {
			continue
		}
		for i, what := range slices.Concat(t.Needs, t.Wants) {
			if asked[what] {
				continue
			}
			asked[what] = true
			err := r.have(ctx, what)
			switch {
			case !errors.Is(err, albs.Invalid) || ctx.Err() != nil:
				if err != nil {
					return err
				}
			case i < len(t.Needs):
				return notRun("%s needs %s, and no package that has it can be installed: %v", t.Name, what, err)
			default:
				fmt.Fprintf(r.log, "%s does without %s: %v\n", t.Name, what, err)
			}
		}
	}
	return nil
}

// have installs a package or, where the path isn't there, one that has that.
func (r *suiteRun) have(ctx context.Context, what string) error {
	if path.IsAbs(what) {
		found, err := r.env.Examine(ctx, []examine.Ask{{Path: what}})
		if err != nil || found[0].Kind != examine.Absent && (found[0].Kind != examine.Link || found[0].Leads != examine.Absent) {
			return err
		}
	}
	return r.env.Install(ctx, []string{what}, r.log)
}

// file runs one test on the tree as it is in git, and reports whether it is good.
func (r *suiteRun) file(ctx context.Context, tree suite.Tree, t suite.Test, name string) (bool, error) {
	fmt.Fprintf(r.log, "== %s\n", name)
	began := time.Now()
	o, err := r.run(ctx, tree, t)
	took := time.Since(began)
	if ctx.Err() != nil {
		if err = context.Cause(ctx); errors.Is(err, albs.Invalid) { // the stage's time is over
			r.note(name, albs.TestFailed, err.Error(), took)
		}
		return false, err
	}
	if e, ok := errors.AsType[end](err); ok {
		r.note(name, e.status, e.reason, took)
		return false, nil
	}
	switch albs.KindOf(err) {
	case albs.Invalid, albs.NotFound, albs.Conflict:
		o = suite.Outcome{Status: tap.Failed, Reason: err.Error()}
	default:
		if err != nil {
			return false, err
		}
	}
	for i, c := range o.Cases {
		if r.single++; r.single > maxSingle {
			fmt.Fprintf(r.log, "%d more cases of %s are in this log alone\n", len(o.Cases)-i, name)
			break
		}
		r.note(name+": "+cmp.Or(c.Name, fmt.Sprintf("number %d", c.Number)), statuses[c.Status], cmp.Or(c.Detail, c.Reason), 0)
	}
	r.note(name, statuses[o.Status], o.Reason, took)
	fmt.Fprintf(r.log, "== %s: %s\n", name, strings.TrimSuffix(string(o.Status)+": "+o.Reason, ": "))
	return o.Status != tap.Failed, nil
}

// statuses are those of cases by those of TAP.
var statuses = map[tap.Status]albs.TestStatus{tap.Passed: albs.TestPassed, tap.Failed: albs.TestFailed, tap.Skipped: albs.TestSkipped, tap.Todo: albs.TestTodo}

// run runs a test, and again after each start of the system that it asks for; the last time
// counts. What it came to for its own fault may also be an Invalid or NotFound
// error.
func (r *suiteRun) run(ctx context.Context, tree suite.Tree, t suite.Test) (suite.Outcome, error) {
	if err := r.restore(ctx, tree); err != nil {
		return suite.Outcome{}, err
	}
	set := map[string]string{}
	maps.Copy(set, t.Env)
	maps.Copy(set, r.spec.Env) // the task's say what is tested now
	delete(set, suite.Starts)
	limit := r.limit(albs.StagePackage, r.spec.Root.Arch) / fileFraction
	if own := r.stretch(t.Time, r.spec.Root.Arch); own > 0 && own < limit {
		limit = own
	}
	r.foul = true
	var out bytes.Buffer
	var code int
	for start := 0; ; start++ {
		if start > 0 {
			set[suite.Starts] = strconv.Itoa(start)
		}
		env, err := suite.Variables(set)
		if err != nil {
			return suite.Outcome{}, err
		}
		out.Reset()
		code, err = r.env.Run(ctx, sandbox.Cmd{
			Argv: t.Argv, Dir: path.Join(suite.Folder, t.Dir), User: sandbox.UserRoot, Network: r.spec.Network,
			Env:    append(env, "PACKAGE_NAME="+r.nevra.Name, "PACKAGE_NEVRA="+r.pkg.NEVRA),
			Stdout: io.MultiWriter(&out, r.log), Stderr: r.log,
			Limits: sandbox.Limits{Time: limit, Output: maxSaid},
		})
		if err != nil {
			return suite.Outcome{}, err
		}
		if !suite.WantsStart(out.Bytes()) {
			break
		}
		if err := r.start(ctx, start); err != nil {
			return suite.Outcome{}, err
		}
	}
	var report []byte
	if t.Form == suite.JUnit {
		var err error
		report, err = r.env.ReadFile(ctx, suite.Report, maxReport)
		if err != nil && albs.KindOf(err) != albs.Invalid && albs.KindOf(err) != albs.NotFound {
			return suite.Outcome{}, err
		}
	}
	return t.Judge(out.Bytes(), report, code), nil
}

// start starts the system again for a test that asks for it, as it did so many times before.
func (r *suiteRun) start(ctx context.Context, before int) error {
	if before == maxStarts {
		return albs.Errorf(albs.Invalid, "it asks for more than %d starts of the system", maxStarts)
	}
	err := r.env.Reboot(ctx, r.log)
	if errors.Is(err, albs.NotFound) {
		return notRun("it asks for a start of the system, and %v", err)
	}
	return err
}

// restore brings back what tests may have changed: the tree, and the package if it is
// gone.
func (r *suiteRun) restore(ctx context.Context, tree suite.Tree) error {
	if r.foul {
		there, err := has(ctx, r.env, r.pkg.NEVRA)
		if err != nil && !errors.Is(err, albs.Unavailable) && ctx.Err() == nil {
			return albs.Errorf(albs.Invalid, "what is installed can't be told any more: %v", err)
		}
		if err != nil {
			return err
		}
		if !there {
			fmt.Fprintf(r.log, "the package is gone and is installed again\n")
			if err := r.put(ctx, r.env, r.pkg.NEVRA, r.log); err != nil {
				return err
			}
		}
		code, err := r.env.Run(ctx, sandbox.Cmd{
			Argv: []string{"/bin/sh", "-c", `rm -rf "$@"`, "sh", suite.Folder, suite.Report}, User: sandbox.UserRoot,
			Stdout: r.log, Stderr: r.log, Limits: sandbox.Limits{Output: 64 << 10},
		})
		if err == nil && code != 0 {
			err = albs.Errorf(albs.Invalid, "the files of the tests can't be laid anew")
		}
		if err != nil {
			return err
		}
	}
	var files []sandbox.Copy
	for _, f := range tree.Files {
		files = append(files, sandbox.Copy{Data: f.Data, To: path.Join(suite.Folder, f.Name), User: sandbox.UserRoot, Exec: f.Exec})
	}
	return r.env.CopyIn(ctx, files...)
}

// note keeps what a test, or a case of one, came to.
func (r *suiteRun) note(name string, status albs.TestStatus, detail string, took time.Duration) {
	name = caseName(name)
	if r.names[name]++; r.names[name] > 1 {
		name = fmt.Sprintf("%s (%d)", name, r.names[name])
	}
	if status == albs.TestSkipped {
		r.why = cmp.Or(r.why, detail)
	} else {
		r.ran = true
	}
	r.cases = append(r.cases, albs.TestCase{Package: r.pkg.NEVRA, Stage: albs.StagePackage, Name: name, Status: status, Detail: shorten(detail), Millis: took.Milliseconds()})
}

// end is what all suites came to, beside bad cases.
func (r *suiteRun) end() error {
	if r.ran {
		return nil
	}
	return skipped("%s", strings.TrimSuffix("all of its tests are skipped: "+r.why, ": "))
}

// caseName makes one line of a name, with room for a number behind it.
func caseName(s string) string {
	s = strings.Map(func(c rune) rune {
		if !unicode.IsPrint(c) {
			return ' '
		}
		return c
	}, strings.ToValidUTF8(s, "?"))
	if len(s) > maxCaseName-10 {
		s = strings.ToValidUTF8(s[:maxCaseName-10], "")
	}
	return s
}

// locked lets several goroutines write.
type locked struct {
	mu sync.Mutex
	w  io.Writer
}

// Write implements io.Writer.
func (l *locked) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.w.Write(p)
}
