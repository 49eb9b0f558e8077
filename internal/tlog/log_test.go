package tlog

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	fnote "github.com/transparency-dev/formats/note"
	mproof "github.com/transparency-dev/merkle/proof"
	"github.com/transparency-dev/merkle/rfc6962"
	"golang.org/x/mod/sumdb/note"

	"albs/internal/albs"
)

// place is a log's folder and key.
type place struct {
	Config
	vkey string
}

func newPlace(t testing.TB, origin string) place {
	t.Helper()
	dir := t.TempDir()
	c := Config{Dir: filepath.Join(dir, "log"), Key: filepath.Join(dir, "log.key"), Interval: 100 * time.Millisecond}
	vkey, err := LoadOrCreateKey(c.Key, origin)
	if err != nil {
		t.Fatal(err)
	}
	return place{c, vkey}
}

func (p place) open(t testing.TB, before Checkpoint) *Log {
	t.Helper()
	l, err := Open(t.Context(), p.Config, before)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	return l
}

// bounded ends long after anything that goes well has.
func bounded(t testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	t.Cleanup(cancel)
	return ctx
}

func leaves(from, to int) (out [][]byte) {
	for i := from; i < to; i++ {
		out = append(out, testLeaf(i).Encode())
	}
	return out
}

// publish appends leaves and returns the checkpoint that tells of them.
func publish(t testing.TB, l *Log, leaves ...[]byte) Checkpoint {
	t.Helper()
	ctx := bounded(t)
	indexes, err := l.Append(ctx, leaves...)
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Published(ctx, indexes[len(indexes)-1]+1)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestLog(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "log.example/one")
	l := p.open(t, Checkpoint{})
	if _, err := Open(t.Context(), p.Config, Checkpoint{}); !errors.Is(err, albs.Conflict) {
		t.Errorf("a second Open: %v, want Conflict", err)
	}
	first := publish(t, l, leaves(0, 3)...)
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	l = p.open(t, first)
	second := publish(t, l, leaves(3, 300)...)
	if second.Size != 300 || second.Origin != "log.example/one" {
		t.Fatalf("the checkpoint is %+v, want 300 leaves", second)
	}
	if err := l.Continues(t.Context(), first, second); err != nil {
		t.Error(err)
	}
	proofs, err := l.Proofs(t.Context(), second, 0, 2, 299)
	if err != nil {
		t.Fatal(err)
	}
	for i, n := range []int{0, 2, 299} {
		in, err := Verify(proofs[i], testLeaf(n).Encode(), Policy{Logs: []string{p.vkey}})
		if want := (Inclusion{"log.example/one", uint64(n), 300, 0}); err != nil || in != want {
			t.Errorf("leaf %d: %+v, %v, want %+v", n, in, err, want)
		}
	}
	n := 0
	err = l.Entries(t.Context(), 1, 300, func(i uint64, leaf []byte) error {
		n++
		if string(leaf) != string(testLeaf(int(i)).Encode()) {
			t.Errorf("leaf %d is %q", i, leaf)
		}
		return nil
	})
	if err != nil || n != 299 {
		t.Errorf("%d leaves were read, %v, want 299", n, err)
	}
	if err := l.Check(t.Context(), p.vkey); err != nil {
		t.Error(err)
	}
	// What everybody gets of the folder is the log, and not what it keeps beside it.
	err = filepath.WalkDir(p.Dir, func(path string, e os.DirEntry, err error) error {
		name, _ := filepath.Rel(p.Dir, path)
		if public, _ := Public(name); err == nil && !e.IsDir() && public == strings.HasPrefix(name, ".") {
			t.Errorf("%s is public: %v", name, public)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
	if b, err := os.ReadFile(filepath.Join(p.Dir, vkeyFile)); err != nil || string(b) != p.vkey+"\n" {
		t.Errorf("log.vkey is %q, %v", b, err)
	}
}

func TestPublic(t *testing.T) {
	t.Parallel()
	for name, want := range map[string][2]bool{
		"checkpoint": {true, false}, "log.vkey": {true, false}, "tile/0/000": {true, true}, "tile/entries/000.p/12": {true, false},
		"tile/1/x001/002": {true, true}, ".state/treeState": {}, "tile/0/000123": {}, "tile/0/../../key": {}, "": {}, "tile/entries/x001/../000": {},
	} {
		if public, fixed := Public(name); [2]bool{public, fixed} != want {
			t.Errorf("Public(%q) = %v, %v, want %v", name, public, fixed, want)
		}
	}
}

// TestClose waits for what is being appended, though nobody else does any more.
func TestClose(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "log.example/one")
	l := p.open(t, Checkpoint{})
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := l.Append(gone, leaves(0, 3)...); err != nil && !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	if c := mustCheckpoint(t, p); c.Size != 3 {
		t.Errorf("%d leaves are published, want 3", c.Size)
	}
	if _, err := l.Append(t.Context(), leaves(3, 4)...); !errors.Is(err, albs.Unavailable) {
		t.Errorf("Append to a closed log: %v, want Unavailable", err)
	}
}

// TestPutBack: a log that lost leaves that were published, or has others, tells no
// second story.
func TestPutBack(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "log.example/one")
	l := p.open(t, Checkpoint{})
	publish(t, l, leaves(0, 3)...)
	_ = l.Close()
	old := filepath.Join(t.TempDir(), "old")
	if err := os.CopyFS(old, os.DirFS(p.Dir)); err != nil {
		t.Fatal(err)
	}
	l = p.open(t, Checkpoint{})
	c := publish(t, l, leaves(3, 5)...)
	_ = l.Close()

	back := p
	back.Dir = old
	other := p
	other.Dir = filepath.Join(t.TempDir(), "other")
	x := other.open(t, Checkpoint{})
	publish(t, x, leaves(10, 17)...)
	_ = x.Close()
	empty := p
	empty.Dir = filepath.Join(t.TempDir(), "empty")
	// Of what was published of it, a log knows by itself.
	half := p
	half.Dir = filepath.Join(t.TempDir(), "half")
	if err := os.CopyFS(half.Dir, os.DirFS(old)); err != nil {
		t.Fatal(err)
	}
	newer, err := os.ReadFile(filepath.Join(p.Dir, "checkpoint"))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(half.Dir, "checkpoint"), newer, 0o644); err != nil {
		t.Fatal(err)
	}
	for name, tt := range map[string]struct {
		place
		before Checkpoint
	}{"put back": {back, c}, "another": {other, c}, "empty": {empty, c}, "half put back": {half, Checkpoint{}}} {
		l, err := Open(t.Context(), tt.Config, tt.before)
		if !errors.Is(err, albs.Conflict) {
			t.Errorf("%s: Open = %v, want Conflict", name, err)
			if err == nil {
				_ = l.Close()
			}
		}
	}
	l = p.open(t, c)
	if err := l.Check(t.Context(), p.vkey); err != nil {
		t.Error(err)
	}
	if err := Read(other.Dir).Continues(t.Context(), c, mustCheckpoint(t, other)); !errors.Is(err, albs.Conflict) {
		t.Errorf("another log continues this one: %v, want Conflict", err)
	}
}

func mustCheckpoint(t *testing.T, p place) Checkpoint {
	t.Helper()
	c, err := Read(p.Dir).Checkpoint(p.vkey)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestKey(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "log.key")
	vkey, err := LoadOrCreateKey(path, "log.example/one")
	if err != nil {
		t.Fatal(err)
	}
	if err := (Policy{Logs: []string{vkey}}).Check(); err != nil {
		t.Error(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v, want mode 0600", fi, err)
	}
	if again, err := LoadOrCreateKey(path, "log.example/one"); err != nil || again != vkey {
		t.Errorf("the key again: %q, %v, want %q", again, err, vkey)
	}
	if _, err := LoadOrCreateKey(path, "log.example/two"); !errors.Is(err, albs.Invalid) {
		t.Errorf("the key of another origin: %v, want Invalid", err)
	}
	if err := os.Chmod(path, 0o640); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path, "log.example/one"); !errors.Is(err, albs.Forbidden) {
		t.Errorf("a key that others may read: %v, want Forbidden", err)
	}
	if err := os.WriteFile(path, []byte("no key"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := LoadOrCreateKey(path, "log.example/one"); !errors.Is(err, albs.Invalid) {
		t.Errorf("no key: %v, want Invalid", err)
	}
	for _, origin := range []string{"", "a b", "a+b", "ä", strings.Repeat("x", 201)} {
		if _, err := LoadOrCreateKey(path+"2", origin); !errors.Is(err, albs.Invalid) {
			t.Errorf("origin %q: %v, want Invalid", origin, err)
		}
	}
}

// witness is a c2sp.org/tlog-witness: it remembers what it cosigned last of a log and
// cosigns only what continues that.
type witness struct {
	skey string
	log  note.Verifier

	mu   sync.Mutex
	last Checkpoint
	away bool
}

func newTestWitness(t *testing.T, name, logKey string) (*witness, Witness) {
	t.Helper()
	skey, vkey := newWitness(t, name)
	v, err := note.NewVerifier(logKey)
	if err != nil {
		t.Fatal(err)
	}
	w := &witness{skey: skey, log: v}
	s := httptest.NewServer(w)
	t.Cleanup(s.Close)
	return w, Witness{URL: s.URL, Key: vkey}
}

func (w *witness) setAway(away bool) { w.mu.Lock(); defer w.mu.Unlock(); w.away = away }

func (w *witness) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.away {
		http.Error(rw, "away", http.StatusServiceUnavailable)
		return
	}
	b, _ := io.ReadAll(r.Body)
	head, cp, ok := strings.Cut(string(b), "\n\n")
	lines := strings.Split(head, "\n")
	old, err := strconv.ParseUint(strings.TrimPrefix(lines[0], "old "), 10, 64)
	if r.URL.Path != "/add-checkpoint" || !ok || err != nil {
		http.Error(rw, "bad", http.StatusBadRequest)
		return
	}
	c, err := keys{logs: []note.Verifier{w.log}}.checkpoint([]byte(cp))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusForbidden)
		return
	}
	if old != w.last.Size {
		rw.Header().Set("Content-Type", "text/x.tlog.size")
		rw.WriteHeader(http.StatusConflict)
		fmt.Fprintf(rw, "%d\n", w.last.Size)
		return
	}
	var proof [][]byte
	for _, l := range lines[1:] {
		h, _ := base64.StdEncoding.DecodeString(l)
		proof = append(proof, h)
	}
	root := w.last.Root.Bytes()
	if old == 0 {
		root = rfc6962.DefaultHasher.EmptyRoot()
	}
	if err := mproof.VerifyConsistency(rfc6962.DefaultHasher, old, c.Size, proof, root, c.Hash); err != nil {
		http.Error(rw, "the log forked: "+err.Error(), http.StatusUnprocessableEntity)
		return
	}
	w.last = Checkpoint{Size: c.Size, Root: albs.Digest(fmt.Sprintf("%x", c.Hash))}
	s, err := fnote.NewSignerForCosignatureV1(w.skey)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	n, err := note.Open([]byte(cp), note.VerifierList(w.log))
	if err != nil {
		http.Error(rw, err.Error(), http.StatusForbidden)
		return
	}
	signed, err := note.Sign(&note.Note{Text: n.Text}, s)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	_, sig, _ := strings.Cut(string(signed), "\n\n")
	fmt.Fprint(rw, sig)
}

// TestWitnesses publishes nothing that the quorum hasn't cosigned.
func TestWitnesses(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "log.example/one")
	policy := Policy{Logs: []string{p.vkey}, Quorum: 2}
	var ws []*witness
	for i := range 3 {
		w, c := newTestWitness(t, fmt.Sprintf("w%d.example", i), p.vkey)
		ws, p.Witnesses, policy.Witnesses = append(ws, w), append(p.Witnesses, c), append(policy.Witnesses, c.Key)
	}
	p.Quorum = 2
	ws[0].setAway(true)
	l := p.open(t, Checkpoint{})
	c := publish(t, l, leaves(0, 4)...)
	proofs, err := l.Proofs(t.Context(), c, 1)
	if err != nil {
		t.Fatal(err)
	}
	if in, err := Verify(proofs[0], testLeaf(1).Encode(), policy); err != nil || in.Witnesses != 2 {
		t.Errorf("with two of three witnesses: %+v, %v", in, err)
	}
	ws[1].setAway(true)
	if _, err := l.Append(bounded(t), leaves(4, 5)...); err != nil {
		t.Fatal(err)
	}
	short, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	if c, err := l.Published(short, 5); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("with one of three witnesses %+v was published, %v", c, err)
	}
	ws[1].setAway(false)
	if _, err := l.Published(bounded(t), 5); err != nil {
		t.Errorf("with two of three again: %v", err)
	}
}

// TestNoQuorum publishes what nobody cosigns, if nobody has to.
func TestNoQuorum(t *testing.T) {
	t.Parallel()
	p := newPlace(t, "log.example/one")
	w, c := newTestWitness(t, "w.example", p.vkey)
	p.Witnesses = []Witness{c}
	w.setAway(true)
	publish(t, p.open(t, Checkpoint{}), leaves(0, 1)...)
}

// TestFork: a witness that was told one story cosigns no other; nothing is published
// then, and what was said is evidence.
func TestFork(t *testing.T) {
	t.Parallel()
	one := newPlace(t, "log.example/one")
	two := one
	two.Dir = filepath.Join(t.TempDir(), "fork")
	var mu sync.Mutex
	var refusals []Refusal
	_, w := newTestWitness(t, "w.example", one.vkey)
	one.Witnesses, one.Quorum = []Witness{w}, 1
	two.Witnesses, two.Quorum = []Witness{w}, 1
	two.Refused = func(r Refusal) { mu.Lock(); defer mu.Unlock(); refusals = append(refusals, r) }

	// A log's first checkpoint, of no leaf, is the same in both stories.
	l, fork := one.open(t, Checkpoint{}), two.open(t, Checkpoint{})
	publish(t, l, leaves(0, 4)...)
	if _, err := fork.Append(bounded(t), leaves(10, 15)...); err != nil {
		t.Fatal(err)
	}
	ctx := bounded(t)
	for {
		mu.Lock()
		n := len(refusals)
		mu.Unlock()
		if n > 1 {
			break
		}
		select {
		case <-ctx.Done():
			t.Fatal("the witness refused nothing")
		case <-time.After(20 * time.Millisecond):
		}
	}
	if c, err := fork.Checkpoint(two.vkey); err != nil || c.Size != 0 {
		t.Errorf("the fork published %+v, %v", c, err)
	}
	mu.Lock()
	defer mu.Unlock()
	r := refusals[0]
	if r.Status != http.StatusUnprocessableEntity || !strings.Contains(string(r.Evidence()), "log.example/one\n5\n") || !strings.Contains(r.String(), "forked") {
		t.Errorf("the evidence is\n%s", r.Evidence())
	}
	if refusals[1].Digest() != r.Digest() {
		t.Error("the same refusal has two names")
	}
	// One that is put back below what the witness has seen is refused as well.
	if !refuses(&http.Response{StatusCode: 409, Header: http.Header{"Content-Type": {"text/x.tlog.size"}}}, []byte("old 3\n\nx\n5\nroot\n"), []byte("7\n")) {
		t.Error("a witness that has seen more than there is refuses nothing")
	}
}

// TestShards: a log that is begun anew has another key, and what was proven by the old
// one stays proven.
func TestShards(t *testing.T) {
	t.Parallel()
	var policy Policy
	var proofs [][]byte
	for _, origin := range []string{"log.example/2025", "log.example/2026"} {
		p := newPlace(t, origin)
		l := p.open(t, Checkpoint{})
		c := publish(t, l, leaves(0, 2)...)
		got, err := l.Proofs(t.Context(), c, 1)
		if err != nil {
			t.Fatal(err)
		}
		policy.Logs, proofs = append(policy.Logs, p.vkey), append(proofs, got[0])
	}
	for i, proof := range proofs {
		for j, k := range policy.Logs {
			_, err := Verify(proof, testLeaf(1).Encode(), Policy{Logs: []string{k}})
			if (err == nil) != (i == j) {
				t.Errorf("the proof of log %d by the key of %d: %v", i, j, err)
			}
		}
		if _, err := Verify(proof, testLeaf(1).Encode(), policy); err != nil {
			t.Errorf("the proof of log %d by both keys: %v", i, err)
		}
	}
}

// TestKilled kills a process that appends, time and again at another moment. What it
// was told is in the log stays there, and every checkpoint continues the one before.
func TestKilled(t *testing.T) {
	rounds := 30
	if testing.Short() {
		rounds = 8
		t.Log("-short: 8 rounds instead of 30; ALBS_TLOG_KILLS sets another number")
	}
	if s := os.Getenv("ALBS_TLOG_KILLS"); s != "" {
		n, err := strconv.Atoi(s)
		if err != nil {
			t.Fatal(err)
		}
		rounds = n
	}
	p := newPlace(t, "log.example/one")
	said := filepath.Join(t.TempDir(), "said")
	told := map[uint64]string{}
	var last Checkpoint
	for round := range rounds {
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestAppender$")
		cmd.Env = append(os.Environ(), "ALBS_TLOG_APPENDER="+p.Dir, "ALBS_TLOG_KEY="+p.Key, "ALBS_TLOG_SAID="+said, "ALBS_TLOG_ROUND="+strconv.Itoa(round))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		// It has said something; then it dies a little later each time.
		for deadline := time.Now().Add(time.Minute); ; {
			if fi, err := os.Stat(said); err == nil && fi.Size() > 0 {
				break
			}
			if time.Now().After(deadline) {
				t.Fatal("the appender said nothing")
			}
			time.Sleep(time.Millisecond)
		}
		time.Sleep(time.Duration(round*37%211) * time.Millisecond)
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		b, err := os.ReadFile(said)
		if err != nil {
			t.Fatal(err)
		}
		_ = os.Remove(said)
		for line := range strings.Lines(string(b)) {
			if !strings.HasSuffix(line, "\n") {
				continue // cut by the kill
			}
			index, nevra, _ := strings.Cut(strings.TrimSpace(line), " ")
			i, err := strconv.ParseUint(index, 10, 64)
			if err != nil {
				t.Fatalf("the appender said %q", line)
			}
			if was, ok := told[i]; ok {
				t.Fatalf("index %d was given to %s and to %s", i, was, nevra)
			}
			told[i] = nevra
		}
		l, err := Open(t.Context(), p.Config, last)
		if err != nil {
			t.Fatal(err)
		}
		size, err := l.Size(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		now, err := l.Published(bounded(t), size)
		if err != nil {
			t.Fatal(err)
		}
		if err := l.Continues(t.Context(), last, now); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		if err := l.Check(t.Context(), p.vkey); err != nil {
			t.Fatalf("round %d: %v", round, err)
		}
		last = now
		if err := l.Close(); err != nil {
			t.Fatal(err)
		}
	}
	if len(told) < rounds {
		t.Fatalf("only %d leaves were acknowledged in %d rounds", len(told), rounds)
	}
	err := Read(p.Dir).Entries(t.Context(), 0, last.Size, func(i uint64, leaf []byte) error {
		got, err := ParseLeaf(leaf)
		if want, ok := told[i]; ok && got.NEVRA != want {
			t.Errorf("leaf %d is of %s, and was acknowledged as that of %s", i, got.NEVRA, want)
		}
		delete(told, i)
		return err
	})
	if err != nil || len(told) > 0 {
		t.Errorf("%d leaves that were acknowledged are gone, %v", len(told), err)
	}
	t.Logf("%d rounds, %d leaves", rounds, last.Size)
}

// TestAppender is the process that TestKilled kills.
func TestAppender(t *testing.T) {
	dir := os.Getenv("ALBS_TLOG_APPENDER")
	if dir == "" {
		return // it is nobody's child
	}
	l, err := Open(t.Context(), Config{Dir: dir, Key: os.Getenv("ALBS_TLOG_KEY"), Interval: 100 * time.Millisecond}, Checkpoint{})
	if err != nil {
		t.Fatal(err)
	}
	said, err := os.OpenFile(os.Getenv("ALBS_TLOG_SAID"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	for n := 0; ; n++ {
		var batch [][]byte
		var names []string
		for i := range 7 {
			leaf := testLeaf(n*7 + i)
			leaf.NEVRA = fmt.Sprintf("%s-%d-%d", os.Getenv("ALBS_TLOG_ROUND"), n, i)
			batch, names = append(batch, leaf.Encode()), append(names, leaf.NEVRA)
		}
		indexes, err := l.Append(t.Context(), batch...)
		if err != nil {
			t.Fatal(err)
		}
		for i, index := range indexes {
			if _, err := fmt.Fprintf(said, "%d %s\n", index, names[i]); err != nil {
				t.Fatal(err)
			}
		}
	}
}
