package worker

import (
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/disk"
)

// spool is a loop's directory for attempts: one folder each, from claim to the
// end of delivery.
//
//	lock                      held by flock(2) while a loop uses the spool
//	TASK-FENCE/lease.json     the token and the lease's term
//	TASK-FENCE/logs/STREAM    the log as the job wrote it, sent on from here
//	TASK-FENCE/files/SHA256   uploads that the master could not take yet
//	TASK-FENCE/tmp/           what the job puts there
//	TASK-FENCE/end.json       outcome and result; its presence says that the job ended
//
// A folder without end.json after a start is work that a crash cut off.
type spool struct {
	dir  string
	lock *os.File
}

func openSpool(dir string) (*spool, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, albs.Errorf(albs.Unavailable, "make the spool: %w", err)
	}
	lock, err := disk.Lock(filepath.Join(dir, "lock"))
	if errors.Is(err, albs.Conflict) {
		return nil, albs.Errorf(albs.Conflict, "another worker uses the spool %s", dir)
	}
	if err != nil {
		return nil, albs.Errorf(albs.Unavailable, "lock the spool: %w", err)
	}
	return &spool{dir: dir, lock: lock}, nil
}

func (s *spool) close() error { return disk.Unlock(s.lock) }

// attempt is one folder of the spool.
type attempt struct {
	dir string
	leaseFile
}

type leaseFile struct {
	Token Token         `json:"token"`
	Term  time.Duration `json:"term"`
}

// begin makes the folder of a lease; it is durable on return.
func (s *spool) begin(l *Lease) (*attempt, error) {
	a := &attempt{
		dir:       filepath.Join(s.dir, fmt.Sprintf("%d-%d", l.Token.Task, l.Token.Fence)),
		leaseFile: leaseFile{Token: l.Token, Term: l.Term},
	}
	for _, sub := range []string{"logs", "files", "tmp"} {
		if err := os.MkdirAll(filepath.Join(a.dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("make the attempt's folder: %w", err)
		}
	}
	if err := writeJSON(filepath.Join(a.dir, "lease.json"), a.leaseFile); err != nil {
		return nil, err
	}
	return a, disk.SyncDir(s.dir) // or a power cut takes the folder with all that finish made last
}

// leftovers returns the attempts of an earlier run. A folder that has no lease.json
// began to be made and nothing more; it is removed. One whose lease.json cannot be
// read may hold a result: it stays for a person to see.
func (s *spool) leftovers(log zerolog.Logger) ([]*attempt, error) {
	entries, err := os.ReadDir(s.dir)
	if err != nil {
		return nil, fmt.Errorf("read the spool: %w", err)
	}
	var as []*attempt
	for _, e := range entries {
		if !e.IsDir() {
			continue
		}
		a := &attempt{dir: filepath.Join(s.dir, e.Name())}
		err := readJSONFile(filepath.Join(a.dir, "lease.json"), &a.leaseFile)
		if errors.Is(err, fs.ErrNotExist) {
			if err := a.remove(); err != nil {
				return nil, err
			}
			continue
		}
		if err != nil {
			log.Error().Err(err).Str("folder", a.dir).Msg("an attempt in the spool cannot be read and is left alone")
			continue
		}
		as = append(as, a)
	}
	return as, nil
}

// finish records how the job ended; it is durable on return.
func (a *attempt) finish(c completion) error { return writeJSON(filepath.Join(a.dir, "end.json"), c) }

// end returns what finish recorded, or a fs.ErrNotExist error.
func (a *attempt) end() (completion, error) {
	var c completion
	err := readJSONFile(filepath.Join(a.dir, "end.json"), &c)
	return c, err
}

func (a *attempt) remove() error {
	if err := os.RemoveAll(a.dir); err != nil {
		return fmt.Errorf("clear the attempt's folder: %w", err)
	}
	return nil
}

// streams returns the names of the attempt's logs.
func (a *attempt) streams() ([]string, error) {
	return names(filepath.Join(a.dir, "logs"), func(s string) bool { return ValidStream(s) == nil })
}

func (a *attempt) logPath(stream string) string { return filepath.Join(a.dir, "logs", stream) }

// files returns the uploads that wait.
func (a *attempt) files() ([]string, error) {
	return names(filepath.Join(a.dir, "files"), func(s string) bool { return albs.Digest(s).Valid() })
}

func (a *attempt) filePath(d albs.Digest) string { return filepath.Join(a.dir, "files", string(d)) }

// keep copies r, which must hash to d, among the uploads that wait.
func (a *attempt) keep(d albs.Digest, r io.Reader) error {
	err := disk.Write(a.filePath(d), 0o600, func(w io.Writer) error {
		h := sha256.New()
		if _, err := io.Copy(io.MultiWriter(w, h), r); err != nil {
			return err
		}
		if albs.DigestFrom(h) != d {
			return fmt.Errorf("the file of sha256 %s changed while it was read", d)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("keep an upload: %w", err)
	}
	return nil
}

func names(dir string, ok func(string) bool) ([]string, error) {
	entries, err := os.ReadDir(dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, fmt.Errorf("read the attempt's folder: %w", err)
	}
	var list []string
	for _, e := range entries {
		if ok(e.Name()) {
			list = append(list, e.Name())
		}
	}
	slices.SortFunc(list, strings.Compare)
	return list, nil
}

func writeJSON(path string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("encode %s: %w", path, err)
	}
	return disk.WriteFile(path, b, 0o600)
}

func readJSONFile(path string, v any) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, v)
}
