package sign

import (
	"context"
	"fmt"

	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// roots are the packages that are signed or about to be, their signed copies, and the
// documents likewise; what people approved of it, and what may be signed. A signature is for
// good.
func (s *Signing) roots(ctx context.Context, _ db.Time, yield func(artifact.Ref) error) error {
	kept, err := s.store.kept(ctx, s.store.d)
	if err != nil {
		return fmt.Errorf("read what is signed: %w", err)
	}
	for _, d := range kept {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}
