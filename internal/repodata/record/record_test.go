package record

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"io"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"albs/internal/albs"
)

const (
	comps = `<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">
<comps>
  <group><id>core</id><name>Core</name><uservisible>true</uservisible><packagelist><packagereq type="mandatory">tiny</packagereq></packagelist></group>
  <environment><id>core</id><name>All</name><grouplist><groupid>core</groupid></grouplist></environment>
  <langpacks><match name="a" install="a-%s"/></langpacks>
</comps>
`
	modules = `# what there is
---
document: modulemd
version: 2
data:
  name: perl
  stream: "5.30"
  version: 1
  context: abc
  arch: x86_64
  summary: Perl
  description: |
    Text with
    --- a line
  license: {module: [MIT]}
---
document: modulemd-defaults
version: 1
data:
  module: perl
  stream: "5.30"
  profiles: {"5.30": [common]}
...
`
	advisories = `<updates><update type="security" status="final" from="a" version="1"><id>ALSA-1</id><title>T</title>
<pkglist><collection short="c"><name>c</name><package name="tiny" version="1" release="1" epoch="0" arch="x86_64"><filename>tiny-1-1.x86_64.rpm</filename></package></collection></pkglist>
</update></updates>`
)

// plainComps is comps without its document type declaration, which is refused.
var plainComps = strings.Replace(comps, `<!DOCTYPE comps PUBLIC "-//Red Hat, Inc.//DTD Comps info//EN" "comps.dtd">`+"\n", "", 1)

func certificate(t testing.TB) string {
	t.Helper()
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	tmpl := &x509.Certificate{SerialNumber: big.NewInt(1)}
	der, err := x509.CreateCertificate(rand.Reader, tmpl, tmpl, public, private)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}))
}

func packed(t testing.TB, b []byte, how string) []byte {
	t.Helper()
	var out bytes.Buffer
	var w io.WriteCloser = gzip.NewWriter(&out)
	if how == "zst" {
		z, err := zstd.NewWriter(&out)
		if err != nil {
			t.Fatal(err)
		}
		w = z
	}
	if _, err := w.Write(b); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func TestMake(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		typ, text string
		want      []string // type and name of each file
	}{
		{"group", plainComps, []string{"group comps.xml", "group_gz comps.xml.gz"}},
		{"modules", modules, []string{"modules modules.yaml.gz"}},
		{"updateinfo", advisories, []string{"updateinfo updateinfo.xml.gz"}},
		{"productid", certificate(t), []string{"productid productid"}},
	} {
		first, err := Make(tc.typ, strings.NewReader(tc.text))
		if err != nil {
			t.Errorf("%s: %v", tc.typ, err)
			continue
		}
		var got []string
		for _, f := range first {
			got = append(got, f.Type+" "+f.Name)
			plain := f.Bytes
			if f.OpenDigest != "" {
				z, err := gzip.NewReader(bytes.NewReader(f.Bytes))
				if err == nil {
					plain, err = io.ReadAll(z)
				}
				if err != nil || f.OpenDigest != albs.DigestOf(plain) || f.OpenSize != int64(len(plain)) {
					t.Errorf("%s uncompressed: %v, %d bytes", f.Name, err, len(plain))
				}
			}
			if string(plain) != tc.text || f.Digest != albs.DigestOf(f.Bytes) || f.Size != int64(len(f.Bytes)) {
				t.Errorf("%s holds other bytes than were given", f.Name)
			}
		}
		if diff := cmp.Diff(tc.want, got); diff != "" {
			t.Errorf("files of %s (-want +got):\n%s", tc.typ, diff)
		}
		for _, how := range []string{"gz", "zst"} {
			again, err := Make(tc.typ, bytes.NewReader(packed(t, []byte(tc.text), how)))
			if err != nil {
				t.Errorf("%s.%s: %v", tc.typ, how, err)
			} else if diff := cmp.Diff(first, again); diff != "" {
				t.Errorf("%s compressed by %s gives other files (-plain +compressed):\n%s", tc.typ, how, diff)
			}
		}
	}
	if got := len(Types()); got != len(kinds) {
		t.Errorf("Types names %d of %d", got, len(kinds))
	}
}

func TestMakeRefuses(t *testing.T) {
	t.Parallel()
	module := func(from, to string) string {
		s := strings.Replace(modules, from, to, 1)
		if s == modules {
			t.Fatalf("%q is not in it", from)
		}
		return s
	}
	bomb := "<comps>" + strings.Repeat("<!-- -->", MaxBytes/8) + "</comps>"
	for _, tc := range []struct {
		name, typ, text string
		want            albs.Kind
	}{
		{"a type that is written package by package", "primary", plainComps, albs.Invalid},
		{"no type", "", plainComps, albs.Invalid},
		{"nothing", "group", "", albs.Invalid},
		{"a DTD", "group", comps, albs.Invalid},
		{"an entity bomb", "group", `<!DOCTYPE c [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;">]><comps>&b;</comps>`, albs.Invalid},
		{"an external entity", "updateinfo", `<!DOCTYPE u [<!ENTITY x SYSTEM "file:///etc/passwd">]><updates>&x;</updates>`, albs.Invalid},
		{"another root", "group", advisories, albs.Invalid},
		{"another child", "group", "<comps><x/></comps>", albs.Invalid},
		{"no id", "group", "<comps><group><name>a</name></group></comps>", albs.Invalid},
		{"an id twice", "group", "<comps><group><id>a</id></group><group><id>a</id></group></comps>", albs.Invalid},
		{"an advisory without id", "updateinfo", "<updates><update/></updates>", albs.Invalid},
		{"cut off", "updateinfo", advisories[:200], albs.Invalid},
		{"more behind", "updateinfo", advisories + "<x/>", albs.Invalid},
		{"deep", "group", "<comps><group>" + strings.Repeat("<a>", 100), albs.Invalid},
		{"too long", "group", bomb, albs.TooLarge},
		{"a bomb in gzip", "group", string(packed(t, []byte(bomb), "gz")), albs.TooLarge},
		{"a bomb in zstd", "modules", string(packed(t, make([]byte, 2*MaxBytes), "zst")), albs.TooLarge},
		{"broken gzip", "modules", "\x1f\x8b\x08 and no more of it", albs.Invalid},
		{"no YAML", "modules", "a: [", albs.Invalid},
		{"an alias", "modules", module("MIT", "&a b, *a"), albs.Invalid},
		{"an alias bomb", "modules", "a: &a [x,x,x,x,x,x,x,x]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a]\nc: [*b,*b,*b,*b,*b,*b,*b,*b]\n", albs.Invalid},
		{"deep YAML", "modules", "data: " + strings.Repeat("[", 100_000), albs.Invalid},
		{"no mapping", "modules", "--- [a]\n", albs.Invalid},
		{"a member twice", "modules", module("version: 2", "version: 2\nversion: 3"), albs.Invalid},
		{"another document", "modules", module("document: modulemd\n", "document: modulemd-x\n"), albs.Invalid},
		{"no version", "modules", module("version: 2", "version: two"), albs.Invalid},
		{"no data", "modules", "document: modulemd\nversion: 2\n", albs.Invalid},
		{"no stream", "modules", module("  stream: \"5.30\"\n  version", "  version"), albs.Invalid},
		{"comments only", "modules", "# nothing\n---\n# more of it\n", albs.Invalid},
		{"a long document", "modules", module("Perl\n", strings.Repeat("x", maxDocument)+"\n"), albs.TooLarge},
		{"something behind the end", "modules", modules + "more: yes\n", albs.Invalid},
		{"no certificate", "productid", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", albs.Invalid},
		{"a private key", "productid", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", albs.Invalid},
		{"more than a certificate", "productid", certificate(t) + "more", albs.Invalid},
	} {
		files, err := Make(tc.typ, strings.NewReader(tc.text))
		if albs.KindOf(err) != tc.want || files != nil {
			t.Errorf("%s: %d files, %v, want %s", tc.name, len(files), err, tc.want)
		}
	}
	cause := errors.New("the line is down")
	if _, err := Make("group", io.MultiReader(strings.NewReader("<comps>"), failing{cause})); !errors.Is(err, cause) || errors.Is(err, albs.Invalid) {
		t.Errorf("a failing source gave %v", err)
	}
}

// failing is a reader that fails.
type failing struct{ err error }

func (f failing) Read([]byte) (int, error) { return 0, f.err }

func FuzzMake(f *testing.F) {
	for typ, text := range map[string]string{"group": plainComps, "modules": modules, "updateinfo": advisories, "productid": certificate(f)} {
		f.Add(typ, []byte(text))
		f.Add(typ, packed(f, []byte(text), "gz"))
	}
	f.Fuzz(func(t *testing.T, typ string, b []byte) {
		files, err := Make(typ, bytes.NewReader(b))
		if err != nil {
			if k := albs.KindOf(err); k != albs.Invalid && k != albs.TooLarge {
				t.Fatalf("error of kind %s: %v", k, err)
			}
			return
		}
		for _, file := range files {
			if albs.DigestOf(file.Bytes) != file.Digest {
				t.Fatalf("%s isn't what its record says", file.Name)
			}
		}
	})
}
