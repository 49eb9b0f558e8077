package remote

import (
	"net/url"
	"slices"
	"strings"
	"testing"
)

// TestSource runs the commands about notarized commits: what they ask, print and end with.
func TestSource(t *testing.T) {
	t.Parallel()
	const repository, commit = "https://git.example/hello.git", "0123456789abcdef0123456789abcdef01234567"
	of := "repository=" + url.QueryEscape(repository)
	task := func(state, reason string) string {
		return `{"task_id":9,"state":"` + state + `","reason":"` + reason + `","progress":"3 commits and 1 refs are stated","refs":[{"name":"refs/heads/a9","commit":"` + commit + `"}]}`
	}
	row := `{"id":5,"repository":"` + repository + `","commit":"` + commit + `","sha256":"` + strings.Repeat("a", 64) + `","ref":"refs/heads/a9","author":"A <a@b>","title":"fix","notarized_at":"2026-11-22T10:00:00Z","standing":"verified"`
	for _, tc := range []struct {
		name    string
		args    []string
		answers map[string][]answer
		code    int
		stdout  []string // parts
		stderr  string   // likewise
		saw     []string
	}{
		{name: "notarize", args: []string{"notarize", repository, "a9", "--without-upstream"},
			answers: map[string][]answer{"POST /sources/notarize/": {{status: 202, body: task("queued", "")}}},
			stdout:  []string{"task 9 notarizes 1 refs"},
			saw:     []string{`POST /sources/notarize/ {"repository":"` + repository + `","refs":["a9"],"without_upstream":true}`}},
		{name: "notarize all and wait", args: []string{"notarize", repository, "--all", "--wait"},
			answers: map[string][]answer{"POST /sources/notarize/": {{status: 202, body: task("queued", "")}}, "GET /sources/notarize/9/": ok(task("leased", ""), task("succeeded", ""))},
			stdout:  []string{"1 refs are notarized: 3 commits and 1 refs are stated"},
			saw:     []string{`POST /sources/notarize/ {"repository":"` + repository + `","all":true}`}},
		{name: "notarize in vain", args: []string{"notarize", repository, "a9", "--wait"},
			answers: map[string][]answer{"POST /sources/notarize/": {{status: 202, body: task("queued", "")}}, "GET /sources/notarize/9/": ok(task("failed", "its upstream isn't there"))},
			code:    1, stderr: "task 9 is failed: its upstream isn't there",
			saw: []string{`POST /sources/notarize/ {"repository":"` + repository + `","refs":["a9"]}`}},
		{name: "notarize nothing", args: []string{"notarize", repository}, code: 2, stderr: "name branches or tags, or say --all"},
		{name: "notarize some and all", args: []string{"notarize", repository, "a9", "--all"}, code: 2, stderr: "and not both"},
		{name: "list", args: []string{"list"}, answers: map[string][]answer{"GET /sources/?": ok(`[{"url":"` + repository + `","commits":3,"last_notarized_at":"2026-11-22T10:00:00Z"}]`)},
			stdout: []string{"REPOSITORY", repository + "  3        2026-11-22 10:00"}},
		{name: "list commits", args: []string{"list", repository, "--before", "6"}, answers: map[string][]answer{"GET /sources/commits/?before=6&" + of: ok("[" + row + "}]")},
			stdout: []string{"STANDING", "5   " + commit + "  verified", "refs/heads/a9  A <a@b>  fix"}},
		{name: "list refs", args: []string{"list", repository, "--refs"}, answers: map[string][]answer{"GET /sources/refs/?" + of: ok(`[{"id":2,"ref":"refs/heads/a9","commit":"` + commit + `","previous":"` + strings.Repeat("b", 40) + `","rewritten":true,"actor":"alice","at":"2026-11-22T10:00:00Z"}]`)},
			stdout: []string{"REWRITTEN", "alice"}},
		{name: "list refs of nothing", args: []string{"list", "--refs"}, code: 2, stderr: "go with a URL"},
		{name: "show", args: []string{"show", repository, commit}, answers: map[string][]answer{"GET /sources/commits/" + commit + "/?" + of: ok(row + `,"statements":[{"n":1,"at":"2026-11-22T10:00:00Z","standing":"verified","receipt":{"tx":7},
			"statement":{"predicate":{"repository":"git+` + repository + `","ref":"refs/heads/a9","requester":"alice","previous":"` + strings.Repeat("b", 40) + `","rewritten":true,"upstream":{"ref":"refs/tags/imports/c9/x","commit":"` + strings.Repeat("c", 40) + `"},"record":"` + strings.Repeat("d", 64) + `"}}}]}`)},
			stdout: []string{"standing:", "verified, at refs/heads/a9 of git+" + repository + ", asked for by alice, tx 7", "refs/tags/imports/c9/x " + strings.Repeat("c", 40), "rewritten: the ref named bbbb", strings.Repeat("d", 64)}},
		{name: "show what isn't", args: []string{"show", repository, commit}, code: 1, stderr: "albs source list URL tells which are notarized"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t, tc.answers)
			got := command(t, url, append([]string{"source"}, tc.args...)...)
			if got.code != tc.code || !strings.Contains(got.stderr, tc.stderr) {
				t.Errorf("it ended with %d, want %d, and %q in: %s", got.code, tc.code, tc.stderr, got.stderr)
			}
			for _, part := range tc.stdout {
				if !strings.Contains(got.stdout, part) {
					t.Errorf("%q isn't in:\n%s", part, got.stdout)
				}
			}
			if saw := f.seen(); !slices.Equal(saw, tc.saw) {
				t.Errorf("requests %q, want %q", saw, tc.saw)
			}
		})
	}
}
