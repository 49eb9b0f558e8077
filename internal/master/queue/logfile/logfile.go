// Package logfile keeps the logs that workers stream: a file for each stream of each
// attempt, which only grows.
//
// It owns the directory, the offsets and the bounds; of tasks it knows the number and no
// more, and who may write is decided before it is asked. What always holds: a byte stays
// where it was first put, and what was acknowledged is on disk.
package logfile

import (
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

// Dir is the directory of the files, which are Dir/<task>/<attempt>/<stream>.log. Several
// masters may share it: a lock on the file makes their appends one after another.
type Dir string

// Info is one stream of one attempt.
type Info struct {
	Attempt int    `json:"attempt"`
	Stream  string `json:"stream"`
	Size    int64  `json:"size"`
}

const suffix = ".log"

func (d Dir) task(id albs.TaskID) string { return filepath.Join(string(d), id.String()) }

func (d Dir) path(id albs.TaskID, attempt int, stream string) (string, error) {
	if err := worker.ValidStream(stream); err != nil {
		return "", err
	}
	return filepath.Join(d.task(id), strconv.Itoa(attempt), stream+suffix), nil
}

// Append adds p, whose first byte belongs at offset, not below 0, and returns the log's
// length, also with a Conflict, which is a gap before p. What is there already is passed
// over. A name that can't be is Invalid, what goes beyond the contract's bounds TooLarge.
// What it returns is on disk.
func (d Dir) Append(id albs.TaskID, attempt int, stream string, offset int64, p []byte) (int64, error) {
	path, err := d.path(id, attempt, stream)
	if err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY, 0)
	if errors.Is(err, fs.ErrNotExist) {
		f, err = d.create(path)
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
func (d Dir) create(path string) (*os.File, error) {
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
	for up := dir; len(up) >= len(d); up = filepath.Dir(up) {
		if err := disk.SyncDir(up); err != nil {
			return nil, errors.Join(err, f.Close())
		}
	}
	return f, nil
}

// List returns the logs of a task, by attempt and name; none of one that has none.
func (d Dir) List(id albs.TaskID) ([]Info, error) {
	var infos []Info
	err := filepath.WalkDir(d.task(id), func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		number, err := strconv.Atoi(filepath.Base(filepath.Dir(path)))
		stream, ok := strings.CutSuffix(e.Name(), suffix)
		if err != nil || !ok {
			return nil // not ours
		}
		fi, err := e.Info()
		if err != nil {
			return err
		}
		infos = append(infos, Info{Attempt: number, Stream: stream, Size: fi.Size()})
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs of task %d: %w", id, err)
	}
	slices.SortStableFunc(infos, func(a, b Info) int { return a.Attempt - b.Attempt })
	return infos, nil
}

// Open opens up to length bytes of a log from offset, length < 0 for all there is now,
// and returns the log's present size with it. An offset at or beyond the end reads
// nothing. NotFound if there is no such log.
func (d Dir) Open(id albs.TaskID, attempt int, stream string, offset, length int64) (io.ReadCloser, int64, error) {
	path, err := d.path(id, attempt, stream)
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

// Tasks returns the tasks that have logs, by id.
func (d Dir) Tasks() ([]albs.TaskID, error) {
	entries, err := os.ReadDir(string(d))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("list logs: %w", err)
	}
	var ids []albs.TaskID
	for _, e := range entries {
		if n, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && albs.TaskID(n).String() == e.Name() && e.IsDir() {
			ids = append(ids, albs.TaskID(n))
		}
	}
	slices.Sort(ids)
	return ids, nil
}

// Remove removes all logs of a task, to which nobody appends any more. Removing what
// isn't there is no error.
func (d Dir) Remove(id albs.TaskID) error {
	return disk.Trouble(os.RemoveAll(d.task(id)), "remove logs of task %d", id)
}
