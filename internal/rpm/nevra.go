package rpm

import (
	"strconv"
	"strings"

	"albs/internal/albs"

	version "github.com/knqyf263/go-rpm-version"
)

// maxFilename is what every file system of a mirror can hold.
const maxFilename = 255

// NEVRA names a package: name, epoch, version, release, arch. Arch is "src" for
// a source package.
type NEVRA struct {
	Name    string `json:"name"`
	Epoch   int    `json:"epoch"`
	Version string `json:"version"`
	Release string `json:"release"`
	Arch    string `json:"arch"`
}

// EVR is the ordered part of a NEVRA.
type EVR struct {
	Epoch   int    `json:"epoch"`
	Version string `json:"version"`
	Release string `json:"release"`
}

// String returns name-[epoch:]version-release.arch, the epoch only if not 0.
func (n NEVRA) String() string { return n.Name + "-" + n.EVR().String() + "." + n.Arch }

// EVR returns the ordered part.
func (n NEVRA) EVR() EVR { return EVR{n.Epoch, n.Version, n.Release} }

// Filename returns name-version-release.arch.rpm, which has no epoch. It is safe
// as one element of a path and as an argument if n is Valid.
func (n NEVRA) Filename() string {
	return n.Name + "-" + n.Version + "-" + n.Release + "." + n.Arch + ".rpm"
}

// Valid reports whether n keeps to rpmbuild's own grammar (the ALLOWED_CHARS
// lists of its parsePreamble.c, without macro signs): names of letters, digits
// and ._+- that begin with a letter, digit or underscore; versions and releases
// of letters, digits and ._+~^. Such a name can't be read as an option, a path or
// a piece of shell.
func (n NEVRA) Valid() bool { return n.fault() == "" }

// fault names the first part of n that breaks the grammar, or "".
func (n NEVRA) fault() string {
	switch {
	case !word(n.Name, "._+-") || strings.IndexByte("._+-", n.Name[0]) >= 0 && n.Name[0] != '_':
		return "name"
	case n.Epoch < 0 || n.Epoch > maxEpoch:
		return "epoch"
	case !word(n.Version, "._+~^"):
		return "version"
	case !word(n.Release, "._+~^"):
		return "release"
	case !word(n.Arch, "_") || len(n.Arch) > 32:
		return "arch"
	case len(n.Filename()) > maxFilename:
		return "length"
	}
	return ""
}

// word reports whether s is a non-empty run of ASCII letters, digits and extra.
func word(s, extra string) bool {
	for _, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
		if !letter && strings.IndexByte(extra, c) < 0 {
			return false
		}
	}
	return s != ""
}

// ParseNEVRA reads what NEVRA.String writes; an epoch of 0 may be written out. It
// returns an Invalid error for anything that isn't Valid.
func ParseNEVRA(s string) (NEVRA, error) {
	dot := strings.LastIndexByte(s, '.')
	if dot < 0 {
		return NEVRA{}, albs.Errorf(albs.Invalid, "%.80q is not name-[epoch:]version-release.arch", s)
	}
	n := NEVRA{Arch: s[dot+1:]}
	rel := strings.LastIndexByte(s[:dot], '-')
	ver := strings.LastIndexByte(s[:max(rel, 0)], '-')
	if ver < 0 {
		return NEVRA{}, albs.Errorf(albs.Invalid, "%.80q is not name-[epoch:]version-release.arch", s)
	}
	evr, err := ParseEVR(s[ver+1 : dot])
	if err != nil {
		return NEVRA{}, err
	}
	n.Name, n.Epoch, n.Version, n.Release = s[:ver], evr.Epoch, evr.Version, evr.Release
	if f := n.fault(); f != "" {
		return NEVRA{}, albs.Errorf(albs.Invalid, "the %s of package %.80q breaks rpm's grammar", f, s)
	}
	return n, nil
}

const maxEpoch = 1<<31 - 1

// String returns [epoch:]version[-release], the epoch only if not 0.
func (e EVR) String() string {
	s := e.Version
	if e.Epoch != 0 {
		s = strconv.Itoa(e.Epoch) + ":" + s
	}
	if e.Release != "" {
		s += "-" + e.Release
	}
	return s
}

// ParseEVR takes [epoch:]version[-release] apart as rpm's parseEVR does: the
// epoch is what digits stand before a colon, the release what follows the last
// dash. It checks no grammar; its one error is Invalid, for an epoch beyond
// 2³¹-1.
func ParseEVR(s string) (EVR, error) {
	var e EVR
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if strings.HasPrefix(s[digits:], ":") {
		if digits > 0 {
			n, err := strconv.ParseInt(s[:digits], 10, 32)
			if err != nil {
				return EVR{}, albs.Errorf(albs.Invalid, "the epoch of %.80q is too large", s)
			}
			e.Epoch = int(n)
		}
		s = s[digits+1:]
	}
	e.Version = s
	if i := strings.LastIndexByte(s, '-'); i >= 0 {
		e.Version, e.Release = s[:i], s[i+1:]
	}
	return e, nil
}

// Compare returns -1, 0 or 1 as a is older than, as old as or newer than b, by
// rpm's own order (rpmvercmp, with ~ before and ^ after the bare version).
func Compare(a, b EVR) int {
	if a.Epoch != b.Epoch {
		if a.Epoch < b.Epoch {
			return -1
		}
		return 1
	}
	if c := compareSegments(a.Version, b.Version); c != 0 {
		return c
	}
	return compareSegments(a.Release, b.Release)
}

// dashes makes a segment separator out of the dash that the library would split
// at; to rpmvercmp all separators are alike.
var dashes = strings.NewReplacer("-", ".")

func compareSegments(a, b string) int {
	if a == b {
		return 0
	}
	// "0:" keeps the library from taking a colon in the text for an epoch's.
	return version.NewVersion("0:" + dashes.Replace(a)).Compare(version.NewVersion("0:" + dashes.Replace(b)))
}
