package history

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/master/repo"
	"albs/internal/repodata"
)

// Held is what a repository of a product held at a serial, in numbers.
type Held struct {
	Path     string
	Snapshot albs.Digest
	Packages int
	Bytes    int64 // of the packages
	Records  []repodata.Record
}

// maxSizes is how many snapshots' sizes are remembered.
const maxSizes = 4096

// Holdings returns what a product showed at a serial, 0 for now, and its repositories by
// path. It is NotFound if the product showed nothing then. The packages of a snapshot
// are read once, to add up their sizes: a snapshot never changes.
func (h *History) Holdings(ctx context.Context, product string, serial int64) (repo.Tree, []Held, error) {
	t, err := h.tree(ctx, Ref{Product: product, Serial: serial})
	if err != nil {
		return t, nil, err
	}
	doc, err := h.repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return t, nil, err
	}
	out := make([]Held, len(doc.Repositories))
	for i, r := range doc.Repositories {
		s, err := h.repos.Open(ctx, r.Snapshot)
		if err != nil {
			return t, nil, fmt.Errorf("repository %s: %w", r.Path, err)
		}
		out[i] = Held{Path: r.Path, Snapshot: r.Snapshot, Packages: s.Len(), Records: s.Records()}
		if out[i].Bytes, err = h.size(ctx, s); err != nil {
			return t, nil, fmt.Errorf("repository %s: %w", r.Path, err)
		}
	}
	return t, out, nil
}

// size adds up the packages of a snapshot.
func (h *History) size(ctx context.Context, s *repodata.Snapshot) (int64, error) {
	h.mu.Lock()
	n, known := h.sizes[s.Digest()]
	h.mu.Unlock()
	if known {
		return n, nil
	}
	err := s.Packages(ctx, h.repos.Blobs(), func(e repodata.Entry) error {
		n += e.Size
		return nil
	})
	if err != nil {
		return 0, err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.sizes) >= maxSizes {
		clear(h.sizes) // costs reading them again, nothing else
	}
	h.sizes[s.Digest()] = n
	return n, nil
}

// Moment is a serial of a product, and whether a repository is another in it than in
// the serial before.
type Moment struct {
	repo.Tree
	Changed bool
}

// Moments returns up to limit serials of a product, newest first, of those below the
// serial before (0: from the newest), with whether the repository at path changed with
// each: a serial in which it came or went is one.
func (h *History) Moments(ctx context.Context, product, path string, before int64, limit int) ([]Moment, error) {
	trees, err := h.repos.Trees(ctx, product, before, limit+1) // the last is only compared with
	if err != nil {
		return nil, err
	}
	var out []Moment
	var newer albs.Digest
	for i, t := range trees {
		snapshot, err := h.snapshot(ctx, t, path)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out[i-1].Changed = newer != snapshot
		}
		if i == limit {
			break
		}
		out = append(out, Moment{Tree: t, Changed: snapshot != ""}) // of a first serial
		newer = snapshot
	}
	return out, nil
}

// snapshot is that of the repository at path in a tree, "" if it has none there.
func (h *History) snapshot(ctx context.Context, t repo.Tree, path string) (albs.Digest, error) {
	doc, err := h.repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return "", err
	}
	for _, r := range doc.Repositories {
		if r.Path == path {
			return r.Snapshot, nil
		}
	}
	return "", nil
}
