package git

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git/gittest"
)

func setup(t *testing.T, s *gittest.Server) *Mirrors {
	t.Helper()
	e, err := egress.New(egress.Policy{Allow: []string{s.Addr()}, CAFiles: []string{s.CAFile()}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.TempDir(), e)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// untar returns what a tar holds, path → content.
func untar(t *testing.T, b []byte) map[string]string {
	t.Helper()
	got := make(map[string]string)
	for r := tar.NewReader(bytes.NewReader(b)); ; {
		h, err := r.Next()
		if err == io.EOF {
			return got
		}
		if err != nil {
			t.Fatal(err)
		}
		if h.Typeflag == tar.TypeReg {
			content, err := io.ReadAll(r)
			if err != nil {
				t.Fatal(err)
			}
			got[h.Name] = string(content)
		}
	}
}

func TestResolve(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	first := s.AddRepo("hello", map[string]string{"a": "1"}, "v1")
	second := s.Commit("hello", "main", map[string]string{"a": "2"})
	side := s.Commit("hello", "deep/main", map[string]string{"a": "3"})
	s.Tag("hello", "both", first)
	s.Commit("hello", "both", map[string]string{"a": "4"})
	blob := s.Git("hello", "rev-parse", first+":a")
	s.Tag("hello", "blob", blob)
	m := setup(t, s)
	url := s.URL("hello")
	for _, c := range []struct {
		url, ref string
		commit   string
		typ      RefType
		kind     albs.Kind
	}{
		{url, "main", second, RefBranch, ""},
		{url, "HEAD", second, RefBranch, ""},
		{url, "refs/heads/main", second, RefBranch, ""},
		{url, "deep/main", side, RefBranch, ""},
		{url, "v1", first, RefTag, ""},
		{url, "refs/tags/v1", first, RefTag, ""},
		{url, first, first, RefCommit, ""},
		{url, "refs/tags/both", first, RefTag, ""},
		{url, "both", "", "", albs.Conflict},
		{url, "absent", "", "", albs.NotFound},
		{url, "refs/heads/v1", "", "", albs.NotFound},
		{url, "refs/notes/x", "", "", albs.Invalid},
		{url, strings.Repeat("0", 39) + "1", "", "", albs.NotFound},
		{url, blob, "", "", albs.Invalid},
		{url, s.Git("hello", "rev-parse", "refs/tags/both"), "", "", albs.Invalid}, // an annotated tag's own id
		{s.URL("absent"), "main", "", "", albs.NotFound},
		{s.URL("absent"), first, "", "", albs.NotFound},
	} {
		commit, typ, err := m.Resolve(t.Context(), c.url, c.ref)
		if albs.KindOf(err) != c.kind || (err == nil && (commit != c.commit || typ != c.typ)) {
			t.Errorf("Resolve(%s) = %s, %s, %v; want %s, %s, kind %q", c.ref, commit, typ, err, c.commit, c.typ, c.kind)
		}
	}
}

// An old server gives no commit by its id unless it is a tip: Fetch takes all
// refs then, also where earlier shallow fetches hide history.
func TestOldProtocol(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t, "GIT_PROTOCOL=version=0")
	first := s.AddRepo("hello", map[string]string{"a": "1"})
	second := s.Commit("hello", "main", map[string]string{"a": "2"})
	third := s.Commit("hello", "main", map[string]string{"a": "3"})
	m := setup(t, s)
	for _, c := range []struct{ commit, want string }{{third, "3"}, {first, "1"}, {second, "2"}} {
		if got, err := m.Read(t.Context(), s.URL("hello"), c.commit, "a", 10); err != nil || string(got) != c.want {
			t.Errorf("Read(%s) = %q, %v; want %q", c.commit, got, err, c.want)
		}
	}
	if err := m.Fetch(t.Context(), s.URL("hello"), strings.Repeat("ab", 20)); !errors.Is(err, albs.NotFound) {
		t.Errorf("Fetch of an unknown commit = %v, want NotFound", err)
	}
}

// An export is the commit's bytes whatever its attributes say, and needs no
// network the second time.
func TestExport(t *testing.T) {
	t.Parallel()
	files := map[string]string{
		"SPECS/hello.spec": "Name: hello\n",
		"SOURCES/x.txt":    "a\nb\n",
		"dash/-rf":         "x",
		"subst":            "$Format:%H$ $Id$\n",
		"hidden":           "kept",
		".gitattributes":   "hidden export-ignore\nsubst export-subst ident\n*.txt text eol=crlf\n*.spec working-tree-encoding=UTF-16 filter=x\n",
	}
	// The test's own git must not apply the attributes at the commit.
	s := gittest.NewServer(t)
	s.AddRepo("hello", map[string]string{"old": "1"})
	attributes := files[".gitattributes"]
	files[".gitattributes"] = strings.ReplaceAll(attributes, " working-tree-encoding=UTF-16", "")
	commit := s.Commit("hello", "main", files)
	m := setup(t, s)
	var out bytes.Buffer
	if err := m.Export(t.Context(), s.URL("hello"), commit, &out); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(files, untar(t, out.Bytes())); diff != "" {
		t.Errorf("exported files (-want +got):\n%s", diff)
	}
	before := s.Requests()
	var again bytes.Buffer
	if err := m.Export(t.Context(), s.URL("hello"), commit, &again); err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(out.Bytes(), again.Bytes()) || s.Requests() != before {
		t.Errorf("the second export differs or asked the server (%d requests)", s.Requests()-before)
	}
	if err := m.Export(t.Context(), s.URL("hello"), commit, &brokenWriter{}); !errors.Is(err, errBroken) {
		t.Errorf("Export to a writer that breaks = %v, want its error", err)
	}
}

var errBroken = errors.New("broken")

type brokenWriter struct{}

func (*brokenWriter) Write([]byte) (int, error) { return 0, errBroken }

func TestReadAndList(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	commit := s.AddRepo("hello", map[string]string{"a": "one", "d/b": "two", "d/ü [x]*": "three", "l": "-> /etc/passwd"})
	m := setup(t, s)
	url := s.URL("hello")
	entries, err := m.List(t.Context(), url, commit)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range entries {
		got = append(got, e.Mode+" "+e.Path)
	}
	want := []string{"100644 a", "100644 d/b", "100644 d/ü [x]*", "120000 l"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("List (-want +got):\n%s", diff)
	}
	for _, c := range []struct {
		name  string
		limit int64
		want  string
		kind  albs.Kind
	}{
		{"a", 3, "one", ""},
		{"d/b", 100, "two", ""},
		{"d/ü [x]*", 100, "three", ""},
		{"a", 2, "", albs.TooLarge},
		{"d", 100, "", albs.Invalid},
		{"l", 100, "", albs.Invalid},
		{"d/*", 100, "", albs.NotFound},
		{"x", 100, "", albs.NotFound},
		{"../a", 100, "", albs.Invalid},
		{"/a", 100, "", albs.Invalid},
		{"d/../a", 100, "", albs.Invalid},
		{"a\n", 100, "", albs.Invalid},
		{"", 100, "", albs.Invalid},
		{"-z", 100, "", albs.NotFound},
		{":/a", 100, "", albs.NotFound},
	} {
		b, err := m.Read(t.Context(), url, commit, c.name, c.limit)
		if albs.KindOf(err) != c.kind || string(b) != c.want {
			t.Errorf("Read(%q, %d) = %q, %v; want %q, kind %q", c.name, c.limit, b, err, c.want, c.kind)
		}
	}
}

// Bad URLs and refs are refused before any process or connection (T52).
func TestRefusedBeforeExec(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	m := setup(t, s)
	for _, c := range []struct {
		url, ref string
		kind     albs.Kind
	}{
		{"--upload-pack=touch /tmp/x", "main", albs.Invalid},
		{"ext::sh -c id", "main", albs.Invalid},
		{"file:///etc", "main", albs.Invalid},
		{"-oProxyCommand=id", "main", albs.Invalid},
		{"ssh://-oProxyCommand=id/x", "main", albs.Invalid},
		{"git://example.org/x", "main", albs.Invalid},
		{"http://example.org/x", "main", albs.Invalid},
		{"https://user:pw@example.org/x", "main", albs.Invalid},
		{"https://example.org/x?y", "main", albs.Invalid},
		{"https://example.org/x#y", "main", albs.Invalid},
		{"https://example.org/../x", "main", albs.Invalid},
		{"https://example.org/--x", "main", albs.Invalid},
		{"https://example.org/a b", "main", albs.Invalid},
		{"https://example.org/%2e%2e/x", "main", albs.Invalid},
		{"https://example.org/$(id)", "main", albs.Invalid},
		{"https://example.org", "main", albs.Invalid},
		{"https://-x/y", "main", albs.Invalid},
		{"https://127.0.0.1:1/x", "main", albs.Forbidden},
		{"https://10.0.0.1/x", "main", albs.Forbidden},
		{"https://[::1]/x", "main", albs.Forbidden},
		{s.URL("x"), "--output=x", albs.Invalid},
		{s.URL("x"), ";id", albs.Invalid},
		{s.URL("x"), "$(id)", albs.Invalid},
		{s.URL("x"), "%(id)", albs.Invalid},
		{s.URL("x"), "a..b", albs.Invalid},
		{s.URL("x"), "a b", albs.Invalid},
		{s.URL("x"), "a:b", albs.Invalid},
		{s.URL("x"), "a\n", albs.Invalid},
		{s.URL("x"), "", albs.Invalid},
	} {
		if _, _, err := m.Resolve(t.Context(), c.url, c.ref); albs.KindOf(err) != c.kind {
			t.Errorf("Resolve(%q, %q) = %v, want kind %q", c.url, c.ref, err, c.kind)
		}
	}
	if err := m.Fetch(t.Context(), s.URL("x"), "--exec=x"); !errors.Is(err, albs.Invalid) {
		t.Errorf("Fetch of an option = %v, want Invalid", err)
	}
	if s.Requests() != 0 {
		t.Errorf("%d requests reached the server, want none", s.Requests())
	}
	entries, err := os.ReadDir(m.dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() != "home" && e.Name() != "ca-bundle.pem" {
			t.Errorf("%s was made", e.Name())
		}
	}
}

// What ValidRef lets through, git's own check lets through.
func FuzzValidRef(f *testing.F) {
	for _, s := range []string{"main", "c9", "imports/c9/bash-5.1.8-6.el9", "v1.0", "a/.b", "x.lock", "x.lock/y", "a//b", "/a", "a/", "@", "a@b", "a@{b", "a.", "a..b", "-a", "HEAD"} {
		f.Add(s)
	}
	git, err := exec.LookPath("git")
	if err != nil {
		f.Skip("git is not installed")
	}
	f.Fuzz(func(t *testing.T, s string) {
		if ValidRef(s) != nil {
			return
		}
		if err := exec.Command(git, "check-ref-format", "--allow-onelevel", s).Run(); err != nil {
			t.Errorf("ValidRef(%q) passed, git check-ref-format: %v", s, err)
		}
	})
}

func TestParseTree(t *testing.T) {
	t.Parallel()
	for _, bad := range []string{
		"100644 blob 0123 12\ta", "100644 blob 0123\ta\x00", "100644 blob 0123 12 5\ta\x00", "100644 blob 0123 12 a\x00",
		"100644 blob 0123 -12\ta\x00", "100644 blob 0123 x\ta\x00",
	} {
		if es, err := parseTree(bad); err == nil {
			t.Errorf("parseTree(%q) = %v", bad, es)
		}
	}
	es, err := parseTree("100644 blob 0123      12\ta b\x00160000 commit 4567       -\tsub\x00")
	want := []Entry{{Path: "a b", Mode: "100644", Object: "0123", Size: 12}, {Path: "sub", Mode: "160000", Object: "4567"}}
	if err != nil || !slices.Equal(es, want) {
		t.Errorf("parseTree = %v, %v; want %v", es, err, want)
	}
}

func FuzzParseTree(f *testing.F) {
	f.Add("100644 blob 0123 12\ta\x00160000 commit 0123       -\tsub\x00")
	f.Fuzz(func(t *testing.T, s string) {
		entries, err := parseTree(s)
		if err == nil && len(entries) != strings.Count(s, "\x00") {
			t.Errorf("parseTree(%q) = %d entries", s, len(entries))
		}
	})
}

func TestNetworkTrouble(t *testing.T) {
	t.Parallel()
	busy := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case strings.HasPrefix(r.URL.Path, "/private/"):
			w.WriteHeader(http.StatusUnauthorized)
		case strings.HasPrefix(r.URL.Path, "/page/"):
			_, _ = io.WriteString(w, "<html>a page</html>")
		case strings.HasPrefix(r.URL.Path, "/away/"):
			http.Redirect(w, r, "https://10.0.0.1/x/info/refs", http.StatusFound)
		default:
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	t.Cleanup(busy.Close)
	s := gittest.NewServer(t) // for its certificate alone
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(busy), 0o600); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(busy.URL, "https://")
	e, err := egress.New(egress.Policy{Allow: []string{addr, "127.0.0.1:1", s.Addr()}, CAFiles: []string{ca}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.TempDir(), e)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		url  string
		want albs.Kind
	}{
		{busy.URL + "/busy/x", albs.Unavailable},
		{busy.URL + "/private/x", albs.NotFound},
		{busy.URL + "/page/x", albs.NotFound},
		{busy.URL + "/away/x", albs.Forbidden},
		{"https://127.0.0.1:1/x", albs.Unavailable},
		{s.URL("x"), albs.Forbidden}, // its authority is not trusted here
	} {
		if _, _, err := m.Resolve(t.Context(), c.url, "main"); albs.KindOf(err) != c.want {
			t.Errorf("Resolve(%s) = %v, want kind %q", c.url, err, c.want)
		}
		if err := m.Fetch(t.Context(), c.url, strings.Repeat("ab", 20)); albs.KindOf(err) != c.want {
			t.Errorf("Fetch(%s) = %v, want kind %q", c.url, err, c.want)
		}
	}
}

func TestConcurrentFetch(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	commits := []string{s.AddRepo("hello", map[string]string{"a": "0"})}
	for _, c := range []string{"1", "2"} {
		commits = append(commits, s.Commit("hello", "main", map[string]string{"a": c}))
	}
	m := setup(t, s)
	// A second process is a second Mirrors over the same directory.
	other, err := New(m.dir, m.egress)
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	for i := range 6 {
		wg.Go(func() {
			who := []*Mirrors{m, other}[i%2]
			want := []string{"0", "1", "2"}[i%3]
			if got, err := who.Read(t.Context(), s.URL("hello"), commits[i%3], "a", 10); err != nil || string(got) != want {
				t.Errorf("Read = %q, %v; want %q", got, err, want)
			}
		})
	}
	wg.Wait()
}

// Locks and half packs that a killed git left don't stop the next fetch.
func TestDebris(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	first := s.AddRepo("hello", map[string]string{"a": "1"})
	second := s.Commit("hello", "main", map[string]string{"a": "2"})
	m := setup(t, s)
	if err := m.Fetch(t.Context(), s.URL("hello"), first); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(m.dir, mirrorName(s.URL("hello")))
	for _, name := range []string{"shallow.lock", "refs/albs/" + second + ".lock", "objects/pack/tmp_pack_x"} {
		if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.Fetch(t.Context(), s.URL("hello"), second); err != nil {
		t.Errorf("Fetch over debris = %v", err)
	}
}

// TestNoOrphan kills a process that runs git: the git dies with it.
func TestNoOrphan(t *testing.T) {
	const env = "ALBS_TEST_RUNS_GIT"
	if dir := os.Getenv(env); dir != "" { // the process to be killed
		m := &Mirrors{dir: dir, home: dir}
		t.Fatal(m.run(t.Context(), command{args: []string{"version"}, limit: 100}))
	}
	t.Parallel()
	dir := t.TempDir()
	script := "#!/bin/sh\necho $$ >" + dir + "/new && mv " + dir + "/new " + dir + "/pid\nexec sleep 600\n"
	if err := os.WriteFile(filepath.Join(dir, "git"), []byte(script), 0o700); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(os.Args[0], "-test.run=^TestNoOrphan$")
	cmd.Env = append(os.Environ(), env+"="+dir, "PATH="+dir+":"+os.Getenv("PATH"))
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	wait := func(what string, ok func() bool) {
		t.Helper()
		tick := time.NewTicker(5 * time.Millisecond)
		defer tick.Stop()
		for end := time.After(2 * time.Minute); !ok(); {
			select {
			case <-tick.C:
			case <-end:
				t.Errorf("waited in vain until %s", what)
				return
			}
		}
	}
	var pid string
	wait("git runs", func() bool {
		b, err := os.ReadFile(filepath.Join(dir, "pid"))
		pid = strings.TrimSpace(string(b))
		return err == nil
	})
	if err := cmd.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = cmd.Wait() // it was killed
	if pid == "" {
		return
	}
	wait("git is dead", func() bool { // a zombie, or nobody's
		b, err := os.ReadFile("/proc/" + pid + "/stat")
		return err != nil || strings.Contains(string(b), ") Z ")
	})
	if t.Failed() {
		exec.Command("kill", "-9", pid).Run()
	}
}

func TestCancelled(t *testing.T) {
	t.Parallel()
	reached, release := make(chan struct{}), make(chan struct{})
	var once sync.Once
	srv := httptest.NewTLSServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		once.Do(func() { close(reached) })
		<-release
	}))
	t.Cleanup(srv.Close)
	t.Cleanup(func() { close(release) })
	ca := filepath.Join(t.TempDir(), "ca.pem")
	if err := os.WriteFile(ca, pemOf(srv), 0o600); err != nil {
		t.Fatal(err)
	}
	e, err := egress.New(egress.Policy{Allow: []string{"127.0.0.1"}, CAFiles: []string{ca}})
	if err != nil {
		t.Fatal(err)
	}
	m, err := New(t.TempDir(), e)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-reached
		cancel()
	}()
	if _, _, err := m.Resolve(ctx, srv.URL+"/x", "main"); !errors.Is(err, albs.Unavailable) || !errors.Is(err, context.Canceled) {
		t.Errorf("Resolve after cancel = %v, want Unavailable and context.Canceled", err)
	}
}

func pemOf(s *httptest.Server) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

// TestClean: a mirror goes when it was out of use for so long, and is made again.
func TestClean(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	m := setup(t, s)
	for _, name := range []string{"idle", "busy"} {
		commit := s.AddRepo(name, map[string]string{"a": "1"})
		if err := m.Fetch(t.Context(), s.URL(name), commit); err != nil {
			t.Fatal(err)
		}
		head := filepath.Join(m.dir, mirrorName(s.URL(name)), "HEAD")
		old := time.Now().Add(-48 * time.Hour)
		if err := os.Chtimes(head, old, old); err != nil {
			t.Fatal(err)
		}
		if name == "busy" { // by a fetch that finds all of it there
			if err := m.Fetch(t.Context(), s.URL(name), commit); err != nil {
				t.Fatal(err)
			}
		}
	}
	before := time.Now().Add(-24 * time.Hour)
	for _, c := range []struct {
		dryRun bool
		want   int
	}{{true, 1}, {false, 1}, {false, 0}} {
		if n, err := m.Clean(t.Context(), before, c.dryRun); err != nil || n != c.want {
			t.Errorf("Clean, dry %v, = %d, %v; want %d", c.dryRun, n, err, c.want)
		}
	}
	for name, want := range map[string]bool{"idle": false, "busy": true} {
		if _, err := os.Stat(filepath.Join(m.dir, mirrorName(s.URL(name)))); (err == nil) != want {
			t.Errorf("mirror %s is there: %v, want %v", name, err == nil, want)
		}
	}
	commit := s.Commit("idle", "main", map[string]string{"a": "2"})
	if got, err := m.Read(t.Context(), s.URL("idle"), commit, "a", 10); err != nil || string(got) != "2" {
		t.Errorf("Read of a mirror that was removed = %q, %v", got, err)
	}
}
