package keep

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build/repository"
	"albs/internal/master/build/settle"
	"albs/internal/master/build/store"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
)

// noon is when the tests look; all else is told in hours before it.
var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func ago(hours int) db.Time { return db.At(noon.Add(-time.Duration(hours) * time.Hour)) }

func digest(of string) albs.Digest { return albs.DigestOf([]byte(of)) }

type fixture struct {
	*testing.T
	d *db.DB
}

func each(t *testing.T, f func(t *testing.T, f fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) { f(t, fixture{t, d}) })
}

func (f fixture) tx(do func(tx db.Tx) error) {
	f.Helper()
	if err := f.d.InTx(f.Context(), do); err != nil {
		f.Fatal(err)
	}
}

// build adds a build that names digests of every kind, each made of its name and what it
// is, with the item's order in the build.
func (f fixture) build(tx db.Tx, name string, items int) albs.BuildID {
	f.Helper()
	must := func(err error) {
		f.Helper()
		if err != nil {
			f.Fatal(err)
		}
	}
	b := store.Build{Owner: "alice", CreatedAt: ago(100)}
	b.Linked.V = []repository.Linked{{Build: 1, Repositories: []repository.LinkedRepository{{Platform: "el9", Arch: albs.X8664, Snapshot: digest(name + " link")}}}}
	must(store.AddBuild(f.Context(), tx, &b, "", struct{}{}))
	for i := range items {
		of := func(what string) albs.Digest { return digest(fmt.Sprintf("%s %d %s", name, i, what)) }
		it := store.Item{BuildID: b.ID, Place: i, Platform: "el9", SRPM: of("srpm")}
		must(store.AddItem(f.Context(), tx, &it))
		must(store.SetImported(f.Context(), tx, it.ID, albs.ImportResult{Tree: of("tree"), History: of("history"), Sources: []albs.File{{Name: "a", Digest: of("source")}}}))
		must(store.SetNoarch(f.Context(), tx, it.ID, []settle.Difference{{First: settle.Copy{Digest: of("first")}, Second: settle.Copy{Digest: of("second")}}}))
		for k, kind := range []string{"rpm", "log", "record", "replaced"} {
			must(store.AddArtifact(f.Context(), tx, store.Artifact{
				BuildID: b.ID, ItemID: it.ID, TaskID: albs.TaskID(i + 1), Attempt: 1, Digest: of(kind), Kind: kind, Name: fmt.Sprint(k),
			}))
		}
	}
	return b.ID
}

// names are what a build of that name and so many items names.
func names(name string, items int) map[artifact.Ref]bool {
	out := map[artifact.Ref]bool{{Digest: digest(name + " link"), Form: artifact.Snapshot}: true}
	for i := range items {
		for _, what := range []string{"srpm", "tree", "history", "source", "first", "second", "rpm", "log", "record", "replaced"} {
			out[artifact.Ref{Digest: digest(fmt.Sprintf("%s %d %s", name, i, what))}] = true
		}
	}
	return out
}

func (f fixture) named(hours int) map[artifact.Ref]bool {
	f.Helper()
	out := map[artifact.Ref]bool{}
	if err := Roots(f.d)(f.Context(), ago(hours), func(r artifact.Ref) error { out[r] = true; return nil }); err != nil {
		f.Fatal(err)
	}
	return out
}

// TestRoots: a build keeps its items, its files, logs of failed attempts among them, and
// what it is linked to, until the time of grace after its deletion is over.
func TestRoots(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		const grace = 24
		cases := map[string]struct {
			deleted int // hours ago; -1 for not
			kept    bool
		}{
			"there":                {-1, true},
			"deleted of late":      {23, true},
			"deleted long ago":     {25, false},
			"deleted at the limit": {24, false},
			"there too":            {-1, true},
		}
		want, gone := map[artifact.Ref]bool{}, map[albs.BuildID]bool{}
		f.tx(func(tx db.Tx) error {
			for name, c := range cases {
				id := f.build(tx, name, 2)
				if c.deleted >= 0 {
					if err := store.SetDeleted(t.Context(), tx, id, "alice", ago(c.deleted)); err != nil {
						return err
					}
				}
				if !c.kept {
					gone[id] = true
					continue
				}
				for r := range names(name, 2) {
					want[r] = true
				}
			}
			return nil
		})
		if diff := cmp.Diff(want, f.named(grace)); diff != "" {
			t.Errorf("Roots (-want +got):\n%s", diff)
		}
		deleted, err := Deleted(t.Context(), f.d, ago(grace))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(gone, deleted); diff != "" {
			t.Errorf("Deleted (-want +got):\n%s", diff)
		}
		wanted, asked := map[albs.Digest]bool{}, []albs.Digest{digest("of nobody")}
		for name, c := range cases {
			for _, d := range []albs.Digest{digest(name + " 0 srpm"), digest(name + " 1 rpm")} {
				asked = append(asked, d)
				if c.kept {
					wanted[d] = true
				}
			}
		}
		held, err := Holding(t.Context(), f.d, asked, ago(grace))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(wanted, held); diff != "" {
			t.Errorf("Holding (-want +got):\n%s", diff)
		}
	})
}

// TestNothing: what isn't known yet is no name.
func TestNothing(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		if got := f.named(0); len(got) != 0 {
			t.Errorf("without builds %v are named", got)
		}
		f.tx(func(tx db.Tx) error {
			b := store.Build{Owner: "alice", CreatedAt: ago(1)}
			if err := store.AddBuild(t.Context(), tx, &b, "", struct{}{}); err != nil {
				return err
			}
			return store.AddItem(t.Context(), tx, &store.Item{BuildID: b.ID, Platform: "el9", Commit: "c0ffee"})
		})
		if got := f.named(0); len(got) != 0 {
			t.Errorf("of a build that has only begun %v are named", got)
		}
	})
}

// TestPages: no build is missed where one page ends and the next begins, and none that was
// deleted comes back for lying between others.
func TestPages(t *testing.T) {
	each(t, func(t *testing.T, f fixture) {
		want := map[artifact.Ref]bool{}
		f.tx(func(tx db.Tx) error {
			for i := range page + 3 {
				name := fmt.Sprint("build ", i)
				id := f.build(tx, name, 1)
				if i%7 == 3 {
					if err := store.SetDeleted(t.Context(), tx, id, "alice", ago(90)); err != nil {
						return err
					}
					continue
				}
				for r := range names(name, 1) {
					want[r] = true
				}
			}
			return nil
		})
		if diff := cmp.Diff(want, f.named(24)); diff != "" {
			t.Errorf("(-want +got):\n%s", diff)
		}
	})
}

// TestCantRead: what can't be read is an error, for what it names is not known.
func TestCantRead(t *testing.T) {
	for column, table := range map[string]string{"linked": "build", "imported": "build_item", "noarch": "build_item"} {
		t.Run(column, func(t *testing.T) {
			each(t, func(t *testing.T, f fixture) {
				var id albs.BuildID
				f.tx(func(tx db.Tx) error {
					f.build(tx, "good", 1)
					id = f.build(tx, "bad", 1)
					where := map[string]string{"build": "id", "build_item": "build_id"}[table]
					_, err := tx.ExecContext(t.Context(), `UPDATE `+table+` SET `+column+` = '{' WHERE `+where+` = $1`, id)
					return err
				})
				err := Roots(f.d)(t.Context(), ago(0), func(artifact.Ref) error { return nil })
				if err == nil || !strings.Contains(err.Error(), "build "+id.String()) {
					t.Errorf("Roots = %v, want an error that names build %d", err, id)
				}
			})
		})
	}
	t.Run("yield", func(t *testing.T) {
		each(t, func(t *testing.T, f fixture) {
			f.tx(func(tx db.Tx) error { f.build(tx, "good", 1); return nil })
			full := errors.New("full")
			for after := range len(names("good", 1)) {
				left := after
				err := Roots(f.d)(t.Context(), ago(0), func(artifact.Ref) error {
					if left == 0 {
						return full
					}
					left--
					return nil
				})
				if !errors.Is(err, full) {
					t.Errorf("Roots = %v, want yield's error after %d", err, after)
				}
			}
		})
	})
}
