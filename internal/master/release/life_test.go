package release

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/historytest"
	"albs/internal/master/mastertest"
	"albs/internal/master/product"
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

	builds map[string]albs.BuildID      // signed, by name and version
	files  map[string][]string          // of each of them
	was    map[string][]map[string]bool // which of them each product's serials show, from 1 on
}

// lifeCopy is the product into which is copied what demo has released.
const lifeCopy = "stable"

// TestLife: a product, and one into which its packages are copied, live through changes
// that a seed has chosen. After each they show what they should, and I4 to I8 hold of all
// that there is: some 5,000 packages on three arches and 130 changes, or a few dozen
// packages with -short.
func TestLife(t *testing.T) {
	t.Parallel()
	l := &life{
		fixture: setup(t, dbtest.Open(t, dbtest.SQLite(t))), groups: 25, versions: 4, packages: 22,
		builds: map[string]albs.BuildID{}, files: map[string][]string{}, was: map[string][]map[string]bool{},
	}
	changes := 130
	if testing.Short() {
		l.groups, l.versions, l.packages, changes = 3, 2, 2, 10
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
	for _, spec.Name = range []string{"demo", lifeCopy} {
		_, err = l.products.Apply(l.admin, spec)
		l.must(err)
	}
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
		if l.random.IntN(3) == 0 {
			name = lifeCopy
		}
		kind, what := l.change(name)
		done[name+" "+kind]++
		if kind == "nothing" {
			continue
		}
		l.checkShown(name, what)
		check(fmt.Sprintf("after change %d, the %s of %s", n, what, name))
	}
	watch = historytest.NewWatch(l.left) // which reads all of it again
	check("in the end")
	t.Logf("%d builds of %d packages; %v", len(l.builds), 1+l.packages*len(lifeArches), done)
}

// change releases into a product a build that may follow what is shown, or goes back to
// some serial. What is copied was released by the other product before.
func (l *life) change(product string) (kind, what string) {
	was := l.was[product]
	now := map[string]bool{}
	if len(was) > 0 {
		now = was[len(was)-1]
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
		to := 1 + l.random.IntN(len(was)-1)
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
