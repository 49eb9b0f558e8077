package ledgertest

import (
	"bufio"
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/codenotary/immudb/pkg/api/schema"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"

	"albs/internal/ledger"
)

// patience bounds what the server of a test may take on a busy machine.
const patience = 2 * time.Minute

// Immudb is an immudb server, in a process that a test can kill.
type Immudb struct {
	Dir     string // of its data
	secret  string // the file with its password
	signing string
	addr    string
	port    int
	cmd     *exec.Cmd
	ended   chan struct{}
	count   atomic.Int64
}

// StartImmudb starts a server that ends with the test, which is skipped where its
// program isn't in ALBS_TEST_IMMUDB: testdata/immudb.sh puts it there. With a
// signingKey, a file, the server signs its states.
func StartImmudb(t testing.TB, signingKey string) *Immudb {
	t.Helper()
	if os.Getenv("ALBS_TEST_IMMUDB") == "" {
		t.Skip("ALBS_TEST_IMMUDB names no immudb server: run the test under testdata/immudb.sh")
	}
	dir := t.TempDir()
	s := &Immudb{Dir: filepath.Join(dir, "data"), secret: filepath.Join(dir, "password"), signing: signingKey}
	if err := os.WriteFile(s.secret, []byte("A1!"+rand.Text()+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	s.Start(t)
	t.Cleanup(s.Kill)
	return s
}

// Start starts the server again, at its address.
func (s *Immudb) Start(t testing.TB) {
	t.Helper()
	s.cmd = exec.Command(os.Getenv("ALBS_TEST_IMMUDB"), "-dir", s.Dir, "-port", strconv.Itoa(s.port),
		"-password-file", s.secret, "-signing-key", s.signing)
	s.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	s.cmd.Stderr = &said
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s.ended = make(chan struct{})
	found := make(chan string, 1)
	go func() {
		defer close(s.ended)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			if addr, ok := strings.CutPrefix(lines.Text(), "albs-test-immudb "); ok {
				found <- addr
			}
		}
		s.cmd.Wait() // it ends by a signal
	}()
	select {
	case s.addr = <-found:
	case <-s.ended:
		t.Fatalf("the immudb server doesn't start: %s", said.String())
	case <-time.After(patience):
		s.Kill()
		t.Fatal("the immudb server doesn't start in time")
	}
	if _, err := fmt.Sscanf(s.addr[strings.LastIndex(s.addr, ":"):], ":%d", &s.port); err != nil {
		t.Fatal(err)
	}
}

// Kill ends the server at once, as kill -9 does, and returns when it is gone.
func (s *Immudb) Kill() {
	s.cmd.Process.Kill() // it may have ended
	<-s.ended
}

// Pause has the server stand still, and Resume has it go on.
func (s *Immudb) Pause(t testing.TB)  { s.signal(t, syscall.SIGSTOP) }
func (s *Immudb) Resume(t testing.TB) { s.signal(t, syscall.SIGCONT) }

func (s *Immudb) signal(t testing.TB, sig os.Signal) {
	t.Helper()
	if err := s.cmd.Process.Signal(sig); err != nil {
		t.Fatal(err)
	}
}

// Client returns a client of a database of the server, within a session.
func (s *Immudb) Client(t testing.TB, database string) (context.Context, schema.ImmuServiceClient) {
	t.Helper()
	conn, err := grpc.NewClient("passthrough:///"+s.addr, grpc.WithTransportCredentials(insecure.NewCredentials()))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	c := schema.NewImmuServiceClient(conn)
	r, err := c.OpenSession(t.Context(), &schema.OpenSessionRequest{
		Username: []byte("immudb"), Password: []byte(s.password(t)), DatabaseName: database,
	}, grpc.WaitForReady(true))
	if err != nil {
		t.Fatal(err)
	}
	return metadata.AppendToOutgoingContext(t.Context(), "sessionid", r.SessionID), c
}

func (s *Immudb) password(t testing.TB) string {
	t.Helper()
	b, err := os.ReadFile(s.secret)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// Database makes a database of the server and returns what opens it as a ledger.
func (s *Immudb) Database(t testing.TB) ledger.ServerConfig {
	t.Helper()
	ctx, c := s.Client(t, "defaultdb")
	name := fmt.Sprint("ledger", s.count.Add(1))
	if _, err := c.CreateDatabaseV2(ctx, &schema.CreateDatabaseRequest{Name: name}); err != nil {
		t.Fatal(err)
	}
	return ledger.ServerConfig{Address: s.addr, Database: name, User: "immudb", PasswordFile: s.secret, Password: s.password(t)}
}

// OpenServer opens a ledger that is closed when the test ends.
func OpenServer(t testing.TB, c ledger.ServerConfig) *ledger.Server {
	t.Helper()
	l, err := ledger.OpenServer(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("Close: %v", err)
		}
	})
	return l
}
