package disk_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"albs/internal/albs"
	"albs/internal/disk"
)

// names returns what is in a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	list, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var s []string
	for _, e := range list {
		s = append(s, e.Name())
	}
	return strings.Join(s, " ")
}

func TestWriteFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "state.json")
	for _, content := range []string{"old", "new and longer", ""} {
		if err := disk.WriteFile(path, []byte(content), 0o640); err != nil {
			t.Fatal(err)
		}
		got, err := disk.ReadFile(path, 100)
		if err != nil || string(got) != content {
			t.Errorf("ReadFile = %q, %v, want %q", got, err, content)
		}
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o640 {
		t.Errorf("mode %v, %v, want 0640", fi.Mode(), err)
	}
	if got := names(t, dir); got != "state.json" {
		t.Errorf("the folder holds %q", got)
	}
}

// TestWriteFileKeepsTheOld has every way of failing leave what was there.
func TestWriteFileKeepsTheOld(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "folder") // a folder can't be replaced by a file
	if err := os.MkdirAll(filepath.Join(path, "held"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := disk.WriteFile(path, []byte("x"), 0o600); err == nil {
		t.Error("a file took a folder's place")
	}
	if err := disk.WriteFile(filepath.Join(dir, "missing", "x"), nil, 0o600); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("into no folder: %v", err)
	}
	stop := errors.New("stop")
	if err := disk.Write(filepath.Join(dir, "x"), 0o600, func(w io.Writer) error {
		_, err := io.WriteString(w, "a part")
		return errors.Join(err, stop)
	}); !errors.Is(err, stop) {
		t.Errorf("filled in part: %v", err)
	}
	if got := names(t, dir); got != "folder" {
		t.Errorf("the folder holds %q afterwards", got)
	}
}

// TestReadersSeeOneOrTheOther reads while the file is replaced time and again.
func TestReadersSeeOneOrTheOther(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	contents := [][]byte{bytes.Repeat([]byte("a"), 100_000), bytes.Repeat([]byte("b"), 50_000)}
	if err := disk.WriteFile(path, contents[0], 0o600); err != nil {
		t.Fatal(err)
	}
	var writers sync.WaitGroup
	for _, c := range contents {
		writers.Go(func() {
			for range 20 {
				if err := disk.WriteFile(path, c, 0o600); err != nil {
					t.Error(err)
				}
			}
		})
	}
	done := make(chan struct{})
	go func() { writers.Wait(); close(done) }()
	for over := false; !over; {
		select {
		case <-done:
			over = true
		default:
		}
		got, err := disk.ReadFile(path, 100_000)
		if err != nil || !bytes.Equal(got, contents[0]) && !bytes.Equal(got, contents[1]) {
			t.Fatalf("read %d bytes that nobody wrote, %v", len(got), err)
		}
	}
}

func TestCreateFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	var made, refused int
	var mu sync.Mutex
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			err := disk.CreateFile(path, fmt.Append(nil, i), 0o600)
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil:
				made++
			case errors.Is(err, fs.ErrExist):
				refused++
			default:
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if made != 1 || refused != 7 {
		t.Errorf("%d made it and %d were refused, want 1 and 7", made, refused)
	}
	if got := names(t, dir); got != "key" {
		t.Errorf("the folder holds %q", got)
	}
}

func TestReadBounds(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(path, []byte("12345"), 0o600); err != nil {
		t.Fatal(err)
	}
	if b, err := disk.ReadFile(path, 5); err != nil || string(b) != "12345" {
		t.Errorf("at the bound: %q, %v", b, err)
	}
	if _, err := disk.ReadFile(path, 4); !errors.Is(err, albs.TooLarge) || !strings.Contains(err.Error(), path) {
		t.Errorf("beyond the bound: %v, want TooLarge with the path", err)
	}
	if _, err := disk.ReadFile(path+".not", 4); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

// TestLock has another process try, for flock knows no difference between threads.
// TestUnlock: a lock that was given back is free, though a child has the file still.
func TestUnlock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	f, err := disk.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), "cat")
	child.ExtraFiles = []*os.File{f}
	stdin, err := child.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if err := disk.Unlock(f); err != nil {
		t.Fatal(err)
	}
	again, err := disk.Lock(path)
	if err != nil {
		t.Fatalf("a lock that was given back: %v", err)
	}
	if err := errors.Join(stdin.Close(), child.Wait(), disk.Unlock(again)); err != nil {
		t.Fatal(err)
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	if path := os.Getenv("DISK_TEST_LOCK"); path != "" {
		if _, err := disk.Lock(path); !errors.Is(err, albs.Conflict) {
			t.Fatalf("the other process got %v", err)
		}
		return
	}
	path := filepath.Join(t.TempDir(), "lock")
	f, err := disk.Lock(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Lock(path); !errors.Is(err, albs.Conflict) {
		t.Errorf("a second lock: %v, want Conflict", err)
	}
	other := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLock$", "-test.count=1")
	other.Env = append(os.Environ(), "DISK_TEST_LOCK="+path)
	if out, err := other.CombinedOutput(); err != nil {
		t.Errorf("the other process: %v\n%s", err, out)
	}
	if err := disk.Unlock(f); err != nil {
		t.Fatal(err)
	}
	again, err := disk.Lock(path)
	if err != nil {
		t.Fatalf("after Unlock: %v", err)
	}
	if err := disk.Unlock(again); err != nil {
		t.Fatal(err)
	}
	link := path + ".link"
	if err := os.Symlink(path, link); err != nil {
		t.Fatal(err)
	}
	if _, err := disk.Lock(link); err == nil {
		t.Error("a lock was taken through a symbolic link")
	}
}

func TestTrouble(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		err  error
		want albs.Kind
	}{
		{"full disk", &fs.PathError{Op: "write", Path: "x", Err: syscall.ENOSPC}, albs.NoSpace},
		{"quota", fmt.Errorf("deep: %w", syscall.EDQUOT), albs.NoSpace},
		{"another", syscall.EIO, albs.Internal},
		{"of a kind", albs.Errorf(albs.Conflict, "x"), albs.Conflict},
	}
	if err := disk.Trouble(nil, "write it"); err != nil {
		t.Errorf("of no error: %v", err)
	}
	for _, tt := range tests {
		err := disk.Trouble(tt.err, "write %s", "it")
		if albs.KindOf(err) != tt.want || !errors.Is(err, tt.err) || !strings.HasPrefix(err.Error(), "write it: ") {
			t.Errorf("%s: %v of kind %s, want %s", tt.name, err, albs.KindOf(err), tt.want)
		}
	}
}

// TestFullDisk writes to a device that is always full.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	f, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no /dev/full here: %v", err)
	}
	defer f.Close()
	_, err = f.Write([]byte("x"))
	if got := disk.Trouble(err, "write"); !errors.Is(got, albs.NoSpace) {
		t.Errorf("%v is of kind %s, want NoSpace", got, albs.KindOf(got))
	}
}
