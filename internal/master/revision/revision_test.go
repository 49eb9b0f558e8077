package revision_test

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/revision"
)

type Spec struct {
	Name string `json:"name"`
	Word string `json:"word"`
}

type Thing struct {
	Spec
	revision.Stamp
}

// each runs f with a store of each kind on each database.
func each(t *testing.T, f func(t *testing.T, d *db.DB, s *revision.Store[Spec, Thing], kind revision.Kind)) {
	t.Parallel()
	for _, kind := range []revision.Kind{revision.Platform, revision.Flavour, revision.Product} {
		t.Run(string(kind), func(t *testing.T) {
			t.Parallel()
			dbtest.Each(t, func(t *testing.T, d *db.DB) {
				f(t, d, revision.New(d, event.New(d, zerolog.Nop()), kind, func(s Spec, at revision.Stamp) Thing { return Thing{s, at} }), kind)
			})
		})
	}
}

func wantKind(t *testing.T, what string, err error, want albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != want {
		t.Errorf("%s = %v, want kind %q", what, err, want)
	}
}

func TestStore(t *testing.T) {
	each(t, func(t *testing.T, d *db.DB, s *revision.Store[Spec, Thing], kind revision.Kind) {
		ctx := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga"})
		never := func(Thing) error { t.Error("a new name was asked about"); return nil }
		one, err := s.Apply(ctx, "a", Spec{Word: "one"}, never, map[string]any{"team": "core"})
		if err != nil || one.Word != "one" || one.Revision != 1 || one.Actor != "user:olga" || one.At.IsZero() || !one.Digest.Valid() {
			t.Fatalf("Apply = %+v, %v", one, err)
		}
		// The same again changes nothing, whoever asks for it.
		again, err := s.Apply(auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 2, Name: "eve"}), "a", Spec{Word: "one"}, nil, nil)
		if diff := cmp.Diff(one, again); diff != "" || err != nil {
			t.Errorf("the same once more (-first +again): %v\n%s", err, diff)
		}
		no := errors.New("no")
		_, err = s.Apply(ctx, "a", Spec{Word: "two"}, func(now Thing) error {
			if diff := cmp.Diff(one, now); diff != "" {
				t.Errorf("it was asked about another one (-want +got):\n%s", diff)
			}
			return no
		}, nil)
		if !errors.Is(err, no) {
			t.Errorf("Apply of what is not allowed = %v", err)
		}
		two, err := s.Apply(ctx, "a", Spec{Word: "two"}, nil, nil)
		if err != nil || two.Revision != 2 || two.ID != one.ID || two.Digest == one.Digest {
			t.Fatalf("a change gave %+v, %v", two, err)
		}
		back, err := s.Apply(ctx, "a", Spec{Word: "one"}, nil, nil) // what held once is a change too
		if err != nil || back.Revision != 3 || back.Digest != one.Digest {
			t.Fatalf("the first spec again gave %+v, %v", back, err)
		}
		other, err := s.Apply(ctx, "b", Spec{Word: "one"}, nil, nil)
		if err != nil || other.Revision != 1 || other.ID == one.ID {
			t.Fatalf("another name gave %+v, %v", other, err)
		}

		got, err := s.Get(ctx, "a")
		if diff := cmp.Diff(back, got); diff != "" || err != nil {
			t.Errorf("Get (-want +got): %v\n%s", err, diff)
		}
		got, err = s.GetRevision(ctx, "a", 2)
		if diff := cmp.Diff(two, got); diff != "" || err != nil {
			t.Errorf("GetRevision(2) (-want +got): %v\n%s", err, diff)
		}
		got, err = s.ByID(ctx, other.ID)
		if diff := cmp.Diff(other, got); diff != "" || err != nil {
			t.Errorf("ByID of another (-want +got): %v\n%s", err, diff)
		}
		got, err = s.ByID(ctx, one.ID)
		if diff := cmp.Diff(back, got); diff != "" || err != nil {
			t.Errorf("ByID is not of the revision that holds (-want +got): %v\n%s", err, diff)
		}
		_, err = s.ByID(ctx, other.ID+1)
		wantKind(t, "ByID of nothing", err, albs.NotFound)
		_, err = s.Get(ctx, "c")
		wantKind(t, "Get of nothing", err, albs.NotFound)
		_, err = s.GetRevision(ctx, "a", 4)
		wantKind(t, "GetRevision(4)", err, albs.NotFound)
		wantKind(t, "Holds(3)", s.Holds(ctx, d, "a", 3), "")
		wantKind(t, "Holds(2)", s.Holds(ctx, d, "a", 2), albs.Conflict)
		wantKind(t, "Holds of nothing", s.Holds(ctx, d, "c", 1), albs.NotFound)
		for _, tt := range []struct {
			before int64
			limit  int
			want   []Thing
		}{{0, 0, []Thing{back, two, one}}, {0, 2, []Thing{back, two}}, {3, 2, []Thing{two, one}}, {2, 5, []Thing{one}}, {1, 1, []Thing{}}} {
			got, err := s.History(ctx, "a", tt.before, tt.limit)
			if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
				t.Errorf("History before %d (-want +got): %v\n%s", tt.before, err, diff)
			}
		}

		var data []string
		err = d.SelectContext(ctx, &data, `SELECT data FROM event WHERE kind = $1 AND topic = $2 AND actor = 'user:olga' ORDER BY id`,
			string(kind)+".applied", string(kind)+":a")
		if err != nil || len(data) != 3 || !strings.Contains(data[0], `"team":"core"`) ||
			!strings.Contains(data[1], string(one.Digest)) || !strings.Contains(data[1], string(two.Digest)) {
			t.Errorf("events = %v, %v, want one for each revision, with before and after", data, err)
		}
	})
}

func TestAll(t *testing.T) {
	each(t, func(t *testing.T, _ *db.DB, s *revision.Store[Spec, Thing], _ revision.Kind) {
		if none, err := s.All(t.Context()); err != nil || none == nil || len(none) != 0 {
			t.Errorf("All of none = %#v, %v", none, err)
		}
		for _, name := range []string{"b", "a-1", "a.1", "a1", "c"} {
			for _, word := range []string{"old", "new"} {
				if _, err := s.Apply(t.Context(), name, Spec{name, word}, nil, nil); err != nil {
					t.Fatal(err)
				}
			}
		}
		all, err := s.All(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, x := range all {
			if x.Revision != 2 || x.Word != "new" {
				t.Errorf("All has %+v", x)
			}
			names = append(names, x.Name)
		}
		if diff := cmp.Diff([]string{"a-1", "a.1", "a1", "b", "c"}, names); diff != "" {
			t.Errorf("All (-want +got):\n%s", diff)
		}
	})
}

// TestAtOnce: of specs that are applied at one moment each gets a revision of its
// own or is refused with a Conflict.
func TestAtOnce(t *testing.T) {
	each(t, func(t *testing.T, _ *db.DB, s *revision.Store[Spec, Thing], _ revision.Kind) {
		var wg sync.WaitGroup
		for i := range 9 {
			wg.Go(func() {
				_, err := s.Apply(t.Context(), fmt.Sprint("n", i%3), Spec{Word: fmt.Sprint(i)}, nil, nil)
				if err != nil && albs.KindOf(err) != albs.Conflict {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		ids := map[int64]bool{}
		for i := range 3 {
			hist, err := s.History(t.Context(), fmt.Sprint("n", i), 0, 0)
			if err != nil || len(hist) == 0 {
				t.Fatalf("History = %v, %v", hist, err)
			}
			for k, x := range hist {
				if want := int64(len(hist) - k); x.Revision != want || x.ID != hist[0].ID {
					t.Errorf("revision %d of %d at place %d, want %d of %d", x.Revision, x.ID, k, want, hist[0].ID)
				}
			}
			ids[hist[0].ID] = true
		}
		if len(ids) != 3 {
			t.Errorf("three names have the numbers %v", ids)
		}
	})
}
