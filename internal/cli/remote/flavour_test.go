package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestFlavourCommands(t *testing.T) {
	t.Parallel()
	yaml := filepath.Join(t.TempDir(), "epel.yaml")
	if err := os.WriteFile(yaml, []byte("name: epel"), 0o644); err != nil {
		t.Fatal(err)
	}
	doc := `{"id":1,"name":"epel","repositories":[],"spec":{"name":"epel","platforms":["el9"],"macros":{"centos":"0"},"packages":["a","b"],
		"repositories":[{"id":"epel","url":"https://epel.example/$arch"}]},"revision":2,"digest":"` + strings.Repeat("a", 64) + `","applied_by":"user:admin","applied_at":"2026-11-22T10:00:00Z"}`
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"apply", []string{"flavour", "apply", yaml}, map[string][]answer{"POST /platform_flavors/": ok(doc)},
			result{0, "flavour epel is at revision 2\n", ""}, []string{"POST /platform_flavors/ name: epel"}},
		{"list", []string{"flavour", "list"}, map[string][]answer{"GET /platform_flavors/": ok("[" + doc + "]")},
			result{0, "NAME  PLATFORMS  REVISION  CHANGED           BY\nepel  el9        2         2026-11-22 10:00  user:admin\n", ""}, nil},
		{"show", []string{"flavour", "show", "epel"}, map[string][]answer{"GET /platform_flavors/epel/": ok(doc)},
			result{0, "flavour:    epel\nplatforms:  el9\npackages:   a b\nrevision:   2\ndigest:     " + strings.Repeat("a", 64) + "\nchanged:    2026-11-22 10:00\nby:         user:admin\n\n" +
				"REPOSITORY  ARCH  URL\nepel        all   https://epel.example/$arch\n\nMACRO   BODY\ncentos  0\n", ""}, nil},
		{"show, no such", []string{"flavour", "show", "x"}, map[string][]answer{"GET /platform_flavors/x/": problem(404, "not_found", "there is no flavour x")},
			result{1, "", "albs: there is no flavour x; albs flavour list shows all\n"}, nil},
	} {
		f, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, tc.args...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}
