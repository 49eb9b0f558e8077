package remote

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func recordsDoc() string {
	d := strings.Repeat("e", 64)
	return `[{"repository":"el/os","type":"group","sha256":"` + d + `","size":5,"given_by":"alice","given_at":"2026-11-22T11:00:00Z",
		"files":[{"type":"group","name":"comps.xml","digest":"` + d + `"},{"type":"group_gz","name":"comps.xml.gz","digest":"` + strings.Repeat("d", 64) + `"}]}]`
}

func TestRepoMetadata(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "comps.xml")
	if err := os.WriteFile(file, []byte("<comps/>"), 0o600); err != nil {
		t.Fatal(err)
	}
	table := "REPOSITORY  TYPE      FILE          BY     GIVEN             SHA256\n" +
		"el/os       group     comps.xml     alice  2026-11-22 11:00  " + strings.Repeat("e", 64) + "\n" +
		"el/os       group_gz  comps.xml.gz  alice  2026-11-22 11:00  " + strings.Repeat("d", 64) + "\n"
	const path = "/products/demo/metadata/"
	const at = "?repository=el%2Fos"
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{
			name: "set", args: []string{"set", "demo/el/os", file, "--type", "group"},
			answers: map[string][]answer{"POST " + path + "group" + at: ok(recordsDoc())},
			want:    result{0, table, "readers see it with the next release: albs release plan --product demo\n"},
			saw:     []string{"POST " + path + "group" + at + " <comps/>"},
		},
		{
			name: "set as JSON", args: []string{"set", "demo/el/os", file, "--type", "group", "--json"},
			answers: map[string][]answer{"POST " + path + "group" + at: ok(`[]`)},
			want:    result{0, "[]\n", ""},
			saw:     []string{"POST " + path + "group" + at + " <comps/>"},
		},
		{
			name: "set what is refused", args: []string{"set", "demo/el/os", file, "--type", "group"},
			answers: map[string][]answer{"POST " + path + "group" + at: problem(400, "invalid", "the root element is x")},
			want:    result{1, "", "albs: the root element is x\n"},
			saw:     []string{"POST " + path + "group" + at + " <comps/>"},
		},
		{
			name: "set without a type", args: []string{"set", "demo/el/os", file},
			want: result{2, "", "albs: --type is missing\nusage: albs repo metadata set PRODUCT/PATH FILE --type TYPE [--json]\n"},
		},
		{
			name: "set for a product", args: []string{"set", "demo", file, "--type", "group"},
			want: result{2, "", "albs: \"demo\" is no repository: name it PRODUCT/PATH\nusage: albs repo metadata set PRODUCT/PATH FILE --type TYPE [--json]\n"},
		},
		{name: "show", args: []string{"show", "demo"}, answers: map[string][]answer{"GET " + path: ok(recordsDoc())}, want: result{0, table, ""}},
		{name: "show of a repository", args: []string{"show", "demo/el/os"}, answers: map[string][]answer{"GET " + path + at: ok(recordsDoc())}, want: result{0, table, ""}},
		{
			name: "remove", args: []string{"remove", "demo/el/os", "--type", "group"},
			answers: map[string][]answer{"DELETE " + path + "group" + at: {{status: 204}}},
			want:    result{0, "group of demo/el/os goes with the next release: albs release plan --product demo\n", ""},
			saw:     []string{"DELETE " + path + "group" + at + " {}"},
		},
	} {
		f, url := newFake(t, tc.answers)
		if diff := cmp.Diff(tc.want, command(t, url, append([]string{"repo", "metadata"}, tc.args...)...), cmp.AllowUnexported(result{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, diff)
		}
		if diff := cmp.Diff(tc.saw, f.seen()); diff != "" {
			t.Errorf("%s: the server saw (-want +got):\n%s", tc.name, diff)
		}
	}
}

func TestRepoHistory(t *testing.T) {
	t.Parallel()
	d := strings.Repeat("e", 64)
	held := `{"product":"demo","repository":"el/os","serial":7,"since":"2026-11-22T11:00:00Z","packages":[{"nevra":"zlib-1-1.noarch","sha256":"` + d + `"}],
		"records":[{"type":"group","name":"comps.xml","digest":"` + d + `"}]}`
	shown := "repository:  demo/el/os\nserial:      7\nsince:       2026-11-22 11:00\npackages:    1\n\n" +
		"PACKAGE          SHA256\nzlib-1-1.noarch  " + d + "\n\nMETADATA  FILE       SHA256\ngroup     comps.xml  " + d + "\n"
	side := `{"product":"demo","repository":"el/os","serial":7,"since":"2026-11-22T11:00:00Z"}`
	changes := `{"from":` + side + `,"to":` + side + `,"packages":[{"what":"upgraded","name":"zlib","arch":"noarch","from":"1-1","to":"2-1"}],"records":[{"what":"added","type":"group","to_sha256":"` + d + `"}]}`
	head := "from:  demo/el/os, serial 7 of 2026-11-22 11:00\nto:    demo/el/os, serial 7 of 2026-11-22 11:00\n"
	const show, diff = "GET /repositories/show?repository=", "GET /repositories/diff?from=demo%2Fel%2Fos%407&to=demo%2Fel%2Fos"
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
	}{
		{"now", []string{"show", "demo/el/os"}, map[string][]answer{show + "demo%2Fel%2Fos": ok(held)}, result{0, shown, ""}},
		{"at a serial", []string{"show", "demo/el/os", "--serial", "7"}, map[string][]answer{show + "demo%2Fel%2Fos%407": ok(held)}, result{0, shown, ""}},
		{"at a time", []string{"show", "demo/el/os", "--at", "2026-01-31"}, map[string][]answer{show + "demo%2Fel%2Fos%402026-01-31": ok(held)}, result{0, shown, ""}},
		{"as JSON", []string{"show", "demo/el/os", "--json"}, map[string][]answer{show + "demo%2Fel%2Fos": ok(`{}`)}, result{0, "{}\n", ""}},
		{"both", []string{"show", "demo/el/os", "--serial", "7", "--at", "x"}, nil,
			result{2, "", "albs: give --serial or --at, not both\nusage: albs repo show PRODUCT/PATH [--serial N | --at TIME] [--json]\n"}},
		{"diff", []string{"diff", "demo/el/os@7", "demo/el/os"}, map[string][]answer{diff: ok(changes)},
			result{0, head + "\nCHANGE    PACKAGE  ARCH    FROM  TO\nupgraded  zlib     noarch  1-1   2-1\n\nCHANGE  METADATA  FROM  TO\nadded   group     -     eeeeeeeeeeee\n", ""}},
		{"no diff", []string{"diff", "demo/el/os@7", "demo/el/os"}, map[string][]answer{diff: ok(`{"from":` + side + `,"to":` + side + `,"packages":[],"records":[]}`)},
			result{0, head + "nothing differs\n", ""}},
	} {
		_, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, append([]string{"repo"}, tc.args...)...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
	}
}
