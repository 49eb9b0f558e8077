// Package queuetest holds a queue.Handler to its contract: what a queue relies on,
// of whatever kind the tasks are. A module's test brings a task of the kind that its
// worker has just claimed; the suite puts it through all that may happen to a task,
// the good end last.
package queuetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/queue"
)

// Case is one handler with a task of its kind.
type Case struct {
	DB      *db.DB
	Queue   *queue.Queue
	Handler queue.Handler // as it is registered
	Worker  context.Context
	Lease   queue.Lease // claimed by Worker, and live

	// Good is a result that the handler takes with the outcome ok; its files are
	// uploaded. The suite reports it last.
	Good albs.Result
	// Garbage are results that it has to refuse with the outcome ok, by what is wrong
	// with them; the suite adds one that is empty.
	Garbage map[string]albs.Result
	// Foreign are digests that the master holds and the spec doesn't lead to.
	Foreign []albs.Digest
	// Excludes says that tasks of the kind can have the outcome excluded.
	Excludes bool
	// Unseen are tables in which Admit may leave rows of which nothing is seen or told
	// before the apply.
	Unseen []string
}

// Run asks for each sentence of queue.Handler's contract. Nothing but the suite and
// the loops of a master may use the database meanwhile.
func Run(t *testing.T, c Case) {
	t.Helper()
	for _, claim := range []struct {
		name string
		ask  func(*testing.T, Case)
	}{
		{"reads refuses what the spec doesn't lead to", reads},
		{"offer made again is the same", offer},
		{"admit alone changes nothing", admit},
		{"garbage is refused and changes nothing", garbage},
		{"excluded is refused where it makes no sense", excluded},
		{"apply rolled back leaves nothing", rolledBack},
		{"ended rolled back leaves nothing", endedRolledBack},
		{"reported twice is applied once", twice},
	} {
		t.Run(claim.name, func(t *testing.T) { claim.ask(t, c) })
	}
}

func reads(t *testing.T, c Case) {
	for _, d := range append(c.Foreign, albs.DigestOf([]byte("what nobody has"))) {
		if ok, err := c.Handler.Reads(c.Worker, c.Lease, d); ok || err != nil {
			t.Errorf("Reads(%s) = %t, %v; want false", d.Short(), ok, err)
		}
	}
}

func offer(t *testing.T, c Case) {
	task, err := c.Queue.Task(c.Worker, c.Lease.Token.Task)
	if err != nil {
		t.Fatal(err)
	}
	unchanged(t, c, nil, func() {
		for range 2 {
			spec, _, err := c.Handler.Offer(c.Worker, task, queue.Offer{})
			if err != nil {
				t.Fatalf("Offer = %v", err)
			}
			if diff := cmp.Diff(c.Lease.Spec, spec); diff != "" {
				t.Errorf("spec (-claimed +offered again):\n%s", diff)
			}
		}
	})
}

func admit(t *testing.T, c Case) {
	unchanged(t, c, c.Unseen, func() {
		for range 2 {
			if _, err := c.Handler.Admit(c.Worker, c.Lease, albs.OutcomeOK, c.Good); err != nil {
				t.Errorf("Admit = %v", err)
			}
		}
		for _, r := range []albs.Result{{}, {Reason: "it doesn't work"}} {
			if _, err := c.Handler.Admit(c.Worker, c.Lease, albs.OutcomeFailed, r); err != nil {
				t.Errorf("Admit of a failure = %v", err)
			}
		}
	})
}

func garbage(t *testing.T, c Case) {
	results := maps.Clone(c.Garbage)
	if results == nil {
		results = make(map[string]albs.Result)
	}
	results["empty"] = albs.Result{}
	results["a log that was not uploaded"] = albs.Result{Logs: []albs.File{{Name: "log", Digest: albs.DigestOf([]byte("no")), Size: 2}}}
	for _, name := range slices.Sorted(maps.Keys(results)) {
		unchanged(t, c, c.Unseen, func() {
			apply, err := c.Handler.Admit(c.Worker, c.Lease, albs.OutcomeOK, results[name])
			if err == nil && apply != nil { // it is the transaction that finds out
				err = c.DB.InTx(c.Worker, func(tx db.Tx) error {
					if err := apply(c.Worker, tx); err != nil {
						return err
					}
					return errUndo
				})
			}
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.NotFound && k != albs.TooLarge {
				t.Errorf("%s: Admit = %v, want it refused", name, err)
			}
		})
	}
}

func excluded(t *testing.T, c Case) {
	_, err := c.Handler.Admit(c.Worker, c.Lease, albs.OutcomeExcluded, albs.Result{Reason: "ExcludeArch"})
	if want := map[bool]albs.Kind{false: albs.Invalid}[c.Excludes]; albs.KindOf(err) != want {
		t.Errorf("Admit of excluded = %v, want kind %q", err, want)
	}
}

var errUndo = errors.New("undone by the test")

// rolledBack applies a result twice in transactions that fail: nothing of it stays,
// and the second, as after a serialization failure, did what the first had done.
func rolledBack(t *testing.T, c Case) {
	apply, err := c.Handler.Admit(c.Worker, c.Lease, albs.OutcomeOK, c.Good)
	if err != nil || apply == nil {
		t.Fatalf("Admit = %v, %v; want an apply", apply != nil, err)
	}
	unchanged(t, c, nil, func() {
		var did [2]map[string]int
		for i := range did {
			err := c.DB.InTx(c.Worker, func(tx db.Tx) error {
				// Apply finds the task in its new state.
				if _, err := tx.ExecContext(c.Worker, `UPDATE task SET state = 'succeeded' WHERE id = $1`, c.Lease.Token.Task); err != nil {
					return err
				}
				if err := apply(c.Worker, tx); err != nil {
					return err
				}
				did[i] = sizes(dump(t, c, tx, nil))
				return errUndo
			})
			if !errors.Is(err, errUndo) {
				t.Fatalf("apply = %v", err)
			}
		}
		if diff := cmp.Diff(did[0], did[1]); diff != "" {
			t.Errorf("rows after apply (-once +again):\n%s", diff)
		}
	})
}

func endedRolledBack(t *testing.T, c Case) {
	task, err := c.Queue.Task(c.Worker, c.Lease.Token.Task)
	if err != nil {
		t.Fatal(err)
	}
	for _, state := range []albs.TaskState{albs.TaskFailed, albs.TaskCancelled} {
		task.State, task.Reason = state, "the reason"
		unchanged(t, c, nil, func() {
			err := c.DB.InTx(c.Worker, func(tx db.Tx) error {
				if err := c.Handler.Ended(c.Worker, tx, task); err != nil {
					return err
				}
				return errUndo
			})
			if !errors.Is(err, errUndo) {
				t.Errorf("Ended of a %s task = %v", state, err)
			}
		})
	}
}

func twice(t *testing.T, c Case) {
	for range 2 {
		if err := c.Queue.Complete(c.Worker, c.Lease.Token, albs.OutcomeOK, c.Good); err != nil {
			t.Fatalf("Complete = %v", err)
		}
	}
	unchanged(t, c, nil, func() {
		if err := c.Queue.Complete(c.Worker, c.Lease.Token, albs.OutcomeOK, c.Good); err != nil {
			t.Errorf("Complete again = %v", err)
		}
	})
	task, err := c.Queue.Task(c.Worker, c.Lease.Token.Task)
	if err != nil || task.State != albs.TaskSucceeded {
		t.Errorf("the task is %s, %v; want succeeded", task.State, err)
	}
}

// unchanged does f and compares the whole database with what it was, but for the
// tables named.
func unchanged(t *testing.T, c Case, but []string, f func()) {
	t.Helper()
	before := dump(t, c, c.DB, but)
	for end := time.Now().Add(time.Minute); ; { // until the master's loops have nothing to do
		time.Sleep(20 * time.Millisecond)
		again := dump(t, c, c.DB, but)
		if cmp.Equal(before, again) || time.Now().After(end) {
			break
		}
		before = again
	}
	f()
	if diff := cmp.Diff(before, dump(t, c, c.DB, but)); diff != "" {
		t.Errorf("the database (-before +after):\n%s", diff)
	}
}

// carried are the tables, and carriedTo the column, that the loops which carry
// statements and events on, and note when workers were seen, write in their own time.
var carried = []string{"outbox", "ledger_state", "event_cursor", "fleet_worker"}

const carriedTo = "tx_id"

// noted is the event by which the carrying of statements is told.
const noted = "kind=ledger.noted "

// dump returns the rows of every table as text, in order.
func dump(t *testing.T, c Case, q db.Q, but []string) map[string][]string {
	t.Helper()
	query := `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'`
	if c.DB.Postgres() {
		query = `SELECT table_name FROM information_schema.tables WHERE table_schema = current_schema()`
	}
	var tables []string
	if err := q.SelectContext(c.Worker, &tables, query); err != nil {
		t.Fatal(err)
	}
	all := make(map[string][]string)
	for _, table := range tables {
		if slices.Contains(but, table) || slices.Contains(carried, table) {
			continue
		}
		rows, err := q.QueryxContext(c.Worker, `SELECT * FROM "`+table+`"`)
		if err != nil {
			t.Fatal(err)
		}
		lines := []string{}
		for rows.Next() {
			row := make(map[string]any)
			if err := rows.MapScan(row); err != nil {
				t.Fatal(err)
			}
			var b strings.Builder
			for _, column := range slices.Sorted(maps.Keys(row)) {
				if column == carriedTo {
					continue
				}
				if bytes, ok := row[column].([]byte); ok {
					row[column] = string(bytes)
				}
				fmt.Fprintf(&b, "%s=%v ", column, row[column])
			}
			if table != "event" || !strings.Contains(b.String(), noted) {
				lines = append(lines, b.String())
			}
		}
		if err := errors.Join(rows.Err(), rows.Close()); err != nil {
			t.Fatal(err)
		}
		slices.Sort(lines)
		all[table] = lines
	}
	return all
}

func sizes(all map[string][]string) map[string]int {
	n := make(map[string]int)
	for table, rows := range all {
		n[table] = len(rows)
	}
	return n
}
