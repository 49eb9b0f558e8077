package verify

import (
	"encoding/base64"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/attest/attesttest"
	"albs/internal/pgp"
)

func pastHour() time.Time { return time.Now().Add(-time.Hour) }

// install puts packages into a database of rpm below root, and nothing else.
func install(t *testing.T, root string, paths ...string) {
	t.Helper()
	db := filepath.Join(root, "usr/lib/sysimage/rpm")
	if err := os.MkdirAll(db, 0o755); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"--dbpath", db, "--install", "--justdb", "--nodeps", "--noscripts", "--nosignature", "--nodigest", "--force", "--ignorearch"}, paths...)
	cmd := exec.CommandContext(t.Context(), "rpm", args...)
	cmd.Env = append(os.Environ(), "HOME="+t.TempDir())
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("rpm --install: %v\n%s", err, out)
	}
}

// TestInstalled checks what rpm's own database says of packages that rpm installed.
func TestInstalled(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	if _, err := exec.LookPath("rpm"); err != nil {
		t.Skip("rpm is not installed")
	}
	root, mirror := filepath.Join(w.dir, "root"), filepath.Join(w.dir, "mirror")
	one, two := w.publish(t, hello, "mirror/one/pool/h"), w.publish(t, earth, "mirror/one/pool/w")
	install(t, root, one, two)
	for _, path := range []string{one, two} { // a mirror needn't have kept the packages themselves
		remove(t, path)
	}
	args := []string{"--installed", "--root", root, "--bundle", mirror}
	w.run(t, args...).want(t, "all", 0, "hello-1-1.noarch is verified\n", "2 of 2 installed packages are verified\n", "of 2 packages: the installed files were not looked at: rpm --verify")
	w.run(t, append(args, "world")...).want(t, "one name", 0, "1 of 1 installed packages are verified\n")
	w.run(t, append(args, "none")...).want(t, "no such name", 1, "package none is not installed")
	w.run(t, append(args, "--json", "hello")...).want(t, "as JSON", 0, `"verified": 1`, `"transparency log"`)
	w.run(t, "--installed", "--root", filepath.Join(w.dir, "none"), "--bundle", mirror).want(t, "no root", 1, "no database of rpm")
	w.run(t, "--installed", "--root", root, "--bundle", filepath.Join(w.dir, "none")).want(t, "no mirror", 1, "no such file")

	change(t, two+attest.EnvelopesSuffix, -10)
	w.run(t, args...).want(t, "a changed statement", 5, "world-1-1.noarch is NOT verified: statement: ", "1 of 2 installed packages are NOT verified")
	w.publish(t, earth, "mirror/two") // that one holds
	w.run(t, args...).want(t, "one of two copies", 0)
	remove(t, filepath.Join(mirror, "two", earth+attest.EnvelopesSuffix))
	remove(t, two+attest.EnvelopesSuffix)
	w.run(t, args...).want(t, "nothing beside one", 10, "there is no world-1-1.noarch.rpm.intoto.jsonl")

	// What wasn't signed, or by another, is installed under the name of what was.
	stranger, err := pgp.Generate("Stranger <stranger@example.org>", pgp.Ed25519, pastHour())
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range map[string]struct {
		key  *pgp.Key
		code int
		but  []string
	}{"unsigned": {nil, 3, nil}, "by a stranger": {stranger, 3, nil}, "untested": {w.Key, 6, []string{attest.Test}}} {
		made, err := packages()
		if err != nil {
			t.Fatal(err)
		}
		b := made[hello]
		if tc.key != nil {
			f := *w.Farm
			f.Key = tc.key
			if b, err = f.Sign(b); err != nil {
				t.Fatal(err)
			}
		}
		other := filepath.Join(w.dir, "root-"+name)
		install(t, other, w.file(t, name+".rpm", b))
		w.publish(t, hello, "mirror-"+name, tc.but...)
		w.run(t, "--installed", "--root", other, "--bundle", filepath.Join(w.dir, "mirror-"+name)).want(t, name, tc.code, "hello-1-1.noarch is NOT verified")
	}
	w.save(t, attesttest.Released{Package: w.release(t, hello).Package, Bundle: w.release(t, earth).Bundle}, "mirror-other")
	w.run(t, append(args[:3:3], "--bundle", filepath.Join(w.dir, "mirror-other"), "hello")...).want(t, "what is stated of another", 4, "no sign statement of the bundle is about it")
}

// printed is what rpm prints of one package.
func printed(name, header, signature string) string {
	enc := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	return "#package " + name + "\n#header\n" + enc(header) + "\n#signature\n" + enc(signature) + "\n#signature\n\n#end\n"
}

func TestReadInstalled(t *testing.T) {
	t.Parallel()
	var got []installed
	err := readInstalled(strings.NewReader(printed("a-1-1.noarch", "head", "sig")+printed("gpg-pubkey-1-1.(none)", "", "")+printed("b-1-1.noarch", "h", "")), func(p installed) error {
		got = append(got, p)
		return nil
	})
	if err != nil || len(got) != 2 || got[0].name != "a-1-1.noarch" || string(got[0].header) != string(headerMagic)+"head" || len(got[0].signatures) != 1 ||
		string(got[0].signatures[0]) != "sig" || got[1].name != "b-1-1.noarch" || len(got[1].signatures) != 0 {
		t.Errorf("read %+v, %v", got, err)
	}
	for text, kind := range map[string]albs.Kind{
		"package x is not installed\n": albs.NotFound, "#package a\n#header\n": albs.Invalid, "#other\n": albs.Invalid, "#package a": albs.Invalid,
		"#package a\n#header\n!\n#end\n": albs.Invalid, "#package " + strings.Repeat("x", maxLine) + "\n": albs.Invalid,
	} {
		if err := readInstalled(strings.NewReader(text), func(installed) error { return nil }); albs.KindOf(err) != kind {
			t.Errorf("%.40q: %v, want %s", text, err, kind)
		}
	}
	stop := albs.Errorf(albs.Stopped, "enough")
	if err := readInstalled(strings.NewReader(printed("a", "h", "s")), func(installed) error { return stop }); err != stop {
		t.Errorf("an error of yield: %v", err)
	}
}

func FuzzReadInstalled(f *testing.F) {
	f.Add(printed("a-1-1.noarch", "head", "sig"))
	f.Add("package x is not installed\n")
	f.Fuzz(func(t *testing.T, text string) {
		err := readInstalled(strings.NewReader(text), func(p installed) error { return nil })
		if k := albs.KindOf(err); err != nil && k != albs.Invalid && k != albs.NotFound && k != albs.TooLarge {
			t.Errorf("%q: %v", text, err)
		}
	})
}
