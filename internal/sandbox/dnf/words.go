package dnf

import (
	"bytes"
	"regexp"
	"slices"
	"strings"

	"albs/internal/albs"
)

// Refusal returns, as Invalid, why dnf failed if that is the packages' doing, out of the
// last that it said: what it can't resolve, a package without a good signature where one is
// asked for, files that two packages have and that differ, or a package whose scriptlet stops
// the transaction. That protected packages would go
// is a Conflict. It is nil where dnf's words name no such thing.
func Refusal(said []byte) error {
	if why := protected.FindSubmatch(said); why != nil {
		return albs.Errorf(albs.Conflict, "protected packages would be removed with it: %.300s", why[1])
	}
	if why := unsigned(said); why != "" { // before what can't be resolved, which has such words too
		return albs.Errorf(albs.Invalid, "dnf takes no package without a good signature: %.400s", why)
	}
	if why := unresolved(said); len(why) > 0 {
		return albs.Errorf(albs.Invalid, "dnf can't resolve: %s", strings.Join(why, "; "))
	}
	if why := fileConflict.FindSubmatch(said); why != nil {
		return albs.Errorf(albs.Invalid, "packages conflict: %.300s", why[1])
	}
	if why := scriptletFailed.Find(said); why != nil {
		return albs.Errorf(albs.Invalid, "a package refuses: %.300s", why)
	}
	return nil
}

// protected finds dnf's words of packages that it may not remove, the same in dnf 4 and 5.
var protected = regexp.MustCompile(`(?m)The operation would result in removing the following protected packages: (.*)$`)

// signature finds dnf's words of a package that has no good signature by a key of its
// repository: those of dnf 4 (dnf/base.py, _sig_check_pkg and _get_key_for_package) and of
// dnf 5 (libdnf5, transaction.cpp).
var signature = regexp.MustCompile(`(?m)^[ \t]*(Package \S+ is not signed|Problem opening package \S+|Public key for \S+ is not (?:installed|trusted).*|(?:Open)?PGP check for package .* has failed: .*)$`)

// unsigned returns dnf's words of the packages whose signatures it doesn't take, "" if there
// are none, or if it is the host that can't check any.
func unsigned(said []byte) string {
	if bytes.Contains(said, []byte("Cannot find rpmkeys executable")) {
		return ""
	}
	var why []string
	for _, m := range signature.FindAllSubmatch(said, 10) {
		what := string(m[1])
		if bytes.HasPrefix(m[1], []byte("Problem opening ")) {
			what += " (a digest or a signature in it doesn't hold)" // dnf 4 keeps rpmkeys' own words to itself
		}
		why = append(why, what)
	}
	return strings.Join(slices.Compact(why), "; ")
}

// fileConflict finds rpm's words of a file that would be two things at once (rpmps.c).
var fileConflict = regexp.MustCompile(`(?m)^[ \t]*(?:- )?(file \S+ (?:from install of|conflicts between attempted installs of) .*)$`)

// scriptletFailed finds rpm's words of a scriptlet that ended with an error (psm.c); of
// one whose failure stops nothing rpm only warns.
var scriptletFailed = regexp.MustCompile(`(?m)%[a-z]+\(\S+\) scriptlet failed, .*$`)

// unresolved finds in dnf's words what it had no package for, or what contradicts
// itself. dnf has one exit code for everything, so its words must do; they are the
// same in dnf 4 and dnf 5.
func unresolved(said []byte) []string {
	var why []string
	problem := ""
	for line := range strings.Lines(string(said)) {
		l := strings.TrimLeft(strings.TrimSpace(line), "- ")
		_, missing, ok := strings.Cut(l, "No match for argument: ")
		switch {
		case ok:
			why = append(why, "no package provides "+missing)
		case strings.HasPrefix(l, "All matches were filtered out by "):
			reason, what, _ := strings.Cut(strings.TrimPrefix(l, "All matches were filtered out by "), " filtering for argument: ")
			why = append(why, "every package that provides "+what+" is excluded ("+reason+" filtering)")
		case strings.HasPrefix(l, "missing groups or modules: "), strings.HasPrefix(l, "Unable to resolve argument "):
			why = append(why, l)
		case strings.Contains(l, "nothing provides "):
			why = append(why, l[strings.Index(l, "nothing provides "):])
		case strings.HasPrefix(l, "Problem") && !strings.HasPrefix(l, "Problem opening "): // a package file
			problem = l
		}
	}
	if len(why) == 0 && problem != "" {
		why = []string{problem}
	}
	slices.Sort(why)
	return slices.Compact(why)
}
