package suite

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/keep"
	"albs/internal/master/db"
	"albs/internal/master/queue"
	"albs/internal/master/source"
)

// Bounds of the tests of one package.
const (
	maxSuites = 20        // folders, as many as testers run
	maxTree   = 128 << 20 // bytes of a commit's tar, as many as testers take
)

// finders is how many tasks find tests at once: they wait for git servers.
const finders = 2

// Run finds the tests of builds' packages as the worker me, and scans all repositories once
// an hour, until ctx is done, whose error it returns.
func (s *Suites) Run(ctx context.Context, me auth.Actor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return s.Queue.RunLocal(ctx, me, albs.KindSuites, finders, s.find) })
	g.Go(func() error { return s.DB.Leader(ctx, "test repositories", s.scans) })
	return g.Wait()
}

// Wanted asks for the tests of packages of a build.
type Wanted struct {
	Lane, Topic string // of the task
	Build       albs.BuildID
	Packages    []string // names
	Asked       []albs.AskedSuite
	// Newest has every ref resolved again, in place of the commits that the build is
	// pinned to.
	Newest bool
}

// Begin adds, in tx, the task that finds tests, for the tasks that run them to come after.
// It is 0 if there is nothing to look for.
func (s *Suites) Begin(ctx context.Context, tx db.Tx, w Wanted) (albs.TaskID, error) {
	repositories, err := s.store.count(ctx, tx, "")
	if err != nil {
		return 0, fmt.Errorf("count test repositories: %w", err)
	}
	had, err := s.store.hasSuites(ctx, tx, w.Build)
	if err != nil {
		return 0, fmt.Errorf("look for suites: %w", err)
	}
	if repositories == 0 && len(w.Asked) == 0 && !had {
		return 0, nil
	}
	if w.Newest {
		if err := s.store.unpin(ctx, tx, w.Build); err != nil {
			return 0, fmt.Errorf("forget commits of tests: %w", err)
		}
	}
	names := slices.Compact(slices.Sorted(slices.Values(w.Packages)))
	return s.Queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindSuites, Lane: w.Lane, Topic: w.Topic, Spec: albs.Spec{Suites: &albs.SuitesSpec{Build: w.Build, Packages: names, Asked: w.Asked}},
	})
}

// Of returns the tests of its own of each package of a build, by its name, those that can't
// be had last. A package that isn't there has none.
func (s *Suites) Of(ctx context.Context, build albs.BuildID) (map[string][]albs.TestSuite, error) {
	rows, err := s.store.suites(ctx, s.DB, build)
	if err != nil {
		return nil, fmt.Errorf("tests of packages of build %d: %w", build, err)
	}
	out := map[string][]albs.TestSuite{}
	for _, r := range rows {
		su := albs.TestSuite{Repository: r.URL, Commit: r.Commit.String, Tree: albs.Digest(r.Tree.String), Dir: r.Dir, Missing: r.Failure}
		if r.Files != "" {
			if err := json.Unmarshal([]byte(r.Files), &su.Files); err != nil {
				return nil, fmt.Errorf("files of a suite of build %d: %w", build, err)
			}
		}
		if su.Missing == "" && su.Tree == "" {
			su.Missing = "the tests have to be looked for again: their commit was given up for a newer one"
		}
		if su.Missing != "" {
			su.Tree = ""
		}
		out[r.Package] = append(out[r.Package], su)
	}
	return out, nil
}

// finder finds the tests of some packages of a build.
type finder struct {
	*Suites
	spec   *albs.SuitesSpec
	log    io.Writer
	found  []albs.FoundSuite
	absent map[place]string // why a commit can't be had, or its tree
	fresh  map[place]bool   // which were resolved just now
}

// place is what a commit is pinned for.
type place struct{ url, ref string }

// find is the task of the master's own that looks for tests. It fails for troubles of the
// master's alone: what is wrong with a repository is told of those packages that it tests.
func (s *Suites) find(ctx context.Context, t queue.Task, log io.Writer) (albs.Result, error) {
	f := finder{Suites: s, spec: t.Spec.Suites, log: log, absent: map[place]string{}, fresh: map[place]bool{}}
	for _, a := range f.spec.Asked {
		if err := f.asked(ctx, a); err != nil {
			return albs.Result{}, err
		}
	}
	all, err := s.store.repositories(ctx, s.DB, "", MaxRepositories, 0)
	if err != nil {
		return albs.Result{}, fmt.Errorf("read test repositories: %w", err)
	}
	for _, r := range all {
		if err := f.repository(ctx, r); err != nil {
			return albs.Result{}, err
		}
	}
	if err := f.trees(ctx); err != nil {
		return albs.Result{}, err
	}
	return albs.Result{Suites: &albs.SuitesResult{Suites: f.order()}}, nil
}

// asked takes a folder that the build asks for.
func (f *finder) asked(ctx context.Context, a albs.AskedSuite) error {
	at := place{a.URL, a.Ref}
	if _, err := f.pin(ctx, at); err != nil {
		return err
	}
	for _, pkg := range f.spec.Packages {
		if len(a.Packages) == 0 && !Debug(pkg) || slices.Contains(a.Packages, pkg) {
			f.add(albs.FoundSuite{Package: pkg, URL: a.URL, Ref: a.Ref, Dir: a.Dir, Files: a.Files, Missing: f.absent[at]})
		}
	}
	return nil
}

// repository takes what a repository has for the packages.
func (f *finder) repository(ctx context.Context, r Repository) error {
	mappings, err := f.store.mappings(ctx, f.DB, r.ID)
	if err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	at := place{r.URL, r.Ref}
	p, err := f.pin(ctx, at)
	if err != nil {
		return err
	}
	missing := f.absent[at]
	if missing == "" && p.Commit != r.Commit {
		now, err := f.mapped(ctx, r, p.Commit)
		switch {
		case err == nil:
			mappings = append(slices.DeleteFunc(mappings, func(m Mapping) bool { return m.Scanned }), now...)
		case ctx.Err() != nil || !outage(err):
			return err
		default: // what the last scan found tells whose tests are in trouble
			missing = text(fmt.Sprintf("the test repository %s can't be read: %v", r.Name, err))
			fmt.Fprintln(f.log, missing)
		}
	} else if missing != "" {
		missing = text(fmt.Sprintf("the test repository %s can't be had: %s", r.Name, missing))
		if _, err := f.failed(ctx, r, errors.New(f.absent[at])); err != nil {
			return err
		}
	}
	c, err := compileAll(mappings)
	if err != nil {
		return fmt.Errorf("mappings of test repository %s: %w", r.Name, err)
	}
	for _, pkg := range f.spec.Packages {
		for _, folder := range c.folders(pkg) {
			f.add(albs.FoundSuite{Package: pkg, URL: r.URL, Ref: r.Ref, Dir: r.dirOf(folder), Missing: missing})
		}
	}
	return nil
}

// mapped returns what a commit maps that isn't the one that was scanned last. If the ref
// was resolved to it just now, that is a scan.
func (f *finder) mapped(ctx context.Context, r Repository, commit string) ([]Mapping, error) {
	r.Commit = commit
	out, err := within(ctx, func(ctx context.Context) ([]Mapping, error) { return f.read(ctx, r.Layout, r.commit()) })
	if !f.fresh[place{r.URL, r.Ref}] || err != nil && (ctx.Err() != nil || !outage(err)) {
		return out, err
	}
	if err != nil {
		_, failed := f.failed(ctx, r, err)
		return nil, cmp.Or(failed, err)
	}
	r.ScannedAt, r.Failure = db.Now(), ""
	noted := f.DB.InTx(ctx, func(tx db.Tx) error {
		_, err := f.note(ctx, tx, r, out)
		return err
	})
	if noted != nil && !errors.Is(noted, albs.Conflict) && !errors.Is(noted, albs.TooLarge) { // changed meanwhile; or people mapped more than there is room for
		return nil, noted
	}
	return out, nil
}

// pin returns the commit that the build is tested by of what a place names: the one that
// it has, else the one that the ref names now. Why there is none is in f.absent.
func (f *finder) pin(ctx context.Context, at place) (pin, error) {
	p, err := f.store.pinned(ctx, f.DB, f.spec.Build, at.url, at.ref)
	if err != nil {
		return p, fmt.Errorf("read commits of tests: %w", err)
	}
	if p.Commit != "" || f.absent[at] != "" {
		return p, nil
	}
	c, err := within(ctx, func(ctx context.Context) (source.Commit, error) { return f.Sources.Resolve(ctx, at.url, at.ref) })
	if err != nil && (ctx.Err() != nil || !outage(err)) {
		return p, err
	}
	if err != nil {
		f.absent[at] = text(err.Error())
		fmt.Fprintf(f.log, "%s#%s can't be had: %s\n", at.url, at.ref, f.absent[at])
		return p, nil
	}
	err = f.store.addPin(ctx, pin{Build: f.spec.Build, URL: at.url, Ref: at.ref, Commit: c.SHA, CreatedAt: db.Now()})
	if err != nil {
		return p, fmt.Errorf("keep commit of tests: %w", err)
	}
	// Another task of the build may have been faster.
	if p, err = f.store.pinned(ctx, f.DB, f.spec.Build, at.url, at.ref); err != nil {
		return p, fmt.Errorf("read commits of tests: %w", err)
	}
	f.fresh[at] = p.Commit == c.SHA
	fmt.Fprintf(f.log, "%s#%s is commit %s\n", at.url, at.ref, p.Commit)
	return p, nil
}

// add takes a folder once: what the build asked for came first.
func (f *finder) add(su albs.FoundSuite) {
	same := func(x albs.FoundSuite) bool {
		return x.Package == su.Package && x.URL == su.URL && strings.Trim(x.Dir, "/") == strings.Trim(su.Dir, "/")
	}
	if !slices.ContainsFunc(f.found, same) {
		f.found = append(f.found, su)
	}
}

// trees has the files of each commit that is needed as a blob.
func (f *finder) trees(ctx context.Context) error {
	done := map[place]bool{}
	for i, su := range f.found {
		at := place{su.URL, su.Ref}
		if su.Missing != "" {
			continue
		}
		if !done[at] {
			done[at] = true
			if err := f.tree(ctx, at); err != nil {
				return err
			}
		}
		f.found[i].Missing = f.absent[at]
	}
	return nil
}

func (f *finder) tree(ctx context.Context, at place) error {
	p, err := f.pin(ctx, at)
	if err != nil || p.Commit == "" {
		return err
	}
	a, err := f.export(ctx, p)
	if err != nil && (ctx.Err() != nil || !outage(err)) {
		return err
	}
	if err != nil {
		f.absent[at] = text(fmt.Sprintf("the files of commit %.12s of %s can't be had: %v", p.Commit, p.URL, err))
		fmt.Fprintln(f.log, f.absent[at])
		return nil
	}
	fmt.Fprintf(f.log, "the files of commit %s of %s are %s, %d bytes\n", p.Commit, p.URL, a.Digest, a.Size)
	return f.DB.InTx(ctx, func(tx db.Tx) error {
		if err := f.Artifacts.Add(ctx, tx, a); err != nil {
			return err
		}
		return f.store.setTree(ctx, tx, p, a.Digest)
	})
}

// export returns the tar of a pinned commit, which some build may have already.
func (f *finder) export(ctx context.Context, p pin) (artifact.Artifact, error) {
	d := p.Tree
	if d == "" {
		var err error
		if d, err = f.store.treeOf(ctx, f.DB, p.URL, p.Commit); err != nil {
			return artifact.Artifact{}, fmt.Errorf("look for the files of a commit: %w", err)
		}
	}
	if d != "" {
		a, err := f.Artifacts.Renew(ctx, d)
		if err == nil || !errors.Is(err, albs.NotFound) {
			return a, err
		}
	}
	c := source.Commit{URL: p.URL, Ref: p.Ref, SHA: p.Commit}
	return within(ctx, func(ctx context.Context) (artifact.Artifact, error) {
		return f.Sources.Tree(ctx, c, source.PackageName(p.URL), maxTree)
	})
}

// order returns what was found, bounded, with those behind the others that can't be had:
// where one is missing no test behind it is run.
func (f *finder) order() []albs.FoundSuite {
	out, count := []albs.FoundSuite{}, map[string]int{}
	for _, missing := range []bool{false, true} {
		for _, su := range f.found {
			if missing != (su.Missing != "") {
				continue
			}
			if count[su.Package]++; count[su.Package] > maxSuites {
				continue
			}
			out = append(out, su)
		}
	}
	for i, su := range slices.Backward(out) {
		if n := count[su.Package]; n > maxSuites {
			out[i].Missing = fmt.Sprintf("%d folders test %s, at most %d are run", n, su.Package, maxSuites)
			count[su.Package] = 0
		}
	}
	for _, su := range out {
		fmt.Fprintf(f.log, "%s is tested by %s of %s#%s%s\n", su.Package, su.Dir, su.URL, su.Ref, strings.TrimSuffix(": "+su.Missing, ": "))
	}
	if len(out) == 0 {
		fmt.Fprintln(f.log, "no package has tests of its own")
	}
	return out
}

// roots are the trees that builds which were not deleted before are pinned to.
func (s *Suites) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	deleted, err := keep.Deleted(ctx, s.DB, since)
	if err != nil {
		return err
	}
	pins, err := s.store.trees(ctx, s.DB)
	if err != nil {
		return fmt.Errorf("read trees of tests: %w", err)
	}
	for _, p := range pins {
		if deleted[p.Build] {
			continue
		}
		if err := yield(artifact.Ref{Digest: p.Tree}); err != nil {
			return err
		}
	}
	return nil
}

// handler takes in what find found.
type handler struct{ *Suites }

func (handler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (h handler) Admit(_ context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "a search for tests excludes nothing")
	}
	if outcome != albs.OutcomeOK {
		return nil, nil
	}
	if r.Suites == nil {
		return nil, albs.Errorf(albs.Invalid, "the search for tests has no result")
	}
	spec := l.Spec.Suites
	for _, su := range r.Suites.Suites {
		if !slices.Contains(spec.Packages, su.Package) {
			return nil, albs.Errorf(albs.Invalid, "tests were found for %s, which nobody asked for", su.Package)
		}
	}
	return func(ctx context.Context, tx db.Tx) error {
		return h.store.setSuites(ctx, tx, spec.Build, spec.Packages, r.Suites.Suites)
	}, nil
}

func (handler) Ended(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) { return false, nil }
