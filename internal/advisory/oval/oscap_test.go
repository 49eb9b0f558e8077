package oval

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/pgp"
	"albs/internal/rpm"
	"albs/internal/rpm/rpmtest"
)

func put(t *testing.T, path string, b []byte) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, b, 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestValid: what advisories are joined to is OVAL by its schema, with text that would do
// harm unescaped, and by the rules beside the schema, for which oscap takes minutes where
// there are many.
func TestValid(t *testing.T) {
	t.Parallel()
	run := advisorytest.Oscap(t)
	r := rand.New(rand.NewPCG(23, 29))
	d := nine()
	all := []advisory.Advisory{sample()}
	for n := range 10 {
		all = append(all, advisorytest.Random(r, n))
	}
	file := filepath.Join(t.TempDir(), FileName(d))
	put(t, file, join(t, d, all))
	if out, err := run("LC_ALL=C", "oval", "validate", "--skip-schematron", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	put(t, file, join(t, d, all[:1]))
	if out, err := run("LC_ALL=C", "oval", "validate", file); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	d.ReleasePackage, d.ReleaseFile = "", ""
	put(t, file, join(t, d, all[:1]))
	if out, err := run("LC_ALL=C", "oval", "validate", "--skip-schematron", file); err != nil {
		t.Errorf("by the file of its CPE: %v\n%s", err, out)
	}
	put(t, file, bytes.ReplaceAll(join(t, d, all[:1]), []byte("criterion"), []byte("criterium")))
	if _, err := run("LC_ALL=C", "oval", "validate", "--skip-schematron", file); err == nil {
		t.Error("oscap finds nothing wrong with elements that OVAL hasn't")
	}
}

const (
	oldSpec = `Name: suite
Version: 1
Release: 1
Summary: A
License: MIT
BuildArch: noarch
%description
A.
%install
mkdir -p %{buildroot}/etc
echo test > %{buildroot}/etc/test-release
%package -n test-release
Version: %{system}
Summary: R
%description -n test-release
R.
%files -n test-release
/etc/test-release
%define old() %{expand:
%package -n %1
Version: %2
Release: %3
Summary: B
%description -n %1
B.
%files -n %1
}
%old zlib 1.0 9
%old bare 1 1
%old foreign 1 1
%old kernel-core 1 1
%old qemu-kvm 1 1
%old perl 1 1
`
	newSpec = `Name: suite
Version: 2
Release: 1
Summary: A
License: MIT
BuildArch: noarch
%description
A.
%define new() %{expand:
%package -n %1
Version: %2
Release: %3
Summary: B
%description -n %1
B.
%files -n %1
}
%new zlib 1.0 10
%new kernel-core 2 1
`
)

// signed returns the package as signed by k.
func signed(t *testing.T, b []byte, k *pgp.Key) []byte {
	t.Helper()
	header, err := rpm.Header(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	sig, isRSA, err := k.Sign(header)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := rpm.Splice(&out, bytes.NewReader(b), sig, isRSA); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// rpmsign returns a function that signs those of the packages whose names begin so with
// one of two keys, over header and payload, as distributions did and old scanners want it;
// and the fingerprint of the key "ours".
func rpmsign(t *testing.T) (sign func(key string, set map[string][]byte, prefixes ...string), fingerprint string) {
	t.Helper()
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		t.Skip("there is no gpg")
	}
	if _, err := exec.LookPath("rpmsign"); err != nil {
		t.Skip("there is no rpmsign")
	}
	// The socket of gpg's agent has a short path.
	home, err := os.MkdirTemp("", "g")
	if err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) string {
		cmd := exec.Command(name, args...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
		return string(out)
	}
	t.Cleanup(func() {
		run("gpgconf", "--kill", "all")
		_ = os.RemoveAll(home)
	})
	for _, key := range []string{"ours", "theirs"} {
		run("gpg", "--batch", "--passphrase", "", "--quick-generate-key", key+"@example.org", "rsa2048", "sign", "never")
	}
	for line := range strings.Lines(run("gpg", "--with-colons", "--list-keys", "ours@example.org")) {
		if f := strings.Split(line, ":"); f[0] == "fpr" && fingerprint == "" {
			fingerprint = f[9]
		}
	}
	return func(key string, set map[string][]byte, prefixes ...string) {
		dir := t.TempDir()
		args := []string{"--rpmv3", "--define", "__gpg " + gpg, "--define", "_gpg_name " + key + "@example.org", "--addsign"}
		paths := map[string]string{}
		for name, b := range set {
			for _, prefix := range prefixes {
				if strings.HasPrefix(name, prefix) {
					paths[name] = filepath.Join(dir, name)
					put(t, paths[name], b)
					args = append(args, paths[name])
				}
			}
		}
		if len(paths) == 0 {
			return
		}
		run("rpmsign", args...)
		for name, path := range paths {
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			set[name] = b
		}
	}, fingerprint
}

// TestEvaluated: on a system of the platform a definition is true where a package that the
// distribution signed is older than what the advisory gives, by rpm's order, and of modules
// where their stream is enabled; and nowhere else.
func TestEvaluated(t *testing.T) {
	t.Parallel()
	run := advisorytest.Oscap(t)
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("there is no rpm")
	}
	header, err := pgp.Generate("Header <header@example.org>", pgp.Ed25519, time.Unix(1_700_000_000, 0))
	if err != nil {
		t.Fatal(err)
	}
	sign, ours := rpmsign(t)
	build := func(spec string, system string) map[string][]byte {
		made, err := rpmtest.Build(spec, "--define", "system "+system)
		if errors.Is(err, exec.ErrNotFound) {
			t.Skip("there is no rpmbuild")
		}
		if err != nil {
			t.Fatal(err)
		}
		for name, b := range made {
			if strings.HasPrefix(name, "qemu-kvm") {
				made[name] = signed(t, b, header)
			}
		}
		sign("theirs", made, "foreign")
		sign("ours", made, "zlib", "kernel-core", "perl")
		return made
	}
	nine, ten, later := build(oldSpec, "9.4"), build(oldSpec, "10.1"), build(newSpec, "none")

	d := advisorytest.Distribution()
	d.ReleaseFile, d.ReleasePackage = "/etc/test-release", "test-release"
	d.KeyFingerprints = []string{strings.Repeat("AB", 20), ours, strings.ToUpper(header.Fingerprint())}
	fix := func(id, nevra string, module string) advisory.Advisory {
		a := sample()
		a.ID = id
		n, err := rpm.ParseNEVRA(nevra)
		if err != nil {
			t.Fatal(err)
		}
		a.Packages = []advisory.Package{{NEVRA: n}}
		if m, ok := advisory.ParseModule(module); ok {
			a.Packages[0].Module = &m
		}
		return a
	}
	advisories := []advisory.Advisory{
		fix("TSA-2026:1", "zlib-1.0-10.noarch", ""),
		fix("TSA-2026:2", "zlib-1.0-9.noarch", ""),  // which is there
		fix("TSA-2026:3", "zlib-1.0-10.x86_64", ""), // of another arch
		fix("TSA-2026:4", "bare-2-1.noarch", ""),    // which nobody signed
		fix("TSA-2026:5", "foreign-2-1.noarch", ""), // which others signed
		fix("TSA-2026:6", "absent-2-1.noarch", ""),  // which isn't installed
		fix("TSA-2026:7", "kernel-core-2-1.noarch", ""),
		fix("TSA-2026:8", "qemu-kvm-2-1.noarch", "virt:rhel"),
		fix("TSA-2026:9", "qemu-kvm-2-1.noarch", "virt:rhe"), // another stream
		fix("TSA-2026:10", "perl-2-1.noarch", "perl:5.32"),
		fix("TSA-2026:11", "perl-2-1.noarch", "perl:5.3"),
		fix("TSA-2026:12", "perl-1:0-1.noarch", "perl:5.32"), // by its epoch
	}
	file := filepath.Join(t.TempDir(), "definitions.xml")
	put(t, file, join(t, d, advisories))

	root := func(packages ...map[string][]byte) string {
		dir := t.TempDir()
		for _, set := range packages {
			args := []string{"--root", dir, "--define", "_dbpath /var/lib/rpm", "--nodeps", "--nosignature", "--ignorearch", "-i"}
			from := t.TempDir()
			for name, b := range set {
				if !strings.HasSuffix(name, ".src.rpm") {
					put(t, filepath.Join(from, name), b)
					args = append(args, filepath.Join(from, name))
				}
			}
			if out, err := exec.CommandContext(t.Context(), "rpm", args...).CombinedOutput(); err != nil {
				t.Fatalf("rpm: %v\n%s", err, out)
			}
		}
		put(t, filepath.Join(dir, "etc/dnf/modules.d/virt.module"), []byte("[virt]\nname=virt\nprofiles=common\nstate=enabled\nstream=rhel\n"))
		put(t, filepath.Join(dir, "etc/dnf/modules.d/perl.module"), []byte("[perl]\nname=perl\nstream=5.32\nprofiles=\nstate=enabled\n"))
		return dir
	}
	off := root(nine)
	put(t, filepath.Join(off, "etc/dnf/modules.d/virt.module"), []byte("[virt]\nname=virt\nprofiles=\nstate=disabled\nstream=rhel\n"))
	put(t, filepath.Join(off, "etc/dnf/modules.d/perl.module"), []byte("[perl]\nname=perl\nstream=5.30\nprofiles=\nstate=enabled\n"))
	line := regexp.MustCompile(`Definition oval:\S+:def:2026(\d+): (\w+)`)
	for _, tt := range []struct{ name, root, want string }{
		{"old", root(nine), "1 4 7 8 10 12"},
		{"with what is newer beside it", root(nine, without(later, "zlib")), "1 4 8 10 12"},
		{"with what is newer", root(without(nine, "zlib"), later), "4 8 10 12"},
		{"with other streams", off, "1 4 7"},
		{"of another version", root(ten), ""},
	} {
		out, err := run("OSCAP_PROBE_ROOT="+tt.root, "oval", "eval", "--skip-validation", file)
		if err != nil {
			t.Fatalf("%s: %v\n%s", tt.name, err, out)
		}
		said := map[string]string{}
		for _, m := range line.FindAllStringSubmatch(out, -1) {
			said[m[1]] = m[2]
		}
		want := map[string]string{}
		for i := range advisories {
			want[fmt.Sprint(i+1)] = "false"
		}
		for _, n := range strings.Fields(tt.want) {
			want[n] = "true"
		}
		if diff := cmp.Diff(want, said); diff != "" {
			t.Errorf("a system %s (-want +got):\n%s%s", tt.name, diff, out)
		}
	}
}

// without returns the packages but those whose names begin so.
func without(set map[string][]byte, prefix string) map[string][]byte {
	out := map[string][]byte{}
	for name, b := range set {
		if !strings.HasPrefix(name, prefix) {
			out[name] = b
		}
	}
	return out
}
