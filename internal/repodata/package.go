package repodata

import (
	"slices"
	"strconv"
	"strings"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// Package is one package as it lies in a repository.
type Package struct {
	// RPM is the package's header.
	RPM *rpm.Package
	// Digest and Size are those of the whole file.
	Digest albs.Digest
	Size   int64
	// Path is the file's path below the repository: clean, relative, ending in .rpm.
	Path string
	// Time is the file's time in Unix seconds, which rpm-md shows beside the build time.
	Time int64
}

// senseMissingOK is RPMSENSE_MISSINGOK, an old way to say Recommends.
const senseMissingOK = 1 << 19

// maxChangelog is how many entries other.xml has, createrepo_c's default.
const maxChangelog = 10

// check refuses a package that cannot be an entry of a repository.
func (p Package) check() error {
	switch {
	case !validPath(p.Path):
		return albs.Errorf(albs.Invalid, "a package cannot lie at %.200q in a repository: the path must be clean, relative, plain ASCII and end in .rpm", p.Path)
	case p.RPM == nil || !p.Digest.Valid() || p.Size <= 0:
		return albs.Errorf(albs.Invalid, "the package at %s comes without its header, digest or size", p.Path)
	case !p.RPM.NEVRA.Valid():
		return albs.Errorf(albs.Invalid, "the package at %s has the name %.200q, which breaks rpm's grammar", p.Path, p.RPM.NEVRA)
	}
	return nil
}

// render returns the package's entry and its XML, element for element that of
// createrepo_c 0.17.3. Like createrepo_c it gives an error, Invalid here, for text with
// control characters, which XML cannot hold.
func (p Package) render() (item, error) {
	it := item{entry: entry{Entry: Entry{Path: p.Path, Digest: p.Digest, Size: p.Size, NEVRA: p.RPM.NEVRA}}}
	for k, render := range [kinds]func(*element, Package){renderPrimary, renderFilelists, renderOther} {
		e := &element{}
		render(e, p)
		if e.bad != "" {
			return item{}, albs.Errorf(albs.Invalid, "the package at %s has text that repository metadata cannot hold: %.80q", p.Path, e.bad)
		}
		it.parts[k] = e.b
	}
	return it, nil
}

func renderPrimary(e *element, p Package) {
	r := p.RPM
	e.lit("<package type=\"rpm\">\n  <name>").text(r.Name)
	e.lit("</name>\n  <arch>").text(p.RPM.Arch)
	e.lit("</arch>\n  ")
	e.version(r)
	e.lit("  <checksum type=\"sha256\" pkgid=\"YES\">").lit(string(p.Digest))
	e.lit("</checksum>\n  <summary>").text(r.Summary)
	e.lit("</summary>\n  <description>").text(r.Description)
	e.lit("</description>\n  <packager>").text(r.Packager)
	e.lit("</packager>\n  <url>").text(r.URL)
	e.lit("</url>\n")
	e.fmt("  <time file=\"%d\" build=\"%d\"/>\n", p.Time, r.BuildTime.Unix())
	e.fmt("  <size package=\"%d\" installed=\"%d\" archive=\"%d\"/>\n", p.Size, r.InstalledSize, r.ArchiveSize)
	e.lit("  <location href=\"").attr(p.Path)
	e.lit("\"/>\n  <format>\n    <rpm:license>").text(r.License)
	e.lit("</rpm:license>\n    <rpm:vendor>").text(r.Vendor)
	e.lit("</rpm:vendor>\n    <rpm:group>").text(r.Group)
	e.lit("</rpm:group>\n    <rpm:buildhost>").text(r.BuildHost)
	e.lit("</rpm:buildhost>\n    <rpm:sourcerpm>").text(r.SourceRPM)
	e.lit("</rpm:sourcerpm>\n")
	e.fmt("    <rpm:header-range start=\"%d\" end=\"%d\"/>\n", r.HeaderStart, r.HeaderEnd)

	requires, recommends := requirements(r)
	e.deps("provides", plain(r.Provides))
	e.deps("requires", requires)
	e.deps("conflicts", plain(r.Conflicts))
	e.deps("obsoletes", plain(r.Obsoletes))
	e.deps("suggests", plain(r.Suggests))
	e.deps("enhances", plain(r.Enhances))
	e.deps("recommends", append(recommends, plain(r.Recommends)...))
	e.deps("supplements", plain(r.Supplements))
	for _, f := range r.Files {
		if primaryFile(f.Path) {
			e.lit("    ")
			e.file(f)
		}
	}
	e.lit("  </format>\n</package>\n")
}

func renderFilelists(e *element, p Package) {
	e.open(p)
	for _, f := range p.RPM.Files {
		e.lit("  ")
		e.file(f)
	}
	e.lit("</package>\n")
}

func renderOther(e *element, p Package) {
	e.open(p)
	for _, c := range changelog(p.RPM.Changelog) {
		e.lit("  <changelog author=\"").attr(c.author)
		e.fmt("\" date=\"%d\">", c.date)
		e.text(c.text).lit("</changelog>\n")
	}
	e.lit("</package>\n")
}

// primaryFile reports whether a file is listed in primary too: a rule that dates from
// yum and that resolvers rely on for requirements that are paths.
func primaryFile(path string) bool {
	return strings.HasPrefix(path, "/etc/") || path == "/usr/lib/sendmail" || strings.Contains(path, "bin/")
}

// dependency is a dependency as rpm-md tells it.
type dependency struct {
	name, flags, epoch, version, release string
	pre                                  bool
}

// plain translates dependencies that rpm-md takes over as they are.
func plain(deps []rpm.Dependency) []dependency {
	out := make([]dependency, 0, len(deps))
	for _, d := range deps {
		out = append(out, translate(d))
	}
	return out
}

func translate(d rpm.Dependency) dependency {
	out := dependency{name: d.Name, flags: d.Comparison()}
	if d.EVR != (rpm.EVR{}) {
		out.epoch, out.version, out.release = strconv.Itoa(d.Epoch), d.Version, d.Release
	}
	return out
}

// requirements returns what primary lists as requires, and the requirements that may be
// missing, which it lists first among recommends. As createrepo_c does, it leaves out
// what rpm itself provides (rpmlib), what the package provides, its own files where
// primary lists them, repetitions, and all of libc.so.6's versions but the highest.
func requirements(r *rpm.Package) (requires, recommends []dependency) {
	provided := make(map[dependency]bool, len(r.Provides))
	for _, d := range r.Provides {
		provided[translate(d)] = true
	}
	files := make(map[string]bool)
	for _, f := range r.Files {
		if primaryFile(f.Path) {
			files[f.Path] = true
		}
	}
	latest := map[string]dependency{} // the last requirement of a name: only that is looked at for repetition
	var libc *dependency
	for _, rd := range r.Requires {
		d := translate(rd)
		if strings.HasPrefix(d.name, "rpmlib(") || files[d.name] || provided[d] {
			continue
		}
		d.pre = rd.Pre()
		if last, ok := latest[d.name]; ok && last == d {
			continue
		}
		switch {
		case rd.Flags&senseMissingOK != 0:
			recommends = append(recommends, d)
		case strings.HasPrefix(d.name, "libc.so.6"):
			if libc == nil || newerLibc(libc.name, d.name) {
				libc = &d
			}
		default:
			requires = append(requires, d)
			latest[d.name] = d
		}
	}
	if libc != nil {
		requires = append(requires, *libc)
	}
	return requires, recommends
}

// newerLibc reports whether symbol version b, as in libc.so.6(GLIBC_2.4)(64bit), is
// above a.
func newerLibc(a, b string) bool {
	va, vb := symbolVersion(a), symbolVersion(b)
	if va == "" || vb == "" {
		return va == "" && vb != ""
	}
	return rpm.Compare(rpm.EVR{Version: va}, rpm.EVR{Version: vb}) < 0
}

// symbolVersion returns the first parenthesis of name from its first digit on.
func symbolVersion(name string) string {
	_, rest, _ := strings.Cut(name, "(")
	in, _, ok := strings.Cut(rest, ")")
	i := strings.IndexAny(in, "0123456789")
	if !ok || i < 0 {
		return ""
	}
	return in[i:]
}

// change is an entry of a package's changelog as rpm-md tells it.
type change struct {
	author string
	date   int64
	text   string
}

// changelog returns the newest entries, oldest first. Readers order entries by date, so
// of entries of one day, which have one date, the newer ones get a later second.
func changelog(entries []rpm.Change) []change {
	out := make([]change, 0, maxChangelog)
	var last int64
	for _, c := range entries[:min(len(entries), maxChangelog)] {
		date := c.Time.Unix()
		if date == last {
			// The entries before are newer; push them on as far as they collide.
			for i, t := len(out)-1, date; i >= 0 && out[i].date == t; i, t = i-1, t+1 {
				out[i].date++
			}
		} else {
			last = date
		}
		author := c.Author
		if author != "" {
			author = author[:1] + strings.TrimRight(author[1:], " ")
		}
		out = append(out, change{author: author, date: date, text: c.Text})
	}
	slices.Reverse(out)
	return out
}
