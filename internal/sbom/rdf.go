package sbom

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"strings"

	"github.com/spdx/tools-golang/spdx/v2/common"
	spdx "github.com/spdx/tools-golang/spdx/v2/v2_3"
)

// The vocabularies of SPDX's RDF form (SPDX 2.3, Annex C).
const (
	rdfTerms  = "http://www.w3.org/1999/02/22-rdf-syntax-ns#"
	rdfsTerms = "http://www.w3.org/2000/01/rdf-schema#"
	spdxTerms = "http://spdx.org/rdf/terms#"
	doapTerms = "http://usefulinc.com/ns/doap#"
	licenses  = "http://spdx.org/licenses/"
	purlType  = "http://spdx.org/rdf/references/purl"
)

// rdfWriter writes XML by hand, for the names of the form have prefixes, which
// encoding/xml has its own mind about. What is not a constant goes through text.
type rdfWriter struct {
	bytes.Buffer
	doc      *spdx.Document
	packages map[common.ElementID]func() // writes a package
	nested   map[*spdx.Relationship]bool // those within which their package is written
	depth    int
}

func text(s string) string {
	var b strings.Builder
	// Characters that XML has no place for become the replacement character.
	_ = xml.EscapeText(&b, []byte(s)) // a strings.Builder takes all
	return b.String()
}

func (w *rdfWriter) line(format string, args ...any) {
	fmt.Fprintf(w, "%s"+format+"\n", append([]any{strings.Repeat("  ", w.depth)}, args...)...)
}

// within writes an element with attributes around what f writes.
func (w *rdfWriter) within(name, attributes string, f func()) {
	w.line("<%s%s>", name, attributes)
	w.depth++
	f()
	w.depth--
	w.line("</%s>", name)
}

// value writes an element with a text; none if it is empty.
func (w *rdfWriter) value(name, s string) {
	if s != "" {
		w.line("<%s>%s</%s>", name, text(s), name)
	}
}

func (w *rdfWriter) resource(name, uri string) {
	w.line(`<%s rdf:resource="%s"/>`, name, text(uri))
}

func (w *rdfWriter) about(id common.ElementID) string {
	return fmt.Sprintf(` rdf:about="%s"`, text(w.element(id)))
}

func (w *rdfWriter) element(id common.ElementID) string {
	return w.doc.DocumentNamespace + "#SPDXRef-" + string(id)
}

func (b Bill) spdxRDF() ([]byte, error) {
	doc, err := b.spdx()
	if err != nil {
		return nil, err
	}
	w := &rdfWriter{doc: doc, packages: map[common.ElementID]func(){}, nested: map[*spdx.Relationship]bool{}}
	for i, c := range b.all() {
		p := doc.Packages[i]
		w.packages[p.PackageSPDXIdentifier] = func() { w.spdxPackage(p, ParseLicense(c.License)) }
	}
	apart := w.nest()
	w.WriteString(xml.Header)
	w.within("rdf:RDF", fmt.Sprintf(` xmlns:rdf="%s" xmlns:rdfs="%s" xmlns:spdx="%s" xmlns:doap="%s"`, rdfTerms, rdfsTerms, spdxTerms, doapTerms), func() {
		w.within("spdx:SpdxDocument", w.about("DOCUMENT"), func() {
			w.value("spdx:specVersion", doc.SPDXVersion)
			w.resource("spdx:dataLicense", licenses+doc.DataLicense)
			w.value("spdx:name", doc.DocumentName)
			w.within("spdx:creationInfo", "", func() {
				w.within("spdx:CreationInfo", "", func() {
					w.value("spdx:created", doc.CreationInfo.Created)
					for _, c := range doc.CreationInfo.Creators {
						w.value("spdx:creator", c.CreatorType+": "+c.Creator)
					}
				})
			})
			for _, l := range doc.OtherLicenses {
				w.within("spdx:hasExtractedLicensingInfo", "", func() { w.extracted(l) })
			}
			w.relationships("DOCUMENT")
		})
		for _, p := range apart {
			w.packages[p]()
		}
	})
	return w.Bytes(), nil
}

// nest finds for each package the relationship within which it is written: the first
// that leads to it, the nearest to the document first, which keeps the nesting flat.
// Readers of this form look for packages there. It returns the packages to which none
// leads, which stand by themselves.
func (w *rdfWriter) nest() (apart []common.ElementID) {
	from := map[common.ElementID][]*spdx.Relationship{}
	for _, r := range w.doc.Relationships {
		from[r.RefA.ElementRefID] = append(from[r.RefA.ElementRefID], r)
	}
	seen := map[common.ElementID]bool{}
	reach := func(queue []common.ElementID) {
		for len(queue) > 0 {
			for _, r := range from[queue[0]] {
				if to := r.RefB.ElementRefID; !seen[to] {
					seen[to], w.nested[r] = true, true
					queue = append(queue, to)
				}
			}
			queue = queue[1:]
		}
	}
	reach([]common.ElementID{"DOCUMENT"})
	for _, p := range w.doc.Packages {
		if id := p.PackageSPDXIdentifier; !seen[id] {
			seen[id] = true
			apart = append(apart, id)
			reach([]common.ElementID{id})
		}
	}
	return apart
}

func (w *rdfWriter) extracted(l *spdx.OtherLicense) {
	w.within("spdx:ExtractedLicensingInfo", fmt.Sprintf(` rdf:about="%s"`, text(w.doc.DocumentNamespace+"#"+l.LicenseIdentifier)), func() {
		w.value("spdx:licenseId", l.LicenseIdentifier)
		w.value("spdx:name", l.LicenseName)
		w.value("spdx:extractedText", l.ExtractedText)
	})
}

func (w *rdfWriter) relationships(of common.ElementID) {
	for _, r := range w.doc.Relationships {
		if r.RefA.ElementRefID != of {
			continue
		}
		w.within("spdx:relationship", "", func() {
			w.within("spdx:Relationship", "", func() {
				w.resource("spdx:relationshipType", spdxTerms+"relationshipType_"+camel(r.Relationship))
				if w.nested[r] {
					w.within("spdx:relatedSpdxElement", "", w.packages[r.RefB.ElementRefID])
				} else {
					w.resource("spdx:relatedSpdxElement", w.element(r.RefB.ElementRefID))
				}
			})
		})
	}
}

// camel spells a word of the other forms as RDF does: DEPENDS_ON is dependsOn.
func camel(s string) string {
	var b strings.Builder
	for i, p := range strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return r == '_' || r == '-' }) {
		if i > 0 {
			p = strings.ToUpper(p[:1]) + p[1:]
		}
		b.WriteString(p)
	}
	return b.String()
}

func (w *rdfWriter) spdxPackage(p *spdx.Package, l License) {
	id := p.PackageSPDXIdentifier
	w.within("spdx:Package", w.about(id), func() {
		w.value("spdx:name", p.PackageName)
		w.value("spdx:versionInfo", p.PackageVersion)
		w.value("spdx:packageFileName", p.PackageFileName)
		if p.PackageSupplier != nil {
			w.value("spdx:supplier", p.PackageSupplier.SupplierType+": "+p.PackageSupplier.Supplier)
		}
		w.assertion("spdx:downloadLocation", p.PackageDownloadLocation)
		w.value("spdx:filesAnalyzed", "false")
		for _, c := range p.PackageChecksums {
			w.within("spdx:checksum", "", func() {
				w.within("spdx:Checksum", "", func() {
					w.resource("spdx:algorithm", spdxTerms+"checksumAlgorithm_"+strings.ToLower(string(c.Algorithm)))
					w.value("spdx:checksumValue", c.Value)
				})
			})
		}
		if p.PackageHomePage != "" {
			w.resource("doap:homepage", p.PackageHomePage)
		}
		w.value("spdx:sourceInfo", p.PackageSourceInfo)
		w.assertion("spdx:licenseConcluded", p.PackageLicenseConcluded)
		if l.tree == nil {
			w.assertion("spdx:licenseDeclared", noAssertion)
		} else {
			w.license("spdx:licenseDeclared", l.tree)
		}
		w.value("spdx:licenseComments", p.PackageLicenseComments)
		w.assertion("spdx:copyrightText", p.PackageCopyrightText)
		w.value("spdx:summary", p.PackageSummary)
		w.value("spdx:description", p.PackageDescription)
		w.resource("spdx:primaryPackagePurpose", spdxTerms+"purpose_"+camel(p.PrimaryPackagePurpose))
		w.value("spdx:builtDate", p.BuiltDate)
		for _, r := range p.PackageExternalReferences {
			w.within("spdx:externalRef", "", func() {
				w.within("spdx:ExternalRef", "", func() {
					w.resource("spdx:referenceCategory", spdxTerms+"referenceCategory_packageManager")
					w.resource("spdx:referenceType", purlType)
					w.value("spdx:referenceLocator", r.Locator)
				})
			})
		}
		for _, a := range p.Annotations {
			w.within("spdx:annotation", "", func() {
				w.within("spdx:Annotation", "", func() {
					w.value("spdx:annotator", a.Annotator.AnnotatorType+": "+a.Annotator.Annotator)
					w.value("spdx:annotationDate", a.AnnotationDate)
					w.resource("spdx:annotationType", spdxTerms+"annotationType_"+camel(a.AnnotationType))
					w.value("rdfs:comment", a.AnnotationComment)
				})
			})
		}
		w.relationships(id)
	})
}

// assertion writes a text for whose absence there is a term.
func (w *rdfWriter) assertion(name, s string) {
	if s == noAssertion {
		w.resource(name, spdxTerms+"noassertion")
		return
	}
	w.value(name, s)
}

func (w *rdfWriter) license(name string, t *term) {
	switch {
	case t.op != "":
		set := map[string]string{"AND": "spdx:ConjunctiveLicenseSet", "OR": "spdx:DisjunctiveLicenseSet"}[t.op]
		w.within(name, "", func() {
			w.within(set, "", func() {
				for _, o := range t.of {
					w.license("spdx:member", o)
				}
			})
		})
	case t.exception != "":
		w.within(name, "", func() {
			w.within("spdx:WithExceptionOperator", "", func() {
				w.license("spdx:member", &term{id: t.id})
				w.within("spdx:licenseException", "", func() {
					w.within("spdx:LicenseException", fmt.Sprintf(` rdf:about="%s"`, text(licenses+t.exception)), func() {
						w.value("spdx:licenseExceptionId", t.exception)
						w.value("spdx:name", t.exception)
						w.value("spdx:licenseExceptionText", "See "+licenses+t.exception)
					})
				})
			})
		})
	case strings.HasPrefix(t.id, "LicenseRef-"):
		w.resource(name, w.doc.DocumentNamespace+"#"+t.id)
	default:
		if base, later := strings.CutSuffix(t.id, "+"); later {
			w.within(name, "", func() {
				w.within("spdx:OrLaterOperator", "", func() { w.license("spdx:member", &term{id: base}) })
			})
			return
		}
		w.resource(name, licenses+t.id)
	}
}
