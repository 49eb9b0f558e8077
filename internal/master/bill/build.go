package bill

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/build"
	"albs/internal/master/provenance"
	"albs/internal/repodata"
	"albs/internal/rpm/depend"
	"albs/internal/sbom"
)

// built makes the bills of a build whose work has ended, and of its packages, unless they
// are made of the same already.
func (b *Bills) built(ctx context.Context, id albs.BuildID) error {
	now, err := b.Builds.Packages(ctx, id)
	if err != nil {
		return err
	}
	if len(now) == 0 {
		return nil
	}
	facts := factsOf(now)
	if have, err := b.store.facts(ctx, sbom.Build, id.String()); err != nil || have == facts {
		return err
	}
	k := keeping{Bills: b}
	if err := b.ofBuild(ctx, id, k.add); err != nil {
		return fmt.Errorf("bill of build %d: %w", id, err)
	}
	return k.end(ctx)
}

// factsOf names the packages of a build, so that others in their place are noticed.
func factsOf(packages []build.Artifact) albs.Digest {
	var lines []string
	for _, p := range packages {
		lines = append(lines, fmt.Sprintln(p.Digest, p.Arch))
	}
	slices.Sort(lines)
	return albs.DigestOf([]byte(strings.Join(lines, "")))
}

// ofBuild finds out the bills of a build's packages and, the last one, of the build.
func (b *Bills) ofBuild(ctx context.Context, id albs.BuildID, yield func(context.Context, made) error) error {
	v, err := b.Builds.Get(ctx, id)
	if err != nil {
		return err
	}
	systems := map[string]sbom.Distribution{}
	type key struct {
		platform string
		arch     albs.Arch
	}
	worlds := map[key][]albs.Digest{}
	g := sbom.NewGroup()
	var files []artifact.Artifact
	add := func(it build.Item, d albs.Digest) (artifact.Artifact, error) {
		a, err := b.Artifacts.Find(ctx, d)
		if err != nil || g.Has(d) {
			return a, err
		}
		h, err := b.Artifacts.Package(ctx, d)
		if err != nil {
			return a, fmt.Errorf("header of %s: %w", a.Name, err)
		}
		files = append(files, a)
		return a, b.describe(ctx, g.Add(h, b.file(d), systems[it.Platform]), a, v, it)
	}
	for _, it := range v.Items {
		if _, ok := systems[it.Platform]; !ok {
			if systems[it.Platform], err = b.system(ctx, it.Platform); err != nil {
				return err
			}
		}
		if it.SRPM.Digest != "" {
			if _, err := add(it, it.SRPM.Digest); err != nil {
				return err
			}
		}
		for _, f := range v.Artifacts {
			if f.Item != it.ID || f.Kind != string(artifact.RPM) && f.Kind != string(artifact.SRPM) {
				continue
			}
			a, err := add(it, f.Digest)
			if err != nil {
				return err
			}
			if a.Kind == artifact.RPM {
				k := key{it.Platform, f.Arch}
				worlds[k] = append(worlds[k], a.Digest)
			}
		}
	}
	names := make([]albs.Digest, len(files))
	for i, f := range files {
		names[i] = f.Digest
	}
	if err := b.proven(ctx, names...); err != nil {
		return err
	}
	var all []sbom.World
	for k, members := range worlds {
		w := sbom.World{Distribution: systems[k.platform], Members: members}
		if w.Beneath, err = b.beneath(ctx, k.platform, k.arch, g.Wanted(members)); err != nil {
			return err
		}
		all = append(all, w)
	}
	g.Resolve(all)
	end := endOf(v)
	for _, a := range files {
		one, err := b.ofPackage(ctx, g, a, end)
		if err == nil {
			one.build = id
			err = yield(ctx, one)
		}
		if err != nil {
			return err
		}
	}
	whole := b.words(sbom.Build)
	whole.Made = end
	whole.Root = sbom.Component{
		Ref: "build", Type: sbom.Set, Name: "build-" + id.String(),
		Properties: []sbom.Property{
			{Name: sbom.PropertyBuildID, Value: id.String()}, {Name: sbom.PropertyBuildURL, Value: b.buildURL(id)}, {Name: sbom.PropertyAuthor, Value: v.Owner},
			{Name: sbom.PropertyBuilt, Value: v.CreatedAt.UTC().Format(time.RFC3339)},
		},
	}
	if whole, err = g.Whole(whole); err != nil {
		return err
	}
	now := slices.DeleteFunc(slices.Clone(v.Artifacts), func(f build.Artifact) bool {
		return f.Kind != string(artifact.RPM) && f.Kind != string(artifact.SRPM)
	})
	return yield(ctx, made{bill: whole, subject: id.String(), name: whole.Root.Name, facts: factsOf(now), build: id})
}

// endOf is when the last of a build's tasks ended.
func endOf(v build.Build) time.Time {
	end := v.CreatedAt
	for _, it := range v.Items {
		for _, t := range it.Tasks {
			if t.State.Final() && t.Changed.After(end) {
				end = t.Changed.Time
			}
		}
	}
	return end.UTC().Truncate(time.Second)
}

// proven waits until the ledger proves what is said of packages: a bill that names the
// record of one has seen it. It is Unavailable while that is on its way, and a Conflict if
// it is not there and nothing is.
func (b *Bills) proven(ctx context.Context, ds ...albs.Digest) error {
	wait, cancel := context.WithTimeout(ctx, b.patience)
	defer cancel()
	err := b.Provenance.WaitNotarized(wait, ds...)
	if err == nil || wait.Err() == nil {
		return err
	}
	on, again := b.Provenance.OnTheWay(ctx, ds...)
	if again != nil {
		return again
	}
	if on {
		return albs.Errorf(albs.Unavailable, "the ledger doesn't prove the packages yet: %w", err)
	}
	for _, d := range ds { // it may have arrived in the meantime
		if ok, err := b.Provenance.Notarized(ctx, d); err != nil {
			return err
		} else if !ok {
			return albs.Errorf(albs.Conflict, "the ledger lacks the record of package %s, or what is stated of it, and neither is on its way", d.Short())
		}
	}
	return nil
}

// system returns the distribution that a platform is; zero if it doesn't say so, or is
// known no more.
func (b *Bills) system(ctx context.Context, name string) (sbom.Distribution, error) {
	p, err := b.Platforms.Get(ctx, name)
	if albs.KindOf(err) == albs.NotFound {
		return sbom.Distribution{}, nil
	}
	return sbom.Distribution{ID: p.OS.ID, Name: p.OS.Name, Version: p.OS.Version}, err
}

// beneath returns what the platform's own repositories provide of what is wanted. Of those
// that were never read it isn't known, and what they have is said to be met by nothing.
func (b *Bills) beneath(ctx context.Context, name string, arch albs.Arch, wanted map[string]bool) (out []depend.Capability, err error) {
	p, err := b.Platforms.Get(ctx, name)
	if albs.KindOf(err) == albs.NotFound {
		return nil, nil
	}
	if err == nil {
		_, err = b.References.Provided(ctx, p, arch, wanted, func(c repodata.Capability) { out = append(out, c.Depend()) })
	}
	if err != nil {
		return nil, fmt.Errorf("what platform %s provides: %w", name, err)
	}
	return out, nil
}

func (b *Bills) buildURL(id albs.BuildID) string { return b.URL + "/build/" + id.String() }

// file is a package as the master gives it to anybody.
func (b *Bills) file(d albs.Digest) sbom.File {
	return sbom.File{SHA256: d, URL: b.URL + "/blobs/" + string(d)}
}

// describe adds what is known of a package beside its header: v is the build that it is
// of, and it the item there; both are zero if the build is gone.
func (b *Bills) describe(ctx context.Context, m *sbom.Member, a artifact.Artifact, v build.Build, it build.Item) error {
	add := func(name, value string) {
		if value != "" {
			m.Properties = append(m.Properties, sbom.Property{Name: name, Value: value})
		}
	}
	add(sbom.PropertyRecord, string(a.Digest))
	add(sbom.PropertyPackageType, "rpm")
	add(sbom.PropertyUnsigned, string(a.Unsigned))
	add(sbom.PropertySignedBy, a.SignedBy)
	if v.ID == 0 {
		return nil
	}
	add(sbom.PropertyBuildID, v.ID.String())
	add(sbom.PropertyBuildURL, b.buildURL(v.ID))
	add(sbom.PropertyAuthor, v.Owner)
	for _, f := range v.Artifacts {
		if (f.Digest == a.Digest || f.Digest == a.Unsigned) && f.Item == it.ID && f.Kind == string(artifact.RPM) {
			add(sbom.PropertyTargetArch, string(f.Arch))
			add(sbom.PropertyBuildroot, recordOf(v, f))
			break
		}
	}
	if it.URL != "" {
		add(sbom.PropertySourceType, "git")
		add(sbom.PropertyGitURL, it.URL)
		add(sbom.PropertyGitRef, it.Ref)
		add(sbom.PropertyGitCommit, it.Commit)
		m.Commits = []sbom.Commit{{URL: it.URL, SHA: it.Commit}}
		of := provenance.NamedCommit{Repository: provenance.GitURI(it.URL), Commit: it.Commit}
		// What is on its way is waited for: a bill that is made a moment later would name it,
		// and both have to be the same.
		wait, cancel := context.WithTimeout(ctx, b.patience)
		defer cancel()
		notarized, err := b.Provenance.WaitCommits(wait, of)
		if err != nil {
			return fmt.Errorf("commit %.12s: %w", it.Commit, err)
		}
		if c := notarized[of]; c.Standing == provenance.Verified {
			add(sbom.PropertyGitRecord, string(c.SHA256))
		}
		return nil
	}
	add(sbom.PropertySourceType, "srpm")
	add(sbom.PropertySRPMURL, it.SRPMURL)
	add(sbom.PropertySRPMDigest, string(it.SRPM.Digest))
	add(sbom.PropertySRPMNEVRA, strings.TrimSuffix(it.SRPM.Name, ".rpm"))
	return nil
}

// recordOf returns the digest of the record of the root in which a package was built; "" if
// there is none.
func recordOf(v build.Build, of build.Artifact) string {
	for _, f := range v.Artifacts {
		if f.Kind == string(artifact.Record) && f.Task == of.Task && f.Attempt == of.Attempt {
			return string(f.Digest)
		}
	}
	return ""
}

// ofPackage returns the bill of a package of a group, at being the newest thing told of.
func (b *Bills) ofPackage(ctx context.Context, g *sbom.Group, a artifact.Artifact, at time.Time) (made, error) {
	bill := b.words(sbom.Package)
	bill.Made = at
	bill, err := g.Of(a.Digest, bill)
	if err != nil {
		return made{}, err
	}
	if bill.Root.SHA512, err = b.sha512(ctx, a.Digest); err != nil {
		return made{}, fmt.Errorf("read %s: %w", a.Name, err)
	}
	return made{bill: bill, subject: string(a.Digest), name: a.Name, about: &a}, nil
}

// body is what is stated of a bill's documents.
func (m made) body(documents []attest.Descriptor) attest.SBOMBody {
	return attest.SBOMBody{
		Kind: string(m.bill.Kind), Build: int64(m.build), Release: int64(m.release.ID), Product: m.release.Product,
		Serial: m.release.Serial, Tree: m.release.Tree, Documents: documents,
	}
}

func number(n int64) string { return strconv.FormatInt(n, 10) }
