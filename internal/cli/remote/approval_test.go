package remote

import (
	"bytes"
	"crypto/ed25519"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
)

// TestApprove: what is signed is the sha256 of what was shown, and nothing is signed that
// can't be shown, or that isn't what the server says.
func TestApprove(t *testing.T) {
	t.Parallel()
	private := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
	public := private.Public().(ed25519.PublicKey)
	block, err := ssh.MarshalPrivateKey(private, "alice")
	if err != nil {
		t.Fatal(err)
	}
	key := filepath.Join(t.TempDir(), "id")
	if err := os.WriteFile(key, pem.EncodeToMemory(block), 0o600); err != nil {
		t.Fatal(err)
	}
	sum := albs.DigestOf([]byte("x"))
	plan := effect.Effects{
		Product: "demo", Key: "KEY", Expires: now.Add(time.Hour),
		Repositories: []effect.Repository{{
			Path: "demo/os", Metadata: "zstd",
			Changes: []effect.Package{{File: "bash-1.rpm", Digest: sum, Tests: "passed"}, {File: "zsh-1.rpm", Digest: sum, Removed: true}},
			Records: []effect.Record{{Action: "add", Type: "group", Name: "comps.xml", Digest: sum}},
		}},
		Items:   []effect.Item{{Part: "errata", Name: "ALSA-2026:1/el9", Version: 2, Digest: sum, Withdraws: true, Force: "b is late", Missing: []string{"b-1-1.noarch"}}},
		Tree:    []effect.Tree{{Action: "add", Path: "errata/el9/osv/ALSA-2026-1.json", Digest: sum, Signed: true}},
		Dropped: []string{"demo/old"}, Decisions: []effect.Decision{{Action: "move", Package: "bash", To: "devel", Reason: "because"}},
	}
	over := plan
	over.Expires = now
	text := []byte("sums\n")
	file := effect.Effects{Product: "demo", Key: "KEY", Expires: now.Add(time.Hour), Files: []effect.File{{Name: "SHA256SUMS", Digest: albs.DigestOf(text)}}, Clear: true}
	state := func(d albs.Digest) []answer {
		return ok(fmt.Sprintf(`{"digest":%q,"approvals":[],"approvals_needed":2}`, d))
	}
	const done = `{"approvals":[{"username":"alice","signed":true}],"approvals_needed":2}`
	hidden := bytes.Replace(plan.Encode(), []byte(`{"product"`), []byte(`{"more":1,"product"`), 1)
	for _, tc := range []struct {
		name    string
		args    []string
		stdin   string
		path    string
		effects []byte
		says    albs.Digest
		content string
		code    int
		shows   []string // on stdout or stderr
		signed  string   // the subject of what was sent; "" if nothing was
	}{
		{"a release", []string{"3"}, "yes\n", "/releases/3/", plan.Encode(), plan.Digest(), "", 0, []string{
			"bash-1.rpm", "zsh-1.rpm", "remove", "comps.xml", "demo/old", "the repository goes", "compressed as zstd", "because", string(plan.Digest()), "ALSA-2026:1/el9", "b is late", "b-1-1.noarch", "errata/el9/osv/ALSA-2026-1.json",
			"release:3 is approved by alice", "it has 1 of 2 approvals",
		}, "release:3"},
		{"a release, by its whole name", []string{"release:3", "--yes"}, "", "/releases/3/", plan.Encode(), plan.Digest(), "", 0, nil, "release:3"},
		{"a request", []string{"sign:8", "--yes", "--note", "looks good"}, "", "/sign-tasks/8/", plan.Encode(), plan.Digest(), "", 0, nil, "sign:8"},
		{"a file", []string{"file:9", "--yes"}, "", "/sign-files/9/", file.Encode(), file.Digest(), string(text), 0, []string{"SHA256SUMS", "| sums", "clear-signed copies"}, "file:9"},
		{"a file that is another", []string{"file:9", "--yes"}, "", "/sign-files/9/", file.Encode(), file.Digest(), "evil\n", 1, []string{"another file"}, ""},
		{"who says no", []string{"3"}, "no\n", "/releases/3/", plan.Encode(), plan.Digest(), "", 1, []string{"nothing is approved"}, ""},
		{"nobody there", []string{"3"}, "", "/releases/3/", plan.Encode(), plan.Digest(), "", 1, []string{"nobody said yes"}, ""},
		{"a server that shows something else", []string{"3", "--yes"}, "", "/releases/3/", plan.Encode(), sum, "", 1, []string{"look at it again"}, ""},
		{"what can't be shown", []string{"3", "--yes"}, "", "/releases/3/", hidden, albs.DigestOf(hidden), "", 1, []string{"can't be shown as a whole"}, ""},
		{"what is over", []string{"3", "--yes"}, "", "/releases/3/", over.Encode(), over.Digest(), "", 1, []string{"was over"}, ""},
		{"JSON unseen", []string{"3", "--json"}, "", "/releases/3/", plan.Encode(), plan.Digest(), "", 2, []string{"give --yes"}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			f, url := newFake(t, map[string][]answer{
				"GET /whoami": ok(alice), "GET " + tc.path: state(tc.says), "GET " + tc.path + "effects/": {{body: string(tc.effects)}},
				"GET " + tc.path + "content":   {{media: "application/octet-stream", body: tc.content}},
				"POST " + tc.path + "approve/": ok(done),
			})
			env := map[string]string{"ALBS_URL": url, "ALBS_TOKEN": "albs_test"}
			got := commandWith(t, t.Context(), env, tc.stdin, append([]string{"approve", "--key", key}, tc.args...)...)
			if got.code != tc.code {
				t.Errorf("the command ended with %d: %s%s", got.code, got.stdout, got.stderr)
			}
			for _, s := range tc.shows {
				if !strings.Contains(got.stdout+got.stderr, s) {
					t.Errorf("it doesn't say %q:\n%s%s", s, got.stdout, got.stderr)
				}
			}
			if (len(f.seen()) > 0) != (tc.signed != "") {
				t.Fatalf("the server saw %q", f.seen())
			}
			if tc.signed == "" {
				return
			}
			var sent struct{ Digest, Envelope string }
			if err := json.Unmarshal([]byte(strings.TrimPrefix(f.seen()[0], "POST "+tc.path+"approve/ ")), &sent); err != nil {
				t.Fatalf("the server saw %q: %v", f.seen(), err)
			}
			e, err := attest.ParseEnvelope([]byte(sent.Envelope))
			if err != nil {
				t.Fatal(err)
			}
			subject, body, err := attest.OpenApproval(e, albs.DigestOf(tc.effects), public)
			if err != nil || subject != tc.signed || body.Person != "alice" || !body.At.Equal(now) || sent.Digest != string(tc.says) {
				t.Errorf("what was sent approves %s by %+v, %v", subject, body, err)
			}
		})
	}
}

func TestUserKey(t *testing.T) {
	t.Parallel()
	const line = "ssh-ed25519 AAAA alice@laptop"
	const key = `{"id":4,"user_id":2,"keyid":"ab","fingerprint":"SHA256:xyz","public":"` + line + `","created_at":"2026-11-22T10:00:00Z","removed_at":null}`
	f, url := newFake(t, map[string][]answer{
		"GET /whoami": ok(alice), "GET /users/": ok(users), "POST /users/2/keys/": {{status: 201, body: key}},
		"GET /users/2/keys/": ok("[" + key + "]"), "DELETE /user-keys/4/": {{status: 204}},
	})
	path := filepath.Join(t.TempDir(), "id.pub")
	if err := os.WriteFile(path, []byte(line+"\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct {
		args   []string
		stdout string
	}{
		{[]string{"add", path}, "key 4, SHA256:xyz, is registered\n"},
		{[]string{"add", path, "--user", "alice"}, "key 4, SHA256:xyz, is registered\n"},
		{[]string{"list"}, "KEY  FINGERPRINT  SINCE             STATE\n4    SHA256:xyz   2026-11-22 10:00  in use\n"},
		{[]string{"remove", "4"}, "key 4 approves nothing any more\n"},
	} {
		if got := command(t, url, append([]string{"user", "key"}, tc.args...)...); got != (result{0, tc.stdout, ""}) {
			t.Errorf("user key %q = %+v", tc.args, got)
		}
	}
	if len(f.seen()) != 3 || f.seen()[0] != `POST /users/2/keys/ {"public":"`+line+`\n"}` {
		t.Errorf("the server saw %q", f.seen())
	}
}

// TestSignFileCommand has a file signed that first waits.
func TestSignFileCommand(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	path, out := filepath.Join(dir, "SHA256SUMS"), filepath.Join(dir, "SHA256SUMS.asc")
	if err := os.WriteFile(path, []byte("sums\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	doc := func(state, reason string, signed bool) string {
		return fmt.Sprintf(`{"task_id":9,"state":%q,"reason":%q,"name":"SHA256SUMS","key":"KEY","product":"demo","sign_type":"detach-sign","signed":%t,"created_at":"2026-11-22T10:00:00Z","approvals":[],"approvals_needed":1}`, state, reason, signed)
	}
	answers := map[string][]answer{
		"POST /sign-files/?keyid=demo&name=SHA256SUMS":                      {{status: 201, body: doc("queued", "", false)}},
		"POST /sign-files/?keyid=demo&name=SHA256SUMS&sign_type=clear-sign": {{status: 201, body: doc("queued", "", false)}},
		"GET /sign-files/9/":                ok(doc("queued", "it waits for approval", false), doc("succeeded", "", true)),
		"GET /sign-files/9/signature":       {{media: "text/plain", body: "signature\n"}},
		"GET /sign-files/?":                 ok("[" + doc("failed", "refused", false) + "]"),
		"GET /products/demo/sign-allowed/":  ok(`[]`),
		"POST /products/demo/sign-allowed/": {{status: 201, body: `[]`}},
		"DELETE /products/demo/sign-allowed/" + string(albs.DigestOf([]byte("sums\n"))) + "/": ok(`[]`),
	}
	_, url := newFake(t, answers)
	if got := command(t, url, "sign", "file", path, "--key", "demo", "--output", out); got.code != 0 || got.stdout != "SHA256SUMS is signed with key KEY: "+out+"\n" {
		t.Errorf("sign file = %+v", got)
	}
	if b, err := os.ReadFile(out); err != nil || string(b) != "signature\n" {
		t.Errorf("the signature is %q, %v", b, err)
	}
	if got := command(t, url, "sign", "file", path, "--key", "demo", "--clear", "--output", "-"); got.code != 0 || got.stdout != "signature\n" {
		t.Errorf("sign file to stdout = %+v", got)
	}
	if got := command(t, url, "sign", "list"); got.code != 0 || !strings.Contains(got.stdout, "0 of 1") || !strings.Contains(got.stdout, "refused") {
		t.Errorf("sign list = %+v", got)
	}
	if got := command(t, url, "sign", "allow", path, "--product", "demo"); got.code != 0 || !strings.Contains(got.stdout, string(albs.DigestOf([]byte("sums\n")))) {
		t.Errorf("sign allow = %+v", got)
	}
	if got := command(t, url, "sign", "allowed", "--product", "demo"); got.code != 0 || got.stdout != "nothing is on the list\n" {
		t.Errorf("sign allowed = %+v", got)
	}
	if got := command(t, url, "sign", "disallow", string(albs.DigestOf([]byte("sums\n"))), "--product", "demo"); got.code != 0 {
		t.Errorf("sign disallow = %+v", got)
	}
	_, url = newFake(t, map[string][]answer{
		"POST /sign-files/?keyid=demo&name=SHA256SUMS": {{status: 201, body: doc("queued", "", false)}}, "GET /sign-files/9/": ok(doc("failed", "the signer refused", false)),
	})
	if got := command(t, url, "sign", "file", path, "--key", "demo", "--output", out); got.code != 1 || got.stderr != "albs: SHA256SUMS was not signed: the signer refused\n" {
		t.Errorf("sign file that fails = %+v", got)
	}
}
