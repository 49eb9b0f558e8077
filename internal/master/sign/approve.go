package sign

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
)

// TakeApproval records in tx that the person of ctx approves effects under subject until
// expires, and states it, with the envelope if the person's own key signed one: the ledger
// keeps what that person said, and the signer gets it from there. Errors are those of
// auth.Auth.Approve; whether the person may approve is for the caller to ask before.
func (s *Signing) TakeApproval(ctx context.Context, tx db.Tx, subject string, effects albs.Digest, expires db.Time, w auth.Word) error {
	p, err := s.auth.Approve(ctx, tx, subject, effects, expires, w)
	if err != nil {
		return err
	}
	body := attest.ApprovalTakenBody{Person: p.Name, At: p.At.Time, Expires: expires.Time}
	if p.Signed() {
		e, err := attest.ParseEnvelope([]byte(p.Envelope))
		if err != nil {
			return err
		}
		body.Envelope = &e
	}
	about := attest.Subject{Name: subject, Digest: map[string]string{attest.SHA256: string(effects)}}
	if err := s.provenance.State(ctx, tx, provenance.Fact{Subjects: []attest.Subject{about}, Predicate: attest.ApprovalTaken, Body: body}); err != nil {
		return fmt.Errorf("state approval of %s: %w", subject, err)
	}
	return nil
}

// wishLife is how long people have to approve a request, and the signer to sign it.
const wishLife = 7 * 24 * time.Hour

// wish is what people approve of a request for signatures.
type wish struct {
	subject   string // RequestTopic or FileTopic: who approves and what
	product   string
	requester string
	effects   albs.Digest
	expires   db.Time
}

// RequestTopic returns the subject of a request's approvals, "sign:7".
func RequestTopic(id int64) string { return fmt.Sprintf("sign:%d", id) }

// FileTopic returns the subject of the approvals of a file's signature, "file:12".
func FileTopic(id albs.TaskID) string { return fmt.Sprintf("file:%d", id) }

func (r requestRow) wish() wish {
	return wish{RequestTopic(r.ID), r.Product, r.Requester, r.Effects, r.ExpiresAt}
}

func (d documentRow) wish() wish {
	return wish{FileTopic(d.TaskID), d.Product, d.Requester, d.Effects, d.ExpiresAt}
}

// saveEffects keeps what the signing of files comes to; no row is written.
func (s *Signing) saveEffects(ctx context.Context, productName, key string, clear bool, files []albs.File) (artifact.Artifact, db.Time, error) {
	expires := db.At(time.Now().Add(wishLife).UTC().Truncate(time.Second))
	e := effect.Effects{Product: productName, Key: key, Expires: expires.Time, Clear: clear}
	for _, f := range files {
		e.Files = append(e.Files, effect.File{Name: f.Name, Digest: f.Digest})
	}
	a, err := s.artifacts.Save(ctx, bytes.NewReader(e.Encode()), effect.Max, "effects.json", artifact.Document)
	return a, expires, err
}

// keepEffects adds them in tx, with their record in the ledger.
func (s *Signing) keepEffects(ctx context.Context, tx db.Tx, kept ...artifact.Artifact) error {
	if err := s.artifacts.Add(ctx, tx, kept...); err != nil {
		return err
	}
	if err := s.provenance.State(ctx, tx, provenance.Fact{Files: kept}); err != nil {
		return fmt.Errorf("record effects: %w", err)
	}
	return nil
}

// Approvals is how far the approval of a request is.
type Approvals struct {
	// Digest is over the effects, which people approve; "" if there is nothing to approve:
	// the request is for no product.
	Digest  albs.Digest
	Expires time.Time
	Given   []auth.Approval // that count
	Needed  int             // 0 where the product asks for none
}

// approvals returns how far the approval of w is, by the rules of its product.
func (s *Signing) approvals(ctx context.Context, q db.Q, w wish) (Approvals, error) {
	out := Approvals{Digest: w.effects, Expires: w.expires.Time}
	if w.effects == "" {
		return out, nil
	}
	p, err := s.products.Get(ctx, w.product)
	if err != nil {
		return out, err
	}
	if p.Approvals.Requests {
		out.Needed = p.Approvals.Count
	}
	if out.Given, err = s.auth.Approvals(ctx, q, w.subject, w.effects); err != nil {
		return out, err
	}
	out.Given = slices.DeleteFunc(out.Given, func(a auth.Approval) bool { return !p.Approvals.Counts(a.Signed(), a.Name == w.requester) })
	return out, nil
}

// approvedEnough returns nil if a wish has the approvals that its product asks for.
// Unavailable says that more are waited for, Invalid that none can come any more.
func (s *Signing) approvedEnough(ctx context.Context, w wish) error {
	a, err := s.approvals(ctx, s.store.d, w)
	if err != nil || len(a.Given) >= a.Needed {
		return err
	}
	if !a.Expires.After(time.Now()) {
		return albs.Errorf(albs.Invalid, "it got %d of the %d approvals that product %s asks for until %s: ask for the signatures anew", len(a.Given), a.Needed, w.product, a.Expires.Format(time.RFC3339))
	}
	return albs.Errorf(albs.Unavailable, "it waits for approval, %d of %d: albs approve %s --key FILE", len(a.Given), a.Needed, w.subject)
}

// ApproveRequest records that the person of ctx approves exactly what a request to sign a
// build comes to, by a session or by an envelope under RequestTopic. Errors: Forbidden without
// release.approve on the product's team, and to who made the request where the product
// wants another person; NotFound; Invalid for an envelope that no registered key of the
// person signed; Conflict for another digest, if there is nothing to approve or the time for
// it is over, for a session's word where the product counts none, and for a second one.
func (s *Signing) ApproveRequest(ctx context.Context, id int64, digest albs.Digest, word auth.Word) (Request, error) {
	row, err := s.store.request(ctx, s.store.d, id)
	if err != nil {
		return Request{}, err
	}
	if err := s.approve(ctx, row.wish(), digest, word); err != nil {
		return Request{}, err
	}
	return s.Request(ctx, id)
}

// ApproveFile is ApproveRequest for a file that is to be signed, under FileTopic.
func (s *Signing) ApproveFile(ctx context.Context, id albs.TaskID, digest albs.Digest, word auth.Word) (File, error) {
	row, err := s.store.file(ctx, s.store.d, id)
	if err != nil {
		return File{}, err
	}
	if err := s.approve(ctx, row.wish(), digest, word); err != nil {
		return File{}, err
	}
	return s.File(ctx, id)
}

func (s *Signing) approve(ctx context.Context, w wish, digest albs.Digest, word auth.Word) error {
	wrap := func(err error) error { return fmt.Errorf("approve %s: %w", w.subject, err) }
	if w.effects == "" {
		return wrap(albs.Errorf(albs.Conflict, "it is for no product, or was made before requests could be approved"))
	}
	p, err := s.products.Get(ctx, w.product)
	if err != nil {
		return wrap(err)
	}
	if err := auth.Can(ctx, auth.ReleaseApprove, p.Object()); err != nil {
		return err
	}
	if err := w.approvable(p, auth.From(ctx).Name, digest, word); err != nil {
		return wrap(err)
	}
	err = s.store.d.InTx(ctx, func(tx db.Tx) error { return s.TakeApproval(ctx, tx, w.subject, w.effects, w.expires, word) })
	if err != nil {
		return wrap(err)
	}
	return nil
}

// approvable is the rule by which a person may approve a wish.
func (w wish) approvable(p product.Product, person string, digest albs.Digest, word auth.Word) error {
	switch {
	case digest != w.effects:
		return albs.Errorf(albs.Conflict, "what it comes to is %s and not %s: look at it again", w.effects.Short(), digest.Short())
	case p.Approvals.Distinct && person == w.requester:
		return albs.Errorf(albs.Forbidden, "you asked for it: product %s wants another person's approval", w.product)
	case p.Approvals.Signed && len(word.Envelope) == 0:
		return albs.Errorf(albs.Conflict, "product %s counts only approvals that people sign with keys of their own: albs approve %s --key FILE", w.product, w.subject)
	case !w.expires.After(time.Now()):
		return albs.Errorf(albs.Conflict, "the time for it was over at %s: ask for the signatures anew", w.expires.UTC().Format(time.RFC3339))
	}
	return nil
}

// RequestEffects returns, as effect.Parse reads it, what a request to sign a build
// comes to: the bytes that its digest is of. Anyone may ask. NotFound also if there is
// nothing to approve.
func (s *Signing) RequestEffects(ctx context.Context, id int64) ([]byte, error) {
	row, err := s.store.request(ctx, s.store.d, id)
	if err != nil {
		return nil, err
	}
	return s.effects(ctx, row.wish())
}

// FileEffects is RequestEffects for a file that is to be signed.
func (s *Signing) FileEffects(ctx context.Context, id albs.TaskID) ([]byte, error) {
	row, err := s.store.file(ctx, s.store.d, id)
	if err != nil {
		return nil, err
	}
	return s.effects(ctx, row.wish())
}

func (s *Signing) effects(ctx context.Context, w wish) ([]byte, error) {
	if w.effects == "" {
		return nil, albs.Errorf(albs.NotFound, "%s has nothing to approve: it is for no product, or was made before requests could be approved", w.subject)
	}
	return s.read(ctx, w.effects, effect.Max)
}
