package remote

import (
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const users = `[
 {"id":1,"username":"admin","is_active":true,"created_at":"2026-11-20T10:00:00Z","disabled_at":null,"roles":[{"role":"admin"}]},
 {"id":2,"username":"alice","is_active":true,"created_at":"2026-11-21T10:00:00Z","disabled_at":null,"roles":[{"role":"contributor","team":"demo"},{"role":"signer","team":"demo"}]},
 {"id":3,"username":"bob","is_active":false,"created_at":"2026-11-21T10:00:00Z","disabled_at":"2026-11-22T10:00:00Z","roles":[]}]`

const alice = `{"id":2,"username":"alice","is_active":true,"created_at":"2026-11-21T10:00:00Z","disabled_at":null,"roles":[]}`

const token = `{"id":7,"user_id":2,"prefix":"albs_abc","note":"demo","created_at":"2026-11-22T11:00:00Z","expires_at":"2026-12-22T11:00:00Z","used_at":null,"revoked_at":null`

// node is a worker that is being drained.
const node = `{"id":1,"name":"node-1","role":"node","state":"draining","labels":["arch:x86_64","big","kind:build"],"offers":["arch:x86_64","kind:build"],"prefix":"albsw_a",
	"created_at":"2026-11-22T11:00:00Z","used_at":"2026-11-22T11:00:00Z","disabled_at":null,"version":"1.2","last_contact":"2026-11-22T11:59:58Z",
	"capacity":{"cores":8,"memory":17179869184,"disk":0},"taken":{"cores":2,"memory":1610612736,"disk":0},"exclude":["kernel*"],
	"drained":{"since":"2026-11-22T11:50:00Z","reason":"new disk","by":"user:olga"},"quarantined":null,
	"runs":[{"id":12,"kind":"build","key":"bash/el9/x86_64","state":"leased","since":"2026-11-22T11:59:30Z","build_id":7},{"id":13,"kind":"test","state":"leased","since":"2026-11-22T11:59:00Z"}]}`

// TestCommands runs short commands: what they ask, print and end with.
func TestCommands(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	yaml := filepath.Join(dir, "seed.yaml")
	if err := os.WriteFile(yaml, []byte("name: seed\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	const platform = `{"id":1,"name":"seed","distr_version":"12","arch_list":["x86_64","i686"],"spec":{"dist":".seed","network":false,
		"repositories":[{"id":"base","url":"file:///srv/seed"},{"id":"x","arch":"i686","url":"https://example.org/$arch"}]},
		"revision":3,"digest":"aa","applied_by":"user:admin","applied_at":"2026-11-22T10:00:00Z"}`
	const product = `{"id":1,"name":"demo","title":"Three packages","team":{"name":"demo"},"platforms":[{"name":"seed"}],"revision":1,"digest":"","applied_by":"user:admin",
		"applied_at":"2026-11-22T10:00:00Z","spec":{"key":"demo","repositories":[{"path":"seed/main/x86_64/os","platform":"seed","arch":"x86_64","kind":"rpm"}],
		"gate":{"tests":"required"},"approvals":{"count":1,"distinct":true},"retention":{"trees":10,"days":90,"packages":"kept"}}}`
	goodPlatform := strings.Replace(platform, `"aa"`, `"`+strings.Repeat("a", 64)+`"`, 1)
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		code    int
		stdout  string
		stderr  string
		saw     []string
	}{
		{
			name: "user add", args: []string{"user", "add", "alice"},
			answers: map[string][]answer{"POST /users/": {{status: 201, body: alice}}},
			stdout:  "user alice is added; give a role with: albs user grant alice ROLE --team TEAM\n",
			saw:     []string{`POST /users/ {"username":"alice"}`},
		},
		{
			name: "user grant, flag behind the arguments", args: []string{"user", "grant", "alice", "product-maintainer", "--team", "demo"},
			answers: map[string][]answer{"GET /users/": ok(users), "PATCH /users/2/roles/add": ok(alice)},
			stdout:  "alice has the role product_maintainer for team demo\n",
			saw:     []string{`PATCH /users/2/roles/add {"role":"product_maintainer","team":"demo"}`},
		},
		{
			name: "user revoke", args: []string{"user", "revoke", "alice", "admin"},
			answers: map[string][]answer{"GET /users/": ok(users), "PATCH /users/2/roles/remove": ok(alice)},
			stdout:  "alice no longer has the role admin\n",
			saw:     []string{`PATCH /users/2/roles/remove {"role":"admin"}`},
		},
		{
			name: "user grant to nobody", args: []string{"user", "grant", "carol", "admin"},
			answers: map[string][]answer{"GET /users/": ok(users)},
			code:    1, stderr: "albs: there is no user \"carol\"; albs user list shows all\n",
		},
		{
			name: "user list", args: []string{"user", "list"},
			answers: map[string][]answer{"GET /users/": ok(users)},
			stdout: "NAME   ROLES                         SINCE             STATE\n" +
				"admin  admin                         2026-11-20 10:00  active\n" +
				"alice  contributor@demo signer@demo  2026-11-21 10:00  active\n" +
				"bob    -                             2026-11-21 10:00  disabled 2026-11-22 10:00\n",
		},
		{
			name: "user list as JSON", args: []string{"user", "list", "--json"},
			answers: map[string][]answer{"GET /users/": ok(`[{"id":1,"unknown":true}]`)},
			stdout:  "[\n  {\n    \"id\": 1,\n    \"unknown\": true\n  }\n]\n",
		},
		{
			name: "user disable", args: []string{"user", "disable", "alice"},
			answers: map[string][]answer{"GET /users/": ok(users), "PATCH /users/2/disable": ok(alice)},
			stdout:  "user alice is disabled, and so are the tokens\n",
			saw:     []string{"PATCH /users/2/disable {}"},
		},
		{
			name: "token create", args: []string{"token", "create", "--user", "alice", "--name", "demo", "--days", "5"},
			answers: map[string][]answer{"GET /users/": ok(users), "POST /tokens/": {{status: 201, body: token + `,"secret":"albs_abcdef"}`}}},
			stdout:  "albs_abcdef\n",
			stderr:  "token 7 is good until 2026-12-22 11:00; keep it in ALBS_TOKEN or, with mode 0600, in ~/.config/albs/token\n",
			saw:     []string{`POST /tokens/ {"user_id":2,"note":"demo","days":5}`},
		},
		{
			name: "token create as JSON", args: []string{"token", "create", "--json"},
			answers: map[string][]answer{"POST /tokens/": {{status: 201, body: `{"id":7,"secret":"albs_abcdef"}`}}},
			stdout:  "{\n  \"id\": 7,\n  \"secret\": \"albs_abcdef\"\n}\n",
			saw:     []string{`POST /tokens/ {}`},
		},
		{
			name: "token list", args: []string{"token", "list", "--user", "alice"},
			answers: map[string][]answer{"GET /users/": ok(users), "GET /tokens/?user_id=2": ok("[" + token + "}," + strings.ReplaceAll(token, "2026-12-22", "2026-11-22") + "}]")},
			stdout: "ID  BEGINS    NOTE  SINCE             LAST USED  STATE\n" +
				"7   albs_abc  demo  2026-11-22 11:00  -          until 2026-12-22 11:00\n" +
				"7   albs_abc  demo  2026-11-22 11:00  -          expired 2026-11-22 11:00\n",
		},
		{
			name: "token revoke", args: []string{"token", "revoke", "7"},
			answers: map[string][]answer{"DELETE /tokens/7/": {{status: 204}}},
			stdout:  "token 7 is revoked\n", saw: []string{"DELETE /tokens/7/ {}"},
		},
		{
			name: "worker add", args: []string{"worker", "add", "node-1", "--role", "node", "--arch", "x86_64", "--arch", "i686", "--label", "big"},
			answers: map[string][]answer{"POST /workers/": {{status: 201, body: `{"id":1,"name":"node-1","role":"node","labels":[],"created_at":"2026-11-22T11:00:00Z","token":"albsw_x"}`}}},
			stdout:  "albsw_x\n",
			stderr:  "worker node-1 is enrolled as node; its token goes into the file that its configuration names\n",
			saw:     []string{`POST /workers/ {"name":"node-1","role":"node","arches":["x86_64","i686"],"labels":["big"]}`},
		},
		{
			name: "worker add without a name", args: []string{"worker", "add", "--role", "signer"},
			answers: map[string][]answer{"GET /workers/": ok(`[{"id":1,"name":"signer-1"}]`), "POST /workers/": {{status: 201, body: `{"id":2,"name":"signer-2","role":"signer","token":"albsw_y"}`}}},
			stdout:  "albsw_y\n",
			stderr:  "worker signer-2 is enrolled as signer; its token goes into the file that its configuration names\n",
			saw:     []string{`POST /workers/ {"name":"signer-2","role":"signer"}`},
		},
		{
			name: "worker list", args: []string{"worker", "list"},
			answers: map[string][]answer{"GET /workers/": ok(`[` + node + `,
				{"id":2,"name":"local-signer","role":"signer","state":"idle","labels":["kind:sign"],"offers":["kind:sign"],"statement_key":"QUJDREVGR0hJSktMTU5PUA==","created_at":"2026-11-22T11:00:00Z","used_at":null,"disabled_at":null},
				{"id":3,"name":"node-2","role":"node","state":"unseen","labels":["arch:x86_64"],"prefix":"albsw_b","created_at":"2026-11-22T11:00:00Z"},
				{"id":4,"name":"node-3","role":"node","state":"quarantined","offers":["arch:x86_64"],"last_contact":"2026-11-22T11:59:58Z","prefix":"albsw_c","drained":{"since":"2026-11-22T11:00:00Z","reason":"x","by":"user:olga"},
				 "quarantined":{"since":"2026-11-22T11:00:00Z","reason":"it fell silent with 3 different tasks within 60 min, the last was task 9"}}]`)},
			stdout: "NAME          ROLE    STATE        RUNS   LAST CONTACT      LABELS                  STATES BY      WHY\n" +
				"node-1        node    draining     12 13  2026-11-22 11:59  arch:x86_64 kind:build  -              new disk\n" +
				"local-signer  signer  idle         -      in the server     kind:sign               QUJDREVGR0hJ…  -\n" +
				"node-2        node    unseen       -      -                 arch:x86_64             -              -\n" +
				"node-3        node    quarantined  -      2026-11-22 11:59  arch:x86_64             -              it fell silent with 3 different tasks within 60 min, the la…\n",
		},
		{
			name: "worker list, chosen", args: []string{"worker", "list", "--state", "away", "--after", "node-1"},
			answers: map[string][]answer{"GET /workers/?after=node-1&state=away": ok(`[]`)},
			stdout:  "no worker is like that\n",
		},
		{
			name: "worker list, in an unknown state", args: []string{"worker", "list", "--state", "tired"},
			code: 2, stderr: "albs: --state \"tired\" is none of busy, idle, draining, drained, quarantined, away, unseen, disabled\nusage: albs worker list [--state S] [--after NAME] [--json]\n",
		},
		{
			name: "worker show", args: []string{"worker", "show", "node-1"},
			answers: map[string][]answer{"GET /workers/?name=node-1": ok(`[` + node + `]`), "GET /workers/1/": ok(node)},
			stdout: "worker:        node-1\nrole:          node\nstate:         draining\nlast contact:  2026-11-22 11:59\nversion:       1.2\noffers:        arch:x86_64 kind:build\n" +
				"may offer:     arch:x86_64 big kind:build\nexcludes:      kernel*\nenrolled:      2026-11-22 11:00\ncores:         2 of 8 taken\nmemory:        1.5 GiB of 16 GiB taken\n" +
				"drained:       2026-11-22 11:50 by user:olga: new disk\n\n" +
				"TASK  BUILD  KIND   STATE   TOOK  WHAT\n12    7      build  leased  30s   bash/el9/x86_64\n13    -      test   leased  1m0s  -\n",
		},
		{
			name: "worker show as JSON", args: []string{"worker", "show", "node-1", "--json"},
			answers: map[string][]answer{"GET /workers/?name=node-1": ok(`[{"id":1,"name":"node-1"}]`), "GET /workers/1/": ok(`{"id":1,"unknown":true}`)},
			stdout:  "{\n  \"id\": 1,\n  \"unknown\": true\n}\n",
		},
		{
			name: "worker drain", args: []string{"worker", "drain", "node-1", "--reason", "new disk"},
			answers: map[string][]answer{"GET /workers/?name=node-1": ok(`[` + node + `]`), "PATCH /workers/1/drain": ok(node)},
			stdout:  "worker node-1 gets nothing more; it still runs 2, which albs worker show node-1 lists\n", saw: []string{`PATCH /workers/1/drain {"reason":"new disk"}`},
		},
		{
			name: "worker drain of one that runs nothing", args: []string{"worker", "drain", "n"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PATCH /workers/1/drain": ok(`{"id":1}`)},
			stdout:  "worker n gets nothing more; it runs nothing: its machine can be taken away\n", saw: []string{`PATCH /workers/1/drain {"reason":""}`},
		},
		{
			name: "worker drain refused", args: []string{"worker", "drain", "n"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PATCH /workers/1/drain": problem(403, "forbidden", "bob may not")},
			code:    1, stderr: "albs: bob may not\n", saw: []string{`PATCH /workers/1/drain {"reason":""}`},
		},
		{
			name: "worker undrain", args: []string{"worker", "undrain", "n"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PATCH /workers/1/undrain": ok(`{"id":1,"state":"idle"}`)},
			stdout:  "worker n is idle\n", saw: []string{"PATCH /workers/1/undrain {}"},
		},
		{
			name: "worker lift", args: []string{"worker", "lift", "n"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PATCH /workers/1/lift": ok(`{"id":1,"state":"busy"}`)},
			stdout:  "worker n is busy\n", saw: []string{"PATCH /workers/1/lift {}"},
		},
		{
			name: "worker rekey", args: []string{"worker", "rekey", "s"},
			answers: map[string][]answer{"GET /workers/?name=s": ok(`[{"id":1,"name":"s"}]`), "PATCH /workers/1/rekey": ok(`{"id":1,"state":"idle"}`)},
			stdout:  "the statement key of worker s is forgotten; the next that it comes with is kept\n", saw: []string{"PATCH /workers/1/rekey {}"},
		},
		{
			name: "worker exclude", args: []string{"worker", "exclude", "n", "--pattern", "kernel*", "--pattern", "*/*/s390x"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PUT /workers/1/exclude": ok(`{"id":1,"exclude":["*/*/s390x","kernel*"]}`)},
			stdout:  "worker n doesn't get */*/s390x kernel*\n", saw: []string{`PUT /workers/1/exclude {"patterns":["kernel*","*/*/s390x"]}`},
		},
		{
			name: "worker exclude, nothing any more", args: []string{"worker", "exclude", "n", "--none"},
			answers: map[string][]answer{"GET /workers/?name=n": ok(`[{"id":1,"name":"n"}]`), "PUT /workers/1/exclude": ok(`{"id":1,"exclude":[]}`)},
			stdout:  "worker n may have everything\n", saw: []string{`PUT /workers/1/exclude {"patterns":[]}`},
		},
		{
			name: "worker disable", args: []string{"worker", "disable", "node-1"},
			answers: map[string][]answer{"GET /workers/?name=node-1": ok(`[{"id":4,"name":"node-1"}]`), "PATCH /workers/4/disable": ok(`{"id":4}`)},
			stdout:  "worker node-1 is disabled; its leases end by themselves\n", saw: []string{"PATCH /workers/4/disable {}"},
		},
		{
			name: "worker disable, no such", args: []string{"worker", "disable", "x"},
			answers: map[string][]answer{"GET /workers/?name=x": ok(`[]`)},
			code:    1, stderr: "albs: there is no worker \"x\"; albs worker list shows all\n",
		},
		{
			name: "queue show", args: []string{"queue", "show"},
			answers: map[string][]answer{"GET /queue/": ok(`[{"state":"queued","kind":"build","arch":"s390x","count":12},{"state":"leased","kind":"sign","count":1}]`)},
			stdout:  "STATE   KIND   ARCH   TASKS\nqueued  build  s390x  12\nleased  sign   -      1\n",
		},
		{
			name: "queue show, nothing", args: []string{"queue", "show"},
			answers: map[string][]answer{"GET /queue/": ok(`[]`)}, stdout: "everything is done\n",
		},
		{
			name: "build show of a task that waits", args: []string{"build", "show", "7", "12"},
			answers: map[string][]answer{"GET /builds/7/tasks/12/": ok(`{"id":12,"kind":"build","package":"bash","arch":"s390x","state":"queued","platform":{"name":"el9"},
				"why":{"sentence":"1st of 1 in its lane (team:core): no worker offers arch:s390x"}}`)},
			stdout: "task:      12\npackage:   bash\nplatform:  el9\narch:      s390x\nstep:      build\nstate:     queued\nwaits:     1st of 1 in its lane (team:core): no worker offers arch:s390x\n",
		},
		{
			name: "queue why", args: []string{"queue", "why", "12"},
			answers: map[string][]answer{"GET /queue/12/": ok(`{"id":12,"state":"queued","why":{"sentence":"1st of 1 in its lane (team:core): no worker offers arch:s390x"}}`)},
			stdout:  "task 12 is queued: 1st of 1 in its lane (team:core): no worker offers arch:s390x\n",
		},
		{
			name: "queue why of one that runs", args: []string{"queue", "why", "12"},
			answers: map[string][]answer{"GET /queue/12/": ok(`{"id":12,"state":"leased","worker":"node-1","since":"2026-11-22T11:00:00Z","why":null}`)},
			stdout:  "task 12 doesn't wait: it runs on node-1 since 2026-11-22 11:00\n",
		},
		{
			name: "queue why of one that ended", args: []string{"queue", "why", "12"},
			answers: map[string][]answer{"GET /queue/12/": ok(`{"id":12,"state":"failed","reason":"no"}`)},
			stdout:  "task 12 doesn't wait: it is failed: no\n",
		},
		{
			name: "queue why as JSON", args: []string{"queue", "why", "12", "--json"},
			answers: map[string][]answer{"GET /queue/12/": ok(`{"id":12,"unknown":1}`)},
			stdout:  "{\n  \"id\": 12,\n  \"unknown\": 1\n}\n",
		},
		{
			name: "platform index show", args: []string{"platform", "index", "show", "seed"},
			answers: map[string][]answer{"GET /platforms/seed/references/": ok(`[{"place":"BaseOS","arch":"x86_64","url":"https://up.example/os","packages":7,"listed_at":"2026-11-22T10:00:00Z","failure":""}]`)},
			stdout:  "PLACE   ARCH    PACKAGES  LISTED            URL                    WHY\nBaseOS  x86_64  7         2026-11-22 10:00  https://up.example/os  -\n",
		},
		{
			name: "platform index refresh, one away", args: []string{"platform", "index", "refresh", "seed"},
			answers: map[string][]answer{"POST /platforms/seed/references/refresh": ok(`[{"place":"BaseOS","arch":"src","url":"https://up.example/os","packages":0,"listed_at":null,"failure":"away"}]`)},
			stdout:  "PLACE   ARCH  PACKAGES  LISTED  URL                    WHY\nBaseOS  src   0         -       https://up.example/os  away\n",
			code:    1, stderr: "albs: 1 of 1 references could not be read; what they listed before holds\n", saw: []string{"POST /platforms/seed/references/refresh {}"},
		},
		{
			name: "platform index of no references", args: []string{"platform", "index", "show", "seed"},
			answers: map[string][]answer{"GET /platforms/seed/references/": ok(`[]`)},
			stdout:  "the platform has no references: its file names them under references\n",
		},
		{
			name: "gc", args: []string{"gc"},
			answers: map[string][]answer{
				"POST /gc/?dry_run=false": ok(`{"runs":3}`),
				"GET /gc/": {ok(`{"runs":3,"step":"walk blobs","done":7}`)[0], ok(`{"runs":4,"last":{"builds":[7,9],"retired":[{"product":"demo","serials":[1,2],"oldest":3},{"product":"stable","serials":[7],"oldest":9}],"blobs":{"blobs":10,"bytes":100,"marked":1,"waiting":2,
					"waiting_bytes":20,"removed":3,"removed_bytes":30},"logs":{"tasks":2,"bytes":5},"mirrors":1}}`)[0]},
			},
			stdout: "builds deleted:       7 9\nserials given up:     2 of demo, before 3; 1 of stable, before 9\nfiles removed:        3 of 10, 30 of 100 bytes\nfiles that wait:      2, 20 bytes; 1 of them nothing names since now\n" +
				"logs removed:         of 2 tasks, 5 bytes\ngit mirrors removed:  1\n",
			saw: []string{"POST /gc/?dry_run=false {}"},
		},
		{
			name: "gc, dry and as JSON", args: []string{"gc", "--dry-run", "--json"},
			answers: map[string][]answer{"POST /gc/?dry_run=true": ok(`{"runs":0}`), "GET /gc/": ok(`{"runs":1,"last":{"dry_run":true,"unknown":1}}`)},
			stdout:  "{\n  \"dry_run\": true,\n  \"unknown\": 1\n}\n", stderr: "nothing was changed: this is what a collection would do\n",
			saw: []string{"POST /gc/?dry_run=true {}"},
		},
		{
			name: "gc that ends early", args: []string{"gc", "--json"},
			answers: map[string][]answer{"POST /gc/?dry_run=false": ok(`{"runs":0}`), "GET /gc/": ok(`{"runs":1,"last":{"error":"a disk"}}`)},
			code:    1, stdout: "{\n  \"error\": \"a disk\"\n}\n", stderr: "albs: the collection ended early: a disk\n", saw: []string{"POST /gc/?dry_run=false {}"},
		},
		{
			name: "gc while one runs", args: []string{"gc"},
			answers: map[string][]answer{"POST /gc/?dry_run=false": problem(409, "conflict", "a collection runs: wait until it has ended")},
			code:    1, stderr: "albs: a collection runs: wait until it has ended\n", saw: []string{"POST /gc/?dry_run=false {}"},
		},
		{
			name: "ledger check", args: []string{"ledger", "check"},
			answers: map[string][]answer{
				"POST /ledger/check/?from=place": ok(`{"runs":3}`),
				"GET /ledger/check/": {ok(`{"runs":3,"step":"read transactions","done":7,"of":9}`)[0],
					ok(`{"runs":4,"last":{"from":7,"state":{"tx":9},"transactions":9,"statements":4,"records":3,"others":2,"rows":7,"artifacts":3,"pending":1,"wrong":0,"faults":[],"error":""}}`)[0]},
			},
			stdout: "transactions:            9, of which 7 to 9 were read now\nstatements:              4\nrecords of files:        3\nother entries:           2\nrows of the database:    7\nkept files:              3\nwaiting for the ledger:  1\nwrong:                   0\n",
			saw:    []string{"POST /ledger/check/?from=place {}"},
		},
		{
			name: "ledger check that finds something, as JSON", args: []string{"ledger", "check", "--from", "start", "--json"},
			answers: map[string][]answer{"POST /ledger/check/?from=start": ok(`{"runs":0}`), "GET /ledger/check/": ok(`{"runs":1,"last":{"wrong":2}}`)},
			code:    1, stdout: "{\n  \"wrong\": 2\n}\n", stderr: "albs: 2 things are wrong in the ledger: release nothing before a person has looked\n",
			saw: []string{"POST /ledger/check/?from=start {}"},
		},
		{
			name: "ledger check of an export without a trust file", args: []string{"ledger", "check", "x.jsonl"},
			code: 2, stderr: "albs: --trust is missing\nusage: albs ledger check [FILE] [--trust TRUST] [--from start] [--json]\n",
		},
		{
			name: "platform apply", args: []string{"platform", "apply", yaml},
			answers: map[string][]answer{"POST /platforms/": ok(goodPlatform)},
			stdout:  "platform seed is at revision 3\n", saw: []string{"POST /platforms/ name: seed"},
		},
		{
			name: "platform apply refused", args: []string{"platform", "apply", yaml},
			answers: map[string][]answer{"POST /platforms/": problem(400, "invalid", "line 3: key dits is unknown")},
			code:    1, stderr: "albs: " + yaml + ": line 3: key dits is unknown\n", saw: []string{"POST /platforms/ name: seed"},
		},
		{
			name: "platform apply, no file", args: []string{"platform", "apply", filepath.Join(dir, "none")},
			code: 1, stderr: "albs: read " + filepath.Join(dir, "none") + ": no such file or directory; name a YAML file, or - for stdin\n",
		},
		{
			name: "platform list", args: []string{"platform", "list"},
			answers: map[string][]answer{"GET /platforms/": ok("[" + goodPlatform + "]")},
			stdout: "NAME  RELEASE  ARCHES       REVISION  CHANGED           BY\n" +
				"seed  12       x86_64 i686  3         2026-11-22 10:00  user:admin\n",
		},
		{
			name: "platform list, none", args: []string{"platform", "list"},
			answers: map[string][]answer{"GET /platforms/": ok("[]")},
			stdout:  "there are no platforms; make one with: albs platform apply FILE.yaml (configs/platforms/ has some)\n",
		},
		{
			name: "platform show", args: []string{"platform", "show", "seed"},
			answers: map[string][]answer{"GET /platforms/seed/": ok(goodPlatform)},
			stdout: "platform:           seed\nrelease:            12\ndist tag:           .seed\narches:             x86_64 i686\n" +
				"network in builds:  no\nrevision:           3\ndigest:             " + strings.Repeat("a", 64) + "\nchanged:            2026-11-22 10:00\nby:                 user:admin\n\n" +
				"REPOSITORY  ARCH  URL\nbase        all   file:///srv/seed\nx           i686  https://example.org/$arch\n",
		},
		{
			name: "product list", args: []string{"product", "list"},
			answers: map[string][]answer{"GET /products/?pageNumber=1": ok(`{"products":[` + product + `],"total_products":11,"current_page":1}`)},
			stdout: "NAME  TEAM  PLATFORMS  REVISION  CHANGED           TITLE\n" +
				"demo  demo  seed       1         2026-11-22 10:00  Three packages\n",
			stderr: "1 of 11; more: albs product list --page 2\n",
		},
		{
			name: "product show", args: []string{"product", "show", "demo"},
			answers: map[string][]answer{"GET /products/demo/": ok(product)},
			stdout: "product:    demo\ntitle:      Three packages\nteam:       demo\nplatforms:  seed\nkey:        demo\ntests:      required\n" +
				"approvals:  1, not of who plans\nclosure:    advisory\nsources:    any\nretention:  the newest 10 serials and those shown within 90 days, the packages that these name\nrevision:   1\nchanged:    2026-11-22 10:00\nby:         user:admin\n\n" +
				"REPOSITORY           PLATFORM  ARCH    KIND\nseed/main/x86_64/os  seed      x86_64  rpm\n",
		},
		{
			name: "forbidden", args: []string{"user", "add", "x"},
			answers: map[string][]answer{"POST /users/": problem(403, "forbidden", "bob may not: ask an admin for the role admin")},
			code:    1, stderr: "albs: bob may not: ask an admin for the role admin\n", saw: []string{`POST /users/ {"username":"x"}`},
		},
		{
			name: "token refused", args: []string{"user", "list"},
			answers: map[string][]answer{"GET /users/": problem(401, "unauthenticated", "the token has expired")},
			code:    1, stderr: "albs: the server doesn't take the token (the token has expired); an admin makes a new one with \"albs token create --user NAME\"\n",
		},
		{
			name: "terminal sequences in names are dropped", args: []string{"user", "list"},
			answers: map[string][]answer{"GET /users/": ok(`[{"id":1,"username":"a\u001b[2Jb\u202ec","is_active":true,"created_at":"2026-11-20T10:00:00Z"}]`)},
			stdout:  "NAME    ROLES  SINCE             STATE\na[2Jbc  -      2026-11-20 10:00  active\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t, tc.answers)
			got := command(t, url, tc.args...)
			if d := cmp.Diff(result{tc.code, tc.stdout, tc.stderr}, got, cmp.AllowUnexported(result{})); d != "" {
				t.Errorf("(-want +got):\n%s", d)
			}
			if d := cmp.Diff(tc.saw, f.seen()); d != "" {
				t.Errorf("requests (-want +got):\n%s", d)
			}
			for _, tok := range f.given() {
				if tok != "Bearer albs_test" {
					t.Errorf("Authorization %q", tok)
				}
			}
		})
	}
}

// TestServer wants messages that help whoever reaches no server, or comes without
// a token.
func TestServer(t *testing.T) {
	t.Parallel()
	srv := httptest.NewServer(nil)
	srv.Close()
	got := commandWith(t, t.Context(), map[string]string{"ALBS_URL": srv.URL}, "", "token", "revoke", "1")
	if got.code != 1 || !strings.HasPrefix(got.stderr, "albs: no server answers at "+srv.URL+" (") || !strings.HasSuffix(got.stderr, "; start one with \"albs serve\", or set ALBS_URL to its address\n") {
		t.Errorf("with a server that is away: %+v", got)
	}
	_, url := newFake(t, map[string][]answer{"DELETE /tokens/1/": problem(401, "unauthenticated", "no token")})
	got = commandWith(t, t.Context(), map[string]string{"ALBS_URL": url}, "", "token", "revoke", "1")
	if got.code != 1 || !strings.HasPrefix(got.stderr, "albs: the server wants to know who you are: set ALBS_TOKEN, or write a token to ~/.config/albs/token") {
		t.Errorf("without a token: %+v", got)
	}
	got = commandWith(t, t.Context(), map[string]string{"ALBS_URL": "example.org"}, "", "token", "revoke", "1")
	if got.code != 1 || !strings.Contains(got.stderr, "ALBS_URL and ALBS_TOKEN say where to go") {
		t.Errorf("with a malformed ALBS_URL: %+v", got)
	}
}

func TestTokenFile(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name string
		mode os.FileMode
		env  string
		want string // Authorization
		err  string
	}{
		{"of its owner alone", 0o600, "", "Bearer albs_file", ""},
		{"environment first", 0o600, "albs_env", "Bearer albs_env", ""},
		{"others may read it", 0o644, "", "", "albs: others may read the token in "},
		{"there is none", 0, "", "", ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			home := t.TempDir()
			file := filepath.Join(home, ".config", "albs", "token")
			if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
				t.Fatal(err)
			}
			if tc.mode != 0 {
				if err := os.WriteFile(file, []byte("albs_file\n"), tc.mode); err != nil {
					t.Fatal(err)
				}
			}
			f, url := newFake(t, map[string][]answer{"GET /platforms/": ok("[]")})
			got := commandWith(t, t.Context(), map[string]string{"ALBS_URL": url, "HOME": home, "ALBS_TOKEN": tc.env}, "", "platform", "list")
			if tc.err != "" {
				if got.code != 1 || !strings.HasPrefix(got.stderr, tc.err) || len(f.given()) != 0 {
					t.Errorf("got %+v after %d requests, want %q and none", got, len(f.given()), tc.err)
				}
				return
			}
			if got.code != 0 || len(f.given()) != 1 || f.given()[0] != tc.want {
				t.Errorf("got %+v with %q, want 0 with %q", got, f.given(), tc.want)
			}
		})
	}
}
