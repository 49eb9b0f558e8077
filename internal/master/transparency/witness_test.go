package transparency

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"testing"
)

// witness returns a new key of a witness, and its vkey as c2sp.org/signed-note spells one
// for cosignatures.
func witness(t *testing.T) (ed25519.PrivateKey, string) {
	t.Helper()
	public, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	const name, algorithm = "w.example", 4
	raw := append([]byte{algorithm}, public...)
	h := sha256.Sum256(append([]byte(name+"\n"), raw...))
	return key, fmt.Sprintf("%s+%x+%s", name, h[:4], base64.StdEncoding.EncodeToString(raw))
}
