package releaser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/worker/releaser/laid"
)

const (
	pastFile = "past.json"
	leaving  = "trees/old" // a tree while it is removed: it has its name, or is nothing
)

// digestIn returns the digest in the name of a file of the pool that is named by what it
// holds.
func digestIn(name string) (albs.Digest, bool) {
	dir, base := path.Split(name)
	if !strings.HasPrefix(dir, laid.Contents+"/") {
		return "", false
	}
	return albs.Digest(base), true
}

// prune removes the trees below the oldest that is kept, but the one that is shown and
// those that readers may still be reading, and then, if packages says so, what is in the
// pool and named by no tree that is there. It may be repeated after any crash: a tree is
// there whole or not at all, and names in the pool are looked at each time.
func (p *place) prune(ctx context.Context, spec albs.PruneSpec, now time.Time, log io.Writer) (albs.PruneResult, error) {
	var result albs.PruneResult
	shown, _, err := p.shown()
	if err != nil || shown == 0 {
		return result, err
	}
	if err := p.clear(leaving); err != nil {
		return result, err
	}
	trees, err := p.trees()
	if err != nil {
		return result, err
	}
	var was past
	if b, err := p.root.ReadFile(pastFile); err == nil {
		_ = json.Unmarshal(b, &was) // broken: what was left is left since now
	}
	gone, waiting, next := was.sort(trees, shown, spec.Oldest, now)
	result.Waiting = waiting
	for _, serial := range gone {
		if err := ctx.Err(); err != nil {
			return result, err
		}
		if err := p.drop(serial); err != nil {
			return result, err
		}
		fmt.Fprintf(log, "serial %d is removed\n", serial)
		result.Trees = append(result.Trees, serial)
	}
	if len(waiting) > 0 {
		fmt.Fprintf(log, "serials that readers may still be reading, and that go later: %v\n", waiting)
	}
	b, err := json.Marshal(next)
	if err != nil {
		return result, fmt.Errorf("encode %s: %w", pastFile, err)
	}
	if err := p.write(pastFile, func(w io.Writer) error { _, err := w.Write(b); return err }); err != nil {
		return result, err
	}
	if spec.Packages {
		if err := p.prunePool(ctx, &result); err != nil {
			return result, err
		}
		fmt.Fprintf(log, "%d packages that no tree names are removed, %d bytes\n", result.Packages, result.Bytes)
	}
	return result, p.sync()
}

// trees returns the serials of the trees that are there.
func (p *place) trees() ([]int64, error) {
	found, err := fs.ReadDir(p.root.FS(), "trees")
	if err != nil {
		return nil, fmt.Errorf("read trees of the public place: %w", err)
	}
	var serials []int64
	for _, e := range found {
		if serial, err := strconv.ParseInt(e.Name(), 10, 64); err == nil && laid.TreeName(serial) == path.Join("trees", e.Name()) {
			serials = append(serials, serial)
		}
	}
	return serials, nil
}

// drop removes a tree. That it lost its name is on disk before any of its files go.
func (p *place) drop(serial int64) error {
	if err := p.root.Rename(laid.TreeName(serial), leaving); err != nil {
		return fmt.Errorf("remove serial %d: %w", serial, err)
	}
	p.dirty["trees"] = struct{}{}
	if err := p.sync(); err != nil {
		return err
	}
	return p.clear(leaving)
}

// prunePool removes what no tree names from the pool: first the names by which readers
// get it.
func (p *place) prunePool(ctx context.Context, result *albs.PruneResult) error {
	n, err := p.named(ctx)
	if err != nil {
		return err
	}
	var names, byDigest []string
	err = fs.WalkDir(p.root.FS(), "pool", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || n.stays(name) {
			return err
		}
		if _, ok := digestIn(name); ok {
			byDigest = append(byDigest, name)
			return ctx.Err()
		}
		names = append(names, name)
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("look through the pool: %w", err)
	}
	for _, name := range append(names, byDigest...) {
		if err := ctx.Err(); err != nil {
			return err
		}
		info, err := p.root.Stat(name)
		if err == nil {
			err = p.root.Remove(name)
		}
		if err != nil {
			return fmt.Errorf("remove from the pool: %w", err)
		}
		p.dirty[path.Dir(name)] = struct{}{}
		_, byContent := digestIn(name)
		if _, beside := laid.Beside(name); !byContent && !beside {
			result.Packages++
			result.Bytes += info.Size()
		}
	}
	return nil
}

// named reads what the trees of the place name. Their metadata is what readers go by, and
// it is there also when the master has given a tree up. A tree that can't be read is an
// error, and nothing is removed.
func (p *place) named(ctx context.Context) (named, error) {
	n := named{make(map[string]bool), make(map[albs.Digest]bool)}
	serials, err := p.trees()
	if err != nil {
		return n, err
	}
	read := make(map[string]bool) // primaries are named by their digest, and most trees share most of them
	for _, serial := range serials {
		doc, err := p.root.ReadFile(path.Join(laid.TreeName(serial), laid.TreeFile))
		if err != nil {
			return n, fmt.Errorf("read serial %d: %w", serial, err)
		}
		t, err := repodata.ParseTree(doc)
		if err != nil {
			return n, fmt.Errorf("read serial %d: %w", serial, err)
		}
		for _, r := range t.Repositories {
			if err := ctx.Err(); err != nil {
				return n, err
			}
			if err := p.list(path.Join(laid.TreeName(serial), r.Path), r.Path, read, n); err != nil {
				return n, fmt.Errorf("read %s of serial %d: %w", r.Path, serial, err)
			}
		}
	}
	return n, nil
}

// list adds what one repository of a tree names.
func (p *place) list(dir, repo string, read map[string]bool, n named) error {
	f, err := p.root.Open(path.Join(dir, "repodata/repomd.xml"))
	if err != nil {
		return err
	}
	md, err := repodata.ParseRepomd(f)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	primary, ok := md.Find("primary")
	if !ok {
		return albs.Errorf(albs.Invalid, "its repomd.xml names no primary")
	}
	key := repo + " " + primary.Path
	if byDigest(primary.Path) && read[key] {
		return nil
	}
	read[key] = true
	if f, err = p.root.Open(path.Join(dir, primary.Path)); err != nil {
		return err
	}
	err = repodata.ReadPrimary(f, func(l repodata.Listed) error {
		n.names[path.Join("pool", repo, l.Path)], n.digests[l.Digest] = true, true
		return nil
	})
	return errors.Join(err, f.Close())
}
