package vm

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// unpacked reads an archive as the kernel does, without taking anything for granted.
func unpacked(b []byte) (map[string]string, error) {
	files := map[string]string{}
	for len(b) >= 110 {
		if string(b[:6]) != "070701" {
			return nil, fmt.Errorf("a head begins with %q", b[:6])
		}
		var f [13]int
		for i := range f {
			n, err := strconv.ParseUint(string(b[6+8*i:14+8*i]), 16, 32)
			if err != nil {
				return nil, err
			}
			f[i] = int(n)
		}
		mode, size, name := f[1], f[6], f[11]
		align := func(n int) int { return (n + 3) &^ 3 }
		data := align(110 + name)
		if len(b) < align(data+size) || b[110+name-1] != 0 {
			return nil, errors.New("a file is cut")
		}
		at := string(b[110 : 110+name-1])
		if at == "TRAILER!!!" {
			return files, nil
		}
		files[at] = fmt.Sprintf("%o %s", mode, b[data:data+size])
		b = b[align(data+size):]
	}
	return nil, errors.New("there is no end")
}

func TestArchive(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	err := archive(&b, []entry{{"init", unix.S_IFREG | 0o755, []byte("program")}, {"a/b/c", unix.S_IFREG | 0o644, []byte("xy")}, {"a/b/d", unix.S_IFREG | 0o644, nil}})
	if err != nil {
		t.Fatal(err)
	}
	got, err := unpacked(b.Bytes())
	want := map[string]string{"init": "100755 program", "a": "40755 ", "a/b": "40755 ", "a/b/c": "100644 xy", "a/b/d": "100644 "}
	if err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v, %v, want %v", got, err, want)
	}
}

func TestLoadOrder(t *testing.T) {
	t.Parallel()
	const dep = `kernel/fs/fuse/fuse.ko:
kernel/fs/fuse/virtiofs.ko: kernel/fs/fuse/fuse.ko kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko
kernel/virtio/virtio.ko: kernel/virtio/virtio_ring.ko
kernel/virtio/virtio_pci.ko.xz: kernel/virtio/virtio.ko kernel/virtio/virtio_ring.ko
kernel/net/other-thing.ko.zst:
`
	got, err := loadOrder(strings.NewReader(dep), []string{"virtio_pci", "virtiofs", "built_in", "other_thing"})
	want := []string{
		"kernel/virtio/virtio_ring.ko", "kernel/virtio/virtio.ko", "kernel/virtio/virtio_pci.ko.xz",
		"kernel/fs/fuse/fuse.ko", "kernel/fs/fuse/virtiofs.ko", "kernel/net/other-thing.ko.zst",
	}
	if err != nil || !slices.Equal(got, want) {
		t.Errorf("%q, %v, want %q", got, err, want)
	}
	for _, dep := range []string{"../virtiofs.ko:", "a/virtiofs.ko: /etc/passwd"} {
		if got, err := loadOrder(strings.NewReader(dep), []string{"virtiofs"}); !errors.Is(err, albs.Invalid) {
			t.Errorf("%q: %q, %v, want Invalid", dep, got, err)
		}
	}
}

func FuzzLoadOrder(f *testing.F) {
	f.Add("kernel/virtiofs.ko: kernel/fuse.ko\nkernel/fuse.ko:\n")
	f.Fuzz(func(t *testing.T, dep string) {
		order, err := loadOrder(strings.NewReader(dep), needed)
		if err != nil {
			return
		}
		for i, file := range order {
			if !filepath.IsLocal(file) || slices.Contains(order[:i], file) {
				t.Errorf("%q in %q", file, order)
			}
		}
	})
}

// The archives of running programs stay, also when another begins; those of dead ones go.
func TestInitrds(t *testing.T) {
	t.Parallel()
	i := initrds{filepath.Join(t.TempDir(), "vm")}
	keep := func(content string) (string, func()) {
		t.Helper()
		file, free, err := i.keep([]entry{{"init", unix.S_IFREG | 0o755, []byte(content)}})
		if err != nil {
			t.Fatal(err)
		}
		return file, free
	}
	there := func(file string) bool {
		_, err := os.Stat(file)
		return err == nil
	}
	one, free := keep("one")
	same, freeSame := keep("one")
	two, freeTwo := keep("two")
	if one != same || one == two || !there(one) || !there(two) {
		t.Fatalf("%s, %s and %s", one, same, two)
	}
	if err := os.WriteFile(filepath.Join(i.dir, "new-1"), nil, 0o600); err != nil { // of one that was killed
		t.Fatal(err)
	}
	free()
	_, freeThree := keep("three")
	if !there(one) || there(filepath.Join(i.dir, "new-1")) {
		t.Error("what another holds is gone, or what a killed one left is there")
	}
	freeSame()
	_, freeFour := keep("four")
	if there(one) || !there(two) {
		t.Errorf("%s, which nobody holds, is there: %v; %s: %v", one, there(one), two, there(two))
	}
	for _, f := range []func(){freeTwo, freeThree, freeFour} {
		f()
	}
}

// This program, with what it needs, is whole: a library that is missing is an error.
func TestProgram(t *testing.T) {
	t.Parallel()
	entries, err := program("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	if entries[0].name != "albs-machine" || !bytes.HasPrefix(entries[0].data, []byte("\x7fELF")) {
		t.Errorf("the first is %s", entries[0].name)
	}
	entries, err = program("/bin/sh")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(entries, func(e entry) bool { return strings.Contains(e.name, "libc.so") }) || !slices.ContainsFunc(entries, func(e entry) bool { return strings.Contains(e.name, "/ld-linux") }) {
		t.Errorf("of /bin/sh there are %d files, without libc or the loader", len(entries))
	}
	if _, err := program("/proc/self/status"); err == nil {
		t.Error("a text is a program")
	}
}
