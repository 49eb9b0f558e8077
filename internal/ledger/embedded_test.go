package ledger_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/ledger"
	"albs/internal/ledger/ledgertest"
)

func open(t testing.TB, dir string) *ledger.Embedded {
	t.Helper()
	l, err := ledger.OpenEmbedded(dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}

func TestEmbeddedConforms(t *testing.T) {
	t.Parallel()
	ledgertest.Run(t, func(t *testing.T) (ledger.Ledger, func() ledger.Ledger) {
		dir := t.TempDir()
		return open(t, dir), func() ledger.Ledger { return open(t, dir) }
	})
}

func fill(t *testing.T, l ledger.Ledger, from, to int) {
	t.Helper()
	for i := from; i < to; i++ {
		if _, err := l.Append(t.Context(), []ledger.Entry{{Key: key(i), Value: value(i)}}); err != nil {
			t.Fatal(err)
		}
	}
}

func key(i int) []byte { return []byte(albs.DigestOf(fmt.Append(nil, i))) }
func value(i int) []byte {
	return fmt.Appendf(nil, "value %d %s", i, strings.Repeat(".", i%300))
}

func TestOnlyOneMayHaveItOpen(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	if _, err := ledger.OpenEmbedded(dir); albs.KindOf(err) != albs.Conflict {
		t.Errorf("second OpenEmbedded: %v, want conflict", err)
	}
	cmd := exec.CommandContext(t.Context(), os.Args[0])
	cmd.Env = append(os.Environ(), "LEDGER_TEST_OPEN="+dir)
	if out, err := cmd.CombinedOutput(); err != nil || !strings.Contains(string(out), "kind conflict") {
		t.Errorf("OpenEmbedded in another process: %v, %s", err, out)
	}
	fill(t, l, 0, 1)
}

// TestMain lets the test binary be the process that is killed, or the second one.
func TestMain(m *testing.M) {
	if dir := os.Getenv("LEDGER_TEST_OPEN"); dir != "" {
		_, err := ledger.OpenEmbedded(dir)
		fmt.Println("kind", albs.KindOf(err))
		os.Exit(0)
	}
	if dir := os.Getenv("LEDGER_TEST_WRITE"); dir != "" {
		writeForEver(dir)
	}
	os.Exit(m.Run())
}

// other is the key that comes with key(i) in one Append.
func other(i int) []byte { return append([]byte("att/"), key(i)...) }

// writeForEver appends two entries at a time from eight goroutines and prints what
// is acknowledged.
func writeForEver(dir string) {
	l, err := ledger.OpenEmbedded(dir)
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	s, err := l.State(context.Background())
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	var next atomic.Int64
	next.Store(int64(s.TxID) * 1000)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for {
				i := int(next.Add(1))
				r, err := l.Append(context.Background(), []ledger.Entry{{Key: key(i), Value: value(i)}, {Key: other(i), Value: value(i)}})
				if err != nil {
					fmt.Println(err)
					os.Exit(1)
				}
				mu.Lock()
				fmt.Println("ack", i, r.TxID)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
}

// TestKillLosesNothingAcknowledged kills a writer, three times: what it was told is
// there, and what it wasn't told is there as a whole or not at all.
func TestKillLosesNothingAcknowledged(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	acked := map[int]uint64{}
	var remembered ledger.State
	for round := range 3 {
		cmd := exec.CommandContext(t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), "LEDGER_TEST_WRITE="+dir)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		count := 0
		sc := bufio.NewScanner(out)
		for sc.Scan() {
			var i int
			var tx uint64
			if n, _ := fmt.Sscanf(sc.Text(), "ack %d %d", &i, &tx); n != 2 {
				t.Fatalf("the child says %q", sc.Text())
			}
			acked[i] = tx
			if count++; count == 300 {
				if err := cmd.Process.Kill(); err != nil { // and read on: what is in the pipe was acknowledged
					t.Fatal(err)
				}
			}
		}
		cmd.Wait() // it was killed: the error says so

		l := open(t, dir)
		if err := ledger.Check(t.Context(), l, remembered); err != nil {
			t.Errorf("round %d: %v", round, err)
		}
		if remembered, err = l.State(t.Context()); err != nil {
			t.Fatal(err)
		}
		newest := 0
		for i, tx := range acked {
			newest = max(newest, i)
			v, r, err := l.Get(t.Context(), key(i))
			if err != nil || string(v) != string(value(i)) || r.TxID != tx {
				t.Errorf("round %d: Get(%d) = %q, %+v, %v, want transaction %d", round, i, v, r, err, tx)
			}
			if i%10 != 0 {
				continue
			}
			p, err := l.Prove(t.Context(), key(i), remembered)
			if err != nil {
				t.Errorf("round %d: Prove(%d): %v", round, i, err)
			} else if err := ledger.Verify(p, key(i), value(i), remembered); err != nil {
				t.Errorf("round %d: Verify(%d): %v", round, i, err)
			}
		}
		for i := newest - 20; i < newest+20; i++ { // up to here the writers may have come
			_, r, err := l.Get(t.Context(), key(i))
			_, ro, oerr := l.Get(t.Context(), other(i))
			if r != ro || albs.KindOf(err) != albs.KindOf(oerr) {
				t.Errorf("round %d: of Append %d one entry is in %+v, %v, the other in %+v, %v", round, i, r, err, ro, oerr)
			}
		}
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(acked) < 900 {
		t.Errorf("only %d entries were acknowledged", len(acked))
	}
}

// TestFlippedByteNeverGivesAWrongValue flips a byte at several places of every file
// of a ledger. Each value must then be right or an error, and so must each proof
// against the remembered state.
func TestFlippedByteNeverGivesAWrongValue(t *testing.T) {
	t.Parallel()
	const n = 60
	base := t.TempDir()
	l := open(t, base)
	fill(t, l, 0, n)
	remembered, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	var files []string
	err = filepath.WalkDir(base, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		rel, err := filepath.Rel(base, p)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	noticed := map[string]int{}
	for _, file := range files {
		for _, part := range []float64{0, 0.3, 0.6, 0.999} {
			dir := filepath.Join(t.TempDir(), "copy")
			if err := os.CopyFS(dir, os.DirFS(base)); err != nil {
				t.Fatal(err)
			}
			b, err := os.ReadFile(filepath.Join(dir, file))
			if err != nil {
				t.Fatal(err)
			}
			if len(b) == 0 {
				continue
			}
			at := int(part * float64(len(b)))
			b[at] ^= 0x41
			if err := os.WriteFile(filepath.Join(dir, file), b, 0o640); err != nil {
				t.Fatal(err)
			}
			if err := examine(t, dir, n, remembered); err != nil {
				noticed[strings.SplitN(file, string(filepath.Separator), 3)[1]]++
				t.Logf("%s byte %d: %v", file, at, err)
			}
		}
	}
	for _, must := range []string{"ledger.json", "store"} {
		if noticed[must] == 0 {
			t.Errorf("no damage to %s was noticed", must)
		}
	}
}

// examine reports wrong values to t, and returns the first error that the ledger
// gave by itself.
func examine(t *testing.T, dir string, n int, remembered ledger.State) (noticed error) {
	t.Helper()
	l, err := ledger.OpenEmbedded(dir)
	if err != nil {
		return err
	}
	defer func() {
		if err := l.Close(); noticed == nil {
			noticed = err
		}
	}()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	note := func(err error) {
		if noticed == nil {
			noticed = err
		}
		if errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("a call on the damaged ledger doesn't end: %v", err)
		}
	}
	if err := ledger.Check(ctx, l, remembered); err != nil {
		note(err)
	}
	for i := range n {
		v, _, err := l.Get(ctx, key(i))
		if err != nil {
			note(err)
		} else if string(v) != string(value(i)) {
			t.Errorf("Get(%d) = %q, a wrong value", i, v)
		}
		if p, err := l.Prove(ctx, key(i), remembered); err != nil {
			note(err)
		} else if err := ledger.Verify(p, key(i), value(i), remembered); err != nil {
			t.Errorf("Prove(%d) gave a proof that doesn't verify: %v", i, err)
		}
	}
	return noticed
}

// TestForgedEntry changes, under an open ledger, a value together with the hash that
// its transaction's log has of it. Only the transaction's own hash can tell, so Get
// has to ask for it.
func TestForgedEntry(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := open(t, dir)
	fill(t, l, 0, 100) // more transactions than are cached
	if v, _, err := l.Get(t.Context(), key(99)); err != nil || !bytes.Equal(v, value(99)) {
		t.Fatalf("Get before = %q, %v", v, err)
	}
	right := value(2)
	wrong := bytes.Replace(right, []byte("value 2"), []byte("value 7"), 1)
	of := func(v []byte) []byte { h := sha256.Sum256(v); return h[:] }
	forged := map[string]int{}
	err := filepath.WalkDir(dir, func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		f, err := os.OpenFile(p, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		defer f.Close()
		b, err := io.ReadAll(f)
		if err != nil {
			return err
		}
		for _, change := range [][2][]byte{{right, wrong}, {of(right), of(wrong)}} {
			if at := bytes.Index(b, change[0]); at >= 0 {
				forged[filepath.Ext(p)]++
				if _, err := f.WriteAt(change[1], int64(at)); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if forged[".val"] != 1 || forged[".tx"] != 1 {
		t.Fatalf("the value and its hash were found in %v, want once in the values' and once in the transactions' log", forged)
	}
	if v, _, err := l.Get(t.Context(), key(2)); albs.KindOf(err) != albs.Internal {
		t.Errorf("Get of a forged entry = %q, %v, want internal", v, err)
	}
	if v, _, err := l.Get(t.Context(), key(3)); err != nil || !bytes.Equal(v, value(3)) {
		t.Errorf("Get of the entry beside it = %q, %v", v, err)
	}
}

func TestOlderCopyIsNoticed(t *testing.T) {
	t.Parallel()
	dir, old := t.TempDir(), filepath.Join(t.TempDir(), "old")
	l := open(t, dir)
	fill(t, l, 0, 20)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(old, os.DirFS(dir)); err != nil {
		t.Fatal(err)
	}
	l = open(t, dir)
	fill(t, l, 20, 30)
	remembered, err := l.State(t.Context())
	if err != nil {
		t.Fatal(err)
	}

	back := open(t, old)
	if err := ledger.Check(t.Context(), back, remembered); albs.KindOf(err) != albs.Conflict {
		t.Errorf("Check of an older copy: %v, want conflict", err)
	}
	fill(t, back, 1000, 1020) // another history, as long and longer
	if err := ledger.Check(t.Context(), back, remembered); albs.KindOf(err) != albs.Conflict {
		t.Errorf("Check of a fork: %v, want conflict", err)
	}
	if _, err := back.Prove(t.Context(), key(0), remembered); albs.KindOf(err) != albs.Conflict {
		t.Errorf("Prove of a fork up to the remembered state: %v, want conflict", err)
	}
}

func TestStoresOfTwoLedgersDontMix(t *testing.T) {
	t.Parallel()
	a, b := t.TempDir(), t.TempDir()
	for _, dir := range []string{a, b} {
		if err := open(t, dir).Close(); err != nil {
			t.Fatal(err)
		}
	}
	desc, err := os.ReadFile(filepath.Join(a, "ledger", "ledger.json"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(b, "ledger", "ledger.json"), desc, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenEmbedded(b); albs.KindOf(err) != albs.Internal {
		t.Errorf("OpenEmbedded with another's ledger.json: %v, want internal", err)
	}
	if err := os.Remove(filepath.Join(b, "ledger", "ledger.json")); err != nil {
		t.Fatal(err)
	}
	if _, err := ledger.OpenEmbedded(b); albs.KindOf(err) != albs.Internal {
		t.Errorf("OpenEmbedded without ledger.json: %v, want internal", err)
	}
}

// BenchmarkAppend writes statements as the outbox does: two entries in each Append,
// 512 bytes and 1.5 KiB, from many goroutines.
func BenchmarkAppend(b *testing.B) {
	l := open(b, b.TempDir())
	var next atomic.Int64
	record, statement := make([]byte, 512), make([]byte, 1536)
	b.SetParallelism(256 / runtime.GOMAXPROCS(0))
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			k := key(int(next.Add(1)))
			_, err := l.Append(b.Context(), []ledger.Entry{{Key: k, Value: record}, {Key: append([]byte("att/"), k...), Value: statement}})
			if err != nil {
				b.Fatal(err)
			}
		}
	})
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "statements/s")
}

// BenchmarkProve makes and verifies one proof.
func BenchmarkProve(b *testing.B) {
	l := open(b, b.TempDir())
	for i := range 1000 {
		if _, err := l.Append(b.Context(), []ledger.Entry{{Key: key(i), Value: value(i)}}); err != nil {
			b.Fatal(err)
		}
	}
	at, err := l.State(b.Context())
	if err != nil {
		b.Fatal(err)
	}
	for i := 0; b.Loop(); i++ {
		p, err := l.Prove(b.Context(), key(i%1000), at)
		if err != nil {
			b.Fatal(err)
		}
		if err := ledger.Verify(p, key(i%1000), value(i%1000), at); err != nil {
			b.Fatal(err)
		}
	}
}
