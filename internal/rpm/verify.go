package rpm

import (
	"bytes"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"sync"
	"time"

	"albs/internal/albs"
	"albs/internal/pgp"
)

// Keyring is a set of public keys, as Verify takes it.
type Keyring = pgp.Keyring

// ReadKeyring is pgp.ReadKeyring for packages that verify RPMs and have nothing
// else to do with OpenPGP.
func ReadKeyring(keys ...[]byte) (*Keyring, error) { return pgp.ReadKeyring(keys...) }

// CompactKeys is pgp.Compact, likewise.
func CompactKeys(public []byte) ([]byte, error) { return pgp.Compact(public) }

// Verified is a package whose signature, header and payload hold.
type Verified struct {
	Package *Package
	// Fingerprint is the primary fingerprint of the key that signed it.
	Fingerprint string
	// SignedAt is the time that the signature claims.
	SignedAt time.Time
	// FileDigest names the whole file as read.
	FileDigest albs.Digest
}

// Verify reads a package to its end and checks all of: that it bears at least one
// signature over its main header and every such signature is by a key of kr; that
// the signature header gives the main header's sha256 and it is right; that the
// main header gives the payload's sha256 and it is right. It returns an Invalid
// error that says which of them doesn't hold; other errors are the reader's.
//
// Signatures over header and payload together (--rpmv3) are left aside: the
// payload is bound by its digest.
func Verify(r io.Reader, kr *Keyring) (*Verified, error) {
	file := sha256.New()
	tee := io.TeeReader(r, file)
	f, err := readFront(tee)
	if err != nil {
		return nil, err
	}
	p, err := f.decode()
	if err != nil {
		return nil, err
	}
	v := &Verified{Package: p}
	fail := func(format string, args ...any) (*Verified, error) {
		return nil, albs.Errorf(albs.Invalid, "RPM %s: "+format, append([]any{p.NEVRA}, args...)...)
	}

	if !p.Signed() {
		return fail("it bears no signature over its header")
	}
	for _, s := range p.Signatures {
		if s.Tag != tagSigDSA && s.Tag != tagSigRSA {
			continue
		}
		v.Fingerprint, v.SignedAt, err = kr.Verify(bytes.NewReader(f.main.raw), s.Packet)
		if err != nil {
			return fail("header signature (tag %d): %w", s.Tag, err)
		}
	}
	// decode has compared the digest; here it must be there too.
	if d := newDecoder(f.sig, "signature header"); d.digest(tagSigSHA256) == "" {
		return fail("its signature header gives no sha256 of the main header")
	}
	if p.PayloadSHA256 == "" {
		return fail("its header gives no sha256 of the payload")
	}
	payload := sha256.New()
	n, err := hashBoth(r, file, payload)
	if err != nil {
		return nil, fmt.Errorf("read payload of RPM %s: %w", p.NEVRA, err)
	}
	if got := albs.DigestFrom(payload); got != p.PayloadSHA256 {
		return fail("the payload has sha256 %s, the header says %s", got.Short(), p.PayloadSHA256.Short())
	}
	p.Size = p.HeaderEnd + n
	v.FileDigest = albs.DigestFrom(file)
	return v, nil
}

// VerifyHeader is Verify for a main header alone, as the database of installed packages
// keeps it, and the OpenPGP packets of the signatures over it. Of what comes back
// FileDigest is empty, and nothing is known of the payload but what the header says. It
// is Invalid if the header can't be read, there is no packet, or one isn't a signature of
// it by a key of kr.
func VerifyHeader(header []byte, packets [][]byte, kr *Keyring) (*Verified, error) {
	r := bytes.NewReader(header)
	h, err := readHeader(r, tagMainRegion, true, "main header")
	if err != nil {
		return nil, err
	}
	if r.Len() > 0 {
		return nil, invalid("%d bytes follow the main header", r.Len())
	}
	p, err := h.decode()
	if err != nil {
		return nil, err
	}
	if len(packets) == 0 {
		return nil, albs.Errorf(albs.Invalid, "RPM %s: it bears no signature over its header", p.NEVRA)
	}
	v := &Verified{Package: p}
	for _, packet := range packets {
		if v.Fingerprint, v.SignedAt, err = kr.Verify(bytes.NewReader(header), packet); err != nil {
			return nil, albs.Errorf(albs.Invalid, "RPM %s: header signature: %w", p.NEVRA, err)
		}
	}
	return v, nil
}

// hashBoth feeds all of r to a and b, on two cores at a time: hashing is what
// verification of a large package costs.
func hashBoth(r io.Reader, a, b hash.Hash) (int64, error) {
	var total int64
	buf := make([]byte, 256<<10)
	for {
		n, err := io.ReadFull(r, buf)
		var wg sync.WaitGroup
		wg.Go(func() { a.Write(buf[:n]) })
		b.Write(buf[:n])
		wg.Wait()
		total += int64(n)
		if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
			return total, nil
		}
		if err != nil {
			return total, err
		}
	}
}
