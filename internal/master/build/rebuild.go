package build

import (
	"context"
	"encoding/json"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build/admit"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// buildHandler has an SRPM rebuilt for one arch.
type buildHandler struct{ *Builds }

func (h buildHandler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	row, it, err := h.taskOf(ctx, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	srpm, err := h.artifacts.Get(ctx, h.db, it.SRPM)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	root, switches, target, err := h.prepare(ctx, it, row.Arch)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	return albs.Spec{Build: &albs.BuildSpec{Root: root, SRPM: srpm.File(), Arch: target, Owner: t.Lane, Switches: switches}}, nil, nil
}

func (h buildHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	in, err := h.begin(ctx, l, r)
	if err != nil {
		return nil, err
	}
	if outcome != albs.OutcomeOK {
		return h.without(ctx, in, outcome, r.Reason)
	}
	if r.Build == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and names no package")
	}
	if len(r.Build.Packages) > maxPackagesOfTask {
		return nil, albs.Errorf(albs.TooLarge, "the build left %d packages, at most %d are taken", len(r.Build.Packages), maxPackagesOfTask)
	}
	var packages []artifact.Artifact
	var proposed []admit.Proposed
	for _, f := range r.Build.Packages {
		a, err := h.take(ctx, in, f, artifact.RPM)
		if err != nil {
			return nil, err
		}
		packages = append(packages, a)
		proposed = append(proposed, admit.Proposed{NEVRA: a.NEVRA, SourceRPM: a.SourceRPM, Digest: a.Digest})
	}
	held, err := h.held(ctx, in, in.task.Arch)
	if err != nil {
		return nil, err
	}
	if err := admit.Packages(proposed, in.item.SRPMName, l.Spec.Build.Arch, held); err != nil {
		return nil, err
	}
	record, err := h.take(ctx, in, r.Build.Record, artifact.Record)
	if err != nil {
		return nil, err
	}
	item, err := h.settle(ctx, in, packages, false)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		if err := in.logs(ctx, tx); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, in, in.task.Arch, packages...); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, in, "", record); err != nil {
			return err
		}
		if err := h.stateBuild(ctx, tx, in, packages, record); err != nil {
			return err
		}
		return h.conclude(ctx, tx, in, item)
	}, nil
}

// without takes in that a rebuild came to nothing, or its arch is excluded, for which
// others may have waited.
func (h buildHandler) without(ctx context.Context, in admission, outcome albs.Outcome, reason string) (func(context.Context, db.Tx) error, error) {
	item, err := h.settle(ctx, in, nil, outcome == albs.OutcomeFailed)
	if err != nil {
		return nil, err
	}
	ends := h.ends(ctx, in, outcome, reason)
	return func(ctx context.Context, tx db.Tx) error {
		if err := ends(ctx, tx); err != nil {
			return err
		}
		return h.conclude(ctx, tx, in, item)
	}, nil
}

// EventBuilt is the kind of the event that a rebuild's packages were admitted and are
// what its arch gets: those of a rebuild with noarch packages wait for the other arches.
// Its data is a Built, its topic the build's.
const EventBuilt = "build.built"

// Built is the data of an EventBuilt.
type Built struct {
	Task     albs.TaskID  `json:"task"`
	Build    albs.BuildID `json:"build"`
	Item     albs.ItemID  `json:"item"`
	Platform string       `json:"platform"`
	Arch     albs.Arch    `json:"arch"`
}

const maxPackagesOfTask = 5000

// Ended keeps why; what a failed attempt left are its logs, and there is nothing to undo.
func (h buildHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	return h.failed(ctx, tx, t)
}
func (h buildHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h buildHandler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.repos.Contain(ctx, l.Spec.Build.Root.Repos, d)
}
