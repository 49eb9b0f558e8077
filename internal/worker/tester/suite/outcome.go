package suite

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strings"

	"albs/internal/albs"
	"albs/internal/tap"
)

// Outcome is what a test came to.
type Outcome struct {
	Status tap.Status
	Reason string // a sentence, unless it passed
	Cases  []tap.Case
}

// Judge says what a test came to that wrote output to its standard output, left the report
// ("" if it is none that does) and ended with a code.
func (t Test) Judge(output, report []byte, code int) Outcome {
	var r tap.Report
	switch {
	case t.Form == JUnit:
		cases, err := junit(report)
		if err != nil && code == 0 {
			return Outcome{Status: tap.Failed, Reason: err.Error()}
		}
		r = tap.Report{Cases: cases, Planned: len(cases)}
	case t.Form == Play && code != 0:
		why := fmt.Sprintf("it ended with code %d", code)
		if task := failedTask(output); task != "" {
			why = fmt.Sprintf("the task %q failed", task)
		}
		return Outcome{Status: tap.Failed, Reason: why}
	case t.Form == Code && code == 1 && t.Fails:
		return Outcome{Status: tap.Todo, Reason: "it is known to fail"}
	case t.Form == Code && code == 0 && t.Fails:
		return Outcome{Status: tap.Failed, Reason: "it passed, and is said to be known to fail"}
	case t.Form == Code && code > 1:
		return Outcome{Status: tap.Failed, Reason: fmt.Sprintf("it ended with code %d, which is an error of the test", code)}
	case t.Form == TAP || t.Form == Any && tap.Seems(output):
		r, _ = tap.Parse(bytes.NewReader(output)) // which can be read
	case code != 0:
		return Outcome{Status: tap.Failed, Reason: fmt.Sprintf("it ended with code %d", code)}
	default:
		return Outcome{Status: tap.Passed}
	}
	status, why := r.Verdict(code)
	return Outcome{Status: status, Reason: why, Cases: r.Cases}
}

// Starts is the variable that tells a test how many times the system was started for it, 1
// at least: at first it isn't there.
const Starts = "ALBS_REBOOT_COUNT"

// startWish is the line by which a test asks, as for ALBS, for a start of the system.
const startWish = ">>>VMRESTART<<<"

// WantsStart reports whether a test with that output asks for the system to be started
// again, and itself to be run once more: by a line of its own, which may be a comment of TAP.
func WantsStart(output []byte) bool {
	for line := range bytes.Lines(output) {
		if string(bytes.Trim(line, "# \t\r\n")) == startWish {
			return true
		}
	}
	return false
}

// taskLine is how Ansible begins what it says of a task.
var taskLine = regexp.MustCompile(`^(?:TASK|RUNNING HANDLER) \[(.*)\] \**$`)

// failedTask returns the name of the task that ended a play, as ansible-playbook's own
// output has it; "" if that doesn't tell.
func failedTask(output []byte) string {
	task, ended := "", ""
	for line := range bytes.Lines(output) {
		line = bytes.TrimRight(line, "\r\n")
		switch m := taskLine.FindSubmatch(line); {
		case m != nil:
			task = string(m[1])
		case bytes.HasPrefix(line, []byte("fatal: [")) || bytes.HasPrefix(line, []byte("failed: [")):
			ended = task
		case string(line) == "...ignoring":
			ended = ""
		}
	}
	return ended
}

// junit reads a report in JUnit's form, as pytest writes it. One that can't be read is
// Invalid.
func junit(report []byte) ([]tap.Case, error) {
	type words struct {
		Type    string `xml:"type,attr"`
		Message string `xml:"message,attr"`
		Text    string `xml:",chardata"`
	}
	var cases []tap.Case
	d := xml.NewDecoder(bytes.NewReader(report))
	for root := false; ; {
		token, err := d.Token()
		if errors.Is(err, io.EOF) && root {
			return cases, nil
		}
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "it left no report that can be read: %v", err)
		}
		start, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		if root = true; start.Name.Local != "testcase" {
			continue
		}
		var c struct {
			Name    string  `xml:"name,attr"`
			Class   string  `xml:"classname,attr"`
			Failed  []words `xml:"failure"`
			Error   []words `xml:"error"`
			Skipped []words `xml:"skipped"`
		}
		if err := d.DecodeElement(&c, &start); err != nil {
			return nil, albs.Errorf(albs.Invalid, "it left no report that can be read: %v", err)
		}
		if len(cases) == tap.MaxCases {
			return nil, albs.Errorf(albs.Invalid, "it left a report of more than %d cases", tap.MaxCases)
		}
		one := tap.Case{Number: len(cases) + 1, Name: c.Name, Status: tap.Passed}
		if _, class, ok := strings.Cut(c.Class, "."); ok { // behind the module, which is the file
			one.Name = class + "." + c.Name
		}
		switch bad := append(c.Failed, c.Error...); {
		case len(bad) > 0:
			one.Status, one.Detail = tap.Failed, strings.TrimSpace(bad[0].Message+"\n"+bad[0].Text)
		case len(c.Skipped) > 0 && c.Skipped[0].Type == "pytest.xfail": // its author knows that it fails
			one.Status, one.Reason = tap.Todo, c.Skipped[0].Message
		case len(c.Skipped) > 0:
			one.Status, one.Reason = tap.Skipped, c.Skipped[0].Message
		}
		cases = append(cases, one)
	}
}
