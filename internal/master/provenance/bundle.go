package provenance

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
)

// chain returns the statements that lead to d, with their proofs at state, and
// those on their way: all that is said of d; of the unsigned package, if d is a
// signed copy, likewise; the source statements of the SRPM that the package was built
// from, and the commit statements of their commits. Each step is what a proven statement says, never what a row does.
func (p *Provenance) chain(ctx context.Context, d albs.Digest, state ledger.State) ([]proven, []statement, error) {
	found, pending, err := p.prove(ctx, d, state)
	if err != nil {
		return nil, nil, err
	}
	seen := map[albs.Digest]bool{d: true}
	named := map[NamedCommit]bool{}
	for i := 0; i < len(found); i++ { // found grows
		from := found[i].statement
		if from.Short() == attest.Source {
			var s attest.SourceBody
			if err := from.Body(&s); err != nil {
				return nil, nil, fmt.Errorf("follow statement %d: %w", found[i].row.ID, err)
			}
			if n := (NamedCommit{s.Repository, s.Commit}); s.Commit != "" && !named[n] {
				named[n] = true
				f, w, err := p.commitsOf(ctx, s, state)
				if err != nil {
					return nil, nil, err
				}
				found, pending = append(found, f...), append(pending, w...)
			}
			continue
		}
		next, err := madeFrom(from)
		if err != nil {
			return nil, nil, fmt.Errorf("follow statement %d: %w", found[i].row.ID, err)
		}
		if next == "" || seen[next] {
			continue
		}
		seen[next] = true
		f, w, err := p.prove(ctx, next, state)
		if err != nil {
			return nil, nil, err
		}
		built := from.Short() == attest.Build // next is an SRPM, whose own build and tests are another story
		found = append(found, slices.DeleteFunc(f, func(s proven) bool {
			return built && s.row.Predicate != attest.Source
		})...)
		pending = append(pending, slices.DeleteFunc(w, func(s statement) bool {
			return built && s.Predicate != attest.Source
		})...)
	}
	return found, pending, nil
}

// complete is chain for those who hand the statements on, but for those of the
// predicates without: one on its way is Unavailable, none at all NotFound.
func (p *Provenance) complete(ctx context.Context, d albs.Digest, state ledger.State, without ...string) ([]proven, error) {
	found, pending, err := p.chain(ctx, d, state)
	found = slices.DeleteFunc(found, func(s proven) bool { return slices.Contains(without, s.row.Predicate) })
	pending = slices.DeleteFunc(pending, func(s statement) bool { return slices.Contains(without, s.Predicate) })
	switch {
	case err != nil:
		return nil, err
	case len(pending) > 0:
		return nil, albs.Errorf(albs.Unavailable, "%d statements about %s are still on their way to the ledger: try again soon", len(pending), d)
	case len(found) == 0:
		return nil, albs.Errorf(albs.NotFound, "nothing was ever stated about %s", d)
	}
	return found, nil
}

func (s proven) bundled() attest.Proven {
	return attest.Proven{Envelope: s.envelope, Key: string(s.key), Proof: s.proof}
}

// Bundle returns what lies beside the package d for strangers to verify: the
// statements about it and, if it is a signed copy, about the unsigned package, the
// source statements of its SRPM and those of their commits, in the order in which they
// were made, so that equal statements give equal bytes; the proof of each, and the ledger's state signed
// now. How it came to be signed, and who verified all of it, is left to the ledger. Anyone may ask. NotFound if nothing was stated about d, Unavailable while a
// statement is on its way to the ledger, Conflict if a row contradicts it.
func (p *Provenance) Bundle(ctx context.Context, d albs.Digest) (attest.Bundle, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return attest.Bundle{}, err
	}
	found, err := p.complete(ctx, d, state, attest.SignIntent, attest.SignResult, attest.SignAllowed, attest.VSA)
	if err != nil {
		return attest.Bundle{}, fmt.Errorf("bundle: %w", err)
	}
	slices.SortFunc(found, func(a, b proven) int { return cmp.Compare(a.row.ID, b.row.ID) })
	b := attest.Bundle{State: p.signer.SignState(state, time.Now())}
	for _, s := range found {
		b.Statements = append(b.Statements, s.bundled())
	}
	return b, nil
}

// Evidence returns what a signer decides by for the unsigned packages or documents ds
// in a task: their statements and those of their SRPMs and commits, of the intents to sign those
// of the task, each once, with proofs, the ledger's signed state, and how it continues the state at transaction from, which the signer
// remembers; 0 if it remembers none. Errors are those of Bundle; a from that the
// ledger hasn't reached is a Conflict.
func (p *Provenance) Evidence(ctx context.Context, task albs.TaskID, ds []albs.Digest, from uint64) (attest.Evidence, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return attest.Evidence{}, err
	}
	if from > state.TxID {
		return attest.Evidence{}, albs.Errorf(albs.Conflict, "the signer knows transaction %d of the ledger, which ends with %d: it knows another ledger or a later one", from, state.TxID)
	}
	e := attest.Evidence{Bundle: attest.Bundle{State: p.signer.SignState(state, time.Now())}}
	seen := map[string]bool{}
	for _, d := range ds {
		found, err := p.complete(ctx, d, state, attest.SignResult, attest.SBOM, attest.Rebuild) // neither a bill nor a rebuild decides anything
		if err != nil {
			return attest.Evidence{}, fmt.Errorf("evidence: %w", err)
		}
		for _, s := range found {
			other, err := intentOfOther(s.statement, task)
			if err != nil {
				return attest.Evidence{}, fmt.Errorf("evidence: %w", err)
			}
			if !other && !seen[string(s.key)] {
				seen[string(s.key)] = true
				e.Statements = append(e.Statements, s.bundled())
			}
		}
	}
	if from != 0 && from != state.TxID {
		c, err := p.ledger.Consistency(ctx, from, state.TxID)
		if err != nil {
			return attest.Evidence{}, fmt.Errorf("evidence: %w", err)
		}
		e.Consistency = &c
	}
	return e, nil
}

// intentOfOther reports whether st is an intent to sign by another task than that.
func intentOfOther(st attest.Statement, task albs.TaskID) (bool, error) {
	if st.Short() != attest.SignIntent {
		return false, nil
	}
	var body attest.SignIntentBody
	err := st.Body(&body)
	return body.Task != task, err
}

// Trust returns t with what the master itself knows filled in: the id of the
// ledger, its own key, and those that signers and releasers have or had. Package keys,
// builders, products and requirements are the caller's. It is TooLarge beyond
// attest.MaxTrust.
func (p *Provenance) Trust(ctx context.Context, t attest.Trust) (attest.Trust, error) {
	state, err := p.advance(ctx)
	if err != nil {
		return attest.Trust{}, err
	}
	t.Ledger = state.Ledger
	t.MasterKeys = append(slices.Clone(t.MasterKeys), attest.PublicKey(p.signer.Public()))
	if t.SignerKeys, err = p.keysOf(ctx, albs.RoleSigner, attest.Sign); err != nil {
		return attest.Trust{}, err
	}
	if t.ReleaserKeys, err = p.keysOf(ctx, albs.RoleReleaser, attest.Release); err != nil {
		return attest.Trust{}, err
	}
	b := t.Encode()
	if len(b) > attest.MaxTrust {
		return attest.Trust{}, albs.Errorf(albs.TooLarge, "the trust file would have %d bytes, and it has at most %d so that it stays easy to hand on: export one for each product", len(b), attest.MaxTrust)
	}
	return attest.ParseTrust(b) // a trust that nobody could use is refused here
}
