// Package tap reads and writes the Test Anything Protocol, versions 12 to 14, and
// says what a stream of it comes to together with the exit code of the program that
// wrote it. The format's source is the TAP 14 specification of testanything.org.
//
// Streams are hostile: tests of packages write them. They are read once, a line at a
// time, in memory that is bounded, and no stream is refused: whatever is wrong with it
// becomes one of its Problems, and a stream with one hasn't passed. Lines that are no
// TAP are passed over, as the specification wants.
package tap

import (
	"fmt"
	"strings"
)

// Status is what became of a case or of a whole stream.
type Status string

// The statuses. A TODO case is one that is known to fail: it doesn't count, whatever it
// says.
const (
	Passed  Status = "passed"
	Failed  Status = "failed"
	Skipped Status = "skipped"
	Todo    Status = "todo"
)

// Case is one test point.
type Case struct {
	Number int    // as it was told or, where it wasn't, as it follows
	Name   string // the description; that of a subtest's case has its parent's before it, parted by " > "
	Status Status
	Reason string // of the directive SKIP or TODO
	Detail string // the YAML block, or the diagnostics that follow a case which isn't ok
}

// Report is what a stream said.
type Report struct {
	// Cases are in the order of the stream. Those of a subtest come before the case that
	// sums it up.
	Cases []Case
	// Planned is the number of cases that the plan names, -1 without a plan.
	Planned int
	// SkipAll is why the plan is empty, "" if it isn't or gives no reason.
	SkipAll string
	// Problems are what is wrong with the stream itself, each a sentence without its full
	// stop. A Bail out is among them.
	Problems []string
}

// Failed returns the first case that failed; false if none did.
func (r Report) Failed() (Case, bool) {
	for _, c := range r.Cases {
		if c.Status == Failed {
			return c, true
		}
	}
	return Case{}, false
}

// Verdict returns what the stream of a program that ended with that code comes to, and
// the sentence why if it isn't Passed. It has passed if there was a plan, all of it was
// kept, no case failed and the code is 0; it is Skipped if its plan is empty with a
// reason, or all of its cases are skipped. A plan without tests and without a reason is
// no success.
func (r Report) Verdict(code int) (Status, string) {
	if c, failed := r.Failed(); failed {
		n := 0
		for _, x := range r.Cases {
			if x.Status == Failed {
				n++
			}
		}
		return Failed, fmt.Sprintf("%d of %d cases failed, first %s", n, len(r.Cases), c.title())
	}
	switch {
	case len(r.Problems) > 0:
		return Failed, r.Problems[0]
	case code != 0 && len(r.Cases) > 0:
		return Failed, fmt.Sprintf("no case failed, and yet the program ended with code %d", code)
	case code != 0:
		return Failed, fmt.Sprintf("the program ended with code %d", code)
	case r.Planned == 0 && r.SkipAll != "":
		return Skipped, r.SkipAll
	case len(r.Cases) == 0:
		return Failed, "the plan has no tests"
	}
	for _, c := range r.Cases {
		if c.Status != Skipped {
			return Passed, ""
		}
	}
	if r.Cases[0].Reason == "" {
		return Skipped, "all of its cases are skipped"
	}
	return Skipped, "all of its cases are skipped: " + r.Cases[0].Reason
}

func (c Case) title() string {
	if c.Name == "" {
		return fmt.Sprintf("number %d", c.Number)
	}
	return c.Name
}

// Seems reports whether a program's output is meant as TAP: whether its first line that
// isn't empty or a comment is a version, a plan or a test point. Tests in languages that
// don't speak TAP are told by their exit code alone.
func Seems(output []byte) bool {
	for line := range strings.Lines(string(output)) {
		line = strings.TrimRight(line, "\r\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k := kindOf(line)
		return k == version || k == plan || k == point
	}
	return false
}
