package release

import (
	"context"

	"albs/internal/master/release/gather"
)

// ShownBy returns the packages signed with a key, given by name or fingerprint, that
// products show now, by product and repository. Errors: NotFound for an unknown key.
func (r *Releases) ShownBy(ctx context.Context, key string) ([]gather.SignedBy, error) {
	return r.gather.ShownBy(ctx, key)
}
