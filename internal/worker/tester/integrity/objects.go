package integrity

import (
	"cmp"
	"context"
	"path"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/sandbox/examine"
)

// objects judges the programs and libraries of the package: whether what they need is
// found, and where they look for it.
func (c *check) objects(ctx context.Context) error {
	var list []examine.Entry
	for _, f := range c.Package.Files { // in the header's order
		if e, ok := c.entries[f.Path]; ok && loadable(e) {
			list = append(list, e)
		}
	}
	if len(list) == 0 || c.Package.Debug() {
		c.skipped[RuleLibraries] = "the package has no programs and no libraries"
		c.skipped[RuleRPath] = c.skipped[RuleLibraries]
		return nil
	}
	l, err := c.newLoader(ctx, list)
	if err != nil {
		return err
	}
	own := slices.DeleteFunc(slices.Clone(list), func(e examine.Entry) bool { return !l.native(e.ELF) })
	for _, e := range own {
		if e.ELF.Fault != "" {
			c.say(RuleLibraries, "%s is broken: %s", e.Path, e.ELF.Fault)
		}
	}
	if err := c.libraries(ctx, l, own); err != nil {
		return err
	}
	return c.rpaths(ctx, l, own)
}

// loadable reports whether e is an object that is meant to be loaded: it may be executed,
// or has the name of a library. What lies about as data isn't judged, nor are debug data.
func loadable(e examine.Entry) bool {
	base := path.Base(e.Path)
	return e.Kind == examine.File && e.ELF != nil && (e.ELF.Dynamic || e.ELF.Interp != "" || e.ELF.Fault != "") &&
		(e.Mode&0o111 != 0 || strings.HasSuffix(base, ".so") || strings.Contains(base, ".so.")) &&
		!strings.HasPrefix(e.Path, "/usr/lib/debug/") && !strings.HasPrefix(e.Path, "/usr/src/debug/")
}

// Bounds of the search for libraries: what a package says of itself could send it on for
// days.
const (
	maxPlaces = 200_000    // paths that are looked at
	maxSteps  = 50_000_000 // places that are thought of
	maxSearch = 4096       // of them for one library
	maxRounds = 64         // the depth of what needs what
	maxLoaded = 4096       // libraries of one program
)

// tooMuch is what is wrong with a package whose search passes a bound.
const tooMuch = "its programs look for libraries in more places than can be searched"

// libraries says what is needed and not found.
func (c *check) libraries(ctx context.Context, l *loader, list []examine.Entry) error {
	for range maxRounds {
		missing := make([][]string, len(list))
		for i, e := range list {
			missing[i] = l.load(e)
		}
		if l.over {
			c.say(RuleLibraries, tooMuch)
			return nil
		}
		if len(l.wanted) > 0 {
			if err := l.look(ctx); err != nil {
				return err
			}
			continue
		}
		for i, e := range list {
			for _, m := range missing[i] {
				c.say(RuleLibraries, "%s %s", e.Path, m)
			}
		}
		return nil
	}
	c.say(RuleLibraries, "libraries need libraries in a chain of more than %d", maxRounds)
	return nil
}

// machine is a kind of processor as ELF and as libraries' folders name it.
type machine struct {
	bits     int
	big      bool
	code     uint16 // e_machine
	triplet  string // of Debian's folders
	platform string // what $PLATFORM stands for
}

// machines are those whose objects a root of an arch can load.
var machines = map[albs.Arch][]machine{
	albs.X8664:   {{64, false, 62, "x86_64-linux-gnu", "x86_64"}, {32, false, 3, "i386-linux-gnu", "i686"}},
	albs.I686:    {{32, false, 3, "i386-linux-gnu", "i686"}},
	albs.AArch64: {{64, false, 183, "aarch64-linux-gnu", "aarch64"}},
	albs.PPC64LE: {{64, false, 21, "powerpc64le-linux-gnu", "power8"}},
	albs.S390X:   {{64, true, 22, "s390x-linux-gnu", "z900"}},
	albs.RISCV64: {{64, false, 243, "riscv64-linux-gnu", "riscv64"}},
}

// loader finds libraries as ld.so does: by the paths in objects, then in its cache, then
// in its own folders. It is a model of it that runs nothing.
type loader struct {
	view     View
	machines []machine
	known    map[string]examine.Entry
	wanted   map[string]bool     // paths that must be known to go on
	cache    map[string][]string // ld.so.cache: name of a library → paths, best first
	own      map[string]string   // libraries of the package by the name that others need them by
	debian   map[uint16]bool     // machines whose libraries lie in folders of Debian's kind
	asked    int
	steps    int
	over     bool // a bound was passed: nothing more is looked for
}

func (c *check) newLoader(ctx context.Context, list []examine.Entry) (*loader, error) {
	arch := c.Arch
	if arch == albs.X8664v2 {
		arch = albs.X8664
	}
	l := &loader{view: c.view, machines: machines[arch], known: map[string]examine.Entry{}, wanted: map[string]bool{}, own: map[string]string{}, debian: map[uint16]bool{}}
	for _, e := range list {
		l.known[e.Path] = e
		if e.ELF.Interp == "" {
			l.own[cmp.Or(e.ELF.Soname, path.Base(e.Path))] = e.Path
		}
	}
	b, err := c.readFile(ctx, "/etc/ld.so.cache", maxCache)
	if err != nil {
		return nil, err
	}
	l.cache = readCache(b)
	for _, m := range l.machines {
		l.at("/usr/lib/" + m.triplet)
	}
	if len(l.wanted) == 0 {
		return l, nil
	}
	if err := l.look(ctx); err != nil {
		return nil, err
	}
	for _, m := range l.machines {
		e, _ := l.at("/usr/lib/" + m.triplet)
		l.debian[m.code] = e.Kind == examine.Dir
	}
	return l, nil
}

// machine returns the machine of an object, nil if the root can't load it.
func (l *loader) machine(e *examine.ELF) *machine {
	for i, m := range l.machines {
		if m.bits == e.Bits && m.big == e.Big && m.code == e.Machine {
			return &l.machines[i]
		}
	}
	return nil
}

func (l *loader) native(e *examine.ELF) bool { return l.machine(e) != nil }

// at returns what lies at p, and whether that is known yet; else it is wanted.
func (l *loader) at(p string) (examine.Entry, bool) {
	e, ok := l.known[p]
	if ok || l.over {
		return e, ok
	}
	if l.asked+len(l.wanted) == maxPlaces {
		l.over = true
	} else {
		l.wanted[p] = true
	}
	return e, false
}

// spend counts places that are thought of.
func (l *loader) spend(n int) {
	if l.steps += n; l.steps > maxSteps {
		l.over = true
	}
}

// look gets to know what is wanted.
func (l *loader) look(ctx context.Context) error {
	asks := make([]examine.Ask, 0, len(l.wanted))
	for p := range l.wanted {
		asks = append(asks, examine.Ask{Path: p, ELF: true})
	}
	slices.SortFunc(asks, func(a, b examine.Ask) int { return strings.Compare(a.Path, b.Path) })
	l.asked += len(asks)
	entries, err := l.view.Examine(ctx, asks)
	if err != nil {
		return err
	}
	for _, e := range entries {
		l.known[e.Path] = e
	}
	clear(l.wanted)
	return nil
}

// folders returns those that every object of e's machine is looked for in.
func (l *loader) folders(e *examine.ELF) []string {
	switch m := l.machine(e); {
	case m == nil:
		return nil
	case l.debian[m.code]:
		return []string{"/lib/" + m.triplet, "/usr/lib/" + m.triplet, "/lib", "/usr/lib"}
	case m.bits == 64:
		return []string{"/lib64", "/usr/lib64"}
	}
	return []string{"/lib", "/usr/lib"}
}

// loadedObject is an object on its way into a process.
type loadedObject struct {
	path string
	elf  *examine.ELF
	by   *loadedObject // what needs it
}

// load follows what the object needs, and what that needs, and returns what isn't found,
// as ends of sentences. Where something isn't known yet the answer is not whole.
func (l *loader) load(start examine.Entry) (missing []string) {
	have := map[string]bool{} // names by which something is loaded already
	if i := start.ELF.Interp; i != "" {
		if e, ok := l.at(i); ok && (e.Leads != examine.File && e.Kind != examine.File) {
			missing = append(missing, "is to be loaded by "+i+", which isn't there")
		}
		have[path.Base(i)] = true
	}
	queue := []*loadedObject{{path: start.Path, elf: start.ELF}}
	for n := 0; n < len(queue) && !l.over; n++ {
		o := queue[n]
		for _, name := range o.elf.Needed {
			if l.spend(1); have[name] {
				continue
			}
			if len(queue) == maxLoaded {
				return append(missing, "needs more libraries than can be looked for")
			}
			places := l.places(o, name)
			if start.ELF.Interp == "" {
				places = append(places, l.beside(o, name)...)
			}
			found, known := l.find(o, places)
			switch {
			case !known:
			case found == nil && o.by == nil:
				missing = append(missing, "needs "+name+", which isn't found")
			case found == nil:
				missing = append(missing, "needs "+name+", which isn't found (by "+o.path+")")
			default:
				have[name] = true
				if found.ELF.Soname != "" {
					have[found.ELF.Soname] = true
				}
				queue = append(queue, &loadedObject{path: found.Path, elf: found.ELF, by: o})
			}
		}
	}
	return missing
}

// find looks for a library that o needs: the first of the places that has one counts.
func (l *loader) find(o *loadedObject, places []string) (found *examine.Entry, known bool) {
	known = true
	l.spend(len(places))
	for _, p := range places {
		e, ok := l.at(p)
		switch {
		case !ok:
			known = false // the rest is asked for with it
		case known && e.ELF != nil && e.ELF.Fault == "" && e.ELF.Type == examine.TypeDyn && l.machine(e.ELF) != nil && l.machine(e.ELF) == l.machine(o.elf):
			return &e, true
		}
	}
	return nil, known
}

// places lists where a library that o needs may lie, in the order of ld.so(8).
func (l *loader) places(o *loadedObject, name string) []string {
	if strings.Contains(name, "/") {
		if p := l.expand(o, name); path.IsAbs(p) {
			return []string{p}
		}
		return nil
	}
	var list []string
	add := func(o *loadedObject, paths *string) {
		if paths == nil {
			return
		}
		for dir := range strings.SplitSeq(*paths, ":") {
			if len(list) == maxSearch {
				l.over = true
				return
			}
			// A relative one would be of the folder in which the program is started.
			if p := l.expand(o, dir); path.IsAbs(p) {
				list = append(list, path.Join(p, name))
			}
		}
	}
	if o.elf.RunPath == nil {
		for p := o; p != nil && !l.over; p = p.by {
			if p.elf.RunPath == nil {
				add(p, p.elf.RPath)
			}
		}
	}
	add(o, o.elf.RunPath)
	list = append(list, l.cache[name]...)
	for _, dir := range l.folders(o.elf) {
		list = append(list, dir+"/"+name)
	}
	return list
}

// beside lists where else a library may lie that o needs, if o is one in a folder of its
// own: ld.so doesn't look there, but whoever loads o has its own ways to, and may well have
// loaded the other first.
func (l *loader) beside(o *loadedObject, name string) []string {
	dir := path.Dir(o.path)
	if strings.Contains(name, "/") || slices.Contains(l.folders(o.elf), dir) {
		return nil
	}
	places := []string{path.Join(dir, name)}
	if p := l.own[name]; p != "" {
		places = append(places, p)
	}
	return places
}

// expand puts in what the tokens of ld.so(8) stand for.
func (l *loader) expand(o *loadedObject, p string) string {
	if !strings.Contains(p, "$") {
		return p
	}
	m := l.machine(o.elf)
	if m == nil {
		return p
	}
	lib := "lib"
	switch {
	case l.debian[m.code]:
		lib = "lib/" + m.triplet
	case m.bits == 64:
		lib = "lib64"
	}
	origin := path.Dir(o.path)
	return strings.NewReplacer("${ORIGIN}", origin, "$ORIGIN", origin, "${LIB}", lib, "$LIB", lib, "${PLATFORM}", m.platform, "$PLATFORM", m.platform).Replace(p)
}
