// Command gitserver serves the packages of testdata/upstream as a distribution's
// forge would: git repositories in both layouts and a look-aside cache, over https
// on loopback with a certificate authority of its own.
//
//	go run ./testdata/gitserver -dir DIR [-upstream TARBALLS] [-listen 127.0.0.1:0]
//
// DIR gets the repositories, the look-aside files and ca.pem; what is put into
// DIR/rpms and DIR/lookaside beside them is served too. Without TARBALLS it begins
// with no packages. Once it serves, it prints one line of JSON: {"url": …, "ca": …}.
// It ends on SIGTERM or when its standard input is closed. It needs git and the
// standard library only.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha512"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"flag"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// packages are what testdata/upstream has specs for. The first two lie in git as
// AlmaLinux lays them out, the third as Fedora does.
var packages = []struct {
	name, source, layout string
}{
	{"zlib", "zlib_1.2.13.dfsg.orig.tar.bz2", "almalinux"},
	{"pngcheck", "pngcheck_3.0.3.orig.tar.gz", "almalinux"},
	{"perl-Try-Tiny", "libtry-tiny-perl_0.31.orig.tar.gz", "fedora"},
}

func main() {
	dir := flag.String("dir", "", "directory for repositories, look-aside files and the CA")
	upstream := flag.String("upstream", "", "directory with the original tarballs (testdata/upstream/fetch.sh); none: no packages")
	specs := flag.String("specs", "testdata/upstream", "directory with the spec files")
	listen := flag.String("listen", "127.0.0.1:0", "address to serve on; loopback only")
	flag.Parse()
	if *dir == "" || flag.NArg() > 0 {
		flag.Usage()
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *dir, *upstream, *specs, *listen); err != nil {
		fmt.Fprintln(os.Stderr, "gitserver:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir, upstream, specs, listen string) error {
	host, _, err := net.SplitHostPort(listen)
	if ip := net.ParseIP(host); err != nil || ip == nil || !ip.IsLoopback() {
		return fmt.Errorf("%s is no loopback address", listen)
	}
	if err := os.MkdirAll(filepath.Join(dir, "rpms"), 0o755); err != nil {
		return err
	}
	for _, p := range packages {
		if upstream == "" {
			break
		}
		if err := addPackage(ctx, dir, filepath.Join(upstream, p.source), filepath.Join(specs, p.name+".spec"), p.name, p.layout); err != nil {
			return fmt.Errorf("%s: %w", p.name, err)
		}
	}
	cert, ca, err := authority()
	if err != nil {
		return err
	}
	caFile := filepath.Join(dir, "ca.pem")
	if err := os.WriteFile(caFile, ca, 0o644); err != nil {
		return err
	}
	libexec, err := exec.CommandContext(ctx, "git", "--exec-path").Output()
	if err != nil {
		return fmt.Errorf("git --exec-path: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/rpms/", &cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(libexec)), "git-http-backend"), Root: "/rpms",
		Env: []string{"GIT_PROJECT_ROOT=" + filepath.Join(dir, "rpms"), "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + dir},
	})
	mux.Handle("/lookaside/", http.StripPrefix("/lookaside/", http.FileServer(http.Dir(filepath.Join(dir, "lookaside")))))
	l, err := net.Listen("tcp", listen)
	if err != nil {
		return err
	}
	srv := &http.Server{Handler: mux, TLSConfig: &tls.Config{Certificates: []tls.Certificate{cert}}, ReadHeaderTimeout: 10 * time.Second}
	served := make(chan error, 1)
	go func() { served <- srv.ServeTLS(l, "", "") }()
	if err := json.NewEncoder(os.Stdout).Encode(map[string]string{"url": "https://" + l.Addr().String(), "ca": caFile}); err != nil {
		return err
	}
	closed := make(chan struct{})
	go func() {
		io.Copy(io.Discard, os.Stdin)
		close(closed)
	}()
	select {
	case err := <-served:
		return err
	case <-ctx.Done():
	case <-closed:
	}
	return srv.Close()
}

// addPackage makes DIR/rpms/NAME.git with one commit on the branch main and the
// tag imports/NAME, and puts the tarball into the look-aside cache.
func addPackage(ctx context.Context, dir, tarball, spec, name, layout string) error {
	source, err := os.ReadFile(tarball)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(spec)
	if err != nil {
		return err
	}
	work, err := os.MkdirTemp(dir, "work-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(work)
	base := filepath.Base(tarball)
	files := map[string]string{}
	var cached string
	switch layout {
	case "almalinux": // .NAME.metadata by sha1, as git.almalinux.org has it
		sum := sha1.Sum(source)
		cached = hex.EncodeToString(sum[:])
		files["SPECS/"+name+".spec"] = string(text)
		files["."+name+".metadata"] = cached + " SOURCES/" + base + "\n"
	case "fedora": // sources by sha512
		sum := sha512.Sum512(source)
		cached = hex.EncodeToString(sum[:])
		files[name+".spec"] = string(text)
		files["sources"] = "SHA512 (" + base + ") = " + cached + "\n"
	}
	for p, content := range files {
		full := filepath.Join(work, p)
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			return err
		}
	}
	bare := filepath.Join(dir, "rpms", name+".git")
	if err := os.RemoveAll(bare); err != nil {
		return err
	}
	for _, args := range [][]string{
		{"init", "--quiet", "--initial-branch=main", work},
		{"-C", work, "add", "--all"},
		{"-C", work, "commit", "--quiet", "-m", "import " + name},
		{"-C", work, "tag", "imports/" + name},
		{"clone", "--quiet", "--bare", work, bare},
	} {
		cmd := exec.CommandContext(ctx, "git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
			"GIT_AUTHOR_NAME=albs", "GIT_AUTHOR_EMAIL=albs@example.org", "GIT_AUTHOR_DATE=2026-01-05T00:00:00Z",
			"GIT_COMMITTER_NAME=albs", "GIT_COMMITTER_EMAIL=albs@example.org", "GIT_COMMITTER_DATE=2026-01-05T00:00:00Z")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, "lookaside"), 0o755); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(dir, "lookaside", cached), source, 0o644)
}

// authority makes a CA and a certificate for 127.0.0.1, and returns the
// certificate with its key and the CA in PEM.
func authority() (tls.Certificate, []byte, error) {
	var none tls.Certificate
	issue := func(serial int64, name string, ca bool, parent *x509.Certificate, signer *ecdsa.PrivateKey) (*x509.Certificate, *ecdsa.PrivateKey, []byte, error) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, nil, nil, err
		}
		t := &x509.Certificate{
			SerialNumber: big.NewInt(serial), Subject: pkix.Name{CommonName: name},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(0, 0, 30),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if ca {
			t.KeyUsage = x509.KeyUsageCertSign
			parent, signer = t, key
		} else {
			t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1)}
			t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		}
		der, err := x509.CreateCertificate(rand.Reader, t, parent, &key.PublicKey, signer)
		if err != nil {
			return nil, nil, nil, err
		}
		parsed, err := x509.ParseCertificate(der)
		return parsed, key, der, err
	}
	ca, caKey, caDER, err := issue(1, "albs demo CA", true, nil, nil)
	if err != nil {
		return none, nil, err
	}
	_, key, der, err := issue(2, "albs demo forge", false, ca, caKey)
	if err != nil {
		return none, nil, err
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), nil
}
