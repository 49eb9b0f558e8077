// Package integrity says whether an installed package is what its header says: each of
// its files, the libraries that its programs need, where they look for them, and what
// its scriptlets came to.
//
// It owns the rules and judges by them; how a root is looked at is a View's, and no
// program of the root has a part in it: the package under test may have changed each of
// them. Invariants: one package, header and root give one answer; a root that is hostile
// can have a rule fail, and never one that would fail pass for want of room.
package integrity

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox/examine"
)

// View is a root that can be looked at. Both answer as the methods of sandbox.Root do.
type View interface {
	Examine(ctx context.Context, asks []examine.Ask) ([]examine.Entry, error)
	ReadFile(ctx context.Context, name string, limit int64) ([]byte, error)
}

// Subject is the package under test.
type Subject struct {
	// Package is what the header of the installed file says.
	Package *rpm.Package
	// Arch is the root's.
	Arch albs.Arch
	// Said is what dnf and rpm said while they installed it.
	Said []byte
	// Replaced is the NEVRA of the version in whose place it was installed; "" for none.
	// What its scriptlets came to counts too.
	Replaced string
}

// Names of the rules, in the order in which Check applies them.
const (
	RuleFiles      = "files"      // each is there, and of its kind
	RuleModes      = "modes"      // with its permissions
	RuleOwners     = "owners"     // its user and its group
	RuleContents   = "contents"   // its size and digest
	RuleLinks      = "links"      // as it is written in the header
	RuleDangling   = "dangling"   // and leading somewhere
	RuleLibraries  = "libraries"  // which programs need are found
	RuleRPath      = "rpath"      // and looked for where nobody else can put some
	RuleScriptlets = "scriptlets" // which ran and succeeded
)

// Rules lists the names of the rules in the order in which Check applies them.
var Rules = []string{RuleFiles, RuleModes, RuleOwners, RuleContents, RuleLinks, RuleDangling, RuleLibraries, RuleRPath, RuleScriptlets}

// Verdict is what one rule came to.
type Verdict struct {
	Rule  string
	Found []string // what is wrong, a sentence each; none if all is well
	// Skipped is why the rule has nothing to say about this package; "" if it has.
	Skipped string
}

// maxFound bounds what one rule tells: a package may have 100,000 files.
const maxFound = 20

// Check applies every rule to the subject as it lies in the root, and returns a verdict
// for each. An error is the View's, or Invalid where the root goes beyond its bounds.
func Check(ctx context.Context, s Subject, v View) ([]Verdict, error) {
	c := &check{Subject: s, view: v, found: map[string]*findings{}, skipped: map[string]string{}}
	for _, r := range Rules {
		c.found[r] = &findings{}
	}
	if err := c.files(ctx); err != nil {
		return nil, err
	}
	if err := c.objects(ctx); err != nil {
		return nil, err
	}
	c.scriptlets()
	verdicts := make([]Verdict, len(Rules))
	for i, r := range Rules {
		verdicts[i] = Verdict{Rule: r, Found: c.found[r].list(), Skipped: c.skipped[r]}
	}
	return verdicts, nil
}

// check is one Check at work.
type check struct {
	Subject
	view    View
	found   map[string]*findings
	skipped map[string]string
	entries map[string]examine.Entry // of the package's files that aren't ghosts
}

func (c *check) say(rule, format string, args ...any) {
	c.found[rule].add(fmt.Sprintf(format, args...))
}

// findings are what one rule found: the first, and how many.
type findings struct {
	first []string
	n     int
}

func (f *findings) add(s string) {
	if f.n++; len(f.first) < maxFound {
		f.first = append(f.first, s)
	}
}

func (f *findings) list() []string {
	if n := f.n - len(f.first); n > 0 {
		return append(slices.Clone(f.first), fmt.Sprintf("and %d more", n))
	}
	return f.first
}

// readFile returns a file of the root, nil if there is none that can be read.
func (c *check) readFile(ctx context.Context, name string, limit int64) ([]byte, error) {
	b, err := c.view.ReadFile(ctx, name, limit)
	if errors.Is(err, albs.Invalid) || errors.Is(err, albs.NotFound) {
		return nil, nil
	}
	return b, err
}
