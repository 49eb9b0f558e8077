package rpm

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"albs/internal/albs"
)

// Bounds on what is made of a header, some times what the largest packages have.
// Without them a header of 32 MiB could be made to stand for gigabytes.
const (
	maxFiles        = 1 << 20
	maxPath         = 4096
	maxPaths        = 32 << 20 // bytes of all paths: a long directory may be used often
	maxDependencies = 1 << 18
	maxChanges      = 1 << 16
	maxArches       = 256
	maxSize         = 1 << 50
)

// Read reads the headers of a package and stops where the payload begins. It
// returns an Invalid error if they are malformed, break the grammar of names,
// pass a bound, or don't match the digest that the signature header gives of the
// main one; other errors are the reader's. Nothing is verified beyond that.
func Read(r io.Reader) (*Package, error) {
	f, err := readFront(r)
	if err != nil {
		return nil, err
	}
	return f.decode()
}

// ReadFile is Read for a file, whose size it takes for Package.Size.
func ReadFile(path string) (*Package, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("open package: %w", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, fmt.Errorf("open package: %w", err)
	}
	p, err := Read(f)
	if err != nil {
		return nil, fmt.Errorf("read package %s: %w", path, err)
	}
	p.Size = info.Size()
	return p, nil
}

// Header returns the exact bytes of the main header, which are what a signature
// covers and HeaderSHA256 names. It reads r up to the payload; errors are as of
// Read.
func Header(r io.Reader) ([]byte, error) {
	f, err := readFront(r)
	if err != nil {
		return nil, err
	}
	return f.main.raw, nil
}

// decode returns what a main header says.
func (h *header) decode() (*Package, error) {
	p := &Package{HeaderSHA256: albs.DigestOf(h.raw)}
	m := newDecoder(h, "main header")
	p.readFacts(m)
	p.readDependencies(m)
	p.readFiles(m)
	p.readScripts(m)
	p.readChanges(m)
	if m.err != nil {
		return nil, m.err
	}
	if fault := p.fault(); fault != "" {
		return nil, invalid("the %s of package %.80q breaks rpm's grammar", fault, p.String())
	}
	return p, nil
}

func (f *front) decode() (*Package, error) {
	p, err := f.main.decode()
	if err != nil {
		return nil, err
	}
	p.HeaderStart, p.HeaderEnd = f.start(), f.end()
	s := newDecoder(f.sig, "signature header")
	if n := s.size(tagSigLongSize, tagSigSize); n > 0 {
		p.Size = f.start() + n
	}
	if n := s.size(tagSigLongArchive, tagSigArchive); n > 0 {
		p.ArchiveSize = n
	}
	claimed := s.digest(tagSigSHA256)
	for _, tag := range []uint32{tagSigDSA, tagSigRSA, tagSigPGP, tagSigGPG} {
		if b := s.bytes(tag); b != nil {
			p.Signatures = append(p.Signatures, Signature{Tag: int(tag), Packet: b})
		}
	}
	if s.err != nil {
		return nil, s.err
	}
	if claimed != "" && claimed != p.HeaderSHA256 {
		return nil, albs.Errorf(albs.Invalid, "RPM %s: the main header has sha256 %s, the signature header says %s",
			p.NEVRA, p.HeaderSHA256.Short(), claimed.Short())
	}
	return p, nil
}

func (p *Package) readFacts(d *decoder) {
	p.SourceRPM = d.string(tagSourceRPM)
	p.Modularity = d.string(tagModularity)
	p.Source = p.SourceRPM == "" // as rpm's headerIsSource has it
	p.NEVRA = NEVRA{
		Name: d.string(tagName), Epoch: int(d.numbers(tagEpoch).at(0)),
		Version: d.string(tagVersion), Release: d.string(tagRelease), Arch: d.string(tagArch),
	}
	if p.Source {
		p.Arch = string(albs.Src) // the header names the arch of the build host
	}
	p.Summary = d.string(tagSummary)
	p.Description = d.string(tagDescription)
	p.License = d.string(tagLicense)
	p.Vendor = d.string(tagVendor)
	p.URL = d.string(tagURL)
	p.Group = d.string(tagGroup)
	p.Packager = d.string(tagPackager)
	p.BuildHost = d.string(tagBuildHost)
	p.BuildTime = time.Unix(int64(uint32(d.numbers(tagBuildTime).at(0))), 0).UTC()
	p.ExclusiveArch = d.arches(tagExclusiveArch)
	p.ExcludeArch = d.arches(tagExcludeArch)
	p.InstalledSize = d.size(tagLongSize, tagSize)
	p.ArchiveSize = d.size(tagArchiveSize)
	if d.numbers(tagPayloadAlg).at(0) == algSHA256 {
		p.PayloadSHA256 = d.digest(tagPayloadDigest)
		p.ContentSHA256 = d.digest(tagPayloadPlain)
	}
}

func (d *decoder) arches(tag uint32) []string {
	t := d.texts(tag)
	if t.n > maxArches {
		d.fail("tag %d lists %d arches, %d are allowed", tag, t.n, maxArches)
		return nil
	}
	return t.all()
}

func (p *Package) readDependencies(d *decoder) {
	room := maxDependencies
	read := func(tags [3]uint32) []Dependency {
		names, versions, flags := d.texts(tags[0]), d.texts(tags[1]), d.numbers(tags[2])
		if names.n == 0 || d.err != nil {
			return nil
		}
		if versions.n != names.n || flags.n != names.n {
			d.fail("tags %d, %d and %d have %d, %d and %d values", tags[0], tags[1], tags[2], names.n, versions.n, flags.n)
			return nil
		}
		if room -= names.n; room < 0 {
			d.fail("it has more than %d dependencies", maxDependencies)
			return nil
		}
		list := make([]Dependency, names.n)
		for i := range list {
			evr, err := ParseEVR(versions.next())
			if err != nil {
				d.fail("a version of tag %d: %w", tags[1], err)
				return nil
			}
			list[i] = Dependency{Name: names.next(), Flags: uint32(flags.at(i)), EVR: evr}
		}
		return list
	}
	p.Provides = read(tagProvides)
	p.Requires = read(tagRequires)
	p.Conflicts = read(tagConflicts)
	p.Obsoletes = read(tagObsoletes)
	p.Recommends = read(tagRecommends)
	p.Suggests = read(tagSuggests)
	p.Supplements = read(tagSupplements)
	p.Enhances = read(tagEnhances)
}

func (p *Package) readFiles(d *decoder) {
	names, dirTexts, indexes := d.texts(tagBaseNames), d.texts(tagDirNames), d.numbers(tagDirIndexes)
	modes, flags, sizes := d.numbers(tagFileModes), d.numbers(tagFileFlags), d.numbers(tagLongFileSizes)
	if sizes.n == 0 {
		sizes = d.numbers(tagFileSizes)
	}
	digests, links, users, groups := d.texts(tagFileDigests), d.texts(tagFileLinks), d.texts(tagFileUsers), d.texts(tagFileGroups)
	verify := d.numbers(tagFileVerify)
	sha256 := d.numbers(tagFileDigestAlg).at(0) == algSHA256
	if names.n == 0 || d.err != nil {
		return
	}
	if names.n > maxFiles || dirTexts.n > names.n {
		d.fail("it has %d files in %d directories, %d are allowed", names.n, dirTexts.n, maxFiles)
		return
	}
	for _, n := range []int{indexes.n, modes.n, flags.n} {
		if n != names.n {
			d.fail("it has %d files and %d of one of their facts", names.n, n)
			return
		}
	}
	for _, n := range []int{sizes.n, digests.n, links.n, users.n, groups.n, verify.n} {
		if n != 0 && n != names.n {
			d.fail("it has %d files and %d of one of their facts", names.n, n)
			return
		}
	}
	dirs := dirTexts.all()
	for _, dir := range dirs {
		if !p.Source && (!strings.HasPrefix(dir, "/") || !strings.HasSuffix(dir, "/")) {
			d.fail("directory %.80q isn't absolute", dir)
			return
		}
	}
	room := maxPaths
	files := make([]FileInfo, names.n)
	for i := range files {
		name, index := names.next(), indexes.at(i)
		if index >= uint64(len(dirs)) || strings.Contains(name, "/") {
			d.fail("file %.80q has no directory", name)
			return
		}
		n := len(dirs[index]) + len(name)
		if room -= n; n > maxPath || room < 0 {
			d.fail("the path of file %.80q is too long", name)
			return
		}
		files[i] = FileInfo{
			Path: dirs[index] + name, Mode: uint16(modes.at(i)), Flags: uint32(flags.at(i)), Size: int64(sizes.at(i)),
			Link: links.next(), User: users.next(), Group: groups.next(),
		}
		if files[i].Size < 0 || files[i].Size > maxSize {
			d.fail("file %.80q has no possible size", name)
			return
		}
		if verify.n > 0 {
			files[i].Unverified = ^uint32(verify.at(i))
		}
		if v := albs.Digest(digests.next()); sha256 && v != "" {
			if files[i].Digest = v; !v.Valid() {
				d.fail("the digest of file %.80q isn't a sha256", name)
				return
			}
		}
	}
	p.Files = files
}

func (p *Package) readChanges(d *decoder) {
	times, names, bodies := d.numbers(tagChangeTime), d.texts(tagChangeName), d.texts(tagChangeText)
	if times.n == 0 || d.err != nil {
		return
	}
	if names.n != times.n || bodies.n != times.n || times.n > maxChanges {
		d.fail("its changelog has %d times, %d names and %d texts, %d are allowed", times.n, names.n, bodies.n, maxChanges)
		return
	}
	p.Changelog = make([]Change, times.n)
	for i := range p.Changelog {
		at := time.Unix(int64(uint32(times.at(i))), 0).UTC()
		p.Changelog[i] = Change{Author: names.next(), Time: at, Text: bodies.next()}
	}
}
