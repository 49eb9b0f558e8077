package remote

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// results is what the tests of a build found out.
const results = `{"results":[
	{"nevra":"a-1-1.x86_64","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","platform":"el9","env_arch":"x86_64","stage":"integrity","case":"","status":"failed","ok":false,"detail":"1 of 2 cases failed\nmore","seconds":1.25,"flaky":false,"log":"/api/v1/artifacts/aa/download","revision":2,"build_task_id":3,"task_id":9},
	{"nevra":"a-1-1.x86_64","sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","platform":"el9","env_arch":"x86_64","stage":"integrity","case":"files","status":"failed","ok":false,"detail":"/usr/bin/a\nis missing","seconds":0,"flaky":true,"log":"/api/v1/artifacts/aa/download","revision":2,"build_task_id":3,"task_id":9}],
	"total_results":2,"current_page":1,"packages":{"all":3,"passed":2,"failed":1,"pending":0,"missing":0,"flaky":1},"revisions":2}`

func TestResultCommands(t *testing.T) {
	t.Parallel()
	none := ok(`{"results":[],"total_results":0,"current_page":1,"packages":{"all":1,"passed":1},"revisions":1}`)
	more := ok(strings.Replace(results, `"total_results":2`, `"total_results":102`, 1))
	const listed = "STATUS          PACKAGE       PLATFORM  ARCH    STAGE      CASE   TOOK   WHAT WAS SAID\n" +
		"failed          a-1-1.x86_64  el9       x86_64  integrity  -      1.2 s  1 of 2 cases failed\n" +
		"failed (flaky)  a-1-1.x86_64  el9       x86_64  integrity  files  -      /usr/bin/a\n"
	const counted = "3 packages, 1 failed, 2 passed, 1 flaky"
	report := strings.ReplaceAll(results, `"sha256":"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","platform":"el9","env_arch":"x86_64","stage":"integrity","case":""`, `"sha256":"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb","platform":"el9","env_arch":"aarch64","stage":"integrity","case":""`)
	two := strings.Replace(results, `{"results":[`, `{"results":[`+strings.Split(strings.TrimPrefix(report, `{"results":[`), "\n")[1], 1)
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"test", "list", "7"}, map[string][]answer{"GET /tests/build/7/results/?pageNumber=1&pageSize=100&status=bad": ok(results)}, result{0, listed, counted + "\n"}, nil},
		{"list, more", []string{"test", "list", "7"}, map[string][]answer{"GET /tests/build/7/results/?pageNumber=1&pageSize=100&status=bad": more}, result{0, listed, counted + "; 2 of 102 are shown, more: --page 2\n"}, nil},
		{"list, all that is asked for", []string{"test", "list", "7", "--status", "skipped", "--stage", "upgrade", "--package", "a", "--arch", "x86_64", "--platform", "el9", "--text", "x y", "--flaky", "--revision", "2", "--page", "3"},
			map[string][]answer{"GET /tests/build/7/results/?arch=x86_64&flaky=true&package=a&pageNumber=3&pageSize=100&platform=el9&revision=2&stage=upgrade&status=skipped&text=x+y": none},
			result{0, "nothing in the tests of the build is like that\n", "1 package, 1 passed\n"}, nil},
		{"list, all", []string{"test", "list", "7", "--all"}, map[string][]answer{"GET /tests/build/7/results/?pageNumber=1&pageSize=100": none}, result{0, "nothing in the tests of the build is like that\n", "1 package, 1 passed\n"}, nil},
		{"list, no such status", []string{"test", "list", "7", "--status", "good"}, nil, result{2, "", "albs: status \"good\" is none of bad, failed, not_run, passed, skipped, todo, pending, missing\n" + usageOf("list")}, nil},
		{"list, no such build", []string{"test", "list", "8"}, map[string][]answer{"GET /tests/build/8/results/?pageNumber=1&pageSize=100&status=bad": problem(404, "not_found", "there is no build 8")},
			result{1, "", "albs: there is no build 8; albs build list shows all\n"}, nil},
		{"show", []string{"test", "show", "7", "a-1"}, map[string][]answer{"GET /tests/build/7/results/?package=a-1&pageSize=1000": ok(results)},
			result{0, "PACKAGE       PLATFORM  ARCH    STAGE      CASE   STATUS          TOOK   WHAT WAS SAID\n" +
				"a-1-1.x86_64  el9       x86_64  integrity  -      failed          1.2 s  1 of 2 cases failed more\n" +
				"-             -         -       integrity  files  failed (flaky)  -      /usr/bin/a is missing\n", ""}, nil},
		{"show, none", []string{"test", "show", "7", "b"}, map[string][]answer{"GET /tests/build/7/results/?package=b&pageSize=1000": none},
			result{1, "", "albs: build 7 has no tested package \"b\"; albs test list BUILD --all shows what there is\n"}, nil},
		{"log", []string{"test", "log", "7", "a"}, map[string][]answer{"GET /tests/build/7/results/?package=a&pageSize=1000&status=bad": ok(results), "GET /artifacts/aa/download": ok("TAP version 14\n")}, result{0, "TAP version 14\n", ""}, nil},
		{"log of a stage", []string{"test", "log", "7", "a", "--stage", "integrity", "--arch", "x86_64"}, map[string][]answer{"GET /tests/build/7/results/?arch=x86_64&package=a&pageSize=1000&stage=integrity": ok(results), "GET /artifacts/aa/download": ok("TAP version 14\n")}, result{0, "TAP version 14\n", ""}, nil},
		{"log of two", []string{"test", "log", "7", "a", "--stage", "integrity"}, map[string][]answer{"GET /tests/build/7/results/?package=a&pageSize=1000&stage=integrity": ok(two)},
			result{1, "", "albs: that is a-1-1.x86_64 on el9 aarch64, and a-1-1.x86_64 on el9 x86_64: say more exactly which, with --arch or --platform\n"}, nil},
		{"log of what is good", []string{"test", "log", "7", "b"}, map[string][]answer{"GET /tests/build/7/results/?package=b&pageSize=1000&status=bad": none},
			result{1, "", "albs: nothing of b is bad in build 7: name a stage; albs test list BUILD --all shows what there is\n"}, nil},
		{"retry", []string{"test", "retry", "7"}, map[string][]answer{"PUT /tests/build/7/restart": ok("[]")}, result{0, "tests of build 7 are queued again; follow them with: albs build watch 7\n", ""}, []string{"PUT /tests/build/7/restart {}"}},
		{"retry of a step", []string{"test", "retry", "7", "3"}, map[string][]answer{"PUT /tests/build_task/3/restart": ok("[]")}, result{0, "tests of build 7 are queued again; follow them with: albs build watch 7\n", ""}, []string{"PUT /tests/build_task/3/restart {}"}},
		{"retry by what is newest", []string{"test", "retry", "7", "--newest"}, map[string][]answer{"PUT /tests/build/7/restart?newest=true": ok("[]")}, result{0, "tests of build 7 are queued again; follow them with: albs build watch 7\n", ""}, []string{"PUT /tests/build/7/restart?newest=true {}"}},
		{"retry of a step by what is newest", []string{"test", "retry", "7", "3", "--newest"}, nil, result{2, "", "albs: --newest is for all of a build, and not for one step\n" + usageOf("retry")}, nil},
		{"cancel", []string{"test", "cancel", "7"}, map[string][]answer{"PUT /tests/build/7/cancel": ok("[]")}, result{0, "the tests of build 7 are cancelled; take them up again with: albs test retry 7\n", ""}, []string{"PUT /tests/build/7/cancel {}"}},
		{"cancel, none", []string{"test", "cancel", "7"}, map[string][]answer{"PUT /tests/build/7/cancel": problem(409, "conflict", "no test of build 7 is under way")}, result{1, "", "albs: no test of build 7 is under way\n"}, []string{"PUT /tests/build/7/cancel {}"}},
		{"compare", []string{"test", "compare", "7", "--from", "1", "--to", "2"}, map[string][]answer{"GET /tests/build/7/compare?from=1&pageNumber=1&to=2": ok(`{"from":1,"to":2,"total_changes":1,"same":8,"changes":[{"change":"fixed","status_before":"failed","status_after":"passed","check":{"nevra":"a-1-1.x86_64","platform":"el9","env_arch":"x86_64","stage":"install","case":"","flaky":true}}]}`)},
			result{0, "CHANGE  PACKAGE       PLATFORM  ARCH    STAGE    CASE  BEFORE  AFTER           WHAT WAS SAID\nfixed   a-1-1.x86_64  el9       x86_64  install  -     failed  passed (flaky)  -\n", "from revision 1 to 2; 8 checks came to the same\n"}, nil},
		{"history", []string{"test", "history", "a", "--stage", "install"}, map[string][]answer{"GET /tests/history/?package=a&stage=install": ok(`{"results":[{"nevra":"a-1-1.x86_64","platform":"el9","env_arch":"x86_64","stage":"install","case":"","status":"failed","detail":"no","inputs":"","flaky":false,"build_id":7,"revision":1,"scheduled_at":"2026-11-22T10:00:00Z"}],"next_before":5}`)},
			result{0, "STATUS  PACKAGE       PLATFORM  ARCH    STAGE    CASE  BUILD  REVISION  WHEN              INPUTS  WHAT WAS SAID\nfailed  a-1-1.x86_64  el9       x86_64  install  -     7      1         2026-11-22 10:00  -       no\n", "older ones: --before 5\n"}, nil},
		{"history of a case of nothing", []string{"test", "history", "a", "--case", "x"}, nil, result{2, "", "albs: --case needs the --stage that it is of\n" + usageOf("history")}, nil},
		{"junit", []string{"test", "junit", "7", "-o", "-"}, map[string][]answer{"GET /tests/build/7/junit.xml": {{status: 200, body: "<testsuites/>", media: "application/xml"}}}, result{0, "<testsuites/>", ""}, nil},
	} {
		f, url := newFake(t, tc.answers)
		got := command(t, url, tc.args...)
		if i := strings.Index(got.stderr, "usage: "); i >= 0 {
			got.stderr = got.stderr[:i] + usageOf(tc.args[1])
		}
		if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}

// usageOf stands for the line that tells how a command is used.
func usageOf(name string) string { return "usage of " + name }
