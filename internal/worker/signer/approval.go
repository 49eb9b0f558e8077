package signer

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/effect"
	"albs/internal/sshkey"
	"albs/internal/worker"
)

// person is one whose approvals count.
type person struct {
	name string
	keys []ed25519.PublicKey
}

// people reads the keys of People. A key that two of them have would make one person two.
func (p policy) people() ([]person, error) {
	var out []person
	owner := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(p.People)) {
		one := person{name: name}
		if strings.TrimSpace(name) == "" || len(p.People[name]) == 0 {
			return nil, fmt.Errorf("people: %.60q has no name or no key", name)
		}
		for _, line := range p.People[name] {
			k, err := sshkey.ParsePublic(line)
			if err != nil {
				return nil, fmt.Errorf("people: %s: %w", name, err)
			}
			if other, taken := owner[string(k.Key)]; taken {
				return nil, fmt.Errorf("people: %s and %s have the same key: each person has keys of their own", other, name)
			}
			owner[string(k.Key)] = name
			one.keys = append(one.keys, k.Key)
		}
		out = append(out, one)
	}
	return out, nil
}

// approved says whether people approved all that a task is to sign, as many and in the way
// that the rule wants; Forbidden if not. What they approved is fetched and read here: its
// bytes are those whose sha256 they signed. That a repomd.xml is what the approved effects
// come to is the master's statement; that packages and files are is seen in the effects.
func (s *signer) approved(ctx context.Context, w *worker.Session, p policy, r rule, spec albs.SignSpec, said map[albs.Digest]stated) error {
	what := kindOf(spec)
	if !r.approves(what) || what == repomdKind && !r.Signed { // that is in the statement itself
		return nil
	}
	refuse := func(format string, args ...any) error {
		return albs.Errorf(albs.Forbidden, "refused: "+format, args...)
	}
	if spec.Effects == nil {
		return refuse("the signer's policy wants %d people's approval for key %s, and nobody approved anything", r.Approvals, spec.Key)
	}
	d := spec.Effects.Digest
	e, err := s.effects(ctx, w, *spec.Effects)
	if err != nil {
		return err
	}
	now := time.Now()
	switch {
	case e.Product != spec.Product:
		return refuse("what people approved is for product %.80q, not for %.80q", e.Product, spec.Product)
	case e.Key != spec.Key:
		return refuse("what people approved is signed with key %.60q, not with %s", e.Key, spec.Key)
	case !now.Before(e.Expires):
		return refuse("what people approved was to be done until %s", day(e.Expires))
	}
	for _, f := range spec.Items() {
		if what == repomdKind && !slices.Contains(said[f.Digest].plans, d) || what != repomdKind && (!e.Signs(f.Digest) || e.Clear != spec.Clear) {
			return refuse("what people approved (%s) doesn't have %.200q signed in that way", d.Short(), f.Name)
		}
	}
	names, err := p.whoApproved(d, r.Signed, said[d].taken, now)
	if err != nil {
		return err
	}
	if len(names) < r.Approvals {
		by := ""
		if r.Signed {
			by = ", by keys that it knows,"
		}
		return refuse("the signer's policy wants %d people's approval%s for key %s; %s has that of %d (%s)", r.Approvals, by, spec.Key, d.Short(), len(names), strings.Join(names, ", "))
	}
	say(w, "approved by %s", strings.Join(names, ", "))
	return nil
}

// whoApproved returns the names of the people who approved effects, each once: with signed
// those whose own keys the policy has, else whom the master names.
func (p policy) whoApproved(effects albs.Digest, signed bool, taken []attest.ApprovalTakenBody, now time.Time) ([]string, error) {
	people, err := p.people()
	if err != nil {
		return nil, err
	}
	found := map[string]bool{}
	for _, t := range taken {
		if !signed {
			if now.Before(t.Expires) {
				found[t.Person] = true
			}
			continue
		}
		if t.Envelope == nil {
			continue
		}
		for _, one := range people {
			if _, _, err := attest.OpenApproval(*t.Envelope, effects, one.keys...); err == nil {
				found[one.name] = true
			}
		}
	}
	return slices.Sorted(maps.Keys(found)), nil
}

// effects fetches and reads what people approved.
func (s *signer) effects(ctx context.Context, w *worker.Session, f albs.File) (effect.Effects, error) {
	if f.Size < 0 || f.Size > effect.Max {
		return effect.Effects{}, albs.Errorf(albs.TooLarge, "the effects have %d bytes, at most %d are read", f.Size, effect.Max)
	}
	var b bytes.Buffer
	if err := w.Fetch(ctx, f.Digest, f.Size, &b); err != nil {
		return effect.Effects{}, err
	}
	if albs.DigestOf(b.Bytes()) != f.Digest {
		return effect.Effects{}, albs.Errorf(albs.Forbidden, "refused: what came for the effects is not %s", f.Digest)
	}
	e, err := effect.Parse(b.Bytes())
	if err != nil {
		return e, albs.Errorf(albs.Forbidden, "refused: %w", err)
	}
	return e, nil
}
