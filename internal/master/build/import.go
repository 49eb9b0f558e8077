package build

import (
	"context"
	"encoding/json"
	"io"

	"albs/internal/albs"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/queue"
	"albs/internal/master/source"
)

// importSource is the master's own task: it brings a commit and its look-aside
// files into the blob store.
func (b *Builds) importSource(ctx context.Context, t queue.Task, log io.Writer) (albs.Result, error) {
	spec := t.Spec.Import
	p, err := b.platforms.Get(ctx, spec.Platform)
	if err != nil {
		return albs.Result{}, err
	}
	r, err := b.sources.Import(ctx, source.Commit{URL: spec.URL, Ref: spec.Ref, SHA: spec.Commit}, source.Wanted{Lookaside: p.Lookaside, Autospec: p.Autospec}, log)
	if err != nil {
		return albs.Result{}, err
	}
	return albs.Result{Import: &r}, nil
}

// ownHandler is what the kinds have in common that the master does itself: the spec is as
// it was enqueued, and nobody reads anything for it.
type ownHandler struct{ *Builds }

func (ownHandler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (ownHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (ownHandler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) { return false, nil }

// importHandler takes in what importSource found.
type importHandler struct{ ownHandler }

func (h importHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "an import excludes nothing")
	}
	if outcome != albs.OutcomeOK {
		return nil, nil
	}
	if r.Import == nil {
		return nil, albs.Errorf(albs.Invalid, "the import has no result")
	}
	row, err := store.GetTask(ctx, h.db, l.Token.Task)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error { return store.SetImported(ctx, tx, row.ItemID, *r.Import) }, nil
}

func (h importHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	return h.failed(ctx, tx, t)
}
