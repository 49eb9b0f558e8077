package plan

import (
	"fmt"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/master/release/closure"
)

// Closure is what a release would leave without a provider that isn't so today.
type Closure struct {
	Policy product.Closure `json:"policy"`
	// Repositories are the paths of those that were looked at.
	Repositories []string `json:"repositories,omitempty"`
	// Broken are packages that would lack something.
	Broken []closure.Broken `json:"broken,omitempty"`
	// Unknown are packages that require paths that no metadata lists and that may be there.
	Unknown []closure.Broken `json:"unknown,omitempty"`
	// More is how many of either aren't told, for there are too many.
	More int `json:"more,omitempty"`
	// Unread are sentences about what lies beneath and was never read. What needs it isn't
	// known, so nothing was looked for in the repositories above.
	Unread []string `json:"unread,omitempty"`
}

// maxBroken bounds what a plan tells of broken packages.
const maxBroken = 500

// World are the repositories of binary packages that readers of a platform and an arch have
// of a product.
type World struct {
	Platform string
	Arch     albs.Arch
}

// Worlds returns those into which the plan adds packages, in the order of the plan's
// repositories, each with all its repositories.
func (p Plan) Worlds() []World {
	var out []World
	seen := map[World]bool{}
	for _, r := range p.Repositories {
		w := World{r.Platform, r.Arch}
		if seen[w] || r.Kind == product.Source {
			continue
		}
		for _, c := range r.Packages {
			if c.Action == Add {
				seen[w] = true
				out = append(out, w)
				break
			}
		}
	}
	return out
}

// Holds reports whether a repository is one of the world's.
func (w World) Holds(r Repository) bool {
	return r.Platform == w.Platform && r.Arch == w.Arch && r.Kind != product.Source
}

// Judge has the plan tell what was found of its closure, and refuses it where the policy
// wants none broken.
func (p *Plan) Judge(c Closure) {
	if c.Policy == product.Closed {
		for _, b := range c.Broken {
			why := "after the release nothing would provide what it needs in %s: %s; release what provides that along, or exclude it"
			if b.Shown {
				why = "it is shown in %s and would lose what it needs: %s; release an update of it along, or what provides that"
			}
			p.refuse(Refusal{Package: b.Package, Reason: fmt.Sprintf(why, b.Repository, strings.Join(b.Needs, ", "))})
		}
		for _, why := range c.Unread {
			p.refuse(Refusal{Reason: fmt.Sprintf("product %s wants nothing unresolved, and that can't be told: %s", p.Product, why)})
		}
	} else {
		for _, why := range c.Unread {
			p.Notes = append(p.Notes, "what the release leaves unresolved can't be told: "+why)
		}
		if len(c.Broken) > 0 {
			first := c.Broken[0]
			p.Notes = append(p.Notes, fmt.Sprintf("after the release %d packages would lack something that they have today or are added without, as %s in %s: %s",
				len(c.Broken), first.Package, first.Repository, strings.Join(first.Needs, ", ")))
		}
	}
	for _, list := range []*[]closure.Broken{&c.Broken, &c.Unknown} {
		if n := len(*list) - maxBroken; n > 0 {
			*list = (*list)[:maxBroken]
			c.More += n
		}
	}
	p.Closure = &c
}
