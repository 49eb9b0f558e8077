package buildroot

import (
	"bytes"
	"cmp"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// What is here reads rpm's words and checks those of the job; no I/O.

// queryFormat makes rpm print a fact a line, after a word that says which.
const queryFormat = `[requires %{REQUIRENEVRS}\n][exclusive %{EXCLUSIVEARCH}\n][exclude %{EXCLUDEARCH}\n][file %{FILENAMES}\n]`

// header is what an SRPM says of itself, as far as it matters here.
type header struct {
	requires           []string // without rpmlib(…)
	exclusive, exclude []string
	spec               string
}

var specName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+~^-]{0,250}\.spec$`)

// parseHeader reads the answer to queryFormat.
func parseHeader(text string) header {
	var h header
	for line := range strings.Lines(text) {
		what, value, ok := strings.Cut(strings.TrimRight(line, "\n"), " ")
		if !ok || value == "" || value == "(none)" {
			continue
		}
		switch what {
		case "requires":
			if !strings.HasPrefix(value, "rpmlib(") {
				h.requires = append(h.requires, value)
			}
		case "exclusive":
			h.exclusive = append(h.exclusive, value)
		case "exclude":
			h.exclude = append(h.exclude, value)
		case "file":
			if specName.MatchString(value) {
				h.spec = value
			}
		}
	}
	slices.Sort(h.requires)
	h.requires = slices.Compact(h.requires)
	return h
}

// excluded says why the package isn't for arch by its tags, or "".
func (h header) excluded(arch albs.Arch) string {
	return albs.ExcludedArch(h.exclusive, h.exclude, arch)
}

// exclusion finds rpmbuild's own refusal of the architecture in its last words.
func exclusion(said []byte) string {
	for line := range bytes.Lines(said) {
		text, ok := strings.CutPrefix(strings.TrimSpace(string(line)), "error: ")
		if ok && (strings.HasPrefix(text, "Architecture is not included: ") || strings.HasPrefix(text, "Architecture is excluded: ") ||
			strings.HasPrefix(text, "No compatible architectures found for build")) {
			return text
		}
	}
	return ""
}

// cause returns what in the last words of rpm or rpmbuild tells best why it failed.
func cause(said []byte) string {
	const most = 4
	var why []string
	last, following := "", false
	for line := range bytes.Lines(said) {
		l := strings.TrimRight(strings.ToValidUTF8(string(line), "?"), " \r\n")
		if strings.TrimSpace(l) == "" {
			continue
		}
		last = strings.TrimSpace(l)
		switch text, ok := strings.CutPrefix(l, "error: "); {
		case ok && len(why) < most && !slices.Contains(why, text):
			why = append(why, text)
			following = strings.HasSuffix(text, ":") // the names come on lines of their own
		case following && (l[0] == '\t' || l[0] == ' ') && len(why) < 2*most:
			why = append(why, last)
		default:
			following = false
		}
	}
	if len(why) == 0 {
		why = []string{last}
	}
	text := strings.Join(why, "; ")
	if len(text) > 500 {
		text = text[:500] + "…"
	}
	return strings.ToValidUTF8(text, "")
}

var option = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_+.-]{0,99}$`)

// arguments returns the switches as rpmbuild's arguments, in one order for equal
// ones. A macro's body is expanded inside the root and nowhere else.
func arguments(s albs.Switches) ([]string, error) {
	var args []string
	for i, names := range [][]string{s.With, s.Without} {
		for _, n := range names {
			if !option.MatchString(n) {
				return nil, albs.Errorf(albs.Invalid, "build option %.60q is not one plain word", n)
			}
			args = append(args, []string{"--with", "--without"}[i], n)
		}
	}
	if _, err := albs.MacroFile(s.Define); err != nil {
		return nil, err
	}
	for _, name := range slices.Sorted(maps.Keys(s.Define)) {
		args = append(args, "--define", name+" "+cmp.Or(s.Define[name], "%{nil}")) // rpm has no empty bodies
	}
	return args, nil
}

// checkSpecPath returns the folders of specs and sources, relative to the tree, for
// the spec at p.
func checkSpecPath(p string) (specs, sources string, err error) {
	if p != path.Clean(p) || path.IsAbs(p) || strings.HasPrefix(p, "../") || !specName.MatchString(path.Base(p)) ||
		strings.ContainsFunc(p, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`%"'\$`, c) }) {
		return "", "", albs.Errorf(albs.Invalid, "%.100q is not the path of a spec file in a tree", p)
	}
	specs = path.Dir(p)
	if path.Base(specs) == "SPECS" {
		return specs, path.Join(path.Dir(specs), "SOURCES"), nil
	}
	return specs, specs, nil
}

// checkSource refuses a source that isn't one file beside the others.
func checkSource(name string) error {
	if name == "" || name != path.Base(name) || name[0] == '.' || len(name) > 255 || strings.ContainsFunc(name, func(c rune) bool { return c < ' ' || c == 0x7f }) {
		return albs.Errorf(albs.Invalid, "%.100q is not the name of a source file", name)
	}
	return nil
}
