package sign

import (
	"cmp"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/db"
	"albs/internal/master/provenance"
	"albs/internal/master/queue"
	"albs/internal/pgp"
	"albs/internal/rpm"
)

// signHandler has packages or a document signed.
type signHandler struct{ *Signing }

// job is what a sign task is about: packages of a request, documents of one wish, or a file.
type job struct {
	key       Key
	request   requestRow
	packages  []packageRow
	documents []documentRow // alike but for what they are of; or the one file
}

func (h signHandler) job(ctx context.Context, q db.Q, task albs.TaskID) (job, error) {
	var j job
	var err error
	j.request, err = h.store.requestOf(ctx, q, task)
	key := j.request.Key
	switch {
	case err == nil:
		if j.packages, err = h.store.packagesOfTask(ctx, q, task); err != nil {
			return j, fmt.Errorf("packages of sign task %d: %w", task, err)
		}
	case errors.Is(err, albs.NotFound):
		if j.documents, err = h.store.documentsOfTask(ctx, q, task); err != nil {
			return j, err
		}
		key = j.documents[0].Key
	default:
		return j, err
	}
	row, err := h.store.key(ctx, q, key)
	if err != nil {
		return j, err
	}
	j.key, err = row.key()
	return j, err
}

// Offer looks at everything again that may have changed since the request: the
// key, the gate, and whether the ledger proves what is to be signed.
func (h signHandler) Offer(ctx context.Context, t queue.Task, o queue.Offer) (albs.Spec, json.RawMessage, error) {
	j, err := h.job(ctx, h.store.d, t.ID)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	spec := albs.SignSpec{Key: j.key.Fingerprint}
	if why := j.key.Unusable(time.Now()); why != "" {
		return albs.Spec{}, nil, albs.Errorf(albs.Invalid, "key %s %s", j.key.Name, why)
	}
	var digests []albs.Digest
	for _, f := range j.files() {
		digests = append(digests, f.Digest)
	}
	switch {
	case len(j.documents) == 0:
		spec.Product, spec.Build, spec.Packages = j.request.Product, j.request.BuildID, j.files()
	case j.documents[0].File:
		spec.Product, spec.Files, spec.Clear = j.documents[0].Product, j.files(), j.documents[0].Clear
	default:
		spec.Product, spec.Documents = j.documents[0].Product, j.files()
	}
	if asked, ok := j.wish(); ok {
		if err := h.approvedEnough(ctx, asked); err != nil {
			return albs.Spec{}, nil, err
		}
	}
	if spec.Effects, err = h.effectsOf(ctx, j); err != nil {
		return albs.Spec{}, nil, err
	}
	if spec.Effects != nil {
		digests = append(digests, spec.Effects.Digest) // what people said of them is evidence too
	}
	if err := h.settle(ctx, digests); err != nil {
		return albs.Spec{}, nil, err
	}
	if len(j.documents) == 0 {
		if err := h.offerable(ctx, j); err != nil {
			return albs.Spec{}, nil, err
		}
	}
	for _, d := range j.documents {
		if d.File {
			continue
		}
		if err := h.approved(ctx, d); err != nil {
			return albs.Spec{}, nil, err
		}
	}
	evidence, err := h.evidence(ctx, t.ID, digests, o.Ledger)
	if err != nil {
		return albs.Spec{}, nil, err
	}
	return albs.Spec{Sign: &spec}, evidence, nil
}

// wish returns what people are to approve of the task before it goes out, if anything: a
// release's documents were approved with the release.
func (j job) wish() (wish, bool) {
	switch {
	case len(j.documents) == 0:
		return j.request.wish(), true
	case j.documents[0].File:
		return j.documents[0].wish(), true
	}
	return wish{}, false
}

// effectsOf returns the effects that the task is a part of, if anybody has approved them:
// nil else, for then no signer asks for them.
func (h signHandler) effectsOf(ctx context.Context, j job) (*albs.File, error) {
	d := j.request.Effects
	if len(j.documents) > 0 {
		d = j.documents[0].Effects
	}
	if d == "" {
		return nil, nil
	}
	said, err := h.provenance.History(ctx, d)
	if errors.Is(err, albs.NotFound) || err == nil && len(said) == 0 {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	a, err := h.artifacts.Get(ctx, h.store.d, d)
	if err != nil {
		return nil, err
	}
	f := a.File()
	return &f, nil
}

// settleTime is how long an offer waits for what was stated a moment ago.
const settleTime = 2 * time.Second

// settle gives statements that are on their way to the ledger the moment that they
// need: a task that is given back for them pauses much longer.
func (h signHandler) settle(ctx context.Context, ds []albs.Digest) error {
	soon, cancel := context.WithTimeout(ctx, settleTime)
	defer cancel()
	if err := h.provenance.WaitNotarized(soon, ds...); err != nil && soon.Err() == nil {
		return err
	}
	return ctx.Err()
}

// offerable says whether the packages may go to the signer now: by the gate, and
// by the ledger's proof, whatever the rows say.
func (h signHandler) offerable(ctx context.Context, j job) error {
	if err := h.gate(ctx, j.request.BuildID, j.request.Product, j.packages); err != nil {
		if errors.Is(err, albs.Conflict) { // it held when the request was made
			return albs.Errorf(albs.Invalid, "%w", err)
		}
		return err
	}
	for _, p := range j.packages {
		ok, err := h.provenance.Notarized(ctx, p.Unsigned)
		if err != nil {
			return err
		}
		if !ok {
			return albs.Errorf(albs.Unavailable, "%s is not notarized yet", p.Name)
		}
	}
	return nil
}

// approved says whether the ledger proves that the document is what an approved
// release of its product comes to.
func (h signHandler) approved(ctx context.Context, d documentRow) error {
	events, err := h.provenance.History(ctx, d.Digest)
	if err != nil {
		return err
	}
	for _, e := range events {
		if e.Subject != d.Digest || e.Predicate != attest.ReleaseApproved {
			continue
		}
		if e.Receipt == nil {
			return albs.Errorf(albs.Unavailable, "the approval of %s is not notarized yet", d.Name)
		}
		var body attest.ReleaseApprovedBody
		if err := e.Statement.Body(&body); err != nil {
			return err
		}
		if body.Product == d.Product {
			return nil
		}
	}
	return albs.Errorf(albs.Invalid, "nobody approved %s (%s) for product %s", d.Name, d.Digest.Short(), d.Product)
}

// evidence returns what the signer decides by, as JSON. What is still on its way
// to the ledger is Unavailable: the queue asks again soon.
func (h signHandler) evidence(ctx context.Context, task albs.TaskID, ds []albs.Digest, known uint64) (json.RawMessage, error) {
	e, err := h.provenance.Evidence(ctx, task, ds, known)
	if errors.Is(err, albs.NotFound) {
		return nil, albs.Errorf(albs.Invalid, "what is to be signed was never stated: %w", err)
	}
	if err != nil {
		return nil, err
	}
	return e.Encode(), nil
}

func (h signHandler) Admit(ctx context.Context, l queue.Lease, outcome albs.Outcome, r albs.Result) (func(context.Context, db.Tx) error, error) {
	if outcome == albs.OutcomeExcluded {
		return nil, albs.Errorf(albs.Invalid, "a signer excludes nothing")
	}
	if outcome != albs.OutcomeOK {
		return nil, nil
	}
	if r.Sign == nil {
		return nil, albs.Errorf(albs.Invalid, "the attempt reports success and brings no signature")
	}
	j, err := h.job(ctx, h.store.d, l.Token.Task)
	if err != nil {
		return nil, err
	}
	signatures, err := match(*l.Spec.Sign, *r.Sign)
	if err != nil {
		return nil, err
	}
	if len(j.documents) > 0 {
		return h.admitDocuments(ctx, l, j, signatures)
	}
	statements := make(map[albs.Digest][]byte, len(r.Sign.Signatures))
	for _, s := range r.Sign.Signatures {
		statements[s.Of] = s.Statement
	}
	return h.admitPackages(ctx, l, j, signatures, statements)
}

// match says whether a result has exactly one signature for each thing asked for.
func match(spec albs.SignSpec, r albs.SignResult) (map[albs.Digest][]byte, error) {
	asked := map[albs.Digest]bool{}
	for _, f := range spec.Items() {
		asked[f.Digest] = true
	}
	out := make(map[albs.Digest][]byte, len(r.Signatures))
	for _, s := range r.Signatures {
		if !asked[s.Of] {
			return nil, albs.Errorf(albs.Invalid, "there is a signature of %.64q, which was not to be signed", string(s.Of))
		}
		if out[s.Of] != nil || len(s.Bytes) == 0 {
			return nil, albs.Errorf(albs.Invalid, "there are two signatures of %s, or an empty one", s.Of.Short())
		}
		out[s.Of] = s.Bytes
	}
	if len(out) != len(asked) {
		return nil, albs.Errorf(albs.Invalid, "%d of %d signatures came", len(out), len(asked))
	}
	return out, nil
}

func (h signHandler) admitDocuments(ctx context.Context, l queue.Lease, j job, signatures map[albs.Digest][]byte) (func(context.Context, db.Tx) error, error) {
	kr, err := pgp.ReadKeyring(j.key.Public)
	if err != nil {
		return nil, fmt.Errorf("registered key %s: %w", j.key.Name, err)
	}
	for _, d := range j.documents {
		if err := h.checkDocument(ctx, d, j.key, kr, signatures[d.Digest]); err != nil {
			return nil, err
		}
	}
	task, err := h.queue.Task(ctx, l.Token.Task)
	if err != nil {
		return nil, err
	}
	who := auth.From(ctx).String()
	return func(ctx context.Context, tx db.Tx) error {
		for _, d := range j.documents {
			if err := h.store.addDocumentSignature(ctx, tx, d, string(signatures[d.Digest]), db.Now()); err != nil {
				return err
			}
		}
		if err := h.stateResults(ctx, tx, task.ID, j, signatures, ""); err != nil {
			return err
		}
		for _, d := range j.documents {
			err := h.events.Add(ctx, tx, "document.signed", task.Topic, who, map[string]any{
				"task": task.ID, "digest": d.Digest, "name": d.Name, "key": j.key.Fingerprint,
			})
			if err != nil {
				return err
			}
		}
		return nil
	}, nil
}

// checkDocument says whether sig is a signature of the document by the key, which kr
// should hold.
func (h signHandler) checkDocument(ctx context.Context, d documentRow, k Key, kr *pgp.Keyring, sig []byte) error {
	r, err := h.artifacts.Blobs().Open(ctx, d.Digest)
	if err != nil {
		return fmt.Errorf("open %s: %w", d.Name, err)
	}
	defer r.Close()
	var by string
	if d.Clear {
		by, _, err = kr.VerifyClear(r, sig)
	} else {
		by, _, err = kr.VerifyArmored(r, sig)
	}
	switch {
	case err != nil:
		return fmt.Errorf("signature of %s: %w", d.Name, err)
	case by != k.Fingerprint:
		return albs.Errorf(albs.Invalid, "the signature of %s is by key %s, not by %s", d.Name, by, k.Fingerprint)
	}
	return nil
}

// fresh is a signed copy that was made of a new signature.
type fresh struct {
	unsigned  albs.Digest
	artifact  artifact.Artifact
	statement []byte // the signer's own, about the copy
}

// admitPackages takes signatures of packages, and statements, both by the unsigned package:
// what the signer states must be what this master finds, by the key that it is known by.
func (h signHandler) admitPackages(ctx context.Context, l queue.Lease, j job, signatures, statements map[albs.Digest][]byte) (func(context.Context, db.Tx) error, error) {
	kr, err := rpm.ReadKeyring(j.key.Public)
	if err != nil {
		return nil, fmt.Errorf("registered key %s: %w", j.key.Name, err)
	}
	by, err := h.provenance.KeyOf(ctx, auth.From(ctx))
	if err != nil {
		return nil, err
	}
	made := make([]*fresh, len(j.packages))
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i, p := range j.packages {
		g.Go(func() error {
			// A package that was signed before keeps that copy: the new signature of an
			// attempt whose report was lost is dropped.
			signed, err := h.store.signedPackage(gctx, h.store.d, p.Unsigned, j.key.Fingerprint)
			if err != nil || signed != "" {
				return err
			}
			a, err := h.splice(gctx, p, signatures[p.Unsigned], j.key, kr)
			if err != nil {
				return fmt.Errorf("signature of %s: %w", p.Name, err)
			}
			made[i] = &fresh{p.Unsigned, a, statements[p.Unsigned]}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	who := auth.From(ctx).String()
	return func(ctx context.Context, tx db.Tx) error {
		for _, f := range made {
			if f == nil {
				continue
			}
			if err := h.keep(ctx, tx, l.Token.Task, j, *f, by); err != nil {
				return err
			}
		}
		if err := h.stateResults(ctx, tx, l.Token.Task, j, signatures, ""); err != nil {
			return err
		}
		return h.end(ctx, tx, l.Token.Task, j.request, who)
	}, nil
}

// splice makes the signed copy of a package, stores it, and looks at what was
// stored: the registered key's signature must hold, and but for it the copy must be
// the package that was to be signed.
func (h signHandler) splice(ctx context.Context, p packageRow, packet []byte, key Key, kr *rpm.Keyring) (artifact.Artifact, error) {
	sig, err := pgp.ParseSignature(packet)
	if err != nil {
		return artifact.Artifact{}, err
	}
	unsigned, err := h.artifacts.Package(ctx, p.Unsigned)
	if err != nil {
		return artifact.Artifact{}, err
	}
	from, err := h.artifacts.Open(ctx, p.Unsigned, 0, -1)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer from.Close()
	r, w := io.Pipe()
	spliced := make(chan error, 1)
	go func() {
		err := rpm.Splice(w, from, packet, sig.RSA)
		w.CloseWithError(err)
		spliced <- err
	}()
	a, err := h.artifacts.Save(ctx, r, p.Size+maxGrowth, p.Name, artifact.Kind(p.Kind))
	r.CloseWithError(err)
	if serr := <-spliced; serr != nil {
		err = serr
	}
	if err != nil {
		return artifact.Artifact{}, err
	}
	stored, err := h.artifacts.Blobs().Open(ctx, a.Digest)
	if err != nil {
		return artifact.Artifact{}, err
	}
	defer stored.Close()
	v, err := rpm.Verify(stored, kr)
	if err != nil {
		return artifact.Artifact{}, err
	}
	if v.Fingerprint != key.Fingerprint {
		return artifact.Artifact{}, albs.Errorf(albs.Invalid, "it is by key %s, not by %s", v.Fingerprint, key.Fingerprint)
	}
	if v.FileDigest != a.Digest || !rpm.SameContent(unsigned, v.Package) {
		return artifact.Artifact{}, albs.Errorf(albs.Internal, "the signed copy %s is not the package %s", a.Digest.Short(), p.Unsigned.Short())
	}
	a.Unsigned, a.SignedBy = p.Unsigned, key.Fingerprint
	return a, nil
}

// maxGrowth bounds what a signature adds to a package.
const maxGrowth = 64 << 10

// keep writes what there is to say of a new signed copy, as the signer whose key is by
// states it.
func (h signHandler) keep(ctx context.Context, tx db.Tx, task albs.TaskID, j job, f fresh, by ed25519.PublicKey) error {
	there, err := h.store.signedPackage(ctx, tx, f.unsigned, j.key.Fingerprint)
	if err != nil {
		return err
	}
	if there != "" {
		return albs.Errorf(albs.Conflict, "%s was signed with key %s meanwhile", f.artifact.Name, j.key.Name)
	}
	if err := h.artifacts.Add(ctx, tx, f.artifact); err != nil {
		return err
	}
	if err := h.store.addSigned(ctx, tx, f.unsigned, j.key.Fingerprint, f.artifact.Digest, db.Now()); err != nil {
		return err
	}
	err = h.provenance.State(ctx, tx, provenance.Fact{
		Subjects: []attest.Subject{provenance.SubjectOf(f.artifact)}, Predicate: attest.Sign,
		Body: attest.SignBody{
			Unsigned: f.unsigned, Fingerprint: j.key.Fingerprint, Task: task, Build: int64(j.request.BuildID), Requester: j.request.Requester,
		},
		Envelopes: map[albs.Digest][]byte{f.artifact.Digest: f.statement}, Key: by,
		Files:    []artifact.Artifact{f.artifact},
		Metadata: map[string]string{"build_id": j.request.BuildID.String(), "signed_by": j.key.Fingerprint},
	})
	if err != nil {
		return fmt.Errorf("state signature: %w", err)
	}
	return nil
}

// end notes the end of a task, and tells it of the whole build after the last one.
func (h signHandler) end(ctx context.Context, tx db.Tx, task albs.TaskID, r requestRow, who string) error {
	last, err := h.store.endTask(ctx, tx, task, r.ID)
	if err != nil || !last {
		return err
	}
	left, err := h.store.unsignedOf(ctx, tx, r.ID, r.Key)
	if err != nil {
		return err
	}
	kind := EventSigned
	if left > 0 {
		kind = "sign.failed"
	}
	return h.events.Add(ctx, tx, kind, build.Topic(r.BuildID), who, Signed{Request: r.ID, Build: r.BuildID, Key: r.Key})
}

// Ended states that what was intended came to nothing, and lets the same be asked for
// again.
func (h signHandler) Ended(ctx context.Context, tx db.Tx, t queue.Task) error {
	j, err := h.job(ctx, tx, t.ID)
	if err != nil {
		return err
	}
	if err := h.stateResults(ctx, tx, t.ID, j, nil, cmp.Or(t.Reason, string(t.State))); err != nil {
		return err
	}
	if len(j.documents) > 0 {
		return h.store.endDocuments(ctx, tx, t.ID)
	}
	return h.end(ctx, tx, t.ID, j.request, auth.From(ctx).String())
}

func (h signHandler) InVain(context.Context, db.Tx, queue.Task) error { return nil }

// Reads allows nothing beside what the spec names.
func (h signHandler) Reads(context.Context, queue.Lease, albs.Digest) (bool, error) {
	return false, nil
}
