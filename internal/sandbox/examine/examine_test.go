package examine

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

// serve answers asks about the folder dir, over both ends of the wire.
func serve(t *testing.T, dir string, asks ...Ask) []Entry {
	t.Helper()
	root, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	b, err := Encode(asks)
	if err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	if err := Serve(root, bytes.NewReader(b), &said); err != nil {
		t.Fatal(err)
	}
	entries, err := Decode(&said, asks)
	if err != nil {
		t.Fatal(err)
	}
	return entries
}

// made makes a root that would mislead who follows its links from outside.
func made(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	at := func(name string) string { return filepath.Join(dir, name) }
	for _, err := range []error{
		os.MkdirAll(at("usr/bin"), 0o755),
		os.WriteFile(at("usr/bin/tool"), []byte("tool\n"), 0o644),
		os.Chmod(at("usr/bin/tool"), 0o755|os.ModeSetuid),
		os.Symlink("/usr/bin", at("bin")),                  // absolute: of the root
		os.Symlink("tool", at("usr/bin/alias")),            // and one in its own folder
		os.Symlink("../../../../../etc", at("usr/up")),     // goes no further up than the root
		os.Symlink("gone", at("usr/dangling")),             //
		os.Symlink("b", at("a")), os.Symlink("a", at("b")), // goes in circles
		os.Symlink("/proc/self/root", at("magic")),
		unix.Mkfifo(at("fifo"), 0o600),
		os.WriteFile(at("sparse"), nil, 0o644),
		os.Truncate(at("sparse"), 1<<42),
		os.WriteFile(at("usr/line\nbreak"), nil, 0o600),
		os.Mkdir(at("etc"), 0o700|os.ModeSticky),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestServe(t *testing.T) {
	t.Parallel()
	dir := made(t)
	tool := albs.DigestOf([]byte("tool\n"))
	uid, gid := os.Getuid(), os.Getgid()
	own := func(e Entry) Entry { e.UID, e.GID = uid, gid; return e }
	file := Entry{Kind: File, Mode: 0o4755, Size: 5, Digest: tool}
	for _, tt := range []struct {
		name string
		ask  Ask
		want Entry
	}{
		{"file", Ask{Path: "/usr/bin/tool", Digest: true, Size: 5}, file},
		{"by an absolute link", Ask{Path: "/bin/tool", Digest: true, Size: 5}, file},
		{"of another size", Ask{Path: "/usr/bin/tool", Digest: true, Size: 4}, Entry{Kind: File, Mode: 0o4755, Size: 5}},
		{"not to be read", Ask{Path: "/usr/bin/tool", Size: 5}, Entry{Kind: File, Mode: 0o4755, Size: 5}},
		{"no ELF object", Ask{Path: "/usr/bin/tool", ELF: true}, Entry{Kind: File, Mode: 0o4755, Size: 5}},
		{"link", Ask{Path: "/usr/bin/alias", Digest: true, Size: 4}, Entry{Kind: Link, Mode: 0o777, Size: 4, Link: "tool", Leads: File}},
		{"link to a folder", Ask{Path: "/bin", ELF: true}, Entry{Kind: Link, Mode: 0o777, Size: 8, Link: "/usr/bin", Leads: Dir}},
		{"link beyond the root", Ask{Path: "/usr/up"}, Entry{Kind: Link, Mode: 0o777, Size: 18, Link: "../../../../../etc", Leads: Dir}},
		{"through a link beyond the root", Ask{Path: "/usr/up/passwd"}, Entry{}},
		{"path beyond the root", Ask{Path: "/../../../usr/bin/tool", Digest: true, Size: 5}, file},
		{"dangling", Ask{Path: "/usr/dangling"}, Entry{Kind: Link, Mode: 0o777, Size: 4, Link: "gone"}},
		{"in circles", Ask{Path: "/a", ELF: true}, Entry{Kind: Link, Mode: 0o777, Size: 1, Link: "b"}},
		{"through circles", Ask{Path: "/a/x"}, Entry{}},
		{"magic", Ask{Path: "/magic"}, Entry{Kind: Link, Mode: 0o777, Size: 15, Link: "/proc/self/root"}},
		{"nothing", Ask{Path: "/usr/nothing"}, Entry{}},
		{"below a file", Ask{Path: "/usr/bin/tool/x"}, Entry{}},
		{"long name", Ask{Path: "/" + strings.Repeat("x", 300)}, Entry{}},
		{"FIFO", Ask{Path: "/fifo", Digest: true, ELF: true}, Entry{Kind: FIFO, Mode: 0o600}},
		{"sparse", Ask{Path: "/sparse", Digest: true, Size: 5, ELF: true}, Entry{Kind: File, Mode: 0o644, Size: 1 << 42}},
		{"folder", Ask{Path: "/etc", Digest: true}, Entry{Kind: Dir, Mode: 0o1700}},
		{"line break", Ask{Path: "/usr/line\nbreak", Digest: true}, Entry{Kind: File, Mode: 0o600, Digest: albs.DigestOf(nil)}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			got := serve(t, dir, tt.ask)[0]
			if tt.want.Path = tt.ask.Path; tt.want.Kind != Absent {
				tt.want = own(tt.want)
			}
			if tt.want.Kind == Dir { // its size is the file system's
				tt.want.Size = got.Size
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Errorf("Serve (-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheck(t *testing.T) {
	t.Parallel()
	for name, asks := range map[string][]Ask{
		"relative": {{Path: "usr"}}, "empty": {{}}, "NUL": {{Path: "/a\x00b"}}, "not text": {{Path: "/\xff"}},
		"size": {{Path: "/a", Size: -1}}, "long": {{Path: "/" + strings.Repeat("x", 4096)}}, "many": make([]Ask, MaxAsks+1),
	} {
		if _, err := Encode(asks); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: Encode = %v, want Invalid", name, err)
		}
		if err := Serve(nil, strings.NewReader(`[{"path":"usr"}]`), nil); !errors.Is(err, albs.Invalid) {
			t.Errorf("Serve of what can't be asked = %v, want Invalid", err)
		}
	}
	asks := []Ask{{Path: "/a"}, {Path: "/b"}}
	for name, said := range map[string]string{
		"nothing": "", "too few": `{"path":"/a"}`, "another": `{"path":"/b"}` + "\n" + `{"path":"/a"}`,
		"too many": strings.Repeat(`{"path":"/a"}`+"\n", 3), "no JSON": "a\nb\n", "a long line": strings.Repeat("x", maxLine+1),
	} {
		if entries, err := Decode(strings.NewReader(said), asks); err == nil {
			t.Errorf("%s: Decode = %v", name, entries)
		}
	}
}
