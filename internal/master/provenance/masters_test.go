package provenance

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ed25519"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
	"albs/internal/master/artifact"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
)

// masterEnv has the test binary be a master that states and delivers until it is killed.
const masterEnv = "PROVENANCE_TEST_MASTER"

// masterSpec is what such a master is told.
type masterSpec struct {
	DSN    string
	Ledger ledger.ServerConfig
	Secret string // Ledger's password
	Seed   string // of the statement key
	First  int    // the number of its first package
}

func TestMain(m *testing.M) {
	if spec := os.Getenv(masterEnv); spec != "" {
		if err := master([]byte(spec)); err != nil {
			fmt.Println("failed:", err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// master states fact after fact and prints the number of each that is committed.
func master(spec []byte) error {
	var s masterSpec
	if err := json.Unmarshal(spec, &s); err != nil {
		return err
	}
	s.Ledger.Password = s.Secret
	ctx := context.Background()
	d, err := db.Open(ctx, db.Config{DSN: s.DSN, Log: zerolog.Nop()})
	if err != nil {
		return err
	}
	l, err := ledger.OpenServer(s.Ledger)
	if err != nil {
		return err
	}
	seed, err := hex.DecodeString(s.Seed)
	if err != nil {
		return err
	}
	events := event.New(d, zerolog.Nop())
	p := New(d, events, nil, l, attest.NewSigner(ed25519.NewKeyFromSeed(seed)), zerolog.Nop())
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	for i := s.First; ; i++ {
		a := file(i)
		fact := Fact{Predicate: attest.Build, Body: body(attest.Build, a), Files: []artifact.Artifact{a}, Subjects: []attest.Subject{SubjectOf(a)}}
		if err := d.InTx(ctx, func(tx db.Tx) error { return p.State(ctx, tx, fact) }); err != nil {
			return err
		}
		fmt.Println("stated", i)
		select {
		case err := <-ended:
			return err
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// startMaster starts one as a process; what it has stated comes by the channel.
func startMaster(t *testing.T, s masterSpec) (stated <-chan int, kill func()) {
	t.Helper()
	spec, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), masterEnv+"="+string(spec))
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	found := make(chan int, 1<<16)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(found)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var i int
			if n, _ := fmt.Sscanf(lines.Text(), "stated %d", &i); n != 1 {
				t.Errorf("a master says %q", lines.Text())
				continue
			}
			found <- i
		}
		cmd.Wait() // it was killed
	}()
	kill = func() {
		cmd.Process.Kill() // it may have ended
		<-done
	}
	t.Cleanup(kill)
	return found, kill
}

// TestMastersOutliveEachOther: two masters share a database and an immudb server, and
// each in turn is killed while both state and one delivers. What either acknowledged
// is in the ledger afterwards, once.
func TestMastersOutliveEachOther(t *testing.T) {
	t.Parallel()
	server := ledgertest.StartImmudb(t, "")
	c := dbtest.Postgres(t)
	d := dbtest.Open(t, c)
	config := server.Database(t)
	_, key, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	spec := masterSpec{DSN: c.DSN, Ledger: config, Secret: config.Password, Seed: hex.EncodeToString(key.Seed())}
	var acked []int
	take := func(from <-chan int, n int) {
		t.Helper()
		for range n {
			select {
			case i, ok := <-from:
				if !ok {
					t.Fatal("a master ended by itself")
				}
				acked = append(acked, i)
			case <-time.After(2 * time.Minute):
				t.Fatal("a master stands still")
			}
		}
	}
	rest := func(from <-chan int) {
		for i := range from { // what was printed before the kill
			acked = append(acked, i)
		}
	}
	start := func(n int) (<-chan int, func()) {
		s := spec
		s.First = n * 1_000_000
		return startMaster(t, s)
	}
	rounds := 3
	if testing.Short() {
		rounds = 1
	}
	a, killA := start(1)
	b, killB := start(2)
	take(a, 20)
	for round := range rounds {
		killA()
		rest(a)
		take(b, 40)
		a, killA = start(10 + 2*round)
		take(a, 20)
		killB()
		rest(b)
		take(a, 40)
		b, killB = start(11 + 2*round)
		take(b, 20)
	}
	killA()
	killB()
	rest(a)
	rest(b)

	l := ledgertest.OpenServer(t, config)
	f := &fixture{d: d, events: event.New(d, zerolog.Nop())}
	f.Provenance = New(d, f.events, nil, l, attest.NewSigner(key), zerolog.Nop())
	f.drain(t)
	for _, i := range acked {
		f.notarized(t, file(i), true, "")
	}
	seen := entriesOf(t, l)
	for key, n := range seen {
		if n != 1 {
			t.Errorf("the ledger has %s %d times", key, n)
		}
	}
	var rows int
	if err := d.GetContext(t.Context(), &rows, `SELECT COUNT(*) FROM statement`); err != nil {
		t.Fatal(err)
	}
	if len(seen) != 1+2*rows || rows < len(acked) {
		t.Errorf("%d were acknowledged, the database has %d statements, and the ledger %d entries, want two for each statement and its id", len(acked), rows, len(seen))
	}
}

// entriesOf reads the whole ledger and returns how often it has each key.
func entriesOf(t *testing.T, l ledger.Ledger) map[string]int {
	t.Helper()
	seen := map[string]int{}
	now, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for chain := (ledger.Chain{}); chain.TxID < now.TxID; {
		tx, err := l.Transaction(t.Context(), chain.TxID+1)
		if err == nil {
			err = chain.Add(tx)
		}
		if err != nil {
			t.Fatal(err)
		}
		for _, i := range tx.Items {
			seen[string(i.Key)]++
		}
	}
	return seen
}

// TestServerAway has the immudb server be killed, come back, lose its newest
// transactions, and have a value changed, while facts are stated. What was stated waits
// for it in its order and nothing passes for notarized meanwhile.
func TestServerAway(t *testing.T) {
	t.Parallel()
	server := ledgertest.StartImmudb(t, "")
	config := server.Database(t)
	f := setup(t, dbtest.Open(t, dbtest.SQLite(t)))
	fresh := func() {
		f.stop(t)
		f.flaky = &flaky{Ledger: ledgertest.OpenServer(t, config)}
		f.Provenance = New(f.d, f.events, f.artifacts, f.flaky, attest.NewSigner(f.key), zerolog.Nop())
	}
	fresh()
	f.state(t, attest.Build, file(0))
	f.drain(t)

	server.Kill()
	stop := f.run(t)
	for i := 1; i < 6; i++ {
		f.state(t, attest.Build, file(i))
	}
	f.until(t, "Healthy says that the server is away", func() bool { return errors.Is(f.Healthy(), albs.Unavailable) })
	for i := range 6 {
		f.notarized(t, file(i), false, albs.Unavailable)
	}
	if _, err := f.Evidence(t.Context(), 1, []albs.Digest{file(1).Digest}, 0); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Evidence for a signer: %v, want unavailable", err)
	}
	if n, err := f.Pending(t.Context()); err != nil || n != 5 {
		t.Errorf("Pending = %d, %v, want 5", n, err)
	}
	stop()
	server.Start(t)
	fresh()
	f.drain(t)
	last := uint64(0)
	for i := range 6 {
		f.notarized(t, file(i), true, "")
		_, r, err := f.flaky.Get(t.Context(), statementKey(file(i).Digest, attest.Build, 1))
		if err != nil || r.TxID < last {
			t.Errorf("statement %d is in transaction %d, %v, before that of the one before", i, r.TxID, err)
		}
		last = r.TxID
	}

	server.Kill()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(server.Dir)); err != nil {
		t.Fatal(err)
	}
	damage(t, server.Dir, []byte("hello-3-2"), []byte("hello-9-2")) // in its record
	about, err := statementsAbout(t.Context(), f.d, file(4).Digest)
	if err != nil {
		t.Fatal(err)
	}
	damage(t, server.Dir, []byte(about[0].Envelope), []byte(strings.Replace(about[0].Envelope, "A", "B", 1)))
	server.Start(t)
	fresh()
	f.notarized(t, file(2), true, "")
	f.notarized(t, file(3), false, albs.Internal)
	f.notarized(t, file(4), false, albs.Internal)
	if _, err := f.Bundle(t.Context(), file(4).Digest); !errors.Is(err, albs.Internal) {
		t.Errorf("Bundle of what was changed in the ledger: %v, want internal", err)
	}

	server.Kill()
	if err := errors.Join(os.RemoveAll(server.Dir), os.CopyFS(server.Dir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	server.Start(t)
	fresh()
	f.state(t, attest.Build, file(6))
	f.drain(t)
	server.Kill()
	if err := errors.Join(os.RemoveAll(server.Dir), os.CopyFS(server.Dir, os.DirFS(old))); err != nil {
		t.Fatal(err)
	}
	server.Start(t)
	fresh()
	before, err := f.flaky.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f.state(t, attest.Build, file(7))
	stop = f.run(t)
	f.until(t, "Healthy tells that the server was put back", func() bool { return errors.Is(f.Healthy(), albs.Conflict) })
	stop()
	f.notarized(t, file(0), false, albs.Conflict)
	if after, err := f.flaky.State(t.Context()); err != nil || after != before {
		t.Errorf("the older copy was written to: %+v, %v", after, err)
	}
}

// damage changes bytes in the values of an immudb server that doesn't run.
func damage(t *testing.T, dir string, from, to []byte) {
	t.Helper()
	found := 0
	err := filepath.WalkDir(dir, func(p string, e os.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(p, ".val") {
			return err
		}
		b, err := os.ReadFile(p)
		if err != nil || !bytes.Contains(b, from) {
			return err
		}
		found++
		return os.WriteFile(p, bytes.ReplaceAll(b, from, to), 0o600)
	})
	if err != nil || found == 0 {
		t.Fatalf("%q was found in %d files, %v", from, found, err)
	}
}
