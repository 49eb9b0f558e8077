package releaser

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/albs"
)

func TestPastSort(t *testing.T) {
	t.Parallel()
	now := time.Now()
	long, short := now.Add(-leaveFor), now.Add(-leaveFor+time.Minute)
	for _, tt := range []struct {
		name          string
		past          past
		trees         []int64
		shown, oldest int64
		gone, waiting []int64
		next          past
	}{
		{"nothing is known", nil, []int64{1, 2, 3}, 3, 3, nil, []int64{1, 2}, past{1: now, 2: now}},
		{"long ago", past{1: long, 2: long}, []int64{1, 2, 3}, 3, 3, []int64{1, 2}, nil, past{}},
		{"one of them lately", past{1: long, 2: short}, []int64{1, 2, 3}, 3, 3, []int64{1}, []int64{2}, past{2: short}},
		{"kept, and remembered", past{1: long, 2: long}, []int64{1, 2, 3}, 3, 2, []int64{1}, nil, past{2: long}},
		{"what is shown stays whatever is asked", past{3: long}, []int64{3}, 3, 9, nil, nil, past{}},
		{"what is about to be shown stays too", past{4: long}, []int64{3, 4}, 3, 9, nil, nil, past{}},
		{"in any order, and some missing", past{5: long}, []int64{7, 5, 9}, 9, 8, []int64{5}, []int64{7}, past{7: now}},
		{"what is there no more is forgotten", past{1: long}, []int64{2}, 2, 2, nil, nil, past{}},
		{"a clock that went ahead", past{1: now.Add(time.Hour)}, []int64{1, 2}, 2, 2, nil, []int64{1}, past{1: now}},
	} {
		gone, waiting, next := tt.past.sort(tt.trees, tt.shown, tt.oldest, now)
		if diff := cmp.Diff([]any{tt.gone, tt.waiting, tt.next}, []any{gone, waiting, next}, cmpopts.EquateEmpty()); diff != "" {
			t.Errorf("%s: gone, waiting, next (-want +got):\n%s", tt.name, diff)
		}
	}
}

// prune does what a task does at a time; wrap may stand between it and the folder.
func (w *world) prune(oldest int64, packages bool, now time.Time, wrap func(folder) folder) (albs.PruneResult, error) {
	w.t.Helper()
	p, err := openPlace(w.public, product)
	if err != nil {
		return albs.PruneResult{}, err
	}
	defer p.Close()
	if wrap != nil {
		p.root = wrap(p.root)
	}
	var log strings.Builder
	return p.prune(w.t.Context(), albs.PruneSpec{Product: product, Oldest: oldest, Packages: packages}, now, &log)
}

// pool returns the names of files in the pool.
func (w *world) pool() (names []string) {
	w.t.Helper()
	dir := filepath.Join(w.public, product)
	err := fs.WalkDir(os.DirFS(dir), "pool", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// pooledAs returns the names that packages have in the pool.
func pooledAs(t *testing.T, packages ...string) (names []string) {
	t.Helper()
	made, err := rpms()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range packages {
		d := string(albs.DigestOf(made[n]))
		names = append(names, "pool/"+repo+"/Packages/"+n[:1]+"/"+n, "pool/.digest/"+d[:2]+"/"+d)
	}
	slices.Sort(names)
	return names
}

// past publishes three serials, of which only the first has alpha, and has them seen.
func (w *world) past(now time.Time) {
	w.t.Helper()
	w.mustPublish(w.tree(1, w.snapshot(nil, 1, alpha, beta)))
	w.mustPublish(w.tree(2, w.snapshot(nil, 2, beta)))
	w.mustPublish(w.tree(3, w.snapshot(nil, 3, beta, gamma)))
	if _, err := w.prune(1, false, now, nil); err != nil {
		w.t.Fatal(err)
	}
}

func TestPrune(t *testing.T) {
	t.Parallel()
	w := setup(t)
	now := time.Now()
	if r, err := w.prune(1, true, now, nil); err != nil || !cmp.Equal(r, albs.PruneResult{}) {
		t.Errorf("in an empty place prune = %+v, %v", r, err)
	}
	w.past(now)
	three := w.snapshot(nil, 3, beta, gamma)
	if err := os.WriteFile(filepath.Join(w.public, product, "pool/.digest/old.part"), nil, 0o644); err != nil {
		t.Fatal(err)
	}
	step := func(oldest int64, packages bool, at time.Time, want albs.PruneResult, pool ...string) {
		t.Helper()
		r, err := w.prune(oldest, packages, at, nil)
		if r.Packages > 0 && r.Bytes == 0 {
			t.Errorf("%d packages have no bytes", r.Packages)
		}
		r.Bytes = 0
		if diff := cmp.Diff(want, r, cmpopts.EquateEmpty()); err != nil || diff != "" {
			t.Errorf("prune = %v (-want +got):\n%s", err, diff)
		}
		if diff := cmp.Diff(pooledAs(t, pool...), slices.DeleteFunc(w.pool(), func(n string) bool { return strings.HasSuffix(n, ".part") })); diff != "" {
			t.Errorf("in the pool (-want +got):\n%s", diff)
		}
		w.shows(3, three)
	}
	step(3, true, now.Add(leaveFor-time.Second), albs.PruneResult{Waiting: []int64{1, 2}}, alpha, beta, gamma)
	if names := w.pool(); slices.ContainsFunc(names, func(n string) bool { return strings.HasSuffix(n, ".part") }) {
		t.Errorf("what an attempt left that died is still there: %v", names)
	}
	later := now.Add(leaveFor)
	step(2, false, later, albs.PruneResult{Trees: []int64{1}}, alpha, beta, gamma)
	step(2, true, later, albs.PruneResult{Packages: 1}, beta, gamma)
	step(9, true, later, albs.PruneResult{Trees: []int64{2}}, beta, gamma)
	step(9, true, later, albs.PruneResult{}, beta, gamma)

	// What went comes back with a tree that names it.
	one := w.snapshot(nil, 1, alpha, beta)
	w.mustPublish(w.tree(4, one))
	w.shows(4, one)

	// A tree that can't be read has nothing removed.
	if err := os.Remove(filepath.Join(w.public, product, "trees/3", repo, "repodata/repomd.xml")); err != nil {
		t.Fatal(err)
	}
	before := w.pool()
	if _, err := w.prune(3, true, later, nil); err == nil {
		t.Error("with a tree that can't be read prune is no error")
	}
	if diff := cmp.Diff(before, w.pool()); diff != "" {
		t.Errorf("and the pool changed:\n%s", diff)
	}
}

// TestKillWhilePruning: a releaser that is killed before any of its steps leaves the tree
// that is shown, and each that has its name, whole; the next attempt completes it.
func TestKillWhilePruning(t *testing.T) {
	t.Parallel()
	w := setup(t)
	now := time.Now()
	three := w.snapshot(nil, 3, beta, gamma)
	want := pooledAs(t, beta, gamma)
	killed := 0
	for n := 0; ; n++ {
		w.public = inMemory(t)
		w.past(now)
		unsynced := map[string]bool{}
		var left atomic.Int64
		left.Store(int64(n))
		_, err := w.prune(3, true, now.Add(leaveFor), func(f folder) folder { return mortal{volatile{f, unsynced, new(sync.Mutex)}, &left} })
		if err == nil {
			break
		}
		if !errors.Is(err, errKilled) {
			t.Fatalf("killed after %d steps: %v", n, err)
		}
		killed++
		w.shows(3, three)
		// Whoever reads a tree that is there finds all that it names.
		for serial, packages := range map[string][]string{"1": {alpha, beta}, "2": {beta}} {
			for _, p := range packages {
				file := filepath.Join(w.public, product, "trees", serial, repo)
				if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) {
					continue
				}
				for _, name := range []string{"Packages/" + p[:1] + "/" + p, "repodata/repomd.xml"} {
					if _, err := os.Stat(filepath.Join(file, name)); err != nil {
						t.Errorf("killed after %d steps: %v", n, err)
					}
				}
			}
		}
		if _, err := w.prune(3, true, now.Add(leaveFor), func(f folder) folder { return volatile{f, unsynced, new(sync.Mutex)} }); err != nil {
			t.Fatalf("after it was killed after %d steps: %v", n, err)
		}
		w.shows(3, three)
		if diff := cmp.Diff(want, w.pool()); diff != "" {
			t.Errorf("killed after %d steps, then completed: in the pool (-want +got):\n%s", n, diff)
		}
		if len(unsynced) > 0 {
			t.Errorf("killed after %d steps, then completed: a power cut would take %v", n, slices.Sorted(maps.Keys(unsynced)))
		}
		trees, err := os.ReadDir(filepath.Join(w.public, product, "trees"))
		if err != nil || len(trees) != 1 {
			t.Errorf("killed after %d steps, then completed: the trees are %v, %v", n, trees, err)
		}
		// And what comes next can be published.
		if n%7 == 0 {
			w.mustPublish(w.tree(4, w.snapshot(nil, 1, alpha, beta)))
		}
	}
	if killed < 10 {
		t.Errorf("there were %d rounds", killed)
	}
}
