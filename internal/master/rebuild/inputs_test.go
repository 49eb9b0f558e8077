package rebuild

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/buildroot"
	"albs/internal/sandbox"
)

func pkg(name, version string) installed {
	of := name + version
	return installed{Name: name, Version: version, Release: "1", Arch: "x86_64", Header: albs.DigestOf([]byte("header " + of)), File: albs.DigestOf([]byte(of))}
}

func root(packages ...installed) inputs {
	return inputs{
		Format: recordFormat, Target: albs.X8664, Input: albs.File{Digest: albs.DigestOf([]byte("srpm"))}, MacroFile: albs.DigestOf([]byte("macros")), Packages: packages,
	}
}

func TestDiffering(t *testing.T) {
	t.Parallel()
	with := func(in inputs, f func(*inputs)) inputs { f(&in); return in }
	unknown := func(p installed) installed { p.File = ""; return p }
	other := pkg("gcc", "1")
	other.File = albs.DigestOf([]byte("another file"))
	epoch := pkg("gcc", "1")
	epoch.Epoch, epoch.File = 2, ""
	was := root(pkg("bash", "5"), pkg("gcc", "1"), pkg("kernel", "1"), pkg("kernel", "2"))
	for name, c := range map[string]struct {
		now  inputs
		want []string
	}{
		"equal":                {was, nil},
		"in another order":     {root(pkg("kernel", "2"), pkg("kernel", "1"), pkg("gcc", "1"), pkg("bash", "5")), nil},
		"the header alone":     {root(unknown(pkg("bash", "5")), pkg("gcc", "1"), pkg("kernel", "1"), pkg("kernel", "2")), nil},
		"a newer one":          {root(pkg("bash", "5"), pkg("gcc", "2"), pkg("kernel", "1"), pkg("kernel", "2")), []string{"gcc-2-1.x86_64 where it was gcc-1-1.x86_64"}},
		"another file":         {root(pkg("bash", "5"), other, pkg("kernel", "1"), pkg("kernel", "2")), []string{"gcc-1-1.x86_64 is another file: " + other.File.Short() + " where it was " + pkg("gcc", "1").File.Short()}},
		"another epoch":        {root(pkg("bash", "5"), epoch, pkg("kernel", "1"), pkg("kernel", "2")), []string{"gcc-2:1-1.x86_64 where it was gcc-1-1.x86_64"}},
		"one of two versions":  {root(pkg("bash", "5"), pkg("gcc", "1"), pkg("kernel", "2")), []string{"kernel-1-1.x86_64 is missing"}},
		"one more":             {root(append(was.Packages, pkg("make", "4"))...), []string{"make-4-1.x86_64 was not there"}},
		"other macros":         {with(was, func(in *inputs) { in.MacroFile = albs.DigestOf(nil) }), []string{"the macros were " + was.MacroFile.Short() + " and are " + albs.DigestOf(nil).Short()}},
		"another source":       {with(was, func(in *inputs) { in.Input.Digest = albs.DigestOf(nil) }), []string{"the source package was " + was.Input.Digest.Short() + " and is " + albs.DigestOf(nil).Short()}},
		"another target":       {with(was, func(in *inputs) { in.Target = albs.I686 }), []string{"it was built for x86_64 and is built for i686"}},
		"with network":         {with(was, func(in *inputs) { in.Network = true }), []string{"the network was in reach: false, and is: true"}},
		"nothing known of one": {root(installed{Name: "bash", Version: "5", Release: "1", Arch: "x86_64"}, pkg("gcc", "1"), pkg("kernel", "1"), pkg("kernel", "2")), []string{"bash-5-1.x86_64 is another file: header  where it was " + pkg("bash", "5").File.Short()}},
	} {
		if diff := cmp.Diff(c.want, was.differing(c.now)); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	many := was
	for i := range 100 {
		many.Packages = append(many.Packages, pkg(fmt.Sprintf("p%03d%s", i, strings.Repeat("é", 400)), "1"))
	}
	got := was.differing(many)
	if len(got) != maxDiffering+1 || got[maxDiffering] != "80 more" || len(got[0]) > 310 {
		t.Errorf("of 100 differences there are told %d, the first of %d bytes, the last %q", len(got), len(got[0]), got[len(got)-1])
	}
}

// TestReadInputs: what buildroot writes is read, and else an error.
func TestReadInputs(t *testing.T) {
	t.Parallel()
	record := buildroot.Record{
		Format: buildroot.RecordFormat, Target: albs.X8664, Input: albs.File{Name: "a.src.rpm", Digest: albs.DigestOf([]byte("srpm")), Size: 4},
		MacroFile: albs.DigestOf([]byte("macros")), Network: true,
		Packages: []sandbox.Package{{Name: "gcc", Epoch: 2, Version: "1", Release: "3", Arch: "x86_64", Header: albs.DigestOf([]byte("h")), File: albs.DigestOf([]byte("f"))}},
	}
	b, err := record.Encode()
	if err != nil {
		t.Fatal(err)
	}
	got, err := readInputs(b)
	want := inputs{
		Format: recordFormat, Target: albs.X8664, Input: record.Input, MacroFile: record.MacroFile, Network: true,
		Packages: []installed{{Name: "gcc", Epoch: 2, Version: "1", Release: "3", Arch: "x86_64", Header: albs.DigestOf([]byte("h")), File: albs.DigestOf([]byte("f"))}},
	}
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("readInputs = %v (-want +got):\n%s", err, diff)
	}
	one := func(word, value string) string {
		return `{"format":"` + recordFormat + `","packages":[{"name":"gcc"},{"` + word + `":"` + value + `"}]}`
	}
	for _, word := range []string{"name", "version", "release", "arch"} {
		if _, err := readInputs([]byte(one(word, strings.Repeat("é", maxWord/2)))); err != nil {
			t.Errorf("a long %s: %v", word, err)
		}
		for _, bad := range []string{`\u0000`, `a\u001b[2J`, `a\nb`, `\u202e`, strings.Repeat("é", maxWord/2+1)} {
			if _, err := readInputs([]byte(one(word, bad))); !errors.Is(err, albs.Invalid) || strings.ContainsAny(err.Error(), "\x00\x1b\n\u202e") {
				t.Errorf("a %s of %.20q: %v, want Invalid in plain words", word, bad, err)
			}
		}
	}
	for name, bad := range map[string]string{
		"a target that is none": `{"format":"` + recordFormat + `","target":"\u0000","packages":[{"name":"gcc"}]}`,
		"nothing":               "", "another format": `{"format":"x"}`, "no package": `{"format":"` + recordFormat + `"}`, "no JSON": "x", "a digest that is none": `{"macro_file":"x"}`,
	} {
		if _, err := readInputs([]byte(bad)); !errors.Is(err, albs.Invalid) {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	if _, err := readInputs(make([]byte, maxRecord+1)); !errors.Is(err, albs.TooLarge) {
		t.Errorf("too large: %v", err)
	}
}

// FuzzReadInputs: whatever a node calls a record, the comparison with a good one ends,
// with bounded words or an error of the node's.
func FuzzReadInputs(f *testing.F) {
	good := root(pkg("bash", "5"), pkg("gcc", "1"))
	b, err := json.Marshal(good)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte(`{"format":"albs-buildroot/v1","packages":[{"name":"gcc\u0000"}]}`))
	f.Add([]byte(`{"format":"albs-buildroot/v1","packages":[{},{"name":"gcc","arch":"x86_64"},{"name":"gcc","arch":"x86_64"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, err := readInputs(b)
		if err != nil {
			if !errors.Is(err, albs.Invalid) && !errors.Is(err, albs.TooLarge) {
				t.Fatalf("%v", err)
			}
			return
		}
		got := good.differing(in)
		if len(got) > maxDiffering+1 {
			t.Fatalf("%d differences", len(got))
		}
		for _, line := range got {
			if !utf8.ValidString(line) || strings.ContainsFunc(line, unicode.IsControl) {
				t.Fatalf("a difference is told as %q", line)
			}
		}
		in.differing(good)
	})
}
