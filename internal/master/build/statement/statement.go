// Package statement says what is to be stated of the files of a build: where a source
// package came from and how packages were built from it. It is pure; every field is the
// master's own knowledge but for the buildroot record, which is the node's word and is
// named by its digest.
package statement

import (
	"fmt"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
)

// Origin is where the source of an item is from: a commit, or an SRPM that was given.
// SRPM and SRPMName are those of the SRPM that was made, too.
type Origin struct {
	URL, Ref, Commit string // of a commit
	// Notarized is the sha256 of the commit's object, about which statements are; "" if
	// there are none yet.
	Notarized albs.Digest
	SRPM      albs.Digest
	SRPMName  string
	SRPMURL   string // where a given SRPM was fetched, "" for others
}

// Source is what is stated of an SRPM that was made from a commit.
func (o Origin) Source(spec albs.SourceSpec, record albs.Digest) attest.SourceBody {
	body := attest.SourceBody{Repository: "git+" + o.URL, Ref: o.Ref, Commit: o.Commit, Tree: spec.Tree, History: spec.History, Record: record}
	for _, f := range spec.Sources {
		body.Files = append(body.Files, attest.Descriptor{Name: f.Name, Digest: map[string]string{attest.SHA256: string(f.Digest)}})
	}
	return body
}

// Metadata is what ALBS's file records say of a build's files (API version 0.2).
func (o Origin) Metadata(build albs.BuildID, host string, arch albs.Arch, owner string) map[string]string {
	m := map[string]string{"build_id": build.String(), "build_host": host, "build_arch": string(arch), "built_by": owner}
	if o.URL != "" {
		m["source_type"], m["git_url"], m["git_ref"], m["git_commit"] = "git", o.URL, o.Ref, o.Commit
		if o.Notarized != "" {
			m["alma_commit_sbom_hash"] = string(o.Notarized)
		}
	} else {
		m["source_type"], m["srpm_sha256"] = "srpm", string(o.SRPM)
		if o.SRPMURL != "" {
			m["srpm_url"] = o.SRPMURL
		}
	}
	return m
}

// Run is an attempt at a rebuild as the master saw it.
type Run struct {
	Origin
	Platform   string
	Spec       albs.BuildSpec
	Flavours   []string
	SecureBoot bool
	Builder    string // its id
	Node       string
	Emulated   bool
	Task       albs.TaskID
	Attempt    int
	Record     albs.Digest
	Started    time.Time
	Finished   time.Time
}

// Build is what is stated of the packages that a run left: SLSA provenance.
func (r Run) Build() attest.BuildBody {
	source := attest.Descriptor{Name: r.SRPMName, Digest: map[string]string{attest.SHA256: string(r.SRPM)}}
	deps := []attest.Descriptor{
		{Name: attest.DependencySRPM, URI: r.SRPMName, Digest: map[string]string{attest.SHA256: string(r.SRPM)}},
		{Name: attest.DependencyBuildroot, Digest: map[string]string{attest.SHA256: string(r.Record)}},
	}
	if r.SRPMURL != "" {
		source.URI, deps[0].URI = r.SRPMURL, r.SRPMURL
	}
	if r.URL != "" {
		source = attest.Descriptor{URI: "git+" + r.URL + "#" + r.Ref}
		deps = append(deps, attest.Descriptor{URI: "git+" + r.URL, Digest: map[string]string{attest.GitCommit: r.Commit}})
	}
	for _, from := range r.Spec.Root.Repos {
		d := attest.Descriptor{Name: "repository:" + from.ID, URI: from.Mirror, Digest: map[string]string{attest.SHA256: string(from.Repomd)}}
		if from.Snapshot != "" {
			d.Digest[attest.SHA256] = string(from.Snapshot)
		}
		deps = append(deps, d)
	}
	return attest.BuildBody{
		BuildDefinition: attest.BuildDefinition{
			BuildType: attest.BuildType,
			ExternalParameters: attest.ExternalParameters{
				Source: source, Platform: r.Platform, Arch: r.Spec.Arch, With: r.Spec.With, Without: r.Spec.Without,
				Define: r.Spec.Define, Excludes: r.Spec.Root.Excludes, Modules: r.Spec.Root.Modules, Flavours: r.Flavours,
				SecureBoot: r.SecureBoot,
			},
			InternalParameters: attest.InternalParameters{
				Node: r.Node, Attempt: r.Attempt, Network: r.Spec.Root.Network, Emulated: r.Emulated, Macros: macros(r.Spec.Root.Macros), CCache: r.ccache(),
			},
			ResolvedDependencies: deps,
		},
		RunDetails: attest.RunDetails{
			Builder: attest.Builder{ID: r.Builder},
			Metadata: attest.RunMetadata{
				InvocationID: fmt.Sprintf("task/%d/attempt/%d", r.Task, r.Attempt),
				StartedOn:    r.Started, FinishedOn: r.Finished,
			},
		},
	}
}

// macros is the digest of a root's macros; "" of those that rpm can't read, with which no
// root was made.
func macros(of map[string]string) albs.Digest {
	b, err := albs.MacroFile(of)
	if err != nil {
		return ""
	}
	return albs.DigestOf(b)
}

// ccache names whose compiler cache a run could use; "" for none.
func (r Run) ccache() string {
	if !r.Spec.Root.CCache {
		return ""
	}
	return r.Spec.Owner
}
