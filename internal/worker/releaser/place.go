package releaser

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/disk"
	"albs/internal/worker/releaser/laid"
)

const lockFile = ".lock"

// folder is what a place does to its directory. Nothing of it leads out of there.
type folder interface {
	Chmod(name string, mode os.FileMode) error
	// Create makes a file, or empties the one that is there.
	Create(name string) (file, error)
	FS() fs.FS
	Link(old, new string) error
	Mkdir(name string, perm os.FileMode) error
	Open(name string) (*os.File, error)
	ReadFile(name string) ([]byte, error)
	Readlink(name string) (string, error)
	Remove(name string) error
	RemoveAll(name string) error
	Rename(old, new string) error
	Stat(name string) (os.FileInfo, error)
	Symlink(old, new string) error
	// Sync brings the names in a folder to disk.
	Sync(name string) error
}

// file is one that is being written.
type file interface {
	io.WriteCloser
	Chmod(mode os.FileMode) error
	Sync() error
}

// rooted is the folder that a place is made of.
type rooted struct{ *os.Root }

func (r rooted) Create(name string) (file, error) {
	return r.OpenFile(name, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, laid.FileMode)
}

func (r rooted) Sync(name string) error { return syncFolder(r.Open(name)) }

// place is one product's public directory, locked.
type place struct {
	root  folder
	dir   string // for messages
	url   string // where readers find the places of all products, "" if nobody said
	lock  *os.File
	close func() error

	made    map[string]bool     // folders that are there
	dirty   map[string]struct{} // folders with names that may not be on disk yet
	written map[string]*written // files that are whole and have no name yet, by what it will be
	// pooled is what was looked for in the pool, by repository of the tree: each package with
	// its name there. What is known to be there from the tree before isn't looked for.
	pooled map[string]map[albs.Digest]string
}

// written is a file whose bytes may not be on disk yet.
type written struct {
	f    file
	then []func() error // what is to be done once it has its name
}

// Bringing a thing to disk is waiting, and a disk takes what is waited for together at one
// go. So files wait for their names until so many do, or until all are to be on disk.
const maxWritten = 64

// openPlace makes the place of a product if it is new, and locks it. Unavailable
// if another process has it.
func openPlace(public, product string) (*place, error) {
	if product == "" || product == "." || strings.Contains(product, "/") || !fs.ValidPath(product) {
		return nil, albs.Errorf(albs.Invalid, "%.80q can't be a folder's name", product)
	}
	dir := filepath.Join(public, product)
	if err := os.Mkdir(dir, laid.FolderMode); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, fmt.Errorf("make public place: %w", err)
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("open public place: %w", err)
	}
	// Without the lock's file it is new, or whoever made it has died right after.
	if _, err := root.Stat(lockFile); errors.Is(err, fs.ErrNotExist) {
		if err := errors.Join(root.Chmod(".", laid.FolderMode), syncFolder(os.Open(public))); err != nil {
			return nil, errors.Join(fmt.Errorf("make public place: %w", err), root.Close())
		}
	}
	lock, err := root.OpenFile(lockFile, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock public place: %w", err), root.Close())
	}
	if err := disk.TakeLock(lock); err != nil {
		if errors.Is(err, albs.Conflict) { // it will be done
			err = albs.Errorf(albs.Unavailable, "another releaser works on %s", dir)
		}
		return nil, errors.Join(err, lock.Close(), root.Close())
	}
	return &place{
		root: rooted{root}, dir: dir, lock: lock, close: root.Close,
		made: map[string]bool{".": true}, dirty: make(map[string]struct{}), written: make(map[string]*written),
		pooled: make(map[string]map[albs.Digest]string),
	}, nil
}

// Close gives the lock back. Files without a name stay without one.
func (p *place) Close() error {
	var errs []error
	for _, w := range p.written {
		errs = append(errs, w.f.Close())
	}
	return errors.Join(append(errs, disk.Unlock(p.lock), p.close())...)
}

// shown returns the serial and the tree that readers see, 0 if none.
func (p *place) shown() (int64, albs.Digest, error) { return laid.Shown(p.root, p.dir) }

// show moves the link that readers follow.
func (p *place) show(serial int64) error {
	if err := p.root.Remove("current.new"); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("clear link: %w", err)
	}
	if err := p.root.Symlink(laid.TreeName(serial), "current.new"); err != nil {
		return disk.Trouble(err, "make the link of the public place")
	}
	if err := p.root.Rename("current.new", "current"); err != nil {
		return disk.Trouble(err, "move the link of the public place")
	}
	p.dirty["."] = struct{}{}
	return p.sync()
}

// write makes the file name, whose bytes are on disk before it has the name, and does
// then what is to be done once it has. The file gets its name at the next call of name, if
// not before; the name itself is on disk with the next sync.
func (p *place) write(name string, fill func(io.Writer) error, then ...func() error) error {
	if err := p.mkdir(path.Dir(name)); err != nil {
		return err
	}
	f, err := p.root.Create(part(name))
	if err != nil {
		return disk.Trouble(err, "create %s in the public place", name)
	}
	if err = f.Chmod(laid.FileMode); err == nil {
		err = fill(f)
	}
	if err != nil {
		return disk.Trouble(errors.Join(err, f.Close()), "write %s in the public place", name)
	}
	p.written[name] = &written{f: f, then: then}
	if len(p.written) < maxWritten {
		return nil
	}
	return p.name()
}

// part is what a file is called until it has its name.
func part(name string) string { return name + ".part" }

// name brings the bytes of all files that have been written to disk, and gives them their
// names.
func (p *place) name() error {
	names := slices.Sorted(maps.Keys(p.written))
	if err := together(names, func(name string) error { return p.written[name].f.Sync() }); err != nil {
		return err
	}
	for _, name := range names {
		w := p.written[name]
		delete(p.written, name)
		if err := w.f.Close(); err != nil {
			return disk.Trouble(err, "write %s in the public place", name)
		}
		if err := p.root.Rename(part(name), name); err != nil {
			return disk.Trouble(err, "name %s in the public place", name)
		}
		p.dirty[path.Dir(name)] = struct{}{}
		for _, do := range w.then {
			if err := do(); err != nil {
				return err
			}
		}
	}
	return nil
}

// together has things of the place brought to disk, all at once. That is all that is ever
// done at once here.
func together(names []string, sync func(name string) error) error {
	var g errgroup.Group
	g.SetLimit(maxWritten)
	for _, name := range names {
		g.Go(func() error { return disk.Trouble(sync(name), "bring %s in the public place to disk", name) })
	}
	return g.Wait()
}

// link gives the file old the further name new.
func (p *place) link(old, new string) error {
	if err := p.mkdir(path.Dir(new)); err != nil {
		return err
	}
	if err := p.root.Link(old, new); err != nil {
		return disk.Trouble(err, "link %s in the public place", new)
	}
	p.dirty[path.Dir(new)] = struct{}{}
	return nil
}

// mkdir makes a folder and those above it.
func (p *place) mkdir(name string) error {
	if p.made[name] {
		return nil
	}
	if err := p.mkdir(path.Dir(name)); err != nil {
		return err
	}
	err := p.root.Mkdir(name, laid.FolderMode)
	switch {
	case err == nil:
		p.dirty[path.Dir(name)] = struct{}{}
	case !errors.Is(err, fs.ErrExist):
		return disk.Trouble(err, "make folder %s in the public place", name)
	}
	// Of one that is there too: an attempt may have ended right here.
	if err := p.root.Chmod(name, laid.FolderMode); err != nil {
		return disk.Trouble(err, "make folder %s in the public place", name)
	}
	p.made[name] = true
	return nil
}

// clear removes a tree that nobody was shown.
func (p *place) clear(name string) error {
	if err := p.root.RemoveAll(name); err != nil {
		return fmt.Errorf("clear %s: %w", name, err)
	}
	for d := range p.made {
		if d == name || strings.HasPrefix(d, name+"/") {
			delete(p.made, d)
		}
	}
	return nil
}

// sync brings everything that was made since the last sync to disk.
func (p *place) sync() error {
	if err := p.name(); err != nil {
		return err
	}
	if err := together(slices.Collect(maps.Keys(p.dirty)), p.root.Sync); err != nil {
		return err
	}
	clear(p.dirty)
	return nil
}

func syncFolder(d *os.File, err error) error {
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}
