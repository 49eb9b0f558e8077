// Package platform owns what packages are built for: platforms and flavours in all
// their revisions, and the pins of the outside repositories that their roots are
// filled from.
//
// A platform is never edited: applying a changed one adds a revision, with who
// did it, and the highest revision holds. A flavour, kept likewise, is what some
// builds have beside their platform: repositories, macros and packages. A Root names every outside repository
// by the digest of its repomd.xml, so that the same Root is the same root whenever
// it is made. The package does not install anything, expands no macro and does
// not know products or builds.
package platform

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/singleflight"

	"albs/internal/albs"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/revision"
)

// Platform is one revision of a platform.
type Platform struct {
	Spec
	revision.Stamp
}

type revisions = revision.Store[Spec, Platform]

// Outside is the way to mirrors; egress.Egress is one.
type Outside interface {
	// CheckURL refuses a URL that policy forbids, without going there.
	CheckURL(url string) error
	// Get opens what is at url, at most limit bytes of it.
	Get(ctx context.Context, url string, limit int64) (body io.ReadCloser, size int64, err error)
}

// Documents keeps mirrors' repomd.xml; repo.Repos is one.
type Documents interface {
	// Pin makes the bytes durable and returns their name.
	Pin(ctx context.Context, repomd []byte) (albs.Digest, error)
}

// Platforms keeps platforms. It may be used concurrently. Get, ByID, GetRevision,
// All and History are revision.Store's.
type Platforms struct {
	*revisions
	// Flavours are kept beside them.
	Flavours  *Flavours
	d         *db.DB
	outside   Outside
	documents Documents
	log       zerolog.Logger

	flights singleflight.Group
	mu      sync.Mutex
	pins    map[string]pin // by URL; as many as platforms ever named
}

// New returns Platforms over the database d. It does no I/O.
func New(d *db.DB, events revision.Events, outside Outside, documents Documents, log zerolog.Logger) *Platforms {
	return &Platforms{
		revisions: revision.New(d, events, revision.Platform, func(s Spec, at revision.Stamp) Platform { return Platform{s, at} }),
		Flavours:  newFlavours(d, events, outside),
		d:         d, outside: outside, documents: documents, log: log, pins: make(map[string]pin),
	}
}

// Apply makes s the platform of its name and returns its revision, which is
// durable. A spec equal to the present one changes nothing. It is Forbidden to
// actors without platform.apply and Invalid if s has a fault or names a URL that
// the master's egress policy refuses; mirrors are not contacted.
func (p *Platforms) Apply(ctx context.Context, s Spec) (Platform, error) {
	if err := auth.Can(ctx, auth.PlatformApply, auth.Object{}); err != nil {
		return Platform{}, err
	}
	if err := s.check(); err != nil {
		return Platform{}, err
	}
	for _, u := range s.urls() {
		if err := p.outside.CheckURL(u); err != nil {
			return Platform{}, albs.Errorf(albs.Invalid, "platform %s: %w", s.Name, err)
		}
	}
	return p.revisions.Apply(ctx, s.Name, s, nil, nil)
}

// urls returns a URL of every place to which the master or a worker goes for s.
func (s Spec) urls() []string {
	var urls []string
	for _, a := range s.Arches {
		for _, r := range forArch(s.Repositories, s.Root(a)) {
			urls = append(urls, repomdOf(r.at(s.Root(a))))
		}
	}
	for _, r := range s.ReferencesByArch() {
		urls = append(urls, repomdOf(r.URL))
	}
	for _, pattern := range s.Lookaside {
		urls = append(urls, exampleOf(pattern))
	}
	slices.Sort(urls)
	return slices.Compact(urls)
}

// Purpose is what a root is for.
type Purpose string

// The purposes of a root.
const (
	Build      Purpose = "build"
	SecureBoot Purpose = "secure boot" // a build for it
	Test       Purpose = "test"
)

// ccachePackage brings the compiler cache into a root.
const ccachePackage = "ccache"

// Root returns what a root of the platform for packages of arch, with flavours in
// the order given, is made of now, with each mirror pinned to the repomd.xml that it
// shows; repositories of builds are the caller's to add. It may go out to mirrors, so
// it is not for transactions. It is NotFound if there is no such platform, Invalid if
// that has no such arch or a flavour doesn't go with it, and Unavailable if a mirror
// is away that was never seen before; of one that was seen, the last pin holds until
// it is back.
func (p *Platforms) Root(ctx context.Context, name string, arch albs.Arch, purpose Purpose, with ...Flavour) (albs.Root, error) {
	pl, err := p.Get(ctx, name)
	if err != nil {
		return albs.Root{}, err
	}
	root, err := pl.Compose(arch, purpose, with...)
	if err != nil {
		return albs.Root{}, err
	}
	g, ctx := errgroup.WithContext(ctx)
	for i, r := range root.Repos {
		g.Go(func() (err error) {
			root.Repos[i].Repomd, err = p.pin(ctx, r.Mirror)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return albs.Root{}, fmt.Errorf("pin the repositories of platform %s for %s: %w", name, arch, err)
	}
	return root, nil
}

// Compose returns the root of the platform for packages of arch, with flavours,
// before its mirrors are pinned. It is Invalid as Root is.
func (pl Platform) Compose(arch albs.Arch, purpose Purpose, with ...Flavour) (albs.Root, error) {
	if !slices.Contains(pl.Arches, arch) {
		return albs.Root{}, albs.Errorf(albs.Invalid, "platform %s has no arch %.20s; it has %v", pl.Name, arch, pl.Arches)
	}
	root := albs.Root{
		Platform: pl.Name, Releasever: pl.Releasever, Arch: pl.Root(arch), RPMDBPath: pl.RPMDB.Path, RPMDB: pl.RPMDB.Backend, ModuleID: pl.ModuleID, SingleUID: pl.SingleUID,
		Timeout: time.Duration(pl.Timeout), MaxSilence: time.Duration(pl.MaxSilence),
	}
	switch purpose {
	case Build, SecureBoot:
		root.Packages, root.Network = slices.Clone(pl.Packages), pl.Network
		root.Macros = map[string]string{"dist": pl.Dist}
		maps.Copy(root.Macros, pl.Reproducible.macros())
		maps.Copy(root.Macros, pl.Macros)
		if purpose == SecureBoot {
			maps.Copy(root.Macros, pl.SecureBootMacros)
		} else if root.CCache = pl.CCache; pl.CCache && !slices.Contains(root.Packages, ccachePackage) {
			root.Packages = append(root.Packages, ccachePackage)
		}
	case Test:
		root.Packages = pl.TestPackages
	default:
		return albs.Root{}, albs.Errorf(albs.Invalid, "a root is for %s, %s or %s, not for %.20q", Build, SecureBoot, Test, purpose)
	}
	add := func(list []Repository) {
		for _, r := range forArch(list, root.Arch) {
			root.Repos = append(root.Repos, albs.Repo{ID: r.ID, Mirror: r.at(root.Arch), Priority: r.Priority})
		}
	}
	add(pl.Repositories)
	if err := pl.fits(with); err != nil {
		return albs.Root{}, err
	}
	for _, f := range with {
		add(f.Repositories)
		if purpose != Test {
			maps.Copy(root.Macros, f.Macros)
			for _, r := range f.Packages {
				if !slices.Contains(root.Packages, r) {
					root.Packages = append(root.Packages, r)
				}
			}
		}
	}
	return root, nil
}
