package failure

import (
	"regexp"
	"regexp/syntax"
	"slices"
	"strings"
	"sync"
)

// rule says how one cause is told.
type rule struct {
	kind Kind
	logs []string // whose lines it is tried on
	// sections are those of the spec in which it holds, none for all; with "!" before
	// it one in which it doesn't.
	sections []string
	// words are literals in lower case of which a line must have one for re to be tried.
	words []string
	re    *regexp.Regexp
	of    string         // the note that has to match when, if when is set
	when  *regexp.Regexp //
	next  bool           // the sentence wants the line behind as {next}
	says  string         // {1} … are what re caught; a note is named

	begins []byte // what a line that re matches begins with
}

// in reports whether the rule holds in a section; "" is none.
func (r *rule) in(section string) bool {
	if len(r.sections) == 0 {
		return true
	}
	if not, ok := strings.CutPrefix(r.sections[0], "!"); ok {
		return section != not
	}
	return slices.Contains(r.sections, section)
}

// note is something that a line tells for the sentences of lines behind it: what the
// expression's last group caught. All are of the build log. The note "section" divides
// it: what was found and noted before is forgotten there, for the sections before have
// passed.
type note struct {
	name   string
	words  []string
	re     *regexp.Regexp
	begins []byte // as a rule's
}

var notes = []note{
	{name: "section", words: []string{"executing("}, re: regexp.MustCompile(`^Executing\(%?([a-z_]+)\): `)},
	{name: "section", words: []string{"processing files: "}, re: regexp.MustCompile(`^Processing (files): `)},
	{name: "section", words: []string{"+ rpmbuild "}, re: regexp.MustCompile(`^\+ (rpmbuild) `)},
	{name: "patch", words: []string{"patch #"}, re: regexp.MustCompile(`^(?:\+ echo ')?Patch #\d+ \(([^)]+)\):`)},
	{name: "file", words: []string{"patching file ", "checking file "}, re: regexp.MustCompile(`^(?:patching|checking) file '?(.+?)'?$`)},
	{name: "failed", words: []string{"error: bad exit status", "rpm build errors:"}, re: regexp.MustCompile(`^(error: Bad exit status|RPM build errors:)`)},
	{name: "command", words: []string{"+ "}, re: regexp.MustCompile(`^\+ (.+)$`)},
}

// speaks are words of lines that may tell an error that no rule knows.
var speaks = []string{"error:", "error ", "fatal:", "failed", "failure", "cannot ", "can't ", "not found"}

const (
	buildroot = `(?:\S*/BUILDROOT(?:/\S+?\.(?:x86_64|aarch64|ppc64le|s390x|riscv64|i[3-6]86|noarch))?)?`
	compilers = `(?:gcc|g\+\+|cc|c\+\+|cc1|cc1plus|clang|clang\+\+|gfortran|f951|rustc|go|javac)`
)

// rules are tried in this order; the first that matches is the cause, whatever the
// others have found. What the worker and rpmbuild say themselves comes before what
// programs say that they have run, and what names a thing before what only says that
// it ended.
var rules = []rule{
	// The limits of the work, in the worker's own words.
	{kind: Disk, logs: []string{State, Words}, words: []string{"bytes to disk"},
		re: regexp.MustCompile(`the work was ended: (it wrote more than \d+ bytes to disk)`), says: "the work was ended: {1}"},
	{kind: Memory, logs: []string{State, Words}, words: []string{"bytes of memory"},
		re: regexp.MustCompile(`the work was ended: (it needed more than \d+ bytes of memory)`), says: "the work was ended: {1}"},
	{kind: Time, logs: []string{State, Words}, words: []string{"took longer than"},
		re: regexp.MustCompile(`the work was ended: (it took longer than [0-9a-z.]+)`), says: "the work was ended: {1}"},
	{kind: Silence, logs: []string{State, Words}, words: []string{"silent for more"},
		re: regexp.MustCompile(`the work was ended: (it was silent for more than [0-9a-z.]+)`), says: "the work was ended: {1}"},
	{kind: Output, logs: []string{State, Words}, words: []string{"bytes of log"},
		re: regexp.MustCompile(`the work was ended: (it wrote more than \d+ bytes of log)`), says: "the work was ended: {1}"},
	{kind: Time, logs: []string{State, Root, Build}, words: []string{"commandtimeoutexpired"},
		re: regexp.MustCompile(`commandTimeoutExpired: Timeout\((\d+)\)`), says: "the work was ended: it took longer than {1} s"},
	{kind: Node, logs: []string{Words}, words: []string{"not heard of", "the worker was ", "could not be reached", "the job panicked"},
		re: regexp.MustCompile(`(worker \S+ was not heard of for \S+|the worker was (?:shut down|restarted).*|the master could not be reached.*|the job panicked.*)`), says: "{1}"},
	{kind: Refused, logs: []string{Words}, words: []string{"result refused: "},
		re: regexp.MustCompile(`^result refused: (.+)`), says: "the result was not taken: {1}"},

	// What signer and releaser refuse, in their own words.
	{kind: Evidence, logs: []string{Words}, words: []string{"refused: ", "changed behind albs"},
		re: regexp.MustCompile(`(?:^|: )refused: (.+)|^(?:infra: .*?, the last: )?(.*the database was changed behind albs.*)`), says: "{1}{2}"},
	{kind: Key, logs: []string{Words}, words: []string{"doesn't hold key", "holds no key", "holds the key", "signer's passphrase"},
		re: regexp.MustCompile(`(this signer doesn't hold key .*|\S+ holds (?:no key: restore|the key \S+: it was exchanged).*|the signer's passphrase .*)`), says: "{1}"},
	{kind: Forbidden, logs: []string{Words}, words: []string{"the signer's policy "},
		re: regexp.MustCompile(`(the signer's policy .*)`), says: "{1}"},
	{kind: Serial, logs: []string{Words}, words: []string{"would be a step back", "the task is to publish serial"},
		re: regexp.MustCompile(`(\S+ shows serial \d+ already; serial \d+ would be a step back|the tree is serial \d+ of \S+, the task is to publish serial \d+ of \S+)`), says: "{1}"},
	{kind: Place, logs: []string{Words}, words: []string{"public place", "no releaser made"},
		re: regexp.MustCompile(`(\S+ in the public place is not the package .*|\S+ has \d+ bytes instead of \d+: the public place was tampered with.*|the tree has something at \S+, which the public place has of its own|\S+ points to .*, which no releaser made)`), says: "{1}"},

	// What the host lacks. Tests play at both.
	{kind: Disk, logs: []string{Root, Build, Words}, sections: []string{"!check"}, words: []string{"no space left on device", "disk quota exceeded", "more space needed on", "more space on the", "disk is full"},
		re: regexp.MustCompile(`(?i)(?:^|: |\] )(no space left on device|disk quota exceeded|.*needs \S+ more space on the .*|more space needed on the .*|the (?:node's )?disk is full.*)`), says: "{1}"},
	{kind: Memory, logs: []string{Build}, sections: []string{"!check"}, words: []string{"killed", "with signal 9"},
		re:   regexp.MustCompile(`fatal error: Killed signal terminated program (\S+)|internal compiler error: Killed \(program (\S+)\)|fatal error: (ld) terminated with signal 9`),
		says: "{1}{2}{3} was killed, most likely for want of memory"},
	{kind: Memory, logs: []string{Build}, sections: []string{"!check"}, words: []string{"sigkill"},
		re: regexp.MustCompile("process didn't exit successfully: `([^ `]+).*\\(signal: 9, SIGKILL: kill\\)"), says: "{1} was killed, most likely for want of memory"},
	{kind: Memory, logs: []string{Build}, sections: []string{"!check"},
		words: []string{"out of memory", "outofmemoryerror", "memory exhausted", "cannot allocate memory", "bad_alloc", "memory allocation of"},
		re:    regexp.MustCompile(`(?i)^(?:[^\s:]+: )*(?:(?:fatal |internal |LLVM )?error: )?(?:.*\[Errno 12\] |runtime: |final link failed: )?((?:out of memory|virtual memory exhausted|memory exhausted|cannot allocate memory).*)|(java\.lang\.OutOfMemoryError.*)|throwing an instance of '(std::bad_alloc)'|^(memory allocation of \d+ bytes failed)`),
		says:  "{1}{2}{3}{4}"},

	// The arch, in rpmbuild's words.
	{kind: ExcludedArch, logs: []string{Build}, words: []string{"error: architecture is ", "no compatible architectures"},
		re: regexp.MustCompile(`^error: (Architecture is (?:not included|excluded): .*|No compatible architectures found for build.*)`), says: "{1}"},

	// Repositories, then what they don't have.
	{kind: Repository, logs: []string{Root, Words}, words: []string{"checksum"},
		re: regexp.MustCompile(`(?i)(.*checksum (?:doesn't|does not|didn't) match.*|.*checksum mismatch.*|.*incorrect checksum.*)`), says: "{1}"},
	{kind: Repository, logs: []string{Root}, words: []string{"downloading metadata", "downloading packages"},
		re: regexp.MustCompile(`^(?:Error: )?(Errors? (?:during )?downloading (?:metadata|packages).*:)$`), next: true, says: "{1} {next}"},
	{kind: Repository, logs: []string{Root, Words}, words: []string{"failed to download", "cannot download", "failed to load repo", "usable url not found", "librepo error", "prepare internal mirrorlist"},
		re:   regexp.MustCompile(`^(?:.*dnf \S+ ended with code \d+: )?(?:Error: |\s*>>> )?(Failed to download .*|Cannot download .*|Failed to load repo.*|Usable URL not found.*|Librepo error: .*|Cannot prepare internal mirrorlist.*)`),
		says: "{1}"},
	{kind: Repository, logs: []string{Words}, words: []string{"mirror ", "gives no ", "asks for rpmautospec", "dnf "},
		re: regexp.MustCompile(`(mirror \S+ (?:has moved on|gives) .*|platform \S+ gives no (?:whole )?buildroot.*|platform \S+ asks for rpmautospec, which .*|dnf \S+ ended with code .*)`), says: "{1}"},
	{kind: Dependency, logs: []string{Root}, words: []string{"nothing provides "},
		re: regexp.MustCompile(`nothing provides (.+?) needed by (\S+)`), says: "nothing provides {1}, which {2} needs"},
	{kind: Dependency, logs: []string{Root}, words: []string{"nothing provides requested "},
		re: regexp.MustCompile(`nothing provides requested (.+)`), says: "no package provides {1}"},
	{kind: Dependency, logs: []string{Root}, words: []string{"no match for argument: ", "no matching package to install: "},
		re: regexp.MustCompile(`(?:No match for argument|No matching package to install): '?(.+?)'?$`), says: "no package provides {1}"},
	{kind: Dependency, logs: []string{Root}, words: []string{"package ", "problem"},
		re: regexp.MustCompile(`^\s*(?:Problem(?: \d+)?: )?(?:- )?(package \S+ .*(?:requires|conflicts with|obsoletes) .*)`), says: "{1}"},
	{kind: Dependency, logs: []string{Root}, words: []string{"file "},
		re: regexp.MustCompile(`^\s*(file \S+ (?:from install of|conflicts between attempted installs of) .*)`), says: "{1}"},
	{kind: Dependency, logs: []string{Build}, words: []string{" is needed by "},
		re: regexp.MustCompile(`^\s+(.+?) is needed by (\S+)$`), says: "{2} needs {1}, which isn't in the root"},
	{kind: Dependency, logs: []string{Words}, words: []string{"dnf can't resolve: ", "packages conflict: "},
		re: regexp.MustCompile(`(?:dnf can't resolve|packages conflict): (.+)`), says: "{1}"},
	{kind: Scriptlet, logs: []string{Root, Words}, words: []string{"scriptlet failed"},
		re: regexp.MustCompile(`^(?:.*a package refuses: |\s*[Ee]rror: |\s*Error in )?(%\w+\(\S+\) scriptlet failed.*)`), says: "{1}"},

	// What rpmautospec can't fill in, and what rpmbuild can't read.
	{kind: Autospec, logs: []string{Words}, words: []string{"the spec uses %auto", "rpmautospec can't "},
		re: regexp.MustCompile(`(the spec uses %auto\w+(?:,| where) .*|rpmautospec can't fill in the spec .*)`), says: "{1}"},
	{kind: Macro, logs: []string{Build}, words: []string{"unknown tag: %"},
		re: regexp.MustCompile(`^error: (?:(.*\.spec): )?line (\d+): Unknown tag: (%\S+)`), says: "line {2} of the spec: the macro {3} isn't defined"},
	{kind: Macro, logs: []string{Build}, words: []string{": %"},
		re: regexp.MustCompile(`^\S*rpm-tmp\.\S+: (?:line )?\d+: (%\S+): (?:command )?not found`), says: "%{section}: the macro {1} isn't defined"},
	{kind: Macro, logs: []string{Build}, words: []string{"no job control"},
		re: regexp.MustCompile(`line \d+: fg: no job control`), says: "%{section}: a macro isn't defined, so that the shell got it as it stands: {command}"},
	{kind: Macro, logs: []string{Build}, words: []string{"error: macro %", "unterminated ", "levels of recursion", "lua script failed", "parse error in expression", "error: failed to expand", "illegal name", "error: unknown option"},
		re: regexp.MustCompile(`^error: (.*(?:Macro %\S+ .*|Unterminated .*|[Tt]oo many levels of recursion.*|lua script failed.*|parse error in expression.*|Failed to expand.*|Unknown option .*))`), says: "{1}"},
	{kind: Source, logs: []string{Build}, words: []string{"error: bad "},
		re: regexp.MustCompile(`^error: Bad (?:source|file|patch): (?:\S*/)?([^/\s]+): (.*)`), says: "{1}: {2}"},
	{kind: Source, logs: []string{Build}, words: []string{"/sources/"},
		re: regexp.MustCompile(`^(?:error: (?:File|Unable to open|File not found:?) )\S*/SOURCES/([^/\s:]+):? *(.*)`), says: "{1}: {2}"},
	{kind: Source, logs: []string{Words}, words: []string{"look-aside", "spec file"},
		re: regexp.MustCompile(`(source \S+ .*is in none of the look-aside caches.*|the source lists .*look-aside.*|the look-aside cache serves .*|the commit has (?:no|\d+) spec files?.*)`), says: "{1}"},
	{kind: Spec, logs: []string{Build}, words: []string{"error: "},
		re: regexp.MustCompile(`^error: ((?:\S*\.spec: )?line \d+: .*|\S+\.spec: .*|.*field must be present in package.*|%changelog .*|[Bb]ad date in %changelog.*|Package has no %\w+.*|Unclosed %\w+.*|[Uu]nmatched %\w+.*|query of specfile .*|Unable to open .*\.spec.*|No (?:source number|patch number) .*|Empty tag:.*)`), says: "{1}"},

	// What rpmbuild finds in what was installed.
	{kind: Unpackaged, logs: []string{Build}, words: []string{"(but unpackaged)"},
		re: regexp.MustCompile(`^error: Installed \(but unpackaged\) file\(s\) found:`), next: true, says: "no %files section names the installed {next}"},
	{kind: Debuginfo, logs: []string{Build}, words: []string{"debugsourcefiles.list", "debugfiles.list"},
		re: regexp.MustCompile(`^error: (Empty|Could not open) %files file \S*?(debug(?:source)?files\.list)`), says: "there is no debugging information to split off: {2} is empty or missing"},
	{kind: Debuginfo, logs: []string{Build}, words: []string{"no build id note"},
		re: regexp.MustCompile(`^\*\*\* ERROR: +No build ID note found in ` + buildroot + `(\S+)`), says: "{1} has no build id"},
	{kind: Files, logs: []string{Build}, words: []string{"not found: ", "not found by glob: "},
		re: regexp.MustCompile(`^error: (File|Directory) not found(?: by glob)?: ` + buildroot + `(\S+)`), says: "%files names {2}, which isn't installed"},
	{kind: Files, logs: []string{Build}, words: []string{"could not open %files", "empty %files file", "must begin with", "file listed twice"},
		re: regexp.MustCompile(`^error: (Could not open %files file .*|Empty %files file .*|File must begin with .*)`), says: "{1}"},
	{kind: Mismatch, logs: []string{Build}, words: []string{"arch dependent binaries", "not matching the package arch"},
		re: regexp.MustCompile(`^error: (Arch dependent binaries in noarch package.*|Binaries arch \(\d+\) not matching the package arch.*)`), says: "{1}"},
	{kind: Policy, logs: []string{Build}, words: []string{"rpath", "runpath"},
		re: regexp.MustCompile(`^ERROR +\d+: file '(.+?)' contains (.*r(?:un)?path.*)`), says: "{1} contains {2}"},
	{kind: Policy, logs: []string{Build}, words: []string{"ambiguous python shebang"},
		re: regexp.MustCompile(`^\*\*\* ERROR: ambiguous python shebang in (\S+): (.*)`), says: "ambiguous python shebang in {1}: {2}"},
	{kind: Policy, logs: []string{Build}, words: []string{"in installed files; aborting"},
		re: regexp.MustCompile(`^Found '(.*)' in installed files; aborting`), says: "installed files name the folder that they were built in, {1}"},

	// %prep.
	{kind: Patch, logs: []string{Build}, words: []string{"hunk #", "hunks failed", "hunk failed"},
		re: regexp.MustCompile(`^Hunk #(\d+) FAILED at (\d+)|^(\d+) out of \d+ hunks? FAILED`), says: "{patch} doesn't apply to {file}: hunk {1}{3} at line {2}"},
	{kind: Patch, logs: []string{Build}, words: []string{"can't find file to patch"},
		re: regexp.MustCompile(`^can't find file to patch at input line (\d+)`), says: "{patch} names a file that isn't there, in its line {1}"},
	{kind: Patch, logs: []string{Build}, words: []string{"patch: ****"},
		re: regexp.MustCompile(`^\S*patch: \*\*\*\* (.*)`), says: "{patch}: {1}"},
	{kind: Patch, logs: []string{Build}, words: []string{"patch failed: ", "patch does not apply"},
		re: regexp.MustCompile(`^error: (?:patch failed: (\S+):(\d+)|(\S+): patch does not apply)`), says: "{patch} doesn't apply to {1}{3}: line {2}"},
	{kind: Source, logs: []string{Build}, sections: []string{"prep"}, words: []string{": cd: "},
		re: regexp.MustCompile(`\d+: cd: (?:can't cd to (.+)|(.+): No such file or directory)`), says: "the source unpacks into no folder {1}{2}"},
	{kind: Source, logs: []string{Build}, sections: []string{"prep"}, words: []string{"cannot open", "not in gzip format", "does not look like a tar archive", "file format not recognized"},
		re: regexp.MustCompile(`^(?:\S*/)?(?:tar|gzip|bzip2|xz|zstd|unzip): (.*(?:Cannot open|not in gzip format|does not look like a tar archive|[Ff]ile format not recognized).*)`), says: "{1}"},

	// %check.
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"fail: ", "error: "},
		re: regexp.MustCompile(`^\s*(?:--- )?FAIL: (\S.*)|^ERROR: (\w+ \([\w.]+\).*)`), says: "{1}{2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"***failed", "***timeout", "***exception", "***not run"},
		re: regexp.MustCompile(`^\s*\d+/\d+ Test +#\d+: (\S+) \.*\s*\*\*\*\s*(Failed|Timeout|Exception|Not Run)`), says: "{1}: {2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{" fail ", " timeout ", " error "},
		re: regexp.MustCompile(`^\s*\d+/\d+ (.+?)\s+(FAIL|TIMEOUT|ERROR)\s`), says: "{1}: {2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"failed ", "error "},
		re: regexp.MustCompile(`^(?:FAILED|ERROR) (\S+?::\S+|\S+\.py)(?: - (.*))?$`), says: "{1}: {2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"failed"},
		re: regexp.MustCompile(`^test (.+) \.\.\. FAILED|^\[  FAILED  \] (\S+)`), says: "{1}{2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"fail\t"},
		re: regexp.MustCompile(`^FAIL\t(\S+)(.*)`), says: "{1} {2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"not ok "},
		re: regexp.MustCompile(`^\s*not ok (\d+)(?: -)? ?([^#]*)(?:# +(?:[^TtSs].*)?)?$`), says: "test {1}: {2}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"failed test", "subtests", "wstat: "},
		re: regexp.MustCompile(`^#\s+Failed test (.+)|^(\S+\.t)\s+\.+\s*(?:Failed .*|Dubious.*)|^(\S+\.t)\s+\(Wstat: .*`), says: "{1}{2}{3}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"error: "},
		re: regexp.MustCompile(`^ERROR: (\S.*)`), says: "{1}"},
	{kind: Test, logs: []string{Build}, sections: []string{"check"}, words: []string{"tests run: "},
		re: regexp.MustCompile(`^\[ERROR\] (Tests run: .*)`), says: "{1}"},

	// The build itself.
	{kind: Configure, logs: []string{Build}, words: []string{"configure: error: "},
		re: regexp.MustCompile(`configure: error: (.+)`), says: "{1}"},
	{kind: Configure, logs: []string{Build}, words: []string{"cmake error"},
		re: regexp.MustCompile(`^CMake Error at (\S+):(\d+) \(\S+\):`), next: true, says: "{1}:{2}: {next}"},
	{kind: Configure, logs: []string{Build}, words: []string{"cmake error: "},
		re: regexp.MustCompile(`^CMake Error: (.+)`), says: "{1}"},
	{kind: Configure, logs: []string{Build}, words: []string{"meson"},
		re: regexp.MustCompile(`^(\S*meson\S*):(\d+):\d+: ERROR: (.+)`), says: "{1}:{2}: {3}"},
	{kind: Configure, logs: []string{Build}, words: []string{".ac:", ".m4:", ".am:"},
		re: regexp.MustCompile(`^(\S+\.(?:ac|am|m4)):(\d+): error: (.+)`), says: "{1}:{2}: {3}"},
	{kind: Compile, logs: []string{Build}, words: []string{"fatal error: "},
		re: regexp.MustCompile(`([^\s:]+):(\d+):(?:\d+:)? fatal error: '?([^':]+)'?(?:: No such file or directory| file not found)`), says: "{1}:{2}: there is no {3}"},
	{kind: Compile, logs: []string{Build}, words: []string{" error: "},
		re: regexp.MustCompile(`([^\s:()]+):(\d+):(?:\d+:)? (?:fatal )?error: (.+)`), says: "{1}:{2}: {3}"},
	{kind: Compile, logs: []string{Build}, words: []string{"error[e"},
		re: regexp.MustCompile(`^error\[E\d+\]: (.+)`), next: true, says: "{next}: {1}"},
	{kind: Compile, logs: []string{Build}, words: []string{".go:"},
		re: regexp.MustCompile(`^(?:vet: )?(\S+\.go):(\d+):\d+: (.+)`), says: "{1}:{2}: {3}"},
	{kind: Compile, logs: []string{Build}, words: []string{".java:["},
		re: regexp.MustCompile(`^\[ERROR\] (\S+\.java):\[(\d+),\d+\] (.+)`), says: "{1}:{2}: {3}"},
	{kind: Compile, logs: []string{Build}, words: []string{"at (1)"},
		re: regexp.MustCompile(`^(?:Fatal )?Error: (.+ at \(1\).*)`), says: "{1}"},
	{kind: Link, logs: []string{Build}, words: []string{"undefined reference to "},
		re: regexp.MustCompile("([^\\s:/()]+):(?:(?:\\d+|\\(\\S+\\)):)? undefined reference to [`'‘](.+?)['’]"), says: "{1} refers to {2}, which nothing defines"},
	{kind: Link, logs: []string{Build}, words: []string{"cannot find -l", "unable to find library -l"},
		re: regexp.MustCompile(`(?:cannot|unable to) find (?:library )?-l(\S+?)(?::.*)?$`), says: "there is no library {1}"},
	{kind: Link, logs: []string{Build}, words: []string{"multiple definition of "},
		re: regexp.MustCompile("multiple definition of [`'‘](.+?)['’]"), says: "{1} is defined several times"},
	{kind: Link, logs: []string{Build}, words: []string{"ld.lld: error: ", "error: linking with", "collect2: ", "undefined symbol: "},
		re: regexp.MustCompile(`^(?:\S*ld\.lld: error: (.+)|error: (linking with .+)|collect2: (?:fatal )?error: (.+))`), says: "{1}{2}{3}"},
	{kind: Compile, logs: []string{Build}, words: []string{": error: ", ": fatal error: "},
		re: regexp.MustCompile(`^(?:\S*[/-])?` + compilers + `: (?:fatal )?error: (.+)`), says: "{1}"},
	{kind: Compile, logs: []string{Build}, words: []string{"error: could not compile"},
		re: regexp.MustCompile(`^error: (could not compile .+)`), says: "{1}"},
	{kind: Tool, logs: []string{Build}, words: []string{": not found", "command not found", "no module named ", "can't locate "},
		re: regexp.MustCompile(`^\S*rpm-tmp\.\S+: (?:line )?\d+: (\S+): (?:command )?not found|No module named '?([\w.]+)'?|^Can't locate (\S+) in @INC`), says: "{1}{2}{3} isn't in the root"},
	{kind: Make, logs: []string{Build}, words: []string{"no rule to make target"},
		re: regexp.MustCompile(`\*\*\* (No rule to make target .+?)\.? +Stop\.?$`), says: "{1}"},
	{kind: Make, logs: []string{Build}, words: []string{"ninja: error: "},
		re: regexp.MustCompile(`^ninja: error: (.+)`), says: "{1}"},

	// What only says that something ended.
	{kind: Debuginfo, logs: []string{Build}, words: []string{"error: bad exit status"}, of: "command", when: regexp.MustCompile(`find-debuginfo`),
		re: regexp.MustCompile(`^error: Bad exit status from \S+ \(%(\w+)\)`), says: "debugging information can't be split off: {command}"},
	{kind: Policy, logs: []string{Build}, words: []string{"error: bad exit status"}, of: "command", when: regexp.MustCompile(`^\S*/(?:brp-|check-)\S+`),
		re: regexp.MustCompile(`^error: Bad exit status from \S+ \(%(\w+)\)`), says: "{command} ended with an error"},
	{kind: Test, logs: []string{Build}, words: []string{"error: bad exit status"},
		re: regexp.MustCompile(`^error: Bad exit status from \S+ \(%check\)`), says: "%check ended with an error after: {command}"},
	{kind: Section, logs: []string{Build}, words: []string{"error: bad exit status"},
		re: regexp.MustCompile(`^error: Bad exit status from \S+ \(%(\w+)\)`), says: "%{1} ended with an error after: {command}"},
}

// hints say what is usually done about a kind of cause.
var hints = map[Kind]string{
	Disk:         "the work needs more disk than the node lets it have: give it a bigger node, or let the package write less",
	Memory:       "the work needs more memory than the node lets it have: run fewer compilers at once, or give it a bigger node",
	Time:         "the line is the last that the build wrote: what it names hung, or the platform's time limit is too short for the package",
	Silence:      "the line is the last that the build wrote: what it names hung, or says nothing for long",
	Output:       "the line is the last that was kept: something writes without end",
	Node:         "the package isn't at fault: retry the task if that wasn't done already",
	Refused:      "the files aren't what the task was to make: see the reason",
	Repository:   "the package isn't at fault: retry the task when the repository is well, or apply the platform anew",
	Dependency:   "mend the BuildRequires, or build what provides it first or add its repository",
	Scriptlet:    "the package that is named can't be installed: mend that one",
	ExcludedArch: "ExclusiveArch or ExcludeArch of the spec says so",
	Autospec:     "release and changelog come from the git history of a package whose spec lies at the root, on a platform with rpmautospec: true",
	Macro:        "a BuildRequires that brings the macro is missing, or its name is wrong",
	Spec:         "mend the spec file at that place",
	Source:       "the spec names a file or folder that the sources don't have",
	Patch:        "make the patch anew for this version of the source, or drop it if it is in there already",
	Configure:    "most often a BuildRequires is missing, or too old",
	Tool:         "a BuildRequires that brings it is missing",
	Compile:      "where a header is missing, so is a BuildRequires",
	Link:         "where a library is missing, so is a BuildRequires",
	Make:         "the build system's own files don't fit each other, or a file is missing",
	Unpackaged:   "name the file in %files, or remove it at the end of %install",
	Files:        "the build didn't install it, or it has another name on this arch",
	Mismatch:     "the package's BuildArch is wrong, or a binary was not built but brought",
	Debuginfo:    "the programs were built without -g or stripped; where there are none, %global debug_package %{nil}",
	Policy:       "mend what the check names in %install",
	Key:          "have the key made or restored where the signer runs, or sign with another",
	Evidence:     "nothing was signed: look at the package's history, and build it anew if it can't be told how it came to be",
	Forbidden:    "sign for a product that the policy names, or have the signer's operator change it",
	Serial:       "plan the release anew: something later is public by now",
	Place:        "somebody changed the public place: look at it, then publish again",
}

// ruleSet is what one log's lines are asked.
type ruleSet struct {
	literals []string
	words    *words
	rules    [][]int   // by literal: places in the table, ascending
	notes    [][]*note // by literal
	speaks   []bool    // by literal
}

func (s *ruleSet) literal(w string) int {
	i := slices.Index(s.literals, w)
	if i < 0 {
		i = len(s.literals)
		s.literals = append(s.literals, w)
		s.rules, s.notes, s.speaks = append(s.rules, nil), append(s.notes, nil), append(s.speaks, false)
	}
	return i
}

// begins returns what every line begins with that re matches, as far as that is one
// literal: to compare it is far cheaper than to try re.
func begins(re *regexp.Regexp) []byte {
	tree, err := syntax.Parse(re.String(), syntax.Perl)
	if err != nil || tree.Op != syntax.OpConcat || len(tree.Sub) < 2 {
		return nil
	}
	if first, then := tree.Sub[0], tree.Sub[1]; first.Op == syntax.OpBeginText && then.Op == syntax.OpLiteral && then.Flags&syntax.FoldCase == 0 {
		return []byte(string(then.Rune))
	}
	return nil
}

type ruleTable struct {
	rules []*rule
	logs  map[string]*ruleSet
}

// table prepares the rules once.
var table = sync.OnceValue(func() *ruleTable {
	t := &ruleTable{logs: map[string]*ruleSet{State: {}, Root: {}, Build: {}, Words: {}}}
	for i := range rules {
		r := &rules[i]
		r.begins = begins(r.re)
		for _, log := range r.logs { // each log has a place of its own, in that order
			for _, w := range r.words {
				l := t.logs[log].literal(w)
				t.logs[log].rules[l] = append(t.logs[log].rules[l], len(t.rules))
			}
			t.rules = append(t.rules, r)
		}
	}
	for i := range notes {
		notes[i].begins = begins(notes[i].re)
		for _, w := range notes[i].words {
			l := t.logs[Build].literal(w)
			t.logs[Build].notes[l] = append(t.logs[Build].notes[l], &notes[i])
		}
	}
	for _, log := range []string{Root, Build} {
		for _, w := range speaks {
			t.logs[log].speaks[t.logs[log].literal(w)] = true
		}
	}
	for _, s := range t.logs {
		s.words = newWords(s.literals)
	}
	return t
})
