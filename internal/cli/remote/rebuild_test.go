package remote

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// TestRebuildCommands: what the commands ask, print and end with, whatever the verdict.
func TestRebuildCommands(t *testing.T) {
	t.Parallel()
	d := strings.Repeat("ab", 32)
	rebuild := func(more, packages string) string {
		return `{"id":3,"build_id":7,"of_task_id":12,"of_attempt":1,"platform":"el9","arch":"x86_64","task_id":20,"built_on":"east",` + more +
			`"requester":"alice","created_at":"2026-11-22T11:00:00Z","logs":"","artifacts":[],"packages":[` + packages + `]}`
	}
	queued := rebuild(`"state":"queued","same_node":false,"ended_at":null,"why":{"sentence":"1st of 1 in its lane"},`, `{"name":"a.rpm","sha256":"`+d+`","differing":[],"ignored":[]}`)
	ended := func(node, verdict, reason, packages string) string {
		same := map[bool]string{true: "true", false: "false"}[node == "east"]
		return rebuild(`"state":"succeeded","node":"`+node+`","same_node":`+same+`,"ended_at":"2026-11-22T11:05:00Z","verdict":"`+verdict+`","reason":"`+reason+`",`, packages)
	}
	facts := func(pairs ...string) string {
		pairs = append([]string{"rebuild", "3", "build", "7", "of task", "12", "by task", "20", "platform", "el9 x86_64", "built on", "east"}, pairs...)
		var out strings.Builder
		width := len("platform: ")
		if slices.Contains(pairs, "rebuilt on") {
			width = len("rebuilt on: ")
		}
		for i := 0; i < len(pairs); i += 2 {
			fmt.Fprintf(&out, "%-*s %s\n", width, pairs[i]+":", pairs[i+1])
		}
		return out.String()
	}
	same := ended("west", "payload-identical", "", `{"name":"a.rpm","sha256":"`+d+`","verdict":"payload-identical","differing":[],"ignored":["BUILDHOST","COOKIE"]}`)
	differs := ended("east", "differs", "a.rpm: file /a: content", `{"name":"a.rpm","sha256":"`+d+`","verdict":"differs","differing":["file /a: content","tag POSTIN"],"ignored":[]}`)
	inputs := ended("west", "inputs-differ", "gcc-2 where it was gcc-1", `{"name":"a.rpm","sha256":"`+d+`","verdict":"inputs-differ","differing":["gcc-2 where it was gcc-1"],"ignored":[]}`)
	create, show := "POST /rebuilds/", "GET /rebuilds/3/"
	sameTable := "PACKAGE  VERDICT            WHAT DIFFERS\na.rpm    payload-identical  only BUILDHOST COOKIE\n"
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
			name: "queued", args: []string{"rebuild", "a-1-1.x86_64", "--not-node", "east"}, answers: map[string][]answer{create: ok(queued)},
			stdout: "rebuild 3 of task 12 is queued: albs rebuild show 3\n", saw: []string{`POST /rebuilds/ {"of":"a-1-1.x86_64","not_node":"east"}`},
		},
		{
			name: "the same payload", args: []string{"rebuild", d, "--node", "west", "--wait"}, answers: map[string][]answer{create: ok(queued), show: ok(same)},
			stdout: facts("rebuilt on", "west", "state", "succeeded", "verdict", "payload-identical") + sameTable, saw: []string{`POST /rebuilds/ {"of":"` + d + `","node":"west"}`},
		},
		{
			name: "as JSON", args: []string{"rebuild", d, "--wait", "--json"}, answers: map[string][]answer{create: ok(queued), show: ok(same)},
			stdout: indented(same), saw: []string{`POST /rebuilds/ {"of":"` + d + `"}`},
		},
		{
			name: "differs", args: []string{"rebuild", d, "--wait"}, answers: map[string][]answer{create: ok(queued), show: ok(differs)}, code: 1,
			stdout: facts("rebuilt on", "east (the same node)", "state", "succeeded", "verdict", "differs", "reason", "a.rpm: file /a: content") +
				"PACKAGE  VERDICT  WHAT DIFFERS\na.rpm    differs  file /a: content\n-        -        tag POSTIN\n",
			stderr: "albs: rebuild 3 differs: a.rpm: file /a: content\n", saw: []string{`POST /rebuilds/ {"of":"` + d + `"}`},
		},
		{
			name: "inputs differ", args: []string{"rebuild", d, "--wait", "--json"}, answers: map[string][]answer{create: ok(queued), show: ok(inputs)}, code: 1,
			stdout: indented(inputs), stderr: "albs: rebuild 3 tells nothing, for its inputs differ: gcc-2 where it was gcc-1\n", saw: []string{`POST /rebuilds/ {"of":"` + d + `"}`},
		},
		{
			name: "no verdict", args: []string{"rebuild", d, "--wait"}, code: 1, answers: map[string][]answer{create: ok(queued), show: ok(ended("", "", "cancelled by alice", ""))},
			stdout: facts("state", "succeeded", "reason", "cancelled by alice") + "it is about no package\n", stderr: "albs: rebuild 3 came to nothing: cancelled by alice\n",
			saw: []string{`POST /rebuilds/ {"of":"` + d + `"}`},
		},
		{name: "two nodes", args: []string{"rebuild", d, "--node", "a", "--not-node", "b"}, code: 2, stderr: "albs: --node and --not-node: give one of them\nusage: albs rebuild FILE|SHA256|NEVRA [--node NODE|--not-node NODE] [--wait] [--json]\n"},
		{
			name: "show", args: []string{"rebuild", "show", "3"}, answers: map[string][]answer{show: ok(queued)},
			stdout: facts("state", "queued", "waits", "1st of 1 in its lane") + "PACKAGE  VERDICT  WHAT DIFFERS\na.rpm    -        -\n",
		},
		{
			name: "cancel", args: []string{"rebuild", "cancel", "3"}, answers: map[string][]answer{"PATCH /rebuilds/3/cancel": ok(queued)},
			stdout: "rebuild 3 is cancelled\n", saw: []string{"PATCH /rebuilds/3/cancel {}"},
		},
		{
			name: "list", args: []string{"rebuild", "list", "--of", d, "--build", "7", "--before", "9"},
			answers: map[string][]answer{"GET /rebuilds/?before=9&build=7&sha256=" + d: ok(`{"rebuilds":[` + differs + `],"next":3}`)},
			stdout:  "ID  BUILD  OF TASK  ARCH    BUILT ON  REBUILT ON  STATE      VERDICT  TIME\n3   7      12       x86_64  east      east        succeeded  differs  2026-11-22 11:00\n",
			stderr:  "more: albs rebuild list --before 3\n",
		},
		{
			name: "list nothing", args: []string{"rebuild", "list"}, answers: map[string][]answer{"GET /rebuilds/": ok(`{"rebuilds":[]}`)}, stdout: "nothing was built again\n",
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			f, url := newFake(t, tc.answers)
			if diff := cmp.Diff(result{tc.code, tc.stdout, tc.stderr}, command(t, url, tc.args...), cmp.AllowUnexported(result{})); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(tc.saw, f.saw); diff != "" {
				t.Errorf("requests (-want +got):\n%s", diff)
			}
		})
	}
}

// indented is an answer as --json prints it.
func indented(answer string) string {
	var b bytes.Buffer
	if err := json.Indent(&b, []byte(answer), "", "  "); err != nil {
		panic(err)
	}
	return b.String() + "\n"
}
