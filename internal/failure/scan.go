package failure

import (
	"bytes"
	"strings"
)

// found is what a rule has found: the place, and the words of its sentence.
type found struct {
	log    string
	number int
	line   []byte
	before [][]byte
	after  [][]byte
	match  []string          // what the rule's expression caught
	notes  map[string]string // what was noted when it matched
	next   string            // the line behind, if the rule wants that
	waits  bool              // for that line
	open   bool              // it wants lines behind it
}

func (f *found) cause(k Kind, text string) Cause {
	c := Cause{Kind: k, Text: oneLine(text, maxText), Hint: hints[k], Log: f.log}
	if f.log == Words {
		return c
	}
	c.Number, c.Line, c.Before, c.After = f.number, quote(f.line), quotes(f.before), quotes(f.after)
	return c
}

// says is the rule's sentence.
func (f *found) says(r *rule) string {
	var b strings.Builder
	for rest := r.says; ; {
		plain, name, ok := strings.Cut(rest, "{")
		b.WriteString(plain)
		if !ok {
			return strings.Trim(b.String(), " :,")
		}
		name, rest, _ = strings.Cut(name, "}")
		switch {
		case name == "next":
			b.WriteString(f.next)
		case len(name) == 1 && name[0] >= '0' && int(name[0]-'0') < len(f.match):
			b.WriteString(f.match[name[0]-'0'])
		default:
			b.WriteString(f.notes[name])
		}
	}
}

// What expressions may cost. Each try is paid for by the bytes that were read, so that
// no log, whatever its lines are, takes longer than a few readings of it would. A log
// that isn't made for it never comes near.
const (
	tryCost = 16      // and a quarter of the line's length
	credit  = 4 << 20 // what is there at the beginning, and at most
)

// scan is one pass over one log.
type scan struct {
	*Digest
	set     *ruleSet
	log     string
	section string            // of the spec, that runs
	notes   map[string]string // what lines before have told
	ring    [Around][]byte    // the last lines
	count   int               // lines put there
	open    []*found
	seen    []bool // by literal, for one line
	hit     []int
	credit  int
	last    found // the last line that isn't blank
}

func newScan(d *Digest, set *ruleSet, log string) *scan {
	return &scan{Digest: d, set: set, log: log, notes: make(map[string]string), seen: make([]bool, len(set.literals)), credit: credit}
}

// take takes in one line.
func (s *scan) take(number int, b []byte) {
	b = bytes.TrimSuffix(Plain(b), []byte("\r"))
	if i := bytes.LastIndexByte(b, '\r'); i >= 0 {
		b = b[i+1:] // a progress bar's last state
	}
	s.credit = min(s.credit+len(b)+1, credit)
	s.follow(b)
	s.hit = s.hit[:0]
	s.set.words.in(b, func(l int) {
		if !s.seen[l] {
			s.seen[l] = true
			s.hit = append(s.hit, l)
		}
	})
	if len(s.hit) > 0 {
		for _, l := range s.hit {
			s.seen[l] = false
		}
		s.try(number, b)
	}
	if len(bytes.TrimSpace(b)) > 0 {
		s.last.number, s.last.line = number, append(s.last.line[:0], b[:min(len(b), maxQuote)]...)
	}
	slot := &s.ring[s.count%Around]
	*slot = append((*slot)[:0], b[:min(len(b), maxQuote)]...)
	s.count++
}

// follow gives the line to what wants lines behind it.
func (s *scan) follow(b []byte) {
	open := s.open[:0]
	for _, f := range s.open {
		if f.waits && len(bytes.TrimSpace(b)) > 0 {
			f.next, f.waits = oneLine(strings.TrimLeft(string(b), " \t->"), maxQuote), false
		}
		if len(f.after) < Around {
			f.after = put(f.after, b)
		}
		if f.open = f.waits || len(f.after) < Around; f.open {
			open = append(open, f)
		}
	}
	s.open = open
}

// put adds a line to a list in whose room there may be an old one.
func put(list [][]byte, b []byte) [][]byte {
	if len(list) == cap(list) {
		list = append(list, nil)
	} else {
		list = list[:len(list)+1]
	}
	at := &list[len(list)-1]
	*at = append((*at)[:0], b[:min(len(b), maxQuote)]...)
	return list
}

// pay reports whether one more try at a line can be afforded.
func (s *scan) pay(b []byte) bool {
	cost := tryCost + len(b)/4
	if s.credit < cost {
		return false
	}
	s.credit -= cost
	return true
}

// try asks the rules whose literals are in the line.
func (s *scan) try(number int, b []byte) {
	for _, l := range s.hit {
		for _, n := range s.set.notes[l] {
			if !bytes.HasPrefix(b, n.begins) || !s.pay(b) {
				continue
			}
			if m := n.re.FindSubmatch(b); m != nil {
				s.note(n, oneLine(string(m[len(m)-1]), maxQuote))
			}
		}
	}
	for _, l := range s.hit {
		for _, i := range s.set.rules[l] {
			r := table().rules[i]
			if s.found[i] != nil || !bytes.HasPrefix(b, r.begins) || !r.in(s.section) || !s.pay(b) {
				continue
			}
			if m := r.re.FindSubmatch(b); m != nil && (r.when == nil || r.when.MatchString(s.notes[r.of])) {
				s.find(i, r, m, number, b)
			}
		}
		if s.set.speaks[l] {
			if s.unknown == nil {
				s.unknown = &found{log: s.log}
			}
			s.unknown.log = s.log
			s.mark(s.unknown, number, b)
			s.wants(s.unknown)
		}
	}
}

// find keeps what a rule has found in this line.
func (s *scan) find(i int, r *rule, m [][]byte, number int, b []byte) {
	f := &found{log: s.log, waits: r.next}
	for _, part := range m {
		f.match = append(f.match, oneLine(string(part), maxQuote))
	}
	for name, value := range s.notes {
		if strings.Contains(r.says, "{"+name+"}") {
			if f.notes == nil {
				f.notes = make(map[string]string)
			}
			f.notes[name] = value
		}
	}
	s.mark(f, number, b)
	s.wants(f)
	s.found[i] = f
}

// end returns the log's last line that isn't blank, nil if there is none.
func (s *scan) end() *found {
	if s.last.number == 0 {
		return nil
	}
	f := s.last
	f.log = s.log
	for i := max(0, s.count-Around); i < f.number-1; i++ { // lines count from 1
		f.before = put(f.before, s.ring[i%Around])
	}
	return &f
}

// mark makes f one of this line.
func (s *scan) mark(f *found, number int, b []byte) {
	f.number = number
	f.line = append(f.line[:0], b[:min(len(b), maxQuote)]...)
	f.before, f.after = f.before[:0], f.after[:0]
	for i := max(0, s.count-Around); i < s.count; i++ {
		f.before = put(f.before, s.ring[i%Around])
	}
}

func (s *scan) wants(f *found) {
	if !f.open {
		f.open = true
		s.open = append(s.open, f)
	}
}

// note keeps what a line tells for later sentences. What a section said that has
// passed is no cause of what comes after it.
func (s *scan) note(n *note, value string) {
	if n.name != "section" {
		s.notes[n.name] = value
		return
	}
	if value == s.section {
		return
	}
	s.section = value
	clear(s.notes)
	s.notes["section"] = value
	for i, f := range s.found {
		if f != nil && f.log == Build {
			s.found[i] = nil
		}
	}
	if s.unknown != nil { // it may want lines still, and mustn't get them
		s.unknown = nil
	}
}

func quotes(list [][]byte) []string {
	var out []string
	for _, b := range list {
		out = append(out, quote(b))
	}
	return out
}

func quote(b []byte) string {
	return strings.ReplaceAll(strings.ToValidUTF8(string(b), "\uFFFD"), "\x00", "\uFFFD")
}
