package picture

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestLay(t *testing.T) {
	t.Parallel()
	e := func(from, to int) Edge { return Edge{From: from, To: to} }
	for _, tt := range []struct {
		name    string
		boxes   int
		edges   []Edge
		columns []int
		drawn   []bool
	}{
		{"nothing", 0, nil, []int{}, []bool{}},
		{"one", 1, nil, []int{0}, []bool{}},
		{"a chain, whatever the listing", 3, []Edge{e(2, 1), e(1, 0)}, []int{2, 1, 0}, []bool{true, true}},
		{"what follows from others isn't drawn", 3, []Edge{e(0, 1), e(1, 2), e(0, 2)}, []int{0, 1, 2}, []bool{true, true, false}},
		{"a diamond with a tail", 5, []Edge{e(0, 1), e(0, 2), e(1, 3), e(2, 3), e(0, 4), e(3, 4)}, []int{0, 1, 1, 2, 3}, []bool{true, true, true, true, false, true}},
		{"a loose edge leads back and has no say", 2, []Edge{e(0, 1), {From: 1, To: 0, Loose: true}}, []int{0, 1}, []bool{true, true}},
		{"a loose edge within a column", 2, []Edge{{From: 1, To: 0, Loose: true}}, []int{0, 0}, []bool{true}},
		{"a circle", 3, []Edge{e(0, 1), e(1, 0), e(1, 2)}, []int{0, 1, 2}, []bool{true, true, true}},
		{"to itself", 1, []Edge{e(0, 0)}, []int{0}, []bool{false}},
	} {
		heights := make([]int, tt.boxes)
		for i := range heights {
			heights[i] = 40 + 20*i
		}
		p := check(t, tt.name, heights, tt.edges)
		columns, drawn := []int{}, []bool{}
		for _, b := range p.Boxes {
			columns = append(columns, b.Column)
		}
		for _, l := range p.Lines {
			drawn = append(drawn, l != "")
		}
		if d := cmp.Diff([]any{tt.columns, tt.drawn}, []any{columns, drawn}); d != "" {
			t.Errorf("%s: columns and lines (-want +got):\n%s", tt.name, d)
		}
	}
}

// check lays a graph out and sees that no box lies on another or outside, that equal
// input gives an equal picture, and that lines begin and end at their boxes.
func check(t *testing.T, name string, heights []int, edges []Edge) Picture {
	t.Helper()
	p := Lay(heights, edges)
	if d := cmp.Diff(p, Lay(heights, edges)); d != "" {
		t.Errorf("%s: laid out twice it differs: %s", name, d)
	}
	for i, b := range p.Boxes {
		if b.X < 0 || b.Y < 0 || b.X+BoxWidth > p.Width || b.Y+b.Height > p.Height || b.Height != heights[i] {
			t.Errorf("%s: box %d is %+v in a picture of %d×%d", name, i, b, p.Width, p.Height)
		}
		for k, o := range p.Boxes[:i] {
			if o.Column == b.Column && o.Y < b.Y+b.Height+boxGap-2 && b.Y < o.Y+o.Height+boxGap-2 {
				t.Errorf("%s: box %d %+v lies on box %d %+v", name, i, b, k, o)
			}
		}
	}
	at := make(map[string]int)
	for i, l := range p.Lines {
		if l == "" {
			continue
		}
		if k, ok := at[l]; ok {
			t.Errorf("%s: edges %d and %d are one line %s", name, k, i, l)
		}
		at[l] = i
		from, to := p.Boxes[edges[i].From], p.Boxes[edges[i].To]
		var x, y int
		if _, err := fmt.Sscanf(l, "M%d %d", &x, &y); err != nil || x != from.X && x != from.X+BoxWidth || y < from.Y || y > from.Y+from.Height {
			t.Errorf("%s: edge %d begins at %d,%d of %+v to %+v: %s", name, i, x, y, from, to, l)
		}
		if !edges[i].Loose && from.Column < to.Column && x != from.X+BoxWidth {
			t.Errorf("%s: edge %d doesn't lead from left to right: %s", name, i, l)
		}
	}
	return p
}

// TestLayAny: any graph, with circles and edges that lead nowhere new, is laid out.
func TestLayAny(t *testing.T) {
	t.Parallel()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	for range 200 {
		heights := make([]int, 1+r.IntN(40))
		for i := range heights {
			heights[i] = 30 + r.IntN(60)
		}
		seen := make(map[[2]int]bool)
		var edges []Edge
		for range r.IntN(3 * len(heights)) {
			e := Edge{From: r.IntN(len(heights)), To: r.IntN(len(heights)), Loose: r.IntN(5) == 0}
			if !seen[[2]int{e.From, e.To}] {
				seen[[2]int{e.From, e.To}] = true
				edges = append(edges, e)
			}
		}
		check(t, fmt.Sprint(len(heights), " boxes ", edges), heights, edges)
	}
}

// TestArrange: columns that are listed crosswise are put so that no lines cross.
func TestArrange(t *testing.T) {
	t.Parallel()
	p := Lay([]int{40, 40, 40, 40, 40, 40}, []Edge{{From: 0, To: 5}, {From: 1, To: 4}, {From: 2, To: 3}})
	for _, pair := range [][2]int{{0, 5}, {1, 4}, {2, 3}} {
		if p.Boxes[pair[0]].Y != p.Boxes[pair[1]].Y {
			t.Errorf("boxes %v are at %d and %d", pair, p.Boxes[pair[0]].Y, p.Boxes[pair[1]].Y)
		}
	}
}

func BenchmarkLay(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 2))
	heights := make([]int, 300)
	var edges []Edge
	for i := range heights {
		heights[i] = 60
		for range min(i, 3) {
			edges = append(edges, Edge{From: r.IntN(i), To: i})
		}
	}
	for b.Loop() {
		Lay(heights, edges)
	}
}
