// Package iso reads the files of ISO 9660 images (ECMA-119) as io/fs has them, under the
// names that Rock Ridge (IEEE P1282, by SUSP, IEEE P1281) gives them. That is what
// installation images of RPM distributions are; images without Rock Ridge, of which the
// names are in capitals and short, are refused.
//
// It owns no more of the format than it takes to find a file: no attributes but what is a
// directory, no symbolic links, no files of several extents.
//
// Invariants: whatever it reads is taken for hostile. Every place is checked to lie within
// the image before it is read, directories are bounded in bytes and depth, and what is
// malformed gives an error of kind Invalid, never a panic.
package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"strings"
	"sync"
	"time"

	"albs/internal/albs"
)

const (
	sector         = 2048
	maxDescriptors = 64       // volume descriptors
	maxDirectory   = 16 << 20 // bytes of one directory
	maxContinued   = 32       // continuation areas of one entry
	maxDepth       = 32
	maxName        = 255
)

// FS are the files of an image. It may be used concurrently, as its reader may.
type FS struct {
	r    io.ReaderAt
	size int64
	root entry
	skip int // bytes before the fields of Rock Ridge, as the root's SP field has it

	mu    sync.Mutex
	known map[int64][]entry // directories by their place
}

// maxKnown is how many directories are remembered.
const maxKnown = 64

// Open returns the files of the image of that size. It is Invalid if r isn't one, or has
// no Rock Ridge.
func Open(r io.ReaderAt, size int64) (*FS, error) {
	f := &FS{r: r, size: size, known: map[int64][]entry{}}
	for i := range int64(maxDescriptors) {
		d := make([]byte, sector)
		if err := f.read(d, (16+i)*sector); err != nil {
			return nil, albs.Errorf(albs.Invalid, "it is no ISO 9660 image: %w", err)
		}
		if string(d[1:6]) != "CD001" || d[0] == 255 {
			break
		}
		if d[0] != 1 { // the primary descriptor
			continue
		}
		if n := binary.LittleEndian.Uint16(d[128:]); n != sector {
			return nil, albs.Errorf(albs.Invalid, "the image has blocks of %d bytes, not %d", n, sector)
		}
		root, _, err := record(d[156:190])
		if err != nil {
			return nil, err
		}
		if !root.dir {
			return nil, albs.Errorf(albs.Invalid, "the root of the image is no directory")
		}
		f.root = root
		return f, f.ridge()
	}
	return nil, albs.Errorf(albs.Invalid, "it is no ISO 9660 image: it has no primary volume descriptor")
}

// ridge looks whether there is Rock Ridge, which the first record of the root says.
func (f *FS) ridge() error {
	b, err := f.directory(f.root)
	if err != nil {
		return err
	}
	_, use, err := record(b)
	if err != nil {
		return err
	}
	if len(use) < 7 || string(use[:2]) != "SP" || use[4] != 0xBE || use[5] != 0xEF {
		return albs.Errorf(albs.Invalid, "the image has no Rock Ridge names: unpack or mount it, and name the folder")
	}
	f.skip = int(use[6])
	return nil
}

// read fills b from an offset of the image.
func (f *FS) read(b []byte, at int64) error {
	if at < 0 || at > f.size-int64(len(b)) {
		return albs.Errorf(albs.Invalid, "the image ends before byte %d", at+int64(len(b)))
	}
	if n, err := f.r.ReadAt(b, at); n < len(b) {
		if errors.Is(err, io.EOF) {
			return albs.Errorf(albs.Invalid, "the image ends before byte %d", at+int64(len(b)))
		}
		return fmt.Errorf("read the image: %w", err)
	}
	return nil
}

// entry is a file or directory.
type entry struct {
	name  string
	at    int64 // in bytes
	size  int64
	dir   bool
	parts bool // it goes on in another record
	other bool // neither: a link, or a directory that lies elsewhere
}

// record reads a directory record (ECMA-119, 9.1) at the beginning of b, and returns its
// system use area.
func record(b []byte) (e entry, use []byte, err error) {
	if len(b) == 0 || int(b[0]) < 34 || int(b[0]) > len(b) {
		return e, nil, albs.Errorf(albs.Invalid, "a directory record of the image is broken")
	}
	b = b[:b[0]]
	n := int(b[32])
	end := 33 + n + (n+1)%2
	if n == 0 || 33+n > len(b) {
		return e, nil, albs.Errorf(albs.Invalid, "a name in the image is broken")
	}
	e = entry{
		name: string(b[33 : 33+n]), at: (int64(binary.LittleEndian.Uint32(b[2:])) + int64(b[1])) * sector,
		size: int64(binary.LittleEndian.Uint32(b[10:])), dir: b[25]&2 != 0, parts: b[25]&0x80 != 0,
	}
	return e, b[min(end, len(b)):], nil
}

// directory returns the bytes of a directory.
func (f *FS) directory(e entry) ([]byte, error) {
	if e.size > maxDirectory {
		return nil, albs.Errorf(albs.TooLarge, "a directory of the image has %d bytes, at most %d are read", e.size, maxDirectory)
	}
	b := make([]byte, e.size)
	if err := f.read(b, e.at); err != nil {
		return nil, err
	}
	return b, nil
}

// list returns what is in a directory, by name; it isn't the caller's to change.
func (f *FS) list(dir entry) ([]entry, error) {
	f.mu.Lock()
	in, ok := f.known[dir.at]
	f.mu.Unlock()
	if ok {
		return in, nil
	}
	in, err := f.entries(dir)
	if err != nil {
		return nil, err
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.known) >= maxKnown {
		clear(f.known)
	}
	f.known[dir.at] = in
	return in, nil
}

// entries reads a directory.
func (f *FS) entries(dir entry) ([]entry, error) {
	b, err := f.directory(dir)
	if err != nil {
		return nil, err
	}
	var out []entry
	continues := false // the record before said that its file goes on here
	for i := 0; len(b) > 0; i++ {
		if b[0] == 0 { // the rest of a sector is empty
			rest := len(b) % sector
			if rest == 0 {
				rest = min(sector, len(b))
			}
			b = b[rest:]
			i--
			continue
		}
		e, use, err := record(b)
		if err != nil {
			return nil, err
		}
		b = b[b[0]:]
		if e.name == "\x00" || e.name == "\x01" { // itself and what it is in
			continue
		}
		if use, err = f.continued(use[min(f.skip, len(use)):]); err != nil {
			return nil, err
		}
		e.ridge(use)
		if continues, e.parts = e.parts, e.parts || continues; e.name == "" {
			continue
		}
		if len(e.name) > maxName || !fs.ValidPath(e.name) || strings.Contains(e.name, "/") || e.name == "." {
			return nil, albs.Errorf(albs.Invalid, "the image names a file %.80q", e.name)
		}
		out = append(out, e)
	}
	slices.SortStableFunc(out, func(a, b entry) int { return strings.Compare(a.name, b.name) })
	for i := 1; i < len(out); i++ {
		if out[i].name == out[i-1].name && !(out[i].parts && out[i-1].parts) {
			return nil, albs.Errorf(albs.Invalid, "the image names two files %.80q", out[i].name)
		}
	}
	return slices.CompactFunc(out, func(a, b entry) bool { return a.name == b.name }), nil
}

// continued returns the fields of a system use area with those of the areas that go on
// from it (CE, SUSP 5.1).
func (f *FS) continued(use []byte) ([]byte, error) {
	var all []byte
	for range maxContinued {
		var next []byte
		for len(use) >= 4 && int(use[2]) >= 4 && int(use[2]) <= len(use) {
			field := use[:use[2]]
			use = use[use[2]:]
			switch {
			case string(field[:2]) == "CE" && len(field) >= 28:
				n := binary.LittleEndian.Uint32(field[20:])
				if n > sector {
					return nil, albs.Errorf(albs.Invalid, "a continuation area of the image has %d bytes", n)
				}
				next = make([]byte, n)
				at := int64(binary.LittleEndian.Uint32(field[4:]))*sector + int64(binary.LittleEndian.Uint32(field[12:]))
				if err := f.read(next, at); err != nil {
					return nil, err
				}
			case string(field[:2]) == "ST": // it ends here
				use = nil
			default:
				all = append(all, field...)
			}
		}
		if next == nil {
			return all, nil
		}
		use = next
	}
	return nil, albs.Errorf(albs.Invalid, "the fields of a file in the image go on and on")
}

// ridge takes over what the fields of Rock Ridge say: the name, and whether it is a file.
func (e *entry) ridge(fields []byte) {
	e.name = ""
	for len(fields) >= 4 && int(fields[2]) >= 4 && int(fields[2]) <= len(fields) {
		field := fields[:fields[2]]
		fields = fields[fields[2]:]
		switch string(field[:2]) {
		case "NM":
			if len(field) > 5 && field[4]&6 == 0 && len(e.name) <= maxName { // neither . nor ..
				e.name += string(field[5:])
			}
		case "SL", "CL", "PL", "RE", "SF", "ZF": // a link, a moved directory, sparse, compressed
			e.other = true
		}
	}
}

// Open implements fs.FS.
func (f *FS) Open(name string) (fs.File, error) {
	e, err := f.find(name)
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	if e.dir && !e.other {
		in, err := f.ReadDir(name)
		return &folder{info{e}, in}, err
	}
	if e.other {
		return nil, &fs.PathError{Op: "open", Path: name, Err: errors.New("it is neither a file nor a directory")}
	}
	return &file{info{e}, io.NewSectionReader(f.r, e.at, e.size)}, nil
}

// find returns the entry of a path.
func (f *FS) find(name string) (entry, error) {
	if !fs.ValidPath(name) {
		return entry{}, fs.ErrInvalid
	}
	e := f.root
	e.name = "."
	if name == "." {
		return e, nil
	}
	elements := strings.Split(name, "/")
	if len(elements) > maxDepth {
		return entry{}, albs.Errorf(albs.TooLarge, "it is deeper than %d folders", maxDepth)
	}
	for _, element := range elements {
		if !e.dir || e.other {
			return entry{}, fs.ErrNotExist
		}
		in, err := f.list(e)
		if err != nil {
			return entry{}, err
		}
		i, ok := slices.BinarySearchFunc(in, element, func(o entry, name string) int { return strings.Compare(o.name, name) })
		if !ok {
			return entry{}, fs.ErrNotExist
		}
		e = in[i]
	}
	switch {
	case !e.dir && e.parts:
		return entry{}, albs.Errorf(albs.Invalid, "the file lies in several parts, which aren't read: unpack or mount the image, and name the folder")
	case !e.dir && !e.other && (e.at > f.size || e.size > f.size-e.at):
		return entry{}, albs.Errorf(albs.Invalid, "the image ends before the file does")
	}
	return e, nil
}

// ReadDir implements fs.ReadDirFS.
func (f *FS) ReadDir(name string) ([]fs.DirEntry, error) {
	e, err := f.find(name)
	if err == nil && (!e.dir || e.other) {
		err = errors.New("it is no directory")
	}
	var in []entry
	if err == nil {
		in, err = f.list(e)
	}
	if err != nil {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: err}
	}
	out := make([]fs.DirEntry, len(in))
	for i, o := range in {
		out[i] = fs.FileInfoToDirEntry(info{o})
	}
	return out, nil
}

// info is an entry as io/fs has it.
type info struct{ entry }

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.Mode().IsDir() }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	switch {
	case i.other:
		return fs.ModeIrregular | 0o444
	case i.dir:
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// file is an open file.
type file struct {
	info info
	*io.SectionReader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Close() error               { return nil }

// folder is an open directory.
type folder struct {
	info info
	left []fs.DirEntry
}

func (f *folder) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *folder) Close() error               { return nil }

func (f *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: f.info.name, Err: errors.New("it is a directory")}
}

// ReadDir implements fs.ReadDirFile.
func (f *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		n = len(f.left)
	} else if len(f.left) == 0 {
		return nil, io.EOF
	}
	n = min(n, len(f.left))
	out := f.left[:n:n]
	f.left = f.left[n:]
	return out, nil
}
