package internal_test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestKnownFaults holds the pages about faults to the code: the tests that they name are
// there, and every row names one.
func TestKnownFaults(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"known-faults.md", "test-faults.md"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			faultsOf(t, "../docs/design/"+name)
		})
	}
}

func faultsOf(t *testing.T, name string) {
	t.Helper()
	page, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile("`([a-z0-9/]+)\\.(Test\\w+)`")
	found := make(map[string]map[string]bool)
	rows := 0
	for line := range strings.Lines(string(page)) {
		if !regexp.MustCompile(`^\| \d+ \|`).MatchString(line) {
			continue
		}
		rows++
		tests := named.FindAllStringSubmatch(line, -1)
		if len(tests) == 0 {
			t.Errorf("no test is named: %.60s", line)
		}
		for _, m := range tests {
			if found[m[1]] == nil {
				found[m[1]] = testsIn(t, m[1])
			}
			if !found[m[1]][m[2]] {
				t.Errorf("there is no %s in internal/%s: %.60s", m[2], m[1], line)
			}
		}
	}
	if rows == 0 {
		t.Error("the page has no table")
	}
}

// testsIn returns the names of the tests of a folder.
func testsIn(t *testing.T, dir string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(filepath.FromSlash(dir), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	names := make(map[string]bool)
	for _, name := range files {
		f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		for _, d := range f.Decls {
			if f, ok := d.(*ast.FuncDecl); ok && f.Recv == nil {
				names[f.Name.Name] = true
			}
		}
	}
	return names
}
