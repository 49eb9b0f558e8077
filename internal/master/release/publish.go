package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release/plan"
	"albs/internal/master/sign"
)

// errMoved says that what a publication was prepared from holds no more.
var errMoved = albs.Errorf(albs.Conflict, "the product or the plan has changed meanwhile: look at it and try again")

const publishTries = 3

// Publish makes an approved release public, or a failed one again. It computes the
// plan anew: if its digest is another than the approved one, the release gets the
// new plan, its approvals are void and the answer is Conflict. Else the new
// snapshots are made, and in one transaction the release is in progress, the
// approval of each new repomd.xml is stated, and the tasks that sign and publish
// are queued. Of a rollback that failed it is a new attempt.
//
// Errors: Forbidden without release.publish on the team, NotFound, Conflict also
// if approvals are missing or have expired, or another release of the product is
// being published.
func (r *Releases) Publish(ctx context.Context, id albs.ReleaseID) (Release, error) {
	row, err := r.publishable(ctx, id)
	if err != nil {
		return Release{}, err
	}
	if row.Kind == Rollback {
		var was plan.Plan
		if was, err = row.plan(); err == nil {
			err = r.goBack(ctx, &row, was.Why)
		}
	} else {
		for try := 1; try <= publishTries; try++ {
			if err = r.publish(ctx, id); !errors.Is(err, errMoved) {
				break
			}
		}
	}
	if err != nil {
		return Release{}, fmt.Errorf("publish release %d: %w", id, err)
	}
	return r.Get(ctx, id)
}

// publishable returns a release that the actor of ctx may publish or, being a
// rollback, have shown; else it is Forbidden, or NotFound.
func (r *Releases) publishable(ctx context.Context, id albs.ReleaseID) (releaseRow, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return row, err
	}
	verb := auth.ReleasePublish
	if row.Kind == Rollback {
		verb = auth.ReleaseRollback
	}
	return row, auth.Can(ctx, verb, row.object())
}

func (r *Releases) publish(ctx context.Context, id albs.ReleaseID) error {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return err
	}
	if err := row.startable(); err != nil {
		return err
	}
	was, err := row.plan()
	if err != nil {
		return err
	}
	w, err := r.wish(ctx, row, was)
	if err != nil {
		return err
	}
	facts, plan, err := r.effects(ctx, w)
	if err != nil {
		return err
	}
	same := plan.Digest() == row.Digest
	if policy := w.Product.ClosurePolicy(); !same || policy == product.Closed {
		err = r.judge(ctx, facts, &plan)
	} else if was.Closure != nil {
		// It bars nothing, so what people saw when they approved is enough.
		seen := *was.Closure
		seen.Policy = policy
		plan.Judge(seen)
	}
	if err != nil {
		return err
	}
	if !same {
		return r.void(ctx, row, plan)
	}
	if len(plan.Refusals) > 0 {
		return albs.Errorf(albs.Conflict, "its plan is refused: %s", plan.Refusals[0])
	}
	p, err := r.products.Get(ctx, row.Product)
	if err != nil {
		return err
	}
	if _, err := r.enough(ctx, r.d, row, p); err != nil { // before any work
		return err
	}
	n, err := r.prepare(ctx, plan)
	if err != nil {
		return err
	}
	return r.begin(ctx, id, plan, n, p)
}

// begin starts the publication of a release whose plan was found to be the approved
// one. Making n took time in which people may have changed the plan, the product or
// their word, so all three are asked again in the transaction: errMoved if the plan
// or the product p, by whose policy it was made, is another one.
func (r *Releases) begin(ctx context.Context, id albs.ReleaseID, plan plan.Plan, n next, p product.Product) error {
	return r.d.InTx(ctx, func(tx db.Tx) error {
		row, err := r.store.get(ctx, tx, id)
		if err != nil {
			return err
		}
		if row.Digest != plan.Digest() {
			return errMoved // planned anew
		}
		if err := r.products.Holds(ctx, tx, p.Name, plan.Revision); errors.Is(err, albs.Conflict) {
			return errMoved // its policy may be another
		} else if err != nil {
			return err
		}
		approvals, err := r.enough(ctx, tx, row, p)
		if err != nil {
			return err
		}
		if err := row.setPlan(plan); err != nil { // its counts are of now
			return err
		}
		after, err := r.seal(ctx, tx, row, plan, n, approvals)
		if err != nil {
			return err
		}
		return r.start(ctx, tx, row, n, after)
	})
}

// startable returns a Conflict unless the release waits for its publication, and
// people's word for it still holds.
func (row releaseRow) startable() error {
	switch {
	case !row.waits():
		return albs.Errorf(albs.Conflict, "it is %s", row.Status)
	case row.Kind == Publication && !row.ExpiresAt.After(time.Now()):
		return albs.Errorf(albs.Conflict, "its plan has expired: plan it again")
	}
	return nil
}

// void gives the release the plan that holds now; the approvals of the one before
// count no more, for they are of another digest.
func (r *Releases) void(ctx context.Context, row releaseRow, plan plan.Plan) error {
	reason := "what it comes to has changed since it was planned"
	if len(plan.Refusals) > 0 {
		reason += ": " + plan.Refusals[0].String()
	}
	if err := r.replace(ctx, row, plan, reason); err != nil {
		return err
	}
	return albs.Errorf(albs.Conflict, "%s; look at the new plan and have it approved", reason)
}

// seal states the approval of every repomd.xml and other file that is to be signed, asks for the
// signatures, and returns the tasks that make them.
func (r *Releases) seal(ctx context.Context, tx db.Tx, row releaseRow, plan plan.Plan, n next, approvals []auth.Approval) ([]albs.TaskID, error) {
	kept := append([]artifact.Artifact{n.effects}, n.kept...)
	if n.key != nil {
		kept = append(kept, *n.key)
	}
	var unsigned []albs.File
	signed := map[albs.Digest]bool{}
	for _, p := range n.repositories {
		if p.Sealed != "" {
			continue
		}
		doc := n.documents[p.Repomd]
		kept = append(kept, doc)
		if err := r.artifacts.Add(ctx, tx, doc); err != nil {
			return nil, err
		}
		err := r.provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(doc)}, Predicate: attest.ReleaseApproved,
			Body: attest.ReleaseApprovedBody{
				Product: row.Product, Repository: p.Path, Snapshot: p.Snapshot, Release: int64(row.ID), Plan: row.Digest,
				Approvals: words(approvals),
			},
			Files: []artifact.Artifact{doc},
		})
		if err != nil {
			return nil, fmt.Errorf("state approval: %w", err)
		}
		if signed[p.Repomd] {
			continue
		}
		signed[p.Repomd] = true
		unsigned = append(unsigned, doc.File())
	}
	for _, path := range slices.Sorted(maps.Keys(n.signed)) {
		doc := n.signed[path]
		if err := r.artifacts.Add(ctx, tx, doc); err != nil {
			return nil, err
		}
		err := r.provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(doc)}, Predicate: attest.ReleaseApproved,
			Body:  attest.ReleaseApprovedBody{Product: row.Product, File: path, Release: int64(row.ID), Plan: row.Digest, Approvals: words(approvals)},
			Files: []artifact.Artifact{doc},
		})
		if err != nil {
			return nil, fmt.Errorf("state approval of %s: %w", path, err)
		}
		if !signed[doc.Digest] {
			signed[doc.Digest] = true
			unsigned = append(unsigned, doc.File())
		}
	}
	var tasks []albs.TaskID
	if len(unsigned) > 0 {
		var err error
		tasks, err = r.signs.SignDocuments(ctx, tx, sign.Documents{
			Files: unsigned, Product: row.Product, Key: plan.Key, Topic: Topic(row.ID), Effects: n.effects.File(),
		})
		if err != nil {
			return nil, err
		}
	}
	if err := r.artifacts.Add(ctx, tx, kept...); err != nil {
		return nil, err
	}
	if err := r.provenance.State(ctx, tx, provenance.Fact{Files: kept}); err != nil {
		return nil, fmt.Errorf("record documents: %w", err)
	}
	return tasks, nil
}

// start brings a release from its status to in progress with a publish task. It
// is errMoved if the product no longer shows what n rests on, and a Conflict if
// the release isn't startable or another one of the product is in progress.
func (r *Releases) start(ctx context.Context, tx db.Tx, row releaseRow, n next, after []albs.TaskID) error {
	if err := row.startable(); err != nil {
		return err
	}
	other, err := r.store.inProgress(ctx, tx, row.Product)
	if err != nil {
		return err
	}
	if other != 0 {
		return albs.Errorf(albs.Conflict, "release %d of product %s is being published: publish this one afterwards", other, row.Product)
	}
	shown, offered, err := r.store.serials(ctx, tx, row.Product)
	if err != nil {
		return err
	}
	if shown > n.from {
		return errMoved
	}
	files, err := json.Marshal(n.files)
	if err != nil {
		return fmt.Errorf("encode files: %w", err)
	}
	from := row.Status
	// A serial that a releaser was given once may be shown, though its word never
	// came; no other tree will have it.
	row.FromSerial, row.Serial = n.from, max(n.from, offered)+1
	row.Status, row.Reason, row.Tree, row.Files, row.ChangedAt = InProgress, "", "", string(files), db.Now()
	row.TaskID, err = r.queue.Enqueue(ctx, tx, queue.NewTask{
		Kind: albs.KindPublish, Lane: "product:" + row.Product, Topic: Topic(row.ID), After: after,
	})
	if err != nil {
		return err
	}
	if err := r.store.setRepositories(ctx, tx, row.ID, n.repositories); err != nil {
		return err
	}
	if err := r.store.update(ctx, tx, row, from); err != nil {
		return err
	}
	if err := r.started(ctx, tx, row); err != nil {
		return err
	}
	return r.tell(ctx, tx, "release.started", row)
}
