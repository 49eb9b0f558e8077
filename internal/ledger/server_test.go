package ledger_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
)

func TestServerConforms(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	ledgertest.Run(t, func(t *testing.T) (ledger.Ledger, func() ledger.Ledger) {
		c := s.Database(t)
		return ledgertest.OpenServer(t, c), func() ledger.Ledger { return ledgertest.OpenServer(t, c) }
	})
}

func mustAppend(t *testing.T, l ledger.Ledger, key, value string) ledger.Receipt {
	t.Helper()
	r, err := l.Append(t.Context(), []ledger.Entry{{Key: []byte(key), Value: []byte(value)}})
	if err != nil {
		t.Fatalf("Append(%s): %v", key, err)
	}
	return r
}

func mustState(t *testing.T, l ledger.Ledger) ledger.State {
	t.Helper()
	s, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// walk reads the whole ledger and returns how often each key is there.
func walk(t *testing.T, l ledger.Ledger) map[string]int {
	t.Helper()
	seen := map[string]int{}
	var chain ledger.Chain
	now := mustState(t, l)
	for chain.TxID < now.TxID {
		tx, err := l.Transaction(t.Context(), chain.TxID+1)
		if err == nil {
			err = chain.Add(tx)
		}
		if err != nil {
			t.Fatalf("transaction %d: %v", chain.TxID+1, err)
		}
		for _, i := range tx.Items {
			seen[string(i.Key)]++
		}
	}
	if chain.Alh != now.Alh {
		t.Errorf("the ledger's transactions lead to %s, its state is %+v", chain.Alh, now)
	}
	return seen
}

// keyPair writes an ECDSA key and its public part to files.
func keyPair(t *testing.T) (private, public string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	sec, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	pub, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		t.Fatal(err)
	}
	private, public = filepath.Join(t.TempDir(), "key"), filepath.Join(t.TempDir(), "public")
	for path, b := range map[string]*pem.Block{private: {Type: "EC PRIVATE KEY", Bytes: sec}, public: {Type: "PUBLIC KEY", Bytes: pub}} {
		if err := os.WriteFile(path, pem.EncodeToMemory(b), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return private, public
}

// TestServerIsHeldToItsConfiguration: who the server is and what it lets us do is
// as the configuration has it, or there is an error that says so.
func TestServerIsHeldToItsConfiguration(t *testing.T) {
	t.Parallel()
	private, public := keyPair(t)
	_, other := keyPair(t)
	s := ledgertest.StartImmudb(t, private)
	right := s.Database(t)
	for name, c := range map[string]struct {
		change func(*ledger.ServerConfig)
		want   albs.Kind
	}{
		"as it is":            {func(c *ledger.ServerConfig) {}, ""},
		"its signature":       {func(c *ledger.ServerConfig) { c.SigningKeyFile = public }, ""},
		"another's signature": {func(c *ledger.ServerConfig) { c.SigningKeyFile = other }, albs.Internal},
		"a wrong password":    {func(c *ledger.ServerConfig) { c.Password += "x" }, albs.Forbidden},
		"an unknown user":     {func(c *ledger.ServerConfig) { c.User = "nobody" }, albs.Forbidden},
		"an unknown database": {func(c *ledger.ServerConfig) { c.Database = "none" }, albs.Forbidden},
		"no server":           {func(c *ledger.ServerConfig) { c.Address = "127.0.0.1:1" }, albs.Unavailable},
		"no TLS there":        {func(c *ledger.ServerConfig) { c.TLS = true }, albs.Unavailable},
	} {
		config := right
		c.change(&config)
		l := ledgertest.OpenServer(t, config)
		if _, err := l.State(t.Context()); albs.KindOf(err) != c.want || err != nil && bytes.Contains([]byte(err.Error()), []byte(right.Password)) {
			t.Errorf("%s: State: %v, want %q", name, err, c.want)
		}
	}
	for name, change := range map[string]func(*ledger.ServerConfig){
		"no password": func(c *ledger.ServerConfig) { c.Password = "" },
		"no port":     func(c *ledger.ServerConfig) { c.Address = "immudb.lan" },
		"no key":      func(c *ledger.ServerConfig) { c.SigningKeyFile = filepath.Join(t.TempDir(), "none") },
		"a wrong key": func(c *ledger.ServerConfig) { c.SigningKeyFile = private },
		"no CA":       func(c *ledger.ServerConfig) { c.TLS, c.CAFile = true, public },
	} {
		config := right
		change(&config)
		if _, err := ledger.OpenServer(config); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: OpenServer: %v, want invalid", name, err)
		}
	}
}

// TestServerWithOthersInIt: another user of the database writes over a key of ours,
// deletes it, and writes what is no entry of ours. The first value stays, and all can
// be read.
func TestServerWithOthersInIt(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	c := s.Database(t)
	ctx, client := s.Client(t, c.Database)
	kv := func(k, v string) *schema.SetRequest {
		return &schema.SetRequest{KVs: []*schema.KeyValue{{Key: []byte(k), Value: []byte(v)}}}
	}
	if _, err := client.Set(ctx, kv("before", "us")); err != nil {
		t.Fatal(err)
	}
	l := ledgertest.OpenServer(t, c)
	first := mustAppend(t, l, "key", "value")
	_, errs := client.Set(ctx, kv("key", "other"))
	_, err := client.Delete(ctx, &schema.DeleteKeysRequest{Keys: [][]byte{[]byte("key")}})
	errs = errors.Join(errs, err)
	_, err = client.SetReference(ctx, &schema.ReferenceRequest{Key: []byte("ref"), ReferencedKey: []byte("before")})
	errs = errors.Join(errs, err)
	_, err = client.ZAdd(ctx, &schema.ZAddRequest{Set: []byte("set"), Key: []byte("before"), Score: 1})
	errs = errors.Join(errs, err)
	expired := kv("soon", "gone")
	expired.KVs[0].Metadata = &schema.KVMetadata{Expiration: &schema.Expiration{ExpiresAt: 1}}
	_, err = client.Set(ctx, expired)
	errs = errors.Join(errs, err)
	_, err = client.SQLExec(ctx, &schema.SQLExecRequest{Sql: "CREATE TABLE t (id INTEGER, PRIMARY KEY id)"})
	if errs = errors.Join(errs, err); errs != nil {
		t.Fatal(errs)
	}
	now := mustState(t, l)
	for range 2 {
		if v, r, err := l.Get(t.Context(), []byte("key")); err != nil || string(v) != "value" || r != first {
			t.Errorf("Get = %q, %+v, %v, want the first value", v, r, err)
		}
		if r := mustAppend(t, l, "key", "value"); r != first {
			t.Errorf("Append again: %+v, want %+v", r, first)
		}
		if _, err := l.Append(t.Context(), []ledger.Entry{{Key: []byte("key"), Value: []byte("other")}}); albs.KindOf(err) != albs.Conflict {
			t.Errorf("Append of what the other wrote: %v, want conflict", err)
		}
		p, err := l.Prove(t.Context(), []byte("key"), now)
		if err == nil {
			err = ledger.Verify(p, []byte("key"), []byte("value"), now)
		}
		if err != nil {
			t.Errorf("proof: %v", err)
		}
	}
	if r := mustAppend(t, l, "before", "us"); r.TxID != 1 {
		t.Errorf("Append of what was there before us: %+v", r)
	}
	if _, err := l.Append(t.Context(), []ledger.Entry{{Key: []byte("before"), Value: []byte("we")}}); albs.KindOf(err) != albs.Conflict {
		t.Errorf("Append of another value than was there before us: %v, want conflict", err)
	}
	if seen := walk(t, l); seen["key"] != 2 || seen["before"] != 1 {
		t.Errorf("the ledger has %v", seen)
	}
}

// TestServerServesManyAtOnce: sixty-four Appends at a time by two masters are no more
// than the server bears.
func TestServerServesManyAtOnce(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	c := s.Database(t)
	var wg sync.WaitGroup
	for m := range 2 {
		l := ledgertest.OpenServer(t, c)
		for i := range 64 {
			wg.Go(func() {
				for j := range 4 {
					if _, err := l.Append(t.Context(), []ledger.Entry{{Key: fmt.Appendf(nil, "own/%d/%d/%d", m, i, j), Value: value(i)}, {Key: fmt.Appendf(nil, "shared/%d/%d", i, j), Value: value(i)}}); err != nil {
						t.Errorf("Append: %v", err)
					}
				}
			})
		}
	}
	wg.Wait()
	seen := walk(t, ledgertest.OpenServer(t, c))
	if len(seen) != 1+3*64*4 {
		t.Errorf("the ledger has %d keys", len(seen))
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", key, n)
		}
	}
}

// TestServerThatComesAndGoes kills the server under writers, and has it stand still:
// what was acknowledged is there, what is tried again is one entry.
func TestServerThatComesAndGoes(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	l := ledgertest.OpenServer(t, s.Database(t))
	remembered := mustState(t, l)
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	want := 0
	for round := range rounds {
		var wg sync.WaitGroup
		var mu sync.Mutex
		acked := 0
		enough := make(chan struct{})
		for w := range 4 {
			want += 50
			wg.Go(func() {
				for i := range 50 {
					key := fmt.Appendf(nil, "%d/%d/%d", round, w, i)
					for {
						_, err := l.Append(t.Context(), []ledger.Entry{{Key: key, Value: value(i)}})
						if err == nil {
							break
						}
						if albs.KindOf(err) != albs.Unavailable {
							t.Errorf("Append with the server away: %v, want unavailable", err)
							return
						}
						time.Sleep(20 * time.Millisecond) // the server is on its way back
					}
					mu.Lock()
					if acked++; acked == 60 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		s.Kill()
		s.Start(t)
		wg.Wait()
	}

	s.Pause(t)
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	late := []ledger.Entry{{Key: []byte("late"), Value: []byte("value")}}
	if _, err := l.Append(ctx, late); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Append to a server that stands still: %v", err)
	}
	s.Resume(t)
	first := mustAppend(t, l, "late", "value")
	if again := mustAppend(t, l, "late", "value"); again != first {
		t.Errorf("Append tried again gave %+v, then %+v", first, again)
	}

	if err := ledger.Check(t.Context(), l, remembered); err != nil {
		t.Errorf("Check: %v", err)
	}
	seen := walk(t, l)
	if len(seen) != want+2 {
		t.Errorf("the ledger has %d keys, want %d", len(seen), want+2)
	}
	for key, n := range seen {
		if n != 1 {
			t.Errorf("%s is there %d times", key, n)
		}
	}
}

// TestServerBehindADeadConnection: a connection that leads nowhere any more, as after a
// machine was lost, is given up, while the server can be reached by another.
func TestServerBehindADeadConnection(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("it waits 15 s and more for a connection to be given up: not with -short")
	}
	s := ledgertest.StartImmudb(t, "")
	c := s.Database(t)
	between := newWire(t, c.Address)
	c.Address = between.Addr().String()
	l := ledgertest.OpenServer(t, c)
	want := mustState(t, l)
	between.cut()
	eventually(t, func() error {
		now, err := l.State(t.Context())
		if err == nil && now != want {
			t.Errorf("State = %+v, want %+v", now, want)
		}
		return err
	})
}

// wire carries connections to an address.
type wire struct {
	net.Listener
	dead []chan struct{} // of each connection; under mu
	mu   sync.Mutex
}

func newWire(t *testing.T, to string) *wire {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	w := &wire{Listener: l}
	var wg sync.WaitGroup
	t.Cleanup(wg.Wait)
	t.Cleanup(func() { l.Close() })
	wg.Go(func() {
		for {
			from, err := l.Accept()
			if err != nil {
				return // the test ends
			}
			context.AfterFunc(t.Context(), func() { from.Close() })
			on, err := net.Dial("tcp", to)
			if err != nil {
				from.Close()
				continue
			}
			context.AfterFunc(t.Context(), func() { on.Close() })
			dead := make(chan struct{})
			w.mu.Lock()
			w.dead = append(w.dead, dead)
			w.mu.Unlock()
			wg.Go(func() { carry(on, from, dead) })
			wg.Go(func() { carry(from, on, dead) })
		}
	})
	return w
}

// cut has nothing come through by the connections that there are, which stay open.
func (w *wire) cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, dead := range w.dead {
		close(dead)
	}
	w.dead = nil
}

// carry writes to one end what it reads from the other, and once dead, nothing.
func carry(to io.Writer, from io.Reader, dead <-chan struct{}) {
	b := make([]byte, 32<<10)
	for {
		n, err := from.Read(b)
		if err != nil {
			return
		}
		select {
		case <-dead:
		default:
			if _, err := to.Write(b[:n]); err != nil {
				return
			}
		}
	}
}

// TestServerPutBackToAnOlderCopy: the server's data of yesterday is valid in itself,
// and so is what is written onto it. Who remembers knows better.
func TestServerPutBackToAnOlderCopy(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	c := s.Database(t)
	l := ledgertest.OpenServer(t, c)
	fill(t, l, 0, 10)
	s.Kill()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(s.Dir)); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	eventually(t, func() error { _, err := l.State(t.Context()); return err })
	fill(t, l, 10, 20)
	remembered := mustState(t, l)
	s.Kill()
	if err := errors.Join(os.RemoveAll(s.Dir), os.CopyFS(s.Dir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	s.Start(t)

	check := func(what string, l ledger.Ledger) {
		t.Helper()
		eventually(t, func() error { _, err := l.State(t.Context()); return err })
		if err := ledger.Check(t.Context(), l, remembered); albs.KindOf(err) != albs.Conflict {
			t.Errorf("%s: Check: %v, want conflict", what, err)
		}
		if _, err := l.Prove(t.Context(), key(0), remembered); albs.KindOf(err) != albs.Conflict {
			t.Errorf("%s: Prove up to the remembered state: %v, want conflict", what, err)
		}
	}
	fresh := ledgertest.OpenServer(t, c)
	check("an older copy, seen by who was there", l)
	check("an older copy", fresh)
	fill(t, fresh, 1000, 1020)
	check("another history", fresh)
}

// TestServerWithDamagedFiles: a value that was changed where it lies, and two that
// were swapped, are errors and never values.
func TestServerWithDamagedFiles(t *testing.T) {
	t.Parallel()
	s := ledgertest.StartImmudb(t, "")
	c := s.Database(t)
	l := ledgertest.OpenServer(t, c)
	for i := range 6 {
		mustAppend(t, l, fmt.Sprint("key/", i), fmt.Sprintf("the value %d of a key", i))
	}
	remembered := mustState(t, l)
	s.Kill()
	swap := func(from, to string) {
		t.Helper()
		found := 0
		err := filepath.WalkDir(s.Dir, func(p string, e fs.DirEntry, err error) error {
			if err != nil || filepath.Ext(p) != ".val" {
				return err
			}
			b, err := os.ReadFile(p)
			if err != nil {
				return err
			}
			if n := bytes.Count(b, []byte(from)); n > 0 {
				found += n
				return os.WriteFile(p, bytes.ReplaceAll(b, []byte(from), []byte(to)), 0o600)
			}
			return nil
		})
		if err != nil || found != 1 {
			t.Fatalf("%q was found %d times, %v", from, found, err)
		}
	}
	swap("the value 1 of", "the value 7 of")
	swap("the value 3 of", "the value X of")
	swap("the value 4 of", "the value 3 of")
	swap("the value X of", "the value 4 of")
	s.Start(t)
	eventually(t, func() error { _, err := l.State(t.Context()); return err })
	for i := range 6 {
		damaged := i == 1 || i == 3 || i == 4
		v, r, err := l.Get(t.Context(), fmt.Append(nil, "key/", i))
		if damaged != (albs.KindOf(err) == albs.Internal) || !damaged && string(v) != fmt.Sprintf("the value %d of a key", i) {
			t.Errorf("Get(%d) = %q, %v", i, v, err)
		}
		if _, err := l.Prove(t.Context(), fmt.Append(nil, "key/", i), remembered); damaged != (albs.KindOf(err) == albs.Internal) {
			t.Errorf("Prove(%d): %v", i, err)
		}
		if !damaged {
			if _, err := l.Transaction(t.Context(), r.TxID); err != nil {
				t.Errorf("Transaction(%d): %v", r.TxID, err)
			}
		}
	}
	wrong := 0
	for id := uint64(1); id <= remembered.TxID; id++ {
		if _, err := l.Transaction(t.Context(), id); albs.KindOf(err) == albs.Internal {
			wrong++
		}
	}
	if wrong != 3 {
		t.Errorf("%d transactions are said to be damaged, want 3", wrong)
	}
}

// eventually waits until f succeeds.
func eventually(t *testing.T, f func() error) {
	t.Helper()
	var err error
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(20 * time.Millisecond) {
		if err = f(); err == nil {
			return
		}
	}
	t.Fatal(err)
}
