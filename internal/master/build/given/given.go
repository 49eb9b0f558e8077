// Package given takes in SRPMs that no task makes: a person brings one, or the master
// fetches it. Each is held to what its header says before it is recorded, and who
// brought it, or where it was, is stated in the transaction that records it.
//
// It doesn't ask whether the actor may: builds do. It has no tables.
package given

import (
	"context"
	"fmt"
	"io"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/admit"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/provenance"
	"albs/internal/master/source"
)

// maxSize bounds an SRPM that a person brings.
const maxSize = 4 << 30

// SRPMs are the parts of a master that taking in an SRPM needs. They may be used
// concurrently.
type SRPMs struct {
	DB         *db.DB
	Events     *event.Log
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Sources    *source.Sources
}

// Upload takes in an SRPM that the actor brings under a file name. Invalid if it is not
// a source package by its header and name.
func (s SRPMs) Upload(ctx context.Context, r io.Reader, name string) (artifact.Artifact, error) {
	a, err := s.Artifacts.Save(ctx, r, maxSize, name, artifact.SRPM)
	if err != nil {
		return a, err
	}
	return a, s.record(ctx, a, "")
}

// Fetch takes in the SRPM that is at an address. Errors: those of source.Sources.SRPM,
// and Invalid as of Upload.
func (s SRPMs) Fetch(ctx context.Context, url string) (artifact.Artifact, error) {
	a, err := s.Sources.SRPM(ctx, url)
	if err != nil {
		return a, err
	}
	return a, s.record(ctx, a, url)
}

// Held returns an SRPM that the master has by its digest: NotFound if it hasn't, Invalid
// for what is no source package.
func (s SRPMs) Held(ctx context.Context, d albs.Digest) (artifact.Artifact, error) {
	a, err := s.Artifacts.Renew(ctx, d)
	if err != nil {
		return a, err
	}
	return a, check(a)
}

func check(a artifact.Artifact) error {
	return admit.SRPM(admit.Proposed{NEVRA: a.NEVRA, Digest: a.Digest}, "", nil)
}

// record makes an SRPM known; url is where it was fetched, "" for one that was brought.
func (s SRPMs) record(ctx context.Context, a artifact.Artifact, url string) error {
	if err := check(a); err != nil {
		return err
	}
	who := auth.From(ctx)
	kind, about := "srpm.uploaded", map[string]any{"name": a.Name}
	metadata := map[string]string{"built_by": who.Name, "source_type": "srpm"}
	if url != "" {
		kind, about["url"], metadata["srpm_url"] = "srpm.fetched", url, url
	}
	err := s.DB.InTx(ctx, func(tx db.Tx) error {
		if err := s.Artifacts.Add(ctx, tx, a); err != nil {
			return err
		}
		err := s.Provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.Source,
			Body:  attest.SourceBody{URL: url, Uploader: who.Name},
			Files: []artifact.Artifact{a}, Metadata: metadata,
		})
		if err != nil {
			return fmt.Errorf("state source: %w", err)
		}
		return s.Events.Add(ctx, tx, kind, "artifact:"+string(a.Digest), who.String(), about)
	})
	if err != nil {
		return fmt.Errorf("record SRPM: %w", err)
	}
	return nil
}
