// Package build owns builds: what was asked for, the plan of tasks that it makes,
// the files that come out, and the build's own repositories, against which its
// later packages are built.
//
// A build has items, one per package and platform, in the order asked for. Each
// item is imported from git (by the master), made into one SRPM (by a node) and
// rebuilt from that SRPM once for every arch (by nodes), in the order that the
// packages need each other if nothing else was asked for: package graph finds it from
// what the spec files say, and no rebuild begins before what it needs has succeeded.
// Task state is the queue's; the state of a build and of an item are computed from it
// by package status and nowhere else.
//
// An item may be made again from a fresh SRPM, by tasks that take the place of those
// before; at any time the build's repositories hold the files of one SRPM of an item.
//
// What takes several arches, one copy of each noarch package and multilib, follows
// from the end of the last of them (package settle).
//
// The package decides what a node's result is worth: it checks every header
// against the task before a file is admitted (package admit), and states provenance
// from what it saw itself (package statement). What is here are tables, transactions and
// the handlers of tasks; rules that need none of them are in packages below, one for
// each idea. It doesn't know of tests, signatures or releases, which follow the
// event "build.built".
package build

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/given"
	"albs/internal/master/build/graph"
	"albs/internal/master/build/keep"
	"albs/internal/master/build/option"
	"albs/internal/master/build/plan"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/store"
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
	db         *db.DB
	config     Config
	events     *event.Log
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	sources    *source.Sources
	platforms  *platform.Platforms
	products   *product.Products
	repos      *repo.Repos
	own        *repository.Repositories // the builds' own among repos
	given      given.SRPMs
	guards     []Guard
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
// import, graph, source and build.
func New(p Parts, c Config) *Builds {
	if c.BuilderID == "" {
		c.BuilderID = "urn:albs:builder"
	}
	if c.Imports <= 0 {
		c.Imports = 2
	}
	b := &Builds{
		db: p.DB, config: c, events: p.Events, queue: p.Queue, artifacts: p.Artifacts,
		provenance: p.Provenance, sources: p.Sources, platforms: p.Platforms, products: p.Products,
		repos: p.Repos, own: repository.New(p.DB, p.Repos, p.Platforms), log: p.Log,
		given: given.SRPMs{DB: p.DB, Events: p.Events, Artifacts: p.Artifacts, Provenance: p.Provenance, Sources: p.Sources},
	}
	p.Queue.Register(albs.KindImport, importHandler{ownHandler{b}})
	p.Queue.Register(albs.KindGraph, graphHandler{ownHandler{b}})
	p.Queue.Register(albs.KindSource, sourceHandler{b})
	p.Queue.Register(albs.KindBuild, buildHandler{b})
	p.Artifacts.Root("build", keep.Roots(p.DB))
	return b
}

// Run does the master's own tasks, imports and graphs, as the worker me, and settles what
// was lost or cancelled, until ctx is done.
func (b *Builds) Run(ctx context.Context, me auth.Actor) error {
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.queue.RunLocal(ctx, me, albs.KindImport, b.config.Imports, b.importSource) })
	g.Go(func() error { return b.queue.RunLocal(ctx, me, albs.KindGraph, 1, b.findOrder) })
	g.Go(func() error {
		return b.events.Follow(auth.System(ctx, "settle what was lost or cancelled"), "settle", b.settleLost)
	})
	return g.Wait()
}

// NewBuild is a request for a build.
type NewBuild struct {
	// Key makes the request idempotent: the same person's second request with the
	// same non-empty key returns the first build.
	Key       string `json:"-"`
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
	Order      Order   // Auto if ""
	Break      []Break // with Auto: where cycles are broken first

	// pins are the items of a build that is done once more from the same commits, by
	// the place of the package; none if refs are to be resolved.
	pins []store.Item
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
	row := store.Build{Product: n.Product, CreatedAt: db.Now()}
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
		if id, err := store.ByKey(ctx, b.db, key); err != nil || id != 0 {
			if err != nil {
				return Build{}, fmt.Errorf("look up idempotency key: %w", err)
			}
			return b.Get(ctx, id)
		}
	}
	if err := errors.Join(n.Options.Check(), graph.Check(n.Order, n.Break)); err != nil {
		return Build{}, err
	}
	if err := checkTests(n); err != nil {
		return Build{}, err
	}
	row.Options.V, row.Order = n.Options, cmp.Or(n.Order, Auto)
	targets, err := b.targets(ctx, n)
	if err != nil {
		return Build{}, err
	}
	if row.SecureBoot = n.SecureBoot; row.SecureBoot {
		if err := secure(ctx, row.Team, targets); err != nil {
			return Build{}, err
		}
	}
	if row.Flavours.V, err = b.own.Flavours(ctx, n.Flavours, targets); err != nil {
		return Build{}, err
	}
	if row.Linked.V, err = b.link(ctx, n.Linked, targets); err != nil {
		return Build{}, err
	}
	items, err := b.resolve(ctx, n, targets)
	if err != nil {
		return Build{}, err
	}
	err = b.db.InTx(ctx, func(tx db.Tx) error { return b.insert(ctx, tx, &row, key, n, items, actor) })
	if db.IsUnique(err) && key != "" { // the same request came twice at once
		id, err := store.ByKey(ctx, b.db, key)
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

// newItem is an item that isn't written yet.
type newItem struct {
	store.Item
	tags archTags // of an SRPM that is given
}

// resolve turns the request into items: for every package and platform one, with
// its commit or SRPM known. A ref is asked for once, whatever the platforms.
func (b *Builds) resolve(ctx context.Context, n NewBuild, targets []option.Target) ([]newItem, error) {
	if len(n.Packages) == 0 || len(n.Packages) > MaxPackages {
		return nil, albs.Errorf(albs.Invalid, "name 1 to %d packages, each by git URL and ref or by SRPM", MaxPackages)
	}
	var items []newItem
	for i, p := range n.Packages {
		whole := n.Options.And(p.Options)
		if err := errors.Join(p.Options.Check(), whole.Check()); err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
		var it newItem
		var err error
		if n.pins != nil {
			it.Item = n.pins[i]
		} else if it.Item, err = b.resolveOne(ctx, p); err != nil {
			return nil, fmt.Errorf("package %d: %w", i+1, err)
		}
		if it.SRPM != "" {
			if it.tags, err = b.tagsOf(ctx, it.SRPM); err != nil {
				return nil, fmt.Errorf("package %d: %w", i+1, err)
			}
		}
		it.Options.V = p.Options
		for _, t := range targets {
			if err := t.Takes(whole); err != nil {
				return nil, fmt.Errorf("package %d: %w", i+1, err)
			}
			it.Place, it.Platform, it.Arches.V, it.Target.V = len(items), t.Name, t.Wanted, t.Facts(it.Package)
			if !n.SecureBoot && t.WantsSecureBoot(it.Package) {
				it.Target.V.Warning = fmt.Sprintf("platform %s wants %s to be built for secure boot, and this build isn't", t.Name, it.Package)
			}
			items = append(items, it)
		}
	}
	return items, nil
}

func (b *Builds) resolveOne(ctx context.Context, p Package) (store.Item, error) {
	switch {
	case (p.SRPM != "" || p.SRPMURL != "") && (p.URL != "" || p.Ref != "" || p.SRPM != "" && p.SRPMURL != ""):
		return store.Item{}, albs.Errorf(albs.Invalid, "give a git URL with a ref or an SRPM, not both")
	case p.SRPMURL != "":
		a, err := b.given.Fetch(ctx, p.SRPMURL)
		if err != nil {
			return store.Item{}, err
		}
		return store.Item{Package: a.NEVRA.Name, SRPM: a.Digest, SRPMName: a.Name, SRPMURL: p.SRPMURL}, nil
	case p.SRPM != "":
		a, err := b.given.Held(ctx, p.SRPM)
		if err != nil {
			return store.Item{}, err
		}
		return store.Item{Package: a.NEVRA.Name, SRPM: a.Digest, SRPMName: a.Name}, nil
	}
	c, err := b.sources.Resolve(ctx, p.URL, p.Ref)
	if err != nil {
		return store.Item{}, err
	}
	return store.Item{URL: c.URL, Ref: c.Ref, RefType: c.Type, Commit: c.SHA, Package: source.PackageName(c.URL)}, nil
}

func (b *Builds) insert(ctx context.Context, tx db.Tx, row *store.Build, key string, n NewBuild, items []newItem, actor auth.Actor) error {
	for _, l := range row.Linked.V {
		if err := b.There(ctx, tx, l.Build); err != nil {
			return err
		}
	}
	if err := store.AddBuild(ctx, tx, row, key, n); err != nil {
		return err
	}
	wanted := make([]plan.Item, len(items))
	rows := slices.Clone(items)
	for i := range rows {
		rows[i].BuildID = row.ID
		if err := store.AddItem(ctx, tx, &rows[i].Item); err != nil {
			return err
		}
		wanted[i] = plan.Item{Platform: rows[i].Platform, Arches: rows[i].Arches.V, FromSRPM: rows[i].SRPM != ""}
	}
	steps := plan.Make(wanted, row.Order)
	ids := make([]albs.TaskID, len(steps))
	for i, s := range steps {
		var before []albs.TaskID
		for _, k := range s.Before {
			before = append(before, ids[k])
		}
		var err error
		if s.Kind == albs.KindGraph {
			ids[i], err = b.enqueueGate(ctx, tx, *row, s.Platform, before)
		} else {
			ids[i], err = b.enqueueStep(ctx, tx, *row, rows[s.Item].Item, s.Kind, s.Arch, before)
		}
		if err != nil {
			return err
		}
		if s.Kind != albs.KindBuild {
			continue
		}
		if tags := rows[s.Item].tags; albs.ExcludedArch(tags.exclusive, tags.exclude, s.Arch) != "" {
			if err := b.queue.Exclude(ctx, tx, ids[i], albs.ExcludedArch(tags.exclusive, tags.exclude, s.Arch)); err != nil {
				return err
			}
		}
	}
	return b.events.Add(ctx, tx, "build.created", Topic(row.ID), actor.String(),
		map[string]any{"items": len(rows), "tasks": len(steps), "product": row.Product})
}

// enqueueStep adds a task of an item; arch is that of a rebuild.
func (b *Builds) enqueueStep(ctx context.Context, tx db.Tx, row store.Build, it store.Item, kind albs.TaskKind, arch albs.Arch, before []albs.TaskID) (albs.TaskID, error) {
	t := queue.NewTask{Kind: kind, Lane: lane(row), Topic: Topic(row.ID), After: before, Room: queue.Room(it.Target.V.Rooms[kind])}
	switch kind {
	case albs.KindImport:
		t.Spec.Import = &albs.ImportSpec{URL: it.URL, Ref: it.Ref, Commit: it.Commit, Platform: it.Platform}
	case albs.KindSource:
		t.Needs = append(t.Needs, it.Target.V.Host(it.Arches.V[0]))
		t.Key = plan.PastKey(it.Package, it.URL, it.Platform, it.Arches.V[0])
	case albs.KindBuild:
		t.Needs = append(t.Needs, it.Target.V.Host(arch))
		t.Key = plan.PastKey(it.Package, it.URL, it.Platform, arch)
		if row.SecureBoot {
			t.Needs = append(t.Needs, LabelSecureBoot)
		}
	}
	id, err := b.queue.Enqueue(ctx, tx, t)
	if err != nil {
		return 0, err
	}
	return id, store.AddTask(ctx, tx, store.Task{TaskID: id, BuildID: row.ID, ItemID: it.ID, Kind: kind, Arch: arch})
}

// UploadSRPM stores an SRPM that a person brings, to be named in a later build.
// Invalid if it is not a source package by its header and name.
func (b *Builds) UploadSRPM(ctx context.Context, r io.Reader, name string) (artifact.Artifact, error) {
	if err := auth.Can(ctx, auth.BuildCreate, auth.Object{}); err != nil {
		return artifact.Artifact{}, err
	}
	return b.given.Upload(ctx, r, name)
}
