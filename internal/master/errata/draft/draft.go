// Package draft proposes advisories of the distribution's own for builds: what is new in
// the changelogs of their packages since what is released, the CVEs and bugs that these
// and the commits name, and the packages. It proposes: a person edits it and makes the
// advisory of it. It keeps nothing.
package draft

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/auth"
	"albs/internal/master/build"
	"albs/internal/master/platform"
	"albs/internal/master/product"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm"
)

// Builds tells what builds made; build.Builds is one.
type Builds interface {
	Get(ctx context.Context, id albs.BuildID) (build.Build, error)
	PackagesOfItem(ctx context.Context, id albs.BuildID, item albs.ItemID) (platform string, as []build.Artifact, err error)
}

// Commits tells what commits say; source.Sources is one.
type Commits interface {
	Message(ctx context.Context, url, commit string) (string, error)
}

// Parts are the modules that drafts rest on. All are required.
type Parts struct {
	Artifacts *artifact.Artifacts
	Platforms *platform.Platforms
	Products  *product.Products
	Repos     *repo.Repos
	Builds    Builds
	Commits   Commits
}

// Drafts makes drafts. It may be used concurrently.
type Drafts struct{ Parts }

// New returns the drafts of a master. It does no I/O.
func New(p Parts) *Drafts { return &Drafts{p} }

// Draft is a proposal.
type Draft struct {
	// Advisory has no id, no version and no times.
	Advisory advisory.Advisory
	// Notes are sentences on what couldn't be found out, and what the rest rests on.
	Notes []string
}

// Of proposes an advisory for what a build made for a platform. It may go out to git hosts
// and reads headers of packages, so it is not for transactions. Errors: NotFound for an
// unknown build or platform, Forbidden without errata.create on the platform's team, and
// Invalid if the build made nothing for the platform.
func (d *Drafts) Of(ctx context.Context, id albs.BuildID, name string) (Draft, error) {
	p, err := d.Platforms.Get(ctx, name)
	if err != nil {
		return Draft{}, err
	}
	if err := auth.Can(ctx, auth.ErrataCreate, auth.Object{Team: p.Errata.Team}); err != nil {
		return Draft{}, err
	}
	b, err := d.Builds.Get(ctx, id)
	if err != nil {
		return Draft{}, err
	}
	var sources []source
	var notes []string
	for _, it := range b.Items {
		if it.Platform != p.Name {
			continue
		}
		s, err := d.source(ctx, id, it)
		if err != nil {
			return Draft{}, err
		}
		if s.name == "" {
			continue
		}
		if it.URL != "" {
			if s.message, err = d.Commits.Message(ctx, it.URL, it.Commit); err != nil {
				if ctx.Err() != nil {
					return Draft{}, ctx.Err()
				}
				notes = append(notes, fmt.Sprintf("the message of commit %.12s of %s can't be read: %v", it.Commit, s.name, err))
			}
		}
		sources = append(sources, s)
	}
	if len(sources) == 0 {
		return Draft{}, albs.Errorf(albs.Invalid, "build %d made no packages for platform %s", id, p.Name)
	}
	if err := d.before(ctx, p.Name, sources); err != nil {
		return Draft{}, err
	}
	out := propose(sources)
	out.Advisory.Platform = p.Name
	out.Notes = append(notes, out.Notes...)
	return out, nil
}

// source reads what an item made; one without a name made nothing.
func (d *Drafts) source(ctx context.Context, id albs.BuildID, it build.Item) (source, error) {
	var s source
	_, files, err := d.Builds.PackagesOfItem(ctx, id, it.ID)
	if err != nil {
		return s, err
	}
	seen := map[albs.Digest]bool{}
	for _, f := range files {
		if seen[f.Digest] {
			continue
		}
		seen[f.Digest] = true
		p, err := d.Artifacts.Package(ctx, f.Digest)
		if err != nil {
			return s, fmt.Errorf("read %s: %w", f.Name, err)
		}
		if s.changes == nil { // all packages of a source have one changelog
			s.changes = p.Changelog
		}
		if p.Source {
			s.name, s.evr = p.NEVRA.Name, p.NEVRA.EVR()
			continue
		}
		if p.NEVRA.Debug() {
			continue
		}
		pkg := advisory.Package{NEVRA: p.NEVRA, Source: p.SourceRPM}
		if m, ok := advisory.ParseModule(p.Modularity); ok {
			pkg.Module = &m
		}
		s.packages = append(s.packages, pkg)
	}
	if s.name == "" && len(s.packages) > 0 {
		s.name, s.evr = s.packages[0].SourceName(), s.packages[0].SourceEVR()
	}
	return s, nil
}

// before finds the newest packages older than the sources that the products of a platform
// show, and notes their changelogs.
func (d *Drafts) before(ctx context.Context, name string, sources []source) error {
	wants := map[string][]int{} // by name of a package: places in sources
	for i, s := range sources {
		wants[s.name] = append(wants[s.name], i)
		for _, p := range s.packages {
			if !slices.Contains(wants[p.Name], i) {
				wants[p.Name] = append(wants[p.Name], i)
			}
		}
	}
	found := make([]repodata.Entry, len(sources))
	err := d.shown(ctx, name, func(e repodata.Entry) error {
		for _, i := range wants[e.Name] {
			if rpm.Compare(e.EVR(), sources[i].evr) < 0 && (found[i].Digest == "" || rpm.Compare(e.EVR(), found[i].EVR()) > 0) {
				found[i] = e
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("look through what platform %s shows: %w", name, err)
	}
	for i, e := range found {
		if e.Digest == "" {
			continue
		}
		p, err := d.Artifacts.Package(ctx, e.Digest)
		if err != nil {
			return fmt.Errorf("read %s: %w", e.Path, err)
		}
		sources[i].released, sources[i].before = e.NEVRA, p.Changelog
	}
	return nil
}

// shown calls yield for each package in the repositories that products show for a
// platform.
func (d *Drafts) shown(ctx context.Context, name string, yield func(repodata.Entry) error) error {
	all, err := d.Products.All(ctx)
	if err != nil {
		return err
	}
	seen := map[albs.Digest]bool{}
	for _, p := range all {
		if !slices.Contains(p.Platforms, name) {
			continue
		}
		t, err := d.Repos.TreeOf(ctx, p.Name)
		if errors.Is(err, albs.NotFound) {
			continue // nothing was released yet
		}
		if err != nil {
			return err
		}
		doc, err := d.Repos.ReadTree(ctx, t.Digest)
		if err != nil {
			return err
		}
		for _, r := range doc.Repositories {
			of := slices.ContainsFunc(p.Repositories, func(o product.Repository) bool { return o.Path == r.Path && o.Platform == name })
			if !of || seen[r.Snapshot] {
				continue
			}
			seen[r.Snapshot] = true
			s, err := d.Repos.Open(ctx, r.Snapshot)
			if err != nil {
				return err
			}
			if err := s.Packages(ctx, d.Repos.Blobs(), yield); err != nil {
				return err
			}
		}
	}
	return nil
}

// names are the names of sources as a title has them.
func names(sources []source) string {
	var out []string
	for _, s := range sources {
		if !slices.Contains(out, s.name) {
			out = append(out, s.name)
		}
	}
	switch n := len(out); {
	case n == 1:
		return out[0]
	case n <= 3:
		return strings.Join(out[:n-1], ", ") + " and " + out[n-1]
	default:
		return fmt.Sprintf("%s, %s and %d more", out[0], out[1], n-2)
	}
}
