package failure

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/iotest"
	"time"

	"github.com/google/go-cmp/cmp"
)

// sample is a file of testdata: the cause that its logs must give, and the logs.
type sample struct {
	name string
	want map[string]string // kind, log, line, text; and words, the worker's own
	logs map[string]string
}

// samples reads testdata. A file begins with lines "name: value" and goes on with
// logs, each behind a line "-- name --".
func samples(t testing.TB) []sample {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) < 30 {
		t.Fatalf("testdata has %d samples, %v", len(files), err)
	}
	var out []sample
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		s := sample{strings.TrimSuffix(filepath.Base(f), ".txt"), map[string]string{}, map[string]string{}}
		log := ""
		for line := range strings.Lines(string(b)) {
			if name, ok := strings.CutPrefix(line, "-- "); ok && strings.HasSuffix(name, " --\n") {
				log = strings.TrimSuffix(name, " --\n")
				s.logs[log] = ""
			} else if log != "" {
				s.logs[log] += line
			} else if name, value, ok := strings.Cut(line, ": "); ok {
				s.want[name] = strings.TrimSpace(value)
			} else {
				t.Fatalf("%s: %q is neither a fact nor a log's name", f, line)
			}
		}
		out = append(out, s)
	}
	return out
}

// digest reads logs, each through wrap.
func digest(t testing.TB, words string, logs map[string]string, wrap func(io.Reader) io.Reader) Cause {
	t.Helper()
	d := New(words)
	for _, name := range []string{State, Root, Build} {
		if err := d.Read(name, wrap(strings.NewReader(logs[name]))); err != nil {
			t.Fatal(err)
		}
	}
	return d.Cause()
}

func whole(r io.Reader) io.Reader { return r }

// TestSamples: each kind of failure is found where it stands, however the log comes.
func TestSamples(t *testing.T) {
	t.Parallel()
	kinds := map[Kind]bool{}
	for _, s := range samples(t) {
		c := digest(t, s.want["words"], s.logs, whole)
		kinds[c.Kind] = true
		got := map[string]string{"kind": string(c.Kind), "log": c.Log, "line": strconv.Itoa(c.Number), "text": c.Text}
		for _, name := range []string{"kind", "log", "line", "text"} {
			if want := s.want[name]; got[name] != want && !(name == "line" && want == "" && c.Number == 0) {
				t.Errorf("%s: %s is %q, want %q (%+v)", s.name, name, got[name], want, c)
			}
		}
		if c.Number > 0 {
			lines := strings.Split(s.logs[c.Log], "\n")
			if said := string(Plain([]byte(strings.TrimSuffix(lines[c.Number-1], "\r")))); said[:min(len(said), maxQuote)] != c.Line {
				t.Errorf("%s: line %d is %q, quoted as %q", s.name, c.Number, said, c.Line)
			}
			if c.First() < 1 || c.Number > 1 && len(c.Before) == 0 {
				t.Errorf("%s: line %d has %q above it", s.name, c.Number, c.Before)
			}
		}
		if again := digest(t, s.want["words"], s.logs, iotest.OneByteReader); !cmp.Equal(c, again) {
			t.Errorf("%s: read byte by byte it is another cause:\n%s", s.name, cmp.Diff(c, again))
		}
	}
	for i := range rules {
		if !kinds[rules[i].kind] {
			t.Errorf("no sample is of the kind %s", rules[i].kind)
			kinds[rules[i].kind] = true
		}
	}
}

// TestWords: what queue and worker say themselves.
func TestWords(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		words string
		kind  Kind
		text  string
	}{
		{"worker node-7 was not heard of for 1m0s", Node, "worker node-7 was not heard of for 1m0s"},
		{"infra: 3 attempts were lost, the last: worker node-7 was not heard of for 1m0s", Node, "worker node-7 was not heard of for 1m0s"},
		{"the worker was restarted in the middle of the work", Node, "the worker was restarted in the middle of the work"},
		{"write log build: write /x: no space left on device", Disk, "no space left on device"},
		{"infra: the node's disk is full: 3 MiB are free in /roots, less than 9 MiB", Disk, "the node's disk is full: 3 MiB are free in /roots, less than 9 MiB"},
		{"the work was ended: it was silent for more than 2h0m0s", Silence, "the work was ended: it was silent for more than 2h0m0s"},
		{"the work was ended: it needed more than 17179869184 bytes of memory", Memory, "the work was ended: it needed more than 17179869184 bytes of memory"},
		{"result refused: foo-1-1.x86_64 has arch x86_64, the task was to build for aarch64", Refused, "the result was not taken: foo-1-1.x86_64 has arch x86_64, the task was to build for aarch64"},
		{"dnf install ended with code 1: Error: Failed to download metadata for repo 'base'", Repository, "Failed to download metadata for repo 'base'"},
		{"mirror base has moved on from its pinned metadata; apply the platform again to pin it anew", Repository, "mirror base has moved on from its pinned metadata; apply the platform again to pin it anew"},
		{"BuildRequires can't be installed: dnf can't resolve: no package provides foo-devel", Dependency, "no package provides foo-devel"},
		{"source x.tar.gz (sha256 ab) is in none of the look-aside caches [\"https://x\"]", Source, "source x.tar.gz (sha256 ab) is in none of the look-aside caches [\"https://x\"]"},
		{"sign a-1-1.x86_64.rpm: refused: the package that is called \"a\" calls itself b in its header", Evidence, "the package that is called \"a\" calls itself b in its header"},
		{"waits in vain for task 7: refused: the evidence doesn't hold: x", Evidence, "the evidence doesn't hold: x"},
		{"infra: 3 attempts were lost, the last: statement 2 about ab: the ledger has another entry: the database was changed behind albs; compare it with a backup", Evidence,
			"statement 2 about ab: the ledger has another entry: the database was changed behind albs; compare it with a backup"},
		{"/keys/AB.key holds no key: restore it from a backup", Key, "/keys/AB.key holds no key: restore it from a backup"},
		{"the signer's passphrase /keys/passphrase is empty", Key, "the signer's passphrase /keys/passphrase is empty"},
		{"the signer's policy /etc/p.yaml can't be understood, so nothing is signed: line 3", Forbidden, "the signer's policy /etc/p.yaml can't be understood, so nothing is signed: line 3"},
		{"the tree is serial 8 of distro, the task is to publish serial 7 of distro", Serial, "the tree is serial 8 of distro, the task is to publish serial 7 of distro"},
		{"/srv/distro/current points to \"x\", which no releaser made", Place, "/srv/distro/current points to \"x\", which no releaser made"},
		{"link packages: symlink a b: no space left on device", Disk, "no space left on device"},
		{"infra: 3 attempts came to nothing, the last: fetch tree: write x: no space left on device", Disk, "no space left on device"},
		{"test a-1-1.noarch: packages conflict: file /a from install of a-1-1.noarch conflicts with file from package b-1-1.noarch", Dependency, "file /a from install of a-1-1.noarch conflicts with file from package b-1-1.noarch"},
		{"platform el asks for rpmautospec, which can't be installed: give the platform a repository that has it (dnf can't resolve: no package provides rpmautospec)", Repository, "platform el asks for rpmautospec, which can't be installed: give the platform a repository that has it (dnf can't resolve: no package provides rpmautospec)"},
		{"import x: the spec uses %autorelease, which needs the history: it has more than 9 bytes", Autospec, "the spec uses %autorelease, which needs the history: it has more than 9 bytes"},
		{"the spec uses %autorelease, and lies at SPECS/x.spec: rpmautospec counts commits only of a spec at the root of its repository", Autospec, "the spec uses %autorelease, and lies at SPECS/x.spec: rpmautospec counts commits only of a spec at the root of its repository"},
		{"the spec uses %autochangelog, which rpmautospec fills in from the git history, and platform el did not ask for that: set it", Autospec, "the spec uses %autochangelog, which rpmautospec fills in from the git history, and platform el did not ask for that: set it"},
		{"the spec uses %autorelease where rpmautospec doesn't see it: write it", Autospec, "the spec uses %autorelease where rpmautospec doesn't see it: write it"},
		{"rpmautospec can't fill in the spec (it ended with code 1): Couldn’t parse spec file x.spec", Autospec, "rpmautospec can't fill in the spec (it ended with code 1): Couldn’t parse spec file x.spec"},
		{"something else", Unknown, "something else"},
		{"", Unknown, ""},
	} {
		c := OfWords(tt.words)
		if c.Kind != tt.kind || c.Text != tt.text || c.Log != "" || c.Number != 0 || c.Line != "" {
			t.Errorf("OfWords(%q) = %+v, want %s: %s", tt.words, c, tt.kind, tt.text)
		}
	}
}

// TestOfCase: a case of a package's tests tells what was found, of which package; what
// no rule knows is a failed test by its first line.
func TestOfCase(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		check, said string
		kind        Kind
		text        string
	}{
		{"install", "dnf can't resolve: nothing provides libx.so.1 needed by a-1-1.x86_64", Dependency, "install of a-1-1.x86_64: nothing provides libx.so.1 needed by a-1-1.x86_64"},
		{"install", "packages conflict: file /usr/bin/a from install of a-1-1.x86_64 conflicts with file from package b-1-1.x86_64", Dependency,
			"install of a-1-1.x86_64: file /usr/bin/a from install of a-1-1.x86_64 conflicts with file from package b-1-1.x86_64"},
		{"install", "a package refuses: %prein(a-1-1.x86_64) scriptlet failed, exit status 1", Scriptlet, "install of a-1-1.x86_64: %prein(a-1-1.x86_64) scriptlet failed, exit status 1"},
		{"install", "dnf installed another file of that name, 0123456789ab", Test, "install of a-1-1.x86_64: dnf installed another file of that name, 0123456789ab"},
		{"files", "/usr/share/a/file is missing\n/usr/share/b is missing", Test, "files of a-1-1.x86_64: /usr/share/a/file is missing"},
		{"libraries", "\n/usr/bin/a needs libx.so.1, which isn't found\n", Test, "libraries of a-1-1.x86_64: /usr/bin/a needs libx.so.1, which isn't found"},
		{"remove", "the package is still installed", Test, "remove of a-1-1.x86_64: the package is still installed"},
		{"libraries", "the work was ended: it took longer than 10m0s", Time, "libraries of a-1-1.x86_64: the work was ended: it took longer than 10m0s"},
		{"files", "", Test, "files of a-1-1.x86_64"},
		{"files", strings.Repeat("é", 4000), Test, ""},
	} {
		c := OfCase("a-1-1.x86_64", tt.check, tt.said)
		if c.Kind != tt.kind || tt.text != "" && c.Text != tt.text || c.Log != "" || c.Number != 0 || len(c.Text) > maxText+len("…") {
			t.Errorf("OfCase(%q, %.80q) = %+v, want %s: %s", tt.check, tt.said, c, tt.kind, tt.text)
		}
	}
}

// TestOrder: the table decides, and not which comes first; what a section said that
// has passed doesn't count.
func TestOrder(t *testing.T) {
	t.Parallel()
	const (
		prep     = "Executing(%prep): /bin/sh -e /var/tmp/rpm-tmp.a\n"
		building = "Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.b\n"
		checking = "Executing(%check): /bin/sh -e /var/tmp/rpm-tmp.c\n"
	)
	for _, tt := range []struct {
		name, log string
		kind      Kind
		line      int
	}{
		{"a compiler's error before an unpackaged file", building + "a.c:1:1: error: x\nerror: Installed (but unpackaged) file(s) found:\n   /x\n", Unpackaged, 3},
		{"an error of a section that passed", prep + "a.c:1:1: error: x\n" + building + "make: *** [Makefile:1: all] Error 2\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n", Section, 5},
		{"a test's words outside %check", building + "FAIL: one\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n", Section, 3},
		{"the first of two", building + "a.c:1:1: error: x\nb.c:1:1: error: y\n", Compile, 2},
		{"no space, played by a test", checking + "write: No space left on device\nFAIL: two.sh\n", Test, 3},
		{"a test's talk before its failure", checking + "ERROR: this is only said\nFAIL: two.sh\n", Test, 3},
		{"memory in prose", building + "checking what happens when out of memory... no\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n", Section, 3},
		{"memory", building + "/usr/bin/ld: final link failed: memory exhausted\ncollect2: error: ld returned 1 exit status\n", Memory, 2},
		{"memory for a fork", building + "/bin/sh: fork: Cannot allocate memory\n", Memory, 2},
		{"memory of a program in Python", building + "OSError: [Errno 12] Cannot allocate memory\n", Memory, 2},
		{"space in prose", building + "a.c:1:1: warning: it says No space left on device here\na.c:2:1: error: x\n", Compile, 3},
		{"space", building + "cp: error writing 'x': No space left on device\n", Disk, 2},
		{"a second run", "+ rpmbuild -bb x.spec\n" + prep + "+ rpmbuild -bb x.spec\n" + prep + "Hunk #1 FAILED at 3.\n", Patch, 5},
		{"an expected failure", checking + "XFAIL: one\nnot ok 2 - x # TODO later\nok 3\n", Unknown, 0},
		{"nothing known", "one\ntwo failed\nthree\n", Unknown, 2},
		{"nothing that speaks of an error", "one\ntwo\n", Unknown, 0},
	} {
		c := digest(t, "", map[string]string{Build: tt.log}, whole)
		if c.Kind != tt.kind || c.Number != tt.line {
			t.Errorf("%s: %+v, want %s at line %d", tt.name, c, tt.kind, tt.line)
		}
	}
	// What dnf says counts, unless rpmbuild failed by itself after it; that dynamic
	// requirements are missing is dnf's to say.
	const root = "No match for argument: foo\n"
	for _, tt := range []struct {
		name, build string
		kind        Kind
	}{
		{"no build", "", Dependency},
		{"a section that failed", building + "a.c:1:1: error: x\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n", Compile},
		{"an unpackaged file", building + "Processing files: x\nerror: Installed (but unpackaged) file(s) found:\n   /x\nRPM build errors:\n", Unpackaged},
		{"dynamic requirements", prep + "Executing(%generate_buildrequires): /bin/sh -e /var/tmp/rpm-tmp.g\nWrote: /x.buildreqs.nosrc.rpm\n", Dependency},
	} {
		if c := digest(t, "", map[string]string{Root: root, Build: tt.build}, whole); c.Kind != tt.kind {
			t.Errorf("%s: %+v, want %s", tt.name, c, tt.kind)
		}
	}
}

// TestLines: lines are counted as the viewer counts them, and escapes hide nothing.
func TestLines(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("x", 3<<20)
	for _, tt := range []struct {
		name, log string
		line      int
		quote     string
	}{
		{"the first", "a.c:1:1: error: x", 1, "a.c:1:1: error: x"},
		{"empty lines", "\n\n\na.c:1:1: error: x\n", 4, "a.c:1:1: error: x"},
		{"carriage returns", "1\r2\r3\r\n10%\r99%\ra.c:1:1: error: x\r\n", 2, "a.c:1:1: error: x"},
		{"behind a long line", long + "\na.c:1:1: error: x\n", 2, "a.c:1:1: error: x"},
		{"colours", "\x1b[01m\x1b[Ka.c:1:1:\x1b[m\x1b[K \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kx\n", 1, "a.c:1:1: error: x"},
		{"other marks of a line", "a\vb\fc\u2028d\x00\na.c:1:1: error: x\x00\n", 2, "a.c:1:1: error: x\uFFFD"},
		{"no text", "\xff\xfe\na.c:1:1: error: \xff\n", 2, "a.c:1:1: error: \uFFFD"},
	} {
		c := digest(t, "", map[string]string{Build: tt.log}, whole)
		if c.Kind != Compile || c.Number != tt.line || c.Line != tt.quote {
			t.Errorf("%s: %+v, want line %d: %q", tt.name, c, tt.line, tt.quote)
		}
	}
}

// TestAround: three lines on each side, as far as there are.
func TestAround(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := 1; i <= 9; i++ {
		fmt.Fprintf(&b, "%d\n", i)
	}
	for _, tt := range []struct {
		log           string
		before, after []string
	}{
		{b.String() + "a.c:1:1: error: x\n" + b.String(), []string{"7", "8", "9"}, []string{"1", "2", "3"}},
		{"a.c:1:1: error: x\n", nil, nil},
		{"1\na.c:1:1: error: x\n2\n", []string{"1"}, []string{"2"}},
	} {
		c := digest(t, "", map[string]string{Build: tt.log}, whole)
		if !slices.Equal(c.Before, tt.before) || !slices.Equal(c.After, tt.after) {
			t.Errorf("%q: %q and %q, want %q and %q", tt.log, c.Before, c.After, tt.before, tt.after)
		}
	}
	// A limit's cause is shown where the build was at.
	c := digest(t, "", map[string]string{
		State: "T rpmbuild -bb begins\nT rpmbuild -bb failed: the work was ended: it took longer than 1h0m0s (3600.10 s)\n",
		Build: "one\ntwo\nRunning test 7\n\n",
	}, whole)
	want := Cause{Kind: Time, Text: "the work was ended: it took longer than 1h0m0s", Hint: hints[Time], Log: Build, Number: 3, Line: "Running test 7", Before: []string{"two"}}
	if diff := cmp.Diff(want, c); diff != "" {
		t.Errorf("a limit (-want +got):\n%s", diff)
	}
}

func TestReadFails(t *testing.T) {
	t.Parallel()
	d := New("")
	r := io.MultiReader(strings.NewReader("a.c:1:1: error: x\nb"), iotest.ErrReader(io.ErrUnexpectedEOF))
	if err := d.Read(Build, r); err == nil || !strings.Contains(err.Error(), io.ErrUnexpectedEOF.Error()) {
		t.Errorf("Read = %v", err)
	}
	if c := d.Cause(); c.Kind != Compile {
		t.Errorf("Cause = %+v", c)
	}
	if err := d.Read("buildroot.json", iotest.ErrReader(io.ErrUnexpectedEOF)); err != nil {
		t.Errorf("a log without rules: %v", err)
	}
}

// TestTable: what the rules are made of holds.
func TestTable(t *testing.T) {
	t.Parallel()
	for _, r := range rules {
		for _, w := range r.words {
			if w != strings.ToLower(w) || len(w) < 3 {
				t.Errorf("%s: the word %q is never found, or everywhere", r.says, w)
			}
		}
		for _, part := range strings.Split(r.says, "{")[1:] {
			name, _, _ := strings.Cut(part, "}")
			n, err := strconv.Atoi(name)
			noted := name == "section" || slices.ContainsFunc(notes, func(n note) bool { return n.name == name })
			if err == nil && n > r.re.NumSubexp() || err != nil && !noted && (name != "next" || !r.next) {
				t.Errorf("%q has nothing for {%s}", r.says, name)
			}
		}
	}
	for k := range hints {
		if !slices.ContainsFunc(rules, func(r rule) bool { return r.kind == k }) {
			t.Errorf("there is a hint for %s, which no rule gives", k)
		}
	}
}

// TestLiterals: the automaton finds what looking for each literal finds.
func TestLiterals(t *testing.T) {
	t.Parallel()
	rnd := rand.New(rand.NewPCG(1, 2))
	random := func(most int) string {
		b := make([]byte, 1+rnd.IntN(most))
		for i := range b {
			b[i] = "abAB \xff"[rnd.IntN(6)]
		}
		return string(b)
	}
	for range 300 {
		var literals []string
		for range 1 + rnd.IntN(8) {
			if l := strings.ToLower(strings.ToValidUTF8(random(4), "")); l != "" && !slices.Contains(literals, l) {
				literals = append(literals, l)
			}
		}
		w, text := newWords(literals), random(40)
		found := map[int]bool{}
		w.in([]byte(text), func(l int) { found[l] = true })
		low := strings.Map(func(r rune) rune {
			if r >= 'A' && r <= 'Z' {
				return r + 'a' - 'A'
			}
			return r
		}, text)
		for i, l := range literals {
			if found[i] != strings.Contains(low, l) {
				t.Fatalf("%q in %q: %v", l, text, found[i])
			}
		}
	}
}

// hostile are texts of which a log may be full.
func hostile() map[string]string {
	out := map[string]string{
		"empty lines": "\n", "short errors": "error: \n", "an error each 20 bytes": "x.c:1:1: errr: yyyy\nfatal error: \n",
		"unended strings": strings.Repeat("\x1b]", 900) + "\n", "escapes": strings.Repeat("\x1b[1;31m", 280) + "\n", "one line": "error: fatal error: ",
		"sections":   "Executing(%build): x\nExecuting(%check): x\nerror: Bad exit status from x (%check)\n",
		"long words": strings.Repeat("a", 1900) + ": error: " + "\n", "commands": "+ x\n", "brackets": strings.Repeat("(", 1990) + " error: x\n",
	}
	for _, r := range rules {
		out["words of "+r.says] = r.words[0] + "\n"
	}
	return out
}

// TestHostile: whatever a log is full of, it costs time in proportion to its size and
// memory that has nothing to do with it.
func TestHostile(t *testing.T) {
	size := int64(4 << 20)
	if testing.Short() {
		size = 256 << 10
	}
	var before, after runtime.MemStats
	for name, unit := range hostile() {
		runtime.GC()
		runtime.ReadMemStats(&before)
		quarter := worked(t, unit, size/4)
		took := worked(t, unit, size)
		runtime.GC()
		runtime.ReadMemStats(&after)
		if held := int64(after.HeapAlloc) - int64(before.HeapAlloc); held > 1<<20 {
			t.Errorf("%s: %d bytes are held after %d", name, held, size)
		}
		if took > 8*quarter+300*time.Millisecond {
			t.Errorf("%s: %d bytes take %v and a quarter of it %v", name, size, took, quarter)
		}
		t.Logf("%s: %.0f MB/s", name, float64(size)/1e6/took.Seconds())
	}
}

// worked returns the processor's time for a log of so many bytes that is full of unit.
func worked(t *testing.T, unit string, size int64) time.Duration {
	t.Helper()
	var began, ended syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &began); err != nil {
		t.Fatal(err)
	}
	d := New("")
	if err := d.Read(Build, io.LimitReader(&repeat{text: unit}, size)); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &ended); err != nil {
		t.Fatal(err)
	}
	d.Cause()
	return max(time.Duration(ended.Utime.Nano()-began.Utime.Nano()), time.Microsecond)
}

// repeat is a text without end.
type repeat struct {
	text string
	at   int
}

func (r *repeat) Read(p []byte) (int, error) {
	for n := 0; ; {
		m := copy(p[n:], r.text[r.at:])
		n += m
		r.at = (r.at + m) % len(r.text)
		if n == len(p) {
			return n, nil
		}
	}
}

// TestGiantLine: a line of a gigabyte is passed over, and the next is found.
func TestGiantLine(t *testing.T) {
	t.Parallel()
	size := int64(1 << 30)
	if testing.Short() {
		size = 16 << 20
	}
	d := New("")
	r := io.MultiReader(io.LimitReader(&repeat{text: strings.Repeat("error: x", 1000)}, size), strings.NewReader("\na.c:1:1: error: y\n"))
	if err := d.Read(Build, r); err != nil {
		t.Fatal(err)
	}
	if c := d.Cause(); c.Kind != Compile || c.Number != 2 || len(c.Before[0]) > maxQuote+3 {
		t.Errorf("Cause = %+v", c)
	}
}

func FuzzDigest(f *testing.F) {
	for _, s := range samples(f) {
		f.Add(s.logs[State], s.logs[Root], s.logs[Build], s.want["words"])
	}
	f.Fuzz(func(t *testing.T, state, root, build, words string) {
		logs := map[string]string{State: state, Root: root, Build: build}
		c := digest(t, words, logs, whole)
		if again := digest(t, words, logs, iotest.HalfReader); !cmp.Equal(c, again) {
			t.Errorf("read otherwise it is another cause:\n%s", cmp.Diff(c, again))
		}
		if len(c.Text) > maxText+3 || len(c.Line) > 3*maxQuote || c.Kind == "" || (c.Log == "") != (c.Number == 0) {
			t.Errorf("%+v", c)
		}
		lines := strings.Split(logs[c.Log], "\n")
		if c.Number > 0 && (c.Number > len(lines) || c.First() < 1 || c.Number+len(c.After) > len(lines)) {
			t.Errorf("the log has %d lines: %+v", len(lines), c)
		}
		for _, s := range append(append([]string{c.Text, c.Line}, c.Before...), c.After...) {
			if strings.ContainsAny(s, "\n\x00") || strings.ToValidUTF8(s, "") != s {
				t.Errorf("%q is no line of text", s)
			}
		}
	})
}

// BenchmarkDigest reads a build log of 64 MiB like those that compilers write, with
// an error at its end.
func BenchmarkDigest(b *testing.B) {
	var log bytes.Buffer
	log.WriteString("Executing(%build): /bin/sh -e /var/tmp/rpm-tmp.b\n")
	for i := 0; log.Len() < 64<<20; i++ {
		fmt.Fprintf(&log, "gcc -DHAVE_CONFIG_H -I. -O2 -flto=auto -ffat-lto-objects -fexceptions -g -grecord-gcc-switches -pipe -Wall -Werror=format-security -Wp,-D_FORTIFY_SOURCE=2 -c -o src/file%d.o src/file%d.c\n", i, i)
		if i%10 == 0 {
			fmt.Fprintf(&log, "src/file%d.c:%d:7: warning: unused variable 'failed' [-Wunused-variable]\nchecking for error in -lm... no\n", i, i%997)
		}
	}
	log.WriteString("src/last.c:7:3: error: expected ';' before '}' token\nerror: Bad exit status from /var/tmp/rpm-tmp.b (%build)\n")
	b.SetBytes(int64(log.Len()))
	for b.Loop() {
		d := New("")
		if err := d.Read(Build, bytes.NewReader(log.Bytes())); err != nil {
			b.Fatal(err)
		}
		if c := d.Cause(); c.Kind != Compile {
			b.Fatalf("%+v", c)
		}
	}
}
