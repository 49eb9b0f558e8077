package build

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
)

// admission is what is known of an attempt whose result is being looked at.
type admission struct {
	lease  queue.Lease
	task   store.Task
	item   store.Item
	build  store.Build
	worker auth.Actor
	// commit is the sha256 of the object of the item's commit, "" unless it is notarized.
	commit albs.Digest
	// started is when the attempt was claimed.
	started time.Time
	// files are the attempt's logs.
	files []artifact.Artifact
	// logs keeps them; it is part of every end, good or bad.
	logs func(ctx context.Context, tx db.Tx) error
}

// begin admits what every attempt leaves, its logs, and finds out what it was for.
func (b *Builds) begin(ctx context.Context, l queue.Lease, r albs.Result) (admission, error) {
	in := admission{lease: l, worker: auth.From(ctx)}
	var err error
	if in.task, in.item, err = b.taskOf(ctx, l.Token.Task); err != nil {
		return in, err
	}
	if in.build, err = store.GetBuild(ctx, b.db, in.task.BuildID); err != nil {
		return in, err
	}
	in.commit = b.notarized(ctx, in.item.URL, in.item.Commit)
	attempts, err := b.queue.Attempts(ctx, l.Token.Task)
	if err != nil {
		return in, err
	}
	for _, a := range attempts {
		if a.Number == l.Attempt {
			in.started = a.Claimed.Time
		}
	}
	logs, err := b.artifacts.AdmitLogs(ctx, queue.Upload(l.Token), r.Logs)
	if err != nil {
		return in, err
	}
	in.files = logs
	in.logs = func(ctx context.Context, tx db.Tx) error {
		if err := b.keep(ctx, tx, in, "", logs...); err != nil {
			return err
		}
		return b.provenance.State(ctx, tx, provenance.Fact{Files: logs, Metadata: in.metadata()})
	}
	return in, nil
}

// taskOf returns what the queue's task is to its build: the task's row and its item's.
func (b *Builds) taskOf(ctx context.Context, id albs.TaskID) (store.Task, store.Item, error) {
	row, err := store.GetTask(ctx, b.db, id)
	if err != nil {
		return row, store.Item{}, err
	}
	it, err := store.GetItem(ctx, b.db, row.ItemID)
	return row, it, err
}

// take admits an upload of the attempt.
func (b *Builds) take(ctx context.Context, in admission, f albs.File, k artifact.Kind) (artifact.Artifact, error) {
	return b.artifacts.Admit(ctx, queue.Upload(in.lease.Token), f, k)
}

// keep writes the rows of files of an attempt; arch is that of the repository that
// has them, "" if none. Invalid if two files of the attempt have one name.
func (b *Builds) keep(ctx context.Context, tx db.Tx, in admission, arch albs.Arch, files ...artifact.Artifact) error {
	if err := b.artifacts.Add(ctx, tx, files...); err != nil {
		return err
	}
	for _, f := range files {
		err := store.AddArtifact(ctx, tx, store.Artifact{
			BuildID: in.item.BuildID, ItemID: in.item.ID, TaskID: in.task.TaskID, Attempt: in.lease.Attempt,
			Digest: f.Digest, Kind: string(f.Kind), Name: f.Name, Arch: arch,
		})
		if err != nil {
			return err
		}
	}
	return nil
}
