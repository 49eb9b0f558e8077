package repodata

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDiffRecords(t *testing.T) {
	t.Parallel()
	rec := func(typ, name string) Record { return Record{Type: typ, Name: name, Digest: "1", Size: 1} }
	a, b, b2, c := rec("a", "a.xml"), rec("b", "b.xml"), rec("b", "other.xml"), rec("c", "c.xml")
	for name, tc := range map[string]struct {
		from, to []Record
		want     []RecordChange
	}{
		"nothing":            {},
		"alike":              {[]Record{a, b}, []Record{b, a}, nil},
		"all are new":        {nil, []Record{b, a}, []RecordChange{{To: a}, {To: b}}},
		"all are gone":       {[]Record{c, a}, nil, []RecordChange{{From: a}, {From: c}}},
		"another name":       {[]Record{b}, []Record{b2}, []RecordChange{{From: b, To: b2}}},
		"some of everything": {[]Record{a, b}, []Record{b2, c}, []RecordChange{{From: a}, {From: b, To: b2}, {To: c}}},
	} {
		if diff := cmp.Diff(tc.want, DiffRecords(tc.from, tc.to)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}
