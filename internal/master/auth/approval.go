package auth

import (
	"context"

	"albs/internal/albs"
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
}

const maxSubject = 200

// Approve records in tx that the person of ctx approves digest d under subject
// until expires. A second approval of the same digest while the first is in
// force is a Conflict; anyone but a person is Forbidden. Whether the person may
// approve is for the caller to ask with Can before.
func (a *Auth) Approve(ctx context.Context, tx db.Tx, subject string, d albs.Digest, expires db.Time, note string) error {
	actor, now := From(ctx), a.time()
	if actor.Kind != KindPerson {
		return albs.Errorf(albs.Forbidden, "only a person can approve, %s is none", actor)
	}
	if subject == "" || len(subject) > maxSubject || !d.Valid() {
		return albs.Errorf(albs.Invalid, "an approval names a subject and the digest of its effects")
	}
	if !expires.After(now.Time) {
		return albs.Errorf(albs.Invalid, "the approval would end at %s, which is past", expires.UTC())
	}
	if err := checkNote(note); err != nil {
		return err
	}
	p := Approval{Subject: subject, Digest: d, User: actor.User, Note: note, At: now, ExpiresAt: expires}
	r, err := upsertApproval(ctx, tx, p)
	if err := db.One(r, err, "%s approved this already: another person's word is needed", actor.Name); err != nil {
		return err
	}
	return a.record(ctx, tx, "approval.given", subject, approvalEvent{d, note})
}

type approvalEvent struct {
	Digest albs.Digest `json:"digest"`
	Note   string      `json:"note,omitempty"`
}

// Approvals returns the approvals of digest d under subject that are in force:
// unexpired, of people whose accounts are in use, the oldest first, one a person.
// A caller that acts on the answer passes its transaction as q.
func (a *Auth) Approvals(ctx context.Context, q db.Q, subject string, d albs.Digest) ([]Approval, error) {
	return approvals(ctx, q, subject, d, a.time())
}
