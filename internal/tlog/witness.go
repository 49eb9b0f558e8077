package tlog

import (
	"bytes"
	"crypto/ed25519"
	"encoding/base64"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"time"

	"golang.org/x/mod/sumdb/note"

	"albs/internal/albs"
)

// Refusal is what a witness said that will not cosign a checkpoint. If it knows another
// history of the log, this is the evidence: both are signed.
type Refusal struct {
	Witness string // where it was asked
	At      time.Time
	Status  int
	Asked   []byte // the request: what it was last known to have seen, and the checkpoint
	Said    []byte
}

// String says, for people, who refused what.
func (r Refusal) String() string {
	return fmt.Sprintf("the witness at %s refuses to cosign (%d): %.200s", r.Witness, r.Status, strings.TrimSpace(string(r.Said)))
}

// Evidence is the refusal as a file that a person, or a court, can read. Of the same
// refusal it is the same but for the time.
func (r Refusal) Evidence() []byte {
	return fmt.Appendf(nil, "witness %s\nat %s\nstatus %d\n\nasked:\n%s\nsaid:\n%s\n", r.Witness, r.At.UTC().Format(time.RFC3339), r.Status, r.Asked, r.Said)
}

// Digest names a refusal whenever it is said.
func (r Refusal) Digest() albs.Digest {
	r.At = time.Time{}
	return albs.DigestOf(r.Evidence())
}

const maxSaid = 16 << 10

// watch looks at what witnesses answer on its way to tessera, which only logs it.
type watch struct {
	next    http.RoundTripper
	refused func(Refusal)
}

func (w *watch) RoundTrip(r *http.Request) (*http.Response, error) {
	next := w.next
	if next == nil {
		next = http.DefaultTransport
	}
	var asked []byte
	if r.GetBody != nil {
		if b, err := r.GetBody(); err == nil {
			asked, _ = io.ReadAll(io.LimitReader(b, MaxProof)) // evidence, as far as it can be had
			_ = b.Close()
		}
	}
	resp, err := next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	said, err := io.ReadAll(io.LimitReader(resp.Body, maxSaid))
	if cerr := resp.Body.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, err
	}
	resp.Body = io.NopCloser(bytes.NewReader(said))
	if w.refused != nil && refuses(resp, asked, said) {
		w.refused(Refusal{Witness: r.URL.String(), At: time.Now(), Status: resp.StatusCode, Asked: asked, Said: said})
	}
	return resp, nil
}

// refuses reports whether an answer is a no, and not that of a witness that is away or
// that only says what size of the log it has seen.
func refuses(r *http.Response, asked, said []byte) bool {
	switch r.StatusCode {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusNotFound, http.StatusUnprocessableEntity:
		return true
	case http.StatusConflict:
		if r.Header.Get("Content-Type") != "text/x.tlog.size" {
			return true
		}
		seen, err := strconv.ParseUint(strings.TrimSpace(string(said)), 10, 64)
		return err != nil || seen > askedSize(asked)
	}
	return false
}

// askedSize is the size of the checkpoint in a request to cosign it.
func askedSize(asked []byte) uint64 {
	_, checkpoint, _ := bytes.Cut(asked, []byte("\n\n"))
	lines := strings.SplitN(string(checkpoint), "\n", 3)
	if len(lines) < 3 {
		return 0
	}
	n, _ := strconv.ParseUint(lines[1], 10, 64)
	return n
}

// publicKey returns the vkey of a log's secret key, both as signed-note spells them.
func publicKey(skey string) (string, error) {
	fields := strings.Split(skey, "+")
	bad := albs.Errorf(albs.Invalid, "it is no key of a log")
	if len(fields) < 5 {
		return "", bad
	}
	// The key is base64, which may have a plus.
	raw, err := base64.StdEncoding.DecodeString(strings.Join(fields[4:], "+"))
	if err != nil || len(raw) != 1+ed25519.SeedSize {
		return "", bad
	}
	public := ed25519.NewKeyFromSeed(raw[1:]).Public().(ed25519.PublicKey)
	vkey, err := note.NewEd25519VerifierKey(fields[2], public)
	if err != nil {
		return "", bad
	}
	return vkey, nil
}
