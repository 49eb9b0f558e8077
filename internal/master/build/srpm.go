package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build/admit"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/rpm"
)

// sourceHandler has an exported source made into one SRPM and its spec file asked what
// it needs and makes; of an SRPM that was given, only the latter.
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
	spec := albs.SourceSpec{Root: root, Arches: it.Arches.V, Switches: switches}
	if it.URL == "" {
		srpm, err := h.artifacts.Get(ctx, h.db, it.SRPM)
		if err != nil {
			return albs.Spec{}, nil, err
		}
		file := srpm.File()
		spec.SRPM = &file
		return albs.Spec{Source: &spec}, nil, nil
	}
	imported := it.Imported.V
	spec.Tree, spec.Spec, spec.Sources, spec.Commit = imported.Tree, imported.Spec, imported.Sources, it.Commit
	spec.History = imported.History
	return albs.Spec{Source: &spec}, nil, nil
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
	if err := albs.CheckSpecFacts(r.Source.Facts, in.item.Arches.V); err != nil {
		return nil, err
	}
	if in.item.URL == "" {
		return h.admitFacts(ctx, in, *r.Source)
	}
	srpm, err := h.take(ctx, in, r.Source.SRPM, artifact.SRPM)
	if err != nil {
		return nil, err
	}
	held, err := h.held(ctx, in, albs.Src)
	if err != nil {
		return nil, err
	}
	if err := admit.SRPM(admit.Proposed{NEVRA: srpm.NEVRA, Digest: srpm.Digest}, in.item.Package, held); err != nil {
		return nil, err
	}
	record, err := h.take(ctx, in, r.Source.Record, artifact.Record)
	if err != nil {
		return nil, err
	}
	tags, err := h.tagsOf(ctx, srpm.Digest)
	if err != nil {
		return nil, err
	}
	into := repository.Changes{}
	into.Add(repository.Name(in.item.BuildID, in.item.Platform, albs.Src), srpm)
	steps, err := h.own.Extend(ctx, into)
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
		if err := store.SetSRPM(ctx, tx, in.item.ID, srpm.File()); err != nil {
			return err
		}
		if err := h.own.Advance(ctx, tx, steps); err != nil {
			return err
		}
		if err := h.learn(ctx, tx, in.item, r.Source.Facts, tags); err != nil {
			return err
		}
		return h.stateSource(ctx, tx, in, srpm, record)
	}, nil
}

// admitFacts takes what the spec file of a given SRPM says. Nothing was made, so
// nothing is stated but the record of the root that was asked.
func (h sourceHandler) admitFacts(ctx context.Context, in admission, r albs.SourceResult) (func(context.Context, db.Tx) error, error) {
	if r.SRPM != (albs.File{}) {
		return nil, albs.Errorf(albs.Invalid, "the SRPM was given, and the attempt names another: %.80q", r.SRPM.Name)
	}
	record, err := h.take(ctx, in, r.Record, artifact.Record)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		if err := in.logs(ctx, tx); err != nil {
			return err
		}
		if err := h.keep(ctx, tx, in, "", record); err != nil {
			return err
		}
		if err := h.learn(ctx, tx, in.item, r.Facts, archTags{}); err != nil {
			return err
		}
		return h.provenance.State(ctx, tx, provenance.Fact{Files: []artifact.Artifact{record}, Metadata: in.metadata()})
	}, nil
}

// archTags are what an SRPM's header says of arches.
type archTags struct{ exclusive, exclude []string }

// tagsOf reads the header of an SRPM that the master holds.
func (b *Builds) tagsOf(ctx context.Context, srpm albs.Digest) (archTags, error) {
	body, err := b.artifacts.Blobs().OpenRange(ctx, srpm, 0, -1)
	if err != nil {
		return archTags{}, fmt.Errorf("open SRPM: %w", err)
	}
	defer body.Close()
	p, err := rpm.Read(body)
	if err != nil {
		return archTags{}, fmt.Errorf("read header of SRPM: %w", err)
	}
	return archTags{p.ExclusiveArch, p.ExcludeArch}, nil
}

// learn keeps what the spec file of an item says, and ends the rebuilds that have
// nothing to do by it, or by its header for arches of which it says nothing, before
// anybody makes a root for them.
func (b *Builds) learn(ctx context.Context, tx db.Tx, it store.Item, facts []albs.SpecFacts, tags archTags) error {
	if err := store.SetFacts(ctx, tx, it.ID, facts); err != nil {
		return err
	}
	steps, err := b.stepsOf(ctx, tx, it.BuildID, it.Platform)
	if err != nil {
		return err
	}
	for arch, task := range steps[it.ID].Rebuilds {
		why := albs.ExcludedArch(tags.exclusive, tags.exclude, arch)
		if i := slices.IndexFunc(facts, func(f albs.SpecFacts) bool { return f.Arch == arch && f.Unknown == "" }); i >= 0 {
			why = facts[i].Excluded()
		}
		if why == "" {
			continue
		}
		// What was cancelled stays so.
		if err := b.queue.Exclude(ctx, tx, task, why); err != nil && !errors.Is(err, albs.Conflict) {
			return err
		}
	}
	return nil
}

// Ended keeps why; what a failed attempt left are its logs, and there is nothing to undo.
func (h sourceHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	return h.failed(ctx, tx, t)
}
func (h sourceHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h sourceHandler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.repos.Contain(ctx, l.Spec.Source.Root.Repos, d)
}
