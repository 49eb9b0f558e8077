package release

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
)

// handler has a release's tree shown by a releaser.
type handler struct{ *Releases }

// Offer seals the snapshots with their signatures and names the tree. What was
// sealed once is kept, so that every attempt is to show the same tree.
func (h handler) Offer(ctx context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	row, err := h.store.byTask(ctx, h.d, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	if row.Status != InProgress {
		return albs.Spec{}, nil, albs.Errorf(albs.Invalid, "release %d is %s", row.ID, row.Status)
	}
	from, _, err := h.gather.Current(ctx, row.Product)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	if from != row.FromSerial {
		return albs.Spec{}, nil, albs.Errorf(albs.Invalid, "product %s shows serial %d and not %d any more: publish the release again", row.Product, from, row.FromSerial)
	}
	if row.Tree == "" {
		if row, err = h.compose(ctx, row); err != nil {
			return albs.Spec{}, nil, err
		}
	}
	spec, err := h.spec(ctx, row)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	return albs.Spec{Publish: &spec}, nil, nil
}

// spec returns what a releaser is to show, and to state of what a publication adds.
func (h handler) spec(ctx context.Context, row releaseRow) (albs.PublishSpec, error) {
	spec := albs.PublishSpec{Product: row.Product, Tree: row.Tree, Serial: row.Serial}
	if row.Kind == Rollback {
		return spec, nil
	}
	what, err := row.plan()
	if err != nil || what.Added() == 0 {
		return spec, err
	}
	effects, err := h.artifacts.Get(ctx, h.d, row.Digest)
	if err != nil {
		return spec, fmt.Errorf("effects of release %d: %w", row.ID, err)
	}
	p, err := h.products.Get(ctx, row.Product)
	if err != nil {
		return spec, err
	}
	approvals, err := h.approvals(ctx, h.d, row, p)
	if err != nil {
		return spec, err
	}
	spec.Release, spec.Effects, spec.Approvals = row.ID, effects.File(), words(approvals)
	return spec, nil
}

// compose makes the tree of a release whose signatures are there.
func (h handler) compose(ctx context.Context, row releaseRow) (releaseRow, error) {
	plan, err := row.plan()
	if err != nil {
		return row, err
	}
	tree := repodata.Tree{Product: row.Product, Serial: row.Serial}
	if err := json.Unmarshal([]byte(row.Files), &tree.Files); err != nil {
		return row, fmt.Errorf("files of release %d: %w", row.ID, err)
	}
	asc, kept, err := h.signatures(ctx, plan)
	if err != nil {
		return row, err
	}
	tree.Files = append(tree.Files, asc...)
	repos, err := h.store.repositories(ctx, h.d, row.ID)
	if err != nil {
		return row, err
	}
	for i, p := range repos {
		if p.Sealed == "" {
			asc, err := h.signs.DocumentSignature(ctx, p.Repomd, plan.Key)
			if err != nil {
				return row, fmt.Errorf("signature of %s: %w", p.Path, err)
			}
			if repos[i].Sealed, err = h.repos.Seal(ctx, p.Snapshot, asc); err != nil {
				return row, fmt.Errorf("seal %s: %w", p.Path, err)
			}
		}
		tree.Repositories = append(tree.Repositories, repodata.TreeRepo{Path: p.Path, Snapshot: repos[i].Sealed})
	}
	if row.Tree, err = h.repos.SaveTree(ctx, tree); err != nil {
		return row, err
	}
	// From here on the tree names its files. Those of advisories are thousands, and a second
	// list of them in every release that ever was would be most of the database.
	row.Files = "[]"
	row.Offered, row.ChangedAt = row.Serial, db.Now()
	err = h.d.InTx(ctx, func(tx db.Tx) error {
		now, err := h.store.get(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if now.TaskID != row.TaskID {
			return albs.Errorf(albs.Invalid, "release %d is published by another task", row.ID)
		}
		if err := h.store.setRepositories(ctx, tx, row.ID, repos); err != nil {
			return err
		}
		doc, err := h.artifacts.Get(ctx, tx, row.Tree)
		if err != nil {
			return err
		}
		if err := h.artifacts.Add(ctx, tx, kept...); err != nil {
			return err
		}
		// Before a releaser shows it: a rollback adds nothing of which a statement would tell.
		if err := h.provenance.State(ctx, tx, provenance.Fact{Files: append(kept, doc)}); err != nil {
			return fmt.Errorf("record tree: %w", err)
		}
		return h.store.update(ctx, tx, row, InProgress)
	})
	return row, err
}

func (h handler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	switch {
	case outcome == albs.OutcomeExcluded:
		return nil, albs.Errorf(albs.Invalid, "a releaser excludes nothing")
	case outcome != albs.OutcomeOK:
		return nil, nil
	case r.Publish == nil:
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and doesn't say what is shown")
	case r.Publish.Serial != l.Spec.Publish.Serial || r.Publish.Tree != l.Spec.Publish.Tree:
		return nil, albs.Errorf(albs.Invalid, "the attempt shows serial %d, tree %s; it was to show serial %d, tree %s",
			r.Publish.Serial, r.Publish.Tree.Short(), l.Spec.Publish.Serial, l.Spec.Publish.Tree.Short())
	}
	row, err := h.store.byTask(ctx, h.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	plan, err := row.plan()
	if err != nil {
		return nil, err
	}
	tree, err := h.repos.ReadTree(ctx, l.Spec.Publish.Tree)
	if err != nil {
		return nil, err
	}
	gone, err := h.gone(ctx, row, tree)
	if err != nil {
		return nil, err
	}
	said, err := h.provenance.Uploaded(ctx, queue.Upload(l.Token), r.Publish.Statements)
	if err != nil {
		return nil, err
	}
	write, err := h.turned(ctx, row, plan, tree)
	if err != nil {
		return nil, err
	}
	return func(ctx context.Context, tx db.Tx) error {
		row, err := h.store.get(ctx, tx, row.ID)
		if err != nil {
			return err
		}
		if row.Tree != l.Spec.Publish.Tree || row.TaskID != l.Token.Task {
			return albs.Errorf(albs.Invalid, "release %d is published by another task", row.ID)
		}
		if err := h.repos.AdvanceTree(ctx, tx, row.Product, row.FromSerial, tree, row.Tree); err != nil {
			return err
		}
		tx.AfterCommit(func() { h.reach.forget(row.Tree) })
		row.Status, row.Reason, row.ChangedAt = Completed, behind(r.Reason), db.Now()
		if err := h.store.update(ctx, tx, row, InProgress); err != nil {
			return err
		}
		if err := h.store.addWithdrawn(ctx, tx, row.ID, gone); err != nil {
			return err
		}
		if row.Kind == Rollback {
			err = h.reverted(ctx, tx, row)
		} else {
			err = h.released(ctx, tx, row, plan, *l.Spec.Publish, said)
		}
		if err != nil {
			return err
		}
		if err := write(ctx, tx); err != nil {
			return err
		}
		return h.tell(ctx, tx, EventPublished, row)
	}, nil
}

// gone returns what readers find no more once a release shows its tree.
func (h handler) gone(ctx context.Context, row releaseRow, tree repodata.Tree) ([]releasedRow, error) {
	if row.FromSerial == 0 {
		return nil, nil
	}
	t, err := h.repos.TreeAt(ctx, row.Product, row.FromSerial)
	if err != nil {
		return nil, err
	}
	from, err := h.repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return nil, err
	}
	return h.withdrawing(ctx, from, tree)
}

// maxBehind bounds what a releaser tells of further places, in bytes.
const maxBehind = 2000

// behind is what is said of a release that further places didn't show when it was
// published. The releaser brings them along by itself, so it is no failure.
func behind(said string) string {
	if said == "" {
		return ""
	}
	said = strings.Map(func(c rune) rune {
		if c < ' ' || c == utf8.RuneError {
			return ' '
		}
		return c
	}, said)
	if len(said) > maxBehind {
		said = strings.ToValidUTF8(said[:maxBehind], "") + "…"
	}
	return said + " (the releaser goes on trying, and its log says when it is done)"
}

// EventPublished is the kind of the event that a product shows a new serial, by a
// release or a rollback; its data is an Event, its topic the release's.
const EventPublished = "release.published"

// EventReverted is the kind of the event that a rollback took a release back; its data and
// topic are those of an EventPublished.
const EventReverted = "release.reverted"

// released notes and states of every package that a release added where it is now, in the
// words of the releaser, which must be those that spec asked for.
func (h handler) released(ctx context.Context, tx db.Tx, row releaseRow, what plan.Plan, spec albs.PublishSpec, s provenance.Uploaded) error {
	var rows []releasedRow
	paths, waivers := map[albs.Digest][]string{}, map[albs.Digest][]albs.Waived{}
	for _, in := range what.Repositories {
		for _, c := range in.Packages {
			if c.Action == plan.Add {
				rows = append(rows, releasedRow{in.Path, c.File, c.Digest})
				if paths[c.Digest] == nil {
					waivers[c.Digest] = c.Waivers
				}
				paths[c.Digest] = append(paths[c.Digest], in.Path)
			}
		}
	}
	if err := h.store.addReleased(ctx, tx, row.Product, row.ID, rows); err != nil {
		return err
	}
	if len(paths) != len(s.Envelopes) {
		return albs.Errorf(albs.Invalid, "the releaser states something of %d packages, and %d were released", len(s.Envelopes), len(paths))
	}
	for _, c := range rows {
		in := paths[c.Digest]
		if in == nil {
			continue // stated with its first repository
		}
		delete(paths, c.Digest)
		a, err := h.artifacts.Get(ctx, tx, c.Digest)
		if err != nil {
			return err
		}
		err = h.provenance.State(ctx, tx, provenance.Fact{
			Subjects: []attest.Subject{provenance.SubjectOf(a)}, Predicate: attest.Release,
			Body: attest.ReleaseBody{
				Product: row.Product, Repositories: in, Release: int64(row.ID), Serial: row.Serial, Tree: row.Tree, Plan: row.Digest,
				Approvals: spec.Approvals, Waivers: waivers[c.Digest],
			},
			Envelopes: s.Envelopes, Key: s.Key,
		})
		if err != nil {
			return fmt.Errorf("state release: %w", err)
		}
	}
	return nil
}

// reverted gives every release of a product the status that it has by the tree
// that a rollback brought back.
func (h handler) reverted(ctx context.Context, tx db.Tx, row releaseRow) error {
	all, err := h.store.published(ctx, tx, row.Product)
	if err != nil {
		return err
	}
	var made []plan.Made
	for _, p := range all {
		made = append(made, plan.Made{ID: p.ID, Serial: p.Serial, From: p.FromSerial, BackTo: p.BackTo})
	}
	in := plan.Included(made, row.Serial)
	for _, p := range all {
		to := Reverted
		if in[p.ID] {
			to = Completed
		}
		if p.Kind != Publication || p.Status == to {
			continue
		}
		p.Status, p.Reason = to, ""
		if err := h.store.setStatus(ctx, tx, p.ID, to, row.ChangedAt); err != nil {
			return err
		}
		kind := EventReverted
		if to == Completed {
			kind = EventPublished
		}
		if err := h.tell(ctx, tx, kind, p); err != nil {
			return err
		}
	}
	return nil
}

// Ended lets the release be published again. Once a releaser was given the tree, it is not
// known whether it moved the link before it was lost or failed: it states what it added
// only then. The next publication has a higher serial in any case.
func (h handler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	row, err := h.store.byTask(ctx, tx, t.ID)
	if errors.Is(err, albs.NotFound) {
		return nil // published by a later task
	}
	if err != nil {
		return err
	}
	if row.Status != InProgress {
		return nil
	}
	tx.AfterCommit(func() { h.reach.forget(row.Tree) })
	row.Status, row.Reason, row.ChangedAt = Failed, t.Reason, db.Now()
	if row.Tree != "" {
		row.Reason += fmt.Sprintf(" (the public place may show serial %d nevertheless; publish again to have it settled)", row.Serial)
	}
	if err := h.store.update(ctx, tx, row, InProgress); err != nil {
		return err
	}
	if err := h.failed(ctx, tx, row); err != nil {
		return err
	}
	return h.tell(ctx, tx, "release.failed", row)
}

// InVain ends a publication whose metadata can't be signed: it is asked for anew, not
// retried, and holds its product up until then.
func (h handler) InVain(ctx context.Context, tx db.Tx, t queue.Task) error {
	err := h.queue.Cancel(ctx, tx, t.ID, t.Reason)
	if errors.Is(err, albs.Conflict) {
		return nil // it has ended by the same cause
	}
	return err
}

// Reads allows what the tree is made of: its snapshots and its files.
func (h handler) Reads(ctx context.Context, l queue.Lease, d albs.Digest) (bool, error) {
	may, err := h.reachOf(ctx, l.Spec.Publish.Tree)
	return err == nil && may.has(d), err
}
