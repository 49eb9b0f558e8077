// Package laid reads a product's public directory as the releaser has laid it: what
// further places are made from. It says what is called what there, and what readers are
// told of where repositories are.
package laid

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// Modes of what readers get, set whatever the umask of the service is: a web server
// has another user.
const (
	FileMode   = 0o644
	FolderMode = 0o755
)

// Files that a place has of its own in each tree; those but the first are for the
// releaser alone.
const (
	TreeFile   = "tree.json"   // the tree's document
	PooledFile = "pooled.json" // what of it is known to be in the pool
	LeftFile   = "left.json"   // since when metadata that it carries has been replaced
)

// Contents is the folder of packages by what they hold.
const Contents = "pool/.digest"

// ContentName is the name of a package in the pool by what it holds.
func ContentName(d albs.Digest) string { return path.Join(Contents, string(d[:2]), string(d)) }

// TreeName is the name of the tree of that serial.
func TreeName(serial int64) string { return path.Join("trees", strconv.FormatInt(serial, 10)) }

// Tree is a tree with its document.
type Tree struct {
	repodata.Tree
	Doc []byte
}

// Digest names the tree.
func (t Tree) Digest() albs.Digest { return albs.DigestOf(t.Doc) }

// Links is the part of a folder by which it says what it shows.
type Links interface {
	Readlink(name string) (string, error)
	ReadFile(name string) ([]byte, error)
}

// Shown returns the serial and the tree that readers of a product's directory see, 0 if
// none; dir is what errors call it.
func Shown(root Links, dir string) (int64, albs.Digest, error) {
	target, err := root.Readlink("current")
	if errors.Is(err, fs.ErrNotExist) {
		return 0, "", nil
	}
	if err != nil {
		return 0, "", fmt.Errorf("read what is shown: %w", err)
	}
	serial, err := strconv.ParseInt(path.Base(target), 10, 64)
	if err != nil || target != TreeName(serial) {
		return 0, "", fmt.Errorf("%s/current points to %q, which no releaser made", dir, target)
	}
	doc, err := root.ReadFile(path.Join(target, TreeFile))
	if err != nil {
		return 0, "", fmt.Errorf("read the tree that is shown: %w", err)
	}
	return serial, albs.DigestOf(doc), nil
}

// Product is a product's directory with a tree that is complete in it: what further places
// are made from. It takes no lock, for what is complete isn't changed; retention may
// remove it, which is an error that passes with the next tree.
type Product struct {
	Root *os.Root
	Dir  string // for messages
	Tree Tree   // the one that is shown
}

// Open opens the tree that the directory of a product shows, or is NotFound.
func Open(public, product string) (*Product, error) {
	dir := filepath.Join(public, product)
	root, err := os.OpenRoot(dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, albs.Errorf(albs.NotFound, "%s shows nothing", dir)
	}
	if err != nil {
		return nil, fmt.Errorf("open public place: %w", err)
	}
	l := &Product{Root: root, Dir: dir}
	serial, err := l.open()
	if err == nil && serial == 0 {
		err = albs.Errorf(albs.NotFound, "%s shows nothing", dir)
	}
	if err != nil {
		return nil, errors.Join(err, root.Close())
	}
	return l, nil
}

func (l *Product) open() (serial int64, err error) {
	if serial, _, err = Shown(l.Root, l.Dir); err != nil || serial == 0 {
		return 0, err
	}
	l.Tree, err = l.At(serial)
	return serial, err
}

// Close ends its use.
func (l *Product) Close() error { return l.Root.Close() }

// At returns the tree of that serial.
func (l *Product) At(serial int64) (Tree, error) {
	doc, err := l.Root.ReadFile(path.Join(TreeName(serial), TreeFile))
	if err != nil {
		return Tree{}, fmt.Errorf("read tree: %w", err)
	}
	t, err := repodata.ParseTree(doc)
	return Tree{t, doc}, err
}

// Serials returns those of the trees that are there, complete.
func (l *Product) Serials() ([]int64, error) {
	entries, err := fs.ReadDir(l.Root.FS(), "trees")
	if err != nil {
		return nil, fmt.Errorf("read trees: %w", err)
	}
	var out []int64
	for _, e := range entries {
		serial, err := strconv.ParseInt(e.Name(), 10, 64)
		if err != nil || TreeName(serial) != path.Join("trees", e.Name()) {
			continue // one that is being made
		}
		if _, err := l.Root.Stat(path.Join(TreeName(serial), TreeFile)); err == nil {
			out = append(out, serial)
		}
	}
	return out, nil
}

// Metadata returns the names of a repository's own metadata, repomd.xml last: what is
// carried of the trees before isn't among them.
func (l *Product) Metadata(r repodata.TreeRepo) ([]string, error) {
	base := path.Join(TreeName(l.Tree.Serial), r.Path)
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

func (l *Product) repomd(base string) (*repodata.Repomd, error) {
	f, err := l.Root.Open(path.Join(base, repomdFile))
	if err != nil {
		return nil, fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close()
	return repodata.ParseRepomd(f)
}

// Packages calls yield for each package of a repository as it is in the tree of that
// serial.
func (l *Product) Packages(serial int64, repo string, yield func(repodata.Listed) error) error {
	base := path.Join(TreeName(serial), repo)
	md, err := l.repomd(base)
	if err != nil {
		return err
	}
	primary, ok := md.Find("primary")
	if !ok {
		return albs.Errorf(albs.Invalid, "%s has no primary", base)
	}
	f, err := l.Root.Open(path.Join(base, primary.Path))
	if err != nil {
		return fmt.Errorf("read metadata: %w", err)
	}
	defer f.Close()
	return repodata.ReadPrimary(f, yield)
}

// Known returns the packages of a tree that was shown before, which were read back then.
// Of one that isn't here any more none is known, and all are read back anew.
func (l *Product) Known(serial int64) map[albs.Digest]bool {
	out := map[albs.Digest]bool{}
	if serial == 0 {
		return out
	}
	t, err := l.At(serial)
	for _, r := range t.Repositories {
		if err == nil {
			err = l.Packages(serial, r.Path, func(p repodata.Listed) error { out[p.Digest] = true; return nil })
		}
	}
	if err != nil {
		return nil
	}
	return out
}

// ShownFor returns for how long the directory has shown what it shows.
func (l *Product) ShownFor() (time.Duration, error) {
	info, err := l.Root.Lstat("current")
	if err != nil {
		return 0, fmt.Errorf("read what is shown: %w", err)
	}
	return time.Since(info.ModTime()), nil
}

// Proofs calls yield for each file that lies beside a package of a repository as the
// directory shows it, by its name in the repository.
func (l *Product) Proofs(r repodata.TreeRepo, yield func(name string) error) error {
	packages := map[string]bool{}
	err := l.Packages(l.Tree.Serial, r.Path, func(p repodata.Listed) error { packages[p.Path] = true; return nil })
	if err != nil {
		return err
	}
	pool := path.Join("pool", r.Path)
	err = fs.WalkDir(l.Root.FS(), path.Join(pool, "Packages"), func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		name = strings.TrimPrefix(name, pool+"/")
		if of, beside := Beside(name); beside && packages[of] {
			return yield(name)
		}
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("look into the pool: %w", err)
	}
	return nil
}
