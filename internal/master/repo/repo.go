// Package repo owns which snapshot each repository shows now, which tree each
// product shows and has shown, and the repomd.xml documents of outside mirrors
// that roots are pinned to.
//
// A repository is a name with a pointer to a sealed, immutable snapshot; a tree is
// a numbered list of such snapshots. Both pointers move only by compare and set,
// in the transaction of the change that they belong to, and only forward: going
// back is a new serial with old content. The bytes come first: Extend and SaveTree
// make them durable outside any transaction, Advance and AdvanceTree show them.
// The formats are repodata's; who may move what is decided by the callers, build
// and release.
package repo

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"path"
	"regexp"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Repos keeps repositories and trees. It may be used concurrently.
type Repos struct {
	d         *db.DB
	artifacts *artifact.Artifacts
	events    Events
	turns     turns
	opened    opened

	mu         sync.Mutex
	emptySaved bool
}

// New returns Repos over the database d and the blobs of artifacts, to which it tells
// what it names. It does no I/O.
func New(d *db.DB, artifacts *artifact.Artifacts, events Events) *Repos {
	r := &Repos{
		d: d, artifacts: artifacts, events: events,
		turns:  turns{held: make(map[string]*turn), keep: keepTurn},
		opened: opened{byDigest: make(map[albs.Digest]*repodata.Snapshot)},
	}
	artifacts.Root("repo", r.roots)
	artifacts.Follow(artifact.Snapshot, r.followSnapshots)
	artifacts.Follow(artifact.TreeDocument, r.followTrees)
	return r
}

// Blobs returns the store that snapshots are in, for repodata's functions.
func (r *Repos) Blobs() repodata.Blobs { return blobs{r.artifacts} }

// blobs narrows the artifacts' store to what repodata asks for.
type blobs struct{ a *artifact.Artifacts }

func (b blobs) Put(ctx context.Context, want albs.Digest, r io.Reader) (int64, error) {
	return b.a.Blobs().Put(ctx, want, r)
}

func (b blobs) Write(ctx context.Context, r io.Reader, limit int64) (albs.Digest, int64, error) {
	return b.a.Blobs().Write(ctx, r, limit)
}

func (b blobs) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	return b.a.Blobs().Open(ctx, d)
}

var nameForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._/-]{0,199}$`)

// Ensure makes an empty repository of that name if there is none. An ill-formed
// name is Invalid.
func (r *Repos) Ensure(ctx context.Context, tx db.Tx, name string) error {
	if !nameForm.MatchString(name) {
		return albs.Errorf(albs.Invalid, "%.80q is not a repository's name: up to 200 letters, digits, dots, slashes, hyphens and underscores", name)
	}
	if err := ensure(ctx, tx, name, db.Now()); err != nil {
		return fmt.Errorf("make repository %s: %w", name, err)
	}
	return nil
}

// Forget has the snapshots that the repositories of these names show kept for them no
// longer, once the time of grace is over, and for good. They are read as before while their blobs are there; names of which
// there is no repository are passed over.
func (r *Repos) Forget(ctx context.Context, tx db.Tx, names ...string) error {
	if err := forget(ctx, tx, names, db.Now()); err != nil {
		return fmt.Errorf("forget repositories: %w", err)
	}
	return nil
}

// Current returns the snapshot that the repository shows now, durable and
// readable; one that never advanced shows an empty snapshot. NotFound if there is
// no such repository.
func (r *Repos) Current(ctx context.Context, name string) (albs.Digest, error) {
	row, err := get(ctx, r.d, name)
	if err != nil {
		return "", err
	}
	if row.Snapshot == "" {
		return r.empty(ctx)
	}
	return row.Snapshot, nil
}

// empty returns the snapshot of a repository that never advanced, which it stores
// once in a process's life.
func (r *Repos) empty(ctx context.Context) (albs.Digest, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.emptySaved {
		s, err := repodata.Empty(ctx, r.Blobs(), emptyRevision)
		if err != nil {
			return "", fmt.Errorf("make the empty snapshot: %w", err)
		}
		if s.Digest() != emptyDigest() {
			return "", fmt.Errorf("the empty snapshot is %s and not %s as computed", s.Digest(), emptyDigest())
		}
		r.emptySaved = true
	}
	return emptyDigest(), nil
}

// Extend makes the snapshot that the repository would show with the packages of
// add in it and the paths of remove taken out, and returns it after the one that
// it was made from. It shows nothing: pass both to Advance, and if that finds a
// Conflict begin again here. Its blobs are durable on return.
//
// add are artifacts as Admit or Save returned them; rows are not needed yet. If
// all of them are there already and nothing is removed, both snapshots are the
// same and there is nothing to advance. A path of remove that isn't there is
// NotFound; a path of add that holds other bytes and isn't removed is Conflict.
//
// So that tasks that end at the same moment don't undo each other's work, Extend
// waits while another extension of the same repository by this process is on its
// way to Advance, for some seconds at most.
func (r *Repos) Extend(ctx context.Context, name string, add []artifact.Artifact, remove []string) (from, to albs.Digest, err error) {
	t, err := r.turns.take(ctx, name)
	if err != nil {
		return "", "", fmt.Errorf("wait to extend repository %s: %w", name, err)
	}
	defer func() {
		if err != nil || from == to {
			r.turns.end(name, t)
		} else {
			r.turns.await(name, t, to)
		}
	}()
	if from, err = r.Current(ctx, name); err != nil {
		return "", "", err
	}
	if to, err = r.ExtendSnapshot(ctx, from, Change{Add: add, Remove: remove}); err != nil {
		return "", "", fmt.Errorf("extend repository %s: %w", name, err)
	}
	return from, to, nil
}

// Change is what ExtendSnapshot makes of a snapshot.
type Change struct {
	Add    []artifact.Artifact // packages, as Admit or Save returned them
	Remove []string            // paths
	// Records, unless they are nil, are all that the snapshot has afterwards, by type, in
	// place of those of before; their bytes are kept already.
	Records []repodata.Record
	// Compression is that of the metadata; empty leaves it as it was.
	Compression repodata.Compression
}

// ExtendSnapshot is Extend for a snapshot that need not be any repository's
// current one; an empty from stands for no packages. It waits for nobody.
func (r *Repos) ExtendSnapshot(ctx context.Context, from albs.Digest, c Change) (albs.Digest, error) {
	if from == "" {
		var err error
		if from, err = r.empty(ctx); err != nil {
			return "", err
		}
	}
	base, err := r.Open(ctx, from)
	if err != nil {
		return "", err
	}
	same, err := r.holds(ctx, base, c.Add)
	if err != nil {
		return "", err
	}
	if same && len(c.Remove) == 0 && (c.Records == nil || slices.Equal(c.Records, base.Records())) && c.Compression.Or(base.Compression()) == base.Compression() {
		return from, nil
	}
	change := repodata.Change{Add: make([]repodata.Package, len(c.Add)), Remove: c.Remove, Records: c.Records, Compression: c.Compression}
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(readers)
	for i, a := range c.Add {
		g.Go(func() (err error) {
			change.Add[i], err = r.describe(gctx, a)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	// Clients take the revision for a time; it has to grow even so.
	revision := max(time.Now().Unix(), base.Revision()+1)
	s, err := repodata.Extend(ctx, r.Blobs(), base, change, revision)
	if err != nil {
		return "", err
	}
	return s.Digest(), nil
}

// holds reports whether every package lies in the snapshot with the same bytes.
func (r *Repos) holds(ctx context.Context, s *repodata.Snapshot, packages []artifact.Artifact) (bool, error) {
	for _, a := range packages {
		d, _, ok, err := s.Lookup(ctx, r.Blobs(), Path(a.Name))
		if err != nil || !ok || d != a.Digest {
			return false, err
		}
	}
	return true, nil
}

const readers = 8 // packages whose headers are read at once

// describe reads the header of an admitted package for the metadata.
func (r *Repos) describe(ctx context.Context, a artifact.Artifact) (repodata.Package, error) {
	if a.Kind != artifact.RPM && a.Kind != artifact.SRPM {
		return repodata.Package{}, albs.Errorf(albs.Invalid, "%s is no package and can't be put into a repository", a.Name)
	}
	body, err := r.artifacts.Blobs().OpenRange(ctx, a.Digest, 0, -1)
	if err != nil {
		return repodata.Package{}, fmt.Errorf("open %s: %w", a.Name, err)
	}
	defer body.Close()
	p, err := rpm.Read(body)
	if err != nil {
		return repodata.Package{}, fmt.Errorf("read header of %s: %w", a.Name, err)
	}
	return repodata.Package{RPM: p, Digest: a.Digest, Size: a.Size, Path: Path(a.Name), Time: p.BuildTime.Unix()}, nil
}

// Path returns where a package of that file name lies in a repository:
// Packages/, a folder by its first letter in lower case, the name.
func Path(file string) string {
	if file == "" {
		return "Packages"
	}
	return path.Join("Packages", strings.ToLower(file[:1]), file)
}

// Seal puts the armored signature of a snapshot's repomd.xml into it and returns
// the sealed snapshot, which is durable. Whether the signature is good is for the
// caller to have checked.
func (r *Repos) Seal(ctx context.Context, snapshot albs.Digest, asc []byte) (albs.Digest, error) {
	s, err := r.Open(ctx, snapshot)
	if err != nil {
		return "", err
	}
	sealed, err := repodata.Seal(ctx, r.Blobs(), s, asc)
	if err != nil {
		return "", err
	}
	return sealed.Digest(), nil
}

// Advance moves the repository from one snapshot to the next. It is a Conflict,
// and nothing is moved, unless the repository shows from: then extend anew.
func (r *Repos) Advance(ctx context.Context, tx db.Tx, name string, from, to albs.Digest) error {
	if !from.Valid() || !to.Valid() {
		return albs.Errorf(albs.Internal, "advance repository %s from %q to %q: these are not two snapshots", name, from, to)
	}
	err := advance(ctx, tx, name, from, to, db.Now())
	if albs.KindOf(err) == albs.Conflict {
		r.turns.advanced(name, to)
		return err
	}
	if err != nil {
		return fmt.Errorf("advance repository %s: %w", name, err)
	}
	tx.AfterCommit(func() { r.turns.advanced(name, to) })
	return nil
}

// Forgo ends the wait of others for an extension that will not be advanced, since what
// it rested on has changed.
func (r *Repos) Forgo(name string, to albs.Digest) { r.turns.advanced(name, to) }

// Contain reports whether d is a blob that a reader of one of the repositories, as a
// root names them, needs: a snapshot's root, an entry list, a metadata file or a
// package. A repository elsewhere, without a snapshot, has none. NotFound if a
// snapshot isn't there.
func (r *Repos) Contain(ctx context.Context, repos []albs.Repo, d albs.Digest) (bool, error) {
	for _, repo := range repos {
		if repo.Snapshot == "" {
			continue
		}
		s, err := r.Open(ctx, repo.Snapshot)
		if err != nil {
			return false, err
		}
		if ok, err := s.Has(ctx, r.Blobs(), d); ok || err != nil {
			return ok, err
		}
	}
	return false, nil
}

// Find returns the file at a path of the snapshot, metadata or package, or NotFound.
func (r *Repos) Find(ctx context.Context, snapshot albs.Digest, file string) (albs.File, error) {
	s, err := r.Open(ctx, snapshot)
	if err != nil {
		return albs.File{}, err
	}
	for _, f := range s.Files() {
		if f.Path == file {
			return albs.File{Name: path.Base(file), Digest: f.Digest, Size: f.Size}, nil
		}
	}
	d, size, ok, err := s.Lookup(ctx, r.Blobs(), file)
	if err != nil {
		return albs.File{}, err
	}
	if !ok {
		return albs.File{}, albs.Errorf(albs.NotFound, "there is no %.200q in the repository", file)
	}
	return albs.File{Name: path.Base(file), Digest: d, Size: size}, nil
}

// Pin keeps the repomd.xml of an outside repository as a document and returns its
// name. It is durable on return.
func (r *Repos) Pin(ctx context.Context, repomd []byte) (albs.Digest, error) {
	return r.document(ctx, "repomd.xml", repomd, repodata.MaxRepomdBytes)
}

func (r *Repos) document(ctx context.Context, name string, b []byte, limit int64) (albs.Digest, error) {
	a, err := r.artifacts.Save(ctx, bytes.NewReader(b), limit, name, artifact.Document)
	if err != nil {
		return "", err
	}
	err = r.d.InTx(ctx, func(tx db.Tx) error { return r.artifacts.Add(ctx, tx, a) })
	return a.Digest, err
}
