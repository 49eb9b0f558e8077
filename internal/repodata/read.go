package repodata

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"albs/internal/albs"
	"albs/internal/rpm"
)

const (
	maxPrimaryBytes  = 2 << 30  // all of a primary, uncompressed
	maxPackageBytes  = 16 << 20 // one package of it
	maxCapabilities  = 1 << 17  // provides of one package
	maxDecoderMemory = 128 << 20
)

// Listed is one package as another repository's primary lists it.
type Listed struct {
	// NEVRA is the package's; a source package has arch src or nosrc.
	NEVRA rpm.NEVRA
	// Path is the package's path below the repository, clean and safe.
	Path string
	// Digest is the sha256 of the file; it is empty where the repository gives
	// another kind of checksum.
	Digest albs.Digest
	// Size is the file's, in bytes.
	Size int64
	// SourceRPM is the file name of the source package; a source package has none.
	SourceRPM string
	// Provides are the package's capabilities.
	Provides []Capability
}

// Capability is a name that a package provides and, where it has one, its version.
type Capability struct {
	Name string
	// Flags is "EQ" or, rarely, "LT", "LE", "GE" or "GT"; empty means no version.
	Flags                   string
	Epoch, Version, Release string
}

// ReadPrimary calls yield for each package of a primary.xml, plain or compressed by
// gzip, zstd or xz, while it reads. It ends with the first error of yield, which it
// returns as it is. It gives Invalid for what is not a primary, is cut off, has a
// document type declaration or lists a package without name, version, checksum or safe
// path, and TooLarge beyond its bounds: 2 GiB and 1,048,576 packages uncompressed, 16
// MiB a package, 1 MiB a value.
func ReadPrimary(r io.Reader, yield func(Listed) error) error {
	plain, done, err := decompress(r)
	if err != nil {
		return refused("primary", err)
	}
	defer done()
	var stop error
	err = readPrimary(plain, func(l Listed) error {
		stop = yield(l)
		return stop
	})
	switch {
	case stop != nil:
		return stop
	case err != nil:
		return refused("primary", err)
	}
	return nil
}

func readPrimary(r io.Reader, yield func(Listed) error) error {
	s := newScanner(r, maxPrimaryBytes, maxPackageBytes)
	if err := s.root("metadata"); err != nil {
		return err
	}
	var l listing
	for n := 0; ; {
		ev, err := s.next()
		if err != nil {
			return err
		}
		switch {
		case ev == end && s.depth == 0:
			return s.finish()
		case ev == start && s.depth == 2:
			s.refill()
			l = listing{rpm: s.name == "package" && s.attr("type") == "rpm"}
		case !l.rpm:
		case ev == start:
			err = l.begin(s)
		case s.depth == 1:
			if n++; n > maxPackages {
				return albs.Errorf(albs.TooLarge, "more than %d packages", maxPackages)
			}
			if err = l.check(); err == nil {
				err = yield(l.Listed)
			}
			l.rpm = false
		default:
			err = l.end(s)
		}
		if err != nil {
			return err
		}
	}
}

// listing is a package while it is read.
type listing struct {
	Listed
	rpm      bool // in a package element of type rpm
	checked  bool // a checksum was there
	provides bool // in rpm:provides
}

// begin takes over the attributes of an element within a package.
func (l *listing) begin(s *scanner) (err error) {
	switch {
	case s.depth == 3 && s.name == "version":
		l.NEVRA.Version, l.NEVRA.Release = s.attr("ver"), s.attr("rel")
		if e := s.attr("epoch"); e != "" {
			var n uint64
			n, err = strconv.ParseUint(e, 10, 31)
			l.NEVRA.Epoch = int(n)
		}
	case s.depth == 3 && s.name == "size":
		l.Size, err = parseCount(s.attr("package"))
	case s.depth == 3 && s.name == "location":
		if s.attr("base") != "" {
			return fmt.Errorf("package %.80q lies at another address than its repository", l.NEVRA.Name)
		}
		// Some writers begin every path with "./".
		if l.Path = path.Clean(s.attr("href")); !safePath(l.Path) {
			return fmt.Errorf("package %.80q lies at %.80q, which is not a safe path", l.NEVRA.Name, s.attr("href"))
		}
	case s.depth == 4 && s.name == "provides":
		l.provides = true
	case s.depth == 5 && s.name == "entry" && l.provides:
		if len(l.Provides) == maxCapabilities {
			return albs.Errorf(albs.TooLarge, "package %.80q provides more than %d capabilities", l.NEVRA.Name, maxCapabilities)
		}
		l.Provides = append(l.Provides, Capability{
			Name: s.attr("name"), Flags: s.attr("flags"), Epoch: s.attr("epoch"), Version: s.attr("ver"), Release: s.attr("rel"),
		})
	}
	return err
}

// end takes over the text of an element within a package that has just ended.
func (l *listing) end(s *scanner) (err error) {
	switch {
	case s.depth == 2 && s.name == "name":
		l.NEVRA.Name = strings.TrimSpace(s.text())
	case s.depth == 2 && s.name == "arch":
		l.NEVRA.Arch = strings.TrimSpace(s.text())
	case s.depth == 2 && s.name == "checksum":
		l.checked = true
		l.Digest, err = sha256Of(s.attr("type"), strings.TrimSpace(s.text()))
	case s.depth == 3 && s.name == "sourcerpm":
		l.SourceRPM = strings.TrimSpace(s.text())
	case s.depth == 3 && s.name == "provides":
		l.provides = false
	}
	return err
}

// check refuses a package that lacks what names it.
func (l *listing) check() error {
	n := l.NEVRA
	if n.Name == "" || n.Version == "" || n.Release == "" || n.Arch == "" || l.Path == "" || !l.checked {
		return fmt.Errorf("a package at %.80q lacks its name, version, release, arch, checksum or location", l.Path)
	}
	return nil
}

// decompress returns the plain bytes of r, which it recognizes by their first ones,
// and a function that releases what it holds.
func decompress(r io.Reader) (io.Reader, func(), error) {
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
