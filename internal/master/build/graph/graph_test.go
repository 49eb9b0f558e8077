package graph

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

const (
	x = albs.X8664
	a = albs.AArch64
)

// item is a package of that name that requires others, for each of the arches.
func item(name string, arches []albs.Arch, requires ...string) Item {
	it := Item{Package: name, Arches: arches}
	for _, arch := range arches {
		it.Facts = append(it.Facts, albs.SpecFacts{
			Arch: arch, Requires: requires,
			Packages: []albs.SpecPackage{{Name: name}, {Name: name + "-devel", Provides: []string{"pkgconfig(" + name + ")", "/usr/bin/" + name}}},
		})
	}
	return it
}

func number(items ...Item) []Item {
	for i := range items {
		items[i].Item = albs.ItemID(i + 1)
	}
	return items
}

// edges spells a graph's edges, broken ones with why.
func edges(g Graph) []string {
	var out []string
	for _, e := range g.Edges {
		s := fmt.Sprintf("%s → %s: %s", g.Nodes[e.From].Name(), g.Nodes[e.To].Name(), strings.Join(e.Requires, ", "))
		if e.Broken != "" {
			s += " (" + e.Broken + ")"
		}
		out = append(out, s)
	}
	return out
}

func TestMake(t *testing.T) {
	t.Parallel()
	one, both := []albs.Arch{x}, []albs.Arch{x, a}
	with := func(it Item, change func(*albs.SpecFacts)) Item {
		for i := range it.Facts {
			change(&it.Facts[i])
		}
		return it
	}
	for _, c := range []struct {
		name   string
		items  []Item
		breaks []Break
		want   []string
		cycles []string
		notes  []string
	}{
		{name: "nothing"},
		{name: "by name, provided name, file and in a rich requirement", items: number(
			item("app", one, "lib-devel >= 2", "pkgconfig(lib)", "/usr/bin/tool", "(other or (gone-devel >= 1 if lib))", "gcc"), item("lib", one), item("tool", one), item("other", one)),
			want: []string{"app x86_64 → lib x86_64: lib-devel >= 2, pkgconfig(lib), (other or (gone-devel >= 1 if lib))", "app x86_64 → tool x86_64: /usr/bin/tool",
				"app x86_64 → other x86_64: (other or (gone-devel >= 1 if lib))"}},
		{name: "arches apart", items: number(item("app", both, "lib"), item("lib", both)),
			want: []string{"app x86_64 → lib x86_64: lib", "app aarch64 → lib aarch64: lib"}},
		{name: "itself is no need", items: number(item("gcc", one, "gcc"))},
		{name: "two that provide it", items: number(item("app", one, "web"), with(item("nginx", one), func(f *albs.SpecFacts) { f.Packages[0].Provides = []string{"web"} }),
			with(item("httpd", one), func(f *albs.SpecFacts) { f.Packages[0].Provides = []string{"web"} })),
			want: []string{"app x86_64 → nginx x86_64: web", "app x86_64 → httpd x86_64: web"}},
		{name: "an excluded arch has no edges", items: number(item("app", both, "lib"), with(item("lib", both), func(f *albs.SpecFacts) { f.Exclude = []string{"aarch64"} })),
			want: []string{"app x86_64 → lib x86_64: lib"}},
		{name: "a noarch package of an arch that has it", items: number(item("app", both, "lib"), with(item("lib", both), func(f *albs.SpecFacts) {
			f.Exclusive = []string{"x86_64"}
			f.Packages[0].Noarch = true
		})), want: []string{"app x86_64 → lib x86_64: lib", "app aarch64 → lib x86_64: lib"}},
		{name: "a cycle, broken where the first that is listed needs", items: number(item("b", one, "a"), item("a", one, "b")),
			want:   []string{"b x86_64 → a x86_64: a (it lies on 1 of 1 cycles)", "a x86_64 → b x86_64: b"},
			cycles: []string{"b x86_64 → a x86_64 → b x86_64"}},
		{name: "a cycle, broken as asked", items: number(item("b", one, "a"), item("a", one, "b")), breaks: []Break{{"a", "b"}},
			want:   []string{"b x86_64 → a x86_64: a", "a x86_64 → b x86_64: b (as asked)"},
			cycles: []string{"b x86_64 → a x86_64 → b x86_64"}},
		{name: "the edge that is on both cycles", items: number(item("p", one, "hub"), item("q", one, "hub"), item("hub", one, "core"), item("core", one, "p", "q")),
			want: []string{"p x86_64 → hub x86_64: hub", "q x86_64 → hub x86_64: hub", "hub x86_64 → core x86_64: core (it lies on 2 of 2 cycles)",
				"core x86_64 → p x86_64: p", "core x86_64 → q x86_64: q"},
			cycles: []string{"p x86_64 → hub x86_64 → core x86_64 → p x86_64", "q x86_64 → hub x86_64 → core x86_64 → q x86_64"}},
		{name: "breaks that break nothing", items: number(item("app", one, "lib"), item("lib", one)), breaks: []Break{{"app", "lib"}, {"lib", "app"}},
			want:  []string{"app x86_64 → lib x86_64: lib"},
			notes: []string{"break app→lib: that need is on no cycle, and is met", "break lib→app: lib doesn't need app"}},
		{name: "an unknown one is taken as listed", items: number(item("one", one), Item{Package: "dark", Arches: one}, item("two", one)),
			want:  []string{"dark x86_64 → one x86_64: listed before it", "two x86_64 → dark x86_64: listed before it"},
			notes: []string{"dark x86_64: its spec file was not asked; it is built as listed"}},
		{name: "unless facts say otherwise", items: number(item("one", one, "two"), with(item("dark", one), func(f *albs.SpecFacts) { f.Unknown = "no rpmspec" }), item("two", one)),
			want: []string{"one x86_64 → two x86_64: two", "dark x86_64 → one x86_64: listed before it (only the listing asks for it, and it is on a cycle)",
				"two x86_64 → dark x86_64: listed before it (only the listing asks for it, and it is on a cycle)"},
			notes: []string{"dark x86_64: its spec file could not be asked (no rpmspec); it is built as listed"}},
		{name: "dynamic", items: number(with(item("py", one), func(f *albs.SpecFacts) { f.Dynamic = true })),
			notes: []string{"py x86_64: what %generate_buildrequires asks for is known when it is built, and has no edge"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			g := Make(c.items, c.breaks)
			if diff := cmp.Diff(c.want, edges(g)); diff != "" {
				t.Errorf("edges (-want +got):\n%s", diff)
			}
			var cycles []string
			for _, y := range g.Cycles {
				cycles = append(cycles, g.Names(y))
			}
			if diff := cmp.Diff(c.cycles, cycles); diff != "" {
				t.Errorf("cycles (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.notes, g.Notes); diff != "" {
				t.Errorf("notes (-want +got):\n%s", diff)
			}
		})
	}
}

// run rebuilds the nodes of a graph, whatever is free in random order, and returns the
// order; it fails if some are never free.
func run(t *testing.T, r *rand.Rand, g Graph) []int {
	t.Helper()
	needs := g.Needs()
	done := make([]bool, len(g.Nodes))
	var order []int
	for len(order) < len(g.Nodes) {
		var free []int
		for n := range g.Nodes {
			if !done[n] && !slices.ContainsFunc(needs[n], func(m int) bool { return !done[m] }) {
				free = append(free, n)
			}
		}
		if len(free) == 0 {
			t.Fatalf("nothing is free after %d of %d", len(order), len(g.Nodes))
		}
		n := free[r.IntN(len(free))]
		done[n] = true
		order = append(order, n)
	}
	return order
}

// TestOrderHolds: packages that need each other without a circle, listed in any order:
// no edge is broken, and none is rebuilt before what it needs. With circles added, the
// rest still comes to its end, and each broken edge was on a circle.
func TestOrderHolds(t *testing.T) {
	t.Parallel()
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	arches := []albs.Arch{x, a}
	for round := range 60 {
		n := 1 + r.IntN(40)
		needs := make(map[string][]string, n)
		var items []Item
		for i := range n {
			name := fmt.Sprintf("p%d", i)
			for range r.IntN(4) {
				if i > 0 {
					needs[name] = append(needs[name], fmt.Sprintf("p%d", r.IntN(i)))
				}
			}
			items = append(items, item(name, arches[:1+r.IntN(2)], needs[name]...))
		}
		r.Shuffle(len(items), func(i, j int) { items[i], items[j] = items[j], items[i] })
		g := Make(number(items...), nil)
		if len(g.Cycles) > 0 || slices.ContainsFunc(g.Edges, func(e Edge) bool { return e.Broken != "" }) {
			t.Fatalf("round %d: cycles %v in what has none", round, g.Cycles)
		}
		at := make(map[string]int)
		for when, n := range run(t, r, g) {
			at[g.Nodes[n].Name()] = when
		}
		for name, list := range needs {
			for _, arch := range arches {
				for _, need := range list {
					mine, there := at[name+" "+string(arch)]
					its, made := at[need+" "+string(arch)]
					if there && made && its > mine {
						t.Fatalf("round %d: %s %s was rebuilt before %s", round, name, arch, need)
					}
				}
			}
		}
		// Any requirement of anybody, circles and all.
		for i := range items {
			for range r.IntN(3) {
				extra := fmt.Sprintf("p%d", r.IntN(n))
				for k := range items[i].Facts {
					items[i].Facts[k].Requires = append(slices.Clone(items[i].Facts[k].Requires), extra)
				}
			}
		}
		g = Make(items, nil)
		if diff := cmp.Diff(g, Make(items, nil)); diff != "" {
			t.Fatalf("round %d: equal input, another graph:\n%s", round, diff)
		}
		run(t, r, g)
		for _, e := range g.Edges {
			if e.Broken != "" && !reaches(g, e.To, e.From) {
				t.Fatalf("round %d: %s → %s is broken and was on no cycle", round, g.Nodes[e.From].Name(), g.Nodes[e.To].Name())
			}
		}
	}
}

// reaches reports whether from needs to, broken edges counted.
func reaches(g Graph, from, to int) bool {
	seen := map[int]bool{from: true}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		if queue[0] == to {
			return true
		}
		for _, e := range g.Edges {
			if e.From == queue[0] && !seen[e.To] {
				seen[e.To] = true
				queue = append(queue, e.To)
			}
		}
	}
	return false
}

// TestMakeLarge: the largest build that may be, all of it one knot of cycles, is
// ordered in a time in which a person waits for it.
func TestMakeLarge(t *testing.T) {
	t.Parallel()
	r := rand.New(rand.NewPCG(1, 2))
	var items []Item
	for i := range 2000 {
		var needs []string
		for range 3 {
			needs = append(needs, fmt.Sprintf("p%d", max(0, i-1-r.IntN(30))))
		}
		if i%100 == 0 {
			needs = append(needs, fmt.Sprintf("p%d", min(1999, i+50)))
		}
		items = append(items, item(fmt.Sprintf("p%d", i), []albs.Arch{x}, needs...))
	}
	began := time.Now()
	g := Make(number(items...), nil)
	run(t, r, g)
	t.Logf("%d nodes, %d edges, %d cycles shown, in %v", len(g.Nodes), len(g.Edges), len(g.Cycles), time.Since(began))
}

func TestList(t *testing.T) {
	t.Parallel()
	items := number(item("a", []albs.Arch{x, a}), item("b", []albs.Arch{a}), item("c", []albs.Arch{x, a}))
	want := []string{"b aarch64 → a aarch64: listed before it", "c x86_64 → a x86_64: listed before it", "c aarch64 → b aarch64: listed before it"}
	if diff := cmp.Diff(want, edges(List(items, true))); diff != "" {
		t.Errorf("listed (-want +got):\n%s", diff)
	}
	if g := List(items, false); len(g.Edges) > 0 || len(g.Nodes) != 5 {
		t.Errorf("independent: %+v", g)
	}
}

func TestParseBreak(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]Break{"a→b": {"a", "b"}, "a->b": {"a", "b"}, "python-x -> gtk+": {"python-x", "gtk+"}} {
		if got, err := ParseBreak(text); err != nil || got != want {
			t.Errorf("ParseBreak(%q) = %+v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "a", "a→", "→b", "a→a", "a→b c", "a→b\tc", strings.Repeat("a", 300) + "→b"} {
		if got, err := ParseBreak(text); albs.KindOf(err) != albs.Invalid {
			t.Errorf("ParseBreak(%q) = %+v, %v; want Invalid", text, got, err)
		}
	}
}

// FuzzMake: whatever specs say, the graph has an end and no circle is left in it.
func FuzzMake(f *testing.F) {
	f.Add("a:b (c and d >= 2)\nb:a\nc:(((", "a→b")
	f.Add("a:()\nb:pkgconfig(a", "x->y")
	f.Fuzz(func(t *testing.T, text, brk string) {
		var items []Item
		for line := range strings.Lines(text) {
			name, needs, _ := strings.Cut(strings.TrimSpace(line), ":")
			items = append(items, item(name, []albs.Arch{x}, strings.Split(needs, ",")...))
		}
		if len(items) > 50 {
			return
		}
		var breaks []Break
		if br, err := ParseBreak(brk); err == nil {
			breaks = append(breaks, br)
		}
		run(t, rand.New(rand.NewPCG(1, 1)), Make(number(items...), breaks))
	})
}

func TestCheck(t *testing.T) {
	t.Parallel()
	br := []Break{{"a", "b"}}
	for _, c := range []struct {
		name   string
		order  Order
		breaks []Break
		good   bool
	}{
		{"nothing asked", "", nil, true},
		{"breaks without an order", "", br, true},
		{"breaks of the automatic one", Auto, br, true},
		{"listed", Listed, nil, true},
		{"breaks of a list", Listed, br, false},
		{"no order", "random", nil, false},
		{"a bad break", Auto, []Break{{"a", "a"}}, false},
		{"too many", Auto, slices.Repeat(br, maxBreaks+1), false},
	} {
		if err := Check(c.order, c.breaks); (err == nil) != c.good || err != nil && !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: Check = %v, want good: %t", c.name, err, c.good)
		}
	}
}
