package attest_test

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/rpm"
	"albs/internal/tlog"
)

// farm releases packages; see attesttest.
func farm(t testing.TB) *attesttest.Farm {
	t.Helper()
	f, err := attesttest.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

func release(t testing.TB, f *attesttest.Farm, but ...string) attesttest.Released {
	t.Helper()
	r, err := f.Release(built(t, "hello-1-1.noarch.rpm"), but...)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

func check(t testing.TB, r attesttest.Released, trust attest.Trust) (attest.Report, error) {
	t.Helper()
	return attest.Verify(t.Context(), bytes.NewReader(r.Signed), int64(len(r.Signed)), r.Bundle, trust)
}

// TestPublicLog says what a proof of the public log does to the verdict.
func TestPublicLog(t *testing.T) {
	t.Parallel()
	f := farm(t)
	whole, other := release(t, f), release(t, f, attest.Test, attesttest.NoLog)
	rootless := func(r attesttest.Released) attesttest.Released { r.Bundle.Log = nil; return r }
	lax := func(change func(*attest.Trust)) attest.Trust {
		trust := f.Trust
		trust.RequireLog = false
		change(&trust)
		return trust
	}
	const (
		unproven  = "nothing proves that it is in a public log of releases"
		unchecked = "it has a proof of a public log of releases, but the trust file names none to check that against"
	)
	for _, tt := range []struct {
		name    string
		r       attesttest.Released
		trust   attest.Trust
		missing []string
		link    attest.Link // "" if it holds
	}{
		{"proven", whole, f.Trust, nil, ""},
		{"proven, not required", whole, lax(func(*attest.Trust) {}), nil, ""},
		{"no proof, required", rootless(whole), f.Trust, nil, attest.LinkLog},
		{"no proof, not required", rootless(whole), lax(func(*attest.Trust) {}), []string{unproven}, ""},
		{"no proof, no log", rootless(whole), lax(func(t *attest.Trust) { t.Log = nil }), []string{unproven}, ""},
		{"a proof, no log", whole, lax(func(t *attest.Trust) { t.Log = nil }), []string{unchecked}, ""},
		{"a proof of other statements, not required", attesttest.Released{Signed: other.Signed, Bundle: edit(other.Bundle, func(b *attest.Bundle) { b.Log = whole.Bundle.Log })},
			lax(func(t *attest.Trust) { t.RequireTest = false }), nil, attest.LinkLog},
		{"an empty proof", attesttest.Released{Signed: whole.Signed, Bundle: edit(whole.Bundle, func(b *attest.Bundle) { b.Log = []byte{} })}, lax(func(*attest.Trust) {}), nil, attest.LinkLog},
		{"a log required and none named", whole, edit(f.Trust, func(t *attest.Trust) { t.Log = nil }), nil, attest.LinkInput},
		{"a log without keys", whole, edit(f.Trust, func(t *attest.Trust) { t.Log = &tlog.Policy{} }), nil, attest.LinkInput},
		{"fewer witnesses than asked for", whole, edit(f.Trust, func(t *attest.Trust) { p := *t.Log; p.Quorum = 3; t.Log = &p }), nil, attest.LinkInput},
		{"not released, so in no log", release(t, f, attest.Release), edit(f.Trust, func(t *attest.Trust) { t.RequireRelease = false }), nil, attest.LinkLog},
	} {
		report, err := check(t, tt.r, tt.trust)
		if tt.link != "" {
			wantLink(t, tt.name, err, tt.link)
			continue
		}
		if err != nil {
			t.Errorf("%s: %v", tt.name, err)
			continue
		}
		proven := slices.ContainsFunc(report.Steps, func(s attest.Step) bool { return s.Link == attest.LinkLog })
		if !slices.Equal(report.Missing, tt.missing) || proven != (len(tt.missing) == 0) || proven != (report.Log != nil) {
			t.Errorf("%s: missing is %q, in a log: %v, %+v", tt.name, report.Missing, proven, report.Log)
		}
	}
	report, err := check(t, whole, f.Trust)
	if err != nil || *report.Log != (attest.LogEntry{Origin: "log.example.org/albs", Index: 1, Size: 2, Witnesses: 2}) {
		t.Errorf("the log's entry is %+v, %v", report.Log, err)
	}
}

// TestMissingIsSaid wants told what a trust file doesn't ask for and nothing proves.
func TestMissingIsSaid(t *testing.T) {
	t.Parallel()
	f := farm(t)
	trust := f.Trust
	trust.RequireTest, trust.RequireRelease, trust.RequireCommit, trust.RequireLog = false, false, false, false
	report, err := check(t, release(t, f, attest.Test, attest.Release, attest.Commit), trust)
	want := []string{"no statement says that it was tested", "no statement says that the commit of its source was notarized", "no statement says that it was released", "nothing proves that it is in a public log of releases"}
	if err != nil || !slices.Equal(report.Missing, want) {
		t.Errorf("missing is %q, %v", report.Missing, err)
	}
}

// TestLeaf says what of a package and its statements is in the log.
func TestLeaf(t *testing.T) {
	t.Parallel()
	f := farm(t)
	r := release(t, f)
	file := albs.DigestOf(r.Signed)
	leaf, err := r.Bundle.Leaf(r.Package, file)
	if err != nil {
		t.Fatal(err)
	}
	want := strings.Join([]string{
		"albs-release/v1", "nevra hello-0:1-1.noarch", "file sha256:" + string(file), "header sha256:" + string(r.Package.HeaderSHA256),
		"payload sha256:" + string(r.Package.PayloadSHA256), "repo hello-9/x86_64/os", "bundle sha256:" + string(albs.DigestOf(r.Bundle.Envelopes())), "",
	}, "\n")
	if got := string(leaf.Encode()); got != want {
		t.Errorf("the leaf is\n%s\nwant\n%s", got, want)
	}
	if _, err := r.Bundle.Leaf(r.Package, albs.DigestOf(nil)); albs.KindOf(err) != albs.NotFound {
		t.Errorf("the leaf of another file: %v", err)
	}
	if _, err := (attest.Bundle{Statements: make([]attest.Proven, 1)}).Leaf(&rpm.Package{}, file); albs.KindOf(err) != albs.Invalid {
		t.Errorf("the leaf of what is no statement: %v", err)
	}
}

// TestReleasesInOtherProducts are in nobody's way: a package that two products share is
// verified by those who trust one of them.
func TestReleasesInOtherProducts(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	other := w.say(t, w.subject(t, w.signed), attest.Release, attest.ReleaseBody{Product: "other", Repositories: []string{"x86_64/os"}})
	report, err := w.verify(t, w.signed, w.prove(t, append(w.bundle.Statements, other)...), w.trust)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range report.Steps {
		if strings.Contains(s.Text, "other") {
			t.Errorf("a release that isn't trusted is told: %s", s.Text)
		}
	}
}
