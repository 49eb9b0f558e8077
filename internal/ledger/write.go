package ledger

import (
	"bytes"
	"context"
	"errors"
	"fmt"

	"albs/internal/albs"
)

const (
	// maxBatch bounds the bytes of the values in one transaction of several Appends.
	maxBatch = 4 << 20
	// maxTries bounds how often a transaction is tried while others write the same keys.
	maxTries = 8
)

// request is one Append on its way through the writer.
type request struct {
	entries []Entry
	size    int
	receipt Receipt
	done    chan error // buffered, so that the writer never waits for a caller that left
}

// checkKey returns Invalid for a key that no entry can have.
func checkKey(key []byte) error {
	switch {
	case len(key) == 0 || len(key) > MaxKey:
		return albs.Errorf(albs.Invalid, "a key has 1 to %d bytes, not %d", MaxKey, len(key))
	case key[0] == 0:
		return albs.Errorf(albs.Invalid, "a key doesn't begin with a zero byte")
	}
	return nil
}

// take checks the entries, drops doubles and keeps copies: the writer may still
// be at work when the caller has left.
func (r *request) take(entries []Entry) error {
	if len(entries) == 0 {
		return albs.Errorf(albs.Invalid, "there is no entry to append to the ledger")
	}
	if len(entries) > MaxEntries {
		return albs.Errorf(albs.TooLarge, "%d entries are more than the %d of one append", len(entries), MaxEntries)
	}
	seen := make(map[string][]byte, len(entries))
	for _, en := range entries {
		switch {
		case len(en.Key) == 0 || len(en.Value) == 0:
			return albs.Errorf(albs.Invalid, "a ledger entry needs a key and a value")
		case len(en.Key) > MaxKey:
			return albs.Errorf(albs.TooLarge, "a ledger key of %d bytes is longer than %d", len(en.Key), MaxKey)
		case len(en.Value) > MaxValue:
			return albs.Errorf(albs.TooLarge, "the value of ledger entry %.80q has %d bytes, more than %d", en.Key, len(en.Value), MaxValue)
		}
		if err := checkKey(en.Key); err != nil {
			return err
		}
		if v, ok := seen[string(en.Key)]; ok {
			if !bytes.Equal(v, en.Value) {
				return conflict(en.Key)
			}
			continue
		}
		if r.size += len(en.Key) + len(en.Value); r.size > MaxAppend {
			return albs.Errorf(albs.TooLarge, "the entries of one append have more than %d bytes", MaxAppend)
		}
		en = Entry{Key: bytes.Clone(en.Key), Value: bytes.Clone(en.Value)}
		seen[string(en.Key)] = en.Value
		r.entries = append(r.entries, en)
	}
	return nil
}

func conflict(key []byte) error {
	return albs.Errorf(albs.Conflict, "ledger entry %.80q has another value; the first one stays", key)
}

// target is what a writer writes to.
type target interface {
	// ready returns why nothing can be written now, or nil.
	ready() error
	// first returns the first value of key and its receipt, or NotFound.
	first(ctx context.Context, key []byte) ([]byte, Receipt, error)
	// commit writes the entries as one transaction and returns when it is durable and
	// first finds them. errThere if one of the keys has a value already; then nothing
	// was written.
	commit(entries []Entry) (Receipt, error)
}

var errThere = errors.New("a key has a value already")

// writer gathers the Appends that wait into one transaction; each of them is still
// written as a whole or not at all.
type writer struct {
	target
	requests chan *request
	quit     chan struct{} // closed by stop
	stopped  chan struct{} // closed when the loop has ended
}

func startWriter(to target) *writer {
	w := &writer{target: to, requests: make(chan *request), quit: make(chan struct{}), stopped: make(chan struct{})}
	go w.write()
	return w
}

// stop ends the writer. No append may be running.
func (w *writer) stop() {
	close(w.quit)
	<-w.stopped
}

// append is Ledger's Append, of entries that were taken into r.
func (w *writer) append(ctx context.Context, r *request) (Receipt, error) {
	select {
	case w.requests <- r:
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("append to ledger: %w", ctx.Err())
	}
	select {
	case err := <-r.done:
		return r.receipt, err
	case <-ctx.Done():
		return Receipt{}, fmt.Errorf("append to ledger: %w", ctx.Err())
	}
}

// write is the writer's loop.
func (w *writer) write() {
	defer close(w.stopped)
	var held *request // taken, but too big for the transaction before
	for {
		first := held
		held = nil
		if first == nil {
			select {
			case first = <-w.requests:
			case <-w.quit:
				return
			}
		}
		batch := []*request{first}
		count, size := len(first.entries), first.size
	gather:
		for {
			select {
			case r := <-w.requests:
				if count+len(r.entries) > MaxEntries || size+r.size > maxBatch {
					held = r
					break gather
				}
				batch = append(batch, r)
				count, size = count+len(r.entries), size+r.size
			default:
				break gather
			}
		}
		w.settle(batch)
	}
}

// settle decides each request of a batch in its order, commits what is new in one
// transaction and answers all. Most entries are new, so at first it looks for none
// of them: the commit fails if one is there.
func (w *writer) settle(batch []*request) {
	err := w.ready()
	for tries := 0; err == nil; tries++ {
		var fresh []Entry
		if fresh, batch = w.sift(batch, tries > 0); len(batch) == 0 {
			return
		}
		var receipt Receipt
		receipt, err = w.commit(fresh)
		switch {
		case err == nil:
			for _, r := range batch {
				r.receipt = receipt
				r.done <- nil
			}
			return
		case errors.Is(err, errThere) && tries < maxTries:
			err = nil
		case errors.Is(err, errThere):
			err = albs.Errorf(albs.Unavailable, "append to ledger: others write the same entries; tried %d times", tries+1)
		}
	}
	for _, r := range batch {
		r.done <- err
	}
}

// sift returns the entries that a batch adds to the ledger, and the requests that
// wait for their commit; the others it answers. Unless it is to look it takes all
// for new.
func (w *writer) sift(batch []*request, look bool) (fresh []Entry, wait []*request) {
	added := make(map[string][]byte)
	for _, r := range batch {
		mine, err := w.lacking(r, added, look)
		if err != nil || len(mine) == 0 {
			r.done <- err
			continue
		}
		for _, en := range mine {
			if _, ok := added[string(en.Key)]; !ok {
				added[string(en.Key)] = en.Value
				fresh = append(fresh, en)
			}
		}
		wait = append(wait, r)
	}
	return fresh, wait
}

// lacking returns the entries of r that are not yet in the ledger, those that the
// batch adds among them. For none it sets r's receipt.
func (w *writer) lacking(r *request, added map[string][]byte, look bool) ([]Entry, error) {
	var mine []Entry
	r.receipt = Receipt{}
	for _, en := range r.entries {
		if v, ok := added[string(en.Key)]; ok {
			if !bytes.Equal(v, en.Value) {
				return nil, conflict(en.Key)
			}
			mine = append(mine, en)
			continue
		}
		if !look {
			mine = append(mine, en)
			continue
		}
		value, at, err := w.first(context.Background(), en.Key)
		switch {
		case errors.Is(err, albs.NotFound):
			mine = append(mine, en)
		case err != nil:
			return nil, err
		case !bytes.Equal(value, en.Value):
			return nil, conflict(en.Key)
		case at.TxID > r.receipt.TxID:
			r.receipt = at
		}
	}
	return mine, nil
}
