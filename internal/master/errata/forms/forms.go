// Package forms reads what others wrote of advisories, as those of a platform: the files
// that can be imported, and the bodies that ALBS's clients send. It keeps nothing, and is
// for all faces of the master.
package forms

import (
	"io"
	"maps"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/advisory/csaf"
	"albs/internal/advisory/erratajson"
	"albs/internal/advisory/osv"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/platform"
	"albs/internal/repodata/intake"
)

// MaxFile bounds a file of advisories as it is sent; its reader bounds what it holds.
const MaxFile = 128 << 20

// reader reads the advisories in a file of a form, as those of a platform, and returns
// sentences on what had to be left out. An error is about the file as a whole.
type reader func(r io.Reader, p platform.Platform) ([]advisory.Advisory, []string, error)

// readers are the forms that can be imported, by name.
var readers = map[string]reader{"csaf": readCSAF, erratajson.Name: whole(erratajson.Read), "osv": whole(osv.Read), "updateinfo": whole(update.Read)}

// Names are the forms that Read reads, in order.
func Names() []string { return slices.Sorted(maps.Keys(readers)) }

// Check gives an Invalid error unless Read reads a form of that name.
func Check(name string) error {
	if _, ok := readers[name]; !ok {
		return albs.Errorf(albs.Invalid, "format %.40q is not one of %s", name, strings.Join(Names(), ", "))
	}
	return nil
}

// Read returns the advisories in a file of the form of that name, plain or compressed by
// gzip, zstd or xz, as those of a platform, and a sentence for each thing that had to be
// left out. The error is about the file as a whole: Invalid or TooLarge, or that of r.
func Read(r io.Reader, name string, p platform.Platform) ([]advisory.Advisory, []string, error) {
	if err := Check(name); err != nil {
		return nil, nil, err
	}
	open, done, err := intake.Decompress(r)
	if err != nil {
		return nil, nil, intake.Refused("the file", err)
	}
	defer done()
	return readers[name](open, p)
}

// whole reads a form in which all that there is is the platform's.
func whole(read func(io.Reader, string) ([]advisory.Advisory, []string, error)) reader {
	return func(r io.Reader, p platform.Platform) ([]advisory.Advisory, []string, error) { return read(r, p.Name) }
}

// readCSAF reads what a document says of the platform itself or of what it follows.
func readCSAF(r io.Reader, p platform.Platform) ([]advisory.Advisory, []string, error) {
	of := csaf.Platform{Name: p.Name, CPEs: slices.Clone(p.Errata.Upstream)}
	if p.Errata.CPE != "" {
		of.CPEs = append(of.CPEs, p.Errata.CPE)
	}
	return csaf.Read(r, of)
}
