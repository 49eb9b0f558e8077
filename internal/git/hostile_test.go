package git

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git/gittest"
)

// forge writes objects into the repository evil that no git would make.
type forge struct {
	t *testing.T
	s *gittest.Server
}

// object stores content as it is and returns its id.
func (f forge) object(kind, content string) string {
	f.t.Helper()
	cmd := exec.CommandContext(f.t.Context(), "git", "hash-object", "-t", kind, "-w", "--literally", "--stdin")
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "GIT_DIR=" + f.s.Git("evil", "rev-parse", "--absolute-git-dir"), "HOME=" + filepath.Dir(f.s.CAFile())}
	cmd.Stdin = strings.NewReader(content)
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.t.Fatalf("git hash-object: %v: %s", err, out)
	}
	return strings.TrimSpace(string(out))
}

// tree stores a tree of count entries that all are id, name0, name1 … with that mode.
func (f forge) tree(mode, name, id string, count int) string {
	f.t.Helper()
	raw, err := hex.DecodeString(id)
	if err != nil {
		f.t.Fatal(err)
	}
	var b strings.Builder
	for i := range count {
		if count > 1 {
			name = fmt.Sprintf("%c", 'a'+i)
		}
		b.WriteString(mode + " " + name + "\x00" + string(raw))
	}
	return f.object("tree", b.String())
}

// commit stores a commit of a tree, with a branch so that it can be fetched.
func (f forge) commit(tree string) string {
	f.t.Helper()
	id := f.object("commit", "tree "+tree+"\nauthor A <a@example.org> 1 +0000\ncommitter A <a@example.org> 1 +0000\n\nx\n")
	f.s.Git("evil", "update-ref", "refs/heads/x"+id, id)
	return id
}

// TestHostileTrees: no name of a commit leads out of its export, and one that unfolds
// without end is refused before it fills memory or disk.
func TestHostileTrees(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	s.AddRepo("evil", map[string]string{"a": "x"})
	m := setup(t, s)
	f := forge{t, s}
	blob := f.object("blob", "x")
	for _, name := range []string{"..", ".", "../evil", "a/../../evil", ".git", "/etc/evil"} {
		var out bytes.Buffer
		if err := m.Export(t.Context(), s.URL("evil"), f.commit(f.tree("100644", name, blob, 1)), &out); !errors.Is(err, albs.Invalid) || out.Len() > 0 {
			t.Errorf("Export of a file named %q = %d bytes, %v; want none and Invalid", name, out.Len(), err)
		}
	}
	tree := blob
	for i := range 6 { // 18⁶ files of nothing: 2 GB of listing
		mode := "40000"
		if i == 0 {
			mode = "100644"
		}
		tree = f.tree(mode, "", tree, 18)
	}
	bomb := f.commit(tree)
	if err := m.Export(t.Context(), s.URL("evil"), bomb, io.Discard); !errors.Is(err, albs.TooLarge) {
		t.Errorf("Export of a tree without end = %v, want TooLarge", err)
	}
	if _, err := m.List(t.Context(), s.URL("evil"), bomb); !errors.Is(err, albs.TooLarge) {
		t.Errorf("List of a tree without end = %v, want TooLarge", err)
	}
}

// TestEndlessRefs: a server that never stops to name its refs, which git would hold in
// memory, is broken off.
func TestEndlessRefs(t *testing.T) {
	t.Parallel()
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/x-git-upload-pack-advertisement")
		_, _ = io.WriteString(w, "001e# service=git-upload-pack\n0000")
		pkt := func(s string) string { return fmt.Sprintf("%04x%s", len(s)+4, s) }
		id := strings.Repeat("ab", 20)
		if _, err := io.WriteString(w, pkt(id+" refs/heads/a\x00agent=x\n")); err != nil {
			return
		}
		for i := 0; ; i++ {
			if _, err := io.WriteString(w, pkt(fmt.Sprintf("%s refs/heads/%s%d\n", id, strings.Repeat("x", 60000), i))); err != nil {
				return // broken off
			}
		}
	}))
	t.Cleanup(srv.Close)
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(srv), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := egress.New(egress.Policy{Allow: []string{strings.TrimPrefix(srv.URL, "https://")}, CAFiles: []string{ca}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.TempDir(), e)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := m.Resolve(t.Context(), srv.URL+"/evil", "main"); !errors.Is(err, albs.TooLarge) {
		t.Errorf("Resolve = %v, want TooLarge", err)
	}
}
