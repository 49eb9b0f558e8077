package repodata

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/ulikunitz/xz"
	"github.com/ulikunitz/xz/lzma"

	"albs/internal/albs"
	"albs/internal/repodata/intake"
	"albs/internal/rpm"
)

// someRepomd is a repomd.xml as Fedora's has it, shortened.
const someRepomd = `<?xml version="1.0" encoding="UTF-8"?>
<repomd xmlns="http://linux.duke.edu/metadata/repo" xmlns:rpm="http://linux.duke.edu/metadata/rpm">
  <revision>8.10</revision>
  <tags><distro cpeid="cpe:/o:almalinux">AlmaLinux 8</distro></tags>
  <data type="primary">
    <checksum type="sha256">4a5ab5eb6bbf2b3be2f7d6ab1a8b9a4ea3fbd09f8e9b1eac3dc7a3b2ad0e0d11</checksum>
    <open-checksum type="sha256">5a5ab5eb6bbf2b3be2f7d6ab1a8b9a4ea3fbd09f8e9b1eac3dc7a3b2ad0e0d11</open-checksum>
    <location href="repodata/4a5a-primary.xml.gz"/>
    <timestamp>1716460000.52</timestamp>
    <size>100</size>
    <open-size>1000</open-size>
  </data>
  <data type="primary_db">
    <checksum type="sha512">ab</checksum>
    <location href="repodata/primary.sqlite.xz"/>
    <database_version>10</database_version>
  </data>
</repomd>
`

func TestParseRepomd(t *testing.T) {
	t.Parallel()
	got, err := ParseRepomd(strings.NewReader(someRepomd))
	if err != nil {
		t.Fatal(err)
	}
	want := &Repomd{Revision: "8.10", Data: []RepomdData{
		{
			Type: "primary", Path: "repodata/4a5a-primary.xml.gz", Size: 100, OpenSize: 1000, Timestamp: 1716460000,
			Digest:     "4a5ab5eb6bbf2b3be2f7d6ab1a8b9a4ea3fbd09f8e9b1eac3dc7a3b2ad0e0d11",
			OpenDigest: "5a5ab5eb6bbf2b3be2f7d6ab1a8b9a4ea3fbd09f8e9b1eac3dc7a3b2ad0e0d11",
		},
		{Type: "primary_db", Path: "repodata/primary.sqlite.xz"},
	}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("ParseRepomd (-want +got):\n%s", diff)
	}
	if _, ok := got.Find("updateinfo"); ok {
		t.Error("Find(updateinfo) found something")
	}
}

func TestParseRepomdRefuses(t *testing.T) {
	t.Parallel()
	edit := func(from, to string) string { return strings.Replace(someRepomd, from, to, 1) }
	for _, tc := range []struct {
		name, doc string
		want      albs.Kind
	}{
		{"nothing", "", albs.Invalid},
		{"another root", "<metadata/>", albs.Invalid},
		{"cut off", someRepomd[:500], albs.Invalid},
		{"more behind", someRepomd + "<x/>", albs.Invalid},
		{"DTD", edit("<repomd", `<!DOCTYPE r [<!ENTITY a "b">]><repomd`), albs.Invalid},
		{"entity", edit("8.10", "&a;"), albs.Invalid},
		{"path upwards", edit("repodata/4a5a", "../4a5a"), albs.Invalid},
		{"absolute path", edit("repodata/4a5a", "/4a5a"), albs.Invalid},
		{"address", edit("repodata/4a5a", "http://example.org/4a5a"), albs.Invalid},
		{"base", edit(`<location href`, `<location xml:base="http://example.org" href`), albs.Invalid},
		{"no sha256", edit("4a5ab5eb", "XX"), albs.Invalid},
		{"negative size", edit("<size>100", "<size>-1"), albs.Invalid},
		{"no checksum", edit(`<checksum type="sha512">ab</checksum>`, ""), albs.Invalid},
		{"no location", edit(`<location href="repodata/primary.sqlite.xz"/>`, ""), albs.Invalid},
		{"deep", "<repomd>" + strings.Repeat("<a>", 100), albs.Invalid},
		{"too long", edit("8.10", strings.Repeat("x", intake.MaxTokenBytes+1)), albs.TooLarge},
		{"too long in all", edit("<tags>", "<tags>"+strings.Repeat("<a/>", MaxRepomdBytes/4)), albs.TooLarge},
		{"too many", edit("<tags>", strings.Repeat(`<data type="x"><checksum type="md5"/><location href="a"/></data>`, maxRepomdData+1)+"<tags>"), albs.TooLarge},
	} {
		if _, err := ParseRepomd(strings.NewReader(tc.doc)); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want kind %s", tc.name, err, tc.want)
		}
	}
	cause := errors.New("the line is down")
	_, err := ParseRepomd(io.MultiReader(strings.NewReader(someRepomd[:300]), failing{cause}))
	if !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("a failing source gave %v", err)
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

// somePrimary is the primary of a few synthetic packages.
func somePrimary(t testing.TB, n int) []byte {
	t.Helper()
	b := metaHead(primary, n)
	for _, p := range synthetics(0, n) {
		it, err := p.render()
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, it.parts[primary]...)
	}
	return append(b, metaTail(primary)...)
}

func compressions(t testing.TB, b []byte) map[string][]byte {
	t.Helper()
	out := map[string][]byte{"plain": b}
	for name, open := range map[string]func(io.Writer) (io.WriteCloser, error){
		"gzip": func(w io.Writer) (io.WriteCloser, error) { return gzip.NewWriter(w), nil },
		"zstd": func(w io.Writer) (io.WriteCloser, error) { return zstd.NewWriter(w) },
		"xz":   func(w io.Writer) (io.WriteCloser, error) { return xz.NewWriter(w) },
		"xz in blocks": func(w io.Writer) (io.WriteCloser, error) {
			return xz.WriterConfig{BlockSize: 1000, CheckSum: xz.SHA256}.NewWriter(w)
		},
		"xz with CRC32": func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{CheckSum: xz.CRC32}.NewWriter(w) },
		"xz unchecked":  func(w io.Writer) (io.WriteCloser, error) { return xz.WriterConfig{NoCheckSum: true}.NewWriter(w) },
	} {
		var c bytes.Buffer
		w, err := open(&c)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Write(b); err != nil {
			t.Fatal(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		out[name] = c.Bytes()
	}
	return out
}

// listedOf is a package of synthetics as primary lists it.
func listedOf(p Package) Listed {
	l := Listed{NEVRA: p.RPM.NEVRA, Path: p.Path, Digest: p.Digest, Size: p.Size, SourceRPM: p.RPM.SourceRPM}
	for _, d := range p.RPM.Provides {
		l.Provides = append(l.Provides, Capability{Name: d.Name, Flags: "EQ", Epoch: "0", Version: d.Version, Release: d.Release})
	}
	for _, d := range p.RPM.Requires {
		l.Requires = append(l.Requires, Capability{Name: d.Name})
	}
	for _, f := range p.RPM.Files {
		if primaryFile(f.Path) {
			l.Files = append(l.Files, f.Path)
		}
	}
	return l
}

// TestListed: a snapshot tells of its packages list by list, also after the XML that it
// keeps for that has gone.
func TestListed(t *testing.T) {
	t.Parallel()
	m, ctx := newMemory(), t.Context()
	all := synthetics(0, 60)
	odd := all[7].RPM
	odd.Provides = append(odd.Provides, rpm.Dependency{Name: `a<"&'> `, Flags: rpm.Equal, EVR: rpm.EVR{Version: "1&2", Release: "3"}})
	odd.Files = append(odd.Files, rpm.FileInfo{Path: "/etc/a\nb<&\r", Mode: 0o100644}, rpm.FileInfo{Path: "/etc/d", Mode: 0o040755})
	odd.Description = "<rpm:requires>\n<rpm:entry name=\"x\"/>\n</rpm:requires>"
	s, err := Extend(ctx, m, nil, Change{Add: all}, 1)
	if err != nil {
		t.Fatal(err)
	}
	for _, gone := range []bool{false, true} {
		got := map[string]Listed{}
		for i, part := range s.Parts() {
			if raw := s.root.Buckets[i].Raw; gone {
				m.mu.Lock()
				delete(m.m, raw)
				m.mu.Unlock()
			}
			err := s.Listed(ctx, m, part, func(l Listed) error {
				got[l.Path] = l
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		for _, p := range all {
			if diff := cmp.Diff(listedOf(p), got[p.Path]); diff != "" {
				t.Errorf("%s (-want +got):\n%s", p.Path, diff)
			}
		}
		if len(got) != 60 {
			t.Errorf("%d packages are listed, want 60", len(got))
		}
	}
	if err := s.Listed(ctx, m, albs.DigestOf([]byte("other")), func(Listed) error { return nil }); albs.KindOf(err) != albs.NotFound {
		t.Errorf("another list: %v", err)
	}
}

// BenchmarkListed reads all that primary says of a repository of 5,000 packages.
func BenchmarkListed(b *testing.B) {
	m := newMemory()
	s, err := Extend(b.Context(), m, nil, Change{Add: synthetics(0, 5000)}, 1)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		n := 0
		for _, part := range s.Parts() {
			if err := s.Listed(b.Context(), m, part, func(Listed) error { n++; return nil }); err != nil {
				b.Fatal(err)
			}
		}
		if n != 5000 {
			b.Fatal(n)
		}
	}
}

func TestReadPrimary(t *testing.T) {
	t.Parallel()
	var want []Listed
	for _, p := range synthetics(0, 40) {
		want = append(want, listedOf(p))
	}
	for name, b := range compressions(t, somePrimary(t, 40)) {
		var got []Listed
		err := ReadPrimary(bytes.NewReader(b), func(l Listed) error {
			got = append(got, l)
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
		if name == "plain" {
			continue
		}
		for _, cut := range []int{1, 9, len(b) / 2} {
			if err := ReadPrimary(bytes.NewReader(b[:len(b)-cut]), func(Listed) error { return nil }); !errors.Is(err, albs.Invalid) {
				t.Errorf("%s cut off by %d: error %v, want Invalid", name, cut, err)
			}
		}
		cause := errors.New("the line is down")
		err = ReadPrimary(io.MultiReader(bytes.NewReader(b[:len(b)/2]), failing{cause}), func(Listed) error { return nil })
		if !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
			t.Errorf("%s: a failing source gave %v", name, err)
		}
	}
	stop := errors.New("stop")
	if err := ReadPrimary(bytes.NewReader(somePrimary(t, 4)), func(Listed) error { return stop }); err != stop {
		t.Errorf("ReadPrimary ended with %v, want the error of yield", err)
	}
}

func TestReadPrimaryRefuses(t *testing.T) {
	t.Parallel()
	doc := string(somePrimary(t, 2))
	edit := func(from, to string) string { return strings.Replace(doc, from, to, 1) }
	for _, tc := range []struct {
		name, doc string
		want      albs.Kind
	}{
		{"nothing", "", albs.Invalid},
		{"another root", someRepomd, albs.Invalid},
		{"DTD", edit("<metadata", `<!DOCTYPE r SYSTEM "file:///etc/passwd"><metadata`), albs.Invalid},
		{"entity", edit("<name>pkg", "<name>&x;"), albs.Invalid},
		{"no name", edit("<name>pkg00000</name>", ""), albs.Invalid},
		{"no checksum", edit("checksum type", "checksums type"), albs.Invalid},
		{"path upwards", edit("Packages/", "../../"), albs.Invalid},
		{"base", edit("<location ", `<location xml:base="http://example.org/" `), albs.Invalid},
		{"epoch", edit(`epoch="0"`, `epoch="-1"`), albs.Invalid},
		{"size", edit(`package="34000"`, `package="many"`), albs.Invalid},
		{"another charset", edit("UTF-8", "EBCDIC"), albs.Invalid},
		{"long summary", edit("A generated", strings.Repeat("x", intake.MaxTokenBytes+1)), albs.TooLarge},
		{"long attribute", edit(`href="`, `href="`+strings.Repeat("x", intake.MaxTokenBytes+1)), albs.TooLarge},
		{"long package", edit("<format>", "<format>"+strings.Repeat("<file>"+strings.Repeat("x", 1000)+"</file>", maxPackageBytes/1000)), albs.TooLarge},
		{"many provides", edit("<rpm:provides>", "<rpm:provides>"+strings.Repeat(`<rpm:entry name="a"/>`, maxCapabilities+1)), albs.TooLarge},
	} {
		if err := ReadPrimary(strings.NewReader(tc.doc), func(Listed) error { return nil }); !errors.Is(err, tc.want) {
			t.Errorf("%s: error %v, want kind %s", tc.name, err, tc.want)
		}
	}
	var got Listed
	odd := edit("href=\"Packages/", "href=\"./Packages/")
	err := ReadPrimary(strings.NewReader(odd), func(l Listed) error {
		if l.NEVRA.Name == "pkg00000" {
			got = l
		}
		return nil
	})
	if err != nil || got.Path != synthetic(0).Path {
		t.Errorf("a path that begins with ./ = %q, %v", got.Path, err)
	}
}

func TestXZDictionary(t *testing.T) {
	t.Parallel()
	// xz's block header of a stream without sizes: header size 2, no flags, LZMA2, the dictionary, padding, CRC32.
	b := compressions(t, []byte("x"))["xz"]
	x := bytes.Clone(b)
	if x[12] != 2 || x[14] != 0x21 {
		t.Fatalf("the library writes another block header now: % x", x[12:24])
	}
	x[16] = lzma.EncodeDictCap(1 << 31)
	crc := xzCRC(x[12:20])
	copy(x[20:24], crc)
	err := ReadPrimary(bytes.NewReader(x), func(Listed) error { return nil })
	if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "dictionary") {
		t.Errorf("a dictionary of 2 GiB gave %v, want Invalid", err)
	}
}

// TestXZCheck: a block whose content is not that of its check is refused.
func TestXZCheck(t *testing.T) {
	t.Parallel()
	doc := somePrimary(t, 2)
	for name, size := range map[string]int{"xz": 8, "xz with CRC32": 4} {
		b := bytes.Clone(compressions(t, doc)[name])
		// The check stands before the index, whose size the footer has (xz-file-format §2.1.2.2).
		index := (int(binary.LittleEndian.Uint32(b[len(b)-8:])) + 1) * 4
		b[len(b)-12-index-size] ^= 1
		err := ReadPrimary(bytes.NewReader(b), func(Listed) error { return nil })
		if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), "check does not match") {
			t.Errorf("%s with another check gave %v, want Invalid", name, err)
		}
	}
}

func TestXZOfTheTool(t *testing.T) {
	t.Parallel()
	need(t, "xz")
	doc := somePrimary(t, 100)
	for _, args := range [][]string{{"-0"}, {"-9e"}, {"-T2", "--block-size=9000"}, {"--check=sha256"}, {"--check=none"}} {
		cmd := exec.CommandContext(t.Context(), "xz", append(args, "-c")...)
		cmd.Stdin = bytes.NewReader(doc)
		b, err := cmd.Output()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		err = ReadPrimary(bytes.NewReader(b), func(Listed) error { n++; return nil })
		if err != nil || n != 100 {
			t.Errorf("xz %v: %d packages, %v, want 100", args, n, err)
		}
	}
}

func FuzzParseRepomd(f *testing.F) {
	f.Add([]byte(someRepomd))
	f.Add([]byte("<repomd><data type='a'><checksum/><location href='b'/></data></repomd>"))
	f.Fuzz(func(t *testing.T, b []byte) {
		md, err := ParseRepomd(bytes.NewReader(b))
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("error of kind %s: %v", k, err)
			}
			return
		}
		for _, d := range md.Data {
			if !safePath(d.Path) || d.Digest != "" && !d.Digest.Valid() || d.Size < 0 {
				t.Fatalf("accepted %+v", d)
			}
		}
	})
}

func FuzzReadPrimary(f *testing.F) {
	for _, b := range compressions(f, somePrimary(f, 2)) {
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		err := ReadPrimary(bytes.NewReader(b), func(l Listed) error {
			if !safePath(l.Path) || l.NEVRA.Name == "" || l.Size < 0 {
				return fmt.Errorf("accepted %+v", l)
			}
			return nil
		})
		if k := albs.KindOf(err); k != "" && k != albs.Invalid && k != albs.TooLarge {
			t.Fatalf("error of kind %s: %v", k, err)
		}
	})
}

func FuzzOpenSnapshot(f *testing.F) {
	m := newMemory()
	for _, n := range []int{0, 1, 5} {
		s := extend(f, m, nil, Change{Add: synthetics(0, n)}, 5)
		f.Add(m.bytes(f, s.Digest()))
		s = extend(f, m, s, Change{Records: someRecords(m, "group", "modules")}, 6)
		f.Add(m.bytes(f, s.Digest()))
		s = extend(f, m, s, Change{Compression: Zstd}, 7)
		f.Add(m.bytes(f, s.Digest()))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseRoot(b)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid {
				t.Fatalf("error of kind %s: %v", k, err)
			}
			return
		}
		if !bytes.Equal(encodeJSON(s.root), b) {
			t.Fatal("accepted a root that is not canonical")
		}
		for _, file := range s.Files() {
			if !safePath(file.Path) {
				t.Fatalf("accepted the path %q", file.Path)
			}
		}
	})
}

func FuzzUnpack(f *testing.F) {
	text := []byte("<package/>\n<package/>\n")
	for i, by := range Compressions {
		c := compressor{by: by}
		b, err := c.piece(text)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(i, b)
		f.Add(i, append(b, b...))
	}
	f.Fuzz(func(t *testing.T, i int, b []byte) {
		if i < 0 || i >= len(Compressions) {
			return
		}
		plain, done, err := intake.Decompress(bytes.NewReader(b))
		if err != nil {
			plain, done = bytes.NewReader(nil), func() {}
		}
		defer done()
		want, err := io.ReadAll(io.LimitReader(plain, int64(len(text))+1))
		got := make([]byte, len(text))
		if Compressions[i].unpack(bytes.NewReader(b), got) == nil && (err != nil || !bytes.Equal(got, want)) {
			t.Fatalf("unpacked %q, but others read %q, %v", got, want, err)
		}
	})
}

func FuzzEntries(f *testing.F) {
	p := synthetic(1)
	e := []entry{{Entry: Entry{Path: p.Path, Digest: p.Digest, Size: p.Size, NEVRA: p.RPM.NEVRA}, XML: [kinds]int{10, 20, 30}}}
	ref := bucketRef{Number: bucketOf(p.Path), Packages: 1, RawBytes: [kinds]int64{10, 20, 30}}
	f.Add(encodeJSON(e))
	f.Fuzz(func(t *testing.T, b []byte) {
		entries, err := ref.parse(b)
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid {
				t.Fatalf("error of kind %s: %v", k, err)
			}
			return
		}
		if len(entries) != 1 || !validPath(entries[0].Path) || entries[0].NEVRA == (rpm.NEVRA{}) {
			t.Fatalf("accepted %+v", entries)
		}
	})
}
