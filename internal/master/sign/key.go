package sign

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/queue"
	"albs/internal/pgp"
)

// Key is the public part of a signing key.
type Key struct {
	Fingerprint string // 40 upper-case hex digits
	Subkey      string // that of the subkey which signs, "" if the key itself does
	Name        string // by which products call it
	UserID      string // as "AlmaLinux 9 <packager@example.org>"
	Algorithm   string // pgp.RSA4096 or pgp.Ed25519
	Kept        string // where its private part is, albs.KeptInFile or albs.KeptInToken; "" if its signer didn't say
	Products    []string
	Public      []byte // ASCII-armored, with the certificate of its revocation if it has one
	CreatedAt   time.Time
	NotBefore   time.Time // it signs from then on; zero means from the beginning
	NotAfter    time.Time // and until then; zero means without end
	Active      bool
	RevokedAt   time.Time // zero if it isn't revoked
}

// Unusable returns why the key signs nothing at a time, a clause for people, or "".
func (k Key) Unusable(at time.Time) string {
	switch {
	case !k.RevokedAt.IsZero():
		return "was revoked at " + second(k.RevokedAt)
	case !k.Active:
		return "is not active any more"
	case at.Before(k.NotBefore):
		return "may be used from " + second(k.NotBefore) + " on"
	case !k.NotAfter.IsZero() && at.After(k.NotAfter):
		return "might be used until " + second(k.NotAfter)
	}
	return ""
}

func second(t time.Time) string { return t.UTC().Format(time.RFC3339) }

// NewKey says what key is wanted.
type NewKey struct {
	Name      string // what products will call it
	UserID    string // what it says in itself
	Algorithm string // pgp.RSA4096 or pgp.Ed25519
	// Subkey wants a primary key that only certifies, and a subkey that signs.
	Subkey bool
	// Products are the only ones that it signs for, also by the signer's own policy; any
	// if there are none.
	Products []string
	// NotBefore and NotAfter are the time of its use, likewise; a zero one is no bound.
	NotBefore, NotAfter time.Time
}

// Keygen is a wish for a new key.
type Keygen struct {
	NewKey
	Task        queue.Task
	Requester   string
	CreatedAt   time.Time
	Fingerprint string // "" until the key is there
}

const (
	maxProducts = 64
	// maxPublic bounds a public key; RSA-4096 with its user id has some 3 KiB.
	maxPublic = 32 << 10
)

// GenerateKey has a signer make a key that never leaves it, and returns the task.
// Errors: Forbidden without key.generate on the team of each product (without products,
// on the whole installation), Invalid, NotFound for an unknown product, Conflict if the
// name is taken or a key of that name is being made.
func (s *Signing) GenerateKey(ctx context.Context, n NewKey) (albs.TaskID, error) {
	if err := s.mayGenerate(ctx, n.Products); err != nil {
		return 0, err
	}
	name, products := n.Name, n.Products
	switch {
	case artifact.CheckName(name) != nil || len(name) > 64 || pgp.IsFingerprint(name):
		return 0, albs.Errorf(albs.Invalid, "%.80q can't be a key's name: use a plain word of at most 64 bytes that isn't a fingerprint", name)
	case n.Algorithm != pgp.RSA4096 && n.Algorithm != pgp.Ed25519:
		return 0, albs.Errorf(albs.Invalid, "key algorithm %.40q is neither %s nor %s", n.Algorithm, pgp.RSA4096, pgp.Ed25519)
	case !n.NotAfter.IsZero() && !n.NotAfter.After(n.NotBefore):
		return 0, albs.Errorf(albs.Invalid, "a key that may be used until %s may not begin at %s", second(n.NotAfter), second(n.NotBefore))
	case !n.NotAfter.IsZero() && !n.NotAfter.After(time.Now()):
		return 0, albs.Errorf(albs.Invalid, "a key that might be used until %s would never sign", second(n.NotAfter))
	}
	userID, err := pgp.UserID(n.UserID)
	if err != nil {
		return 0, err
	}
	n.NotBefore, n.NotAfter = db.At(n.NotBefore).Time, db.At(n.NotAfter).Time // as they are kept, so that the signer is told the same
	list, err := json.Marshal(append([]string{}, products...))
	if err != nil {
		return 0, fmt.Errorf("encode products: %w", err)
	}
	row := keygenRow{
		Name: name, UserID: userID, Algorithm: n.Algorithm, Subkey: n.Subkey, Products: string(list),
		NotBefore: db.Time{Time: n.NotBefore}, NotAfter: db.Time{Time: n.NotAfter}, Requester: auth.From(ctx).Name, CreatedAt: db.Now(),
	}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		if taken, err := s.store.nameTaken(ctx, tx, name); err != nil || taken {
			if err == nil {
				err = albs.Errorf(albs.Conflict, "there is a key %s already, or one is being made: choose another name", name)
			}
			return err
		}
		var err error
		row.TaskID, err = s.queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindKeygen, Lane: "keys", Topic: topic(name),
			Spec: albs.Spec{Keygen: &albs.KeygenSpec{
				Name: userID, Algorithm: n.Algorithm, Subkey: n.Subkey, Products: products, NotBefore: n.NotBefore, NotAfter: n.NotAfter,
			}},
		})
		if err != nil {
			return err
		}
		if err := s.store.addKeygen(ctx, tx, row); err != nil {
			return err
		}
		return s.events.Add(ctx, tx, "key.requested", topic(name), auth.From(ctx).String(), map[string]any{
			"task": row.TaskID, "name": name, "algorithm": n.Algorithm, "products": products,
		})
	})
	if db.IsUnique(err) {
		return 0, albs.Errorf(albs.Conflict, "a key %s is being made already", name)
	}
	if err != nil {
		return 0, fmt.Errorf("generate key %s: %w", name, err)
	}
	return row.TaskID, nil
}

// topic is the event topic of a key.
func topic(name string) string { return "key:" + name }

func (s *Signing) mayGenerate(ctx context.Context, products []string) error {
	if len(products) == 0 {
		return auth.Can(ctx, auth.KeyGenerate, auth.Object{})
	}
	if len(products) > maxProducts {
		return albs.Errorf(albs.Invalid, "a key is made for at most %d products", maxProducts)
	}
	for i, name := range products {
		if slices.Contains(products[:i], name) {
			return albs.Errorf(albs.Invalid, "product %s is named twice", name)
		}
		p, err := s.products.Get(ctx, name)
		if err != nil {
			return err
		}
		if err := auth.Can(ctx, auth.KeyGenerate, p.Object()); err != nil {
			return err
		}
	}
	return nil
}

// Keygen returns a wish for a key by its task, or NotFound.
func (s *Signing) Keygen(ctx context.Context, task albs.TaskID) (Keygen, error) {
	row, err := s.store.keygen(ctx, s.store.d, task)
	if err != nil {
		return Keygen{}, err
	}
	out := Keygen{
		NewKey: NewKey{
			Name: row.Name, UserID: row.UserID, Algorithm: row.Algorithm, Subkey: row.Subkey,
			NotBefore: row.NotBefore.Time, NotAfter: row.NotAfter.Time,
		},
		Requester: row.Requester, CreatedAt: row.CreatedAt.Time, Fingerprint: row.Fingerprint.String,
	}
	if err := json.Unmarshal([]byte(row.Products), &out.Products); err != nil {
		return out, fmt.Errorf("products of key %s: %w", row.Name, err)
	}
	out.Task, err = s.queue.Task(ctx, task)
	return out, err
}

// Keys returns every key by name, inactive ones among them.
func (s *Signing) Keys(ctx context.Context) ([]Key, error) {
	rows, err := s.store.keys(ctx, s.store.d)
	if err != nil {
		return nil, fmt.Errorf("list keys: %w", err)
	}
	out := make([]Key, len(rows))
	for i, r := range rows {
		if out[i], err = r.key(); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// Key returns the key of that name or fingerprint, or NotFound.
func (s *Signing) Key(ctx context.Context, nameOrFingerprint string) (Key, error) {
	row, err := s.store.key(ctx, s.store.d, nameOrFingerprint)
	if err != nil {
		return Key{}, err
	}
	return row.key()
}

// PublicKey returns the public part of a key, by name or fingerprint, ASCII-armored as it is
// registered. Errors: NotFound, and Conflict for one that was revoked.
func (s *Signing) PublicKey(ctx context.Context, nameOrFingerprint string) ([]byte, error) {
	k, err := s.Key(ctx, nameOrFingerprint)
	if err != nil {
		return nil, err
	}
	if !k.RevokedAt.IsZero() {
		return nil, albs.Errorf(albs.Conflict, "key %s was revoked at %s: nothing that it signed is good any more", k.Name, second(k.RevokedAt))
	}
	return k.Public, nil
}

// usable returns the key if it may sign for a product now.
func (s *Signing) usable(ctx context.Context, q db.Q, key, product string) (Key, error) {
	row, err := s.store.key(ctx, q, key)
	if err != nil {
		return Key{}, err
	}
	k, err := row.key()
	if err != nil {
		return Key{}, err
	}
	if why := k.Unusable(time.Now()); why != "" {
		return Key{}, albs.Errorf(albs.Conflict, "key %s %s", k.Name, why)
	}
	if len(k.Products) > 0 && !slices.Contains(k.Products, product) {
		return Key{}, albs.Errorf(albs.Conflict, "key %s was made for %v and signs nothing of %q", k.Name, k.Products, product)
	}
	return k, nil
}

// Deactivate ends the use of a key for new requests; what it signed stays good.
// Doing it twice changes nothing. Forbidden as for GenerateKey, NotFound.
func (s *Signing) Deactivate(ctx context.Context, nameOrFingerprint string) error {
	k, err := s.Key(ctx, nameOrFingerprint)
	if err != nil {
		return err
	}
	if err := s.mayGenerate(ctx, k.Products); err != nil {
		return err
	}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error {
		if done, err := s.store.deactivate(ctx, tx, k.Fingerprint); err != nil || !done {
			return err
		}
		return s.events.Add(ctx, tx, "key.deactivated", topic(k.Name), auth.From(ctx).String(), map[string]any{"fingerprint": k.Fingerprint})
	})
	if err != nil {
		return fmt.Errorf("deactivate key %s: %w", k.Name, err)
	}
	return nil
}

func (r keyRow) key() (Key, error) {
	k := Key{
		Fingerprint: r.Fingerprint, Name: r.Name, UserID: r.UserID, Algorithm: r.Algorithm, Public: []byte(r.Public),
		CreatedAt: r.CreatedAt.Time, Active: r.Active, Subkey: r.Subkey, Kept: r.Kept, NotBefore: r.NotBefore.Time, NotAfter: r.NotAfter.Time,
		RevokedAt: r.RevokedAt.Time,
	}
	if r.RevokedPublic != "" {
		k.Public = []byte(r.RevokedPublic)
	}
	if err := json.Unmarshal([]byte(r.Products), &k.Products); err != nil {
		return k, fmt.Errorf("products of key %s: %w", r.Name, err)
	}
	return k, nil
}

// keygenHandler takes in the public part of a new key.
type keygenHandler struct{ *Signing }

func (h keygenHandler) Offer(_ context.Context, t queue.Task, _ queue.Offer) (albs.Spec, json.RawMessage, error) {
	return t.Spec, nil, nil
}

func (h keygenHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded { // by which the wish would never end
		return nil, albs.Errorf(albs.Invalid, "a signer excludes no key")
	}
	if outcome != albs.OutcomeOK {
		return nil, nil
	}
	if r.Keygen == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and brings no key")
	}
	if l.Spec.Keygen != nil && l.Spec.Keygen.Revoke != nil {
		return h.admitRevocation(ctx, l, *r.Keygen)
	}
	wish, err := h.store.keygen(ctx, h.store.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	k, err := checkPublic(*r.Keygen, wish)
	if err != nil {
		return nil, err
	}
	row := keyRow{
		Fingerprint: r.Keygen.Fingerprint, Name: wish.Name, UserID: wish.UserID, Algorithm: wish.Algorithm,
		Products: wish.Products, Public: string(r.Keygen.Public), CreatedAt: db.Now(), Active: true,
		Subkey: k.Subkey, Kept: r.Keygen.Kept, NotBefore: wish.NotBefore, NotAfter: wish.NotAfter,
	}
	who := auth.From(ctx).String()
	return func(ctx context.Context, tx db.Tx) error {
		if there, err := h.store.hasKey(ctx, tx, row.Fingerprint); err != nil || there {
			if err == nil {
				err = albs.Errorf(albs.Invalid, "key %s is registered already", row.Fingerprint)
			}
			return err
		}
		if err := h.store.addKey(ctx, tx, row); err != nil {
			return err
		}
		if err := h.store.endKeygen(ctx, tx, wish.TaskID, row.Fingerprint); err != nil {
			return err
		}
		return h.events.Add(ctx, tx, "key.generated", topic(row.Name), who, map[string]any{
			"fingerprint": row.Fingerprint, "name": row.Name, "algorithm": row.Algorithm,
		})
	}, nil
}

// checkPublic returns the key that came, if it is the one that was asked for: one key,
// public, with the fingerprint told, of that user id and algorithm, with a signing
// subkey or without, and not revoked.
func checkPublic(r albs.KeygenResult, wish keygenRow) (pgp.PublicKey, error) {
	k, err := onePublic(r)
	if err != nil {
		return k, err
	}
	switch {
	case k.Algorithm != wish.Algorithm:
		return k, albs.Errorf(albs.Invalid, "the key is of algorithm %s, %s was asked for", k.Algorithm, wish.Algorithm)
	case k.UserID != wish.UserID:
		return k, albs.Errorf(albs.Invalid, "the key is of %q, one of %q was asked for", k.UserID, wish.UserID)
	case (k.Subkey != "") != wish.Subkey:
		return k, albs.Errorf(albs.Invalid, "the key has a subkey that signs or has none, and the other was asked for")
	case k.Revoked:
		return k, albs.Errorf(albs.Invalid, "the key is revoked")
	}
	return k, nil
}

// onePublic reads the key that a result brings.
func onePublic(r albs.KeygenResult) (pgp.PublicKey, error) {
	var none pgp.PublicKey
	if len(r.Public) > maxPublic {
		return none, albs.Errorf(albs.TooLarge, "a public key of %d bytes, at most %d are read", len(r.Public), maxPublic)
	}
	if r.Kept != "" && r.Kept != albs.KeptInFile && r.Kept != albs.KeptInToken {
		return none, albs.Errorf(albs.Invalid, "a key is kept in a %s or a %s, not in a %.40q", albs.KeptInFile, albs.KeptInToken, r.Kept)
	}
	kr, err := pgp.ReadKeyring(r.Public)
	if err != nil {
		return none, err
	}
	keys := kr.Keys()
	if len(keys) != 1 {
		return none, albs.Errorf(albs.Invalid, "%d keys came where one was asked for", len(keys))
	}
	if keys[0].Fingerprint != r.Fingerprint {
		return none, albs.Errorf(albs.Invalid, "the key is %s, the signer told of %.60q", keys[0].Fingerprint, r.Fingerprint)
	}
	return keys[0], nil
}

// Ended lets the name be used again, or the revocation be asked for again.
func (h keygenHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	if t.Spec.Keygen != nil && t.Spec.Keygen.Revoke != nil {
		return h.store.endRevocation(ctx, tx, t.ID)
	}
	return h.store.endKeygen(ctx, tx, t.ID, "")
}

func (h keygenHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

func (h keygenHandler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) {
	return false, nil
}
