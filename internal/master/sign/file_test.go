package sign

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/product"
	"albs/internal/pgp"
	"albs/internal/sshkey"
)

// person makes an account, and returns a context in which it acts with the role in team
// core.
func (f *fixture) person(t *testing.T, name string, role auth.Role) context.Context {
	t.Helper()
	u, err := f.auth.CreateUser(f.admin, name)
	if err != nil {
		t.Fatal(err)
	}
	return auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: u.ID, Name: name, Grants: []auth.Grant{{Role: role, Team: "core"}}})
}

// policy writes the signer's.
func policy(t *testing.T, dir, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, "policy.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// fileEnded waits until a file is signed, or won't be.
func (f *fixture) fileEnded(t *testing.T, id albs.TaskID) File {
	t.Helper()
	var out File
	until(t, "the file is signed or not", func() bool {
		var err error
		if out, err = f.File(t.Context(), id); err != nil {
			t.Fatal(err)
		}
		return out.Signed || out.Cause() != nil
	})
	return out
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func TestSignFile(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "demo")
		f.deliver()
		dir := f.worker(t)
		k := f.key(t, "demo", pgp.Ed25519, "demo")
		policy(t, dir, fmt.Sprintf("keys:\n  %s: {kinds: [files]}\n", k.Fingerprint))
		sally, mary := f.person(t, "sally", auth.Signer), f.person(t, "mary", auth.ProductMaintainer)
		wish := FileWish{Name: "SHA256SUMS", Content: []byte("sums\n"), Key: "demo"}
		digest := albs.DigestOf(wish.Content)

		_, err := f.SignFile(sally, wish)
		wantKind(t, "a file on no list", err, albs.Forbidden)
		allowed := Allowed{Product: "demo", Digest: digest, Name: "SHA256SUMS", Note: "of a test"}
		wantKind(t, "AllowFile by who signs", f.AllowFile(sally, allowed), albs.Forbidden)
		for range 2 {
			wantKind(t, "AllowFile", f.AllowFile(mary, allowed), "")
		}
		if list, err := f.AllowedFiles(t.Context(), "demo"); err != nil || len(list) != 1 || list[0].By != "mary" {
			t.Errorf("AllowedFiles = %+v, %v", list, err)
		}
		_, err = f.SignFile(mary, wish)
		wantKind(t, "SignFile by who allows", err, albs.Forbidden)
		for name, bad := range map[string]FileWish{
			"no plain name":    {Name: "../x", Content: wish.Content, Key: "demo"},
			"nothing":          {Name: "x", Key: "demo"},
			"binary in clear":  {Name: "x", Content: []byte{0, 1}, Key: "demo", Clear: true},
			"of which product": {Name: "x", Content: wish.Content, Key: f.key(t, "any", pgp.Ed25519).Name},
		} {
			_, err := f.SignFile(f.admin, bad)
			wantKind(t, name, err, albs.Invalid)
		}
		_, err = f.SignFile(sally, FileWish{Name: "x", Content: wish.Content, Key: "demo", Product: "none"})
		wantKind(t, "an unknown product", err, albs.NotFound)
		_, err = f.SignFile(sally, FileWish{Name: "x", Content: make([]byte, MaxFile+1), Key: "demo"})
		wantKind(t, "too much", err, albs.TooLarge)

		asked, err := f.SignFile(sally, wish)
		if err != nil {
			t.Fatal(err)
		}
		if again, err := f.SignFile(sally, wish); err != nil || again.Task.ID != asked.Task.ID {
			t.Errorf("the same again = %+v, %v", again, err)
		}
		if done := f.fileEnded(t, asked.Task.ID); !done.Signed || done.Requester != "sally" || done.Product != "demo" {
			t.Fatalf("the file ended as %+v", done)
		}
		kr, err := pgp.ReadKeyring(k.Public)
		if err != nil {
			t.Fatal(err)
		}
		sig, err := f.FileSignature(sally, asked.Task.ID)
		if err != nil {
			t.Fatal(err)
		}
		if by, _, err := kr.VerifyArmored(bytes.NewReader(wish.Content), sig); err != nil || by != k.Fingerprint {
			t.Errorf("the signature is by %s, %v", by, err)
		}
		_, err = f.FileSignature(t.Context(), asked.Task.ID)
		wantKind(t, "FileSignature by nobody", err, albs.Unauthenticated)
		f.settled(t, digest)
		f.tried(t, digest, attest.SignIntent, attest.SignResult)
		f.intended(t, 0)

		wish.Clear = true
		asked, err = f.SignFile(sally, wish)
		if err != nil {
			t.Fatal(err)
		}
		if done := f.fileEnded(t, asked.Task.ID); !done.Signed {
			t.Fatalf("the clear-signed copy ended as %+v", done)
		}
		if sig, err = f.FileSignature(mary, asked.Task.ID); err != nil || !bytes.HasPrefix(sig, []byte("-----BEGIN PGP SIGNED MESSAGE-----\n")) {
			t.Errorf("the clear-signed copy is %s, %v", sig, err)
		}

		// A hand in the database puts a file on the list: the signer sees no statement of it.
		forged := FileWish{Name: "evil", Content: []byte("evil\n"), Key: "demo"}
		if _, err := d.ExecContext(t.Context(), `INSERT INTO sign_allowed (product, digest, name, note, actor, at) VALUES ('demo', $1, 'evil', '', 'mary', $2)`,
			albs.DigestOf(forged.Content), db.Now()); err != nil {
			t.Fatal(err)
		}
		if asked, err = f.SignFile(sally, forged); err != nil {
			t.Fatal(err)
		}
		if done := f.fileEnded(t, asked.Task.ID); done.Signed || !strings.Contains(done.Task.Reason, "no statement says") {
			t.Errorf("a file on a forged list ended as %v: %s", done.Signed, done.Task.Reason)
		}
		wantKind(t, "DisallowFile", f.DisallowFile(mary, "demo", digest), "")
		wantKind(t, "DisallowFile again", f.DisallowFile(mary, "demo", digest), albs.NotFound)
		wish.Clear, wish.Content = false, []byte("sums\n")
		if list, more, err := f.Files(t.Context(), FileFilter{Product: "demo", Limit: 2}); err != nil || !more || len(list) != 2 {
			t.Errorf("Files = %d, %v, %v", len(list), more, err)
		}
		_, err = f.SignFile(sally, FileWish{Name: "SHA256SUMS", Content: []byte("other\n"), Key: "demo"})
		wantKind(t, "another file", err, albs.Forbidden)
	})
}

// settled waits until all that was stated about a digest is in the ledger.
func (f *fixture) settled(t *testing.T, d albs.Digest) {
	t.Helper()
	if err := f.prov.WaitNotarized(t.Context(), d); err != nil {
		t.Fatal(err)
	}
}

// TestApproveRequest: a request waits for the approvals that its product asks for, by
// people's own keys, and the signer, which has a list of them, counts the same.
func TestApproveRequest(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d, "demo")
		f.deliver()
		dir := f.worker(t)
		k := f.key(t, "demo", pgp.Ed25519, "demo")
		p, err := f.products.Get(t.Context(), "demo")
		if err != nil {
			t.Fatal(err)
		}
		p.Gate.Tests, p.Approvals = product.Advisory, product.Approvals{Count: 1, Distinct: true, Signed: true, Requests: true}
		if _, err := f.products.Apply(f.admin, p.Spec); err != nil {
			t.Fatal(err)
		}
		own := ed25519.NewKeyFromSeed(bytes.Repeat([]byte{7}, ed25519.SeedSize))
		line := sshkey.Public{Key: own.Public().(ed25519.PublicKey)}.String()
		policy(t, dir, fmt.Sprintf("people: {bob: [%q]}\nkeys:\n  %s: {approvals: 1, signed: true, approve: [packages]}\n", line, k.Fingerprint))
		bob, sally := f.person(t, "bob", auth.ProductMaintainer), f.person(t, "sally", auth.Signer)
		if _, err := f.auth.AddKey(bob, auth.From(bob).User, line); err != nil {
			t.Fatal(err)
		}

		r, err := f.SignBuild(f.admin, f.build, "demo")
		if err != nil || r.Approvals.Needed != 1 || len(r.Approvals.Given) != 0 {
			t.Fatalf("SignBuild = %+v, %v", r.Approvals, err)
		}
		b, err := f.RequestEffects(t.Context(), r.ID)
		if err != nil || albs.DigestOf(b) != r.Approvals.Digest {
			t.Fatalf("RequestEffects = %s, %v", b, err)
		}
		if e, err := effect.Parse(b); err != nil || len(e.Files) != 3 || e.Key != k.Fingerprint || e.Product != "demo" {
			t.Errorf("the effects are %+v, %v", e, err)
		}
		until(t, "the request says that it waits", func() bool {
			r, err := f.Request(t.Context(), r.ID)
			return err == nil && strings.Contains(r.Tasks[0].Reason, "waits for approval, 0 of 1: albs approve "+RequestTopic(r.ID))
		})
		envelope := func(subject string, digest albs.Digest, person string) auth.Word {
			e, err := attest.Approve(own, subject, digest, attest.ApprovalBody{Person: person, At: time.Now()})
			if err != nil {
				t.Fatal(err)
			}
			b, err := e.Encode()
			if err != nil {
				t.Fatal(err)
			}
			return auth.Word{Envelope: b}
		}
		subject, digest := RequestTopic(r.ID), r.Approvals.Digest
		for _, tt := range []struct {
			name   string
			who    context.Context
			digest albs.Digest
			word   auth.Word
			want   albs.Kind
		}{
			{"by nobody", t.Context(), digest, envelope(subject, digest, "bob"), albs.Unauthenticated},
			{"by who asked", f.admin, digest, envelope(subject, digest, "ada"), albs.Forbidden},
			{"a session's word", bob, digest, auth.Word{Note: "fine"}, albs.Conflict},
			{"of something else", bob, albs.DigestOf(nil), envelope(subject, albs.DigestOf(nil), "bob"), albs.Conflict},
			{"for another request", bob, digest, envelope(RequestTopic(r.ID+1), digest, "bob"), albs.Invalid},
			{"another's envelope", sally, digest, envelope(subject, digest, "bob"), albs.Invalid},
		} {
			_, err := f.ApproveRequest(tt.who, r.ID, tt.digest, tt.word)
			wantKind(t, "ApproveRequest "+tt.name, err, tt.want)
		}
		r, err = f.ApproveRequest(bob, r.ID, digest, envelope(subject, digest, "bob"))
		if err != nil || len(r.Approvals.Given) != 1 || !r.Approvals.Given[0].Signed() {
			t.Fatalf("ApproveRequest = %+v, %v", r.Approvals, err)
		}
		if r = f.ended(t, r.ID); r.Status != Completed {
			t.Fatalf("the request ended as %v: %s", r.Status, r.Reason)
		}
		said, err := f.prov.Stated(t.Context(), digest, attest.ApprovalTaken)
		var taken attest.ApprovalTakenBody
		if err != nil || len(said) != 1 || said[0].Body(&taken) != nil || taken.Envelope == nil {
			t.Fatalf("the ledger has %d approvals, %v", len(said), err)
		}
		if _, body, err := attest.OpenApproval(*taken.Envelope, digest, own.Public().(ed25519.PublicKey)); err != nil || body.Person != "bob" {
			t.Errorf("the approval in the ledger is %+v, %v", body, err)
		}
	})
}
