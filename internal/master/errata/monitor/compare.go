package monitor

import (
	"fmt"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/rpm"
)

// Kind is what is wrong.
type Kind string

// The kinds of trouble.
const (
	Unread          Kind = "unread"           // the repository can't be read, or isn't what its repomd.xml says
	MissingPackage  Kind = "missing package"  // the repository doesn't list it
	WrongDigest     Kind = "wrong digest"     // it lists it with another sha256
	MissingModule   Kind = "missing module"   // its modules don't have the build of the stream
	MissingAdvisory Kind = "missing advisory" // its updateinfo doesn't have the advisory, or not the package
	WrongAdvisory   Kind = "wrong advisory"   // its updateinfo has what isn't shown, or says something else
	MissingFile     Kind = "missing file"     // it lists the package, and its file isn't there
	WrongFile       Kind = "wrong file"       // the package's file has another size than is listed
)

// Trouble is one thing that readers see and shouldn't, or don't and should.
type Trouble struct {
	Kind       Kind   `json:"kind"`
	Platform   string `json:"platform"`
	Repository string `json:"repository"`         // its path below the public place
	Advisory   string `json:"advisory,omitempty"` // its id; "" if it is about none
	Package    string `json:"package,omitempty"`  // NEVRA
	Detail     string `json:"detail"`             // one sentence
}

// String returns the trouble as one line.
func (t Trouble) String() string {
	var parts []string
	for _, s := range []string{t.Repository, t.Advisory, t.Package} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	return fmt.Sprintf("%s: %s: %s", t.Kind, strings.Join(parts, " "), t.Detail)
}

// listed is what a repository was found to have.
type listed struct {
	packages map[rpm.NEVRA][]held
	modules  map[string]bool // name:stream:version:context
	// notices are what its updateinfo says: the version of each advisory, and the digests of
	// its packages by file name.
	notices map[string]notice
}

// held is a package as a repository lists it.
type held struct {
	digest albs.Digest
	path   string // below the root of the public place
	size   int64
}

type notice struct {
	version  string
	packages map[string]string
}

// compare returns what a repository has otherwise than the advisories of its platform say,
// in a fixed order.
func compare(platform, path string, as []advisory.Advisory, in listed) []Trouble {
	var out []Trouble
	add := func(k Kind, id, pkg, detail string, args ...any) {
		out = append(out, Trouble{Kind: k, Platform: platform, Repository: path, Advisory: id, Package: pkg, Detail: fmt.Sprintf(detail, args...)})
	}
	told := map[string]bool{}
	for _, a := range as {
		var here []advisory.Package
		for _, p := range a.Packages {
			if p.Repository == path {
				here = append(here, p)
			}
		}
		if a.Withdrawn != nil || len(here) == 0 {
			continue
		}
		told[a.ID] = true
		n, there := in.notices[a.ID]
		switch {
		case !there:
			add(MissingAdvisory, a.ID, "", "its updateinfo doesn't have it")
		case n.version != fmt.Sprint(a.Version):
			add(WrongAdvisory, a.ID, "", "its updateinfo has version %.40q, and %d is shown", n.version, a.Version)
		}
		for _, p := range here {
			name := p.NEVRA.String()
			switch has := in.packages[p.NEVRA]; {
			case len(has) == 0:
				add(MissingPackage, a.ID, name, "the repository doesn't list it")
			case !slices.ContainsFunc(has, func(h held) bool { return h.digest == p.Digest }):
				add(WrongDigest, a.ID, name, "the repository lists it with sha256 %.64q, and the advisory names %s", string(has[0].digest), p.Digest)
			}
			if m := p.Module; m != nil && !in.modules[m.String()] {
				add(MissingModule, a.ID, name, "its modules don't have %s", m)
			}
			if !there {
				continue
			}
			switch sum, ok := n.packages[p.Filename()]; {
			case !ok:
				add(MissingAdvisory, a.ID, name, "its updateinfo has the advisory without the package")
			case sum != string(p.Digest):
				add(WrongAdvisory, a.ID, name, "its updateinfo has it with sha256 %.64q, and the advisory names %s", sum, p.Digest)
			}
		}
	}
	for id := range in.notices {
		if !told[id] {
			add(WrongAdvisory, id, "", "its updateinfo has it, and it isn't shown for this repository")
		}
	}
	slices.SortFunc(out, byAdvisory)
	return out
}
