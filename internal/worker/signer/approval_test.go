package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/pgp"
	"albs/internal/sshkey"
)

func personKey(seed byte) ed25519.PrivateKey {
	return ed25519.NewKeyFromSeed(bytes.Repeat([]byte{seed}, ed25519.SeedSize))
}

func publicLine(k ed25519.PrivateKey) string {
	return sshkey.Public{Key: k.Public().(ed25519.PublicKey), Comment: "of a test"}.String()
}

// people writes a policy by which ada, who has two keys, and bob both have to sign
// approvals of everything.
func (w *world) people(t *testing.T) {
	t.Helper()
	w.policy(t, fmt.Sprintf(`people:
  ada: [%q, %q]
  bob: [%q]
keys:
  %s: {approvals: 2, signed: true, kinds: [packages, repomd, files], approve: [packages, repomd, files]}
`, publicLine(personKey(1)), publicLine(personKey(2)), publicLine(personKey(3)), w.key.Fingerprint()))
}

// effects are what the signing of files comes to, in a blob of the master.
func (w *world) effects(change func(*effect.Effects), files ...albs.File) *albs.File {
	e := effect.Effects{Product: "demo", Key: w.key.Fingerprint(), Expires: time.Now().Add(time.Hour).UTC().Truncate(time.Second)}
	for _, f := range files {
		e.Files = append(e.Files, effect.File{Name: f.Name, Digest: f.Digest})
	}
	if change != nil {
		change(&e)
	}
	b := e.Encode()
	return &albs.File{Name: "effects.json", Digest: w.fake.AddBlob(b), Size: int64(len(b))}
}

// taken is the master's statement that a person approved effects, with the envelope of by
// if that isn't nil, which is of the effects of.
func (w *world) taken(t *testing.T, effects albs.Digest, person string, by ed25519.PrivateKey, of albs.Digest) attest.Proven {
	t.Helper()
	body := attest.ApprovalTakenBody{Person: person, At: time.Now(), Expires: time.Now().Add(time.Hour)}
	if by != nil {
		e := must[attest.Envelope](t)(attest.Approve(by, "release:3", of, attest.ApprovalBody{Person: person, At: time.Now()}))
		body.Envelope = &e
	}
	return w.say(t, attest.Subject{Name: "release:3", Digest: map[string]string{attest.SHA256: string(effects)}}, attest.ApprovalTaken, body)
}

// planned states that a document is what approved effects come to.
func (w *world) planned(t *testing.T, file albs.File, effects albs.Digest) attest.Proven {
	t.Helper()
	return w.say(t, attest.Subject{Name: file.Name, Digest: map[string]string{attest.SHA256: string(file.Digest)}}, attest.ReleaseApproved,
		attest.ReleaseApprovedBody{Product: "demo", Repository: "x86_64", Plan: effects, Approvals: []attest.ApprovedBy{{Person: "ada"}, {Person: "bob"}}})
}

func (w *world) blob(name, content string) albs.File {
	return albs.File{Name: name, Digest: w.fake.AddBlob([]byte(content)), Size: int64(len(content))}
}

// TestStolenMaster has a master that is in wrong hands, with its key, its database and its
// ledger, ask for signatures where the operator wants people's own. It gets none: no use
// of the key is counted, and nothing is in the journal.
func TestStolenMaster(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	adas, second, bobs, eves := personKey(1), personKey(2), personKey(3), personKey(9)
	doc := w.blob("repomd.xml", "<repomd/>")
	sums := w.blob("SHA256SUMS", "sums\n")
	other := w.blob("OTHER", "other\n")
	allowed := func(f albs.File) attest.Proven {
		return w.say(t, attest.Subject{Name: f.Name, Digest: map[string]string{attest.SHA256: string(f.Digest)}}, attest.SignAllowed, attest.SignAllowedBody{Product: "demo"})
	}
	good := w.effects(nil)
	wrong := albs.DigestOf([]byte("other effects"))
	both := func(d albs.Digest) []attest.Proven {
		return []attest.Proven{w.taken(t, d, "ada", adas, d), w.taken(t, d, "bob", bobs, d)}
	}
	release := func(e *albs.File) albs.SignSpec {
		return albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Documents: []albs.File{doc}, Effects: e}
	}
	file := func(e *albs.File, clear bool) albs.SignSpec {
		return albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Files: []albs.File{sums}, Clear: clear, Effects: e}
	}
	otherProduct := w.effects(func(e *effect.Effects) { e.Product = "other" })
	otherKey := w.effects(func(e *effect.Effects) { e.Key = strings.Repeat("A", 40) })
	over := w.effects(func(e *effect.Effects) { e.Expires = time.Now().Add(-time.Minute).UTC().Truncate(time.Second) })
	ofOther := w.effects(nil, other)
	ofSums := w.effects(nil, sums)
	nonsense := &albs.File{Name: "effects.json", Digest: w.fake.AddBlob([]byte("nonsense")), Size: 8}
	packages := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files[:1], Effects: w.effects(nil, w.files[1])}
	for _, tt := range []struct {
		name  string
		spec  albs.SignSpec
		said  []attest.Proven
		lying bool // it sends other bytes for the effects
		says  string
	}{
		{"its own word for two people's", release(nil), []attest.Proven{w.planned(t, doc, good.Digest)}, false, "nobody approved anything"},
		{"its word that two people approved", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", nil, ""), w.taken(t, good.Digest, "bob", nil, "")}, false, "has that of 0"},
		{"one person twice", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest)}, false, "has that of 1 (ada)"},
		{"one person with two keys", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest), w.taken(t, good.Digest, "ada", second, good.Digest)}, false, "has that of 1 (ada)"},
		{"one person under another's name", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest), w.taken(t, good.Digest, "bob", second, good.Digest)}, false, "has that of 1 (ada)"},
		{"a key that isn't configured", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest), w.taken(t, good.Digest, "bob", eves, good.Digest)}, false, "has that of 1 (ada)"},
		{"an approval of other effects", release(good), []attest.Proven{w.planned(t, doc, good.Digest), w.taken(t, good.Digest, "ada", adas, good.Digest), w.taken(t, good.Digest, "bob", bobs, wrong)}, false, "has that of 1 (ada)"},
		{"a document of another plan", release(good), append(both(good.Digest), w.planned(t, doc, wrong)), false, "doesn't have"},
		{"effects for another product", release(otherProduct), append(both(otherProduct.Digest), w.planned(t, doc, otherProduct.Digest)), false, "for product \"other\""},
		{"effects with another key", release(otherKey), append(both(otherKey.Digest), w.planned(t, doc, otherKey.Digest)), false, "is signed with key"},
		{"approvals whose time is over", release(over), append(both(over.Digest), w.planned(t, doc, over.Digest)), false, "was to be done until"},
		{"effects that can't be read", release(nonsense), append(both(nonsense.Digest), w.planned(t, doc, nonsense.Digest)), false, "can't be read"},
		{"other bytes for the effects", release(good), append(both(good.Digest), w.planned(t, doc, good.Digest)), true, "what came for the effects"},
		{"a file that nobody approved", file(ofOther, false), append(both(ofOther.Digest), allowed(sums)), false, "doesn't have"},
		{"a file in another form", file(ofSums, true), append(both(ofSums.Digest), allowed(sums)), false, "doesn't have"},
		{"a file that isn't allowed", file(ofSums, false), both(ofSums.Digest), false, "no statement says"},
		{"a package that nobody approved", packages, append(both(packages.Effects.Digest), w.said[w.files[0].Digest]...), false, "doesn't have"},
	} {
		if w.get = nil; tt.lying {
			w.get = func(context.Context, func(), albs.Digest) []byte { return make([]byte, good.Size) }
		}
		said := append(w.intend(t, attest.SignIntentBody{}, tt.spec.Items()...), tt.said...)
		outcome, r := w.sign(t, tt.spec, w.evidence(t, w.known(t), said...))
		if outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, tt.says) {
			t.Errorf("%s ended as %s, %q; want %q", tt.name, outcome, r.Reason, tt.says)
		}
	}
	if n := w.intents(t); n != 0 || w.operations != 0 {
		t.Errorf("%d intents in the journal, %d uses of the key", n, w.operations)
	}
}

// TestSignedApprovals: what two people signed of their own is done, of every kind; and gpg
// takes what comes of files.
func TestSignedApprovals(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.people(t)
	doc, sums := w.blob("repomd.xml", "<repomd/>"), w.blob("SHA256SUMS", "- sums\n")
	release, file := w.effects(nil), w.effects(nil, sums)
	clear := w.effects(func(e *effect.Effects) { e.Clear = true }, sums)
	packages := w.effects(nil, w.files...)
	allowed := w.say(t, attest.Subject{Name: sums.Name, Digest: map[string]string{attest.SHA256: string(sums.Digest)}}, attest.SignAllowed, attest.SignAllowedBody{Product: "demo"})
	base := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo"}
	with := func(change func(*albs.SignSpec)) albs.SignSpec {
		s := base
		change(&s)
		return s
	}
	kr := must[*pgp.Keyring](t)(pgp.ReadKeyring(must[[]byte](t)(w.key.Public())))
	for _, tt := range []struct {
		name   string
		spec   albs.SignSpec
		said   []attest.Proven
		verify func(sig []byte) error
	}{
		{"repomd", with(func(s *albs.SignSpec) { s.Documents, s.Effects = []albs.File{doc}, release }), []attest.Proven{w.planned(t, doc, release.Digest)}, func(sig []byte) error {
			_, _, err := kr.VerifyArmored(strings.NewReader("<repomd/>"), sig)
			return err
		}},
		{"file", with(func(s *albs.SignSpec) { s.Files, s.Effects = []albs.File{sums}, file }), []attest.Proven{allowed}, func(sig []byte) error {
			return w.gpg(t, map[string]string{"SHA256SUMS": "- sums\n", "SHA256SUMS.asc": string(sig)}, "SHA256SUMS.asc", "SHA256SUMS")
		}},
		{"clear", with(func(s *albs.SignSpec) { s.Files, s.Clear, s.Effects = []albs.File{sums}, true, clear }), []attest.Proven{allowed}, func(sig []byte) error {
			return w.gpg(t, map[string]string{"SHA256SUMS.asc": string(sig)}, "SHA256SUMS.asc")
		}},
		{"packages", with(func(s *albs.SignSpec) { s.Packages, s.Effects = w.files[:1], packages }), w.said[w.files[0].Digest], func(sig []byte) error {
			_, err := pgp.ParseSignature(sig)
			return err
		}},
	} {
		d := tt.spec.Effects.Digest
		said := append(w.intend(t, attest.SignIntentBody{}, tt.spec.Items()...), w.taken(t, d, "ada", personKey(2), d), w.taken(t, d, "bob", personKey(3), d))
		outcome, r := w.sign(t, tt.spec, w.evidence(t, w.known(t), append(said, tt.said...)...))
		if outcome != albs.OutcomeOK || r.Sign == nil || len(r.Sign.Signatures) != 1 {
			t.Errorf("%s ended as %s: %+v", tt.name, outcome, r)
			continue
		}
		if err := tt.verify(r.Sign.Signatures[0].Bytes); err != nil {
			t.Errorf("%s: %v of\n%s", tt.name, err, r.Sign.Signatures[0].Bytes)
		}
	}
}

// gpg has gpg verify a signature, in a home and folder of its own, without an agent.
func (w *world) gpg(t *testing.T, files map[string]string, verify ...string) error {
	t.Helper()
	home := t.TempDir()
	write(t, filepath.Join(home, "key.asc"), string(must[[]byte](t)(w.key.Public())), 0o600)
	for name, content := range files {
		write(t, filepath.Join(home, name), content, 0o600)
	}
	for _, args := range [][]string{{"--import", "key.asc"}, append([]string{"--verify"}, verify...)} {
		cmd := exec.CommandContext(t.Context(), "gpg", append([]string{"--homedir", home, "--no-autostart", "--batch"}, args...)...)
		cmd.Dir, cmd.Env = home, append(os.Environ(), "GNUPGHOME="+home)
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("gpg %v: %w: %s", args, err, out)
		}
	}
	return nil
}

// TestMastersWord: where the policy doesn't ask for people's own signatures, the master's
// word for them counts, each person once.
func TestMastersWord(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(t, fmt.Sprintf("keys:\n  %s: {approvals: 2, kinds: [files]}\n", w.key.Fingerprint()))
	sums := w.blob("SHA256SUMS", "sums\n")
	effects := w.effects(nil, sums)
	allowed := w.say(t, attest.Subject{Name: sums.Name, Digest: map[string]string{attest.SHA256: string(sums.Digest)}}, attest.SignAllowed, attest.SignAllowedBody{Product: "demo"})
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Files: []albs.File{sums}, Effects: effects}
	one := append(w.intend(t, attest.SignIntentBody{}, sums), allowed, w.taken(t, effects.Digest, "ada", nil, ""), w.taken(t, effects.Digest, "ada", personKey(7), effects.Digest))
	if outcome, r := w.sign(t, spec, w.evidence(t, 0, one...)); outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, "has that of 1 (ada)") {
		t.Errorf("one person's approval: %s, %q", outcome, r.Reason)
	}
	two := append(w.intend(t, attest.SignIntentBody{}, sums), allowed, w.taken(t, effects.Digest, "ada", nil, ""), w.taken(t, effects.Digest, "bob", nil, ""))
	if outcome, r := w.sign(t, spec, w.evidence(t, w.known(t), two...)); outcome != albs.OutcomeOK {
		t.Errorf("two people's approval: %s, %q", outcome, r.Reason)
	}
	w.policy(t, "keys: {}\n")
	if outcome, r := w.sign(t, spec, w.evidence(t, w.known(t), append(w.intend(t, attest.SignIntentBody{}, sums), allowed)...)); outcome != albs.OutcomeFailed || !strings.Contains(r.Reason, "its kinds have to name them") {
		t.Errorf("a file for a key of which the operator said nothing: %s, %q", outcome, r.Reason)
	}
}

// TestPeople: a policy whose people can't be told apart, or could never be enough, lets
// nothing be signed.
func TestPeople(t *testing.T) {
	t.Parallel()
	fpr := strings.Repeat("A", 40)
	one, two := publicLine(personKey(1)), publicLine(personKey(2))
	for name, tt := range map[string]struct{ policy, says string }{
		"fine":                      {fmt.Sprintf("people: {ada: [%q], bob: [%q]}\nkeys:\n  %s: {approvals: 2, signed: true}\n", one, two, fpr), ""},
		"one key for two":           {fmt.Sprintf("people: {ada: [%q], bob: [%q]}\n", one, one), "have the same key"},
		"a person without a key":    {"people: {ada: []}\n", "no name or no key"},
		"a key of another sort":     {"people: {ada: [ssh-rsa AAAA]}\n", "ssh-keygen"},
		"signed by nobody":          {fmt.Sprintf("keys:\n  %s: {approvals: 1, signed: true}\n", fpr), "has the keys of 0"},
		"signed by how many":        {fmt.Sprintf("people: {ada: [%q]}\nkeys:\n  %s: {signed: true}\n", one, fpr), "by how many"},
		"to approve, nobody":        {fmt.Sprintf("keys:\n  %s: {approve: [packages]}\n", fpr), "by how many"},
		"to approve, no such thing": {fmt.Sprintf("keys:\n  %s: {approvals: 1, approve: [package]}\n", fpr), "none of packages, repomd, files"},
	} {
		dir := t.TempDir()
		write(t, filepath.Join(dir, "policy.yaml"), tt.policy, 0o600)
		_, err := readPolicy(dir)
		if (err == nil) != (tt.says == "") || err != nil && !strings.Contains(err.Error(), tt.says) {
			t.Errorf("%s: %v, want %q", name, err, tt.says)
		}
	}
}
