package delivery

import (
	"slices"
	"testing"
	"time"

	"github.com/rs/zerolog"

	"albs/internal/advisory"
	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/master/auth"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/errata/matching"
	"albs/internal/master/face/facetest"
	"albs/internal/master/mastertest"
)

// TestWaiting: of more advisories than a release takes, those that are ready are in it.
func TestWaiting(t *testing.T) {
	t.Parallel()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	out, err := egress.New(egress.Policy{})
	must(err)
	m := facetest.Open(t, dbtest.Open(t, dbtest.SQLite(t)), out, zerolog.Nop())
	ctx := auth.With(t.Context(), auth.Actor{Kind: auth.KindPerson, User: 1, Name: "olga", Grants: []auth.Grant{{Role: auth.Admin}}})
	_, err = m.Platforms.Apply(ctx, mastertest.Errata(mastertest.Platform("el9", albs.X8664), "core"))
	must(err)
	mastertest.Run(t, m.Events.Run)
	mastertest.Run(t, m.Matching.Run)
	at := time.Date(2026, 2, 3, 0, 0, 0, 0, time.UTC)
	var last errata.Record
	for _, id := range []string{"ALSA-2026:1", "ALSA-2026:2", "ALSA-2026:3"} {
		last, err = m.Errata.Create(ctx, advisory.Advisory{ID: id, Platform: "el9", Title: "a fix", Description: "It was wrong.", Issued: at}, errata.CreateOptions{})
		must(err)
	}
	// One that was public and is taken back waits for nothing but a release.
	must(m.DB.InTx(ctx, func(tx db.Tx) error {
		if err := m.Errata.Begin(ctx, tx, []errata.Key{last.Key}, 1); err != nil {
			return err
		}
		return m.Errata.Publish(ctx, tx, []advisory.Advisory{last.Advisory}, "demo", 1)
	}))
	_, err = m.Errata.Withdraw(ctx, last.Key, "it was no bug")
	must(err)
	for end := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		ready, _, err := m.Matching.Queue(ctx, matching.Filter{Stage: matching.Ready})
		must(err)
		if len(ready) == 1 && ready[0].Key == last.Key {
			break
		}
		if time.Now().After(end) {
			t.Fatalf("after a minute %v are ready", ready)
		}
	}
	s := &Resources{Parts: Parts{Platforms: m.Platforms, Errata: m.Errata, Matching: m.Matching}}
	for n, want := range map[int][]string{1: {"ALSA-2026:3/el9"}, 2: {"ALSA-2026:3/el9", "ALSA-2026:1/el9"}, 9: {"ALSA-2026:3/el9", "ALSA-2026:1/el9", "ALSA-2026:2/el9"}} {
		all, err := s.waiting(ctx, "el9", n)
		must(err)
		var got []string
		for _, w := range all {
			if !w.Optional {
				t.Errorf("%s must be in the release", w.Name)
			}
			got = append(got, w.Name)
		}
		if !slices.Equal(got, want) {
			t.Errorf("of %d: %v, want %v", n, got, want)
		}
	}
	if _, err := s.waiting(ctx, "el7", 1); albs.KindOf(err) != albs.NotFound {
		t.Errorf("of an unknown platform: %v", err)
	}
}
