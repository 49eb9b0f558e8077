// Package provenance makes the master's statements and brings them, those that signers
// and releasers made of what they did, and a record of each file, into the ledger; and it answers from there what is true of a
// digest: notarized or not, its history, the bundle that a stranger verifies.
//
// It owns the rows of statements and file records, the outbox, the ledger's
// state as last verified, and which key is whose worker's (worker.go). What a predicate holds is defined in attest; when to
// state it is decided by the module that did the work.
//
// Invariants: a change and the statement that tells of it are one transaction
// (State); the outbox reaches the ledger in order, at least once, and counts
// once; the trusted state only ever advances by proof; and no answer rests on a
// row of this database: rows are looked up here and believed only if the ledger
// proves them and the master's key signed them, or that of a worker whom the master
// stated to have it.
package provenance

import (
	"context"
	"crypto/ed25519"
	"fmt"
	"sync"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

// Events is where deliveries are put on record and waiters are woken; event.Log
// is one.
type Events interface {
	Add(ctx context.Context, tx db.Tx, kind, topic, actor string, data any) error
	// Nudge wakes the waiters of a topic without an event.
	Nudge(topic string)
	// Wake returns a channel that receives when something happens under topic.
	Wake(topic string) (wake <-chan struct{}, stop func())
}

// Provenance states, delivers and proves. It may be used concurrently.
type Provenance struct {
	d         *db.DB
	events    Events
	artifacts *artifact.Artifacts
	ledger    ledger.Ledger
	signer    *attest.Signer
	log       zerolog.Logger

	// turn is held by whoever asks the ledger how far it has come, which may take long.
	turn    chan struct{}
	trusted ledger.State // of who holds turn; zero until first read

	mu     sync.Mutex // never held while ledger or database are asked
	leads  bool       // this process delivers
	broken error      // the ledger is not the one remembered: for good
	// verified are the commits that were proven to be notarized, with the subjects of
	// their statements.
	verified map[NamedCommit]albs.Digest
	away     error                        // the last failure to look or deliver; at first, that nobody looked
	known    map[string]ed25519.PublicKey // keys of workers, by role and key id: what was stated once stays true
}

// New returns a Provenance over the rows of d and the ledger l, whose statements
// are signed by signer. It does no I/O.
func New(d *db.DB, events Events, artifacts *artifact.Artifacts, l ledger.Ledger, signer *attest.Signer, log zerolog.Logger) *Provenance {
	return &Provenance{
		d: d, events: events, artifacts: artifacts, ledger: l, signer: signer, log: log,
		turn: make(chan struct{}, 1), away: errUnseen, verified: map[NamedCommit]albs.Digest{},
	}
}

var errUnseen = albs.Errorf(albs.Unavailable, "the ledger has not been looked at yet")

// Fact is something that the master saw and testifies to.
type Fact struct {
	// Subjects are what it is about; each gets a statement of its own, so that who
	// holds one package need not read of a thousand. Empty: only Files are recorded.
	Subjects []attest.Subject
	// Predicate is the predicate's short name in attest, Body its struct.
	Predicate string
	Body      any
	// Envelopes are the statements, encoded, as a worker made them of what it did itself,
	// by the file of their subjects, and Key is the worker's, of KeyOf. Each must say exactly
	// what this Fact does. Without any the master makes them.
	Envelopes map[albs.Digest][]byte
	Key       ed25519.PublicKey
	// Files get a record in the ledger, each in the transaction of its statement if
	// it is a subject. A file that has one keeps it.
	Files []artifact.Artifact
	// Records are further records, of what is no file of this master.
	Records []Record
	// Metadata goes into the records, in ALBS's words: build_id, build_host,
	// build_arch, built_by, source_type, git_url, git_ref, git_commit …
	Metadata map[string]string
}

// SubjectOf returns an artifact as the subject of a statement: by its sha256 and,
// for an RPM, by the digests of header and payload, which signing leaves alone.
func SubjectOf(a artifact.Artifact) attest.Subject {
	d := map[string]string{attest.SHA256: string(a.Digest)}
	if a.HeaderSHA256 != "" {
		d[attest.HeaderSHA256], d[attest.PayloadSHA256] = string(a.HeaderSHA256), string(a.PayloadSHA256)
	}
	return attest.Subject{Name: a.Name, Digest: d}
}

// State signs the fact and writes it, with the records of its files, into rows
// and outbox in the caller's transaction: it is durable when tx commits, and Run
// carries it to the ledger from there. It does no I/O but tx. A subject without
// a valid sha256, an unknown predicate, and an envelope that lacks or says something else
// are Invalid; a statement or record too long for the ledger is TooLarge.
func (p *Provenance) State(ctx context.Context, tx db.Tx, f Fact) error {
	now := db.Now()
	records := make(map[albs.Digest]string, len(f.Files))
	for _, a := range f.Files {
		r, err := newRecord(a, p.signer.KeyID(), f.Metadata)
		if err != nil {
			return err
		}
		records[a.Digest] = r
	}
	for _, s := range f.Subjects {
		envelope, err := p.sign(s, f)
		if err != nil {
			return fmt.Errorf("state %s about %s: %w", f.Predicate, s.Name, err)
		}
		id, err := insertStatement(ctx, tx, s.File(), f.Predicate, envelope, now)
		if err != nil {
			return fmt.Errorf("store %s about %s: %w", f.Predicate, s.Name, err)
		}
		file, err := p.record(ctx, tx, s.File(), records, now)
		if err != nil {
			return err
		}
		if err := insertOutbox(ctx, tx, id, file); err != nil {
			return fmt.Errorf("queue statement %d: %w", id, err)
		}
		if c := s.Digest[attest.GitCommit]; c != "" && f.Predicate == attest.Commit {
			if err := insertCommit(ctx, tx, c, s.File()); err != nil {
				return fmt.Errorf("note the commit of statement %d: %w", id, err)
			}
		}
	}
	if err := p.recordOthers(ctx, tx, f.Records, now); err != nil {
		return err
	}
	for _, a := range f.Files {
		file, err := p.record(ctx, tx, a.Digest, records, now)
		if err != nil {
			return err
		}
		if file == "" {
			continue
		}
		if err := insertOutbox(ctx, tx, 0, file); err != nil {
			return fmt.Errorf("queue record of %s: %w", a.Name, err)
		}
	}
	tx.AfterCommit(func() { p.events.Nudge(Topic) })
	return nil
}

// record writes the record of d, if there is one to write and d has none yet, and
// returns d then.
func (p *Provenance) record(ctx context.Context, tx db.Tx, d albs.Digest, records map[albs.Digest]string, at db.Time) (albs.Digest, error) {
	value, ok := records[d]
	if !ok {
		return "", nil
	}
	delete(records, d)
	added, err := insertRecord(ctx, tx, d, value, at)
	if err != nil {
		return "", fmt.Errorf("record file %s: %w", d.Short(), err)
	}
	if !added {
		return "", nil
	}
	return d, nil
}
