package build

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/build/statement"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
)

func (in admission) origin() statement.Origin {
	it := in.item
	return statement.Origin{URL: it.URL, Ref: it.Ref, Commit: it.Commit, SRPM: it.SRPM, SRPMName: it.SRPMName, SRPMURL: it.SRPMURL, Notarized: in.commit}
}

func (in admission) metadata() map[string]string {
	return in.origin().Metadata(in.item.BuildID, in.worker.Name, in.task.Arch, in.build.Owner)
}

// stateSource states where an SRPM came from.
func (b *Builds) stateSource(ctx context.Context, tx db.Tx, in admission, srpm, record artifact.Artifact) error {
	return b.state(ctx, tx, in, attest.Source, in.origin().Source(*in.lease.Spec.Source, record.Digest), record, srpm)
}

// stateBuild states how packages were built.
func (b *Builds) stateBuild(ctx context.Context, tx db.Tx, in admission, packages []artifact.Artifact, record artifact.Artifact) error {
	spec := *in.lease.Spec.Build
	run := statement.Run{
		Origin: in.origin(), Platform: in.item.Platform, Spec: spec, SecureBoot: in.build.SecureBoot,
		Builder: b.Builder(in.worker, spec.Root),
		Node:    in.worker.Name, Emulated: in.worker.Allows(albs.EmulatedLabel(spec.Root.Arch)),
		Task: in.lease.Token.Task, Attempt: in.lease.Attempt, Record: record.Digest,
		Started: in.started, Finished: db.Now().Time,
	}
	for _, f := range in.build.Flavours.V {
		run.Flavours = append(run.Flavours, f.String())
	}
	return b.state(ctx, tx, in, attest.Build, run.Build(), record, packages...)
}

// state makes one statement about each of the files, and a record of each and of
// the buildroot record.
func (b *Builds) state(ctx context.Context, tx db.Tx, in admission, predicate string, body any, record artifact.Artifact, files ...artifact.Artifact) error {
	f := provenance.Fact{Predicate: predicate, Body: body, Files: append([]artifact.Artifact{record}, files...), Metadata: in.metadata()}
	for _, a := range files {
		f.Subjects = append(f.Subjects, provenance.SubjectOf(a))
	}
	if err := b.provenance.State(ctx, tx, f); err != nil {
		return fmt.Errorf("state %s: %w", predicate, err)
	}
	return nil
}

// LabelTogether marks a worker that shares its process with the master: what it
// builds deserves less trust than what a node apart builds.
const LabelTogether = "place:together"

// Builders returns every builder that this master's statements may name.
func (b *Builds) Builders() []statement.Builder { return statement.Builders(b.config.BuilderID) }
