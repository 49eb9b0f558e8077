package integrity

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
	"albs/internal/sandbox/examine"
)

// root is a View of files that are told.
type root struct {
	entries map[string]examine.Entry
	files   map[string]string
	err     error
	asked   int
}

func (r *root) Examine(_ context.Context, asks []examine.Ask) ([]examine.Entry, error) {
	if r.err != nil {
		return nil, r.err
	}
	out := make([]examine.Entry, len(asks))
	for i, a := range asks {
		e := r.entries[strings.TrimSuffix(a.Path, "/.")]
		e.Path = a.Path
		if !a.Digest || a.Size != e.Size {
			e.Digest = ""
		}
		out[i] = e
	}
	r.asked += len(asks)
	return out, nil
}

func (r *root) ReadFile(_ context.Context, name string, _ int64) ([]byte, error) {
	if s, ok := r.files[name]; ok {
		return []byte(s), nil
	}
	return nil, albs.Errorf(albs.Invalid, "there is no %s", name)
}

const (
	passwd = "root:x:0:0::/root:/bin/sh\ntoor:x:0:0::/root:/bin/sh\nweb:x:80:81::/:/bin/false\nbroken\nweb:x:99:99::/:/x\n"
	group  = "root:x:0:\nweb:x:81:\n"
)

var digest = albs.DigestOf([]byte("data"))

// file, dir and link are what a header says; have is what lies there if all is well.
func file(p string) rpm.FileInfo {
	return rpm.FileInfo{Path: p, Mode: 0o100644, Size: 4, Digest: digest, User: "root", Group: "root"}
}

func dir(p string) rpm.FileInfo {
	return rpm.FileInfo{Path: p, Mode: 0o040755, User: "root", Group: "root"}
}

func link(p, to string) rpm.FileInfo {
	return rpm.FileInfo{Path: p, Mode: 0o120777, Link: to, Size: int64(len(to)), User: "root", Group: "root"}
}

func have(f rpm.FileInfo) examine.Entry {
	e := examine.Entry{Kind: examine.KindOf(uint32(f.Mode)), Mode: uint32(f.Mode) & 0o7777, Size: f.Size, Digest: f.Digest, Link: f.Link}
	if f.Link != "" {
		e.Leads = examine.File
	}
	return e
}

func with(f rpm.FileInfo, change func(*rpm.FileInfo)) rpm.FileInfo {
	change(&f)
	return f
}

// apply checks the files as they lie in the root and returns what each rule found.
func apply(t *testing.T, p *rpm.Package, r *root) map[string][]string {
	t.Helper()
	r.files = map[string]string{"/etc/passwd": passwd, "/etc/group": group}
	verdicts, err := Check(t.Context(), Subject{Package: p, Arch: albs.X8664}, r)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string][]string{}
	for i, v := range verdicts {
		if v.Rule != Rules[i] || v.Skipped != "" && len(v.Found) > 0 {
			t.Errorf("verdict %d is %+v", i, v)
		}
		if len(v.Found) > 0 {
			found[v.Rule] = v.Found
		}
	}
	return found
}

func TestFiles(t *testing.T) {
	t.Parallel()
	const p = "/usr/share/x"
	other := albs.DigestOf([]byte("else"))
	absent := func(*examine.Entry) {}
	for _, tt := range []struct {
		name string
		file rpm.FileInfo
		lies func(*examine.Entry) // nil: as the header says; absent: nothing
		rule string               // "" for none
		say  string
	}{
		{"file", file(p), nil, "", ""},
		{"folder", dir(p), nil, "", ""},
		{"link", link(p, "y"), nil, "", ""},
		{"missing", file(p), absent, RuleFiles, p + " is missing"},
		{"missing configuration", with(file(p), func(f *rpm.FileInfo) { f.Flags = 1 << 0 }), absent, RuleFiles, "is missing"},
		{"may be missing", with(file(p), func(f *rpm.FileInfo) { f.Flags = 1 << 3 }), absent, "", ""},
		{"ghost", with(file(p), func(f *rpm.FileInfo) { f.Flags = 1 << 6 }), absent, "", ""},
		{"the kernel's", dir("/proc"), absent, "", ""},
		{"below the kernel's", dir("/dev/pts"), absent, "", ""},
		{"not the kernel's", dir("/devices"), absent, RuleFiles, "/devices is missing"},
		{"another kind", file(p), func(e *examine.Entry) { e.Kind, e.Leads = examine.Link, examine.File }, RuleFiles, "is a link and no file"},
		{"a FIFO", dir(p), func(e *examine.Entry) { e.Kind = examine.FIFO }, RuleFiles, "is a fifo and no dir"},
		{"folder by a link", dir(p), func(e *examine.Entry) { e.Kind, e.Leads, e.Mode = examine.Link, examine.Dir, 0o777 }, "", ""},
		{"folder by a link to a file", dir(p), func(e *examine.Entry) { e.Kind, e.Leads = examine.Link, examine.File }, RuleFiles, "is a link and no dir"},
		{"mode", file(p), func(e *examine.Entry) { e.Mode = 0o666 }, RuleModes, "has mode 0666, the package says 0644"},
		{"lost setuid", with(file(p), func(f *rpm.FileInfo) { f.Mode = 0o104755 }), func(e *examine.Entry) { e.Mode = 0o755 }, RuleModes, "0755, the package says 4755"},
		{"mode of a folder", dir(p), func(e *examine.Entry) { e.Mode = 0o1777 }, RuleModes, "1777"},
		{"mode of a link", link(p, "y"), func(e *examine.Entry) { e.Mode = 0o755 }, "", ""},
		{"mode that isn't verified", with(file(p), func(f *rpm.FileInfo) { f.Unverified = rpm.VerifyMode }), func(e *examine.Entry) { e.Mode = 0o666 }, "", ""},
		{"user", file(p), func(e *examine.Entry) { e.UID = 80 }, RuleOwners, "has the user web, the package says root"},
		{"user without a name", file(p), func(e *examine.Entry) { e.UID = 81 }, RuleOwners, "has the user 81"},
		{"group", with(file(p), func(f *rpm.FileInfo) { f.Group = "web" }), nil, RuleOwners, "has the group root, the package says web"},
		{"nobody's group", with(file(p), func(f *rpm.FileInfo) { f.Group = "ghosts" }), nil, RuleOwners, "says ghosts, whom the system doesn't have"},
		{"the first of two users", with(file(p), func(f *rpm.FileInfo) { f.User = "web" }), func(e *examine.Entry) { e.UID = 80 }, "", ""},
		{"another name of root", with(file(p), func(f *rpm.FileInfo) { f.User = "toor" }), nil, "", ""},
		{"owner that isn't verified", with(file(p), func(f *rpm.FileInfo) { f.Unverified = rpm.VerifyUser | rpm.VerifyGroup }), func(e *examine.Entry) { e.UID, e.GID = 9, 9 }, "", ""},
		{"size", file(p), func(e *examine.Entry) { e.Size = 5 }, RuleContents, "has 5 bytes, the package says 4"},
		{"content", file(p), func(e *examine.Entry) { e.Digest = other }, RuleContents, "has another content"},
		{"configuration that was changed", with(file(p), func(f *rpm.FileInfo) { f.Flags = 1 << 0 }), func(e *examine.Entry) { e.Size, e.Digest = 9, other }, "", ""},
		{"mode of configuration", with(file(p), func(f *rpm.FileInfo) { f.Flags = 1 << 0 }), func(e *examine.Entry) { e.Mode = 0o666 }, RuleModes, "0666"},
		{"content that isn't verified", with(file(p), func(f *rpm.FileInfo) { f.Unverified = rpm.VerifyDigest | rpm.VerifySize }), func(e *examine.Entry) { e.Size, e.Digest = 9, other }, "", ""},
		{"only the size is verified", with(file(p), func(f *rpm.FileInfo) { f.Unverified = rpm.VerifyDigest }), func(e *examine.Entry) { e.Size = 9 }, RuleContents, "9 bytes"},
		{"digest of another kind", with(file(p), func(f *rpm.FileInfo) { f.Digest = "" }), func(e *examine.Entry) { e.Digest = other }, "", ""},
		{"size of a folder", dir(p), func(e *examine.Entry) { e.Size = 9 }, "", ""},
		{"target", link(p, "y"), func(e *examine.Entry) { e.Link = "z" }, RuleLinks, "leads to z, the package says y"},
		{"target that isn't verified", with(link(p, "y"), func(f *rpm.FileInfo) { f.Unverified = rpm.VerifyLink }), func(e *examine.Entry) { e.Link = "z" }, "", ""},
		{"dangling", link(p, "y"), func(e *examine.Entry) { e.Leads = "" }, RuleDangling, "leads to y, where nothing is"},
		{"dangling that may be missing", with(link(p, "y"), func(f *rpm.FileInfo) { f.Flags = 1 << 3 }), func(e *examine.Entry) { e.Leads = "" }, "", ""},
		{"filled when the system runs", link("/etc/mtab", "../proc/self/mounts"), func(e *examine.Entry) { e.Leads = "" }, "", ""},
		{"filled when the system runs, absolute", link(p, "/run/x"), func(e *examine.Entry) { e.Leads = "" }, "", ""},
		{"the folder itself", link("/var/run", "../run"), func(e *examine.Entry) { e.Leads = "" }, "", ""},
		{"only looks like it", link(p, "/runner/x"), func(e *examine.Entry) { e.Leads = "" }, RuleDangling, "/runner/x"},
		{"debug data", link("/usr/lib/debug/x", "y"), func(e *examine.Entry) { e.Leads = "" }, "", ""},
		{"build id", link("/usr/lib/.build-id/ab/cd", "../../../bin/x"), func(e *examine.Entry) { e.Leads = "" }, "", ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &root{entries: map[string]examine.Entry{}}
			e := have(tt.file)
			if tt.lies != nil {
				tt.lies(&e)
			}
			if fmt.Sprintf("%p", tt.lies) != fmt.Sprintf("%p", absent) {
				r.entries[tt.file.Path] = e
			}
			found := apply(t, &rpm.Package{Files: []rpm.FileInfo{tt.file}}, r)
			if tt.rule == "" && len(found) == 0 {
				return
			}
			if len(found) != 1 || len(found[tt.rule]) != 1 || !strings.Contains(found[tt.rule][0], tt.say) {
				t.Errorf("found %q, want %s with %q", found, tt.rule, tt.say)
			}
		})
	}
}

func TestManyFindings(t *testing.T) {
	t.Parallel()
	p := &rpm.Package{}
	for i := range 100 {
		p.Files = append(p.Files, file(fmt.Sprint("/usr/share/", i)))
	}
	found := apply(t, p, &root{})[RuleFiles]
	if len(found) != maxFound+1 || found[0] != "/usr/share/0 is missing" || found[maxFound] != "and 80 more" {
		t.Errorf("%d findings, the last %q", len(found), found[len(found)-1])
	}
}

func TestSkipped(t *testing.T) {
	t.Parallel()
	verdicts, err := Check(t.Context(), Subject{Package: &rpm.Package{}, Arch: albs.X8664}, &root{})
	if err != nil || len(verdicts) != len(Rules) {
		t.Fatalf("Check = %+v, %v", verdicts, err)
	}
	for _, v := range verdicts {
		if v.Skipped == "" || len(v.Found) > 0 {
			t.Errorf("of a package that has nothing: %+v", v)
		}
	}
	boom := errors.New("boom")
	if _, err := Check(t.Context(), Subject{Package: &rpm.Package{Files: []rpm.FileInfo{file("/a")}}}, &root{err: boom}); !errors.Is(err, boom) {
		t.Errorf("Check = %v, want the view's error", err)
	}
}

// elf is an object of x86-64.
type elf = examine.ELF

func prog(needed ...string) *elf {
	return &elf{Bits: 64, Machine: 62, Type: examine.TypeDyn, Dynamic: true, Interp: "/lib64/ld-linux-x86-64.so.2", Needed: needed}
}

func lib(soname string, needed ...string) *elf {
	return &elf{Bits: 64, Machine: 62, Type: examine.TypeDyn, Dynamic: true, Soname: soname, Needed: needed}
}

func looks(e *elf, rpath, runpath string) *elf {
	if rpath != "-" {
		e.RPath = &rpath
	}
	if runpath != "-" {
		e.RunPath = &runpath
	}
	return e
}

// system is what every root of the tests of objects has.
func system() map[string]*elf {
	return map[string]*elf{"/lib64/ld-linux-x86-64.so.2": lib("ld-linux-x86-64.so.2"), "/lib64/libc.so.6": lib("libc.so.6", "ld-linux-x86-64.so.2")}
}

func TestObjects(t *testing.T) {
	t.Parallel()
	i386 := func(e *elf) *elf { e.Bits, e.Machine = 32, 3; return e }
	for _, tt := range []struct {
		name    string
		own     map[string]*elf   // of the package
		others  map[string]*elf   // beside system
		links   map[string]string // of the package
		folders map[string]uint32 // modes
		cache   map[string]string
		want    []string // rule and a part of what is said, in the rules' order
	}{
		{name: "program", own: map[string]*elf{"/usr/bin/x": prog("libc.so.6")}},
		{name: "missing library", own: map[string]*elf{"/usr/bin/x": prog("libc.so.6", "libnosuch.so.1")}, want: []string{"libraries /usr/bin/x needs libnosuch.so.1, which isn't found"}},
		{name: "missing library of a library", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/usr/lib64/liba.so.1": lib("liba.so.1", "libb.so.1")}, want: []string{"libraries needs libb.so.1, which isn't found (by /usr/lib64/liba.so.1)"}},
		{name: "missing loader", own: map[string]*elf{"/usr/bin/x": {Bits: 64, Machine: 62, Type: 2, Interp: "/lib/ld-musl.so.1"}}, want: []string{"libraries to be loaded by /lib/ld-musl.so.1"}},
		{name: "found in the cache", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/opt/a/liba.so.1": lib("liba.so.1")}, cache: map[string]string{"liba.so.1": "/opt/a/liba.so.1"}},
		{name: "gone from where the cache has it", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, cache: map[string]string{"liba.so.1": "/opt/a/liba.so.1"}, want: []string{"libraries liba.so.1"}},
		{name: "not in the cache", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/opt/a/liba.so.1": lib("liba.so.1")}, want: []string{"libraries liba.so.1"}},
		{name: "of another machine", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/usr/lib64/liba.so.1": i386(lib("liba.so.1"))}, want: []string{"libraries liba.so.1"}},
		{name: "of 32 bits", own: map[string]*elf{"/usr/lib/libb.so.1": i386(lib("libb.so.1", "liba.so.1"))}, others: map[string]*elf{"/usr/lib/liba.so.1": i386(lib("liba.so.1"))}},
		{name: "64 bits aren't looked for in lib", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/usr/lib/liba.so.1": lib("liba.so.1")}, want: []string{"libraries liba.so.1"}},
		{name: "of Debian", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1", "libb.so.1")}, folders: map[string]uint32{"/usr/lib/x86_64-linux-gnu": 0o755},
			others: map[string]*elf{"/usr/lib/x86_64-linux-gnu/liba.so.1": lib("liba.so.1"), "/usr/lib/libb.so.1": lib("libb.so.1")}},
		{name: "foreign object", own: map[string]*elf{"/usr/bin/x": {Bits: 64, Machine: 183, Type: 3, Dynamic: true, Needed: []string{"liba.so.1"}}}},
		{name: "runpath", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1"), "-", "$ORIGIN/../lib64/x"), "/usr/lib64/x/liba.so.1": lib("liba.so.1")}},
		{name: "rpath", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1"), "/usr/${LIB}/x", "-"), "/usr/lib64/x/liba.so.1": lib("liba.so.1")}},
		{name: "runpath isn't inherited", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1"), "-", "/usr/lib64/x"), "/usr/lib64/x/liba.so.1": lib("liba.so.1", "libb.so.1"), "/usr/lib64/x/libb.so.1": lib("libb.so.1")},
			want: []string{"libraries /usr/bin/x needs libb.so.1, which isn't found (by /usr/lib64/x/liba.so.1)"}},
		{name: "rpath is", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1"), "/usr/lib64/x", "-"), "/usr/lib64/x/liba.so.1": lib("liba.so.1", "libb.so.1"), "/usr/lib64/x/libb.so.1": lib("libb.so.1")}},
		{name: "runpath puts rpath out of force", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1"), "/usr/lib64/x", "/usr/lib64/y"), "/usr/lib64/x/liba.so.1": lib("liba.so.1")}, want: []string{"libraries liba.so.1"}},
		{name: "loaded already", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1", "libb.so.1"), "-", "/usr/lib64/x"), "/usr/lib64/x/liba.so.1": lib("liba.so.1"), "/usr/lib64/x/libb.so.1": lib("libb.so.1", "liba.so.1")}},
		{name: "private library by links", own: map[string]*elf{"/usr/bin/x": looks(prog("liba.so.1", "libb.so.1"), "-", "/usr/lib64/x"), "/usr/lib64/x/liba.so.1.2": lib("liba.so.1"), "/usr/lib64/x/libb.so.1.3": lib("libb.so.1", "liba.so.1")},
			links: map[string]string{"/usr/lib64/x/liba.so.1": "liba.so.1.2", "/usr/lib64/x/libb.so.1": "/usr/lib64/x/libb.so.1.3"}},
		{name: "plugin with one beside it", own: map[string]*elf{"/usr/lib64/x/plugin.so": lib("", "liba.so.1")}, others: map[string]*elf{"/usr/lib64/x/liba.so.1": lib("liba.so.1")}},
		{name: "plugin with one of its package", own: map[string]*elf{"/usr/lib64/x/plugin.so": lib("", "liba.so.1"), "/usr/lib64/x/sub/liba.so.1.2": lib("liba.so.1")}},
		{name: "plugin with one that nobody has", own: map[string]*elf{"/usr/lib64/x/plugin.so": lib("", "liba.so.1")}, want: []string{"libraries plugin.so needs liba.so.1"}},
		{name: "library of all with a private one", own: map[string]*elf{"/usr/lib64/libb.so.1": lib("libb.so.1", "liba.so.1"), "/usr/lib64/x/liba.so.1": lib("liba.so.1")}, want: []string{"libraries /usr/lib64/libb.so.1 needs liba.so.1"}},
		{name: "program with a private one", own: map[string]*elf{"/usr/lib64/x/x": prog("liba.so.1"), "/usr/lib64/x/liba.so.1": lib("liba.so.1")}, want: []string{"libraries /usr/lib64/x/x needs liba.so.1"}},
		{name: "circle", own: map[string]*elf{"/usr/lib64/liba.so.1": lib("liba.so.1", "libb.so.1"), "/usr/lib64/libb.so.1": lib("libb.so.1", "liba.so.1")}},
		{name: "by a path", own: map[string]*elf{"/usr/bin/x": prog("/usr/lib64/x/liba.so.1", "./liba.so.1")}, others: map[string]*elf{"/usr/lib64/x/liba.so.1": lib("")}, want: []string{"libraries needs ./liba.so.1"}},
		{name: "broken", own: map[string]*elf{"/usr/bin/x": {Bits: 64, Machine: 62, Type: 3, Fault: "it has no end"}}, want: []string{"libraries /usr/bin/x is broken: it has no end"}},
		{name: "broken library", own: map[string]*elf{"/usr/bin/x": prog("liba.so.1")}, others: map[string]*elf{"/usr/lib64/liba.so.1": {Bits: 64, Machine: 62, Type: 3, Fault: "it has no end"}}, want: []string{"libraries liba.so.1"}},
		{name: "debug data", own: map[string]*elf{"/usr/lib/debug/usr/bin/x": prog("libnosuch.so.1"), "/usr/src/debug/x.so": lib("", "libnosuch.so.1")}},

		{name: "empty rpath", own: map[string]*elf{"/usr/bin/x": looks(prog(), "", "-")}, want: []string{"rpath is empty"}},
		{name: "ends in a colon", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/usr/lib64/x:")}, want: []string{"rpath ends in a colon"}},
		{name: "empty part", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/usr/lib64/x::/usr/lib64/y")}, want: []string{"rpath empty part"}},
		{name: "relative", own: map[string]*elf{"/usr/bin/x": looks(prog(), "lib", "-")}, want: []string{"rpath lib, which is relative"}},
		{name: "builddir", own: map[string]*elf{"/usr/bin/x": looks(prog(), "/builddir/build/BUILD/x/.libs", "-")}, want: []string{"rpath a folder of the build"}},
		{name: "buildroot", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/usr/src/x/BUILDROOT/x-1/usr/lib64")}, want: []string{"rpath a folder of the build"}},
		{name: "tmp", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/tmp/x")}, want: []string{"rpath /tmp/x, which is no place"}},
		{name: "home", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/home/me/lib")}, want: []string{"rpath /home/me/lib"}},
		{name: "origin", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "$ORIGIN/../lib64:${ORIGIN}")}},
		{name: "origin too far up", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "$ORIGIN/../../tmp")}, want: []string{"rpath $ORIGIN/../../tmp, which is no place"}},
		{name: "anybody's", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/opt/x/lib")}, folders: map[string]uint32{"/opt/x/lib": 0o1777}, want: []string{"rpath /opt/x/lib, where anybody can write"}},
		{name: "nobody's", own: map[string]*elf{"/usr/bin/x": looks(prog(), "-", "/opt/x/lib")}, folders: map[string]uint32{"/opt/x/lib": 0o775}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			r := &root{entries: map[string]examine.Entry{}}
			put := func(p string, e *elf) { r.entries[p] = examine.Entry{Kind: examine.File, Mode: 0o755, ELF: e} }
			p := &rpm.Package{}
			for name, e := range tt.own {
				put(name, e)
				p.Files = append(p.Files, rpm.FileInfo{Path: name, Mode: 0o100755})
			}
			slices.SortFunc(p.Files, func(a, b rpm.FileInfo) int { return strings.Compare(a.Path, b.Path) })
			for name, e := range system() {
				put(name, e)
			}
			for name, e := range tt.others {
				put(name, e)
			}
			for name, to := range tt.links {
				target := to
				if !strings.HasPrefix(to, "/") {
					target = "/usr/lib64/x/" + to
				}
				r.entries[name] = examine.Entry{Kind: examine.Link, Link: to, Leads: examine.File, ELF: r.entries[target].ELF}
				p.Files = append(p.Files, rpm.FileInfo{Path: name, Mode: 0o120777, Link: to})
			}
			for name, mode := range tt.folders {
				r.entries[name] = examine.Entry{Kind: examine.Dir, Mode: mode}
			}
			r.files = map[string]string{}
			if tt.cache != nil {
				r.files["/etc/ld.so.cache"] = string(makeCache(binary.LittleEndian, tt.cache))
			}
			verdicts, err := Check(t.Context(), Subject{Package: p, Arch: albs.X8664}, r)
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, v := range verdicts {
				for _, f := range v.Found {
					got = append(got, v.Rule+" "+f)
				}
			}
			if len(got) != len(tt.want) {
				t.Fatalf("found %q, want %q", got, tt.want)
			}
			for i, want := range tt.want {
				rule, part, _ := strings.Cut(want, " ")
				if !strings.HasPrefix(got[i], rule+" ") || !strings.Contains(got[i], part) {
					t.Errorf("found %q, want %q", got[i], want)
				}
			}
		})
	}
}

// TestSearchBounds: what an object says can't send the search on without end.
func TestSearchBounds(t *testing.T) {
	t.Parallel()
	var needed []string
	for i := range 3000 {
		needed = append(needed, fmt.Sprintf("l%d", i))
	}
	r := &root{entries: map[string]examine.Entry{}}
	p := &rpm.Package{}
	var dirs []string
	for i := range 500 {
		dirs = append(dirs, fmt.Sprintf("/usr/%d", i))
	}
	for i := range 50 {
		name := fmt.Sprintf("/usr/bin/x%d", i)
		r.entries[name] = examine.Entry{Kind: examine.File, Mode: 0o755, ELF: looks(prog(needed...), strings.Join(dirs, ":"), "-")}
		p.Files = append(p.Files, rpm.FileInfo{Path: name, Mode: 0o100755})
	}
	found := apply(t, p, r)
	if diff := cmp.Diff(map[string][]string{RuleLibraries: {tooMuch}, RuleRPath: {tooMuch}}, found); diff != "" {
		t.Errorf("found (-want +got):\n%s", diff)
	}
	if r.asked > 2*maxPlaces {
		t.Errorf("%d places were looked at", r.asked)
	}
}

func TestScriptlets(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		said string
		want []string
	}{
		{"Complete!\n", nil},
		{"warning: %post(x-1:2-3.x86_64) scriptlet failed, exit status 7\n\nError in POSTIN scriptlet in rpm package x\nwarning: %post(x-1:2-3.x86_64) scriptlet failed, exit status 7\n", []string{"%post of x-1:2-3.x86_64 failed with exit status 7"}},
		{"warning: %posttrans(x-2-3.x86_64) scriptlet failed, signal 9\n", []string{"%posttrans of x-1:2-3.x86_64 failed with signal 9"}},
		{"warning: %post(y-1:2-3.x86_64) scriptlet failed, exit status 7\n", nil},
		{"warning: %post(x-devel-1:2-3.x86_64) scriptlet failed, exit status 7\n", nil},
		{"  Installing: x\nwarning: %triggerin(x-1:2-3.x86_64) scriptlet failed, exit status 1\nwarning: %post(x-1:2-3.x86_64) scriptlet failed, exit status 2\n", []string{"%triggerin of x-1:2-3.x86_64 failed with exit status 1", "%post of x-1:2-3.x86_64 failed with exit status 2"}},
	} {
		p := &rpm.Package{NEVRA: rpm.NEVRA{Name: "x", Epoch: 1, Version: "2", Release: "3", Arch: "x86_64"}, Scripts: map[string]albs.Digest{"%post": digest}}
		verdicts, err := Check(t.Context(), Subject{Package: p, Said: []byte(tt.said)}, &root{})
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(tt.want, verdicts[len(Rules)-1].Found); diff != "" {
			t.Errorf("%q (-want +got):\n%s", tt.said, diff)
		}
	}
}

func TestLeft(t *testing.T) {
	t.Parallel()
	p := &rpm.Package{Files: []rpm.FileInfo{file("/usr/a"), dir("/usr/b"), dir("/proc"), file("/usr/c"), dir("/etc/d"), dir("/var/lib/e"), file("/etc/f")}}
	r := &root{entries: map[string]examine.Entry{"/usr/b": {Kind: examine.Dir}, "/usr/c": {Kind: examine.Link}, "/proc": {Kind: examine.Dir}, "/etc/d": {Kind: examine.Dir}, "/var/lib/e": {Kind: examine.Dir}, "/etc/f": {Kind: examine.File}}}
	left, err := Left(t.Context(), p, r)
	if diff := cmp.Diff([]string{"/usr/b", "/usr/c", "/etc/f"}, left); err != nil || diff != "" {
		t.Errorf("Left = %v (-want +got):\n%s", err, diff)
	}
	delete(r.entries, "/usr/c")
	delete(r.entries, "/etc/f")
	without, err := Without(t.Context(), left, r)
	if diff := cmp.Diff([]string{"/usr/c", "/etc/f"}, without); err != nil || diff != "" {
		t.Errorf("Without = %v (-want +got):\n%s", err, diff)
	}
}

// makeCache writes a cache as ldconfig does.
func makeCache(order binary.AppendByteOrder, paths map[string]string) []byte {
	var names []string
	for n := range paths {
		names = append(names, n)
	}
	slices.Sort(names)
	b := append([]byte{}, cacheMagic...)
	b = order.AppendUint32(b, uint32(len(names)))
	text := []byte{}
	at := cacheHead + cacheEntry*len(names)
	var entries []byte
	for _, n := range names {
		entries = order.AppendUint32(entries, 0x303)
		entries = order.AppendUint32(entries, uint32(at+len(text)))
		text = append(append(text, n...), 0)
		entries = order.AppendUint32(entries, uint32(at+len(text)))
		text = append(append(text, paths[n]...), 0)
		entries = append(entries, make([]byte, 12)...)
	}
	b = order.AppendUint32(b, uint32(len(text)))
	flags := byte(2)
	if order == binary.AppendByteOrder(binary.BigEndian) {
		flags = 3
	}
	b = append(b, flags)
	b = append(b, make([]byte, cacheHead-len(b))...)
	return append(append(b, entries...), text...)
}

func TestReadCache(t *testing.T) {
	t.Parallel()
	paths := map[string]string{"liba.so.1": "/usr/lib64/liba.so.1", "libb.so": "/opt/b/libb.so"}
	want := map[string][]string{"liba.so.1": {"/usr/lib64/liba.so.1"}, "libb.so": {"/opt/b/libb.so"}}
	for name, b := range map[string][]byte{
		"little-endian":   makeCache(binary.LittleEndian, paths),
		"big-endian":      makeCache(binary.BigEndian, paths),
		"behind an older": append(append([]byte("ld.so-1.7.0\x00"), make([]byte, 4)...), makeCache(binary.LittleEndian, paths)...),
	} {
		if diff := cmp.Diff(want, readCache(b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	good := makeCache(binary.LittleEndian, paths)
	untold := slices.Clone(good)
	untold[28] = 0
	if diff := cmp.Diff(want, readCache(untold)); diff != "" {
		t.Errorf("without a byte order (-want +got):\n%s", diff)
	}
	many, far := slices.Clone(good), slices.Clone(good)
	many[22], far[cacheHead+4+3] = 1, 0xff
	for name, b := range map[string][]byte{"nothing": nil, "short": good[:30], "cut": good[:80], "many": many, "far": far, "without an end": good[:len(good)-1]} {
		if got := readCache(b); got != nil {
			t.Errorf("%s: %v", name, got)
		}
	}
}

func FuzzReadCache(f *testing.F) {
	f.Add(makeCache(binary.LittleEndian, map[string]string{"a": "/a"}))
	f.Add(makeCache(binary.BigEndian, map[string]string{"a": "/a"}))
	f.Fuzz(func(t *testing.T, b []byte) {
		for name, paths := range readCache(b) {
			for _, p := range paths {
				if !strings.HasPrefix(p, "/") {
					t.Fatalf("%q lies at %q", name, p)
				}
			}
		}
	})
}
