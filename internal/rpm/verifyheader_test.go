package rpm

import (
	"bytes"
	"os"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/pgp"
)

// TestVerifyHeader: what holds of a package's header in its file holds without it, and
// one changed bit is refused.
func TestVerifyHeader(t *testing.T) {
	t.Parallel()
	b, err := os.ReadFile("testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm")
	if err != nil {
		t.Fatal(err)
	}
	key, err := pgp.Generate("Hello <hello@example.org>", pgp.Ed25519, time.Now().Add(-time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	public, err := key.Public()
	if err != nil {
		t.Fatal(err)
	}
	kr, err := ReadKeyring(public)
	if err != nil {
		t.Fatal(err)
	}
	header, err := Header(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	sig, _, err := key.Sign(header)
	if err != nil {
		t.Fatal(err)
	}
	v, err := VerifyHeader(header, [][]byte{sig, sig}, kr)
	if err != nil {
		t.Fatal(err)
	}
	p, err := Read(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff([]any{p.NEVRA, p.HeaderSHA256, p.PayloadSHA256, p.Files}, []any{v.Package.NEVRA, v.Package.HeaderSHA256, v.Package.PayloadSHA256, v.Package.Files}); d != "" {
		t.Errorf("the header says: %s", d)
	}
	if v.Fingerprint != key.Fingerprint() || v.SignedAt.IsZero() || v.FileDigest != "" {
		t.Errorf("verified: %+v", v)
	}
	refuse := func(what string, header []byte, packets ...[]byte) {
		t.Helper()
		if _, err := VerifyHeader(header, packets, kr); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v", what, err)
		}
	}
	refuse("no signature", header)
	refuse("no packet", header, nil)
	refuse("a second one that doesn't hold", header, sig, append(bytes.Clone(sig[:len(sig)-1]), sig[len(sig)-1]^1))
	refuse("nothing", nil, sig)
	refuse("a byte more", append(bytes.Clone(header), 0), sig)
	refuse("a byte less", header[:len(header)-1], sig)
	for at := 0; at < len(header); at += 1 + len(header)/200 {
		changed := bytes.Clone(header)
		changed[at] ^= 1
		refuse("a changed bit", changed, sig)
	}
}
