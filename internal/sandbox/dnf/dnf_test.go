package dnf

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
)

func TestScriptletFailed(t *testing.T) {
	t.Parallel()
	for said, want := range map[string]string{
		"a\nerror: %prein(x-1-1.noarch) scriptlet failed, exit status 1\nError in PREIN scriptlet in rpm package x\n": "%prein(x-1-1.noarch) scriptlet failed, exit status 1",
		"error: %preun(x-1-1.noarch) scriptlet failed, signal 9\n":                                                    "%preun(x-1-1.noarch) scriptlet failed, signal 9",
		"Error: Failed to download metadata for repo 'x'\n":                                                           "",
	} {
		if got := scriptletFailed.FindString(said); got != want {
			t.Errorf("in %q: %q, want %q", said, got, want)
		}
	}
}

func TestUnresolved(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name, said string
		want       []string
	}{
		{"dnf 4, no match", "No match for argument: nosuch >= 3\nError: Unable to find a match: nosuch >= 3\n", []string{"no package provides nosuch >= 3"}},
		{"dnf 4, depth", "Error: \n Problem: conflicting requests\n  - nothing provides libx needed by y-1-1.noarch\n", []string{"nothing provides libx needed by y-1-1.noarch"}},
		{"dnf 5", "Failed to resolve the transaction:\nNo match for argument: a\nProblem: conflicting requests\n  - nothing provides b needed by c\n", []string{"no package provides a", "nothing provides b needed by c"}},
		{"conflict", " Problem: package a conflicts with b\n", []string{"Problem: package a conflicts with b"}},
		{"excluded", "All matches were filtered out by exclude filtering for argument: tool\nError: Unable to find a match: tool\n", []string{"every package that provides tool is excluded (exclude filtering)"}},
		{"no such stream", "Error: Problems in request:\nmissing groups or modules: tool:3\n", []string{"missing groups or modules: tool:3"}},
		{"network", "Error: Failed to download metadata for repo 'x'\n", nil},
	} {
		if diff := cmp.Diff(tt.want, unresolved([]byte(tt.said))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

func TestCheckRequirements(t *testing.T) {
	t.Parallel()
	for _, good := range []string{"gcc", "libfoo-devel >= 1.2", "pkgconfig(foo)", "/usr/bin/perl", "(a if b)", "libc.so.6(GLIBC_2.34)(64bit)", "perl(A::B)"} {
		if err := CheckRequirements([]string{good}); err != nil {
			t.Errorf("CheckRequirements(%q) = %v", good, err)
		}
	}
	for _, bad := range []string{"", "-y", "--installroot=/", "@core", "lib*", "a?", "/builddir/x.rpm", "http://h/x", "a\nb", "ü"} {
		if err := CheckRequirements([]string{bad}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("CheckRequirements(%q) = %v, want Invalid", bad, err)
		}
	}
	if err := CheckRequirements(make([]string, maxRequire+1)); albs.KindOf(err) != albs.Invalid {
		t.Errorf("too many requirements: %v", err)
	}
}

const armor = "-----BEGIN PGP PUBLIC KEY BLOCK-----\n"

// TestSurround: no string of a root or a repository becomes another line of dnf's
// configuration.
func TestSurround(t *testing.T) {
	t.Parallel()
	root := albs.Root{Platform: "p", Releasever: "9", Arch: albs.X8664, RPMDBPath: "/var/lib/rpm"}
	repo := Repo{ID: "a", BaseURL: "http://127.0.0.1:4711/secret/"}
	for name, change := range map[string]func(*albs.Root, *Repo){
		"releasever":   func(r *albs.Root, _ *Repo) { r.Releasever = "9\nplugins=1" },
		"module id":    func(r *albs.Root, _ *Repo) { r.ModuleID = "x\ny=1" },
		"rpmdb path":   func(r *albs.Root, _ *Repo) { r.RPMDBPath = "/a/../../etc" },
		"rpmdb as bdb": func(r *albs.Root, _ *Repo) { r.RPMDB = "bdb" },
		"rpmdb macro":  func(r *albs.Root, _ *Repo) { r.RPMDBPath = "/%(id)" },
		"arch":         func(r *albs.Root, _ *Repo) { r.Arch = "x86_64 --x" },
		"exclude":      func(r *albs.Root, _ *Repo) { r.Excludes = []string{"a\nplugins=1"} },
		"two excludes": func(r *albs.Root, _ *Repo) { r.Excludes = []string{"a,b"} },
		"module":       func(r *albs.Root, _ *Repo) { r.ModuleID, r.Modules = "platform:el9", []string{"--x:1"} },
		"no modules":   func(r *albs.Root, _ *Repo) { r.Modules = []string{"a:1"} },
		"repo id":      func(_ *albs.Root, r *Repo) { r.ID = "a]\n[main" },
		"repo main":    func(_ *albs.Root, r *Repo) { r.ID = "main" },
		"url newline":  func(_ *albs.Root, r *Repo) { r.BaseURL += "\nx=1" },
		"url variable": func(_ *albs.Root, r *Repo) { r.BaseURL += "$releasever" },
		"outside":      func(_ *albs.Root, r *Repo) { r.BaseURL = "http://example.org/" },
		"other port":   func(_ *albs.Root, r *Repo) { r.BaseURL = "http://127.0.0.1:22/" },
		"no key":       func(_ *albs.Root, r *Repo) { r.Keys = "file:///etc/passwd" },
		"large key":    func(_ *albs.Root, r *Repo) { r.Keys = armor + strings.Repeat("x", maxKeys) },
		"ftp":          func(_ *albs.Root, r *Repo) { r.BaseURL = "ftp://127.0.0.1:4711/" },
	} {
		ro, re := root, repo
		change(&ro, &re)
		if _, err := Surround(ro, []Repo{re}); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	checked := repo
	checked.Keys = armor + "1\n" + armor + "2\n"
	s, err := Surround(root, []Repo{repo, checked})
	if err != nil || s.Keys["key-1.asc"] != armor+"1\n"+armor+"2\n" || len(s.Keys) != 1 ||
		strings.Count(s.Conf, "gpgcheck=1\ngpgkey=file:///albs/key-1.asc\n") != 1 || strings.Count(s.Conf, "\ngpgcheck=0\n") != 2 {
		t.Errorf("keys of a repository: %q, %v in\n%s", s.Keys, err, s.Conf)
	}
	root.Excludes = []string{"gcc*", "make"}
	s, err = Surround(root, []Repo{repo, {ID: "b", BaseURL: "file:///srv/b", Priority: 5}, {ID: "c", BaseURL: "file:///srv/c", Own: true}})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]int{4711, 1025, 1026}, s.Ports); diff != "" {
		t.Errorf("ports (-want +got):\n%s", diff)
	}
	if !strings.Contains(s.Conf, "\nexcludepkgs=gcc*,make\n") {
		t.Errorf("configuration without the excludes:\n%s", s.Conf)
	}
	if !strings.Contains(s.Conf, "[b]\nname=b\nbaseurl=http://127.0.0.1:1025/\nenabled=1\ngpgcheck=0\nskip_if_unavailable=0\npriority=5\n\n[c]\n") || !strings.HasSuffix(s.Conf, "skip_if_unavailable=0\nmodule_hotfixes=1\n") {
		t.Errorf("configuration:\n%s", s.Conf)
	}
}
