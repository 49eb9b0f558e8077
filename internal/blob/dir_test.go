package blob_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/blob/blobtest"
)

func newDir(t *testing.T) (*blob.Dir, string) {
	t.Helper()
	dir := t.TempDir()
	d, err := blob.NewDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return d, dir
}

func TestDirConforms(t *testing.T) {
	t.Parallel()
	blobtest.Run(t, func(t *testing.T) blobtest.Storage {
		dir := t.TempDir()
		return blobtest.Storage{
			Open: func(t *testing.T) blob.Store {
				d, err := blob.NewDir(dir)
				if err != nil {
					t.Fatal(err)
				}
				return d
			},
			Change: func(t *testing.T, d albs.Digest, change func([]byte) []byte) { rewrite(t, path(dir, d), change) },
		}
	})
}

// path is the layout that the package promises.
func path(dir string, d albs.Digest) string {
	return filepath.Join(dir, "sha256", string(d[:2]), string(d[2:]))
}

// rewrite changes a stored blob behind the store's back, and its time, which a
// write within one tick of the kernel's clock would leave.
func rewrite(t *testing.T, file string, change func([]byte) []byte) {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(file, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, change(b), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(file, time.Time{}, time.Now().Add(time.Minute)); err != nil {
		t.Fatal(err)
	}
}

// TestChangeWithItsTimeSetBack: a blob that was verified is read again when its bytes
// were changed, also by who sets the time of modification back (T13).
func TestChangeWithItsTimeSetBack(t *testing.T) {
	t.Parallel()
	s, dir := newDir(t)
	b := bytes.Repeat([]byte("albs"), 1000)
	d, _, err := s.Write(t.Context(), bytes.NewReader(b), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	file := path(dir, d)
	before, err := os.Stat(file)
	if err != nil {
		t.Fatal(err)
	}
	rewrite(t, file, func(b []byte) []byte { b[7] ^= 1; return b })
	if err := os.Chtimes(file, before.ModTime(), before.ModTime()); err != nil {
		t.Fatal(err)
	}
	if _, err := s.OpenRange(t.Context(), d, 0, 1); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("OpenRange = %v, want ErrCorrupt", err)
	}
}

// TestChangeUnderReader: the reader of a blob that was verified before goes by a quicker
// sum, which tells other bytes as well; what it found is not taken for right afterwards.
func TestChangeUnderReader(t *testing.T) {
	t.Parallel()
	s, dir := newDir(t)
	b := bytes.Repeat([]byte("albs"), 1000)
	d, _, err := s.Write(t.Context(), bytes.NewReader(b), 1<<20)
	if err != nil {
		t.Fatal(err)
	}
	for _, changed := range []bool{false, true} {
		r, err := s.Open(t.Context(), d)
		if err != nil {
			t.Fatal(err)
		}
		if changed {
			rewrite(t, path(dir, d), func(b []byte) []byte { b[7] ^= 1; return b })
		}
		got, err := io.ReadAll(r)
		if errors.Is(err, blob.ErrCorrupt) != changed || !changed && !bytes.Equal(got, b) {
			t.Errorf("read, changed meanwhile: %v: %d bytes, %v", changed, len(got), err)
		}
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
	if _, err := s.OpenRange(t.Context(), d, 0, 1); !errors.Is(err, blob.ErrCorrupt) {
		t.Errorf("OpenRange = %v, want ErrCorrupt", err)
	}
}

func TestNewDirRemovesOldLeftoversOnly(t *testing.T) {
	t.Parallel()
	_, dir := newDir(t)
	old, young := filepath.Join(dir, "tmp", "put-old"), filepath.Join(dir, "tmp", "put-young")
	for _, f := range []string{old, young} {
		if err := os.WriteFile(f, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Chtimes(old, time.Time{}, time.Now().Add(-48*time.Hour)); err != nil {
		t.Fatal(err)
	}
	if _, err := blob.NewDir(dir); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(old); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the old leftover is still there: %v", err)
	}
	if _, err := os.Stat(young); err != nil {
		t.Errorf("the young file is gone: %v", err)
	}
}

// TestMain lets the test binary be the child that fills a small file system.
func TestMain(m *testing.M) {
	if dir := os.Getenv("BLOB_TEST_FILL"); dir != "" {
		if err := fill(dir); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// fill mounts a small tmpfs on dir and runs a store and a staging area on it full.
func fill(dir string) error {
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=3m"); err != nil {
		fmt.Println("no mount")
		os.Exit(2)
	}
	s, err := blob.NewDir(filepath.Join(dir, "blobs"))
	if err != nil {
		return err
	}
	ctx := context.Background()
	small := bytes.Repeat([]byte("s"), 100_000)
	d, _, err := s.Write(ctx, bytes.NewReader(small), 1<<20)
	if err != nil {
		return fmt.Errorf("write what fits: %w", err)
	}
	big := bytes.Repeat([]byte("b"), 8<<20)
	if _, _, err := s.Write(ctx, bytes.NewReader(big), 1<<30); albs.KindOf(err) != albs.NoSpace {
		return fmt.Errorf("write of too much: %v, want no_space", err)
	}
	up, err := blob.NewStaging(filepath.Join(dir, "staging"))
	if err != nil {
		return err
	}
	held, err := up.Append(ctx, "1.1", albs.DigestOf(big), 0, bytes.NewReader(big), 1<<30)
	if albs.KindOf(err) != albs.NoSpace {
		return fmt.Errorf("append of too much: %v, want no_space", err)
	}
	if got, err := up.Held(ctx, "1.1", albs.DigestOf(big)); err != nil || got != held {
		return fmt.Errorf("held %d, %w, acknowledged %d", got, err, held)
	}
	if err := up.Drop(ctx, "1.1"); err != nil {
		return err
	}
	if _, _, err := s.Write(ctx, strings.NewReader("fits again"), 100); err != nil {
		return fmt.Errorf("write after space was freed: %w", err)
	}
	r, err := s.Open(ctx, d)
	if err != nil {
		return err
	}
	defer r.Close()
	if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, small) {
		return fmt.Errorf("the acknowledged blob is not intact: %w", err)
	}
	return nil
}

func TestFullStorageIsNoSpace(t *testing.T) {
	t.Parallel()
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "BLOB_TEST_FILL="+t.TempDir())
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags:  syscall.CLONE_NEWUSER | syscall.CLONE_NEWNS,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	out, err := cmd.CombinedOutput()
	if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EINVAL) || cmd.ProcessState != nil && cmd.ProcessState.ExitCode() == 2 {
		t.Skipf("no user namespace with mounts here: %v", err)
	}
	if err != nil {
		t.Errorf("%v: %s", err, out)
	}
}
