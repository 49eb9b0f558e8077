// Package option has the rules of what a build asks for beside its sources: which
// options there are, what a package's own add to them, and what of them a platform can
// do. It does no I/O.
package option

import (
	"cmp"
	"maps"
	"regexp"
	"slices"

	"albs/internal/albs"
	"albs/internal/master/platform"
)

const maxOptions = 128

// Options are what a build, or one package of it, asks for beside its source. In JSON
// they have ALBS's names.
type Options struct {
	With    []string `json:"with,omitempty"` // names of conditionals
	Without []string `json:"without,omitempty"`
	// Define are macros, name without % → body. A dist of theirs takes the place of the
	// platform's.
	Define map[string]string `json:"definitions,omitempty"`
	// Excludes are packages that dnf may not take, names or patterns.
	Excludes []string `json:"yum_exclude,omitempty"`
	// Modules are the streams that are enabled in the root, name:stream.
	Modules []string `json:"module_enable,omitempty"`
	// TargetArch is rpmbuild's --target, where it isn't the arch that is built for.
	TargetArch albs.Arch `json:"target_arch,omitempty"`
	// Tests are what the packages are tested by, beside what test repositories have.
	Tests Tests `json:"test_configuration,omitzero"`
}

// Empty reports whether o asks for nothing.
func (o Options) Empty() bool {
	return len(o.With)+len(o.Without)+len(o.Define)+len(o.Excludes)+len(o.Modules) == 0 && o.TargetArch == "" && o.Tests.IsZero()
}

// And returns o with what p adds; of what can be said once only, p's word counts.
func (o Options) And(p Options) Options {
	out := Options{
		With: both(o.With, p.With), Without: both(o.Without, p.Without), Excludes: both(o.Excludes, p.Excludes),
		Modules: both(o.Modules, p.Modules), TargetArch: cmp.Or(p.TargetArch, o.TargetArch), Define: maps.Clone(o.Define),
		Tests: o.Tests.and(p.Tests),
	}
	if out.Define == nil {
		out.Define = map[string]string{}
	}
	maps.Copy(out.Define, p.Define)
	return out
}

// both returns the words of a and b, each once, in an order that doesn't depend on
// that of asking: equal options give equal roots.
func both(a, b []string) []string {
	out := slices.Concat(a, b)
	slices.Sort(out)
	return slices.Compact(out)
}

// Check returns an Invalid error that says what of o can't be done anywhere.
func (o Options) Check() error {
	if len(o.With)+len(o.Without)+len(o.Define)+len(o.Excludes)+len(o.Modules) > maxOptions {
		return albs.Errorf(albs.Invalid, "more than %d options", maxOptions)
	}
	for _, s := range slices.Concat(o.With, o.Without) {
		if !optionName(s) {
			return albs.Errorf(albs.Invalid, "option %.60q: a name has letters, digits and _ . - and begins with a letter", s)
		}
	}
	for _, s := range o.With {
		if slices.Contains(o.Without, s) {
			return albs.Errorf(albs.Invalid, "option %s is both switched on and off", s)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Define)) {
		if err := albs.CheckMacro(name, cmp.Or(o.Define[name], "%{nil}")); err != nil {
			return err
		}
	}
	for _, s := range o.Excludes {
		if err := albs.CheckExclude(s); err != nil {
			return err
		}
	}
	if err := o.Tests.check(); err != nil {
		return err
	}
	streams := map[string]string{}
	for _, s := range o.Modules {
		if err := albs.CheckModule(s); err != nil {
			return err
		}
		module := moduleName.FindString(s)
		if other := cmp.Or(streams[module], s); other != s {
			return albs.Errorf(albs.Invalid, "the modules %s and %s are two streams of one, of which a root can have one", other, s)
		}
		streams[module] = s
	}
	if o.TargetArch == "" {
		return nil
	}
	if _, err := albs.ParseArch(string(o.TargetArch)); err != nil {
		return albs.Errorf(albs.Invalid, "target_arch: %w", err)
	}
	return nil
}

var moduleName = regexp.MustCompile(`^[^:]*`)

// optionName reports whether s can be the name of a conditional: nothing in it
// can end an argument or begin a macro.
func optionName(s string) bool {
	for i, c := range []byte(s) {
		letter := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z'
		if !letter && (i == 0 || (c < '0' || c > '9') && c != '_' && c != '.' && c != '-') {
			return false
		}
	}
	return s != "" && len(s) <= 64
}

// Target is a platform of a request, with the arches wanted.
type Target struct {
	platform.Platform
	Wanted []albs.Arch
}

// TargetOf returns a platform of a request with the arches that it wants, all of the
// platform's if none; Invalid if one of them isn't the platform's or is named twice.
func TargetOf(p platform.Platform, wanted []albs.Arch) (Target, error) {
	if len(wanted) == 0 {
		wanted = p.Arches
	}
	for i, a := range wanted {
		if !slices.Contains(p.Arches, a) || slices.Contains(wanted[:i], a) {
			return Target{}, albs.Errorf(albs.Invalid, "platform %s is built for %v: %s is not among them or named twice", p.Name, p.Arches, a)
		}
	}
	return Target{Platform: p, Wanted: wanted}, nil
}

// TakesSecureBoot returns an Invalid error unless the platform is made for builds for
// secure boot.
func (t Target) TakesSecureBoot() error {
	if len(t.SecureBootMacros) == 0 {
		return albs.Errorf(albs.Invalid, "platform %s has no secure_boot_macros: nothing would be built otherwise for secure boot", t.Name)
	}
	return nil
}

// Takes returns an Invalid error unless the platform can do what the options ask for.
func (t Target) Takes(o Options) error {
	if len(o.Modules) > 0 && t.ModuleID == "" {
		return albs.Errorf(albs.Invalid, "platform %s has no modules, so %s can't be enabled", t.Name, o.Modules[0])
	}
	for _, a := range t.Wanted {
		if o.TargetArch != "" && !o.TargetArch.Within(t.Root(a)) {
			return albs.Errorf(albs.Invalid, "target_arch %s: the root for %s of platform %s makes no such packages; name the arches that it is meant for", o.TargetArch, a, t.Name)
		}
	}
	return nil
}

// Facts are what a platform said of an item's arches when the build was made.
type Facts struct {
	Weak  []albs.Arch             `json:"weak,omitempty"`
	Roots map[albs.Arch]albs.Arch `json:"roots,omitempty"` // of those whose root is of another arch
	// Rooms are what the item's tasks need of their workers, by kind.
	Rooms map[albs.TaskKind]Room `json:"rooms,omitempty"`
	// TestEngine is what makes the roots in which the item's packages are tested.
	TestEngine string `json:"test_engine,omitempty"`
	// Warning says what the platform would have otherwise, in one line.
	Warning string `json:"warning,omitempty"`
}

// Room is what a task needs of its worker's machine: cores, bytes of memory and of disk.
type Room struct {
	Cores  int   `json:"cores,omitempty"`
	Memory int64 `json:"memory,omitempty"`
	Disk   int64 `json:"disk,omitempty"`
}

// Facts returns what an item of that package keeps of its platform. An arch is weak
// beside the one that it follows only: alone, its failure is the build's.
func (t Target) Facts(pkg string) Facts {
	out := Facts{Roots: map[albs.Arch]albs.Arch{}, Rooms: map[albs.TaskKind]Room{}, TestEngine: t.TestEngine}
	for _, kind := range []albs.TaskKind{albs.KindSource, albs.KindBuild, albs.KindTest} {
		r := t.RoomOf(kind, pkg)
		out.Rooms[kind] = Room{Cores: r.Cores, Memory: int64(r.Memory), Disk: int64(r.Disk)}
	}
	for _, w := range t.WeakArches {
		if slices.Contains(t.Wanted, w.Name) && slices.Contains(t.Wanted, w.DependsOn) {
			out.Weak = append(out.Weak, w.Name)
		}
	}
	for _, a := range t.Wanted {
		if root := t.Root(a); root != a {
			out.Roots[a] = root
		}
	}
	return out
}

// Host returns the label of the nodes that can make and enter roots for arch.
func (f Facts) Host(arch albs.Arch) string {
	return "arch:" + string(cmp.Or(f.Roots[arch], arch).Host())
}

// minor finds in a ref the dist tag of a minor release, as in
// imports/c9/bind-9.16.23-11.el9_2.1.
var minor = regexp.MustCompile(`(?:^|[^A-Za-z0-9])el([0-9]+)_([0-9]+)`)

// distOf returns the dist tag that a ref asks for on a platform whose own is dist: that
// of a minor release of the same distribution. Else it is "".
func distOf(ref, dist string) string {
	m := minor.FindStringSubmatch(ref)
	if m == nil || dist != ".el"+m[1] {
		return ""
	}
	return dist + "_" + m[2]
}

// Switches returns rpmbuild's, for a ref on a platform of a dist tag. A dist that a
// person asked for holds, then the one of the ref, then the platform's.
func (o Options) Switches(ref, dist string) albs.Switches {
	s := albs.Switches{With: o.With, Without: o.Without, Define: maps.Clone(o.Define)}
	if _, asked := s.Define["dist"]; asked {
		return s
	}
	if tag := distOf(ref, dist); tag != "" {
		if s.Define == nil {
			s.Define = map[string]string{}
		}
		s.Define["dist"] = tag
	}
	return s
}
