package watch

import (
	"context"

	"albs/internal/albs"
	"albs/internal/client"
)

// Run is how a master stands with work that it does one run after another, as a
// collection or a check of the ledger.
type Run struct {
	Ended int    // runs that have ended since it started
	Last  bool   // whether there is an outcome of the last one
	Now   string // what it does, "" if nothing
}

// UntilRun waits as Until does until more than before runs have ended, and shows what
// look tells. A master with fewer was started anew, which is a Conflict.
func (w *Watch) UntilRun(ctx context.Context, c *client.Client, before int, goesOn string, look func(ctx context.Context) (Run, error)) error {
	m := w.NewMeter()
	return w.Until(ctx, c, "", m, goesOn, func(ctx context.Context) (bool, error) {
		r, err := look(ctx)
		switch {
		case err != nil:
			return false, err
		case r.Ended < before:
			return false, albs.Errorf(albs.Conflict, "the master was started anew meanwhile: ask again")
		case r.Ended > before && r.Last:
			return true, nil
		case r.Now != "":
			m.Now(r.Now)
		}
		return false, nil
	})
}
