package order

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/build"
	"albs/internal/master/build/graph"
	"albs/internal/master/queue"
)

// ordering is a build for two arches and its graph: app needs lib and tool; lib and tool
// need each other, which is cut; old isn't for aarch64.
func ordering(states map[string]albs.TaskState) (build.Build, build.PlatformGraph) {
	b := build.Build{ID: 7}
	g := build.PlatformGraph{Platform: "el9", Order: build.Auto}
	task := albs.TaskID(10)
	for i, name := range []string{"app", "lib", "tool", "old"} {
		it := build.Item{ID: albs.ItemID(i + 1), Platform: "el9", Package: name, Arches: []albs.Arch{albs.X8664, albs.AArch64}}
		for _, a := range it.Arches {
			task++
			s := states[name+" "+string(a)]
			if s == "" {
				s = states[name]
			}
			it.Tasks = append(it.Tasks, build.Task{Task: queue.Task{ID: task, Kind: albs.KindBuild, State: s}, Arch: a})
			n := graph.Node{Item: it.ID, Package: name, Arch: a}
			if name == "old" && a == albs.AArch64 {
				n.Excluded = "ExcludeArch names aarch64"
			}
			g.Nodes = append(g.Nodes, n)
		}
		b.Items = append(b.Items, it)
	}
	edge := func(from, to, arch int, requires, broken string) {
		g.Edges = append(g.Edges, graph.Edge{From: 2*from + arch, To: 2*to + arch, Requires: []string{requires}, Broken: broken})
	}
	for arch := range 2 {
		edge(0, 1, arch, fmt.Sprintf("lib-devel%d", arch), "")
		edge(0, 2, arch, "tool", "")
		edge(1, 2, arch, "tool", "")
		edge(2, 1, arch, "lib", "it lies on 1 of 1 cycles")
	}
	edge(3, 1, 0, "lib", "")
	g.Cycles = []graph.Cycle{{Nodes: []int{2, 4}}}
	return b, g
}

// told spells a graph: packages in their order with step, and needs with how they stand.
func told(v Graph) []string {
	var out []string
	for _, p := range v.Packages {
		out = append(out, fmt.Sprintf("%d %s", p.Step, p.Name))
		for _, n := range p.Needs {
			out = append(out, strings.TrimSpace(fmt.Sprintf("%s %s for %s %v %s", n.Class, n.Package, strings.Join(n.Requires, ","), n.Arches, n.Broken)))
		}
	}
	return out
}

func TestGraphView(t *testing.T) {
	t.Parallel()
	ok, blocked, failed, leased := albs.TaskSucceeded, albs.TaskBlocked, albs.TaskFailed, albs.TaskLeased
	for _, tt := range []struct {
		name   string
		states map[string]albs.TaskState
		want   []string
	}{
		{"in the making", map[string]albs.TaskState{"app": blocked, "lib": leased, "tool": ok, "old": blocked}, []string{
			"1 tool", "cut lib for lib [] it lies on 1 of 1 cycles", "2 lib", "met tool for tool []", "3 app", "awaited lib for lib-devel0,lib-devel1 []", "met tool for tool []", "3 old", "awaited lib for lib []",
		}},
		{"one arch has failed", map[string]albs.TaskState{"app": blocked, "lib": ok, "lib aarch64": failed, "tool": ok, "old": ok}, []string{
			"1 tool", "cut lib for lib [] it lies on 1 of 1 cycles", "2 lib", "met tool for tool []", "3 app", "vain lib for lib-devel0,lib-devel1 []", "met tool for tool []", "3 old", "met lib for lib []",
		}},
	} {
		b, g := ordering(tt.states)
		v := Of(b, g, 10)
		if d := cmp.Diff(tt.want, told(v)); d != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, d)
		}
		if v.Steps != 3 || v.Needs != 5 || v.Implied != 1 || len(v.Lines) != 4 || v.Width == 0 || len(v.Cycles) != 1 {
			t.Errorf("%s: %d steps, %d needs, %d implied, %d lines, %d wide, cycles %q", tt.name, v.Steps, v.Needs, v.Implied, len(v.Lines), v.Width, v.Cycles)
		}
		old := v.Packages[3]
		if old.Rows[1].State != string(albs.TaskExcluded) || old.Rows[1].Why != "ExcludeArch names aarch64" || old.Rows[1].Task != 18 {
			t.Errorf("%s: the arch that is excluded is %+v", tt.name, old.Rows[1])
		}
	}

	// A need of one arch of two names it; one that is cut for one arch only is awaited.
	b, g := ordering(nil)
	g.Edges = g.Edges[:1]
	g.Edges = append(g.Edges, graph.Edge{From: 4, To: 2, Requires: []string{"lib"}, Broken: "as asked"}, graph.Edge{From: 5, To: 3, Requires: []string{"lib"}})
	want := []string{"1 lib", "1 old", "2 app", "awaited lib for lib-devel0 [x86_64]", "2 tool", "awaited lib for lib []"}
	if d := cmp.Diff(want, told(Of(b, g, 10))); d != "" {
		t.Errorf("arches apart (-want +got):\n%s", d)
	}

	// What is too large, or no matter of needs, is listed only.
	if v := Of(b, g, 3); v.Width != 0 || len(v.Lines) != 0 || v.Steps != 2 {
		t.Errorf("four packages where three are drawn: %d wide, %d steps", v.Width, v.Steps)
	}
	g.Order = build.Listed
	if v := Of(b, g, 10); v.Width != 0 || v.Steps != 2 {
		t.Errorf("the order listed is drawn, %d wide, %d steps", v.Width, v.Steps)
	}
}

// TestManyNeeds bounds what a page tells of one package.
func TestManyNeeds(t *testing.T) {
	t.Parallel()
	var b build.Build
	g := build.PlatformGraph{Platform: "el9", Order: build.Auto}
	for i := range 2000 {
		g.Nodes = append(g.Nodes, graph.Node{Item: albs.ItemID(i + 1), Package: fmt.Sprint("p", i), Arch: albs.X8664})
		for k := range min(i, 30) {
			g.Edges = append(g.Edges, graph.Edge{From: i, To: i - 1 - k, Requires: []string{"x"}})
		}
		g.Notes = append(g.Notes, "x")
	}
	v := Of(b, g, 100)
	last := v.Packages[1999]
	if v.Width != 0 || v.Steps != 2000 || len(last.Needs) != MaxNeeds || last.More != 10 || len(v.Notes) != MaxTold+1 || !slices.Contains(v.Notes, "and 1950 notes more") {
		t.Errorf("%d wide, %d steps, %d needs and %d more, %d notes", v.Width, v.Steps, len(last.Needs), last.More, len(v.Notes))
	}
}
