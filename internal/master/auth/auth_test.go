package auth

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// recorder keeps what would become events.
type recorder struct {
	mu   sync.Mutex
	kind []string
}

func (r *recorder) Add(_ context.Context, _ db.Tx, kind, topic, actor string, data any) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.kind = append(r.kind, fmt.Sprintf("%s %s by %s", kind, topic, actor))
	return nil
}

type fixture struct {
	*Auth
	events *recorder
	now    time.Time
	admin  context.Context
	d      *db.DB
}

func each(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		x := &fixture{events: &recorder{}, d: d, now: time.Date(2026, 11, 22, 12, 30, 0, 0, time.UTC)}
		x.Auth = New(d, x.events, zerolog.Nop())
		x.Auth.now = func() time.Time { return x.now }
		x.admin = With(t.Context(), Actor{Kind: KindPerson, User: 99, Name: "root", Grants: []Grant{{Role: Admin}}})
		f(t, x)
	})
}

// user makes an account with a token and returns both.
func (f *fixture) user(t *testing.T, name string, grants ...Grant) (User, string) {
	t.Helper()
	u, err := f.CreateUser(f.admin, name)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range grants {
		if err := f.Grant(f.admin, u.ID, g.Role, g.Team); err != nil {
			t.Fatal(err)
		}
	}
	secret, _, err := f.CreateToken(f.admin, u.ID, "test", 24*time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	return u, secret
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func TestToken(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u, secret := f.user(t, "alice", Grant{Contributor, "desktop"}, Grant{Operator, ""})
		if !strings.HasPrefix(secret, "albs_u") || len(secret) != 6+52 {
			t.Errorf("token %q has not the form of one", secret)
		}
		got, err := f.Authenticate(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		want := Actor{Kind: KindPerson, User: u.ID, Name: "alice", Grants: []Grant{{Contributor, "desktop"}, {Operator, ""}}}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		alice := With(t.Context(), got)

		list, err := f.Tokens(alice, u.ID)
		if err != nil || len(list) != 1 {
			t.Fatalf("Tokens = %v, %v", list, err)
		}
		if hour := f.now.Truncate(time.Hour); !list[0].UsedAt.Equal(hour) || !strings.HasPrefix(secret, list[0].Prefix) {
			t.Errorf("token = %+v, want used at %v", list[0], hour)
		}
		var stored string
		if err := f.d.GetContext(t.Context(), &stored, `SELECT hash FROM token`); err != nil || strings.Contains(secret, stored) {
			t.Errorf("the secret is stored: %v", err)
		}

		for _, bad := range []string{"albs_u", secret + "a", "albs_w" + secret[6:], "other", strings.Repeat("albs_u", 100), stored} {
			_, err := f.Authenticate(t.Context(), bad)
			wantKind(t, "Authenticate of a wrong token", err, albs.Unauthenticated)
		}
		if a, err := f.Authenticate(t.Context(), ""); err != nil || a.Kind != KindAnonymous {
			t.Errorf(`Authenticate("") = %v, %v`, a, err)
		}

		bob, _ := f.user(t, "bob")
		_, _, err = f.CreateToken(alice, bob.ID, "", time.Hour)
		wantKind(t, "CreateToken for another", err, albs.Forbidden)
		_, err = f.Tokens(alice, bob.ID)
		wantKind(t, "Tokens of another", err, albs.Forbidden)
		_, err = f.User(alice, "bob")
		wantKind(t, "User of another", err, albs.Forbidden)
		_, err = f.User(With(t.Context(), Actor{Kind: KindWorker, Name: "bob"}), "bob")
		wantKind(t, "User of a worker of that name", err, albs.Forbidden)
		_, _, err = f.CreateToken(alice, u.ID, "", MaxTokenTTL+1)
		wantKind(t, "CreateToken for ever", err, albs.Invalid)
		_, second, err := f.CreateToken(alice, u.ID, "laptop", time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(24 * time.Hour)
		_, err = f.Authenticate(t.Context(), secret)
		wantKind(t, "Authenticate with an expired token", err, albs.Unauthenticated)

		f.now = f.now.Add(-24 * time.Hour)
		wantKind(t, "RevokeToken of another's", f.RevokeToken(With(t.Context(), Actor{Kind: KindPerson, User: bob.ID}), second.ID), albs.Forbidden)
		wantKind(t, "RevokeToken", f.RevokeToken(alice, list[0].ID), "")
		wantKind(t, "RevokeToken again", f.RevokeToken(alice, list[0].ID), "")
		_, err = f.Authenticate(t.Context(), secret)
		wantKind(t, "Authenticate with a revoked token", err, albs.Unauthenticated)
	})
}

func TestSession(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		u, secret := f.user(t, "alice")
		cookie, err := f.Login(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		if a, err := f.Session(t.Context(), cookie); err != nil || a.User != u.ID {
			t.Fatalf("Session = %v, %v", a, err)
		}
		_, err = f.Login(t.Context(), cookie)
		wantKind(t, "Login with a cookie", err, albs.Unauthenticated)
		_, err = f.Session(t.Context(), secret)
		wantKind(t, "Session with a token", err, albs.Unauthenticated)
		_, err = f.Authenticate(t.Context(), cookie)
		wantKind(t, "Authenticate with a cookie", err, albs.Unauthenticated)

		wantKind(t, "Logout", f.Logout(t.Context(), cookie), "")
		_, err = f.Session(t.Context(), cookie)
		wantKind(t, "Session after Logout", err, albs.Unauthenticated)

		if cookie, err = f.Login(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		f.now = f.now.Add(sessionTTL)
		_, err = f.Session(t.Context(), cookie)
		wantKind(t, "Session after its end", err, albs.Unauthenticated)

		if cookie, err = f.Login(t.Context(), secret); err != nil {
			t.Fatal(err)
		}
		var kept int
		if err := f.d.GetContext(t.Context(), &kept, `SELECT COUNT(*) FROM session`); err != nil || kept != 1 {
			t.Errorf("%d sessions are kept, %v, want 1", kept, err)
		}
		list, err := f.Tokens(f.admin, u.ID)
		if err != nil {
			t.Fatal(err)
		}
		wantKind(t, "RevokeToken", f.RevokeToken(f.admin, list[0].ID), "")
		_, err = f.Session(t.Context(), cookie)
		wantKind(t, "Session of a revoked token", err, albs.Unauthenticated)
	})
}

// TestFirstToken loses the first token before anybody read it, and reads the next.
func TestFirstToken(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		lost, err := f.Bootstrap(t.Context())
		if err != nil || lost == "" {
			t.Fatalf("Bootstrap = %q, %v", lost, err)
		}
		f.now = f.now.Add(48 * time.Hour) // the first one expired meanwhile
		second, err := f.Bootstrap(t.Context())
		if err != nil || second == "" || second == lost {
			t.Fatalf("Bootstrap while no token was used = %q, %v, after %q", second, err, lost)
		}
		third, err := f.Bootstrap(t.Context())
		if err != nil || third == "" || third == second {
			t.Fatalf("Bootstrap while no token was used = %q, %v, after %q", third, err, second)
		}
		for what, old := range map[string]string{"first": lost, "second": second} {
			_, err = f.Authenticate(t.Context(), old)
			wantKind(t, "Authenticate with the "+what+" token", err, albs.Unauthenticated)
		}
		actor, err := f.Authenticate(t.Context(), third)
		if err != nil {
			t.Fatal(err)
		}
		list, err := f.Tokens(With(t.Context(), actor), actor.User)
		if err != nil || len(list) != 3 || !list[0].RevokedAt.IsZero() || list[1].RevokedAt.IsZero() || list[2].RevokedAt.IsZero() {
			t.Errorf("Tokens = %+v, %v; want the third in force", list, err)
		}
		if all, err := f.Users(With(t.Context(), actor)); err != nil || len(all) != 1 || all[0].Name != "admin" {
			t.Errorf("Users = %+v, %v", all, err)
		}
		if again, err := f.Bootstrap(t.Context()); err != nil || again != "" {
			t.Errorf("Bootstrap after a use = %q, %v", again, err)
		}
		if _, err := f.Authenticate(t.Context(), third); err != nil {
			t.Errorf("the token after a start: %v", err)
		}
	})
}

// TestFirstTokenBesideOthers: with a second person, or another one than the first
// admin, nobody gets a token by a start.
func TestFirstTokenBesideOthers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		if _, err := f.CreateUser(f.admin, "alice"); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Bootstrap(t.Context()); err != nil || got != "" {
			t.Errorf("Bootstrap beside alice = %q, %v", got, err)
		}
		if _, err := f.CreateUser(f.admin, "admin"); err != nil {
			t.Fatal(err)
		}
		if got, err := f.Bootstrap(t.Context()); err != nil || got != "" {
			t.Errorf("Bootstrap beside alice and an admin without a token = %q, %v", got, err)
		}
	})
}

func TestUsers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		first, err := f.Bootstrap(t.Context())
		if err != nil || first == "" {
			t.Fatalf("Bootstrap = %q, %v", first, err)
		}
		actor, err := f.Authenticate(t.Context(), first)
		if err != nil {
			t.Fatal(err)
		}
		admin := With(t.Context(), actor)
		wantKind(t, "Can(user.manage) of the first admin", Can(admin, UserManage, Object{}), "")
		wantKind(t, "DisableUser of the last admin", f.DisableUser(admin, actor.User), albs.Conflict)
		wantKind(t, "Revoke of the last admin", f.Revoke(admin, actor.User, Admin, ""), albs.Conflict)

		for _, bad := range []string{"", "Alice", "a b", "-a", "a/b", "../a", "a\n", strings.Repeat("a", 64), "é"} {
			_, err := f.CreateUser(admin, bad)
			wantKind(t, fmt.Sprintf("CreateUser(%q)", bad), err, albs.Invalid)
		}
		u, secret := f.user(t, "alice")
		_, err = f.CreateUser(admin, "alice")
		wantKind(t, "CreateUser again", err, albs.Conflict)
		wantKind(t, "Grant a team's role globally", f.Grant(admin, u.ID, Signer, ""), albs.Invalid)
		wantKind(t, "Grant a global role to a team", f.Grant(admin, u.ID, Operator, "desktop"), albs.Invalid)
		wantKind(t, "Grant to nobody", f.Grant(admin, 12345, Operator, ""), albs.NotFound)
		wantKind(t, "Grant by a stranger", f.Grant(t.Context(), u.ID, Admin, ""), albs.Unauthenticated)
		for range 2 { // the second changes nothing
			wantKind(t, "Grant", f.Grant(admin, u.ID, Signer, "desktop"), "")
		}
		wantKind(t, "Grant", f.Grant(admin, u.ID, Signer, "kernel"), "")
		wantKind(t, "Revoke", f.Revoke(admin, u.ID, Signer, "kernel"), "")
		wantKind(t, "Revoke again", f.Revoke(admin, u.ID, Signer, "kernel"), albs.NotFound)
		list, err := f.Users(admin)
		if err != nil {
			t.Fatal(err)
		}
		want := []User{
			{ID: actor.User, Name: "admin", CreatedAt: db.At(f.now), Grants: []Grant{{Admin, ""}}},
			{ID: u.ID, Name: "alice", CreatedAt: db.At(f.now), Grants: []Grant{{Signer, "desktop"}}},
		}
		if diff := cmp.Diff(want, list); diff != "" {
			t.Error(diff)
		}
		teams, err := f.Teams(t.Context())
		if err != nil || len(teams) != 2 || teams[0].Name != "desktop" {
			t.Errorf("Teams = %v, %v", teams, err)
		}

		cookie, err := f.Login(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			wantKind(t, "DisableUser", f.DisableUser(admin, u.ID), "")
		}
		_, err = f.Authenticate(t.Context(), secret)
		wantKind(t, "Authenticate as disabled", err, albs.Unauthenticated)
		_, err = f.Session(t.Context(), cookie)
		wantKind(t, "Session of a disabled user", err, albs.Unauthenticated)
		ended, err := f.Tokens(admin, u.ID)
		if err != nil || len(ended) != 1 || ended[0].RevokedAt.IsZero() {
			t.Errorf("Tokens of a disabled user = %+v, %v, want them revoked", ended, err)
		}
		wantKind(t, "Grant to a disabled user", f.Grant(admin, u.ID, Operator, ""), albs.Conflict)
		// Nor does a token help that was not revoked.
		if _, err := f.d.ExecContext(t.Context(), `UPDATE token SET revoked_at = NULL`); err != nil {
			t.Fatal(err)
		}
		_, err = f.Authenticate(t.Context(), secret)
		wantKind(t, "Authenticate as disabled with a token in force", err, albs.Unauthenticated)
		_, err = f.Session(t.Context(), cookie)
		wantKind(t, "Session of a disabled user whose token is in force", err, albs.Unauthenticated)
		_, _, err = f.CreateToken(admin, u.ID, "", time.Hour)
		wantKind(t, "CreateToken for a disabled user", err, albs.Conflict)

		wantEvents := []string{
			"user.created user:admin by system:bootstrap",
			"user.granted user:admin by system:bootstrap",
			"token.created user:admin by system:bootstrap",
			"user.created user:alice by user:root",
			"token.created user:alice by user:root",
			"team.created team:desktop by user:admin",
			"user.granted user:alice by user:admin",
			"team.created team:kernel by user:admin",
			"user.granted user:alice by user:admin",
			"user.revoked user:alice by user:admin",
			"session.begun user:alice by user:alice",
			"user.disabled user:alice by user:admin",
		}
		if diff := cmp.Diff(wantEvents, f.events.kind); diff != "" && !f.d.Postgres() { // there a retry may record twice
			t.Error(diff)
		}
	})
}

func TestWorkers(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		secret, w, err := f.AddWorker(f.admin, NewWorker{Name: "node-1", Role: albs.RoleNode,
			Arches: []albs.Arch{albs.X8664, albs.I686}, Labels: []string{"big", "place:rack-1"}})
		if err != nil {
			t.Fatal(err)
		}
		labels := []string{"arch:i686", "arch:x86_64", "big", "kind:build", "kind:rebuild", "kind:source", "place:rack-1"}
		got, err := f.Authenticate(t.Context(), secret)
		if err != nil {
			t.Fatal(err)
		}
		want := Actor{Kind: KindWorker, Worker: w.ID, Name: "node-1", Role: albs.RoleNode, Labels: labels}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		_, err = f.Login(t.Context(), secret)
		wantKind(t, "Login as a worker", err, albs.Unauthenticated)

		fpr := strings.Repeat("AB", 20)
		for _, c := range []struct {
			name string
			n    NewWorker
			want albs.Kind
		}{
			{"a taken name", NewWorker{Name: "node-1", Role: albs.RoleReleaser}, albs.Conflict},
			{"no role", NewWorker{Name: "m", Role: "cook"}, albs.Invalid},
			{"the master", NewWorker{Name: "m", Role: albs.RoleMaster}, albs.Invalid},
			{"no arch", NewWorker{Name: "n", Role: albs.RoleNode}, albs.Invalid},
			{"an unknown arch", NewWorker{Name: "n", Role: albs.RoleNode, Arches: []albs.Arch{"z80"}}, albs.Invalid},
			{"a signer with an arch", NewWorker{Name: "n", Role: albs.RoleSigner, Arches: []albs.Arch{albs.X8664}}, albs.Invalid},
			{"a node with a key", NewWorker{Name: "n", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}, Keys: []string{fpr}}, albs.Invalid},
			{"a bad fingerprint", NewWorker{Name: "n", Role: albs.RoleSigner, Keys: []string{"*"}}, albs.Invalid},
			{"an emulated arch that it isn't bound to", NewWorker{Name: "n", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}, Labels: []string{"emulated:aarch64"}}, albs.Invalid},
			{"an engine that is none", NewWorker{Name: "n", Role: albs.RoleTester, Arches: []albs.Arch{albs.X8664}, Labels: []string{"engine:docker"}}, albs.Invalid},
			{"a node with an engine", NewWorker{Name: "n", Role: albs.RoleNode, Arches: []albs.Arch{albs.X8664}, Labels: []string{"engine:podman"}}, albs.Invalid},
			{"a smuggled kind", NewWorker{Name: "n", Role: albs.RoleReleaser, Labels: []string{"kind:sign"}}, albs.Invalid},
			{"a smuggled wildcard", NewWorker{Name: "n", Role: albs.RoleReleaser, Labels: []string{"place:*"}}, albs.Invalid},
			{"a bad name", NewWorker{Name: "../n", Role: albs.RoleReleaser}, albs.Invalid},
		} {
			_, _, err := f.AddWorker(f.admin, c.n)
			wantKind(t, "AddWorker of "+c.name, err, c.want)
		}
		_, _, err = f.AddWorker(t.Context(), NewWorker{Name: "n", Role: albs.RoleReleaser})
		wantKind(t, "AddWorker by a stranger", err, albs.Unauthenticated)

		_, s, err := f.AddWorker(f.admin, NewWorker{Name: "signer-1", Role: albs.RoleSigner, Keys: []string{fpr}})
		if err != nil || !s.actor().Allows("key:"+fpr) || s.actor().Allows("key:"+strings.Repeat("CD", 20)) {
			t.Errorf("a signer bound to a key = %v, %v", s, err)
		}
		local := NewWorker{Name: "local-signer", Role: albs.RoleSigner}
		a, err := f.LocalWorker(t.Context(), local)
		if err != nil || !a.Allows("key:"+fpr) || !a.Allows("kind:keygen") {
			t.Errorf("LocalWorker = %v, %v", a, err)
		}
		if again, err := f.LocalWorker(t.Context(), local); err != nil || again.Worker != a.Worker {
			t.Errorf("LocalWorker again = %v, %v, want id %d", again, err, a.Worker)
		}
		master, err := f.LocalWorker(t.Context(), NewWorker{Name: "master", Role: albs.RoleMaster})
		if diff := cmp.Diff([]string{"kind:graph", "kind:import", "kind:notarize", "kind:suites"}, master.Labels); err != nil || diff != "" {
			t.Errorf("LocalWorker of the master: %v %s", err, diff)
		}
		_, err = f.LocalWorker(t.Context(), NewWorker{Name: "node-1", Role: albs.RoleReleaser})
		wantKind(t, "LocalWorker with an enrolled name", err, albs.Conflict)
		wantKind(t, "DisableWorker of a local one", f.DisableWorker(f.admin, a.Worker), "")
		_, err = f.LocalWorker(t.Context(), local)
		wantKind(t, "LocalWorker once it is disabled", err, albs.Conflict)
		_, err = f.Authenticate(t.Context(), "albs_w")
		wantKind(t, "Authenticate as a local worker", err, albs.Unauthenticated)

		for range 2 {
			wantKind(t, "DisableWorker", f.DisableWorker(f.admin, w.ID), "")
		}
		_, err = f.Authenticate(t.Context(), secret)
		wantKind(t, "Authenticate as a disabled worker", err, albs.Unauthenticated)
		list, err := f.Workers(t.Context())
		if err != nil || len(list) != 4 || list[2].Name != "node-1" || list[2].DisabledAt.IsZero() || list[2].UsedAt.IsZero() {
			t.Errorf("Workers = %+v, %v", list, err)
		}
	})
}

func TestApprovals(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		alice, _ := f.user(t, "alice")
		bob, _ := f.user(t, "bob")
		effects, others := albs.DigestOf([]byte("plan")), albs.DigestOf([]byte("plan edited"))
		approve := func(u User, d albs.Digest, ttl time.Duration) error {
			ctx := With(t.Context(), Actor{Kind: KindPerson, User: u.ID, Name: u.Name})
			return f.d.InTx(ctx, func(tx db.Tx) error {
				_, err := f.Approve(ctx, tx, "release:3", d, db.At(f.now.Add(ttl)), Word{Note: "looks good"})
				return err
			})
		}
		names := func(d albs.Digest) string {
			list, err := f.Approvals(t.Context(), f.d, "release:3", d)
			if err != nil {
				t.Fatal(err)
			}
			var out []string
			for _, p := range list {
				out = append(out, p.Name)
			}
			return strings.Join(out, " ")
		}
		for _, bad := range []struct {
			subject string
			digest  albs.Digest
		}{{"", effects}, {strings.Repeat("x", maxSubject+1), effects}, {"release:3", ""}, {"release:3", "abc"}} {
			ctx := With(t.Context(), Actor{Kind: KindPerson, User: alice.ID, Name: alice.Name})
			err := f.d.InTx(ctx, func(tx db.Tx) error {
				_, err := f.Approve(ctx, tx, bad.subject, bad.digest, db.At(f.now.Add(time.Hour)), Word{})
				return err
			})
			wantKind(t, fmt.Sprintf("Approve of %.20q, digest %q", bad.subject, bad.digest), err, albs.Invalid)
		}
		wantKind(t, "Approve", approve(alice, effects, time.Hour), "")
		wantKind(t, "Approve again", approve(alice, effects, time.Hour), albs.Conflict)
		f.now = f.now.Add(time.Minute)
		wantKind(t, "Approve by another", approve(bob, effects, time.Minute), "")
		wantKind(t, "Approve into the past", approve(bob, others, -time.Minute), albs.Invalid)
		if got := names(effects); got != "alice bob" {
			t.Errorf("Approvals = %q, want alice bob", got)
		}
		if got := names(others); got != "" {
			t.Errorf("Approvals of other effects = %q, want none", got)
		}
		f.now = f.now.Add(time.Minute)
		if got := names(effects); got != "alice" {
			t.Errorf("Approvals after bob's expired = %q, want alice", got)
		}
		wantKind(t, "Approve after expiry", approve(bob, effects, time.Hour), "")
		wantKind(t, "DisableUser", f.DisableUser(f.admin, alice.ID), "")
		if got := names(effects); got != "bob" {
			t.Errorf("Approvals after alice left = %q, want bob", got)
		}
		for _, ctx := range []context.Context{t.Context(), System(t.Context(), "loop"), With(t.Context(), Actor{Kind: KindWorker})} {
			err := f.d.InTx(ctx, func(tx db.Tx) error {
				_, err := f.Approve(ctx, tx, "release:3", effects, db.At(f.now.Add(time.Hour)), Word{})
				return err
			})
			wantKind(t, "Approve by "+From(ctx).String(), err, albs.Forbidden)
		}
	})
}
