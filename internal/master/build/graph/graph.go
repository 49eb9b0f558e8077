// Package graph finds the order in which the packages of a build are rebuilt: who needs
// whom, by what their spec files say, and where circles are broken.
//
// It is pure: equal input gives an equal graph, and what isn't broken never closes a
// circle. docs/design/build-graph.md has the reasons.
package graph

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Order says how the rebuilds of a platform follow each other.
type Order string

// The orders.
const (
	Auto        Order = "auto"        // as the packages need each other
	Listed      Order = "listed"      // each after all that were listed before it
	Independent Order = "independent" // all at once
)

// maxBreaks bounds how many breaks a request has.
const maxBreaks = 1000

// Check returns Invalid unless what is asked for is an order, "" being Auto, and breaks
// that go with it.
func Check(order Order, breaks []Break) error {
	if order != "" && order != Auto && order != Listed && order != Independent {
		return albs.Errorf(albs.Invalid, "order %.40q is none of %s, %s and %s", order, Auto, Listed, Independent)
	}
	if len(breaks) > 0 && order != "" && order != Auto {
		return albs.Errorf(albs.Invalid, "with order %s nothing is broken: break goes with order %s", order, Auto)
	}
	if len(breaks) > maxBreaks {
		return albs.Errorf(albs.Invalid, "more than %d breaks", maxBreaks)
	}
	for _, br := range breaks {
		if err := br.Check(); err != nil {
			return err
		}
	}
	return nil
}

// Break names a need that may be left unmet where packages need each other in a
// circle: Package is rebuilt without waiting for Needs.
type Break struct {
	Package string `json:"package"`
	Needs   string `json:"needs"`
}

// ParseBreak reads "a→b", or "a->b": a is rebuilt without waiting for b.
func ParseBreak(s string) (Break, error) {
	a, b, ok := strings.Cut(strings.Replace(s, "->", "→", 1), "→")
	br := Break{strings.TrimSpace(a), strings.TrimSpace(b)}
	if !ok {
		return br, albs.Errorf(albs.Invalid, "%.80q says not which need may be left unmet: write a→b to have a built without waiting for b", s)
	}
	return br, br.Check()
}

// Check returns Invalid if the break names no two packages.
func (b Break) Check() error {
	for _, n := range []string{b.Package, b.Needs} {
		if n == "" || len(n) > 200 || strings.ContainsFunc(n, func(r rune) bool { return r <= ' ' || r > '~' }) {
			return albs.Errorf(albs.Invalid, "%.80q in a break is no package's name", n)
		}
	}
	if b.Package == b.Needs {
		return albs.Errorf(albs.Invalid, "package %s never waits for itself", b.Package)
	}
	return nil
}

// Item is what the graph needs to know of an item.
type Item struct {
	Item    albs.ItemID
	Package string
	Arches  []albs.Arch
	Facts   []albs.SpecFacts // of some of the arches, or of none
}

// Graph is who needs whom among the rebuilds of a platform.
type Graph struct {
	Nodes  []Node   `json:"nodes"` // in the order of listing
	Edges  []Edge   `json:"edges,omitempty"`
	Cycles []Cycle  `json:"cycles,omitempty"` // as they were before any was broken
	Notes  []string `json:"notes,omitempty"`  // what isn't known, for people
}

// Node is the rebuild of an item for an arch.
type Node struct {
	Item     albs.ItemID `json:"item"`
	Package  string      `json:"package"`
	Arch     albs.Arch   `json:"arch"`
	Excluded string      `json:"excluded,omitempty"` // the tag by which it isn't done
}

// Edge says that node From needs node To, both by their place, to have succeeded.
type Edge struct {
	From int `json:"from"`
	To   int `json:"to"`
	// Requires are the requirements that made the edge, the first few of them.
	Requires []string `json:"requires"`
	// Broken says why From doesn't wait for To in spite of it; "" if it does.
	Broken string `json:"broken,omitempty"`
	// Soft: no requirement made it, but that the facts are unknown.
	Soft bool `json:"soft,omitempty"`
}

// Cycle is a shortest circle of nodes of which each needs the next and the last the
// first.
type Cycle struct {
	Nodes []int `json:"nodes"`
}

// Bounds of what a graph tells.
const (
	maxRequires = 5   // requirements of one edge
	maxCycles   = 200 // cycles
	maxNotes    = 200
)

// asListed is the requirement of an edge between packages of which one is unknown.
const asListed = "listed before it"

// Make finds who needs whom, and breaks circles: first where breaks say, then at
// the edge that lies on most of the circles, the first in order of listing among equal
// ones, until there is none. Equal input gives an equal graph.
//
// A package needs another if it has a BuildRequires that a binary package of the other
// would provide by name, for the same arch; and what the other makes without an arch
// where the other isn't built for that arch, from all arches for which it is. Of a
// package whose facts are unknown it is assumed that it needs all listed before it,
// and all listed behind need it; in a circle that doesn't count.
func Make(items []Item, breaks []Break) Graph {
	b := builder{index: make(map[[2]int]int)}
	for i, it := range items {
		for _, a := range it.Arches {
			b.add(i, it, a)
		}
	}
	b.connect()
	b.assume()
	slices.SortFunc(b.g.Edges, func(x, y Edge) int {
		if x.From != y.From {
			return x.From - y.From
		}
		return x.To - y.To
	})
	b.breakAsked(breaks)
	b.breakRest()
	if extra := len(b.g.Notes) - maxNotes; extra > 0 {
		b.g.Notes = append(b.g.Notes[:maxNotes:maxNotes], fmt.Sprintf("and %d notes more", extra))
	}
	return b.g
}

// Name is the node for people.
func (n Node) Name() string { return n.Package + " " + string(n.Arch) }

// Names lays out a circle for people, with its beginning at its end again.
func (g Graph) Names(c Cycle) string {
	var names []string
	for _, n := range append(slices.Clone(c.Nodes), c.Nodes[0]) {
		names = append(names, g.Nodes[n].Name())
	}
	return strings.Join(names, " → ")
}

// Tell writes down who needs whom, for people to read, and returns the numbers of it.
// What can't be written is no error: it is a log.
func (g Graph) Tell(log io.Writer) albs.GraphResult {
	r := albs.GraphResult{Nodes: len(g.Nodes), Edges: len(g.Edges)}
	for _, n := range g.Nodes {
		if n.Excluded != "" {
			fmt.Fprintf(log, "%s is not built: %s\n", n.Name(), n.Excluded)
		}
	}
	for _, e := range g.Edges {
		fmt.Fprintf(log, "%s needs %s for %q", g.Nodes[e.From].Name(), g.Nodes[e.To].Name(), e.Requires)
		if e.Broken != "" {
			r.Broken++
			fmt.Fprintf(log, ", and doesn't wait for it: %s", e.Broken)
		}
		fmt.Fprintln(log)
	}
	for _, c := range g.Cycles {
		fmt.Fprintf(log, "cycle: %s\n", g.Names(c))
	}
	for _, n := range g.Notes {
		fmt.Fprintln(log, n)
	}
	return r
}

// Needs returns for each node those that it waits for.
func (g Graph) Needs() [][]int {
	needs := make([][]int, len(g.Nodes))
	for _, e := range g.Edges {
		if e.Broken == "" {
			needs[e.From] = append(needs[e.From], e.To)
		}
	}
	return needs
}

// List returns the graph of a platform whose packages are built as listed, or, if not
// chained, all at once.
func List(items []Item, chained bool) Graph {
	var g Graph
	last := make(map[albs.Arch]int)
	for _, it := range items {
		for _, a := range it.Arches {
			n := len(g.Nodes)
			g.Nodes = append(g.Nodes, Node{Item: it.Item, Package: it.Package, Arch: a})
			if l, ok := last[a]; ok && chained {
				g.Edges = append(g.Edges, Edge{From: n, To: l, Requires: []string{asListed}})
			}
			last[a] = n
		}
	}
	return g
}

// builder makes a graph.
type builder struct {
	g     Graph
	item  []int             // of each node: the place of its item
	facts []*albs.SpecFacts // of each node: nil if unknown
	index map[[2]int]int    // an edge's place by its ends
}

func (b *builder) note(format string, args ...any) {
	b.g.Notes = append(b.g.Notes, fmt.Sprintf(format, args...))
}

func (b *builder) add(place int, it Item, arch albs.Arch) {
	n := Node{Item: it.Item, Package: it.Package, Arch: arch}
	var facts *albs.SpecFacts
	switch i := slices.IndexFunc(it.Facts, func(f albs.SpecFacts) bool { return f.Arch == arch }); {
	case i < 0:
		b.note("%s %s: its spec file was not asked; it is built as listed", it.Package, arch)
	case it.Facts[i].Unknown != "":
		b.note("%s %s: its spec file could not be asked (%s); it is built as listed", it.Package, arch, it.Facts[i].Unknown)
	default:
		facts = &it.Facts[i]
		n.Excluded = facts.Excluded()
		if facts.Dynamic && n.Excluded == "" {
			b.note("%s %s: what %%generate_buildrequires asks for is known when it is built, and has no edge", it.Package, arch)
		}
	}
	b.g.Nodes = append(b.g.Nodes, n)
	b.item, b.facts = append(b.item, place), append(b.facts, facts)
}

// edge adds a requirement to the edge between two nodes.
func (b *builder) edge(from, to int, requirement string, soft bool) {
	at := [2]int{from, to}
	i, ok := b.index[at]
	if !ok {
		i = len(b.g.Edges)
		b.index[at] = i
		b.g.Edges = append(b.g.Edges, Edge{From: from, To: to, Soft: soft})
	}
	e := &b.g.Edges[i]
	if len(e.Requires) < maxRequires && !slices.Contains(e.Requires, requirement) {
		e.Requires = append(e.Requires, requirement)
	}
}

// connect adds the edges that follow from facts.
func (b *builder) connect() {
	type key struct {
		arch albs.Arch
		name string
	}
	type place struct {
		item int
		arch albs.Arch
	}
	makes := make(map[key][]int)     // nodes by what they make for their arch
	noarch := make(map[string][]int) // nodes by what they make without an arch
	built := make(map[place]bool)    // what is built for which arch
	for n, f := range b.facts {
		if f == nil || b.g.Nodes[n].Excluded != "" {
			continue
		}
		built[place{b.item[n], f.Arch}] = true
		for _, p := range f.Packages {
			for _, name := range append([]string{p.Name}, p.Provides...) {
				k := key{f.Arch, name}
				if l := makes[k]; len(l) == 0 || l[len(l)-1] != n {
					makes[k] = append(l, n)
				}
				if l := noarch[name]; p.Noarch && (len(l) == 0 || l[len(l)-1] != n) {
					noarch[name] = append(l, n)
				}
			}
		}
	}
	for n, f := range b.facts {
		if f == nil || b.g.Nodes[n].Excluded != "" {
			continue
		}
		for _, r := range f.Requires {
			for _, name := range namesIn(r) {
				for _, m := range makes[key{f.Arch, name}] {
					if m != n {
						b.edge(n, m, r, false)
					}
				}
				for _, m := range noarch[name] {
					if b.item[m] != b.item[n] && !built[place{b.item[m], f.Arch}] {
						b.edge(n, m, r, false)
					}
				}
			}
		}
	}
}

// assume connects nodes of which nothing is known with those of their arch as they
// were listed: each such node with all back to the one before it of its kind, which
// stands for what lies further back.
func (b *builder) assume() {
	behind := make(map[albs.Arch][]int) // the last unknown node of an arch and all since
	for n, f := range b.facts {
		if b.g.Nodes[n].Excluded != "" {
			continue
		}
		arch := b.g.Nodes[n].Arch
		if f == nil {
			for _, m := range behind[arch] {
				b.edge(n, m, asListed, true)
			}
			behind[arch] = []int{n}
			continue
		}
		if l := behind[arch]; len(l) > 0 && b.facts[l[0]] == nil {
			b.edge(n, l[0], asListed, true)
		}
		behind[arch] = append(behind[arch], n)
	}
}

// breakAsked breaks circles where the request said.
func (b *builder) breakAsked(breaks []Break) {
	component := b.components()
	for _, br := range breaks {
		found, broken := false, false
		for i := range b.g.Edges {
			e := &b.g.Edges[i]
			if b.g.Nodes[e.From].Package != br.Package || b.g.Nodes[e.To].Package != br.Needs {
				continue
			}
			found = true
			if component[e.From] == component[e.To] {
				e.Broken, broken = "as asked", true
			}
		}
		switch {
		case !found:
			b.note("break %s→%s: %s doesn't need %s", br.Package, br.Needs, br.Package, br.Needs)
		case !broken:
			b.note("break %s→%s: that need is on no cycle, and is met", br.Package, br.Needs)
		}
	}
	// What was asked for is shown with the cycles that it breaks.
	needs := b.needs(true)
	for _, e := range b.g.Edges {
		if e.Broken != "" {
			b.show(shortest(needs, component, e.To, e.From))
		}
	}
}

// breakRest breaks what circles are left.
func (b *builder) breakRest() {
	for {
		component := b.components()
		var inside []int // edges that are on some circle
		soft := false
		for i, e := range b.g.Edges {
			if e.Broken == "" && component[e.From] == component[e.To] {
				inside = append(inside, i)
				soft = soft || e.Soft
			}
		}
		if len(inside) == 0 {
			return
		}
		if soft {
			for _, i := range inside {
				if b.g.Edges[i].Soft {
					b.g.Edges[i].Broken = "only the listing asks for it, and it is on a cycle"
				}
			}
			continue
		}
		cycles := b.cyclesThrough(inside, component)
		for _, c := range cycles {
			b.show(c)
		}
		// One edge of each component in a round: they don't know of each other.
		on := make(map[int]int)    // cycles by edge
		all := make(map[int]int)   // cycles by component
		worst := make(map[int]int) // edge by component
		for _, c := range cycles {
			all[component[c[0]]]++
			for k, from := range c {
				on[b.edgeAt(from, c[(k+1)%len(c)])]++
			}
		}
		for _, i := range inside {
			c := component[b.g.Edges[i].From]
			if w, ok := worst[c]; !ok || on[i] > on[w] {
				worst[c] = i
			}
		}
		for c, i := range worst {
			b.g.Edges[i].Broken = fmt.Sprintf("it lies on %d of %d cycles", on[i], all[c])
		}
	}
}

// edgeAt returns the place of an edge by its ends, once edges are sorted.
func (b *builder) edgeAt(from, to int) int {
	i, _ := slices.BinarySearchFunc(b.g.Edges, [2]int{from, to}, func(e Edge, at [2]int) int {
		if e.From != at[0] {
			return e.From - at[0]
		}
		return e.To - at[1]
	})
	return i
}

// cyclesThrough returns the shortest circle through each of the edges, each circle
// once, from its first node on.
func (b *builder) cyclesThrough(edges, component []int) [][]int {
	var out [][]int
	seen := make(map[string]bool)
	needs := b.needs(false)
	for _, i := range edges {
		c := canonical(shortest(needs, component, b.g.Edges[i].To, b.g.Edges[i].From))
		if k := fmt.Sprint(c); !seen[k] {
			seen[k] = true
			out = append(out, c)
		}
	}
	return out
}

// canonical turns a circle so that its first node in the order of listing leads.
func canonical(c []int) []int {
	i := slices.Index(c, slices.Min(c))
	return slices.Concat(c[i:], c[:i])
}

// show adds a circle to those that are shown.
func (b *builder) show(c []int) {
	c = canonical(c)
	if len(b.g.Cycles) < maxCycles && !slices.ContainsFunc(b.g.Cycles, func(o Cycle) bool { return slices.Equal(o.Nodes, c) }) {
		b.g.Cycles = append(b.g.Cycles, Cycle{c})
	}
}

// needs returns the edges that leave each node, broken ones too if whole.
func (b *builder) needs(whole bool) [][]int {
	out := make([][]int, len(b.g.Nodes))
	for _, e := range b.g.Edges {
		if whole || e.Broken == "" {
			out[e.From] = append(out[e.From], e.To)
		}
	}
	return out
}

// shortest returns the nodes of a shortest way between two nodes of one component,
// which never leaves it.
func shortest(needs [][]int, component []int, from, to int) []int {
	came := map[int]int{from: -1}
	for queue := []int{from}; len(queue) > 0; queue = queue[1:] {
		n := queue[0]
		if n == to {
			var way []int
			for ; n >= 0; n = came[n] {
				way = append(way, n)
			}
			slices.Reverse(way)
			return way
		}
		for _, m := range needs[n] {
			if _, ok := came[m]; !ok && component[m] == component[from] {
				came[m] = n
				queue = append(queue, m)
			}
		}
	}
	return nil
}

// components numbers the nodes so that two have one number exactly if each needs the
// other, directly or not (Tarjan).
func (b *builder) components() []int {
	needs := b.needs(false)
	n := len(b.g.Nodes)
	at, low, component := make([]int, n), make([]int, n), make([]int, n)
	on := make([]bool, n)
	var stack []int
	clock, count := 0, 0
	type frame struct{ node, next int }
	for start := range n {
		if at[start] != 0 {
			continue
		}
		for frames := []frame{{node: start}}; len(frames) > 0; {
			f := &frames[len(frames)-1]
			v := f.node
			if f.next == 0 {
				clock++
				at[v], low[v], on[v] = clock, clock, true
				stack = append(stack, v)
			}
			if f.next < len(needs[v]) {
				w := needs[v][f.next]
				f.next++
				if at[w] == 0 {
					frames = append(frames, frame{node: w})
				} else if on[w] {
					low[v] = min(low[v], at[w])
				}
				continue
			}
			frames = frames[:len(frames)-1]
			if len(frames) > 0 {
				u := frames[len(frames)-1].node
				low[u] = min(low[u], low[v])
			}
			if low[v] == at[v] {
				for {
					w := stack[len(stack)-1]
					stack = stack[:len(stack)-1]
					on[w], component[w] = false, count
					if w == v {
						break
					}
				}
				count++
			}
		}
	}
	return component
}

// namesIn returns the names in a requirement, of a rich one all that it mentions.
func namesIn(requirement string) []string {
	if !strings.HasPrefix(requirement, "(") {
		name, _, _ := strings.Cut(requirement, " ")
		return []string{name}
	}
	var out []string
	version := false
	for _, w := range strings.Fields(requirement) {
		w = strings.TrimLeft(w, "(")
		for strings.HasSuffix(w, ")") && strings.Count(w, ")") > strings.Count(w, "(") {
			w = w[:len(w)-1]
		}
		switch {
		case version:
			version = false
		case slices.Contains([]string{"<", "<=", "=", ">=", ">"}, w):
			version = true
		case !slices.Contains([]string{"", "and", "or", "if", "else", "with", "without", "unless"}, w):
			out = append(out, w)
		}
	}
	return out
}
