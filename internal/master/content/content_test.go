package content_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/rs/zerolog"

	"albs/internal/albs"
	"albs/internal/blob"
	"albs/internal/master/artifact"
	"albs/internal/master/content"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/event"
	"albs/internal/master/face/facetest"
	"albs/internal/master/repo"
	"albs/internal/repodata"
	"albs/internal/rpm/rpmtest"
)

const (
	alpha = "alpha-1-1.noarch.rpm"
	beta  = "beta-1-1.noarch.rpm"
)

// rpms builds two small RPMs with the real rpmbuild, once.
var rpms = sync.OnceValues(func() (map[string][]byte, error) {
	return rpmtest.Build("Name: alpha\nVersion: 1\nRelease: 1\nSummary: A\nLicense: MIT\nBuildArch: noarch\n%description\nA.\n%files\n" +
		"%package -n beta\nSummary: B\n%description -n beta\nB.\n%files -n beta\n")
})

type fixture struct {
	t         *testing.T
	d         *db.DB
	dir       string // of the blobs
	artifacts *artifact.Artifacts
	repos     *repo.Repos
	handler   http.Handler
	url       string
}

// logs are public logs in a folder, of which every file is one.
type logs string

func (l logs) Open(_ context.Context, name string) (string, bool, error) {
	if strings.Contains(name, "key") {
		return "", false, albs.Errorf(albs.NotFound, "it is none of yours")
	}
	return filepath.Join(string(l), name), strings.HasSuffix(name, "/000"), nil
}

// TestLogs serves the files of a public log, each as what it is.
func TestLogs(t *testing.T) {
	t.Parallel()
	f := setup(t)
	for name, text := range map[string]string{"1/checkpoint": "log\n3\n", "1/tile/0/000": "tile", "1.key": "secret"} {
		file := filepath.Join(f.dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(file), 0o755), os.WriteFile(file, []byte(text), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	for name, want := range map[string][4]string{
		"1/checkpoint": {"200 OK", "text/plain; charset=utf-8", "no-cache", "log\n3\n"},
		"1/tile/0/000": {"200 OK", "application/octet-stream", "public, max-age=31536000, immutable", "tile"},
		"1/tile/0/001": {"404 Not Found", "text/plain; charset=utf-8", "no-store", ""},
		"1.key":        {"404 Not Found", "text/plain; charset=utf-8", "no-store", ""},
	} {
		resp, err := http.Get(f.url + "/transparency/" + name)
		if err != nil {
			t.Fatal(err)
		}
		b, err := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		got := [4]string{resp.Status, resp.Header.Get("Content-Type"), resp.Header.Get("Cache-Control"), string(b)}
		if want[3] == "" {
			got[3] = ""
		}
		if err != nil || got != want {
			t.Errorf("%s: %q, %v, want %q", name, got, err, want)
		}
	}
}

func setup(t *testing.T) *fixture {
	t.Helper()
	if _, err := rpms(); errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed here")
	} else if err != nil {
		t.Fatal(err)
	}
	f := &fixture{t: t, d: dbtest.Open(t, dbtest.SQLite(t)), dir: t.TempDir()}
	blobs, err := blob.NewDir(f.dir)
	if err != nil {
		t.Fatal(err)
	}
	staging, err := blob.NewStaging(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	f.artifacts = artifact.New(f.d, blobs, staging)
	f.repos = repo.New(f.d, f.artifacts, event.New(f.d, zerolog.Nop()))
	f.handler = content.New(content.Parts{Artifacts: f.artifacts, Repos: f.repos, Logs: logs(f.dir), Log: zerolog.Nop()})
	srv := httptest.NewServer(f.handler)
	t.Cleanup(srv.Close)
	f.url = srv.URL
	return f
}

func (f *fixture) must(err error) {
	f.t.Helper()
	if err != nil {
		f.t.Fatal(err)
	}
}

// save keeps a file as an artifact with its row.
func (f *fixture) save(name string, b []byte, k artifact.Kind) artifact.Artifact {
	f.t.Helper()
	a, err := f.artifacts.Save(f.t.Context(), bytes.NewReader(b), 1<<20, name, k)
	f.must(err)
	f.must(f.d.InTx(f.t.Context(), func(tx db.Tx) error { return f.artifacts.Add(f.t.Context(), tx, a) }))
	return a
}

func (f *fixture) rpm(name string) artifact.Artifact {
	f.t.Helper()
	made, err := rpms()
	f.must(err)
	return f.save(name, made[name], artifact.RPM)
}

// repository makes a build's repository with packages.
func (f *fixture) repository(name string, as ...artifact.Artifact) albs.Digest {
	f.t.Helper()
	ctx := f.t.Context()
	f.must(f.d.InTx(ctx, func(tx db.Tx) error { return f.repos.Ensure(ctx, tx, name) }))
	from, to, err := f.repos.Extend(ctx, name, as, nil)
	f.must(err)
	f.must(f.d.InTx(ctx, func(tx db.Tx) error { return f.repos.Advance(ctx, tx, name, from, to) }))
	return to
}

// show publishes a snapshot as the one repository of product p.
func (f *fixture) show(from int64, snapshot albs.Digest, files ...repodata.TreeFile) {
	f.t.Helper()
	ctx := f.t.Context()
	tree := repodata.Tree{
		Product: "p", Serial: from + 1, Files: files,
		Repositories: []repodata.TreeRepo{{Path: "BaseOS/x86_64/os", Snapshot: snapshot}},
	}
	d, err := f.repos.SaveTree(ctx, tree)
	f.must(err)
	f.must(f.d.InTx(ctx, func(tx db.Tx) error { return f.repos.AdvanceTree(ctx, tx, "p", from, tree, d) }))
}

func (f *fixture) do(method, path string, header http.Header) (*http.Response, []byte) {
	f.t.Helper()
	req, err := http.NewRequestWithContext(f.t.Context(), method, f.url, nil)
	f.must(err)
	req.URL.Opaque = strings.TrimPrefix(f.url, "http:") + path // as it is, not cleaned
	req.Header = header
	resp, err := http.DefaultTransport.RoundTrip(req)
	f.must(err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		b = nil
	}
	return resp, b
}

func (f *fixture) status(method, path string, want int) []byte {
	f.t.Helper()
	resp, b := f.do(method, path, http.Header{})
	if resp.StatusCode != want {
		f.t.Errorf("%s %s = %d %s, want %d", method, path, resp.StatusCode, b, want)
	}
	return b
}

func TestServe(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := f.rpm(alpha)
	snapshot := f.repository("build/7/el9/x86_64", a)
	s, err := f.repos.Open(t.Context(), snapshot)
	f.must(err)
	key := f.save("RPM-GPG-KEY-p", []byte("a key\n"), artifact.Document)
	f.show(0, snapshot, repodata.TreeFile{Path: "RPM-GPG-KEY-p", Digest: key.Digest, Size: key.Size})

	for _, tt := range []struct {
		path   string
		digest albs.Digest
		media  string
		cache  string
	}{
		{"/repos/build/7/el9/x86_64/repodata/repomd.xml", s.Repomd(), "application/xml", "no-cache"},
		{"/repos/build/7/el9/x86_64/" + s.Files()[0].Path, s.Files()[0].Digest, "application/gzip", "immutable"},
		{"/repos/build/7/el9/x86_64/Packages/a/" + alpha, a.Digest, "application/x-rpm", "no-cache"},
		{"/repos/product/p/BaseOS/x86_64/os/repodata/repomd.xml", s.Repomd(), "application/xml", "no-cache"},
		{"/repos/product/p/BaseOS/x86_64/os/Packages/a/" + alpha, a.Digest, "application/x-rpm", "no-cache"},
		{"/repos/product/p/RPM-GPG-KEY-p", key.Digest, "text/plain; charset=utf-8", "no-cache"},
		{"/blobs/" + string(a.Digest), a.Digest, "application/x-rpm", "immutable"},
	} {
		resp, b := f.do("GET", tt.path, http.Header{})
		if resp.StatusCode != http.StatusOK || albs.DigestOf(b) != tt.digest {
			t.Errorf("GET %s = %d, %s, want %s", tt.path, resp.StatusCode, albs.DigestOf(b).Short(), tt.digest.Short())
		}
		h := resp.Header
		if h.Get("ETag") != `"`+string(tt.digest)+`"` || h.Get("Content-Type") != tt.media || h.Get("X-Content-Type-Options") != "nosniff" ||
			h.Get("Content-Security-Policy") != "default-src 'none'; sandbox" ||
			!strings.Contains(h.Get("Cache-Control"), tt.cache) {
			t.Errorf("GET %s has headers %v", tt.path, h)
		}
		if resp, b := f.do("HEAD", tt.path, http.Header{}); resp.StatusCode != http.StatusOK || len(b) != 0 || resp.ContentLength <= 0 {
			t.Errorf("HEAD %s = %d, %d bytes, length %d", tt.path, resp.StatusCode, len(b), resp.ContentLength)
		}
		if resp, _ := f.do("GET", tt.path, http.Header{"If-None-Match": {h.Get("ETag")}}); resp.StatusCode != http.StatusNotModified {
			t.Errorf("GET %s with its ETag = %d", tt.path, resp.StatusCode)
		}
	}

	facetest.Impatient(t, f.handler, "/blobs/"+string(a.Digest))

	made, err := rpms()
	f.must(err)
	for header, want := range map[string][]byte{"bytes=5-9": made[alpha][5:10], "bytes=-4": made[alpha][len(made[alpha])-4:]} {
		resp, b := f.do("GET", "/blobs/"+string(a.Digest), http.Header{"Range": {header}})
		if resp.StatusCode != http.StatusPartialContent || !bytes.Equal(b, want) {
			t.Errorf("GET of %s = %d, %q, want %q", header, resp.StatusCode, b, want)
		}
	}
	if resp, _ := f.do("GET", "/blobs/"+string(a.Digest), http.Header{"Range": {"bytes=99999999-"}}); resp.StatusCode != http.StatusRequestedRangeNotSatisfiable {
		t.Errorf("GET of a range beyond the end = %d", resp.StatusCode)
	}
}

func TestRefusals(t *testing.T) {
	t.Parallel()
	f := setup(t)
	snapshot := f.repository("build/7/el9/x86_64", f.rpm(alpha))
	f.show(0, snapshot)
	tree := f.save("tree.tar", []byte("a tar"), artifact.Tree)
	source := f.save("x.tar.gz", []byte("a source"), artifact.Source)

	base := "/repos/build/7/el9/x86_64/"
	for path, want := range map[string]int{
		"/":                              404,
		"/repos/":                        404,
		base:                             404, // no listing
		base + "repodata/":               404,
		base + "Packages/a":              404,
		base + "Packages/b/" + beta:      404,
		base + "repodata/repomd.xml.asc": 404, // not signed
		base + "%2e%2e/secret":           404,
		base + "Packages/a/%2f" + alpha:  404,
		"/repos/build/8/el9/x86_64/repodata/repomd.xml":         404,
		"/repos/build/7/el9/src/repodata/repomd.xml":            404,
		"/repos/build/7%2fel9/x86_64/x/repodata/repomd.xml":     404,
		"/repos/product/q/BaseOS/x86_64/os/repodata/repomd.xml": 404,
		"/repos/product/p/":                                        404,
		"/repos/product/p/BaseOS/x86_64/os/":                       404,
		"/repos/product/p/AppStream/x86_64/os/repodata/repomd.xml": 404,
		"/repos/product/p/tree.json":                               404,
		"/blobs/":                                                  404,
		"/blobs/xyz":                                               400,
		"/blobs/" + string(albs.DigestOf([]byte("nothing of the kind"))): 404,
		"/blobs/" + string(snapshot):                                     404, // a blob without a row
		"/blobs/" + string(tree.Digest):                                  403,
		"/blobs/" + string(source.Digest):                                403,
	} {
		f.status("GET", path, want)
	}
	for _, method := range []string{"POST", "PUT", "DELETE", "PATCH"} {
		f.status(method, base+"repodata/repomd.xml", http.StatusMethodNotAllowed)
	}
	// A path that isn't clean is sent to the clean one, which is looked up like any other.
	if resp, _ := f.do("GET", base+"../../../../../etc/passwd", http.Header{}); resp.StatusCode/100 != 3 && resp.StatusCode != 404 {
		t.Errorf("a path with dots = %d", resp.StatusCode)
	}
}

// TestCorrupt: bytes that aren't what their name says are never sent (T13).
func TestCorrupt(t *testing.T) {
	t.Parallel()
	f := setup(t)
	a := f.save("build.log", bytes.Repeat([]byte("line\n"), 1000), artifact.Log)
	f.status("GET", "/blobs/"+string(a.Digest), 200)
	file := filepath.Join(f.dir, "sha256", string(a.Digest[:2]), string(a.Digest[2:]))
	b, err := os.ReadFile(file)
	f.must(err)
	b[2500] ^= 1
	f.must(os.Chmod(file, 0o644))
	f.must(os.WriteFile(file, b, 0o644))
	for _, h := range []http.Header{{}, {"Range": {"bytes=0-9"}}} {
		if resp, got := f.do("GET", "/blobs/"+string(a.Digest), h); resp.StatusCode != 500 || bytes.Contains(got, []byte("line")) || bytes.Contains(got, []byte(f.dir)) {
			t.Errorf("GET of a corrupt file with %v = %d %q", h, resp.StatusCode, got)
		}
	}
}

// TestOldMetadata: whoever has read repomd.xml before a publication still finds
// what it names.
func TestOldMetadata(t *testing.T) {
	t.Parallel()
	f := setup(t)
	one := f.repository("one", f.rpm(alpha))
	s, err := f.repos.Open(t.Context(), one)
	f.must(err)
	file := "/repos/product/p/BaseOS/x86_64/os/" + s.Files()[0].Path
	f.show(0, one)
	two, err := f.repos.ExtendSnapshot(t.Context(), one, repo.Change{Add: []artifact.Artifact{f.rpm(beta)}})
	f.must(err)
	for serial := range int64(3) {
		f.status("GET", file, 200)
		f.show(serial+1, two)
	}
	f.status("GET", file, 404)
	f.status("GET", "/repos/product/p/BaseOS/x86_64/os/Packages/a/"+alpha, 200)
}

// TestWithdrawn: what a product shows no more is gone at once, unlike metadata.
func TestWithdrawn(t *testing.T) {
	t.Parallel()
	f := setup(t)
	both, one := f.repository("both", f.rpm(alpha), f.rpm(beta)), f.repository("one", f.rpm(alpha))
	f.show(0, both)
	const file = "/repos/product/p/BaseOS/x86_64/os/Packages/b/" + beta
	f.status("GET", file, 200)
	f.show(1, one)
	f.status("GET", file, 404)
}

// TestDNF has the real dnf list and download from a build's repository and from a
// product's.
func TestDNF(t *testing.T) {
	t.Parallel()
	dnf, err := exec.LookPath("dnf")
	if err != nil {
		t.Skip("dnf is not installed here")
	}
	f := setup(t)
	snapshot := f.repository("build/7/el9/x86_64", f.rpm(alpha), f.rpm(beta))
	f.show(0, snapshot)
	made, err := rpms()
	f.must(err)
	for name, url := range map[string]string{
		"build":   f.url + "/repos/build/7/el9/x86_64/",
		"product": f.url + "/repos/product/p/BaseOS/x86_64/os/",
	} {
		dir := t.TempDir()
		run := func(args ...string) string {
			t.Helper()
			cmd := exec.CommandContext(t.Context(), dnf, append([]string{
				"--installroot=" + filepath.Join(dir, "root"), "--releasever=9", "--forcearch=x86_64", "--disablerepo=*", "--repofrompath=t," + url,
				"--setopt=t.gpgcheck=0", "--setopt=cachedir=" + filepath.Join(dir, "cache"), "--setopt=reposdir=/nonexistent", "-q", "-y",
			}, args...)...)
			cmd.Dir = dir
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("dnf %v in the %s repository: %v\n%s", args, name, err, out)
			}
			return string(out)
		}
		if out := run("repoquery", "--qf", "%{name}-%{version}-%{release}.%{arch}\n"); !strings.Contains(out, "alpha-1-1.noarch") || !strings.Contains(out, "beta-1-1.noarch") {
			t.Errorf("dnf lists %q in the %s repository", out, name)
		}
		// The command download is a plugin's, which isn't everywhere.
		run("install", "--downloadonly", "beta")
		var got []string
		err := filepath.WalkDir(filepath.Join(dir, "cache"), func(p string, _ fs.DirEntry, err error) error {
			if filepath.Base(p) == beta {
				got = append(got, p)
			}
			return err
		})
		if err != nil || len(got) != 1 {
			t.Fatalf("dnf left %q in its cache, %v", got, err)
		}
		if b, err := os.ReadFile(got[0]); err != nil || !bytes.Equal(b, made[beta]) {
			t.Errorf("dnf downloaded %d bytes, %v", len(b), err)
		}
	}
}
