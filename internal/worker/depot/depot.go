// Package depot gives dnf on a worker exactly the repositories that a task's spec
// names: snapshots of the master by digest, and outside mirrors as the master
// pinned them. It owns a cache of blobs by digest, shared by all tasks of the
// worker, and one loopback server a task.
//
// dnf sees no credential and nothing that floats: whatever is served was named by
// a digest in the spec, in a snapshot that the spec names, or in the metadata of a
// mirror whose repomd.xml the spec names by digest, and has been verified against
// that digest before its first byte goes out. What was served is on record.
//
// The package doesn't run dnf and doesn't know what a package is for.
package depot

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/egress"
)

// DefaultMaxBytes is the cache's size when Config doesn't say.
const DefaultMaxBytes = 20 << 30

// Config says where the cache is.
type Config struct {
	Dir      string `yaml:"-"`         // the cache; set from the data directory
	MaxBytes int64  `yaml:"max_bytes"` // what the cache may hold; 0 is DefaultMaxBytes
}

// Depot is a worker's cache and the maker of its tasks' servers. It may be used
// concurrently.
type Depot struct {
	blobs    *blob.Dir
	maxBytes int64
	egress   *egress.Egress

	mu      sync.Mutex
	clock   int64 // counts uses
	total   int64
	held    map[albs.Digest]*cached
	flights map[albs.Digest]*flight
	indexes map[albs.Digest]*index // by digest of the mirror's repomd.xml
}

// cached is one blob of the cache.
type cached struct {
	size int64
	used int64 // by Depot.clock
}

// flight is a blob on its way into the cache.
type flight struct {
	done chan struct{}
	err  error
	dead bool // its task ended first; that says nothing of the blob
}

// New opens the cache in c.Dir, which it creates, and counts what is there.
// Mirrors are reached through e. It fails as blob.NewDir does.
func New(c Config, e *egress.Egress) (*Depot, error) {
	if c.Dir == "" || e == nil {
		return nil, albs.Errorf(albs.Invalid, "a depot needs a directory and an egress")
	}
	blobs, err := blob.NewDir(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("open the depot's cache: %w", err)
	}
	d := &Depot{
		blobs: blobs, maxBytes: cmp.Or(c.MaxBytes, DefaultMaxBytes), egress: e,
		held: make(map[albs.Digest]*cached), flights: make(map[albs.Digest]*flight), indexes: make(map[albs.Digest]*index),
	}
	err = blobs.Walk(context.Background(), func(name albs.Digest, size int64) error {
		d.held[name] = &cached{size: size}
		d.total += size
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the depot's cache: %w", err)
	}
	return d, nil
}

// source opens the bytes of a blob that the cache lacks.
type source func(ctx context.Context) (io.ReadCloser, error)

// open returns the blob name, verified, out of the cache, after filling it from
// src if need be. One fill runs for all who wait for a blob.
func (d *Depot) open(ctx context.Context, name albs.Digest, src source) (blob.Reader, error) {
	for {
		r, err := d.verified(ctx, name)
		if err == nil {
			d.touch(name, r.Size())
			return r, nil
		}
		if !errors.Is(err, albs.NotFound) && !errors.Is(err, blob.ErrCorrupt) {
			return nil, err
		}
		d.mu.Lock()
		f := d.flights[name]
		mine := f == nil
		if mine {
			f = &flight{done: make(chan struct{})}
			d.flights[name] = f
		}
		d.mu.Unlock()
		if mine {
			d.fill(ctx, name, src, f)
		}
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, albs.Errorf(albs.Unavailable, "wait for %s: %w", name.Short(), context.Cause(ctx))
		}
		if f.err != nil && (mine || !f.dead) {
			return nil, f.err
		}
	}
}

// verified opens a cached blob; reading at its start has the store check it all.
func (d *Depot) verified(ctx context.Context, name albs.Digest) (blob.Reader, error) {
	r, err := d.blobs.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	if _, err := r.ReadAt(make([]byte, 1), 0); err != nil && err != io.EOF {
		_ = r.Close() // only read
		return nil, err
	}
	return r, nil
}

func (d *Depot) fill(ctx context.Context, name albs.Digest, src source, f *flight) {
	f.err = func() error {
		body, err := src(ctx)
		if err != nil {
			return err
		}
		defer body.Close()
		size, err := d.blobs.Put(ctx, name, body)
		if err != nil {
			return err
		}
		d.touch(name, size)
		return nil
	}()
	f.dead = f.err != nil && ctx.Err() != nil
	d.mu.Lock()
	delete(d.flights, name)
	d.mu.Unlock()
	close(f.done)
}

// touch notes a use and drops what was not used for longest once the cache is over
// its size. Readers that have a dropped blob open go on.
func (d *Depot) touch(name albs.Digest, size int64) {
	d.mu.Lock()
	d.clock++
	c := d.held[name]
	if c == nil {
		c = &cached{size: size}
		d.held[name] = c
		d.total += size
	}
	c.used = d.clock
	var drop []albs.Digest
	if d.total > d.maxBytes {
		byAge := make([]albs.Digest, 0, len(d.held))
		for n := range d.held {
			if n != name {
				byAge = append(byAge, n)
			}
		}
		slices.SortFunc(byAge, func(a, b albs.Digest) int { return cmp.Compare(d.held[a].used, d.held[b].used) })
		// Down to nine tenths, so that a full cache isn't sorted at each fill.
		for _, n := range byAge {
			if d.total <= d.maxBytes/10*9 {
				break
			}
			d.total -= d.held[n].size
			delete(d.held, n)
			drop = append(drop, n)
		}
	}
	d.mu.Unlock()
	for _, n := range drop {
		_ = d.blobs.Remove(context.Background(), n) // what stays is counted again at the next start
	}
}
