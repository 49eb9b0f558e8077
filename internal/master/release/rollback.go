package release

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
)

// rollback has a product, which shows the serial now, show again what it showed at
// serial to, or before that if to is 0: under a new serial, byte for byte the metadata,
// keys and packages of then. No approval is asked for, since all of it was public, and
// nothing is signed. Once it is public, releases whose packages are not in that tree
// are reverted. why stands in its plan. The release returned is in progress.
//
// Errors: Forbidden without release.rollback on the team, NotFound for an unknown
// serial, Invalid for one that is not an earlier one, Conflict if nothing was shown
// before, the serial is beyond the product's retention, the product shows another one by
// now, or a release of it is being published.
func (r *Releases) rollback(ctx context.Context, p product.Product, now, to int64, why string) (Release, error) {
	if err := auth.Can(ctx, auth.ReleaseRollback, p.Object()); err != nil {
		return Release{}, err
	}
	if len(why) > maxWhy || strings.ContainsFunc(why, func(c rune) bool { return c < ' ' || c == 0x7f }) || !utf8.ValidString(why) {
		return Release{}, albs.Errorf(albs.Invalid, "the reason of a rollback is one line of at most %d bytes", maxWhy)
	}
	if to == 0 {
		before, err := r.repos.Trees(ctx, p.Name, now, 1)
		if err != nil {
			return Release{}, err
		}
		if now == 0 || len(before) == 0 {
			return Release{}, albs.Errorf(albs.Conflict, "product %s showed nothing before: there is nothing to go back to", p.Name)
		}
		to = before[0].Serial
	}
	if to < 0 || to >= now {
		return Release{}, albs.Errorf(albs.Invalid, "product %s shows serial %d: name an earlier one to go back to", p.Name, now)
	}
	if _, err := r.repos.TreeAt(ctx, p.Name, to); err != nil {
		return Release{}, err
	}
	actor, at := auth.From(ctx), db.Now()
	row := releaseRow{
		Kind: Rollback, Product: p.Name, Team: p.Team, PlannerID: actor.User, Planner: actor.Name, Status: Scheduled,
		FromSerial: now, BackTo: to, Files: "[]", CreatedAt: at, ChangedAt: at,
	}
	if err := r.goBack(ctx, &row, why); err != nil {
		return Release{}, fmt.Errorf("roll product %s back: %w", p.Name, err)
	}
	return r.Get(ctx, row.ID)
}

// maxWhy is how many bytes the reason of a rollback may have.
const maxWhy = 500

// Rollback has a product show again what it showed at serial to, an earlier one than
// from, which it shows now. Whatever was released since is reverted with it. why is one
// line for people, and may be empty. Errors: those of rollback; Invalid for a serial
// below 1.
func (r *Releases) Rollback(ctx context.Context, name string, from, to int64, why string) (Release, error) {
	if to < 1 {
		return Release{}, albs.Errorf(albs.Invalid, "serial %d: a product's serials begin with 1", to)
	}
	p, err := r.products.Get(ctx, name)
	if err != nil {
		return Release{}, err
	}
	return r.rollback(ctx, p, from, to, why)
}

// Revert rolls back the release that a product shows, to what it showed before.
// Errors: those of rollback; Conflict also if the release is not public, or others
// were published since, which would go with it.
func (r *Releases) Revert(ctx context.Context, id albs.ReleaseID) (Release, error) {
	row, err := r.store.get(ctx, r.d, id)
	if err != nil {
		return Release{}, err
	}
	if err := auth.Can(ctx, auth.ReleaseRollback, row.object()); err != nil {
		return Release{}, err
	}
	if row.Status != Completed {
		return Release{}, albs.Errorf(albs.Conflict, "release %d is %s: there is nothing to revert", id, row.Status)
	}
	now, _, err := r.gather.Current(ctx, row.Product)
	if err != nil {
		return Release{}, err
	}
	if now != row.Serial {
		return Release{}, albs.Errorf(albs.Conflict, "product %s shows serial %d, release %d is serial %d: only what is shown can be reverted, for what was published since would go with it; if you mean that, roll the product back to a serial",
			row.Product, now, id, row.Serial)
	}
	p, err := r.products.Get(ctx, row.Product)
	if err != nil {
		return Release{}, err
	}
	return r.rollback(ctx, p, now, 0, "")
}

// goBack starts a rollback from the serial that it was asked to leave; a new one,
// without an id, is added first. It is a Conflict if the product shows another
// serial by now: what was released since was not meant.
func (r *Releases) goBack(ctx context.Context, row *releaseRow, why string) error {
	if err := row.startable(); err != nil {
		return err
	}
	t, err := r.repos.TreeAt(ctx, row.Product, row.BackTo)
	if err != nil {
		return err
	}
	then, err := r.repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return err
	}
	serial, now, err := r.gather.Current(ctx, row.Product)
	if err != nil {
		return err
	}
	if serial != row.FromSerial {
		return albs.Errorf(albs.Conflict, "product %s shows serial %d by now and not %d: if you mean to leave that too, roll the product back anew",
			row.Product, serial, row.FromSerial)
	}
	n := next{from: serial, files: then.Files}
	for _, p := range then.Repositories {
		s, err := r.repos.Open(ctx, p.Snapshot)
		if err != nil {
			return fmt.Errorf("repository %s: %w", p.Path, err)
		}
		n.repositories = append(n.repositories, repositoryRow{Path: p.Path, Snapshot: p.Snapshot, Repomd: s.Repomd(), Sealed: p.Snapshot})
	}
	plan, err := r.compare(ctx, row.Product, now, then)
	if err != nil {
		return err
	}
	plan.Serial, plan.Expires, plan.Why = serial, time.Now().UTC().Truncate(time.Second), why
	var id albs.ReleaseID
	err = r.d.InTx(ctx, func(tx db.Tx) error {
		attempt := *row
		if err := attempt.setPlan(plan); err != nil {
			return err
		}
		if attempt.ID == 0 {
			if err := r.store.add(ctx, tx, &attempt, nil); err != nil {
				return err
			}
		}
		if err := r.start(ctx, tx, attempt, n, nil); err != nil {
			return err
		}
		id = attempt.ID
		return nil
	})
	if err != nil {
		return err
	}
	row.ID = id
	return nil
}

// compare returns the plan that turns one tree into another, for people to see.
func (r *Releases) compare(ctx context.Context, name string, now, then repodata.Tree) (plan.Plan, error) {
	p, err := r.products.Get(ctx, name)
	if err != nil {
		return plan.Plan{}, err
	}
	known := make(map[string]product.Repository, len(p.Repositories))
	for _, d := range p.Repositories {
		known[d.Path] = d
	}
	out := plan.Plan{Product: name, Revision: p.Revision, Gate: p.Gate.Tests}
	shown := make(map[string]albs.Digest, len(now.Repositories))
	for _, t := range now.Repositories {
		shown[t.Path] = t.Snapshot
	}
	for _, t := range then.Repositories {
		d := known[t.Path]
		line := plan.Repository{Path: t.Path, Platform: d.Platform, Arch: d.Arch, Kind: d.Kind}
		after, err := r.repos.Open(ctx, t.Snapshot)
		if err != nil {
			return out, fmt.Errorf("repository %s: %w", t.Path, err)
		}
		line.After = after.Len()
		from, there := shown[t.Path]
		delete(shown, t.Path)
		var was []repodata.Entry
		var records []repodata.Record
		by := repodata.Gzip
		if there {
			before, err := r.repos.Open(ctx, from)
			if err != nil {
				return out, fmt.Errorf("repository %s: %w", t.Path, err)
			}
			line.Before, records, by = before.Len(), before.Records(), before.Compression()
			if from != t.Snapshot {
				if was, err = r.gather.Entries(ctx, before); err != nil {
					return out, fmt.Errorf("repository %s: %w", t.Path, err)
				}
			}
		}
		line.New, line.Records = !there, plan.DiffRecords(records, after.Records())
		if after.Compression() != by {
			line.Metadata = after.Compression()
		}
		if from != t.Snapshot {
			is, err := r.gather.Entries(ctx, after)
			if err != nil {
				return out, fmt.Errorf("repository %s: %w", t.Path, err)
			}
			line.Packages = plan.Diff(was, is)
		}
		out.Repositories = append(out.Repositories, line)
	}
	for path := range shown {
		out.Dropped = append(out.Dropped, path)
	}
	slices.Sort(out.Dropped)
	out.Files = plan.DiffTrees(now.Files, then.Files)
	return out, nil
}
