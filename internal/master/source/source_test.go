package source_test

import (
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha512"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/egress"
	"albs/internal/git"
	"albs/internal/git/gittest"
	"albs/internal/master/db"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/mastertest"
	"albs/internal/master/source"
)

// fixture is sources over a fresh database, with a forge and two look-aside caches.
type fixture struct {
	*source.Sources
	*mastertest.Modules
	t        *testing.T
	forge    *gittest.Server
	caches   []string // directories
	patterns []string
	autospec bool
}

const spec = "Name: foo\n"

var limits = source.Limits{Tree: 1 << 20, File: 1000, History: 20_000}

// each runs f on every database.
func each(t *testing.T, f func(t *testing.T, f *fixture)) {
	t.Parallel()
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		x := &fixture{t: t, forge: gittest.NewServer(t), caches: []string{t.TempDir(), t.TempDir()}}
		p := egress.Policy{Allow: []string{x.forge.Addr()}, CAFiles: []string{x.forge.CAFile()}}
		for _, dir := range x.caches {
			p.Allow = append(p.Allow, "file://"+dir)
			x.patterns = append(x.patterns, "file://"+dir+"/{hash}")
		}
		out, err := egress.New(p)
		if err != nil {
			t.Fatal(err)
		}
		mirrors, err := git.New(t.TempDir(), out)
		if err != nil {
			t.Fatal(err)
		}
		x.Modules = mastertest.Open(t, d, mastertest.Config{})
		x.Sources = source.New(d, x.Artifacts, mirrors, out, limits)
		f(t, x)
	})
}

// put puts content under a digest into the nth cache.
func (f *fixture) put(n int, hex, content string) {
	f.t.Helper()
	if err := os.WriteFile(filepath.Join(f.caches[n], hex), []byte(content), 0o644); err != nil {
		f.t.Fatal(err)
	}
}

// imports commits the files to a new repository and imports it.
func (f *fixture) imports(name string, files map[string]string) (albs.ImportResult, string, error) {
	f.t.Helper()
	return f.importsOf(name, f.forge.AddRepo(name, files))
}

// importsOf imports a commit of a repository.
func (f *fixture) importsOf(name, commit string) (albs.ImportResult, string, error) {
	f.t.Helper()
	c := source.Commit{URL: f.forge.URL(name), Ref: "main", SHA: commit}
	var log strings.Builder
	r, err := f.Import(f.t.Context(), c, source.Wanted{Lookaside: f.patterns, Autospec: f.autospec}, &log)
	return r, log.String(), err
}

func sum1(s string) string {
	h := sha1.Sum([]byte(s))
	return hex.EncodeToString(h[:])
}

func sum512(s string) string {
	h := sha512.Sum512([]byte(s))
	return hex.EncodeToString(h[:])
}

// TestImport: every look-aside file is checked by the digest that the commit lists,
// of whichever kind, and is known by its sha256 from then on.
func TestImport(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		one, two, three := "the first", "the second", "the third"
		f.put(0, sum1(one), one)
		f.put(1, string(albs.DigestOf([]byte(two))), two) // not in the first cache
		f.put(0, sum512(three), three)
		got, _, err := f.imports("foo", map[string]string{
			"SPECS/foo.spec": spec,
			".foo.metadata":  sum1(one) + " SOURCES/one\n" + string(albs.DigestOf([]byte(two))) + " two\nSHA512 (three) = " + sum512(three) + "\n",
		})
		if err != nil {
			t.Fatal(err)
		}
		want := albs.ImportResult{Tree: got.Tree, Spec: "SPECS/foo.spec", Package: "foo"}
		for name, content := range map[string]string{"one": one, "two": two, "three": three} {
			want.Sources = append(want.Sources, albs.File{Name: name, Digest: albs.DigestOf([]byte(content)), Size: int64(len(content))})
		}
		byName := cmp.Transformer("byName", func(fs []albs.File) map[string]albs.File {
			m := map[string]albs.File{}
			for _, f := range fs {
				m[f.Name] = f
			}
			return m
		})
		if diff := cmp.Diff(want, got, byName); diff != "" {
			t.Errorf("Import (-want +got):\n%s", diff)
		}
		for _, d := range []albs.Digest{got.Tree, got.Sources[0].Digest, got.Sources[1].Digest, got.Sources[2].Digest} {
			r, err := f.Artifacts.Open(t.Context(), d, 0, -1)
			if err != nil {
				t.Fatalf("%s: %v", d.Short(), err)
			}
			if _, err := io.Copy(io.Discard, r); err != nil {
				t.Errorf("%s: %v", d.Short(), err)
			}
			r.Close()
		}

		// The same file again, when no cache has it any more.
		if err := os.Remove(filepath.Join(f.caches[0], sum1(one))); err != nil {
			t.Fatal(err)
		}
		again, log, err := f.imports("bar", map[string]string{"bar.spec": spec, "sources": sum1(one) + "  uno\n"})
		if err != nil || !strings.Contains(log, "in the cache by sha1") {
			t.Fatalf("the second import: %v\n%s", err, log)
		}
		if s := again.Sources; len(s) != 1 || s[0] != (albs.File{Name: "uno", Digest: albs.DigestOf([]byte(one)), Size: int64(len(one))}) {
			t.Errorf("the second import has sources %+v", s)
		}
	})
}

// TestImportRefuses: a file that isn't what the commit lists, is too large or is
// nowhere ends the import, and nothing of it is kept.
func TestImportRefuses(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		wrong, long := "something else", strings.Repeat("x", int(limits.File)+1)
		sha256 := string(albs.DigestOf([]byte("a file")))
		f.put(0, sum1("a file"), wrong)
		f.put(0, sha256, wrong)
		f.put(1, sha256, "a file") // a wrong answer is no missing file: the next isn't asked
		f.put(0, sum512("a file"), wrong)
		f.put(0, sum512(long), long)
		for name, c := range map[string]struct {
			list string
			kind albs.Kind
		}{
			"sha1":     {sum1("a file") + " file\n", albs.Invalid},
			"sha256":   {sha256 + " file\n", albs.Invalid},
			"sha512":   {"SHA512 (file) = " + sum512("a file") + "\n", albs.Invalid},
			"too-long": {"SHA512 (file) = " + sum512(long) + "\n", albs.TooLarge},
			"nowhere":  {sum1("nowhere") + " file\n", albs.NotFound},
			"no-list":  {"SHA512 (file) = 00\n", albs.Invalid},
		} {
			if _, _, err := f.imports(name, map[string]string{"x.spec": spec, "sources": c.list}); albs.KindOf(err) != c.kind {
				t.Errorf("%s: Import = %v, want %s", name, err, c.kind)
			}
		}
		for _, content := range []string{wrong, long} {
			if r, err := f.Artifacts.Blobs().Open(t.Context(), albs.DigestOf([]byte(content))); !errors.Is(err, albs.NotFound) {
				t.Errorf("%.20q was kept (%v)", content, err)
				if err == nil {
					r.Close()
				}
			}
		}
	})
}

// TestImportHistory: a platform that asks for rpmautospec gets the history of commits
// whose spec file uses it, and of no others.
func TestImportHistory(t *testing.T) {
	each(t, func(t *testing.T, f *fixture) {
		const auto = "Name: x\nRelease: %autorelease\n"
		noise := make([]byte, limits.History)
		if _, err := rand.Read(noise); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name, path, text string
			before           string // a file of the commit before
			off              bool
			has              bool
			kind             albs.Kind
			say              string
		}{
			{name: "uses", path: "x.spec", text: auto, has: true},
			{name: "asks", path: "x.spec", text: "Name: x\nRelease: %{?autorelease}%{!?autorelease:1}\n", has: true},
			{name: "uses-not", path: "x.spec", text: "Name: x\nRelease: 1\n"},
			{name: "processed", path: "x.spec", text: "%define autorelease(e:s:pb:n) 1\n" + auto},
			{name: "not-asked", path: "x.spec", text: auto, off: true},
			{name: "not-at-the-root", path: "SPECS/x.spec", text: auto, kind: albs.Invalid, say: "only of a spec at the root"},
			{name: "not-at-the-root-and-asks", path: "SPECS/x.spec", text: "Name: x\nRelease: %{?autorelease}%{!?autorelease:1}\n"},
			{name: "too-large", path: "x.spec", text: auto, before: string(noise), kind: albs.TooLarge, say: "%autorelease, which needs the history"},
		} {
			f.autospec = !c.off
			f.forge.AddRepo(c.name, map[string]string{"before": c.before})
			r, log, err := f.importsOf(c.name, f.forge.Commit(c.name, "main", map[string]string{c.path: c.text}))
			if albs.KindOf(err) != c.kind || err != nil && !strings.Contains(err.Error(), c.say) {
				t.Errorf("%s: Import = %v, want %q with %q", c.name, err, c.kind, c.say)
			}
			if err != nil {
				continue
			}
			if (r.History != "") != c.has || strings.Contains(log, "packed the history, 2 commits") != c.has {
				t.Errorf("%s: the history is %q, and the log\n%s", c.name, r.History, log)
			}
			if c.has {
				if a, err := f.Artifacts.Get(t.Context(), f.DB, r.History); err != nil || !strings.HasPrefix(a.Name, "x-") || !strings.HasSuffix(a.Name, ".git.tar") {
					t.Errorf("%s: the history is on record as %q, %v", c.name, a.Name, err)
				}
			}
		}
	})
}
