package verify

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/pgp"
)

// repo is a public repository in a folder of a world. Packages lie elsewhere and are
// linked to, as a tree links into the pool.
type repo struct {
	*world
	dir     string
	primary strings.Builder
	n       int
}

func newRepo(t *testing.T, w *world, name string) *repo {
	t.Helper()
	r := &repo{world: w, dir: filepath.Join(w.dir, name)}
	for _, dir := range []string{"repodata", "../pool-" + name} {
		if err := os.MkdirAll(filepath.Join(r.dir, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("../pool-"+name, filepath.Join(r.dir, "Packages")); err != nil {
		t.Fatal(err)
	}
	return r
}

// add publishes a package and lists it; it returns where it lies.
func (r *repo) add(t *testing.T, p attesttest.Released) string {
	t.Helper()
	path, err := p.Save(filepath.Join(r.dir, "Packages"))
	if err != nil {
		t.Fatal(err)
	}
	n := p.Package.NEVRA
	fmt.Fprintf(&r.primary, `<package type="rpm"><name>%s</name><arch>%s</arch><version epoch="0" ver="%s" rel="%s"/><checksum type="sha256" pkgid="YES">%s</checksum>`+
		`<size package="%d"/><location href="Packages/%s"/></package>`, n.Name, n.Arch, n.Version, n.Release, albs.DigestOf(p.Signed), len(p.Signed), n.Filename())
	r.n++
	return path
}

// seal writes the metadata, signed by key.
func (r *repo) seal(t *testing.T, key *pgp.Key) {
	t.Helper()
	primary := fmt.Sprintf(`<metadata xmlns="http://linux.duke.edu/metadata/common" packages="%d">%s</metadata>`, r.n, r.primary.String())
	repomd := fmt.Sprintf(`<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision><data type="primary"><checksum type="sha256">%s</checksum>`+
		`<location href="repodata/primary.xml"/><size>%d</size></data></repomd>`, albs.DigestOf([]byte(primary)), len(primary))
	asc, err := key.SignArmored(strings.NewReader(repomd))
	if err != nil {
		t.Fatal(err)
	}
	for name, b := range map[string]string{"primary.xml": primary, "repomd.xml": repomd, "repomd.xml.asc": string(asc)} {
		if err := os.WriteFile(filepath.Join(r.dir, "repodata", name), []byte(b), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// TestRepository crawls a public repository, in a folder and by HTTP, and finds each gap
// that is in it: every package must have its whole chain, from the commit to the log.
func TestRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	whole := newRepo(t, w, "whole")
	for _, n := range []string{hello, earth, "hello-1-1.src.rpm", "world-1-1.src.rpm"} {
		whole.add(t, w.release(t, n))
	}
	whole.seal(t, w.Key)
	server := httptest.NewServer(http.FileServer(http.Dir(w.dir)))
	t.Cleanup(server.Close)
	for _, at := range []string{whole.dir, (&url.URL{Scheme: "file", Path: whole.dir}).String(), server.URL + "/whole", server.URL + "/whole/"} {
		w.run(t, "--repo", at).want(t, at, 0, "4 of 4 packages of "+at+" are verified\n")
	}
	w.run(t, "--repo", whole.dir, "--arch", "src").want(t, "one arch", 0, "2 of 2")
	w.run(t, "--repo", whole.dir, "--arch", "noarch", "--arch", "src", "--name", "hel*").want(t, "one name", 0, "2 of 2")
	w.run(t, "--repo", whole.dir, "--name", "no*").want(t, "no such name", 1, "lists no such package")
	w.run(t, "--repo", whole.dir, "--name", "[").want(t, "no pattern", 1, "is no pattern")
	w.run(t, "--repo", filepath.Join(w.dir, "none")).want(t, "no repository", 1, "repomd.xml")
	w.run(t, "--repo", server.URL+"/none").want(t, "no repository at the server", 1, "404")
	w.run(t, "--repo", "https://user:secret@example.org/x").want(t, "a URL with a password", 1, "credentials")
	w.run(t, "--repo", whole.dir+"?x").want(t, "no folder", 1)
	w.run(t, "--repo", "gopher://example.org/").want(t, "another scheme", 1, "must begin with")

	for _, tc := range []struct {
		name string
		but  string // what is stated of one package
		gap  func(path string)
		code int
		says string
	}{
		{"no bundle", "", func(path string) { remove(t, path+attest.EnvelopesSuffix) }, 10, "albs artifact bundle"},
		{"no ledger proof", "", func(path string) { remove(t, path+attest.ProofSuffix) }, 10, "albs artifact bundle"},
		{"no log proof", "", func(path string) { remove(t, path+attest.LogProofSuffix) }, 11, "nothing proves"},
		{"no commit", attest.Commit, nil, 6, "a commit was notarized"},
		{"no source", attest.Source, nil, 6, "where source package"},
		{"no build", attest.Build, nil, 6, "was built"},
		{"no test", attest.Test, nil, 6, "was tested"},
		{"no signing", attest.Sign, nil, 6, "was signed"},
		{"no release", attest.Release, nil, 6, "was released"},
		{"no package", "", func(path string) { remove(t, path) }, 10, "doesn't have it"},
		{"a package cut off", "", func(path string) {
			if err := os.Truncate(path, int64(len(read(t, path))-1)); err != nil {
				t.Fatal(err)
			}
		}, 4, "digest: "},
		{"a larger package", "", func(path string) {
			if err := os.WriteFile(path, append(read(t, path), 0), 0o644); err != nil {
				t.Fatal(err)
			}
		}, 4, "digest: "},
	} {
		r := newRepo(t, w, strings.ReplaceAll(tc.name, " ", "-"))
		r.add(t, w.release(t, hello))
		r.add(t, w.release(t, "hello-1-1.src.rpm"))
		path := r.add(t, w.release(t, earth, tc.but))
		r.seal(t, w.Key)
		if tc.gap != nil {
			tc.gap(path)
		}
		for _, at := range []string{r.dir, server.URL + "/" + filepath.Base(r.dir)} {
			w.run(t, "--repo", at).want(t, tc.name+" in "+at, tc.code, "1 of 3 packages of "+at+" are NOT verified", "Packages/"+earth+" is NOT verified: ", tc.says)
		}
	}
}

// TestForgedRepository believes nothing that no trusted key signed.
func TestForgedRepository(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	stranger, err := pgp.Generate("Stranger <stranger@example.org>", pgp.Ed25519, pastHour())
	if err != nil {
		t.Fatal(err)
	}
	file := func(r *repo, name string) string { return filepath.Join(r.dir, "repodata", name) }
	for i, tc := range []struct {
		name string
		key  *pgp.Key
		do   func(r *repo)
		code int
		says string
	}{
		{"signed by a stranger", stranger, nil, 3, "not what a trusted key signed"},
		{"not signed", w.Key, func(r *repo) { remove(t, file(r, "repomd.xml.asc")) }, 3, "not signed"},
		{"another repomd", w.Key, func(r *repo) { change(t, file(r, "repomd.xml"), 100) }, 3, "not what a trusted key signed"},
		{"another primary", w.Key, func(r *repo) { change(t, file(r, "primary.xml"), 100) }, 4, "the signed repomd.xml says"},
		{"no primary", w.Key, func(r *repo) { remove(t, file(r, "primary.xml")) }, 1, "primary.xml"},
		{"another package than is listed", w.Key, func(r *repo) {
			// A whole chain of its own, under the name of another.
			one, two := filepath.Join(r.dir, "Packages", hello), filepath.Join(r.dir, "Packages", earth)
			for _, suffix := range []string{"", attest.EnvelopesSuffix, attest.ProofSuffix, attest.LogProofSuffix} {
				if err := os.WriteFile(two+suffix, read(t, one+suffix), 0o644); err != nil {
					t.Fatal(err)
				}
			}
		}, 4, "the repository lists it with"},
	} {
		r := newRepo(t, w, fmt.Sprint("forged-", i))
		r.add(t, w.release(t, hello))
		r.add(t, w.release(t, earth))
		r.seal(t, tc.key)
		if tc.do != nil {
			tc.do(r)
		}
		w.run(t, "--repo", r.dir).want(t, tc.name, tc.code, "NOT verified", tc.says)
	}
}
