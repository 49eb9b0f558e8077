package history

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

func TestParseRef(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]Ref{
		"demo/el/os":                      {Product: "demo", Path: "el/os"},
		"demo/el/os@7":                    {Product: "demo", Path: "el/os", Serial: 7},
		"demo/el/os@2026-01-31":           {Product: "demo", Path: "el/os", At: time.Date(2026, 1, 31, 0, 0, 0, 0, time.UTC)},
		"demo/el/os@2026-01-31T15:04:05Z": {Product: "demo", Path: "el/os", At: time.Date(2026, 1, 31, 15, 4, 5, 0, time.UTC)},
	} {
		if got, err := ParseRef(s); err != nil || got != want {
			t.Errorf("ParseRef(%q) = %+v, %v", s, got, err)
		}
	}
	for _, s := range []string{"", "demo", "demo/", "/el/os", "demo@7", "demo/el/os@", "demo/el/os@0", "demo/el/os@-1", "demo/el/os@yesterday", "demo/el/os@7@8"} {
		if got, err := ParseRef(s); albs.KindOf(err) != albs.Invalid {
			t.Errorf("ParseRef(%q) = %+v, %v, want Invalid", s, got, err)
		}
	}
}

// entries are packages of NAME-VERSION[=CONTENT], separated by blanks.
func entries(t *testing.T, s string) []repodata.Entry {
	t.Helper()
	var out []repodata.Entry
	for _, f := range strings.Fields(s) {
		nv, content, _ := strings.Cut(f, "=")
		name, version, ok := strings.Cut(nv, "-")
		if !ok {
			t.Fatalf("%q is no package", f)
		}
		n := rpm.NEVRA{Name: name, Version: version, Release: "1", Arch: "noarch"}
		out = append(out, repodata.Entry{Path: "Packages/" + n.Filename(), Digest: albs.DigestOf([]byte(nv + content)), Size: 1, NEVRA: n})
	}
	return out
}

func TestCompare(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct{ from, to, want string }{
		{"", "", ""},
		{"a-1 b-1", "b-1 a-1", ""},
		{"", "a-1", "added a →1-1"},
		{"a-1", "", "removed a 1-1→"},
		{"a-1", "a-2", "upgraded a 1-1→2-1"},
		{"a-9", "a-10", "upgraded a 9-1→10-1"},
		{"a-1", "a-1 a-2", "upgraded a 1-1→2-1"},
		{"a-2", "a-1", "downgraded a 2-1→1-1"},
		{"a-1 a-2", "a-1", "downgraded a 2-1→1-1"},
		{"a-1 a-2", "a-2", "removed a 1-1→"},
		{"a-2", "a-1 a-2", "added a →1-1"},
		{"a-1", "a-1 a-2 a-3", "added a →2-1, upgraded a 1-1→3-1"},
		{"a-1 a-2", "a-3", "removed a 1-1→, upgraded a 2-1→3-1"},
		{"a-1", "a-1=other", "replaced a 1-1→1-1"},
		{"a-1 a-2", "a-1=other a-3", "replaced a 1-1→1-1, upgraded a 2-1→3-1"},
		{"a-1 b-1 c-1", "b-2 c-1 d-1", "removed a 1-1→, upgraded b 1-1→2-1, added d →1-1"},
	} {
		var got []string
		for _, c := range Compare(entries(t, tc.from), entries(t, tc.to)) {
			got = append(got, fmt.Sprintf("%s %s %s→%s", c.What, c.Name, c.From, c.To))
			if (c.FromDigest == "") != (c.From == "") || (c.ToDigest == "") != (c.To == "") {
				t.Errorf("%q to %q: a digest is missing in %+v", tc.from, tc.to, c)
			}
		}
		if s := strings.Join(got, ", "); s != tc.want {
			t.Errorf("%q to %q = %q, want %q", tc.from, tc.to, s, tc.want)
		}
	}
	// An arch of its own has its own newest.
	b := entries(t, "a-2")
	b[0].Arch = "x86_64"
	if got := Compare(entries(t, "a-1"), b); len(got) != 2 || got[0].What != Removed || got[1].What != Added {
		t.Errorf("another arch is %+v", got)
	}
}

func TestCompareRecords(t *testing.T) {
	t.Parallel()
	rec := func(typ, content string) repodata.Record {
		return repodata.Record{Type: typ, Digest: albs.DigestOf([]byte(content))}
	}
	got := CompareRecords([]repodata.Record{rec("a", "1"), rec("b", "1"), rec("c", "1")}, []repodata.Record{rec("b", "1"), rec("c", "2"), rec("d", "1")})
	want := []RecordChange{
		{What: Removed, Type: "a", FromDigest: rec("a", "1").Digest},
		{What: Replaced, Type: "c", FromDigest: rec("c", "1").Digest, ToDigest: rec("c", "2").Digest},
		{What: Added, Type: "d", ToDigest: rec("d", "1").Digest},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestShow(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		m := mastertest.Open(t, d, mastertest.Config{})
		h, ctx := New(m.Repos), t.Context()
		// show has the product show a snapshot of revision n as serial n.
		show := func(n int64) time.Time {
			t.Helper()
			s, err := repodata.Empty(ctx, m.Repos.Blobs(), n)
			if err != nil {
				t.Fatal(err)
			}
			tree := repodata.Tree{Product: "demo", Serial: n, Repositories: []repodata.TreeRepo{{Path: "el/os", Snapshot: s.Digest()}}}
			doc, err := m.Repos.SaveTree(ctx, tree)
			if err != nil {
				t.Fatal(err)
			}
			if tree, err = m.Repos.ReadTree(ctx, doc); err != nil {
				t.Fatal(err)
			}
			if err := d.InTx(ctx, func(tx db.Tx) error { return m.Repos.AdvanceTree(ctx, tx, "demo", n-1, tree, doc) }); err != nil {
				t.Fatal(err)
			}
			now, err := m.Repos.TreeOf(ctx, "demo")
			if err != nil {
				t.Fatal(err)
			}
			return now.At.Time
		}
		first, second := show(1), show(2)
		at := func(at time.Time) string { return "demo/el/os@" + at.UTC().Format(time.RFC3339Nano) }
		for ref, want := range map[string]int64{"demo/el/os": 2, "demo/el/os@1": 1, "demo/el/os@2": 2, at(first): 1, at(second): 2, at(second.Add(time.Hour)): 2} {
			got, err := h.Show(ctx, ref)
			if err != nil || got.Serial != want || !got.Snapshot.Valid() || got.Since.IsZero() {
				t.Errorf("Show(%s) = %+v, %v, want serial %d", ref, got, err, want)
			}
		}
		for _, ref := range []string{"demo/el/os@3", "demo/el/none", "none/el/os", "demo/el/os@2001-01-01"} {
			if _, err := h.Show(ctx, ref); albs.KindOf(err) != albs.NotFound {
				t.Errorf("Show(%s) = %v, want NotFound", ref, err)
			}
		}
		for serial, want := range map[int64]int64{0: 2, 1: 1, 2: 2} {
			tree, held, err := h.Holdings(ctx, "demo", serial)
			if err != nil || tree.Serial != want || len(held) != 1 || held[0].Path != "el/os" || held[0].Packages != 0 || held[0].Bytes != 0 || !held[0].Snapshot.Valid() {
				t.Errorf("Holdings(%d) = %+v, %+v, %v", serial, tree, held, err)
			}
		}
		if _, _, err := h.Holdings(ctx, "none", 0); albs.KindOf(err) != albs.NotFound {
			t.Errorf("Holdings of no product = %v", err)
		}
		for path, want := range map[string]string{"el/os": "2 true 1 true", "none": "2 false 1 false"} {
			all, err := h.Moments(ctx, "demo", path, 0, 5)
			if len(all) != 2 || err != nil || fmt.Sprint(all[0].Serial, all[0].Changed, all[1].Serial, all[1].Changed) != want {
				t.Errorf("Moments(%s) = %+v, %v, want %s", path, all, err, want)
			}
		}
		if one, err := h.Moments(ctx, "demo", "el/os", 0, 1); err != nil || len(one) != 1 || !one[0].Changed {
			t.Errorf("Moments of one = %+v, %v", one, err)
		}
		if one, err := h.Moments(ctx, "demo", "el/os", 2, 5); err != nil || len(one) != 1 || one[0].Serial != 1 {
			t.Errorf("Moments before serial 2 = %+v, %v", one, err)
		}
		diff, err := h.Diff(context.WithoutCancel(ctx), "demo/el/os@1", "demo/el/os")
		if err != nil || diff.From.Serial != 1 || diff.To.Serial != 2 || len(diff.Packages)+len(diff.Records) > 0 {
			t.Errorf("Diff = %+v, %v", diff, err)
		}
		if _, err := h.Diff(ctx, "demo/el/os", "nothing"); albs.KindOf(err) != albs.Invalid {
			t.Errorf("Diff with nothing = %v, want Invalid", err)
		}

		// What is given up can't be asked for, and isn't listed.
		err = d.InTx(ctx, func(tx db.Tx) error {
			serials, err := m.Repos.Retire(ctx, tx, "demo", 9)
			if err == nil && !cmp.Equal(serials, []int64{1}) {
				t.Errorf("Retire = %v, want the serial that isn't shown", serials)
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, ref := range []string{"demo/el/os@1", at(first)} {
			if _, err := h.Show(ctx, ref); albs.KindOf(err) != albs.Conflict || !strings.Contains(err.Error(), "the oldest serial that is there is 2") {
				t.Errorf("Show(%s) of what was given up = %v", ref, err)
			}
		}
		if _, err := h.Diff(ctx, "demo/el/os@1", "demo/el/os"); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Diff with what was given up = %v, want Conflict", err)
		}
		if all, err := h.Moments(ctx, "demo", "el/os", 0, 5); err != nil || len(all) != 1 || all[0].Serial != 2 {
			t.Errorf("Moments = %+v, %v, want serial 2 alone", all, err)
		}
	})
}
