// Package retention carries out what products say of their past: which of the serials
// that they have shown are kept. Those that aren't are given up in the master, where the
// collection of blobs then finds what only they needed, and a releaser is asked to remove
// them from the public place.
//
// It owns the order of these steps and the tasks of the kind prune, and no table. Which
// serials stay is product's rule; what of the public place may go, and when, is the
// releaser's, who sees what is there.
package retention

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
)

// Parts are the modules that retention rests on.
type Parts struct {
	DB       *db.DB
	Queue    *queue.Queue
	Products *product.Products
	Repos    *repo.Repos
	Releases Releases
}

// Releases give up what a product showed below a serial; release.Releases do.
type Releases interface {
	Retire(ctx context.Context, tx db.Tx, product string, below int64) ([]int64, error)
}

// Retention gives up what products don't keep. It may be used concurrently.
type Retention struct{ Parts }

// New returns the retention of a master and registers the handler of the kind prune.
func New(p Parts) *Retention {
	r := &Retention{p}
	p.Queue.Register(albs.KindPrune, handler{})
	return r
}

// Retired are the serials of a product that were given up.
type Retired struct {
	Product string  `json:"product"`
	Serials []int64 `json:"serials"`
	Oldest  int64   `json:"oldest" doc:"The oldest serial that is kept"`
}

// Apply gives up what is beyond the retention of each product as of now, asks for it to
// be removed from the public place, and returns what was given up; of a dry run, what
// would be. Each product is a transaction of its own, and what was done before an error
// stays done.
func (r *Retention) Apply(ctx context.Context, now time.Time, dryRun bool) ([]Retired, error) {
	out := []Retired{}
	products, err := r.Products.All(ctx)
	if err != nil {
		return out, err
	}
	for _, p := range products {
		if !p.Retention.Limited() {
			continue
		}
		gone, err := r.apply(ctx, p, now, dryRun)
		if err != nil {
			return out, fmt.Errorf("product %s: %w", p.Name, err)
		}
		if len(gone.Serials) > 0 {
			out = append(out, gone)
		}
	}
	return out, nil
}

func (r *Retention) apply(ctx context.Context, p product.Product, now time.Time, dryRun bool) (Retired, error) {
	out := Retired{Product: p.Name}
	shown, err := r.shown(ctx, p.Name)
	if err != nil {
		return out, err
	}
	out.Oldest = p.Retention.Oldest(shown, now)
	if dryRun {
		for _, s := range shown {
			if s.Serial < out.Oldest {
				out.Serials = append(out.Serials, s.Serial)
			}
		}
		slices.Sort(out.Serials)
		return out, nil
	}
	past, err := r.Repos.Retired(ctx, db.Now())
	if err != nil {
		return out, err
	}
	if len(shown) == 0 || past[p.Name] == 0 && shown[len(shown)-1].Serial >= out.Oldest {
		return out, nil // neither is there anything to give up, nor was there ever
	}
	waits, err := r.pruning(ctx, p.Name)
	if err != nil {
		return out, err
	}
	err = r.DB.InTx(ctx, func(tx db.Tx) (err error) {
		if out.Serials, err = r.Releases.Retire(ctx, tx, p.Name, out.Oldest); err != nil || waits {
			return err
		}
		_, err = r.Queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindPrune, Lane: "product:" + p.Name, Topic: Topic(p.Name),
			Spec: albs.Spec{Prune: &albs.PruneSpec{Product: p.Name, Oldest: out.Oldest, Packages: p.Retention.Packages == product.KeptPackages}},
		})
		return err
	})
	return out, err
}

// shown returns the serials of a product that are kept by now, the newest first.
func (r *Retention) shown(ctx context.Context, name string) (kept []product.Showing, err error) {
	for before := int64(0); ; {
		trees, err := r.Repos.Trees(ctx, name, before, repo.MaxPage)
		if err != nil {
			return nil, err
		}
		for _, t := range trees {
			kept = append(kept, product.Showing{Serial: t.Serial, Since: t.At.Time})
			before = t.Serial
		}
		if len(trees) < repo.MaxPage {
			return kept, nil
		}
	}
}

// Topic is the event topic of a product's pruning.
func Topic(product string) string { return "prune:" + product }

// pruning reports whether a task waits that prunes the product's public place. By the
// time that it is done, the next one has its turn.
func (r *Retention) pruning(ctx context.Context, name string) (bool, error) {
	waiting, err := r.Queue.List(ctx, queue.Filter{
		Kind: albs.KindPrune, Topic: Topic(name), Limit: 1,
		States: []albs.TaskState{albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping},
	})
	return len(waiting) > 0, err
}

// handler has public places pruned. What came of it is in the task's result and log;
// what couldn't be removed is asked for again with the next collection.
type handler struct{}

func (handler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (handler) Admit(_ context.Context, _ queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	switch {
	case outcome == albs.OutcomeExcluded:
		return nil, albs.Errorf(albs.Invalid, "a releaser excludes nothing")
	case outcome == albs.OutcomeOK && r.Prune == nil:
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and doesn't say what was removed")
	}
	return nil, nil
}

func (handler) Ended(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (handler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) { return false, nil }
