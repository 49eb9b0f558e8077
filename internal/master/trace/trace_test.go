package trace

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/provenance"
	"albs/internal/rpm"
)

const hello = "git+https://git.example/hello.git"

const sha = "0123456789abcdef0123456789abcdef01234567"

// rows are what builds say that was made of what.
type rows struct {
	commit map[string][]albs.Digest
	srpm   map[albs.Digest][]albs.Digest
}

func (r rows) OfCommit(_ context.Context, c string, limit int) ([]albs.Digest, error) {
	return r.commit[c], nil
}

func (r rows) OfSRPM(_ context.Context, d albs.Digest, limit int) ([]albs.Digest, error) {
	return r.srpm[d][:min(limit, len(r.srpm[d]))], nil
}

type world struct {
	*mastertest.Modules
	*Traces
	rows rows
}

func open(t *testing.T, d *db.DB) *world {
	t.Helper()
	w := &world{Modules: mastertest.Open(t, d, mastertest.Config{}), rows: rows{map[string][]albs.Digest{}, map[albs.Digest][]albs.Digest{}}}
	w.Traces = New(Parts{Artifacts: w.Modules.Artifacts, Provenance: w.Modules.Provenance, Builds: w.rows})
	return w
}

func digest(s string) albs.Digest { return albs.DigestOf([]byte(s)) }

func file(name, arch string, kind artifact.Kind) artifact.Artifact {
	n := rpm.NEVRA{Name: name, Version: "1", Release: "2", Arch: arch}
	return artifact.Artifact{Digest: digest(name + arch), Size: 1, Kind: kind, Name: n.Filename(), NEVRA: n, HeaderSHA256: digest("h" + name), PayloadSHA256: digest("p" + name)}
}

// say states something of files, of which they get records.
func (w *world) say(t *testing.T, predicate string, body any, as ...artifact.Artifact) {
	t.Helper()
	fact := provenance.Fact{Predicate: predicate, Body: body, Files: as}
	for _, a := range as {
		fact.Subjects = append(fact.Subjects, provenance.SubjectOf(a))
	}
	err := w.DB.InTx(t.Context(), func(tx db.Tx) error {
		if err := w.Modules.Artifacts.Add(t.Context(), tx, as...); err != nil {
			return err
		}
		return w.Modules.Provenance.State(t.Context(), tx, fact)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// commit states that a commit is notarized, and what it changes.
func (w *world) commit(t *testing.T, id string, upstream *attest.CommitLink) {
	t.Helper()
	err := w.DB.InTx(t.Context(), func(tx db.Tx) error {
		return w.Modules.Provenance.State(t.Context(), tx, provenance.Fact{
			Subjects:  []attest.Subject{{Digest: map[string]string{attest.SHA256: string(digest(id)), attest.GitCommit: id}}},
			Predicate: attest.Commit, Body: attest.CommitBody{Repository: hello, Ref: "refs/heads/main", Tree: sha, Requester: "alice", Upstream: upstream},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
}

func (w *world) notarize(t *testing.T) {
	t.Helper()
	stop := mastertest.Run(t, w.Modules.Provenance.Run)
	defer stop()
	for deadline := time.Now().Add(time.Minute); ; {
		n, err := w.Modules.Provenance.Pending(t.Context())
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("%d statements wait for the ledger, %v", n, err)
		}
		if n == 0 {
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// chain states all of a package that goes the whole way: SRPM, two packages, of which one
// is signed and published.
func (w *world) chain(t *testing.T) (srpm, pkg, sub, signed artifact.Artifact) {
	t.Helper()
	srpm, pkg, sub = file("hello", "src", artifact.SRPM), file("hello", "x86_64", artifact.RPM), file("hello-doc", "x86_64", artifact.RPM)
	signed = pkg
	signed.Digest, signed.Unsigned, signed.SignedBy = digest("signed"), pkg.Digest, "ABCD"
	w.say(t, attest.Source, attest.SourceBody{Repository: hello, Ref: "main", Commit: sha}, srpm)
	w.commit(t, sha, nil)
	w.say(t, attest.Build, attest.BuildBody{
		BuildDefinition: attest.BuildDefinition{
			ExternalParameters: attest.ExternalParameters{Platform: "el9"}, InternalParameters: attest.InternalParameters{Node: "node-1"},
			ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}},
		},
		RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "urn:builder"}},
	}, pkg, sub)
	w.say(t, attest.Test, attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}}, pkg)
	w.say(t, attest.Sign, attest.SignBody{Unsigned: pkg.Digest, Fingerprint: "ABCD", Build: 1, Requester: "alice"}, signed)
	w.say(t, attest.Release, attest.ReleaseBody{Product: "demo", Repositories: []string{"el9/os", "el9/debug"}, Release: 3, Serial: 12, Approvals: []attest.ApprovedBy{{Person: "bob"}}}, signed)
	w.rows.commit[sha] = []albs.Digest{srpm.Digest}
	w.rows.srpm[srpm.Digest] = []albs.Digest{pkg.Digest, sub.Digest}
	return srpm, pkg, sub, signed
}

// lines are a trace as people may read it.
func lines(tr Trace) []string {
	names := map[string]string{}
	var out []string
	for _, n := range tr.Nodes {
		names[n.ID] = string(n.Kind) + " " + n.NEVRA
		line := strings.TrimSpace(names[n.ID]) + " [" + string(n.Record) + "]"
		if n.Asked {
			line += " asked"
		}
		out = append(out, line)
	}
	for _, l := range tr.Links {
		out = append(out, fmt.Sprintf("%s -%s %s-> %s", strings.TrimSpace(names[l.From]), l.Says, l.Standing, strings.TrimSpace(names[l.To])))
	}
	return out
}

var whole = []string{
	"commit []", "srpm hello-1-2.src [verified]", "package hello-1-2.x86_64 [verified]", "signed hello-1-2.x86_64 [verified]", "repository []", "repository []",
	" -commit verified-> commit", "commit -source verified-> srpm hello-1-2.src", "srpm hello-1-2.src -build verified-> package hello-1-2.x86_64", " -test verified-> package hello-1-2.x86_64",
	"package hello-1-2.x86_64 -sign verified-> signed hello-1-2.x86_64",
	"signed hello-1-2.x86_64 -release verified-> repository", "signed hello-1-2.x86_64 -release verified-> repository",
}

// asking marks the nodes that are asked for.
func asking(list []string, nodes ...int) []string {
	out := append([]string{}, list...)
	for _, i := range nodes {
		out[i] += " asked"
	}
	return out
}

func TestOf(t *testing.T) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := open(t, d)
		srpm, pkg, sub, signed := w.chain(t)
		w.notarize(t)
		forward := []string{
			"commit []", "srpm hello-1-2.src [verified]", "package hello-1-2.x86_64 [verified]", "package hello-doc-1-2.x86_64 [verified]", "signed hello-1-2.x86_64 [verified]", "repository []", "repository []",
			" -commit verified-> commit", "commit -source verified-> srpm hello-1-2.src", "srpm hello-1-2.src -build verified-> package hello-1-2.x86_64", " -test verified-> package hello-1-2.x86_64",
			"srpm hello-1-2.src -build verified-> package hello-doc-1-2.x86_64", " -test missing-> package hello-doc-1-2.x86_64",
			"package hello-1-2.x86_64 -sign verified-> signed hello-1-2.x86_64",
			"signed hello-1-2.x86_64 -release verified-> repository", "signed hello-1-2.x86_64 -release verified-> repository",
		}
		for what, want := range map[string][]string{
			string(pkg.Digest):     asking(whole, 2),
			string(signed.Digest):  asking(whole, 3),
			string(srpm.Digest):    asking(forward, 1),
			sha:                    asking(forward, 0),
			"hello-1-2.x86_64":     asking(whole, 2, 3),
			"hello-1-2.x86_64.rpm": asking(whole, 2, 3),
			"hello-1-2.src":        asking(forward, 1),
			string(sub.Digest): {
				"commit []", "srpm hello-1-2.src [verified]", "package hello-doc-1-2.x86_64 [verified] asked",
				" -commit verified-> commit", "commit -source verified-> srpm hello-1-2.src", "srpm hello-1-2.src -build verified-> package hello-doc-1-2.x86_64", " -test missing-> package hello-doc-1-2.x86_64",
			},
		} {
			tr, err := w.Of(t.Context(), what)
			if err != nil {
				t.Errorf("%s: %v", what, err)
				continue
			}
			if diff := cmp.Diff(want, lines(tr)); diff != "" {
				t.Errorf("%s (-want +got):\n%s", what, diff)
			}
			if missing := strings.Contains(strings.Join(want, ""), "missing"); tr.Whole == missing || tr.Cut {
				t.Errorf("%s: whole %v, cut %v", what, tr.Whole, tr.Cut)
			}
		}
		for what, want := range map[string]albs.Kind{
			string(digest("x")): albs.NotFound, strings.Repeat("0", 40): albs.NotFound, "other-1-2.x86_64": albs.NotFound,
			"": albs.Invalid, "hello": albs.Invalid, "../../etc/passwd": albs.Invalid, strings.Repeat("a", 10_000): albs.Invalid,
		} {
			if _, err := w.Of(t.Context(), what); albs.KindOf(err) != want {
				t.Errorf("%.50q: %v, want %s", what, err, want)
			}
		}
	})
}

// TestGaps: what is on its way, contradicted or gone shows where it is.
func TestGaps(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	srpm, pkg, _, signed := w.chain(t)
	tr, err := w.Of(t.Context(), string(signed.Digest))
	if err != nil || tr.Whole || strings.Count(strings.Join(lines(tr), "\n"), "pending") != 10 {
		t.Errorf("before the ledger has it: %v, %q", err, lines(tr))
	}
	w.notarize(t)
	if _, err := w.DB.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'a', 'b') WHERE subject = $1`, pkg.Digest); err != nil {
		t.Fatal(err)
	}
	if _, err := w.DB.ExecContext(t.Context(), `DELETE FROM artifact WHERE digest = $1`, srpm.Digest); err != nil {
		t.Fatal(err)
	}
	if tr, err = w.Of(t.Context(), string(signed.Digest)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"package hello-1-2.x86_64 [verified]", "signed hello-1-2.x86_64 [verified] asked", "repository []", "repository []",
		" -build failed-> package hello-1-2.x86_64", " -test failed-> package hello-1-2.x86_64", "package hello-1-2.x86_64 -sign verified-> signed hello-1-2.x86_64",
		"signed hello-1-2.x86_64 -release verified-> repository", "signed hello-1-2.x86_64 -release verified-> repository",
	}
	if diff := cmp.Diff(want, lines(tr)); diff != "" || tr.Whole {
		t.Errorf("after rows were changed (-want +got):\n%s", diff)
	}
}

// TestBound: what has more parts than are shown says so.
func TestBound(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	srpm, _, _, _ := w.chain(t)
	var many []artifact.Artifact
	for i := range maxNodes {
		a := file(fmt.Sprintf("hello-%d", i), "x86_64", artifact.RPM)
		many = append(many, a)
		w.rows.srpm[srpm.Digest] = append(w.rows.srpm[srpm.Digest], a.Digest)
	}
	w.say(t, attest.Build, attest.BuildBody{}, many...)
	tr, err := w.Of(t.Context(), string(srpm.Digest))
	if err != nil || !tr.Cut || len(tr.Nodes) != maxNodes {
		t.Errorf("a trace of %d nodes, cut %v, %v", len(tr.Nodes), tr.Cut, err)
	}
}

// TestCommits: a commit that isn't notarized is a gap, and one that changes another leads
// from it; a notarized commit is found without a build.
func TestCommits(t *testing.T) {
	t.Parallel()
	w := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	up, lone := strings.Repeat("ab", 20), strings.Repeat("cd", 20)
	srpm := file("hello", "src", artifact.SRPM)
	w.say(t, attest.Source, attest.SourceBody{Repository: hello, Ref: "main", Commit: sha}, srpm)
	w.rows.commit[sha] = []albs.Digest{srpm.Digest}
	w.notarize(t)
	check := func(what string, whole bool, want ...string) {
		t.Helper()
		tr, err := w.Of(t.Context(), what)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, lines(tr)); diff != "" || tr.Whole != whole {
			t.Errorf("%s, whole %t (-want +got):\n%s", what, tr.Whole, diff)
		}
	}
	check(sha, false, "commit [] asked", "srpm hello-1-2.src [verified]", " -commit missing-> commit", "commit -source verified-> srpm hello-1-2.src")
	w.commit(t, up, nil)
	w.commit(t, sha, &attest.CommitLink{Repository: hello, Ref: "refs/tags/imports/c9/hello-1-2", Commit: up, SHA256: digest(up)})
	w.notarize(t)
	check(sha, true, "commit [] asked", "commit []", "srpm hello-1-2.src [verified]",
		"commit -commit verified-> commit", " -commit verified-> commit", "commit -source verified-> srpm hello-1-2.src")
	check(up, true, "commit [] asked", " -commit verified-> commit")
	w.commit(t, lone, &attest.CommitLink{Repository: hello, Ref: "refs/tags/imports/c9/hello-0-0", Commit: strings.Repeat("ef", 20), SHA256: digest("x")})
	w.notarize(t)
	check(lone, false, "commit [] asked", "commit []", "commit -commit verified-> commit", " -commit missing-> commit")
	if _, err := w.DB.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'a', 'b') WHERE subject = $1`, digest(up)); err != nil {
		t.Fatal(err)
	}
	check(up, false, "commit [] asked", " -commit failed-> commit")
}
