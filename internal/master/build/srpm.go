package build

import (
	"context"
	"encoding/json"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// sourceHandler has an exported source made into one SRPM.
type sourceHandler struct{ *Builds }

func (h sourceHandler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	_, it, err := h.taskOf(ctx, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	root, switches, _, err := h.prepare(ctx, it, it.Arches.V[0])
	if err != nil {
		return albs.Spec{}, nil, err
	}
	imported := it.Imported.V
	return albs.Spec{Source: &albs.SourceSpec{
		Root: root, Tree: imported.Tree, Spec: imported.Spec, Sources: imported.Sources, Commit: it.Commit, Switches: switches,
	}}, nil, nil
}

func (h sourceHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded { // what comes after would begin without an SRPM
		return nil, albs.Errorf(albs.Invalid, "a source package is for every arch: none is excluded")
	}
	in, err := h.begin(ctx, l, r)
	if err != nil {
		return nil, err
	}
	if outcome != albs.OutcomeOK {
		return h.ends(ctx, in, outcome, r.Reason), nil
	}
	if r.Source == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and names no SRPM")
	}
	srpm, err := h.take(ctx, in, r.Source.SRPM, artifact.SRPM)
	if err != nil {
		return nil, err
	}
	held, err := h.held(ctx, in, albs.Src)
	if err != nil {
		return nil, err
	}
	if err := CheckSRPM(Proposed{NEVRA: srpm.NEVRA, Digest: srpm.Digest}, in.item.Package, held); err != nil {
		return nil, err
	}
	record, err := h.take(ctx, in, r.Source.Record, artifact.Record)
	if err != nil {
		return nil, err
	}
	into := changes{}
	into.add(RepoName(in.item.BuildID, in.item.Platform, albs.Src), srpm)
	steps, err := h.extend(ctx, into)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		if err := in.logs(ctx, tx); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, in, albs.Src, srpm); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, in, "", record); err != nil {
			return err
		}
		if err := h.store.setSRPM(ctx, tx, in.item.ID, srpm.File()); err != nil {
			return err
		}
		if err := h.advance(ctx, tx, steps); err != nil {
			return err
		}
		return h.stateSource(ctx, tx, in, srpm, record)
	}, nil
}

// Ended keeps why; what a failed attempt left are its logs, and there is nothing to undo.
func (h sourceHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	return h.failed(ctx, tx, t)
}
func (h sourceHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h sourceHandler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.repos.Contain(ctx, l.Spec.Source.Root.Repos, d)
}
