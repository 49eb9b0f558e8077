package attesttest

import (
	"context"
	"crypto/rand"
	"fmt"

	"github.com/transparency-dev/formats/log"
	fnote "github.com/transparency-dev/formats/note"
	"github.com/transparency-dev/formats/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"albs/internal/tlog"
)

var background = context.Background()

// Log is a public log of releases in memory.
type Log struct {
	Policy tlog.Policy

	origin  string
	signers []note.Signer
	leaves  [][]byte // their hashes
}

// NewLog makes a log of that origin with so many witnesses, of which quorum are asked
// for, and a leaf that is no package's.
func NewLog(origin string, witnesses, quorum int) (*Log, error) {
	l := &Log{origin: origin, Policy: tlog.Policy{Quorum: quorum}}
	secret, public, err := note.GenerateKey(rand.Reader, origin)
	if err != nil {
		return nil, err
	}
	s, err := note.NewSigner(secret)
	if err != nil {
		return nil, err
	}
	l.Policy.Logs, l.signers = []string{public}, []note.Signer{s}
	for i := range witnesses {
		secret, public, err := note.GenerateKey(rand.Reader, fmt.Sprintf("witness%d.example.org", i))
		if err != nil {
			return nil, err
		}
		if public, err = fnote.VKeyToCosignatureV1(public); err != nil {
			return nil, err
		}
		s, err := fnote.NewSignerForCosignatureV1(secret)
		if err != nil {
			return nil, err
		}
		l.Policy.Witnesses, l.signers = append(l.Policy.Witnesses, public), append(l.signers, s)
	}
	l.Append([]byte("albs-test/v1\n"))
	return l, nil
}

// Append adds a leaf and returns its index.
func (l *Log) Append(leaf []byte) int {
	l.leaves = append(l.leaves, rfc6962.DefaultHasher.HashLeaf(leaf))
	return len(l.leaves) - 1
}

// Prove returns the proof of the leaf at index, at the log's present size.
func (l *Log) Prove(index int) ([]byte, error) {
	hashes, root := path(index, l.leaves)
	c, err := note.Sign(&note.Note{Text: string(log.Checkpoint{Origin: l.origin, Size: uint64(len(l.leaves)), Hash: root}.Marshal())}, l.signers...)
	if err != nil {
		return nil, err
	}
	p := proof.TLogProof{Index: uint64(index), Checkpoint: c}
	for _, h := range hashes {
		p.Hashes = append(p.Hashes, [32]byte(h))
	}
	return p.Marshal(), nil
}

// path returns the path of leaf m to the root, and the root, as RFC 6962 has them; m < 0
// asks for the root alone.
func path(m int, leaves [][]byte) (hashes [][]byte, root []byte) {
	if len(leaves) == 1 {
		return nil, leaves[0]
	}
	k := 1
	for k*2 < len(leaves) {
		k *= 2
	}
	in, out := m, -1
	if m >= k {
		in, out = -1, m-k
	}
	leftPath, left := path(in, leaves[:k])
	rightPath, right := path(out, leaves[k:])
	switch {
	case m >= k:
		hashes = append(rightPath, left)
	case m >= 0:
		hashes = append(leftPath, right)
	}
	return hashes, rfc6962.DefaultHasher.HashChildren(left, right)
}
