package provenance

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"slices"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
)

// holder returns a worker's own key of statements.
func holder(seed byte) *attest.Signer {
	return attest.NewSigner(ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize)))
}

func spelled(s *attest.Signer) string { return attest.PublicKey(s.Public()) }

var (
	signs    = auth.Actor{Kind: auth.KindWorker, Worker: 4, Name: "s1", Role: albs.RoleSigner}
	releases = auth.Actor{Kind: auth.KindWorker, Worker: 5, Name: "r1", Role: albs.RoleReleaser}
	builds   = auth.Actor{Kind: auth.KindWorker, Worker: 6, Name: "n1", Role: albs.RoleNode}
)

// envelope is what a worker sends of a signed copy.
func envelope(t *testing.T, s *attest.Signer, about attest.Subject, body attest.SignBody) []byte {
	t.Helper()
	st, err := attest.New(about, attest.Sign, body)
	if err != nil {
		t.Fatal(err)
	}
	e, err := s.Sign(st)
	if err != nil {
		t.Fatal(err)
	}
	b, err := e.Encode()
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func (f *fixture) wantKind(t *testing.T, what string, err error, want error) {
	t.Helper()
	if want == nil && err != nil || want != nil && !errors.Is(err, want) {
		t.Errorf("%s = %v, want %v", what, err, want)
	}
}

// TestMeet keeps the first key that a worker tells, and no other until it is forgotten.
func TestMeet(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := auth.With(t.Context(), signs)
		first, second := holder(1), holder(2)
		f.wantKind(t, "Meet of a signer without a key", f.Meet(ctx, signs, ""), albs.Forbidden)
		f.wantKind(t, "Meet of a node with a key", f.Meet(ctx, builds, spelled(first)), albs.Forbidden)
		f.wantKind(t, "Meet of a node", f.Meet(ctx, builds, ""), nil)
		f.wantKind(t, "Meet with what is no key", f.Meet(ctx, signs, "AAAA"), albs.Invalid)
		if _, err := f.KeyOf(ctx, signs); !errors.Is(err, albs.Invalid) {
			t.Errorf("KeyOf one who told none = %v, want invalid", err)
		}
		for range 2 {
			f.wantKind(t, "Meet", f.Meet(ctx, signs, spelled(first)), nil)
			f.wantKind(t, "Meet with another key", f.Meet(ctx, signs, spelled(second)), albs.Forbidden)
			f.drain(t) // and once more when the ledger has it
		}
		// The key is bound to the identity: who has it elsewhere is somebody else.
		other := signs
		other.Worker = 40
		f.wantKind(t, "Meet of another identity", f.Meet(ctx, other, spelled(second)), nil)
		f.wantKind(t, "Meet of a releaser", f.Meet(ctx, releases, spelled(second)), nil)
		f.drain(t)

		keys, err := f.WorkerKeys(ctx)
		if err != nil || len(keys) != 3 || keys[4] != spelled(first) || keys[40] != spelled(second) || keys[5] != spelled(second) {
			t.Errorf("WorkerKeys = %v, %v", keys, err)
		}
		if k, err := f.KeyOf(ctx, signs); err != nil || !k.Equal(first.Public()) {
			t.Errorf("KeyOf = %v, %v", k, err)
		}

		w := auth.Worker{ID: signs.Worker, Name: signs.Name, Role: signs.Role}
		f.wantKind(t, "ForgetKey by the worker itself", f.ForgetKey(ctx, w), albs.Forbidden)
		admin := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "ada", Grants: []auth.Grant{{Role: auth.Admin}}})
		f.wantKind(t, "ForgetKey of a node", f.ForgetKey(admin, auth.Worker{ID: 6, Name: "n1", Role: albs.RoleNode}), albs.Invalid)
		for range 2 { // the second time there is nothing to forget
			f.wantKind(t, "ForgetKey", f.ForgetKey(admin, w), nil)
			f.drain(t)
		}
		if _, err := f.KeyOf(ctx, signs); !errors.Is(err, albs.Invalid) {
			t.Errorf("KeyOf one whose key was forgotten = %v, want invalid", err)
		}
		f.wantKind(t, "Meet with a new key", f.Meet(ctx, signs, spelled(second)), nil)
		f.wantKind(t, "Meet with the old one", f.Meet(ctx, signs, spelled(first)), albs.Forbidden)
		f.drain(t)
		about := attest.WorkerSubject(signs.Role, signs.Worker, signs.Name)
		sts, err := f.Stated(ctx, about.File(), attest.WorkerKey)
		if err != nil || len(sts) != 3 {
			t.Fatalf("Stated = %v, %v, want three of them", sts, err)
		}
		var body attest.WorkerKeyBody
		if err := sts[1].Body(&body); err != nil || body.Key != "" || body.By != "user:ada" || body.Worker != "s1" {
			t.Errorf("that it was forgotten is stated as %+v, %v", body, err)
		}
		var kinds []string
		if err := f.d.SelectContext(ctx, &kinds, `SELECT kind FROM event WHERE topic = 'worker:s1' AND kind LIKE 'worker.key%' ORDER BY id`); err != nil {
			t.Fatal(err)
		}
		if want := []string{KindKeyKept, KindKeyKept, KindKeyForgotten, KindKeyKept}; !slices.Equal(kinds, want) { // the other identity's among them
			t.Errorf("told was %q, want %q", kinds, want)
		}

		// All that anybody stated by stays in the trust; a key that was a releaser's is none of signers'.
		trust, err := f.Trust(ctx, attest.Trust{Builders: []string{"urn:test"}})
		if err != nil || !slices.Equal(trust.SignerKeys, []string{spelled(first), spelled(second)}) || !slices.Equal(trust.ReleaserKeys, []string{spelled(second)}) {
			t.Errorf("Trust = %+v, %v", trust, err)
		}

		// The database forgets, and the ledger doesn't.
		f.exec(t, `DELETE FROM statement WHERE predicate = 'worker-key' AND n = 3`)
		f.wantKind(t, "Meet after a row was removed", f.Meet(ctx, signs, spelled(second)), albs.Conflict)
		_, err = f.KeyOf(ctx, signs)
		f.wantKind(t, "KeyOf after a row was removed", err, albs.Conflict)
	})
}

// TestAMasterThatStatedItself has its key among the signers': what it stated before they
// had keys stays as good as it was.
func TestAMasterThatStatedItself(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a := f.save(t, []byte("signed"), "a.rpm", artifact.Log)
		f.say(t, attest.Sign, attest.SignBody{Unsigned: albs.DigestOf(nil)}, a)
		f.drain(t)
		trust, err := f.Trust(t.Context(), attest.Trust{Builders: []string{"urn:test"}})
		if err != nil || len(trust.SignerKeys) > 0 {
			t.Errorf("without a signer Trust = %+v, %v", trust, err)
		}
		f.wantKind(t, "Meet", f.Meet(t.Context(), signs, spelled(holder(1))), nil)
		f.drain(t)
		trust, err = f.Trust(t.Context(), attest.Trust{Builders: []string{"urn:test"}})
		if err != nil || !slices.Equal(trust.SignerKeys, []string{spelled(holder(1)), trust.MasterKeys[0]}) || trust.ReleaserKeys != nil {
			t.Errorf("Trust = %+v, %v", trust, err)
		}
		if sts, err := f.Stated(t.Context(), a.Digest, attest.Sign); err != nil || len(sts) != 1 {
			t.Errorf("Stated = %v, %v", sts, err)
		}
	})
}

// TestWorkersStatements takes what a worker stated as it is, if it is what happened.
func TestWorkersStatements(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		mine, stranger := holder(1), holder(9)
		f.wantKind(t, "Meet", f.Meet(ctx, signs, spelled(mine)), nil)
		f.wantKind(t, "Meet of a releaser", f.Meet(ctx, releases, spelled(stranger)), nil)
		a := f.save(t, []byte("signed"), "a.rpm", artifact.Log)
		body := attest.SignBody{Unsigned: albs.DigestOf(nil), Fingerprint: "ABCD", Task: 3, Build: 1, Requester: "ada"}
		state := func(b []byte) error {
			return f.d.InTx(ctx, func(tx db.Tx) error {
				key, err := f.KeyOf(ctx, signs)
				if err != nil {
					return err
				}
				return f.State(ctx, tx, Fact{
					Subjects: []attest.Subject{SubjectOf(a)}, Predicate: attest.Sign, Body: body, Files: []artifact.Artifact{a},
					Envelopes: map[albs.Digest][]byte{a.Digest: b}, Key: key,
				})
			})
		}
		other := body
		other.Requester = "eve"
		good := envelope(t, mine, SubjectOf(a), body)
		for name, b := range map[string][]byte{
			"nothing": nil, "something": []byte("x"), "another's": envelope(t, stranger, SubjectOf(a), body),
			"other words": envelope(t, mine, SubjectOf(a), other), "another form": append([]byte(" "), good...),
		} {
			f.wantKind(t, "State of "+name, state(b), albs.Invalid)
		}
		if n, err := f.Pending(ctx); err != nil || n != 2 { // the keys
			t.Errorf("%d parcels wait, %v, want the keys alone", n, err)
		}
		f.wantKind(t, "State", state(good), nil)
		f.drain(t)
		value, _, err := f.ledger.Get(ctx, statementKey(a.Digest, attest.Sign, 1))
		if err != nil || !bytes.Equal(value, good) {
			t.Errorf("the ledger has %s, %v", value, err)
		}
		if ok, err := f.Notarized(ctx, a.Digest); !ok || err != nil {
			t.Errorf("Notarized = %v, %v", ok, err)
		}

		// A statement by one who may make others is none, though the ledger took it.
		for role, key := range map[string]*attest.Signer{"a releaser": stranger, "a stranger": holder(8)} {
			d := albs.DigestOf([]byte(role))
			about := attest.Subject{Name: role, Digest: map[string]string{attest.SHA256: string(d)}}
			f.forge(ctx, t, d, attest.Sign, envelope(t, key, about, body))
			f.drain(t)
			_, err := f.Stated(ctx, d, attest.Sign)
			f.wantKind(t, "Stated of what was forged by "+role, err, albs.Conflict)
			if x, err := f.Examine(ctx, d); err != nil || len(x.Statements) != 1 || x.Statements[0].Standing != Failed {
				t.Errorf("Examine of what was forged by %s = %+v, %v, want it failed", role, x, err)
			}
		}
	})
}

// forge puts a statement into the database as somebody does who can write there and
// knows how it is carried to the ledger.
func (f *fixture) forge(ctx context.Context, t *testing.T, d albs.Digest, predicate string, envelope []byte) {
	t.Helper()
	err := f.d.InTx(ctx, func(tx db.Tx) error {
		id, err := insertStatement(ctx, tx, d, predicate, string(envelope), db.Now())
		if err != nil {
			return err
		}
		return insertOutbox(ctx, tx, id, "")
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestForgedWorkerKey: a row that makes a key a signer's, which the master didn't sign,
// makes it none.
func TestForgedWorkerKey(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		ctx := t.Context()
		mallory := holder(9)
		about := attest.WorkerSubject(signs.Role, signs.Worker, signs.Name)
		st, err := attest.New(about, attest.WorkerKey, attest.WorkerKeyBody{Worker: signs.Name, ID: signs.Worker, Role: signs.Role, Key: spelled(mallory)})
		if err != nil {
			t.Fatal(err)
		}
		e, err := mallory.Sign(st)
		if err != nil {
			t.Fatal(err)
		}
		b, err := json.Marshal(e)
		if err != nil {
			t.Fatal(err)
		}
		f.forge(ctx, t, about.File(), attest.WorkerKey, b)
		f.drain(t)
		f.wantKind(t, "Meet", f.Meet(ctx, signs, spelled(mallory)), albs.Conflict)
		_, err = f.KeyOf(ctx, signs)
		f.wantKind(t, "KeyOf", err, albs.Conflict)
		_, err = f.Trust(ctx, attest.Trust{Builders: []string{"urn:test"}})
		f.wantKind(t, "Trust", err, albs.Conflict)
		d := albs.DigestOf([]byte("signed"))
		f.forge(ctx, t, d, attest.Sign, envelope(t, mallory, attest.Subject{Digest: map[string]string{attest.SHA256: string(d)}}, attest.SignBody{}))
		f.drain(t)
		_, err = f.Stated(ctx, d, attest.Sign)
		f.wantKind(t, "Stated", err, albs.Conflict)
	})
}
