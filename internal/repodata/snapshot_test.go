package repodata

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/blob"
)

func extend(t testing.TB, m Blobs, from *Snapshot, c Change, revision int64) *Snapshot {
	t.Helper()
	s, err := Extend(t.Context(), m, from, c, revision)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func list(t testing.TB, m Blobs, s *Snapshot) []string {
	t.Helper()
	var out []string
	err := s.Packages(t.Context(), m, func(e Entry) error {
		out = append(out, e.Path)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(out)
	return out
}

func TestExtendIsIndependentOfHistory(t *testing.T) {
	t.Parallel()
	m := newMemory()
	all := synthetics(0, 400)
	var s *Snapshot
	for _, by := range Compressions {
		once := extend(t, m, nil, Change{Add: all, Compression: by}, 7)
		s = extend(t, m, nil, Change{Add: all[:150], Compression: by}, 1)
		s = extend(t, m, s, Change{Add: synthetics(400, 500)}, 2)
		s = extend(t, m, s, Change{Add: all[100:]}, 3)
		s = extend(t, m, s, Change{Remove: paths(synthetics(400, 500))}, 7)
		if s.Digest() != once.Digest() || s.Compression() != by {
			t.Errorf("the same packages and revision gave %s and %s by %s", once.Digest(), s.Digest(), s.Compression())
		}
	}
	if diff := cmp.Diff(paths(all), list(t, m, s)); diff != "" {
		t.Errorf("packages (-want +got):\n%s", diff)
	}
	if s.Len() != 400 || s.Revision() != 7 {
		t.Errorf("Len, Revision = %d, %d, want 400, 7", s.Len(), s.Revision())
	}
	opened, err := Open(t.Context(), newView(m), s.Digest())
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(s.Files(), opened.Files()); diff != "" {
		t.Errorf("files of the opened snapshot (-want +got):\n%s", diff)
	}
}

// newView returns a copy of m.
func newView(m *memory) *memory {
	v := newMemory()
	for d, b := range m.m {
		v.m[d] = b
	}
	return v
}

func TestExtendTouchesLittle(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{Add: synthetics(0, 2000)}, 1)
	before := m.put
	next := extend(t, m, s, Change{Add: synthetics(2000, 2001)}, 2)
	// entries, raw, three files, repomd.xml and the root
	if n := m.put - before; n != 7 {
		t.Errorf("adding one package stored %d blobs, want 7", n)
	}
	changed := 0
	for i, b := range next.root.Buckets {
		if i >= len(s.root.Buckets) || b != s.root.Buckets[i] {
			changed++
		}
	}
	if changed != 1 {
		t.Errorf("adding one package changed %d buckets, want 1", changed)
	}
}

func TestExtendRefuses(t *testing.T) {
	t.Parallel()
	m := newMemory()
	pkgs := synthetics(0, 3)
	s := extend(t, m, nil, Change{Add: pkgs}, 5)
	other := pkgs[0]
	other.Digest = albs.DigestOf([]byte("other"))
	odd := func(change func(*Package)) Change {
		p := synthetic(9)
		r := *p.RPM
		p.RPM = &r
		change(&p)
		return Change{Add: []Package{p}}
	}
	for _, tc := range []struct {
		name     string
		change   Change
		revision int64
		want     albs.Kind
	}{
		{"another digest at a path", Change{Add: []Package{other}}, 6, albs.Conflict},
		{"two digests at a new path", Change{Add: []Package{synthetic(7), func() Package { p := synthetic(7); p.Digest = other.Digest; return p }()}}, 6, albs.Conflict},
		{"remove what is not there", Change{Remove: []string{"Packages/none-1-1.noarch.rpm"}}, 6, albs.NotFound},
		{"the same revision", Change{}, 5, albs.Conflict},
		{"a lower revision", Change{}, 4, albs.Conflict},
		{"no revision", Change{}, 0, albs.Invalid},
		{"a path upwards", odd(func(p *Package) { p.Path = "../x.rpm" }), 6, albs.Invalid},
		{"an absolute path", odd(func(p *Package) { p.Path = "/x.rpm" }), 6, albs.Invalid},
		{"a path among the metadata", odd(func(p *Package) { p.Path = "repodata/x.rpm" }), 6, albs.Invalid},
		{"a path with a query", odd(func(p *Package) { p.Path = "x?y.rpm" }), 6, albs.Invalid},
		{"a path that is no package", odd(func(p *Package) { p.Path = "x.txt" }), 6, albs.Invalid},
		{"no header", odd(func(p *Package) { p.RPM = nil }), 6, albs.Invalid},
		{"no digest", odd(func(p *Package) { p.Digest = "" }), 6, albs.Invalid},
		{"a control character", odd(func(p *Package) { p.RPM.Summary = "a\x01b" }), 6, albs.Invalid},
		{"not UTF-8", odd(func(p *Package) { p.RPM.Description = "a\xffb" }), 6, albs.Invalid},
		{"not a character", odd(func(p *Package) { p.RPM.Vendor = "a\uFFFFb" }), 6, albs.Invalid},
		{"a bad name", odd(func(p *Package) { p.RPM.Name = "-rf" }), 6, albs.Invalid},
	} {
		if _, err := Extend(t.Context(), m, s, tc.change, tc.revision); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want kind %s", tc.name, err, tc.want)
		}
	}
	replaced := extend(t, m, s, Change{Add: []Package{other}, Remove: []string{other.Path}}, 6)
	if d, _, ok, err := replaced.Lookup(t.Context(), m, other.Path); d != other.Digest || !ok || err != nil {
		t.Errorf("Lookup after replacing = %s, %v, %v, want %s", d, ok, err, other.Digest)
	}
	again := extend(t, m, s, Change{Add: pkgs}, 6)
	if diff := cmp.Diff(s.root.Buckets, again.root.Buckets); diff != "" {
		t.Errorf("adding what is there changed buckets:\n%s", diff)
	}
}

func TestLookupAndHas(t *testing.T) {
	t.Parallel()
	m := newMemory()
	pkgs := synthetics(0, 500)
	s := extend(t, m, nil, Change{Add: pkgs}, 5)
	s, err := Seal(t.Context(), m, s, []byte("-----BEGIN PGP SIGNATURE-----\n\nx\n-----END PGP SIGNATURE-----\n"))
	if err != nil {
		t.Fatal(err)
	}
	has := []albs.Digest{s.Digest(), s.Repomd(), s.Signature(), s.root.Buckets[3].Entries}
	for _, f := range s.Files() {
		has = append(has, f.Digest)
	}
	for _, p := range pkgs {
		d, size, ok, err := s.Lookup(t.Context(), m, p.Path)
		if d != p.Digest || size != p.Size || !ok || err != nil {
			t.Errorf("Lookup(%s) = %s, %d, %v, %v", p.Path, d, size, ok, err)
		}
		has = append(has, p.Digest)
	}
	for _, d := range has {
		if ok, err := s.Has(t.Context(), m, d); !ok || err != nil {
			t.Errorf("Has(%s) = %v, %v, want true", d, ok, err)
		}
	}
	for _, d := range []albs.Digest{"", "x", albs.DigestOf(nil)} {
		if ok, err := s.Has(t.Context(), m, d); ok || err != nil {
			t.Errorf("Has(%q) = %v, %v, want false", d, ok, err)
		}
	}
	if _, _, ok, err := s.Lookup(t.Context(), m, "Packages/none.rpm"); ok || err != nil {
		t.Errorf("Lookup of a path that is not there = %v, %v", ok, err)
	}
	stop := errors.New("stop")
	if err := s.Packages(t.Context(), m, func(Entry) error { return stop }); err != stop {
		t.Errorf("Packages ended with %v, want the error of yield", err)
	}
}

func TestSeal(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{Add: synthetics(0, 5)}, 5)
	for _, asc := range []string{"", "no signature", "-----BEGIN PGP SIGNATURE-----" + strings.Repeat("x", maxArmoredBytes)} {
		if _, err := Seal(t.Context(), m, s, []byte(asc)); !errors.Is(err, albs.Invalid) {
			t.Errorf("Seal(%.20q) = %v, want Invalid", asc, err)
		}
	}
	if s.Signature() != "" {
		t.Errorf("Signature of an unsealed snapshot = %s", s.Signature())
	}
	asc := []byte("-----BEGIN PGP SIGNATURE-----\n")
	sealed, err := Seal(t.Context(), m, s, asc)
	if err != nil {
		t.Fatal(err)
	}
	want := append(s.Files(), File{Path: "repodata/repomd.xml.asc", Digest: albs.DigestOf(asc), Size: int64(len(asc))})
	if diff := cmp.Diff(want, sealed.Files()); diff != "" {
		t.Errorf("files of the sealed snapshot (-want +got):\n%s", diff)
	}
	if sealed.Repomd() != s.Repomd() || sealed.Digest() == s.Digest() {
		t.Errorf("sealing changed repomd.xml or did not change the snapshot")
	}
	other := []byte("-----BEGIN PGP SIGNATURE-----\nby another key\n")
	again, err := Seal(t.Context(), m, sealed, other)
	if err != nil || again.Signature() != albs.DigestOf(other) || again.Repomd() != s.Repomd() {
		t.Errorf("Seal of a sealed snapshot = %v, %v, want the new signature instead of the old one", again, err)
	}
	next := extend(t, m, sealed, Change{Add: synthetics(5, 6)}, 6)
	if next.Signature() != "" {
		t.Errorf("an extended snapshot still has the signature of the one before")
	}
}

func TestReach(t *testing.T) {
	t.Parallel()
	m := newMemory()
	pkgs := synthetics(0, 50)
	s := extend(t, m, nil, Change{Add: pkgs}, 5)
	kept := newMemory()
	packages := 0
	err := s.Reach(t.Context(), m, nil, func(d albs.Digest) error {
		if b, ok := m.m[d]; ok {
			kept.m[d] = b
		} else {
			packages++
		}
		return nil
	})
	if err != nil || packages != len(pkgs) {
		t.Fatalf("Reach gave %d packages, %v, want %d", packages, err, len(pkgs))
	}
	opened, err := Open(t.Context(), kept, s.Digest())
	if err != nil {
		t.Fatal(err)
	}
	got := extend(t, kept, opened, Change{Add: synthetics(50, 60)}, 6)
	if want := extend(t, m, nil, Change{Add: synthetics(0, 60)}, 6); got.Digest() != want.Digest() {
		t.Errorf("a snapshot extended from what Reach names differs")
	}
}

func TestRawMayVanish(t *testing.T) {
	t.Parallel()
	for _, by := range Compressions {
		m := newMemory()
		s := extend(t, m, nil, Change{Add: synthetics(0, 400), Compression: by}, 5)
		for _, b := range s.root.Buckets[10:] {
			delete(m.m, b.Raw)
		}
		got := extend(t, m, s, Change{Add: synthetics(400, 410)}, 6)
		if want := extend(t, newMemory(), nil, Change{Add: synthetics(0, 410), Compression: by}, 6); got.Digest() != want.Digest() {
			t.Errorf("a snapshot extended without raw blobs differs by %s", by)
		}
	}
}

// TestChangeOfCompression: another compression is another snapshot, of the same packages
// and records, as if it had been so from the beginning; and the way back leads to the
// bytes of before.
func TestChangeOfCompression(t *testing.T) {
	t.Parallel()
	m := newMemory()
	records := someRecords(m, "group")
	for _, way := range [][2]Compression{{Gzip, Zstd}, {Zstd, Gzip}} {
		s := extend(t, m, nil, Change{Add: synthetics(0, 300), Records: records, Compression: way[0]}, 5)
		for _, b := range s.root.Buckets[:10] {
			delete(m.m, b.Raw)
		}
		for _, tt := range []struct {
			name         string
			change, back Change
			want         []Package
		}{
			{"alone", Change{Compression: way[1]}, Change{Compression: way[0]}, synthetics(0, 300)},
			{
				"with packages", Change{Compression: way[1], Add: synthetics(300, 310), Remove: paths(synthetics(0, 10))},
				Change{Compression: way[0], Add: synthetics(0, 10), Remove: paths(synthetics(300, 310))}, synthetics(10, 310),
			},
		} {
			got := extend(t, m, s, tt.change, 6)
			want := extend(t, newMemory(), nil, Change{Add: tt.want, Records: records, Compression: way[1]}, 6)
			if got.Digest() != want.Digest() || got.Compression() != way[1] {
				t.Errorf("from %s to %s %s: not the snapshot that was %s from the beginning", way[0], way[1], tt.name, way[1])
			}
			back := extend(t, m, got, tt.back, 7)
			if again := extend(t, m, s, Change{}, 7); back.Digest() != again.Digest() {
				t.Errorf("from %s to %s %s and back: another snapshot", way[0], way[1], tt.name)
			}
		}
	}
	if _, err := Extend(t.Context(), m, nil, Change{Compression: "xz"}, 1); !errors.Is(err, albs.Invalid) {
		t.Errorf("Extend by xz = %v, want Invalid", err)
	}
}

// TestRemadeRaw: raw XML that is made again is what the snapshot names, or nothing.
func TestRemadeRaw(t *testing.T) {
	t.Parallel()
	m := newMemory()
	with := func(summary string) *Snapshot {
		p := synthetic(1)
		r := *p.RPM
		r.Summary, p.RPM = summary, &r
		return extend(t, m, nil, Change{Add: []Package{p}}, 5)
	}
	s := with("A generated package")
	ref := s.root.Buckets[0]
	// Another file whose members have the same sizes, in the place of the true one.
	for c := 'a'; c <= 'z'; c++ {
		other := with("A generated packag" + string(c))
		if c == 'e' || other.root.Buckets[0].GzBytes != ref.GzBytes {
			continue
		}
		v := newView(m)
		delete(v.m, ref.Raw)
		v.m[s.root.Files[primary].Digest] = m.m[other.root.Files[primary].Digest]
		e := extension{blobs: v, from: s}
		if _, err := e.raw(t.Context(), ref, nil); !errors.Is(err, albs.Invalid) {
			t.Errorf("raw out of other members = %v, want Invalid", err)
		}
		return
	}
	t.Fatal("no other content has the same size")
}

// wire returns the bytes of a memory as they are.
type wire struct{ *memory }

func (w wire) Open(_ context.Context, d albs.Digest) (io.ReadCloser, error) {
	return io.NopCloser(bytes.NewReader(w.m[d])), nil
}

func TestBrokenBlobs(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{Add: synthetics(0, 400)}, 5)
	flip := func(d albs.Digest) *memory {
		v := newView(m)
		b := bytes.Clone(v.m[d])
		b[len(b)/2] ^= 1
		v.m[d] = b
		return v
	}
	if _, err := Open(t.Context(), flip(s.Digest()), s.Digest()); err == nil {
		t.Error("Open of a flipped root succeeded")
	}
	// The wire to the master checks nothing, so root and buckets are checked here.
	if _, err := Open(t.Context(), wire{flip(s.digest)}, s.digest); !errors.Is(err, albs.Invalid) {
		t.Errorf("Open of a flipped root = %v, want Invalid", err)
	}
	if err := s.Packages(t.Context(), wire{flip(s.root.Buckets[7].Entries)}, func(Entry) error { return nil }); !errors.Is(err, albs.Invalid) {
		t.Errorf("Packages over a flipped bucket = %v, want Invalid", err)
	}
	if _, err := Open(t.Context(), m, albs.DigestOf(nil)); !errors.Is(err, albs.NotFound) {
		t.Errorf("Open of nothing = %v, want NotFound", err)
	}
	if err := s.Packages(t.Context(), flip(s.root.Buckets[7].Entries), func(Entry) error { return nil }); err == nil {
		t.Error("Packages over a flipped bucket succeeded")
	}
	for _, f := range s.Files()[:kinds] {
		if _, err := Extend(t.Context(), flip(f.Digest), s, Change{Add: synthetics(400, 401)}, 6); err == nil {
			t.Errorf("Extend from a flipped %s succeeded", f.Path)
		}
	}
	if _, err := Extend(t.Context(), flip(s.root.Buckets[7].Raw), s, Change{Add: synthetics(400, 401)}, 6); err == nil {
		t.Error("Extend from a flipped raw blob succeeded")
	}
}

func TestRootThatDisagrees(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{Add: synthetics(0, 40)}, 5)
	for name, change := range map[string]func(*root){
		"format":           func(r *root) { r.Format = "albs-snapshot/v2" },
		"format of zstd":   func(r *root) { r.Format = "albs-snapshot/v3" },
		"zstd":             func(r *root) { r.Packed = Zstd },
		"names of zstd":    func(r *root) { r.Packed, r.Format = Zstd, "albs-snapshot/v3" },
		"gzip told":        func(r *root) { r.Packed = Gzip },
		"compression":      func(r *root) { r.Packed, r.Format = "xz", "albs-snapshot/v3" },
		"revision":         func(r *root) { r.Revision = 0 },
		"count":            func(r *root) { r.Packages++ },
		"bucket order":     func(r *root) { r.Buckets[0], r.Buckets[1] = r.Buckets[1], r.Buckets[0] },
		"bucket number":    func(r *root) { r.Buckets[len(r.Buckets)-1].Number = 256 },
		"bucket twice":     func(r *root) { r.Buckets[1].Number = r.Buckets[0].Number },
		"negative number":  func(r *root) { r.Buckets[0].Number = -1 },
		"no entries":       func(r *root) { r.Buckets[0].Entries = "" },
		"huge entries":     func(r *root) { r.Buckets[0].Bytes = 1 << 40 },
		"negative raw":     func(r *root) { r.Buckets[0].RawBytes[1] = -1 },
		"huge raw":         func(r *root) { r.Buckets[0].RawBytes[1] = 1 << 40 },
		"member size":      func(r *root) { r.Buckets[0].GzBytes[0]++ },
		"head":             func(r *root) { r.Ends[0].Head = 0 },
		"no files":         func(r *root) { r.Files = nil },
		"path of a file":   func(r *root) { r.Files[0].Path = "repodata/../../x" },
		"another file":     func(r *root) { r.Files[kinds].Path = "repodata/updateinfo.xml" },
		"size of a file":   func(r *root) { r.Files[kinds].Size = 0 },
		"digest of a file": func(r *root) { r.Files[kinds].Digest = "" },
	} {
		r := s.root
		r.Buckets, r.Files = slices.Clone(r.Buckets), slices.Clone(r.Files)
		change(&r)
		if _, err := parseRoot(encodeJSON(r)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: parseRoot = %v, want Invalid", name, err)
		}
	}
	b := encodeJSON(s.root)
	for name, doc := range map[string]string{
		"space":     " " + string(b),
		"a member":  strings.Replace(string(b), "{", `{"more":1,`, 1),
		"twice":     strings.Replace(string(b), "{", `{"revision":3,`, 1),
		"other":     string(b) + "{}",
		"no JSON":   "<repomd/>",
		"too early": string(b[:len(b)/2]),
	} {
		if _, err := parseRoot([]byte(doc)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: parseRoot = %v, want Invalid", name, err)
		}
	}
}

func TestEntriesThatDisagree(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{Add: synthetics(0, 800)}, 5)
	ref := s.root.Buckets[0]
	entries, err := ref.load(t.Context(), m)
	if err != nil || len(entries) < 2 {
		t.Fatalf("load = %d entries, %v", len(entries), err)
	}
	for name, change := range map[string]func([]entry) []entry{
		"one less":       func(e []entry) []entry { return e[1:] },
		"order":          func(e []entry) []entry { e[0], e[1] = e[1], e[0]; return e },
		"another bucket": func(e []entry) []entry { e[0].Path = "Packages/aaa.rpm"; return e },
		"path":           func(e []entry) []entry { e[0].Path = "../" + e[0].Path; return e },
		"digest":         func(e []entry) []entry { e[0].Digest = ""; return e },
		"size":           func(e []entry) []entry { e[0].Size = -1; return e },
		"name":           func(e []entry) []entry { e[0].Name = "$(id)"; return e },
		"xml":            func(e []entry) []entry { e[0].XML[0]--; return e },
		"negative xml":   func(e []entry) []entry { e[0].XML[0], e[1].XML[0] = -1, e[0].XML[0]+e[1].XML[0]+1; return e },
	} {
		if _, err := ref.parse(encodeJSON(change(slices.Clone(entries)))); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: parse = %v, want Invalid", name, err)
		}
	}
}

// directory makes a blob.Store a Blobs.
type directory struct{ blob.Store }

func (d directory) Open(ctx context.Context, name albs.Digest) (io.ReadCloser, error) {
	return d.Store.Open(ctx, name)
}

// BenchmarkExtend adds one package to 10,000.
func BenchmarkExtend(b *testing.B) {
	dir, err := blob.NewDir(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	for name, blobs := range map[string]Blobs{"memory": newMemory(), "directory": directory{dir}} {
		s := extend(b, blobs, nil, Change{Add: synthetics(0, 10000)}, 1)
		raw := int64(0)
		for _, f := range s.root.Buckets {
			raw += f.RawBytes[primary] + f.RawBytes[filelists] + f.RawBytes[other]
		}
		b.Run(name, func(b *testing.B) {
			n := 20000
			for b.Loop() {
				extend(b, blobs, s, Change{Add: synthetics(n, n+1)}, 2)
				n++
			}
			b.ReportMetric(float64(raw)/1e6, "rawMB")
		})
	}
}

// BenchmarkExtendFromNothing writes the metadata of 10,000 packages.
func BenchmarkExtendFromNothing(b *testing.B) {
	pkgs := synthetics(0, 10000)
	for b.Loop() {
		extend(b, newMemory(), nil, Change{Add: pkgs}, 1)
	}
}

// TestPiecesAreOneFile: libraries and the programs of old read the pieces as one file.
func TestPiecesAreOneFile(t *testing.T) {
	t.Parallel()
	for _, by := range Compressions {
		m := newMemory()
		s := extend(t, m, nil, Change{Add: synthetics(0, 60), Compression: by}, 1)
		s = extend(t, m, s, Change{Add: synthetics(60, 70), Remove: paths(synthetics(0, 10))}, 2)
		file := m.bytes(t, s.Files()[primary].Digest)
		var got []string
		err := ReadPrimary(bytes.NewReader(file), func(l Listed) error {
			got = append(got, l.Path)
			if _, size, ok, err := s.Lookup(t.Context(), m, l.Path); !ok || size != l.Size || err != nil {
				return fmt.Errorf("Lookup(%s) = %d, %v, %v", l.Path, size, ok, err)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(got)
		if diff := cmp.Diff(paths(synthetics(10, 70)), got); diff != "" {
			t.Errorf("primary by %s lists (-want +got):\n%s", by, diff)
		}
		tool := string(by)
		if _, err := exec.LookPath(tool); err != nil {
			t.Logf("the program %s isn't installed and wasn't asked", tool)
			continue
		}
		cmd := exec.CommandContext(t.Context(), tool, "-d", "-c")
		cmd.Stdin = bytes.NewReader(file)
		out, err := cmd.Output()
		if err != nil || bytes.Count(out, []byte("<package ")) != 60 {
			t.Errorf("%s -d gives %d packages, %v", tool, bytes.Count(out, []byte("<package ")), err)
		}
	}
}

// someRecords are records with their bytes in m.
func someRecords(m *memory, texts ...string) []Record {
	var out []Record
	for _, s := range texts {
		d := albs.DigestOf([]byte(s))
		m.m[d] = []byte(s)
		out = append(out, Record{Type: s, Name: s + ".xml", Digest: d, Size: int64(len(s))})
	}
	return out
}

func TestRecords(t *testing.T) {
	t.Parallel()
	m := newMemory()
	none := extend(t, m, nil, Change{Add: synthetics(0, 3)}, 1)
	recs := someRecords(m, "updateinfo", "group")
	packed := Record{Type: "modules", Name: "modules.yaml.gz", Digest: albs.DigestOf([]byte("z")), Size: 1, OpenDigest: albs.DigestOf([]byte("plain")), OpenSize: 5}
	with := extend(t, m, none, Change{Records: append(recs, packed)}, 2)
	kept := extend(t, m, with, Change{Add: synthetics(3, 4)}, 3)
	gone := extend(t, m, kept, Change{Remove: paths(synthetics(3, 4)), Records: []Record{}}, 4)
	want := []Record{recs[1], packed, recs[0]}
	for name, tc := range map[string]struct {
		s    *Snapshot
		want []Record
	}{"before": {none, nil}, "given": {with, want}, "kept": {kept, want}, "taken away": {gone, nil}} {
		if diff := cmp.Diff(tc.want, tc.s.Records()); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		sealed, err := Seal(t.Context(), m, tc.s, []byte("-----BEGIN PGP SIGNATURE-----\n"))
		if err != nil {
			t.Fatal(err)
		}
		opened, err := Open(t.Context(), m, sealed.Digest())
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		if diff := cmp.Diff(tc.want, opened.Records()); diff != "" {
			t.Errorf("%s and sealed (-want +got):\n%s", name, diff)
		}
		md, err := ParseRepomd(bytes.NewReader(m.bytes(t, opened.Repomd())))
		if err != nil {
			t.Fatal(err)
		}
		if len(md.Data) != kinds+len(tc.want) {
			t.Errorf("%s: repomd.xml names %d files, want %d", name, len(md.Data), kinds+len(tc.want))
		}
		files := map[string]File{}
		for _, f := range opened.Files() {
			files[f.Path] = f
		}
		if len(files) != kinds+2+len(tc.want) {
			t.Errorf("%s: there are %d files, want %d", name, len(files), kinds+2+len(tc.want))
		}
		for _, r := range tc.want {
			path := "repodata/" + string(r.Digest) + "-" + r.Name
			d, ok := md.Find(r.Type)
			if want := (RepomdData{r.Type, path, r.Digest, r.OpenDigest, r.Size, r.OpenSize, opened.Revision()}); !ok || d != want {
				t.Errorf("%s: repomd.xml says %+v, want %+v", name, d, want)
			}
			if files[path] != (File{path, r.Digest, r.Size}) {
				t.Errorf("%s: file %+v of record %s", name, files[path], r.Type)
			}
			if ok, err := opened.Has(t.Context(), m, r.Digest); !ok || err != nil {
				t.Errorf("%s: Has(%s) = %v, %v", name, r.Type, ok, err)
			}
			reached := false
			err := opened.Reach(t.Context(), m, nil, func(d albs.Digest) error { reached = reached || d == r.Digest; return nil })
			if err != nil || !reached {
				t.Errorf("%s: %s is not reached, %v", name, r.Type, err)
			}
		}
	}
	// Who knows no records reads what has none, as before there were any.
	if !bytes.HasPrefix(m.bytes(t, gone.Digest()), []byte(`{"format":"albs-snapshot/v1",`)) || !bytes.HasPrefix(m.bytes(t, with.Digest()), []byte(`{"format":"albs-snapshot/v2",`)) {
		t.Error("the formats of roots with and without records are not v2 and v1")
	}
	once := extend(t, m, nil, Change{Add: synthetics(0, 4), Records: want}, 3)
	if once.Digest() != kept.Digest() {
		t.Error("the same packages and records gave another snapshot")
	}
}

func TestRecordsRefused(t *testing.T) {
	t.Parallel()
	m := newMemory()
	s := extend(t, m, nil, Change{}, 1)
	good := someRecords(m, "group")[0]
	edit := func(f func(*Record)) []Record { r := good; f(&r); return []Record{r} }
	many := make([]Record, maxRecords+1)
	for i := range many {
		many[i] = good
		many[i].Type = fmt.Sprintf("t%03d", i)
	}
	for name, recs := range map[string][]Record{
		"twice":                      {good, good},
		"a type of ours":             edit(func(r *Record) { r.Type = "primary" }),
		"a type that isn't one":      edit(func(r *Record) { r.Type = `a"b` }),
		"no type":                    edit(func(r *Record) { r.Type = "" }),
		"a path":                     edit(func(r *Record) { r.Name = "../comps.xml" }),
		"no name":                    edit(func(r *Record) { r.Name = "" }),
		"no digest":                  edit(func(r *Record) { r.Digest = "x" }),
		"no size":                    edit(func(r *Record) { r.Size = 0 }),
		"no size uncompressed":       edit(func(r *Record) { r.OpenDigest = r.Digest }),
		"a broken digest of inside":  edit(func(r *Record) { r.OpenDigest, r.OpenSize = "x", 1 }),
		"less than nothing inside":   edit(func(r *Record) { r.OpenDigest, r.OpenSize = r.Digest, -1 }),
		"more than a repository has": many,
	} {
		if _, err := Extend(t.Context(), m, s, Change{Records: recs}, 2); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	// What Extend would not write is not read either.
	with := extend(t, m, s, Change{Records: []Record{good}}, 2)
	root := m.bytes(t, with.Digest())
	for _, edit := range [][2]string{{"snapshot/v2", "snapshot/v1"}, {`"type":"group"`, `"type":"other"`}, {`"group.xml"`, `"/etc"`}} {
		b := bytes.Replace(root, []byte(edit[0]), []byte(edit[1]), 1)
		if bytes.Equal(b, root) {
			t.Fatalf("%s is not in the root", edit[0])
		}
		if _, err := parseRoot(b); !errors.Is(err, albs.Invalid) {
			t.Errorf("a root with %s gave %v, want Invalid", edit[1], err)
		}
	}
	if _, err := parseRoot(bytes.Replace(m.bytes(t, s.Digest()), []byte("snapshot/v1"), []byte("snapshot/v2"), 1)); !errors.Is(err, albs.Invalid) {
		t.Errorf("a v2 root without records gave %v, want Invalid", err)
	}
}
