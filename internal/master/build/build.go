// Package build owns builds: what was asked for, the plan of tasks that it makes,
// the files that come out, and the build's own repositories, against which its
// later packages are built.
//
// A build has items, one per package and platform, in the order asked for. Each
// item is imported from git (by the master), made into one SRPM (by a node) and
// rebuilt from that SRPM once for every arch (by nodes). Task state is the
// queue's; the state of a build is computed from it by StatusOf and nowhere else.
//
// What takes several arches, one copy of each noarch package and multilib, follows
// from the end of the last of them (settle.go).
//
// The package decides what a node's result is worth: it checks every header
// against the task before a file is admitted, and states provenance from what it
// saw itself. It doesn't know of tests, signatures or releases, which follow the
// event "build.built".
package build

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/option"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/master/source"
)

// Config holds what an operator may set.
type Config struct {
	// BuilderID is the URI under which the farm's builders are described, to which
	// the isolation mode is appended; "urn:albs:builder" if empty. Verifiers pin it:
	// choose once.
	BuilderID string `yaml:"builder_id"`
	// Imports is how many sources are fetched at once.
	Imports int `yaml:"imports"`
}

// Builds keeps builds. It may be used concurrently.
type Builds struct {
	store      store
	config     Config
	events     *event.Log
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	sources    *source.Sources
	platforms  *platform.Platforms
	products   *product.Products
	repos      *repo.Repos
	log        zerolog.Logger
}

// Parts are the modules that builds rest on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Sources    *source.Sources
	Platforms  *platform.Platforms
	Products   *product.Products
	Repos      *repo.Repos
	Log        zerolog.Logger
}

// New returns the builds of a master and registers the handlers of the kinds
// import, source and build.
func New(p Parts, c Config) *Builds {
	if c.BuilderID == "" {
		c.BuilderID = "urn:albs:builder"
	}
	if c.Imports <= 0 {
		c.Imports = 2
	}
	b := &Builds{
		store: store{p.DB}, config: c, events: p.Events, queue: p.Queue, artifacts: p.Artifacts,
		provenance: p.Provenance, sources: p.Sources, platforms: p.Platforms, products: p.Products,
		repos: p.Repos, log: p.Log,
	}
	p.Queue.Register(albs.KindImport, importHandler{b})
	p.Queue.Register(albs.KindSource, sourceHandler{b})
	p.Queue.Register(albs.KindBuild, buildHandler{b})
	return b
}

// Run does the master's own tasks, imports, until ctx is done, as the worker me.
func (b *Builds) Run(ctx context.Context, me auth.Actor) error {
	return b.queue.RunLocal(ctx, me, albs.KindImport, b.config.Imports, b.importSource)
}

// NewBuild is a request for a build.
type NewBuild struct {
	// Key makes the request idempotent: the same person's second request with the
	// same non-empty key returns the first build.
	Key       string
	Product   string // "" for a build of no product
	Platforms []Target
	Packages  []Package
	Options   Options
	// Flavours are names, in the order in which their repositories and packages come.
	Flavours []string
	// Linked are builds against whose packages this one is built.
	Linked []albs.BuildID
	// SecureBoot has the rebuilds done by nodes that are kept for it, with the
	// platform's macros for it. It is a permission of its own.
	SecureBoot bool
}

// Target is one platform with the arches wanted; none means all of them.
type Target struct {
	Platform string
	Arches   []albs.Arch
}

// Package is one source: a git ref, an SRPM that was uploaded before, or one that the
// master fetches.
type Package struct {
	URL, Ref string
	SRPM     albs.Digest
	SRPMURL  string
	Options  Options // beside the build's
}

// Bounds of one build.
const (
	MaxPackages = 2000
	MaxTargets  = 16
	maxKey      = 200
)

// Topic returns the event topic of a build.
func Topic(id albs.BuildID) string { return "build:" + id.String() }

// Create resolves every ref, then makes the build with all its tasks in one
// transaction. Errors: Forbidden without build.create on the product's team,
// NotFound for an unknown product, platform, repository, ref or SRPM, Invalid for
// the rest. Nothing is left behind by a refused request.
func (b *Builds) Create(ctx context.Context, n NewBuild) (Build, error) {
	row := buildRow{Product: n.Product, CreatedAt: db.Now()}
	if n.Product != "" {
		p, err := b.products.Get(ctx, n.Product)
		if err != nil {
			return Build{}, err
		}
		row.Team = p.Team
	}
	if err := auth.Can(ctx, auth.BuildCreate, auth.Object{Team: row.Team}); err != nil {
		return Build{}, err
	}
	actor := auth.From(ctx)
	row.OwnerID, row.Owner = actor.User, actor.Name
	if len(n.Key) > maxKey {
		return Build{}, albs.Errorf(albs.Invalid, "the idempotency key has more than %d bytes", maxKey)
	}
	key := n.Key
	if key != "" {
		key = strconv.FormatInt(int64(actor.User), 10) + "/" + key
		if id, err := b.store.byKey(ctx, b.store.d, key); err != nil || id != 0 {
			if err != nil {
				return Build{}, fmt.Errorf("look up idempotency key: %w", err)
			}
			return b.Get(ctx, id)
		}
	}
	if err := n.Options.Check(); err != nil {
		return Build{}, err
	}
	row.Options.V = n.Options
	targets, err := b.targets(ctx, n)
	if err != nil {
		return Build{}, err
	}
	if row.SecureBoot = n.SecureBoot; row.SecureBoot {
		if err := secure(ctx, row.Team, targets); err != nil {
			return Build{}, err
		}
	}
	if row.Flavours.V, err = b.flavour(ctx, n.Flavours, targets); err != nil {
		return Build{}, err
	}
	if row.Linked.V, err = b.link(ctx, n.Linked, targets); err != nil {
		return Build{}, err
	}
	items, err := b.resolve(ctx, n, targets)
	if err != nil {
		return Build{}, err
	}
	err = b.store.d.InTx(ctx, func(tx db.Tx) error { return b.insert(ctx, tx, &row, key, items, actor) })
	if db.IsUnique(err) && key != "" { // the same request came twice at once
		id, err := b.store.byKey(ctx, b.store.d, key)
		if err != nil {
			return Build{}, fmt.Errorf("look up idempotency key: %w", err)
		}
		return b.Get(ctx, id)
	}
	if err != nil {
		return Build{}, fmt.Errorf("create build: %w", err)
	}
	return b.Get(ctx, row.ID)
}

// resolve turns the request into items: for every package and platform one, with
// its commit or SRPM known. A ref is asked for once, whatever the platforms.
func (b *Builds) resolve(ctx context.Context, n NewBuild, targets []option.Target) ([]itemRow, error) {
	if len(n.Packages) == 0 || len(n.Packages) > MaxPackages {
		return nil, albs.Errorf(albs.Invalid, "name 1 to %d packages, each by git URL and ref or by SRPM", MaxPackages)
	}
	var items []itemRow
	for i, p := range n.Packages {
		whole := n.Options.And(p.Options)
		if err := errors.Join(p.Options.Check(), whole.Check()); err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
		it, err := b.resolveOne(ctx, p)
		if err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
		it.Options.V = p.Options
		for _, t := range targets {
			if err := t.Takes(whole); err != nil {
				return nil, fmt.Errorf("package %d: %w", i+1, err)
			}
			it.Place, it.Platform, it.Arches.V, it.Target.V = len(items), t.Name, t.Wanted, t.Facts()
			if !n.SecureBoot && t.WantsSecureBoot(it.Package) {
				it.Target.V.Warning = fmt.Sprintf("platform %s wants %s to be built for secure boot, and this build isn't", t.Name, it.Package)
			}
			items = append(items, it)
		}
	}
	return items, nil
}

func (b *Builds) resolveOne(ctx context.Context, p Package) (itemRow, error) {
	switch {
	case (p.SRPM != "" || p.SRPMURL != "") && (p.URL != "" || p.Ref != "" || p.SRPM != "" && p.SRPMURL != ""):
		return itemRow{}, albs.Errorf(albs.Invalid, "give a git URL with a ref or an SRPM, not both")
	case p.SRPMURL != "":
		a, err := b.fetchSRPM(ctx, p.SRPMURL)
		if err != nil {
			return itemRow{}, err
		}
		return itemRow{Package: a.NEVRA.Name, SRPM: a.Digest, SRPMName: a.Name, SRPMURL: p.SRPMURL}, nil
	case p.SRPM != "":
		a, err := b.artifacts.Get(ctx, b.store.d, p.SRPM)
		if err != nil {
			return itemRow{}, err
		}
		if err := CheckSRPM(Proposed{NEVRA: a.NEVRA, Digest: a.Digest}, "", nil); err != nil {
			return itemRow{}, err
		}
		return itemRow{Package: a.NEVRA.Name, SRPM: a.Digest, SRPMName: a.Name}, nil
	}
	c, err := b.sources.Resolve(ctx, p.URL, p.Ref)
	if err != nil {
		return itemRow{}, err
	}
	return itemRow{URL: c.URL, Ref: c.Ref, RefType: c.Type, Commit: c.SHA, Package: source.PackageName(c.URL)}, nil
}

func (b *Builds) insert(ctx context.Context, tx db.Tx, row *buildRow, key string, items []itemRow, actor auth.Actor) error {
	if err := b.store.addBuild(ctx, tx, row, key); err != nil {
		return err
	}
	plan := make([]PlanItem, len(items))
	rows := slices.Clone(items)
	for i := range rows {
		rows[i].BuildID = row.ID
		if err := b.store.addItem(ctx, tx, &rows[i]); err != nil {
			return err
		}
		plan[i] = PlanItem{Platform: rows[i].Platform, Arches: rows[i].Arches.V, FromSRPM: rows[i].SRPM != ""}
	}
	lane := Build{Owner: row.Owner, Product: row.Product}.Lane()
	steps := Plan(plan)
	ids := make([]albs.TaskID, len(steps))
	for n, s := range steps {
		it := rows[s.Item]
		t := queue.NewTask{Kind: s.Kind, Lane: lane, Topic: Topic(row.ID), Needs: []string{"kind:" + string(s.Kind)}}
		switch s.Kind {
		case albs.KindImport:
			t.Spec.Import = &albs.ImportSpec{URL: it.URL, Ref: it.Ref, Commit: it.Commit, Platform: it.Platform}
		case albs.KindSource:
			t.Needs = append(t.Needs, it.Target.V.Host(it.Arches.V[0]))
			t.Key = pastKey(it, it.Arches.V[0])
		case albs.KindBuild:
			t.Needs = append(t.Needs, it.Target.V.Host(s.Arch))
			t.Key = pastKey(it, s.Arch)
			if row.SecureBoot {
				t.Needs = append(t.Needs, LabelSecureBoot)
			}
		}
		for _, before := range s.Before {
			t.After = append(t.After, ids[before])
		}
		id, err := b.queue.Enqueue(ctx, tx, t)
		if err != nil {
			return err
		}
		ids[n] = id
		if err := b.store.addTask(ctx, tx, taskRow{TaskID: id, BuildID: row.ID, ItemID: it.ID, Kind: s.Kind, Arch: s.Arch}); err != nil {
			return err
		}
	}
	return b.events.Add(ctx, tx, "build.created", Topic(row.ID), actor.String(),
		map[string]any{"items": len(rows), "tasks": len(steps), "product": row.Product})
}

// EventCancelled is the kind of the event that somebody cancelled a build; its
// topic is the build's. What was begun upon its packages, such as tests, ends by it.
const EventCancelled = "build.cancelled"

// Cancel ends everything of a build that has not ended yet. Running work stops
// within one lease renewal. Conflict if nothing of it is under way.
func (b *Builds) Cancel(ctx context.Context, id albs.BuildID) error {
	// Its own tasks may all have ended while its tests have not.
	follows, err := b.queue.List(ctx, queue.Filter{Kind: albs.KindTest, Topic: Topic(id), States: open, Limit: 1})
	if err != nil {
		return fmt.Errorf("cancel build %d: %w", id, err)
	}
	return b.change(ctx, id, auth.BuildCancel, EventCancelled, len(follows) > 0, func(tx db.Tx, t queue.Task) (bool, error) {
		if t.State.Final() {
			return false, nil
		}
		return true, b.queue.Cancel(ctx, tx, t.ID, "cancelled by "+auth.From(ctx).Name)
	})
}

// open are the states of a task that is still to end.
var open = []albs.TaskState{albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased, albs.TaskStopping}

// RetryFailed queues every failed and cancelled task of a build again. Earlier
// attempts and their logs stay.
func (b *Builds) RetryFailed(ctx context.Context, id albs.BuildID) error {
	return b.change(ctx, id, auth.BuildRetry, "build.retried", false, func(tx db.Tx, t queue.Task) (bool, error) {
		if t.State != albs.TaskFailed && t.State != albs.TaskCancelled {
			return false, nil
		}
		return true, b.queue.Retry(ctx, tx, t.ID)
	})
}

// RetryTask queues one failed or cancelled task of a build again; Conflict if it
// is neither.
func (b *Builds) RetryTask(ctx context.Context, id albs.BuildID, task albs.TaskID) error {
	found := false
	err := b.change(ctx, id, auth.BuildRetry, "build.retried", false, func(tx db.Tx, t queue.Task) (bool, error) {
		if t.ID != task {
			return false, nil
		}
		found = true
		return true, b.queue.Retry(ctx, tx, t.ID)
	})
	if !found && err != nil && albs.KindOf(err) == albs.Conflict {
		return albs.Errorf(albs.NotFound, "build %d has no task %d", id, task)
	}
	return err
}

// change applies f to each task of a build in one transaction and tells of it; if f
// found nothing to do it is a Conflict, unless others have to hear of it anyway.
func (b *Builds) change(ctx context.Context, id albs.BuildID, v auth.Verb, kind string, anyway bool, f func(db.Tx, queue.Task) (bool, error)) error {
	row, err := b.store.build(ctx, b.store.d, id)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, v, auth.Object{Team: row.Team, Owner: row.OwnerID}); err != nil {
		return err
	}
	tasks, err := b.tasks(ctx, id)
	if err != nil {
		return err
	}
	return b.store.d.InTx(ctx, func(tx db.Tx) error {
		var changed []albs.TaskID
		for _, t := range tasks {
			did, err := f(tx, t.Task.Task)
			if errors.Is(err, albs.Conflict) {
				continue // it went on since it was looked at
			}
			if err != nil {
				return err
			}
			if did {
				changed = append(changed, t.ID)
			}
		}
		if len(changed) == 0 && !anyway {
			return albs.Errorf(albs.Conflict, "build %d has no task to which that applies", id)
		}
		return b.events.Add(ctx, tx, kind, Topic(id), auth.From(ctx).String(), changeData(changed))
	})
}

// maxTold is how many tasks an event names; the data of an event is bounded, and
// the tasks of a build hardly are.
const maxTold = 1000

func changeData(changed []albs.TaskID) map[string]any {
	return map[string]any{"tasks": changed[:min(len(changed), maxTold)], "count": len(changed)}
}

// UploadSRPM stores an SRPM that a person brings, to be named in a later build.
// Invalid if it is not a source package by its header and name.
func (b *Builds) UploadSRPM(ctx context.Context, r io.Reader, name string) (artifact.Artifact, error) {
	if err := auth.Can(ctx, auth.BuildCreate, auth.Object{}); err != nil {
		return artifact.Artifact{}, err
	}
	a, err := b.artifacts.Save(ctx, r, maxSRPM, name, artifact.SRPM)
	if err != nil {
		return a, err
	}
	if err := CheckSRPM(Proposed{NEVRA: a.NEVRA, Digest: a.Digest}, "", nil); err != nil {
		return a, err
	}
	err = b.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := b.artifacts.Add(ctx, tx, a); err != nil {
			return err
		}
		if err := b.stateUpload(ctx, tx, a); err != nil {
			return err
		}
		return b.events.Add(ctx, tx, "srpm.uploaded", "artifact:"+string(a.Digest), auth.From(ctx).String(), map[string]any{"name": a.Name})
	})
	if err != nil {
		return a, fmt.Errorf("record SRPM: %w", err)
	}
	return a, nil
}

// fetchSRPM brings an SRPM from elsewhere, as UploadSRPM does from a person.
func (b *Builds) fetchSRPM(ctx context.Context, url string) (artifact.Artifact, error) {
	a, err := b.sources.SRPM(ctx, url)
	if err != nil {
		return a, err
	}
	if err := CheckSRPM(Proposed{NEVRA: a.NEVRA, Digest: a.Digest}, "", nil); err != nil {
		return a, err
	}
	err = b.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := b.artifacts.Add(ctx, tx, a); err != nil {
			return err
		}
		if err := b.stateFetched(ctx, tx, a, url); err != nil {
			return err
		}
		return b.events.Add(ctx, tx, "srpm.fetched", "artifact:"+string(a.Digest), auth.From(ctx).String(), map[string]any{"name": a.Name, "url": url})
	})
	if err != nil {
		return a, fmt.Errorf("record SRPM: %w", err)
	}
	return a, nil
}

const maxSRPM = 4 << 30
