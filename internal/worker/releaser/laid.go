package releaser

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"time"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// laid is a product's directory with a tree that is complete in it: what further places
// are made from. It takes no lock, for what is complete isn't changed; retention may
// remove it, which is an error that passes with the next tree.
type laid struct {
	root *os.Root
	dir  string
	t    tree
}

// openLaid opens the tree that the directory of a product shows, or is NotFound.
func openLaid(public, product string) (*laid, error) {
	dir := filepath.Join(public, product)
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, albs.Errorf(albs.NotFound, "%s shows nothing", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open public place: %w", err)
	}
	l := &laid{root: root, dir: dir}
	serial, err := l.open()
	if err == nil && serial == 0 {
		err = albs.Errorf(albs.NotFound, "%s shows nothing", dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

func (l *laid) open() (serial int64, err error) {
	p := place{root: rooted{l.root}, dir: l.dir}
	if serial, _, err = p.shown(); err != nil || serial == 0 {
		return 0, err
	}
	l.t, err = l.tree(serial)
	return serial, err
}

// Close ends its use.
func (l *laid) Close() error { return l.root.Close() }

// tree returns the tree of that serial.
func (l *laid) tree(serial int64) (tree, error) {
	doc, err := l.root.ReadFile(path.Join(treeName(serial), treeFile))
	if err != nil {
		return tree{}, fmt.Errorf("read tree: %w", err)
	}
	t, err := repodata.ParseTree(doc)
	return tree{t, doc}, err
}

// serials returns those of the trees that are there, complete.
func (l *laid) serials() ([]int64, error) {
	entries, err := fs.ReadDir(l.root.FS(), "trees")
	if err != nil {
		return nil, fmt.Errorf("read trees: %w", err)
	}
	var out []int64
	for _, e := range entries {
		serial, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || treeName(serial) != path.Join("trees", e.Name()) {
			continue // one that is being made
		}
		if _, err := l.root.Stat(path.Join(treeName(serial), treeFile)); err == nil {
			out = append(out, serial)
		}
	}
	return out, nil
}

// metadata returns the names of a repository's own metadata, repomd.xml last: what is
// carried of the trees before isn't among them.
func (l *laid) metadata(r repodata.TreeRepo) ([]string, error) {
	base := path.Join(treeName(l.t.Serial), r.Path)
	md, err := l.repomd(base)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, d := range md.Data {
		out = append(out, d.Path)
	}
	return append(out, "repodata/repomd.xml.asc", repomdFile), nil
}

const repomdFile = "repodata/repomd.xml"

func (l *laid) repomd(base string) (*repodata.Repomd, error) {
	f, err := l.root.Open(path.Join(base, repomdFile))
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close()
	return repodata.ParseRepomd(f)
}

// packages calls yield for each package of a repository as it is in the tree of that
// serial.
func (l *laid) packages(serial int64, repo string, yield func(repodata.Listed) error) error {
	base := path.Join(treeName(serial), repo)
	md, err := l.repomd(base)
	if err != nil {
		return err
	}
	primary, ok := md.Find("primary")
	if !ok {
		return albs.Errorf(albs.Invalid, "%s has no primary", base)
	}
	f, err := l.root.Open(path.Join(base, primary.Path))
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close()
	return repodata.ReadPrimary(f, yield)
}

// known returns the packages of a tree that was shown before, which were read back then.
// Of one that isn't here any more none is known, and all are read back anew.
func (l *laid) known(serial int64) map[albs.Digest]bool {
	out := map[albs.Digest]bool{}
	if serial == 0 {
		return out
	}
	t, err := l.tree(serial)
	for _, r := range t.Repositories {
		if err == nil {
			err = l.packages(serial, r.Path, func(p repodata.Listed) error { out[p.Digest] = true; return nil })
		}
	}
	if err != nil {
		return nil
	}
	return out
}

// shownFor returns for how long the directory has shown what it shows.
func (l *laid) shownFor() (time.Duration, error) {
	info, err := l.root.Lstat("current")
	if err != nil {
		return 0, fmt.Errorf("read what is shown: %w", err)
	}
	return time.Since(info.ModTime()), nil
}
