// Package ledgertest is the conformance suite of ledger.Ledger.
package ledgertest

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/ledger"

	"github.com/google/go-cmp/cmp"
)

// Run runs the suite, a subtest for each claim of ledger.Ledger's comment; open
// returns a fresh ledger each time, and what opens it again once it is closed. Open
// closes what it opened at the test's end.
func Run(t *testing.T, open func(t *testing.T) (l ledger.Ledger, again func() ledger.Ledger)) {
	for name, test := range map[string]func(t *testing.T, l ledger.Ledger){
		"append and get":           appendAndGet,
		"first write wins":         firstWriteWins,
		"bounds":                   bounds,
		"proofs":                   proofs,
		"mutated proofs":           mutatedProofs,
		"a proof of another entry": borrowedProofs,
		"consistency":              consistency,
		"transactions":             transactions,
		"check":                    check,
		"concurrent calls":         concurrent,
		"racing values":            racing,
		"large appends at once":    crowded,
		"cancelled":                cancelled,
		"closed":                   closed,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, _ := open(t)
			test(t, l)
		})
	}
	for name, test := range map[string]func(t *testing.T, l ledger.Ledger, again func() ledger.Ledger){
		"opened again":               reopened,
		"closed while it is written": closedMeanwhile,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, again := open(t)
			test(t, l, again)
		})
	}
}

func entry(key, value string) ledger.Entry {
	return ledger.Entry{Key: []byte(key), Value: []byte(value)}
}

func mustAppend(t *testing.T, l ledger.Ledger, entries ...ledger.Entry) ledger.Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), entries)
	if err != nil {
		t.Fatalf("Append: %v", err)
	}
	if r.TxID == 0 || r.At.IsZero() {
		t.Fatalf("Append gave the receipt %+v", r)
	}
	return r
}

func mustState(t *testing.T, l ledger.Ledger) ledger.State {
	t.Helper()
	s, err := l.State(t.Context())
	if err != nil {
		t.Fatalf("State: %v", err)
	}
	if s.Ledger == "" || s.TxID == 0 || !s.Alh.Valid() {
		t.Fatalf("State = %+v is no state", s)
	}
	return s
}

func wantKind(t *testing.T, what string, err error, kind albs.Kind) {
	t.Helper()
	if albs.KindOf(err) != kind {
		t.Errorf("%s: error %v of kind %q, want kind %q", what, err, albs.KindOf(err), kind)
	}
}

func wantEntry(t *testing.T, l ledger.Ledger, key, value string, r ledger.Receipt) {
	t.Helper()
	v, got, err := l.Get(t.Context(), []byte(key))
	if err != nil || string(v) != value || got != r {
		t.Errorf("Get(%s) = %.40q, %+v, %v, want %.40q, %+v", key, v, got, err, value, r)
	}
}

func appendAndGet(t *testing.T, l ledger.Ledger) {
	r := mustAppend(t, l, entry("a", "1"), entry("b", "2"))
	wantEntry(t, l, "a", "1", r)
	wantEntry(t, l, "b", "2", r)
	_, _, err := l.Get(t.Context(), []byte("c"))
	wantKind(t, "Get of an absent key", err, albs.NotFound)
	big := string(bytes.Repeat([]byte("v"), ledger.MaxValue))
	wantEntry(t, l, "big", big, mustAppend(t, l, entry("big", big)))
	buffer := []byte("value")
	r = mustAppend(t, l, ledger.Entry{Key: []byte("k"), Value: buffer})
	copy(buffer, "XXXXX")
	wantEntry(t, l, "k", "value", r)
}

func firstWriteWins(t *testing.T, l ledger.Ledger) {
	first := mustAppend(t, l, entry("a", "1"))
	if r := mustAppend(t, l, entry("a", "1")); r != first {
		t.Errorf("the same entry again got %+v, want the first receipt %+v", r, first)
	}
	before := mustState(t, l)
	for _, entries := range [][]ledger.Entry{
		{entry("a", "2")},
		{entry("new", "1"), entry("a", "2")},
		{entry("new", "1"), entry("new", "2")},
	} {
		_, err := l.Append(t.Context(), entries)
		wantKind(t, "Append of another value", err, albs.Conflict)
	}
	_, _, err := l.Get(t.Context(), []byte("new"))
	wantKind(t, "Get of what came with a conflict", err, albs.NotFound)
	if after := mustState(t, l); after != before {
		t.Errorf("a conflict changed the state from %+v to %+v", before, after)
	}
	mixed := mustAppend(t, l, entry("a", "1"), entry("b", "2"), entry("b", "2"))
	if mixed.TxID <= first.TxID {
		t.Errorf("the new entry got %+v, not later than %+v", mixed, first)
	}
	wantEntry(t, l, "a", "1", first)
	wantEntry(t, l, "b", "2", mixed)
	for _, old := range [][]ledger.Entry{{entry("a", "1"), entry("b", "2")}, {entry("b", "2"), entry("a", "1")}} {
		if r := mustAppend(t, l, old...); r != mixed {
			t.Errorf("old entries of two transactions got %+v, want the newer %+v", r, mixed)
		}
	}
}

func bounds(t *testing.T, l ledger.Ledger) {
	long := string(bytes.Repeat([]byte("x"), ledger.MaxKey))
	mustAppend(t, l, entry(long, "v"))
	many := make([]ledger.Entry, ledger.MaxEntries+1)
	for i := range many {
		many[i] = entry(fmt.Sprint("many/", i), "v")
	}
	large := make([]ledger.Entry, ledger.MaxAppend/ledger.MaxValue)
	for i := range large {
		large[i] = entry(fmt.Sprint("large/", i), string(make([]byte, ledger.MaxValue)))
	}
	for _, c := range []struct {
		name    string
		entries []ledger.Entry
		kind    albs.Kind
	}{
		{"no entry", nil, albs.Invalid},
		{"no key", []ledger.Entry{entry("", "v")}, albs.Invalid},
		{"no value", []ledger.Entry{entry("k", "")}, albs.Invalid},
		{"a zero byte before the key", []ledger.Entry{entry("\x00k", "v")}, albs.Invalid},
		{"long key", []ledger.Entry{entry(long+"x", "v")}, albs.TooLarge},
		{"long value", []ledger.Entry{entry("k", string(make([]byte, ledger.MaxValue+1)))}, albs.TooLarge},
		{"many entries", many, albs.TooLarge},
		{"many bytes", large, albs.TooLarge},
	} {
		_, err := l.Append(t.Context(), c.entries)
		wantKind(t, c.name, err, c.kind)
	}
	mustAppend(t, l, many[:ledger.MaxEntries]...)
	now := mustState(t, l)
	for _, key := range []string{"", "\x00", long + "x"} {
		_, _, err := l.Get(t.Context(), []byte(key))
		wantKind(t, "Get of a key that none can have", err, albs.Invalid)
		_, err = l.Prove(t.Context(), []byte(key), now)
		wantKind(t, "Prove of a key that none can have", err, albs.Invalid)
	}
}

func proofs(t *testing.T, l ledger.Ledger) {
	type written struct {
		key, value string
		r          ledger.Receipt
	}
	var all []written
	var states []ledger.State
	for i, n := range []int{1, 1, 2, 3, 5, 8, 1, 20} {
		var entries []ledger.Entry
		for j := range n {
			entries = append(entries, entry(fmt.Sprint(i, "/", j), fmt.Sprint("value ", i, j)))
		}
		r := mustAppend(t, l, entries...)
		for _, e := range entries {
			all = append(all, written{string(e.Key), string(e.Value), r})
		}
		states = append(states, mustState(t, l))
	}
	for _, w := range all {
		for _, at := range states {
			p, err := l.Prove(t.Context(), []byte(w.key), at)
			if w.r.TxID > at.TxID {
				wantKind(t, "Prove up to an older state", err, albs.Conflict)
				continue
			}
			if err != nil {
				t.Fatalf("Prove(%s, %d): %v", w.key, at.TxID, err)
			}
			p = throughJSON(t, p)
			if err := ledger.Verify(p, []byte(w.key), []byte(w.value), at); err != nil {
				t.Errorf("Verify(%s, %d): %v", w.key, at.TxID, err)
			}
			if p.Receipt() != w.r {
				t.Errorf("the proof's receipt is %+v, want %+v", p.Receipt(), w.r)
			}
			if ledger.Verify(p, []byte(w.key), []byte("other"), at) == nil {
				t.Errorf("Verify(%s, %d) accepts another value", w.key, at.TxID)
			}
			if ledger.Verify(p, []byte("other"), []byte(w.value), at) == nil {
				t.Errorf("Verify(%s, %d) accepts another key", w.key, at.TxID)
			}
			for _, other := range append(states, ledger.State{Ledger: at.Ledger, TxID: at.TxID + 1, Alh: at.Alh}, ledger.State{TxID: at.TxID, Alh: at.Alh}) {
				if other != at && ledger.Verify(p, []byte(w.key), []byte(w.value), other) == nil {
					t.Errorf("Verify(%s) accepts a proof for state %d at state %d", w.key, at.TxID, other.TxID)
				}
			}
		}
	}
	now := mustState(t, l)
	_, err := l.Prove(t.Context(), []byte("absent"), now)
	wantKind(t, "Prove of an absent key", err, albs.NotFound)
	for name, at := range map[string]ledger.State{
		"zero":          {},
		"other ledger":  {Ledger: "other", TxID: now.TxID, Alh: now.Alh},
		"other history": {Ledger: now.Ledger, TxID: now.TxID, Alh: albs.DigestOf(nil)},
		"future":        {Ledger: now.Ledger, TxID: now.TxID + 1, Alh: now.Alh},
	} {
		_, err := l.Prove(t.Context(), []byte(all[0].key), at)
		wantKind(t, "Prove up to the "+name+" state", err, albs.Conflict)
	}
}

func throughJSON[T any](t *testing.T, v T) T {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	var out T
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(v, out); d != "" {
		t.Fatalf("JSON changes the proof: %s", d)
	}
	return out
}

func mutatedProofs(t *testing.T, l ledger.Ledger) {
	var key, value = "the/key", "the value"
	mustAppend(t, l, entry("before", "x"))
	mustAppend(t, l, entry("c", "3"), entry("d", "4"), entry(key, value), entry("e", "5"), entry("f", "6"))
	early := mustState(t, l)
	for i := range 12 {
		mustAppend(t, l, entry(fmt.Sprint("after", i), "x"))
	}
	late := mustState(t, l)
	for _, at := range []ledger.State{early, late} {
		p, err := l.Prove(t.Context(), []byte(key), at)
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		Mutate(t, p, func(what string, m ledger.Proof) {
			n++
			if ledger.Verify(m, []byte(key), []byte(value), at) == nil {
				t.Errorf("state %d: Verify accepts a proof with %s changed", at.TxID, what)
			}
		})
		if n < 20 {
			t.Errorf("only %d mutants", n)
		}
	}
	c, err := l.Consistency(t.Context(), early.TxID, late.TxID)
	if err != nil {
		t.Fatal(err)
	}
	Mutate(t, c, func(what string, m ledger.Consistency) {
		if ledger.VerifyConsistency(m, early, late) == nil {
			t.Errorf("VerifyConsistency accepts a proof with %s changed", what)
		}
	})
}

// borrowedProofs wants the proof of one entry to prove no other, of the same
// transaction or of another one.
func borrowedProofs(t *testing.T, l ledger.Ledger) {
	entries := []ledger.Entry{entry("a", "1"), entry("b", "1"), entry("c", "1"), entry("d", "1"), entry("e", "1")}
	mustAppend(t, l, entries[:3]...)
	mustAppend(t, l, entries[3:]...)
	now := mustState(t, l)
	for _, of := range entries {
		p, err := l.Prove(t.Context(), of.Key, now)
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range entries {
			if proves := ledger.Verify(p, e.Key, e.Value, now) == nil; proves != bytes.Equal(of.Key, e.Key) {
				t.Errorf("the proof of %s proves %s: %v", of.Key, e.Key, proves)
			}
		}
	}
}

// Mutate calls f with every copy of v in which one field of its JSON is changed:
// numbers by one, strings in one character and in their case, lists by an element
// more and less, and every element of them.
func Mutate[T any](t *testing.T, v T, f func(what string, mutant T)) {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	decode := func() any {
		var tree any
		d := json.NewDecoder(bytes.NewReader(b))
		d.UseNumber()
		if err := d.Decode(&tree); err != nil {
			t.Fatal(err)
		}
		return tree
	}
	EachMutant(decode, func(what string, tree any) {
		mb, err := json.Marshal(tree)
		if err != nil {
			t.Fatal(err)
		}
		var m T
		if err := json.Unmarshal(mb, &m); err != nil {
			return // no value of the type at all: refused already
		}
		f(what, m)
	})
}

// EachMutant calls f with every mutant of the JSON tree that decode gives afresh
// each time; numbers in it are json.Number.
func EachMutant(decode func() any, f func(what string, tree any)) {
	at := func(path []any) func(tree, to any) any {
		return func(tree, to any) any {
			if len(path) == 0 {
				return to
			}
			node := tree
			for _, k := range path[:len(path)-1] {
				switch k := k.(type) {
				case string:
					node = node.(map[string]any)[k]
				case int:
					node = node.([]any)[k]
				}
			}
			switch k := path[len(path)-1].(type) {
			case string:
				node.(map[string]any)[k] = to
			case int:
				node.([]any)[k] = to
			}
			return tree
		}
	}
	var visit func(path []any, node any)
	visit = func(path []any, node any) {
		emit := func(what string, to any) {
			f(fmt.Sprint(path, " ", what), at(path)(decode(), to))
		}
		switch node := node.(type) {
		case map[string]any:
			for k, child := range node {
				visit(append(path[:len(path):len(path)], k), child)
			}
		case []any:
			for i, child := range node {
				visit(append(path[:len(path):len(path)], i), child)
			}
			if len(node) > 0 {
				emit("shorter", node[:len(node)-1])
				emit("longer", append(node[:len(node):len(node)], node[0]))
			}
			if len(node) > 1 {
				swapped := append([]any{node[1], node[0]}, node[2:]...)
				emit("swapped", swapped)
			}
		case json.Number:
			n, err := node.Int64()
			if err != nil {
				return
			}
			emit("plus one", json.Number(fmt.Sprint(n+1)))
			emit("minus one", json.Number(fmt.Sprint(n-1)))
		case string:
			emit("emptied", "")
			if node == "" {
				return
			}
			for _, i := range []int{0, len(node) / 2, len(node) - 1} {
				b := []byte(node)
				if b[i] == '0' {
					b[i] = '1'
				} else {
					b[i] = '0'
				}
				emit(fmt.Sprint("byte ", i), string(b))
			}
			if upper := strings.ToUpper(node); upper != node {
				emit("in upper case", upper)
			}
		case bool:
			emit("negated", !node)
		}
	}
	visit(nil, decode())
}

func consistency(t *testing.T, l ledger.Ledger) {
	states := []ledger.State{mustState(t, l)}
	for i := range 9 {
		mustAppend(t, l, entry(fmt.Sprint(i), "v"))
		states = append(states, mustState(t, l))
	}
	for i, from := range states {
		for j, to := range states {
			c, err := l.Consistency(t.Context(), from.TxID, to.TxID)
			if i > j {
				wantKind(t, "Consistency backwards", err, albs.Invalid)
				continue
			}
			if err != nil {
				t.Fatalf("Consistency(%d, %d): %v", from.TxID, to.TxID, err)
			}
			if err := ledger.VerifyConsistency(throughJSON(t, c), from, to); err != nil {
				t.Errorf("VerifyConsistency(%d, %d): %v", from.TxID, to.TxID, err)
			}
			if spelled := c; c.From.BlRoot == "" {
				spelled.From.BlRoot = albs.Digest(strings.Repeat("0", 64))
				if ledger.VerifyConsistency(spelled, from, to) == nil {
					t.Errorf("VerifyConsistency(%d, %d) accepts the same header in another form", from.TxID, to.TxID)
				}
			}
			for what, forge := range map[string]func(from, to *ledger.State){
				"another history":               func(from, _ *ledger.State) { from.Alh = albs.DigestOf([]byte("another history")) },
				"another end":                   func(_, to *ledger.State) { to.Alh = albs.DigestOf([]byte("another end")) },
				"a history under other numbers": func(from, _ *ledger.State) { from.TxID++ },
				"an end under another number":   func(_, to *ledger.State) { to.TxID++ },
				"another ledger":                func(_, to *ledger.State) { to.Ledger += "x" },
				"no ledger":                     func(from, to *ledger.State) { from.Ledger, to.Ledger = "", "" },
				"no history":                    func(from, _ *ledger.State) { *from = ledger.State{Ledger: from.Ledger} },
			} {
				f, t2 := from, to
				forge(&f, &t2)
				if ledger.VerifyConsistency(c, f, t2) == nil {
					t.Errorf("VerifyConsistency(%d, %d) accepts %s", from.TxID, to.TxID, what)
				}
			}
		}
	}
	last := states[len(states)-1].TxID
	_, err := l.Consistency(t.Context(), 0, last)
	wantKind(t, "Consistency from 0", err, albs.Invalid)
	_, err = l.Consistency(t.Context(), 1, last+1)
	wantKind(t, "Consistency into the future", err, albs.Conflict)
}

// transactions reads a whole ledger: what it holds is what was written, and its chain
// ends with the ledger's state, also if the reading was interrupted.
func transactions(t *testing.T, l ledger.Ledger) {
	want := map[string]string{}
	for i, n := range []int{1, 2, 3, 1, 7, 1, 1, 20, 1} {
		var entries []ledger.Entry
		for j := range n {
			entries = append(entries, entry(fmt.Sprint(i, "/", j), fmt.Sprint("value ", i, j)))
			want[string(entries[j].Key)] = string(entries[j].Value)
		}
		mustAppend(t, l, entries...)
	}
	now := mustState(t, l)
	var chain ledger.Chain
	got := map[string]string{}
	for id := uint64(1); id <= now.TxID; id++ {
		tx, err := l.Transaction(t.Context(), id)
		if err != nil {
			t.Fatalf("Transaction(%d): %v", id, err)
		}
		tx = throughJSON(t, tx)
		Mutate(t, tx, func(what string, m ledger.Transaction) {
			c := chain
			if cmp.Equal(m, tx) { // another spelling of the same bytes
				return
			}
			if c.Add(m) == nil && c.Alh == tx.Alh() {
				t.Errorf("the chain accepts transaction %d with %s changed", id, what)
			}
		})
		before := throughJSON(t, chain)
		if err := chain.Add(tx); err != nil {
			t.Fatalf("Chain.Add(%d): %v", id, err)
		}
		again := chain
		for _, other := range []ledger.Transaction{tx, {}} {
			if again.Add(other) == nil || !cmp.Equal(again, chain) {
				t.Errorf("after transaction %d the chain accepts transaction %d", id, other.Header.ID)
			}
		}
		if before.TxID > 0 {
			before.Peaks[0] = albs.DigestOf(nil)
			if before.Add(tx) == nil {
				t.Errorf("a chain with another tree accepts transaction %d", id)
			}
		}
		for _, i := range tx.Items {
			if !i.Plain() {
				t.Errorf("transaction %d has an entry that nobody wrote: %q", id, i.Key)
			}
			if key := string(i.Key); key != "albs/ledger" {
				got[key] = string(i.Value)
			}
		}
	}
	if chain.TxID != now.TxID || chain.Alh != now.Alh {
		t.Errorf("the chain ends with %d, %s, the ledger with %+v", chain.TxID, chain.Alh, now)
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("what was read isn't what was written: %s", d)
	}
	_, err := l.Transaction(t.Context(), 0)
	wantKind(t, "Transaction 0", err, albs.Invalid)
	_, err = l.Transaction(t.Context(), now.TxID+1)
	wantKind(t, "Transaction of the future", err, albs.Conflict)
}

func check(t *testing.T, l ledger.Ledger) {
	if err := ledger.Check(t.Context(), l, ledger.State{}); err != nil {
		t.Errorf("Check without a remembered state: %v", err)
	}
	s := mustState(t, l)
	if err := ledger.Check(t.Context(), l, s); err != nil {
		t.Errorf("Check of the present state: %v", err)
	}
	mustAppend(t, l, entry("a", "1"))
	if err := ledger.Check(t.Context(), l, s); err != nil {
		t.Errorf("Check of an earlier state: %v", err)
	}
	now := mustState(t, l)
	for name, bad := range map[string]ledger.State{
		"other ledger":  {Ledger: "other", TxID: s.TxID, Alh: s.Alh},
		"ahead":         {Ledger: s.Ledger, TxID: now.TxID + 1, Alh: now.Alh},
		"other history": {Ledger: s.Ledger, TxID: s.TxID, Alh: now.Alh},
	} {
		wantKind(t, name, ledger.Check(t.Context(), l, bad), albs.Conflict)
	}
}

func concurrent(t *testing.T, l ledger.Ledger) {
	const writers, each = 32, 10
	start := mustState(t, l)
	var wg sync.WaitGroup
	for w := range writers {
		wg.Go(func() {
			before := start
			for i := range each {
				key := fmt.Sprint("c/", w, "/", i)
				r, err := l.Append(t.Context(), []ledger.Entry{entry(key, key), entry(key+"/2", key)})
				if err != nil {
					t.Errorf("Append(%s): %v", key, err)
					return
				}
				wantEntry(t, l, key+"/2", key, r)
				now, err := l.State(t.Context())
				if err != nil || now.TxID < r.TxID {
					t.Errorf("State after Append into transaction %d = %+v, %v", r.TxID, now, err)
					return
				}
				p, err := l.Prove(t.Context(), []byte(key), now)
				if err == nil {
					err = ledger.Verify(p, []byte(key), []byte(key), now)
				}
				if err != nil {
					t.Errorf("Prove(%s): %v", key, err)
				}
				c, err := l.Consistency(t.Context(), before.TxID, now.TxID)
				if err == nil {
					err = ledger.VerifyConsistency(c, before, now)
				}
				if err != nil {
					t.Errorf("Consistency(%d, %d): %v", before.TxID, now.TxID, err)
				}
				before = now
			}
		})
	}
	wg.Wait()
}

// crowded has Appends wait that don't fit into one transaction together.
func crowded(t *testing.T, l ledger.Ledger) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			entries := make([]ledger.Entry, ledger.MaxEntries*2/3)
			for i := range entries {
				entries[i] = entry(fmt.Sprint("x/", w, "/", i), "v")
			}
			r, err := l.Append(ctx, entries)
			if err != nil {
				t.Errorf("Append %d: %v", w, err)
				return
			}
			wantEntry(t, l, string(entries[0].Key), "v", r)
			wantEntry(t, l, string(entries[len(entries)-1].Key), "v", r)
		})
	}
	wg.Wait()
}

// racing lets many write different values under one key, while the ledger is busy
// with other things: one of them wins, wholly.
func racing(t *testing.T, l ledger.Ledger) {
	done := make(chan struct{})
	var busy sync.WaitGroup
	for b := range 2 {
		busy.Go(func() {
			for i := 0; ; i++ {
				select {
				case <-done:
					return
				default:
				}
				if _, err := l.Append(t.Context(), []ledger.Entry{entry(fmt.Sprint("busy/", b, "/", i), "v")}); err != nil {
					t.Errorf("Append of what is in nobody's way: %v", err)
					return
				}
			}
		})
	}
	defer busy.Wait()
	defer close(done)
	for round := range 10 {
		shared := fmt.Sprint("shared/", round)
		var mu sync.Mutex
		var won []string
		var wg sync.WaitGroup
		for w := range 16 {
			wg.Go(func() {
				value := fmt.Sprint(w)
				own := fmt.Sprint("own/", round, "/", w)
				_, err := l.Append(t.Context(), []ledger.Entry{entry(own, value), entry(shared, value)})
				if err == nil {
					mu.Lock()
					won = append(won, value)
					mu.Unlock()
					return
				}
				wantKind(t, "Append of a losing value", err, albs.Conflict)
				_, _, err = l.Get(t.Context(), []byte(own))
				wantKind(t, "Get of what lost", err, albs.NotFound)
			})
		}
		wg.Wait()
		v, _, err := l.Get(t.Context(), []byte(shared))
		if err != nil || len(won) != 1 || string(v) != won[0] {
			t.Errorf("round %d: %v have won, the ledger holds %q, %v", round, won, v, err)
		}
	}
}

func cancelled(t *testing.T, l ledger.Ledger) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(ctx, []ledger.Entry{entry("a", "1")}); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("Append = %v, want context.Canceled", err)
	}
	mustAppend(t, l, entry("a", "1"))
}

// reopened closes the ledger and opens it again: all is there, and goes on.
func reopened(t *testing.T, l ledger.Ledger, again func() ledger.Ledger) {
	first := mustAppend(t, l, entry("a", "1"), entry("b", "2"))
	second := mustAppend(t, l, entry("c", "3"))
	before := mustState(t, l)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = again()
	if after := mustState(t, l); after != before {
		t.Errorf("the state was %+v and is %+v", before, after)
	}
	wantEntry(t, l, "a", "1", first)
	wantEntry(t, l, "c", "3", second)
	if r := mustAppend(t, l, entry("a", "1")); r != first {
		t.Errorf("a repeated Append got %+v, want the first receipt %+v", r, first)
	}
	_, err := l.Append(t.Context(), []ledger.Entry{entry("b", "other")})
	wantKind(t, "Append of another value", err, albs.Conflict)
	if r := mustAppend(t, l, entry("d", "4")); r.TxID <= before.TxID {
		t.Errorf("a new entry got %+v, not later than %+v", r, before)
	}
	if err := ledger.Check(t.Context(), l, before); err != nil {
		t.Errorf("Check of the state before: %v", err)
	}
}

// closedMeanwhile wants each Append that runs while the ledger closes to be told
// the truth.
func closedMeanwhile(t *testing.T, l ledger.Ledger, again func() ledger.Ledger) {
	const appends = 16
	errs := make([]error, appends)
	var wg sync.WaitGroup
	for i := range appends {
		wg.Go(func() { _, errs[i] = l.Append(t.Context(), []ledger.Entry{entry(fmt.Sprint(i), "v")}) })
	}
	if err := l.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	wg.Wait()
	l = again()
	for i, err := range errs {
		_, _, gerr := l.Get(t.Context(), []byte(fmt.Sprint(i)))
		if err == nil && gerr != nil {
			t.Errorf("Get of what was acknowledged: %v", gerr)
		}
		if err != nil {
			wantKind(t, "Append while the ledger closes", err, albs.Unavailable)
		}
	}
}

func closed(t *testing.T, l ledger.Ledger) {
	s := mustState(t, l)
	for range 2 {
		if err := l.Close(); err != nil {
			t.Fatalf("Close: %v", err)
		}
	}
	_, err := l.Append(t.Context(), []ledger.Entry{entry("a", "1")})
	wantKind(t, "Append", err, albs.Unavailable)
	_, _, err = l.Get(t.Context(), []byte("a"))
	wantKind(t, "Get", err, albs.Unavailable)
	_, err = l.State(t.Context())
	wantKind(t, "State", err, albs.Unavailable)
	_, err = l.Prove(t.Context(), []byte("a"), s)
	wantKind(t, "Prove", err, albs.Unavailable)
	_, err = l.Consistency(t.Context(), 1, 1)
	wantKind(t, "Consistency", err, albs.Unavailable)
	_, err = l.Transaction(t.Context(), 1)
	wantKind(t, "Transaction", err, albs.Unavailable)
}
