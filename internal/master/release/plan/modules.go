package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"albs/internal/repodata/record"
)

// Module is a stream of a module in one repository of a plan.
type Module struct {
	// Action is Add or Remove for what the repository's modules record has more or less than
	// what is shown, and empty for what stays.
	Action  Action `json:"action,omitempty"`
	Name    string `json:"name"`
	Stream  string `json:"stream"`
	Version string `json:"version"`
	Context string `json:"context"`
	// Packages is how many of the plan's are the stream's.
	Packages int `json:"packages,omitempty"`
}

// modular returns why a package of a module can't go into a repository of binary packages,
// "" if it can: dnf takes what no stream of the repository's record lists for a package of
// no module, and gives it to everybody.
func (f Facts) modular(c Candidate, path string) string {
	name, rest, _ := strings.Cut(c.Module, ":")
	stream, _, _ := strings.Cut(rest, ":")
	if name == "" || stream == "" {
		return fmt.Sprintf("the label of its module is %.100q and not name:stream:version:context", c.Module)
	}
	there := false
	for _, s := range f.Streams[path] {
		if s.Name != name || s.Stream != stream {
			continue
		}
		if slices.Contains(s.Packages, c.NEVRA) {
			return ""
		}
		there = true
	}
	if there {
		return fmt.Sprintf("it is of the module %s:%s, and the modules of %s have that stream and don't list it, so that readers would take it for a package of no module; give the repository modules that do (albs repo metadata set), or exclude it", name, stream, path)
	}
	return fmt.Sprintf("it is of the module %s:%s, and the modules of %s don't have that stream; give the repository modules that do (albs repo metadata set), or exclude it", name, stream, path)
}

// modules tells which streams a repository gains and loses, and of which streams the
// packages are that go into it.
func (m *maker) modules(r *Repository) {
	type key struct{ name, stream, version, context string }
	keyOf := func(s record.Stream) key { return key{s.Name, s.Stream, s.Version, s.Context} }
	has := func(all []record.Stream, k key) bool {
		return slices.ContainsFunc(all, func(s record.Stream) bool { return keyOf(s) == k })
	}
	of := map[string]int{} // packages by what names one in a stream
	for _, c := range r.Packages {
		if c.Module != "" {
			of[c.NEVRA]++
		}
	}
	shown := m.facts.Shown[r.Path].Streams
	seen := map[key]bool{}
	add := func(action Action, s record.Stream) {
		k := keyOf(s)
		if seen[k] {
			return
		}
		seen[k] = true
		one := Module{Action: action, Name: s.Name, Stream: s.Stream, Version: s.Version, Context: s.Context}
		for _, n := range s.Packages {
			one.Packages += of[n.String()]
		}
		if action != "" || one.Packages > 0 {
			r.Modules = append(r.Modules, one)
		}
	}
	for _, s := range m.facts.Streams[r.Path] {
		action := Add
		if has(shown, keyOf(s)) {
			action = ""
		}
		add(action, s)
	}
	for _, s := range shown {
		if !has(m.facts.Streams[r.Path], keyOf(s)) {
			add(Remove, s)
		}
	}
	slices.SortFunc(r.Modules, func(a, b Module) int {
		return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Stream, b.Stream), strings.Compare(a.Version, b.Version), strings.Compare(a.Context, b.Context))
	})
}
