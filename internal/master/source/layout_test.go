package source

import (
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/master/artifact"
)

func TestFindLayout(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name  string
		paths []string
		want  Layout
		err   string
	}{
		{"almalinux", []string{".zlib.metadata", "SPECS/zlib.spec", "SOURCES/a.patch"}, Layout{"zlib", "SPECS/zlib.spec", ".zlib.metadata"}, ""},
		{"fedora", []string{"sources", "zlib.spec", "a.patch"}, Layout{"zlib", "zlib.spec", "sources"}, ""},
		{"all in git", []string{"zlib.spec"}, Layout{"zlib", "zlib.spec", ""}, ""},
		{"another package's metadata is not ours", []string{".bash.metadata", "SPECS/zlib.spec"}, Layout{"zlib", "SPECS/zlib.spec", ""}, ""},
		{"SPECS wins over a stray spec at the root", []string{"old.spec", "SPECS/zlib.spec"}, Layout{"zlib", "SPECS/zlib.spec", ""}, ""},
		{"none", []string{"README", "deep/er/zlib.spec"}, Layout{}, "no spec file"},
		{"two", []string{"a.spec", "b.spec"}, Layout{}, "2 spec files"},
		{"option as name", []string{"-x.spec"}, Layout{}, "use a plain name"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := FindLayout(c.paths)
			checkErr(t, err, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("FindLayout(%q) (-want +got):\n%s", c.paths, diff)
			}
		})
	}
}

func TestParseLookaside(t *testing.T) {
	t.Parallel()
	h1, h256, h512 := strings.Repeat("a1", 20), strings.Repeat("b2", 32), strings.Repeat("c3", 64)
	for _, c := range []struct {
		name, in string
		want     []Lookaside
		err      string
	}{
		{"almalinux sha1", h1 + " SOURCES/zlib.tar.gz\n", []Lookaside{{SHA1, h1, "zlib.tar.gz"}}, ""},
		{"sha256 bare name, crlf", h256 + "  zlib.tar.gz\r\n\n", []Lookaside{{SHA256, h256, "zlib.tar.gz"}}, ""},
		{"fedora", "SHA512 (zlib 1.tar.gz) = " + h512, []Lookaside{{SHA512, h512, "zlib 1.tar.gz"}}, ""},
		{"empty", "\n\n", nil, ""},
		{"md5", strings.Repeat("0", 32) + " SOURCES/x", nil, "md5"},
		{"missing digest", "SOURCES/zlib.tar.gz", nil, "line 1"},
		{"short digest", "abc SOURCES/x", nil, "not a digest"},
		{"upper-case digest", strings.ToUpper(h1) + " x", nil, "not a digest"},
		{"kind and length differ", "SHA512 (x) = " + h256, nil, "not a digest"},
		{"unknown kind", "SHA3 (x) = " + h256, nil, "not a digest"},
		{"url as digest", "//evil.example/x SOURCES/x", nil, "not a digest"},
		{"traversal", h1 + " ../../etc/passwd", nil, "not directly under SOURCES"},
		{"traversal under SOURCES", h1 + " SOURCES/../x", nil, "not directly under SOURCES"},
		{"dot dot", h1 + " ..", nil, "use a plain name"},
		{"absolute", h1 + " /etc/passwd", nil, "not directly under SOURCES"},
		{"option", h1 + " -rf", nil, "use a plain name"},
		{"control", h1 + " a\x00b", nil, "use a plain name"},
		{"no name", h1 + " SOURCES/", nil, "use a plain name"},
		{"twice", h1 + " x\n" + h1 + " SOURCES/x\n", nil, "line 2: \"x\" is listed twice"},
		{"half a fedora line", "SHA512 (x = " + h512, nil, "KIND (NAME) = HEX"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			got, err := ParseLookaside("sources", []byte(c.in))
			checkErr(t, err, c.err)
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func checkErr(t *testing.T, err error, want string) {
	t.Helper()
	if want == "" {
		if err != nil {
			t.Fatal(err)
		}
		return
	}
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), want) {
		t.Fatalf("error %v, want Invalid with %q", err, want)
	}
}

func TestURLs(t *testing.T) {
	t.Parallel()
	l := Lookaside{SHA512, "c3", "zlib 1.tar.gz"}
	got := l.URLs("zlib", []string{"https://a.example/{hash}", "https://b.example/{name}/{file}/{hashtype}/{hash}/{file}"})
	want := []string{"https://a.example/c3", "https://b.example/zlib/zlib%201.tar.gz/sha512/c3/zlib%201.tar.gz"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	// A repository names its package and may not thereby choose another URL.
	got = l.URLs("a b?c#d%2f..", []string{"https://a.example/{name}/{hash}"})
	if want := "https://a.example/a%20b%3Fc%23d%252f../c3"; got[0] != want {
		t.Errorf("URL %s, want %s", got[0], want)
	}
}

func FuzzParseLookaside(f *testing.F) {
	f.Add([]byte(strings.Repeat("a", 40) + " SOURCES/x\nSHA512 (y) = " + strings.Repeat("b", 128)))
	f.Fuzz(func(t *testing.T, b []byte) {
		out, err := ParseLookaside("sources", b)
		if err != nil {
			return
		}
		for _, l := range out {
			if artifact.CheckName(l.Name) != nil || !isHex(l.Hex) || l.Algorithm == MD5 {
				t.Fatalf("let through %+v", l)
			}
		}
	})
}
