package repository

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/repo"
)

// Changes are what is to be done to repositories of a build, by their names. A
// repository that is named is made, even if nothing is put into it.
type Changes map[string]*Exchange

// Exchange is what comes into a repository and what goes, by its path.
type Exchange struct {
	add    []artifact.Artifact
	remove []string
}

// Add puts packages into a repository.
func (c Changes) Add(name string, packages ...artifact.Artifact) {
	if c[name] == nil {
		c[name] = &Exchange{}
	}
	c[name].add = append(c[name].add, packages...)
}

// Replace puts a package in the place of the one of its name that is there.
func (c Changes) Replace(name string, a artifact.Artifact) {
	c.Add(name, a)
	c.Drop(name, a.Name)
}

// Drop takes a package out, by its file's name.
func (c Changes) Drop(name, file string) {
	c.Add(name)
	c[name].remove = append(c[name].remove, repo.Path(file))
}

// Step is a repository's way to its next snapshot.
type Step struct {
	name     string
	from, to albs.Digest
}

// Extend makes the next snapshots of repositories, and the repositories themselves if
// they are new; nobody sees them before Advance. It takes them in the order of their
// names: admissions that each waited for what the other has would both lose time.
func (r *Repositories) Extend(ctx context.Context, c Changes) ([]Step, error) {
	var out []Step
	for _, name := range slices.Sorted(maps.Keys(c)) {
		err := r.db.InTx(ctx, func(tx db.Tx) error { return r.repos.Ensure(ctx, tx, name) })
		if err != nil {
			return nil, fmt.Errorf("make repository %s: %w", name, err)
		}
		s := Step{name: name}
		if s.from, s.to, err = r.repos.Extend(ctx, name, c[name].add, c[name].remove); err != nil {
			return nil, err
		}
		out = append(out, s)
	}
	return out, nil
}

// Advance shows the next snapshots; an extension that changed nothing (the same bytes
// came out of a retry) moves nothing. Conflict if a repository has another snapshot by
// now than the step began from.
func (r *Repositories) Advance(ctx context.Context, tx db.Tx, steps []Step) error {
	for _, s := range steps {
		if s.from == s.to {
			continue
		}
		if err := r.repos.Advance(ctx, tx, s.name, s.from, s.to); err != nil {
			return err
		}
	}
	return nil
}

// Forgo says that steps won't be advanced: what comes next needn't wait for them.
func (r *Repositories) Forgo(steps []Step) {
	for _, s := range steps {
		r.repos.Forgo(s.name, s.to)
	}
}
