package dnf

import (
	"testing"

	"albs/internal/albs"
)

// What is the packages' doing is Invalid and says which; the rest is no word on them.
func TestRefusal(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"": "",
		"Error: Failed to download metadata for repo 'x'\n":                                                                              "",
		"No match for argument: b\nNo match for argument: a\n":                                                                           "dnf can't resolve: no package provides a; no package provides b",
		"error: %prein(x-1-1.noarch) scriptlet failed, exit status 1\n":                                                                  "a package refuses: %prein(x-1-1.noarch) scriptlet failed, exit status 1",
		"Error: Transaction test error:\n  file /usr/bin/a from install of b-1-1.noarch conflicts with file from package a-1-1.noarch\n": "packages conflict: file /usr/bin/a from install of b-1-1.noarch conflicts with file from package a-1-1.noarch",
		"  - file /a conflicts between attempted installs of b-1-1.noarch and c-1-1.noarch\n":                                            "packages conflict: file /a conflicts between attempted installs of b-1-1.noarch and c-1-1.noarch",
		"Package a-1-1.noarch.rpm is not signed\nError: GPG check FAILED\n":                                                              "dnf takes no package without a good signature: Package a-1-1.noarch.rpm is not signed",
		"Problem opening package a-1-1.noarch.rpm\nError: GPG check FAILED\n":                                                            "dnf takes no package without a good signature: Problem opening package a-1-1.noarch.rpm (a digest or a signature in it doesn't hold)",
		"Import of key(s) didn't help, wrong key(s)?\nPublic key for a-1-1.noarch.rpm is not installed. Failing package is: a-1-1.noarch\n GPG Keys are configured as: file:///albs/key-1.asc\n": "dnf takes no package without a good signature: Public key for a-1-1.noarch.rpm is not installed. Failing package is: a-1-1.noarch",
		"OpenPGP check for package \"a-1-1.noarch\" (/var/a.rpm) from repo \"own\" has failed: The package is not signed.\n":                                                                     "dnf takes no package without a good signature: OpenPGP check for package \"a-1-1.noarch\" (/var/a.rpm) from repo \"own\" has failed: The package is not signed.",
		"Cannot find rpmkeys executable to verify signatures.\nProblem opening package a.rpm\nProblem opening package b.rpm\n":                                                                   "",
		"warning: file /a from install of b is fine\n":                    "",
		"%pre(x-1-1.noarch) scriptlet failed, x\nnothing provides libx\n": "dnf can't resolve: nothing provides libx",
	} {
		err := Refusal([]byte(said))
		switch {
		case want == "" && err != nil:
			t.Errorf("%q: %v, want no refusal", said, err)
		case want != "" && (albs.KindOf(err) != albs.Invalid || albs.UserMessage(err) != want):
			t.Errorf("%q: %v, want Invalid %q", said, err, want)
		}
	}
}

// FuzzRefusal: scriptlets write into what dnf says, so any bytes may come.
func FuzzRefusal(f *testing.F) {
	f.Add([]byte("All matches were filtered out by exclude filtering for argument: tool\n Problem: x\n"))
	f.Add([]byte("- No match for argument: \nmissing groups or modules: \x00\nnothing provides "))
	f.Add([]byte("Problem opening package a.rpm\nPackage b.rpm is not signed\nPublic key for c.rpm is not trusted"))
	f.Add([]byte("%post(a-1-1.noarch) scriptlet failed, signal 9"))
	f.Fuzz(func(t *testing.T, said []byte) {
		if err := Refusal(said); err != nil && albs.KindOf(err) != albs.Invalid {
			t.Errorf("%q: %v, want Invalid or nothing", said, err)
		}
	})
}
