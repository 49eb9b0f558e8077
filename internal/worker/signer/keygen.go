package signer

import (
	"context"
	"errors"
	"time"

	"albs/internal/albs"
	"albs/internal/worker"
)

// generate makes a key in this signer's own store, or its token. A later attempt at the
// same task gets the key that an earlier one made.
func (s *signer) generate(ctx context.Context, w *worker.Session, spec albs.KeygenSpec) (albs.KeygenResult, error) {
	task := w.Lease.Token.Task
	if k, ok := s.keys.madeFor(task, spec); ok {
		return made(k), nil
	}
	now := time.Now()
	private, in, err := s.keys.make(spec, now)
	if err != nil {
		return albs.KeygenResult{}, err
	}
	if err := w.Check(ctx); err != nil {
		return albs.KeygenResult{}, errors.Join(err, s.keys.drop(in))
	}
	e := entry{Event: intentEvent, What: "key", Task: task, Attempt: w.Lease.Attempt, Key: private.Fingerprint(), Name: spec.Name}
	if err := s.journal.add(e); err != nil {
		return albs.KeygenResult{}, errors.Join(err, s.keys.drop(in))
	}
	err = s.keys.add(private, keyFile{
		UserID: spec.Name, Algorithm: spec.Algorithm, Created: now.UTC(), Task: task, Products: spec.Products,
		NotBefore: spec.NotBefore, NotAfter: spec.NotAfter, Token: in,
	})
	if err != nil {
		err = errors.Join(err, s.keys.drop(in))
	}
	if err := s.ended(e, err); err != nil {
		return albs.KeygenResult{}, err
	}
	k, err := s.keys.get(private.Fingerprint())
	if err != nil {
		return albs.KeygenResult{}, err
	}
	s.log.Info().Str("key", k.file.Fingerprint).Str("algorithm", spec.Algorithm).Str("kept", k.file.kept()).Msg("a key was made")
	say(w, "key %s made for %s, kept in a %s", k.file.Fingerprint, spec.Name, k.file.kept())
	return made(k), nil
}

// revoke has a key certify that it is revoked, and use it for nothing else from then on.
// No evidence is asked for: who has the master can so keep things from being signed, as
// he can anyway, and gets nothing signed.
func (s *signer) revoke(ctx context.Context, w *worker.Session, spec albs.Revocation) (albs.KeygenResult, error) {
	k, err := s.keys.get(spec.Key)
	if err != nil {
		return albs.KeygenResult{}, err
	}
	if k.file.Revoked != nil { // by an earlier attempt, or another task
		return made(k), nil
	}
	if err := w.Check(ctx); err != nil {
		return albs.KeygenResult{}, err
	}
	e := entry{Event: intentEvent, What: "revocation", Task: w.Lease.Token.Task, Attempt: w.Lease.Attempt, Key: spec.Key, Name: spec.Reason}
	if err := s.journal.add(e); err != nil {
		return albs.KeygenResult{}, err
	}
	now := time.Now().UTC().Truncate(time.Second)
	s.operations.Add(1)
	public, err := k.private.Revoke(spec.Reason, spec.Text, now)
	if err == nil {
		err = s.keys.end(k, revoked{At: now, Task: w.Lease.Token.Task, Reason: spec.Reason, Text: spec.Text}, public)
	}
	if err := s.ended(e, err); err != nil {
		return albs.KeygenResult{}, err
	}
	if k, err = s.keys.get(spec.Key); err != nil {
		return albs.KeygenResult{}, err
	}
	s.log.Warn().Str("key", spec.Key).Str("reason", spec.Reason).Msg("a key was revoked: it signs nothing any more")
	say(w, "key %s is revoked, %s: it signs nothing any more", spec.Key, spec.Reason)
	return made(k), nil
}

// ended notes in the journal what came of an intent, and returns that.
func (s *signer) ended(e entry, err error) error {
	e.Event = resultEvent
	if err != nil {
		e.Error = err.Error()
	}
	if jerr := s.journal.add(e); err == nil {
		err = jerr
	}
	return err
}

// made is what the master is told of a key.
func made(k key) albs.KeygenResult {
	return albs.KeygenResult{Fingerprint: k.file.Fingerprint, Public: []byte(k.file.Public), Kept: k.file.kept()}
}
