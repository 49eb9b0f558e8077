package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/testrun"
)

// The form of JUnit's reports has no standard. This is what Jenkins' junit-10.xsd
// (jenkinsci/xunit-plugin) takes and other readers too: a suite for each package, a test case
// for each check.
type (
	junitSuites struct {
		XMLName  xml.Name     `xml:"testsuites"`
		Name     string       `xml:"name,attr"`
		Tests    int          `xml:"tests,attr"`
		Failures int          `xml:"failures,attr"`
		Errors   int          `xml:"errors,attr"`
		Time     string       `xml:"time,attr"`
		Suites   []junitSuite `xml:"testsuite"`
	}
	junitSuite struct {
		XMLName    xml.Name        `xml:"testsuite"`
		Name       string          `xml:"name,attr"`
		Package    string          `xml:"package,attr"`
		Tests      int             `xml:"tests,attr"`
		Failures   int             `xml:"failures,attr"`
		Errors     int             `xml:"errors,attr"`
		Skipped    int             `xml:"skipped,attr"`
		Time       string          `xml:"time,attr"`
		Timestamp  string          `xml:"timestamp,attr,omitempty"` // UTC, as readers want it without a zone
		Properties []junitProperty `xml:"properties>property"`
		Cases      []junitCase     `xml:"testcase"`
	}
	junitProperty struct {
		Name  string `xml:"name,attr"`
		Value string `xml:"value,attr"`
	}
	junitCase struct {
		XMLName   xml.Name   `xml:"testcase"`
		Name      string     `xml:"name,attr"`
		ClassName string     `xml:"classname,attr"`
		Time      string     `xml:"time,attr"`
		Skipped   *junitNote `xml:"skipped,omitempty"`
		Error     *junitNote `xml:"error,omitempty"`
		Failure   *junitNote `xml:"failure,omitempty"`
	}
	junitNote struct {
		Message string `xml:"message,attr"`
		Type    string `xml:"type,attr,omitempty"`
		Text    string `xml:",chardata"`
	}
)

// WriteJUnit writes results, which are of something of that name, as a report in JUnit's
// form. What failed is a failure; what couldn't be run, or isn't known yet, an error, so that
// no reader takes it for good; what was skipped, or failed as its author expects, is skipped.
// Characters that XML can't have are U+FFFD in it.
func WriteJUnit(w io.Writer, name string, results []Result) error {
	doc := junitSuites{Name: name}
	var all time.Duration
	for i := range results {
		suite, took := suiteOf(&results[i])
		doc.Suites = append(doc.Suites, suite)
		doc.Tests, doc.Failures, doc.Errors = doc.Tests+suite.Tests, doc.Failures+suite.Failures, doc.Errors+suite.Errors
		all += took
	}
	doc.Time = seconds(all)
	if _, err := io.WriteString(w, xml.Header); err != nil {
		return err
	}
	enc := xml.NewEncoder(w)
	enc.Indent("", " ")
	if err := enc.Encode(doc); err != nil {
		return fmt.Errorf("write JUnit report: %w", err)
	}
	_, err := io.WriteString(w, "\n")
	return err
}

func suiteOf(r *Result) (junitSuite, time.Duration) {
	where := fmt.Sprintf("%s.%s", r.Run.Platform, r.Run.Arch)
	name := r.NEVRA + " on " + r.Run.Platform + " " + string(r.Run.Arch)
	if r.SignedBy != "" {
		name += ", signed"
	}
	s := junitSuite{Name: name, Package: where, Properties: []junitProperty{
		{"build", r.Run.Build.String()}, {"build_task", r.Run.BuildTask.String()}, {"task", r.Run.Task.ID.String()}, {"revision", strconv.Itoa(r.Run.Revision)},
		{"platform", r.Run.Platform}, {"arch", string(r.Run.Arch)}, {"nevra", r.NEVRA}, {"sha256", string(r.Digest)}, {"signed_by", r.SignedBy}, {"verdict", string(r.Verdict.State)},
	}}
	var took time.Duration
	for _, st := range r.Stages {
		if s.Timestamp == "" && !st.Started.IsZero() {
			s.Timestamp = st.Started.UTC().Format("2006-01-02T15:04:05")
		}
		took += st.Took
	}
	s.Time = seconds(took)
	for _, c := range ChecksOf(r) {
		x := junitCase{Name: c.Case, ClassName: fmt.Sprintf("%s.%s.%s", where, r.NEVRA, c.Stage), Time: seconds(c.Took)}
		if x.Name == "" {
			x.Name = string(c.Stage)
		}
		if c.Stage == "" {
			x.Name, x.ClassName = "tests", where+"."+r.NEVRA
		}
		note := &junitNote{Message: firstLine(c.Detail), Type: string(c.Status), Text: c.Detail}
		s.Tests++
		switch {
		case c.Status == albs.TestPassed || c.Status == albs.TestStatus(testrun.Passed):
		case c.Status == albs.TestSkipped || c.Status == albs.TestTodo:
			s.Skipped++
			x.Skipped = note
		case c.Status == albs.TestFailed:
			s.Failures++
			x.Failure = note
		default:
			s.Errors++
			x.Error = note
		}
		s.Cases = append(s.Cases, x)
	}
	return s, took
}

func seconds(d time.Duration) string { return strconv.FormatFloat(d.Seconds(), 'f', 3, 64) }

func firstLine(s string) string {
	line, _, _ := strings.Cut(s, "\n")
	return line
}
