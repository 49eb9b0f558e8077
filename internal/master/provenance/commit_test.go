package provenance

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
)

const (
	someCommit = "0123456789abcdef0123456789abcdef01234567"
	someTree   = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	hello      = "https://git.example/hello"
)

// sayCommit states that a commit of the repository at url is notarized, with a record.
func (f *fixture) sayCommit(t *testing.T, url, commit string) albs.Digest {
	t.Helper()
	d := albs.DigestOf([]byte(commit))
	err := f.d.InTx(t.Context(), func(tx db.Tx) error {
		return f.State(t.Context(), tx, Fact{
			Subjects:  []attest.Subject{{Name: url + "@" + commit, Digest: map[string]string{attest.SHA256: string(d), attest.GitCommit: commit}}},
			Predicate: attest.Commit, Body: attest.CommitBody{Repository: GitURI(url), Ref: "refs/heads/main", Tree: someTree, Requester: "alice"},
			Records: []Record{{Key: albs.DigestOf([]byte("record of " + commit)), Name: "git@hello", Kind: "git", Metadata: map[string]string{"sbom_api_ver": "0.2"}}},
		})
	})
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func (f *fixture) standing(t *testing.T, url, commit string) Standing {
	t.Helper()
	n := NamedCommit{GitURI(url), commit}
	all, err := f.Commits(t.Context(), n)
	if err != nil {
		t.Fatal(err)
	}
	return all[n].Standing
}

// TestCommits: a commit is verified in the repository that the statement names, once the
// ledger has it, and what was built of it with it.
func TestCommits(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm := f.save(t, []byte("an SRPM"), "hello-1-1.src.rpm", artifact.Log) // any kind will do
		f.say(t, attest.Source, attest.SourceBody{Repository: GitURI(hello), Ref: "main", Commit: someCommit}, srpm)
		unsigned := f.save(t, []byte("a package"), "hello-1-1.x86_64.rpm", artifact.Log)
		f.say(t, attest.Build, attest.BuildBody{BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildType, ResolvedDependencies: []attest.Descriptor{
			{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}},
		}}}, unsigned)
		given := f.save(t, []byte("another SRPM"), "given-1-1.src.rpm", artifact.Log)
		f.say(t, attest.Source, attest.SourceBody{Uploader: "bob"}, given)
		unverified := func(d albs.Digest) string {
			t.Helper()
			why, err := f.Unverified(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			return why
		}
		f.drain(t)
		if got := f.standing(t, hello, someCommit); got != Missing {
			t.Errorf("before anybody said so the commit is %s", got)
		}
		want := "commit 0123456789ab of " + hello + " is not notarized: albs source notarize " + hello + " main"
		for _, d := range []albs.Digest{srpm.Digest, unsigned.Digest} {
			if got := unverified(d); got != want {
				t.Errorf("Unverified = %q, want %q", got, want)
			}
		}
		if got := unverified(given.Digest); !strings.Contains(got, "given by bob") {
			t.Errorf("of what was given: %q", got)
		}
		if got := unverified(albs.DigestOf([]byte("unheard of"))); !strings.Contains(got, "nothing that is proven") {
			t.Errorf("of what nobody knows: %q", got)
		}

		f.sayCommit(t, "https://git.example/fork", someCommit)
		f.drain(t)
		if got := f.standing(t, hello, someCommit); got != Missing {
			t.Errorf("a statement about a fork makes the commit %s", got)
		}
		if got := unverified(srpm.Digest); got != want {
			t.Errorf("a statement about a fork makes it %q", got)
		}

		f.sayCommit(t, hello, someCommit)
		if got := f.standing(t, hello, someCommit); got != Pending {
			t.Errorf("on its way to the ledger it is %s", got)
		}
		if got := unverified(srpm.Digest); !strings.Contains(got, "on the way") {
			t.Errorf("Unverified = %q while the statement is on its way", got)
		}
		f.drain(t)
		for _, d := range []albs.Digest{srpm.Digest, unsigned.Digest} {
			if got := unverified(d); got != "" {
				t.Errorf("Unverified = %q of what is notarized", got)
			}
		}
		n, missing := NamedCommit{GitURI(hello), someCommit}, NamedCommit{GitURI(hello), someTree}
		got, err := f.Commits(t.Context(), n, n, missing)
		if err != nil {
			t.Fatal(err)
		}
		wanted := map[NamedCommit]CommitStanding{n: {Standing: Verified, SHA256: albs.DigestOf([]byte(someCommit))}, missing: {Standing: Missing}}
		if diff := cmp.Diff(wanted, got); diff != "" {
			t.Errorf("Commits (-want +got):\n%s", diff)
		}
		b, err := f.Bundle(t.Context(), unsigned.Digest)
		if err != nil {
			t.Fatal(err)
		}
		if last := b.Statements[len(b.Statements)-1]; len(b.Statements) != 3 || !strings.Contains(last.Key, "/"+attest.Commit+"/2") {
			t.Errorf("the bundle has %d statements, the last is %s", len(b.Statements), last.Key)
		}
		value, _, err := f.flaky.Get(t.Context(), []byte(albs.DigestOf([]byte("record of "+someCommit))))
		if err != nil || !strings.Contains(string(value), `"Kind":"git"`) || !strings.Contains(string(value), f.signer.KeyID()) {
			t.Errorf("the record in the ledger is %s, %v", value, err)
		}
	})
}

// TestWhyUnverified: what is to be done is something that can be done.
func TestWhyUnverified(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ ref, commit, uploader, want string }{
		{"a9", someCommit, "", "albs source notarize " + hello + " a9"},
		{"refs/tags/v1", someCommit, "", "albs source notarize " + hello + " refs/tags/v1"},
		{someCommit, someCommit, "", "albs source notarize " + hello + " BRANCH"},
		{"HEAD", someCommit, "", "albs source notarize " + hello + " BRANCH"},
		{"", "", "bob", "given by bob"},
		{"", "", "", "no commit stands behind it"},
	} {
		if got := WhyUnverified(hello, c.ref, c.commit, c.uploader); !strings.Contains(got, c.want) {
			t.Errorf("of ref %q and uploader %q: %q, want %q in it", c.ref, c.uploader, got, c.want)
		}
	}
}

// TestCommitRowsAreNotBelieved: what only the database says of a commit counts nothing.
func TestCommitRowsAreNotBelieved(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		srpm := f.save(t, []byte("an SRPM"), "hello-1-1.src.rpm", artifact.Log)
		f.say(t, attest.Source, attest.SourceBody{Repository: GitURI(hello), Ref: "main", Commit: someCommit}, srpm)
		f.sayCommit(t, "https://git.example/fork", someCommit)
		f.drain(t)
		d := albs.DigestOf([]byte(someCommit))
		// Another's statement, moved to this repository by hand: the signature ends it.
		if _, err := f.d.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'fork', 'hell') WHERE subject = $1`, d); err != nil {
			t.Fatal(err)
		}
		if _, err := f.d.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'payload', 'payloae') WHERE subject = $1`, d); err != nil {
			t.Fatal(err)
		}
		if got := f.standing(t, hello, someCommit); got == Verified {
			t.Error("a row that was changed is believed")
		}
		if _, err := f.Unverified(t.Context(), srpm.Digest); !errors.Is(err, albs.Conflict) {
			t.Errorf("Unverified of what rests on a changed row: %v, want Conflict", err)
		}
		// And one that nobody carried to the ledger.
		other := strings.Repeat("ef", 20)
		f.sayCommit(t, hello, other)
		if _, err := f.d.ExecContext(t.Context(), `DELETE FROM outbox`); err != nil {
			t.Fatal(err)
		}
		if _, err := f.d.ExecContext(t.Context(), `UPDATE statement SET tx_id = 1 WHERE subject = $1`, albs.DigestOf([]byte(other))); err != nil {
			t.Fatal(err)
		}
		if got := f.standing(t, hello, other); got != Failed {
			t.Errorf("a row that claims to be in the ledger makes the commit %s, want %s", got, Failed)
		}
	})
}

// TestRecordsFit: a record that the ledger couldn't keep is refused, and says so before.
func TestRecordsFit(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		for size, fits := range map[int]bool{1000: true, 300_000: false} {
			r := Record{Key: albs.DigestOf([]byte{byte(size)}), Kind: "git", Metadata: map[string]string{"x": strings.Repeat("x", size)}}
			err := f.d.InTx(t.Context(), func(tx db.Tx) error { return f.State(t.Context(), tx, Fact{Records: []Record{r}}) })
			if r.Fits() != fits || (err == nil) != fits || err != nil && !errors.Is(err, albs.TooLarge) {
				t.Errorf("a record of %d bytes fits: %t, and is stated with %v", size, r.Fits(), err)
			}
		}
	})
}
