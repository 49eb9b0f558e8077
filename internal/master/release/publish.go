package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/sign"
	"albs/internal/repodata"
)

// errMoved says that the product moved on while a publication was prepared.
var errMoved = errors.New("the product has moved on")

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
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	verb := auth.ReleasePublish
	if row.Kind == Rollback {
		verb = auth.ReleaseRollback
	}
	if err := auth.Can(ctx, verb, row.object()); err != nil {
		return Release{}, err
	}
	for try := 1; ; try++ {
		if row.Kind == Rollback {
			err = r.goBack(ctx, &row)
		} else {
			err = r.publish(ctx, id)
		}
		if !errors.Is(err, errMoved) || try == publishTries {
			break
		}
	}
	if errors.Is(err, errMoved) {
		err = albs.Errorf(albs.Conflict, "%w: try again", err)
	}
	if err != nil {
		return Release{}, fmt.Errorf("publish release %d: %w", id, err)
	}
	return r.Get(ctx, id)
}

func (r *Releases) publish(ctx context.Context, id albs.ReleaseID) error {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return err
	}
	if row.Status != Scheduled && row.Status != Failed {
		return albs.Errorf(albs.Conflict, "it is %s", row.Status)
	}
	if !row.ExpiresAt.After(time.Now()) {
		return albs.Errorf(albs.Conflict, "its plan has expired: plan it again")
	}
	plan, err := r.recompute(ctx, row, row.ExpiresAt.Time)
	if err != nil {
		return err
	}
	if plan.Digest() != row.Digest {
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
	return r.d.InTx(ctx, func(tx db.Tx) error {
		row, err := r.store.get(ctx, tx, id)
		if err != nil {
			return err
		}
		if row.Digest != plan.Digest() {
			return errMoved // planned anew meanwhile
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

// void gives the release the plan that holds now; the approvals of the one before
// count no more, for they are of another digest.
func (r *Releases) void(ctx context.Context, row releaseRow, plan Plan) error {
	reason := "what it comes to has changed since it was planned"
	if len(plan.Refusals) > 0 {
		reason += ": " + plan.Refusals[0].String()
	}
	if err := r.replace(ctx, row, plan, reason); err != nil {
		return err
	}
	return albs.Errorf(albs.Conflict, "%s; look at the new plan and have it approved", reason)
}

// enough returns the approvals of a release's plan, or Conflict if the product
// asks for more.
func (r *Releases) enough(ctx context.Context, q db.Q, row releaseRow, p product.Product) ([]auth.Approval, error) {
	as, err := r.approvals(ctx, q, row, p)
	if err != nil {
		return nil, err
	}
	if len(as) < p.Approvals.Count {
		return nil, albs.Errorf(albs.Conflict, "it has %d of the %d approvals that product %s asks for", len(as), p.Approvals.Count, row.Product)
	}
	return as, nil
}

// next is what a publication shows, all of it durable.
type next struct {
	from         int64 // the serial that is shown now
	repositories []repositoryRow
	documents    map[albs.Digest]artifact.Artifact // the repomd.xml that are to be signed, by digest
	key          *artifact.Artifact                // the key file, if it is a new one
	files        []repodata.TreeFile
}

const extensions = 4 // repositories that are extended at once

// prepare makes the snapshots that a plan comes to. Repositories that it doesn't
// touch keep theirs, sealed as it is.
func (r *Releases) prepare(ctx context.Context, plan Plan) (next, error) {
	n := next{documents: map[albs.Digest]artifact.Artifact{}}
	serial, tree, err := r.current(ctx, plan.Product)
	if err != nil {
		return n, err
	}
	n.from = serial
	shown := map[string]albs.Digest{}
	for _, t := range tree.Repositories {
		shown[t.Path] = t.Snapshot
	}
	n.repositories = make([]repositoryRow, len(plan.Repositories))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(extensions)
	for i, p := range plan.Repositories {
		g.Go(func() (err error) {
			if n.repositories[i], err = r.extend(gctx, plan, p, shown[p.Path]); err != nil {
				return fmt.Errorf("repository %s: %w", p.Path, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return n, err
	}
	for _, row := range n.repositories {
		if row.Sealed != "" || n.documents[row.Repomd].Digest != "" {
			continue
		}
		a, err := r.document(ctx, row.Repomd)
		if err != nil {
			return n, fmt.Errorf("repository %s: %w", row.Path, err)
		}
		n.documents[row.Repomd] = a
	}
	return n, r.keyFile(ctx, plan, tree, &n)
}

// extend makes the next snapshot of one repository.
func (r *Releases) extend(ctx context.Context, plan Plan, p Repository, from albs.Digest) (repositoryRow, error) {
	row := repositoryRow{Path: p.Path}
	if from == "" {
		empty, err := repodata.Empty(ctx, r.repos.Blobs(), time.Now().Unix())
		if err != nil {
			return row, err
		}
		from = empty.Digest()
	}
	var add []artifact.Artifact
	for _, c := range p.Packages {
		if c.Action != Add {
			continue
		}
		a, err := r.artifacts.Get(ctx, r.d, c.Digest)
		if err != nil {
			return row, err
		}
		add = append(add, a)
	}
	snapshot, err := r.repos.ExtendSnapshot(ctx, from, add, nil)
	if err != nil {
		return row, err
	}
	s, err := r.repos.Open(ctx, snapshot)
	if err != nil {
		return row, err
	}
	row.Snapshot, row.Repomd = snapshot, s.Repomd()
	if s.Signature() != "" {
		// Sealed before: by this key, or by one that the product had then.
		asc, err := r.signs.DocumentSignature(ctx, s.Repomd(), plan.Key)
		if err != nil && !errors.Is(err, albs.NotFound) {
			return row, err
		}
		if err == nil && albs.DigestOf(asc) == s.Signature() {
			row.Sealed = snapshot
		}
	}
	return row, nil
}

// document keeps a repomd.xml as an artifact, so that the signer can read it and
// the ledger has a record of it.
func (r *Releases) document(ctx context.Context, d albs.Digest) (artifact.Artifact, error) {
	body, err := r.artifacts.Blobs().Open(ctx, d)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer body.Close()
	return r.artifacts.Save(ctx, body, sign.MaxDocument, "repomd.xml", artifact.Document)
}

const maxKeyFile = 1 << 20

// keyFile puts RPM-GPG-KEY-<product> among the tree's files: the keys that the
// tree before had, for what they signed stays published, and the plan's.
func (r *Releases) keyFile(ctx context.Context, plan Plan, tree repodata.Tree, n *next) error {
	name := "RPM-GPG-KEY-" + plan.Product
	k, err := r.signs.Key(ctx, plan.Key)
	if err != nil {
		return err
	}
	var held string
	for _, f := range tree.Files {
		if f.Path != name {
			n.files = append(n.files, f)
			continue
		}
		body, err := r.artifacts.Open(ctx, f.Digest, 0, -1)
		if err != nil {
			return fmt.Errorf("key file as shown: %w", err)
		}
		b, err := io.ReadAll(io.LimitReader(body, maxKeyFile))
		if err := errors.Join(err, body.Close()); err != nil {
			return fmt.Errorf("key file as shown: %w", err)
		}
		held = string(b)
		if strings.Contains(held, strings.TrimSpace(string(k.Public))) {
			n.files = append(n.files, f)
			return nil
		}
	}
	// The newest first: who imports only one key takes that.
	text := strings.TrimSpace(string(k.Public)) + "\n" + held
	a, err := r.artifacts.Save(ctx, strings.NewReader(text), maxKeyFile, name, artifact.Document)
	if err != nil {
		return fmt.Errorf("key file: %w", err)
	}
	n.key = &a
	n.files = append(n.files, repodata.TreeFile{Path: name, Digest: a.Digest, Size: a.Size})
	return nil
}

// seal states the approval of every repomd.xml that is to be signed, asks for the
// signatures, and returns the tasks that make them.
func (r *Releases) seal(ctx context.Context, tx db.Tx, row releaseRow, plan Plan, n next, approvals []auth.Approval) ([]albs.TaskID, error) {
	var kept []artifact.Artifact
	if n.key != nil {
		kept = append(kept, *n.key)
	}
	var tasks []albs.TaskID
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
		task, err := r.signs.SignDocument(ctx, tx, sign.Document{File: doc.File(), Product: row.Product, Key: plan.Key, Topic: Topic(row.ID)})
		if err != nil {
			return nil, err
		}
		if !slices.Contains(tasks, task) {
			tasks = append(tasks, task)
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

// words are approvals as statements tell them.
func words(as []auth.Approval) []attest.Approval {
	var out []attest.Approval
	for _, a := range as {
		out = append(out, attest.Approval{Person: a.Name, At: a.At.Time})
	}
	return out
}

// start brings a release from its status to in progress with a publish task, if
// the product still shows what n rests on.
func (r *Releases) start(ctx context.Context, tx db.Tx, row releaseRow, n next, after []albs.TaskID) error {
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
	return r.tell(ctx, tx, "release.started", row)
}
