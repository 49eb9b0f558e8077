package statement

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
)

func TestBuilder(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		inProcess bool
		root      albs.Root
		want      string
	}{
		{false, albs.Root{}, "urn:x/apart/v1"},
		{true, albs.Root{}, "urn:x/together/v1"},
		{false, albs.Root{CCache: true}, "urn:x/cached/v1"},
		{true, albs.Root{CCache: true}, "urn:x/cached/v1"},
		{false, albs.Root{Network: true}, "urn:x/networked/v1"},
		{true, albs.Root{Network: true, CCache: true}, "urn:x/networked/v1"},
	} {
		got := BuilderOf("urn:x", c.inProcess, c.root)
		if got.ID != c.want || !slices.Contains(Builders("urn:x"), got) || (got.Level == 3) != (got.Mode == Apart) {
			t.Errorf("BuilderOf(%t, %+v) = %+v, want %s, and it among %v", c.inProcess, c.root, got, c.want, Builders("urn:x"))
		}
	}
}

// TestBuilderPath: an id that is a URL has its page at the URL's path.
func TestBuilderPath(t *testing.T) {
	t.Parallel()
	const own = "/builder/apart/v1"
	for farm, want := range map[string]string{
		"urn:albs:builder":                 own,
		"":                                 own, // which is no URL
		"https://albs.example.org":         "/apart/v1",
		"https://albs.example.org/builder": own,
		"http://example.org/slsa/el9":      "/slsa/el9/apart/v1",
		"https://example.org/{id}":         own,
		"https://example.org/a*":           own,
		"https://example.org/a%2fb":        own,
		"https://example.org/../x":         own,
		"https://example.org/a//b":         own,
		"https://example.org/x?y=":         own,
		"https://exa mple.org/x":           own,
	} {
		if got := Builders(farm)[0]; got.Path != want || got.ID != farm+"/apart/v1" {
			t.Errorf("below %q there is %+v, want the path %s", farm, got, want)
		}
	}
}

func TestMetadata(t *testing.T) {
	t.Parallel()
	digest := albs.DigestOf([]byte("srpm"))
	for _, c := range []struct {
		name   string
		origin Origin
		want   map[string]string
	}{
		{"a commit", Origin{URL: "https://git.example/a", Ref: "main", Commit: "c0ffee", SRPM: digest},
			map[string]string{"source_type": "git", "git_url": "https://git.example/a", "git_ref": "main", "git_commit": "c0ffee"}},
		{"a notarized one", Origin{URL: "https://git.example/a", Ref: "main", Commit: "c0ffee", SRPM: digest, Notarized: digest},
			map[string]string{"source_type": "git", "git_url": "https://git.example/a", "git_ref": "main", "git_commit": "c0ffee", "alma_commit_sbom_hash": string(digest)}},
		{"an SRPM", Origin{SRPM: digest}, map[string]string{"source_type": "srpm", "srpm_sha256": string(digest)}},
		{"a fetched one", Origin{SRPM: digest, SRPMURL: "https://x.example/a"}, map[string]string{"source_type": "srpm", "srpm_sha256": string(digest), "srpm_url": "https://x.example/a"}},
	} {
		c.want["build_id"], c.want["build_host"], c.want["build_arch"], c.want["built_by"] = "7", "n1", "x86_64", "alice"
		if diff := cmp.Diff(c.want, c.origin.Metadata(7, "n1", albs.X8664, "alice")); diff != "" {
			t.Errorf("%s (-want +got):\n%s", c.name, diff)
		}
	}
}

// TestSource: an SRPM comes from a commit, by way of the tree, the history if that was
// read, and the look-aside files.
func TestSource(t *testing.T) {
	t.Parallel()
	tree, history, file, record := albs.DigestOf([]byte("tree")), albs.DigestOf([]byte("history")), albs.DigestOf([]byte("file")), albs.DigestOf([]byte("record"))
	spec := albs.SourceSpec{Tree: tree, History: history, Sources: []albs.File{{Name: "a.tar", Digest: file}}}
	got := Origin{URL: "https://git.example/a", Ref: "main", Commit: "c0ffee"}.Source(spec, record)
	want := attest.SourceBody{
		Repository: "git+https://git.example/a", Ref: "main", Commit: "c0ffee", Tree: tree, History: history, Record: record,
		Files: []attest.Descriptor{{Name: "a.tar", Digest: map[string]string{attest.SHA256: string(file)}}},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("Source (-want +got):\n%s", diff)
	}
}

// TestBuild: what a rebuild depends on leads from the SRPM to its commit, where it has
// one, and to each repository by what pins it.
func TestBuild(t *testing.T) {
	t.Parallel()
	digest := albs.DigestOf([]byte("srpm"))
	run := Run{Origin: Origin{URL: "https://git.example/a", Ref: "main", Commit: "c0ffee", SRPM: digest, SRPMName: "a-1-1.src.rpm"}}
	run.Spec.Root.Repos = []albs.Repo{{ID: "own", Snapshot: digest}, {ID: "base", Mirror: "https://mirror.example/", Repomd: digest}}
	var names []string
	for _, d := range run.Build().BuildDefinition.ResolvedDependencies {
		names = append(names, d.Name+" "+d.URI)
		if want := string(digest); d.Name != attest.DependencyBuildroot && d.URI != "git+https://git.example/a" && d.Digest[attest.SHA256] != want {
			t.Errorf("%s is pinned by %v, want %s", d.Name, d.Digest, want)
		}
	}
	run.Spec.Root.Macros = map[string]string{"dist": ".el9", "_buildhost": "b.example"}
	if got, want := run.Build().BuildDefinition.InternalParameters.Macros, albs.DigestOf([]byte("%_buildhost b.example\n%dist .el9\n")); got != want {
		t.Errorf("the macros are stated as %s, want %s", got, want)
	}
	run.Spec.Owner = "product:x"
	for cached, want := range map[bool]string{false: "", true: "product:x"} {
		run.Spec.Root.CCache = cached
		if got := run.Build().BuildDefinition.InternalParameters.CCache; got != want {
			t.Errorf("with a cache = %t the build is said to have had that of %q, want %q", cached, got, want)
		}
	}
	want := []string{attest.DependencySRPM + " a-1-1.src.rpm", attest.DependencyBuildroot + " ", " git+https://git.example/a", "repository:own ", "repository:base https://mirror.example/"}
	if diff := cmp.Diff(want, names); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
