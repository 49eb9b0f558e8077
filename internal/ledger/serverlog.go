package ledger

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"

	"github.com/codenotary/immudb/embedded/htree"
	"github.com/codenotary/immudb/embedded/store"
	"github.com/codenotary/immudb/pkg/api/schema"

	"albs/internal/albs"
)

// Append implements Ledger. It doesn't wait for other masters: whose transaction
// comes first is decided by the server.
func (s *Server) Append(ctx context.Context, entries []Entry) (Receipt, error) {
	r := &request{done: make(chan error, 1)}
	if err := r.take(entries); err != nil {
		return Receipt{}, err
	}
	leave, err := s.enter()
	if err != nil {
		return Receipt{}, err
	}
	defer leave()
	if _, err := s.identity(ctx); err != nil {
		return Receipt{}, err
	}
	return s.writer.append(ctx, r)
}

// ready implements target: whether the server is there shows by the commit.
func (s *Server) ready() error { return nil }

// commit implements target.
func (s *Server) commit(entries []Entry) (Receipt, error) {
	ctx := context.Background()
	early, err := s.early(ctx)
	if err != nil {
		return Receipt{}, err
	}
	req := &schema.SetRequest{}
	var t Transaction
	for _, en := range entries {
		if early[string(en.Key)] {
			return Receipt{}, errThere
		}
		req.KVs = append(req.KVs, &schema.KeyValue{Key: en.Key, Value: en.Value})
		// Unlike the precondition that a key not exist this one knows of keys that others
		// have deleted. It can't be asked of transaction 0.
		req.Preconditions = append(req.Preconditions, schema.PreconditionKeyNotModifiedAfterTX(en.Key, 1))
		t.Items = append(t.Items, Item{Key: en.Key, Value: en.Value})
	}
	var answer *schema.TxHeader
	err = s.call(ctx, "append to the ledger", func(ctx context.Context) (err error) {
		answer, err = s.client.Set(ctx, req)
		return err
	})
	if err != nil {
		return Receipt{}, err
	}
	if t.Header, err = headerFrom(answer); err != nil {
		return Receipt{}, err
	}
	t.Prefixed = true
	if err := t.check(); err != nil { // what it acknowledges must be what was sent
		return Receipt{}, err
	}
	return receiptOf(t.Header.ID, t.Header.Time), nil
}

// early returns the keys of the first transaction.
func (s *Server) early(ctx context.Context) (map[string]bool, error) {
	s.known.Lock()
	keys := s.keys
	s.known.Unlock()
	if keys != nil {
		return keys, nil
	}
	tx, err := s.raw(ctx, 1, nil)
	if err != nil {
		return nil, err
	}
	keys = make(map[string]bool, len(tx.GetEntries()))
	for _, e := range tx.GetEntries() {
		if key, ok := bytes.CutPrefix(e.GetKey(), []byte{0}); ok {
			keys[string(key)] = true
		}
	}
	s.known.Lock()
	defer s.known.Unlock()
	s.keys = keys
	return keys, nil
}

func (s *Server) raw(ctx context.Context, id uint64, spec *schema.EntriesSpec) (tx *schema.Tx, err error) {
	err = s.call(ctx, "read ledger transaction", func(ctx context.Context) (err error) {
		tx, err = s.client.TxById(ctx, &schema.TxRequest{Tx: id, EntriesSpec: spec, KeepReferencesUnresolved: true})
		return err
	})
	return tx, err
}

// Get implements Ledger.
func (s *Server) Get(ctx context.Context, key []byte) ([]byte, Receipt, error) {
	leave, err := s.enter()
	if err != nil {
		return nil, Receipt{}, err
	}
	defer leave()
	return s.first(ctx, key)
}

// first implements target.
func (s *Server) first(ctx context.Context, key []byte) ([]byte, Receipt, error) {
	found, hdr, err := s.look(ctx, key, 0)
	if err != nil {
		return nil, Receipt{}, err
	}
	return found.GetEntry().GetValue(), receiptOf(hdr.ID, hdr.Time), nil
}

// look returns the first entry of key, which is in the transaction that comes with
// it, and what links that with the transaction upTo, or with itself if upTo is 0.
func (s *Server) look(ctx context.Context, key []byte, upTo uint64) (*schema.VerifiableEntry, Header, error) {
	if err := checkKey(key); err != nil {
		return nil, Header{}, err
	}
	var found *schema.VerifiableEntry
	err := s.call(ctx, "read the ledger", func(ctx context.Context) (err error) {
		found, err = s.client.VerifiableGet(ctx, &schema.VerifiableGetRequest{
			KeyRequest: &schema.KeyRequest{Key: key, AtRevision: 1}, ProveSinceTx: upTo,
		})
		return err
	})
	if errors.Is(err, albs.NotFound) {
		return nil, Header{}, albs.Errorf(albs.NotFound, "the ledger has no entry %.80q", key)
	}
	if err != nil {
		return nil, Header{}, err
	}
	damaged := albs.Errorf(albs.Internal, "the ledger's server does not prove entry %.80q", key)
	hdr, err := headerFrom(found.GetVerifiableTx().GetTx().GetHeader())
	if err != nil {
		return nil, Header{}, err
	}
	proof, e := found.GetInclusionProof(), found.GetEntry()
	path, err := digests32(proof.GetTerms())
	eh := hdr.Eh.Bytes()
	if err != nil || eh == nil || e.GetTx() != hdr.ID || e.GetReferencedBy() != nil || !bytes.Equal(e.GetKey(), key) || len(e.GetValue()) == 0 {
		return nil, Header{}, damaged
	}
	inclusion := &htree.InclusionProof{Leaf: int(proof.GetLeaf()), Width: hdr.Entries, Terms: path}
	digest := store.EntrySpecDigest_v1(&store.EntrySpec{Key: prefixed(key), Value: prefixed(e.GetValue())})
	if !store.VerifyInclusion(inclusion, digest, [32]byte(eh)) {
		return nil, Header{}, damaged
	}
	return found, hdr, nil
}

// Prove implements Ledger. The proof has been verified before it is returned.
func (s *Server) Prove(ctx context.Context, key []byte, upTo State) (Proof, error) {
	leave, err := s.enter()
	if err != nil {
		return Proof{}, err
	}
	defer leave()
	id, err := s.identity(ctx)
	if err != nil {
		return Proof{}, err
	}
	if upTo.Ledger != id || upTo.TxID == 0 {
		return Proof{}, albs.Errorf(albs.Conflict, "transaction %d of ledger %s is no state of ledger %s", upTo.TxID, upTo.Ledger, id)
	}
	found, hdr, err := s.look(ctx, key, upTo.TxID)
	if err != nil {
		return Proof{}, err
	}
	if hdr.ID > upTo.TxID {
		return Proof{}, albs.Errorf(albs.Conflict, "entry %.80q was written in transaction %d, after state %d", key, hdr.ID, upTo.TxID)
	}
	path, err := digests32(found.GetInclusionProof().GetTerms())
	if err != nil {
		return Proof{}, err
	}
	link, err := linkFrom(found.GetVerifiableTx().GetDualProof())
	if err != nil {
		return Proof{}, err
	}
	p := Proof{Prefixed: true, Leaf: int(found.GetInclusionProof().GetLeaf()), Path: digestsOf(path), Link: link}
	to, err := link.To.immudb()
	if err != nil {
		return Proof{}, albs.Errorf(albs.Internal, "prove ledger entry: %w", err)
	}
	if alhOf(to) != upTo.Alh {
		return Proof{}, albs.Errorf(albs.Conflict, "transaction %d of the ledger has another hash than the given state", upTo.TxID)
	}
	if err := Verify(p, key, found.GetEntry().GetValue(), upTo); err != nil {
		return Proof{}, albs.Errorf(albs.Internal, "the ledger's server does not prove entry %.80q: %v", key, err)
	}
	return p, nil
}

// Consistency implements Ledger.
func (s *Server) Consistency(ctx context.Context, from, to uint64) (Consistency, error) {
	leave, err := s.enter()
	if err != nil {
		return Consistency{}, err
	}
	defer leave()
	if from == 0 || from > to {
		return Consistency{}, albs.Errorf(albs.Invalid, "there is no consistency from transaction %d to %d", from, to)
	}
	var tx *schema.VerifiableTx
	err = s.call(ctx, "prove ledger consistency", func(ctx context.Context) (err error) {
		tx, err = s.client.VerifiableTxById(ctx, &schema.VerifiableTxRequest{
			Tx: to, ProveSinceTx: from, EntriesSpec: &schema.EntriesSpec{}, KeepReferencesUnresolved: true,
		})
		return err
	})
	if err != nil {
		return Consistency{}, err
	}
	return linkFrom(tx.GetDualProof())
}

// Transaction implements Ledger.
func (s *Server) Transaction(ctx context.Context, id uint64) (Transaction, error) {
	leave, err := s.enter()
	if err != nil {
		return Transaction{}, err
	}
	defer leave()
	if id == 0 {
		return Transaction{}, within(id, 0)
	}
	value := &schema.EntryTypeSpec{Action: schema.EntryTypeAction_RAW_VALUE}
	tx, err := s.raw(ctx, id, &schema.EntriesSpec{KvEntriesSpec: value, ZEntriesSpec: value, SqlEntriesSpec: value})
	if err == nil && len(tx.GetEntries()) != int(tx.GetHeader().GetNentries()) {
		// It leaves out those of others that have expired, unless no values are asked for.
		tx, err = s.raw(ctx, id, nil)
	}
	if err != nil {
		return Transaction{}, err
	}
	t := Transaction{Prefixed: true}
	if t.Header, err = headerFrom(tx.GetHeader()); err != nil {
		return Transaction{}, err
	}
	for _, e := range tx.GetEntries() {
		t.Items = append(t.Items, itemFrom(e))
	}
	if t.Header.ID != id {
		return Transaction{}, t.Header.unsupported("it is another one")
	}
	return t, t.check()
}

// itemFrom returns what a raw entry of the server is.
func itemFrom(e *schema.TxEntry) Item {
	key, value := e.GetKey(), e.GetValue()
	var meta []byte
	if md := schema.KVMetadataFromProto(e.GetMetadata()); md != nil {
		meta = md.Bytes()
	}
	// A zero byte before the key says that it is an entry, one before the value that
	// this is no reference to another.
	if len(key) > 1 && key[0] == 0 && len(value) > 1 && value[0] == 0 && len(meta) == 0 && len(key)-1 <= MaxKey {
		return Item{Key: key[1:], Value: value[1:]}
	}
	hash := e.GetHValue()
	if len(value) > 0 {
		h := sha256.Sum256(value)
		hash = h[:]
	}
	item := Item{Key: key, Meta: meta, Hash: "absent"}
	if h, err := digest32(hash); err == nil {
		item.Hash = digestOf(h)
	}
	return item
}

// linkFrom returns what the server proves by a proof of its first form. That form
// leaves out what follows from the rest, which ours has.
func linkFrom(p *schema.DualProof) (c Consistency, err error) {
	if c.From, err = headerFrom(p.GetSourceTxHeader()); err != nil {
		return Consistency{}, err
	}
	if c.To, err = headerFrom(p.GetTargetTxHeader()); err != nil {
		return Consistency{}, err
	}
	if c.From.ID == c.To.ID {
		return c, nil
	}
	terms := p.GetInclusionProof()
	if c.From.ID == c.To.ID-1 { // the last leaf of the tree
		terms = p.GetLastInclusionProof()
	}
	inclusion, err := digests32(terms)
	if err != nil {
		return Consistency{}, err
	}
	prefix, err := digests32(p.GetConsistencyProof())
	if err != nil {
		return Consistency{}, err
	}
	if c.From.ID == 1 && c.To.ID > 2 { // before it there was no tree: it continues that of itself alone
		from, err := c.From.immudb()
		if err != nil {
			return Consistency{}, albs.Errorf(albs.Internal, "prove ledger consistency: %w", err)
		}
		alh := from.Alh()
		prefix = append([][32]byte{sha256.Sum256(append([]byte{0}, alh[:]...))}, inclusion...)
	}
	c.Inclusion, c.Prefix = digestsOf(inclusion), digestsOf(prefix)
	return c, nil
}

// headerFrom returns h as ours. Old servers, and settings that add to each
// transaction who made it, give headers that a proof of ours can't hold.
func headerFrom(h *schema.TxHeader) (Header, error) {
	out := Header{ID: h.GetId(), Time: h.GetTs(), Entries: int(h.GetNentries())}
	md := schema.TxMetadataFromProto(h.GetMetadata())
	switch {
	case h == nil || out.ID == 0:
		return Header{}, out.unsupported("it has no header")
	case h.GetVersion() != 1:
		return Header{}, out.unsupported("its header is of version %d", h.GetVersion())
	case md != nil && len(md.Bytes()) > 0:
		return Header{}, out.unsupported("its header has metadata")
	case h.GetBlTxId() != out.ID-1:
		return Header{}, out.unsupported("its tree ends with transaction %d", h.GetBlTxId())
	}
	for _, f := range []struct {
		from []byte
		to   *albs.Digest
	}{{h.GetEH(), &out.Eh}, {h.GetPrevAlh(), &out.PrevAlh}, {h.GetBlRoot(), &out.BlRoot}} {
		d, err := digest32(f.from)
		if err != nil {
			return Header{}, out.unsupported("its header is damaged")
		}
		*f.to = digestOf(d)
	}
	if out.ID == 1 {
		out.BlRoot = ""
	}
	return out, nil
}

func (h Header) unsupported(format string, args ...any) error {
	return albs.Errorf(albs.Internal, "transaction %d of the ledger's server can't be proven: "+format, append([]any{h.ID}, args...)...)
}

func digest32(b []byte) (d [32]byte, err error) {
	if len(b) != len(d) {
		return d, albs.Errorf(albs.Internal, "the ledger's server gave a hash of %d bytes", len(b))
	}
	return [32]byte(b), nil
}

func digests32(bs [][]byte) ([][32]byte, error) {
	if len(bs) > maxPath {
		return nil, albs.Errorf(albs.Internal, "the ledger's server gave a path of %d hashes", len(bs))
	}
	var out [][32]byte
	for _, b := range bs {
		d, err := digest32(b)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}
