package repodata

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
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
	r := root{Format: rootFormat, Revision: revision}
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
	var md bytes.Buffer
	appendRepomd(&md, revision, data[:])
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

// piece is a stretch of a file: data, or n bytes of the old file from off.
type piece struct {
	data   []byte
	off, n int64
}

// splice reads pieces one after the other. Pieces of the old file come in its own
// order, so that it is read once from begin to end, where it checks itself: io.EOF is
// returned only after that.
type splice struct {
	pieces []piece
	old    io.Reader // nil if no piece needs it
	pos    int64     // in old
	left   int64     // of the piece of old that is being read
	data   []byte    // of the piece of data that is being read
}

// Read implements io.Reader.
func (s *splice) Read(p []byte) (int, error) {
	for len(s.data) == 0 && s.left == 0 {
		if len(s.pieces) == 0 {
			if s.old == nil {
				return 0, io.EOF
			}
			if _, err := io.Copy(io.Discard, s.old); err != nil {
				return 0, err
			}
			return 0, io.EOF
		}
		next := s.pieces[0]
		s.pieces = s.pieces[1:]
		if next.data != nil {
			s.data = next.data
			continue
		}
		if _, err := io.CopyN(io.Discard, s.old, next.off-s.pos); err != nil {
			return 0, short(err)
		}
		s.pos, s.left = next.off, next.n
	}
	if len(s.data) > 0 {
		n := copy(p, s.data)
		s.data = s.data[n:]
		return n, nil
	}
	n, err := s.old.Read(p[:min(int64(len(p)), s.left)])
	s.pos, s.left = s.pos+int64(n), s.left-int64(n)
	if n > 0 && errors.Is(err, io.EOF) {
		err = nil
	}
	return n, short(err)
}

// short makes an end that comes too early an error.
func short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
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

// raw returns the raw blob of a bucket, in buf if it is large enough. Being only a copy
// of what the gzip members hold, the blob may have been dropped; then it is made again.
func (e *extension) raw(ctx context.Context, ref bucketRef, buf []byte) ([]byte, error) {
	size := int(ref.RawBytes[primary] + ref.RawBytes[filelists] + ref.RawBytes[other])
	raw := slices.Grow(buf[:0], size)[:size]
	f, err := e.blobs.Open(ctx, ref.Raw)
	if errors.Is(err, albs.NotFound) {
		return e.remake(ctx, ref, raw)
	}
	if err != nil {
		return nil, fmt.Errorf("open the XML of bucket %d: %w", ref.Number, err)
	}
	defer f.Close()
	if err := readExactly(f, raw); err != nil {
		return nil, fmt.Errorf("read the XML of bucket %d: %w", ref.Number, err)
	}
	return raw, nil
}

// remake fills raw from the gzip members of the snapshot before, and stores it again.
func (e *extension) remake(ctx context.Context, ref bucketRef, raw []byte) ([]byte, error) {
	rest := raw
	for k := range kinds {
		part := rest[:ref.RawBytes[k]]
		rest = rest[ref.RawBytes[k]:]
		if err := e.inflate(ctx, k, ref, part); err != nil {
			return nil, fmt.Errorf("make the XML of bucket %d again out of %s: %w", ref.Number, kindNames[k], err)
		}
	}
	if albs.DigestOf(raw) != ref.Raw {
		return nil, albs.Errorf(albs.Invalid, "the gzip members of bucket %d do not hold the XML that the snapshot names", ref.Number)
	}
	if _, err := putBlob(ctx, e.blobs, raw); err != nil {
		return nil, err
	}
	return raw, nil
}

// inflate fills part with the content of a bucket's member in the file of kind k.
func (e *extension) inflate(ctx context.Context, k int, ref bucketRef, part []byte) error {
	off := e.from.root.Ends[k].Head
	for _, b := range e.from.root.Buckets {
		if b.Number == ref.Number {
			break
		}
		off += b.GzBytes[k]
	}
	f, err := e.blobs.Open(ctx, e.from.root.Files[k].Digest)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, err := io.CopyN(io.Discard, f, off); err != nil {
		return short(err)
	}
	z, err := gzip.NewReader(io.LimitReader(f, ref.GzBytes[k]))
	if err != nil {
		return err
	}
	return readExactly(z, part)
}

// readExactly fills b and wants r to end there, which makes r check itself.
func readExactly(r io.Reader, b []byte) error {
	if _, err := io.ReadFull(r, b); err != nil {
		return short(err)
	}
	n, err := io.ReadFull(r, make([]byte, 1))
	if n > 0 {
		return albs.Errorf(albs.Invalid, "there is more than the %d bytes that were to be", len(b))
	}
	if !errors.Is(err, io.EOF) {
		return err
	}
	return nil
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
