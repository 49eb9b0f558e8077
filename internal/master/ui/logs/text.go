package logs

import (
	"bytes"
	"errors"
	"io"
	"unicode/utf8"

	"albs/internal/failure"
	"albs/internal/master/ui/words"
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
	return words.Inert(string(failure.Plain(b)))
}
