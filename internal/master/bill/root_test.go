package bill

import (
	"bytes"
	"encoding/json"
	"errors"
	"os/exec"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"

	"albs/internal/albs"
	"albs/internal/attest"
	"albs/internal/master/db/dbtest"
	"albs/internal/sbom"
)

// rootRecord is a record of two packages, of one of which the file isn't known.
const rootRecord = `{"format":"albs-buildroot/v1","platform":"el","packages":[
	{"name":"bash","version":"5.1.8","release":"9.el9","arch":"x86_64","sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"},
	{"name":"gcc","epoch":1,"version":"11","release":"2.el9","arch":"x86_64","header_sha256":"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"}]}`

// TestOfRoot: the bill of what a package was built with is that of its task's root, by the
// statement about it, for signed copies too.
func TestOfRoot(t *testing.T) {
	t.Parallel()
	f := open(t, dbtest.Open(t, dbtest.SQLite(t)))
	all, err := packages()
	if errors.Is(err, exec.ErrNotFound) {
		t.Skip("rpmbuild is not installed")
	}
	f.must(err)
	record, _, err := f.Modules.Blobs.Write(t.Context(), strings.NewReader(rootRecord), 1<<20)
	f.must(err)
	end := time.Date(2026, 11, 22, 11, 0, 0, 0, time.UTC)
	body := func(record albs.Digest) attest.BuildBody {
		return attest.BuildBody{
			BuildDefinition: attest.BuildDefinition{
				ExternalParameters: attest.ExternalParameters{Platform: "el", Arch: albs.X8664}, InternalParameters: attest.InternalParameters{Node: "node-1"},
				ResolvedDependencies: []attest.Descriptor{{Name: attest.DependencyBuildroot, Digest: map[string]string{attest.SHA256: string(record)}}},
			},
			RunDetails: attest.RunDetails{Builder: attest.Builder{ID: "urn:albs:builder/apart/v1"}, Metadata: attest.RunMetadata{InvocationID: "task/7/attempt/1", FinishedOn: end}},
		}
	}
	named := map[string]albs.Digest{}
	for name, b := range all {
		if strings.HasSuffix(name, ".src.rpm") {
			named["src"] = f.hold(name, b, attest.Source, attest.SourceBody{}, "").Digest
			continue
		}
		r := record
		if strings.HasPrefix(name, "hello-doc") {
			r = albs.DigestOf([]byte("gone"))
		}
		a := f.hold(name, b, attest.Build, body(r), "")
		named[a.NEVRA.Name] = a.Digest
	}
	signed := f.sign()

	text := f.read(f.OfRoot(t.Context(), string(named["hello"]), sbom.CycloneDXJSON))
	var bom cdx.BOM
	f.must(cdx.NewBOMDecoder(bytes.NewReader(text), cdx.BOMFileFormatJSON).Decode(&bom))
	if c := bom.Metadata.Component; c.Name != "buildroot-task-7-attempt-1" || bom.Metadata.Timestamp != "2026-11-22T11:00:00Z" || bom.Metadata.Supplier != nil || len(*bom.Components) != 3 {
		t.Errorf("the bill is:\n%s", text)
	}
	for _, want := range []string{
		"pkg:rpm/almalinux/bash@5.1.8-9.el9?arch=x86_64&distro=almalinux-9", "pkg:rpm/almalinux/gcc@11-2.el9?arch=x86_64&distro=almalinux-9&epoch=1",
		`"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"`, string(record), "node-1", "urn:albs:builder/apart/v1", "task/7/attempt/1", "x86_64", "operating-system",
	} {
		if !strings.Contains(string(text), want) {
			t.Errorf("the bill lacks %s:\n%s", want, text)
		}
	}
	// All that one task built has the same, whoever is asked for it, signed or not.
	for _, what := range []string{string(named["hello-libs"]), "hello-1:1.0-1.el9.x86_64", "hello-libs-1:1.0-1.el9.x86_64.rpm"} {
		if other := f.read(f.OfRoot(t.Context(), what, sbom.CycloneDXJSON)); !bytes.Equal(other, text) {
			t.Errorf("of %s there is another one:\n%s", what, other)
		}
	}
	for _, a := range signed {
		if a.Unsigned != named["hello"] {
			continue
		}
		if other := f.read(f.OfRoot(t.Context(), string(a.Digest), sbom.CycloneDXJSON)); !bytes.Equal(other, text) {
			t.Errorf("of the signed copy there is another one:\n%s", other)
		}
	}
	tags := map[albs.Digest]bool{}
	for _, format := range sbom.Formats() {
		d, err := f.OfRoot(t.Context(), string(named["hello"]), format)
		f.must(err)
		if d.Kept || d.Attested || tags[d.Tag] || d.Name != "buildroot-task-7-attempt-1"+format.Ending() {
			t.Errorf("%s is %+v", format, d)
		}
		tags[d.Tag] = true
		f.read(d, nil)
	}

	for what, kind := range map[string]albs.Kind{
		string(named["src"]): albs.NotFound, string(albs.DigestOf([]byte("nothing"))): albs.NotFound, "nothing-1-1.x86_64": albs.NotFound, "hello": albs.Invalid,
	} {
		if _, err := f.OfRoot(t.Context(), what, sbom.SPDXJSON); !errors.Is(err, kind) {
			t.Errorf("of %s: %v, want %s", what, err, kind)
		}
	}
	if _, err := f.OfRoot(t.Context(), string(named["hello"]), "spdx-xml"); !errors.Is(err, albs.Invalid) {
		t.Errorf("in a format that isn't there: %v, want Invalid", err)
	}
	d, err := f.OfRoot(t.Context(), string(named["hello-doc"]), sbom.SPDXJSON)
	f.must(err)
	if _, err := d.Ready(t.Context()); !errors.Is(err, albs.NotFound) {
		t.Errorf("of a record that is gone: %v, want NotFound", err)
	}
	// A row that says otherwise than the ledger is not believed.
	f.delivered()
	_, err = f.DB.ExecContext(t.Context(), `UPDATE statement SET envelope = replace(envelope, 'a', 'b') WHERE subject = $1 AND predicate = 'build'`, string(named["hello"]))
	f.must(err)
	if _, err := f.OfRoot(t.Context(), string(named["hello"]), sbom.SPDXJSON); !errors.Is(err, albs.Conflict) {
		t.Errorf("of a statement that was changed: %v, want Conflict", err)
	}
}

func TestReadRoot(t *testing.T) {
	t.Parallel()
	got, err := readRoot([]byte(rootRecord))
	if err != nil || len(got) != 2 || got[0].String() != "bash-5.1.8-9.el9.x86_64" || got[1].Epoch != 1 || got[1].SHA256 != "" {
		t.Fatalf("readRoot = %+v, %v", got, err)
	}
	many := `{"format":"albs-buildroot/v1","packages":[{"name":"a"}` + strings.Repeat(`,{"name":"a"}`, maxInstalled) + `]}`
	for name, c := range map[string]struct {
		text string
		kind albs.Kind
	}{
		"no JSON":             {"<", albs.Invalid},
		"another format":      {strings.Replace(rootRecord, "/v1", "/v2", 1), albs.Invalid},
		"no name":             {strings.Replace(rootRecord, `"bash"`, `""`, 1), albs.Invalid},
		"a control character": {strings.Replace(rootRecord, `"bash"`, `"ba\u001bsh"`, 1), albs.Invalid},
		"no text":             {strings.Replace(rootRecord, `"bash"`, "\"ba\xffsh\"", 1), albs.Invalid},
		"a long name":         {strings.Replace(rootRecord, "bash", strings.Repeat("b", maxWord+1), 1), albs.Invalid},
		"half a digest":       {strings.Replace(rootRecord, `"sha256":"e3b0`, `"sha256":"`, 1), albs.Invalid},
		"an epoch below 0":    {strings.Replace(rootRecord, `"epoch":1`, `"epoch":-1`, 1), albs.Invalid},
		"too many":            {many, albs.TooLarge},
		"too large":           {strings.Repeat(" ", maxRecord+1), albs.TooLarge},
	} {
		if got, err := readRoot([]byte(c.text)); !errors.Is(err, c.kind) {
			t.Errorf("%s: %d packages, %v, want %s", name, len(got), err, c.kind)
		}
	}
}

// FuzzReadRoot: of what a node says there is a bill in each format, or none.
func FuzzReadRoot(f *testing.F) {
	f.Add([]byte(rootRecord))
	f.Add([]byte(`{"format":"albs-buildroot/v1","packages":[{"name":"a<b","arch":"]]>"},{"name":"a","version":"\u2028"}]}`))
	f.Fuzz(func(t *testing.T, text []byte) {
		packages, err := readRoot(text)
		if err != nil {
			if !errors.Is(err, albs.Invalid) && !errors.Is(err, albs.TooLarge) {
				t.Fatalf("the error is %v", err)
			}
			return
		}
		b := sbom.OfRoot(sbom.Component{Ref: "root", Name: "root"}, packages, sbom.Distribution{ID: "x", Version: "1"}, sbom.Bill{Base: "https://x.example"})
		for _, format := range sbom.Formats() {
			out, err := b.Write(format)
			if err != nil {
				t.Fatalf("%s of %q: %v", format, text, err)
			}
			if format == sbom.SPDXJSON && !json.Valid(out) {
				t.Fatalf("%q gives no JSON", text)
			}
		}
	})
}
