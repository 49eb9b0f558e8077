package api

import (
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"testing"

	"albs/internal/master/notice"
)

// TestNotices makes subscriptions, has a test sent that nobody takes, and ends them.
func TestNotices(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	const path = "/api/v1/notices/"
	hook := `{"team":"core","channel":"webhook","target":"` + f.mirror + `/hook","note":"n","filter":{"kinds":["errata.released","build.failed"],"severity":"important"}}`
	var made, other noticeView
	a := do(t, f.request(t, "maintainer", post, path, hook))
	a.into(t, &made)
	if a.StatusCode != http.StatusCreated || !strings.HasPrefix(made.Key, "whsec_") || made.Team != "core" || !made.Active || made.Revision != 1 || made.CreatedBy != "user:maintainer" {
		t.Fatalf("made: %d %s", a.StatusCode, a.body)
	}
	a = do(t, f.request(t, "operator", post, path, `{"channel":"mail","target":"olga@example.org","filter":{"kinds":["release.published"]}}`))
	a.into(t, &other)
	if a.StatusCode != http.StatusCreated || other.Key != "" {
		t.Fatalf("made: %d %s", a.StatusCode, a.body)
	}
	for _, tc := range []struct {
		who, method, path, body string
		want                    int
		says                    string
	}{
		{"maintainer", post, path, `{"channel":"mail","target":"olga@example.org","filter":{"kinds":["release.published"]}}`, 403, "notice.manage"},
		{"contributor", get, path, "", 403, "notice.manage"},
		{"operator", post, path, strings.Replace(hook, "errata.released", "errata.edited", 1), 422, "kinds"},
		{"operator", post, path, strings.Replace(hook, "core", "none", 1), 404, "no team"},
		{"operator", post, path, strings.Replace(hook, f.mirror, "http://10.0.0.1", 1), 403, "egress.allow"},
		{"operator", post, path, strings.Replace(hook, f.mirror, "ftp://x.example", 1), 400, "https://"},
		{"operator", post, path, `{"channel":"pager","target":"x","filter":{"kinds":["build.failed"]}}`, 422, "channel"},
		{"operator", post, path, `{"channel":"mail","target":"Olga <olga@example.org>","filter":{"kinds":["build.failed"]}}`, 400, "no mail address"},
		{"maintainer", get, path, "", 200, `"id":1`},
		{"maintainer", get, path + "2/", "", 404, "no subscription"},
		{"operator", get, path + "2/", "", 200, "olga@example.org"},
		{"maintainer", patch, path + "1/", `{"revision":9,"note":"x"}`, 409, "revision"},
		{"maintainer", patch, path + "1/", `{"revision":1,"note":"x","filter":{"kinds":["build.failed"]}}`, 200, `"kinds":["build.failed"]`},
		{"maintainer", post, path + "1/test/", "{}", 201, `"state":"waiting"`},
		{"maintainer", get, path + "1/deliveries/", "", 200, "asked for by user:maintainer"},
		{"maintainer", get, path + "1/deliveries/?before=1", "", 200, "[]"},
		{"maintainer", post, "/api/v1/notice-deliveries/1/retry/", "{}", 409, "isn't dead"},
		{"maintainer", patch, path + "1/", `{"active":false}`, 200, `"stopped":"stopped by user:maintainer"`},
		{"maintainer", post, path + "1/test/", "{}", 409, "nothing is sent"},
		{"maintainer", get, path + "1/deliveries/", "", 200, `"state":"dead"`},
		{"maintainer", patch, path + "1/", `{"active":true}`, 200, `"active":true`},
		{"maintainer", post, "/api/v1/notice-deliveries/1/retry/", "{}", 200, `"state":"waiting"`},
		{"maintainer", remove, path + "2/", "", 404, "no subscription"},
		{"maintainer", remove, path + "1/", "", 204, ""},
		{"maintainer", get, path + "1/", "", 404, "no subscription"},
	} {
		var body any
		if tc.body != "" {
			body = tc.body
		}
		a := do(t, f.request(t, tc.who, tc.method, tc.path, body))
		if a.StatusCode != tc.want || !strings.Contains(string(a.body), tc.says) {
			t.Errorf("%s by %s with %s = %d %s, want %d and %q", tc.path, tc.who, tc.body, a.StatusCode, a.body, tc.want, tc.says)
		}
		if strings.Contains(string(a.body), made.Key) {
			t.Errorf("%s by %s shows the key again", tc.path, tc.who)
		}
	}
	// The document lists the kinds that there are.
	doc, _ := f.document(t)
	var listed []string
	for _, k := range notice.Kinds() {
		listed = append(listed, string(k))
	}
	schema, err := json.Marshal(doc.Components.Schemas["NoticeFilter"])
	if err != nil {
		t.Fatal(err)
	}
	if raw := string(schema); raw == "" || slices.ContainsFunc(listed, func(k string) bool { return !strings.Contains(raw, `"`+k+`"`) }) ||
		strings.Count(raw, "errata.")+strings.Count(raw, "release.")+strings.Count(raw, "build.") != len(listed) {
		t.Errorf("the document has the kinds %s, there are %v", raw, listed)
	}
}
