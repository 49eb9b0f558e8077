package remote

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestNoticeCommands(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "url")
	if err := os.WriteFile(file, []byte("https://hooks.example/secret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	const (
		hook = `{"id":3,"team":"core","channel":"webhook","target":"https://hooks.example/","note":"n","filter":{"kinds":["errata.released","build.failed"],"platforms":["el9"],"products":["demo"],"severity":"important"},
			"waiting":1,"sent":2,"dead":3,"stopped":"","paused_until":"2026-11-22T13:00:00Z","key":"whsec_abc"}`
		mail = `{"id":4,"team":"","channel":"mail","target":"olga@example.org","filter":{"kinds":["release.published"]},"stopped":"stopped by user:olga","paused_until":null}`
		sent = `{"id":9,"kind":"notice.test","title":"A test","state":"dead","attempts":2,"reason":"the receiver answered 503","created_at":"2026-11-22T11:00:00Z","ended_at":null}`
		add  = "albs notice add (--webhook URL | --webhook-file FILE | --mail ADDRESS) --on KIND [--team TEAM] [--platform PLATFORM] [--product PRODUCT] [--severity SEVERITY] [--note NOTE] [--json]\n"
		edit = "albs notice edit ID [--on KIND] [--platform PLATFORM] [--product PRODUCT] [--severity SEVERITY] [--webhook URL | --webhook-file FILE | --mail ADDRESS] [--note NOTE] [--stop | --start] [--json]\n"
	)
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		want    result
		saw     []string
	}{
		{"list", []string{"list"}, map[string][]answer{"GET /notices/": ok("[" + hook + "," + mail + "]")},
			result{0, "ID  TEAM  TO                      ON                            ONLY                     WAITING  SENT  DEAD  STATE\n" +
				"3   core  https://hooks.example/  errata.released build.failed  el9 demo from important  1        2     3     paused until 2026-11-22 13:00\n" +
				"4   -     olga@example.org        release.published             -                        0        0     0     stopped: stopped by user:olga\n", ""}, nil},
		{"list of none", []string{"list"}, map[string][]answer{"GET /notices/": ok("[]")}, result{0, "nobody is told anything\n", ""}, nil},
		{"add a webhook", []string{"add", "--webhook", "https://hooks.example/", "--on", "errata.released", "--on", "build.failed", "--platform", "el9", "--severity", "important", "--team", "core"},
			map[string][]answer{"POST /notices/": ok(hook)}, result{0, "whsec_abc\n", "subscription 3 is made; give its receiver the key, which nobody can show again\n"},
			[]string{`POST /notices/ {"team":"core","channel":"webhook","target":"https://hooks.example/","filter":{"kinds":["errata.released","build.failed"],"platforms":["el9"],"severity":"important"}}`}},
		{"add a webhook by file", []string{"add", "--webhook-file", file, "--on", "errata.released"}, map[string][]answer{"POST /notices/": ok(hook)},
			result{0, "whsec_abc\n", "subscription 3 is made; give its receiver the key, which nobody can show again\n"},
			[]string{`POST /notices/ {"channel":"webhook","target":"https://hooks.example/secret","filter":{"kinds":["errata.released"]}}`}},
		{"add an address", []string{"add", "--mail", "olga@example.org", "--on", "release.published", "--product", "demo", "--note", "n"}, map[string][]answer{"POST /notices/": ok(mail)},
			result{0, "subscription 4 is made\n", ""}, []string{`POST /notices/ {"channel":"mail","target":"olga@example.org","note":"n","filter":{"kinds":["release.published"],"products":["demo"]}}`}},
		{"add nobody", []string{"add", "--on", "build.failed"}, nil, result{2, "", "albs: say whom to tell: --webhook, --webhook-file or --mail\nusage: " + add}, nil},
		{"add two", []string{"add", "--mail", "a@b.example", "--webhook", "https://x.example/", "--on", "build.failed"}, nil, result{2, "", "albs: choose one of --webhook, --webhook-file and --mail\nusage: " + add}, nil},
		{"add for nothing", []string{"add", "--mail", "a@b.example"}, nil, result{2, "", "albs: say of what to tell: --on KIND\nusage: " + add}, nil},
		{"edit", []string{"edit", "3", "--on", "build.failed", "--note", "", "--start"}, map[string][]answer{"PATCH /notices/3/": ok(hook)},
			result{0, "subscription 3 is paused until 2026-11-22 13:00\n", ""}, []string{`PATCH /notices/3/ {"note":"","filter":{"kinds":["build.failed"]},"active":true}`}},
		{"stop", []string{"edit", "4", "--stop"}, map[string][]answer{"PATCH /notices/4/": ok(mail)}, result{0, "subscription 4 is stopped: stopped by user:olga\n", ""}, []string{`PATCH /notices/4/ {"active":false}`}},
		{"edit nothing", []string{"edit", "3"}, nil, result{2, "", "albs: say what to change\nusage: " + edit}, nil},
		{"edit half", []string{"edit", "3", "--severity", "low"}, nil, result{2, "", "albs: what it is told of is replaced as a whole: give --on KIND too\nusage: " + edit}, nil},
		{"edit both ways", []string{"edit", "3", "--stop", "--start"}, nil, result{2, "", "albs: choose one of --stop and --start\nusage: " + edit}, nil},
		{"remove", []string{"remove", "3"}, map[string][]answer{"DELETE /notices/3/": {{status: 204}}}, result{0, "subscription 3 is removed\n", ""}, []string{"DELETE /notices/3/ {}"}},
		{"remove none", []string{"remove", "5"}, map[string][]answer{"DELETE /notices/5/": problem(404, "not_found", "there is no subscription 5")},
			result{1, "", "albs: there is no subscription 5; albs notice list shows all of your teams\n"}, []string{"DELETE /notices/5/ {}"}},
		{"test", []string{"test", "3"}, map[string][]answer{"POST /notices/3/test/": ok(sent)}, result{0, "delivery 9 is on its way; albs notice deliveries 3 shows what came of it\n", ""}, []string{"POST /notices/3/test/ {}"}},
		{"deliveries", []string{"deliveries", "3", "--before", "10"}, map[string][]answer{"GET /notices/3/deliveries/?before=10": ok("[" + sent + "]")},
			result{0, "ID  WHEN              STATE  ATTEMPTS  WHAT    WHY\n9   2026-11-22 11:00  dead   2         A test  the receiver answered 503\n", ""}, nil},
		{"deliveries as JSON", []string{"deliveries", "3", "--json"}, map[string][]answer{"GET /notices/3/deliveries/": ok("[]")}, result{0, "[]\n", ""}, nil},
		{"retry", []string{"retry", "9"}, map[string][]answer{"POST /notice-deliveries/9/retry/": ok(sent)}, result{0, "delivery 9 is on its way\n", ""}, []string{"POST /notice-deliveries/9/retry/ {}"}},
	} {
		f, url := newFake(t, tc.answers)
		if d := cmp.Diff(tc.want, command(t, url, append([]string{"notice"}, tc.args...)...), cmp.AllowUnexported(result{})); d != "" {
			t.Errorf("%s (-want +got):\n%s", tc.name, d)
		}
		if d := cmp.Diff(tc.saw, f.seen()); d != "" {
			t.Errorf("%s: requests (-want +got):\n%s", tc.name, d)
		}
	}
}
