package source

import (
	"net/url"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
)

// Algorithm names a digest kind by which a look-aside cache is addressed.
type Algorithm string

// The digest kinds that look-aside lines may use. MD5 is known only to be refused.
const (
	MD5    Algorithm = "md5"
	SHA1   Algorithm = "sha1"
	SHA256 Algorithm = "sha256"
	SHA512 Algorithm = "sha512"
)

var hexLength = map[int]Algorithm{32: MD5, 40: SHA1, 64: SHA256, 128: SHA512}

// Lookaside is one line of a metadata file: a file that is not in git, and the
// digest that it must have.
type Lookaside struct {
	Algorithm Algorithm
	Hex       string // lower case
	Name      string // base name: where the file lies under SOURCES
}

// Layout is what the file names of a commit say: where its spec file is and which
// file lists the look-aside sources.
type Layout struct {
	Package  string // base name of the spec file without .spec
	Spec     string // path of the spec file
	Metadata string // path of the look-aside list, "" if there is none
}

// Bounds of a source: more is an error, never a truncation.
const (
	maxMetadata  = 1 << 20
	maxLookaside = 10000
)

// FindLayout picks the layout out of a commit's file paths. It knows two:
// AlmaLinux's and CentOS's (SPECS/NAME.spec, SOURCES/, .NAME.metadata) and
// Fedora's (NAME.spec and sources at the root). Not exactly one spec file is
// Invalid.
func FindLayout(paths []string) (Layout, error) {
	byPath := make(map[string]bool, len(paths))
	var root, specs []string
	for _, p := range paths {
		byPath[p] = true
		if !strings.HasSuffix(p, ".spec") {
			continue
		}
		switch path.Dir(p) {
		case ".":
			root = append(root, p)
		case "SPECS":
			specs = append(specs, p)
		}
	}
	found := specs
	if len(found) == 0 {
		found = root
	}
	slices.Sort(found)
	switch len(found) {
	case 0:
		return Layout{}, albs.Errorf(albs.Invalid, "the commit has no spec file, neither SPECS/*.spec nor *.spec at the root")
	case 1:
	default:
		return Layout{}, albs.Errorf(albs.Invalid, "the commit has %d spec files (%s), a package has one", len(found), strings.Join(found[:min(len(found), 5)], ", "))
	}
	l := Layout{Spec: found[0], Package: strings.TrimSuffix(path.Base(found[0]), ".spec")}
	if err := artifact.CheckName(l.Package); err != nil {
		return Layout{}, err
	}
	for _, m := range []string{"." + l.Package + ".metadata", "sources"} {
		if byPath[m] {
			l.Metadata = m
			break
		}
	}
	return l, nil
}

// ParseLookaside reads a look-aside list: lines "HEX PATH" (AlmaLinux, CentOS and
// old Fedora) or "SHA512 (NAME) = HEX" (Fedora). The digest kind of the first
// form is told by its length. Every line must be well-formed: a wrong digest, a
// path that leaves SOURCES, md5 or a name given twice is Invalid and names file
// and line.
func ParseLookaside(file string, b []byte) ([]Lookaside, error) {
	if len(b) > maxMetadata {
		return nil, albs.Errorf(albs.TooLarge, "%s has %d bytes, at most %d are read", file, len(b), maxMetadata)
	}
	var out []Lookaside
	seen := map[string]bool{}
	for i, line := range strings.Split(string(b), "\n") {
		if strings.TrimSpace(line) == "" {
			continue
		}
		l, err := parseLine(strings.TrimRight(line, "\r"))
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "%s line %d: %w", file, i+1, err)
		}
		if seen[l.Name] {
			return nil, albs.Errorf(albs.Invalid, "%s line %d: %q is listed twice", file, i+1, l.Name)
		}
		seen[l.Name] = true
		if out = append(out, l); len(out) > maxLookaside {
			return nil, albs.Errorf(albs.TooLarge, "%s lists more than %d files", file, maxLookaside)
		}
	}
	return out, nil
}

func parseLine(line string) (Lookaside, error) {
	var l Lookaside
	var where string
	if kind, rest, ok := strings.Cut(line, " ("); ok && !strings.Contains(kind, " ") {
		name, hex, ok := strings.Cut(rest, ") = ")
		if !ok {
			return l, albs.Errorf(albs.Invalid, "%.80q is not of the form KIND (NAME) = HEX", line)
		}
		l.Algorithm, l.Hex, where = Algorithm(strings.ToLower(kind)), strings.TrimSpace(hex), name
	} else {
		hex, rest, ok := strings.Cut(strings.TrimLeft(line, " \t"), " ")
		if !ok {
			return l, albs.Errorf(albs.Invalid, "%.80q is not of the form HEX PATH", line)
		}
		l.Hex, where = hex, strings.TrimLeft(rest, " *\t")
		l.Algorithm = hexLength[len(hex)]
	}
	if !isHex(l.Hex) || l.Algorithm == "" || hexLength[len(l.Hex)] != l.Algorithm {
		return l, albs.Errorf(albs.Invalid, "%.140q is not a digest in lower-case hex (sha1, sha256 or sha512)", l.Hex)
	}
	if l.Algorithm == MD5 {
		return l, albs.Errorf(albs.Invalid, "md5 proves nothing any more: list the file by sha256 or sha512")
	}
	dir, name := path.Split(where)
	if dir != "" && dir != "SOURCES/" {
		return l, albs.Errorf(albs.Invalid, "%.120q is not directly under SOURCES", where)
	}
	if err := artifact.CheckName(name); err != nil {
		return l, err
	}
	l.Name = name
	return l, nil
}

func isHex(s string) bool {
	for _, c := range []byte(s) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return s != ""
}

// URLs fills a platform's look-aside patterns for one file of a package:
// {name} the package, {file}, {hashtype} and {hash}.
func (l Lookaside) URLs(pkg string, patterns []string) []string {
	r := strings.NewReplacer("{name}", url.PathEscape(pkg), "{file}", url.PathEscape(l.Name), "{hashtype}", string(l.Algorithm), "{hash}", l.Hex)
	out := make([]string, len(patterns))
	for i, p := range patterns {
		out[i] = r.Replace(p)
	}
	return out
}
