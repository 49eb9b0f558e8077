package ccache

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
)

// newStore is a store of which all files are the test's own.
func newStore(t *testing.T) *Store {
	return &Store{
		Dir: filepath.Join(t.TempDir(), "ccache"), Size: 10, Keep: 2,
		Lock: func(path string, how int) (func(), error) {
			f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
			if err != nil {
				return nil, err
			}
			if err := syscall.Flock(int(f.Fd()), how); err != nil {
				return nil, errors.Join(err, f.Close())
			}
			return func() { f.Close() }, nil
		},
		Remove: func(_ context.Context, dir string) error { return os.RemoveAll(dir) },
		Measure: func(_ context.Context, dir string) (size int64, err error) {
			files, err := os.ReadDir(dir)
			for _, f := range files {
				info, err := f.Info()
				if err != nil {
					return 0, err
				}
				size += info.Size()
			}
			return size, err
		},
	}
}

func (s *Store) open(t *testing.T, owner, platform string, arch albs.Arch) *Cache {
	t.Helper()
	c, err := s.Open(t.Context(), owner, platform, arch)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func (c *Cache) close(t *testing.T) {
	t.Helper()
	if err := c.Close(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func write(t *testing.T, c *Cache, n int) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(c.Host, "x"), make([]byte, n), 0o600); err != nil {
		t.Fatal(err)
	}
}

func holds(c *Cache) bool {
	_, err := os.Stat(filepath.Join(c.Host, "x"))
	return err == nil
}

func TestApart(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	s.Keep = 9
	mine := s.open(t, "user:a", "el9", albs.X8664)
	defer mine.close(t)
	write(t, mine, 1)
	if info, err := os.Stat(mine.Host); err != nil || info.Mode().Perm() != 0o777 {
		t.Errorf("the cache is %v, %v: the build user can't write it", info, err)
	}
	if info, err := os.Stat(s.Dir); err != nil || info.Mode().Perm() != 0o700 {
		t.Errorf("the folder above is %v, %v: others can enter it", info, err)
	}
	for _, other := range [][3]string{{"user:b", "el9", "x86_64"}, {"user:a", "el10", "x86_64"}, {"user:a", "el9", "aarch64"}, {"user:a el9", "", "x86_64"}} {
		c := s.open(t, other[0], other[1], albs.Arch(other[2]))
		if holds(c) {
			t.Errorf("%q have the cache of another", other)
		}
		c.close(t)
	}
	again := s.open(t, "user:a", "el9", albs.X8664)
	defer again.close(t)
	if !holds(again) {
		t.Error("the owner's next build doesn't find the cache")
	}
	if _, err := s.Open(t.Context(), "", "el9", albs.X8664); !errors.Is(err, albs.Internal) {
		t.Errorf("a cache of nobody: %v", err)
	}
}

// TestKept: no more caches stay than are kept, the ones used last; none is taken away
// from who uses it.
func TestKept(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	at := time.Now().Add(-time.Hour)
	var all []*Cache
	for _, owner := range []string{"a", "b", "c", "d"} {
		c := s.open(t, owner, "p", albs.X8664)
		write(t, c, 1)
		at = at.Add(time.Minute)
		if err := os.Chtimes(c.Host+lockName, at, at); err != nil {
			t.Fatal(err)
		}
		all = append(all, c)
	}
	for i, c := range all {
		if !holds(c) {
			t.Errorf("cache %d was removed while it was used", i)
		}
	}
	for _, c := range all[1:] {
		c.close(t)
	}
	s.open(t, "e", "p", albs.X8664).close(t)
	var left []bool
	for _, c := range all {
		left = append(left, holds(c))
	}
	if want := []bool{true, false, false, true}; !slices.Equal(left, want) { // a is still held
		t.Errorf("left of a to d: %v, want %v", left, want)
	}
	all[0].close(t)
}

// TestTooLarge: what was put into a cache beyond its bound goes with it, once nobody
// holds it.
func TestTooLarge(t *testing.T) {
	t.Parallel()
	s := newStore(t)
	first, second := s.open(t, "a", "p", albs.X8664), s.open(t, "a", "p", albs.X8664)
	write(t, first, 21)
	first.close(t)
	if !holds(second) {
		t.Fatal("it was removed while it was used")
	}
	second.close(t)
	if holds(second) {
		t.Error("a cache of more than twice its size stays")
	}
	third := s.open(t, "a", "p", albs.X8664)
	write(t, third, 20)
	third.close(t)
	if !holds(third) {
		t.Error("a cache within its bound was removed")
	}
	// Somebody removes it just now.
	unlock, err := s.Lock(third.Host+lockName, syscall.LOCK_EX)
	if err != nil {
		t.Fatal(err)
	}
	defer unlock()
	if _, err := s.Open(t.Context(), "a", "p", albs.X8664); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Open while it is removed = %v", err)
	}
}

func TestEnvironment(t *testing.T) {
	t.Parallel()
	c := &Cache{Size: 5 << 30}
	got := strings.Join(c.Environment([]string{"A=b", "PATH=/usr/bin"}), " ")
	if want := "A=b PATH=/usr/lib64/ccache:/usr/lib/ccache:/usr/bin CCACHE_DIR=/builddir/ccache CCACHE_MAXSIZE=5120Mi CCACHE_COMPILERCHECK=content"; got != want {
		t.Errorf("Environment = %s, want %s", got, want)
	}
	if b := (&Cache{Size: 1}).Bound(); b != "1Mi" { // 0 would be no bound to ccache
		t.Errorf("the least bound is %s", b)
	}
}
