package ledger

import (
	"crypto/sha256"
	"encoding/binary"
	"errors"

	"github.com/codenotary/immudb/embedded/htree"

	"albs/internal/albs"
)

// Transaction is all that one transaction holds, in the order in which it is hashed.
type Transaction struct {
	Header   Header `json:"header"`
	Prefixed bool   `json:"prefixed,omitempty"` // as in Proof
	Items    []Item `json:"items"`
}

// Item is an entry as it is hashed. An immudb server lets others write to its
// database beside albs, by other means than keys and values: of what is no plain
// entry the item has the key as it lies there, and the value's hash alone.
type Item struct {
	Key   []byte      `json:"key"`
	Value []byte      `json:"value,omitempty"`
	Hash  albs.Digest `json:"hash,omitempty"` // of the value, of an item without one
	Meta  []byte      `json:"meta,omitempty"` // immudb's metadata of an item without a value
}

// Plain reports whether the item is an entry that Append could have written.
func (i Item) Plain() bool { return i.Hash == "" }

var (
	errItems = errors.New("its entries don't make up its header")
	errChain = errors.New("it doesn't continue the transaction before")
)

// Alh returns the accumulative hash of the ledger at t, which says something only of
// a transaction that Chain accepts; "" if the header has not the form of one.
func (t Transaction) Alh() albs.Digest {
	hdr, err := t.Header.immudb()
	if err != nil {
		return ""
	}
	return alhOf(hdr)
}

// check returns Internal unless the items make up the header.
func (t Transaction) check() error {
	if err := t.verify(); err != nil {
		return albs.Errorf(albs.Internal, "transaction %d of the ledger is damaged: %w", t.Header.ID, err)
	}
	return nil
}

func (t Transaction) verify() error {
	if t.Header.Entries < 1 || t.Header.Entries > MaxEntries || len(t.Items) != t.Header.Entries {
		return errItems
	}
	digests := make([][32]byte, len(t.Items))
	for i, item := range t.Items {
		d, err := item.digest(t.Prefixed)
		if err != nil {
			return err
		}
		digests[i] = d
	}
	tree, err := htree.New(len(digests))
	if err != nil {
		return err
	}
	if err := tree.BuildWith(digests); err != nil {
		return err
	}
	if digestOf(tree.Root()) != t.Header.Eh {
		return errItems
	}
	return nil
}

// maxForeignKey bounds the keys of others; an immudb server's have no more.
const maxForeignKey = 1024

// digest returns what the item counts as in its transaction: the length of its
// metadata in two bytes, these, the key likewise, and the hash of the value.
func (i Item) digest(prefix bool) ([32]byte, error) {
	key, hash := i.Key, i.Hash.Bytes()
	if i.Plain() {
		value := i.Value
		if prefix {
			key, value = prefixed(key), prefixed(value)
		}
		h := sha256.Sum256(value)
		hash = h[:]
		if len(i.Meta) > 0 {
			return [32]byte{}, errForm
		}
	}
	if hash == nil || len(key) == 0 || len(key) > maxForeignKey || len(i.Meta) > maxForeignKey || len(i.Value) > MaxAppend {
		return [32]byte{}, errForm
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(len(i.Meta)))
	b = append(b, i.Meta...)
	b = binary.BigEndian.AppendUint16(b, uint16(len(key)))
	b = append(b, key...)
	return sha256.Sum256(append(b, hash...)), nil
}

// Chain is how far a ledger was read, from its first transaction on: what it takes
// to hold the next one against all before. The zero Chain has read none. Its JSON
// is kept where reading is to be resumed; whoever can change it there can have any
// history believed.
type Chain struct {
	TxID uint64      `json:"tx"`
	Alh  albs.Digest `json:"alh,omitempty"`
	// Peaks are the roots of the complete trees, the largest first, that the
	// accumulative hashes so far are gathered in.
	Peaks []albs.Digest `json:"peaks,omitempty"`
}

// Add reads the next transaction: its items make up its header, and the header names
// the transaction before by its hash and all before by the root of their tree, which
// proofs lead through. Invalid if any of that isn't so; then the chain is as before.
func (c *Chain) Add(t Transaction) error {
	if err := t.verify(); err != nil {
		return albs.Errorf(albs.Invalid, "transaction %d: %w", t.Header.ID, err)
	}
	return c.Skip(t.Header)
}

// Skip reads the next transaction by its header alone, where its items are damaged, so
// that those behind it can be read.
func (c *Chain) Skip(h Header) error {
	hdr, err := h.immudb()
	if err != nil {
		return refuse(err)
	}
	peaks, err := hashes(c.Peaks)
	if err != nil {
		return refuse(err)
	}
	prev := c.Alh
	if c.TxID == 0 {
		prev = albs.DigestOf(nil)
	}
	if hdr.ID != c.TxID+1 || h.PrevAlh != prev || c.TxID > 0 && (len(peaks) == 0 || digestOf(rootOf(peaks)) != h.BlRoot) {
		return albs.Errorf(albs.Invalid, "transaction %d: %w", h.ID, errChain)
	}
	alh := hdr.Alh()
	node := sha256.Sum256(append([]byte{0}, alh[:]...))
	for n := c.TxID; n&1 == 1; n >>= 1 { // a complete tree of the same size is there
		if len(peaks) == 0 {
			return refuse(errForm)
		}
		node = join(peaks[len(peaks)-1], node)
		peaks = peaks[:len(peaks)-1]
	}
	c.TxID, c.Alh, c.Peaks = hdr.ID, digestOf(alh), digestsOf(append(peaks, node))
	return nil
}

// rootOf returns the root of the tree with these peaks.
func rootOf(peaks [][32]byte) [32]byte {
	root := peaks[len(peaks)-1]
	for i := len(peaks) - 2; i >= 0; i-- {
		root = join(peaks[i], root)
	}
	return root
}

func join(left, right [32]byte) [32]byte {
	b := [65]byte{1}
	copy(b[1:], left[:])
	copy(b[33:], right[:])
	return sha256.Sum256(b[:])
}

// within returns Invalid or Conflict unless id is of a transaction up to last.
func within(id, last uint64) error {
	switch {
	case id == 0:
		return albs.Errorf(albs.Invalid, "a ledger has no transaction 0")
	case id > last:
		return albs.Errorf(albs.Conflict, "the ledger ends with transaction %d, before %d", last, id)
	}
	return nil
}
