package buildroot

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
)

// What is here reads the words of mock, and of dnf below it; no I/O.

// mockEnd is how a run of mock ended, with the last words of each stream.
type mockEnd struct {
	exit                    int
	state, root, build, own []byte // own: what mock said on its standard error
}

// mockCodes are mock's exit codes (mockbuild/exception.py) that say nothing against the
// package: the node, its mock or the platform is at fault.
var mockCodes = map[int]string{
	2: "it lacks the rights that it needs", 3: "its configuration is invalid", 5: "it refuses its arguments", 6: "it can't do this architecture here",
	7: "it was interrupted", 20: "the root can't be made", 25: "LVM failed", 30: "the package manager failed", 50: "it refuses the command",
	60: "another mock works in the root", 65: "another mock works in the pool", 70: "the folder for results can't be made",
	80: "the kernel refuses namespaces", 90: "the bootstrap root can't be made", 110: "its states don't fit", 120: "dnf has no builddep: install dnf-plugins-core",
	127: "the root lacks a program", 129: "it got SIGHUP", 137: "it was killed", 141: "it got SIGPIPE", 143: "it got SIGTERM",
}

const (
	mockTimeout  = 11  // a command took longer than rpmbuild_timeout
	mockDeaf     = 243 // it stopped reading then, and rpmbuild died of SIGPIPE before it was ended
	mockBuild    = 10  // rpmbuild failed
	mockDNF      = 30
	mockExternal = 31 // a requirement on another packaging system
	mockPackage  = 40 // the source package is no good

	mockNoProgram = 126 // from here on a shell's: what was to run can't be, or got a signal
)

// verdict returns what a run of mock that should have made something found: why the
// architecture is excluded, or an error, Invalid where the package is at fault by the
// words of rpm, dnf or mock. mock hands rpmbuild's exit code on as its own, so that a code by
// itself says little.
func (e mockEnd) verdict(limit time.Duration) (excluded string, err error) {
	if e.exit == 0 {
		return "", nil
	}
	if why := exclusion(e.build); why != "" {
		return why, nil
	}
	switch {
	case e.exit == mockTimeout, e.exit == mockDeaf && limit > 0:
		return "", tookLonger(limit)
	case e.exit == mockDNF, e.exit == mockBuild:
		if why := unmet(e.root); len(why) > 0 {
			return "", albs.Errorf(albs.Invalid, "BuildRequires can't be installed: %s", strings.Join(why, "; "))
		}
		if why := refused.Find(e.root); why != nil {
			return "", albs.Errorf(albs.Invalid, "BuildRequires can't be installed: a package refuses: %.300s", why)
		}
	case e.exit == mockExternal, e.exit == mockPackage:
		return "", albs.Errorf(albs.Invalid, "mock refuses the package: %s", mockCause(e.own))
	}
	if e.exit < mockNoProgram && rpmbuildFailed.Match(e.own) {
		return "", albs.Errorf(albs.Invalid, "rpmbuild ended with code %d: %s", e.exit, cause(e.build))
	}
	if e.exit < mockNoProgram && autospecFailed.Match(e.own) {
		return "", cantFill(e.exit, e.build)
	}
	return "", e.fault()
}

// tookLonger returns the end of a package whose time was over.
func tookLonger(limit time.Duration) error {
	return albs.Errorf(albs.Invalid, "the work was ended: it took longer than %v", limit)
}

// autospecFailed finds mock's own word that it was rpmautospec which failed.
var autospecFailed = regexp.MustCompile(`(?m)^ERROR: Command failed: *\n # .*/usr/bin/rpmautospec process-distgit `)

// Words of mock, and of its plugin, that say why rpmautospec wasn't run.
const (
	saysNoPlugin   = "rpmautospec plugin is enabled in configuration but is not installed"
	saysNoAutospec = "install rpmautospec dependencies into chroot"
)

// lacksAutospec returns an error that lays nothing to the package's charge if rpmautospec
// could not be run.
func (e mockEnd) lacksAutospec(platform string) error {
	switch {
	case bytes.Contains(e.root, []byte(saysNoPlugin)):
		return albs.Errorf(albs.Unavailable, "mock has no plugin rpmautospec here: install the package mock-rpmautospec on the node")
	case bytes.Contains(e.own, []byte(saysNoAutospec)):
		return lacksAutospec(platform, errors.New(strings.Join(append(unmet(e.root), mockCause(e.own)), "; ")))
	}
	return nil
}

// fault returns how mock failed, in an error that lays nothing to the package's charge.
func (e mockEnd) fault() error {
	why, known := mockCodes[e.exit]
	if !known {
		why = "for a reason of its own"
	}
	text := fmt.Sprintf("mock ended with code %d, %s", e.exit, why)
	if where := e.where(); where != "" {
		text += ", in its step " + where
	}
	if said := append(unmet(e.root), mockCause(e.own)); said[0] != "" {
		text += ": " + said[0]
	}
	return albs.Errorf(albs.Unavailable, "%s", text)
}

// where returns the step that mock began last, "" if there is none.
func (e mockEnd) where() string {
	last := ""
	for line := range bytes.Lines(e.state) {
		if name, begins := mockStep(string(line)); begins && len(name) < 200 && !strings.HasPrefix(name, "Outputting ") {
			last = strings.ToValidUTF8(name, "?")
		}
	}
	return last
}

// refused finds rpm's words of a scriptlet that stopped its package.
var refused = regexp.MustCompile(`(?m)%[a-z]+\(\S+\) scriptlet failed, .*$`)

// unmet finds in dnf's words, which mock's log has behind its own, what could not be
// installed. dnf 4 and dnf 5 say it otherwise when asked for build requirements.
func unmet(said []byte) []string {
	var why []string
	problem := ""
	for line := range bytes.Lines(said) {
		l := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		for _, p := range []struct{ words, say string }{
			{"No matching package to install: ", "no package provides "},
			{"No match for argument: ", "no package provides "},
			{"nothing provides ", "nothing provides "},
			{"missing groups or modules: ", "there is no module "},
			{"All matches were filtered out by exclude filtering for argument: ", "excluded is all that provides "},
		} {
			if _, what, ok := strings.Cut(l, p.words); ok {
				if what = p.say + strings.Trim(what, "'"); len(what) <= 300 && len(why) < 20 && !slices.Contains(why, what) {
					why = append(why, what)
				}
				break
			}
		}
		if _, what, ok := strings.Cut(l, "- package "); ok && strings.Contains(what, " is filtered out by ") && len(what) <= 300 && len(why) < 20 {
			why = append(why, "package "+what)
		}
		if _, what, ok := strings.Cut(l, " Problem"); ok && problem == "" {
			problem = "problem" + what
		}
	}
	if len(why) == 0 && problem != "" {
		why = []string{problem}
	}
	return why
}

// rpmbuildFailed finds mock's own word that it was rpmbuild which failed. What rpmbuild
// said itself is no proof: compilers say "error: " too, and of what is said last mock may
// lose a part.
var rpmbuildFailed = regexp.MustCompile(`(?m)^ERROR: Command failed: *\n # .*/usr/bin/rpmbuild `)

// mockCause returns what mock's last words tell best of why it failed.
func mockCause(said []byte) string {
	var why, last string
	more := false
	for line := range bytes.Lines(said) {
		l := strings.TrimSpace(strings.ToValidUTF8(string(line), "?"))
		if l == "" {
			continue
		}
		last = l
		// The first such line is on which package it failed, the next one why.
		text, ok := strings.CutPrefix(l, "ERROR: ")
		switch {
		case ok && !strings.HasPrefix(text, "Exception(") && why == "":
			why, more = text, strings.HasSuffix(text, ":")
		case more: // the command comes on a line of its own
			why, more = why+" "+l, false
		}
	}
	if why == "" {
		why = last
	}
	if len(why) > 500 {
		why = why[:500] + "…"
	}
	return strings.ToValidUTF8(why, "")
}

// Words of mock's logs that tell where it is.
const (
	saysStart   = " - Start: "
	saysFinish  = " - Finish: "
	saysRpm     = "rpmbuild "
	saysDynamic = "Going to install missing dynamic buildrequires"
	saysChanged = "Transaction Summary"
)

// mockStep reads one line of mock's state log: what began or ended, "" if neither.
func mockStep(line string) (name string, begins bool) {
	if _, name, ok := strings.Cut(line, saysStart); ok {
		return strings.TrimSpace(name), true
	}
	_, name, _ = strings.Cut(line, saysFinish)
	return strings.TrimSpace(name), false
}

// exhausted reports whether the search for dynamic BuildRequires, of so many rounds,
// ended without an end: mock builds all the same then.
func exhausted(root []byte, rounds int) bool {
	parts := bytes.Split(root, []byte(saysDynamic))
	return len(parts) > rounds && bytes.Contains(parts[len(parts)-1], []byte(saysChanged))
}
