package sbom

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"albs/internal/rpm"
)

// purl writes a package URL: pkg:TYPE/NAMESPACE/NAME@VERSION?QUALIFIERS, the qualifiers
// sorted and those without a value left out (purl specification, "How to build purl
// string").
func purl(typ, namespace, name, version string, qualifiers map[string]string) string {
	var b strings.Builder
	b.WriteString("pkg:" + typ + "/")
	for _, segment := range strings.Split(namespace, "/") {
		if segment != "" {
			b.WriteString(escape(segment) + "/")
		}
	}
	b.WriteString(escape(name))
	if version != "" {
		b.WriteString("@" + escape(version))
	}
	var list []string
	for k, v := range qualifiers {
		if v != "" {
			list = append(list, k+"="+escape(v))
		}
	}
	if len(list) > 0 {
		slices.Sort(list)
		b.WriteString("?" + strings.Join(list, "&"))
	}
	return b.String()
}

// escape writes all but what a purl leaves as it is in percent-encoding.
func escape(s string) string {
	var b strings.Builder
	for _, c := range []byte(s) {
		switch {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', strings.IndexByte(".-_~:", c) >= 0:
			b.WriteByte(c)
		default:
			fmt.Fprintf(&b, "%%%02X", c)
		}
	}
	return b.String()
}

// PURL names a package of a distribution as scanners look for it: the epoch, the
// distribution and the source package are qualifiers. source is the file name of the
// source package, "" of one itself.
func PURL(n rpm.NEVRA, d Distribution, source string) string {
	q := map[string]string{"arch": n.Arch, "distro": d.distro(), "upstream": source}
	if n.Epoch != 0 {
		q["epoch"] = fmt.Sprint(n.Epoch)
	}
	return purl("rpm", d.ID, n.Name, n.Version+"-"+n.Release, q)
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
