package integrity

import (
	"context"
	"path"
	"slices"
	"strings"

	"albs/internal/sandbox/examine"
)

// Where libraries of packages may lie, and where they never do: anybody can write there,
// it is somebody's home, or it was the folder of a build.
var (
	mayHold  = []string{"/usr/", "/lib/", "/lib64/", "/opt/"}
	mustNot  = []string{"/usr/src/", "/usr/tmp/"}
	ofBuilds = []string{"/builddir/", "/BUILD/", "/BUILDROOT/", "/rpmbuild/"}
)

// rpaths judges where objects look for libraries before they look anywhere else.
func (c *check) rpaths(ctx context.Context, l *loader, list []examine.Entry) error {
	if l.over {
		c.say(RuleRPath, tooMuch)
		return nil
	}
	type place struct{ by, dir, as string }
	var places []place
	for _, e := range list {
		for _, p := range []*string{e.ELF.RPath, e.ELF.RunPath} {
			if p == nil {
				continue
			}
			dirs, wrong := splitRPath(*p)
			if wrong != "" {
				c.say(RuleRPath, "%s looks for libraries in %q, which %s", e.Path, *p, wrong)
			}
			if l.spend(len(dirs)); l.over {
				c.say(RuleRPath, tooMuch)
				return nil
			}
			for _, dir := range dirs {
				as := l.expand(&loadedObject{path: e.Path, elf: e.ELF}, dir)
				if wrong := badFolder(dir, as); wrong != "" {
					c.say(RuleRPath, "%s looks for libraries in %s, which %s", e.Path, dir, wrong)
					continue
				}
				as = path.Clean(as) + "/." // what a link leads to
				l.at(as)
				places = append(places, place{e.Path, dir, as})
			}
		}
	}
	if len(l.wanted) > 0 {
		if err := l.look(ctx); err != nil {
			return err
		}
	}
	for _, p := range places {
		if e, _ := l.at(p.as); e.Kind == examine.Dir && e.Mode&0o002 != 0 {
			c.say(RuleRPath, "%s looks for libraries in %s, where anybody can write", p.by, p.dir)
		}
	}
	return nil
}

// splitRPath returns the folders of a path once each, and what is wrong with the whole.
func splitRPath(p string) (dirs []string, wrong string) {
	if p == "" {
		return nil, "is empty"
	}
	for dir := range strings.SplitSeq(p, ":") {
		switch {
		case dir == "" && strings.HasSuffix(p, ":"):
			wrong = "ends in a colon: that is the folder in which the program is started"
		case dir == "":
			wrong = "has an empty part: that is the folder in which the program is started"
		case !slices.Contains(dirs, dir):
			dirs = append(dirs, dir)
		}
	}
	return dirs, wrong
}

// badFolder says what is wrong with a folder of an object, which stands for as; "" if
// nothing is.
func badFolder(dir, as string) string {
	if !path.IsAbs(as) || strings.HasPrefix(dir, "$LIB") || strings.HasPrefix(dir, "${LIB}") {
		return "is relative to the folder in which the program is started"
	}
	clean := path.Clean(as) + "/"
	has := func(list []string, test func(s, part string) bool) bool {
		return slices.ContainsFunc(list, func(part string) bool { return test(clean, part) })
	}
	switch {
	case has(ofBuilds, strings.Contains):
		return "was a folder of the build"
	case !has(mayHold, strings.HasPrefix) || has(mustNot, strings.HasPrefix):
		return "is no place for libraries of packages"
	}
	return ""
}
