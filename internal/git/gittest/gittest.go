// Package gittest serves git repositories over https on loopback for tests, with
// the real git http-backend behind a certificate of an authority of its own.
package gittest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"math/big"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Server is a git server. Its methods fail the test they belong to.
type Server struct {
	t        testing.TB
	dir      string
	caFile   string
	http     *httptest.Server
	requests atomic.Int64
	clock    time.Time

	mu    sync.Mutex
	files map[string][]byte // other files by their paths
	asked map[string]int
}

// NewServer starts a server that ends with the test. env is added to the
// environment of git http-backend: "GIT_PROTOCOL=version=0" makes it an old one.
// The test is skipped where there is no git.
func NewServer(t testing.TB, env ...string) *Server {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("git is not installed")
	}
	libexec, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatalf("git --exec-path: %v", err)
	}
	s := &Server{t: t, dir: t.TempDir(), clock: time.Unix(1_700_000_000, 0), files: map[string][]byte{}, asked: map[string]int{}}
	backend := &cgi.Handler{
		Path:   filepath.Join(strings.TrimSpace(string(libexec)), "git-http-backend"),
		Env:    append([]string{"GIT_PROJECT_ROOT=" + s.dir, "GIT_HTTP_EXPORT_ALL=1", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null", "HOME=" + s.dir}, env...),
		Stderr: os.Stderr,
	}
	s.http = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.requests.Add(1)
		if b, ok := s.file(r.URL.Path); ok {
			_, _ = w.Write(b)
			return
		}
		backend.ServeHTTP(w, r)
	}))
	s.http.TLS = &tls.Config{Certificates: []tls.Certificate{s.certificate()}}
	s.http.StartTLS()
	t.Cleanup(s.http.Close)
	return s
}

// Serve serves a file beside the repositories, in place of what was there, and returns
// its URL.
func (s *Server) Serve(path string, content []byte) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.files[path] = content
	return "https://" + s.Addr() + path
}

// Asked returns how often a file that Serve serves was asked for.
func (s *Server) Asked(path string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked[path]
}

func (s *Server) file(path string) ([]byte, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	b, ok := s.files[path]
	s.asked[path]++
	return b, ok
}

// Addr returns the server's host:port, for an allow-list.
func (s *Server) Addr() string { return s.http.Listener.Addr().String() }

// URL returns the URL of the repository name.
func (s *Server) URL(name string) string { return "https://" + s.Addr() + "/" + name + ".git" }

// CAFile returns the path of the authority's certificate in PEM.
func (s *Server) CAFile() string { return s.caFile }

// Requests returns how many requests have come.
func (s *Server) Requests() int64 { return s.requests.Load() }

// AddRepo makes the repository name with one commit on the branch main that
// holds files (path → content), and annotated tags of it. It returns the commit.
func (s *Server) AddRepo(name string, files map[string]string, tags ...string) string {
	s.t.Helper()
	s.git("", "init", "--quiet", "--bare", "--initial-branch=main", s.path(name))
	commit := s.Commit(name, "main", files)
	for _, tag := range tags {
		s.Tag(name, tag, commit)
	}
	return commit
}

// RemoveRepo removes the repository name.
func (s *Server) RemoveRepo(name string) {
	s.t.Helper()
	if err := os.RemoveAll(s.path(name)); err != nil {
		s.t.Fatal(err)
	}
}

// Commit adds a commit on top of branch, which it makes if need be, whose tree is
// exactly files, and returns its id.
func (s *Server) Commit(name, branch string, files map[string]string) string {
	s.t.Helper()
	repo, work := s.path(name), s.t.TempDir()
	for p, content := range files {
		full := filepath.Join(work, filepath.FromSlash(p))
		if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
			s.t.Fatal(err)
		}
		if target, ok := strings.CutPrefix(content, "-> "); ok {
			if err := os.Symlink(target, full); err != nil {
				s.t.Fatal(err)
			}
			continue
		}
		if err := os.WriteFile(full, []byte(content), 0o644); err != nil {
			s.t.Fatal(err)
		}
	}
	index := filepath.Join(s.t.TempDir(), "index")
	in := []string{"GIT_DIR=" + repo, "GIT_WORK_TREE=" + work, "GIT_INDEX_FILE=" + index}
	s.gitEnv(in, work, "add", "--all", "--force", ".")
	tree := s.gitEnv(in, work, "write-tree")
	args := []string{"commit-tree", "-m", "a commit", tree}
	if parent, err := s.try(in, work, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch); err == nil {
		args = append(args, "-p", parent)
	}
	s.clock = s.clock.Add(time.Minute)
	commit := s.gitEnv(in, work, args...)
	s.gitEnv(in, work, "update-ref", "refs/heads/"+branch, commit)
	return commit
}

// Tag makes an annotated tag of an object.
func (s *Server) Tag(name, tag, object string) {
	s.t.Helper()
	s.git(s.path(name), "tag", "--annotate", "--message=a tag", tag, object)
}

// Git runs git in the repository name and returns what it printed, trimmed.
func (s *Server) Git(name string, args ...string) string {
	s.t.Helper()
	return s.git(s.path(name), args...)
}

func (s *Server) path(name string) string { return filepath.Join(s.dir, name+".git") }

func (s *Server) git(dir string, args ...string) string {
	s.t.Helper()
	return s.gitEnv(nil, dir, args...)
}

func (s *Server) gitEnv(env []string, dir string, args ...string) string {
	s.t.Helper()
	out, err := s.try(env, dir, args...)
	if err != nil {
		s.t.Fatalf("git %s: %v: %s", args[0], err, out)
	}
	return out
}

func (s *Server) try(env []string, dir string, args ...string) (string, error) {
	cmd := exec.Command("git", args...)
	cmd.Dir = dir
	date := s.clock.UTC().Format(time.RFC3339)
	cmd.Env = append([]string{
		"PATH=" + os.Getenv("PATH"), "HOME=" + s.dir, "LC_ALL=C", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=/dev/null",
		"GIT_AUTHOR_NAME=A Tester", "GIT_AUTHOR_EMAIL=tester@example.org", "GIT_AUTHOR_DATE=" + date,
		"GIT_COMMITTER_NAME=A Tester", "GIT_COMMITTER_EMAIL=tester@example.org", "GIT_COMMITTER_DATE=" + date,
	}, env...)
	out, err := cmd.CombinedOutput()
	return strings.TrimSpace(string(out)), err
}

// certificate makes an authority, writes it to caFile and returns a certificate
// of it for loopback.
func (s *Server) certificate() tls.Certificate {
	s.t.Helper()
	sign := func(subject string, ca bool, parent *x509.Certificate, parentKey *ecdsa.PrivateKey) ([]byte, *ecdsa.PrivateKey) {
		key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			s.t.Fatal(err)
		}
		c := &x509.Certificate{
			SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: subject},
			NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
			IsCA: ca, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature,
		}
		if ca {
			c.KeyUsage |= x509.KeyUsageCertSign
			parent, parentKey = c, key
		} else {
			c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
			c.IPAddresses, c.DNSNames = []net.IP{net.IPv4(127, 0, 0, 1)}, []string{"localhost"}
		}
		der, err := x509.CreateCertificate(rand.Reader, c, parent, key.Public(), parentKey)
		if err != nil {
			s.t.Fatal(err)
		}
		return der, key
	}
	der, caKey := sign("gittest authority", true, nil, nil)
	ca, err := x509.ParseCertificate(der)
	if err != nil {
		s.t.Fatal(err)
	}
	s.caFile = filepath.Join(s.t.TempDir(), "ca.pem")
	if err := os.WriteFile(s.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o644); err != nil {
		s.t.Fatal(err)
	}
	leaf, key := sign("localhost", false, ca, caKey)
	return tls.Certificate{Certificate: [][]byte{leaf}, PrivateKey: key}
}
