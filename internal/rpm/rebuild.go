package rpm

import (
	"bytes"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"unicode"

	"albs/internal/albs"
)

// Match says how much alike two builds of one package are.
type Match string

// The matches, the best first.
const (
	// BitIdentical: the files are equal but for what signatures add.
	BitIdentical Match = "bit-identical"
	// PayloadIdentical: what is installed is equal, and so are scripts and dependencies;
	// where, when or with which options rpmbuild ran is not.
	PayloadIdentical Match = "payload-identical"
	// Different: neither.
	Different Match = "differs"
)

// Comparison is what CompareBuilds found.
type Comparison struct {
	Match Match
	// Differing names what differs and matters, the files first, each line once and at most
	// maxDifferences of them; the last says how many more there are.
	Differing []string
	// Ignored names the tags that differ and don't matter.
	Ignored []string
}

// ignorable are the tags that tell where, when and how rpmbuild ran, and which source
// package it wrote on the way: nothing of what is installed.
var ignorable = map[uint32]bool{tagBuildTime: true, tagBuildHost: true, tagCookie: true, tagOptFlags: true, tagFileInodes: true, tagFileDevices: true, tagSourceID: true}

// told are the tags that are looked at in another way: those of each file, and those that
// say how the payload is packed, which what is in it has to agree on.
var told = map[uint32]bool{
	tagMainRegion: true, tagPayloadDigest: true, tagPayloadAlg: true, tagPayloadPlain: true, tagArchiveSize: true,
	tagPayloadFormat: true, tagPayloadCompressor: true, tagPayloadFlags: true,
	tagDirIndexes: true, tagBaseNames: true, tagDirNames: true,
	tagFileModes: true, tagFileDigests: true, tagFileLinks: true, tagFileFlags: true, tagFileUsers: true, tagFileGroups: true, tagFileTimes: true,
	tagFileSizes: true, tagLongFileSizes: true, tagSize: true, tagLongSize: true,
}

// tagNames are rpm's own words for tags that may differ from build to build.
var tagNames = map[uint32]string{
	tagName: "NAME", tagVersion: "VERSION", tagRelease: "RELEASE", tagEpoch: "EPOCH", tagSummary: "SUMMARY", tagDescription: "DESCRIPTION",
	tagBuildTime: "BUILDTIME", tagBuildHost: "BUILDHOST", tagCookie: "COOKIE", tagOptFlags: "OPTFLAGS", tagFileInodes: "FILEINODES", tagFileDevices: "FILEDEVICES",
	tagVendor: "VENDOR", tagLicense: "LICENSE", tagPackager: "PACKAGER", tagGroup: "GROUP", tagURL: "URL", tagArch: "ARCH", 1021: "OS",
	1033: "FILERDEVS", 1045: "FILEVERIFYFLAGS", tagFileDigestAlg: "FILEDIGESTALGO", 5010: "FILECAPS", 1097: "FILELANGS",
	1140: "FILECOLORS", 1141: "FILECLASS", 1142: "CLASSDICT", 1143: "FILEDEPENDSX", 1144: "FILEDEPENDSN", 1145: "DEPENDSDICT",
	tagSourceRPM: "SOURCERPM", tagSourceID: "SOURCEPKGID", 1064: "RPMVERSION", 1132: "PLATFORM", 1131: "RHNPLATFORM", 1123: "DISTURL", 1010: "DISTRIBUTION",
	tagExcludeArch: "EXCLUDEARCH", tagExclusiveArch: "EXCLUSIVEARCH", tagModularity: "MODULARITYLABEL", 5062: "ENCODING",
	tagChangeTime: "CHANGELOGTIME", tagChangeName: "CHANGELOGNAME", tagChangeText: "CHANGELOGTEXT",
	tagPreIn: "PREIN", tagPostIn: "POSTIN", tagPreUn: "PREUN", tagPostUn: "POSTUN", tagPreTrans: "PRETRANS", tagPostTrans: "POSTTRANS",
	tagPreInProg: "PREINPROG", tagPostInProg: "POSTINPROG", tagPreUnProg: "PREUNPROG", tagPostUnProg: "POSTUNPROG",
	tagTriggerScripts: "TRIGGERSCRIPTS", tagTriggerNames: "TRIGGERNAME", tagFileTriggerScripts: "FILETRIGGERSCRIPTS",
	1047: "PROVIDENAME", 1113: "PROVIDEVERSION", 1112: "PROVIDEFLAGS", 1049: "REQUIRENAME", 1050: "REQUIREVERSION", 1048: "REQUIREFLAGS",
	1054: "CONFLICTNAME", 1055: "CONFLICTVERSION", 1053: "CONFLICTFLAGS", 1090: "OBSOLETENAME", 1115: "OBSOLETEVERSION", 1114: "OBSOLETEFLAGS",
	5046: "RECOMMENDNAME", 5049: "SUGGESTNAME", 5052: "SUPPLEMENTNAME", 5055: "ENHANCENAME",
}

func nameOfTag(tag uint32) string {
	if n := tagNames[tag]; n != "" {
		return n
	}
	return fmt.Sprintf("%d", tag)
}

// CompareBuilds tells how much alike two builds of one package are by their headers, which it
// reads up to the payload. The headers' digests of payload and files are taken at their
// word: whoever compares has checked each payload against the digest that its header
// names, and rpm takes no file whose content isn't what the header says.
//
// Errors are as of Read, and Invalid for a package without a digest of its payload.
func CompareBuilds(a, b io.Reader) (Comparison, error) {
	x, err := readSide(a)
	if err != nil {
		return Comparison{}, fmt.Errorf("read the first package: %w", err)
	}
	y, err := readSide(b)
	if err != nil {
		return Comparison{}, fmt.Errorf("read the second package: %w", err)
	}
	if x.p.HeaderSHA256 == y.p.HeaderSHA256 {
		return Comparison{Match: BitIdentical}, nil
	}
	var c Comparison
	differing := x.differingFiles(y)
	tags, ignored := x.differingTags(y)
	c.Ignored = ignored
	for _, t := range tags {
		differing = append(differing, "tag "+t)
	}
	if len(differing) == 0 {
		c.Match = PayloadIdentical
		return c, nil
	}
	c.Match = Different
	if n := len(differing) - maxDifferences; n > 0 {
		differing = append(differing[:maxDifferences], fmt.Sprintf("%d more", n))
	}
	c.Differing = differing
	return c, nil
}

// side is one of two packages that are compared.
type side struct {
	h     *header
	p     *Package
	times numbers // of its files
}

func readSide(r io.Reader) (side, error) {
	f, err := readFront(r)
	if err != nil {
		return side{}, err
	}
	p, err := f.decode()
	if err != nil {
		return side{}, err
	}
	if p.PayloadSHA256 == "" {
		return side{}, albs.Errorf(albs.Invalid, "%s has no sha256 of its payload", p.NEVRA)
	}
	d := newDecoder(f.main, "main header")
	s := side{h: f.main, p: p, times: d.numbers(tagFileTimes)}
	return s, d.err
}

// differingFiles names, by path, each file that isn't in both or not the same there, and
// in what it differs.
func (x side) differingFiles(y side) []string {
	mine, theirs := x.byPath(), y.byPath()
	var out []string
	for _, path := range slices.Sorted(maps.Keys(mine)) {
		i := mine[path]
		j, ok := theirs[path]
		if !ok {
			out = append(out, "file "+short(path)+" is in the first only")
			continue
		}
		if what := x.unlike(i, y, j); what != "" {
			out = append(out, "file "+short(path)+": "+what)
		}
	}
	for _, path := range slices.Sorted(maps.Keys(theirs)) {
		if _, ok := mine[path]; !ok {
			out = append(out, "file "+short(path)+" is in the second only")
		}
	}
	return out
}

func (x side) byPath() map[string]int {
	out := make(map[string]int, len(x.p.Files))
	for i, f := range x.p.Files {
		out[f.Path] = i
	}
	return out
}

// unlike names in what file i of x differs from file j of y, "" if in nothing.
func (x side) unlike(i int, y side, j int) string {
	f, g := x.p.Files[i], y.p.Files[j]
	var what []string
	for _, fact := range []struct {
		name string
		same bool
	}{
		// A folder's size is the file system's. A package whose file digests are of another
		// kind than sha256 is alike by its payload alone.
		{"content", f.Digest == g.Digest && (f.Dir() || f.Size == g.Size) && (f.Digest != "" || f.Size == 0 || f.Mode&0o170000 != 0o100000 || f.Ghost() || samePayload(x.p, y.p))},
		{"mode", f.Mode == g.Mode}, {"owner", f.User == g.User && f.Group == g.Group}, {"link", f.Link == g.Link}, {"flags", f.Flags == g.Flags},
		{"mtime", x.times.at(i) == y.times.at(j)},
	} {
		if !fact.same {
			what = append(what, fact.name)
		}
	}
	return strings.Join(what, ", ")
}

// samePayload reports whether both headers name the same payload, packed or unpacked.
func samePayload(a, b *Package) bool {
	return a.PayloadSHA256 == b.PayloadSHA256 || a.ContentSHA256 != "" && a.ContentSHA256 == b.ContentSHA256
}

// differingTags names the tags whose values are not the same, in the order of their
// numbers: those that matter, and those that don't.
func (x side) differingTags(y side) (matter, ignored []string) {
	mine, theirs := x.h.values(), y.h.values()
	all := maps.Clone(mine)
	maps.Copy(all, theirs)
	for _, tag := range slices.Sorted(maps.Keys(all)) {
		a, okA := mine[tag]
		b, okB := theirs[tag]
		switch {
		case told[tag], okA == okB && a.typ == b.typ && a.count == b.count && bytes.Equal(a.bytes, b.bytes):
		case ignorable[tag]:
			ignored = append(ignored, nameOfTag(tag))
		default:
			matter = append(matter, nameOfTag(tag))
		}
	}
	return matter, ignored
}

// raw is a tag's value as it stands in the store.
type raw struct {
	typ, count uint32
	bytes      []byte
}

func (h *header) values() map[uint32]raw {
	store := h.store()
	out := make(map[uint32]raw, len(h.entries))
	for _, e := range h.entries {
		out[e.tag] = raw{e.typ, e.count, store[e.off : e.off+e.size]}
	}
	return out
}

// maxDifference bounds one line of what differs, in bytes: a path may have 4,096.
const maxDifference = 200

// short is a path as people read it, which begins a line of what differs, and as a signed
// statement tells it: in one line, whatever a package calls its files.
func short(path string) string {
	more := ""
	if len(path) > maxDifference {
		path, more = strings.ToValidUTF8(path[:maxDifference], ""), "…"
	}
	return strings.Map(func(c rune) rune {
		if unicode.IsPrint(c) {
			return c
		}
		return '?' // no longer than what it stands for
	}, path) + more
}
