package sbom

import (
	"strings"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// Installed is a package of a buildroot: SHA256 is "" where it isn't known which file it
// came from.
type Installed struct {
	rpm.NEVRA
	SHA256 albs.Digest
}

// OfRoot returns the bill of the packages that were installed in a root in which others
// were built. root says what the root is, and b what is said of every bill; who supplies
// the packages isn't known, and so isn't told, and neither is what they need. One that is
// listed twice is told of once.
func OfRoot(root Component, packages []Installed, d Distribution, b Bill) Bill {
	b.Kind, b.Root, b.Supplier = BuildRoot, root, Party{}
	b.Root.Type, b.Root.Contains, b.Others = Set, nil, nil
	seen := map[string]bool{}
	for _, p := range packages {
		part := Part{Ref: RefOf(p.SHA256), NEVRA: p.NEVRA}
		if p.SHA256 == "" {
			part.Ref = "installed-" + p.NEVRA.String()
		}
		if seen[part.Ref] {
			continue
		}
		seen[part.Ref] = true
		c := slim(part, d)
		if p.SHA256 == "" {
			c.SHA256, c.File = "", "" // its name, and no file
		}
		b.Root.Contains = append(b.Root.Contains, c.Ref)
		b.Others = append(b.Others, c)
	}
	if d.ID != "" {
		b.Others = append(b.Others, d.Component())
		b.Root.Needs = append(b.Root.Needs, d.Ref())
	}
	return b
}

// slim returns the component of a package of which no header was read.
func slim(p Part, d Distribution) Component {
	sum, _ := strings.CutPrefix(p.Ref, refPrefix)
	return Component{
		Ref: p.Ref, Type: Library, Name: p.NEVRA.Name, Version: p.NEVRA.EVR().String(), PURL: PURL(p.NEVRA, d, p.SourceRPM),
		File: p.NEVRA.Filename(), SHA256: sum,
	}
}
