package vm

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"albs/internal/albs"
	"albs/internal/worker/tester/engine/vm/agent"
)

// A machine begins with a file system in memory that holds three things: this program,
// the libraries that it needs, if it needs any, and those modules of the kernel without
// which there is no root. The kernel reads it as a cpio archive ("initramfs buffer
// format", Documentation/driver-api/early-userspace).

// needed are the modules that a machine can't begin without; what they need comes along.
// What the kernel has built in isn't a module, and isn't missed.
var needed = []string{"virtio_pci", "virtio_console", "virtiofs", "virtio_net"}

// entry is one file of the archive.
type entry struct {
	name string // without a leading slash
	mode uint32 // with its kind
	data []byte
}

// archive writes entries as a cpio archive of the form "newc", with the folders that they
// lie in before them.
func archive(w io.Writer, entries []entry) error {
	made := map[string]bool{".": true}
	n := 0
	put := func(e entry) error {
		n++
		// ino, mode, uid, gid, nlink, mtime, size, device and special device, name, checksum
		head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
			n, e.mode, 0, 0, 1, 0, len(e.data), 0, 0, 0, 0, len(e.name)+1, 0)
		for _, part := range [][]byte{append([]byte(head+e.name), 0), e.data} {
			// Each ends at a multiple of four; the head alone is 110 bytes.
			if _, err := w.Write(part); err != nil {
				return err
			}
			if _, err := w.Write(make([]byte, -len(part)&3)); err != nil {
				return err
			}
		}
		return nil
	}
	var folders func(dir string) error
	folders = func(dir string) error {
		if made[dir] {
			return nil
		}
		made[dir] = true
		if err := folders(path.Dir(dir)); err != nil {
			return err
		}
		return put(entry{name: dir, mode: unix.S_IFDIR | 0o755})
	}
	for _, e := range entries {
		if len(e.data) > 1<<31 {
			return albs.Errorf(albs.Invalid, "%s is too large for an archive", e.name)
		}
		if err := folders(path.Dir(e.name)); err != nil {
			return err
		}
		if err := put(e); err != nil {
			return err
		}
	}
	return put(entry{name: "TRAILER!!!"})
}

// libraryDirs are where the loader of programs looks without being told.
var libraryDirs = []string{
	"/lib/x86_64-linux-gnu", "/usr/lib/x86_64-linux-gnu", "/lib/aarch64-linux-gnu", "/usr/lib/aarch64-linux-gnu",
	"/lib64", "/usr/lib64", "/lib", "/usr/lib",
}

// program returns the program in the file exe as an entry, with the loader and the
// libraries of the host that it needs, at the places where the loader finds them.
func program(exe string) ([]entry, error) {
	b, err := os.ReadFile(exe)
	if err != nil {
		return nil, err
	}
	entries := []entry{{strings.TrimPrefix(agent.Name, "/"), unix.S_IFREG | 0o755, b}}
	have := map[string]bool{}
	var add func(p string, b []byte) error
	add = func(p string, b []byte) error {
		f, err := elf.NewFile(bytes.NewReader(b))
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		var want []string
		for _, prog := range f.Progs {
			if prog.Type == elf.PT_INTERP {
				name, err := io.ReadAll(io.LimitReader(prog.Open(), unix.PathMax))
				if err != nil {
					return fmt.Errorf("read %s: %w", p, err)
				}
				want = append(want, string(bytes.TrimRight(name, "\x00")))
			}
		}
		libraries, err := f.ImportedLibraries()
		if err != nil {
			return fmt.Errorf("read %s: %w", p, err)
		}
		for _, name := range libraries {
			at, err := library(name, f.Class)
			if err != nil {
				return fmt.Errorf("%s needs it: %w", p, err)
			}
			want = append(want, at)
		}
		for _, at := range want {
			if have[at] {
				continue
			}
			have[at] = true
			b, err := os.ReadFile(at)
			if err != nil {
				return err
			}
			entries = append(entries, entry{strings.TrimPrefix(at, "/"), unix.S_IFREG | 0o755, b})
			if err := add(at, b); err != nil {
				return err
			}
		}
		return nil
	}
	return entries, add(exe, b)
}

// library finds a library by its name.
func library(name string, class elf.Class) (string, error) {
	for _, dir := range libraryDirs {
		p := filepath.Join(dir, name)
		f, err := elf.Open(p)
		if err != nil {
			continue
		}
		f.Close()
		if f.Class == class {
			return p, nil
		}
	}
	return "", fmt.Errorf("the library %s isn't in the folders of libraries", name)
}

// modules returns the needed modules of a kernel, whose modules lie in the folder dir, in
// the order in which they can be loaded.
func modules(ctx context.Context, dir string) ([]entry, error) {
	f, err := os.Open(filepath.Join(dir, "modules.dep"))
	if err != nil {
		return nil, err
	}
	defer f.Close()
	order, err := loadOrder(f, needed)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", f.Name(), err)
	}
	var entries []entry
	for i, file := range order {
		b, err := plain(ctx, filepath.Join(dir, file))
		if err != nil {
			return nil, fmt.Errorf("read the module %s: %w", file, err)
		}
		name := fmt.Sprintf("%s/%03d-%s.ko", strings.TrimPrefix(agent.Modules, "/"), i, moduleName(file))
		entries = append(entries, entry{name, unix.S_IFREG | 0o644, b})
	}
	return entries, nil
}

// loadOrder returns the files of the modules that are wanted, and of those that they
// need, each behind its own. The form is that of depmod(8): a module's file, a colon, and
// the files of all that it needs, so that the last of them is loaded first. What isn't
// there is passed over; a path that leads out of the folder is Invalid.
func loadOrder(dep io.Reader, wanted []string) ([]string, error) {
	needs := map[string][]string{}
	var order []string
	lines := bufio.NewScanner(dep)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		file, rest, ok := strings.Cut(lines.Text(), ":")
		if ok && slices.Contains(wanted, moduleName(file)) {
			needs[moduleName(file)] = append([]string{file}, strings.Fields(rest)...)
		}
	}
	if err := lines.Err(); err != nil {
		return nil, err
	}
	for _, w := range wanted {
		for _, file := range slices.Backward(needs[w]) {
			if !filepath.IsLocal(file) {
				return nil, albs.Errorf(albs.Invalid, "%.200q is no file of the kernel's modules", file)
			}
			if !slices.Contains(order, file) {
				order = append(order, file)
			}
		}
	}
	return order, nil
}

// moduleName returns what a module in that file is called.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(file), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// unpackers print a packed module's content.
var unpackers = map[string]string{".xz": "xz", ".zst": "zstd", ".gz": "gzip"}

// plain returns the content of a module, unpacked.
func plain(ctx context.Context, file string) ([]byte, error) {
	tool, packed := unpackers[filepath.Ext(file)]
	if !packed {
		return os.ReadFile(file)
	}
	return exec.CommandContext(ctx, tool, "-dc", "--", file).Output()
}

// initrds is where the archives of running programs lie.
type initrds struct{ dir string }

// keep writes the archive, and returns its path and what lets it go. It is named after its
// content, so that many processes may share it, and held by a lock of the kernel's; those
// that nobody holds are removed. On return it is whole.
func (i initrds) keep(entries []entry) (file string, free func(), err error) {
	if err := os.MkdirAll(i.dir, 0o700); err != nil {
		return "", nil, err
	}
	// One comes and goes at a time: what is removed can't be what another begins to hold.
	unlock, err := flock(filepath.Join(i.dir, "lock"), unix.LOCK_EX)
	if err != nil {
		return "", nil, err
	}
	defer unlock()
	w, err := os.CreateTemp(i.dir, "new-")
	if err != nil {
		return "", nil, err
	}
	h := sha256.New()
	buffered := bufio.NewWriterSize(io.MultiWriter(w, h), 1<<20)
	err = errors.Join(archive(buffered, entries), buffered.Flush(), w.Close())
	if err != nil {
		return "", nil, errors.Join(err, os.Remove(w.Name()))
	}
	file = filepath.Join(i.dir, string(albs.DigestFrom(h))+".initrd")
	if err := os.Rename(w.Name(), file); err != nil {
		return "", nil, err
	}
	// Beside the file, for the next to write it replaces it.
	if free, err = flock(file+".lock", unix.LOCK_SH); err != nil {
		return "", nil, err
	}
	return file, free, i.sweep()
}

// sweep removes what no living process holds.
func (i initrds) sweep() error {
	entries, err := os.ReadDir(i.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		name := filepath.Join(i.dir, e.Name())
		switch {
		case strings.HasPrefix(e.Name(), "new-"):
			err = errors.Join(err, os.Remove(name))
		case strings.HasSuffix(e.Name(), ".initrd"):
			unlock, held := flock(name+".lock", unix.LOCK_EX|unix.LOCK_NB)
			if held != nil {
				continue
			}
			err = errors.Join(err, os.Remove(name), os.Remove(name+".lock"))
			unlock()
		}
	}
	return err
}

func flock(file string, how int) (func(), error) {
	f, err := os.OpenFile(file, os.O_RDWR|os.O_CREATE|unix.O_NOFOLLOW, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), how); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() {
		_ = unix.Flock(int(f.Fd()), unix.LOCK_UN)
		f.Close()
	}, nil
}
