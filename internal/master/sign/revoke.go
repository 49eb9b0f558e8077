package sign

import (
	"context"
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue"
	"albs/internal/pgp"
)

// Revocation is somebody's wish that a key ends.
type Revocation struct {
	Task      queue.Task
	Key       string // fingerprint
	Reason    string // pgp.Compromised, pgp.Superseded or pgp.Retired
	Text      string // for people
	Requester string
	CreatedAt time.Time
}

// RevokeKey has the signer that holds a key, given by name or fingerprint, certify that
// it is revoked, and use it for nothing else from then on; it returns the task. The key
// is inactive at once: nothing new is given to be signed with it. What it signed is good
// for nothing any more to whoever has the certificate, which the next release of a
// product with the key publishes. While such a task is open it is returned again.
// Errors: Forbidden as for GenerateKey, NotFound, Invalid as of pgp.CheckRevocation,
// Conflict if the key is revoked.
func (s *Signing) RevokeKey(ctx context.Context, nameOrFingerprint, reason, text string) (albs.TaskID, error) {
	k, err := s.Key(ctx, nameOrFingerprint)
	if err != nil {
		return 0, err
	}
	if err := s.mayGenerate(ctx, k.Products); err != nil {
		return 0, err
	}
	if err := pgp.CheckRevocation(reason, text); err != nil {
		return 0, err
	}
	row := revocationRow{Key: k.Fingerprint, Reason: reason, Text: text, Requester: auth.From(ctx).Name, CreatedAt: db.Now()}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		now, err := s.store.key(ctx, tx, k.Fingerprint)
		if err != nil {
			return err
		}
		if !now.RevokedAt.IsZero() {
			return albs.Errorf(albs.Conflict, "key %s was revoked at %s", k.Name, second(now.RevokedAt.Time))
		}
		open, err := s.store.openRevocation(ctx, tx, k.Fingerprint)
		if err != nil || open != 0 {
			row.TaskID = open
			return err
		}
		if _, err := s.store.deactivate(ctx, tx, k.Fingerprint); err != nil {
			return err
		}
		row.TaskID, err = s.queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindKeygen, Lane: "keys", Topic: topic(k.Name), Needs: []string{"key:" + k.Fingerprint},
			Spec: albs.Spec{Keygen: &albs.KeygenSpec{Revoke: &albs.Revocation{Key: k.Fingerprint, Reason: reason, Text: text}}},
		})
		if err != nil {
			return err
		}
		if err := s.store.addRevocation(ctx, tx, row); err != nil {
			return err
		}
		return s.events.Add(ctx, tx, "key.revocation-requested", topic(k.Name), auth.From(ctx).String(), map[string]any{
			"task": row.TaskID, "fingerprint": k.Fingerprint, "reason": reason, "text": text,
		})
	})
	if err != nil {
		return 0, fmt.Errorf("revoke key %s: %w", k.Name, err)
	}
	return row.TaskID, nil
}

// Revocation returns the newest wish that a key, given by name or fingerprint, ends, or
// NotFound.
func (s *Signing) Revocation(ctx context.Context, nameOrFingerprint string) (Revocation, error) {
	k, err := s.Key(ctx, nameOrFingerprint)
	if err != nil {
		return Revocation{}, err
	}
	row, err := s.store.lastRevocation(ctx, s.store.d, k.Fingerprint)
	if err != nil {
		return Revocation{}, err
	}
	out := Revocation{Key: row.Key, Reason: row.Reason, Text: row.Text, Requester: row.Requester, CreatedAt: row.CreatedAt.Time}
	out.Task, err = s.queue.Task(ctx, row.TaskID)
	return out, err
}

// SignedBy returns the digests of the packages that a key, by fingerprint, signed.
func (s *Signing) SignedBy(ctx context.Context, fingerprint string) (map[albs.Digest]bool, error) {
	list, err := s.store.signedBy(ctx, s.store.d, fingerprint)
	if err != nil {
		return nil, fmt.Errorf("what key %s signed: %w", fingerprint, err)
	}
	out := make(map[albs.Digest]bool, len(list))
	for _, d := range list {
		out[d] = true
	}
	return out, nil
}

// Revoked returns the name of a revoked key that an unsigned package is signed with, if
// it is signed with no other one; else "".
func (s *Signing) Revoked(ctx context.Context, unsigned albs.Digest) (string, error) {
	list, err := s.store.keysOf(ctx, s.store.d, unsigned)
	if err != nil {
		return "", fmt.Errorf("keys that signed %s: %w", unsigned.Short(), err)
	}
	name := ""
	for _, fpr := range list {
		k, err := s.Key(ctx, fpr)
		if err != nil {
			return "", err
		}
		if k.RevokedAt.IsZero() {
			return "", nil
		}
		name = k.Name
	}
	return name, nil
}

// admitRevocation takes in a key's certificate of revocation, and states it: from then
// on the ledger knows.
func (h keygenHandler) admitRevocation(ctx context.Context, l queue.Lease, r albs.KeygenResult) (func(context.Context, db.Tx) error, error) {
	wish, err := h.store.revocation(ctx, h.store.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	before, err := h.store.key(ctx, h.store.d, wish.Key)
	if err != nil {
		return nil, err
	}
	k, err := onePublic(r)
	switch {
	case err != nil:
		return nil, err
	case k.Fingerprint != wish.Key || k.Subkey != before.Subkey:
		return nil, albs.Errorf(albs.Invalid, "a certificate for key %s came, that of %s was asked for", k.Fingerprint, wish.Key)
	case !k.Revoked:
		return nil, albs.Errorf(albs.Invalid, "key %s came without a certificate of its revocation", k.Fingerprint)
	}
	who := auth.From(ctx).String()
	return func(ctx context.Context, tx db.Tx) error {
		now, err := h.store.key(ctx, tx, wish.Key)
		if err != nil {
			return err
		}
		if err := h.store.endRevocation(ctx, tx, wish.TaskID); err != nil {
			return err
		}
		if err := h.store.revoke(ctx, tx, wish.Key, string(r.Public), db.Now()); err != nil {
			return err
		}
		file := albs.File{Name: wish.Key + ".asc", Digest: albs.DigestOf(r.Public), Size: int64(len(r.Public))}
		body := attest.KeyRevokedBody{Fingerprint: wish.Key, Reason: wish.Reason, Text: wish.Text, Requester: wish.Requester}
		if err := h.state(ctx, tx, file, attest.KeyRevoked, body); err != nil {
			return err
		}
		return h.events.Add(ctx, tx, "key.revoked", topic(now.Name), who, map[string]any{
			"fingerprint": wish.Key, "name": now.Name, "reason": wish.Reason, "text": wish.Text,
		})
	}, nil
}
