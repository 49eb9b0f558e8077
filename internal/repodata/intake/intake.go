// Package intake reads what others wrote, within bounds: compressed bytes, whose
// decoders may not take the memory that they are asked for, and XML, in which nothing can
// be declared, expanded or fetched. It knows no format of repositories; it is apart from
// repodata so that every reader of such bytes has the same bounds.
package intake

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"albs/internal/albs"
)

const maxDecoderMemory = 128 << 20

// Decompress returns the plain bytes of r, which it recognizes by their first ones,
// and a function that releases what it holds: gzip, zstd and xz are undone, everything
// else is taken as it is. What is broken is an Invalid error of the reader; an error of
// r stays one that Refused tells from it. How much comes out is for the caller to bound.
func Decompress(r io.Reader) (io.Reader, func(), error) {
	src := &source{r: r}
	in := bufio.NewReaderSize(src, 64<<10)
	// An error shows again at the first read.
	magic, _ := in.Peek(6)
	var plain io.Reader
	var err error
	done := func() {}
	switch {
	case bytes.HasPrefix(magic, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(in)
	case bytes.HasPrefix(magic, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxDecoderMemory), zstd.WithDecoderLowmem(true)); err == nil {
			plain, done = z, z.Close
		}
	case bytes.HasPrefix(magic, []byte(xzMagic)):
		plain, err = newXZReader(in)
	default:
		return in, done, nil
	}
	if err != nil {
		return nil, nil, src.blame(err)
	}
	return &decompressed{r: plain, src: src}, done, nil
}

// source remembers the error of a reader, so that its failure can be told from that of
// the bytes it gave.
type source struct {
	r   io.Reader
	err error
}

// Read implements io.Reader.
func (s *source) Read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		s.err = fmt.Errorf("%w: %w", errSource, err)
		err = s.err
	}
	return n, err
}

// blame returns the source's error if it has one, else err as the bytes' fault.
func (s *source) blame(err error) error {
	if s.err != nil {
		return s.err
	}
	return albs.Errorf(albs.Invalid, "the compressed bytes are broken: %w", err)
}

// decompressed is a decompressor whose errors say whose fault they are.
type decompressed struct {
	r   io.Reader
	src *source
}

// Read implements io.Reader.
func (d *decompressed) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = d.src.blame(err)
	}
	return n, err
}

// Refused says that the bytes of what cannot be read, and why. An error of the
// source keeps its kind.
func Refused(what string, err error) error {
	switch k := albs.KindOf(err); {
	case k == albs.Internal && !errors.Is(err, errSource):
		return albs.Errorf(albs.Invalid, "%s cannot be read as rpm-md: %w", what, err)
	case k == albs.Internal:
		return fmt.Errorf("read %s: %w", what, err)
	default:
		return albs.Errorf(k, "%s: %w", what, err)
	}
}

// Short makes an end that comes too early an error.
func Short(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}

// Plain returns r as a reader whose failure Refused can tell from that of its bytes.
func Plain(r io.Reader) io.Reader { return &source{r: r} }
