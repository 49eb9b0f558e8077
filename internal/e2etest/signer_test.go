package e2etest

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/client"
)

// TestSignerKilled is T37: the signer dies when it has signed and not yet reported. Its
// successor makes the same signatures, so that there is one signed copy of each package
// in the world, and the journal has a result for each intent.
func TestSignerKilled(t *testing.T) {
	t.Parallel()
	s := apart(t, shortLease)
	s.rounds(2, func(name string) {
		s.role("node", "node")
		s.role("tester", "tester")
		// The second engine looks at what was signed; here it never ends.
		bin := folder(t, ordinary(t), name)
		signed := filepath.Join(bin, "signed")
		script := fmt.Sprintf("#!/bin/sh\ncase \"$*\" in *--checksig*) : > %s; while kill -0 $PPID; do sleep 0.1; done; exit 1;; esac\nPATH=%s exec bwrap \"$@\"\n",
			signed, os.Getenv("PATH"))
		if err := os.WriteFile(filepath.Join(bin, "bwrap"), []byte(script), 0o755); err != nil {
			t.Fatal(err)
		}
		s.env = []string{"PATH=" + bin + ":" + os.Getenv("PATH")}
		signer := s.role("signer", "signer")
		s.env = nil
		if strings.HasSuffix(name, "-1") {
			s.key("ed25519")
		}
		b := s.build("tiny", s.forge.spec(t, name, specOf(name, "true")))
		s.built(b)
		var request client.SignTask
		ask := func(asked client.Doc[client.SignTask], err error) {
			if err != nil {
				t.Fatal(err)
			}
			request = asked.Value
		}
		s.until(2*time.Minute, "the build may be signed", func() bool {
			asked, err := s.api.SignBuild(t.Context(), s.number(b), "demo")
			if err == nil {
				request = asked.Value
			}
			return err == nil
		})
		s.until(time.Minute, "the packages are signed", func() bool {
			_, err := os.Stat(signed)
			return err == nil
		})
		signer.kill()
		var left []albs.Digest
		for _, path := range must(filepath.Glob(filepath.Join(s.dir, "signer/signer/keys/tmp/task-*/*.rpm"))) {
			left = append(left, albs.DigestOf(must(os.ReadFile(path))))
		}
		s.role("signer", "signer")
		s.until(time.Minute, "the build is signed", func() bool {
			ask(s.api.SignTask(t.Context(), request.ID))
			return request.Status == client.SignCompleted
		})
		if len(left) != 2 || len(request.Packages) != 2 {
			t.Fatalf("%d packages were signed by the signer that died, %d by the next", len(left), len(request.Packages))
		}
		for _, p := range request.Packages {
			if !slices.Contains(left, p.Signed) {
				t.Errorf("%s was signed twice, as %s and as one of %v", p.Name, p.Signed, left)
			}
		}
	})
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}
