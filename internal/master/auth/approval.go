package auth

import (
	"context"
	"errors"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db"
)

// Approval is one person's word for exactly the effects behind a digest.
type Approval struct {
	ID        int64       `db:"id"`
	Subject   string      `db:"subject"` // what is approved, as "release:3"
	Digest    albs.Digest `db:"digest"`
	User      albs.UserID `db:"account_id"`
	Name      string      `db:"name"` // of the user
	Note      string      `db:"note"`
	At        db.Time     `db:"at"`
	ExpiresAt db.Time     `db:"expires_at"`
	// KeyID names the person's own key that signed Envelope (attest.Approve). Both are ""
	// for a session's word, of which nobody but the master knows.
	KeyID    string `db:"keyid"`
	Envelope string `db:"envelope"`
}

// Signed reports whether the person's own key signed the approval.
func (p Approval) Signed() bool { return p.KeyID != "" }

// Word is how a person approves: by a session, or by an envelope that the person's own key
// signed, which then has the note.
type Word struct {
	Note     string
	Envelope []byte
}

const maxSubject = 200

// Approve records in tx that the person of ctx approves digest d under subject
// until expires, and returns that. A second approval of the same digest while the first is
// in force is a Conflict, but for a signed one that takes the place of a session's; anyone
// but a person is Forbidden, and an envelope that none of that person's registered keys
// signed, or that is about something else, Invalid. Whether the person may
// approve is for the caller to ask with Can before.
func (a *Auth) Approve(ctx context.Context, tx db.Tx, subject string, d albs.Digest, expires db.Time, w Word) (Approval, error) {
	actor, now := From(ctx), a.time()
	if actor.Kind != KindPerson {
		return Approval{}, albs.Errorf(albs.Forbidden, "only a person can approve, %s is none", actor)
	}
	if subject == "" || len(subject) > maxSubject || !d.Valid() {
		return Approval{}, albs.Errorf(albs.Invalid, "an approval names a subject and the digest of its effects")
	}
	if !expires.After(now.Time) {
		return Approval{}, albs.Errorf(albs.Invalid, "the approval would end at %s, which is past", expires.UTC())
	}
	p := Approval{
		Subject: subject, Digest: d, User: actor.User, Name: actor.Name, Note: w.Note, At: now, ExpiresAt: expires, Envelope: string(w.Envelope),
	}
	if p.Envelope != "" {
		if w.Note != "" {
			return Approval{}, albs.Errorf(albs.Invalid, "a signed approval has its note within")
		}
		body, err := a.opened(ctx, tx, p)
		if err != nil {
			return Approval{}, err
		}
		p.Note, p.KeyID = body.Note, keyIDOf(p.Envelope)
	}
	if err := checkNote(p.Note); err != nil {
		return Approval{}, err
	}
	r, err := upsertApproval(ctx, tx, p)
	if err := db.One(r, err, "%s approved this already: another person's word is needed", actor.Name); err != nil {
		return Approval{}, err
	}
	return p, a.record(ctx, tx, "approval.given", subject, approvalEvent{d, p.Note, p.KeyID})
}

// keyIDOf returns the key that an envelope, which was parsed before, names.
func keyIDOf(envelope string) string {
	e, err := attest.ParseEnvelope([]byte(envelope))
	if err != nil || len(e.Signatures) != 1 {
		return ""
	}
	return e.Signatures[0].KeyID
}

type approvalEvent struct {
	Digest albs.Digest `json:"digest"`
	Note   string      `json:"note,omitempty"`
	KeyID  string      `json:"keyid,omitempty"`
}

// Approvals returns the approvals of digest d under subject that are in force:
// unexpired, of people whose accounts are in use, the oldest first, one a person. A signed
// one is verified anew, by the keys that its person has now: what another key signed, or
// a hand in the database wrote, is left out and told in the log.
// A caller that acts on the answer passes its transaction as q.
func (a *Auth) Approvals(ctx context.Context, q db.Q, subject string, d albs.Digest) ([]Approval, error) {
	all, err := approvals(ctx, q, subject, d, a.time())
	if err != nil {
		return nil, err
	}
	var out []Approval
	for _, p := range all {
		if p.Envelope == "" && p.KeyID == "" {
			out = append(out, p)
			continue
		}
		_, err := a.opened(ctx, q, p)
		if err == nil && p.KeyID != keyIDOf(p.Envelope) {
			err = albs.Errorf(albs.Invalid, "the row names another key than the envelope")
		}
		if errors.Is(err, albs.Invalid) {
			a.log.Warn().Err(err).Str("subject", subject).Str("person", p.Name).Msg("a signed approval doesn't hold and counts for nothing")
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, p)
	}
	return out, nil
}
