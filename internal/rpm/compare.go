package rpm

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// scripts are the tags whose texts are scripts or say when and by what they run, by
// what a difference in them is called.
var scripts = []struct {
	name string
	tags []uint32
}{
	{"%pre", []uint32{tagPreIn, tagPreInProg}},
	{"%post", []uint32{tagPostIn, tagPostInProg}},
	{"%preun", []uint32{tagPreUn, tagPreUnProg}},
	{"%postun", []uint32{tagPostUn, tagPostUnProg}},
	{"%pretrans", []uint32{tagPreTrans, tagPreTransProg}},
	{"%posttrans", []uint32{tagPostTrans, tagPostTransProg}},
	{"%trigger", []uint32{tagTriggerScripts, tagTriggerNames, tagTriggerProg}},
	{"%filetrigger", []uint32{tagFileTriggerScripts, tagFileTriggerNames, tagFileTriggerProg}},
	{"%transfiletrigger", []uint32{tagTransFileTriggerScripts, tagTransFileTriggerNames, tagTransFileTriggerProg}},
}

// readScripts keeps scripts by their digests: they are compared and never run here.
func (p *Package) readScripts(d *decoder) {
	for _, s := range scripts {
		var all []string
		for _, tag := range s.tags {
			t := d.texts(tag)
			all = append(all, fmt.Sprintf("%q", t.all()))
		}
		if text := strings.Join(all, "\n"); strings.Trim(text, "[]\n") != "" {
			if p.Scripts == nil {
				p.Scripts = make(map[string]albs.Digest)
			}
			p.Scripts[s.name] = albs.DigestOf([]byte(text))
		}
	}
}

// maxDifferences bounds what Differences returns; a package may have 100,000 files.
const maxDifferences = 20

// Differences says in what two builds of one package differ for those who install it:
// in files, scripts and dependencies. When and where it was built counts for nothing,
// nor do the times of files. It compares what the headers claim.
func Differences(a, b *Package) []string {
	var out []string
	if a.NEVRA != b.NEVRA {
		return []string{fmt.Sprintf("one is %s, the other %s", a.NEVRA, b.NEVRA)}
	}
	out = append(out, changed("file", files(a), files(b))...)
	out = append(out, changed("script", a.Scripts, b.Scripts)...)
	for _, list := range []struct {
		name string
		a, b []Dependency
	}{
		{"provides", a.Provides, b.Provides}, {"requires", a.Requires, b.Requires}, {"conflicts", a.Conflicts, b.Conflicts},
		{"obsoletes", a.Obsoletes, b.Obsoletes}, {"recommends", a.Recommends, b.Recommends}, {"suggests", a.Suggests, b.Suggests},
		{"supplements", a.Supplements, b.Supplements}, {"enhances", a.Enhances, b.Enhances},
	} {
		out = append(out, changed(list.name, dependencies(list.a), dependencies(list.b))...)
	}
	if n := len(out) - maxDifferences; n > 0 {
		out = append(out[:maxDifferences], fmt.Sprintf("%d more", n))
	}
	return out
}

func files(p *Package) map[string]string {
	out := make(map[string]string, len(p.Files))
	for _, f := range p.Files {
		out[f.Path] = fmt.Sprintf("%o %x %d %s %s %s %s", f.Mode, f.Flags, f.Size, f.Digest, f.Link, f.User, f.Group)
		if f.Dir() {
			out[f.Path] = fmt.Sprintf("%o %x %s %s", f.Mode, f.Flags, f.User, f.Group) // its size is the file system's
		}
	}
	return out
}

func dependencies(list []Dependency) map[string]bool {
	out := make(map[string]bool, len(list))
	for _, d := range list {
		out[d.String()] = true
	}
	return out
}

// changed lists what is in one of two maps only, or differs.
func changed[V comparable](what string, a, b map[string]V) []string {
	var out []string
	for _, k := range slices.Sorted(maps.Keys(a)) {
		if v, ok := b[k]; !ok {
			out = append(out, what+" "+k+" is in the first only")
		} else if v != a[k] {
			out = append(out, what+" "+k+" differs")
		}
	}
	for _, k := range slices.Sorted(maps.Keys(b)) {
		if _, ok := a[k]; !ok {
			out = append(out, what+" "+k+" is in the second only")
		}
	}
	return out
}

// debugForm is how rpmbuild names packages of debug data.
var debugForm = regexp.MustCompile(`-debug(info|source)(-|$)`)

// Debug reports whether a package of that name holds debug data, as rpmbuild names
// them.
func (n NEVRA) Debug() bool { return debugForm.MatchString(n.Name) }
