package signer

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/pgp"
	"albs/internal/worker/workertest"
)

// entries are the lines of the world's journal.
func (w *world) entries(t *testing.T) []entry {
	t.Helper()
	var out []entry
	for s := bufio.NewScanner(strings.NewReader(w.journal(t))); s.Scan(); {
		var e entry
		if err := json.Unmarshal(s.Bytes(), &e); err != nil {
			t.Fatal(err)
		}
		out = append(out, e)
	}
	return out
}

// TestSameSignatureAgain has an attempt end between the signature and its report: the
// next one makes the very same, seconds later and as another process.
func TestSameSignatureAgain(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	script := filepath.Join(t.TempDir(), "bwrap")
	write(t, script, "#!/bin/sh\nexit 1\n", 0o700)
	w.engines = &engines{bwrap: script, rpmkeys: "rpmkeys", gpgv: "gpgv"}
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files}
	id, outcome, r := w.run(t, workertest.Task{Spec: albs.Spec{Sign: &spec}}, w.evidence(t, 0, w.about(t, w.files...)...).Encode())
	if outcome != albs.OutcomeInfra {
		t.Fatalf("the first attempt ended as %s: %+v", outcome, r)
	}
	for first := time.Now().Unix(); time.Now().Unix() <= first; { // signatures count seconds
		time.Sleep(10 * time.Millisecond)
	}
	w.engines = nil
	// The first signer may have begun another attempt before it was shut down.
	for n, stopped := 2, true; stopped; n++ {
		outcome, r = w.attempt(t, id, n)
		stopped = n == 2 && outcome == albs.OutcomeStopped
	}
	if outcome != albs.OutcomeOK {
		t.Fatalf("the second attempt ended as %s: %+v", outcome, r)
	}
	signatures := map[albs.Digest]map[albs.Digest]int{}
	for _, e := range w.entries(t) {
		if e.Event != resultEvent || e.Signature == "" {
			continue
		}
		if signatures[e.Of] == nil {
			signatures[e.Of] = map[albs.Digest]int{}
		}
		signatures[e.Of][e.Signature]++
	}
	for i, f := range w.files {
		sig := r.Sign.Signatures[i].Bytes
		if got := signatures[f.Digest]; len(got) != 1 || got[albs.DigestOf(sig)] != 2 {
			t.Errorf("the signatures of %s are %v, want %s twice", f.Name, got, albs.DigestOf(sig))
		}
		if at := must[pgp.Signature](t)(pgp.ParseSignature(sig)).At; at.After(time.Now()) || time.Since(at) > time.Minute {
			t.Errorf("the signature is dated %v", at)
		}
	}
}

// TestReconcile gives each intent that a killed signer left its result, once.
func TestReconcile(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.New(w.log)))
	of := albs.DigestOf([]byte("a"))
	dated := time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC)
	es := []entry{
		{Event: intentEvent, What: "package", Task: 7, Attempt: 1, Key: "K", Of: of, Name: "a", Dated: dated},
		{Event: intentEvent, What: "package", Task: 7, Attempt: 2, Key: "K", Of: of, Name: "a", Dated: dated.Add(time.Hour)},
		{Event: intentEvent, What: "package", Task: 7, Attempt: 2, Key: "other", Of: of, Name: "a", Dated: dated.Add(time.Hour)},
		{Event: intentEvent, What: "package", Task: 71, Attempt: 1, Key: "K", Of: of, Name: "a", Dated: dated.Add(time.Hour)},
	}
	if err := s.journal.add(es...); err != nil {
		t.Fatal(err)
	}
	s.journal.Close()
	var before int
	for range 2 {
		s = must[*signer](t)(open(t.Context(), w.config, zerolog.New(w.log)))
		if got, err := s.journal.dates(7, "K"); err != nil || len(got) != 1 || !got[of].Equal(dated) {
			t.Errorf("dates = %v, %v; want the first attempt's", got, err)
		}
		s.journal.Close()
		orphans := 0
		for _, e := range w.entries(t) {
			if e.Event == resultEvent && strings.HasPrefix(e.Error, "orphaned") {
				orphans++
			}
		}
		if orphans != len(es) {
			t.Errorf("%d orphaned results, want %d", orphans, len(es))
		}
		journal := must[[]byte](t)(os.ReadFile(filepath.Join(w.config.Dir, "journal.jsonl")))
		if before != 0 && before != bytes.Count(journal, []byte("\n")) {
			t.Error("a second start adds to the journal")
		}
		before = bytes.Count(journal, []byte("\n"))
	}
	if n := strings.Count(w.log.String(), "a signature may exist that nobody has"); n != len(es) {
		t.Errorf("it is said %d times, want %d", n, len(es))
	}
}
