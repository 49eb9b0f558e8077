package provenance

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// Signers and releasers state by themselves what they did. Whose key is whose is stated
// too, by the master and about the worker's identity, so that a row of this database makes
// no key a signer's.

// Events of the keys of workers.
const (
	KindKeyKept      = "worker.key_kept"
	KindKeyForgotten = "worker.key_forgotten"
)

// keyEvent is the data of both.
type keyEvent struct {
	KeyID string `json:"keyid"`
}

// states reports whether a role makes statements by a key of its own.
func states(r albs.Role) bool { return r == albs.RoleSigner || r == albs.RoleReleaser }

// Meet keeps the key of its statements that a worker tells, as PublicKey spells it, for
// its identity the first time, and from then on is Forbidden for any other key, until
// somebody had it forgotten. A signer or releaser without a key, and another worker with
// one, are Forbidden; what is no key is Invalid. On return of nil the key is kept, durably.
func (p *Provenance) Meet(ctx context.Context, me auth.Actor, key string) error {
	switch {
	case !states(me.Role) && key == "":
		return nil
	case !states(me.Role):
		return albs.Errorf(albs.Forbidden, "worker %s is a %s, which states nothing by itself and has no key for that", me.Name, me.Role)
	case key == "":
		return albs.Errorf(albs.Forbidden, "%s %s tells no key of its statements: it is of an older albs than the master; update it", me.Role, me.Name)
	}
	public, err := attest.ParsePublicKey(key)
	if err != nil {
		return fmt.Errorf("the statement key of worker %s: %w", me.Name, err)
	}
	about := attest.WorkerSubject(me.Role, me.Worker, me.Name)
	seen, err := countAbout(ctx, p.d, about.File(), attest.WorkerKey)
	if err != nil {
		return fmt.Errorf("count keys of worker %s: %w", me.Name, err)
	}
	have, err := p.workerKey(ctx, about)
	switch {
	case err != nil:
		return err
	case have == key:
		return nil
	case have != "":
		return albs.Errorf(albs.Forbidden, "worker %s has another statement key than the one that is kept for it: who shows its token may not be it. If its key was lost or made anew: albs worker rekey %s", me.Name, me.Name)
	}
	body := attest.WorkerKeyBody{Worker: me.Name, ID: me.Worker, Role: me.Role, Key: key}
	return p.stateKey(ctx, about, seen, body, KindKeyKept, attest.KeyID(public))
}

// ForgetKey lets a signer or releaser come with a new key of its statements. What was
// stated by the one before stays as it is, and true. Without one nothing is changed. It asks
// for worker.manage; a worker that states nothing by itself is Invalid.
func (p *Provenance) ForgetKey(ctx context.Context, w auth.Worker) error {
	if err := auth.Can(ctx, auth.WorkerManage, auth.Object{}); err != nil {
		return err
	}
	if !states(w.Role) {
		return albs.Errorf(albs.Invalid, "worker %s is a %s, which has no statement key", w.Name, w.Role)
	}
	about := attest.WorkerSubject(w.Role, w.ID, w.Name)
	seen, err := countAbout(ctx, p.d, about.File(), attest.WorkerKey)
	if err != nil {
		return fmt.Errorf("count keys of worker %s: %w", w.Name, err)
	}
	have, err := p.workerKey(ctx, about)
	if err != nil || have == "" {
		return err
	}
	public, err := attest.ParsePublicKey(have)
	if err != nil {
		return err
	}
	body := attest.WorkerKeyBody{Worker: w.Name, ID: w.ID, Role: w.Role, By: auth.From(ctx).String()}
	return p.stateKey(ctx, about, seen, body, KindKeyForgotten, attest.KeyID(public))
}

// stateKey states what is true of a worker's key from now on, unless something else was
// since seen statements were found.
func (p *Provenance) stateKey(ctx context.Context, about attest.Subject, seen int, body attest.WorkerKeyBody, event, keyID string) error {
	err := p.d.InTx(ctx, func(tx db.Tx) error {
		now, err := countAbout(ctx, tx, about.File(), attest.WorkerKey)
		if err != nil {
			return err
		}
		if now != seen {
			return albs.Errorf(albs.Conflict, "the key of worker %s has just changed: look again", body.Worker)
		}
		if err := p.State(ctx, tx, Fact{Subjects: []attest.Subject{about}, Predicate: attest.WorkerKey, Body: body}); err != nil {
			return err
		}
		return p.events.Add(ctx, tx, event, "worker:"+body.Worker, auth.From(ctx).String(), keyEvent{keyID})
	})
	if err != nil {
		return fmt.Errorf("state the key of worker %s: %w", body.Worker, err)
	}
	return nil
}

// workerKey returns the key that is kept for a worker, "" if none is, by what the master
// stated and the ledger proves, as far as it is there yet.
func (p *Provenance) workerKey(ctx context.Context, about attest.Subject) (string, error) {
	sts, err := p.Stated(ctx, about.File(), attest.WorkerKey)
	if err != nil || len(sts) == 0 {
		return "", err
	}
	var body attest.WorkerKeyBody
	err = sts[len(sts)-1].Body(&body)
	return body.Key, err
}

// KeyOf returns the key that the statements of a worker must be signed by; Invalid if none
// is kept for it.
func (p *Provenance) KeyOf(ctx context.Context, me auth.Actor) (ed25519.PublicKey, error) {
	key, err := p.workerKey(ctx, attest.WorkerSubject(me.Role, me.Worker, me.Name))
	if err != nil {
		return nil, err
	}
	if key == "" {
		return nil, albs.Errorf(albs.Invalid, "worker %s, a %s, has told no key of its statements", me.Name, cmp.Or(string(me.Role), "nobody"))
	}
	return attest.ParsePublicKey(key)
}

// WorkerKeys returns the keys that are kept for workers, as PublicKey spells them, for
// people to see. Anyone may ask.
func (p *Provenance) WorkerKeys(ctx context.Context) (map[albs.WorkerID]string, error) {
	out := map[albs.WorkerID]string{}
	err := p.eachKey(ctx, func(b attest.WorkerKeyBody) error {
		out[b.ID] = b.Key
		return nil
	})
	return out, err
}

// eachKey calls yield for what was stated of workers' keys, the oldest first, as far as
// the master signed it.
func (p *Provenance) eachKey(ctx context.Context, yield func(attest.WorkerKeyBody) error) error {
	rows, err := workerKeys(ctx, p.d)
	if err != nil {
		return fmt.Errorf("read keys of workers: %w", err)
	}
	for _, row := range rows {
		e, err := attest.ParseEnvelope([]byte(row.Envelope))
		if err != nil {
			return tampered("statement %d about %s: %v", row.ID, row.Subject.Short(), err)
		}
		st, err := e.Open(p.signer.Public())
		var body attest.WorkerKeyBody
		if err == nil {
			err = st.Body(&body)
		}
		if err != nil {
			return tampered("statement %d about %s: %v", row.ID, row.Subject.Short(), err)
		}
		if err := yield(body); err != nil {
			return err
		}
	}
	return nil
}

// stating returns the keys of which one must have signed e to be a statement of a
// predicate: the master's, and the one that e names if it is a worker's who states such
// things, now or before.
func (p *Provenance) stating(ctx context.Context, predicate string, e attest.Envelope) ([]ed25519.PublicKey, error) {
	keys := []ed25519.PublicKey{p.signer.Public()}
	role := attest.Stater(predicate)
	if role == albs.RoleMaster || len(e.Signatures) != 1 || e.Signatures[0].KeyID == p.signer.KeyID() {
		return keys, nil
	}
	name := string(role) + "/" + e.Signatures[0].KeyID
	p.mu.Lock()
	k := p.known[name]
	p.mu.Unlock()
	if k == nil {
		known, err := p.readKeys(ctx)
		if err != nil {
			return nil, err
		}
		k = known[name]
	}
	if k != nil {
		keys = append(keys, k)
	}
	return keys, nil
}

// readKeys fills known, and returns it.
func (p *Provenance) readKeys(ctx context.Context) (map[string]ed25519.PublicKey, error) {
	all := map[string]ed25519.PublicKey{}
	err := p.eachKey(ctx, func(b attest.WorkerKeyBody) error {
		if b.Key == "" {
			return nil
		}
		public, err := attest.ParsePublicKey(b.Key)
		if err == nil {
			all[string(b.Role)+"/"+attest.KeyID(public)] = public
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.known = all
	return all, nil
}

// keysOf returns the keys that workers of a role have or had, as Trust lists them, and the
// master's own if it made the first statement of the predicate: that was before they had
// keys. None if there is none of theirs.
func (p *Provenance) keysOf(ctx context.Context, role albs.Role, predicate string) ([]string, error) {
	var out []string
	seen := map[string]bool{}
	err := p.eachKey(ctx, func(b attest.WorkerKeyBody) error {
		if b.Role == role && b.Key != "" && !seen[b.Key] {
			seen[b.Key] = true
			out = append(out, b.Key)
		}
		return nil
	})
	if err != nil || len(out) == 0 {
		return nil, err
	}
	first, err := firstOf(ctx, p.d, predicate)
	if errors.Is(err, albs.NotFound) {
		return out, nil
	}
	if err != nil {
		return nil, fmt.Errorf("find the first %s statement: %w", predicate, err)
	}
	e, err := attest.ParseEnvelope([]byte(first.Envelope))
	if err != nil {
		return nil, tampered("statement %d about %s: %v", first.ID, first.Subject.Short(), err)
	}
	if _, err := e.Open(p.signer.Public()); err == nil {
		out = append(out, attest.PublicKey(p.signer.Public()))
	}
	return out, nil
}
