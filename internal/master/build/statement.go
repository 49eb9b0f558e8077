package build

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
)

// stateSource states where an SRPM came from.
func (b *Builds) stateSource(ctx context.Context, tx db.Tx, in admission, srpm, record artifact.Artifact) error {
	spec := in.lease.Spec.Source
	body := attest.SourceBody{
		Repository: "git+" + in.item.URL, Ref: in.item.Ref, Commit: in.item.Commit, Tree: spec.Tree, Record: record.Digest,
	}
	for _, f := range spec.Sources {
		body.Files = append(body.Files, attest.Descriptor{Name: f.Name, Digest: map[string]string{attest.SHA256: string(f.Digest)}})
	}
	return b.state(ctx, tx, in, attest.Source, body, record, srpm)
}

// stateUpload states who brought an SRPM.
func (b *Builds) stateUpload(ctx context.Context, tx db.Tx, srpm artifact.Artifact) error {
	who := auth.From(ctx).Name
	err := b.provenance.State(ctx, tx, provenance.Fact{
		Subjects: []attest.Subject{provenance.SubjectOf(srpm)}, Predicate: attest.Source, Body: attest.SourceBody{Uploader: who},
		Files: []artifact.Artifact{srpm}, Metadata: map[string]string{"built_by": who, "source_type": "srpm"},
	})
	if err != nil {
		return fmt.Errorf("state source: %w", err)
	}
	return nil
}

// stateFetched states where an SRPM was fetched, and for whom.
func (b *Builds) stateFetched(ctx context.Context, tx db.Tx, srpm artifact.Artifact, url string) error {
	err := b.provenance.State(ctx, tx, provenance.Fact{
		Subjects: []attest.Subject{provenance.SubjectOf(srpm)}, Predicate: attest.Source,
		Body:  attest.SourceBody{URL: url, Uploader: auth.From(ctx).Name},
		Files: []artifact.Artifact{srpm}, Metadata: map[string]string{"built_by": auth.From(ctx).Name, "source_type": "srpm", "srpm_url": url},
	})
	if err != nil {
		return fmt.Errorf("state source: %w", err)
	}
	return nil
}

// stateBuild states how packages were built: SLSA provenance, every field of it
// the master's own knowledge but for the record, which is the node's word and is
// named by its digest.
func (b *Builds) stateBuild(ctx context.Context, tx db.Tx, in admission, packages []artifact.Artifact, record artifact.Artifact) error {
	spec := in.lease.Spec.Build
	source := attest.Descriptor{Name: in.item.SRPMName, Digest: map[string]string{attest.SHA256: string(in.item.SRPM)}}
	deps := []attest.Descriptor{
		{Name: attest.DependencySRPM, URI: in.item.SRPMName, Digest: map[string]string{attest.SHA256: string(in.item.SRPM)}},
		{Name: attest.DependencyBuildroot, Digest: map[string]string{attest.SHA256: string(record.Digest)}},
	}
	if in.item.SRPMURL != "" {
		source.URI, deps[0].URI = in.item.SRPMURL, in.item.SRPMURL
	}
	if in.item.URL != "" {
		source = attest.Descriptor{URI: "git+" + in.item.URL + "#" + in.item.Ref}
		deps = append(deps, attest.Descriptor{URI: "git+" + in.item.URL, Digest: map[string]string{attest.GitCommit: in.item.Commit}})
	}
	for _, r := range spec.Root.Repos {
		d := attest.Descriptor{Name: "repository:" + r.ID, URI: r.Mirror, Digest: map[string]string{attest.SHA256: string(r.Repomd)}}
		if r.Snapshot != "" {
			d.Digest[attest.SHA256] = string(r.Snapshot)
		}
		deps = append(deps, d)
	}
	var flavours []string
	for _, f := range in.build.Flavours.V {
		flavours = append(flavours, f.String())
	}
	body := attest.BuildBody{
		BuildDefinition: attest.BuildDefinition{
			BuildType: attest.BuildType,
			ExternalParameters: attest.ExternalParameters{
				Source: source, Platform: in.item.Platform, Arch: spec.Arch, With: spec.With, Without: spec.Without,
				Define: spec.Define, Excludes: spec.Root.Excludes, Modules: spec.Root.Modules, Flavours: flavours,
				SecureBoot: in.build.SecureBoot,
			},
			InternalParameters: attest.InternalParameters{
				Node: in.worker.Name, Attempt: in.lease.Attempt, Network: spec.Root.Network,
				Emulated: in.worker.Allows(albs.EmulatedLabel(spec.Root.Arch)),
			},
			ResolvedDependencies: deps,
		},
		RunDetails: attest.RunDetails{
			Builder: attest.Builder{ID: b.builderID(in.worker, spec.Root.Network)},
			Metadata: attest.RunMetadata{
				InvocationID: fmt.Sprintf("task/%d/attempt/%d", in.lease.Token.Task, in.lease.Attempt),
				StartedOn:    in.started, FinishedOn: db.Now().Time,
			},
		},
	}
	return b.state(ctx, tx, in, attest.Build, body, record, packages...)
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

// The isolation modes of builders; docs/design/builders.md says what each is worth.
const (
	builderApart     = "/apart/v1"     // a node on a host or under a user of its own
	builderTogether  = "/together/v1"  // a node in the master's process
	builderNetworked = "/networked/v1" // either, with the network reachable from the build
)

// builderID names the builder by how a build was isolated from the master and
// from the network.
func (b *Builds) builderID(worker auth.Actor, network bool) string {
	switch {
	case network:
		return b.config.BuilderID + builderNetworked
	case worker.Allows(LabelTogether):
		return b.config.BuilderID + builderTogether
	}
	return b.config.BuilderID + builderApart
}

// Builders returns every builder id that this master's statements may name.
func (b *Builds) Builders() []string {
	return []string{b.config.BuilderID + builderApart, b.config.BuilderID + builderTogether, b.config.BuilderID + builderNetworked}
}
