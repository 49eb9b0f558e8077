package repodata

import (
	"bytes"
	"context"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
)

// Change is what Extend does to a snapshot: it takes the paths of Remove out, then
// puts the packages of Add in.
type Change struct {
	Add    []Package
	Remove []string
	// Records are all records of the new snapshot, in any order, their bytes in the
	// store already. Nil keeps those that there are; an empty list takes them away.
	Records []Record
	// Compression is that of the new snapshot. Empty keeps the one that there is; another
	// one has every bucket compressed anew.
	Compression Compression
}

// Empty makes the snapshot of a repository without packages.
func Empty(ctx context.Context, blobs Blobs, revision int64) (*Snapshot, error) {
	return Extend(ctx, blobs, nil, Change{}, revision)
}

// Extend makes the snapshot that change makes of from, which may be nil for an empty
// repository and is not changed itself. All blobs of the new snapshot are durable on
// return; a crash or an error before leaves blobs that nobody names, the new root perhaps
// among them though it lacks others. The new snapshot is not sealed. Revision goes into repomd.xml, also as the time stamp of each file: Unix
// time in seconds is the natural choice.
//
// Adding what is there already, digest and path alike, changes nothing. It gives
// Conflict if a path of Add holds another digest and Remove does not name it, or if
// revision is not above that of from; NotFound if a path of Remove is not there; and
// Invalid if a package cannot be told in rpm-md, or a record is broken or of the same
// type as another.
func Extend(ctx context.Context, blobs Blobs, from *Snapshot, change Change, revision int64) (*Snapshot, error) {
	if revision <= 0 {
		return nil, albs.Errorf(albs.Invalid, "a repository's revision must be above 0, and %d is not", revision)
	}
	if from != nil && revision <= from.root.Revision {
		return nil, albs.Errorf(albs.Conflict, "the repository has revision %d; the next must be above it, and %d is not", from.root.Revision, revision)
	}
	if from == nil {
		from = &Snapshot{}
	}
	if err := change.Compression.Check(); err != nil {
		return nil, err
	}
	e := extension{blobs: blobs, from: from, records: from.root.Records, pack: compressor{by: change.Compression.Or(from.root.Packed)}}
	e.stores.SetLimit(storing)
	e.repack = from.root.Packed.Or(Gzip) != e.pack.by
	touched, err := e.touched(change)
	if err != nil {
		return nil, err
	}
	if change.Records != nil {
		e.records = slices.SortedFunc(slices.Values(change.Records), func(a, b Record) int { return strings.Compare(a.Type, b.Type) })
		if err := checkRecords(e.records); err != nil {
			return nil, err
		}
	}
	s, err := e.extend(ctx, touched, revision)
	if stored := e.stores.Wait(); stored != nil { // which is the cause, if both have failed
		err = stored
	}
	if err != nil {
		return nil, fmt.Errorf("extend snapshot %s: %w", from.digest.Short(), err)
	}
	return s, nil
}

const (
	// storing is how many blobs are stored at once, beside all other work. To store is to
	// wait for a disk, which takes what is waited for together at one go.
	storing = 32
	// maxHeld is how much XML of fresh buckets is kept in memory until it has been told; the
	// rest is read again.
	maxHeld = 32 << 20
)

// extend makes the new snapshot, which is durable once the stores are through.
func (e *extension) extend(ctx context.Context, touched []bucketChange, revision int64) (*Snapshot, error) {
	fresh := make([]freshBucket, len(touched))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, t := range touched {
		g.Go(func() (err error) {
			if gctx.Err() == nil { // what is stored by it may go on for longer than g
				fresh[i], err = e.rebuild(ctx, t)
			}
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	if e.held.Load() > maxHeld {
		if err := e.stores.Wait(); err != nil {
			return nil, err
		}
	}
	return e.assemble(ctx, fresh, revision)
}

// Seal makes the snapshot s with asc, the ASCII-armored detached signature of its
// repomd.xml, as repodata/repomd.xml.asc. Whether the signature is good is for the
// caller to check. It gives Invalid if asc is not an armored signature.
func Seal(ctx context.Context, blobs Blobs, s *Snapshot, asc []byte) (*Snapshot, error) {
	if len(asc) > maxArmoredBytes || !bytes.HasPrefix(asc, []byte("-----BEGIN PGP SIGNATURE-----")) {
		return nil, albs.Errorf(albs.Invalid, "the signature of a repository must be one ASCII-armored PGP signature of at most %d bytes", maxArmoredBytes)
	}
	r := s.root
	r.Files = append(slices.Clone(r.Files[:kinds+1]), File{Path: ascPath, Digest: albs.DigestOf(asc), Size: int64(len(asc))})
	sealed, b, err := newRoot(r)
	if err != nil {
		return nil, fmt.Errorf("seal snapshot %s: %w", s.digest.Short(), err)
	}
	g, gctx := errgroup.WithContext(ctx)
	for _, b := range [][]byte{asc, b} {
		g.Go(func() error { return putBlob(gctx, blobs, albs.DigestOf(b), b) })
	}
	if err := g.Wait(); err != nil {
		return nil, fmt.Errorf("seal snapshot %s: %w", s.digest.Short(), err)
	}
	return sealed, nil
}

// bucketChange is the part of a change that one bucket sees.
type bucketChange struct {
	number int
	add    []Package
	remove []string
}

// byBucket splits the change and refuses what can be refused without looking at
// the snapshot.
func (c Change) byBucket() (map[int]*bucketChange, error) {
	parts := map[int]*bucketChange{}
	part := func(path string) *bucketChange {
		n := bucketOf(path)
		if parts[n] == nil {
			parts[n] = &bucketChange{number: n}
		}
		return parts[n]
	}
	adds := make(map[string]albs.Digest, len(c.Add))
	for _, p := range c.Add {
		if err := p.check(); err != nil {
			return nil, err
		}
		if d, ok := adds[p.Path]; ok {
			if d != p.Digest {
				return nil, albs.Errorf(albs.Conflict, "two packages are to be added as %q: sha256 %s and %s", p.Path, d, p.Digest)
			}
			continue
		}
		adds[p.Path] = p.Digest
		b := part(p.Path)
		b.add = append(b.add, p)
	}
	for _, path := range c.Remove {
		b := part(path)
		b.remove = append(b.remove, path)
	}
	return parts, nil
}

// extension is one call of Extend.
type extension struct {
	blobs Blobs
	from  *Snapshot // with an empty root if there is none
	// pack makes the pieces of the new snapshot; repack says that it is another compression
	// than before, so that none of the old ones will do.
	pack   compressor
	repack bool
	// records are those that the new snapshot has, in order.
	records []Record
	stores  errgroup.Group // of blobs that are on their way
	held    atomic.Int64   // bytes of XML of fresh buckets, kept or not
}

// touched splits a change, and adds what has to be compressed anew.
func (e *extension) touched(change Change) ([]bucketChange, error) {
	parts, err := change.byBucket()
	if err != nil {
		return nil, err
	}
	if e.repack {
		for _, b := range e.from.root.Buckets {
			if parts[b.Number] == nil {
				parts[b.Number] = &bucketChange{number: b.Number}
			}
		}
	}
	out := make([]bucketChange, 0, len(parts))
	for n := range buckets {
		if p := parts[n]; p != nil {
			out = append(out, *p)
		}
	}
	return out, nil
}

// store begins to store b and returns its digest. Whether that succeeds, e.stores says.
func (e *extension) store(ctx context.Context, b []byte) albs.Digest {
	d := albs.DigestOf(b)
	e.stores.Go(func() error { return putBlob(ctx, e.blobs, d, b) })
	return d
}

// freshBucket is a bucket that was rebuilt, with its pieces. One that a change left as it
// was has none; one that lost all packages has no packages either.
type freshBucket struct {
	ref    bucketRef
	pieces [kinds][]byte
	raw    []byte // unless there is too much of it
}

// item is one package of a bucket that is being rebuilt.
type item struct {
	entry
	parts [kinds][]byte
}

// rebuild applies the change to its bucket and stores the bucket's new blobs.
func (e *extension) rebuild(ctx context.Context, change bucketChange) (freshBucket, error) {
	ref, exists := e.from.root.bucket(change.number)
	var items []item
	if exists {
		var err error
		if items, err = e.items(ctx, ref); err != nil {
			return freshBucket{}, err
		}
	}
	items, changed, err := change.apply(items)
	if err != nil {
		return freshBucket{}, err
	}
	if !changed && !e.repack {
		return freshBucket{ref: ref}, nil
	}
	fresh := freshBucket{ref: bucketRef{Number: change.number, Packages: len(items)}}
	if len(items) == 0 {
		return fresh, nil
	}
	entries := make([]entry, len(items))
	var raw []byte
	for k := range kinds {
		from := len(raw)
		for i, it := range items {
			items[i].XML[k] = len(it.parts[k])
			raw = append(raw, it.parts[k]...)
		}
		part := raw[from:]
		if len(part) > maxRawBytes {
			return freshBucket{}, albs.Errorf(albs.TooLarge, "the packages of bucket %d have %d bytes of %s, more than %d", change.number, len(part), kindNames[k], maxRawBytes)
		}
		fresh.ref.RawBytes[k] = int64(len(part))
		if fresh.pieces[k], err = e.pack.piece(part); err != nil {
			return freshBucket{}, err
		}
		fresh.ref.GzBytes[k] = int64(len(fresh.pieces[k]))
	}
	for i, it := range items {
		entries[i] = it.entry
	}
	doc := encodeJSON(entries)
	if len(doc) > maxEntriesBytes {
		return freshBucket{}, albs.Errorf(albs.TooLarge, "bucket %d has %d packages, more than fit", change.number, len(items))
	}
	fresh.ref.Bytes = int64(len(doc))
	fresh.ref.Entries, fresh.ref.Raw = e.store(ctx, doc), e.store(ctx, raw)
	if e.held.Add(int64(len(raw))) <= maxHeld {
		fresh.raw = raw
	}
	return fresh, nil
}

// items returns the packages of a bucket of the snapshot before, with their XML.
func (e *extension) items(ctx context.Context, ref bucketRef) ([]item, error) {
	entries, err := ref.load(ctx, e.blobs)
	if err != nil {
		return nil, err
	}
	raw, err := e.raw(ctx, ref, nil)
	if err != nil {
		return nil, err
	}
	items := make([]item, len(entries))
	for k := range kinds {
		for i, en := range entries {
			items[i].entry = en
			items[i].parts[k], raw = raw[:en.XML[k]:en.XML[k]], raw[en.XML[k]:]
		}
	}
	return items, nil
}

// apply returns the items as the change leaves them, by path, and whether it changed any.
func (c bucketChange) apply(items []item) (_ []item, changed bool, err error) {
	at := make(map[string]int, len(items))
	for i, it := range items {
		at[it.Path] = i
	}
	gone := map[int]bool{}
	for _, path := range c.remove {
		i, ok := at[path]
		if !ok {
			return nil, false, albs.Errorf(albs.NotFound, "the repository has no package at %.200q to remove", path)
		}
		gone[i], changed = true, true
	}
	kept := make([]item, 0, len(items)+len(c.add))
	for i, it := range items {
		if !gone[i] {
			kept = append(kept, it)
		}
	}
	for _, p := range c.add {
		if i, ok := at[p.Path]; ok && !gone[i] {
			if d := items[i].Digest; d != p.Digest {
				return nil, false, albs.Errorf(albs.Conflict,
					"the repository has another package at %q: sha256 %s, not %s; give the new one another release, or remove the old one", p.Path, d, p.Digest)
			}
			continue
		}
		it, err := p.render()
		if err != nil {
			return nil, false, err
		}
		kept, changed = append(kept, it), true
	}
	slices.SortFunc(kept, func(a, b item) int { return strings.Compare(a.Path, b.Path) })
	return kept, changed, nil
}

// putBlob stores b under its digest.
func putBlob(ctx context.Context, blobs Blobs, d albs.Digest, b []byte) error {
	if _, err := blobs.Put(ctx, d, bytes.NewReader(b)); err != nil {
		return fmt.Errorf("store blob %s: %w", d.Short(), err)
	}
	return nil
}

// newRoot returns the snapshot of a root and the blob to be stored. It reads the blob as
// Open would, so that a root that no one could open is never named.
func newRoot(r root) (*Snapshot, []byte, error) {
	b := encodeJSON(r)
	if len(b) > maxRootBytes {
		return nil, nil, albs.Errorf(albs.TooLarge, "the snapshot's root has %d bytes, more than %d", len(b), maxRootBytes)
	}
	s, err := parseRoot(b)
	return s, b, err
}
