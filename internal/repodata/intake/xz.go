package intake

import (
	"bufio"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash"
	"hash/crc32"
	"hash/crc64"
	"io"

	"github.com/ulikunitz/xz/lzma"
)

// xzReader reads one .xz stream (tukaani.org/xz/xz-file-format.txt, 1.2). It takes the
// container apart itself because the library's own reader allocates whatever
// dictionary a block asks for, up to 4 GiB; here a block that asks for more than
// maxDecoderMemory is refused.
type xzReader struct {
	in     *bufio.Reader
	read   int64 // bytes of in that were used
	check  byte  // kind of check behind each block
	block  io.Reader
	sum    hash.Hash
	begins int64 // where the block's data began
}

const (
	xzMagic       = "\xfd7zXZ\x00"
	xzFooterMagic = "YZ"
	xzFilterLZMA2 = 0x21
)

var errXZ = errors.New("not a valid xz stream")

func newXZReader(in *bufio.Reader) (*xzReader, error) {
	x := &xzReader{in: in}
	head := make([]byte, 12)
	if _, err := io.ReadFull(x.counted(), head); err != nil {
		return nil, Short(err)
	}
	if string(head[:6]) != xzMagic || head[6] != 0 || crc32.ChecksumIEEE(head[6:8]) != binary.LittleEndian.Uint32(head[8:]) {
		return nil, errXZ
	}
	x.check = head[7]
	if x.newSum() == nil && x.check != 0 {
		return nil, fmt.Errorf("%w: check %d is not known", errXZ, x.check)
	}
	return x, nil
}

// Read implements io.Reader.
func (x *xzReader) Read(p []byte) (int, error) {
	for {
		if x.block == nil {
			if err := x.open(); err != nil {
				return 0, err
			}
		}
		n, err := x.block.Read(p)
		if x.sum != nil {
			x.sum.Write(p[:n])
		}
		if errors.Is(err, io.EOF) {
			if err := x.close(); err != nil {
				return n, err
			}
			err = nil
			if n == 0 {
				continue
			}
		}
		return n, err
	}
}

// open reads the header of the next block, or the index and the footer, behind which it
// gives io.EOF.
func (x *xzReader) open() error {
	c := x.counted()
	first, err := c.ReadByte()
	if err != nil {
		return Short(err)
	}
	if first == 0 {
		return x.finish()
	}
	head := make([]byte, (int(first)+1)*4)
	head[0] = first
	if _, err := io.ReadFull(c, head[1:]); err != nil {
		return Short(err)
	}
	end := len(head) - 4
	if crc32.ChecksumIEEE(head[:end]) != binary.LittleEndian.Uint32(head[end:]) {
		return fmt.Errorf("%w: broken block header", errXZ)
	}
	// One filter, and perhaps the two sizes, which the index repeats.
	flags, rest := head[1], head[2:end]
	for _, bit := range []byte{0x40, 0x80} {
		if flags&bit != 0 {
			_, n := binary.Uvarint(rest)
			if n <= 0 {
				return fmt.Errorf("%w: broken block header", errXZ)
			}
			rest = rest[n:]
		}
	}
	if flags&0x3f != 0 || len(rest) < 3 || rest[0] != xzFilterLZMA2 || rest[1] != 1 {
		return fmt.Errorf("%w: only the LZMA2 filter is read", errXZ)
	}
	dict, err := lzma.DecodeDictCap(rest[2])
	if err != nil || dict > maxDecoderMemory {
		return fmt.Errorf("%w: a block asks for a dictionary of more than %d bytes", errXZ, maxDecoderMemory)
	}
	x.sum, x.begins = x.newSum(), x.read
	if x.block, err = (lzma.Reader2Config{DictCap: int(max(dict, lzma.MinDictCap))}).NewReader2(c); err != nil {
		return err
	}
	return nil
}

// close reads the padding and the check behind a block.
func (x *xzReader) close() error {
	x.block = nil
	c := x.counted()
	for (x.read-x.begins)%4 != 0 {
		if b, err := c.ReadByte(); err != nil || b != 0 {
			return fmt.Errorf("%w: broken padding", errXZ)
		}
	}
	// xz-file-format §2.1.1.2: the length of a check follows from its number.
	want := make([]byte, map[byte]int{0: 0, 1: 4, 4: 8, 10: 32}[x.check])
	if _, err := io.ReadFull(c, want); err != nil {
		return Short(err)
	}
	var got []byte
	switch s := x.sum.(type) {
	case hash.Hash32:
		got = binary.LittleEndian.AppendUint32(nil, s.Sum32())
	case hash.Hash64:
		got = binary.LittleEndian.AppendUint64(nil, s.Sum64())
	case hash.Hash:
		got = s.Sum(nil)
	}
	if string(got) != string(want) {
		return fmt.Errorf("%w: a block's check does not match", errXZ)
	}
	return nil
}

// finish reads the rest of the index and the footer, and wants the file to end there.
// That the index agrees with the blocks is not asked: they have been read and checked.
func (x *xzReader) finish() error {
	c := x.counted()
	from := x.read - 1
	records, err := binary.ReadUvarint(c)
	if err != nil {
		return Short(err)
	}
	for range records {
		for range 2 {
			if _, err := binary.ReadUvarint(c); err != nil {
				return Short(err)
			}
		}
	}
	rest := make([]byte, (4-(x.read-from)%4)%4+4+12)
	if _, err := io.ReadFull(c, rest); err != nil {
		return Short(err)
	}
	if string(rest[len(rest)-2:]) != xzFooterMagic {
		return fmt.Errorf("%w: broken footer", errXZ)
	}
	if _, err := x.in.ReadByte(); !errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: something follows the stream", errXZ)
	}
	return io.EOF
}

// newSum returns the hash of the stream's check, nil if it has none.
func (x *xzReader) newSum() hash.Hash {
	switch x.check {
	case 1:
		return crc32.NewIEEE()
	case 4:
		return crc64.New(crc64.MakeTable(crc64.ECMA))
	case 10:
		return sha256.New()
	}
	return nil
}

// counted returns the input as a reader that counts what is used.
func (x *xzReader) counted() countedReader { return countedReader{x} }

// countedReader is an io.ByteReader, so that nothing reads ahead.
type countedReader struct{ x *xzReader }

// Read implements io.Reader.
func (c countedReader) Read(p []byte) (int, error) {
	n, err := c.x.in.Read(p)
	c.x.read += int64(n)
	return n, err
}

// ReadByte implements io.ByteReader.
func (c countedReader) ReadByte() (byte, error) {
	b, err := c.x.in.ReadByte()
	if err == nil {
		c.x.read++
	}
	return b, err
}
