package sbom

import (
	"cmp"
	"fmt"
	"strings"

	"albs/internal/purl"
	"albs/internal/rpm"
)

// PURL names a package of a distribution as scanners look for it: the epoch, the
// distribution and the source package are qualifiers. source is the file name of the
// source package, "" of one itself.
func PURL(n rpm.NEVRA, d Distribution, source string) string {
	q := map[string]string{"arch": n.Arch, "distro": d.distro(), "upstream": source}
	if n.Epoch != 0 {
		q["epoch"] = fmt.Sprint(n.Epoch)
	}
	return purl.PURL{Type: "rpm", Namespace: d.ID, Name: n.Name, Version: n.Version + "-" + n.Release, Qualifiers: q}.String()
}

// Distribution is the system that packages are of, in the words of its os-release(5).
type Distribution struct {
	ID      string // "almalinux"
	Name    string // "AlmaLinux"
	Version string // "9.4"; the major version alone will do
}

// distro is what scanners call the distribution: they know the major version.
func (d Distribution) distro() string {
	if d.ID == "" {
		return ""
	}
	major, _, _ := strings.Cut(d.Version, ".")
	return strings.Trim(d.ID+"-"+major, "-")
}

// Ref is what a bill calls the distribution.
func (d Distribution) Ref() string { return strings.Trim("system-"+d.ID+"-"+d.Version, "-") }

// Component returns the distribution as a component, which scanners want to see before
// they look at packages.
func (d Distribution) Component() Component {
	return Component{Ref: d.Ref(), Type: System, Name: d.ID, Version: d.Version, Summary: strings.TrimSpace(cmp.Or(d.Name, d.ID) + " " + d.Version)}
}
