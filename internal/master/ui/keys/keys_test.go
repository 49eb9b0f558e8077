package keys

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/sign"
	"albs/internal/master/ui/page"
	"albs/internal/master/ui/page/pagetest"
	"albs/internal/pgp"
)

// TestTemplates executes the templates with all that they can show, hostile where it is
// foreign.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const bad = pagetest.Bad
	now, d := time.Now(), albs.DigestOf([]byte("x"))
	k := sign.Key{Fingerprint: "0123456789ABCDEF0123456789ABCDEF01234567", Name: bad, UserID: bad, Algorithm: "ed25519", Products: []string{"a", "b"}, Public: []byte(bad), CreatedAt: now, Active: true}
	ended := k
	ended.Active, ended.Products = false, nil
	task := queue.Task{ID: 4, Kind: albs.KindSign, State: albs.TaskFailed, Reason: bad, Worker: bad}
	request := sign.Request{ID: 3, Build: 7, Key: k.Fingerprint, Product: "a", Requester: bad, CreatedAt: now, Status: sign.Failed, Reason: "refused: " + bad,
		Tasks: []queue.Task{task, {ID: 5, State: albs.TaskQueued, Reason: bad}}, Packages: []sign.Package{{File: albs.File{Name: bad, Digest: d}, Signed: d}, {File: albs.File{Name: "x", Digest: d}}}}
	approved := request
	approved.Approvals = sign.Approvals{Digest: d, Expires: now, Needed: 2, Given: []auth.Approval{{Name: bad, Note: bad, Digest: d}, {Name: bad, KeyID: bad}}}
	pager := page.Pager{From: 1, To: 2, All: 9, Next: "/x"}
	pagetest.Execute(t, Group(), map[string][]any{
		"keys": {keysView{}, keysView{Keys: []keyRow{{k, []string{"a", "b"}}, {Key: ended}}, Making: []sign.Keygen{{NewKey: sign.NewKey{Name: bad, Algorithm: "rsa4096"}, Task: task, Requester: bad, CreatedAt: now}}, Products: []string{"a"}},
			keysView{Why: bad}},
		"key":      {keyView{}, keyView{keyRow{k, []string{"a"}}, pgp.PublicKey{Subkey: "AB", Revoked: true}, []page.Action{{URL: "/x", Label: "End", Sure: "x"}, {Label: "End", Why: bad}}}, keyView{keyRow: keyRow{Key: ended}, Self: pgp.PublicKey{Expires: now}}},
		"requests": {requestsView{}, requestsView{Build: 7, Requests: []sign.Request{request, {ID: 2, Status: sign.Idle}}, Next: "/n", First: "/f"}},
		"request":  {requestView{}, requestView{Request: request, Signed: 1, Rows: request.Packages, Pager: pager}, requestView{Request: approved}, requestView{Request: approved, Approve: bad}},
		"sign":     {signView{}, signView{Build: build.Build{ID: 7, Product: "a"}, Packages: 3, Keys: []keyChoice{{Key: k, Product: true}, {Key: ended, Why: bad}}}, signView{Keys: []keyChoice{{Key: k}}, Why: bad}},
	})
}

func TestChoiceOf(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		key             sign.Key
		product, wanted string
		its, can        bool
	}{
		{sign.Key{Name: "k", Active: true}, "a", "k", true, true},
		{sign.Key{Name: "k", Fingerprint: "F", Active: true}, "a", "F", true, true},
		{sign.Key{Name: "k", Active: true}, "a", "other", false, true},
		{sign.Key{Name: "k", Active: true}, "", "", false, true},
		{sign.Key{Active: true}, "", "", false, true},
		{sign.Key{Name: "k"}, "a", "k", true, false},
		{sign.Key{Name: "k", Active: true, Products: []string{"b"}}, "a", "k", true, false},
		{sign.Key{Name: "k", Active: true, Products: []string{"b", "a"}}, "a", "k", true, true},
		{sign.Key{Name: "k", Active: true, Products: []string{"b"}}, "", "", false, false},
	} {
		if got := choiceOf(tc.key, tc.product, tc.wanted); got.Product != tc.its || (got.Why == "") != tc.can {
			t.Errorf("choiceOf(%+v, %q, %q) = %+v", tc.key, tc.product, tc.wanted, got)
		}
	}
}

// TestWhyNotApprove walks what stands beside the button.
func TestWhyNotApprove(t *testing.T) {
	t.Parallel()
	now := time.Now()
	as := func(user albs.UserID, role auth.Role) context.Context {
		return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: user, Name: fmt.Sprint("u", user), Grants: []auth.Grant{{Role: role, Team: "core"}}})
	}
	plain := product.Approvals{Count: 1}
	for _, tc := range []struct {
		name   string
		change func(q *sign.Request)
		policy product.Approvals
		who    context.Context
		want   string // a part of it; "" for nothing
	}{
		{"a signer", func(*sign.Request) {}, plain, as(2, auth.Signer), ""},
		{"nobody", func(*sign.Request) {}, plain, t.Context(), "sign in first"},
		{"a contributor", func(*sign.Request) {}, plain, as(2, auth.Contributor), "release.approve"},
		{"who asked", func(*sign.Request) {}, product.Approvals{Count: 1, Distinct: true}, as(1, auth.Signer), "you asked"},
		{"who asked, where that is enough", func(*sign.Request) {}, plain, as(1, auth.Signer), ""},
		{"twice", func(q *sign.Request) { q.Approvals.Given, q.Approvals.Needed = []auth.Approval{{User: 2}}, 2 }, plain, as(2, auth.Signer), "already"},
		{"enough", func(q *sign.Request) { q.Approvals.Given = []auth.Approval{{User: 3}} }, plain, as(2, auth.Signer), "it has"},
		{"too late", func(q *sign.Request) { q.Approvals.Expires = now }, plain, as(2, auth.Signer), "over"},
		{"where keys of people's own count", func(*sign.Request) {}, product.Approvals{Count: 1, Signed: true}, as(2, auth.Signer), "albs approve"},
	} {
		q := sign.Request{ID: 3, Requester: "u1", Approvals: sign.Approvals{Needed: 1, Expires: now.Add(time.Hour)}}
		tc.change(&q)
		got := whyNotApprove(tc.who, q, product.Product{Spec: product.Spec{Team: "core", Approvals: tc.policy}}, now)
		if (got == "") != (tc.want == "") || !strings.Contains(got, tc.want) {
			t.Errorf("%s: %q, want %q", tc.name, got, tc.want)
		}
	}
}

func TestUsesOf(t *testing.T) {
	t.Parallel()
	all := []product.Product{{Spec: product.Spec{Name: "a", Key: "k"}}, {Spec: product.Spec{Name: "b", Key: "F"}}, {Spec: product.Spec{Name: "c", Key: "x"}}}
	if got := usesOf(sign.Key{Name: "k", Fingerprint: "F"}, all); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("usesOf = %v", got)
	}
}
