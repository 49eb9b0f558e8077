package build

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/queue"
)

// sourceHandler has an exported source made into one SRPM.
type sourceHandler struct{ *Builds }

func (h sourceHandler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	_, it, err := h.taskOf(ctx, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	root, err := h.root(ctx, it, it.Arches.V[0])
	if err != nil {
		return albs.Spec{}, nil, err
	}
	imported := it.Imported.V
	return albs.Spec{Source: &albs.SourceSpec{Root: root, Tree: imported.Tree, Spec: imported.Spec, Sources: imported.Sources, Commit: it.Commit}}, nil, nil
}

func (h sourceHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	in, err := h.begin(ctx, l, r)
	if err != nil || outcome != albs.OutcomeOK {
		return in.logs, err
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
	name := RepoName(in.item.BuildID, in.item.Platform, albs.Src)
	from, to, err := h.extend(ctx, name, []artifact.Artifact{srpm})
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
		if err := h.advance(ctx, tx, name, from, to); err != nil {
			return err
		}
		return h.stateSource(ctx, tx, in, srpm, record)
	}, nil
}

// buildHandler has an SRPM rebuilt for one arch.
type buildHandler struct{ *Builds }

func (h buildHandler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	row, it, err := h.taskOf(ctx, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	build, err := h.store.build(ctx, h.store.d, row.BuildID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	o := build.Options.V
	srpm, err := h.artifacts.Get(ctx, h.store.d, it.SRPM)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	root, err := h.root(ctx, it, row.Arch)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	return albs.Spec{Build: &albs.BuildSpec{Root: root, SRPM: srpm.File(), Arch: row.Arch, With: o.With, Without: o.Without}}, nil, nil
}

func (h buildHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	in, err := h.begin(ctx, l, r)
	if err != nil || outcome != albs.OutcomeOK {
		return in.logs, err
	}
	if r.Build == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and names no package")
	}
	if len(r.Build.Packages) > maxPackagesOfTask {
		return nil, albs.Errorf(albs.TooLarge, "the build left %d packages, at most %d are taken", len(r.Build.Packages), maxPackagesOfTask)
	}
	var packages []artifact.Artifact
	var proposed []Proposed
	for _, f := range r.Build.Packages {
		a, err := h.take(ctx, in, f, artifact.RPM)
		if err != nil {
			return nil, err
		}
		packages = append(packages, a)
		proposed = append(proposed, Proposed{NEVRA: a.NEVRA, SourceRPM: a.SourceRPM, Digest: a.Digest})
	}
	held, err := h.held(ctx, in, in.task.Arch)
	if err != nil {
		return nil, err
	}
	if err := CheckPackages(proposed, in.item.SRPMName, in.task.Arch, held); err != nil {
		return nil, err
	}
	record, err := h.take(ctx, in, r.Build.Record, artifact.Record)
	if err != nil {
		return nil, err
	}
	name := RepoName(in.item.BuildID, in.item.Platform, in.task.Arch)
	from, to, err := h.extend(ctx, name, packages)
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
		if err := h.advance(ctx, tx, name, from, to); err != nil {
			return err
		}
		if err := h.stateBuild(ctx, tx, in, packages, record); err != nil {
			return err
		}
		return h.events.Add(ctx, tx, EventBuilt, Topic(in.item.BuildID), in.worker.String(), Built{
			Task: in.task.TaskID, Build: in.item.BuildID, Item: in.item.ID, Platform: in.item.Platform, Arch: in.task.Arch,
		})
	}, nil
}

// EventBuilt is the kind of the event that a rebuild's packages were admitted;
// its data is a Built, its topic the build's.
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

// held returns what the build's repository of in's platform and of arch has.
func (b *Builds) held(ctx context.Context, in admission, arch albs.Arch) (map[string]albs.Digest, error) {
	held, err := b.store.held(ctx, b.store.d, in.item.BuildID, in.item.Platform, arch)
	if err != nil {
		return nil, fmt.Errorf("files of repository %s: %w", RepoName(in.item.BuildID, in.item.Platform, arch), err)
	}
	return held, nil
}

// Neither kind has anything to undo: what a failed attempt left are its logs.
func (h sourceHandler) Ended(context.Context, db.Tx, queue.Task) error { return nil }
func (h buildHandler) Ended(context.Context, db.Tx, queue.Task) error  { return nil }

func (h sourceHandler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.inRepos(ctx, l.Spec.Source.Root.Repos, d)
}

func (h buildHandler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.inRepos(ctx, l.Spec.Build.Root.Repos, d)
}

func (b *Builds) inRepos(ctx context.Context, repos []albs.Repo, d albs.Digest) (bool, error) {
	for _, r := range repos {
		if r.Snapshot == "" {
			continue
		}
		if ok, err := b.repos.Contains(ctx, r.Snapshot, d); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// root returns the buildroot of an item for arch: the platform's, pinned, and in
// front of it the build's own repository once it has packages.
func (b *Builds) root(ctx context.Context, it itemRow, arch albs.Arch) (albs.Root, error) {
	root, err := b.platforms.Root(ctx, it.Platform, arch, platform.Build)
	if err != nil {
		return root, err
	}
	own, err := b.Repository(ctx, it.BuildID, it.Platform, arch)
	if errors.Is(err, albs.NotFound) {
		return root, nil
	}
	if err != nil {
		return root, err
	}
	root.Repos = append([]albs.Repo{own}, root.Repos...)
	return root, nil
}

// Repository returns the build's own repository of a platform and arch as it is
// now, as roots name it; NotFound while it has no package.
func (b *Builds) Repository(ctx context.Context, id albs.BuildID, platform string, arch albs.Arch) (albs.Repo, error) {
	snapshot, err := b.repos.Current(ctx, RepoName(id, platform, arch))
	if err != nil {
		return albs.Repo{}, err
	}
	// Lower than every platform's: a build sees its own packages first.
	return albs.Repo{ID: "build-" + id.String(), Snapshot: snapshot, Priority: 1, Own: true}, nil
}

// extend makes the next snapshot of a repository of the build, which it makes
// itself if it is new.
func (b *Builds) extend(ctx context.Context, name string, add []artifact.Artifact) (from, to albs.Digest, err error) {
	err = b.store.d.InTx(ctx, func(tx db.Tx) error { return b.repos.Ensure(ctx, tx, name) })
	if err != nil {
		return "", "", fmt.Errorf("make repository %s: %w", name, err)
	}
	return b.repos.Extend(ctx, name, add, nil)
}

// advance shows the next snapshot; an extension that changed nothing (the same
// bytes came out of a retry) moves nothing.
func (b *Builds) advance(ctx context.Context, tx db.Tx, name string, from, to albs.Digest) error {
	if from == to {
		return nil
	}
	return b.repos.Advance(ctx, tx, name, from, to)
}
