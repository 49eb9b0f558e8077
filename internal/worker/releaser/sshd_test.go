package releaser

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"albs/internal/worker/releaser/further"
)

// mirrorMaster is a host that is reached by ssh: a real sshd on loopback with keys of
// its own, which a process of its own serves each connection with, and a folder.
type mirrorMaster struct {
	c    further.Rsync
	dir  string
	away atomic.Bool // connections are closed at once
}

// newMirrorMaster starts one; it ends with the test.
func newMirrorMaster(t *testing.T) *mirrorMaster {
	t.Helper()
	sshd, err := exec.LookPath("sshd")
	if err != nil {
		sshd = "/usr/sbin/sshd" // not on everybody's path
	}
	for _, tool := range []string{sshd, "ssh", "ssh-keygen", "rsync"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("%s is not installed here: run testdata/setup.sh", tool)
		}
	}
	if os.Getuid() == 0 { // where sshd keeps its unprivileged part, and Debian's service makes it
		if err := os.MkdirAll("/run/sshd", 0o755); err != nil {
			t.Fatal(err)
		}
	}
	me, err := user.Current()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, key := range []string{"host", "client"} {
		if out, err := exec.CommandContext(t.Context(), "ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", at(key)).CombinedOutput(); err != nil {
			t.Fatalf("ssh-keygen: %v\n%s", err, out)
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	host, err := os.ReadFile(at("host.pub"))
	if err != nil {
		t.Fatal(err)
	}
	client, err := os.ReadFile(at("client.pub"))
	if err != nil {
		t.Fatal(err)
	}
	conf := fmt.Sprintf("HostKey %s\nAuthorizedKeysFile %s\nStrictModes no\nUsePAM no\nPasswordAuthentication no\nKbdInteractiveAuthentication no\nPermitRootLogin prohibit-password\nAllowUsers %s\nPidFile none\nAllowTcpForwarding no\nSetEnv HOME=%s\n",
		at("host"), at("authorized"), me.Username, dir) // the account's shell is to read no files of its home
	for name, text := range map[string]string{
		"conf": conf, "authorized": string(client), "known": fmt.Sprintf("[127.0.0.1]:%d %s", port, host),
	} {
		if err := os.WriteFile(at(name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	public := at("public")
	if err := os.Mkdir(public, 0o755); err != nil {
		t.Fatal(err)
	}
	m := &mirrorMaster{dir: public, c: further.Rsync{
		Host: "127.0.0.1", Port: port, User: me.Username, Path: public, KeyFile: at("client"), KnownHostsFile: at("known"),
	}}
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			if m.away.Load() {
				conn.Close()
				continue
			}
			f, err := conn.(*net.TCPConn).File()
			conn.Close()
			if err != nil {
				continue
			}
			var said bytes.Buffer
			cmd := exec.Command(sshd, "-i", "-e", "-f", at("conf"))
			cmd.Stdin, cmd.Stdout, cmd.Stderr = f, f, &said
			err = cmd.Start()
			f.Close()
			if err != nil {
				continue
			}
			wg.Go(func() {
				// Killed clients end it with an error.
				if err := cmd.Wait(); err != nil && strings.Contains(said.String(), "fatal: ") && testing.Verbose() {
					t.Logf("sshd: %v\n%s", err, &said)
				}
			})
		}
	})
	t.Cleanup(func() {
		if err := l.Close(); err != nil && !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		wg.Wait()
	})
	return m
}
