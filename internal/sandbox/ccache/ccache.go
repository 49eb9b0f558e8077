// Package ccache keeps a worker's compiler caches: folders that builds write to and later
// builds read from, a cache for each owner, platform and arch.
//
// What lies in a cache is the word of builds that ran before, and whoever builds with it
// believes them. So owners never share one. The package makes the folders, says how
// ccache is told of them, and keeps their number and, together with ccache's own bound,
// their size; it never opens what lies in one.
package ccache

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"albs/internal/albs"
)

// Dir is where a cache lies in a root.
const Dir = "/builddir/ccache"

// Store is the caches below a folder. Several processes may share one. Its methods may
// be called concurrently.
type Store struct {
	Dir  string // its content is nobody's but the worker's and that of the lent ids
	Size int64  // bytes that ccache keeps in one cache
	Keep int    // caches that are kept

	// Lock takes a lock of the file at path, syscall.LOCK_SH or LOCK_EX, at once or with
	// EWOULDBLOCK.
	Lock func(path string, how int) (unlock func(), err error)
	// Remove deletes a folder, and Measure counts its bytes, whoever owns what is in it.
	Remove  func(ctx context.Context, dir string) error
	Measure func(ctx context.Context, dir string) (int64, error)
}

// Cache is one of the caches, held until it is closed.
type Cache struct {
	Host  string // the folder
	Owner string
	Size  int64 // bytes that ccache keeps in it

	store  *Store
	unlock func()
}

// Open returns the cache of an owner for roots of a platform and arch, empty if there
// was none. Of those that nobody holds, the ones used longest ago are removed until no
// more are left than are kept. One that is just being removed is Unavailable.
func (s *Store) Open(ctx context.Context, owner, platform string, arch albs.Arch) (*Cache, error) {
	if owner == "" {
		return nil, albs.Errorf(albs.Internal, "a compiler cache belongs to somebody")
	}
	dir := filepath.Join(s.Dir, string(albs.DigestOf(fmt.Appendf(nil, "%q %q %q", owner, platform, arch))))
	if err := os.MkdirAll(s.Dir, 0o700); err != nil {
		return nil, fmt.Errorf("open a compiler cache: %w", err)
	}
	unlock, err := s.Lock(dir+lockName, syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		err = albs.Errorf(albs.Unavailable, "the compiler cache is being removed")
	}
	if err != nil {
		return nil, fmt.Errorf("open a compiler cache: %w", err)
	}
	c := &Cache{Host: dir, Owner: owner, Size: s.Size, store: s, unlock: unlock}
	if err = c.make(); err == nil {
		err = s.evict(ctx)
	}
	if err != nil {
		unlock()
		return nil, fmt.Errorf("open a compiler cache: %w", err)
	}
	return c, nil
}

const lockName = ".lock"

// make makes the folder, where it isn't there, and notes that it is used.
func (c *Cache) make() error {
	if err := os.Mkdir(c.Host, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	info, err := os.Stat(c.Host)
	if err != nil {
		return err
	}
	// The user of a root is another id here; the folder above keeps the host's users out.
	if info.Mode().Perm() != 0o777 {
		if err := os.Chmod(c.Host, 0o777); err != nil {
			return err
		}
	}
	now := time.Now()
	return os.Chtimes(c.Host+lockName, now, now)
}

// evict removes the caches beyond those that are kept, but none in use.
func (s *Store) evict(ctx context.Context) error {
	entries, err := os.ReadDir(s.Dir)
	if err != nil {
		return err
	}
	type used struct {
		dir string
		at  time.Time
	}
	var all []used
	for _, e := range entries {
		dir := filepath.Join(s.Dir, e.Name())
		if info, err := os.Stat(dir + lockName); err == nil && e.IsDir() {
			all = append(all, used{dir, info.ModTime()})
		}
	}
	slices.SortFunc(all, func(a, b used) int { return cmp.Or(b.at.Compare(a.at), strings.Compare(a.dir, b.dir)) })
	for _, u := range all[min(s.Keep, len(all)):] {
		if err := s.drop(ctx, u.dir); err != nil {
			return err
		}
	}
	return nil
}

// drop removes a cache unless somebody holds it.
func (s *Store) drop(ctx context.Context, dir string) error {
	unlock, err := s.Lock(dir+lockName, syscall.LOCK_EX|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return nil
	}
	if err != nil {
		return err
	}
	defer unlock()
	return s.Remove(ctx, dir)
}

// Most is how many bytes may lie in the cache for a while. ccache looks at its bound now
// and then, and it is the build that runs it.
func (c *Cache) Most() int64 { return 2 * c.Size }

// Close lets go of the cache. One that holds more than Most is removed, by the last that
// holds it: a build has put things there by another way than ccache.
func (c *Cache) Close(ctx context.Context) error {
	size, err := c.store.Measure(ctx, c.Host)
	c.unlock()
	if err == nil && size > c.Most() {
		err = c.store.drop(ctx, c.Host)
	}
	if err != nil {
		return fmt.Errorf("close a compiler cache: %w", err)
	}
	return nil
}

// Environment returns the variables env of a program in a root as they are where it is to
// use the cache: compilers are found first where the package ccache of Enterprise Linux
// and Fedora, or Debian's, stands in for them.
func (c *Cache) Environment(env []string) []string {
	out := make([]string, 0, len(env)+3)
	for _, v := range env {
		if path, ok := strings.CutPrefix(v, "PATH="); ok {
			v = "PATH=/usr/lib64/ccache:/usr/lib/ccache:" + path
		}
		out = append(out, v)
	}
	// A compiler is known by what is in it, not by its time: times are what packages say.
	return append(out, "CCACHE_DIR="+Dir, "CCACHE_MAXSIZE="+c.Bound(), "CCACHE_COMPILERCHECK=content")
}

// Bound is the size as ccache reads it.
func (c *Cache) Bound() string { return fmt.Sprintf("%dMi", max(c.Size>>20, 1)) }
