package e2etest

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
	"albs/internal/repodata"
)

// releases is how many packages are built and released in the storm, one by one.
const releases = 6

// TestStorm kills a process, of whichever role, every second or so while packages
// are built, signed, released and rolled back. Everything comes to its end, readers
// see a whole tree at every moment, and no invariant is broken.
func TestStorm(t *testing.T) {
	if testing.Short() {
		t.Skip("it kills processes for minutes: without -short")
	}
	t.Parallel()
	s := newSite(t)
	s.lease = shortLease
	who := ordinary(t)
	up := func(role string) {
		if role == "master" {
			s.serve(role, who, []string{role}, yes{"master": yes{"queue": yes{"lease": s.lease.String(), "backoff": "200ms", "max_lost": 50}}})
			return
		}
		s.again(role, who, role, s.url)
	}
	up("master")
	s.people()
	s.tiny()
	s.product("tiny")
	for _, r := range allRoles[1:] {
		s.worker(r, who, r)
	}
	s.key("ed25519")

	seed := uint64(time.Now().UnixNano())
	t.Logf("the storm's seed is %d", seed)
	ctx, calm := context.WithCancel(t.Context())
	var weather sync.WaitGroup
	public := filepath.Join(s.dir, "releaser/releaser/public/demo")
	weather.Go(func() {
		random, killed := rand.New(rand.NewPCG(seed, 1)), map[string]int{}
		defer func() { t.Logf("killed: %v", killed) }()
		for wait(ctx, 500*time.Millisecond+time.Duration(random.IntN(1500))*time.Millisecond) {
			role := allRoles[random.IntN(len(allRoles))]
			s.proc(role).kill()
			killed[role]++
			up(role)
		}
	})
	weather.Go(func() {
		for wait(ctx, 20*time.Millisecond) {
			if err := whole(public); err != nil {
				t.Errorf("readers see: %v", err)
				return
			}
		}
	})

	var last string // number of the newest release; a plan whose answer was lost has one too
	for i := range releases {
		name := fmt.Sprintf("storm-%d", i)
		repository := s.forge.spec(t, name, specOf(name, "echo building; sleep 1"))
		var b string
		s.insist("create", func() bool {
			a := s.try(s.alice, "build", "create", "--platform", "tiny", "--product", "demo", "--git", repository, "--json")
			var made client.Build
			b = ""
			if a.code == 0 && decode(a.stdout, &made) {
				b = made.ID.String()
			}
			return b != ""
		})
		s.insist("build", func() bool { return s.try(s.alice, "build", "watch", b).code == 0 })
		s.insist("sign", func() bool {
			a := s.try(s.alice, "sign", b, "--key", "demo", "--wait")
			return a.code == 0 || strings.Contains(a.stderr, "already signed")
		})
		var planned client.Release
		s.insist("plan", func() bool {
			a := s.try(s.alice, "release", "plan", "--product", "demo", "--build", b, "--json")
			return a.code == 0 && decode(a.stdout, &planned)
		})
		id := planned.ID.String()
		last = id
		s.insist("approve", func() bool {
			a := s.try(s.bob, "release", "approve", id)
			return a.code == 0 || strings.Contains(a.stderr, "already")
		})
		s.insist("publish", func() bool {
			s.try(s.alice, "release", "publish", id, "--wait")
			return s.status(id) == client.ReleaseCompleted
		})
	}
	s.insist("roll back", func() bool {
		s.try(s.alice, "release", "rollback", "demo", "--wait")
		return s.status(last) == client.ReleaseReverted
	})
	calm()
	weather.Wait()
	if err := whole(public); err != nil {
		t.Error(err)
	}
	s.check("master", "releaser")
}

// wait reports whether d passed before ctx was done.
func wait(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}

// insist does a thing again and again until it is done, unless the test has failed
// beside it.
func (s *site) insist(what string, do func() bool) {
	s.t.Helper()
	s.until(3*time.Minute, what, func() bool {
		if s.t.Failed() {
			s.t.FailNow()
		}
		return do()
	})
}

// status returns a release's status, 0 while the master is away.
func (s *site) status(release string) int {
	var r client.Release
	if a := s.try(s.alice, "release", "show", release, "--json"); a.code != 0 || !decode(a.stdout, &r) {
		return 0
	}
	return r.Status
}

// whole reads what a product shows as dnf does: repomd.xml first, then the metadata
// and the packages that it names, all by paths below current.
func whole(public string) error {
	for _, repo := range []string{"tiny/main/x86_64/os", "tiny/main/source"} {
		base := filepath.Join(public, "current", repo)
		f, err := os.Open(filepath.Join(base, "repodata/repomd.xml"))
		if os.IsNotExist(err) {
			if _, err := os.Lstat(filepath.Join(public, "current")); os.IsNotExist(err) {
				return nil // nothing is published yet
			}
		}
		if err != nil {
			return err
		}
		md, err := repodata.ParseRepomd(f)
		f.Close()
		if err != nil {
			return err
		}
		for _, data := range md.Data {
			b, err := os.ReadFile(filepath.Join(base, data.Path))
			if err != nil {
				return err
			}
			if albs.DigestOf(b) != data.Digest {
				return fmt.Errorf("%s of %s is not what repomd.xml names", data.Path, repo)
			}
			if data.Type == "primary" {
				if err := packages(base, b); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func packages(base string, primary []byte) error {
	return repodata.ReadPrimary(bytes.NewReader(primary), func(p repodata.Listed) error {
		b, err := os.ReadFile(filepath.Join(base, p.Path))
		if err == nil && albs.DigestOf(b) != p.Digest {
			err = fmt.Errorf("%s is not what primary.xml names", p.Path)
		}
		return err
	})
}
