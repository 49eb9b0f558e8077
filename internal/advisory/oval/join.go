package oval

import (
	"bytes"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
)

// containers are what the lines of each section stand in.
var containers = map[byte]string{'d': "definitions", 't': "tests", 'o': "objects", 's': "states"}

// FileName returns the name of the file of a platform's definitions:
// org.almalinux.errata-9.xml.
func FileName(d advisory.Distribution) string {
	version := noDomain.ReplaceAllString(strings.ToLower(d.Version), "-")
	return strings.TrimSuffix(reversed(d)+".errata-"+version, "-") + ".xml"
}

// Join returns the file of all definitions, in the order of the advisories' ids, out of the
// pieces that Piece made, in any order; empty ones are left out. updated is when the newest
// of them was released. Tests, objects and states that several pieces have are there once.
// A piece that Piece didn't make is Invalid. Without a definition there is no file, for the
// schema has none without one, and the result is nil.
func Join(d advisory.Distribution, pieces []advisory.Piece, updated time.Time) ([]byte, error) {
	lines := map[byte][][]byte{}
	seen := map[string][]byte{}
	size := 4 << 10
	for _, p := range advisory.ByID(pieces) {
		for line := range bytes.Lines(p.Bytes) {
			line = bytes.TrimSuffix(line, []byte("\n"))
			id := idOf(line)
			if id == "" || containers[line[0]] == "" {
				return nil, albs.Errorf(albs.Invalid, "the piece of the advisory %.100q is none of OVAL", p.ID)
			}
			have, ok := seen[id]
			switch {
			case ok && bytes.Equal(have, line):
				continue
			case ok:
				return nil, albs.Errorf(albs.Invalid, "two different things of OVAL are called %s, one of them in the advisory %.100q", id, p.ID)
			}
			seen[id] = line
			lines[line[0]] = append(lines[line[0]], line)
			size += len(line)
		}
	}
	if len(lines['d']) == 0 {
		return nil, nil
	}
	var b bytes.Buffer
	b.Grow(size)
	b.WriteString(`<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
`)
	b.WriteString(element("generator").add(element("oval:product_name").text(strings.TrimSpace(d.Vendor+" errata")), element("oval:schema_version").text("5.10"),
		element("oval:timestamp").text(updated.UTC().Format("2006-01-02T15:04:05"))).String() + "\n")
	for _, section := range []byte(sections) {
		b.WriteString("<" + containers[section] + ">\n")
		for _, line := range lines[section] {
			b.Write(line[1:])
			b.WriteByte('\n')
		}
		b.WriteString("</" + containers[section] + ">\n")
	}
	b.WriteString("</oval_definitions>\n")
	return b.Bytes(), nil
}

// idOf returns the id of the element of a line, which stands in its first tag; "" if that
// has none.
func idOf(line []byte) string {
	tag, _, _ := bytes.Cut(line, []byte(">"))
	_, rest, ok := bytes.Cut(tag, []byte(` id="`))
	id, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed || !bytes.HasPrefix(id, []byte("oval:")) {
		return ""
	}
	return string(id)
}
