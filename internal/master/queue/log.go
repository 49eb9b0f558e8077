package queue

import (
	"context"
	"io"

	"albs/internal/albs"
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

// LogTopic is the event topic that is woken, without an event, when one of the
// task's logs grows.
func LogTopic(id albs.TaskID) string { return "log:" + id.String() }
