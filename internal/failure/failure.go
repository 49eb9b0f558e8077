// Package failure finds in an attempt's logs why a package didn't build: the kind of
// the fault, the line that tells it, and a sentence for people.
//
// It is one table of rules (rules.go), tried in its order: the first that matches is
// the cause, whatever comes earlier in the logs, so that equal logs give equal causes
// whoever reads them and however they arrive. What no rule knows stays unknown and is
// never guessed at.
//
// Logs are hostile: packages write them. They are read once, a line at a time, in
// memory that doesn't grow with them, and in time that grows with their bytes alone.
// What is found is cut and valid UTF-8, but not otherwise harmless: who shows it makes
// it inert. A line's number is that of the log's viewer: lines end with "\n" and with
// nothing else, and the first is 1. The package opens nothing and keeps nothing.
package failure

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Kind is what was at fault. The words are part of the API.
type Kind string

// The kinds of cause.
const (
	Unknown      Kind = "unknown"
	Disk         Kind = "disk"       // no room for what was written
	Memory       Kind = "memory"     // a process was killed for its memory, or got none
	Time         Kind = "time"       // the work took longer than it may
	Silence      Kind = "silence"    // the work said nothing for longer than it may
	Output       Kind = "output"     // the work wrote more log than it may
	Node         Kind = "node"       // the worker was lost, or its own means failed
	Refused      Kind = "refused"    // the master didn't take what was made
	Repository   Kind = "repository" // a repository can't be reached, or its files are wrong
	Dependency   Kind = "dependency" // a requirement that nothing provides, or a conflict
	Scriptlet    Kind = "scriptlet"  // a package refused to be installed into the root
	ExcludedArch Kind = "arch"       // the package isn't for the arch
	Autospec     Kind = "autospec"   // release and changelog can't be filled in from the git history
	Macro        Kind = "macro"      // a macro that is wrong or missing
	Spec         Kind = "spec"       // rpmbuild can't read the spec file
	Source       Kind = "source"     // a source or patch file is missing, or isn't as the spec says
	Patch        Kind = "patch"      // a patch doesn't apply
	Configure    Kind = "configure"  // the build system refuses to begin
	Tool         Kind = "tool"       // a program or module isn't in the root
	Compile      Kind = "compile"    // a compiler's error
	Link         Kind = "link"       // a linker's error
	Make         Kind = "make"       // the build system's own error
	Test         Kind = "test"       // a test of %check failed, or a case of the package's own tests
	Unpackaged   Kind = "unpackaged" // files are installed that no %files section names
	Files        Kind = "files"      // %files names what isn't there
	Mismatch     Kind = "mismatch"   // binaries of an arch that the package isn't for
	Debuginfo    Kind = "debuginfo"  // debugging information can't be split off
	Policy       Kind = "policy"     // a check of what was installed: rpaths, shebangs, buildroot paths
	Key          Kind = "key"        // the signer doesn't hold the key, or can't read it
	Evidence     Kind = "evidence"   // what the master states of a package doesn't speak for what the signer sees
	Forbidden    Kind = "forbidden"  // the signer's policy doesn't let the key sign that
	Serial       Kind = "serial"     // what is public is of the same serial or a later one
	Place        Kind = "place"      // the public place isn't as the releaser left it
	Section      Kind = "section"    // a section of the spec ended with an error that no other rule knows
)

// Words names, in place of a log, the queue's and the worker's own words on how an
// attempt ended.
const Words = ""

// The logs that have rules, by the names under which a node streams them, in the
// order in which they are written.
const (
	State = "state"
	Root  = "root"
	Build = "build"
)

// Around is how many lines on each side of a cause's own are kept with it.
const Around = 3

// Cause is why an attempt failed.
type Cause struct {
	Kind Kind   `json:"kind"`
	Text string `json:"text"`           // one line for people
	Hint string `json:"hint,omitempty"` // what is usually done about it
	// Log and Number say where it stands: a stream's name and the line in it, from 1.
	// They are "" and 0 for what the logs don't tell.
	Log    string   `json:"log,omitempty"`
	Number int      `json:"line,omitempty"`
	Line   string   `json:"quote,omitempty"`  // that line, without terminal sequences, cut
	Before []string `json:"before,omitempty"` // the lines above it, at most Around
	After  []string `json:"after,omitempty"`  // and those below
}

// First is the number of the first line that the cause quotes.
func (c Cause) First() int { return c.Number - len(c.Before) }

// Digest collects what logs tell of one failure. Its methods must not be called
// concurrently.
type Digest struct {
	found   []*found // by the rules' order; nil where a rule matched nothing
	end     *found   // the last line of the build log that has text
	unknown *found   // the last line that speaks of an error
	failed  bool     // by its last words it was rpmbuild's own work that failed
	words   string
}

// New returns a Digest of an attempt that ended for the reason words, "" if none is
// known.
func New(words string) *Digest {
	d := &Digest{found: make([]*found, len(table().rules)), words: oneLine(words, maxText)}
	newScan(d, table().logs[Words], Words).take(1, []byte(d.words))
	return d
}

// OfWords returns the cause that the words of queue or worker tell: of an attempt that
// left no logs. It is Unknown, with no text but the words, if they tell none.
func OfWords(words string) Cause { return New(words).Cause() }

// OfCase returns why a test of a package failed: check is the name of the case, said
// what was found. It is told as OfWords tells it, and is a failed Test where that is
// Unknown, by the first line that was said.
func OfCase(pkg, check, said string) Cause {
	c := OfWords(said)
	if c.Kind == Unknown {
		first, _, _ := strings.Cut(strings.TrimSpace(said), "\n")
		c = Cause{Kind: Test, Text: first}
	}
	c.Text = oneLine(strings.TrimSuffix(check+" of "+pkg+": "+c.Text, ": "), maxText)
	return c
}

// Read takes in a log, one that has no rules without reading it. A log is to be read
// once and whole; an error is r's, and what was read until then counts.
func (d *Digest) Read(log string, r io.Reader) error {
	set := table().logs[log]
	if set == nil || log == Words {
		return nil
	}
	s := newScan(d, set, log)
	err := lines(r, s.take)
	if log == Build {
		d.end, d.failed = s.end(), s.notes["failed"] != ""
	}
	if err != nil {
		return fmt.Errorf("read log %s: %w", log, err)
	}
	return nil
}

// Cause returns what is known now.
func (d *Digest) Cause() Cause {
	// What dnf found wrong didn't matter where rpmbuild came to fail by itself.
	i := slices.IndexFunc(d.found, func(f *found) bool { return f != nil && !(f.log == Root && d.failed) })
	if i < 0 {
		if d.unknown == nil {
			return Cause{Kind: Unknown, Text: d.words}
		}
		return d.unknown.cause(Unknown, quote(d.unknown.line))
	}
	r, f := table().rules[i], d.found[i]
	c := f.cause(r.kind, f.says(r))
	// Where a limit ended the work, what it was at tells more than the limit's notice.
	if d.end != nil && (c.Kind == Time || c.Kind == Silence || c.Kind == Output) {
		at := d.end.cause(c.Kind, "")
		c.Log, c.Number, c.Line, c.Before, c.After = Build, at.Number, at.Line, at.Before, nil
	}
	return c
}

// Bounds of what a cause holds, in bytes.
const (
	maxText  = 400
	maxQuote = 300
)

// oneLine makes text fit for one line of at most most bytes.
func oneLine(s string, most int) string {
	return cut(strings.Join(strings.Fields(strings.ToValidUTF8(s, "\uFFFD")), " "), most)
}

func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	return strings.ToValidUTF8(s[:most], "") + "…"
}
