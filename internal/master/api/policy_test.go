package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/master/api/rest"
	"albs/internal/master/auth"
)

// document is what the tests read of the OpenAPI document.
type document struct {
	OpenAPI string `json:"openapi"`
	Paths   map[string]map[string]struct {
		ID         string                `json:"operationId"`
		Policy     string                `json:"x-albs-policy"`
		Security   []map[string][]string `json:"security"`
		Parameters []struct{ Name, In string }
		Responses  map[string]any `json:"responses"`
	} `json:"paths"`
	Components struct {
		Schemas map[string]any `json:"schemas"`
	} `json:"components"`
}

func (f *fixture) document(t *testing.T) (document, []byte) {
	t.Helper()
	var d document
	a := f.call(t, "anon", get, rest.DocumentPath, nil, http.StatusOK)
	a.into(t, &d)
	return d, a.body
}

// TestRoutes holds the table of policies and the OpenAPI document against each other;
// that the router has the same is rest's, and its test's.
func TestRoutes(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	var tabled, documented []string
	needs := make(map[string]auth.Verb)
	for _, p := range policies {
		tabled = append(tabled, p.Key())
		needs[p.Key()] = p.Need
		if p.Need == rest.Open && p.Method != get {
			t.Errorf("%s changes something and is open", p.Key())
		}
	}
	doc, _ := f.document(t)
	for path, ops := range doc.Paths {
		for method, op := range ops {
			key := strings.ToUpper(method) + " " + path
			documented = append(documented, key)
			need := needs[key]
			if want := map[bool]string{true: "", false: string(need)}[need == rest.Open]; op.Policy != want || (len(op.Security) > 0) != (want != "") {
				t.Errorf("%s is documented with policy %q and security %v, want %q", key, op.Policy, op.Security, want)
			}
		}
	}
	slices.Sort(tabled)
	slices.Sort(documented)
	if diff := cmp.Diff(tabled, documented); diff != "" {
		t.Errorf("policies and document differ:\n%s", diff)
	}
}

func TestDocument(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{Version: "1.2"})
	doc, raw := f.document(t)
	if doc.OpenAPI != "3.1.0" {
		t.Errorf("openapi = %q", doc.OpenAPI)
	}
	ids := map[string]string{}
	for path, ops := range doc.Paths {
		for method, op := range ops {
			key := method + " " + path
			if other, taken := ids[op.ID]; taken || op.ID == "" {
				t.Errorf("%s and %s have operationId %q", key, other, op.ID)
			}
			ids[op.ID] = key
			var declared []string
			for _, p := range op.Parameters {
				if p.In == "path" {
					declared = append(declared, p.Name)
				}
			}
			var named []string
			for _, m := range parameter.FindAllStringSubmatch(path, -1) {
				named = append(named, m[1])
			}
			slices.Sort(declared)
			slices.Sort(named)
			if diff := cmp.Diff(named, declared); diff != "" {
				t.Errorf("%s: parameters of the path and the document differ: %s", key, diff)
			}
			if op.Responses["default"] == nil || len(op.Responses) < 2 {
				t.Errorf("%s has responses %v", key, op.Responses)
			}
		}
	}
	// Every reference leads to something.
	var all any
	if err := json.Unmarshal(raw, &all); err != nil {
		t.Fatal(err)
	}
	var walk func(v any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if ref, ok := v["$ref"].(string); ok {
				if name, ok := strings.CutPrefix(ref, "#/components/schemas/"); !ok || doc.Components.Schemas[name] == nil {
					t.Errorf("reference %s leads nowhere", ref)
				}
			}
			for _, x := range v {
				walk(x)
			}
		case []any:
			for _, x := range v {
				walk(x)
			}
		}
	}
	walk(all)
	if strings.Contains(string(raw), "ErrorModel") {
		t.Error("the document tells of huma's error body")
	}
}

// admitted is who may use the routes of a need at all, said once more and in
// another way than policy.admit does.
var admitted = map[auth.Verb]string{
	rest.Open:            "anon contributor maintainer signer operator admin node",
	rest.Self:            "contributor maintainer signer operator admin",
	rest.Wire:            "node",
	auth.BuildCreate:     "contributor maintainer operator admin",
	auth.SourceNotarize:  "maintainer admin",
	auth.LedgerCheck:     "operator admin",
	auth.BuildCancel:     "contributor maintainer signer operator admin", // owners may
	auth.BuildRetry:      "contributor maintainer signer operator admin",
	auth.BuildDelete:     "contributor maintainer signer operator admin",
	auth.PlatformApply:   "operator admin",
	auth.ProductApply:    "maintainer operator admin",
	auth.UserManage:      "admin",
	auth.WorkerManage:    "operator admin",
	auth.StoreCollect:    "operator admin",
	auth.SignRequest:     "signer admin",
	auth.KeyGenerate:     "signer admin",
	auth.ReleasePlan:     "maintainer admin",
	auth.ReleaseApprove:  "maintainer signer admin",
	auth.ReleasePublish:  "maintainer admin",
	auth.ReleaseRollback: "maintainer admin",
	auth.SignAllow:       "maintainer admin",
	auth.TestWaive:       "maintainer admin",
	auth.TestRepository:  "maintainer operator admin",
	auth.ErrataCreate:    "contributor maintainer admin",
	auth.ErrataApprove:   "maintainer admin",
	auth.ErrataRelease:   "maintainer admin",
	auth.ErrataForce:     "maintainer admin",
	auth.NoticeManage:    "maintainer operator admin",
	auth.ReadPrivate:     "contributor maintainer signer operator admin",
}

var everybody = []string{"anon", "contributor", "maintainer", "signer", "operator", "admin", "node", "revoked"}

var parameter = regexp.MustCompile(`\{([a-z0-9_]+)\}`)

// filled puts something into a path's parameters.
func filled(path string) string {
	return parameter.ReplaceAllStringFunc(path, func(p string) string {
		switch p {
		case "{sha256}", "{digest}":
			return strings.Repeat("0", 64)
		case "{name}", "{stream}", "{key}":
			return "nothing"
		default:
			return "4711"
		}
	})
}

// TestMatrix asks every route as everybody, with {} as body.
func TestMatrix(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for _, p := range policies {
		may, ok := admitted[p.Need]
		if !ok {
			t.Errorf("%s: the test doesn't know who may %s", p.Key(), p.Need)
		}
		for _, who := range everybody {
			var body any
			if p.Method != get {
				body = "{}"
			}
			status := f.head(t, f.request(t, who, p.Method, filled(p.Path), body))
			want := "through"
			switch {
			case who == "revoked", who == "anon" && p.Need != rest.Open:
				want = "401"
			case !slices.Contains(strings.Fields(may), who):
				want = "403"
			}
			got := fmt.Sprint(status)
			if want == "through" && status != http.StatusUnauthorized && status < 500 {
				got = want
			}
			if got != want {
				t.Errorf("%s by %s = %d, want %s", p.Key(), who, status, want)
			}
		}
	}
	if log := f.log.String(); strings.Contains(log, `"error"`) {
		t.Errorf("the log tells of errors:\n%s", log)
	}
}

// head returns the status of an answer without waiting for its end.
func (f *fixture) head(t *testing.T, req *http.Request) int {
	t.Helper()
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	return resp.StatusCode
}

// TestRefusedBeforeBody sends headers that announce a body and then nothing.
func TestRefusedBeforeBody(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for _, p := range policies {
		if p.Method == get {
			continue
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: albs\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", p.Method, filled(p.Path))
		_ = conn.SetReadDeadline(time.Now().Add(time.Minute))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", p.Key(), err)
		}
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s = %s before its body came, want 401", p.Key(), resp.Status)
		}
		resp.Body.Close()
		conn.Close()
	}
}
