// Package picture lays out a graph for people to look at: boxes in columns, each to the
// right of those that come before it, and lines between them.
//
// It is pure, and knows nothing of what the boxes stand for: equal input gives an equal
// picture. Lengths are pixels.
package picture

import (
	"fmt"
	"slices"
	"strings"
)

// Measures of a picture.
const (
	BoxWidth  = 170
	columnGap = 54
	boxGap    = 16
	margin    = 8
	bulge     = 44 // of a line between boxes of one column
)

// Edge is a line from one box to another, both by their place.
type Edge struct {
	From, To int
	// Loose: it has no say in what comes before what.
	Loose bool
}

// Box is where a box is drawn, by its upper left corner.
type Box struct {
	X, Y, Height int
	Column       int // from 0
}

// Picture is a graph that was laid out.
type Picture struct {
	Width, Height int
	Columns       int
	Boxes         []Box
	// Lines are SVG paths from From to To, "" of an edge that isn't drawn because others
	// lead the same way.
	Lines []string
}

// cell is what takes place in a column: a box, or a line on its way through.
type cell struct {
	box     int // -1 for a line
	height  int
	at      float64 // the middle
	before  []*cell // in the column to the left
	behind  []*cell
	ordinal int // in its column
}

// Lay lays out boxes of the given heights. Edges that aren't loose lead from left to
// right as long as they close no circle.
func Lay(heights []int, edges []Edge) Picture {
	column := Columns(len(heights), edges)
	drawn := reduced(len(heights), edges, column)
	p := Picture{Boxes: make([]Box, len(heights)), Lines: make([]string, len(edges))}
	for _, c := range column {
		p.Columns = max(p.Columns, c+1)
	}
	cells := make([][]*cell, p.Columns)
	boxes := make([]*cell, len(heights))
	add := func(col, box, height int) *cell {
		c := &cell{box: box, height: height, ordinal: len(cells[col])}
		cells[col] = append(cells[col], c)
		return c
	}
	for i, h := range heights {
		boxes[i] = add(column[i], i, h)
	}
	ways := make([][]*cell, len(edges)) // from left to right, with both ends
	for i, e := range edges {
		if !drawn[i] {
			continue
		}
		left, right := e.From, e.To
		if column[left] > column[right] {
			left, right = right, left
		}
		ways[i] = []*cell{boxes[left]}
		for c := column[left] + 1; c < column[right]; c++ {
			ways[i] = append(ways[i], add(c, -1, 0))
		}
		ways[i] = append(ways[i], boxes[right])
		if column[left] == column[right] {
			continue
		}
		for k, c := range ways[i][1:] {
			c.before = append(c.before, ways[i][k])
			ways[i][k].behind = append(ways[i][k].behind, c)
		}
	}
	arrange(cells)
	place(cells)
	top, bottom := 0.0, 0.0
	for _, col := range cells {
		for _, c := range col {
			top, bottom = min(top, c.at-float64(c.height)/2), max(bottom, c.at+float64(c.height)/2)
		}
	}
	for _, col := range cells {
		for _, c := range col {
			c.at += margin - top
		}
	}
	p.Width = 2*margin + p.Columns*BoxWidth + max(p.Columns-1, 0)*columnGap
	p.Height = 2*margin + int(bottom-top)
	for i, c := range boxes {
		p.Boxes[i] = Box{X: left(column[i]), Y: int(c.at) - c.height/2, Height: c.height, Column: column[i]}
	}
	ports := portsOf(ways, edges, column)
	for i, e := range edges {
		switch {
		case !drawn[i]:
		case column[e.From] == column[e.To]:
			x := left(column[e.From]) + BoxWidth
			p.Lines[i] = fmt.Sprintf("M%d %dC%d %d %d %d %d %d", x, int(boxes[e.From].at), x+bulge, int(boxes[e.From].at), x+bulge, int(boxes[e.To].at), x, int(boxes[e.To].at))
			p.Width = max(p.Width, x+bulge)
		default:
			p.Lines[i] = path(ways[i], min(column[e.From], column[e.To]), ports[i], column[e.From] > column[e.To])
		}
	}
	return p
}

// left is where a column begins.
func left(column int) int { return margin + column*(BoxWidth+columnGap) }

// Columns returns the column of each of n boxes: the first behind all that come before it. Where
// boxes come before each other in a circle, the first that is left leads.
func Columns(n int, edges []Edge) []int {
	column, open := make([]int, n), make([]int, n)
	behind := make([][]int, n)
	for _, e := range edges {
		if !e.Loose && e.From != e.To {
			behind[e.From] = append(behind[e.From], e.To)
			open[e.To]++
		}
	}
	done := make([]bool, n)
	for range n {
		next := slices.IndexFunc(open, func(k int) bool { return k == 0 })
		if next < 0 {
			next = slices.Index(done, false)
		}
		done[next], open[next] = true, -1
		for _, b := range behind[next] {
			if !done[b] {
				column[b] = max(column[b], column[next]+1)
				open[b]--
			}
		}
	}
	return column
}

// reduced says which edges are drawn: loose ones, those that lead back, and of the rest
// those whose ends aren't joined by others.
func reduced(n int, edges []Edge, column []int) []bool {
	drawn := make([]bool, len(edges))
	behind := make([][]int, n)
	forth := func(e Edge) bool { return !e.Loose && column[e.From] < column[e.To] }
	for _, e := range edges {
		if forth(e) {
			behind[e.From] = append(behind[e.From], e.To)
		}
	}
	order := make([]int, n)
	for i := range order {
		order[i] = i
	}
	slices.SortStableFunc(order, func(a, b int) int { return column[b] - column[a] })
	reach := make([][]bool, n) // what lies behind a box, however far
	for _, i := range order {
		reach[i] = make([]bool, n)
		for _, b := range behind[i] {
			reach[i][b] = true
			for k, r := range reach[b] {
				reach[i][k] = reach[i][k] || r
			}
		}
	}
	for i, e := range edges {
		drawn[i] = e.From != e.To && (!forth(e) || !slices.ContainsFunc(behind[e.From], func(b int) bool { return reach[b][e.To] }))
	}
	return drawn
}

// sweeps is how often columns are put in order by their neighbours.
const sweeps = 8

// arrange orders the columns so that few lines cross: each cell goes to the mean of its
// neighbours' places; the best order that was found is kept.
func arrange(cells [][]*cell) {
	best, fewest := snapshot(cells), crossings(cells)
	for s := range sweeps {
		for k := range cells {
			col, neighbours := cells[k], func(c *cell) []*cell { return c.before }
			if s%2 == 1 {
				col, neighbours = cells[len(cells)-1-k], func(c *cell) []*cell { return c.behind }
			}
			wish := make(map[*cell]float64, len(col))
			for _, c := range col {
				wish[c] = mean(neighbours(c), float64(c.ordinal), func(n *cell) float64 { return float64(n.ordinal) })
			}
			slices.SortStableFunc(col, func(a, b *cell) int {
				switch {
				case wish[a] < wish[b]:
					return -1
				case wish[a] > wish[b]:
					return 1
				}
				return 0
			})
			number(col)
		}
		if n := crossings(cells); n < fewest {
			best, fewest = snapshot(cells), n
		}
	}
	for k := range cells {
		copy(cells[k], best[k])
		number(cells[k])
	}
}

func number(col []*cell) {
	for i, c := range col {
		c.ordinal = i
	}
}

func snapshot(cells [][]*cell) [][]*cell {
	out := make([][]*cell, len(cells))
	for k := range cells {
		out[k] = slices.Clone(cells[k])
	}
	return out
}

func mean(of []*cell, none float64, value func(*cell) float64) float64 {
	if len(of) == 0 {
		return none
	}
	sum := 0.0
	for _, c := range of {
		sum += value(c)
	}
	return sum / float64(len(of))
}

// crossings counts lines that cross between neighbouring columns.
func crossings(cells [][]*cell) int {
	n := 0
	for _, col := range cells {
		var ends []int // of lines to the next column, as they begin from above
		for _, c := range col {
			from := len(ends)
			for _, b := range c.behind {
				for _, e := range ends[:from] {
					if e > b.ordinal {
						n++
					}
				}
				ends = append(ends, b.ordinal)
			}
		}
	}
	return n
}

// place gives the cells their heights: near to the middle of their neighbours', in
// their order, with room between them.
func place(cells [][]*cell) {
	for _, col := range cells {
		y := 0.0
		for i, c := range col {
			if i > 0 {
				y += apart(col[i-1], c)
			}
			c.at = y
		}
	}
	for s := range sweeps {
		for k := range cells {
			if s%2 == 0 {
				settle(cells[k], func(c *cell) []*cell { return c.before })
			} else {
				settle(cells[len(cells)-1-k], func(c *cell) []*cell { return c.behind })
			}
		}
	}
}

// apart is how far the middles of two cells have to be from each other.
func apart(a, b *cell) float64 { return float64(a.height+b.height)/2 + boxGap }

// settle moves the cells of a column as near to their wishes as the room between them
// allows: least squares by pooling of neighbours that would come too near.
func settle(col []*cell, neighbours func(*cell) []*cell) {
	type pool struct {
		sum float64
		n   int
	}
	var pools []pool
	offset := make([]float64, len(col))
	for i, c := range col {
		if i > 0 {
			offset[i] = offset[i-1] + apart(col[i-1], c)
		}
		wish := mean(neighbours(c), c.at, func(n *cell) float64 { return n.at })
		pools = append(pools, pool{wish - offset[i], 1})
		for k := len(pools) - 1; k > 0 && pools[k-1].sum/float64(pools[k-1].n) > pools[k].sum/float64(pools[k].n); k-- {
			pools[k-1] = pool{pools[k-1].sum + pools[k].sum, pools[k-1].n + pools[k].n}
			pools = pools[:k]
		}
	}
	i := 0
	for _, p := range pools {
		for range p.n {
			col[i].at = p.sum/float64(p.n) + offset[i]
			i++
		}
	}
}

// portsOf says at which heights lines leave the box on their left and reach the one on
// their right: spread over its side, in the order of where they come from, so that no
// two lie upon each other.
func portsOf(ways [][]*cell, edges []Edge, column []int) [][2]int {
	type side struct {
		box   *cell
		right bool
	}
	type end struct {
		edge   int
		toward *cell
	}
	sides := make(map[side][]end)
	for i, way := range ways {
		if len(way) == 0 || column[edges[i].From] == column[edges[i].To] {
			continue
		}
		first, last := side{way[0], true}, side{way[len(way)-1], false}
		sides[first] = append(sides[first], end{i, way[1]})
		sides[last] = append(sides[last], end{i, way[len(way)-2]})
	}
	out := make([][2]int, len(ways))
	for s, ends := range sides {
		slices.SortStableFunc(ends, func(a, b end) int {
			if a.toward.ordinal != b.toward.ordinal {
				return a.toward.ordinal - b.toward.ordinal
			}
			return a.edge - b.edge
		})
		room := min(float64(s.box.height)/float64(len(ends)+1), 14)
		for k, e := range ends {
			y := int(s.box.at + (float64(k)-float64(len(ends)-1)/2)*room)
			if s.right {
				out[e.edge][0] = y
			} else {
				out[e.edge][1] = y
			}
		}
	}
	return out
}

// path is a line through cells from left to right, or, if back, from right to left.
func path(way []*cell, column int, ports [2]int, back bool) string {
	type point struct{ x, y int }
	points := []point{{left(column) + BoxWidth, ports[0]}}
	for i, c := range way[1 : len(way)-1] {
		x := left(column + 1 + i)
		points = append(points, point{x, int(c.at)}, point{x + BoxWidth, int(c.at)})
	}
	points = append(points, point{left(column + len(way) - 1), ports[1]})
	if back {
		slices.Reverse(points)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "M%d %d", points[0].x, points[0].y)
	for i := 1; i < len(points); i++ {
		from, to := points[i-1], points[i]
		if i%2 == 0 { // past a column
			fmt.Fprintf(&b, "H%d", to.x)
			continue
		}
		middle := (from.x + to.x) / 2
		fmt.Fprintf(&b, "C%d %d %d %d %d %d", middle, from.y, middle, to.y, to.x, to.y)
	}
	return b.String()
}
