package oval

import (
	"encoding/xml"
	"slices"
	"strings"
)

// elem is an XML element that is written on one line.
type elem struct {
	name     string
	attrs    []xml.Attr
	content  string // before the children
	children []*elem
}

func element(name string) *elem { return &elem{name: name} }

func (e *elem) attr(name, value string) *elem {
	e.attrs = append(e.attrs, xml.Attr{Name: xml.Name{Local: name}, Value: value})
	return e
}

func (e *elem) has(name string) bool {
	return slices.ContainsFunc(e.attrs, func(a xml.Attr) bool { return a.Name.Local == name })
}

func (e *elem) text(s string) *elem {
	e.content = s
	return e
}

func (e *elem) add(children ...*elem) *elem {
	e.children = append(e.children, children...)
	return e
}

// String returns the element. Newlines of texts are references to characters, so that it is
// one line whatever it holds.
func (e *elem) String() string {
	var b strings.Builder
	e.write(&b)
	return b.String()
}

func (e *elem) write(b *strings.Builder) {
	b.WriteString("<" + e.name)
	for _, a := range e.attrs {
		b.WriteString(" " + a.Name.Local + `="`)
		escape(b, a.Value)
		b.WriteString(`"`)
	}
	if e.content == "" && len(e.children) == 0 {
		b.WriteString("/>")
		return
	}
	b.WriteString(">")
	escape(b, e.content)
	for _, c := range e.children {
		c.write(b)
	}
	b.WriteString("</" + e.name + ">")
}

// escape writes text as XML has it. It can't fail: a builder takes everything.
func escape(b *strings.Builder, s string) { _ = xml.EscapeText(b, []byte(s)) }
