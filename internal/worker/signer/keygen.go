package signer

import (
	"context"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/worker"
)

// generate makes a key in this signer's own store. A later attempt at the same task
// gets the key that an earlier one made.
func (s *signer) generate(ctx context.Context, w *worker.Session, spec albs.KeygenSpec) (albs.KeygenResult, error) {
	task := w.Lease.Token.Task
	if k, ok := s.keys.madeFor(task, spec); ok {
		return albs.KeygenResult{Fingerprint: k.file.Fingerprint, Public: []byte(k.file.Public)}, nil
	}
	now := time.Now()
	private, err := pgp.Generate(spec.Name, spec.Algorithm, now)
	if err != nil {
		return albs.KeygenResult{}, err
	}
	if err := w.Check(ctx); err != nil {
		return albs.KeygenResult{}, err
	}
	e := entry{Event: intentEvent, What: "key", Task: task, Attempt: w.Lease.Attempt, Key: private.Fingerprint(), Name: spec.Name}
	if err := s.journal.add(e); err != nil {
		return albs.KeygenResult{}, err
	}
	err = s.keys.add(private, keyFile{UserID: spec.Name, Algorithm: spec.Algorithm, Created: now.UTC(), Task: task, Products: spec.Products})
	e.Event = resultEvent
	if err != nil {
		e.Error = err.Error()
	}
	if jerr := s.journal.add(e); err == nil {
		err = jerr
	}
	if err != nil {
		return albs.KeygenResult{}, err
	}
	k, err := s.keys.get(private.Fingerprint())
	if err != nil {
		return albs.KeygenResult{}, err
	}
	s.log.Info().Str("key", k.file.Fingerprint).Str("algorithm", spec.Algorithm).Msg("a key was made")
	say(w, "key %s made for %s", k.file.Fingerprint, spec.Name)
	return albs.KeygenResult{Fingerprint: k.file.Fingerprint, Public: []byte(k.file.Public)}, nil
}
