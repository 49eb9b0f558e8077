package main

import (
	"context"
	"crypto/ed25519"
	"errors"
	"fmt"
	"path/filepath"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/event"
	"albs/internal/master/provenance"
	"albs/internal/rpm"
)

const (
	notarizeMany = 4_096 // statements of a run
	notarizePeer = 256   // of the peer's
	notarizeGoal = 5_000 // a second
)

// notarize carries statements, each with its file's record, from the outbox of a
// database into the ledger, durably in both; beside it one set at a time, with its
// proof verified before the next.
func notarize(ctx context.Context, b *bench) (_ []row, err error) {
	dir := filepath.Join(b.dir, "notarize")
	l, err := ledger.OpenEmbedded(filepath.Join(dir, "ledger"))
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, l.Close()) }()
	d, err := db.Open(ctx, db.Config{File: filepath.Join(dir, "albs.db"), Log: zerolog.Nop()})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		return nil, err
	}
	p := provenance.New(d, event.New(d, zerolog.Nop()), nil, l, attest.NewSigner(key), zerolog.Nop())
	var ours, theirs []float64
	for i := range runs + 1 {
		for first := 0; first < notarizeMany; first += 256 {
			if err := stateMany(ctx, d, p, i*notarizeMany+first, 256); err != nil {
				return nil, err
			}
		}
		took, err := drained(ctx, p)
		if err != nil {
			return nil, err
		}
		peer, err := setEach(ctx, l, i)
		if err != nil {
			return nil, err
		}
		if i > 0 { // the first warms the caches
			ours, theirs = append(ours, notarizeMany/took.Seconds()), append(theirs, notarizePeer/peer.Seconds())
		}
	}
	r := row{
		Name: "notarize", Unit: "/s", Ours: median(ours), Peer: median(theirs), PeerName: "one verified set at a time",
		Goal: fmt.Sprintf("≥ %d/s, durable", notarizeGoal),
	}
	r.Ratio = r.Ours / r.Peer
	r.Met = r.Ours >= notarizeGoal
	return []row{r}, nil
}

// stateMany writes statements about n packages into the outbox.
func stateMany(ctx context.Context, d *db.DB, p *provenance.Provenance, first, n int) error {
	f := provenance.Fact{Predicate: attest.Test, Body: attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}}, Metadata: map[string]string{"build_id": "7"}}
	for i := range n {
		of := func(what string) albs.Digest { return albs.DigestOf(fmt.Append(nil, what, first+i)) }
		nevra := rpm.NEVRA{Name: "hello", Version: fmt.Sprint(first + i), Release: "1", Arch: "noarch"}
		a := artifact.Artifact{
			Digest: of("file"), Size: 1 << 20, Kind: artifact.RPM, Name: nevra.Filename(), NEVRA: nevra, SourceRPM: "hello.src.rpm",
			HeaderSHA256: of("header"), PayloadSHA256: of("payload"),
		}
		f.Files, f.Subjects = append(f.Files, a), append(f.Subjects, provenance.SubjectOf(a))
	}
	return d.InTx(ctx, func(tx db.Tx) error { return p.State(ctx, tx, f) })
}

// drained runs the delivery until the outbox is empty, and returns how long that took.
func drained(ctx context.Context, p *provenance.Provenance) (time.Duration, error) {
	running, stop := context.WithCancel(ctx)
	ended := make(chan error, 1)
	began := time.Now()
	go func() { ended <- p.Run(running) }()
	for {
		n, err := p.Pending(ctx)
		took := time.Since(began)
		if err != nil || n == 0 {
			stop()
			<-ended
			return took, err
		}
		select {
		case err := <-ended:
			stop()
			return 0, err
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// setEach appends entries of the same sizes one after the other, each verified by a
// proof before the next, and returns how long that took.
func setEach(ctx context.Context, l ledger.Ledger, run int) (time.Duration, error) {
	record, statement := make([]byte, 512), make([]byte, 1536)
	began := time.Now()
	for i := range notarizePeer {
		key := []byte(albs.DigestOf(fmt.Append(nil, "peer", run, i)))
		if _, err := l.Append(ctx, []ledger.Entry{{Key: key, Value: record}, {Key: append([]byte("peer/"), key...), Value: statement}}); err != nil {
			return 0, err
		}
		now, err := l.State(ctx)
		if err != nil {
			return 0, err
		}
		proof, err := l.Prove(ctx, key, now)
		if err != nil {
			return 0, err
		}
		if err := ledger.Verify(proof, key, record, now); err != nil {
			return 0, err
		}
	}
	return time.Since(began), nil
}
