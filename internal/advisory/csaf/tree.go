package csaf

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/purl"
	"albs/internal/rpm"
)

// products are the products of one document: platforms, which are told apart by their
// CPEs, packages, and packages as components of platforms, which is what is fixed or
// affected (§3.2.2).
type products struct {
	d             advisory.Distribution
	platforms     map[string]product
	packages      map[string]*leaf
	relationships map[string]relationship
}

// leaf is a package: where it stands in the tree, and what it is.
type leaf struct {
	name    string
	evr     rpm.EVR
	version branch // without branches
	arch    string // "" of a package of any version
	product product
}

func newProducts(d advisory.Distribution) *products {
	return &products{d: d, platforms: map[string]product{}, packages: map[string]*leaf{}, relationships: map[string]relationship{}}
}

// platform returns the product for a repository: that of its own CPE, or the
// distribution's.
func (t *products) platform(repository string) product {
	c := cmp.Or(t.d.RepositoryCPEs[repository], t.d.CPE)
	id := cmp.Or(c, t.d.Platform)
	if p, ok := t.platforms[id]; ok {
		return p
	}
	p := product{ID: id, Name: strings.TrimSpace(t.d.Name + " " + t.d.Version)}
	if c != "" {
		p.Helper = &helper{CPE: c}
	}
	if e := edition(c); e != "" {
		p.Name += " " + e
	}
	t.platforms[id] = p
	return p
}

// edition returns the sixth part of a CPE 2.2, by which the repositories of a platform are
// told apart: "baseos" of cpe:/o:almalinux:almalinux:9::baseos.
func edition(cpe string) string {
	if parts := strings.Split(strings.TrimPrefix(cpe, "cpe:/"), ":"); len(parts) > 5 {
		return parts[5]
	}
	return ""
}

// fixed adds a package of a repository and returns the id that its status is told of.
func (t *products) fixed(p advisory.Package) string {
	id := fmt.Sprintf("%s-%d:%s-%s.%s", p.Name, p.Epoch, p.Version, p.Release, p.Arch)
	q := map[string]string{"arch": p.Arch, "distro": t.distro(), "upstream": p.Source}
	if p.Epoch != 0 {
		q["epoch"] = fmt.Sprint(p.Epoch)
	}
	version := p.EVR().String()
	if p.Module != nil {
		q["rpmmod"] = p.Module.String()
		id += "::" + q["rpmmod"]
		version += " of module " + q["rpmmod"]
	}
	l := t.packages[id]
	if l == nil {
		l = &leaf{name: p.Name, evr: p.EVR(), version: branch{Category: "product_version", Name: version}, arch: p.Arch}
		l.product = product{ID: id, Name: id, Helper: &helper{PURL: t.purl(p.Name, p.Version+"-"+p.Release, q)}}
		t.packages[id] = l
	}
	if p.Digest != "" {
		h := hashes{Files: []fileHash{{Algorithm: "sha256", Value: string(p.Digest)}}, Name: p.Filename()}
		if !slices.ContainsFunc(l.product.Helper.Hashes, func(o hashes) bool { return o.Files[0] == h.Files[0] }) {
			l.product.Helper.Hashes = append(l.product.Helper.Hashes, h)
		}
	}
	return t.relate(l.product, t.platform(p.Repository))
}

// any adds a source package of any version, of a module's stream or none, and returns the
// id that its status is told of.
func (t *products) any(name, stream string) string {
	id, q := name, map[string]string{"arch": "src", "distro": t.distro(), "rpmmod": stream}
	if stream != "" {
		id += "::" + stream
	}
	if t.packages[id] == nil {
		v := branch{Category: "product_version_range", Name: "vers:all/*"}
		if stream != "" {
			v.Name += " of module " + stream
		}
		t.packages[id] = &leaf{name: name, version: v, product: product{ID: id, Name: id, Helper: &helper{PURL: t.purl(name, "", q)}}}
	}
	return t.relate(t.packages[id].product, t.platform(""))
}

func (t *products) relate(component, platform product) string {
	id := platform.ID + ":" + component.ID
	t.relationships[id] = relationship{
		Category: "default_component_of", Component: component.ID, Of: platform.ID,
		Product: product{ID: id, Name: component.Name + " as a component of " + platform.Name, Helper: &helper{PURL: component.Helper.PURL}},
	}
	return id
}

// purl names a package as scanners look for it, in the vendor's namespace.
func (t *products) purl(name, version string, qualifiers map[string]string) string {
	vendor, _ := t.cpeNames()
	return purl.PURL{Type: "rpm", Namespace: vendor, Name: name, Version: version, Qualifiers: qualifiers}.String()
}

// distro is what scanners call the distribution: they know the major version.
func (t *products) distro() string {
	_, name := t.cpeNames()
	major, _, _ := strings.Cut(t.d.Version, ".")
	return strings.Trim(name+"-"+major, "-")
}

// cpeNames returns the vendor and the product of the distribution's CPE; without one both
// are made of the vendor's name.
func (t *products) cpeNames() (vendor, product string) {
	if parts := strings.Split(strings.TrimPrefix(t.d.CPE, "cpe:/"), ":"); len(parts) > 2 {
		return parts[1], parts[2]
	}
	name := strings.ReplaceAll(strings.ToLower(t.d.Vendor), " ", "")
	return name, name
}

// tree returns all of them in an order that hangs on nothing but what they are.
func (t *products) tree() *tree {
	if len(t.relationships) == 0 {
		return nil
	}
	platform := branch{Category: "product_name", Name: t.d.Name}
	for _, p := range sorted(t.platforms) {
		platform.Branches = append(platform.Branches, branch{
			Category: "product_version", Name: strings.TrimSpace(t.d.Version + " " + edition(p.ID)), Product: &p,
		})
	}
	vendor := branch{Category: "vendor", Name: t.d.Vendor, Branches: []branch{platform}}
	leaves := sorted(t.packages)
	slices.SortStableFunc(leaves, func(x, y *leaf) int {
		return cmp.Or(strings.Compare(x.name, y.name), rpm.Compare(x.evr, y.evr), strings.Compare(x.version.Name, y.version.Name), strings.Compare(x.arch, y.arch))
	})
	for _, l := range leaves {
		name := last(&vendor.Branches)
		if name.Category != "product_name" || name.Name != l.name || len(vendor.Branches) == 1 {
			vendor.Branches = append(vendor.Branches, branch{Category: "product_name", Name: l.name})
			name = last(&vendor.Branches)
		}
		if l.arch == "" {
			v := l.version
			v.Product = &l.product
			name.Branches = append(name.Branches, v)
			continue
		}
		if v := last(&name.Branches); v == nil || v.Name != l.version.Name {
			name.Branches = append(name.Branches, l.version)
		}
		v := last(&name.Branches)
		v.Branches = append(v.Branches, branch{Category: "architecture", Name: l.arch, Product: &l.product})
	}
	return &tree{Branches: []branch{vendor}, Relationships: sorted(t.relationships)}
}

func last(bs *[]branch) *branch {
	if len(*bs) == 0 {
		return nil
	}
	return &(*bs)[len(*bs)-1]
}

// sorted returns the values of m in the order of their keys.
func sorted[V any](m map[string]V) []V {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	out := make([]V, len(keys))
	for i, k := range keys {
		out[i] = m[k]
	}
	return out
}
