package tester

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Bounds of what is kept of words, in bytes.
const (
	maxDetail   = 2000      // of a case
	maxSentence = 500       // of a stage's reason
	maxHead     = 256 << 10 // of a stage's own log, from its beginning
	maxTail     = 768 << 10 // and from its end
	maxStageLog = 4 << 20   // of a stage in the log of the task
)

// shorten cuts what a check said to what is kept.
func shorten(s string) string {
	s = strings.ToValidUTF8(strings.TrimSpace(s), "?")
	if len(s) > maxDetail {
		s = strings.ToValidUTF8(s[:maxDetail], "") + " …"
	}
	return s
}

// sentence makes one line of words.
func sentence(s string) string {
	s = strings.Join(strings.Fields(strings.ToValidUTF8(s, "?")), " ")
	if len(s) > maxSentence {
		s = strings.ToValidUTF8(s[:maxSentence], "") + " …"
	}
	return s
}

// clip keeps the beginning and the end of what is written to it: the beginning says what
// was done, the end why it ended.
type clip struct {
	head, tail []byte
	lost       int64
}

// Write implements io.Writer; it never fails.
func (c *clip) Write(p []byte) (int, error) {
	n := min(len(p), maxHead-len(c.head))
	c.head = append(c.head, p[:n]...)
	if rest := p[n:]; len(rest) > maxTail {
		c.lost += int64(len(c.tail) + len(rest) - maxTail)
		c.tail = append(c.tail[:0], rest[len(rest)-maxTail:]...)
	} else if c.tail = append(c.tail, rest...); len(c.tail) > 2*maxTail {
		c.cut()
	}
	return len(p), nil
}

// cut drops from the tail what is beyond its bound.
func (c *clip) cut() {
	if over := len(c.tail) - maxTail; over > 0 {
		c.lost += int64(over)
		c.tail = append(c.tail[:0], c.tail[over:]...)
	}
}

// Bytes returns what is kept, with a notice where something is missing.
func (c *clip) Bytes() []byte {
	c.cut()
	if c.lost == 0 {
		return slices.Concat(c.head, c.tail)
	}
	return slices.Concat(c.head, fmt.Appendf(nil, "\n[albs: %d bytes are left out here]\n", c.lost), c.tail)
}

// capped passes on the first bytes and swallows the rest, with a notice.
type capped struct {
	w    io.Writer
	left int64
}

// Write implements io.Writer.
func (c *capped) Write(p []byte) (int, error) {
	if c.left <= 0 {
		return len(p), nil
	}
	n := min(int64(len(p)), c.left)
	if _, err := c.w.Write(p[:n]); err != nil {
		return 0, err
	}
	if c.left -= n; c.left == 0 {
		if _, err := fmt.Fprintf(c.w, "\n[albs: the rest of this stage is left out here]\n"); err != nil {
			return 0, err
		}
	}
	return len(p), nil
}
