package tmt

import (
	"errors"
	"fmt"
	"maps"
	"path"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
)

func metadata(files map[string]string) map[string][]byte {
	all := map[string][]byte{}
	for name, text := range files {
		all[name] = []byte(text)
	}
	return all
}

// basic is a tree as people lay it out: tests below one folder, in files and in keys of
// files, with what they have in common above them.
var basic = map[string]string{
	"tests/main.fmf": `# what all have in common
framework: shell
duration: 10m
require: [bash]
environment:
  LANG: C
  DEPTH: 1
tag: [all]
`,
	"tests/smoke/main.fmf": `
summary: It starts
description: |
  Words.
test: ./smoke.sh
extra-nitrate: TC#1
/short:
  tag+: [quick]
/long:
  test+: " --all"
  duration: 1h 30m
  require+: [sed, grep]
  environment+: {DEPTH: 0100}
  order: 10
  result: xfail
`,
	"tests/other.fmf":     "test: make check\npath: /tests/smoke\nrecommend: strace\n",
	"tests/off.fmf":       "test: ./off.sh\nenabled: false\nframework: beakerlib\n",
	"tests/hand/main.fmf": "test: steps.md\nmanual: true\ntier: 1\n",
	"tests/story.fmf":     "story: As a user I want it to work\n",
	"tests/.hidden.fmf":   "a: [\n",
	"tests/.x/main.fmf":   "a: [\n",
	"elsewhere/main.fmf":  "a: [\n",
}

func TestFind(t *testing.T) {
	t.Parallel()
	common := map[string]string{"LANG": "C", "DEPTH": "1"}
	want := []Test{
		{Name: "/tests/smoke/long", Script: "./smoke.sh --all", Dir: "tests/smoke", Require: []string{"bash", "sed", "grep"}, Environment: map[string]string{"LANG": "C", "DEPTH": "0100"}, Duration: 90 * time.Minute, Fails: true},
		{Name: "/tests/hand", Skip: "it is a test for people"},
		{Name: "/tests/off", Skip: "it isn't enabled"},
		{Name: "/tests/other", Script: "make check", Dir: "tests/smoke", Require: []string{"bash"}, Recommend: []string{"strace"}, Environment: common, Duration: 10 * time.Minute},
		{Name: "/tests/smoke/short", Script: "./smoke.sh", Dir: "tests/smoke", Require: []string{"bash"}, Environment: common, Duration: 10 * time.Minute},
	}
	got, err := Find(metadata(basic), ".", "tests")
	if diff := gocmp.Diff(want, got, cmpopts.IgnoreUnexported(Test{})); diff != "" || err != nil {
		t.Errorf("%v; -want +got:\n%s", err, diff)
	}
	// Deeper, the same is inherited and no more is read; names are those of the whole tree.
	got, err = Find(metadata(basic), ".", "tests/smoke")
	if len(got) != 2 || err != nil || got[0].Name != want[0].Name || got[1].Duration != 10*time.Minute {
		t.Errorf("within a folder: %+v, %v", got, err)
	}
	// A root deeper in the tree of files: names begin there, folders at the top.
	below := map[string]string{}
	for name, text := range basic {
		below[path.Join("p", name)] = text
	}
	got, err = Find(metadata(below), "p", "p/tests")
	if len(got) != 5 || err != nil || got[0].Name != want[0].Name || got[0].Dir != "p/tests/smoke" || got[3].Dir != "p/tests/smoke" {
		t.Errorf("below another root: %+v, %v", got, err)
	}
}

func TestPlans(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, plan string
		want       []string // plan, name, script, whether setup, require
	}{
		{"a script", "execute: {how: shell, script: ./a.sh}", []string{"/plan > /script-00|./a.sh"}},
		{"scripts", "execute:\n  script: [./a.sh, ./b.sh]", []string{"/plan > /script-00|./a.sh", "/plan > /script-01|./b.sh"}},
		{"all tests", "discover: {how: fmf}\nexecute: {how: tmt}", []string{
			"/plan > /tests/smoke/long|./smoke.sh --all bash sed grep", "/plan > /tests/hand: it is a test for people", "/plan > /tests/off: it isn't enabled",
			"/plan > /tests/other|make check bash", "/plan > /tests/smoke/short|./smoke.sh bash",
		}},
		{"by name", "discover: {how: fmf, test: [smoke, ^/tests/o], exclude: long}\nexecute: {}", []string{"/plan > /tests/off: it isn't enabled", "/plan > /tests/other|make check bash", "/plan > /tests/smoke/short|./smoke.sh bash"}},
		{"by tag", "discover: {how: fmf, filter: 'tag: quick | tag:all & tier: 1'}\nexecute: {}", []string{"/plan > /tests/hand: it is a test for people", "/plan > /tests/smoke/short|./smoke.sh bash"}},
		{"by no tag", "discover: {how: fmf, filter: ['tag: -quick', 'tier:-1'], test: smoke}\nexecute: {}", []string{"/plan > /tests/smoke/long|./smoke.sh --all bash sed grep"}},
		{"its own tests", "discover:\n  how: shell\n  tests:\n  - {name: one, test: ./1.sh, path: /tests}\n  - {name: /two, test: ./2.sh, require: sed, order: 1}\nexecute: {}", []string{"/plan > /two|./2.sh sed", "/plan > /one|./1.sh"}},
		{"prepared", "prepare:\n- {how: install, package: [httpd, curl]}\n- {name: service, script: touch x}\nexecute: {script: ./a.sh}", []string{"/plan > prepare-2-1 (setup)|touch x httpd curl", "/plan > /script-00|./a.sh httpd curl"}},
		{"off", "enabled: false\nprovision: {how: virtual}\nexecute: {script: ./a.sh}", []string{"/plan: the plan isn't enabled"}},
		{"two", "/b: {execute: {script: ./b.sh}}\n/c: {order: 1, execute: {script: ./c.sh}}", []string{"/plan/c > /script-00|./c.sh", "/plan/b > /script-00|./b.sh"}},
	} {
		files := maps.Clone(basic)
		files["plan.fmf"] = tt.plan
		delete(files, "elsewhere/main.fmf")
		tests, err := Find(metadata(files), ".", ".")
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		var got []string
		for _, x := range tests {
			line := x.Name
			if x.Setup {
				line += " (setup)"
			}
			if x.Skip != "" {
				line += ": " + x.Skip
			} else {
				line += "|" + strings.Join(append([]string{x.Script}, x.Require...), " ")
			}
			got = append(got, line)
			if !strings.HasPrefix(x.Name, x.Plan) || x.Plan == "" {
				t.Errorf("%s: %s is of the plan %q", tt.name, x.Name, x.Plan)
			}
		}
		if diff := gocmp.Diff(tt.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	tests, err := Find(metadata(map[string]string{
		"t.fmf": "test: ./a\nenvironment: {A: 1, B: 1}\n", "p.fmf": "environment: {B: 2}\ndiscover: {how: fmf}\nexecute: {}\n",
	}), ".", ".")
	if err != nil || len(tests) != 1 || tests[0].Environment["A"] != "1" || tests[0].Environment["B"] != "2" {
		t.Errorf("variables of a plan: %+v, %v", tests, err)
	}
}

// TestUnsupported: what can't be done as it is said is an error that says where, and never
// a test that is left out.
func TestUnsupported(t *testing.T) {
	t.Parallel()
	deep := strings.Repeat("[", maxDepth+2) + strings.Repeat("]", maxDepth+2)
	grow := "a: " + strings.Repeat("x", 100<<10) + "\ntest: x\n"
	for i := range 100 {
		grow += fmt.Sprintf("/n%d: {a+: y}\n", i)
	}
	many := ""
	for i := range maxNodes + 1 {
		many += fmt.Sprintf("/%d:\n", i)
	}
	for _, tt := range []struct{ name, text, say string }{
		{"beakerlib", "test: a\nframework: beakerlib", `/a: the key framework: "beakerlib" isn't supported`},
		{"adjust", "test: a\nadjust: [{enabled: false, when: distro == x}]", "/a: the key adjust isn't supported"},
		{"a key", "test: a\ntty: true", "/a: the key tty isn't supported"},
		{"a result", "test: a\nresult: info", `/a: the key result: "info"`},
		{"a library", "test: a\nrequire: [{url: https://git.example, name: /lib}]", "/a: the key require: it has an item that is no text"},
		{"a removal", "/x: {test: a, require-: [b]}", "/a/x: the key require- isn't supported"},
		{"a replacement", "/x: {test: a, require~: [b]}", "require~ isn't supported"},
		{"in front", "/x: {test: a, require+<: [b]}", "require+< isn't supported"},
		{"other kinds", "require: b\n/x: {test: a, require+: [b]}", "the key require+: it can't be added"},
		{"numbers added", "order: 1\n/x: {test: a, order+: 1}", "can't be added"},
		{"a directive", "/: {inherit: false}\ntest: a", "the key / isn't supported"},
		{"no command", "test: ''", "the key test: it is no command"},
		{"a long command", "test: " + strings.Repeat("x", maxScript+1), "the key test: it is no command"},
		{"a list as a command", "test: [a]", "the key test: it is no text"},
		{"a time", "test: a\nduration: soon", `the key duration: "soon" is no time`},
		{"a long time", "test: a\nduration: 9999999d", "the key duration"},
		{"no time", "test: a\nduration: 0", "the key duration"},
		{"a truth", "test: a\nenabled: maybe", "the key enabled: it is neither"},
		{"an order", "test: a\norder: 1.5", "the key order"},
		{"variables", "test: a\nenvironment: A=1", "the key environment"},
		{"a variable", "test: a\nenvironment: {A: [1]}", "the key environment: A"},
		{"a virtual machine", "provision: {how: virtual}\nexecute: {script: a}", "/a: the key provision isn't supported"},
		{"an engine", "execute: {how: upgrade, script: a}", `/a: execute: the key how: "upgrade"`},
		{"another tree", "discover: {how: fmf, url: https://git.example}\nexecute: {}", "/a: discover: the key url isn't supported"},
		{"nothing to do", "execute: {how: tmt}", "/a: the key execute: it has no script, and the plan selects no tests"},
		{"nothing selected", "discover: {how: fmf, test: nosuch}\nexecute: {}", "/a: the key discover: it selects no test"},
		{"both", "discover: {how: fmf}\nexecute: {script: a}\n", "it has a script, and the plan selects tests"},
		{"a filter", "discover: {how: fmf, filter: 'component: x'}\nexecute: {}", "the key filter"},
		{"a pattern", "discover: {how: fmf, test: '(?=x)'}\nexecute: {}", "the key test"},
		{"preparation", "prepare: {how: ansible, playbook: x}\nexecute: {script: a}", `/a: prepare: the key how: "ansible"`},
		{"no step", "execute: now", "/a: the key execute: it is no step"},
		{"own tests without a name", "discover: {how: shell, tests: [{test: a}]}\nexecute: {}", "/a: discover: the key tests: its item 1 has no name"},
		{"an own test's key", "discover: {how: shell, tests: [{name: x, test: a, url: b}]}\nexecute: {}", "/x: the key url isn't supported"},
		{"no YAML", "a: [", "a.fmf: yaml"},
		{"an alias", "a: &x [b]\ntest: *x", "a.fmf: its line 2 has an alias"},
		{"a merged key", "a: &x {b: c}\n<<: *x", "a.fmf: its line 2"},
		{"a key twice", "test: a\ntest: b", "a.fmf: its line 2 has the key test once more"},
		{"a list", "[test, a]", "a.fmf: it has no keys"},
		{"two documents", "test: a\n---\ntest: b", "a.fmf: it has more than one document"},
		{"a node without keys", "/x: text", "a.fmf: /x has no keys"},
		{"a way out", "/x/../../y: {test: a}", "is no name"},
		{"a long name", "/" + strings.Repeat("x", maxName) + ": {test: a}", "longer than"},
		{"deep", "a: " + deep, "deeper than"},
		{"many nodes", many, "more than 5000 objects"},
		{"what grows", grow, "more than 4194304 keys and bytes"},
		{"a large file", "# " + strings.Repeat("x", maxFile), "more than 262144 bytes"},
		{"too many tests", "test: a\n" + func() (s string) {
			for i := range MaxTests + 1 {
				s += fmt.Sprintf("/%d:\n", i)
			}
			return s
		}(), "has 101 tests"},
	} {
		tests, err := Find(metadata(map[string]string{"a.fmf": tt.text}), ".", ".")
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), tt.say) || len(tests) > 0 {
			t.Errorf("%s: %d tests, %v; want Invalid saying %q", tt.name, len(tests), err, tt.say)
		}
	}
	for name, files := range map[string]map[string]string{
		"nothing": {}, "a story": {"a.fmf": "story: x"}, "empty": {"a.fmf": "# nothing\n", "b/main.fmf": ""}, "elsewhere": {"b/main.fmf": "test: x"},
	} {
		if _, err := Find(metadata(files), ".", "a"); !errors.Is(err, albs.NotFound) {
			t.Errorf("%s: %v, want NotFound", name, err)
		}
	}
	if _, err := Find(metadata(map[string]string{"a.fmf": "test: x", "a/main.fmf": "test: y"}), ".", "."); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "a/main.fmf: /a has the key test from another file, too") {
		t.Errorf("two files of one object: %v", err)
	}
	files := map[string][]byte{}
	for i := range maxFiles + 1 {
		files[fmt.Sprintf("%d.fmf", i)] = nil
	}
	if _, err := Find(files, ".", "."); !errors.Is(err, albs.Invalid) {
		t.Errorf("too many files: %v", err)
	}
}

func FuzzFind(f *testing.F) {
	for name, text := range basic {
		f.Add(text, basic["tests/main.fmf"], strings.HasSuffix(name, "main.fmf"))
	}
	f.Add("discover: {how: fmf, filter: 'tag:a&tier:-1|tag:b', test: x}\nprepare: [{how: install, package: a}]\nexecute: {}\n", "test: x\n", false)
	f.Add("discover: {how: shell, tests: [{name: x, test: a}]}\nexecute: {script: [a]}\n", "", true)
	f.Fuzz(func(t *testing.T, a, b string, main bool) {
		files := metadata(map[string]string{"d/a.fmf": a, "d/b.fmf": b})
		if main {
			files["d/main.fmf"] = files["d/b.fmf"]
		}
		tests, err := Find(files, ".", "d")
		if (err == nil) != (len(tests) > 0) || err != nil && !errors.Is(err, albs.Invalid) && !errors.Is(err, albs.NotFound) {
			t.Fatalf("%d tests, %v", len(tests), err)
		}
		for _, x := range tests {
			if x.Name == "" || x.Skip == "" && (strings.TrimSpace(x.Script) == "" || x.Duration <= 0 || path.IsAbs(x.Dir) || strings.HasPrefix(x.Dir, "..")) {
				t.Errorf("%+v", x)
			}
		}
	})
}
