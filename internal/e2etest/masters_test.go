package e2etest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// TestTwoMasters has two masters share database, blobs and ledger, each with a node and
// a tester of its own, and kills each in turn in the middle of a build. What the one had
// begun the other ends.
func TestTwoMasters(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("two builds by two masters take a minute; this is for the long tests")
	}
	s := newSite(t)
	s.goOutside()
	s.lease = shortLease
	s.found()
	who := ordinary(t)

	// The masters state with one key.
	other := s.data("second", who)
	if err := os.Mkdir(filepath.Join(other, "master"), 0o700); err != nil {
		t.Fatal(err)
	}
	key := read(t, filepath.Join(s.dir, "master/master/master.key"))
	if err := os.WriteFile(filepath.Join(other, "master/master.key"), []byte(key), 0o600); err != nil {
		t.Fatal(err)
	}
	who.ownAll(t, other)

	type place struct{ name, listen, url string }
	places := []place{{"master", s.listen, s.url}}
	second := freeAddress(t)
	places = append(places, place{"second", second, "http://" + second})
	serve := func(p place) {
		s.listen, s.url = p.listen, p.url
		s.serve(p.name, who, []string{"master"}, nil)
	}
	serve(places[1])
	for i, p := range places {
		s.roleAt(fmt.Sprint("node-", i), "node", p.url)
		s.roleAt(fmt.Sprint("tester-", i), "tester", p.url)
	}
	for round := range 2 {
		dies, lives := places[round], places[1-round]
		s.listen, s.url = lives.listen, lives.url
		var err error
		if s.api, err = client.New(s.url, s.alice, nil); err != nil {
			t.Fatal(err)
		}
		name := fmt.Sprint("shared-", round)
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, slow)))
		s.until(2*time.Minute, "the package is being built", func() bool { return s.leased(b) })
		s.proc(dies.name).kill()
		s.built(b)
		s.one(b, name, anyAttempt)
		serve(dies)
	}
	s.audit()
	s.check("master", "")
}

// leased reports whether a build's build task is under way.
func (s *site) leased(build string) bool {
	s.t.Helper()
	b, err := s.api.Build(s.t.Context(), s.number(build))
	if err != nil {
		s.t.Fatal(err)
	}
	return slices.ContainsFunc(b.Value.Tasks, func(x client.Task) bool { return x.Kind == albs.KindBuild && x.State == albs.TaskLeased })
}
