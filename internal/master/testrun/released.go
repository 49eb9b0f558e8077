package testrun

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"

	"albs/internal/albs"
	"albs/internal/master/product"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Bounds of what is looked at for released versions.
const (
	maxReleased = 32 // repositories of a product
	maxShelves  = 8  // snapshots whose names are remembered
)

// releasedPriority has what is built, and what the platform has, go before what the product
// shows: the same package may be in both, and there it is another file, for it is signed.
const releasedPriority = 200

// released finds, for packages under test in root, the version that readers have now and
// that is older: in what the product shows for the platform and arch, and in those of the
// root's outside repositories whose content is known. It returns the NEVRAs by those of the
// packages, and the repositories that the root has to get for them.
func (t *Tests) released(ctx context.Context, name string, run runRow, root albs.Root, packages []packageRow) (map[string]string, []albs.Repo, error) {
	shown, err := t.shown(ctx, name, run, packages)
	if err != nil {
		return nil, nil, err
	}
	listed, err := t.listed(ctx, run, root, packages)
	if err != nil {
		return nil, nil, err
	}
	from := map[string]string{}
	var repos []albs.Repo
	for _, p := range packages {
		n, err := rpm.ParseNEVRA(p.NEVRA)
		if err != nil {
			continue
		}
		old, ok := newestBelow(n, shown.versions)
		if o, also := newestBelow(n, listed); also && (!ok || rpm.Compare(o.EVR(), old.EVR()) > 0) {
			old, ok = o, true
		} else if ok {
			repos = shown.repos
		}
		if ok {
			from[p.NEVRA] = old.String()
		}
	}
	return from, repos, nil
}

// newestBelow returns the newest of the versions that are of n's name and arch and older.
func newestBelow(n rpm.NEVRA, versions []rpm.NEVRA) (best rpm.NEVRA, ok bool) {
	for _, v := range versions {
		if v.Name != n.Name || v.Arch != n.Arch || rpm.Compare(v.EVR(), n.EVR()) >= 0 {
			continue
		}
		if !ok || rpm.Compare(v.EVR(), best.EVR()) > 0 {
			best, ok = v, true
		}
	}
	return best, ok
}

// shown is what a product shows of packages.
type shown struct {
	versions []rpm.NEVRA
	repos    []albs.Repo // in which they are, with those beside them
}

// shown looks for the packages in what the product shows for the run's platform and arch.
func (t *Tests) shown(ctx context.Context, name string, run runRow, packages []packageRow) (out shown, err error) {
	if name == "" {
		return out, nil
	}
	p, err := t.products.Get(ctx, name)
	if err != nil {
		return out, unlessGone(err)
	}
	tree, err := t.repos.TreeOf(ctx, name)
	if err != nil {
		return out, unlessGone(err) // nothing was released yet
	}
	doc, err := t.repos.ReadTree(ctx, tree.Digest)
	if err != nil {
		return out, fmt.Errorf("read what product %s shows: %w", name, err)
	}
	var targets []product.Repository
	for _, kind := range []product.Kind{product.RPM, product.Debug} {
		if rs, err := p.Targets(run.Platform, run.Arch, kind); err == nil {
			targets = append(targets, rs...)
		}
	}
	for _, r := range targets[:min(len(targets), maxReleased)] {
		i := slices.IndexFunc(doc.Repositories, func(x repodata.TreeRepo) bool { return x.Path == r.Path })
		if i < 0 {
			continue
		}
		snapshot := doc.Repositories[i].Snapshot
		shelf, err := t.shelves.of(ctx, t.repos, snapshot)
		if err != nil {
			return out, fmt.Errorf("read repository %s of product %s: %w", r.Path, name, err)
		}
		out.repos = append(out.repos, albs.Repo{ID: "released-" + strconv.Itoa(i), Snapshot: snapshot, Priority: releasedPriority, Own: true, Modular: shelf.modular})
		for _, pkg := range packages {
			n, err := rpm.ParseNEVRA(pkg.NEVRA)
			if err != nil {
				continue
			}
			out.versions = append(out.versions, shelf.versions[n.Name+"."+n.Arch]...)
		}
	}
	return out, nil
}

// unlessGone returns err, nil if it is that there is no such thing.
func unlessGone(err error) error {
	if albs.KindOf(err) == albs.NotFound {
		return nil
	}
	return err
}

// listed looks for the packages in what is known of the root's outside repositories.
func (t *Tests) listed(ctx context.Context, run runRow, root albs.Root, packages []packageRow) ([]rpm.NEVRA, error) {
	pl, err := t.platforms.Get(ctx, run.Platform)
	if err != nil {
		return nil, unlessGone(err)
	}
	var names []string
	for _, p := range packages {
		if n, err := rpm.ParseNEVRA(p.NEVRA); err == nil {
			names = append(names, n.Name)
		}
	}
	found, err := t.references.Find(ctx, pl, names)
	if err != nil {
		return nil, fmt.Errorf("look for released versions: %w", err)
	}
	var out []rpm.NEVRA
	for _, l := range found {
		if slices.ContainsFunc(root.Repos, func(r albs.Repo) bool { return r.Mirror != "" && sameFolder(r.Mirror, l.Reference.URL) }) {
			out = append(out, l.NEVRA)
		}
	}
	return out, nil
}

func sameFolder(a, b string) bool { return strings.TrimRight(a, "/") == strings.TrimRight(b, "/") }

// shelves remember, of the snapshots that were asked for last, which packages they have by
// name and arch: a snapshot never changes, and many runs ask for the same.
type shelves struct {
	mu   sync.Mutex
	held []albs.Digest // the one asked for last at the end
	by   map[albs.Digest]shelf
}

// shelf is what a snapshot has: the versions of packages by name.arch, and whether it has
// modules.
type shelf struct {
	versions map[string][]rpm.NEVRA
	modular  bool
}

// opener opens snapshots; repo.Repos is one.
type opener interface {
	Open(ctx context.Context, snapshot albs.Digest) (*repodata.Snapshot, error)
	Blobs() repodata.Blobs
}

// of returns what a snapshot has.
func (s *shelves) of(ctx context.Context, repos opener, snapshot albs.Digest) (shelf, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.held, snapshot); i >= 0 {
		s.held = append(slices.Delete(s.held, i, i+1), snapshot)
		return s.by[snapshot], nil
	}
	opened, err := repos.Open(ctx, snapshot)
	if err != nil {
		return shelf{}, err
	}
	found := shelf{
		versions: map[string][]rpm.NEVRA{},
		modular:  slices.ContainsFunc(opened.Records(), func(r repodata.Record) bool { return r.Type == "modules" }),
	}
	err = opened.Packages(ctx, repos.Blobs(), func(e repodata.Entry) error {
		found.versions[e.Name+"."+e.Arch] = append(found.versions[e.Name+"."+e.Arch], e.NEVRA)
		return nil
	})
	if err != nil {
		return shelf{}, err
	}
	if s.by == nil {
		s.by = map[albs.Digest]shelf{}
	}
	if len(s.held) == maxShelves {
		delete(s.by, s.held[0])
		s.held = slices.Delete(s.held, 0, 1)
	}
	s.held, s.by[snapshot] = append(s.held, snapshot), found
	return found, nil
}

// moduleOf returns the stream of a module's label, name:stream:version:context, as
// name:stream; "" where there is none.
func moduleOf(label string) string {
	f := strings.Split(label, ":")
	if len(f) < 2 {
		return ""
	}
	if m := f[0] + ":" + f[1]; albs.CheckModule(m) == nil {
		return m
	}
	return ""
}
