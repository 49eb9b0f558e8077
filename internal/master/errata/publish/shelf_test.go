package publish

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"albs/internal/advisory"
	"albs/internal/advisory/advisorytest"
	"albs/internal/advisory/update"
	"albs/internal/albs"
	"albs/internal/master/db/dbtest"
	"albs/internal/master/errata"
	"albs/internal/master/release/plan"
	"albs/internal/repodata"
	"albs/internal/repodata/updateinfo"
)

// TestShelf: what is kept is had again, and nothing else under its name; of what isn't used
// a bounded number stays.
func TestShelf(t *testing.T) {
	t.Parallel()
	c := cache{dir: t.TempDir(), made: 1}
	s := c.shelf("demo", "el9")
	name, other := c.name("packed", []byte("a")), c.name("packed", []byte("b"))
	if _, ok := s.get(name); ok {
		t.Error("there is something on an empty shelf")
	}
	want := []byte(strings.Repeat("what was made", 100))
	s.set(name, want)
	if got, ok := s.get(name); !ok || string(got) != string(want) {
		t.Errorf("it has %q, %v", got, ok)
	}
	path := filepath.Join(s.dir, name)
	whole, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	for what, b := range map[string][]byte{
		"nothing": {}, "an end cut off": whole[:len(whole)-1], "a checksum cut off": whole[:3], "zeros": make([]byte, len(whole)), "more": append(slices.Clone(whole), 0),
	} {
		if err := os.WriteFile(path, b, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.get(name); ok {
			t.Errorf("a file of %s is taken for what was written", what)
		}
	}
	for at := range whole {
		bad := slices.Clone(whole)
		bad[at] ^= 1 << (at % 8)
		if err := os.WriteFile(path, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if _, ok := s.get(name); ok {
			t.Fatalf("with another byte %d it is taken for what was written", at)
		}
	}
	if err := os.WriteFile(filepath.Join(s.dir, other), whole, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, ok := s.get(other); ok {
		t.Error("the file of one thing is taken for that of another")
	}
	if names := []string{name, other, c.name("joined", []byte("a")), cache{made: 2}.name("packed", []byte("a")), c.name("packed", []byte("a"), []byte("b")), c.name("packed", []byte("ab"))}; len(slices.Compact(slices.Sorted(slices.Values(names)))) != len(names) {
		t.Errorf("different things have one name: %v", names)
	}

	s.set(name, want)
	for i := range spares + 10 {
		c.shelf("demo", "el9").set(fmt.Sprint(i), want)
		at := time.Unix(int64(i), 0)
		if err := os.Chtimes(filepath.Join(s.dir, fmt.Sprint(i)), at, at); err != nil {
			t.Fatal(err)
		}
	}
	s.tidy()
	left, err := os.ReadDir(s.dir)
	if err != nil || len(left) != spares+2 { // those of name and other are in use
		t.Errorf("%d files are left, %v", len(left), err)
	}
	for name, want := range map[string]bool{name: true, "0": false, "9": false, "10": true, fmt.Sprint(spares + 9): true} {
		if _, err := os.Stat(filepath.Join(s.dir, name)); (err == nil) != want {
			t.Errorf("%s is there: %v", name, err == nil)
		}
	}
	if _, ok := s.get(name); !ok {
		t.Error("what is used was removed")
	}
	c.shelf("demo", "el8").tidy() // there is none, and it doesn't matter
}

// everything is the options to compare what was rendered.
var everything = []cmp.Option{cmp.AllowUnexported(rendered{}, notice{}), cmpopts.EquateEmpty()}

func someRendered() rendered {
	at := time.Date(2026, 3, 1, 0, 0, 0, 5, time.UTC)
	return rendered{
		id: "ALSA-2026:1", updated: at,
		files: []plan.File{
			{TreeFile: repodata.TreeFile{Path: "a", Digest: albs.DigestOf([]byte("a")), Size: 1 << 40}, Sign: true},
			{TreeFile: repodata.TreeFile{Path: "b/c", Digest: albs.DigestOf([]byte("b"))}},
		},
		pieces:  []advisory.Piece{{}, {ID: "ALSA-2026:1", Updated: at.Add(time.Hour), Bytes: []byte("\x00é\n")}},
		notices: []notice{{"9/os", updateinfo.Piece{ID: "ALSA-2026:1", Plain: []byte("plain"), Packed: []byte("packed")}}},
	}
}

func TestEncode(t *testing.T) {
	t.Parallel()
	for _, want := range []rendered{{}, someRendered()} {
		b := want.encode()
		got, ok := decode(b)
		if diff := cmp.Diff(want, got, everything...); !ok || diff != "" {
			t.Errorf("%v (-want +got):\n%s", ok, diff)
		}
		for n := range b {
			if _, ok := decode(b[:n]); ok {
				t.Errorf("the first %d bytes of %d are taken for the whole", n, len(b))
			}
		}
		if _, ok := decode(append(b, 0)); ok {
			t.Error("what stands behind is passed over")
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add(rendered{}.encode())
	f.Add(someRendered().encode())
	f.Add([]byte("\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"))
	f.Fuzz(func(t *testing.T, b []byte) {
		r, ok := decode(b)
		if !ok {
			return
		}
		again, ok := decode(r.encode())
		if diff := cmp.Diff(r, again, everything...); !ok || diff != "" {
			t.Errorf("%v: read again it is another (-first +second):\n%s", ok, diff)
		}
	})
}

// on returns when each file of the cache was written.
func (f *fixture) on() map[string]time.Time {
	f.t.Helper()
	out := map[string]time.Time{}
	f.must(filepath.WalkDir(f.cache.dir, func(path string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		info, err := e.Info()
		if err == nil {
			out[path] = info.ModTime()
		}
		return err
	}))
	return out
}

// TestCache: what is kept is used, and whatever becomes of it, all that is shown is what it
// would be without.
func TestCache(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	f.advise(key9, f.hold("hello.x86_64", os9), f.hold("hello-doc.noarch", os9, weak9))
	f.advise(key8, f.hold("old.x86_64", os8))
	f.publish(want(key9, key8)...)
	next := key9
	next.ID = "ALSA-2026:2"
	f.advise(next, f.hold("virt.x86_64@virt:rhel:9050:abcd", os9))
	other := key9
	other.ID = "ALSA-2026:3"
	f.advise(other, f.hold("old.x86_64", os9))
	same := func(what string, keys ...errata.Key) plan.Share {
		t.Helper()
		got := f.share(want(keys...)...)
		for _, file := range got.Files {
			f.blob(file.Digest)
		}
		for _, records := range got.Records {
			f.blob(records[0].Digest)
		}
		warm := f.cache
		f.cache.dir = t.TempDir()
		cold := f.share(want(keys...)...)
		f.cache = warm
		if diff := cmp.Diff(cold, got); diff != "" {
			t.Errorf("%s (-without the cache +with it):\n%s", what, diff)
		}
		return got
	}
	first := same("with a new advisory", next)
	same("with another in its place", other)
	same("with both", next, other)
	same("with none")
	was := f.on()
	if len(was) < 20 {
		t.Fatalf("it keeps %d things", len(was))
	}
	f.share(want(next)...)
	f.share()
	f.share(want(next)...)
	for path, at := range f.on() {
		if before, ok := was[path]; ok && !before.Equal(at) {
			t.Errorf("%s was made again", path)
		}
	}

	// What only a plan has is stored again when it was lost.
	for _, file := range first.Files {
		if !slices.ContainsFunc(f.tree.Files, func(t repodata.TreeFile) bool { return t.Digest == file.Digest }) {
			f.must(f.Artifacts.Blobs().Remove(t.Context(), file.Digest))
		}
	}
	f.must(f.Artifacts.Blobs().Remove(t.Context(), first.Records[os9][0].Digest))
	same("after blobs were lost", next)

	for what, spoil := range map[string]func([]byte) []byte{
		"damaged":   func(b []byte) []byte { b[len(b)/2]++; return b },
		"cut":       func(b []byte) []byte { return b[:len(b)/2] },
		"exchanged": func([]byte) []byte { return []byte("of something else") },
	} {
		for path := range f.on() {
			b, err := os.ReadFile(path)
			f.must(err)
			f.must(os.WriteFile(path, spoil(b), 0o600))
		}
		same("with all of it "+what, next)
		for path := range f.on() {
			f.must(os.Remove(path))
		}
		same("with all of it lost", next)
	}
	f.cache.made++
	before := len(f.on())
	same("with forms that have changed", next)
	if after := len(f.on()); after < before+10 {
		t.Errorf("forms that have changed are made of what was kept: %d files, and %d before", after, before)
	}

	// A platform that says something else of itself has all forms made anew.
	pf, err := f.Platforms.Get(t.Context(), "el9")
	f.must(err)
	pf.Errata.Vendor = "Another Vendor"
	_, err = f.Platforms.Apply(f.admin, pf.Spec)
	f.must(err)
	changed := same("of a platform that has changed", next)
	for _, file := range changed.Files {
		if strings.HasPrefix(file.Path, "errata/el9/csaf/2026/alsa-2026_1.json") && slices.ContainsFunc(first.Files, func(x plan.File) bool { return x == file }) {
			t.Errorf("%s is what it was of the platform before", file.Path)
		}
	}
}

// TestRests: what was packed is packed once, and stays for as long as that is used which was
// made of it.
func TestRests(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	part := []byte(strings.Repeat("a part of a file\n", minPacked/16+1))
	made := 0
	v := over{name: "oval", of: []string{"a"}, make: func(pack func([][]byte) []byte) (joined, error) {
		made++
		if parts := [][]byte{part, part[:100]}; string(pack(parts)) != string(gzipped(parts, deflated)) {
			t.Error("it is packed otherwise")
		}
		return joined{}, nil
	}}
	name := filepath.Join(f.cache.dir, "demo", "el9", f.cache.name("packed", part))
	join := func(of string) {
		t.Helper()
		is := &shown{name: "el9", shelf: f.cache.shelf("demo", "el9")}
		v.of[0] = of
		o := f.outcome(t.Context(), repodata.Tree{})
		_, err := f.joinOne(o.ctx, o, is, v)
		f.must(err)
		f.must(o.stored())
		for i := range spares {
			f.cache.shelf("demo", "el9").set(fmt.Sprint(i), nil)
		}
		is.shelf.tidy()
		if _, err := os.Stat(name); err != nil {
			t.Errorf("what was packed is gone: %v", err)
		}
	}
	join("a")
	join("a")
	was, err := os.Stat(name)
	f.must(err)
	join("b")
	is, err := os.Stat(name)
	f.must(err)
	if made != 2 || !is.ModTime().Equal(was.ModTime()) {
		t.Errorf("it was made %d times, want 2, and packed at %s and %s", made, was.ModTime(), is.ModTime())
	}
}

// makes is the digest of what the forms make of some advisories, at this value of made.
const makes = "3 a0ce50d6b6cd66fdc84a95f2f14f1a0e1aed88fd17f2d5c76fd71d68b95d39b9"

// TestMade: whoever changes what a form makes raises made, or files that were made before
// stay what they were.
func TestMade(t *testing.T) {
	t.Parallel()
	h := sha256.New()
	tell := func(what string, b []byte) { fmt.Fprintf(h, "%s %d\n%s", what, len(b), b) }
	d := advisorytest.Distribution()
	r := rand.New(rand.NewPCG(59, 61))
	pieces := make([][]advisory.Piece, len(forms))
	var notices []updateinfo.Piece
	for n := range 40 {
		a := advisorytest.Random(r, n)
		a.Version = 1
		for i, f := range forms {
			files, piece, err := f.make(a, d, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, f := range files {
				tell(f.Path, f.Bytes)
			}
			if piece.ID != "" {
				pieces[i] = append(pieces[i], piece)
			}
		}
		if u, ok := update.Of(a, "9/AppStream/x86_64/os"); ok {
			n, err := updateinfo.Make(u)
			if err != nil {
				t.Fatal(err)
			}
			notices = append(notices, n)
		}
	}
	for i, f := range forms {
		if f.join == nil {
			continue
		}
		files, err := f.join(d, pieces[i], time.Date(2026, 3, 1, 0, 0, 0, 0, time.UTC), func(parts [][]byte) []byte { return gzipped(parts, deflated) })
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			tell(f.Path, f.Bytes)
		}
	}
	f, err := updateinfo.Join(notices)
	if err != nil || len(notices) < 5 {
		t.Fatal(err, len(notices))
	}
	tell(f.Name, f.Bytes)
	if got := fmt.Sprintf("%d %s", made, hex.EncodeToString(h.Sum(nil))); got != makes {
		t.Errorf("what the forms make is %s, and was %s: raise made, if it is still that, and have makes say so", got, makes)
	}
}
