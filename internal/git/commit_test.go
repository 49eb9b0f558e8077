package git

import (
	"crypto/sha1"
	"encoding/hex"
	"errors"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/git/gittest"
)

const (
	someTree   = "4b825dc642cb6eb9a060e54bf8d69288fbee4904"
	someParent = "0123456789abcdef0123456789abcdef01234567"
)

func idOf(raw string) string {
	sum := sha1.Sum([]byte("commit " + strconv.Itoa(len(raw)) + "\x00" + raw))
	return hex.EncodeToString(sum[:])
}

func TestParseCommit(t *testing.T) {
	t.Parallel()
	berlin := time.FixedZone("", 7200)
	for _, c := range []struct {
		name, raw string
		want      Commit
		err       string
	}{
		{"plain", "tree " + someTree + "\nparent " + someParent + "\nauthor Ä B <a@b> 1700000000 +0200\ncommitter C <c@d> 1700000060 +0000\n\nhello\n\nworld\n",
			Commit{Tree: someTree, Parents: []string{someParent}, Author: Person{"Ä B", "a@b", time.Unix(1700000000, 0).In(berlin)},
				Committer: Person{"C", "c@d", time.Unix(1700000060, 0).UTC()}, Message: "hello\n\nworld\n"}, ""},
		{"signed", "tree " + someTree + "\nauthor A <a@b> 1 -0130\ncommitter A <a@b> 1 -0130\nencoding latin1\ngpgsig -----BEGIN\n \n line\n -----END\nmergetag object x\n more\n\nm",
			Commit{Tree: someTree, Author: Person{"A", "a@b", time.Unix(1, 0).In(time.FixedZone("", -5400))}, Committer: Person{"A", "a@b", time.Unix(1, 0).In(time.FixedZone("", -5400))},
				Signature: "-----BEGIN\n\nline\n-----END", Message: "m"}, ""},
		{"odd people", "tree " + someTree + "\nauthor nobody\ncommitter <> 1 +9900\n\n\xe9\xe2\x82x",
			Commit{Tree: someTree, Author: Person{Name: "nobody"}, Committer: Person{Name: "<>", When: time.Unix(1, 0).UTC()}, Message: "\ufffd\ufffdx"}, ""},
		{"a time beyond calendars", "tree " + someTree + "\nauthor A <a> 999999999999999 +0000\n\n",
			Commit{Tree: someTree, Author: Person{Name: "A", Email: "a"}}, ""},
		{"no tree", "author A <a@b> 1 +0000\n\nm", Commit{}, "names no tree"},
		{"no commit as a parent", "tree " + someTree + "\nparent x\n\nm", Commit{}, "no commit"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			c.want.ID = idOf(c.raw)
			got, err := ParseCommit(c.want.ID, []byte(c.raw))
			if c.err != "" {
				if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("error %v, want Invalid with %q", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if _, err := ParseCommit(someParent, []byte(c.raw)); !errors.Is(err, albs.Invalid) {
				t.Errorf("under another id: %v, want Invalid", err)
			}
		})
	}
}

func FuzzParseCommit(f *testing.F) {
	f.Add("tree " + someTree + "\nparent " + someParent + "\nauthor A <a@b> 1700000000 +0200\ncommitter C <c@d> 1700000060 +0000\ngpgsig x\n y\n\nhello\n")
	f.Add("tree " + someTree + "\nauthor \xff <\xe2\x82> 99999999999999999999 -9999\n\n\xf0\x9f")
	f.Fuzz(func(t *testing.T, raw string) {
		c, err := ParseCommit(idOf(raw), []byte(raw))
		if err != nil {
			return
		}
		for _, s := range []string{c.Author.Name, c.Author.Email, c.Committer.Name, c.Signature, c.Message} {
			if strings.ToValidUTF8(s, "") != s {
				t.Errorf("%q is no UTF-8", s)
			}
		}
		if _, err := c.Author.When.MarshalJSON(); err != nil {
			t.Error(err)
		}
	})
}

// TestAncestry: all commits come in git's own order, though the mirror had one alone.
func TestAncestry(t *testing.T) {
	t.Parallel()
	s := gittest.NewServer(t)
	url := s.URL("hello")
	s.AddRepo("hello", map[string]string{"a": "0"}, "v1")
	for i := range 70 {
		s.Commit("hello", "main", map[string]string{"a": strconv.Itoa(i + 1)})
	}
	m := setup(t, s)
	head := s.Git("hello", "rev-parse", "main")
	if err := m.Fetch(t.Context(), url, head); err != nil {
		t.Fatal(err)
	}
	got, err := m.Ancestry(t.Context(), url, head, plenty)
	if err != nil {
		t.Fatal(err)
	}
	if want := strings.Fields(s.Git("hello", "rev-list", head)); !slices.Equal(want, got) {
		t.Fatalf("Ancestry = %d commits from %s, want the %d of git rev-list", len(got), got[0], len(want))
	}
	var seen []string
	asked := s.Requests()
	err = m.Objects(t.Context(), url, head, got, func(c Commit, raw []byte) error {
		if c.ID != idOf(string(raw)) || c.Author.Email != "tester@example.org" {
			t.Errorf("commit %s by %+v", c.ID, c.Author)
		}
		seen = append(seen, c.ID)
		return nil
	})
	if s.Requests() != asked {
		t.Errorf("reading what is there took %d requests", s.Requests()-asked)
	}
	if err != nil || !slices.Equal(seen, got) {
		t.Fatalf("Objects gave %d of %d commits, %v", len(seen), len(got), err)
	}
	if _, err := m.Ancestry(t.Context(), url, head, Bounds{Commits: 70, Bytes: 1 << 20}); !errors.Is(err, albs.TooLarge) {
		t.Errorf("71 commits within 70: %v, want TooLarge", err)
	}
	blob := s.Git("hello", "rev-parse", head+":a")
	for _, id := range []string{blob, someParent} {
		if err := m.Objects(t.Context(), url, head, []string{head, id}, func(Commit, []byte) error { return nil }); !errors.Is(err, albs.NotFound) {
			t.Errorf("%s, which is no commit: %v, want NotFound", id, err)
		}
	}
	stop := errors.New("stop")
	if err := m.Objects(t.Context(), url, head, got, func(Commit, []byte) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("take's error came back as %v", err)
	}
}

func TestRefs(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"2", "0"} {
		s := gittest.NewServer(t, "GIT_PROTOCOL=version="+version)
		first := s.AddRepo("hello", map[string]string{"a": "0"}, "imports/c9/hello-1-1.el9")
		second := s.Commit("hello", "a9", map[string]string{"a": "1"})
		s.Git("hello", "update-ref", "refs/notes/refs/heads/x", first)
		s.Git("hello", "tag", "light", second)
		got, err := setup(t, s).Refs(t.Context(), s.URL("hello"))
		if err != nil {
			t.Fatal(err)
		}
		want := []Ref{
			{"refs/heads/a9", RefBranch, second}, {"refs/heads/main", RefBranch, first},
			{"refs/tags/imports/c9/hello-1-1.el9", RefTag, first}, {"refs/tags/light", RefTag, second},
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("protocol %s (-want +got):\n%s", version, diff)
		}
	}
}
