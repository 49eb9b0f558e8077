package depend

import (
	"fmt"
	"strings"

	"albs/internal/rpm"
)

// Rich reports whether the requirement is a boolean dependency
// (https://rpm-software-management.github.io/rpm/manual/boolean_dependencies.html).
func (c Capability) Rich() bool { return strings.HasPrefix(c.Name, "(") }

// Parts returns the plain capabilities that a requirement is made of; none if it can't be
// read.
func (c Capability) Parts() []Capability {
	if !c.Rich() {
		return []Capability{c}
	}
	e, err := parse(c.Name)
	if err != nil {
		return nil
	}
	return e.leaves(nil)
}

// expression is a boolean dependency: a capability, or two expressions under an operator.
// `a if b else c` is if(a, else(b, c)).
type expression struct {
	leaf        Capability
	op          string
	left, right *expression
}

func (e *expression) leaves(to []Capability) []Capability {
	if e.op == "" {
		return append(to, e.leaf)
	}
	return e.right.leaves(e.left.leaves(to))
}

const (
	maxRich  = 64 << 10 // bytes of one
	maxDepth = 32
)

type parser struct {
	rest  string
	depth int
}

func parse(s string) (*expression, error) {
	if len(s) > maxRich {
		return nil, fmt.Errorf("it has more than %d bytes", maxRich)
	}
	p := parser{rest: s}
	e, err := p.term()
	if err == nil && strings.TrimSpace(p.rest) != "" {
		err = fmt.Errorf("%.40q follows it", p.rest)
	}
	return e, err
}

// term is a capability, or an expression in parentheses.
func (p *parser) term() (*expression, error) {
	p.rest = strings.TrimLeft(p.rest, " ")
	if strings.HasPrefix(p.rest, "(") {
		if p.depth++; p.depth > maxDepth {
			return nil, fmt.Errorf("it is nested deeper than %d", maxDepth)
		}
		p.rest = p.rest[1:]
		e, err := p.chain()
		if err != nil {
			return nil, err
		}
		p.rest = strings.TrimLeft(p.rest, " ")
		if !strings.HasPrefix(p.rest, ")") {
			return nil, fmt.Errorf("a parenthesis isn't closed")
		}
		p.rest = p.rest[1:]
		p.depth--
		return e, nil
	}
	name := p.word()
	if name == "" {
		return nil, fmt.Errorf("a name is missing before %.40q", p.rest)
	}
	c := Capability{Name: name}
	saved := p.rest
	if op, ok := map[string]uint8{"<": rpm.Less, "<=": rpm.Less | rpm.Equal, "=": rpm.Equal, "==": rpm.Equal, ">=": rpm.Greater | rpm.Equal, ">": rpm.Greater}[p.word()]; ok {
		evr, err := rpm.ParseEVR(p.word())
		if err != nil || evr.Version == "" {
			return nil, fmt.Errorf("the version of %.40q is none", name)
		}
		c.Op, c.EVR = op, evr
	} else {
		p.rest = saved
	}
	return &expression{leaf: c}, nil
}

// word takes what stands before the next blank, or before a parenthesis that it didn't
// open: names have parentheses too.
func (p *parser) word() string {
	p.rest = strings.TrimLeft(p.rest, " ")
	open := 0
	for i, r := range p.rest {
		switch {
		case r == '(':
			open++
		case r == ')' && open == 0, r == ' ':
			w := p.rest[:i]
			p.rest = p.rest[i:]
			return w
		case r == ')':
			open--
		}
	}
	w := p.rest
	p.rest = ""
	return w
}

var richOperators = map[string]bool{"and": true, "or": true, "if": true, "unless": true, "else": true, "with": true, "without": true}

// chain is what stands in parentheses. A chain of one operator is read from the right,
// which makes no difference to and, or and with, and is what `if … else` means.
func (p *parser) chain() (*expression, error) {
	left, err := p.term()
	if err != nil {
		return nil, err
	}
	saved := p.rest
	op := p.word()
	if !richOperators[op] {
		p.rest = saved
		return left, nil
	}
	right, err := p.chain()
	if err != nil {
		return nil, err
	}
	return &expression{op: op, left: left, right: right}, nil
}
