// Package updateinfo reads and writes updateinfo.xml, the file of a repository that tells
// which of its packages answer which notice. The elements are createrepo_c's, and what is
// written is byte for byte what createrepo_c writes of it.
//
// A file is made of pieces, one for each notice, each compressed on its own as a member of
// gzip (RFC 1952 §2.2), as the other metadata of a repository is: after one new notice the
// pieces of all others are copied. Readers take the members for one file.
//
// The package knows the form alone: what a notice is, package advisory says.
package updateinfo

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

// Update is an update element: a notice. All is as the file has it; "" stands for what it
// doesn't have.
type Update struct {
	From, Status, Type, Version    string
	ID, Title                      string
	Issued, Updated                string // "2006-01-02 15:04:05", in UTC; others write other forms
	Rights, Release, PushCount     string
	Severity                       string // "Critical", "Important", "Moderate", "Low", "None"
	Summary, Description, Solution string
	Message                        string // some read it; createrepo_c doesn't write it, nor does Make
	Reboot                         bool
	References                     []Reference
	Collections                    []Collection
}

// Reference is a reference element.
type Reference struct{ Href, ID, Type, Title string }

// Collection is a collection element: packages that belong together, those of one module if
// it has one.
type Collection struct {
	Short, Name string
	Module      *Module
	Packages    []Package
}

// Module is a module element. Its version counts as 0, as for createrepo_c, where the file
// has one that is no number: NoVersion is that, and nothing that is written.
type Module struct {
	Name, Stream  string
	Version       uint64
	NoVersion     string
	Context, Arch string
}

// Package is a package element.
type Package struct {
	Name, Version, Release, Epoch, Arch string
	Src                                 string // the file name of the source package
	Filename                            string
	Sum, SumType                        string
	Reboot, Restart, Relogin            bool
}

const (
	head = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates>\n"
	tail = "</updates>\n"
	// empty is a file without notices, as createrepo_c writes it.
	empty = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<updates/>\n"
)

// Piece is a notice as it stands in the file.
type Piece struct {
	ID     string
	Plain  []byte // the XML
	Packed []byte // the same as a member of gzip
}

// Make returns the piece of u. It gives Invalid for one without an id and for text that XML
// 1.0 has no place for.
func Make(u Update) (Piece, error) {
	if u.ID == "" {
		return Piece{}, albs.Errorf(albs.Invalid, "a notice of updateinfo.xml has to have an id")
	}
	var e encoder
	e.update(u)
	if e.bad != "" {
		return Piece{}, albs.Errorf(albs.Invalid, "the notice %.100q can't be told in XML: it has the text %.60q", u.ID, e.bad)
	}
	return Piece{ID: u.ID, Plain: e.b, Packed: repodata.Member(e.b)}, nil
}

// Join returns the record of a repository that has these notices, in the order of their ids,
// and the bytes of its file. Equal notices give an equal file, whatever the order in which
// they come. It gives Invalid if two have one id.
func Join(pieces []Piece) (record.File, error) {
	pieces = slices.Clone(pieces)
	slices.SortFunc(pieces, func(x, y Piece) int { return strings.Compare(x.ID, y.ID) })
	if len(pieces) == 0 {
		return file([]byte(empty), repodata.Member([]byte(empty))), nil
	}
	plain, packed := len(head)+len(tail), 100
	for i, p := range pieces {
		if i > 0 && pieces[i-1].ID == p.ID {
			return record.File{}, albs.Errorf(albs.Invalid, "the notice %.100q is there twice", p.ID)
		}
		plain, packed = plain+len(p.Plain), packed+len(p.Packed)
	}
	open, out := sha256.New(), bytes.NewBuffer(make([]byte, 0, packed))
	open.Write([]byte(head))
	out.Write(repodata.Member([]byte(head)))
	for _, p := range pieces {
		open.Write(p.Plain)
		out.Write(p.Packed)
	}
	open.Write([]byte(tail))
	out.Write(repodata.Member([]byte(tail)))
	f := file(nil, out.Bytes())
	f.OpenDigest, f.OpenSize = albs.Digest(hex.EncodeToString(open.Sum(nil))), int64(plain)
	return f, nil
}

// Document returns the file that has this notice alone, not compressed.
func (p Piece) Document() []byte {
	return slices.Concat([]byte(head), p.Plain, []byte(tail))
}

func file(plain, packed []byte) record.File {
	return record.File{
		Record: repodata.Record{
			Type: "updateinfo", Name: "updateinfo.xml.gz", Digest: albs.DigestOf(packed), Size: int64(len(packed)),
			OpenDigest: albs.DigestOf(plain), OpenSize: int64(len(plain)),
		},
		Bytes: packed,
	}
}

// encoder writes XML as libxml2 does for createrepo_c: two spaces a level, no element for
// a text that isn't there.
type encoder struct {
	b   []byte
	bad string // the first text that XML cannot hold
}

var (
	textEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;")
	attrEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", "\r", "&#13;", `"`, "&quot;", "\n", "&#10;", "\t", "&#9;")
)

// lit appends what is XML already.
func (e *encoder) lit(s ...string) {
	for _, s := range s {
		e.b = append(e.b, s...)
	}
}

func (e *encoder) escaped(s string, r *strings.Replacer) {
	if e.bad == "" && (!utf8.ValidString(s) || strings.ContainsFunc(s, func(r rune) bool {
		return r < ' ' && r != '\n' && r != '\t' && r != '\r' || r == 0xfffe || r == 0xffff
	})) {
		e.bad = s
	}
	e.b = append(e.b, r.Replace(s)...)
}

// attr appends an attribute, unless it is empty.
func (e *encoder) attr(name, value string) {
	if value != "" {
		e.lit(" ", name, `="`)
		e.escaped(value, attrEscapes)
		e.lit(`"`)
	}
}

// text appends an element with a text, unless that is empty.
func (e *encoder) text(indent, name, value string) {
	if value != "" {
		e.lit(indent, "<", name, ">")
		e.escaped(value, textEscapes)
		e.lit("</", name, ">\n")
	}
}

// flag appends an element that says True, if it is.
func (e *encoder) flag(indent, name string, is bool) {
	if is {
		e.text(indent, name, "True")
	}
}

func (e *encoder) update(u Update) {
	e.lit("  <update")
	e.attr("from", u.From)
	e.attr("status", u.Status)
	e.attr("type", u.Type)
	e.attr("version", u.Version)
	e.lit(">\n")
	const in = "    "
	e.text(in, "id", u.ID)
	e.text(in, "title", u.Title)
	for _, d := range [...][2]string{{"issued", u.Issued}, {"updated", u.Updated}} {
		if d[1] != "" {
			e.lit(in, "<", d[0])
			e.attr("date", d[1])
			e.lit("/>\n")
		}
	}
	for _, t := range [...][2]string{
		{"rights", u.Rights}, {"release", u.Release}, {"pushcount", u.PushCount}, {"severity", u.Severity},
		{"summary", u.Summary}, {"description", u.Description}, {"solution", u.Solution},
	} {
		e.text(in, t[0], t[1])
	}
	e.flag(in, "reboot_suggested", u.Reboot)
	if len(u.References) == 0 {
		e.lit(in, "<references/>\n")
	} else {
		e.lit(in, "<references>\n")
		for _, r := range u.References {
			e.lit("      <reference")
			e.attr("href", r.Href)
			e.attr("id", r.ID)
			e.attr("type", r.Type)
			e.attr("title", r.Title)
			e.lit("/>\n")
		}
		e.lit(in, "</references>\n")
	}
	if len(u.Collections) == 0 {
		e.lit(in, "<pkglist/>\n")
	} else {
		e.lit(in, "<pkglist>\n")
		for _, c := range u.Collections {
			e.collection(c)
		}
		e.lit(in, "</pkglist>\n")
	}
	e.lit("  </update>\n")
}

func (e *encoder) collection(c Collection) {
	const in = "        "
	e.lit("      <collection")
	e.attr("short", c.Short)
	if c.Name == "" && c.Module == nil && len(c.Packages) == 0 {
		e.lit("/>\n")
		return
	}
	e.lit(">\n")
	e.text(in, "name", c.Name)
	if m := c.Module; m != nil {
		e.lit(in, "<module")
		e.attr("name", m.Name)
		e.attr("stream", m.Stream)
		e.attr("version", strconv.FormatUint(m.Version, 10))
		e.attr("context", m.Context)
		e.attr("arch", m.Arch)
		e.lit("/>\n")
	}
	for _, p := range c.Packages {
		e.lit(in, "<package")
		e.attr("name", p.Name)
		e.attr("version", p.Version)
		e.attr("release", p.Release)
		e.attr("epoch", p.Epoch)
		e.attr("arch", p.Arch)
		e.attr("src", p.Src)
		if p.Filename == "" && p.Sum == "" && !p.Reboot && !p.Restart && !p.Relogin {
			e.lit("/>\n")
			continue
		}
		e.lit(">\n")
		const in = "          "
		e.text(in, "filename", p.Filename)
		if p.Sum != "" {
			e.lit(in, "<sum")
			e.attr("type", p.SumType)
			e.lit(">")
			e.escaped(p.Sum, textEscapes)
			e.lit("</sum>\n")
		}
		e.flag(in, "reboot_suggested", p.Reboot)
		e.flag(in, "restart_suggested", p.Restart)
		e.flag(in, "relogin_suggested", p.Relogin)
		e.lit("        </package>\n")
	}
	e.lit("      </collection>\n")
}
