package notary

import (
	"bytes"
	"crypto/sha1"
	"encoding/hex"
	"encoding/json"
	"errors"
	"os"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"albs/internal/albs"
	"albs/internal/git"
)

func read(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func idOf(raw []byte) string {
	h := sha1.New()
	h.Write([]byte("commit " + strconv.Itoa(len(raw)) + "\x00"))
	h.Write(raw)
	return hex.EncodeToString(h.Sum(nil))
}

const goldenKey albs.Digest = "149a90abd053250d1fb0d8351b7db8c9da4260239a5a41761657300a0945e4c8"

// TestRecordText holds the text against what Python's json.dumps made of the same commit.
func TestRecordText(t *testing.T) {
	t.Parallel()
	raw := read(t, "commit")
	c, err := git.ParseCommit(idOf(raw), raw)
	if err != nil {
		t.Fatal(err)
	}
	ancestors := []string{strings.Repeat("1", 40), strings.Repeat("2", 40), strings.Repeat("3", 40)}
	got, err := RecordText(c, ancestors)
	if err != nil {
		t.Fatal(err)
	}
	if want := read(t, "text.json"); !bytes.Equal(got, want) || albs.DigestOf(got) != goldenKey {
		t.Errorf("RecordText = %s\nwant         %s", got, want)
	}
	c.Author.Email = ""
	if _, err := RecordText(c, nil); !errors.Is(err, albs.Invalid) {
		t.Errorf("of an author without an address: %v, want Invalid", err)
	}
	c = git.Commit{Author: git.Person{Name: "A", Email: "a"}, Committer: git.Person{Name: "A", Email: "a"}}
	if _, err := RecordText(c, nil); !errors.Is(err, albs.Invalid) {
		t.Errorf("of an author without a time: %v, want Invalid", err)
	}
}

// TestReadRecord reads a record as Python wrote it, and refuses it with anything changed
// that its key was made of.
func TestReadRecord(t *testing.T) {
	t.Parallel()
	value := read(t, "record.json")
	commit, upstream, err := ReadRecord(goldenKey, value)
	if err != nil || commit != "95e5c54b37e4d63d0811b49253e8b0f8b2bc687c" || upstream != albs.Digest(strings.Repeat("ab", 32)) {
		t.Fatalf("ReadRecord = %s, %s, %v", commit, upstream, err)
	}
	for from, to := range map[string]string{
		strings.Repeat("3", 40): strings.Repeat("4", 40), "import": "export", "jose@": "josef@", `"Kind": "git"`: `"Kind": "file"`, "+0530": "+0430",
		"{": "[",
	} {
		if _, _, err := ReadRecord(goldenKey, []byte(strings.Replace(string(value), from, to, 1))); !errors.Is(err, albs.Invalid) {
			t.Errorf("with %s in place of %s: %v, want Invalid", to, from, err)
		}
	}
	if _, _, err := ReadRecord(albs.DigestOf(nil), value); !errors.Is(err, albs.Invalid) {
		t.Errorf("under another key: %v, want Invalid", err)
	}
}

func FuzzReadRecord(f *testing.F) {
	f.Add(read(f, "record.json"))
	f.Add([]byte(`{"Kind":"git","Metadata":{"git":{}}}`))
	f.Fuzz(func(t *testing.T, value []byte) {
		if _, _, err := ReadRecord(albs.DigestOf(nil), value); err == nil {
			t.Error("a record was read under a key of something else")
		}
	})
}

// FuzzPyString: what is spelled is ASCII, and JSON for what it spells.
func FuzzPyString(f *testing.F) {
	for _, s := range []string{"", "a\"b\\c/d", "\x00\x1f\x7f\u0080\u2028", "é😀\U0010ffff", "\b\f\n\r\t"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if !utf8.ValidString(s) {
			return
		}
		got := pyString(s)
		for _, c := range []byte(got) {
			if c < ' ' || c > '~' {
				t.Fatalf("%q has the byte %#x", got, c)
			}
		}
		var back string
		if err := json.Unmarshal([]byte(got), &back); err != nil || back != s {
			t.Errorf("%s is read as %q, %v; it should be %q", got, back, err, s)
		}
	})
}

func TestRules(t *testing.T) {
	t.Parallel()
	rs, err := Config{}.rules()
	if err != nil {
		t.Fatal(err)
	}
	for ref, want := range map[string]string{
		"refs/tags/changed/a9/bash-5.1.8-9.el9.alma":                         "refs/tags/imports/c9/bash-5.1.8-9.el9",
		"refs/tags/changed/a9/bash-5.1.8-9.el9.alma.1":                       "refs/tags/imports/c9/bash-5.1.8-9.el9",
		"refs/tags/changed/a8-beta/anaconda-33.16.7.10-1.el8.alma":           "refs/tags/imports/c8-beta/anaconda-33.16.7.10-1.el8",
		"refs/tags/changed/a8-stream-rhel8/x.alma-1-1.module+el8+1+a.alma.2": "refs/tags/imports/c8-stream-rhel8/x.alma-1-1.module+el8+1+a",
		"refs/tags/changed/a9/bash-5.1.8-9.el9":                              "",
		"refs/tags/imports/c9/bash-5.1.8-9.el9":                              "",
		"refs/heads/changed/a9/bash-5.1.8-9.el9.alma":                        "",
	} {
		if got := rs.of(ref); got != want {
			t.Errorf("%s changes %q, want %q", ref, got, want)
		}
	}
	own, err := Config{Upstream: []Rule{{Changed: "^ours/(.*)$", Upstream: "theirs/$1"}}}.rules()
	if err != nil || own.of("refs/tags/ours/a-1") != "refs/tags/theirs/a-1" || own.of("refs/tags/changed/a9/b-1.alma") != "" {
		t.Errorf("rules of one's own: %v", err)
	}
	for _, bad := range []Rule{{"(", "x"}, {"", "x"}, {"x", ""}, {strings.Repeat("x", 2000), "x"}} {
		if err := (Config{Upstream: []Rule{bad}}).Check(); !errors.Is(err, albs.Invalid) {
			t.Errorf("rule %+.40v: %v, want Invalid", bad, err)
		}
	}
}

func TestFits(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		pattern, ref string
		want         bool
	}{
		{"imports/c9/*", "refs/tags/imports/c9/bash-1-1", true},
		{"imports/*", "refs/tags/imports/c9/bash-1-1", false},
		{"a9*", "refs/heads/a9-beta", true},
		{"refs/heads/*", "refs/heads/a9", true},
		{"refs/heads/*", "refs/tags/a9", false},
		{"[", "refs/heads/[", false},
	} {
		if got := fits(c.pattern, c.ref); got != c.want {
			t.Errorf("fits(%s, %s) = %t", c.pattern, c.ref, got)
		}
	}
}
