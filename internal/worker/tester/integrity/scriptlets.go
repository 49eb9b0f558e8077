package integrity

import (
	"regexp"
	"slices"
)

// scriptletFailed finds rpm's words of a scriptlet that didn't succeed (rpmscript.c); of
// most of them rpm only warns and goes on.
var scriptletFailed = regexp.MustCompile(`(?m)(%[a-z]+)\(([^)\s]+)\) scriptlet failed, ((?:exit status|signal) [0-9]+)`)

// scriptlets reads in what rpm said which of the package's scriptlets failed. Those of
// others that ran beside are theirs.
func (c *check) scriptlets() {
	if len(c.Package.Scripts) == 0 {
		c.skipped[RuleScriptlets] = "the package has no scriptlets"
		return
	}
	n := c.Package.NEVRA
	full := n.String()
	n.Epoch = 0
	names := []string{full, n.String()} // older rpm leaves the epoch out
	var said []string
	for _, m := range scriptletFailed.FindAllSubmatch(c.Said, -1) {
		what := string(m[1]) + " failed with " + string(m[3])
		if slices.Contains(names, string(m[2])) && !slices.Contains(said, what) { // dnf says it twice
			said = append(said, what)
			c.say(RuleScriptlets, "%s", what)
		}
	}
}
