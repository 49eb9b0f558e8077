package historytest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
	"albs/internal/pgp"
	"albs/internal/rpm"
)

// noted returns the ledger transaction of the first statement of any of the
// predicates about d, 0 if there is none.
func (c *checker) noted(ctx context.Context, d albs.Digest, predicates ...string) (uint64, error) {
	var first uint64
	for _, p := range predicates {
		_, r, err := c.Ledger.Get(ctx, []byte(attest.StatementKey(d, p, 1)))
		if errors.Is(err, albs.NotFound) {
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("ask the ledger for the %s of %s: %w", p, d.Short(), err)
		}
		if first == 0 || r.TxID < first {
			first = r.TxID
		}
	}
	return first, nil
}

// signed: I5 and I6. The signature of a signed package holds; nothing but the
// signature differs from its unsigned package, whose build or source was in the
// ledger before, as was the intent to sign it; a sign task asked for it; it had passed its tests then if the
// product asks for that; and it is the only one of that key.
func (c *checker) signed(ctx context.Context) error {
	var rows []struct {
		Digest   albs.Digest
		Unsigned albs.Digest
		SignedBy string `db:"signed_by"`
		Source   bool
		Public   string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT digest, unsigned, signed_by, kind = 'srpm' AS source,
		COALESCE((SELECT k.public FROM sign_key k WHERE k.fingerprint = artifact.signed_by), '') AS public
		FROM artifact WHERE unsigned IS NOT NULL ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read signed packages: %w", err)
	}
	asked, err := c.asked(ctx)
	if err != nil {
		return err
	}
	seen := map[string]albs.Digest{}
	for _, r := range rows {
		key := string(r.Unsigned) + " " + r.SignedBy
		if other, ok := seen[key]; ok {
			c.broken("I6", "%s and %s are both %s signed by %s", other.Short(), r.Digest.Short(), r.Unsigned.Short(), r.SignedBy)
		}
		seen[key] = r.Digest
		if c.good[r.Digest] {
			continue
		}
		found := len(c.found)
		before, err := c.noted(ctx, r.Unsigned, attest.Build, attest.Source)
		if err != nil {
			return err
		}
		after, err := c.noted(ctx, r.Digest, attest.Sign)
		if err != nil {
			return err
		}
		intent, err := c.noted(ctx, r.Unsigned, attest.SignIntent)
		if err != nil {
			return err
		}
		switch {
		case intent == 0:
			c.broken("I5", "%s was signed (%s) and no intent to do so is in the ledger", r.Unsigned.Short(), r.Digest.Short())
		case after != 0 && after <= intent:
			c.broken("I5", "%s was signed in ledger transaction %d and that was intended in %d", r.Unsigned.Short(), after, intent)
		}
		switch {
		case before == 0:
			c.broken("I5", "%s was signed (%s) and its build is not in the ledger", r.Unsigned.Short(), r.Digest.Short())
		case after != 0 && after <= before:
			c.broken("I5", "%s was signed in ledger transaction %d and built in %d", r.Unsigned.Short(), after, before)
		}
		ask, ok := asked[key]
		if !ok {
			c.broken("I5", "%s was signed by %s and no task asked for it", r.Unsigned.Short(), r.SignedBy)
		}
		if ok && !r.Source {
			if err := c.tested(ctx, r.Unsigned, ask, after); err != nil {
				return err
			}
		}
		if err := c.holds(ctx, r.Digest, r.Unsigned, r.SignedBy, r.Public); err != nil {
			c.broken("I5", "%s is not %s signed by %s: %v", r.Digest.Short(), r.Unsigned.Short(), r.SignedBy, err)
		}
		c.good[r.Digest] = after != 0 && len(c.found) == found
	}
	return nil
}

// holds verifies that signed is unsigned with a signature by the key.
func (c *checker) holds(ctx context.Context, signed, unsigned albs.Digest, fingerprint, public string) error {
	kr, err := rpm.ReadKeyring([]byte(public))
	if err != nil {
		return err
	}
	f, err := c.Blobs.Open(ctx, signed)
	if err != nil {
		return nil // I3 or I4 told it
	}
	defer f.Close()
	v, err := rpm.Verify(f, kr)
	if err != nil {
		return err
	}
	if v.Fingerprint != fingerprint {
		return fmt.Errorf("the signature is by %s", v.Fingerprint)
	}
	u, err := c.Blobs.Open(ctx, unsigned)
	if err != nil {
		return nil
	}
	defer u.Close()
	p, err := rpm.Read(u)
	if err != nil {
		return err
	}
	if !rpm.SameContent(p, v.Package) {
		return errors.New("the packages differ in more than the signature")
	}
	return nil
}

// tested: I5, if the product asked for tests when the signing was claimed, the newest
// that was stated of d by then, for each root, is that it passed, or that nothing failed
// that a waiver didn't let go which was stated by then and held; and the ledger has
// it before the transaction that tells of the signature (0: none does yet).
func (c *checker) tested(ctx context.Context, d albs.Digest, by ask, signed uint64) error {
	policy, ok, err := c.policy(ctx, by.product, by.at)
	if err != nil || !ok || policy.Gate.Tests != "required" {
		return err
	}
	var rows []struct {
		N        int
		Envelope string
	}
	err = c.DB.SelectContext(ctx, &rows, `SELECT n, envelope FROM statement WHERE subject = $1 AND predicate = $2 AND created_at <= $3 ORDER BY n`,
		string(d), attest.Test, by.at)
	if err != nil {
		return fmt.Errorf("read tests of %s: %w", d.Short(), err)
	}
	newest := map[string]attest.TestBody{}
	for _, r := range rows {
		_, receipt, err := c.Ledger.Get(ctx, []byte(attest.StatementKey(d, attest.Test, r.N)))
		if err != nil || signed != 0 && receipt.TxID >= signed {
			c.broken("I5", "%s was signed in ledger transaction %d, its test %d is in %d (%v)", d.Short(), signed, r.N, receipt.TxID, err)
		}
		var body attest.TestBody
		if err := open(r.Envelope, &body); err != nil {
			c.broken("I5", "test %d of %s can't be read: %v", r.N, d.Short(), err)
			continue
		}
		newest[body.Root()] = body
	}
	waivers, err := c.waivers(ctx, d, by, signed)
	if err != nil {
		return err
	}
	untested := slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Untested })
	if len(newest) == 0 && !untested {
		c.broken("I5", "%s was signed for %s and never tested", d.Short(), by.product)
	}
	for root, body := range newest {
		unwaived := slices.ContainsFunc(body.FailedTests, func(name string) bool {
			stage, _, _ := strings.Cut(name, "/")
			return !slices.ContainsFunc(waivers, func(w albs.Waived) bool { return w.Covers(albs.TestStage(stage)) })
		})
		if body.Result != attest.Passed && body.Result != attest.Warned && (len(body.FailedTests) == 0 || unwaived) && !untested {
			c.broken("I5", "%s was signed for %s, and its tests in %q %s", d.Short(), by.product, root, body.Result)
		}
	}
	return nil
}

// waivers returns the waivers of d that held when its signing was claimed, by what was
// stated of them by then.
func (c *checker) waivers(ctx context.Context, d albs.Digest, by ask, signed uint64) ([]albs.Waived, error) {
	var rows []struct {
		N        int
		Envelope string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT n, envelope FROM statement WHERE subject = $1 AND predicate = $2 AND created_at <= $3 ORDER BY n`,
		string(d), attest.Waiver, by.at)
	if err != nil {
		return nil, fmt.Errorf("read waivers of %s: %w", d.Short(), err)
	}
	var said []attest.WaiverBody
	for _, r := range rows {
		_, receipt, err := c.Ledger.Get(ctx, []byte(attest.StatementKey(d, attest.Waiver, r.N)))
		if err != nil || signed != 0 && receipt.TxID >= signed {
			c.broken("I5", "%s was signed in ledger transaction %d, what was said of its waivers, %d, is in %d (%v)", d.Short(), signed, r.N, receipt.TxID, err)
		}
		var body attest.WaiverBody
		if err := open(r.Envelope, &body); err != nil {
			c.broken("I5", "waiver %d of %s can't be read: %v", r.N, d.Short(), err)
			continue
		}
		said = append(said, body)
	}
	var out []albs.Waived
	for _, b := range attest.WaiversOf(said) {
		if b.Expires.After(by.at.Time) {
			out = append(out, b.Waived)
		}
	}
	return out, nil
}

// open reads the predicate in an envelope. Whether the envelope is the one that the
// ledger has is for I9 to say.
func open(envelope string, body any) error {
	var e attest.Envelope
	var st attest.Statement
	if err := json.Unmarshal([]byte(envelope), &e); err != nil {
		return err
	}
	if err := json.Unmarshal(e.Payload, &st); err != nil {
		return err
	}
	return st.Body(body)
}

// ask is a sign task's wish for a signature.
type ask struct {
	product string
	at      db.Time // when it was claimed
}

// asked returns what attempts at sign tasks were asked to sign, by digest and key;
// of several the last.
func (c *checker) asked(ctx context.Context) (map[string]ask, error) {
	var rows []struct {
		Spec    string
		Claimed db.Time `db:"claimed_at"`
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT a.spec, a.claimed_at FROM attempt a JOIN task t ON t.id = a.task_id
		WHERE t.kind = 'sign' AND a.spec <> '' ORDER BY a.claimed_at`)
	if err != nil {
		return nil, fmt.Errorf("read sign tasks: %w", err)
	}
	out := map[string]ask{}
	for _, r := range rows {
		var s albs.Spec
		if err := json.Unmarshal([]byte(r.Spec), &s); err != nil || s.Sign == nil {
			c.broken("I5", "the spec of a sign task can't be read: %.80q", r.Spec)
			continue
		}
		for _, f := range s.Sign.Items() {
			out[string(f.Digest)+" "+s.Sign.Key] = ask{s.Sign.Product, r.Claimed}
		}
	}
	return out, nil
}

// documents: I5, a signed document is what an approved release came to by word of
// the ledger, or a file that may be signed by that word, a task asked for its signature, and
// the signature holds.
func (c *checker) documents(ctx context.Context) error {
	var rows []struct {
		Digest  albs.Digest
		Key     string
		Clear   bool
		Armored string
		Public  string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT d.digest, d.key, d.clear, d.armored, k.public
		FROM document_signature d JOIN sign_key k ON k.fingerprint = d.key`)
	if err != nil {
		return fmt.Errorf("read signed documents: %w", err)
	}
	asked, err := c.asked(ctx)
	if err != nil {
		return err
	}
	for _, r := range rows {
		once := fmt.Sprintf("document %s %s %s", r.Digest, r.Key, albs.DigestOf([]byte(r.Armored+r.Public)))
		if c.looked[once] {
			continue
		}
		before := len(c.found)
		at, err := c.noted(ctx, r.Digest, attest.ReleaseApproved)
		if err != nil {
			return err
		}
		if at == 0 {
			if at, err = c.noted(ctx, r.Digest, attest.SignAllowed); err != nil {
				return err
			}
		}
		if at == 0 {
			c.broken("I5", "document %s was signed and no approval of it is in the ledger", r.Digest.Short())
		}
		if at, err = c.noted(ctx, r.Digest, attest.SignIntent); err != nil {
			return err
		}
		if at == 0 {
			c.broken("I5", "document %s was signed and no intent to do so is in the ledger", r.Digest.Short())
		}
		if _, ok := asked[string(r.Digest)+" "+r.Key]; !ok {
			c.broken("I5", "document %s was signed by %s and no task asked for it", r.Digest.Short(), r.Key)
		}
		b, err := c.bytes(ctx, r.Digest)
		if err != nil {
			c.broken("I4", "signed document %s: %v", r.Digest.Short(), err)
			continue
		}
		kr, err := pgp.ReadKeyring([]byte(r.Public))
		if err == nil {
			verify := kr.VerifyArmored
			if r.Clear {
				verify = kr.VerifyClear
			}
			_, _, err = verify(bytes.NewReader(b), []byte(r.Armored))
		}
		if err != nil {
			c.broken("I5", "the signature of document %s: %v", r.Digest.Short(), err)
		}
		c.looked[once] = len(c.found) == before
	}
	return nil
}
