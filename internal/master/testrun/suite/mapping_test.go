package suite

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestFind(t *testing.T) {
	t.Parallel()
	files := []string{"README", "tests/README", "tests/common/test_rules.json", "tests/p_bash/0_init.sh", "tests/p_bash/a.bats", "tests/p_gcc-c++/deep/a.sh", "tests/p_-x/a", "tests/q_no/a", "x/p_y/a"}
	for _, c := range []struct {
		name   string
		layout Layout
		rules  string
		want   string
		err    string
	}{
		{"folders", Layout{"tests/", "p_"}, "", "bash=p_bash gcc-c++=p_gcc-c++", ""},
		{"no prefix", Layout{"tests/", ""}, "", "p_-x=p_-x p_bash=p_bash p_gcc-c++=p_gcc-c++ q_no=q_no", ""},
		{"the top", Layout{"", ""}, "", "tests=tests x=x", ""},
		{"another folder", Layout{"nosuch/", ""}, "", "", ""},
		{"rules", Layout{"tests/", "p_"}, `{"python3.*": "p_python", "bash": "p_bash"}`, "bash=p_bash ~bash=p_bash gcc-c++=p_gcc-c++ ~python3.*=p_python", ""},
		{"no rule", Layout{"tests/", "x_"}, ` {} `, "", ""},
		{"no JSON", Layout{}, "{\n\"a\": \"b\",\n\"c\" \"d\"}", "", "common/test_rules.json, line 3: this is no JSON"},
		{"cut off", Layout{}, "{\n\"a\": \"b\"", "", "line 2: this is no JSON"},
		{"empty", Layout{}, "", "tests=tests x=x", ""},
		{"blank", Layout{}, " ", "", "line 1: this is no JSON"},
		{"a list", Layout{}, `["a"]`, "", "line 1: it has to be one object"},
		{"no folder", Layout{}, "{\n\n\"a\": 7}", "", `line 3: the pattern "a" has no folder`},
		{"a step up", Layout{}, "{\"a\": \"../b\"}", "", `line 1: folder "../b"`},
		{"absolute", Layout{}, "{\"a\": \"/b\"}", "", `folder "/b"`},
		{"a bad pattern", Layout{}, "{\n\"a(\": \"b\"}", "", `line 2: the pattern "a(" can't be read`},
		{"a pattern that Python alone has", Layout{}, `{"(?=a)": "b"}`, "", "can't be read"},
		{"a long pattern", Layout{}, `{"` + strings.Repeat("a", 201) + `": "b"}`, "", "isn't one of 1 to 200"},
		{"two objects", Layout{}, "{}\n{}", "", "line 2: something follows"},
		{"too many", Layout{}, many(501), "", "more than 500 patterns"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			var rules []byte
			if c.rules != "" {
				rules = []byte(c.rules)
			}
			got, err := c.layout.Find(files, rules)
			if c.err != "" {
				if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("Find = %v, want Invalid with %q", err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, spell(got)); err != nil || diff != "" {
				t.Errorf("Find: %v (-want +got):\n%s", err, diff)
			}
		})
	}
}

func many(n int) string {
	var rules []string
	for i := range n {
		rules = append(rules, fmt.Sprintf(`"a%d":"b"`, i))
	}
	return "{" + strings.Join(rules, ",") + "}"
}

// spell is what mappings say, in short.
func spell(all []Mapping) string {
	var out []string
	for _, m := range all {
		s := m.Package + "=" + m.Folder
		if m.Pattern {
			s = "~" + s
		}
		if !m.Scanned {
			s += "!"
		}
		out = append(out, s)
	}
	return strings.Join(out, " ")
}

func TestFolders(t *testing.T) {
	t.Parallel()
	c, err := compileAll([]Mapping{
		{Package: "bash", Folder: "b"}, {Package: "bash", Folder: "a"}, {Package: "bas.*|zsh", Pattern: true, Folder: "a"}, {Package: "ba", Pattern: true, Folder: "c"},
	})
	if err != nil {
		t.Fatal(err)
	}
	for pkg, want := range map[string]string{"bash": "a b", "bash-doc": "a", "zsh": "a", "ba": "c", "xzsh": "", "zsh-x": ""} {
		if got := strings.Join(c.folders(pkg), " "); got != want {
			t.Errorf("folders of %s are %q, want %q", pkg, got, want)
		}
	}
}

func TestChecks(t *testing.T) {
	t.Parallel()
	good := Repository{Name: "a.b", URL: "https://git.example/t.git", Ref: "main", Layout: Layout{"tests/", "p_"}}
	if err := good.check(); err != nil {
		t.Errorf("a good one: %v", err)
	}
	for what, change := range map[string]func(*Repository){
		"name":            func(r *Repository) { r.Name = "a b" },
		"credentials":     func(r *Repository) { r.URL = "https://me:secret@git.example/t.git" },
		"another scheme":  func(r *Repository) { r.URL = "ssh://git.example/t.git" },
		"shell":           func(r *Repository) { r.Ref = "main;id" },
		"substitution":    func(r *Repository) { r.Ref = "$(id)" },
		"backticks":       func(r *Repository) { r.Ref = "`id`" },
		"control":         func(r *Repository) { r.Ref = "ma\nin" },
		"an option":       func(r *Repository) { r.Ref = "--upload-pack=id" },
		"dots":            func(r *Repository) { r.Ref = "a..b" },
		"no ref":          func(r *Repository) { r.Ref = "" },
		"no slash":        func(r *Repository) { r.TestsDir = "tests" },
		"a step up":       func(r *Repository) { r.TestsDir = "../" },
		"slash in prefix": func(r *Repository) { r.TestsPrefix = "a/b" },
	} {
		r := good
		change(&r)
		if err := r.check(); !errors.Is(err, albs.Invalid) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), "\n") {
			t.Errorf("%s: %v, want Invalid on one line, without secrets", what, err)
		}
	}
}

func FuzzParseRules(f *testing.F) {
	f.Add([]byte(`{"python3.*": "p_python", "bash": "p_bash/"}`))
	f.Add([]byte("{\n\"a(\": \"b\"}"))
	f.Add([]byte(`{"a": {"b": [1]}}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		all, err := parseRules(text)
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("%v, want Invalid", err)
			}
			return
		}
		for _, m := range all {
			if err := m.Check(); err != nil || !m.Pattern || !m.Scanned {
				t.Errorf("%+v: %v", m, err)
			}
		}
		if _, err := compileAll(all); err != nil {
			t.Error(err)
		}
	})
}
