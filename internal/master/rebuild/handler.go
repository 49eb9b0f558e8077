package rebuild

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/rpm"
)

// EventCompared is the kind of the event that a rebuild has a verdict; its topic is the
// build's.
const EventCompared = "rebuild.compared"

// handler has a build done once more.
type handler struct{ *Rebuilds }

// Offer gives out the spec as it was composed from that of the build: nothing of it is of
// today.
func (h handler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	w, err := byTask(ctx, h.DB, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	return t.Spec, nil, h.Builds.There(ctx, h.DB, w.BuildID)
}

// admission is what is known of an attempt whose result is being looked at.
type admission struct {
	row     row
	lease   queue.Lease
	worker  auth.Actor
	logs    []artifact.Artifact
	record  artifact.Artifact
	outcome []outcome
	reason  string
}

// outcome is what came of one package.
type outcome struct {
	packageRow
	was  artifact.Artifact
	left *artifact.Artifact // what is kept of the rebuild, if anything
}

func (h handler) Admit(ctx context.Context, l queue.Lease, out albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	w, err := byTask(ctx, h.DB, l.Token.Task)
	if err != nil {
		return nil, err
	}
	in := admission{row: w, lease: l, worker: auth.From(ctx)}
	if in.logs, err = h.Artifacts.AdmitLogs(ctx, queue.Upload(l.Token), r.Logs); err != nil {
		return nil, err
	}
	switch out {
	case albs.OutcomeFailed:
		return func(ctx context.Context, tx db.Tx) error { return h.keep(ctx, tx, in, in.logs...) }, nil
	case albs.OutcomeOK:
	default:
		return nil, albs.Errorf(albs.Invalid, "the package was built for the arch before, and is said to exclude it now: %.200s", r.Reason)
	}
	if l.Spec.Build == nil {
		return nil, albs.Errorf(albs.Invalid, "what the node was given is no build")
	}
	if r.Build == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and names no package")
	}
	if n := len(r.Build.Packages); n == 0 || n > maxPackagesOfTask {
		return nil, albs.Errorf(albs.Invalid, "the rebuild left %d packages, 1 to %d are compared", n, maxPackagesOfTask)
	}
	if in.record, err = h.Artifacts.Admit(ctx, queue.Upload(l.Token), r.Build.Record, artifact.Record); err != nil {
		return nil, err
	}
	packages, err := packagesOf(ctx, h.DB, w.ID)
	if err != nil {
		return nil, err
	}
	if err := h.rests(ctx, w, *l.Spec.Build, packages); err != nil {
		return nil, err
	}
	if err := h.judge(ctx, &in, packages, r.Build.Packages); err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error { return h.conclude(ctx, tx, in) }, nil
}

// rests holds what is about to be stated, which rows tell, to what was stated of the build
// of each package: rows may have changed since Create looked. Invalid if they don't agree,
// which ends the attempt.
func (h handler) rests(ctx context.Context, w row, spec albs.BuildSpec, packages []packageRow) error {
	other := func(p packageRow, why string) error {
		return albs.Errorf(albs.Invalid, "it isn't the build that %s is stated to come from that was done again: %s", p.Name, why)
	}
	id := invocation(w.OfTask, w.OfAttempt)
	for _, p := range packages {
		body, ok, err := h.builtBy(ctx, p.Digest, id)
		switch {
		case err != nil:
			return err
		case !ok:
			return other(p, "nothing is stated of "+id)
		}
		record, err := agree(spec, body)
		switch {
		case err != nil:
			return other(p, albs.UserMessage(err))
		case record != w.BuiltIn:
			return other(p, "it was built in "+record.Short()+", not "+w.BuiltIn.Short())
		case body.BuildDefinition.InternalParameters.Node != w.BuiltOn:
			return other(p, fmt.Sprintf("node %.80q built it, not %.80q", body.BuildDefinition.InternalParameters.Node, w.BuiltOn))
		}
	}
	return nil
}

// judge finds the verdicts: first whether the two roots were equal, without which nothing
// follows from the packages.
func (h handler) judge(ctx context.Context, in *admission, packages []packageRow, left []albs.File) error {
	was, err := h.inputs(ctx, in.row.BuiltIn)
	if err != nil {
		return err
	}
	now, err := h.inputs(ctx, in.record.Digest)
	if err != nil {
		return err
	}
	differing := was.differing(now)
	for _, p := range packages {
		o := outcome{packageRow: p}
		if o.was, err = h.Artifacts.Get(ctx, h.DB, p.Digest); err != nil {
			return err
		}
		if len(differing) > 0 {
			o.Verdict, o.Differing.V = attest.InputsDiffer, differing
		} else if err := h.compare(ctx, in.lease, &o, left); err != nil {
			return err
		}
		in.outcome = append(in.outcome, o)
	}
	for _, f := range left {
		if len(differing) == 0 && !slices.ContainsFunc(packages, func(p packageRow) bool { return p.Name == f.Name }) && in.reason == "" {
			in.reason = fmt.Sprintf("it left %.120q beside", f.Name)
		}
	}
	return nil
}

// compare compares a package with what the rebuild left of its name.
func (h handler) compare(ctx context.Context, l queue.Lease, o *outcome, left []albs.File) error {
	i := slices.IndexFunc(left, func(f albs.File) bool { return f.Name == o.Name })
	if i < 0 {
		o.Verdict, o.Differing.V = string(rpm.Different), []string{"the rebuild left no " + o.Name}
		return nil
	}
	again, err := h.Artifacts.Admit(ctx, queue.Upload(l.Token), left[i], artifact.RPM)
	if err != nil {
		return err
	}
	a, err := h.Artifacts.Blobs().OpenRange(ctx, o.Digest, 0, -1)
	if err != nil {
		return fmt.Errorf("open %s: %w", o.Name, err)
	}
	defer a.Close()
	b, err := h.Artifacts.Blobs().OpenRange(ctx, again.Digest, 0, -1)
	if err != nil {
		return fmt.Errorf("open the rebuilt %s: %w", o.Name, err)
	}
	defer b.Close()
	c, err := rpm.CompareBuilds(a, b)
	if err != nil {
		return fmt.Errorf("compare %s: %w", o.Name, err)
	}
	o.Rebuilt, o.Verdict, o.Differing.V, o.Ignored.V = again.Digest, string(c.Match), c.Differing, c.Ignored
	if c.Match == rpm.Different {
		// Known by its bytes alone: nothing that looks for packages may find it.
		o.left = &artifact.Artifact{Digest: again.Digest, Size: again.Size, Kind: artifact.Source, Name: again.Name}
	}
	return nil
}

// worst orders verdicts, the best first.
var worst = []string{string(rpm.BitIdentical), string(rpm.PayloadIdentical), attest.InputsDiffer, string(rpm.Different)}

// verdict is the worst of its packages', with the first of what differs.
func (in admission) verdict() (verdict, reason string) {
	for _, o := range in.outcome {
		if slices.Index(worst, o.Verdict) > slices.Index(worst, verdict) {
			verdict, reason = o.Verdict, ""
			switch {
			case len(o.Differing.V) > 0 && verdict == attest.InputsDiffer:
				reason = o.Differing.V[0]
			case len(o.Differing.V) > 0:
				reason = o.Name + ": " + o.Differing.V[0]
			}
		}
	}
	if in.reason != "" && reason == "" {
		reason = in.reason
	}
	return verdict, reason
}

// conclude writes what came of it, and states it of each package.
func (h handler) conclude(ctx context.Context, tx db.Tx, in admission) error {
	files := append(slices.Clone(in.logs), in.record)
	for _, o := range in.outcome {
		if o.left != nil {
			files = append(files, *o.left)
		}
	}
	if err := h.keep(ctx, tx, in, files...); err != nil {
		return err
	}
	w := in.row
	w.EndedAt, w.Node, w.Record = db.Now(), in.worker.Name, in.record.Digest
	w.Verdict, w.Reason = in.verdict()
	if err := end(ctx, tx, w); err != nil {
		return err
	}
	for _, o := range in.outcome {
		if err := judge(ctx, tx, o.packageRow); err != nil {
			return err
		}
		body := attest.RebuildBody{
			Verdict: o.Verdict, Builder: attest.Builder{ID: h.Builds.Builder(in.worker, in.lease.Spec.Build.Root)}, Node: w.Node, BuiltOn: w.BuiltOn,
			InvocationID: invocation(w.TaskID, in.lease.Attempt), Of: invocation(w.OfTask, w.OfAttempt), Record: w.Record, BuiltIn: w.BuiltIn,
			Rebuilt: o.Rebuilt, Differing: o.Differing.V, Ignored: o.Ignored.V, At: w.EndedAt.UTC(),
		}
		err := h.Provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{provenance.SubjectOf(o.was)}, Predicate: attest.Rebuild, Body: body})
		if err != nil {
			return fmt.Errorf("state what came of %s: %w", o.Name, err)
		}
	}
	return h.Events.Add(ctx, tx, EventCompared, build.Topic(w.BuildID), in.worker.String(), map[string]any{
		"rebuild": w.ID, "task": w.TaskID, "verdict": w.Verdict, "reason": w.Reason,
	})
}

// keep keeps files of an attempt, with a record of each in the ledger.
func (h handler) keep(ctx context.Context, tx db.Tx, in admission, files ...artifact.Artifact) error {
	if err := h.Artifacts.Add(ctx, tx, files...); err != nil {
		return err
	}
	for _, f := range files {
		err := addFile(ctx, tx, fileRow{RebuildID: in.row.ID, Attempt: in.lease.Attempt, Name: f.Name, Kind: f.Kind, Digest: f.Digest})
		if err != nil {
			return err
		}
	}
	return h.Provenance.State(ctx, tx, provenance.Fact{Files: files, Metadata: map[string]string{
		"build_id": in.row.BuildID.String(), "build_host": in.worker.Name, "build_arch": string(in.row.Arch), "built_by": in.row.Requester, "rebuild_of": invocation(in.row.OfTask, in.row.OfAttempt),
	}})
}

// Ended writes why a rebuild came to no verdict.
func (h handler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	w, err := byTask(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	w.EndedAt, w.Node, w.Reason = db.Now(), t.Worker, t.Reason
	err = end(ctx, tx, w)
	if errors.Is(err, albs.Conflict) {
		return nil // told before
	}
	if err != nil {
		return err
	}
	return h.Events.Add(ctx, tx, "rebuild.failed", build.Topic(w.BuildID), auth.From(ctx).String(), map[string]any{"rebuild": w.ID, "task": w.TaskID, "reason": w.Reason})
}

func (h handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h handler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	return h.Repos.Contain(ctx, l.Spec.Build.Root.Repos, d)
}
