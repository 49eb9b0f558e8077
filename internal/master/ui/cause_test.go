package ui

import (
	"fmt"
	"strings"
	"testing"

	"albs/internal/albs"
)

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
