package e2etest

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/client"
)

// TestFiveProcesses goes the whole way with every role in a process of its own, over
// HTTP; where the tests are root's, under five users of whom none can read another's
// directory.
func TestFiveProcesses(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	who := map[string]identity{}
	apart := true
	for i, r := range allRoles {
		if who[r], apart = stranger(i + 1); !apart {
			who[r] = ordinary(t)
		}
	}
	if !apart {
		t.Log("only root can change users: all five processes run as one")
	}
	s.five(who)

	if apart {
		for _, r := range allRoles {
			for _, other := range allRoles {
				if got := lists(t, who[r], filepath.Join(s.dir, other)); got != (r == other) {
					t.Errorf("the user of %s can look into the directory of %s: %v", r, other, got)
				}
			}
		}
		key := glob(t, filepath.Join(s.dir, "signer/signer/keys/keys/*"))
		if readable(t, who["node"], key) || !readable(t, who["signer"], key) {
			t.Error("the node's user can read the signer's key, or the signer's can't")
		}
		secret := s.database("master").File
		if secret == "" {
			secret = filepath.Join(s.dir, fmt.Sprintf("dsn-%d", who["master"].uid))
		}
		if readable(t, who["node"], secret) || !readable(t, who["master"], secret) {
			t.Error("the node's user can read the master's database or the way to it, or the master's can't")
		}
	}
	s.check("master", "releaser")
}

// TestPostgresAndS3 goes the same way with a PostgreSQL database, the blobs in a bucket
// and the ledger on an immudb server.
func TestPostgresAndS3(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.goOutside()
	who := map[string]identity{}
	for _, r := range allRoles {
		who[r] = ordinary(t)
	}
	s.five(who)
	for _, inside := range []string{"blobs", "ledger"} {
		if _, err := os.Stat(filepath.Join(s.dir, "master/master", inside)); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("the master has %s in its directory: %v", inside, err)
		}
	}
	s.audit()
	s.check("master", "releaser")
}

// five has every role played by a process of its own, and a commit become a released
// package.
func (s *site) five(who map[string]identity) {
	t := s.t
	t.Helper()
	s.serve("master", who["master"], []string{"master"}, nil)
	s.people()
	s.tiny()
	s.product("tiny")
	for _, r := range allRoles[1:] {
		s.worker(r, who[r], r)
	}
	s.key("ed25519")

	spec := strings.Replace(specOf("five", "grep five %{SOURCE0}"), "BuildArch", "Source0: five.txt\nBuildArch", 1)
	b := s.build("tiny", s.forge.repository(t, "five", map[string]string{
		"SPECS/five.spec": spec, ".five.metadata": s.forge.lookaside(t, "five\n") + " SOURCES/five.txt\n",
	}))
	built := s.built(b)
	if !slices.ContainsFunc(built.Tasks, func(x client.Task) bool { return x.Worker == "node" }) {
		t.Errorf("no task was the node's: %+v", built.Tasks)
	}
	s.release(b)
	public := filepath.Join(s.dir, "releaser/releaser/public/demo/current")
	glob(t, public+"/tiny/main/x86_64/os/Packages/f/five-1.0-1.seed9.noarch.rpm")
	glob(t, public+"/tiny/main/source/Packages/f/five-1.0-1.seed9.src.rpm")
}

// worker enrolls a worker and starts a process that plays its role.
func (s *site) worker(name string, who identity, role string) *process {
	s.t.Helper()
	return s.workerAt(name, who, role, s.url)
}

// workerAt is worker for one that reaches the master by url.
func (s *site) workerAt(name string, who identity, role, url string) *process {
	s.t.Helper()
	s.hand(name, who, s.enroll(name, role))
	return s.again(name, who, role, url)
}

// enroll makes a worker's identity and returns its token; flags say its arches and labels,
// without them it is for x86_64 alone.
func (s *site) enroll(name, role string, flags ...string) string {
	s.t.Helper()
	if len(flags) == 0 && (role == "node" || role == "tester") {
		flags = []string{"--arch", "x86_64"}
	}
	token := ask[client.Worker](s, s.admin, append([]string{"worker", "add", name, "--role", role}, flags...)...).Token
	s.secrets = append(s.secrets, token)
	return token
}

// hand puts a worker's token where its process reads it, and returns that file.
func (s *site) hand(name string, who identity, token string) string {
	s.t.Helper()
	file := filepath.Join(s.data(name, who), "token")
	if err := os.WriteFile(file, []byte(token+"\n"), 0o600); err != nil {
		s.t.Fatal(err)
	}
	who.own(s.t, file)
	return file
}

// again starts the process of a worker that is enrolled.
func (s *site) again(name string, who identity, role, url string) *process {
	s.t.Helper()
	change := yes{"connect": yes{"master": url, "token_file": filepath.Join(s.dir, name, "token")}}
	if role == "signer" {
		trust := filepath.Join(s.dir, "trust-of-"+name+".json")
		s.run("", "trust", "export", "--output", trust)
		if err := os.Chmod(trust, 0o644); err != nil {
			s.t.Fatal(err)
		}
		change["signer"] = yes{"trust_file": trust}
	}
	return s.serve(name, who, []string{role}, change)
}

// lists reports whether who can list a directory, by trying.
func lists(t *testing.T, who identity, dir string) bool {
	t.Helper()
	return tries(t, who, "ls", "-A", dir)
}

// readable reports whether who can read a file, by trying.
func readable(t *testing.T, who identity, file string) bool {
	t.Helper()
	return tries(t, who, "head", "-c", "1", file)
}

func tries(t *testing.T, who identity, name string, args ...string) bool {
	t.Helper()
	cmd := command(t, time.Minute, name, args...)
	if err := start(cmd, who); err != nil {
		t.Fatal(err)
	}
	return cmd.Wait() == nil
}
