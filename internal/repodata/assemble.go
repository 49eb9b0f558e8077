package repodata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"hash"
	"runtime"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
)

// assemble stores the metadata files, repomd.xml and the root of the snapshot that has
// the fresh buckets and those of the snapshot before that are not among them.
func (e *extension) assemble(ctx context.Context, fresh []freshBucket, revision int64) (*Snapshot, error) {
	r := root{Revision: revision, Records: e.records}
	if e.pack.by != Gzip {
		r.Packed = e.pack.by
	}
	r.Format = r.format()
	rebuilt := make(map[int]freshBucket, len(fresh))
	for _, f := range fresh {
		rebuilt[f.ref.Number] = f
		if f.ref.Packages > 0 {
			r.Buckets = append(r.Buckets, f.ref)
		}
	}
	for _, b := range e.from.root.Buckets {
		if _, ok := rebuilt[b.Number]; !ok {
			r.Buckets = append(r.Buckets, b)
		}
	}
	slices.SortFunc(r.Buckets, func(a, b bucketRef) int { return a.Number - b.Number })
	if r.Buckets == nil {
		r.Buckets = []bucketRef{}
	}
	for _, b := range r.Buckets {
		r.Packages += b.Packages
	}
	if r.Packages > maxPackages {
		return nil, albs.Errorf(albs.TooLarge, "the repository would have %d packages, more than %d", r.Packages, maxPackages)
	}

	var data [kinds]RepomdData
	g, gctx := errgroup.WithContext(ctx)
	for k := range kinds {
		head, err := e.pack.piece(metaHead(k, r.Packages))
		if err != nil {
			return nil, err
		}
		tail, err := e.pack.piece(metaTail(k))
		if err != nil {
			return nil, err
		}
		r.Ends[k] = ends{Head: int64(len(head)), Tail: int64(len(tail))}
		g.Go(func() (err error) {
			data[k].Digest, data[k].Size, err = e.writeFile(gctx, k, r.Buckets, rebuilt, head, tail)
			return err
		})
	}
	var open [kinds]*counter
	g.Go(func() (err error) {
		open, err = e.openSums(gctx, r, rebuilt)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for k := range kinds {
		d := &data[k]
		d.Type, d.Path, d.Timestamp = kindNames[k], r.metaPath(k, d.Digest), revision
		d.OpenDigest, d.OpenSize = albs.DigestFrom(open[k].Hash), open[k].n
		r.Files = append(r.Files, File{Path: d.Path, Digest: d.Digest, Size: d.Size})
	}
	all := data[:]
	for _, rec := range r.Records {
		all = append(all, RepomdData{
			Type: rec.Type, Path: rec.path(), Digest: rec.Digest, Size: rec.Size, OpenDigest: rec.OpenDigest, OpenSize: rec.OpenSize, Timestamp: revision,
		})
	}
	var md bytes.Buffer
	appendRepomd(&md, revision, all)
	r.Files = append(r.Files, File{Path: repomdPath, Digest: e.store(ctx, md.Bytes()), Size: int64(md.Len())})
	s, b, err := newRoot(r)
	if err != nil {
		return nil, err
	}
	e.store(ctx, b)
	return s, nil
}

// writeFile stores the metadata file of kind k: head, buckets, tail. The pieces of
// buckets that were not rebuilt come out of the file of the snapshot before.
func (e *extension) writeFile(ctx context.Context, k int, refs []bucketRef, rebuilt map[int]freshBucket, head, tail []byte) (albs.Digest, int64, error) {
	s := splice{}
	old := make(map[int]int64, len(e.from.root.Buckets)) // bucket → offset in the old file
	off := e.from.root.Ends[k].Head
	for _, b := range e.from.root.Buckets {
		old[b.Number] = off
		off += b.GzBytes[k]
	}
	s.pieces = append(s.pieces, piece{data: head})
	for _, b := range refs {
		if data := rebuilt[b.Number].pieces[k]; data != nil {
			s.pieces = append(s.pieces, piece{data: data})
		} else {
			s.pieces = append(s.pieces, piece{off: old[b.Number], n: b.GzBytes[k]})
		}
	}
	s.pieces = append(s.pieces, piece{data: tail})
	if len(e.from.root.Files) > 0 && !e.repack {
		f, err := e.blobs.Open(ctx, e.from.root.Files[k].Digest)
		if err != nil {
			return "", 0, fmt.Errorf("open the old %s: %w", kindNames[k], err)
		}
		defer f.Close()
		s.old = f
	}
	d, n, err := e.blobs.Write(ctx, &s, maxFileBytes)
	if err != nil {
		return "", 0, fmt.Errorf("write %s: %w", kindNames[k], err)
	}
	return d, n, nil
}

// counter is a sha256 that knows how much it has hashed.
type counter struct {
	hash.Hash
	n int64
}

// Write implements io.Writer.
func (c *counter) Write(p []byte) (int, error) {
	c.n += int64(len(p))
	return c.Hash.Write(p)
}

// openSums hashes the three files as they are before compression. A hash cannot be
// continued in its middle, so every raw blob is read; the next ones are read, and
// thereby checked, while one is hashed.
func (e *extension) openSums(ctx context.Context, r root, rebuilt map[int]freshBucket) (sums [kinds]*counter, err error) {
	for k := range kinds {
		sums[k] = &counter{Hash: sha256.New()}
		sums[k].Write(metaHead(k, r.Packages))
	}
	var free sync.Pool // of buffers, for all raw blobs together are large
	err = ordered(ctx, len(r.Buckets), func(ctx context.Context, i int) ([]byte, error) {
		if raw := rebuilt[r.Buckets[i].Number].raw; raw != nil {
			return raw, nil
		}
		var buf []byte
		if p, ok := free.Get().(*[]byte); ok {
			buf = *p
		}
		return e.raw(ctx, r.Buckets[i], buf)
	}, func(i int, raw []byte) error {
		whole := raw
		if rebuilt[r.Buckets[i].Number].raw == nil { // else it may still be being stored
			defer free.Put(&whole)
		}
		var wg sync.WaitGroup
		for k, n := range r.Buckets[i].RawBytes {
			part := raw[:n]
			raw = raw[n:]
			wg.Go(func() { sums[k].Write(part) })
		}
		wg.Wait()
		return nil
	})
	for k := range kinds {
		sums[k].Write(metaTail(k))
	}
	return sums, err
}

// ordered calls work for 0 … n-1, a few at a time, and use with the results, one at
// a time and in order. It returns the first error when all that it started has ended.
func ordered[T any](ctx context.Context, n int, work func(context.Context, int) (T, error), use func(int, T) error) error {
	g, ctx := errgroup.WithContext(ctx)
	waiting := make(chan chan T, runtime.GOMAXPROCS(0)+1)
	g.Go(func() error {
		defer close(waiting)
		for i := range n {
			result := make(chan T, 1)
			select {
			case waiting <- result:
			case <-ctx.Done():
				return ctx.Err()
			}
			g.Go(func() error {
				v, err := work(ctx, i)
				if err == nil {
					result <- v
				}
				return err
			})
		}
		return nil
	})
	g.Go(func() error {
		i := 0
		for result := range waiting {
			select {
			case v := <-result:
				if err := use(i, v); err != nil {
					return err
				}
			case <-ctx.Done():
				return ctx.Err()
			}
			i++
		}
		return nil
	})
	return g.Wait()
}
