package sbom

import (
	"bytes"
	"encoding/json"
	"errors"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
	"time"

	cdx "github.com/CycloneDX/cyclonedx-go"
	"github.com/google/go-cmp/cmp"
	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/rdf"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/tagvalue"
	spdxyaml "github.com/spdx/tools-golang/yaml"
	"github.com/xeipuuv/gojsonschema"

	"albs/internal/albs"
	"albs/internal/rpm"
)

var (
	alma = Distribution{ID: "almalinux", Name: "AlmaLinux", Version: "9.4"}
	us   = Party{Name: "Example & Sons", URL: "https://example.org", Email: "security@example.org"}
)

func digest(s string) albs.Digest { return albs.DigestOf([]byte(s)) }

// dep is a dependency as a spec file has it.
func dep(name, version string) rpm.Dependency {
	d := rpm.Dependency{Name: name}
	if version != "" {
		d.Flags, d.Version = rpm.Equal, version
	}
	return d
}

// awkward is a package with all that formats trip over: an epoch, signs that URLs and
// XML have for themselves, a licence of the old scheme, parts of other projects.
func awkward() *rpm.Package {
	return &rpm.Package{
		NEVRA:     rpm.NEVRA{Name: "libstdc++", Epoch: 2, Version: "1.0~rc1^git", Release: "3.el9", Arch: "x86_64"},
		SourceRPM: "gcc-1.0~rc1^git-3.el9.src.rpm", Summary: `C++ <library> & "more"`, Description: "Line one.\nLine two ]]> </text> & ü.",
		License: "GPLv3+ and (LGPLv2+ or BSD) and MIT", Vendor: "Example & Sons", URL: "https://gcc.example/?a=1&b=2", BuildHost: "node-1",
		BuildTime: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
		Provides: []rpm.Dependency{
			dep("bundled(zlib)", "1.2.11"), dep("bundled(npm(@babel/core))", "7.1"), dep("bundled(crate(serde))", "1.0.2"),
			dep("bundled(golang(github.com/x/y))", ""), dep("bundled(zlib)", "1.2.11"), dep("libstdc++", "1"),
		},
		HeaderSHA256: digest("header"), PayloadSHA256: digest("payload"),
	}
}

// packageBill is the bill of the awkward package as a release knows it.
func packageBill() Bill {
	b := Alone(awkward(), File{SHA256: digest("file"), SHA512: strings.Repeat("ab", 64), URL: "https://repo.example/libstdc%2B%2B.rpm"}, alma, us, "https://build.example/spdx", "1.2")
	glibc := Component{
		Ref: RefOf(digest("glibc")), Type: Library, Name: "glibc", Version: "2.34-1.el9", SHA256: string(digest("glibc")), License: "LGPL-2.1-or-later WITH GCC-exception-2.0",
		PURL: PURL(rpm.NEVRA{Name: "glibc", Version: "2.34", Release: "1.el9", Arch: "x86_64"}, alma, "glibc-2.34-1.el9.src.rpm"),
	}
	b.Root.Needs, b.Root.Resolved = append(b.Root.Needs, glibc.Ref), true
	b.Root.Commits = []Commit{{"https://git.example/gcc.git", strings.Repeat("ac", 20)}}
	b.Root.Properties = append(b.Root.Properties, Property{PropertyGitURL, "https://git.example/gcc.git"}, Property{PropertyGitCommit, strings.Repeat("ac", 20)})
	b.Others = append(b.Others, glibc)
	return b
}

// buildBill is the bill of a build of twelve packages.
func buildBill() Bill {
	b := Bill{
		Kind: Build, Made: time.Date(2026, 11, 22, 11, 0, 0, 5, time.FixedZone("x", 3600)), Supplier: us, Base: "https://build.example/spdx", Tool: "1.2",
		Root:   Component{Ref: "build-7", Type: Set, Name: "build-7", Properties: []Property{{PropertyBuildID, "7"}, {PropertyAuthor, "alice <alice@example.org>"}}, Needs: []string{alma.Ref()}},
		Others: []Component{alma.Component()},
	}
	for i := range 12 {
		p := awkward()
		p.Name = "pkg" + string(rune('a'+i))
		c, bundled := OfPackage(p, File{SHA256: digest(p.Name)}, alma)
		b.Root.Contains = append(b.Root.Contains, c.Ref)
		b.Others = append(append(b.Others, c), bundled...)
	}
	return b
}

// releaseBill is the bill of a release, whose packages need each other.
func releaseBill() Bill {
	b := buildBill()
	b.Kind, b.Root.Ref, b.Root.Name, b.Root.Version = Release, "release-3", "demo", "12"
	refs := b.Root.Contains
	for i := range b.Others {
		if j := slices.Index(refs, b.Others[i].Ref); j >= 0 {
			b.Others[i].Needs, b.Others[i].Resolved = []string{refs[(j+1)%len(refs)], alma.Ref()}, true
		}
	}
	return b
}

// imageBill is that of an image, which is a file too, of a part of whose packages it tells.
func imageBill() Bill {
	b := releaseBill()
	b.Kind, b.Root = Image, Component{
		Ref: "image", Type: System, Name: "AlmaLinux 9.4 DVD ISO", File: "dvd.iso", SHA256: string(digest("dvd")), SHA512: strings.Repeat("cd", 64),
		Needs: b.Root.Needs, Contains: b.Root.Contains[:11], Partial: true,
	}
	return b
}

// rootBill is that of a root, of one of whose packages the file isn't known, and one of
// which is listed twice.
func rootBill() Bill {
	bash := Installed{rpm.NEVRA{Name: "bash", Version: "5.1.8", Release: "9.el9", Arch: "x86_64"}, digest("bash")}
	return OfRoot(
		Component{Ref: "root", Name: "buildroot-task-7-attempt-1", Properties: []Property{{PropertyBuildroot, string(digest("record"))}, {PropertyNode, "node-1"}}},
		[]Installed{bash, {rpm.NEVRA{Name: "libstdc++", Epoch: 2, Version: "1.0~rc1^git", Release: "3.el9", Arch: "x86_64"}, ""}, bash, {awkward().NEVRA, digest("file")}},
		alma, Bill{Made: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Supplier: us, Base: "https://build.example/spdx", Tool: "1.2"},
	)
}

func bills() map[string]Bill {
	return map[string]Bill{"package": packageBill(), "build": buildBill(), "release": releaseBill(), "image": imageBill(), "root": rootBill()}
}

// TestOfRoot: each package is told of once, by its file where that is known, and nobody is
// said to supply it.
func TestOfRoot(t *testing.T) {
	t.Parallel()
	b := rootBill()
	if b.Kind != BuildRoot || len(b.Root.Contains) != 3 || len(b.Others) != 4 || b.Supplier.Name != "" || !slices.Equal(b.Root.Needs, []string{alma.Ref()}) {
		t.Fatalf("the bill is %+v", b)
	}
	if c := b.Others[1]; c.SHA256 != "" || c.File != "" || c.Version != "2:1.0~rc1^git-3.el9" || !strings.HasPrefix(c.PURL, "pkg:rpm/") {
		t.Errorf("a package without a file is %+v", c)
	}
	if c := b.Others[0]; c.SHA256 != string(digest("bash")) || c.File != "bash-5.1.8-9.el9.x86_64.rpm" || c.Ref != RefOf(digest("bash")) {
		t.Errorf("a package is %+v", c)
	}
	if text := string(write(t, b, CycloneDXJSON)); strings.Contains(text, us.Name) || !strings.Contains(text, `"aggregate": "complete"`) {
		t.Errorf("as CycloneDX it is:\n%s", text)
	}
}

func write(t *testing.T, b Bill, f Format) []byte {
	t.Helper()
	out, err := b.Write(f)
	if err != nil {
		t.Fatalf("write %s: %v", f, err)
	}
	return out
}

// TestSame: the same facts give the same bytes, in whatever order they come.
func TestSame(t *testing.T) {
	t.Parallel()
	for name, b := range bills() {
		for _, f := range Formats() {
			want := write(t, b, f)
			for range 5 {
				o := b
				o.Others = slices.Clone(b.Others)
				rand.Shuffle(len(o.Others), func(i, j int) { o.Others[i], o.Others[j] = o.Others[j], o.Others[i] })
				o.Root.Properties, o.Root.Contains = slices.Clone(b.Root.Properties), slices.Clone(b.Root.Contains)
				slices.Reverse(o.Root.Properties)
				slices.Reverse(o.Root.Contains)
				if got := write(t, o, f); !bytes.Equal(got, want) {
					t.Errorf("%s as %s: another order of the facts gives another file:\n%s", name, f, cmp.Diff(string(want), string(got)))
					break
				}
			}
			other := b
			other.Root.Summary += "."
			if got := write(t, other, f); bytes.Equal(got, want) {
				t.Errorf("%s as %s: another fact gives the same file", name, f)
			}
		}
	}
}

// moduleDir is where the source of a module lies.
func moduleDir(t *testing.T, module string) string {
	t.Helper()
	out, err := exec.CommandContext(t.Context(), "go", "list", "-m", "-f", "{{.Dir}}", module).Output()
	if err != nil {
		t.Fatalf("find the source of %s: %v", module, err)
	}
	return strings.TrimSpace(string(out))
}

func validate(t *testing.T, schema string, doc []byte) {
	t.Helper()
	loader := gojsonschema.NewSchemaLoader()
	// What a schema refers to lies beside it, under addresses that are not to be asked.
	for _, name := range []string{"spdx.schema.json", "jsf-0.82.schemax.json"} {
		b, err := os.ReadFile(filepath.Join(filepath.Dir(schema), name))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			t.Fatal(err)
		}
		if err := loader.AddSchema("http://cyclonedx.org/schema/"+strings.Replace(name, "schemax", "schema", 1), gojsonschema.NewBytesLoader(b)); err != nil {
			t.Fatal(err)
		}
	}
	main, err := os.ReadFile(schema)
	if err != nil {
		t.Fatal(err)
	}
	compiled, err := loader.Compile(gojsonschema.NewBytesLoader(main))
	if err != nil {
		t.Fatal(err)
	}
	r, err := compiled.Validate(gojsonschema.NewBytesLoader(doc))
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range r.Errors() {
		t.Errorf("%s: %s", schema, e)
	}
}

func TestCycloneDXSchemas(t *testing.T) {
	t.Parallel()
	schemas := filepath.Join(moduleDir(t, "github.com/CycloneDX/cyclonedx-go"), "schema")
	xmllint, err := exec.LookPath("xmllint")
	catalog := filepath.Join(t.TempDir(), "catalog.xml")
	text := `<catalog xmlns="urn:oasis:names:tc:entity:xmlns:xml:catalog"><uri name="http://cyclonedx.org/schema/spdx" uri="file://` + schemas + `/spdx.xsd"/>` +
		`<system systemId="http://cyclonedx.org/schema/spdx" uri="file://` + schemas + `/spdx.xsd"/></catalog>`
	if err := os.WriteFile(catalog, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	for name, b := range bills() {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			validate(t, filepath.Join(schemas, "bom-1.6.schema.json"), write(t, b, CycloneDXJSON))
		})
		t.Run(name+"/xml", func(t *testing.T) {
			t.Parallel()
			if err != nil {
				t.Skip("xmllint, of libxml2-utils, is not installed")
			}
			file := filepath.Join(t.TempDir(), "bom.xml")
			if err := os.WriteFile(file, write(t, b, CycloneDXXML), 0o644); err != nil {
				t.Fatal(err)
			}
			cmd := exec.CommandContext(t.Context(), xmllint, "--nonet", "--noout", "--schema", filepath.Join(schemas, "bom-1.6.xsd"), file)
			cmd.Env = append(os.Environ(), "XML_CATALOG_FILES="+catalog)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// TestSPDXSchema holds the JSON form to SPDX's own schema, which no package that this one
// can name brings along.
func TestSPDXSchema(t *testing.T) {
	t.Parallel()
	schema := os.Getenv("ALBS_SPDX_SCHEMA")
	if schema == "" {
		t.Skip("ALBS_SPDX_SCHEMA does not name spdx-schema.json of SPDX 2.3")
	}
	for _, b := range bills() {
		validate(t, schema, write(t, b, SPDXJSON))
	}
}

// TestSPDXReads: what SPDX's own tools read from each form is what was written.
func TestSPDXReads(t *testing.T) {
	t.Parallel()
	for name, b := range bills() {
		ordered, err := b.ordered()
		if err != nil {
			t.Fatal(err)
		}
		want, err := ordered.spdx()
		if err != nil {
			t.Fatal(err)
		}
		for f, read := range map[Format]func([]byte) (*spdx.Document, error){
			SPDXJSON:     func(b []byte) (*spdx.Document, error) { return spdxjson.Read(bytes.NewReader(b)) },
			SPDXYAML:     func(b []byte) (*spdx.Document, error) { return spdxyaml.Read(bytes.NewReader(b)) },
			SPDXTagValue: func(b []byte) (*spdx.Document, error) { return tagvalue.Read(bytes.NewReader(b)) },
			SPDXRDF:      func(b []byte) (*spdx.Document, error) { return rdf.Read(bytes.NewReader(b)) },
		} {
			if racing && f == SPDXRDF {
				t.Log("SPDX's reader of RDF has races of its own: it is asked where the race detector is off")
				continue
			}
			got, err := read(write(t, b, f))
			if err != nil {
				t.Errorf("%s as %s can't be read: %v", name, f, err)
				continue
			}
			if diff := cmp.Diff(essence(want, f), essence(got, f)); diff != "" {
				t.Errorf("%s as %s (-written +read):\n%s", name, f, diff)
			}
		}
	}
}

// essence is what has to come through every form, as lines. SPDX's readers have faults
// of their own that it makes allowance for: names of creators come out as the form has
// escaped them, as do all texts of RDF, which are read as Latin-1; its sets of licences
// have no order and exceptions are left out.
func essence(d *spdx.Document, f Format) []string {
	plain := strings.NewReplacer(`\u0026`, "&", "(/text)", "</text>")
	license := func(p *spdx.Package) string { return p.PackageLicenseDeclared }
	if f == SPDXRDF {
		plain = strings.NewReplacer("&amp;", "&", "&lt;", "<", "&gt;", ">", "&#34;", `"`, "&#xA;", "\n", "\u00c3\u00bc", "ü")
		license = func(*spdx.Package) string { return "" }
	}
	out := []string{d.DocumentName, d.DocumentNamespace, d.CreationInfo.Created}
	for _, c := range d.CreationInfo.Creators {
		out = append(out, "creator "+c.Creator)
	}
	for _, p := range d.Packages {
		line := []string{
			"package", string(p.PackageSPDXIdentifier), p.PackageName, p.PackageVersion, p.PackageFileName, license(p), p.PackageSummary, p.PackageDescription,
			p.BuiltDate, p.PackageHomePage, p.PackageDownloadLocation, p.PackageSourceInfo,
		}
		var sums []string
		for _, c := range p.PackageChecksums {
			sums = append(sums, string(c.Algorithm)+c.Value)
		}
		line = append(line, slices.Sorted(slices.Values(sums))...)
		for _, r := range p.PackageExternalReferences {
			line = append(line, r.Locator)
		}
		out = append(out, strings.Join(line, "|"))
	}
	for _, r := range d.Relationships {
		how := strings.ToLower(strings.ReplaceAll(r.Relationship, "_", ""))
		out = append(out, strings.Join([]string{"tie", string(r.RefA.ElementRefID), how, string(r.RefB.ElementRefID)}, "|"))
	}
	for _, l := range d.OtherLicenses {
		out = append(out, "licence|"+l.LicenseIdentifier+"|"+l.LicenseName)
	}
	for i := range out {
		out[i] = plain.Replace(out[i])
	}
	slices.Sort(out)
	return out
}

// TestRDFLicense: an expression becomes the tree of RDF's vocabulary.
func TestRDFLicense(t *testing.T) {
	t.Parallel()
	b := packageBill()
	b.Root.License = "(MIT OR BSD) AND GPL-2.0+ AND GPL-2.0-only WITH Classpath-exception-2.0"
	var got []string
	for _, line := range strings.Split(string(write(t, b, SPDXRDF)), "\n") {
		if line = strings.TrimSpace(line); strings.Contains(line, "LicenseSet") || strings.Contains(line, "Operator") || strings.Contains(line, "spdx:member ") || strings.Contains(line, "ExceptionId") {
			got = append(got, line)
		}
	}
	const list = `<spdx:member rdf:resource="http://spdx.org/licenses/`
	want := []string{
		"<spdx:ConjunctiveLicenseSet>", "<spdx:DisjunctiveLicenseSet>", list + `MIT"/>`, "", "</spdx:DisjunctiveLicenseSet>",
		"<spdx:OrLaterOperator>", list + `GPL-2.0"/>`, "</spdx:OrLaterOperator>",
		"<spdx:WithExceptionOperator>", list + `GPL-2.0-only"/>`, "<spdx:licenseExceptionId>Classpath-exception-2.0</spdx:licenseExceptionId>", "</spdx:WithExceptionOperator>",
		"</spdx:ConjunctiveLicenseSet>",
		// That of glibc.
		"<spdx:WithExceptionOperator>", list + `LGPL-2.1-or-later"/>`, "<spdx:licenseExceptionId>GCC-exception-2.0</spdx:licenseExceptionId>", "</spdx:WithExceptionOperator>",
	}
	if len(got) > 3 && strings.HasSuffix(got[3], `#LicenseRef-BSD"/>`) {
		got[3] = ""
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// TestFacts: each fact where those who read bills look for it.
func TestFacts(t *testing.T) {
	t.Parallel()
	var bom cdx.BOM
	if err := json.Unmarshal(write(t, packageBill(), CycloneDXJSON), &bom); err != nil {
		t.Fatal(err)
	}
	root := bom.Metadata.Component
	const commit = "acacacacacacacacacacacacacacacacacacacac"
	byType := map[cdx.ComponentType][]string{}
	for _, c := range *bom.Components {
		byType[c.Type] = append(byType[c.Type], c.Name)
	}
	properties := map[string]string{}
	for _, p := range *root.Properties {
		properties[p.Name] = p.Value
	}
	var on []string
	for _, d := range *bom.Dependencies {
		if d.Ref == root.BOMRef {
			on = *d.Dependencies
		}
	}
	purls := map[string]string{}
	for _, c := range *bom.Components {
		purls[c.Name] = c.PackageURL
	}
	for what, tc := range map[string]struct{ got, want any }{
		"the commit is the commit":           {properties[PropertyGitCommit], commit},
		"tools have a type":                  {(*bom.Metadata.Tools.Components)[0].Type, cdx.ComponentTypeApplication},
		"an operating system":                {byType[cdx.ComponentTypeOS], []string{"almalinux"}},
		"components":                         {byType[cdx.ComponentTypeLibrary], []string{"crate(serde)", "gcc", "glibc", "golang(github.com/x/y)", "npm(@babel/core)", "zlib"}},
		"what it rests on":                   {len(on), 7}, // four bundled, glibc, the system, the source
		"the licence's operators":            {(*root.Licenses)[0].Expression, "GPL-3.0-or-later AND (LicenseRef-LGPLv2-or-later OR LicenseRef-BSD) AND MIT"},
		"the epoch in the version":           {root.Version, "2:1.0~rc1^git-3.el9"},
		"the purl":                           {root.PackageURL, "pkg:rpm/almalinux/libstdc%2B%2B@1.0~rc1%5Egit-3.el9?arch=x86_64&distro=almalinux-9&epoch=2&upstream=gcc-1.0~rc1%5Egit-3.el9.src.rpm"},
		"no CPE is made up":                  {root.CPE, ""},
		"the time is the build's":            {bom.Metadata.Timestamp, "2026-11-22T10:00:00Z"},
		"who supplies it":                    {bom.Metadata.Supplier, us.entity()},
		"when the facts were found":          {(*bom.Metadata.Lifecycles)[0].Phase, cdx.LifecyclePhasePostBuild},
		"both digests":                       {len(*root.Hashes), 2},
		"what is known whole":                {(*bom.Compositions)[0].Aggregate, cdx.CompositionAggregateComplete},
		"a bundled crate":                    {purls["crate(serde)"], "pkg:cargo/serde@1.0.2"},
		"a bundled npm package of a scope":   {purls["npm(@babel/core)"], "pkg:npm/%40babel/core@7.1"},
		"a bundled go package":               {purls["golang(github.com/x/y)"], "pkg:golang/github.com/x/y"},
		"a bundled thing of no registry":     {purls["zlib"], "pkg:generic/zlib@1.2.11"},
		"the header's licence, word by word": {properties[PropertyLicense], "GPLv3+ and (LGPLv2+ or BSD) and MIT"},
	} {
		if diff := cmp.Diff(tc.want, tc.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", what, diff)
		}
	}
}

// TestContradictions: a bill that names what it doesn't have is refused.
func TestContradictions(t *testing.T) {
	t.Parallel()
	for name, change := range map[string]func(*Bill){
		"needs what isn't there":    func(b *Bill) { b.Root.Needs = append(b.Root.Needs, "nobody") },
		"contains what isn't there": func(b *Bill) { b.Root.Contains = append(b.Root.Contains, "nobody") },
		"from what isn't there":     func(b *Bill) { b.Root.From = "nobody" },
		"two of a name":             func(b *Bill) { b.Others = append(b.Others, b.Others[0]) },
		"no name":                   func(b *Bill) { b.Root.Ref = "" },
	} {
		b := packageBill()
		change(&b)
		if _, err := b.Write(SPDXJSON); albs.KindOf(err) != albs.Invalid {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := packageBill().Write("spdx-xml"); albs.KindOf(err) != albs.Invalid {
		t.Errorf("a format that there isn't: %v", err)
	}
}

func TestParseLicense(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"":    "",
		"MIT": "MIT",
		"mit": "MIT",
		"GPL-2.0-or-later WITH GCC-exception-2.0": "GPL-2.0-or-later WITH GCC-exception-2.0",
		"GPLv2+":                             "GPL-2.0-or-later",
		"GPL-2.0+":                           "GPL-2.0+",
		"ASL 2.0 and MIT":                    "Apache-2.0 AND MIT",
		"MIT and GPLv3 or Artistic 2.0":      "MIT AND GPL-3.0-only OR Artistic-2.0",
		"MIT and (GPLv3 or Artistic 2.0)":    "MIT AND (GPL-3.0-only OR Artistic-2.0)",
		"((MIT))":                            "MIT",
		"BSD":                                "LicenseRef-BSD",
		"Public Domain":                      "LicenseRef-Public-Domain",
		"GPLv2 with exceptions":              "LicenseRef-GPLv2-with-exceptions",
		"LGPLv2+ and GPLv2+ with exceptions": "LicenseRef-LGPLv2-or-later AND LicenseRef-GPLv2-or-later-with-exceptions",
		"LicenseRef-Fedora-Public-Domain AND MIT": "LicenseRef-Fedora-Public-Domain AND MIT",
		"MIT and":        "LicenseRef-MIT-and",
		"(MIT":           "LicenseRef-MIT",
		"()":             "LicenseRef-unnamed",
		"See\n  COPYING": "LicenseRef-See-COPYING",
		"§§":             "LicenseRef-unnamed",
		"A! or A?":       "LicenseRef-A OR LicenseRef-A-x",
		strings.Repeat("(", 100) + "MIT" + strings.Repeat(")", 100): "LicenseRef-MIT",
	} {
		l := ParseLicense(in)
		if l.Expression != want {
			t.Errorf("ParseLicense(%q) = %q, want %q", in, l.Expression, want)
		}
	}
}

// FuzzParseLicense: whatever a header says becomes an expression that reads as itself.
func FuzzParseLicense(f *testing.F) {
	for _, s := range []string{"MIT", "GPLv2+ and (BSD or MIT)", "((", "a WITH b", "LicenseRef-x AND y", "§ or +", "MIT WITH GCC-exception-2.0"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		l := ParseLicense(s)
		if strings.TrimSpace(s) == "" {
			return
		}
		if l.Expression == "" || l.tree == nil {
			t.Fatalf("nothing came of %q", s)
		}
		for _, r := range l.references() {
			if !strings.HasPrefix(r, "LicenseRef-") || strings.ContainsFunc(r, func(r rune) bool {
				return !strings.ContainsRune("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789.-", r)
			}) {
				t.Errorf("%q has a reference %q", s, r)
			}
		}
		if again := ParseLicense(l.Expression); again.Expression != l.Expression {
			t.Errorf("%q is %q, and that is %q", s, l.Expression, again.Expression)
		}
	})
}

// TestOfProgram: of albs itself.
func TestOfProgram(t *testing.T) {
	t.Parallel()
	if _, err := OfProgram("x", strings.NewReader("#!/bin/sh\n"), Made{}, us, "", ""); albs.KindOf(err) != albs.Invalid {
		t.Errorf("of a script: %v", err)
	}
	if testing.Short() {
		t.Skip("it links a whole program: not with -short")
	}
	own := filepath.Join(t.TempDir(), "albs")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", own, "albs").CombinedOutput(); err != nil {
		t.Fatalf("build a program: %v\n%s", err, out)
	}
	f, err := os.Open(own)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	b, err := OfProgram(own, f, Made{Version: "1.2"}, us, "https://build.example/spdx", "1.2")
	if err != nil {
		t.Fatal(err)
	}
	if b.Root.Name != "albs" || b.Root.Version != "1.2" {
		t.Errorf("the program is %s %s", b.Root.Name, b.Root.Version)
	}
	var names []string
	for _, c := range b.Others {
		names = append(names, c.Name)
		if c.Name == "github.com/klauspost/compress" && !strings.HasPrefix(c.PURL, "pkg:golang/github.com/klauspost/compress@v1.") {
			t.Errorf("a module's purl is %s", c.PURL)
		}
	}
	for _, want := range []string{"stdlib", "github.com/klauspost/compress"} {
		if !slices.Contains(names, want) {
			t.Errorf("the program's modules are %q, without %s", names, want)
		}
	}
	validate(t, filepath.Join(moduleDir(t, "github.com/CycloneDX/cyclonedx-go"), "schema", "bom-1.6.schema.json"), write(t, b, CycloneDXJSON))
}

func TestModule(t *testing.T) {
	t.Parallel()
	for want, m := range map[string]debug.Module{
		"pkg:golang/github.com/klauspost/compress@v1.20.3": {Path: "github.com/klauspost/compress", Version: "v1.20.3", Sum: "h1:x="},
		"pkg:golang/albs@v1":                     {Path: "albs", Version: "v1"},
		"pkg:golang/example.org/fork@v2.0.0%2Bx": {Path: "example.org/a", Version: "v1", Replace: &debug.Module{Path: "example.org/fork", Version: "v2.0.0+x"}},
	} {
		if c := module(&m); c.PURL != want || !strings.HasSuffix(c.Ref, c.Name+"@"+c.Version) {
			t.Errorf("%+v is %+v, want %s", m, c, want)
		}
	}
}
