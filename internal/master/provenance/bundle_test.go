package provenance

import (
	"bytes"
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// built makes a small RPM and its SRPM with the real rpmbuild.
func built(t *testing.T) (binary, source []byte) {
	t.Helper()
	made, err := rpmtest.Build("Name: hello\nVersion: 1.0\nRelease: 2\nSummary: A greeting\nLicense: MIT\nBuildArch: noarch\n" +
		"%description\nA greeting.\n%files\n")
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		t.Fatal(err)
	}
	return made["hello-1.0-2.noarch.rpm"], made["hello-1.0-2.src.rpm"]
}

func (f *fixture) save(t *testing.T, b []byte, name string, k artifact.Kind) artifact.Artifact {
	t.Helper()
	a, err := f.artifacts.Save(t.Context(), bytes.NewReader(b), 1<<20, name, k)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (f *fixture) say(t *testing.T, predicate string, body any, a artifact.Artifact) {
	t.Helper()
	err := f.d.InTx(t.Context(), func(tx db.Tx) error {
		if err := f.artifacts.Add(t.Context(), tx, a); err != nil {
			return err
		}
		return f.State(t.Context(), tx, Fact{Subjects: []attest.Subject{SubjectOf(a)}, Predicate: predicate, Body: body,
			Files: []artifact.Artifact{a}})
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestBundle leads a real package from its SRPM to its release, and lets the
// offline verification judge what comes out.
func TestBundle(t *testing.T) {
	t.Parallel()
	binary, source := built(t)
	key, err := pgp.Generate("albs test <test@example.org>", pgp.Ed25519, time.Now().Add(-time.Minute))
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	header, err := rpm.Header(bytes.NewReader(binary))
	if err != nil {
		t.Fatal(err)
	}
	packet, isRSA, err := key.Sign(header)
	if err != nil {
		t.Fatal(err)
	}
	var spliced bytes.Buffer
	if err := rpm.Splice(&spliced, bytes.NewReader(binary), packet, isRSA); err != nil {
		t.Fatal(err)
	}

	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		f := setup(t, d)
		srpm := f.save(t, source, "hello-1.0-2.src.rpm", artifact.SRPM)
		unsigned := f.save(t, binary, "hello-1.0-2.noarch.rpm", artifact.RPM)
		signed := f.save(t, spliced.Bytes(), unsigned.Name, artifact.RPM)
		signed.Unsigned, signed.SignedBy = unsigned.Digest, key.Fingerprint()

		if _, err := f.Bundle(t.Context(), signed.Digest); !errors.Is(err, albs.NotFound) {
			t.Errorf("Bundle of the unknown = %v, want not found", err)
		}
		f.say(t, attest.Source, attest.SourceBody{Uploader: "alice"}, srpm)
		f.say(t, attest.Test, attest.TestBody{Result: attest.Failed, FailedTests: []string{"install"}}, srpm) // of no concern to the RPM
		f.drain(t)
		known, err := f.advance(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.say(t, attest.Build, attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{BuildType: attest.BuildType, ResolvedDependencies: []attest.Descriptor{
				{Name: attest.DependencySRPM, Digest: map[string]string{attest.SHA256: string(srpm.Digest)}}}},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "urn:test"}},
		}, unsigned)
		if _, err := f.Bundle(t.Context(), unsigned.Digest); !errors.Is(err, albs.Unavailable) {
			t.Errorf("Bundle of what is on its way = %v, want unavailable", err)
		}
		f.say(t, attest.Test, attest.TestBody{Result: attest.Passed, PassedTests: []string{"install"}}, unsigned)
		// Of the tries to sign it, evidence has that of its own task and the bundle none.
		f.say(t, attest.SignIntent, attest.SignIntentBody{Task: 4}, unsigned)
		f.say(t, attest.SignResult, attest.SignResultBody{Task: 4, Reason: "refused"}, unsigned)
		f.say(t, attest.SignIntent, attest.SignIntentBody{Task: 5}, unsigned)
		f.drain(t)

		trust, err := f.Trust(t.Context(), attest.Trust{PackageKeys: []string{string(public)}, Builders: []string{"urn:test"},
			Products: []string{"demo"}, RequireTest: true})
		if err != nil {
			t.Fatal(err)
		}
		for name, known := range map[string]ledger.State{"no state": {}, "an earlier state": known} {
			e, err := f.Evidence(t.Context(), 5, []albs.Digest{unsigned.Digest}, known.TxID)
			if err != nil {
				t.Fatal(err)
			}
			if now, err := attest.VerifyEvidence(e, []albs.Digest{unsigned.Digest}, trust, known); err != nil || now != e.State.State {
				t.Errorf("VerifyEvidence from %s = %+v, %v", name, now, err)
			}
			var tries []string
			for _, s := range e.Statements {
				if strings.Contains(s.Key, "/sign-") {
					tries = append(tries, s.Key)
				}
			}
			if want := []string{attest.StatementKey(unsigned.Digest, attest.SignIntent, 2)}; !slices.Equal(tries, want) {
				t.Errorf("the evidence has of signing %q, want %q", tries, want)
			}
		}
		if _, err := f.Evidence(t.Context(), 5, []albs.Digest{unsigned.Digest}, 1000); !errors.Is(err, albs.Conflict) {
			t.Errorf("Evidence from the future = %v, want conflict", err)
		}

		f.say(t, attest.Sign, attest.SignBody{Unsigned: unsigned.Digest, Fingerprint: key.Fingerprint(), Build: 7, Requester: "bob"}, signed)
		f.say(t, attest.Release, attest.ReleaseBody{Product: "demo", Release: 3, Serial: 1, Approvals: []attest.ApprovedBy{{Person: "carol"}},
			Plan: albs.DigestOf([]byte("plan")), Tree: albs.DigestOf([]byte("tree")), Repositories: []string{"BaseOS"}}, signed)
		f.drain(t)
		trust.RequireRelease = true

		b, err := f.Bundle(t.Context(), signed.Digest)
		if err != nil {
			t.Fatal(err)
		}
		read, err := attest.ParseBundle(b.Envelopes(), b.Proof())
		if err != nil {
			t.Fatal(err)
		}
		report, err := attest.Verify(t.Context(), bytes.NewReader(spliced.Bytes()), int64(spliced.Len()), read, trust)
		if err != nil {
			t.Fatal(err)
		}
		var steps []string
		for _, s := range report.Steps {
			if s.Predicate != "" {
				steps = append(steps, s.Predicate)
			}
		}
		if diff := cmp.Diff([]string{"sign", "test", "build", "source", "release"}, steps); diff != "" {
			t.Error(diff)
		}
		history, err := f.History(t.Context(), signed.Digest)
		if err != nil {
			t.Fatal(err)
		}
		var told []string
		for _, e := range history {
			told = append(told, e.Predicate)
		}
		if diff := cmp.Diff([]string{"source", "build", "test", "sign-intent", "sign-result", "sign-intent", "sign", "release"}, told); diff != "" {
			t.Error(diff)
		}

		f.exec(t, `UPDATE statement SET envelope = envelope || ' ' WHERE predicate = 'source'`)
		if _, err := f.Bundle(t.Context(), signed.Digest); !errors.Is(err, albs.Conflict) {
			t.Errorf("Bundle over a changed row = %v, want conflict", err)
		}
	})
}
