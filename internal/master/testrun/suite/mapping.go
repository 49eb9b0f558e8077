package suite

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// RulesFile is where, below the folder of tests, a repository says by patterns which
// packages its folders test. The form is that of ALBS: one JSON object, pattern → folder.
const RulesFile = "common/test_rules.json"

// Bounds of what one repository says.
const (
	maxRulesFile = 256 << 10 // bytes
	maxPatterns  = 500
	maxPattern   = 200    // bytes of one
	maxMappings  = 10_000 // of one repository, scanned and by hand
	maxFolder    = 200    // bytes of a folder's name
	maxSpot      = 40     // bytes of a file that are shown where it is wrong
)

// Mapping says that packages are tested by a folder of a repository.
type Mapping struct {
	ID         int64  `db:"id"`
	Repository int64  `db:"repository_id"`
	Package    string `db:"package"` // a name; with Pattern, one of RE2 for whole names
	Pattern    bool   `db:"pattern"`
	Folder     string `db:"folder"`  // below the repository's TestsDir
	Scanned    bool   `db:"scanned"` // a scan found it; else a person said so
}

var packageForm = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._+-]{0,199}$`)

// Check returns an Invalid error that says what in m is wrong.
func (m Mapping) Check() error {
	if m.Pattern {
		if _, err := compile(m.Package); err != nil {
			return err
		}
	} else if !packageForm.MatchString(m.Package) {
		return albs.Errorf(albs.Invalid, "package %.80q: give the name of a package, without its version", m.Package)
	}
	return checkFolder(m.Folder)
}

// compile returns a pattern that matches whole names: of what merely has it somewhere in
// its name a package isn't tested.
func compile(pattern string) (*regexp.Regexp, error) {
	if pattern == "" || len(pattern) > maxPattern || !plain(pattern) {
		return nil, albs.Errorf(albs.Invalid, "the pattern %.80q isn't one of 1 to %d characters", pattern, maxPattern)
	}
	re, err := regexp.Compile(`^(?:` + pattern + `)$`)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "the pattern %.80q can't be read: %v", pattern, err)
	}
	return re, nil
}

func checkFolder(name string) error {
	if !fs.ValidPath(name) || name == "." || len(name) > maxFolder || !plain(name) || name[0] == '-' {
		return albs.Errorf(albs.Invalid, "folder %.80q: give a path below the folder of tests, without steps up, of at most %d bytes", name, maxFolder)
	}
	return nil
}

// plain reports whether s is text of one line.
func plain(s string) bool {
	return strings.ToValidUTF8(s, "") == s && !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r == 0x7f })
}

// Layout says where in a repository the tests are.
type Layout struct {
	TestsDir    string `db:"tests_dir"`    // ends in a slash; "" is the top
	TestsPrefix string `db:"tests_prefix"` // with which the names of folders begin
}

func (l Layout) check() error {
	dir, ok := strings.CutSuffix(l.TestsDir, "/")
	if l.TestsDir != "" && (!ok || checkFolder(dir) != nil) {
		return albs.Errorf(albs.Invalid, "tests_dir %.80q: give the path of a folder that ends in a slash, or nothing for the top of the repository", l.TestsDir)
	}
	if len(l.TestsPrefix) > maxFolder || !plain(l.TestsPrefix) || strings.ContainsAny(l.TestsPrefix, "/\\") {
		return albs.Errorf(albs.Invalid, "tests_prefix %.80q: give what the names of the folders begin with, without slashes", l.TestsPrefix)
	}
	return nil
}

// Find returns what a commit says of which folders test which packages: each folder of
// TestsDir whose name is TestsPrefix and the name of a package, and what rules, the content
// of RulesFile, say; nil if there is none. files are the paths of the commit's files. What
// is wrong in rules is Invalid and says where; too many mappings are TooLarge.
func (l Layout) Find(files []string, rules []byte) ([]Mapping, error) {
	var out []Mapping
	last := ""
	for _, name := range files {
		below, ok := strings.CutPrefix(name, l.TestsDir)
		if !ok {
			continue
		}
		folder, _, ok := strings.Cut(below, "/")
		if !ok || folder == last {
			continue
		}
		last = folder
		pkg, ok := strings.CutPrefix(folder, l.TestsPrefix)
		if !ok || folder == "common" || checkFolder(folder) != nil || !packageForm.MatchString(pkg) {
			continue
		}
		out = append(out, Mapping{Package: pkg, Folder: folder, Scanned: true})
	}
	if rules != nil {
		byRule, err := parseRules(rules)
		if err != nil {
			return nil, err
		}
		out = append(out, byRule...)
	}
	slices.SortFunc(out, compare)
	out = slices.Compact(out)
	if len(out) > maxMappings {
		return nil, albs.Errorf(albs.TooLarge, "the repository maps more than %d folders", maxMappings)
	}
	return out, nil
}

func compare(a, b Mapping) int {
	if c := strings.Compare(a.Package, b.Package); c != 0 {
		return c
	}
	if c := strings.Compare(a.Folder, b.Folder); c != 0 || a.Pattern == b.Pattern {
		return c
	}
	if b.Pattern {
		return -1
	}
	return 1
}

// parseRules reads a RulesFile.
func parseRules(text []byte) ([]Mapping, error) {
	d := json.NewDecoder(bytes.NewReader(text))
	bad := func(at int64, format string, args ...any) error {
		at = min(at, int64(len(text)))
		line := bytes.Count(text[:at], []byte("\n")) + 1
		return albs.Errorf(albs.Invalid, RulesFile+", line %d: %w", line, albs.Errorf(albs.Invalid, format, args...))
	}
	broken := func(err error) error {
		at := d.InputOffset()
		if syntax, ok := errors.AsType[*json.SyntaxError](err); ok {
			at = syntax.Offset
		}
		return bad(at, "this is no JSON: %v", err)
	}
	if t, err := d.Token(); err != nil {
		return nil, broken(err)
	} else if t != json.Delim('{') {
		return nil, bad(0, "it has to be one object, of patterns with the folder of each")
	}
	var out []Mapping
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return nil, broken(err)
		}
		pattern, _ := t.(string) // a key of an object
		at := d.InputOffset()
		var folder any
		if err := d.Decode(&folder); err != nil {
			return nil, broken(err)
		}
		name, ok := folder.(string)
		if !ok {
			return nil, bad(at, "the pattern %.*q has no folder, which is a string", maxSpot, pattern)
		}
		m := Mapping{Package: pattern, Pattern: true, Folder: strings.TrimSuffix(name, "/"), Scanned: true}
		if err := m.Check(); err != nil {
			return nil, bad(at, "%w", err)
		}
		if out = append(out, m); len(out) > maxPatterns {
			return nil, bad(at, "there are more than %d patterns", maxPatterns)
		}
	}
	if _, err := d.Token(); err != nil {
		return nil, broken(err)
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return nil, bad(d.InputOffset(), "something follows the object")
	}
	return out, nil
}

// folders returns the folders that test a package, by mappings whose patterns have been
// compiled, each once, in the order of their names.
func (c compiled) folders(pkg string) []string {
	out := slices.Clone(c.exact[pkg])
	for _, p := range c.patterns {
		if p.re.MatchString(pkg) {
			out = append(out, p.folder)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// compiled are mappings, made to be asked often.
type compiled struct {
	exact    map[string][]string
	patterns []struct {
		re     *regexp.Regexp
		folder string
	}
}

func compileAll(mappings []Mapping) (compiled, error) {
	c := compiled{exact: map[string][]string{}}
	for _, m := range mappings {
		if !m.Pattern {
			c.exact[m.Package] = append(c.exact[m.Package], m.Folder)
			continue
		}
		re, err := compile(m.Package)
		if err != nil {
			return c, err
		}
		c.patterns = append(c.patterns, struct {
			re     *regexp.Regexp
			folder string
		}{re, m.Folder})
	}
	return c, nil
}

// Debug reports whether a package has nothing but what debuggers want.
func Debug(pkg string) bool {
	return strings.HasSuffix(pkg, "-debuginfo") || strings.HasSuffix(pkg, "-debugsource")
}
