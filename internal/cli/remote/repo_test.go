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
		if diff := cmp.Diff(tc.saw, f.saw); diff != "" {
			t.Errorf("%s: the server saw (-want +got):\n%s", tc.name, diff)
		}
	}
}
