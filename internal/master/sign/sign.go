// Package sign owns the registry of signing keys (public parts only), the requests
// to have builds and other files signed, and the signatures of documents.
//
// Private keys are the signer's, and so is the decision: what goes to it is
// evidence, the master's statements with proofs from the ledger, and it refuses
// what they don't show. Here it is decided what may be asked for at all, by the
// build's state, the product's gate and the key; and what an answer is worth: a
// signature is taken only if it verifies by the registered public key over a copy
// that this package spliced itself, and the signer's own statement about that copy says
// just what is found here.
//
// Invariants: nothing is offered to a signer before the ledger proves it, and proves
// the intent to sign it, which has a result in the ledger too in the end; a package
// has one signed copy by a key at most, and a document one signature of each form; what is
// signed is the package that was notarized and nothing else in it; another file is signed
// only if albs made it or it is on its product's list.
package sign

import (
	"context"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/master/testrun"
)

// Parts are the modules that signing rests on.
type Parts struct {
	DB         *db.DB
	Events     *event.Log
	Auth       *auth.Auth
	Queue      *queue.Queue
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Products   *product.Products
	Builds     *build.Builds
	Tests      *testrun.Tests
}

// Signing keeps keys, requests and signatures. It may be used concurrently.
type Signing struct {
	store      store
	events     *event.Log
	auth       *auth.Auth
	queue      *queue.Queue
	artifacts  *artifact.Artifacts
	provenance *provenance.Provenance
	products   *product.Products
	builds     *build.Builds
	tests      *testrun.Tests
}

// New returns the signing of a master and registers the handlers of the kinds
// sign and keygen.
func New(p Parts) *Signing {
	s := &Signing{
		store: store{p.DB}, events: p.Events, auth: p.Auth, queue: p.Queue, artifacts: p.Artifacts, provenance: p.Provenance,
		products: p.Products, builds: p.Builds, tests: p.Tests,
	}
	p.Queue.Register(albs.KindSign, signHandler{s})
	p.Queue.Register(albs.KindKeygen, keygenHandler{s})
	p.Builds.Guard(s.guard)
	p.Tests.Sign(s)
	p.Artifacts.Root("sign", s.roots)
	return s
}

// guard keeps a build whose packages are signed, or about to be, as it is.
func (s *Signing) guard(ctx context.Context, q db.Q, id albs.BuildID) error {
	signed, err := s.store.signs(ctx, q, id)
	if err != nil {
		return fmt.Errorf("signatures of build %d: %w", id, err)
	}
	if signed {
		return albs.Errorf(albs.Conflict, "packages of build %d are signed, or about to be: it stays as it is; make another build", id)
	}
	return nil
}

// Signed returns the signed copies by a key, given by fingerprint, of those of the
// unsigned packages that have one. Releases rest on it, so the row alone is not
// believed: a copy of which the master didn't state that it is that package, signed
// with that key, is a Conflict.
func (s *Signing) Signed(ctx context.Context, unsigned []albs.Digest, key string) (map[albs.Digest]artifact.Artifact, error) {
	out := make(map[albs.Digest]artifact.Artifact, len(unsigned))
	for _, d := range unsigned {
		signed, err := s.store.signedPackage(ctx, s.store.d, d, key)
		if err != nil {
			return nil, err
		}
		if signed == "" {
			continue
		}
		if err := s.stated(ctx, signed, d, key); err != nil {
			return nil, err
		}
		if out[d], err = s.artifacts.Get(ctx, s.store.d, signed); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// stated returns nil if the master stated that signed is unsigned with a signature
// by key.
func (s *Signing) stated(ctx context.Context, signed, unsigned albs.Digest, key string) error {
	var body attest.SignBody
	sts, err := s.provenance.Stated(ctx, signed, attest.Sign)
	if err == nil && len(sts) > 0 {
		err = sts[len(sts)-1].Body(&body)
	}
	if err != nil {
		return err
	}
	if body.Unsigned != unsigned || body.Fingerprint != key {
		return albs.Errorf(albs.Conflict, "%s is on record as the copy of %s signed with key %s, and the master never stated that: the database was changed behind albs; compare it with a backup",
			signed.Short(), unsigned.Short(), key)
	}
	return nil
}
