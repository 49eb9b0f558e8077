package release

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/gc"
	"albs/internal/master/historytest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
	"albs/internal/master/queue"
	"albs/internal/master/release/plan"
	"albs/internal/pgp"
	"albs/internal/rpm/rpmtest"
)

var lifeArches = []albs.Arch{albs.X8664, albs.I686, albs.AArch64}

// group has the real rpmbuild make one source package and n small packages for each of
// the arches.
func group(t *testing.T, name string, version, n int) made {
	t.Helper()
	var spec strings.Builder
	fmt.Fprintf(&spec, "%%define debug_package %%{nil}\nName: %s\nVersion: %d\nRelease: 1\nSummary: A\nLicense: MIT\n%%description\nA.\n", name, version)
	for i := range n {
		fmt.Fprintf(&spec, "%%package %[1]d\nSummary: B\n%%description %[1]d\nB.\n%%files %[1]d\n", i)
	}
	all := made{}
	for i, arch := range lifeArches {
		m, err := rpmtest.Build(spec.String(), "--target", string(arch))
		if err != nil {
			t.Fatal(err)
		}
		for file, b := range m {
			if i == 0 || !strings.HasSuffix(file, ".src.rpm") { // each run makes another one
				all[file] = b
			}
		}
	}
	if len(all) != 1+n*len(lifeArches) {
		t.Fatalf("rpmbuild made %d packages, want %d and one source package", len(all), n*len(lifeArches))
	}
	return all
}

// life is two products that live through releases, copies and rollbacks, and what they
// should show.
type life struct {
	*fixture
	random *rand.Rand

	groups, versions, packages int
	trees                      int // that are kept

	builds map[string]albs.BuildID      // signed, by name and version
	files  map[string][]string          // of each of them
	was    map[string][]map[string]bool // which of them each product's serials show, from 1 on

	collector *gc.Collector
	now       time.Time        // the collector's clock, which moves between changes
	gone      int              // builds that were deleted
	removed   int              // blobs
	oldest    map[string]int64 // serial of each product that is kept
}

// lifeCopy is the product into which is copied what demo has released.
const lifeCopy = "stable"

// TestLife: a product, and one into which its packages are copied, live through changes
// and collections that a seed has chosen, some of these within a change, and keep little
// of their past. After each they show what they should, and I4 to I8 hold of all that there
// is: some 5,000 packages on three arches and 150 changes, or a few dozen packages with
// -short.
func TestLife(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, live)
}

func live(t *testing.T, d *db.DB) {
	l := &life{
		fixture: setup(t, d), groups: 25, versions: 4, packages: 30, trees: 8, oldest: map[string]int64{},
		builds: map[string]albs.BuildID{}, files: map[string][]string{}, was: map[string][]map[string]bool{}, now: time.Now(),
	}
	changes := 150
	if testing.Short() {
		l.groups, l.versions, l.packages, l.trees, changes = 3, 2, 2, 3, 10
	}
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	l.random = rand.New(rand.NewPCG(seed, 0))

	_, err := l.platforms.Apply(l.admin, mastertest.Platform("el", lifeArches...))
	l.must(err)
	spec := demoSpec()
	spec.Repositories = []product.Repository{{Path: demoSource, Platform: "el", Arch: albs.Src, Kind: product.Source}}
	for _, a := range lifeArches {
		spec.Repositories = append(spec.Repositories, product.Repository{Path: fmt.Sprintf("el/%s/os", a), Platform: "el", Arch: a, Kind: product.RPM})
	}
	spec.Retention = product.Retention{Trees: l.trees, Packages: product.KeptPackages}
	for _, spec.Name = range []string{"demo", lifeCopy} {
		_, err = l.products.Apply(l.admin, spec)
		l.must(err)
	}
	l.collector, err = gc.New(gc.Parts{DB: d, Artifacts: l.artifacts, Retention: l.retention(), Builds: l.Releases.builds, Logs: l.queue, Mirrors: noMirrors{}, Log: l.log}, gc.Config{})
	l.must(err)
	l.startSigner()
	l.startReleaser()
	l.makeKey("demo key", pgp.Ed25519, lifeCopy)

	done := map[string]int{}
	watch := historytest.NewWatch(l.left)
	check := func(when string) {
		found, err := watch.Check(t.Context())
		if err != nil {
			t.Fatalf("%s: %v", when, err)
		}
		for _, v := range found {
			t.Errorf("%s: %s", when, v)
		}
	}
	for n := 1; n <= changes && !t.Failed(); n++ {
		name := "demo"
		if l.random.IntN(4) == 0 {
			name = lifeCopy
		}
		var within chan gc.Result
		if l.random.IntN(4) == 0 {
			within = make(chan gc.Result, 1)
			go func() { within <- l.collector.Collect(auth.System(t.Context(), "retention"), false, l.now) }()
		}
		kind, what := l.change(name)
		if within != nil {
			done["collection within"]++
			l.collected(<-within)
		}
		done[name+" "+kind]++
		if kind == "release" || kind == "rollback" || kind == "copy" {
			l.checkShown(name, what)
		}
		check(fmt.Sprintf("after change %d, the %s of %s", n, what, name))
		if l.random.IntN(5) == 0 {
			done["collection"]++
			l.collect()
			check(fmt.Sprintf("after the collection that follows change %d", n))
		}
	}
	for range 3 { // what is beyond by now is given up, marked and removed
		l.collect()
	}
	for name, oldest := range l.oldest {
		l.checkPlace(name, oldest)
	}
	watch = historytest.NewWatch(l.left) // which reads all of it again
	check("in the end")
	t.Logf("%d builds of %d packages, %d more deleted, %d blobs removed, the oldest serials %v; %v", len(l.builds), 1+l.packages*len(lifeArches), l.gone, l.removed, l.oldest, done)
	if (l.gone > 0 || len(l.oldest) > 0) && l.removed == 0 {
		t.Errorf("%d builds were deleted, serials of %d products given up and no blob removed", l.gone, len(l.oldest))
	}
}

// collect lets more than the time of grace go by, which nothing that is under way takes,
// collects, and has the public places pruned.
func (l *life) collect() {
	l.t.Helper()
	const step = 8 * 24 * time.Hour
	l.now = l.now.Add(step)
	for name := range l.was {
		file := filepath.Join(l.public, name, "past.json")
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		l.must(err)
		var since map[int64]time.Time
		l.must(json.Unmarshal(b, &since))
		for serial, at := range since {
			since[serial] = at.Add(-step)
		}
		b, err = json.Marshal(since)
		l.must(err)
		l.must(os.WriteFile(file, b, 0o644))
	}
	system := auth.System(l.t.Context(), "retention")
	dry := l.collector.Collect(system, true, l.now)
	r := l.collector.Collect(system, false, l.now)
	if r.Blobs.Removed != dry.Blobs.Removed || r.Blobs.RemovedBytes != dry.Blobs.RemovedBytes {
		l.t.Errorf("a collection did %+v, a dry run before it told %+v", r, dry)
	}
	if diff := cmp.Diff(dry.Retired, r.Retired); diff != "" {
		l.t.Errorf("serials given up, in a dry run and then (-want +got):\n%s", diff)
	}
	l.collected(r)
	for name, was := range l.was {
		oldest := int64(max(1, len(was)-l.trees+1))
		if got := max(1, l.oldest[name]); got != oldest {
			l.t.Errorf("of %d serials of %s, %d is the oldest that is kept, want %d", len(was), name, got, oldest)
		}
		if oldest > 1 {
			_, err := l.Rollback(l.planner, name, oldest-1)
			l.wantKind("a rollback beyond the retention", err, albs.Conflict, "beyond its retention")
		}
	}
	l.until("the public places are pruned", func() bool {
		waiting, err := l.queue.List(l.t.Context(), queue.Filter{Kind: albs.KindPrune, States: []albs.TaskState{albs.TaskQueued, albs.TaskLeased}})
		l.must(err)
		return len(waiting) == 0
	})
	failed, err := l.queue.List(l.t.Context(), queue.Filter{Kind: albs.KindPrune, States: []albs.TaskState{albs.TaskFailed}})
	l.must(err)
	for _, t := range failed {
		l.t.Errorf("a public place could not be pruned: %s", t.Reason)
	}
}

// checkPlace wants the public place of a product to have the trees that are kept, and the
// packages that these name.
func (l *life) checkPlace(name string, oldest int64) {
	l.t.Helper()
	was := l.was[name]
	want, trees := map[string]bool{}, map[string]bool{}
	for i, builds := range was[oldest-1:] {
		trees[fmt.Sprint(oldest+int64(i))] = true
		for b := range builds {
			for _, file := range l.files[b] {
				want[file] = true
			}
		}
	}
	got, there := map[string]bool{}, map[string]bool{}
	found, err := os.ReadDir(filepath.Join(l.public, name, "trees"))
	l.must(err)
	for _, e := range found {
		there[e.Name()] = true
	}
	l.must(filepath.WalkDir(filepath.Join(l.public, name, "pool"), func(path string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() && strings.HasSuffix(path, ".rpm") {
			got[e.Name()] = true
		}
		return err
	}))
	if diff := cmp.Diff(trees, there); diff != "" {
		l.t.Errorf("the public place of %s has the trees (-want +got):\n%s", name, diff)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("the public place of %s has the packages (-want +got):\n%s", name, diff)
	}
}

func (l *life) collected(r gc.Result) {
	l.t.Helper()
	if r.Error != "" || len(r.Builds) != 0 {
		l.t.Errorf("a collection did %+v", r)
	}
	l.removed += r.Blobs.Removed
	for _, p := range r.Retired {
		l.oldest[p.Product] = p.Oldest
	}
}

// change releases into a product a build that may follow what is shown, copies into it
// what the other one shows, goes back to some serial, or makes a build that is deleted.
func (l *life) change(product string) (kind, what string) {
	if l.random.IntN(10) == 0 {
		l.gone++
		id := l.addBuild(group(l.t, fmt.Sprintf("gone%d", l.gone), 1, 1))
		l.must(l.Releases.builds.Delete(auth.System(l.t.Context(), "retention"), id))
		return "deletion", fmt.Sprintf("deletion of build %d", id)
	}
	was := l.was[product]
	now := map[string]bool{}
	if len(was) > 0 {
		now = was[len(was)-1]
	}
	if product == lifeCopy && l.random.IntN(4) > 0 {
		if what := l.copy(now); what != "" {
			return "copy", what
		}
	}
	var ready []string
	for g := range l.groups {
		// The one after the newest that is shown: an older one would be refused.
		v := l.versions
		for v > 0 && !now[nameOf(g, v)] {
			v--
		}
		_, made := l.builds[nameOf(g, v+1)]
		if v < l.versions && (made || product != lifeCopy) {
			ready = append(ready, nameOf(g, v+1))
		}
	}
	if len(was) > 1 && (len(ready) == 0 || l.random.IntN(5) == 0) {
		// Of those that a collection within the change doesn't give up.
		first := max(1, len(was)-l.trees+2)
		to := first + l.random.IntN(len(was)-first)
		r, err := l.Rollback(l.planner, product, int64(to))
		l.must(err)
		l.ended(r.ID, Completed)
		l.was[product] = append(was, was[to-1])
		return "rollback", fmt.Sprintf("rollback to serial %d", to)
	}
	if len(ready) == 0 {
		return "nothing", ""
	}
	name := ready[l.random.IntN(len(ready))]
	if _, ok := l.builds[name]; !ok {
		var g, v int
		if _, err := fmt.Sscanf(name, "g%d-%d", &g, &v); err != nil {
			l.t.Fatal(err)
		}
		m := group(l.t, fmt.Sprintf("g%d", g), v, l.packages)
		l.files[name] = slices.Sorted(maps.Keys(m))
		l.builds[name] = l.signedBuild(m)
	}
	l.releaseInto(product, l.builds[name])
	next := maps.Clone(now)
	next[name] = true
	l.was[product] = append(was, next)
	return "release", "release of " + name
}

// copy has lifeCopy take over from demo the newest packages of a group of which demo shows
// newer ones, and returns what it did; "" if there is none.
func (l *life) copy(now map[string]bool) string {
	from := l.was["demo"]
	if len(from) == 0 {
		return ""
	}
	newest := func(of map[string]bool, g int) int {
		v := l.versions
		for v > 0 && !of[nameOf(g, v)] {
			v--
		}
		return v
	}
	var ready []int
	for g := range l.groups {
		if newest(from[len(from)-1], g) > newest(now, g) {
			ready = append(ready, g)
		}
	}
	if len(ready) == 0 {
		return ""
	}
	g := ready[l.random.IntN(len(ready))]
	r, err := l.Copy(l.planner, lifeCopy, plan.Copy{Product: "demo", Packages: []string{fmt.Sprintf("g%d", g)}})
	l.must(err)
	l.publishPlanned(r)
	next := maps.Clone(now)
	name := nameOf(g, newest(from[len(from)-1], g))
	next[name] = true
	l.was[lifeCopy] = append(l.was[lifeCopy], next)
	return "copy of " + name
}

func nameOf(group, version int) string { return fmt.Sprintf("g%d-%d", group, version) }

// checkShown wants the newest serial to show its builds, each package where it belongs.
func (l *life) checkShown(product, what string) {
	l.t.Helper()
	want := map[string][]string{demoSource: nil}
	for _, a := range lifeArches {
		want[fmt.Sprintf("el/%s/os", a)] = nil
	}
	was := l.was[product]
	for name := range was[len(was)-1] {
		for _, file := range l.files[name] {
			path := demoSource
			for _, a := range lifeArches {
				if strings.HasSuffix(file, "."+string(a)+".rpm") {
					path = fmt.Sprintf("el/%s/os", a)
				}
			}
			want[path] = append(want[path], file)
		}
	}
	if diff := cmp.Diff(want, l.shownBy(product, int64(len(was))), anyOrder); diff != "" {
		l.t.Errorf("after the %s of %s the packages are (-want +got):\n%s", what, product, diff)
	}
}
