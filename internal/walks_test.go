package internal_test

import (
	"bufio"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// docs/design/walks.md lists the functions that nine walks through the house pass.
// These tests hold it to the code: each function is there, no walk comes into a
// package for the third time without saying why, and what it says of the number of
// times is true.

const walksFile = "../docs/design/walks.md"

// walk is one section of the page.
type walk struct {
	title  string
	steps  []string       // "package.Function" in order
	visits map[string]int // what the page says of packages that are come into often
}

var (
	stepForm  = regexp.MustCompile("^- `([a-z.]+?)[. ]([A-Za-z.]+)` .+")
	visitForm = regexp.MustCompile("^\\*`([a-z.]+)`, (\\d+) times:\\* .+")
)

func readWalks(t *testing.T, page string) []walk {
	t.Helper()
	var walks []walk
	lines := bufio.NewScanner(strings.NewReader(page))
	for n := 1; lines.Scan(); n++ {
		line := lines.Text()
		if title, ok := strings.CutPrefix(line, "## "); ok {
			walks = append(walks, walk{title: title, visits: map[string]int{}})
			continue
		}
		if len(walks) == 0 {
			continue
		}
		w := &walks[len(walks)-1]
		if m := stepForm.FindStringSubmatch(line); m != nil {
			w.steps = append(w.steps, m[1]+"."+m[2])
		} else if m := visitForm.FindStringSubmatch(line); m != nil {
			w.visits[m[1]], _ = strconv.Atoi(m[2]) // digits by the form
		} else if strings.HasPrefix(line, "- `") || strings.HasPrefix(line, "*`") {
			t.Errorf("line %d is neither a step nor a reason: %.60s", n, line)
		}
	}
	return walks
}

// declared returns every function, method and method of an interface as
// "package.Name" or "package.Type.Name", the package being its folder's name.
func declared(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	files := token.NewFileSet()
	err := filepath.WalkDir(".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() || !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") {
			return err
		}
		f, err := parser.ParseFile(files, name, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		pkg := path.Base(filepath.ToSlash(filepath.Dir(name))) + "."
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil {
					found[pkg+d.Name.Name] = true
					continue
				}
				found[pkg+receiver(d.Recv.List[0].Type)+"."+d.Name.Name] = true
			case *ast.GenDecl:
				for _, s := range d.Specs {
					ts, ok := s.(*ast.TypeSpec)
					if !ok {
						continue
					}
					i, ok := ts.Type.(*ast.InterfaceType)
					if !ok {
						continue
					}
					for _, m := range i.Methods.List {
						for _, n := range m.Names {
							found[pkg+ts.Name.Name+"."+n.Name] = true
						}
					}
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	script, err := os.ReadFile("../web/static/albs.js")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile(`(?m)^(?:async )?function (\w+)\(|^  (?:async )?(\w+)\([^)]*\) \{`).FindAllStringSubmatch(string(script), -1) {
		found["albs.js."+m[1]+m[2]] = true
	}
	return found
}

func receiver(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.StarExpr:
		return receiver(e.X)
	case *ast.IndexExpr:
		return receiver(e.X)
	case *ast.Ident:
		return e.Name
	}
	return fmt.Sprintf("%T", e)
}

// home returns the package of a step: "queue" of "queue.Queue.Claim".
func home(step string) string {
	if strings.HasPrefix(step, "albs.js.") {
		return "albs.js"
	}
	pkg, _, _ := strings.Cut(step, ".")
	return pkg
}

// visits counts how often a walk comes into each package.
func (w walk) come() map[string]int {
	n := map[string]int{}
	last := ""
	for _, s := range w.steps {
		if p := home(s); p != last {
			n[p]++
			last = p
		}
	}
	return n
}

// check returns what is wrong with a walk.
func (w walk) check(functions map[string]bool) []string {
	var wrong []string
	for _, s := range w.steps {
		if !functions[s] {
			wrong = append(wrong, s+" is not in the code")
		}
	}
	come := w.come()
	for p, n := range come {
		switch told, ok := w.visits[p]; {
		case ok && told != n:
			wrong = append(wrong, fmt.Sprintf("it says that it comes into %s %d times, and lists %d", p, told, n))
		case !ok && n > 2:
			wrong = append(wrong, fmt.Sprintf("it comes into %s %d times and doesn't say why", p, n))
		}
	}
	for p := range w.visits {
		if come[p] == 0 {
			wrong = append(wrong, "it gives a reason for "+p+", which it never comes into")
		}
	}
	return wrong
}

func TestWalks(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(walksFile)
	if err != nil {
		t.Fatal(err)
	}
	functions := declared(t)
	var letters string
	for _, w := range readWalks(t, string(page)) {
		if len(w.steps) < 3 {
			t.Errorf("%s: a walk of %d steps", w.title, len(w.steps))
		}
		for _, s := range w.check(functions) {
			t.Errorf("%s: %s", w.title, s)
		}
		if w.title[0] == '(' {
			letters += w.title[1:2]
		}
	}
	if letters != "abcdefghi" {
		t.Errorf("the page has the walks %q, want a to i", letters)
	}
}

func TestWalkRules(t *testing.T) {
	t.Parallel()
	functions := map[string]bool{"a.F": true, "b.T.M": true, "albs.js.draw": true}
	tests := []struct {
		name string
		page string
		want string
	}{
		{"good", "- `a.F` x\n- `b.T.M` x\n- `a.F` x\n- `albs.js draw` x", ""},
		{"a function that is gone", "- `a.G` x", "a.G is not in the code"},
		{"a method that is gone", "- `b.T.N` x", "b.T.N is not in the code"},
		{"three times", "- `a.F` x\n- `b.T.M` x\n- `a.F` x\n- `b.T.M` x\n- `a.F` x", "it comes into a 3 times and doesn't say why"},
		{"three times in a row is once", "- `a.F` x\n- `a.F` x\n- `a.F` x", ""},
		{"with a reason", "- `a.F` x\n- `b.T.M` x\n- `a.F` x\n- `b.T.M` x\n- `a.F` x\n*`a`, 3 times:* because", ""},
		{"with a wrong number", "- `a.F` x\n*`a`, 3 times:* because", "it says that it comes into a 3 times, and lists 1"},
		{"a reason for nothing", "- `a.F` x\n*`c`, 3 times:* because", "it gives a reason for c, which it never comes into"},
	}
	for _, tt := range tests {
		got := strings.Join(readWalks(t, "## w\n"+tt.page)[0].check(functions), "; ")
		if got != tt.want {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
		}
	}
}
