package sbom

import (
	"slices"
	"strings"
	"unicode"

	"github.com/github/go-spdx/v2/spdxexp"
)

// License is a licence as an SPDX expression.
type License struct {
	// Expression is by SPDX's ids, and by Refs for what has none; "" if nothing was said.
	Expression string
	// Refs are those licences of the expression that SPDX doesn't list, or that the
	// package's words don't tell from another, by their reference: the words.
	Refs map[string]string

	tree *term
}

// term is an expression as a tree: one licence, or several joined by op.
type term struct {
	id, exception string
	op            string // "AND", "OR", or "" for one licence
	of            []*term
}

// legacy are names of Fedora's scheme before SPDX's that mean one licence of SPDX's
// list. Names that stood for several (BSD, LGPLv2+, Python, …) aren't among them: which
// one is meant, the package has to say.
var legacy = map[string]string{
	"AGPLv3": "AGPL-3.0-only", "AGPLv3+": "AGPL-3.0-or-later",
	"ASL 1.0": "Apache-1.0", "ASL 1.1": "Apache-1.1", "ASL 2.0": "Apache-2.0",
	"Artistic 2.0": "Artistic-2.0", "Boost": "BSL-1.0", "CC0": "CC0-1.0", "CDDL": "CDDL-1.0", "CPL": "CPL-1.0", "EPL": "EPL-1.0",
	"EUPL 1.1": "EUPL-1.1", "EUPL 1.2": "EUPL-1.2",
	"GPL+": "GPL-1.0-or-later", "GPLv1": "GPL-1.0-only", "GPLv2": "GPL-2.0-only", "GPLv2+": "GPL-2.0-or-later", "GPLv3": "GPL-3.0-only", "GPLv3+": "GPL-3.0-or-later",
	"IBM": "IPL-1.0", "LGPLv3": "LGPL-3.0-only", "LGPLv3+": "LGPL-3.0-or-later",
	"MPLv1.0": "MPL-1.0", "MPLv1.1": "MPL-1.1", "MPLv2.0": "MPL-2.0", "OFL": "OFL-1.1", "QPL": "QPL-1.0", "ZPLv2.0": "ZPL-2.0", "ZPLv2.1": "ZPL-2.1",
}

// maxLicense is how long a licence may be for its grammar to be looked at, and maxDepth
// how deep in parentheses.
const (
	maxLicense = 4 << 10
	maxDepth   = 30
)

// ParseLicense reads the licence of a package's header, which is an SPDX expression or
// of Fedora's scheme before. It never fails: what can't be understood is one reference
// with the words that were there.
func ParseLicense(s string) License {
	s = strings.Join(strings.Fields(s), " ")
	if s == "" {
		return License{}
	}
	l := License{Refs: map[string]string{}}
	if len(s) <= maxLicense {
		p := licenseParser{license: &l, tokens: tokens(s)}
		if t, ok := p.terms(0); ok && p.at == len(p.tokens) {
			l.tree = t
		}
	}
	if l.tree == nil {
		clear(l.Refs)
		l.tree = l.reference(s)
	}
	l.Expression = l.tree.String()
	return l
}

// licenseParser reads: terms = term {("and"|"or") term}; term = "(" terms ")" | words.
// "and" binds closer, as SPDX has it; Fedora's scheme had parentheses where it mattered.
type licenseParser struct {
	license *License
	tokens  []string
	at      int
}

// tokens splits into parentheses, operators in lower case, and the words between them.
func tokens(s string) []string {
	var out, words []string
	flush := func() {
		if len(words) > 0 {
			out, words = append(out, strings.Join(words, " ")), nil
		}
	}
	s = strings.NewReplacer("(", " ( ", ")", " ) ").Replace(s)
	for _, w := range strings.Fields(s) {
		switch lower := strings.ToLower(w); lower {
		case "(", ")", "and", "or":
			flush()
			out = append(out, lower)
		default:
			words = append(words, w)
		}
	}
	flush()
	return out
}

func (p *licenseParser) next() string {
	if p.at == len(p.tokens) {
		return ""
	}
	return p.tokens[p.at]
}

func (p *licenseParser) terms(depth int) (*term, bool) {
	return p.joined("or", func() (*term, bool) {
		return p.joined("and", func() (*term, bool) { return p.term(depth) })
	})
}

func (p *licenseParser) joined(op string, part func() (*term, bool)) (*term, bool) {
	t, ok := part()
	if !ok {
		return nil, false
	}
	all := []*term{t}
	for p.next() == op {
		p.at++
		if t, ok = part(); !ok {
			return nil, false
		}
		all = append(all, t)
	}
	if len(all) == 1 {
		return t, true
	}
	return &term{op: strings.ToUpper(op), of: all}, true
}

func (p *licenseParser) term(depth int) (*term, bool) {
	switch words := p.next(); words {
	case "", ")", "and", "or":
		return nil, false
	case "(":
		if depth == maxDepth {
			return nil, false
		}
		p.at++
		t, ok := p.terms(depth + 1)
		if !ok || p.next() != ")" {
			return nil, false
		}
		p.at++
		return t, true
	default:
		p.at++
		return p.license.named(words), true
	}
}

// named returns one licence by its words.
func (l *License) named(words string) *term {
	if id, ok := legacy[words]; ok {
		return &term{id: id}
	}
	if !strings.Contains(words, "Ref-") { // which the list doesn't know, whatever it is called
		spelt, _ := spdxexp.ValidateAndNormalizeLicensesWithOptions([]string{words}, spdxexp.ValidateLicensesOptions{FailComplexExpressions: true})
		if len(spelt) == 1 {
			id, exception, _ := strings.Cut(spelt[0], " WITH ")
			return &term{id: id, exception: exception}
		}
	}
	return l.reference(words)
}

// reference returns a reference to what SPDX has no id for. One that the package itself
// has given keeps its name.
func (l *License) reference(words string) *term {
	name := strings.TrimPrefix(words, "LicenseRef-")
	var b strings.Builder
	for _, r := range strings.ReplaceAll(name, "+", "-or-later") {
		switch {
		case r < unicode.MaxASCII && (unicode.IsLetter(r) || unicode.IsDigit(r) || r == '.'):
			b.WriteRune(r)
		case b.Len() > 0 && !strings.HasSuffix(b.String(), "-"):
			b.WriteByte('-')
		}
	}
	id := strings.Trim(b.String(), "-")
	if len(id) > 60 {
		id = strings.Trim(id[:60], "-")
	}
	if id == "" {
		id = "unnamed"
	}
	ref := "LicenseRef-" + id
	for n := 2; l.Refs[ref] != "" && l.Refs[ref] != words; n++ {
		ref = "LicenseRef-" + id + "-" + strings.Repeat("x", n-1)
	}
	l.Refs[ref] = words
	return &term{id: ref}
}

// String writes the expression with no more parentheses than it needs.
func (t *term) String() string {
	if t.op == "" {
		if t.exception != "" {
			return t.id + " WITH " + t.exception
		}
		return t.id
	}
	parts := make([]string, len(t.of))
	for i, o := range t.of {
		parts[i] = o.String()
		if t.op == "AND" && o.op == "OR" {
			parts[i] = "(" + parts[i] + ")"
		}
	}
	return strings.Join(parts, " "+t.op+" ")
}

// references are the names of the licence's references, sorted.
func (l License) references() []string {
	out := make([]string, 0, len(l.Refs))
	for r := range l.Refs {
		out = append(out, r)
	}
	slices.Sort(out)
	return out
}
