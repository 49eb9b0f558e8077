package closure

import (
	"encoding/xml"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"albs/internal/albs"
	"albs/internal/rpm"
)

// TestEqualToDNF: for a random repository and a random release into it, Check finds what
// the real `dnf repoclosure --newest` finds after it and not before.
func TestEqualToDNF(t *testing.T) {
	t.Parallel()
	dnf, err := exec.LookPath("dnf")
	if err != nil {
		t.Skip("no dnf on this host")
	}
	seeds := uint64(1) // a short form: dnf takes seconds for each
	if !testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		w := random(t, rand.New(rand.NewPCG(seed, 7)))
		before, ok := repoclosure(t, dnf, w.Repositories[0].Shown)
		if !ok {
			t.Skip("this dnf has no repoclosure (a plugin)")
		}
		after, _ := repoclosure(t, dnf, append(slices.Clone(w.Repositories[0].Shown), w.Repositories[0].Added...))
		today := map[string]bool{} // name.arch and what it lacks
		short := func(nevra, need string) string {
			n, err := rpm.ParseNEVRA(nevra)
			if err != nil {
				t.Fatal(err)
			}
			return n.Name + "." + n.Arch + " " + need
		}
		for _, b := range before {
			for _, need := range b.Needs {
				today[short(b.Package, need)] = true
			}
		}
		var want []string
		for _, b := range after {
			for _, need := range b.Needs {
				if !today[short(b.Package, need)] {
					want = append(want, b.Package+" "+need)
				}
			}
		}
		broken, unknown := w.Check()
		var got []string
		for _, b := range broken {
			for _, need := range b.Needs {
				got = append(got, b.Package+" "+need)
			}
		}
		slices.Sort(want)
		slices.Sort(got)
		if diff := cmp.Diff(want, got); diff != "" || len(unknown) > 0 {
			t.Errorf("seed %d: (-dnf +ours):\n%s%v", seed, diff, text(unknown))
		}
		if len(want) == 0 || len(before) == 0 {
			t.Errorf("seed %d breaks nothing, which tests nothing: %d lacked before, %d break", seed, len(before), len(want))
		}
	}
}

// random is a repository in which most is there, and a release that takes some of it away.
func random(t *testing.T, r *rand.Rand) World {
	const names, libs = 60, 40
	ops := []string{" = ", " >= ", " > ", " < ", " <= "}
	make := func(name, version int) Package {
		s := fmt.Sprintf("p%d-%d-1.x86_64", name, version)
		sep := " provides "
		for range r.IntN(3) {
			s += fmt.Sprintf("%slib%d", sep, r.IntN(libs))
			if r.IntN(2) == 0 {
				s += fmt.Sprintf(" = %d", 1+r.IntN(4))
			}
			sep = ","
		}
		need := func() string {
			switch r.IntN(4) {
			case 0:
				return fmt.Sprintf("/usr/bin/p%d", r.IntN(names+2))
			case 1:
				return fmt.Sprintf("p%d%s%d", r.IntN(names+2), ops[r.IntN(len(ops))], 1+r.IntN(3))
			}
			return fmt.Sprintf("lib%d%s%d", r.IntN(libs), ops[r.IntN(len(ops))], 1+r.IntN(4))
		}
		sep = " requires "
		for range r.IntN(4) {
			one := need()
			if r.IntN(5) == 0 {
				one = "(" + one + " or " + need() + ")"
			}
			s += sep + one
			sep = ","
		}
		return pkg(t, s+fmt.Sprintf(" files /usr/bin/p%d", name))
	}
	w := World{Repositories: []Repository{{Path: "os"}}}
	for i := range names {
		for v := range 1 + r.IntN(2) {
			w.Repositories[0].Shown = append(w.Repositories[0].Shown, make(i, 1+v))
		}
	}
	for range 15 {
		if p := make(r.IntN(names), 3); !slices.ContainsFunc(w.Repositories[0].Added, func(o Package) bool { return o.NEVRA == p.NEVRA }) {
			w.Repositories[0].Added = append(w.Repositories[0].Added, p)
		}
	}
	return w
}

// repoclosure has dnf look at a repository of the packages; ok is false if it can't.
func repoclosure(t *testing.T, dnf string, ps []Package) (found []Broken, ok bool) {
	t.Helper()
	dir := t.TempDir()
	write(t, filepath.Join(dir, "repo"), ps)
	cmd := exec.CommandContext(t.Context(), dnf, "--installroot="+filepath.Join(dir, "root"), "--releasever=9", "--forcearch=x86_64", "--disablerepo=*",
		"--repofrompath=t,file://"+filepath.Join(dir, "repo"), "--setopt=t.gpgcheck=0", "--setopt=cachedir="+filepath.Join(dir, "cache"),
		"--setopt=reposdir=/nonexistent", "repoclosure", "--newest")
	out, err := cmd.CombinedOutput()
	if strings.Contains(string(out), "No such command") {
		return nil, false
	}
	if err != nil && !strings.Contains(string(out), "unresolved deps") {
		t.Fatalf("dnf repoclosure: %v\n%s", err, out)
	}
	for line := range strings.Lines(string(out)) {
		line = strings.TrimRight(line, "\n")
		switch {
		case strings.HasPrefix(line, "package: "):
			found = append(found, Broken{Package: strings.Fields(line)[1]})
		case strings.HasPrefix(line, "    ") && len(found) > 0:
			last := &found[len(found)-1]
			last.Needs = append(last.Needs, strings.TrimSpace(line))
		}
	}
	return found, true
}

// write makes a repository that has metadata alone.
func write(t *testing.T, dir string, ps []Package) {
	t.Helper()
	escape := func(s string) string {
		var b strings.Builder
		if err := xml.EscapeText(&b, []byte(s)); err != nil {
			t.Fatal(err)
		}
		return b.String()
	}
	flags := map[uint8]string{rpm.Equal: "EQ", rpm.Less: "LT", rpm.Greater: "GT", rpm.Less | rpm.Equal: "LE", rpm.Greater | rpm.Equal: "GE"}
	entries := func(kind string, cs []Capability) string {
		s := "<rpm:" + kind + ">"
		for _, c := range cs {
			s += `<rpm:entry name="` + escape(c.Name) + `"`
			if c.Op != 0 {
				s += ` flags="` + flags[c.Op] + `" epoch="` + strconv.Itoa(c.Epoch) + `" ver="` + c.Version + `"`
				if c.Release != "" {
					s += ` rel="` + c.Release + `"`
				}
			}
			s += "/>"
		}
		return s + "</rpm:" + kind + ">"
	}
	count := fmt.Sprintf(`packages="%d">`, len(ps))
	primary := `<metadata xmlns="http://linux.duke.edu/metadata/common" xmlns:rpm="http://linux.duke.edu/metadata/rpm" ` + count
	filelists := `<filelists xmlns="http://linux.duke.edu/metadata/filelists" ` + count
	for _, p := range ps {
		n := p.NEVRA
		id := albs.DigestOf([]byte(n.String()))
		version := fmt.Sprintf(`<version epoch="%d" ver="%s" rel="%s"/>`, n.Epoch, n.Version, n.Release)
		files := ""
		for _, f := range p.Files {
			files += "<file>" + escape(f) + "</file>"
		}
		primary += fmt.Sprintf(`<package type="rpm"><name>%s</name><arch>%s</arch>%s<checksum type="sha256" pkgid="YES">%s</checksum><summary/><description/><packager/><url/>`+
			`<time file="1" build="1"/><size package="1" installed="1" archive="1"/><location href="Packages/%s"/><format><rpm:license>x</rpm:license>%s%s%s</format></package>`,
			n.Name, n.Arch, version, id, n.Filename(), entries("provides", p.Provides), entries("requires", p.Requires), files)
		filelists += fmt.Sprintf(`<package pkgid="%s" name="%s" arch="%s">%s%s</package>`, id, n.Name, n.Arch, version, files)
	}
	if err := os.MkdirAll(filepath.Join(dir, "repodata"), 0o755); err != nil {
		t.Fatal(err)
	}
	repomd := `<repomd xmlns="http://linux.duke.edu/metadata/repo"><revision>1</revision>`
	for typ, body := range map[string]string{"primary": primary + "</metadata>", "filelists": filelists + "</filelists>"} {
		sum := albs.DigestOf([]byte(body))
		repomd += fmt.Sprintf(`<data type="%s"><checksum type="sha256">%s</checksum><open-checksum type="sha256">%s</open-checksum><location href="repodata/%s.xml"/>`+
			`<timestamp>1</timestamp><size>%d</size><open-size>%d</open-size></data>`, typ, sum, sum, typ, len(body), len(body))
		if err := os.WriteFile(filepath.Join(dir, "repodata", typ+".xml"), []byte(body), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "repodata/repomd.xml"), []byte(repomd+"</repomd>"), 0o644); err != nil {
		t.Fatal(err)
	}
}
