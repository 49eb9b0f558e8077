package buildroot

import (
	"bytes"
	"encoding/json"
	"errors"
	"math/rand/v2"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/sandbox/ccache"
)

// evaluate executes configurations with Python, as mock does, each in a dictionary that
// has only what mock's own has, and returns what it then holds and which names were set
// beside it.
const evaluate = `
import json, sys
def fresh(): return {"plugin_conf": {}}
def expanded(opts): return opts
if len(sys.argv) > 1:
    sys.path.insert(0, sys.argv[1])
    from templated_dictionary import TemplatedDictionary
    def fresh(): return TemplatedDictionary(plugin_conf={})
    def expanded(opts):
        opts["__jinja_expand"] = True
        return {k: opts[k] for k in opts if k not in ("_aliases", "__jinja_expand")}
answers = []
for text in json.load(sys.stdin):
    scope = {"config_opts": fresh()}
    exec(text, scope)
    opts = expanded(scope.pop("config_opts"))
    scope.pop("__builtins__")
    answers.append({"opts": opts, "names": sorted(scope)})
json.dump(answers, sys.stdout)
`

// answer is what Python made of one configuration.
type answer struct {
	Opts  map[string]any
	Names []string
}

// python returns what Python makes of the texts, with args for the program.
func python(t testing.TB, texts []string, args ...string) []answer {
	t.Helper()
	path, err := exec.LookPath("python3")
	if err != nil {
		t.Skipf("python3, which judges, is not installed: %v", err)
	}
	in, err := json.Marshal(texts)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), path, append([]string{"-I", "-c", evaluate}, args...)...)
	cmd.Stdin = bytes.NewReader(in)
	out, err := cmd.CombinedOutput()
	var answers []answer
	if err == nil {
		err = json.Unmarshal(out, &answers)
	}
	if err != nil || len(answers) != len(texts) {
		t.Fatalf("python3: %v\n%.2000s", err, out)
	}
	return answers
}

// same compares a configuration with what Python read.
func same(t testing.TB, c mockConfig, got answer) {
	t.Helper()
	want := map[string]any{"plugin_conf": map[string]any{}}
	for _, o := range c.options() {
		at := want
		for _, n := range o.names[:len(o.names)-1] {
			at = at[n].(map[string]any)
		}
		at[o.names[len(o.names)-1]] = o.value
	}
	b, err := json.Marshal(want)
	if err != nil {
		t.Fatal(err)
	}
	var plain map[string]any
	if err := json.Unmarshal(b, &plain); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(plain, got.Opts); diff != "" {
		t.Errorf("mock reads something else (-meant +read):\n%s", diff)
	}
	if len(got.Names) > 0 {
		t.Errorf("the configuration set %q beside its options", got.Names)
	}
}

// evil are strings that mean something to Python, Jinja, rpm, dnf or a shell.
var evil = []string{
	"", " ", "'", "''", "'''", `"""`, `\`, `\\`, `\'`, `'\''`, `\n`, "\n", "\n\n", "a\nimport os\n", "'\nconfig_opts['x'] = 1\n'", "\t", "\v\f",
	"\x1c\x1d\x1e\u0085\u2028\u2029", "%(id)", "%(touch /tmp/x)", "%{lua: os.exit(1)}", "%{expand:%{x}}", "$(id)", "`id`", "; id", "| id", "&& id", "$HOME", "${x}",
	"include('/etc/passwd')", "\ninclude('/etc/passwd')", "#", "# x", "\\\n", "\\x00", "\\N{BULLET}", "{}", "{0}", "{ {", "}}", "%}", "#}", "%s", "%%", "%(x)s",
	"config_opts['plugin_conf']['bind_mount_enable'] = True", "é", "日本", "🙂", "\u202e", "\x7f", "\u00ad", "\ufeff", "f'{1}'", "b''", "r'\\'", "]\n[", "--root=/", "-r",
}

// broken are those that can't be handed on.
var broken = []string{"\x00", "a\x00b", "{{ 1 }}", "{{", "{% raw %}", "{%x", "{# x #}", "x{{y", "\r", "\r\n", "\xff", "a\xc3", strings.Repeat("x", maxMockString+1)}

func sample(s string) mockConfig {
	return mockConfig{
		root: albs.Root{
			Platform: s, Releasever: s, Arch: albs.Arch(s), Packages: []string{"bash", s, s + s}, Modules: []string{s, "a:" + s}, Network: len(s)%2 == 0,
			Timeout: time.Duration(len(s)) * time.Second,
		},
		target: albs.Arch(s), dnf: "[main]\nx=" + s + "\n", rounds: len(s), cache: map[bool]*ccache.Cache{true: {Size: int64(len(s)) << 30}}[len(s)%3 == 0], autospec: len(s)%2 == 1,
	}
}

// TestMockCCache: mock's plugin has the one cache that it is given, under its bound, or
// is off.
func TestMockCCache(t *testing.T) {
	t.Parallel()
	text := func(c *ccache.Cache) string {
		t.Helper()
		s, err := mockConfig{cache: c}.text()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	off, on := text(nil), text(&ccache.Cache{Size: 3 << 30})
	if !strings.Contains(off, "['plugin_conf']['ccache_enable'] = False\n") || strings.Contains(off, "ccache_opts") {
		t.Errorf("without a cache:\n%s", off)
	}
	if !strings.Contains(on, "['plugin_conf']['ccache_enable'] = True\n") ||
		!strings.Contains(on, "['plugin_conf']['ccache_opts'] = {'dir': '/ccache', 'max_cache_size': '3072Mi'}\n") {
		t.Errorf("with a cache:\n%s", on)
	}
}

// TestMockConfigReadsBack asks Python itself: whatever the strings, the configuration
// that it executes is the one that was meant, and it executes nothing else.
func TestMockConfigReadsBack(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	var all []string
	for range 40 {
		var b strings.Builder
		for range 1 + r.IntN(12) {
			if r.IntN(3) == 0 {
				b.WriteRune(rune(1 + r.IntN(0x2fff)))
			} else {
				b.WriteString(evil[r.IntN(len(evil))])
			}
		}
		all = append(all, b.String())
	}
	var meant []mockConfig
	var texts []string
	for _, s := range slices.Concat(evil, all) {
		c := sample(s)
		text, err := c.text()
		if err != nil {
			if !errors.Is(err, albs.Invalid) || !slices.ContainsFunc([]string{"{{", "{%", "{#", "\r"}, func(x string) bool { return strings.Contains(s+s, x) }) {
				t.Errorf("%q is refused: %v", s, err)
			}
			continue
		}
		meant, texts = append(meant, c), append(texts, text)
	}
	for i, got := range python(t, texts) {
		same(t, meant[i], got)
	}
	t.Logf("%d configurations read back", len(texts))

	// mock's own dictionary expands each string as a template, until nothing changes.
	src := os.Getenv("ALBS_MOCK_SRC")
	if src == "" {
		t.Log("not asked of mock's own dictionary: ALBS_MOCK_SRC names no checkout of mock")
		return
	}
	if out, err := exec.Command("python3", "-c", "import sys; sys.path.insert(0, sys.argv[1]); import templated_dictionary", src).CombinedOutput(); err != nil {
		t.Logf("not asked of mock's own dictionary, which can't be had here: %.300s", out)
		return
	}
	for i, got := range python(t, texts, src) {
		same(t, meant[i], got)
	}
	t.Log("mock's own dictionary read the same")
}

func TestMockConfigRefuses(t *testing.T) {
	t.Parallel()
	for _, s := range broken {
		if text, err := sample(s).text(); !errors.Is(err, albs.Invalid) {
			t.Errorf("%.40q gives %.200q, %v; want Invalid", s, text, err)
		}
	}
}

// TestMockConfigIsShut names what no platform can open.
func TestMockConfigIsShut(t *testing.T) {
	t.Parallel()
	c := mockConfig{root: albs.Root{Releasever: "9", Arch: albs.X8664, Packages: []string{"bash"}}, target: albs.X8664, rounds: 10}
	plain, err := c.text()
	if err != nil {
		t.Fatal(err)
	}
	c.autospec = true
	filled, err := c.text()
	if err != nil {
		t.Fatal(err)
	}
	read := python(t, []string{plain, filled})
	opts := read[0].Opts
	for name, want := range map[string]any{
		"rpmbuild_networking": false, "use_host_resolv": false, "use_bootstrap": false, "use_bootstrap_image": false, "external_buildrequires": false,
		"isolation": "simple", "no_root_shells": true, "rpmbuild_timeout": 0.0,
	} {
		if opts[name] != want {
			t.Errorf("%s = %v, want %v", name, opts[name], want)
		}
	}
	for i, want := range [][]string{{"hw_info_enable", "package_state_enable"}, {"hw_info_enable", "package_state_enable", "rpmautospec_enable"}} {
		on := []string{}
		for name, v := range read[i].Opts["plugin_conf"].(map[string]any) {
			if v == true {
				on = append(on, name)
			}
		}
		slices.Sort(on)
		if diff := cmp.Diff(want, on); diff != "" {
			t.Errorf("plugins that are on (-want +got):\n%s", diff)
		}
	}
}

func FuzzMockString(f *testing.F) {
	for _, s := range slices.Concat(evil, broken[:len(broken)-1]) {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		text, err := pyString(s)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Errorf("pyString(%q): %v", s, err)
			}
			return
		}
		if len(text) < 2 || text[0] != '\'' || text[len(text)-1] != '\'' || strings.ContainsFunc(text, func(c rune) bool { return c < ' ' || c >= 0x7f }) {
			t.Fatalf("pyString(%q) = %q", s, text)
		}
		// Nothing ends the string before its end.
		for i := 1; i < len(text)-1; i++ {
			switch text[i] {
			case '\\':
				i++
				if i >= len(text)-1 {
					t.Fatalf("the last quote of %q is escaped", text)
				}
			case '\'':
				t.Fatalf("%q ends at %d", text, i)
			}
		}
	})
}

func TestMockMacroFile(t *testing.T) {
	t.Parallel()
	root := albs.Root{Macros: map[string]string{"dist": ".el9", "vendor": "x"}}
	got, err := mockMacroFile(root, albs.Switches{With: []string{"a-b"}, Without: []string{"docs"}, Define: map[string]string{"dist": ".el9_1", "empty": ""}})
	want := "%_with_a_b --with-a-b\n%_without_docs --without-docs\n%dist .el9_1\n%empty %{nil}\n%vendor x\n"
	if err != nil || string(got) != want {
		t.Errorf("mockMacroFile = %q, %v; want %q", got, err, want)
	}
	if root.Macros["dist"] != ".el9" {
		t.Error("the platform's macros were changed")
	}
	for _, s := range []albs.Switches{
		{With: []string{"a.b"}}, {Without: []string{"a+b"}}, {Define: map[string]string{"x": "y"}}, {Define: map[string]string{"abc": "x\n%evil 1"}},
		{Define: map[string]string{"abc": "%(id"}},
	} {
		if got, err := mockMacroFile(root, s); !errors.Is(err, albs.Invalid) {
			t.Errorf("%+v gives %q, %v; want Invalid", s, got, err)
		}
	}
}
