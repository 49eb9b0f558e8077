package release

import (
	"context"
	"fmt"
	"slices"
	"sync"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// maxReach is how many trees are remembered by what they are made of: as many
// products as are published at once. One of 500,000 packages takes some 30 MB.
const maxReach = 4

// reach remembers what the trees are made of that are being published. A releaser
// asks for it blob by blob, and the tree of a distribution has a hundred
// repositories, of which none could be asked each time.
type reach struct {
	mu    sync.Mutex
	names map[albs.Digest]names // by tree
	order []albs.Digest         // trees, the one remembered longest first
}

// names are the blobs that one may read who may read a tree.
type names map[[32]byte]struct{}

func (n names) add(d albs.Digest) { n[[32]byte(d.Bytes())] = struct{}{} }

func (n names) has(d albs.Digest) bool {
	if !d.Valid() {
		return false
	}
	_, ok := n[[32]byte(d.Bytes())]
	return ok
}

// reachOf returns what the tree of a document is made of: its files, and of each
// snapshot the root, the entry lists, the metadata and the packages. Who asks while
// it is being found out waits.
func (r *Releases) reachOf(ctx context.Context, tree albs.Digest) (names, error) {
	r.reach.mu.Lock()
	defer r.reach.mu.Unlock()
	if n, ok := r.reach.names[tree]; ok {
		return n, nil
	}
	t, err := r.repos.ReadTree(ctx, tree)
	if err != nil {
		return nil, err
	}
	n := names{}
	for _, f := range t.Files {
		n.add(f.Digest)
	}
	for _, p := range t.Repositories {
		s, err := r.repos.Open(ctx, p.Snapshot)
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", p.Path, err)
		}
		n.add(s.Digest())
		for _, f := range s.Files() {
			n.add(f.Digest)
		}
		for _, d := range s.Parts() {
			n.add(d)
		}
		err = s.Packages(ctx, r.repos.Blobs(), func(e repodata.Entry) error {
			n.add(e.Digest)
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("repository %s: %w", p.Path, err)
		}
	}
	if len(r.reach.order) == maxReach {
		delete(r.reach.names, r.reach.order[0])
		r.reach.order = slices.Delete(r.reach.order, 0, 1)
	}
	r.reach.names[tree] = n
	r.reach.order = append(r.reach.order, tree)
	return n, nil
}

// forget drops what is remembered of a tree; nobody reads it any more.
func (r *reach) forget(tree albs.Digest) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.names, tree)
	r.order = slices.DeleteFunc(r.order, func(d albs.Digest) bool { return d == tree })
}
