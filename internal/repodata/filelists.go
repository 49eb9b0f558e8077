package repodata

import (
	"io"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
	"albs/internal/rpm"
)

const (
	maxFilelistsBytes = 8 << 30 // all of a filelists, uncompressed
	maxListedFiles    = 1 << 28 // paths in it
)

// ListedFile is one path of a package as a repository's filelists lists it.
type ListedFile struct {
	// Package is the sha256 of the package's file; it is empty where the repository gives
	// another kind of checksum. NEVRA is its name.
	Package albs.Digest
	NEVRA   rpm.NEVRA
	Path    string
	// Dir says that it is a folder, Ghost that it is only named.
	Dir, Ghost bool
}

// ReadFilelists calls yield for each path of each package of a filelists.xml, plain or
// compressed by gzip, zstd or xz, while it reads; the paths of one package come together.
// It ends with the first error of yield, which it returns as it is. It gives Invalid for
// what is not a filelists, is cut off or has a document type declaration, and TooLarge
// beyond its bounds: 8 GiB uncompressed, 1,048,576 packages, 268,435,456 paths, 1 MiB a
// value.
func ReadFilelists(r io.Reader, yield func(ListedFile) error) error {
	return read(r, "filelists", yield, readFilelists)
}

func readFilelists(r io.Reader, yield func(ListedFile) error) error {
	s := intake.NewScanner(r, maxFilelistsBytes, maxPackageBytes)
	if err := s.Root("filelists"); err != nil {
		return err
	}
	var f ListedFile
	for packages, files := 0, 0; ; {
		ev, err := s.Next()
		if err != nil {
			return err
		}
		switch {
		case ev == intake.End && s.Depth == 0:
			return s.Finish()
		case ev == intake.Start && s.Depth == 2 && s.Name == "package":
			s.Refill()
			if packages++; packages > maxPackages {
				return albs.Errorf(albs.TooLarge, "more than %d packages", maxPackages)
			}
			f = ListedFile{NEVRA: rpm.NEVRA{Name: s.Attr("name"), Arch: s.Attr("arch")}}
			if d := albs.Digest(s.Attr("pkgid")); d.Valid() {
				f.Package = d
			}
		case ev == intake.Start && s.Depth == 3 && s.Name == "version":
			f.NEVRA.Version, f.NEVRA.Release = s.Attr("ver"), s.Attr("rel")
			f.NEVRA.Epoch = 0
			if e := s.Attr("epoch"); e != "" {
				n, err := strconv.ParseUint(e, 10, 31)
				if err != nil {
					return err
				}
				f.NEVRA.Epoch = int(n)
			}
		case ev == intake.Start && s.Depth == 3 && s.Name == "file":
			s.Refill() // a package may have very many
			kind := s.Attr("type")
			f.Dir, f.Ghost = kind == "dir", strings.Contains(kind, "ghost")
		case ev == intake.End && s.Depth == 2 && s.Name == "file":
			if files++; files > maxListedFiles {
				return albs.Errorf(albs.TooLarge, "more than %d paths", maxListedFiles)
			}
			f.Path = s.Text()
			if err := yield(f); err != nil {
				return err
			}
		}
	}
}
