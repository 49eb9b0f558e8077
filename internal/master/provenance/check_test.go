package provenance

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/db"
)

func (f *fixture) checker(t *testing.T, file string) *Checker {
	t.Helper()
	c, err := NewChecker(f.Provenance, file)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// faultsOf returns what a check found, as KEY: WHAT.
func faultsOf(r Checked) string {
	var out []string
	for _, f := range r.Faults {
		out = append(out, f.Key+": "+f.What)
	}
	return strings.Join(out, "\n")
}

// TestCheck reads a ledger that is right, then one beside which rows were changed, lost
// and made up, into which somebody wrote, and of which a kept file has no record.
func TestCheck(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for i := range 6 {
			f.state(t, attest.Build, file(i))
			f.drain(t)
		}
		c := f.checker(t, filepath.Join(t.TempDir(), "place"))
		r := c.Check(t.Context(), false)
		if r.Error != "" || r.Wrong != 0 || r.Statements != 6 || r.Records != 6 || r.Rows != 12 || r.From != 1 || r.Transactions != r.State.TxID {
			t.Fatalf("Check = %+v", r)
		}

		f.state(t, attest.Test, file(0))
		f.drain(t)
		f.state(t, attest.Test, file(1)) // pending
		f.state(t, attest.Build, file(6))
		again := c.Check(t.Context(), false)
		if again.Error != "" || again.Wrong != 0 || again.From != r.State.TxID+1 || again.Statements != 7 || again.Rows != 13 || again.Pending != 2 {
			t.Errorf("Check of what is new = %+v", again)
		}
		f.drain(t)
		var since Checked
		if err := c.rows(t.Context(), again.State, &since); err != nil || since.Wrong != 0 || since.Rows != 16 {
			t.Errorf("with rows that were delivered since its state was read: %+v, %v", since, err)
		}

		f.exec(t, `UPDATE statement SET envelope = '{}' WHERE subject = $1`, file(2).Digest)
		f.exec(t, `DELETE FROM statement WHERE subject = $1`, file(3).Digest)
		f.exec(t, `UPDATE file_record SET value = '{}' WHERE digest = $1`, file(4).Digest)
		f.exec(t, `INSERT INTO file_record (digest, value, created_at, tx_id) VALUES ($1, 'x', $2, 2)`, file(50).Digest, db.Now())
		f.state(t, attest.Build, file(7))
		f.exec(t, `DELETE FROM outbox WHERE digest = $1`, file(7).Digest)
		f.exec(t, `UPDATE statement SET tx_id = 9223372036854775807 WHERE subject = $1`, file(7).Digest)
		f.exec(t, `INSERT INTO file_record (digest, value, created_at, tx_id) VALUES ($1, 'x', $2, -1)`, file(51).Digest, db.Now())
		f.state(t, attest.Build, file(8))
		f.exec(t, `DELETE FROM outbox WHERE digest = $1`, file(8).Digest)
		if err := f.d.InTx(t.Context(), func(tx db.Tx) error { return f.artifacts.Add(t.Context(), tx, file(60)) }); err != nil {
			t.Fatal(err)
		}
		_, err := f.flaky.Append(t.Context(), []ledger.Entry{
			{Key: statementKey(file(5).Digest, attest.Test, 1), Value: []byte("forged")}, {Key: []byte(file(70).Digest), Value: []byte("{}")},
		})
		if err != nil {
			t.Fatal(err)
		}
		r = c.Check(t.Context(), true)
		got := faultsOf(r)
		if r.Error != "" || r.Wrong != len(r.Faults) {
			t.Errorf("Check = %+v", r)
		}
		key := func(i int, predicate string) string { return string(statementKey(file(i).Digest, predicate, 1)) }
		for _, want := range []string{
			key(2, attest.Build) + ": the database has another one",
			key(3, attest.Build) + ": the database lacks it",
			string(file(4).Digest) + ": the database has another one",
			string(file(50).Digest) + ": the ledger has no entry",
			string(file(60).Digest) + ": " + file(60).Name + " is kept, and nothing",
			key(5, attest.Test) + ": it is not the JSON expected",
			key(5, attest.Test) + ": the database lacks it",
			string(file(70).Digest) + ": the value is no record",
			string(file(70).Digest) + ": the database lacks it",
			key(2, attest.Build) + ": the ledger has another entry",
			key(7, attest.Build) + ": the database says that it is in transaction 9223372036854775807",
			string(file(7).Digest) + ": the database has it neither",
			string(file(51).Digest) + ": the database says that it is in transaction -1",
			key(8, attest.Build) + ": the database has it neither",
			string(file(8).Digest) + ": the database has it neither",
		} {
			if !strings.Contains(got, want) {
				t.Errorf("Check doesn't say %q but\n%s", want, got)
			}
		}
		if r.Wrong != 16 {
			t.Errorf("Check found %d things wrong, want 16:\n%s", r.Wrong, got)
		}
	})
}

// TestCheckGoesOn: a check that was cut off goes on where it was, and what it had found
// is not forgotten; another ledger is read from its start.
func TestCheckGoesOn(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		if _, err := f.flaky.Append(t.Context(), []ledger.Entry{{Key: []byte(file(9).Digest), Value: []byte("{}")}}); err != nil {
			t.Fatal(err)
		}
		for i := range 4 {
			f.state(t, attest.Build, file(i))
			f.drain(t)
		}
		at := filepath.Join(t.TempDir(), "place")
		first := f.checker(t, at).Check(t.Context(), false)
		b, err := os.ReadFile(at)
		if err != nil {
			t.Fatal(err)
		}
		f.state(t, attest.Build, file(5))
		f.drain(t)
		var p place
		if err := json.Unmarshal(b, &p); err != nil || p.Running || p.Chain.TxID != first.State.TxID {
			t.Fatalf("the place is %s, %v", b, err)
		}
		r := f.checker(t, at).Check(t.Context(), false)
		if r.Error != "" || r.From != first.State.TxID+1 || r.Wrong != first.Wrong || r.Wrong != 2 || r.Statements != 5 {
			t.Errorf("Check by another process = %+v after %+v", r, first)
		}

		p.Ledger = "another"
		if b, err = json.Marshal(p); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(at, b, 0o640); err != nil {
			t.Fatal(err)
		}
		if r := f.checker(t, at).Check(t.Context(), false); r.Error != "" || r.From != 1 {
			t.Errorf("Check with the place of another ledger = %+v", r)
		}
		if err := os.WriteFile(at, []byte("x"), 0o640); err != nil {
			t.Fatal(err)
		}
		if _, err := NewChecker(f.Provenance, at); !errors.Is(err, albs.Internal) {
			t.Errorf("NewChecker with a damaged place: %v, want internal", err)
		}
	})
}
