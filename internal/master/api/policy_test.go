package api

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-chi/chi/v5"
	"github.com/google/go-cmp/cmp"

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
	a := f.call(t, "anon", get, documentPath, nil, http.StatusOK)
	a.into(t, &d)
	return d, a.body
}

// TestRoutes holds the router, the table of policies and the OpenAPI document
// against each other.
func TestRoutes(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	var routed, tabled, documented []string
	err := chi.Walk(f.router, func(method, route string, _ http.Handler, _ ...func(http.Handler) http.Handler) error {
		routed = append(routed, method+" "+route)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range policies {
		tabled = append(tabled, p.key())
		if p.need == open && p.method != get {
			t.Errorf("%s changes something and is open", p.key())
		}
	}
	doc, _ := f.document(t)
	for path, ops := range doc.Paths {
		for method, op := range ops {
			key := strings.ToUpper(method) + " " + path
			documented = append(documented, key)
			p, _ := policyOf(strings.ToUpper(method), path)
			if want := map[bool]string{true: "", false: string(p.need)}[p.need == open]; op.Policy != want || (len(op.Security) > 0) != (want != "") {
				t.Errorf("%s is documented with policy %q and security %v, want %q", key, op.Policy, op.Security, want)
			}
		}
	}
	for _, l := range [][]string{routed, tabled, documented} {
		slices.Sort(l)
	}
	if diff := cmp.Diff(tabled, routed); diff != "" {
		t.Errorf("policies and router differ:\n%s", diff)
	}
	if diff := cmp.Diff(tabled, documented); diff != "" {
		t.Errorf("policies and document differ:\n%s", diff)
	}
}

func TestUnlistedRoutePanics(t *testing.T) {
	t.Parallel()
	f := setup(t, Config{})
	for _, route := range []string{"GET /api/v1/secret", "POST /api/v1/builds/"} {
		func() {
			defer func() {
				if recover() == nil {
					t.Errorf("route %s was registered without a policy, or twice", route)
				}
			}()
			method, path, _ := strings.Cut(route, " ")
			f.route(method, path, nil)
		}()
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
	open:                 "anon contributor maintainer signer operator admin node",
	self:                 "contributor maintainer signer operator admin",
	wire:                 "node",
	auth.BuildCreate:     "contributor maintainer operator admin",
	auth.BuildCancel:     "contributor maintainer signer operator admin", // owners may
	auth.BuildRetry:      "contributor maintainer signer operator admin",
	auth.PlatformApply:   "operator admin",
	auth.ProductApply:    "maintainer operator admin",
	auth.UserManage:      "admin",
	auth.WorkerManage:    "operator admin",
	auth.SignRequest:     "signer admin",
	auth.KeyGenerate:     "signer admin",
	auth.ReleasePlan:     "maintainer admin",
	auth.ReleaseApprove:  "maintainer signer admin",
	auth.ReleasePublish:  "maintainer admin",
	auth.ReleaseRollback: "maintainer admin",
}

var everybody = []string{"anon", "contributor", "maintainer", "signer", "operator", "admin", "node", "revoked"}

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
		may, ok := admitted[p.need]
		if !ok {
			t.Errorf("%s: the test doesn't know who may %s", p.key(), p.need)
		}
		for _, who := range everybody {
			var body any
			if p.method != get {
				body = "{}"
			}
			status := f.head(t, f.request(t, who, p.method, filled(p.path), body))
			want := "through"
			switch {
			case who == "revoked", who == "anon" && p.need != open:
				want = "401"
			case !slices.Contains(strings.Fields(may), who):
				want = "403"
			}
			got := fmt.Sprint(status)
			if want == "through" && status != http.StatusUnauthorized && status < 500 {
				got = want
			}
			if got != want {
				t.Errorf("%s by %s = %d, want %s", p.key(), who, status, want)
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
		if p.method == get {
			continue
		}
		conn, err := net.Dial("tcp", strings.TrimPrefix(f.url, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(conn, "%s %s HTTP/1.1\r\nHost: albs\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n", p.method, filled(p.path))
		_ = conn.SetReadDeadline(time.Now().Add(10 * time.Second))
		resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			t.Fatalf("%s: %v", p.key(), err)
		}
		if resp.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s = %s before its body came, want 401", p.key(), resp.Status)
		}
		resp.Body.Close()
		conn.Close()
	}
}
