package publish

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"slices"
	"sync"

	"github.com/klauspost/compress/flate"
)

// gzipped returns the parts of a file as one member of gzip (RFC 1952) without name or time;
// deflate is deflated, or knows what that returns of a part. Metadata of repositories have a
// member for each part instead, which all that read those take for one file. This one may
// be for whoever gets it with a Content-Encoding, and browsers and curl stop at the first.
func gzipped(parts [][]byte, deflate func([]byte) []byte) []byte {
	out := [][]byte{{0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 0xff}}
	var crc, size uint32
	for _, p := range parts {
		out = append(out, deflate(p))
		crc = crc32.Update(crc, crc32.IEEETable, p)
		size += uint32(len(p)) // modulo 2^32, as the format has it
	}
	end := []byte{3, 0} // a last block, which is empty
	end = binary.LittleEndian.AppendUint32(end, crc)
	end = binary.LittleEndian.AppendUint32(end, size)
	return slices.Concat(append(out, end)...)
}

// level is gzip's usual one.
const level = 6

// flates are kept for the next, for they are large.
var flates = sync.Pool{New: func() any {
	w, err := flate.NewWriter(nil, level)
	if err != nil {
		panic(err) // the level is one
	}
	return w
}}

// deflated returns b as blocks of deflate (RFC 1951) of which none is the last, that end
// with a whole byte and hang on nothing before them: so any may follow any. Equal bytes give
// equal blocks.
func deflated(b []byte) []byte {
	var out bytes.Buffer
	w := flates.Get().(*flate.Writer)
	defer flates.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b) // to a buffer, which takes everything
	_ = w.Flush()
	return out.Bytes()
}
