// Package keep knows which blobs builds keep: what their items, files and links name,
// until the time of grace after a build's deletion is over. What the repositories and
// tasks of a build name is kept by package repo and the queue, which are told when it is
// deleted.
package keep

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/db"
)

// page is how many builds are read at once.
const page = 200

// Roots returns what the builds in d name.
func Roots(d *db.DB) artifact.Roots {
	return func(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
		for after := albs.BuildID(0); ; {
			builds, err := undeleted(ctx, d, after, since)
			if err != nil {
				return fmt.Errorf("read builds: %w", err)
			}
			if len(builds) == 0 {
				return nil
			}
			after = builds[len(builds)-1].ID
			if err := links(builds, yield); err != nil {
				return err
			}
			items, err := items(ctx, d, builds[0].ID, after, since)
			if err != nil {
				return fmt.Errorf("read items of builds: %w", err)
			}
			for _, it := range items {
				if err := it.named(yield); err != nil {
					return fmt.Errorf("item of build %d: %w", it.BuildID, err)
				}
			}
			files, err := files(ctx, d, builds[0].ID, after, since)
			if err != nil {
				return fmt.Errorf("read files of builds: %w", err)
			}
			for _, f := range files {
				if err := yield(artifact.Ref{Digest: f}); err != nil {
					return err
				}
			}
		}
	}
}

func links(builds []buildRow, yield func(artifact.Ref) error) error {
	for _, b := range builds {
		var linked []repository.Linked
		if err := json.Unmarshal([]byte(b.Linked), &linked); err != nil {
			return fmt.Errorf("links of build %d: %w", b.ID, err)
		}
		for _, l := range linked {
			for _, r := range l.Repositories {
				if err := yield(artifact.Ref{Digest: r.Snapshot, Form: artifact.Snapshot}); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (it itemRow) named(yield func(artifact.Ref) error) error {
	var imported albs.ImportResult
	if it.Imported.Valid {
		if err := json.Unmarshal([]byte(it.Imported.String), &imported); err != nil {
			return err
		}
	}
	var noarch []settle.Difference
	if err := json.Unmarshal([]byte(it.Noarch), &noarch); err != nil {
		return err
	}
	ds := []albs.Digest{it.SRPM, imported.Tree, imported.History}
	for _, f := range imported.Sources {
		ds = append(ds, f.Digest)
	}
	for _, n := range noarch {
		ds = append(ds, n.First.Digest, n.Second.Digest)
	}
	for _, d := range ds {
		if d == "" {
			continue
		}
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}

// Deleted returns the builds that were deleted by a time.
func Deleted(ctx context.Context, q db.Q, by db.Time) (map[albs.BuildID]bool, error) {
	ids, err := deleted(ctx, q, by)
	if err != nil {
		return nil, fmt.Errorf("read deleted builds: %w", err)
	}
	out := make(map[albs.BuildID]bool, len(ids))
	for _, id := range ids {
		out[id] = true
	}
	return out, nil
}

// Holding returns those of the files that are a build's which was not deleted by a time:
// what it made or was given.
func Holding(ctx context.Context, q db.Q, ds []albs.Digest, by db.Time) (map[albs.Digest]bool, error) {
	out := make(map[albs.Digest]bool, len(ds))
	for some := range slices.Chunk(ds, 500) {
		held, err := held(ctx, q, some, by)
		if err != nil {
			return nil, fmt.Errorf("look which builds have files: %w", err)
		}
		for _, d := range held {
			out[d] = true
		}
	}
	return out, nil
}
