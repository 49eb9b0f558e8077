package tester

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox"
	"albs/internal/worker/tester/engine"
	"albs/internal/worker/tester/suite"
)

// starter is an environment whose programs say what they are told by the number of starts.
type starter struct {
	engine.Environment
	says   []string // by starts
	able   bool
	starts int
	seen   []string // the variable, as each program found it
}

func (s *starter) CopyIn(context.Context, ...sandbox.Copy) error { return nil }

func (s *starter) Run(_ context.Context, c sandbox.Cmd) (int, error) {
	found := "none"
	for _, v := range c.Env {
		if value, ok := strings.CutPrefix(v, suite.Starts+"="); ok {
			found = value
		}
	}
	s.seen = append(s.seen, found)
	_, err := io.WriteString(c.Stdout, s.says[min(s.starts, len(s.says)-1)])
	return 0, err
}

func (s *starter) Reboot(_ context.Context, log io.Writer) error {
	if !s.able {
		return albs.Errorf(albs.NotFound, "there is no kernel to boot")
	}
	s.starts++
	_, err := fmt.Fprintf(log, "start %d\n", s.starts)
	return err
}

// A test that asks for a start of the system gets it, and is run again; the last time
// counts, and no other.
func TestStarts(t *testing.T) {
	t.Parallel()
	const wish = "1..1\nnot ok 1 early\n>>>VMRESTART<<<\n"
	for _, tt := range []struct {
		name   string
		says   []string
		able   bool
		want   albs.TestStatus
		detail string
		seen   []string
	}{
		{"none", []string{"1..1\nok 1\n"}, false, albs.TestPassed, "", []string{"none"}},
		{"one", []string{wish, "1..1\nok 1 late\n"}, true, albs.TestPassed, "", []string{"none", "1"}},
		{"two", []string{wish, wish, "1..1\nnot ok 1 late\n"}, true, albs.TestFailed, "late", []string{"none", "1", "2"}},
		{"without end", []string{wish}, true, albs.TestFailed, "more than 5 starts", []string{"none", "1", "2", "3", "4", "5"}},
		{"no kernel", []string{wish}, false, albs.TestNotRun, "no kernel to boot", []string{"none"}},
	} {
		env := &starter{says: tt.says, able: tt.able}
		spec := &albs.TestSpec{Env: map[string]string{suite.Starts: "7"}}
		r := suiteRun{
			subject: &subject{bench: &bench{spec: spec}, nevra: rpm.NEVRA{Name: "x"}}, env: env, log: io.Discard, names: map[string]int{},
		}
		good, err := r.file(t.Context(), suite.Tree{}, suite.Test{Name: "t", Argv: []string{"t"}}, "t")
		if err != nil || good != (tt.want == albs.TestPassed) {
			t.Errorf("%s: good %v, %v", tt.name, good, err)
		}
		last := r.cases[len(r.cases)-1]
		if last.Name != "t" || last.Status != tt.want || !strings.Contains(last.Detail, tt.detail) || !slices.Equal(env.seen, tt.seen) {
			t.Errorf("%s: %+v, seen %q", tt.name, last, env.seen)
		}
		for _, c := range r.cases {
			if strings.Contains(c.Name, "early") {
				t.Errorf("%s: what it said before a start counts: %+v", tt.name, c)
			}
		}
	}
}
