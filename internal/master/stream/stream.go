// Package stream has it recorded what the logs hold that workers stream.
//
// An attempt that ends well, or fails by itself, brings its logs as files, which are kept
// with their records. One that was stopped or lost, or whose result was refused, leaves
// what it streamed until then, as the master's own work does; that is kept and shown too.
// So once an attempt can add nothing more, what its streams hold gets a record in the
// ledger by its sha256, unless it has one.
//
// It owns no rows: which attempts are over it hears from the queue's events, in their
// order, and what has a record is provenance's to know.
package stream

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
)

// Parts are the modules that it rests on. All are required.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Queue      *queue.Queue
	Provenance *provenance.Provenance
	Log        zerolog.Logger
}

// Streams has streamed logs recorded.
type Streams struct{ Parts }

// New returns the streams of a master. It does no I/O.
func New(p Parts) *Streams { return &Streams{p} }

// Run records the logs of attempts that are over until ctx is done, those too that ended
// before it was first run.
func (s *Streams) Run(ctx context.Context) error {
	return s.Events.Follow(auth.System(ctx, "record what was streamed"), "streams", s.follow)
}

// follow records the logs of the attempt that an event tells to be over: a claim that of
// the attempt before, which its worker could take up again until then, an end the last.
func (s *Streams) follow(ctx context.Context, e event.Event) error {
	state, ok := strings.CutPrefix(e.Kind, "task.")
	if !ok {
		return nil
	}
	var of struct {
		Task    albs.TaskID `json:"task"`
		Attempt int         `json:"attempt"`
	}
	err := json.Unmarshal(e.Data, &of)
	switch {
	case err != nil:
		err = albs.Errorf(albs.Invalid, "event %d can't be read: %w", e.ID, err)
	case albs.TaskState(state) == albs.TaskLeased:
		err = s.record(ctx, of.Task, of.Attempt-1)
	case albs.TaskState(state).Final():
		err = s.record(ctx, of.Task, of.Attempt)
	}
	if k := albs.KindOf(err); k == albs.Invalid || k == albs.NotFound {
		s.Log.Warn().Err(err).Int64("task_id", int64(of.Task)).Msg("what was streamed is not recorded")
		return nil // no repetition mends it, and everything behind it waits
	}
	return err
}

// record has the logs of an attempt recorded. None and an empty one are nothing to record;
// one that was cleaned away meanwhile neither.
func (s *Streams) record(ctx context.Context, id albs.TaskID, attempt int) error {
	if attempt < 1 {
		return nil
	}
	t, err := s.Queue.Task(ctx, id)
	if err != nil {
		return err
	}
	infos, err := s.Queue.Logs(ctx, id)
	if err != nil {
		return err
	}
	var logs []artifact.Artifact
	for _, info := range infos {
		if info.Attempt != attempt || info.Size == 0 {
			continue
		}
		a, err := s.read(ctx, id, info)
		if errors.Is(err, albs.NotFound) {
			continue
		}
		if err != nil {
			return fmt.Errorf("log %s of task %d, attempt %d: %w", info.Stream, id, attempt, err)
		}
		logs = append(logs, a)
	}
	if len(logs) == 0 {
		return nil
	}
	return s.DB.InTx(ctx, func(tx db.Tx) error {
		return s.Provenance.State(ctx, tx, provenance.Fact{Files: logs, Metadata: map[string]string{
			"topic": t.Topic, "task": id.String(), "attempt": strconv.Itoa(attempt),
		}})
	})
}

// read returns what a log is, by its bytes.
func (s *Streams) read(ctx context.Context, id albs.TaskID, info queue.LogInfo) (artifact.Artifact, error) {
	r, _, err := s.Queue.ReadLog(ctx, id, info.Attempt, info.Stream, 0, -1)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer r.Close()
	h := sha256.New()
	n, err := io.Copy(h, r)
	if err != nil {
		return artifact.Artifact{}, err
	}
	return artifact.Artifact{Digest: albs.Digest(hex.EncodeToString(h.Sum(nil))), Size: n, Kind: artifact.Log, Name: info.Stream + ".log"}, nil
}
