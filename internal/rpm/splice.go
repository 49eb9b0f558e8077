package rpm

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"fmt"
	"io"
	"slices"

	"albs/internal/albs"
	"albs/internal/pgp"
)

// Splice writes to w the package that it reads from unsigned, with sig, an OpenPGP
// packet over the main header, as its only signature: any other is dropped, of
// whatever kind. Lead, main header and payload are copied byte for byte; the file
// keeps its size where the signature header's reserved space (rpm 4.14 and later
// leave 4,128 bytes) suffices, else it grows.
//
// isRSA chooses the tag, RSAHEADER (268) or DSAHEADER (267) for EdDSA. Splice
// doesn't check that sig holds: use Verify on what was written. It returns an
// Invalid error if unsigned is malformed or sig isn't a signature of that
// algorithm; what w then holds is of no use.
func Splice(w io.Writer, unsigned io.Reader, sig []byte, isRSA bool) error {
	info, err := pgp.ParseSignature(sig)
	if err != nil {
		return err
	}
	if info.RSA != isRSA {
		return albs.Errorf(albs.Invalid, "signature of key %s isn't of the algorithm that was asked for", info.KeyID)
	}
	f, err := readFront(unsigned)
	if err != nil {
		return err
	}
	tag := uint32(tagSigDSA)
	if isRSA {
		tag = tagSigRSA
	}
	head := f.sig.withSignature(tag, sig)
	for _, part := range [][]byte{f.lead[:], head, make([]byte, padded(len(head))-len(head)), f.main.raw} {
		if _, err := w.Write(part); err != nil {
			return fmt.Errorf("write signed RPM: %w", err)
		}
	}
	if _, err := io.Copy(w, unsigned); err != nil {
		return fmt.Errorf("copy payload of RPM: %w", err)
	}
	return nil
}

// value is one entry to be written.
type value struct {
	tag, typ, count uint32
	data            []byte
}

// withSignature returns the bytes of signature header h with sig in place of all
// signatures, as long as h is if that can be.
func (h *header) withSignature(tag uint32, sig []byte) []byte {
	var values []value
	for _, e := range h.entries {
		switch e.tag {
		case tagSigRegion, tagSigReserved, tagSigDSA, tagSigRSA, tagSigPGP, tagSigGPG, tagSigOpenPGP:
		default:
			values = append(values, value{e.tag, e.typ, e.count, h.store()[e.off : e.off+e.size]})
		}
	}
	values = append(values, value{tag, typeBin, uint32(len(sig)), sig})
	tight := layout(tagSigRegion, values)
	if room := len(h.raw) - len(tight) - indexSize; room > 0 {
		exact := layout(tagSigRegion, append(values, value{tagSigReserved, typeBin, uint32(room), make([]byte, room)}))
		// Alignment behind the reserved space could make it longer, where a
		// header has tags beyond rpm's own.
		if len(exact) == len(h.raw) {
			return exact
		}
	}
	return tight
}

// layout writes a header: the entry of its region and the values by tag, each
// aligned to its width, and the region's trailer at the end.
func layout(region uint32, values []value) []byte {
	values = slices.Clone(values)
	slices.SortFunc(values, func(a, b value) int { return cmp.Compare(a.tag, b.tag) })
	var index, store []byte
	put := func(b []byte, tag, typ, off, count uint32) []byte {
		for _, v := range []uint32{tag, typ, off, count} {
			b = binary.BigEndian.AppendUint32(b, v)
		}
		return b
	}
	for _, v := range values {
		if w := int(width[v.typ]); w > 1 {
			store = append(store, make([]byte, -len(store)&(w-1))...)
		}
		index = put(index, v.tag, v.typ, uint32(len(store)), v.count)
		store = append(store, v.data...)
	}
	entries := len(values) + 1
	trailer := uint32(len(store))
	store = put(store, region, typeBin, uint32(-indexSize*entries), indexSize)

	out := bytes.Clone(headerMagic)
	out = binary.BigEndian.AppendUint32(out, uint32(entries))
	out = binary.BigEndian.AppendUint32(out, uint32(len(store)))
	out = put(out, region, typeBin, trailer, indexSize)
	return append(append(out, index...), store...)
}
