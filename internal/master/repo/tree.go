package repo

import (
	"context"
	"fmt"
	"io"
	"math"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/repodata"
)

// Tree is one serial of a product.
type Tree struct {
	Product string      `db:"product" json:"product"`
	Serial  int64       `db:"serial" json:"serial"`
	Digest  albs.Digest `db:"digest" json:"digest"` // of the document, a repodata.Tree
	At      db.Time     `db:"at" json:"at"`
	Current bool        `db:"current" json:"current"` // it is what the product shows
	Retired db.Time     `db:"retired_at" json:"-"`    // since when it is beyond the product's retention; zero if it isn't
}

// TreeOf returns the tree that the product shows. It is NotFound, with serial 0,
// if nothing was ever published.
func (r *Repos) TreeOf(ctx context.Context, product string) (Tree, error) {
	return currentTree(ctx, r.d, product)
}

// TreeAt returns what the product showed at a serial, or NotFound. It is a Conflict if
// that is beyond the product's retention.
func (r *Repos) TreeAt(ctx context.Context, product string, serial int64) (Tree, error) {
	t, err := treeAt(ctx, r.d, product, serial)
	return r.kept(ctx, t, err)
}

// TreeShown returns what the product showed at a time, or NotFound if it showed nothing
// yet. It is a Conflict if that is beyond the product's retention.
func (r *Repos) TreeShown(ctx context.Context, product string, at time.Time) (Tree, error) {
	t, err := treeShown(ctx, r.d, product, db.At(at))
	return r.kept(ctx, t, err)
}

// kept refuses a tree that may be there no more.
func (r *Repos) kept(ctx context.Context, t Tree, err error) (Tree, error) {
	if err != nil || t.Retired.IsZero() {
		return t, err
	}
	oldest, err := oldestTree(ctx, r.d, t.Product)
	if err != nil {
		return Tree{}, fmt.Errorf("read trees of product %s: %w", t.Product, err)
	}
	return Tree{}, albs.Errorf(albs.Conflict, "what product %s showed as serial %d is beyond its retention since %s and no longer kept: the oldest serial that is there is %d",
		t.Product, t.Serial, t.Retired.Format(time.DateOnly), oldest)
}

// Retire gives up the trees of a product below a serial, and returns their serials: nobody
// can ask for them or go back to them from then on, and once the time of grace is over
// nothing is kept for them. The tree that is shown stays.
func (r *Repos) Retire(ctx context.Context, tx db.Tx, product string, below int64) ([]int64, error) {
	serials, err := retire(ctx, tx, product, below, db.Now())
	if err != nil {
		return nil, fmt.Errorf("retire trees of product %s: %w", product, err)
	}
	return serials, nil
}

// Retired returns, by product, the highest serial that was retired before a time.
func (r *Repos) Retired(ctx context.Context, before db.Time) (map[string]int64, error) {
	serials, err := retired(ctx, r.d, before)
	if err != nil {
		return nil, fmt.Errorf("read retired trees: %w", err)
	}
	return serials, nil
}

// MaxPage is the most trees that Trees returns at once.
const MaxPage = 200

// Trees returns up to limit trees of a product (MaxPage if limit is not between 1
// and that), newest first, of those below the serial before; zero means from the
// newest. Those beyond the product's retention are left out.
func (r *Repos) Trees(ctx context.Context, product string, before int64, limit int) ([]Tree, error) {
	if limit < 1 || limit > MaxPage {
		limit = MaxPage
	}
	if before <= 0 {
		before = math.MaxInt64
	}
	trees, err := trees(ctx, r.d, product, before, limit)
	if err != nil {
		return nil, fmt.Errorf("list trees of product %s: %w", product, err)
	}
	return trees, nil
}

// SaveTree keeps the document of a tree and returns its name, by which a publish
// task asks for it. It is durable on return and shown by nobody yet. A tree that
// repodata.ParseTree would refuse is Invalid.
func (r *Repos) SaveTree(ctx context.Context, t repodata.Tree) (albs.Digest, error) {
	b := t.Encode()
	if _, err := repodata.ParseTree(b); err != nil {
		return "", fmt.Errorf("save tree %d of product %s: %w", t.Serial, t.Product, err)
	}
	d, err := r.document(ctx, "tree.json", b, repodata.MaxTreeBytes)
	if err != nil {
		return "", fmt.Errorf("save tree %d of product %s: %w", t.Serial, t.Product, err)
	}
	return d, nil
}

// ReadTree returns the tree of a document, or NotFound.
func (r *Repos) ReadTree(ctx context.Context, d albs.Digest) (repodata.Tree, error) {
	body, err := r.Blobs().Open(ctx, d)
	if err != nil {
		return repodata.Tree{}, fmt.Errorf("open tree %s: %w", d.Short(), err)
	}
	defer body.Close()
	b, err := io.ReadAll(io.LimitReader(body, repodata.MaxTreeBytes+1))
	if err != nil {
		return repodata.Tree{}, fmt.Errorf("read tree %s: %w", d.Short(), err)
	}
	return repodata.ParseTree(b)
}

// AdvanceTree lets the product show t, whose document is d, in place of the tree
// with serial from (0 for none). t has a higher serial than from: the next one, or
// a later one if a releaser was given those between and never said what became of
// them. It is a Conflict, and nothing changes, if the product shows another serial.
func (r *Repos) AdvanceTree(ctx context.Context, tx db.Tx, product string, from int64, t repodata.Tree, d albs.Digest) error {
	if t.Product != product || t.Serial <= from || albs.DigestOf(t.Encode()) != d {
		return albs.Errorf(albs.Invalid, "tree %s is no serial of product %s above %d", d.Short(), product, from)
	}
	next := Tree{Product: product, Serial: t.Serial, Digest: d, At: db.Now(), Current: true}
	if err := replaceTree(ctx, tx, from, next); err != nil {
		return err
	}
	return r.events.Add(ctx, tx, "tree.advanced", "product:"+product, auth.From(ctx).String(),
		map[string]any{"serial": t.Serial, "digest": d})
}
