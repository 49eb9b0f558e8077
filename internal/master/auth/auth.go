// Package auth owns who may do what: people's accounts, teams and roles, their
// tokens, the sessions of pages, the identities of workers, and approvals.
//
// An Actor travels in the context: a face authenticates once and puts it there
// with With; a method that faces call asks Can; a method that takes a
// transaction only records the actor. The verbs and what each role may do are
// one literal table in policy.go.
//
// Secrets are random 256 bits, shown once and stored as their sha256; a look-up
// is by that hash, so its time tells nothing about another secret. Every change
// adds an event in its own transaction. The package knows nothing of builds or
// releases: an approval binds a person to a digest under a subject that its
// owner names.
package auth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"regexp"
	"strings"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/db"
)

// Events is where changes are put on record; event.Log is one.
type Events interface {
	// Add writes one event in the transaction of the change that it tells of.
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
}

// Auth keeps accounts, teams, tokens, sessions, workers and approvals. It may be
// used concurrently.
type Auth struct {
	d      *db.DB
	events Events
	log    zerolog.Logger
	now    func() time.Time
}

// New returns an Auth over the database d that puts its changes into events. It
// does no I/O.
func New(d *db.DB, events Events, log zerolog.Logger) *Auth {
	return &Auth{d: d, events: events, log: log, now: time.Now}
}

func (a *Auth) time() db.Time { return db.At(a.now()) }

// The letters after "albs_" tell a secret's kind, so that a scanner knows what leaked.
const (
	letterUser   = "u"
	letterWorker = "w"
	secretBytes  = 32
	prefixLength = len("albs_u") + 6 // what lists show: enough to tell tokens apart, no help in guessing
	maxSecret    = 128               // longer strings are not ours and aren't hashed
)

var secretCoding = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

func randomSecret() string {
	b := make([]byte, secretBytes)
	rand.Read(b) // never fails: crypto/rand ends the process instead
	return secretCoding.EncodeToString(b)
}

func newToken(letter string) (secret, prefix string, hash albs.Digest) {
	secret = "albs_" + letter + randomSecret()
	return secret, secret[:prefixLength], albs.DigestOf([]byte(secret))
}

// Authenticate returns the actor whose bearer token this is: a person with the
// roles held at this moment, or a worker. An empty bearer is the anonymous
// actor; an unknown, expired or revoked token, and one of a disabled owner, is
// Unauthenticated.
func (a *Auth) Authenticate(ctx context.Context, bearer string) (Actor, error) {
	switch {
	case bearer == "":
		return Anonymous, nil
	case len(bearer) > maxSecret:
	case strings.HasPrefix(bearer, "albs_"+letterUser):
		actor, _, err := a.person(ctx, bearer)
		return actor, err
	case strings.HasPrefix(bearer, "albs_"+letterWorker):
		return a.worker(ctx, bearer)
	}
	return Actor{}, albs.Errorf(albs.Unauthenticated, "the token is not one of albs: make one with albs token create")
}

// used notes the use of a token, once an hour, beside the request: a database
// that cannot write must not keep people from reading.
func (a *Auth) used(ctx context.Context, table string, id int64, last db.Time) {
	hour := db.At(a.now().Truncate(time.Hour))
	if !last.Before(hour.Time) {
		return
	}
	if err := touch(ctx, a.d, table, id, hour); err != nil && ctx.Err() == nil {
		a.log.Warn().Err(err).Int64("id", id).Str("table", table).Msg("note use of a token")
	}
}

var namePattern = regexp.MustCompile(`^[a-z0-9]([a-z0-9._-]{0,61}[a-z0-9])?$`)

// checkName refuses names that could be taken for something else where they are
// shown, logged or put into a path.
func checkName(what, s string) error {
	if !namePattern.MatchString(s) {
		return albs.Errorf(albs.Invalid,
			"%s name %.80q: use 1 to 63 lower-case letters, digits, dots, dashes and underscores, a letter or digit first and last", what, s)
	}
	return nil
}

func checkNote(s string) error {
	if len(s) > maxNote {
		return albs.Errorf(albs.TooLarge, "the note has %d bytes, %d are allowed", len(s), maxNote)
	}
	return nil
}

const maxNote = 2000
