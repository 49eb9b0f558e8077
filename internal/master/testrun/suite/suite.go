// Package suite knows where maintainers keep tests of packages: repositories in git, what
// in them tests which packages, and which commits of them a build is tested by.
//
// A folder tests a package if its name says so, if a file of the repository does by a
// pattern, or if a person does. A scan looks at the commit that the repository's ref names
// and changes what scans before it found, and nothing that a person said.
//
// Before packages of a build are tested, a task of the master's own finds their tests. Each
// ref is resolved then, once for a build: later runs of its tests are by the same commits,
// unless newer ones are asked for. The files of a commit become a blob that the tester
// reads under its lease. What can't be had is kept with a sentence, for a package whose
// tests are gone must not pass for one that has none.
//
// Repositories are foreign: their URLs go through package egress, their refs are checked
// before anything is run, all that is read of them is bounded, and patterns are RE2's.
package suite

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/queue"
	"albs/internal/master/source"
)

// MaxRepositories is how many test repositories there may be: each is asked before tests.
const MaxRepositories = 100

// Repository is one in which tests are kept.
type Repository struct {
	ID   int64  `db:"id"`
	Name string `db:"name"`
	URL  string `db:"url"`
	Ref  string `db:"ref"` // whose commit is tested by
	Layout
	Team      string  `db:"team"` // whose product maintainers may change it; "" is the installation's
	Actor     string  `db:"actor"`
	CreatedAt db.Time `db:"created_at"`
	Commit    string  `db:"commit_id"`  // whose folders are mapped
	ScannedAt db.Time `db:"scanned_at"` // when it was looked at last
	Failure   string  `db:"failure"`    // why that came to nothing; "" if it didn't
	Mappings  int     `db:"mappings"`
}

func (r Repository) object() auth.Object { return auth.Object{Team: r.Team} }

func (r Repository) commit() source.Commit {
	return source.Commit{URL: r.URL, Ref: r.Ref, SHA: r.Commit}
}

func topic(id int64) string { return fmt.Sprintf("test_repository:%d", id) }

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// check returns an Invalid error that says what in r is wrong.
func (r Repository) check() error {
	if !nameForm.MatchString(r.Name) {
		return albs.Errorf(albs.Invalid, "name %.80q: give 1 to 64 letters, digits and . _ -, the first a letter or digit", r.Name)
	}
	if err := source.Check(r.URL, r.Ref); err != nil {
		return err
	}
	return r.Layout.check()
}

// Parts are the modules that suites rest on.
type Parts struct {
	DB        *db.DB
	Events    *event.Log
	Auth      *auth.Auth
	Queue     *queue.Queue
	Artifacts *artifact.Artifacts
	Sources   *source.Sources
	Builds    *build.Builds
	Log       zerolog.Logger
}

// Suites keeps test repositories. It may be used concurrently.
type Suites struct {
	Parts
	store store
	every time.Duration // between scans
}

// New returns the suites of a master and registers the handler of the kind suites.
func New(p Parts) *Suites {
	s := &Suites{Parts: p, store: store{p.DB}, every: time.Hour}
	p.Queue.Register(albs.KindSuites, handler{s})
	p.Artifacts.Root("suite", s.roots)
	return s
}

// Filter chooses from a list.
type Filter struct {
	Text  string // a part of the name; of mappings, of the package or the folder
	Limit int    // 0 is 100, which is the most
	Skip  int
}

func (f *Filter) bound() error {
	if len(f.Text) > maxPattern || f.Skip < 0 {
		return albs.Errorf(albs.Invalid, "what is looked for has more than %d bytes", maxPattern)
	}
	if f.Limit <= 0 || f.Limit > 100 {
		f.Limit = 100
	}
	return nil
}

// List returns the test repositories that f chooses, by name, and how many there are on
// all pages.
func (s *Suites) List(ctx context.Context, f Filter) (page []Repository, total int, err error) {
	if err := f.bound(); err != nil {
		return nil, 0, err
	}
	if page, err = s.store.repositories(ctx, s.DB, f.Text, f.Limit, f.Skip); err == nil {
		total, err = s.store.count(ctx, s.DB, f.Text)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("list test repositories: %w", err)
	}
	return page, total, nil
}

// Get returns a test repository; NotFound if there is none of that id.
func (s *Suites) Get(ctx context.Context, id int64) (Repository, error) {
	return s.store.repository(ctx, s.DB, id)
}

// Mapped returns the mappings of a repository that f chooses, by package and folder, and how
// many there are on all pages; NotFound if there is no such repository.
func (s *Suites) Mapped(ctx context.Context, id int64, f Filter) (page []Mapping, total int, err error) {
	if err := f.bound(); err != nil {
		return nil, 0, err
	}
	if _, err := s.Get(ctx, id); err != nil {
		return nil, 0, err
	}
	if page, err = s.store.search(ctx, s.DB, id, f.Text, f.Limit, f.Skip); err == nil {
		total, err = s.store.found(ctx, s.DB, id, f.Text)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("mappings of test repository %d: %w", id, err)
	}
	return page, total, nil
}

// NewRepository names what a test repository is registered with. Layout's TestsDir ends in a slash.
type NewRepository struct {
	Name, URL, Ref string // no Ref is HEAD
	Layout
	Team string
}

// Add registers a test repository and scans it, and returns it as it is kept. It is
// Forbidden without test.repository for the team, Invalid if a field is bad or the
// repository's rules are, Conflict if the name or the place is taken, TooLarge beyond the
// bounds, and NotFound, Forbidden or Unavailable if the repository or the ref can't be had:
// what can't be scanned isn't registered. It is durable on return.
func (s *Suites) Add(ctx context.Context, n NewRepository) (Repository, error) {
	if err := auth.Can(ctx, auth.TestRepository, auth.Object{Team: n.Team}); err != nil {
		return Repository{}, err
	}
	r := Repository{Name: n.Name, URL: n.URL, Ref: n.Ref, Layout: n.Layout, Team: n.Team, Actor: auth.From(ctx).String(), CreatedAt: db.Now()}
	if r.Ref == "" {
		r.Ref = "HEAD"
	}
	if err := s.checkNew(ctx, r); err != nil {
		return r, err
	}
	mappings, err := s.look(ctx, &r)
	if err != nil {
		return r, err
	}
	err = s.DB.InTx(ctx, func(tx db.Tx) error {
		have, err := s.store.count(ctx, tx, "")
		if err != nil {
			return fmt.Errorf("count test repositories: %w", err)
		}
		if have >= MaxRepositories {
			return albs.Errorf(albs.TooLarge, "there are %d test repositories, and no more are taken", MaxRepositories)
		}
		if err := s.store.add(ctx, tx, &r); err != nil {
			return err
		}
		if _, _, err := s.replace(ctx, tx, r.ID, mappings); err != nil {
			return err
		}
		return s.Events.Add(ctx, tx, "test_repository.added", topic(r.ID), r.Actor, map[string]any{"name": r.Name, "url": r.URL, "ref": r.Ref, "commit": r.Commit})
	})
	if err := taken(err); err != nil {
		return r, err
	}
	return s.Get(ctx, r.ID)
}

func (s *Suites) checkNew(ctx context.Context, r Repository) error {
	if err := r.check(); err != nil {
		return err
	}
	if r.Team == "" {
		return nil
	}
	teams, err := s.Auth.Teams(ctx)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(teams, func(t auth.Team) bool { return t.Name == r.Team }) {
		return albs.Errorf(albs.NotFound, "there is no team %.80q", r.Team)
	}
	return nil
}

func taken(err error) error {
	if db.IsUnique(err) {
		return albs.Errorf(albs.Conflict, "there is a test repository of that name, or of that URL, ref, folder and prefix")
	}
	return err
}

// Change says what is to be changed of a test repository; nil stays.
type Change struct {
	Name, URL, Ref, TestsDir, TestsPrefix, Team *string
}

// Edit changes a test repository, and scans it anew. It is Forbidden without
// test.repository for the team that it has and the one that it gets, NotFound for an
// unknown one; else its errors are those of Add, after which nothing is changed. It is
// durable on return.
func (s *Suites) Edit(ctx context.Context, id int64, c Change) (Repository, error) {
	r, err := s.may(ctx, id)
	if err != nil {
		return r, err
	}
	for _, f := range []struct{ to, from *string }{
		{&r.Name, c.Name}, {&r.URL, c.URL}, {&r.Ref, c.Ref}, {&r.TestsDir, c.TestsDir}, {&r.TestsPrefix, c.TestsPrefix}, {&r.Team, c.Team},
	} {
		if f.from != nil {
			*f.to = *f.from
		}
	}
	if err := auth.Can(ctx, auth.TestRepository, r.object()); err != nil {
		return r, err
	}
	if err := s.checkNew(ctx, r); err != nil {
		return r, err
	}
	mappings, err := s.look(ctx, &r)
	if err != nil {
		return r, err
	}
	err = s.DB.InTx(ctx, func(tx db.Tx) error {
		if _, err := s.store.repository(ctx, tx, id); err != nil {
			return err
		}
		if err := s.store.edit(ctx, tx, r); err != nil {
			return err
		}
		if _, err := s.note(ctx, tx, r, mappings); err != nil {
			return err
		}
		return s.Events.Add(ctx, tx, "test_repository.changed", topic(id), auth.From(ctx).String(), map[string]any{"name": r.Name, "url": r.URL, "ref": r.Ref, "commit": r.Commit})
	})
	if err := taken(err); err != nil {
		return r, err
	}
	return s.Get(ctx, id)
}

// may returns a repository that the actor may change.
func (s *Suites) may(ctx context.Context, id int64) (Repository, error) {
	r, err := s.Get(ctx, id)
	if err != nil {
		return r, err
	}
	return r, auth.Can(ctx, auth.TestRepository, r.object())
}

// Remove removes a test repository with its mappings. It is Forbidden without
// test.repository for its team and NotFound for an unknown one. Builds whose tests have
// been found keep them until these are looked for again. It is durable on return.
func (s *Suites) Remove(ctx context.Context, id int64) error {
	r, err := s.may(ctx, id)
	if err != nil {
		return err
	}
	return s.DB.InTx(ctx, func(tx db.Tx) error {
		if _, err := s.store.repository(ctx, tx, id); err != nil {
			return err
		}
		if err := s.store.remove(ctx, tx, id); err != nil {
			return fmt.Errorf("remove test repository: %w", err)
		}
		return s.Events.Add(ctx, tx, "test_repository.removed", topic(id), auth.From(ctx).String(), map[string]any{"name": r.Name, "url": r.URL})
	})
}

// MaxBulk is how many mappings are added or removed at once.
const MaxBulk = 5000

// Map adds mappings to a repository by hand, and returns how many are new: those that it
// has are left alone. It is Forbidden without test.repository for its team, NotFound for an
// unknown one, Invalid if one of them is bad, and TooLarge beyond the bounds; then none is
// added. It is durable on return.
func (s *Suites) Map(ctx context.Context, id int64, mappings []Mapping) (added int, err error) {
	if _, err := s.may(ctx, id); err != nil {
		return 0, err
	}
	if len(mappings) > MaxBulk {
		return 0, albs.Errorf(albs.TooLarge, "%d mappings are more than %d", len(mappings), MaxBulk)
	}
	for _, m := range mappings {
		if err := m.Check(); err != nil {
			return 0, err
		}
	}
	err = s.DB.InTx(ctx, func(tx db.Tx) error {
		if _, err := s.store.repository(ctx, tx, id); err != nil {
			return err
		}
		added = 0
		for _, m := range mappings {
			m.Repository, m.Scanned = id, false
			row, err := s.store.addMapping(ctx, tx, m)
			if err != nil {
				return fmt.Errorf("add mapping: %w", err)
			}
			if row != 0 {
				added++
			}
		}
		if err := s.bounded(ctx, tx, id); err != nil {
			return err
		}
		return s.Events.Add(ctx, tx, "test_repository.mapped", topic(id), auth.From(ctx).String(), map[string]any{"added": added})
	})
	return added, err
}

// bounded returns a TooLarge error if a repository has too many mappings or patterns.
func (s *Suites) bounded(ctx context.Context, tx db.Tx, id int64) error {
	all, err := s.store.mappings(ctx, tx, id)
	if err != nil {
		return fmt.Errorf("read mappings: %w", err)
	}
	patterns := 0
	for _, m := range all {
		if m.Pattern {
			patterns++
		}
	}
	if len(all) > maxMappings || patterns > 2*maxPatterns {
		return albs.Errorf(albs.TooLarge, "a test repository has at most %d mappings, of which %d are patterns", maxMappings, 2*maxPatterns)
	}
	return nil
}

// Unmap removes mappings from a repository, also those that a scan found: the next scan
// brings back what is still there. It returns how many there were. It is Forbidden without
// test.repository for its team, NotFound for an unknown repository, and TooLarge beyond
// MaxBulk; what isn't among its mappings is passed over. It is durable on return.
func (s *Suites) Unmap(ctx context.Context, id int64, mappings []int64) (removed int, err error) {
	if _, err := s.may(ctx, id); err != nil {
		return 0, err
	}
	if len(mappings) > MaxBulk {
		return 0, albs.Errorf(albs.TooLarge, "%d mappings are more than %d", len(mappings), MaxBulk)
	}
	err = s.DB.InTx(ctx, func(tx db.Tx) error {
		removed = 0
		for _, m := range mappings {
			was, err := s.store.removeMapping(ctx, tx, id, m)
			if err != nil {
				return fmt.Errorf("remove mapping: %w", err)
			}
			if was {
				removed++
			}
		}
		return s.Events.Add(ctx, tx, "test_repository.unmapped", topic(id), auth.From(ctx).String(), map[string]any{"removed": removed})
	})
	return removed, err
}

// UnmapOne removes one mapping of whichever repository; NotFound if there is none of that
// id. Else it is as Unmap.
func (s *Suites) UnmapOne(ctx context.Context, mapping int64) error {
	id, err := s.store.byMapping(ctx, s.DB, mapping)
	if err != nil {
		return err
	}
	_, err = s.Unmap(ctx, id, []int64{mapping})
	return err
}
