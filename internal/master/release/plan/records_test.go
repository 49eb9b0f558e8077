package plan

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/repodata"
)

func TestDiffRecords(t *testing.T) {
	t.Parallel()
	rec := func(typ, content string) repodata.Record {
		return repodata.Record{Type: typ, Name: typ, Digest: digest(content), Size: 1}
	}
	a, b, b2, c := rec("a", "a"), rec("b", "b"), rec("b", "b2"), rec("c", "c")
	for name, tc := range map[string]struct {
		before, after []repodata.Record
		want          []RecordChange
	}{
		"nothing":      {nil, nil, nil},
		"the same":     {[]repodata.Record{a, b}, []repodata.Record{b, a}, nil},
		"one is given": {[]repodata.Record{b}, []repodata.Record{b, a}, []RecordChange{{Action: Add, Record: a}}},
		"one goes":     {[]repodata.Record{a, b}, []repodata.Record{a}, []RecordChange{{Action: Remove, Record: b, Before: b.Digest}}},
		"all at once": {[]repodata.Record{a, b}, []repodata.Record{c, b2}, []RecordChange{
			{Action: Remove, Record: a, Before: a.Digest}, {Action: Add, Record: b2, Before: b.Digest}, {Action: Add, Record: c},
		}},
	} {
		got := DiffRecords(tc.before, tc.after)
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if left := DiffRecords(ApplyRecords(tc.before, got), tc.after); len(left) > 0 {
			t.Errorf("%s: applied, the changes leave %v", name, left)
		}
	}
	if ApplyRecords(nil, nil) == nil {
		t.Error("no records are nil, which would keep those that there are")
	}
}
