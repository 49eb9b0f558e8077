package terminal

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// TestSaveFile: a plain file is replaced whole, what fails leaves the old one and no
// debris, and a device is written to and never replaced by a file.
func TestSaveFile(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plain, device := filepath.Join(dir, "plain"), filepath.Join(dir, "device")
	if err := os.Symlink("/dev/full", device); err != nil {
		t.Fatal(err)
	}
	term := &Terminal{}
	for _, content := range []string{"one", "two"} {
		if err := term.SaveFile(plain, strings.NewReader(content)); err != nil {
			t.Fatal(err)
		}
	}
	broken := errors.New("broken")
	if err := term.SaveFile(plain, io.MultiReader(strings.NewReader("three"), readerOf{broken})); !errors.Is(err, broken) || !errors.Is(err, albs.Invalid) {
		t.Errorf("SaveFile of what breaks = %v", err)
	}
	if b, err := os.ReadFile(plain); err != nil || string(b) != "two" {
		t.Errorf("the file holds %q, %v; want what was saved last", b, err)
	}
	if err := term.SaveFile(device, strings.NewReader("x")); !errors.Is(err, syscall.ENOSPC) || !strings.Contains(err.Error(), "--output") {
		t.Errorf("SaveFile to a full device = %v, want ENOSPC and what to do", err)
	}
	if info, err := os.Stat(device); err != nil || info.Mode().IsRegular() {
		t.Errorf("the device is %v, %v", info, err)
	}
	if err := term.SaveFile(filepath.Join(dir, "none", "x"), strings.NewReader("x")); !errors.Is(err, albs.Invalid) || strings.Contains(err.Error(), "stdout") {
		t.Errorf("SaveFile below no folder = %v", err)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 2 {
		t.Errorf("the folder holds %v, %v", entries, err)
	}
}

type readerOf struct{ err error }

func (r readerOf) Read([]byte) (int, error) { return 0, r.err }

func TestMeter(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	m := &Meter{w: &out, width: 12}
	m.Now("running, and on")
	m.Line("news\x07")
	m.Now("done")
	m.End()
	want := "running, an" + "\r\x1b[K" + "news\n" + "running, an" + "\r\x1b[K" + "done" + "\r\x1b[K"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
}

func TestHarmless(t *testing.T) {
	t.Parallel()
	var out bytes.Buffer
	in := "plain\ttext\n\x1b]0;title\x07\x1b[31mred\u009b2J\r\nö€\n"
	n, err := harmless{&out}.Write([]byte(in))
	if n != len(in) || err != nil {
		t.Errorf("Write = %d, %v, want %d", n, err, len(in))
	}
	if want := "plain\ttext\n]0;title[31mred2J\nö€\n"; out.String() != want {
		t.Errorf("wrote %q, want %q", out.String(), want)
	}
}
