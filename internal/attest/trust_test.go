package attest_test

import (
	"crypto/rand"
	"crypto/rsa"
	"fmt"
	"math/big"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/pgp"
)

// TestTrustOfAFarmIsSmall wants room for four keys of RSA-4096 with a subkey each, as a
// distribution has that has changed its keys, in the file of a farm of some products.
func TestTrustOfAFarmIsSmall(t *testing.T) {
	t.Parallel()
	primary, err := rsa.GenerateKey(rand.Reader, 4096) // what OpenPGP makes of it is another key for each name
	if err != nil {
		t.Fatal(err)
	}
	subkey := sibling(t, primary)
	trust := attest.Trust{
		Ledger:     strings.Repeat("0123456789abcdef", 2),
		MasterKeys: []string{attest.PublicKey(master(t, 1).Public()), attest.PublicKey(master(t, 2).Public())},
		SignerKeys: []string{attest.PublicKey(master(t, 3).Public())}, ReleaserKeys: []string{attest.PublicKey(master(t, 4).Public())},
		Products:    []string{"almalinux-8", "almalinux-9", "almalinux-10", "almalinux-kitten"},
		RequireTest: true, RequireRelease: true,
	}
	log, err := attesttest.NewLog("log.almalinux.example.org/albs2026", 3, 2)
	if err != nil {
		t.Fatal(err)
	}
	trust.Log, trust.RequireLog = &log.Policy, true
	for i := range 3 {
		trust.Builders = append(trust.Builders, fmt.Sprintf("https://build.example.org/builders/apart-%d/v1", i))
	}
	for i := range 4 {
		key, err := pgp.New(fmt.Sprintf("AlmaLinux OS %d <packager@almalinux.example.org>", 8+i), primary, subkey, time.Unix(int64(1_600_000_000+i), 0))
		if err != nil {
			t.Fatal(err)
		}
		public, err := key.Public()
		if err != nil {
			t.Fatal(err)
		}
		compact, err := attest.PackageKey(public)
		if err != nil {
			t.Fatal(err)
		}
		trust.PackageKeys = append(trust.PackageKeys, compact)
	}
	b := trust.Encode()
	t.Logf("the trust file has %d bytes of at most %d", len(b), attest.MaxTrust)
	if _, err := attest.ParseTrust(b); err != nil {
		t.Error(err)
	}
}

// sibling returns another key, as large, of the same primes: to make primes takes seconds,
// and nothing is hidden here.
func sibling(t *testing.T, k *rsa.PrivateKey) *rsa.PrivateKey {
	t.Helper()
	one := big.NewInt(1)
	phi := new(big.Int).Mul(new(big.Int).Sub(k.Primes[0], one), new(big.Int).Sub(k.Primes[1], one))
	for e := int64(k.E) + 2; ; e += 2 {
		d := new(big.Int).ModInverse(big.NewInt(e), phi)
		if d == nil {
			continue
		}
		s := &rsa.PrivateKey{PublicKey: rsa.PublicKey{N: k.N, E: int(e)}, D: d, Primes: k.Primes}
		s.Precompute()
		if err := s.Validate(); err != nil {
			t.Fatal(err)
		}
		return s
	}
}

// TestPackageKeysOfATrust takes keys in both spellings, and nothing that is neither.
func TestPackageKeysOfATrust(t *testing.T) {
	t.Parallel()
	key, err := pgp.Generate("Hello <hello@example.org>", pgp.Ed25519, time.Unix(1, 0))
	if err != nil {
		t.Fatal(err)
	}
	armored, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	compact, err := attest.PackageKey(armored)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := attest.PackageKey(armored); err != nil || again != compact {
		t.Errorf("PackageKey = %q and then %q, %v", compact, again, err)
	}
	for _, bad := range []string{"", "no key", strings.Repeat("x", 1<<20+1)} {
		if _, err := attest.PackageKey([]byte(bad)); albs.KindOf(err) != albs.Invalid {
			t.Errorf("PackageKey of %.10q = %v", bad, err)
		}
	}
	trust := attest.Trust{Ledger: strings.Repeat("0", 32), MasterKeys: []string{attest.PublicKey(master(t, 1).Public())}, Builders: []string{"b"}}
	for spelled, good := range map[string]bool{
		compact: true, string(armored): true,
		"": false, "-----BEGIN": false, "AAAA": false, compact[:len(compact)-4]: false, compact + "=": false, compact + "\n": false, " " + compact: false,
	} {
		trust.PackageKeys = []string{spelled}
		_, err := attest.ParseTrust(trust.Encode())
		if good && err != nil {
			t.Errorf("%.40q: %v", spelled, err)
		}
		if !good {
			wantLink(t, fmt.Sprintf("%.40q", spelled), err, attest.LinkInput)
		}
	}
}
