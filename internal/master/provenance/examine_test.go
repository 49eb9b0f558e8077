package provenance

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
)

// standings are what is said of a file, as "predicate n standing".
func (f *fixture) standings(t *testing.T, d albs.Digest) (record Standing, out []string) {
	t.Helper()
	e, err := f.Examine(t.Context(), d)
	if err != nil {
		t.Fatal(err)
	}
	if (e.Record == Failed) != (e.Trouble != "") {
		t.Errorf("the record is %s and its trouble %q", e.Record, e.Trouble)
	}
	for _, s := range e.Statements {
		if (s.Standing == Failed) != (s.Trouble != "") || (s.Standing == Verified) != (s.Receipt != nil) || (s.Standing == Failed) == (s.Statement.PredicateType != "") {
			t.Errorf("statement %+v", s)
		}
		out = append(out, s.Predicate+" "+string(s.Standing))
	}
	return e.Record, out
}

// TestExamine: each thing that may be wrong shows by itself, beside what is right.
func TestExamine(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		a, other := file(1), file(2)
		want := func(what string, record Standing, statements ...string) {
			t.Helper()
			r, got := f.standings(t, a.Digest)
			if diff := cmp.Diff(statements, got); r != record || diff != "" {
				t.Errorf("%s: record %s, want %s; statements (-want +got):\n%s", what, r, record, diff)
			}
		}
		want("nothing was said", Missing)
		f.state(t, attest.Build, a)
		want("on its way", Pending, "build pending")
		f.drain(t)
		want("delivered", Verified, "build verified")
		f.state(t, attest.Test, a)
		f.state(t, attest.Test, a)
		want("some of it delivered", Verified, "build verified", "test pending", "test pending")
		f.drain(t)
		want("all delivered", Verified, "build verified", "test verified", "test verified")

		f.exec(t, `UPDATE statement SET envelope = replace(envelope, 'a', 'b') WHERE predicate = $1`, attest.Build)
		want("a row was changed", Verified, "build failed", "test verified", "test verified")
		f.exec(t, `DELETE FROM statement WHERE predicate = $1 AND n = 1`, attest.Test)
		want("a row was taken from between", Verified, "build failed", "test verified", "test failed")
		f.exec(t, `DELETE FROM statement WHERE predicate = $1`, attest.Test)
		want("the last ones were taken", Verified, "build failed", "test failed", "test failed")
		f.exec(t, `UPDATE file_record SET value = replace(value, 'noarch', 'x86_64')`)
		want("the record was changed", Failed, "build failed", "test failed", "test failed")

		f.state(t, attest.Build, other)
		f.drain(t)
		if r, got := f.standings(t, other.Digest); r != Verified || len(got) != 1 || got[0] != "build verified" {
			t.Errorf("another file: %s %q", r, got)
		}
	})
}
