package tester

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

// sign returns a copy of a package that is signed with key.
func sign(t *testing.T, unsigned []byte, key *pgp.Key) []byte {
	t.Helper()
	header, err := rpm.Header(bytes.NewReader(unsigned))
	if err != nil {
		t.Fatal(err)
	}
	sig, isRSA, err := key.Sign(header)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rpm.Splice(&out, bytes.NewReader(unsigned), sig, isRSA); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// TestSigned: the real dnf takes what the expected key signed and nothing else, and each
// package that it doesn't take is told by its name, with the reason.
func TestSigned(t *testing.T) {
	t.Parallel()
	now := time.Now().Add(-time.Minute)
	keys := map[string]*pgp.Key{}
	algs := map[string]string{"expected": pgp.Ed25519, "other": pgp.Ed25519}
	if testing.Short() {
		t.Log("with -short other sorts of keys are left out: dnf takes a second for each package, and an RSA key takes seconds to make")
	} else {
		algs["rsa"] = pgp.RSA4096
	}
	for name, alg := range algs {
		k, err := pgp.Generate(name+" <"+name+"@example.org>", alg, now)
		if err != nil {
			t.Fatal(err)
		}
		keys[name] = k
	}
	sub, err := pgp.GenerateWithSubkey("sub <sub@example.org>", pgp.Ed25519, now)
	if err != nil {
		t.Fatal(err)
	}
	keys["sub"] = sub
	public := func(name string) string {
		b, err := keys[name].Public()
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	type test struct {
		name string
		by   string // the key that signed it; "" for none
		harm func([]byte)
		want string // in the reason; "" for none
	}
	tests := []test{
		{name: "s-good", by: "expected"},
		{name: "s-unsigned", want: "Package s-unsigned-1-1.noarch.rpm is not signed"},
		{name: "s-wrong", by: "other", want: "Failing package is: s-wrong-1-1.noarch"},
		{name: "s-payload", by: "expected", harm: func(b []byte) { b[len(b)-20] ^= 1 }, want: "Problem opening package s-payload-1-1.noarch.rpm"},
		{name: "s-header", by: "expected", harm: func(b []byte) { b[bytes.LastIndex(b, []byte("A summary"))] ^= 1 }, want: "Problem opening package s-header-1-1.noarch.rpm (a digest or a signature in it doesn't hold)"},
	}
	expected := public("expected")
	if keys["rsa"] != nil {
		expected += public("rsa") + public("sub")
		tests = append(tests, test{name: "s-rsa", by: "rsa"}, test{name: "s-subkey", by: "sub"})
	}
	var spec strings.Builder
	spec.WriteString("Name: s-good\nVersion: 1\nRelease: 1\nSummary: A summary\nLicense: MIT\nBuildArch: noarch\n%description\nA.\n%files\n")
	for _, tt := range tests[1:] {
		spec.WriteString("%package -n " + tt.name + "\nSummary: A summary\n%description -n " + tt.name + "\nB.\n%files -n " + tt.name + "\n")
	}
	made, err := rpmtest.Build(spec.String())
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	}
	if err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(t.TempDir(), "signed")
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	var packages []albs.TestPackage
	for _, tt := range tests {
		b := made[tt.name+"-1-1.noarch.rpm"]
		if tt.by != "" {
			b = sign(t, b, keys[tt.by])
		}
		if tt.harm != nil {
			tt.harm(b)
		}
		if err := os.WriteFile(filepath.Join(dir, tt.name+"-1-1.noarch.rpm"), b, 0o644); err != nil {
			t.Fatal(err)
		}
		packages = append(packages, albs.TestPackage{NEVRA: tt.name + "-1-1.noarch", Digest: albs.DigestOf(b)})
	}
	host(t, dir, "createrepo_c", "--quiet", "--no-database", ".")
	w := beginWith(t, Config{}, dir)
	for i, r := range w.root.Repos {
		if r.ID == "own" {
			w.root.Repos[i].Keys = expected
		}
	}
	stages := []albs.TestStage{albs.StageEnvironment, albs.StageSigned}
	id := w.add(&albs.TestSpec{Root: w.root, Packages: packages, Stages: stages})
	outcome, r := w.end(t, id)
	if outcome != albs.OutcomeOK || r.Test == nil {
		t.Fatalf("outcome %s: %s; log:\n%s", outcome, r.Reason, w.fake.LogOf(id, 1, "test"))
	}
	for i, tt := range tests {
		got, reasons := told(r.Test, packages[i].NEVRA)
		want := "environment passed, signed passed"
		if tt.want != "" {
			want = "environment passed, signed failed"
		}
		if got != want || tt.want != "" && !strings.Contains(strings.Join(reasons, " "), tt.want) {
			t.Errorf("%s: %s: %q, want %s and %q; log:\n%s", tt.name, got, reasons, want, tt.want, w.fake.LogOf(id, 1, "test"))
		}
	}
	// Without a key there is nothing to check, and that isn't good.
	for i := range w.root.Repos {
		w.root.Repos[i].Keys = ""
	}
	id = w.add(&albs.TestSpec{Root: w.root, Packages: packages[:1], Stages: stages})
	if _, r := w.end(t, id); r.Test == nil {
		t.Errorf("without keys: %s", r.Reason)
	} else if got, reasons := told(r.Test, packages[0].NEVRA); got != "environment passed, signed not_run" {
		t.Errorf("without keys: %s %q", got, reasons)
	}
}
