// Package gather finds what a plan is made of: the packages of builds with what is known of
// each, what references list of them, what the product shows and what it was given.
//
// It decides nothing, which is plan's part, and writes nothing. Whatever it finds may have
// changed a moment later: release computes a plan again before it publishes it.
package gather

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/db"
	"albs/internal/master/platform"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/provenance"
	given "albs/internal/master/record"
	"albs/internal/master/release/place"
	"albs/internal/master/release/plan"
	"albs/internal/master/repo"
	"albs/internal/master/sign"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
	"albs/internal/repodata/record"
)

// Parts are the modules that know the facts.
type Parts struct {
	DB         *db.DB
	Artifacts  *artifact.Artifacts
	Provenance *provenance.Provenance
	Platforms  *platform.Platforms
	Products   *product.Products
	References *reference.Index
	Records    *given.Records
	Repos      *repo.Repos
	Builds     *build.Builds
	Tests      *testrun.Tests
	Signs      *sign.Signing
	// Released returns the digest under which a file was ever released into a repository of
	// a product, "" if it never was.
	Released func(ctx context.Context, product, path, file string) (albs.Digest, error)
}

// Gatherer finds facts. It may be used concurrently.
type Gatherer struct {
	Parts
	closing sync.Mutex
	mu      sync.Mutex
	entries map[albs.Digest][]repodata.Entry // packages by snapshot; see Entries
	label   map[albs.Digest]string           // of packages, by digest; see labels
	modules map[albs.Digest][]record.Stream  // by the digest of the record; see streams
}

// New returns a Gatherer over the modules. It does no I/O.
func New(p Parts) *Gatherer {
	return &Gatherer{
		Parts: p, entries: make(map[albs.Digest][]repodata.Entry), label: make(map[albs.Digest]string), modules: make(map[albs.Digest][]record.Stream),
	}
}

// Wish is what a plan is asked for.
type Wish struct {
	Product product.Product
	// Builds are those whose packages are to be released.
	Builds []albs.BuildID
	// Copy says of another product's packages which are to be released; nil for none.
	Copy *plan.Copy
	// Wanted is what is to be released beside packages.
	Wanted []plan.Wanted
	// Decisions are people's on packages of the plan.
	Decisions []place.Decision
	// Expires is when the word of people for the plan ends.
	Expires time.Time
}

// MaxPackages bounds the packages of one plan.
const MaxPackages = 50_000

// settle is how long planning waits for statements that are on their way to the
// ledger: those of a moment ago are there soon, and with the ledger away the plan
// says so.
const settle = 5 * time.Second

// Facts returns what a plan is made of, as it is now. Errors: NotFound for an unknown
// build, TooLarge beyond MaxPackages. What speaks against a plan is no error but one of
// the facts.
func (g *Gatherer) Facts(ctx context.Context, w Wish) (plan.Facts, error) {
	p := w.Product
	f := plan.Facts{
		Product: p, Expires: w.Expires, Wanted: w.Wanted, Decisions: w.Decisions, Arches: map[string][]albs.Arch{}, Compatible: map[string][]string{}, Shown: map[string]plan.Shown{},
		Metadata: map[string]repodata.Compression{}, Records: map[string][]repodata.Record{}, Released: map[plan.ReleasedFile]albs.Digest{}, Streams: map[string][]record.Stream{},
	}
	if err := g.key(ctx, &f); err != nil {
		return f, err
	}
	for _, name := range p.Platforms {
		pf, err := g.Platforms.Get(ctx, name)
		if err != nil {
			return f, err
		}
		f.Arches[name], f.Metadata[name] = pf.Arches, pf.Metadata
		if len(pf.Compatible) > 0 {
			f.Compatible[name] = pf.Compatible
		}
	}
	given, err := g.Records.Of(ctx, p.Name)
	if err != nil {
		return f, err
	}
	for _, in := range given {
		f.Records[in.Path] = append(f.Records[in.Path], in.Files...)
	}
	settled, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, id := range w.Builds {
		if err := g.build(ctx, settled, &f, id); err != nil {
			return f, err
		}
		if len(f.Packages) > MaxPackages {
			return f, albs.Errorf(albs.TooLarge, "the builds have more than %d packages: release them in parts", MaxPackages)
		}
	}
	if w.Copy != nil {
		f.Copy = w.Copy
		if err := g.copied(ctx, settled, &f, *w.Copy); err != nil {
			return f, err
		}
	}
	if err := g.origins(ctx, &f); err != nil {
		return f, err
	}
	for _, c := range f.Packages { // of other platforms, which are compatible or not
		if _, ok := f.Arches[c.Platform]; !ok {
			pf, err := g.Platforms.Get(ctx, c.Platform)
			if err != nil {
				return f, err
			}
			f.Arches[c.Platform] = pf.Arches
		}
	}
	if err := g.places(ctx, &f); err != nil {
		return f, err
	}
	if err := g.shown(ctx, &f); err != nil {
		return f, err
	}
	if err := g.labels(ctx, f.Packages); err != nil {
		return f, err
	}
	return f, g.streamsOf(ctx, &f)
}

// places finds what references list of the packages for which the product has
// several repositories.
func (g *Gatherer) places(ctx context.Context, f *plan.Facts) error {
	var all []reference.Listing
	f.Strong = map[string]map[albs.Arch]albs.Arch{}
	wanted := f.Names()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		pf, err := g.Platforms.Get(ctx, name)
		if err != nil {
			return err
		}
		f.Strong[name] = map[albs.Arch]albs.Arch{}
		for _, a := range pf.Arches {
			f.Strong[name][a] = pf.Strong(a)
		}
		listings, err := g.References.Find(ctx, pf, wanted[name])
		if err != nil {
			return err
		}
		all = append(all, listings...)
		states, err := g.References.States(ctx, name)
		if err != nil {
			return err
		}
		if len(states) == 0 {
			f.Unread = append(f.Unread, fmt.Sprintf("platform %s names no references, so it isn't known where packages belong: add references to it, or decide for each package", name))
		}
		for _, s := range states {
			if s.Repomd == "" {
				f.Unread = append(f.Unread, neverRead(fmt.Sprintf("the reference %s of platform %s for %s", s.Place, name, s.Arch), s.Failure))
			}
		}
	}
	f.Places = place.NewIndex(all)
	return nil
}

// key finds the first of the product's keys that may be used now, or why there is none.
func (g *Gatherer) key(ctx context.Context, f *plan.Facts) error {
	if f.Product.Key == "" {
		f.Problems = append(f.Problems, plan.Refusal{Reason: fmt.Sprintf("product %s has no key: have one made and name it in the product", f.Product.Name)})
		return nil
	}
	var unusable []string
	for _, name := range f.Product.AllKeys() {
		k, err := g.Signs.Key(ctx, name)
		if errors.Is(err, albs.NotFound) {
			unusable = append(unusable, fmt.Sprintf("key %s of product %s doesn't exist", name, f.Product.Name))
			continue
		}
		if err != nil {
			return err
		}
		why := k.Unusable(time.Now())
		if why == "" {
			f.Key = k.Fingerprint
			if len(unusable) > 0 {
				f.Notes = append(f.Notes, fmt.Sprintf("key %s (%s) is used, since %s", k.Name, k.Fingerprint, strings.Join(unusable, ", and ")))
			}
			return nil
		}
		unusable = append(unusable, fmt.Sprintf("key %s of product %s %s", name, f.Product.Name, why))
	}
	for _, why := range unusable {
		f.Problems = append(f.Problems, plan.Refusal{Reason: why})
	}
	return nil
}

// build finds the packages of a build and what is known of each.
func (g *Gatherer) build(ctx, settled context.Context, f *plan.Facts, id albs.BuildID) error {
	b, err := g.Builds.Get(ctx, id)
	if err != nil {
		return err
	}
	if b.Status.State != status.Succeeded {
		f.Problems = append(f.Problems, plan.Refusal{Build: id, Reason: fmt.Sprintf("build %d is %s: %s", id, b.Status.State, b.Status.Reason)})
		return nil
	}
	found, err := g.packages(ctx, b)
	if err != nil {
		return err
	}
	var all, binary []albs.Digest
	for _, c := range found {
		all = append(all, c.Unsigned)
		if !c.Source() {
			binary = append(binary, c.Unsigned)
		}
	}
	verdicts, err := g.Tests.Verdict(ctx, id, binary, f.Product.Gate)
	if err != nil {
		return err
	}
	var signed map[albs.Digest]artifact.Artifact
	if f.Key != "" {
		if signed, err = g.Signs.Signed(ctx, all, f.Key); err != nil {
			return err
		}
	}
	// Proofs are most of what planning costs, and each is a thing of its own.
	proofs, gctx := errgroup.WithContext(ctx)
	proofs.SetLimit(provers)
	for i := range found {
		c := &found[i]
		if !c.Source() {
			c.Tests = testrun.Verdict{State: testrun.Missing, Reason: "it was never tested"}
			if v, ok := verdicts[c.Unsigned]; ok {
				c.Tests = v
			}
		}
		if a, ok := signed[c.Unsigned]; ok {
			c.Signed, c.Size = a.Digest, a.Size
			proofs.Go(func() (err error) {
				c.Notarized, err = g.notarized(gctx, settled, c.Unsigned, c.Signed)
				return err
			})
		} else if c.Revoked, err = g.Signs.Revoked(ctx, c.Unsigned); err != nil {
			return errors.Join(err, proofs.Wait())
		}
	}
	if err := proofs.Wait(); err != nil {
		return err
	}
	if err := g.signedTests(ctx, f.Product.Gate, found); err != nil {
		return err
	}
	f.Packages = append(f.Packages, found...)
	return nil
}

// signedTests adds to what tests say of packages of builds what they say of the copies that
// are to be released.
func (g *Gatherer) signedTests(ctx context.Context, gate product.Gate, found []plan.Candidate) error {
	if gate.Of(albs.StageSigned) == product.Off {
		return nil
	}
	copies := map[albs.BuildID]map[albs.Digest]albs.Digest{}
	for _, c := range found {
		if c.Source() || c.Signed == "" || c.Build == 0 {
			continue
		}
		if copies[c.Build] == nil {
			copies[c.Build] = map[albs.Digest]albs.Digest{}
		}
		copies[c.Build][c.Unsigned] = c.Signed
	}
	for id, signed := range copies {
		verdicts, err := g.Tests.VerdictOfSigned(ctx, id, signed, gate)
		if err != nil {
			return err
		}
		for i := range found {
			c := &found[i]
			v, ok := verdicts[c.Unsigned]
			if !ok || c.Source() || c.Build != id {
				continue
			}
			c.Tests = c.Tests.WithSigned(v, gate)
			c.Untested = v.State == testrun.Missing && gate.Signed().Requires()
		}
	}
	return nil
}

const provers = 8 // packages whose proofs are looked at at once

// packages lists the RPMs and SRPMs of a build, each once for a platform and arch.
func (g *Gatherer) packages(ctx context.Context, b build.Build) ([]plan.Candidate, error) {
	type key struct {
		platform string
		arch     albs.Arch
		digest   albs.Digest
	}
	var out []plan.Candidate
	seen := map[key]bool{}
	add := func(platform string, arch albs.Arch, d albs.Digest) error {
		if d == "" || seen[key{platform, arch, d}] {
			return nil
		}
		seen[key{platform, arch, d}] = true
		a, err := g.Artifacts.Get(ctx, g.DB, d)
		if err != nil {
			return err
		}
		out = append(out, plan.Candidate{Build: b.ID, Platform: platform, Arch: arch, NEVRA: a.NEVRA, File: a.Name, Unsigned: d})
		return nil
	}
	platforms := make(map[albs.ItemID]string, len(b.Items))
	for _, it := range b.Items {
		platforms[it.ID] = it.Platform
		if err := add(it.Platform, albs.Src, it.SRPM.Digest); err != nil { // one that was uploaded is no task's
			return nil, err
		}
	}
	for _, a := range b.Artifacts {
		if a.Kind != string(artifact.RPM) && a.Kind != string(artifact.SRPM) {
			continue
		}
		if err := add(platforms[a.Item], a.Arch, a.Digest); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// notarized reports whether the ledger proves all that is stated of the files, now
// or before settled ends.
func (g *Gatherer) notarized(ctx, settled context.Context, ds ...albs.Digest) (bool, error) {
	for _, d := range ds {
		ok, err := g.Provenance.Notarized(ctx, d)
		if err != nil {
			return false, err
		}
		if ok {
			continue
		}
		if err := g.Provenance.WaitNotarized(settled, d); err != nil {
			if settled.Err() != nil && ctx.Err() == nil {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// shown finds what the product shows, in full where packages are to go. What
// was ever released is asked after the serial: whatever is released between changes
// the serial, and publication begins from this one only.
func (g *Gatherer) shown(ctx context.Context, f *plan.Facts) error {
	serial, tree, err := g.Current(ctx, f.Product.Name)
	if err != nil {
		return err
	}
	f.Serial, f.Tree = serial, tree
	into := map[string]bool{}
	for _, c := range f.Packages {
		for _, path := range f.Target(c).Paths {
			into[path] = true
			d, err := g.Released(ctx, f.Product.Name, path, c.File)
			if err != nil {
				return err
			}
			if d != "" {
				f.Released[plan.ReleasedFile{Path: path, File: c.File}] = d
			}
		}
	}
	for _, t := range tree.Repositories {
		s, err := g.Repos.Open(ctx, t.Snapshot)
		if err != nil {
			return fmt.Errorf("repository %s as shown: %w", t.Path, err)
		}
		in := plan.Shown{Snapshot: t.Snapshot, Count: s.Len(), Records: s.Records(), Metadata: s.Compression()}
		if into[t.Path] {
			if in.Entries, err = g.Entries(ctx, s); err != nil {
				return fmt.Errorf("repository %s as shown: %w", t.Path, err)
			}
		}
		f.Shown[t.Path] = in
	}
	left, err := g.shownByRevoked(ctx, tree)
	for _, l := range left {
		f.Notes = append(f.Notes, fmt.Sprintf("%s goes on to show %d packages signed with key %s, which is revoked: release builds with a higher release in their place", l.Path, len(l.Packages), l.Key))
	}
	return err
}

// maxEntries bounds what is remembered of snapshots: some 60 MB.
const maxEntries = 200_000

// Entries lists the packages of a snapshot. What was listed is remembered for a
// while, for publishing computes again what planning has computed; callers change
// nothing in it.
func (g *Gatherer) Entries(ctx context.Context, s *repodata.Snapshot) ([]repodata.Entry, error) {
	g.mu.Lock()
	out, ok := g.entries[s.Digest()]
	g.mu.Unlock()
	if ok {
		return out, nil
	}
	out = make([]repodata.Entry, 0, s.Len())
	err := s.Packages(ctx, g.Repos.Blobs(), func(e repodata.Entry) error {
		out = append(out, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	held := len(out)
	for _, es := range g.entries {
		held += len(es)
	}
	if held > maxEntries {
		clear(g.entries)
	}
	g.entries[s.Digest()] = out
	return out, nil
}

// Current returns what a product shows; serial 0 and an empty tree before its
// first publication.
func (g *Gatherer) Current(ctx context.Context, name string) (int64, repodata.Tree, error) {
	t, err := g.Repos.TreeOf(ctx, name)
	if errors.Is(err, albs.NotFound) {
		return 0, repodata.Tree{Product: name}, nil
	}
	if err != nil {
		return 0, repodata.Tree{}, err
	}
	tree, err := g.Repos.ReadTree(ctx, t.Digest)
	return t.Serial, tree, err
}
