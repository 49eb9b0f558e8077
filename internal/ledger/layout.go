package ledger

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/codenotary/immudb/embedded/store"

	"albs/internal/albs"
	"albs/internal/disk"
)

// version is that of the directory's layout.
const version = 1

// maxHead bounds the head of an immudb file; they have about 200 bytes.
const maxHead = 4096

// description is ledger.json.
type description struct {
	Version int    `json:"version"`
	ID      string `json:"id"`
	// Heads are the fingerprints of the heads that immudb gives its files, by
	// folder. The heads hold the sizes that were fixed at creation; immudb takes
	// memory by them unchecked.
	Heads map[string]albs.Digest `json:"heads"`
}

// prepare makes dir's ledger ready to be opened, creating it if there is none, and
// returns the folder that holds ledger.json and store. A new ledger appears whole,
// by one rename.
func prepare(dir string) (place string, d description, err error) {
	place, fresh := filepath.Join(dir, "ledger"), filepath.Join(dir, "new")
	if err := os.RemoveAll(fresh); err != nil { // of a creation that was cut off
		return "", d, fmt.Errorf("open ledger: %w", err)
	}
	if _, err := os.Stat(place); errors.Is(err, fs.ErrNotExist) {
		if err := create(fresh); err != nil {
			return "", d, fmt.Errorf("create ledger: %w", err)
		}
		if err := os.Rename(fresh, place); err != nil {
			return "", d, fmt.Errorf("create ledger: %w", err)
		}
		if err := disk.SyncDir(dir); err != nil {
			return "", d, fmt.Errorf("create ledger: %w", err)
		}
	} else if err != nil {
		return "", d, fmt.Errorf("open ledger: %w", err)
	}

	path := filepath.Join(place, "ledger.json")
	b, err := os.ReadFile(path)
	if err != nil {
		return "", d, albs.Errorf(albs.Internal, "open ledger: %w", err)
	}
	if err := json.Unmarshal(b, &d); err != nil {
		return "", d, albs.Errorf(albs.Internal, "read %s: %w", path, err)
	}
	if d.Version != version {
		return "", d, albs.Errorf(albs.Internal, "%s is of version %d; this albs knows version %d", path, d.Version, version)
	}
	if raw, err := hex.DecodeString(d.ID); err != nil || len(raw) != 16 || len(d.Heads) == 0 {
		return "", d, albs.Errorf(albs.Internal, "%s is damaged: it lacks the ledger's id or the heads of its files", path)
	}
	return place, d, d.check(filepath.Join(place, "store"))
}

// check compares the heads of the files in dir, an immudb store. A damaged index is
// removed, for it can be made again; other damage is an error.
func (d description) check(dir string) error {
	index := filepath.Join(dir, "index")
	if err := dropIndexTime(index); err != nil {
		return fmt.Errorf("open ledger: %w", err)
	}
	found, err := heads(dir)
	if err == nil {
		for folder, want := range d.Heads {
			if _, ok := found[folder]; !ok || want != found[folder] {
				err = errors.Join(err, &headError{folder})
			}
		}
	}
	if err == nil {
		return nil
	}
	if damaged, ok := errors.AsType[*headError](err); ok && strings.HasPrefix(damaged.folder, "index") {
		if err := os.RemoveAll(index); err != nil {
			return fmt.Errorf("open ledger: %w", err)
		}
		for folder := range d.Heads {
			if strings.HasPrefix(folder, "index") {
				delete(d.Heads, folder)
			}
		}
		return d.check(dir)
	}
	return albs.Errorf(albs.Internal, "open ledger in %s: %w", dir, err)
}

// headError says that the head of a file is not what it was at creation.
type headError struct{ folder string }

func (e *headError) Error() string { return "a file in " + e.folder + " is damaged" }

// create makes a new ledger with an id of its own in dir.
func create(dir string) error {
	raw := make([]byte, 16)
	rand.Read(raw) // never fails, by its contract
	d := description{Version: version, ID: hex.EncodeToString(raw)}
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	st, err := openStore(filepath.Join(dir, "store"), options(newFaults()))
	if err != nil {
		return err
	}
	tx, err := st.NewWriteOnlyTx(context.Background())
	if err == nil {
		if err = tx.Set([]byte(idKey), nil, []byte(d.ID)); err == nil {
			_, err = tx.Commit(context.Background())
		}
	}
	if err = errors.Join(err, st.Close()); err != nil {
		return err
	}
	if d.Heads, err = heads(filepath.Join(dir, "store")); err != nil {
		return err
	}
	b, err := json.MarshalIndent(d, "", "  ")
	if err != nil {
		return err
	}
	return disk.WriteFile(filepath.Join(dir, "ledger.json"), append(b, '\n'), 0o640)
}

// openStore turns a panic of immudb on damaged files into an error.
func openStore(dir string, o *store.Options) (st *store.ImmuStore, err error) {
	defer recovered(&err, "open store")
	return store.Open(dir, o)
}

// heads returns the fingerprint of the file heads in each folder below dir; all
// files of one folder have the same. Files outside of the known folders count as
// damage, for immudb would take them for its own.
func heads(dir string) (map[string]albs.Digest, error) {
	found := make(map[string]albs.Digest)
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		folder, err := filepath.Rel(dir, filepath.Dir(p))
		if err != nil {
			return err
		}
		d, err := head(p)
		if err != nil {
			return err
		}
		if before, ok := found[folder]; d == "" || ok && before != d {
			return &headError{folder}
		}
		found[folder] = d
		return nil
	})
	return found, err
}

// head returns the fingerprint of one file's head, or "" if it has none: the
// head's length in four bytes, then its fields. immudb writes these in no fixed
// order, so the fingerprint is that of the bytes sorted.
func head(path string) (albs.Digest, error) {
	f, err := os.Open(path)
	if err != nil {
		return "", err
	}
	defer f.Close()
	r := bufio.NewReader(f)
	var size [4]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return "", nil
	}
	n := binary.BigEndian.Uint32(size[:])
	if n > maxHead {
		return "", nil
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", nil
	}
	slices.Sort(b)
	return albs.DigestOf(bytes.Join([][]byte{size[:], b}, nil)), nil
}

// dropIndexTime removes immudb's note of how far its index had come. immudb
// believes the note even if it then discards the index for a wrong checksum, and
// panics on a short one; without it the index says itself how far it reaches.
func dropIndexTime(dir string) error {
	entries, err := os.ReadDir(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, e := range entries {
		if e.Type().IsRegular() {
			if err := os.Remove(filepath.Join(dir, e.Name())); err != nil {
				return err
			}
		}
	}
	return nil
}
