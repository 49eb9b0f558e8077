package rpm

import (
	"encoding/binary"
	"slices"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
)

// decoder takes typed values out of a header whose index has been checked. The
// first fault is kept in err, and every value after it is empty.
type decoder struct {
	h    *header
	what string
	text string // the store once more, for strings to share
	err  error
}

func newDecoder(h *header, what string) *decoder {
	return &decoder{h: h, what: what, text: string(h.store())}
}

func (d *decoder) fail(format string, args ...any) {
	if d.err == nil {
		d.err = invalid(format, args...)
	}
}

// find returns the entry of tag if there is one of the types given; another type
// is a fault.
func (d *decoder) find(tag uint32, types ...uint32) (entry, bool) {
	if d.err != nil {
		return entry{}, false
	}
	i := slices.IndexFunc(d.h.entries, func(e entry) bool { return e.tag == tag })
	if i < 0 {
		return entry{}, false
	}
	e := d.h.entries[i]
	if !slices.Contains(types, e.typ) {
		d.fail("tag %d of the %s has type %d", tag, d.what, e.typ)
		return entry{}, false
	}
	return e, true
}

// texts walks the strings of one tag without taking memory for each.
type texts struct {
	rest string
	n    int
}

// next returns the next string, "" behind the last.
func (t *texts) next() string {
	s, rest, _ := strings.Cut(t.rest, "\x00")
	t.rest = rest
	return s
}

// all returns the strings as a slice, nil if there are none.
func (t *texts) all() []string {
	if t.n == 0 {
		return nil
	}
	list := make([]string, t.n)
	for i := range list {
		list[i] = t.next()
	}
	return list
}

func (d *decoder) texts(tag uint32) texts {
	e, ok := d.find(tag, typeString, typeStrings, typeI18N)
	if !ok {
		return texts{}
	}
	s := d.text[e.off : e.off+e.size]
	if !utf8.ValidString(s) {
		d.fail("tag %d of the %s isn't UTF-8", tag, d.what)
		return texts{}
	}
	return texts{rest: s, n: int(e.count)}
}

// string returns the first string of tag: the only one, or the one of the C
// locale.
func (d *decoder) string(tag uint32) string {
	t := d.texts(tag)
	return t.next()
}

// digest returns the first string of tag as a sha256; "" if the tag isn't there.
func (d *decoder) digest(tag uint32) albs.Digest {
	t := d.texts(tag)
	if t.n == 0 {
		return ""
	}
	v := albs.Digest(t.next())
	if !v.Valid() {
		d.fail("tag %d of the %s isn't a sha256", tag, d.what)
		return ""
	}
	return v
}

// numbers is an array of unsigned integers in the store.
type numbers struct {
	b []byte
	w int
	n int
}

// at returns number i, 0 behind the last.
func (v numbers) at(i int) uint64 {
	if i >= v.n {
		return 0
	}
	b := v.b[i*v.w:]
	switch v.w {
	case 2:
		return uint64(binary.BigEndian.Uint16(b))
	case 4:
		return uint64(binary.BigEndian.Uint32(b))
	}
	return binary.BigEndian.Uint64(b)
}

func (d *decoder) numbers(tag uint32) numbers {
	e, ok := d.find(tag, typeInt16, typeInt32, typeInt64)
	if !ok {
		return numbers{}
	}
	return numbers{b: d.h.store()[e.off : e.off+e.size], w: int(width[e.typ]), n: int(e.count)}
}

// size returns the first number of the first tag that is there, as a size.
func (d *decoder) size(tags ...uint32) int64 {
	for _, tag := range tags {
		if v := d.numbers(tag); v.n > 0 {
			n := int64(v.at(0))
			if n < 0 || n > maxSize {
				d.fail("tag %d of the %s is %d, too large for a size", tag, d.what, uint64(n))
				return 0
			}
			return n
		}
	}
	return 0
}

// bytes returns a copy of a binary value, nil if the tag isn't there.
func (d *decoder) bytes(tag uint32) []byte {
	e, ok := d.find(tag, typeBin)
	if !ok {
		return nil
	}
	return slices.Clone(d.h.store()[e.off : e.off+e.size])
}
