package build

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/build/statement"
	"albs/internal/master/build/store"
)

// Left is what an attempt to build for an arch left, and whose it is.
type Left struct {
	Build      albs.BuildID
	Team       string
	Platform   string
	Arch       albs.Arch
	SecureBoot bool
	// Packages are the RPMs under their names, those too that others have taken the place
	// of; of a noarch package that another arch's copy stands for it is that copy.
	Packages []albs.File
}

// Left returns what an attempt at a task left; NotFound if that is no build for an arch,
// or its build was deleted.
func (b *Builds) Left(ctx context.Context, id albs.TaskID, attempt int) (Left, error) {
	t, it, err := b.taskOf(ctx, id)
	if err != nil {
		return Left{}, err
	}
	if t.Kind != albs.KindBuild {
		return Left{}, albs.Errorf(albs.NotFound, "task %d of build %d builds for no arch", id, t.BuildID)
	}
	row, err := store.GetBuild(ctx, b.db, t.BuildID)
	if err != nil {
		return Left{}, err
	}
	l := Left{Build: row.ID, Team: row.Team, Platform: it.Platform, Arch: t.Arch, SecureBoot: row.SecureBoot}
	files, err := store.LeftBy(ctx, b.db, id, attempt)
	if err != nil {
		return l, fmt.Errorf("files of attempt %d at task %d: %w", attempt, id, err)
	}
	for _, f := range files {
		l.Packages = append(l.Packages, albs.File{Name: f.Name, Digest: f.Digest})
	}
	return l, nil
}

// Builder returns the builder id under which what a worker does in root is stated.
func (b *Builds) Builder(worker auth.Actor, root albs.Root) string {
	return statement.BuilderOf(b.config.BuilderID, worker.Allows(LabelTogether), root).ID
}

// BuiltBy returns the builder that the last statement about the building of a package
// names, the zero Builder if there is none, or none that this master names now. Anyone may
// ask. A row that contradicts the ledger is a Conflict.
func (b *Builds) BuiltBy(ctx context.Context, rpm albs.Digest) (statement.Builder, error) {
	said, err := b.provenance.Stated(ctx, rpm, attest.Build)
	if err != nil || len(said) == 0 {
		return statement.Builder{}, err
	}
	var body attest.BuildBody
	if err := said[len(said)-1].Body(&body); err != nil {
		return statement.Builder{}, err
	}
	for _, x := range b.Builders() {
		if x.ID == body.RunDetails.Builder.ID {
			return x, nil
		}
	}
	return statement.Builder{}, nil
}
