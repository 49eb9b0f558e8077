package dnf

import (
	"bytes"
	"strings"
)

// Listener is an io.Writer for what dnf says: it keeps the end of that, and knows how far
// dnf has come. Scriptlets speak through dnf, so that what it knows may be their lie: it
// is for telling whose fault a failure is, and nothing else.
type Listener struct {
	most  int
	tail  []byte
	line  []byte
	began bool
	at    string
}

// NewListener returns a Listener that keeps the last most bytes.
func NewListener(most int) *Listener { return &Listener{most: most} }

// maxLine bounds in bytes what of one line is looked at.
const maxLine = 1024

// Write implements io.Writer; it never fails.
func (l *Listener) Write(p []byte) (int, error) {
	if l.tail = append(l.tail, p...); len(l.tail) > 2*l.most {
		l.tail = append(l.tail[:0], l.tail[len(l.tail)-l.most:]...)
	}
	for rest := p; len(rest) > 0; {
		part, behind, ended := bytes.Cut(rest, []byte("\n"))
		l.line = append(l.line, part[:min(len(part), maxLine-min(maxLine, len(l.line)))]...)
		if rest = behind; ended {
			l.hear(strings.TrimSpace(string(l.line)))
			l.line = l.line[:0]
		}
	}
	return len(p), nil
}

// hear takes in one line.
func (l *Listener) hear(line string) {
	if !l.began {
		l.began = line == "Running transaction" // dnf 4 and dnf 5
	} else if p := scriptletOf(line); p != "" {
		l.at = p
	}
}

// scriptletOf returns the package that dnf says it runs a scriptlet of, "" if it doesn't.
func scriptletOf(line string) string {
	if _, what, ok := strings.Cut(line, "Running scriptlet: "); ok {
		if f := strings.Fields(what); len(f) > 0 && plainNEVRA.MatchString(f[0]) {
			return f[0]
		}
	}
	return ""
}

// Bytes returns the end of what was said, valid until the next Write.
func (l *Listener) Bytes() []byte { return l.tail[max(0, len(l.tail)-l.most):] }

// Began reports whether dnf had come to lay packages out, or to remove them. Until then
// nothing of a package has run, and a failure is the repositories' or the host's.
func (l *Listener) Began() bool { return l.began }

// Scriptlet returns the package whose scriptlet was run last, "" if none is known.
func (l *Listener) Scriptlet() string {
	if l.began { // the last step's line has its end when that has
		if p := scriptletOf(string(l.line)); p != "" {
			return p
		}
	}
	return l.at
}
