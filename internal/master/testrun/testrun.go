// Package testrun owns the tests of built packages: the runs for each rebuild of a
// build, their stages, cases and logs, and the verdict on each package that gates ask for.
//
// Runs follow the event build.built, and those that haven't ended end with the
// event build.cancelled. A run is one test task: its packages are
// some of those that the rebuild left, its root is the platform's test root with the
// build's own repositories and what the build saw beside them, as they are when a
// tester claims the task. What is more than a task tests is more than one run, the parts
// of a revision. A restart makes runs of the next revision, of the packages that didn't
// pass; of each package the latest run that has it is the one that counts.
//
// What the end of the task means:
//
//   - succeeded: the tests were carried out. The verdict is in the cases; a run
//     with failed cases is a finished one, and trying again would tell the same.
//   - failed: the tests could not be carried out, for a reason in their packages
//     or after too many lost attempts. Its packages count as failed, without a
//     statement, for nothing was seen of them.
//   - cancelled: nothing is known; the packages count as untested.
//
// Of every package whose tests were carried out the master states the result,
// passed or failed. Whether a gate asks for tests is product's to say.
package testrun

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/master/testrun/suite"
)

// EventFinished is the kind of the event that a run ended, in whatever way; its
// data is a Finished, its topic the build's.
const EventFinished = "testrun.finished"

// Finished is the data of an EventFinished.
type Finished struct {
	Run      int64        `json:"run"`
	Task     albs.TaskID  `json:"task"`
	Build    albs.BuildID `json:"build"`
	Platform string       `json:"platform"`
	Arch     albs.Arch    `json:"arch"`
	SignedBy string       `json:"signed_by,omitempty"` // the key of what was tested
	Passed   int          `json:"passed"`              // packages
	Failed   int          `json:"failed"`              // packages
	Reason   string       `json:"reason,omitempty"`
}

// Parts are the modules that test runs rest on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	References *reference.Index
	Products   *product.Products
	Repos      *repo.Repos
	Builds     *build.Builds
	Suites     *suite.Suites // nil: no package has tests of its own
	Log        zerolog.Logger
}

// Tests keeps test runs. It may be used concurrently.
type Tests struct {
	store      store
	events     *event.Log
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	platforms  *platform.Platforms
	references *reference.Index
	products   *product.Products
	repos      *repo.Repos
	builds     *build.Builds
	suites     *suite.Suites
	shelves    shelves
	signs      Signatures
	copies     copies
	log        zerolog.Logger
}

// New returns the tests of a master and registers the handler of the kind test.
func New(p Parts) *Tests {
	t := &Tests{
		store: store{p.DB}, events: p.Events, queue: p.Queue, artifacts: p.Artifacts, provenance: p.Provenance,
		platforms: p.Platforms, references: p.References, products: p.Products, repos: p.Repos, builds: p.Builds, suites: p.Suites, log: p.Log,
	}
	p.Queue.Register(albs.KindTest, handler{t})
	p.Artifacts.Root("testrun", t.roots)
	return t
}

// Run makes a test task of each rebuild that ends well, and cancels those of builds
// that are cancelled and of packages that are made again, until ctx is done, whose error it returns.
func (t *Tests) Run(ctx context.Context) error {
	return t.events.Follow(auth.System(ctx, "test what was built"), "testrun", t.follow)
}

func (t *Tests) follow(ctx context.Context, e event.Event) error {
	switch e.Kind {
	case build.EventBuilt:
		return t.test(ctx, e)
	case eventSigned:
		return t.signed(ctx, e)
	case build.EventCancelled:
		return t.cancel(ctx, e, "the build was cancelled by "+e.Actor, nil)
	case build.EventRenewed:
		var renewed build.Renewed
		if err := json.Unmarshal(e.Data, &renewed); err != nil {
			t.log.Error().Err(err).Int64("event_id", e.ID).Msg("an event of a build cannot be read; tests of what is made again go on")
			return nil
		}
		return t.cancel(ctx, e, "the packages are made again, by "+e.Actor, renewed.Tasks)
	}
	return nil
}

// cancel ends the runs of a build, or of the rebuilds of it that are given, but for
// those that somebody asked for since.
func (t *Tests) cancel(ctx context.Context, e event.Event, why string, of []albs.TaskID) error {
	_, err := t.end(ctx, e.Topic, e.At.Time, why, of)
	return err
}

// end ends the runs of a topic that were made up to a time, or of the rebuilds that are
// given, and returns how many tasks.
func (t *Tests) end(ctx context.Context, topic string, until time.Time, why string, of []albs.TaskID) (ended int, err error) {
	kinds := []albs.TaskKind{albs.KindTest}
	if of == nil { // what is found for one rebuild others may have use for
		kinds = append(kinds, albs.KindSuites)
	}
	for _, kind := range kinds {
		n, err := t.endAll(ctx, kind, topic, until, why, of)
		if ended += n; err != nil {
			return ended, err
		}
	}
	return ended, nil
}

func (t *Tests) endAll(ctx context.Context, kind albs.TaskKind, topic string, until time.Time, why string, of []albs.TaskID) (ended int, err error) {
	f := queue.Filter{
		Kind: kind, Topic: topic, Limit: 1000,
		States: []albs.TaskState{albs.TaskBlocked, albs.TaskQueued, albs.TaskLeased},
	}
	for {
		tasks, err := t.queue.List(ctx, f)
		if err != nil || len(tasks) == 0 {
			return ended, err
		}
		for _, task := range tasks {
			f.Before = task.ID
			if task.Created.After(until) {
				continue
			}
			if of != nil {
				run, err := t.store.byTask(ctx, t.store.d, task.ID)
				if err != nil {
					return ended, err
				}
				if !slices.Contains(of, run.BuildTaskID) {
					continue
				}
			}
			err := t.store.d.InTx(ctx, func(tx db.Tx) error {
				return t.queue.Cancel(ctx, tx, task.ID, why)
			})
			if err != nil && !errors.Is(err, albs.Conflict) { // it has ended meanwhile
				return ended, fmt.Errorf("cancel test task %d: %w", task.ID, err)
			}
			if err == nil {
				ended++
			}
		}
	}
}

// test has tested what came out of a rebuild, and what waited for it.
func (t *Tests) test(ctx context.Context, e event.Event) error {
	var built build.Built
	if err := json.Unmarshal(e.Data, &built); err != nil {
		// No repetition mends it, and everything behind it waits.
		t.log.Error().Err(err).Int64("event_id", e.ID).Msg("an event of a build cannot be read; it is not tested")
		return nil
	}
	err := t.testItem(ctx, built.Build, built.Item)
	if errors.Is(err, albs.NotFound) {
		t.log.Warn().Err(err).Int64("build_id", int64(built.Build)).Msg("a build is gone; it is not tested")
		return nil
	}
	return err
}

// testItem makes the runs of an item's rebuilds whose packages are settled. Of an item
// that somebody cancelled nothing new is tested, unless that is asked for or it is tried
// again: then what was left out is tested with the rest.
func (t *Tests) testItem(ctx context.Context, id albs.BuildID, item albs.ItemID) error {
	b, err := t.builds.Get(ctx, id)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(b.Items, func(it build.Item) bool { return it.ID == item })
	if i < 0 || slices.ContainsFunc(b.Items[i].Tasks, func(t build.Task) bool { return t.State == albs.TaskCancelled }) {
		return nil
	}
	gate, err := t.gate(ctx, b.Product)
	if err != nil || len(stagesOf(gate)) == 0 {
		return err
	}
	for _, p := range plan(b) {
		if p.row.ItemID == item && p.settled {
			if err := t.begin(ctx, p, b, 0, search{on: gate.Of(albs.StagePackage) != product.Off}); err != nil {
				return err
			}
		}
	}
	return nil
}

// search says how the tests of packages' own are looked for before a run.
type search struct {
	on     bool // they are
	newest bool // at other commits than those that the build was tested by
}

// planned is what there is to test of one rebuild.
type planned struct {
	row      runRow
	needs    []string // the labels of the workers that can
	room     queue.Room
	settled  bool // no other copy of a package will take the place of the arch's own
	packages []albs.Digest
	asked    []albs.AskedSuite // tests that the build asks for
}

// plan lists what there is to test of a build, in the order of its items: every
// rebuild that succeeded, with the RPMs that it left.
func plan(b build.Build) []planned {
	rpms := map[albs.TaskID][]albs.Digest{}
	for _, a := range b.Artifacts {
		if a.Kind == string(artifact.RPM) {
			rpms[a.Task] = append(rpms[a.Task], a.Digest)
		}
	}
	var out []planned
	for _, it := range b.Items {
		for _, task := range it.Tasks {
			if task.Kind == albs.KindBuild && task.State == albs.TaskSucceeded && len(rpms[task.ID]) > 0 {
				out = append(out, planned{
					runRow{BuildID: b.ID, ItemID: it.ID, BuildTaskID: task.ID, Platform: it.Platform, Arch: task.Arch}, it.TestNeeds(task.Arch), it.TestRoom(), task.Told, rpms[task.ID],
					b.Options.And(it.Options).Tests.Suites,
				})
			}
		}
	}
	return out
}

// begin makes the runs of the next revision with their tasks. Where there are some already of
// a later revision than seen, of packages that are signed alike, they are left alone.
func (t *Tests) begin(ctx context.Context, p planned, b build.Build, seen int, own search) error {
	var packages []packageRow
	var names []string
	for _, d := range p.packages {
		a, err := t.artifacts.Get(ctx, t.store.d, d)
		if err != nil {
			return err
		}
		packages = append(packages, packageRow{Digest: d, NEVRA: a.NEVRA.String(), Name: a.NEVRA.Name})
		names = append(names, a.NEVRA.Name)
	}
	slices.SortFunc(packages, func(a, b packageRow) int { return strings.Compare(a.NEVRA, b.NEVRA) })
	err := t.store.d.InTx(ctx, func(tx db.Tx) error {
		if err := t.builds.There(ctx, tx, p.row.BuildID); err != nil {
			return err
		}
		now, last, err := t.store.revisions(ctx, tx, p.row.BuildTaskID, p.row.SignedBy)
		if err != nil || now > seen {
			return err
		}
		var after []albs.TaskID
		if own.on && t.suites != nil {
			found, err := t.suites.Begin(ctx, tx, suite.Wanted{
				Lane: b.Lane(), Topic: build.Topic(b.ID), Build: b.ID, Packages: names, Asked: p.asked, Newest: own.newest,
			})
			if err != nil {
				return err
			}
			if found != 0 {
				after = append(after, found)
			}
		}
		part := 0
		for some := range slices.Chunk(packages, albs.MaxTested) {
			part++
			row := p.row
			row.Revision, row.Part, row.CreatedAt = last+1, part, db.Now()
			row.TaskID, err = t.queue.Enqueue(ctx, tx, queue.NewTask{
				Kind: albs.KindTest, Lane: b.Lane(), Topic: build.Topic(row.BuildID), Needs: p.needs, Room: p.room, After: after,
			})
			if err != nil {
				return err
			}
			if err := t.store.addRun(ctx, tx, &row, some); err != nil {
				return err
			}
			err = t.events.Add(ctx, tx, "testrun.created", build.Topic(row.BuildID), auth.From(ctx).String(), map[string]any{
				"run": row.ID, "task": row.TaskID, "platform": row.Platform, "arch": row.Arch, "revision": row.Revision, "part": part, "signed_by": row.SignedBy,
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
	if db.IsUnique(err) { // another master was faster
		return nil
	}
	if err != nil {
		return fmt.Errorf("begin test of task %d: %w", p.row.BuildTaskID, err)
	}
	return nil
}

// Restart runs the tests of a build again: of every rebuild the packages whose latest run
// has ended and that didn't pass in it, signed copies too, and unsigned packages that were
// never tested, as the next revision. It is Forbidden without build.retry,
// NotFound for an unknown build, and Conflict if nothing is to be run again. Tests of the
// packages' own are those of the commits by which the build was tested before.
func (t *Tests) Restart(ctx context.Context, id albs.BuildID) error {
	return t.restart(ctx, id, 0, false)
}

// RestartTask is Restart of what one rebuild left.
func (t *Tests) RestartTask(ctx context.Context, id albs.BuildID, rebuild albs.TaskID) error {
	return t.restart(ctx, id, rebuild, false)
}

// RestartNewest is Restart with the tests of the packages' own as their repositories have
// them now.
func (t *Tests) RestartNewest(ctx context.Context, id albs.BuildID) error {
	return t.restart(ctx, id, 0, true)
}

// Cancel ends the tests of a build that are under way; they can be restarted. It is
// Forbidden without build.cancel, NotFound for an unknown build, and Conflict if none is
// under way. It is durable on return.
func (t *Tests) Cancel(ctx context.Context, id albs.BuildID) error {
	b, err := t.builds.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.BuildCancel, auth.Object{Team: b.Team, Owner: b.OwnerID}); err != nil {
		return err
	}
	ended, err := t.end(ctx, build.Topic(id), db.Now().Time, "cancelled by "+auth.From(ctx).Name, nil)
	if err == nil && ended == 0 {
		err = albs.Errorf(albs.Conflict, "no test of build %d is under way", id)
	}
	return err
}

// restart is Restart, of one rebuild unless that is 0.
func (t *Tests) restart(ctx context.Context, id albs.BuildID, rebuild albs.TaskID, newest bool) error {
	b, err := t.builds.Get(ctx, id)
	if err != nil {
		return err
	}
	if err := auth.Can(ctx, auth.BuildRetry, auth.Object{Team: b.Team, Owner: b.OwnerID}); err != nil {
		return err
	}
	gate, err := t.gate(ctx, b.Product)
	if err != nil {
		return err
	}
	if len(stagesOf(gate)) == 0 && gate.Of(albs.StageSigned) == product.Off {
		return albs.Errorf(albs.Conflict, "no test of build %d is to be run: product %s leaves all of them out", id, b.Product)
	}
	runs, err := t.Of(ctx, id)
	if err != nil {
		return err
	}
	begun := 0
	own := search{on: gate.Of(albs.StagePackage) != product.Off, newest: newest}
	for _, p := range plan(b) {
		if rebuild != 0 && p.row.BuildTaskID != rebuild {
			continue
		}
		some := signedAgain(runs, p)
		if len(stagesOf(gate)) > 0 {
			some = append(some, again(runs, p, gate))
		}
		for _, a := range some {
			if len(a.packages) == 0 {
				continue
			}
			find := search{} // signed copies have none
			if a.row.SignedBy == "" {
				find, own.newest = own, false // the others are tested by the same
			}
			if err := t.begin(ctx, a.planned, b, a.seen, find); err != nil {
				return err
			}
			begun++
		}
	}
	if begun == 0 {
		return albs.Errorf(albs.Conflict, "no test of build %d is to be run again: each passed or is under way", id)
	}
	return nil
}

// repeated is what is to be tested once more of a rebuild, after the revision seen.
type repeated struct {
	planned
	seen int
}

// again returns which packages of a rebuild are to be tested once more: those that didn't
// pass every stage, nor were tested in each that gate requires.
func again(runs []Run, p planned, gate product.Gate) repeated {
	settled, seen := map[albs.Digest]bool{}, 0 // it passed, or is under way
	for _, r := range runs {                   // in the order of their making
		if r.BuildTask != p.row.BuildTaskID || r.SignedBy != "" {
			continue
		}
		seen = max(seen, r.Revision)
		for _, x := range r.Packages {
			settled[x.Digest] = x.Verdict.State == Pending || x.Verdict.State == Passed && leftOut(x.Stages, gate) == ""
		}
	}
	p.packages = slices.DeleteFunc(slices.Clone(p.packages), func(d albs.Digest) bool { return settled[d] })
	return repeated{p, seen}
}
