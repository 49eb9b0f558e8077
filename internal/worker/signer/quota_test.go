package signer

import (
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/worker/workertest"
)

func TestRoom(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	var used []time.Time
	for i := range 4 {
		used = append(used, now.Add(time.Duration(i-50)*time.Minute))
	}
	for _, tt := range []struct {
		quota, used, n int
		want           time.Duration // from now; 0 is now
	}{
		{0, 4, 500, 0},
		{5, 4, 1, 0},
		{5, 4, 2, 10 * time.Minute},
		{5, 4, 5, 13 * time.Minute},
		{4, 4, 1, 10 * time.Minute},
		{1, 0, 1, 0},
		{2, 4, 1, 12 * time.Minute}, // it was lowered
		{1, 4, 3, 13 * time.Minute}, // likewise, below what a frozen key waits for
	} {
		got := rule{Quota: tt.quota}.room(used[:tt.used], tt.n)
		want := time.Time{}
		if tt.want != 0 {
			want = now.Add(tt.want)
		}
		if !got.Equal(want) {
			t.Errorf("room of quota %d for %d after %d = %v, want %v", tt.quota, tt.n, tt.used, got, want)
		}
	}
}

func TestProductsOfPolicy(t *testing.T) {
	t.Parallel()
	w := newWorld(t, "demo")
	s := must[*signer](t)(open(t.Context(), w.config, zerolog.Nop()))
	defer s.journal.Close()
	file := s.keys.files()[0]
	for text, want := range map[string]albs.Kind{
		"{}":                             albs.Forbidden,
		"keys: {%s: {}}":                 albs.Forbidden,
		"keys: {%s: {products: [demo]}}": albs.Forbidden,
		"keys: {%s: {products: []}}":     "",
		"keys: {%s: {products: [x]}}":    "",
	} {
		w.policy(t, strings.ReplaceAll(text, "%s", file.Fingerprint))
		r := must[policy](t)(readPolicy(w.config.Dir)).of(file)
		if err := r.asked(file.Fingerprint, albs.SignSpec{Product: "x", Packages: w.files}, time.Now()); albs.KindOf(err) != want {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

// TestQuota has a key's quota used up: the next task is given back and the key is
// neither offered nor used, by the signer that is started anew either, until the hour
// is over.
func TestQuota(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.policy(t, fmt.Sprintf("keys:\n  %s: {quota: 3}\n", w.key.Fingerprint()))
	spec := albs.SignSpec{Key: w.key.Fingerprint(), Product: "demo", Packages: w.files}
	if outcome, r := w.sign(t, spec, w.evidence(t, 0, w.about(t, w.files...)...)); outcome != albs.OutcomeOK {
		t.Fatalf("within the quota: %s, %+v", outcome, r)
	}
	task := workertest.Task{Spec: albs.Spec{Sign: &spec}}
	_, outcome, r := w.run(t, task, w.evidence(t, w.known(t), w.about(t, w.files...)...).Encode())
	if outcome != albs.OutcomeStopped || r.Sign != nil || !strings.Contains(r.Reason, "has used its quota of 3 signatures in an hour and waits until") {
		t.Errorf("beyond the quota: %s, %+v", outcome, r)
	}
	if n := w.intents(t); n != 2 || w.operations != 2 {
		t.Errorf("%d intents and %d uses of the key, want 2", n, w.operations)
	}

	s := must[*signer](t)(open(t.Context(), w.config, zerolog.New(w.log)))
	defer s.journal.Close()
	label := "key:" + w.key.Fingerprint()
	offers := func() bool {
		o := s.offer("test")
		has := strings.Contains(strings.Join(o.Labels, " "), label)
		if has != (o.Pause == "") || !has && !strings.Contains(o.Pause, w.key.Fingerprint()) {
			t.Errorf("the offer is %+v", o)
		}
		return has
	}
	r3 := must[policy](t)(readPolicy(w.config.Dir)).Keys[w.key.Fingerprint()]
	if !offers() {
		t.Error("a key that may make one more signature isn't offered")
	}
	if err := s.quota.take(r3, w.key.Fingerprint(), 2); err == nil || offers() {
		t.Errorf("two more signatures: %v, and the key is offered", err)
	}
	if err := s.quota.take(r3, w.key.Fingerprint(), 1); err != nil {
		t.Errorf("one more signature: %v", err)
	}
	now := time.Now()
	s.journal.now = func() time.Time { return now.Add(quotaTime + time.Minute) }
	if !offers() || len(s.quota.frozen) != 0 || len(s.journal.uses(w.key.Fingerprint())) != 0 {
		t.Error("the key stays frozen after an hour")
	}
	// A policy that can't be understood freezes nothing: the task says what is wrong.
	w.policy(t, "keys: [")
	if !offers() {
		t.Error("nothing is offered by a bad policy")
	}
}

// TestUses reads back when keys were used, but for those made and those long ago.
func TestUses(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "journal.jsonl")
	j, _, err := openJournal(path)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	of := albs.DigestOf([]byte("a"))
	for _, x := range []struct {
		ago time.Duration
		e   entry
	}{
		{2 * time.Hour, entry{Event: intentEvent, What: "package", Key: "A", Of: of}},
		{50 * time.Minute, entry{Event: intentEvent, What: "package", Key: "A", Of: of}},
		{50 * time.Minute, entry{Event: resultEvent, What: "package", Key: "A", Of: of}},
		{40 * time.Minute, entry{Event: intentEvent, What: "document", Key: "A", Of: of}},
		{40 * time.Minute, entry{Event: intentEvent, What: "key", Key: "A"}},
		{30 * time.Minute, entry{Event: intentEvent, What: "package", Key: "B", Of: of}},
	} {
		j.now = func() time.Time { return now.Add(-x.ago) }
		if err := j.add(x.e); err != nil {
			t.Fatal(err)
		}
	}
	j.now = time.Now
	check := func() {
		t.Helper()
		if a, b := j.uses("A"), j.uses("B"); len(a) != 2 || len(b) != 1 || !a[0].Before(a[1]) {
			t.Errorf("uses = %v and %v", a, b)
		}
	}
	check()
	j.Close()
	if j, _, err = openJournal(path); err != nil {
		t.Fatal(err)
	}
	defer j.Close()
	check()
}
