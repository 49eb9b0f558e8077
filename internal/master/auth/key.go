package auth

import (
	"context"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/sshkey"
)

// maxKeys bounds the keys of one person that are in use.
const maxKeys = 16

// Key is the public part of a key by which a person signs approvals. The private part
// is that person's alone.
type Key struct {
	ID        int64       `db:"id"`
	User      albs.UserID `db:"account_id"`
	KeyID     string      `db:"keyid"`  // as envelopes name it (attest.KeyID)
	Public    string      `db:"public"` // a line as OpenSSH's authorized_keys has it
	CreatedAt db.Time     `db:"created_at"`
	RemovedAt db.Time     `db:"removed_at"` // zero while its approvals count
}

// Fingerprint returns the key's name as ssh-keygen -l prints it.
func (k Key) Fingerprint() string {
	p, err := sshkey.ParsePublic(k.Public)
	if err != nil { // AddKey has read it
		return ""
	}
	return sshkey.Fingerprint(p.Key)
}

// AddKey registers the public key in line, as a file .pub of OpenSSH's has it, for a
// person. People register their own; for others it asks for user.key. A line that is no
// key of Ed25519 is Invalid; a key in use, of whomever, a disabled account and more than
// 16 keys are a Conflict.
func (a *Auth) AddKey(ctx context.Context, id albs.UserID, line string) (Key, error) {
	if err := Can(ctx, UserKey, Object{Owner: id}); err != nil {
		return Key{}, err
	}
	p, err := sshkey.ParsePublic(line)
	if err != nil {
		return Key{}, err
	}
	k := Key{User: id, KeyID: attest.KeyID(p.Key), Public: p.String(), CreatedAt: a.time()}
	err = a.d.InTx(ctx, func(tx db.Tx) error {
		u, err := userByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if !u.DisabledAt.IsZero() {
			return albs.Errorf(albs.Conflict, "user %s is disabled", u.Name)
		}
		held, err := keysInUse(ctx, tx, id)
		if err != nil {
			return err
		}
		if len(held) >= maxKeys {
			return albs.Errorf(albs.Conflict, "user %s has %d keys, which is the most: remove one first", u.Name, maxKeys)
		}
		if k.ID, err = insertKey(ctx, tx, k); db.IsUnique(err) {
			return albs.Errorf(albs.Conflict, "the key %s is registered already: each person has keys of their own", k.Fingerprint())
		} else if err != nil {
			return err
		}
		return a.record(ctx, tx, "user.key_added", userTopic(u.Name), keyEvent{k.Fingerprint()})
	})
	return k, err
}

type keyEvent struct {
	Key string `json:"key"`
}

// Keys returns a person's keys, the newest first, removed ones among them. People see
// their own; for others it asks for user.key.
func (a *Auth) Keys(ctx context.Context, id albs.UserID) ([]Key, error) {
	if err := Can(ctx, UserKey, Object{Owner: id}); err != nil {
		return nil, err
	}
	if _, err := userByID(ctx, a.d, id); err != nil {
		return nil, err
	}
	return allKeys(ctx, a.d, id)
}

// RemoveKey ends the use of a key: what it approved and isn't published yet counts no
// more. Doing it twice changes nothing; an unknown id is NotFound. People remove their
// own; for others it asks for user.key.
func (a *Auth) RemoveKey(ctx context.Context, id int64) error {
	return a.d.InTx(ctx, func(tx db.Tx) error {
		k, err := keyByID(ctx, tx, id)
		if err != nil {
			return err
		}
		if err := Can(ctx, UserKey, Object{Owner: k.User}); err != nil {
			return err
		}
		if !k.RemovedAt.IsZero() {
			return nil
		}
		u, err := userByID(ctx, tx, k.User)
		if err != nil {
			return err
		}
		if err := removeKey(ctx, tx, id, a.time()); err != nil {
			return err
		}
		return a.record(ctx, tx, "user.key_removed", userTopic(u.Name), keyEvent{k.Fingerprint()})
	})
}

// opened returns the approval in an envelope about digest d under subject, signed by a key
// in use of the person, else Invalid.
func (a *Auth) opened(ctx context.Context, q db.Q, p Approval) (attest.ApprovalBody, error) {
	var none attest.ApprovalBody
	e, err := attest.ParseEnvelope([]byte(p.Envelope))
	if err != nil {
		return none, albs.Errorf(albs.Invalid, "the approval is no envelope: %w", err)
	}
	held, err := keysInUse(ctx, q, p.User)
	if err != nil {
		return none, err
	}
	for _, k := range held {
		public, err := sshkey.ParsePublic(k.Public)
		if err != nil {
			return none, err
		}
		if len(e.Signatures) != 1 || e.Signatures[0].KeyID != attest.KeyID(public.Key) {
			continue
		}
		subject, body, err := attest.OpenApproval(e, p.Digest, public.Key)
		switch {
		case err != nil:
			return none, err
		case subject != p.Subject:
			return none, albs.Errorf(albs.Invalid, "the approval is for %.80q and not for %s", subject, p.Subject)
		case body.Person != p.Name:
			return none, albs.Errorf(albs.Invalid, "the approval is by %.80q and not by %s", body.Person, p.Name)
		}
		return body, nil
	}
	return none, albs.Errorf(albs.Invalid, "no key of %s signed the approval: register its public part with albs user key add", p.Name)
}
