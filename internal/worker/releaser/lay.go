package releaser

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/repodata"
	"albs/internal/worker"
	"albs/internal/worker/releaser/laid"
)

// pooled tells of each repository of a tree, by path, the entry lists (see
// repodata) whose packages all were in the pool when the tree got its name. The
// next tree need not look for them again. The file is a shortcut and no more:
// without it every package is looked for.
type pooled map[string][]albs.Digest

// left tells of each repository of a tree, by path, since when the metadata files that
// it carries of the trees before have been replaced. Times of files don't tell: one that
// was written a year ago may have been shown until now.
type left map[string]map[string]time.Time

// unfinished is where a tree is made. While it is there, an attempt has died that
// made names in the pool and perhaps never brought them to disk.
const unfinished = "trees/new"

// lay makes trees/SERIAL complete on disk. One that an earlier attempt completed
// stays; a half-made one is replaced, for nobody has seen it.
func (p *place) lay(ctx context.Context, t repodata.Tree, doc []byte, shown int64, src source, log io.Writer) error {
	if err := ownNames(t); err != nil {
		return err
	}
	final := laid.TreeName(t.Serial)
	there, err := p.root.ReadFile(path.Join(final, laid.TreeFile))
	if err == nil && bytes.Equal(there, doc) {
		fmt.Fprintf(log, "serial %d is complete already\n", t.Serial)
		p.dirty["trees"] = struct{}{} // its name may be younger than the last sync
		return p.sync()
	}
	if err := p.settle(); err != nil {
		return err
	}
	for _, d := range []string{unfinished, final} {
		if err := p.clear(d); err != nil {
			return err
		}
	}
	if err := p.mkdir(unfinished); err != nil {
		return err
	}
	var known pooled
	var since left
	p.recall(shown, laid.PooledFile, &known)
	p.recall(shown, laid.LeftFile, &since)
	now, carried := make(pooled, len(t.Repositories)), make(left, len(t.Repositories))
	for _, r := range t.Repositories {
		if now[r.Path], err = p.repository(ctx, unfinished, shown, r, known[r.Path], src, log); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
		if carried[r.Path], err = p.carry(path.Join(laid.TreeName(shown), r.Path), path.Join(unfinished, r.Path), since[r.Path]); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
		if err := p.invite(unfinished, t, r); err != nil {
			return fmt.Errorf("repository %s: %w", r.Path, err)
		}
	}
	for _, f := range t.Files {
		if err := p.treeFile(ctx, path.Join(unfinished, f.Path), path.Join(laid.TreeName(shown), f.Path), f, src); err != nil {
			return fmt.Errorf("file %s: %w", f.Path, err)
		}
	}
	own := map[string][]byte{laid.TreeFile: doc}
	for name, v := range map[string]any{laid.PooledFile: now, laid.LeftFile: carried} {
		if own[name], err = json.Marshal(v); err != nil {
			return fmt.Errorf("encode %s: %w", name, err)
		}
	}
	for name, b := range own {
		if err := p.write(path.Join(unfinished, name), func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
			return err
		}
	}
	if err := p.sync(); err != nil {
		return err
	}
	if err := p.root.Rename(unfinished, final); err != nil {
		return disk.Trouble(err, "name the tree in the public place")
	}
	p.dirty["trees"] = struct{}{}
	return p.sync()
}

// ownNames refuses a tree in which something has the name of a file that the place
// keeps of its own.
func ownNames(t repodata.Tree) error {
	var paths []string
	isRepo := make(map[string]bool, len(t.Repositories))
	for _, r := range t.Repositories {
		paths, isRepo[r.Path] = append(paths, r.Path), true
	}
	for _, f := range t.Files {
		paths = append(paths, f.Path)
	}
	for _, name := range paths {
		if top, _, _ := strings.Cut(name, "/"); slices.Contains([]string{laid.TreeFile, laid.PooledFile, laid.LeftFile}, top) || laid.Invites(t, isRepo, name) {
			return albs.Errorf(albs.Invalid, "the tree has something at %s, which the public place has of its own", name)
		}
	}
	return nil
}

// settle brings to disk what an attempt that died may have left in memory only: what
// is found in the pool is taken for being there, also after the power was cut.
func (p *place) settle() error {
	p.dirty["."] = struct{}{}
	if _, err := p.root.Stat(unfinished); errors.Is(err, fs.ErrNotExist) {
		return nil
	} else if err != nil {
		return fmt.Errorf("look for what was left: %w", err)
	}
	err := fs.WalkDir(p.root.FS(), "pool", func(name string, e fs.DirEntry, err error) error {
		if err == nil && e.IsDir() {
			p.dirty[name] = struct{}{}
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look for what was left: %w", err)
	}
	return p.sync()
}

// recall fills v with what the tree of that serial noted in a file of its own. A note
// that is missing or broken is none: each is a shortcut, or is made up for.
func (p *place) recall(serial int64, name string, v any) {
	b, err := p.root.ReadFile(path.Join(laid.TreeName(serial), name))
	if err == nil {
		_ = json.Unmarshal(b, v) // broken: what it holds is looked for
	}
}

// repository lays one repository of a tree and returns the entry lists whose
// packages are in the pool.
func (p *place) repository(ctx context.Context, tree string, shown int64, r repodata.TreeRepo, known []albs.Digest, src source, log io.Writer) ([]albs.Digest, error) {
	s, err := repodata.Open(ctx, src, r.Snapshot)
	if err != nil {
		return nil, err
	}
	if s.Signature() == "" {
		return nil, albs.Errorf(albs.Invalid, "the snapshot %s is not signed", r.Snapshot.Short())
	}
	pool := path.Join("pool", r.Path)
	if err := p.mkdir(path.Join(pool, "Packages")); err != nil {
		return nil, err
	}
	looked := make(map[albs.Digest]bool, len(known))
	for _, d := range known {
		looked[d] = true
	}
	fresh := 0
	p.pooled[r.Path] = map[albs.Digest]string{}
	err = s.PackagesBut(ctx, src, looked, func(e repodata.Entry) error {
		p.pooled[r.Path][e.Digest] = e.Path
		added, err := p.pool(ctx, path.Join(pool, e.Path), e, src)
		if added {
			fresh++
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	base, old := path.Join(tree, r.Path), path.Join(laid.TreeName(shown), r.Path)
	for _, f := range s.Files() {
		if err := p.metadata(ctx, path.Join(base, f.Path), path.Join(old, f.Path), f, src); err != nil {
			return nil, err
		}
	}
	up := strings.Repeat("../", strings.Count(base, "/")+1)
	if err := p.root.Symlink(up+path.Join(pool, "Packages"), path.Join(base, "Packages")); err != nil {
		return nil, disk.Trouble(err, "link packages in the public place")
	}
	p.dirty[base] = struct{}{}
	fmt.Fprintf(log, "%s: %d packages, %d of them new, repomd %s\n", r.Path, s.Len(), fresh, s.Repomd().Short())
	return s.Parts(), nil
}

// metadata lays one file of repodata. What the tree shown before has under a name
// that tells its digest is the same file.
func (p *place) metadata(ctx context.Context, name, old string, f repodata.File, src source) error {
	if byDigest(f.Path) {
		if info, err := p.root.Stat(old); err == nil && info.Size() == f.Size {
			return p.link(old, name)
		}
	}
	return p.file(ctx, name, f.Digest, src)
}

// treeFile lays a file of the tree that is of no repository. What the tree shown before has
// in its place is the same file if it hashes to it: of the thousands that tell of advisories
// a release changes some ten.
func (p *place) treeFile(ctx context.Context, name, old string, f repodata.TreeFile, src source) error {
	if info, err := p.root.Stat(old); err == nil && info.Mode().IsRegular() && info.Size() == f.Size {
		if d, err := p.digest(old); err == nil && d == f.Digest {
			return p.link(old, name)
		}
	}
	return p.file(ctx, name, f.Digest, src)
}

// byDigest reports whether a file of repodata is named by its digest.
func byDigest(name string) bool {
	digest, _, _ := strings.Cut(path.Base(name), "-")
	return albs.Digest(digest).Valid()
}

// carryFor is how long metadata stays readable after the tree that showed it was left:
// longer than any client, or a mirror that copies a whole distribution, takes from
// repomd.xml to the files that it names.
const carryFor = 24 * time.Hour

// carry keeps for readers who are in the middle of it the metadata that the tree shown
// before has beside that of base: files are named by their digest, so old and new lie
// side by side. It returns since when each has been replaced: since now, unless the tree
// before, which noted so in since, carried it itself.
func (p *place) carry(old, base string, since map[string]time.Time) (map[string]time.Time, error) {
	now := time.Now().UTC()
	keep := make(map[string]time.Time)
	dir, err := p.root.Open(path.Join(old, "repodata"))
	if errors.Is(err, fs.ErrNotExist) {
		return keep, nil // the repository is new
	}
	if err != nil {
		return nil, fmt.Errorf("read old metadata: %w", err)
	}
	defer dir.Close()
	files, err := dir.ReadDir(-1)
	if err != nil {
		return nil, fmt.Errorf("read old metadata: %w", err)
	}
	for _, e := range files {
		at, carried := since[e.Name()]
		if !carried {
			at = now
		}
		name := path.Join(base, "repodata", e.Name())
		if !byDigest(e.Name()) || now.Sub(at) > carryFor || p.written[name] != nil {
			continue
		}
		err := p.link(path.Join(old, "repodata", e.Name()), name)
		switch {
		case err == nil:
			keep[e.Name()] = at
		case !errors.Is(err, fs.ErrExist): // else it is base's own, and in use
			return nil, err
		}
	}
	return keep, nil
}

// pool makes sure that name in the pool is the package e. The file by digest was
// hashed when it was written; being one inode with it is being it. Another file of
// that name that turns out to be the package (the place was copied without its
// hard links) is taken for it; one that doesn't is Invalid, and stays.
func (p *place) pool(ctx context.Context, name string, e repodata.Entry, src source) (added bool, err error) {
	content := laid.ContentName(e.Digest)
	if p.written[content] != nil { // under another name of it
		if err := p.name(); err != nil {
			return false, err
		}
	}
	there, err := p.root.Stat(name)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look into the pool: %w", err)
	}
	have, err := p.root.Stat(content)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return false, fmt.Errorf("look into the pool: %w", err)
	}
	changed := albs.Errorf(albs.Invalid, "%s in the public place is not the package %s that was released under this name: a released package never changes", name, e.Digest.Short())
	switch {
	case there == nil && have == nil:
		return true, p.file(ctx, content, e.Digest, src, func() error { return p.link(content, name) })
	case there == nil && have.Size() != e.Size:
		return false, albs.Errorf(albs.Invalid, "%s has %d bytes instead of %d: the public place was tampered with; remove that file", content, have.Size(), e.Size)
	case there == nil:
	case there.Size() != e.Size:
		return false, changed
	case have != nil && os.SameFile(have, there):
		return false, nil
	default:
		d, err := p.digest(name)
		if err != nil {
			return false, err
		}
		if d != e.Digest {
			return false, changed
		}
		if have != nil {
			if err := p.root.Remove(content); err != nil {
				return false, fmt.Errorf("mend the pool: %w", err)
			}
		}
		return false, p.link(name, content)
	}
	return true, p.link(content, name)
}

// digest hashes a file of the place.
func (p *place) digest(name string) (albs.Digest, error) {
	f, err := p.root.Open(name)
	if err != nil {
		return "", fmt.Errorf("look into the pool: %w", err)
	}
	defer f.Close()
	d, _, err := albs.DigestReader(f)
	if err != nil {
		return "", fmt.Errorf("look into the pool: %w", err)
	}
	return d, nil
}

// file is write of what it fetches as d, hashed on the way.
func (p *place) file(ctx context.Context, name string, d albs.Digest, src source, then ...func() error) error {
	return p.write(name, func(w io.Writer) error { return src.Fetch(ctx, d, worker.MaxUpload, w) }, then...)
}

// invite lays those files of a repository of tree t that is being made in dir.
func (p *place) invite(dir string, t repodata.Tree, r repodata.TreeRepo) error {
	files, err := laid.Readers(p.url).Invitation(t, r, t.Serial)
	if err != nil {
		return err
	}
	for name, text := range files {
		err := p.write(path.Join(dir, r.Path, name), func(w io.Writer) error { _, err := io.WriteString(w, text); return err })
		if err != nil {
			return err
		}
	}
	return nil
}
