// Package rpmdb reads what the host's rpm says of the packages in a root. It is pure: it
// has the formats to ask rpm for and the meaning of the answers, and knows nothing of how
// rpm is run. Scriptlets may have written the database: any bytes may be an answer, and
// who asks bounds how many.
package rpmdb

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
)

// Formats of an rpm query.
const (
	// Installed is a package a line, for Packages.
	Installed = `%{NAME}\t%{EPOCHNUM}\t%{VERSION}\t%{RELEASE}\t%{ARCH}\t%{SHA256HEADER}\t` +
		`%|DSAHEADER?{%{DSAHEADER:pgpsig}}:{%|RSAHEADER?{%{RSAHEADER:pgpsig}}:{(none)}|}|\n`
	// Provides is a provided name a line, for Names.
	Provides = `[%{PROVIDENAME}\n]`
)

// Package is one installed package.
type Package struct {
	Name    string      `json:"name"`
	Epoch   int         `json:"epoch,omitempty"`
	Version string      `json:"version"`
	Release string      `json:"release"`
	Arch    string      `json:"arch"`
	Header  albs.Digest `json:"header_sha256,omitempty"` // of the main header, as rpm's own tag has it
	File    albs.Digest `json:"sha256,omitempty"`        // of the package file that dnf installed
	// KeyID is of the key that signed the header, 16 lower-case hex digits, as rpm keeps it;
	// "" if it isn't signed. What verified it is dnf, where it was asked to. No record has it.
	KeyID string `json:"-"`
}

// NEVRA returns the package's name as rpm prints it: the epoch only if it isn't 0.
func (p Package) NEVRA() string {
	epoch := ""
	if p.Epoch != 0 {
		epoch = strconv.Itoa(p.Epoch) + ":"
	}
	return p.Name + "-" + epoch + p.Version + "-" + p.Release + "." + p.Arch
}

// keyID finds the key in rpm's words of a signature (formats.c, pgpsig).
var keyID = regexp.MustCompile(`, Key ID ([0-9a-f]{16})$`)

// Packages reads the answer to Installed: the packages, sorted. files are the digests of
// package files by their names; a package whose file is none of them has no File.
func Packages(out string, files map[string]albs.Digest) ([]Package, error) {
	var pkgs []Package
	for line := range strings.Lines(out) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 7 || f[0] == "gpg-pubkey" {
			continue
		}
		epoch, err := strconv.Atoi(f[1])
		if err != nil {
			return nil, fmt.Errorf("list the root's packages: epoch %q of %s", f[1], f[0])
		}
		pkg := Package{Name: f[0], Epoch: epoch, Version: f[2], Release: f[3], Arch: f[4]}
		if d := albs.Digest(f[5]); d.Valid() {
			pkg.Header = d
		}
		if id := keyID.FindStringSubmatch(f[6]); id != nil {
			pkg.KeyID = id[1]
		}
		pkg.File = files[pkg.Name+"-"+pkg.Version+"-"+pkg.Release+"."+pkg.Arch+".rpm"]
		pkgs = append(pkgs, pkg)
	}
	slices.SortFunc(pkgs, func(a, b Package) int { return cmp.Compare(a.NEVRA(), b.NEVRA()) })
	return pkgs, nil
}

// Names reads the answer to Provides: the names, sorted, each once.
func Names(out string) []string {
	names := strings.Split(strings.TrimSpace(out), "\n")
	slices.Sort(names)
	return slices.Compact(names)
}
