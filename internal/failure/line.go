package failure

import (
	"bufio"
	"bytes"
	"errors"
	"io"
)

// maxLine is how much of a line is looked at: what comes behind is passed over. No
// program says in the middle of such a line why it ends.
const maxLine = 2000

// lines gives each line of r to f, without its end, cut, with its number. The bytes
// are f's until it returns.
func lines(r io.Reader, f func(number int, b []byte)) error {
	in := bufio.NewReaderSize(r, 64<<10)
	for number := 1; ; number++ {
		b, err := in.ReadSlice('\n')
		begun := len(b) > 0
		b = bytes.TrimSuffix(b, []byte("\n"))
		if errors.Is(err, bufio.ErrBufferFull) {
			b = bytes.Clone(b[:maxLine])
			for errors.Is(err, bufio.ErrBufferFull) {
				_, err = in.ReadSlice('\n')
			}
		}
		if begun {
			f(number, b[:min(len(b), maxLine)])
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// Plain returns a line without the control sequences of ECMA-48: CSI (colours,
// cursor), strings like OSC (titles, links) with what they carry, and short escapes.
// One that doesn't end takes nothing but its beginning with it, so that no line can
// hide its own rest. b stays as it is.
func Plain(b []byte) []byte {
	if bytes.IndexByte(b, 0x1b) < 0 {
		return b
	}
	out := make([]byte, 0, len(b))
	ends := true // a string that begins may yet end
	for i := 0; i < len(b); {
		if b[i] != 0x1b {
			out = append(out, b[i])
			i++
			continue
		}
		i += escapeLength(b[i:], &ends)
	}
	return out
}

// escapeLength returns how many bytes the escape at the beginning of b has. Once no
// end of a string is found in the line it sets ends to false and looks for none any
// more, for a line of many beginnings would take the square of its length.
func escapeLength(b []byte, ends *bool) int {
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
		for i := 2; i < len(b) && *ends; i++ {
			if b[i] == 0x07 {
				return i + 1
			}
			if b[i] == 0x1b && i+1 < len(b) && b[i+1] == '\\' {
				return i + 2
			}
		}
		*ends = false
		return 2
	case c >= 0x20 && c <= 0x2f: // with one more byte, as the choice of a character set
		return min(3, len(b))
	case c >= 0x30 && c <= 0x7e:
		return 2
	}
	return 1
}
