package further

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/bucket"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/laid"
)

// Objects is what a place does to its bucket.
type Objects interface {
	Head(ctx context.Context, key, what string) (bucket.Object, error)
	Get(ctx context.Context, key, what string, read func(io.Reader) error) (bucket.Object, error)
	Put(ctx context.Context, p bucket.Put) (bucket.Object, error)
	Copy(ctx context.Context, from bucket.Object, key, what string) (bucket.Object, error)
	Remove(ctx context.Context, key string) error
	List(ctx context.Context, prefix, after string) ([]bucket.Object, error)
}

// InBucket is a product's place in a bucket, where there are no links:
//
//	PRODUCT/current.json                  the pointer: which serial is shown, and its tree
//	PRODUCT/current/REPO/mirrorlist       the address of that repository as it is shown
//	PRODUCT/current/REPO/PRODUCT.repo     what a client's /etc/yum.repos.d takes
//	PRODUCT/current/FILE                  the tree's files
//	PRODUCT/trees/SERIAL/tree.json        the tree's document
//	PRODUCT/trees/SERIAL/REPO/…           a repository, whole: its metadata and its packages
//	PRODUCT/laid/REPO/SNAPSHOT-SERIAL     that the repository of the snapshot is whole in that tree
//	PRODUCT/pool/ab/SHA256.rpm            each package once, add-only
//
// A repository whose snapshot is whole in an earlier tree isn't laid again: its
// mirrorlist leads there. So a rollback moves pointers only.
//
// The pointer and all below current are moved by compare and set, and each holds the
// serial that it is of: a releaser that comes late moves none of them back. The pointer
// is moved first and the others after it, one by one: a reader sees each repository
// whole, and for seconds one of them new and another one old. It is a Remote.
type InBucket struct {
	Objects Objects // which tests may stand before
	base    string  // of all keys, with a slash at its end
	url     laid.Readers
	from    *laid.Product
	log     io.Writer

	pointer bucket.Object    // as it was read last; the zero value if there is none
	lies    map[string]int64 // in which tree each repository is whole, by its path
}

func newInBucket(o Objects, p Place, from *laid.Product, log io.Writer) *InBucket {
	base := path.Join(p.S3.Prefix, from.Tree.Product) + "/"
	return &InBucket{Objects: o, base: base, url: laid.Readers(p.URL), from: from, log: log}
}

// How readers may keep what they got.
const (
	cacheLong = "public, max-age=31536000, immutable"
	cacheNot  = "no-cache"
)

// inParallel is how many requests a place has under way.
const inParallel = 16

// pointer is what current.json holds.
type pointer struct {
	Serial int64       `json:"serial"`
	Tree   albs.Digest `json:"tree"`
}

func (b *InBucket) key(elem ...string) string { return b.base + path.Join(elem...) }

func (b *InBucket) Shown(ctx context.Context) (int64, albs.Digest, error) {
	doc, o, err := b.read(ctx, b.key("current.json"), 4096)
	if errors.Is(err, albs.NotFound) {
		b.pointer = bucket.Object{}
		return 0, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	var p pointer
	if err := json.Unmarshal(doc, &p); err != nil || p.Serial <= 0 || !p.Tree.Valid() {
		return 0, "", fmt.Errorf("%s in the bucket says nothing that a releaser wrote", o.Key)
	}
	b.pointer = o
	return p.Serial, p.Tree, nil
}

func (b *InBucket) Lay(ctx context.Context, shown int64) error {
	if err := b.find(ctx); err != nil {
		return err
	}
	var l *laying
	for _, r := range b.from.Tree.Repositories {
		if at, ok := b.lies[r.Path]; ok {
			fmt.Fprintf(b.log, "%s: as in serial %d\n", r.Path, at)
			continue
		}
		if l == nil {
			l = &laying{InBucket: b, known: b.from.Known(shown)}
			if err := l.look(ctx); err != nil {
				return err
			}
		}
		if err := l.repository(ctx, r); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
		b.lies[r.Path] = b.from.Tree.Serial
	}
	return b.write(ctx, bucket.Put{Key: b.key(laid.TreeName(b.from.Tree.Serial), laid.TreeFile), Cache: cacheLong, Type: "application/json"}, b.from.Tree.Doc)
}

// find notes which repositories of the tree are whole already.
func (b *InBucket) find(ctx context.Context) error {
	b.lies = map[string]int64{}
	snapshots := map[string]albs.Digest{}
	for _, r := range b.from.Tree.Repositories {
		snapshots[r.Path] = r.Snapshot
	}
	return b.list(ctx, "laid", func(name string, _ bucket.Object) error {
		if m, ok := parseMark(name); ok && snapshots[m.repo] == m.snapshot {
			b.lies[m.repo] = m.serial
		}
		return nil
	})
}

// mark says that the repository of a snapshot is whole in the tree of a serial.
type mark struct {
	repo     string
	snapshot albs.Digest
	serial   int64
}

func (m mark) name() string {
	return path.Join("laid", m.repo, string(m.snapshot)+"-"+strconv.FormatInt(m.serial, 10))
}

func parseMark(name string) (m mark, ok bool) {
	dir, file := path.Split(name)
	digest, serial, _ := strings.Cut(file, "-")
	n, err := strconv.ParseInt(serial, 10, 64)
	m = mark{strings.TrimSuffix(strings.TrimPrefix(dir, "laid/"), "/"), albs.Digest(digest), n}
	return m, err == nil && n > 0 && m.snapshot.Valid() && m.name() == name
}

// laying is what is known while repositories are laid.
type laying struct {
	*InBucket
	known map[albs.Digest]bool          // packages that have been read back
	pool  map[albs.Digest]bucket.Object // what is there
}

func (l *laying) look(ctx context.Context) error {
	l.pool = map[albs.Digest]bucket.Object{}
	return l.list(ctx, "pool", func(name string, o bucket.Object) error {
		if d, ok := pooledDigest(name); ok {
			l.pool[d] = o
		}
		return nil
	})
}

func poolName(d albs.Digest) string { return path.Join("pool", string(d[:2]), string(d)+".rpm") }

func pooledDigest(name string) (albs.Digest, bool) {
	d := albs.Digest(strings.TrimSuffix(path.Base(name), ".rpm"))
	return d, d.Valid() && poolName(d) == name
}

// repository makes a repository whole in the tree, and says so by its mark.
func (l *laying) repository(ctx context.Context, r repodata.TreeRepo) error {
	base := path.Join(laid.TreeName(l.from.Tree.Serial), r.Path)
	there := map[string]bucket.Object{}
	err := l.list(ctx, base, func(name string, o bucket.Object) error { there[name] = o; return nil })
	if err != nil {
		return err
	}
	var all []repodata.Listed
	err = l.from.Packages(l.from.Tree.Serial, r.Path, func(p repodata.Listed) error {
		p.Provides = nil
		all = append(all, p)
		return nil
	})
	if err != nil {
		return err
	}
	var fresh, done atomic.Int64
	progress := newProgress(l.log)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(inParallel)
	for _, p := range all {
		if gctx.Err() != nil {
			break
		}
		o, pooled := l.pool[p.Digest]
		g.Go(func() (err error) {
			if pooled && o.Size != p.Size {
				return albs.Errorf(albs.Invalid, "%s in the bucket has %d bytes instead of %d: the public place was tampered with; remove that object", o.Key, o.Size, p.Size)
			}
			if !pooled {
				if o, err = l.add(gctx, r, p); err != nil {
					return err
				}
				fresh.Add(1)
			} else if !l.known[p.Digest] {
				if err := l.readBack(gctx, o.Key, p.Digest); err != nil {
					return err
				}
			}
			name := path.Join(base, p.Path)
			if have := there[name]; have.Size != p.Size || have.ETag != o.ETag {
				if err := l.copy(gctx, o, l.key(name), p.Digest); err != nil {
					return err
				}
			}
			progress.say("%s: %d of %d packages are in the bucket", r.Path, done.Add(1), len(all))
			return nil
		})
	}
	if err := errors.Join(g.Wait(), ctx.Err()); err != nil {
		return err
	}
	names, err := l.from.Metadata(r)
	if err != nil {
		return err
	}
	for _, name := range names {
		b, err := l.from.Root.ReadFile(path.Join(base, name))
		if err != nil {
			return fmt.Errorf("read metadata: %w", err)
		}
		if err := l.write(ctx, bucket.Put{Key: l.key(base, name), Cache: cacheLong}, b); err != nil {
			return err
		}
	}
	if err := l.proveIn(ctx, r, base, there, maxBefore); err != nil {
		return err
	}
	m := mark{r.Path, r.Snapshot, l.from.Tree.Serial}
	if err := l.write(ctx, bucket.Put{Key: l.key(m.name())}, nil); err != nil {
		return err
	}
	fmt.Fprintf(l.log, "%s: %d packages, %d of them new\n", r.Path, len(all), fresh.Load())
	return nil
}

// add puts a package into the pool and reads it back. If another releaser put it
// meanwhile, or an earlier attempt did whose answer was lost, that is as good.
func (l *laying) add(ctx context.Context, r repodata.TreeRepo, p repodata.Listed) (bucket.Object, error) {
	key := l.key(poolName(p.Digest))
	f, err := l.from.Root.Open(path.Join("pool", r.Path, p.Path))
	if err != nil {
		return bucket.Object{}, fmt.Errorf("read package: %w", err)
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.Size() != p.Size {
		return bucket.Object{}, albs.Errorf(albs.Invalid, "%s in the public place is not the package %s that was released under this name", p.Path, p.Digest.Short())
	}
	o, err := l.Objects.Put(ctx, bucket.Put{
		Key: key, What: key + " in S3", Body: f, Size: p.Size, Hash: p.Digest, If: bucket.Condition{Absent: true}, Cache: cacheLong, Type: "application/x-rpm",
	})
	if bucket.Taken(err) {
		o, err = l.Objects.Head(ctx, key, key+" in S3")
	}
	if err != nil {
		return o, err
	}
	return o, l.readBack(ctx, key, p.Digest)
}

// copy makes an object of one of the pool. A server that gives the copy another etag
// has it read back.
func (b *InBucket) copy(ctx context.Context, from bucket.Object, key string, d albs.Digest) error {
	o, err := b.Objects.Copy(ctx, from, key, key+" in S3")
	if err == nil && o.ETag != from.ETag {
		err = b.readBack(ctx, key, d)
	}
	return err
}

// readBack fails unless an object hashes to d.
func (b *InBucket) readBack(ctx context.Context, key string, d albs.Digest) error {
	_, err := b.Objects.Get(ctx, key, key+" in S3", func(r io.Reader) error {
		h := sha256.New()
		if _, err := io.Copy(h, r); err != nil {
			return err
		}
		if got := albs.DigestFrom(h); got != d {
			return albs.Errorf(albs.Internal, "%s in the bucket hashes to %s, not to %s: remove that object", key, got.Short(), d.Short())
		}
		return nil
	})
	return err
}

// write puts bytes as an object and reads them back.
func (b *InBucket) write(ctx context.Context, p bucket.Put, body []byte) error {
	p.What, p.Body, p.Size, p.Hash = p.Key+" in S3", bytes.NewReader(body), int64(len(body)), albs.DigestOf(body)
	if _, err := b.Objects.Put(ctx, p); err != nil {
		return err
	}
	return b.readBack(ctx, p.Key, p.Hash)
}

// read returns a small object.
func (b *InBucket) read(ctx context.Context, key string, most int64) ([]byte, bucket.Object, error) {
	var doc []byte
	o, err := b.Objects.Get(ctx, key, key+" in S3", func(r io.Reader) (err error) {
		doc, err = io.ReadAll(io.LimitReader(r, most+1))
		if err == nil && int64(len(doc)) > most {
			err = albs.Errorf(albs.TooLarge, "%s in the bucket has more than %d bytes", key, most)
		}
		return err
	})
	return doc, o, err
}

// list calls yield for each object below a folder of the place, by its name there.
func (b *InBucket) list(ctx context.Context, folder string, yield func(name string, o bucket.Object) error) error {
	for after := ""; ; {
		page, err := b.Objects.List(ctx, b.key(folder)+"/", after)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			return nil
		}
		after = page[len(page)-1].Key
		for _, o := range page {
			if err := yield(strings.TrimPrefix(o.Key, b.base), o); err != nil {
				return err
			}
		}
	}
}

func (b *InBucket) Show(ctx context.Context) error {
	t := b.from.Tree
	doc, err := json.Marshal(pointer{t.Serial, t.Digest()})
	if err != nil {
		return fmt.Errorf("encode pointer: %w", err)
	}
	p := bucket.Put{
		Key: b.key("current.json"), Cache: cacheNot, Type: "application/json",
		If: bucket.Condition{Absent: b.pointer.ETag == "", ETag: b.pointer.ETag},
	}
	err = b.write(ctx, p, doc)
	if bucket.Taken(err) {
		// Another releaser moved it, or an earlier attempt of ours whose answer was lost.
		shown, digest, rerr := b.Shown(ctx)
		switch {
		case rerr != nil:
			return rerr
		case shown == t.Serial && digest == t.Digest():
		case shown >= t.Serial:
			return StepBack(shown, t.Serial)
		default:
			return albs.Errorf(albs.Unavailable, "another releaser shows serial %d meanwhile", shown)
		}
	} else if err != nil {
		return err
	}
	return b.Settle(ctx)
}

// turned is an object below current as this tree has it.
type turned struct {
	name, kind string
	size       int64
	read       func() ([]byte, error) // what it is to hold; a tree may have tens of thousands
}

// inMemory is a turned that is small.
func inMemory(name, kind string, body []byte) turned {
	return turned{name, kind, int64(len(body)), func() ([]byte, error) { return body, nil }}
}

// kindOf returns what readers are told of a file of the tree, as a web server tells it of one in
// a folder: browsers show pages only as such.
func kindOf(name string) string {
	switch path.Ext(name) {
	case ".html":
		return "text/html; charset=utf-8"
	case ".css":
		return "text/css; charset=utf-8"
	case ".js":
		return "text/javascript; charset=utf-8"
	case ".json":
		return "application/json"
	case ".xml":
		return "text/xml; charset=utf-8"
	case ".rss":
		return "application/rss+xml; charset=utf-8"
	case ".csv":
		return "text/csv; charset=utf-8"
	case ".txt", ".sha256", ".sha512":
		return "text/plain; charset=utf-8"
	case ".asc":
		return "application/pgp-signature"
	case ".gz":
		return "application/gzip"
	}
	return ""
}

// Settle brings what is below current to the tree: its files first, and then, each by
// itself, what leads to its repositories. What the tree doesn't have is left empty, and
// not removed, for then the serial that it is of would be gone too.
func (b *InBucket) Settle(ctx context.Context) error {
	if b.lies == nil {
		if err := b.find(ctx); err != nil {
			return err
		}
	}
	t := b.from.Tree
	var files, lists []turned
	for _, f := range t.Files {
		files = append(files, turned{f.Path, kindOf(f.Path), f.Size, func() ([]byte, error) {
			body, err := b.from.Root.ReadFile(path.Join(laid.TreeName(t.Serial), f.Path))
			if err != nil {
				return nil, fmt.Errorf("read file: %w", err)
			}
			return body, nil
		}})
	}
	for _, r := range t.Repositories {
		at, ok := b.lies[r.Path]
		if !ok {
			return fmt.Errorf("repository %s isn't in the bucket, though serial %d is shown", r.Path, t.Serial)
		}
		invitation, err := b.url.Invitation(t.Tree, r, at)
		if err != nil {
			return err
		}
		for _, name := range slices.Sorted(maps.Keys(invitation)) {
			lists = append(lists, inMemory(path.Join(r.Path, name), "text/plain", []byte(invitation[name])))
		}
	}
	has := map[string]bool{}
	for _, c := range slices.Concat(files, lists) {
		has[path.Join("current", c.name)] = true
	}
	var gone []turned
	err := b.list(ctx, "current", func(name string, o bucket.Object) error {
		if !has[name] && o.Size > 0 {
			gone = append(gone, inMemory(strings.TrimPrefix(name, "current/"), "", nil))
		}
		return nil
	})
	if err != nil {
		return err
	}
	for _, part := range [][]turned{files, lists, gone} {
		g, ctx := errgroup.WithContext(ctx)
		g.SetLimit(inParallel)
		for _, c := range part {
			g.Go(func() error { return b.turn(ctx, c) })
		}
		if err := g.Wait(); err != nil {
			return err
		}
	}
	return nil
}

// turn brings an object below current to this serial by compare and set. It is Invalid
// if the object is of a later one.
func (b *InBucket) turn(ctx context.Context, c turned) error {
	key, own := b.key("current", c.name), b.from.Tree.Serial
	var was bucket.Object
	for try := 0; ; try++ {
		o, err := b.Objects.Head(ctx, key, key+" in S3")
		if err != nil && !errors.Is(err, albs.NotFound) {
			return err
		}
		if err == nil {
			was = o
		}
		serial, _ := strconv.ParseInt(was.Meta["serial"], 10, 64)
		if serial > own {
			return StepBack(serial, own)
		}
		if serial == own && was.Size == c.size {
			return nil
		}
		body, err := c.read()
		if err != nil {
			return err
		}
		err = b.write(ctx, bucket.Put{
			Key: key, Cache: cacheNot, Type: c.kind, Meta: map[string]string{"serial": strconv.FormatInt(own, 10)},
			If: bucket.Condition{Absent: was.ETag == "", ETag: was.ETag},
		}, body)
		if !bucket.Taken(err) || try == 2 {
			return err
		}
	}
}

// Prune removes what the directory has no more: repositories that no tree there names,
// and packages that its pool hasn't. Marks go first, so that nothing is taken for whole
// that isn't.
func (b *InBucket) Prune(ctx context.Context) error {
	serials, err := b.from.Serials()
	if err != nil {
		return err
	}
	needed := map[mark]bool{} // without serials: whichever tree they are in
	kept := map[int64]bool{}
	for _, serial := range serials {
		t, err := b.from.At(serial)
		if err != nil {
			return err
		}
		kept[serial] = true
		for _, r := range t.Repositories {
			needed[mark{repo: r.Path, snapshot: r.Snapshot}] = true
		}
	}
	var whole []string // folders that stay
	var gone []string  // names that go
	err = b.list(ctx, "laid", func(name string, _ bucket.Object) error {
		m, ok := parseMark(name)
		if ok && needed[mark{repo: m.repo, snapshot: m.snapshot}] {
			whole = append(whole, path.Join(laid.TreeName(m.serial), m.repo)+"/")
		} else if ok {
			gone = append(gone, name)
		}
		return nil
	})
	if err != nil {
		return err
	}
	stays := make(map[string]bool, len(whole))
	for _, w := range whole {
		stays[w] = true
	}
	err = b.list(ctx, "trees", func(name string, _ bucket.Object) error {
		first, rest, _ := strings.Cut(strings.TrimPrefix(name, "trees/"), "/")
		serial, err := strconv.ParseInt(first, 10, 64)
		if err != nil || serial >= b.from.Tree.Serial || rest == laid.TreeFile && kept[serial] {
			return nil
		}
		for i, c := range name {
			if c == '/' && stays[name[:i+1]] {
				return nil
			}
		}
		gone = append(gone, name)
		return nil
	})
	if err != nil {
		return err
	}
	err = b.list(ctx, "pool", func(name string, _ bucket.Object) error {
		d, ok := pooledDigest(name)
		if !ok {
			return nil
		}
		_, err := b.from.Root.Stat(path.Join("pool/.digest", string(d[:2]), string(d)))
		if errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, name)
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	for _, name := range gone {
		if err := b.Objects.Remove(ctx, b.key(name)); err != nil {
			return err
		}
	}
	if len(gone) > 0 {
		fmt.Fprintf(b.log, "%d objects were removed that the directory has no more\n", len(gone))
	}
	return nil
}
