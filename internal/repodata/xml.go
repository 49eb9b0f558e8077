package repodata

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"albs/internal/rpm"
)

const xmlHead = "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n"

// metaHead returns what stands before the packages in the file of kind k.
func metaHead(k, packages int) []byte {
	root := [kinds]string{
		`<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm"`,
		`<filelists xmlns="http://linux.duke.edu/metadata/filelists"`,
		`<otherdata xmlns="http://linux.duke.edu/metadata/other"`,
	}[k]
	return fmt.Appendf(nil, "%s%s packages=\"%d\">\n", xmlHead, root, packages)
}

// metaTail returns what stands after them.
func metaTail(k int) []byte {
	return []byte([kinds]string{"</metadata>\n", "</filelists>\n", "</otherdata>\n"}[k])
}

// element builds XML. Encoding it by hand rather than by encoding/xml is what makes the
// metadata of ten thousand packages a matter of milliseconds.
type element struct {
	b   []byte
	bad string // the first text that XML cannot hold
}

// lit appends s, which is XML already.
func (e *element) lit(s string) *element {
	e.b = append(e.b, s...)
	return e
}

// fmt appends numbers.
func (e *element) fmt(format string, args ...any) { e.b = fmt.Appendf(e.b, format, args...) }

// text appends s as content.
func (e *element) text(s string) *element { return e.escape(s, false) }

// attr appends s as the value of an attribute.
func (e *element) attr(s string) *element { return e.escape(s, true) }

// escape appends s and refuses what XML 1.0 §2.2 has no place for.
func (e *element) escape(s string, attr bool) *element {
	if !utf8.ValidString(s) {
		e.refuse(s)
	}
	from := 0
	for i := 0; i < len(s); i++ {
		var to string
		switch c := s[i]; {
		case c == '&':
			to = "&amp;"
		case c == '<':
			to = "&lt;"
		case c == '>':
			to = "&gt;"
		case c == '\r':
			to = "&#13;"
		case c == '"' && attr:
			to = "&quot;"
		case c == '\n' && attr:
			to = "&#10;"
		case c == '\t' && attr:
			to = "&#9;"
		case c == '\n', c == '\t':
			continue
		case c < ' ':
			e.refuse(s)
			continue
		case c == 0xef && (strings.HasPrefix(s[i:], "\uFFFE") || strings.HasPrefix(s[i:], "\uFFFF")):
			e.refuse(s)
			continue
		default:
			continue
		}
		e.b = append(append(e.b, s[from:i]...), to...)
		from = i + 1
	}
	e.b = append(e.b, s[from:]...)
	return e
}

// refuse remembers the first text that cannot be told.
func (e *element) refuse(s string) {
	if e.bad == "" {
		e.bad = s
	}
}

// version appends the version element.
func (e *element) version(r *rpm.Package) {
	e.lit("<version epoch=\"")
	e.b = strconv.AppendInt(e.b, int64(r.Epoch), 10)
	e.lit("\" ver=\"").attr(r.Version)
	e.lit("\" rel=\"").attr(r.Release)
	e.lit("\"/>\n")
}

// open begins the package element of filelists and other.
func (e *element) open(p Package) {
	e.lit("<package pkgid=\"").lit(string(p.Digest))
	e.lit("\" name=\"").attr(p.RPM.Name)
	e.lit("\" arch=\"").attr(p.RPM.Arch)
	e.lit("\">\n  ")
	e.version(p.RPM)
}

// file appends a file element.
func (e *element) file(f rpm.FileInfo) {
	switch {
	case f.Dir():
		e.lit("<file type=\"dir\">")
	case f.Ghost():
		e.lit("<file type=\"ghost\">")
	default:
		e.lit("<file>")
	}
	e.text(f.Path).lit("</file>\n")
}

// deps appends a list of dependencies, unless it is empty.
func (e *element) deps(name string, deps []dependency) {
	if len(deps) == 0 {
		return
	}
	e.lit("    <rpm:").lit(name).lit(">\n")
	for _, d := range deps {
		if d.name == "" {
			continue
		}
		e.lit("      <rpm:entry name=\"").attr(d.name)
		if d.flags != "" {
			for _, a := range [...][2]string{{"flags", d.flags}, {"epoch", d.epoch}, {"ver", d.version}, {"rel", d.release}} {
				if a[1] != "" {
					e.lit("\" ").lit(a[0]).lit("=\"").attr(a[1])
				}
			}
		}
		if d.pre {
			e.lit("\" pre=\"1")
		}
		e.lit("\"/>\n")
	}
	e.lit("    </rpm:").lit(name).lit(">\n")
}
