package rpm

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/rpm/rpmtest"
)

var (
	// An RSA key takes seconds; one serves all tests.
	rsaKey     = sync.OnceValues(func() (*pgp.Key, error) { return pgp.Generate("RSA Test <rsa@example.org>", pgp.RSA4096, keyTime) })
	ed25519Key = sync.OnceValues(func() (*pgp.Key, error) {
		return pgp.Generate("Ed25519 Test <ed@example.org>", pgp.Ed25519, keyTime)
	})
	keyTime  = time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC)
	signTime = time.Date(2024, 3, 6, 7, 8, 9, 0, time.UTC)
)

func key(t testing.TB, alg string) *pgp.Key {
	t.Helper()
	get := rsaKey
	if alg == pgp.Ed25519 {
		get = ed25519Key
	}
	k, err := get()
	if err != nil {
		t.Fatal(err)
	}
	return k.At(signTime)
}

func ring(t testing.TB, keys ...*pgp.Key) *Keyring {
	t.Helper()
	var armored [][]byte
	for _, k := range keys {
		b, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		armored = append(armored, b)
	}
	kr, err := ReadKeyring(armored...)
	if err != nil {
		t.Fatal(err)
	}
	return kr
}

// sign returns b signed by k.
func sign(t testing.TB, b []byte, k *pgp.Key) []byte {
	t.Helper()
	main, err := Header(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	sig, isRSA, err := k.Sign(main)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	if err := Splice(&out, bytes.NewReader(b), sig, isRSA); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tool returns the path of a program or skips the test.
func tool(t testing.TB, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("%s is not installed", name)
	}
	return path
}

// build returns the noarch package that rpmbuild makes of a spec, or skips the test.
func build(t testing.TB, spec string) []byte {
	t.Helper()
	made, err := rpmtest.Build(spec)
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range made {
		if strings.HasSuffix(name, ".noarch.rpm") {
			return b
		}
	}
	t.Fatalf("rpmbuild made %d packages, none of them noarch", len(made))
	return nil
}

func smallSpec(name string) string {
	return `Name: ` + name + `
Version: 1.0
Release: 1
Summary: A small package
License: MIT
BuildArch: noarch
%description
Small.
%install
mkdir -p %{buildroot}/usr/share/` + name + `
echo ` + name + ` > %{buildroot}/usr/share/` + name + `/file
%files
/usr/share/` + name + `
`
}

// rpmkeys returns a function that says whether rpm itself takes a package, with
// the keys of a database of its own, and what it printed.
func rpmkeys(t testing.TB, keys ...*pgp.Key) func(b []byte) (bool, string) {
	t.Helper()
	program, dir := tool(t, "rpmkeys"), t.TempDir()
	for i, k := range keys {
		public, err := k.Public()
		if err != nil {
			t.Fatal(err)
		}
		path := filepath.Join(dir, fmt.Sprintf("key%d.asc", i))
		if err := os.WriteFile(path, public, 0o644); err != nil {
			t.Fatal(err)
		}
		if out, err := exec.CommandContext(t.Context(), program, "--dbpath", dir+"/db", "--import", path).CombinedOutput(); err != nil {
			t.Fatalf("rpmkeys --import: %v\n%s", err, out)
		}
	}
	return func(b []byte) (bool, string) {
		path := filepath.Join(dir, "a.rpm")
		if err := os.WriteFile(path, b, 0o644); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), program, "--dbpath", dir+"/db", "--define", "_pkgverify_level all", "-Kv", path).CombinedOutput()
		return err == nil, string(out)
	}
}

func TestSplice(t *testing.T) {
	t.Parallel()
	rsa, ed := key(t, pgp.RSA4096), key(t, pgp.Ed25519)
	for name, unsigned := range map[string][]byte{
		"fixture": fixture(t, richRPM), "source": fixture(t, richSRPM), "rpmbuild": build(t, smallSpec("small")),
	} {
		for _, c := range []struct {
			name string
			by   []*pgp.Key // one after the other
		}{
			{"rsa", []*pgp.Key{rsa}}, {"ed25519", []*pgp.Key{ed}},
			{"rsa again", []*pgp.Key{rsa, rsa}}, {"rsa then ed25519", []*pgp.Key{rsa, ed}}, {"ed25519 then rsa", []*pgp.Key{ed, rsa}},
		} {
			t.Run(name+"/"+c.name, func(t *testing.T) {
				t.Parallel()
				signed := unsigned
				for _, k := range c.by {
					signed = sign(t, signed, k)
				}
				last := c.by[len(c.by)-1]
				if len(signed) != len(unsigned) {
					t.Errorf("the signed package has %d bytes, the unsigned %d", len(signed), len(unsigned))
				}
				if again := sign(t, signed, last); !bytes.Equal(again, signed) {
					t.Error("signing again at the same time gives other bytes")
				}
				a, err := Read(bytes.NewReader(unsigned))
				if err != nil {
					t.Fatal(err)
				}
				v, err := Verify(bytes.NewReader(signed), ring(t, ed, rsa))
				if err != nil {
					t.Fatalf("Verify: %v", err)
				}
				if v.Fingerprint != last.Fingerprint() || !v.SignedAt.Equal(signTime) || v.FileDigest != albs.DigestOf(signed) {
					t.Errorf("Verify = %s at %v of %s", v.Fingerprint, v.SignedAt, v.FileDigest)
				}
				p := v.Package
				if !SameContent(a, p) || a.Signed() || !p.Signed() || len(p.Signatures) != 1 || p.Size != int64(len(signed)) {
					t.Errorf("the signed package has %d signatures and size %d, same content %v", len(p.Signatures), p.Size, SameContent(a, p))
				}
				if !bytes.Equal(signed[p.HeaderStart:], unsigned[a.HeaderStart:]) || !bytes.Equal(signed[:leadSize], unsigned[:leadSize]) {
					t.Error("lead, main header or payload have changed")
				}
				if ok, out := rpmkeys(t, rsa, ed)(signed); !ok {
					t.Errorf("rpmkeys refuses it:\n%s", out)
				}
				// The other key alone is of no use.
				other := ed
				if last == ed {
					other = rsa
				}
				if _, err := Verify(bytes.NewReader(signed), ring(t, other)); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "keyring") {
					t.Errorf("Verify with another key: %v", err)
				}
			})
		}
	}
}

// withSignatureHeader returns b with a signature header of values.
func withSignatureHeader(t testing.TB, b []byte, values []value) []byte {
	t.Helper()
	f, err := readFront(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	head := layout(tagSigRegion, values)
	out := append(append(bytes.Clone(b[:leadSize]), head...), make([]byte, padded(len(head))-len(head))...)
	return append(out, b[f.start():]...)
}

// signatureValues lists what the signature header of b holds, but for tags.
func signatureValues(t testing.TB, b []byte, but ...uint32) []value {
	t.Helper()
	f, err := readFront(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	var values []value
	for _, e := range f.sig.entries {
		if e.tag != tagSigRegion && !slices.Contains(but, e.tag) {
			values = append(values, value{e.tag, e.typ, e.count, f.sig.store()[e.off : e.off+e.size]})
		}
	}
	return values
}

// A package that bears a signature of every kind there is has one after Splice, and
// everything else of its signature header.
func TestSpliceDropsAll(t *testing.T) {
	t.Parallel()
	k, foreign := key(t, pgp.Ed25519), []byte("a signature of somebody else\x00")
	unsigned := fixture(t, richRPM)
	values := signatureValues(t, unsigned, tagSigReserved)
	kept := len(values)
	for _, tag := range []uint32{tagSigDSA, tagSigRSA, tagSigPGP, tagSigGPG} {
		values = append(values, value{tag, typeBin, uint32(len(foreign)), foreign})
	}
	values = append(values, value{tagSigOpenPGP, typeStrings, 1, foreign})
	signed := sign(t, withSignatureHeader(t, unsigned, values), k)
	if bytes.Contains(signed, foreign) {
		t.Error("a foreign signature is left")
	}
	if got := len(signatureValues(t, signed, tagSigReserved)); got != kept+1 {
		t.Errorf("%d values are left, want %d and the signature", got, kept)
	}
	if _, err := Verify(bytes.NewReader(signed), ring(t, k)); err != nil {
		t.Errorf("Verify: %v", err)
	}
}

// Of two signatures over the header both must hold, whichever comes first.
func TestVerifyEverySignature(t *testing.T) {
	t.Parallel()
	rsa, ed := key(t, pgp.RSA4096), key(t, pgp.Ed25519)
	unsigned := fixture(t, richRPM)
	values := signatureValues(t, sign(t, unsigned, rsa))
	for _, v := range signatureValues(t, sign(t, unsigned, ed)) {
		if v.tag == tagSigDSA {
			values = append(values, v)
		}
	}
	both := withSignatureHeader(t, unsigned, values)
	if _, err := Verify(bytes.NewReader(both), ring(t, rsa, ed)); err != nil {
		t.Errorf("Verify with both keys: %v", err)
	}
	for _, k := range []*pgp.Key{rsa, ed} {
		if _, err := Verify(bytes.NewReader(both), ring(t, k)); !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "keyring") {
			t.Errorf("Verify with key %s alone: %v, want Invalid", k, err)
		}
	}
}

// Without reserved space the file grows, and is as good.
func TestSpliceWithoutRoom(t *testing.T) {
	t.Parallel()
	b := fixture(t, richRPM)
	small := withSignatureHeader(t, b, signatureValues(t, b, tagSigReserved))
	k := key(t, pgp.RSA4096)
	signed := sign(t, small, k)
	if len(signed) <= len(small) {
		t.Errorf("%d bytes became %d", len(small), len(signed))
	}
	if _, err := Verify(bytes.NewReader(signed), ring(t, k)); err != nil {
		t.Errorf("Verify: %v", err)
	}
	if ok, out := rpmkeys(t, k)(signed); !ok {
		t.Errorf("rpmkeys refuses it:\n%s", out)
	}
	// Signing again makes no difference to the size, whatever the key.
	if again := sign(t, signed, k); len(again) != len(signed) {
		t.Errorf("signing again: %d bytes became %d", len(signed), len(again))
	}
}

func TestSpliceRefuses(t *testing.T) {
	t.Parallel()
	b := fixture(t, richRPM)
	k := key(t, pgp.Ed25519)
	sig, isRSA, err := k.Sign([]byte("anything"))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		b     []byte
		sig   []byte
		isRSA bool
	}{
		"other algorithm":   {b, sig, !isRSA},
		"no signature":      {b, nil, isRSA},
		"two signatures":    {b, append(bytes.Clone(sig), sig...), isRSA},
		"text":              {b, []byte("-----BEGIN PGP SIGNATURE-----"), isRSA},
		"endless signature": {b, make([]byte, 1<<20), isRSA},
		"not a package":     {[]byte("text"), sig, isRSA},
		"half a package":    {b[:5000], sig, isRSA},
	} {
		if err := Splice(io.Discard, bytes.NewReader(c.b), c.sig, c.isRSA); !errors.Is(err, albs.Invalid) {
			t.Errorf("Splice with %s: %v, want an Invalid error", name, err)
		}
	}
	cause := errors.New("disk full")
	if err := Splice(brokenWriter{cause}, bytes.NewReader(b), sig, isRSA); !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("Splice to a writer that fails: %v, want the cause and no kind", err)
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

// Each part that Verify looks at, spoilt alone, is named; and rpm agrees.
func TestVerifyTampered(t *testing.T) {
	t.Parallel()
	k := key(t, pgp.RSA4096)
	unsigned := fixture(t, richRPM)
	signed := sign(t, unsigned, k)
	p, err := Read(bytes.NewReader(signed))
	if err != nil {
		t.Fatal(err)
	}
	flip := func(at int) []byte {
		b := bytes.Clone(signed)
		b[at] ^= 1
		return b
	}
	sigAt := bytes.Index(signed, p.Signatures[0].Packet)
	// A header that is right by its own digest, under the signature of another.
	swapped := func() []byte {
		other := build(t, smallSpec("other"))
		isRSA := p.Signatures[0].Tag == tagSigRSA
		var out bytes.Buffer
		if err := Splice(&out, bytes.NewReader(other), p.Signatures[0].Packet, isRSA); err != nil {
			t.Fatal(err)
		}
		return out.Bytes()
	}
	// The digest of the header follows the change, as one who tampers would have it.
	rehashed := func() []byte {
		b := bytes.Replace(signed, []byte("Second line."), []byte("Second lime."), 1)
		sum := albs.DigestOf(b[p.HeaderStart:p.HeaderEnd])
		return bytes.Replace(b, []byte(p.HeaderSHA256), []byte(sum), 1)
	}
	without := func(tag uint32) []byte {
		return withSignatureHeader(t, signed, signatureValues(t, signed, tag))
	}
	check := rpmkeys(t, k)
	if ok, out := check(signed); !ok {
		t.Fatalf("rpmkeys refuses what is right:\n%s", out)
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
		// rpm itself takes a package that lacks a digest, if the signature holds.
		rpmTakes bool
	}{
		{"payload", flip(int(p.HeaderEnd) + 20), "payload has sha256", false},
		{"payload cut", signed[:len(signed)-1], "payload has sha256", false},
		{"payload longer", append(bytes.Clone(signed), 0), "payload has sha256", false},
		{"payload gone", signed[:p.HeaderEnd], "payload has sha256", false},
		{"header", replace("Second line.", "Second lime.")(bytes.Clone(signed), int(p.HeaderStart)), "main header has sha256", false},
		{"header and its digest", rehashed(), "header signature", false},
		{"digest of the header", flip(bytes.Index(signed, []byte(p.HeaderSHA256))), "", false},
		{"signature", flip(sigAt + len(p.Signatures[0].Packet) - 5), "header signature", false},
		{"signature of another package", swapped(), "header signature", false},
		{"unsigned", unsigned, "no signature", false},
		{"no digest of the header", without(tagSigSHA256), "no sha256 of the main header", true},
		{"no signature, the rest as it was", without(tagSigRSA), "no signature", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, err := Verify(bytes.NewReader(c.b), ring(t, k))
			if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.want) {
				t.Errorf("Verify: %v; want an Invalid error with %q", err, c.want)
			}
			if ok, out := check(c.b); ok != c.rpmTakes {
				t.Errorf("rpmkeys takes it: %v, want %v\n%s", ok, c.rpmTakes, out)
			}
		})
	}
	cause := errors.New("disk on fire")
	r := io.MultiReader(bytes.NewReader(signed[:p.HeaderEnd+10]), brokenReader{cause})
	if _, err := Verify(r, ring(t, k)); !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("Verify of a reader that fails: %v, want the cause and no kind", err)
	}
}

// What rpmsign makes is read, verified and replaced.
func TestRpmsign(t *testing.T) {
	t.Parallel()
	rpmsign, gpg, dir := tool(t, "rpmsign"), tool(t, "gpg"), t.TempDir()
	home := filepath.Join(dir, "g")
	if err := os.Mkdir(home, 0o700); err != nil {
		t.Fatal(err)
	}
	run := func(name string, args ...string) []byte {
		t.Helper()
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Env = append(os.Environ(), "GNUPGHOME="+home)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("%s %v: %v\n%s", name, args, err, out)
		}
		return out
	}
	// gpg starts an agent for the directory, which must not outlive it.
	defer run("gpgconf", "--kill", "all")
	run(gpg, "--batch", "--passphrase", "", "--quick-generate-key", "G <g@example.org>", "rsa2048", "sign", "never")
	foreign := run(gpg, "--armor", "--export", "g@example.org")

	unsigned := fixture(t, richRPM)
	for _, options := range [][]string{{}, {"--rpmv3"}} {
		path := filepath.Join(dir, "a.rpm")
		if err := os.WriteFile(path, unsigned, 0o644); err != nil {
			t.Fatal(err)
		}
		run(rpmsign, append(options, "--define", "__gpg "+gpg, "--define", "_gpg_name g@example.org", "--addsign", path)...)
		signed := fixture(t, path)
		kr, err := ReadKeyring(foreign)
		if err != nil {
			t.Fatal(err)
		}
		v, err := Verify(bytes.NewReader(signed), kr)
		if err != nil {
			t.Fatalf("Verify what rpmsign %v made: %v", options, err)
		}
		if want := 1 + len(options); len(v.Package.Signatures) != want {
			t.Errorf("rpmsign %v made %d signatures, want %d", options, len(v.Package.Signatures), want)
		}
		k := key(t, pgp.RSA4096)
		ours := sign(t, signed, k)
		if v, err = Verify(bytes.NewReader(ours), ring(t, k)); err != nil {
			t.Fatalf("Verify what we signed over rpmsign %v: %v", options, err)
		}
		if len(v.Package.Signatures) != 1 {
			t.Errorf("%d signatures are left, want ours alone", len(v.Package.Signatures))
		}
		if ok, out := rpmkeys(t, k)(ours); !ok {
			t.Errorf("rpmkeys refuses it:\n%s", out)
		}
	}
}

func FuzzSplice(f *testing.F) {
	k := key(f, pgp.Ed25519)
	sig, isRSA, err := k.Sign([]byte("anything"))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(fixture(f, richRPM))
	f.Add(sign(f, fixture(f, richSRPM), k))
	f.Fuzz(func(t *testing.T, b []byte) {
		var out bytes.Buffer
		if err := Splice(&out, bytes.NewReader(b), sig, isRSA); err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("Splice: %v is not Invalid", err)
			}
			return
		}
		before, err := readFront(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("Splice took what can't be read: %v", err)
		}
		after, err := readFront(bytes.NewReader(out.Bytes()))
		if err != nil {
			t.Fatalf("Splice made what can't be read: %v", err)
		}
		if !bytes.Equal(b[before.start():], out.Bytes()[after.start():]) || !bytes.Equal(b[:leadSize], out.Bytes()[:leadSize]) {
			t.Fatal("lead, main header or payload have changed")
		}
	})
}

func benchmarkSign(b *testing.B, alg string) {
	const packages = 100
	k := key(b, alg)
	dir, unsigned := b.TempDir(), fixture(b, richRPM)
	for i := range packages {
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprint(i)), unsigned, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	one := func(path string) error {
		in, err := os.Open(path)
		if err != nil {
			return err
		}
		defer in.Close()
		main, err := Header(in)
		if err != nil {
			return err
		}
		sig, isRSA, err := k.Sign(main)
		if err != nil {
			return err
		}
		if _, err := in.Seek(0, io.SeekStart); err != nil {
			return err
		}
		out, err := os.Create(path + ".signed")
		if err != nil {
			return err
		}
		defer out.Close()
		return Splice(out, in, sig, isRSA)
	}
	for b.Loop() {
		var wg sync.WaitGroup
		next := make(chan string)
		for range runtime.GOMAXPROCS(0) {
			wg.Go(func() {
				for path := range next {
					if err := one(path); err != nil {
						b.Error(err)
					}
				}
			})
		}
		for i := range packages {
			next <- filepath.Join(dir, fmt.Sprint(i))
		}
		close(next)
		wg.Wait()
	}
	b.ReportMetric(float64(b.Elapsed().Milliseconds())/float64(b.N), "ms/100rpms")
}

func BenchmarkSignRSA4096(b *testing.B) { benchmarkSign(b, pgp.RSA4096) }
func BenchmarkSignEd25519(b *testing.B) { benchmarkSign(b, pgp.Ed25519) }

// BenchmarkVerify is of a package with a payload of 10 MB.
func BenchmarkVerify(b *testing.B) {
	k := key(b, pgp.RSA4096)
	signed := sign(b, build(b, strings.Replace(smallSpec("large"), "echo large >", "head -c 10000000 /dev/urandom >", 1)), k)
	kr := ring(b, k)
	b.SetBytes(int64(len(signed)))
	for b.Loop() {
		if _, err := Verify(bytes.NewReader(signed), kr); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkRead(b *testing.B) {
	data := fixture(b, richRPM)
	for b.Loop() {
		if _, err := Read(bytes.NewReader(data)); err != nil {
			b.Fatal(err)
		}
	}
}
