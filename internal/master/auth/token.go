package auth

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/master/db"
)

const (
	bootstrapTTL = 24 * time.Hour
	sessionTTL   = 12 * time.Hour
	// MaxTokenTTL is the longest life of a person's token.
	MaxTokenTTL = 366 * 24 * time.Hour
)

// Token is what is known of a person's token; the secret itself is not.
type Token struct {
	ID        int64       `db:"id"`
	User      albs.UserID `db:"account_id"`
	Prefix    string      `db:"prefix"` // its first characters, to tell tokens apart
	Note      string      `db:"note"`
	CreatedAt db.Time     `db:"created_at"`
	UsedAt    db.Time     `db:"used_at"` // rounded down to the hour; zero if never
	ExpiresAt db.Time     `db:"expires_at"`
	RevokedAt db.Time     `db:"revoked_at"` // zero while in force
}

// CreateToken makes a token for a person, good for ttl (at most MaxTokenTTL), and
// returns its secret, which is not kept. People make their own; for others it
// asks for token.manage. A disabled account is a Conflict.
func (a *Auth) CreateToken(ctx context.Context, id albs.UserID, note string, ttl time.Duration) (string, Token, error) {
	if err := Can(ctx, TokenManage, Object{Owner: id}); err != nil {
		return "", Token{}, err
	}
	if ttl <= 0 || ttl > MaxTokenTTL {
		return "", Token{}, albs.Errorf(albs.Invalid, "a token lives for more than nothing and at most %d days", MaxTokenTTL/(24*time.Hour))
	}
	if err := checkNote(note); err != nil {
		return "", Token{}, err
	}
	var secret string
	var t Token
	err := a.d.InTx(ctx, func(tx db.Tx) error {
		u, err := userByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if !u.DisabledAt.IsZero() {
			return albs.Errorf(albs.Conflict, "user %s is disabled", u.Name)
		}
		secret, t, err = a.createToken(ctx, tx, u, note, ttl)
		return err
	})
	if err != nil {
		return "", Token{}, err
	}
	return secret, t, nil
}

func (a *Auth) createToken(ctx context.Context, tx db.Tx, u User, note string, ttl time.Duration) (string, Token, error) {
	secret, prefix, hash := newToken(letterUser)
	now := a.time()
	t := Token{User: u.ID, Prefix: prefix, Note: note, CreatedAt: now, ExpiresAt: db.At(now.Add(ttl))}
	var err error
	if t.ID, err = insertToken(ctx, tx, t, hash); err != nil {
		return "", Token{}, err
	}
	err = a.record(ctx, tx, "token.created", userTopic(u.Name), tokenEvent{t.Prefix, t.ExpiresAt.Time})
	return secret, t, err
}

type tokenEvent struct {
	Prefix  string    `json:"prefix"`
	Expires time.Time `json:"expires"`
}

// Tokens returns a person's tokens, the newest first, ended ones among them.
// People see their own; for others it asks for token.manage.
func (a *Auth) Tokens(ctx context.Context, id albs.UserID) ([]Token, error) {
	if err := Can(ctx, TokenManage, Object{Owner: id}); err != nil {
		return nil, err
	}
	return tokens(ctx, a.d, id)
}

// RevokeToken ends a token and the sessions begun with it. Doing it twice changes
// nothing; an unknown id is NotFound. People revoke their own; for others it asks
// for token.manage.
func (a *Auth) RevokeToken(ctx context.Context, id int64) error {
	return a.d.InTx(ctx, func(tx db.Tx) error {
		t, err := tokenByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := Can(ctx, TokenManage, Object{Owner: t.User}); err != nil {
			return err
		}
		u, err := userByID(ctx, tx, t.User)
		if err != nil {
			return err
		}
		return a.revokeToken(ctx, tx, u, t)
	})
}

// revokeToken ends u's token t unless it was revoked already.
func (a *Auth) revokeToken(ctx context.Context, tx db.Tx, u User, t Token) error {
	if !t.RevokedAt.IsZero() {
		return nil
	}
	if err := revokeToken(ctx, tx, t.ID, a.time()); err != nil {
		return err
	}
	return a.record(ctx, tx, "token.revoked", userTopic(u.Name), tokenEvent{t.Prefix, t.ExpiresAt.Time})
}

// person returns the actor behind a person's token and the token's id.
func (a *Auth) person(ctx context.Context, secret string) (Actor, int64, error) {
	t, err := tokenByHash(ctx, a.d, albs.DigestOf([]byte(secret)))
	if albs.KindOf(err) == albs.NotFound {
		return Actor{}, 0, albs.Errorf(albs.Unauthenticated, "the token is unknown: make one with albs token create")
	}
	if err != nil {
		return Actor{}, 0, err
	}
	u, err := userByID(ctx, a.d, t.User)
	if err != nil {
		return Actor{}, 0, err
	}
	switch {
	case !u.DisabledAt.IsZero():
		return Actor{}, 0, albs.Errorf(albs.Unauthenticated, "the account %s is disabled", u.Name)
	case !t.RevokedAt.IsZero():
		return Actor{}, 0, albs.Errorf(albs.Unauthenticated, "the token %s… was revoked", t.Prefix)
	case !a.now().Before(t.ExpiresAt.Time):
		return Actor{}, 0, albs.Errorf(albs.Unauthenticated, "the token %s… expired: make another with albs token create", t.Prefix)
	}
	a.used(ctx, "token", t.ID, t.UsedAt)
	return Actor{Kind: KindPerson, User: u.ID, Name: u.Name, Grants: u.Grants}, t.ID, nil
}

// Login begins a session for the pages with a person's token and returns the
// value of its cookie, good for twelve hours or until the token is revoked. A
// token that is not in force is Unauthenticated, as is a worker's.
func (a *Auth) Login(ctx context.Context, token string) (string, error) {
	if len(token) > maxSecret {
		return "", albs.Errorf(albs.Unauthenticated, "the token is not one of albs")
	}
	actor, tokenID, err := a.person(ctx, token)
	if err != nil {
		return "", err
	}
	secret, now := randomSecret(), a.time()
	err = a.d.InTx(ctx, func(tx db.Tx) error {
		if err := deleteExpiredSessions(ctx, tx, now); err != nil {
			return err
		}
		if err := insertSession(ctx, tx, albs.DigestOf([]byte(secret)), tokenID, now, db.At(now.Add(sessionTTL))); err != nil {
			return err
		}
		return a.record(With(ctx, actor), tx, "session.begun", userTopic(actor.Name), nil)
	})
	if err != nil {
		return "", err
	}
	return secret, nil
}

// Session returns the person of a session's cookie, with the roles held at this
// moment; Unauthenticated if the session has ended or never was.
func (a *Auth) Session(ctx context.Context, session string) (Actor, error) {
	ended := albs.Errorf(albs.Unauthenticated, "the session has ended: log in again")
	if session == "" || len(session) > maxSecret {
		return Actor{}, ended
	}
	id, err := sessionAccount(ctx, a.d, albs.DigestOf([]byte(session)), a.time())
	if albs.KindOf(err) == albs.NotFound {
		return Actor{}, ended
	}
	if err != nil {
		return Actor{}, err
	}
	u, err := userByID(ctx, a.d, id)
	if err != nil {
		return Actor{}, err
	}
	if !u.DisabledAt.IsZero() {
		return Actor{}, ended
	}
	return Actor{Kind: KindPerson, User: u.ID, Name: u.Name, Grants: u.Grants}, nil
}

// Logout ends a session; one that has ended already is no error.
func (a *Auth) Logout(ctx context.Context, session string) error {
	if len(session) > maxSecret {
		return nil
	}
	return deleteSession(ctx, a.d, albs.DigestOf([]byte(session)))
}
