package build

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/failure"
	"albs/internal/master/artifact"
	"albs/internal/master/build/cause"
	"albs/internal/master/build/option"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/status"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// Build is a build as faces show it.
type Build struct {
	ID         albs.BuildID
	Owner      string
	OwnerID    albs.UserID
	Team       string
	Product    string
	CreatedAt  time.Time
	Options    Options
	Flavours   []repository.UsedFlavour
	Linked     []repository.Linked
	SecureBoot bool
	Order      Order
	Status     status.Status
	Items      []Item
	Gates      []Gate
	Artifacts  []Artifact
}

// Gate is the task that finds the order of a platform's rebuilds.
type Gate struct {
	Platform string
	Task     queue.Task
}

// Lane says whose work a build is, and all that follows from it, where lanes share
// workers: its product's, else its owner's.
func (b Build) Lane() string {
	if b.Product != "" {
		return "product:" + b.Product
	}
	return "user:" + b.Owner
}

// Item is one package of a build on one platform.
type Item struct {
	ID       albs.ItemID
	Place    int
	Platform string
	Arches   []albs.Arch
	Package  string // name; the repository's until the spec file is known
	URL      string // "" for an SRPM
	Ref      string
	RefType  string
	Commit   string
	SRPMURL  string              // where the SRPM was fetched, "" for others
	SRPM     albs.File           // zero until it is made
	Options  Options             // the package's own, beside the build's
	Weak     []albs.Arch         // those whose failures count for nothing
	Noarch   []settle.Difference // between arches' copies of its noarch packages
	Warning  string              // what the platform would have otherwise; "" if nothing
	Dropped  bool                // cancelled by itself: no other waits for it
	Status   status.Status
	Tasks    []Task
	Earlier  []Task // those whose place the tasks of a fresh SRPM took

	target option.Facts
}

// Host returns the label of the workers that can make and enter roots for an arch of
// the item.
func (it Item) Host(arch albs.Arch) string { return it.target.Host(arch) }

// TestNeeds returns the labels of the workers that can test packages that the item made
// for arch.
func (it Item) TestNeeds(arch albs.Arch) []string {
	needs := []string{it.target.Host(arch)}
	if e := it.target.TestEngine; e != "" && e != albs.EngineNative {
		needs = append(needs, albs.EngineLabel(e))
	}
	return needs
}

// TestRoom returns what a test of the item's packages needs of its worker's machine.
func (it Item) TestRoom() queue.Room { return queue.Room(it.target.Rooms[albs.KindTest]) }

// Task is one task of an item, with the queue's view of it.
type Task struct {
	queue.Task
	Arch albs.Arch // "" but for rebuilds
	Told bool      // of a rebuild: its packages are those that its arch keeps
	// Failure is why a failed task failed, and FailedAttempt the attempt whose logs it
	// speaks of; nil where nothing is known.
	Failure       *failure.Cause
	FailedAttempt int
}

// Artifact is one file that an attempt of the build left.
type Artifact struct {
	Task    albs.TaskID
	Item    albs.ItemID
	Attempt int
	Digest  albs.Digest
	Kind    string // rpm, srpm, log, record; replaced: an rpm or srpm that gave way to that of a fresh SRPM
	Name    string
	Arch    albs.Arch // of the repository that has it; "" if none
}

// Summary is a build in a list.
type Summary struct {
	ID        albs.BuildID
	Owner     string
	OwnerID   albs.UserID
	Team      string
	Product   string
	CreatedAt time.Time
	Status    status.Status
	Packages  []string
	Platforms []string
}

// Filter says which builds List returns. Empty fields don't filter.
type Filter = store.Filter

// Get returns a build with all its items, tasks and files, or NotFound. The reason of
// a task that waits says for what.
func (b *Builds) Get(ctx context.Context, id albs.BuildID) (Build, error) {
	row, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return Build{}, err
	}
	out := Build{
		ID: row.ID, Owner: row.Owner, OwnerID: row.OwnerID, Team: row.Team, Product: row.Product, CreatedAt: row.CreatedAt.Time,
		Options: row.Options.V, Flavours: row.Flavours.V, Linked: row.Linked.V, SecureBoot: row.SecureBoot, Order: row.Order,
	}
	items, err := store.Items(ctx, b.db, id)
	if err != nil {
		return Build{}, fmt.Errorf("items of build %d: %w", id, err)
	}
	tasks, gates, err := b.tasks(ctx, id)
	if err != nil {
		return Build{}, err
	}
	causes, err := cause.OfBuild(ctx, b.db, id)
	if err != nil {
		return Build{}, err
	}
	for i, t := range tasks {
		if f, ok := causes[t.ID]; ok && t.State == albs.TaskFailed {
			tasks[i].Failure, tasks[i].FailedAttempt = &f.Cause, f.Attempt
		}
	}
	if err := b.explain(ctx, items, tasks, gates); err != nil {
		return Build{}, err
	}
	out.Gates = gates
	out.Status = statusOf(items, tasks, gates)
	for _, it := range items {
		view := Item{
			ID: it.ID, Place: it.Place, Platform: it.Platform, Arches: it.Arches.V, Package: it.Package,
			URL: it.URL, Ref: it.Ref, RefType: it.RefType, Commit: it.Commit,
			SRPMURL: it.SRPMURL, SRPM: albs.File{Name: it.SRPMName, Digest: it.SRPM}, Options: it.Options.V,
			Weak: it.Target.V.Weak, Noarch: it.Noarch.V, Warning: it.Target.V.Warning, Dropped: it.Dropped, target: it.Target.V,
		}
		var views []status.Task
		for _, t := range tasks {
			switch {
			case t.item != it.ID:
			case t.superseded:
				view.Earlier = append(view.Earlier, t.Task)
			default:
				view.Tasks = append(view.Tasks, t.Task)
				views = append(views, t.view(it))
			}
		}
		view.Status = status.OfItem(views)
		out.Items = append(out.Items, view)
	}
	out.Artifacts, err = b.files(ctx, b.db, id)
	return out, err
}

// There returns nil if a build is there, as from sees it, else NotFound, which says who
// deleted it. Whoever begins something upon a build asks in the transaction in which
// that begins.
func (b *Builds) There(ctx context.Context, from db.Q, id albs.BuildID) error {
	_, err := store.GetBuild(ctx, from, id)
	return err
}

// Unchanged is There for whoever begins something upon the packages of a build that was
// looked at before: Conflict if others have taken the place of some since.
func (b *Builds) Unchanged(ctx context.Context, from db.Q, seen Build) error {
	if err := b.There(ctx, from, seen.ID); err != nil {
		return err
	}
	now, err := b.files(ctx, from, seen.ID)
	if err != nil {
		return err
	}
	if !slices.Equal(packages(now), packages(slices.Clone(seen.Artifacts))) {
		return albs.Errorf(albs.Conflict, "packages of build %d were replaced a moment ago: look at it again", seen.ID)
	}
	return nil
}

// statusOf is the status of a build of these items.
func statusOf(items []store.Item, tasks []itemTask, gates []Gate) status.Status {
	byID := itemsByID(items)
	var views []status.Task
	for _, t := range tasks {
		if !t.superseded {
			views = append(views, t.view(byID[t.item]))
		}
	}
	for _, g := range gates {
		v := itemTask{Task: Task{Task: g.Task}}.view(store.Item{Package: g.Platform})
		v.Uncounted = true
		views = append(views, v)
	}
	return status.Of(views)
}

func (b *Builds) files(ctx context.Context, from db.Q, id albs.BuildID) ([]Artifact, error) {
	rows, err := store.Artifacts(ctx, from, id)
	if err != nil {
		return nil, fmt.Errorf("files of build %d: %w", id, err)
	}
	return views(rows), nil
}

// views returns files as faces see them.
func views(rows []store.Artifact) []Artifact {
	var out []Artifact
	for _, f := range rows {
		out = append(out, Artifact{Task: f.TaskID, Item: f.ItemID, Attempt: f.Attempt, Digest: f.Digest, Kind: f.Kind, Name: f.Name, Arch: f.Arch})
	}
	return out
}

type itemTask struct {
	Task
	item       albs.ItemID // 0 of a gate
	superseded bool
}

// itemsByID returns the items by their ids.
func itemsByID(items []store.Item) map[albs.ItemID]store.Item {
	byID := make(map[albs.ItemID]store.Item, len(items))
	for _, it := range items {
		byID[it.ID] = it
	}
	return byID
}

// view is the task, of the item it, as the rule of states sees it.
func (t itemTask) view(it store.Item) status.Task {
	label := it.Package
	if t.Arch != "" {
		label += " " + string(t.Arch)
	}
	return status.Task{
		Label: label + " " + string(t.Kind), Kind: t.Kind, State: t.State, Weak: slices.Contains(it.Target.V.Weak, t.Arch), Reason: t.Reason, Vain: t.Cause != 0,
		Started: t.Started.Time, Finished: t.finished(),
	}
}

// finished is when the task became final, zero before.
func (t itemTask) finished() time.Time {
	if t.State.Final() {
		return t.Changed.Time
	}
	return time.Time{}
}

// tasks returns the tasks of a build's items, those that count no more too, and those
// that find its order.
func (b *Builds) tasks(ctx context.Context, id albs.BuildID) ([]itemTask, []Gate, error) {
	rows, err := store.Tasks(ctx, b.db, id)
	if err != nil {
		return nil, nil, fmt.Errorf("tasks of build %d: %w", id, err)
	}
	finders, err := store.Gates(ctx, b.db, id)
	if err != nil {
		return nil, nil, fmt.Errorf("graphs of build %d: %w", id, err)
	}
	ids := make([]albs.TaskID, len(rows))
	for i, r := range rows {
		ids[i] = r.TaskID
	}
	for _, g := range finders {
		ids = append(ids, g.TaskID)
	}
	tasks, err := b.queue.Tasks(ctx, ids...)
	if err != nil {
		return nil, nil, fmt.Errorf("tasks of build %d: %w", id, err)
	}
	byID := make(map[albs.TaskID]queue.Task, len(tasks))
	for _, t := range tasks {
		byID[t.ID] = t
	}
	out := make([]itemTask, len(rows))
	for i, r := range rows {
		out[i] = itemTask{Task{Task: byID[r.TaskID], Arch: r.Arch, Told: r.Told}, r.ItemID, r.Superseded}
	}
	var gates []Gate
	for _, g := range finders {
		gates = append(gates, Gate{g.Platform, byID[g.TaskID]})
	}
	return out, gates, nil
}

// List returns builds, newest first, and whether there are more; pass the last
// one's ID as Before for the next page.
func (b *Builds) List(ctx context.Context, f Filter) ([]Summary, bool, error) {
	if f.Limit <= 0 || f.Limit > 200 {
		f.Limit = 20
	}
	rows, err := store.List(ctx, b.db, f)
	if err != nil {
		return nil, false, fmt.Errorf("list builds: %w", err)
	}
	more := len(rows) > f.Limit
	if more {
		rows = rows[:f.Limit]
	}
	out := make([]Summary, len(rows))
	for i, r := range rows {
		if out[i], err = b.summary(ctx, r); err != nil {
			return nil, false, err
		}
	}
	return out, more, nil
}

func (b *Builds) summary(ctx context.Context, r store.Build) (Summary, error) {
	s := Summary{ID: r.ID, Owner: r.Owner, OwnerID: r.OwnerID, Team: r.Team, Product: r.Product, CreatedAt: r.CreatedAt.Time}
	items, err := store.Items(ctx, b.db, r.ID)
	if err != nil {
		return s, fmt.Errorf("items of build %d: %w", r.ID, err)
	}
	for _, it := range items {
		s.Packages = appendNew(s.Packages, it.Package)
		s.Platforms = appendNew(s.Platforms, it.Platform)
	}
	tasks, gates, err := b.tasks(ctx, r.ID)
	if err != nil {
		return s, err
	}
	s.Status = statusOf(items, tasks, gates)
	return s, nil
}

func appendNew(list []string, s string) []string {
	if slices.Contains(list, s) {
		return list
	}
	return append(list, s)
}

// Brief returns a build as lists have it, or NotFound.
func (b *Builds) Brief(ctx context.Context, id albs.BuildID) (Summary, error) {
	row, err := store.GetBuild(ctx, b.db, id)
	if err != nil {
		return Summary{}, err
	}
	return b.summary(ctx, row)
}

// CountOf returns how many builds a filter leaves, whatever its Limit and Skip.
func (b *Builds) CountOf(ctx context.Context, f Filter) (int, error) {
	n, err := store.Count(ctx, b.db, f)
	if err != nil {
		return 0, fmt.Errorf("count builds: %w", err)
	}
	return n, nil
}

// Packages returns the RPMs and SRPMs of a build that its repositories hold, or
// NotFound.
func (b *Builds) Packages(ctx context.Context, id albs.BuildID) ([]Artifact, error) {
	if _, err := store.GetBuild(ctx, b.db, id); err != nil {
		return nil, err
	}
	files, err := b.files(ctx, b.db, id)
	return packages(files), err
}

// packages are the RPMs and SRPMs among files, which it takes over.
func packages(files []Artifact) []Artifact {
	return slices.DeleteFunc(files, func(a Artifact) bool { return a.Kind != string(artifact.RPM) && a.Kind != string(artifact.SRPM) })
}
