package notary

import (
	"path"
	"regexp"
	"strings"

	"albs/internal/albs"
)

const (
	heads = "refs/heads/"
	tags  = "refs/tags/"
)

// Rule leads from a changed tag to the tag of what was changed.
type Rule struct {
	// Changed is a regular expression (RE2) over a tag's name, without refs/tags/.
	Changed string `yaml:"changed"`
	// Upstream is the name of the other tag, with $1 and so on for what Changed has found.
	Upstream string `yaml:"upstream"`
}

// DefaultRules are AlmaLinux's: changed/a9/NVR.alma.1 changes imports/c9/NVR.
var DefaultRules = []Rule{{Changed: `^changed/a([^/]+)/(.+)\.alma[^/]*$`, Upstream: "imports/c$1/$2"}}

const maxRules = 64

// rules are Rules that were read.
type rules []struct {
	changed  *regexp.Regexp
	upstream string
}

// Config is what an operator may set.
type Config struct {
	// Upstream lead from changed tags to what they change, the first that fits; DefaultRules
	// if there are none.
	Upstream []Rule `yaml:"upstream"`
}

// Check returns what is wrong with the configuration as it is written, as Invalid.
func (c Config) Check() error {
	_, err := c.rules()
	return err
}

func (c Config) rules() (rules, error) {
	list := c.Upstream
	if len(list) == 0 {
		list = DefaultRules
	}
	if len(list) > maxRules {
		return nil, albs.Errorf(albs.Invalid, "upstream has at most %d rules", maxRules)
	}
	out := make(rules, len(list))
	for i, r := range list {
		re, err := regexp.Compile(r.Changed)
		if err != nil {
			return nil, albs.Errorf(albs.Invalid, "upstream: changed %.200q is no regular expression: %w", r.Changed, err)
		}
		if r.Changed == "" || r.Upstream == "" || len(r.Changed) > 1000 || len(r.Upstream) > 1000 {
			return nil, albs.Errorf(albs.Invalid, "upstream: a rule has changed and upstream, of at most 1000 bytes each")
		}
		out[i].changed, out[i].upstream = re, r.Upstream
	}
	return out, nil
}

// of returns the full name of the ref that a ref changes, "" if it is no changed tag.
func (rs rules) of(ref string) string {
	name, ok := strings.CutPrefix(ref, tags)
	if !ok {
		return ""
	}
	for _, r := range rs {
		if m := r.changed.FindStringSubmatchIndex(name); m != nil {
			return tags + string(r.changed.ExpandString(nil, r.upstream, name, m))
		}
	}
	return ""
}

// isPattern reports whether a person's word for refs may fit several.
func isPattern(s string) bool { return strings.ContainsAny(s, "*?[") }

// maxPattern bounds a pattern: no ref is longer.
const maxPattern = 300

// checkPattern returns an Invalid error unless s is a pattern as path.Match has them.
func checkPattern(s string) error {
	if _, err := path.Match(s, ""); err != nil || len(s) > maxPattern {
		return albs.Errorf(albs.Invalid, "%.80q is no pattern of refs: * stands for anything but a slash, ? for one character, [a-c] for one of some, in at most %d bytes", s, maxPattern)
	}
	return nil
}

// fits reports whether a ref, by its full name, is one of those that pattern means: the
// full name or the one that people use, in which a * doesn't go beyond a slash.
func fits(pattern, ref string) bool {
	for _, name := range []string{ref, strings.TrimPrefix(strings.TrimPrefix(ref, heads), tags)} {
		if ok, err := path.Match(pattern, name); err == nil && ok {
			return true
		}
	}
	return false
}
