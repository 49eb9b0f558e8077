package bill

import (
	"context"
	"fmt"
	"slices"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build"
	"albs/internal/master/product"
	"albs/internal/master/release"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/sbom"
)

// maxListed is the most packages that a release may show for its bill to list all of
// them; of a larger one it lists what the release added, and says how many there are
// beside.
const maxListed = 5000

// maxRead is how many packages are looked at together for bills of their own: what the
// first release of a distribution adds takes its turns.
const maxRead = 1000

// released makes the bills of a release that is public, and of those of its packages that
// have none of a release yet.
func (b *Bills) released(ctx context.Context, id albs.ReleaseID) error {
	r, err := b.Releases.Get(ctx, id)
	if err != nil {
		return err
	}
	if r.Status != release.Completed && r.Status != release.Reverted {
		return nil
	}
	if have, err := b.store.facts(ctx, sbom.Release, id.String()); err != nil || have == r.Tree {
		return err
	}
	shown, err := b.shown(ctx, r)
	if err != nil {
		return fmt.Errorf("bill of release %d: %w", id, err)
	}
	have, err := b.store.of(ctx, shown.digests())
	if err != nil {
		return err
	}
	// One that was made for a build goes with it, and a released package stays.
	fresh := slices.DeleteFunc(shown.digests(), func(d albs.Digest) bool { return have[d].lasts() })
	k := keeping{Bills: b}
	for some := range slices.Chunk(fresh, maxRead) {
		if err := b.ofFresh(ctx, r, shown, some, k.add); err != nil {
			return fmt.Errorf("bills of packages of release %d: %w", id, err)
		}
	}
	if err := b.ofRelease(ctx, r, shown, maxListed, k.add); err != nil {
		return fmt.Errorf("bill of release %d: %w", id, err)
	}
	return k.end(ctx)
}

// shown is what a product shows by a release.
type shown struct {
	at           time.Time
	repositories []shownRepository
}

type shownRepository struct {
	repodata.TreeRepo
	as       product.Repository // zero of one that the product has no more
	open     *repodata.Snapshot
	packages []albs.Digest
	sources  []repodata.Entry // those of packages that are source packages
}

func (s shown) digests() []albs.Digest {
	var out []albs.Digest
	for _, r := range s.repositories {
		out = append(out, r.packages...)
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// shown reads which packages a release shows. It is a Conflict if its serial is beyond the
// product's retention.
func (b *Bills) shown(ctx context.Context, r release.Release) (shown, error) {
	tree, err := b.Repos.TreeAt(ctx, r.Product, r.Serial)
	if err != nil {
		return shown{}, err
	}
	doc, err := b.Repos.ReadTree(ctx, tree.Digest)
	if err != nil {
		return shown{}, err
	}
	p, err := b.Products.Get(ctx, r.Product)
	if err != nil {
		return shown{}, err
	}
	out := shown{at: tree.At.UTC().Truncate(time.Second)}
	for _, t := range doc.Repositories {
		repo := shownRepository{TreeRepo: t}
		if i := slices.IndexFunc(p.Repositories, func(o product.Repository) bool { return o.Path == t.Path }); i >= 0 {
			repo.as = p.Repositories[i]
		}
		if repo.open, err = b.Repos.Open(ctx, t.Snapshot); err != nil {
			return shown{}, fmt.Errorf("repository %s: %w", t.Path, err)
		}
		err := repo.open.Packages(ctx, b.Repos.Blobs(), func(e repodata.Entry) error {
			repo.packages = append(repo.packages, e.Digest)
			if e.Arch == string(albs.Src) {
				repo.sources = append(repo.sources, e)
			}
			return nil
		})
		if err != nil {
			return shown{}, fmt.Errorf("repository %s: %w", t.Path, err)
		}
		out.repositories = append(out.repositories, repo)
	}
	return out, nil
}

// ofFresh finds out the bills of packages that a release shows.
func (b *Bills) ofFresh(ctx context.Context, r release.Release, s shown, fresh []albs.Digest, yield func(context.Context, made) error) error {
	g, files, err := b.group(ctx, s, set(fresh))
	if err != nil {
		return err
	}
	if err := b.proven(ctx, fresh...); err != nil {
		return err
	}
	for _, d := range fresh {
		a := files[d]
		one, err := b.ofPackage(ctx, g, a, s.at)
		if err == nil {
			one.release = r
			err = yield(ctx, one)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func set(ds []albs.Digest) map[albs.Digest]bool {
	out := make(map[albs.Digest]bool, len(ds))
	for _, d := range ds {
		out[d] = true
	}
	return out
}

// listed are the packages that the bill of a release tells of: all up to a limit, else
// those that it added.
func listed(r release.Release, all []albs.Digest, limit int) map[albs.Digest]bool {
	if len(all) <= limit {
		return set(all)
	}
	told := added(r.Plan)
	slices.Sort(told)
	told = slices.DeleteFunc(slices.Compact(told), func(d albs.Digest) bool {
		_, there := slices.BinarySearch(all, d)
		return !there
	})
	return set(told[:min(len(told), limit)])
}

// ofRelease finds out the bill of a release, of which all packages are listed up to a
// limit. What it tells of packages was proven when bills of their own were made.
func (b *Bills) ofRelease(ctx context.Context, r release.Release, s shown, limit int, yield func(context.Context, made) error) error {
	all := s.digests()
	told := listed(r, all, limit)
	g, _, err := b.group(ctx, s, told)
	if err != nil {
		return err
	}
	whole := b.words(sbom.Release)
	whole.Made = s.at
	whole.Root = sbom.Component{
		Ref: "release", Type: sbom.Set, Name: r.Product, Version: number(r.Serial), Partial: len(told) < len(all),
		Properties: []sbom.Property{
			{Name: sbom.PropertyReleaseID, Value: r.ID.String()}, {Name: sbom.PropertyProduct, Value: r.Product},
			{Name: sbom.PropertySerial, Value: number(r.Serial)}, {Name: sbom.PropertyTree, Value: string(r.Tree)},
		},
	}
	for _, p := range s.repositories {
		whole.Root.Properties = append(whole.Root.Properties, sbom.Property{Name: sbom.PropertyRepository, Value: p.Path + " " + string(p.Snapshot)})
	}
	if whole.Root.Partial {
		whole.Root.Properties = append(whole.Root.Properties, sbom.Property{Name: sbom.PropertyUnlisted, Value: number(int64(len(all) - len(told)))})
	}
	if whole, err = g.Whole(whole); err != nil {
		return err
	}
	return yield(ctx, made{bill: whole, subject: r.ID.String(), name: fmt.Sprintf("%s-%d", r.Product, r.Serial), facts: r.Tree, release: r})
}

// added are the packages that a plan adds.
func added(p plan.Plan) (out []albs.Digest) {
	for _, r := range p.Repositories {
		for _, c := range r.Packages {
			if c.Action == plan.Add {
				out = append(out, c.Digest)
			}
		}
	}
	return out
}

// group reads those packages that are shown and chosen, with what is known of their builds
// and by what their requirements are met.
func (b *Bills) group(ctx context.Context, s shown, read map[albs.Digest]bool) (*sbom.Group, map[albs.Digest]artifact.Artifact, error) {
	g, files := sbom.NewGroup(), map[albs.Digest]artifact.Artifact{}
	var unsigned []albs.Digest
	for _, d := range s.digests() {
		if !read[d] {
			continue
		}
		a, err := b.Artifacts.Find(ctx, d)
		if err != nil {
			return nil, nil, fmt.Errorf("package %s: %w", d.Short(), err)
		}
		files[d] = a
		if a.Unsigned != "" {
			unsigned = append(unsigned, a.Unsigned)
		}
	}
	of, err := b.Builds.Made(ctx, unsigned)
	if err != nil {
		return nil, nil, err
	}
	systems := map[string]sbom.Distribution{}
	builds := map[albs.BuildID]build.Build{}
	for _, r := range s.repositories {
		if _, ok := systems[r.as.Platform]; !ok {
			if systems[r.as.Platform], err = b.system(ctx, r.as.Platform); err != nil {
				return nil, nil, err
			}
		}
		for _, e := range r.sources {
			if !read[e.Digest] {
				g.Source(e.NEVRA, e.Digest, systems[r.as.Platform])
			}
		}
		for _, d := range r.packages {
			if !read[d] || g.Has(d) {
				continue
			}
			h, err := b.Artifacts.Package(ctx, d)
			if err != nil {
				return nil, nil, fmt.Errorf("header of %s: %w", files[d].Name, err)
			}
			m := g.Add(h, b.file(d), systems[r.as.Platform])
			v, it, err := b.origin(ctx, builds, of[files[d].Unsigned], files[d].Unsigned)
			if err != nil {
				return nil, nil, err
			}
			if err := b.describe(ctx, m, files[d], v, it); err != nil {
				return nil, nil, err
			}
		}
	}
	worlds, err := b.worlds(ctx, s, g)
	if err != nil {
		return nil, nil, err
	}
	g.Resolve(worlds)
	return g, files, nil
}

// maxBuilds is how many builds are remembered while a release is looked at.
const maxBuilds = 50

// origin returns the build of an unsigned package and its item there, zero if the build is
// gone.
func (b *Bills) origin(ctx context.Context, known map[albs.BuildID]build.Build, id albs.BuildID, d albs.Digest) (v build.Build, it build.Item, err error) {
	if id == 0 {
		return v, it, nil
	}
	v, ok := known[id]
	if !ok {
		v, err = b.Builds.Get(ctx, id)
		if albs.KindOf(err) == albs.NotFound {
			v, err = build.Build{}, nil
		}
		if err != nil {
			return v, it, err
		}
		if len(known) == maxBuilds {
			clear(known)
		}
		known[id] = v
	}
	item := albs.ItemID(0)
	for _, f := range v.Artifacts {
		if f.Digest == d {
			item = f.Item
		}
	}
	for _, o := range v.Items {
		if o.ID == item || o.SRPM.Digest == d {
			return v, o, nil
		}
	}
	return v, it, nil
}

// worlds returns what readers of the product install from together, each with what the
// packages of g that are in it may need of others.
func (b *Bills) worlds(ctx context.Context, s shown, g *sbom.Group) ([]sbom.World, error) {
	type key struct {
		platform string
		arch     albs.Arch
	}
	var order []key
	in := map[key][]shownRepository{}
	for _, r := range s.repositories {
		if r.as.Kind == product.Source || r.as.Platform == "" {
			continue
		}
		k := key{r.as.Platform, r.as.Arch}
		if in[k] == nil {
			order = append(order, k)
		}
		in[k] = append(in[k], r)
	}
	var out []sbom.World
	for _, k := range order {
		var w sbom.World
		var err error
		if w.Distribution, err = b.system(ctx, k.platform); err != nil {
			return nil, err
		}
		for _, r := range in[k] {
			for _, d := range r.packages {
				if g.Has(d) {
					w.Members = append(w.Members, d)
				}
			}
		}
		if len(w.Members) == 0 {
			continue
		}
		wanted := g.Wanted(w.Members)
		if w.Beneath, err = b.beneath(ctx, k.platform, k.arch, wanted); err != nil {
			return nil, err
		}
		for _, r := range in[k] {
			if w.Others, err = b.others(ctx, r, g, wanted, w.Others); err != nil {
				return nil, fmt.Errorf("repository %s: %w", r.Path, err)
			}
		}
		out = append(out, w)
	}
	return out, nil
}

// others adds the packages of a repository that aren't in g and provide something that is
// wanted, by the repository's metadata.
func (b *Bills) others(ctx context.Context, r shownRepository, g *sbom.Group, wanted map[string]bool, to []sbom.Part) ([]sbom.Part, error) {
	if !slices.ContainsFunc(r.packages, func(d albs.Digest) bool { return !g.Has(d) }) {
		return to, nil
	}
	for _, part := range r.open.Parts() {
		err := r.open.Listed(ctx, b.Repos.Blobs(), part, func(l repodata.Listed) error {
			if g.Has(l.Digest) {
				return nil
			}
			p := sbom.Part{Ref: sbom.RefOf(l.Digest), NEVRA: l.NEVRA, SourceRPM: l.SourceRPM}
			for _, c := range l.Provides {
				if wanted[c.Name] {
					p.Provides = append(p.Provides, c.Depend())
				}
			}
			for _, f := range l.Files {
				if wanted[f] {
					p.Files = append(p.Files, f)
				}
			}
			if len(p.Provides)+len(p.Files) > 0 {
				to = append(to, p)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return to, nil
}
