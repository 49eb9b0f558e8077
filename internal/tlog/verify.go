package tlog

import (
	"encoding/base64"
	"slices"
	"strconv"
	"strings"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	mproof "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"albs/internal/albs"
)

// Bounds of what comes from outside. A proof has a hash for each level of the tree, and
// a signature for each witness, of which the largest kind (ML-DSA-44) has 3.3 KiB.
const (
	MaxProof   = 128 << 10
	maxHashes  = 64
	maxKeys    = 64
	maxKeySize = 4 << 10
)

// Policy says which logs a verifier believes, and how many witnesses must have seen what
// it believes. Keys are vkeys of c2sp.org/signed-note: NAME+HASH+KEY.
type Policy struct {
	// Logs are the keys of the log. Several are keys that it had one after the other:
	// a log that was begun anew has a new one, and old proofs keep theirs.
	Logs []string `json:"logs"`
	// Witnesses are the keys of those who cosign, and Quorum how many of them are
	// asked for. None are by default.
	Witnesses []string `json:"witnesses,omitempty"`
	Quorum    int      `json:"quorum"`
}

// Inclusion is what a verified proof tells: the leaf is the Index'th of the Size
// leaves that the log of that Origin had when so many Witnesses saw it.
type Inclusion struct {
	Origin      string
	Index, Size uint64
	Witnesses   int
}

// keys is a Policy with its keys read.
type keys struct {
	logs, witnesses []note.Verifier
	quorum          int
}

// Check reports what is wrong with the policy. The error is Invalid.
func (p Policy) Check() error {
	_, err := p.open()
	return err
}

func (p Policy) open() (keys, error) {
	if len(p.Logs) == 0 {
		return keys{}, albs.Errorf(albs.Invalid, "the policy names no log's key")
	}
	if len(p.Logs) > maxKeys || len(p.Witnesses) > maxKeys {
		return keys{}, albs.Errorf(albs.Invalid, "a policy names at most %d logs and as many witnesses", maxKeys)
	}
	if p.Quorum < 0 || p.Quorum > len(p.Witnesses) {
		return keys{}, albs.Errorf(albs.Invalid, "the policy asks for %d of %d witnesses", p.Quorum, len(p.Witnesses))
	}
	k := keys{quorum: p.Quorum}
	for _, s := range p.Logs {
		v, err := logKey(s)
		if err != nil {
			return keys{}, err
		}
		k.logs = append(k.logs, v)
	}
	for _, s := range p.Witnesses {
		v, err := witnessKey(s)
		if err != nil {
			return keys{}, err
		}
		k.witnesses = append(k.witnesses, v)
	}
	// A key that is named twice would count as two witnesses.
	for _, vs := range [][]note.Verifier{k.logs, k.witnesses} {
		for i, v := range vs {
			if slices.ContainsFunc(vs[:i], func(o note.Verifier) bool { return same(o, v) }) {
				return keys{}, albs.Errorf(albs.Invalid, "the policy names the key of %.200s twice", v.Name())
			}
		}
	}
	return k, nil
}

// logKey reads the key of a log, which is Ed25519.
func logKey(vkey string) (note.Verifier, error) {
	if len(vkey) > maxKeySize {
		return nil, albs.Errorf(albs.Invalid, "a key of a log has at most %d bytes", maxKeySize)
	}
	v, err := note.NewVerifier(vkey)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%.200q is no key of a log: %w", vkey, err)
	}
	return v, nil
}

// witnessKey reads the key of a witness: of Ed25519 or ML-DSA-44, for cosignatures.
func witnessKey(vkey string) (note.Verifier, error) {
	if len(vkey) > maxKeySize {
		return nil, albs.Errorf(albs.Invalid, "a key of a witness has at most %d bytes", maxKeySize)
	}
	v, err := fnote.NewVerifierForCosignatureV1(vkey)
	if err != nil {
		return nil, albs.Errorf(albs.Invalid, "%.200q is no key of a witness: %w", vkey, err)
	}
	// The reader takes any hash, and keys of logs for those of witnesses; a slip of the
	// pen would be a witness that is never seen.
	hash, _, _ := strings.Cut(strings.TrimPrefix(vkey, v.Name()+"+"), "+")
	if h, err := strconv.ParseUint(hash, 16, 32); err != nil || uint32(h) != v.KeyHash() {
		return nil, albs.Errorf(albs.Invalid, "%.200q is no key of a witness: its hash is another one's", vkey)
	}
	return v, nil
}

func same(a, b note.Verifier) bool { return a.Name() == b.Name() && a.KeyHash() == b.KeyHash() }

// Verify checks that proof, a c2sp.org/tlog-proof@v1, proves that leaf is in a log that p
// believes. A proof is taken only in the one way that it is written, so that no byte of
// it may change; signatures of those whom the policy doesn't know say nothing. The error
// is Invalid and tells what didn't hold.
func Verify(proof, leaf []byte, p Policy) (Inclusion, error) {
	k, err := p.open()
	if err != nil {
		return Inclusion{}, err
	}
	return k.verify(proof, leaf)
}

func (k keys) verify(b, leaf []byte) (Inclusion, error) {
	bad := func(format string, args ...any) (Inclusion, error) {
		return Inclusion{}, albs.Errorf(albs.Invalid, "the proof of the log "+format, args...)
	}
	if len(leaf) > MaxLeaf {
		return bad("is of a leaf of more than %d bytes", MaxLeaf)
	}
	if len(b) > MaxProof {
		return bad("has more than %d bytes", MaxProof)
	}
	var pr proof.TLogProof
	if err := pr.Unmarshal(b); err != nil {
		return bad("can't be read: %w", err)
	}
	if pr.ExtraData != nil {
		return bad("has data of its own, which nobody signed")
	}
	if len(pr.Hashes) > maxHashes {
		return bad("has more than %d hashes", maxHashes)
	}
	if string(pr.Marshal()) != string(b) {
		return bad("is not written as such proofs are")
	}
	c, err := k.checkpoint(pr.Checkpoint)
	if err != nil {
		return Inclusion{}, err
	}
	hashes := make([][]byte, len(pr.Hashes))
	for i := range pr.Hashes {
		hashes[i] = pr.Hashes[i][:]
	}
	h := rfc6962.DefaultHasher
	if err := mproof.VerifyInclusion(h, pr.Index, c.Size, h.HashLeaf(leaf), hashes, c.Hash); err != nil {
		return bad("doesn't lead from the leaf to the checkpoint: %w", err)
	}
	return Inclusion{Origin: c.Origin, Index: pr.Index, Size: c.Size, Witnesses: c.witnesses}, nil
}

// checkpoint is what a verified checkpoint says.
type checkpoint struct {
	log.Checkpoint
	witnesses int
}

// checkpoint verifies a signed checkpoint: its log's signature and the quorum.
func (k keys) checkpoint(b []byte) (checkpoint, error) {
	bad := func(format string, args ...any) (checkpoint, error) {
		return checkpoint{}, albs.Errorf(albs.Invalid, "the checkpoint of the log "+format, args...)
	}
	// The origin decides whose key it is: another log that is believed as well must not
	// sign for this one.
	origin, _, _ := strings.Cut(string(b), "\n")
	var logs []note.Verifier
	for _, v := range k.logs {
		if v.Name() == origin {
			logs = append(logs, v)
		}
	}
	if len(logs) == 0 {
		return bad("is of %.200q, which the policy doesn't name", origin)
	}
	n, err := note.Open(b, note.VerifierList(append(logs, k.witnesses...)...))
	if err != nil {
		return bad("is not signed by its log: %w", err)
	}
	var signed bool
	var c checkpoint
	for _, s := range n.Sigs {
		// note takes base64 whose last bits are anything.
		if _, err := base64.StdEncoding.Strict().DecodeString(s.Base64); err != nil {
			return bad("has a signature by %.200s that is not written as signatures are", s.Name)
		}
		of := func(v note.Verifier) bool { return v.Name() == s.Name && v.KeyHash() == s.Hash }
		switch {
		case slices.ContainsFunc(logs, of):
			signed = true
		case slices.ContainsFunc(k.witnesses, of):
			c.witnesses++
		}
	}
	if !signed {
		return bad("is not signed by its log")
	}
	if rest, err := c.Unmarshal([]byte(n.Text)); err != nil {
		return bad("can't be read: %w", err)
	} else if len(rest) > 0 || string(c.Marshal()) != n.Text || len(c.Hash) != 32 {
		return bad("is not written as checkpoints are")
	}
	if c.witnesses < k.quorum {
		return bad("has been seen by %d of the witnesses, and the policy asks for %d", c.witnesses, k.quorum)
	}
	return c, nil
}
