package albs

import (
	"crypto/sha256"
	"database/sql/driver"
	"encoding/hex"
	"fmt"
	"hash"
	"io"
)

// Digest is the name of a thing: the sha256 of its bytes as 64 lower-case hex
// digits. The empty Digest names nothing.
type Digest string

// DigestOf returns the digest of b.
func DigestOf(b []byte) Digest {
	sum := sha256.Sum256(b)
	return Digest(hex.EncodeToString(sum[:]))
}

// DigestFrom returns the digest that h, a sha256, has reached.
func DigestFrom(h hash.Hash) Digest { return Digest(hex.EncodeToString(h.Sum(nil))) }

// DigestReader reads r to its end and returns the digest and the number of bytes.
func DigestReader(r io.Reader) (Digest, int64, error) {
	h := sha256.New()
	n, err := io.Copy(h, r)
	return DigestFrom(h), n, err
}

// ParseDigest returns s as a Digest, or an Invalid error if s is not 64
// lower-case hex digits. Every digest that comes from outside goes through it,
// so that a Digest may be used as part of a path.
func ParseDigest(s string) (Digest, error) {
	if d := Digest(s); d.Valid() {
		return d, nil
	}
	return "", Errorf(Invalid, "%.80q is not a sha256 in 64 lower-case hex digits", s)
}

// Valid reports whether d has the form of a sha256 in lower-case hex.
func (d Digest) Valid() bool {
	if len(d) != 2*sha256.Size {
		return false
	}
	for _, c := range []byte(d) {
		if (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}

// Short returns the first twelve digits, for people.
func (d Digest) Short() string {
	if len(d) < 12 {
		return string(d)
	}
	return string(d[:12])
}

// Bytes returns the 32 bytes that d spells, or nil if d is not valid.
func (d Digest) Bytes() []byte {
	if !d.Valid() {
		return nil
	}
	b, _ := hex.DecodeString(string(d)) // a valid one is hex
	return b
}

// UnmarshalText refuses everything that is neither empty nor a sha256, so that
// no decoder lets another string pass as a name.
func (d *Digest) UnmarshalText(b []byte) error {
	if len(b) == 0 {
		*d = ""
		return nil
	}
	v, err := ParseDigest(string(b))
	*d = v
	return err
}

// Value stores the empty digest as NULL.
func (d Digest) Value() (driver.Value, error) {
	if d == "" {
		return nil, nil
	}
	return string(d), nil
}

// Scan reads what Value wrote.
func (d *Digest) Scan(src any) error {
	switch v := src.(type) {
	case nil:
		*d = ""
	case string:
		*d = Digest(v)
	case []byte:
		*d = Digest(v)
	default:
		return fmt.Errorf("scan digest: %T is not text", src)
	}
	return nil
}
