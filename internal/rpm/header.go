package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
)

// The parts of a package file, as rpm's format manual (docs/manual/format_v4.md
// in its source) has them: a lead of 96 bytes, the signature header padded to
// eight bytes, the main header, the payload.
const (
	leadSize  = 96
	introSize = 16 // magic, reserved, number of index entries, size of the store
	indexSize = 16 // tag, type, offset, count
)

// Bounds on a header. The largest that distributions ship (debug sources of
// kernels and browsers) come to a third of this.
const (
	maxEntries = 1 << 16
	maxStore   = 32 << 20
)

var (
	leadMagic   = []byte{0xed, 0xab, 0xee, 0xdb}
	headerMagic = []byte{0x8e, 0xad, 0xe8, 0x01, 0, 0, 0, 0}
)

// Types of the values in a store (rpmTagType).
const (
	typeInt16   = 3
	typeInt32   = 4
	typeInt64   = 5
	typeString  = 6
	typeBin     = 7
	typeStrings = 8
	typeI18N    = 9
)

// width is the size of one value by type; 0 means that strings are counted, not
// measured.
var width = [10]uint32{0, 1, 1, 2, 4, 8, 0, 1, 0, 0}

// entry is one value of a header: count values of type typ that take size bytes
// of the store from off on.
type entry struct{ tag, typ, off, count, size uint32 }

// header is a parsed header. All entries lie inside the store, aligned and apart
// from one another, and no tag is there twice.
type header struct {
	raw     []byte // intro, index and store
	entries []entry
}

func (h *header) store() []byte { return h.raw[introSize+indexSize*len(h.entries):] }

// invalid says that the file itself is at fault.
func invalid(format string, args ...any) error {
	return albs.Errorf(albs.Invalid, "RPM is malformed: "+format, args...)
}

// readFull fills b and tells a file that ends early from a reader that fails.
func readFull(r io.Reader, b []byte, what string) error {
	_, err := io.ReadFull(r, b)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return invalid("it ends inside the %s", what)
	}
	if err != nil {
		return fmt.Errorf("read %s of RPM: %w", what, err)
	}
	return nil
}

// readGrow appends n bytes of r to b. It takes memory as bytes arrive, so that a
// size that is claimed but not sent costs nothing.
func readGrow(r io.Reader, b []byte, n int, what string) ([]byte, error) {
	for n > 0 {
		step := min(n, max(len(b), 256<<10))
		start := len(b)
		b = slices.Grow(b, step)[:start+step]
		if err := readFull(r, b[start:], what); err != nil {
			return nil, err
		}
		n -= step
	}
	return b, nil
}

// readHeader reads one header and checks its whole index. region is the tag that
// its first entry must have; if sealed, the region must cover the header to its
// last byte, since nothing outside of it is signed.
func readHeader(r io.Reader, region uint32, sealed bool, what string) (*header, error) {
	raw := make([]byte, introSize, 4<<10)
	if err := readFull(r, raw, what); err != nil {
		return nil, err
	}
	if !bytes.Equal(raw[:8], headerMagic) {
		return nil, invalid("the %s doesn't begin with its magic number", what)
	}
	n, size := binary.BigEndian.Uint32(raw[8:]), binary.BigEndian.Uint32(raw[12:])
	if n < 1 || n > maxEntries {
		return nil, invalid("the %s has %d entries, 1 to %d are allowed", what, n, maxEntries)
	}
	if size > maxStore {
		return nil, invalid("the %s has %d bytes of data, %d are allowed", what, size, maxStore)
	}
	raw, err := readGrow(r, raw, int(n)*indexSize, what)
	if err != nil {
		return nil, err
	}
	h := &header{entries: make([]entry, n)}
	for i := range h.entries {
		b := raw[introSize+indexSize*i:]
		e := entry{
			tag: binary.BigEndian.Uint32(b), typ: binary.BigEndian.Uint32(b[4:]),
			off: binary.BigEndian.Uint32(b[8:]), count: binary.BigEndian.Uint32(b[12:]),
		}
		// Before a byte of the store is read: what can be told from the index alone.
		if err := e.check(size, what); err != nil {
			return nil, err
		}
		h.entries[i] = e
	}
	if err := checkUnique(h.entries, what); err != nil {
		return nil, err
	}
	if h.raw, err = readGrow(r, raw, int(size), what); err != nil {
		return nil, err
	}
	if err := h.checkRegion(region, sealed, what); err != nil {
		return nil, err
	}
	return h, h.measure(what)
}

// check compares e with the size of the store and sets e.size where the type
// tells it.
func (e *entry) check(store uint32, what string) error {
	switch {
	case e.typ < 1 || e.typ > typeI18N:
		return invalid("tag %d of the %s has unknown type %d", e.tag, what, e.typ)
	case e.count < 1 || e.count > store || e.typ == typeString && e.count != 1:
		return invalid("tag %d of the %s counts %d values", e.tag, what, e.count)
	case e.off >= store:
		return invalid("tag %d of the %s lies at %d, beyond the %d bytes of data", e.tag, what, e.off, store)
	}
	w := width[e.typ]
	if w == 0 {
		w = 1 // a string has at least its final NUL
	} else {
		e.size = e.count * w // no overflow: both factors are bounded above
	}
	if e.off%w != 0 {
		return invalid("tag %d of the %s is not aligned", e.tag, what)
	}
	if e.count*w > store-e.off {
		return invalid("tag %d of the %s ends beyond the %d bytes of data", e.tag, what, store)
	}
	return nil
}

func checkUnique(entries []entry, what string) error {
	tags := make([]uint32, len(entries))
	for i, e := range entries {
		tags[i] = e.tag
	}
	slices.Sort(tags)
	for i := 1; i < len(tags); i++ {
		if tags[i] == tags[i-1] {
			return invalid("tag %d stands twice in the %s", tags[i], what)
		}
	}
	return nil
}

// checkRegion checks that the first entry is the region's and its trailer, an
// index entry in the store, spans the index back to its begin.
func (h *header) checkRegion(region uint32, sealed bool, what string) error {
	e, store := h.entries[0], h.store()
	if e.tag != region || e.typ != typeBin || e.count != indexSize {
		return invalid("the %s has no immutable region", what)
	}
	t := store[e.off:]
	tag, typ, back := binary.BigEndian.Uint32(t), binary.BigEndian.Uint32(t[4:]), -int64(int32(binary.BigEndian.Uint32(t[8:])))
	if tag != region || typ != typeBin || binary.BigEndian.Uint32(t[12:]) != indexSize ||
		back%indexSize != 0 || back < indexSize || back > int64(len(h.entries))*indexSize {
		return invalid("the trailer of the region of the %s is wrong", what)
	}
	if sealed && (back != int64(len(h.entries))*indexSize || int(e.off)+indexSize != len(store)) {
		return invalid("the immutable region doesn't cover the whole %s", what)
	}
	return nil
}

// measure sets the sizes of the strings and checks that no two entries share a
// byte: thereby all values together are no larger than the store, however many
// entries point into it.
func (h *header) measure(what string) error {
	store := h.store()
	order := make([]*entry, len(h.entries))
	for i := range h.entries {
		order[i] = &h.entries[i]
	}
	slices.SortFunc(order, func(a, b *entry) int { return int(a.off) - int(b.off) })
	end := 0
	for _, e := range order {
		if int(e.off) < end {
			return invalid("tag %d of the %s overlaps another", e.tag, what)
		}
		if end = int(e.off) + int(e.size); e.size > 0 {
			continue
		}
		for range e.count {
			n := bytes.IndexByte(store[end:], 0)
			if n < 0 {
				return invalid("a string of tag %d of the %s has no end", e.tag, what)
			}
			end += n + 1
		}
		e.size = uint32(end) - e.off
	}
	return nil
}

// front is everything of a package file before its payload.
type front struct {
	lead [leadSize]byte
	sig  *header
	main *header
}

// start returns where the main header begins in the file.
func (f *front) start() int64 { return leadSize + int64(padded(len(f.sig.raw))) }

// end returns where the payload begins in the file.
func (f *front) end() int64 { return f.start() + int64(len(f.main.raw)) }

// padded rounds up to the eight bytes at which the main header begins.
func padded(n int) int { return (n + 7) &^ 7 }

// readFront reads exactly up to the payload and not a byte more.
func readFront(r io.Reader) (*front, error) {
	f := &front{}
	if err := readFull(r, f.lead[:], "lead"); err != nil {
		return nil, err
	}
	if !bytes.Equal(f.lead[:4], leadMagic) {
		return nil, albs.Errorf(albs.Invalid, "file is not an RPM")
	}
	if t := binary.BigEndian.Uint16(f.lead[78:]); t != 5 { // RPMSIGTYPE_HEADERSIG
		return nil, invalid("its lead names signature type %d, only 5 is known", t)
	}
	var err error
	if f.sig, err = readHeader(r, tagSigRegion, false, "signature header"); err != nil {
		return nil, err
	}
	var pad [8]byte
	if err := readFull(r, pad[:padded(len(f.sig.raw))-len(f.sig.raw)], "signature header"); err != nil {
		return nil, err
	}
	f.main, err = readHeader(r, tagMainRegion, true, "main header")
	return f, err
}
