package ledger

import (
	"errors"

	"github.com/codenotary/immudb/embedded/htree"
	"github.com/codenotary/immudb/embedded/store"

	"albs/internal/albs"
)

// maxPath bounds the hashes of one path in a proof: a binary tree of 2^64 leaves
// has no longer one.
const maxPath = 64

// Header is an immudb transaction header of version 1 without metadata. Its tree
// of earlier transactions always ends with the one before (BlTxID = ID-1).
type Header struct {
	ID      uint64      `json:"id"`
	Time    int64       `json:"time"` // seconds since 1970
	Entries int         `json:"entries"`
	Eh      albs.Digest `json:"eh"`                // root of the tree of entries
	PrevAlh albs.Digest `json:"prev"`              // accumulative hash of the transaction before
	BlRoot  albs.Digest `json:"bl_root,omitempty"` // root of the tree of the earlier transactions' accumulative hashes; absent in the first
}

// Consistency proves that the transaction To continues the log that ended with
// From: From is a leaf of To's tree, and From's own tree a beginning of it. Both
// paths are empty if From and To are the same transaction.
type Consistency struct {
	From      Header        `json:"from"`
	To        Header        `json:"to"`
	Inclusion []albs.Digest `json:"inclusion,omitempty"`
	Prefix    []albs.Digest `json:"prefix,omitempty"`
}

// Proof proves that an entry is in the transaction Link.From (as leaf Leaf of its
// tree of entries), and that transaction in Link.To.
type Proof struct {
	// Prefixed is of a ledger on an immudb server, which puts a zero byte before each
	// key and each value.
	Prefixed bool          `json:"prefixed,omitempty"`
	Leaf     int           `json:"leaf"`
	Path     []albs.Digest `json:"path,omitempty"`
	Link     Consistency   `json:"link"`
}

// Receipt returns where and when the entry was written. It is true only of a
// proof that Verify accepted.
func (p Proof) Receipt() Receipt { return receiptOf(p.Link.From.ID, p.Link.From.Time) }

// Errors of Verify and VerifyConsistency, in an Invalid error.
var (
	errEntry = errors.New("the entry is not in its transaction")
	errLink  = errors.New("the proof does not lead from the one transaction to the other")
	errState = errors.New("the proof is not about this state")
	errForm  = errors.New("the proof has not the form of a proof")
)

func refuse(err error) error { return albs.Errorf(albs.Invalid, "%w", err) }

// Verify returns nil if p proves that the ledger whose state is at holds value
// under key, else an Invalid error. It trusts nothing but at. Every field of p
// counts: there is one proof only for each entry and state.
func Verify(p Proof, key, value []byte, at State) error {
	from := p.Link.From
	if checkKey(key) != nil || len(value) == 0 || len(value) > MaxValue ||
		from.Entries < 1 || from.Entries > MaxEntries || p.Leaf < 0 || p.Leaf >= from.Entries {
		return refuse(errForm)
	}
	path, err := hashes(p.Path)
	if err != nil {
		return refuse(err)
	}
	hdr, err := from.immudb()
	if err != nil {
		return refuse(err)
	}
	if p.Prefixed {
		key, value = prefixed(key), prefixed(value)
	}
	digest := store.EntrySpecDigest_v1(&store.EntrySpec{Key: key, Value: value})
	proof := &htree.InclusionProof{Leaf: p.Leaf, Width: from.Entries, Terms: path}
	if !store.VerifyInclusion(proof, digest, hdr.Eh) {
		return refuse(errEntry)
	}
	return p.Link.verify(alhOf(hdr), at)
}

// VerifyConsistency returns nil if c proves that the ledger at to is the one at
// from with nothing changed and perhaps more added, else an Invalid error. The
// same state needs no more of c than to be about it.
func VerifyConsistency(c Consistency, from, to State) error {
	if from.Ledger != to.Ledger || c.From.ID != from.TxID {
		return refuse(errState)
	}
	return c.verify(from.Alh, to)
}

// verify checks that c leads from the transaction c.From, whose accumulative hash
// must be fromAlh, to the state to.
func (c Consistency) verify(fromAlh albs.Digest, to State) error {
	src, err := c.From.immudb()
	if err != nil {
		return refuse(err)
	}
	dst, err := c.To.immudb()
	if err != nil {
		return refuse(err)
	}
	if alhOf(src) != fromAlh || c.To.ID != to.TxID || alhOf(dst) != to.Alh || to.Ledger == "" {
		return refuse(errState)
	}
	inclusion, err := hashes(c.Inclusion)
	if err != nil {
		return refuse(err)
	}
	prefix, err := hashes(c.Prefix)
	if err != nil {
		return refuse(err)
	}
	if src.ID == dst.ID && (len(inclusion) > 0 || len(prefix) > 0 || src.Alh() != dst.Alh()) {
		return refuse(errLink)
	}
	dual := &store.DualProofV2{SourceTxHeader: src, TargetTxHeader: dst, InclusionProof: inclusion, ConsistencyProof: prefix}
	if err := store.VerifyDualProofV2(dual, src.ID, dst.ID, src.Alh(), dst.Alh()); err != nil {
		return refuse(errLink)
	}
	return nil
}

// prefixed returns what an immudb server makes of a key or a value: with one byte
// before it that says what it is, which is zero for an entry as such.
func prefixed(b []byte) []byte { return append([]byte{0}, b...) }

// immudb returns h as immudb's header, whose Alh panics on what is checked here.
func (h Header) immudb() (*store.TxHeader, error) {
	if h.ID == 0 || h.Entries < 1 || h.Entries > MaxEntries || (h.BlRoot == "") != (h.ID == 1) {
		return nil, errForm
	}
	out := &store.TxHeader{ID: h.ID, Ts: h.Time, Version: 1, NEntries: h.Entries, BlTxID: h.ID - 1}
	for _, f := range []struct {
		from albs.Digest
		to   *[32]byte
	}{{h.Eh, &out.Eh}, {h.PrevAlh, &out.PrevAlh}, {h.BlRoot, &out.BlRoot}} {
		if f.from == "" && f.to == &out.BlRoot {
			continue
		}
		b := f.from.Bytes()
		if b == nil {
			return nil, errForm
		}
		copy(f.to[:], b)
	}
	return out, nil
}

func headerOf(h *store.TxHeader) Header {
	out := Header{ID: h.ID, Time: h.Ts, Entries: h.NEntries, Eh: digestOf(h.Eh), PrevAlh: digestOf(h.PrevAlh)}
	if h.ID > 1 {
		out.BlRoot = digestOf(h.BlRoot)
	}
	return out
}

func alhOf(h *store.TxHeader) albs.Digest { return digestOf(h.Alh()) }

func hashes(ds []albs.Digest) ([][32]byte, error) {
	if len(ds) > maxPath {
		return nil, errForm
	}
	out := make([][32]byte, len(ds))
	for i, d := range ds {
		b := d.Bytes()
		if b == nil {
			return nil, errForm
		}
		copy(out[i][:], b)
	}
	return out, nil
}

func digestsOf(hs [][32]byte) []albs.Digest {
	var out []albs.Digest
	for _, h := range hs {
		out = append(out, digestOf(h))
	}
	return out
}
