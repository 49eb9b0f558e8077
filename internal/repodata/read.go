package repodata

import (
	"fmt"
	"io"
	"path"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
	"albs/internal/rpm"
	"albs/internal/rpm/depend"
)

const (
	maxPrimaryBytes = 2 << 30  // all of a primary, uncompressed
	maxPackageBytes = 16 << 20 // one package of it
	maxCapabilities = 1 << 17  // provides of one package, its requirements, its files
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
	// Provides are the package's capabilities, Requires those that it needs of others.
	Provides, Requires []Capability
	// Files are those of its paths that primary lists: programs, what lies below /etc.
	Files []string
}

// Capability is a name that a package provides or requires and, where it has one, its
// version.
type Capability struct {
	Name string
	// Flags is "EQ", "LT", "LE", "GE" or "GT"; empty means no version.
	Flags                   string
	Epoch, Version, Release string
}

// operators are the comparisons of metadata in rpm's bits.
var operators = map[string]uint8{"EQ": rpm.Equal, "LT": rpm.Less, "GT": rpm.Greater, "LE": rpm.Less | rpm.Equal, "GE": rpm.Greater | rpm.Equal}

// Depend returns what metadata lists as the rule of dependencies takes it. An epoch that
// is no number is none.
func (c Capability) Depend() depend.Capability {
	epoch, _ := strconv.Atoi(c.Epoch)
	return depend.Capability{Name: c.Name, Op: operators[c.Flags], EVR: rpm.EVR{Epoch: epoch, Version: c.Version, Release: c.Release}}
}

// ReadPrimary calls yield for each package of a primary.xml, plain or compressed by
// gzip, zstd or xz, while it reads. It ends with the first error of yield, which it
// returns as it is. It gives Invalid for what is not a primary, is cut off, has a
// document type declaration or lists a package without name, version, checksum or safe
// path, and TooLarge beyond its bounds: 2 GiB and 1,048,576 packages uncompressed, 16
// MiB a package, 1 MiB a value.
func ReadPrimary(r io.Reader, yield func(Listed) error) error {
	return read(r, "primary", yield, readPrimary)
}

// read has plain read what r holds uncompressed, and tells the first error of yield, which
// ends it, from those of the file, which is what.
func read[T any](r io.Reader, what string, yield func(T) error, plain func(io.Reader, func(T) error) error) error {
	in, done, err := intake.Decompress(r)
	if err != nil {
		return intake.Refused(what, err)
	}
	defer done()
	var stop error
	err = plain(in, func(v T) error {
		stop = yield(v)
		return stop
	})
	switch {
	case stop != nil:
		return stop
	case err != nil:
		return intake.Refused(what, err)
	}
	return nil
}

func readPrimary(r io.Reader, yield func(Listed) error) error {
	s := intake.NewScanner(r, maxPrimaryBytes, maxPackageBytes)
	if err := s.Root("metadata"); err != nil {
		return err
	}
	var l listing
	for n := 0; ; {
		ev, err := s.Next()
		if err != nil {
			return err
		}
		switch {
		case ev == intake.End && s.Depth == 0:
			return s.Finish()
		case ev == intake.Start && s.Depth == 2:
			s.Refill()
			l = listing{rpm: s.Name == "package" && s.Attr("type") == "rpm"}
		case !l.rpm:
		case ev == intake.Start:
			err = l.begin(s)
		case s.Depth == 1:
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
	rpm     bool          // in a package element of type rpm
	checked bool          // a checksum was there
	list    *[]Capability // that of the element rpm:provides or rpm:requires it is in
}

// begin takes over the attributes of an element within a package.
func (l *listing) begin(s *intake.Scanner) (err error) {
	switch {
	case s.Depth == 3 && s.Name == "version":
		l.NEVRA.Version, l.NEVRA.Release = s.Attr("ver"), s.Attr("rel")
		if e := s.Attr("epoch"); e != "" {
			var n uint64
			n, err = strconv.ParseUint(e, 10, 31)
			l.NEVRA.Epoch = int(n)
		}
	case s.Depth == 3 && s.Name == "size":
		l.Size, err = parseCount(s.Attr("package"))
	case s.Depth == 3 && s.Name == "location":
		if s.Attr("base") != "" {
			return fmt.Errorf("package %.80q lies at another address than its repository", l.NEVRA.Name)
		}
		// Some writers begin every path with "./".
		if l.Path = path.Clean(s.Attr("href")); !safePath(l.Path) {
			return fmt.Errorf("package %.80q lies at %.80q, which is not a safe path", l.NEVRA.Name, s.Attr("href"))
		}
	case s.Depth == 4 && s.Name == "provides":
		l.list = &l.Provides
	case s.Depth == 4 && s.Name == "requires":
		l.list = &l.Requires
	case s.Depth == 5 && s.Name == "entry" && l.list != nil:
		if len(*l.list) == maxCapabilities {
			return albs.Errorf(albs.TooLarge, "package %.80q provides or requires more than %d capabilities", l.NEVRA.Name, maxCapabilities)
		}
		*l.list = append(*l.list, Capability{
			Name: s.Attr("name"), Flags: s.Attr("flags"), Epoch: s.Attr("epoch"), Version: s.Attr("ver"), Release: s.Attr("rel"),
		})
	}
	return err
}

// end takes over the text of an element within a package that has just ended.
func (l *listing) end(s *intake.Scanner) (err error) {
	switch {
	case s.Depth == 2 && s.Name == "name":
		l.NEVRA.Name = strings.TrimSpace(s.Text())
	case s.Depth == 2 && s.Name == "arch":
		l.NEVRA.Arch = strings.TrimSpace(s.Text())
	case s.Depth == 2 && s.Name == "checksum":
		l.checked = true
		l.Digest, err = sha256Of(s.Attr("type"), strings.TrimSpace(s.Text()))
	case s.Depth == 3 && s.Name == "sourcerpm":
		l.SourceRPM = strings.TrimSpace(s.Text())
	case s.Depth == 3 && (s.Name == "provides" || s.Name == "requires"):
		l.list = nil
	case s.Depth == 3 && s.Name == "file":
		if len(l.Files) == maxCapabilities {
			return albs.Errorf(albs.TooLarge, "package %.80q lists more than %d files", l.NEVRA.Name, maxCapabilities)
		}
		l.Files = append(l.Files, s.Text())
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
