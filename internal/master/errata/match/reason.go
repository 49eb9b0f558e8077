package match

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// reason says in one sentence why a package answers.
func (x *Index) reason(w wanted, f found) string {
	where := fmt.Sprintf("build %d has", f.Build)
	if f.Released {
		where = fmt.Sprintf("a repository for %s has", x.platform)
	}
	var s string
	switch f.strength {
	case Exact:
		s = where + " it in exactly this version"
	case Equal:
		s = fmt.Sprintf("%s it as %s, which is %s but for what tells who built it", where, f.EVR(), w.evr)
	case Newer:
		s = fmt.Sprintf("%s %s, which is newer than %s and of the same line", where, f.EVR(), w.EVR())
	case Source:
		s = fmt.Sprintf("%s %s, which isn't %s, but was built from %s, which is the source that the notice names", where, f.EVR(), w.EVR(), f.Package.Source)
	}
	if f.Arch != w.Arch {
		s += fmt.Sprintf("; it is %s here and %s in the notice", f.Arch, w.Arch)
	}
	if f.module != w.module {
		s += fmt.Sprintf("; it is in %s, which goes with %s", f.module, w.module)
	}
	return s
}

// lack says in one sentence why nothing answers, by what came nearest.
func (x *Index) lack(w wanted) string {
	near := w.shelf
	if len(near) == 0 {
		return fmt.Sprintf("nothing of %s was built for %s", w.Name, x.platform)
	}
	arches := keep(near, func(c candidate) bool { return archAnswers(w.Arch, c.Arch) })
	if len(arches) == 0 {
		return fmt.Sprintf("%s was built for %s, not for %s", w.Name, words(near, func(c candidate) string { return c.Arch }), w.Arch)
	}
	near = keep(arches, func(c candidate) bool { return moduleAnswers(w.module, c.module) })
	if len(near) == 0 {
		return fmt.Sprintf("%s was built in %s, and is wanted in %s", w.Name, words(arches, func(c candidate) string { return module(c.module) }), module(w.module))
	}
	newest := slices.MaxFunc(near, func(a, b candidate) int { return cmp.Compare(w.seen(a).rank, w.seen(b).rank) })
	if w.order(w.seen(newest)) < 0 {
		return fmt.Sprintf("the newest %s, of build %d, is %s, older than %s", w.Name, newest.Build, newest.EVR(), w.EVR())
	}
	return fmt.Sprintf("build %d has %s of %s, which is of another line of versions than %s", newest.Build, newest.EVR(), w.Name, w.EVR())
}

func module(stream string) string {
	if stream == "" {
		return "no module"
	}
	return "the module " + stream
}

func keep(cs []candidate, f func(candidate) bool) []candidate {
	return slices.DeleteFunc(slices.Clone(cs), func(c candidate) bool { return !f(c) })
}

// maxWords is how many of the words that differ a sentence has.
const maxWords = 5

// words lists what candidates have, each once.
func words(cs []candidate, of func(candidate) string) string {
	var all []string
	for _, c := range cs {
		all = append(all, of(c))
	}
	slices.Sort(all)
	all = slices.Compact(all)
	if n := len(all) - maxWords; n > 0 {
		all = append(all[:maxWords], fmt.Sprintf("%d others", n))
	}
	if n := len(all); n > 1 {
		return strings.Join(all[:n-1], ", ") + " and " + all[n-1]
	}
	return all[0]
}
