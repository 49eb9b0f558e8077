package suite

import (
	"archive/tar"
	"bytes"
	"errors"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/tap"
)

// packed returns a tar of headers, each with its name as content where it is a file.
func packed(t testing.TB, headers ...tar.Header) []byte {
	t.Helper()
	var b bytes.Buffer
	w := tar.NewWriter(&b)
	for _, h := range headers {
		data := ""
		if h.Typeflag == tar.TypeReg {
			data = h.Name
		}
		h.Size = int64(len(data))
		if err := w.WriteHeader(&h); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write([]byte(data)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func file(name string, mode int64) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeReg, Mode: mode}
}

func link(name, to string) tar.Header {
	return tar.Header{Name: name, Typeflag: tar.TypeSymlink, Linkname: to}
}

func TestRead(t *testing.T) {
	t.Parallel()
	got, err := Read(bytes.NewReader(packed(t,
		tar.Header{Typeflag: tar.TypeXGlobalHeader, Name: "pax_global_header", PAXRecords: map[string]string{"comment": "c0ffee"}},
		tar.Header{Name: "d/", Typeflag: tar.TypeDir},
		file("d/run", 0o755), file("b", 0o644),
		link("d/up", "../b"), link("two", "d/up"), link("out", "../b"), link("etc", "/etc/passwd"), link("round", "round"), link("dir", "d"),
		tar.Header{Name: "pipe", Typeflag: tar.TypeFifo},
	)))
	if err != nil {
		t.Fatal(err)
	}
	want := Tree{
		Files: []File{{"b", []byte("b"), false}, {"d/run", []byte("d/run"), true}, {"d/up", []byte("b"), false}, {"two", []byte("b"), false}},
		Left:  []string{"dir", "etc", "out", "pipe", "round"},
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	var many []tar.Header
	for range maxFiles + 1 {
		many = append(many, link("l", "x"))
		many[len(many)-1].Name += strings.Repeat("x", len(many)%100) + string(rune('a'+len(many)/100%26)) + string(rune('a'+len(many)/2600))
	}
	for name, tt := range map[string]struct {
		content []byte
		say     string
	}{
		"no tar":    {bytes.Repeat([]byte("x"), 1024), "no tar"},
		"cut":       {packed(t, file("a", 0o644))[:600], ""},
		"outside":   {packed(t, file("../a", 0o644)), `"../a"`},
		"absolute":  {packed(t, file("/a", 0o644)), `"/a"`},
		"long name": {packed(t, file(strings.Repeat("a/", maxPath)+"a", 0o644)), "of the name"},
		"too many":  {packed(t, many...), "more than 10000 files"},
	} {
		if name == "cut" { // within the content of a file
			tt.content, tt.say = tt.content[:512], "no tar"
		}
		if _, err := Read(bytes.NewReader(tt.content)); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.say) {
			t.Errorf("%s: %v, want Invalid saying %q", name, err, tt.say)
		}
	}
	big := tar.Header{Name: "big", Typeflag: tar.TypeReg, Size: maxBytes + 1}
	var b bytes.Buffer
	if err := tar.NewWriter(&b).WriteHeader(&big); err != nil {
		t.Fatal(err)
	}
	if _, err := Read(&b); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "67108864 bytes") {
		t.Errorf("a file beyond the bound: %v", err)
	}
}

func TestTests(t *testing.T) {
	t.Parallel()
	tree := Tree{Files: []File{
		{"README.md", nil, false},
		{"t/0_init.yml", nil, false},
		{"t/0_install", []byte("#!/bin/bash\n"), true},
		{"t/0a.sh", nil, false},
		{"t/README", []byte("#!/bin/sh\n"), false},
		{"t/__init__.py", nil, false},
		{"t/a.bats", nil, false},
		{"t/b.sh", []byte("#!/usr/bin/env bash\n"), true},
		{"t/c.py", []byte("#! /usr/bin/python3 -u\nimport os\n"), false},
		{"t/conftest.py", nil, false},
		{"t/d.py", []byte("def test_x(): pass\n"), false},
		{"t/deeper/e.sh", nil, true},
		{"t/f.bash", []byte("#!perl\n"), false},
		{"t/g", []byte("\x7fELF"), true},
		{"t2/x.txt", nil, false},
	}}
	tests, err := tree.Tests("t/", nil)
	if err != nil {
		t.Fatal(err)
	}
	want := []Test{
		{Name: "0_init.yml", Setup: true, Dir: "t", Argv: []string{ansible, "-i", "localhost,", "-c", "local", "./0_init.yml"}, Needs: []string{ansible}, Form: Play},
		{Name: "0_install", Setup: true, Dir: "t", Argv: []string{"/bin/bash", "./0_install"}, Needs: []string{"/bin/bash"}},
		{Name: "0a.sh", Dir: "t", Argv: []string{"/bin/sh", "./0a.sh"}, Needs: []string{"/bin/sh"}},
		{Name: "a.bats", Dir: "t", Argv: []string{bats, "--tap", "./a.bats"}, Needs: []string{bats}, Form: TAP},
		{Name: "b.sh", Dir: "t", Argv: []string{"/usr/bin/env", "bash", "./b.sh"}, Needs: []string{"/usr/bin/bash"}},
		{Name: "c.py", Dir: "t", Argv: []string{"/usr/bin/python3", "-u", "./c.py"}, Needs: []string{"/usr/bin/python3"}},
		{Name: "d.py", Dir: "t", Argv: []string{pytest, "-p", "no:cacheprovider", "--junit-xml=" + Report, "./d.py"}, Needs: []string{pytest}, Form: JUnit},
		{Name: "f.bash", Dir: "t", Argv: []string{"/bin/bash", "./f.bash"}, Needs: []string{"/bin/bash"}},
	}
	if diff := gocmp.Diff(want, tests); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	many := Tree{}
	for i := range MaxTests + 1 {
		many.Files = append(many.Files, File{Name: strings.Repeat("a", i+1) + ".sh"})
	}
	for _, tt := range []struct {
		tree Tree
		dir  string
		only []string
		want string // names
		kind albs.Kind
	}{
		{tree, "t", []string{"b.sh"}, "0_init.yml 0_install b.sh", ""},
		{tree, "t", []string{"README"}, "", albs.Invalid},
		{tree, "t", []string{"deeper/e.sh"}, "", albs.Invalid},
		{tree, "t/deeper", nil, "e.sh", ""},
		{tree, "", nil, "", albs.NotFound},
		{tree, "t2", nil, "", albs.NotFound},
		{tree, "nosuch", nil, "", albs.NotFound},
		{tree, "../t", nil, "", albs.NotFound},
		{Tree{}, "", nil, "", albs.NotFound},
		{many, "", nil, "", albs.Invalid},
	} {
		tests, err := tt.tree.Tests(tt.dir, tt.only)
		var names []string
		for _, x := range tests {
			names = append(names, x.Name)
		}
		if got := strings.Join(names, " "); got != tt.want || tt.kind != "" && !errors.Is(err, tt.kind) || tt.kind == "" && err != nil {
			t.Errorf("%s %q: %q, %v; want %q, %v", tt.dir, tt.only, got, err, tt.want, tt.kind)
		}
	}
}

const report = `<?xml version="1.0" encoding="utf-8"?><testsuites><testsuite name="pytest" errors="1" failures="1" skipped="2" tests="5">
<testcase classname="test_x" name="test_good" time="0.001" />
<testcase classname="test_x.TestC" name="test_bad[1]" time="0.001"><failure message="assert 1 == 2">def test_bad
E  assert 1 == 2</failure></testcase>
<testcase classname="test_x" name="test_later" time="0.000"><skipped type="pytest.skip" message="no network">x:3</skipped></testcase>
<testcase classname="test_x" name="test_known" time="0.001"><skipped type="pytest.xfail" message="known" /></testcase>
<testcase classname="test_x" name="test_broken" time="0.0"><error message="failed on setup">E</error></testcase>
</testsuite></testsuites>`

// play is what a play says of which a task fails without harm, and another one for good.
const play = `PLAY [all] ***

TASK [may fail] ****
fatal: [localhost]: FAILED! => {"msg": "x"}
...ignoring

TASK [wants more] ***
fatal: [localhost]: FAILED! => {"msg": "y"}

PLAY RECAP ****
localhost : ok=1 failed=1
`

// TestDescribed: where metadata of tmt is, it says what is run, and the files beside it are
// no tests of themselves.
func TestDescribed(t *testing.T) {
	t.Parallel()
	tree := func(files map[string]string) Tree {
		var tree Tree
		for name, text := range files {
			tree.Files = append(tree.Files, File{Name: name, Data: []byte(text)})
		}
		slices.SortFunc(tree.Files, func(a, b File) int { return strings.Compare(a.Name, b.Name) })
		return tree
	}
	files := map[string]string{
		"p/.fmf/version":         "1\n",
		"p/main.fmf":             "environment: {A: 1}\n",
		"p/tests/smoke/main.fmf": "test: ./smoke.sh\nduration: 1m\nrequire: sed\nrecommend: gdb\n/a:\n/b: {result: xfail}\n/c: {enabled: false}\n",
		"p/tests/smoke/smoke.sh": "#!/bin/sh\n",
		"p/tests/run.sh":         "#!/bin/sh\n",
		"p/plain/a.sh":           "#!/bin/sh\n",
		"p/plans/all.fmf":        "prepare: {script: touch x}\nexecute: {script: true}\n/one:\n/two:\n",
		"q/main.fmf":             "test: true\n",
	}
	env := func(name string) map[string]string {
		return map[string]string{"A": "1", "TMT_TREE": Folder + "/p", "TMT_TEST_NAME": name}
	}
	argv := func(script string) []string { return []string{bash, "-e", "-o", "pipefail", "-c", script} }
	smoke := Test{Name: "/tests/smoke/a", Argv: argv("./smoke.sh"), Dir: "p/tests/smoke", Needs: []string{bash, "sed"}, Wants: []string{"gdb"}, Env: env("/tests/smoke/a"), Time: time.Minute, Form: Code}
	known := smoke
	known.Name, known.Env, known.Fails = "/tests/smoke/b", env("/tests/smoke/b"), true
	off := Test{Name: "/tests/smoke/c", Skip: "it isn't enabled"}
	got, err := tree(files).Tests("p/tests", nil)
	if diff := gocmp.Diff([]Test{smoke, known, off}, got); diff != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
	for _, tt := range []struct {
		dir  string
		only []string
		want string // names, or what the error says
	}{
		{"p/tests", []string{"/tests/smoke/b"}, "/tests/smoke/b"},
		{"p/tests", []string{"run.sh"}, `the folder p/tests has no test "run.sh"`},
		{"p/plain", nil, "a.sh"},
		{"p/plans", []string{"/plans/all/two > /script-00"}, "/plans/all/two > prepare-1-1, /plans/all/two > /script-00"},
		{"q", nil, "the folder q has files *.fmf, and neither it nor one above it has the file .fmf/version"},
		{".", nil, "the folder . has files *.fmf"},
	} {
		tests, err := tree(files).Tests(tt.dir, tt.only)
		var names []string
		for _, x := range tests {
			names = append(names, x.Name)
		}
		got := strings.Join(names, ", ")
		if err != nil {
			got = err.Error()
		}
		if !strings.Contains(got, tt.want) || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s %q: %q, want %q", tt.dir, tt.only, got, tt.want)
		}
	}
	for say, text := range map[string]string{"the key path: there is no folder p/nosuch": "test: x\npath: /nosuch", "the key environment": "test: x\nenvironment: {'A B': 1}", "the key tty": "test: x\ntty: true"} {
		files["p/tests/smoke/main.fmf"] = text
		if _, err := tree(files).Tests("p/tests", nil); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), say) {
			t.Errorf("%v, want Invalid saying %q", err, say)
		}
	}
}

func TestJudge(t *testing.T) {
	t.Parallel()
	good := `<testsuites><testsuite><testcase classname="a" name="b"/></testsuite></testsuites>`
	for _, tt := range []struct {
		name           string
		test           Test
		output, report string
		code           int
		want           tap.Status
		say            string
		cases          int
	}{
		{"a code", Test{}, "fine\n", "", 0, tap.Passed, "", 0},
		{"another code", Test{}, "fine\n", "", 3, tap.Failed, "it ended with code 3", 0},
		{"TAP", Test{}, "1..1\nok 1\n", "", 0, tap.Passed, "", 1},
		{"TAP and a code", Test{}, "1..1\nok 1\n", "", 1, tap.Failed, "ended with code 1", 1},
		{"bats", Test{Form: TAP}, "1..2\nok 1 a\nnot ok 2 b\n", "", 1, tap.Failed, "1 of 2 cases failed, first b", 2},
		{"bats that says nothing", Test{Form: TAP}, "", "", 0, tap.Failed, "plan", 0},
		{"bats killed", Test{Form: TAP}, "1..2\nok 1 a\n", "", 137, tap.Failed, "", 1},
		{"bats without tests", Test{Form: TAP}, "1..0\n", "", 0, tap.Failed, "the plan has no tests", 0},
		{"bats skipped", Test{Form: TAP}, "1..1\nok 1 a # skip no network\n", "", 0, tap.Skipped, "no network", 1},
		{"pytest", Test{Form: JUnit}, "5 tests", report, 1, tap.Failed, "2 of 5 cases failed, first TestC.test_bad[1]", 5},
		{"pytest passed", Test{Form: JUnit}, "", good, 0, tap.Passed, "", 1},
		{"pytest broke afterwards", Test{Form: JUnit}, "", good, 3, tap.Failed, "ended with code 3", 1},
		{"pytest without tests", Test{Form: JUnit}, "", "<testsuites/>", 5, tap.Failed, "code 5", 0},
		{"a command", Test{Form: Code}, "1..0\n", "", 0, tap.Passed, "", 0},
		{"a command that fails", Test{Form: Code}, "1..1\nok 1\n", "", 1, tap.Failed, "it ended with code 1", 0},
		{"a command in error", Test{Form: Code}, "", "", 2, tap.Failed, "code 2, which is an error of the test", 0},
		{"a command known to fail", Test{Form: Code, Fails: true}, "", "", 1, tap.Todo, "known to fail", 0},
		{"one that doesn't any more", Test{Form: Code, Fails: true}, "", "", 0, tap.Failed, "it passed, and", 0},
		{"one in error", Test{Form: Code, Fails: true}, "", "", 3, tap.Failed, "an error of the test", 0},
		{"a play", Test{Form: Play}, "PLAY RECAP ***\n", "", 0, tap.Passed, "", 0},
		{"a task that failed", Test{Form: Play}, play, "", 2, tap.Failed, `the task "wants more" failed`, 0},
		{"no task that failed", Test{Form: Play}, play[:strings.Index(play, "TASK [wants")], "", 4, tap.Failed, "it ended with code 4", 0},
		{"a play that looks like TAP", Test{Form: Play}, "1..1\nok 1\n", "", 2, tap.Failed, "code 2", 0},
		{"no report", Test{Form: JUnit}, "", "", 0, tap.Failed, "no report", 0},
		{"no report and a code", Test{Form: JUnit}, "", "", 2, tap.Failed, "code 2", 0},
		{"half a report", Test{Form: JUnit}, "", report[:500], 0, tap.Failed, "no report", 0},
		{"a report of text", Test{Form: JUnit}, "", "passed", 0, tap.Failed, "no report", 0},
	} {
		o := tt.test.Judge([]byte(tt.output), []byte(tt.report), tt.code)
		if o.Status != tt.want || !strings.Contains(o.Reason, tt.say) || (o.Reason == "") != (tt.want == tap.Passed) || len(o.Cases) != tt.cases {
			t.Errorf("%s: %s, %q, %d cases; want %s saying %q, %d", tt.name, o.Status, o.Reason, len(o.Cases), tt.want, tt.say, tt.cases)
		}
	}
	got, err := junit([]byte(report))
	want := []tap.Case{
		{Number: 1, Name: "test_good", Status: tap.Passed},
		{Number: 2, Name: "TestC.test_bad[1]", Status: tap.Failed, Detail: "assert 1 == 2\ndef test_bad\nE  assert 1 == 2"},
		{Number: 3, Name: "test_later", Status: tap.Skipped, Reason: "no network"},
		{Number: 4, Name: "test_known", Status: tap.Todo, Reason: "known"},
		{Number: 5, Name: "test_broken", Status: tap.Failed, Detail: "failed on setup\nE"},
	}
	if diff := gocmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
}

func TestVariables(t *testing.T) {
	t.Parallel()
	got, err := Variables(map[string]string{"B": "2 3", "A": ""})
	if diff := gocmp.Diff([]string{"A=", "B=2 3"}, got); diff != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
	many := map[string]string{}
	for i := range 100 + 1 {
		many[strings.Repeat("A", i%50+1)+strings.Repeat("B", i/50)] = ""
	}
	for _, env := range []map[string]string{{"": "x"}, {"A=B": "x"}, {"1": "x"}, {"A": "a\x00"}, {"A": strings.Repeat("x", 4096+1)}, many} {
		if _, err := Variables(env); !errors.Is(err, albs.Invalid) {
			t.Errorf("Variables of %d = %v, want Invalid", len(env), err)
		}
	}
}

func FuzzRead(f *testing.F) {
	f.Add(packed(f, file("t/a.sh", 0o755), link("t/b.bats", "a.sh")), "t")
	f.Add(packed(f, file("t/a.fmf", 0o644), file("t/.fmf/version", 0o644)), "t")
	f.Add([]byte{}, "")
	f.Fuzz(func(t *testing.T, b []byte, dir string) {
		tree, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatal(err)
			}
			return
		}
		for _, f := range tree.Files {
			if !fs.ValidPath(f.Name) {
				t.Errorf("%q leads out", f.Name)
			}
		}
		tests, err := tree.Tests(dir, nil)
		if (err == nil) != (len(tests) > 0) || len(tests) > MaxTests {
			t.Errorf("%d tests, %v", len(tests), err)
		}
		for _, x := range tests {
			if x.Skip != "" {
				continue
			}
			if len(x.Argv) == 0 || !strings.HasPrefix(x.Needs[0], "/") || !strings.HasPrefix(x.Argv[0], "/") {
				t.Errorf("%+v", x)
			}
		}
	})
}

func FuzzJudge(f *testing.F) {
	f.Add([]byte("1..1\nok 1\n"), []byte(report), 0, int(JUnit), false)
	f.Add([]byte(play), []byte{}, 2, int(Play), false)
	f.Fuzz(func(t *testing.T, output, left []byte, code, form int, fails bool) {
		o := Test{Form: Form(form), Fails: fails}.Judge(output, left, code)
		if o.Status == tap.Passed && code != 0 || (o.Reason == "") != (o.Status == tap.Passed) {
			t.Errorf("code %d: %+v", code, o)
		}
	})
}

func TestWantsStart(t *testing.T) {
	t.Parallel()
	for output, want := range map[string]bool{
		"":                                     false,
		">>>VMRESTART<<<":                      true,
		"1..1\n# >>>VMRESTART<<<\r\nok 1\n":    true,
		"x\n  >>>VMRESTART<<<  \ny\n":          true,
		"+ echo '>>>VMRESTART<<<'\n":           false,
		"would print >>>VMRESTART<<< to ask\n": false,
		">>>VMRESTART<<":                       false,
	} {
		if got := WantsStart([]byte(output)); got != want {
			t.Errorf("%q: %v", output, got)
		}
	}
}
