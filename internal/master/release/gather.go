package release

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/master/artifact"
	"albs/internal/master/build"
	"albs/internal/master/build/status"
	"albs/internal/master/platform/reference"
	"albs/internal/master/product"
	"albs/internal/master/release/place"
	"albs/internal/master/testrun"
	"albs/internal/repodata"
)

// compute makes the plan of a release from what is true now.
func (r *Releases) compute(ctx context.Context, p product.Product, builds []albs.BuildID, decisions []place.Decision, expires time.Time) (Plan, error) {
	f, err := r.gather(ctx, p, builds, decisions, expires)
	if err != nil {
		return Plan{}, err
	}
	return Make(f), nil
}

// settle is how long planning waits for statements that are on their way to the
// ledger: those of a moment ago are there soon, and with the ledger away the plan
// says so.
const settle = 5 * time.Second

func (r *Releases) gather(ctx context.Context, p product.Product, builds []albs.BuildID, decisions []place.Decision, expires time.Time) (Facts, error) {
	f := Facts{
		Product: p, Expires: expires, Decisions: decisions, Arches: map[string][]albs.Arch{}, Shown: map[string]Shown{},
		Records: map[string][]repodata.Record{}, Released: map[ReleasedFile]albs.Digest{},
	}
	if err := r.gatherKey(ctx, &f); err != nil {
		return f, err
	}
	for _, name := range p.Platforms {
		pf, err := r.platforms.Get(ctx, name)
		if err != nil {
			return f, err
		}
		f.Arches[name] = pf.Arches
	}
	given, err := r.records.Of(ctx, p.Name)
	if err != nil {
		return f, err
	}
	for _, g := range given {
		f.Records[g.Path] = append(f.Records[g.Path], g.Files...)
	}
	settled, cancel := context.WithTimeout(ctx, settle)
	defer cancel()
	for _, id := range builds {
		if err := r.gatherBuild(ctx, settled, &f, id); err != nil {
			return f, err
		}
		if len(f.Packages) > MaxPackages {
			return f, albs.Errorf(albs.TooLarge, "the builds have more than %d packages: release them in parts", MaxPackages)
		}
	}
	if err := r.gatherPlaces(ctx, &f); err != nil {
		return f, err
	}
	return f, r.gatherShown(ctx, &f)
}

// gatherPlaces finds what references list of the packages for which the product has
// several repositories.
func (r *Releases) gatherPlaces(ctx context.Context, f *Facts) error {
	var all []reference.Listing
	f.Strong = map[string]map[albs.Arch]albs.Arch{}
	wanted := f.names()
	for _, name := range slices.Sorted(maps.Keys(wanted)) {
		pf, err := r.platforms.Get(ctx, name)
		if err != nil {
			return err
		}
		f.Strong[name] = map[albs.Arch]albs.Arch{}
		for _, a := range pf.Arches {
			f.Strong[name][a] = pf.Strong(a)
		}
		listings, err := r.references.Find(ctx, pf, wanted[name])
		if err != nil {
			return err
		}
		all = append(all, listings...)
		states, err := r.references.States(ctx, name)
		if err != nil {
			return err
		}
		for _, s := range states {
			if s.Repomd == "" {
				f.Unread = append(f.Unread, strings.TrimSuffix(fmt.Sprintf("the reference %s of platform %s for %s was never read: %s", s.Place, name, s.Arch, s.Failure), ": "))
			}
		}
	}
	f.Places = place.NewIndex(all)
	return nil
}

// gatherKey finds the product's key, or why there is none.
func (r *Releases) gatherKey(ctx context.Context, f *Facts) error {
	if f.Product.Key == "" {
		f.Problems = append(f.Problems, Refusal{Reason: fmt.Sprintf("product %s has no key: have one made and name it in the product", f.Product.Name)})
		return nil
	}
	k, err := r.signs.Key(ctx, f.Product.Key)
	if errors.Is(err, albs.NotFound) {
		f.Problems = append(f.Problems, Refusal{Reason: fmt.Sprintf("key %s of product %s doesn't exist", f.Product.Key, f.Product.Name)})
		return nil
	}
	if err != nil {
		return err
	}
	if !k.Active {
		f.Problems = append(f.Problems, Refusal{Reason: fmt.Sprintf("key %s of product %s is not active any more", f.Product.Key, f.Product.Name)})
	}
	f.Key = k.Fingerprint
	return nil
}

// gatherBuild finds the packages of a build and what is known of each.
func (r *Releases) gatherBuild(ctx, settled context.Context, f *Facts, id albs.BuildID) error {
	b, err := r.builds.Get(ctx, id)
	if err != nil {
		return err
	}
	if b.Status.State != status.Succeeded {
		f.Problems = append(f.Problems, Refusal{Build: id, Reason: fmt.Sprintf("build %d is %s: %s", id, b.Status.State, b.Status.Reason)})
		return nil
	}
	found, err := r.packages(ctx, b)
	if err != nil {
		return err
	}
	var all, binary []albs.Digest
	for _, c := range found {
		all = append(all, c.Unsigned)
		if !c.source() {
			binary = append(binary, c.Unsigned)
		}
	}
	verdicts, err := r.tests.Verdict(ctx, id, binary)
	if err != nil {
		return err
	}
	var signed map[albs.Digest]artifact.Artifact
	if f.Key != "" {
		if signed, err = r.signs.Signed(ctx, all, f.Key); err != nil {
			return err
		}
	}
	for _, c := range found {
		if !c.source() {
			c.Tests = testrun.Verdict{State: testrun.Missing, Reason: "it was never tested"}
			if v, ok := verdicts[c.Unsigned]; ok {
				c.Tests = v
			}
		}
		if a, ok := signed[c.Unsigned]; ok {
			c.Signed, c.Size = a.Digest, a.Size
			if c.Notarized, err = r.notarized(ctx, settled, c.Unsigned, c.Signed); err != nil {
				return err
			}
		}
		f.Packages = append(f.Packages, c)
	}
	return nil
}

// packages lists the RPMs and SRPMs of a build, each once for a platform and arch.
func (r *Releases) packages(ctx context.Context, b build.Build) ([]Candidate, error) {
	type key struct {
		platform string
		arch     albs.Arch
		digest   albs.Digest
	}
	var out []Candidate
	seen := map[key]bool{}
	add := func(platform string, arch albs.Arch, d albs.Digest) error {
		if d == "" || seen[key{platform, arch, d}] {
			return nil
		}
		seen[key{platform, arch, d}] = true
		a, err := r.artifacts.Get(ctx, r.d, d)
		if err != nil {
			return err
		}
		out = append(out, Candidate{Build: b.ID, Platform: platform, Arch: arch, NEVRA: a.NEVRA, File: a.Name, Unsigned: d})
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
func (r *Releases) notarized(ctx, settled context.Context, ds ...albs.Digest) (bool, error) {
	for _, d := range ds {
		ok, err := r.provenance.Notarized(ctx, d)
		if err != nil {
			return false, err
		}
		if ok {
			continue
		}
		if err := r.provenance.WaitNotarized(settled, d); err != nil {
			if settled.Err() != nil && ctx.Err() == nil {
				return false, nil
			}
			return false, err
		}
	}
	return true, nil
}

// gatherShown finds what the product shows, in full where packages are to go. What
// was ever released is asked after the serial: whatever is released between changes
// the serial, and publication begins from this one only.
func (r *Releases) gatherShown(ctx context.Context, f *Facts) error {
	serial, tree, err := r.current(ctx, f.Product.Name)
	if err != nil {
		return err
	}
	f.Serial = serial
	into := map[string]bool{}
	for _, c := range f.Packages {
		for _, path := range f.Target(c).Paths {
			into[path] = true
			d, err := r.store.released(ctx, r.d, f.Product.Name, path, c.File)
			if err != nil {
				return err
			}
			if d != "" {
				f.Released[ReleasedFile{path, c.File}] = d
			}
		}
	}
	for _, t := range tree.Repositories {
		s, err := r.repos.Open(ctx, t.Snapshot)
		if err != nil {
			return fmt.Errorf("repository %s as shown: %w", t.Path, err)
		}
		shown := Shown{Count: s.Len(), Records: s.Records()}
		if into[t.Path] {
			if shown.Entries, err = r.entries(ctx, s); err != nil {
				return fmt.Errorf("repository %s as shown: %w", t.Path, err)
			}
		}
		f.Shown[t.Path] = shown
	}
	return nil
}

// maxEntries bounds what is remembered of snapshots: some 60 MB.
const maxEntries = 200_000

// entries lists the packages of a snapshot. What was listed is remembered for a
// while, for publishing computes again what planning has computed; callers change
// nothing in it.
func (r *Releases) entries(ctx context.Context, s *repodata.Snapshot) ([]repodata.Entry, error) {
	r.mu.Lock()
	out, ok := r.listed[s.Digest()]
	r.mu.Unlock()
	if ok {
		return out, nil
	}
	out = make([]repodata.Entry, 0, s.Len())
	err := s.Packages(ctx, r.repos.Blobs(), func(e repodata.Entry) error {
		out = append(out, e)
		return nil
	})
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	held := len(out)
	for _, es := range r.listed {
		held += len(es)
	}
	if held > maxEntries {
		clear(r.listed)
	}
	r.listed[s.Digest()] = out
	return out, nil
}

// current returns what a product shows; serial 0 and an empty tree before its
// first publication.
func (r *Releases) current(ctx context.Context, name string) (int64, repodata.Tree, error) {
	t, err := r.repos.TreeOf(ctx, name)
	if errors.Is(err, albs.NotFound) {
		return 0, repodata.Tree{Product: name}, nil
	}
	if err != nil {
		return 0, repodata.Tree{}, err
	}
	tree, err := r.repos.ReadTree(ctx, t.Digest)
	return t.Serial, tree, err
}
