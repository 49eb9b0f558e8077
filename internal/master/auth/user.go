package auth

import (
	"context"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// User is a person's account.
type User struct {
	ID         albs.UserID
	Name       string
	CreatedAt  db.Time
	DisabledAt db.Time // zero while the account is in use
	Grants     []Grant // by role, then team
}

// Team is a group of people that owns products and builds.
type Team struct {
	ID        int64   `db:"id"`
	Name      string  `db:"name"`
	CreatedAt db.Time `db:"created_at"`
}

// CreateUser adds an account without roles and without tokens. A name outside
// the grammar is Invalid, a taken one a Conflict. It asks for user.manage.
func (a *Auth) CreateUser(ctx context.Context, name string) (User, error) {
	if err := Can(ctx, UserManage, Object{}); err != nil {
		return User{}, err
	}
	if err := checkName("user", name); err != nil {
		return User{}, err
	}
	u := User{Name: name, CreatedAt: a.time()}
	err := a.d.InTx(ctx, func(tx db.Tx) error { return a.createUser(ctx, tx, &u) })
	return u, err
}

func (a *Auth) createUser(ctx context.Context, tx db.Tx, u *User) error {
	id, err := insertAccount(ctx, tx, u.Name, u.CreatedAt)
	if db.IsUnique(err) {
		return albs.Errorf(albs.Conflict, "there is a user %s already", u.Name)
	}
	if err != nil {
		return err
	}
	u.ID = id
	return a.record(ctx, tx, "user.created", userTopic(u.Name), nil)
}

// Users returns every account by name. It asks for user.manage.
func (a *Auth) Users(ctx context.Context) ([]User, error) {
	if err := Can(ctx, UserManage, Object{}); err != nil {
		return nil, err
	}
	return users(ctx, a.d)
}

// User returns the account of that name; NotFound if there is none. People see
// their own account, others need user.manage.
func (a *Auth) User(ctx context.Context, name string) (User, error) {
	if actor := From(ctx); actor.Kind != KindPerson || actor.Name != name {
		if err := Can(ctx, UserManage, Object{}); err != nil {
			return User{}, err
		}
	}
	return userByName(ctx, a.d, name)
}

// DisableUser closes an account for good and revokes its tokens, which ends its
// sessions; its approvals count no more. Doing it twice changes nothing. The
// last admin in use cannot be disabled (Conflict). It asks for user.manage.
func (a *Auth) DisableUser(ctx context.Context, id albs.UserID) error {
	if err := Can(ctx, UserManage, Object{}); err != nil {
		return err
	}
	return a.d.InTx(ctx, func(tx db.Tx) error {
		u, err := userByID(ctx, tx, id)
		if err != nil || !u.DisabledAt.IsZero() {
			return err
		}
		if err := disableAccount(ctx, tx, id, a.time()); err != nil {
			return err
		}
		if slices.Contains(u.Grants, Grant{Role: Admin}) {
			if err := checkAdminLeft(ctx, tx); err != nil {
				return err
			}
		}
		return a.record(ctx, tx, "user.disabled", userTopic(u.Name), nil)
	})
}

// Grant gives a person a role: for the team, which is made if it doesn't exist,
// or globally with an empty team. A grant held already changes nothing. It asks
// for user.manage.
func (a *Auth) Grant(ctx context.Context, id albs.UserID, role Role, team string) error {
	if err := Can(ctx, UserManage, Object{}); err != nil {
		return err
	}
	if err := checkGrant(role, team); err != nil {
		return err
	}
	return a.d.InTx(ctx, func(tx db.Tx) error { return a.grant(ctx, tx, id, role, team) })
}

func (a *Auth) grant(ctx context.Context, tx db.Tx, id albs.UserID, role Role, team string) error {
	u, err := userByID(ctx, tx, id)
	if err != nil {
		return err
	}
	if !u.DisabledAt.IsZero() {
		return albs.Errorf(albs.Conflict, "user %s is disabled", u.Name)
	}
	var teamID int64
	if team != "" {
		t, err := a.ensureTeam(ctx, tx, team)
		if err != nil {
			return err
		}
		teamID = t.ID
	}
	added, err := insertGrant(ctx, tx, id, role, teamID)
	if err != nil || !added {
		return err
	}
	return a.record(ctx, tx, "user.granted", userTopic(u.Name), Grant{role, team})
}

// Revoke takes a role away; one that isn't held is NotFound. The last admin in
// use keeps the role (Conflict). It asks for user.manage.
func (a *Auth) Revoke(ctx context.Context, id albs.UserID, role Role, team string) error {
	if err := Can(ctx, UserManage, Object{}); err != nil {
		return err
	}
	if err := checkGrant(role, team); err != nil {
		return err
	}
	return a.d.InTx(ctx, func(tx db.Tx) error {
		u, err := userByID(ctx, tx, id)
		if err != nil {
			return err
		}
		removed, err := deleteGrant(ctx, tx, id, role, team)
		if err != nil {
			return err
		}
		if !removed {
			return albs.Errorf(albs.NotFound, "user %s does not hold the role %s", u.Name, role)
		}
		if role == Admin {
			if err := checkAdminLeft(ctx, tx); err != nil {
				return err
			}
		}
		return a.record(ctx, tx, "user.revoked", userTopic(u.Name), Grant{role, team})
	})
}

func checkGrant(role Role, team string) error {
	if _, err := ParseRole(string(role)); err != nil {
		return err
	}
	if role.Global() != (team == "") {
		if team == "" {
			return albs.Errorf(albs.Invalid, "the role %s is held for a team: name one", role)
		}
		return albs.Errorf(albs.Invalid, "the role %s is global: name no team", role)
	}
	return nil
}

// checkAdminLeft keeps an installation from locking itself out.
func checkAdminLeft(ctx context.Context, tx db.Tx) error {
	n, err := countAdmins(ctx, tx)
	if err == nil && n == 0 {
		return albs.Errorf(albs.Conflict, "this is the last admin in use: make another one first")
	}
	return err
}

// ensureTeam returns the team of that name and makes it on its first use. The
// name's grammar is that of users; another is Invalid.
func (a *Auth) ensureTeam(ctx context.Context, tx db.Tx, name string) (Team, error) {
	if err := checkName("team", name); err != nil {
		return Team{}, err
	}
	added, err := insertTeam(ctx, tx, name, a.time())
	if err != nil {
		return Team{}, err
	}
	if added {
		if err := a.record(ctx, tx, "team.created", "team:"+name, nil); err != nil {
			return Team{}, err
		}
	}
	return teamByName(ctx, tx, name)
}

// Teams returns every team by name. Anyone may ask.
func (a *Auth) Teams(ctx context.Context) ([]Team, error) { return teams(ctx, a.d) }

// Bootstrap makes the first account: "admin" with the role admin and a token
// that ends after a day, which it returns for the operator to see. While that
// account is the only one and no token was ever used, the secret may have been
// lost before anybody read it: then the former token is revoked and a new one
// returned. Else it returns "" and changes nothing.
func (a *Auth) Bootstrap(ctx context.Context) (string, error) {
	ctx = System(ctx, "bootstrap")
	var secret string
	err := a.d.InTx(ctx, func(tx db.Tx) error {
		secret = "" // a retry starts over
		n, err := countAccounts(ctx, tx)
		if err != nil || n > 1 {
			return err
		}
		u := User{Name: firstAdmin, CreatedAt: a.time()}
		if n == 0 {
			if err := a.createUser(ctx, tx, &u); err != nil {
				return err
			}
			if err := a.grant(ctx, tx, u.ID, Admin, ""); err != nil {
				return err
			}
		} else if u, err = userByName(ctx, tx, firstAdmin); err != nil {
			if albs.KindOf(err) == albs.NotFound { // a person made by other means
				return nil
			}
			return err
		}
		former, err := tokens(ctx, tx, u.ID)
		if err != nil || slices.ContainsFunc(former, func(t Token) bool { return !t.UsedAt.IsZero() }) {
			return err
		}
		for _, t := range former {
			if err := a.revokeToken(ctx, tx, u, t); err != nil {
				return err
			}
		}
		secret, _, err = a.createToken(ctx, tx, u, "first login", bootstrapTTL)
		return err
	})
	return secret, err
}

const firstAdmin = "admin"

func userTopic(name string) string { return "user:" + name }

func (a *Auth) record(ctx context.Context, tx db.Tx, kind, topic string, data any) error {
	return a.events.Add(ctx, tx, kind, topic, From(ctx).String(), data)
}
