// Package oval writes advisories as OVAL definitions of the class patch, schema 5.10 (MITRE,
// oval.mitre.org): a definition is true on a system that an advisory is for and that lacks
// what it gives.
//
// What definitions have in common, tests, objects and states, is named by its content: equal
// ones are one, whichever advisories there are, and no name hangs on another advisory.
package oval

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// idForm are ids whose number is their year and their serial: ALSA-2024:6964. They are of
// one spelling, so that no two have one number.
var idForm = regexp.MustCompile(`^[A-Z0-9]+-([1-9][0-9]{3}):([0-9]{1,9})$`)

// DefinitionID returns the id of an advisory's definition: oval:org.almalinux.alsa:def:20246964
// for ALSA-2024:6964 of https://almalinux.org. One with another form of id, as
// ALSA-2024:A001, has a number made of all of it.
func DefinitionID(id string, d advisory.Distribution) string {
	series, _, _ := strings.Cut(id, "-")
	number := digits(id)
	if m := idForm.FindStringSubmatch(id); m != nil {
		number = m[1] + m[2]
	}
	return "oval:" + reversed(d) + "." + strings.ToLower(series) + ":def:" + number
}

var noDomain = regexp.MustCompile(`[^a-z0-9.-]+`)

// reversed is the domain of the vendor's namespace, by which ids are told from those of
// others: org.almalinux of https://www.almalinux.org.
func reversed(d advisory.Distribution) string {
	host := d.Vendor
	if u, err := url.Parse(d.Namespace); err == nil && u.Hostname() != "" {
		host = strings.TrimPrefix(u.Hostname(), "www.")
	}
	parts := strings.Split(noDomain.ReplaceAllString(strings.ToLower(host), "-"), ".")
	slices.Reverse(parts)
	return strings.Join(parts, ".")
}

// digits makes a number of 18 digits of a text. A year and a serial have at most 13.
func digits(s string) string {
	sum := sha256.Sum256([]byte(s))
	const least = 100_000_000_000_000_000
	return strconv.FormatUint(least+binary.BigEndian.Uint64(sum[:])%(9*least), 10)
}

// sections are those of a file, in their order, by the letter that a line of a piece begins
// with.
const sections = "dtos"

// Piece returns what the advisory is in the file of its platform, which Join makes: lines of
// an element each. It is empty, and belongs in no file, of one that was withdrawn or has no
// package that can be installed. The distribution has to have a release package or a CPE, by
// which its systems are known; else, or if Check refuses the advisory, the error is Invalid.
func Piece(a advisory.Advisory, d advisory.Distribution) (advisory.Piece, error) {
	a = a.Normal()
	piece := advisory.Piece{ID: a.ID, Updated: a.Updated}
	if err := a.Check(); err != nil {
		return piece, err
	}
	groups := grouped(a.Packages)
	if a.Withdrawn != nil || len(groups) == 0 {
		return piece, nil
	}
	p := parts{d: d, prefix: "oval:" + reversed(d) + ":", lines: map[string]string{}}
	release, err := p.release()
	if err != nil {
		return piece, err
	}
	var any []node
	for _, g := range groups {
		var of []node
		for _, u := range g.updates {
			of = append(of, p.update(u))
		}
		if g.module == (advisory.Module{}) {
			any = append(any, of...)
			continue
		}
		any = append(any, node{operator: "AND", of: []node{p.enabled(g.module), {operator: "OR", of: of}}})
	}
	id := DefinitionID(a.ID, d)
	e := element("definition").attr("class", "patch").attr("id", id).attr("version", strconv.Itoa(a.Version))
	e.add(p.metadata(a), node{operator: "AND", of: []node{release, {operator: "OR", of: any}}}.element())
	p.lines["d"+id] = e.String()
	piece.Bytes = p.bytes()
	return piece, nil
}

// group are the packages of one stream of a module, or of none.
type group struct {
	module  advisory.Module // name and stream
	updates []one
}

// one is a package of a version, on the arches for which that is the version.
type one struct {
	name   string
	evr    rpm.EVR
	arches []string
}

// grouped returns what is installed of the packages: of each name and arch the version that
// is the lowest by rpm's order, arches that have one version together.
func grouped(packages []advisory.Package) []group {
	type key struct {
		module     advisory.Module
		name, arch string
	}
	lowest := map[key]rpm.EVR{}
	for _, p := range packages {
		if p.Arch == "src" || p.Arch == "nosrc" {
			continue
		}
		k := key{name: p.Name, arch: p.Arch}
		if p.Module != nil {
			k.module = advisory.Module{Name: p.Module.Name, Stream: p.Module.Stream}
		}
		if have, ok := lowest[k]; !ok || rpm.Compare(p.EVR(), have) < 0 {
			lowest[k] = p.EVR()
		}
	}
	keys := make([]key, 0, len(lowest))
	for k := range lowest {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y key) int {
		return cmp.Or(strings.Compare(x.module.Name, y.module.Name), strings.Compare(x.module.Stream, y.module.Stream), strings.Compare(x.name, y.name),
			rpm.Compare(lowest[x], lowest[y]), strings.Compare(lowest[x].String(), lowest[y].String()), strings.Compare(x.arch, y.arch))
	})
	var out []group
	for _, k := range keys {
		if len(out) == 0 || out[len(out)-1].module != k.module {
			out = append(out, group{module: k.module})
		}
		us := &out[len(out)-1].updates
		if n := len(*us); n > 0 && (*us)[n-1].name == k.name && (*us)[n-1].evr == lowest[k] {
			(*us)[n-1].arches = append((*us)[n-1].arches, k.arch)
			continue
		}
		*us = append(*us, one{name: k.name, evr: lowest[k], arches: []string{k.arch}})
	}
	return out
}

// node is a criterion, which names a test, or criteria, which have an operator.
type node struct {
	comment, test string
	operator      string
	of            []node
}

func (n node) element() *elem {
	if n.operator == "" {
		return element("criterion").attr("comment", n.comment).attr("test_ref", n.test)
	}
	e := element("criteria").attr("operator", n.operator)
	for _, c := range n.of {
		e.add(c.element())
	}
	return e
}

// parts are the elements of one advisory, by section and id.
type parts struct {
	d      advisory.Distribution
	prefix string
	lines  map[string]string
}

// put keeps an element of a section and returns its id, which is made of its content.
func (p *parts) put(section byte, kind string, e *elem) string {
	e.attr("version", "1")
	id := p.prefix + kind + ":" + digits(e.String())
	e.attrs = slices.Insert(e.attrs, 0, xml.Attr{Name: xml.Name{Local: "id"}, Value: id})
	p.lines[string(section)+id] = e.String()
	return id
}

func (p *parts) bytes() []byte {
	keys := make([]string, 0, len(p.lines))
	for k := range p.lines {
		keys = append(keys, k)
	}
	slices.SortFunc(keys, func(x, y string) int {
		return cmp.Or(cmp.Compare(strings.IndexByte(sections, x[0]), strings.IndexByte(sections, y[0])), strings.Compare(x, y))
	})
	var b bytes.Buffer
	for _, k := range keys {
		b.WriteString(k[:1] + p.lines[k] + "\n")
	}
	return b.Bytes()
}

const (
	spaceLinux       = "http://oval.mitre.org/XMLSchema/oval-definitions-5#linux"
	spaceIndependent = "http://oval.mitre.org/XMLSchema/oval-definitions-5#independent"
)

// test keeps a test of an object by a state and returns the criterion.
func (p *parts) test(comment, kind, space, check, object, state string) node {
	e := element(kind+"_test").attr("xmlns", space).attr("check", check).attr("comment", comment)
	e.add(element("object").attr("object_ref", object), element("state").attr("state_ref", state))
	return node{comment: comment, test: p.put('t', "tst", e)}
}

// system is what people call the platform.
func (p *parts) system() string { return strings.TrimSpace(p.d.Name + " " + p.d.Version) }

// release is what tells a system of the distribution: whose package owns its release file,
// in which version, or which CPE stands in /etc/os-release.
func (p *parts) release() (node, error) {
	comment := p.system() + " is installed"
	switch {
	case p.d.ReleasePackage != "":
		behaviors := element("behaviors")
		for _, no := range []string{"nolinkto", "nomd5", "nosize", "nouser", "nogroup", "nomtime", "nomode", "nordev", "noconfigfiles", "noghostfiles"} {
			behaviors.attr(no, "true")
		}
		object := element("rpmverifyfile_object").attr("xmlns", spaceLinux).add(behaviors)
		for _, all := range []string{"name", "epoch", "version", "release", "arch"} {
			object.add(element(all).attr("operation", "pattern match"))
		}
		object.add(element("filepath").text(cmp.Or(p.d.ReleaseFile, "/etc/os-release")))
		state := element("rpmverifyfile_state").attr("xmlns", spaceLinux).add(
			element("name").text(p.d.ReleasePackage),
			element("version").attr("operation", "pattern match").text("^"+quote(p.d.Version)+`([^\d]|$)`))
		return p.test(comment, "rpmverifyfile", spaceLinux, "at least one", p.put('o', "obj", object), p.put('s', "ste", state)), nil
	case p.d.CPE != "":
		return p.file(comment, "/etc/os-release", `^CPE_NAME=.*$`, `^CPE_NAME=["']?`+quote(p.d.CPE)+`([:"']|$)`), nil
	}
	return node{}, albs.Errorf(albs.Invalid, "nothing tells systems of %s: it has neither a release package nor a CPE", p.d.Platform)
}

// file is a test of the first match of a pattern in a file.
func (p *parts) file(comment, path, pattern, want string) node {
	object := element("textfilecontent54_object").attr("xmlns", spaceIndependent).add(
		element("filepath").text(path), element("pattern").attr("operation", "pattern match").text(pattern), element("instance").attr("datatype", "int").text("1"))
	state := element("textfilecontent54_state").attr("xmlns", spaceIndependent).add(element("text").attr("operation", "pattern match").text(want))
	return p.test(comment, "textfilecontent54", spaceIndependent, "all", p.put('o', "obj", object), p.put('s', "ste", state))
}

// enabled tells systems on which dnf has a stream of a module enabled: what its file says of
// the two stands in either order.
func (p *parts) enabled(m advisory.Module) node {
	stream, state := `\nstream\s*=\s*`+quote(m.Stream)+`[ \t]*(\n|$)`, `\nstate\s*=\s*(enabled|1|true)[ \t]*(\n|$)`
	return p.file("Module "+m.String()+" is enabled", "/etc/dnf/modules.d/"+m.Name+".module", `\[`+quote(m.Name)+`\][\w\W]*`,
		`^(?=[\w\W]*`+stream+`)(?=[\w\W]*`+state+`)`)
}

// sideBySide are packages of which several versions are installed at a time, those of the
// kernel: a system that has the newer one lacks nothing for having kept an older.
var sideBySide = regexp.MustCompile(`^kernel(-rt|-64k|-debug|-zfcpdump|-uki-virt)*(-core|-devel|-modules|-modules-core|-modules-extra|-modules-internal|-modules-partner|-devel-matched)?$`)

// update tells systems that have the package in an older version, from one that signs for
// the distribution.
func (p *parts) update(u one) node {
	object := p.put('o', "obj", element("rpminfo_object").attr("xmlns", spaceLinux).add(element("name").text(u.name)))
	evr := fmt.Sprintf("%d:%s-%s", u.evr.Epoch, u.evr.Version, u.evr.Release)
	state := p.put('s', "ste", element("rpminfo_state").attr("xmlns", spaceLinux).add(
		element("arch").attr("operation", "pattern match").text("^("+strings.Join(u.arches, "|")+")$"),
		element("evr").attr("datatype", "evr_string").attr("operation", "less than").text(evr)))
	check := "at least one"
	if sideBySide.MatchString(u.name) {
		check = "all"
	}
	earlier := p.test(u.name+" is earlier than "+evr, "rpminfo", spaceLinux, check, object, state)
	if len(p.d.KeyFingerprints) == 0 {
		return earlier
	}
	var signed []node
	by := func(id, comment string) {
		key := p.put('s', "ste", element("rpminfo_state").attr("xmlns", spaceLinux).add(element("signature_keyid").text(id)))
		signed = append(signed, p.test(u.name+" "+comment, "rpminfo", spaceLinux, "at least one", object, key))
	}
	for _, f := range p.d.KeyFingerprints {
		id := strings.ToLower(f)
		id = id[max(0, len(id)-16):]
		by(id, "is signed with "+p.system()+" key ("+id+")")
	}
	by(unseen, "has no signature that the scanner knows")
	return node{operator: "AND", of: []node{earlier, {operator: "OR", of: signed}}}
}

// unseen is the key of a package that isn't signed, and for OpenSCAP before 2025 (its change
// 2198) also of one whose signature is over the header alone, as those of today are. Without
// it such a scanner would report nothing; with it, what nobody signed is reported too.
const unseen = "0"

// quote escapes what means something in a pattern.
func quote(s string) string { return regexp.QuoteMeta(s) }
