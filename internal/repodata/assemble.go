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

	"github.com/klauspost/compress/gzip"
	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
)

// gzipLevel is gzip's usual one; more costs much time for little.
const gzipLevel = 6

// compressor makes gzip members and keeps its writers, which are large, for the next.
// It is safe for concurrent use.
type compressor struct{ writers sync.Pool }

// member returns b as one gzip member without name or time.
func (c *compressor) member(b []byte) ([]byte, error) {
	var out bytes.Buffer
	w, ok := c.writers.Get().(*gzip.Writer)
	if ok {
		w.Reset(&out)
	} else {
		var err error
		if w, err = gzip.NewWriterLevel(&out, gzipLevel); err != nil {
			return nil, fmt.Errorf("compress metadata: %w", err)
		}
	}
	defer c.writers.Put(w)
	if _, err := w.Write(b); err != nil {
		return nil, fmt.Errorf("compress metadata: %w", err)
	}
	if err := w.Close(); err != nil {
		return nil, fmt.Errorf("compress metadata: %w", err)
	}
	return out.Bytes(), nil
}

// assemble stores the metadata files, repomd.xml and the root of the snapshot that has
// the fresh buckets and those of the snapshot before that are not among them.
func (e *extension) assemble(ctx context.Context, fresh []freshBucket, revision int64) (*Snapshot, error) {
	r := root{Revision: revision, Records: e.records}
	r.Format = r.format()
	members := make(map[int]freshBucket, len(fresh))
	for _, f := range fresh {
		members[f.ref.Number] = f
		if f.ref.Packages > 0 {
			r.Buckets = append(r.Buckets, f.ref)
		}
	}
	for _, b := range e.from.root.Buckets {
		if _, ok := members[b.Number]; !ok {
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
		head, err := e.gzip.member(metaHead(k, r.Packages))
		if err != nil {
			return nil, err
		}
		tail, err := e.gzip.member(metaTail(k))
		if err != nil {
			return nil, err
		}
		r.Ends[k] = ends{Head: int64(len(head)), Tail: int64(len(tail))}
		g.Go(func() (err error) {
			data[k].Digest, data[k].Size, err = e.writeFile(gctx, k, r.Buckets, members, head, tail)
			return err
		})
	}
	var open [kinds]*counter
	g.Go(func() (err error) {
		open, err = e.openSums(gctx, r)
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for k := range kinds {
		d := &data[k]
		d.Type, d.Path, d.Timestamp = kindNames[k], metaPath(k, d.Digest), revision
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
	d, err := putBlob(ctx, e.blobs, md.Bytes())
	if err != nil {
		return nil, err
	}
	r.Files = append(r.Files, File{Path: repomdPath, Digest: d, Size: int64(md.Len())})
	return putRoot(ctx, e.blobs, r)
}

// writeFile stores the metadata file of kind k: head, members, tail. The members of
// buckets that are not fresh come out of the file of the snapshot before.
func (e *extension) writeFile(ctx context.Context, k int, refs []bucketRef, members map[int]freshBucket, head, tail []byte) (albs.Digest, int64, error) {
	s := splice{}
	old := make(map[int]int64, len(e.from.root.Buckets)) // bucket → offset in the old file
	off := e.from.root.Ends[k].Head
	for _, b := range e.from.root.Buckets {
		old[b.Number] = off
		off += b.GzBytes[k]
	}
	s.pieces = append(s.pieces, piece{data: head})
	for _, b := range refs {
		if gz := members[b.Number].gz[k]; gz != nil {
			s.pieces = append(s.pieces, piece{data: gz})
		} else {
			s.pieces = append(s.pieces, piece{off: old[b.Number], n: b.GzBytes[k]})
		}
	}
	s.pieces = append(s.pieces, piece{data: tail})
	if len(e.from.root.Files) > 0 {
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
func (e *extension) openSums(ctx context.Context, r root) (sums [kinds]*counter, err error) {
	for k := range kinds {
		sums[k] = &counter{Hash: sha256.New()}
		sums[k].Write(metaHead(k, r.Packages))
	}
	var free sync.Pool // of buffers, for all raw blobs together are large
	err = ordered(ctx, len(r.Buckets), func(ctx context.Context, i int) ([]byte, error) {
		var buf []byte
		if p, ok := free.Get().(*[]byte); ok {
			buf = *p
		}
		return e.raw(ctx, r.Buckets[i], buf)
	}, func(i int, raw []byte) error {
		whole := raw
		defer free.Put(&whole)
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
