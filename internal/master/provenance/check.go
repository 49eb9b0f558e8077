package provenance

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/disk"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
)

const (
	checkEach  = 7 * 24 * time.Hour // the whole ledger is read anew
	checkPage  = 500
	keepPlace  = 5 * time.Second
	maxPlace   = 4 << 20
	checkPause = time.Minute // before a check that couldn't go on is tried again
)

// place is how far a Checker has come, as it is kept in its file.
type place struct {
	Ledger  string       `json:"ledger"`
	Begun   time.Time    `json:"begun"`   // of the reading from the start
	Running bool         `json:"running"` // it was cut off
	Chain   ledger.Chain `json:"chain"`
	// Tally is of all transactions that Chain has read.
	Tally attest.Tally `json:"tally"`
	Lost  bool         `json:"lost"` // a header is damaged, so that Chain ends there
}

// Checked is what a check found.
type Checked struct {
	Started  time.Time    `json:"started"`
	Finished time.Time    `json:"finished"`
	From     uint64       `json:"from" doc:"The first transaction that it read"`
	State    ledger.State `json:"state" doc:"Up to which"`
	// Tally is of the whole ledger, with what earlier checks found in the transactions
	// that this one didn't read.
	attest.Tally
	Rows      int    `json:"rows" doc:"Statements and records of the database that were held against the ledger"`
	Pending   int    `json:"pending" doc:"What waits for the ledger"`
	Artifacts int    `json:"artifacts" doc:"Kept packages, logs and buildroot records whose record was looked for"`
	Error     string `json:"error" doc:"Why it ended early; empty if it didn't"`
}

// CheckState is where a Checker stands.
type CheckState struct {
	Runs   int      `json:"runs" doc:"How many checks have ended since the master started"`
	Step   string   `json:"step" doc:"What is being done; empty if nothing is"`
	Done   uint64   `json:"done" doc:"How much of that step"`
	Of     uint64   `json:"of" doc:"How much there is of it; 0 if that isn't known"`
	Queued bool     `json:"queued" doc:"One is asked for and hasn't begun"`
	Last   *Checked `json:"last" doc:"The last check since the master started"`
}

// Checker reads the whole ledger, once a week from its start and when it is asked to
// from where it had come, and holds it against the database and the kept artifacts. It
// may be used concurrently; one check runs at a time.
type Checker struct {
	p     *Provenance
	file  string
	asked chan bool // whether to begin anew
	wrong prometheus.Gauge
	ended prometheus.Gauge

	place place // of whoever runs Check

	mu    sync.Mutex
	state CheckState
}

// NewChecker returns the checker of p that keeps its place in file. A file that can't
// be read, or isn't the checker's, is Internal.
func NewChecker(p *Provenance, file string) (*Checker, error) {
	c := &Checker{
		p: p, file: file, asked: make(chan bool, 1),
		wrong: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "albs_ledger_wrong", Help: "What the last check found wrong in the ledger, or between it and the database; -1 before the first since the start.",
		}),
		ended: prometheus.NewGauge(prometheus.GaugeOpts{
			Name: "albs_ledger_check_ended_seconds", Help: "When a check of the ledger last ended, in seconds since 1970; 0 if none has since the start.",
		}),
	}
	c.wrong.Set(-1)
	b, err := disk.ReadFile(file, maxPlace)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, albs.Errorf(albs.Internal, "read the ledger check's place: %w", err)
	}
	if err == nil {
		if err := json.Unmarshal(b, &c.place); err != nil {
			return nil, albs.Errorf(albs.Internal, "%s isn't the ledger check's place (%w): remove it, and it begins anew", file, err)
		}
	}
	return c, nil
}

// Metrics returns what operators watch of it.
func (c *Checker) Metrics() []prometheus.Collector { return []prometheus.Collector{c.wrong, c.ended} }

// State returns where the checker stands. Forbidden without ledger.check.
func (c *Checker) State(ctx context.Context) (CheckState, error) {
	if err := auth.Can(ctx, auth.LedgerCheck, auth.Object{}); err != nil {
		return CheckState{}, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.state, nil
}

// Ask has a check begin, anew from the ledger's start or where the last one had come,
// and returns how many have ended: when State tells of more, it is done. Forbidden
// without ledger.check, Conflict while one runs or is asked for.
func (c *Checker) Ask(ctx context.Context, anew bool) (runs int, err error) {
	if err := auth.Can(ctx, auth.LedgerCheck, auth.Object{}); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.state.Queued || c.state.Step != "" {
		return 0, albs.Errorf(albs.Conflict, "a check of the ledger runs: wait until it has ended")
	}
	c.state.Queued = true
	c.asked <- anew // it holds one, and nobody else asks before that is taken
	return c.state.Runs, nil
}

// Export writes the whole ledger as attest.CheckExport reads it. Forbidden without
// ledger.check.
func (c *Checker) Export(ctx context.Context, w io.Writer) error {
	if err := auth.Can(ctx, auth.LedgerCheck, auth.Object{}); err != nil {
		return err
	}
	state, err := c.p.advance(ctx)
	if err != nil {
		return err
	}
	return attest.WriteExport(ctx, w, c.p.signer.SignState(state, time.Now()), c.p.ledger.Transaction)
}

// Run checks until ctx is done, whose error it returns. A check that a restart cut off
// goes on. Each of several masters checks for itself: it changes nothing.
func (c *Checker) Run(ctx context.Context) error {
	for again := c.place.Running; ; {
		anew := false
		if !again {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(max(0, time.Until(c.place.Begun.Add(checkEach)))):
				anew = true
			case anew = <-c.asked:
			}
		}
		r := c.Check(auth.System(ctx, "audit"), anew)
		if ctx.Err() != nil {
			return ctx.Err()
		}
		again = r.Error != ""
		switch {
		case again:
			c.p.log.Error().Str("error", r.Error).Msg("check the ledger")
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-time.After(checkPause):
			case <-c.asked: // at once, then
			}
		case r.Wrong > 0:
			c.p.log.Error().Int("wrong", r.Wrong).Interface("faults", r.Faults[:min(len(r.Faults), 10)]).
				Msg("the ledger, or what the database says of it, is not as it should be: albs ledger check tells all; look before anything more is released")
		default:
			c.p.log.Info().Uint64("transactions", r.Transactions).Int("statements", r.Statements).Int("records", r.Records).Msg("the ledger was checked")
		}
	}
}

// Check checks once. One at a time.
func (c *Checker) Check(ctx context.Context, anew bool) Checked {
	r := Checked{Started: time.Now().UTC()}
	err := c.check(ctx, anew, &r)
	if err != nil {
		r.Error = err.Error()
	}
	if r.Faults == nil {
		r.Faults = []attest.Fault{}
	}
	r.Finished = time.Now().UTC()
	if err == nil {
		c.wrong.Set(float64(r.Wrong))
		c.ended.Set(float64(r.Finished.Unix()))
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state = CheckState{Runs: c.state.Runs + 1, Queued: len(c.asked) > 0, Last: &r}
	return r
}

func (c *Checker) step(name string, done, of uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.state.Step, c.state.Done, c.state.Of, c.state.Queued = name, done, of, len(c.asked) > 0
}

func (c *Checker) check(ctx context.Context, anew bool, r *Checked) error {
	c.step("read transactions", 0, 0)
	state, err := c.p.advance(ctx)
	if err != nil {
		return err
	}
	if anew || c.place.Ledger != state.Ledger || c.place.Chain.TxID > state.TxID {
		c.place = place{Ledger: state.Ledger, Begun: r.Started}
	}
	c.place.Running = true
	r.State, r.From = state, c.place.Chain.TxID+1
	if err := c.walk(ctx, state); err != nil {
		return errors.Join(err, c.keep())
	}
	r.Tally = c.place.Tally
	r.Faults = append([]attest.Fault(nil), r.Faults...)
	if !c.place.Lost && c.place.Chain.Alh != state.Alh {
		r.Add(attest.Fault{TxID: state.TxID, What: "the transactions don't lead to the ledger's state"})
	}
	if err := c.rows(ctx, state, r); err != nil {
		return errors.Join(err, c.keep())
	}
	if err := c.artifacts(ctx, r); err != nil {
		return errors.Join(err, c.keep())
	}
	c.place.Running = false
	return c.keep()
}

// keep writes the place to its file.
func (c *Checker) keep() error {
	b, err := json.Marshal(c.place)
	if err == nil {
		err = disk.WriteFile(c.file, b, 0o640)
	}
	if err != nil {
		return fmt.Errorf("keep the ledger check's place: %w", err)
	}
	return nil
}

// walk reads the transactions up to state that weren't read yet.
func (c *Checker) walk(ctx context.Context, state ledger.State) error {
	kept := time.Now()
	for !c.place.Lost && c.place.Chain.TxID < state.TxID {
		if err := ctx.Err(); err != nil {
			return err
		}
		id := c.place.Chain.TxID + 1
		tx, err := c.p.ledger.Transaction(ctx, id)
		if err == nil {
			err = c.place.Chain.Add(tx)
		}
		switch albs.KindOf(err) {
		case "":
			if err != nil {
				return err
			}
			c.place.Tally.Transactions++
			for _, i := range tx.Items {
				if err := c.item(ctx, id, i); err != nil {
					return err
				}
			}
		case albs.Internal, albs.Invalid:
			c.place.Tally.Add(attest.Fault{TxID: id, What: err.Error()})
			link, err := c.p.ledger.Consistency(ctx, id, id)
			if err == nil {
				err = c.place.Chain.Skip(link.From)
			}
			if err != nil {
				if !errors.Is(err, albs.Internal) && !errors.Is(err, albs.Invalid) {
					return err
				}
				c.place.Lost = true
				c.place.Tally.Add(attest.Fault{TxID: id, What: fmt.Sprintf("its header is damaged, too, so that those behind it can't be held against those before: %v", err)})
			}
		default:
			return err
		}
		c.step("read transactions", id, state.TxID)
		if time.Since(kept) > keepPlace {
			if err := c.keep(); err != nil {
				return err
			}
			kept = time.Now()
		}
	}
	return nil
}

// item holds one entry against what its key says, and against the database's row; an
// error is that this couldn't be done.
func (c *Checker) item(ctx context.Context, id uint64, i ledger.Item) error {
	t := &c.place.Tally
	fault := func(format string, args ...any) {
		t.Add(attest.Fault{TxID: id, Key: string(i.Key), What: fmt.Sprintf(format, args...)})
	}
	if !i.Plain() {
		t.Others++
		return nil
	}
	if d, err := albs.ParseDigest(string(i.Key)); err == nil {
		t.Records++
		if _, err := attest.Inspect(i.Key, i.Value, nil); err != nil {
			fault("%v", err)
		}
		row, err := recordOf(ctx, c.p.d, d)
		return c.row(err, row.Value, row.TxID, id, i, fault)
	}
	subject, predicate, n, ok := keyOfStatement(string(i.Key))
	if !ok {
		t.Others++
		return nil
	}
	t.Statements++
	said := statement{Subject: subject, Predicate: predicate, N: n, Envelope: string(i.Value)}
	if _, _, err := c.p.open(ctx, said); err != nil {
		fault("%v", err)
	}
	row, err := statementOf(ctx, c.p.d, subject, predicate, n)
	return c.row(err, row.Envelope, row.TxID, id, i, fault)
}

// row compares an entry with the row that the database has of it, or err if it has none.
func (c *Checker) row(err error, value string, txID *int64, id uint64, i ledger.Item, fault func(format string, args ...any)) error {
	switch {
	case errors.Is(err, albs.NotFound):
		fault("the database lacks it: compare it with a backup")
	case err != nil:
		return err
	case value != string(i.Value):
		fault("the database has another one")
	case txID != nil && uint64(*txID) > id:
		fault("the database says that it is in transaction %d", *txID)
	}
	return nil
}

// keyOfStatement takes a statement's key apart.
func keyOfStatement(key string) (subject albs.Digest, predicate string, n int64, ok bool) {
	parts := strings.Split(key, "/")
	if len(parts) != 4 || parts[0] != "att" {
		return "", "", 0, false
	}
	subject, err := albs.ParseDigest(parts[1])
	if err == nil {
		n, err = strconv.ParseInt(parts[3], 10, 64)
	}
	return subject, parts[2], n, err == nil && n > 0
}

// rows holds against the ledger, at state or since, what the database has and doesn't say
// to be on its way there.
func (c *Checker) rows(ctx context.Context, state ledger.State, r *Checked) error {
	prove := func(key []byte, value string, txID *int64) error {
		if txID != nil && uint64(*txID) > state.TxID { // it was delivered since, or so it says
			now, err := c.p.advance(ctx)
			if err != nil {
				return err
			}
			state = now
		}
		switch {
		case txID == nil:
			r.Add(attest.Fault{Key: string(key), What: "the database has it neither in the ledger nor on its way there: compare it with a backup"})
		case uint64(*txID) > state.TxID:
			r.Add(attest.Fault{Key: string(key), What: fmt.Sprintf("the database says that it is in transaction %d, and the ledger has %d", *txID, state.TxID)})
		default:
			_, ok, err := c.p.proveEntry(ctx, key, value, txID, state)
			switch kind := albs.KindOf(err); {
			case kind == albs.Conflict, kind == albs.Internal:
				r.Add(attest.Fault{TxID: uint64(*txID), Key: string(key), What: err.Error()})
			case err != nil:
				return err
			case !ok:
				r.Add(attest.Fault{TxID: uint64(*txID), Key: string(key), What: "the ledger has it later than the database says"})
			}
		}
		r.Rows++
		if r.Rows%checkPage == 0 {
			c.step("look up rows", uint64(r.Rows), 0)
		}
		return ctx.Err()
	}
	for id := int64(0); ; {
		page, err := deliveredAfter(ctx, c.p.d, id, checkPage)
		if err != nil {
			return fmt.Errorf("read statements: %w", err)
		}
		for _, row := range page {
			id = row.ID
			if err := prove(statementKey(row.Subject, row.Predicate, row.N), row.Envelope, row.TxID); err != nil {
				return err
			}
		}
		if len(page) < checkPage {
			break
		}
	}
	for d := albs.Digest(""); ; {
		page, err := recordedAfter(ctx, c.p.d, d, checkPage)
		if err != nil {
			return fmt.Errorf("read records: %w", err)
		}
		for _, row := range page {
			d = row.Digest
			if err := prove([]byte(row.Digest), row.Value, row.TxID); err != nil {
				return err
			}
		}
		if len(page) < checkPage {
			break
		}
	}
	n, err := c.p.Pending(ctx)
	r.Pending = n
	return err
}

// artifacts looks for the record of everything that is kept and has to have one; that
// it is in the ledger, or on its way there, was seen by rows.
func (c *Checker) artifacts(ctx context.Context, r *Checked) error {
	for id := int64(0); ; {
		page, err := c.p.artifacts.After(ctx, id, checkPage, artifact.RPM, artifact.SRPM, artifact.Record, artifact.Log)
		if err != nil {
			return err
		}
		for _, a := range page {
			id = a.ID
			r.Artifacts++
			_, err := recordOf(ctx, c.p.d, a.Digest)
			if errors.Is(err, albs.NotFound) {
				r.Add(attest.Fault{Key: string(a.Digest), What: fmt.Sprintf("%s is kept, and nothing was ever recorded of it", a.Name)})
			} else if err != nil {
				return err
			}
		}
		c.step("look for records", uint64(r.Artifacts), 0)
		if len(page) < checkPage {
			return ctx.Err()
		}
	}
}
