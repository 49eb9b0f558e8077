package scrub

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"

	"albs/internal/albs"
	"albs/internal/blob"
)

// Copy is somewhere else that the bytes of a blob may lie, right or wrong.
type Copy struct {
	// Name is what the log calls it.
	Name string
	// Open opens what it has of a blob, or is NotFound.
	Open func(ctx context.Context, d albs.Digest) (io.ReadCloser, error)
}

// Folder is a folder on this host that holds files by their sha256: another store's or a
// backup of one (sha256/ab/cdef…), a worker's cache of what it was given, which is one
// too, or a releaser's public place, whose pools keep packages so.
func Folder(dir string) Copy {
	return Copy{Name: dir, Open: func(_ context.Context, d albs.Digest) (io.ReadCloser, error) {
		ab, rest := string(d[:2]), string(d[2:])
		names := []string{filepath.Join(dir, "sha256", ab, rest)}
		products, err := os.ReadDir(dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, p := range products {
			names = append(names, filepath.Join(dir, p.Name(), "pool", ".digest", ab, string(d)))
		}
		for _, name := range names {
			f, err := os.Open(name)
			if err == nil {
				return f, nil
			}
			if !errors.Is(err, fs.ErrNotExist) && !errors.Is(err, syscall.ENOTDIR) {
				return nil, err
			}
		}
		return nil, albs.Errorf(albs.NotFound, "%s has no copy", dir)
	}}
}

// Cache is what a store reads from in place of its storage, where it has such a thing:
// the copies that a store in a bucket keeps on this host.
func Cache(s blob.Store) Copy {
	return Copy{Name: "the cache", Open: func(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
		return s.Open(ctx, d)
	}}
}
