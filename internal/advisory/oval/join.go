package oval

import (
	"bytes"
	"hash/fnv"
	"slices"
	"strings"
	"time"

	"albs/internal/advisory"
	"albs/internal/albs"
)

// containers are what the lines of each of sections stand in.
var containers = [len(sections)]string{"definitions", "tests", "objects", "states"}

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
//
// The file is all parts one after the other. A part is of some dozens of advisories whose ids
// are neighbours, and where it ends hangs on their ids alone: one advisory more changes a few
// parts and leaves the others as they are.
func Join(d advisory.Distribution, pieces []advisory.Piece, updated time.Time) ([][]byte, error) {
	seen := make(map[string][]byte, 8*len(pieces))
	var parts, open [len(sections)][][]byte // by section: whole parts, and lines of the one that isn't
	end := func() {
		for i, lines := range open {
			if len(lines) > 0 {
				parts[i] = append(parts[i], slices.Concat(lines...))
			}
			open[i] = lines[:0]
		}
	}
	for _, p := range advisory.ByID(pieces) {
		for line := range bytes.Lines(p.Bytes) {
			id, section := idOf(line), strings.IndexByte(sections, line[0])
			if id == nil || section < 0 || line[len(line)-1] != '\n' {
				return nil, albs.Errorf(albs.Invalid, "the piece of the advisory %.100q is none of OVAL", p.ID)
			}
			have, ok := seen[string(id)]
			switch {
			case ok && bytes.Equal(have, line):
				continue
			case ok:
				return nil, albs.Errorf(albs.Invalid, "two different things of OVAL are called %s, one of them in the advisory %.100q", id, p.ID)
			}
			seen[string(id)] = line
			open[section] = append(open[section], line[1:])
		}
		if last(p.ID) {
			end()
		}
	}
	end()
	if len(parts[0]) == 0 {
		return nil, nil
	}
	out := [][]byte{[]byte(`<?xml version="1.0" encoding="UTF-8"?>
<oval_definitions xmlns="http://oval.mitre.org/XMLSchema/oval-definitions-5" xmlns:oval="http://oval.mitre.org/XMLSchema/oval-common-5">
` + element("generator").add(element("oval:product_name").text(strings.TrimSpace(d.Vendor+" errata")), element("oval:schema_version").text("5.10"),
		element("oval:timestamp").text(updated.UTC().Format("2006-01-02T15:04:05"))).String() + "\n")}
	for i, name := range containers {
		out = append(out, []byte("<"+name+">\n"))
		out = append(out, parts[i]...)
		out = append(out, []byte("</"+name+">\n"))
	}
	return append(out, []byte("</oval_definitions>\n")), nil
}

// together is how many advisories a part is of, on average: packed on its own it is little
// larger than within the whole, and packing it anew takes a millisecond.
const together = 64

// last reports whether a part ends behind the advisory of an id.
func last(id string) bool {
	h := fnv.New32a()
	_, _ = h.Write([]byte(id)) // which never fails
	return h.Sum32()%together == 0
}

// idOf returns the id of the element of a line, which stands in its first tag; nil if that
// has none.
func idOf(line []byte) []byte {
	tag, _, _ := bytes.Cut(line, []byte(">"))
	_, rest, ok := bytes.Cut(tag, []byte(` id="`))
	id, _, closed := bytes.Cut(rest, []byte(`"`))
	if !ok || !closed || !bytes.HasPrefix(id, []byte("oval:")) {
		return nil
	}
	return id
}
