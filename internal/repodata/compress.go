package repodata

import (
	"bytes"
	"fmt"
	"io"
	"sync"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"albs/internal/albs"
)

// Compression is how primary, filelists and other are compressed. Empty stands for Gzip.
type Compression string

// The compressions.
const (
	// Gzip is what every reader of rpm-md reads.
	Gzip Compression = "gzip"
	// Zstd takes less room and time. dnf reads it from EL 8.4 and Fedora 30 on, and
	// createrepo_c from 0.21 on; yum doesn't.
	Zstd Compression = "zstd"
)

// Compressions are all of them.
var Compressions = []Compression{Gzip, Zstd}

// Or returns the compression, or other if there is none; Gzip is the last resort.
func (c Compression) Or(other Compression) Compression {
	for _, c := range []Compression{c, other} {
		if c != "" {
			return c
		}
	}
	return Gzip
}

// suffix returns how the names of its files end.
func (c Compression) suffix() string {
	if c == Zstd {
		return ".zst"
	}
	return ".gz"
}

// gzipLevel is gzip's usual one; more costs much time for little. Of zstd's levels the
// same goes for the default.
const gzipLevel = 6

// compressor makes the pieces of which metadata files consist: members of gzip (RFC 1952
// §2.2) or frames of zstd (RFC 8878 §3), which readers take one after the other for one
// file. It keeps its encoders, which are large, for the next, and is safe for concurrent
// use. A piece has no name and no time, so equal bytes give equal pieces.
type compressor struct {
	by       Compression
	encoders sync.Pool // of zstd
}

// piece returns b compressed.
func (c *compressor) piece(b []byte) ([]byte, error) {
	if c.by == Zstd {
		w, ok := c.encoders.Get().(*zstd.Encoder)
		if !ok {
			var err error
			if w, err = zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1)); err != nil {
				return nil, fmt.Errorf("compress metadata: %w", err)
			}
		}
		defer c.encoders.Put(w)
		return w.EncodeAll(b, nil), nil
	}
	return Member(b), nil
}

// members are writers of Member's, which are large and kept for the next.
var members = sync.Pool{New: func() any {
	w, err := gzip.NewWriterLevel(nil, gzipLevel)
	if err != nil {
		panic(err) // the level is one
	}
	return w
}}

// Member returns b compressed, as one member of gzip (RFC 1952 §2.2) without name or time:
// equal bytes give equal members. Members one after the other are a file of gzip, which
// readers take for what all of them hold; so of a file that is made of members those that
// stay the same are copied. It may be called concurrently.
func Member(b []byte) []byte {
	var out bytes.Buffer
	w := members.Get().(*gzip.Writer)
	defer members.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b) // to a buffer, which takes everything
	_ = w.Close()
	return out.Bytes()
}

// unpack fills part with what a piece, of which r is all, holds. It fails unless that is
// just as much.
func (c Compression) unpack(r io.Reader, part []byte) error {
	if c == Zstd {
		z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxRawBytes))
		if err != nil {
			return err
		}
		defer z.Close()
		return readExactly(z, part)
	}
	z, err := gzip.NewReader(r)
	if err != nil {
		return err
	}
	return readExactly(z, part)
}

// Check gives an Invalid error unless c is one of Compressions, or empty.
func (c Compression) Check() error {
	if c != "" && c != Gzip && c != Zstd {
		return albs.Errorf(albs.Invalid, "metadata is compressed by %s or %s, and not by %.40q", Gzip, Zstd, string(c))
	}
	return nil
}
