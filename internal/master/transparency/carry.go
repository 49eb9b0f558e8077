package transparency

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/queue"
	"albs/internal/master/repo"
	"albs/internal/tlog"
)

const (
	// maxTogether is how many leaves are appended at once, and laid by one task.
	maxTogether = 500
	// maxAsked bounds the packages of one task, in bytes as JSON; one package alone may have
	// more. The rest of queue.MaxSpec is for what the spec says else.
	maxAsked = queue.MaxSpec / 2
	// publishTimeout bounds the wait for a checkpoint: witnesses have been asked a few times
	// by then.
	publishTimeout = time.Minute
	// askAgain is the pause after a task that laid nothing.
	askAgain = 10 * time.Minute
	// maxEvidence bounds how many refusals are kept, and how many are remembered.
	maxEvidence = 1000
)

// fix fixes what is told of packages whose statements are all in the ledger, and reports
// whether some still wait. One that can't be proven stays where it is and holds up no
// other.
func (t *Transparency) fix(ctx context.Context) (waiting bool, err error) {
	var errs []error
	for after := int64(0); ; {
		rows, err := t.store.at(ctx, t.DB, waits, after, maxTogether)
		if err != nil {
			return waiting, err
		}
		names, err := t.store.names(ctx, t.DB, rows)
		if err != nil {
			return waiting, err
		}
		for _, l := range rows {
			after = l.ID
			err := t.fixOne(ctx, l, names[l.ID])
			switch {
			case ctx.Err() != nil:
				return waiting, ctx.Err()
			case errors.Is(err, albs.Unavailable):
				waiting = true
			case err != nil && len(errs) < 3: // more of them say no more
				errs = append(errs, fmt.Errorf("package %s: %w", l.Package.Short(), err))
			}
		}
		if len(rows) < maxTogether {
			return waiting, errors.Join(errs...)
		}
	}
}

func (t *Transparency) fixOne(ctx context.Context, l leafRow, names []nameRow) error {
	if len(names) == 0 {
		return albs.Errorf(albs.Internal, "leaf %d has no name", l.ID)
	}
	if l.Withdrawn {
		return t.fixWithdrawal(ctx, l, names)
	}
	b, err := t.Provenance.Bundle(ctx, l.Package)
	if err != nil {
		return err
	}
	p, err := t.Artifacts.Package(ctx, l.Package)
	if err != nil {
		return err
	}
	leaf, err := b.Leaf(p, l.Package)
	if err != nil {
		return err
	}
	text := leaf.Encode()
	if _, err := tlog.ParseLeaf(text); err != nil {
		return err
	}
	statements, err := t.save(ctx, b.Envelopes(), names[0].File+attest.EnvelopesSuffix)
	if err != nil {
		return err
	}
	proof, err := t.save(ctx, b.Proof(), names[0].File+attest.ProofSuffix)
	if err != nil {
		return err
	}
	l.Step, l.Leaf, l.Statements, l.LedgerProof = stated, string(text), statements.Digest, proof.Digest
	return t.DB.InTx(ctx, func(tx db.Tx) error {
		if err := t.Artifacts.Add(ctx, tx, statements, proof); err != nil {
			return err
		}
		return t.store.move(ctx, tx, l, waits)
	})
}

// fixWithdrawal fixes what is told of a package that was withdrawn: it waits for nothing.
func (t *Transparency) fixWithdrawal(ctx context.Context, l leafRow, names []nameRow) error {
	p, err := t.Artifacts.Package(ctx, l.Package)
	if err != nil {
		return err
	}
	leaf := tlog.Withdrawal{NEVRA: attest.LeafNEVRA(p), File: l.Package, Release: l.Release}
	for _, n := range names {
		leaf.Repositories = append(leaf.Repositories, l.Product+"/"+n.Path)
	}
	text := leaf.Encode()
	if _, err := tlog.ParseWithdrawal(text); err != nil {
		return err
	}
	l.Step, l.Leaf = stated, string(text)
	return t.DB.InTx(ctx, func(tx db.Tx) error { return t.store.move(ctx, tx, l, waits) })
}

func (t *Transparency) save(ctx context.Context, b []byte, name string) (artifact.Artifact, error) {
	return t.Artifacts.Save(ctx, bytes.NewReader(b), attest.MaxBundle, name, artifact.Document)
}

// enter appends what is stated to the log and proves it. The log is open only while there
// is something to do.
func (t *Transparency) enter(ctx context.Context) error {
	todo := false
	for _, step := range []int{stated, logged} {
		rows, err := t.store.at(ctx, t.DB, step, 0, 1)
		if err != nil {
			return err
		}
		todo = todo || len(rows) > 0
	}
	if !todo {
		return nil
	}
	r, err := t.current(ctx)
	if err != nil {
		return err
	}
	dir, key := t.folder(r.ID)
	l, err := tlog.Open(ctx, tlog.Config{
		Dir: dir, Key: key, Witnesses: t.config.Witnesses, Quorum: t.config.Quorum, Client: t.Client, Refused: t.keepRefusal,
	}, r.published())
	if err != nil {
		if why := t.refusedWith(); errors.Is(err, albs.Unavailable) && why != "" {
			err = albs.Errorf(albs.Conflict, "the log %s can't begin: %s", r.Origin, why)
		}
		return err
	}
	return errors.Join(t.enterInto(ctx, l, r), l.Close())
}

// current returns the log that is appended to, and begins one if there is none or another
// origin was configured.
func (t *Transparency) current(ctx context.Context) (logRow, error) {
	logs, err := t.store.logs(ctx, t.DB)
	if err != nil {
		return logRow{}, err
	}
	if n := len(logs); n > 0 {
		last := logs[n-1]
		if t.config.Origin == "" || t.config.Origin == last.Origin {
			return last, nil
		}
		for _, l := range logs {
			if l.Origin == t.config.Origin {
				return logRow{}, albs.Errorf(albs.Invalid, "the log %s was ended by %s: give the next one a new origin", l.Origin, last.Origin)
			}
		}
	}
	r := logRow{ID: 1, Origin: t.origin(), BegunAt: db.Now()}
	if n := len(logs); n > 0 {
		r.ID = logs[n-1].ID + 1
	}
	_, key := t.folder(r.ID)
	if err := os.MkdirAll(t.config.Dir, 0o755); err != nil {
		return r, fmt.Errorf("make the folder of logs: %w", err)
	}
	if r.VKey, err = tlog.LoadOrCreateKey(key, r.Origin); err != nil {
		return r, err
	}
	if err := t.DB.InTx(ctx, func(tx db.Tx) error { return t.store.begin(ctx, tx, r) }); err != nil {
		return r, err
	}
	t.Log.Info().Str("origin", r.Origin).Str("vkey", r.VKey).Msg("a public log of releases begins")
	return r, nil
}

// enterInto brings all leaves that are stated into the open log, and proves them.
func (t *Transparency) enterInto(ctx context.Context, l *tlog.Log, r logRow) error {
	if err := t.find(ctx, l, r); err != nil {
		return err
	}
	for {
		rows, err := t.store.at(ctx, t.DB, stated, 0, maxTogether)
		if err != nil {
			return err
		}
		if len(rows) == 0 {
			break
		}
		if err := t.append(ctx, l, r, rows); err != nil {
			return err
		}
	}
	return t.prove(ctx, l, r)
}

// find looks for leaves in the log that an earlier run appended and didn't note.
func (t *Transparency) find(ctx context.Context, l *tlog.Log, r logRow) error {
	from, err := t.store.next(ctx, t.DB, r.ID)
	if err != nil {
		return err
	}
	size, err := l.Size(ctx)
	if err != nil || uint64(from) >= size {
		return err
	}
	waiting := map[string][]leafRow{}
	for after := int64(0); ; {
		rows, err := t.store.at(ctx, t.DB, stated, after, maxTogether)
		if err != nil {
			return err
		}
		for _, row := range rows {
			waiting[row.Leaf] = append(waiting[row.Leaf], row)
			after = row.ID
		}
		if len(rows) < maxTogether {
			break
		}
	}
	var found []leafRow
	unknown := 0
	err = l.Entries(ctx, uint64(from), size, func(i uint64, leaf []byte) error {
		rows := waiting[string(leaf)]
		delete(waiting, string(leaf)) // the first counts
		if len(rows) == 0 {
			unknown++
		}
		for _, row := range rows {
			found = append(found, row.in(r.ID, i))
		}
		return nil
	})
	if err != nil {
		return err
	}
	if unknown > 0 {
		t.Log.Warn().Int("leaves", unknown).Msg("the public log has leaves that the database doesn't know: albs transparency check says which")
	}
	return t.note(ctx, found, stated)
}

// in returns the row of a leaf that is at a place in a log.
func (l leafRow) in(log int64, place uint64) leafRow {
	at := int64(place)
	l.Step, l.Log, l.Place = logged, &log, &at
	return l
}

// note moves leaves from a step to where they are now.
func (t *Transparency) note(ctx context.Context, rows []leafRow, from int) error {
	if len(rows) == 0 {
		return nil
	}
	return t.DB.InTx(ctx, func(tx db.Tx) error {
		for _, row := range rows {
			if err := t.store.move(ctx, tx, row, from); err != nil {
				return err
			}
		}
		return nil
	})
}

// append appends the leaves of rows, equal ones once.
func (t *Transparency) append(ctx context.Context, l *tlog.Log, r logRow, rows []leafRow) error {
	var leaves [][]byte
	at := map[string]int{}
	for _, row := range rows {
		if _, ok := at[row.Leaf]; !ok {
			at[row.Leaf] = len(leaves)
			leaves = append(leaves, []byte(row.Leaf))
		}
	}
	places, err := l.Append(ctx, leaves...)
	if err != nil {
		return err
	}
	for i, row := range rows {
		rows[i] = row.in(r.ID, places[at[row.Leaf]])
	}
	return t.note(ctx, rows, stated)
}

// prove waits for a checkpoint that tells of all that was appended, remembers it, and
// makes the proof of each leaf. A checkpoint that doesn't continue what is remembered is
// a Conflict.
func (t *Transparency) prove(ctx context.Context, l *tlog.Log, r logRow) error {
	size, err := t.store.next(ctx, t.DB, r.ID)
	if err != nil {
		return err
	}
	c, err := t.published(ctx, l, uint64(size))
	if err != nil {
		return err
	}
	if err := l.Continues(ctx, r.published(), c); err != nil {
		return err
	}
	if err := t.DB.InTx(ctx, func(tx db.Tx) error { return t.store.remember(ctx, tx, r.ID, c) }); err != nil {
		return err
	}
	for {
		rows, err := t.store.at(ctx, t.DB, logged, 0, maxTogether)
		if err != nil || len(rows) == 0 {
			return err
		}
		if err := t.proveAll(ctx, l.Reader, r, c, rows); err != nil {
			return err
		}
	}
}

// published is Log.Published within bounds; that the witnesses don't cosign is told with
// what they said.
func (t *Transparency) published(ctx context.Context, l *tlog.Log, size uint64) (tlog.Checkpoint, error) {
	short, cancel := context.WithTimeout(ctx, t.patience)
	defer cancel()
	c, err := l.Published(short, size)
	t.mu.Lock()
	defer t.mu.Unlock()
	if err == nil {
		t.refusal = ""
		return c, nil
	}
	if ctx.Err() != nil || short.Err() == nil {
		return c, err
	}
	if t.refusal != "" {
		return c, albs.Errorf(albs.Conflict, "no checkpoint of %d leaves could be published: %s", size, t.refusal)
	}
	return c, albs.Errorf(albs.Unavailable, "no checkpoint of %d leaves was published within %v: too few of the witnesses answer", size, t.patience)
}

// proveAll makes the proofs of rows at a checkpoint. Leaves of an earlier log that were
// never proven there have to be entered into this one.
func (t *Transparency) proveAll(ctx context.Context, l tlog.Reader, r logRow, c tlog.Checkpoint, rows []leafRow) error {
	policy, err := t.Policy(ctx)
	if err != nil {
		return err
	}
	names, err := t.store.names(ctx, t.DB, rows)
	if err != nil {
		return err
	}
	var places []uint64
	for i, row := range rows {
		if *row.Log != r.ID {
			rows[i].Step, rows[i].Log, rows[i].Place = stated, nil, nil
			continue
		}
		places = append(places, uint64(*row.Place))
	}
	proofs, err := l.Proofs(ctx, c, places...)
	if err != nil {
		return err
	}
	var kept []artifact.Artifact
	for i, row := range rows {
		if row.Log == nil {
			continue
		}
		proof := proofs[0]
		proofs = proofs[1:]
		// What readers couldn't verify isn't given to them.
		if _, err := tlog.Verify(proof, []byte(row.Leaf), *policy); err != nil {
			return fmt.Errorf("leaf %d of the log %s: %w", *row.Place, r.Origin, err)
		}
		if row.Withdrawn { // whoever watches the log finds it there; nothing is laid
			rows[i].Step = laid
			continue
		}
		a, err := t.save(ctx, proof, names[row.ID][0].File+attest.LogProofSuffix)
		if err != nil {
			return err
		}
		kept = append(kept, a)
		rows[i].Step, rows[i].LogProof = proven, a.Digest
	}
	return t.DB.InTx(ctx, func(tx db.Tx) error {
		if err := t.Artifacts.Add(ctx, tx, kept...); err != nil {
			return err
		}
		for _, row := range rows {
			if err := t.store.move(ctx, tx, row, logged); err != nil {
				return err
			}
		}
		return nil
	})
}

// ask has releasers lay the files of leaves that are proven, each product's in tasks of
// its own. What can't be asked for holds up no other.
func (t *Transparency) ask(ctx context.Context) error {
	var errs []error
	before := db.At(time.Now().Add(-askAgain))
	for after := int64(0); ; {
		rows, err := t.store.toAsk(ctx, t.DB, before, after, maxTogether)
		if err != nil {
			return err
		}
		names, err := t.store.names(ctx, t.DB, rows)
		if err != nil {
			return err
		}
		orders, err := orders(rows, names)
		if err != nil {
			return err
		}
		for _, o := range orders {
			err := t.order(ctx, o)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			if err != nil && len(errs) < 3 { // more of them say no more
				errs = append(errs, fmt.Errorf("what is told of packages of %s: %w", o.spec.Product, err))
			}
		}
		if len(rows) < maxTogether {
			break
		}
		after = rows[len(rows)-1].ID
	}
	if len(errs) > 0 {
		return errors.Join(errs...)
	}
	failed, err := t.store.notLaid(ctx, t.DB)
	if err == nil && failed != 0 {
		err = albs.Errorf(albs.Unavailable, "task %d was to lay what is told of packages beside them and didn't of all, its log says why; it is asked for again within %v", failed, askAgain)
	}
	return err
}

// order is a task that is to be made, and the leaves whose files it is to lay.
type order struct {
	spec albs.ProveSpec
	rows []leafRow
}

// orders returns the tasks that lay the files of rows: each product's in their order, and no
// more in one than go into it.
func orders(rows []leafRow, names map[int64][]nameRow) (out []order, err error) {
	type filled struct{ at, bytes int }
	open := map[string]*filled{} // by product
	for _, row := range rows {
		k := albs.ProvePackage{Package: row.Package, Statements: row.Statements, LedgerProof: row.LedgerProof, LogProof: row.LogProof}
		for _, n := range names[row.ID] {
			k.Paths = append(k.Paths, n.Path+"/"+repo.Path(n.File))
		}
		b, err := json.Marshal(k)
		if err != nil {
			return nil, fmt.Errorf("encode what is told of a package: %w", err)
		}
		o := open[row.Product]
		if o == nil || o.bytes+len(b) > maxAsked {
			o = &filled{at: len(out)}
			open[row.Product] = o
			out = append(out, order{spec: albs.ProveSpec{Product: row.Product}})
		}
		o.bytes += len(b) + len(",")
		to := &out[o.at]
		to.spec.Packages, to.rows = append(to.spec.Packages, k), append(to.rows, row)
	}
	return out, nil
}

func (t *Transparency) order(ctx context.Context, o order) error {
	product := o.spec.Product
	return t.DB.InTx(ctx, func(tx db.Tx) error {
		id, err := t.Queue.Enqueue(ctx, tx, queue.NewTask{
			Kind: albs.KindProve, Lane: "product:" + product, Topic: Topic(product), Spec: albs.Spec{Prove: &o.spec},
		})
		if err != nil {
			return err
		}
		for _, row := range o.rows {
			row.Step, row.Task = asked, id
			if err := t.store.move(ctx, tx, row, proven); err != nil {
				return err
			}
		}
		return nil
	})
}

// Topic is the event topic of the tasks that lay what is told of a product's packages.
func Topic(product string) string { return "prove:" + product }

// refusedWith returns what a witness said last that refuses, "" if none does.
func (t *Transparency) refusedWith() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refusal
}

// evidence is the folder of what witnesses said that refuse.
func (t *Transparency) evidence() string { return filepath.Join(t.config.Dir, "evidence") }

// keepRefusal keeps what a witness said that refuses, once, as evidence. Anyone may read
// which file that is, so it has no folder there.
func (t *Transparency) keepRefusal(r tlog.Refusal) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name := string(r.Digest()) + ".txt"
	t.refusal = fmt.Sprintf("%s; the evidence is %s", r, name)
	if t.refused[r.Digest()] || len(t.refused) >= maxEvidence {
		return
	}
	t.refused[r.Digest()] = true
	file := filepath.Join(t.evidence(), name)
	err := t.keepFile(file, r.Evidence())
	if errors.Is(err, fs.ErrExist) {
		return // it was said before the last start, too
	}
	t.Log.Error().AnErr("keeping", err).Str("witness", r.Witness).Int("status", r.Status).Str("evidence", file).
		Msg("a witness refuses to cosign the public log: it may have been told another story")
}

// keepFile makes a file of evidence, unless there are enough of all times.
func (t *Transparency) keepFile(file string, b []byte) error {
	if err := os.MkdirAll(t.evidence(), 0o700); err != nil {
		return fmt.Errorf("make the folder of evidence: %w", err)
	}
	kept, err := os.ReadDir(t.evidence())
	if err != nil {
		return fmt.Errorf("read the folder of evidence: %w", err)
	}
	if len(kept) >= maxEvidence {
		return albs.Errorf(albs.TooLarge, "there are %d files of evidence already: take them elsewhere", len(kept))
	}
	return disk.CreateFile(file, b, 0o600)
}
