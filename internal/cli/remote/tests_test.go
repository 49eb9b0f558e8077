package remote

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSkipCommands(t *testing.T) {
	t.Parallel()
	doc := `{"id":4,"platform":"el9","package":"glibc","stage":"downgrade","reason":"it can't go back","added_by":"user:olga","added_at":"2026-11-22T10:00:00Z"}`
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"test", "skip", "list", "--platform", "el9"}, map[string][]answer{"GET /tests/skips/?platform=el9": ok("[" + doc + "]")},
			result{0, "ID  PLATFORM  PACKAGE  STAGE      SINCE             BY         REASON\n4   el9       glibc    downgrade  2026-11-22 10:00  user:olga  it can't go back\n", ""}, nil},
		{"list, none", []string{"test", "skip", "list"}, map[string][]answer{"GET /tests/skips/": ok("[]")}, result{0, "nothing is on the skip list\n", ""}, nil},
		{"add", []string{"test", "skip", "add", "el9", "glibc", "downgrade", "--reason", "it can't go back"}, map[string][]answer{"POST /tests/skips/": ok(doc)},
			result{0, "the stage downgrade of glibc is skipped on el9, by entry 4\n", ""}, []string{`POST /tests/skips/ {"platform":"el9","package":"glibc","stage":"downgrade","reason":"it can't go back"}`}},
		{"add, no such stage", []string{"test", "skip", "add", "el9", "glibc", "prayer", "--reason", "x"}, nil,
			result{2, "", "albs: stage \"prayer\" is none of install, integrity, upgrade, downgrade, package, remove, reinstall, signed\nusage: albs test skip add PLATFORM PACKAGE STAGE --reason TEXT [--json]\n"}, nil},
		{"remove", []string{"test", "skip", "remove", "4"}, map[string][]answer{"DELETE /tests/skips/4/": ok("")}, result{0, "entry 4 is off the skip list\n", ""}, []string{"DELETE /tests/skips/4/ {}"}},
		{"remove, no such", []string{"test", "skip", "remove", "5"}, map[string][]answer{"DELETE /tests/skips/5/": problem(404, "not_found", "there is no entry 5 of the skip list")},
			result{1, "", "albs: there is no entry 5 of the skip list; albs test skip list shows all\n"}, []string{"DELETE /tests/skips/5/ {}"}},
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

func TestWaiverCommands(t *testing.T) {
	t.Parallel()
	doc := `{"id":4,"build_id":7,"nevra":"a-1-1.x86_64","sha256":"","stage":"upgrade","person":"ada","reason":"it is known","expires_at":"2026-11-22T10:00:00Z","in_force":true}`
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"test", "waivers", "list", "--build", "7"}, map[string][]answer{"GET /tests/waivers/?build=7": ok("[" + doc + "]")},
			result{0, "ID  BUILD  PACKAGE       WAIVED             STATE     UNTIL             BY   REASON\n4   7      a-1-1.x86_64  the stage upgrade  in force  2026-11-22 10:00  ada  it is known\n", ""}, nil},
		{"list, none", []string{"test", "waivers", "list"}, map[string][]answer{"GET /tests/waivers/": ok("[]")}, result{0, "nothing is waived\n", ""}, nil},
		{"waive", []string{"test", "waive", "7", "a-1-1.x86_64", "--stage", "upgrade", "--reason", "it is known"}, map[string][]answer{"POST /tests/waivers/": ok(doc)},
			result{0, "the stage upgrade of a-1-1.x86_64 is waived until 2026-11-22, by waiver 4\n", ""},
			[]string{`POST /tests/waivers/ {"build_id":7,"package":"a-1-1.x86_64","stage":"upgrade","reason":"it is known","days":14}`}},
		{"list, filtered", []string{"test", "waivers", "list", "--state", "taken-back", "--package", "a b"},
			map[string][]answer{"GET /tests/waivers/?package=a+b&state=taken+back": ok("[" + strings.NewReplacer(`"in_force":true`, `"in_force":false,"ended_by":"eve","ended_reason":"it is mended"`).Replace(doc) + "]")},
			result{0, "ID  BUILD  PACKAGE       WAIVED             STATE                            UNTIL             BY   REASON\n4   7      a-1-1.x86_64  the stage upgrade  taken back by eve: it is mended  2026-11-22 10:00  ada  it is known\n", ""}, nil},
		{"list, soon", []string{"test", "waivers", "list"}, map[string][]answer{"GET /tests/waivers/": ok("[" + strings.Replace(doc, `"in_force":true`, `"in_force":true,"expires_soon":true`, 1) + "]")},
			result{0, "ID  BUILD  PACKAGE       WAIVED             STATE         UNTIL             BY   REASON\n4   7      a-1-1.x86_64  the stage upgrade  expires soon  2026-11-22 10:00  ada  it is known\n", ""}, nil},
		{"end", []string{"test", "waivers", "end", "4", "--reason", "it is mended"}, map[string][]answer{"DELETE /tests/waivers/4/?reason=it+is+mended": ok("")}, result{0, "waiver 4 is taken back\n", ""}, []string{"DELETE /tests/waivers/4/?reason=it+is+mended {}"}},
		{"end, without a reason", []string{"test", "waivers", "end", "4"}, nil,
			result{2, "", "albs: --reason is missing: it is stated, and shown with the package\nusage: albs test waivers end ID --reason TEXT\n"}, nil},
		{"end, no such", []string{"test", "waivers", "end", "5", "--reason", "x"}, map[string][]answer{"DELETE /tests/waivers/5/?reason=x": problem(404, "not_found", "there is no waiver 5")},
			result{1, "", "albs: there is no waiver 5; albs test waivers list shows all\n"}, []string{"DELETE /tests/waivers/5/?reason=x {}"}},
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

func TestTestRepositoryCommands(t *testing.T) {
	t.Parallel()
	doc := `{"id":4,"name":"core","url":"https://git/t.git","git_ref":"main","tests_dir":"tests/","tests_prefix":"p_","team":"core","total_packages":2,"commit":"0123456789abcdef","scanned_at":"2026-11-22T10:00:00Z"}`
	const add = "POST /test_repositories/create/"
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"list"}, map[string][]answer{"GET /test_repositories/": ok("[" + doc + "]")},
			result{0, "ID  NAME  TEAM  URL                REF   MAPS  SCANNED           FAILURE\n4   core  core  https://git/t.git  main  2     2026-11-22 10:00  -\n", ""}, nil},
		{"list, none", []string{"list"}, map[string][]answer{"GET /test_repositories/": ok("[]")}, result{0, "there is no test repository\n", ""}, nil},
		{"add", []string{"add", "core", "https://git/t.git", "--prefix", "p_"}, map[string][]answer{add: ok(doc)},
			result{0, "test repository 4, core, maps 2 packages at commit 0123456789ab\n", ""}, []string{add + ` {"name":"core","url":"https://git/t.git","tests_dir":"","tests_prefix":"p_"}`}},
		{"show", []string{"show", "4", "--search", "py"}, map[string][]answer{
			"GET /test_repositories/4/packages/?pageNumber=1&search=py": ok(`{"packages":[{"id":9,"package_name":"py.*","regex":"py.*","folder_name":"p_python","scanned":true}],"total_packages":1}`), "GET /test_repositories/4/": ok(doc)},
			result{0, "repository:  core\nurl:         https://git/t.git\nref:         main\nfolder:      tests/\nprefix:      p_\nteam:        core\ncommit:      0123456789abcdef\nscanned:     2026-11-22 10:00\nmaps:        2\n\nID  PACKAGE  FOLDER    BY\n9   /py.*/   p_python  scan\n", ""}, nil},
		{"edit, nothing", []string{"edit", "4"}, nil,
			result{2, "", "albs: there is nothing to change\nusage: albs test repository edit ID [--name NAME] [--url URL] [--ref REF] [--dir DIR/] [--prefix PREFIX] [--team TEAM] [--json]\n"}, nil},
		{"edit", []string{"edit", "4", "--ref", "v2"}, map[string][]answer{"PATCH /test_repositories/4/": ok(doc)},
			result{0, "test repository 4, core, maps 2 packages at commit 0123456789ab\n", ""}, []string{`PATCH /test_repositories/4/ {"git_ref":"v2"}`}},
		{"scan", []string{"scan", "4"}, map[string][]answer{"POST /test_repositories/4/scan/": ok(doc)},
			result{0, "test repository core maps 2 packages at commit 0123456789ab: 0 are new, 0 are gone\n", ""}, []string{"POST /test_repositories/4/scan/ {}"}},
		{"scan, in vain", []string{"scan", "4"}, map[string][]answer{"POST /test_repositories/4/scan/": ok(`{"id":4,"name":"core","failure":"it is gone"}`)},
			result{1, "", "albs: test repository core can't be scanned: it is gone\n"}, []string{"POST /test_repositories/4/scan/ {}"}},
		{"map", []string{"map", "4", "p_python", "python3.*", "--patterns"}, map[string][]answer{"POST /test_repositories/4/packages/bulk_create/": ok(`{"added":1}`)},
			result{0, "1 of 1 are new: p_python tests python3.*\n", ""}, []string{`POST /test_repositories/4/packages/bulk_create/ [{"folder_name":"p_python","regex":"python3.*"}]`}},
		{"unmap", []string{"unmap", "4", "9", "10"}, map[string][]answer{"POST /test_repositories/4/packages/bulk_remove/": ok("")},
			result{0, "9, 10 no more in test repository 4\n", ""}, []string{"POST /test_repositories/4/packages/bulk_remove/ [9,10]"}},
		{"remove, no such", []string{"remove", "5"}, map[string][]answer{"DELETE /test_repositories/5/remove/": problem(404, "not_found", "there is no test repository 5")},
			result{1, "", "albs: there is no test repository 5; albs test repository list shows all\n"}, []string{"DELETE /test_repositories/5/remove/ {}"}},
	} {
		f, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, append([]string{"test", "repository"}, tc.args...)...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}
