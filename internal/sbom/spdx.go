package sbom

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	spdxjson "github.com/spdx/tools-golang/json"
	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
	"github.com/spdx/tools-golang/tagvalue"
	spdxyaml "github.com/spdx/tools-golang/yaml"

	"albs/internal/albs"
	"albs/internal/purl"
)

// noAssertion is SPDX's word for what nobody says.
const noAssertion = "NOASSERTION"

func (b Bill) spdxJSON() ([]byte, error) {
	doc, err := b.spdx()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := spdxjson.Write(doc, &out, spdxjson.Indent("  "), spdxjson.EscapeHTML(false)); err != nil {
		return nil, fmt.Errorf("write SPDX: %w", err)
	}
	return out.Bytes(), nil
}

func (b Bill) spdxTagValue() ([]byte, error) {
	doc, err := b.spdx()
	if err != nil {
		return nil, err
	}
	// The form has a word of its own for a system.
	for _, p := range doc.Packages {
		p.PrimaryPackagePurpose = strings.ReplaceAll(p.PrimaryPackagePurpose, "_", "-")
	}
	// Of a text that spans lines the form knows the beginning and the end by a mark, which
	// no text may have within.
	for _, p := range doc.Packages {
		p.PackageSummary, p.PackageDescription = unmarked(p.PackageSummary), unmarked(p.PackageDescription)
	}
	var out bytes.Buffer
	if err := tagvalue.Write(doc, &out); err != nil {
		return nil, fmt.Errorf("write SPDX: %w", err)
	}
	return out.Bytes(), nil
}

func unmarked(s string) string {
	return strings.ReplaceAll(strings.ReplaceAll(s, "<text>", "(text)"), "</text>", "(/text)")
}

func (b Bill) spdxYAML() ([]byte, error) {
	doc, err := b.spdx()
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	if err := spdxyaml.Write(doc, &out); err != nil {
		return nil, fmt.Errorf("write SPDX: %w", err)
	}
	return out.Bytes(), nil
}

// spdx returns the bill as an SPDX 2.3 document (ISO/IEC 5962:2021 with its changes).
func (b Bill) spdx() (*spdx.Document, error) {
	id, err := b.uuid()
	if err != nil {
		return nil, err
	}
	doc := &spdx.Document{
		SPDXVersion: spdx.Version, DataLicense: spdx.DataLicense, SPDXIdentifier: "DOCUMENT",
		DocumentName:      b.name(),
		DocumentNamespace: fmt.Sprintf("%s/%s-%s", b.Base, purl.Escape(b.name()), id),
		CreationInfo: &spdx.CreationInfo{
			Created:  stamp(b.Made),
			Creators: []common.Creator{{CreatorType: "Tool", Creator: b.tool()}},
		},
	}
	if b.Supplier.Name != "" {
		doc.CreationInfo.Creators = append([]common.Creator{{CreatorType: "Organization", Creator: b.Supplier.spdx()}}, doc.CreationInfo.Creators...)
	}
	extracted := map[string]string{}
	for _, c := range b.all() {
		p, l := b.spdxPackage(c)
		doc.Packages = append(doc.Packages, p)
		for ref, words := range l.Refs {
			if have, ok := extracted[ref]; ok && have != words {
				return nil, albs.Errorf(albs.Invalid, "the licences %q and %q of the bill have one name: %s", have, words, ref)
			}
			extracted[ref] = words
		}
	}
	for _, ref := range slices.Sorted(maps.Keys(extracted)) {
		doc.OtherLicenses = append(doc.OtherLicenses, &spdx.OtherLicense{
			LicenseIdentifier: ref, LicenseName: extracted[ref], ExtractedText: "The package's header calls its licence " + extracted[ref] + ".",
		})
	}
	tie := func(from common.ElementID, how string, to common.ElementID) {
		doc.Relationships = append(doc.Relationships, &spdx.Relationship{
			RefA: common.MakeDocElementID("", string(from)), Relationship: how, RefB: common.MakeDocElementID("", string(to)),
		})
	}
	tie("DOCUMENT", common.TypeRelationshipDescribe, elementID(b.Root.Ref))
	for _, c := range b.all() {
		own := elementID(c.Ref)
		if c.From != "" {
			tie(own, common.TypeRelationshipGeneratedFrom, elementID(c.From))
		}
		for _, r := range c.Contains {
			tie(own, common.TypeRelationshipContains, elementID(r))
		}
		for _, r := range c.Needs {
			tie(own, common.TypeRelationshipDependsOn, elementID(r))
		}
	}
	return doc, nil
}

// name is what the document is called.
func (b Bill) name() string { return strings.Trim(b.Root.Name+"-"+b.Root.Version, "-") }

func (b Bill) tool() string { return strings.Trim("albs-"+b.Tool, "-") }

func (p Party) spdx() string {
	if p.Email == "" {
		return p.Name
	}
	return p.Name + " (" + p.Email + ")"
}

// elementID makes an SPDX identifier, of letters, digits, dots and dashes, of a
// component's name; what had to be left out is told apart by a digest.
func elementID(ref string) common.ElementID {
	clean := strings.Map(func(r rune) rune {
		if r < 0x80 && (r == '.' || r == '-' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z') {
			return r
		}
		return '-'
	}, ref)
	if clean != ref || clean == "DOCUMENT" {
		clean += "-" + albs.DigestOf([]byte(ref)).Short()
	}
	return common.ElementID(clean)
}

var purposes = map[Type]string{
	Library: "LIBRARY", Source: "SOURCE", Bundled: "LIBRARY", System: "OPERATING_SYSTEM", Application: "APPLICATION", Set: "FRAMEWORK",
}

func (b Bill) spdxPackage(c Component) (*spdx.Package, License) {
	p := &spdx.Package{
		PackageName: c.Name, PackageSPDXIdentifier: elementID(c.Ref), PackageVersion: c.Version, PackageFileName: c.File,
		PackageDownloadLocation: cmp.Or(c.Download, noAssertion), IsFilesAnalyzedTagPresent: true,
		PackageHomePage: c.Homepage, PackageLicenseConcluded: noAssertion, PackageLicenseDeclared: noAssertion, PackageCopyrightText: noAssertion,
		PackageSummary: c.Summary, PackageDescription: c.Description, PrimaryPackagePurpose: purposes[c.Type],
	}
	if c.Type != System && c.Type != Bundled {
		if who := cmp.Or(c.Supplier, b.Supplier.spdx()); who != "" {
			p.PackageSupplier = &common.Supplier{SupplierType: "Organization", Supplier: who}
		}
	}
	if !c.Built.IsZero() {
		p.BuiltDate = stamp(c.Built)
	}
	if c.SHA256 != "" {
		p.PackageChecksums = append(p.PackageChecksums, common.Checksum{Algorithm: common.SHA256, Value: c.SHA256})
	}
	if c.SHA512 != "" {
		p.PackageChecksums = append(p.PackageChecksums, common.Checksum{Algorithm: common.SHA512, Value: c.SHA512})
	}
	if c.PURL != "" {
		p.PackageExternalReferences = []*spdx.PackageExternalReference{{Category: "PACKAGE-MANAGER", RefType: "purl", Locator: c.PURL}}
	}
	var from []string
	for _, o := range c.Commits {
		from = append(from, o.URL+" at "+o.SHA)
	}
	if len(from) > 0 {
		p.PackageSourceInfo = "built from " + strings.Join(from, ", ")
	}
	l := ParseLicense(c.License)
	if l.Expression != "" {
		p.PackageLicenseDeclared = l.Expression
	}
	if c.License != "" && c.License != l.Expression {
		p.PackageLicenseComments = "The package's header says: " + c.License
	}
	for _, f := range c.properties() {
		p.Annotations = append(p.Annotations, spdx.Annotation{
			Annotator: common.Annotator{AnnotatorType: "Tool", Annotator: b.tool()}, AnnotationDate: stamp(b.Made), AnnotationType: "OTHER",
			AnnotationSPDXIdentifier: common.MakeDocElementID("", string(p.PackageSPDXIdentifier)), AnnotationComment: f.Name + "=" + f.Value,
		})
	}
	return p, l
}
