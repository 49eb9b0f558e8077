package terminal

import (
	"fmt"
	"io"
)

// Meter shows on stderr how long work goes on: a line for each thing that happened,
// and on a terminal a last line with the state as it is, written over again and
// again. It is progress, so that a stderr which takes nothing is no error.
type Meter struct {
	w      io.Writer
	width  int // of the terminal; 0 for none
	status string
}

// NewMeter returns a Meter that shows nothing yet.
func (t *Terminal) NewMeter() *Meter {
	m := &Meter{w: t.Stderr}
	if width, ok := t.width(t.Stderr); ok && width > 1 {
		m.width = width
	}
	return m
}

// Line adds a line that stays.
func (m *Meter) Line(format string, args ...any) {
	m.clear()
	_, _ = fmt.Fprintln(m.w, Printable(fmt.Sprintf(format, args...)))
	m.draw()
}

// Now sets the last line.
func (m *Meter) Now(status string) {
	m.clear()
	m.status = status
	m.draw()
}

// End takes the last line away.
func (m *Meter) End() {
	m.clear()
	m.status = ""
}

func (m *Meter) clear() {
	if m.width > 0 && m.status != "" {
		_, _ = io.WriteString(m.w, "\r\x1b[K")
	}
}

func (m *Meter) draw() {
	if m.width > 0 && m.status != "" {
		line := []rune(Printable(m.status))
		_, _ = io.WriteString(m.w, string(line[:min(len(line), m.width-1)]))
	}
}
