package examine

import (
	"bytes"
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// dyn is one entry of a dynamic section; text stands in the string table.
type dyn struct {
	tag  uint64
	text string
}

// forge makes an object with one loaded part, all of it, and what an object says of
// itself in that.
func forge(bits int, order binary.AppendByteOrder, typ uint16, interp string, entries ...dyn) []byte {
	word := func(b []byte, v uint64) []byte {
		if bits == 32 {
			return order.AppendUint32(b, uint32(v))
		}
		return order.AppendUint64(b, v)
	}
	head, each := 52, 32
	if bits == 64 {
		head, each = 64, 56
	}
	const base = 0x400000
	table := []byte{0}
	var section []byte
	for _, e := range entries {
		section = word(word(section, e.tag), uint64(len(table)))
		table = append(append(table, e.text...), 0)
	}
	loader := append([]byte(interp), 0)
	interpAt := head + 3*each
	tableAt := interpAt + len(loader)
	sectionAt := (tableAt + len(table) + 7) &^ 7
	section = word(word(section, dynStrtab), uint64(base+tableAt))
	section = word(word(section, dynStrsz), uint64(len(table)))
	section = word(word(section, 0), 0)
	end := sectionAt + len(section)

	data := map[binary.AppendByteOrder]byte{binary.LittleEndian: 1, binary.BigEndian: 2}[order]
	b := append([]byte{0x7f, 'E', 'L', 'F', byte(bits / 32), data, 1}, make([]byte, 9)...)
	b = order.AppendUint16(order.AppendUint16(b, typ), 62)
	b = order.AppendUint32(b, 1)
	b = word(word(word(b, 0), uint64(head)), 0)
	b = order.AppendUint32(b, 0)
	for _, v := range []int{head, each, 3, 0, 0, 0} {
		b = order.AppendUint16(b, uint16(v))
	}
	part := func(typ uint32, off, size int) {
		b = order.AppendUint32(b, typ)
		if bits == 64 {
			b = order.AppendUint32(b, 0)
		}
		for _, v := range []int{off, base + off, base + off, size, size} {
			b = word(b, uint64(v))
		}
		b = append(b, make([]byte, each-len(b[head:])%each)...)
	}
	first := uint32(segInterp)
	if interp == "" {
		first = 0 // of no meaning
	}
	part(first, interpAt, len(loader))
	part(segLoad, 0, end)
	part(segDynamic, sectionAt, len(section))
	b = append(append(b, loader...), table...)
	b = append(b, make([]byte, sectionAt-len(b))...)
	return append(b, section...)
}

func read(t testing.TB, b []byte) *ELF {
	t.Helper()
	e, err := ReadELF(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	return e
}

func text(s string) *string { return &s }

func TestReadELF(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		bits int
		big  bool
	}{{"64 bits", 64, false}, {"32 bits", 32, false}, {"64 bits, big-endian", 64, true}, {"32 bits, big-endian", 32, true}} {
		var order binary.AppendByteOrder = binary.LittleEndian
		if tt.big {
			order = binary.BigEndian
		}
		b := forge(tt.bits, order, TypeDyn, "/lib64/ld.so", dyn{dynNeeded, "liba.so"}, dyn{dynNeeded, "libb.so"}, dyn{dynSoname, "libc.so"}, dyn{dynRPath, "/a:/b"}, dyn{dynRunPath, ""})
		want := &ELF{Bits: tt.bits, Big: tt.big, Machine: 62, Type: TypeDyn, Dynamic: true, Interp: "/lib64/ld.so", Needed: []string{"liba.so", "libb.so"}, Soname: "libc.so", RPath: text("/a:/b"), RunPath: text("")}
		if diff := cmp.Diff(want, read(t, b)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", tt.name, diff)
		}
	}
	for _, b := range [][]byte{nil, []byte("#!/bin/sh\nexit 0 # and more\n"), []byte("\x7fELF")} {
		if e := read(t, b); e != nil {
			t.Errorf("ReadELF(%q) = %+v, want nothing", b, e)
		}
	}
	if e := read(t, forge(64, binary.LittleEndian, 1, "")); e.Dynamic || e.Fault != "" {
		t.Errorf("a relocatable object: %+v", e)
	}
}

func TestReadELFMalformed(t *testing.T) {
	t.Parallel()
	good := forge(64, binary.LittleEndian, TypeDyn, "/lib64/ld.so", dyn{dynNeeded, "liba.so"})
	le := binary.LittleEndian
	const load, dynamic = 64 + 56, 64 + 2*56
	for _, tt := range []struct {
		name  string
		spoil func(b []byte) []byte
		want  string
	}{
		{"class", func(b []byte) []byte { b[4] = 3; return b }, "class"},
		{"byte order", func(b []byte) []byte { b[5] = 0; return b }, "byte order"},
		{"headers behind the end", func(b []byte) []byte { le.PutUint64(b[32:], 1<<63); return b }, "behind its end"},
		{"many headers", func(b []byte) []byte { le.PutUint16(b[56:], 0xffff); return b }, "program headers"},
		{"small headers", func(b []byte) []byte { le.PutUint16(b[54:], 1); return b }, "program headers"},
		{"loader behind the end", func(b []byte) []byte { le.PutUint64(b[64+8:], 1<<40); return b }, "behind its end"},
		{"loader without end", func(b []byte) []byte { le.PutUint64(b[64+32:], 3); return b }, "no end"},
		{"large dynamic section", func(b []byte) []byte { le.PutUint64(b[dynamic+32:], 1<<50); return b }, "too large"},
		{"dynamic section behind the end", func(b []byte) []byte { le.PutUint64(b[dynamic+8:], 1<<63); return b }, "behind its end"},
		{"table that isn't loaded", func(b []byte) []byte { le.PutUint64(b[load+16:], 1<<50); return b }, "no part that is loaded"},
		{"loaded from behind the end", func(b []byte) []byte { le.PutUint64(b[load+8:], ^uint64(0)); return b }, "behind its end"},
		{"cut short", func(b []byte) []byte { return b[:len(b)-20] }, "behind its end"},
		{"name behind the table", func(b []byte) []byte {
			at := len(b) - 3*16 - 8
			le.PutUint64(b[at:], 1<<40)
			return b
		}, "end of its table"},
		{"name that isn't text", func(b []byte) []byte {
			b[bytes.Index(b, []byte("liba.so"))] = 0xff
			return b
		}, "isn't text"},
		{"no name", func(b []byte) []byte { return forge(64, le, TypeDyn, "/l", dyn{dynNeeded, ""}) }, "without a name"},
		{"long name", func(b []byte) []byte { return forge(64, le, TypeDyn, "/l", dyn{dynNeeded, strings.Repeat("x", 5000)}) }, "no end"},
		{"many names", func(b []byte) []byte {
			return forge(64, le, TypeDyn, "/l", bytesOf(20, strings.Repeat("x", 4000))...)
		}, "too many names"},
		{"many short names", func(b []byte) []byte { return forge(64, le, TypeDyn, "/l", bytesOf(8000, "x")...) }, "too many names"},
	} {
		e := read(t, tt.spoil(bytes.Clone(good)))
		if e == nil || !strings.Contains(e.Fault, tt.want) {
			t.Errorf("%s: %.200v, want a fault with %q", tt.name, e, tt.want)
		}
	}
	broken := io.NewSectionReader(strings.NewReader("short"), 0, 5)
	if _, err := ReadELF(broken, 1000); err == nil {
		t.Error("a reader that fails is no fault of the object")
	}
}

func bytesOf(n int, s string) []dyn {
	list := make([]dyn, n)
	for i := range list {
		list[i] = dyn{dynNeeded, s}
	}
	return list
}

// TestReadELFOfGCC: what a real linker wrote.
func TestReadELFOfGCC(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("gcc"); err != nil {
		t.Skip("no object can be linked: gcc is not installed")
	}
	dir := t.TempDir()
	for name, source := range map[string]string{"lib.c": "int f(void) { return 0; }\n", "main.c": "int f(void);\nint main(void) { return f(); }\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(source), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, argv := range [][]string{
		{"-shared", "-Wl,-soname,libown.so.1", "-o", "libown.so", "lib.c"},
		{"-o", "main", "main.c", "-L.", "-lown", "-Wl,--enable-new-dtags,-rpath,$ORIGIN/../lib"},
	} {
		cmd := exec.CommandContext(t.Context(), "gcc", argv...)
		cmd.Dir = dir
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("gcc: %v\n%s", err, out)
		}
	}
	e := serve(t, dir, Ask{Path: "/main", ELF: true}, Ask{Path: "/libown.so", ELF: true})
	prog, lib := e[0].ELF, e[1].ELF
	if prog == nil || prog.Fault != "" || !prog.Dynamic || !strings.HasPrefix(prog.Interp, "/lib") || len(prog.Needed) != 2 || prog.Needed[0] != "libown.so.1" || prog.RunPath == nil || *prog.RunPath != "$ORIGIN/../lib" {
		t.Errorf("the program: %+v", prog)
	}
	if lib == nil || lib.Soname != "libown.so.1" || lib.Interp != "" || lib.RPath != nil || lib.RunPath != nil {
		t.Errorf("the library: %+v", lib)
	}
}

func FuzzReadELF(f *testing.F) {
	for _, bits := range []int{32, 64} {
		f.Add(forge(bits, binary.LittleEndian, TypeDyn, "/lib64/ld.so", dyn{dynNeeded, "liba.so"}, dyn{dynRunPath, "/a"}))
		f.Add(forge(bits, binary.BigEndian, TypeExec, "", dyn{dynRPath, ""}))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		e, err := ReadELF(bytes.NewReader(b), int64(len(b)))
		if err != nil {
			t.Fatalf("ReadELF of bytes that can be read: %v", err)
		}
		if e == nil {
			return
		}
		n := len(e.Interp) + len(e.Soname)
		for _, s := range e.Needed {
			n += len(s)
		}
		if n > maxNames {
			t.Fatalf("%d bytes of names", n)
		}
	})
}
