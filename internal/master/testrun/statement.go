package testrun

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
)

// state records the attempt's logs and states of each package that was tested
// what came of it.
func (h handler) state(ctx context.Context, tx db.Tx, in admission) error {
	metadata := map[string]string{
		"build_id": in.run.BuildID.String(), "build_arch": string(in.run.Arch), "test_host": in.worker.Name, "test_task_id": in.run.TaskID.String(),
	}
	if len(in.logs) > 0 {
		if err := h.provenance.State(ctx, tx, provenance.Fact{Files: in.logs, Metadata: metadata}); err != nil {
			return fmt.Errorf("record test logs: %w", err)
		}
	}
	for _, p := range in.packages {
		body := attest.TestBody{
			Result: attest.Failed, Configuration: in.configuration(), PassedTests: p.passed, WarnedTests: p.warned, FailedTests: p.failed,
		}
		switch {
		case p.verdict.State == Passed:
			body.Result = attest.Passed
		case len(p.failed) == 0 && len(p.warned) > 0:
			body.Result = attest.Warned
		}
		err := h.provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(p.Artifact)}, Predicate: attest.Test, Body: body,
		})
		if err != nil {
			return fmt.Errorf("state test: %w", err)
		}
	}
	return nil
}

// configuration names what the tests rested on: the sort of root, how programs were run
// there if not as on most machines, and by digest its repositories and the logs.
func (in admission) configuration() []attest.Descriptor {
	root := in.lease.Spec.Test.Root
	out := []attest.Descriptor{attest.TestRoot(root.Platform, root.Arch)}
	if e := in.lease.Spec.Test.Engine; e != "" && e != albs.EngineNative {
		out = append(out, attest.TestEngine(e))
	}
	if in.worker.Allows(albs.EmulatedLabel(root.Arch)) {
		out = append(out, attest.TestEmulated(root.Arch))
	}
	for _, r := range root.Repos {
		d := attest.Descriptor{Name: "repository:" + r.ID, URI: r.Mirror, Digest: map[string]string{attest.SHA256: string(r.Repomd)}}
		if r.Snapshot != "" {
			d.Digest[attest.SHA256] = string(r.Snapshot)
		}
		out = append(out, d)
	}
	for _, l := range in.logs {
		out = append(out, attest.Descriptor{Name: "log:" + l.Name, Digest: map[string]string{attest.SHA256: string(l.Digest)}})
	}
	return out
}
