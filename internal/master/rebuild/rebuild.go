// Package rebuild does builds once more and compares what comes out with what there was:
// from the same source package, in a root of the same packages, if it can be by another
// node. What a rebuild leaves is looked at and stated, and never becomes a package of a
// build, nor of a repository.
//
// It owns the rows of rebuilds. What is to be repeated it takes from the statement about a
// package and from the spec that the attempt had, which have to agree. What the two roots
// held their buildroot records tell, which are the nodes' word; the packages themselves
// the master has, and compares (rpm.CompareBuilds).
//
// Invariants: a rebuild that has ended has a verdict or a reason, and a verdict about each
// package that it was about; verdict, statements and the end of the task are one
// transaction.
package rebuild

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/rpm"
)

// Parts are the modules that rebuilds rest on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Repos      *repo.Repos
	Builds     *build.Builds
	Log        zerolog.Logger
}

// Rebuilds keeps rebuilds. It may be used concurrently.
type Rebuilds struct{ Parts }

// New returns the rebuilds of a master and registers the handler of the kind rebuild.
func New(p Parts) *Rebuilds {
	r := &Rebuilds{p}
	p.Queue.Register(albs.KindRebuild, handler{r})
	p.Artifacts.Root("rebuild", r.roots)
	p.Builds.Guard(r.guard)
	return r
}

// guard keeps a build as it is while it is built again.
func (r *Rebuilds) guard(ctx context.Context, q db.Q, id albs.BuildID) error {
	n, err := open(ctx, q, id)
	if err != nil {
		return fmt.Errorf("look for rebuilds of build %d: %w", id, err)
	}
	if n != 0 {
		return albs.Errorf(albs.Conflict, "build %d is being built again, by rebuild %d", id, n)
	}
	return nil
}

// material is how long packages that a rebuild left, and that differ, are kept for people
// to look at.
const material = 14 * 24 * time.Hour

// roots are the files of rebuilds of builds that were not deleted before since.
func (r *Rebuilds) roots(ctx context.Context, since db.Time, yield func(artifact.Ref) error) error {
	ds, err := held(ctx, r.DB, since, db.At(since.Add(-material)))
	if err != nil {
		return fmt.Errorf("read files of rebuilds: %w", err)
	}
	for _, d := range ds {
		if err := yield(artifact.Ref{Digest: d}); err != nil {
			return err
		}
	}
	return nil
}

// Rebuild is a build that is, or was, done once more.
type Rebuild struct {
	ID        int64
	Task      queue.Task // without its spec
	Build     albs.BuildID
	Of        albs.TaskID // the task that built
	Attempt   int         // at it
	Platform  string
	Arch      albs.Arch
	BuiltOn   string      // the node that built
	BuiltIn   albs.Digest // the buildroot record of that
	Requester string
	CreatedAt time.Time
	// What follows is of one that has ended. Verdict is the worst of its packages', ""
	// where nothing was compared; Reason says why, or more of it.
	EndedAt  time.Time
	Node     string // that rebuilt
	Record   albs.Digest
	Verdict  string // one of rpm.Match, or attest.InputsDiffer
	Reason   string
	Packages []Package   // not in a list
	Files    []albs.File // that it left, by name; the sizes aren't told; not in a list
}

// Same reports whether the node that rebuilt is the one that had built.
func (r Rebuild) Same() bool { return r.Node != "" && r.Node == r.BuiltOn }

// Ended reports whether nothing more comes of it.
func (r Rebuild) Ended() bool { return !r.EndedAt.IsZero() }

// Package is a package that was built, with what came of it.
type Package struct {
	Digest    albs.Digest
	Name      string
	Rebuilt   albs.Digest // the file of its name that the rebuild left
	Verdict   string      // "" while it is under way
	Differing []string
	Ignored   []string
}

// Request says what is to be done once more.
type Request struct {
	// Of is the sha256 of a package, signed or not, or its NEVRA.
	Of string
	// Node is the only one that may do it, NotNode one that may not; at most one of the
	// two. Without them it is any other than the one that built, if there is another.
	Node, NotNode string
}

// most is how many rebuilds of one attempt are made, whatever they come to: each that is
// compared adds a statement to the bundle of every package of it.
const most = 50

// maxPackagesOfTask is how many packages a task may have left to be compared, as package
// build has it.
const maxPackagesOfTask = 5000

// Create has the build that made a package done once more, from what is on record of it.
// It is Forbidden without build.create on the team of the build (and build.secureboot if
// it was one), NotFound for what the master doesn't have, Invalid for what is no package
// that was built here, and Conflict where it can't be done: the build was deleted, its
// inputs are gone, a rebuild of it is under way, or there were 50, with those that came to
// no verdict. A statement about it that is on its way to the ledger counts as one that is
// there, for the master signed it. Nothing is left of a refused request.
func (r *Rebuilds) Create(ctx context.Context, n Request) (Rebuild, error) {
	a, err := r.find(ctx, n.Of)
	if err != nil {
		return Rebuild{}, err
	}
	o, err := r.origin(ctx, a)
	if err != nil {
		return Rebuild{}, err
	}
	object := auth.Object{Team: o.left.Team}
	if err := auth.Can(ctx, auth.BuildCreate, object); err != nil {
		return Rebuild{}, err
	}
	if o.left.SecureBoot {
		if err := auth.Can(ctx, auth.BuildSecureBoot, object); err != nil {
			return Rebuild{}, err
		}
	}
	if err := r.kept(ctx, o); err != nil {
		return Rebuild{}, err
	}
	workers, err := r.Queue.Workers(ctx)
	if err != nil {
		return Rebuild{}, err
	}
	needs := append(slices.DeleteFunc(slices.Clone(o.task.Needs), func(l string) bool { return strings.HasPrefix(l, "kind:") }), "kind:"+string(albs.KindRebuild))
	where, err := place(n, o.node, needs, workers)
	if err != nil {
		return Rebuild{}, err
	}
	row := row{
		BuildID: o.left.Build, OfTask: o.task.ID, OfAttempt: o.attempt, Platform: o.left.Platform, Arch: o.left.Arch,
		BuiltOn: o.node, BuiltIn: o.record, Needs: where, RequesterID: auth.From(ctx).User, Requester: auth.From(ctx).Name, CreatedAt: db.Now(),
	}
	if where != "" {
		needs = append(needs, where)
	}
	spec := o.spec
	spec.Root.CCache = false // what it makes must rest on its inputs alone
	err = r.DB.InTx(ctx, func(tx db.Tx) error {
		if err := r.Builds.There(ctx, tx, row.BuildID); err != nil {
			return err
		}
		if err := again(ctx, tx, row.OfTask, row.OfAttempt); err != nil {
			return err
		}
		row.TaskID, err = r.Queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindRebuild, Lane: o.task.Lane, Topic: build.Topic(row.BuildID), Needs: needs, Room: o.task.Room, Key: o.task.Key,
			Priority: o.task.Priority - 1, Spec: albs.Spec{Build: &spec}, // what is yet to be built goes first
		})
		if err != nil {
			return err
		}
		if err := insert(ctx, tx, &row, o.packages); err != nil {
			return err
		}
		return r.Events.Add(ctx, tx, "rebuild.created", build.Topic(row.BuildID), auth.From(ctx).String(), map[string]any{
			"rebuild": row.ID, "task": row.TaskID, "of": row.OfTask, "platform": row.Platform, "arch": row.Arch,
		})
	})
	if err != nil {
		return Rebuild{}, fmt.Errorf("create rebuild: %w", err)
	}
	return r.Get(ctx, row.ID)
}

// find returns the unsigned package that a digest or NEVRA names.
func (r *Rebuilds) find(ctx context.Context, of string) (artifact.Artifact, error) {
	if d, err := albs.ParseDigest(of); err == nil {
		a, err := r.Artifacts.Find(ctx, d)
		if err == nil && a.Unsigned != "" {
			a, err = r.Artifacts.Find(ctx, a.Unsigned)
		}
		if err != nil {
			return a, err
		}
		if a.Kind != artifact.RPM {
			return a, albs.Errorf(albs.Invalid, "%s is no binary package: name one that was built", a.Name)
		}
		return a, nil
	}
	n, err := rpm.ParseNEVRA(strings.TrimSuffix(of, ".rpm"))
	if err != nil {
		return artifact.Artifact{}, albs.Errorf(albs.Invalid, "%.100q is neither the sha256 nor the NEVRA of a package", of)
	}
	found, err := r.Artifacts.Named(ctx, n, 100)
	if err != nil {
		return artifact.Artifact{}, err
	}
	found = slices.DeleteFunc(found, func(a artifact.Artifact) bool { return a.Kind != artifact.RPM || a.Unsigned != "" })
	switch len(found) {
	case 0:
		return artifact.Artifact{}, albs.Errorf(albs.NotFound, "no package %s was built here", n)
	case 1:
		return found[0], nil
	}
	return artifact.Artifact{}, albs.Errorf(albs.Conflict, "%d packages have the name %s: name one by its sha256, as %s or %s", len(found), n, found[0].Digest, found[1].Digest)
}

// origin is how a package was built.
type origin struct {
	task     queue.Task
	attempt  int
	node     string
	record   albs.Digest
	spec     albs.BuildSpec
	left     build.Left
	packages []albs.File // of left, those that the attempt itself is stated to have built
}

// origin finds out how a was built: by the newest statement that says so and belongs to an
// attempt of which everything is there.
func (r *Rebuilds) origin(ctx context.Context, a artifact.Artifact) (origin, error) {
	said, err := r.Provenance.Stated(ctx, a.Digest, attest.Build)
	if err != nil {
		return origin{}, err
	}
	if len(said) == 0 {
		return origin{}, albs.Errorf(albs.Conflict, "nothing says how %s was built, so that it can't be done again", a.Name)
	}
	for _, st := range slices.Backward(said) {
		var body attest.BuildBody
		if err := st.Body(&body); err != nil {
			return origin{}, fmt.Errorf("read how %s was built: %w", a.Name, err)
		}
		o, ferr := r.follow(ctx, body)
		if ferr == nil {
			return o, r.own(ctx, &o, body.RunDetails.Metadata.InvocationID)
		}
		err = ferr
	}
	return origin{}, fmt.Errorf("find how %s was built: %w", a.Name, err)
}

// follow finds the attempt that a statement tells of.
func (r *Rebuilds) follow(ctx context.Context, body attest.BuildBody) (origin, error) {
	o := origin{node: body.BuildDefinition.InternalParameters.Node}
	var task albs.TaskID
	id := body.RunDetails.Metadata.InvocationID
	if _, err := fmt.Sscanf(id, "task/%d/attempt/%d", &task, &o.attempt); err != nil || invocation(task, o.attempt) != id {
		return o, albs.Errorf(albs.Conflict, "%.80q names no attempt at a task", id)
	}
	var err error
	if o.left, err = r.Builds.Left(ctx, task, o.attempt); err != nil {
		if errors.Is(err, albs.NotFound) {
			err = albs.Errorf(albs.Conflict, "it can't be built again: %w", err)
		}
		return o, err
	}
	if o.task, err = r.Queue.Task(ctx, task); err != nil {
		return o, err
	}
	attempts, err := r.Queue.Attempts(ctx, task)
	if err != nil {
		return o, err
	}
	i := slices.IndexFunc(attempts, func(a queue.Attempt) bool { return a.Number == o.attempt })
	if i < 0 || attempts[i].Spec.Build == nil {
		return o, albs.Errorf(albs.Conflict, "what attempt %d at task %d was given is not on record", o.attempt, task)
	}
	o.spec = *attempts[i].Spec.Build
	o.record, err = agree(o.spec, body)
	return o, err
}

func invocation(task albs.TaskID, attempt int) string {
	return fmt.Sprintf("task/%d/attempt/%d", task, attempt)
}

// own keeps of what the attempt left those packages that it is stated to have built: a
// noarch package may have another arch's copy in its place.
func (r *Rebuilds) own(ctx context.Context, o *origin, id string) error {
	if len(o.left.Packages) > maxPackagesOfTask {
		return albs.Errorf(albs.TooLarge, "the build left %d packages, at most %d are compared", len(o.left.Packages), maxPackagesOfTask)
	}
	for _, f := range o.left.Packages {
		_, ok, err := r.builtBy(ctx, f.Digest, id)
		if err != nil {
			return err
		}
		if ok {
			o.packages = append(o.packages, f)
		}
	}
	if len(o.packages) == 0 {
		return albs.Errorf(albs.Conflict, "the attempt that built it has no package left")
	}
	return nil
}

// builtBy returns the statement that an attempt built a package, false if there is none.
func (r *Rebuilds) builtBy(ctx context.Context, d albs.Digest, id string) (attest.BuildBody, bool, error) {
	said, err := r.Provenance.Stated(ctx, d, attest.Build)
	if err != nil {
		return attest.BuildBody{}, false, err
	}
	for _, st := range said {
		var body attest.BuildBody
		if err := st.Body(&body); err != nil {
			return body, false, fmt.Errorf("read how %s was built: %w", d.Short(), err)
		}
		if body.RunDetails.Metadata.InvocationID == id {
			return body, true, nil
		}
	}
	return attest.BuildBody{}, false, nil
}

// kept returns a Conflict that names the first input of a build that is gone. What a mirror
// still has isn't known here: its metadata are kept as they were, and whoever fills the
// root finds out about packages.
func (r *Rebuilds) kept(ctx context.Context, o origin) error {
	need := []struct {
		digest albs.Digest
		what   string
	}{{o.spec.SRPM.Digest, "the source package " + o.spec.SRPM.Name}, {o.record, "the buildroot record"}}
	for _, repo := range o.spec.Root.Repos {
		d, what := repo.Snapshot, "the snapshot of repository "+repo.ID
		if repo.Mirror != "" {
			d, what = repo.Repomd, "the index of mirror "+repo.ID
		}
		need = append(need, struct {
			digest albs.Digest
			what   string
		}{d, what})
	}
	for _, n := range need {
		_, err := r.Artifacts.Blobs().Stat(ctx, n.digest)
		if errors.Is(err, albs.NotFound) {
			return albs.Errorf(albs.Conflict, "it can't be built again: %s, %s, is gone", n.what, n.digest.Short())
		}
		if err != nil {
			return err
		}
	}
	_, err := r.inputs(ctx, o.record)
	return err
}

// inputs reads the buildroot record of a digest.
func (r *Rebuilds) inputs(ctx context.Context, d albs.Digest) (inputs, error) {
	f, err := r.Artifacts.Blobs().Open(ctx, d)
	if err != nil {
		return inputs{}, fmt.Errorf("open the buildroot record: %w", err)
	}
	defer f.Close()
	b, err := io.ReadAll(io.LimitReader(f, maxRecord+1))
	if err != nil {
		return inputs{}, fmt.Errorf("read the buildroot record: %w", err)
	}
	return readInputs(b)
}

// Cancel ends a rebuild that is under way: at once, or as soon as its node has been told.
// It is Forbidden without build.cancel on the team of the build, unless the actor asked for
// the rebuild; NotFound for an unknown one, and Conflict if it has ended.
func (r *Rebuilds) Cancel(ctx context.Context, id int64) error {
	w, err := get(ctx, r.DB, id)
	if err != nil {
		return err
	}
	b, err := r.Builds.Get(ctx, w.BuildID)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.BuildCancel, auth.Object{Team: b.Team, Owner: w.RequesterID}); err != nil {
		return err
	}
	return r.DB.InTx(ctx, func(tx db.Tx) error {
		return r.Queue.Cancel(ctx, tx, w.TaskID, "cancelled by "+auth.From(ctx).Name)
	})
}

// Get returns a rebuild, or NotFound. Anyone may ask.
func (r *Rebuilds) Get(ctx context.Context, id int64) (Rebuild, error) {
	w, err := get(ctx, r.DB, id)
	if err != nil {
		return Rebuild{}, err
	}
	return r.whole(ctx, w)
}

// ByTask returns the rebuild that a task does, or NotFound. Anyone may ask.
func (r *Rebuilds) ByTask(ctx context.Context, id albs.TaskID) (Rebuild, error) {
	w, err := byTask(ctx, r.DB, id)
	if err != nil {
		return Rebuild{}, err
	}
	return r.whole(ctx, w)
}

// Filter says which rebuilds List returns. Empty fields don't filter.
type Filter struct {
	Before  int64        // only those with a lower id, for the next page
	Limit   int          // 1 to 200; 0 is 20
	Build   albs.BuildID // of which build
	Task    albs.TaskID  // of which task that built
	Package albs.Digest  // about which package, unsigned
}

// List returns rebuilds, the newest first, one more than f.Limit if there are more, each
// without its packages and files: there may be thousands of one. Anyone may ask.
func (r *Rebuilds) List(ctx context.Context, f Filter) ([]Rebuild, error) {
	if f.Limit <= 0 {
		f.Limit = 20
	}
	f.Limit = min(f.Limit, 200)
	rows, err := list(ctx, r.DB, f)
	if err != nil {
		return nil, fmt.Errorf("list rebuilds: %w", err)
	}
	return r.bare(ctx, rows...)
}

// whole is what a row tells, with its packages and files.
func (r *Rebuilds) whole(ctx context.Context, w row) (Rebuild, error) {
	all, err := r.bare(ctx, w)
	if err != nil {
		return Rebuild{}, err
	}
	x := all[0]
	packages, err := packagesOf(ctx, r.DB, w.ID)
	if err != nil {
		return Rebuild{}, err
	}
	for _, p := range packages {
		x.Packages = append(x.Packages, Package{Digest: p.Digest, Name: p.Name, Rebuilt: p.Rebuilt, Verdict: p.Verdict, Differing: p.Differing.V, Ignored: p.Ignored.V})
	}
	files, err := filesOf(ctx, r.DB, w.ID)
	if err != nil {
		return Rebuild{}, err
	}
	for _, f := range files {
		x.Files = append(x.Files, albs.File{Name: f.Name, Digest: f.Digest})
	}
	return x, nil
}

// bare is what rows tell, with their tasks.
func (r *Rebuilds) bare(ctx context.Context, rows ...row) ([]Rebuild, error) {
	ids := make([]albs.TaskID, len(rows))
	for i, w := range rows {
		ids[i] = w.TaskID
	}
	found, err := r.Queue.Tasks(ctx, ids...)
	if err != nil {
		return nil, err
	}
	tasks := make(map[albs.TaskID]queue.Task, len(found))
	for _, t := range found {
		tasks[t.ID] = t
	}
	out := make([]Rebuild, len(rows))
	for i, w := range rows {
		out[i] = Rebuild{
			ID: w.ID, Task: tasks[w.TaskID], Build: w.BuildID, Of: w.OfTask, Attempt: w.OfAttempt, Platform: w.Platform, Arch: w.Arch, BuiltOn: w.BuiltOn, BuiltIn: w.BuiltIn,
			Requester: w.Requester, CreatedAt: w.CreatedAt.Time, EndedAt: w.EndedAt.Time, Node: w.Node, Record: w.Record, Verdict: w.Verdict, Reason: w.Reason,
		}
	}
	return out, nil
}

// Of returns the unsigned package that a file is, or is the signed copy of: what a list of
// rebuilds is asked by. Anyone may ask. NotFound if the master hasn't the file.
func (r *Rebuilds) Of(ctx context.Context, d albs.Digest) (albs.Digest, error) {
	a, err := r.Artifacts.Find(ctx, d)
	if err == nil && a.Unsigned != "" {
		return a.Unsigned, nil
	}
	return d, err
}
