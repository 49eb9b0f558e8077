package examine

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"strings"
	"unicode/utf8"
)

// The parts of an ELF object that say what it needs to be loaded, as the System V ABI
// has them (gabi, "Object Files" and "Dynamic Linking"). The standard library's debug/elf
// isn't made for hostile files, says its own documentation, and reads much more.

// ELF is what an object says of itself. What it says may be nonsense: Fault then tells
// what is, and what could be read before it stays.
type ELF struct {
	Bits    int    `json:"bits"`    // 32 or 64
	Big     bool   `json:"big"`     // big-endian
	Machine uint16 `json:"machine"` // e_machine
	Type    uint16 `json:"type"`    // e_type
	// Dynamic is true for what the dynamic loader has a hand in.
	Dynamic bool     `json:"dynamic,omitempty"`
	Interp  string   `json:"interp,omitempty"` // the loader that a program asks for
	Needed  []string `json:"needed,omitempty"`
	Soname  string   `json:"soname,omitempty"`
	// RPath and RunPath are nil where there is none; an empty one is something else.
	RPath   *string `json:"rpath,omitempty"`
	RunPath *string `json:"runpath,omitempty"`
	Fault   string  `json:"fault,omitempty"`
}

// Types of objects (e_type).
const (
	TypeExec = 2
	TypeDyn  = 3
)

// Bounds on an object; the largest programs there are come to a tenth of it.
const (
	maxSegments = 1024
	maxDynamic  = 1 << 14 // entries
	maxName     = 4096    // bytes of one string
	maxNames    = 64 << 10
)

const (
	segLoad    = 1
	segDynamic = 2
	segInterp  = 3

	dynNeeded  = 1
	dynStrtab  = 5
	dynStrsz   = 10
	dynSoname  = 14
	dynRPath   = 15
	dynRunPath = 29
)

// segment is one program header.
type segment struct{ typ, off, addr, size uint64 }

// object is an ELF object that is being read.
type object struct {
	r     io.ReaderAt
	size  int64
	order binary.ByteOrder
	elf   *ELF
	left  int // bytes of names that may still come
}

// errMalformed is an object that contradicts itself; its text is for people.
type errMalformed string

func (e errMalformed) Error() string { return string(e) }

// ReadELF reads the object in the size bytes of r; nil if there is none. Errors are r's
// own: an object that is malformed has a Fault.
func ReadELF(r io.ReaderAt, size int64) (*ELF, error) {
	var ident [20]byte
	if size < int64(len(ident)) {
		return nil, nil
	}
	if _, err := io.ReadFull(io.NewSectionReader(r, 0, size), ident[:]); err != nil {
		return nil, err
	}
	if !bytes.Equal(ident[:4], []byte("\x7fELF")) {
		return nil, nil
	}
	o := &object{r: r, size: size, order: binary.LittleEndian, elf: &ELF{}, left: maxNames}
	err := o.read(ident[:])
	if m, ok := errors.AsType[errMalformed](err); ok {
		o.elf.Fault, err = string(m), nil
	}
	return o.elf, err
}

func (o *object) read(ident []byte) error {
	switch ident[4] {
	case 1:
		o.elf.Bits = 32
	case 2:
		o.elf.Bits = 64
	default:
		return errMalformed("its class is neither 32 nor 64 bits")
	}
	switch ident[5] {
	case 1:
	case 2:
		o.elf.Big, o.order = true, binary.BigEndian
	default:
		return errMalformed("its byte order is unknown")
	}
	o.elf.Type, o.elf.Machine = o.order.Uint16(ident[16:]), o.order.Uint16(ident[18:])
	if o.elf.Type != TypeExec && o.elf.Type != TypeDyn {
		return nil // nothing that is ever loaded as it is
	}
	segments, err := o.segments()
	if err != nil {
		return err
	}
	for _, s := range segments {
		if s.typ != segInterp {
			continue
		}
		b, err := o.bytes(s.off, min(s.size, maxName))
		if err != nil {
			return err
		}
		if o.elf.Interp, err = o.name(b, 0); err != nil {
			return err
		}
	}
	for _, s := range segments {
		if s.typ == segDynamic {
			o.elf.Dynamic = true
			return o.dynamic(s, segments)
		}
	}
	return nil
}

// bytes reads n bytes at off, all of which must be in the file.
func (o *object) bytes(off, n uint64) ([]byte, error) {
	if off > uint64(o.size) || n > uint64(o.size)-off {
		return nil, errMalformed("it names what lies behind its end")
	}
	b := make([]byte, n)
	_, err := io.ReadFull(io.NewSectionReader(o.r, int64(off), int64(n)), b)
	return b, err
}

// word reads an address or size at b.
func (o *object) word(b []byte) uint64 {
	if o.elf.Bits == 32 {
		return uint64(o.order.Uint32(b))
	}
	return o.order.Uint64(b)
}

// segments reads the program headers.
func (o *object) segments() ([]segment, error) {
	size, at, width := uint64(52), 28, 4
	if o.elf.Bits == 64 {
		size, at, width = 64, 32, 8
	}
	h, err := o.bytes(0, size)
	if err != nil {
		return nil, err
	}
	// Behind e_phoff come e_shoff, e_flags (4 bytes) and e_ehsize (2).
	off, counts := o.word(h[at:]), h[at+2*width+6:]
	each, n := uint64(o.order.Uint16(counts)), uint64(o.order.Uint16(counts[2:]))
	if n == 0 {
		return nil, nil
	}
	least := uint64(32)
	if o.elf.Bits == 64 {
		least = 56
	}
	if each < least || each > 256 || n > maxSegments {
		return nil, errMalformed("it has impossible program headers")
	}
	table, err := o.bytes(off, each*n)
	if err != nil {
		return nil, err
	}
	list := make([]segment, n)
	for i := range list {
		b := table[uint64(i)*each:]
		s := segment{typ: uint64(o.order.Uint32(b))}
		if o.elf.Bits == 64 { // type, flags, offset, vaddr, paddr, filesz
			s.off, s.addr, s.size = o.word(b[8:]), o.word(b[16:]), o.word(b[32:])
		} else { // type, offset, vaddr, paddr, filesz
			s.off, s.addr, s.size = o.word(b[4:]), o.word(b[8:]), o.word(b[16:])
		}
		list[i] = s
	}
	return list, nil
}

// dynamic reads the dynamic section and the names that it has in the string table.
func (o *object) dynamic(s segment, segments []segment) error {
	each := uint64(2 * o.elf.Bits / 8)
	if s.size/each > maxDynamic {
		return errMalformed("its dynamic section is too large")
	}
	b, err := o.bytes(s.off, s.size/each*each)
	if err != nil {
		return err
	}
	type ref struct{ tag, off uint64 }
	var refs []ref
	var table, size uint64
	for ; len(b) > 0; b = b[each:] {
		tag, v := o.word(b), o.word(b[each/2:])
		if tag == 0 {
			break
		}
		switch tag {
		case dynStrtab:
			table = v
		case dynStrsz:
			size = v
		case dynNeeded, dynSoname, dynRPath, dynRunPath:
			refs = append(refs, ref{tag, v})
		}
	}
	if len(refs) == 0 {
		return nil
	}
	// The table is named by the address that it is loaded to.
	at := -1
	for i, l := range segments {
		if l.typ == segLoad && table >= l.addr && table-l.addr < l.size {
			at = i
			break
		}
	}
	if at < 0 {
		return errMalformed("its string table is in no part that is loaded")
	}
	into := table - segments[at].addr
	size = min(size, segments[at].size-into)
	for _, r := range refs {
		if r.off >= size {
			return errMalformed("it names a string behind the end of its table")
		}
		// No overflow: a segment's offset and size are checked against the file together.
		if segments[at].off > uint64(o.size) || segments[at].size > uint64(o.size)-segments[at].off {
			return errMalformed("it names what lies behind its end")
		}
		b, err := o.bytes(segments[at].off+into+r.off, min(size-r.off, maxName+1))
		if err != nil {
			return err
		}
		name, err := o.name(b, r.tag)
		if err != nil {
			return err
		}
		switch r.tag {
		case dynNeeded:
			o.elf.Needed = append(o.elf.Needed, name)
		case dynSoname:
			o.elf.Soname = name
		case dynRPath:
			o.elf.RPath = &name
		case dynRunPath:
			o.elf.RunPath = &name
		}
	}
	return nil
}

// name returns the string that b begins with. Only the two paths of libraries may be "".
func (o *object) name(b []byte, tag uint64) (string, error) {
	n := bytes.IndexByte(b, 0)
	if n < 0 {
		return "", errMalformed("a string of it has no end")
	}
	s := string(b[:n])
	if o.left -= n + 16; o.left < 0 {
		return "", errMalformed("it has too many names")
	}
	if s == "" && tag != dynRPath && tag != dynRunPath {
		return "", errMalformed("it needs something without a name")
	}
	if !utf8.ValidString(s) || strings.ContainsFunc(s, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return "", errMalformed("a name in it isn't text")
	}
	return s, nil
}
