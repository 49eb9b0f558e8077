package signer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
)

// event says what a journal's line tells.
type event string

const (
	intentEvent event = "intent" // a signature or a key is about to be made
	resultEvent event = "result" // it was made, or not: Error says why
)

// entry is one line of the journal. Prev is the digest of the line before, so that
// none can be taken out or changed without all that follow.
type entry struct {
	Prev      albs.Digest `json:"prev,omitempty"`
	At        time.Time   `json:"at"`
	Event     event       `json:"event"`
	What      string      `json:"what"` // package, document, key
	Task      albs.TaskID `json:"task"`
	Attempt   int         `json:"attempt"`
	Key       string      `json:"key,omitempty"` // fingerprint
	Product   string      `json:"product,omitempty"`
	Of        albs.Digest `json:"of,omitempty"` // what is signed, by digest
	Name      string      `json:"name,omitempty"`
	Dated     time.Time   `json:"dated,omitzero"`      // the time that the signature bears
	Signature albs.Digest `json:"signature,omitempty"` // sha256 of the signature, of a result
	Error     string      `json:"error,omitempty"`
}

// subject is what an intent and its result have in common.
type subject struct {
	what    string
	task    albs.TaskID
	attempt int
	key     string
	of      albs.Digest
	name    string
}

func (e entry) subject() subject {
	return subject{e.What, e.Task, e.Attempt, e.Key, e.Of, e.Name}
}

// journal is the append-only record of what was signed. It may be used
// concurrently.
type journal struct {
	mu   sync.Mutex
	f    *os.File
	last albs.Digest // of the last line
	now  func() time.Time
	used map[string][]time.Time // of each key, when its signatures of the last quotaTime were intended
}

// maxLine bounds a line, the newline in it. add writes none that read would refuse:
// what the master sends must not keep the signer from its next start.
const maxLine = 64 << 10

// openJournal opens the journal, makes it if there is none, and returns the intents
// that have no result. A line that a crash left unfinished is cut off: what it was
// to tell of had not begun, or had ended, and then its intent stays without a
// result. A journal whose lines don't follow each other is Invalid; one that another
// process has open is Conflict.
func openJournal(path string) (*journal, []entry, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, fmt.Errorf("open the signer's journal: %w", err)
	}
	// Held until Close: two signers would tear the chain apart.
	if err := disk.TakeLock(f); err != nil {
		if errors.Is(err, albs.Conflict) {
			err = albs.Errorf(albs.Conflict, "another signer works in %s", filepath.Dir(path))
		}
		return nil, nil, errors.Join(err, f.Close())
	}
	j := &journal{f: f, now: time.Now, used: map[string][]time.Time{}}
	open, err := j.read()
	if err == nil {
		err = disk.SyncDir(filepath.Dir(path))
	}
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("the signer's journal %s: %w", path, err), disk.Unlock(f))
	}
	return j, open, nil
}

func (j *journal) read() ([]entry, error) {
	r := bufio.NewReaderSize(j.f, maxLine)
	open := map[subject]entry{}
	var order []subject
	var end int64
	for n := 1; ; n++ {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			if len(line) > 0 {
				if err := j.f.Truncate(end); err != nil {
					return nil, fmt.Errorf("cut off an unfinished line: %w", err)
				}
			}
			break
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "line %d can't be read: %w", n, err)
		}
		end += int64(len(line))
		var e entry
		if err := json.Unmarshal(line, &e); err != nil || e.Prev != j.last {
			return nil, albs.Errorf(albs.Invalid, "line %d doesn't follow the one before: somebody changed it; keep it, look into it, and move it away", n)
		}
		j.last = albs.DigestOf(line)
		j.count(e)
		switch e.Event {
		case intentEvent:
			if _, ok := open[e.subject()]; !ok {
				order = append(order, e.subject())
			}
			open[e.subject()] = e
		case resultEvent:
			delete(open, e.subject())
		}
	}
	var out []entry
	for _, s := range order {
		if e, ok := open[s]; ok {
			out = append(out, e)
			delete(open, s)
		}
	}
	return out, nil
}

// add appends entries; all of them are on disk on return, or none. It is Invalid if
// one is too long for a line.
func (j *journal) add(es ...entry) error {
	j.mu.Lock()
	defer j.mu.Unlock()
	var b bytes.Buffer
	var written []entry
	last := j.last
	for _, e := range es {
		e.Prev, e.At = last, j.now().UTC()
		if len(e.Error) > 1000 {
			e.Error = e.Error[:1000]
		}
		line, err := json.Marshal(e)
		if err != nil {
			return fmt.Errorf("encode journal: %w", err)
		}
		if line = append(line, '\n'); len(line) > maxLine {
			return albs.Errorf(albs.Invalid, "the name or product of %.40s is too long to be signed: a line of the journal has at most %d bytes", e.Of, maxLine)
		}
		last = albs.DigestOf(line)
		b.Write(line)
		written = append(written, e)
	}
	before, err := j.f.Seek(0, io.SeekEnd)
	if err != nil {
		return fmt.Errorf("write the signer's journal: %w", err)
	}
	_, err = j.f.Write(b.Bytes())
	if err == nil {
		err = j.f.Sync()
	}
	if err != nil {
		// What is half there would make the next line's chain wrong.
		return fmt.Errorf("write the signer's journal: %w", errors.Join(err, j.f.Truncate(before)))
	}
	j.last = last
	for _, e := range written {
		j.count(e)
	}
	return nil
}

// count notes that a key is about to be used, if the entry says so. The making of a
// key is no use of it.
func (j *journal) count(e entry) {
	if e.Event == intentEvent && e.Of != "" && e.At.After(j.now().Add(-quotaTime)) {
		j.used[e.Key] = append(j.used[e.Key], e.At)
	}
}

// uses returns when signatures by a key were intended within the last quotaTime, in
// order: by the journal, so that a new start forgets none. Attempts that brought no
// signature count too.
func (j *journal) uses(key string) []time.Time {
	j.mu.Lock()
	defer j.mu.Unlock()
	since := j.now().Add(-quotaTime)
	j.used[key] = slices.DeleteFunc(j.used[key], func(t time.Time) bool { return !t.After(since) })
	return slices.SortedFunc(slices.Values(j.used[key]), time.Time.Compare)
}

// dates returns what time the signatures bear that earlier attempts at a task were to
// make, by the digest of what they are of: the first one's, if there were more.
func (j *journal) dates(task albs.TaskID, key string) (map[albs.Digest]time.Time, error) {
	wrap := func(err error) error { return fmt.Errorf("look for earlier attempts in the signer's journal: %w", err) }
	fi, err := j.f.Stat()
	if err != nil {
		return nil, wrap(err)
	}
	out := map[albs.Digest]time.Time{}
	r := bufio.NewReaderSize(io.NewSectionReader(j.f, 0, fi.Size()), maxLine)
	for mark := fmt.Appendf(nil, `"task":%d,`, task); ; {
		line, err := r.ReadSlice('\n')
		if errors.Is(err, io.EOF) {
			return out, nil
		}
		if err != nil {
			return nil, wrap(err)
		}
		if !bytes.Contains(line, mark) {
			continue
		}
		var e entry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, wrap(err)
		}
		if _, seen := out[e.Of]; !seen && e.Event == intentEvent && e.Task == task && e.Key == key && !e.Dated.IsZero() {
			out[e.Of] = e.Dated
		}
	}
}

// Close closes the journal.
func (j *journal) Close() error { return disk.Unlock(j.f) }
