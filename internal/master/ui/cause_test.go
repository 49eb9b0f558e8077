package ui

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/failure"
)

// TestCausesLineIsTheViewers: a cause's line is the one that the viewer shows by that
// number, whatever else in the log may look like the end of a line.
func TestCausesLineIsTheViewers(t *testing.T) {
	t.Parallel()
	const tells = "a.c:1:1: error: x"
	for _, before := range []string{
		"", "\n", "\r\n\r\n", "one\rtwo\r\n", "\u2028\v\f\x00\u0085\n", "\xff\xfe\n\n", strings.Repeat("x", 200<<10) + "\n", strings.Repeat("line\n", 1300),
		"\x1b[31m\n\x1b]0;title\n",
	} {
		for _, after := range []string{"", "\n", "\nrest", "\n\n\n"} {
			text := before + tells + after
			d := failure.New("")
			must(t, d.Read(failure.Build, strings.NewReader(text)))
			c := d.Cause()
			x := newLineIndex()
			x.add([]byte(text))
			lines, err := readLines(bytes.NewReader([]byte(text)), 1, 1, x.total())
			must(t, err)
			if c.Number < 1 || c.Number > len(lines) || lines[c.Number-1].Number != c.Number || lines[c.Number-1].Text != tells || c.Line != tells {
				t.Errorf("%.40q, %q: the cause is %+v, the viewer has %d lines", before, after, c, len(lines))
			}
			if more := len(lines) - c.Number; len(c.After) != min(more, failure.Around) {
				t.Errorf("%.40q, %q: %d lines below, the viewer has %d", before, after, len(c.After), more)
			}
		}
	}
}

// TestCause: the pages of build and task tell why a task failed, and lead to the line
// in the log that says so.
func TestCause(t *testing.T) {
	t.Parallel()
	f := setup(t)
	b := f.create()
	l := f.claim(albs.KindBuild, "arch:x86_64")
	log := "Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.b\n" + strings.Repeat("+ make\n", 700) +
		"src/<b>.c:7:3: error: expected ';'\nmake: *** [Makefile:2: all] Error 1\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n"
	l.log("build", log)
	must(t, f.Queue.Complete(l.ctx, l.Token, albs.OutcomeFailed, albs.Result{
		Reason: "rpmbuild ended with code 1: Bad exit status", Logs: []albs.File{l.upload("build", []byte(log))},
	}))
	anon := f.browse("")
	task := fmt.Sprintf("/build/%d/task/%d", b.ID, l.Token.Task)
	link := task + "/log/build?attempt=1&amp;from=699#L702"
	contains(t, "build page", anon.page(fmt.Sprintf("/build/%d", b.ID)), "compile", "src/&lt;b&gt;.c:7: expected", link, "build log, line 702")
	contains(t, "task page", anon.page(task), "compile", "src/&lt;b&gt;.c:7: expected", link, "so is a BuildRequires", "make: *** [Makefile:2: all] Error 1", `class="mark"`)
	contains(t, "the log where the link leads", anon.page(task+"/log/build?attempt=1&from=699"), `id="L702"`, "src/&lt;b&gt;.c:7:3: error: expected")
}
