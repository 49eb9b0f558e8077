package transparency

import (
	"context"
	"encoding/json"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// handler has what is told of packages laid beside them. What a task couldn't lay is
// asked for again after a while.
type handler struct{ *Transparency }

func (handler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (h handler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	switch {
	case outcome == albs.OutcomeExcluded:
		return nil, albs.Errorf(albs.Invalid, "a releaser excludes nothing")
	case outcome != albs.OutcomeOK:
		return nil, nil
	case r.Prove == nil:
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and doesn't say what was laid")
	}
	mine := map[albs.Digest]bool{}
	for _, k := range l.Spec.Prove.Packages {
		mine[k.Package] = true
	}
	for _, d := range r.Prove.Wrong {
		if !mine[d] {
			return nil, albs.Errorf(albs.Invalid, "the attempt says that %.64q is wrong, which it wasn't asked for", string(d))
		}
	}
	summaries, err := h.summaries(ctx, l, *r.Prove)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		for _, f := range summaries {
			if err := h.Provenance.State(ctx, tx, f); err != nil {
				return fmt.Errorf("state that a package was verified: %w", err)
			}
		}
		if len(r.Prove.Wrong) > 0 {
			tx.AfterCommit(func() { h.Events.Nudge(topic) })
			if err := h.store.wrong(ctx, tx, l.Token.Task, r.Prove.Wrong); err != nil {
				return err
			}
		}
		return h.store.done(ctx, tx, l.Token.Task)
	}, nil
}

func (h handler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	tx.AfterCommit(func() { h.Events.Nudge(topic) })
	return h.store.failed(ctx, tx, t.ID)
}

func (handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) { return false, nil }
