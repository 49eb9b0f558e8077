// Package order tells who needs whom among a build's packages as a page shows it: a
// package is one thing with its arches in it, and a need says whether it is met.
//
// It is pure; package graph of build has found the needs, and package picture knows
// where they are drawn.
package order

import (
	"fmt"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/ui/picture"
)

// Bounds of what is told.
const (
	MaxNeeds = 20 // of one package
	MaxTold  = 50 // cycles, and notes
)

// Graph is who needs whom among a build's packages for a platform. Package graph
// knows it by arch; here a package is one thing, with its arches in it.
type Graph struct {
	Build    albs.BuildID
	Platform string
	Order    build.Order
	Waits    string // why it isn't known yet
	Packages []Package
	Needs    int // of all packages
	Implied  int // of these, those that the picture leaves out
	Steps    int
	Cycles   []string
	Notes    []string
	Width    int // of the picture; 0 if there is none
	Height   int
	Lines    []Line
}

// Package is a package of the build, and where its box is.
type Package struct {
	Item  albs.ItemID
	Name  string
	Step  int // from 1
	State status.State
	Rows  []Row
	Needs []Need
	More  int // needs that aren't listed
	Box   picture.Box
}

// Row is its rebuild for an arch.
type Row struct {
	Arch  albs.Arch
	Task  albs.TaskID
	State string // for lookOf
	Why   string
	Y     int
}

// Need is another package that it needs.
type Need struct {
	Package  string
	Requires []string
	Arches   []albs.Arch // that need it, if not all do
	Class    string      // met, awaited, vain or cut
	Broken   string      // why it isn't awaited

	place int // of the other
}

// Line is a line of the picture, from what is needed to what needs it.
type Line struct{ Path, Class, Title string }

// The heights of a box's parts, in pixels.
const (
	boxHead = 28
	boxRow  = 19
	boxFoot = 6
)

// Of lays a graph of a build out, with a picture of up to most packages.
func Of(b build.Build, g build.PlatformGraph, most int) Graph {
	v := Graph{Build: b.ID, Platform: g.Platform, Order: g.Order, Waits: g.Waits, Notes: g.Notes}
	items := make(map[albs.ItemID]build.Item)
	for _, it := range b.Items {
		items[it.ID] = it
	}
	place := make(map[albs.ItemID]int)
	arches := make(map[int]int) // of each package, those that are built
	for _, n := range g.Nodes {
		i, ok := place[n.Item]
		if !ok {
			i = len(v.Packages)
			place[n.Item] = i
			v.Packages = append(v.Packages, Package{Item: n.Item, Name: n.Package, State: items[n.Item].Status.State})
		}
		t := taskFor(items[n.Item], n.Arch)
		row := Row{Arch: n.Arch, Task: t.ID, State: string(t.State), Why: t.Reason}
		if n.Excluded != "" {
			row.State, row.Why = string(albs.TaskExcluded), n.Excluded
		} else {
			arches[i]++
		}
		v.Packages[i].Rows = append(v.Packages[i].Rows, row)
	}
	for _, e := range g.Edges {
		from, to := g.Nodes[e.From], g.Nodes[e.To]
		p := &v.Packages[place[from.Item]]
		if from.Item == to.Item {
			continue
		}
		class := needClass(taskFor(items[from.Item], from.Arch), taskFor(items[to.Item], to.Arch), e.Broken != "")
		k := slices.IndexFunc(p.Needs, func(n Need) bool { return n.place == place[to.Item] })
		if k < 0 {
			p.Needs = append(p.Needs, Need{Package: to.Package, Requires: e.Requires, Arches: []albs.Arch{from.Arch}, Class: class, Broken: e.Broken, place: place[to.Item]})
			v.Needs++
			continue
		}
		n := &p.Needs[k]
		for _, r := range e.Requires {
			if !slices.Contains(n.Requires, r) {
				n.Requires = append(slices.Clip(n.Requires), r)
			}
		}
		if !slices.Contains(n.Arches, from.Arch) {
			n.Arches = append(n.Arches, from.Arch)
		}
		if worse[class] > worse[n.Class] {
			n.Class = class
		}
		if n.Class != Cut {
			n.Broken = ""
		}
	}
	for _, c := range g.Cycles[:min(len(g.Cycles), MaxTold)] {
		v.Cycles = append(v.Cycles, g.Names(c))
	}
	if extra := len(g.Cycles) - MaxTold; extra > 0 {
		v.Cycles = append(v.Cycles, fmt.Sprintf("and %d cycles more", extra))
	}
	if extra := len(v.Notes) - MaxTold; extra > 0 {
		v.Notes = append(slices.Clone(v.Notes[:MaxTold]), fmt.Sprintf("and %d notes more", extra))
	}
	v.draw(most)
	for i := range v.Packages {
		p := &v.Packages[i]
		for k := range p.Needs {
			if len(p.Needs[k].Arches) >= arches[i] {
				p.Needs[k].Arches = nil
			}
		}
		if p.More = max(len(p.Needs)-MaxNeeds, 0); p.More > 0 {
			p.Needs = p.Needs[:MaxNeeds]
		}
	}
	slices.SortStableFunc(v.Packages, func(x, y Package) int { return x.Step - y.Step })
	return v
}

// draw finds the steps in which the packages follow each other, and makes a picture of
// up to most packages. An order that doesn't follow from needs is no picture.
func (v *Graph) draw(most int) {
	heights := make([]int, len(v.Packages))
	var edges []picture.Edge
	var needs []*Need
	var titles []string
	for i := range v.Packages {
		p := &v.Packages[i]
		heights[i] = boxHead + boxRow*len(p.Rows) + boxFoot
		for k := range p.Needs {
			n := &p.Needs[k]
			edges = append(edges, picture.Edge{From: n.place, To: i, Loose: n.Class == Cut})
			needs = append(needs, n)
			titles = append(titles, p.Name+" needs "+n.Package)
		}
	}
	for i, c := range picture.Columns(len(heights), edges) {
		v.Packages[i].Step = c + 1
		v.Steps = max(v.Steps, c+1)
	}
	if len(v.Packages) > most || len(edges) == 0 || v.Order != build.Auto {
		return
	}
	pic := picture.Lay(heights, edges)
	v.Width, v.Height = pic.Width, pic.Height
	for i := range v.Packages {
		p := &v.Packages[i]
		p.Box = pic.Boxes[i]
		for k := range p.Rows {
			p.Rows[k].Y = p.Box.Y + boxHead + boxRow*k
		}
	}
	for i, l := range pic.Lines {
		if l == "" {
			v.Implied++
			continue
		}
		v.Lines = append(v.Lines, Line{l, needs[i].Class, titles[i]})
	}
	// What holds something up lies on top.
	slices.SortStableFunc(v.Lines, func(a, b Line) int { return worse[a.Class] - worse[b.Class] })
}

// How a need stands.
const (
	Cut     = "cut"     // nobody waits for it
	Met     = "met"     // what is needed is there
	Awaited = "awaited" // it is still to come
	Vain    = "vain"    // it has failed, and somebody waits for it
)

// worse orders how needs stand: of a package the worst of its arches counts.
var worse = map[string]int{Cut: 0, Met: 1, Awaited: 2, Vain: 3}

func needClass(from, to build.Task, broken bool) string {
	switch {
	case broken:
		return Cut
	case to.State == albs.TaskSucceeded || to.State == albs.TaskExcluded:
		return Met
	case from.State == albs.TaskBlocked && (to.State == albs.TaskFailed || to.State == albs.TaskCancelled || to.State == albs.TaskBlocked && to.Cause != 0):
		return Vain
	}
	return Awaited
}

// taskFor is the rebuild of an item for an arch.
func taskFor(it build.Item, arch albs.Arch) build.Task {
	for _, t := range it.Tasks {
		if t.Kind == albs.KindBuild && t.Arch == arch {
			return t
		}
	}
	return build.Task{}
}
