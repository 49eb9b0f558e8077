package integrity

import (
	"fmt"
	"regexp"
	"slices"

	"albs/internal/rpm"
)

// scriptletFailed finds rpm's words of a scriptlet that didn't succeed (rpmscript.c); of
// most of them rpm only warns and goes on.
var scriptletFailed = regexp.MustCompile(`(?m)(%[a-z]+)\(([^)\s]+)\) scriptlet failed, ((?:exit status|signal) [0-9]+)`)

// scriptlets reads in what rpm said which of the package's scriptlets failed.
func (c *check) scriptlets() {
	if len(c.Package.Scripts) == 0 && c.Replaced == "" {
		c.skipped[RuleScriptlets] = "the package has no scriptlets"
		return
	}
	for _, s := range Scriptlets(c.Said, c.Package.NEVRA.String(), c.Replaced) {
		c.say(RuleScriptlets, "%s", s)
	}
}

// Scriptlets returns which scriptlets of packages failed by what rpm said, as sentences,
// where most failures are worth no more than a warning to it. Those of other packages that
// ran beside are theirs.
func Scriptlets(said []byte, nevras ...string) []string {
	names := map[string]string{} // as rpm spells it → NEVRA
	for _, s := range nevras {
		n, err := rpm.ParseNEVRA(s)
		if err != nil {
			continue
		}
		names[s] = s
		n.Epoch = 0
		names[n.String()] = s // older rpm leaves the epoch out
	}
	var failed []string
	for _, m := range scriptletFailed.FindAllSubmatch(said, -1) {
		of := names[string(m[2])]
		if of == "" {
			continue
		}
		s := fmt.Sprintf("%s of %s failed with %s", m[1], of, m[3])
		if !slices.Contains(failed, s) && len(failed) < maxFound { // dnf says it twice
			failed = append(failed, s)
		}
	}
	return failed
}
