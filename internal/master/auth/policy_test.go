package auth

import (
	"context"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

// want is the table of the comment in policy.go, told a second time: what each
// role may do to an object of its team.
var want = map[Verb]string{
	BuildCreate:     "contributor product_maintainer operator admin",
	BuildCancel:     "product_maintainer operator admin owner",
	BuildRetry:      "contributor product_maintainer operator admin owner",
	BuildDelete:     "product_maintainer operator admin owner",
	BuildSecureBoot: "product_maintainer admin",
	SourceNotarize:  "product_maintainer admin",
	PlatformApply:   "operator admin",
	ProductApply:    "product_maintainer operator admin",
	SignRequest:     "signer admin",
	KeyGenerate:     "signer admin",
	ReleasePlan:     "product_maintainer admin",
	ReleaseApprove:  "product_maintainer signer admin",
	ReleasePublish:  "product_maintainer admin",
	ReleaseRollback: "product_maintainer admin",
	WorkerManage:    "operator admin",
	StoreCollect:    "operator admin",
	LedgerCheck:     "operator admin",
	UserManage:      "admin",
	TokenManage:     "admin owner",
	UserKey:         "admin owner",
	SignAllow:       "product_maintainer admin",
	TestWaive:       "product_maintainer admin",
	TestRepository:  "product_maintainer operator admin",
	ErrataCreate:    "contributor product_maintainer admin",
	ErrataApprove:   "product_maintainer admin",
	ErrataRelease:   "product_maintainer admin",
	ErrataForce:     "product_maintainer admin",
	NoticeManage:    "product_maintainer operator admin",
	ReadPrivate:     "contributor product_maintainer signer operator admin owner",
}

func TestPolicy(t *testing.T) {
	t.Parallel()
	if len(policy) != len(want) {
		t.Fatalf("the policy has %d verbs, the test knows %d", len(policy), len(want))
	}
	const me, other = albs.UserID(1), albs.UserID(2)
	for _, r := range policy {
		may := strings.Fields(want[r.verb])
		for _, role := range Roles {
			grant := Grant{role, "desktop"}
			if role.Global() {
				grant.Team = ""
			}
			ctx := With(t.Context(), Actor{Kind: KindPerson, User: me, Name: "alice", Grants: []Grant{grant}})
			expect := slices.Contains(may, string(role))
			check(t, ctx, r.verb, Object{Team: "desktop", Owner: other}, expect, string(role))
			check(t, ctx, r.verb, Object{Team: "kernel", Owner: other}, expect && role.Global(), string(role)+" of another team")
			check(t, ctx, r.verb, Object{Owner: other}, expect && (role.Global() || slices.Contains([]Verb{BuildCreate, SourceNotarize}, r.verb)), string(role)+", object of no team")
		}
		plain := With(t.Context(), Actor{Kind: KindPerson, User: me, Name: "alice"})
		check(t, plain, r.verb, Object{Team: "desktop", Owner: me}, slices.Contains(may, "owner"), "owner")
		check(t, plain, r.verb, Object{Team: "desktop"}, false, "nobody's owner")
		check(t, With(t.Context(), Actor{Kind: KindPerson}), r.verb, Object{Team: "desktop"}, false, "a person without an id, of what nobody owns")

		if err := Can(t.Context(), r.verb, Object{}); albs.KindOf(err) != albs.Unauthenticated {
			t.Errorf("Can(%s) of anonymous = %v, want unauthenticated", r.verb, err)
		}
		worker := With(t.Context(), Actor{Kind: KindWorker, Name: "node-1", Role: albs.RoleNode})
		if err := Can(worker, r.verb, Object{}); albs.KindOf(err) != albs.Forbidden {
			t.Errorf("Can(%s) of a worker = %v, want forbidden", r.verb, err)
		}
		if err := Can(System(t.Context(), "test"), r.verb, Object{}); err != nil {
			t.Errorf("Can(%s) of the system = %v", r.verb, err)
		}
		for who, ctx := range map[string]context.Context{"anonymous": t.Context(), "a worker": worker} {
			if s := ScopeOf(ctx, r.verb); s.All || len(s.Teams) > 0 || s.Owner != 0 {
				t.Errorf("ScopeOf(%s) of %s = %+v, want nothing", r.verb, who, s)
			}
		}
		if s := ScopeOf(System(t.Context(), "test"), r.verb); !s.All {
			t.Errorf("ScopeOf(%s) of the system = %+v", r.verb, s)
		}
	}
	if err := Can(With(t.Context(), Actor{Kind: KindPerson, Grants: []Grant{{Role: Admin}}}), "no.such", Object{}); albs.KindOf(err) != albs.Forbidden {
		t.Errorf("Can(no.such) = %v, want forbidden", err)
	}
	for _, a := range []Actor{{Kind: KindPerson, Grants: []Grant{{Role: Admin}}}, {Kind: KindSystem}} {
		if s := ScopeOf(With(t.Context(), a), "no.such"); s.All || len(s.Teams) > 0 || s.Owner != 0 {
			t.Errorf("ScopeOf(no.such) of %s = %+v, want nothing", a, s)
		}
	}
}

func TestForbiddenSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	ctx := With(t.Context(), Actor{Kind: KindPerson, User: 1, Name: "alice"})
	err := Can(ctx, ReleasePublish, Object{Team: "desktop"})
	for _, part := range []string{"alice", "release.publish", "product_maintainer of team desktop", "admin can grant"} {
		if err == nil || !strings.Contains(err.Error(), part) {
			t.Errorf("Can = %v, want it to say %q", err, part)
		}
	}
}

func TestAllows(t *testing.T) {
	t.Parallel()
	a := Actor{Labels: []string{"arch:x86_64", "key:*", "big", "*"}}
	for label, want := range map[string]bool{
		"arch:x86_64": true, "arch:i686": false, "arch:": false, "key:AB": true, "key:": false, "key:*": true, "big": true, "bigger": false,
	} {
		if got := a.Allows(label); got != want {
			t.Errorf("Allows(%q) = %v, want %v", label, got, want)
		}
	}
}

func TestFrom(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		actor Actor
		want  string
	}{
		{From(t.Context()), "anonymous"},
		{From(System(t.Context(), "outbox")), "system:outbox"},
		{Actor{}, "anonymous"},
		{Actor{Kind: KindPerson, Name: "alice"}, "user:alice"},
		{Actor{Kind: KindWorker, Name: "node-1"}, "worker:node-1"},
	} {
		if diff := cmp.Diff(c.want, c.actor.String()); diff != "" {
			t.Error(diff)
		}
	}
}

// check asks Can and holds ScopeOf to the same answer.
func check(t *testing.T, ctx context.Context, v Verb, o Object, want bool, who string) {
	t.Helper()
	err := Can(ctx, v, o)
	if (err == nil) != want || err != nil && albs.KindOf(err) != albs.Forbidden {
		t.Errorf("Can(%s, %+v) as %s = %v, want allowed: %v", v, o, who, err, want)
	}
	s := ScopeOf(ctx, v)
	if in := s.All || slices.Contains(s.Teams, o.Team) || s.Owner != 0 && s.Owner == o.Owner; in != want {
		t.Errorf("ScopeOf(%s) as %s = %+v, holds %+v: %v, want %v", v, who, s, o, in, want)
	}
}
