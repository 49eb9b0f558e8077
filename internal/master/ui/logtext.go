package ui

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"
)

// maxLine is how much of a line is shown; the raw log has the rest.
const maxLine = 2000

// Line is one line of a log as it is shown.
type Line struct {
	Number int    `json:"n"`
	Text   string `json:"t"`
	Cut    int64  `json:"cut,omitempty"` // bytes of the line that are not shown
}

// readLines reads lines of a log from r, whose first byte begins line at, and
// returns up to count of them from line from on, without terminal sequences and
// inert. What it holds in memory is bound by count, whatever r has.
func readLines(r io.Reader, at, from, count int) ([]Line, error) {
	var (
		out    []Line
		line   []byte // of the present line as much as is shown
		length int64  // of the present line
		buf    = make([]byte, 64<<10)
	)
	end := func() {
		if at >= from {
			out = append(out, Line{Number: at, Text: cleanLine(line), Cut: length - int64(len(line))})
		}
		at++
		line, length = line[:0], 0
	}
	for len(out) < count {
		n, err := r.Read(buf)
		for p := buf[:n]; len(p) > 0 && len(out) < count; {
			i := bytes.IndexByte(p, '\n')
			part := p
			if i >= 0 {
				part = p[:i]
			}
			if room := maxLine - len(line); at >= from && room > 0 {
				line = append(line, part[:min(room, len(part))]...)
			}
			length += int64(len(part))
			if i < 0 {
				break
			}
			end()
			p = p[i+1:]
		}
		if errors.Is(err, io.EOF) {
			if length > 0 && len(out) < count {
				end() // a line that has not ended yet
			}
			return out, nil
		}
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

// cleanLine returns a line's bytes as text that does nothing: terminal sequences
// are gone, and what else isn't text is spelled out by inert.
func cleanLine(b []byte) string {
	b = bytes.TrimSuffix(b, []byte("\r"))
	for len(b) > 0 { // a character that was cut in two
		r, n := utf8.DecodeLastRune(b)
		if r != utf8.RuneError || n != 1 || len(b) < maxLine-utf8.UTFMax {
			break
		}
		b = b[:len(b)-1]
	}
	if bytes.IndexByte(b, 0x1b) >= 0 {
		b = stripEscapes(b)
	}
	return inert(string(b))
}

// stripEscapes removes the control sequences of ECMA-48: CSI (colours, cursor),
// strings like OSC (titles, links) with what they carry, and short escapes. One
// that doesn't end takes nothing but its beginning with it, so that no line can
// hide its own rest.
func stripEscapes(b []byte) []byte {
	out := make([]byte, 0, len(b))
	for i := 0; i < len(b); {
		if b[i] != 0x1b {
			out = append(out, b[i])
			i++
			continue
		}
		i += escapeLength(b[i:])
	}
	return out
}

// escapeLength returns how many bytes the escape at the beginning of b has.
func escapeLength(b []byte) int {
	if len(b) < 2 {
		return 1
	}
	switch c := b[1]; {
	case c == '[':
		for i := 2; i < len(b); i++ {
			if b[i] >= 0x40 && b[i] <= 0x7e {
				return i + 1
			}
			if b[i] < 0x20 || b[i] > 0x3f {
				break
			}
		}
		return 2
	case c == ']' || c == 'P' || c == 'X' || c == '^' || c == '_':
		for i := 2; i < len(b); i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\' {
				return i + 2
			}
		}
		return 2
	case c >= 0x20 && c <= 0x2f: // with one more byte, as the choice of a character set
		return min(3, len(b))
	case c >= 0x30 && c <= 0x7e:
		return 2
	}
	return 1
}
