package testrun

import (
	"context"
	"fmt"

	"albs/internal/master/artifact"
	"albs/internal/master/build/keep"
	"albs/internal/master/db"
)

// roots are the packages and logs of the runs of builds that were not deleted before.
func (t *Tests) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	deleted, err := keep.Deleted(ctx, t.store.d, since)
	if err != nil {
		return err
	}
	kept, err := t.store.kept(ctx, t.store.d)
	if err != nil {
		return fmt.Errorf("read files of test runs: %w", err)
	}
	for _, k := range kept {
		if deleted[k.BuildID] {
			continue
		}
		if err := yield(artifact.Ref{Digest: k.Digest}); err != nil {
			return err
		}
	}
	return nil
}
