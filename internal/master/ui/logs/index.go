// Package logs finds lines in the logs of tasks, however long they are and while they
// grow, and makes what is in them text that does nothing.
package logs

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"sync"

	"albs/internal/albs"
	"albs/internal/master/queue"
)

// Logs finds lines in streamed logs by their number. It may be used concurrently. Logs only grow, so what is
// once known of where lines begin stays true; a log's index is kept while it is
// among the last used.
type Logs struct {
	queue *queue.Queue
	mu    sync.Mutex
	known map[Ref]*lineIndex
	used  []Ref // the least recently used first
}

// Ref names one stream of one attempt.
type Ref struct {
	Task    albs.TaskID
	Attempt int
	Stream  string
}

// maxIndexes bounds the logs whose lines are known at once. An index has 8 bytes
// for each stride of lines: 4 MiB at the very worst, 40 KiB for a log of 200 MB.
const maxIndexes = 64

// New returns the logs of the tasks of q. It does no I/O.
func New(q *queue.Queue) *Logs { return &Logs{queue: q, known: make(map[Ref]*lineIndex)} }

func (l *Logs) index(ref Ref) *lineIndex {
	l.mu.Lock()
	defer l.mu.Unlock()
	for i, r := range l.used {
		if r == ref {
			l.used = append(l.used[:i], l.used[i+1:]...)
			break
		}
	}
	l.used = append(l.used, ref)
	x := l.known[ref]
	if x == nil {
		x = newLineIndex()
		l.known[ref] = x
	}
	if len(l.used) > maxIndexes {
		delete(l.known, l.used[0])
		l.used = l.used[1:]
	}
	return x
}

// Extent is how much of a log there is.
type Extent struct {
	Lines int   `json:"lines"` // one that has not ended yet among them
	Size  int64 `json:"size"`  // bytes
}

// Extent looks how far a log has come; NotFound if there is none.
func (l *Logs) Extent(ctx context.Context, ref Ref) (Extent, error) {
	x := l.index(ref)
	x.mu.Lock()
	defer x.mu.Unlock()
	rc, _, err := l.queue.ReadLog(ctx, ref.Task, ref.Attempt, ref.Stream, x.size, -1)
	if err != nil {
		return Extent{}, err
	}
	err = x.extend(ctx, rc)
	if err = errors.Join(err, rc.Close()); err != nil {
		return Extent{}, fmt.Errorf("index log: %w", err)
	}
	return Extent{x.total(), x.size}, nil
}

// Lines returns up to count lines from the line from on, and the log's extent.
func (l *Logs) Lines(ctx context.Context, ref Ref, from, count int) ([]Line, Extent, error) {
	e, err := l.Extent(ctx, ref)
	if err != nil || from > e.Lines {
		return nil, e, err
	}
	x := l.index(ref)
	x.mu.Lock()
	at, offset := x.before(from)
	x.mu.Unlock()
	rc, _, err := l.queue.ReadLog(ctx, ref.Task, ref.Attempt, ref.Stream, offset, e.Size-offset)
	if err != nil {
		return nil, e, err
	}
	out, err := readLines(rc, at, from, min(count, e.Lines-from+1))
	if err = errors.Join(err, rc.Close()); err != nil {
		return nil, e, fmt.Errorf("read log: %w", err)
	}
	return out, e, nil
}

// Find returns the number of the first line behind after that has needle in it, in
// any case of ASCII letters; 0 if none has.
func (l *Logs) Find(ctx context.Context, ref Ref, needle string, after int) (int, error) {
	e, err := l.Extent(ctx, ref)
	if err != nil || after >= e.Lines {
		return 0, err
	}
	x := l.index(ref)
	x.mu.Lock()
	at, offset := x.before(after + 1)
	x.mu.Unlock()
	rc, _, err := l.queue.ReadLog(ctx, ref.Task, ref.Attempt, ref.Stream, offset, e.Size-offset)
	if err != nil {
		return 0, err
	}
	n, err := findLine(ctx, rc, at, after+1, []byte(needle))
	if err = errors.Join(err, rc.Close()); err != nil {
		return 0, fmt.Errorf("search log: %w", err)
	}
	return n, nil
}

// findLine reads r, whose first byte begins line at, and returns the first line
// from from on that has needle.
func findLine(ctx context.Context, r io.Reader, at, from int, needle []byte) (int, error) {
	needle = lower(bytes.Clone(needle))
	buf := make([]byte, 0, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return 0, err
		}
		held := len(buf)
		n, err := r.Read(buf[held:cap(buf)])
		buf = buf[:held+n]
		lower(buf[held:])
		last := errors.Is(err, io.EOF)
		if err != nil && !last {
			return 0, err
		}
		for line, pos, start := at, 0, 0; ; {
			i := bytes.Index(buf[start:], needle)
			if i < 0 {
				break
			}
			line += bytes.Count(buf[pos:start+i], []byte("\n"))
			pos = start + i
			if line >= from {
				return line, nil
			}
			next := bytes.IndexByte(buf[pos:], '\n') // the rest of the line is too early as well
			if next < 0 {
				break
			}
			start = pos + next + 1
		}
		if last {
			return 0, nil
		}
		// What could be the first half of a match stays.
		keep := min(len(needle)-1, len(buf))
		at += bytes.Count(buf[:len(buf)-keep], []byte("\n"))
		buf = buf[:copy(buf, buf[len(buf)-keep:])]
	}
}

func lower(b []byte) []byte {
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return b
}

// stride is how many lines apart the known beginnings are.
const stride = 512

// lineIndex knows where every stride-th line of a growing log begins.
type lineIndex struct {
	mu    sync.Mutex
	size  int64   // bytes seen
	ended int     // lines seen to their end
	open  bool    // there are bytes behind the last end of line
	marks []int64 // marks[i] is where line 1+i*stride begins
}

func newLineIndex() *lineIndex { return &lineIndex{marks: []int64{0}} }

// total is the number of lines.
func (x *lineIndex) total() int {
	if x.open {
		return x.ended + 1
	}
	return x.ended
}

// extend takes in what comes behind the bytes seen so far.
func (x *lineIndex) extend(ctx context.Context, r io.Reader) error {
	buf := make([]byte, 256<<10)
	for {
		if err := ctx.Err(); err != nil {
			return err
		}
		n, err := r.Read(buf)
		x.add(buf[:n])
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

func (x *lineIndex) add(p []byte) {
	for i := 0; i < len(p); {
		j := bytes.IndexByte(p[i:], '\n')
		if j < 0 {
			break
		}
		i += j + 1
		x.ended++
		if x.ended%stride == 0 {
			x.marks = append(x.marks, x.size+int64(i))
		}
	}
	if len(p) > 0 {
		x.open = p[len(p)-1] != '\n'
		x.size += int64(len(p))
	}
}

// before returns the last known beginning at or before a line, and its line.
func (x *lineIndex) before(line int) (at int, offset int64) {
	i := min((line-1)/stride, len(x.marks)-1)
	return 1 + i*stride, x.marks[i]
}
