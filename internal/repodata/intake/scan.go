package intake

import (
	"bufio"
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"

	"albs/internal/albs"
)

const (
	// MaxTokenBytes bounds one XML token, so that a text or a list of attributes
	// without end is refused before it fills the memory.
	MaxTokenBytes = 1 << 20
	maxDepth      = 16
)

// errSource marks an error of the reader below, which says nothing about the bytes.
var errSource = errors.New("the source failed")

// Event is what Scanner.Next found.
type Event int

const (
	Start Event = iota // an element begins; Depth counts it
	End                // an element has ended; Depth does not count it any more
)

// Scanner walks other people's XML element by element within bounds: so many bytes in
// all, since the last refill and in one token, and so many levels. encoding/xml
// knows no entities but XML's five, and the scanner refuses directives, so nothing can
// be declared, expanded or fetched.
type Scanner struct {
	in  *meter
	dec *xml.Decoder
	// Depth is how many elements are open, the one that began last among them.
	Depth int
	// Name is the local name of the element of the last event.
	Name string

	attrs []xml.Attr // of the element that began last
	buf   []byte     // text since the last start
}

// NewScanner reads at most total bytes of r, and at most chunk between two calls
// of Refill.
func NewScanner(r io.Reader, total, chunk int64) *Scanner {
	in := &meter{r: bufio.NewReaderSize(r, 64<<10), total: total, chunk: chunk, left: chunk}
	return &Scanner{in: in, dec: xml.NewDecoder(in)}
}

// Refill allows another chunk of bytes.
func (s *Scanner) Refill() { s.in.left = s.in.chunk }

// Root reads up to and including the start of the root element.
func (s *Scanner) Root(name string) error {
	if ev, err := s.Next(); err != nil {
		return err
	} else if ev != Start || s.Name != name {
		return fmt.Errorf("the root element is %.40q, not %q", s.Name, name)
	}
	return nil
}

// Next returns the next start or end of an element. Attributes and text stay
// readable until the next start.
func (s *Scanner) Next() (Event, error) {
	for {
		s.in.token = MaxTokenBytes
		tok, err := s.dec.Token()
		if err != nil {
			if s.in.err != nil {
				return 0, s.in.err
			}
			if errors.Is(err, io.EOF) {
				return 0, errors.New("the document ends too early")
			}
			return 0, err
		}
		switch t := tok.(type) {
		case xml.StartElement:
			if s.Depth++; s.Depth > maxDepth {
				return 0, fmt.Errorf("elements are nested deeper than %d", maxDepth)
			}
			s.Name, s.attrs, s.buf = t.Name.Local, t.Attr, s.buf[:0]
			return Start, nil
		case xml.EndElement:
			s.Depth--
			s.Name = t.Name.Local
			return End, nil
		case xml.CharData:
			if s.Depth > 0 {
				s.buf = append(s.buf, t...)
			} else if len(bytes.TrimSpace(t)) > 0 {
				return 0, errors.New("there is text outside the root element")
			}
		case xml.Directive:
			return 0, errors.New("document type declarations are not accepted")
		}
	}
}

// Finish reads what may follow the root element: nothing but space and comments.
// It drains the source, so that one that checks itself at its end has done so.
func (s *Scanner) Finish() error {
	s.in.token = MaxTokenBytes
	for {
		tok, err := s.dec.Token()
		switch {
		case s.in.err != nil:
			return s.in.err
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if t, ok := tok.(xml.CharData); ok && len(bytes.TrimSpace(t)) == 0 {
			continue
		}
		if _, ok := tok.(xml.Comment); !ok {
			return errors.New("something follows the root element")
		}
	}
}

// Attr returns the value of the attribute with the local name, or "".
func (s *Scanner) Attr(name string) string {
	for _, a := range s.attrs {
		if a.Name.Local == name {
			return a.Value
		}
	}
	return ""
}

// Text returns the text since the last start.
func (s *Scanner) Text() string { return string(s.buf) }

// meter counts the bytes that the decoder takes. Being an io.ByteReader it is read
// without a buffer between, so the counts are exact.
type meter struct {
	r                         *bufio.Reader
	total, left, chunk, token int64
	err                       error // what ended the input, but io.EOF
}

// ReadByte implements io.ByteReader.
func (m *meter) ReadByte() (byte, error) {
	if m.err != nil {
		return 0, m.err
	}
	if m.total <= 0 || m.left <= 0 || m.token <= 0 {
		if _, err := m.r.Peek(1); errors.Is(err, io.EOF) {
			return 0, io.EOF
		}
		m.err = albs.Errorf(albs.TooLarge, "the document, one of its packages or one of its tokens is too long")
		return 0, m.err
	}
	m.total, m.left, m.token = m.total-1, m.left-1, m.token-1
	c, err := m.r.ReadByte()
	if err != nil && !errors.Is(err, io.EOF) {
		m.err = err
		return 0, m.err
	}
	return c, err
}

// Read implements io.Reader for xml.NewDecoder, which uses ReadByte alone.
func (m *meter) Read(p []byte) (int, error) {
	if len(p) == 0 {
		return 0, nil
	}
	c, err := m.ReadByte()
	if err != nil {
		return 0, err
	}
	p[0] = c
	return 1, nil
}
