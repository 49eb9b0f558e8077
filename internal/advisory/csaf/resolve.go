package csaf

import (
	"strconv"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/purl"
	"albs/internal/rpm"
)

// Bounds of a product tree: how deep its branches and its relationships go.
const (
	maxBranches = 30
	maxChain    = 10
)

// resolver finds what the ids of products stand for.
type resolver struct {
	products      map[string]product
	relationships map[string]relationship
	groups        map[string][]string
}

func newResolver(t *tree) (*resolver, error) {
	r := &resolver{products: map[string]product{}, relationships: map[string]relationship{}, groups: map[string][]string{}}
	if t == nil {
		return r, nil
	}
	for _, p := range t.Products {
		r.products[p.ID] = p
	}
	for _, l := range t.Relationships {
		r.relationships[l.Product.ID] = l
	}
	for _, g := range t.Groups {
		r.groups[g.ID] = g.Products
	}
	return r, r.branches(t.Branches, 0)
}

func (r *resolver) branches(bs []branch, depth int) error {
	if depth > maxBranches {
		return albs.Errorf(albs.Invalid, "the product tree has more than %d levels", maxBranches)
	}
	for _, b := range bs {
		if b.Product != nil {
			r.products[b.Product.ID] = *b.Product
		}
		if err := r.branches(b.Branches, depth+1); err != nil {
			return err
		}
	}
	return nil
}

// expand returns the products of a list and of the groups of another.
func (r *resolver) expand(products, groups []string) []string {
	if len(groups) == 0 {
		return products
	}
	all := append([]string{}, products...)
	for _, g := range groups {
		all = append(all, r.groups[g]...)
	}
	return all
}

// target is what an id of a product stands for: a component of a platform, both as they
// are in the tree. What lies between them are modules.
type target struct {
	component, platform product
	between             []product
}

// find follows the relationships from id to the platform. One without any is a platform
// by itself, and then ok is false.
func (r *resolver) find(id string) (t target, ok bool) {
	var parts []product
	for range maxChain {
		l, related := r.relationships[id]
		if !related {
			break
		}
		component, known := r.products[l.Component]
		if !known {
			component = product{ID: l.Component}
		}
		parts, id = append(parts, component), l.Of
	}
	t.platform, ok = r.products[id]
	if !ok {
		t.platform = product{ID: id}
	}
	if len(parts) == 0 {
		return t, false
	}
	t.component, t.between = parts[0], parts[1:]
	return t, true
}

// component is what a product says of a package: all of it, or, of one of any version, its
// name and module alone.
type component struct {
	advisory.Package
	versioned bool
}

// of returns the package that t is. why says why it is none.
func (t target) of() (c component, why string) {
	h := t.component.Helper
	if h == nil {
		h = &helper{}
	}
	p, err := purl.Parse(h.PURL)
	switch {
	case h.PURL == "":
		if why = c.byID(t.component.ID); why != "" {
			return c, why
		}
	case err != nil:
		return c, "have a package URL that can't be read"
	case p.Type == "rpmmod":
		return c, "are modules, not packages"
	case p.Type != "rpm":
		return c, "are no RPM packages"
	default:
		if why = c.byPURL(p); why != "" {
			return c, why
		}
	}
	for _, m := range t.between {
		if c.Module == nil {
			c.Module = module(m)
		}
	}
	if sums := sha256s(h.Hashes, c.Filename()); len(sums) == 1 {
		c.Digest = sums[0]
	}
	return c, ""
}

func (c *component) byPURL(p purl.PURL) string {
	c.Name, c.Arch = p.Name, p.Qualifiers["arch"]
	c.Source = advisory.SourceFile(p.Qualifiers["upstream"])
	if m, ok := advisory.ParseModule(p.Qualifiers["rpmmod"]); ok {
		c.Module = &m
	}
	if p.Version == "" {
		return ""
	}
	i := strings.LastIndexByte(p.Version, '-')
	if i < 0 {
		return "have a version without a release"
	}
	c.Version, c.Release, c.versioned = p.Version[:i], p.Version[i+1:], true
	// Some have the epoch before the version, as rpm writes it.
	evr, err := rpm.ParseEVR(p.Version)
	if err != nil {
		return "have an epoch that is none"
	}
	c.Version, c.Epoch = evr.Version, evr.Epoch
	if e := p.Qualifiers["epoch"]; e != "" {
		if c.Epoch, err = strconv.Atoi(e); err != nil {
			return "have an epoch that is none"
		}
	}
	return ""
}

// byID reads a product's id as it was before there were package URLs: a NEVRA, or a name
// with or without ".src".
func (c *component) byID(id string) string {
	id, rest, _ := strings.Cut(id, "::")
	if m, ok := advisory.ParseModule(rest); ok {
		c.Module = &m
	}
	if n, err := rpm.ParseNEVRA(strings.TrimSuffix(id, ".rpm")); err == nil {
		c.NEVRA, c.versioned = n, true
		return ""
	}
	c.Name = strings.TrimSuffix(id, ".src")
	if probe := (rpm.NEVRA{Name: c.Name, Version: "0", Release: "0", Arch: "src"}); !probe.Valid() {
		return "have an id that names no package"
	}
	return ""
}

// module reads a product as a stream of a module: by its package URL,
// pkg:rpmmod/redhat/virt@rhel:8100020240905:489197e6, or by its id.
func module(p product) *advisory.Module {
	text := p.ID
	if p.Helper != nil {
		if u, err := purl.Parse(p.Helper.PURL); err == nil && u.Type == "rpmmod" {
			text = u.Name + ":" + u.Version
		}
	}
	if m, ok := advisory.ParseModule(text); ok {
		return &m
	}
	return nil
}

func sha256s(hs []hashes, filename string) []albs.Digest {
	var out []albs.Digest
	for _, h := range hs {
		for _, f := range h.Files {
			if d := albs.Digest(strings.ToLower(f.Value)); h.Name == filename && f.Algorithm == "sha256" && d.Valid() {
				out = append(out, d)
			}
		}
	}
	return out
}
