package build

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/build/status"
)

// stated returns the body of the one statement of a predicate about d.
func stated[T any](t *testing.T, f *fixture, d albs.Digest, predicate string) (body T) {
	t.Helper()
	sts, err := f.provenance.Stated(t.Context(), d, predicate)
	must(t, err)
	if len(sts) != 1 || len(sts[0].Subject) != 1 || sts[0].Subject[0].File() != d {
		t.Fatalf("the %s statements are %+v, want one about %s", predicate, sts, d)
	}
	must(t, sts[0].Body(&body))
	return body
}

// TestStatements: of an SRPM the master states the commit and the files that it
// gave to the node, of a package what it was built from, where, how and when.
func TestStatements(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const text = "a look-aside file"
		file := albs.DigestOf([]byte(text))
		must(t, os.WriteFile(filepath.Join(f.cache, string(file)), []byte(text), 0o644))
		commit := f.forge.AddRepo("foo", map[string]string{"foo.spec": spec, "sources": string(file) + " foo.txt\n"})
		url := f.forge.URL("foo")
		b := f.create(NewBuild{
			Platforms: []Target{{Platform: "el9-open", Arches: []albs.Arch{albs.X8664}}}, Packages: []Package{{URL: url, Ref: "main"}},
			Options: Options{With: []string{"docs"}, Without: []string{"tests"}},
		})
		srpm, rpm := rpms(t, "foo")
		sha := func(d albs.Digest) map[string]string { return map[string]string{attest.SHA256: string(d)} }

		l := f.claim()
		must(t, f.source(l, srpm))
		srpmDigest, record := albs.DigestOf(read(t, srpm)), albs.DigestOf([]byte("{}"))
		wantSource := attest.SourceBody{
			Repository: "git+" + url, Ref: "main", Commit: commit, Tree: l.Spec.Source.Tree, Record: record,
			Files: []attest.Descriptor{{Name: "foo.txt", Digest: sha(file)}},
		}
		if diff := cmp.Diff(wantSource, stated[attest.SourceBody](t, f, srpmDigest, attest.Source)); diff != "" {
			t.Errorf("source (-want +got):\n%s", diff)
		}

		// The first attempt is lost: its times and its number are not the second's.
		l = f.claim()
		must(t, f.queue.Complete(f.node, l.Token, albs.OutcomeInfra, albs.Result{Reason: "the disk is full"}))
		l = f.claim()
		must(t, f.rebuilt(l, rpm))
		attempts, err := f.queue.Attempts(t.Context(), l.Token.Task)
		if err != nil || len(attempts) != 2 {
			t.Fatalf("attempts %+v, %v; want 2", attempts, err)
		}
		got := stated[attest.BuildBody](t, f, albs.DigestOf(read(t, rpm)), attest.Build)
		times := got.RunDetails.Metadata
		if !times.StartedOn.Equal(attempts[1].Claimed.Time) || times.FinishedOn.Before(times.StartedOn) {
			t.Errorf("built from %v to %v, the attempt was claimed at %v", times.StartedOn, times.FinishedOn, attempts[1].Claimed)
		}
		repo := l.Spec.Build.Root.Repos[0]
		macros, err := albs.MacroFile(l.Spec.Build.Root.Macros)
		must(t, err)
		want := attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				BuildType: attest.BuildType,
				ExternalParameters: attest.ExternalParameters{
					Source: attest.Descriptor{URI: "git+" + url + "#main"}, Platform: "el9-open", Arch: albs.X8664, With: []string{"docs"}, Without: []string{"tests"},
				},
				InternalParameters: attest.InternalParameters{Node: "node-1", Attempt: 2, Network: true, Macros: albs.DigestOf(macros), CCache: "user:alice"},
				ResolvedDependencies: []attest.Descriptor{
					{Name: attest.DependencySRPM, URI: filepath.Base(srpm), Digest: sha(srpmDigest)},
					{Name: attest.DependencyBuildroot, Digest: sha(record)},
					{URI: "git+" + url, Digest: map[string]string{attest.GitCommit: commit}},
					{Name: "repository:base", URI: repo.Mirror, Digest: sha(repo.Repomd)},
				},
			},
			RunDetails: attest.RunDetails{
				Builder: attest.Builder{ID: "urn:albs:builder/networked/v1"},
				Metadata: attest.RunMetadata{
					InvocationID: fmt.Sprintf("task/%d/attempt/2", l.Token.Task), StartedOn: times.StartedOn, FinishedOn: times.FinishedOn,
				},
			},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("build (-want +got):\n%s", diff)
		}
		if s := l.Spec.Build; s.Owner != "user:alice" || !slices.Contains(s.Root.Packages, "ccache") {
			t.Errorf("the node built for %q in a root of %q, want alice's with ccache", s.Owner, s.Root.Packages)
		}
		if l.Spec.Build.With[0] != "docs" || l.Spec.Build.Without[0] != "tests" {
			t.Errorf("the node built %+v, want it with docs and without tests", l.Spec.Build)
		}
		f.wait(b.ID, status.Succeeded)
	})
}

// TestStatementsOfAnUpload: of an SRPM that a person brought, and of what came of
// it, the person and the digest are stated; a repository of the build's own by its
// snapshot; and who built by how far away it was.
func TestStatementsOfAnUpload(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		foo, fooRPM := rpms(t, "foo")
		bar, barRPM := rpms(t, "bar")
		f.create(NewBuild{Packages: []Package{{SRPM: f.srpm(foo)}, {SRPM: f.srpm(bar)}}, Order: Listed})
		d := albs.DigestOf(read(t, bar))
		if diff := cmp.Diff(attest.SourceBody{Uploader: "alice"}, stated[attest.SourceBody](t, f, d, attest.Source)); diff != "" {
			t.Errorf("source (-want +got):\n%s", diff)
		}
		for _, c := range []struct {
			rpm, builder string
			node         context.Context
		}{{fooRPM, "urn:albs:builder/apart/v1", f.node}, {barRPM, "urn:albs:builder/together/v1", f.local}} {
			f.node = c.node
			l := f.claim()
			must(t, f.rebuilt(l, c.rpm))
			got := stated[attest.BuildBody](t, f, albs.DigestOf(read(t, c.rpm)), attest.Build)
			if got.RunDetails.Builder.ID != c.builder {
				t.Errorf("%s was built by %s, want %s", filepath.Base(c.rpm), got.RunDetails.Builder.ID, c.builder)
			}
			if emulated := got.BuildDefinition.InternalParameters.Emulated; emulated != (c.node == f.local) {
				t.Errorf("%s was built with emulated = %v; the local node's identity alone says so", filepath.Base(c.rpm), emulated)
			}
			source := attest.Descriptor{Name: l.Spec.Build.SRPM.Name, Digest: map[string]string{attest.SHA256: string(l.Spec.Build.SRPM.Digest)}}
			if diff := cmp.Diff(source, got.BuildDefinition.ExternalParameters.Source); diff != "" {
				t.Errorf("source of %s (-want +got):\n%s", filepath.Base(c.rpm), diff)
			}
			if c.node == f.local {
				own := l.Spec.Build.Root.Repos[0]
				if !own.Own || got.BuildDefinition.ResolvedDependencies[2].Digest[attest.SHA256] != string(own.Snapshot) {
					t.Errorf("dependencies %+v, want the snapshot of %+v third", got.BuildDefinition.ResolvedDependencies, own)
				}
			}
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		must(t, f.provenance.WaitNotarized(ctx, d, albs.DigestOf(read(t, fooRPM)), albs.DigestOf(read(t, barRPM))))
	})
}
