package suite

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/source"
)

// patience is how long one repository may keep the master waiting.
const patience = 5 * time.Minute

// outage reports whether err says that a repository can't be had, or isn't as it has to be,
// and not that the master itself is in trouble.
func outage(err error) bool {
	switch albs.KindOf(err) {
	case albs.Invalid, albs.NotFound, albs.Forbidden, albs.Conflict, albs.TooLarge, albs.Unavailable:
		return true
	}
	return false
}

// within gives what f asks of a repository its time.
func within[T any](ctx context.Context, f func(ctx context.Context) (T, error)) (T, error) {
	inner, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	v, err := f(inner)
	if err != nil && ctx.Err() == nil && inner.Err() != nil {
		err = albs.Errorf(albs.Unavailable, "the git server takes more than %s", patience)
	}
	return v, err
}

// look resolves r's ref, sets its commit, and returns what that maps.
func (s *Suites) look(ctx context.Context, r *Repository) ([]Mapping, error) {
	return within(ctx, func(ctx context.Context) ([]Mapping, error) {
		c, err := s.Sources.Resolve(ctx, r.URL, r.Ref)
		if err != nil {
			return nil, err
		}
		out, err := s.read(ctx, r.Layout, c)
		if err != nil {
			return nil, err
		}
		r.Commit, r.ScannedAt, r.Failure = c.SHA, db.Now(), ""
		return out, nil
	})
}

// read returns what a commit maps.
func (s *Suites) read(ctx context.Context, l Layout, c source.Commit) ([]Mapping, error) {
	files, err := s.Sources.Files(ctx, c)
	if err != nil {
		return nil, err
	}
	var rules []byte
	if name := l.TestsDir + RulesFile; slices.Contains(files, name) {
		if rules, err = s.Sources.File(ctx, c, name, maxRulesFile); err != nil {
			return nil, err
		}
	}
	return l.Find(files, rules)
}

// Scanned is what a scan came to.
type Scanned struct {
	Repository
	Added, Removed int // mappings
}

// Scan looks at the commit that a repository's ref names now and maps its folders: what
// scans before it found and is gone, it removes. It is Forbidden without test.repository
// for its team, NotFound for an unknown one, Conflict if the repository is changed
// meanwhile. What keeps it from looking is the Failure of what it returns, and no error. It
// is durable on return.
func (s *Suites) Scan(ctx context.Context, id int64) (Scanned, error) {
	r, err := s.may(ctx, id)
	if err != nil {
		return Scanned{}, err
	}
	return s.scan(ctx, r)
}

func (s *Suites) scan(ctx context.Context, r Repository) (Scanned, error) {
	mappings, err := s.look(ctx, &r)
	if err != nil && (ctx.Err() != nil || !outage(err)) {
		return Scanned{}, fmt.Errorf("scan test repository %s: %w", r.Name, err)
	}
	if err != nil {
		return s.failed(ctx, r, err)
	}
	var out Scanned
	err = s.DB.InTx(ctx, func(tx db.Tx) (err error) {
		out, err = s.note(ctx, tx, r, mappings)
		return err
	})
	if err != nil {
		return Scanned{}, err
	}
	out.Repository, err = s.Get(ctx, r.ID)
	return out, err
}

// failed notes why a scan came to nothing. What the last one found stays.
func (s *Suites) failed(ctx context.Context, r Repository, why error) (Scanned, error) {
	r.ScannedAt, r.Failure = db.Now(), text(why.Error())
	err := s.DB.InTx(ctx, func(tx db.Tx) error {
		_, err := s.store.scanned(ctx, tx, r)
		return err
	})
	if err != nil {
		return Scanned{}, fmt.Errorf("note scan of test repository %s: %w", r.Name, err)
	}
	return Scanned{Repository: r}, nil
}

const maxFailure = 500 // bytes of a sentence

// text is a sentence on one line, bounded.
func text(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	s = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return '?'
		}
		return r
	}, s)
	if len(s) > maxFailure {
		s = strings.ToValidUTF8(s[:maxFailure], "") + "…"
	}
	return s
}

// note writes what was seen of r, in tx.
func (s *Suites) note(ctx context.Context, tx db.Tx, r Repository, mappings []Mapping) (out Scanned, err error) {
	same, err := s.store.scanned(ctx, tx, r)
	if err != nil {
		return out, fmt.Errorf("note scan: %w", err)
	}
	if !same {
		return out, albs.Errorf(albs.Conflict, "test repository %s was changed meanwhile", r.Name)
	}
	if out.Added, out.Removed, err = s.replace(ctx, tx, r.ID, mappings); err != nil {
		return out, err
	}
	if out.Added+out.Removed == 0 {
		return out, nil
	}
	return out, s.Events.Add(ctx, tx, "test_repository.scanned", topic(r.ID), auth.From(ctx).String(),
		map[string]any{"commit": r.Commit, "added": out.Added, "removed": out.Removed})
}

// replace takes what a scan found in place of what scans before it did.
func (s *Suites) replace(ctx context.Context, tx db.Tx, id int64, mappings []Mapping) (added, removed int, err error) {
	have, err := s.store.mappings(ctx, tx, id)
	if err != nil {
		return 0, 0, fmt.Errorf("read mappings: %w", err)
	}
	bare := func(m Mapping) Mapping { return Mapping{Package: m.Package, Pattern: m.Pattern, Folder: m.Folder} }
	found := map[Mapping]bool{}
	for _, m := range mappings {
		found[bare(m)] = true
	}
	for _, m := range have {
		if m.Scanned && !found[bare(m)] {
			if _, err := s.store.removeMapping(ctx, tx, id, m.ID); err != nil {
				return 0, 0, fmt.Errorf("remove mapping: %w", err)
			}
			removed++
		}
		delete(found, bare(m))
	}
	for _, m := range mappings {
		if !found[bare(m)] {
			continue
		}
		m.Repository = id
		if _, err := s.store.addMapping(ctx, tx, m); err != nil {
			return 0, 0, fmt.Errorf("add mapping: %w", err)
		}
		added++
	}
	return added, removed, s.bounded(ctx, tx, id)
}

// scanAll scans every repository. One that can't be scanned says so, and holds up no other.
func (s *Suites) scanAll(ctx context.Context) error {
	all, err := s.store.repositories(ctx, s.DB, "", MaxRepositories, 0)
	if err != nil {
		return fmt.Errorf("read test repositories: %w", err)
	}
	for _, r := range all {
		out, err := s.scan(ctx, r)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, albs.Conflict), errors.Is(err, albs.NotFound): // changed, or removed, meanwhile
		case err != nil:
			return err
		case out.Failure != "":
			s.Log.Warn().Str("test_repository", r.Name).Str("reason", out.Failure).Msg("a test repository can't be scanned")
		}
	}
	return nil
}

// scans scans all repositories again and again until ctx is done.
func (s *Suites) scans(ctx context.Context) error {
	ctx = auth.System(ctx, "scan test repositories")
	for {
		if err := s.scanAll(ctx); err != nil && ctx.Err() == nil {
			s.Log.Error().Err(err).Msg("test repositories can't be scanned; it is tried again")
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(s.every):
		}
	}
}

// dirOf returns the path of a folder in its tree.
func (l Layout) dirOf(folder string) string { return path.Join(l.TestsDir, folder) }
