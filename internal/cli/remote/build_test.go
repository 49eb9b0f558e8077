package remote

import (
	"context"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// task is one task as the API shows it; rest is more of its members.
func task(id, kind, arch, state, rest string) string {
	return `{"id":` + id + `,"kind":"` + kind + `","package":"zlib","arch":"` + arch + `","platform":{"name":"seed"},"state":"` + state + `","attempts":1,
		"ref":{"url":"https://git/zlib","git_ref":"main","git_commit_hash":"abc"}` + rest + `}`
}

// buildDoc is build 5 as the API shows it.
func buildDoc(state, reason string, tasks ...string) string {
	finished := "null"
	if state != "running" && state != "queued" {
		finished = `"2026-11-22T11:01:30Z"`
	}
	return `{"id":5,"created_at":"2026-11-22T11:00:00Z","started_at":"2026-11-22T11:00:01Z","finished_at":` + finished + `,"owner":{"id":2,"username":"alice","email":""},
		"tasks":[` + strings.Join(tasks, ",") + `],"products":[{"name":"demo"}],"mock_options":{"with":["tests"]},"state":"` + state + `","reason":"` + reason + `",
		"tasks_done":1,"tasks_total":3,"packages":["zlib"]}`
}

const (
	ran     = `,"started_at":"2026-11-22T11:00:01Z","finished_at":"2026-11-22T11:00:03.5Z","worker":"local-node"`
	running = `,"started_at":"2026-11-22T11:00:01Z","finished_at":null,"worker":"local-node"`
)

// rpms are artifacts of a rebuild.
var rpms = ran + `,"artifacts":[{"type":"rpm","name":"zlib-1.3-1.seed.x86_64.rpm","cas_hash":"` + strings.Repeat("b", 64) + `","kind":"rpm","attempt":1},
	{"type":"build_log","name":"build.log","cas_hash":"` + strings.Repeat("c", 64) + `","kind":"log","attempt":1}]`

// testRunDoc is the run of task 12's tests.
func testRunDoc(state, status, packageState, reason string) string {
	return `{"id":1,"build_task_id":12,"task_id":13,"revision":1,"env_arch":"x86_64","platform":"seed","status_text":"` + status + `","state":"` + state + `","reason":"",
		"started_at":"2026-11-22T11:01:00Z","finished_at":"2026-11-22T11:01:20Z","packages":[{"nevra":"zlib-1.3-1.seed.x86_64","sha256":"` + strings.Repeat("b", 64) + `","state":"` + packageState + `","reason":"` + reason + `","cases":[]}]}`
}

var (
	built     = buildDoc("succeeded", "", task("10", "import", "src", "succeeded", ran), task("11", "source", "src", "succeeded", ran), task("12", "build", "x86_64", "succeeded", rpms))
	tested    = "[" + testRunDoc("succeeded", "completed", "passed", "") + "]"
	badTested = "[" + testRunDoc("succeeded", "failed", "failed", "files: /usr/lib64/libz.so.1 is missing") + "]"
)

// failedDoc is build 5 with tasks that failed: of one no log tells why, of one its log
// does, of one nothing is known.
var failedDoc = strings.Replace(buildDoc("failed", "it ended with code 1",
	task("11", "build", "src", "failed", `,"reason":"it was lost","failure":{"kind":"node","text":"worker n1 was not heard of for 1m0s","hint":"retry the task","attempt":1}`),
	task("12", "build", "x86_64", "failed", `,"reason":"it ended with code 1","failure":{"kind":"compile","text":"a.c:7: no","hint":"mend it","attempt":2,"log":"build","line":10,
		"quote":"a.c:7:3: error: \u001bno","before":["make all",""],"after":["bye"]}`),
	task("14", "build", "i686", "failed", `,"reason":"who knows","failure":{"kind":"unknown","text":"who knows","attempt":1}`)), `"attempts":1,
		"ref":{"url":"https://git/zlib","git_ref":"main","git_commit_hash":"abc"},"reason":"it ended`, `"attempts":2,"ref":{},"reason":"it ended`, 1)

// graphDoc is the graph of build 5 as the API shows it.
const graphDoc = `[{"platform":"seed","order":"auto","nodes":[{"id":"1/x86_64","item":1,"package":"app","arch":"x86_64","task":12,"state":"queued"},
	{"id":"2/x86_64","item":2,"package":"zlib","arch":"x86_64","task":13,"state":"queued"},
	{"id":"3/x86_64","item":3,"package":"old","arch":"x86_64","task":14,"state":"excluded","excluded":"ExcludeArch names x86_64"}],
	"edges":[{"from":"1/x86_64","to":"2/x86_64","requires":["zlib-devel >= 1"]},{"from":"2/x86_64","to":"1/x86_64","requires":["app"],"broken":"it lies on 1 of 1 cycles"}],
	"cycles":[{"nodes":["1/x86_64","2/x86_64"],"names":"app x86_64 → zlib x86_64 → app x86_64"}],"notes":["something is unknown"]}]`

func TestCreateBuild(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	srpm := filepath.Join(dir, "a-1-1.src.rpm")
	if err := os.WriteFile(srpm, []byte("an SRPM"), 0o644); err != nil {
		t.Fatal(err)
	}
	digest := strings.Repeat("d", 64)
	f, url := newFake(t, map[string][]answer{
		"POST /uploads/srpm?name=a-1-1.src.rpm": {{status: 201, body: `{"digest":"` + digest + `","name":"a-1-1.src.rpm","size":7,"nevra":"a-1-1.src"}`}},
		"POST /builds/":                         ok(buildDoc("queued", "")),
	})
	got := command(t, url, "build", "create", "--platform", "seed", "--git", "https://git/one.git#main", "--srpm", srpm, "--git", "https://git/x,y.git#imports/c9/z-1",
		"--arch", "x86_64", "--arch", "i686", "--product", "demo", "--with", "a", "--with", "b", "--without", "c",
		"--srpm", "https://x/b-1-1.src.rpm", "--define", "dist=.x", "--define", "opts=-a,-b=1", "--exclude", "gcc*", "--module", "perl:5.32", "--target-arch", "i686", "--flavour", "epel", "--flavour", "beta", "--link", "3", "--link", "4", "--break", "one→a", "--order", "auto")
	if d := cmp.Diff(result{0, "build 5 is queued; follow it with: albs build watch 5\n", ""}, got, cmp.AllowUnexported(result{})); d != "" {
		t.Errorf("(-want +got):\n%s", d)
	}
	want := []string{
		"POST /uploads/srpm?name=a-1-1.src.rpm an SRPM",
		`POST /builds/ {"platforms":[{"name":"seed","arch_list":["x86_64","i686"]}],"tasks":[{"url":"https://git/one.git","git_ref":"main"},{"srpm":"` + digest +
			`"},{"url":"https://git/x,y.git","git_ref":"imports/c9/z-1"},{"url":"https://x/b-1-1.src.rpm"}],"product":"demo","order":"auto","break":["one→a"],"mock_options":{"with":["a","b"],"without":["c"],` +
			`"definitions":{"dist":".x","opts":"-a,-b=1"},"yum_exclude":["gcc*"],"module_enable":["perl:5.32"],"target_arch":"i686"},"platform_flavors":["epel","beta"],"linked_builds":[3,4]}`,
	}
	if d := cmp.Diff(want, f.seen()); d != "" {
		t.Errorf("requests (-want +got):\n%s", d)
	}
}

func TestBuildCommands(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name    string
		args    string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{
			name: "list", args: "build list --owner alice --package zlib",
			answers: map[string][]answer{"GET /builds/?created_by=alice&pageNumber=1&project=zlib": ok(`{"builds":[` + built + `,` + buildDoc("running", "1 of 3 steps done") + `],"total_builds":2,"current_page":1}`)},
			want: result{0, "BUILD  STATE      DONE  OWNER  PRODUCT  CREATED           TOOK    PACKAGES\n" +
				"5      succeeded  1/3   alice  demo     2026-11-22 11:00  1m29s   zlib\n" +
				"5      running    1/3   alice  demo     2026-11-22 11:00  59m59s  zlib\n", ""},
		},
		{
			name: "show, waived", args: "build show 5",
			answers: map[string][]answer{"GET /builds/5/": ok(built), "GET /tests/build/5/": ok(strings.Replace(badTested, `"cases":[]`, `"cases":[],"waivers":[{"id":4,"build_id":5,"nevra":"zlib-1.3-1.seed.x86_64","stage":"remove","person":"ada","reason":"it is known","expires_at":"2026-11-24T10:00:00Z","in_force":true,"expires_soon":true}]`, 1))},
			want: result{0, "build:    5\nstate:    succeeded\nsteps:    1 of 3 done\nowner:    alice\nproduct:  demo\ncreated:  2026-11-22 11:00\ntook:     1m29s\nwith:     tests\n\n" +
				"TASK  PACKAGE  PLATFORM  ARCH    STEP    STATE      TOOK  WHY\n" +
				"10    zlib     seed      src     import  succeeded  2.5s  -\n" +
				"11    zlib     seed      src     source  succeeded  2.5s  -\n" +
				"12    zlib     seed      x86_64  build   succeeded  2.5s  -\n" +
				"13    zlib     seed      x86_64  test    failed     20s   zlib-1.3-1.seed.x86_64: files: /usr/lib64/libz.so.1 is miss…\n\n" +
				"WAIVER  PACKAGE                 STAGE   UNTIL                   BY   REASON\n" +
				"4       zlib-1.3-1.seed.x86_64  remove  2026-11-24 10:00, soon  ada  it is known\n\n" +
				"SHA256" + strings.Repeat(" ", 60) + "FILE\n" + strings.Repeat("b", 64) + "  zlib-1.3-1.seed.x86_64.rpm\n", ""},
		},
		{
			name: "show", args: "build show 5",
			answers: map[string][]answer{"GET /builds/5/": ok(built), "GET /tests/build/5/": ok(badTested)},
			want: result{0, "build:    5\nstate:    succeeded\nsteps:    1 of 3 done\nowner:    alice\nproduct:  demo\ncreated:  2026-11-22 11:00\ntook:     1m29s\nwith:     tests\n\n" +
				"TASK  PACKAGE  PLATFORM  ARCH    STEP    STATE      TOOK  WHY\n" +
				"10    zlib     seed      src     import  succeeded  2.5s  -\n" +
				"11    zlib     seed      src     source  succeeded  2.5s  -\n" +
				"12    zlib     seed      x86_64  build   succeeded  2.5s  -\n" +
				"13    zlib     seed      x86_64  test    failed     20s   zlib-1.3-1.seed.x86_64: files: /usr/lib64/libz.so.1 is miss…\n\n" +
				"SHA256" + strings.Repeat(" ", 60) + "FILE\n" + strings.Repeat("b", 64) + "  zlib-1.3-1.seed.x86_64.rpm\n", ""},
		},
		{
			name: "show one that failed", args: "build show 5",
			answers: map[string][]answer{"GET /builds/5/": ok(failedDoc), "GET /tests/build/5/": ok("[]")},
			want: result{0, "build:    5\nstate:    failed: it ended with code 1\nsteps:    1 of 3 done\nowner:    alice\nproduct:  demo\ncreated:  2026-11-22 11:00\ntook:     1m29s\nwith:     tests\n\n" +
				"TASK  PACKAGE  PLATFORM  ARCH    STEP   STATE               TOOK  WHY\n" +
				"11    zlib     seed      src     build  failed              -     it was lost\n" +
				"12    zlib     seed      x86_64  build  failed (attempt 2)  -     it ended with code 1\n" +
				"14    zlib     seed      i686    build  failed              -     who knows\n\n" +
				"TASK 11  node: worker n1 was not heard of for 1m0s\n" +
				"HINT     retry the task\n\n" +
				"TASK 12     compile: a.c:7: no\n" +
				"HINT        mend it\n" +
				"  build:8   make all\n" +
				"  build:9\n" +
				"> build:10  a.c:7:3: error: no\n" +
				"  build:11  bye\n", "the whole log: albs build logs 5 12 --stream build --attempt 2\n"},
		},
		{
			name: "show, no such", args: "build show 6",
			answers: map[string][]answer{"GET /builds/6/": problem(404, "not_found", "there is no build 6")},
			want:    result{1, "", "albs: there is no build 6; albs build list shows all\n"},
		},
		{
			name: "cancel", args: "build cancel 5",
			answers: map[string][]answer{"PATCH /builds/5/cancel": ok(buildDoc("running", ""))},
			want:    result{0, "build 5 is being cancelled: what runs is told to stop\n", ""},
			saw:     []string{"PATCH /builds/5/cancel {}"},
		},
		{
			name: "retry", args: "build retry 5",
			answers: map[string][]answer{"PATCH /builds/5/restart-failed": ok(buildDoc("running", ""))},
			want:    result{0, "what failed of build 5 is queued again; follow it with: albs build watch 5\n", ""},
			saw:     []string{"PATCH /builds/5/restart-failed {}"},
		},
		{
			name: "retry of one task", args: "build retry 5 12",
			answers: map[string][]answer{"POST /builds/5/tasks/12/retry": ok(task("12", "build", "x86_64", "queued", ""))},
			want:    result{0, "task 12 is queued again; follow it with: albs build watch 5\n", ""},
			saw:     []string{"POST /builds/5/tasks/12/retry {}"},
		},
		{
			name: "cancel of one item", args: "build cancel 5 --item 3",
			answers: map[string][]answer{"PATCH /builds/5/items/3/cancel": ok(buildDoc("running", ""))},
			want:    result{0, "item 3 of build 5 is being cancelled; the others go on without it\n", ""},
			saw:     []string{"PATCH /builds/5/items/3/cancel {}"},
		},
		{
			name: "a fresh source package", args: "build retry 5 --fresh 3",
			answers: map[string][]answer{"PATCH /builds/5/items/3/fresh": ok(buildDoc("running", ""))},
			want:    result{0, "a fresh source package of item 3 is queued again; follow it with: albs build watch 5\n", ""},
			saw:     []string{"PATCH /builds/5/items/3/fresh {}"},
		},
		{
			name: "a fresh source package of a task", args: "build retry 5 12 --fresh 3",
			want: result{2, "", "albs: --fresh makes a whole item anew, and no TASK goes with it\nusage: albs build retry BUILD [TASK] [--fresh ITEM] [--wait] [--json]\n"},
		},
		{
			name: "clone", args: "build clone 4 --fresh",
			answers: map[string][]answer{"POST /builds/4/clone": ok(buildDoc("queued", ""))},
			want:    result{0, "build 5 is queued; follow it with: albs build watch 5\n", ""},
			saw:     []string{`POST /builds/4/clone {"fresh":true}`},
		},
		{
			name: "delete", args: "build delete 5",
			answers: map[string][]answer{"DELETE /builds/5/remove": {{status: 204}}},
			want:    result{0, "build 5 is deleted\n", ""},
			saw:     []string{"DELETE /builds/5/remove {}"},
		},
		{
			name: "delete what is released", args: "build delete 5",
			answers: map[string][]answer{"DELETE /builds/5/remove": problem(409, "conflict", "build 5 is in release 2")},
			want:    result{1, "", "albs: build 5 is in release 2\n"},
			saw:     []string{"DELETE /builds/5/remove {}"},
		},
		{
			name: "show one step", args: "build show 5 12",
			answers: map[string][]answer{"GET /builds/5/tasks/12/": ok(task("12", "build", "x86_64", "failed", ran+`,"reason":"gcc","attempt_list":[
				{"attempt":1,"worker":"n1","state":"lost","started_at":"2026-11-22T11:00:00Z","finished_at":"2026-11-22T11:01:00Z","reason":"not heard of"},
				{"attempt":2,"worker":"n2","state":"failed","started_at":"2026-11-22T11:02:00Z","finished_at":"2026-11-22T11:02:30Z","reason":"gcc"}]`))},
			want: result{0, "task:      12\npackage:   zlib\nplatform:  seed\narch:      x86_64\nstep:      build\nstate:     failed\nwhy:       gcc\ntook:      2.5s\n\n" +
				"ATTEMPT  NODE  STATE   START             TOOK  WHY\n" +
				"1        n1    lost    2026-11-22 11:00  1m0s  not heard of\n" +
				"2        n2    failed  2026-11-22 11:02  30s   gcc\n", ""},
		},
		{
			name: "graph", args: "build graph 5",
			answers: map[string][]answer{"GET /builds/5/graph": ok(graphDoc)},
			want: result{0, "platform:  seed\norder:     auto\n\n" +
				"PACKAGE      NEEDS        FOR                                  NOT AWAITED BECAUSE\n" +
				"app x86_64   zlib x86_64  zlib-devel >= 1                      -\n" +
				"zlib x86_64  app x86_64   app                                  it lies on 1 of 1 cycles\n" +
				"old x86_64   -            not built: ExcludeArch names x86_64  -\n\n" +
				"CYCLES AND NOTES\ncycle: app x86_64 → zlib x86_64 → app x86_64\nsomething is unknown\n", ""},
		},
		{
			name: "graph as dot", args: "build graph 5 --dot",
			answers: map[string][]answer{"GET /builds/5/graph": ok(graphDoc)},
			want: result{0, "digraph build_5 {\n  rankdir=LR; node [shape=box];\n  subgraph cluster_0 {\n    label=\"seed\";\n" +
				"    \"0/1/x86_64\" [label=\"app x86_64\"];\n    \"0/2/x86_64\" [label=\"zlib x86_64\"];\n    \"0/3/x86_64\" [label=\"old x86_64\", style=dotted];\n" +
				"    \"0/2/x86_64\" -> \"0/1/x86_64\" [label=\"zlib-devel >= 1\"];\n    \"0/1/x86_64\" -> \"0/2/x86_64\" [label=\"app\", style=dashed, color=red];\n  }\n}\n", ""},
		},
		{
			name: "schedule", args: "build schedule 5",
			answers: map[string][]answer{"GET /builds/5/schedule": ok(`[
				{"task":11,"label":"zlib source","platform":"seed","state":"succeeded","reason":"","worker":"n1","ready_at":"2026-11-22T11:00:00Z","started_at":"2026-11-22T11:00:01.25Z","finished_at":"2026-11-22T11:00:09Z","after":[10]},
				{"task":12,"label":"zlib x86_64 build","platform":"seed","state":"blocked","reason":"waits for app x86_64 build","worker":"","ready_at":null,"started_at":null,"finished_at":null,"after":[11,13]}]`)},
			want: result{0, "TASK  STEP               PLATFORM  STATE      READY       START       END         NODE  AFTER\n" +
				"11    zlib source        seed      succeeded  11:00:00.0  11:00:01.2  11:00:09.0  n1    10\n" +
				"12    zlib x86_64 build  seed      blocked    -           -           -           -     11 13 (waits for app x86_64 build)\n", ""},
		},
		{
			name: "watch one that succeeds", args: "build watch 5",
			answers: map[string][]answer{
				"GET /builds/5/": ok(
					buildDoc("queued", "", task("10", "import", "src", "queued", ""), task("11", "source", "src", "blocked", ""), task("12", "build", "x86_64", "blocked", "")),
					buildDoc("running", "", task("10", "import", "src", "leased", running), task("11", "source", "src", "blocked", ""), task("12", "build", "x86_64", "blocked", "")),
					buildDoc("running", "", task("10", "import", "src", "succeeded", ran), task("11", "source", "src", "succeeded", ran), task("12", "build", "x86_64", "leased", running)),
					buildDoc("running", "", task("10", "import", "src", "succeeded", ran), task("11", "source", "src", "succeeded", ran), task("12", "build", "x86_64", "queued", `,"reason":"lost"`)),
					built),
				"GET /tests/build/5/": ok("[]", "[]", "[]", "[]", "[]", "["+testRunDoc("leased", "started", "pending", "")+"]", tested),
			},
			want: result{0, "build 5 succeeded in 1m29s, and its tests passed\n", "zlib import: running on local-node\nzlib import: done in 2.5s\nzlib source: done in 2.5s\n" +
				"zlib x86_64 build: running on local-node\nzlib x86_64 build: queued again\nzlib x86_64 build: done in 2.5s\nzlib x86_64 test: running\nzlib x86_64 test: done in 20s\n"},
		},
		{
			name: "watch one that fails", args: "build watch 5",
			answers: map[string][]answer{
				"GET /builds/5/": ok(buildDoc("failed", "zlib x86_64 build: nothing provides libfoo-devel", task("10", "import", "src", "succeeded", ran),
					task("12", "build", "x86_64", "failed", `,"reason":"nothing provides libfoo-devel"`))),
				"GET /tests/build/5/": ok("[]"),
			},
			want: result{1, "", "zlib import: done in 2.5s\nzlib x86_64 build: failed: nothing provides libfoo-devel\n" +
				"albs: build 5 failed: zlib x86_64 build: nothing provides libfoo-devel; the log: albs build logs 5 12\n"},
		},
		{
			name: "watch one that fails, whose log tells why", args: "build watch 5",
			answers: map[string][]answer{"GET /builds/5/": ok(failedDoc), "GET /tests/build/5/": ok("[]")},
			want: result{1, "", "zlib src build: failed: it was lost\nzlib x86_64 build: failed: it ended with code 1\nzlib i686 build: failed: who knows\n" +
				"albs: build 5 failed: it ended with code 1; compile: a.c:7: no (line 10); the log: albs build logs 5 12 --stream build\n"},
		},
		{
			name: "watch one whose tests fail", args: "build watch 5",
			answers: map[string][]answer{"GET /builds/5/": ok(built), "GET /tests/build/5/": ok(badTested)},
			want: result{1, "", "zlib import: done in 2.5s\nzlib source: done in 2.5s\nzlib x86_64 build: done in 2.5s\n" +
				"zlib x86_64 test: failed: zlib-1.3-1.seed.x86_64: files: /usr/lib64/libz.so.1 is missing\n" +
				"albs: build 5 succeeded, but its tests failed: zlib-1.3-1.seed.x86_64: files: /usr/lib64/libz.so.1 is missing; the log: albs build logs 5 13\n"},
		},
		{
			name: "watch while the server is away for a while", args: "build watch 5",
			answers: map[string][]answer{
				"GET /builds/5/": append(problem(409, "unavailable", "the ledger is away"), append(problem(409, "unavailable", "x"),
					append(problem(409, "unavailable", "x"), append(problem(409, "unavailable", "the ledger is away"), ok(buildDoc("cancelled", ""))...)...)...)...),
				"GET /tests/build/5/": ok("[]"),
			},
			want: result{1, "", "the ledger is away; waiting for it\nthe server is back\nalbs: build 5 was cancelled\n"},
		},
		{
			name: "create and wait, with JSON", args: "build create --platform seed --git https://git/zlib#main --wait --json",
			answers: map[string][]answer{"POST /builds/": ok(buildDoc("queued", "")), "GET /builds/5/": ok(`{"id":5,"state":"failed","reason":"x","tasks":[]}`), "GET /tests/build/5/": ok("[]")},
			want:    result{1, "{\n  \"id\": 5,\n  \"state\": \"failed\",\n  \"reason\": \"x\",\n  \"tasks\": []\n}\n", "build 5 is queued\nalbs: build 5 failed: x\n"},
			saw:     []string{`POST /builds/ {"platforms":[{"name":"seed"}],"tasks":[{"url":"https://git/zlib","git_ref":"main"}]}`},
		},
		{
			name: "logs, list", args: "build logs 5",
			answers: map[string][]answer{
				"GET /builds/5/": ok(buildDoc("running", "", task("10", "import", "src", "succeeded", ran), task("12", "build", "x86_64", "leased", running))), "GET /tests/build/5/": ok("[]"),
				"GET /builds/5/tasks/10/logs/": ok(`[{"attempt":1,"stream":"import","size":120,"final":true}]`),
				"GET /builds/5/tasks/12/logs/": ok(`[{"attempt":1,"stream":"root","size":4096,"final":false}]`),
			},
			want: result{0, "TASK  STEP               STATE      ATTEMPT  LOG     SIZE\n" +
				"10    zlib import        succeeded  1        import  120 B\n" +
				"12    zlib x86_64 build  running    1        root    4.0 KiB\n", "print one with: albs build logs 5 TASK [--stream LOG]\n"},
		},
		{
			name: "logs of a task", args: "build logs 5 12",
			answers: map[string][]answer{
				"GET /builds/5/tasks/12/logs/":                ok(`[{"attempt":1,"stream":"build","size":9,"final":true},{"attempt":2,"stream":"build","size":4,"final":false},{"attempt":2,"stream":"root","size":4,"final":false}]`),
				"GET /builds/5/tasks/12/logs/build?attempt=2": {{media: "text/plain", body: "made\x1b[2J it\n"}},
			},
			want: result{0, "made\x1b[2J it\n", ""}, // not a terminal: as it is
		},
		{
			name: "logs of a task, none", args: "build logs 5 12 --stream x",
			answers: map[string][]answer{"GET /builds/5/tasks/12/logs/": ok(`[]`)},
			want:    result{1, "", "albs: task 12 has no such log yet; albs build logs 5 lists all that there are, and with -f one is waited for\n"},
		},
		{
			name: "logs of a task, followed", args: "build logs 5 12 -f",
			answers: map[string][]answer{
				"GET /builds/5/tasks/12/logs/": ok(`[{"attempt":1,"stream":"root","size":9,"final":true}]`),
				"GET /builds/5/":               ok(built), "GET /tests/build/5/": ok("[]"),
				"GET /builds/5/tasks/12/logs/build/events": {{media: "text/event-stream", body: "id: 4\nevent: log\ndata: {\"attempt\":1,\"offset\":0,\"text\":\"one\\n\"}\n\n"},
					{media: "text/event-stream", body: "id: 8\nevent: log\ndata: {\"attempt\":1,\"offset\":4,\"text\":\"two\\n\"}\n\nid: 8\nevent: end\ndata: {\"attempt\":1,\"size\":8}\n\n"}},
			},
			want: result{0, "one\ntwo\n", ""},
		},
		{
			name: "logs followed of a build whose step never came to its chief log", args: "build logs 5 -f",
			answers: map[string][]answer{
				"GET /builds/5/": ok(buildDoc("running", "", task("12", "build", "x86_64", "leased", running)), buildDoc("failed", "no libfoo", task("12", "build", "x86_64", "failed", ran))), "GET /tests/build/5/": ok("[]"),
				"GET /builds/5/tasks/12/logs/build/events?attempt=1": {{media: "text/event-stream", body: "event: end\ndata: {}\n\n"}},
				"GET /builds/5/tasks/12/logs/":                       ok(`[{"attempt":1,"stream":"state","size":9,"final":true},{"attempt":1,"stream":"root","size":9,"final":true}]`),
				"GET /builds/5/tasks/12/logs/root?attempt=1":         {{media: "text/plain", body: "nothing provides libfoo\n"}},
			},
			want: result{1, "nothing provides libfoo\n", "== zlib x86_64 build on local-node (task 12, log build)\nalbs: build 5 failed: no libfoo; the log: albs build logs 5 12\n"},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t, tc.answers)
			got := command(t, url, strings.Fields(tc.args)...)
			if d := cmp.Diff(tc.want, got, cmp.AllowUnexported(result{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.saw, f.seen()); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
		})
	}
}

// TestBreakOff wants Ctrl-C to leave the build alone and to say so.
func TestBreakOff(t *testing.T) {
	t.Parallel()
	for _, args := range []string{"build watch 5", "build logs 5 -f"} {
		ctx, cancel := context.WithCancel(t.Context())
		f, url := newFake(t, map[string][]answer{
			"GET /builds/5/": ok(buildDoc("running", "", task("10", "import", "src", "queued", ""))), "GET /tests/build/5/": ok("[]"),
		})
		f.before = func(*http.Request) {
			if f.served["GET /builds/5/"] == 3 {
				cancel()
			}
		}
		got := commandWith(t, ctx, map[string]string{"ALBS_URL": url}, "", strings.Fields(args)...)
		cancel()
		if d := cmp.Diff(result{1, "", "albs: broken off; build 5 goes on: albs build watch 5\n"}, got, cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("albs %s (-want +got):\n%s", args, d)
		}
		if len(f.seen()) > 0 {
			t.Errorf("albs %s changed something: %q", args, f.seen())
		}
	}
}
