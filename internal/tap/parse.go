package tap

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
)

// Bounds of a stream. What is beyond them is a problem of it, but for words for people,
// which are cut.
const (
	MaxCases    = 20_000
	maxLine     = 64 << 10 // bytes; the rest of a longer line is passed over
	maxText     = 500      // bytes of a name or a reason
	maxDetail   = 4 << 10  // bytes of one case
	maxDepth    = 8        // of subtests
	maxProblems = 20
)

// Parse reads a stream to its end. The error is that of reading; what is wrong with the
// stream is among the report's Problems.
func Parse(r io.Reader) (Report, error) {
	p := parser{open: []*stream{newStream()}}
	in := bufio.NewReaderSize(r, maxLine)
	for {
		line, err := in.ReadSlice('\n')
		if len(line) > 0 && !p.bail {
			p.line(clean(strings.TrimRight(string(line), "\r\n")))
		}
		for errors.Is(err, bufio.ErrBufferFull) {
			_, err = in.ReadSlice('\n')
		}
		if errors.Is(err, io.EOF) {
			return p.report(), nil
		}
		if err != nil {
			return p.report(), fmt.Errorf("read TAP: %w", err)
		}
	}
}

// clean makes text fit to be kept anywhere.
func clean(s string) string {
	return strings.ReplaceAll(strings.ToValidUTF8(s, "\uFFFD"), "\x00", "\uFFFD")
}

// cut shortens text to n bytes.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// stream is the whole or a subtest, as far as it was read.
type stream struct {
	planned  int  // -1 without a plan
	closed   bool // the plan came after cases: none may follow
	skipAll  string
	points   int // of its own, without those of subtests
	seen     map[int]bool
	cases    []Case
	problems []string
	child    *stream // a subtest that has ended and waits for the case that sums it up
}

func newStream() *stream { return &stream{planned: -1, seen: map[int]bool{}} }

// problem keeps a problem, unless there are enough or it is known.
func (s *stream) problem(format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if len(s.problems) < maxProblems && !slices.Contains(s.problems, text) {
		s.problems = append(s.problems, text)
	}
}

type parser struct {
	open  []*stream // the whole, and the subtests that are open, each in the one before it
	total int       // cases
	bail  bool
	last  *stream // to whose last case details belong; nil for nobody
	fresh bool    // the line before was a test point: a YAML block may follow
	yaml  int     // the indentation of the YAML block that is open, and 1 more; 0 for none
}

func (p *parser) line(line string) {
	body := strings.TrimLeft(line, " ")
	indent := len(line) - len(body)
	if p.yaml > 0 {
		if body == "..." && indent < p.yaml {
			p.yaml = 0
			return
		}
		p.detail(line[min(indent, p.yaml-1):])
		return
	}
	fresh := p.fresh
	p.fresh = false
	if fresh && body == "---" && indent > 0 {
		p.yaml = indent + 1
		return
	}
	k := kindOf(body)
	switch k {
	case other:
		return
	case comment:
		if p.last != nil && p.last.cases[len(p.last.cases)-1].Status == Failed {
			p.detail(strings.TrimPrefix(strings.TrimPrefix(body, "#"), " "))
		}
		return
	case bailOut: // wherever it stands, it ends everything
		p.bail = true
		reason := strings.TrimSpace(body[len(bailOutWords):])
		if reason == "" {
			reason = "no reason was given"
		}
		p.open[0].problem("the tests gave up: %s", cut(reason, maxText))
		return
	}
	s := p.at(indent)
	switch {
	case s == nil:
	case k == plan:
		s.plan(body)
	case k == point:
		p.point(s, body)
	case s.points > 0 || s.planned >= 0:
		s.problem("a version is told after the beginning")
	}
}

// detail adds a line to the words of the last case.
func (p *parser) detail(line string) {
	c := &p.last.cases[len(p.last.cases)-1]
	if len(c.Detail) < maxDetail {
		c.Detail = cut(strings.TrimPrefix(c.Detail+"\n"+line, "\n"), maxDetail)
	}
}

// at returns the stream that TAP of this indentation belongs to, and closes those that
// have ended by it; nil if there can't be one.
func (p *parser) at(indent int) *stream {
	depth := indent / 4
	if indent%4 != 0 || depth > len(p.open) {
		return nil
	}
	if depth > maxDepth {
		p.open[0].problem("subtests lie more than %d deep", maxDepth)
		return nil
	}
	p.close(depth + 1)
	if depth == len(p.open) {
		p.open[depth-1].orphan()
		p.open = append(p.open, newStream())
		p.last = nil
	}
	return p.open[depth]
}

// close ends the streams from depth on.
func (p *parser) close(depth int) {
	for len(p.open) > depth {
		s := p.open[len(p.open)-1]
		p.open = p.open[:len(p.open)-1]
		s.end()
		above := p.open[len(p.open)-1]
		above.orphan()
		above.child = s
	}
}

// orphan takes in a subtest that no case sums up.
func (s *stream) orphan() {
	if s.child != nil {
		s.problem("a subtest has no case that sums it up")
	}
	s.takeIn()
}

// takeIn keeps the cases of a subtest as they are.
func (s *stream) takeIn() {
	if c := s.child; c != nil {
		c.takeIn()
		s.cases = append(s.cases, c.cases...)
		s.child = nil
	}
}

// end holds a stream that was read whole against its plan.
func (s *stream) end() {
	s.orphan()
	switch {
	case s.planned < 0:
		s.problem("there is no plan")
	case s.points != s.planned:
		s.problem("the plan has %d tests, and %d were told of", s.planned, s.points)
	}
}

// plan reads "1..N # SKIP why".
func (s *stream) plan(body string) {
	if s.planned >= 0 {
		s.problem("there is more than one plan")
		return
	}
	number, rest, _ := strings.Cut(body[len("1.."):], "#")
	n, err := strconv.Atoi(strings.TrimSpace(number))
	if err != nil || n > MaxCases {
		s.problem("the plan is for more than %d tests", MaxCases)
		n = 0
	}
	s.planned, s.closed = n, s.points > 0
	if n > 0 {
		return
	}
	s.skipAll = cut(strings.TrimSpace(rest), maxText)
	if st, reason := directive(rest); st == Skipped && reason != "" {
		s.skipAll = reason
	}
}

// point reads "not ok 1 - description # directive reason".
func (p *parser) point(s *stream, body string) {
	p.last = nil
	if p.total++; p.total > MaxCases {
		p.open[0].problem("more than %d cases are told of", MaxCases)
		s.child = nil
		return
	}
	if s.closed {
		s.problem("a case follows the plan that ends the stream")
	}
	c := Case{Status: Passed}
	if rest, not := strings.CutPrefix(body, "not "); not {
		c.Status, body = Failed, strings.TrimLeft(rest, " ")
	}
	body = strings.TrimSpace(strings.TrimPrefix(body, "ok"))
	s.points++
	c.Number = s.points
	if digits := len(body) - len(strings.TrimLeft(body, "0123456789")); digits > 0 {
		n, err := strconv.Atoi(body[:digits])
		if err != nil || n == 0 || n > MaxCases {
			s.problem("%s is no number of a case", cut(body[:digits], 20))
		}
		c.Number, body = n, strings.TrimSpace(body[digits:])
	}
	if s.seen[c.Number] {
		s.problem("case %d is told of twice", c.Number)
	}
	s.seen[c.Number] = true
	if s.planned >= 0 && !s.closed && c.Number > s.planned {
		s.problem("case %d is beyond the plan, which ends at %d", c.Number, s.planned)
	}
	if body == "-" { // and no description
		body = ""
	}
	name, rest := split(strings.TrimSpace(strings.TrimPrefix(body, "- ")))
	c.Name = cut(name, maxText)
	switch st, reason := directive(rest); {
	case st == Todo, st == Skipped && c.Status == Passed: // what isn't ok wasn't skipped
		c.Status, c.Reason = st, reason
	}
	s.sumUp(&c)
	s.cases = append(s.cases, c)
	p.last, p.fresh = s, true
}

// sumUp lets a case stand for the subtest before it: cases of that get its name, and it
// has failed if the subtest has.
func (s *stream) sumUp(c *Case) {
	child := s.child
	if s.child = nil; child == nil {
		return
	}
	for _, x := range child.cases {
		switch {
		case c.Name != "" && x.Name != "":
			x.Name = cut(c.Name+" > "+x.Name, maxText)
		case c.Name != "":
			x.Name = cut(fmt.Sprintf("%s > %d", c.Name, x.Number), maxText)
		}
		if c.Status == Todo && x.Status == Failed { // known to fail as a whole
			x.Status, x.Reason = Todo, c.Reason
		}
		s.cases = append(s.cases, x)
	}
	if c.Status != Passed {
		return
	}
	if len(child.problems) > 0 {
		c.Status, c.Detail = Failed, "its subtest: "+child.problems[0]
	} else if slices.ContainsFunc(child.cases, func(x Case) bool { return x.Status == Failed }) {
		c.Status, c.Detail = Failed, "a case of its subtest failed"
	}
}

func (p *parser) report() Report {
	whole := p.open[0]
	if p.yaml > 0 {
		whole.problem("a YAML block has no end")
	}
	if p.bail { // what was to come is nobody's fault: only what was told is kept
		for i := len(p.open) - 1; i > 0; i-- {
			p.open[i-1].takeIn()
			p.open[i-1].child = p.open[i]
		}
		whole.takeIn()
	} else {
		p.close(1)
		whole.end()
	}
	return Report{Cases: whole.cases, Planned: whole.planned, SkipAll: whole.skipAll, Problems: whole.problems}
}
