// Package history tells what the repositories of products held when, and what changed
// between two such moments. It only reads: serials and snapshots are repo's, which keeps
// every tree that a product has shown.
package history

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/master/repo"
	"albs/internal/repodata"
)

// Ref names a repository of a product as it was shown: at a serial, at a time, or, with
// neither, now.
type Ref struct {
	Product, Path string
	Serial        int64
	At            time.Time
}

// ParseRef reads PRODUCT/PATH, PRODUCT/PATH@SERIAL or PRODUCT/PATH@TIME; the time is as
// in RFC 3339, or a day, which stands for its begin in UTC. Everything else is Invalid.
func ParseRef(s string) (Ref, error) {
	name, when, dated := strings.Cut(s, "@")
	product, path, ok := strings.Cut(name, "/")
	if !ok || product == "" || path == "" {
		return Ref{}, albs.Errorf(albs.Invalid, "%.200q names no repository: give PRODUCT/PATH, and perhaps @SERIAL or @TIME behind it", s)
	}
	r := Ref{Product: product, Path: path}
	if !dated {
		return r, nil
	}
	if n, err := strconv.ParseInt(when, 10, 64); err == nil && n > 0 {
		r.Serial = n
		return r, nil
	}
	for _, layout := range []string{time.RFC3339, time.DateOnly} {
		if at, err := time.Parse(layout, when); err == nil {
			r.At = at
			return r, nil
		}
	}
	return Ref{}, albs.Errorf(albs.Invalid, "%.60q is neither a serial nor a time: give a number from 1, or a time as 2026-01-31T15:04:05Z or 2026-01-31", when)
}

// History answers from the repositories of repos. It may be used concurrently.
type History struct {
	repos *repo.Repos

	mu    sync.Mutex
	sizes map[albs.Digest]int64 // of snapshots' packages
}

// New returns the history of repos. It does no I/O.
func New(repos *repo.Repos) *History {
	return &History{repos: repos, sizes: make(map[albs.Digest]int64)}
}

// Shown is a repository as a product showed it.
type Shown struct {
	Product  string
	Path     string
	Serial   int64
	Since    time.Time // when the serial was shown first
	Snapshot albs.Digest
	Packages []repodata.Entry // by path
	Records  []repodata.Record
}

// Show returns what the repository that ref names held. Errors: Invalid as ParseRef,
// NotFound if the product showed nothing then, or no such repository, Conflict if what it
// showed is beyond its retention. Anyone may ask.
func (h *History) Show(ctx context.Context, ref string) (Shown, error) {
	r, err := ParseRef(ref)
	if err != nil {
		return Shown{}, err
	}
	t, err := h.tree(ctx, r)
	if err != nil {
		return Shown{}, err
	}
	doc, err := h.repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return Shown{}, err
	}
	i := slices.IndexFunc(doc.Repositories, func(d repodata.TreeRepo) bool { return d.Path == r.Path })
	if i < 0 {
		return Shown{}, albs.Errorf(albs.NotFound, "serial %d of product %s has no repository at %.200q", t.Serial, r.Product, r.Path)
	}
	out := Shown{Product: r.Product, Path: r.Path, Serial: t.Serial, Since: t.At.Time, Snapshot: doc.Repositories[i].Snapshot}
	s, err := h.repos.Open(ctx, out.Snapshot)
	if err != nil {
		return Shown{}, err
	}
	out.Records = s.Records()
	err = s.Packages(ctx, h.repos.Blobs(), func(e repodata.Entry) error {
		out.Packages = append(out.Packages, e)
		return nil
	})
	if err != nil {
		return Shown{}, fmt.Errorf("read repository %s: %w", ref, err)
	}
	slices.SortFunc(out.Packages, func(a, b repodata.Entry) int { return strings.Compare(a.Path, b.Path) })
	return out, nil
}

func (h *History) tree(ctx context.Context, r Ref) (repo.Tree, error) {
	switch {
	case r.Serial > 0:
		return h.repos.TreeAt(ctx, r.Product, r.Serial)
	case !r.At.IsZero():
		return h.repos.TreeShown(ctx, r.Product, r.At)
	}
	return h.repos.TreeOf(ctx, r.Product)
}

// Diff is what turns one repository into another.
type Diff struct {
	From, To Shown // without packages and records
	Packages []Change
	Records  []RecordChange
}

// Diff returns what changed from one repository to another, or from one moment to
// another of one. Errors as of Show.
func (h *History) Diff(ctx context.Context, from, to string) (Diff, error) {
	a, err := h.Show(ctx, from)
	if err != nil {
		return Diff{}, err
	}
	b, err := h.Show(ctx, to)
	if err != nil {
		return Diff{}, err
	}
	d := Diff{From: a, To: b, Packages: Compare(a.Packages, b.Packages), Records: CompareRecords(a.Records, b.Records)}
	for _, s := range []*Shown{&d.From, &d.To} {
		s.Packages, s.Records = nil, nil
	}
	return d, nil
}
