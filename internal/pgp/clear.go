package pgp

import (
	"bytes"
	"fmt"
	"io"
	"time"

	"albs/internal/albs"

	"github.com/ProtonMail/go-crypto/openpgp/clearsign"
	"github.com/ProtonMail/go-crypto/openpgp/packet"
)

// maxClear bounds a clear-signed text.
const maxClear = 64 << 20

// SignClear returns text in the cleartext signature framework (RFC 9580, section 7): as
// it is, but for dashes that are escaped, with the armored signature behind it. Line ends
// and what blanks stand before them are not part of what is signed.
func (k *Key) SignClear(text []byte) ([]byte, error) {
	sig, err := k.sign(bytes.NewReader(canonical(text)), packet.SigTypeText)
	if err != nil {
		return nil, err
	}
	armored, err := armorSignature(sig)
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	fmt.Fprintf(&out, "-----BEGIN PGP SIGNED MESSAGE-----\nHash: %s\n\n", clearHash)
	for line := range bytes.SplitSeq(bytes.TrimSuffix(text, []byte("\n")), []byte("\n")) {
		if bytes.HasPrefix(line, []byte("-")) {
			out.WriteString("- ")
		}
		out.Write(line)
		out.WriteByte('\n')
	}
	out.Write(armored)
	return out.Bytes(), nil
}

// clearHash is configAt's hash as the framework spells it.
const clearHash = "SHA256"

// canonical is what is signed of a text: its lines without the blanks at their ends, CRLF
// between them.
func canonical(text []byte) []byte {
	lines := bytes.Split(bytes.TrimSuffix(text, []byte("\n")), []byte("\n"))
	for i, l := range lines {
		lines[i] = bytes.TrimRight(l, " \t\r")
	}
	return bytes.Join(lines, []byte("\r\n"))
}

// VerifyClear checks that signed is the text of original in the cleartext signature
// framework with nothing beside it, and that the signature in it holds, as Verify does.
func (kr *Keyring) VerifyClear(original io.Reader, signed []byte) (string, time.Time, error) {
	bad := func(why string) (string, time.Time, error) {
		return "", time.Time{}, albs.Errorf(albs.Invalid, "the clear-signed text is refused: %s", why)
	}
	if len(signed) > maxClear {
		return bad(fmt.Sprintf("it has %d bytes, %d are allowed", len(signed), maxClear))
	}
	text, err := io.ReadAll(io.LimitReader(original, maxClear+1))
	if err != nil {
		return "", time.Time{}, fmt.Errorf("read signed content: %w", err)
	}
	if !bytes.HasPrefix(signed, []byte("-----BEGIN PGP SIGNED MESSAGE-----")) {
		return bad("it doesn't begin as one")
	}
	block, rest := clearsign.Decode(signed)
	switch {
	case block == nil:
		return bad("it can't be read")
	case len(rest) > 0:
		return bad("something stands behind it")
	case !bytes.Equal(block.Bytes, canonical(text)):
		return bad("its text is another one")
	}
	packets, err := io.ReadAll(io.LimitReader(block.ArmoredSignature.Body, maxSignature+1))
	if err != nil {
		return bad("its armor can't be read")
	}
	return kr.verify(bytes.NewReader(block.Bytes), packets, packet.SigTypeText)
}
