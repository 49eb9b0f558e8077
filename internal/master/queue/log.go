package queue

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/worker"
)

// logs keeps streamed logs in files, DIR/<task>/<attempt>/<stream>.log, which only
// grow. Several masters may share the directory: a lock on the file makes their
// appends one after another.
type logs struct{ dir string }

// LogInfo is one stream of one attempt.
type LogInfo struct {
	Attempt int    `json:"attempt"`
	Stream  string `json:"stream"`
	Size    int64  `json:"size"`
}

const logSuffix = ".log"

func (l logs) path(id albs.TaskID, attempt int, stream string) (string, error) {
	if err := worker.ValidStream(stream); err != nil {
		return "", err
	}
	return filepath.Join(l.dir, id.String(), strconv.Itoa(attempt), stream+logSuffix), nil
}

// append adds p, whose first byte belongs at offset, and returns the length, also
// with a Conflict. What it returns is on disk.
func (l logs) append(id albs.TaskID, attempt int, stream string, offset int64, p []byte) (int64, error) {
	path, err := l.path(id, attempt, stream)
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = l.create(path)
	}
	if err != nil {
		return 0, disk.Trouble(err, "append to log %s", stream)
	}
	defer f.Close()
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil { // released by Close
		return 0, disk.Trouble(err, "append to log %s", stream)
	}
	length, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return 0, disk.Trouble(err, "append to log %s", stream)
	}
	if offset > length {
		return length, albs.Errorf(albs.Conflict, "log %s has %d bytes, none can be added at %d", stream, length, offset)
	}
	skip := length - offset
	if skip >= int64(len(p)) {
		return length, nil
	}
	p = p[skip:]
	if length+int64(len(p)) > worker.MaxLog {
		return length, albs.Errorf(albs.TooLarge, "log %s would pass %d bytes", stream, int64(worker.MaxLog))
	}
	if _, err := f.Write(p); err != nil {
		return length, disk.Trouble(errors.Join(err, f.Truncate(length)), "append to log %s", stream)
	}
	if err := f.Sync(); err != nil {
		return length, disk.Trouble(err, "append to log %s", stream)
	}
	return length + int64(len(p)), nil
}

// create makes the stream's file and its folders last.
func (l logs) create(path string) (*os.File, error) {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return nil, err
	}
	have, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	if len(have) >= worker.MaxLogs {
		return nil, albs.Errorf(albs.TooLarge, "an attempt has at most %d logs", worker.MaxLogs)
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE, 0o640)
	if err != nil {
		return nil, err
	}
	for d := dir; len(d) >= len(l.dir); d = filepath.Dir(d) {
		if err := disk.SyncDir(d); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// Logs lists the streamed logs of a task, by attempt and name.
func (q *Queue) Logs(ctx context.Context, id albs.TaskID) ([]LogInfo, error) {
	if _, err := q.Task(ctx, id); err != nil {
		return nil, err
	}
	dir := filepath.Join(q.logs.dir, id.String())
	var infos []LogInfo
	err := filepath.WalkDir(dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		number, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		stream, ok := strings.CutSuffix(e.Name(), logSuffix)
		if err != nil || !ok {
			return nil // not ours
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		infos = append(infos, LogInfo{Attempt: number, Stream: stream, Size: fi.Size()})
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs of task %d: %w", id, err)
	}
	slices.SortStableFunc(infos, func(a, b LogInfo) int { return a.Attempt - b.Attempt })
	return infos, nil
}

// ReadLog opens up to length bytes of a streamed log from offset, length < 0 for
// all there is now, and returns the log's present size with it. An offset at or
// beyond the end reads nothing. NotFound if there is no such log. To follow a log
// wait for LogTopic's wake-ups and read on.
func (q *Queue) ReadLog(ctx context.Context, id albs.TaskID, attempt int, stream string, offset, length int64) (io.ReadCloser, int64, error) {
	path, err := q.logs.path(id, attempt, stream)
	if err != nil {
		return nil, 0, err
	}
	if offset < 0 {
		return nil, 0, albs.Errorf(albs.Invalid, "a log has no offset %d", offset)
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, 0, albs.Errorf(albs.NotFound, "task %d has no log %s of attempt %d", id, stream, attempt)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("open log: %w", err)
	}
	fi, err := f.Stat()
	if err != nil {
		return nil, 0, errors.Join(fmt.Errorf("open log: %w", err), f.Close())
	}
	left := max(fi.Size()-offset, 0)
	if length < 0 || length > left {
		length = left
	}
	return struct {
		io.Reader
		io.Closer
	}{io.NewSectionReader(f, offset, length), f}, fi.Size(), nil
}

// LogTopic is the event topic that is woken, without an event, when one of the
// task's logs grows.
func LogTopic(id albs.TaskID) string { return "log:" + id.String() }
