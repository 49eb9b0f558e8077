package sandbox

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"albs/internal/albs"
)

var hostileMacros = []map[string]string{
	{"dist": ".el9\n%evil 1"}, {"dist": "a\r%evil 1"}, {"dist": `a \`}, {"dist": "%{expand"}, {"dist": "%(id"}, {"dist": "%[1"},
	{"dist": "%{a{b}"}, {"di st": "x"}, {"a": "x"}, {"dist\n%evil": "x"}, {"%dist": "x"}, {"dist": " x"}, {"dist": "x\x00"}, {"dist": strings.Repeat("x", 5000)},
}

func TestMacroFile(t *testing.T) {
	t.Parallel()
	for _, m := range hostileMacros {
		if b, err := albs.MacroFile(m); albs.KindOf(err) != albs.Invalid {
			t.Errorf("MacroFile(%.60q) = %q, %v, want Invalid", m, b, err)
		}
	}
	b, err := albs.MacroFile(map[string]string{"rhel": "9", "dist": ".el9", "with_x": "", "opt(ab:)": "%{-a:x}%{1}"})
	if want := "%dist .el9\n%opt(ab:) %{-a:x}%{1}\n%rhel 9\n%with_x %{nil}\n"; err != nil || string(b) != want {
		t.Errorf("MacroFile = %q, %v; want %q", b, err, want)
	}
}

// FuzzMacroFile has rpm itself as the judge: whatever body is taken, the macro after
// it is still there and no other has come.
func FuzzMacroFile(f *testing.F) {
	rpm, err := exec.LookPath("rpm")
	if err != nil {
		f.Skip("rpm is not installed")
	}
	for _, m := range hostileMacros {
		for _, body := range m {
			f.Add(body)
		}
	}
	for _, body := range []string{"%{a}", "%%{", `\%{`, "%{?x:%{y}}", "%[1+1]", "a)b}c]", "%(", `\\`, "(%{a}(", "%{x}\t%zzz 1"} {
		f.Add(body)
	}
	f.Fuzz(func(t *testing.T, body string) {
		b, err := albs.MacroFile(map[string]string{"aaa": body, "zzz_sentinel": "here"})
		if err != nil {
			return
		}
		file := filepath.Join(t.TempDir(), "macros")
		if err := os.WriteFile(file, b, 0o600); err != nil {
			t.Fatal(err)
		}
		out, err := exec.Command(rpm, "--macros", file, "--eval", "%{?zzz_sentinel}|%{?evil}|%{?x_foreign}").Output()
		if err != nil || strings.TrimSpace(string(out)) != "here||" {
			t.Errorf("body %q: rpm reads %q, %v", body, out, err)
		}
	})
}

// TestBeyond: what was used last stays, within both bounds.
func TestBeyond(t *testing.T) {
	t.Parallel()
	at := func(minute int, size int64) used {
		return used{albs.DigestOf([]byte{byte(minute)}), time.Unix(int64(60*minute), 0), size}
	}
	all := []used{at(3, 10), at(1, 10), at(4, 10), at(2, 10)}
	for _, tt := range []struct {
		name  string
		count int
		size  int64
		gone  []int // minutes
	}{
		{"enough of both", 4, 40, nil},
		{"too many", 3, 100, []int{1}},
		{"too much", 100, 39, []int{1}},
		{"half", 100, 20, []int{2, 1}},
		{"one too big", 100, 9, []int{4, 3, 2, 1}},
	} {
		var want, got []albs.Digest
		for _, m := range tt.gone {
			want = append(want, at(m, 0).d)
		}
		for _, u := range beyond(all, tt.count, tt.size) {
			got = append(got, u.d)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
}

// TestUnlock: a lock that was given back is free, also while a child that is being
// started still has the file open.
func TestUnlock(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "lock")
	unlock, err := tryLock(path)
	if err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob("/proc/self/fd/*")
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(files, func(f string) bool {
		to, err := os.Readlink(f)
		return err == nil && to == path
	})
	if i < 0 {
		t.Fatalf("none of %q is the lock", files)
	}
	held, err := strconv.Atoi(filepath.Base(files[i]))
	if err != nil {
		t.Fatal(err)
	}
	child, err := unix.FcntlInt(uintptr(held), unix.F_DUPFD_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(child)
	if _, err := tryLock(path); !errors.Is(err, unix.EWOULDBLOCK) {
		t.Errorf("a lock that is held was taken again: %v", err)
	}
	unlock()
	again, err := tryLock(path)
	if err != nil {
		t.Fatalf("the lock was given back, and still: %v", err)
	}
	again()
}
