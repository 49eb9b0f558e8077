package iso

import (
	"bytes"
	"compress/gzip"
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// image returns an image of testdata, made by the program that its name says, of the
// same files (plain: without Rock Ridge).
func image(t testing.TB, name string) []byte {
	t.Helper()
	f, err := os.Open(filepath.Join("testdata", name+".iso.gz"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	z, err := gzip.NewReader(f)
	if err != nil {
		t.Fatal(err)
	}
	b, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	long = strings.Repeat("n", 230) + ".rpm"
	deep = "a/deep/er/and/deeper/still/so/far/down/file-1.0~rc1^x+y.rpm"
)

// files are what the images have.
func files() map[string]string {
	out := map[string]string{".treeinfo": "hello\n", long: "long\n", deep: "down\n", "a/Large": strings.Repeat("x", 5000), "a/empty": ""}
	for i := 1; i <= 60; i++ {
		out["many/file-with-a-name-"+strconv.Itoa(i)] = strconv.Itoa(i) + "\n"
	}
	return out
}

func open(t testing.TB, b []byte) *FS {
	t.Helper()
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// read returns all files of an image.
func read(t testing.TB, f *FS) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := fs.WalkDir(f, ".", func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		b, err := fs.ReadFile(f, path)
		got[path] = string(b)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

func TestFiles(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"xorriso", "genisoimage"} {
		f := open(t, image(t, name))
		if diff := cmp.Diff(files(), read(t, f)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if err := fstest.TestFS(regular{f}, ".treeinfo", deep, "many/file-with-a-name-60"); err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, gone := range []string{"nothing", "a/nothing", ".treeinfo/x", "link/Large"} {
			if _, err := f.Open(gone); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("%s: Open(%s) = %v", name, gone, err)
			}
		}
		if _, err := f.Open("link"); err == nil {
			t.Errorf("%s: a link was opened", name)
		}
		if _, err := f.ReadDir(".treeinfo"); err == nil {
			t.Errorf("%s: a file has a list", name)
		}
		if _, err := f.Open(strings.Repeat("a/", maxDepth) + "a"); albs.KindOf(err) != albs.TooLarge {
			t.Errorf("%s: too deep a path: %v", name, err)
		}
	}
}

// regular leaves out what is neither a file nor a directory, which can't be opened.
type regular struct{ *FS }

func (r regular) ReadDir(name string) ([]fs.DirEntry, error) {
	in, err := r.FS.ReadDir(name)
	return slices.DeleteFunc(in, func(e fs.DirEntry) bool { return e.Type()&fs.ModeIrregular != 0 }), err
}

func (r regular) Open(name string) (fs.File, error) {
	f, err := r.FS.Open(name)
	if d, ok := f.(*folder); ok {
		d.left = slices.DeleteFunc(d.left, func(e fs.DirEntry) bool { return e.Type()&fs.ModeIrregular != 0 })
	}
	return f, err
}

// TestMade: of images that the programs make now.
func TestMade(t *testing.T) {
	t.Parallel()
	for _, command := range []string{"xorriso -as mkisofs -quiet", "genisoimage -quiet", "mkisofs -quiet"} {
		words := strings.Fields(command)
		t.Run(words[0], func(t *testing.T) {
			t.Parallel()
			if _, err := exec.LookPath(words[0]); err != nil {
				t.Skipf("%s is not installed", words[0])
			}
			dir, out := t.TempDir(), filepath.Join(t.TempDir(), "made.iso")
			want := map[string]string{"BaseOS/Packages/a-1-1.x86_64.rpm": "a", "BaseOS/Packages/b/b-1-1.x86_64.rpm": "bb", ".discinfo": "c"}
			for name, text := range want {
				if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(name)), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			cmd := exec.CommandContext(t.Context(), words[0], append(words[1:], "-R", "-J", "-V", "TEST", "-o", out, dir)...)
			if said, err := cmd.CombinedOutput(); err != nil {
				t.Fatalf("%v: %s", err, said)
			}
			f, err := os.Open(out)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			info, err := f.Stat()
			if err != nil {
				t.Fatal(err)
			}
			made, err := Open(f, info.Size())
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, read(t, made)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestRefuses(t *testing.T) {
	t.Parallel()
	good := image(t, "xorriso")
	change := func(do func(b []byte)) []byte {
		b := slices.Clone(good)
		do(b)
		return b
	}
	const primary = 16 * sector
	for name, tt := range map[string]struct {
		image []byte
		want  string
	}{
		"nothing":           {nil, "no ISO 9660 image"},
		"text":              {bytes.Repeat([]byte("text"), 20<<10), "no primary volume descriptor"},
		"no Rock Ridge":     {image(t, "plain"), "no Rock Ridge names"},
		"cut":               {good[:primary+sector], "the image ends"},
		"no primary":        {change(func(b []byte) { b[primary] = 2 }), "no primary volume descriptor"},
		"other blocks":      {change(func(b []byte) { b[primary+129] = 4 }), "blocks of 1024 bytes"},
		"root elsewhere":    {change(func(b []byte) { copy(b[primary+158:], "\xff\xff\xff\xff") }), "the image ends"},
		"root of too much":  {change(func(b []byte) { copy(b[primary+166:], "\xff\xff\xff\x7f") }), "at most"},
		"root is no folder": {change(func(b []byte) { b[primary+156+25] = 0 }), "no directory"},
		"broken root":       {change(func(b []byte) { b[primary+156] = 3 }), "record of the image is broken"},
	} {
		_, err := Open(bytes.NewReader(tt.image), int64(len(tt.image)))
		if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v, want %q", name, err, tt.want)
		}
	}
	// A file whose place is beyond the end is none.
	at := bytes.Index(good, []byte("Large"))
	if at < 0 {
		t.Fatal("the image has no name Large")
	}
	rec := bytes.LastIndex(good[:at], []byte("LARGE"))
	b := change(func(b []byte) { copy(b[rec-33+2:], "\x00\xff\xff\x00") })
	if _, err := open(t, b).Open("a/Large"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a file beyond the end: %v", err)
	}
	// The reader's own error stays one.
	if _, err := Open(broken{}, 1<<20); !errors.Is(err, errDisk) {
		t.Errorf("of a broken disk: %v", err)
	}
}

var errDisk = errors.New("the disk is broken")

type broken struct{}

func (broken) ReadAt([]byte, int64) (int, error) { return 0, errDisk }

// FuzzOpen: whatever an image says, the files of it lie within it.
func FuzzOpen(f *testing.F) {
	good := image(f, "xorriso")
	// The last part of an image is files; shorter seeds are better ones.
	f.Add(uint32(16*sector+158), []byte{1}, uint32(20*sector), []byte{0xff})
	f.Add(uint32(bytes.Index(good, []byte("NM"))), []byte("CE"), uint32(0), []byte(nil))
	f.Add(uint32(bytes.Index(good, []byte("LARGE"))-8), []byte{2}, uint32(0), []byte(nil))
	f.Fuzz(func(t *testing.T, at1 uint32, one []byte, at2 uint32, two []byte) {
		b := slices.Clone(good)
		copy(b[int(at1)%len(b):], one)
		copy(b[int(at2)%len(b):], two)
		files, err := Open(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			return
		}
		left := 500
		_ = fs.WalkDir(files, ".", func(path string, d fs.DirEntry, err error) error {
			if left--; left == 0 {
				return fs.SkipAll
			}
			if err != nil || !d.Type().IsRegular() {
				return nil
			}
			if !fs.ValidPath(path) {
				t.Fatalf("a file is called %q", path)
			}
			r, err := files.Open(path)
			if err != nil {
				return nil
			}
			n, err := io.Copy(io.Discard, r)
			if err != nil || n > int64(len(b)) {
				t.Fatalf("%q has %d bytes, %v", path, n, err)
			}
			return nil
		})
	})
}
