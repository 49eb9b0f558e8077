package rpm

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
)

// The fixtures are what rpmbuild 4.18 makes of testdata/rich.spec:
//
//	SOURCE_DATE_EPOCH=1709640000 rpmbuild -ba --nodeps --define "_buildhost builder.example.org" \
//	  --define "use_source_date_epoch_as_buildtime 1" --define "clamp_mtime_to_source_date_epoch 1" rich.spec
const (
	richRPM  = "testdata/albs-rich-1.0~rc1-3.el9.noarch.rpm"
	richSRPM = "testdata/albs-rich-1.0~rc1-3.el9.src.rpm"
)

func fixture(t testing.TB, name string) []byte {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

// mutation is one way to spoil a package. main is where the main header begins.
type mutation struct {
	name  string
	spoil func(b []byte, main int) []byte
	want  string // part of the message
}

// put32 returns a mutation that sets a word of the main header: word w of index
// entry i, or of the intro for i = -1.
func put32(name string, i, w int, v uint32, want string) mutation {
	return mutation{name, func(b []byte, main int) []byte {
		binary.BigEndian.PutUint32(b[main+introSize+indexSize*i+4*w:], v)
		return b
	}, want}
}

func replace(old, with string) func(b []byte, main int) []byte {
	return func(b []byte, main int) []byte {
		i := bytes.Index(b[main:], []byte(old))
		copy(b[main+i:], with)
		return b
	}
}

var mutations = []mutation{
	put32("no entries", -1, 2, 0, "0 entries"),
	put32("huge nindex", -1, 2, 0xffffffff, "4294967295 entries"),
	put32("nindex beyond the file", -1, 2, maxEntries, "ends inside the main header"),
	put32("4 GiB store", -1, 3, 0xffffffff, "4294967295 bytes"),
	put32("2 GiB store", -1, 3, 0x7fffffff, "2147483647 bytes"),
	put32("store beyond the file", -1, 3, maxStore, "ends inside the main header"),
	put32("no store", -1, 3, 0, "counts 16 values"),
	put32("magic", -1, 0, 0, "magic"),
	put32("reserved", -1, 1, 1, "magic"),
	put32("offset beyond data", 3, 2, 1<<20, "beyond"),
	put32("offset at the end", 3, 2, 0x7fffffff, "beyond"),
	put32("negative offset", 3, 2, 0xfffffff0, "beyond"),
	put32("count 0", 3, 3, 0, "counts 0"),
	put32("negative count", 3, 3, 0xffffffff, "counts 4294967295"),
	put32("huge count", 4, 3, 0x40000001, "counts"),
	put32("two values of a string", 3, 3, 2, "counts 2"),
	put32("type 0", 3, 1, 0, "unknown type"),
	put32("type 10", 3, 1, 10, "unknown type"),
	put32("huge type", 3, 1, 0xfffffff7, "unknown type"),
	put32("duplicate tag", 3, 0, tagName, "twice"),
	put32("other region", 0, 0, 61, "region"),
	put32("region count", 0, 3, 32, "beyond"),
	put32("region in the middle", 0, 2, 16, "trailer"),
	{"name is a number", func(b []byte, main int) []byte {
		for i := range 100 {
			at := main + introSize + indexSize*i
			if binary.BigEndian.Uint32(b[at:]) == tagName {
				binary.BigEndian.PutUint32(b[at+4:], typeBin)
				break
			}
		}
		return b
	}, "has type 7"},
	{"overlap", func(b []byte, main int) []byte {
		at := main + introSize
		copy(b[at+indexSize*3+8:at+indexSize*3+12], b[at+indexSize*2+8:at+indexSize*2+12])
		return b
	}, "overlaps"},
	{"count beyond data", func(b []byte, main int) []byte {
		for i := range 100 {
			at := main + introSize + indexSize*i
			if binary.BigEndian.Uint32(b[at+4:]) == typeInt32 {
				binary.BigEndian.PutUint32(b[at+12:], 1500)
				break
			}
		}
		return b
	}, "ends beyond"},
	{"not aligned", func(b []byte, main int) []byte {
		for i := range 100 {
			at := main + introSize + indexSize*i
			if binary.BigEndian.Uint32(b[at+4:]) == typeInt32 {
				b[at+11]++
				break
			}
		}
		return b
	}, "not aligned"},
	{"trailer spans less", func(b []byte, main int) []byte {
		n, size := binary.BigEndian.Uint32(b[main+8:]), binary.BigEndian.Uint32(b[main+12:])
		at := main + introSize + int(n)*indexSize + int(size) - indexSize
		binary.BigEndian.PutUint32(b[at+8:], uint32(-(int(n)-1)*indexSize))
		return b
	}, "cover"},
	{"region a byte beyond the data", func(b []byte, main int) []byte {
		at := main + introSize + 8
		binary.BigEndian.PutUint32(b[at:], binary.BigEndian.Uint32(b[at:])+1)
		return b
	}, "ends beyond"},
	{"data behind the region", func(b []byte, main int) []byte {
		n, size := binary.BigEndian.Uint32(b[main+8:]), binary.BigEndian.Uint32(b[main+12:])
		binary.BigEndian.PutUint32(b[main+12:], size+8)
		return slices.Insert(b, main+introSize+int(n)*indexSize+int(size), []byte("unsigned")...)
	}, "cover"},
	{"not UTF-8", replace("A package with", "A \xff\xfeckage"), "UTF-8"},
	{"name of shell", replace("albs-rich\x00", "al$(h)ich\x00"), "grammar"},
	{"name of an option", replace("albs-rich\x00", "-lbs-rich\x00"), "grammar"},
	{"relative directory", replace("/usr/share/rich/sub/\x00", "../../../../../etc/\x00"), "absolute"},
	{"other text", replace("Second line.", "Second lime."), "signature header says"},
	{"not an RPM", func(b []byte, main int) []byte { b[0] = 0; return b }, "not an RPM"},
	{"old signature type", func(b []byte, main int) []byte { b[79] = 1; return b }, "signature type 1"},
	{"signature region", func(b []byte, main int) []byte { b[leadSize+introSize+3] = 63; return b }, "signature header has no immutable region"},
	{"no bytes", func(b []byte, main int) []byte { return nil }, "ends inside the lead"},
	{"cut in the main header", func(b []byte, main int) []byte { return b[:main+1000] }, "ends inside the main header"},
	{"text", func(b []byte, main int) []byte { return bytes.Repeat([]byte("<html>"), 1000) }, "not an RPM"},
	{"zeros behind the lead", func(b []byte, main int) []byte { clear(b[leadSize:]); return b }, "magic"},
}

// Malformed packages cost next to nothing (T45): an Invalid error within 50 ms
// and 32 MiB. Not parallel, since it measures.
func TestReadMalformed(t *testing.T) {
	good := fixture(t, richRPM)
	p, err := Read(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range mutations {
		t.Run(m.name, func(t *testing.T) {
			bad := m.spoil(bytes.Clone(good), int(p.HeaderStart))
			best := time.Hour
			for range 3 { // the best of three: the machine may be busy elsewhere
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				start := time.Now()
				_, err := Read(bytes.NewReader(bad))
				best = min(best, time.Since(start))
				runtime.ReadMemStats(&after)
				if !errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), m.want) {
					t.Fatalf("Read: %v; want an Invalid error with %q", err, m.want)
				}
				if n := after.TotalAlloc - before.TotalAlloc; n > 32<<20 {
					t.Errorf("Read took %d bytes of memory", n)
				}
			}
			if best > 50*time.Millisecond {
				t.Errorf("Read took %v", best)
			}
		})
	}
}

// A package cut anywhere before its payload is Invalid, and one whose payload is
// cut still has its headers.
func TestReadTruncated(t *testing.T) {
	t.Parallel()
	good := fixture(t, richRPM)
	p, err := Read(bytes.NewReader(good))
	if err != nil {
		t.Fatal(err)
	}
	for n := range int(p.HeaderEnd) {
		if _, err := Read(bytes.NewReader(good[:n])); !errors.Is(err, albs.Invalid) {
			t.Fatalf("Read of the first %d bytes: %v, want an Invalid error", n, err)
		}
	}
	r := bytes.NewReader(good)
	if _, err := Read(r); err != nil {
		t.Fatal(err)
	}
	if got := int64(len(good) - r.Len()); got != p.HeaderEnd {
		t.Errorf("Read took %d bytes, the payload begins at %d", got, p.HeaderEnd)
	}
	if _, err := Read(bytes.NewReader(good[:p.HeaderEnd])); err != nil {
		t.Errorf("Read of the headers alone: %v", err)
	}
}

type brokenReader struct{ err error }

func (r brokenReader) Read([]byte) (int, error) { return 0, r.err }

// A reader's own failure is no fault of the package.
func TestReadFailure(t *testing.T) {
	t.Parallel()
	cause := errors.New("disk on fire")
	for _, n := range []int{0, 50, 96, 2000, 4504, 4600, 6000} {
		r := io.MultiReader(bytes.NewReader(fixture(t, richRPM)[:n]), brokenReader{cause})
		_, err := Read(r)
		if !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
			t.Errorf("Read that fails after %d bytes: %v, want the cause and no kind", n, err)
		}
	}
}

// withMain returns the fixture with another main header, built of values and
// what every package needs.
func withMain(t *testing.T, values ...value) []byte {
	t.Helper()
	text := func(tag uint32, s string) value { return value{tag, typeString, 1, []byte(s + "\x00")} }
	values = append(values, text(tagName, "a"), text(tagVersion, "1"), text(tagRelease, "1"), text(tagArch, "noarch"), text(tagSourceRPM, "a-1-1.src.rpm"))
	sig := layout(tagSigRegion, []value{{tagSigSize, typeInt32, 1, make([]byte, 4)}})
	out := append(fixture(t, richRPM)[:leadSize:leadSize], sig...)
	out = append(out, make([]byte, padded(len(sig))-len(sig))...)
	return append(out, layout(tagMainRegion, values)...)
}

// Headers whose form is right but that stand for more than they hold.
func TestReadBounds(t *testing.T) {
	ints := func(tag uint32, n, w int) value {
		return value{tag, map[int]uint32{2: typeInt16, 4: typeInt32}[w], uint32(n), make([]byte, n*w)}
	}
	texts := func(tag uint32, n int, s string) value {
		return value{tag, typeStrings, uint32(n), []byte(strings.Repeat(s+"\x00", n))}
	}
	files := func(n int, dir string) []value {
		return []value{texts(tagBaseNames, n, "f"), texts(tagDirNames, 1, dir), ints(tagDirIndexes, n, 4), ints(tagFileModes, n, 2), ints(tagFileFlags, n, 4)}
	}
	long := "/" + strings.Repeat("d", 4000) + "/"
	for name, c := range map[string]struct {
		values []value
		want   string // "" = accepted
	}{
		"nothing":                 {nil, ""},
		"files":                   {files(1000, "/"), ""},
		"too many files":          {files(maxFiles+1, "/"), "files"},
		"long paths":              {files(100, long), ""},
		"a long path too often":   {files(20000, long), "too long"},
		"a path beyond PATH_MAX":  {files(1, "/"+strings.Repeat("d", 5000)+"/"), "too long"},
		"more directories":        {[]value{texts(tagBaseNames, 1, "f"), texts(tagDirNames, 2, "/"), ints(tagDirIndexes, 1, 4), ints(tagFileModes, 1, 2), ints(tagFileFlags, 1, 4)}, "directories"},
		"no directories":          {[]value{texts(tagBaseNames, 1, "f"), ints(tagDirIndexes, 1, 4), ints(tagFileModes, 1, 2), ints(tagFileFlags, 1, 4)}, "no directory"},
		"a slash in a name":       {append(files(1, "/")[1:], texts(tagBaseNames, 1, "a/b")), "no directory"},
		"fewer modes than files":  {append(files(5, "/")[:3:3], ints(tagFileModes, 4, 2), ints(tagFileFlags, 5, 4)), "5 files and 4"},
		"fewer to verify":         {append(files(5, "/"), ints(tagFileVerify, 4, 4)), "5 files and 4"},
		"too many dependencies":   {[]value{texts(1047, maxDependencies+1, "a"), texts(1113, maxDependencies+1, ""), ints(1112, maxDependencies+1, 4)}, "dependencies"},
		"dependencies in sum":     {[]value{texts(1047, maxDependencies, "a"), texts(1113, maxDependencies, ""), ints(1112, maxDependencies, 4), texts(1054, 1, "a"), texts(1055, 1, ""), ints(1053, 1, 4)}, "dependencies"},
		"dependency without flag": {[]value{texts(1047, 2, "a"), texts(1113, 2, ""), ints(1112, 1, 4)}, "have 2, 2 and 1 values"},
		"epoch of a dependency":   {[]value{texts(1047, 1, "a"), texts(1113, 1, "4294967296:1"), ints(1112, 1, 4)}, "epoch"},
		"epoch":                   {[]value{{tagEpoch, typeInt32, 1, []byte{0xff, 0xff, 0xff, 0xff}}}, "epoch"},
		"too many arches":         {[]value{texts(tagExclusiveArch, maxArches+1, "a")}, "arches"},
		"changelog without text":  {[]value{ints(tagChangeTime, 1, 4), texts(tagChangeName, 1, "a")}, "changelog"},
		"too many changes":        {[]value{ints(tagChangeTime, maxChanges+1, 4), texts(tagChangeName, maxChanges+1, "a"), texts(tagChangeText, maxChanges+1, "a")}, "changelog"},
		"payload digest":          {[]value{texts(tagPayloadDigest, 1, "../../etc/passwd"), {tagPayloadAlg, typeInt32, 1, []byte{0, 0, 0, 8}}}, "sha256"},
		"size":                    {[]value{{tagLongSize, typeInt64, 1, []byte{0xff, 0, 0, 0, 0, 0, 0, 0}}}, "size"},
	} {
		t.Run(name, func(t *testing.T) {
			b := withMain(t, c.values...)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Read(bytes.NewReader(b))
			runtime.ReadMemStats(&after)
			switch {
			case c.want == "" && err != nil:
				t.Fatalf("Read: %v", err)
			case c.want != "" && (!errors.Is(err, albs.Invalid) || !strings.Contains(err.Error(), c.want)):
				t.Fatalf("Read: %v; want an Invalid error with %q", err, c.want)
			}
			// A few times the bytes that really came, and no more than the bound on paths.
			if n := after.TotalAlloc - before.TotalAlloc; n > uint64(6*len(b)+2*maxPaths) {
				t.Errorf("Read of %d bytes took %d bytes of memory", len(b), n)
			}
		})
	}
}

func FuzzRead(f *testing.F) {
	for _, name := range []string{richRPM, richSRPM} {
		b := fixture(f, name)
		f.Add(b[:min(len(b), 8500)])
	}
	good := fixture(f, richRPM)
	for _, m := range mutations {
		f.Add(m.spoil(bytes.Clone(good), 4504))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		p, err := Read(bytes.NewReader(b))
		if err != nil {
			if !errors.Is(err, albs.Invalid) {
				t.Fatalf("Read: %v is not Invalid", err)
			}
			return
		}
		main, err := Header(bytes.NewReader(b))
		if err != nil {
			t.Fatalf("Header after Read: %v", err)
		}
		if !bytes.Equal(main, b[p.HeaderStart:p.HeaderEnd]) {
			t.Fatal("Header returns other bytes than those between HeaderStart and HeaderEnd")
		}
		if !p.Valid() || albs.DigestOf(main) != p.HeaderSHA256 {
			t.Fatalf("Read returns a package that is not consistent: %+v", p.NEVRA)
		}
	})
}
