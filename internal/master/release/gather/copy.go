package gather

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/product"
	"albs/internal/master/release/plan"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// copied finds the packages that another product showed, what is known of each by the build
// that it is of, and the copy that the product's own key has signed.
func (g *Gatherer) copied(ctx, settled context.Context, f *plan.Facts, c plan.Copy) error {
	from, err := g.Products.Get(ctx, c.Product)
	if err != nil {
		return err
	}
	t, err := g.Repos.TreeAt(ctx, c.Product, c.Serial)
	if err != nil {
		return fmt.Errorf("what product %s showed: %w", c.Product, err)
	}
	tree, err := g.Repos.ReadTree(ctx, t.Digest)
	if err != nil {
		return err
	}
	known := map[string]product.Repository{}
	for _, r := range from.Repositories {
		known[r.Path] = r
	}
	meant := make([]bool, len(c.Packages))
	for _, in := range tree.Repositories {
		r, ok := known[in.Path]
		if !ok {
			f.Unread = append(f.Unread, fmt.Sprintf("product %s showed the repository %s, which it hasn't any more: of its packages isn't known where they belong, so none is copied", c.Product, in.Path))
			continue
		}
		if err := g.copiedFrom(ctx, f, c, r, in.Snapshot, meant); err != nil {
			return fmt.Errorf("repository %s of product %s: %w", in.Path, c.Product, err)
		}
		if len(f.Packages) > MaxPackages {
			return albs.Errorf(albs.TooLarge, "product %s shows more than %d packages: copy them in parts", c.Product, MaxPackages)
		}
	}
	for i, there := range meant {
		if !there {
			return albs.Errorf(albs.NotFound, "product %s shows no package %.100q at serial %d, neither by that NEVRA nor by that name or source package", c.Product, c.Packages[i], c.Serial)
		}
	}
	return g.known(ctx, settled, f)
}

// copiedFrom finds the packages of one repository. What meant has at a word's place is
// true once a package was meant by it.
func (g *Gatherer) copiedFrom(ctx context.Context, f *plan.Facts, c plan.Copy, r product.Repository, snapshot albs.Digest, meant []bool) error {
	s, err := g.Repos.Open(ctx, snapshot)
	if err != nil {
		return err
	}
	entries, err := g.Entries(ctx, s)
	if err != nil {
		return err
	}
	streams, err := g.streams(ctx, s.Records())
	if err != nil {
		return err
	}
	modular := map[rpm.NEVRA]bool{}
	for _, st := range streams {
		for _, n := range st.Packages {
			modular[n] = true
		}
	}
	type key struct{ name, arch string }
	newest := map[key]rpm.NEVRA{}
	for _, e := range entries {
		k := key{e.Name, e.Arch}
		if first, ok := newest[k]; !modular[e.NEVRA] && (!ok || rpm.Compare(first.EVR(), e.EVR()) < 0) {
			newest[k] = e.NEVRA
		}
	}
	for _, e := range entries {
		a, err := g.Artifacts.Get(ctx, g.DB, e.Digest)
		if err != nil {
			return err
		}
		words := c.Wants(e.NEVRA, sourceName(a))
		if len(c.Packages) > 0 && len(words) == 0 {
			continue
		}
		named := false
		for _, i := range words {
			meant[i] = true
			named = named || c.Packages[i] == e.NEVRA.String()
		}
		if last := newest[key{e.Name, e.Arch}]; !named && !modular[e.NEVRA] && last != e.NEVRA {
			f.Left = append(f.Left, plan.Left{Package: e.NEVRA.String(), Repository: r.Path, Reason: "it is older than " + last.String()})
			continue
		}
		f.Packages = append(f.Packages, candidateOf(e, a, r))
	}
	return nil
}

func candidateOf(e repodata.Entry, a artifact.Artifact, r product.Repository) plan.Candidate {
	return plan.Candidate{
		Platform: r.Platform, Arch: r.Arch, NEVRA: e.NEVRA, File: a.Name, Unsigned: a.Unsigned, From: r.Path, Place: r.Place, Shown: a.Digest, SignedBy: a.SignedBy,
	}
}

func sourceName(a artifact.Artifact) string {
	n, err := rpm.ParseNEVRA(strings.TrimSuffix(a.SourceRPM, ".rpm"))
	if err != nil {
		return a.NEVRA.Name // a source package itself
	}
	return n.Name
}

// known fills in what is known of copied packages.
func (g *Gatherer) known(ctx, settled context.Context, f *plan.Facts) error {
	var all []albs.Digest
	for _, c := range f.Packages {
		if c.Unsigned != "" {
			all = append(all, c.Unsigned)
		}
	}
	slices.Sort(all)
	all = slices.Compact(all)
	builds, err := g.Builds.Made(ctx, all)
	if err != nil {
		return err
	}
	var signed map[albs.Digest]artifact.Artifact
	if f.Key != "" {
		if signed, err = g.Signs.Signed(ctx, all, f.Key); err != nil {
			return err
		}
	}
	tested := map[albs.BuildID][]albs.Digest{}
	for i := range f.Packages {
		c := &f.Packages[i]
		c.Build = builds[c.Unsigned]
		if a, ok := signed[c.Unsigned]; ok {
			c.Signed, c.Size = a.Digest, a.Size
			if c.SignedBy == f.Key && a.Digest != c.Shown {
				return albs.Errorf(albs.Conflict, "%s is on record with two copies signed with key %s, %s and %s: the database was changed behind albs; compare it with a backup",
					c.NEVRA, f.Key, a.Digest.Short(), c.Shown.Short())
			}
		}
		if !c.Source() && c.Build != 0 {
			tested[c.Build] = append(tested[c.Build], c.Unsigned)
		}
	}
	verdicts := map[albs.Digest]testrun.Verdict{}
	for id, ds := range tested {
		of, err := g.Tests.Verdict(ctx, id, ds, f.Product.Gate)
		if err != nil {
			return err
		}
		for d, v := range of {
			verdicts[d] = v
		}
	}
	for i := range f.Packages {
		c := &f.Packages[i]
		if !c.Source() {
			c.Tests = testrun.Verdict{State: testrun.Missing, Reason: "it was never tested"}
			if v, ok := verdicts[c.Unsigned]; ok {
				c.Tests = v
			}
		}
		if c.Signed != "" {
			if c.Notarized, err = g.notarized(ctx, settled, c.Unsigned, c.Signed); err != nil {
				return err
			}
		}
	}
	return g.signedTests(ctx, f.Product.Gate, f.Packages)
}
