package buildroot

import (
	"errors"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// TestMockVerdict goes through mock's exit codes: the package is at fault only by the
// words of rpm or dnf, or where mock says so of the package itself.
func TestMockVerdict(t *testing.T) {
	t.Parallel()
	const (
		rpmErr  = "+ exit 7\nerror: Bad exit status from /var/tmp/rpm-tmp.x (%build)\n\nRPM build errors:\n    Bad exit status\n"
		refuses = "error: Architecture is not included: x86_64\n"
		missing = "DEBUG util.py:461:  No matching package to install: 'nosuch-devel >= 3'\nDEBUG util.py:461:  No matching package to install: 'pkgconfig(absent)'\n"
		missed5 = "DEBUG util.py:461:  No match for argument: nosuch\n"
		nothing = "DEBUG util.py:461:  Error: \nDEBUG util.py:461:   Problem: conflicting requests\nDEBUG util.py:461:    - nothing provides libx needed by y-1-1.x86_64\n"
		mirror  = "DEBUG util.py:461:  Errors during downloading metadata for repository 'seed':\n"
		failed  = "ERROR: Exception(x) Config(albs) 0 minutes 3 seconds\nERROR: Command failed: \n # bash --login -c '/usr/bin/rpmbuild -bb --target x86_64 --nodeps /builddir/build/SPECS/x.spec'\n\n"
		own     = "INFO: x\nERROR: Exception(/work/in/x.src.rpm) Config(albs) 0 minutes 3 seconds\nINFO: Results and/or logs in: /work\nERROR: Source RPM is not installable:\n"
	)
	for _, tt := range []struct {
		name      string
		end       mockEnd
		excluded  bool
		kind      albs.Kind
		say, deny string
	}{
		{"done", mockEnd{}, false, "", "", ""},
		{"failing section", mockEnd{exit: 1, build: []byte(rpmErr), own: []byte(failed)}, false, albs.Invalid, "Bad exit status", ""},
		{"build error", mockEnd{exit: 10, build: []byte(rpmErr), own: []byte(failed)}, false, albs.Invalid, "Bad exit status", ""},
		{"failing section, whose last words are lost", mockEnd{exit: 1, build: []byte("+ exit 7\n"), own: []byte(failed)}, false, albs.Invalid, "code 1: + exit 7", ""},
		{"fault of mock's after errors of a compiler", mockEnd{exit: 32, build: []byte("error: unused variable\n"), own: []byte("ERROR: Command failed: \n # /bin/umount x\n")}, false, albs.Unavailable,
			"umount", ""},
		{"excluded", mockEnd{exit: 1, build: []byte(refuses)}, true, "", "", ""},
		{"excluded, and done", mockEnd{build: []byte(refuses)}, false, "", "", ""},
		{"timeout", mockEnd{exit: 11, build: []byte("still here\n")}, false, albs.Invalid, "longer than 4s", ""},
		{"timeout of one that never stops talking", mockEnd{exit: 243, build: []byte("y\ny\n")}, false, albs.Invalid, "longer than 4s", ""},
		{"missing by dnf 4", mockEnd{exit: 30, root: []byte(missing)}, false, albs.Invalid, "no package provides nosuch-devel >= 3; no package provides pkgconfig(absent)", ""},
		{"missing by dnf 5", mockEnd{exit: 30, root: []byte(missed5)}, false, albs.Invalid, "no package provides nosuch", ""},
		{"contradiction", mockEnd{exit: 30, root: []byte(nothing)}, false, albs.Invalid, "nothing provides libx needed by y-1-1.x86_64", ""},
		{"module", mockEnd{exit: 30, root: []byte("DEBUG util.py:461:  Unable to resolve argument tool:3\nDEBUG util.py:461:  Error: Problems in request:\nDEBUG util.py:461:  missing groups or modules: tool:3\n")}, false, albs.Invalid,
			"there is no module tool:3", ""},
		{"exclude", mockEnd{exit: 30, root: []byte("DEBUG util.py:461:  All matches were filtered out by exclude filtering for argument: bash\n")}, false, albs.Invalid, "excluded is all that provides bash", ""},
		{"no stream chosen", mockEnd{exit: 30, root: []byte("DEBUG util.py:461:  Error: \nDEBUG util.py:461:   Problem: conflicting requests\nDEBUG util.py:461:    - package tool-1-1.noarch is filtered out by modular filtering\n")}, false, albs.Invalid,
			"installed: package tool-1-1.noarch is filtered out by modular filtering", ""},
		{"scriptlet", mockEnd{exit: 30, root: []byte("DEBUG util.py:461:  error: %prein(x-1-1.noarch) scriptlet failed, exit status 1\n")}, false, albs.Invalid, "scriptlet failed", ""},
		{"mirror away", mockEnd{exit: 30, root: []byte(mirror)}, false, albs.Unavailable, "package manager", ""},
		{"mirror away, with words of rpm in a log of before", mockEnd{exit: 30, root: []byte(mirror), build: []byte(rpmErr)}, false, albs.Unavailable, "package manager", ""},
		{"bad package", mockEnd{exit: 40, own: []byte(own)}, false, albs.Invalid, "Source RPM is not installable", "Exception"},
		{"other packaging", mockEnd{exit: 31, own: []byte("ERROR: external:pypi\n")}, false, albs.Invalid, "external:pypi", ""},
		{"no rpmbuild", mockEnd{exit: 127, build: []byte("bash: line 1: /usr/bin/rpmbuild: No such file or directory\n"), own: []byte(failed)}, false, albs.Unavailable, "lacks a program", ""},
		{"command of mock's own", mockEnd{exit: 32, own: []byte("ERROR: Command failed: \n # /bin/mount -n x\n"), state: []byte("x - Start: chroot init\n")}, false, albs.Unavailable,
			"in its step chroot init: Command failed: # /bin/mount -n x", ""},
		{"no release", mockEnd{exit: 1, build: []byte("Error: Couldn’t parse spec file x.spec\nChild return code was: 1\n"),
			own: []byte("ERROR: Command failed: \n # /usr/bin/rpmautospec process-distgit /builddir/build/SOURCES/x.spec /builddir/build/SPECS/x.spec\n")}, false, albs.Invalid,
			"rpmautospec can't fill in the spec (it ended with code 1): Couldn’t parse spec file x.spec", ""},
		{"exception", mockEnd{exit: 1, own: []byte("Traceback\nKeyError: 'x'\n")}, false, albs.Unavailable, "KeyError: 'x'", ""},
		{"a number of no meaning", mockEnd{exit: 77}, false, albs.Unavailable, "code 77", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			excluded, err := tt.end.verdict(4 * time.Second)
			if (excluded != "") != tt.excluded || (err != nil) != (tt.kind != "") {
				t.Fatalf("verdict = %q, %v", excluded, err)
			}
			if err == nil {
				return
			}
			if albs.KindOf(err) != tt.kind || !strings.Contains(err.Error(), tt.say) || tt.deny != "" && strings.Contains(err.Error(), tt.deny) {
				t.Errorf("verdict = %v (%s), want %s saying %q and not %q", err, albs.KindOf(err), tt.kind, tt.say, tt.deny)
			}
		})
	}
	for code := range mockCodes {
		if _, err := (mockEnd{exit: code}).verdict(0); err == nil || errors.Is(err, albs.Invalid) {
			t.Errorf("code %d without a word: %v, which blames the package", code, err)
		}
	}
}

func TestMockLacksAutospec(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		end  mockEnd
		say  string
	}{
		{"there", mockEnd{root: []byte("INFO rpmautospec.py:38:  rpmautospec: initialized\n")}, ""},
		{"no plugin", mockEnd{root: []byte("WARNING plugin.py:56:  rpmautospec plugin is enabled in configuration but is not installed\n")}, "install the package mock-rpmautospec"},
		{"not in the platform", mockEnd{
			exit: 40, root: []byte("DEBUG util.py:461:  No match for argument: rpmautospec\n"), own: []byte("ERROR: Can’t install rpmautospec dependencies into chroot: rpmautospec\n"),
		}, "platform el asks for rpmautospec, which can't be installed: give the platform a repository that has the package rpmautospec, " +
			"or take rpmautospec: true out of it (no package provides rpmautospec; Can’t install"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			err := tt.end.lacksAutospec("el")
			if (err != nil) != (tt.say != "") || err != nil && (albs.KindOf(err) != albs.Unavailable || !strings.Contains(err.Error(), tt.say)) {
				t.Errorf("lacksAutospec = %v, want Unavailable with %q", err, tt.say)
			}
		})
	}
}

func TestMockExhausted(t *testing.T) {
	t.Parallel()
	round := func(words string) string { return "INFO backend.py:1:  " + saysDynamic + "\n" + words + "\n" }
	changed, same := round("DEBUG util.py:1:  Transaction Summary"), round("DEBUG util.py:1:  Nothing to do.")
	for _, tt := range []struct {
		name, log string
		want      bool
	}{
		{"none", "", false},
		{"found in time", changed + same, false},
		{"found in the last round", changed + changed + same, false},
		{"never found", changed + changed + changed, true},
		{"more to come", changed + changed, false},
	} {
		if got := exhausted([]byte(tt.log), 3); got != tt.want {
			t.Errorf("%s: exhausted = %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestMockStep(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		line, name string
		begins     bool
	}{
		{"2026-11-26 17:00:00,123 - Start: rpmbuild x-1-1.src.rpm\n", "rpmbuild x-1-1.src.rpm", true},
		{"2026-11-26 17:00:00,123 - Finish: rpmbuild x-1-1.src.rpm\n", "rpmbuild x-1-1.src.rpm", false},
		{"2026-11-26 17:00:00,123 - Mock Version: 6\n", "", false},
	} {
		if name, begins := mockStep(tt.line); name != tt.name || begins != tt.begins {
			t.Errorf("mockStep(%q) = %q, %v", tt.line, name, begins)
		}
	}
}

func FuzzMockWords(f *testing.F) {
	f.Add(1, "x - Start: rpmbuild x\n", "No matching package to install: 'x'\n", "error: x:\n\ty\n", "ERROR: x\n")
	f.Fuzz(func(t *testing.T, exit int, state, root, build, own string) {
		mockStep(state)
		exhausted([]byte(root), 3)
		e := mockEnd{exit: exit, state: []byte(state), root: []byte(root), build: []byte(build), own: []byte(own)}
		excluded, err := e.verdict(time.Second)
		if exit != 0 && (excluded == "") == (err == nil) {
			t.Errorf("verdict = %q, %v", excluded, err)
		}
		if err != nil && len(err.Error()) > 10_000 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
