package releaser

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"testing"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/repodata"
)

// TestNoSpace: the public place is full at whatever step, of bytes or of names. The
// releaser says so, readers see the old tree, whole, and once there is room the same
// task completes.
func TestNoSpace(t *testing.T) {
	t.Parallel()
	if os.Getuid() != 0 {
		t.Skip("a small disk has to be mounted, which only root can")
	}
	for _, tt := range []struct {
		name string
		// fill makes something that leaves room for so much more in a folder.
		fill func(dir string, left int) error
		step int
	}{
		{"of bytes", fillBytes, os.Getpagesize()},
		{"of names", fillNames, 1},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			w := setup(t)
			one := w.snapshot(nil, 1, alpha)
			two := w.snapshot(one, 2, beta, gamma)
			first, second := w.tree(1, one), w.tree(2, two)
			err := unix.Mount("albs-test", w.public, "tmpfs", unix.MS_NOSUID|unix.MS_NODEV, "size=1m,nr_inodes=200,mode=0755")
			if errors.Is(err, unix.EPERM) {
				t.Skip("a small disk has to be mounted, which root can't here")
			}
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() {
				if err := unix.Unmount(w.public, 0); err != nil {
					t.Error(err)
				}
			})
			ballast := filepath.Join(w.public, "ballast")
			refused := 0
			for left := 0; ; left += tt.step {
				// From a fresh place every time, so that each round has all steps.
				if err := errors.Join(os.RemoveAll(ballast), os.RemoveAll(filepath.Join(w.public, product))); err != nil {
					t.Fatal(err)
				}
				w.mustPublish(first)
				if err := errors.Join(os.Mkdir(ballast, 0o755), tt.fill(ballast, left)); err != nil {
					t.Fatal(err)
				}
				_, err := w.publish(second, nil)
				if err == nil {
					w.shows(2, two)
					break
				}
				if albs.KindOf(err) != albs.NoSpace {
					t.Errorf("with room for %d: %v, want kind %s", left, err, albs.NoSpace)
				}
				refused++
				w.shows(1, one)
				if err := os.RemoveAll(ballast); err != nil {
					t.Fatal(err)
				}
				w.mustPublish(second)
				w.shows(2, two)
			}
			if refused < 10 {
				t.Errorf("the disk was too small %d times: not every step met that", refused)
			}
		})
	}
}

// fillBytes makes a file that leaves room for so many bytes.
func fillBytes(dir string, left int) error {
	f, err := os.Create(filepath.Join(dir, "file"))
	if err != nil {
		return err
	}
	var s unix.Statfs_t
	err = unix.Fstatfs(int(f.Fd()), &s)
	if err == nil {
		_, err = f.Write(make([]byte, int(s.Bavail)*int(s.Bsize)-left))
	}
	return errors.Join(err, f.Close())
}

// fillNames makes files that leave room for so many more.
func fillNames(dir string, left int) error {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return err
	}
	for i := range int(s.Ffree) - left {
		if err := os.WriteFile(filepath.Join(dir, strconv.Itoa(i)), nil, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// T22: the master goes away at whatever blob of a release of twelve repositories. No
// repository has changed then; when the master is back, all twelve do.
func TestHalfTheRepositories(t *testing.T) {
	t.Parallel()
	w := setup(t)
	one := w.snapshot(nil, 1, alpha)
	two := w.snapshot(one, 2, beta, gamma)
	twelve := func(serial int64, s *repodata.Snapshot) albs.PublishSpec {
		tree := repodata.Tree{Product: product, Serial: serial}
		for i := range 12 {
			tree.Repositories = append(tree.Repositories, repodata.TreeRepo{Path: fmt.Sprintf("el9/r%02d/os", i), Snapshot: s.Digest()})
		}
		return w.save(tree)
	}
	shows := func(serial int64, s *repodata.Snapshot) {
		t.Helper()
		for i := range 12 {
			path := filepath.Join(w.public, product, "current", fmt.Sprintf("el9/r%02d/os", i), "repodata/repomd.xml")
			b, err := os.ReadFile(path)
			if err != nil || albs.DigestOf(b) != s.Repomd() {
				t.Errorf("repository %d is not that of serial %d (%v)", i, serial, err)
			}
		}
	}
	first, second := twelve(1, one), twelve(2, two)
	step := 1
	if testing.Short() {
		step = 7
	}
	for n := 0; ; n += step {
		w.public = inMemory(t)
		w.mustPublish(first)
		tree, err := fetchTree(t.Context(), second, w.blobs)
		if err != nil {
			t.Fatal(err)
		}
		p, err := openPlace(w.public, product)
		if err != nil {
			t.Fatal(err)
		}
		left := n
		_, err = p.publish(t.Context(), tree, away{w.blobs, &left}, func(context.Context) error { return nil }, io.Discard)
		if err := p.Close(); err != nil {
			t.Fatal(err)
		}
		if err == nil {
			shows(2, two)
			if n < 36 {
				t.Errorf("the release needed only %d blobs", n)
			}
			return
		}
		if !errors.Is(err, errAway) {
			t.Fatalf("after %d blobs: %v", n, err)
		}
		shows(1, one)
		w.mustPublish(second)
		shows(2, two)
	}
}

var errAway = errors.New("the master is away")

// away is a master that goes away after so many blobs.
type away struct {
	blobs
	left *int
}

func (a away) there() error {
	if *a.left--; *a.left < 0 {
		return errAway
	}
	return nil
}

func (a away) Open(ctx context.Context, d albs.Digest) (io.ReadCloser, error) {
	if err := a.there(); err != nil {
		return nil, err
	}
	return a.blobs.Open(ctx, d)
}

func (a away) Fetch(ctx context.Context, d albs.Digest, most int64, w io.Writer) error {
	if err := a.there(); err != nil {
		return err
	}
	return a.blobs.Fetch(ctx, d, most, w)
}
