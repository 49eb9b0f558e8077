package depot

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/worker"
)

const (
	repomdPath = "repodata/repomd.xml"
	maxIndexes = 16 // parsed primaries of mirrors that are kept
)

// file is what a repository has at a path.
type file struct {
	digest albs.Digest
	size   int64 // 0 where the repository doesn't say
	src    source
}

// repository resolves paths. ok is false where nothing is at path.
type repository interface {
	find(ctx context.Context, path string) (f file, ok bool, err error)
}

// leased reads blobs by a task's lease through the cache.
type leased struct {
	depot  *Depot
	master worker.Master
	token  worker.Token
}

func (l leased) source(d albs.Digest) source {
	return func(ctx context.Context) (io.ReadCloser, error) {
		return l.master.Get(ctx, l.token, d, 0, -1)
	}
}

// Open implements repodata.Blobs.
func (l leased) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return l.depot.open(ctx, d, l.source(d))
}

var errReadOnly = albs.Errorf(albs.Forbidden, "a worker writes no snapshot")

// Put implements repodata.Blobs; it refuses.
func (leased) Put(context.Context, albs.Digest, io.Reader) (int64, error) { return 0, errReadOnly }

// Write implements repodata.Blobs; it refuses.
func (leased) Write(context.Context, io.Reader, int64) (albs.Digest, int64, error) {
	return "", 0, errReadOnly
}

// snapshotRepo is a snapshot of the master.
type snapshotRepo struct {
	blobs    leased
	snapshot *repodata.Snapshot
}

func (r *snapshotRepo) find(ctx context.Context, path string) (file, bool, error) {
	for _, f := range r.snapshot.Files() {
		if f.Path == path {
			return file{f.Digest, f.Size, r.blobs.source(f.Digest)}, true, nil
		}
	}
	if strings.HasPrefix(path, "repodata/") {
		return file{}, false, nil
	}
	d, size, ok, err := r.snapshot.Lookup(ctx, r.blobs, path)
	return file{d, size, r.blobs.source(d)}, ok, err
}

// mirrorRepo is an outside repository as its pinned repomd.xml has it.
type mirrorRepo struct {
	blobs    leased
	id       string
	base     *url.URL
	pin      albs.Digest
	metadata map[string]file
	primary  file
}

func openMirror(ctx context.Context, blobs leased, repo albs.Repo) (*mirrorRepo, error) {
	if err := blobs.depot.egress.CheckURL(repo.Mirror); err != nil {
		return nil, err
	}
	base, err := url.Parse(repo.Mirror)
	if err != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, albs.Errorf(albs.Invalid, "mirror %.200q is no base URL", repo.Mirror)
	}
	body, err := blobs.Open(ctx, repo.Repomd)
	if err != nil {
		return nil, fmt.Errorf("open the pinned repomd.xml: %w", err)
	}
	defer body.Close()
	md, err := repodata.ParseRepomd(body)
	if err != nil {
		return nil, err
	}
	r := &mirrorRepo{blobs: blobs, id: repo.ID, base: base, pin: repo.Repomd, metadata: make(map[string]file)}
	for _, data := range md.Data {
		r.metadata[data.Path] = file{data.Digest, data.Size, r.source(data.Path, data.Size)}
		if data.Type == "primary" {
			r.primary = r.metadata[data.Path]
		}
	}
	if r.primary.digest == "" {
		return nil, albs.Errorf(albs.Invalid, "the repomd.xml of %s gives its primary no sha256", repo.Mirror)
	}
	return r, nil
}

// source fetches path from the mirror.
func (r *mirrorRepo) source(path string, size int64) source {
	return func(ctx context.Context) (io.ReadCloser, error) {
		rest := (&url.URL{Path: "/" + path}).EscapedPath()
		body, _, err := r.blobs.depot.egress.Get(ctx, strings.TrimSuffix(r.base.String(), "/")+rest, size)
		if errors.Is(err, albs.NotFound) || errors.Is(err, albs.TooLarge) {
			return nil, albs.Errorf(albs.Unavailable, "mirror %s has moved on from its pinned metadata; apply the platform again to pin it anew: %w", r.id, err)
		}
		return body, err
	}
}

func (r *mirrorRepo) find(ctx context.Context, path string) (file, bool, error) {
	if path == repomdPath {
		return file{digest: r.pin, src: r.blobs.source(r.pin)}, true, nil
	}
	f, ok := r.metadata[path]
	if !ok && !strings.HasPrefix(path, "repodata/") {
		packages, err := r.packages(ctx)
		if err != nil {
			return file{}, false, err
		}
		var p packageFile
		if p, ok = packages[path]; ok {
			f = file{p.digest, p.size, r.source(path, p.size)}
		}
	}
	if ok && f.digest == "" {
		return file{}, false, albs.Errorf(albs.Invalid, "mirror %s gives %s no sha256", r.id, path)
	}
	return f, ok, nil
}

// index is the packages of a mirror by path, read once for all tasks that have
// the same pin.
type index struct {
	reading  chan struct{} // held by sending, by who reads it and who looks into it
	packages map[string]packageFile
	used     int64
}

type packageFile struct {
	digest albs.Digest
	size   int64
}

func (r *mirrorRepo) packages(ctx context.Context) (map[string]packageFile, error) {
	x := r.blobs.depot.index(r.pin)
	select {
	case x.reading <- struct{}{}:
		defer func() { <-x.reading }()
	case <-ctx.Done():
		return nil, albs.Errorf(albs.Unavailable, "wait for the primary of mirror %s: %w", r.id, context.Cause(ctx))
	}
	if x.packages != nil {
		return x.packages, nil
	}
	body, err := r.blobs.depot.open(ctx, r.primary.digest, r.primary.src)
	if err != nil {
		return nil, fmt.Errorf("open the primary of mirror %s: %w", r.id, err)
	}
	defer body.Close()
	packages := make(map[string]packageFile)
	err = repodata.ReadPrimary(body, func(p repodata.Listed) error {
		packages[p.Path] = packageFile{p.Digest, p.Size}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("read the primary of mirror %s: %w", r.id, err)
	}
	x.packages = packages
	return packages, nil
}

// index returns the index of a pin, and forgets the one not used for longest when
// there are too many.
func (d *Depot) index(pin albs.Digest) *index {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.clock++
	x := d.indexes[pin]
	if x == nil {
		x = &index{reading: make(chan struct{}, 1)}
		d.indexes[pin] = x
	}
	x.used = d.clock
	if len(d.indexes) > maxIndexes {
		oldest := pin
		for p, y := range d.indexes {
			if y.used < d.indexes[oldest].used {
				oldest = p
			}
		}
		delete(d.indexes, oldest)
	}
	return x
}
