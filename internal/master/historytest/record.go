package historytest

import (
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/db"
)

// records: I9, what was stated is in the ledger as it was stated, in the order of its
// causes, or still on its way; every package has the statement of where it came from and every kept file
// its record; and the ledger goes on from what is remembered of it.
func (c *checker) records(ctx context.Context) error {
	var remembered struct {
		Ledger string
		TxID   uint64      `db:"tx_id"`
		Alh    albs.Digest `db:"alh"`
	}
	err := db.Found(c.DB.GetContext(ctx, &remembered, `SELECT ledger, tx_id, alh FROM ledger_state WHERE id = 1`), "state of the ledger")
	if err != nil && !errors.Is(err, albs.NotFound) {
		return fmt.Errorf("read the remembered state: %w", err)
	}
	if err == nil {
		if err := ledger.Check(ctx, c.Ledger, ledger.State{Ledger: remembered.Ledger, TxID: remembered.TxID, Alh: remembered.Alh}); err != nil {
			c.broken("I9", "%v", err)
			return nil
		}
	}
	state, err := c.Ledger.State(ctx)
	if err != nil {
		return fmt.Errorf("read the ledger's state: %w", err)
	}
	if err := c.stated(ctx, state); err != nil {
		return err
	}
	if err := c.caused(ctx); err != nil {
		return err
	}
	return c.recorded(ctx, state)
}

// caused: I9, in causal order: where a source package came from is in the ledger no
// later than what was built of it. That a signature comes after the build is I5's.
func (c *checker) caused(ctx context.Context) error {
	var rows []struct {
		Subject  albs.Digest
		Envelope string
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT subject, envelope FROM statement WHERE predicate = $1 AND n = 1 ORDER BY id`, attest.Build)
	if err != nil {
		return fmt.Errorf("read builds: %w", err)
	}
	for _, r := range rows {
		var body attest.BuildBody
		if err := open(r.Envelope, &body); err != nil {
			c.broken("I9", "the build of %s can't be read: %v", r.Subject.Short(), err)
			continue
		}
		built, err := c.noted(ctx, r.Subject, attest.Build)
		if err != nil {
			return err
		}
		for _, dep := range body.BuildDefinition.ResolvedDependencies {
			if dep.Name != attest.DependencySRPM || built == 0 {
				continue
			}
			srpm := albs.Digest(dep.Digest[attest.SHA256])
			made, err := c.noted(ctx, srpm, attest.Source)
			if err != nil {
				return err
			}
			if made == 0 || made > built {
				c.broken("I9", "the build of %s is in ledger transaction %d, its source %s in %d", r.Subject.Short(), built, srpm.Short(), made)
			}
		}
	}
	return nil
}

// stated looks for the statements.
func (c *checker) stated(ctx context.Context, state ledger.State) error {
	var rows []struct {
		Subject   albs.Digest
		Predicate string
		N         int
		Envelope  string
		Waits     bool
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT subject, predicate, n, envelope,
		EXISTS (SELECT 1 FROM outbox WHERE statement_id = statement.id) AS waits FROM statement ORDER BY id`)
	if err != nil {
		return fmt.Errorf("read statements: %w", err)
	}
	for _, r := range rows {
		c.inLedger(ctx, attest.StatementKey(r.Subject, r.Predicate, r.N), r.Envelope, r.Waits, state)
	}
	var mute []struct {
		Digest albs.Digest
		Name   string
	}
	err = c.DB.SelectContext(ctx, &mute, `SELECT digest, name FROM artifact WHERE
		kind IN ('rpm', 'srpm') AND unsigned IS NULL AND EXISTS (SELECT 1 FROM build_artifact b WHERE b.digest = artifact.digest)
			AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.subject = artifact.digest AND s.predicate IN ('build', 'source'))
		OR unsigned IS NOT NULL AND NOT EXISTS (SELECT 1 FROM statement s WHERE s.subject = artifact.digest AND s.predicate = 'sign')`)
	if err != nil {
		return fmt.Errorf("read packages without statements: %w", err)
	}
	for _, m := range mute {
		c.broken("I9", "nothing is stated of %s (%s)", m.Name, m.Digest.Short())
	}
	return nil
}

// recorded looks for the records of files.
func (c *checker) recorded(ctx context.Context, state ledger.State) error {
	var rows []struct {
		Digest albs.Digest
		Value  string
		Waits  bool
	}
	err := c.DB.SelectContext(ctx, &rows, `SELECT digest, value,
		EXISTS (SELECT 1 FROM outbox WHERE outbox.digest = file_record.digest) AS waits FROM file_record`)
	if err != nil {
		return fmt.Errorf("read file records: %w", err)
	}
	for _, r := range rows {
		c.inLedger(ctx, string(r.Digest), r.Value, r.Waits, state)
	}
	var bare []struct {
		Digest albs.Digest
		Name   string
	}
	err = c.DB.SelectContext(ctx, &bare, `SELECT digest, name FROM artifact
		WHERE (unsigned IS NOT NULL
			OR EXISTS (SELECT 1 FROM build_artifact b WHERE b.digest = artifact.digest)
			OR EXISTS (SELECT 1 FROM test_log l WHERE l.digest = artifact.digest)
			OR EXISTS (SELECT 1 FROM rebuild_file r WHERE r.digest = artifact.digest)
			OR EXISTS (SELECT 1 FROM tree t WHERE t.digest = artifact.digest))
		AND NOT EXISTS (SELECT 1 FROM file_record f WHERE f.digest = artifact.digest)`)
	if err != nil {
		return fmt.Errorf("read files without records: %w", err)
	}
	for _, b := range bare {
		c.broken("I9", "%s (%s) is kept and has no record", b.Name, b.Digest.Short())
	}
	return nil
}

func (c *checker) inLedger(ctx context.Context, key, value string, waits bool, state ledger.State) {
	proof, err := c.Ledger.Prove(ctx, []byte(key), state)
	if errors.Is(err, albs.NotFound) && waits {
		return
	}
	if err == nil {
		err = ledger.Verify(proof, []byte(key), []byte(value), state)
	}
	if err != nil {
		c.broken("I9", "%s: %v", key, err)
	}
}
