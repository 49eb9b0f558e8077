package e2etest

import (
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/failpoint"
)

// crashing returns the program with its failpoints.
func crashing(t *testing.T) string {
	t.Helper()
	return crashes.get(t, "the program with failpoints", func() string {
		path := filepath.Join(run, "albs-with-failpoints")
		cmd := command(t, 10*time.Minute, "go", "build", "-buildvcs=false", "-tags", "failpoint", "-o", path, ".")
		cmd.Dir = module
		output(t, cmd, self)
		return path
	})
}

// TestMasterDiesBetween is T04: the master dies between two steps that are each durable
// alone, at every place where it has one, in random order. What it left at that moment is
// whole, and when it is back nothing is lost or done twice.
func TestMasterDiesBetween(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.lease, s.master = shortLease, crashing(t)
	armed := filepath.Join(s.dir, "failpoint")
	s.env = []string{"ALBS_FAILPOINT=" + armed}
	s.found()
	random := seeded(t)
	s.rounds(3, func(name string) {
		s.role("node-of-"+name, "node") // a fresh one: a claim that dies with the master counts as lost by it
		s.role("tester", "tester")
		for _, i := range random.Perm(len(failpoint.Places)) {
			place := failpoint.Places[i]
			pkg := name + "-" + place
			repository := s.forge.spec(t, pkg, specOf(pkg, slow))
			master := s.proc("master")
			late := random.IntN(2) == 1 // at the rebuild's result, or at the import's or the SRPM's
			b := s.build("tiny", repository)
			if late {
				s.begun(b, 1)
			}
			s.file("failpoint", place)
			s.until(time.Minute, "the master dies at "+place, func() bool { return !master.running() })
			if err := os.Remove(armed); err != nil {
				t.Fatal(err)
			}
			s.checkStopped("master", "")
			s.serve("master", ordinary(t), []string{"master"}, nil)
			s.built(b)
			s.one(b, pkg, anyAttempt) // a claim may have been on its way
			t.Logf("died at %s, late: %v", place, late)
			for _, f := range s.task(b, albs.KindBuild).Files {
				if f.Kind != "rpm" {
					continue
				}
				s.until(30*time.Second, "the ledger has "+f.Name, func() bool {
					return s.try("", "artifact", "bundle", string(f.Digest), "--output", s.dir).code == 0
				})
				for _, suffix := range []string{attest.EnvelopesSuffix, attest.ProofSuffix} {
					if err := os.Remove(filepath.Join(s.dir, f.Name+suffix)); err != nil {
						t.Fatal(err)
					}
				}
			}
		}
	})
}

// seeded returns random numbers whose seed is printed.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := uint64(time.Now().UnixNano())
	t.Logf("the seed is %d", seed)
	return rand.New(rand.NewPCG(seed, 1))
}
