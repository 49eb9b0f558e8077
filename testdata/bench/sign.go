package main

import (
	"bytes"
	"context"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"albs/internal/pgp"
	"albs/internal/rpm"
)

const (
	signPackages = 100
	signBare     = 1.3 // how much longer than the bare operations RSA may take
)

// sign: the headers of small packages signed, spliced into copies, and the copies verified,
// as the signer does it, beside rpmsign, which verifies nothing. What the signer asks
// rpmkeys afterwards belongs to its distrust, not to signing, and isn't measured here.
func sign(alg string, atLeast float64) func(context.Context, *bench) ([]row, error) {
	return func(ctx context.Context, b *bench) (_ []row, err error) {
		dir, err := os.MkdirTemp(b.dir, "sign-")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
		key, err := pgp.Generate("Bench <bench@example.org>", alg, time.Now())
		if err != nil {
			return nil, err
		}
		peer, err := newRPMSign(ctx, filepath.Join(dir, "gnupg"), alg)
		if err != nil {
			return nil, err
		}
		defer peer.close()
		var ours, theirs, bare []float64
		for i := range runs + 1 {
			files, err := copies(filepath.Join(dir, fmt.Sprint("run", i)))
			if err != nil {
				return nil, err
			}
			took, err := signAll(ctx, key, files)
			if err != nil {
				return nil, err
			}
			peers, err := peer.sign(ctx, files)
			if err != nil {
				return nil, err
			}
			least, err := bareRSA(ctx, alg)
			if err != nil {
				return nil, err
			}
			if i > 0 { // the first warms the caches
				ours, theirs, bare = append(ours, took.Seconds()), append(theirs, peers.Seconds()), append(bare, least.Seconds())
			}
		}
		r := row{
			Name: fmt.Sprintf("sign-%s-%d", alg, signPackages), Unit: "s", Ours: median(ours), Peer: median(theirs), PeerName: "rpmsign --addsign",
			Goal: fmt.Sprintf("≥ %.0f×", atLeast),
		}
		r.Ratio = r.Peer / r.Ours
		r.Met = r.Ratio >= atLeast
		if alg == pgp.RSA4096 {
			over := r.Ours / median(bare)
			fmt.Fprintf(os.Stderr, "bench: %s: the bare key operations on all cores take %.3f s, ours %.2f times that\n", r.Name, median(bare), over)
			r.Goal += fmt.Sprintf(", and ≤ %.1f× the bare key operations", signBare)
			r.Met = r.Met && over <= signBare
		}
		return []row{r}, nil
	}
}

// copies makes the packages that are to be signed, each a file of its own.
func copies(dir string) ([]string, error) {
	sample, err := os.ReadFile(publishSample)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, err
	}
	var files []string
	for i := range signPackages {
		files = append(files, filepath.Join(dir, fmt.Sprintf("p%03d.rpm", i)))
		if err := os.WriteFile(files[i], sample, 0o600); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// signAll signs copies of the files on all cores.
func signAll(ctx context.Context, key *pgp.Key, files []string) (time.Duration, error) {
	public, err := key.Public()
	if err != nil {
		return 0, err
	}
	keyring, err := rpm.ReadKeyring(public)
	if err != nil {
		return 0, err
	}
	began := time.Now()
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for _, name := range files {
		g.Go(func() error {
			unsigned, err := os.Open(name)
			if err != nil {
				return err
			}
			defer unsigned.Close()
			header, err := rpm.Header(unsigned)
			if err != nil {
				return err
			}
			sig, isRSA, err := key.Sign(header)
			if err != nil {
				return err
			}
			if _, err := unsigned.Seek(0, io.SeekStart); err != nil {
				return err
			}
			signed, err := os.Create(name + ".signed")
			if err != nil {
				return err
			}
			defer signed.Close()
			if err := rpm.Splice(signed, unsigned, sig, isRSA); err != nil {
				return err
			}
			if _, err := signed.Seek(0, io.SeekStart); err != nil {
				return err
			}
			_, err = rpm.Verify(signed, keyring)
			return err
		})
	}
	err = g.Wait()
	return time.Since(began), err
}

// bareRSA does as many RSA operations as there are packages, on all cores, and nothing
// else. With another algorithm there is nothing to compare with.
func bareRSA(ctx context.Context, alg string) (time.Duration, error) {
	if alg != pgp.RSA4096 {
		return 0, nil
	}
	key, err := rsa.GenerateKey(rand.Reader, 4096)
	if err != nil {
		return 0, err
	}
	sum := sha256.Sum256(nil)
	began := time.Now()
	g, _ := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for range signPackages {
		g.Go(func() error {
			_, err := rsa.SignPKCS1v15(nil, key, crypto.SHA256, sum[:])
			return err
		})
	}
	err = g.Wait()
	return time.Since(began), err
}

// rpmSign is the peer: rpm's own program with a key of gpg's.
type rpmSign struct{ home, gpg string }

func newRPMSign(ctx context.Context, home, alg string) (*rpmSign, error) {
	gpg, err := exec.LookPath("gpg")
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(home, 0o700); err != nil {
		return nil, err
	}
	r := &rpmSign{home, gpg}
	_, err = r.run(ctx, gpg, "--batch", "--passphrase", "", "--quick-generate-key", "bench@example.org", alg, "sign", "never")
	return r, err
}

func (r *rpmSign) run(ctx context.Context, argv ...string) (time.Duration, error) {
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(os.Environ(), "GNUPGHOME="+r.home, "HOME="+r.home)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	began := time.Now()
	if err := cmd.Run(); err != nil {
		return 0, fmt.Errorf("%s: %w: %s", argv[0], err, out.String())
	}
	return time.Since(began), nil
}

// sign signs the files in place.
func (r *rpmSign) sign(ctx context.Context, files []string) (time.Duration, error) {
	return r.run(ctx, append([]string{
		"rpmsign", "--define", "__gpg " + r.gpg, "--define", "_gpg_name bench@example.org", "--define", "_gpg_path " + r.home, "--addsign",
	}, files...)...)
}

// close ends the agent that gpg has started for the key.
func (r *rpmSign) close() {
	if _, err := r.run(context.Background(), "gpgconf", "--kill", "all"); err != nil {
		fmt.Fprintln(os.Stderr, "bench: an agent of gpg is left behind:", err)
	}
}
