package queue

import (
	"context"
	"io"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue/keep"
	"albs/internal/master/queue/logfile"
)

// LogInfo is one stream of one attempt.
type LogInfo = logfile.Info

// Logs lists the streamed logs of a task, by attempt and name. NotFound if there is no
// such task.
func (q *Queue) Logs(ctx context.Context, id albs.TaskID) ([]LogInfo, error) {
	if _, err := q.Task(ctx, id); err != nil {
		return nil, err
	}
	return q.logs.List(id)
}

// ReadLog opens up to length bytes of a streamed log from offset, length < 0 for
// all there is now, and returns the log's present size with it. An offset at or
// beyond the end reads nothing. NotFound if there is no such log. To follow a log
// wait for LogTopic's wake-ups and read on.
func (q *Queue) ReadLog(_ context.Context, id albs.TaskID, attempt int, stream string, offset, length int64) (io.ReadCloser, int64, error) {
	return q.logs.Open(id, attempt, stream, offset, length)
}

// Forget has the tasks of a topic keep nothing any more once they have ended: neither
// what their specs name nor, some time later, their streamed logs.
func (q *Queue) Forget(ctx context.Context, tx db.Tx, topic string) error {
	return keep.Forget(ctx, tx, topic)
}

// CleanLogs removes the streamed logs of tasks that were forgotten and ended before a
// time, or, of a dry run, counts them.
func (q *Queue) CleanLogs(ctx context.Context, before time.Time, dryRun bool) (keep.Logs, error) {
	return keep.Clean(ctx, q.db, q.logs, before, dryRun)
}

// LogTopic is the event topic that is woken, without an event, when one of the
// task's logs grows.
func LogTopic(id albs.TaskID) string { return "log:" + id.String() }
