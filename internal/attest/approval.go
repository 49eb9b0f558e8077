package attest

import (
	"crypto/ed25519"
	"time"

	"albs/internal/albs"
)

// ApprovalBody is a person's word for the effects whose sha256 the subject has. The
// subject's name says what carries them out, as "release:3". The person signs it with a
// key of their own, which no part of albs ever holds.
type ApprovalBody struct {
	Person string    `json:"person"` // the account's name
	At     time.Time `json:"at"`     // by the person's clock
	Note   string    `json:"note,omitempty"`
}

// ApprovalTakenBody is the master's word that a person approved the subject's effects:
// that person's envelope, or, where the person had only a session, no more than this.
type ApprovalTakenBody struct {
	Person   string    `json:"person"`
	At       time.Time `json:"at"`
	Expires  time.Time `json:"expires"`
	Envelope *Envelope `json:"envelope,omitempty"`
}

// Approve returns the envelope of a person's approval: that of the effects under subject,
// as "release:3", by the person's own key. It does no I/O. Invalid if effects is no
// digest, TooLarge if the ledger couldn't keep it.
func Approve(key ed25519.PrivateKey, subject string, effects albs.Digest, body ApprovalBody) (Envelope, error) {
	body.At = body.At.UTC().Truncate(time.Second)
	st, err := New(Subject{Name: subject, Digest: map[string]string{SHA256: string(effects)}}, Approval, body)
	if err != nil {
		return Envelope{}, err
	}
	return NewSigner(key).Sign(st)
}

// OpenApproval returns what e approves, as "release:3", and the approval, if one of keys
// signed it and it is about exactly those effects. Else it is Invalid. Whose the keys are
// and whether the effects still hold is the caller's to know.
func OpenApproval(e Envelope, effects albs.Digest, keys ...ed25519.PublicKey) (subject string, body ApprovalBody, err error) {
	st, err := e.Open(keys...)
	switch {
	case err != nil:
		return "", body, err
	case st.Short() != Approval:
		return "", body, albs.Errorf(albs.Invalid, "the envelope holds a statement %q and no approval", st.Short())
	case len(st.Subject[0].Digest) != 1 || st.Subject[0].File() != effects:
		return "", body, albs.Errorf(albs.Invalid, "the approval is of %s and not of %s", st.Subject[0].File().Short(), effects.Short())
	}
	return st.Subject[0].Name, body, st.Body(&body)
}
